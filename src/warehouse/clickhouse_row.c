/* warehouse/clickhouse_row.c - a row of event/row.h in the form RowBinary: values one after another, little-endian.
 *
 * Columns of tables that PostHog has are of its types: most are not Nullable, so what is null here is empty or zero there,
 * and the views for queries (clickhouse_schema.c) make a null of it again. Instants outside of what DateTime64 can
 * calculate with (1900 to 2299) are moved to its ends, and that is told: an event must not be lost for its clock. */
#include <string.h>

#include "base/bytes.h"
#include "event/packed.h"
#include "warehouse/clickhouse.h"
#include "warehouse/row_check.h"
#include "wire/utf8.h"

enum { CELL_BYTES_MAX = 24 }; /* beside its text: a null's byte, a length or number, and what a number of 8 bytes writes over its end */

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* Writes up to 8 bytes, whatever counts of them. */
static uint8_t *put(uint8_t *to, uint64_t value, size_t bytes)
{
    bytes_put_u64(to, value);
    return to + bytes;
}

static uint8_t *put_length(uint8_t *to, size_t left)
{
    for (; left >= 0x80; left >>= 7)
        *to++ = (uint8_t)(left | 0x80);
    *to++ = (uint8_t)left;
    return to;
}

static uint8_t *put_text(uint8_t *to, struct span text)
{
    to = put_length(to, text.bytes);
    if (text.bytes > 0)
        memcpy(to, text.at, text.bytes);
    return to + text.bytes;
}

/* Two numbers of 64 bits, the first half of the UUID first. */
static uint8_t *put_uuid(uint8_t *to, const struct uuid *uuid)
{
    for (size_t i = 0; i < 8; i++) {
        to[i] = uuid->bytes[7 - i];
        to[8 + i] = uuid->bytes[15 - i];
    }
    return to + 16;
}

static int64_t put_time(int64_t us, uint64_t *clamped)
{
    int64_t in = clamp(us, ROW_TIME_US_MIN, ROW_TIME_US_MAX);

    *clamped += in != us;
    return in;
}

static uint64_t mode_of(struct span text)
{
    return span_is(text, "propertyless") ? 1 : span_is(text, "force_upgrade") ? 2 : 0;
}

static int64_t milliseconds(int64_t us)
{
    return us / 1000 - (us % 1000 < 0);
}

static uint8_t *put_cell(uint8_t *to, int type, const struct row_cell *cell, uint64_t *clamped)
{
    int64_t number = cell->null ? 0 : cell->i64;

    switch ((enum clickhouse_type)(type & ~CLICKHOUSE_NULLABLE)) {
    case CLICKHOUSE_I8:
        return put(to, (uint64_t)clamp(number, INT8_MIN, INT8_MAX), 1);
    case CLICKHOUSE_U8:
        return put(to, (uint64_t)clamp(number, 0, UINT8_MAX), 1);
    case CLICKHOUSE_I16:
        return put(to, (uint64_t)clamp(number, INT16_MIN, INT16_MAX), 2);
    case CLICKHOUSE_I64:
        return put(to, (uint64_t)number, 8);
    case CLICKHOUSE_BOOL:
        return put(to, number != 0, 1);
    case CLICKHOUSE_MODE:
        return put(to, cell->null ? 0 : mode_of(cell->text), 1);
    case CLICKHOUSE_TIME6:
        return put(to, (uint64_t)put_time(number, clamped), 8);
    case CLICKHOUSE_TIME3:
        return put(to, (uint64_t)milliseconds(put_time(number, clamped)), 8);
    case CLICKHOUSE_UUID:
        return put_uuid(to, cell->null ? &(struct uuid){ { 0 } } : &cell->uuid);
    case CLICKHOUSE_TEXT:
        return put_text(to, cell->null ? SPAN("") : cell->text);
    case CLICKHOUSE_NULLABLE:
        return to;
    }
    return to;
}

static uint8_t *put_own(uint8_t *to, int which, const struct row *row, uint32_t unit, int64_t now_us)
{
    switch (which) {
    case CLICKHOUSE_NOW:
        return put(to, (uint64_t)now_us / 1000000, 4);
    case CLICKHOUSE_OFFSET:
        return put(to, row->offset, 8);
    case CLICKHOUSE_UNIT:
        return put(to, unit, 8);
    case CLICKHOUSE_TOPIC:
        return put(to, row->topic, 1);
    }
    return to;
}

/* This row's fault, and nobody else's. */
static void damaged(const struct row *row, size_t cell, struct err *err)
{
    err_set(err, ERR_INPUT, "%s.%s: packed properties are damaged", row_tables[row->table].name, row_tables[row->table].columns[cell].name);
}

/* Room for the row that is certainly enough; packed properties become text, whose lengths are noted by cell. 0: they are damaged. */
static size_t row_room(const struct row *row, size_t packed_bytes[ROW_CELLS_MAX], struct err *err)
{
    const struct clickhouse_columns *table = &clickhouse_columns[row->table];
    size_t                           room = table->count * CELL_BYTES_MAX;

    for (size_t i = 0; i < table->count; i++) {
        int cell = table->columns[i].cell;

        if ((table->columns[i].type & ~CLICKHOUSE_NULLABLE) != CLICKHOUSE_TEXT || cell < 0 || row->cells[cell].null)
            continue;
        if (!row_cell_packed(row, (size_t)cell)) {
            room += row->cells[cell].text.bytes;
            continue;
        }
        if (packed_text_bytes(row->cells[cell].text, &packed_bytes[cell], err) < 0) {
            damaged(row, (size_t)cell, err);
            return 0;
        }
        room += packed_bytes[cell];
    }
    return room;
}

/* The text of so many bytes. NULL: damaged. */
static uint8_t *put_packed(uint8_t *to, const struct row *row, size_t cell, size_t bytes, struct err *err)
{
    to = put_length(to, bytes);
    if (packed_text(row->cells[cell].text, to, err) < 0) {
        damaged(row, cell, err);
        return NULL;
    }
    if (!utf8_valid(span_of(to, bytes))) {
        (void)row_not_utf8(&row_tables[row->table], cell, span_of(to, bytes), err);
        return NULL;
    }
    return to + bytes;
}

int clickhouse_row_write(struct buf *out, const struct row *row, uint64_t which, uint32_t unit, int64_t now_us,
                         uint64_t *clamped, struct err *err)
{
    const struct clickhouse_columns *table = &clickhouse_columns[row->table];
    size_t                           packed_bytes[ROW_CELLS_MAX];
    size_t                           room = row_room(row, packed_bytes, err);
    uint8_t                         *to = room == 0 ? NULL : buf_reserve(out, room);

    if (room == 0)
        return -1;
    if (to == NULL)
        return err_set(err, ERR_FULL, "no memory for a row of %zu bytes", room);
    for (size_t i = 0; i < table->count; i++) {
        const struct clickhouse_column *column = &table->columns[i];
        const struct row_cell          *cell;

        if ((which >> i & 1) == 0)
            continue;
        if (column->cell < 0) {
            to = put_own(to, column->cell, row, unit, now_us);
            continue;
        }
        cell = &row->cells[column->cell];
        if (column->type & CLICKHOUSE_NULLABLE) {
            to = put(to, cell->null, 1);
            if (cell->null)
                continue;
        }
        to = row_cell_packed(row, (size_t)column->cell)
                 ? put_packed(to, row, (size_t)column->cell, packed_bytes[column->cell], err)
                 : put_cell(to, column->type, cell, clamped);
        if (to == NULL)
            return -1;
    }
    out->bytes = (size_t)(to - out->at);
    return 0;
}
