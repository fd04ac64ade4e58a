/* ingest/ingest_metrics.h - the metrics page of ingest. */
#ifndef PENSTOCK_INGEST_METRICS_H
#define PENSTOCK_INGEST_METRICS_H

#include "base/metric.h"
#include "event/record.h"
#include "ingest/fate.h"
#include "people/people.h"

int ingest_metrics_open(const char *run_folder, struct metric_page **out, struct err *err) must_check;
/* A committed batch. */
void ingest_metrics_batch(struct metric_page *page, const uint64_t fates[FATE_COUNT], uint64_t warnings,
                          const uint64_t taken[INPUT_COUNT], int64_t took_us);
/* What waits in each input, and how low lanes are held back. */
struct ingest_lane {
    uint64_t lag_records;
    int64_t  lag_us;
};
void ingest_metrics_lanes(struct metric_page *page, const struct ingest_lane lanes[INPUT_COUNT], double low_rate,
                          int64_t load_lag_us, size_t keys_flagged);
/* The lags of an ingest change; those of several ingests of a process add up. */
void ingest_metrics_lag(struct metric_page *page, const uint64_t before[INPUT_COUNT], const uint64_t now[INPUT_COUNT]);
void ingest_metrics_retry(struct metric_page *page);
void ingest_metrics_went_back(struct metric_page *page);
/* A unit that was taken works; or one that was asked for was given: so long after. */
void ingest_metrics_unit(struct metric_page *page, bool taken, int64_t took_us);
/* So many units stand still (base/watch.h). */
void ingest_metrics_still(struct metric_page *page, uint32_t units);
/* Of further topics (log/log_carry.h): so many more came over; and so many wait. */
void ingest_metrics_carried(struct metric_page *page, uint64_t messages);
void ingest_metrics_further(struct metric_page *page, uint64_t waiting);
/* What retention keeps because the clock jumped (log_partition_info). */
void ingest_metrics_held(struct metric_page *page, uint64_t bytes);
void ingest_metrics_seen(struct metric_page *page, const struct people_seen_stats *stats);

#endif
