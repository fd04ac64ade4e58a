/* capture/conn_v1.c - v1 requests on a connection. Verdicts wait for the commit as the short 200 of the
 * other endpoints does, so they are kept beside the connection; so is the id that every answer to this
 * request echoes, because the request itself is gone by then. */
#include <assert.h>

#include "base/clock.h"
#include "capture/loop.h"
#include "capture/v1_answer.h"

static struct span conn_v1_id(const struct conn *conn)
{
    return conn->answer == NULL ? v1_request_id(&conn->loop->request) : span_of(conn->answer, conn->answer_id_bytes);
}

void conn_reply_v1_refusal(struct conn *conn, const struct refusal *refusal, struct span origin)
{
    struct buf  *body = &conn->loop->answer;
    struct reply reply = { .status = refusal->status,
                           .type = "application/json",
                           .origin = origin,
                           .request_id = conn_v1_id(conn),
                           .allow = refusal->status == 405 ? "POST,OPTIONS" : NULL,
                           .retry_after_s = v1_answer_retry_s(refusal) };

    buf_reset(body);
    v1_answer_error(body, refusal);
    reply.body = buf_span(body);
    conn_reply(conn, &reply);
}

void conn_reply_verdicts(struct conn *conn)
{
    struct reply reply = { .status = 200,
                           .type = "application/json",
                           .body = span_of(conn->answer + conn->answer_id_bytes, conn->answer_bytes - conn->answer_id_bytes),
                           .origin = span_of(conn->origin, conn->origin == NULL ? 0 : conn->origin_bytes),
                           .request_id = conn_v1_id(conn) };

    conn_reply(conn, &reply);
}

/* -1: no memory. */
static int conn_keep_verdicts(struct conn *conn, struct span verdicts)
{
    struct span id = v1_request_id(&conn->loop->request);

    assert(conn->answer == NULL);
    conn->answer = loop_buf_take(conn->loop, id.bytes + verdicts.bytes, &conn->answer_size);
    if (conn->answer == NULL)
        return -1;
    memcpy(conn->answer, id.at, id.bytes);
    memcpy(conn->answer + id.bytes, verdicts.at, verdicts.bytes);
    conn->answer_id_bytes = id.bytes;
    conn->answer_bytes = id.bytes + verdicts.bytes;
    return 0;
}

void conn_handle_v1(struct conn *conn, struct span body)
{
    struct loop             *loop = conn->loop;
    struct v1_intake_request request = { .http = &loop->request,
                                         .body = body,
                                         .ip = conn_client_ip(conn),
                                         .now_us = loop->wall_us,
                                         .rules = conn_rules(conn),
                                         .historical = loop_filling(loop, INPUT_HISTORICAL)->batch };
    struct v1_intake_result  result = { 0 };
    struct refusal           refusal;
    int64_t                  from_us = clock_mono_us();
    int                      rc;

    rc = conn_check_room(conn, body.bytes, &refusal);
    if (rc == 0)
        rc = v1_intake_run(loop->v1_intake, &request, loop_filling(loop, INPUT_RAW)->batch, &result, &refusal);
    capture_count_intake(loop->shared->metrics, &result.common, body.bytes);
    if (rc < 0) {
        capture_count_refusal(loop->shared->metrics, refusal.cause, result.common.events);
        conn_reply_refusal(conn, &refusal, conn_origin(conn));
        return;
    }
    capture_count_verdicts(loop->shared->metrics, result.by_verdict);
    conn_note_work(conn, &result.common);
    conn->beacon = false;
    conn->accepted = result.common.accepted;
    if (conn_keep_origin(conn) < 0 || conn_keep_verdicts(conn, result.answer) < 0) {
        conn_close(conn); /* no memory: the client sends again, the ids are the same */
        return;
    }
    if (result.common.accepted == 0) {
        conn_reply_accepted(conn);
        return;
    }
    loop_add(loop, result.common.historical ? INPUT_HISTORICAL : INPUT_RAW, conn, from_us);
}
