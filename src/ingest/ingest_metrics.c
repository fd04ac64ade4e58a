/* ingest/ingest_metrics.c - one counter a fate, in the fates' order, then the rest. */
#include "ingest/ingest_metrics.h"

#include <math.h>

static const double seconds_bounds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, INFINITY };
static const double events_bounds[] = { 1, 10, 100, 1000, 2500, 5000, 10000, 20000, INFINITY };

#define FATE_METRIC(number, suffix, text, klass, what) \
    { .name = "ingest_events_total", .labels = "fate=\"" text "\"", .help = "events by what became of them", \
      .kind = METRIC_COUNTER },

static const struct metric_def defs[] = {
    FATES(FATE_METRIC)
    { .name = "ingest_batch_seconds", .labels = "", .help = "a batch from read to commit", .kind = METRIC_HISTOGRAM,
      .bounds = seconds_bounds },
    { .name = "ingest_batch_events", .labels = "", .help = "records in a batch", .kind = METRIC_HISTOGRAM,
      .bounds = events_bounds },
    { .name = "ingest_lag_records", .labels = "", .help = "accepted records not yet processed", .kind = METRIC_GAUGE },
    { .name = "ingest_warnings_total", .labels = "", .help = "ingestion warnings written", .kind = METRIC_COUNTER },
    { .name = "ingest_retries_total", .labels = "", .help = "batches that failed and were begun anew",
      .kind = METRIC_COUNTER },
};

enum { SECONDS = FATE_COUNT, EVENTS, LAG, WARNED, RETRIES };

int ingest_metrics_open(const char *run_folder, struct metric_page **out, struct err *err)
{
    return metric_page_open(run_folder, "ingest", defs, sizeof defs / sizeof *defs, out, err);
}

void ingest_metrics_batch(struct metric_page *page, const uint64_t fates[FATE_COUNT], uint64_t warnings,
                          uint64_t records, int64_t took_us, uint64_t lag_records)
{
    for (size_t i = 0; i < FATE_COUNT; i++)
        if (fates[i] > 0)
            metric_add(page, i, fates[i]);
    metric_observe(page, SECONDS, (double)took_us / 1e6);
    metric_observe(page, EVENTS, (double)records);
    metric_add(page, WARNED, warnings);
    ingest_metrics_lag(page, lag_records);
}

void ingest_metrics_lag(struct metric_page *page, uint64_t lag_records)
{
    metric_set(page, LAG, (int64_t)lag_records);
}

void ingest_metrics_retry(struct metric_page *page)
{
    metric_add(page, RETRIES, 1);
}
