/* wire/json_dedupe.c - one value per key, so that parser, apps and warehouse see the same event.
 *
 * Nearly no event has a duplicate, and every event must be asked: so a first walk only collects the
 * keys of the open objects on a stack and compares them when an object closes. Only when it finds one,
 * a second walk writes the text anew, and an object with duplicates is put together again from its own
 * part of the output when it closes. A byte is thus copied once, and twice more for each object with
 * duplicates around it; reading each object by itself would scan it once per level instead. */
#include "wire/json_keys.h"
#include "wire/json_scan.h"

enum {
    STACK_FIRST = 96, /* keys of the open objects; above this the stack moves to the arena */
    SLOTS_FIRST = 256,
    TAGS_MAX = 64, /* up to this many keys, comparing all tags by vector is quicker than hashing */
    FAILED = -1,
    UNIQUE = 0,
    DUPLICATE = 1
};

/* A member of an open object. The offsets are into the output, in the second walk. */
struct entry {
    struct span key;
    size_t      at, value_at, end;
    bool        dead; /* a later duplicate: its value stands at the first one's place */
};

struct dedupe {
    struct json_reader reader;
    struct arena      *arena;
    struct entry      *entries;
    size_t             count, room;
    uint32_t          *slots; /* scratch, large enough for the largest object so far */
    size_t             slots_room;
    uint8_t           *out, *spare; /* NULL in the first walk; both have room for the whole text */
    size_t             out_bytes;
    struct err        *err;
};

static int arena_is_full(struct dedupe *dedupe)
{
    return err_set(dedupe->err, ERR_FULL, "no room in the arena to look for duplicate keys");
}

/* Filled in place, as in json_members.c. */
static int entry_push(struct dedupe *dedupe, const struct json_value *key)
{
    struct entry *entry;

    if (dedupe->count == dedupe->room) {
        struct entry *more = arena_alloc_array(dedupe->arena, dedupe->room * 2, sizeof *more);

        if (more == NULL)
            return arena_is_full(dedupe);
        memcpy(more, dedupe->entries, dedupe->count * sizeof *more);
        dedupe->entries = more;
        dedupe->room *= 2;
    }
    entry = &dedupe->entries[dedupe->count];
    entry->dead = false;
    entry->key = json_text(key, dedupe->arena);
    if (entry->key.at == NULL)
        return arena_is_full(dedupe);
    dedupe->count++;
    return 0;
}

/* `later` has the key of `first`. The first walk only wants to know. */
static int merge(struct dedupe *dedupe, struct entry *first, struct entry *later)
{
    if (dedupe->out != NULL) {
        first->value_at = later->value_at;
        first->end = later->end;
        later->dead = true;
    }
    return DUPLICATE;
}

static int merge_few(struct dedupe *dedupe, struct entry *entries, size_t count)
{
    uint32_t tags[TAGS_MAX];
    int      result = UNIQUE;

    for (size_t i = 0; i < count; i++) {
        uint32_t tag = tags[i] = json_keys_tag(entries[i].key), same = 0;

        for (size_t first = 0; first < i; first++) /* no early end: this becomes vector code */
            same |= tags[first] == tag;
        for (size_t first = 0; same != 0 && first < i; first++)
            if (span_equal(entries[first].key, entries[i].key)) {
                result = merge(dedupe, &entries[first], &entries[i]);
                break;
            }
    }
    return result;
}

static int merge_many(struct dedupe *dedupe, struct entry *entries, size_t count)
{
    uint64_t seed = json_keys_seed();
    size_t   slots_count = json_keys_slots(count), mask = slots_count - 1;
    int      result = UNIQUE;

    if (count >= UINT32_MAX)
        return arena_is_full(dedupe);
    if (slots_count > dedupe->slots_room) {
        dedupe->slots = arena_alloc_array(dedupe->arena, slots_count, sizeof *dedupe->slots);
        dedupe->slots_room = dedupe->slots == NULL ? 0 : slots_count;
        if (dedupe->slots == NULL)
            return arena_is_full(dedupe);
    }
    memset(dedupe->slots, 0, slots_count * sizeof *dedupe->slots);
    for (size_t i = 0; i < count; i++) {
        size_t slot = (size_t)json_keys_hash(entries[i].key, seed) & mask;

        while (dedupe->slots[slot] != 0 && !span_equal(entries[dedupe->slots[slot] - 1].key, entries[i].key))
            slot = (slot + 1) & mask;
        if (dedupe->slots[slot] == 0)
            dedupe->slots[slot] = (uint32_t)(i + 1);
        else
            result = merge(dedupe, &entries[dedupe->slots[slot] - 1], &entries[i]);
    }
    return result;
}

static void put(struct dedupe *dedupe, struct span bytes)
{
    if (dedupe->out == NULL)
        return;
    memcpy(dedupe->out + dedupe->out_bytes, bytes.at, bytes.bytes);
    dedupe->out_bytes += bytes.bytes;
}

