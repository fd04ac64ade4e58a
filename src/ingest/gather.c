/* ingest/gather.c - see gather.h. */
#include "ingest/gather.h"

#include <assert.h>
#include <stdlib.h>

int gather_init(struct gather *gather, size_t records_max)
{
    *gather = (struct gather){ .room = records_max };
    gather->records = calloc(records_max, sizeof *gather->records); /* touched only as far as batches go */
    return gather->records == NULL ? -1 : 0;
}

void gather_fini(struct gather *gather)
{
    free(gather->records);
    gather->records = NULL;
}

int gather_open(struct gather *gather, struct log *log, uint64_t from, struct err *err)
{
    gather->next = from;
    gather->count = 0;
    gather->gap_count = 0;
    gather->chunk_open = false;
    if (log_reader_open(log, "raw", 0, from, &gather->reader, err) < 0)
        return err_wrap(err, "raw");
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
    uint64_t end = log_reader_end(gather->reader);

    return end > gather->next ? end - gather->next : 0;
}

static void gap_add(struct gather *gather, uint64_t end, const char *why)
{
    gather->gaps[gather->gap_count++] = (struct gap){
        .base = gather->next, .count = end - gather->next, .expired = why != NULL && strcmp(why, "expired") == 0
    };
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

/* Takes records of the open chunk. Bodies are copied unless it is the last chunk that this batch sees. */
static int chunk_take(struct gather *gather, struct arena *arena, size_t records, size_t bytes_max, size_t *bytes,
                      bool borrow, struct err *err)
{
    struct span body;
    uint64_t    offset;

    while (gather->count < records && *bytes < bytes_max) {
        struct log_chunk before = gather->chunk;

        if (!log_chunk_next(&gather->chunk, &offset, &body)) {
            gather->chunk_open = false;
            return 0;
        }
        if (offset < gather->next)
            continue;
        if (offset > gather->next) { /* T1, whatever the log did */
            if (gather->gap_count == GATHER_GAPS_MAX) {
                gather->chunk = before;
                return 0;
            }
            gap_add(gather, offset, NULL);
        }
        if (!borrow)
            body = arena_copy(arena, body);
        if (body.at == NULL && body.bytes > 0)
            return err_set(err, ERR_FULL, "no room in the arena for a batch of %zu records", gather->count);
        gather->records[gather->count++] = (struct raw_record){ .offset = offset, .body = body };
        *bytes += body.bytes;
        gather->next = offset + 1;
    }
    return 0;
}

int gather_batch(struct gather *gather, struct arena *arena, size_t records, size_t bytes_max, struct err *err)
{
    size_t bytes = 0;
    int    rc = 1;

    assert(records <= gather->room);
    gather->count = 0;
    gather->gap_count = 0;
    gather->now_us = clock_wall_us();
    while (gather->count < records && bytes < bytes_max && gather->gap_count < GATHER_GAPS_MAX) {
        const struct log_chunk *chunk = &gather->chunk;
        bool                    last;

        rc = chunk_next(gather, err);
        if (rc <= 0)
            break;
        if (chunk->kind == LOG_GAP) {
            if (chunk->base + chunk->count > gather->next)
                gap_add(gather, chunk->base + chunk->count, chunk->why);
            gather->chunk_open = false;
            continue;
        }
        last = chunk->base + chunk->count >= log_reader_end(gather->reader) ||
               chunk->count - chunk->next_index >= records - gather->count;
        if (chunk_take(gather, arena, records, bytes_max, &bytes, last, err) < 0)
            return -1;
        if (last)
            break; /* its records are borrowed: the reader must not move on */
    }
    if (rc < 0)
        return -1;
    return gather->count > 0 || gather->gap_count > 0;
}
