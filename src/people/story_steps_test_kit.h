/* people/story_steps_test_kit.h - the world of a story (people/story_test_kit.h) and the steps that change it: a store of its own, a
 * clock, what was told in the last batch. Tests only. */
#ifndef PENSTOCK_PEOPLE_STORY_STEPS_TEST_KIT_H
#define PENSTOCK_PEOPLE_STORY_STEPS_TEST_KIT_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "event/packed.h"
#include "people/operate.h"

enum { PROJECT = 7, ROWS_MAX = 64, LINE_MAX_BYTES = 1000 };
#define T_US ((int64_t)1709287200 * 1000000) /* 2024-03-01T10:00:00Z */

struct told {
    enum row_table table;
    struct uuid id;
    char distinct_id[100];
    int64_t version;
    bool deleted;
};

struct world {
    char folder[64];
    struct people *people;
    struct people_txn *txn;
    struct people_batch *batch;
    struct arena *arena;
    struct people_limits limits;
    struct people_result result;
    struct told told[ROWS_MAX];
    size_t told_count;
    int64_t now_us;
    unsigned events;
    const char *story;
    char line[LINE_MAX_BYTES];
};

#define CHECK(world, ok)                                                       \
    do {                                                                       \
        if (!(ok))                                                             \
            fail_msg("%s\n  line: %s\n  %s", (world)->story, (world)->line, #ok); \
    } while (0)
#define MUST(world, call)                                                                         \
    do {                                                                                          \
        if ((call) < 0)                                                                           \
            fail_msg("%s\n  line: %s\n  %s: %s", (world)->story, (world)->line, #call, err.text); \
    } while (0)

static inline void world_begin(struct world *world)
{
    struct err err = { 0 };

    arena_reset(world->arena);
    MUST(world, people_begin(world->people, true, &world->txn, &err));
    MUST(world, people_batch_begin(world->txn, world->arena, &world->batch, &err));
    people_batch_limit(world->batch, &world->limits);
}

static inline int world_told(void *ctx, const struct row *row, struct err *err)
{
    struct world *world = ctx;
    struct told *told = &world->told[world->told_count++];

    (void)err;
    CHECK(world, world->told_count <= ROWS_MAX);
    *told = (struct told){ .table = row->table };
    if (row->table == ROW_PERSON) {
        told->id = row->cells[ROW_PERSON_ID].uuid;
        told->version = row->cells[ROW_PERSON_VERSION].i64;
        told->deleted = row->cells[ROW_PERSON_IS_DELETED].i64 != 0;
        CHECK(world, !told->deleted || span_is(row->cells[ROW_PERSON_PROPERTIES].text, "{}"));
        CHECK(world, row->cells[ROW_PERSON_TEAM_ID].i64 == PROJECT);
    } else if (row->table == ROW_DISTINCT) {
        told->id = row->cells[ROW_DISTINCT_PERSON_ID].uuid;
        told->version = row->cells[ROW_DISTINCT_VERSION].i64;
        told->deleted = row->cells[ROW_DISTINCT_IS_DELETED].i64 != 0;
        (void)snprintf(told->distinct_id, sizeof told->distinct_id, "%.*s",
                       SPAN_ARG(row->cells[ROW_DISTINCT_DISTINCT_ID].text));
    }
    return 0;
}

static inline void world_flush(struct world *world)
{
    struct err err = { 0 };

    world->told_count = 0;
    MUST(world, people_batch_finish(world->batch, world_told, world, &err));
    MUST(world, people_commit(world->txn, &err));
    world_begin(world);
}

static inline struct span copied(struct world *world, const char *text)
{
    return arena_copy(world->arena, span_text(text));
}

/* --- steps ------------------------------------------------------------------------------------- */

static inline const struct json_members *members_of(struct world *world, const struct json_members *properties,
                                             const char *key)
{
    struct json_member *member = json_members_find(properties, span_text(key));
    struct json_members *members = arena_alloc(world->arena, sizeof *members);
    struct err err = { 0 };

    if (member == NULL)
        return NULL;
    MUST(world, json_members_read(member->value.raw, world->arena, members, &err));
    return members;
}

static inline void unset_of(struct world *world, const struct json_members *properties, struct people_event *event)
{
    struct json_member *member = json_members_find(properties, SPAN("$unset"));
    struct json_members keys;
    struct json_reader reader;
    struct json_value value;
    struct span *unset = arena_alloc_array(world->arena, 20, sizeof *unset);
    struct err err = { 0 };

    event->unset = unset;
    if (member != NULL && member->value.kind == JSON_OBJECT) {
        MUST(world, json_members_read(member->value.raw, world->arena, &keys, &err));
        for (size_t i = 0; i < keys.count; i++)
            unset[event->unset_count++] = keys.at[i].key;
    } else if (member != NULL) {
        json_reader_init(&reader, member->value.raw, 0);
        CHECK(world, json_array_enter(&reader) == 0);
        while (json_array_next(&reader) == 1) {
            CHECK(world, json_skip(&reader, &value) == 0);
            unset[event->unset_count++] = json_text(&value, world->arena);
        }
    }
}

static inline bool is_one_of(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static inline void step_event(struct world *world, const char *name, const char *id, const char *other, const char *json)
{
    static const char *const person_events[] = { "identify", "alias", "merge", "$set", "bare_identify", NULL };
    static const char *const no_updates[] = { "$exception", "$$heatmap", NULL };
    struct json_members properties = { 0 };
    struct people_event event = { .project = PROJECT,
                                  .distinct_id = copied(world, id),
                                  .timestamp_us = world->now_us,
                                  .accepted_us = world->now_us };
    struct err err = { 0 };

    MUST(world, json_members_read(copied(world, json[0] != '\0' ? json : "{}"), world->arena, &properties, &err));
    event.uuid.bytes[15] = (uint8_t)++world->events;
    event.person_event = is_one_of(name, person_events);
    event.no_update = is_one_of(name, no_updates);
    event.personless = strcmp(name, "personless") == 0 || strcmp(name, "optout") == 0;
    event.opted_out = strcmp(name, "optout") == 0;
    event.forced_off = strcmp(name, "forced") == 0;
    event.if_known = strcmp(name, "known") == 0;
    event.last_seen = strcmp(name, "seen") == 0 || strcmp(name, "$exception") == 0;
    event.set = members_of(world, &properties, "$set");
    event.set_once = members_of(world, &properties, "$set_once");
    unset_of(world, &properties, &event);
    if (other != NULL) {
        event.merge = name[0] == 'i'   ? PEOPLE_MERGE_IDENTIFY
                      : name[0] == 'a' ? PEOPLE_MERGE_ALIAS
                                       : PEOPLE_MERGE_DANGEROUSLY;
        event.merge_other = copied(world, other);
    }
    MUST(world, people_batch_apply(world->batch, &event, &world->result, &err));
}

static inline void step_given(struct world *world, bool identified, const char *id, const char *json)
{
    struct person person = { .project = PROJECT,
                             .uuid = people_person_uuid(PROJECT, span_text(id)),
                             .created_us = world->now_us,
                             .last_seen_us = CLOCK_NONE,
                             .identified = identified,
                             .properties = span_text(json) };
    struct err err = { 0 };

    world_flush(world);
    MUST(world, people_person_put(world->txn, &person, &err));
    MUST(world, people_link_put(world->txn, PROJECT, span_text(id), &(struct person_link){ person.id, 0 }, &err));
    world_flush(world);
}

static inline bool stored_person(struct world *world, const char *id, struct person *out, struct person_link *link)
{
    struct err err = { 0 };
    int got = people_link_get(world->txn, PROJECT, span_text(id), link, &err);

    MUST(world, got);
    if (got == 0 || link->person == 0)
        return false;
    MUST(world, got = people_person_get(world->txn, link->person, out, &err));
    CHECK(world, got == 1);
    return true;
}

static inline void step_version(struct world *world, const char *id, uint64_t version)
{
    struct person_link link;
    struct person person;
    struct err err = { 0 };

    world_flush(world);
    CHECK(world, stored_person(world, id, &person, &link));
    person.version = version;
    person.properties = arena_copy(world->arena, person.properties);
    MUST(world, people_person_put(world->txn, &person, &err));
    world_flush(world);
}

static inline void step_also(struct world *world, const char *id, const char *other)
{
    struct person_link link;
    struct person person;
    struct err err = { 0 };

    world_flush(world);
    CHECK(world, stored_person(world, id, &person, &link));
    MUST(world, people_link_put(world->txn, PROJECT, span_text(other), &link, &err));
    world_flush(world);
}

/* What operators do: in a transaction of its own here; the rows are there to be looked at until the next flush. */
static inline void step_operate(struct world *world, bool split, bool erase, char **words)
{
    struct control control = { .kind = CONTROL_SPLIT, .project = PROJECT };
    struct people_operated operated;
    struct span ids[6];
    struct err err = { 0 };
    uint8_t *body;
    int got;

    world_flush(world);
    world->told_count = 0;
    while (control.id_count < 6 && words[1 + control.id_count][0] != '\0') {
        ids[control.id_count] = span_text(words[1 + control.id_count]);
        control.id_count++;
    }
    if (split) {
        body = arena_alloc(world->arena, control_bytes(&control, ids));
        control_write(&control, ids, body);
        MUST(world, control_read(span_of(body, control_bytes(&control, ids)), &control, &err));
        got = people_split(world->txn, &control, world_told, world, &operated, &err);
    } else {
        got = people_delete(world->txn, PROJECT, ids[0], erase ? 5 : PEOPLE_REQUEST_NONE, world_told, world, &operated, &err);
    }
    MUST(world, got);
    MUST(world, people_commit(world->txn, &err));
    world_begin(world);
}

static inline void step_group(struct world *world, const char *type, const char *key, const char *json)
{
    struct json_members set;
    struct people_group group;
    struct err err = { 0 };

    MUST(world, json_members_read(copied(world, json), world->arena, &set, &err));
    MUST(world, people_batch_group_set(world->batch, PROJECT, copied(world, type), copied(world, key), &set,
                                       world->now_us, T_US, &group, &err));
}

static inline void step_limit(struct world *world, const char *name, uint64_t limit)
{
    world_flush(world);
    if (strcmp(name, "ids") == 0)
        world->limits.merge_ids_max = limit;
    else if (strcmp(name, "joins") == 0)
        world->limits.joins_per_hour_max = limit;
    else if (strcmp(name, "once") == 0)
        world->limits.move_at_once = limit;
    else
        world->limits.moves_a_batch = limit;
    people_batch_limit(world->batch, &world->limits);
}

#endif
