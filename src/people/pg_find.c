/* people/pg_find.c - reading persons and distinct ids: a batch's all at once, and what was not foreseen singly.
 *
 * What is at hand from earlier batches is taken as it is (pg_follow.c); what has been at hand for long is asked about: the server
 * gets what we believe, and answers for what is otherwise alone. Properties travel only then. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "people/pg.h"

enum { COLUMNS = 10, IDS_LEAST = 64 };

/* --- what this transaction knows ---------------------------------------------------------------- */

static uint64_t link_hash(uint32_t project, struct span distinct_id)
{
    return XXH3_64bits_withSeed(distinct_id.at, distinct_id.bytes, project);
}

static struct pg_link *known_link(const struct pg_txn *txn, uint64_t hash, uint32_t project, struct span distinct_id)
{
    struct pg_link *link;
    size_t          at = 0;

    while ((link = batch_index_find(&txn->links, hash, &at)) != NULL)
        if (link->project == project && span_equal(link->distinct_id, distinct_id))
            return link;
    return NULL;
}

struct pg_link *pg_link_known(const struct people_txn *txn, uint32_t project, struct span distinct_id)
{
    return known_link(pg_txn_of(txn), link_hash(project, distinct_id), project, distinct_id);
}

static struct pg_link *link_add(struct people_txn *base, uint64_t hash, uint32_t project, struct span distinct_id, struct err *err)
{
    struct pg_txn  *txn = pg_txn_of(base);
    struct arena   *arena = pg_of(base->people)->arena;
    struct pg_link *link = arena_alloc_zero(arena, sizeof *link);

    if (link == NULL || (link->distinct_id = arena_copy(arena, distinct_id)).at == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    link->project = project;
    return batch_index_add(&txn->links, hash, link, arena, err) < 0 ? NULL : link;
}

struct pg_link *pg_link_add(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err)
{
    return link_add(txn, link_hash(project, distinct_id), project, distinct_id, err);
}

static struct pg_person *person_known(const struct pg_txn *txn, uint64_t id)
{
    struct pg_person *person;
    size_t            at = 0;

    while ((person = batch_index_find(&txn->persons, XXH3_64bits(&id, sizeof id), &at)) != NULL)
        if (person->person.id == id)
            return person;
    return NULL;
}

struct pg_person *pg_person_known(const struct people_txn *txn, uint64_t id)
{
    return person_known(pg_txn_of(txn), id);
}

struct pg_person *pg_person_add(struct people_txn *base, uint64_t id, struct err *err)
{
    struct arena     *arena = pg_of(base->people)->arena;
    struct pg_person *person = arena_alloc_zero(arena, sizeof *person);

    if (person == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    person->person.id = id;
    return batch_index_add(&pg_txn_of(base)->persons, XXH3_64bits(&id, sizeof id), person, arena, err) < 0 ? NULL : person;
}

/* --- answers ----------------------------------------------------------------------------------- */

/* PG_PERSON_COLUMNS from `column` on. What this transaction has of the person already is not touched. */
static struct pg_person *person_take(struct people_txn *base, const PGresult *result, int row, int column, struct err *err)
{
    struct pg        *pg = pg_of(base->people);
    uint64_t          id = (uint64_t)pg_i64(result, row, column);
    struct pg_person *kept = person_known(pg_txn_of(base), id);
    struct person    *person;
    bool              exact = !pg_is_null(result, row, column + 8);

