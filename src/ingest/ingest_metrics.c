/* ingest/ingest_metrics.c - one counter a fate, in the fates' order, then the rest. */
#include "ingest/ingest_metrics.h"

#include <math.h>

static const double seconds_bounds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, INFINITY };
static const double unit_bounds[] = { 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, INFINITY };
static const double events_bounds[] = { 1, 10, 100, 1000, 2500, 5000, 10000, 20000, INFINITY };

#define FATE_METRIC(number, suffix, text, klass, what) \
    { .name = "ingest_events_total", .labels = "fate=\"" text "\"", .help = "events by what became of them", \
      .kind = METRIC_COUNTER },

#define LAG_METRIC(number, suffix, topic) \
    { .name = "ingest_lag_records", .labels = "topic=\"" topic "\"", .help = "records that wait to be processed", \
      .kind = METRIC_GAUGE },
#define AGE_METRIC(number, suffix, topic) \
    { .name = "ingest_lag_seconds", .labels = "topic=\"" topic "\"", .help = "how long the oldest of them waits", \
      .kind = METRIC_GAUGE },
#define TAKEN_METRIC(number, suffix, topic) \
    { .name = "ingest_records_total", .labels = "topic=\"" topic "\"", .help = "records taken for processing", \
      .kind = METRIC_COUNTER },

static const struct metric_def defs[] = {
    FATES(FATE_METRIC)
    { .name = "ingest_batch_seconds", .labels = "", .help = "a batch from read to commit", .kind = METRIC_HISTOGRAM,
      .bounds = seconds_bounds },
    { .name = "ingest_batch_events", .labels = "", .help = "records in a batch", .kind = METRIC_HISTOGRAM,
      .bounds = events_bounds },
    INPUTS(LAG_METRIC)
    INPUTS(AGE_METRIC)
    INPUTS(TAKEN_METRIC)
    { .name = "ingest_low_rate_records", .labels = "", .help = "records a second that the low lanes may take beside live traffic",
      .kind = METRIC_GAUGE },
    { .name = "ingest_load_lag_seconds", .labels = "", .help = "age of the oldest finished event that load has not taken",
      .kind = METRIC_GAUGE },
    { .name = "ingest_hot_keys", .labels = "", .help = "distinct ids whose records are moved aside", .kind = METRIC_GAUGE },
    { .name = "ingest_warnings_total", .labels = "", .help = "ingestion warnings written", .kind = METRIC_COUNTER },
    { .name = "ingest_retries_total", .labels = "", .help = "batches that failed and were begun anew",
      .kind = METRIC_COUNTER },
    { .name = "ingest_seen_ids", .labels = "", .help = "event ids that a repeat would be known by", .kind = METRIC_GAUGE },
    { .name = "ingest_seen_files", .labels = "", .help = "files that hold them", .kind = METRIC_GAUGE },
    { .name = "ingest_seen_lost", .labels = "", .help = "reads of damaged or missing files of event ids since the start: repeats may have come through",
      .kind = METRIC_GAUGE },
    { .name = "ingest_takeover_seconds", .labels = "", .help = "from a unit's becoming ours until its first batch is done, or nothing waits",
      .kind = METRIC_HISTOGRAM, .bounds = unit_bounds },
    { .name = "ingest_handover_seconds", .labels = "", .help = "from a unit's being asked for until nothing works on it any more",
      .kind = METRIC_HISTOGRAM, .bounds = unit_bounds },
    { .name = "ingest_units_still", .labels = "", .help = "units of this process that have finished nothing for 30 s, though records may wait",
      .kind = METRIC_GAUGE },
    { .name = "ingest_carried_total", .labels = "", .help = "messages of further topics that were brought over", .kind = METRIC_COUNTER },
    { .name = "ingest_further_lag_records", .labels = "", .help = "messages of further topics that wait in this machine's partitions",
      .kind = METRIC_GAUGE },
    { .name = "ingest_retention_held_bytes", .labels = "", .help = "of the log, older than retention by a clock that jumped, and kept until that is confirmed",
      .kind = METRIC_GAUGE },
    { .name = "ingest_store_lost_commits_total", .labels = "", .kind = METRIC_COUNTER,
      .help = "times that a unit's store of persons had lost commits whose rows readers had seen" },
};

