/* ingest/group_keys.c - the groups that an event names: `$groups`, and `$groupidentify`'s own one. */
#include "ingest/normalize_work.h"

#include "wire/utf8.h"

enum { GROUP_TEXT_UNITS_MAX = 400 }; /* docs/limits.md: of a group's type, of its key */

static bool too_long(struct span text)
{
    return text.bytes > GROUP_TEXT_UNITS_MAX && utf8_count_utf16(text) > GROUP_TEXT_UNITS_MAX;
}

static void warn_key_too_long(struct work *work, struct span key)
{
    struct warning *warning = warning_add(&work->item->warnings, WARNING_GROUP_KEY_TOO_LONG);

    warning_text(warning, "event", work->item->name);
    warning_text(warning, "groupKey", utf8_cut_utf16(key, GROUP_TEXT_UNITS_MAX));
    warning_number(&work->item->warnings, warning, "groupKeyLength", (int64_t)utf8_count_utf16(key));
    warning_number(&work->item->warnings, warning, "maxLength", GROUP_TEXT_UNITS_MAX);
}

int group_keys_check(struct work *work, struct err *err)
{
    const struct json_value *key = member_list_get(&work->properties, KEY_GROUP_KEY);
    struct span              text;

    if (work->item->kind != EVENT_GROUP_IDENTIFY || key == NULL || key->raw.bytes <= GROUP_TEXT_UNITS_MAX)
        return 0;
    if (!value_as_text(key, work->env->arena, &text))
        return key->kind == JSON_STRING ? err_set(err, ERR_FULL, "no room in the arena for a group's key") : 0;
    if (too_long(text)) {
        item_decide(work->item, FATE_GROUP_KEY_TOO_LONG);
        warn_key_too_long(work, text);
    }
    return 0;
}

static void warn_groups(struct work *work, const char *reason, struct span type, const struct json_value *key)
{
    struct warning *warning = warning_add(&work->item->warnings, WARNING_GROUPS);

    warning_text(warning, "event", work->item->name);
    warning_text(warning, "reason", span_text(reason));
    if (type.bytes > 0)
        warning_text(warning, "groupType", utf8_cut_utf16(type, GROUP_TEXT_UNITS_MAX));
    if (key != NULL)
        warning_text(warning, "receivedType", span_text(value_kind_name(key)));
}

/* The text of a group's key. A key that is none names no group, but its type is given an index, and the row has what was sent: an index
 * that depended on keys would differ from one sender to the next. */
static int key_read(struct work *work, const struct json_member *member, struct span *out, struct err *err)
{
    *out = SPAN("");
    if (member->value.kind == JSON_NULL)
        return 0;
    if (!value_as_text(&member->value, work->env->arena, out)) {
        if (member->value.kind == JSON_STRING)
            return err_set(err, ERR_FULL, "no room in the arena for a group's key");
        warn_groups(work, "a group's key is a text or a number", member->key, &member->value);
    } else if (too_long(*out)) {
        warn_key_too_long(work, *out);
        *out = SPAN("");
    }
    return 0;
}

/* One entry of `$groups`. */
static int group_push(struct work *work, const struct json_member *member, struct err *err)
{
    struct item      *item = work->item;
    struct item_group group = { .type = member->key, .raw_key = member->value.raw };

    if (group.type.bytes == 0 || too_long(group.type)) {
        warn_groups(work, "a group's type is a text of 1 to 400 characters", group.type, NULL);
        return 0;
    }
    if (item->group_count == ITEM_GROUPS_MAX) {
        warn_groups(work, "only the first 64 groups of an event are looked at", SPAN(""), NULL);
        return 0;
    }
    if (key_read(work, member, &group.key, err) < 0)
        return -1;
    item->groups[item->group_count++] = group;
    return 0;
}

static int groups_read(struct work *work, const struct json_value *value, struct err *err)
{
    struct json_members members;
    size_t              room;

    if (value == NULL || value->kind == JSON_NULL)
        return 0;
    if (value->kind != JSON_OBJECT) {
        warn_groups(work, "$groups is an object of type and key", SPAN(""), value);
        return 0;
    }
    if (json_members_read(value->raw, work->env->arena, &members, err) < 0)
        return -1;
    room = members.count < ITEM_GROUPS_MAX ? members.count : ITEM_GROUPS_MAX;
    work->item->groups = arena_alloc_array(work->env->arena, room, sizeof *work->item->groups);
    if (work->item->groups == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for an event's groups");
    for (size_t i = 0; i < members.count && i <= ITEM_GROUPS_MAX; i++)
        if (group_push(work, &members.at[i], err) < 0)
            return -1;
    return 0;
}

static int group_set_read(struct work *work, const struct json_value *value, struct err *err)
{
    struct member_list list;

    if (value == NULL || value->kind == JSON_NULL)
        return 0;
    member_list_init(&list, work->env->keys, work->env->arena);
    if (member_list_read(&list, value->raw, err) < 0)
        return -1;
    work->item->group_set = (struct json_members){ .count = list.count, .at = list.at };
    return 0;
}

static int group_identify_read(struct work *work, struct err *err)
{
    struct item             *item = work->item;
    const struct json_value *type = member_list_get(&work->properties, KEY_GROUP_TYPE);
    const struct json_value *key = member_list_get(&work->properties, KEY_GROUP_KEY);
    const struct json_value *set = member_list_get(&work->properties, KEY_GROUP_SET);
    struct item_group        group = { 0 };

    if (!value_truthy(type) || !value_as_text(type, work->env->arena, &group.type) || too_long(group.type))
        return 0;
    if (item->who.personless) { /* touches no group, but its type becomes known */
        item->group_own = group;
        item->group_register = set != NULL && set->kind != JSON_NULL;
        return 0;
    }
    if (!value_truthy(key) || !value_as_text(key, work->env->arena, &group.key))
        return 0;
    group.raw_key = key->raw;
    if (set != NULL && set->kind != JSON_OBJECT && set->kind != JSON_NULL) {
        struct warning *warning = warning_add(&item->warnings, WARNING_GROUP_SET);

        if (warning != NULL)
            warning->key = group.key;
        warning_text(warning, "groupType", group.type);
        warning_text(warning, "groupKey", group.key);
        warning_text(warning, "receivedType", span_text(value_kind_name(set)));
        return 0;
    }
    item->group_own = group;
    item->group_identify = true;
    return group_set_read(work, set, err);
}

int group_keys_read(struct work *work, struct err *err)
{
    if (!work->item->who.personless && groups_read(work, member_list_get(&work->properties, KEY_GROUPS), err) < 0)
        return -1;
    if (work->item->kind == EVENT_GROUP_IDENTIFY)
        return group_identify_read(work, err);
    return 0;
}
