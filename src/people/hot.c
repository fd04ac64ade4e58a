/* people/hot.c - see hot.h.
 *
 * Why a ring and not a list of what was used last: entries are of any size, from 60 bytes to half a megabyte, and
 * one after the other is the only order in which that needs no allocator, no list to keep and no index to clean:
 * a place of the index that points to what was overwritten is seen to, because the place is too old.
 * Why beside LMDB at all, whose pages are in memory too: a walk down a tree touches some 15 lines of memory one after
 * the other, each known only when the one before has come. Here it is three, and a slice's can be asked for at once.
 *
 * Small entries, which ids are, stay longer than the others: an id takes a sixth of what its person takes, and the walk that it saves is
 * the longer one, so where not all is at hand it is better to have all ids and fewer persons. Where the ring comes to one again that is in
 * use still, it is written anew before it is written over, as long as those that stay so take no more than half of the ring.
 *
 * entry, at a multiple of 16 bytes of the ring: struct entry, key, value, padding. What is left at the ring's end, where the next one does
 * not fit, is an entry without a key. */
#include "people/hot.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/json_keys.h"

enum {
    UNIT = 16,
    WAYS = 8,                   /* of a bucket: one line of memory */
    BYTES_A_BUCKET = 512,       /* of the ring, at least; a person and the id that leads to it take about this */
    FIRST_PART = 64,            /* of the buckets are in use at the beginning */
    SPARE_MAX = 127,
    SMALL_UNITS = 8,            /* an id of 80 bytes is */
    CARRY_UNITS_MAX = 64 * SMALL_UNITS, /* that one put writes anew */
    POSITION_BITS = 40
};
#define TAG_MASK      ((UINT64_C(1) << (64 - POSITION_BITS)) - 1)
#define POSITION_LAST ((UINT64_C(1) << POSITION_BITS) - 1)

struct entry {
    uint64_t hash;
    uint32_t value_bytes;
    uint16_t key_bytes;
    uint8_t  table;
    uint8_t  absent : 1;
    uint8_t  spare : 7;  /* units behind it that are its own, too: it was larger once */
};
_Static_assert(sizeof(struct entry) == UNIT, "entries begin at multiples of 16");

/* A place of the index: position of an entry, in units since the beginning, and some bits of its hash. 0: none. */
struct bucket { uint64_t ways[WAYS]; };

struct hot {
    uint8_t       *ring;
    uint64_t       units;      /* of the ring */
    uint64_t       head;       /* position of the next entry */
    uint64_t       tail;       /* position of the oldest that is not written over */
    uint64_t       small;      /* units of small entries between both */
    uint64_t       given;      /* units put since the transaction began */
    uint64_t       puts;       /* entries put since the beginning */
    struct bucket *buckets;
    uint64_t       bucket_mask;  /* those in use: as many as what was put so far wants, so that a small site touches little memory */
    uint64_t       buckets_max;
};

uint64_t hot_hash(unsigned table, struct span key)
{
    return XXH3_64bits_withSeed(key.at, key.bytes, json_keys_seed() ^ table * 0x9e3779b97f4a7c15u);
}

static void *pages_new(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    (void)madvise(at, bytes, MADV_HUGEPAGE); /* look-ups are at random: fewer misses of the TLB, where it is to be had */
    return at;
}

struct hot *hot_new(size_t bytes)
{
    struct hot *hot = calloc(1, sizeof *hot);
    uint64_t    buckets = 1;

    assert(bytes >= HOT_BYTES_MIN);
    if (hot == NULL)
        return NULL;
    while (buckets * 2 * BYTES_A_BUCKET <= bytes)
        buckets *= 2;
    hot->bucket_mask = (buckets < FIRST_PART ? 1 : buckets / FIRST_PART) - 1;
    hot->buckets_max = buckets;
    hot->units = (bytes - buckets * sizeof *hot->buckets) / UNIT;
    hot->head = hot->tail = 1;
    hot->ring = pages_new(hot->units * UNIT);
    hot->buckets = pages_new(buckets * sizeof *hot->buckets);
    if (hot->ring == NULL || hot->buckets == NULL) {
        hot_free(hot);
        return NULL;
    }
    return hot;
}

