/* ingest/overflow.h - hot keys: whoever sends far more than others, while others wait for it, is moved aside.
 *
 * A key is what order is kept by: a project's distinct id (for cookieless events, which have none yet, the address).
 * While live traffic is behind, each key has a bucket: `burst` records at once, `per_second` after that, by the time
 * at which they were accepted. A key that sends more is flagged, and from then on its live records are not processed
 * but moved to the topic raw_overflow, which is an input of its own with a low share (lanes.h). Moving a record
 * costs a fraction of processing it, so the others catch up. While ingest keeps up, nobody is flagged and nothing is
 * counted: a hot key then hurts nobody.
 *
 * A restriction of the project with the action `overflow` flags the keys of the events it holds for, at once.
 *
 *  V1  of a key, records are processed in the order in which they were accepted: while any of its records waits in
 *      raw_overflow, the key is flagged, and its live records are moved behind them; but for those of V4
 *  V2  flags and places are committed together; killed at any instant, V1 holds
 *  V4  events that change no person (exceptions, heatmaps, warnings of clients) have a bucket for each project and kind
 *      instead, and go aside one by one without a flag: a flood of them, from however many ids, lets the others through.
 *      Among themselves they keep no order when they are moved
 *  V3  memory is bounded: PEOPLE_FLAGS_MAX flags (when they are all given, further keys stay live), and buckets for
 *      the keys that sent last (who is forgotten begins with a full bucket)
 * Two keys with the same hash share a bucket and a flag: order still holds for each.
 * Imports are never moved: their lane is low already. Records without a key (rejected ones) neither.
 * @thread one */
#ifndef PENSTOCK_INGEST_OVERFLOW_H
#define PENSTOCK_INGEST_OVERFLOW_H

#include "ingest/inputs.h"
#include "ingest/outputs.h"

struct overflow;

/* burst 0: never flags anybody; records that wait aside from before are still kept in order. NULL: no memory. */
struct overflow *overflow_new(int64_t burst, int64_t per_second);
void             overflow_free(struct overflow *overflow);

/* The committed flags, at the start and after a failed batch. */
int overflow_load(struct overflow *overflow, struct people_txn *txn, struct err *err) must_check;
/* What a batch is judged by. */
struct overflow_view {
    const struct catalog_snapshot *catalog;
    bool                           behind; /* live traffic is: more may be flagged */
};
/* Takes records of flagged keys out of the batch and into OUTPUT_RAW_OVERFLOW; the others close up. *moved_out: how many
 * went. */
int overflow_sort(struct overflow *overflow, struct inputs *inputs, const struct overflow_view *view, struct outputs *outputs,
                  size_t *moved_out, struct err *err) must_check;
/* In the batch's transaction: clears the flags of keys of which nothing waits at or past `next` of raw_overflow, and
 * writes what changed. */
int overflow_store(struct overflow *overflow, struct people_txn *txn, uint64_t next, struct err *err) must_check;

/* Keys that are flagged. */
size_t overflow_flagged(const struct overflow *overflow);

#endif
