/* people/group.c - groups: companies, teams, whatever a project counts beside persons.
 *
 * A project has at most five types, each with an index that never changes. The types and groups of a batch are
 * kept as its persons are; the key of a kept group holds project, index and key, so that two types may have
 * groups of one name.
 * Values are compared loosely, 1 equals "1": so do upstream's groups, and a client that sends a number now
 * and its text then would write the group with every event. */
#include <assert.h>

#include "people/batch_parts.h"
#include "people/tell.h"

enum { TYPES_FIRST = 8 };

/* The index of a type, given now if it is new; -1 in *index_out: no place is left. */
static int batch_group_type_index(struct people_batch *batch, uint32_t project, struct span type, int *index_out,
                                  struct err *err)
{
    struct batch_group_type *more;
    int got;

    for (size_t i = 0; i < batch->group_type_count; i++)
        if (batch->group_types[i].project == project && span_equal(batch->group_types[i].type, type)) {
            *index_out = batch->group_types[i].index;
            return 0;
        }
    got = people_group_type(batch->txn, project, type, true, index_out, err);
    if (got < 0)
        return -1;
    if (got == 0)
        *index_out = -1;
    if (batch->group_type_count == batch->group_type_room) {
        size_t room = batch->group_type_room == 0 ? TYPES_FIRST : 2 * batch->group_type_room;

        more = arena_grow(batch->arena, batch->group_types, batch->group_type_room * sizeof *more, room * sizeof *more);
        if (more == NULL)
            return err_set(err, ERR_FULL, "people: the group types do not fit the batch's arena");
        batch->group_types = more;
        batch->group_type_room = room;
    }
    type = arena_copy(batch->arena, type);
    if (type.at == NULL)
        return err_set(err, ERR_FULL, "people: the group types do not fit the batch's arena");
    batch->group_types[batch->group_type_count++] = (struct batch_group_type){ project, type, *index_out };
    return 0;
}

static int batch_group_read(struct people_batch *batch, struct batch_group *group, struct err *err)
{
    struct group stored;
    struct span text = SPAN("{}");
    int got = people_group_get(batch->txn, group->group.project, group->group.index, group->group.key, &stored, err);

    if (got < 0)
        return -1;
    if (got == 1) {
        text = arena_copy(batch->arena, stored.properties);
        if (text.at == NULL)
            return err_set(err, ERR_FULL, "people: a group of %zu bytes does not fit the batch's arena",
                           stored.properties.bytes);
        group->known = true;
        group->group.created_us = stored.created_us;
        group->group.version = stored.version;
    }
    return properties_read(&group->properties, text, batch->arena, err);
}

/* The group, read when it is not here yet; NULL on failure. */
static struct batch_group *batch_group_get(struct people_batch *batch, uint32_t project, struct span type, int index,
                                           struct span key, struct err *err)
{
    uint64_t hash = batch_hash((uint64_t)project << 8 | (unsigned)index, key);
    struct batch_group *group;
    size_t at = 0;

    while ((group = batch_index_find(&batch->groups_by_key, hash, &at)) != NULL)
        if (group->group.project == project && group->group.index == index && span_equal(group->group.key, key))
            return group;
    group = arena_alloc_zero(batch->arena, sizeof *group);
    key = arena_copy(batch->arena, key);
    type = arena_copy(batch->arena, type);
    if (group == NULL || key.at == NULL || type.at == NULL) {
        (void)err_set(err, ERR_FULL, "people: one more group does not fit the batch's arena");
        return NULL;
    }
    group->hash = hash;
    group->type = type;
    group->group = (struct group){ .project = project, .index = index, .key = key };
    if (batch_group_read(batch, group, err) < 0 ||
        batch_index_add(&batch->groups_by_key, hash, group, batch->arena, err) < 0)
        return NULL;
    *batch->groups_end = group;
    batch->groups_end = &group->next;
    return group;
}

static int batch_group_show(struct people_batch *batch, struct batch_group *group, struct people_group *out,
                            struct err *err)
{
    struct people_group shown = { .found = true,
                                  .known = group->known,
                                  .index = group->group.index,
                                  .properties = SPAN("{}"),
                                  .created_us = group->group.created_us };

    if (group->known && properties_pack(&group->properties, batch->arena, &shown.properties, err) < 0)
        return -1;
    *out = shown;
    return 0;
}

