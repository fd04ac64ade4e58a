/* wire/utf8_test.c - RFC 3629 against a decoder written from its table, code point by code point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/utf8.h"

/* All code points, and all that are none: what utf8_put writes is valid, alone and behind 100 bytes. */
static void every_code_point(void **state)
{
    uint8_t text[128];

    (void)state;
    memset(text, 'a', sizeof text);
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        size_t bytes;

        if (point == 0xd800)
            point = 0xe000;
        bytes = utf8_put(point, text + 100);
        assert_int_equal(bytes, point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4);
        assert_true(utf8_valid(span_of(text, 100 + bytes)));
        assert_int_equal(utf8_count(span_of(text, 100 + bytes)), 101);
        assert_int_equal(utf8_count_utf16(span_of(text, 100 + bytes)), point < 0x10000 ? 101 : 102);
        for (size_t cut = 1; cut < bytes; cut++)
            assert_int_equal(utf8_valid_until(span_of(text, 100 + cut)), 100);
    }
}

/* RFC 3629 section 4, one row a line of its grammar. */
static bool sequence_by_rfc(const uint8_t *b, size_t bytes)
{
    static const struct {
        uint8_t bytes, first_low, first_high, second_low, second_high;
    } rows[] = {
        { 1, 0x00, 0x7f, 0, 0 },       { 2, 0xc2, 0xdf, 0x80, 0xbf }, { 3, 0xe0, 0xe0, 0xa0, 0xbf },
        { 3, 0xe1, 0xec, 0x80, 0xbf }, { 3, 0xed, 0xed, 0x80, 0x9f }, { 3, 0xee, 0xef, 0x80, 0xbf },
        { 4, 0xf0, 0xf0, 0x90, 0xbf }, { 4, 0xf1, 0xf3, 0x80, 0xbf }, { 4, 0xf4, 0xf4, 0x80, 0x8f },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (bytes == rows[i].bytes && b[0] >= rows[i].first_low && b[0] <= rows[i].first_high &&
            (bytes < 2 || (b[1] >= rows[i].second_low && b[1] <= rows[i].second_high)) &&
            (bytes < 3 || (b[2] & 0xc0) == 0x80) && (bytes < 4 || (b[3] & 0xc0) == 0x80))
            return true;
    return false;
}

static void every_pair_of_bytes(void **state)
{
    static const uint8_t tails[][2] = { { 0x80, 0xbf }, { 0xbf, 0x80 }, { 0x7f, 0x80 }, { 0x80, 0xc0 }, { 'a', 'b' } };

    (void)state;
    for (unsigned first = 0x80; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            for (size_t t = 0; t < sizeof tails / sizeof tails[0]; t++) {
                uint8_t text[4] = { (uint8_t)first, (uint8_t)second, tails[t][0], tails[t][1] };
                size_t  want = 0;

                for (size_t bytes = 1; bytes <= 4; bytes++)
                    if (sequence_by_rfc(text, bytes))
                        want = bytes;
                assert_int_equal(utf8_sequence(text, text + 4), want);
            }
}

/* A wrong byte is found at its place, wherever that is. */
static void the_first_wrong_byte(void **state)
{
    uint8_t text[300];

    (void)state;
    for (size_t bytes = 1; bytes < sizeof text; bytes++)
        for (size_t place = 0; place < bytes; place++) {
            memset(text, 'a', bytes);
            text[place] = 0xff;
            assert_int_equal(utf8_valid_until(span_of(text, bytes)), place);
            memcpy(text, "\xe2\x82\xac", bytes < 3 ? 0 : 3);
            if (bytes >= 3 && place >= 3)
                assert_int_equal(utf8_valid_until(span_of(text, bytes)), place);
        }
    assert_true(utf8_valid(span_of(NULL, 0)));
}

static void cuts(void **state)
{
    static const struct {
        const char *text;
        size_t      max;
        const char *points, *units;
    } rows[] = {
        { "", 0, "", "" },
        { "abc", 0, "", "" },
        { "abc", 2, "ab", "ab" },
        { "abc", 3, "abc", "abc" },
        { "abc", 9, "abc", "abc" },
        { "a\xc3\xa9\xe2\x82\xac", 2, "a\xc3\xa9", "a\xc3\xa9" },
        { "\xf0\x9f\x98\xb9x", 1, "\xf0\x9f\x98\xb9", "" },
        { "\xf0\x9f\x98\xb9x", 2, "\xf0\x9f\x98\xb9x", "\xf0\x9f\x98\xb9" },
        { "x\xf0\x9f\x98\xb9y", 2, "x\xf0\x9f\x98\xb9", "x" },
        { "x\xf0\x9f\x98\xb9y", 3, "x\xf0\x9f\x98\xb9y", "x\xf0\x9f\x98\xb9" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(span_is(utf8_cut(span_text(rows[i].text), rows[i].max), rows[i].points));
        assert_true(span_is(utf8_cut_utf16(span_text(rows[i].text), rows[i].max), rows[i].units));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(every_pair_of_bytes),
        cmocka_unit_test(the_first_wrong_byte),
        cmocka_unit_test(cuts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
