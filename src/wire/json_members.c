/* wire/json_members.c - an object as an array of members, first place and last value.
 *
 * Every stage asks for members by name, several times an event, so the array gets an index once it is
 * longer than JSON_KEYS_FEW; shorter ones are searched as they are, which is quicker. The index is
 * rebuilt at four times its size when half full: linear in the number of keys, whatever they are. */
#include "wire/json_keys.h"
#include "wire/json_scan.h"

#include <assert.h>

enum { MEMBERS_FIRST = 32 }; /* most events have fewer properties: one allocation */

static inline bool key_equal(struct span a, struct span b)
{
    return a.bytes == b.bytes && memcmp(a.at, b.at, a.bytes) == 0;
}

/* The slot of this key, or the free one where it belongs. */
static uint32_t *slot_of(const struct json_members *members, struct span key)
{
    size_t mask = members->slots_count - 1;
    size_t slot = (size_t)json_keys_hash(key, json_keys_seed()) & mask;

    while (members->slots[slot] != 0 && !key_equal(members->at[members->slots[slot] - 1].key, key))
        slot = (slot + 1) & mask;
    return &members->slots[slot];
}

static int index_build(struct json_members *members, struct arena *arena)
{
    uint64_t seed = json_keys_seed();
    size_t   slots_count = json_keys_slots(2 * members->count), mask = slots_count - 1;

    members->slots = slots_count > UINT32_MAX ? NULL : arena_alloc_zero(arena, slots_count * sizeof *members->slots);
    if (members->slots == NULL)
        return -1;
    members->slots_count = slots_count;
    for (size_t i = 0; i < members->count; i++) { /* all keys differ: no comparing */
        size_t slot = (size_t)json_keys_hash(members->at[i].key, seed) & mask;

        while (members->slots[slot] != 0)
            slot = (slot + 1) & mask;
        members->slots[slot] = (uint32_t)(i + 1);
    }
    return 0;
}

struct json_member *json_members_find(const struct json_members *members, struct span key)
{
    if (members->slots != NULL) {
        uint32_t at = *slot_of(members, key);

        return at == 0 ? NULL : &members->at[at - 1];
    }
    for (size_t i = 0; i < members->count; i++)
        if (key_equal(members->at[i].key, key))
            return &members->at[i];
    return NULL;
}

/* -1: the arena is full. */
static int member_add(struct json_members *members, size_t *room, const struct json_member *member, struct arena *arena)
{
    if (members->count == *room) {
        struct json_member *more =
            arena_grow(arena, members->at, *room * sizeof *more, *room * 2 * sizeof *more);

        if (more == NULL)
            return -1;
        members->at = more;
        *room *= 2;
    }
    members->at[members->count++] = *member;
    if (members->slots != NULL && members->count * 2 <= members->slots_count)
        *slot_of(members, member->key) = (uint32_t)members->count;
    else if (members->count > JSON_KEYS_FEW)
        return index_build(members, arena);
    return 0;
}

int json_members_read(struct span object, struct arena *arena, struct json_members *out, struct err *err)
{
    struct json_members found = { .at = arena_alloc_array(arena, MEMBERS_FIRST, sizeof *found.at) };
    struct json_reader  reader;
    struct json_member  member, *earlier;
    struct json_value   key;
    size_t              room = MEMBERS_FIRST;
    int                 more;

    if (found.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for an object's members");
    json_reader_init(&reader, object, 0);
    if (json_object_enter(&reader) < 0)
        return json_explain(&reader, err);
    while ((more = json_object_next(&reader, &key)) > 0) {
        if (json_skip(&reader, &member.value) < 0)
            return json_explain(&reader, err);
        member.key_raw = key.raw;
        member.key = json_text(&key, arena);
        if (member.key.at == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for a key of %zu bytes", key.raw.bytes);
        earlier = json_members_find(&found, member.key);
        if (earlier != NULL)
            earlier->value = member.value;
        else if (member_add(&found, &room, &member, arena) < 0)
            return err_set(err, ERR_FULL, "no room in the arena for %zu members", found.count);
    }
    if (more < 0 || json_finish(&reader) < 0)
        return json_explain(&reader, err);
    *out = found;
    return 0;
}
