/* wire/inflate.c - see inflate.h.
 *
 * libdeflate wants the whole output in front of it and begins the member anew when there is too little,
 * which is what makes it twice as fast as a streaming inflate. So the size is guessed: gzip ends with
 * the length of its last member, and honest senders send one member. Where that was wrong (a liar, or
 * more members) the second try has room for all that deflate can make of these bytes (1032 to 1) or for
 * all that the ceiling leaves: memory that is reserved but not written is not resident. Large bodies
 * get that room at once, because what malloc keeps of a first buffer stays resident beside the second.
 * So nobody gets more than two passes, or more memory than the ceiling and a megabyte. (It was half a megabyte: a batch
 * of 1000 events then got 20 MiB of new memory each time, a seventh of what it cost.) Doubling
 * step by step was tried: up to ten passes, and 3 MiB above a ceiling of 20.
 * While nothing is in `out` yet, a larger buffer replaces the old one instead of growing it: a copy of
 * half-inflated bytes that will be written again would be resident twice. */
#include "wire/inflate.h"

#include <libdeflate.h>
#include <stdlib.h>

#include "base/bytes.h"

enum {
    RATIO_MAX = 1032,         /* deflate: 258 bytes from 2 bits */
    FIELDS_BYTES_MAX = 65536, /* FEXTRA, FNAME and FCOMMENT together; docs/limits.md */
    TRAILER_BYTES = 8,
    FIRST_BYTES_MAX = 1 << 20 /* of a first buffer that may have to give way to a second; an ordinary batch fits */
};

enum { FHCRC = 2, FEXTRA = 4, FNAME = 8, FCOMMENT = 16, FRESERVED = 0xe0 };

struct inflate {
    struct libdeflate_decompressor *deflate;
};

struct inflate *inflate_new(void)
{
    struct inflate *inflate = malloc(sizeof *inflate);

    if (inflate == NULL)
        return NULL;
    inflate->deflate = libdeflate_alloc_decompressor();
    if (inflate->deflate == NULL) {
        free(inflate);
        return NULL;
    }
    return inflate;
}

void inflate_free(struct inflate *inflate)
{
    if (inflate == NULL)
        return;
    libdeflate_free_decompressor(inflate->deflate);
    free(inflate);
}

/* RFC 1952 §2.3:   at  bytes  field
 *                   0      2  1f 8b
 *                   2      1  method: 8
 *                   3      1  flags
 *                   4      6  time, extra flags, system: of no interest
 *                  10      *  FEXTRA: 2 bytes of length, then that; FNAME, FCOMMENT: up to a NUL;
 *                             FHCRC: the low half of the crc32 of everything before it */
static int member_check_header(struct span body, size_t at, struct err *err)
{
    size_t  start = at, fields = at + 10;
    uint8_t flags;

    if (body.bytes - at < 10 + TRAILER_BYTES)
        return err_set(err, ERR_INPUT, "gzip: cut off in the header of the member at byte %zu", start);
    if (!inflate_looks_gzip(span_from(body, at)))
        return err_set(err, ERR_INPUT, "gzip: byte %zu begins neither a member nor the end", start);
    flags = body.at[at + 3];
    if (flags & FRESERVED)
        return err_set(err, ERR_INPUT, "gzip: reserved flags 0x%02x at byte %zu", flags, at + 3);
    at = fields;
    if (flags & FEXTRA) {
        if (body.bytes - at < 2)
            return err_set(err, ERR_INPUT, "gzip: cut off in the extra field");
        at += (size_t)2 + bytes_get_u16(body.at + at);
        if (at > body.bytes)
            return err_set(err, ERR_INPUT, "gzip: cut off in the extra field");
    }
    for (unsigned flag = FNAME; flag <= FCOMMENT; flag <<= 1)
        if (flags & flag) {
            const uint8_t *nul = memchr(body.at + at, 0, body.bytes - at);

            if (nul == NULL)
                return err_set(err, ERR_INPUT, "gzip: cut off in the %s", flag == FNAME ? "name" : "comment");
            at = (size_t)(nul - body.at) + 1;
        }
    if (at - fields > FIELDS_BYTES_MAX)
        return err_set(err, ERR_INPUT, "gzip: %zu bytes of header fields; the limit is %d", at - fields,
                       FIELDS_BYTES_MAX);
    if ((flags & FHCRC) &&
        (body.bytes - at < 2 ||
         (libdeflate_crc32(0, body.at + start, at - start) & 0xffff) != bytes_get_u16(body.at + at)))
        return err_set(err, ERR_INPUT, "gzip: bad header checksum");
    return 0;
}

