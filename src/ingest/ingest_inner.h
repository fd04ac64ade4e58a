/* ingest/ingest_inner.h - what is inside an ingest; for its own files only (ingest.h has the functions).
 *
 *   ingest.c   opening, a batch, back to the committed state      ingest_loop.c   batch after batch, and what is done between */
#ifndef PENSTOCK_INGEST_INGEST_INNER_H
#define PENSTOCK_INGEST_INGEST_INNER_H

#include "base/watch.h"
#include "ingest/attempt.h"
#include "ingest/cookieless.h"
#include "ingest/definer.h"
#include "ingest/fate_metrics.h"
#include "ingest/hands.h"
#include "ingest/ingest.h"
#include "ingest/ingest_metrics.h"
#include "ingest/inputs.h"
#include "ingest/lanes.h"
#include "ingest/log_eraser.h"
#include "ingest/outputs.h"
#include "ingest/overflow.h"
#include "ingest/passes.h"
#include "ingest/shown.h"
#include "ingest/store_rewriter.h"
#include "log/log_access.h"

struct ingest {
    /* fixed after start */
    const struct role_env       *env;
    const struct ingest_options *options;
    const struct ingest_common  *common; /* NULL: none */
    struct watch                *watch;  /* of common's; NULL: none */
    struct log                  *log;    /* common's, when that has one */
    struct log_access            log_access;
    struct people               *people;
    struct catalog              *catalog;
    struct geoip                *geoip; /* NULL: off */
    struct attempt              *attempt;
    struct metric_page          *metrics;
    struct fate_metrics         *fate_metrics;
    struct property_key_table    keys;
    struct span                  crash_on;
    /* @thread ingest */
    struct catalog_snapshot *snapshot;
    int64_t                  chores_us; /* when they are next due */
    int64_t                  held_us;   /* as chores_us: what retention holds is counted */
    struct outputs          *outputs;
    struct shown            *shown;  /* NULL: the store has lost nothing, or it is made up for */
    struct inputs            inputs;
    struct lanes             lanes;
    struct overflow         *overflow;
    size_t                   moved;  /* records of the batch */
    bool                     behind; /* live traffic is: hot keys are looked for */
    int64_t                  wait_us; /* when there was nothing to take */
    int64_t                  look_us; /* load's place and the lanes' ages are next due */
    struct people_place      place; /* as committed */
    struct arena            *arena; /* of a batch */
    struct hands            *hands;
    struct warning_gate     *gate;
    struct definer          *definer;
    struct cookieless       *cookieless;
    size_t                   batch_limit;   /* less when memory did not suffice, or others met it; doubled by success */
    uint64_t                 too_large;     /* mark of a record that does not fit into memory even alone, or ATTEMPT_NONE */
    struct log_eraser       *log_eraser;
    struct store_rewriter    rewriter;
    uint64_t                 log_done_below, log_done_records; /* a walk of it that is to be told; 0: none */
    int64_t                  request_us;    /* when the next request of an operator is due */
    bool                     moves_left;    /* ids of merged persons wait to be moved: people_moves_pending */
    bool                     fates_begun;   /* people_fates_begin was committed */
    bool                     retry_at_once; /* the failed batch will be another one next time */
    int64_t                  spent_us[INGEST_PARTS];
    uint64_t                 lag_told[INPUT_COUNT]; /* as the metrics have it of this unit */
};

#endif
