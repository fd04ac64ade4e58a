/* base/wait.h - waiting for a condition with a deadline that a wall clock set back does not move. */
#ifndef PENSTOCK_BASE_WAIT_H
#define PENSTOCK_BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* For wait_until. Ended by pthread_cond_destroy. */
void wait_cond_init(pthread_cond_t *cond);
/* cond of wait_cond_init; with the lock held, as pthread_cond_wait: wakes for nothing at times. until_us: of clock_mono_us.
 * False: it is that late. */
bool wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us);

#endif
