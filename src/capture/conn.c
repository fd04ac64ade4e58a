/* capture/conn.c - the life of a connection. The answer to a request is given inside the call that found
 * the request whole, or on the commit's acknowledgement; either way conn_send decides what comes next, so
 * there is one place where a connection becomes idle again, lingers or goes. */
#include "capture/conn.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "capture/loop.h"
#include "capture/transport.h"

enum {
    CONN_RATE_MIN = 1024,               /* bytes a second: a body that brings less has stalled, a reply that loses less too */
    CONN_REPLIES_BYTES_MAX = 32 << 20   /* of a loop: replies that wait for slow readers */
};

#define TO(name) (1u << CONN_##name)
static const unsigned conn_allowed[CONN_STATE_COUNT] = {
    [CONN_FREE] = TO(HEAD) | TO(HELLO) | TO(CLOSED),
    [CONN_HELLO] = TO(HEAD) | TO(WRITE) | TO(LINGER) | TO(CLOSED),
    [CONN_IDLE] = TO(HEAD) | TO(BODY) | TO(WAIT) | TO(WRITE) | TO(IDLE) | TO(DRAIN) | TO(LINGER) | TO(CLOSED),
    [CONN_HEAD] = TO(BODY) | TO(WAIT) | TO(WRITE) | TO(IDLE) | TO(DRAIN) | TO(LINGER) | TO(CLOSED),
    [CONN_BODY] = TO(BODY) | TO(WAIT) | TO(WRITE) | TO(IDLE) | TO(DRAIN) | TO(LINGER) | TO(CLOSED),
    [CONN_WAIT] = TO(WRITE) | TO(IDLE) | TO(LINGER) | TO(CLOSED),
    [CONN_WRITE] = TO(WRITE) | TO(IDLE) | TO(DRAIN) | TO(LINGER) | TO(CLOSED),
    [CONN_DRAIN] = TO(IDLE) | TO(DRAIN) | TO(LINGER) | TO(CLOSED),
    [CONN_LINGER] = TO(CLOSED),
    [CONN_CLOSED] = TO(FREE),
};
#undef TO
_Static_assert(CONN_STATE_COUNT <= 32, "a set of states must fit in one unsigned");

static void conn_timer_remove(struct conn *conn)
{
    struct timer_list *list = &conn->loop->timers[conn->state];

    if (conn->deadline_us == 0)
        return;
    if (conn->timer_prev != NULL)
        conn->timer_prev->timer_next = conn->timer_next;
    else
        list->first = conn->timer_next;
    if (conn->timer_next != NULL)
        conn->timer_next->timer_prev = conn->timer_prev;
    else
        list->last = conn->timer_prev;
    conn->deadline_us = 0;
}

static void conn_timer_add(struct conn *conn)
{
    struct timer_list *list = &conn->loop->timers[conn->state];
    int64_t            us = loop_state_us(conn->loop, conn->state);

    if (us == 0)
        return;
    conn->deadline_us = conn->loop->mono_us + us;
    conn->timer_next = NULL;
    conn->timer_prev = list->last;
    if (list->last != NULL)
        list->last->timer_next = conn;
    else
        list->first = conn;
    list->last = conn;
}

/* The only place that writes conn->state; the state's timer goes with it. */
void conn_set_state(struct conn *conn, enum conn_state next)
{
    assert(conn->magic == CONN_MAGIC);
    assert(conn_allowed[conn->state] & (1u << next));
    conn_timer_remove(conn);
    conn->state = next;
    conn_timer_add(conn);
}

/* --- birth and death --------------------------------------------------------------------------- */

struct conn *conn_new(struct loop *loop, const struct role_listener *listener, int fd_take)
{
    struct conn *conn = loop->conn_pool;

    if (conn != NULL)
        loop->conn_pool = conn->timer_next;
    else
        conn = malloc(sizeof *conn);
    if (conn == NULL) {
        (void)close(fd_take);
        return NULL;
    }
    *conn = (struct conn){ .magic = CONN_MAGIC, .fd = fd_take, .loop = loop, .listener = listener };
    loop->conn_count++;
    /* Who connects and says nothing has the time of a slow head. */
    conn_set_state(conn, conn_hello_needed(conn) ? CONN_HELLO : CONN_HEAD);
    capture_gauge_by(loop->shared->metrics, CAPTURE_METRIC_CONNECTIONS, 1);
    return conn;
}

void conn_drop_buf(struct conn *conn)
{
    loop_buf_give(conn->loop, conn->buf, conn->buf_size);
    conn->buf = NULL;
    conn->buf_bytes = conn->buf_size = 0;
}

/* What was kept for the answer. */
static void conn_drop_origin(struct conn *conn)
{
    if (conn->origin != NULL)
        loop_buf_give(conn->loop, conn->origin, LOOP_CONN_BUF_FIRST_BYTES);
    if (conn->answer != NULL)
        loop_buf_give(conn->loop, conn->answer, conn->answer_size);
    conn->origin = conn->answer = NULL;
}

