/* command/trace_log.c - see trace_log.h. Frames carry the moment in which they were written, and those rise along a
 * topic: so a moment is found by halving, some twenty looks at a frame, however much is stored. A clock that was set back may hide
 * a frame from this; what is found is always checked by its id. */
#include "command/trace_log.h"

#include <string.h>

#include "base/clock.h"
#include "command/account.h"
#include "command/account_spool.h"
#include "event/row.h"
#include "ingest/normalize.h"
#include "ingest/outputs.h"
#include "load/follow.h"
#include "log/log.h"
#include "wire/time.h"

enum { LOOK_EVERY = 1024 /* records between looks at the clock */ };

/* Whether this is the record, and takes it. place: UINT64_MAX in the topic raw_overflow, whose records tell it. */
typedef bool body_check(struct trace *trace, const char *topic, uint64_t place, struct span body, const struct log_chunk *chunk);

static bool record_check(struct trace *trace, const char *topic, uint64_t place, struct span body, const struct log_chunk *chunk)
{
    struct err          ignored = { .kind = ERR_NONE };
    struct record_moved moved;
    struct record       record;

    (void)topic;
    if (place == TRACE_NONE) {
        if (record_moved_read(body, &moved, &ignored) < 0)
            return false;
        place = moved.place;
        body = moved.body;
    }
    if (record_read(body, &record, &ignored) < 0 || !uuid_equal(&record.uuid, &trace->uuid) ||
        (trace->project_only != 0 && record.project != trace->project_only) ||
        (trace->project != 0 && record.project != 0 && record.project != trace->project)) /* another unit may have its namesake there */
        return false;
    body = arena_copy(trace->arena, body);
    if (body.at == NULL || record_read(body, &trace->record, &ignored) < 0)
        return false;
    trace->record_state = TRACE_RECORD_KEPT;
    trace->written_us = chunk->appended_us;
    trace->place = place;
    trace->project = trace->project != 0 ? trace->project : record.project;
    return true;
}

static struct span cell_text(const struct row *row, int column)
{
    return row->cells[column].null ? SPAN("") : row->cells[column].text;
}

static int64_t cell_time(const struct row *row, int column)
{
    return row->cells[column].null ? CLOCK_NONE : row->cells[column].i64;
}

static void row_take(struct trace *trace, const struct row *row)
{
    char   text[UUID_TEXT_BYTES];
    struct buf json;

    trace->row = (struct trace_row){
        .event = cell_text(row, ROW_EVENT_EVENT), .distinct_id = cell_text(row, ROW_EVENT_DISTINCT_ID),
        .properties = cell_text(row, ROW_EVENT_PROPERTIES), .person_mode = cell_text(row, ROW_EVENT_PERSON_MODE),
        .person_properties = cell_text(row, ROW_EVENT_PERSON_PROPERTIES), .session_id = cell_text(row, ROW_EVENT_SESSION_ID),
        .team_id = row->cells[ROW_EVENT_TEAM_ID].i64, .timestamp_us = cell_time(row, ROW_EVENT_TIMESTAMP),
        .captured_us = cell_time(row, ROW_EVENT_CAPTURED_AT), .created_us = cell_time(row, ROW_EVENT_CREATED_AT),
        .person_created_us = cell_time(row, ROW_EVENT_PERSON_CREATED_AT), .inserted_us = CLOCK_NONE,
        .place = (uint64_t)row->cells[ROW_EVENT_RAW_OFFSET].i64
    };
    for (int i = 0; i < 5; i++)
        trace->row.groups[i] = cell_text(row, ROW_EVENT_GROUP_0 + i);
    if (!row->cells[ROW_EVENT_PERSON_ID].null) {
        uuid_format(&row->cells[ROW_EVENT_PERSON_ID].uuid, text);
        trace->row.person_id = arena_copy(trace->arena, span_of(text, sizeof text));
    }
    buf_init(&json, 64 << 20);
    row_write_json(row, &json);
    trace->row.json = json.failed ? SPAN("{}") : arena_copy(trace->arena, buf_span(&json));
    buf_fini(&json);
    trace->has_row = true;
}

