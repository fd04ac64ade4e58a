/* capture/conn_read.c - where the bytes of a connection go: to its request, where the loop reads, to a buffer of its own while
 * more is to come, or nowhere.
 *
 * In an overload nineteen of twenty requests are answered by their head alone. So their bodies are never copied: a first
 * piece is read, which holds the head, and the rest is thrown away inside the kernel. Batches of 200 KB that were read to be
 * refused took a third of the server's time, at twenty times what it could do. A request that may come in leaves its body in the kernel until its turn. */
#include <assert.h>

#include "capture/loop.h"
#include "capture/transport.h"

enum {
    CONN_TURN_REQUESTS_MAX = 16,        /* pipelined ones, answered at once, before others have their turn */
    CONN_JUDGE_BYTES = 4 << 10,         /* the head of nearly every request, and the whole of most of one event */
    CONN_SKIP_BYTES_MAX = 1 << 20,      /* what nobody reads, at once */
    CONN_AHEAD_BYTES_MAX = 64 << 10     /* room made for what was announced and has not come, where memory is short */
};

/* Of a body that comes in chunks; how much more of it is thrown away is in body_length, then the connection ends. */
static size_t conn_drain_chunks(struct conn *conn, uint8_t *at, size_t bytes)
{
    size_t              used = bytes, thrown;
    struct http_problem problem;
    enum http1_answer   answer = http1_chunks_feed(&conn->chunks, at, &used, &thrown, &problem);

    if (answer == HTTP1_DONE) {
        conn_set_state(conn, CONN_IDLE);
        return used;
    }
    if (answer == HTTP1_WRONG || thrown > conn->body_length) {
        conn_linger(conn);
        return bytes;
    }
    conn->body_length -= thrown;
    return bytes;
}

static size_t conn_drain(struct conn *conn, size_t bytes)
{
    if (bytes > conn->body_length)
        bytes = (size_t)conn->body_length;
    conn->body_length -= bytes;
    if (conn->body_length == 0)
        conn_set_state(conn, CONN_IDLE);
    return bytes;
}

/* Handles what is there, request by request; returns how much of it is done with. *bytes as conn_step. */
static size_t conn_eat(struct conn *conn, uint8_t *at, size_t *bytes)
{
    size_t eaten = 0;
    int    steps = 0;

    while (eaten < *bytes && conn_wants_input(conn)) {
        size_t left = *bytes - eaten;
        size_t used = 0;

        if (steps++ == CONN_TURN_REQUESTS_MAX) {
            conn->more = true;
            break;
        }

        if (conn->state == CONN_LINGER)
            return *bytes;
        if (conn->state == CONN_DRAIN) {
            eaten += conn->chunked ? conn_drain_chunks(conn, at + eaten, left) : conn_drain(conn, left);
            continue;
        }
        if (conn_step(conn, at + eaten, &left, &used) == STEP_MORE) {
            *bytes = eaten + left;
            break;
        }
        eaten += used;
    }
    return eaten;
}

