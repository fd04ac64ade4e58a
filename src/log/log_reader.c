/* log/log_reader.c - the reading end: in any process, beside a running writer, through rolls, retention
 * and restarts of the writer. It trusts nothing: every record's sum is computed before it is served, and
 * the published end only says how far to look. */
#include "log/log_reader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/io.h"

enum { HEAD_CHECK_US = 100000, WAIT_STEP_US = 200000 };

/* --- the head ---------------------------------------------------------------------------------- */

/* Opens what is missing; a head that was replaced is noticed now and then. 1: there is a head; 0: not yet. */
static int reader_head(struct log_reader *reader, struct err *err)
{
    int64_t now_us = clock_mono_us();
    int     rc;

    if (reader->head_open && now_us - reader->head_checked_us < HEAD_CHECK_US)
        return 1;
    if (!reader->part_open) {
        rc = part_open(&reader->part, reader->log, reader->topic, reader->partition, false, err);
        if (rc < 1)
            return rc;
        reader->part_open = true;
    }
    reader->head_checked_us = now_us;
    if (reader->head_open && head_is_current(&reader->head, &reader->part))
        return 1;
    if (reader->head_open)
        head_close(&reader->head);
    reader->head_open = false;
    rc = head_open_reader(&reader->head, &reader->part, err);
    reader->head_open = rc == 1;
    return rc;
}

/* 1: *end_out is what may be read; 0: nothing is published. Notices a new writer. */
int log_reader_published(struct log_reader *reader, uint64_t *end_out, uint32_t *seq_out, struct err *err)
{
    struct head_place place;
    uint64_t          id;
    uint32_t          epoch, owner;
    int               rc;

    if (reader->end_fixed != 0) {
        *end_out = reader->end_fixed;
        return 1;
    }
    rc = reader_head(reader, err);
    if (rc < 1)
        return rc;
    if (!head_load(&reader->head, &place, seq_out) || !head_identity(&reader->head, &id, &epoch, &owner))
        return 0;
    if (id != reader->id || epoch != reader->epoch) { /* what was read ahead may have been cut since */
        reader->id = id;
        reader->epoch = epoch;
        reader->state = READER_FIND;
    }
    *end_out = place.end;
    return 1;
}

uint64_t embedded_reader_end(struct log_reader *reader)
{
    struct err err;
    uint64_t   end;
    uint32_t   seq;

    return log_reader_published(reader, &end, &seq, &err) == 1 ? end : 0;
}

uint64_t embedded_reader_lag(struct log_reader *reader, uint64_t from)
{
    uint64_t end = embedded_reader_end(reader);

    return end > from ? end - from : 0;
}

uint64_t embedded_reader_start(struct log_reader *reader)
{
    struct part_segments segments = { 0 };
    struct err           err;
    uint64_t             start = 0;

    if (reader_head(reader, &err) >= 0 && reader->part_open && part_list(&reader->part, &segments, &err) == 0 &&
        segments.count > 0)
        start = segments.bases[0];
    part_segments_fini(&segments);
    return start;
}

bool embedded_reader_wait(struct log_reader *reader, int64_t timeout_us)
{
    int64_t until_us = clock_mono_us() + timeout_us;

    for (;;) {
        struct err err;
        uint64_t   end;
        uint32_t   seq = 0;
        int64_t    left_us;
        int        rc = log_reader_published(reader, &end, &seq, &err);

        if (rc == 1 && end > reader->next)
            return true;
        left_us = until_us - clock_mono_us();
        if (left_us <= 0)
            return false;
        if (left_us > WAIT_STEP_US)
            left_us = WAIT_STEP_US; /* the head may be replaced while we sleep on the old one */
        if (reader->head_open && rc >= 0)
            head_wait(&reader->head, seq, left_us);
        else
            (void)usleep((useconds_t)(left_us < 20000 ? left_us : 20000));
    }
}

/* --- finding a place --------------------------------------------------------------------------- */

