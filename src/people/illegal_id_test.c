/* people/illegal_id_test.c - ids that everybody uses, and those that only look so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "people/batch.h"

static void illegal_ids(void **state)
{
    static const struct {
        struct span id;
        bool illegal;
    } rows[] = {
        /* vector B30 among them */
        { SPAN("anonymous"), true },
        { SPAN("Anonymous"), true },
        { SPAN("GUEST"), true },
        { SPAN("distinctid"), true },
        { SPAN("distinct_id"), true },
        { SPAN("id"), true },
        { SPAN("not_authenticated"), true },
        { SPAN("email"), true },
        { SPAN("undefined"), true },
        { SPAN("UNDEFINED"), true },
        { SPAN("true"), true },
        { SPAN("FALSE"), true },
        { SPAN("[object Object]"), true },
        { SPAN("[OBJECT OBJECT]"), false },
        { SPAN("NaN"), true },
        { SPAN("Nan"), false },
        { SPAN("nan"), false },
        { SPAN("None"), true },
        { SPAN("none"), true },
        { SPAN("NONE"), false },
        { SPAN("null"), true },
        { SPAN("NULL"), false },
        { SPAN("0"), true },
        { SPAN("00"), false },
        { SPAN("'0'"), true },
        { SPAN("\"undefined\""), true },
        { SPAN("ID"), true },
        { SPAN("TRUE"), true },
        { SPAN("Guest"), true },
        { SPAN("\"null\""), true },
        { SPAN("'null\""), false },
        { SPAN("\"Guest\""), true },
        { SPAN("''null''"), false },
        { SPAN(" null "), false },
        { SPAN(""), true },
        { SPAN(" \t\n\v\f\r"), true },
        { SPAN("\xc2\xa0\xe3\x80\x80\xef\xbb\xbf\xe2\x80\x83"), true },
        { SPAN("\xc2\xa0"
               "a"),
          false },
        { SPAN("a\0b"), true }, /* vector E34 */
        { SPAN("\0"), true },
        { SPAN("a@b.example"), false },
        { SPAN("'"), false },
        { SPAN("\xc2"), false },
    };
    char long_id[802];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (people_id_is_illegal(rows[i].id) != rows[i].illegal)
            fail_msg("%.*s", SPAN_ARG(rows[i].id));
    /* vector E34 */
    for (size_t i = 0; i < sizeof long_id; i += 2)
        memcpy(long_id + i, "\xc3\xa9", 2);
    assert_false(people_id_is_illegal(span_of(long_id, 800))); /* 400 code points */
    assert_true(people_id_is_illegal(span_of(long_id, 802)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(illegal_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
