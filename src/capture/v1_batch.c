/* capture/v1_batch.c - one walk, as in shape.c, but stricter: this protocol is typed, its clients are
 * SDKs alone, and a batch in which a field has another type is not what they made. */
#include "capture/v1_batch.h"

#include "capture/event_check.h"
#include "wire/json_keys.h"
#include "wire/time.h"

enum { V1_EVENTS_FIRST = 8 };

struct v1_walk {
    struct json_reader reader;
    struct arena      *arena;
    struct refusal    *refusal;
    size_t             events_max, room;
    bool               has_batch;
    struct json_value  created_at;
    struct v1_batch    batch;
};

static int v1_refuse_memory(struct v1_walk *walk)
{
    return refusal_set(walk->refusal, 413, REFUSAL_OVERSIZE, "the request needs more working memory than allowed");
}

static int v1_refuse_json(struct v1_walk *walk)
{
    struct err err = { 0 };

    json_explain(&walk->reader, &err);
    return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "failed to parse request: %s", err.text);
}

static int v1_refuse_field(struct v1_walk *walk, const char *field, const char *expected)
{
    return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "failed to parse request: event %zu: %s: expected %s",
                       walk->batch.count - 1, field, expected);
}

/* --- one event --------------------------------------------------------------------------------- */

/* Where the field of this name is kept; NULL: nobody asks for it. */
static struct json_value *v1_slot(struct v1_event *event, const struct json_value *key)
{
#define SLOT(field) { #field, { (const uint8_t *)"\"" #field "\"", sizeof #field + 1 }, offsetof(struct v1_event, field) }
    static const struct { const char *name; struct span quoted; size_t at; } slots[] = {
        SLOT(event),   SLOT(properties), SLOT(distinct_id), SLOT(timestamp),
        SLOT(options), SLOT(uuid),       SLOT(session_id),  SLOT(window_id),
    };
#undef SLOT

    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if (key->escaped ? json_text_is(key, slots[i].name) : span_equal(key->raw, slots[i].quoted))
            return (struct json_value *)(void *)((uint8_t *)event + slots[i].at);
    return NULL;
}

static int v1_check_fields(struct v1_walk *walk, struct v1_event *event)
{
    const struct { const char *name; struct json_value *value; bool needed; } texts[] = {
        { "event", &event->event, true },           { "uuid", &event->uuid, true },
        { "distinct_id", &event->distinct_id, true }, { "timestamp", &event->timestamp, true },
        { "session_id", &event->session_id, false }, { "window_id", &event->window_id, false },
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct json_value *value = texts[i].value;

        if (!texts[i].needed && value->raw.at != NULL && value->kind == JSON_NULL)
            *value = (struct json_value){ 0 };
        if (value->raw.at == NULL ? texts[i].needed : value->kind != JSON_STRING)
            return v1_refuse_field(walk, texts[i].name, texts[i].needed ? "a string" : "a string or null");
    }
    return 0;
}

static struct v1_event *v1_event_new(struct v1_walk *walk)
{
    struct v1_batch *batch = &walk->batch;

    if (batch->count == walk->room) {
        size_t           room = walk->room == 0 ? V1_EVENTS_FIRST : walk->room * 2;
        struct v1_event *more = walk->room == 0
                                    ? arena_alloc_array(walk->arena, room, sizeof *more)
                                    : arena_grow(walk->arena, batch->events, walk->room * sizeof *more, room * sizeof *more);

        if (more == NULL)
            return NULL;
        batch->events = more;
        walk->room = room;
    }
    memset(&batch->events[batch->count], 0, sizeof *batch->events);
    return &batch->events[batch->count++];
}

static int v1_read_event(struct v1_walk *walk)
{
    struct json_reader *reader = &walk->reader;
    uint32_t            repaired = reader->surrogates_repaired + reader->nuls_repaired;
    struct json_value   key, value;
    struct v1_event    *event;
    const uint8_t      *start;
    int                 kind, more;

    if (walk->batch.count == walk->events_max)
        return refusal_set(walk->refusal, 413, REFUSAL_OVERSIZE, "more than %zu events in one request",
                           walk->events_max);
    if ((event = v1_event_new(walk)) == NULL)
        return v1_refuse_memory(walk);
    kind = json_peek(reader);
    if (kind >= 0 && kind != JSON_OBJECT)
        return v1_refuse_field(walk, "the event", "an object");
    start = reader->at;
    if (kind < 0 || json_object_enter(reader) < 0)
        return v1_refuse_json(walk);
    while ((more = json_object_next(reader, &key)) == 1) {
        struct json_value *slot = v1_slot(event, &key);

        if (json_skip(reader, &value) < 0)
            return v1_refuse_json(walk);
        if (slot != NULL)
            *slot = value; /* of two with one name the last counts */
    }
    if (more < 0)
        return v1_refuse_json(walk);
    event->object = span_of(start, (size_t)(reader->at - start));
    event->repaired = reader->surrogates_repaired + reader->nuls_repaired != repaired;
    return v1_check_fields(walk, event);
}

static int v1_read_events(struct v1_walk *walk)
{
    int more;

    walk->batch.count = 0; /* of two batches the last counts */
    walk->has_batch = true;
    if (json_array_enter(&walk->reader) < 0)
        return v1_refuse_json(walk);
    while ((more = json_array_next(&walk->reader)) == 1)
        if (v1_read_event(walk) < 0)
            return -1;
    return more < 0 ? v1_refuse_json(walk) : 0;
}

