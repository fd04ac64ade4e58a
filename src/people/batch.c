/* people/batch.c - one batch of events: what was read, what was changed, and its way back to the store.
 *
 * Why a cache and not the store itself: an event costs a look-up in a small table instead of a walk down two
 * trees, a person is taken apart once however many events it has, and only the last of its states is written.
 * Why versions rise once a batch: rows of one person must rise, but a row for each event would be told to nobody.
 * What filtered keys change (update.c) is shown on the event and then forgotten: were it kept until the end of
 * the batch, the persons would depend on how events were cut into batches. */
#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "people/batch_parts.h"
#include "wire/json_keys.h"

enum { INDEX_FIRST = 256 };
#define PERSONLESS_CREATED_US  ((int64_t)5 * 1000000) /* 1970-01-01 00:00:05: "no person" in upstream's tables */
#define FORCE_UPGRADE_AFTER_US ((int64_t)60 * 1000000)
#define LAST_SEEN_STEP_US      ((int64_t)3600 * 1000000)

/* --- the index --------------------------------------------------------------------------------- */

uint64_t batch_hash(uint64_t head, struct span text)
{
    return XXH3_64bits_withSeed(text.at, text.bytes, json_keys_seed() ^ head * 0x9e3779b97f4a7c15u);
}

void batch_index_init(struct batch_index *index)
{
    *index = (struct batch_index){ 0 };
}

void *batch_index_find(const struct batch_index *index, uint64_t hash, size_t *at)
{
    if (index->slots == NULL)
        return NULL;
    while (index->slots[(hash + *at) & index->slot_mask] != NULL) {
        size_t slot = (hash + (*at)++) & index->slot_mask;

        if (index->hashes[slot] == hash)
            return index->slots[slot];
    }
    return NULL;
}

static void index_put(struct batch_index *index, uint64_t hash, void *entry)
{
    size_t slot = hash & index->slot_mask;

    while (index->slots[slot] != NULL)
        slot = (slot + 1) & index->slot_mask;
    index->slots[slot] = entry;
    index->hashes[slot] = hash;
}

static int index_grow(struct batch_index *index, struct arena *arena, struct err *err)
{
    struct batch_index larger = { .count = index->count };
    size_t slots = index->slots == NULL ? INDEX_FIRST : 4 * (index->slot_mask + 1);

    larger.slots = arena_alloc_zero(arena, slots * sizeof *larger.slots);
    larger.hashes = arena_alloc_array(arena, slots, sizeof *larger.hashes);
    if (larger.slots == NULL || larger.hashes == NULL)
        return err_set(err, ERR_FULL, "people: %zu persons and ids do not fit the batch's arena", index->count);
    larger.slot_mask = slots - 1;
    for (size_t i = 0; index->slots != NULL && i <= index->slot_mask; i++)
        if (index->slots[i] != NULL)
            index_put(&larger, index->hashes[i], index->slots[i]);
    *index = larger;
    return 0;
}

int batch_index_add(struct batch_index *index, uint64_t hash, void *entry, struct arena *arena, struct err *err)
{
    if ((index->slots == NULL || 2 * (index->count + 1) > index->slot_mask) && index_grow(index, arena, err) < 0)
        return -1;
    index_put(index, hash, entry);
    index->count++;
    return 0;
}

/* --- persons ----------------------------------------------------------------------------------- */

static struct batch_person *batch_person_add(struct people_batch *batch, struct err *err)
{
    struct batch_person *person = arena_alloc_zero(batch->arena, sizeof *person);

    if (person == NULL) {
        (void)err_set(err, ERR_FULL, "people: one more person does not fit the batch's arena");
        return NULL;
    }
    return person;
}

