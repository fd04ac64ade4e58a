/* event/upstream_row.c - see upstream_row.h. Everything that a message points to is written into one buffer, which may move while
 * it grows: so places in it are kept as offsets until the last byte is there. */
#include "event/upstream_row.h"

#include <inttypes.h>
#include <stdio.h>

#include "event/packed.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/time.h"

enum { SECONDS = 0, MILLISECONDS = 3 }; /* digits of a second's fraction */

/* A text of the buffer that the message will point to. */
struct part { size_t at, bytes; };

static struct span part_span(const struct part *part, const struct buf *room)
{
    return span_of(room->at + part->at, part->bytes);
}

static struct part part_end(const struct buf *room, size_t from)
{
    return (struct part){ from, room->bytes - from };
}

/* --- members ----------------------------------------------------------------------------------- */

/* name as it stands in front of the value: `{"uuid":` or `,"event":`. */
static void put_text(struct buf *out, const char *name, const struct row_cell *cell)
{
    buf_add_text(out, name);
    json_write_string(out, cell->null ? SPAN("") : cell->text);
}

static int put_json(struct buf *out, const char *name, const struct row_cell *cell, struct err *err)
{
    struct buf text;
    int        rc = 0;

    buf_add_text(out, name);
    if (cell->null) {
        buf_add_text(out, "\"{}\"");
        return 0;
    }
    if (!packed_is(cell->text)) {
        json_write_string(out, cell->text);
        return 0;
    }
    buf_init(&text, out->bytes_max);
    rc = packed_text_to_buf(cell->text, &text, err);
    if (rc == 0 && text.failed)
        rc = err_set(err, ERR_FULL, "no memory for properties");
    if (rc == 0)
        json_write_string(out, buf_span(&text));
    buf_fini(&text);
    return rc;
}

static void put_uuid(struct buf *out, const char *name, const struct row_cell *cell)
{
    char text[UUID_TEXT_BYTES];

    uuid_format(&cell->uuid, text);
    buf_add_text(out, name);
    buf_add_byte(out, '"');
    buf_add(out, span_of(text, sizeof text));
    buf_add_byte(out, '"');
}

static void put_int(struct buf *out, const char *name, const struct row_cell *cell)
{
    buf_add_format(out, "%s%" PRId64, name, cell->null ? 0 : cell->i64);
}

/* Into a column of 16 bits, which would take another number for one that it cannot hold. */
static void put_int16(struct buf *out, const char *name, const struct row_cell *cell)
{
    int64_t number = cell->null ? 0 : cell->i64;

    number = number < INT16_MIN ? INT16_MIN : number > INT16_MAX ? INT16_MAX : number;
    buf_add_format(out, "%s%" PRId64, name, number);
}

static void put_bool(struct buf *out, const char *name, const struct row_cell *cell)
{
    buf_add_text(out, name);
    buf_add_text(out, !cell->null && cell->i64 != 0 ? "true" : "false");
}

/* A year that the tables cannot hold would be read as another one: 0000 as this year, measured with ClickHouse 26.9. */
static void put_time(struct buf *out, const char *name, const struct row_cell *cell, int digits)
{
    int64_t us = cell->i64 < ROW_TIME_US_MIN ? ROW_TIME_US_MIN : cell->i64 > ROW_TIME_US_MAX ? ROW_TIME_US_MAX : cell->i64;

    buf_add_text(out, name);
    if (cell->null) {
        buf_add_text(out, "null");
        return;
    }
    buf_add_byte(out, '"');
    time_write_sql(out, us, digits);
    buf_add_byte(out, '"');
}

/* --- rows -------------------------------------------------------------------------------------- */

