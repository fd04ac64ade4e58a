/* capture/reply.c - header names are written in lower case where browsers see them that way anyway. */
#include "capture/reply.h"

#include <assert.h>

#include "wire/time.h"

void reply_clock_set(struct reply_clock *clock, int64_t wall_us)
{
    int64_t second = wall_us / TIME_US_S;

    if (clock->second == second && clock->date[0] != 0)
        return;
    clock->second = second;
    time_write_http(clock->date, second * TIME_US_S);
}

static void reply_write_cors(struct buf *out, const struct reply *reply)
{
    buf_add_text(out, "vary: origin, access-control-request-method, access-control-request-headers\r\n"
                      "access-control-allow-credentials: true\r\n");
    if (reply->origin.bytes > 0) {
        buf_add_text(out, "access-control-allow-origin: ");
        buf_add(out, reply->origin);
        buf_add_text(out, "\r\n");
    }
    if (!reply->preflight)
        return;
    buf_add_format(out, "access-control-allow-methods: %s\r\n",
                   reply->methods != NULL ? reply->methods : "GET,POST,OPTIONS");
    if (reply->headers_asked.bytes > 0) {
        buf_add_text(out, "access-control-allow-headers: ");
        buf_add(out, reply->headers_asked);
        buf_add_text(out, "\r\n");
    }
}

void reply_write(struct buf *out, const struct reply *reply, const struct reply_clock *clock)
{
    buf_add_format(out, "HTTP/1.1 %d %s\r\ndate: %s\r\n", reply->status, http_status_text(reply->status), clock->date);
    if (reply->type != NULL)
        buf_add_format(out, "content-type: %s\r\n", reply->type);
    if (reply->status != 204)
        buf_add_format(out, "content-length: %zu\r\n", reply->body.bytes);
    reply_write_cors(out, reply);
    if (reply->allow != NULL)
        buf_add_format(out, "allow: %s\r\n", reply->allow);
    if (reply->retry_after_s > 0)
        buf_add_format(out, "retry-after: %d\r\n", reply->retry_after_s);
    if (reply->request_id.bytes > 0) {
        buf_add_text(out, "posthog-request-id: ");
        buf_add(out, reply->request_id);
        buf_add_text(out, "\r\n");
    }
    if (reply->close)
        buf_add_text(out, "connection: close\r\n");
    else if (reply->keep_alive_http10)
        buf_add_text(out, "connection: keep-alive\r\n");
    buf_add_text(out, "\r\n");
    if (!reply->head_only)
        buf_add(out, reply->body);
}

void reply_ready_make(struct reply_ready *ready, const struct reply *reply)
{
    struct reply_clock clock = { 0 };
    struct buf         buf;
    const char        *date;

    reply_clock_set(&clock, 0);
    buf_init_over(&buf, ready->text, sizeof ready->text);
    reply_write(&buf, reply, &clock);
    assert(!buf.failed);
    ready->status = reply->status;
    ready->bytes = buf.bytes;
    date = memmem(ready->text, ready->bytes, clock.date, strlen(clock.date));
    assert(date != NULL);
    ready->date_at = (size_t)(date - ready->text);
}

void reply_ready_stamp(struct reply_ready *ready, const struct reply_clock *clock)
{
    memcpy(ready->text + ready->date_at, clock->date, strlen(clock->date));
}
