/* capture/payload.h - from a request's body and query to JSON text.
 *
 * SDKs of ten years wrap the same JSON in gzip, LZ-string, base64, forms, and mixtures, and often do not
 * say which. What it is is found by looking; what the client says is a hint. At most these layers:
 * base64 or form, inside it base64, inside it gzip or LZ-string.
 *  P1  the text given is writable: it lies in the request's own body or in the scratch buffers
 *  P2  no layer makes more than inflated_bytes_max bytes */
#ifndef PENSTOCK_CAPTURE_PAYLOAD_H
#define PENSTOCK_CAPTURE_PAYLOAD_H

#include "base/buf.h"
#include "capture/refusal.h"
#include "wire/inflate.h"

struct payload_scratch {
    struct inflate *inflate;
    struct buf      bufs[2]; /* one holds the current layer, the next is made in the other */
};

struct payload_request {
    bool        legacy; /* the path is of the class whose text may be base64 once more */
    struct span query;  /* behind `?` */
    struct span content_type, content_encoding;
    uint8_t    *body; /* written to */
    size_t      body_bytes;
};

struct payload {
    struct span text;       /* P1. Not yet known to be UTF-8 or JSON; never empty */
    bool        gzipped;    /* a gzip layer was taken off */
    bool        lz64;       /* one of LZ-string was */
    bool        beacon;     /* the query says beacon=1 */
    int64_t     sent_at_us; /* of the query; CLOCK_NONE: none */
};

int  payload_scratch_init(struct payload_scratch *scratch, size_t inflated_bytes_max) must_check;
void payload_scratch_fini(struct payload_scratch *scratch);
/* Gives back what an unusually large request left. */
void payload_scratch_trim(struct payload_scratch *scratch);
/* Whether a layer found no memory since the last question. */
bool payload_scratch_take_denied(struct payload_scratch *scratch);
size_t payload_scratch_bytes(const struct payload_scratch *scratch);

/* -1: *refusal says what to answer. */
int payload_decode(struct payload_scratch *scratch, const struct payload_request *request, struct payload *out,
                   struct refusal *refusal) must_check;

#endif
