/* load/load_metrics.h - the metrics page of load. */
#ifndef PENSTOCK_LOAD_LOAD_METRICS_H
#define PENSTOCK_LOAD_LOAD_METRICS_H

#include "base/metric.h"
#include "event/row.h"
#include "load/follow.h"

#define LAG_ENUM(number, suffix, topic) LAG_##suffix,
enum { FOLLOW_LIST(LAG_ENUM) LAG_COUNT };
enum {
    METRIC_ROWS,
    METRIC_LAG = METRIC_ROWS + ROW_TABLE_COUNT,
    METRIC_ERRORS = METRIC_LAG + LAG_COUNT, /* + enum err_kind - ERR_INPUT */
    METRIC_UNREADABLE = METRIC_ERRORS + ERR_STOP,
    METRIC_REFUSED, METRIC_CRASHED, METRIC_GAPS, METRIC_BATCHES, METRIC_COMMIT, METRIC_TROUBLED, METRIC_REBUILDS, METRIC_ANSWERED,
    METRIC_FAILED, METRIC_TAKEN_OVER, METRIC_HANDED_OVER, METRIC_STILL, METRIC_COUNT
};

extern const size_t load_lag_metric[FOLLOW_TOPICS]; /* 0: that topic is not loaded */

int load_metrics_open(const char *run_folder, struct metric_page **out, struct err *err) must_check;
/* A batch was committed: rows that brought `before` to `after`. */
void load_metrics_batch(struct metric_page *page, const struct warehouse_place *before, const struct warehouse_place *after,
                        const struct follow_counts *counts, int64_t took_us);
/* A unit that was taken works, after so long; negative: it did already. */
void load_metrics_works(struct metric_page *page, int64_t took_us);

#endif
