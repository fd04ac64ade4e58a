/* ingest/passes.h - a batch of events through all that ingest does to it, inside one transaction.
 *
 * The batch goes through in slices (slice.h): all passes but the last over some events, then over the next ones. With a
 * crew several slices are in work at once, each in another pass:
 *   normalise   each event by itself: reads, rules, warnings           any thread
 *   seen        what was there before: first wins (repeats.h)          from here the caller's thread, in order of acceptance
 *   visitors    ids of events in cookieless mode
 *   people      persons, merges, groups
 *   define      names that were not used before, as rows
 *   gate        which warnings are told
 *   render      each event by itself: rows                             any thread, but the rows come in order
 *   finish      changed persons, ids and groups as rows                the caller's thread, after all slices
 *  S1  every item ends with exactly one fate
 *  S2  nothing outside the transaction, the sink, the gate's open journal and the definer is changed:
 *      whoever gives up a batch aborts these and nothing has happened
 *  S3  what comes out does not depend on the number of threads, but for rows of different topics: the definer's are sent
 *      by the caller's thread while another one sends an earlier slice's
 *  S4  what is said to be the batch's CPU is it, of all threads. Its parts are in proportion to what they took by the clock, so a part in
 *      which a store is waited for is shown too large, and the others too small
 * @thread one calls */
#ifndef PENSTOCK_INGEST_PASSES_H
#define PENSTOCK_INGEST_PASSES_H

#include "ingest/attempt.h"
#include "ingest/cookieless.h"
#include "ingest/crew.h"
#include "ingest/definer.h"
#include "ingest/normalize.h"
#include "ingest/render.h"
#include "ingest/slice.h"
#include "ingest/tally.h"

/* A row in its stored form; only with a crew. Its bytes live until return. */
typedef int row_put(void *ctx, struct span row, struct err *err);

struct passes {
    struct arena                    *arena; /* of the batch: persons and groups */
    struct slice                    *alone; /* for what the caller's thread does alone */
    const struct hand               *hands; /* one for each thread of the crew, the caller's first */
    struct crew                     *crew;  /* NULL: one thread */
    struct slice                    *slices; /* one for each slot of the crew */
    const struct property_key_table *keys;
    const struct catalog_snapshot   *catalog;
    struct warning_gate             *gate;
    struct definer                  *definer;  /* NULL: no definitions */
    struct cookieless               *cookieless; /* NULL: no event may be in cookieless mode */
    struct attempt                  *attempt;  /* NULL: none */
    struct span                      crash_on; /* tests: abort at an event of this name */
    uint64_t                         too_large; /* mark of a record that is known not to fit, or ATTEMPT_NONE */
    struct people_limits             limits;
    int64_t                          now_us;
    int64_t                          steady_us; /* the clock without its jumps (log_clock): days of event ids are counted by it */
    size_t                           message_bytes_max; /* as render_env's */
    row_sink                        *sink;
    row_put                         *put;
    void                            *sink_ctx;
    uint64_t                         crowded;           /* out: mark of the record whose row alone is too large, else untouched */
    uint64_t                         fates[FATE_COUNT]; /* out: added to */
    struct tally                     tally;             /* out: the same by project and hour, in `arena` */
    uint64_t                         warnings;          /* out: added to */
    int64_t                          spent_us[5];       /* out: CPU of normalise, seen, people, render, finish, whichever thread's (S4) */
};

/* Records of an input that are lost: told, and counted where they were events. mark: as raw_record's. */
struct gap { uint64_t mark, count; bool expired; };

/* ERR_FULL: an arena (a smaller batch may do) or store; everything else from the store or the sink. */
int passes_run(struct passes *passes, struct people_txn *txn, const struct raw_record *records, size_t count,
               const struct gap *gaps, size_t gap_count, struct err *err) must_check;

#endif
