/* event/stamp.c - a client's clock may be wrong by years, but it is wrong by the same amount when the
 * event happens and when it is sent: sent_at minus our clock is that error. It is not bounded, because a
 * queueing delay cannot be told from a wrong clock; a client that knows better says $ignore_sent_at.
 * All arithmetic saturates: the numbers are strangers'. */
#include "event/stamp.h"

#include "wire/time.h"

static int64_t stamp_sub(int64_t a, int64_t b)
{
    int64_t difference;

    if (__builtin_sub_overflow(a, b, &difference))
        return b < 0 ? INT64_MAX : INT64_MIN + 1;
    return difference;
}

static int64_t stamp_us_of_ms(int64_t ms)
{
    int64_t us;

    if (__builtin_mul_overflow(ms, (int64_t)TIME_US_MS, &us))
        return ms < 0 ? INT64_MIN + 1 : INT64_MAX;
    return us;
}

struct stamp stamp_compute(const struct stamp_input *input)
{
    struct stamp stamp = { input->now_us, RECORD_TIME_NOW_FALLBACK };

    if (input->client_us != CLOCK_NONE) {
        if (input->sent_at_us != CLOCK_NONE && !input->ignore_sent_at) {
            stamp.us = stamp_sub(input->client_us, stamp_sub(input->sent_at_us, input->now_us));
            stamp.source = RECORD_TIME_SENT_AT_SKEW;
        } else {
            stamp.us = input->client_us;
            stamp.source = RECORD_TIME_RAW;
        }
    }
    if (input->has_offset) {
        stamp.us = stamp_sub(input->now_us, stamp_us_of_ms(input->offset_ms));
        stamp.source = RECORD_TIME_OFFSET;
    }
    if (stamp_sub(stamp.us, input->now_us) > 23 * TIME_US_HOUR)
        stamp.us = input->now_us;
    if (!time_has_four_digits(stamp.us))
        stamp.us = 0;
    return stamp;
}
