/* log/log_writer.c - the writing end of a partition.
 *
 * A frame is written with its header from an array here and its body from the caller's batch: nothing is
 * copied. Many frames go out in one pwritev, because at 1 KB a record the system call and not the bytes is
 * what costs. Everything that goes wrong is either ERR_FULL, which leaves the file as it was, or the end
 * of this writer: there is no third way, since the kernel gives no third answer. */
#include "log/log_writer.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "log/log_batch.h"
#include "wire/lz4_pack.h"

int log_writer_failed(struct log_writer *writer, struct err *err)
{
    if (err->kind == ERR_STOP || writer->seg.stopped) {
        err->kind = ERR_STOP;
        if (!writer->stopped)
            writer->stop_err = *err;
        writer->stopped = true;
    }
    return -1;
}

static int writer_check(const struct log_writer *writer, struct err *err)
{
    assert(writer->magic == LOG_WRITER_MAGIC);
    if (!writer->stopped)
        return 0;
    *err = writer->stop_err;
    return -1;
}

uint64_t embedded_writer_end(const struct log_writer *writer)
{
    return writer->next;
}

/* Compresses the batch into writer->packed when that makes it smaller. */
static int batch_pack(struct log_writer *writer, const struct log_batch *batch, struct frame *frame,
                      const uint8_t **body_out, struct err *err)
{
    size_t room = lz4_pack_room(batch->bytes) + FRAME_ALIGN, bytes;

    if (writer->packed_size < room) {
        uint8_t *grown = realloc(writer->packed, room);

        if (grown == NULL)
            return err_set(err, ERR_FULL, "%s: no memory to compress %zu bytes", writer->part.label, batch->bytes);
        writer->packed = grown;
        writer->packed_size = room;
    }
    bytes = lz4_pack(span_of(batch->at, batch->bytes), writer->packed);
    if (bytes >= batch->bytes)
        return 0;
    memset(writer->packed + bytes, 0, FRAME_ALIGN);
    frame->codec = LOG_CODEC_LZ4;
    frame->body_bytes = (uint32_t)bytes;
    frame->body_crc = crc32c(0, span_of(writer->packed, bytes));
    *body_out = writer->packed;
    return 0;
}

/* Fills in what follows from the frame before, and moves on. */
static void frame_place_next(struct log_writer *writer, struct frame *frame, uint8_t *header, uint64_t at)
{
    struct frame_place place = { writer->id, writer->seg.base };

    frame->base = writer->next;
    frame->epoch = writer->epoch;
    frame->unsynced = at - writer->seg.synced;
    if (writer->last_at != 0) {
        frame->prev_bytes = (uint32_t)(at - writer->last_at);
        frame->prev_tag = writer->last.tag;
        frame->prev_count = writer->last.count;
    }
    frame_put(header, frame, &place, at);
    writer->last = *frame;
    writer->last_at = at;
    writer->next += frame->count;
}

int log_writer_mark(struct log_writer *writer, int64_t now_us, struct err *err)
{
    struct frame  frame = { .appended_us = now_us };
    struct frame  last = writer->last;
    uint64_t      last_at = writer->last_at;
    struct iovec  iov[2] = { { writer->headers[0], FRAME_HEADER_BYTES } }; /* and room: segment_write */

    frame_place_next(writer, &frame, writer->headers[0], writer->seg.pos);
    if (segment_write(&writer->seg, iov, 1, FRAME_HEADER_BYTES, err) == 0)
        return 0;
    writer->last = last;
    writer->last_at = last_at;
    return -1;
}

/* The next segment, then the end of this one: when there is no space for the next, this one goes on. */
int log_writer_roll(struct log_writer *writer, int64_t now_us, struct err *err)
{
    struct segment next;

    if (segment_sync(&writer->seg, err) < 0)
        return -1;
    writer->synced_end = writer->next;
    if (segment_create(&next, &writer->part, &writer->limits, writer->id, writer->next, writer->epoch, now_us,
                       span_of("", 0), err) < 0)
        return -1;
    if (log_writer_mark(writer, now_us, err) < 0 || segment_seal(&writer->seg, err) < 0) {
        segment_close(&next);
        err->kind = ERR_STOP; /* the next one is in place: appending here would hide records */
        return -1;
    }
    segment_close(&writer->seg);
    /* The helper thread holds the address of its segment, so the struct cannot just be moved. */
    segment_close(&next);
    if (segment_open(&writer->seg, &writer->part, &writer->limits, next.base, next.pos, err) < 0) {
        writer->seg_open = false;
        err->kind = ERR_STOP;
        return -1;
    }
    writer->last_at = 0;
    writer->synced_last_at = 0;
    return 0;
}