static int put_event(const struct row_cell *cells, struct buf *out, struct err *err)
{
    put_uuid(out, "{\"uuid\":", &cells[ROW_EVENT_UUID]);
    put_text(out, ",\"event\":", &cells[ROW_EVENT_EVENT]);
    if (put_json(out, ",\"properties\":", &cells[ROW_EVENT_PROPERTIES], err) < 0)
        return -1;
    put_time(out, ",\"timestamp\":", &cells[ROW_EVENT_TIMESTAMP], MILLISECONDS);
    put_int(out, ",\"team_id\":", &cells[ROW_EVENT_TEAM_ID]);
    put_int(out, ",\"project_id\":", &cells[ROW_EVENT_PROJECT_ID]);
    put_text(out, ",\"distinct_id\":", &cells[ROW_EVENT_DISTINCT_ID]);
    put_text(out, ",\"elements_chain\":", &cells[ROW_EVENT_ELEMENTS_CHAIN]);
    put_time(out, ",\"created_at\":", &cells[ROW_EVENT_CREATED_AT], MILLISECONDS);
    put_time(out, ",\"captured_at\":", &cells[ROW_EVENT_CAPTURED_AT], MILLISECONDS);
    put_uuid(out, ",\"person_id\":", &cells[ROW_EVENT_PERSON_ID]);
    if (put_json(out, ",\"person_properties\":", &cells[ROW_EVENT_PERSON_PROPERTIES], err) < 0)
        return -1;
    put_time(out, ",\"person_created_at\":", &cells[ROW_EVENT_PERSON_CREATED_AT], SECONDS);
    put_text(out, ",\"person_mode\":", &cells[ROW_EVENT_PERSON_MODE]);
    if (!cells[ROW_EVENT_HISTORICAL_MIGRATION].null && cells[ROW_EVENT_HISTORICAL_MIGRATION].i64 != 0)
        buf_add_text(out, ",\"historical_migration\":true");
    return 0;
}

static int put_person(const struct row_cell *cells, struct buf *out, struct err *err)
{
    put_uuid(out, "{\"id\":", &cells[ROW_PERSON_ID]);
    put_time(out, ",\"created_at\":", &cells[ROW_PERSON_CREATED_AT], SECONDS);
    if (put_json(out, ",\"properties\":", &cells[ROW_PERSON_PROPERTIES], err) < 0)
        return -1;
    put_int(out, ",\"team_id\":", &cells[ROW_PERSON_TEAM_ID]);
    put_int(out, ",\"is_identified\":", &cells[ROW_PERSON_IS_IDENTIFIED]);
    put_int(out, ",\"is_deleted\":", &cells[ROW_PERSON_IS_DELETED]);
    put_int(out, ",\"version\":", &cells[ROW_PERSON_VERSION]);
    put_time(out, ",\"last_seen_at\":", &cells[ROW_PERSON_LAST_SEEN_AT], SECONDS);
    return 0;
}

static void put_distinct_id(const struct row_cell *cells, struct buf *out)
{
    put_text(out, "{\"distinct_id\":", &cells[ROW_DISTINCT_DISTINCT_ID]);
    put_uuid(out, ",\"person_id\":", &cells[ROW_DISTINCT_PERSON_ID]);
    put_int(out, ",\"team_id\":", &cells[ROW_DISTINCT_TEAM_ID]);
    put_int(out, ",\"version\":", &cells[ROW_DISTINCT_VERSION]);
    put_int(out, ",\"is_deleted\":", &cells[ROW_DISTINCT_IS_DELETED]);
}

static int put_group(const struct row_cell *cells, struct buf *out, struct err *err)
{
    put_int(out, "{\"group_type_index\":", &cells[ROW_GROUP_TYPE_INDEX]);
    put_text(out, ",\"group_key\":", &cells[ROW_GROUP_KEY]);
    put_int(out, ",\"team_id\":", &cells[ROW_GROUP_TEAM_ID]);
    if (put_json(out, ",\"group_properties\":", &cells[ROW_GROUP_PROPERTIES], err) < 0)
        return -1;
    put_time(out, ",\"created_at\":", &cells[ROW_GROUP_CREATED_AT], SECONDS);
    put_int(out, ",\"version\":", &cells[ROW_GROUP_VERSION]);
    return 0;
}

static void put_heatmap(const struct row_cell *cells, struct buf *out)
{
    put_text(out, "{\"type\":", &cells[ROW_HEATMAP_TYPE]);
    put_int16(out, ",\"x\":", &cells[ROW_HEATMAP_AT_X]);
    put_int16(out, ",\"y\":", &cells[ROW_HEATMAP_AT_Y]);
    put_bool(out, ",\"pointer_target_fixed\":", &cells[ROW_HEATMAP_TARGET_FIXED]);
    put_int16(out, ",\"viewport_height\":", &cells[ROW_HEATMAP_VIEWPORT_HEIGHT]);
    put_int16(out, ",\"viewport_width\":", &cells[ROW_HEATMAP_VIEWPORT_WIDTH]);
    put_text(out, ",\"current_url\":", &cells[ROW_HEATMAP_CURRENT_URL]);
    put_text(out, ",\"session_id\":", &cells[ROW_HEATMAP_SESSION_ID]);
    put_int16(out, ",\"scale_factor\":", &cells[ROW_HEATMAP_SCALE_FACTOR]);
    put_time(out, ",\"timestamp\":", &cells[ROW_HEATMAP_TIMESTAMP], MILLISECONDS);
    put_int(out, ",\"team_id\":", &cells[ROW_HEATMAP_TEAM_ID]);
    put_text(out, ",\"distinct_id\":", &cells[ROW_HEATMAP_DISTINCT_ID]);
}

