/* load/eraser.c - see eraser.h. The receipt's row is the order's, with what came of it. */
#include "load/eraser.h"

#include "base/say.h"

enum { ORDER_BYTES_MAX = 1 << 20, RECEIPT_WAREHOUSE_DONE = 3 };

void eraser_init(struct eraser *eraser)
{
    *eraser = (struct eraser){ .waiting = false };
    buf_init(&eraser->order, ORDER_BYTES_MAX);
}

void eraser_fini(struct eraser *eraser)
{
    buf_fini(&eraser->order);
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
    row_set_i64(&row, ROW_RECEIPT_DONE_AT, now_us);
    row_set_i64(&row, ROW_RECEIPT_EVENTS, (int64_t)erased.events);
    row_set_i64(&row, ROW_RECEIPT_DEAD_LETTERS, (int64_t)erased.dead_letters);
    row_set_i64(&row, ROW_RECEIPT_WARNINGS, (int64_t)erased.warnings);
    row_set_i64(&row, ROW_RECEIPT_VERSION, RECEIPT_WAREHOUSE_DONE);
    return warehouse_add(warehouse, &row, err);
}
