/* capture/conn_request.c - what is done with one whole request. Only the event endpoints wait for
 * anything; everything else is answered from memory at once. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"
#include "capture/config_answer.h"
#include "capture/loop.h"
#include "wire/json.h"

enum {
    CONN_ORIGIN_BYTES_MAX = 512, /* longer than any origin: a host name has 253 */
    CONN_EVENT_WORK = 512        /* what an event costs beside its bytes, in bytes: measured, some 0.3 us */
};

struct span conn_origin(const struct conn *conn)
{
    struct span origin = conn->loop->request.known[HTTP_ORIGIN];

    return origin.bytes > CONN_ORIGIN_BYTES_MAX ? (struct span){ 0 } : origin;
}

/* --- answers ----------------------------------------------------------------------------------- */

static void conn_count_answer(struct conn *conn, int status)
{
    struct capture_metrics *metrics = conn->loop->shared->metrics;

    capture_count_answer(metrics, (enum endpoint_path)conn->path, status);
    capture_observe(metrics, CAPTURE_METRIC_REQUEST_SECONDS, (double)(conn->loop->mono_us - conn->request_us) / 1e6);
}

void conn_reply(struct conn *conn, struct reply *reply)
{
    struct loop *loop = conn->loop;

    if (loop->draining)
        conn->close_after = true;
    reply->close = conn->close_after;
    reply->keep_alive_http10 = conn->http10;
    reply->head_only = conn->head_only;
    buf_reset(&loop->out);
    reply_write(&loop->out, reply, &loop->clock);
    conn_count_answer(conn, reply->status);
    if (loop->out.failed || loop->answer.failed) { /* no memory for all of it */
        buf_reset(&loop->answer);
        conn_close(conn);
    } else {
        conn_send(conn, buf_span(&loop->out));
    }
}

void conn_reply_refusal(struct conn *conn, const struct refusal *refusal, struct span origin)
{
    struct reply reply = { .status = refusal->status,
                           .type = "text/plain; charset=utf-8",
                           .body = span_text(refusal->text),
                           .origin = origin,
                           .retry_after_s = refusal->retry_after_s };

    if (conn->path == ENDPOINT_PATH_I_V1_EVENTS)
        conn_reply_v1_refusal(conn, refusal, origin);
    else if (conn->path == ENDPOINT_PATH_SEGMENT || conn->path == ENDPOINT_PATH_SEGMENT_CONFIG)
        conn_reply_segment_refusal(conn, refusal, origin, NULL);
    else
        conn_reply(conn, &reply);
}

void conn_reply_problem(struct conn *conn, int status, const char *code, const char *detail, struct span origin)
{
    struct buf  *answer = &conn->loop->answer;
    struct reply reply = { .status = status, .type = "application/json", .origin = origin };

    buf_reset(answer);
    buf_add_text(answer, "{\"type\":\"invalid_request\",\"code\":");
    json_write_string(answer, span_text(code));
    buf_add_text(answer, ",\"detail\":");
    json_write_string(answer, span_text(detail));
    buf_add_text(answer, ",\"attr\":null}");
    reply.body = buf_span(answer);
    conn_reply(conn, &reply);
}

static void conn_reply_text(struct conn *conn, int status, const char *type, struct span body)
{
    struct reply reply = { .status = status, .type = type, .body = body, .origin = conn_origin(conn) };

    conn_reply(conn, &reply);
}

bool conn_is_plain(const struct conn *conn, struct span origin)
{
    return origin.bytes == 0 && !conn->close_after && !conn->http10 && !conn->head_only && !conn->loop->draining;
}

void conn_reply_ready(struct conn *conn, const struct reply_ready *ready)
{
    conn_count_answer(conn, ready->status);
    conn_send(conn, span_of(ready->text, ready->bytes));
}

