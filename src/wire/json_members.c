/* wire/json_members.c - an object as an array of members, first place and last value.
 *
 * Every stage asks for members by name, several times an event, so the array gets an index once it is
 * longer than JSON_KEYS_FEW; shorter ones are searched as they are, which is quicker. The index is
 * rebuilt at four times its size when half full: linear in the number of keys, whatever they are. */
#include "wire/json_keys.h"
#include "wire/json_scan.h"

#include <assert.h>

/* Room at first: as many members as this many bytes each would make, so that most objects need one allocation. */
enum { MEMBER_BYTES = 20, MEMBERS_FIRST_MIN = 4, MEMBERS_FIRST_MAX = 128 };

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

/* The members while they are read: tags stand for the keys until there is an index. */
struct reading {
    struct json_members found;
    size_t              room, room_first;
    uint32_t            tags[JSON_KEYS_FEW];
};

/* Room for one more member, which is filled where it will stay: copying it would read what was written
 * in other sizes a moment ago, which stalls the CPU (measured: half of the time spent here). */
static struct json_member *reading_next(struct reading *reading, struct arena *arena)
{
    struct json_members *found = &reading->found;
    size_t               room = reading->room == 0 ? reading->room_first : reading->room * 2;
    struct json_member  *more;

    if (found->count < reading->room)
        return &found->at[found->count];
    more = arena_grow(arena, found->at, reading->room * sizeof *more, room * sizeof *more);
    if (more == NULL)
        return NULL;
    found->at = more;
    reading->room = room;
    return &found->at[found->count];
}

/* The member that was filled is one more, or gives its value to an earlier one. -1: the arena is full. */
static int reading_keep(struct reading *reading, struct arena *arena)
{
    struct json_members *found = &reading->found;
    struct json_member  *member = &found->at[found->count];
    uint32_t             tag;

    if (found->slots != NULL) {
        uint32_t *slot = slot_of(found, member->key);

        if (*slot != 0) {
            found->at[*slot - 1].value = member->value;
            return 0;
        }
        *slot = (uint32_t)++found->count;
        return found->count * 2 > found->slots_count ? index_build(found, arena) : 0;
    }
    tag = json_keys_tag(member->key);
    for (size_t i = 0; i < found->count; i++)
        if (reading->tags[i] == tag && key_equal(found->at[i].key, member->key)) {
            found->at[i].value = member->value;
            return 0;
        }
    if (found->count == JSON_KEYS_FEW) {
        found->count++;
        return index_build(found, arena);
    }
    reading->tags[found->count++] = tag;
    return 0;
}

static size_t room_first(size_t bytes)
{
    size_t members = bytes / MEMBER_BYTES;

    return members < MEMBERS_FIRST_MIN ? MEMBERS_FIRST_MIN : members > MEMBERS_FIRST_MAX ? MEMBERS_FIRST_MAX : members;
}

int json_members_take(struct json_reader *reader, struct arena *arena, struct json_members *out, struct err *err)
{
    struct reading      reading;
    struct json_member *member;
    struct json_value   key;
    int                 more;

    reading.found = (struct json_members){ .count = 0 };
    reading.room = 0;
    reading.room_first = room_first((size_t)(reader->end - reader->at));
    if (json_object_enter(reader) < 0)
        return json_explain(reader, err);
    while ((more = json_object_next(reader, &key)) > 0) {
        struct span text = json_text(&key, arena);

        member = text.at == NULL ? NULL : reading_next(&reading, arena);
        if (member == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for member %zu of an object", reading.found.count + 1);
        if (json_skip(reader, &member->value) < 0)
            return json_explain(reader, err);
        member->key = text;
        member->key_raw = key.raw;
        if (reading_keep(&reading, arena) < 0)
            return err_set(err, ERR_FULL, "no room in the arena to index %zu members", reading.found.count);
    }
    if (more < 0)
        return json_explain(reader, err);
    *out = reading.found;
    return 0;
}

int json_members_read(struct span object, struct arena *arena, struct json_members *out, struct err *err)
{
    struct json_members found;
    struct json_reader  reader;

    json_reader_init(&reader, object, 0);
    if (json_members_take(&reader, arena, &found, err) < 0)
        return -1;
    if (json_finish(&reader) < 0)
        return json_explain(&reader, err);
    *out = found;
    return 0;
}