    if (kept != NULL)
        return kept;
    kept = pg_person_add(base, id, err);
    if (kept == NULL)
        return NULL;
    person = &kept->person;
    person->project = (uint32_t)pg_i64(result, row, column + 1);
    person->uuid = pg_uuid(result, row, column + 2);
    person->created_us = pg_time(result, row, column + 3);
    person->last_seen_us = pg_is_null(result, row, column + 4) ? CLOCK_NONE : pg_time(result, row, column + 4);
    person->identified = pg_bool(result, row, column + 5);
    person->version = (uint64_t)pg_i64(result, row, column + 6);
    person->properties = arena_copy(pg->arena, pg_bytes(result, row, exact ? column + 8 : column + 9));
    person->lasting = true;
    kept->base_version = person->version;
    kept->gone = pg_bool(result, row, column + 7);
    kept->stored = !kept->gone;
    if (person->properties.at == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    if (base->write)
        pg_hot_person_put(pg, kept);
    return kept;
}

/* Nobody: where nothing refers to persons, an id may outlive its own. */
static int person_missing(struct people_txn *base, uint64_t id, struct err *err)
{
    struct pg_person *kept = pg_person_known(base, id);

    if (kept == NULL)
        kept = pg_person_add(base, id, err);
    if (kept == NULL)
        return -1;
    if (!kept->dirty)
        kept->gone = true;
    return 0;
}

/* A row that starts with: number, version, person, PG_PERSON_COLUMNS. */
static int link_take(struct people_txn *base, struct pg_link *link, const PGresult *result, int row, struct err *err)
{
    link->base = link->now = pg_is_null(result, row, 2) ? PG_LINK_NONE : PG_LINK_ROW;
    link->version = link->base_version = 0;
    link->person = link->base_person = 0;
    if (link->now == PG_LINK_NONE)
        return 0;
    link->version = link->base_version = (uint64_t)pg_i64(result, row, 1);
    link->person = link->base_person = (uint64_t)pg_i64(result, row, 2);
    if (pg_is_null(result, row, 3))
        return person_missing(base, link->person, err);
    if (person_take(base, result, row, 3, err) == NULL)
        return -1;
    if (base->write)
        pg_hot_link_put(pg_of(base->people), link);
    return 0;
}

/* --- many -------------------------------------------------------------------------------------- */

/* The links that a round trip is about. */
struct asked {
    struct pg_link **links;
    size_t           count;
};

static int fetch_call(struct people_txn *base, const struct asked *asked, struct pg_call *call, struct err *err)
{
    struct arena   *arena = pg_of(base->people)->arena;
    struct pg_array teams, ids, uuids;

    pg_array_init(&teams, arena, PG_INT4);
    pg_array_init(&ids, arena, PG_TEXT);
    pg_array_init(&uuids, arena, PG_UUID);
    for (size_t i = 0; i < asked->count; i++) {
        const struct pg_link *link = asked->links[i];
        struct uuid           uuid = people_person_uuid(link->project, link->distinct_id);

        pg_array_i32(&teams, (int32_t)link->project);
        pg_array_bytes(&ids, link->distinct_id);
        pg_array_uuid(&uuids, &uuid);
        if (pg_grave_add(base, link->project, &uuid, err) == NULL)
            return -1;
    }
    *call = (struct pg_call){ .sql = PG_FETCH_SQL };
    pg_add_array(call, &teams);
    pg_add_array(call, &ids);
    pg_add_array(call, &uuids);
    return 0;
}

/* Those without a row lead nowhere, and their uuids have no tombstone. */
static int fetch_take(struct people_txn *base, const struct asked *asked, const PGresult *result, struct err *err)
{
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t         n = pg_i64(result, row, 0);
        struct pg_link *link;

        if (n < 1 || (size_t)n > asked->count)
            return err_set(err, ERR_STOP, "people: PostgreSQL answers what was not asked");
        link = asked->links[n - 1];
        if (link_take(base, link, result, row, err) < 0)
            return -1;
        if (link->now == PG_LINK_NONE && !pg_is_null(result, row, 3 + COLUMNS)) {
            link->base = link->now = PG_LINK_DELETED;
            link->version = link->base_version = (uint64_t)pg_i64(result, row, 3 + COLUMNS);
        }
        if (!pg_is_null(result, row, 4 + COLUMNS)) {
            struct uuid      uuid = people_person_uuid(link->project, link->distinct_id);
            struct pg_grave *grave = pg_grave_add(base, link->project, &uuid, err);

            if (grave == NULL)
                return -1;
            if (!grave->dirty) {
                grave->there = true;
                grave->version = (uint64_t)pg_i64(result, row, 4 + COLUMNS);
            }
        }
    }
    return 0;
}

static void confirm_call(struct people_txn *base, const struct asked *asked, struct pg_call *call)
{
    struct arena   *arena = pg_of(base->people)->arena;
    struct pg_array teams, ids, persons, versions, person_versions;

    pg_array_init(&teams, arena, PG_INT4);
    pg_array_init(&ids, arena, PG_TEXT);
    pg_array_init(&persons, arena, PG_INT8);
    pg_array_init(&versions, arena, PG_INT8);
    pg_array_init(&person_versions, arena, PG_INT8);
    for (size_t i = 0; i < asked->count; i++) {
        const struct pg_link *link = asked->links[i];

        pg_array_i32(&teams, (int32_t)link->project);
        pg_array_bytes(&ids, link->distinct_id);
        pg_array_i64(&persons, (int64_t)link->person);
        pg_array_i64(&versions, (int64_t)link->version);
        pg_array_i64(&person_versions, (int64_t)person_known(pg_txn_of(base), link->person)->base_version);
    }
    *call = (struct pg_call){ .sql = PG_CONFIRM_SQL };
    pg_add_array(call, &teams);
    pg_add_array(call, &ids);
    pg_add_array(call, &persons);
    pg_add_array(call, &versions);
    pg_add_array(call, &person_versions);
}

/* What we believed wrongly is forgotten, and read as it is; ids that are gone go to `again`. */
static int confirm_take(struct people_txn *base, const struct asked *asked, const PGresult *result, struct asked *again, struct err *err)
{
    struct pg_txn *txn = pg_txn_of(base);

    for (int row = 0; row < PQntuples(result); row++) {
        int64_t           n = pg_i64(result, row, 0);
        struct pg_person *believed;
        struct pg_link   *link;

        if (n < 1 || (size_t)n > asked->count)
            return err_set(err, ERR_STOP, "people: PostgreSQL answers what was not asked");
        link = asked->links[n - 1];
        if (pg_is_null(result, row, 2)) {
            again->links[again->count++] = link;
            continue;
        }
        believed = person_known(txn, (uint64_t)pg_i64(result, row, 2));
        if (believed != NULL && believed->base_version != (uint64_t)pg_i64(result, row, 9)) {
            if (believed->given)
                return err_set(err, ERR_RETRY, "people: a person was changed by somebody else");
            believed->person.id = 0; /* so it is not found any more, and read anew */
        }
        if (link_take(base, link, result, row, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < asked->count; i++) { /* the others are as they were, and trusted again */
        struct pg_person *person = person_known(txn, asked->links[i]->person);

        if (person != NULL && person->asked && !person->dirty)
            pg_hot_person_put(pg_of(base->people), person);
        if (person != NULL)
            person->asked = false;
    }
    return 0;
}

/* Internal ids for persons that the batch may make. */
static void ids_call(struct pg *pg, size_t wanted, struct pg_call *call)
{
    *call = (struct pg_call){ .sql = PG_IDS_NEW_SQL };
    pg_add_i32(call, pg->arena, (int32_t)(wanted < PG_IDS_MAX ? wanted : PG_IDS_MAX));
}

static void ids_take(struct pg *pg, const PGresult *result)
{
    memmove(pg->ids, pg->ids + pg->id_at, (pg->id_count - pg->id_at) * sizeof *pg->ids);
    pg->id_count -= pg->id_at;
    pg->id_at = 0;
    for (int row = 0; row < PQntuples(result) && pg->id_count < PG_IDS_MAX && !pg_is_null(result, row, 0); row++)
        pg->ids[pg->id_count++] = (uint64_t)pg_i64(result, row, 0);
}

/* merging: of both, those whose persons may be merged away. */
static int fetch_many(struct people_txn *base, struct asked *known, struct asked *unknown, struct asked *merging, struct err *err)
{
    struct pg     *pg = pg_of(base->people);
    struct asked   again = { .links = arena_alloc_array(pg->arena, known->count + 1, sizeof *again.links) };
    struct pg_call calls[6];
    size_t         count = 0, confirm = 0, fetch = 0, moves = 0, ids = 0, merges = 0;
    int            rc;

    if (again.links == NULL)
        return pg_full(err);
    if (known->count > 0) {
        confirm_call(base, known, &calls[count]);
        confirm = ++count;
    }
    if (unknown->count > 0) {
        if (fetch_call(base, unknown, &calls[count], err) < 0)
            return -1;
        fetch = ++count;
    }
    if (!pg_moves_read(base)) {
        pg_moves_call(base, &calls[count]);
        moves = ++count;
    }
    if (base->write && pg->id_count - pg->id_at < unknown->count && pg->id_count - pg->id_at < PG_IDS_MAX / 2) {
        ids_call(pg, unknown->count - (pg->id_count - pg->id_at) + IDS_LEAST, &calls[count]);
        ids = ++count;
    }
    if (merging->count > 0) {
        pg_under_call(base, merging->links, merging->count, &calls[count]);
        if (pg_graves_call(base, merging->links, merging->count, &calls[count + 1], err) < 0)
            return -1;
        merges = count + 1;
        count += 2;
    }
    rc = pg_read(base, calls, count, err);
    if (rc == 0 && merges > 0) /* before persons are read anew: by those that are at hand it was asked */
        rc = pg_graves_take(base, merging->links, merging->count, calls[merges].result, err);
    if (rc == 0 && confirm > 0)
        rc = confirm_take(base, known, calls[confirm - 1].result, &again, err);
    if (rc == 0 && fetch > 0)
        rc = fetch_take(base, unknown, calls[fetch - 1].result, err);
    if (rc == 0 && moves > 0)
        rc = pg_moves_take(base, calls[moves - 1].result, err);
    if (rc == 0 && ids > 0)
        ids_take(pg, calls[ids - 1].result);
    if (rc == 0 && merges > 0)
        rc = pg_under_take(base, merging->links, calls[merges - 1].result, err);
    pg_calls_end(calls, count);
    return rc == 0 && again.count > 0 ? fetch_many(base, &(struct asked){ .count = 0 }, &again, &(struct asked){ .count = 0 }, err) : rc;
}

enum at_hand { AT_HAND_NOT, AT_HAND_OLD, AT_HAND };

/* A link that nobody has asked about yet; *known_out: whether what is at hand says where it leads. */
static struct pg_link *link_begin(struct people_txn *base, uint64_t hash, uint32_t project, struct span distinct_id,
                                  enum at_hand *known_out, struct err *err)
{
    struct pg_link   *link = link_add(base, hash, project, distinct_id, err);
    struct pg        *pg = pg_of(base->people);
    struct pg_person *person;
    struct person     found;
    bool              trusted = true;

    *known_out = AT_HAND_NOT;
    if (link == NULL || !base->write || !pg_hot_link(pg, link))
        return link;
    person = person_known(pg_txn_of(base), link->person);
    if (person == NULL && pg_hot_person(pg, link->person, &found, &trusted)) {
        person = pg_person_add(base, link->person, err);
        if (person == NULL)
            return NULL;
        person->person = found;
        person->base_version = found.version;
        person->stored = true;
        person->asked = !trusted;
    }
    if (person == NULL || !person->stored || person->dirty) {
        link->person = link->version = 0;
        return link;
    }
    link->base = link->now = PG_LINK_ROW;
    link->base_person = link->person;
    link->base_version = link->version;
    *known_out = person->asked ? AT_HAND_OLD : AT_HAND;
    return link;
}

/* Both lead to the same person, as far as is known. */
static bool is_merged(const struct pg_link *link, const struct pg_link *target)
{
    return target != NULL && link->base == PG_LINK_ROW && target->base == PG_LINK_ROW && link->person == target->person;
}

int pg_expect_batch(struct people_txn *base, const struct people_expected *ids, size_t count, struct err *err)
{
    struct pg_txn  *txn = pg_txn_of(base);
    struct arena   *arena = pg_of(base->people)->arena;
    struct asked    known = { .links = arena_alloc_array(arena, count + 1, sizeof *known.links) };
    struct asked    unknown = { .links = arena_alloc_array(arena, count + 1, sizeof *unknown.links) };
    struct asked    merging = { .links = arena_alloc_array(arena, count + 1, sizeof *merging.links) };
    struct pg_link *link = NULL;

    if (known.links == NULL || unknown.links == NULL || merging.links == NULL)
        return pg_full(err);
    for (size_t i = 0; i < count; i++) {
        const struct pg_link *before = link;
        uint64_t              hash = link_hash(ids[i].project, ids[i].distinct_id);
        enum at_hand          at_hand = AT_HAND;

        link = known_link(txn, hash, ids[i].project, ids[i].distinct_id);
        if (link == NULL)
            link = link_begin(base, hash, ids[i].project, ids[i].distinct_id, &at_hand, err);
        if (link == NULL)
            return -1;
        if (at_hand == AT_HAND_OLD)
            known.links[known.count++] = link;
        else if (at_hand == AT_HAND_NOT)
            unknown.links[unknown.count++] = link;
        if (ids[i].merges && base->write && !is_merged(link, before))
            merging.links[merging.count++] = link;
    }
    return known.count + unknown.count + merging.count == 0 ? 0 : fetch_many(base, &known, &unknown, &merging, err);
}

void pg_expect(struct people_txn *txn, const struct people_expected *ids, size_t count, uint64_t *persons_out)
{
    (void)txn, (void)ids;
    memset(persons_out, 0, count * sizeof *persons_out);
}

/* --- one --------------------------------------------------------------------------------------- */

struct pg_link *pg_link_find(struct people_txn *base, uint32_t project, struct span distinct_id, struct err *err)
{
    struct pg_txn  *txn = pg_txn_of(base);
    uint64_t        hash = link_hash(project, distinct_id);
    struct pg_link *link = known_link(txn, hash, project, distinct_id);
    struct people_expected one = { project, distinct_id, false };

    if (link != NULL)
        return link;
    return pg_expect_batch(base, &one, 1, err) < 0 ? NULL : known_link(txn, hash, project, distinct_id);
}

int pg_link_get(struct people_txn *txn, uint32_t project, struct span distinct_id, struct person_link *out, struct err *err)
{
    const struct pg_link *link = pg_link_find(txn, project, distinct_id, err);

    if (link == NULL)
        return -1;
    *out = (struct person_link){ link->person, link->version };
    return link->now != PG_LINK_NONE;
}

struct pg_person *pg_person_find(struct people_txn *base, uint64_t id, struct err *err)
{
    struct pg_person *person = person_known(pg_txn_of(base), id);
    struct pg_call    call = { .sql = PG_PERSON_SQL };
    int               rc;

    if (person != NULL)
        return person;
    pg_add_i64(&call, pg_of(base->people)->arena, (int64_t)id);
    rc = pg_read(base, &call, 1, err);
    if (rc == 0 && PQntuples(call.result) > 0)
        person = person_take(base, call.result, 0, 0, err);
    else if (rc == 0)
        person = pg_person_add(base, id, err);
    pg_calls_end(&call, 1);
    return person;
}

int pg_person_get(struct people_txn *txn, uint64_t id, struct person *out, struct err *err)
{
    struct pg_person *person = pg_person_find(txn, id, err);

    if (person == NULL)
        return -1;
    if (person->gone || (!person->stored && !person->dirty))
        return 0;
    person->given = true;
    *out = person->person;
    return 1;
}

int pg_person_heir(struct people_txn *txn, uint64_t id, uint64_t *out, struct err *err)
{
    struct pg_call call = { .sql = PG_PERSON_HEIR_SQL };
    int            rc;

    pg_add_i64(&call, pg_of(txn->people)->arena, (int64_t)id);
    rc = pg_read(txn, &call, 1, err);
    if (rc == 0 && PQntuples(call.result) > 0) {
        *out = (uint64_t)pg_i64(call.result, 0, 0);
        rc = 1;
    }
    pg_calls_end(&call, 1);
    return rc;
}

int pg_person_find_uuid(struct people_txn *base, uint32_t project, const struct uuid *uuid, struct person *out, struct err *err)
{
    struct pg_txn *txn = pg_txn_of(base);
    struct pg_call call = { .sql = PG_PERSON_UUID_SQL };
    int            rc;

    for (const struct pg_person *person = txn->dirty_persons; person != NULL; person = person->next_dirty)
        if (!person->gone && person->person.project == project && uuid_equal(&person->person.uuid, uuid)) {
            *out = person->person;
            return 1;
        }
    pg_add_i32(&call, pg_of(base->people)->arena, (int32_t)project);
    pg_add_bytes(&call, pg_of(base->people)->arena, span_of(uuid->bytes, 16));
    rc = pg_read(base, &call, 1, err);
    if (rc == 0 && PQntuples(call.result) > 0) {
        struct pg_person *person = person_take(base, call.result, 0, 0, err);

        rc = person == NULL ? -1 : !person->gone;
        if (rc == 1) {
            person->given = true;
            *out = person->person;
        }
    }
    pg_calls_end(&call, 1);
    return rc;
}

int pg_person_id_new(struct people_txn *base, uint64_t *out, struct err *err)
{
    struct pg     *pg = pg_of(base->people);
    struct pg_call call;
    int            rc;

    if (pg->id_at == pg->id_count) {
        ids_call(pg, IDS_LEAST, &call);
        rc = pg_read(base, &call, 1, err);
        if (rc == 0)
            ids_take(pg, call.result);
        pg_calls_end(&call, 1);
        if (rc < 0)
            return -1;
        if (pg->id_at == pg->id_count)
            return err_set(err, ERR_STOP, "people: PostgreSQL gives no ids for persons: the default of posthog_person.id is no sequence's");
    }
    *out = pg->ids[pg->id_at++];
    return pg_person_add(base, *out, err) == NULL ? -1 : 0; /* nobody has it: that need not be asked */
}