int people_batch_group(struct people_batch *batch, uint32_t project, struct span type, struct span key,
                       struct people_group *out, struct err *err)
{
    struct batch_group *group;
    int index;

    if (batch_group_type_index(batch, project, type, &index, err) < 0)
        return -1;
    if (index < 0) {
        *out = (struct people_group){ .properties = SPAN("{}") };
        return 0;
    }
    group = batch_group_get(batch, project, type, index, key, err);
    return group == NULL ? -1 : batch_group_show(batch, group, out, err);
}

/* How long the text would be with `set` over it; *changes_out: whether anything differs. */
static size_t bytes_with(struct people_batch *batch, struct properties *properties, const struct json_members *set,
                         bool *changes_out)
{
    size_t bytes = properties->bytes;

    *changes_out = false;
    for (size_t i = 0; i < set->count; i++) {
        const struct json_member *member = &set->at[i];
        const struct property *stored = properties_find(properties, member->key, properties_hash(member->key));

        if (stored != NULL && properties_loosely_equal(&stored->value, &member->value, batch->event_arena))
            continue;
        *changes_out = true;
        bytes += stored == NULL ? properties_member_bytes(member->key_raw, member->value.raw)
                                : member->value.raw.bytes - stored->value.raw.bytes;
    }
    return bytes;
}

static int group_write(struct people_batch *batch, struct batch_group *group, const struct json_members *set,
                       struct err *err)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct json_member *member = &set->at[i];
        uint64_t hash = properties_hash(member->key);
        struct property *stored = properties_find(&group->properties, member->key, hash);

        struct json_member kept;

        if (stored != NULL && properties_loosely_equal(&stored->value, &member->value, batch->event_arena))
            continue;
        if (batch_member_keep(batch, member, &kept, err) < 0)
            return -1;
        if (stored != NULL)
            properties_replace(&group->properties, stored, &kept.value);
        else if (properties_add(&group->properties, &kept, hash, batch->arena, err) < 0)
            return -1;
    }
    if (!group->stepped)
        group->group.version++;
    group->stepped = true;
    group->dirty = true;
    return 0;
}

int people_batch_group_set(struct people_batch *batch, uint32_t project, struct span type, struct span key,
                           const struct json_members *set, int64_t timestamp_us, int64_t now_us,
                           struct people_group *out, struct err *err)
{
    static const struct json_members nothing = { 0 };
    struct batch_group *group;
    size_t bytes, trimmed = 0;
    bool changes, refused, over;
    int index;

    if (set == NULL)
        set = &nothing;
    if (batch_group_type_index(batch, project, type, &index, err) < 0)
        return -1;
    if (index < 0) {
        *out = (struct people_group){ .properties = SPAN("{}") };
        return 0;
    }
    group = batch_group_get(batch, project, type, index, key, err);
    if (group == NULL)
        return -1;
    bytes = bytes_with(batch, &group->properties, set, &changes);
    over = group->properties.bytes > PEOPLE_PERSON_PROPERTIES_BYTES_MAX;
    refused = changes && bytes > PEOPLE_PERSON_PROPERTIES_BYTES_MAX && !over;
    if (!group->known && !refused) {
        group->known = true;
        group->group.created_us = timestamp_us < now_us ? timestamp_us : now_us;
        if (group_write(batch, group, set, err) < 0)
            return -1;
        group->stepped = false; /* made with version 1; a later change in this batch is the first step */
    } else if (changes && !refused && group_write(batch, group, set, err) < 0) {
        return -1;
    }
    if (over && changes && properties_trim(&group->properties, set, NULL, true, batch->event_arena, &trimmed, err) < 0)
        return -1;
    if (batch_group_show(batch, group, out, err) < 0)
        return -1;
    out->refused = refused;
    out->trimmed = trimmed;
    return 0;
}

int batch_groups_finish(struct people_batch *batch, people_row_seen *seen, void *ctx, struct err *err)
{
    for (struct batch_group *group = batch->groups; group != NULL; group = group->next) {
        if (!group->dirty)
            continue;
        if (properties_pack(&group->properties, batch->arena, &group->group.properties, err) < 0 ||
            people_group_put(batch->txn, &group->group, err) < 0 || people_tell_group(&group->group, group->type, seen, ctx, err) < 0)
            return -1;
    }
    return 0;
}
