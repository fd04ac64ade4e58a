/* people/seen_table.c - stored forms, all little-endian, each with a crc32c over its key and what follows the crc:
 *
 * state, under "seen_state" in `meta`:  0 1 version (1) · 1 3 zero · 4 4 crc · 8 8 seed · 16 8 next · 24 8 floor ·
 *     32 8 run_next · 40 8 generation
 * chunk, under its sequence (native u64):  0 1 version (1) · 1 1 zero · 2 2 entries · 4 4 crc · 8 30n entries
 * run, under its number (native u64):  0 1 version (1) · 1 1 level · 2 2 zero · 4 4 crc · 8 8 last · 16 8 entries ·
 *     24 8 filter lines · 32 8 room for fences · 40 8 blocks · 48 2 earliest day · 50 2 latest day · 52 4 zero
 * The state must be right, or nothing is: damage there is an error, as of a person. A damaged chunk or row only makes
 * ids forgotten, and is no reason to stop (docs/decisions/seen-ids.md). */
#include "people/seen_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/say.h"

enum {
    VERSION = 1,
    CRC_FROM = 8,
    STATE_BYTES = 48,
    ROW_BYTES = 56,
    CHUNK_HEAD = 8
};

static uint32_t value_crc(struct span key, struct span value)
{
    return crc32c(crc32c(0, key), span_from(value, CRC_FROM));
}

static void value_seal(struct span key, uint8_t *at, size_t bytes)
{
    at[0] = VERSION;
    bytes_put_u32(at + 4, value_crc(key, span_of(at, bytes)));
}

static bool value_sound(struct span key, struct span value, size_t bytes_min)
{
    return value.bytes >= bytes_min && value.at[0] == VERSION && value_crc(key, value) == bytes_get_u32(value.at + 4);
}

static struct span number_span(const uint64_t *number)
{
    return span_of(number, sizeof *number);
}

/* --- state ------------------------------------------------------------------------------------- */

int seen_state_get(struct people_txn *txn, struct seen_state *out, struct err *err)
{
    struct span value;
    int         got = lmdb_get(txn, TABLE_META, SPAN("seen_state"), &value, err);

    if (got <= 0)
        return got;
    if (value.bytes != STATE_BYTES || !value_sound(SPAN("seen_state"), value, STATE_BYTES))
        return err_set(err, ERR_CORRUPT, "people: the state of the seen ids is damaged");
    out->seed = bytes_get_u64(value.at + 8);
    out->next = bytes_get_u64(value.at + 16);
    out->floor = bytes_get_u64(value.at + 24);
    out->run_next = bytes_get_u64(value.at + 32);
    out->generation = bytes_get_u64(value.at + 40);
    return 1;
}

int seen_state_put(struct people_txn *txn, const struct seen_state *state, struct err *err)
{
    uint8_t value[STATE_BYTES] = { 0 };

    bytes_put_u64(value + 8, state->seed);
    bytes_put_u64(value + 16, state->next);
    bytes_put_u64(value + 24, state->floor);
    bytes_put_u64(value + 32, state->run_next);
    bytes_put_u64(value + 40, state->generation);
    value_seal(SPAN("seen_state"), value, sizeof value);
    return lmdb_put(txn, TABLE_META, SPAN("seen_state"), span_of(value, sizeof value), err);
}

/* --- chunks ------------------------------------------------------------------------------------ */

int seen_chunk_put(struct people_txn *txn, uint64_t sequence, const struct seen_entry *entries, size_t count, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, TABLE_SEEN_RECENT, err);
    uint8_t     value[CHUNK_HEAD + SEEN_CHUNK_ENTRIES * SEEN_ENTRY_BYTES] = { 0 };
    size_t      bytes = CHUNK_HEAD + count * SEEN_ENTRY_BYTES;
    MDB_val     k = { sizeof sequence, &sequence }, v = { bytes, value };
    int         rc;

    assert(count > 0 && count <= SEEN_CHUNK_ENTRIES);
    if (cursor == NULL)
        return -1;
    bytes_put_u16(value + 2, (uint16_t)count);
    memcpy(value + CHUNK_HEAD, entries, count * SEEN_ENTRY_BYTES);
    value_seal(number_span(&sequence), value, bytes);
    rc = mdb_cursor_put(cursor, &k, &v, MDB_APPEND);
    return rc == 0 ? 0 : people_fail(rc, "recent ids", err);
}

static bool chunk_sound(struct span key, struct span value)
{
    return value_sound(key, value, CHUNK_HEAD) &&
           value.bytes == CHUNK_HEAD + bytes_get_u16(value.at + 2) * (size_t)SEEN_ENTRY_BYTES;
}

