/* capture/loop_sync.c - a loop that writes and syncs its own flight, when all it could do otherwise is to wait: one loop alone,
 * nobody else has anything to do, the batch is small, so that there is no work to be done meanwhile, and the disk is quick. Where
 * these do not hold, the committer's thread syncs while the loop reads the next requests. What happens when the disk is not so
 * quick after all is in stand_by.h. */
#include <assert.h>

#include "base/clock.h"
#include "capture/loop.h"

enum {
    LOOP_SYNC_BYTES_MAX = 128 << 10, /* its events took a fraction of a sync to be read */
    LOOP_SYNC_US_MAX = 2000,
    LOOP_SYNC_FORGET = 16 /* a commit that was late counts for some dozens of quick ones */
};

void loop_sync_took(struct loop *loop, int64_t us)
{
    int64_t kept = loop->sync_us - loop->sync_us / LOOP_SYNC_FORGET - 1;

    loop->sync_us = us > kept ? us : kept;
}

bool loop_syncs(struct loop *loop, const struct flight *flight)
{
    return loop->stands_by && flight->lane->number == LANE_LIVE && loop->sync_us <= LOOP_SYNC_US_MAX && !loop->draining &&
           loop->queues[0].first == NULL && loop->queues[1].first == NULL && loop->hello_first == NULL &&
           log_batch_bytes(flight->batch) <= LOOP_SYNC_BYTES_MAX &&
           log_commit_claim(atomic_load(&loop->shared->commits[LANE_LIVE]), flight->batch);
}

/* The loop looks for it when the sync is over; if another thread has the loop by then, it is woken. */
static void sync_done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct flight *flight = ctx;

    assert(batch_take == flight->batch);
    (void)batch_take;
    flight->result = *result;
    atomic_store_explicit(&flight->done, true, memory_order_release);
}

bool loop_sync(struct loop *loop, struct flight *flight)
{
    struct log_commit *commit = atomic_load(&loop->shared->commits[LANE_LIVE]);
    uint64_t           begun = stand_by_begin(&loop->stand_by);

    log_commit_write(commit, flight->batch, sync_done, flight);
    if (!stand_by_end(&loop->stand_by, begun)) {
        loop_wake(loop);
        return false;
    }
    loop->mono_us = clock_mono_us();
    return true;
}

/* What each of the two threads does, to the loop's end. */
static void loop_share(struct loop *loop, bool mine)
{
    while (mine || stand_by_wait(&loop->stand_by)) {
        mine = false;
        if (loop_turns(loop)) {
            stand_by_over(&loop->stand_by);
            return;
        }
    }
}

static void *loop_stand_by(void *arg)
{
    loop_share(arg, false);
    return NULL;
}

void loop_run(struct loop *loop)
{
    bool alone = loop->shared->settings->threads == 1; /* several loops share the committer's syncs */

    loop->mono_us = clock_mono_us();
    loop->stands_by = alone && pthread_create(&loop->stand_by_thread, NULL, loop_stand_by, loop) == 0;
    loop_share(loop, true);
    if (loop->stands_by)
        pthread_join(loop->stand_by_thread, NULL);
}
