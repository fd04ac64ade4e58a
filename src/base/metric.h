/* base/metric.h - counters that others can read while we run, and after we died.
 *
 * Each role has a metrics page: a small file DIR/run/ROLE.metrics, mapped and shared. Writers add with
 * relaxed atomics (no lock, no system call); any process renders all pages of a folder as Prometheus
 * text. Pages are not durable and start at zero with each start of the role: exact counts of fates come
 * from the stores, not from here.
 * Names, types, labels and help are fixed by a table at start; a slot is found by its index in it. */
#ifndef PENSTOCK_BASE_METRIC_H
#define PENSTOCK_BASE_METRIC_H

#include "base/buf.h"
#include "base/err.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum { METRIC_BUCKETS_MAX = 20 };

struct metric_def {
    const char      *name;   /* "capture_events_received_total" */
    const char      *labels; /* "cause=\"no_token\"" or "" */
    const char      *help;
    enum metric_kind kind;
    const double    *bounds; /* histogram: upper bounds, ascending, ended by INFINITY; else NULL */
};

struct metric_page;

/* role: "ingest"; or "ingest.fates", a second page of the same role. Opening one again replaces it.
 * folder NULL: a private page without a file (tests). defs live as long as the page. */
int  metric_page_open(const char *folder, const char *role, const struct metric_def *defs, size_t count,
                      struct metric_page **out, struct err *err) must_check;
/* In two steps: nobody else sees the page, and one of that name stays what it is, until it is shown. For what a role cannot be without:
 * where no file can be had (a full disk, no inodes) the page is this process's alone, which is said, and showing it does nothing. */
int  metric_page_make(const char *folder, const char *role, const struct metric_def *defs, size_t count,
                      struct metric_page **out, struct err *err) must_check;
int  metric_page_show(struct metric_page *page, struct err *err) must_check;
void metric_page_close(struct metric_page *page);

/* @thread any */
void metric_add(struct metric_page *page, size_t index, uint64_t by);
void metric_set(struct metric_page *page, size_t index, int64_t value);
void metric_observe(struct metric_page *page, size_t index, double value);
uint64_t metric_get(const struct metric_page *page, size_t index); /* a histogram: its count */

/* Prometheus text format 0.0.4 of every page in folder, each sample with a label role="...". Pages whose
 * process is gone are left out and penstock_role_up{role} is 0 for them. */
int metric_render_folder(const char *folder, struct buf *out, struct err *err) must_check;
/* The same by an open folder, for who may not walk to it any more. */
int metric_render_at(int folder_fd, struct buf *out, struct err *err) must_check;
/* One value out of a folder's pages, for `penstock status`: false when there is none, or its process is gone. */
bool metric_read(const char *folder, const char *role, const char *name, const char *labels, double *out);

#endif
