/* event/packed_piece.h - what both forms of packed properties are made of: the head, and keys, values and lengths, as event/packed.h
 * draws them. */
#ifndef PENSTOCK_EVENT_PACKED_PIECE_H
#define PENSTOCK_EVENT_PACKED_PIECE_H

#include <string.h>

#include "base/err.h"
#include "base/span.h"

enum {
    PACKED_FORM = 1,
    PACKED_ECHO = 2,
    PACKED_HEAD_BYTES = 5,
    PACKED_TEXT_BYTES_MAX = 64 << 20, /* above what a record of the log holds */
    PACKED_KEY_OWN = 219, PACKED_VALUE_OWN = 63, PACKED_LONG = 255
};

/* --- the head --------------------------------------------------------------------------------- */

/* False: it is the text. */
static inline bool packed_is(struct span packed)
{
    return packed.bytes > 0 && (packed.at[0] == PACKED_FORM || packed.at[0] == PACKED_ECHO);
}

/* How many bytes of text come out; of damaged ones perhaps not. ERR_CORRUPT: more than PACKED_TEXT_BYTES_MAX. */
int packed_text_bytes(struct span packed, size_t *out, struct err *err) must_check;

/* --- pieces ----------------------------------------------------------------------------------- */

/* -1, and it says that they are damaged. */
int packed_damaged(struct err *err);

/* Putting gives where it ends. Reading moves *at; false: it does not fit before end. own: PACKED_KEY_OWN or PACKED_VALUE_OWN. */
uint8_t *packed_length_put(uint8_t *at, size_t bytes);
bool     packed_length_read(const uint8_t **at, const uint8_t *end, size_t *out) must_check;
bool     packed_own_read(const uint8_t **at, const uint8_t *end, unsigned own, struct span *out) must_check;

static inline uint8_t *packed_own_put(uint8_t *at, unsigned own, struct span text)
{
    if (text.bytes < PACKED_LONG - own) {
        *at++ = (uint8_t)(own + text.bytes);
    } else {
        *at++ = PACKED_LONG;
        at = packed_length_put(at, text.bytes);
    }
    memcpy(at, text.at, text.bytes);
    return at + text.bytes;
}

/* Copies `bytes`, which is little most times, in pieces of a fixed length where both sides have that much. */
static inline void packed_piece_put(uint8_t *to, const uint8_t *to_end, const uint8_t *from, const uint8_t *from_end, size_t bytes)
{
    enum { PIECE = 32, PIECES_BYTES_MAX = 256 };

    if (bytes > PIECES_BYTES_MAX || to_end - to < (ptrdiff_t)bytes + PIECE - 1 || from_end - from < (ptrdiff_t)bytes + PIECE - 1) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t done = 0; done < bytes; done += PIECE)
        memcpy(to + done, from + done, PIECE);
}

#endif
