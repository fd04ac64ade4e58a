/* people/pg_under.c - the distinct ids of a person, as a transaction sees them: those that the server has under it, less those that
 * went elsewhere here, and those that came here. In pages, as a person may have a million. */
#include "people/pg.h"

/* A page of the ids that the server has under holder, behind `after` (at NULL: from the first). The caller ends the call. */
static int under_page(struct people_txn *base, uint64_t holder, struct span after, int32_t most, struct pg_call *call, struct err *err)
{
    struct arena *arena = pg_of(base->people)->arena;
    uint8_t      *from = arena_alloc_zero(arena, after.bytes + 1);

    *call = (struct pg_call){ .sql = PG_UNDER_SQL };
    if (from == NULL)
        return pg_full(err);
    if (after.bytes > 0)
        memcpy(from, after.at, after.bytes);
    from[after.bytes] = 1; /* no text holds a zero: this is the first one behind */
    pg_add_i64(call, arena, (int64_t)holder);
    pg_add_bytes(call, arena, span_of(from, after.at == NULL ? 0 : after.bytes + 1));
    pg_add_i32(call, arena, most);
    return pg_read(base, call, 1, err);
}

/* Calls back with one that stands under holder as this transaction sees it. */
static int under_tell(struct people_txn *base, struct span distinct_id, uint64_t owner, uint32_t project, people_link_seen *seen,
                      void *ctx, struct err *err)
{
    struct person_link link;
    int                got = people_link_get(base, project, distinct_id, &link, err);

    if (got < 0)
        return -1;
    if (got == 0 || link.person != owner)
        return err_set(err, ERR_RETRY, "people: a distinct id went to another person just now");
    return seen(ctx, distinct_id, &link, err);
}

/* Notes what a page says of an id that was not asked for yet, so that it need not be asked for. NULL: no memory. */
static struct pg_link *under_note(struct people_txn *base, uint32_t project, struct span distinct_id, uint64_t holder, uint64_t version,
                                  struct err *err)
{
    struct pg_link *link = pg_link_known(base, project, distinct_id);

    if (link != NULL)
        return link;
    link = pg_link_add(base, project, distinct_id, err);
    if (link == NULL)
        return NULL;
    link->base = link->now = PG_LINK_ROW;
    link->person = link->base_person = holder;
    link->version = link->base_version = version;
    return link;
}

/* --- of those who may be merged away, before they are ------------------------------------------------- */

enum { MANY_MAX = 64 }; /* ids of a person with more are read in pages, when they are needed */

void pg_under_call(struct people_txn *base, struct pg_link *const *links, size_t count, struct pg_call *call)
{
    struct arena   *arena = pg_of(base->people)->arena;
    struct pg_array teams, ids;

    pg_array_init(&teams, arena, PG_INT4);
    pg_array_init(&ids, arena, PG_TEXT);
    for (size_t i = 0; i < count; i++) {
        pg_array_i32(&teams, (int32_t)links[i]->project);
        pg_array_bytes(&ids, links[i]->distinct_id);
    }
    *call = (struct pg_call){ .sql = PG_UNDER_MANY_SQL };
    pg_add_array(call, &teams);
    pg_add_array(call, &ids);
    pg_add_i32(call, arena, MANY_MAX + 1);
}

static const struct pg_ids *ids_known(const struct people_txn *txn, uint64_t person)
{
    const struct pg_ids *ids;
    size_t               at = 0;

    while ((ids = batch_index_find(&pg_txn_of(txn)->ids, person, &at)) != NULL)
        if (ids->person == person)
            return ids;
    return NULL;
}

/* The rows of one id that was asked for. */
static int under_keep(struct people_txn *base, uint32_t project, const PGresult *result, int first, int count, struct err *err)
{
    struct arena  *arena = pg_of(base->people)->arena;
    uint64_t       person = (uint64_t)pg_i64(result, first, 1);
    struct pg_ids *ids;

    if (count > MANY_MAX || ids_known(base, person) != NULL)
        return 0;
    ids = arena_alloc_zero(arena, sizeof *ids);
    if (ids == NULL || (ids->links = arena_alloc_array(arena, (size_t)count, sizeof *ids->links)) == NULL)
        return pg_full(err);
    ids->person = person;
    for (; ids->count < (size_t)count; ids->count++) {
        int row = first + (int)ids->count;

        ids->links[ids->count] = under_note(base, project, pg_bytes(result, row, 2), person, (uint64_t)pg_i64(result, row, 3), err);
        if (ids->links[ids->count] == NULL)
            return -1;
    }
    return batch_index_add(&pg_txn_of(base)->ids, person, ids, arena, err);
}