/* A finished row of the topics events and dead_letters. */
static bool row_check(struct trace *trace, const char *topic, uint64_t offset, struct span body, const struct log_chunk *chunk)
{
    struct err ignored = { .kind = ERR_NONE };
    struct row row;
    int        column, team;

    (void)chunk;
    if (row_read(body, &row, &ignored) < 0)
        return false;
    if (row.table == ROW_HEATMAP)
        return !row.cells[ROW_HEATMAP_EVENT_UUID].null && uuid_equal(&row.cells[ROW_HEATMAP_EVENT_UUID].uuid, &trace->uuid);
    if (row.table != ROW_EVENT && row.table != ROW_DEAD_LETTER)
        return false;
    column = row.table == ROW_EVENT ? (int)ROW_EVENT_UUID : (int)ROW_DEAD_LETTER_UUID;
    team = row.table == ROW_EVENT ? (int)ROW_EVENT_TEAM_ID : (int)ROW_DEAD_LETTER_TEAM_ID;
    if (row.cells[column].null || !uuid_equal(&row.cells[column].uuid, &trace->uuid) ||
        (trace->project_only != 0 && (uint32_t)row.cells[team].i64 != trace->project_only))
        return false;
    if (strcmp(topic, "events") == 0)
        trace->events_offset = offset;
    if (row.table == ROW_EVENT && !trace->has_row) {
        body = arena_copy(trace->arena, body);
        if (body.at != NULL && row_read(body, &row, &ignored) == 0 && row_unpack(&row, trace->arena, &ignored) == 0)
            row_take(trace, &row);
    } else if (row.table == ROW_DEAD_LETTER && !row.cells[ROW_DEAD_LETTER_RAW_OFFSET].null) {
        trace->place = (uint64_t)row.cells[ROW_DEAD_LETTER_RAW_OFFSET].i64;
    }
    return true;
}

/* Reads [from, end) of a topic until check says yes, time is over, or a frame is younger than newest_us. What is below `known` was
 * committed and is waited for. 1 found, 0 not. */
static int topic_search(struct trace *trace, struct log *log, const char *topic, int input, uint64_t from, uint64_t end, uint64_t known,
                        int64_t newest_us, int64_t until_us, body_check *check, struct err *err)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    uint64_t           offset = from;
    size_t             looked = 0;
    int                rc = 0;

    if (from >= end)
        return 0;
    if (log_reader_open(log, topic, trace->unit, from, &reader, err) < 0)
        return -1;
    while (offset < end && (rc = account_reader_next(reader, offset, known, &chunk, err)) > 0) {
        offset = chunk.base + chunk.count;
        if (chunk.kind == LOG_GAP)
            continue;
        if (chunk.appended_us > newest_us)
            break;
        while (log_chunk_next(&chunk, &offset, &body)) {
            uint64_t place = input < 0 ? offset : input == INPUT_OVERFLOW ? TRACE_NONE : place_make((enum input)input, offset);

            if (check(trace, topic, place, body, &chunk)) {
                log_reader_close(reader);
                return 1;
            }
            if (++looked % LOOK_EVERY == 0 && clock_mono_us() > until_us)
                break;
        }
        if (clock_mono_us() > until_us)
            break;
        offset = chunk.base + chunk.count;
    }
    log_reader_close(reader);
    return rc < 0 ? -1 : 0;
}

int trace_record_read(struct trace *trace, struct err *err)
{
    struct log        *log;
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    uint64_t           offset;
    int                rc;

    if (trace->place == TRACE_NONE)
        return 0;
    if (account_log_open(trace->data, &log, err) < 0)
        return err->kind == ERR_RETRY ? 0 : -1;
    rc = log_reader_open(log, input_topic(place_input(trace->place)), trace->unit, place_offset(trace->place), &reader, err);
    if (rc == 0) {
        rc = account_reader_next(reader, place_offset(trace->place), 0, &chunk, err);
        if (rc > 0 && chunk.kind == LOG_GAP) {
            trace->record_state = strcmp(chunk.why, "expired") == 0 ? TRACE_RECORD_EXPIRED : TRACE_RECORD_DAMAGED;
        } else if (rc > 0) {
            while (log_chunk_next(&chunk, &offset, &body) && trace->record_state == TRACE_RECORD_UNKNOWN)
                if (offset == place_offset(trace->place) && body.bytes == 0)
                    trace->record_state = TRACE_RECORD_ERASED;
                else if (offset == place_offset(trace->place))
                    (void)record_check(trace, "", trace->place, body, &chunk);
        }
        log_reader_close(reader);
    }
    log_close(log);
    return rc < 0 ? -1 : 0;
}

