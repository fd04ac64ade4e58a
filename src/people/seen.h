/* people/seen.h - the seen ids inside the store: what is in memory, and what one transaction does to it.
 *
 *   people_seen_add -> active (memory) -> chunks (LMDB, at the commit) -> run (file) -> merged run -> over
 *
 * An id stands in exactly one of: active, frozen, a run; or in the old tree (seen_old.c). Active takes new ids until
 * it holds enough; it is then frozen, a thread writes a run of it (seen_work.h), and the next transaction lists the run
 * and moves the floor over its chunks. Only then is the frozen part let go.
 *  E1  what is in memory is what is in LMDB, plus the transaction in hand; if another process or a failed commit came
 *      between, seen_enter() notices by the state and loads anew
 *  E2  a file is listed only after it and its name are durable, and is deleted only when no committed list names it;
 *      readers of an older snapshot have GRACE_US to open it
 *  E3  an aborted transaction leaves memory as it was; a run that it listed is listed by the next
 * @thread the writer's */
#ifndef PENSTOCK_PEOPLE_SEEN_H
#define PENSTOCK_PEOPLE_SEEN_H

#include "people/seen_table.h"
#include "people/seen_work.h"

/* A file that no list names any more. */
struct seen_leftover {
    uint64_t number;
    int64_t  due_us; /* when it is deleted */
};

struct seen {
    struct people     *people;
    size_t             recent_max; /* active is frozen at so many */
    int                dir_fd;     /* DIR/people/seen, -1: not made yet */
    bool               loaded, cleaned;
    struct seen_state  state; /* as committed */
    struct seen_recent active, frozen, spare; /* spare: memory for the next active */
    bool               flushing;    /* frozen holds ids */
    uint64_t           frozen_last; /* sequence of its last chunk */
    struct seen_run  **runs; /* oldest ids first */
    size_t             run_count;
    bool               chunks_below; /* there may be chunks below the floor */
    struct seen_work  *work;         /* NULL until it is needed */
    int64_t            retry_us;     /* after a failed job: not before */
    struct seen_leftover *leftovers;
    size_t             leftover_count;
    struct people_seen_stats stats;
    /* the transaction in hand; NULL: none has asked */
    struct people_txn *txn;
    struct seen_state  next;
    size_t             active_before;
    bool               changed, fresh, old_left, did_chores;
    struct seen_job   *listed[SEEN_JOB_KINDS]; /* finished, and listed by this transaction */
};

/* Everything of the transaction's state, the state itself included; what was loaded before goes (seen_load.c). */
int  seen_load(struct seen *seen, struct people_txn *txn, const struct seen_state *state, struct err *err) must_check;
void seen_unload(struct seen *seen);

/* The first look of a transaction: memory is made to fit it. */
int  seen_enter(struct people_txn *txn, struct seen **out, struct err *err) must_check;
/* Once a transaction, before its first add: lists what was made, forgets what is over, asks for what is due. */
int  seen_chores(struct seen *seen, uint16_t today, struct err *err) must_check;
/* Before the commit: what was added becomes chunks. 0 also for a transaction that did not ask. */
int  seen_leave(struct people_txn *txn, struct err *err) must_check;
/* After it, however it went. */
void seen_left(struct people_txn *txn, bool committed);
void seen_free(struct seen *seen);
/* For tests and measurements: waits until nothing is in work. What was made is listed by the next transaction. */
void seen_settle(struct people *people);

/* --- the view of a transaction that only reads (seen_view.c) --------------------------------------- */

struct seen_view;
/* The latest day's of an id in runs and chunks. 1 found, 0 not, -1. */
int  seen_view_find(struct people_txn *txn, struct seen_entry *key, struct seen_entry *out, struct err *err) must_check;
void seen_view_free(struct seen_view *view);
int  seen_folder_open(struct people *people, int *fd_out, struct err *err) must_check; /* -1 in *fd_out: there is none */

#endif
