/* capture/stand_by.c - see stand_by.h. The second thread looks at a clock now and then; a timer for each sync would cost more
 * than the wake-ups that are saved. */
#include "capture/stand_by.h"

#include <assert.h>

#include "base/clock.h"
#include "base/wait.h"

enum { STAND_BY_IDLE_US = 1000000 };

void stand_by_init(struct stand_by *by)
{
    pthread_mutex_init(&by->lock, NULL);
    wait_cond_init(&by->wake);
    by->over = false;
    atomic_init(&by->watching, false);
    atomic_init(&by->turn, 0);
    atomic_init(&by->since_us, 0);
}

void stand_by_fini(struct stand_by *by)
{
    pthread_cond_destroy(&by->wake);
    pthread_mutex_destroy(&by->lock);
}

uint64_t stand_by_begin(struct stand_by *by)
{
    uint64_t begun;

    atomic_store(&by->since_us, clock_mono_us());
    begun = atomic_fetch_add(&by->turn, 1) + 1;
    assert(begun % 2 == 1);
    if (atomic_load(&by->watching)) /* or it sees this one when it has said that it does not */
        return begun;
    pthread_mutex_lock(&by->lock);
    atomic_store(&by->watching, true);
    pthread_mutex_unlock(&by->lock);
    pthread_cond_signal(&by->wake);
    return begun;
}

bool stand_by_end(struct stand_by *by, uint64_t begun)
{
    unsigned long long turn = begun;

    return atomic_compare_exchange_strong(&by->turn, &turn, begun + 1);
}

/* With the lock held: some milliseconds, or until it is over. */
static void stand_by_nap(struct stand_by *by)
{
    (void)wait_until(&by->wake, &by->lock, clock_mono_us() + STAND_BY_US);
}

/* Nobody synced for a while: false, unless somebody does just now. */
static void stand_by_rest(struct stand_by *by)
{
    atomic_store(&by->watching, false);
    if (atomic_load(&by->turn) % 2 == 1)
        atomic_store(&by->watching, true);
}

bool stand_by_wait(struct stand_by *by)
{
    bool mine = false;

    pthread_mutex_lock(&by->lock);
    while (!mine && !by->over) {
        unsigned long long turn;
        int64_t            us;

        if (!atomic_load(&by->watching)) {
            pthread_cond_wait(&by->wake, &by->lock);
            continue;
        }
        stand_by_nap(by);
        turn = atomic_load(&by->turn);
        us = clock_mono_us() - atomic_load(&by->since_us);
        if (turn % 2 == 1 && us >= STAND_BY_US)
            mine = atomic_compare_exchange_strong(&by->turn, &turn, turn + 1);
        if (!mine && us >= STAND_BY_IDLE_US)
            stand_by_rest(by);
    }
    pthread_mutex_unlock(&by->lock);
    return mine;
}

void stand_by_over(struct stand_by *by)
{
    pthread_mutex_lock(&by->lock);
    by->over = true;
    pthread_mutex_unlock(&by->lock);
    pthread_cond_broadcast(&by->wake);
}