static void conn_drop_out(struct conn *conn)
{
    if (conn->out == NULL)
        return;
    conn->loop->replies -= conn->out_size;
    loop_buf_give(conn->loop, conn->out, conn->out_size);
    conn->out = NULL;
}

void conn_close(struct conn *conn)
{
    struct loop *loop = conn->loop;

    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_BODY || (conn->state == CONN_HEAD && conn->buf_bytes > 0))
        capture_count(loop->shared->metrics, CAPTURE_METRIC_CLIENT_ABORTED, 1);
    flight_remove(conn);
    loop_queue_remove(conn);
    addresses_leave(loop->shared->addresses, conn->address);
    conn->address = NULL;
    conn_hello_leave(conn);
    tls_end(conn);
    conn_set_state(conn, CONN_CLOSED);
    (void)close(conn->fd); /* which takes it out of epoll too */
    conn->fd = -1;
    conn_drop_buf(conn);
    conn_drop_origin(conn);
    conn_drop_out(conn);
    loop->conn_count--;
    conn->timer_next = loop->retired;
    loop->retired = conn;
    capture_gauge_by(loop->shared->metrics, CAPTURE_METRIC_CONNECTIONS, -1);
}

/* For a reader that does not read: closed as usual, the kernel would keep what the socket holds for minutes. */
static void conn_reset(struct conn *conn)
{
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    conn_close(conn);
}

void conn_retire(struct conn *conn)
{
    assert(conn->state == CONN_CLOSED);
    conn->magic = 0;
    conn->timer_next = conn->loop->conn_pool;
    conn->loop->conn_pool = conn;
}

/* --- writing ----------------------------------------------------------------------------------- */

void conn_linger(struct conn *conn)
{
    transport_finish(conn);
    conn_drop_buf(conn);
    conn_set_state(conn, CONN_LINGER);
}

/* The reply is with the kernel. */
static void conn_replied(struct conn *conn)
{
    conn_drop_origin(conn);
    if (conn->close_after && (conn->unread || conn->readable || conn->buf_bytes > 0)) {
        conn_linger(conn);
    } else if (conn->close_after) {
        conn_close(conn);
    } else if (conn->drain_after) {
        conn->drain_after = false;
        conn->window_bytes = 0;
        conn_set_state(conn, CONN_DRAIN);
    } else {
        conn_set_state(conn, CONN_IDLE);
    }
}

/* How many bytes the socket took; -1: it is broken (and closed here). */
static ssize_t conn_send_some(struct conn *conn, struct span bytes)
{
    ssize_t sent = transport_send(conn, bytes);

    if (sent >= 0)
        return sent;
    conn_close(conn);
    return -1;
}

void conn_send(struct conn *conn, struct span bytes)
{
    ssize_t sent = conn_send_some(conn, bytes);

    if (sent < 0)
        return;
    if ((size_t)sent == bytes.bytes) {
        conn_replied(conn);
        return;
    }
    conn->out_bytes = bytes.bytes - (size_t)sent;
    conn->out_at = 0;
    conn->out = conn->loop->replies + conn->out_bytes > CONN_REPLIES_BYTES_MAX
                    ? NULL : loop_buf_take(conn->loop, conn->out_bytes, &conn->out_size);
    if (conn->out == NULL) {
        conn_reset(conn);
        return;
    }
    conn->loop->replies += conn->out_size;
    memcpy(conn->out, bytes.at + sent, conn->out_bytes);
    conn->window_bytes = 0;
    conn_set_state(conn, CONN_WRITE);
}

static void conn_write_more(struct conn *conn)
{
    ssize_t sent = conn_send_some(conn, span_of(conn->out + conn->out_at, conn->out_bytes - conn->out_at));

    if (sent < 0)
        return;
    conn->out_at += (size_t)sent;
    if (conn->out_at < conn->out_bytes) {
        conn->window_bytes += (size_t)sent;
        if (conn->window_bytes >= (uint64_t)conn->loop->shared->settings->reply_timeout_us * CONN_RATE_MIN / 1000000 + 1) {
            conn->window_bytes = 0;
            conn_set_state(conn, CONN_WRITE); /* enough progress: the time begins anew */
        }
        return;
    }
    conn_drop_out(conn);
    conn_replied(conn);
}

void conn_give_up(struct conn *conn)
{
    conn->close_after = conn->unread = true;
    conn->path = ENDPOINT_PATH_OTHER;
    conn->request_us = conn->loop->mono_us;
}

/* --- what happens to it ------------------------------------------------------------------------ */

/* A reply is out: on with what came meanwhile, when it is its turn. */
static void conn_resume(struct conn *conn)
{
    if (conn->buf != NULL || conn->readable)
        loop_queue_add(conn);
}

