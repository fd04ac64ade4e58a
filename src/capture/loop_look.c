/* capture/loop_look.c - who came, looked at in the middle of a large request. In an overload nineteen of twenty are sent away,
 * and what they wait for is the end of one that is not: a batch of a thousand events is some milliseconds of work. So between the
 * parts of that work epoll is asked, and who may be sent away at its head is. Nothing else is done here: what is not about a
 * connection that wants to be read, or is about the one in work, is kept for the next turn, as if it had been noticed then. A
 * listening socket tells again by itself.
 *
 * The request in work lies in the loop's buffer and in loop->request: who is looked at gets others. Events are not taken
 * meanwhile (loop->judging), so no request with events is begun inside another. */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "capture/loop.h"

enum { LOOK_EVERY_US = 400 };

static bool look_may(const struct loop *loop, const struct conn *conn)
{
    return conn != loop->look.in_work && !conn->queued &&
           (conn->state == CONN_CLOSED || conn->state == CONN_IDLE || conn->state == CONN_HEAD || conn->state == CONN_DRAIN);
}

static bool look_is_conn(const struct loop *loop, const void *ptr)
{
    return !listener_owns(loop, ptr) && ptr != &loop->draining && ptr != loop;
}

/* How many were about connections that were looked at. */
static unsigned look_at(struct loop *loop, const struct epoll_event *events, int count)
{
    struct look *look = &loop->look;
    unsigned     looked = 0;

    for (int i = 0; i < count; i++) {
        void *ptr = events[i].data.ptr;

        if (look_is_conn(loop, ptr) && look_may(loop, ptr)) {
            conn_on_event(ptr, events[i].events);
            looked++;
        } else if (!listener_owns(loop, ptr)) {
            look->kept[look->count++] = events[i];
        }
    }
    return looked;
}

/* While requests are sent away, and this turn has looked at few. */
static int look_most(const struct loop *loop, int64_t now_us)
{
    const struct look *look = &loop->look;
    int                room = LOOK_EVENTS_MAX - look->count;

    if (!loop_queue_judges(loop) || now_us - look->us < LOOK_EVERY_US)
        return 0;
    return look->left < room ? look->left : room;
}

void loop_look(void *ctx)
{
    static const struct timespec none = { 0 };
    struct loop                 *loop = ctx;
    struct look                 *look = &loop->look;
    struct epoll_event           events[LOOK_EVENTS_MAX];
    struct http_request          request;
    uint8_t                     *read_buf = loop->read_buf;
    enum pressure_level          level = loop->level;
    int64_t                      now_us = clock_mono_us();
    int                          most = look_most(loop, now_us), count;

    assert(look->in_work != NULL && !loop->judging);
    if (most <= 0 || (look->buf == NULL && (look->buf = malloc(LOOP_READ_BYTES)) == NULL))
        return;
    look->us = now_us;
    count = epoll_pwait2(loop->epoll_fd, events, most, &none, NULL);
    if (count <= 0)
        return;
    look->left -= count;
    request = loop->request;
    loop->read_buf = look->buf;
    loop->level = look->level;
    loop->mono_us = now_us; /* and stays: lists of deadlines are in their order */
    capture_count(loop->shared->metrics, CAPTURE_METRIC_LOOKED, look_at(loop, events, count));
    loop->request = request;
    loop->read_buf = read_buf;
    loop->level = level;
}

void loop_look_begin(struct conn *conn)
{
    struct look *look = &conn->loop->look;

    assert(look->in_work == NULL);
    look->in_work = conn;
    look->us = clock_mono_us();
}

void loop_look_end(struct loop *loop)
{
    loop->look.in_work = NULL;
}

void loop_look_turn(struct loop *loop)
{
    loop->look.left = LOOK_EVENTS_MAX;
    loop->look.level = loop->level;
}

int loop_look_take(struct loop *loop, struct epoll_event *out)
{
    int count = loop->look.count;

    memcpy(out, loop->look.kept, (size_t)count * sizeof *out);
    loop->look.count = 0;
    return count;
}

void loop_look_forget(struct loop *loop, const struct conn *conn)
{
    struct look *look = &loop->look;

    for (int i = look->count - 1; i >= 0; i--)
        if (look->kept[i].data.ptr == conn)
            look->kept[i] = look->kept[--look->count];
}
