/* people/seen_writer.c - writing runs: three parts that grow side by side, each through a buffer of its own.
 * Synced piece by piece, so that the last sync has little to do and the store's own commits never wait behind
 * gigabytes. */
#include "people/seen_writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/io.h"

enum {
    BUFFER_BYTES = 128 << 10, /* a multiple of every piece that is put into it */
    SYNC_BYTES = 16 << 20
};

static int writer_failed(const struct seen_writer *writer, const char *what, struct err *err)
{
    return err_errno(err, errno, "people: seen/%016llx.run: %s", (unsigned long long)writer->number, what);
}

static int stream_open(struct seen_stream *stream, uint64_t at)
{
    *stream = (struct seen_stream){ .buffer = malloc(BUFFER_BYTES), .at = at };
    return stream->buffer != NULL ? 0 : -1;
}

static int stream_flush(struct seen_writer *writer, struct seen_stream *stream, struct err *err)
{
    if (stream->used == 0)
        return 0;
    if (io_pwrite(writer->fd, stream->buffer, stream->used, stream->at) < 0)
        return writer_failed(writer, "write", err);
    stream->crc = crc32c(stream->crc, span_of(stream->buffer, stream->used));
    stream->at += stream->used;
    writer->unsynced += stream->used;
    stream->used = 0;
    if (writer->unsynced < SYNC_BYTES)
        return 0;
    writer->unsynced = 0;
    return io_fdatasync(writer->fd) < 0 ? writer_failed(writer, "sync", err) : 0;
}

static int stream_put(struct seen_writer *writer, struct seen_stream *stream, const void *from, size_t bytes, struct err *err)
{
    memcpy(stream->buffer + stream->used, from, bytes);
    stream->used += bytes;
    assert(stream->used <= BUFFER_BYTES);
    return stream->used == BUFFER_BYTES ? stream_flush(writer, stream, err) : 0;
}

int seen_writer_open(struct seen_writer *writer, int dir_fd, uint64_t number, uint64_t seed, uint64_t entries_max,
                     struct err *err)
{
    char name[SEEN_RUN_NAME_BYTES];