static void reader_leave_segment(struct log_reader *reader)
{
    window_fini(&reader->window);
    io_close(reader->fd);
    reader->fd = -1;
    reader->state = READER_FIND;
}

/* Lists the folder; *which_out is the segment that holds `offset` (segments.count: it was deleted, all
 * segments begin later). The limit of that segment is set. */
static int reader_list(struct log_reader *reader, uint64_t offset, size_t *which_out, struct err *err)
{
    size_t kept = 0, which;

    reader->foreign_base = UINT64_MAX;
    if (part_list(&reader->part, &reader->segments, err) < 0)
        return -1;
    /* Foreign files matter only where they would be taken for ours: around the offset. */
    for (size_t i = 0; i < reader->segments.count; i++) {
        uint64_t base = reader->segments.bases[i];
        bool     before = i + 1 < reader->segments.count && reader->segments.bases[i + 1] <= offset;
        bool     behind = kept > 0 && reader->segments.bases[kept - 1] > offset;

        if (before || behind || !part_segment_foreign(&reader->part, base, reader->id))
            reader->segments.bases[kept++] = base;
        else if (base <= offset)
            reader->foreign_base = base;
    }
    reader->segments.count = kept;
    which = kept;
    for (size_t i = 0; i < kept && reader->segments.bases[i] <= offset; i++)
        which = i;
    reader->seg_limit = which + 1 < kept ? reader->segments.bases[which + 1] : UINT64_MAX;
    *which_out = which;
    return 0;
}

static void gap_set(struct log_reader *reader, struct log_chunk *out, uint64_t to, const char *why)
{
    uint64_t count = to - reader->next;

    if (count > UINT32_MAX)
        count = UINT32_MAX;
    *out = (struct log_chunk){ .kind = LOG_GAP, .base = reader->next, .count = (uint32_t)count, .why = why };
    reader->next += count;
}

/* A gap by damage: also told to people, once. */
static void gap_damaged(struct log_reader *reader, struct log_chunk *out, uint64_t to, uint64_t file_at)
{
    gap_set(reader, out, to, "damaged");
    reader->gap_file_at = file_at;
    part_quarantine(&reader->part, out->base, out->count, reader->seg_base, file_at, "damaged");
}

/* 2: go on; 1: a gap; 0: nothing there yet. */
static int reader_find(struct log_reader *reader, uint64_t end, struct log_chunk *out, struct err *err)
{
    char   name[PART_NAME_BYTES];
    size_t which;

    reader_leave_segment(reader);
    if (reader_list(reader, reader->next, &which, err) < 0)
        return -1;
    if (which == reader->segments.count) {
        uint64_t start = which == 0 ? end : reader->segments.bases[0];

        if (start > end)
            start = end;
        if (reader->foreign_base == UINT64_MAX) {
            gap_set(reader, out, start, "expired");
        } else { /* its place is taken by a file that is not ours */
            reader->seg_base = reader->foreign_base;
            gap_damaged(reader, out, start, 0);
        }
        return 1;
    }
    reader->seg_base = reader->segments.bases[which];
    part_segment_name(name, reader->seg_base, ".seg");
    reader->fd = io_open(reader->part.dir_fd, name, O_RDONLY, 0);
    if (reader->fd < 0)
        return errno == ENOENT ? 2 : err_errno(err, errno, "%s: open %s", reader->part.label, name); /* deleted just now */
    window_init(&reader->window, reader->fd);
    if (reader->once)
        window_read_once(&reader->window);
    reader->at = SEGMENT_DATA_AT;
    reader->looks = 0;
    reader->state = READER_WALK;
    return 2;
}

/* --- frames ------------------------------------------------------------------------------------ */

