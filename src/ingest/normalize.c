/* ingest/normalize.c - the rules in their order; each is one function.
 *
 * The order matters and is the contract's: top-level `$set` before anything reads it, drops before work,
 * the person flag before GeoIP (which adds to `$set`), GeoIP before the copy to the person, and `$ip` is
 * taken away last, because GeoIP needs it. */
#include "ingest/normalize_work.h"

#include <assert.h>
#include <stdio.h>

#include "ingest/elements.h"
#include "wire/time.h"
#include "wire/utf8.h"

enum {
    NAME_UNITS_MAX = 200,         /* docs/limits.md */
    DISTINCT_ID_UNITS_MAX = 400,
    WARNED_UNITS_MAX = 100,       /* of a bad distinct id, in its warning */
    WARNED_VALUE_UNITS_MAX = 200, /* of a bad session id */
    SENT_AT_BYTES_MAX = 64        /* a time with zone and quotes is shorter, whatever its year */
};

#define KIND(name, kind) { (const uint8_t *)(name), sizeof(name) - 1, kind }
static const struct { const uint8_t *name; size_t bytes; enum event_kind kind; } event_kinds[] = {
    KIND("$identify", EVENT_IDENTIFY),
    KIND("$create_alias", EVENT_ALIAS),
    KIND("$merge_dangerously", EVENT_MERGE),
    KIND("$set", EVENT_SET),
    KIND("$groupidentify", EVENT_GROUP_IDENTIFY),
    KIND("$exception", EVENT_EXCEPTION),
    KIND("$$heatmap", EVENT_HEATMAP),
    KIND("$$client_ingestion_warning", EVENT_CLIENT_WARNING),
    KIND("$feature_flag_called", EVENT_FLAG_CALLED),
    KIND("$snapshot", EVENT_NO_PERSON_KEYS),
    KIND("$performance_event", EVENT_NO_PERSON_KEYS),
};

static enum event_kind kind_of(struct span name)
{
    if (name.bytes > 0 && name.at[0] == '$')
        for (size_t i = 0; i < sizeof event_kinds / sizeof *event_kinds; i++)
            if (name.bytes == event_kinds[i].bytes && memcmp(name.at, event_kinds[i].name, name.bytes) == 0)
                return event_kinds[i].kind;
    return EVENT_ORDINARY;
}

static bool is_merge(enum event_kind kind)
{
    return kind == EVENT_IDENTIFY || kind == EVENT_ALIAS || kind == EVENT_MERGE;
}

void work_warn_type(struct work *work, enum warning_type type, const char *field, const struct json_value *value)
{
    struct warning *warning = warning_add(&work->item->warnings, type);

    warning_text(warning, "event", work->item->name);
    if (field != NULL)
        warning_text(warning, "field", span_text(field));
    warning_text(warning, "receivedType", span_text(value_kind_name(value)));
}

/* --- reading ----------------------------------------------------------------------------------- */

/* The record, its project. */
static void read_head(const struct normalize_env *env, struct item *item)
{
    struct err err = { 0 };

    if (record_read(item->body, &item->record, &err) < 0) {
        item_bury(item, "read", "unreadable_record", span_text(err.text), env->arena);
        return;
    }
    item->readable = true;
    item->name = utf8_cut_utf16(item->record.event, NAME_UNITS_MAX);
    item->kind = kind_of(item->name);
    item->project = item->record.project != 0 ? catalog_snapshot_project(env->catalog, item->record.project)
                                              : catalog_snapshot_find(env->catalog, item->record.token);
    if (item->record.kind == RECORD_REJECTED)
        item_bury(item, record_rejection_step(item->record.rejection), record_rejection_tag(item->record.rejection),
                  item->record.detail.bytes > 0 ? item->record.detail
                                                : span_text(record_rejection_text(item->record.rejection)),
                  env->arena);
    else if (item->project == NULL)
        item_decide(item, item->record.project == 0 && item->record.token.bytes == 0 ? FATE_NO_TOKEN : FATE_INVALID_TOKEN);
}