struct batch_person *batch_person_new(struct people_batch *batch, uint32_t project, struct uuid uuid,
                                      int64_t created_us, struct err *err)
{
    struct batch_person *person = batch_person_add(batch, err);

    if (person == NULL)
        return NULL;
    person->person =
        (struct person){ .project = project, .uuid = uuid, .created_us = created_us, .last_seen_us = CLOCK_NONE };
    person->packed = SPAN("{}");
    person->links_read = true;
    batch_person_dirty(batch, person);
    if (people_person_version(batch->txn, project, &uuid, &person->person.version, err) < 0)
        return NULL;
    return person;
}

/* Persons of the store are here once, whichever of their ids led to them. 1; 0: there is none; -1. */
static int batch_person_read(struct people_batch *batch, uint64_t id, struct batch_person **out, struct err *err)
{
    uint64_t hash = XXH3_64bits(&id, sizeof id);
    struct batch_person *person;
    struct person stored;
    size_t at = 0;
    int got;

    while ((*out = person = batch_index_find(&batch->persons_by_id, hash, &at)) != NULL)
        if (person->person.id == id)
            return 1;
    got = people_person_get(batch->txn, id, &stored, err);
    if (got <= 0)
        return got;
    *out = person = batch_person_add(batch, err);
    if (person == NULL)
        return -1;
    person->person = stored;
    person->packed = stored.lasting ? stored.properties : arena_copy(batch->arena, stored.properties);
    if (person->packed.at == NULL)
        return err_set(err, ERR_FULL, "people: a person of %zu bytes does not fit the batch's arena", stored.properties.bytes);
    return batch_index_add(&batch->persons_by_id, hash, person, batch->arena, err) < 0 ? -1 : 1;
}

/* Whose a stored id is; NULL: nobody's. *moved_out: the store says another one, who was merged away. */
static int batch_owner_read(struct people_batch *batch, uint64_t id, struct batch_person **out, bool *moved_out, struct err *err)
{
    uint64_t heir;
    int got = batch_person_read(batch, id, out, err);

    *moved_out = false;
    if (got != 0)
        return got < 0 ? -1 : 0;
    got = people_person_heir(batch->txn, id, &heir, err);
    if (got == 1)
        got = batch_person_read(batch, heir, out, err);
    *moved_out = got == 1;
    return got < 0 ? -1 : 0;
}

int batch_person_open(struct people_batch *batch, struct batch_person *person, struct err *err)
{
    if (person->opened == batch->stretch)
        return 0;
    if (properties_read(&person->properties, person->packed, batch->event_arena, err) < 0)
        return -1;
    person->opened = batch->stretch;
    person->next_open = batch->open_persons;
    batch->open_persons = person;
    return 0;
}

int people_batch_events_done(struct people_batch *batch, struct err *err)
{
    for (struct batch_person *person = batch->open_persons; person != NULL; person = person->next_open)
        if (!person->deleted && properties_pack(&person->properties, batch->arena, &person->packed, err) < 0)
            return -1;
    batch->open_persons = NULL;
    batch->stretch++;
    return 0;
}

int batch_member_keep(struct people_batch *batch, const struct json_member *member, struct json_member *out,
                      struct err *err)
{
    size_t key_bytes = member->key_raw.bytes;
    uint8_t *at = arena_alloc(batch->arena, key_bytes + 1 + member->value.raw.bytes);

    if (at == NULL)
        return err_set(err, ERR_FULL, "people: a property does not fit the batch's arena");
    memcpy(at, member->key_raw.at, key_bytes);
    at[key_bytes] = ':';
    memcpy(at + key_bytes + 1, member->value.raw.at, member->value.raw.bytes);
    *out = *member;
    out->key_raw.at = at;
    out->value.raw.at = at + key_bytes + 1;
    if (member->key.bytes + 2 == key_bytes) /* an escape is longer than what it stands for: there is none */
        out->key.at = at + 1;
    else
        out->key = arena_copy(batch->arena, member->key);
    if (out->key.at == NULL)
        return err_set(err, ERR_FULL, "people: a property does not fit the batch's arena");
    return 0;
}

