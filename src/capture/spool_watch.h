/* capture/spool_watch.h - how the log on Kafka goes, for people: a page of metrics beside capture's own, and where `penstock
 * status` looks. One for each lane; nothing of it exists where the log is embedded. */
#ifndef PENSTOCK_CAPTURE_SPOOL_WATCH_H
#define PENSTOCK_CAPTURE_SPOOL_WATCH_H

#include "base/metric.h"
#include "log/log_spool.h"

struct spool_watch;

/* topics: `count` names, borrowed for ever. Not seen before it is shown. */
int  spool_watch_open(const char *folder, const char *const *topics, size_t count, struct spool_watch **out, struct err *err) must_check;
int  spool_watch_show(struct spool_watch *watch, struct err *err) must_check; /* NULL: nothing */
void spool_watch_close(struct spool_watch *watch);

/* @thread the lane's committer */
void spool_watch_note(struct spool_watch *watch, size_t lane, const struct log_commit_look *look);

#endif
