/* ingest/ingest_metrics.h - the metrics page of ingest. */
#ifndef PENSTOCK_INGEST_METRICS_H
#define PENSTOCK_INGEST_METRICS_H

#include "base/metric.h"
#include "ingest/fate.h"

int ingest_metrics_open(const char *run_folder, struct metric_page **out, struct err *err) must_check;
/* A committed batch. */
void ingest_metrics_batch(struct metric_page *page, const uint64_t fates[FATE_COUNT], uint64_t warnings,
                          uint64_t records, int64_t took_us, uint64_t lag_records);
void ingest_metrics_lag(struct metric_page *page, uint64_t lag_records);
void ingest_metrics_retry(struct metric_page *page);

#endif
