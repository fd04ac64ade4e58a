/* capture/urgency_test.c - the wish is taken where the kernel knows it, and threads that are started later have it. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/utsname.h>

#include <cmocka.h>

#include "capture/urgency.h"

/* Linux takes a turn of ordinary threads since 6.12. */
static bool kernel_takes_turns(void)
{
    struct utsname host;
    int            major = 0, minor = 0;

    return uname(&host) == 0 && sscanf(host.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 12));
}

static void *turn_of_a_thread(void *out)
{
    *(uint64_t *)out = urgency_turn_ns();
    return NULL;
}

static void is_taken_and_inherited(void **state)
{
    uint64_t  inherited = 0;
    pthread_t thread;

    (void)state;
    urgency_ask();
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    assert_int_equal(pthread_create(&thread, NULL, turn_of_a_thread, &inherited), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (!kernel_takes_turns())
        skip();
    assert_int_equal(urgency_turn_ns(), 100000);
    assert_int_equal(inherited, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(is_taken_and_inherited) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
