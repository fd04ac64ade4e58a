/* wire/json_repeat.h - where a search for repeats looks in rows of JSON: at quotes, for 12 equal bytes.
 *
 * Two compressors are fed with what is found so: LZ4's blocks of the log (wire/lz4_pack.c) and zstd's of the warehouse
 * (warehouse/zstd_search.c). These are the steps that both take; each reads as far as it says. Who would rather be done sooner looks for
 * JSON_REPEAT_BYTES_COARSE equal ones, and farther for a quote. */
#ifndef PENSTOCK_WIRE_JSON_REPEAT_H
#define PENSTOCK_WIRE_JSON_REPEAT_H

#include <stdbool.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/bytes.h"

enum {
    JSON_REPEAT_BYTES = 12, /* that must be equal */
    JSON_REPEAT_BYTES_COARSE = 16,
    JSON_REPEAT_STEP = 16,  /* over bytes without a quote */
    JSON_REPEAT_STEP_COARSE = 32,
    JSON_REPEAT_PIECE = 32
};

/* How many bytes at both places are equal, of the first JSON_REPEAT_PIECE, which are all read. */
static inline unsigned json_repeat_piece(const uint8_t *a, const uint8_t *b)
{
#if defined(__SSE2__)
    __m128i  low = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)a), _mm_loadu_si128((const __m128i *)b));
    __m128i  high = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(a + 16)), _mm_loadu_si128((const __m128i *)(b + 16)));
    uint32_t equal = (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;

    return equal == UINT32_MAX ? JSON_REPEAT_PIECE : (unsigned)__builtin_ctz(~equal);
#else
    for (unsigned at = 0; at < JSON_REPEAT_PIECE; at += 8) {
        uint64_t differ = bytes_get_u64(a + at) ^ bytes_get_u64(b + at);

        if (differ != 0)
            return at + (unsigned)__builtin_ctzll(differ) / 8;
    }
    return JSON_REPEAT_PIECE;
#endif
}

/* To the first quote of the next JSON_REPEAT_STEP bytes, or the last of them. */
static inline unsigned json_repeat_quote(const uint8_t *at)
{
#if defined(__SSE2__)
    unsigned quotes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), _mm_set1_epi8('"')));

    return quotes == 0 ? JSON_REPEAT_STEP - 1 : (unsigned)__builtin_ctz(quotes);
#else
    unsigned i = 0;

    while (i < JSON_REPEAT_STEP - 1 && at[i] != '"')
        i++;
    return i;
#endif
}

/* The same over JSON_REPEAT_STEP_COARSE bytes. */
static inline unsigned json_repeat_quote_coarse(const uint8_t *at)
{
    unsigned first = json_repeat_quote(at);

    return first < JSON_REPEAT_STEP - 1 || at[first] == '"' ? first : JSON_REPEAT_STEP + json_repeat_quote(at + JSON_REPEAT_STEP);
}

/* The first JSON_REPEAT_BYTES. */
static inline bool json_repeat_equal(const uint8_t *a, const uint8_t *b)
{
    uint64_t head = bytes_get_u64(a) ^ bytes_get_u64(b);
    uint32_t tail = bytes_get_u32(a + 8) ^ bytes_get_u32(b + 8);

    return (head | tail) == 0;
}

/* The first JSON_REPEAT_BYTES_COARSE. */
static inline bool json_repeat_equal_coarse(const uint8_t *a, const uint8_t *b)
{
    return ((bytes_get_u64(a) ^ bytes_get_u64(b)) | (bytes_get_u64(a + 8) ^ bytes_get_u64(b + 8))) == 0;
}

/* Of 2^bits, by the first so many bytes: 8 to 16. */
static inline size_t json_repeat_slot_by(const uint8_t *at, unsigned bytes, unsigned bits)
{
    uint64_t head = bytes_get_u64(at), tail = bytes_get_u64(at + bytes - 8);

    return (size_t)((head ^ (tail << 23 | tail >> 41)) * UINT64_C(0x9E3779B97F4A7C15) >> (64 - bits));
}

static inline size_t json_repeat_slot(const uint8_t *at, unsigned bits)
{
    return json_repeat_slot_by(at, JSON_REPEAT_BYTES, bits);
}

/* How many of the 8 bytes before both places, which are all read, are equal too; at most `most`. */
static inline size_t json_repeat_before(const uint8_t *a, const uint8_t *b, size_t most)
{
    uint64_t differ = bytes_get_u64(a - 8) ^ bytes_get_u64(b - 8);
    size_t   equal = differ == 0 ? 8 : (size_t)__builtin_clzll(differ) / 8;

    return equal < most ? equal : most;
}

#endif
