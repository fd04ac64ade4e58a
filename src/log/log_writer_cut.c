/* log/log_writer_cut.c - taking back records that nobody may have seen.
 *
 * The head goes first: from the moment that it says less, a crash leaves a log that is somewhere between
 * the old end and the new one, and its owner cuts again. Whole segments go newest first, so that there is
 * never a hole. A cut inside a frame does not touch that frame: its first records are written as a new
 * segment that begins at the frame's base, and a segment ends where the next one's name begins; so the
 * rename is the moment of the cut. */
#include "log/log_writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "log/window.h"

/* Where in its segment the cut falls. */
struct cut_place {
    uint64_t     at;     /* place of the first frame that goes, wholly or in part */
    bool         inside; /* frame.base < end: `keep` is what stays of it, as a frame of its own */
    struct frame frame;
    uint8_t     *keep;
    size_t       keep_bytes;
};

/* The frame's records below `end`, as the first frame of a segment of that base. */
static int cut_frame(struct log_writer *writer, struct window *window, struct cut_place *place, uint64_t end,
                     struct err *err)
{
    struct frame       frame = place->frame, kept;
    struct frame_place new_place = { writer->id, frame.base };
    uint32_t           count = (uint32_t)(end - frame.base), *table = NULL;
    uint8_t           *unpacked = NULL;
    size_t             unpacked_size = 0, bytes;
    const uint8_t     *stored;
    struct span        raw = { 0 };
    int                rc = window_get(window, place->at, (size_t)frame_bytes(&frame), &stored, err);

    if (rc == 1)
        rc = frame_unpack(&frame, stored + FRAME_HEADER_BYTES, &unpacked, &unpacked_size, &raw, err);
    if (rc < 0)
        goto done;
    table = malloc((size_t)frame.count * sizeof *table);
    if (table == NULL) {
        rc = err_set(err, ERR_FULL, "%s: no memory to cut a frame of %" PRIu32 " records", writer->part.label, frame.count);
        goto done;
    }
    frame_body_salvage(raw, frame.tag, frame.count, table);
    bytes = raw.bytes; /* up to the first record that goes and is still whole */
    for (uint32_t i = count; i < frame.count; i++)
        if (table[i] < bytes)
            bytes = table[i];
    if (bytes < (size_t)count * RECORD_HEADER_BYTES) /* damaged so much that the count would not be believed */
        bytes = (size_t)count * RECORD_HEADER_BYTES;
    place->keep_bytes = FRAME_HEADER_BYTES + bytes;
    place->keep = calloc(1, place->keep_bytes);
    if (place->keep == NULL) {
        rc = err_set(err, ERR_FULL, "%s: no memory for %zu bytes of a cut frame", writer->part.label, bytes);
        goto done;
    }
    kept = (struct frame){ .codec = LOG_CODEC_NONE, .tag = frame.tag, .count = count, .epoch = writer->epoch, .base = frame.base,
                           .appended_us = frame.appended_us, .body_bytes = (uint32_t)bytes, .raw_bytes = (uint32_t)bytes };
    frame_put(place->keep, &kept, &new_place, SEGMENT_DATA_AT);
    memcpy(place->keep + FRAME_HEADER_BYTES, raw.at, bytes < raw.bytes ? bytes : raw.bytes);
    rc = 0;
done:
    free(table);
    free(unpacked);
    return rc < 0 ? -1 : 0;
}

/* Walks the segment to the first frame that reaches past `end`. */
static int cut_find(struct log_writer *writer, int fd, uint64_t file_bytes, uint64_t base, uint64_t end,
                    struct cut_place *place, struct err *err)
{
    struct frame_place where = { writer->id, base };
    struct window      window;
    struct frame       frame = { 0 };
    uint64_t           at = SEGMENT_DATA_AT, last_end = SEGMENT_DATA_AT;
    int                rc;

    window_init(&window, fd);
    *place = (struct cut_place){ 0 };
    while ((rc = window_find_frame(&window, at, file_bytes, &where, &at, &frame, err)) == 1 && frame.base + frame.count <= end) {
        at += frame_bytes(&frame);
        last_end = at;
    }
    /* Damage just before the cut belongs to what stays, damage at the end of the file to what goes. */
    place->at = rc == 1 ? at : last_end;
    place->inside = rc == 1 && frame.base < end;
    place->frame = frame;
    if (place->inside)
        rc = cut_frame(writer, &window, place, end, err);
    if (rc >= 0 && window.pages_unreadable > 0) /* what cannot be seen must not be cut */
        rc = err_set(err, ERR_STOP, "%s: %020" PRIu64 ".seg cannot be read: check the disk", writer->part.label, base);
    window_fini(&window);
    return rc < 0 ? -1 : 0;
}

