/* command/trace_json.c - a trace for programs. */
#include "command/trace_show.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "command/json_fields.h"
#include "ingest/fate.h"
#include "wire/time.h"

static void record_json(const struct trace *trace, struct buf *out)
{
    const struct record *record = &trace->record;

    if (trace->record_state != TRACE_RECORD_KEPT) {
        buf_add_text(out, "null");
        return;
    }
    buf_add_text(out, "{\"event\":");
    json_write_string(out, record->event);
    field_write_text(out, "distinct_id", record->distinct_id);
    buf_add_format(out, ",\"team_id\":%" PRIu32 ",\"request\":\"%016" PRIx64 "\",\"index\":%" PRIu32, record->project,
                   record->request, record->index);
    field_write_text(out, "ip", record->ip);
    field_write_text(out, "token", record->token);
    field_write_time(out, "accepted_at", record->received_us);
    field_write_time(out, "sent_at", record->sent_at_us);
    field_write_time(out, "timestamp", record->timestamp_us);
    buf_add_format(out, ",\"timestamp_is\":\"%s\",\"historical_migration\":%s,\"uuid_is\":\"%s\"}", trace_source_names[record->timestamp_source],
                   record->flags & RECORD_HISTORICAL ? "true" : "false",
                   record->flags & RECORD_UUID_DERIVED ? "made from the event's content"
                   : record->flags & RECORD_UUID_MADE ? "random" : "the client's");
}

static void steps_json(const struct trace *trace, struct buf *out)
{
    struct trace_step steps[TRACE_STEP_COUNT];
    int64_t     before_us = CLOCK_NONE;
    bool        first = true;

    trace_steps(trace, steps);
    buf_add_byte(out, '[');
    for (int i = 0; i < TRACE_STEP_COUNT; i++) {
        if (steps[i].at_us == CLOCK_NONE)
            continue;
        buf_add_format(out, "%s{\"step\":\"%s\"", first ? "" : ",", steps[i].name);
        field_write_time(out, "at", steps[i].at_us);
        if (before_us != CLOCK_NONE)
            buf_add_format(out, ",\"after_ms\":%.3f", (double)(steps[i].at_us - before_us) / 1e3);
        buf_add_byte(out, '}');
        before_us = steps[i].at_us;
        first = false;
    }
    buf_add_byte(out, ']');
}

static void changes_json(const struct trace_changes *changes, struct buf *out)
{
    if (!changes->before.there || !changes->after.there) {
        buf_add_text(out, "null");
        return;
    }
    buf_add_text(out, "{\"added\":");
    trace_names_write(changes, TRACE_ADDED, out);
    buf_add_text(out, ",\"removed\":");
    trace_names_write(changes, TRACE_REMOVED, out);
    buf_add_text(out, ",\"changed\":");
    trace_names_write(changes, TRACE_CHANGED, out);
    buf_add_text(out, ",\"place\":");
    trace_place_write(changes, out);
    buf_add_byte(out, '}');
}

static void person_json(const struct trace *trace, const struct trace_changes *changes, struct arena *arena, struct buf *out)
{
    struct trace_members person, set, set_once;

    if (!trace->has_row) {
        buf_add_text(out, "null");
        return;
    }
    person = trace_members(trace->row.person_properties, arena);
    set = trace_members(trace_value(&changes->after, "$set"), arena);
    set_once = trace_members(trace_value(&changes->after, "$set_once"), arena);
    buf_add_text(out, "{\"id\":");
    json_write_string(out, trace->row.person_id);
    field_write_text(out, "mode", trace->row.person_mode);
    field_write_time(out, "created_at", trace->row.person_created_us);
    buf_add_format(out, ",\"made_by_this_event\":%s", trace_made_person(trace, &person));
    field_write_text(out, "now", trace->person_now);
    if (span_is(trace->row.person_mode, "full")) {
        buf_add_text(out, ",\"set\":");
        trace_asked_write(&set, &person, true, out);
        buf_add_text(out, ",\"set_once\":");
        trace_asked_write(&set_once, &person, true, out);
        buf_add_text(out, ",\"set_once_there_before\":");
        trace_asked_write(&set_once, &person, false, out);
    }
    buf_add_text(out, ",\"properties_after\":");
    buf_add(out, trace->row.person_properties.bytes > 0 ? trace->row.person_properties : SPAN("null"));
    buf_add_byte(out, '}');
}

