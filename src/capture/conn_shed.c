/* capture/conn_shed.c - requests with events that are sent away at their head: because of their address, or because
 * more comes than can be done. A body that is small is read and thrown away, so that the connection can be used
 * again; before a large one the connection ends: reading it would cost what was to be saved. */
#include <assert.h>

#include "capture/loop.h"

enum {
    SHED_DRAIN_BYTES_MAX = 256 << 10 /* one read of the loop's buffer */
};

#define SHED_TEXT "service unavailable: more events come than can be taken, send again"

static int shed_retry_s(struct loop *loop)
{
    return 1 + (int)(loop->shed_turn++ % LOOP_SHED_RETRIES);
}

void conn_shed_make(struct loop *loop)
{
    for (int i = 0; i < LOOP_SHED_RETRIES; i++)
        reply_ready_make(&loop->ready_shed[i], &(struct reply){ .status = 503, .type = "text/plain; charset=utf-8", .body = SPAN(SHED_TEXT),
                                                                .retry_after_s = i + 1 });
}

/* Of twenty requests nineteen may go this way: the less each costs, the more of the others are taken. */
static bool shed_is_plain(const struct conn *conn, const struct refusal *refusal)
{
    return refusal->cause == REFUSAL_OVERLOAD && conn->path != ENDPOINT_PATH_I_V1_EVENTS && conn->path != ENDPOINT_PATH_SEGMENT &&
           conn_is_plain(conn, conn_origin(conn));
}

static bool shed_by_address(struct conn *conn, struct refusal *refusal)
{
    struct capture_shared *shared = conn->loop->shared;
    int64_t                wait_us = 0;
    enum address_verdict   verdict;

    if (conn->address == NULL)
        return false;
    verdict = addresses_spend(shared->addresses, conn->address, 1, conn->body_length, conn->loop->mono_us, &wait_us);
    if (verdict == ADDRESS_FINE)
        return false;
    if (verdict == ADDRESS_REQUESTS)
        refusal_set(refusal, 503, REFUSAL_ADDRESS,
                    "service unavailable: more than %lld requests a second from your address, send again later",
                    (long long)addresses_limits(shared->addresses)->requests_per_s);
    else
        refusal_set(refusal, 503, REFUSAL_ADDRESS,
                    "service unavailable: more than %lld bytes a second from your address, send again later",
                    (long long)addresses_limits(shared->addresses)->bytes_per_s);
    refusal->retry_after_s = wait_us >= 3600000000 ? 3600 : (int)(wait_us / 1000000) + 1;
    return true;
}

static bool shed_by_pressure(struct conn *conn, enum endpoint_path path, struct refusal *refusal)
{
    struct loop        *loop = conn->loop;
    enum pressure_level level = loop->level;

    if (loop->judging) {
        enum pressure_level by_room = pressure_by_room(&loop->pressure, loop->queues[0].count, loop->mono_us);

        level = by_room > level ? by_room : level;
    }
    switch (level) {
    case PRESSURE_NONE: return false;
    case PRESSURE_REPLAY:
    case PRESSURE_NEWCOMERS:
    case PRESSURE_LARGEST:
        if (path != ENDPOINT_PATH_S && !conn->imports && !(loop->memory_level >= PRESSURE_NEWCOMERS && conn->project == 0) &&
            !(level == PRESSURE_LARGEST && pressure_is_large(&loop->pressure, conn->project)))
            return false;
        break;
    case PRESSURE_ALL: break;
    }
    *refusal = (struct refusal){ .status = 503, .cause = REFUSAL_OVERLOAD, .retry_after_s = shed_retry_s(loop), .text = SHED_TEXT };
    return true;
}

enum shed conn_shed(struct conn *conn)
{
    struct loop           *loop = conn->loop;
    struct span            token;
    const struct endpoint *endpoint = endpoint_find(loop->request.path, &token);
    struct refusal         refusal;
    bool                   judged = conn->put_off;

    conn->put_off = false;
    if (!endpoint_takes_events(endpoint) || loop->request.method == HTTP_OPTIONS)
        return SHED_NOT;
    if (!shed_by_pressure(conn, endpoint->path, &refusal) && (judged || !shed_by_address(conn, &refusal))) {
        conn->put_off = conn->more = loop->judging;
        return loop->judging ? SHED_PUT_OFF : SHED_NOT;
    }
    conn->path = (uint8_t)endpoint->path;
    conn->request_us = loop->mono_us;
    if (conn->chunked || loop->request.expect_continue || conn->body_length > SHED_DRAIN_BYTES_MAX)
        conn->close_after = conn->unread = true;
    else
        conn->drain_after = conn->body_length > 0;
    if (conn->close_after)
        conn->unread = true;
    capture_count_refusal(loop->shared->metrics, refusal.cause, 1);
    if (shed_is_plain(conn, &refusal))
        conn_reply_ready(conn, &loop->ready_shed[refusal.retry_after_s - 1]);
    else
        conn_reply_refusal(conn, &refusal, conn_origin(conn));
    return SHED_DONE;
}
