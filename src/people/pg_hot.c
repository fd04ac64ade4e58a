/* people/pg_hot.c - persons and distinct ids that were read or written lately, in memory over transactions (hot.h).
 *
 * link     under project and distinct id:  0 8 person · 8 8 version
 * person   under its id:  0 8 created_us · 8 8 last_seen_us · 16 8 version · 24 16 uuid · 40 4 project · 44 4 identified ·
 *          48 * properties, as they were stored
 * What is here was right once; whoever takes it asks the server whether it still is (pg_find.c). */
#include "base/bytes.h"
#include "people/pg.h"

enum { PERSON_HEAD = 48, LINK_BYTES = 16 };

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

bool pg_hot_person(struct pg *pg, uint64_t id, struct person *out)
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
    memcpy(value + PERSON_HEAD, person->properties.at, person->properties.bytes);
    (void)hot_put(pg->hot, TABLE_PERSONS, key, span_of(value, bytes));
}

void pg_keep(struct people_txn *base)
{
    struct pg_txn *txn = pg_txn_of(base);
    struct pg     *pg = pg_of(base->people);

    for (const struct pg_link *link = txn->dirty_links; link != NULL; link = link->next_dirty)
        pg_hot_link_put(pg, link);
    for (const struct pg_person *person = txn->dirty_persons; person != NULL; person = person->next_dirty)
        pg_hot_person_put(pg, person);
}
