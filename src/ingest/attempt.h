/* ingest/attempt.h - what ingest was working on when it died, so that a poisonous event harms only itself.
 *
 * A small file, DIR/run/ingest.attempt, mapped: a store into it costs nothing and outlives the process
 * (not the machine; an event that takes the machine down is not ours to isolate). Passes note the event
 * that they are about to touch, each thread in a place of its own. When the next start finds that the last one died
 * inside a batch:
 *   - events were noted, as many as threads were at work: they are the suspects. Each is taken alone, after its
 *     predecessors, before its successors, and its lane goes before all others until then. Who lives through that is
 *     none any more; who has taken the process with it ATTEMPT_CRASHES_MAX times is condemned
 *   - none was noted (the store, the log, a kill from outside), or the whole server ended (base/note.h): batches get eight times smaller until the
 *     records of that batch are done; eight that went well allow twice as many records
 * A record is called by its mark: the input it is read from and its offset there, as place_make() joins them.
 *  A1  an event that did not crash anything alone is never condemned, whatever stood beside it
 * @thread one, but for attempt_mark and attempt_unmark (their hand's) and attempt_crashes, between attempt_begin and
 * attempt_end */
#ifndef PENSTOCK_INGEST_ATTEMPT_H
#define PENSTOCK_INGEST_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/note.h"
#include "event/record.h"

enum {
    ATTEMPT_CRASHES_MAX = 3,
    ATTEMPT_HANDS_MAX = 16,   /* threads: as CREW_HANDS_MAX */
    ATTEMPT_SUSPECTS_MAX = 32 /* of two deaths; the youngest are let go when there are more */
};
#define ATTEMPT_NONE UINT64_MAX

struct attempt_suspect { uint64_t mark, crashes; };

/* What a thread is looking at: mark of a record, or ATTEMPT_NONE. Each in a line of the cache of its own. */
struct attempt_hand {
    volatile uint64_t mark;
    uint64_t          unused[7];
};

struct attempt_state { /* the file, in the machine's own order: it is read where it was written */
    uint64_t               version;
    uint64_t               busy;       /* a batch is in work */
    uint64_t               first[INPUT_COUNT], end[INPUT_COUNT]; /* its records: offsets in each input */
    uint64_t               careful_until[INPUT_COUNT], careful_limit, careful_done;
    uint64_t               suspect_count;
    struct attempt_suspect suspects[ATTEMPT_SUSPECTS_MAX]; /* in the order of their marks */
    struct note_starter    supervisor; /* a death that took it along says nothing of an event */
    uint64_t               records;    /* of the batch; 0: as many as its offsets say */
    uint64_t               unused[4];
    struct attempt_hand    hands[ATTEMPT_HANDS_MAX];
};
_Static_assert(offsetof(struct attempt_state, hands) % 64 == 0, "a line of the cache is one thread's");

struct attempt;

/* run_folder NULL: without a file. Draws the conclusions from the last death. */
int  attempt_open(const char *run_folder, struct attempt **out, struct err *err) must_check;
void attempt_close(struct attempt *attempt);

/* How many records the next batch may have, 1..limit, when next[i] is the first in input i and lag[i] wait there;
 * caps: and how many of them of each input. */
size_t attempt_limit(const struct attempt *attempt, const uint64_t next[INPUT_COUNT], const uint64_t lag[INPUT_COUNT],
                     size_t limit, size_t caps[INPUT_COUNT]);
/* Times that this record, and it alone, took the process with it; ATTEMPT_CRASHES_MAX: do not touch it. */
uint64_t attempt_crashes(const struct attempt *attempt, uint64_t mark);

/* Before attempt_limit: *out is the offset of this input where the next batch has to end, so that a suspect behind it is
 * taken alone; UINT64_MAX: none is. Needed where offsets are sparse, and counting does not lead to it. */
uint64_t attempt_until(const struct attempt *attempt, const uint64_t next[INPUT_COUNT], const uint64_t lag[INPUT_COUNT],
                       enum input input);
/* There are suspects: the next batches should have the process for themselves. */
bool attempt_wary(const struct attempt *attempt);
/* The batch's `records` are [first[i], end[i]) of each input. */
void attempt_begin_of(struct attempt *attempt, const uint64_t first[INPUT_COUNT], const uint64_t end[INPUT_COUNT], uint64_t records);
/* As many as there are offsets. */
void attempt_begin(struct attempt *attempt, const uint64_t first[INPUT_COUNT], const uint64_t end[INPUT_COUNT]);
/* attempt may be NULL. hand: the thread's number, 0..ATTEMPT_HANDS_MAX - 1. */
void attempt_mark(struct attempt *attempt, unsigned hand, uint64_t mark);
/* This thread looks at no event (but the only one of its batch stays noted). */
void attempt_unmark(struct attempt *attempt, unsigned hand);
/* The batch is over, done or given up without harm; records below next[i] are done. */
void attempt_end(struct attempt *attempt, const uint64_t next[INPUT_COUNT]);

#endif
