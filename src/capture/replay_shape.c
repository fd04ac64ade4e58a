/* capture/replay_shape.c - one walk, as in shape.c. What was recorded is passed over whole: pages are deeper than any event
 * (json_skip_deep), and nothing here wants to know what is in them. U+0000 stays in it: posthog-js packs what it recorded
 * and writes the bytes as text. In what is read of it, ids and tokens, it becomes U+FFFD as everywhere. */
#include "capture/replay_shape.h"

#include "wire/uuid.h"

enum { REPLAY_EVENTS_FIRST = 8 };

struct replay_walk {
    struct json_reader  reader;
    struct arena       *arena;
    struct refusal     *refusal;
    size_t              events_max, room;
    struct between      between;
    const uint8_t      *stopped; /* there, between two events */
    struct replay_shape shape;
};

static int refuse_type(struct replay_walk *walk, const char *field, const char *expected)
{
    return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "failed to parse request: event %zu: %s: expected %s",
                       walk->shape.count - 1, field, expected);
}

/* A value that has been read: J5 in full. */
static void repair_nuls(const struct json_value *value)
{
    struct json_reader reader;
    struct json_value  again;

    if (!value->escaped && value->kind != JSON_ARRAY && value->kind != JSON_OBJECT)
        return;
    json_reader_init(&reader, value->raw, JSON_REPAIR);
    (void)!json_skip(&reader, &again); /* too deep: it stays as it is */
}

/* --- properties -------------------------------------------------------------------------------- */

static int take_flag(struct replay_walk *walk, const struct json_value *value, const char *field, bool *out)
{
    *out = value->kind == JSON_TRUE;
    if (value->kind == JSON_TRUE || value->kind == JSON_FALSE || value->kind == JSON_NULL)
        return 0;
    return refuse_type(walk, field, "true or false");
}

static int take_property(struct replay_walk *walk, struct replay_event *event, const struct json_value *key,
                         const struct json_value *value)
{
    const struct { const char *name; struct json_value *to; } plain[] = {
        { "$session_id", &event->session_id }, { "$window_id", &event->window_id },
        { "$snapshot_source", &event->source }, { "$snapshot_host", &event->host },
        { "$snapshot_data", &event->data },     { "distinct_id", &event->draft.prop_distinct_id },
    };

    if (json_text_is(key, "distinct_id") || json_text_is(key, "token"))
        repair_nuls(value);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (json_text_is(key, plain[i].name)) {
            *plain[i].to = value->kind == JSON_NULL ? (struct json_value){ 0 } : *value;
            return 0;
        }
    if (json_text_is(key, "token")) {
        event->draft.prop_token = value->kind == JSON_STRING ? *value : (struct json_value){ 0 };
    } else if (json_text_is(key, "$lib")) {
        event->lib = value->kind == JSON_NULL ? (struct json_value){ 0 } : *value;
        if (draft_has(&event->lib) && value->kind != JSON_STRING)
            return refuse_type(walk, "$lib", "a string");
    } else if (json_text_is(key, "$cookieless_mode")) {
        return take_flag(walk, value, "$cookieless_mode", &event->cookieless);
    } else if (json_text_is(key, "$ignore_sent_at")) {
        return take_flag(walk, value, "$ignore_sent_at", &event->ignore_sent_at);
    } else if (json_text_is(key, "capture_internal")) {
        event->draft.capture_internal = true;
    }
    return 0;
}

/* -1 with *refusal, or with the reader's problem. */
static int read_properties(struct replay_walk *walk, struct replay_event *event)
{
#define LENGTH_OF(literal) (UINT64_C(1) << (sizeof(literal) - 1))
    static const uint64_t wanted = LENGTH_OF("token") | LENGTH_OF("distinct_id") | LENGTH_OF("$session_id") | LENGTH_OF("$window_id") |
                                   LENGTH_OF("$snapshot_source") | LENGTH_OF("$snapshot_host") | LENGTH_OF("$snapshot_data") |
                                   LENGTH_OF("$lib") | LENGTH_OF("$cookieless_mode") | LENGTH_OF("$ignore_sent_at") |
                                   LENGTH_OF("capture_internal");
#undef LENGTH_OF
    struct json_value key, value;
    int               more;

    if (json_object_enter(&walk->reader) < 0)
        return -1;
    while ((more = json_object_next_of(&walk->reader, wanted, &key)) == 1)
        if (json_skip_deep_between(&walk->reader, &walk->between, &value) < 0 || take_property(walk, event, &key, &value) < 0)
            return -1;
    return more;
}

