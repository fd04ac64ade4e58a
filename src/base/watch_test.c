/* base/watch_test.c - a unit that stands still is spoken of, and now and then again, with where it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/watch.h"

enum act { STEP, MOVED, END, LOOK };

#define SECOND INT64_C(1000000)

/* LOOK: step is what is said, NULL nothing; since: seconds of the step and of the standstill. */
static const struct { const char *name; struct { enum act act; int64_t second; const char *step; int64_t step_s, still_s; } at[8]; } flows[] = {
    { "gets on", { { MOVED, 1, NULL, 0, 0 }, { STEP, 1, "reads", 0, 0 }, { MOVED, 20, NULL, 0, 0 }, { LOOK, 49, NULL, 0, 0 } } },
    { "stands still", { { MOVED, 1, NULL, 0, 0 }, { STEP, 3, "commits", 0, 0 }, { LOOK, 30, NULL, 0, 0 }, { LOOK, 31, "commits", 28, 30 },
                        { LOOK, 90, NULL, 0, 0 } } },
    { "stands still for long", { { MOVED, 1, NULL, 0, 0 }, { STEP, 1, "reads", 0, 0 }, { LOOK, 40, "reads", 39, 39 }, { LOOK, 339, NULL, 0, 0 },
                                 { LOOK, 340, "reads", 339, 339 }, { LOOK, 639, NULL, 0, 0 }, { LOOK, 640, "reads", 639, 639 } } },
    { "the same step again and again", { { MOVED, 1, NULL, 0, 0 }, { STEP, 2, "reads", 0, 0 }, { STEP, 25, "reads", 0, 0 }, { LOOK, 40, "reads", 38, 39 } } },
    { "again after it moved", { { MOVED, 1, NULL, 0, 0 }, { STEP, 2, "reads", 0, 0 }, { LOOK, 40, "reads", 38, 39 }, { MOVED, 50, NULL, 0, 0 },
                                { LOOK, 79, NULL, 0, 0 }, { LOOK, 80, "reads", 78, 30 } } },
    { "is another's", { { MOVED, 1, NULL, 0, 0 }, { STEP, 2, "reads", 0, 0 }, { END, 3, NULL, 0, 0 }, { LOOK, 60, NULL, 0, 0 } } },
    { "never was ours", { { LOOK, 60, NULL, 0, 0 } } },
};

static void test_flows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flows / sizeof *flows; i++) {
        struct watch watch = { .step = NULL };

        for (size_t k = 0; k < 8 && flows[i].at[k].second > 0; k++) {
            int64_t           now_us = flows[i].at[k].second * SECOND;
            struct watch_seen seen;
            bool              said;

            if (flows[i].at[k].act == STEP)
                watch_step(&watch, flows[i].at[k].step, now_us);
            else if (flows[i].at[k].act == MOVED)
                watch_moved(&watch, now_us);
            else if (flows[i].at[k].act == END)
                watch_end(&watch);
            if (flows[i].at[k].act != LOOK)
                continue;
            said = watch_look(&watch, now_us, &seen);
            if (said != (flows[i].at[k].step != NULL))
                fail_msg("%s: at %d s it was %s", flows[i].name, (int)flows[i].at[k].second, said ? "said" : "not said");
            if (!said)
                continue;
            assert_string_equal(seen.step, flows[i].at[k].step);
            assert_true(seen.step_us == flows[i].at[k].step_s * SECOND && seen.still_us == flows[i].at[k].still_s * SECOND);
        }
    }
}

/* What is said names the unit; the others get on. */
static void test_told(void **state)
{
    struct watch watches[3] = { { .step = NULL } };
    char         said[400] = "";
    int          ends[2], kept = dup(STDERR_FILENO);

    (void)state;
    for (int i = 0; i < 3; i++)
        watch_moved(&watches[i], (i == 1 ? 1 : 60) * SECOND);
    watch_step(&watches[1], "commits", 5 * SECOND);
    assert_int_equal(0, pipe(ends));
    assert_int_equal(STDERR_FILENO, dup2(ends[1], STDERR_FILENO));
    close(ends[1]);
    assert_int_equal(1, watch_tell(watches, 3, 61 * SECOND));
    assert_int_equal(1, watch_tell(watches, 3, 62 * SECOND));
    assert_int_equal(STDERR_FILENO, dup2(kept, STDERR_FILENO));
    close(kept);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    assert_int_equal(0, read(ends[0], said + strlen(said), 1)); /* once */
    assert_int_equal(3, watch_tell(watches, 3, 90 * SECOND));
    watch_end(&watches[1]);
    assert_int_equal(2, watch_tell(watches, 3, 91 * SECOND));
    close(ends[0]);
    assert_non_null(strstr(said, "unit 1: has finished nothing for 60 s, though records may wait; it commits, for 56 s now\n"));
    assert_null(strstr(strchr(said, '\n') + 1, "unit"));
}