/* Room for more of the request in the connection's own buffer. -1: answered. */
static int conn_make_room(struct conn *conn)
{
    struct loop *loop = conn->loop;
    size_t       want = conn->buf_size * 4;
    size_t       size;
    uint8_t     *buf;

    if (conn->buf_bytes < conn->buf_size)
        return 0;
    if (conn->state == CONN_BODY && !conn->chunked) {
        size_t whole = conn->head_bytes + (size_t)conn->body_length;

        if (whole > conn->buf_size && whole < want)
            want = whole;
    }
    buf = loop_memory(loop) + want > loop->memory_max ? NULL : loop_buf_take(loop, want, &size);
    if (buf == NULL) {
        struct refusal refusal;

        refusal_set(&refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: too many bodies are being received");
        capture_count_refusal(loop->shared->metrics, refusal.cause, 1);
        conn_give_up(conn);
        conn_reply_refusal(conn, &refusal, conn_head_again(conn, conn->buf) ? conn_origin(conn) : (struct span){ 0 });
        return -1;
    }
    memcpy(buf, conn->buf, conn->buf_bytes);
    loop_buf_give(loop, conn->buf, conn->buf_size);
    conn->buf = buf;
    conn->buf_size = size;
    return 0;
}

/* What the loop's buffer holds and cannot be handled yet moves to a buffer of the connection's own. */
static void conn_keep(struct conn *conn, const uint8_t *at, size_t bytes)
{
    size_t want = bytes;

    assert(conn->buf == NULL);
    if (conn->state == CONN_BODY && !conn->chunked && bytes >= LOOP_CONN_BUF_FIRST_BYTES * 4) {
        size_t whole = conn->head_bytes + (size_t)conn->body_length;

        want = whole < bytes * 16 ? whole : bytes * 16; /* who has sent much may have room for more at once */
        if (conn->loop->memory_now > conn->loop->memory_max / 4 && want > bytes + CONN_AHEAD_BYTES_MAX)
            want = bytes;
    }
    conn->buf = loop_buf_take(conn->loop, want, &conn->buf_size);
    if (conn->buf == NULL) {
        conn_close(conn);
        return;
    }
    memcpy(conn->buf, at, bytes);
    conn->buf_bytes = bytes;
}

static void conn_eat_own(struct conn *conn)
{
    size_t bytes = conn->buf_bytes;
    size_t eaten = conn_eat(conn, conn->buf, &bytes);

    if (conn->state == CONN_CLOSED || conn->buf == NULL)
        return;
    if (eaten == bytes) {
        conn_drop_buf(conn);
        return;
    }
    if (eaten > 0)
        memmove(conn->buf, conn->buf + eaten, bytes - eaten);
    conn->buf_bytes = bytes - eaten;
}

static void conn_eat_shared(struct conn *conn, size_t bytes)
{
    uint8_t *at = conn->loop->read_buf;
    size_t   eaten = conn_eat(conn, at, &bytes);

    if (conn->state != CONN_CLOSED && conn->state != CONN_LINGER && eaten < bytes)
        conn_keep(conn, at + eaten, bytes - eaten);
}

static void conn_note_bytes(struct conn *conn, ssize_t got)
{
    conn->readable |= conn->ended;
    conn->window_bytes += (size_t)got;
}

/* Bytes of a body that was answered already, or behind the last answer. Of a few it is cheaper to copy what is behind them, too. */
static bool conn_skips(const struct conn *conn)
{
    return conn->buf == NULL && (conn->state == CONN_LINGER || (conn->state == CONN_DRAIN && !conn->chunked && conn->body_length > CONN_JUDGE_BYTES));
}

static ssize_t conn_skip(struct conn *conn)
{
    struct loop *loop = conn->loop;
    size_t       most = conn->state == CONN_DRAIN && conn->body_length < CONN_SKIP_BYTES_MAX ? (size_t)conn->body_length : CONN_SKIP_BYTES_MAX;
    ssize_t      got = transport_skip(conn, most, loop->read_buf, LOOP_READ_BYTES);

    if (got > 0)
        conn_note_bytes(conn, got);
    if (got > 0 && conn->state == CONN_DRAIN)
        (void)conn_drain(conn, (size_t)got);
    return got;
}

/* While requests are sent away, most of them need no more than their head. */
static ssize_t conn_receive(struct conn *conn)
{
    struct loop *loop = conn->loop;
    ssize_t      got;

    if (conn->buf == NULL) {
        got = transport_receive(conn, loop->read_buf, loop->judging ? CONN_JUDGE_BYTES : LOOP_READ_BYTES);
        if (got > 0) {
            conn_note_bytes(conn, got);
            conn_eat_shared(conn, (size_t)got);
        }
        return got;
    }
    got = transport_receive(conn, conn->buf + conn->buf_bytes, conn->buf_size - conn->buf_bytes);
    if (got > 0) {
        conn_note_bytes(conn, got);
        conn->buf_bytes += (size_t)got;
        conn_eat_own(conn);
    }
    return got;
}

static void conn_read(struct conn *conn)
{
    while (conn->readable && !conn->more && conn_wants_input(conn)) {
        ssize_t got;

        if (conn->buf != NULL && conn_make_room(conn) < 0)
            return;
        got = conn_skips(conn) ? conn_skip(conn) : conn_receive(conn);
        if (got == TRANSPORT_AGAIN) {
            conn->readable = conn->ended;
            return;
        }
        if (got <= 0) {
            conn_close(conn);
            return;
        }
    }
}

/* A request that was put off with its head, and may come in: the rest of it is read where requests are that come whole. */
static void conn_eat_joined(struct conn *conn)
{
    struct loop *loop = conn->loop;
    size_t       kept = conn->buf_bytes;
    ssize_t      got;

    memcpy(loop->read_buf, conn->buf, kept);
    got = transport_receive(conn, loop->read_buf + kept, LOOP_READ_BYTES - kept);
    if (got <= 0) {
        conn->readable = conn->ended || got != TRANSPORT_AGAIN; /* the end is seen again, behind what came before it */
        conn_eat_own(conn);
        return;
    }
    conn_note_bytes(conn, got);
    conn_drop_buf(conn);
    conn_eat_shared(conn, kept + (size_t)got);
}

void conn_run(struct conn *conn)
{
    bool more = conn->more;

    conn->more = false;
    if (conn->buf != NULL && (conn->state == CONN_IDLE || more)) {
        if (conn->put_off && conn->readable && conn->loop->level != PRESSURE_ALL && conn->buf_bytes < LOOP_READ_BYTES / 2)
            conn_eat_joined(conn);
        else
            conn_eat_own(conn);
    }
    conn_read(conn);
    if (conn->more && conn->state != CONN_CLOSED)
        loop_queue_add(conn);
}

void conn_judge(struct conn *conn)
{
    conn->loop->judging = true;
    conn_run(conn);
    conn->loop->judging = false;
}
