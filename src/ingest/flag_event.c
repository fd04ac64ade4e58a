/* ingest/flag_event.c - `$feature_flag_called`: who asks for a flag is seldom somebody who did something.
 *
 * Servers ask for flags by the million, for ids that nobody will ever see again; a person for each would bury the
 * others. So such an event looks for its person and does not make one, unless it says that it wants to. And since
 * SDKs put everything they know on it, only what tells of the flag and of who asked stays; an answer in text is a
 * variant of an experiment, whose analysis needs all of it. */
#include "ingest/normalize_work.h"

#include <stdlib.h>

/* By length, then by bytes. */
#define KEPT(text) { (const uint8_t *)(text), sizeof(text) - 1 }
static const struct span kept_names[] = {
    KEPT("$ip"), KEPT("$lib"), KEPT("$set"), KEPT("$host"), KEPT("$unset"), KEPT("$device"), KEPT("$groups"),
    KEPT("$group_0"), KEPT("$group_1"), KEPT("$group_2"), KEPT("$group_3"), KEPT("$group_4"), KEPT("$sent_at"),
    KEPT("$user_id"), KEPT("$set_once"), KEPT("$device_id"), KEPT("$insert_id"), KEPT("$window_id"),
    KEPT("$event_type"), KEPT("$session_id"), KEPT("$device_name"), KEPT("$lib_version"), KEPT("$pageview_id"),
    KEPT("$screen_name"), KEPT("$channel_type"), KEPT("$device_model"), KEPT("$feature_flag"),
    KEPT("$is_identified"), KEPT("$feature_flag_id"), KEPT("$start_timestamp"), KEPT("$anon_distinct_id"),
    KEPT("$session_duration"), KEPT("locally_evaluated"), KEPT("$entry_current_url"), KEPT("$feature_flag_error"),
    KEPT("$device_manufacturer"), KEPT("$feature_flag_reason"), KEPT("$active_feature_flags"),
    KEPT("$feature_flag_payload"), KEPT("$feature_flag_version"), KEPT("$used_bootstrap_value"),
    KEPT("$feature_flag_response"), KEPT("$feature_flag_request_id"), KEPT("$feature_flag_evaluated_at"),
    KEPT("$feature_flag_original_payload"), KEPT("$feature_flag_original_response"),
    KEPT("$feature_flag_bootstrapped_payload"), KEPT("$feature_flag_bootstrapped_response"),
    KEPT("$feature_flag_definitions_loaded_at"),
};

static int name_order(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return memcmp(x->at, y->at, x->bytes);
}

static bool name_kept(struct span name, enum property_key key)
{
    if (key < KEY_PERSON_COUNT || (key >= KEY_GEOIP_FIRST && key < KEY_INITIAL_GEOIP_FIRST))
        return key != KEY_GEOIP_CITY_CONFIDENCE;
    return span_starts(name, SPAN("$feature/")) || span_starts(name, SPAN("$initial_")) ||
           span_starts(name, SPAN("$session_entry_")) ||
           bsearch(&name, kept_names, sizeof kept_names / sizeof *kept_names, sizeof *kept_names, name_order) != NULL;
}

void flag_event_strip(struct work *work)
{
    const struct json_value *response = member_list_get(&work->properties, KEY_FLAG_RESPONSE);

    if (response != NULL && response->kind == JSON_STRING)
        return;
    for (size_t i = 0; i < work->properties.count; i++) {
        const struct json_member *member = &work->properties.at[i];

        if (member->key_raw.bytes > 0 && !name_kept(member->key, property_key_find(work->env->keys, member->key)))
            member_list_remove_at(&work->properties, i);
    }
}

static bool has_groups(const struct work *work)
{
    const struct json_value *groups = member_list_get(&work->properties, KEY_GROUPS);
    struct json_reader       reader;
    struct json_value        key;

    if (groups == NULL || groups->kind != JSON_OBJECT)
        return false;
    json_reader_init(&reader, groups->raw, 0);
    return json_object_enter(&reader) == 0 && json_object_next(&reader, &key) > 0;
}

bool flag_event_wants_person(const struct work *work)
{
    const struct json_value *flag = member_list_get(&work->properties, KEY_PROCESS_PERSON_PROFILE);

    return (flag != NULL && flag->kind == JSON_TRUE) || has_groups(work);
}

void flag_event_settle(struct item *item, const struct property_key_table *keys)
{
    size_t kept = 0;

    if (item->result.mode == PEOPLE_FULL)
        return;
    for (size_t i = 0; i < item->properties.count; i++) {
        enum property_key key = property_key_find(keys, item->properties.at[i].key);

        if (key != KEY_SET && key != KEY_SET_ONCE && key != KEY_UNSET && (key < KEY_GROUP_0 || key > KEY_GROUP_4))
            item->properties.at[kept++] = item->properties.at[i];
    }
    item->properties.count = kept;
    item->properties.slots = NULL;
    item->set = item->set_once = (struct json_members){ .count = 0 }; /* nobody's: they define no names (definer.c) */
    memset(item->own_group, 0, sizeof item->own_group);
}
