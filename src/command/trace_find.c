/* command/trace_find.c - see trace_find.h. In this order: the people store (one moment of it), the record, the
 * warehouse, dead letters; an event that moves on meanwhile is found where it was or further on, because each
 * later store is looked at later. */
#include "command/trace_find.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "command/account.h"
#include "command/command.h"
#include "command/config_stores.h"
#include "command/json_fields.h"
#include "command/people_access.h"
#include "command/question.h"
#include "command/trace_log.h"
#include "wire/json.h"
#include "wire/time.h"

enum { SQL_BYTES_MAX = 2048, ANSWER_BYTES_MAX = 256 << 20, UUID_SLACK_BEFORE_S = 3600, UUID_SLACK_AFTER_S = 2 * 86400 };

/* --- the people store -------------------------------------------------------------------------- */

static int ended_keep(void *ctx, const struct people_ended *ended, struct err *err)
{
    struct trace *trace = ctx;

    (void)err;
    if (trace->project_only != 0 && ended->project != trace->project_only)
        return 0;
    if (trace->ended_count >= TRACE_ENDED_MAX)
        memmove(trace->ended, trace->ended + 1, (TRACE_ENDED_MAX - 1) * sizeof *trace->ended);
    trace->ended[trace->ended_count < TRACE_ENDED_MAX ? trace->ended_count : TRACE_ENDED_MAX - 1] = *ended;
    trace->ended_count++;
    return 0;
}

/* Units of one PostgreSQL see each other's ids. */
static void also_add(struct trace *trace, uint32_t project)
{
    for (size_t i = 0; i < trace->also_count; i++)
        if (trace->also[i] == project)
            return;
    if (trace->also_count < TRACE_ALSO_MAX)
        trace->also[trace->also_count++] = project;
}

/* Which project has seen it, and where its record stood. */
static int seen_find(struct trace *trace, struct people_txn *txn, const struct catalog_snapshot *snapshot, struct err *err)
{
    const struct catalog_project *projects;
    size_t                        count = catalog_snapshot_projects(snapshot, &projects);

    for (size_t i = 0; i < count; i++) {
        uint64_t place;
        int      got;

        if (trace->project_only != 0 && projects[i].id != trace->project_only)
            continue;
        got = people_seen_find(txn, projects[i].id, &trace->uuid, &place, err);
        if (got < 0)
            return -1;
        if (got > 0 && trace->project == 0) {
            trace->project = projects[i].id;
            trace->place = place == PEOPLE_SEEN_PLACE_UNKNOWN ? TRACE_NONE : place;
        } else if (got > 0 && projects[i].id != trace->project) {
            also_add(trace, projects[i].id);
        }
    }
    return 0;
}

/* What ingest noted of a unit. */
static int unit_find(struct trace *trace, const struct catalog_snapshot *snapshot, struct people_place *place, struct err *err)
{
    struct people_access access;
    int                  rc = command_people_begin_unit(trace->data, trace->unit, &access, err);

    if (rc > 0) {
        trace->has_people = true;
        rc = seen_find(trace, access.txn, snapshot, err);
        if (rc == 0)
            rc = people_ended_find(access.txn, &trace->uuid, ended_keep, trace, err);
        if (rc == 0)
            rc = people_place_get(access.txn, place, err);
    }
    command_people_end(&access);
    return rc;
}

static int people_find(struct trace *trace, const struct catalog_snapshot *snapshot, struct people_place *place, struct err *err)
{
    struct people_place here;

    for (uint32_t u = 0, found = 0; u < trace->units; u++) {
        here = (struct people_place){ .input_next = { 0 } };
        trace->unit = u;
        if (unit_find(trace, snapshot, &here, err) < 0)
            return -1;
        if (trace->project != 0 && found == 0)
            found = u + 1;
        if (u == 0 || found == u + 1)
            *place = here;
        if (u + 1 == trace->units)
            trace->unit = found > 0 ? found - 1 : 0;
    }
    return 0;
}

/* One of the ways to search the log, in each unit until it is found: which one has seen an id is not noted. */
static int units_search(struct trace *trace, struct people_place *place, const struct catalog_snapshot *snapshot,
                        int (*search)(struct trace *, const struct people_place *, const struct catalog_snapshot *, struct err *),
                        struct err *err)
{
    uint32_t before = trace->unit;

    if (trace->units == 1)
        return search(trace, place, snapshot, err);
    for (trace->unit = 0; trace->unit < trace->units; trace->unit++) {
        if (account_place(trace->data, trace->unit, place, err) < 0 || search(trace, place, snapshot, err) < 0)
            return -1;
        if (trace->fate != TRACE_UNKNOWN)
            return 0;
    }
    trace->unit = before;
    return 0;
}

