/* load/eraser.c - see eraser.h. The receipt's row is the order's, with what came of it. */
#include "load/eraser.h"

#include "base/say.h"
#include "event/unit_ends.h"
#include "load/follow.h"

enum { ORDER_BYTES_MAX = 8 << 20, RECEIPT_WAREHOUSE_DONE = 3, ASK_EVERY_US = 200000 };

void eraser_init(struct eraser *eraser)
{
    *eraser = (struct eraser){ .waiting = false };
    buf_init(&eraser->order, ORDER_BYTES_MAX);
    buf_init(&eraser->others, ORDER_BYTES_MAX);
}

void eraser_fini(struct eraser *eraser)
{
    buf_fini(&eraser->order);
    buf_fini(&eraser->others);
}

static bool cell_is(const struct row_cell *cell, const char *text)
{
    return !cell->null && span_is(cell->text, text);
}

static bool is_expiry(const struct row *row)
{
    return cell_is(&row->cells[ROW_RECEIPT_KIND], "expire");
}

bool eraser_is_order(const struct row *row)
{
    if (row->table != ROW_RECEIPT || row->cells[ROW_RECEIPT_TEAM_ID].null)
        return false;
    return (is_expiry(row) && cell_is(&row->cells[ROW_RECEIPT_STATE], "asked") && !row->cells[ROW_RECEIPT_DUE_AT].null) ||
           (cell_is(&row->cells[ROW_RECEIPT_KIND], "erase") && cell_is(&row->cells[ROW_RECEIPT_STATE], "people done") &&
            !row->cells[ROW_RECEIPT_PERSON_ID].null);
}

int eraser_meet(struct eraser *eraser, const struct row *row, struct span body, bool again, struct err *err)
{
    const struct row_cell *others = &row->cells[ROW_RECEIPT_DETAIL];

    buf_reset(&eraser->order);
    buf_reset(&eraser->others);
    buf_add(&eraser->order, body);
    if (!again && !is_expiry(row) && !others->null)
        buf_add(&eraser->others, others->text);
    eraser->asked_us = 0;
    return eraser->order.failed || eraser->others.failed ? err_set(err, ERR_FULL, "no memory for an order to erase") : 0;
}

/* Of the topics that are loaded, but for that of orders, which may stand at one. */
static bool is_loaded(const struct unit_ends *ends, const uint64_t next[WAREHOUSE_CURSORS_MAX])
{
    for (int i = 0; i < FOLLOW_TOPICS; i++)
        if (follow_topics[i] != NULL && i != FOLLOW_RECEIPTS && ends->end[i] > next[i])
            return false;
    return true;
}

int eraser_others_loaded(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err)
{
    static struct say_gate gate;
    struct span            left = buf_span(&eraser->others);
    struct unit_ends       ends;
    int                    got = 0;

    if (left.bytes == 0)
        return 1;
    if (eraser->asked_us != 0 && now_us - eraser->asked_us < ASK_EVERY_US)
        return 0;
    eraser->asked_us = now_us;
    while ((got = unit_ends_next(&left, &ends, err)) == 1) {
        uint64_t next[WAREHOUSE_CURSORS_MAX];

        if (warehouse_place_of(warehouse, ends.unit, next, err) < 0)
            return -1;
        if (!is_loaded(&ends, next)) {
            say_seldom(&gate, SAY_INFO, "an erasure waits until unit %u is loaded as far as it was when the person went", ends.unit);
            return 0;
        }
    }
    if (got == 0)
        buf_reset(&eraser->others);
    return got < 0 ? -1 : 1;
}

static int carry_out(struct warehouse *warehouse, const struct row *row, struct warehouse_erased *out, struct err *err)
{
    uint32_t project = (uint32_t)row->cells[ROW_RECEIPT_TEAM_ID].i64;

    if (is_expiry(row))
        return warehouse_expire(warehouse, project, row->cells[ROW_RECEIPT_DUE_AT].i64, out, err);
    return warehouse_erase(warehouse, project, &row->cells[ROW_RECEIPT_PERSON_ID].uuid, out, err);
}

int eraser_run(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err)
{
    struct warehouse_erased erased;
    struct row              row;

    if (row_read(buf_span(&eraser->order), &row, err) < 0 || carry_out(warehouse, &row, &erased, err) < 0 ||
        warehouse_add(warehouse, &row, err) < 0)
        return -1;
    row_set_text(&row, ROW_RECEIPT_STATE, is_expiry(&row) ? SPAN("done") : SPAN("warehouse done"));
    row.cells[ROW_RECEIPT_DETAIL].null = true;
    row_set_i64(&row, ROW_RECEIPT_DONE_AT, now_us);
    row_set_i64(&row, ROW_RECEIPT_EVENTS, (int64_t)erased.events);
    row_set_i64(&row, ROW_RECEIPT_DEAD_LETTERS, (int64_t)erased.dead_letters);
    row_set_i64(&row, ROW_RECEIPT_WARNINGS, (int64_t)erased.warnings);
    row_set_i64(&row, ROW_RECEIPT_VERSION, RECEIPT_WAREHOUSE_DONE);
    return warehouse_add(warehouse, &row, err);
}
