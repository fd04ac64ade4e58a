/* capture/endpoint.h - which request goes where. Pure. */
#ifndef PENSTOCK_CAPTURE_ENDPOINT_H
#define PENSTOCK_CAPTURE_ENDPOINT_H

#include "base/span.h"
#include "wire/http1.h"

enum endpoint_kind {
    ENDPOINT_NONE, /* 404 */
    ENDPOINT_EVENTS,
    ENDPOINT_V1_EVENTS,
    ENDPOINT_REPLAY,
    ENDPOINT_ROOT,
    ENDPOINT_READINESS,
    ENDPOINT_LIVENESS,
    ENDPOINT_METRICS,
    ENDPOINT_FLAGS,
    ENDPOINT_DECIDE,
    ENDPOINT_CONFIG,    /* /array/TOKEN/config */
    ENDPOINT_CONFIG_JS, /* /array/TOKEN/config.js */
    ENDPOINT_FLAG_DEFINITIONS,
    ENDPOINT_REMOTE_CONFIG,
    ENDPOINT_SEGMENT,          /* segment_route.h: events */
    ENDPOINT_SEGMENT_SETTINGS, /* /v1/projects/KEY/settings */
    ENDPOINT_SEGMENT_METRICS,  /* what the browser SDK counts of itself */
    ENDPOINT_RUDDER_CONFIG     /* /sourceConfig */
};

/* Paths as metrics name them: X(name, text). */
#define ENDPOINT_PATHS(X)                                                                                  \
    X(I_V0_E, "/i/v0/e") X(BATCH, "/batch") X(E, "/e") X(CAPTURE, "/capture") X(TRACK, "/track")             \
    X(ENGAGE, "/engage") X(S, "/s") X(FLAGS, "/flags") X(DECIDE, "/decide") X(CONFIG, "/array/{token}/config") \
    X(I_V1_EVENTS, "/i/v1/analytics/events") X(AI_BATCH, "/i/v0/ai/batch") X(SEGMENT, "/v1/{type}")         \
    X(SEGMENT_CONFIG, "/v1/projects/{key}/settings") X(PROBE, "probe") X(OTHER, "other")
#define ENDPOINT_PATH_ENUM(name, text) ENDPOINT_PATH_##name,
enum endpoint_path { ENDPOINT_PATHS(ENDPOINT_PATH_ENUM) ENDPOINT_PATH_COUNT };

enum { ENDPOINT_GET = 1, ENDPOINT_POST = 2 };

struct endpoint {
    enum endpoint_kind kind;
    enum endpoint_path path;
    unsigned           methods; /* besides OPTIONS, which is answered everywhere */
    bool               legacy;  /* payload.h */
    bool               engage;
};

static inline bool endpoint_takes_events(const struct endpoint *endpoint)
{
    return endpoint->kind == ENDPOINT_EVENTS || endpoint->kind == ENDPOINT_V1_EVENTS || endpoint->kind == ENDPOINT_REPLAY ||
           endpoint->kind == ENDPOINT_SEGMENT;
}

/* Never NULL: an unknown path has kind NONE. token_out: of /array/TOKEN/... and /v1/projects/TOKEN/settings, else
 * empty. */
const struct endpoint *endpoint_find(struct span path, struct span *token_out);
/* Whether this method may be used (HEAD goes with GET); the Allow header's text otherwise. */
bool        endpoint_allows(const struct endpoint *endpoint, enum http_method method);
const char *endpoint_allow(const struct endpoint *endpoint);
const char *endpoint_path_text(enum endpoint_path path);

#endif
