/* capture/conn_segment.c - requests of Segment's API on a connection. Its 200 has a body of its own, which is kept
 * with the connection until the commit, as the verdicts of conn_v1.c are: then the short way of the other endpoints
 * needs not ask what kind of request it answers. */
#include "base/clock.h"
#include "capture/loop.h"
#include "capture/segment_answer.h"

void conn_reply_segment_refusal(struct conn *conn, const struct refusal *refusal, struct span origin, const char *allow)
{
    struct buf  *body = &conn->loop->answer;
    struct reply reply = { .status = refusal->status,
                           .type = "application/json",
                           .origin = origin,
                           .allow = allow,
                           .retry_after_s = refusal->retry_after_s };

    buf_reset(body);
    segment_answer_error(body, refusal);
    reply.body = buf_span(body);
    conn_reply(conn, &reply);
}

static int conn_segment_ready(struct loop *loop, struct refusal *refusal)
{
    if (loop->segment_intake == NULL)
        loop->segment_intake = segment_intake_new(loop->shared->settings);
    if (loop->segment_intake == NULL)
        return refusal_set(refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: no memory");
    return 0;
}

void conn_handle_segment(struct conn *conn, uint8_t *body, size_t body_bytes)
{
    struct loop               *loop = conn->loop;
    const struct http_request *http = &loop->request;
    struct segment_request     request = { .route = segment_route_of(http->path),
                                           .query = http->query,
                                           .authorization = http->known[HTTP_AUTHORIZATION],
                                           .content_encoding = http->known[HTTP_CONTENT_ENCODING],
                                           .body = body,
                                           .body_bytes = body_bytes,
                                           .ip = conn_client_ip(conn),
                                           .now_us = loop->wall_us,
                                           .rules = conn_rules(conn),
                                           .historical = loop_filling(loop, INPUT_HISTORICAL)->batch };
    struct intake_result       result = { 0 };
    struct refusal             refusal;
    int64_t                    from_us = clock_mono_us();
    int                        rc;

    request.rules.browser = false; /* 429 is the right word for all SDKs of this API: each of them sends again */
    rc = conn_check_room(conn, body_bytes, &refusal);
    if (rc == 0)
        rc = conn_segment_ready(loop, &refusal);
    request.between = loop_look_begin(conn);
    if (rc == 0)
        rc = segment_intake_run(loop->segment_intake, &request, loop_filling(loop, INPUT_RAW)->batch, &result, &refusal);
    loop_look_end(loop);
    if (conn_take(conn, rc, &result, body_bytes, &refusal) == 0)
        conn_await(conn, &result, (struct span){ 0 }, SPAN(SEGMENT_SUCCESS), from_us);
}

/* --- what SDKs ask beside ---------------------------------------------------------------------- */

/* A key that nobody has is told when the SDK starts, not when its first event is lost. */
static bool conn_key_known(struct conn *conn, struct span key)
{
    struct rules_request rules = conn_rules(conn);
    struct refusal       refusal;

    if (key.bytes > 0 && rules.find(rules.find_ctx, key) != NULL)
        return true;
    refusal_set(&refusal, 404, REFUSAL_UNKNOWN_TOKEN, "the write key is not known: no project has it");
    capture_count_refusal(conn->loop->shared->metrics, refusal.cause, 1);
    conn_reply_refusal(conn, &refusal, conn_origin(conn));
    return false;
}

void conn_handle_segment_config(struct conn *conn, enum endpoint_kind kind, struct span key)
{
    struct loop         *loop = conn->loop;
    struct buf          *body = &loop->answer;
    struct reply         reply = { .status = 200, .type = "application/json", .origin = conn_origin(conn) };
    char                 storage[SEGMENT_KEY_BYTES_MAX];
    struct segment_asked asked = { .http = &loop->request,
                                   .tls = conn->tls != NULL,
                                   .trust_forwarded = loop->shared->settings->trust_forwarded };

    if (kind == ENDPOINT_RUDDER_CONFIG) {
        key = segment_key_find(loop->request.known[HTTP_AUTHORIZATION], loop->request.query, storage);
        if (loop->request.method == HTTP_HEAD) { /* asked without a key, to see whether something blocks it */
            reply.body = SPAN("{}");
            conn_reply(conn, &reply);
            return;
        }
    }
    buf_reset(body);
    if (kind == ENDPOINT_SEGMENT_METRICS) {
        buf_add_text(body, SEGMENT_SUCCESS);
    } else {
        if (!conn_key_known(conn, key))
            return;
        if (kind == ENDPOINT_SEGMENT_SETTINGS)
            segment_answer_settings(body, key, &asked);
        else
            segment_answer_source(body, key);
    }
    reply.body = buf_span(body);
    conn_reply(conn, &reply);
}