void batch_person_dirty(struct people_batch *batch, struct batch_person *person)
{
    if (person->dirty)
        return;
    person->dirty = true;
    *batch->dirty_persons_end = person;
    batch->dirty_persons_end = &person->next_dirty;
    batch->dirty_person_count++;
}

void batch_person_touch(struct people_batch *batch, struct batch_person *person)
{
    if (!person->stepped)
        person->person.version++;
    person->stepped = true;
    batch_person_dirty(batch, person);
}

/* --- distinct ids ------------------------------------------------------------------------------ */

static void link_enter(struct batch_link *link, struct batch_person *person)
{
    person->link_count++;
    link->person = person;
    link->of_person = person->links;
    person->links = link;
}

static struct batch_link *batch_link_find(const struct people_batch *batch, uint64_t hash, uint32_t project,
                                          struct span distinct_id)
{
    struct batch_link *link;
    size_t at = 0;

    while ((link = batch_index_find(&batch->links_by_id, hash, &at)) != NULL)
        if (link->project == project && span_equal(link->distinct_id, distinct_id))
            return link;
    return NULL;
}

static struct batch_link *batch_link_add(struct people_batch *batch, uint64_t hash, uint32_t project,
                                         struct span distinct_id, struct err *err)
{
    struct batch_link *link = arena_alloc(batch->arena, sizeof *link + distinct_id.bytes);

    if (link == NULL) {
        (void)err_set(err, ERR_FULL, "people: one more distinct id does not fit the batch's arena");
        return NULL;
    }
    *link = (struct batch_link){ .hash = hash, .project = project, .order = batch->link_count++ };
    link->distinct_id = span_of(link + 1, distinct_id.bytes);
    if (distinct_id.bytes > 0)
        memcpy(link + 1, distinct_id.at, distinct_id.bytes);
    if (batch_index_add(&batch->links_by_id, hash, link, batch->arena, err) < 0)
        return NULL;
    return link;
}

struct batch_link *batch_link_get(struct people_batch *batch, uint32_t project, struct span distinct_id,
                                  struct err *err)
{
    uint64_t hash = batch_hash(project, distinct_id);
    struct batch_link *link = batch_link_find(batch, hash, project, distinct_id);
    struct batch_person *person = NULL;
    struct person_link stored;
    bool moved = false;
    int got;

    if (link != NULL)
        return link;
    got = people_link_get(batch->txn, project, distinct_id, &stored, err);
    if (got < 0 || (got == 1 && stored.person != 0 && batch_owner_read(batch, stored.person, &person, &moved, err) < 0))
        return NULL;
    link = batch_link_add(batch, hash, project, distinct_id, err);
    if (link == NULL)
        return NULL;
    link->known = got == 1;
    link->version = got == 1 ? stored.version : 0;
    if (person != NULL) {
        uint64_t steps;

        person = batch_person_survivor(person, &steps); /* merged in this batch, with too many ids to be here all */
        link->version += steps + moved;
        link_enter(link, person);
        if (steps > 0 || moved)
            batch_link_dirty(batch, link);
    }
    return link;
}

void batch_link_dirty(struct people_batch *batch, struct batch_link *link)
{
    if (link->dirty)
        return;
    link->dirty = true;
    link->next_dirty = batch->dirty_links;
    batch->dirty_links = link;
    batch->dirty_link_count++;
}

void batch_link_set(struct people_batch *batch, struct batch_link *link, struct batch_person *person, uint64_t version)
{
    assert(link->person == NULL); /* M1 */
    assert(!link->known || version > link->version);
    link_enter(link, person);
    link->version = version;
    link->known = true;
    batch_link_dirty(batch, link);
}

struct batch_person *batch_person_survivor(struct batch_person *person, uint64_t *steps_out)
{
    for (*steps_out = 0; person->merged_into != NULL; ++*steps_out)
        person = person->merged_into;
    return person;
}

