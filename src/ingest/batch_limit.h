/* ingest/batch_limit.h - how many events the next batch may have, after one that came to nothing or went well.
 *
 * A batch whose commit met another unit at a person (people_conflict) is done again whole: of 20,000 events a third were done twice when
 * two units began side by side, some of them four times. A shorter batch is open for a shorter time, so it meets fewer, and less is
 * done again when it does. Success doubles it, so that it is short only where units meet. */
#ifndef PENSTOCK_INGEST_BATCH_LIMIT_H
#define PENSTOCK_INGEST_BATCH_LIMIT_H

#include <stddef.h>

enum { BATCH_MET_SHARE = 4, BATCH_MET_EVENTS_MIN = 512 };

/* A batch of so many events met another unit. Never more than `limit`. */
static inline size_t batch_limit_met(size_t limit, size_t events)
{
    size_t less = events / BATCH_MET_SHARE > BATCH_MET_EVENTS_MIN ? events / BATCH_MET_SHARE : BATCH_MET_EVENTS_MIN;

    return less < limit ? less : limit;
}

static inline size_t batch_limit_grown(size_t limit, size_t most)
{
    return limit < most / 2 ? limit * 2 : most;
}

#endif
