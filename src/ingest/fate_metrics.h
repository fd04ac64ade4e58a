/* ingest/fate_metrics.h - penstock_fates_total{project,fate}: the counts of fates by project, for whoever scrapes.
 *
 * A page of its own (run/ingest.fates.metrics), because its samples are not known when the role starts: it is made
 * anew when a project meets a fate for the first time, with the counts that it had. The counts are those of the people store since its
 * beginning, so a restart does not set them back. The first FATE_METRICS_PROJECTS projects have samples of their own,
 * all others are project="other".
 * @thread one */
#ifndef PENSTOCK_INGEST_FATE_METRICS_H
#define PENSTOCK_INGEST_FATE_METRICS_H

#include "ingest/tally.h"

enum { FATE_METRICS_PROJECTS = 64 };

struct fate_metrics;

/* run_folder NULL: a page that nobody sees. unit: which of several partitions the counts are of, -1: there is one. Reads the
 * counts so far. */
int  fate_metrics_open(const char *run_folder, int unit, struct people *people, struct fate_metrics **out, struct err *err) must_check;
void fate_metrics_close(struct fate_metrics *metrics);
/* A committed batch. Trouble with the page harms nothing: it is said, and the samples stay behind. */
void fate_metrics_batch(struct fate_metrics *metrics, const struct tally *tally);

#endif
