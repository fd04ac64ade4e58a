/* ingest/attempt.h - what ingest was working on when it died, so that a poisonous event harms only itself.
 *
 * A small file, DIR/run/ingest.attempt, mapped: a store into it costs nothing and outlives the process
 * (not the machine; an event that takes the machine down is not ours to isolate). Passes note the event
 * that they are about to touch. When the next start finds that the last one died inside a batch:
 *   - an event was noted: it is the suspect. It is taken alone, after its predecessors, before its
 *     successors; when it has taken the process with it ATTEMPT_CRASHES_MAX times it is condemned
 *   - none was noted (the store, the log, a kill from outside): batches get eight times smaller until the
 *     records of that batch are done
 *  A1  an event that did not crash anything alone is never condemned, whatever stood beside it
 * @thread one */
#ifndef PENSTOCK_INGEST_ATTEMPT_H
#define PENSTOCK_INGEST_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ATTEMPT_CRASHES_MAX = 3 };
#define ATTEMPT_NONE UINT64_MAX

struct attempt_state { /* the file, in the machine's own order: it is read where it was written */
    uint64_t          version;
    uint64_t          busy;       /* a batch is in work */
    uint64_t          first, end; /* its records */
    volatile uint64_t current;    /* the record that a pass is looking at, or ATTEMPT_NONE */
    uint64_t          suspect, suspect_crashes;
    uint64_t          careful_until, careful_limit;
};

struct attempt;

/* run_folder NULL: without a file. Draws the conclusions from the last death. */
int  attempt_open(const char *run_folder, struct attempt **out, struct err *err) must_check;
void attempt_close(struct attempt *attempt);

/* How many records from `next` on may go into one batch: 1..limit. */
size_t attempt_limit(const struct attempt *attempt, uint64_t next, size_t limit);
/* Times that this record, and it alone, took the process with it; ATTEMPT_CRASHES_MAX: do not touch it. */
uint64_t attempt_crashes(const struct attempt *attempt, uint64_t offset);

void attempt_begin(struct attempt *attempt, uint64_t first, size_t count);
/* attempt may be NULL. */
void attempt_mark(struct attempt *attempt, uint64_t offset);
/* No event is being looked at (but the only one of its batch stays noted). */
void attempt_unmark(struct attempt *attempt);
/* The batch is over, done or given up without harm; records below `next` are done. */
void attempt_end(struct attempt *attempt, uint64_t next);

#endif
