/* event/packed_piece.c - see packed_piece.h. */
#include "event/packed_piece.h"

#include <assert.h>

#include "base/bytes.h"

enum { LENGTH_BYTES_MAX = 4 }; /* 28 bits: above PACKED_TEXT_BYTES_MAX */

int packed_damaged(struct err *err)
{
    return err_set(err, ERR_CORRUPT, "packed properties are damaged");
}

int packed_text_bytes(struct span packed, size_t *out, struct err *err)
{
    if (!packed_is(packed)) {
        *out = packed.bytes;
        return 0;
    }
    if (packed.bytes < PACKED_HEAD_BYTES || bytes_get_u32(packed.at + 1) > PACKED_TEXT_BYTES_MAX)
        return packed_damaged(err);
    *out = bytes_get_u32(packed.at + 1);
    return 0;
}

bool packed_length_read(const uint8_t **at, const uint8_t *end, size_t *out)
{
    unsigned shift = 0;
    uint8_t  more = 0x80;

    for (*out = 0; more >= 0x80; shift += 7) {
        if (*at == end || shift == 7 * LENGTH_BYTES_MAX)
            return false;
        more = *(*at)++;
        *out |= (size_t)(more & 0x7f) << shift;
    }
    return true;
}

/* So many bytes less `own` follow, or a length and then the bytes. */
bool packed_own_read(const uint8_t **at, const uint8_t *end, unsigned own, struct span *out)
{
    unsigned first = *(*at)++;
    size_t   bytes = first - own;

    if (first == PACKED_LONG && !packed_length_read(at, end, &bytes))
        return false;
    if (bytes > (size_t)(end - *at))
        return false;
    *out = span_of(*at, bytes);
    *at += bytes;
    return true;
}

uint8_t *packed_length_put(uint8_t *at, size_t bytes)
{
    assert(bytes >> 7 * LENGTH_BYTES_MAX == 0);
    for (; bytes >= 0x80; bytes >>= 7)
        *at++ = (uint8_t)(bytes | 0x80);
    *at++ = (uint8_t)bytes;
    return at;
}
