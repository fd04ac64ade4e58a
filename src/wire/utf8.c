/* wire/utf8.c - ASCII up to eight words at a time, everything else sequence by sequence.
 *
 * Nearly all bytes that Penstock sees are ASCII, so only their speed matters; the plain loop over 64
 * bytes becomes vector code in any compiler and needs no second version for a second CPU. */
#include "wire/utf8.h"

#include "base/bytes.h"

#include <assert.h>

size_t utf8_valid_until(struct span text)
{
    const uint8_t *at = text.at, *end = text.at + text.bytes;

    while (at < end) {
        while (end - at >= 64) {
            uint64_t high = 0;

            for (size_t i = 0; i < 64; i += 8)
                high |= bytes_get_u64(at + i);
            if ((high & 0x8080808080808080u) != 0)
                break;
            at += 64;
        }
        /* Up to 64 bytes with something in them, or the last ones. */
        const uint8_t *stop = end - at > 64 ? at + 64 : end;

        while (at < stop) {
            size_t bytes;

            /* Between two letters with accents there is mostly a word: the ASCII ahead, eight at a time. */
            if (*at < 0x80 && end - at >= 8) {
                uint64_t high = bytes_get_u64(at) & 0x8080808080808080u;

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
