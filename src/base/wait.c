/* base/wait.c - see wait.h. */
#include "base/wait.h"

#include <errno.h>
#include <time.h>

void wait_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* that of clock_mono_us */
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us)
{
    struct timespec until = { until_us / 1000000, until_us % 1000000 * 1000 };

    return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}
