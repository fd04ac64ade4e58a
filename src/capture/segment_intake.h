/* capture/segment_intake.h - a whole request of Segment's tracking API: bytes in, records in a log batch out.
 *
 * As intake.h: no socket, no clock; a bad message among good ones becomes a RECORD_REJECTED and harms only itself.
 * The write key is a project token: user of HTTP's basic authentication, else `writeKey` of the query, else `writeKey`
 * of the body. */
#ifndef PENSTOCK_CAPTURE_SEGMENT_INTAKE_H
#define PENSTOCK_CAPTURE_SEGMENT_INTAKE_H

#include "capture/intake.h"
#include "capture/segment_route.h"

struct segment_request {
    struct segment_route route;
    struct span          query;
    struct span          authorization, content_encoding; /* headers; bytes 0: none */
    uint8_t             *body; /* written to */
    size_t               body_bytes;
    struct span          ip; /* of the client, as text */
    int64_t              now_us;
    struct rules_request rules;
    struct log_batch    *historical; /* as in intake.h */
    struct between       between;
};

struct segment_intake; /* one a thread */

/* settings are borrowed for its life. NULL: no memory. */
struct segment_intake *segment_intake_new(const struct capture_settings *settings);
void                   segment_intake_free(struct segment_intake *intake);

/* As intake_run. */
int segment_intake_run(struct segment_intake *intake, const struct segment_request *request, struct log_batch *batch,
                       struct intake_result *result, struct refusal *refusal) must_check;

/* The write key of a request that is not of events: basic authentication, else the query; decoded into out, which
 * holds SEGMENT_KEY_BYTES_MAX. Bytes 0: none. */
enum { SEGMENT_KEY_BYTES_MAX = 256 };
struct span segment_key_find(struct span authorization, struct span query, char out[SEGMENT_KEY_BYTES_MAX]);

/* Memory held between requests; NULL has none. */
size_t segment_intake_bytes(const struct segment_intake *intake);

#endif
