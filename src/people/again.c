/* people/again.c - see again.h. */
#include "people/again.h"

#include "base/clock.h"
#include "people/tell.h"

static uint64_t above(uint64_t ours, uint64_t shown)
{
    return (ours > shown ? ours : shown) + 1;
}

static int person_again(struct people_txn *txn, const struct row *row, people_row_seen *seen, void *ctx, struct err *err)
{
    const struct row_cell *cells = row->cells;
    uint32_t               project = (uint32_t)cells[ROW_PERSON_TEAM_ID].i64;
    uint64_t               shown = (uint64_t)cells[ROW_PERSON_VERSION].i64;
    struct person          person;
    int                    got = people_person_find(txn, project, &cells[ROW_PERSON_ID].uuid, &person, err);

    if (got == 1) { /* told first: its spans live until the next write */
        person.version = above(person.version, shown);
        return people_tell_person(&person, false, seen, ctx, err) < 0 ? -1 : people_person_put(txn, &person, err);
    }
    person = (struct person){ .project = project, .uuid = cells[ROW_PERSON_ID].uuid, .created_us = cells[ROW_PERSON_CREATED_AT].i64,
                              .last_seen_us = CLOCK_NONE, .properties = SPAN("{}") };
    if (got < 0 || people_person_version(txn, project, &person.uuid, &person.version, err) < 0)
        return -1;
    person.version = above(person.version, shown);
    return people_tell_person(&person, true, seen, ctx, err) < 0 ? -1 : people_person_delete(txn, &person, 0, err);
}

static int link_again(struct people_txn *txn, const struct row *row, people_row_seen *seen, void *ctx, struct err *err)
{
    const struct row_cell *cells = row->cells;
    uint32_t               project = (uint32_t)cells[ROW_DISTINCT_TEAM_ID].i64;
    struct span            distinct_id = cells[ROW_DISTINCT_DISTINCT_ID].text;
    struct uuid            uuid = cells[ROW_DISTINCT_PERSON_ID].uuid;
    struct person_link     link = { 0 };
    struct person          person;
    int                    got = people_link_get(txn, project, distinct_id, &link, err);

    if (got == 1 && link.person != 0) {
        got = people_person_get(txn, link.person, &person, err);
        if (got <= 0)
            return got < 0 ? -1 : err_set(err, ERR_CORRUPT, "people: an id leads to a person that is missing");
        uuid = person.uuid;
    }
    if (got < 0)
        return -1;
    link.version = above(link.version, (uint64_t)cells[ROW_DISTINCT_VERSION].i64);
    return people_link_put(txn, project, distinct_id, &link, err) < 0
               ? -1
               : people_tell_link(project, distinct_id, &uuid, link.version, link.person == 0, seen, ctx, err);
}

static int group_again(struct people_txn *txn, const struct row *row, people_row_seen *seen, void *ctx, struct err *err)
{
    const struct row_cell *cells = row->cells;
    struct group           group = { .project = (uint32_t)cells[ROW_GROUP_TEAM_ID].i64, .key = cells[ROW_GROUP_KEY].text };
    int                    got = people_group_type(txn, group.project, cells[ROW_GROUP_TYPE].text, true, &group.index, err);

    if (got < 0)
        return -1;
    if (got == 0 || group.index != cells[ROW_GROUP_TYPE_INDEX].i64)
        return 0; /* its type has another place now, and what was shown is of none */
    got = people_group_get(txn, group.project, group.index, group.key, &group, err);
    if (got < 0)
        return -1;
    if (got == 0) {
        group.created_us = cells[ROW_GROUP_CREATED_AT].i64;
        group.properties = SPAN("{}");
    }
    group.version = above(group.version, (uint64_t)cells[ROW_GROUP_VERSION].i64);
    return people_tell_group(&group, cells[ROW_GROUP_TYPE].text, seen, ctx, err) < 0 ? -1 : people_group_put(txn, &group, err);
}

int people_row_again(struct people_txn *txn, const struct row *row, people_row_seen *seen, void *ctx, struct err *err)
{
    switch (row->table) {
    case ROW_PERSON: return person_again(txn, row, seen, ctx, err);
    case ROW_DISTINCT: return link_again(txn, row, seen, ctx, err);
    case ROW_GROUP: return group_again(txn, row, seen, ctx, err);
    default: return 0;
    }
}
