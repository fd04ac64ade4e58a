/* people/merge.c - who an event belongs to: identify, alias, merge.
 *
 *   other id has   target id   what happens                                              whose uuid stays
 *   nobody         nobody      one new person with both ids, identified                  the target id's
 *   a person       nobody      the target id joins the other's person                    the other's
 *   nobody         a person    the other id joins the target's person                    the target's
 *   the same person            nothing moves                                             its
 *   a person       a person    the other's person is merged into the target's            the target's
 *                              but not when the other's is identified and the event is
 *                              $identify or $create_alias: refused, with a warning       both
 * Whoever remains is identified, also after a refusal. Whether the target was identified never matters.
 *
 * An id that joins a person gets version 1 at once, without asking whether events were stored under it
 * before: a row too many in the overrides is cheaper than a look-up and a row for every personless id.
 * A survivor's version is above both: should the merged person be split off again, its new rows must beat
 * the one that said it was deleted. */
#include <assert.h>

#include "people/batch_parts.h"

#define JOINS_US ((int64_t)3600 * 1000000)

/* Makes an id lead to a person that it did not belong to, with version `least` when it is new. A tombstone's version is
 * passed (P3); that of an id which was erased is kept under the uuid that is made of it. */
static int batch_link_join(struct people_batch *batch, struct batch_link *link, struct batch_person *person,
                           uint64_t least, struct err *err)
{
    struct uuid uuid = people_person_uuid(link->project, link->distinct_id);
    uint64_t version = link->version + 1;

    if (!link->known && people_person_version(batch->txn, link->project, &uuid, &version, err) < 0)
        return -1;
    batch_link_set(batch, link, person, version > least ? version : least);
    return 0;
}

static void batch_identify(struct people_batch *batch, struct batch_person *person)
{
    if (person->person.identified)
        return;
    person->person.identified = true;
    batch_person_touch(batch, person);
}

int batch_create(struct people_batch *batch, const struct people_event *event, struct batch_link *link,
                 struct batch_person **person_out, struct people_result *result, struct err *err)
{
    struct batch_person *person = batch_person_new(
        batch, event->project, people_person_uuid(event->project, event->distinct_id), event->timestamp_us, err);

    if (person == NULL || batch_properties_create(batch, event, person, result, err) < 0)
        return -1;
    /* Its uuid is made of this id: the person's version is above that of the id, should it have been erased. */
    batch_link_set(batch, link, person, link->known ? link->version + 1 : person->person.version);
    *person_out = person;
    return 0;
}

static void move_links(struct people_batch *batch, struct batch_person *from, struct batch_person *to)
{
    while (from->links != NULL) {
        struct batch_link *link = from->links;

        from->links = link->of_person;
        link->person = to;
        link->of_person = to->links;
        to->links = link;
        link->version++;
        batch_link_dirty(batch, link);
    }
    to->link_count += from->link_count;
    from->link_count = 0;
}

/* What the target does not have comes from the source, as far as it fits. */
static int merge_properties(struct people_batch *batch, const struct people_event *event, struct batch_person *source,
                            struct batch_person *target, struct people_result *result, struct err *err)
{
    if (batch_person_open(batch, source, err) < 0 || batch_person_open(batch, target, err) < 0)
        return -1;
    for (size_t i = 0; i < source->properties.count; i++) {
        const struct property *from = &source->properties.at[i];
        struct json_member member = { from->key, from->key_raw, from->value };

        uint64_t hash = properties_hash(from->key);

        if (properties_find(&target->properties, from->key, hash) != NULL)
            continue;
        if (target->properties.bytes + properties_member_bytes(from->key_raw, from->value.raw) >
            PEOPLE_PERSON_PROPERTIES_BYTES_MAX) {
            batch_warn(result, PEOPLE_WARN_PROPERTIES_SIZE, event, target, source);
            continue;
        }
        if (properties_add(&target->properties, &member, hash, batch->event_arena, err) < 0)
            return -1;
    }
    return 0;
}

static int merge_persons(struct people_batch *batch, const struct people_event *event, struct batch_person *source,
                         struct batch_person *target, struct people_result *result, struct err *err)
{
    struct person *from = &source->person, *to = &target->person;
    uint64_t ids = 0;

