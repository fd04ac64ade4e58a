/* load/batch_due.h - whether the loader's open batch should be committed now, of one that is neither full nor of a fixed end.
 *
 * A warehouse of pieces (warehouse.h) wants them full: a batch that would fill one within four times the usual wait waits for it,
 * and ends just there. Live events do not wait for a piece that only an import beside them would fill in time.
 * A warehouse that asks for a pause between batches gets it, from the end of one to the end of the wait for the next. What a loader
 * finds when it begins has waited already, for whoever had the unit before. */
#ifndef PENSTOCK_LOAD_BATCH_DUE_H
#define PENSTOCK_LOAD_BATCH_DUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch_due {
    size_t  events, live; /* rows of events, and how many of them are no import */
    int64_t age_us;       /* since the first row */
    int64_t rest_us;      /* since the last batch was committed; -1: none was */
    int64_t wait_us;      /* load.batch_wait */
    int64_t pace_us;      /* warehouse_pace_us */
};

bool batch_is_due(const struct batch_due *batch);

#endif
