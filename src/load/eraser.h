/* load/eraser.h - orders to erase: a person's rows, or a project's old events, go from the warehouse, and their bytes
 * from its file.
 *
 * Ingest writes the order into the topic `receipts`: when the person is gone from its own store, or once a day. It is carried out when
 * everything that was published before it is loaded; then it, and a receipt with how many rows went, are rows of the
 * same transaction that deletes them. So it happens once, however often it is begun.
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
    int64_t     rewrite_us; /* when the file is to be written anew; 0: it need not be */
};

void eraser_init(struct eraser *eraser);
void eraser_fini(struct eraser *eraser);
/* Is this row an order? */
bool eraser_is_order(const struct row *row);
/* Carries the order out in a batch of its own, which the caller commits with the place behind the order. */
int eraser_run(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err) must_check;

#endif