void hot_free(struct hot *hot)
{
    if (hot == NULL)
        return;
    if (hot->ring != NULL)
        (void)munmap(hot->ring, hot->units * UNIT);
    if (hot->buckets != NULL)
        (void)munmap(hot->buckets, hot->buckets_max * sizeof *hot->buckets);
    free(hot);
}

void hot_clear(struct hot *hot)
{
    size_t bytes = (hot->bucket_mask + 1) * sizeof *hot->buckets;

    if (hot->head == 1)
        return; /* nothing was put */
    if (madvise(hot->buckets, bytes, MADV_DONTNEED) != 0) /* pages that nobody touches again cost nothing so */
        memset(hot->buckets, 0, bytes);
    hot->head = hot->tail = 1;
    hot->small = 0;
    hot->given = 0;
    hot->puts = 0;
}

static uint64_t way_position(uint64_t way)
{
    return way >> (64 - POSITION_BITS);
}

static bool position_is_held(const struct hot *hot, uint64_t position)
{
    return position != 0 && hot->head - position <= hot->units;
}

static struct entry *entry_at(const struct hot *hot, uint64_t position)
{
    return (struct entry *)(void *)(hot->ring + position % hot->units * UNIT);
}

/* Twice as many buckets: of each, those entries whose next bit is set go to the same place of the new one. */
static void index_grow(struct hot *hot)
{
    uint64_t count = hot->bucket_mask + 1;

    for (uint64_t b = 0; b < count; b++)
        for (int i = 0; i < WAYS; i++) {
            uint64_t *way = &hot->buckets[b].ways[i];

            if (!position_is_held(hot, way_position(*way)) || (entry_at(hot, way_position(*way))->hash & count) == 0)
                continue;
            hot->buckets[b + count].ways[i] = *way;
            *way = 0;
        }
    hot->bucket_mask = 2 * count - 1;
}

void hot_begin(struct hot *hot)
{
    hot->given = 0;
    if (hot->head > POSITION_LAST - 2 * hot->units)
        hot_clear(hot);
    while (hot->bucket_mask + 1 < hot->buckets_max && hot->puts > (hot->bucket_mask + 1) * WAYS / 4)
        index_grow(hot);
}

static struct span entry_value(const struct entry *entry)
{
    return span_of((const uint8_t *)(entry + 1) + entry->key_bytes, entry->value_bytes);
}

static uint64_t entry_units(size_t value_bytes, size_t key_bytes)
{
    return (sizeof(struct entry) + value_bytes + key_bytes + UNIT - 1) / UNIT;
}

static struct bucket *bucket_of(const struct hot *hot, uint64_t hash)
{
    return &hot->buckets[hash & hot->bucket_mask];
}

static uint64_t tag_of(uint64_t hash)
{
    return hash >> POSITION_BITS;
}

static uint64_t *way_find(const struct hot *hot, unsigned table, struct span key, uint64_t hash)
{
    struct bucket *bucket = bucket_of(hot, hash);

    for (int i = 0; i < WAYS; i++) {
        uint64_t            way = bucket->ways[i];
        const struct entry *entry;

        if ((way & TAG_MASK) != tag_of(hash) || !position_is_held(hot, way_position(way)))
            continue;
        entry = entry_at(hot, way_position(way));
        if (entry->hash == hash && entry->table == table &&
            span_equal(span_of(entry + 1, entry->key_bytes), key))
            return &bucket->ways[i];
    }
    return NULL;
}

/* Where a new entry is noted: a free place, else that of the oldest. */
static uint64_t *way_for(const struct hot *hot, uint64_t hash)
{
    struct bucket *bucket = bucket_of(hot, hash);
    uint64_t      *oldest = &bucket->ways[0];

    for (int i = 0; i < WAYS; i++) {
        if (!position_is_held(hot, way_position(bucket->ways[i])))
            return &bucket->ways[i];
        if (bucket->ways[i] < *oldest)
            oldest = &bucket->ways[i];
    }
    return oldest;
}

