/* people/place_test.c - the stored place in every form that a data folder may hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/lmdb.h"

/* A value as the drawing in place.c says. */
static size_t form(uint8_t *to, unsigned version, unsigned outputs, unsigned counters, const uint64_t *numbers, size_t count)
{
    size_t bytes = 8 + 8 * count;

    to[0] = (uint8_t)version;
    to[1] = (uint8_t)outputs;
    bytes_put_u16(to + 2, (uint16_t)counters);
    for (size_t i = 0; i < count; i++)
        bytes_put_u64(to + 8 + 8 * i, numbers[i]);
    bytes_put_u32(to + 4, crc32c(0, span_of(to + 8, bytes - 8)));
    return bytes;
}

static void test_one_input(void **state)
{
    uint64_t            numbers[] = { 41, 100, 101, 102, 7, 8, 9 };
    uint8_t             bytes[100];
    struct people_place place;
    struct err          err = { 0 };

    (void)state;
    assert_int_equal(people_place_read(span_of(bytes, form(bytes, 1, 3, 3, numbers, 7)), &place, &err), 0);
    assert_true(place.input_next[0] == 41 && place.input_next[1] == 0 && place.input_next[2] == 0 && place.input_next[3] == 0);
    assert_true(place.output_end[0] == 100 && place.output_end[2] == 102 && place.output_end[3] == 0);
    assert_true(place.counters[0] == 7 && place.counters[2] == 9 && place.counters[3] == 0);
}

static void test_inputs(void **state)
{
    uint64_t            numbers[] = { 2, 41, 42, 100, 7, 8 };
    uint8_t             bytes[100];
    struct people_place place;
    struct err          err = { 0 };

    (void)state;
    assert_int_equal(people_place_read(span_of(bytes, form(bytes, 2, 1, 2, numbers, 6)), &place, &err), 0);
    assert_true(place.input_next[0] == 41 && place.input_next[1] == 42 && place.input_next[2] == 0);
    assert_true(place.output_end[0] == 100 && place.output_end[1] == 0 && place.counters[1] == 8);
}

static void test_refused(void **state)
{
    static const struct { const char *what; unsigned version, outputs, counters; uint64_t first; size_t count; int spoil; enum err_kind kind; } rows[] = {
        { "no version",                   0, 1, 1, 1, 4, -1, ERR_CORRUPT },
        { "a later version",              3, 1, 1, 1, 4, -1, ERR_INPUT },
        { "more inputs than are known",   2, 1, 1, PEOPLE_INPUTS_MAX + 1, 4, -1, ERR_INPUT },
        { "more outputs than are known",  2, PEOPLE_OUTPUTS_MAX + 1, 1, 1, 4, -1, ERR_INPUT },
        { "more counters than are known", 1, 1, PEOPLE_COUNTERS_MAX + 1, 1, 4, -1, ERR_INPUT },
        { "a number is missing",          2, 1, 1, 1, 3, -1, ERR_CORRUPT },
        { "a number too many",            1, 1, 1, 1, 4, -1, ERR_CORRUPT },
        { "inputs beyond all bytes",      2, 1, 1, UINT64_MAX, 4, -1, ERR_INPUT },
        { "a flipped bit",                2, 1, 1, 1, 4, 20, ERR_CORRUPT },
        { "a flipped bit, older form",    1, 1, 1, 1, 3, 9, ERR_CORRUPT },
        { "nothing",                      1, 0, 0, 0, 0, -1, ERR_CORRUPT },
    };
    uint8_t bytes[100];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t            numbers[5] = { rows[i].first, 3, 4, 5, 6 };
        size_t              count = form(bytes, rows[i].version, rows[i].outputs, rows[i].counters, numbers, rows[i].count);
        struct people_place place = { .input_next = { 77 } };
        struct err          err = { 0 };

        if (rows[i].spoil >= 0)
            bytes[rows[i].spoil] ^= 1;
        if (people_place_read(span_of(bytes, count), &place, &err) != -1 || err.kind != rows[i].kind || place.input_next[0] != 77)
            fail_msg("%s: %s", rows[i].what, err.text);
    }
}

static void test_flags(void **state)
{
    uint64_t           numbers[] = { 11, 41, 12, 42 };
    uint8_t            bytes[100];
    struct people_flag flags[PEOPLE_FLAGS_MAX];
    struct err         err = { 0 };
    size_t             bytes_count = form(bytes, 1, 0, 0, numbers, 4), count = 99;

    (void)state;
    assert_int_equal(people_flags_read(span_of(bytes, bytes_count), flags, &count, &err), 0);
    assert_true(count == 2 && flags[0].key == 11 && flags[0].last == 41 && flags[1].key == 12 && flags[1].last == 42);
    assert_int_equal(people_flags_read(span_of(bytes, form(bytes, 1, 0, 0, numbers, 0)), flags, &count, &err), 0);
    assert_int_equal(count, 0);
    assert_int_equal(people_flags_read(span_of(bytes, form(bytes, 1, 0, 0, numbers, 3)), flags, &count, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_int_equal(people_flags_read(span_of(bytes, form(bytes, 2, 0, 0, numbers, 4)), flags, &count, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    bytes_count = form(bytes, 1, 0, 0, numbers, 4);
    bytes[17] ^= 4;
    assert_int_equal(people_flags_read(span_of(bytes, bytes_count), flags, &count, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_int_equal(people_flags_read(span_of(bytes, 0), flags, &count, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_input), cmocka_unit_test(test_inputs), cmocka_unit_test(test_refused),
                                        cmocka_unit_test(test_flags) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
