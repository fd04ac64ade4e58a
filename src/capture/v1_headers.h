/* capture/v1_headers.h - the headers of a v1 request: who sends, which attempt, when by its own clock. Pure. */
#ifndef PENSTOCK_CAPTURE_V1_HEADERS_H
#define PENSTOCK_CAPTURE_V1_HEADERS_H

#include "capture/refusal.h"
#include "wire/http1.h"
#include "wire/unpack.h"

enum {
    V1_SDK_INFO_BYTES_MAX = 200,  /* longer ones are passed over */
    V1_REQUEST_ID_BYTES_MAX = 128 /* echoed up to this length; a UUID has at most 45 */
};

struct v1_headers {
    struct span        token;                /* trimmed and well-formed */
    struct span        library, lib_version; /* of PostHog-Sdk-Info; bytes 0: it names none that is usable */
    int64_t            sent_at_us;
    int                sent_at_zone_min;
    enum unpack_coding coding;
};

/* -1: *refusal says what to answer: about Authorization first, then Content-Type, then all that is missing,
 * then the first wrong value. Spans point into the request. */
int v1_headers_read(const struct http_request *request, struct v1_headers *out, struct refusal *refusal) must_check;

/* PostHog-Request-Id as sent, for the echo; bytes 0: none, or none that may be echoed. */
struct span v1_request_id(const struct http_request *request);

#endif
