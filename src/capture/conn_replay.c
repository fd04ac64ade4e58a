/* capture/conn_replay.c - requests of /s on a connection. Recordings are large and nobody's business depends on one, so
 * they get half of the memory that events may take, and the last of the disk is not theirs. */
#include "base/clock.h"
#include "base/io.h"
#include "capture/loop.h"

enum { SPACE_ASK_US = 1000000 };

/* Whether the disk is too full for recordings, though not for events. */
static bool disk_short(struct loop *loop)
{
    const struct capture_settings *settings = loop->shared->settings;
    uint64_t                       wanted = (uint64_t)settings->disk_reserve_bytes + (uint64_t)settings->replay_reserve_bytes;

    if (settings->replay_reserve_bytes == 0)
        return false;
    if (loop->replay_space_us == 0 || loop->mono_us - loop->replay_space_us >= SPACE_ASK_US) {
        loop->replay_space_us = loop->mono_us;
        if (io_space(loop->shared->run_fd, &loop->replay_space) < 0)
            loop->replay_space = UINT64_MAX; /* the log finds out by itself */
    }
    return loop->replay_space < wanted;
}

static int check_room(const struct conn *conn, size_t body_bytes, struct refusal *refusal)
{
    struct loop *loop = conn->loop;

    if (conn_check_room(conn, body_bytes, refusal) < 0)
        return -1;
    if (loop_memory(loop) + body_bytes > loop->memory_max / 2)
        return refusal_set(refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: events go before recordings, send again");
    if (disk_short(loop))
        return refusal_set(refusal, 503, REFUSAL_STORAGE_FULL,
                           "service unavailable: storage_full: the last of the disk is for events, not for recordings");
    return 0;
}

/* posthog-js reads the list and sends no recordings for a minute. */
static void reply_over_quota(struct conn *conn)
{
    struct reply reply = { .status = 200,
                           .type = "application/json",
                           .body = SPAN("{\"status\":\"Ok\",\"quota_limited\":[\"recordings\"]}"),
                           .origin = conn_origin(conn) };

    conn_reply(conn, &reply);
}

void conn_handle_replay(struct conn *conn, const struct endpoint *endpoint, uint8_t *body, size_t body_bytes)
{
    struct loop               *loop = conn->loop;
    const struct http_request *http = &loop->request;
    struct replay_request      request = { .payload = { .legacy = endpoint->legacy,
                                                        .query = http->query,
                                                        .content_type = http->known[HTTP_CONTENT_TYPE],
                                                        .content_encoding = http->known[HTTP_CONTENT_ENCODING],
                                                        .body = body,
                                                        .body_bytes = body_bytes },
                                           .user_agent = http->known[HTTP_USER_AGENT],
                                           .ip = conn_client_ip(conn),
                                           .now_us = loop->wall_us,
                                           .rules = conn_rules(conn) };
    struct intake_result       result = { 0 };
    struct refusal             refusal;
    int64_t                    from_us = clock_mono_us();
    int                        rc;

    rc = check_room(conn, body_bytes, &refusal);
    request.between = loop_look_begin(conn);
    if (rc == 0)
        rc = replay_intake_run(loop->replay_intake, &request, loop_filling(loop, LANE_REPLAY)->batch, &result, &refusal);
    loop_look_end(loop);
    if (conn_take(conn, rc, &result, body_bytes, &refusal) < 0)
        return;
    if (result.over_quota > 0)
        reply_over_quota(conn);
    else
        conn_await(conn, &result, (struct span){ 0 }, (struct span){ 0 }, from_us);
}