void conn_reply_accepted(struct conn *conn)
{
    struct loop *loop = conn->loop;
    struct reply reply = { .status = 200, .type = "application/json", .body = SPAN("{\"status\":\"Ok\"}") };

    if (conn->origin == NULL && conn->answer == NULL && !conn->beacon && conn_is_plain(conn, (struct span){ 0 })) {
        conn_reply_ready(conn, &loop->ready);
        return;
    }
    if (conn->answer != NULL) {
        conn_reply_verdicts(conn);
        return;
    }
    reply.origin = span_of(conn->origin, conn->origin == NULL ? 0 : conn->origin_bytes);
    if (conn->beacon)
        reply = (struct reply){ .status = 204, .origin = reply.origin };
    conn_reply(conn, &reply);
}

/* --- events ------------------------------------------------------------------------------------ */

static const struct catalog_token *conn_find_sender(void *ctx, struct span token)
{
    struct loop                *loop = ctx;
    const struct catalog_token *sender = catalog_snapshot_find_token(loop->snapshot, token);

    loop->project = sender == NULL ? 0 : sender->project;
    return sender;
}

struct rules_request conn_rules(struct conn *conn)
{
    struct loop *loop = conn->loop;

    return (struct rules_request){ .find = conn_find_sender,
                                   .find_ctx = loop,
                                   .rates = loop->shared->rates,
                                   .mono_us = loop->mono_us,
                                   .browser = loop->request.known[HTTP_ORIGIN].bytes > 0 };
}

/* The origin outlives the buffer that the request lies in. */
int conn_keep_origin(struct conn *conn)
{
    struct span origin = conn_origin(conn);
    size_t      size;

    conn->origin_bytes = 0;
    if (origin.bytes == 0)
        return 0;
    assert(conn->origin == NULL);
    conn->origin = loop_buf_take(conn->loop, LOOP_CONN_BUF_FIRST_BYTES, &size);
    if (conn->origin == NULL)
        return -1;
    memcpy(conn->origin, origin.at, origin.bytes);
    conn->origin_bytes = (uint16_t)origin.bytes;
    return 0;
}

struct span conn_client_ip(const struct conn *conn)
{
    const struct http_request *request = &conn->loop->request;
    struct span                peer = span_of(conn->ip, conn->ip_bytes);

    struct ip                  ip;

    if (conn->trust == CLIENT_IP_PEER)
        return peer;
    if (conn->trust == CLIENT_IP_WALK)
        return client_ip_walk(&conn->loop->shared->client_ip, request, &ip)
                   ? span_of(conn->loop->client_ip, ip_write(&ip, conn->loop->client_ip))
                   : peer;
    return client_ip_choose(request->known[HTTP_X_FORWARDED_FOR], request->known[HTTP_X_REAL_IP], peer);
}

int conn_check_room(const struct conn *conn, size_t body_bytes, struct refusal *refusal)
{
    struct loop *loop = conn->loop;

    if (atomic_load_explicit(&loop->shared->commits[INPUT_RAW], memory_order_acquire) == NULL)
        return refusal_set(refusal, 503, REFUSAL_STORAGE_FULL,
                           "service unavailable: storage_full: no room to begin the log");
    if (loop_memory(loop) + body_bytes > loop->memory_max)
        return refusal_set(refusal, 503, REFUSAL_UNAVAILABLE,
                           "service unavailable: too many events wait for the disk");
    return 0;
}

void conn_note_work(struct conn *conn, const struct intake_result *result)
{
    struct loop *loop = conn->loop;

    conn->project = loop->project;
    pressure_done(&loop->pressure, loop->project, result->text_bytes + (uint64_t)result->events * CONN_EVENT_WORK, loop->mono_us);
}

int conn_take(struct conn *conn, int rc, const struct intake_result *result, size_t body_bytes, const struct refusal *refusal)
{
    struct capture_metrics *metrics = conn->loop->shared->metrics;

    capture_count_intake(metrics, result, body_bytes);
    if (rc < 0) {
        capture_count_refusal(metrics, refusal->cause, result->events);
        capture_count_size(metrics, refusal->size);
        conn_reply_refusal(conn, refusal, conn_origin(conn));
        return -1;
    }
    conn_note_work(conn, result);
    conn->beacon = result->beacon && result->filtered + result->over_quota < result->events;
    conn->accepted = result->accepted;
    return 0;
}