static int waiting_search(struct trace *trace, const struct people_place *place, const struct catalog_snapshot *snapshot, struct err *err)
{
    (void)snapshot;
    return trace_waiting_find(trace, place, err);
}

/* Which person the event's distinct id leads to by now. */
static int person_find(struct trace *trace, struct span distinct_id, struct err *err)
{
    char                 text[UUID_TEXT_BYTES];
    struct people_access access;
    struct person_link   link;
    struct person        person;
    int                  rc = command_people_begin(trace->data, &access, err);

    if (rc > 0)
        rc = people_link_get(access.txn, trace->project, distinct_id, &link, err);
    if (rc > 0 && link.person != 0)
        rc = people_person_get(access.txn, link.person, &person, err);
    if (rc > 0 && link.person != 0) {
        uuid_format(&person.uuid, text);
        trace->person_now = arena_copy(trace->arena, span_of(text, sizeof text));
    }
    command_people_end(&access);
    return rc < 0 ? -1 : 0;
}

/* --- the warehouse ----------------------------------------------------------------------------- */

/* The columns for people stand in front of "captured_us". */
static struct span json_for_people(const struct json_members *row, struct arena *arena)
{
    struct buf  out;
    struct span copy;

    buf_init(&out, 1 << 20);
    buf_add_byte(&out, '{');
    for (size_t i = 0; i < row->count && !span_is(row->at[i].key, "captured_us"); i++) {
        buf_add_text(&out, i > 0 ? "," : "");
        buf_add(&out, row->at[i].key_raw);
        buf_add_byte(&out, ':');
        buf_add(&out, row->at[i].value.raw);
    }
    buf_add_byte(&out, '}');
    copy = arena_copy(arena, out.failed ? SPAN("{}") : buf_span(&out));
    buf_fini(&out);
    return copy.at == NULL ? SPAN("{}") : copy;
}

static void row_take(struct trace *trace, const struct json_members *row)
{
    struct arena *arena = trace->arena;
    char          name[16];

    trace->row = (struct trace_row){
        .event = field_text(row, "event", arena), .distinct_id = field_text(row, "distinct_id", arena),
        .properties = field_text(row, "properties", arena), .person_id = field_text(row, "person_id", arena),
        .person_mode = field_text(row, "person_mode", arena), .person_properties = field_text(row, "person_properties", arena),
        .session_id = field_text(row, "$session_id", arena), .json = json_for_people(row, arena),
        .team_id = field_number(row, "team_id", 0), .timestamp_us = field_number(row, "timestamp_us", CLOCK_NONE),
        .captured_us = field_number(row, "captured_us", CLOCK_NONE), .created_us = field_number(row, "created_us", CLOCK_NONE),
        .person_created_us = field_number(row, "person_created_us", CLOCK_NONE),
        .inserted_us = field_number(row, "inserted_us", CLOCK_NONE),
        .place = (uint64_t)field_number(row, "raw_offset", -1)
    };
    for (int i = 0; i < 5; i++) {
        (void)snprintf(name, sizeof name, "$group_%d", i);
        trace->row.groups[i] = field_text(row, name, arena);
    }
    trace->has_row = true;
}

/* The first object of the answer's array; 1 there is one, 0 not, -1. */
static int first_object(struct span answer, struct arena *arena, struct json_members *out, struct err *err)
{
    struct json_reader reader;
    int                more;

    json_reader_init(&reader, answer, 0);
    if (json_array_enter(&reader) < 0 || (more = json_array_next(&reader)) < 0)
        return json_explain(&reader, err);
    if (more == 0)
        return 0;
    return json_members_take(&reader, arena, out, err) < 0 ? -1 : 1;
}

static int ask(struct trace *trace, const char *sql, struct span *answer_out, struct err *err)
{
    struct buf answer;
    int        rc;

    buf_init(&answer, ANSWER_BYTES_MAX);
    rc = question_json(trace->data, sql, &answer, err);
    if (rc == 0) {
        *answer_out = arena_copy(trace->arena, buf_span(&answer));
        if (answer_out->at == NULL)
            rc = err_set(err, ERR_FULL, "no memory for an answer of %zu bytes", answer.bytes);
    }
    buf_fini(&answer);
    return rc;
}

