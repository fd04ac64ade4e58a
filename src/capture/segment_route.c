/* capture/segment_route.c - the browser SDK sends each message to a path of one letter, the others to the whole word.
 * RudderStack's has a path of its own for what a leaving page hands to the browser. */
#include "capture/segment_route.h"

static const struct {
    const char          *text;
    struct segment_route route;
} routes[] = {
    { "/v1/batch", { SEGMENT_BY_MESSAGE, false } },  { "/v1/b", { SEGMENT_BY_MESSAGE, false } },
    { "/v1/t", { SEGMENT_TRACK, false } },           { "/v1/track", { SEGMENT_TRACK, false } },
    { "/v1/p", { SEGMENT_PAGE, false } },            { "/v1/page", { SEGMENT_PAGE, false } },
    { "/v1/i", { SEGMENT_IDENTIFY, false } },        { "/v1/identify", { SEGMENT_IDENTIFY, false } },
    { "/v1/g", { SEGMENT_GROUP, false } },           { "/v1/group", { SEGMENT_GROUP, false } },
    { "/v1/s", { SEGMENT_SCREEN, false } },          { "/v1/screen", { SEGMENT_SCREEN, false } },
    { "/v1/a", { SEGMENT_ALIAS, false } },           { "/v1/alias", { SEGMENT_ALIAS, false } },
    { "/v1/import", { SEGMENT_BY_MESSAGE, true } },  { "/beacon/v1/batch", { SEGMENT_BY_MESSAGE, false } },
};

static const struct endpoint segment_events = { ENDPOINT_SEGMENT, ENDPOINT_PATH_SEGMENT, ENDPOINT_POST, false, false };
static const struct endpoint segment_settings = { ENDPOINT_SEGMENT_SETTINGS, ENDPOINT_PATH_SEGMENT_CONFIG, ENDPOINT_GET,
                                                  false, false };
static const struct endpoint segment_metrics = { ENDPOINT_SEGMENT_METRICS, ENDPOINT_PATH_SEGMENT_CONFIG, ENDPOINT_POST,
                                                 false, false };
static const struct endpoint rudder_config = { ENDPOINT_RUDDER_CONFIG, ENDPOINT_PATH_SEGMENT_CONFIG, ENDPOINT_GET, false,
                                               false };

/* path: without the slash that it may have at its end. */
static const struct segment_route *route_find(struct span path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (span_is(path, routes[i].text))
            return &routes[i].route;
    return NULL;
}

static bool settings_key(struct span path, struct span *key_out)
{
    struct span head = SPAN("/v1/projects/"), tail = SPAN("/settings");
    struct span key;

    if (!span_starts(path, head) || path.bytes <= head.bytes + tail.bytes ||
        !span_equal(span_from(path, path.bytes - tail.bytes), tail))
        return false;
    key = span_of(path.at + head.bytes, path.bytes - head.bytes - tail.bytes);
    if (memchr(key.at, '/', key.bytes) != NULL)
        return false;
    *key_out = key;
    return true;
}

bool segment_route_find(struct span path, const struct endpoint **endpoint_out, struct span *key_out)
{
    if (route_find(path) != NULL)
        *endpoint_out = &segment_events;
    else if (settings_key(path, key_out))
        *endpoint_out = &segment_settings;
    else if (span_is(path, "/v1/m"))
        *endpoint_out = &segment_metrics;
    else if (span_is(path, "/sourceConfig"))
        *endpoint_out = &rudder_config;
    else
        return false;
    return true;
}

struct segment_route segment_route_of(struct span path)
{
    const struct segment_route *route;

    if (path.bytes > 0 && path.at[path.bytes - 1] == '/')
        path.bytes--;
    route = route_find(path);
    return route == NULL ? (struct segment_route){ SEGMENT_BY_MESSAGE, false } : *route;
}