/* --- the envelope ------------------------------------------------------------------------------ */

static int v1_take_flag(struct v1_walk *walk, const struct json_value *value, const char *name, bool *out)
{
    *out = value->kind == JSON_TRUE;
    if (value->kind == JSON_TRUE || value->kind == JSON_FALSE || value->kind == JSON_NULL)
        return 0;
    return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "failed to parse request: %s: expected true or false", name);
}

static int v1_take_member(struct v1_walk *walk, const struct json_value *key)
{
    struct json_value value;
    int               kind = json_peek(&walk->reader);

    if (kind == JSON_ARRAY && json_text_is(key, "batch"))
        return v1_read_events(walk);
    if (kind < 0 || json_skip(&walk->reader, &value) < 0)
        return v1_refuse_json(walk);
    if (json_text_is(key, "batch"))
        return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "failed to parse request: batch: expected an array");
    if (json_text_is(key, "historical_migration"))
        return v1_take_flag(walk, &value, "historical_migration", &walk->batch.historical);
    if (json_text_is(key, "capture_internal"))
        return v1_take_flag(walk, &value, "capture_internal", &walk->batch.internal);
    if (json_text_is(key, "created_at"))
        walk->created_at = value;
    return 0;
}

static int v1_read_envelope(struct v1_walk *walk)
{
    struct json_value key;
    int               more;

    if (json_object_enter(&walk->reader) < 0)
        return v1_refuse_json(walk);
    while ((more = json_object_next(&walk->reader, &key)) == 1)
        if (v1_take_member(walk, &key) < 0)
            return -1;
    if (more < 0 || json_finish(&walk->reader) < 0)
        return v1_refuse_json(walk);
    return 0;
}

static int v1_check_envelope(struct v1_walk *walk)
{
    struct span text;
    int64_t     us;

    if (walk->created_at.raw.at == NULL || walk->created_at.kind != JSON_STRING)
        return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "failed to parse request: created_at: expected a string");
    if (!walk->has_batch)
        return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "failed to parse request: batch: expected an array");
    text = json_text(&walk->created_at, walk->arena);
    if (text.at == NULL)
        return v1_refuse_memory(walk);
    if (!time_parse_rfc3339(text, &us, NULL))
        return refusal_set(walk->refusal, 400, REFUSAL_BAD_BATCH, "created_at: expected an RFC 3339 time");
    if (walk->batch.count == 0)
        return refusal_set(walk->refusal, 400, REFUSAL_EMPTY_BATCH, "batch holds no event");
    return 0;
}

/* --- uuids ------------------------------------------------------------------------------------- */

static int v1_read_uuid(struct v1_walk *walk, size_t index)
{
    struct v1_event *event = &walk->batch.events[index];
    struct span      text = json_text(&event->uuid, walk->arena);

    if (text.at == NULL)
        return v1_refuse_memory(walk);
    text = event_text_trim(text);
    if (text.bytes == 0)
        return refusal_set(walk->refusal, 400, REFUSAL_NO_UUID, "event %zu: uuid is empty", index);
    if (!uuid_parse(text, &event->uuid_value))
        return refusal_set(walk->refusal, 400, REFUSAL_BAD_UUID, "event %zu: uuid is not a UUID", index);
    return 0;
}

/* Puts the event into the hash index (slots hold index + 1); false: its uuid is there already. */
static bool v1_index_add(const struct v1_batch *batch, uint32_t *slots, size_t slots_count, size_t index)
{
    const struct uuid *uuid = &batch->events[index].uuid_value;
    size_t             at = json_keys_hash(span_of(uuid->bytes, sizeof uuid->bytes), json_keys_seed()) & (slots_count - 1);

    for (; slots[at] != 0; at = (at + 1) & (slots_count - 1))
        if (uuid_equal(uuid, &batch->events[slots[at] - 1].uuid_value))
            return false;
    slots[at] = (uint32_t)index + 1;
    return true;
}

static int v1_check_uuids(struct v1_walk *walk)
{
    size_t    slots_count = json_keys_slots(walk->batch.count);
    uint32_t *slots = arena_alloc_zero(walk->arena, slots_count * sizeof *slots);

    if (slots == NULL)
        return v1_refuse_memory(walk);
    for (size_t i = 0; i < walk->batch.count; i++) {
        if (v1_read_uuid(walk, i) < 0)
            return -1;
        if (!v1_index_add(&walk->batch, slots, slots_count, i))
            return refusal_set(walk->refusal, 400, REFUSAL_DUPLICATE_UUID,
                               "event %zu: an event before it has the same uuid", i);
    }
    return 0;
}

int v1_batch_read(struct arena *arena, struct span text, size_t events_max, struct v1_batch *out,
                  struct refusal *refusal)
{
    struct v1_walk walk = { .arena = arena, .refusal = refusal, .events_max = events_max };

    json_reader_init(&walk.reader, text, JSON_REPAIR);
    if (v1_read_envelope(&walk) < 0 || v1_check_envelope(&walk) < 0 || v1_check_uuids(&walk) < 0)
        return -1;
    *out = walk.batch;
    return 0;
}
