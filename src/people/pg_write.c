/* people/pg_write.c - a commit: everything that a transaction changed, as a few statements over arrays, in one round trip.
 *
 * The order of the statements is the order of the locks, the same in every unit: the unit's own row, persons that are merged away, deleted or given
 * ids, persons that change, each by their ids, then ids and groups by their keys. What is believed of a row stands beside what it becomes, and a
 * row that is otherwise fails all. Persons that change are locked by their update alone: to lock them before took as long as half of it. */
#include <stdlib.h>

#include "people/pg.h"

enum { CALLS_MAX = 48 };

struct writing {
    struct people_txn *txn;
    struct arena      *arena;
    struct pg_call     calls[CALLS_MAX];
    size_t             count;
};

static struct pg_call *call_new(struct writing *writing, enum pg_sql sql)
{
    struct pg_call *call = &writing->calls[writing->count++];

    *call = (struct pg_call){ .sql = sql };
    return call;
}

/* --- persons ----------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    uint64_t x = (*(struct pg_person *const *)a)->person.id, y = (*(struct pg_person *const *)b)->person.id;

    return x < y ? -1 : x > y;
}

struct persons {
    struct pg_person **at;
    size_t             count;
};

static int persons_collect(struct writing *writing, struct persons *out, struct err *err)
{
    const struct pg_txn *txn = pg_txn_of(writing->txn);
    size_t               count = 0;

    for (const struct pg_person *person = txn->dirty_persons; person != NULL; person = person->next_dirty)
        count++;
    out->count = 0;
    out->at = arena_alloc_array(writing->arena, count + 1, sizeof *out->at);
    if (out->at == NULL)
        return pg_full(err);
    for (struct pg_person *person = txn->dirty_persons; person != NULL; person = person->next_dirty)
        out->at[out->count++] = person;
    qsort(out->at, out->count, sizeof *out->at, by_id);
    return 0;
}

/* Those that are not written, but for their ids, or go. */
static void persons_lock(struct writing *writing, const struct persons *persons)
{
    struct pg_array ids, versions, teams;
    struct pg_call *call;

    pg_array_init(&ids, writing->arena, PG_INT8);
    pg_array_init(&versions, writing->arena, PG_INT8);
    pg_array_init(&teams, writing->arena, PG_INT4);
    for (size_t i = 0; i < persons->count; i++)
        if (persons->at[i]->stored && !persons->at[i]->dirty) {
            pg_array_i64(&ids, (int64_t)persons->at[i]->person.id);
            pg_array_i64(&versions, (int64_t)persons->at[i]->base_version);
            pg_array_i32(&teams, (int32_t)persons->at[i]->person.project);
        }
    if (ids.count == 0)
        return;
    call = call_new(writing, PG_PERSONS_LOCK_SQL);
    pg_add_array(call, &ids);
    pg_add_array(call, &versions);
    pg_add_array(call, &teams);
}

