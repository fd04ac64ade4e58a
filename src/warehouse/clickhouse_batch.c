/* warehouse/clickhouse_batch.c - rows of the open batch, as they will be sent, packed as they come.
 *
 * A batch of 100,000 events is 150 MB as RowBinary and a sixth of that as LZ4: packed at once, loading needs a few dozen
 * megabytes whatever a batch holds. Rows are put together in a piece first, because the packer is cheapest with large ones.
 * Where each row ends and comes from is kept beside it: a batch that is too large for the server goes in halves
 * (clickhouse_commit.c). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "warehouse/clickhouse.h"
#include "warehouse/row_check.h"
#include "wire/utf8.h"

enum {
    PIECE_BYTES = 256 << 10,
    RAW_BYTES_MAX = 256 << 20, /* one row has at most LOG_RECORD_BYTES_MAX (32 MiB), unpacked perhaps 64 */
    PACKED_BYTES_MAX = 1 << 30, TEXTS_PIECE_BYTES = 1 << 20, TEXTS_BYTES_MAX = 128 << 20, LIST_BYTES_MAX = 64 << 20
};

/* The fastest level there is: the wire is not the neck, and the server unpacks each as quickly. */
static const LZ4F_preferences_t preferences = {
    .frameInfo = { .blockSizeID = LZ4F_max256KB, .blockMode = LZ4F_blockLinked, .contentChecksumFlag = LZ4F_contentChecksumEnabled },
    .compressionLevel = 0, .autoFlush = 1,
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
    if (all) {
        (void)LZ4F_freeCompressionContext(table->packer);
        table->packer = NULL;
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

static int packer_begin(struct clickhouse_table *table, struct err *err)
{
    uint8_t *to;
    size_t   bytes;

    if (table->packer == NULL && LZ4F_isError(LZ4F_createCompressionContext(&table->packer, LZ4F_VERSION))) {
        table->packer = NULL;
        return pack_err(err);
    }
    to = buf_reserve(&table->packed, LZ4F_HEADER_SIZE_MAX);
    if (to == NULL)
        return pack_err(err);
    bytes = LZ4F_compressBegin(table->packer, to, LZ4F_HEADER_SIZE_MAX, &preferences);
    if (LZ4F_isError(bytes))
        return pack_err(err);
    table->packed.bytes += bytes;
    table->begun = true;
    return 0;
}

/* The piece goes behind what is packed. */
static int pack_piece(struct clickhouse_table *table, struct err *err)
{
    uint8_t *to;
    size_t   bound, bytes;

    if (table->raw.bytes == 0)
        return 0;
    if (!table->begun && packer_begin(table, err) < 0)
        return -1;
    bound = LZ4F_compressBound(table->raw.bytes, &preferences);
    to = buf_reserve(&table->packed, bound);
    if (to == NULL)
        return pack_err(err);
    bytes = LZ4F_compressUpdate(table->packer, to, bound, table->raw.at, table->raw.bytes, NULL);
    if (LZ4F_isError(bytes))
        return pack_err(err);
    table->packed.bytes += bytes;
    table->packed_raw += table->raw.bytes;
    buf_reset(&table->raw);
    return 0;
}

int clickhouse_pack_end(struct clickhouse_table *table, struct err *err)
{
    uint8_t *to;
    size_t   bound, bytes;

    if (pack_piece(table, err) < 0)
        return -1;
    assert(table->begun);
    bound = LZ4F_compressBound(0, &preferences);
    to = buf_reserve(&table->packed, bound);
    if (to == NULL)
        return pack_err(err);
    bytes = LZ4F_compressEnd(table->packer, to, bound, NULL);
    if (LZ4F_isError(bytes))
        return pack_err(err);
    table->packed.bytes += bytes;
    return 0;
}

int clickhouse_pack(struct span bytes, struct buf *out, struct err *err)
{
    size_t   bound = LZ4F_compressFrameBound(bytes.bytes, &preferences), made;
    uint8_t *to = buf_reserve(out, bound);

    if (to == NULL)
        return pack_err(err);
    made = LZ4F_compressFrame(to, bound, bytes.at, bytes.bytes, &preferences);
    if (LZ4F_isError(made))
        return pack_err(err);
    out->bytes += made;
    return 0;
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

/* Packed properties become text, in the arena; out is the row with these. */
static int unpack_row(struct warehouse *warehouse, const struct row *row, struct row *out, bool *unpacked, struct err *err)
{
    const struct row_table_info *info = &row_tables[row->table];

    *unpacked = false;
    for (size_t i = 0; i < info->column_count; i++) {
        struct span text;

        if (!row_cell_packed(row, i))
            continue;
        if (!*unpacked) {
            *out = *row;
            *unpacked = true;
        }
        if (packed_text_in_arena(row->cells[i].text, warehouse->texts, &text, err) < 0) {
            if (err->kind == ERR_CORRUPT) /* this row's fault, and nobody else's */
                return err_set(err, ERR_INPUT, "%s.%s: packed properties are damaged", info->name, info->columns[i].name);
            return err_set(err, ERR_FULL, "a row's texts are larger than %d bytes", TEXTS_BYTES_MAX);
        }
        if (!utf8_valid(text))
            return row_not_utf8(info, i, text, err);
        out->cells[i].text = text;
    }
    return 0;
}

static int add_row(struct warehouse *warehouse, const struct row *row, uint64_t *clamped, struct err *err)
{
    struct clickhouse_table *table = &warehouse->tables[row->table];
    struct clickhouse_source source = { .offset = row->offset, .topic = row->topic };
    size_t                   before = table->raw.bytes;

    table->batch_rows++;
    warehouse->batch_rows++;
    if (table->there != NULL && bsearch(&source, table->there, table->there_count, sizeof source, source_compare) != NULL)
        return 0;
    clickhouse_row_write(&table->raw, row, table->columns, warehouse->options.unit, clock_wall_us(), clamped);
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
    char       details[160];
    struct row row;
    uint64_t   ignored = 0;

    row_init(&row, ROW_WARNING);
    row.topic = event->topic;
    row.offset = event->offset;
    (void)snprintf(details, sizeof details, "{\"field\":\"timestamp\",\"microseconds\":%lld,\"reason\":\"outside of 1900 to 2299\"}",
                   (long long)event->cells[ROW_EVENT_TIMESTAMP].i64);
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
    struct row with_texts;
    bool       unpacked;
    uint64_t   clamped = 0;

    assert(warehouse->magic == CLICKHOUSE_MAGIC && !warehouse->options.read_only);
    assert(row->table < ROW_TABLE_COUNT);
    if (row_check(row, err) < 0)
        return -1;
    if (warehouse->texts == NULL && (warehouse->texts = arena_new(TEXTS_PIECE_BYTES, TEXTS_BYTES_MAX)) == NULL)
        return pack_err(err);
    arena_reset(warehouse->texts);
    if (unpack_row(warehouse, row, &with_texts, &unpacked, err) < 0 ||
        add_row(warehouse, unpacked ? &with_texts : row, &clamped, err) < 0)
        return -1;
    warehouse->clamped += clamped;
    return clamped > 0 && row->table == ROW_EVENT ? add_clamp_warning(warehouse, row, err) : 0;
}

void clickhouse_rollback(struct warehouse *warehouse)
{
    clickhouse_tables_reset(warehouse, warehouse->batch_rows > 0);
}