int pg_under_take(struct people_txn *base, struct pg_link *const *links, const PGresult *result, struct err *err)
{
    int rows = PQntuples(result), count;

    for (int first = 0; first < rows; first += count) {
        int64_t n = pg_i64(result, first, 0);

        for (count = 1; first + count < rows && pg_i64(result, first + count, 0) == n; count++)
            ;
        if (under_keep(base, links[n - 1]->project, result, first, count, err) < 0)
            return -1;
    }
    return 0;
}

/* --- one after the other -------------------------------------------------------------------------------- */

int pg_links_under(struct people_txn *base, uint64_t holder, uint64_t owner, uint32_t project, people_link_seen *seen, void *ctx,
                   struct err *err)
{
    struct pg_txn       *txn = pg_txn_of(base);
    const struct pg_ids *known = ids_known(base, holder);
    struct span          after = { NULL, 0 };
    int                  rows = known == NULL, rc = 0;

    for (size_t i = 0; known != NULL && i < known->count; i++)
        if (known->links[i]->now == PG_LINK_ROW && known->links[i]->person == holder &&
            (rc = under_tell(base, known->links[i]->distinct_id, owner, project, seen, ctx, err)) < 0)
            return rc;
    for (int32_t most = 256; rows > 0; most = 4096) {
        struct pg_call call;

        rc = under_page(base, holder, after, most, &call, err);
        rows = rc == 0 ? PQntuples(call.result) : 0;
        for (int row = 0; row < rows && rc == 0; row++) {
            struct pg_link *link = under_note(base, project, pg_bytes(call.result, row, 0), holder,
                                              (uint64_t)pg_i64(call.result, row, 1), err);

            rc = link == NULL ? -1 : 0;
            if (rc == 0 && link->now == PG_LINK_ROW && link->person == holder)
                rc = under_tell(base, link->distinct_id, owner, project, seen, ctx, err);
            if (link != NULL)
                after = link->distinct_id;
        }
        pg_calls_end(&call, 1);
        if (rc < 0)
            return rc;
        if (rows < most)
            break;
    }
    for (const struct pg_link *link = txn->dirty_links; link != NULL; link = link->next_dirty)
        if (link->now == PG_LINK_ROW && link->person == holder && !(link->base == PG_LINK_ROW && link->base_person == holder) &&
            link->project == project) {
            rc = under_tell(base, link->distinct_id, owner, project, seen, ctx, err);
            if (rc < 0)
                return rc;
        }
    return 0;
}

static int under_read(struct people_txn *base, uint64_t holder, uint32_t project, struct err *err)
{
    struct pg_under *under = &pg_txn_of(base)->under;
    int32_t          most = sizeof under->ids / sizeof *under->ids;
    struct span      after = under->holder == holder && under->count > 0 ? under->ids[under->count - 1] : span_of(NULL, 0);
    struct pg_call   call;
    int              rc = under_page(base, holder, after, most, &call, err);

    under->holder = holder;
    under->at = under->count = 0;
    for (int row = 0; rc == 0 && row < PQntuples(call.result); row++) {
        struct pg_link *link = under_note(base, project, pg_bytes(call.result, row, 0), holder,
                                          (uint64_t)pg_i64(call.result, row, 1), err);

        if (link == NULL)
            rc = -1;
        else
            under->ids[under->count++] = link->distinct_id;
    }
    under->more = rc == 0 && PQntuples(call.result) == most;
    pg_calls_end(&call, 1);
    return rc;
}

int pg_first_under(struct people_txn *base, uint64_t holder, struct span *out, struct err *err)
{
    struct pg_txn    *txn = pg_txn_of(base);
    struct pg_under  *under = &txn->under;
    struct pg_person *person = pg_person_find(base, holder, err);

    if (person == NULL || (under->holder != holder && under_read(base, holder, person->person.project, err) < 0))
        return -1;
    for (;;) {
        for (; under->at < under->count; under->at++) {
            struct span           id = under->ids[under->at];
            const struct pg_link *link = pg_link_known(base, person->person.project, id);

            if (link != NULL && link->now == PG_LINK_ROW && link->person == holder) {
                *out = id;
                return 1;
            }
        }
        if (!under->more)
            break;
        if (under_read(base, holder, person->person.project, err) < 0)
            return -1;
    }
    for (const struct pg_link *link = txn->dirty_links; link != NULL; link = link->next_dirty)
        if (link->now == PG_LINK_ROW && link->person == holder) {
            *out = link->distinct_id;
            return 1;
        }
    return 0;
}