static int persons_put(struct writing *writing, const struct persons *persons, bool stored, struct err *err)
{
    struct pg_array ids, teams, uuids, created, seen, identified, versions, texts, exact, believed;
    struct pg_call *call;

    pg_array_init(&ids, writing->arena, PG_INT8);
    pg_array_init(&believed, writing->arena, PG_INT8);
    pg_array_init(&teams, writing->arena, PG_INT4);
    pg_array_init(&uuids, writing->arena, PG_UUID);
    pg_array_init(&created, writing->arena, PG_TIME);
    pg_array_init(&seen, writing->arena, PG_TIME);
    pg_array_init(&identified, writing->arena, PG_BOOL);
    pg_array_init(&versions, writing->arena, PG_INT8);
    pg_array_init(&texts, writing->arena, PG_TEXT);
    pg_array_init(&exact, writing->arena, PG_BYTEA);
    for (size_t i = 0; i < persons->count; i++) {
        const struct person *person = &persons->at[i]->person;
        struct span          text;

        if (!persons->at[i]->dirty || persons->at[i]->stored != stored)
            continue;
        if (pg_json(person->properties, writing->arena, &text, err) < 0)
            return -1;
        pg_array_i64(&ids, (int64_t)person->id);
        pg_array_i32(&teams, (int32_t)person->project);
        pg_array_uuid(&uuids, &person->uuid);
        pg_array_time(&created, person->created_us);
        pg_array_time(&seen, person->last_seen_us);
        pg_array_bool(&identified, person->identified);
        pg_array_i64(&versions, (int64_t)person->version);
        pg_array_bytes(&texts, text);
        pg_array_bytes(&exact, person->properties);
        pg_array_i64(&believed, (int64_t)persons->at[i]->base_version);
    }
    if (ids.count == 0)
        return 0;
    call = call_new(writing, stored ? PG_PERSONS_UPDATE_SQL : PG_PERSONS_INSERT_SQL);
    pg_add_array(call, &ids);
    pg_add_array(call, &teams);
    pg_add_array(call, &uuids);
    pg_add_array(call, &created);
    pg_add_array(call, &seen);
    pg_add_array(call, &identified);
    pg_add_array(call, &versions);
    pg_add_array(call, &texts);
    pg_add_array(call, &exact);
    if (stored)
        pg_add_array(call, &believed);
    return 0;
}

/* What else points to persons that were merged, or goes with those that were deleted. */
static void followers_move(struct writing *writing, const struct persons *persons)
{
    struct pg_array from, to, gone, all;
    struct pg_call *call;

    pg_array_init(&from, writing->arena, PG_INT8);
    pg_array_init(&to, writing->arena, PG_INT8);
    pg_array_init(&gone, writing->arena, PG_INT8);
    pg_array_init(&all, writing->arena, PG_INT8);
    for (size_t i = 0; i < persons->count; i++) {
        const struct pg_person *person = persons->at[i];

        if (!person->deleted || !person->stored)
            continue;
        pg_array_i64(&all, (int64_t)person->person.id);
        if (person->into == 0) {
            pg_array_i64(&gone, (int64_t)person->person.id);
        } else {
            pg_array_i64(&from, (int64_t)person->person.id);
            pg_array_i64(&to, (int64_t)person->into);
        }
    }
    if (from.count > 0) {
        call = call_new(writing, PG_COHORTS_MOVE_SQL);
        pg_add_array(call, &from);
        pg_add_array(call, &to);
        call = call_new(writing, PG_FLAGS_MOVE_SQL);
        pg_add_array(call, &from);
        pg_add_array(call, &to);
    }
    if (gone.count > 0)
        pg_add_array(call_new(writing, PG_COHORTS_DELETE_SQL), &gone);
    if (all.count > 0)
        pg_add_array(call_new(writing, PG_FLAGS_DELETE_SQL), &all);
}

static void persons_delete(struct writing *writing, const struct persons *persons)
{
    struct pg_array ids, teams, merged, merged_teams, into, ended;
    struct pg_call *call;

    pg_array_init(&ids, writing->arena, PG_INT8);
    pg_array_init(&teams, writing->arena, PG_INT4);
    pg_array_init(&merged, writing->arena, PG_INT8);
    pg_array_init(&merged_teams, writing->arena, PG_INT4);
    pg_array_init(&into, writing->arena, PG_INT8);
    pg_array_init(&ended, writing->arena, PG_INT8);
    for (size_t i = 0; i < persons->count; i++) {
        const struct pg_person *person = persons->at[i];

        if (person->ended)
            pg_array_i64(&ended, (int64_t)person->person.id);
        if (!person->deleted || !person->stored)
            continue;
        if (person->noted) { /* its ids point to its row until they have moved */
            pg_array_i64(&merged, (int64_t)person->person.id);
            pg_array_i32(&merged_teams, (int32_t)person->person.project);
            pg_array_i64(&into, (int64_t)person->into);
        } else {
            pg_array_i64(&ids, (int64_t)person->person.id);
            pg_array_i32(&teams, (int32_t)person->person.project);
        }
    }
    if (merged.count > 0) {
        call = call_new(writing, PG_PERSONS_MERGED_SQL);
        pg_add_array(call, &merged);
        pg_add_array(call, &merged_teams);
        pg_add_array(call, &into);
    }
    if (ids.count > 0) {
        call = call_new(writing, PG_PERSONS_DELETE_SQL);
        pg_add_array(call, &ids);
        pg_add_array(call, &teams);
    }
    if (ended.count > 0)
        pg_add_array(call_new(writing, PG_HOLDERS_DELETE_SQL), &ended);
}