/* Sets up serving the records that `raw` still has of [base, base + count). whole: they stand in line. */
static int serve_begin(struct log_reader *reader, const struct frame *frame, struct span raw, uint64_t at, uint64_t end_at,
                       bool whole, struct err *err)
{
    free(reader->table);
    reader->table = NULL;
    if (!whole) {
        reader->table = malloc((size_t)frame->count * sizeof *reader->table + 1);
        if (reader->table == NULL)
            return err_set(err, ERR_FULL, "%s: no memory for a damaged frame of %" PRIu32 " records", reader->part.label, frame->count);
        frame_body_salvage(raw, frame->tag, frame->count, reader->table);
    }
    reader->raw = raw;
    reader->base = frame->base;
    reader->count = frame->count;
    reader->appended_us = frame->appended_us;
    reader->frame_at = at;
    reader->frame_end_at = end_at;
    reader->run_offset = frame->base;
    reader->run_at = 0;
    reader->state = READER_SERVE;
    return 0;
}

/* Reads and checks the frame whose header was found at `at`. 2: go on (SERVE); 0: look twice. */
static int frame_load(struct log_reader *reader, uint64_t at, const struct frame *frame, struct err *err)
{
    const uint8_t *stored;
    struct span    raw = { 0 };
    bool           whole = false;
    int            rc = window_get(&reader->window, at, (size_t)frame_bytes(frame), &stored, err);

    if (rc < 0)
        return -1;
    if (rc == 1) {
        rc = frame_unpack(frame, stored + FRAME_HEADER_BYTES, &reader->unpacked, &reader->unpacked_size, &raw, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            raw = span_of(stored, 0);
        else
            whole = frame_body_whole(raw, frame->tag, frame->count);
    } else if (reader->looks == READER_LOOKS && frame->codec == LOG_CODEC_NONE) {
        /* The file ends inside the frame: what is there of it may still hold whole records. */
        struct stat st;
        uint64_t    body_at = at + FRAME_HEADER_BYTES;

        if (fstat(reader->fd, &st) == 0 && (uint64_t)st.st_size > body_at) {
            size_t have = (size_t)((uint64_t)st.st_size - body_at) / FRAME_ALIGN * FRAME_ALIGN;

            rc = window_get(&reader->window, body_at, have, &stored, err);
            if (rc < 0)
                return -1;
            raw = span_of(stored, rc == 1 ? have : 0);
        }
    }
    if (!whole && reader->looks < READER_LOOKS)
        return 0;
    reader->frames++;
    reader->looks = 0;
    return serve_begin(reader, frame, raw, at, at + frame_bytes(frame), whole, err) < 0 ? -1 : 2;
}

/* The place `at` is not a frame, and that is damage. Finds the next one; the one before it, which it
 * describes, may have whole records (frame.h F4). 2: go on; 1: a gap. */
static int reader_resync(struct log_reader *reader, uint64_t end, struct log_chunk *out, struct err *err)
{
    struct frame_place place = { reader->id, reader->seg_base };
    uint64_t           limit = reader->seg_limit < end ? reader->seg_limit : end;
    uint64_t           at = reader->at, file_at = reader->at;
    struct frame       frame;
    struct stat        st;
    int                rc = 0;

    if (fstat(reader->fd, &st) < 0)
        return err_errno(err, errno, "%s: stat", reader->part.label);
    do
        rc = window_find_frame(&reader->window, at + FRAME_ALIGN, (uint64_t)st.st_size, &place, &at, &frame, err);
    while (rc == 1 && frame.base + frame.count <= reader->next && frame.base < reader->next);
    if (rc < 0)
        return -1;
    reader->looks = 0;
    if (rc == 1 && frame.prev_bytes > FRAME_HEADER_BYTES && frame.prev_bytes <= FRAME_HEADER_BYTES + FRAME_BODY_BYTES_MAX &&
        at - frame.prev_bytes >= file_at && frame.prev_count > 0 && frame.prev_count <= frame.base &&
        frame.base - frame.prev_count < limit) {
        struct frame   lost = { .tag = frame.prev_tag, .count = frame.prev_count, .base = frame.base - frame.prev_count,
                                .appended_us = frame.appended_us };
        const uint8_t *stored;
        size_t         bytes = frame.prev_bytes - FRAME_HEADER_BYTES;
        int            got = window_get(&reader->window, at - bytes, bytes, &stored, err);
        if (got < 0)
            return -1;
        if (got == 1 && lost.count <= bytes / RECORD_HEADER_BYTES)
            return serve_begin(reader, &lost, span_of(stored, bytes), at - frame.prev_bytes, at, false, err) < 0 ? -1 : 2;
    }
    if (rc == 0 || frame.base >= limit) { /* the rest of this segment is lost */
        reader->state = READER_FIND;
        if (reader->next >= limit)
            return 2;
        gap_damaged(reader, out, limit, file_at);
        return 1;
    }
    reader->at = at;
    if (frame.base > reader->next) {
        gap_damaged(reader, out, frame.base, file_at);
        return 1;
    }
    return 2;
}

/* 2: go on; 1: a gap; 0: nothing more for now. */
static int reader_walk(struct log_reader *reader, uint64_t end, struct log_chunk *out, struct err *err)
{
    struct frame_place place = { reader->id, reader->seg_base };
    struct frame       frame;
    int                rc;

    if (reader->next >= reader->seg_limit) {
        reader->state = READER_FIND;
        return 2;
    }
    rc = window_frame(&reader->window, reader->at, &place, &frame, err);
    if (rc < 0)
        return -1;
    if (rc == 1 && frame.base < reader->seg_limit && frame.base <= FRAME_BASE_MAX) {
        if (frame.count == 0 || frame.base + frame.count <= reader->next) { /* a mark, or before our place */
            reader->at += frame_bytes(&frame);
            return 2;
        }
        if (frame.base > reader->next && frame.base < end) {
            gap_damaged(reader, out, frame.base, reader->at);
            return 1;
        }
        if (frame.base <= reader->next) {
            rc = frame_load(reader, reader->at, &frame, err);
            if (rc != 0)
                return rc;
        }
    }
    if (reader->looks < READER_LOOKS) {
        size_t which;

        window_drop(&reader->window);
        if (reader->looks++ == 0)
            return 2;
        if (reader_list(reader, reader->next, &which, err) < 0)
            return -1;
        if (which < reader->segments.count && reader->segments.bases[which] != reader->seg_base)
            reader->state = READER_FIND;
        else if (which == reader->segments.count) /* ours was deleted: read it to its end */
            reader->seg_limit = which == 0 ? UINT64_MAX : reader->segments.bases[0];
        return 2;
    }
    return reader_resync(reader, end, out, err);
}

/* --- records ----------------------------------------------------------------------------------- */

static size_t record_stride(const struct log_reader *reader, size_t at)
{
    return RECORD_HEADER_BYTES + (size_t)frame_padded(bytes_get_u32(reader->raw.at + at + 4));
}

static uint32_t table_at(const struct log_reader *reader, uint64_t offset)
{
    return reader->table[offset - reader->base];
}

/* The next run of records, or of lost ones, of the frame that was loaded. 2: it is used up; 1: a chunk. */
static int reader_serve(struct log_reader *reader, uint64_t end, struct log_chunk *out)
{
    uint64_t frame_end = reader->base + reader->count, first = reader->next, last;
    size_t   at, start;

    if (frame_end > reader->seg_limit)
        frame_end = reader->seg_limit;
    if (frame_end > end)
        frame_end = end;
    if (first >= frame_end) {
        if (reader->base + reader->count <= first) {
            reader->at = reader->frame_end_at;
            reader->state = READER_WALK;
            return 2;
        }
        if (frame_end == reader->seg_limit) {
            reader->state = READER_FIND;
            return 2;
        }
        return 0; /* the rest of the frame is not published yet */
    }
    if (first < reader->base) { /* lost between the frame before and this one */
        gap_damaged(reader, out, reader->base < frame_end ? reader->base : frame_end, reader->frame_at);
        return 1;
    }
    if (reader->table == NULL) {
        while (reader->run_offset < first) {
            reader->run_at += record_stride(reader, reader->run_at);
            reader->run_offset++;
        }
        start = at = reader->run_at;
        for (last = first; last < frame_end; last++)
            at += record_stride(reader, at);
        reader->run_at = at;
        reader->run_offset = last;
    } else if (table_at(reader, first) == UINT32_MAX) {
        for (last = first; last < frame_end && table_at(reader, last) == UINT32_MAX; last++)
            ;
        gap_damaged(reader, out, last, reader->frame_at);
        return 1;
    } else {
        start = at = table_at(reader, first);
        for (last = first; last < frame_end && table_at(reader, last) == at; last++)
            at += record_stride(reader, at);
    }
    *out = (struct log_chunk){ .kind = LOG_RECORDS, .base = first, .count = (uint32_t)(last - first), .appended_us = reader->appended_us,
                               .at = reader->raw.at + start, .end = reader->raw.at + at };
    reader->next = last;
    return 1;
}

int embedded_reader_next(struct log_reader *reader, struct log_chunk *out, struct err *err)
{
    uint64_t end;
    uint32_t seq;
    int      rc;

    assert(reader->magic == LOG_READER_MAGIC);
    rc = log_reader_published(reader, &end, &seq, err);
    if (rc < 1)
        return rc;
    while (reader->next < end) {
        switch (reader->state) {
        case READER_FIND: rc = reader_find(reader, end, out, err); break;
        case READER_WALK: rc = reader_walk(reader, end, out, err); break;
        case READER_SERVE: rc = reader_serve(reader, end, out); break;
        }
        if (rc != 2)
            return rc;
    }
    return 0;
}

bool log_chunk_next(struct log_chunk *chunk, uint64_t *offset_out, struct span *body_out)
{
    uint32_t bytes;

    if (chunk->kind != LOG_RECORDS || chunk->next_index == chunk->count)
        return false;
    bytes = bytes_get_u32(chunk->at + 4);
    *offset_out = chunk->base + chunk->next_index++;
    *body_out = span_of(chunk->at + RECORD_HEADER_BYTES, bytes);
    chunk->at += RECORD_HEADER_BYTES + frame_padded(bytes);
    return true;
}

int embedded_reader_open(struct log *log, const char *topic, uint32_t partition, uint64_t from, struct log_reader **out,
                    struct err *err)
{
    struct log_reader *reader;

    if (!part_name_valid(topic, LOG_TOPIC_NAME_BYTES_MAX))
        return err_set(err, ERR_INPUT, "topic name \"%.80s\" is not 1 to %d of a-z, 0-9 and _", topic, LOG_TOPIC_NAME_BYTES_MAX);
    reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return err_set(err, ERR_FULL, "%s: no memory for a reader", topic);
    reader->ops = &log_embedded_ops;
    reader->magic = LOG_READER_MAGIC;
    reader->log = log;
    memcpy(reader->topic, topic, strlen(topic) + 1);
    reader->partition = partition;
    reader->next = from;
    reader->fd = reader->part.dir_fd = reader->head.fd = -1;
    window_init(&reader->window, -1);
    *out = reader;
    return 0;
}

void embedded_reader_once(struct log_reader *reader)
{
    reader->once = true;
}

void embedded_reader_ahead(struct log_reader *reader, uint64_t bytes)
{
    if (reader->state != READER_FIND)
        window_ahead(&reader->window, bytes);
}

void embedded_reader_close(struct log_reader *reader)
{
    if (reader == NULL)
        return;
    assert(reader->magic == LOG_READER_MAGIC);
    reader_leave_segment(reader);
    if (reader->head_open)
        head_close(&reader->head);
    if (reader->part_open)
        part_close(&reader->part);
    part_segments_fini(&reader->segments);
    free(reader->table);
    free(reader->unpacked);
    reader->magic = 0;
    free(reader);
}