    /* What is more than move_at_once comes by a note, and is counted here when that matters (check_ids). */
    if (batch_person_read_links(batch, source, err) < 0 ||
        (batch->limits.merge_ids_max > 0 &&
         batch_person_count_links(batch, source, batch->limits.merge_ids_max, &ids, err) < 0))
        return -1;
    if (merge_properties(batch, event, source, target, result, err) < 0)
        return -1;
    if (ids > 0)
        target->links_owed += ids - source->link_count;
    move_links(batch, source, target);
    source->merged_into = target;
    to->version = (from->version > to->version ? from->version : to->version) + 1;
    target->stepped = true;
    batch_person_dirty(batch, target);
    to->identified = true;
    if (from->created_us < to->created_us)
        to->created_us = from->created_us;
    if (from->last_seen_us != CLOCK_NONE && (to->last_seen_us == CLOCK_NONE || from->last_seen_us > to->last_seen_us))
        to->last_seen_us = from->last_seen_us;
    source->deleted = true;
    batch_person_dirty(batch, source);
    return 0;
}

/* Whether the event may merge so many ids; when not, it is to be set aside and nothing has happened. */
static int check_ids(struct people_batch *batch, struct batch_person *source, struct people_result *result,
                     struct err *err)
{
    uint64_t ids;

    if (batch->limits.merge_ids_max == 0)
        return 0;
    if (batch_person_count_links(batch, source, batch->limits.merge_ids_max, &ids, err) < 0)
        return -1;
    result->merge_too_large = ids > batch->limits.merge_ids_max;
    return 0;
}

/* Counts one more that joins person, unless there were too many in this hour: then a warning, and false. An id that
 * a program gives to all of its users makes them one person, and nothing parts them again. */
static int join_allowed(struct people_batch *batch, const struct people_event *event, struct batch_person *person,
                        struct people_result *result, bool *out, struct err *err)
{
    uint32_t hour = (uint32_t)(event->accepted_us / JOINS_US);

    *out = true;
    if (batch->limits.joins_per_hour_max == 0)
        return 0;
    if (person->joins == 0 || hour > person->joins_hour) {
        bool listed = person->joins > 0;

        person->joins = 0;
        if (person->person.id != 0 && people_joins_get(batch->txn, hour, person->person.id, &person->joins, err) < 0)
            return -1;
        person->joins_hour = hour;
        if (!listed) {
            person->next_joined = batch->joined;
            batch->joined = person;
        }
    }
    *out = person->joins < batch->limits.joins_per_hour_max;
    if (*out)
        person->joins++;
    else
        batch_warn(result, PEOPLE_WARN_TOO_MANY_JOINS, event, person, NULL);
    return 0;
}

static int merge_decide(struct people_batch *batch, const struct people_event *event, struct batch_link *source,
                        struct batch_link *target, struct batch_person **person_out, bool *created_out,
                        struct people_result *result, struct err *err)
{
    bool refused = false, allowed = true;

    if (source->person == NULL && target->person == NULL) {
        if (batch_create(batch, event, target, person_out, result, err) < 0)
            return -1;
        (*person_out)->person.identified = true;
        if (batch_link_join(batch, source, *person_out, 1, err) < 0)
            return -1;
        *created_out = true;
        return 0;
    }
    if (source->person == target->person) {
        batch_identify(batch, target->person);
        *person_out = target->person;
        return 0;
    }
    if (source->person != NULL && target->person != NULL) {
        refused = source->person->person.identified && event->merge != PEOPLE_MERGE_DANGEROUSLY;
        if (refused)
            batch_warn(result, PEOPLE_WARN_ALREADY_IDENTIFIED, event, target->person, source->person);
        else if (check_ids(batch, source->person, result, err) < 0)
            return -1;
    }
    if (result->merge_too_large)
        return 0;
    if (!refused && join_allowed(batch, event, target->person == NULL ? source->person : target->person, result,
                                 &allowed, err) < 0)
        return -1;
    if (!allowed)
        return 0; /* as if it asked for no merge */
    if (target->person == NULL) {
        if (batch_link_join(batch, target, source->person, 1, err) < 0)
            return -1;
    } else if (source->person == NULL) {
        if (batch_link_join(batch, source, target->person, 1, err) < 0)
            return -1;
    } else if (!refused && merge_persons(batch, event, source->person, target->person, result, err) < 0) {
        return -1;
    }
    batch_identify(batch, target->person);
    *person_out = target->person;
    return 0;
}

int batch_merge(struct people_batch *batch, const struct people_event *event, struct batch_link *target,
                struct batch_person **person_out, bool *created_out, struct people_result *result, struct err *err)
{
    struct batch_link *source;

    if (span_equal(event->merge_other, event->distinct_id))
        return 0; /* not even identified */
    if (people_id_is_illegal(event->distinct_id) || people_id_is_illegal(event->merge_other)) {
        batch_warn(result, PEOPLE_WARN_ILLEGAL_ID, event, NULL, NULL);
        return 0;
    }
    source = batch_link_get(batch, event->project, event->merge_other, err);
    if (source == NULL)
        return -1;
    return merge_decide(batch, event, source, target, person_out, created_out, result, err);
}
