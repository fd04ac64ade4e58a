/* people/finish.c - the end of a batch: what changed is written, and told as rows.
 *
 * Persons go first, in the order of their internal ids, as their ids must be known to the links; merged persons go
 * last, when nothing leads to them any more but by a note (moves.c). */
#include <assert.h>
#include <stdlib.h>

#include "people/batch_parts.h"
#include "people/tell.h"

static int by_id(const void *a, const void *b)
{
    uint64_t x = (*(struct batch_person *const *)a)->person.id, y = (*(struct batch_person *const *)b)->person.id;

    return x < y ? -1 : x > y;
}

/* Persons made in this batch get their ids in the order in which they were made; then all that changed are
 * written in the order of ids, which is the order of the table's pages. */
static int persons_finish(struct people_batch *batch, people_row_seen *seen, void *ctx, struct err *err)
{
    struct batch_person **dirty;
    size_t count = 0;

    dirty = arena_alloc_array(batch->arena, batch->dirty_person_count, sizeof *dirty);
    if (dirty == NULL)
        return err_set(err, ERR_FULL, "people: %zu changed persons do not fit the batch's arena",
                       batch->dirty_person_count);
    for (struct batch_person *person = batch->dirty_persons; person != NULL; person = person->next_dirty) {
        if (!person->deleted && person->person.id == 0 &&
            people_person_id_new(batch->txn, &person->person.id, err) < 0)
            return -1;
        dirty[count++] = person;
    }
    qsort(dirty, count, sizeof *dirty, by_id);
    for (size_t i = 0; i < count; i++) {
        struct batch_person *person = dirty[i];

        person->person.properties = person->packed;
        if (!person->deleted &&
            people_person_put(batch->txn, &person->person, err) < 0)
            return -1;
        if (people_tell_person(&person->person, person->deleted, seen, ctx, err) < 0)
            return -1;
    }
    return 0;
}

static int by_order(const void *a, const void *b)
{
    uint32_t x = (*(struct batch_link *const *)a)->order, y = (*(struct batch_link *const *)b)->order;

    return x < y ? -1 : x > y;
}

/* In the order in which the batch came across them. */
static int links_finish(struct people_batch *batch, people_row_seen *seen, void *ctx, struct err *err)
{
    struct batch_link **dirty = arena_alloc_array(batch->arena, batch->dirty_link_count, sizeof *dirty);
    size_t count = 0;

    if (dirty == NULL)
        return err_set(err, ERR_FULL, "people: %zu changed ids do not fit the batch's arena", batch->dirty_link_count);
    for (struct batch_link *link = batch->dirty_links; link != NULL; link = link->next_dirty)
        dirty[count++] = link;
    qsort(dirty, count, sizeof *dirty, by_order);
    for (size_t i = 0; i < count; i++) {
        const struct batch_link *link = dirty[i];

        assert(link->person != NULL && !link->person->deleted); /* M2 */
        if (people_link_put(batch->txn, link->project, link->distinct_id,
                            &(struct person_link){ link->person->person.id, link->version }, err) < 0 ||
            people_tell_link(link->project, link->distinct_id, &link->person->person.uuid, link->version, false, seen, ctx,
                             err) < 0)
            return -1;
    }
    return 0;
}

/* A merged person goes last, when nothing leads to it any more but by a note. */
static int deleted_finish(struct people_batch *batch, struct err *err)
{
    for (struct batch_person *person = batch->dirty_persons; person != NULL; person = person->next_dirty) {
        uint64_t steps;
        const struct batch_person *survivor = batch_person_survivor(person, &steps);

        if (!person->deleted)
            continue;
        if (!person->links_read &&
            people_move_later(batch->txn, person->person.project, person->person.id, survivor->person.id, steps, err) < 0)
            return -1;
        if (people_person_delete(batch->txn, &person->person, survivor->person.id, err) < 0)
            return -1;
    }
    return 0;
}

static int joins_finish(struct people_batch *batch, struct err *err)
{
    for (const struct batch_person *person = batch->joined; person != NULL; person = person->next_joined)
        if (!person->deleted &&
            people_joins_put(batch->txn, person->joins_hour, person->person.id, person->joins, err) < 0)
            return -1;
    return 0;
}

struct telling {
    people_row_seen *seen;
    void *ctx;
};

static int moved_tell(void *ctx, uint32_t project, struct span distinct_id, const struct uuid *person, uint64_t version,
                      struct err *err)
{
    const struct telling *telling = ctx;

    return people_tell_link(project, distinct_id, person, version, false, telling->seen, telling->ctx, err);
}

int people_batch_finish(struct people_batch *batch, people_row_seen *seen, void *ctx, struct err *err)
{
    if (people_batch_events_done(batch, err) < 0 || persons_finish(batch, seen, ctx, err) < 0 || links_finish(batch, seen, ctx, err) < 0 ||
        deleted_finish(batch, err) < 0 || joins_finish(batch, err) < 0 ||
        people_moves_work(batch->txn, batch->limits.moves_a_batch, moved_tell, &(struct telling){ seen, ctx }, err) < 0)
        return -1;
    return batch_groups_finish(batch, seen, ctx, err);
}