static bool goes_alone(const struct log_writer *writer, const struct log_batch *batch)
{
    return writer->options.codec == LOG_CODEC_NONE && batch->bytes >= SEGMENT_LARGE_BYTES;
}

/* A large batch is written in one piece, with its header in front of it, where log_batch_room keeps room for that; and with a pad
 * behind it, so that the next one begins on a page, too, and can go past the page cache. */
static int append_large(struct log_writer *writer, const struct log_batch *batch, int64_t now_us, uint64_t *base_out, size_t *done_out,
                        struct err *err)
{
    struct frame frame = { .codec = LOG_CODEC_NONE, .tag = batch->tag, .count = batch->count, .appended_us = now_us,
                           .body_bytes = (uint32_t)batch->bytes, .raw_bytes = (uint32_t)batch->bytes };
    struct frame pad = { .appended_us = now_us }, last = writer->last;
    uint64_t     last_at = writer->last_at, next = writer->next, bytes = frame_bytes(&frame), end = writer->seg.pos + bytes;
    uint64_t     gap = (SEGMENT_PAGE_BYTES - end % SEGMENT_PAGE_BYTES) % SEGMENT_PAGE_BYTES;
    uint8_t     *at = batch->at - FRAME_HEADER_BYTES;

    *base_out = writer->next;
    frame_place_next(writer, &frame, at, writer->seg.pos);
    if (gap > 0 && gap < FRAME_HEADER_BYTES)
        gap += SEGMENT_PAGE_BYTES;
    if (gap > 0 && end + gap + FRAME_HEADER_BYTES <= writer->limits.segment_bytes) { /* there is room for a mark behind it */
        pad.body_bytes = pad.raw_bytes = (uint32_t)gap - FRAME_HEADER_BYTES;
        memset(at + bytes, 0, (size_t)gap);
        frame_place_next(writer, &pad, at + bytes, end);
        bytes += gap;
    }
    if (segment_write_large(&writer->seg, at, bytes, err) == 0) {
        *done_out += 1;
        return 0;
    }
    writer->last = last;
    writer->last_at = last_at;
    writer->next = next;
    return -1;
}

/* As many batches as fit into one write to this segment. */
static int append_some(struct log_writer *writer, const struct log_batch *const *batches, size_t count, int64_t now_us,
                       uint64_t *bases_out, size_t *done_out, struct err *err)
{
    struct iovec iov[2 * WRITER_GROUP_MAX + 1];
    struct frame last = writer->last;
    uint64_t     last_at = writer->last_at, next = writer->next, bytes = 0;
    size_t       n = 0;

    while (n < count && n < WRITER_GROUP_MAX) {
        const struct log_batch *batch = batches[n];
        const uint8_t          *body = batch->at;
        struct frame frame = { .codec = LOG_CODEC_NONE, .tag = batch->tag, .count = batch->count, .appended_us = now_us,
                               .body_bytes = (uint32_t)batch->bytes, .raw_bytes = (uint32_t)batch->bytes };

        assert(batch->count > 0);
        if (goes_alone(writer, batch))
            break; /* n is not 0 */
        if (writer->options.codec == LOG_CODEC_LZ4 && batch_pack(writer, batch, &frame, &body, err) < 0)
            return -1; /* n is 0: packed frames go one at a time */
        if (n > 0 && writer->seg.pos + bytes + frame_bytes(&frame) + FRAME_HEADER_BYTES > writer->limits.segment_bytes)
            break;
        bases_out[n] = writer->next;
        iov[2 * n] = (struct iovec){ writer->headers[n], FRAME_HEADER_BYTES };
        iov[2 * n + 1] = (struct iovec){ (void *)(uintptr_t)body, (size_t)frame_padded(frame.body_bytes) };
        frame_place_next(writer, &frame, writer->headers[n], writer->seg.pos + bytes);
        bytes += frame_bytes(&frame);
        n++;
        if (writer->options.codec == LOG_CODEC_LZ4)
            break;
    }
    if (segment_write(&writer->seg, iov, (int)(2 * n), bytes, err) < 0) {
        writer->last = last;
        writer->last_at = last_at;
        writer->next = next;
        return -1;
    }
    *done_out += n;
    return 0;
}

bool log_writer_has_room(const struct log_writer *writer, size_t bytes)
{
    /* Its header, and that of the mark. */
    return writer->seg.pos + FRAME_HEADER_BYTES + bytes + FRAME_HEADER_BYTES <= writer->limits.segment_bytes;
}

