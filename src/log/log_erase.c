/* log/log_erase.c - records whose bytes must go while their offsets stay.
 *
 * A sealed segment that holds one is written anew beside the old file, frame by frame with the same offsets, with an
 * empty record in place of each that goes, and then takes the old file's name in one step. Nothing is changed in place:
 * a crash leaves the old segment or the new one, both whole, and what is left beside them recovery removes. Whoever
 * reads the old file reads on to its end.
 *
 * The exchange needs a file of that name: one that retention deleted meanwhile does not come back.
 * Not done: the segment that is being written (log_roll_ask ends it), and one that is damaged, since what
 * stands there cannot be told apart. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/io.h"
#include "log/frame.h"
#include "log/part.h"
#include "log/window.h"
#include "wire/lz4_pack.h"

struct eraser {
    const struct part *part;
    log_erase_wanted  *wanted;
    void              *ctx;
    uint64_t           below;
    struct frame_place place;
    struct window      window;
    int                to_fd; /* -1: only looking */
    uint64_t           to_at, last_at;
    struct frame       last;
    uint8_t           *raw, *packed; /* unpacked, and packed again */
    size_t             raw_size, packed_size;
    uint64_t           erased;
};

static int grow(uint8_t **buf, size_t *size, size_t need, struct err *err)
{
    uint8_t *grown;

    if (need <= *size)
        return 0;
    grown = realloc(*buf, need);
    if (grown == NULL)
        return err_set(err, ERR_FULL, "no memory to erase in a frame of %zu bytes", need);
    *buf = grown;
    *size = need;
    return 0;
}

static int damaged(const struct eraser *eraser, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%s: segment %llu is damaged: nothing is erased in it", eraser->part->label,
                   (unsigned long long)eraser->place.seg_base);
}

/* The frame's records without those that go, in eraser->packed; *changed_out false: none goes. */
static int body_without(struct eraser *eraser, const struct frame *frame, struct span raw, size_t *bytes_out,
                        bool *changed_out, struct err *err)
{
    uint8_t *to;

    *changed_out = false;
    if (!frame_body_whole(raw, frame->tag, frame->count))
        return damaged(eraser, err);
    if (grow(&eraser->packed, &eraser->packed_size, raw.bytes + FRAME_ALIGN, err) < 0)
        return -1;
    to = eraser->packed;
    for (size_t at = 0; at < raw.bytes;) {
        uint32_t index, body_bytes;
        size_t   bytes;
        bool     whole = record_get(span_from(raw, at), frame->tag, &index, &body_bytes);

        assert(whole);
        bytes = RECORD_HEADER_BYTES + frame_padded(body_bytes);
        if (body_bytes > 0 && frame->base + index < eraser->below &&
            eraser->wanted(eraser->ctx, frame->base + index, span_of(raw.at + at + RECORD_HEADER_BYTES, body_bytes))) {
            record_put(to, 0, index, frame->tag);
            to += RECORD_HEADER_BYTES;
            eraser->erased++;
            *changed_out = true;
        } else {
            memcpy(to, raw.at + at, bytes);
            to += bytes;
        }
        at += bytes;
    }
    *bytes_out = (size_t)(to - eraser->packed);
    return 0;
}

/* Writes the frame at to_at, with this body. */
static int frame_write(struct eraser *eraser, struct frame *frame, const uint8_t *body, struct err *err)
{
    static const uint8_t zeros[FRAME_ALIGN];
    uint8_t              header[FRAME_HEADER_BYTES];
    size_t               pad = frame_padded(frame->body_bytes) - frame->body_bytes;
    struct iovec         iov[3] = { { header, sizeof header }, { (void *)(uintptr_t)body, frame->body_bytes },
                                    { (void *)(uintptr_t)zeros, pad } };

    frame->unsynced = 0; /* the whole file is synced before it counts */
    frame->prev_bytes = eraser->last_at != 0 ? (uint32_t)(eraser->to_at - eraser->last_at) : 0;
    frame->prev_tag = eraser->last_at != 0 ? eraser->last.tag : 0;
    frame->prev_count = eraser->last_at != 0 ? eraser->last.count : 0;
    frame_put(header, frame, &eraser->place, eraser->to_at);
    if (io_pwritev(eraser->to_fd, iov, pad > 0 ? 3 : frame->body_bytes > 0 ? 2 : 1, eraser->to_at, NULL) < 0)
        return err_errno(err, errno, "%s: writing a segment anew", eraser->part->label);
    eraser->last = *frame;
    eraser->last_at = eraser->to_at;
    eraser->to_at += frame_bytes(frame);
    return 0;
}

