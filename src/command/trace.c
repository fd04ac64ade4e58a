/* command/trace.c - penstock trace: where one event is, and what is known of it.
 *
 * Looks where an event comes to rest first (warehouse), then at what is on its way (topics from their
 * readers' places on), then at what was processed but left no row (the older part of raw). An event that
 * moves on between the looks is found by looking at the warehouse once more. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command/account.h"
#include "command/command.h"
#include "command/question.h"
#include "event/record.h"
#include "event/row.h"
#include "log/log.h"
#include "wire/json.h"
#include "wire/time.h"

struct found {
    const char *fate;    /* NULL: nowhere yet */
    struct buf  detail;  /* JSON: an array of rows, or an object */
    uint64_t    offset;  /* in `topic`, when the log has it */
    const char *topic;
    struct buf  record;  /* JSON object: what capture wrote down */
};

static int rows_find(const char *data, const char *sql, struct found *found, const char *fate, struct err *err)
{
    buf_reset(&found->detail);
    if (question_json(data, sql, &found->detail, err) < 0)
        return -1;
    if (memchr(found->detail.at, '{', found->detail.bytes) != NULL)
        found->fate = fate;
    return 0;
}

/* Where an event comes to rest. */
static int warehouse_find(const char *data, const char *uuid, struct found *found, struct err *err)
{
    char sql[900];

    if (!question_possible(data))
        return 0;
    (void)snprintf(sql, sizeof sql,
                   "SELECT uuid, event, distinct_id, team_id, timestamp, captured_at AS accepted_at, created_at AS "
                   "processed_at, inserted_at AS stored_at, person_id, person_mode, \"$group_0\", \"$group_1\", "
                   "\"$group_2\", \"$group_3\", \"$group_4\", \"$session_id\", raw_offset FROM events WHERE uuid = '%s'",
                   uuid);
    if (rows_find(data, sql, found, "stored", err) < 0 || found->fate != NULL)
        return found->fate != NULL ? 0 : -1;
    (void)snprintf(sql, sizeof sql,
                   "SELECT uuid, event, distinct_id, team_id, received_at AS accepted_at, failed_at, step, reason, detail, "
                   "request, \"index\", raw_offset, data FROM dead_letters WHERE uuid = '%s'", uuid);
    if (rows_find(data, sql, found, "dead-lettered", err) < 0 || found->fate != NULL)
        return found->fate != NULL ? 0 : -1;
    (void)snprintf(sql, sizeof sql, /* a $$heatmap event: its last point carries its id */
                   "SELECT event_uuid AS uuid, '$$heatmap' AS event, distinct_id, team_id, timestamp, captured_at AS accepted_at, "
                   "current_url, session_id FROM heatmaps WHERE event_uuid = '%s'", uuid);
    return rows_find(data, sql, found, "stored", err);
}

static void record_keep(struct found *found, const struct record *record)
{
    struct buf *out = &found->record;

    buf_reset(out);
    buf_add_text(out, "{\"event\":");
    json_write_string(out, record->event);
    buf_add_text(out, ",\"distinct_id\":");
    json_write_string(out, record->distinct_id);
    buf_add_format(out, ",\"team_id\":%u,\"request\":\"%016" PRIx64 "\",\"index\":%u,\"accepted_at\":\"", record->project,
                   record->request, record->index);
    time_write_rfc3339(out, record->received_us);
    buf_add_text(out, "\",\"timestamp\":\"");
    time_write_rfc3339(out, record->timestamp_us);
    buf_add_text(out, "\"}");
}

static bool body_has_uuid(const char *topic, struct span body, const struct uuid *uuid, struct found *found)
{
    struct err    ignored = { .kind = ERR_NONE };
    struct record record;
    struct row    row;
    int           column;

    if (strcmp(topic, "raw") == 0) {
        if (record_read(body, &record, &ignored) < 0 || !uuid_equal(&record.uuid, uuid))
            return false;
        record_keep(found, &record);
        return true;
    }
    if (row_read(body, &row, &ignored) < 0 || (row.table != ROW_EVENT && row.table != ROW_DEAD_LETTER))
        return false;
    column = row.table == ROW_EVENT ? (int)ROW_EVENT_UUID : (int)ROW_DEAD_LETTER_UUID;
    return !row.cells[column].null && uuid_equal(&row.cells[column].uuid, uuid);
}

/* 1: the topic holds it at or after `from` (found->offset); 0: no; -1. */
static int topic_find(struct log *log, const char *topic, uint64_t from, const struct uuid *uuid, struct found *found,
                      struct err *err)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    int                rc;

    if (log_reader_open(log, topic, 0, from, &reader, err) < 0)
        return -1;
    while ((rc = log_reader_next(reader, &chunk, err)) > 0) {
        if (chunk.kind == LOG_GAP)
            continue;
        while (log_chunk_next(&chunk, &found->offset, &body))
            if (body_has_uuid(topic, body, uuid, found)) {
                found->topic = topic;
                log_reader_close(reader);
                return 1;
            }
    }
    log_reader_close(reader);
    return rc;
}

