/* load/eraser.h - orders to erase: a person's rows, or a project's old events, go from the warehouse, and their bytes
 * from its file.
 *
 * Ingest writes the order into the topic `receipts`: when the person is gone from its own store, or once a day. It is carried out when
 * everything that was published before it is loaded; then it, and a receipt with how many rows went, are rows of the
 * same transaction that deletes them. So it happens once, however often it is begun.
 * Where a deletion costs much more than its rows (warehouse_erase_max), orders of one project that wait one behind another are carried out
 * together, each with a receipt of its own: as many as have been published when the first is met, up to WAREHOUSE_ERASE_MAX, until they
 * have more than ERASER_IDS_MAX distinct ids. Which they are is fixed in the warehouse before anything is done (warehouse_erase_fix). Other receipts that
 * stand between them are rows of the same batch.
 * Where there are several units, the order of an erasure says where the others' rows ended when the person was gone (its `detail`,
 * event/unit_ends.h): it waits for their loaders, too, wherever they run. The last of several says most.
 *  X1  behind an order nothing of its topic is loaded until it was carried out, but together with it
 *  X2  a file that still holds bytes of rows that went is written anew, also after a crash
 * @thread loader */
#ifndef PENSTOCK_LOAD_ERASER_H
#define PENSTOCK_LOAD_ERASER_H

#include "base/buf.h"
#include "load/keeper.h"
#include "warehouse/warehouse.h"

/* Of all orders that go together: the server has them in memory, as it has the ids of one order, however many. */
enum { ERASER_IDS_MAX = 10000 };

struct eraser {
    bool        gathering; /* an order was met; what stands behind it is looked at */
    bool        waiting;   /* what is carried out together is known */
    bool        again;     /* a batch with these orders was begun, and must be made again, the same one */
    bool        expiry;    /* the one order is to expire what is old */
    struct buf  rows;      /* as they are stored, orders and what is between: offset, bytes (u64 each), body */
    struct warehouse_order orders[WAREHOUSE_ERASE_MAX];
    size_t      count, count_max;
    uint32_t    project;
    uint64_t    ids;       /* of all orders */
    uint64_t    until;     /* behind the last row */
    uint64_t    fixed;     /* they end here, as was fixed before; 0: nothing was */
    uint64_t    ends[WAREHOUSE_CURSORS_MAX]; /* what must be loaded before */
    struct buf  others;     /* and of other units, as the last order says it; what is loaded is taken off */
    int64_t     asked_us;   /* when the warehouse was asked about them */
    int64_t     rewrite_us; /* when the file is to be written anew; 0: it need not be */
};

void eraser_init(struct eraser *eraser);
void eraser_fini(struct eraser *eraser);
void eraser_reset(struct eraser *eraser); /* nothing was met */
/* Is this row an order? */
bool eraser_is_order(const struct row *row);
/* An order was met at `offset`: the first one. again_until: where a batch ends that begins with it and must be made again; UINT64_MAX: there is none. */
int eraser_meet(struct eraser *eraser, struct warehouse *warehouse, const struct row *row, struct span body, uint64_t offset,
                uint64_t again_until, struct err *err) must_check;
/* Whether rows behind it are wanted. */
bool eraser_wants(const struct eraser *eraser);
/* The next one: 1, taken; 0: it is not carried out with them, nor is what follows; -1. */
int eraser_take(struct eraser *eraser, const struct row *row, struct span body, uint64_t offset, struct err *err) must_check;
/* Whether the other units are loaded up to where the order says: 1, 0: not yet, -1. Asks the warehouse now and then. */
int eraser_others_loaded(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err) must_check;
/* Carries the orders out in a batch of their own, which the caller commits with the place behind the last row. */
int eraser_run(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err) must_check;

#endif