static void graves_put(struct writing *writing)
{
    struct pg_array teams, uuids, versions;
    struct pg_call *call;

    if (pg_txn_of(writing->txn)->dirty_graves == NULL)
        return;
    pg_array_init(&teams, writing->arena, PG_INT4);
    pg_array_init(&uuids, writing->arena, PG_UUID);
    pg_array_init(&versions, writing->arena, PG_INT8);
    for (const struct pg_grave *grave = pg_txn_of(writing->txn)->dirty_graves; grave != NULL; grave = grave->next_dirty) {
        pg_array_i32(&teams, (int32_t)grave->project);
        pg_array_uuid(&uuids, &grave->uuid);
        pg_array_i64(&versions, (int64_t)grave->version);
    }
    call = call_new(writing, PG_GRAVES_PUT_SQL);
    pg_add_array(call, &teams);
    pg_add_array(call, &uuids);
    pg_add_array(call, &versions);
}

/* --- ids --------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct pg_link *x = *(struct pg_link *const *)a, *y = *(struct pg_link *const *)b;

    return x->project != y->project ? (x->project < y->project ? -1 : 1) : span_compare(x->distinct_id, y->distinct_id);
}

enum { LINK_COLUMNS = 6 };

/* The columns that a statement about ids takes, in their order. */
static void links_call(struct writing *writing, enum pg_sql sql, struct pg_link *const *links, size_t count,
                       bool (*is_one)(const struct pg_link *link), bool believed, bool becomes, bool version)
{
    struct pg_array at[LINK_COLUMNS];
    struct pg_call *call;
    size_t          any = 0;

    for (size_t i = 0; i < count; i++)
        any += is_one(links[i]);
    if (any == 0)
        return;
    pg_array_init(&at[0], writing->arena, PG_INT4);
    pg_array_init(&at[1], writing->arena, PG_TEXT);
    for (int i = 2; i < LINK_COLUMNS; i++)
        pg_array_init(&at[i], writing->arena, PG_INT8);
    for (size_t i = 0; i < count; i++) {
        const struct pg_link *link = links[i];

        if (!is_one(link))
            continue;
        pg_array_i32(&at[0], (int32_t)link->project);
        pg_array_bytes(&at[1], link->distinct_id);
        pg_array_i64(&at[2], (int64_t)link->base_person);
        pg_array_i64(&at[3], (int64_t)link->base_version);
        pg_array_i64(&at[4], (int64_t)link->person);
        pg_array_i64(&at[5], (int64_t)link->version);
    }
    call = call_new(writing, sql);
    pg_add_array(call, &at[0]);
    pg_add_array(call, &at[1]);
    if (believed) {
        pg_add_array(call, &at[2]);
        pg_add_array(call, &at[3]);
    }
    if (becomes)
        pg_add_array(call, &at[4]);
    if (version)
        pg_add_array(call, &at[5]);
}