struct links_counting {
    struct people_batch *batch;
    uint32_t project;
    uint64_t count, max;
};

enum { SEEN_ENOUGH = -2 };

static int stored_link_counted(void *ctx, struct span distinct_id, const struct person_link *stored, struct err *err)
{
    struct links_counting *counting = ctx;
    uint64_t hash = batch_hash(counting->project, distinct_id);

    (void)stored, (void)err;
    if (batch_link_find(counting->batch, hash, counting->project, distinct_id) == NULL)
        counting->count++;
    return counting->count > counting->max ? SEEN_ENOUGH : 0;
}

int batch_person_count_links(struct people_batch *batch, struct batch_person *person, uint64_t max, uint64_t *out,
                             struct err *err)
{
    struct links_counting counting = { batch, person->person.project, person->link_count + person->links_owed, max };

    if (!person->links_read && counting.count <= max &&
        people_person_links(batch->txn, person->person.id, stored_link_counted, &counting, err) == -1)
        return -1;
    *out = counting.count;
    return 0;
}

struct links_reading {
    struct people_batch *batch;
    struct batch_person *person;
    size_t left;
};

/* An id that is here already may have gone to another person since it was stored. */
static int stored_link_seen(void *ctx, struct span distinct_id, const struct person_link *stored, struct err *err)
{
    struct links_reading *reading = ctx;
    struct people_batch *batch = reading->batch;
    uint32_t project = reading->person->person.project;
    uint64_t hash = batch_hash(project, distinct_id);
    struct batch_link *link;

    if (batch_link_find(batch, hash, project, distinct_id) != NULL)
        return 0;
    if (reading->left == 0)
        return SEEN_ENOUGH;
    reading->left--;
    link = batch_link_add(batch, hash, project, distinct_id, err);
    if (link == NULL)
        return -1;
    link->known = true;
    link->version = stored->version;
    link_enter(link, reading->person);
    return 0;
}

int batch_person_read_links(struct people_batch *batch, struct batch_person *person, struct err *err)
{
    struct links_reading reading = { batch, person, batch->limits.move_at_once };
    int rc;

    if (person->links_read)
        return 0;
    rc = people_person_links(batch->txn, person->person.id, stored_link_seen, &reading, err);
    if (rc == -1)
        return -1;
    person->links_read = rc == 0;
    return 0;
}

/* --- events ------------------------------------------------------------------------------------ */

int people_batch_begin(struct people_txn *txn, struct arena *arena, struct people_batch **out, struct err *err)
{
    struct people_batch *batch = arena_alloc_zero(arena, sizeof *batch);

    if (batch == NULL)
        return err_set(err, ERR_FULL, "people: the batch does not fit its arena");
    batch->txn = txn;
    batch->arena = batch->event_arena = arena;
    batch->stretch = 1;
    batch->dirty_persons_end = &batch->dirty_persons;
    batch->groups_end = &batch->groups;
    people_batch_limit(batch, &(struct people_limits){ 0 });
    *out = batch;
    return 0;
}

void people_batch_limit(struct people_batch *batch, const struct people_limits *limits)
{
    batch->limits = *limits;
    if (batch->limits.move_at_once == 0)
        batch->limits.move_at_once = PEOPLE_MOVE_AT_ONCE;
    if (batch->limits.moves_a_batch == 0)
        batch->limits.moves_a_batch = PEOPLE_MOVES_A_BATCH;
}

void people_batch_event_arena(struct people_batch *batch, struct arena *arena)
{
    batch->event_arena = arena;
}

