/* wire/unpack_test.c - bodies as zlib (Python), zstd (its own tool) and brotli (node) made them, whole, cut
 * off, damaged, and bombs, each at a ceiling just right and just too low. Bytes are in hexadecimal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/unpack.h"

#define HELLO "hello hello hello hello"
#define GZIP "1f8b0800000000000203cb48cdc9c9070086a6103605000000"
#define ZLIB "78dacb48cdc9c957c8402701680308b1"
#define BARE "cb48cdc9c957c8402701"
#define ZSTD "28b52ffd04586500003068656c6c6f200100994b11175eae0d"
#define ZSTD_UNCHECKED "28b52ffd00586500003068656c6c6f200100994b11"
#define ZSTD_EMPTY "28b52ffd240001000099e9d851"
#define BROTLI "1b1600f88d946ede445586966c206f214f1ce038"

static const struct { const char *name; enum unpack_coding coding; const char *hex, *text; enum err_kind kind; } rows[] = {
    { "none", UNPACK_NONE, "7b7d", "{}", ERR_NONE },
    { "none, empty", UNPACK_NONE, "", "", ERR_NONE },
    { "gzip", UNPACK_GZIP, GZIP, "hello", ERR_NONE },
    { "gzip that is none", UNPACK_GZIP, ZLIB ZLIB, NULL, ERR_INPUT },
    { "deflate in zlib", UNPACK_DEFLATE, ZLIB, HELLO, ERR_NONE },
    { "deflate, bare", UNPACK_DEFLATE, BARE, HELLO, ERR_NONE },
    { "deflate, stored", UNPACK_DEFLATE, "010200fdff7b7d", "{}", ERR_NONE },
    { "deflate of nothing", UNPACK_DEFLATE, "0300", "", ERR_NONE },
    { "deflate, empty", UNPACK_DEFLATE, "", NULL, ERR_INPUT },
    { "deflate, bad adler", UNPACK_DEFLATE, "78dacb48cdc9c957c8402701680308b2", NULL, ERR_INPUT },
    { "deflate, zlib cut off", UNPACK_DEFLATE, "78dacb48cdc9c957c8", NULL, ERR_INPUT },
    { "deflate, bare cut off", UNPACK_DEFLATE, "cb48cdc9c957c840", NULL, ERR_INPUT },
    { "deflate, more behind zlib", UNPACK_DEFLATE, ZLIB "00", NULL, ERR_INPUT },
    { "deflate, more behind bare", UNPACK_DEFLATE, BARE "00", NULL, ERR_INPUT },
    { "deflate, rubbish", UNPACK_DEFLATE, "7b7d7b7d7b7d", NULL, ERR_INPUT },
    { "zstd", UNPACK_ZSTD, ZSTD, HELLO, ERR_NONE },
    { "zstd without checksum", UNPACK_ZSTD, ZSTD_UNCHECKED, HELLO, ERR_NONE },
    { "zstd of nothing", UNPACK_ZSTD, ZSTD_EMPTY, "", ERR_NONE },
    { "zstd, two frames and a skippable one", UNPACK_ZSTD, ZSTD "502a4d180200000000ff" ZSTD_UNCHECKED, HELLO HELLO, ERR_NONE },
    { "zstd, empty", UNPACK_ZSTD, "", NULL, ERR_INPUT },
    { "zstd, bad checksum", UNPACK_ZSTD, "28b52ffd04586500003068656c6c6f200100994b11175eae0e", NULL, ERR_INPUT },
    { "zstd, cut off in the checksum", UNPACK_ZSTD, "28b52ffd04586500003068656c6c6f200100994b11175eae", NULL, ERR_INPUT },
    { "zstd, cut off in a block", UNPACK_ZSTD, "28b52ffd04586500003068656c", NULL, ERR_INPUT },
    { "zstd, cut off in the second frame", UNPACK_ZSTD, ZSTD "28b52ffd0458", NULL, ERR_INPUT },
    { "zstd, rubbish behind", UNPACK_ZSTD, ZSTD "7b7d", NULL, ERR_INPUT },
    { "zstd, window of 128 MiB", UNPACK_ZSTD, "28b52ffd00883d000008000100200542", NULL, ERR_INPUT },
    { "br", UNPACK_BROTLI, BROTLI, HELLO, ERR_NONE },
    { "br of nothing", UNPACK_BROTLI, "3b", "", ERR_NONE },
    { "br, empty", UNPACK_BROTLI, "", NULL, ERR_INPUT },
    { "br, cut off", UNPACK_BROTLI, "1b1600f88d946ede445586966c206f214f1ce0", NULL, ERR_INPUT },
    { "br, more behind", UNPACK_BROTLI, BROTLI "00", NULL, ERR_INPUT },
    { "br, rubbish", UNPACK_BROTLI, "ffffffff", NULL, ERR_INPUT },
};

/* 100,000 zeros each. */
static const struct { const char *name; enum unpack_coding coding; const char *hex; } bombs[] = {
    { "zlib", UNPACK_DEFLATE,
      "78daedc13101000000c2a0f54f6d0d0fa000000000000000000000000000000000000000000000000000000000000000000000000000"
      "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
      "000000000080570386af0001" },
    { "zstd", UNPACK_ZSTD, "28b52ffd005855000010000001009b8639c002" },
    { "br", UNPACK_BROTLI, "5b9f86817f02201e0b04b2fc0200" },
};

