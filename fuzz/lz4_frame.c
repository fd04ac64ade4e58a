/* fuzz/lz4_frame.c - any bytes in any pieces into a frame of LZ4's format, as the loader sends it: LZ4's own library reads them back, whole
 * and bit by bit, and so does a reader of the format's pages that asks each block by itself. Where bytes of blocks are damaged nobody
 * takes others for the whole, as ClickHouse will not. (The format has no checksum of a block's own head.) */
#include <lz4.h>
#include <lz4frame.h>
#include <string.h>

#include "fuzz.h"
#include "warehouse/clickhouse.h"
#include "wire/lz4_frame.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"

enum { HEAD_BYTES = 15, PIECES_MAX = 8, DAMAGES_MAX = 4, PLAIN_BYTES_MAX = LZ4_FRAME_BLOCK_BYTES + (64 << 10) };
#define NOT_PACKED UINT32_C(0x80000000)

/* Is this byte one of a block, or of its checksum? */
static bool is_checked(struct span frame, size_t place)
{
    size_t at = HEAD_BYTES;

    while (at + 4 <= place) {
        size_t bytes = (bytes_get_u32(frame.at + at) & ~NOT_PACKED) + 4;

        if (place < at + 4 + bytes)
            return true;
        at += 4 + bytes;
    }
    return false;
}

/* The input, over and over where it says so: frames of several blocks are made of few bytes. */
static struct span plain_make(struct fuzz_input *input)
{
    size_t   times = 1 + (take(input, 1) == 0xff ? take(input, 2) : 0), own = (size_t)(input->end - input->at), bytes = 0;
    uint8_t *plain;

    if (own > PLAIN_BYTES_MAX)
        own = PLAIN_BYTES_MAX;
    if (own > 0 && times > PLAIN_BYTES_MAX / own)
        times = PLAIN_BYTES_MAX / own;
    plain = malloc(own > 0 ? times * own : 1); /* no byte more: who reads on is seen */
    MUST(plain != NULL);
    for (; bytes < times * own; bytes += own)
        memcpy(plain + bytes, input->at, own);
    return span_of(plain, bytes);
}

static void by_the_pages(struct span frame, struct span plain)
{
    static uint8_t block[LZ4_FRAME_BLOCK_BYTES];
    size_t         at = HEAD_BYTES;

    MUST(frame.bytes >= HEAD_BYTES + 4 && bytes_get_u32(frame.at) == 0x184d2204);
    MUST(frame.at[4] >> 6 == 1 && (frame.at[4] & 0x20) != 0 && (frame.at[4] & 0x10) != 0 && (frame.at[4] & 0x0f) == 0x08);
    MUST(frame.at[5] == 0x60 && bytes_get_u64(frame.at + 6) == plain.bytes && frame.at[14] == (uint8_t)(XXH32(frame.at + 4, 10, 0) >> 8));
    for (;;) {
        uint32_t head = bytes_get_u32(frame.at + at);
        size_t   bytes = head & ~NOT_PACKED, made;

        at += 4;
        if (head == 0)
            break;
        MUST(bytes > 0 && bytes <= LZ4_FRAME_BLOCK_BYTES && at + bytes + 4 + 4 <= frame.bytes);
        MUST(bytes_get_u32(frame.at + at + bytes) == XXH32(frame.at + at, bytes, 0));
        if ((head & NOT_PACKED) != 0) {
            memcpy(block, frame.at + at, bytes);
            made = bytes;
        } else {
            int got = LZ4_decompress_safe((const char *)frame.at + at, (char *)block, (int)bytes, LZ4_FRAME_BLOCK_BYTES);

            MUST(got > 0 && (size_t)got > bytes);
            made = (size_t)got;
        }
        MUST(made <= plain.bytes && memcmp(block, plain.at, made) == 0);
        plain = span_from(plain, made);
        at += bytes + 4;
    }
    MUST(at == frame.bytes && plain.bytes == 0);
}

