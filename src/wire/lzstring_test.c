/* wire/lzstring_test.c - texts that lz-string 1.5.0 made with compressToBase64, and damage. The whole
 * comparison with it is in tests/differential. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/lzstring.h"

#define UTF16 "failed decompress to UTF16"

static const struct { const char *name, *packed, *text, *error; } rows[] = {
    { "one letter", "IZA=", "a", NULL },
    { "an entry that its own symbol completes", "IY1/EA==", "aaaaaaaaaaaaaaaa", NULL },
    { "two and three bytes", "JeGoIg==", "é€", NULL },
    { "a pair", "IaXg3AB7BGQ=", "a😀b", NULL },
    { "entries that begin and end within pairs", "rwbgA93RAPfEg===", "😀😀😁😀😀", NULL },
    { "NUL", "ABA=", "", NULL },
    { "empty", "Q===", "", NULL },
    { "json", "N4IghiBcCMC+Q===", "{\"a\":1}", NULL },
    { "an event", "N4IgLg9g1gpgdiAXCADgCwMYH0CGAbdHEAGhBgDd4wkQBnASwHM4BXFEkAE3trHrgxgs9TjRYBaAIwgAvkA=",
      "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}", NULL },
    { "without its padding", "IZA", "a", NULL },
    { "B047 high half alone", "gAbQ", "\xef\xbf\xbd", NULL },
    { "B047 the halves the wrong way round", "gA7gANo=", "\xef\xbf\xbd\xef\xbf\xbd", NULL },
    { "B047 high half at the end", "B6Xg2g==", "x\xef\xbf\xbd", NULL },
    { "nothing", "", NULL, UTF16 },
    { "padding alone", "==", NULL, UTF16 },
    { "cut off", "N4IgLg9g1gpgdi", NULL, UTF16 },
    { "first symbol of no kind", "wAAA", NULL, UTF16 },
    { "spaces where + was", "N4IghiBcCMC Q===", NULL, UTF16 },
    { "not base64", "{\"a\":1}", NULL, UTF16 },
    { "padding inside", "IZ=A", NULL, UTF16 },
    { "bytes above 127", "IZ\xc3\xa4", NULL, UTF16 },
};

static void texts_are_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = { 0 };
        struct buf out;
        size_t     bytes = rows[i].text == NULL ? 0 : strlen(rows[i].text) + (strcmp(rows[i].name, "NUL") == 0);
        int        rc;

        buf_init(&out, 200);
        buf_add_text(&out, "before");
        rc = lzstring_decode_base64(span_text(rows[i].packed), &out, &err);
        if (rc != (rows[i].error != NULL ? -1 : 0) || (rc != 0 && strcmp(err.text, rows[i].error) != 0) ||
            !span_equal(span_from(buf_span(&out), 6), span_of(rows[i].text, bytes)))
            fail_msg("%s: %d %s, %zu bytes", rows[i].name, rc, err.text, out.bytes - 6);
        assert_int_equal(err.kind, rc == 0 ? ERR_NONE : ERR_INPUT);
        buf_fini(&out);

        /* The ceiling is exact, in UTF-8 bytes, and the buffer never keeps more. */
        for (size_t cap = 0; rc == 0 && cap <= bytes; cap++) {
            buf_init(&out, cap);
            assert_int_equal(lzstring_decode_base64(span_text(rows[i].packed), &out, &err), cap < bytes ? -1 : 0);
            assert_true(cap == bytes || err.kind == ERR_FULL);
            assert_int_equal(out.bytes, cap < bytes ? 0 : bytes);
            assert_true(out.size <= cap && out.bytes_max == cap && !out.failed);
            buf_fini(&out);
        }
    }
}

/* B036: a stream that ends nowhere and grows with every symbol: always the entry that it completes. */
static void bombs_stop_at_the_ceiling(void **state)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static char       text[40000];
    size_t            bits = 0, bytes = 0;
    unsigned          digit = 0, width = 3, next = 4;
    struct err        err = { 0 };
    struct buf        out;

    (void)state;
#define PUT(number, count)                                                                                             \
    for (unsigned b = 0; b < (count); b++) {                                                                           \
        digit = digit << 1 | ((number) >> b & 1);                                                                      \
        if (++bits % 6 == 0) {                                                                                         \
            text[bytes++] = digits[digit & 63];                                                                        \
            digit = 0;                                                                                                 \
        }                                                                                                              \
    }
    PUT(0u, 2)
    PUT((unsigned)'a', 8)
    for (unsigned left = 4; bytes < 30000; next++) {
        PUT(next, width)
        if (--left == 0)
            left = 1u << width++;
    }
    buf_init(&out, 20 << 20); /* 1 + 2 + 3 ... passes 20 MiB at the 6,476th symbol */
    assert_int_equal(lzstring_decode_base64(span_of(text, bytes), &out, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    assert_int_equal(out.bytes, 0);
    assert_true(out.size <= 20 << 20);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_decoded),
        cmocka_unit_test(bombs_stop_at_the_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