static bool row_goes(const struct pg_link *link) { return link->base == PG_LINK_ROW && link->now != PG_LINK_ROW; }
static bool row_comes(const struct pg_link *link) { return link->base != PG_LINK_ROW && link->now == PG_LINK_ROW; }
static bool row_changes(const struct pg_link *link)
{
    return link->base == PG_LINK_ROW && link->now == PG_LINK_ROW &&
           (link->person != link->base_person || link->version != link->base_version);
}
static bool grave_goes(const struct pg_link *link) { return link->base == PG_LINK_DELETED && link->now != PG_LINK_DELETED; }
static bool grave_comes(const struct pg_link *link) { return link->now == PG_LINK_DELETED; }

static int links_put(struct writing *writing, struct err *err)
{
    const struct pg_txn *txn = pg_txn_of(writing->txn);
    struct pg_link     **links;
    size_t               count = 0;

    for (const struct pg_link *link = txn->dirty_links; link != NULL; link = link->next_dirty)
        count++;
    if (count == 0)
        return 0;
    links = arena_alloc_array(writing->arena, count, sizeof *links);
    if (links == NULL)
        return pg_full(err);
    count = 0;
    for (struct pg_link *link = txn->dirty_links; link != NULL; link = link->next_dirty)
        links[count++] = link;
    qsort(links, count, sizeof *links, by_name);
    links_call(writing, PG_DELETED_IDS_DELETE_SQL, links, count, grave_goes, false, false, false);
    links_call(writing, PG_LINKS_DELETE_SQL, links, count, row_goes, true, false, false);
    links_call(writing, PG_LINKS_UPDATE_SQL, links, count, row_changes, true, true, true);
    links_call(writing, PG_LINKS_INSERT_SQL, links, count, row_comes, false, true, true);
    links_call(writing, PG_DELETED_IDS_PUT_SQL, links, count, grave_comes, false, false, true);
    return 0;
}

/* --- groups ------------------------------------------------------------------------------------ */

static int by_key(const void *a, const void *b)
{
    const struct group *x = &(*(struct pg_group *const *)a)->group, *y = &(*(struct pg_group *const *)b)->group;

    return x->project != y->project ? (x->project < y->project ? -1 : 1)
           : x->index != y->index   ? x->index - y->index
                                    : span_compare(x->key, y->key);
}

static int groups_call(struct writing *writing, struct pg_group *const *groups, size_t count, bool stored, struct err *err)
{
    struct pg_array teams, indexes, keys, created, versions, texts, exact, believed;
    struct pg_call *call;

    pg_array_init(&teams, writing->arena, PG_INT4);
    pg_array_init(&indexes, writing->arena, PG_INT4);
    pg_array_init(&keys, writing->arena, PG_TEXT);
    pg_array_init(&created, writing->arena, PG_TIME);
    pg_array_init(&versions, writing->arena, PG_INT8);
    pg_array_init(&texts, writing->arena, PG_TEXT);
    pg_array_init(&exact, writing->arena, PG_BYTEA);
    pg_array_init(&believed, writing->arena, PG_INT8);
    for (size_t i = 0; i < count; i++) {
        const struct group *group = &groups[i]->group;
        struct span         text;

        if (groups[i]->stored != stored)
            continue;
        if (pg_json(group->properties, writing->arena, &text, err) < 0)
            return -1;
        pg_array_i32(&teams, (int32_t)group->project);
        pg_array_i32(&indexes, group->index);
        pg_array_bytes(&keys, group->key);
        pg_array_time(&created, group->created_us);
        pg_array_i64(&versions, (int64_t)group->version);
        pg_array_bytes(&texts, text);
        pg_array_bytes(&exact, group->properties);
        pg_array_i64(&believed, (int64_t)groups[i]->base_version);
    }
    if (teams.count == 0)
        return 0;
    call = call_new(writing, stored ? PG_GROUPS_UPDATE_SQL : PG_GROUPS_INSERT_SQL);
    pg_add_array(call, &teams);
    pg_add_array(call, &indexes);
    pg_add_array(call, &keys);
    pg_add_array(call, &created);
    pg_add_array(call, &versions);
    pg_add_array(call, &texts);
    pg_add_array(call, &exact);
    if (stored)
        pg_add_array(call, &believed);
    return 0;
}

