/* people/pg_seen.c - seen event ids with PostgreSQL.
 *
 * A row an id would cost more than all else that a batch does there: a random place in an index, in each of 28 days. So the ids
 * of a batch are one row, 30 bytes an id, never read while things go well; and what is looked into is a store of the embedded
 * kind beside us (seen.c), which is only a copy. It notes up to which row it goes, and what that row's mark was: a copy that is
 * behind reads on from there, one that is ahead of the server (which lost its last commits), or of another server, is made anew,
 * as on a new machine: 30 bytes an id over the network, for 28 days.
 *   penstock.seen   day · unit · sequence · mark (random) · entries, each as seen_entry.h draws it
 *   copy, in meta   "pg_seen": 8 sequence · 8 mark of the last row that it has */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/say.h"
#include "people/pg.h"
#include "people/pg_schema.h"
#include "people/seen.h"
#include "people/seen_entry.h"

enum {
    ROWS_AT_ONCE = 64, ROWS_AT_ONCE_MAX = 4096, ADD_AT_ONCE = 4096, DAYS_KNOWN = 4, ROWS_MAX = 8,
    COPY_BYTES_MAX = 4 << 20 /* of one transaction of the copy, and a row more: each is a sync, which took most of the time of a new machine */
};

struct pg_seen {
    char           folder[4096];
    struct people_options options;
    struct people *copy;     /* NULL: not opened */
    bool           current;  /* it has all that the server has */
    uint64_t       sequence; /* of the last row, when current */
    int32_t        days[DAYS_KNOWN]; /* whose partitions are there; -1: none */
    int32_t        dropped;  /* older partitions were looked for on that day */
    /* the transaction in hand */
    struct people_txn *txn;  /* of the copy */
    uint8_t       *entries;
    size_t         count, room;
    struct { int32_t day; size_t from; } rows[ROWS_MAX]; /* of one day each */
    size_t         row_count;
};

int pg_seen_new(struct pg *pg, const char *folder, size_t recent_max, struct err *err)
{
    struct pg_seen *seen = calloc(1, sizeof *seen);

    if (seen == NULL)
        return pg_full(err);
    pg->seen = seen;
    seen->dropped = -1;
    for (int i = 0; i < DAYS_KNOWN; i++)
        seen->days[i] = -1;
    if (folder == NULL || snprintf(seen->folder, sizeof seen->folder, "%s/postgres-%u", folder, pg->unit) >= (int)sizeof seen->folder)
        return err_set(err, ERR_INPUT, "people: the store needs a folder for its copy of event ids");
    seen->options = (struct people_options){ .folder = seen->folder, .memory_bytes = 1, .seen_recent_max = recent_max };
    return 0;
}

void pg_seen_settle(struct people *people)
{
    struct pg_seen *seen = pg_of(people)->seen;

    if (seen != NULL && seen->copy != NULL)
        seen_settle(seen->copy);
}

void pg_seen_free(struct pg_seen *seen)
{
    if (seen == NULL)
        return;
    if (seen->txn != NULL)
        people_abort(seen->txn);
    people_close(seen->copy);
    free(seen->entries);
    free(seen);
}

void pg_seen_doubt(struct pg *pg)
{
    if (pg->seen != NULL)
        pg->seen->current = false;
}

/* --- the copy ---------------------------------------------------------------------------------- */

static int unlink_one(const char *path, const struct stat *found, int type, struct FTW *walk)
{
    (void)found, (void)type, (void)walk;
    return remove(path);
}

/* A copy that failed is opened anew when it is needed: LMDB is done for good when it could not write its last page, and the file is as
 * it was before that. What it lacks then is read from the server. */
static void copy_drop(struct pg_seen *seen)
{
    if (seen->txn != NULL)
        people_abort(seen->txn);
    seen->txn = NULL;
    people_close(seen->copy);
    seen->copy = NULL;
    seen->current = false;
}