void batch_warn(struct people_result *result, enum people_warning_kind kind, const struct people_event *event,
                const struct batch_person *person, const struct batch_person *other)
{
    struct people_warning *warning;

    for (size_t i = 0; i < result->warning_count; i++)
        if (result->warnings[i].kind == kind)
            return;
    assert(result->warning_count < sizeof result->warnings / sizeof *result->warnings);
    warning = &result->warnings[result->warning_count++];
    *warning =
        (struct people_warning){ .kind = kind, .source_id = event->merge_other, .target_id = event->distinct_id };
    if (person != NULL)
        warning->person = person->person.uuid;
    if (other != NULL)
        warning->other_person = other->person.uuid;
}

/* Without a person, or as if without: what the event's row says then. */
static void result_personless(const struct people_event *event, const struct batch_person *person,
                              struct people_result *out)
{
    out->mode = PEOPLE_PROPERTYLESS;
    out->properties = SPAN("{}");
    if (person == NULL) {
        out->person_id = people_person_uuid(event->project, event->distinct_id);
        out->person_created_us = PERSONLESS_CREATED_US;
        return;
    }
    out->person_id = person->person.uuid;
    out->person_created_us = person->person.created_us;
    if (!event->opted_out && event->timestamp_us > person->person.created_us + FORCE_UPGRADE_AFTER_US)
        out->mode = PEOPLE_FORCE_UPGRADE;
}

/* By the hour, so that a person is written at most once in each; never backwards. */
static void follow_last_seen(struct people_batch *batch, const struct people_event *event,
                             struct batch_person *person, bool created)
{
    int64_t into_hour = event->timestamp_us % LAST_SEEN_STEP_US;
    int64_t hour_us = event->timestamp_us - into_hour - (into_hour < 0 ? LAST_SEEN_STEP_US : 0);

    if (!event->last_seen || event->no_update ||
        (person->person.last_seen_us != CLOCK_NONE && hour_us <= person->person.last_seen_us))
        return;
    person->person.last_seen_us = hour_us;
    if (!created) /* made with it */
        batch_person_touch(batch, person);
}

static void index_expect(const struct batch_index *index, uint64_t hash)
{
    if (index->slots == NULL)
        return;
    __builtin_prefetch(&index->slots[hash & index->slot_mask]);
    __builtin_prefetch(&index->hashes[hash & index->slot_mask]);
}

void people_batch_expect(struct people_batch *batch, const struct people_expected *ids, size_t count)
{
    uint64_t persons[PEOPLE_EXPECT_MAX];

    for (size_t i = 0; i < count; i++)
        index_expect(&batch->links_by_id, batch_hash(ids[i].project, ids[i].distinct_id));
    people_expect(batch->txn, ids, count, persons);
    for (size_t i = 0; i < count; i++)
        if (persons[i] != 0)
            index_expect(&batch->persons_by_id, XXH3_64bits(&persons[i], sizeof persons[i]));
}

int people_batch_apply(struct people_batch *batch, const struct people_event *event, struct people_result *out,
                       struct err *err)
{
    struct people_result result = { .mode = PEOPLE_FULL };
    struct batch_person *person = NULL;
    struct batch_link *link = NULL;
    bool created = false;

    if (!event->forced_off) {
        link = batch_link_get(batch, event->project, event->distinct_id, err);
        if (link == NULL)
            return -1;
    }
    if (event->forced_off || event->personless || (event->if_known && link->person == NULL)) {
        result_personless(event, link == NULL ? NULL : link->person, &result);
        *out = result;
        return 0;
    }
    if (event->merge != PEOPLE_MERGE_NONE && batch_merge(batch, event, link, &person, &created, &result, err) < 0)
        return -1;
    if (result.merge_too_large) {
        *out = result;
        return 0;
    }
    if (person == NULL)
        person = link->person;
    if (person == NULL) {
        if (batch_create(batch, event, link, &person, &result, err) < 0)
            return -1;
        created = true;
    }
    if (batch_properties_update(batch, event, person, created, &result, err) < 0)
        return -1;
    follow_last_seen(batch, event, person, created);
    result.person_id = person->person.uuid;
    result.person_created_us = person->person.created_us;
    *out = result;
    return 0;
}
