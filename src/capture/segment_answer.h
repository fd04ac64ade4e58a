/* capture/segment_answer.h - what Segment's SDKs and RudderStack's are told. */
#ifndef PENSTOCK_CAPTURE_SEGMENT_ANSWER_H
#define PENSTOCK_CAPTURE_SEGMENT_ANSWER_H

#include "base/buf.h"
#include "capture/refusal.h"
#include "wire/http1.h"

#define SEGMENT_SUCCESS "{\"success\":true}"

/* {"success":false,"code":...,"message":...} */
void segment_answer_error(struct buf *out, const struct refusal *refusal);
/* The document that a browser or mobile SDK asks for at its start. With a usable Host header it names this server as
 * the place to send to, so that who set nothing but the address of the document sends here too. */
struct segment_asked {
    const struct http_request *http;
    bool                       tls;             /* it came to us by TLS */
    bool                       trust_forwarded; /* else its X-Forwarded-Proto counts, when it may */
};
void segment_answer_settings(struct buf *out, struct span key, const struct segment_asked *asked);
/* RudderStack's: a source without destinations. */
void segment_answer_source(struct buf *out, struct span key);

#endif