/* The value of `properties`; the last one counts. Its members are taken as they are passed: no second walk. */
static int read_properties(struct work *work, struct json_reader *reader, struct err *err)
{
    member_list_init(&work->properties, work->env->keys, work->env->arena);
    if (json_peek(reader) != JSON_OBJECT)
        return json_skip(reader, &work->properties_raw) < 0 ? err_set(err, ERR_INPUT, "properties") : 0;
    work->properties_raw = (struct json_value){ 0 };
    return member_list_take(&work->properties, reader, err);
}

/* -1: the reader is in error, or ERR_FULL. */
static int read_top(struct work *work, struct json_reader *reader, struct err *err)
{
    struct json_value key, value;
    int               more;

    err->kind = ERR_INPUT;
    if (json_object_enter(reader) < 0)
        return -1;
    while ((more = json_object_next(reader, &key)) > 0) {
        if (json_text_is(&key, "properties")) {
            if (read_properties(work, reader, err) < 0)
                return -1;
            continue;
        }
        if (json_skip(reader, &value) < 0)
            return -1;
        if (json_text_is(&key, "$set"))
            work->set_raw = value;
        else if (json_text_is(&key, "$set_once"))
            work->set_once_raw = value;
        else if (json_text_is(&key, "timestamp"))
            work->timestamp = value;
    }
    return more < 0 ? -1 : json_finish(reader);
}

/* Buries the item when one of its parts is neither an object nor null nor absent. */
static bool part_usable(struct work *work, const char *name, const struct json_value *part)
{
    char detail[64];

    if (part->raw.bytes == 0 || part->kind == JSON_OBJECT || part->kind == JSON_NULL)
        return true;
    (void)snprintf(detail, sizeof detail, "%s: an object is needed, not %s", name, value_kind_name(part));
    item_bury(work->item, "parse", "failed_parse_message", span_text(detail), work->env->arena);
    return false;
}

/* The event's JSON into lists of members. May bury the item. */
static int read_data(struct work *work, struct err *err)
{
    struct json_reader reader;
    struct err         why = { 0 };

    json_reader_init(&reader, work->item->record.data, 0);
    member_list_init(&work->properties, work->env->keys, work->env->arena);
    if (read_top(work, &reader, &why) < 0) {
        if (why.kind == ERR_FULL) {
            *err = why;
            return -1;
        }
        json_explain(&reader, &why);
        item_bury(work->item, "parse", "failed_parse_message", span_text(why.text), work->env->arena);
        return 0;
    }
    (void)(part_usable(work, "properties", &work->properties_raw) && part_usable(work, "$set", &work->set_raw) &&
           part_usable(work, "$set_once", &work->set_once_raw));
    return 0;
}

/* --- properties that stand for the request ----------------------------------------------------- */

static struct span sent_at_text(const struct record *record, struct arena *arena)
{
    uint8_t   *text = arena_alloc(arena, SENT_AT_BYTES_MAX);
    struct buf buf;

    if (text == NULL)
        return span_of(NULL, 0);
    buf_init_over(&buf, text, SENT_AT_BYTES_MAX);
    buf_add_byte(&buf, '"');
    time_write_rfc3339_zone(&buf, record->sent_at_us, record->sent_at_zone_min);
    buf_add_byte(&buf, '"');
    assert(!buf.failed);
    return buf_span(&buf);
}

static void add_request(struct work *work)
{
    const struct record *record = &work->item->record;

    if (record->ip.bytes > 0 && !work->cookieless && !value_truthy(member_list_get(&work->properties, KEY_IP)))
        member_list_put(&work->properties, KEY_IP, value_quote(record->ip, work->env->arena));
    if (record->sent_at_us != CLOCK_NONE)
        member_list_put(&work->properties, KEY_SENT_AT, sent_at_text(record, work->env->arena));
}

