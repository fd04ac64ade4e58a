/* capture/loop_look.c - who came, looked at in the middle of a large request. In an overload nineteen of twenty are sent away,
 * and what they wait for is the end of one that is not: a batch of a thousand events is some milliseconds of work. So between the
 * parts of that work epoll is asked, and who may be sent away at its head is. So are newcomers, of whom one in a hundred refused requests
 * is: who waited for the turn's end to be accepted, and for the next look to be read, made the 99th percentile. They come out of those that
 * the turn accepts (listener.c), so that no more of them are in a turn than were. Nothing else is done here: what is not about a
 * connection that wants to be read, or is about the one in work, is kept for the next turn, as if it had been noticed then.
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

/* How many were about connections that were looked at. *accepted_out: newcomers. */
static unsigned look_at(struct loop *loop, const struct epoll_event *events, int count, size_t *accepted_out)
{
    struct look *look = &loop->look;
    unsigned     looked = 0;

    *accepted_out = 0;
    for (int i = 0; i < count; i++) {
        void *ptr = events[i].data.ptr;

        if (listener_owns(loop, ptr)) {
            size_t conns = loop->conn_count;

            listener_on_ready(loop, ptr);
            *accepted_out += loop->conn_count - conns;
        } else if (look_is_conn(loop, ptr) && look_may(loop, ptr)) {
            conn_on_event(ptr, events[i].events);
            looked++;
        } else {
            look->kept[look->count++] = events[i];
        }
    }
    return looked;
}

/* Asks epoll, without waiting, and does what may be done. True: a newcomer was accepted, who has often sent already. */
static bool look_once(struct loop *loop, int most)
{
    static const struct timespec none = { 0 };
    struct epoll_event           events[LOOK_EVENTS_MAX];
    int                          count = most <= 0 ? 0 : epoll_pwait2(loop->epoll_fd, events, most, &none, NULL);
    size_t                       accepted;

    if (count <= 0)
        return false;
    loop->look.left -= count;
    capture_count(loop->shared->metrics, CAPTURE_METRIC_LOOKED, look_at(loop, events, count, &accepted));
    capture_count(loop->shared->metrics, CAPTURE_METRIC_ACCEPTED_MEANWHILE, accepted);
    return accepted > 0;
}

/* What this turn may still look at. */
static int look_most(const struct loop *loop)
{
    const struct look *look = &loop->look;
    int                room = LOOK_EVENTS_MAX - look->count;

    return look->left < room ? look->left : room;
}

static void loop_look(void *ctx)
{
    struct loop        *loop = ctx;
    struct look        *look = &loop->look;
    struct http_request request;
    uint8_t            *read_buf = loop->read_buf;
    enum pressure_level level = loop->level;
    uint32_t            project = loop->project;
    int64_t             now_us = clock_mono_us();

    assert(look->in_work != NULL && !loop->judging);
    if (!loop_queue_judges(loop) || now_us - look->us < LOOK_EVERY_US || look_most(loop) <= 0 ||
        (look->buf == NULL && (look->buf = malloc(LOOP_READ_BYTES)) == NULL))
        return;
    look->us = now_us;
    request = loop->request;
    loop->read_buf = look->buf;
    loop->level = look->level;
    loop->mono_us = now_us; /* and stays: lists of deadlines are in their order */
    if (look_once(loop, look_most(loop)))
        (void)look_once(loop, look_most(loop));
    loop->request = request;
    loop->read_buf = read_buf;
    loop->level = level;
    loop->project = project; /* who asks for a project's settings has another */
}

struct between loop_look_begin(struct conn *conn)
{
    struct look *look = &conn->loop->look;

    assert(look->in_work == NULL);
    if (!loop_queue_judges(conn->loop))
        return (struct between){ 0 };
    look->in_work = conn;
    look->us = clock_mono_us();
    return (struct between){ loop_look, conn->loop };
}

void loop_look_end(struct loop *loop)
{
    loop->look.in_work = NULL;
}

void loop_look_turn(struct loop *loop)
{
    loop->look.left = LOOK_EVENTS_MAX;
    loop->look.level = loop->level;
    listener_turn(loop); /* looks have their newcomers from those of the turn */
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