static int put_warning(const struct row_cell *cells, struct buf *out, struct err *err)
{
    put_int(out, "{\"team_id\":", &cells[ROW_WARNING_TEAM_ID]);
    put_text(out, ",\"type\":", &cells[ROW_WARNING_TYPE]);
    put_text(out, ",\"source\":", &cells[ROW_WARNING_SOURCE]);
    if (put_json(out, ",\"details\":", &cells[ROW_WARNING_DETAILS], err) < 0)
        return -1;
    put_time(out, ",\"timestamp\":", &cells[ROW_WARNING_TIMESTAMP], MILLISECONDS);
    return 0;
}

static int put_row(const struct row *row, struct buf *out, struct err *err)
{
    int rc = 0;

    switch (row->table) {
    case ROW_EVENT: rc = put_event(row->cells, out, err); break;
    case ROW_PERSON: rc = put_person(row->cells, out, err); break;
    case ROW_DISTINCT: put_distinct_id(row->cells, out); break;
    case ROW_GROUP: rc = put_group(row->cells, out, err); break;
    case ROW_HEATMAP: put_heatmap(row->cells, out); break;
    case ROW_WARNING: rc = put_warning(row->cells, out, err); break;
    default: break;
    }
    buf_add_byte(out, '}');
    return rc;
}

bool upstream_row_topic(enum row_table table, enum upstream_topic *out)
{
    switch (table) {
    case ROW_EVENT: *out = UPSTREAM_ROW_EVENTS; return true;
    case ROW_PERSON: *out = UPSTREAM_ROW_PERSONS; return true;
    case ROW_DISTINCT: *out = UPSTREAM_ROW_DISTINCT_IDS; return true;
    case ROW_GROUP: *out = UPSTREAM_ROW_GROUPS; return true;
    case ROW_HEATMAP: *out = UPSTREAM_ROW_HEATMAPS; return true;
    case ROW_WARNING: *out = UPSTREAM_ROW_WARNINGS; return true;
    case ROW_DEAD_LETTER: *out = UPSTREAM_DEAD_LETTERS; return true;
    default: return false;
    }
}

/* The uuid as text, of the tables whose messages have it as their key. */
static bool key_uuid(const struct row *row, const struct uuid **out)
{
    const struct row_cell *cell = row->table == ROW_EVENT     ? &row->cells[ROW_EVENT_UUID]
                                  : row->table == ROW_HEATMAP ? &row->cells[ROW_HEATMAP_EVENT_UUID]
                                                              : NULL;

    if (cell == NULL || cell->null)
        return false;
    *out = &cell->uuid;
    return true;
}

/* --- dead letters ------------------------------------------------------------------------------ */

static struct span text_or_empty(const struct row_cell *cell)
{
    return cell->null ? SPAN("") : cell->text;
}

/* What could not be read as a message was kept whole. */
static bool letter_is_message(const struct row_cell *cells)
{
    return span_is(text_or_empty(&cells[ROW_DEAD_LETTER_STEP]), record_rejection_step(RECORD_REJECTED_UNREADABLE));
}

static int letter_value(const struct row_cell *cells, struct buf *out, struct err *err)
{
    struct span data = text_or_empty(&cells[ROW_DEAD_LETTER_DATA]);
    struct buf  decoded;
    int         rc = 0;

    buf_init(&decoded, data.bytes + 4);
    if (!cells[ROW_DEAD_LETTER_ENCODING].null) {
        if (!base64_decode(data, BASE64_STRICT, &decoded))
            rc = err_set(err, ERR_CORRUPT, "a dead letter's base64 is none");
        data = buf_span(&decoded);
    }
    if (rc == 0 && letter_is_message(cells)) {
        buf_add(out, data);
    } else if (rc == 0) {
        put_uuid(out, "{\"uuid\":", &cells[ROW_DEAD_LETTER_UUID]);
        put_text(out, ",\"distinct_id\":", &cells[ROW_DEAD_LETTER_DISTINCT_ID]);
        put_text(out, ",\"ip\":", &cells[ROW_DEAD_LETTER_IP]);
        buf_add_text(out, ",\"data\":\"");
        json_write_escaped_lossy(out, data);
        buf_add_text(out, "\",\"now\":\"");
        time_write_rfc3339(out, cells[ROW_DEAD_LETTER_RECEIVED_AT].null ? 0 : cells[ROW_DEAD_LETTER_RECEIVED_AT].i64);
        put_text(out, "\",\"token\":", &cells[ROW_DEAD_LETTER_TOKEN]);
        put_text(out, ",\"event\":", &cells[ROW_DEAD_LETTER_EVENT]);
        buf_add_byte(out, '}');
    }
    buf_fini(&decoded);
    return rc;
}

