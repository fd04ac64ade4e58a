/* capture/endpoint.c - a path is compared whole, as sent: nothing here decodes `%2e` or walks `..`, so
 * a path that is not in the table is a 404 whatever it hides. */
#include "capture/endpoint.h"

#include "capture/segment_route.h"

#define BOTH (ENDPOINT_GET | ENDPOINT_POST)

static const struct {
    const char     *text; /* without the slash at the end, which every path may have */
    struct endpoint endpoint;
} endpoints[] = {
    { "/e", { ENDPOINT_EVENTS, ENDPOINT_PATH_E, BOTH, true, false } },
    { "/batch", { ENDPOINT_EVENTS, ENDPOINT_PATH_BATCH, BOTH, false, false } },
    { "/i/v0/e", { ENDPOINT_EVENTS, ENDPOINT_PATH_I_V0_E, BOTH, false, false } },
    { "/capture", { ENDPOINT_EVENTS, ENDPOINT_PATH_CAPTURE, BOTH, true, false } },
    { "/track", { ENDPOINT_EVENTS, ENDPOINT_PATH_TRACK, BOTH, true, false } },
    { "/engage", { ENDPOINT_EVENTS, ENDPOINT_PATH_ENGAGE, BOTH, true, true } },
    { "/i/v0/ai/batch", { ENDPOINT_EVENTS, ENDPOINT_PATH_AI_BATCH, BOTH, false, false } },
    { "/s", { ENDPOINT_REPLAY, ENDPOINT_PATH_S, BOTH, false, false } },
    { "/i/v1/analytics/events", { ENDPOINT_V1_EVENTS, ENDPOINT_PATH_I_V1_EVENTS, ENDPOINT_POST, false, false } },
    { "/flags", { ENDPOINT_FLAGS, ENDPOINT_PATH_FLAGS, BOTH, false, false } },
    { "/decide", { ENDPOINT_DECIDE, ENDPOINT_PATH_DECIDE, BOTH, false, false } },
    { "/flags/definitions", { ENDPOINT_FLAG_DEFINITIONS, ENDPOINT_PATH_FLAGS, ENDPOINT_GET, false, false } },
    { "/api/feature_flag/local_evaluation",
      { ENDPOINT_FLAG_DEFINITIONS, ENDPOINT_PATH_FLAGS, ENDPOINT_GET, false, false } },
    { "/_readiness", { ENDPOINT_READINESS, ENDPOINT_PATH_PROBE, ENDPOINT_GET, false, false } },
    { "/_liveness", { ENDPOINT_LIVENESS, ENDPOINT_PATH_PROBE, ENDPOINT_GET, false, false } },
    { "/metrics", { ENDPOINT_METRICS, ENDPOINT_PATH_PROBE, ENDPOINT_GET, false, false } },
    { "", { ENDPOINT_ROOT, ENDPOINT_PATH_PROBE, ENDPOINT_GET, false, false } },
};

static const struct endpoint endpoint_none = { ENDPOINT_NONE, ENDPOINT_PATH_OTHER, BOTH, false, false };
static const struct endpoint endpoint_config = { ENDPOINT_CONFIG, ENDPOINT_PATH_CONFIG, ENDPOINT_GET, false, false };
static const struct endpoint endpoint_config_js = { ENDPOINT_CONFIG_JS, ENDPOINT_PATH_CONFIG, ENDPOINT_GET, false,
                                                    false };
static const struct endpoint endpoint_remote_config = { ENDPOINT_REMOTE_CONFIG, ENDPOINT_PATH_FLAGS, ENDPOINT_GET,
                                                        false, false };

static bool endpoint_ends(struct span text, struct span tail)
{
    return text.bytes >= tail.bytes && memcmp(text.at + text.bytes - tail.bytes, tail.at, tail.bytes) == 0;
}

/* What is written into a script between quotes: nothing that would end them. */
static bool endpoint_token_plain(struct span token)
{
    if (token.bytes == 0 || token.bytes > 64)
        return false;
    for (size_t i = 0; i < token.bytes; i++) {
        uint8_t byte = token.at[i];

        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
              byte == '_' || byte == '-'))
            return false;
    }
    return true;
}

static const struct endpoint *endpoint_find_config(struct span path, struct span *token_out)
{
    static const struct { struct span tail; const struct endpoint *endpoint; } tails[] = {
        { { (const uint8_t *)"/config", 7 }, &endpoint_config },
        { { (const uint8_t *)"/config.js", 10 }, &endpoint_config_js },
    };
    struct span rest = span_from(path, strlen("/array/"));

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (endpoint_ends(rest, tails[i].tail)) {
            struct span token = span_of(rest.at, rest.bytes - tails[i].tail.bytes);

            if (!endpoint_token_plain(token))
                return &endpoint_none;
            *token_out = token;
            return tails[i].endpoint;
        }
    return &endpoint_none;
}

const struct endpoint *endpoint_find(struct span path, struct span *token_out)
{
    const struct endpoint *segment;

    *token_out = span_of(path.at, 0);
    if (path.bytes > 0 && path.at[path.bytes - 1] == '/')
        path.bytes--;
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        if (span_is(path, endpoints[i].text))
            return &endpoints[i].endpoint;
    if (span_starts(path, SPAN("/array/")))
        return endpoint_find_config(path, token_out);
    if (span_starts(path, SPAN("/api/projects/")) && endpoint_ends(path, SPAN("/remote_config")))
        return &endpoint_remote_config;
    if (segment_route_find(path, &segment, token_out))
        return segment;
    return &endpoint_none;
}

bool endpoint_allows(const struct endpoint *endpoint, enum http_method method)
{
    if (method == HTTP_OPTIONS || endpoint->kind == ENDPOINT_NONE)
        return true;
    if (method == HTTP_GET || method == HTTP_HEAD)
        return (endpoint->methods & ENDPOINT_GET) != 0;
    return method == HTTP_POST && (endpoint->methods & ENDPOINT_POST) != 0;
}

const char *endpoint_allow(const struct endpoint *endpoint)
{
    if (endpoint->methods == ENDPOINT_POST)
        return "POST,OPTIONS";
    return (endpoint->methods & ENDPOINT_POST) != 0 ? "GET,HEAD,POST,OPTIONS" : "GET,HEAD,OPTIONS";
}

#define ENDPOINT_PATH_TEXT(name, text) text,

const char *endpoint_path_text(enum endpoint_path path)
{
    static const char *const texts[] = { ENDPOINT_PATHS(ENDPOINT_PATH_TEXT) };

    return path < ENDPOINT_PATH_COUNT ? texts[path] : "other";
}