/* Lower case, so that a session's events join; anything that is no UUID is told. */
static void check_session(struct work *work)
{
    const struct json_value *value = member_list_get(&work->properties, KEY_SESSION_ID);
    struct uuid              uuid;
    struct span              text = SPAN("");
    uint8_t                 *lower;

    if (value == NULL || value->kind == JSON_NULL)
        return;
    if (value->kind == JSON_STRING)
        text = json_text(value, work->env->arena);
    if (text.at == NULL || !uuid_parse_hyphenated(text, &uuid)) {
        struct warning *warning = warning_add(&work->item->warnings, WARNING_SESSION_ID);

        if (value->kind != JSON_STRING)
            text = value->raw;
        warning_text(warning, "sessionId", utf8_cut_utf16(text, WARNED_VALUE_UNITS_MAX));
        return;
    }
    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] >= 'A' && text.at[i] <= 'F') {
            lower = arena_alloc(work->env->arena, UUID_TEXT_BYTES + 2);
            if (lower != NULL) {
                lower[0] = lower[UUID_TEXT_BYTES + 1] = '"';
                uuid_format(&uuid, (char *)lower + 1);
            }
            member_list_put(&work->properties, KEY_SESSION_ID, span_of(lower, UUID_TEXT_BYTES + 2));
            return;
        }
}

/* --- drops ------------------------------------------------------------------------------------- */

static void drop_long_distinct_id(struct work *work)
{
    struct item    *item = work->item;
    struct warning *warning;
    size_t          units;

    if (item->record.distinct_id.bytes <= DISTINCT_ID_UNITS_MAX)
        return;
    units = utf8_count_utf16(item->record.distinct_id);
    if (units <= DISTINCT_ID_UNITS_MAX)
        return;
    item_decide(item, FATE_DISTINCT_ID_TOO_LONG);
    warning = warning_add(&item->warnings, WARNING_DISTINCT_ID);
    warning_text(warning, "distinctId", utf8_cut_utf16(item->record.distinct_id, WARNED_UNITS_MAX));
    warning_number(&item->warnings, warning, "distinctIdLength", (int64_t)units);
    warning_number(&item->warnings, warning, "maxLength", DISTINCT_ID_UNITS_MAX);
}

/* A merge with something that is no text: nobody can have meant it. */
static void drop_bad_merge(struct work *work)
{
    const struct json_value *anon = member_list_get(&work->properties, KEY_ANON_DISTINCT_ID);
    const struct json_value *alias = member_list_get(&work->properties, KEY_ALIAS);

    if (!is_merge(work->item->kind))
        return;
    if (anon != NULL && anon->kind != JSON_NULL && anon->kind != JSON_STRING) {
        item_decide(work->item, FATE_INVALID_ANON_DISTINCT_ID);
        work_warn_type(work, WARNING_ANON_DISTINCT_ID, NULL, anon);
    } else if (alias != NULL && alias->kind != JSON_NULL && alias->kind != JSON_STRING) {
        item_decide(work->item, FATE_INVALID_ALIAS);
        work_warn_type(work, WARNING_ALIAS, NULL, alias);
    }
}

/* --- flags ------------------------------------------------------------------------------------- */

/* `$process_person_profile`, the project's and the request's wish: whether this event may touch a person. */
static void check_person_flag(struct work *work)
{
    struct item             *item = work->item;
    const struct json_value *flag = member_list_get(&work->properties, KEY_PROCESS_PERSON_PROFILE);
    bool                     forced = (item->record.flags & RECORD_PERSON_OFF) != 0 ||
                      (work->restrictions & 1u << CATALOG_SKIP_PERSONS) != 0;
    bool                     personless = forced || item->project->person_processing_off ||
                      (flag != NULL && flag->kind == JSON_FALSE);
    bool                     wants_person;

    if (personless && !forced && is_merge(item->kind)) {
        item_decide(item, FATE_INVALID_EVENT_FOR_FLAGS);
        warning_text(warning_add(&item->warnings, WARNING_MERGE_WITHOUT_PERSON), "event", item->name);
        return;
    }
    if (!personless && flag != NULL && flag->kind != JSON_TRUE) {
        struct warning *warning = warning_add(&item->warnings, WARNING_PERSON_PROFILE);

        warning_text(warning, "event", item->name);
        warning_raw(warning, "$process_person_profile", flag->raw);
        warning_text(warning, "message", SPAN("$process_person_profile is true or false; this value counts as true"));
    }
    wants_person = item->kind == EVENT_FLAG_CALLED && flag_event_wants_person(work);
    if (personless)
        member_list_put(&work->properties, KEY_PROCESS_PERSON_PROFILE, SPAN("false"));
    else
        member_list_remove(&work->properties, KEY_PROCESS_PERSON_PROFILE);
    item->who.if_known = !personless && item->kind == EVENT_FLAG_CALLED && !wants_person;
    work->person_keys_off = personless || item->kind == EVENT_GROUP_IDENTIFY;
    item->who.personless = personless;
    item->who.forced_off = forced;
    item->who.opted_out = item->project->person_processing_off;
}

