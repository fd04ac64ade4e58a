/* warehouse/clickhouse_batch.c - rows of the open batch, as they will be sent, packed as they come.
 *
 * A batch of 100,000 events is 150 MB as RowBinary and a sixth of that as LZ4: packed at once, loading needs a few dozen
 * megabytes whatever a batch holds. Rows are put together in a piece first, because the packer is cheapest with large ones.
 * Where each row ends and comes from is kept beside it: a batch that is too large for the server goes in halves
 * (clickhouse_commit.c). */
#include <assert.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "warehouse/clickhouse.h"
#include "warehouse/row_check.h"
#include "wire/lz4_frame.h"

enum {
    PIECE_BYTES = 256 << 10,
    CLOCK_ROWS = 64, /* their column has seconds, and to ask takes 0.05 us */
    RAW_BYTES_MAX = 256 << 20, /* one row has at most LOG_RECORD_BYTES_MAX (32 MiB), unpacked perhaps 64 */
    PACKED_BYTES_MAX = 1 << 30, LIST_BYTES_MAX = 64 << 20
};

static int pack_err(struct err *err)
{
    return err_set(err, ERR_FULL, "no memory for a batch");
}

static void table_reset(struct clickhouse_table *table, bool all)
{
    struct buf *const bufs[] = { &table->raw, &table->packed, &table->ends, &table->sources };

    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++) {
        if (all) {
            size_t bytes_max = bufs[i]->bytes_max;

            buf_fini(bufs[i]);
            buf_init(bufs[i], bytes_max);
        } else {
            buf_reset(bufs[i]);
        }
    }
    table->begun = false;
    table->packed_raw = table->rows = table->batch_rows = 0;
}

void clickhouse_tables_reset(struct warehouse *warehouse, bool all)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++) {
        struct clickhouse_table *table = &warehouse->tables[i];

        if (table->raw.bytes_max == 0) {
            buf_init(&table->raw, RAW_BYTES_MAX);
            buf_init(&table->packed, PACKED_BYTES_MAX);
            buf_init(&table->ends, LIST_BYTES_MAX);
            buf_init(&table->sources, LIST_BYTES_MAX);
        }
        table_reset(table, all);
    }
    warehouse->batch_rows = 0;
    warehouse->batch_bytes = 0;
    warehouse->clamped = 0;
}

/* The piece goes behind what is packed. */
static int pack_piece(struct clickhouse_table *table, struct err *err)
{
    if (table->raw.bytes == 0)
        return 0;
    if (!table->begun)
        lz4_frame_begin(&table->packed);
    table->begun = true;
    lz4_frame_add(&table->packed, buf_span(&table->raw));
    if (table->packed.failed)
        return pack_err(err);
    table->packed_raw += table->raw.bytes;
    buf_reset(&table->raw);
    return 0;
}

int clickhouse_pack_end(struct clickhouse_table *table, struct err *err)
{
    if (pack_piece(table, err) < 0)
        return -1;
    assert(table->begun);
    lz4_frame_end(&table->packed, 0, table->packed_raw);
    return table->packed.failed ? pack_err(err) : 0;
}

int clickhouse_pack(struct span bytes, struct buf *out, struct err *err)
{
    size_t at = out->bytes;

    lz4_frame_begin(out);
    lz4_frame_add(out, bytes);
    lz4_frame_end(out, at, bytes.bytes);
    return out->failed ? pack_err(err) : 0;
}

int clickhouse_unpack(const struct clickhouse_table *table, struct buf *out, struct err *err)
{
    LZ4F_dctx *unpacker = NULL;
    size_t     at = 0, left = table->packed_raw;
    uint8_t   *to = buf_reserve(out, left > 0 ? left : 1);
    int        rc = -1;

    if (to == NULL || LZ4F_isError(LZ4F_createDecompressionContext(&unpacker, LZ4F_VERSION)))
        return pack_err(err);
    while (left > 0) {
        size_t made = left, taken = table->packed.bytes - at, hint;

        hint = LZ4F_decompress(unpacker, to, &made, table->packed.at + at, &taken, NULL);
        if (LZ4F_isError(hint) || (made == 0 && taken == 0)) {
            err_set(err, ERR_STOP, "a packed batch cannot be unpacked");
            goto out;
        }
        at += taken;
        to += made;
        left -= made;
        out->bytes += made;
    }
    rc = 0;
out:
    (void)LZ4F_freeDecompressionContext(unpacker);
    return rc;
}

