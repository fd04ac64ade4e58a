/* capture/stand_by.h - a loop that syncs itself, and the thread that goes on when the disk keeps it.
 *
 * When all who are connected wait for one commit, a loop that hands it to the committer only waits too: two wake-ups, and a
 * virtual machine pays dearly for each. So it writes and syncs itself. A disk may take seconds for that, and then nobody would
 * answer probes and deadlines; so a second thread stands by. What the loop is lies in struct loop and not in a thread: when a
 * sync has not come back after STAND_BY_US, the second thread goes on with the loop, as if the commit were the committer's, and the
 * first, when its sync returns at last, is the one that stands by.
 *
 *      even --- begin ---> odd --- end ---> even     the same thread goes on
 *                            \--- wait ---> even     the other thread does, and end tells the first that it does not
 *
 *  Y1  one thread at a time has the loop; who got false from stand_by_end touches it no more
 *  Y2  a sync that lasts longer than STAND_BY_US is noticed after at most twice that time
 * It looks only while there are such syncs, and a second longer: an idle server has no timer. */
#ifndef PENSTOCK_CAPTURE_STAND_BY_H
#define PENSTOCK_CAPTURE_STAND_BY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { STAND_BY_US = 5000 };

struct stand_by {
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    bool            over;     /* @lock lock */
    atomic_bool     watching; /* becomes false under the lock */
    atomic_ullong   turn;     /* goes up with each begin, and with what ends it: odd while there is a sync */
    atomic_llong    since_us; /* of the sync that runs, or ran last */
};

void stand_by_init(struct stand_by *by);
void stand_by_fini(struct stand_by *by);
/* @thread who has the loop. Around a sync; end: false: the other thread has it now. */
uint64_t stand_by_begin(struct stand_by *by);
bool     stand_by_end(struct stand_by *by, uint64_t begun) must_check;
/* For the other thread: true: the loop is its own now; false: all is over. */
bool stand_by_wait(struct stand_by *by) must_check;
/* The loop came to its end: both threads may go. */
void stand_by_over(struct stand_by *by);

#endif
