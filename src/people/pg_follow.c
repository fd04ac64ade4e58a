/* people/pg_follow.c - what is at hand stays right although other units write, too.
 *
 * Asking the server about every person of every batch cost more than all else that a batch does there: two walks down indexes an
 * id. So each commit says, in a row of its own, which persons and groups it changed, and each transaction begins with the rows of
 * the other units that it has not read yet: what they name is forgotten here, and read anew when it is needed. A person is named
 * also when ids came to it or went, so that an id whose person is at hand still leads to it.
 * Rows of one unit come in the order of its commits, so the last number that was read says what is missing. A unit deletes its
 * older rows; who is further behind forgets everything.
 * Others than Penstock do not write such rows. What they change is noticed when we write to it, or when it has been at hand for
 * TRUST_US (pg_hot.c) without being asked about. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>

#include "people/pg.h"

enum { ROWS_KEPT = 1000, DELETE_EVERY = 64 };

/* Persons are their ids; groups are below zero. */
int64_t pg_group_thing(uint32_t project, int index, struct span key)
{
    return (int64_t)(XXH3_64bits_withSeed(key.at, key.bytes, (uint64_t)project << 8 | (unsigned)index) | UINT64_C(1) << 63);
}

static void thing_forget(struct pg *pg, int64_t thing)
{
    uint64_t key = (uint64_t)thing;

    if (pg->hot != NULL)
        hot_forget(pg->hot, thing < 0 ? TABLE_GROUPS : TABLE_PERSONS, span_of(&key, sizeof key));
}

/* int8[] as it is sent: dimensions 4, nulls 4, type 4, count 4, lower bound 4; then each: bytes 4, value. */
static void things_forget(struct pg *pg, struct span array)
{
    for (size_t at = 20; at + 12 <= array.bytes; at += 12) {
        uint64_t big;

        memcpy(&big, array.at + at + 4, sizeof big);
        thing_forget(pg, (int64_t)__builtin_bswap64(big));
    }
}

static struct pg_followed *followed_find(struct pg *pg, uint32_t unit, struct err *err)
{
    struct pg_followed *more;

    for (size_t i = 0; i < pg->followed_count; i++)
        if (pg->followed[i].unit == unit)
            return &pg->followed[i];
    more = realloc(pg->followed, (pg->followed_count + 1) * sizeof *more);
    if (more == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    pg->followed = more;
    more[pg->followed_count] = (struct pg_followed){ .unit = unit };
    return &more[pg->followed_count++];
}

static int follow_take(struct pg *pg, const PGresult *result, struct err *err)
{
    bool everything = false;

    for (int row = 0; row < PQntuples(result); row++) {
        uint64_t            commits = (uint64_t)pg_i64(result, row, 1);
        struct pg_followed *followed = followed_find(pg, (uint32_t)pg_i64(result, row, 0), err);

        if (followed == NULL)
            return -1;
        everything |= pg_is_null(result, row, 2) || commits - (uint64_t)pg_i64(result, row, 2) >= ROWS_KEPT;
        if (!pg_is_null(result, row, 3))
            things_forget(pg, pg_bytes(result, row, 3));
        followed->commits = commits;
    }
    if (everything && pg->hot != NULL)
        hot_clear(pg->hot);
    return 0;
}

int pg_follow(struct people_txn *txn, struct err *err)
{
    struct pg      *pg = pg_of(txn->people);
    struct pg_call  calls[2], *call = &calls[1];
    struct pg_array units, seen;
    int             rc;

    pg_erased_call(&calls[0]); /* before: who is erased between the two is at hand still */
    *call = (struct pg_call){ .sql = PG_FOLLOW_SQL };
    pg_array_init(&units, pg->arena, PG_INT4);
    pg_array_init(&seen, pg->arena, PG_INT8);
    for (size_t i = 0; i < pg->followed_count; i++) {
        pg_array_i32(&units, (int32_t)pg->followed[i].unit);
        pg_array_i64(&seen, (int64_t)pg->followed[i].commits);
    }
    pg_add_array(call, &units);
    pg_add_array(call, &seen);
    pg_add_i32(call, pg->arena, (int32_t)pg->unit);
    rc = pg_read(txn, calls, 2, err);
    if (rc == 0) {
        pg_erased_take(pg, calls[0].result);
        rc = follow_take(pg, call->result, err);
    }
    pg_calls_end(calls, 2);
    return rc;
}

void pg_follow_calls(struct people_txn *base, struct pg_call *calls, size_t *count)
{
    const struct pg_txn *txn = pg_txn_of(base);
    const struct pg     *pg = pg_of(base->people);
    struct pg_array      things;
    struct pg_call      *call;

    pg_array_init(&things, pg->arena, PG_INT8);
    for (const struct pg_person *person = txn->dirty_persons; person != NULL; person = person->next_dirty)
        if (person->stored)
            pg_array_i64(&things, (int64_t)person->person.id);
    for (const struct pg_link *link = txn->dirty_links; link != NULL; link = link->next_dirty)
        if (link->base == PG_LINK_ROW && (link->now != PG_LINK_ROW || link->person != link->base_person))
            pg_array_i64(&things, (int64_t)link->base_person);
    for (const struct pg_group *group = txn->dirty_groups; group != NULL; group = group->next_dirty)
        pg_array_i64(&things, pg_group_thing(group->group.project, group->group.index, group->group.key));
    if (things.count > 0) {
        call = &calls[(*count)++];
        *call = (struct pg_call){ .sql = PG_CHANGES_PUT_SQL };
        pg_add_i32(call, pg->arena, (int32_t)pg->unit);
        pg_add_i64(call, pg->arena, (int64_t)pg->commits + 1);
        pg_add_array(call, &things);
    }
    if (pg->commits % DELETE_EVERY == 0 && pg->commits > ROWS_KEPT) {
        call = &calls[(*count)++];
        *call = (struct pg_call){ .sql = PG_CHANGES_DELETE_SQL };
        pg_add_i32(call, pg->arena, (int32_t)pg->unit);
        pg_add_i64(call, pg->arena, (int64_t)pg->commits - ROWS_KEPT);
    }
}
