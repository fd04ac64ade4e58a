/* people/operate.h - what operators do to persons: delete, split; and what they asked for that is not due yet.
 *
 * Not part of a batch of events: each works on the store directly, in the writer's transaction, before a batch is begun
 * or after it is finished. Rows are given out as by a batch. Memory does not grow with the number of ids.
 *  O1  a deleted person's row, and those of its ids, have is_deleted and a version PEOPLE_DELETED_VERSIONS above; whoever
 *      uses such an id again gets a person of a still higher version
 *  O2  after an erasure the store holds no byte of what the person was called or had: of its ids only the hashes are
 *      left that person uuids are made of, with their versions */
#ifndef PENSTOCK_PEOPLE_OPERATE_H
#define PENSTOCK_PEOPLE_OPERATE_H

#include "event/control.h"
#include "people/batch.h"

struct people_operated {
    struct uuid person;
    uint64_t    persons, distinct_ids; /* deleted, or made */
};

/* The person that distinct_id leads to goes, with all of its ids. erase: O2, under this number, for the log (below);
 * PEOPLE_REQUEST_NONE: it is only deleted. 1 done, 0 it leads to nobody, -1. */
#define PEOPLE_REQUEST_NONE UINT64_MAX
int people_delete(struct people_txn *txn, uint32_t project, struct span distinct_id, uint64_t erase, people_row_seen *seen,
                  void *ctx, struct people_operated *out, struct err *err) must_check;
/* Each id behind the first leaves the person that the first one leads to, and gets one of its own; not the id that the
 * person's uuid was made of, nor one that leads elsewhere. 1, 0: the first leads to nobody, -1. */
int people_split(struct people_txn *txn, const struct control *control, people_row_seen *seen, void *ctx,
                 struct people_operated *out, struct err *err) must_check;

/* --- what the log still holds of who was erased ------------------------------------------------
 *
 * The ids of each erasure, until the log was gone through (ingest/log_eraser.h): the last place in the store where they
 * stand. */

struct people_erasing {
    uint64_t    number;  /* of the request */
    uint32_t    project;
    bool        is_person; /* the person itself: uuid counts; else distinct_id */
    struct uuid uuid;
    struct span distinct_id;
    uint64_t    version; /* of the last row; what is above is of somebody new */
};
typedef int people_erasing_seen(void *ctx, const struct people_erasing *erasing, struct err *err);
int people_erasing_each(struct people_txn *txn, people_erasing_seen *seen, void *ctx, struct err *err) must_check;
/* The log was gone through: forgets all of them with a number below `below`. */
int people_erasing_end(struct people_txn *txn, uint64_t below, struct err *err) must_check;

/* --- requests that wait ------------------------------------------------------------------------ */

struct people_request {
    uint64_t       number;
    int64_t        due_us;
    struct control control; /* its spans live until the transaction's next write */
};
/* body: the request as it was read. */
int people_request_put(struct people_txn *txn, uint64_t number, int64_t due_us, struct span body, struct err *err)
    must_check;
/* The first request of a number above `after` (or of 0, when after is PEOPLE_REQUEST_NONE). 1, 0: no more, -1. */
int people_request_next(struct people_txn *txn, uint64_t after, struct people_request *out, struct err *err) must_check;
/* The day (since 1970) up to which old events were looked for; 0 at first. */
int people_expired_day_get(struct people_txn *txn, int64_t *out, struct err *err) must_check;
int people_expired_day_put(struct people_txn *txn, int64_t day, struct err *err) must_check;
/* 1 deleted, 0 there is none, -1. */
int people_request_delete(struct people_txn *txn, uint64_t number, struct err *err) must_check;

#endif
