/* wire/lz4_pack_test.c - what both searches make, LZ4 itself must read, byte for byte, and within the room that was promised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <lz4.h>

#include "wire/lz4_pack.h"

enum { BYTES_MAX = 3 << 20, PAGE = 4096 };

static uint8_t *packed, *back, *guarded_end; /* nothing can be read at guarded_end */

static size_t (*pack)(struct span from, uint8_t *to); /* lz4_pack or lz4_pack_coarse */

static uint64_t dice_state;

static uint64_t dice(void)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return dice_state >> 33;
}

/* The same bytes at the end of a page behind which nothing may be read; gives the bytes of the block. */
static size_t check(const uint8_t *from, size_t bytes)
{
    uint8_t *at = guarded_end - bytes;
    size_t   room = lz4_pack_room(bytes), got;

    if (bytes > 0)
        memmove(at, from, bytes);
    memset(packed + room, 0xa5, 64);
    got = pack(span_of(at, bytes), packed);
    assert_true(got <= room);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(packed[room + i], 0xa5);
    assert_int_equal(LZ4_decompress_safe((const char *)packed, (char *)back, (int)got, BYTES_MAX), (int)bytes);
    assert_memory_equal(back, at, bytes);
    return got;
}

/* LZ4's rules for the end of a block: the last five bytes are literals, and no match begins in the last twelve. */
static void check_end(size_t block, size_t bytes)
{
    size_t at = 0, made = 0;

    for (;;) {
        unsigned token = packed[at++];
        size_t   literals = token >> 4, match = token & 15;

        if (literals == 15)
            do
                literals += packed[at];
            while (packed[at++] == 255);
        at += literals;
        made += literals;
        if (at == block) {
            assert_true(literals >= 5 || bytes < 5);
            assert_int_equal(made, bytes);
            return;
        }
        assert_true(made + 12 <= bytes);
        at += 2;
        if (match == 15)
            do
                match += packed[at];
            while (packed[at++] == 255);
        made += match + 4;
    }
}

static void every_short_length(void **state)
{
    static const char row[] = "{\"uuid\":\"0190b7a4\",\"$browser\":\"Chrome\",\"$os\":\"Mac OS X\"}";
    uint8_t text[600];

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)row[i % (sizeof row - 1)];
    for (size_t bytes = 0; bytes <= sizeof text; bytes++)
        check_end(check(text, bytes), bytes);
}

/* Runs of one byte and periods of all sizes: matches that overlap what they make. */
static void periods(void **state)
{
    static uint8_t text[70000];

    (void)state;
    for (size_t period = 1; period <= 40; period++)
        for (size_t bytes = 100; bytes <= sizeof text; bytes = bytes * 3 + 1) {
            for (size_t i = 0; i < bytes; i++)
                text[i] = (uint8_t)("\"abcdefghijklmnopqrstuvwxyz0123456789{}:,"[i % period]);
            check_end(check(text, bytes), bytes);
        }
}

/* Literals and matches around the lengths at which their numbers need one more byte: 15, 270, 525. */
static void lengths(void **state)
{
    static uint8_t text[4000];
    static const size_t around[] = { 12, 15, 19, 270, 274, 525, 529 };

    (void)state;
    for (size_t m = 0; m < sizeof around / sizeof *around; m++)
        for (size_t l = 0; l < sizeof around / sizeof *around; l++)
            for (size_t off = 0; off < 5; off++) {
                size_t match = around[m] + off - 2, literals = around[l] + off - 2, bytes = 0;

                dice_state = m * 100 + l * 10 + off;
                for (size_t i = 0; i < match; i++)
                    text[bytes++] = i % 16 == 0 ? '"' : (uint8_t)dice();
                for (size_t i = 0; i < literals; i++)
                    text[bytes++] = i % 16 == 0 ? '"' : (uint8_t)dice();
                memcpy(text + bytes, text, match);
                bytes += match;
                for (size_t i = 0; i < 90; i++)
                    text[bytes++] = (uint8_t)dice();
                check_end(check(text, bytes), bytes);
            }
}