/* From where on the warehouse lacks rows of the topics dead_letters, events and heatmaps. Kafka's copy of the loader's cursor is for
 * people: it may be of long ago, and the brokers may not have it at hand. */
static int load_places(struct trace *trace, struct log *log, struct taken *out, struct err *err)
{
    struct taken *all;
    int           rc;

    *out = (struct taken){ .events = 0 };
    if (!log_is_kafka(log)) {
        rc = log_cursor_load(log, "dead_letters", trace->unit, "load", &out->next[OUTPUT_DEAD_LETTERS], err);
        if (rc >= 0)
            rc = log_cursor_load(log, "events", trace->unit, "load", &out->next[OUTPUT_EVENTS], err);
        if (rc >= 0)
            rc = log_cursor_load(log, "heatmaps", trace->unit, "load", &out->next[OUTPUT_HEATMAPS], err);
        return rc < 0 ? -1 : 0;
    }
    all = arena_alloc_array(trace->arena, trace->units, sizeof *all);
    if (all == NULL)
        return err_set(err, ERR_FULL, "no memory for %u units", trace->units);
    rc = account_taken(trace->data, all, trace->units, err);
    if (rc == 0)
        *out = all[trace->unit];
    return rc;
}

/* 1: a finished row waits for the loader. */
static int finished_search(struct trace *trace, struct log *log, const struct people_place *place, int64_t until_us, struct err *err)
{
    /* What was seen becomes a row. */
    static const enum output finished[2][2] = { { OUTPUT_DEAD_LETTERS, OUTPUT_DEAD_LETTERS }, { OUTPUT_EVENTS, OUTPUT_HEATMAPS } };
    struct taken taken;
    int          rc = load_places(trace, log, &taken, err);

    for (int i = 0; rc == 0 && i < (trace->project != 0 ? 2 : 1) && !trace->has_letter; i++) {
        enum output output = finished[trace->project != 0][i];

        rc = topic_search(trace, log, follow_topics[output], -1, taken.next[output], UINT64_MAX, place->output_end[output], INT64_MAX, until_us,
                          row_check, err);
    }
    return rc;
}

/* 1: it waits on this machine's disk for the brokers; it has no place yet. */
static int spool_search(struct trace *trace, int64_t until_us, struct err *err)
{
    struct account_spool spool;
    uint32_t             unit = trace->unit;
    int                  rc = account_spool_open(trace->data, &spool, err);

    trace->unit = 0; /* a spool has one partition */
    for (enum input input = INPUT_RAW; rc == 0 && spool.log != NULL && input < INPUT_OVERFLOW; input++)
        rc = topic_search(trace, spool.log, input_topic(input), (int)input, spool.next[input], spool.end[input], 0, INT64_MAX,
                          until_us, record_check, err);
    trace->unit = unit;
    if (rc > 0)
        trace->place = TRACE_NONE;
    account_spool_close(&spool);
    return rc;
}

int trace_waiting_find(struct trace *trace, const struct people_place *place, struct err *err)
{
    int64_t     until_us = clock_mono_us() + TRACE_SEARCH_US;
    struct log *log;
    int         rc;

    if (account_log_open(trace->data, &log, err) < 0)
        return err->kind == ERR_RETRY ? 0 : -1;
    rc = finished_search(trace, log, place, until_us, err);
    if (rc > 0)
        trace->fate = TRACE_WAITS_LOAD;
    if (rc == 0 && trace->project == 0 && !trace->has_letter) {
        rc = spool_search(trace, until_us, err);
        for (int input = INPUT_RAW; rc == 0 && input < INPUT_CONTROL; input++)
            rc = topic_search(trace, log, input_topic((enum input)input), input, place->input_next[input], UINT64_MAX, 0,
                              INT64_MAX, until_us, record_check, err);
        if (rc > 0)
            trace->fate = TRACE_WAITS_INGEST;
    }
    log_close(log);
    return rc < 0 ? -1 : 0;
}

/* --- by time ----------------------------------------------------------------------------------- */

/* When the frame of this offset was written; CLOCK_NONE: it is not there. */
static int written_at(struct log *log, const char *topic, uint64_t offset, int64_t *out, struct err *err)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    int                rc;

    *out = CLOCK_NONE;
    if (log_reader_open(log, topic, 0, offset, &reader, err) < 0)
        return -1;
    rc = log_reader_next(reader, &chunk, err);
    if (rc > 0 && chunk.kind == LOG_RECORDS)
        *out = chunk.appended_us;
    log_reader_close(reader);
    return rc < 0 ? -1 : 0;
}

