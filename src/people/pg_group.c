/* people/pg_group.c - groups and their types. A type's index never changes once it is given, so those that are known stay
 * known; the unique keys of upstream's table see to it that two units do not give one index twice. */
#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "people/pg.h"

struct pg_types {
    uint32_t         project;
    bool             there[PEOPLE_GROUP_TYPES_MAX];
    struct span      names[PEOPLE_GROUP_TYPES_MAX]; /* malloc */
    struct pg_types *next;
};

void pg_types_free(struct pg_types *types)
{
    while (types != NULL) {
        struct pg_types *next = types->next;

        for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++)
            free((void *)(uintptr_t)types->names[i].at);
        free(types);
        types = next;
    }
}

static int type_note(struct pg_types *types, int index, struct span name, struct err *err)
{
    uint8_t *copy;

    if (index < 0 || index >= PEOPLE_GROUP_TYPES_MAX || types->there[index])
        return 0;
    copy = malloc(name.bytes + 1);
    if (copy == NULL)
        return pg_full(err);
    if (name.bytes > 0)
        memcpy(copy, name.at, name.bytes);
    types->names[index] = span_of(copy, name.bytes);
    types->there[index] = true;
    return 0;
}

static int types_read(struct people_txn *base, struct pg_types *types, struct err *err)
{
    struct pg_call call = { .sql = PG_TYPES_SQL };
    int            rc;

    pg_add_i64(&call, pg_of(base->people)->arena, types->project);
    rc = pg_read(base, &call, 1, err);
    for (int row = 0; rc == 0 && row < PQntuples(call.result); row++)
        rc = type_note(types, (int)pg_i64(call.result, row, 1), pg_bytes(call.result, row, 0), err);
    pg_calls_end(&call, 1);
    return rc;
}

static struct pg_types *types_find(struct people_txn *base, uint32_t project, bool *fresh_out, struct err *err)
{
    struct pg       *pg = pg_of(base->people);
    struct pg_types *types = pg->types;

    *fresh_out = false;
    while (types != NULL && types->project != project)
        types = types->next;
    if (types != NULL)
        return types;
    types = calloc(1, sizeof *types);
    if (types == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    types->project = project;
    if (types_read(base, types, err) < 0) {
        pg_types_free(types);
        return NULL;
    }
    *fresh_out = true;
    types->next = pg->types;
    pg->types = types;
    return types;
}

static int type_known(const struct pg_txn *txn, const struct pg_types *types, uint32_t project, struct span name)
{
    for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++)
        if (types->there[i] && span_equal(types->names[i], name))
            return i;
    for (const struct pg_new_type *type = txn->new_types; type != NULL; type = type->next)
        if (type->project == project && span_equal(type->name, name))
            return type->index;
    return -1;
}

static int type_free(const struct pg_txn *txn, const struct pg_types *types, uint32_t project)
{
    unsigned taken = 0;
    int      index = 0;

    for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++)
        taken |= (unsigned)types->there[i] << i;
    for (const struct pg_new_type *type = txn->new_types; type != NULL; type = type->next)
        if (type->project == project)
            taken |= 1u << type->index;
    while (index < PEOPLE_GROUP_TYPES_MAX && (taken >> index & 1) != 0)
        index++;
    return index;
}

static size_t count_chars(struct span text)
{
    size_t chars = 0;

    for (size_t i = 0; i < text.bytes; i++)
        chars += (text.at[i] & 0xc0) != 0x80;
    return chars;
}

/* PostgreSQL's texts hold no U+0000, and upstream's columns 400 characters. */
static bool name_fits(struct span name)
{
    return count_chars(name) <= PG_NAME_CHARS_MAX && (name.bytes == 0 || memchr(name.at, 0, name.bytes) == NULL);
}

int pg_group_type(struct people_txn *base, uint32_t project, struct span name, bool create, int *index_out, struct err *err)
{
    struct pg_txn   *txn = pg_txn_of(base);
    struct arena    *arena = pg_of(base->people)->arena;
    struct pg_types *types;
    struct pg_new_type  *type;
    bool             fresh;
    int              index;

    if (!name_fits(name))
        return 0; /* as if there were no place left */
    types = types_find(base, project, &fresh, err);
    if (types == NULL)
        return -1;
    index = type_known(txn, types, project, name);
    if (index < 0 && !fresh && type_free(txn, types, project) < PEOPLE_GROUP_TYPES_MAX) {
        if (types_read(base, types, err) < 0) /* another unit may have made it */
            return -1;
        index = type_known(txn, types, project, name);
    }
    if (index >= 0) {
        *index_out = index;
        return 1;
    }
    index = type_free(txn, types, project);
    if (!create || index == PEOPLE_GROUP_TYPES_MAX)
        return 0;
    type = arena_alloc_zero(arena, sizeof *type);
    if (type == NULL || (type->name = arena_copy(arena, name)).at == NULL)
        return pg_full(err);
    type->project = project;
    type->index = index;
    type->next = txn->new_types;
    txn->new_types = type;
    txn->changed = true;
    *index_out = index;
    return 1;
}

