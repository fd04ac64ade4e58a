/* capture/stand_by_test.c - who has the loop: the rows of stand_by.h's picture, one after the other. No test here says how soon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>

#include "base/clock.h"
#include "capture/stand_by.h"

enum { WAIT_US = 60000000 };

static struct stand_by by;
static atomic_int      takes;    /* how often the other thread got the loop */
static atomic_bool     fine;      /* what it saw, while it had the loop */

static int setup(void **state)
{
    (void)state;
    stand_by_init(&by);
    atomic_store(&takes, 0);
    atomic_store(&fine, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stand_by_fini(&by);
    return 0;
}

/* Syncs of its own while it has the loop: they are quick, and nobody stands by. */
static void *other(void *arg)
{
    (void)arg;
    while (stand_by_wait(&by)) {
        uint64_t begun = stand_by_begin(&by);

        if (!stand_by_end(&by, begun))
            atomic_store(&fine, false);
        atomic_fetch_add(&takes, 1);
    }
    return NULL;
}

static bool takes_become(int count)
{
    int64_t until_us = clock_mono_us() + WAIT_US;

    while (atomic_load(&takes) != count && clock_mono_us() < until_us)
        (void)poll(NULL, 0, 1);
    return atomic_load(&takes) == count;
}

static void quick_syncs_change_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t begun = stand_by_begin(&by);

        assert_true(stand_by_end(&by, begun));
        assert_false(stand_by_end(&by, begun));
    }
}

static void a_long_sync_moves_the_loop(void **state)
{
    pthread_t thread;
    uint64_t  begun;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, other, NULL), 0);
    begun = stand_by_begin(&by);
    assert_true(takes_become(1));
    assert_false(stand_by_end(&by, begun)); /* also after the other one's own */
    stand_by_over(&by);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&fine));
}

/* A sync that returns while the other one has a sync of its own under way does not take that for its own. */
static void an_old_sync_ends_no_newer_one(void **state)
{
    uint64_t old, newer;

    (void)state;
    old = stand_by_begin(&by);
    atomic_fetch_add(&by.turn, 1); /* taken */
    newer = stand_by_begin(&by);
    assert_false(stand_by_end(&by, old));
    assert_true(stand_by_end(&by, newer));
}

static void it_rests_and_looks_again(void **state)
{
    int64_t   until_us = clock_mono_us() + WAIT_US;
    pthread_t thread;
    uint64_t  begun;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, other, NULL), 0);
    begun = stand_by_begin(&by);
    assert_true(takes_become(1));
    assert_false(stand_by_end(&by, begun));
    while (atomic_load(&by.watching) && clock_mono_us() < until_us)
        (void)poll(NULL, 0, 1);
    assert_false(atomic_load(&by.watching));
    begun = stand_by_begin(&by);
    assert_true(takes_become(2));
    assert_false(stand_by_end(&by, begun));
    stand_by_over(&by);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&fine));
}

static void the_end_ends_both(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, other, NULL), 0);
    stand_by_over(&by);
    pthread_join(thread, NULL);
    assert_false(stand_by_wait(&by));
    assert_int_equal(atomic_load(&takes), 0);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = { ROW(quick_syncs_change_nothing), ROW(a_long_sync_moves_the_loop), ROW(an_old_sync_ends_no_newer_one),
                                        ROW(it_rests_and_looks_again), ROW(the_end_ends_both) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