static int copy_delete(struct pg_seen *seen, struct err *err)
{
    copy_drop(seen);
    if (nftw(seen->folder, unlink_one, 8, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        return err_errno(err, errno, "people: deleting %s", seen->folder);
    return 0;
}

/* One that is damaged is made anew, as one that is not there. */
static int copy_open(struct pg_seen *seen, struct err *err)
{
    char *slash;

    if (seen->copy != NULL)
        return 0;
    slash = strrchr(seen->folder, '/');
    *slash = '\0';
    if (mkdir(seen->folder, 0700) < 0 && errno != EEXIST) {
        *slash = '/';
        return err_errno(err, errno, "people: the folder of %s cannot be made", seen->folder);
    }
    *slash = '/';
    if (people_lmdb_open(&seen->options, &seen->copy, err) == 0)
        return 0;
    if (err->kind != ERR_CORRUPT)
        return -1;
    say(SAY_WARN, "the copy of seen event ids in %s is damaged (%s): it is made anew", seen->folder, err->text);
    return copy_delete(seen, err) < 0 ? -1 : people_lmdb_open(&seen->options, &seen->copy, err);
}

static int copy_begin(struct pg_seen *seen, bool write, struct people_txn **out, struct err *err)
{
    if (people_begin(seen->copy, write, out, err) == 0)
        return 0;
    copy_drop(seen);
    return -1;
}

static int copy_end_get(struct pg_seen *seen, uint64_t *sequence_out, uint64_t *mark_out, struct err *err)
{
    struct people_txn *txn;
    struct span        value;
    int                got;

    *sequence_out = *mark_out = 0;
    if (copy_begin(seen, false, &txn, err) < 0)
        return -1;
    got = people_table_get(txn, TABLE_META, SPAN("pg_seen"), &value, err);
    if (got == 1 && value.bytes == 16) {
        *sequence_out = bytes_get_u64(value.at);
        *mark_out = bytes_get_u64(value.at + 8);
    }
    people_abort(txn);
    return got < 0 ? -1 : 0;
}

static int copy_end_put(struct people_txn *txn, uint64_t sequence, uint64_t mark, struct err *err)
{
    uint8_t value[16];

    bytes_put_u64(value, sequence);
    bytes_put_u64(value + 8, mark);
    return people_table_put(txn, TABLE_META, SPAN("pg_seen"), span_of(value, sizeof value), err);
}

static int copy_add(struct people_txn *txn, struct span entries, int32_t day, struct err *err)
{
    static const size_t each = SEEN_ENTRY_BYTES;
    struct people_seen *ids = calloc(ADD_AT_ONCE, sizeof *ids);
    int                 rc = ids == NULL ? pg_full(err) : 0;

    while (rc == 0 && entries.bytes >= each) {
        size_t count = 0;

        for (; count < ADD_AT_ONCE && entries.bytes >= each; count++, entries = span_from(entries, each)) {
            ids[count] = (struct people_seen){ .project = bytes_get_u32(entries.at + 16), .place = bytes_get_u64(entries.at + 22) };
            memcpy(ids[count].uuid.bytes, entries.at, 16);
        }
        rc = people_seen_add(txn, ids, count, day, err);
    }
    free(ids);
    return rc;
}

/* Rows of the server's from this one on into the copy, in one transaction: each is a sync, and a unit's new owner waits for all of
 * them. How many rows it were, or -1. */
static int copy_rows(struct pg_seen *seen, const PGresult *result, int first, struct err *err)
{
    uint64_t           sequence = seen->sequence, mark = 0;
    int                row = first;
    struct people_txn *txn;

    if (copy_begin(seen, true, &txn, err) < 0)
        return -1;
    for (size_t bytes = 0; row < PQntuples(result) && bytes < COPY_BYTES_MAX; row++) {
        bytes += pg_bytes(result, row, 3).bytes;
        sequence = (uint64_t)pg_i64(result, row, 0);
        mark = (uint64_t)pg_i64(result, row, 1);
        if (copy_add(txn, pg_bytes(result, row, 3), (int32_t)pg_i64(result, row, 2), err) < 0) {
            people_abort(txn);
            return -1;
        }
    }
    if (copy_end_put(txn, sequence, mark, err) < 0) {
        people_abort(txn);
        return -1;
    }
    if (people_commit(txn, err) < 0) {
        copy_drop(seen);
        return -1;
    }
    seen->sequence = sequence;
    return row - first;
}

static int run_one(struct pg *pg, struct pg_call *call, struct err *err)
{
    bool lost;

    return pg_own(pg, err) < 0 ? -1 : pg_run(&pg->conn, call, 1, &lost, err);
}

/* Whether the server has the row with which the copy ends. 1, 0, -1. */
static int is_ours(struct pg *pg, struct arena *arena, uint64_t sequence, uint64_t mark, struct err *err)
{
    struct pg_call call = { .sql = PG_SEEN_AT_SQL };
    int            rc;

    if (sequence == 0)
        return 1;
    pg_add_i32(&call, arena, (int32_t)pg->unit);
    pg_add_i64(&call, arena, (int64_t)sequence);
    rc = run_one(pg, &call, err);
    if (rc == 0)
        rc = PQntuples(call.result) == 1 && (uint64_t)pg_i64(call.result, 0, 0) == mark;
    pg_calls_end(&call, 1);
    return rc;
}

static int copy_follow(struct pg *pg, struct arena *arena, struct err *err)
{
    struct pg_seen *seen = pg->seen;
    int             rows, rc, ask = ROWS_AT_ONCE;

    do {
        struct pg_call call = { .sql = PG_SEEN_FROM_SQL };
        size_t         bytes = 0;

        arena_reset(arena);
        pg_add_i32(&call, arena, (int32_t)pg->unit);
        pg_add_i64(&call, arena, (int64_t)seen->sequence);
        pg_add_i32(&call, arena, ask);
        rc = run_one(pg, &call, err);
        rows = rc == 0 ? PQntuples(call.result) : 0;
        for (int row = 0, done; row < rows && rc == 0; row += done) {
            done = copy_rows(seen, call.result, row, err);
            rc = done < 0 ? -1 : 0;
        }
        for (int row = 0; row < rows; row++)
            bytes += pg_bytes(call.result, row, 3).bytes;
        if (bytes < COPY_BYTES_MAX && ask < ROWS_AT_ONCE_MAX)
            ask *= 2; /* small batches: many of them */
        else if (bytes > 4 * (size_t)COPY_BYTES_MAX && ask > ROWS_AT_ONCE)
            ask /= 2;
        pg_calls_end(&call, 1);
    } while (rc == 0 && rows > 0);
    return rc;
}

static int copy_current(struct pg *pg, struct err *err)
{
    struct pg_seen *seen = pg->seen;
    struct arena   *arena;
    uint64_t        mark;
    int             rc;

    if (seen->current)
        return 0;
    if (copy_open(seen, err) < 0)
        return -1;
    arena = arena_new(4096, 1 << 20);
    if (arena == NULL)
        return pg_full(err);
    rc = copy_end_get(seen, &seen->sequence, &mark, err);
    if (rc == 0)
        rc = is_ours(pg, arena, seen->sequence, mark, err);
    if (rc == 0) {
        say(SAY_WARN, "the copy of seen event ids in %s is not of this PostgreSQL, or ahead of it: it is made anew", seen->folder);
        seen->sequence = 0;
        rc = copy_delete(seen, err) < 0 || copy_open(seen, err) < 0 ? -1 : 1;
    }
    if (rc == 1)
        rc = copy_follow(pg, arena, err);
    arena_free(arena);
    seen->current = rc == 0;
    return rc;
}

int pg_seen_load(struct people *people, struct err *err)
{
    struct pg *pg = pg_of(people);

    return copy_current(pg, err) < 0 ? -1 : people_seen_load(pg->seen->copy, err);
}

void pg_seen_stats(const struct people *people, struct people_seen_stats *out)
{
    const struct pg_seen *seen = pg_of(people)->seen;

    if (seen->copy != NULL)
        people_seen_stats(seen->copy, out);
    else
        *out = (struct people_seen_stats){ 0 };
}

/* --- a transaction ----------------------------------------------------------------------------- */

/* The copy's transaction, which goes with that of the server. */
static int work_begin(struct pg *pg, struct err *err)
{
    struct pg_seen *seen = pg->seen;

    if (seen->txn != NULL)
        return 0;
    seen->count = seen->row_count = 0;
    return copy_current(pg, err) < 0 ? -1 : copy_begin(seen, true, &seen->txn, err);
}

/* Days' partitions: made before they are written, dropped when they are over. */
static int days_prepare(struct pg *pg, int32_t day, struct err *err)
{
    struct pg_seen *seen = pg->seen;
    struct pg_call  call = { .sql = PG_SEEN_DAYS_SQL };
    struct err      why;

    for (int i = 0; i < DAYS_KNOWN; i++)
        if (seen->days[i] == day)
            return 0;
    if (pg_own(pg, err) < 0 || pg_schema_seen_day(&pg->conn, day, err) < 0)
        return -1;
    memmove(seen->days + 1, seen->days, (DAYS_KNOWN - 1) * sizeof *seen->days);
    seen->days[0] = day;
    if (seen->dropped >= day || run_one(pg, &call, &why) < 0)
        return 0;
    seen->dropped = day;
    for (int row = 0; row < PQntuples(call.result); row++) {
        int64_t old = pg_i64(call.result, row, 0);

        if (old + PEOPLE_SEEN_DAYS + SEEN_SLACK_DAYS >= day)
            continue;
        if (pg_schema_seen_drop(&pg->conn, (int32_t)old, &why) < 0)
            break; /* another day */
        for (int i = 0; i < DAYS_KNOWN; i++) /* a clock may go back */
            seen->days[i] = seen->days[i] == old ? -1 : seen->days[i];
    }
    pg_calls_end(&call, 1);
    return 0;
}

static int entry_add(struct pg_seen *seen, const struct people_seen *id, int32_t day, struct err *err)
{
    struct seen_entry entry = seen_entry_make(id->project, &id->uuid, (uint16_t)day, id->place);

    if ((seen->count + 1) * SEEN_ENTRY_BYTES > seen->room) {
        size_t   room = seen->room == 0 ? 1 << 16 : 2 * seen->room;
        uint8_t *more = realloc(seen->entries, room);

        if (more == NULL)
            return pg_full(err);
        seen->entries = more;
        seen->room = room;
    }
    memcpy(seen->entries + seen->count++ * SEEN_ENTRY_BYTES, entry.bytes, SEEN_ENTRY_BYTES);
    return 0;
}

int pg_seen_add(struct people_txn *base, struct people_seen *ids, size_t count, int32_t day, struct err *err)
{
    struct pg      *pg = pg_of(base->people);
    struct pg_seen *seen = pg->seen;

    day = day < 0 ? 0 : day > UINT16_MAX ? UINT16_MAX : day;
    if (work_begin(pg, err) < 0)
        return -1;
    if (seen->row_count == 0 || seen->rows[seen->row_count - 1].day != day) { /* one, but where a day begins meanwhile */
        if (days_prepare(pg, day, err) < 0)
            return -1;
        if (seen->row_count == ROWS_MAX)
            return err_set(err, ERR_STOP, "people: one batch notes event ids under %d days", ROWS_MAX + 1);
        seen->rows[seen->row_count].day = day;
        seen->rows[seen->row_count++].from = seen->count;
    }
    if (people_seen_add(seen->txn, ids, count, day, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (!ids[i].repeated && entry_add(seen, &ids[i], day, err) < 0)
            return -1;
    if (seen->count > 0)
        pg_txn_of(base)->changed = true;
    return 0;
}

int pg_seen_calls(struct people_txn *base, struct pg_call *calls, size_t *count, struct err *err)
{
    struct pg      *pg = pg_of(base->people);
    struct pg_seen *seen = pg->seen;
    uint64_t        mark = 0;

    if (seen->txn == NULL || seen->count == 0)
        return 0;
    for (size_t i = 0; i < seen->row_count; i++) {
        size_t          end = i + 1 < seen->row_count ? seen->rows[i + 1].from : seen->count;
        struct pg_call *call = &calls[(*count)++];

        if (getrandom(&mark, sizeof mark, 0) != sizeof mark)
            return err_errno(err, errno, "people: random bytes");
        *call = (struct pg_call){ .sql = PG_SEEN_ADD_SQL };
        pg_add_i32(call, pg->arena, seen->rows[i].day);
        pg_add_i32(call, pg->arena, (int32_t)pg->unit);
        pg_add_i64(call, pg->arena, (int64_t)(seen->sequence + 1 + i));
        pg_add_i64(call, pg->arena, (int64_t)mark);
        pg_add_bytes(call, pg->arena, span_of(seen->entries + seen->rows[i].from * SEEN_ENTRY_BYTES,
                                              (end - seen->rows[i].from) * SEEN_ENTRY_BYTES));
    }
    return copy_end_put(seen->txn, seen->sequence + seen->row_count, mark, err);
}

void pg_seen_end(struct people_txn *base, bool committed)
{
    struct pg_seen    *seen = pg_of(base->people)->seen;
    struct people_txn *txn = seen->txn;
    struct err         why;

    seen->txn = NULL;
    if (txn == NULL)
        return;
    if (!committed || seen->count == 0) {
        people_abort(txn);
    } else if (people_commit(txn, &why) < 0) {
        copy_drop(seen);
    } else {
        seen->sequence += seen->row_count;
    }
    seen->count = seen->row_count = 0;
}

/* --- where it came first ----------------------------------------------------------------------- */

static int find_in_rows(struct people_txn *base, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err)
{
    struct seen_entry key = seen_entry_make(project, uuid, 0, 0), best = key;
    struct pg_call    call = { .sql = PG_SEEN_FIND_SQL };
    bool              found = false;
    int               rc;

    pg_add_bytes(&call, pg_of(base->people)->arena, span_of(key.bytes, SEEN_KEY_BYTES));
    rc = pg_read(base, &call, 1, err);
    for (int row = 0; rc == 0 && row < PQntuples(call.result); row++) {
        struct span entries = pg_bytes(call.result, row, 0);

        for (; entries.bytes >= SEEN_ENTRY_BYTES; entries = span_from(entries, SEEN_ENTRY_BYTES)) {
            struct seen_entry entry;

            memcpy(entry.bytes, entries.at, SEEN_ENTRY_BYTES);
            if (seen_entry_same(&entry, &key) && (!found || seen_entry_day(&entry) > seen_entry_day(&best))) {
                best = entry;
                found = true;
            }
        }
    }
    pg_calls_end(&call, 1);
    if (rc == 0 && found)
        *place_out = seen_entry_place(&best);
    return rc < 0 ? -1 : found;
}

int pg_seen_find(struct people_txn *base, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err)
{
    struct pg      *pg = pg_of(base->people);
    struct pg_seen *seen = pg->seen;

    if (!base->write)
        return find_in_rows(base, project, uuid, place_out, err);
    if (work_begin(pg, err) < 0)
        return -1;
    return people_seen_find(seen->txn, project, uuid, place_out, err);
}
