/* capture/reply.h - an HTTP response as bytes, with the CORS headers that every answer carries.
 *
 * A page whose answer lacks them sees a network failure and sends everything again, so errors carry them
 * as well; never `*`, because credentials are allowed. */
#ifndef PENSTOCK_CAPTURE_REPLY_H
#define PENSTOCK_CAPTURE_REPLY_H

#include "base/buf.h"
#include "wire/http1.h"

struct reply {
    int         status;
    const char *type; /* Content-Type; NULL: none, and no body */
    struct span body;
    struct span origin; /* of the request; bytes 0: it named none */
    bool        preflight;
    struct span headers_asked; /* preflight: Access-Control-Request-Headers */
    const char *methods;       /* preflight; NULL: those of most paths */
    struct span request_id;    /* echoed as PostHog-Request-Id; bytes 0: none */
    const char *allow;         /* 405 */
    int         retry_after_s; /* 0: none */
    bool        close, keep_alive_http10;
    bool        head_only; /* answer to HEAD: the length of the body, not the body */
};

/* What changes once a second. */
struct reply_clock {
    int64_t second;
    char    date[30];
};
void reply_clock_set(struct reply_clock *clock, int64_t wall_us);

void reply_write(struct buf *out, const struct reply *reply, const struct reply_clock *clock);

/* An answer that many requests get, without Origin, kept alive: 200 {"status":"Ok"}, or 503 when there are too many. Made once,
 * its date patched in. */
struct reply_ready {
    int    status;
    size_t bytes, date_at;
    char   text[512];
};
void reply_ready_make(struct reply_ready *ready, const struct reply *reply);
void reply_ready_stamp(struct reply_ready *ready, const struct reply_clock *clock);

#endif