/* What a beginning takes, by steps; those of nearly no time are left out, and time after it is nobody's. */
static const struct { const char *name; struct { const char *step; int64_t ms; } at[20]; int64_t works_ms; const char *said; } beginnings[] = {
    { "one step", { { "opens", 0 } }, 400, "unit 3 works after 0.40 s: opens 0.40\n" },
    { "steps", { { "opens", 0 }, { "asks", 300 }, { "reads", 1300 } }, 1550, "unit 3 works after 1.55 s: opens 0.30, asks 1.00, reads 0.25\n" },
    { "a step that comes again", { { "opens", 0 }, { "waits", 100 }, { "opens", 600 } }, 900, "unit 3 works after 0.90 s: opens 0.40, waits 0.50\n" },
    { "a short one", { { "opens", 0 }, { "asks", 200 }, { "reads", 203 } }, 300, "unit 3 works after 0.30 s: opens 0.20, reads 0.10\n" },
    { "at once", { { "opens", 0 } }, 1, "unit 3 works after 0.00 s\n" },
    { "more than are kept", { { "a", 0 }, { "b", 10 }, { "c", 20 }, { "d", 30 }, { "e", 40 }, { "f", 50 }, { "g", 60 }, { "h", 70 }, { "i", 80 },
                              { "j", 90 }, { "k", 100 }, { "l", 110 }, { "m", 120 }, { "n", 130 } }, 140,
      "unit 3 works after 0.14 s: a 0.01, b 0.01, c 0.01, d 0.01, e 0.01, f 0.01, g 0.01, h 0.01, i 0.01, j 0.01, k 0.01, n 0.03\n" },
};

static void test_beginnings(void **state)
{
    struct watch watch = { .step = NULL }; /* the same again and again: a unit goes and comes back */

    (void)state;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        const int64_t at_us = (int64_t)(i + 1) * 100 * SECOND;
        char          said[400] = "";
        int           ends[2], kept = dup(STDERR_FILENO);
        int64_t       took_us;

        assert_int_equal(0, pipe(ends));
        assert_int_equal(STDERR_FILENO, dup2(ends[1], STDERR_FILENO));
        close(ends[1]);
        for (size_t k = 0; k < 20 && beginnings[i].at[k].step != NULL; k++)
            (k == 0 ? watch_begin : watch_step)(&watch, beginnings[i].at[k].step, at_us + beginnings[i].at[k].ms * 1000);
        took_us = watch_works(&watch, 3, at_us + beginnings[i].works_ms * 1000);
        watch_step(&watch, "goes on", at_us + 50 * SECOND);
        assert_int_equal(-1, watch_works(&watch, 3, at_us + 60 * SECOND)); /* said once */
        assert_int_equal(STDERR_FILENO, dup2(kept, STDERR_FILENO));
        close(kept);
        assert_true(read(ends[0], said, sizeof said - 1) > 0);
        close(ends[0]);
        if (took_us != beginnings[i].works_ms * 1000 || strstr(said, beginnings[i].said) == NULL)
            fail_msg("%s: %s", beginnings[i].name, said);
    }
}

/* Where there is one unit nobody watches. */
static void test_none(void **state)
{
    (void)state;
    watch_step(NULL, "reads", 1);
    watch_moved(NULL, 1);
    watch_end(NULL);
    watch_begin(NULL, "opens", 1);
    assert_int_equal(-1, watch_works(NULL, 0, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_flows), cmocka_unit_test(test_told), cmocka_unit_test(test_beginnings),
                                        cmocka_unit_test(test_none) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