void conn_on_event(struct conn *conn, uint32_t events)
{
    assert(conn->magic == CONN_MAGIC);
    if (conn->state == CONN_CLOSED)
        return;
    /* A page that is left resets its connections, behind requests that it sent whole: they are read first. */
    if ((events & (EPOLLERR | EPOLLHUP)) && !conn_wants_input(conn)) {
        conn_close(conn);
        return;
    }
    if (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        conn->ended = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        conn->readable = true;
    if (conn->state == CONN_HELLO && !conn_hello(conn))
        return;
    if ((events & EPOLLOUT) && conn->state == CONN_WRITE) {
        conn_write_more(conn);
        if (conn->state != CONN_IDLE && conn->state != CONN_DRAIN)
            return;
        conn_resume(conn);
        return;
    }
    if (!conn->readable || !conn_wants_input(conn))
        return;
    /* Who may be sent away is so at once; who waits already, or has begun, keeps its place. */
    if (loop_queue_judges(conn->loop) && !conn->queued && conn->state != CONN_BODY)
        conn_judge(conn);
    else
        loop_queue_add(conn);
}

void conn_on_ack(struct conn *conn, const struct refusal *refusal)
{
    assert(conn->state == CONN_WAIT);
    conn->also = 0;
    if (refusal != NULL) {
        capture_count_refusal(conn->loop->shared->metrics, refusal->cause, conn->accepted);
        conn_reply_refusal(conn, refusal, span_of(conn->origin, conn->origin_bytes));
    } else {
        capture_count(conn->loop->shared->metrics, CAPTURE_METRIC_EVENTS_INGESTED, conn->accepted);
        conn_reply_accepted(conn);
    }
    if (conn->state == CONN_IDLE)
        conn_resume(conn);
}

void conn_on_metrics(struct conn *conn, struct span text)
{
    bool         ok = text.at != NULL;
    struct reply reply = { .status = ok ? 200 : 503,
                           .retry_after_s = ok ? 0 : 1,
                           .type = ok ? "text/plain; version=0.0.4; charset=utf-8" : "text/plain; charset=utf-8",
                           .body = ok ? text : SPAN("metrics cannot be read"),
                           .origin = span_of(conn->origin, conn->origin == NULL ? 0 : conn->origin_bytes) };

    assert(conn->state == CONN_WAIT);
    conn_reply(conn, &reply);
    if (conn->state == CONN_IDLE)
        conn_resume(conn);
}

/* A body in its stall window: enough has come and the next window begins. */
static bool conn_body_goes_on(struct conn *conn)
{
    uint64_t least = (uint64_t)conn->loop->shared->settings->body_stall_us * CONN_RATE_MIN / 1000000;

    if (conn->window_bytes < least || conn->window_bytes == 0)
        return false;
    conn->window_bytes = 0;
    conn_set_state(conn, conn->state);
    return true;
}

static void conn_on_stall(struct conn *conn)
{
    struct loop   *loop = conn->loop;
    struct refusal refusal;
    bool           known;

    capture_count(loop->shared->metrics, CAPTURE_METRIC_BODY_TIMEOUTS, 1);
    refusal_set(&refusal, 408, REFUSAL_BODY_TIMEOUT, "client stopped sending data");
    capture_count_refusal(loop->shared->metrics, refusal.cause, 1);
    conn_give_up(conn);
    known = conn_head_again(conn, conn->buf);
    if (conn->path == ENDPOINT_PATH_I_V1_EVENTS)
        capture_count(loop->shared->metrics, CAPTURE_METRIC_V1_BODY_TIMEOUTS, 1);
    conn_reply_refusal(conn, &refusal, known ? conn_origin(conn) : (struct span){ 0 });
}

void conn_on_deadline(struct conn *conn)
{
    struct refusal refusal;

    switch (conn->state) {
    case CONN_HELLO:
        conn_hello_late(conn);
        return;
    case CONN_HEAD:
        if (conn->buf_bytes == 0) {
            conn_close(conn);
            return;
        }
        conn_give_up(conn);
        capture_count_refusal(conn->loop->shared->metrics, REFUSAL_HEADER_TIMEOUT, 1);
        conn_reply_problem(conn, 408, "header_timeout", "the request's headers were not complete in time",
                           (struct span){ 0 });
        return;
    case CONN_BODY:
        if (!conn_body_goes_on(conn))
            conn_on_stall(conn);
        return;
    case CONN_DRAIN:
        if (!conn_body_goes_on(conn))
            conn_close(conn);
        return;
    case CONN_WAIT:
        flight_remove(conn);
        refusal_set(&refusal, 503, REFUSAL_STORAGE_LATE, "service unavailable: the disk is late, send again");
        conn_on_ack(conn, &refusal);
        return;
    case CONN_WRITE:
        conn_reset(conn);
        return;
    default:
        conn_close(conn);
    }
}
