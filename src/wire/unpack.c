/* wire/unpack.c - see unpack.h.
 *
 * Brotli and Zstandard say nothing reliable about the size of what is in them, so they are unpacked as a
 * stream into a buffer that doubles: what is written never passes the ceiling, and a bomb costs no more
 * than that. Their contexts are made for one body and given back: they are large, and such bodies are
 * rare beside gzip. When the buffer is full to its ceiling one more byte is asked for: only its coming
 * shows that there is too much. */
#include "wire/unpack.h"

#include <brotli/decode.h>
#include <strings.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { ROOM_BYTES_MIN = 16 << 10 };

bool unpack_coding_find(struct span name, enum unpack_coding *out)
{
    static const struct { const char *name; enum unpack_coding coding; } codings[] = {
        { "", UNPACK_NONE },         { "identity", UNPACK_NONE }, { "gzip", UNPACK_GZIP },
        { "deflate", UNPACK_DEFLATE }, { "br", UNPACK_BROTLI },     { "zstd", UNPACK_ZSTD },
    };

    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
        if (name.bytes == strlen(codings[i].name) &&
            (name.bytes == 0 || strncasecmp((const char *)name.at, codings[i].name, name.bytes) == 0)) {
            *out = codings[i].coding;
            return true;
        }
    return false;
}

/* Where the next bytes go: into out, or when that is at its ceiling into one byte beside it. NULL: no
 * memory. */
static uint8_t *unpack_room(struct buf *out, uint8_t *beside, size_t *room_out)
{
    size_t left = out->bytes_max - out->bytes;

    if (left == 0) {
        *room_out = 1;
        return beside;
    }
    if (out->size == out->bytes &&
        buf_reserve(out, left < ROOM_BYTES_MIN ? left : ROOM_BYTES_MIN) == NULL)
        return NULL;
    *room_out = out->size - out->bytes < left ? out->size - out->bytes : left;
    return out->at + out->bytes;
}

static int unpack_brotli(struct span body, struct buf *out, struct err *err)
{
    BrotliDecoderState *state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    BrotliDecoderResult result = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
    const uint8_t      *in = body.at;
    size_t              in_left = body.bytes;
    int                 rc = 0;

    out->denied |= state == NULL;
    if (state == NULL)
        return err_set(err, ERR_FULL, "br: no memory");
    while (rc == 0 && result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
        uint8_t beside;
        size_t  room = 0, made;
        uint8_t *to = unpack_room(out, &beside, &room);

        if (to == NULL) {
            rc = err_set(err, ERR_FULL, "br: no memory for more than %zu bytes", out->bytes);
            break;
        }
        made = room;
        result = BrotliDecoderDecompressStream(state, &in_left, &in, &room, &to, NULL);
        made -= room;
        if (result == BROTLI_DECODER_RESULT_ERROR) { /* the codes of this kind stand together (brotli/decode.h) */
            BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(state);

            out->denied |= code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES && code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
        }
        if (made > 0 && out->bytes == out->bytes_max)
            rc = err_set(err, ERR_FULL, "br: more than %zu bytes when unpacked", out->bytes_max);
        else
            out->bytes += made;
    }
    if (rc == 0 && (result != BROTLI_DECODER_RESULT_SUCCESS || in_left > 0))
        rc = err_set(err, ERR_INPUT, "br: %s",
                     result == BROTLI_DECODER_RESULT_SUCCESS            ? "more bytes behind its end"
                     : result == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT ? "cut off"
                                                                        : "damaged");
    BrotliDecoderDestroyInstance(state);
    return rc;
}

/* RFC 8878 §3: any number of frames one after the other. */
static int unpack_zstd_frames(ZSTD_DCtx *context, struct span body, struct buf *out, struct err *err)
{
    ZSTD_inBuffer in = { body.at, body.bytes, 0 };
    size_t        want = 1; /* 0 between frames */

    while (in.pos < in.size || want != 0) {
        uint8_t        beside;
        size_t         room = 0, used = in.pos;
        uint8_t       *to = unpack_room(out, &beside, &room);
        ZSTD_outBuffer made = { to, room, 0 };

        if (to == NULL)
            return err_set(err, ERR_FULL, "zstd: no memory for more than %zu bytes", out->bytes);
        want = ZSTD_decompressStream(context, &made, &in);
        out->denied |= ZSTD_getErrorCode(want) == ZSTD_error_memory_allocation;
        if (ZSTD_isError(want))
            return err_set(err, ERR_INPUT, "zstd: %s", ZSTD_getErrorName(want));
        if (made.pos > 0 && out->bytes == out->bytes_max)
            return err_set(err, ERR_FULL, "zstd: more than %zu bytes when unpacked", out->bytes_max);
        out->bytes += made.pos;
        if (made.pos == 0 && in.pos == used && want != 0)
            return err_set(err, ERR_INPUT, "zstd: cut off");
    }
    return 0;
}

static int unpack_zstd(struct span body, struct buf *out, struct err *err)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    int        rc;

    out->denied |= context == NULL;
    if (context == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, UNPACK_ZSTD_WINDOW_LOG_MAX)))
        rc = err_set(err, ERR_FULL, "zstd: no memory");
    else
        rc = unpack_zstd_frames(context, body, out, err);
    ZSTD_freeDCtx(context);
    return rc;
}

int unpack_body(struct inflate *inflate, enum unpack_coding coding, struct span body, struct buf *out,
                struct err *err)
{
    switch (coding) {
    case UNPACK_GZIP: return inflate_gzip(inflate, body, out, err);
    case UNPACK_DEFLATE: return inflate_deflate(inflate, body, out, err);
    case UNPACK_BROTLI: return unpack_brotli(body, out, err);
    case UNPACK_ZSTD: return unpack_zstd(body, out, err);
    case UNPACK_NONE: break;
    }
    buf_add(out, body);
    return out->failed ? err_set(err, ERR_FULL, "more than %zu bytes", out->bytes_max) : 0;
}
