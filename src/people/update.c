/* people/update.c - what an event's $set_once, $set and $unset do to a person.
 *
 * 1. $set_once: keys that the person lacks (a stored null counts as lacking, unless null is what is set)
 * 2. $set: keys whose stored value is not identical; it wins over 1
 * 3. $unset: keys that the person had before this event, last
 * A page view tells a dozen things about the browser that are different the next minute and matter to nobody
 * as a property of the person. If nothing but such keys (`filtered` below) changed, the person is not written;
 * the event's row shows the new values all the same. Any other change writes them all.
 * Objects and arrays always count as changed: that is what a JavaScript !== of freshly parsed values says,
 * and existing installations rely on the person being written. */
#include <assert.h>
#include <stdlib.h>

#include "people/batch_parts.h"

/* One key that the event would change. */
struct change {
    uint32_t at; /* index of the property; PROPERTY_NEW */
    bool once;
    const struct json_member *member;
};

enum { CHANGES_FIRST = 64 };

/* By length, the shortest first: a key is compared with those of its own length only. Not among them:
 * $geoip_country_name, $geoip_city_name, $initial_*, campaign and app keys. */
#define FILTERED(name) { sizeof(name) - 1, name }
static const struct { uint8_t bytes; char name[40]; } filtered[] = {
    FILTERED("$os"),
    FILTERED("$browser"),
    FILTERED("$os_name"),
    FILTERED("$pathname"),
    FILTERED("$referrer"),
    FILTERED("$os_version"),
    FILTERED("$current_url"),
    FILTERED("$device_type"),
    FILTERED("$screen_width"),
    FILTERED("$screen_height"),
    FILTERED("$geoip_latitude"),
    FILTERED("$raw_user_agent"),
    FILTERED("$viewport_width"),
    FILTERED("$browser_version"),
    FILTERED("$geoip_longitude"),
    FILTERED("$geoip_time_zone"),
    FILTERED("$viewport_height"),
    FILTERED("$referring_domain"),
    FILTERED("$geoip_postal_code"),
    FILTERED("$geoip_accuracy_radius"),
    FILTERED("$geoip_city_confidence"),
    FILTERED("$geoip_country_confidence"),
    FILTERED("$geoip_subdivision_1_code"),
    FILTERED("$geoip_subdivision_1_name"),
    FILTERED("$geoip_subdivision_2_code"),
    FILTERED("$geoip_subdivision_2_name"),
    FILTERED("$geoip_subdivision_3_code"),
    FILTERED("$geoip_subdivision_3_name"),
    FILTERED("$geoip_postal_code_confidence"),
    FILTERED("$geoip_subdivision_1_confidence"),
    FILTERED("$geoip_subdivision_2_confidence"),
};

static bool is_filtered(struct span key)
{
    if (key.bytes < 3 || key.at[0] != '$')
        return false;
    for (size_t i = 0; i < sizeof filtered / sizeof *filtered && filtered[i].bytes <= key.bytes; i++)
        if (filtered[i].bytes == key.bytes && memcmp(filtered[i].name, key.at, key.bytes) == 0)
            return true;
    return false;
}

/* --- what would change ------------------------------------------------------------------------- */

static int changes_room(struct people_batch *batch, const struct people_event *event, struct err *err)
{
    size_t needed =
        (event->set != NULL ? event->set->count : 0) + (event->set_once != NULL ? event->set_once->count : 0);
    size_t room = batch->changes_max == 0 ? CHANGES_FIRST : batch->changes_max;

    if (needed <= batch->changes_max)
        return 0;
    while (room < needed)
        room *= 2;
    batch->changes = arena_alloc_array(batch->arena, room, sizeof *batch->changes);
    if (batch->changes == NULL)
        return err_set(err, ERR_FULL, "people: the properties of an event do not fit the batch's arena");
    batch->changes_max = room;
    return 0;
}

/* Whether $set changes this key of which `stored` is known (NULL: the person lacks it). */
static bool set_changes(struct people_batch *batch, const struct json_members *set, struct span key,
                        const struct property *stored)
{
    const struct json_member *member = set == NULL ? NULL : json_members_find(set, key);

    return member != NULL && (stored == NULL || !properties_identical(&stored->value, &member->value, batch->event_arena));
}

static struct change change_of(const struct properties *properties, const struct property *stored, bool once,
                               const struct json_member *member)
{
    return (struct change){ stored == NULL ? PROPERTY_NEW : (uint32_t)(stored - properties->at), once, member };
}

