/* base/wait_test.c - a deadline is of the clock that never goes back; who is woken is told apart from who is late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/wait.h"

struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t  cond;
    bool            here; /* @lock lock */
};

static void late(void **state)
{
    struct meeting meeting = { .lock = PTHREAD_MUTEX_INITIALIZER };
    int64_t        from_us = clock_mono_us(), until_us = from_us + 30000;

    (void)state;
    wait_cond_init(&meeting.cond);
    pthread_mutex_lock(&meeting.lock);
    while (wait_until(&meeting.cond, &meeting.lock, until_us))
        ;
    assert_true(clock_mono_us() >= until_us);
    assert_false(wait_until(&meeting.cond, &meeting.lock, from_us)); /* that was before now */
    pthread_mutex_unlock(&meeting.lock);
    pthread_cond_destroy(&meeting.cond);
}

static void *arrive(void *arg)
{
    struct meeting *meeting = arg;

    pthread_mutex_lock(&meeting->lock);
    meeting->here = true;
    pthread_cond_signal(&meeting->cond);
    pthread_mutex_unlock(&meeting->lock);
    return NULL;
}

static void woken(void **state)
{
    struct meeting meeting = { .lock = PTHREAD_MUTEX_INITIALIZER };
    int64_t        until_us = clock_mono_us() + INT64_C(600000000);
    pthread_t      thread;
    bool           in_time = true;

    (void)state;
    wait_cond_init(&meeting.cond);
    pthread_mutex_lock(&meeting.lock);
    assert_int_equal(pthread_create(&thread, NULL, arrive, &meeting), 0);
    while (!meeting.here && in_time)
        in_time = wait_until(&meeting.cond, &meeting.lock, until_us);
    assert_true(meeting.here && in_time);
    pthread_mutex_unlock(&meeting.lock);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&meeting.cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(late), cmocka_unit_test(woken) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