/* --- one event --------------------------------------------------------------------------------- */

static int take_field(struct replay_walk *walk, struct replay_event *event, const struct json_value *key,
                      const struct json_value *value)
{
    struct draft *draft = &event->draft;

    if (json_text_is(key, "sent_at")) { /* of any type: the older protocol has no such field */
        event->sent_at = value->kind == JSON_STRING ? *value : (struct json_value){ 0 };
        return 0;
    }
    repair_nuls(value);
    if (!draft_take_member(draft, key, value))
        return refuse_type(walk, draft->fault.field, draft->fault.expected);
    if (json_text_is(key, "uuid") && draft_has(&draft->uuid) && !uuid_parse(json_text(value, walk->arena), &draft->uuid_value))
        return refuse_type(walk, "uuid", "a UUID");
    return 0;
}

static struct replay_event *event_new(struct replay_walk *walk)
{
    struct replay_shape *shape = &walk->shape;

    if (shape->count == walk->room) {
        size_t               room = walk->room == 0 ? REPLAY_EVENTS_FIRST : walk->room * 2;
        struct replay_event *more = walk->room == 0 ? arena_alloc_array(walk->arena, room, sizeof *more)
                                                    : arena_grow(walk->arena, shape->events, walk->room * sizeof *more,
                                                                 room * sizeof *more);

        if (more == NULL)
            return NULL;
        shape->events = more;
        walk->room = room;
    }
    memset(&shape->events[shape->count], 0, sizeof *shape->events);
    return &shape->events[shape->count++];
}

static int read_event(struct replay_walk *walk)
{
    struct json_reader  *reader = &walk->reader;
    struct json_value    key, value;
    struct replay_event *event;
    int                  kind, more;

    if (reader->at - walk->stopped >= BETWEEN_BYTES) {
        walk->stopped = reader->at;
        between_parts(&walk->between);
    }
    if (walk->shape.count == walk->events_max)
        return refusal_set(walk->refusal, 413, REFUSAL_OVERSIZE, "maximum event size exceeded: more than %zu events in one request",
                           walk->events_max);
    if ((event = event_new(walk)) == NULL)
        return refusal_set(walk->refusal, 413, REFUSAL_OVERSIZE,
                           "maximum event size exceeded: the request needs more working memory than allowed");
    kind = json_peek(reader);
    if (kind >= 0 && kind != JSON_OBJECT)
        return refuse_type(walk, "the event", "an object");
    if (kind < 0 || json_object_enter(reader) < 0)
        return -1;
    while ((more = json_object_next(reader, &key)) == 1) {
        kind = json_peek(reader);
        if (kind < 0)
            return -1;
        if (json_text_is(&key, "properties")) {
            if (kind != JSON_OBJECT)
                return refuse_type(walk, "properties", "an object");
            if (read_properties(walk, event) < 0)
                return -1;
        } else if (json_skip_deep_between(reader, &walk->between, &value) < 0 || take_field(walk, event, &key, &value) < 0) {
            return -1;
        }
    }
    if (more == 0 && !draft_has(&event->draft.event))
        return refuse_type(walk, "event", "a string");
    return more;
}

/* --- the request ------------------------------------------------------------------------------- */

static int read_text(struct replay_walk *walk)
{
    int kind = json_peek(&walk->reader), more;

    if (kind != JSON_ARRAY)
        return kind < 0 || read_event(walk) < 0 ? -1 : json_finish(&walk->reader);
    if (json_array_enter(&walk->reader) < 0)
        return -1;
    while ((more = json_array_next(&walk->reader)) == 1)
        if (read_event(walk) < 0)
            return -1;
    return more < 0 ? -1 : json_finish(&walk->reader);
}

int replay_shape_read(struct arena *arena, const struct shape_request *request, struct replay_shape *out,
                      struct refusal *refusal)
{
    for (int tries = 0;; tries++) {
        struct replay_walk walk = { .arena = arena, .events_max = request->events_max, .refusal = refusal, .between = request->between };

        json_reader_init(&walk.reader, request->text, JSON_REPAIR | JSON_KEEP_NULS);
        walk.stopped = walk.reader.at;
        if (read_text(&walk) == 0) {
            *out = walk.shape;
            return 0;
        }
        if (walk.reader.problem == JSON_FINE) /* the reader has none: *refusal says what is wrong */
            return -1;
        if (tries > 0 || walk.reader.problem != JSON_BAD_UTF8 || !shape_repair_surrogates(request->text))
            return shape_refuse_text(&walk.reader, request, refusal);
    }
}