static int groups_put(struct writing *writing, struct err *err)
{
    struct pg_txn    *txn = pg_txn_of(writing->txn);
    struct pg_group **groups;
    size_t            count = 0;

    for (const struct pg_group *group = txn->dirty_groups; group != NULL; group = group->next_dirty)
        count++;
    if (count == 0)
        return 0;
    groups = arena_alloc_array(writing->arena, count, sizeof *groups);
    if (groups == NULL)
        return pg_full(err);
    count = 0;
    for (struct pg_group *group = txn->dirty_groups; group != NULL; group = group->next_dirty)
        groups[count++] = group;
    qsort(groups, count, sizeof *groups, by_key);
    return groups_call(writing, groups, count, true, err) < 0 ? -1 : groups_call(writing, groups, count, false, err);
}

static void types_put(struct writing *writing)
{
    struct pg_array projects, names, indexes;
    struct pg_call *call;

    if (pg_txn_of(writing->txn)->new_types == NULL)
        return;
    pg_array_init(&projects, writing->arena, PG_INT8);
    pg_array_init(&names, writing->arena, PG_TEXT);
    pg_array_init(&indexes, writing->arena, PG_INT4);
    for (const struct pg_new_type *type = pg_txn_of(writing->txn)->new_types; type != NULL; type = type->next) {
        pg_array_i64(&projects, type->project);
        pg_array_bytes(&names, type->name);
        pg_array_i32(&indexes, type->index);
    }
    call = call_new(writing, PG_TYPES_INSERT_SQL);
    pg_add_array(call, &projects);
    pg_add_array(call, &names);
    pg_add_array(call, &indexes);
}

/* --- all --------------------------------------------------------------------------------------- */

static void place_put(struct writing *writing)
{
    const struct pg *pg = pg_of(writing->txn->people);
    struct pg_call  *call = call_new(writing, PG_PLACE_SQL);

    pg_add_i32(call, writing->arena, (int32_t)pg->unit);
    pg_add_i64(call, writing->arena, (int64_t)pg->epoch);
    pg_add_i64(call, writing->arena, (int64_t)pg->commits);
}

int pg_write(struct people_txn *txn, bool *lost_out, struct err *err)
{
    struct pg      *pg = pg_of(txn->people);
    struct writing *writing = arena_alloc_zero(pg->arena, sizeof *writing);
    struct persons  persons;
    int             rc;

    *lost_out = false;
    if (writing == NULL)
        return pg_full(err);
    writing->txn = txn;
    writing->arena = pg->arena;
    (void)call_new(writing, PG_BEGIN_SQL);
    place_put(writing);
    pg_erase_calls(txn, writing->calls, &writing->count);
    if (persons_collect(writing, &persons, err) < 0)
        return -1;
    persons_lock(writing, &persons);
    if (persons_put(writing, &persons, false, err) < 0 || persons_put(writing, &persons, true, err) < 0 ||
        links_put(writing, err) < 0)
        return -1;
    followers_move(writing, &persons);
    persons_delete(writing, &persons);
    graves_put(writing);
    types_put(writing);
    if (groups_put(writing, err) < 0 || pg_table_calls(txn, writing->calls, &writing->count, err) < 0 ||
        pg_seen_calls(txn, writing->calls, &writing->count, err) < 0)
        return -1;
    pg_follow_calls(txn, writing->calls, &writing->count);
    (void)call_new(writing, PG_COMMIT_SQL);
    rc = pg_run(&pg->conn, writing->calls, writing->count, lost_out, err);
    /* A server that was told to end the transaction, and says ROLLBACK, had an error before: never without saying so. */
    pg_calls_end(writing->calls, writing->count);
    return rc;
}
