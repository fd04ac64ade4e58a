/* capture/group_delay.h - how long a group of large requests waits for others before its commit.
 *
 * A commit costs the machine a third of a millisecond of CPU whatever is in it: the write, the sync, the disk's requests, the switches of threads. Where
 * batches come one by one, each from another client, each would be a commit of its own, which costs several times what reading
 * it does. So such a group waits, but not for those who cannot come: clients that are all waiting already send nothing. As many as
 * waited together in one of the last groups are expected; when they are there, it goes. Requests that come while another group is on
 * its way to the disk wait together without being asked to, and that is how it is learned that there are more (docs/decisions/capture-cost.md).
 *  D1  nobody waits longer than GROUP_DELAY_US, nor after a quiet time, nor one client alone
 *  D2  requests of a few events are never held: those are browsers', and what they wait for is the answer
 * Time is an argument. One thread. */
#ifndef PENSTOCK_CAPTURE_GROUP_DELAY_H
#define PENSTOCK_CAPTURE_GROUP_DELAY_H

#include <stddef.h>
#include <stdint.h>

enum {
    GROUP_DELAY_US = 4000,
    GROUP_DELAY_QUIET_US = 50000,         /* nothing went for so long: nobody is about */
    GROUP_DELAY_REQUEST_BYTES = 16 << 10, /* requests that are smaller, on average, are not held */
    GROUP_DELAY_ENOUGH_BYTES = 256 << 10, /* what is larger gains little by waiting */
    GROUP_DELAY_GROUPS = 16               /* so many groups are remembered, or twice that */
};

struct group_delay {
    int64_t  gone_us;           /* when the last group went */
    size_t   most, most_before; /* requests of a group, among these GROUP_DELAY_GROUPS and those before */
    unsigned groups;            /* of these */
};

/* Until when the group waits; 0: it need not. Requests `waiting` since `since_us`, of `bytes` together. */
int64_t group_delay_until_us(const struct group_delay *delay, int64_t since_us, size_t waiting, size_t bytes);
/* It goes. */
void group_delay_gone(struct group_delay *delay, int64_t now_us, size_t waiting);

#endif
