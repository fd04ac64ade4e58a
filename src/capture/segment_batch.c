/* capture/segment_batch.c - messages are found as spans, because what holds for all of them (writeKey, sentAt,
 * context) may stand behind them. A message that is no object is kept as what it is: it harms only itself. */
#include "capture/segment_batch.h"

enum { SEGMENT_ITEMS_FIRST = 16 };

struct segment_walk {
    struct json_reader    reader;
    struct arena         *arena;
    struct refusal       *refusal;
    size_t                events_max, room;
    bool                  has_batch;
    struct json_value     context;
    struct segment_batch *batch;
};

static int walk_refuse_memory(struct segment_walk *walk)
{
    return refusal_set(walk->refusal, 413, REFUSAL_OVERSIZE, "the request needs more working memory than allowed");
}

static int walk_refuse_json(struct segment_walk *walk)
{
    struct err err = { 0 };

    json_explain(&walk->reader, &err);
    return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "malformed JSON: %s", err.text);
}

static int walk_add(struct segment_walk *walk)
{
    struct segment_batch *batch = walk->batch;
    uint32_t              repaired = walk->reader.surrogates_repaired + walk->reader.nuls_repaired;
    struct json_value     value;

    if (batch->count == walk->events_max)
        return refusal_set(walk->refusal, 413, REFUSAL_OVERSIZE, "more than %zu messages in one request",
                           walk->events_max);
    if (json_skip(&walk->reader, &value) < 0)
        return walk_refuse_json(walk);
    if (batch->count == walk->room) {
        size_t               room = walk->room == 0 ? SEGMENT_ITEMS_FIRST : walk->room * 2;
        struct segment_item *more = arena_grow(walk->arena, batch->items, walk->room * sizeof *more, room * sizeof *more);

        if (more == NULL)
            return walk_refuse_memory(walk);
        batch->items = more;
        walk->room = room;
    }
    batch->items[batch->count++] = (struct segment_item){
        .raw = value.raw, .repaired = walk->reader.surrogates_repaired + walk->reader.nuls_repaired != repaired
    };
    return 0;
}

static int walk_messages(struct segment_walk *walk)
{
    int more;

    walk->batch->count = 0; /* of two batches the last counts */
    walk->has_batch = true;
    if (json_array_enter(&walk->reader) < 0)
        return walk_refuse_json(walk);
    while ((more = json_array_next(&walk->reader)) == 1)
        if (walk_add(walk) < 0)
            return -1;
    return more < 0 ? walk_refuse_json(walk) : 0;
}

static int walk_member(struct segment_walk *walk, const struct json_value *key)
{
    struct json_value value;
    int               kind = json_peek(&walk->reader);

    if (kind == JSON_ARRAY && json_text_is(key, "batch"))
        return walk_messages(walk);
    if (kind < 0 || json_skip(&walk->reader, &value) < 0)
        return walk_refuse_json(walk);
    if (kind == JSON_STRING && json_text_is(key, "writeKey"))
        walk->batch->write_key = value;
    else if (kind == JSON_STRING && json_text_is(key, "sentAt"))
        walk->batch->envelope.sent_at = value;
    else if (kind == JSON_OBJECT && json_text_is(key, "context"))
        walk->context = value;
    else if (kind == JSON_OBJECT && json_text_is(key, "integrations"))
        walk->batch->envelope.integrations = value;
    return 0;
}

static int walk_envelope(struct segment_walk *walk)
{
    struct json_value key;
    struct err        err;
    int               more;

    if (json_object_enter(&walk->reader) < 0)
        return walk_refuse_json(walk);
    while ((more = json_object_next(&walk->reader, &key)) == 1)
        if (walk_member(walk, &key) < 0)
            return -1;
    if (more < 0 || json_finish(&walk->reader) < 0)
        return walk_refuse_json(walk);
    if (!walk->has_batch)
        return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "batch: expected an array of messages");
    if (walk->context.raw.at != NULL &&
        json_members_read(walk->context.raw, walk->arena, &walk->batch->envelope.context, &err) < 0)
        return walk_refuse_memory(walk);
    walk->batch->envelope.inherited_bytes = walk->context.raw.bytes + walk->batch->envelope.integrations.raw.bytes;
    return 0;
}

/* A single message; its members are asked for nothing but the key here. */
static int walk_single(struct segment_walk *walk)
{
    struct json_reader inside;
    struct json_value  key, value;

    if (walk_add(walk) < 0)
        return -1;
    if (json_finish(&walk->reader) < 0)
        return walk_refuse_json(walk);
    if (walk->batch->items[0].raw.at[0] != '{')
        return refusal_set(walk->refusal, 400, REFUSAL_PARSING, "malformed JSON: a message must be an object");
    json_reader_init(&inside, walk->batch->items[0].raw, 0);
    if (json_object_enter(&inside) < 0)
        return walk_refuse_json(walk);
    while (json_object_next(&inside, &key) == 1) {
        if (json_skip(&inside, &value) < 0)
            return walk_refuse_json(walk);
        if (value.kind == JSON_STRING && json_text_is(&key, "writeKey"))
            walk->batch->write_key = value;
    }
    return 0;
}

int segment_batch_read(struct arena *arena, struct span text, enum segment_type type, size_t events_max,
                       struct segment_batch *out, struct refusal *refusal)
{
    struct segment_walk walk = { .arena = arena, .refusal = refusal, .events_max = events_max, .batch = out };

    *out = (struct segment_batch){ 0 };
    json_reader_init(&walk.reader, text, JSON_REPAIR);
    return type == SEGMENT_BY_MESSAGE ? walk_envelope(&walk) : walk_single(&walk);
}
