/* ingest/gather.c - see gather.h. */
#include "ingest/gather.h"

#include <assert.h>
#include <string.h>

int gather_open(struct gather *gather, struct log *log, enum input input, uint32_t partition, uint64_t from, struct err *err)
{
    *gather = (struct gather){ .input = input, .next = from, .until = UINT64_MAX, .sparse = log_sparse(log, input_topic(input)) };
    if (log_reader_open(log, input_topic(input), partition, from, &gather->reader, err) < 0)
        return err_wrap(err, input_topic(input));
    log_reader_once(gather->reader);
    return 0;
}

void gather_close(struct gather *gather)
{
    if (gather->reader != NULL)
        log_reader_close(gather->reader);
    gather->reader = NULL;
    gather->chunk_open = false;
}

uint64_t gather_lag(const struct gather *gather)
{
    return gather->reader == NULL ? 0 : log_reader_lag(gather->reader, gather->next);
}

static void gap_add(struct gather *gather, struct gathered *to, uint64_t from, uint64_t end, const char *why)
{
    to->gaps[to->gap_count++] = (struct gap){
        .mark = place_make(gather->input, from), .count = end - from,
        .expired = why != NULL && strcmp(why, "expired") == 0
    };
    gather->taken += end - from;
    gather->next = end;
}

/* Opens the next chunk when none is open. As log_reader_next. */
static int chunk_next(struct gather *gather, struct err *err)
{
    int rc;

    if (gather->chunk_open)
        return 1;
    rc = log_reader_next(gather->reader, &gather->chunk, err);
    if (rc <= 0)
        return rc;
    gather->chunk_open = true;
    return 1;
}

int gather_age_us(struct gather *gather, int64_t now_us, int64_t *out, struct err *err)
{
    int rc = gather_lag(gather) == 0 ? 0 : chunk_next(gather, err);

    *out = 0;
    if (rc > 0 && gather->chunk.kind == LOG_RECORDS && now_us > gather->chunk.appended_us)
        *out = now_us - gather->chunk.appended_us;
    return rc < 0 ? -1 : 1;
}

/* What a topic's record is: itself, or one that was accepted elsewhere. */
static void record_open(const struct gather *gather, uint64_t offset, struct span body, struct raw_record *out)
{
    struct record_moved moved;
    struct err          not_one; /* then it is read as a record, and becomes a dead letter that says why */

    *out = (struct raw_record){ .mark = place_make(gather->input, offset), .body = body };
    out->place = out->mark;
    if (gather->input == INPUT_OVERFLOW && record_moved_read(body, &moved, &not_one) == 0) {
        out->place = moved.place;
        out->body = moved.body;
    }
}

/* What comes next stays for a later batch. Where offsets are sparse none need be left before `until`: the place goes there all the
 * same, or the next batch would find nothing to take before it either, and so for ever. */
static void reach_until(struct gather *gather)
{
    if (gather->sparse)
        gather->next = gather->until;
}

/* Takes records of the open chunk. Bodies are copied unless it is the last chunk that this batch sees. */
static int chunk_take(struct gather *gather, struct gathered *to, struct arena *arena, size_t count_end, size_t bytes_end,
                      size_t gaps_end, bool borrow, struct err *err)
{
    struct span body;
    uint64_t    offset;

    while (to->count < count_end && to->bytes < bytes_end) {
        struct log_chunk before = gather->chunk;

        if (!log_chunk_next(&gather->chunk, &offset, &body)) {
            gather->chunk_open = false;
            return 0;
        }
        if (offset < gather->next)
            continue;
        if (offset >= gather->until) {
            gather->chunk = before;
            reach_until(gather);
            return 0;
        }
        if (offset > gather->next && !gather->sparse) { /* T1, whatever the log did */
            if (to->gap_count == gaps_end) {
                gather->chunk = before;
                return 0;
            }
            gap_add(gather, to, gather->next, offset, NULL);
        }
        if (!borrow)
            body = arena_copy(arena, body);
        if (body.at == NULL && body.bytes > 0)
            return err_set(err, ERR_FULL, "no room in the arena for a batch of %zu records", to->count);
        record_open(gather, offset, body, &to->records[to->count++]);
        to->bytes += body.bytes;
        gather->next = offset + 1;
        gather->taken++;
    }
    return 0;
}

int gather_take(struct gather *gather, struct gathered *to, struct arena *arena, size_t records, size_t bytes, struct err *err)
{
    size_t   count_end = to->count + records, bytes_end = to->bytes + bytes, gaps_end = to->gap_count + GATHER_GAPS_MAX;
    uint64_t from = gather->next;
    int      rc = 1;

    assert(count_end <= to->room);
    gather->taken = 0;
    while (to->count < count_end && to->bytes < bytes_end && to->gap_count < gaps_end && gather->next < gather->until) {
        const struct log_chunk *chunk = &gather->chunk;
        bool                    last;

        rc = chunk_next(gather, err);
        if (rc <= 0)
            break;
        if (chunk->kind == LOG_GAP) {
            uint64_t end = chunk->base + chunk->count;

            if (chunk->base >= gather->until) {
                reach_until(gather);
                break;
            }
            if (end > gather->next)
                gap_add(gather, to, gather->sparse && chunk->base > gather->next ? chunk->base : gather->next, end, chunk->why);
            gather->chunk_open = false;
            continue;
        }
        last = log_reader_lag(gather->reader, chunk->base + chunk->count) == 0 ||
               chunk->count - chunk->next_index >= count_end - to->count || gather->until < chunk->base + chunk->count;
        if (chunk_take(gather, to, arena, count_end, bytes_end, gaps_end, last, err) < 0)
            return -1;
        if (last)
            break; /* its records are borrowed: the reader must not move on */
    }
    if (rc < 0)
        return -1;
    return gather->next > from;
}
