/* ingest/person_keys.c - what an event says about its person: `$set`, `$set_once`, `$unset`, and the
 * properties that every event tells (browser, campaign, place). */
#include "ingest/normalize_work.h"

#include "wire/time.h"

static const struct json_value *object_or_null(struct work *work, enum property_key key)
{
    const struct json_value *value = member_list_get(&work->properties, key);

    if (value == NULL || value->kind == JSON_NULL)
        return NULL;
    if (value->kind == JSON_OBJECT)
        return value;
    work_warn_type(work, WARNING_PERSON_UPDATE, (const char *)property_key_texts[key].name.at, value);
    return NULL;
}

static int update_read(struct work *work, enum property_key key, const struct json_value *top, struct member_list *list,
                       struct err *err)
{
    const struct json_value *nested = object_or_null(work, key);
    struct member_list       over;

    if (nested != NULL && member_list_read(list, nested->raw, err) < 0)
        return -1;
    if (top->kind != JSON_OBJECT || top->raw.bytes <= 2)
        return 0;
    member_list_init(&over, work->env->keys, work->env->arena);
    if (member_list_read(&over, top->raw, err) < 0)
        return -1;
    return member_list_overlay(list, &over, err);
}

static int unset_push(struct work *work, size_t *room, struct span key, struct err *err)
{
    struct people_event *who = &work->item->who;
    struct span         *keys = (struct span *)who->unset; /* ours until the event is finished */

    if (who->unset_count == *room) {
        size_t more = *room == 0 ? 8 : *room * 2;

        keys = arena_grow(work->env->arena, keys, *room * sizeof *keys, more * sizeof *keys);
        if (keys == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for keys to unset");
        *room = more;
        who->unset = keys;
    }
    if (key.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a key to unset");
    keys[who->unset_count++] = key;
    return 0;
}

/* A list of keys, or an object whose keys count. */
static int unset_read(struct work *work, struct err *err)
{
    const struct json_value *value = member_list_get(&work->properties, KEY_UNSET);
    struct json_reader       reader;
    struct json_value        key;
    size_t                   room = 0;

    if (value == NULL || value->kind == JSON_NULL)
        return 0;
    json_reader_init(&reader, value->raw, 0);
    if (value->kind == JSON_ARRAY && json_array_enter(&reader) == 0) {
        while (json_array_next(&reader) > 0 && json_skip(&reader, &key) == 0)
            if (key.kind == JSON_STRING && unset_push(work, &room, json_text(&key, work->env->arena), err) < 0)
                return -1;
    } else if (value->kind == JSON_OBJECT && json_object_enter(&reader) == 0) {
        struct json_value ignored;

        while (json_object_next(&reader, &key) > 0) {
            struct span text = json_text(&key, work->env->arena);

            if (unset_push(work, &room, text, err) < 0 || json_skip(&reader, &ignored) < 0)
                return -1;
        }
    } else {
        work_warn_type(work, WARNING_PERSON_UPDATE, "$unset", value);
    }
    return 0;
}

/* Whoever is shown a survey is not to be shown the next one at once: the SDKs ask the person for the day. */
static void add_survey(struct work *work)
{
    enum { TIME_BYTES_MAX = 64 };
    uint8_t   *text;
    struct buf time;

    if (!span_equal(work->item->name, SPAN("survey shown")) || work->set.slot[KEY_SURVEY_LAST_SEEN] != 0)
        return;
    text = arena_alloc(work->env->arena, TIME_BYTES_MAX);
    if (text == NULL) {
        work->set.full = true;
        return;
    }
    buf_init_over(&time, text, TIME_BYTES_MAX);
    buf_add_byte(&time, '"');
    time_write_rfc3339(&time, work->item->record.timestamp_us);
    buf_add_byte(&time, '"');
    member_list_put(&work->set, KEY_SURVEY_LAST_SEEN, buf_span(&time));
}

int person_keys_read(struct work *work, struct err *err)
{
    member_list_init(&work->set, work->env->keys, work->env->arena);
    member_list_init(&work->set_once, work->env->keys, work->env->arena);
    if (work->person_keys_off) {
        member_list_remove(&work->properties, KEY_SET);
        member_list_remove(&work->properties, KEY_SET_ONCE);
        member_list_remove(&work->properties, KEY_UNSET);
        return 0;
    }
    if (update_read(work, KEY_SET, &work->set_raw, &work->set, err) < 0 ||
        update_read(work, KEY_SET_ONCE, &work->set_once_raw, &work->set_once, err) < 0)
        return -1;
    add_survey(work);
    return unset_read(work, err);
}

void person_keys_add_place(struct work *work, const struct geoip_place *place)
{
    for (int i = 0; i < KEY_GEOIP_COUNT; i++) {
        bool        known = place->values[i].bytes > 0;
        struct span value = known ? place->values[i] : SPAN("null");

        enum property_key key = (enum property_key)(KEY_GEOIP_FIRST + i), initial = (enum property_key)(KEY_INITIAL_GEOIP_FIRST + i);

        if (known) {
            member_list_put(&work->properties, key, value);
            member_list_tag(&work->properties, key, key);
        }
        if (work->person_keys_off)
            continue;
        member_list_put(&work->set, key, value);
        member_list_put(&work->set_once, initial, value);
        member_list_tag(&work->set, key, key);
        member_list_tag(&work->set_once, initial, key);
    }
}

void person_keys_copy(struct work *work)
{
    struct member_list      *properties = &work->properties;
    const struct json_value *server = member_list_get(properties, KEY_IS_SERVER);
    const struct json_value *os = member_list_get(properties, KEY_OS), *os_name = member_list_get(properties, KEY_OS_NAME);
    bool                     is_server = server != NULL && server->kind == JSON_TRUE;
    bool                     os_alias = os_name != NULL && os_name->kind != JSON_NULL && !is_server;

    if (work->item->kind == EVENT_NO_PERSON_KEYS)
        return;
    if (os_alias && (os == NULL || os->kind == JSON_NULL))
        member_list_put_value(properties, KEY_OS, os_name);
    if (work->person_keys_off)
        return;
    for (int i = 0; i < KEY_PERSON_COUNT; i++) {
        const struct json_value *value = member_list_get(properties, (enum property_key)i);
        enum property_key        initial = (enum property_key)(KEY_INITIAL_FIRST + i);

        if (value == NULL || (i == KEY_OS_NAME && os_alias) || (is_server && (i == KEY_OS || i == KEY_OS_VERSION)))
            continue;
        if (work->set.slot[i] == 0) {
            member_list_put_value(&work->set, (enum property_key)i, value);
            member_list_tag(&work->set, (enum property_key)i, (enum property_key)i);
        }
        if (work->set_once.slot[initial] == 0) {
            member_list_put_value(&work->set_once, initial, value);
            member_list_tag(&work->set_once, initial, (enum property_key)i);
        }
        member_list_tag(properties, (enum property_key)i, (enum property_key)i); /* last: a copy right behind it would wait for it */
    }
    if (os_alias) {
        member_list_remove(&work->set, KEY_OS_NAME);
        member_list_remove(&work->set_once, KEY_INITIAL_OS_NAME);
    }
}

static int update_finish(struct work *work, enum property_key key, struct member_list *list, struct json_members *to,
                         const struct json_members **who, struct err *err)
{
    bool changed = list->changed;

    if (member_list_close(list, err) < 0)
        return -1;
    if (changed) { /* its members are written behind it (render.c) */
        member_list_put(&work->properties, key, SPAN("{}"));
        member_list_tag(&work->properties, key, key);
    }
    *to = (struct json_members){ .count = list->count, .at = list->at };
    *who = list->count > 0 ? to : NULL;
    return 0;
}

int person_keys_finish(struct work *work, struct err *err)
{
    struct item *item = work->item;

    if (work->person_keys_off)
        return 0;
    if (update_finish(work, KEY_SET, &work->set, &item->set, &item->who.set, err) < 0)
        return -1;
    return update_finish(work, KEY_SET_ONCE, &work->set_once, &item->set_once, &item->who.set_once, err);
}
