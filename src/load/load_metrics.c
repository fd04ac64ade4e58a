/* load/load_metrics.c - see load_metrics.h. */
#include "load/load_metrics.h"

#include <math.h>

static const double commit_bounds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, INFINITY };

static const double unit_bounds[] = { 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, INFINITY };

#define ROW_METRIC(name, columns, suffix, topic) \
    { "load_rows_total", "table=\"" name "\"", "Rows committed to the warehouse", METRIC_COUNTER, NULL },
#define LAG_METRIC(number, suffix, topic) \
    { "load_lag_records", "topic=\"" topic "\"", "Records that are published and not yet in the warehouse", METRIC_GAUGE, NULL },
#define ERROR_METRIC(kind) { "load_errors_total", "kind=\"" kind "\"", "Batches rolled back, by what may be done about it", METRIC_COUNTER, NULL }
static const struct metric_def metrics[METRIC_COUNT] = {
    ROW_TABLES(ROW_METRIC)
    FOLLOW_LIST(LAG_METRIC)
    ERROR_METRIC("input"), ERROR_METRIC("retry"), ERROR_METRIC("full"), ERROR_METRIC("corrupt"), ERROR_METRIC("stop"),
    { "load_dead_letters_total", "reason=\"unreadable_row\"", "Records set aside as dead letters by the loader", METRIC_COUNTER, NULL },
    { "load_dead_letters_total", "reason=\"refused_row\"", "Records set aside as dead letters by the loader", METRIC_COUNTER, NULL },
    { "load_dead_letters_total", "reason=\"crashed\"", "Records set aside as dead letters by the loader", METRIC_COUNTER, NULL },
    { "load_gap_records_total", "", "Records that the log lost to damage, or to retention before they were loaded", METRIC_COUNTER, NULL },
    { "load_batches_total", "", "Transactions committed", METRIC_COUNTER, NULL },
    { "load_commit_seconds", "", "How long a commit took", METRIC_HISTOGRAM, commit_bounds },
    { "load_troubled", "", "1 while the warehouse cannot be written; rows then wait in the log", METRIC_GAUGE, NULL },
    { "load_rebuilds_total", "", "Damaged warehouses set aside and built anew from the log", METRIC_COUNTER, NULL },
    { "load_queries_total", "result=\"answered\"", "Queries of other processes", METRIC_COUNTER, NULL },
    { "load_queries_total", "result=\"failed\"", "Queries of other processes", METRIC_COUNTER, NULL },
    { "load_takeover_seconds", "", "From a unit's becoming ours until its first rows are read, or none wait", METRIC_HISTOGRAM, unit_bounds },
    { "load_handover_seconds", "", "From a unit's being asked for until nothing works on it any more", METRIC_HISTOGRAM, unit_bounds },
    { "load_units_still", "", "Units of this process that have finished nothing for 30 s, though rows may wait", METRIC_GAUGE, NULL },
};

#define LAG_PLACE(number, suffix, topic) [number] = METRIC_LAG + LAG_##suffix,
const size_t load_lag_metric[FOLLOW_TOPICS] = { FOLLOW_LIST(LAG_PLACE) }; /* 0: that topic is not loaded */

int load_metrics_open(const char *run_folder, struct metric_page **out, struct err *err)
{
    return metric_page_make(run_folder, "load", metrics, METRIC_COUNT, out, err) < 0 ? -1 : metric_page_show(*out, err);
}

void load_metrics_batch(struct metric_page *page, const struct warehouse_place *before, const struct warehouse_place *after,
                        const struct follow_counts *counts, int64_t took_us)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        metric_add(page, (size_t)(METRIC_ROWS + i), after->loaded[i] - before->loaded[i]);
    metric_add(page, METRIC_UNREADABLE, counts->unreadable);
    metric_add(page, METRIC_REFUSED, counts->refused);
    metric_add(page, METRIC_CRASHED, counts->crashed);
    metric_add(page, METRIC_GAPS, counts->gap_records);
    metric_add(page, METRIC_BATCHES, 1);
    metric_observe(page, METRIC_COMMIT, (double)took_us / 1e6);
}

void load_metrics_works(struct metric_page *page, int64_t took_us)
{
    if (took_us >= 0)
        metric_observe(page, METRIC_TAKEN_OVER, (double)took_us / 1e6);
}