static uint64_t entry_room(const struct entry *entry)
{
    return entry_units(entry->value_bytes, entry->key_bytes) + entry->spare;
}

/* Units to the ring's end, when so many do not fit there: an entry lies in one piece. */
static uint64_t skip_for(const struct hot *hot, uint64_t units)
{
    uint64_t at = hot->head % hot->units;

    return at + units > hot->units ? hot->units - at : 0;
}

static bool budget_holds(const struct hot *hot, uint64_t units)
{
    return hot->given + units <= hot->units / 2;
}

static void head_move(struct hot *hot, uint64_t units)
{
    hot->head += units;
    hot->given += units;
}

static uint64_t *way_at(const struct hot *hot, const struct entry *entry, uint64_t position)
{
    struct bucket *bucket = bucket_of(hot, entry->hash);
    uint64_t       way = position << (64 - POSITION_BITS) | tag_of(entry->hash);

    for (int i = 0; i < WAYS; i++)
        if (bucket->ways[i] == way)
            return &bucket->ways[i];
    return NULL;
}

/* What is left of the ring's end is passed. */
static void end_pass(struct hot *hot, uint64_t units)
{
    *entry_at(hot, hot->head) = (struct entry){ .value_bytes = (uint32_t)((units - 1) * UNIT) };
    head_move(hot, units);
}

/* The oldest entry makes room, or stays by being written anew. *carry: units that may be written so. */
static void tail_pass(struct hot *hot, uint64_t wanted, uint64_t *carry)
{
    struct entry *entry = entry_at(hot, hot->tail);
    uint64_t      position = hot->tail, room = entry_room(entry), skip = skip_for(hot, room), *way;

    hot->tail += room;
    __builtin_prefetch(entry_at(hot, hot->tail)); /* the one that comes next here */
    if (entry->key_bytes == 0 || room > SMALL_UNITS)
        return;
    hot->small -= room;
    if (entry->absent || room > *carry || hot->small + room > hot->units / 2 || !budget_holds(hot, room + wanted) ||
        (way = way_at(hot, entry, position)) == NULL)
        return;
    if (skip != 0) { /* there is room for that, but not for the entry too */
        end_pass(hot, skip);
        return;
    }
    memmove(entry_at(hot, hot->head), entry, room * UNIT);
    *way = hot->head << (64 - POSITION_BITS) | tag_of(entry_at(hot, hot->head)->hash);
    head_move(hot, room);
    hot->small += room;
    *carry -= room;
}

/* So many units behind the head get free; what is not used of the ring's end has been passed. */
static void room_make(struct hot *hot, uint64_t units)
{
    uint64_t carry = CARRY_UNITS_MAX, skip;

    for (;;) {
        skip = skip_for(hot, units);
        if (hot->head + skip + units <= hot->tail + hot->units)
            break;
        tail_pass(hot, 2 * units, &carry); /* the end may have to be passed yet */
    }
    if (skip != 0)
        end_pass(hot, skip);
}

/* The entry is written behind the head; false: it does not fit, now or at all (H1, H2). */
static bool entry_put(struct hot *hot, uint64_t *way, const struct entry *head, struct span value, struct span key)
{
    uint64_t units = entry_units(value.bytes, key.bytes);
    uint8_t *to;

    if (units > hot->units / 8 || !budget_holds(hot, 2 * units))
        return false;
    room_make(hot, units);
    to = (uint8_t *)entry_at(hot, hot->head);
    memcpy(to, head, sizeof *head);
    memcpy(to + sizeof *head, key.at, key.bytes);
    if (value.bytes > 0)
        memcpy(to + sizeof *head + key.bytes, value.at, value.bytes);
    *way = hot->head << (64 - POSITION_BITS) | tag_of(head->hash);
    head_move(hot, units);
    hot->puts++;
    if (units <= SMALL_UNITS)
        hot->small += units;
    return true;
}

