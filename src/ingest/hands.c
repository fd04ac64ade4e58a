/* ingest/hands.c - see hands.h. */
#include "ingest/hands.h"

#include <sched.h>
#include <stdlib.h>

#include "ingest/attempt.h"

enum {
    SLICE_CHUNK_BYTES = 2 << 20,
    SCRATCH_BYTES_MAX = 256 << 20,
    FILLED_SHARE = 4 /* of its memory: who asks for more than the rest was given much already */
};
/* docs/limits.md: memory of a slice that has nothing beside it, and of all slices that are in work at once. What does not
 * fit into a part of the latter is tried in smaller batches, until it is alone. */
#define SLICES_BYTES_MAX ((size_t)1 << 30)

unsigned hands_count(int64_t asked)
{
    cpu_set_t cores;
    int       count = 1;

    if (asked > 0)
        return asked < CREW_HANDS_MAX ? (unsigned)asked : CREW_HANDS_MAX;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0)
        count = CPU_COUNT(&cores);
    return count < 4 ? 1 : count / 2 < HANDS_USUAL_MAX ? (unsigned)count / 2 : HANDS_USUAL_MAX;
}

static int hand_init(struct hands *hands, unsigned number, struct geoip *geoip)
{
    struct hand *hand = &hands->at[number];

    buf_init(&hands->bufs[number], SCRATCH_BYTES_MAX);
    *hand = (struct hand){ .number = number, .buf = &hands->bufs[number], .zones = zones_new(NULL) };
    hand->geoip = geoip == NULL || number == 0 ? geoip : geoip_share(geoip);
    return hand->zones == NULL || (hand->geoip == NULL) != (geoip == NULL) ? -1 : 0;
}

static int slice_init(struct slice *slice, size_t bytes_max)
{
    slice->arena = arena_new(SLICE_CHUNK_BYTES, bytes_max);
    buf_init(&slice->rows, SLICE_AHEAD_BYTES);
    slice->crowded = ATTEMPT_NONE; /* 0 is the mark of the first record there ever was */
    return slice->arena == NULL ? -1 : 0;
}

static void slice_fini(struct slice *slice)
{
    arena_free(slice->arena);
    buf_fini(&slice->rows);
}

int hands_new(unsigned count, struct geoip *geoip, struct hands **out, struct err *err)
{
    struct hands *hands = calloc(1, sizeof *hands);
    unsigned      slices = count > 1 ? count * CREW_SLOTS_EACH : 0;
    int           rc = hands == NULL ? -1 : slice_init(&hands->alone, SLICES_BYTES_MAX);

    for (; rc == 0 && hands->count < count; hands->count++)
        rc = hand_init(hands, hands->count, geoip);
    for (; rc == 0 && hands->slice_count < slices; hands->slice_count++)
        rc = slice_init(&hands->slices[hands->slice_count], SLICES_BYTES_MAX / slices);
    if (rc < 0)
        (void)err_set(err, ERR_FULL, "no memory for %u threads", count);
    else if (count > 1)
        rc = crew_new(count, &hands->crew, err);
    if (rc < 0) {
        hands_free(hands);
        return -1;
    }
    *out = hands;
    return 0;
}

void hands_free(struct hands *hands)
{
    if (hands == NULL)
        return;
    crew_free(hands->crew);
    for (unsigned i = 0; i < hands->count; i++) {
        buf_fini(&hands->bufs[i]);
        zones_free(hands->at[i].zones);
        if (i > 0)
            geoip_close(hands->at[i].geoip);
    }
    slice_fini(&hands->alone);
    for (unsigned i = 0; i < hands->slice_count; i++)
        slice_fini(&hands->slices[i]);
    free(hands);
}

bool hands_filled(const struct hands *hands)
{
    if (arena_bytes(hands->alone.arena) > SLICES_BYTES_MAX / FILLED_SHARE)
        return true;
    for (unsigned i = 0; i < hands->slice_count; i++)
        if (arena_bytes(hands->slices[i].arena) > SLICES_BYTES_MAX / hands->slice_count / FILLED_SHARE)
            return true;
    return false;
}
