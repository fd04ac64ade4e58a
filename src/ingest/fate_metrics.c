/* ingest/fate_metrics.c - see fate_metrics.h. */
#include "ingest/fate_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metric.h"
#include "base/say.h"

enum { OTHER = FATE_METRICS_PROJECTS, SAMPLES_MAX = (FATE_METRICS_PROJECTS + 1) * FATE_COUNT, LABELS_BYTES = 80 };

struct fate_metrics {
    const char         *folder; /* borrowed */
    int                 unit;
    char                name[32]; /* of the page */
    struct metric_page *page;   /* NULL: there is nothing to tell yet */
    uint32_t            projects[FATE_METRICS_PROJECTS];
    size_t              project_count;
    uint64_t            counts[FATE_METRICS_PROJECTS + 1][FATE_COUNT];
    size_t              samples[FATE_METRICS_PROJECTS + 1][FATE_COUNT]; /* index in the page + 1; 0: none */
    bool                stale; /* something is counted that has no sample */
    struct metric_def   defs[SAMPLES_MAX];
    char                labels[SAMPLES_MAX][LABELS_BYTES];
};

static size_t project_find(struct fate_metrics *metrics, uint32_t project)
{
    for (size_t i = 0; i < metrics->project_count; i++)
        if (metrics->projects[i] == project)
            return i;
    if (metrics->project_count == FATE_METRICS_PROJECTS)
        return OTHER;
    metrics->projects[metrics->project_count] = project;
    return metrics->project_count++;
}

static void row_add(struct fate_metrics *metrics, const struct people_fates *row)
{
    size_t project = project_find(metrics, row->project);

    for (int fate = 0; fate < FATE_COUNT; fate++)
        if (row->counts[fate] > 0) {
            metrics->counts[project][fate] += row->counts[fate];
            if (metrics->samples[project][fate] == 0)
                metrics->stale = true;
            else if (!metrics->stale)
                metric_add(metrics->page, metrics->samples[project][fate] - 1, row->counts[fate]);
        }
}

static void label_write(const struct fate_metrics *metrics, size_t project, int fate, char *to)
{
    const char *name = fate_info(fate)->name;
    char        who[16], unit[24] = "";

    if (project == OTHER)
        (void)snprintf(who, sizeof who, "other");
    else if (metrics->projects[project] == PEOPLE_FATES_BEFORE)
        (void)snprintf(who, sizeof who, "before");
    else
        (void)snprintf(who, sizeof who, "%" PRIu32, metrics->projects[project]);
    if (metrics->unit >= 0)
        (void)snprintf(unit, sizeof unit, ",unit=\"%d\"", metrics->unit);
    (void)snprintf(to, LABELS_BYTES, "project=\"%s\",fate=\"%s\"%s", who, name, unit);
}

/* Makes the page anew, with a sample for each count there is. */
static int page_make(struct fate_metrics *metrics, struct err *err)
{
    struct metric_page *page;
    size_t              count = 0;

    for (size_t project = 0; project <= OTHER; project++)
        for (int fate = 0; fate < FATE_COUNT; fate++) {
            if (metrics->counts[project][fate] == 0)
                continue;
            label_write(metrics, project, fate, metrics->labels[count]);
            metrics->defs[count] = (struct metric_def){
                .name = "penstock_fates_total", .labels = metrics->labels[count], .kind = METRIC_COUNTER,
                .help = "events by project and what became of them, since the data folder's beginning"
            };
            metrics->samples[project][fate] = ++count;
        }
    if (count > 0 && metric_page_open(metrics->folder, metrics->name, metrics->defs, count, &page, err) < 0)
        return -1;
    metric_page_close(metrics->page);
    metrics->page = count > 0 ? page : NULL;
    metrics->stale = false;
    for (size_t project = 0; project <= OTHER; project++)
        for (int fate = 0; fate < FATE_COUNT; fate++)
            if (metrics->counts[project][fate] > 0)
                metric_add(metrics->page, metrics->samples[project][fate] - 1, metrics->counts[project][fate]);
    return 0;
}

static void page_refresh(struct fate_metrics *metrics)
{
    static struct say_gate gate;
    struct err             err = { 0 };

    if (metrics->stale && page_make(metrics, &err) < 0)
        say_seldom(&gate, SAY_WARN, "penstock_fates_total stays behind: %s", err.text);
}

static int row_take(void *ctx, const struct people_fates *row, struct err *err)
{
    (void)err;
    row_add(ctx, row);
    return 0;
}

int fate_metrics_open(const char *run_folder, int unit, struct people *people, struct fate_metrics **out, struct err *err)
{
    struct fate_metrics *metrics = calloc(1, sizeof *metrics);
    struct people_txn   *txn;
    int                  rc;

    if (metrics == NULL)
        return err_set(err, ERR_FULL, "no memory for metrics");
    metrics->folder = run_folder;
    metrics->unit = unit;
    (void)snprintf(metrics->name, sizeof metrics->name, unit < 0 ? "ingest.fates" : "ingest.fates%d", unit);
    rc = people_begin(people, false, &txn, err);
    if (rc == 0) {
        rc = people_fates_each(txn, row_take, metrics, err);
        people_abort(txn);
    }
    if (rc < 0) {
        fate_metrics_close(metrics);
        return -1;
    }
    metrics->stale = true; /* without a page ingest goes on, and tries again with each batch */
    page_refresh(metrics);
    *out = metrics;
    return 0;
}

void fate_metrics_close(struct fate_metrics *metrics)
{
    if (metrics == NULL)
        return;
    metric_page_close(metrics->page);
    free(metrics);
}

void fate_metrics_batch(struct fate_metrics *metrics, const struct tally *tally)
{
    for (size_t i = 0; i < tally->count; i++)
        row_add(metrics, &tally->rows[i]);
    page_refresh(metrics);
}
