/* wire/json_join.h - an object as text out of members whose texts lie elsewhere.
 *
 * Members that stand side by side where they come from, with their comma, are copied in one piece: of an object of
 * which little was changed that is nearly all of it. So a piece is not copied before the next one is known.
 * The caller has room for all keys and values, two bytes more for each member, and two for the braces. */
#ifndef PENSTOCK_WIRE_JSON_JOIN_H
#define PENSTOCK_WIRE_JSON_JOIN_H

#include "base/span.h"

struct json_join {
    uint8_t    *at;
    struct span run; /* not yet copied */
    bool        any; /* there was a member */
};

static inline void json_join_begin(struct json_join *join, uint8_t *to)
{
    *to = '{';
    *join = (struct json_join){ .at = to + 1, .run = SPAN("") };
}

static inline void json_join_flush(struct json_join *join)
{
    if (join->run.bytes > 0)
        memcpy(join->at, join->run.at, join->run.bytes);
    join->at += join->run.bytes;
    join->run = SPAN("");
}

/* Joins when `mark` and the next bytes already follow in the same text. */
static inline void json_join_behind(struct json_join *join, uint8_t mark, struct span bytes)
{
    if (join->run.bytes > 0 && join->run.at + join->run.bytes + 1 == bytes.at && bytes.at[-1] == mark) {
        join->run.bytes += 1 + bytes.bytes;
        return;
    }
    json_join_flush(join);
    *join->at++ = mark;
    join->run = bytes;
}

/* key and value: as JSON text; they live until json_join_end. */
static inline void json_join_member(struct json_join *join, struct span key, struct span value)
{
    if (join->any)
        json_join_behind(join, ',', key);
    else
        join->run = key;
    join->any = true;
    json_join_behind(join, ':', value);
}

/* Behind the closing brace. */
static inline uint8_t *json_join_end(struct json_join *join)
{
    json_join_flush(join);
    *join->at++ = '}';
    return join->at;
}

#endif
