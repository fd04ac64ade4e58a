/* wire/base64.c - see base64.h.
 *
 * One decoder for both flavours: LENIENT differs only in its table and in what it forgives at the end.
 * Unused bits must be zero in both: otherwise two texts would mean the same bytes, and what was sent
 * could not be told from what is stored. Whole groups of four go through without a branch per byte;
 * a bad byte shows as a high bit in the or-ed values. */
#include "wire/base64.h"

enum { BAD = 0x80, LOOK_BYTES = 128 }; /* docs: how a body is recognised */

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define X_64 BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD
#define X_UP 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25
#define X_LOW 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51
#define X_DIGITS 52, 53, 54, 55, 56, 57, 58, 59, 60, 61
#define TABLE(space, minus, underscore)                                                                                \
    {                                                                                                                  \
        X_64, X_64, space, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, 62, BAD, minus, BAD, 63, X_DIGITS, BAD,   \
            BAD, BAD, BAD, BAD, BAD, BAD, X_UP, BAD, BAD, BAD, BAD, underscore, BAD, X_LOW, BAD, BAD, BAD, BAD, BAD,   \
            X_64, X_64, X_64, X_64, X_64, X_64, X_64, X_64                                                             \
    }
static const uint8_t values[2][256] = { TABLE(BAD, BAD, BAD), TABLE(62, 62, 63) };

static bool looks(struct span text, bool space)
{
    if (text.bytes == 0 || text.bytes % 4 != 0)
        return false;
    for (size_t i = 0; i < text.bytes && i < LOOK_BYTES; i++) {
        uint8_t c = text.at[i];

        if (values[0][c] == BAD && c != '=' && !(space && c == ' '))
            return false;
    }
    return true;
}

bool base64_looks_strict(struct span text)
{
    return looks(text, false);
}

bool base64_looks_loose(struct span text)
{
    return looks(text, true);
}

bool base64_decode(struct span text, unsigned flags, struct buf *out)
{
    const uint8_t *value = values[(flags & BASE64_LENIENT) != 0];
    size_t         digits = text.bytes, rest, pads;
    const uint8_t *at = text.at;
    uint8_t       *to, *start;
    uint8_t        bad = 0;

    while (digits > 0 && text.bytes - digits < 2 && text.at[digits - 1] == '=')
        digits--;
    rest = digits % 4;
    pads = text.bytes - digits;
    if (rest == 1 || pads > (4 - rest) % 4)
        return false;
    if (!(flags & BASE64_LENIENT) && pads != (4 - rest) % 4)
        return false;

    start = to = buf_reserve(out, digits / 4 * 3 + (rest ? rest - 1 : 0));
    if (digits == 0)
        return to != NULL || !out->failed;
    if (to == NULL)
        return false;
    for (size_t groups = digits / 4; groups > 0; groups--, at += 4, to += 3) {
        uint8_t  a = value[at[0]], b = value[at[1]], c = value[at[2]], d = value[at[3]];
        uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;

        bad |= (uint8_t)(a | b | c | d);
        to[0] = (uint8_t)(bits >> 16);
        to[1] = (uint8_t)(bits >> 8);
        to[2] = (uint8_t)bits;
    }
    if (rest != 0) {
        uint8_t  a = value[at[0]], b = value[at[1]], c = rest == 3 ? value[at[2]] : 0;
        uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6;

        bad |= (uint8_t)(a | b | c);
        if ((bits & (rest == 3 ? 0xffu : 0xffffu)) != 0)
            return false; /* unused bits */
        *to++ = (uint8_t)(bits >> 16);
        if (rest == 3)
            *to++ = (uint8_t)(bits >> 8);
    }
    if (bad & BAD)
        return false;
    out->bytes += (size_t)(to - start);
    return true;
}

void base64_encode(struct span bytes, struct buf *out)
{
    const uint8_t *at = bytes.at;
    uint8_t       *to = buf_reserve(out, (bytes.bytes + 2) / 3 * 4);
    size_t         left = bytes.bytes;

    if (to == NULL || left == 0)
        return;
    out->bytes += (bytes.bytes + 2) / 3 * 4;
    for (; left >= 3; left -= 3, at += 3, to += 4) {
        uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];

        to[0] = (uint8_t)alphabet[bits >> 18];
        to[1] = (uint8_t)alphabet[bits >> 12 & 63];
        to[2] = (uint8_t)alphabet[bits >> 6 & 63];
        to[3] = (uint8_t)alphabet[bits & 63];
    }
    if (left > 0) {
        uint32_t bits = (uint32_t)at[0] << 16 | (left == 2 ? (uint32_t)at[1] << 8 : 0);

        to[0] = (uint8_t)alphabet[bits >> 18];
        to[1] = (uint8_t)alphabet[bits >> 12 & 63];
        to[2] = left == 2 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        to[3] = '=';
    }
}
