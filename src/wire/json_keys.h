/* wire/json_keys.h - the hash under every index of keys in wire/.
 *
 * Keys come from strangers, who may choose them to collide: the hash is seeded from the system once per
 * process, so nobody outside can aim. */
#ifndef PENSTOCK_WIRE_JSON_KEYS_H
#define PENSTOCK_WIRE_JSON_KEYS_H

#include "base/span.h"

/* Up to this many keys, comparing each with each is quicker than hashing. */
enum { JSON_KEYS_FEW = 16 };

/* What two different keys seldom share, found without touching more than two of their bytes. */
static inline uint32_t json_keys_tag(struct span key)
{
    if (key.bytes == 0)
        return 0;
    return (uint32_t)key.bytes << 16 ^ (uint32_t)key.at[key.bytes / 2] << 8 ^ key.at[key.bytes - 1];
}

/* Drawn once, by whoever comes first; any thread. */
uint64_t json_keys_seed(void);
uint64_t json_keys_hash(struct span key, uint64_t seed);
/* Slots for so many keys: a power of two, at most half full. */
size_t json_keys_slots(size_t keys);

#endif
