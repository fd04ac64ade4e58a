/* capture/pressure_test.c - stories of queues: bursts are let through, queues that stand are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "capture/pressure.h"

#define MS INT64_C(1000)
#define NOW (INT64_C(1000) * 1000000)

/* Each row is asked in turn, of one pressure of 40 ms. */
static void levels_by_wait(void **state)
{
    static const struct { const char *what; int64_t at_ms; size_t waiting; int64_t oldest_ms; enum pressure_level level; } rows[] = {
        { "nothing waits", 0, 0, 0, PRESSURE_NONE },
        { "a burst", 10, 5000, 30, PRESSURE_NONE },
        { "which is long", 150, 5000, 140, PRESSURE_NONE },
        { "and over", 180, 40, 9, PRESSURE_NONE },
        { "another one", 200, 5000, 30, PRESSURE_NONE },
        { "not yet for long", 399, 5000, 190, PRESSURE_NONE },
        { "it stands", 400, 5000, 200, PRESSURE_ALL },
        { "just so long", 401, 5000, 40, PRESSURE_ALL },
        { "half of it", 402, 5000, 39, PRESSURE_LARGEST },
        { "half of it, exactly", 403, 5000, 20, PRESSURE_LARGEST },
        { "three eighths", 404, 5000, 15, PRESSURE_NEWCOMERS },
        { "a quarter", 405, 5000, 10, PRESSURE_REPLAY },
        { "less", 406, 5000, 9, PRESSURE_NONE },
        { "a new one is known at once", 1000, 5000, 41, PRESSURE_ALL },
        { "few that wait long are imports", 1001, 7, 500, PRESSURE_NONE },
        { "many", 1002, 8, 500, PRESSURE_ALL },
        { "calm", 1003, 0, 0, PRESSURE_NONE },
        { "for five seconds: a burst again", 6003, 5000, 100, PRESSURE_NONE },
        { "that stands", 6203, 5000, 300, PRESSURE_ALL },
    };
    struct pressure pressure;

    (void)state;
    pressure_init(&pressure, 40 * MS);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum pressure_level level = pressure_by_wait(&pressure, rows[i].waiting, rows[i].oldest_ms * MS, NOW + rows[i].at_ms * MS);

        if (level != rows[i].level)
            fail_msg("%s: level %d, expected %d", rows[i].what, level, rows[i].level);
    }
    assert_true(pressure_is_late(&pressure, 9, 40 * MS, false, NOW + 6204 * MS));
    assert_false(pressure_is_late(&pressure, 9, 39 * MS, false, NOW + 6204 * MS));
    assert_false(pressure_is_late(&pressure, 8, 400 * MS, false, NOW + 6204 * MS)); /* it was one of a few, and let in */
    assert_false(pressure_is_late(&pressure, 9, 159 * MS, true, NOW + 6204 * MS));  /* judged when it came, and let in */
    assert_true(pressure_is_late(&pressure, 9, 160 * MS, true, NOW + 6204 * MS));
    assert_false(pressure_is_late(&pressure, 9, 400 * MS, false, NOW + 11204 * MS)); /* it is calm again */
    pressure_init(&pressure, 0);
    assert_int_equal(pressure_by_wait(&pressure, 9999, 10000 * MS, NOW), PRESSURE_NONE);
    assert_int_equal(pressure_by_wait(&pressure, 9999, 10000 * MS, NOW + 1000 * MS), PRESSURE_NONE);
    assert_false(pressure_is_late(&pressure, 9999, 10000 * MS, false, NOW + 1000 * MS));
}

/* Who comes now, behind so many, each of which takes 2 ms, of 40 ms that may be waited. */
static void levels_by_room(void **state)
{
    static const struct { size_t waiting; enum pressure_level level; } rows[] = {
        { 4, PRESSURE_NONE },     { 5, PRESSURE_NONE },  { 7, PRESSURE_NONE },     { 8, PRESSURE_NEWCOMERS }, { 9, PRESSURE_NEWCOMERS },
        { 10, PRESSURE_LARGEST }, { 19, PRESSURE_LARGEST }, { 20, PRESSURE_ALL }, { 5000, PRESSURE_ALL },
    };
    struct pressure pressure;

    (void)state;
    pressure_init(&pressure, 40 * MS);
    for (int i = 0; i < 1000; i++)
        pressure_served(&pressure, i % 2 == 0 ? 1 * MS : 3 * MS);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(pressure_by_room(&pressure, rows[i].waiting, NOW), PRESSURE_NONE); /* a burst may wait */
    assert_int_equal(pressure_by_wait(&pressure, 100, 100 * MS, NOW), PRESSURE_NONE);
    assert_int_equal(pressure_by_wait(&pressure, 100, 300 * MS, NOW + 200 * MS), PRESSURE_ALL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (pressure_by_room(&pressure, rows[i].waiting, NOW + 201 * MS) != rows[i].level)
            fail_msg("behind %zu: not level %d", rows[i].waiting, rows[i].level);
    /* While somebody is sent away it goes on, and ends five seconds after the last one. */
    assert_int_equal(pressure_by_room(&pressure, 20, NOW + 5200 * MS), PRESSURE_ALL);
    assert_int_equal(pressure_by_room(&pressure, 20, NOW + 10100 * MS), PRESSURE_ALL);
    assert_int_equal(pressure_by_room(&pressure, 20, NOW + 15100 * MS), PRESSURE_NONE);
    pressure_init(&pressure, 0);
    assert_int_equal(pressure_by_room(&pressure, 5000, NOW), PRESSURE_NONE);
}

static void levels_by_memory(void **state)
{
    static const struct { size_t used; enum pressure_level level; } rows[] = {
        { 0, PRESSURE_NONE },       { 699, PRESSURE_NONE },    { 700, PRESSURE_REPLAY }, { 800, PRESSURE_NEWCOMERS },
        { 899, PRESSURE_NEWCOMERS }, { 900, PRESSURE_LARGEST }, { 999, PRESSURE_LARGEST }, { 1000, PRESSURE_ALL },
        { 5000, PRESSURE_ALL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(pressure_by_memory(rows[i].used, 1000), rows[i].level);
}

static void who_is_large(void **state)
{
    static struct pressure pressure;

    (void)state;
    pressure_init(&pressure, 40 * MS);
    assert_false(pressure_is_large(&pressure, 7));
    pressure_done(&pressure, 7, 100, NOW);
    assert_true(pressure_is_large(&pressure, 7)); /* alone, it is all there is */
    assert_false(pressure_is_large(&pressure, 0));
    for (uint32_t project = 1; project <= 20; project++)
        pressure_done(&pressure, project, project == 9 ? 5000 : 100, NOW + 10);
    for (uint32_t project = 0; project <= 21; project++)
        assert_int_equal(pressure_is_large(&pressure, project), project == 9);
    /* It stops: after some seconds its work is forgotten, and another one is the largest. */
    for (int second = 1; second <= 12; second++)
        for (uint32_t project = 1; project <= 20; project++)
            if (project != 9)
                pressure_done(&pressure, project, project == 3 ? 1000 : 100, NOW + second * 1000 * MS);
    assert_false(pressure_is_large(&pressure, 9));
    assert_true(pressure_is_large(&pressure, 3));
    assert_false(pressure_is_large(&pressure, 4));
    pressure_done(&pressure, 4, 1, NOW * 1000); /* after a long night */
    assert_false(pressure_is_large(&pressure, 3));
    assert_true(pressure_is_large(&pressure, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(levels_by_wait), cmocka_unit_test(levels_by_room), cmocka_unit_test(levels_by_memory),
                                        cmocka_unit_test(who_is_large) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
