/* capture/between.h - a large request's work stops between its parts, so that others may be looked at (loop_look.c).
 *
 * Whoever does such work calls it where nothing of his is half done: at a part's end, and not more often than about every 100 us, as each call
 * asks the clock. Nothing that the work holds may lie where the next request would: in the loop's buffer it may, in its intake. */
#ifndef PENSTOCK_CAPTURE_BETWEEN_H
#define PENSTOCK_CAPTURE_BETWEEN_H

#include <stddef.h>

enum { BETWEEN_EVENTS = 128 }; /* some 100 to 200 us of work */

struct between {
    void (*call)(void *ctx); /* NULL: nobody is looked at */
    void  *ctx;
};

static inline void between_parts(const struct between *between)
{
    if (between->call != NULL)
        between->call(between->ctx);
}

/* Before the event of this index. */
static inline void between_events(const struct between *between, size_t index)
{
    if (index % BETWEEN_EVENTS == 0)
        between_parts(between);
}

#endif
