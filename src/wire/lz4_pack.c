/* wire/lz4_pack.c - a greedy search for what was there before, at the places where JSON repeats itself.
 *
 * LZ4's own search looks for 4 equal bytes at every byte. In rows of events those are nearly always the beginning
 * of a whole `"key":"value"` that was there before, or they are an accident in a number that saves one byte and costs
 * a turn: half of its turns found fewer than 12 bytes. A turn costs some 80 cycles whatever it finds, since where
 * the next one begins is known only when the last one has ended. So this one asks for 12 equal bytes, and where there
 * are none it goes on at the next quote. Rows of events, 1 MiB at a time, us a KB: 0.82 -> 0.47, and 0.21 -> 0.11 to unpack,
 * with as few bytes (docs/performance.md).
 *
 * A block is a row of sequences: literals, then a match.
 *    token     1  high four bits: literals, low four bits: match bytes - 4; 15: more follows
 *    more      *  bytes to add to the literals: each 255 says that one more follows
 *    literals  *
 *    distance  2  of the match, backwards, little-endian
 *    more      *  bytes to add to the match
 * The last sequence has literals only, at least 5, and no match begins in the last 12 bytes: LZ4's rules. */
#include "wire/lz4_pack.h"

#include <assert.h>

#include "base/bytes.h"
#include "wire/json_repeat.h"

enum {
    SLOT_BITS_MAX = 13,     /* 16 KB of places: stays in L1 beside the bytes themselves */
    SLOT_BITS_MIN = 8,
    BYTES_A_SLOT = 16,
    COPY = JSON_REPEAT_PIECE, /* literals are copied in such pieces, over their end, */
    COPY_FIRST = 16,          /* behind these, which are all of them most times */
    TAIL_BYTES = 64,        /* no search there: room to look ahead of what json_repeat.h reads, and of COPY */
    MORE = 15
};

_Static_assert((int)TAIL_BYTES >= JSON_REPEAT_BYTES_COARSE + COPY && (int)TAIL_BYTES >= 1 + JSON_REPEAT_STEP_COARSE, "looking ahead must stay inside");

/* What did not fit into the token. The common case writes a byte it may not need, which is cheaper than asking. */
static inline uint8_t *more_put(uint8_t *to, size_t count)
{
    if (count < MORE + 255) {
        *to = (uint8_t)(count - MORE);
        return to + (count >= MORE);
    }
    for (count -= MORE; count >= 255; count -= 255)
        *to++ = 255;
    *to++ = (uint8_t)count;
    return to;
}

static inline uint8_t token_of(size_t literals, size_t match)
{
    return (uint8_t)((literals < MORE ? literals : MORE) << 4 | (match < MORE ? match : MORE));
}

/* Reads and writes up to COPY - 1 bytes more than it should, and COPY_FIRST at least. */
static inline uint8_t *sequence_put(uint8_t *to, const uint8_t *literals, size_t count, size_t distance, size_t match_bytes)
{
    uint8_t *end;

    *to++ = token_of(count, match_bytes - 4);
    to = more_put(to, count);
    end = to + count;
    memcpy(to, literals, COPY_FIRST);
    for (size_t done = COPY_FIRST; done < count; done += COPY)
        memcpy(to + done, literals + done, COPY);
    bytes_put_u16(end, (uint16_t)distance);
    return more_put(end + 2, match_bytes - 4);
}

static size_t last_put(uint8_t *to, const uint8_t *literals, size_t count)
{
    uint8_t *at = to;

    *at++ = token_of(count, 0);
    at = more_put(at, count);
    if (count > 0)
        memcpy(at, literals, count);
    return (size_t)(at - to) + count;
}

static unsigned slot_bits(size_t bytes)
{
    unsigned bits = SLOT_BITS_MIN;

    while (bits < SLOT_BITS_MAX && ((size_t)BYTES_A_SLOT << bits) < bytes)
        bits++;
    return bits;
}

__attribute__((always_inline)) static inline size_t pack(struct span from, uint8_t *to, bool coarse)
{
    const unsigned find_bytes = coarse ? JSON_REPEAT_BYTES_COARSE : JSON_REPEAT_BYTES; /* 8: 4 % smaller and 25 % slower */
    const uint8_t *start = from.at, *end = start + from.bytes, *at = start + 8, *literals = start, *match;
    uint8_t       *out = to;
    uint16_t       slots[1 << SLOT_BITS_MAX]; /* places modulo 65536: from any of them a match's distance follows, and half the memory does */
    unsigned       bits = slot_bits(from.bytes);

    assert(from.bytes <= LZ4_PACK_BYTES_MAX);
    if (from.bytes <= TAIL_BYTES + 8)
        return last_put(to, start, from.bytes);
    memset(slots, 0, sizeof *slots << bits); /* place 0 is looked at like any other */
    while (at < end - TAIL_BYTES) {
        size_t   slot = json_repeat_slot_by(at, find_bytes, bits), back = 0;
        uint16_t place = (uint16_t)(at - start), distance = (uint16_t)(place - slots[slot]);

        match = at - distance;
        slots[slot] = place;
        if (!(coarse ? json_repeat_equal_coarse(at, match) : json_repeat_equal(at, match)) || distance == 0) { /* 65536 back, which is too far */
            at += 1 + (coarse ? json_repeat_quote_coarse(at + 1) : json_repeat_quote(at + 1));
            continue;
        }

        /* Its end first: the next turn waits for that alone. */
        const uint8_t *matched = at + find_bytes;
        unsigned       equal;

        do {
            equal = json_repeat_piece(matched, matched - distance);
            matched += equal;
        } while (equal == COPY && matched < end - TAIL_BYTES);
        if (at > literals && match - start >= 8)
            back = json_repeat_before(at, match, (size_t)(at - literals));
        out = sequence_put(out, literals, (size_t)(at - literals) - back, distance, (size_t)(matched - at) + back);
        at = literals = matched;
    }
    return (size_t)(out - to) + last_put(out, literals, (size_t)(end - literals));
}

size_t lz4_pack(struct span from, uint8_t *to)
{
    return pack(from, to, false);
}

size_t lz4_pack_coarse(struct span from, uint8_t *to)
{
    return pack(from, to, true);
}