enum { LETTER_UUID, LETTER_NOW, LETTER_TIME, LETTER_PARTITION, LETTER_OFFSET, LETTER_PARTS };

static void letter_parts(const struct row_cell *cells, const struct upstream_source *source, struct buf *room, struct part *parts)
{
    size_t from = room->bytes;
    char   uuid[UUID_TEXT_BYTES];

    uuid_format(&cells[ROW_DEAD_LETTER_UUID].uuid, uuid);
    buf_add(room, span_of(uuid, cells[ROW_DEAD_LETTER_UUID].null ? 0 : sizeof uuid));
    parts[LETTER_UUID] = part_end(room, from);
    from = room->bytes;
    if (!cells[ROW_DEAD_LETTER_RECEIVED_AT].null)
        time_write_rfc3339(room, cells[ROW_DEAD_LETTER_RECEIVED_AT].i64);
    parts[LETTER_NOW] = part_end(room, from);
    from = room->bytes;
    time_write_sql(room, cells[ROW_DEAD_LETTER_FAILED_AT].null ? 0 : cells[ROW_DEAD_LETTER_FAILED_AT].i64, MILLISECONDS);
    if (!room->failed)
        room->at[from + sizeof "2026-02-03" - 1] = 'T';
    buf_add_byte(room, 'Z');
    parts[LETTER_TIME] = part_end(room, from);
    from = room->bytes;
    buf_add_format(room, "%" PRId32, source->partition);
    parts[LETTER_PARTITION] = part_end(room, from);
    from = room->bytes;
    buf_add_format(room, "%" PRIu64, place_offset((uint64_t)cells[ROW_DEAD_LETTER_RAW_OFFSET].i64) >> source->offset_shift);
    parts[LETTER_OFFSET] = part_end(room, from);
}

static void header_or_null(struct upstream_message *out, struct span name, struct span value)
{
    if (value.bytes > 0)
        upstream_header_add(out, name, value);
    else
        upstream_header_add_null(out, name);
}

static void letter_headers(const struct row_cell *cells, const struct upstream_source *source, const struct part *parts,
                           const struct buf *room, struct upstream_message *out)
{
    enum input  input = place_input((uint64_t)cells[ROW_DEAD_LETTER_RAW_OFFSET].i64);
    const char *topic = source->topics[input];

    header_or_null(out, SPAN("token"), text_or_empty(&cells[ROW_DEAD_LETTER_TOKEN]));
    header_or_null(out, SPAN("distinct_id"), text_or_empty(&cells[ROW_DEAD_LETTER_DISTINCT_ID]));
    header_or_null(out, SPAN("event"), text_or_empty(&cells[ROW_DEAD_LETTER_EVENT]));
    header_or_null(out, SPAN("uuid"), part_span(&parts[LETTER_UUID], room));
    header_or_null(out, SPAN("now"), part_span(&parts[LETTER_NOW], room));
    upstream_header_add(out, SPAN("dlq_reason"), text_or_empty(&cells[ROW_DEAD_LETTER_REASON]));
    upstream_header_add(out, SPAN("dlq_step"), text_or_empty(&cells[ROW_DEAD_LETTER_STEP]));
    upstream_header_add(out, SPAN("dlq_timestamp"), part_span(&parts[LETTER_TIME], room));
    if (topic == NULL)
        return;
    upstream_header_add(out, SPAN("dlq_topic"), span_text(topic));
    upstream_header_add(out, SPAN("dlq_partition"), part_span(&parts[LETTER_PARTITION], room));
    upstream_header_add(out, SPAN("dlq_offset"), part_span(&parts[LETTER_OFFSET], room));
}

static int write_letter(const struct row *row, const struct upstream_source *source, struct buf *room, struct upstream_message *out,
                        struct err *err)
{
    const struct row_cell *cells = row->cells;
    size_t                 from = room->bytes;
    struct part            value, key, parts[LETTER_PARTS];

