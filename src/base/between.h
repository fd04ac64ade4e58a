/* base/between.h - a large piece of work stops between its parts, so that whoever has it done can look at others meanwhile
 * (capture/loop_look.c).
 *
 * Whoever does such work calls it where nothing of his is half done: at a part's end, and not more often than about every 100 us, as each
 * call may ask the clock. Nothing that the work holds may lie where the next request would: in the loop's buffer it may, in its intake. */
#ifndef PENSTOCK_BASE_BETWEEN_H
#define PENSTOCK_BASE_BETWEEN_H

#include <stddef.h>

enum {
    BETWEEN_BYTES = 256 << 10, /* some 100 to 200 us of reading or copying */
    BETWEEN_ITEMS = 128        /* the same of events */
};

struct between {
    void (*call)(void *ctx); /* NULL: nobody is looked at */
    void  *ctx;
};

static inline void between_parts(const struct between *between)
{
    if (between->call != NULL)
        between->call(between->ctx);
}

/* Before the item of this index. */
static inline void between_items(const struct between *between, size_t index)
{
    if (index % BETWEEN_ITEMS == 0)
        between_parts(between);
}

#endif
