/* command/trace_text.c - a trace for people: a line for each step, and under it what the step did. */
#include "command/trace_show.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "ingest/fate.h"
#include "wire/time.h"

static void step_text(struct buf *out, const struct trace_step *step, int64_t *before_us)
{
    if (step->at_us == CLOCK_NONE) {
        buf_add_format(out, "%-10s (when is not known)", step->name);
        return;
    }
    buf_add_format(out, "%-10s ", step->name);
    time_write_rfc3339(out, step->at_us);
    if (*before_us != CLOCK_NONE)
        buf_add_format(out, "  +%.1f ms", (double)(step->at_us - *before_us) / 1e3);
    *before_us = step->at_us;
}

static void detail(struct buf *out, const char *name)
{
    buf_add_format(out, "\n             %-16s", name);
}

static void quoted(struct buf *out, const char *name, struct span text)
{
    if (text.bytes == 0)
        return;
    detail(out, name);
    json_write_string(out, text);
}

static void accepted_text(const struct trace *trace, struct buf *out)
{
    const struct record *record = &trace->record;

    if (trace->record_state != TRACE_RECORD_KEPT)
        return;
    quoted(out, "event", record->event);
    quoted(out, "distinct id", record->distinct_id);
    detail(out, "request");
    buf_add_format(out, "%016" PRIx64 ", event %" PRIu32 " of it (from 0)", record->request, record->index);
    quoted(out, "from", record->ip);
    detail(out, "time");
    time_write_rfc3339(out, record->timestamp_us);
    buf_add_format(out, ": %s", trace_source_names[record->timestamp_source]);
    if (record->sent_at_us != CLOCK_NONE) {
        detail(out, "sent");
        time_write_rfc3339(out, record->sent_at_us);
    }
    if (record->flags & (RECORD_UUID_DERIVED | RECORD_UUID_MADE)) {
        detail(out, "uuid");
        buf_add_text(out, record->flags & RECORD_UUID_DERIVED ? "made from the event's content" : "random: the client gave none");
    }
}

static void written_text(const struct trace *trace, struct buf *out)
{
    static const char *const states[] = { "", "", ": deleted by retention since", ": damaged since", ": erased since" };

    if (trace->place == TRACE_NONE)
        return;
    detail(out, "log");
    buf_add_format(out, "topic %s, offset %" PRIu64 "%s", input_topic(place_input(trace->place)), place_offset(trace->place),
                   states[trace->record_state]);
}

static void names_text(struct buf *out, const char *name, const struct trace_changes *changes, enum trace_difference what)
{
    size_t before;

    detail(out, name);
    before = out->bytes;
    trace_names_write(changes, what, out);
    if (out->bytes == before + 2) { /* none */
        out->bytes = before;
        buf_add_text(out, "nothing");
    }
}

/* Of one's $set or $set_once, what is there on the person after the event, or was there before. */
static void asked_text(struct buf *out, const char *name, const struct trace_members *asked, const struct trace_members *person, bool mine)
{
    size_t before;

    detail(out, name);
    before = out->bytes;
    trace_asked_write(asked, person, mine, out);
    if (out->bytes == before + 2) { /* [] */
        out->bytes = before;
        buf_add_text(out, "nothing");
    }
}

static void place_text(const struct trace_changes *changes, struct buf *out)
{
    size_t before;

    detail(out, "place");
    before = out->bytes;
    trace_place_write(changes, out);
    if (out->bytes == before + 2) { /* {} */
        out->bytes = before;
        buf_add_text(out, "none known of the address");
    }
}

static void person_text(const struct trace *trace, const struct trace_changes *changes, struct arena *arena, struct buf *out)
{
    struct trace_members person = trace_members(trace->row.person_properties, arena);
    struct trace_members set = trace_members(trace_value(&changes->after, "$set"), arena);
    struct trace_members set_once = trace_members(trace_value(&changes->after, "$set_once"), arena);

    detail(out, "person");
    buf_add_format(out, "%.*s, %.*s", SPAN_ARG(trace->row.person_id), SPAN_ARG(trace->row.person_mode));
    if (trace->row.person_created_us != CLOCK_NONE) {
        buf_add_text(out, ", since ");
        time_write_rfc3339(out, trace->row.person_created_us);
        if (strcmp(trace_made_person(trace, &person), "true") == 0)
            buf_add_text(out, "; made by this event");
    }
    if (trace->person_now.bytes > 0 && !span_equal(trace->person_now, trace->row.person_id)) {
        detail(out, "");
        buf_add_format(out, "its distinct id leads to %.*s today: merged since", SPAN_ARG(trace->person_now));
    }
    if (!span_is(trace->row.person_mode, "full"))
        return;
    asked_text(out, "set", &set, &person, true);
    asked_text(out, "set once", &set_once, &person, true);
    asked_text(out, "was there", &set_once, &person, false);
}

