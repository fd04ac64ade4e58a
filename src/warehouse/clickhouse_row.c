/* warehouse/clickhouse_row.c - a row of event/row.h in the form RowBinary: values one after another, little-endian.
 *
 * Columns of tables that PostHog has are of its types: most are not Nullable, so what is null here is empty or zero there,
 * and the views for queries (clickhouse_schema.c) make a null of it again. Instants outside of what DateTime64 can
 * calculate with (1900 to 2299) are moved to its ends, and that is told: an event must not be lost for its clock. */
#include <string.h>

#include "warehouse/clickhouse.h"

#define TIME_US_MIN ((int64_t)-2208988800 * 1000000)          /* 1900-01-01 */
#define TIME_US_MAX ((int64_t)10413791999 * 1000000 + 999999) /* 2299-12-31 23:59:59.999999 */

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static void put(struct buf *out, uint64_t value, size_t bytes)
{
    uint8_t *to = buf_reserve(out, 8);

    if (to == NULL)
        return;
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
    out->bytes += bytes;
}

static void put_text(struct buf *out, struct span text)
{
    uint8_t *to = buf_reserve(out, text.bytes + 10);
    size_t   left = text.bytes, at = 0;

    if (to == NULL)
        return;
    for (; left >= 0x80; left >>= 7)
        to[at++] = (uint8_t)(left | 0x80);
    to[at++] = (uint8_t)left;
    if (text.bytes > 0)
        memcpy(to + at, text.at, text.bytes);
    out->bytes += at + text.bytes;
}

/* Two numbers of 64 bits, the first half of the UUID first. */
static void put_uuid(struct buf *out, const struct uuid *uuid)
{
    uint8_t *to = buf_reserve(out, 16);

    if (to == NULL)
        return;
    for (size_t i = 0; i < 8; i++) {
        to[i] = uuid->bytes[7 - i];
        to[8 + i] = uuid->bytes[15 - i];
    }
    out->bytes += 16;
}

static int64_t put_time(int64_t us, uint64_t *clamped)
{
    int64_t in = clamp(us, TIME_US_MIN, TIME_US_MAX);

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

static void put_cell(struct buf *out, int type, const struct row_cell *cell, uint64_t *clamped)
{
    int64_t number = cell->null ? 0 : cell->i64;

    switch ((enum clickhouse_type)(type & ~CLICKHOUSE_NULLABLE)) {
    case CLICKHOUSE_I8:
        put(out, (uint64_t)clamp(number, INT8_MIN, INT8_MAX), 1);
        return;
    case CLICKHOUSE_U8:
        put(out, (uint64_t)clamp(number, 0, UINT8_MAX), 1);
        return;
    case CLICKHOUSE_I16:
        put(out, (uint64_t)clamp(number, INT16_MIN, INT16_MAX), 2);
        return;
    case CLICKHOUSE_I64:
        put(out, (uint64_t)number, 8);
        return;
    case CLICKHOUSE_BOOL:
        put(out, number != 0, 1);
        return;
    case CLICKHOUSE_MODE:
        put(out, cell->null ? 0 : mode_of(cell->text), 1);
        return;
    case CLICKHOUSE_TIME6:
        put(out, (uint64_t)put_time(number, clamped), 8);
        return;
    case CLICKHOUSE_TIME3:
        put(out, (uint64_t)milliseconds(put_time(number, clamped)), 8);
        return;
    case CLICKHOUSE_UUID:
        put_uuid(out, cell->null ? &(struct uuid){ { 0 } } : &cell->uuid);
        return;
    case CLICKHOUSE_TEXT:
        put_text(out, cell->null ? SPAN("") : cell->text);
        return;
    case CLICKHOUSE_NULLABLE:
        return;
    }
}

static void put_own(struct buf *out, int which, const struct row *row, uint32_t unit, int64_t now_us)
{
    switch (which) {
    case CLICKHOUSE_NOW:
        put(out, (uint64_t)now_us / 1000000, 4);
        return;
    case CLICKHOUSE_OFFSET:
        put(out, row->offset, 8);
        return;
    case CLICKHOUSE_UNIT:
        put(out, unit, 8);
        return;
    case CLICKHOUSE_TOPIC:
        put(out, row->topic, 1);
        return;
    }
}

void clickhouse_row_write(struct buf *out, const struct row *row, uint64_t which, uint32_t unit, int64_t now_us,
                          uint64_t *clamped)
{
    const struct clickhouse_columns *table = &clickhouse_columns[row->table];

    for (size_t i = 0; i < table->count; i++) {
        const struct clickhouse_column *column = &table->columns[i];

        if ((which >> i & 1) == 0)
            continue;
        if (column->cell < 0) {
            put_own(out, column->cell, row, unit, now_us);
            continue;
        }
        if (column->type & CLICKHOUSE_NULLABLE) {
            put(out, row->cells[column->cell].null, 1);
            if (row->cells[column->cell].null)
                continue;
        }
        put_cell(out, column->type, &row->cells[column->cell], clamped);
    }
}
