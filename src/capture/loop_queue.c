/* capture/loop_queue.c - who waits for a turn. epoll tells who has bytes, and that alone is asked for often: at the
 * latest when LOOP_SLICE_US were spent on requests. So it is known how long each of them waits, and who must be sent
 * away is sent away within a few milliseconds, however many requests are ahead; when everything was handled as epoll
 * gave it, a request waited in the kernel, where nobody saw it. */
#include <assert.h>

#include "base/clock.h"
#include "capture/loop.h"

enum {
    LOOP_SLICE_US = 3000,
    LOOP_SLICE_OVERLOAD_US = 1000, /* who is sent away waits for a slice, and for the request with which it ends */
    LOOP_FULL_LOOK_US = 5000, /* while nobody can have a turn: how often is looked for those who waited too long */
    LOOP_FLIGHT_BYTES_MAX = 8 << 20 /* a disk of 200 MB/s writes it in 40 ms */
};

void loop_queue_add(struct conn *conn)
{
    /* Who had as many answers as a turn allows and wants more waits behind all others, as imports do. */
    bool               behind = conn->imports || (conn->more && !conn->put_off);
    struct turn_queue *queue = &conn->loop->queues[behind];

    if (conn->queued)
        return;
    conn->queued = true;
    conn->queued_behind = behind;
    conn->queued_us = conn->loop->mono_us;
    conn->queue_next = NULL;
    conn->queue_prev = queue->last;
    if (queue->last != NULL)
        queue->last->queue_next = conn;
    else
        queue->first = conn;
    queue->last = conn;
    queue->count++;
}

void loop_queue_remove(struct conn *conn)
{
    struct turn_queue *queue = &conn->loop->queues[conn->queued_behind];

    if (!conn->queued)
        return;
    conn->queued = false;
    if (conn->queue_prev != NULL)
        conn->queue_prev->queue_next = conn->queue_next;
    else
        queue->first = conn->queue_next;
    if (conn->queue_next != NULL)
        conn->queue_next->queue_prev = conn->queue_prev;
    else
        queue->last = conn->queue_prev;
    queue->count--;
}

/* What waits for the disk is enough for a commit: more would only make it longer. Whose turn it would be waits here, where
 * it can be sent away, and not in a commit, where it cannot. A disk that is slow to sync, but not full, never shows this. */
static bool loop_flight_is_full(const struct loop *loop, int number)
{
    const struct lane *lane = &loop->lanes[number];

    return log_batch_bytes(lane->flights[lane->filling].batch) >= LOOP_FLIGHT_BYTES_MAX;
}

/* Those of imports and of recordings wait in one queue. */
static bool loop_others_are_full(const struct loop *loop)
{
    return loop_flight_is_full(loop, LANE_IMPORTS) || loop_flight_is_full(loop, LANE_REPLAY);
}

int64_t loop_queue_wait_us(const struct loop *loop)
{
    if (loop->queues[0].first == NULL && loop->queues[1].first == NULL)
        return INT64_MAX;
    if ((loop->queues[0].first != NULL && !loop_flight_is_full(loop, LANE_LIVE)) ||
        (loop->queues[1].first != NULL && !loop_others_are_full(loop)))
        return 0;
    return LOOP_FULL_LOOK_US;
}

/* The disk does not take what waits, and half of the time that anybody waits for it is over: who comes now would be
 * answered 503 after all of it. */
static bool loop_disk_is_late(const struct loop *loop)
{
    const struct lane *lane = &loop->lanes[LANE_LIVE];
    const struct conn *first = lane->flights[lane->filling].first;

    return first != NULL && loop->mono_us - first->request_us > loop->shared->settings->commit_wait_us / 2;
}

void loop_queue_judge(struct loop *loop)
{
    const struct turn_queue *queue = &loop->queues[0];
    int64_t                  oldest_us = queue->first == NULL ? 0 : loop->mono_us - queue->first->queued_us;
    enum pressure_level      by_wait = pressure_by_wait(&loop->pressure, queue->count, oldest_us, loop->mono_us);

    loop->memory_now = loop_memory(loop);
    loop->memory_level = pressure_by_memory(loop->memory_now, loop->memory_max);
    loop->level = by_wait > loop->memory_level ? by_wait : loop->memory_level;
    if (loop_disk_is_late(loop))
        loop->level = PRESSURE_ALL;
}

bool loop_queue_judges(const struct loop *loop)
{
    return loop->level != PRESSURE_NONE || pressure_is_watchful(&loop->pressure, loop->queues[0].count, loop->mono_us);
}

void loop_queue_run(struct loop *loop)
{
    enum pressure_level level = loop->level;
    bool                late = loop_disk_is_late(loop);
    int64_t             now_us = loop->queues[0].first == NULL ? 0 : clock_mono_us();
    int64_t             until_us = now_us + (loop_queue_judges(loop) ? LOOP_SLICE_OVERLOAD_US : LOOP_SLICE_US);

    while (loop->queues[0].first != NULL) {
        struct conn *conn = loop->queues[0].first;
        int64_t      from_us = now_us;
        bool         away = late || pressure_is_late(&loop->pressure, loop->queues[0].count, loop->mono_us - conn->queued_us,
                                                     conn->put_off, loop->mono_us);

        if (!away && loop_flight_is_full(loop, LANE_LIVE))
            break;
        /* Who got in before the level rose keeps its place, but for the rest of a queue that is too long already. */
        loop->level = away ? PRESSURE_ALL : loop->memory_level;
        loop_queue_remove(conn);
        conn_run(conn);
        now_us = clock_mono_us();
        if (!away)
            pressure_served(&loop->pressure, now_us - from_us);
        if (now_us >= until_us || lane_is_due(&loop->lanes[LANE_LIVE]))
            break;
    }
    loop->level = level;
}

void loop_queue_run_imports(struct loop *loop)
{
    int64_t until_us = loop->queues[1].first == NULL                    ? 0
                       : pace_beside_live(&loop->pace, loop->mono_us) ? clock_mono_us() + PACE_TURN_US
                                                                       : INT64_MAX;

    while (loop->queues[1].first != NULL && !loop_others_are_full(loop)) {
        struct conn *conn = loop->queues[1].first;

        loop_queue_remove(conn);
        conn_run(conn);
        if (clock_mono_us() >= until_us)
            return;
    }
}
