/* capture/replay_shape.h - finds the snapshots in the JSON of a request to /s, reading it once. Pure. */
#ifndef PENSTOCK_CAPTURE_REPLAY_SHAPE_H
#define PENSTOCK_CAPTURE_REPLAY_SHAPE_H

#include "capture/shape.h"

/* One event of the request. Absent values have raw.at NULL; a JSON null counts as absent where that is allowed. */
struct replay_event {
    struct draft      draft;     /* its fields as those of any event; a fault is the whole request's */
    struct json_value sent_at;   /* beside the event: newer clients have no other place for it */
    struct json_value session_id, window_id, source, host, lib, data; /* of its properties */
    bool              cookieless, ignore_sent_at;
};

struct replay_shape {
    size_t               count;
    struct replay_event *events; /* in the arena */
};

/* text is written to where it needs repair (wire/json.h J5), and the events point into it. One object, or an array of
 * objects: an envelope with a batch is none of them. */
int replay_shape_read(struct arena *arena, const struct shape_request *request, struct replay_shape *out,
                      struct refusal *refusal) must_check;

#endif