int log_writer_append_group(struct log_writer *writer, const struct log_batch *const *batches, size_t count,
                            int64_t now_us, uint64_t *bases_out, size_t *done_out, struct err *err)
{
    *done_out = 0;
    if (writer_check(writer, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        log_batch_sum(batches[i]);
    while (*done_out < count) {
        if (writer->seg.pos > SEGMENT_DATA_AT && !log_writer_has_room(writer, batches[*done_out]->bytes) &&
            log_writer_roll(writer, now_us, err) < 0)
            return log_writer_failed(writer, err);
        if (goes_alone(writer, batches[*done_out])
                ? append_large(writer, batches[*done_out], now_us, bases_out + *done_out, done_out, err) < 0
                : append_some(writer, batches + *done_out, count - *done_out, now_us, bases_out + *done_out, done_out, err) < 0)
            return log_writer_failed(writer, err);
        writer->appended = true;
    }
    return 0;
}

int embedded_writer_append(struct log_writer *writer, const struct log_batch *batch, int64_t now_us, uint64_t *base_out,
                      struct err *err)
{
    size_t done;

    if (batch->count == 0) {
        if (writer_check(writer, err) < 0)
            return -1;
        *base_out = writer->next;
        return 0;
    }
    return log_writer_append_group(writer, &batch, 1, now_us, base_out, &done, err);
}

int embedded_writer_sync(struct log_writer *writer, struct err *err)
{
    if (writer_check(writer, err) < 0)
        return -1;
    if (segment_sync(&writer->seg, err) < 0)
        return log_writer_failed(writer, err);
    writer->synced_end = writer->next;
    writer->synced_last_at = writer->last_at;
    return 0;
}

void embedded_writer_publish(struct log_writer *writer, uint64_t end)
{
    struct head_place place = { .end = end, .seg_base = writer->seg.base };

    assert(writer->magic == LOG_WRITER_MAGIC);
    assert(end <= writer->synced_end); /* L4 */
    if (end == writer->published)
        return;
    /* Recovery starts from the frame that ends at the published end, when we know it. */
    if (end == writer->synced_end && writer->synced_last_at != 0)
        place.frame_at = writer->synced_last_at;
    writer->published = end;
    head_publish(&writer->head, &place);
}

/* Leaves a proof that all is synced, so that the next opening has nothing to look for. */
static void writer_finish(struct log_writer *writer)
{
    struct err err;

    if (embedded_writer_sync(writer, &err) < 0)
        return;
    if (writer->last_at != 0 && (writer->last.count > 0 || writer->last.body_bytes > 0) &&
        (log_writer_mark(writer, clock_wall_us(), &err) < 0 || segment_sync(&writer->seg, &err) < 0))
        return;
    head_set_identity(&writer->head, writer->id, writer->epoch, 0);
    if (head_sync(&writer->head, &writer->part, &err) < 0)
        return; /* an older head is harmless (H1) */
}

void log_writer_rest(struct log_writer *writer)
{
    assert(writer->stopped || writer->synced_end == writer->next);
    if (writer->seg_open)
        segment_rest(&writer->seg);
    (void)flock(writer->part.dir_fd, LOCK_UN);
}

int log_writer_wake(struct log_writer *writer, struct err *err)
{
    struct head_place place;
    uint64_t          id;
    uint32_t          epoch, owner, seq;

    if (flock(writer->part.dir_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, ERR_STOP, "%s: another process writes it now", writer->part.label);
    if (!head_is_current(&writer->head, &writer->part) || !head_identity(&writer->head, &id, &epoch, &owner) ||
        id != writer->id || !head_load(&writer->head, &place, &seq) || place.end != writer->published ||
        (writer->seg_open && segment_wake(&writer->seg) < 0)) {
        (void)flock(writer->part.dir_fd, LOCK_UN);
        return err_set(err, ERR_STOP, "%s: another process wrote it since", writer->part.label);
    }
    writer->epoch = epoch;
    head_set_identity(&writer->head, writer->id, epoch, (uint32_t)getpid());
    if (writer->options.clock_guard)
        log_writer_clock_load(writer, writer->seg.base);
    return 0;
}

void embedded_writer_close(struct log_writer *writer)
{
    if (writer == NULL)
        return;
    assert(writer->magic == LOG_WRITER_MAGIC);
    if (!writer->stopped && writer->seg_open)
        writer_finish(writer);
    if (writer->seg_open)
        segment_close(&writer->seg);
    head_close(&writer->head);
    part_close(&writer->part); /* and with it the lock */
    free(writer->packed);
    writer->magic = 0;
    free(writer);
}
