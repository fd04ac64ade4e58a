/* ingest/tally_test.c - each key has one row, however many there are and in which order they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/tally.h"
#include "wire/time.h"

static void test_keys(void **state)
{
    static const struct { const char *name; uint32_t project; int64_t received_us; uint32_t hour; } rows[] = {
        { "the first microsecond of an hour", 7, 474800 * TIME_US_HOUR, 474800 },
        { "its last one", 7, 474801 * TIME_US_HOUR - 1, 474800 },
        { "the next hour", 7, 474801 * TIME_US_HOUR, 474801 },
        { "another project", 8, 474800 * TIME_US_HOUR, 474800 },
        { "a clock that was never set", 7, 5, 1 },
        { "a time before 1970", 7, -5, 1 },
    };
    struct arena *arena = arena_new(1 << 16, 1 << 24);
    struct tally  tally;
    struct err    err = { 0 };
    size_t        row;

    (void)state;
    tally_init(&tally, arena);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(tally_find(&tally, rows[i].project, rows[i].received_us, &row, &err), 0);
        if (tally.rows[row].project != rows[i].project || tally.rows[row].hour != rows[i].hour)
            fail_msg("%s: %u/%u", rows[i].name, tally.rows[row].project, tally.rows[row].hour);
    }
    assert_int_equal(tally.count, 4); /* two pairs of them are one key each */
    arena_free(arena);
}

static void test_many_keys(void **state)
{
    enum { PROJECTS = 300, HOURS = 20, ROUNDS = 3 };
    struct arena *arena = arena_new(1 << 20, 1 << 28);
    struct tally  tally;
    struct err    err = { 0 };
    size_t        row;

    (void)state;
    tally_init(&tally, arena);
    for (int round = 0; round < ROUNDS; round++)
        for (uint32_t project = 1; project <= PROJECTS; project++)
            for (int64_t hour = 1; hour <= HOURS; hour++) {
                assert_int_equal(tally_find(&tally, project, hour * TIME_US_HOUR, &row, &err), 0);
                tally_count(&tally, row, FATE_STORED, project);
            }
    assert_int_equal(tally.count, PROJECTS * HOURS);
    for (size_t i = 0; i < tally.count; i++)
        assert_int_equal(tally.rows[i].counts[FATE_STORED], ROUNDS * tally.rows[i].project);
    arena_free(arena);
}

static void test_ended(void **state)
{
    struct arena *arena = arena_new(1 << 16, 1 << 24);
    struct tally  tally;
    struct err    err = { 0 };

    (void)state;
    tally_init(&tally, arena);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(tally_end(&tally, &(struct people_ended){ .place = i }, &err), 0);
    assert_int_equal(tally.ended_count, 1000);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(tally.ended[i].place, i);
    arena_free(arena);
}

static void test_no_room(void **state)
{
    struct arena *arena = arena_new(1 << 10, 1 << 10);
    struct tally  tally;
    struct err    err = { 0 };
    size_t        row;

    (void)state;
    tally_init(&tally, arena);
    assert_int_equal(tally_find(&tally, 1, TIME_US_HOUR, &row, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys), cmocka_unit_test(test_many_keys), cmocka_unit_test(test_ended), cmocka_unit_test(test_no_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
