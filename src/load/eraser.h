/* load/eraser.h - orders to erase: a person's rows, or a project's old events, go from the warehouse, and their bytes
 * from its file.
 *
 * Ingest writes the order into the topic `receipts`: when the person is gone from its own store, or once a day. It is carried out when
 * everything that was published before it is loaded; then it, and a receipt with how many rows went, are rows of the
 * same transaction that deletes them. So it happens once, however often it is begun.
 * Where there are several units, the order of an erasure says where the others' rows ended when the person was gone (its `detail`,
 * event/unit_ends.h): it waits for their loaders, too, wherever they run.
 *  X1  behind an order nothing of its topic is loaded until it was carried out
 *  X2  a file that still holds bytes of rows that went is written anew, also after a crash
 * @thread loader */
#ifndef PENSTOCK_LOAD_ERASER_H
#define PENSTOCK_LOAD_ERASER_H

#include "base/buf.h"
#include "load/keeper.h"
#include "warehouse/warehouse.h"

struct eraser {
    bool        waiting;  /* an order was met */
    struct buf  order;    /* its stored row */
    uint64_t    ends[WAREHOUSE_CURSORS_MAX]; /* what must be loaded before */
    struct buf  others;     /* and of other units, as the order says it; what is loaded is taken off */
    int64_t     asked_us;   /* when the warehouse was asked about them */
    int64_t     rewrite_us; /* when the file is to be written anew; 0: it need not be */
};

void eraser_init(struct eraser *eraser);
void eraser_fini(struct eraser *eraser);
/* Is this row an order? */
bool eraser_is_order(const struct row *row);
/* The order was met: takes over what it says. again: it is carried out once more, and waited before. */
int eraser_meet(struct eraser *eraser, const struct row *row, struct span body, bool again, struct err *err) must_check;
/* Whether the other units are loaded up to where the order says: 1, 0: not yet, -1. Asks the warehouse now and then. */
int eraser_others_loaded(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err) must_check;
/* Carries the order out in a batch of its own, which the caller commits with the place behind the order. */
int eraser_run(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err) must_check;

#endif
