/* capture/conn_step.c - from bytes to a whole request. The head is parsed again when a body that came in
 * parts is complete: its spans pointed into a buffer that has moved since, and a second look costs less
 * than keeping a hundred headers for every slow connection. */
#include <assert.h>

#include "capture/loop.h"
#include "capture/transport.h"

/* The head is whole and fine; what follows belongs to its body. */
static void conn_begin(struct conn *conn)
{
    const struct http_request *request = &conn->loop->request;

    conn->head_bytes = request->head_bytes;
    conn->body_bytes = 0;
    conn->body_length = request->content_length;
    conn->chunked = request->chunked;
    conn->close_after = !request->keep_alive || conn->loop->draining;
    conn->unread = false;
    conn->drain_after = false;
    conn->http10 = request->minor == 0;
    conn->head_only = request->method == HTTP_HEAD;
    conn->window_bytes = 0;
    if (request->chunked)
        http1_chunks_init(&conn->chunks);
}

bool conn_head_again(struct conn *conn, const uint8_t *at)
{
    struct http_problem problem;
    struct span         token;

    if (conn->state != CONN_BODY ||
        http1_parse(span_of(at, conn->head_bytes), 0, &conn->loop->request, &problem) != HTTP1_DONE)
        return false;
    conn->path = (uint8_t)endpoint_find(conn->loop->request.path, &token)->path;
    return true;
}

/* Whether so much is fine for every endpoint: then nobody has to ask which one it is. */
static bool conn_body_small(const struct conn *conn, uint64_t bytes)
{
    const struct capture_settings *settings = conn->loop->shared->settings;

    return bytes <= (uint64_t)settings->v1_body_bytes_max && bytes <= (uint64_t)settings->body_bytes_max &&
           bytes <= (uint64_t)settings->replay_body_bytes_max;
}

/* For the request whose head is in loop->request. */
static size_t conn_body_bytes_max(const struct conn *conn)
{
    const struct capture_settings *settings = conn->loop->shared->settings;
    struct span                    token;
    enum endpoint_kind             kind = endpoint_find(conn->loop->request.path, &token)->kind;

    if (kind == ENDPOINT_REPLAY)
        return (size_t)settings->replay_body_bytes_max;
    if (kind == ENDPOINT_V1_EVENTS && settings->v1_body_bytes_max < settings->body_bytes_max)
        return (size_t)settings->v1_body_bytes_max;
    return (size_t)settings->body_bytes_max;
}

static void conn_refuse_large(struct conn *conn, size_t bytes_max)
{
    struct refusal refusal;
    struct span    token;

    conn->path = (uint8_t)endpoint_find(conn->loop->request.path, &token)->path;
    conn->request_us = conn->loop->mono_us;
    refusal_set(&refusal, 413, REFUSAL_OVERSIZE,
                "maximum event size exceeded: the request body is larger than %zu bytes", bytes_max);
    capture_count_refusal(conn->loop->shared->metrics, refusal.cause, 1);
    capture_count_size(conn->loop->shared->metrics, REFUSAL_SIZE_PLAIN);
    conn_reply_refusal(conn, &refusal, conn_origin(conn));
}

/* Whether the announced length is too large, and answered. A body that is not much too large is read and
 * thrown away, so that the client sees the answer and can go on with this connection. */
static bool conn_announces_too_much(struct conn *conn)
{
    size_t bytes_max;

    if (conn->chunked || conn_body_small(conn, conn->body_length))
        return false;
    bytes_max = conn_body_bytes_max(conn);
    if (conn->body_length <= bytes_max)
        return false;
    if (conn->loop->request.expect_continue || conn->body_length > 2 * bytes_max)
        conn->close_after = conn->unread = true;
    else
        conn->drain_after = true;
    if (conn->close_after)
        conn->unread = true;
    conn_refuse_large(conn, bytes_max);
    return true;
}

static void conn_continue(struct conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    /* Lost when the socket is full, which it is not before a first answer; clients send without it too. */
    (void)transport_send(conn, span_text(text));
}

static enum conn_step conn_want_body(struct conn *conn)
{
    if (conn->state != CONN_BODY) {
        if (conn->loop->request.expect_continue)
            conn_continue(conn);
        conn_set_state(conn, CONN_BODY);
    }
    return STEP_MORE;
}

static void conn_refuse_bytes(struct conn *conn, const struct http_problem *problem)
{
    conn->close_after = conn->unread = true;
    conn->path = ENDPOINT_PATH_OTHER;
    conn->request_us = conn->loop->mono_us;
    capture_count_refusal(conn->loop->shared->metrics, REFUSAL_HTTP, 1);
    conn_reply_problem(conn, problem->status, problem->code, problem->detail, (struct span){ 0 });
}

