/* base/watch.h - who notices that a unit stands still, and says where; and what a unit's beginning takes.
 *
 * A unit's thread notes what it is about to do, and each time that it finished a batch or found nothing to do; another thread
 * looks, since one that waits for ever cannot say so itself.
 *  W1  said of each standstill, with the step and since when, and again every five minutes while it lasts
 *  W2  from watch_begin on the steps' times are kept; the first watch_works says them, and how long all of it took
 * @thread watch_look and watch_tell: one, who also begins with zeros; all else: the unit's */
#ifndef PENSTOCK_BASE_WATCH_H
#define PENSTOCK_BASE_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define WATCH_STILL_US INT64_C(30000000)
#define WATCH_AGAIN_US INT64_C(300000000) /* said again: who looks later finds it near the end of the log */

enum { WATCH_STEPS_MAX = 12 };

struct watch {
    _Atomic(const char *) step;
    _Atomic int64_t       step_us;  /* since when */
    _Atomic int64_t       moved_us; /* it last got on; 0: it is not ours, or has not begun */
    int64_t               told_us, told_at_us; /* @thread who looks; the moved_us that was told of, and when */
    /* @thread the unit's */
    int64_t               begun_us; /* 0: it works */
    struct { const char *step; int64_t us; } took[WATCH_STEPS_MAX];
    unsigned              took_count;
};

struct watch_seen {
    const char *step;
    int64_t     step_us, still_us; /* how long it takes already; how long the unit stands still */
};

/* watch may be NULL in these. step: borrowed for ever. */
void watch_step(struct watch *watch, const char *step, int64_t now_us);
void watch_moved(struct watch *watch, int64_t now_us);
/* The unit is ours. */
void watch_begin(struct watch *watch, const char *step, int64_t now_us);
/* It works, having moved. How long it took since watch_begin, the first time after that, and says so; else -1. */
int64_t watch_works(struct watch *watch, uint32_t unit, int64_t now_us);
/* The unit is let go. */
void watch_end(struct watch *watch);
/* It stands still for WATCH_STILL_US. Of one that is not ours: false. */
bool watch_still(const struct watch *watch, int64_t now_us);
/* true: this should be said (W1). */
bool watch_look(struct watch *watch, int64_t now_us, struct watch_seen *out);
/* Says it of those of units 0, 1, ... of which it should be said. How many stand still. */
uint32_t watch_tell(struct watch *watches, uint32_t count, int64_t now_us);

#endif
