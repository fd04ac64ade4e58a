/* people/properties.h - the properties of one person or group, taken apart so that a key can be changed.
 *
 * They come packed (event/packed.h) and are given packed; values and keys stay the text they were sent as, and are
 * spans into what was given in, which must live as long as these do. Memory is the batch's arena.
 *  K1  keys differ from each other (as decoded text)
 *  K2  `bytes` is the length of the JSON text that stands for them: what limits are about */
#ifndef PENSTOCK_PEOPLE_PROPERTIES_H
#define PENSTOCK_PEOPLE_PROPERTIES_H

#include "base/arena.h"
#include "base/err.h"
#include "event/packed.h"
#include "wire/json.h"

struct property {
    struct span       key;     /* decoded */
    struct span       key_raw; /* as written, with quotes */
    struct json_value value;
    uint64_t          hash;  /* of key; not set before there is an index */
    const uint8_t    *coded; /* the member as it stands in packed properties; NULL: it does not, or was changed */
    uint32_t          coded_bytes;
    uint8_t           word;  /* of packed_key_find, when sought */
    bool              sought, paired; /* paired: as in struct packed_member, of what is coded */
    bool              gone;  /* to be swept */
};

struct properties {
    struct property *at;
    size_t           count, room;
    uint32_t        *slots; /* index + 1; 0: free */
    size_t           slot_mask;
    bool             indexed; /* the slots are filled: at the first key that is not where it was expected */
    size_t           near;    /* where the next key is expected */
    size_t           bytes;
    struct span      packed; /* at NULL: changed since */
};

/* Takes packed properties apart; the text "{}" makes empty ones. ERR_FULL: arena; ERR_CORRUPT: not an object. */
int properties_read(struct properties *properties, struct span packed, struct arena *arena, struct err *err) must_check;

uint64_t properties_hash(struct span key);
/* NULL: not there. Lives until the next add or sweep. */
struct property *properties_find(struct properties *properties, struct span key, uint64_t hash);
/* The same, for keys that come in the order in which they were stored, as those of one SDK do: looks behind the
 * last one found first, and then a comparison is all it costs. */
struct property *properties_find_near(struct properties *properties, struct span key);
void properties_replace(struct properties *properties, struct property *property, const struct json_value *value);
/* The key must not be there. -1: the arena is full. */
int properties_add(struct properties *properties, const struct json_member *member, uint64_t hash, struct arena *arena,
                   struct err *err) must_check;
/* Removes every property that is marked gone. */
void properties_sweep(struct properties *properties);
/* How much longer the text becomes with one more member. */
static inline size_t properties_member_bytes(struct span key_raw, struct span value)
{
    return key_raw.bytes + value.bytes + 2;
}

/* All of them, packed. Built when something changed, what was given in until then. */
int properties_pack(struct properties *properties, struct arena *arena, struct span *out, struct err *err) must_check;

/* The same with some members of another object over it, at least one, and without changing it. */
#define PROPERTY_NEW UINT32_MAX
struct property_over {
    uint32_t                  at; /* index of the property with this key; PROPERTY_NEW: there is none */
    const struct json_member *member;
};
int properties_pack_with(struct properties *properties, const struct property_over *over, size_t count,
                         struct arena *arena, struct span *out, struct err *err) must_check;

/* Whether JavaScript's === holds, with two differences: objects and arrays are never identical to anything, and
 * numbers that a double cannot tell apart are different when their digits are. */
bool properties_identical(const struct json_value *a, const struct json_value *b, struct arena *arena);
/* As JavaScript's ==: 1 equals "1" equals true. */
bool properties_loosely_equal(const struct json_value *a, const struct json_value *b, struct arena *arena);

#endif