static int cut_file(struct log_writer *writer, int fd, uint64_t at, struct err *err)
{
    if (io_ftruncate(fd, at) < 0)
        return err_errno(err, errno, "%s: cut", writer->part.label);
    if (io_fsync(fd) < 0)
        return err_set(err, ERR_STOP, "%s: sync of a cut: %s", writer->part.label, strerror(errno));
    return 0;
}

/* Cuts inside the segment of that base and opens what is then the last one. */
static int cut_segment(struct log_writer *writer, uint64_t base, uint64_t end, struct err *err)
{
    char             name[PART_NAME_BYTES];
    struct cut_place place = { 0 };
    struct stat      st;
    int              fd, rc = -1;

    part_segment_name(name, base, ".seg");
    fd = io_open(writer->part.dir_fd, name, O_RDWR, 0);
    if (fd < 0 || fstat(fd, &st) < 0) {
        (void)err_errno(err, errno, "%s: open %s", writer->part.label, name);
        goto done;
    }
    if (cut_find(writer, fd, (uint64_t)st.st_size, base, end, &place, err) < 0)
        goto done;
    if (!place.inside) {
        rc = cut_file(writer, fd, place.at, err);
        if (rc == 0)
            rc = segment_open(&writer->seg, &writer->part, &writer->limits, base, place.at, err);
    } else {
        rc = segment_create(&writer->seg, &writer->part, &writer->limits, writer->id, place.frame.base, writer->epoch,
                            clock_wall_us(), span_of(place.keep, place.keep_bytes), err);
        if (rc == 0 && place.frame.base != base && cut_file(writer, fd, place.at, err) < 0) {
            segment_close(&writer->seg);
            rc = -1;
        }
    }
    writer->seg_open = rc == 0;
done:
    free(place.keep);
    io_close(fd);
    return rc;
}

static int remove_segments_after(struct log_writer *writer, const struct part_segments *segments, uint64_t end,
                                 struct err *err)
{
    for (size_t i = segments->count; i-- > 0 && segments->bases[i] > end;) {
        char name[PART_NAME_BYTES];

        part_segment_name(name, segments->bases[i], ".seg");
        if (io_unlink(writer->part.dir_fd, name) < 0)
            return err_errno(err, errno, "%s: delete %s", writer->part.label, name);
        /* One by one: the folder must not forget them in another order. */
        if (part_sync_dir(&writer->part, err) < 0)
            return -1;
    }
    return 0;
}

int embedded_writer_cut(struct log_writer *writer, uint64_t end, struct err *err)
{
    struct part_segments segments = { 0 };
    struct head_place    head = { .end = writer->published < end ? writer->published : end };
    size_t               which;
    int                  rc = -1;

    assert(writer->magic == LOG_WRITER_MAGIC);
    assert(!writer->appended);
    if (writer->stopped) {
        *err = writer->stop_err;
        return -1;
    }
    if (end > writer->next)
        return err_set(err, ERR_CORRUPT, "%s: the log ends at %" PRIu64 ", before the recorded end %" PRIu64, writer->part.label,
                       writer->next, end);
    if (end == writer->next)
        return 0;
    if (part_list(&writer->part, &segments, err) < 0)
        goto done;
    for (which = segments.count; which > 0 && segments.bases[which - 1] > end; which--)
        ;
    if (which == 0) {
        rc = err_set(err, ERR_CORRUPT, "%s: offset %" PRIu64 " is no longer stored", writer->part.label, end);
        goto done;
    }
    head_set(&writer->head, &head);
    writer->published = head.end;
    if (head_sync(&writer->head, &writer->part, err) < 0)
        goto failed;
    segment_close(&writer->seg);
    writer->seg_open = false;
    if (remove_segments_after(writer, &segments, end, err) < 0 || cut_segment(writer, segments.bases[which - 1], end, err) < 0)
        goto failed;
    writer->next = writer->synced_end = end;
    writer->last_at = writer->synced_last_at = 0;
    rc = 0;
    goto done;
failed:
    err->kind = ERR_STOP; /* half done: opening it anew finds out where it stands */
    rc = log_writer_failed(writer, err);
done:
    part_segments_fini(&segments);
    return rc;
}
