/* ingest/outputs.h - the topics that ingest writes, as one: rows in, one durable end each.
 *
 * Rows are buffered, appended in large frames, synced, and become visible to readers only when the
 * transaction that records their ends (people_place.output_end) is committed. What was appended and never
 * recorded is cut at the next opening: so a batch's rows are there once, however often it was begun.
 *  O1  visible end = recorded end, between batches
 *  O2  after any failure: close, read the recorded place again, open */
#ifndef PENSTOCK_INGEST_OUTPUTS_H
#define PENSTOCK_INGEST_OUTPUTS_H

#include "event/record.h"
#include "event/row.h"
#include "ingest/crew.h"
#include "log/log.h"
#include "people/people.h"

/* The numbering of people_place.output_end: stored, never changed. Numbers without a topic are given away. */
enum output {
    OUTPUT_EVENTS = 0,
    OUTPUT_PEOPLE = 1,
    OUTPUT_WARNINGS = 2,
    OUTPUT_DEAD_LETTERS = 3,
    OUTPUT_HEATMAPS = 4,
    OUTPUT_DEFINITIONS = 5,
    OUTPUT_RAW_OVERFLOW = 6, /* no rows: records that ingest will read again (event/record.h) */
    OUTPUT_RECEIPTS = 7,
    OUTPUT_COUNT
};
_Static_assert((int)OUTPUT_COUNT <= (int)PEOPLE_OUTPUTS_MAX, "outputs must fit into people_place");


/* Numbers among people_place.counters that are no fates. */
enum {
    PLACE_EPOCH = PEOPLE_COUNTERS_MAX - 2,  /* of the writers whose ends are in output_end (log_topic_options); 0: the log needs none */
    PLACE_SPARSE = PEOPLE_COUNTERS_MAX - 3, /* records taken from inputs whose offsets are sparse, and so do not tell */
    /* shown.h: after the store has lost commits */
    PLACE_SHOWN_AHEAD = PEOPLE_COUNTERS_MAX - 4,                     /* rows of events that stand in the topic and are not counted yet */
    PLACE_SHOWN_FROM = PLACE_SHOWN_AHEAD - PEOPLE_OUTPUTS_MAX,       /* by output: rows of which others come again, */
    PLACE_SHOWN_UNTIL = PLACE_SHOWN_FROM - PEOPLE_OUTPUTS_MAX,       /* up to here */
    PLACE_SHOWN_INPUT = PLACE_SHOWN_UNTIL - PEOPLE_INPUTS_MAX        /* by input: while it is before this */
};

struct output_info {
    const char        *topic;   /* NULL: nothing is written there yet */
    const char *const *readers; /* NULL-terminated: whose cursors hold its records back from deletion */
    bool               again;   /* ingest reads it itself: made when it is first written to, and not kept for long */
};
extern const struct output_info output_infos[OUTPUT_COUNT];

struct outputs_options {
    int64_t  retention_us; /* 0: for ever */
    uint32_t partition;
    uint64_t epoch;        /* log_topic_options; outputs_sync notes it in place->counters[PLACE_EPOCH] when it is not 0 */
};

struct outputs; /* @thread one; rows of different topics may be added by two at once */

/* Opens the topics, cuts them to the recorded ends, makes everything up to there visible. ERR_CORRUPT: a
 * topic ends before its recorded end. ERR_RETRY: another process writes there. */
int  outputs_open(struct log *log, const struct people_place *place, const struct outputs_options *options,
                  struct outputs **out, struct err *err) must_check;
void outputs_close(struct outputs *outputs);
/* What opening them will need of the log, before there is a place. As log_prepare. */
int  outputs_prepare(struct log *log, int64_t retention_us, struct err *err) must_check;

/* Copies the row into its topic's buffer; a full buffer is appended to the log. */
int outputs_add(struct outputs *outputs, const struct row *row, int64_t now_us, struct err *err) must_check;
/* The same for a row that is in its stored form already. */
int outputs_put(struct outputs *outputs, struct span row, int64_t now_us, struct err *err) must_check;
/* The same for a record that goes to OUTPUT_RAW_OVERFLOW. *offset_out: its place there. */
int outputs_add_moved(struct outputs *outputs, const struct record_moved *moved, int64_t now_us, uint64_t *offset_out,
                      struct err *err) must_check;
/* Appends what is left, makes all of it durable, writes the new ends into place. With a crew (or NULL) the topics' syncs
 * wait for the disk side by side. */
int outputs_sync(struct outputs *outputs, struct crew *crew, int64_t now_us, struct people_place *place, struct err *err)
    must_check;
/* After the commit: readers may see it. */
void outputs_publish(struct outputs *outputs);
/* Deletes what is old; cheap, call every few seconds. */
int outputs_retain(struct outputs *outputs, int64_t now_us, struct err *err) must_check;
/* The clock as the events' topic knows it: what it jumped does not count (log_clock); and not what it is ahead of the store's server. Between
 * transactions. */
void outputs_clock(struct outputs *outputs, struct people *people, int64_t now_us, struct log_clock *out);

#endif
