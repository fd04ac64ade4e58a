/* ingest/crew.h - several threads on one batch, and the two steps of it that keep their order.
 *
 * A batch is cut into slices; each goes through four steps, whose content is the caller's:
 *
 *   cut -> parse        by itself: any thread, many at once, ahead of all others
 *            order      what looks at earlier events: the caller's thread, slice after slice
 *              ahead    by itself again: any thread, many at once; left out when the slice's turn has come already
 *                put    what comes out: any thread, one at a time, slice after slice
 *
 * A slice has one of `slots` places to live in, which bounds the memory and keeps what is in work in the cache: the place
 * that was free last is taken first. The threads take up steps of slices; nothing is locked inside a step, and what one step
 * wrote the next one sees. Whoever calls works too, and waits only when there is nothing at all to do.
 *  C1  order is called for the slices in the order in which they were cut, put likewise: what comes out does not depend
 *      on the number of threads
 *  C2  a step that fails ends the run: no step is begun after it, and none is at work when crew_run returns
 *  C3  between two runs the threads sleep, and touch nothing of the caller's
 * @thread one calls; the steps' threads are as above */
#ifndef PENSTOCK_INGEST_CREW_H
#define PENSTOCK_INGEST_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CREW_HANDS_MAX = 16, /* docs/limits.md */
    CREW_SLOTS_EACH = 4, /* slices in work, for each thread: docs/performance.md */
    CREW_SLOTS_MAX = CREW_HANDS_MAX * CREW_SLOTS_EACH
};

struct crew;

/* hands: threads, the caller's included, 1..CREW_HANDS_MAX; with one none is started. ERR_RETRY: the system gives no thread. */
int crew_new(unsigned hands, struct crew **out, struct err *err) must_check;
void crew_free(struct crew *crew);
unsigned crew_hands(const struct crew *crew);
unsigned crew_slots(const struct crew *crew);
/* CPU time that the threads which are not the caller's have used. A system call for each. */
int64_t crew_cpu_us(const struct crew *crew);

/* hand: 0 is the caller's thread. */
struct crew_work {
    void *ctx;
    /* Puts the next slice into the slot; false: there is none. Any thread, one at a time, and quick: others wait for it. */
    bool (*cut)(void *ctx, unsigned slot);
    int (*parse)(void *ctx, unsigned slot, unsigned hand, struct err *err);
    int (*order)(void *ctx, unsigned slot, struct err *err);
    int (*ahead)(void *ctx, unsigned slot, unsigned hand, struct err *err);
    int (*put)(void *ctx, unsigned slot, unsigned hand, struct err *err);
};

/* Until all slices are put, or a step failed: its error is given. */
int crew_run(struct crew *crew, const struct crew_work *work, struct err *err) must_check;

#endif
