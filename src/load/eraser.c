/* load/eraser.c - see eraser.h. The receipt's row is the order's, with what came of it. */
#include "load/eraser.h"

#include <assert.h>

#include "base/bytes.h"
#include "base/say.h"
#include "event/unit_ends.h"
#include "load/follow.h"

enum { ORDER_BYTES_MAX = 8 << 20, RECEIPT_WAREHOUSE_DONE = 3, ASK_EVERY_US = 200000, ROW_HEAD_BYTES = 16 };
/* Rows of one batch of orders: more are not begun; one may be as long as it is. */
enum { ROWS_BYTES_MAX = 4 * ORDER_BYTES_MAX, ROWS_BYTES_ENOUGH = ORDER_BYTES_MAX };

void eraser_init(struct eraser *eraser)
{
    *eraser = (struct eraser){ .waiting = false };
    buf_init(&eraser->rows, ROWS_BYTES_MAX);
    buf_init(&eraser->others, ORDER_BYTES_MAX);
}

void eraser_fini(struct eraser *eraser)
{
    buf_fini(&eraser->rows);
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

/* Keeps a row, and of an order what it says. */
static int keep(struct eraser *eraser, const struct row *row, struct span body, uint64_t offset, struct err *err)
{
    const struct row_cell *others = &row->cells[ROW_RECEIPT_DETAIL], *ids = &row->cells[ROW_RECEIPT_DISTINCT_IDS];

    buf_add_u64(&eraser->rows, offset);
    buf_add_u64(&eraser->rows, body.bytes);
    buf_add(&eraser->rows, body);
    if (eraser_is_order(row)) {
        eraser->orders[eraser->count++] = (struct warehouse_order){ offset, row->cells[ROW_RECEIPT_PERSON_ID].uuid };
        eraser->ids += ids->null || ids->i64 < 0 ? 0 : (uint64_t)ids->i64;
        if (!eraser->again && !eraser->expiry && !others->null) {
            buf_reset(&eraser->others);
            buf_add(&eraser->others, others->text);
        }
    }
    eraser->until = offset + 1;
    return eraser->rows.failed || eraser->others.failed ? err_set(err, ERR_FULL, "no memory for an order to erase") : 0;
}

void eraser_reset(struct eraser *eraser)
{
    eraser->gathering = eraser->waiting = false;
}

int eraser_meet(struct eraser *eraser, struct warehouse *warehouse, const struct row *row, struct span body, uint64_t offset,
                uint64_t again_until, struct err *err)
{
    buf_reset(&eraser->rows);
    buf_reset(&eraser->others);
    eraser->asked_us = 0;
    eraser->again = again_until != UINT64_MAX;
    eraser->expiry = is_expiry(row);
    eraser->project = (uint32_t)row->cells[ROW_RECEIPT_TEAM_ID].i64;
    eraser->count = 0;
    eraser->count_max = eraser->expiry ? 1 : warehouse_erase_max(warehouse);
    eraser->ids = 0;
    eraser->fixed = eraser->again ? again_until : 0;
    if (!eraser->expiry && !eraser->again && warehouse_erase_fix(warehouse, offset, &eraser->fixed, err) < 0)
        return -1;
    return keep(eraser, row, body, offset, err);
}

bool eraser_wants(const struct eraser *eraser)
{
    if (eraser->fixed > 0)
        return eraser->until < eraser->fixed;
    return eraser->count < eraser->count_max && eraser->ids < ERASER_IDS_MAX && eraser->rows.bytes < ROWS_BYTES_ENOUGH;
}

int eraser_take(struct eraser *eraser, const struct row *row, struct span body, uint64_t offset, struct err *err)
{
    if (row->table != ROW_RECEIPT || (eraser->fixed > 0 && offset >= eraser->fixed))
        return 0;
    if (eraser_is_order(row)) {
        if (is_expiry(row) || row->cells[ROW_RECEIPT_TEAM_ID].i64 != eraser->project || eraser->count == WAREHOUSE_ERASE_MAX)
            return 0;
        for (size_t i = 0; i < eraser->count; i++) /* who was made again, and is erased again */
            if (uuid_equal(&eraser->orders[i].person, &row->cells[ROW_RECEIPT_PERSON_ID].uuid))
                return 0;
    }
    return keep(eraser, row, body, offset, err) < 0 ? -1 : 1;
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

/* What came of an order. */
static int add_done(struct eraser *eraser, struct warehouse *warehouse, struct row *row, const struct warehouse_erased *erased, int64_t now_us,
                    struct err *err)
{
    row_set_text(row, ROW_RECEIPT_STATE, eraser->expiry ? SPAN("done") : SPAN("warehouse done"));
    row->cells[ROW_RECEIPT_DETAIL].null = true;
    row_set_i64(row, ROW_RECEIPT_DONE_AT, now_us);
    row_set_i64(row, ROW_RECEIPT_EVENTS, (int64_t)erased->events);
    row_set_i64(row, ROW_RECEIPT_DEAD_LETTERS, (int64_t)erased->dead_letters);
    row_set_i64(row, ROW_RECEIPT_WARNINGS, (int64_t)erased->warnings);
    row_set_i64(row, ROW_RECEIPT_VERSION, RECEIPT_WAREHOUSE_DONE);
    return warehouse_add(warehouse, row, err);
}

static int carry_out(struct eraser *eraser, struct warehouse *warehouse, struct warehouse_erased *each_out, struct err *err)
{
    uint64_t   until = eraser->until;
    struct row row;

    if (eraser->expiry)
        return row_read(span_from(buf_span(&eraser->rows), ROW_HEAD_BYTES), &row, err) < 0
                   ? -1
                   : warehouse_expire(warehouse, eraser->project, row.cells[ROW_RECEIPT_DUE_AT].i64, each_out, err);
    if (!eraser->again && eraser->fixed == 0) {
        if (warehouse_erase_fix(warehouse, eraser->orders[0].offset, &until, err) < 0)
            return -1;
        if (until != eraser->until)
            return err_set(err, ERR_RETRY, "another process has begun to carry out these orders to erase");
    }
    return warehouse_erase(warehouse, eraser->project, eraser->orders, eraser->count, each_out, err);
}

int eraser_run(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us, struct err *err)
{
    struct warehouse_erased each[WAREHOUSE_ERASE_MAX];
    struct span             left = buf_span(&eraser->rows);
    size_t                  order = 0;

    if (carry_out(eraser, warehouse, each, err) < 0)
        return -1;
    while (left.bytes > 0) {
        uint64_t   bytes = bytes_get_u64(left.at + 8);
        struct row row;

        if (row_read(span_of(left.at + ROW_HEAD_BYTES, bytes), &row, err) < 0)
            return -1;
        row.topic = FOLLOW_RECEIPTS;
        row.offset = bytes_get_u64(left.at);
        if (warehouse_add(warehouse, &row, err) < 0 ||
            (eraser_is_order(&row) && add_done(eraser, warehouse, &row, &each[order++], now_us, err) < 0))
            return -1;
        left = span_from(left, ROW_HEAD_BYTES + bytes);
    }
    assert(order == eraser->count);
    return 0;
}
