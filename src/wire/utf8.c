/* wire/utf8.c - ASCII 64 bytes at a time, everything else sequence by sequence.
 *
 * Nearly all bytes that Penstock sees are ASCII, so only their speed matters. A loop over eight words stays one of words in gcc 12, which is
 * a third slower; and most texts are shorter than 64 bytes. */
#include "wire/utf8.h"

#include <assert.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/bytes.h"

#define HIGHS UINT64_C(0x8080808080808080)

enum { PIECE = 64 };

/* The first byte of the first PIECE, all of which are read, that is no ASCII; PIECE: none. */
static inline size_t not_ascii(const uint8_t *at)
{
#if defined(__SSE2__)
    __m128i a = _mm_loadu_si128((const __m128i *)at), b = _mm_loadu_si128((const __m128i *)(at + 16));
    __m128i c = _mm_loadu_si128((const __m128i *)(at + 32)), d = _mm_loadu_si128((const __m128i *)(at + 48));

    if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) == 0)
        return PIECE;
    return (size_t)__builtin_ctzll((uint64_t)(unsigned)_mm_movemask_epi8(a) | (uint64_t)(unsigned)_mm_movemask_epi8(b) << 16 |
                                   (uint64_t)(unsigned)_mm_movemask_epi8(c) << 32 | (uint64_t)(unsigned)_mm_movemask_epi8(d) << 48);
#else
    uint64_t high = 0;

    for (size_t i = 0; i < PIECE; i += 8)
        high |= bytes_get_u64(at + i);
    if ((high & HIGHS) == 0)
        return PIECE;
    for (size_t i = 0;; i += 8)
        if ((bytes_get_u64(at + i) & HIGHS) != 0)
            return i + (size_t)__builtin_ctzll(bytes_get_u64(at + i) & HIGHS) / 8;
#endif
}

/* ASCII alone, of less than PIECE bytes: the last bytes are looked at twice rather than one by one. */
static inline bool short_ascii(const uint8_t *at, size_t bytes)
{
    uint64_t high = 0;

    if (bytes >= 8) {
        for (size_t i = 0; i + 8 < bytes; i += 8)
            high |= bytes_get_u64(at + i);
        return ((high | bytes_get_u64(at + bytes - 8)) & HIGHS) == 0;
    }
    if (bytes >= 4)
        return ((bytes_get_u32(at) | bytes_get_u32(at + bytes - 4)) & (uint32_t)HIGHS) == 0;
    return bytes == 0 || (at[0] | at[bytes / 2] | at[bytes - 1]) < 0x80;
}

size_t utf8_valid_until(struct span text)
{
    const uint8_t *at = text.at, *end = text.at + text.bytes;

    while (at < end) {
        while (end - at >= PIECE) {
            size_t ascii = not_ascii(at);

            at += ascii;
            if (ascii != PIECE)
                break;
        }
        if (end - at < PIECE && short_ascii(at, (size_t)(end - at)))
            break;
        /* Up to 64 bytes with something in them, or the last ones. */
        const uint8_t *stop = end - at > PIECE ? at + PIECE : end;

        while (at < stop) {
            size_t bytes;

            /* Between two letters with accents there is mostly a word: the ASCII ahead, eight at a time. */
            if (*at < 0x80 && end - at >= 8) {
                uint64_t high = bytes_get_u64(at) & HIGHS;

                at += high == 0 ? 8 : __builtin_ctzll(high) / 8;
                continue;
            }
            bytes = utf8_sequence(at, end);
            if (bytes == 0)
                return (size_t)(at - text.at);
            at += bytes;
        }
    }
    return text.bytes;
}

static inline bool begins(uint8_t byte)
{
    return (byte & 0xc0) != 0x80;
}

size_t utf8_count(struct span text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.bytes; i++)
        count += begins(text.at[i]);
    return count;
}

size_t utf8_count_utf16(struct span text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.bytes; i++)
        count += (size_t)begins(text.at[i]) + (text.at[i] >= 0xf0);
    return count;
}

struct span utf8_cut(struct span text, size_t points_max)
{
    size_t points = 0;

    if (text.bytes <= points_max)
        return text;
    for (size_t i = 0; i < text.bytes; i++)
        if (begins(text.at[i]) && points++ == points_max)
            return span_of(text.at, i);
    return text;
}

struct span utf8_cut_utf16(struct span text, size_t units_max)
{
    size_t units = 0;

    if (text.bytes <= units_max)
        return text;
    for (size_t i = 0; i < text.bytes; i++)
        if (begins(text.at[i])) {
            units += 1 + (size_t)(text.at[i] >= 0xf0);
            if (units > units_max)
                return span_of(text.at, i);
        }
    return text;
}

size_t utf8_put(uint32_t point, uint8_t to[4])
{
    assert(point <= 0x10ffff && (point & 0xfffff800) != 0xd800);
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (uint8_t)(0xc0 | point >> 6);
        to[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (uint8_t)(0xe0 | point >> 12);
        to[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | point >> 18);
    to[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}