static size_t changes_of_set_once(struct people_batch *batch, const struct people_event *event,
                                  struct properties *properties)
{
    size_t count = 0;

    properties->near = 0;
    for (size_t i = 0; event->set_once != NULL && i < event->set_once->count; i++) {
        const struct json_member *member = &event->set_once->at[i];
        const struct property *stored = properties_find_near(properties, member->key);

        if (stored != NULL && (stored->value.kind != JSON_NULL || member->value.kind == JSON_NULL))
            continue;
        if (set_changes(batch, event->set, member->key, stored))
            continue;
        batch->changes[count++] = change_of(properties, stored, true, member);
    }
    return count;
}

/* Adds to the `count` changes that are there; gives the sum. */
static size_t changes_of_set(struct people_batch *batch, const struct people_event *event,
                             struct properties *properties, size_t count)
{
    for (size_t i = 0; event->set != NULL && i < event->set->count; i++) {
        const struct json_member *member = &event->set->at[i];
        const struct property *stored = properties_find_near(properties, member->key);

        if (stored == NULL || !properties_identical(&stored->value, &member->value, batch->event_arena))
            batch->changes[count++] = change_of(properties, stored, false, member);
    }
    return count;
}

/* Whether $set_once puts something over a stored null. */
static bool overwrites_null(const struct change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].once && changes[i].at != PROPERTY_NEW)
            return true;
    return false;
}

/* Marks the properties that $unset removes as gone; gives how many. */
static size_t mark_unset(const struct people_event *event, struct properties *properties)
{
    size_t count = 0;

    for (size_t i = 0; i < event->unset_count; i++) {
        struct property *stored = properties_find(properties, event->unset[i], properties_hash(event->unset[i]));

        if (stored == NULL || stored->gone)
            continue;
        stored->gone = true;
        count++;
    }
    return count;
}

static void unmark_unset(const struct properties *properties)
{
    for (size_t i = 0; i < properties->count; i++)
        properties->at[i].gone = false;
}

/* --- what is written --------------------------------------------------------------------------- */

static bool is_worth_writing(const struct people_event *event, const struct change *changes, size_t count, size_t unset)
{
    if (unset > 0 || (event->person_event && count > 0))
        return true;
    for (size_t i = 0; i < count; i++)
        if (changes[i].at == PROPERTY_NEW || changes[i].once || !is_filtered(changes[i].member->key))
            return true;
    return false;
}

/* The size of the text after the changes, and before what $unset removes is gone. */
static size_t bytes_after(const struct properties *properties, const struct change *changes, size_t count)
{
    size_t bytes = properties->bytes;

    for (size_t i = 0; i < count; i++) {
        const struct json_member *member = changes[i].member;

        if (changes[i].at == PROPERTY_NEW)
            bytes += properties_member_bytes(member->key_raw, member->value.raw);
        else
            bytes += member->value.raw.bytes - properties->at[changes[i].at].value.raw.bytes;
    }
    return bytes;
}

static size_t bytes_unset(const struct properties *properties, const struct change *changes, size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < properties->count; i++)
        if (properties->at[i].gone)
            bytes += properties_member_bytes(properties->at[i].key_raw, properties->at[i].value.raw);
    for (size_t i = 0; i < count; i++) /* set and unset at once: goes with its new value */
        if (changes[i].at != PROPERTY_NEW && properties->at[changes[i].at].gone)
            bytes += changes[i].member->value.raw.bytes - properties->at[changes[i].at].value.raw.bytes;
    return bytes;
}

static bool is_too_large(const struct properties *properties, const struct change *changes, size_t count, size_t unset)
{
    size_t bytes = bytes_after(properties, changes, count);

    if (unset > 0)
        bytes -= bytes_unset(properties, changes, count);
    return bytes > PEOPLE_PERSON_PROPERTIES_BYTES_MAX;
}

static int changes_write(struct people_batch *batch, struct batch_person *person, size_t count, size_t unset,
                         struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct change *change = &batch->changes[i];

        if (change->at != PROPERTY_NEW)
            properties_replace(&person->properties, &person->properties.at[change->at], &change->member->value);
        else if (properties_add(&person->properties, change->member, properties_hash(change->member->key),
                                batch->event_arena, err) < 0)
            return -1;
    }
    if (unset > 0)
        properties_sweep(&person->properties);
    batch_person_touch(batch, person);
    return 0;
}

/* --- what the event's row shows ---------------------------------------------------------------- */

/* The person's properties with the event's $set over them. */
static int result_text(struct people_batch *batch, struct batch_person *person, size_t count,
                       struct people_result *result, struct err *err)
{
    struct property_over *over;
    size_t shown = 0;

