/* ingest/requests.h - what operators ask about persons (topic `control`): done, or kept until it is due.
 *
 * A deletion waits for the undo window, unless it was asked for at once; taking it back removes it. Everything
 * happens in the batch's transaction and in front of the batch's events, and each step leaves a row in `receipts`:
 * one row a request, its newest version. What is asked about an id that leads to nobody is answered so.
 *  R1  a request is answered: "asked", then "done", "undone" or "nobody"; an erasure is "done" when the warehouse says
 *      so (load), and "people done" until then
 * @thread one */
#ifndef PENSTOCK_INGEST_REQUESTS_H
#define PENSTOCK_INGEST_REQUESTS_H

#include "ingest/item.h"
#include "ingest/render.h"

struct requests {
    struct arena *arena; /* of the batch */
    int64_t       now_us, undo_us;
    int64_t       wait_us;   /* what became due waits so long yet: the clock jumped forward a short while ago. An undo window ends and a day
                            * begins too early by that; what was asked for at once is done */
    uint32_t      unit;      /* the log's partition */
    bool          log_stays; /* nothing can be erased in the log: it is Kafka's */
    row_sink     *sink;
    void         *sink_ctx;
};

#define REQUESTS_NEVER INT64_MAX

/* Records of the topic, in order. What cannot be read is told, and passed over. */
int requests_take(const struct requests *requests, struct people_txn *txn, const struct raw_record *records, size_t count,
                  struct err *err) must_check;
/* Does what operators asked for that is due, and does not wait for a clock that jumped. *next_us_out: when the next one is,
 * REQUESTS_NEVER: there is none. */
int requests_do(const struct requests *requests, struct people_txn *txn, int64_t *next_us_out, struct err *err) must_check;
/* Once a day, for each project that keeps its events for a number of days only: an order to load, a receipt of the kind
 * "expire". Not on a day that does not follow the last one that was looked at: when the clock jumped, or nothing ran for
 * days, the day after the next one is the first again, so that a wrong clock has a day to be noticed before anything
 * goes; and not while the clock jumped just now. Of several units the first does it for all: an order is the whole project's, and
 * its receipt is one. *next_us_in_out: lowered to the next time. */
int requests_expire(const struct requests *requests, struct people_txn *txn, const struct catalog_snapshot *catalog,
                    int64_t *next_us_in_out, struct err *err) must_check;
/* Some project keeps its events for a number of days only. */
bool requests_expiry_wanted(const struct catalog_snapshot *catalog);
/* The log was gone through (log_eraser.h) for every erasure of a number below `below`: their ids leave the store, and each
 * gets a receipt of the kind "erase_log". records: how many were emptied, of all of them together. */
int requests_log_done(const struct requests *requests, struct people_txn *txn, uint64_t below, uint64_t records,
                      struct err *err) must_check;
/* When requests_do has something to do. */
int requests_next(struct people_txn *txn, int64_t *next_us_out, struct err *err) must_check;

#endif
