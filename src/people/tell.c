/* people/tell.c - see tell.h. */
#include "people/tell.h"

#include "base/clock.h"

int people_tell_person(const struct person *person, bool deleted, people_row_seen *seen, void *ctx, struct err *err)
{
    struct row row;

    row_init(&row, ROW_PERSON);
    row_set_uuid(&row, ROW_PERSON_ID, person->uuid);
    row_set_i64(&row, ROW_PERSON_CREATED_AT, person->created_us);
    row_set_i64(&row, ROW_PERSON_TEAM_ID, person->project);
    row_set_text(&row, ROW_PERSON_PROPERTIES, deleted ? SPAN("{}") : person->properties);
    row_set_i64(&row, ROW_PERSON_IS_IDENTIFIED, person->identified);
    row_set_i64(&row, ROW_PERSON_IS_DELETED, deleted);
    row_set_i64(&row, ROW_PERSON_VERSION, (int64_t)(person->version + (deleted ? PEOPLE_DELETED_VERSIONS : 0)));
    if (person->last_seen_us != CLOCK_NONE)
        row_set_i64(&row, ROW_PERSON_LAST_SEEN_AT, person->last_seen_us);
    return seen(ctx, &row, err);
}

int people_tell_link(uint32_t project, struct span distinct_id, const struct uuid *person, uint64_t version, bool deleted,
                     people_row_seen *seen, void *ctx, struct err *err)
{
    struct row row;

    row_init(&row, ROW_DISTINCT);
    row_set_i64(&row, ROW_DISTINCT_TEAM_ID, project);
    row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, distinct_id);
    row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, *person);
    row_set_i64(&row, ROW_DISTINCT_IS_DELETED, deleted);
    row_set_i64(&row, ROW_DISTINCT_VERSION, (int64_t)version);
    return seen(ctx, &row, err);
}

int people_tell_group(const struct group *group, struct span type, people_row_seen *seen, void *ctx, struct err *err)
{
    struct row row;

    row_init(&row, ROW_GROUP);
    row_set_i64(&row, ROW_GROUP_TYPE_INDEX, group->index);
    row_set_text(&row, ROW_GROUP_KEY, group->key);
    row_set_i64(&row, ROW_GROUP_CREATED_AT, group->created_us);
    row_set_i64(&row, ROW_GROUP_TEAM_ID, group->project);
    row_set_text(&row, ROW_GROUP_PROPERTIES, group->properties);
    row_set_i64(&row, ROW_GROUP_VERSION, (int64_t)group->version);
    row_set_text(&row, ROW_GROUP_TYPE, type);
    return seen(ctx, &row, err);
}
