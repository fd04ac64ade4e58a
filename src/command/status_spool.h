/* command/status_spool.h - what `penstock status` says of capture's way into Kafka; nothing where the log is embedded. */
#ifndef PENSTOCK_COMMAND_STATUS_SPOOL_H
#define PENSTOCK_COMMAND_STATUS_SPOOL_H

#include "base/buf.h"

/* data: the data folder. Lines for people, on stdout. */
void status_spool_text(const char *data);
/* A member `"kafka":{...}` behind a comma, or nothing. */
void status_spool_json(const char *data, struct buf *out);

#endif
