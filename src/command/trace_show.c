/* command/trace_show.c - what a trace comes to, before it is written. See trace_show.h. */
#include "command/trace_show.h"

#include <string.h>

#include "base/clock.h"
#include "ingest/fate.h"

const char *const trace_source_names[] = {
    [RECORD_TIME_NOW_FALLBACK] = "the request's arrival: the event gave no time that can be read",
    [RECORD_TIME_RAW] = "the event's own time as it was given",
    [RECORD_TIME_SENT_AT_SKEW] = "the event's own time, corrected by sent_at",
    [RECORD_TIME_OFFSET] = "the request's arrival less the event's offset",
};

static const char *const notes[] = {
    [TRACE_UNKNOWN] = "no row, no dead letter, no note and no record that is still kept has this id",
    [TRACE_WAITS_INGEST] = "accepted, waits for ingest",
    [TRACE_WAITS_LOAD] = "processed, waits for the warehouse",
    [TRACE_STORED] = "",
    [TRACE_HEATMAP] = "its points are rows of heatmaps; it has no other row",
    [TRACE_ROW_GONE] = "it was processed, and its row is not in the warehouse any more: deleted since, as old or with its person, or set aside by the loader",
    [TRACE_DEAD_LETTERED] = "it could not be processed, and is kept",
    [TRACE_ENDED] = "",
};

const char *trace_fate_name(const struct trace *trace)
{
    switch (trace->fate) {
    case TRACE_UNKNOWN:       return "unknown";
    case TRACE_WAITS_INGEST:
    case TRACE_WAITS_LOAD:    return "pending";
    case TRACE_STORED:
    case TRACE_HEATMAP:
    case TRACE_ROW_GONE:      return "stored";
    case TRACE_DEAD_LETTERED: return "dead-lettered";
    case TRACE_ENDED:         return trace->ended_fate == FATE_DEDUPLICATED ? "deduplicated" : "dropped";
    }
    return "unknown";
}

const char *trace_note(const struct trace *trace)
{
    const struct fate_info *info = trace->fate == TRACE_ENDED ? fate_info(trace->ended_fate) : NULL;

    if (trace->fate == TRACE_ROW_GONE && trace->record_state == TRACE_RECORD_ERASED)
        return "it was erased with its person; nothing is kept of it but its id";
    return info != NULL ? info->help : notes[trace->fate];
}

/* --- what the steps knew ------------------------------------------------------------------------ */

void trace_steps(const struct trace *trace, struct trace_step steps[TRACE_STEP_COUNT])
{
    bool                       kept = trace->record_state == TRACE_RECORD_KEPT;
    const struct people_ended *last = trace->ended_count == 0 ? NULL
                                      : &trace->ended[(trace->ended_count < TRACE_ENDED_MAX ? trace->ended_count : TRACE_ENDED_MAX) - 1];

    steps[TRACE_STEP_ACCEPTED] = (struct trace_step){ "accepted", kept ? trace->record.received_us : trace->has_row ? trace->row.captured_us
                                                      : trace->has_letter ? trace->letter.received_us : CLOCK_NONE };
    steps[TRACE_STEP_WRITTEN] = (struct trace_step){ "written", kept ? trace->written_us : CLOCK_NONE };
    steps[TRACE_STEP_PROCESSED] = (struct trace_step){ "processed", trace->has_row ? trace->row.created_us
                                           : trace->fate == TRACE_DEAD_LETTERED ? trace->letter.failed_us
                                           : trace->fate == TRACE_ENDED && last != NULL ? last->at_us : CLOCK_NONE };
    steps[TRACE_STEP_STORED] = (struct trace_step){ "stored", trace->has_row ? trace->row.inserted_us : CLOCK_NONE };
}

/* --- comparing --------------------------------------------------------------------------------- */

struct trace_members trace_members(struct span object, struct arena *arena)
{
    struct trace_members out = { .there = false };
    struct err     ignored = { .kind = ERR_NONE };

    out.there = object.bytes > 0 && json_members_read(object, arena, &out.all, &ignored) == 0;
    if (!out.there)
        out.all = (struct json_members){ .count = 0 };
    return out;
}

struct span trace_value(const struct trace_members *members, const char *name)
{
    const struct json_member *found = members->there ? json_members_find(&members->all, span_text(name)) : NULL;

    return found == NULL ? SPAN("") : found->value.raw;
}

void trace_changes_find(const struct trace *trace, struct arena *arena, struct trace_changes *out)
{
    struct trace_members data = trace_members(trace->record_state == TRACE_RECORD_KEPT ? trace->record.data : SPAN(""), arena);
    struct span    properties = trace_value(&data, "properties");

    out->before = trace_members(data.there && (properties.bytes == 0 || span_is(properties, "null")) ? SPAN("{}") : properties, arena);
    out->after = trace_members(trace->has_row ? trace->row.properties : SPAN(""), arena);
}

static bool differs(const struct trace_changes *changes, const struct json_member *member, enum trace_difference what)
{
    const struct json_members *other = what == TRACE_REMOVED ? &changes->after.all : &changes->before.all;
    const struct json_member  *found = json_members_find(other, member->key);

    return what == TRACE_CHANGED ? found != NULL && !span_equal(found->value.raw, member->value.raw) : found == NULL;
}

/* Names as a JSON array. */
void trace_names_write(const struct trace_changes *changes, enum trace_difference what, struct buf *out)
{
    const struct json_members *from = what == TRACE_REMOVED ? &changes->before.all : &changes->after.all;
    bool                       first = true;

    buf_add_byte(out, '[');
    for (size_t i = 0; i < from->count; i++)
        if (differs(changes, &from->at[i], what)) {
            buf_add_text(out, first ? "" : ",");
            buf_add(out, from->at[i].key_raw);
            first = false;
        }
    buf_add_byte(out, ']');
}

void trace_place_write(const struct trace_changes *changes, struct buf *out)
{
    bool first = true;

    buf_add_byte(out, '{');
    for (size_t i = 0; i < changes->after.all.count; i++) {
        const struct json_member *member = &changes->after.all.at[i];

        if (span_starts(member->key, SPAN("$geoip_")) && differs(changes, member, TRACE_ADDED)) {
            buf_add_text(out, first ? "" : ",");
            buf_add(out, member->key_raw);
            buf_add_byte(out, ':');
            buf_add(out, member->value.raw);
            first = false;
        }
    }
    buf_add_byte(out, '}');
}

/* Of the keys that the event asked for, those that the person has afterwards with just that value, or not. */
void trace_asked_write(const struct trace_members *asked, const struct trace_members *person, bool in_force, struct buf *out)
{
    bool first = true;

    buf_add_byte(out, '[');
    for (size_t i = 0; i < asked->all.count; i++) {
        const struct json_member *member = &asked->all.at[i], *found = json_members_find(&person->all, member->key);

        if ((found != NULL && span_equal(found->value.raw, member->value.raw)) == in_force) {
            buf_add_text(out, first ? "" : ",");
            buf_add(out, member->key_raw);
            first = false;
        }
    }
    buf_add_byte(out, ']');
}

/* Whether this event made the person: the person says who did. "null": it does not say. */
const char *trace_made_person(const struct trace *trace, const struct trace_members *person)
{
    struct span creator = trace_value(person, "$creator_event_uuid");

    if (creator.bytes != UUID_TEXT_BYTES + 2)
        return "null";
    return span_equal(span_of(creator.at + 1, UUID_TEXT_BYTES), span_text(trace->text)) ? "true" : "false";
}