/* -1: no memory. */
static int conn_keep_answer(struct conn *conn, struct span id, struct span answer)
{
    if (answer.bytes == 0)
        return 0;
    assert(conn->answer == NULL);
    conn->answer = loop_buf_take(conn->loop, id.bytes + answer.bytes, &conn->answer_size);
    if (conn->answer == NULL)
        return -1;
    if (id.bytes > 0)
        memcpy(conn->answer, id.at, id.bytes);
    memcpy(conn->answer + id.bytes, answer.at, answer.bytes);
    conn->answer_id_bytes = id.bytes;
    conn->answer_bytes = id.bytes + answer.bytes;
    return 0;
}

void conn_await(struct conn *conn, const struct intake_result *result, struct span id, struct span answer, int64_t from_us)
{
    struct loop *loop = conn->loop;

    if (conn_keep_origin(conn) < 0 || conn_keep_answer(conn, id, answer) < 0) {
        conn_close(conn); /* no memory: the client sends again, the ids are the same */
        return;
    }
    if (result->accepted + result->rejected == 0) {
        conn_reply_accepted(conn);
        return;
    }
    if (result->rejected > 0)
        capture_count(loop->shared->metrics, CAPTURE_METRIC_EVENTS_REJECTED, result->rejected);
    if (result->recording) {
        loop_add(loop, LANE_REPLAY, conn, from_us);
    } else if (result->written[INPUT_RAW] == 0) {
        loop_add(loop, LANE_IMPORTS, conn, from_us);
    } else {
        loop_add(loop, LANE_LIVE, conn, from_us);
        if (result->written[INPUT_HISTORICAL] > 0)
            loop_add_also(loop, conn);
    }
}

static void conn_handle_events(struct conn *conn, const struct endpoint *endpoint, uint8_t *body, size_t body_bytes)
{
    struct loop               *loop = conn->loop;
    const struct http_request *request = &loop->request;
    struct intake_request      intake = { .payload = { .legacy = endpoint->legacy,
                                                       .query = request->query,
                                                       .content_type = request->known[HTTP_CONTENT_TYPE],
                                                       .content_encoding = request->known[HTTP_CONTENT_ENCODING],
                                                       .body = body,
                                                       .body_bytes = body_bytes },
                                          .engage = endpoint->engage,
                                          .llm_only = endpoint->path == ENDPOINT_PATH_AI_BATCH,
                                          .ip = conn_client_ip(conn),
                                          .now_us = loop->wall_us,
                                          .rules = conn_rules(conn),
                                          .historical = loop_filling(loop, INPUT_HISTORICAL)->batch };
    struct intake_result       result = { 0 };
    struct refusal             refusal;
    int64_t                    from_us = clock_mono_us();
    int                        rc;

    rc = conn_check_room(conn, body_bytes, &refusal);
    intake.between = loop_look_begin(conn);
    if (rc == 0)
        rc = intake_run(loop->intake, &intake, loop_filling(loop, INPUT_RAW)->batch, &result, &refusal);
    loop_look_end(loop);
    if (conn_take(conn, rc, &result, body_bytes, &refusal) == 0)
        conn_await(conn, &result, (struct span){ 0 }, (struct span){ 0 }, from_us);
}

/* --- the rest ---------------------------------------------------------------------------------- */

static void conn_handle_preflight(struct conn *conn, const struct endpoint *endpoint)
{
    struct reply reply = { .status = 200,
                           .type = "application/json",
                           .body = SPAN("{\"status\":\"Ok\"}"),
                           .origin = conn_origin(conn),
                           .preflight = true,
                           .methods = endpoint->methods == ENDPOINT_POST ? endpoint_allow(endpoint) : NULL,
                           .headers_asked = conn->loop->request.known[HTTP_AC_REQUEST_HEADERS] };

    conn_reply(conn, &reply);
}