/* --- one row ----------------------------------------------------------------------------------- */

static int source_compare(const void *a, const void *b)
{
    const struct clickhouse_source *one = a, *other = b;

    if (one->topic != other->topic)
        return one->topic < other->topic ? -1 : 1;
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

static int add_row(struct warehouse *warehouse, const struct row *row, uint64_t *clamped, struct err *err)
{
    struct clickhouse_table *table = &warehouse->tables[row->table];
    struct clickhouse_source source = { .offset = row->offset, .topic = row->topic };
    size_t                   before = table->raw.bytes;
    bool there = table->there != NULL && bsearch(&source, table->there, table->there_count, sizeof source, source_compare) != NULL;

    if (warehouse->batch_rows % CLOCK_ROWS == 0)
        warehouse->now_us = clock_wall_us();
    if (!there && clickhouse_row_write(&table->raw, row, table->columns, warehouse->options.unit, warehouse->now_us, clamped, err) < 0)
        return -1;
    table->batch_rows++;
    warehouse->batch_rows++;
    if (there)
        return 0;
    buf_add(&table->sources, span_of(&source, sizeof source));
    buf_add_u64(&table->ends, table->packed_raw + table->raw.bytes);
    if (table->raw.failed || table->sources.failed || table->ends.failed)
        return pack_err(err);
    table->rows++;
    warehouse->batch_bytes += table->raw.bytes - before;
    return table->raw.bytes >= PIECE_BYTES ? pack_piece(table, err) : 0;
}

/* An event whose time no column can hold is kept, with another time, and its project is told. */
static int add_clamp_warning(struct warehouse *warehouse, const struct row *event, struct err *err)
{
    char       details[240], uuid[UUID_TEXT_BYTES];
    struct row row;
    uint64_t   ignored = 0;

    row_init(&row, ROW_WARNING);
    row.topic = event->topic;
    row.offset = event->offset;
    uuid_format(&event->cells[ROW_EVENT_UUID].uuid, uuid);
    (void)snprintf(details, sizeof details, "{\"field\":\"timestamp\",\"microseconds\":%lld,\"reason\":\"outside of 1900 to 2299\","
                   "\"eventUuid\":\"%.*s\",\"category\":\"event\",\"severity\":\"warning\"}",
                   (long long)event->cells[ROW_EVENT_TIMESTAMP].i64, UUID_TEXT_BYTES, uuid);
    row.cells[ROW_WARNING_TEAM_ID] = event->cells[ROW_EVENT_TEAM_ID];
    row_set_text(&row, ROW_WARNING_SOURCE, SPAN("load"));
    row_set_text(&row, ROW_WARNING_TYPE, SPAN("ignored_invalid_timestamp"));
    row_set_text(&row, ROW_WARNING_DETAILS, span_text(details));
    row_set_i64(&row, ROW_WARNING_TIMESTAMP, clock_wall_us());
    row_set_text(&row, ROW_WARNING_CATEGORY, SPAN("event"));
    row_set_text(&row, ROW_WARNING_SEVERITY, SPAN("warning"));
    row.cells[ROW_WARNING_EVENT_UUID] = event->cells[ROW_EVENT_UUID];
    row.cells[ROW_WARNING_DISTINCT_ID] = event->cells[ROW_EVENT_DISTINCT_ID];
    return add_row(warehouse, &row, &ignored, err);
}

int clickhouse_add(struct warehouse *warehouse, const struct row *row, struct err *err)
{
    uint64_t clamped = 0;

    assert(warehouse->magic == CLICKHOUSE_MAGIC && !warehouse->options.read_only);
    assert(row->table < ROW_TABLE_COUNT);
    if (row_check(row, err) < 0 || add_row(warehouse, row, &clamped, err) < 0)
        return -1;
    warehouse->clamped += clamped;
    return clamped > 0 && row->table == ROW_EVENT ? add_clamp_warning(warehouse, row, err) : 0;
}

void clickhouse_rollback(struct warehouse *warehouse)
{
    clickhouse_tables_reset(warehouse, warehouse->batch_rows > 0);
}
