/* wire/white_space_test.c - every character below U+10000 against the lists of the two standards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/utf8.h"
#include "wire/white_space.h"

/* Ranges, both ends included (Unicode 15.1 PropList.txt, ECMA-262 12.2 and 12.3). */
static const struct { unsigned first, last; bool unicode, ecmascript; } white[] = {
    { 0x09, 0x0d, true, true },     { 0x20, 0x20, true, true },     { 0x85, 0x85, true, false },    { 0xa0, 0xa0, true, true },
    { 0x1680, 0x1680, true, true }, { 0x2000, 0x200a, true, true }, { 0x2028, 0x2029, true, true }, { 0x202f, 0x202f, true, true },
    { 0x205f, 0x205f, true, true }, { 0x3000, 0x3000, true, true }, { 0xfeff, 0xfeff, false, true },
};

static void each_character_is_judged(void **state)
{
    (void)state;
    for (unsigned point = 0; point < 0x10000; point++) {
        uint8_t text[5];
        bool    unicode = false, ecmascript = false, surrogate = point >= 0xd800 && point <= 0xdfff;
        size_t  bytes = surrogate ? 0 : utf8_put(point, text);

        if (surrogate)
            continue;
        text[bytes] = 'x';
        for (size_t i = 0; i < sizeof white / sizeof *white; i++)
            if (point >= white[i].first && point <= white[i].last) {
                unicode = white[i].unicode;
                ecmascript = white[i].ecmascript;
            }
        if (white_space_bytes(WHITE_UNICODE, span_of(text, bytes + 1)) != (unicode ? bytes : 0) ||
            white_space_bytes(WHITE_ECMASCRIPT, span_of(text, bytes + 1)) != (ecmascript ? bytes : 0))
            fail_msg("U+%04X", point);
        for (size_t cut = 0; cut < bytes; cut++) { /* a character that ends early is none */
            assert_int_equal(white_space_bytes(WHITE_UNICODE, span_of(text, cut)), 0);
            assert_int_equal(white_space_bytes(WHITE_ECMASCRIPT, span_of(text, cut)), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_character_is_judged) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
