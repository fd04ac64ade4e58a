/* ingest/outputs.h - the topics that ingest writes, as one: rows in, one durable end each.
 *
 * Rows are buffered, appended in large frames, synced, and become visible to readers only when the
 * transaction that records their ends (people_place.output_end) is committed. What was appended and never
 * recorded is cut at the next opening: so a batch's rows are there once, however often it was begun.
 *  O1  visible end = recorded end, between batches
 *  O2  after any failure: close, read the recorded place again, open */
#ifndef PENSTOCK_INGEST_OUTPUTS_H
#define PENSTOCK_INGEST_OUTPUTS_H

#include "event/row.h"
#include "log/log.h"
#include "people/people.h"

/* The numbering of people_place.output_end: stored, so a number never changes its meaning. A number without a
 * topic (outputs.c) has no rows. */
enum output {
    OUTPUT_EVENTS, OUTPUT_PEOPLE, OUTPUT_WARNINGS, OUTPUT_DEAD_LETTERS, OUTPUT_DEFINITIONS = 5, OUTPUT_COUNT
};
_Static_assert((int)OUTPUT_COUNT <= (int)PEOPLE_OUTPUTS_MAX, "outputs must fit into people_place");

struct outputs_options {
    int64_t retention_us; /* 0: for ever */
};

struct outputs; /* @thread one */

/* Opens the topics, cuts them to the recorded ends, makes everything up to there visible. ERR_CORRUPT: a
 * topic ends before its recorded end. ERR_RETRY: another process writes there. */
int  outputs_open(struct log *log, const struct people_place *place, const struct outputs_options *options,
                  struct outputs **out, struct err *err) must_check;
void outputs_close(struct outputs *outputs);

/* Copies the row into its topic's buffer; a full buffer is appended to the log. */
int outputs_add(struct outputs *outputs, const struct row *row, int64_t now_us, struct err *err) must_check;
/* Appends what is left, makes all of it durable, writes the new ends into place. */
int outputs_sync(struct outputs *outputs, int64_t now_us, struct people_place *place, struct err *err) must_check;
/* After the commit: readers may see it. */
void outputs_publish(struct outputs *outputs);
/* Deletes what is old; cheap, call every few seconds. */
int outputs_retain(struct outputs *outputs, int64_t now_us, struct err *err) must_check;

#endif