static struct span put(struct hot *hot, unsigned table, struct span key, struct span value, bool absent)
{
    struct entry head = { .hash = hot_hash(table, key), .value_bytes = (uint32_t)value.bytes,
                          .key_bytes = (uint16_t)key.bytes, .table = (uint8_t)table, .absent = absent };
    uint64_t    *way = way_find(hot, table, key, head.hash);

    assert(key.bytes > 0 && key.bytes <= HOT_KEY_BYTES_MAX);
    if (way != NULL)
        *way = 0; /* also when the new value is not kept */
    else
        way = way_for(hot, head.hash);
    if (value.bytes > UINT32_MAX || !entry_put(hot, way, &head, value, key))
        return span_of(NULL, 0);
    return entry_value(entry_at(hot, way_position(*way)));
}

/* One that would soon be written over, or that one more turn of the ring would have moved, is written anew. */
struct span hot_replace(struct hot *hot, unsigned table, struct span key, struct span value)
{
    uint64_t     *way = way_find(hot, table, key, hot_hash(table, key)), units = entry_units(value.bytes, key.bytes), room;
    struct entry *entry = way == NULL ? NULL : entry_at(hot, way_position(*way));

    if (entry == NULL || hot->head - way_position(*way) > hot->units / 2 || value.bytes > UINT32_MAX)
        return hot_put(hot, table, key, value);
    room = entry_room(entry);
    if (units > room || room - units > SPARE_MAX)
        return hot_put(hot, table, key, value);
    entry->value_bytes = (uint32_t)value.bytes;
    entry->absent = false;
    entry->spare = (room - units) & SPARE_MAX;
    memmove((uint8_t *)(entry + 1) + key.bytes, value.at, value.bytes); /* it may be the value that is there */
    return entry_value(entry);
}

struct span hot_put(struct hot *hot, unsigned table, struct span key, struct span value)
{
    return put(hot, table, key, value, false);
}

void hot_put_absent(struct hot *hot, unsigned table, struct span key)
{
    (void)put(hot, table, key, SPAN(""), true);
}

void hot_forget(struct hot *hot, unsigned table, struct span key)
{
    uint64_t *way = way_find(hot, table, key, hot_hash(table, key));

    if (way != NULL)
        *way = 0;
}

enum hot_answer hot_get(struct hot *hot, unsigned table, struct span key, struct span *value_out)
{
    uint64_t     *way = way_find(hot, table, key, hot_hash(table, key));
    struct entry *entry;
    uint64_t      age;

    if (way == NULL)
        return HOT_UNKNOWN;
    entry = entry_at(hot, way_position(*way));
    age = hot->head - way_position(*way);
    if (age > hot->units / 2) {
        if (age + 2 * entry_units(entry->value_bytes, entry->key_bytes) + CARRY_UNITS_MAX > hot->units) {
            *way = 0; /* its copy would be written over itself */
            return HOT_UNKNOWN;
        }
        struct entry head = *entry;

        head.spare = 0;
        if (entry_put(hot, way, &head, entry_value(entry), key))
            entry = entry_at(hot, way_position(*way));
    }
    if (entry->absent)
        return HOT_ABSENT;
    *value_out = entry_value(entry);
    return HOT_THERE;
}

void hot_expect(const struct hot *hot, uint64_t hash)
{
    __builtin_prefetch(bucket_of(hot, hash));
}

bool hot_near(const struct hot *hot, uint64_t hash, size_t bytes_ahead, struct span *value_out)
{
    const struct bucket *bucket = bucket_of(hot, hash);

    for (int i = 0; i < WAYS; i++) {
        uint64_t way = bucket->ways[i];
        const uint8_t *at, *end = hot->ring + hot->units * UNIT;

        if ((way & TAG_MASK) != tag_of(hash) || !position_is_held(hot, way_position(way)))
            continue;
        at = (const uint8_t *)entry_at(hot, way_position(way));
        for (size_t ahead = 0; ahead < bytes_ahead && at + ahead < end; ahead += 64)
            __builtin_prefetch(at + ahead);
        if (value_out != NULL)
            *value_out = entry_value(entry_at(hot, way_position(way)));
        return true;
    }
    return false;
}
