/* capture/segment_route.h - paths of Segment's tracking API, and of what its SDKs and RudderStack's ask beside. Pure. */
#ifndef PENSTOCK_CAPTURE_SEGMENT_ROUTE_H
#define PENSTOCK_CAPTURE_SEGMENT_ROUTE_H

#include "capture/endpoint.h"
#include "capture/segment_message.h"

struct segment_route {
    enum segment_type type; /* SEGMENT_BY_MESSAGE: a batch */
    bool              historical;
};

/* Whether the path (without a slash at its end) is of this API: then *endpoint_out is not NULL; and of
 * /v1/projects/KEY/settings the key. */
bool segment_route_find(struct span path, const struct endpoint **endpoint_out, struct span *key_out);
/* Of a path whose endpoint has the kind ENDPOINT_SEGMENT. */
struct segment_route segment_route_of(struct span path);

#endif
