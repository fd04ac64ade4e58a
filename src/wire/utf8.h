/* wire/utf8.h - RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef PENSTOCK_WIRE_UTF8_H
#define PENSTOCK_WIRE_UTF8_H

#include "base/span.h"

/* Offset of the first byte that begins no valid sequence; text.bytes when all of it is valid.
 * Vectorised where the CPU allows: ASCII runs at memory speed. */
size_t utf8_valid_until(struct span text);
static inline bool utf8_valid(struct span text) { return utf8_valid_until(text) == text.bytes; }

/* Code points in valid UTF-8. */
size_t utf8_count(struct span text);
/* UTF-16 code units that the same text would have. */
size_t utf8_count_utf16(struct span text);
/* The longest prefix of at most this many code points (UTF-16 units); never cuts inside a sequence. */
struct span utf8_cut(struct span text, size_t points_max);
struct span utf8_cut_utf16(struct span text, size_t units_max);
/* Length (1 to 4) of the sequence at `at` < `end`; 0 when no valid one begins there. */
static inline size_t utf8_sequence(const uint8_t *at, const uint8_t *end)
{
    size_t   room = (size_t)(end - at);
    uint32_t lead = at[0];

    if (lead < 0x80)
        return 1;
    if (lead < 0xe0)
        return lead >= 0xc2 && room >= 2 && (at[1] & 0xc0) == 0x80 ? 2 : 0;
    if (lead < 0xf0) { /* e0: second byte from a0 (no overlong); ed: below a0 (no surrogates) */
        if (room < 3 || (at[1] & 0xc0) != 0x80 || (at[2] & 0xc0) != 0x80)
            return 0;
        return (lead == 0xe0 && at[1] < 0xa0) || (lead == 0xed && at[1] > 0x9f) ? 0 : 3;
    }
    if (lead > 0xf4 || room < 4 || (at[1] & 0xc0) != 0x80 || (at[2] & 0xc0) != 0x80 || (at[3] & 0xc0) != 0x80)
        return 0;
    return (lead == 0xf0 && at[1] < 0x90) || (lead == 0xf4 && at[1] > 0x8f) ? 0 : 4;
}
/* Writes one code point, returns its length (1 to 4). */
size_t utf8_put(uint32_t point, uint8_t to[4]);

#endif
