/* ingest/hands.h - the threads of ingest and what each of them has: crew, scratch, look-ups, and room for slices.
 *
 * Made once, before the first batch; passes.h works with it. Reading a zone's file or an address twice is cheaper than a lock
 * for each event, so every thread has its own tables; the databases of addresses are mapped and shared. */
#ifndef PENSTOCK_INGEST_HANDS_H
#define PENSTOCK_INGEST_HANDS_H

#include "ingest/crew.h"
#include "ingest/slice.h"

enum { HANDS_USUAL_MAX = 4 }; /* more wait for the one that keeps the order */

struct hands {
    struct crew  *crew;   /* NULL: one thread */
    unsigned      count, slice_count;
    struct hand   at[CREW_HANDS_MAX];
    struct buf    bufs[CREW_HANDS_MAX];
    struct slice  alone;  /* the caller's, with room for whatever may come */
    struct slice  slices[CREW_SLOTS_MAX];
};

/* How many threads a setting means. 0: half of the cores that this process may use, as the other roles need theirs
 * (docs/performance.md); at most HANDS_USUAL_MAX, at least one. */
unsigned hands_count(int64_t asked);

/* geoip is borrowed; NULL: off. ERR_FULL: memory; ERR_RETRY: the system gives no thread. */
int  hands_new(unsigned count, struct geoip *geoip, struct hands **out, struct err *err) must_check;
void hands_free(struct hands *hands);

/* Whether a slice's memory is what a batch lacked. */
bool hands_filled(const struct hands *hands);

#endif
