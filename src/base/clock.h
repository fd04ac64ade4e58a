/* base/clock.h - time as a number: microseconds since 1970 UTC, or of a clock that never goes back.
 *
 * Code that decides takes `now_us` as an argument; only roles and tests' main loops read a clock, so
 * that a day of retries is tested in a millisecond. */
#ifndef PENSTOCK_BASE_CLOCK_H
#define PENSTOCK_BASE_CLOCK_H

#include <stdint.h>

/* Wall clock. PENSTOCK_CLOCK_US in the environment at the first call fixes it (for tests that replay
 * worked examples): the clock then stands still at that value. */
int64_t clock_wall_us(void);
/* Since an unknown start; for deadlines and durations. */
int64_t clock_mono_us(void);
/* Since the machine started, the time in which it was suspended included: beside the wall clock it tells whether that was set. Stands
 * still where the wall clock is fixed. */
int64_t clock_boot_us(void);
/* Which start of the machine that counts from; never 0. Reads a file at the first call. */
uint64_t clock_boot_id(void);
/* CPU time that this thread has used. */
int64_t clock_thread_us(void);

#define CLOCK_NONE INT64_MIN /* "no such time" in structs and stored forms */

#endif
