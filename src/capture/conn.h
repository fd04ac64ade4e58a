/* capture/conn.h - one connection: reads requests, waits for the commit, writes replies.
 *
 *   HELLO (a PROXY header, a TLS handshake) --> HEAD
 *
 *            first byte           head whole, body not        records in the batch
 *   IDLE ------------------> HEAD ---------------------> BODY ---------------------> WAIT
 *    ^ ^                      |  \______________________/  |                           | ack or 503
 *    | |   a reply at once    |                            v                           v
 *    | +----------------------+<------------------------ (reply) <--------------------+
 *    |                                                     | socket full
 *    +--- DRAIN <-- body too large, still coming           v
 *    |                                                   WRITE --> IDLE
 *    +--------- LINGER (answered, closing: what still comes is thrown away) --> CLOSED
 *
 * A request that came whole is parsed where it was read, in the loop's own buffer; only what must wait
 * for more bytes gets a buffer of its own. One request is in work at a time: pipelined ones wait in the
 * buffer, and nothing more is read meanwhile.
 * @thread the loop that accepted it, for life. */
#ifndef PENSTOCK_CAPTURE_CONN_H
#define PENSTOCK_CAPTURE_CONN_H

#include "capture/client_ip.h"
#include "capture/endpoint.h"
#include "capture/refusal.h"
#include "capture/rules.h"
#include "capture/reply.h"
#include "wire/http1.h"

#define CONN_STATES(X) X(FREE) X(HELLO) X(IDLE) X(HEAD) X(BODY) X(WAIT) X(WRITE) X(DRAIN) X(LINGER) X(CLOSED)
#define CONN_STATE_ENUM(name) CONN_##name,
enum conn_state { CONN_STATES(CONN_STATE_ENUM) CONN_STATE_COUNT };

enum { CONN_MAGIC = 0x434f4e4e };

struct loop;
struct flight;
struct address;
struct intake_result;
struct ssl_st;

struct conn {
    uint32_t magic;
    int      fd;
    struct loop *loop; /* fixed after accept */
    const struct role_listener *listener;

    /* written by conn_set_state alone */
    enum conn_state state;
    struct conn    *timer_prev, *timer_next; /* in the list of its state */
    int64_t         deadline_us;

    /* waits for its turn: loop_queue.c */
    bool         queued, queued_behind;
    bool         more; /* of what is in the buffer: it had its share of this turn, or was put off */
    bool         put_off; /* the request at the buffer's begin was judged when it was noticed, and may come in */
    struct conn *queue_prev, *queue_next;
    int64_t      queued_us;

    struct address *address; /* its place in the table of addresses; NULL: not counted */
    uint32_t        project; /* of the last request that was taken; 0: none yet */
    struct ssl_st *tls; /* NULL: as it comes (capture/transport.h) */
    bool tls_broken;    /* nothing more may be sent through it */
    bool hello_waits;   /* HELLO: in the loop's line, by wait_prev and wait_next */

    bool readable;    /* the socket may hold more than was read */
    bool ended;       /* the peer has closed its side: readable until 0 was read */
    bool close_after; /* the reply to come is the last */
    bool unread;      /* bytes may come that nobody will read: linger before closing */
    bool drain_after; /* the reply to come answers a body that is still coming (body_length) */
    bool beacon, http10, head_only, chunked;
    bool imports;     /* its last events were an import's */
    uint8_t path;    /* enum endpoint_path of the request in work */
    uint8_t trust;   /* enum client_ip_trust: whose word counts for the client's address */
    bool    proxied; /* its PROXY header was read */
    uint8_t ip_bytes;
    char    ip[CLIENT_IP_BYTES_MAX + 1];

    /* the request that is coming in: head and body from the buffer's start; NULL buf: nothing kept */
    uint8_t *buf;
    size_t   buf_bytes, buf_size;
    size_t   head_bytes, body_bytes; /* BODY: body_bytes of it are there, decoded when chunked */
    uint64_t body_length;            /* BODY, not chunked; DRAIN: still to come, chunked: so much more may come */
    size_t   scanned;
    struct http1_chunks chunks;
    int64_t  window_us;              /* BODY: begin of the stall window, and what has come in it */
    uint64_t window_bytes;

    /* WAIT */
    struct flight *flight;
    uint64_t       also; /* 0, or: it waits for this commit of the lane of imports, too */
    struct conn   *wait_prev, *wait_next;
    int64_t        request_us;
    uint32_t       accepted;
    uint8_t       *origin; /* a copy, for the answer; NULL: none */
    uint16_t       origin_bytes;
    uint8_t       *answer; /* v1: the PostHog-Request-Id, then the verdicts; NULL: another endpoint */
    size_t         answer_id_bytes, answer_bytes, answer_size; /* answer_bytes: of both */

    /* WRITE */
    uint8_t *out;
    size_t   out_at, out_bytes, out_size;
};

/* fd is taken. NULL: no memory (fd is closed). */
struct conn *conn_new(struct loop *loop, const struct role_listener *listener, int fd_take);
/* Something happened on the socket. */
void conn_on_event(struct conn *conn, uint32_t events);
/* Something came that is not begun, while more comes than can be done: it is sent away, answered when it brings no
 * events, or put off until its turn. */
void conn_judge(struct conn *conn);
/* Its turn: handles what it has and what its socket has, some requests at most. */
void conn_run(struct conn *conn);
/* Its state's time is over. */
void conn_on_deadline(struct conn *conn);
/* The commit of its records is done (ok), or failed. It has left the flight's list. */
void conn_on_ack(struct conn *conn, const struct refusal *refusal);
void conn_close(struct conn *conn);
/* Closed for a turn: the memory may be used again. */
void conn_retire(struct conn *conn);