static const struct { const char *name; bool good; enum unpack_coding coding; } codings[] = {
    { "", true, UNPACK_NONE },      { "identity", true, UNPACK_NONE }, { "gzip", true, UNPACK_GZIP },
    { "GZip", true, UNPACK_GZIP },  { "deflate", true, UNPACK_DEFLATE }, { "br", true, UNPACK_BROTLI },
    { "ZSTD", true, UNPACK_ZSTD },  { "lz4", false, 0 },               { "gzip, gzip", false, 0 },
    { "x-gzip", false, 0 },         { "gzi", false, 0 },
};

static struct inflate *inflate;

/* An exact copy on the heap, so that a read past its end is seen. */
static struct span unhex(const char *hex)
{
    size_t   bytes = strlen(hex) / 2;
    uint8_t *at = malloc(bytes + (bytes == 0));

    for (size_t i = 0; i < bytes; i++) {
        char digits[3] = { hex[2 * i], hex[2 * i + 1], 0 };

        at[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return span_of(at, bytes);
}

static int unpack(enum unpack_coding coding, const char *hex, size_t bytes_max, struct buf *out, struct err *err)
{
    struct span body = unhex(hex);
    int         rc;

    buf_init(out, bytes_max);
    *err = (struct err){ 0 };
    rc = unpack_body(inflate, coding, body, out, err);
    free((void *)(uintptr_t)body.at);
    return rc;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t     needed = rows[i].text == NULL ? 1000 : strlen(rows[i].text);
        struct buf out;
        struct err err;

        if ((unpack(rows[i].coding, rows[i].hex, needed, &out, &err) == 0) != (rows[i].kind == ERR_NONE) ||
            err.kind != rows[i].kind)
            fail_msg("%s: kind %d, %s", rows[i].name, err.kind, err.text);
        if (rows[i].text != NULL && !span_is(buf_span(&out), rows[i].text))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&out)));
        buf_fini(&out);
        for (size_t less = rows[i].text == NULL ? 0 : needed; less > 0; less--) {
            if (unpack(rows[i].coding, rows[i].hex, less - 1, &out, &err) == 0 || err.kind != ERR_FULL)
                fail_msg("%s: %zu bytes went into %zu", rows[i].name, needed, less - 1);
            assert_true(out.size <= (less < 256 ? 256 : less));
            buf_fini(&out);
        }
    }
}

static void test_bombs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct buf out;
        struct err err;

        if (unpack(bombs[i].coding, bombs[i].hex, 100000, &out, &err) < 0 || out.bytes != 100000)
            fail_msg("%s: %zu bytes, %s", bombs[i].name, out.bytes, err.text);
        buf_fini(&out);
        if (unpack(bombs[i].coding, bombs[i].hex, 99999, &out, &err) == 0 || err.kind != ERR_FULL)
            fail_msg("%s: went into 99999", bombs[i].name);
        assert_true(out.size <= 99999);
        buf_fini(&out);
    }
}

static void test_codings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
        enum unpack_coding coding = UNPACK_NONE;
        bool               good = unpack_coding_find(span_text(codings[i].name), &coding);

        if (good != codings[i].good || (good && coding != codings[i].coding))
            fail_msg("%s", codings[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_codings),
    };
    int failed;

    inflate = inflate_new();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    inflate_free(inflate);
    return failed;
}
