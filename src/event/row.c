/* event/row.c - the stored form of rows, driven by the column lists of row.h. */
#include "event/row.h"

#include <assert.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "event/packed.h"
#include "wire/json.h"
#include "wire/time.h"

enum { ROW_VERSION = 3, ROW_VERSION_OLDEST = 1, ROW_VERSION_NEWEST = ROW_VERSION + 16 /* to come */, ROW_HEAD_BYTES = 12 };

#define ROW_COLUMN(name, type, suffix) { name, type },
static const struct row_column row_event_columns[] = { ROW_EVENT_COLUMNS(ROW_COLUMN) };
static const struct row_column row_person_columns[] = { ROW_PERSON_COLUMNS(ROW_COLUMN) };
static const struct row_column row_distinct_columns[] = { ROW_DISTINCT_COLUMNS(ROW_COLUMN) };
static const struct row_column row_group_columns[] = { ROW_GROUP_COLUMNS(ROW_COLUMN) };
static const struct row_column row_warning_columns[] = { ROW_WARNING_COLUMNS(ROW_COLUMN) };
static const struct row_column row_dead_letter_columns[] = { ROW_DEAD_LETTER_COLUMNS(ROW_COLUMN) };
static const struct row_column row_event_definition_columns[] = { ROW_EVENT_DEFINITION_COLUMNS(ROW_COLUMN) };
static const struct row_column row_property_definition_columns[] = { ROW_PROPERTY_DEFINITION_COLUMNS(ROW_COLUMN) };
static const struct row_column row_event_property_columns[] = { ROW_EVENT_PROPERTY_COLUMNS(ROW_COLUMN) };
static const struct row_column row_heatmap_columns[] = { ROW_HEATMAP_COLUMNS(ROW_COLUMN) };
static const struct row_column row_receipt_columns[] = { ROW_RECEIPT_COLUMNS(ROW_COLUMN) };

const struct row_table_info row_tables[ROW_TABLE_COUNT] = {
    [ROW_EVENT] = { "events", "events", ROW_EVENT_COUNT, row_event_columns },
    [ROW_PERSON] = { "persons", "people", ROW_PERSON_COUNT, row_person_columns },
    [ROW_DISTINCT] = { "person_distinct_ids", "people", ROW_DISTINCT_COUNT, row_distinct_columns },
    [ROW_GROUP] = { "groups", "people", ROW_GROUP_COUNT, row_group_columns },
    [ROW_WARNING] = { "ingestion_warnings", "warnings", ROW_WARNING_COUNT, row_warning_columns },
    [ROW_DEAD_LETTER] = { "dead_letters", "dead_letters", ROW_DEAD_LETTER_COUNT, row_dead_letter_columns },
    [ROW_EVENT_DEFINITION] = { "event_definitions", "definitions", ROW_EVENT_DEFINITION_COUNT, row_event_definition_columns },
    [ROW_PROPERTY_DEFINITION] = { "property_definitions", "definitions", ROW_PROPERTY_DEFINITION_COUNT,
                                  row_property_definition_columns },
    [ROW_EVENT_PROPERTY] = { "event_properties", "definitions", ROW_EVENT_PROPERTY_COUNT, row_event_property_columns },
    [ROW_HEATMAP] = { "heatmaps", "heatmaps", ROW_HEATMAP_COUNT, row_heatmap_columns },
    [ROW_RECEIPT] = { "receipts", "receipts", ROW_RECEIPT_COUNT, row_receipt_columns },
};

void row_init(struct row *row, enum row_table table)
{
    row->table = table;
    row->topic = 0;
    row->offset = 0;
    for (size_t i = 0; i < row_tables[table].column_count; i++)
        row->cells[i] = (struct row_cell){ .null = true };
}

static size_t cell_bytes(enum row_type type, const struct row_cell *cell)
{
    switch (type) {
    case ROW_I64: case ROW_BOOL: case ROW_TIME:
        return 8;
    case ROW_UUID:
        return 16;
    case ROW_TEXT: case ROW_JSON:
        return 4 + cell->text.bytes;
    }
    return 0;
}

size_t row_bytes(const struct row *row)
{
    const struct row_table_info *info = &row_tables[row->table];
    size_t                       bytes = ROW_HEAD_BYTES;

    for (size_t i = 0; i < info->column_count; i++)
        if (!row->cells[i].null)
            bytes += cell_bytes(info->columns[i].type, &row->cells[i]);
    return bytes;
}

void row_write(const struct row *row, uint8_t *to)
{
    const struct row_table_info *info = &row_tables[row->table];
    uint64_t                     nulls = 0;
    uint8_t                     *at = to + ROW_HEAD_BYTES;

    for (size_t i = 0; i < info->column_count; i++) {
        const struct row_cell *cell = &row->cells[i];

        if (cell->null) {
            nulls |= (uint64_t)1 << i;
            continue;
        }
        switch (info->columns[i].type) {
        case ROW_I64: case ROW_BOOL: case ROW_TIME:
            bytes_put_u64(at, (uint64_t)cell->i64);
            at += 8;
            break;
        case ROW_UUID:
            memcpy(at, cell->uuid.bytes, 16);
            at += 16;
            break;
        case ROW_TEXT: case ROW_JSON:
            assert(cell->text.bytes <= UINT32_MAX);
            bytes_put_u32(at, (uint32_t)cell->text.bytes);
            if (cell->text.bytes > 0)
                memcpy(at + 4, cell->text.at, cell->text.bytes);
            at += 4 + cell->text.bytes;
            break;
        }
    }
    to[0] = ROW_VERSION;
    to[1] = (uint8_t)row->table;
    bytes_put_u16(to + 2, (uint16_t)info->column_count);
    bytes_put_u64(to + 4, nulls);
}