    if (letter_value(cells, room, err) < 0)
        return -1;
    value = part_end(room, from);
    from = room->bytes;
    buf_add(room, text_or_empty(&cells[ROW_DEAD_LETTER_TOKEN]));
    buf_add_byte(room, ':');
    buf_add(room, text_or_empty(&cells[ROW_DEAD_LETTER_DISTINCT_ID]));
    key = part_end(room, from);
    letter_parts(cells, source, room, parts);
    if (room->failed)
        return err_set(err, ERR_FULL, "no room for a dead letter as a message");
    out->value = part_span(&value, room);
    out->has_key = key.bytes > 1;
    out->key = out->has_key ? part_span(&key, room) : SPAN("");
    letter_headers(cells, source, parts, room, out);
    return 1;
}

/* --- the message ------------------------------------------------------------------------------- */

int upstream_row_write(const struct row *row, const struct upstream_source *source, struct buf *room, struct upstream_message *out,
                       struct err *err)
{
    size_t             from = room->bytes;
    const struct uuid *uuid;
    struct part        value;

    *out = (struct upstream_message){ .value = SPAN("") };
    if (!upstream_row_topic(row->table, &out->topic))
        return 0;
    if (row->table == ROW_DEAD_LETTER)
        return write_letter(row, source, room, out, err);
    if (put_row(row, room, err) < 0)
        return err_wrap(err, row_tables[row->table].name);
    value = part_end(room, from);
    from = room->bytes;
    out->has_key = key_uuid(row, &uuid);
    if (out->has_key) {
        uint8_t *text = buf_reserve(room, UUID_TEXT_BYTES);

        if (text != NULL)
            uuid_format(uuid, (char *)text);
        room->bytes += text == NULL ? 0 : UUID_TEXT_BYTES;
    }
    if (room->failed)
        return err_set(err, ERR_FULL, "%s: no room for a row as a message", row_tables[row->table].name);
    out->value = part_span(&value, room);
    out->key = span_of(room->at + from, room->bytes - from);
    if (row->table == ROW_EVENT)
        upstream_header_add(out, SPAN("productTrack"),
                            span_starts(row->cells[ROW_EVENT_EVENT].text, SPAN("$ai_")) ? SPAN("llma") : SPAN("general"));
    return 1;
}

/* Of the text that the message holds. */
static size_t cell_text_bytes(enum row_type type, const struct row_cell *cell)
{
    struct err ignored;
    size_t     bytes;

    return type != ROW_JSON || packed_text_bytes(cell->text, &bytes, &ignored) < 0 ? cell->text.bytes : bytes;
}

static bool is_long(enum row_table table, size_t i)
{
    return row_tables[table].columns[i].type == ROW_JSON || (table == ROW_DEAD_LETTER && i == ROW_DEAD_LETTER_DATA) ||
           (table == ROW_EVENT && i == ROW_EVENT_ELEMENTS_CHAIN);
}

/* Which column is given up; its cells' count: none. */
static size_t column_to_leave(const struct row *row, size_t excess, size_t *bytes_out)
{
    const struct row_table_info *info = &row_tables[row->table];
    size_t                       chosen = info->column_count;

    *bytes_out = 0;
    for (size_t i = 0; i < info->column_count; i++) {
        size_t bytes = row->cells[i].null || !is_long(row->table, i) ? 0 : cell_text_bytes(info->columns[i].type, &row->cells[i]);

        if (row->table == ROW_EVENT && i == ROW_EVENT_PERSON_PROPERTIES && bytes >= excess + UPSTREAM_NOTE_BYTES) {
            *bytes_out = bytes;
            return i;
        }
        if (bytes >= UPSTREAM_NOTE_BYTES && bytes > *bytes_out) {
            *bytes_out = bytes;
            chosen = i;
        }
    }
    return chosen;
}

bool upstream_row_shorten(struct row *row, size_t excess, char note[UPSTREAM_NOTE_BYTES])
{
    size_t bytes, i = column_to_leave(row, excess, &bytes);

    if (i == row_tables[row->table].column_count)
        return false;
    (void)snprintf(note, UPSTREAM_NOTE_BYTES, "{\"$left_out_bytes\":%zu}", bytes);
    row->cells[i].text = row->table == ROW_EVENT && i == ROW_EVENT_ELEMENTS_CHAIN ? SPAN("") : span_text(note);
    if (row->table == ROW_DEAD_LETTER)
        row->cells[ROW_DEAD_LETTER_ENCODING].null = true; /* the note is text */
    return true;
}
