/* people/pg_hot.c - persons and distinct ids that were read or written lately, in memory over transactions (hot.h).
 *
 * link     under project and distinct id:  0 8 person · 8 8 version
 * person   under its id:  0 8 created_us · 8 8 last_seen_us · 16 8 version · 24 16 uuid · 40 4 project · 44 4 identified ·
 *          48 8 when the server said so, by the clock that does not jump · 56 * properties, as they were stored
 * group    under the number that names it in a change (pg_follow.c):  0 8 created_us · 8 8 version · 16 8 when · 24 4 bytes of the
 *          key · 28 * key, properties
 * What is here is right unless somebody else than Penstock changed it; what has been here for long is asked about. */
#include "base/bytes.h"
#include "base/clock.h"
#include "people/pg.h"

enum { PERSON_HEAD = 56, LINK_BYTES = 16, GROUP_HEAD = 28 };
#define TRUST_US ((int64_t)30 * 1000000)

static struct span hot_link_key(uint8_t to[HOT_KEY_BYTES_MAX], uint32_t project, struct span distinct_id)
{
    if (distinct_id.bytes + 4 > HOT_KEY_BYTES_MAX)
        return span_of(NULL, 0);
    bytes_put_u32(to, project);
    if (distinct_id.bytes > 0)
        memcpy(to + 4, distinct_id.at, distinct_id.bytes);
    return span_of(to, 4 + distinct_id.bytes);
}

bool pg_hot_link(struct pg *pg, struct pg_link *link)
{
    uint8_t     room[HOT_KEY_BYTES_MAX];
    struct span key = hot_link_key(room, link->project, link->distinct_id), value;

    if (pg->hot == NULL || key.at == NULL || hot_get(pg->hot, TABLE_LINKS, key, &value) != HOT_THERE)
        return false;
    link->person = bytes_get_u64(value.at);
    link->version = bytes_get_u64(value.at + 8);
    return true;
}

void pg_hot_link_put(struct pg *pg, const struct pg_link *link)
{
    uint8_t     room[HOT_KEY_BYTES_MAX], value[LINK_BYTES];
    struct span key = hot_link_key(room, link->project, link->distinct_id);

    if (pg->hot == NULL || key.at == NULL)
        return;
    hot_forget(pg->hot, TABLE_LINKS, key);
    if (link->now != PG_LINK_ROW)
        return;
    bytes_put_u64(value, link->person);
    bytes_put_u64(value + 8, link->version);
    (void)hot_put(pg->hot, TABLE_LINKS, key, span_of(value, sizeof value));
}

bool pg_hot_person(struct pg *pg, uint64_t id, struct person *out, bool *trusted_out)
{
    struct span value;

    if (pg->hot == NULL || hot_get(pg->hot, TABLE_PERSONS, span_of(&id, sizeof id), &value) != HOT_THERE)
        return false;
    *out = (struct person){
        .id = id, .created_us = (int64_t)bytes_get_u64(value.at), .last_seen_us = (int64_t)bytes_get_u64(value.at + 8),
        .version = bytes_get_u64(value.at + 16), .project = bytes_get_u32(value.at + 40), .identified = value.at[44] != 0,
        .properties = span_from(value, PERSON_HEAD), .lasting = true
    };
    memcpy(out->uuid.bytes, value.at + 24, 16);
    *trusted_out = clock_mono_us() - (int64_t)bytes_get_u64(value.at + 48) < TRUST_US;
    return true;
}

void pg_hot_person_put(struct pg *pg, const struct pg_person *kept)
{
    const struct person *person = &kept->person;
    size_t               bytes = PERSON_HEAD + person->properties.bytes;
    struct span          key = span_of(&person->id, sizeof person->id);
    uint8_t             *value;

    if (pg->hot == NULL)
        return;
    hot_forget(pg->hot, TABLE_PERSONS, key);
    if (kept->gone || (value = arena_alloc(pg->arena, bytes)) == NULL)
        return;
    bytes_put_u64(value, (uint64_t)person->created_us);
    bytes_put_u64(value + 8, (uint64_t)person->last_seen_us);
    bytes_put_u64(value + 16, person->version);
    memcpy(value + 24, person->uuid.bytes, 16);
    bytes_put_u32(value + 40, person->project);
    bytes_put_u32(value + 44, person->identified);
    bytes_put_u64(value + 48, (uint64_t)clock_mono_us());
    memcpy(value + PERSON_HEAD, person->properties.at, person->properties.bytes);
    (void)hot_put(pg->hot, TABLE_PERSONS, key, span_of(value, bytes));
}

bool pg_hot_group(struct pg *pg, struct group *group)
{
    uint64_t    thing = (uint64_t)pg_group_thing(group->project, group->index, group->key);
    struct span value;
    size_t      key_bytes;

    if (pg->hot == NULL || hot_get(pg->hot, TABLE_GROUPS, span_of(&thing, sizeof thing), &value) != HOT_THERE)
        return false;
    key_bytes = bytes_get_u32(value.at + 24);
    if (clock_mono_us() - (int64_t)bytes_get_u64(value.at + 16) >= TRUST_US ||
        !span_equal(span_of(value.at + GROUP_HEAD, key_bytes), group->key))
        return false;
    group->created_us = (int64_t)bytes_get_u64(value.at);
    group->version = bytes_get_u64(value.at + 8);
    group->properties = span_from(value, GROUP_HEAD + key_bytes);
    return true;
}

void pg_hot_group_put(struct pg *pg, const struct group *group)
{
    uint64_t thing = (uint64_t)pg_group_thing(group->project, group->index, group->key);
    size_t   bytes = GROUP_HEAD + group->key.bytes + group->properties.bytes;
    uint8_t *value = pg->hot == NULL ? NULL : arena_alloc(pg->arena, bytes);

    if (pg->hot != NULL)
        hot_forget(pg->hot, TABLE_GROUPS, span_of(&thing, sizeof thing));
    if (value == NULL)
        return;
    bytes_put_u64(value, (uint64_t)group->created_us);
    bytes_put_u64(value + 8, group->version);
    bytes_put_u64(value + 16, (uint64_t)clock_mono_us());
    bytes_put_u32(value + 24, (uint32_t)group->key.bytes);
    memcpy(value + GROUP_HEAD, group->key.at, group->key.bytes);
    memcpy(value + GROUP_HEAD + group->key.bytes, group->properties.at, group->properties.bytes);
    (void)hot_put(pg->hot, TABLE_GROUPS, span_of(&thing, sizeof thing), span_of(value, bytes));
}

void pg_keep(struct people_txn *base)
{
    struct pg_txn *txn = pg_txn_of(base);
    struct pg     *pg = pg_of(base->people);

    for (const struct pg_link *link = txn->dirty_links; link != NULL; link = link->next_dirty)
        pg_hot_link_put(pg, link);
    for (const struct pg_person *person = txn->dirty_persons; person != NULL; person = person->next_dirty)
        pg_hot_person_put(pg, person);
    for (const struct pg_group *group = txn->dirty_groups; group != NULL; group = group->next_dirty)
        pg_hot_group_put(pg, &group->group);
}