/* Passes one cell of this type at *at; false when it does not fit before end. */
static bool cell_read(enum row_type type, const uint8_t **at, const uint8_t *end, struct row_cell *out)
{
    size_t left = (size_t)(end - *at);
    size_t bytes;

    *out = (struct row_cell){ .null = false };
    switch (type) {
    case ROW_I64: case ROW_BOOL: case ROW_TIME:
        if (left < 8)
            return false;
        out->i64 = (int64_t)bytes_get_u64(*at);
        *at += 8;
        return true;
    case ROW_UUID:
        if (left < 16)
            return false;
        memcpy(out->uuid.bytes, *at, 16);
        *at += 16;
        return true;
    case ROW_TEXT: case ROW_JSON:
        if (left < 4)
            return false;
        bytes = bytes_get_u32(*at);
        if (bytes > left - 4)
            return false;
        out->text = span_of(*at + 4, bytes);
        *at += 4 + bytes;
        return true;
    }
    return false;
}

int row_read(struct span body, struct row *out, struct err *err)
{
    const uint8_t               *at = body.at + ROW_HEAD_BYTES, *end = body.at + body.bytes;
    const struct row_table_info *info;
    unsigned                     cells;
    uint64_t                     nulls;

    if (body.bytes < ROW_HEAD_BYTES)
        return err_set(err, ERR_CORRUPT, "a row of %zu bytes is shorter than its head of %d", body.bytes,
                       ROW_HEAD_BYTES);
    if (body.at[0] > ROW_VERSION && body.at[0] <= ROW_VERSION_NEWEST)
        return err_set(err, ERR_RETRY, "row of version %u, of a newer Penstock; this one reads up to version %d: start the newer one",
                       body.at[0], ROW_VERSION);
    if (body.at[0] < ROW_VERSION_OLDEST || body.at[0] > ROW_VERSION)
        return err_set(err, ERR_CORRUPT, "row of version %u; this Penstock reads version %d", body.at[0], ROW_VERSION);
    if (body.at[1] >= ROW_TABLE_COUNT)
        return err_set(err, ERR_CORRUPT, "row of unknown table %u", body.at[1]);
    info = &row_tables[body.at[1]];
    cells = bytes_get_u16(body.at + 2);
    nulls = bytes_get_u64(body.at + 4);
    row_init(out, body.at[1]);
    for (unsigned i = 0; i < cells && i < info->column_count; i++)
        if ((nulls >> i & 1) == 0 && !cell_read(info->columns[i].type, &at, end, &out->cells[i]))
            return err_set(err, ERR_CORRUPT, "%s row ends inside column %s", info->name, info->columns[i].name);
    return 0;
}

int row_unpack(struct row *row, struct arena *arena, struct err *err)
{
    const struct row_table_info *info = &row_tables[row->table];

    for (size_t i = 0; i < info->column_count; i++)
        if (info->columns[i].type == ROW_JSON && !row->cells[i].null &&
            packed_text_in_arena(row->cells[i].text, arena, &row->cells[i].text, err) < 0)
            return err_wrap(err, info->columns[i].name);
    return 0;
}

static void cell_write_json(enum row_type type, const struct row_cell *cell, struct buf *out)
{
    char       uuid[UUID_TEXT_BYTES];
    struct err ignored;

    switch (type) {
    case ROW_I64:
        buf_add_format(out, "%" PRId64, cell->i64);
        return;
    case ROW_BOOL:
        buf_add_text(out, cell->i64 != 0 ? "true" : "false");
        return;
    case ROW_TIME:
        buf_add_byte(out, '"');
        time_write_rfc3339(out, cell->i64);
        buf_add_byte(out, '"');
        return;
    case ROW_UUID:
        uuid_format(&cell->uuid, uuid);
        buf_add_byte(out, '"');
        buf_add(out, span_of(uuid, sizeof uuid));
        buf_add_byte(out, '"');
        return;
    case ROW_TEXT:
        json_write_string(out, cell->text);
        return;
    case ROW_JSON:
        if (packed_text_to_buf(cell->text, out, &ignored) < 0)
            buf_add_text(out, "null");
        return;
    }
}

void row_write_json(const struct row *row, struct buf *out)
{
    const struct row_table_info *info = &row_tables[row->table];
    bool                         first = true;

    buf_add_byte(out, '{');
    for (size_t i = 0; i < info->column_count; i++) {
        if (row->cells[i].null)
            continue;
        buf_add_format(out, "%s\"%s\":", first ? "" : ",", info->columns[i].name);
        cell_write_json(info->columns[i].type, &row->cells[i], out);
        first = false;
    }
    buf_add_byte(out, '}');
}
