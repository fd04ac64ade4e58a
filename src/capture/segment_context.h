/* capture/segment_context.h - `context` of a message: where its parts go.
 *
 * A part that has a property of its own is found by number (enum segment_part). */
#ifndef PENSTOCK_CAPTURE_SEGMENT_CONTEXT_H
#define PENSTOCK_CAPTURE_SEGMENT_CONTEXT_H

#include "wire/json.h"

/* X(NAME, object, member, property): context.object.member; object "": context.member. */
#define SEGMENT_PARTS(X)                                                                                        \
    X(IP, "", "ip", "$ip") X(USER_AGENT, "", "userAgent", "$raw_user_agent") X(LOCALE, "", "locale", "$locale")   \
    X(TIMEZONE, "", "timezone", "$timezone") X(URL, "page", "url", "$current_url")                              \
    X(PATH, "page", "path", "$pathname") X(REFERRER, "page", "referrer", "$referrer")                           \
    X(REFERRING, "page", "referring_domain", "$referring_domain") X(TITLE, "page", "title", "title")            \
    X(OS, "os", "name", "$os") X(OS_VERSION, "os", "version", "$os_version")                                    \
    X(SCREEN_WIDTH, "screen", "width", "$screen_width") X(SCREEN_HEIGHT, "screen", "height", "$screen_height")  \
    X(SCREEN_DENSITY, "screen", "density", "$screen_density")                                                   \
    X(VIEW_WIDTH, "screen", "innerWidth", "$viewport_width")                                                    \
    X(VIEW_HEIGHT, "screen", "innerHeight", "$viewport_height") X(DEVICE_ID, "device", "id", "$device_id")      \
    X(DEVICE_TYPE, "device", "type", "$device_type") X(DEVICE_NAME, "device", "name", "$device_name")           \
    X(DEVICE_MODEL, "device", "model", "$device_model")                                                         \
    X(DEVICE_MANUFACTURER, "device", "manufacturer", "$device_manufacturer") X(APP, "app", "name", "$app_name") \
    X(APP_VERSION, "app", "version", "$app_version") X(APP_BUILD, "app", "build", "$app_build")                 \
    X(APP_NAMESPACE, "app", "namespace", "$app_namespace") X(LIBRARY, "library", "name", "$lib")                \
    X(LIBRARY_VERSION, "library", "version", "$lib_version")                                                    \
    X(CARRIER, "network", "carrier", "$network_carrier") X(WIFI, "network", "wifi", "$network_wifi")            \
    X(CELLULAR, "network", "cellular", "$network_cellular")
#define SEGMENT_PART_ENUM(name, object, member, property) SEGMENT_PART_##name,
enum segment_part { SEGMENT_PARTS(SEGMENT_PART_ENUM) SEGMENT_PART_COUNT };

struct segment_context {
    struct json_members        own;       /* of the message; count 0: none */
    const struct json_members *inherited; /* of the request; count 0: none */
    struct json_value          parts[SEGMENT_PART_COUNT]; /* strings, numbers, booleans, or absent */
    bool                       library_whole; /* context.library holds nothing but name and version */
};

/* context: an object, or absent. -1: the arena is full. */
int segment_context_read(const struct json_value *context, const struct json_members *inherited, struct arena *arena,
                         struct segment_context *out) must_check;
/* context.NAME of the message, else of its request; NULL: neither, or null. */
const struct json_value *segment_context_find(const struct segment_context *context, struct span name);
/* Members of both, each name once, those of the message first. at: 0 at first. NULL: no more. */
const struct json_member *segment_context_next(const struct segment_context *context, size_t *at);
/* The part that context.NAME is, when it has a part of its own and is simple; SEGMENT_PART_COUNT: none. */
enum segment_part segment_context_part(const struct segment_context *context, struct span name);
const char *segment_part_property(enum segment_part part);

#endif
