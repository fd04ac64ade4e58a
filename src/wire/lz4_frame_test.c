/* wire/lz4_frame_test.c - LZ4's own reader of frames takes what is made here, byte for byte, and notices a byte that changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lz4frame.h>

#include "wire/lz4_frame.h"

enum { BYTES_MAX = 8 << 20 };

static uint8_t *plain, *back;

/* 0: `bytes` came out; else LZ4 refuses the frame or wants more. */
static int unpack(struct span frame, size_t bytes)
{
    LZ4F_dctx *reader = NULL;
    size_t     at = 0, made_all = 0, hint = 1;
    int        rc = -1;

    assert_false(LZ4F_isError(LZ4F_createDecompressionContext(&reader, LZ4F_VERSION)));
    while (at < frame.bytes && hint != 0) {
        size_t taken = frame.bytes - at, made = BYTES_MAX - made_all;

        hint = LZ4F_decompress(reader, back + made_all, &made, frame.at + at, &taken, NULL);
        if (LZ4F_isError(hint))
            goto out;
        at += taken;
        made_all += made;
    }
    rc = hint == 0 && at == frame.bytes && made_all == bytes && (bytes == 0 || memcmp(back, plain, bytes) == 0) ? 0 : -1;
out:
    (void)LZ4F_freeDecompressionContext(reader);
    return rc;
}

enum content { TEXT, NOISE, ZEROS };

static void fill(enum content content, size_t bytes)
{
    uint64_t dice = 1;

    for (size_t i = 0; i < bytes; i++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407;
        plain[i] = content == ZEROS ? 0 : content == NOISE ? (uint8_t)(dice >> 56) : (uint8_t)"{\"browser\":\"Firefox\",\"n\":  },"[i % 29];
        if (content == TEXT && i % 29 == 25)
            plain[i] = (uint8_t)('0' + (dice >> 60));
    }
}

static void frame_make(struct buf *frame, size_t bytes, size_t piece)
{
    buf_reset(frame);
    lz4_frame_begin(frame);
    for (size_t at = 0; at < bytes; at += piece)
        lz4_frame_add(frame, span_of(plain + at, bytes - at < piece ? bytes - at : piece));
    lz4_frame_end(frame, 0, bytes);
    assert_false(frame->failed);
}

static const struct { const char *name; enum content content; size_t bytes, piece; double most; } rows[] = {
    { "nothing",                                 TEXT,  0,                             1,                         0 },
    { "one byte stands as it is",                TEXT,  1,                             1,                         17 },
    { "noise stands as it is",                   NOISE, 300000,                        300000,                    1.0001 },
    { "noise longer than a block",               NOISE, 3 * LZ4_FRAME_BLOCK_BYTES + 7, BYTES_MAX,                 1.0001 },
    { "text becomes small",                      TEXT,  300000,                        300000,                    0.5 },
    { "text longer than a block",                TEXT,  5 * LZ4_FRAME_BLOCK_BYTES - 1, BYTES_MAX,                 0.5 },
    { "exactly a block",                         TEXT,  LZ4_FRAME_BLOCK_BYTES,         LZ4_FRAME_BLOCK_BYTES,     0.5 },
    { "a byte more than a block",                TEXT,  LZ4_FRAME_BLOCK_BYTES + 1,     LZ4_FRAME_BLOCK_BYTES + 1, 0.5 },
    { "pieces of their own",                     TEXT,  100000,                        777,                       2 },
    { "zeros",                                   ZEROS, BYTES_MAX,                     BYTES_MAX,                 0.01 },
};

static void test_read_by_lz4(void **state)
{
    struct buf frame;

    (void)state;
    buf_init(&frame, 2 * BYTES_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fill(rows[i].content, rows[i].bytes);
        frame_make(&frame, rows[i].bytes, rows[i].piece);
        if (unpack(buf_span(&frame), rows[i].bytes) < 0)
            fail_msg("%s: LZ4 reads something else", rows[i].name);
        if ((double)frame.bytes > (double)rows[i].bytes * rows[i].most + 24)
            fail_msg("%s: %zu bytes", rows[i].name, frame.bytes);
    }
    buf_fini(&frame);
}

/* LZ4 is content with it, whatever comes out. */
static bool is_taken(struct span frame)
{
    LZ4F_dctx *reader = NULL;
    size_t     at = 0, made_all = 0, hint = 1;

    assert_false(LZ4F_isError(LZ4F_createDecompressionContext(&reader, LZ4F_VERSION)));
    while (at < frame.bytes && hint != 0 && !LZ4F_isError(hint)) {
        size_t taken = frame.bytes - at, made = BYTES_MAX - made_all;

        hint = LZ4F_decompress(reader, back + made_all, &made, frame.at + at, &taken, NULL);
        at += taken;
        made_all += made;
    }
    (void)LZ4F_freeDecompressionContext(reader);
    return hint == 0;
}

/* Of a packed block and of one that stands as it is, each bit: by LZ4 itself, who has no copy of the content. */
static void test_damage_is_noticed(void **state)
{
    static const enum content contents[] = { TEXT, NOISE };
    struct buf frame;

    (void)state;
    buf_init(&frame, 2 * BYTES_MAX);
    for (size_t i = 0; i < 2; i++) {
        fill(contents[i], 600);
        frame_make(&frame, 600, 600);
        assert_true(is_taken(buf_span(&frame)));
        for (size_t bit = 0; bit < 8 * frame.bytes; bit++) {
            frame.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (is_taken(buf_span(&frame)))
                fail_msg("content %zu: bit %zu of byte %zu may change unnoticed", i, bit % 8, bit / 8);
            frame.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t bytes = 0; bytes < frame.bytes; bytes++)
            assert_int_equal(unpack(span_of(frame.at, bytes), 600), -1);
    }
    buf_fini(&frame);
}

static void test_no_room_fails(void **state)
{
    struct buf frame;

    (void)state;
    fill(NOISE, 5000);
    for (size_t room = 0; room < 5000; room += 100) {
        buf_init(&frame, room);
        lz4_frame_begin(&frame);
        lz4_frame_add(&frame, span_of(plain, 5000));
        lz4_frame_end(&frame, 0, 5000);
        assert_true(frame.failed);
        assert_true(frame.bytes <= room);
        buf_fini(&frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_by_lz4),
        cmocka_unit_test(test_damage_is_noticed),
        cmocka_unit_test(test_no_room_fails),
    };
    int rc;

    plain = malloc(BYTES_MAX);
    back = malloc(BYTES_MAX);
    if (plain == NULL || back == NULL)
        abort();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(plain);
    free(back);
    return rc;
}
