/* people/pg_change.c - what a transaction changes of persons and ids, kept in memory until the commit. */
#include <assert.h>

#include "people/pg.h"

static void person_list(struct pg_txn *txn, struct pg_person *person)
{
    txn->changed = true;
    if (person->listed)
        return;
    person->listed = true;
    person->next_dirty = txn->dirty_persons;
    txn->dirty_persons = person;
}

/* Of valid UTF-8. */
static size_t count_chars(struct span text)
{
    size_t chars = 0;

    for (size_t i = 0; i < text.bytes; i++)
        chars += (text.at[i] & 0xc0) != 0x80;
    return chars;
}

/* Ids of events have 200 characters at most, and longer ones are not merged; so nobody's event comes here. */
static int name_check(const char *what, struct span name, struct err *err)
{
    return count_chars(name) <= PG_NAME_CHARS_MAX
               ? 0
               : err_set(err, ERR_INPUT, "people: a %s has more than %d characters, which PostgreSQL's tables do not hold", what,
                         PG_NAME_CHARS_MAX);
}

static void link_list(struct pg_txn *txn, struct pg_link *link)
{
    txn->changed = true;
    if (link->dirty)
        return;
    link->dirty = true;
    link->next_dirty = txn->dirty_links;
    txn->dirty_links = link;
}

int pg_link_put(struct people_txn *base, uint32_t project, struct span distinct_id, const struct person_link *to, struct err *err)
{
    struct pg_txn    *txn = pg_txn_of(base);
    struct pg_link   *link = pg_link_find(base, project, distinct_id, err);
    struct pg_person *person;

    assert(base->write);
    if (link == NULL || name_check("distinct id", distinct_id, err) < 0)
        return -1;
    assert(to->version >= link->version);
    link->now = to->person == 0 ? PG_LINK_DELETED : PG_LINK_ROW;
    link->person = to->person;
    link->version = to->version;
    link_list(txn, link);
    if (to->person == 0 || (link->base == PG_LINK_ROW && link->base_person == to->person))
        return 0;
    person = pg_person_find(base, to->person, err); /* G2: who gives an id to a person holds it */
    if (person == NULL)
        return -1;
    if (person->stored && !person->held) {
        person->held = true;
        person_list(txn, person);
    }
    return 0;
}

static int grave_put(struct people_txn *base, uint32_t project, const struct uuid *uuid, uint64_t version, struct err *err)
{
    struct pg_txn   *txn = pg_txn_of(base);
    struct pg_grave *grave = pg_grave_find(base, project, uuid, err);

    if (grave == NULL)
        return -1;
    if (grave->there && grave->version >= version)
        return 0;
    grave->there = true;
    grave->version = version;
    txn->changed = true;
    if (grave->dirty)
        return 0;
    grave->dirty = true;
    grave->next_dirty = txn->dirty_graves;
    txn->dirty_graves = grave;
    return 0;
}

int pg_link_erase(struct people_txn *base, uint32_t project, struct span distinct_id, struct err *err)
{
    struct uuid     uuid = people_person_uuid(project, distinct_id);
    struct pg_link *link = pg_link_find(base, project, distinct_id, err);

    if (link == NULL)
        return -1;
    if (link->now == PG_LINK_NONE)
        return 0;
    assert(link->person == 0);
    link->now = PG_LINK_NONE;
    link_list(pg_txn_of(base), link);
    if (grave_put(base, project, &uuid, link->version, err) < 0)
        return -1;
    link->version = 0;
    return 0;
}

int pg_person_put(struct people_txn *base, struct person *person, struct err *err)
{
    struct pg_txn    *txn = pg_txn_of(base);
    uint64_t          id = person->id;
    struct pg_person *kept;
    struct span       properties = arena_copy(pg_of(base->people)->arena, person->properties);

    assert(base->write);
    if (properties.at == NULL)
        return pg_full(err);
    if (id == 0 && pg_person_id_new(base, &id, err) < 0)
        return -1;
    kept = pg_person_find(base, id, err);
    if (kept == NULL)
        return -1;
    kept->person = *person;
    kept->person.id = person->id = id;
    kept->person.properties = properties;
    kept->person.lasting = true;
    kept->gone = kept->deleted = false;
    kept->dirty = true;
    person_list(txn, kept);
    return 0;
}

int pg_person_delete(struct people_txn *base, const struct person *person, uint64_t into, struct err *err)
{
    struct pg_person *kept;
    struct span       ignored;
    int               noted;

    if (person->id != 0) {
        kept = pg_person_find(base, person->id, err);
        noted = kept == NULL ? -1 : people_table_get(base, TABLE_MOVES, people_number_span(&person->id), &ignored, err);
        if (noted < 0)
            return -1;
        kept->gone = kept->deleted = true;
        kept->dirty = false;
        kept->noted = noted == 1;
        kept->into = into;
        person_list(pg_txn_of(base), kept);
    }
    return grave_put(base, person->project, &person->uuid, person->version + PEOPLE_DELETED_VERSIONS, err);
}

int pg_holder_end(struct people_txn *base, uint64_t holder, struct err *err)
{
    struct pg_person *kept = pg_person_find(base, holder, err);

    if (kept == NULL)
        return -1;
    if (kept->deleted) {
        kept->noted = false; /* merged in this very transaction */
    } else {
        kept->ended = true;
        person_list(pg_txn_of(base), kept);
    }
    return 0;
}