static int log_find(const char *data, const struct uuid *uuid, struct found *found, struct err *err)
{
    static const char *const finished[] = { "events", "dead_letters" };
    struct people_place      place;
    struct log              *log;
    int                      rc = 0;

    if (account_place(data, &place, err) < 0 || account_log_open(data, &log, err) < 0)
        return -1;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        uint64_t from = 0;

        rc = log_cursor_load(log, finished[i], 0, "load", &from, err);
        if (rc >= 0)
            rc = topic_find(log, finished[i], from, uuid, found, err);
        if (rc > 0)
            found->fate = "pending: processed, waits for the warehouse";
    }
    if (rc == 0) {
        rc = topic_find(log, "raw", 0, uuid, found, err);
        if (rc > 0)
            found->fate = found->offset >= place.input_next[INPUT_RAW] ? "pending: accepted, waits for ingest" : "processed";
    }
    log_close(log);
    return rc < 0 ? -1 : 0;
}

/* It was processed and has neither row nor dead letter: why? */
static int dropped_find(const char *data, const char *uuid, struct found *found, struct err *err)
{
    char sql[400];

    (void)snprintf(sql, sizeof sql, "SELECT type, category, severity, details, timestamp FROM ingestion_warnings WHERE "
                   "event_uuid = '%s'", uuid);
    found->fate = "dropped";
    return question_possible(data) ? rows_find(data, sql, found, "dropped", err) : 0;
}

static int trace_find(const char *data, const struct uuid *uuid, const char *text, struct found *found, struct err *err)
{
    if (data_check(data, err) < 0 || warehouse_find(data, text, found, err) < 0)
        return -1;
    if (found->fate != NULL)
        return 0;
    if (log_find(data, uuid, found, err) < 0)
        return -1;
    if (found->fate == NULL || strcmp(found->fate, "processed") != 0)
        return 0;
    found->fate = NULL;
    if (warehouse_find(data, text, found, err) < 0 || found->fate != NULL)
        return found->fate != NULL ? 0 : -1;
    return dropped_find(data, text, found, err);
}

static void found_print(const struct found *found, const char *uuid, bool json, struct buf *out)
{
    const char *fate = found->fate != NULL ? found->fate : "unknown";

    if (json) {
        buf_add_text(out, "{\"uuid\":");
        json_write_string(out, span_text(uuid));
        buf_add_format(out, ",\"fate\":\"%.*s\",\"note\":", (int)strcspn(fate, ":"), fate);
        json_write_string(out, span_text(fate + strcspn(fate, ":") + (strchr(fate, ':') != NULL ? 2 : 0)));
        if (found->topic != NULL)
            buf_add_format(out, ",\"topic\":\"%s\",\"offset\":%" PRIu64, found->topic, found->offset);
        buf_add_text(out, ",\"record\":");
        buf_add(out, found->record.bytes > 0 ? buf_span(&found->record) : SPAN("null"));
        buf_add_text(out, ",\"rows\":");
        buf_add(out, found->detail.bytes > 0 ? buf_span(&found->detail) : SPAN("[]"));
        buf_add_text(out, "}\n");
        return;
    }
    buf_add_format(out, "%s is %s\n", uuid, fate);
    if (found->topic != NULL)
        buf_add_format(out, "in topic %s at offset %" PRIu64 "\n", found->topic, found->offset);
    if (found->record.bytes > 0) {
        buf_add(out, buf_span(&found->record));
        buf_add_byte(out, '\n');
    }
    if (found->detail.bytes > 3)
        buf_add(out, buf_span(&found->detail));
    if (found->fate == NULL)
        buf_add_text(out, "No row, no dead letter and no record that is still kept has this id.\n");
}

int trace_run(const struct command_args *args)
{
    struct found found = { .fate = NULL };
    struct uuid  uuid;
    struct buf   out;
    struct err   err = { .kind = ERR_NONE };
    char         text[UUID_TEXT_BYTES + 1];
    int          code = EXIT_DONE;

    if (!uuid_parse(span_text(args_at(args, 0)), &uuid))
        return args_wrong(args, "\"%s\" is not a UUID", args_at(args, 0));
    uuid_format(&uuid, text);
    text[UUID_TEXT_BYTES] = '\0';
    buf_init(&found.detail, 256 << 20);
    buf_init(&found.record, 1 << 20);
    buf_init(&out, 512 << 20);
    if (trace_find(args_data(args), &uuid, text, &found, &err) < 0) {
        code = command_failed(&err);
    } else {
        found_print(&found, text, args_has(args, "--json"), &out);
        (void)fwrite(out.at, 1, out.bytes, stdout);
        code = found.fate != NULL ? EXIT_DONE : EXIT_FAILED;
    }
    buf_fini(&found.detail);
    buf_fini(&found.record);
    buf_fini(&out);
    return code;
}