int seen_chunks_each(struct people_txn *txn, uint64_t floor, seen_chunk_read *read, void *ctx, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, TABLE_SEEN_RECENT, err);
    MDB_val     k = { sizeof floor, &floor }, v;
    int         rc;

    if (cursor == NULL)
        return -1;
    for (rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        struct span key = span_of(k.mv_data, k.mv_size), value = span_of(v.mv_data, v.mv_size);

        if (!chunk_sound(key, value)) {
            say(SAY_ERROR, "people: a chunk of recent event ids is damaged; up to %d ids are forgotten, and a repeated event "
                "among them would be stored twice", SEEN_CHUNK_ENTRIES);
            continue;
        }
        if (read(ctx, (const struct seen_entry *)(const void *)(value.at + CHUNK_HEAD), bytes_get_u16(value.at + 2), err) < 0)
            return -1;
    }
    return rc == MDB_NOTFOUND ? 0 : people_fail(rc, "recent ids", err);
}

int seen_chunks_delete(struct people_txn *txn, uint64_t floor, size_t most, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, TABLE_SEEN_RECENT, err);
    int         rc = 0;

    if (cursor == NULL)
        return -1;
    for (size_t i = 0; i < most && rc == 0; i++) {
        MDB_val  k, v;
        uint64_t sequence;

        rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
        if (rc == MDB_NOTFOUND)
            return 0;
        if (rc == 0 && k.mv_size != sizeof sequence)
            return err_set(err, ERR_CORRUPT, "people: the key of recent ids has %zu bytes", k.mv_size);
        if (rc == 0) {
            memcpy(&sequence, k.mv_data, sizeof sequence);
            if (sequence >= floor)
                return 0;
            rc = mdb_cursor_del(cursor, 0);
        }
    }
    return rc == 0 ? 1 : people_fail(rc, "recent ids", err);
}

/* --- runs -------------------------------------------------------------------------------------- */

int seen_runs_put(struct people_txn *txn, const struct seen_run *run, struct err *err)
{
    const struct seen_shape *shape = &run->shape;
    uint8_t                  value[ROW_BYTES] = { 0 };

    value[1] = run->level;
    bytes_put_u64(value + 8, run->last);
    bytes_put_u64(value + 16, shape->entries);
    bytes_put_u64(value + 24, shape->lines);
    bytes_put_u64(value + 32, shape->fences_room);
    bytes_put_u64(value + 40, shape->blocks);
    bytes_put_u16(value + 48, shape->day_first);
    bytes_put_u16(value + 50, shape->day_last);
    value_seal(number_span(&run->number), value, sizeof value);
    return lmdb_put(txn, TABLE_SEEN_RUNS, number_span(&run->number), span_of(value, sizeof value), err);
}

int seen_runs_delete(struct people_txn *txn, uint64_t number, struct err *err)
{
    return lmdb_delete(txn, TABLE_SEEN_RUNS, number_span(&number), err) < 0 ? -1 : 0;
}

static bool row_read(struct span key, struct span value, struct seen_run *out)
{
    if (key.bytes != sizeof out->number || value.bytes != ROW_BYTES || !value_sound(key, value, ROW_BYTES))
        return false;
    memcpy(&out->number, key.at, sizeof out->number);
    out->level = value.at[1];
    out->last = bytes_get_u64(value.at + 8);
    out->shape = (struct seen_shape){
        .entries = bytes_get_u64(value.at + 16),
        .lines = bytes_get_u64(value.at + 24),
        .fences_room = bytes_get_u64(value.at + 32),
        .blocks = bytes_get_u64(value.at + 40),
        .day_first = bytes_get_u16(value.at + 48),
        .day_last = bytes_get_u16(value.at + 50),
    };
    return seen_shape_sane(&out->shape);
}

static int older_first(const void *a, const void *b)
{
    const struct seen_run *x = *(struct seen_run *const *)a, *y = *(struct seen_run *const *)b;

    return x->last < y->last ? -1 : x->last > y->last;
}

int seen_runs_read(struct people_txn *txn, const struct seen_state *state, struct seen_run ***out, size_t *count_out,
                   struct err *err)
{
    MDB_cursor       *cursor = people_cursor(txn, TABLE_SEEN_RUNS, err);
    struct seen_run **runs = NULL, **more, row;
    size_t            count = 0;
    MDB_val           k, v;
    int               rc;

    if (cursor == NULL)
        return -1;
    for (rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST); rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        row = (struct seen_run){ .fd = -1, .seed = state->seed };
        if (!row_read(span_of(k.mv_data, k.mv_size), span_of(v.mv_data, v.mv_size), &row)) {
            say(SAY_ERROR, "people: an entry in the list of files of seen ids is damaged; the ids of that file are "
                "forgotten, and a repeated event among them would be stored twice");
            continue;
        }
        more = realloc(runs, (count + 1) * sizeof *runs);
        if (more == NULL || (more[count] = malloc(sizeof row)) == NULL) {
            runs = more != NULL ? more : runs;
            rc = ENOMEM;
            break;
        }
        runs = more;
        *runs[count++] = row;
    }
    if (rc != MDB_NOTFOUND) {
        while (count > 0)
            free(runs[--count]);
        free(runs);
        return people_fail(rc, "runs of seen ids", err);
    }
    if (count > 1)
        qsort(runs, count, sizeof *runs, older_first);
    *out = runs;
    *count_out = count;
    return 0;
}