static int row_ask(struct trace *trace, const char *where, struct err *err)
{
    char                sql[SQL_BYTES_MAX], project[40] = "";
    struct json_members row;
    struct span         answer;
    int                 got;

    if (trace->project_only != 0 || trace->project != 0)
        (void)snprintf(project, sizeof project, " AND team_id = %" PRIu32,
                       trace->project_only != 0 ? trace->project_only : trace->project);
    (void)snprintf(sql, sizeof sql,
                   "SELECT uuid, event, distinct_id, team_id, timestamp, captured_at AS accepted_at, created_at AS "
                   "processed_at, inserted_at AS stored_at, person_id, person_mode, \"$group_0\", \"$group_1\", \"$group_2\", "
                   "\"$group_3\", \"$group_4\", \"$session_id\", raw_offset, epoch_us(captured_at) AS captured_us, "
                   "epoch_us(created_at) AS created_us, epoch_us(inserted_at) AS inserted_us, epoch_us(timestamp) AS "
                   "timestamp_us, epoch_us(person_created_at) AS person_created_us, properties, person_properties FROM events "
                   "WHERE %s AND uuid = '%s'%s LIMIT 1", where, trace->text, project);
    if (ask(trace, sql, &answer, err) < 0)
        return -1;
    got = first_object(answer, trace->arena, &row, err);
    if (got > 0)
        row_take(trace, &row);
    return got < 0 ? -1 : 0;
}

/* By place and time, which lead to a few row groups; then by the id's own time; then all there is. */
static int row_find(struct trace *trace, struct err *err)
{
    char     where[200], old[80] = "true";
    uint64_t ms = 0;

    if (!question_possible(trace->data) || trace->has_row)
        return 0;
    if (trace->place != TRACE_NONE) {
        int bytes = snprintf(where, sizeof where, "raw_offset = %" PRIu64, trace->place);

        if (trace->record_state == TRACE_RECORD_KEPT)
            (void)snprintf(where + bytes, sizeof where - (size_t)bytes, " AND captured_at = make_timestamp(%" PRId64 ")",
                           trace->record.received_us);
        return row_ask(trace, where, err);
    }
    if (trace->project == 0 && trace->ended_count > 0)
        return 0; /* it is known to have left no row */
    if (trace->project == 0 && trace->has_people) /* what came since ids are remembered would be remembered */
        (void)snprintf(old, sizeof old, "captured_at < make_timestamp(%" PRId64 ")",
                       clock_wall_us() - PEOPLE_SEEN_DAYS * TIME_US_DAY);
    if (uuid_version(&trace->uuid) == 7) {
        for (int i = 0; i < 6; i++)
            ms = ms << 8 | trace->uuid.bytes[i];
        (void)snprintf(where, sizeof where, "%s AND captured_at BETWEEN make_timestamp(%" PRId64 ") AND make_timestamp(%" PRId64 ")",
                       old, ((int64_t)(ms / 1000) - UUID_SLACK_BEFORE_S) * TIME_US_S,
                       ((int64_t)(ms / 1000) + UUID_SLACK_AFTER_S) * TIME_US_S);
        if (row_ask(trace, where, err) < 0 || trace->has_row)
            return trace->has_row ? 0 : -1;
    }
    return row_ask(trace, old, err);
}

static int heatmap_find(struct trace *trace, struct err *err)
{
    char                sql[SQL_BYTES_MAX], when[80] = "";
    struct json_members row;
    struct span         answer;
    int                 got;

    if (trace->has_row || trace->project == 0 || !question_possible(trace->data))
        return 0;
    if (trace->record_state == TRACE_RECORD_KEPT)
        (void)snprintf(when, sizeof when, " AND captured_at = make_timestamp(%" PRId64 ")", trace->record.received_us);
    (void)snprintf(sql, sizeof sql, "SELECT event_uuid AS uuid, '$$heatmap' AS event, distinct_id, team_id, timestamp, captured_at AS "
                   "accepted_at, current_url, session_id FROM heatmaps WHERE event_uuid = '%s' AND team_id = %" PRIu32 "%s LIMIT 1",
                   trace->text, trace->project, when);
    if (ask(trace, sql, &answer, err) < 0)
        return -1;
    got = first_object(answer, trace->arena, &row, err);
    if (got > 0) {
        trace->heatmap = json_for_people(&row, trace->arena);
        trace->has_heatmap = true;
    }
    return got < 0 ? -1 : 0;
}

static int warnings_find(struct trace *trace, struct err *err)
{
    int64_t from_us = trace->has_row ? trace->row.captured_us
                      : trace->record_state == TRACE_RECORD_KEPT ? trace->record.received_us : 0;
    char    sql[SQL_BYTES_MAX];

    trace->warnings = SPAN("[]");
    if (!question_possible(trace->data))
        return 0;
    (void)snprintf(sql, sizeof sql, "SELECT type, category, severity, details, timestamp FROM ingestion_warnings WHERE event_uuid = "
                   "'%s' AND timestamp >= make_timestamp(%" PRId64 ") ORDER BY timestamp LIMIT 100", trace->text, from_us);
    return ask(trace, sql, &trace->warnings, err);
}