/* Whose connection it is: the socket's peer, or (conn->proxied) whom a PROXY header named; NULL: somebody without an address. */
void conn_set_peer(struct conn *conn, const struct ip *peer);

/* --- conn_hello.c ------------------------------------------------------------------------------- */

/* Whether connections of its listener begin with something before HTTP. */
bool conn_hello_needed(const struct conn *conn);
/* HELLO: goes on with it. True: it is over, and requests may follow. */
bool conn_hello(struct conn *conn);
/* HELLO: its time is over. */
void conn_hello_late(struct conn *conn);
/* Closing: leaves the loop's line, if it stands there. */
void conn_hello_leave(struct conn *conn);
/* The begin of a turn: those who wait in line, as many as a turn has time for. */
void conn_hello_turn(struct loop *loop);

/* --- between conn.c, conn_read.c, conn_step.c and conn_request.c --------------------------------- */

void conn_set_state(struct conn *conn, enum conn_state next);
static inline bool conn_wants_input(const struct conn *conn)
{
    return conn->state == CONN_IDLE || conn->state == CONN_HEAD || conn->state == CONN_BODY ||
           conn->state == CONN_DRAIN || conn->state == CONN_LINGER;
}
/* What it keeps of what came. */
void conn_drop_buf(struct conn *conn);
/* The reply to come is for a request that will not come whole, and is the last. */
void conn_give_up(struct conn *conn);
/* Answered, and closing: what still comes is thrown away for a while. Closing with unread bytes would reset the connection, and the answer
 * might never be read. */
void conn_linger(struct conn *conn);
/* Sends now what the socket takes, keeps the rest; the next state follows. */
void conn_send(struct conn *conn, struct span bytes);
void conn_reply(struct conn *conn, struct reply *reply);
void conn_reply_refusal(struct conn *conn, const struct refusal *refusal, struct span origin);
/* The form of errors below the endpoints: JSON. */
void conn_reply_problem(struct conn *conn, int status, const char *code, const char *detail, struct span origin);
/* 200 or 204 for a request whose events are safe. */
void conn_reply_accepted(struct conn *conn);
/* Where the request in loop->request asks to be answered to; bytes 0: no Origin, or one too long to keep. */
struct span conn_origin(const struct conn *conn);
/* conn_v1.c: a whole v1 request; its verdicts, when its events are safe; its refusals, as JSON. */
void conn_handle_v1(struct conn *conn, struct span body);
/* The text for /metrics is there; at NULL: it cannot be read. The connection has left its list. */
void conn_on_metrics(struct conn *conn, struct span text);
/* conn_replay.c: a whole request of /s. */
void conn_handle_replay(struct conn *conn, const struct endpoint *endpoint, uint8_t *body, size_t body_bytes);
void conn_reply_verdicts(struct conn *conn);
void conn_reply_v1_refusal(struct conn *conn, const struct refusal *refusal, struct span origin);
/* Whether the answer to the request in work is as most are: no origin, kept alive; and its sending. */
bool conn_is_plain(const struct conn *conn, struct span origin);
void conn_reply_ready(struct conn *conn, const struct reply_ready *ready);
/* conn_shed.c: the answers of the loop's that need no writing. */
void conn_shed_make(struct loop *loop);
/* conn_shed.c: what becomes of the request in loop->request, whose head was read. SHED: it is answered. */
enum shed { SHED_NOT, SHED_DONE, SHED_PUT_OFF };
enum shed conn_shed(struct conn *conn);
/* conn_segment.c: a whole request of Segment's API, of events or of what its SDKs ask beside; its refusals, as JSON. allow: the
 * methods that may be used, with a 405; else NULL. */
void conn_handle_segment(struct conn *conn, uint8_t *body, size_t body_bytes);
void conn_handle_segment_config(struct conn *conn, enum endpoint_kind kind, struct span key);
void conn_reply_segment_refusal(struct conn *conn, const struct refusal *refusal, struct span origin, const char *allow);
/* For all kinds of event endpoints. conn_check_room: -1: a body of this size cannot be taken now. */
int  conn_check_room(const struct conn *conn, size_t body_bytes, struct refusal *refusal) must_check;
/* What a request that was taken has cost, to its project. */
void conn_note_work(struct conn *conn, const struct intake_result *result);
/* What came of it (rc, refusal: as the intake gave them), counted. -1: refused, and answered so. */
int  conn_take(struct conn *conn, int rc, const struct intake_result *result, size_t body_bytes, const struct refusal *refusal) must_check;
/* Taken: answered at once when there is nothing to wait for, and otherwise when the log has it. answer: its 200, where that is
 * another than the usual, behind the id of a v1 request; copied. from_us: when work on it began. */
void conn_await(struct conn *conn, const struct intake_result *result, struct span id, struct span answer, int64_t from_us);
struct span conn_client_ip(const struct conn *conn);
/* What the rules want to know of the request in work. */
struct rules_request conn_rules(struct conn *conn);
int  conn_keep_origin(struct conn *conn) must_check;
/* BODY: brings the head at `at` back into loop->request, for an answer before the body is whole. False: there
 * is no whole head yet. */
bool conn_head_again(struct conn *conn, const uint8_t *at);
/* A whole request (loop->request, body at `body`): answers, or puts records into the batch and waits. */
void conn_handle(struct conn *conn, uint8_t *body, size_t body_bytes);

/* What came of the bytes at `at`, where a request begins. MORE: they are to be kept and more appended;
 * *bytes may have become smaller, because a chunked body is decoded where it lies. USED: the first
 * *used_out of them are done with. */
enum conn_step { STEP_MORE, STEP_USED };
enum conn_step conn_step(struct conn *conn, uint8_t *at, size_t *bytes, size_t *used_out);

#endif