static void processed_text(const struct trace *trace, const struct trace_changes *changes, struct arena *arena, struct buf *out)
{
    if (trace->fate == TRACE_ENDED) {
        detail(out, trace->ended_fate == FATE_DEDUPLICATED ? "deduplicated" : "dropped");
        buf_add_format(out, "%s: %s%s", fate_info(trace->ended_fate)->name, fate_info(trace->ended_fate)->help,
                       trace->recomputed ? " (worked out anew, by today's rules)" : "");
    }
    if (trace->has_row) {
        if (changes->before.there && changes->after.there) {
            names_text(out, "added", changes, TRACE_ADDED);
            names_text(out, "removed", changes, TRACE_REMOVED);
            names_text(out, "changed", changes, TRACE_CHANGED);
            place_text(changes, out);
        }
        person_text(trace, changes, arena, out);
        for (int i = 0; i < 5; i++)
            if (trace->row.groups[i].bytes > 0) {
                detail(out, "group");
                buf_add_format(out, "$group_%d ", i);
                json_write_string(out, trace->row.groups[i]);
            }
    }
    if (trace->warnings.bytes > 0 && memchr(trace->warnings.at, '{', trace->warnings.bytes) != NULL) {
        detail(out, "warnings");
        json_write_compact(out, trace->warnings);
    }
    if (trace->events_offset != TRACE_NONE) {
        detail(out, "log");
        buf_add_format(out, "topic events, offset %" PRIu64, trace->events_offset);
    }
}

static void letter_text(const struct trace *trace, struct buf *out)
{
    if (!trace->has_letter)
        return;
    buf_add_format(out, "\ndead letter %s: %.*s %.*s, %s", trace->letter.key, SPAN_ARG(trace->letter.step), SPAN_ARG(trace->letter.reason),
                   letter_state_name(&trace->letter));
    buf_add_format(out, "\n             see: penstock dlq show %s", trace->letter.key);
}

static void ended_text(const struct trace *trace, struct buf *out)
{
    size_t kept = trace->ended_count < TRACE_ENDED_MAX ? trace->ended_count : TRACE_ENDED_MAX;

    if (kept == 0)
        return;
    buf_add_format(out, "\nwithout a row %zu times", trace->ended_count);
    for (size_t i = 0; i < kept; i++) {
        const struct people_ended *ended = &trace->ended[i];
        const struct fate_info    *info = fate_info(ended->fate);

        buf_add_text(out, "\n             ");
        time_write_rfc3339(out, ended->at_us);
        buf_add_format(out, "  %s, project %" PRIu32 ", topic %s, offset %" PRIu64, info != NULL ? info->name : "unknown",
                       ended->project, input_topic(place_input(ended->place)), place_offset(ended->place));
    }
}

void trace_write_text(const struct trace *trace, struct buf *out)
{
    struct arena  *arena = arena_new(1 << 16, TRACE_SHOW_ARENA_BYTES_MAX);
    struct trace_changes changes = { .before = { .there = false } };
    struct trace_step    steps[TRACE_STEP_COUNT];
    int64_t        before_us = CLOCK_NONE;

    if (arena == NULL)
        return;
    trace_changes_find(trace, arena, &changes);
    trace_steps(trace, steps);
    buf_add_format(out, "%s %s %s", trace->text, trace->fate == TRACE_ROW_GONE ? "was" : "is", trace_fate_name(trace));
    if (trace_note(trace)[0] != '\0')
        buf_add_format(out, ": %s", trace_note(trace));
    if (trace->project != 0) {
        buf_add_format(out, "\nproject %" PRIu32 " ", trace->project);
        json_write_string(out, span_text(trace->project_name));
    }
    for (size_t i = 0; i < trace->also_count; i++)
        buf_add_format(out, "%s%" PRIu32, i == 0 ? "; also in project " : ", ", trace->also[i]);
    if (trace->fate != TRACE_UNKNOWN) {
        buf_add_text(out, "\n\n");
        step_text(out, &steps[TRACE_STEP_ACCEPTED], &before_us);
        accepted_text(trace, out);
        buf_add_byte(out, '\n');
        step_text(out, &steps[TRACE_STEP_WRITTEN], &before_us);
        written_text(trace, out);
        if (trace->fate != TRACE_WAITS_INGEST) {
            buf_add_byte(out, '\n');
            step_text(out, &steps[TRACE_STEP_PROCESSED], &before_us);
            processed_text(trace, &changes, arena, out);
        }
        if (trace->fate == TRACE_STORED) {
            buf_add_byte(out, '\n');
            step_text(out, &steps[TRACE_STEP_STORED], &before_us);
            detail(out, "table");
            buf_add_text(out, "events");
        }
        if (trace->fate == TRACE_HEATMAP) {
            buf_add_byte(out, '\n');
            step_text(out, &steps[TRACE_STEP_STORED], &before_us);
            detail(out, "table");
            buf_add_text(out, "heatmaps: ");
            buf_add(out, trace->heatmap);
        }
        if (steps[TRACE_STEP_STORED].at_us != CLOCK_NONE && steps[TRACE_STEP_ACCEPTED].at_us != CLOCK_NONE)
            buf_add_format(out, "\n%.1f ms from acceptance to the table",
                           (double)(steps[TRACE_STEP_STORED].at_us - steps[TRACE_STEP_ACCEPTED].at_us) / 1e3);
    }
    letter_text(trace, out);
    ended_text(trace, out);
    buf_add_byte(out, '\n');
    arena_free(arena);
}