/* Whether it says that the frame is whole, and was this. It may give bytes of a block before it knows their checksum. */
static bool by_the_library(struct span frame, struct span plain, size_t from_bytes, size_t to_bytes, bool *same_out)
{
    LZ4F_dctx *reader = NULL;
    uint8_t   *room = malloc(to_bytes);
    size_t     hint = 1;

    *same_out = true;
    MUST(room != NULL && !LZ4F_isError(LZ4F_createDecompressionContext(&reader, LZ4F_VERSION)));
    while (hint != 0) {
        size_t taken = frame.bytes < from_bytes ? frame.bytes : from_bytes, made = to_bytes;

        hint = LZ4F_decompress(reader, room, &made, frame.at, &taken, NULL);
        if (LZ4F_isError(hint) || (made == 0 && taken == 0))
            break;
        *same_out = *same_out && made <= plain.bytes && memcmp(room, plain.at, made) == 0;
        plain = span_from(plain, made < plain.bytes ? made : plain.bytes);
        frame = span_from(frame, taken);
    }
    *same_out = *same_out && plain.bytes == 0;
    MUST(!LZ4F_isError(LZ4F_freeDecompressionContext(reader)));
    free(room);
    return hint == 0 && frame.bytes == 0;
}

/* As the loader reads its own batch again. */
static void by_the_loader(const struct buf *frame, struct span plain, bool damaged)
{
    struct clickhouse_table table = { .packed = *frame, .packed_raw = plain.bytes };
    struct buf              out;
    struct err              err = { .text = "" };

    buf_init(&out, PLAIN_BYTES_MAX + 1);
    MUST(clickhouse_unpack(&table, &out, &err) == 0 || damaged);
    MUST(damaged || (out.bytes == plain.bytes && (plain.bytes == 0 || memcmp(out.at, plain.at, plain.bytes) == 0)));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, data + bytes };
    struct { size_t at; uint8_t by; } damages[DAMAGES_MAX];
    size_t      pieces[PIECES_MAX], piece_count = take(&input, 1) % PIECES_MAX, damage_count = take(&input, 1) % DAMAGES_MAX;
    size_t      from_bytes = 1 + take(&input, 2), to_bytes = 1 + take(&input, 2);
    bool        same, whole, trusted = true;
    struct span plain, left;
    struct buf  frame;

    for (size_t i = 0; i < piece_count; i++)
        pieces[i] = take(&input, 3);
    for (size_t i = 0; i < damage_count; i++) {
        damages[i].at = take(&input, 2);
        damages[i].by = (uint8_t)take(&input, 1);
    }
    plain = left = plain_make(&input);
    if (plain.bytes > 1 << 16)
        from_bytes += 1 << 12, to_bytes += 1 << 12;
    buf_init(&frame, 2 * PLAIN_BYTES_MAX);
    lz4_frame_begin(&frame);
    for (size_t i = 0; i < piece_count; i++) {
        size_t some = pieces[i] < left.bytes ? pieces[i] : left.bytes;

        lz4_frame_add(&frame, span_of(left.at, some));
        left = span_from(left, some);
    }
    lz4_frame_add(&frame, left);
    lz4_frame_end(&frame, 0, plain.bytes);
    MUST(!frame.failed);

    by_the_pages(buf_span(&frame), plain);
    whole = by_the_library(buf_span(&frame), plain, from_bytes, to_bytes, &same);
    MUST(whole && same);
    by_the_loader(&frame, plain, false);

    for (size_t i = 0; i < damage_count; i++)
        trusted = trusted && is_checked(buf_span(&frame), damages[i].at % frame.bytes);
    for (size_t i = 0; i < damage_count; i++)
        frame.at[damages[i].at % frame.bytes] ^= damages[i].by;
    whole = by_the_library(buf_span(&frame), plain, from_bytes, to_bytes, &same);
    MUST(!whole || same || !trusted);
    by_the_loader(&frame, plain, true);
    buf_fini(&frame);
    free((void *)(uintptr_t)plain.at);
    return 0;
}