/* A match may lie 65535 bytes back, and no further. */
static void distances(void **state)
{
    static uint8_t text[70000];

    (void)state;
    for (size_t distance = 65500; distance < 65600; distance++) {
        size_t bytes = distance + 300;

        dice_state = distance;
        for (size_t i = 0; i < bytes; i++)
            text[i] = (uint8_t)(dice() | 128);
        memcpy(text + 20, "\"$current_url\":\"https://shop.example/\"", 38);
        memcpy(text + 20 + distance, text + 20, 38);
        check_end(check(text, bytes), bytes);
    }
}

/* Bytes that nothing is equal to: no longer than LZ4 itself may become. */
static void noise(void **state)
{
    uint8_t *text = malloc(BYTES_MAX);

    (void)state;
    assert_non_null(text);
    dice_state = 1;
    for (size_t i = 0; i < BYTES_MAX; i++)
        text[i] = (uint8_t)dice();
    for (size_t bytes = 1; bytes <= BYTES_MAX; bytes = bytes * 2 + 1)
        assert_true(check(text, bytes) <= (size_t)LZ4_compressBound((int)bytes));
    free(text);
}

/* Rows as ingest makes them become several times smaller. */
static void rows(void **state)
{
    char  *text = malloc(1 << 20);
    size_t bytes = 0, packed_bytes;

    (void)state;
    assert_non_null(text);
    dice_state = 7;
    for (unsigned i = 0; bytes + 2000 < 1 << 20; i++) {
        unsigned os = (unsigned)dice() % 3, page = (unsigned)dice() % 1000;

        bytes += (size_t)snprintf(text + bytes, 2000,
            "{\"$os\":\"os %u\",\"$browser\":\"Chrome\",\"$current_url\":\"https://shop.example/%u\",\"$insert_id\":\"%08x%08x\","
            "\"$set\":{\"$os\":\"os %u\",\"$browser\":\"Chrome\",\"$current_url\":\"https://shop.example/%u\"},"
            "\"$set_once\":{\"$initial_os\":\"os %u\",\"$initial_browser\":\"Chrome\",\"$initial_current_url\":"
            "\"https://shop.example/%u\"}}", os, page, (unsigned)dice(), (unsigned)dice(), os, page, os, page);
    }
    packed_bytes = check((const uint8_t *)text, bytes);
    assert_true(packed_bytes * 4 < bytes);
    assert_int_equal(check((const uint8_t *)text, bytes), packed_bytes);
    free(text);
}

/* Texts with parts of themselves put together at random. */
static void shuffled(void **state)
{
    static uint8_t text[20000];

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        size_t bytes = 0, want = 1 + (size_t)(round * 7919 % sizeof text);

        dice_state = round;
        while (bytes < want) {
            size_t part = 1 + (size_t)(dice() % 200);

            if (part > want - bytes)
                part = want - bytes;
            if (bytes > 0 && dice() % 3 > 0) {
                size_t from = (size_t)(dice() % bytes);

                for (size_t i = 0; i < part; i++) /* may overlap */
                    text[bytes + i] = text[from + i];
            } else {
                for (size_t i = 0; i < part; i++)
                    text[bytes + i] = dice() % 8 == 0 ? '"' : (uint8_t)('a' + dice() % 26);
            }
            bytes += part;
        }
        check_end(check(text, bytes), bytes);
    }
}

static int memory_make(void **state)
{
    uint8_t *area = mmap(NULL, BYTES_MAX + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    packed = malloc(lz4_pack_room(BYTES_MAX) + 64);
    back = malloc(BYTES_MAX);
    if (area == MAP_FAILED || packed == NULL || back == NULL)
        return -1;
    guarded_end = area + BYTES_MAX;
    return mprotect(guarded_end, PAGE, PROT_NONE);
}

static int memory_free(void **state)
{
    (void)state;
    free(packed);
    free(back);
    return munmap(guarded_end - BYTES_MAX, BYTES_MAX + PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_length), cmocka_unit_test(periods), cmocka_unit_test(lengths),
        cmocka_unit_test(distances), cmocka_unit_test(noise), cmocka_unit_test(rows), cmocka_unit_test(shuffled),
    };

    int failed;

    pack = lz4_pack;
    failed = cmocka_run_group_tests_name("lz4_pack", tests, memory_make, memory_free);
    pack = lz4_pack_coarse;
    return failed + cmocka_run_group_tests_name("lz4_pack_coarse", tests, memory_make, memory_free);
}
