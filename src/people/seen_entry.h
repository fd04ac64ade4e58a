/* people/seen_entry.h - one id that was seen: its stored form, its hash, its window.
 *
 *    at  bytes  field
 *     0     16  uuid
 *    16      4  project
 *    20      2  day of the first sight, since 1970
 *    22      8  place of the event's record
 * The same 30 bytes (little-endian, no padding) stand in memory, in the chunks of recent ids and in run files.
 * Everything is found by a hash of uuid and project with a secret of the store: senders choose the ids, and must
 * not be able to choose where they fall. */
#ifndef PENSTOCK_PEOPLE_SEEN_ENTRY_H
#define PENSTOCK_PEOPLE_SEEN_ENTRY_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "people/people.h"

enum {
    SEEN_KEY_BYTES = 20,
    SEEN_ENTRY_BYTES = 30,
    /* Merges forget a little later than the answers do, so that a clock set back by a day or two changes none. */
    SEEN_SLACK_DAYS = 2
};

struct seen_entry {
    uint8_t bytes[SEEN_ENTRY_BYTES];
};

static inline struct seen_entry seen_entry_make(uint32_t project, const struct uuid *uuid, uint16_t day, uint64_t place)
{
    struct seen_entry entry;

    memcpy(entry.bytes, uuid->bytes, 16);
    bytes_put_u32(entry.bytes + 16, project);
    bytes_put_u16(entry.bytes + 20, day);
    bytes_put_u64(entry.bytes + 22, place);
    return entry;
}

static inline uint16_t seen_entry_day(const struct seen_entry *entry) { return bytes_get_u16(entry->bytes + 20); }
static inline uint64_t seen_entry_place(const struct seen_entry *entry) { return bytes_get_u64(entry->bytes + 22); }

static inline bool seen_entry_same(const struct seen_entry *a, const struct seen_entry *b)
{
    return memcmp(a->bytes, b->bytes, SEEN_KEY_BYTES) == 0;
}

static inline uint64_t seen_entry_hash(const struct seen_entry *entry, uint64_t seed)
{
    return XXH3_64bits_withSeed(entry->bytes, SEEN_KEY_BYTES, seed);
}

/* Whether an id that was first seen on `day` is still known today. */
static inline bool seen_day_known(uint16_t day, uint16_t today)
{
    return day + PEOPLE_SEEN_DAYS >= today;
}

/* Whether nothing can ask for it any more. */
static inline bool seen_day_over(uint16_t day, uint16_t today)
{
    return day + PEOPLE_SEEN_DAYS + SEEN_SLACK_DAYS < today;
}

/* Ids of UUID v7 begin with their time; this one's minute (65.5 s) modulo 49.7 days, or -1 of others. A run keeps
 * a bit for each, and is not asked for times that it does not hold. */
static inline int seen_entry_minute(const struct seen_entry *entry)
{
    return entry->bytes[6] >> 4 == 7 ? entry->bytes[2] << 8 | entry->bytes[3] : -1;
}

#endif
