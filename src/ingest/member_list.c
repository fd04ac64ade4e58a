/* ingest/member_list.c - see member_list.h.
 *
 * Removing marks a member (key_raw empty) instead of moving the others, so the slots stay right while
 * rules run; member_list_close moves once. The index of json_members_read is only good for the members as
 * they were read: member_list_overlay uses it before anything was added, so two large objects merge in
 * linear time. */
#include "ingest/member_list.h"

#include <assert.h>

void member_list_init(struct member_list *list, const struct property_key_table *keys, struct arena *arena)
{
    *list = (struct member_list){ .keys = keys, .arena = arena };
}

/* Objects inside may hold duplicate keys (M2); scalars, flat arrays and objects of one member cannot. */
static bool may_repeat(struct span raw)
{
    const uint8_t *first = raw.bytes < 8 ? NULL : memchr(raw.at, ':', raw.bytes), *end = raw.at + raw.bytes;

    return first != NULL && memchr(first + 1, ':', (size_t)(end - first - 1)) != NULL &&
           memchr(raw.at, '{', raw.bytes) != NULL;
}

static int value_dedupe(struct json_value *value, struct arena *arena, struct err *err)
{
    if (value->kind != JSON_OBJECT && value->kind != JSON_ARRAY)
        return 0;
    if (!may_repeat(value->raw))
        return 0;
    return json_dedupe(value->raw, arena, &value->raw, err);
}

static int list_fill(struct member_list *list, const struct json_members *members, struct err *err)
{
    if (members->count > UINT32_MAX - 1)
        return err_set(err, ERR_FULL, "%zu members in one object", members->count);
    for (size_t i = 0; i < members->count; i++) {
        enum property_key key = property_key_find(list->keys, members->at[i].key);

        if (key != PROPERTY_KEY_NONE)
            list->slot[key] = (uint32_t)i + 1;
        if (value_dedupe(&members->at[i].value, list->arena, err) < 0)
            return -1;
    }
    list->at = members->at;
    list->count = members->count;
    list->room = members->count;
    return 0;
}

int member_list_read(struct member_list *list, struct span object, struct err *err)
{
    struct json_members members;

    assert(list->count == 0);
    if (json_members_read(object, list->arena, &members, err) < 0)
        return -1;
    return list_fill(list, &members, err);
}

int member_list_take(struct member_list *list, struct json_reader *reader, struct err *err)
{
    struct json_members members;

    assert(list->count == 0);
    if (json_members_take(reader, list->arena, &members, err) < 0)
        return -1;
    return list_fill(list, &members, err);
}

static struct json_member *member_new(struct member_list *list)
{
    if (list->count == list->room) {
        size_t              room = list->room < 16 ? list->room + 32 : list->room * 2;
        struct json_member *more = arena_alloc_array(list->arena, room, sizeof *more);

        if (more == NULL) {
            list->full = true;
            return NULL;
        }
        if (list->count > 0)
            memcpy(more, list->at, list->count * sizeof *more);
        list->at = more;
        list->room = room;
    }
    list->changed = true;
    return &list->at[list->count++];
}

int member_list_overlay(struct member_list *list, const struct member_list *over, struct err *err)
{
    struct json_members before = { .count = list->count, .at = list->at };
    struct span         rendered;

    if (over->count == 0)
        return 0;
    if (list->count > 16 && over->count > 16) { /* read again, for the index of its keys */
        rendered = member_list_render(list);
        if (rendered.at == NULL)
            return err_set(err, ERR_FULL, "no room in the arena to merge two objects");
        if (json_members_read(rendered, list->arena, &before, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < over->count; i++) {
        const struct json_member *member = &over->at[i];
        const struct json_member *found = json_members_find(&before, member->key);
        struct json_member       *to;
        enum property_key         key;

        if (found != NULL) {
            list->at[found - before.at].value = member->value;
            list->changed = true;
            continue;
        }
        to = member_new(list);
        if (to == NULL)
            return err_set(err, ERR_FULL, "no room in the arena to merge two objects");
        *to = *member;
        key = property_key_find(list->keys, member->key);
        if (key != PROPERTY_KEY_NONE)
            list->slot[key] = (uint32_t)list->count;
    }
    return 0;
}

void member_list_put_value(struct member_list *list, enum property_key key, const struct json_value *value)
{
    struct json_member *member;

    if (list->slot[key] != 0) {
        list->at[list->slot[key] - 1].value = *value;
        list->changed = true;
        return;
    }
    member = member_new(list);
    if (member == NULL)
        return;
    member->key = property_key_texts[key].name;
    member->key_raw = property_key_texts[key].raw;
    member->value = *value;
    list->slot[key] = (uint32_t)list->count;
}

void member_list_put(struct member_list *list, enum property_key key, struct span value)
{
    struct json_value put;

    if (value.at == NULL) {
        list->full = true;
        return;
    }
    put = value_of(value);
    member_list_put_value(list, key, &put);
}

void member_list_remove(struct member_list *list, enum property_key key)
{
    if (list->slot[key] == 0)
        return;
    list->at[list->slot[key] - 1].key_raw.bytes = 0;
    list->slot[key] = 0;
    list->gaps = true;
    list->changed = true;
}

void member_list_remove_at(struct member_list *list, size_t index)
{
    enum property_key key = property_key_find(list->keys, list->at[index].key);

    if (key != PROPERTY_KEY_NONE)
        list->slot[key] = 0;
    list->at[index].key_raw.bytes = 0;
    list->gaps = true;
    list->changed = true;
}

int member_list_close(struct member_list *list, struct err *err)
{
    size_t kept = 0;

    if (list->full)
        return err_set(err, ERR_FULL, "no room in the arena for an event's properties");
    if (!list->gaps)
        return 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].key_raw.bytes > 0)
            list->at[kept++] = list->at[i];
    list->count = kept;
    list->gaps = false;
    memset(list->slot, 0, sizeof list->slot);
    return 0;
}

