/* capture/v1_batch.h - finds the events in the JSON of a v1 request, reading it once.
 *
 * Only what makes the whole request unusable is refused here: JSON that is none, fields of a wrong type,
 * an empty batch, a batch's time that is none, events that cannot be told apart by their uuids. What is
 * wrong with one event alone is found later (v1_event.h) and becomes its verdict. */
#ifndef PENSTOCK_CAPTURE_V1_BATCH_H
#define PENSTOCK_CAPTURE_V1_BATCH_H

#include "base/arena.h"
#include "capture/refusal.h"
#include "capture/v1_event.h"

struct v1_batch {
    size_t           count; /* at least 1 */
    struct v1_event *events; /* in the arena; their uuids are read and differ */
    bool             historical, internal;
};

/* text is written to where it needs repair (wire/json.h J5), and the events point into it. */
int v1_batch_read(struct arena *arena, struct span text, size_t events_max, struct v1_batch *out,
                  struct refusal *refusal) must_check;

#endif