/* One frame at `at` of the old file: looked at, and written when there is a new one. */
static int frame_erase(struct eraser *eraser, uint64_t at, const struct frame *from, struct err *err)
{
    struct frame   frame = *from;
    const uint8_t *bytes, *body;
    struct span    raw;
    size_t         left = 0;
    bool           changed = false;
    uint8_t       *packed;
    int            got = window_get(&eraser->window, at, (size_t)frame_bytes(&frame), &bytes, err);

    if (got < 1)
        return got < 0 ? -1 : damaged(eraser, err);
    body = bytes + FRAME_HEADER_BYTES;
    if (frame.count > 0) {
        got = frame_unpack(&frame, body, &eraser->raw, &eraser->raw_size, &raw, err);
        if (got < 1)
            return got < 0 ? -1 : damaged(eraser, err);
        if (body_without(eraser, &frame, raw, &left, &changed, err) < 0)
            return -1;
    }
    if (eraser->to_fd < 0)
        return 0;
    if (!changed)
        return frame_write(eraser, &frame, body, err);
    frame.raw_bytes = (uint32_t)left;
    if (frame.codec == LOG_CODEC_LZ4) {
        size_t head = (left + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN, packed_bytes;

        if (grow(&eraser->packed, &eraser->packed_size, head + lz4_pack_room(left), err) < 0)
            return -1;
        packed = eraser->packed + head;
        packed_bytes = lz4_pack(span_of(eraser->packed, left), packed);
        if (packed_bytes < left) {
            frame.body_bytes = (uint32_t)packed_bytes;
            frame.body_crc = crc32c(0, span_of(packed, packed_bytes));
            return frame_write(eraser, &frame, packed, err);
        }
        frame.codec = LOG_CODEC_NONE;
        frame.body_crc = 0;
    }
    frame.body_bytes = (uint32_t)left;
    return frame_write(eraser, &frame, eraser->packed, err);
}

/* Every frame of the segment, to its end. */
static int frames_erase(struct eraser *eraser, uint64_t file_bytes, struct err *err)
{
    struct frame frame;

    eraser->erased = 0;
    for (uint64_t at = SEGMENT_DATA_AT; at + FRAME_HEADER_BYTES <= file_bytes; at += frame_bytes(&frame)) {
        int got = window_frame(&eraser->window, at, &eraser->place, &frame, err);

        if (got < 1)
            return got < 0 ? -1 : damaged(eraser, err);
        if (frame_erase(eraser, at, &frame, err) < 0)
            return -1;
    }
    return 0;
}

static int file_new(struct eraser *eraser, const char *name_new, int from_fd, struct err *err)
{
    uint8_t head[SEGMENT_DATA_AT];

    eraser->to_fd = io_open(eraser->part->dir_fd, name_new, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (eraser->to_fd < 0)
        return err_errno(err, errno, "%s: %s", eraser->part->label, name_new);
    if (io_pread(from_fd, head, sizeof head, 0) != (ssize_t)sizeof head)
        return damaged(eraser, err);
    if (io_pwrite(eraser->to_fd, head, sizeof head, 0) < 0)
        return err_errno(err, errno, "%s: %s", eraser->part->label, name_new);
    eraser->to_at = SEGMENT_DATA_AT;
    eraser->last_at = 0;
    return 0;
}

/* Takes the old file's name, when it is still there. */
static int file_exchange(const struct eraser *eraser, const char *name_new, const char *name, struct err *err)
{
    if (io_fsync(eraser->to_fd) < 0 || part_sync_dir(eraser->part, err) < 0)
        return err_errno(err, errno, "%s: sync of %s", eraser->part->label, name_new);
    if (renameat2(eraser->part->dir_fd, name_new, eraser->part->dir_fd, name, RENAME_EXCHANGE) < 0 && errno != ENOENT)
        return err_errno(err, errno, "%s: %s", eraser->part->label, name);
    if (part_sync_dir(eraser->part, err) < 0)
        return -1;
    return 0;
}

static int segment_erase(struct eraser *eraser, uint64_t base, struct log_erased *out, struct err *err)
{
    char        name[PART_NAME_BYTES], name_new[PART_NAME_BYTES];
    struct stat st;
    int         fd, rc, whole;

    part_segment_name(name, base, ".seg");
    part_segment_name(name_new, base, ".new");
    eraser->place.seg_base = base;
    eraser->to_fd = -1;
    whole = part_segment_id(eraser->part, base, &eraser->place.id, err);
    if (whole < 1)
        return whole < 0 ? -1 : damaged(eraser, err);
    fd = io_open(eraser->part->dir_fd, name, O_RDONLY, 0);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "%s: %s", eraser->part->label, name);
    window_init(&eraser->window, fd);
    rc = fstat(fd, &st) < 0 ? err_errno(err, errno, "%s: %s", eraser->part->label, name) : 0;
    if (rc == 0)
        rc = frames_erase(eraser, (uint64_t)st.st_size, err); /* only looks */
    if (rc == 0 && eraser->erased > 0) {
        rc = file_new(eraser, name_new, fd, err);
        if (rc == 0)
            rc = frames_erase(eraser, (uint64_t)st.st_size, err);
        if (rc == 0)
            rc = file_exchange(eraser, name_new, name, err);
        if (io_unlink(eraser->part->dir_fd, name_new) < 0 && rc == 0) /* the old file, or what came to nothing */
            rc = err_errno(err, errno, "%s: %s", eraser->part->label, name_new);
        if (rc == 0) {
            out->records += eraser->erased;
            out->segments++;
        }
    }
    window_fini(&eraser->window);
    if (eraser->to_fd >= 0)
        io_close(eraser->to_fd);
    io_close(fd);
    return rc;
}

int embedded_erase(struct log *log, const char *topic, uint32_t partition, uint64_t from, uint64_t below, size_t segments_max,
              log_erase_wanted *wanted, void *ctx, struct log_erased *out, struct err *err)
{
    struct part_segments segments = { 0 };
    struct log_erased    erased = { .done_below = 0 };
    struct part          part;
    size_t               looked = 0;
    struct eraser        eraser = { .part = &part, .wanted = wanted, .ctx = ctx, .below = below };
    int                  rc = part_open(&part, log, topic, partition, false, err);

    if (rc < 0)
        return -1;
    if (rc == 0) { /* nothing was ever written there */
        *out = (struct log_erased){ .done_below = UINT64_MAX };
        return 0;
    }
    rc = part_list(&part, &segments, err);
    if (segments.count > 0)
        erased.done_below = segments.bases[segments.count - 1];
    for (size_t i = 0; rc == 0 && i + 1 < segments.count && segments.bases[i] < below; i++) {
        if (segments.bases[i + 1] <= from)
            continue;
        if (segments_max != 0 && looked++ == segments_max) {
            erased.done_below = segments.bases[i];
            break;
        }
        rc = segment_erase(&eraser, segments.bases[i], &erased, err);
        if (rc < 0 && err->kind == ERR_CORRUPT) { /* said; its neighbours are not to blame */
            erased.segments_damaged++;
            rc = 0;
        }
    }
    part_segments_fini(&segments);
    free(eraser.raw);
    free(eraser.packed);
    part_close(&part);
    if (rc == 0)
        *out = erased;
    return rc;
}

int embedded_roll_ask(struct log *log, const char *topic, uint32_t partition, struct err *err)
{
    return part_ask(log, topic, partition, "roll", err);
}
