/* people/people.c - the store of persons as its callers see it: what each backend does in its own way is called through
 * its table of functions (people_backend.h), and what is the same for all of them stands here. */
#include "people/people_backend.h"

#include <assert.h>
#include <stdlib.h>

int people_open(const struct people_options *options, struct people **out, struct err *err)
{
    return people_on_postgres(options->settings) ? people_pg_open(options, out, err) : people_lmdb_open(options, out, err);
}

void people_close(struct people *people)
{
    if (people == NULL)
        return;
    free(people->text);
    people->ops->close(people);
}

bool people_conflict(const struct people *people)
{
    return people->conflict;
}

bool people_went_back(const struct people *people)
{
    return people->went_back;
}

int64_t people_clock(struct people *people, int64_t now_us)
{
    return people->ops->clock == NULL ? now_us : people->ops->clock(people, now_us);
}

int people_epoch(struct people *people, uint64_t *out, struct err *err)
{
    return people->ops->epoch(people, out, err);
}

int people_begin(struct people *people, bool write, struct people_txn **out, struct err *err)
{
    return people->ops->begin(people, write, out, err);
}

int people_commit(struct people_txn *txn_take, struct err *err)
{
    return txn_take->people->ops->commit(txn_take, err);
}

void people_abort(struct people_txn *txn_take)
{
    if (txn_take != NULL)
        txn_take->people->ops->abort(txn_take);
}

/* --- persons and their ids --------------------------------------------------------------------- */

int people_link_get(struct people_txn *txn, uint32_t project, struct span distinct_id, struct person_link *out,
                    struct err *err)
{
    int got = txn->people->ops->link_get(txn, project, distinct_id, out, err);

    return got == 1 && out->person != 0 && people_moves_follow(txn, out, err) < 0 ? -1 : got;
}

int people_link_put(struct people_txn *txn, uint32_t project, struct span distinct_id, const struct person_link *link,
                    struct err *err)
{
    return txn->people->ops->link_put(txn, project, distinct_id, link, err);
}

int people_link_erase(struct people_txn *txn, uint32_t project, struct span distinct_id, struct err *err)
{
    return txn->people->ops->link_erase(txn, project, distinct_id, err);
}

int people_person_links(struct people_txn *txn, uint64_t id, people_link_seen *seen, void *ctx, struct err *err)
{
    const struct people_ops *ops = txn->people->ops;
    struct person            person;
    uint64_t                 after = 0, holder;
    int                      rc = people_person_get(txn, id, &person, err);

    if (rc <= 0)
        return rc < 0 ? -1 : err_set(err, ERR_CORRUPT, "people: person %llu is missing", (unsigned long long)id);
    rc = ops->links_under(txn, id, id, person.project, seen, ctx, err);
    while (rc == 0 && (rc = people_moves_holder(txn, id, &after, &holder, err)) == 1)
        rc = ops->links_under(txn, holder, id, person.project, seen, ctx, err);
    return rc;
}

int people_text_keep(struct people *people, struct span *text, struct err *err)
{
    if (text->bytes > people->text_max) {
        uint8_t *more = realloc(people->text, text->bytes);

        if (more == NULL)
            return err_set(err, ERR_FULL, "people: no memory for a distinct id of %zu bytes", text->bytes);
        people->text = more;
        people->text_max = text->bytes;
    }
    if (text->bytes > 0)
        memcpy(people->text, text->at, text->bytes);
    text->at = people->text;
    return 0;
}

int people_first_id(struct people_txn *txn, uint64_t holder, struct span *out, struct err *err)
{
    int got = txn->people->ops->first_under(txn, holder, out, err);

    return got == 1 && people_text_keep(txn->people, out, err) < 0 ? -1 : got;
}

int people_person_get(struct people_txn *txn, uint64_t id, struct person *out, struct err *err)
{
    return txn->people->ops->person_get(txn, id, out, err);
}

int people_person_heir(struct people_txn *txn, uint64_t id, uint64_t *out, struct err *err)
{
    if (txn->people->ops->person_heir == NULL)
        return err_set(err, ERR_CORRUPT, "people: person %llu is missing, though an id leads to it", (unsigned long long)id);
    return txn->people->ops->person_heir(txn, id, out, err);
}

int people_person_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, struct person *out, struct err *err)
{
    return txn->people->ops->person_find(txn, project, uuid, out, err);
}