static void ended_json(const struct trace *trace, struct buf *out)
{
    size_t kept = trace->ended_count < TRACE_ENDED_MAX ? trace->ended_count : TRACE_ENDED_MAX;

    buf_add_byte(out, '[');
    for (size_t i = 0; i < kept; i++) {
        const struct people_ended *ended = &trace->ended[i];

        buf_add_format(out, "%s{\"fate\":\"%s\",\"project\":%" PRIu32 ",\"topic\":\"%s\",\"offset\":%" PRIu64, i > 0 ? "," : "",
                       fate_info(ended->fate) != NULL ? fate_info(ended->fate)->name : "unknown", ended->project,
                       input_topic(place_input(ended->place)), place_offset(ended->place));
        field_write_time(out, "at", ended->at_us);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, ']');
}

static void also_json(const struct trace *trace, struct buf *out)
{
    buf_add_byte(out, '[');
    for (size_t i = 0; i < trace->also_count; i++)
        buf_add_format(out, "%s%" PRIu32, i > 0 ? "," : "", trace->also[i]);
    buf_add_byte(out, ']');
}

void trace_write_json(const struct trace *trace, struct buf *out)
{
    static const char *const states[] = { "unknown", "kept", "expired", "damaged", "erased" };
    struct arena  *arena = arena_new(1 << 16, TRACE_SHOW_ARENA_BYTES_MAX);
    struct trace_changes changes = { .before = { .there = false } };

    if (arena != NULL)
        trace_changes_find(trace, arena, &changes);
    buf_add_format(out, "{\"uuid\":\"%s\",\"fate\":\"%s\",\"reason\":", trace->text, trace_fate_name(trace));
    if (trace->fate == TRACE_ENDED)
        buf_add_format(out, "\"%s\",\"recomputed\":%s", fate_info(trace->ended_fate)->name, trace->recomputed ? "true" : "false");
    else if (trace->fate == TRACE_DEAD_LETTERED)
        json_write_string(out, trace->letter.reason);
    else
        buf_add_text(out, "null");
    field_write_text(out, "note", span_text(trace_note(trace)));
    if (trace->project != 0)
        buf_add_format(out, ",\n \"project\":%" PRIu32 ",\"also_in_projects\":", trace->project);
    else
        buf_add_text(out, ",\n \"project\":null,\"also_in_projects\":");
    also_json(trace, out);
    if (trace->place != TRACE_NONE)
        buf_add_format(out, ",\n \"topic\":\"%s\",\"offset\":%" PRIu64 ",\"record_is\":\"%s\"", input_topic(place_input(trace->place)),
                       place_offset(trace->place), states[trace->record_state]);
    buf_add_text(out, ",\n \"record\":");
    record_json(trace, out);
    buf_add_text(out, ",\n \"steps\":");
    steps_json(trace, out);
    buf_add_text(out, ",\n \"changes\":");
    changes_json(&changes, out);
    buf_add_text(out, ",\n \"person\":");
    if (arena != NULL)
        person_json(trace, &changes, arena, out);
    if (trace->events_offset != TRACE_NONE)
        buf_add_format(out, ",\n \"events_offset\":%" PRIu64, trace->events_offset);
    else
        buf_add_text(out, ",\n \"events_offset\":null");
    buf_add_text(out, ",\n \"warnings\":");
    buf_add(out, trace->warnings.bytes > 0 ? trace->warnings : SPAN("[]"));
    buf_add_format(out, ",\n \"no_row_times\":%zu,\"no_row\":", trace->ended_count);
    ended_json(trace, out);
    buf_add_text(out, ",\n \"letter\":");
    if (trace->has_letter)
        letter_write_json(&trace->letter, false, out);
    else
        buf_add_text(out, "null");
    buf_add_text(out, ",\n \"rows\":[");
    buf_add(out, trace->has_row ? trace->row.json : trace->has_heatmap ? trace->heatmap : SPAN(""));
    buf_add_text(out, "]}\n");
    arena_free(arena);
}
