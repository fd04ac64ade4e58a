/* event/unit_ends_test.c - what is written is read; nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "event/unit_ends.h"

static void what_is_written_is_read(void **state)
{
    static const struct unit_ends ends[] = { { 1, { 5, 0, 7 } }, { 40, { UINT64_MAX, 1, 2 } }, { UINT32_MAX, { 0 } } };
    struct unit_ends              got;
    struct err                    err = { 0 };
    struct buf                    text;
    struct span                   left;

    (void)state;
    buf_init(&text, 1000);
    for (size_t i = 0; i < 3; i++)
        unit_ends_add(&text, &ends[i], 3);
    assert_true(span_is(buf_span(&text), "1:5,0,7;40:18446744073709551615,1,2;4294967295:0,0,0"));
    left = buf_span(&text);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(unit_ends_next(&left, &got, &err), 1);
        assert_memory_equal(&got.end, &ends[i].end, sizeof got.end);
        assert_int_equal(got.unit, ends[i].unit);
    }
    assert_int_equal(unit_ends_next(&left, &got, &err), 0);
    buf_fini(&text);
}

static void what_is_none_is_refused(void **state)
{
    static const char *const wrong[] = { "x", "1", "1:", ":1", "1:,", "1:1,", "1:1;", ";1:1", "1:18446744073709551616", "4294967296:1",
                                         "1:-1", "1:1 ", "1:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17" };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct span      left = span_text(wrong[i]);
        struct unit_ends got;
        struct err       err = { 0 };

        if (unit_ends_next(&left, &got, &err) != -1)
            fail_msg("\"%s\" was read", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