static void conn_handle_method(struct conn *conn, const struct endpoint *endpoint)
{
    struct reply reply = { .status = 405,
                           .type = "application/json",
                           .body = SPAN("{\"type\":\"invalid_request\",\"code\":\"method_not_allowed\","
                                        "\"detail\":\"this path does not take this method\",\"attr\":null}"),
                           .origin = conn_origin(conn),
                           .allow = endpoint_allow(endpoint) };
    struct refusal refusal;

    capture_count_refusal(conn->loop->shared->metrics, REFUSAL_METHOD, 1);
    if (conn->path == ENDPOINT_PATH_I_V1_EVENTS) {
        refusal_set(&refusal, 405, REFUSAL_METHOD, "this path takes POST");
        conn_reply_v1_refusal(conn, &refusal, reply.origin);
        return;
    }
    if (conn->path == ENDPOINT_PATH_SEGMENT || conn->path == ENDPOINT_PATH_SEGMENT_CONFIG) {
        refusal_set(&refusal, 405, REFUSAL_METHOD, "this path takes %s", endpoint->methods == ENDPOINT_POST ? "POST" : "GET");
        conn_reply_segment_refusal(conn, &refusal, reply.origin, reply.allow);
        return;
    }
    conn_reply(conn, &reply);
}

static void conn_handle_metrics(struct conn *conn)
{
    if (conn_keep_origin(conn) < 0)
        conn_close(conn);
    else
        scrape_ask(conn->loop, conn);
}

static void conn_handle_config(struct conn *conn, enum endpoint_kind kind, struct span token)
{
    struct loop           *loop = conn->loop;
    struct config_question question = { .kind = kind,
                                        .token = token,
                                        .query = loop->request.query,
                                        .request_id = intake_uuid(loop->intake, loop->wall_us),
                                        .now_us = loop->wall_us };
    const char            *type;
    int                    status;

    buf_reset(&loop->answer);
    status = config_answer_write(&question, &loop->answer, &type);
    conn_reply_text(conn, status, type, buf_span(&loop->answer));
}

void conn_handle(struct conn *conn, uint8_t *body, size_t body_bytes)
{
    const struct http_request *request = &conn->loop->request;
    struct span                token;
    const struct endpoint     *endpoint = endpoint_find(request->path, &token);

    conn->path = (uint8_t)endpoint->path;
    conn->request_us = conn->loop->mono_us;
    if (request->method == HTTP_OPTIONS) {
        conn_handle_preflight(conn, endpoint);
        return;
    }
    if (!endpoint_allows(endpoint, request->method)) {
        conn_handle_method(conn, endpoint);
        return;
    }
    switch (endpoint->kind) {
    case ENDPOINT_EVENTS:
        conn_handle_events(conn, endpoint, body, body_bytes);
        return;
    case ENDPOINT_V1_EVENTS:
        conn_handle_v1(conn, span_of(body, body_bytes));
        return;
    case ENDPOINT_REPLAY:
        conn_handle_replay(conn, endpoint, body, body_bytes);
        return;
    case ENDPOINT_SEGMENT:
        conn_handle_segment(conn, body, body_bytes);
        return;
    case ENDPOINT_SEGMENT_SETTINGS:
    case ENDPOINT_SEGMENT_METRICS:
    case ENDPOINT_RUDDER_CONFIG:
        conn_handle_segment_config(conn, endpoint->kind, token);
        return;
    case ENDPOINT_ROOT:
        conn_reply_text(conn, 200, "text/plain; charset=utf-8", SPAN("capture"));
        return;
    case ENDPOINT_READINESS:
        if (conn->loop->draining && !atomic_load(&conn->loop->shared->handed))
            conn_reply_text(conn, 503, "text/plain; charset=utf-8", SPAN("stopping"));
        else
            conn_reply_text(conn, 200, "text/plain; charset=utf-8", SPAN("ready"));
        return;
    case ENDPOINT_LIVENESS:
        conn_reply_text(conn, 200, "text/plain; charset=utf-8", SPAN("alive"));
        return;
    case ENDPOINT_METRICS:
        conn_handle_metrics(conn);
        return;
    case ENDPOINT_NONE:
        capture_count_refusal(conn->loop->shared->metrics, REFUSAL_PATH, 1);
        conn_reply_text(conn, 404, NULL, (struct span){ 0 });
        return;
    default:
        conn_handle_config(conn, endpoint->kind, token);
    }
}