static int letter_look(struct trace *trace, struct catalog *catalog, struct err *err)
{
    struct err none = { .kind = ERR_NONE };

    if (letter_find(trace->data, catalog, trace->text, trace->arena, &trace->letter, &none) == 0) {
        trace->has_letter = trace->project_only == 0 || trace->letter.team_id == (int64_t)trace->project_only;
        return 0;
    }
    if (none.kind == ERR_INPUT)
        return 0;
    *err = none;
    return -1;
}

/* --- what it comes to --------------------------------------------------------------------------- */

static void fate_decide(struct trace *trace)
{
    if (trace->has_row)
        trace->fate = trace->row.inserted_us != CLOCK_NONE ? TRACE_STORED : TRACE_WAITS_LOAD;
    else if (trace->has_heatmap)
        trace->fate = TRACE_HEATMAP;
    else if (trace->fate != TRACE_UNKNOWN)
        return;
    else if (trace->has_letter)
        trace->fate = TRACE_DEAD_LETTERED;
    else if (trace->project != 0) /* it was seen, so it was going to be a row */
        trace->fate = TRACE_ROW_GONE;
    else if (trace->ended_count > 0) {
        const struct people_ended *last = &trace->ended[trace->ended_count < TRACE_ENDED_MAX ? trace->ended_count - 1 : TRACE_ENDED_MAX - 1];

        trace->fate = TRACE_ENDED;
        trace->ended_fate = last->fate;
        trace->project = last->project;
        trace->place = last->place;
    }
}

/* The ids that were seen do not always tell which unit has the record: the others are looked at too, and its id decides. */
static int record_look(struct trace *trace, struct err *err)
{
    uint32_t unit = trace->unit;

    if (trace_record_read(trace, err) < 0)
        return -1;
    for (uint32_t u = 0; trace->record_state == TRACE_RECORD_UNKNOWN && u < trace->units; u++) {
        if (u == unit)
            continue;
        trace->unit = u;
        if (trace_record_read(trace, err) < 0)
            return -1;
    }
    if (trace->record_state == TRACE_RECORD_UNKNOWN)
        trace->unit = unit;
    return 0;
}

static int trace_look(struct trace *trace, struct catalog *catalog, const struct catalog_snapshot *snapshot, struct err *err)
{
    struct people_place place = { .input_next = { 0 } };

    if (people_find(trace, snapshot, &place, err) < 0 || trace_record_read(trace, err) < 0 || row_find(trace, err) < 0 ||
        heatmap_find(trace, err) < 0 || letter_look(trace, catalog, err) < 0)
        return -1;
    if (!trace->has_row && !trace->has_heatmap) {
        if (units_search(trace, &place, snapshot, waiting_search, err) < 0)
            return -1;
        /* it may have moved on between the two looks */
        if (!trace->has_row && trace->project != 0 && (row_find(trace, err) < 0 || heatmap_find(trace, err) < 0))
            return -1;
    }
    fate_decide(trace);
    if (trace->fate == TRACE_UNKNOWN && units_search(trace, &place, snapshot, trace_search, err) < 0)
        return -1;
    if (trace->place == TRACE_NONE && trace->has_row)
        trace->place = trace->row.place;
    else if (trace->place == TRACE_NONE && trace->has_letter && trace->letter.raw_offset != LETTER_NONE)
        trace->place = (uint64_t)trace->letter.raw_offset;
    if (trace->project == 0 && trace->has_row)
        trace->project = (uint32_t)trace->row.team_id;
    else if (trace->project == 0 && trace->has_letter)
        trace->project = (uint32_t)trace->letter.team_id;
    if (trace->record_state == TRACE_RECORD_UNKNOWN && record_look(trace, err) < 0)
        return -1;
    if (trace->has_row && (trace_events_offset(trace, err) < 0 || person_find(trace, trace->row.distinct_id, err) < 0))
        return -1;
    return warnings_find(trace, err);
}

int trace_find(struct trace *trace, struct err *err)
{
    struct catalog          *catalog = NULL;
    struct catalog_snapshot *snapshot = NULL;
    int                      rc = -1;

    const struct stores     *stores;

    if (command_stores(trace->data, &stores, err) < 0)
        return -1;
    trace->units = stores_units(stores);
    trace->place = trace->events_offset = TRACE_NONE;
    if (letter_catalog_open(trace->data, &catalog, err) == 0 && catalog_snapshot_load(catalog, &snapshot, err) == 0 &&
        trace_look(trace, catalog, snapshot, err) == 0)
        rc = 0;
    if (rc == 0 && catalog_snapshot_project(snapshot, trace->project) != NULL)
        (void)snprintf(trace->project_name, sizeof trace->project_name, "%s",
                       catalog_snapshot_project(snapshot, trace->project)->name);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
    return rc;
}
