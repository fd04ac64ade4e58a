/* capture/group_delay.c - see group_delay.h. */
#include "capture/group_delay.h"

int64_t group_delay_until_us(const struct group_delay *delay, int64_t since_us, size_t waiting, size_t bytes)
{
    size_t expected = delay->most > delay->most_before ? delay->most : delay->most_before;

    if (waiting >= expected || bytes >= GROUP_DELAY_ENOUGH_BYTES || bytes < waiting * GROUP_DELAY_REQUEST_BYTES ||
        since_us - delay->gone_us > GROUP_DELAY_QUIET_US)
        return 0;
    return since_us + GROUP_DELAY_US;
}

void group_delay_gone(struct group_delay *delay, int64_t now_us, size_t waiting)
{
    delay->gone_us = now_us;
    if (delay->groups == GROUP_DELAY_GROUPS) {
        delay->most_before = delay->most;
        delay->most = 0;
        delay->groups = 0;
    }
    delay->groups++;
    if (waiting > delay->most)
        delay->most = waiting;
}
