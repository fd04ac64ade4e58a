/* ingest/inputs.h - the topics that ingest reads, as one: a batch out of several lanes.
 *
 *   control         what operators ask for; first, there is hardly ever any
 *   raw             live traffic
 *   raw_overflow    records of hot keys, moved aside
 *   raw_historical  imports
 * Each has a place of its own in people_place.input_next, all committed together. In a batch the lanes stand in
 * this order, each lane in its own. How many records of which lane: whoever asks says so (lanes.h).
 * A topic that does not exist yet is empty.
 *  T2  between batches the places here are the committed ones; after a failed batch: close and open again
 * @thread one */
#ifndef PENSTOCK_INGEST_INPUTS_H
#define PENSTOCK_INGEST_INPUTS_H

#include "ingest/gather.h"

struct inputs {
    struct gather   gathers[INPUT_COUNT];
    struct gathered batch;
    size_t          control_count; /* that many at its front are no events */
    uint64_t        first[INPUT_COUNT], next[INPUT_COUNT]; /* of the batch: offsets [first, next) */
    uint64_t        taken[INPUT_COUNT]; /* of the batch: records, and those of gaps; where offsets are dense, next - first */
    uint64_t        until[INPUT_COUNT]; /* the next batch takes nothing from there on; UINT64_MAX */
    uint32_t        partition;
    int64_t         now_us;        /* the batch's clock */
    uint64_t        cursors[INPUT_COUNT]; /* the log's copies of the places */
};

int  inputs_init(struct inputs *inputs, size_t records_max) must_check; /* -1: no memory */
void inputs_fini(struct inputs *inputs);
/* A unit that has read nothing of accepted events yet may be told where to begin (log_begin): who takes another pipeline's place goes on
 * where that one stood. */
int  inputs_begin(struct log *log, uint32_t partition, struct people_place *place, struct err *err) must_check;
/* control: that topic is read too. */
int  inputs_open(struct inputs *inputs, struct log *log, uint32_t partition, const struct people_place *place, bool control,
                 struct err *err) must_check;
void inputs_close(struct inputs *inputs);
/* The topic `control` has no writer but while a command asks for something, so nobody would recover it after a power cut: this
 * opens it for writing for a moment, and shows readers what is stored. Retention goes over it, too, and its segment ends if that was asked
 * for. While a command writes it is left alone: the command does the same. Not on Kafka. */
int  inputs_settle_control(struct log *log, struct err *err) must_check;

/* 1: a batch of at most quota[i] records of each input and about `bytes`; 0: there is nothing; -1: error. */
int inputs_take(struct inputs *inputs, struct arena *arena, const size_t quota[INPUT_COUNT], size_t bytes, struct err *err)
    must_check;

/* Events of the last batch, gaps included: all that must get a fate, or be moved. */
uint64_t inputs_events(const struct inputs *inputs);
/* Records that wait in an input. */
uint64_t inputs_lag(const struct inputs *inputs, enum input input);
/* How long the first of them has waited; 0: none does. As gather_age_us. */
int inputs_age_us(struct inputs *inputs, enum input input, int64_t *out, struct err *err) must_check;
/* The log's copies of the committed places: for retention, and for people to see. Trouble with them is only said. */
void inputs_store_cursors(struct inputs *inputs, struct log *log, const struct people_place *place);
/* What waits by now is asked of the disk, about a batch of it: the next inputs_take finds it in memory. For who waits for the disk himself,
 * with what he writes. */
void inputs_ahead(struct inputs *inputs);
/* Waits until live events arrive, at most timeout_us; the other topics are looked at when it ends. */
void inputs_wait(struct inputs *inputs, int64_t timeout_us);

#endif