    *writer = (struct seen_writer){ .dir_fd = dir_fd, .fd = -1, .number = number, .seed = seed };
    writer->shape.lines = entries_max * SEEN_FILTER_BITS / (8 * SEEN_LINE_BYTES) + 1;
    writer->shape.fences_room = entries_max / SEEN_BLOCK_ENTRIES + 1;
    writer->shape.day_first = UINT16_MAX;
    if (stream_open(&writer->filter, seen_shape_filter_at()) < 0 ||
        stream_open(&writer->fences, seen_shape_fences_at(&writer->shape)) < 0 ||
        stream_open(&writer->blocks, seen_shape_blocks_at(&writer->shape)) < 0) {
        seen_writer_drop(writer);
        return err_set(err, ERR_FULL, "people: no memory to write a run");
    }
    seen_run_name(number, "tmp", name);
    writer->fd = io_open(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (writer->fd >= 0)
        return 0;
    (void)writer_failed(writer, "it cannot be made", err);
    seen_writer_drop(writer);
    return -1;
}

/* The line in hand goes out, and empty ones up to `next`. */
static int filter_move(struct seen_writer *writer, uint64_t next, struct err *err)
{
    for (; writer->line_number < next; writer->line_number++) {
        if (stream_put(writer, &writer->filter, writer->line, SEEN_LINE_BYTES, err) < 0)
            return -1;
        memset(writer->line, 0, SEEN_LINE_BYTES);
    }
    return 0;
}

static int block_close(struct seen_writer *writer, struct err *err)
{
    uint8_t *block = writer->block;
    size_t   used = SEEN_BLOCK_HEAD + writer->block_entries * (size_t)SEEN_ENTRY_BYTES;

    memset(block + used, 0, SEEN_PAGE - used);
    bytes_put_u16(block + 4, (uint16_t)writer->block_entries);
    bytes_put_u32(block, crc32c(0, span_of(block + 4, SEEN_PAGE - 4)));
    writer->block_entries = 0;
    writer->shape.blocks++;
    return stream_put(writer, &writer->blocks, block, SEEN_PAGE, err);
}

int seen_writer_add(struct seen_writer *writer, const struct seen_entry *entry, uint64_t hash, struct err *err)
{
    uint16_t day = seen_entry_day(entry);
    int      minute = seen_entry_minute(entry);
    uint8_t  first[8];

    assert(hash >= writer->hash);
    writer->hash = hash;
    if (filter_move(writer, seen_scale(hash, writer->shape.lines), err) < 0)
        return -1;
    SEEN_FILTER_BITS_EACH(hash, bit)
        writer->line[bit / 8] |= (uint8_t)(1u << bit % 8);
    if (writer->block_entries == 0) {
        assert(writer->shape.blocks < writer->shape.fences_room);
        bytes_put_u64(first, hash);
        if (stream_put(writer, &writer->fences, first, sizeof first, err) < 0)
            return -1;
    }
    memcpy(writer->block + SEEN_BLOCK_HEAD + writer->block_entries * (size_t)SEEN_ENTRY_BYTES, entry->bytes, SEEN_ENTRY_BYTES);
    writer->block_entries++;
    writer->shape.entries++;
    if (day < writer->shape.day_first)
        writer->shape.day_first = day;
    if (day > writer->shape.day_last)
        writer->shape.day_last = day;
    if (minute < 0)
        writer->others = true;
    else
        writer->minutes[minute / 8] |= (uint8_t)(1u << minute % 8);
    return writer->block_entries == SEEN_BLOCK_ENTRIES ? block_close(writer, err) : 0;
}

static int write_head(struct seen_writer *writer, struct err *err)
{
    const struct seen_shape *shape = &writer->shape;
    uint8_t                  head[SEEN_HEAD_BYTES] = "PNSTSEEN";

    bytes_put_u32(head + 8, 1);
    bytes_put_u64(head + 16, writer->number);
    bytes_put_u64(head + 24, writer->seed);
    bytes_put_u64(head + 32, shape->entries);
    bytes_put_u64(head + 40, shape->lines);
    bytes_put_u64(head + 48, shape->fences_room);
    bytes_put_u64(head + 56, shape->blocks);
    bytes_put_u16(head + 64, shape->day_first);
    bytes_put_u16(head + 66, shape->day_last);
    bytes_put_u32(head + 68, writer->others);
    bytes_put_u32(head + 72, crc32c(0, span_of(writer->minutes, SEEN_MINUTES_BYTES)));
    bytes_put_u32(head + 76, writer->filter.crc);
    bytes_put_u32(head + 80, writer->fences.crc);
    bytes_put_u32(head + 12, crc32c(0, span_of(head, SEEN_HEAD_BYTES)));
    if (io_pwrite(writer->fd, head, SEEN_HEAD_BYTES, 0) < 0 ||
        io_pwrite(writer->fd, writer->minutes, SEEN_MINUTES_BYTES, SEEN_HEAD_BYTES) < 0)
        return writer_failed(writer, "write", err);
    return 0;
}

static int finish(struct seen_writer *writer, struct err *err)
{
    char from[SEEN_RUN_NAME_BYTES], to[SEEN_RUN_NAME_BYTES];

    if ((writer->block_entries > 0 && block_close(writer, err) < 0) || filter_move(writer, writer->shape.lines, err) < 0 ||
        stream_flush(writer, &writer->filter, err) < 0 || stream_flush(writer, &writer->fences, err) < 0 ||
        stream_flush(writer, &writer->blocks, err) < 0 || write_head(writer, err) < 0)
        return -1;
    seen_run_name(writer->number, "tmp", from);
    seen_run_name(writer->number, "run", to);
    if (io_fdatasync(writer->fd) < 0)
        return writer_failed(writer, "sync", err);
    if (io_rename(writer->dir_fd, from, to) < 0)
        return writer_failed(writer, "rename", err);
    return io_fsync(writer->dir_fd) < 0 ? writer_failed(writer, "sync of the folder", err) : 0;
}

static void writer_close(struct seen_writer *writer)
{
    free(writer->filter.buffer);
    free(writer->fences.buffer);
    free(writer->blocks.buffer);
    io_close(writer->fd);
    writer->filter.buffer = writer->fences.buffer = writer->blocks.buffer = NULL;
    writer->fd = -1;
}

int seen_writer_finish(struct seen_writer *writer, struct seen_shape *shape_out, struct err *err)
{
    assert(writer->shape.entries > 0);
    if (finish(writer, err) < 0) {
        seen_writer_drop(writer);
        return -1;
    }
    writer_close(writer);
    *shape_out = writer->shape;
    return 0;
}

void seen_writer_drop(struct seen_writer *writer)
{
    char name[SEEN_RUN_NAME_BYTES];
    bool made = writer->fd >= 0;

    writer_close(writer);
    if (!made)
        return;
    seen_run_name(writer->number, "tmp", name); /* what stays is deleted at the next opening */
    if (io_unlink(writer->dir_fd, name) < 0)
        return;
}
