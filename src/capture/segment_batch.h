/* capture/segment_batch.h - finds the messages in a request's JSON, reading it once. Pure; memory is the arena. */
#ifndef PENSTOCK_CAPTURE_SEGMENT_BATCH_H
#define PENSTOCK_CAPTURE_SEGMENT_BATCH_H

#include "capture/refusal.h"
#include "capture/segment_message.h"

struct segment_item {
    struct span raw;      /* what stands there, not always an object */
    bool        repaired;   /* surrogates or NULs in it were replaced */
    bool        over_quota; /* set by who asks the rules */
};

struct segment_batch {
    size_t                  count;
    struct segment_item    *items;
    struct segment_envelope envelope;  /* of a batch; nothing of a single message */
    struct json_value       write_key; /* a string, or absent */
};

/* type: a single message of this type, or SEGMENT_BY_MESSAGE: a batch. text is written to (json.h J5). -1: *refusal:
 * unreadable JSON, no batch in it, more messages than events_max. */
int segment_batch_read(struct arena *arena, struct span text, enum segment_type type, size_t events_max,
                       struct segment_batch *out, struct refusal *refusal) must_check;

#endif