/* The first stored offset whose frame was written at `us` or later (or one near it, next to a gap). */
static int offset_at(struct log *log, uint32_t unit, const char *topic, int64_t us, uint64_t *start_out, uint64_t *out, struct err *err)
{
    struct log_reader *reader;
    uint64_t           low, high;
    int                rc;

    if (log_reader_open(log, topic, unit, 0, &reader, err) < 0)
        return -1;
    *start_out = low = log_reader_start(reader);
    high = low; /* Kafka: each look is a conversation, so all of it is read, as long as that may take */
    rc = log_is_kafka(log) ? 0 : log_reader_end(reader, &high, err);
    log_reader_close(reader);
    if (rc < 0)
        return -1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int64_t  at_us;

        if (written_at(log, topic, middle, &at_us, err) < 0)
            return -1;
        if (at_us != CLOCK_NONE && at_us < us)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return 0;
}

int trace_events_offset(struct trace *trace, struct err *err)
{
    uint64_t    start, from;
    struct log *log;
    int         rc;

    if (trace->events_offset != TRACE_NONE || trace->row.created_us == CLOCK_NONE)
        return 0;
    if (account_log_open(trace->data, &log, err) < 0)
        return err->kind == ERR_RETRY ? 0 : -1;
    rc = offset_at(log, trace->unit, "events", trace->row.created_us, &start, &from, err);
    if (rc == 0)
        rc = topic_search(trace, log, "events", -1, from, UINT64_MAX, 0, trace->row.created_us, clock_mono_us() + TRACE_SEARCH_US,
                          row_check, err);
    log_close(log);
    return rc < 0 ? -1 : 0;
}

/* What today's rules say of the record, judged in the moment in which it was written: ingest was not much later. */
static int fate_recompute(struct trace *trace, const struct catalog_snapshot *snapshot, struct err *err)
{
    struct property_key_table keys;
    struct normalize_env       env = { .arena = trace->arena, .keys = &keys, .catalog = snapshot, .now_us = trace->written_us };
    size_t                     bytes = record_bytes(&trace->record);
    uint8_t                   *body = arena_alloc(trace->arena, bytes);
    struct item               *item = arena_alloc_zero(trace->arena, sizeof *item);
    int                        rc;

    if (body == NULL || item == NULL || (env.zones = zones_new(NULL)) == NULL)
        return err_set(err, ERR_FULL, "no memory for the record");
    property_key_table_init(&keys);
    record_write(&trace->record, body);
    item->raw_offset = trace->place;
    item->body = span_of(body, bytes);
    item->fate = FATE_PENDING;
    rc = normalize_item(&env, item, err);
    zones_free(env.zones);
    if (rc < 0)
        return -1;
    trace->fate = TRACE_ENDED;
    trace->ended_fate = item->fate == FATE_PENDING ? FATE_DEDUPLICATED : item->fate;
    trace->recomputed = true;
    return 0;
}

int trace_search(struct trace *trace, const struct people_place *place, const struct catalog_snapshot *snapshot, struct err *err)
{
    int64_t     until_us = clock_mono_us() + TRACE_SEARCH_US, from_us = INT64_MIN;
    struct log *log;
    int         rc = 0;

    if (account_log_open(trace->data, &log, err) < 0)
        return err->kind == ERR_RETRY ? 0 : -1;
    if (uuid_version(&trace->uuid) == 7) {
        from_us = 0;
        for (int i = 0; i < 6; i++)
            from_us = from_us << 8 | trace->uuid.bytes[i];
        from_us = from_us * TIME_US_MS - TIME_US_HOUR;
    }
    for (int input = INPUT_RAW; rc == 0 && input <= INPUT_HISTORICAL; input++) {
        const char *topic = input_topic((enum input)input);
        uint64_t    start, from;

        rc = offset_at(log, trace->unit, topic, from_us, &start, &from, err);
        if (rc == 0)
            rc = topic_search(trace, log, topic, input, from, place->input_next[input], 0, INT64_MAX, until_us, record_check, err);
        if (rc == 0)
            rc = topic_search(trace, log, topic, input, start, from < place->input_next[input] ? from : place->input_next[input],
                              0, INT64_MAX, until_us, record_check, err);
    }
    log_close(log);
    return rc <= 0 ? rc : fate_recompute(trace, snapshot, err);
}