int people_person_put(struct people_txn *txn, struct person *person, struct err *err)
{
    return txn->people->ops->person_put(txn, person, err);
}

int people_person_id_new(struct people_txn *txn, uint64_t *out, struct err *err)
{
    return txn->people->ops->person_id_new(txn, out, err);
}

int people_person_delete(struct people_txn *txn, const struct person *person, uint64_t into, struct err *err)
{
    return txn->people->ops->person_delete(txn, person, into, err);
}

int people_person_version(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *out, struct err *err)
{
    return txn->people->ops->person_version(txn, project, uuid, out, err);
}

void people_expect(struct people_txn *txn, const struct people_expected *ids, size_t count, uint64_t *persons_out)
{
    assert(count <= PEOPLE_EXPECT_MAX);
    txn->people->ops->expect(txn, ids, count, persons_out);
}

bool people_expects_batch(const struct people_txn *txn)
{
    return txn->people->ops->expect_batch != NULL;
}

int people_expect_batch(struct people_txn *txn, const struct people_expected *ids, size_t count, struct err *err)
{
    return people_expects_batch(txn) ? txn->people->ops->expect_batch(txn, ids, count, err) : 0;
}

/* --- groups ------------------------------------------------------------------------------------ */

int people_group_type(struct people_txn *txn, uint32_t project, struct span type, bool create, int *index_out, struct err *err)
{
    return txn->people->ops->group_type(txn, project, type, create, index_out, err);
}

int people_group_get(struct people_txn *txn, uint32_t project, int index, struct span key, struct group *out, struct err *err)
{
    return txn->people->ops->group_get(txn, project, index, key, out, err);
}

int people_group_put(struct people_txn *txn, const struct group *group, struct err *err)
{
    return txn->people->ops->group_put(txn, group, err);
}

/* --- event ids --------------------------------------------------------------------------------- */

int people_seen_add(struct people_txn *txn, struct people_seen *ids, size_t count, int32_t day, struct err *err)
{
    return txn->people->ops->seen_add(txn, ids, count, day, err);
}

int people_seen_find(struct people_txn *txn, uint32_t project, const struct uuid *uuid, uint64_t *place_out, struct err *err)
{
    return txn->people->ops->seen_find(txn, project, uuid, place_out, err);
}

int people_seen_load(struct people *people, struct err *err)
{
    return people->ops->seen_load(people, err);
}

void people_seen_stats(const struct people *people, struct people_seen_stats *out)
{
    people->ops->seen_stats(people, out);
}

/* --- other units ------------------------------------------------------------------------------- */

bool people_has_others(const struct people_txn *txn)
{
    return txn->people->ops->others_each != NULL;
}

int people_others_each(struct people_txn *txn, people_other_seen *seen, void *ctx, struct err *err)
{
    return people_has_others(txn) ? txn->people->ops->others_each(txn, seen, ctx, err) : 0;
}

/* --- tables ------------------------------------------------------------------------------------ */

int people_table_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out, struct err *err)
{
    return txn->people->ops->table_get(txn, table, key, value_out, err);
}

int people_table_put(struct people_txn *txn, enum people_table table, struct span key, struct span value, struct err *err)
{
    uint8_t *at = txn->people->ops->table_reserve(txn, table, key, value.bytes, false, err);

    if (at == NULL)
        return -1;
    if (value.bytes > 0)
        memcpy(at, value.at, value.bytes);
    return 0;
}

uint8_t *people_table_reserve(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err)
{
    return txn->people->ops->table_reserve(txn, table, key, bytes, false, err);
}

uint8_t *people_table_append(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err)
{
    return txn->people->ops->table_reserve(txn, table, key, bytes, true, err);
}

int people_table_delete(struct people_txn *txn, enum people_table table, struct span key, struct err *err)
{
    return txn->people->ops->table_delete(txn, table, key, err);
}

int people_table_seek(struct people_txn *txn, enum people_table table, struct span from, struct people_entry *out, struct err *err)
{
    return txn->people->ops->table_seek(txn, table, from, out, err);
}

int people_table_next(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err)
{
    return txn->people->ops->table_next(txn, table, out, err);
}

int people_table_last(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err)
{
    return txn->people->ops->table_last(txn, table, out, err);
}

int people_table_drop(struct people_txn *txn, enum people_table table, struct err *err)
{
    return txn->people->ops->table_drop(txn, table, err);
}