static bool value_is_false(const struct json_value *value)
{
    return value != NULL && value->kind == JSON_FALSE;
}

/* What the people step is to do. */
static int ask_people(struct work *work, struct err *err)
{
    struct item             *item = work->item;
    struct people_event     *who = &item->who;
    const struct json_value *anon = member_list_get(&work->properties, KEY_ANON_DISTINCT_ID);
    const struct json_value *alias = member_list_get(&work->properties, KEY_ALIAS), *other = NULL;

    who->project = item->project->id;
    who->distinct_id = item->record.distinct_id;
    who->uuid = item->record.uuid;
    who->timestamp_us = item->record.timestamp_us;
    who->accepted_us = item->record.received_us;
    who->person_event = is_merge(item->kind) || item->kind == EVENT_SET;
    who->no_update = item->kind == EVENT_EXCEPTION;
    who->last_seen = item->project->person_last_seen && !value_is_false(member_list_get(&work->properties, KEY_UPDATE_LAST_SEEN));
    if (who->personless)
        return 0;
    if (item->kind == EVENT_IDENTIFY && anon != NULL) {
        who->merge = PEOPLE_MERGE_IDENTIFY;
        other = anon;
    } else if ((item->kind == EVENT_ALIAS || item->kind == EVENT_MERGE) && value_truthy(alias)) {
        who->merge = item->kind == EVENT_ALIAS ? PEOPLE_MERGE_ALIAS : PEOPLE_MERGE_DANGEROUSLY;
        other = alias;
    }
    if (other != NULL) /* null is the text "null", which may not merge: people/ warns */
        who->merge_other = other->kind == JSON_NULL ? SPAN("null") : json_text(other, work->env->arena);
    if (other != NULL && who->merge_other.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for a distinct id");
    return 0;
}

static void add_place(struct work *work)
{
    const struct json_value *ip = member_list_get(&work->properties, KEY_IP);
    struct geoip_place       place;
    struct span              address;

    if (work->env->geoip == NULL || work->item->project->geoip_off || ip == NULL || ip->kind != JSON_STRING ||
        value_truthy(member_list_get(&work->properties, KEY_GEOIP_DISABLE)))
        return;
    address = json_text(ip, work->env->arena);
    if (address.at != NULL && geoip_find(work->env->geoip, address, work->env->arena, &place))
        person_keys_add_place(work, &place);
}

/* --- the end of an event's properties ---------------------------------------------------------- */

static int take_elements(struct work *work, struct err *err)
{
    const struct json_value *chain = member_list_get(&work->properties, KEY_ELEMENTS_CHAIN);
    const struct json_value *elements = member_list_get(&work->properties, KEY_ELEMENTS);
    struct item             *item = work->item;

    item->elements_chain = SPAN("");
    if (value_truthy(chain) && chain->kind == JSON_STRING) {
        item->elements_chain = json_text(chain, work->env->arena);
        if (item->elements_chain.at == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for an elements chain");
    } else if (elements_chain(elements, work->env->arena, &item->elements_chain, err) < 0) {
        return -1;
    }
    member_list_remove(&work->properties, KEY_ELEMENTS_CHAIN);
    member_list_remove(&work->properties, KEY_ELEMENTS);
    return 0;
}

static struct span raw_or_none(const struct member_list *list, enum property_key key)
{
    const struct json_value *value = member_list_get(list, key);

    return value == NULL || value->kind == JSON_NULL ? SPAN("") : value->raw;
}

/* Where the client's own `$group_N` stand: the people step may give them another value. */
static void find_own_groups(struct item *item)
{
    for (size_t i = 0; i < item->properties.count; i++)
        for (int group = 0; group < PEOPLE_GROUP_TYPES_MAX; group++)
            if (span_equal(item->properties.at[i].key, property_key_texts[KEY_GROUP_0 + group].name))
                item->own_group[group] = (uint32_t)i + 1;
}

/* Whoever has a secret token is a server of the project's own: no page can hold it. */
static bool sent_with_secret(const struct work *work)
{
    const struct catalog_token *token;

    if (work->item->project->secret_count == 0)
        return false;
    token = catalog_snapshot_find_token(work->env->catalog, work->item->record.token);
    return token != NULL && token->secret;
}

static int finish(struct work *work, struct err *err)
{
    struct item *item = work->item;
    bool         own = false;

    if (sent_with_secret(work))
        member_list_put(&work->properties, KEY_VERIFIED, SPAN("true"));
    else
        member_list_remove(&work->properties, KEY_VERIFIED);
    member_list_remove(&work->properties, KEY_PRODUCT_TOURS);
    member_list_remove(&work->properties, KEY_PRODUCT_TOURS_ACTIVATED);
    member_list_remove(&work->properties, KEY_OVERRIDE_FLAGS);
    if (item->project->anonymize_ips)
        member_list_remove(&work->properties, KEY_IP);
    if (item->kind == EVENT_FLAG_CALLED)
        flag_event_strip(work);
    item->session_id = raw_or_none(&work->properties, KEY_SESSION_ID);
    item->window_id = raw_or_none(&work->properties, KEY_WINDOW_ID);
    for (int i = 0; i < PEOPLE_GROUP_TYPES_MAX; i++) {
        enum property_key key = (enum property_key)(KEY_GROUP_0 + i);

        own = own || member_list_get(&work->properties, key) != NULL;
        if (item->who.personless)
            member_list_remove(&work->properties, key);
    }
    if (member_list_close(&work->properties, err) < 0)
        return -1;
    item->properties = (struct json_members){ .count = work->properties.count, .at = work->properties.at };
    if (own && !item->who.personless)
        find_own_groups(item);
    return 0;
}

/* --- all of it --------------------------------------------------------------------------------- */

/* The drops by an event's own faults, in the contract's order. */
static int check(struct work *work, struct err *err)
{
    drop_long_distinct_id(work);
    if (item_pending(work->item) && group_keys_check(work, err) < 0)
        return -1;
    if (item_pending(work->item))
        drop_bad_merge(work);
    if (item_pending(work->item) && project_drop(work, err) < 0)
        return -1;
    if (item_pending(work->item) && cookieless_keys_take(work, err) < 0)
        return -1;
    if (item_pending(work->item) && work->item->kind == EVENT_CLIENT_WARNING)
        advice_become(work);
    if (item_pending(work->item) && work->item->kind != EVENT_HEATMAP)
        check_person_flag(work);
    return 0;
}

int normalize_item(const struct normalize_env *env, struct item *item, struct err *err)
{
    struct work work = { .env = env, .item = item };

    item->fate = FATE_PENDING;
    item->warnings.arena = env->arena;
    read_head(env, item);
    if (item_pending(item))
        project_restrict(&work);
    if (!item_pending(item))
        return 0;
    if (read_data(&work, err) < 0)
        return -1;
    if (!item_pending(item))
        return 0;
    advice_give(&work);
    if (check(&work, err) < 0)
        return -1;
    if (!item_pending(item))
        return 0;
    add_request(&work);
    check_session(&work);
    if (heatmap_take(&work, err) < 0)
        return -1;
    if (!item_pending(item) || item->kind == EVENT_HEATMAP)
        return 0;
    if (person_keys_read(&work, err) < 0 || ask_people(&work, err) < 0 || group_keys_read(&work, err) < 0)
        return -1;
    cookieless_keys_strip(&work);
    add_place(&work);
    person_keys_copy(&work);
    if (person_keys_finish(&work, err) < 0 || take_elements(&work, err) < 0)
        return -1;
    return finish(&work, err);
}