void pg_types_keep(struct people_txn *base)
{
    struct pg_txn *txn = pg_txn_of(base);
    struct err     ignored;

    for (const struct pg_new_type *type = txn->new_types; type != NULL; type = type->next)
        for (struct pg_types *types = pg_of(base->people)->types; types != NULL; types = types->next)
            if (types->project == type->project)
                (void)(type_note(types, type->index, type->name, &ignored) < 0);
}

/* --- groups ------------------------------------------------------------------------------------ */

static uint64_t group_hash(uint32_t project, int index, struct span key)
{
    return XXH3_64bits_withSeed(key.at, key.bytes, (uint64_t)project << 8 | (unsigned)index);
}

static struct pg_group *group_find(struct people_txn *base, uint32_t project, int index, struct span key, struct err *err)
{
    struct pg_txn   *txn = pg_txn_of(base);
    struct arena    *arena = pg_of(base->people)->arena;
    struct pg_call   call = { .sql = PG_GROUP_SQL };
    struct pg_group *group;
    uint64_t         hash = group_hash(project, index, key);
    size_t           at = 0;
    int              rc = 0;

    while ((group = batch_index_find(&txn->groups, hash, &at)) != NULL)
        if (group->group.project == project && group->group.index == index && span_equal(group->group.key, key))
            return group;
    group = arena_alloc_zero(arena, sizeof *group);
    if (group == NULL || (group->group.key = arena_copy(arena, key)).at == NULL) {
        (void)pg_full(err);
        return NULL;
    }
    group->group.project = project;
    group->group.index = index;
    if (batch_index_add(&txn->groups, hash, group, arena, err) < 0)
        return NULL;
    if (!name_fits(key))
        return group; /* there is none */
    if (base->write && pg_hot_group(pg_of(base->people), &group->group)) {
        group->stored = group->there = true;
        group->base_version = group->group.version;
        return group;
    }
    pg_add_i32(&call, arena, (int32_t)project);
    pg_add_i32(&call, arena, index);
    pg_add_bytes(&call, arena, key);
    rc = pg_read(base, &call, 1, err);
    if (rc == 0 && PQntuples(call.result) > 0) {
        group->stored = group->there = true;
        group->group.created_us = pg_time(call.result, 0, 0);
        group->group.version = group->base_version = (uint64_t)pg_i64(call.result, 0, 1);
        group->group.properties = arena_copy(arena, pg_bytes(call.result, 0, pg_is_null(call.result, 0, 2) ? 3 : 2));
        rc = group->group.properties.at == NULL ? pg_full(err) : 0;
        if (rc == 0 && base->write)
            pg_hot_group_put(pg_of(base->people), &group->group);
    }
    pg_calls_end(&call, 1);
    return rc < 0 ? NULL : group;
}

int pg_group_get(struct people_txn *txn, uint32_t project, int index, struct span key, struct group *out, struct err *err)
{
    const struct pg_group *group = group_find(txn, project, index, key, err);

    if (group == NULL)
        return -1;
    if (!group->there)
        return 0;
    *out = group->group;
    out->key = key;
    return 1;
}

int pg_group_put(struct people_txn *base, const struct group *from, struct err *err)
{
    struct pg_txn   *txn = pg_txn_of(base);
    struct pg_group *group;
    struct span      properties = arena_copy(pg_of(base->people)->arena, from->properties), key;

    assert(base->write);
    if (!name_fits(from->key))
        return err_set(err, ERR_INPUT, "people: a group's key has more than %d characters, which PostgreSQL's tables do not hold",
                       PG_NAME_CHARS_MAX);
    if (properties.at == NULL)
        return pg_full(err);
    group = group_find(base, from->project, from->index, from->key, err);
    if (group == NULL)
        return -1;
    key = group->group.key;
    group->group = *from;
    group->group.key = key;
    group->group.properties = properties;
    group->there = true;
    txn->changed = true;
    if (group->dirty)
        return 0;
    group->dirty = true;
    group->next_dirty = txn->dirty_groups;
    txn->dirty_groups = group;
    return 0;
}