/* Room for `want` bytes, or for what the ceiling leaves. */
static int out_grow(struct buf *out, size_t want, struct err *err)
{
    size_t room = out->bytes_max - out->bytes;

    if (want > room)
        want = room;
    if (want == 0)
        return 0; /* a ceiling of nothing: an empty member still fits */
    if (out->bytes == 0 && want > out->size)
        buf_fini(out);
    if (buf_reserve(out, want) == NULL)
        return err_set(err, ERR_FULL, "gzip: no memory for %zu inflated bytes", want);
    return 0;
}

static size_t inflated_max(size_t bytes)
{
    return bytes < SIZE_MAX / RATIO_MAX ? bytes * RATIO_MAX : SIZE_MAX;
}

static size_t first_guess(struct span body, size_t room)
{
    size_t last = bytes_get_u32(body.at + body.bytes - 4);

    if (last > inflated_max(body.bytes))
        last = body.bytes * 4; /* it lies, or these are not the last four bytes of a member */
    if (last < body.bytes)
        last = body.bytes;
    return last < FIRST_BYTES_MAX ? last : inflated_max(body.bytes) < room ? inflated_max(body.bytes) : room;
}

static int member_inflate(struct inflate *inflate, struct span body, size_t *at, struct buf *out, struct err *err)
{
    for (;;) {
        size_t used = 0, made = 0, room = out->size - out->bytes;

        if (room > out->bytes_max - out->bytes)
            room = out->bytes_max - out->bytes;
        switch (libdeflate_gzip_decompress_ex(inflate->deflate, body.at + *at, body.bytes - *at, out->at + out->bytes,
                                              room, &used, &made)) {
        case LIBDEFLATE_SUCCESS:
            out->bytes += made;
            *at += used;
            return 0;
        case LIBDEFLATE_INSUFFICIENT_SPACE:
            /* More than deflate can make of these bytes: it ran past their end, into zeros. */
            if (room >= inflated_max(body.bytes - *at))
                return err_set(err, ERR_INPUT, "gzip: cut off in the member at byte %zu", *at);
            if (room == out->bytes_max - out->bytes)
                return err_set(err, ERR_FULL, "gzip: more than %zu bytes when inflated", out->bytes_max);
            if (out_grow(out, inflated_max(body.bytes - *at), err) < 0)
                return -1;
            break;
        default:
            return err_set(err, ERR_INPUT, "gzip: damaged or cut off in the member at byte %zu", *at);
        }
    }
}

int inflate_gzip(struct inflate *inflate, struct span body, struct buf *out, struct err *err)
{
    size_t at = 0, guess;

    if (body.bytes < 10 + TRAILER_BYTES)
        return err_set(err, ERR_INPUT, "gzip: %zu bytes are too few for one member", body.bytes);
    guess = first_guess(body, out->bytes_max - out->bytes);
    if (out->size - out->bytes < guess && out_grow(out, guess, err) < 0)
        goto failed;
    while (at < body.bytes)
        if (member_check_header(body, at, err) < 0 || member_inflate(inflate, body, &at, out, err) < 0)
            goto failed;
    return 0;
failed:
    buf_reset(out);
    return -1;
}

int inflate_deflate(struct inflate *inflate, struct span body, struct buf *out, struct err *err)
{
    bool   zlib = body.bytes > 0 && body.at[0] == 0x78;
    size_t most = inflated_max(body.bytes), first = body.bytes < FIRST_BYTES_MAX / 4 ? body.bytes * 4 : most;

    if (out_grow(out, first, err) < 0)
        goto failed;
    for (;;) {
        size_t used = 0, made = 0, left = out->bytes_max - out->bytes, room = out->size - out->bytes;
        enum libdeflate_result result;

        room = room > left ? left : room;
        result = zlib ? libdeflate_zlib_decompress_ex(inflate->deflate, body.at, body.bytes, out->at + out->bytes, room,
                                                      &used, &made)
                      : libdeflate_deflate_decompress_ex(inflate->deflate, body.at, body.bytes, out->at + out->bytes,
                                                         room, &used, &made);
        if (result == LIBDEFLATE_SUCCESS && used == body.bytes) {
            out->bytes += made;
            return 0;
        }
        if (result == LIBDEFLATE_SUCCESS) {
            err_set(err, ERR_INPUT, "deflate: %zu bytes behind its end", body.bytes - used);
            goto failed;
        }
        if (result != LIBDEFLATE_INSUFFICIENT_SPACE || room >= most) {
            err_set(err, ERR_INPUT, "deflate: damaged or cut off");
            goto failed;
        }
        if (room == left) {
            err_set(err, ERR_FULL, "deflate: more than %zu bytes when inflated", out->bytes_max);
            goto failed;
        }
        if (out_grow(out, most, err) < 0)
            goto failed;
    }
failed:
    buf_reset(out);
    return -1;
}
