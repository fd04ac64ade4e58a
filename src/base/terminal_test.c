/* base/terminal_test.c - what a terminal obeys, by ECMA-48 and UAX #9, as rows of facts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/terminal.h"

static const struct fact { const char *name, *text, *shown; } facts[] = {
    { "nothing", "", "" },
    { "what is no control", "{\"a\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xc2\xa0\"}", "{\"a\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xc2\xa0\"}" },
    { "line ends and tabs", "a\tb\nc\n", "a\tb\nc\n" },
    { "DEL", "\"\x7f\"", "\"\\u007f\"" },
    { "CSI of one character, and the first and last of C1", "\"\xc2\x9b" "31m\xc2\x80\xc2\x9f\"", "\"\\u009b31m\\u0080\\u009f\"" },
    { "an override, and its end", "\"\xe2\x80\xae" "abc\xe2\x80\xac\"", "\"\\u202eabc\\u202c\"" },
    { "isolates", "\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069" },
    { "marks", "\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\\u200e\\u200f\\u061c" },
    { "ends of lines and paragraphs", "\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029" },
    { "their neighbours", "\xe2\x80\x8d\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\xd8\x9b\xd8\x9d", "\xe2\x80\x8d\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\xd8\x9b\xd8\x9d" },
    { "half a character", "\xc2", "\xc2" },
    { "two thirds of one", "\xe2\x80", "\xe2\x80" },
};

static void what_is_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        struct buf out;

        buf_init(&out, 1000);
        terminal_write_json(&out, span_text(facts[i].text));
        if (!span_equal(buf_span(&out), span_text(facts[i].shown)))
            fail_msg("%s: %.*s", facts[i].name, SPAN_ARG(buf_span(&out)));
        buf_fini(&out);
    }
}

static void which_it_is(void **state)
{
    uint32_t point;
    size_t   bytes;

    (void)state;
    assert_true(terminal_obeys(SPAN("\x1b[2J"), &point, &bytes));
    assert_int_equal(point, 0x1b);
    assert_int_equal(bytes, 1);
    assert_true(terminal_obeys(SPAN("\xc2\x9b"), &point, &bytes));
    assert_int_equal(point, 0x9b);
    assert_int_equal(bytes, 2);
    assert_true(terminal_obeys(SPAN("\xe2\x80\xaex"), &point, &bytes));
    assert_int_equal(point, 0x202e);
    assert_int_equal(bytes, 3);
    assert_false(terminal_obeys(SPAN("a"), &point, &bytes));
    assert_false(terminal_obeys(SPAN(""), &point, &bytes));
    assert_int_equal(bytes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_shown), cmocka_unit_test(which_it_is) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
