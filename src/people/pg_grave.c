/* people/pg_grave.c - tombstones of persons: what version the row had that said they were deleted. See pg.h. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "people/pg.h"

static uint64_t grave_hash(uint32_t project, const struct uuid *uuid)
{
    return XXH3_64bits_withSeed(uuid->bytes, 16, project);
}

static struct pg_grave *grave_known(const struct pg_txn *txn, uint32_t project, const struct uuid *uuid)
{
    struct pg_grave *grave;
    size_t           at = 0;

    while ((grave = batch_index_find(&txn->graves, grave_hash(project, uuid), &at)) != NULL)
        if (grave->project == project && uuid_equal(&grave->uuid, uuid))
            return grave;
    return NULL;
}

struct pg_grave *pg_grave_add(struct people_txn *base, uint32_t project, const struct uuid *uuid, struct err *err)
{
    struct pg_txn   *txn = pg_txn_of(base);
    struct arena    *arena = pg_of(base->people)->arena;
    struct pg_grave *grave = grave_known(txn, project, uuid);

    if (grave != NULL)
        return grave;
    grave = arena_alloc_zero(arena, sizeof *grave);
    if (grave == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    grave->project = project;
    grave->uuid = *uuid;
    return batch_index_add(&txn->graves, grave_hash(project, uuid), grave, arena, err) < 0 ? NULL : grave;
}

struct pg_grave *pg_grave_find(struct people_txn *base, uint32_t project, const struct uuid *uuid, struct err *err)
{
    struct arena    *arena = pg_of(base->people)->arena;
    struct pg_grave *grave = grave_known(pg_txn_of(base), project, uuid);
    struct pg_call   call = { .sql = PG_GRAVE_SQL };
    int              rc;

    if (grave != NULL)
        return grave;
    pg_add_i32(&call, arena, (int32_t)project);
    pg_add_bytes(&call, arena, span_of(uuid->bytes, 16));
    rc = pg_read(base, &call, 1, err);
    if (rc == 0)
        grave = pg_grave_add(base, project, uuid, err);
    if (grave != NULL && PQntuples(call.result) > 0) {
        grave->there = true;
        grave->version = (uint64_t)pg_i64(call.result, 0, 0);
    }
    pg_calls_end(&call, 1);
    return grave;
}

int pg_person_version(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *out, struct err *err)
{
    const struct pg_grave *grave = pg_grave_find(txn, project, uuid, err);

    if (grave == NULL)
        return -1;
    *out = grave->there ? grave->version + 1 : 0;
    return 0;
}

/* The person that an id leads to and that is at hand, or NULL. */
static const struct pg_person *person_of(const struct people_txn *txn, const struct pg_link *link)
{
    return link->base == PG_LINK_ROW ? pg_person_known(txn, link->base_person) : NULL;
}

int pg_graves_call(struct people_txn *base, struct pg_link *const *links, size_t count, struct pg_call *call, struct err *err)
{
    struct arena   *arena = pg_of(base->people)->arena;
    struct pg_array teams, uuids;

    pg_array_init(&teams, arena, PG_INT4);
    pg_array_init(&uuids, arena, PG_UUID);
    for (size_t i = 0; i < count; i++) {
        const struct pg_person *person = person_of(base, links[i]);

        if (person == NULL) {
            pg_array_i32(&teams, 0);
            pg_array_null(&uuids); /* so that the others are found by their number */
            continue;
        }
        pg_array_i32(&teams, (int32_t)person->person.project);
        pg_array_uuid(&uuids, &person->person.uuid);
        if (pg_grave_add(base, person->person.project, &person->person.uuid, err) == NULL)
            return -1;
    }
    *call = (struct pg_call){ .sql = PG_GRAVES_SQL };
    pg_add_array(call, &teams);
    pg_add_array(call, &uuids);
    return 0;
}

int pg_graves_take(struct people_txn *base, struct pg_link *const *links, size_t count, const PGresult *result, struct err *err)
{
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t                 n = pg_i64(result, row, 0);
        const struct pg_person *person = n < 1 || (size_t)n > count ? NULL : person_of(base, links[n - 1]);
        struct pg_grave        *grave;

        if (person == NULL)
            return err_set(err, ERR_STOP, "people: PostgreSQL answers what was not asked");
        grave = pg_grave_add(base, person->person.project, &person->person.uuid, err);
        if (grave == NULL)
            return -1;
        if (!grave->dirty) {
            grave->there = true;
            grave->version = (uint64_t)pg_i64(result, row, 1);
        }
    }
    return 0;
}
