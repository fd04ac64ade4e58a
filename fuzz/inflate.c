/* fuzz/inflate.c - gzip from strangers. As it came: the ceiling holds, and a higher one changes nothing
 * that was right. As bare deflate that we put into a gzip frame: it inflates to the same. As plain bytes
 * that we compress, in one member and in two: they come back. */
#include <libdeflate.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "fuzz.h"
#include "wire/inflate.h"

enum { CAP = 4000, HIGHER = 1 << 20 };

static struct inflate                *inflate;
static struct libdeflate_compressor   *packer;
static struct libdeflate_decompressor *unpacker;

static int try(struct span body, size_t cap, struct buf *out)
{
    struct err err = { 0 };
    int        rc;

    buf_init(out, cap);
    rc = inflate_gzip(inflate, body, out, &err);
    MUST(out->bytes <= cap && out->size <= (cap < 256 ? 256 : cap));
    MUST(rc == 0 || ((err.kind == ERR_INPUT || err.kind == ERR_FULL) && err.text[0] != '\0'));
    return rc == 0 ? 0 : err.kind == ERR_FULL ? 1 : -1;
}

static void as_it_came(struct span body)
{
    struct buf low, high;
    int        low_rc = try(body, CAP, &low), high_rc = try(body, HIGHER, &high);

    if (low_rc == 0)
        MUST(high_rc == 0 && span_equal(buf_span(&low), buf_span(&high)));
    if (high_rc == 0)
        MUST((low_rc == 0) == (high.bytes <= CAP));
    buf_fini(&low);
    buf_fini(&high);
}

static void as_deflate(struct span body)
{
    static uint8_t plain[CAP];
    size_t         plain_bytes = 0, used = 0;
    struct buf     framed, out;
    uint8_t        trailer[8];

    if (libdeflate_deflate_decompress_ex(unpacker, body.at, body.bytes, plain, sizeof plain, &used, &plain_bytes) !=
        LIBDEFLATE_SUCCESS)
        return;
    buf_init(&framed, HIGHER);
    buf_add(&framed, SPAN("\x1f\x8b\x08\0\0\0\0\0\0\x03"));
    buf_add(&framed, span_of(body.at, used));
    bytes_put_u32(trailer, libdeflate_crc32(0, plain, plain_bytes));
    bytes_put_u32(trailer + 4, (uint32_t)plain_bytes);
    buf_add(&framed, span_of(trailer, 8));
    MUST(try(buf_span(&framed), CAP, &out) == 0 && span_equal(buf_span(&out), span_of(plain, plain_bytes)));
    buf_fini(&out);
    /* The length in the trailer is what the size is guessed from: a lie is no more than wrong. */
    framed.at[framed.bytes - 1] ^= 0x80;
    MUST(try(buf_span(&framed), CAP, &out) != 0);
    buf_fini(&out);
    buf_fini(&framed);
}

static void as_plain(struct span plain)
{
    size_t     half = plain.bytes / 2;
    struct buf framed, out;
    uint8_t   *to;

    buf_init(&framed, HIGHER);
    for (int two = 0; two <= 1; two++) {
        buf_reset(&framed);
        to = buf_reserve(&framed, plain.bytes + 1000);
        framed.bytes += libdeflate_gzip_compress(packer, plain.at, two ? half : plain.bytes, to, plain.bytes + 1000);
        if (two) {
            to = buf_reserve(&framed, plain.bytes + 1000);
            framed.bytes += libdeflate_gzip_compress(packer, plain.at + half, plain.bytes - half, to, plain.bytes + 1000);
        }
        MUST(try(buf_span(&framed), HIGHER, &out) == 0 && span_equal(buf_span(&out), plain));
        buf_fini(&out);
    }
    buf_fini(&framed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (inflate == NULL) {
        inflate = inflate_new();
        packer = libdeflate_alloc_compressor(1);
        unpacker = libdeflate_alloc_decompressor();
        MUST(inflate != NULL && packer != NULL && unpacker != NULL);
    }
    as_it_came(span_of(data, bytes));
    as_deflate(span_of(data, bytes));
    if (bytes < 10000)
        as_plain(span_of(data, bytes));
    return 0;
}
