/* wire/json_join_test.c - objects out of members that stand side by side, or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wire/json_join.h"

/* Where its pieces are taken from: "from to" pairs of places in the text, key and value in turn; -1 ends. */
static const struct { const char *name, *text, *want; int pieces[20]; } rows[] = {
    { "none", "", "{}", { -1 } },
    { "one, in one piece", "{\"a\":1}", "{\"a\":1}", { 1, 4, 5, 6, -1 } },
    { "two, in one piece", "{\"a\":1,\"b\":22}", "{\"a\":1,\"b\":22}", { 1, 4, 5, 6, 7, 10, 11, 13, -1 } },
    { "the second alone", "{\"a\":1,\"b\":22}", "{\"b\":22}", { 7, 10, 11, 13, -1 } },
    { "the other way around", "{\"a\":1,\"b\":22}", "{\"b\":22,\"a\":1}", { 7, 10, 11, 13, 1, 4, 5, 6, -1 } },
    { "a value of the other", "{\"a\":1,\"b\":22}", "{\"a\":22,\"b\":1}", { 1, 4, 11, 13, 7, 10, 5, 6, -1 } },
    { "blanks are left out", "{\"a\" :1 ,\"b\": 2}", "{\"a\":1,\"b\":2}", { 1, 4, 6, 7, 9, 12, 14, 15, -1 } },
    { "another mark between them", "[\"a\",1:\"b\"]", "{\"a\":1,\"b\":\"a\"}", { 1, 4, 5, 6, 7, 10, 1, 4, -1 } },
    { "a gap of one byte that is no comma", "{\"a\":1 \"b\":2}", "{\"a\":1,\"b\":2}", { 1, 4, 5, 6, 7, 10, 11, 12, -1 } },
};

static void members(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int       *at = rows[i].pieces;
        uint8_t          to[200];
        struct json_join join;
        size_t           bytes;

        json_join_begin(&join, to);
        for (; *at >= 0; at += 4)
            json_join_member(&join, span_of(rows[i].text + at[0], (size_t)(at[1] - at[0])),
                             span_of(rows[i].text + at[2], (size_t)(at[3] - at[2])));
        bytes = (size_t)(json_join_end(&join) - to);
        if (!span_is(span_of(to, bytes), rows[i].want))
            fail_msg("%s: %.*s", rows[i].name, (int)bytes, (const char *)to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(members) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
