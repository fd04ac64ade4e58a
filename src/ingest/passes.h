/* ingest/passes.h - a batch of events through all that ingest does to it, inside one transaction.
 *
 * The batch goes through in slices: all passes but the last over some events, then over the next ones.
 *   normalise   each event by itself: reads, rules, warnings           (can go parallel)
 *   seen        which ids were there before: first wins
 *   visitors    ids of events in cookieless mode
 *   people      persons, merges, groups, in order of acceptance        (one thread)
 *   define      names that were not used before, as rows
 *   render      each event by itself: rows                             (can go parallel)
 *   finish      changed persons, ids and groups as rows
 *  S1  every item ends with exactly one fate
 *  S2  nothing outside the transaction, the sink, the gate's open journal and the definer is changed:
 *      whoever gives up a batch aborts these and nothing has happened
 * @thread one */
#ifndef PENSTOCK_INGEST_PASSES_H
#define PENSTOCK_INGEST_PASSES_H

#include "ingest/attempt.h"
#include "ingest/cookieless.h"
#include "ingest/definer.h"
#include "ingest/normalize.h"
#include "ingest/render.h"
#include "ingest/tally.h"

struct passes {
    struct arena                    *arena; /* of the batch: persons and groups */
    struct arena                    *slice; /* of the events of a slice: reset for each */
    const struct property_key_table *keys;
    const struct catalog_snapshot   *catalog;
    struct geoip                    *geoip;    /* NULL: off */
    struct warning_gate             *gate;
    struct definer                  *definer;  /* NULL: no definitions */
    struct cookieless               *cookieless; /* NULL: no event may be in cookieless mode */
    struct zones                    *zones;    /* NULL: UTC alone */
    struct attempt                  *attempt;  /* NULL: none */
    struct span                      crash_on; /* tests: abort at an event of this name */
    uint64_t                         too_large; /* mark of a record that is known not to fit, or ATTEMPT_NONE */
    struct buf                      *buf;       /* scratch */
    struct people_limits             limits;
    int64_t                          now_us;
    row_sink                        *sink;
    void                            *sink_ctx;
    uint64_t                         crowded;           /* out: mark of the record whose row alone is too large, else untouched */
    uint64_t                         fates[FATE_COUNT]; /* out: added to */
    struct tally                     tally;             /* out: the same by project and hour, in `arena` */
    uint64_t                         warnings;          /* out: added to */
    int64_t                          spent_us[5];       /* out: added to, by pass as above: this thread's CPU */
};

/* Records of an input that are lost: told, and counted where they were events. mark: as raw_record's. */
struct gap { uint64_t mark, count; bool expired; };

/* ERR_FULL: an arena (a smaller batch may do) or store; everything else from the store or the sink. */
int passes_run(struct passes *passes, struct people_txn *txn, const struct raw_record *records, size_t count,
               const struct gap *gaps, size_t gap_count, struct err *err) must_check;

#endif