    over = arena_alloc_array(batch->event_arena, count, sizeof *over);
    if (over == NULL)
        return err_set(err, ERR_FULL, "people: the properties of an event do not fit the batch's arena");
    for (size_t i = 0; i < count; i++)
        if (!batch->changes[i].once)
            over[shown++] = (struct property_over){ batch->changes[i].at, batch->changes[i].member };
    if (shown == 0)
        return properties_pack(&person->properties, batch->arena, &result->properties, err);
    return properties_pack_with(&person->properties, over, shown, batch->event_arena, &result->properties, err);
}

int batch_properties_update(struct people_batch *batch, const struct people_event *event, struct batch_person *person,
                            bool created, struct people_result *result, struct err *err)
{
    size_t count = 0, unset = 0, trimmed = 0;
    bool write, nulls, over = false;

    if (batch_person_open(batch, person, err) < 0 || changes_room(batch, event, err) < 0)
        return -1;
    if (!created && !event->no_update) {
        count = changes_of_set_once(batch, event, &person->properties);
        unset = mark_unset(event, &person->properties);
    }
    nulls = overwrites_null(batch->changes, count);
    count = changes_of_set(batch, event, &person->properties, count);
    write = !created && !event->no_update && is_worth_writing(event, batch->changes, count, unset);
    if (write && is_too_large(&person->properties, batch->changes, count, unset)) {
        batch_warn(result, PEOPLE_WARN_PROPERTIES_SIZE, event, person, NULL);
        over = person->properties.bytes > PEOPLE_PERSON_PROPERTIES_BYTES_MAX; /* was so before: trim.c */
        write = over;
        if (!write)
            unmark_unset(&person->properties);
    }
    if (write) {
        if (changes_write(batch, person, count, unset, err) < 0)
            return -1;
        if (over && properties_trim(&person->properties, event->set, event->set_once, false, batch->event_arena,
                                    &trimmed, err) < 0)
            return -1;
        if (over)
            result->warnings[result->warning_count - 1].trimmed = trimmed;
        /* Only what was unset at once, or set once over a null, or trimmed, can still differ from $set. */
        count = unset > 0 || nulls || over ? changes_of_set(batch, event, &person->properties, 0) : 0;
    }
    return result_text(batch, person, count, result, err);
}

/* $set_once under $set under the mark of who made it. What is too large is left out whole: the person is
 * needed, its properties were refused. */
int batch_properties_create(struct people_batch *batch, const struct people_event *event, struct batch_person *person,
                            struct people_result *result, struct err *err)
{
    static const struct span creator_key = { (const uint8_t *)"$creator_event_uuid", 19 };
    static const struct span creator_key_raw = { (const uint8_t *)"\"$creator_event_uuid\"", 21 };
    struct json_member creator = { creator_key, creator_key_raw, { .kind = JSON_STRING } };
    struct properties *properties = &person->properties;
    struct property *there = NULL;
    char *text = arena_alloc(batch->event_arena, UUID_TEXT_BYTES + 2);
    size_t count;

    if (text == NULL)
        return err_set(err, ERR_FULL, "people: one more person does not fit the batch's arena");
    text[0] = text[UUID_TEXT_BYTES + 1] = '"';
    uuid_format(&event->uuid, text + 1);
    creator.value.raw = span_of(text, UUID_TEXT_BYTES + 2);
    if (batch_person_open(batch, person, err) < 0 || changes_room(batch, event, err) < 0)
        return -1;
    /* All keys differ, so none needs to be looked for and no index is made before somebody asks. */
    count = changes_of_set_once(batch, event, properties);
    count = changes_of_set(batch, event, properties, count);
    if (bytes_after(properties, batch->changes, count) + properties_member_bytes(creator.key_raw, creator.value.raw) >
        PEOPLE_PERSON_PROPERTIES_BYTES_MAX) {
        batch_warn(result, PEOPLE_WARN_PROPERTIES_SIZE, event, person, NULL);
        count = 0;
    }
    for (size_t i = 0; i < count; i++)
        if (properties_add(properties, batch->changes[i].member, 0, batch->event_arena, err) < 0)
            return -1;
    for (size_t i = 0; i < properties->count && there == NULL; i++)
        if (span_equal(properties->at[i].key, creator_key))
            there = &properties->at[i];
    if (there != NULL)
        properties_replace(properties, there, &creator.value);
    else if (properties_add(properties, &creator, 0, batch->event_arena, err) < 0)
        return -1;
    return 0;
}