/* The request at `at` is whole: its head is parsed for the place where it lies now. */
static void conn_finish(struct conn *conn, uint8_t *at, size_t body_bytes)
{
    struct http_problem problem;

    if (conn->state == CONN_BODY) {
        enum http1_answer answer = http1_parse(span_of(at, conn->head_bytes), 0, &conn->loop->request, &problem);

        assert(answer == HTTP1_DONE); /* it was before: the parser looks at the bytes alone */
        (void)answer;
    }
    if (conn->chunked && conn->address != NULL) { /* how long it would be was not known at its head */
        int64_t wait_us;

        (void)addresses_spend(conn->loop->shared->addresses, conn->address, 0, body_bytes, conn->loop->mono_us, &wait_us);
    }
    conn_handle(conn, at + conn->head_bytes, body_bytes);
}

/* Whether what has come in chunks is too large, and answered. As much again is thrown away, so that the client sees the answer and can go
 * on with this connection; done: nothing of it is still to come. */
static bool conn_chunks_too_large(struct conn *conn, const uint8_t *at, bool done)
{
    struct http_problem problem;
    enum http1_answer   answer = http1_parse(span_of(at, conn->head_bytes), 0, &conn->loop->request, &problem);

    assert(answer == HTTP1_DONE); /* as in conn_finish */
    (void)answer;
    if (conn->body_bytes <= conn_body_bytes_max(conn))
        return false;
    conn->unread = conn->drain_after = !done; /* the first, should the connection end with the answer, be it that the server stops */
    conn->body_length = conn_body_bytes_max(conn);
    conn_refuse_large(conn, conn_body_bytes_max(conn));
    return true;
}

static enum conn_step conn_step_chunked(struct conn *conn, uint8_t *at, size_t *bytes, size_t *used_out)
{
    size_t              raw_at = conn->head_bytes + conn->body_bytes;
    size_t              in = *bytes - raw_at;
    size_t              out = 0;
    struct http_problem problem;
    enum http1_answer   answer = http1_chunks_feed(&conn->chunks, at + raw_at, &in, &out, &problem);

    conn->body_bytes += out;
    if (answer == HTTP1_WRONG) {
        *used_out = *bytes;
        conn_refuse_bytes(conn, &problem);
        return STEP_USED;
    }
    *used_out = raw_at + in;
    if (!conn_body_small(conn, conn->body_bytes) && conn_chunks_too_large(conn, at, answer == HTTP1_DONE))
        return STEP_USED;
    if (answer == HTTP1_MORE) {
        *bytes = raw_at + out;
        return conn_want_body(conn);
    }
    conn_finish(conn, at, conn->body_bytes);
    return STEP_USED;
}

enum conn_step conn_step(struct conn *conn, uint8_t *at, size_t *bytes, size_t *used_out)
{
    struct http_problem problem;

    if (conn->state != CONN_BODY) {
        enum http1_answer answer =
            http1_parse(span_of(at, *bytes), conn->scanned, &conn->loop->request, &problem);

        conn->scanned = 0;
        if (answer == HTTP1_WRONG) {
            *used_out = *bytes;
            conn_refuse_bytes(conn, &problem);
            return STEP_USED;
        }
        if (answer == HTTP1_MORE) {
            conn->scanned = *bytes;
            if (conn->state == CONN_IDLE)
                conn_set_state(conn, CONN_HEAD);
            return STEP_MORE;
        }
        conn_begin(conn);
        enum shed shed = SHED_NOT;

        if (conn_announces_too_much(conn))
            shed = SHED_DONE;
        else if (conn->loop->level != PRESSURE_NONE || conn->loop->judging || conn->address != NULL || conn->put_off)
            shed = conn_shed(conn);
        if (shed == SHED_PUT_OFF)
            return STEP_MORE; /* its head will be read again: that costs less than to keep it */
        if (shed == SHED_DONE) {
            *used_out = conn->head_bytes;
            return STEP_USED;
        }
    }
    if (conn->chunked)
        return conn_step_chunked(conn, at, bytes, used_out);
    if (*bytes - conn->head_bytes < conn->body_length)
        return conn_want_body(conn);
    *used_out = conn->head_bytes + (size_t)conn->body_length;
    conn_finish(conn, at, (size_t)conn->body_length);
    return STEP_USED;
}