/* Puts the object that began at out + from together again, without its dead members. */
static void object_rebuild(struct dedupe *dedupe, size_t from, const struct entry *entries, size_t count)
{
    struct span whole = span_of(dedupe->out + from, dedupe->out_bytes - from);
    uint8_t    *old = dedupe->spare;

    memcpy(old, whole.at, whole.bytes);
    dedupe->out_bytes = from;
    put(dedupe, SPAN("{"));
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &entries[i];
        const uint8_t      *key = old + (entry->at - from), *quote;

        if (entry->dead)
            continue;
        if (i > 0)
            put(dedupe, SPAN(","));
        for (quote = key + 1; *quote != '"'; quote++)
            quote += *quote == '\\';
        put(dedupe, span_of(key, (size_t)(quote + 2 - key))); /* and the colon */
        put(dedupe, span_of(old + (entry->value_at - from), entry->end - entry->value_at));
    }
    put(dedupe, SPAN("}"));
}

static int walk_value(struct dedupe *dedupe);

static int walk_object(struct dedupe *dedupe)
{
    struct json_value key;
    size_t            first = dedupe->count, from = dedupe->out_bytes, count;
    int               more, result = UNIQUE;

    if (json_object_enter(&dedupe->reader) < 0)
        return json_explain(&dedupe->reader, dedupe->err);
    put(dedupe, SPAN("{"));
    while ((more = json_object_next(&dedupe->reader, &key)) > 0) {
        size_t index = dedupe->count;

        if (entry_push(dedupe, &key) < 0)
            return FAILED;
        if (index > first)
            put(dedupe, SPAN(","));
        dedupe->entries[index].at = dedupe->out_bytes;
        put(dedupe, key.raw);
        put(dedupe, SPAN(":"));
        dedupe->entries[index].value_at = dedupe->out_bytes;
        result = walk_value(dedupe);
        if (result == FAILED || (result == DUPLICATE && dedupe->out == NULL))
            return result;
        dedupe->entries[index].end = dedupe->out_bytes; /* the stack may have moved */
    }
    if (more < 0)
        return json_explain(&dedupe->reader, dedupe->err);
    put(dedupe, SPAN("}"));
    count = dedupe->count - first;
    result = count <= TAGS_MAX ? merge_few(dedupe, dedupe->entries + first, count)
                               : merge_many(dedupe, dedupe->entries + first, count);
    if (result == DUPLICATE && dedupe->out != NULL)
        object_rebuild(dedupe, from, dedupe->entries + first, count);
    dedupe->count = first;
    return result;
}

static int walk_array(struct dedupe *dedupe)
{
    int  more, result;
    bool fresh = true;

    if (json_array_enter(&dedupe->reader) < 0)
        return json_explain(&dedupe->reader, dedupe->err);
    put(dedupe, SPAN("["));
    while ((more = json_array_next(&dedupe->reader)) > 0) {
        if (!fresh)
            put(dedupe, SPAN(","));
        fresh = false;
        result = walk_value(dedupe);
        if (result == FAILED || (result == DUPLICATE && dedupe->out == NULL))
            return result;
    }
    if (more < 0)
        return json_explain(&dedupe->reader, dedupe->err);
    put(dedupe, SPAN("]"));
    return UNIQUE;
}

/* Recursion is bounded by the reader's depth (J2). */
static int walk_value(struct dedupe *dedupe)
{
    struct json_value value;

    switch (json_peek(&dedupe->reader)) {
    case JSON_OBJECT: return walk_object(dedupe);
    case JSON_ARRAY: return walk_array(dedupe);
    default: break;
    }
    if (json_skip(&dedupe->reader, &value) < 0)
        return json_explain(&dedupe->reader, dedupe->err);
    put(dedupe, value.raw);
    return UNIQUE;
}

int json_dedupe(struct span raw, struct arena *arena, struct span *out, struct err *err)
{
    struct entry  entries[STACK_FIRST];
    uint32_t      slots[SLOTS_FIRST];
    struct dedupe dedupe = { .arena = arena,
                             .entries = entries,
                             .room = STACK_FIRST,
                             .slots = slots,
                             .slots_room = SLOTS_FIRST,
                             .err = err };
    int           result;

    json_reader_init(&dedupe.reader, raw, 0);
    result = walk_value(&dedupe);
    if (result == DUPLICATE) {
        dedupe.out = arena_alloc(arena, raw.bytes);
        dedupe.spare = dedupe.out == NULL ? NULL : arena_alloc(arena, raw.bytes);
        if (dedupe.spare == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for %zu bytes without duplicate keys", raw.bytes);
        dedupe.count = 0;
        json_reader_init(&dedupe.reader, raw, 0);
        result = walk_value(&dedupe);
    }
    if (result == FAILED)
        return -1;
    *out = dedupe.out == NULL ? raw : span_of(dedupe.out, dedupe.out_bytes);
    return 0;
}
