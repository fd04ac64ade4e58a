/* log/recover.c - two walks over the headers: the first finds the last proof of a sync, the second accepts
 * everything up to it and then goes on only as long as nothing is missing. */
#include "log/recover.h"

#include <errno.h>
#include <stdlib.h>

#include "log/window.h"

struct walk {
    struct window            window;
    const struct frame_place *place;
    uint64_t                 file_bytes;
    uint64_t                 published;
    uint64_t                 at, base; /* where the next frame is expected */
    uint64_t                 zeros_at; /* from here on all is zeros; UINT64_MAX: not known of any place */
    uint32_t                 epoch;
};

/* Preallocated blocks are megabytes that are read at each opening: what was found once is not read again. */
static int zeros_to_end(struct walk *walk, uint64_t from, bool *zeros_out, struct err *err)
{
    *zeros_out = false;
    if (from < walk->zeros_at) {
        for (uint64_t at = from; at < walk->file_bytes;) {
            uint64_t       left = walk->file_bytes - at;
            size_t         step = left < 65536 ? (size_t)left : 65536;
            const uint8_t *bytes;
            int            rc = window_get(&walk->window, at, step, &bytes, err);

            if (rc < 0)
                return rc;
            if (rc == 0)
                break; /* it ends here */
            if (bytes[0] != 0 || memcmp(bytes, bytes + 1, step - 1) != 0)
                return 0;
            at += step;
        }
        walk->zeros_at = from;
    }
    *zeros_out = true;
    return 0;
}

/* 1: *frame at *at_out, exactly where it was expected or after damage (*at_out > walk->at); 0: no more. */
static int walk_next(struct walk *walk, bool past_damage, uint64_t *at_out, struct frame *frame, struct err *err)
{
    uint64_t from = walk->at;
    bool     zeros;
    int      rc;

    rc = window_frame(&walk->window, from, walk->place, frame, err);
    while (rc == 1 || (rc == 0 && past_damage)) {
        /* One that was published counts even when the file was cut short inside it: some of it is there. */
        if (rc == 1 && frame->base >= walk->base && frame->epoch >= walk->epoch) {
            if (from + frame_bytes(frame) > walk->file_bytes && frame->base >= walk->published)
                return 0; /* torn; and what looks like frames inside it is not to be believed */
            *at_out = from;
            return 1;
        }
        if (!past_damage)
            return 0;
        rc = zeros_to_end(walk, from, &zeros, err);
        if (rc < 0 || zeros)
            return rc;
        rc = window_find_frame(&walk->window, from + FRAME_ALIGN, walk->file_bytes, walk->place, &from, frame, err);
        if (rc == 0)
            return 0;
    }
    return rc;
}

static void walk_past(struct walk *walk, uint64_t at, const struct frame *frame)
{
    walk->at = at + frame_bytes(frame);
    walk->base = frame->base + frame->count;
    walk->epoch = frame->epoch;
}

static int find_proof(struct walk *walk, uint64_t published, uint64_t *proven_out, struct err *err)
{
    uint64_t     at;
    struct frame frame;
    int          rc;

    *proven_out = walk->at;
    while ((rc = walk_next(walk, true, &at, &frame, err)) == 1) {
        uint64_t proven = at - frame.unsynced;

        if (frame.base < published)
            proven = at + frame_bytes(&frame);
        if (proven > *proven_out)
            *proven_out = proven;
        walk_past(walk, at, &frame);
    }
    return rc;
}

/* 1: every record of the frame is whole. */
static int frame_whole_at(struct walk *walk, uint64_t at, const struct frame *frame, uint8_t **buf, size_t *buf_size,
                          struct err *err)
{
    const uint8_t *stored;
    struct span    raw;
    int            rc = window_get(&walk->window, at, (size_t)frame_bytes(frame), &stored, err);

    if (rc == 1 && frame->count == 0)
        return 1; /* nobody reads what a pad holds */
    if (rc == 1)
        rc = frame_unpack(frame, stored + FRAME_HEADER_BYTES, buf, buf_size, &raw, err);
    return rc < 1 ? rc : frame_body_whole(raw, frame->tag, frame->count);
}

int recover_segment(int fd, uint64_t file_bytes, const struct frame_place *place, uint64_t from, uint64_t from_base,
                    uint64_t published, struct recovered *out, struct err *err)
{
    struct walk      start = { .place = place, .file_bytes = file_bytes, .published = published, .at = from, .base = from_base,
                               .zeros_at = UINT64_MAX };
    struct walk      walk = start;
    struct recovered found = { 0 };
    uint8_t         *buf = NULL;
    size_t           buf_size = 0;
    uint64_t         at = 0;
    struct frame     frame = { 0 };
    bool             zeros = true;
    int              rc;

    window_init(&walk.window, fd);
    rc = find_proof(&walk, published, &found.proven, err);
    if (rc < 0)
        goto done;
    start.window = walk.window;
    start.zeros_at = walk.zeros_at;
    walk = start;
    for (;;) {
        bool promised = walk.at < found.proven;

        rc = walk_next(&walk, promised, &at, &frame, err);
        if (rc == 1 && !promised)
            rc = frame_whole_at(&walk, at, &frame, &buf, &buf_size, err);
        if (rc < 0)
            goto done;
        if (rc == 0)
            break;
        if (at != walk.at)
            found.damaged = true;
        found.last = frame;
        found.last_at = at;
        walk_past(&walk, at, &frame);
    }
    if (walk.at < found.proven) { /* the proof itself came from a frame that is now out of line */
        found.damaged = true;
        found.last_at = 0;
        walk.at = found.proven;
    }
    found.pos = walk.at;
    found.end = walk.base;
    found.epoch = walk.epoch;
    if (found.proven > found.pos)
        found.proven = found.pos;
    rc = zeros_to_end(&walk, walk.at, &zeros, err);
    found.tail_dirty = !zeros;
    found.unreadable = walk.window.pages_unreadable > 0;
    if (rc == 0)
        *out = found;
done:
    window_fini(&walk.window);
    free(buf);
    return rc < 0 ? -1 : 0;
}