enum {
    SECONDS = FATE_COUNT, EVENTS, LAG, AGE = LAG + INPUT_COUNT, TAKEN = AGE + INPUT_COUNT, LOW_RATE = TAKEN + INPUT_COUNT,
    LOAD_LAG, FLAGGED, WARNED, RETRIES, SEEN_IDS, SEEN_FILES, SEEN_LOST, TAKEN_OVER, HANDED_OVER, STILL, CARRIED, FURTHER, HELD, WENT_BACK
};

int ingest_metrics_open(const char *run_folder, struct metric_page **out, struct err *err)
{
    return metric_page_make(run_folder, "ingest", defs, sizeof defs / sizeof *defs, out, err) < 0 ? -1 : metric_page_show(*out, err);
}

void ingest_metrics_batch(struct metric_page *page, const uint64_t fates[FATE_COUNT], uint64_t warnings,
                          const uint64_t taken[INPUT_COUNT], int64_t took_us)
{
    uint64_t events = 0;

    for (size_t i = 0; i < FATE_COUNT; i++)
        if (fates[i] > 0)
            metric_add(page, i, fates[i]);
    for (size_t i = 0; i < INPUT_COUNT; i++) {
        metric_add(page, TAKEN + i, taken[i]);
        events += i == INPUT_CONTROL ? 0 : taken[i];
    }
    metric_observe(page, SECONDS, (double)took_us / 1e6);
    metric_observe(page, EVENTS, (double)events);
    metric_add(page, WARNED, warnings);
}

void ingest_metrics_lanes(struct metric_page *page, const struct ingest_lane lanes[INPUT_COUNT], double low_rate,
                          int64_t load_lag_us, size_t keys_flagged)
{
    for (size_t i = 0; i < INPUT_COUNT; i++) {
        metric_set(page, AGE + i, lanes[i].lag_us / 1000000);
    }
    metric_set(page, LOW_RATE, (int64_t)low_rate);
    metric_set(page, LOAD_LAG, load_lag_us / 1000000);
    metric_set(page, FLAGGED, (int64_t)keys_flagged);
}

void ingest_metrics_lag(struct metric_page *page, const uint64_t before[INPUT_COUNT], const uint64_t now[INPUT_COUNT])
{
    for (size_t i = 0; i < INPUT_COUNT; i++)
        metric_add(page, LAG + i, now[i] - before[i]); /* modulo 2^64: also downwards */
}

void ingest_metrics_retry(struct metric_page *page)
{
    metric_add(page, RETRIES, 1);
}

void ingest_metrics_went_back(struct metric_page *page)
{
    metric_add(page, WENT_BACK, 1);
}

void ingest_metrics_unit(struct metric_page *page, bool taken, int64_t took_us)
{
    metric_observe(page, taken ? TAKEN_OVER : HANDED_OVER, (double)took_us / 1e6);
}

void ingest_metrics_still(struct metric_page *page, uint32_t units)
{
    metric_set(page, STILL, units);
}

void ingest_metrics_carried(struct metric_page *page, uint64_t messages)
{
    metric_add(page, CARRIED, messages);
}

void ingest_metrics_further(struct metric_page *page, uint64_t waiting)
{
    metric_set(page, FURTHER, (int64_t)waiting);
}

void ingest_metrics_held(struct metric_page *page, uint64_t bytes)
{
    metric_set(page, HELD, (int64_t)bytes);
}

void ingest_metrics_seen(struct metric_page *page, const struct people_seen_stats *stats)
{
    metric_set(page, SEEN_IDS, (int64_t)(stats->recent + stats->run_ids));
    metric_set(page, SEEN_FILES, (int64_t)stats->runs);
    metric_set(page, SEEN_LOST, (int64_t)stats->lost);
}
