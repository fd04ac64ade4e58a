/* event/control_test.c - requests of operators: what is written is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/control.h"

static const struct span ids[] = { SPAN("alice"), SPAN(""), SPAN("\xe5\x90\x8d") };

static size_t write_one(uint8_t *to)
{
    struct control control = { .kind = CONTROL_DELETE, .flags = CONTROL_WITH_EVENTS, .project = 7, .asked_us = -5,
                               .request = 99, .by = SPAN("operator"), .id_count = 3 };

    memset(control.person.bytes, 0xab, sizeof control.person.bytes);
    control_write(&control, ids, to);
    return control_bytes(&control, ids);
}

static void is_read_as_written(void **state)
{
    uint8_t        bytes[200];
    size_t         count = write_one(bytes), at = 0;
    struct control got;
    struct span    id;
    struct err     err = { 0 };

    (void)state;
    assert_int_equal(count, 44 + 8 + 2 + 5 + 2 + 2 + 3);
    assert_int_equal(control_read(span_of(bytes, count), &got, &err), 0);
    assert_true(got.kind == CONTROL_DELETE && got.flags == CONTROL_WITH_EVENTS && got.project == 7);
    assert_true(got.asked_us == -5 && got.request == 99 && got.person.bytes[15] == 0xab);
    assert_true(span_is(got.by, "operator"));
    for (size_t i = 0; i < 3; i++) {
        assert_true(control_id(&got, &at, &id));
        assert_true(span_equal(id, ids[i]));
    }
    assert_false(control_id(&got, &at, &id));
    assert_string_equal(control_kind_name(3), "split");
    assert_null(control_kind_name(0));
}

static void everything_else_is_refused(void **state)
{
    static const struct { size_t at; uint8_t byte; } rows[] = {
        { 0, 2 }, { 1, 0 }, { 1, 4 }, { 2, 8 }, { 3, 1 }, { 40, 9 }, { 41, 1 }, { 42, 2 }, { 42, 4 }, { 44, 0xff },
        { 52, 6 }, { 54, 0xc0 },
    };
    uint8_t        bytes[200];
    size_t         count = write_one(bytes);
    struct control got;
    struct err     err = { 0 };

    (void)state;
    for (size_t cut = 0; cut < count; cut++) {
        uint8_t *exact = malloc(cut + 1);

        memcpy(exact, bytes, cut);
        assert_int_equal(control_read(span_of(exact, cut), &got, &err), -1);
        assert_int_equal(err.kind, ERR_CORRUPT);
        free(exact);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t kept = bytes[rows[i].at];

        bytes[rows[i].at] = rows[i].byte;
        assert_int_equal(control_read(span_of(bytes, count), &got, &err), -1);
        bytes[rows[i].at] = kept;
    }
    bytes[count] = 0;
    assert_int_equal(control_read(span_of(bytes, count + 1), &got, &err), -1);
}

/* Who was erased is noted of a deletion alone. */
static void erased_is_of_a_deletion(void **state)
{
    struct control control = { .kind = CONTROL_DELETE, .flags = CONTROL_WITH_EVENTS | CONTROL_ERASED, .request = 3 }, got;
    uint8_t        bytes[CONTROL_HEAD_BYTES];
    struct err     err = { 0 };

    (void)state;
    control_write(&control, NULL, bytes);
    assert_int_equal(control_read(span_of(bytes, sizeof bytes), &got, &err), 0);
    assert_int_equal(got.flags, CONTROL_WITH_EVENTS | CONTROL_ERASED);
    bytes[1] = CONTROL_SPLIT;
    assert_int_equal(control_read(span_of(bytes, sizeof bytes), &got, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
}

static void bounds(void **state)
{
    static uint8_t text[CONTROL_ID_BYTES_MAX + 1];
    struct span    id = span_of(text, sizeof text);
    struct control control = { .kind = CONTROL_SPLIT, .id_count = 1 };

    (void)state;
    assert_int_equal(control_bytes(&control, &id), 0);
    id.bytes--;
    assert_int_equal(control_bytes(&control, &id), CONTROL_HEAD_BYTES + 2 + CONTROL_ID_BYTES_MAX);
    control.by = span_of(text, CONTROL_BY_BYTES_MAX + 1);
    assert_int_equal(control_bytes(&control, &id), 0);
    control.by.bytes = 0;
    control.id_count = CONTROL_IDS_MAX + 1;
    assert_int_equal(control_bytes(&control, &id), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_as_written),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(erased_is_of_a_deletion),
        cmocka_unit_test(bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
