/* capture/conn_v1.c - v1 requests on a connection. Verdicts wait for the commit as the short 200 of the
 * other endpoints does, so they are kept beside the connection; so is the id that every answer to this
 * request echoes, because the request itself is gone by then. */
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
    request.between = loop_look_begin(conn);
    if (rc == 0)
        rc = v1_intake_run(loop->v1_intake, &request, loop_filling(loop, INPUT_RAW)->batch, &result, &refusal);
    loop_look_end(loop);
    capture_count_v1(loop->shared->metrics, &result.common, body.bytes, rc < 0 ? refusal.cause : REFUSAL_NONE, clock_mono_us() - from_us);
    if (conn_take(conn, rc, &result.common, body.bytes, &refusal) < 0)
        return;
    capture_count_verdicts(loop->shared->metrics, result.by_verdict);
    conn_await(conn, &result.common, v1_request_id(&loop->request), result.answer, from_us);
}