struct span member_list_render(const struct member_list *list)
{
    size_t   bytes = 2;
    uint8_t *start, *at;

    for (size_t i = 0; i < list->count; i++)
        bytes += list->at[i].key_raw.bytes + list->at[i].value.raw.bytes + 2;
    start = at = arena_alloc(list->arena, bytes);
    if (start == NULL)
        return (struct span){ NULL, 0 };
    *at++ = '{';
    for (size_t i = 0; i < list->count; i++) {
        const struct json_member *member = &list->at[i];

        if (member->key_raw.bytes == 0)
            continue;
        if (at != start + 1)
            *at++ = ',';
        memcpy(at, member->key_raw.at, member->key_raw.bytes);
        at += member->key_raw.bytes;
        *at++ = ':';
        memcpy(at, member->value.raw.at, member->value.raw.bytes);
        at += member->value.raw.bytes;
    }
    *at++ = '}';
    assert((size_t)(at - start) <= bytes);
    return span_of(start, (size_t)(at - start));
}

struct json_value value_of(struct span raw)
{
    struct json_value value = { .kind = JSON_NUMBER, .raw = raw };

    assert(raw.bytes > 0);
    switch (raw.at[0]) {
    case '{': value.kind = JSON_OBJECT; break;
    case '[': value.kind = JSON_ARRAY; break;
    case 't': value.kind = JSON_TRUE; break;
    case 'f': value.kind = JSON_FALSE; break;
    case 'n': value.kind = JSON_NULL; break;
    case '"':
        value.kind = JSON_STRING;
        value.escaped = memchr(raw.at, '\\', raw.bytes) != NULL;
        break;
    default: break;
    }
    return value;
}

bool value_truthy(const struct json_value *value)
{
    if (value == NULL)
        return false;
    switch (value->kind) {
    case JSON_NULL: case JSON_FALSE:
        return false;
    case JSON_STRING:
        return value->raw.bytes > 2;
    case JSON_NUMBER: /* zero in any spelling, also one too small for a double */
        return json_double(value) != 0;
    case JSON_TRUE: case JSON_ARRAY: case JSON_OBJECT:
        return true;
    }
    return true;
}

bool value_as_text(const struct json_value *value, struct arena *arena, struct span *out)
{
    struct span text;

    switch (value->kind) {
    case JSON_STRING:
        text = json_text(value, arena);
        if (text.at == NULL)
            return false;
        *out = text;
        return true;
    case JSON_NUMBER: case JSON_TRUE: case JSON_FALSE:
        *out = value->raw;
        return true;
    case JSON_NULL: case JSON_ARRAY: case JSON_OBJECT:
        return false;
    }
    return false;
}

const char *value_kind_name(const struct json_value *value)
{
    switch (value->kind) {
    case JSON_NULL: return "null";
    case JSON_FALSE: case JSON_TRUE: return "boolean";
    case JSON_NUMBER: return "number";
    case JSON_STRING: return "string";
    case JSON_ARRAY: return "array";
    case JSON_OBJECT: return "object";
    }
    return "unknown";
}

struct span value_quote(struct span text, struct arena *arena)
{
    struct span copy = { NULL, 0 };
    struct buf  buf;
    size_t      plain = 0;
    uint8_t    *to;

    while (plain < text.bytes && text.at[plain] >= ' ' && text.at[plain] != '"' && text.at[plain] != '\\')
        plain++;
    if (plain == text.bytes) {
        to = arena_alloc(arena, plain + 2);
        if (to == NULL)
            return copy;
        to[0] = to[plain + 1] = '"';
        if (plain > 0)
            memcpy(to + 1, text.at, plain);
        return span_of(to, plain + 2);
    }
    buf_init(&buf, 2 + text.bytes * 6);
    json_write_string(&buf, text);
    if (!buf.failed)
        copy = arena_copy(arena, buf_span(&buf));
    buf_fini(&buf);
    return copy;
}
