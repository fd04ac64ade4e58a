/* command/trace_log.h - the part of a trace that reads the log. */
#ifndef PENSTOCK_COMMAND_TRACE_LOG_H
#define PENSTOCK_COMMAND_TRACE_LOG_H

#include "command/trace_find.h"

/* The record at trace->place, if that is known. */
int trace_record_read(struct trace *trace, struct err *err) must_check;
/* What ingest has not taken yet, and what it finished that the warehouse has not taken: sets fate, place, record, row. */
int trace_waiting_find(struct trace *trace, const struct people_place *place, struct err *err) must_check;
/* Nobody has noted it: looks through what was processed, newest first, while time lasts. A record that is found says by
 * today's rules what must have become of it. */
int trace_search(struct trace *trace, const struct people_place *place, const struct catalog_snapshot *snapshot,
                 struct err *err) must_check;
/* Where the row stands in the topic events: its frame was written in the moment that the row names. */
int trace_events_offset(struct trace *trace, struct err *err) must_check;

#endif
