/* people/story_test_kit.h - small stories: the language in which the rules of persons are tested. Tests only.
 *
 * A story is a text, a line a step; every store is new, the project is 7, the clock stands at T.
 *   # words               its title
 *   + n {..}              a person of distinct id n is there, as if stored long ago (version 0, not identified)
 *   +! n {..}             the same, identified
 *   also n o              o leads to n's person too, as if stored long ago
 *   NAME n {..}           event NAME of distinct id n with these properties ($set, $set_once, $unset)
 *   identify n o {..}     and alias, merge: with the other id o ($anon_distinct_id or alias)
 *   personless n, forced n, optout n, known n   (known: if_known, as a flag call of a server)
 *   seen n {..}           an event that last_seen follows; unseen n: one that it does not
 *   limit ids N           merge_ids_max from here on; limit joins N: joins_per_hour_max; limit once N, limit moves N
 *   later SECONDS         events from here on have this time after T
 *   version n 7           the stored version of n's person becomes 7
 *   delete n, erase n     n's person is deleted, or erased, by an operator
 *   split n a b           a and b leave n's person
 *   group TYPE KEY {..}   $groupidentify
 *   /                     the batch ends here; a new one begins
 * and what must hold (a line with ? ends the batch first):
 *   ? n v1 ident {..}     version, identified (ident or anon), properties of n's person
 *   ? n @o                its uuid is the one made from o
 *   ? n #1                the version of the link
 *   ? nobody n            n leads to nobody
 *   ? n seen SECONDS      its last_seen, after T; ? n seen never
 *   = {..}                the properties on the last event's row; = full, = propertyless, = force_upgrade; = @o;
 *                         = at SECONDS
 *   ! none                the last event's warning: none, identified, illegal, size, joins; toolarge: set aside
 *   told n v100 deleted   a person row of u(n) was given out in the last ended batch; told n not: none was
 *   ov o n 1 [deleted]    a distinct id row that leads from o to u(n) was given out, with this version
 *   untold o              no row of distinct id o was given out
 *   org 0 o1 v1 {..}      the stored group of index 0 and key o1 */
#ifndef PENSTOCK_PEOPLE_STORY_TEST_KIT_H
#define PENSTOCK_PEOPLE_STORY_TEST_KIT_H

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

/* --- checks ------------------------------------------------------------------------------------ */

static inline struct span unpacked(struct world *world, struct span packed)
{
    struct span text = { NULL, 0 };
    struct err err = { 0 };

    MUST(world, packed_text_in_arena(packed, world->arena, &text, &err));
    return text;
}

/* Without the mark of the event that made the person. */
static inline struct span without_creator(struct world *world, struct span properties)
{
    struct json_members members;
    struct err err = { 0 };
    uint8_t *to, *at;

    properties = unpacked(world, properties);
    to = at = arena_alloc(world->arena, properties.bytes + 2);
    MUST(world, json_members_read(properties, world->arena, &members, &err));
    *at++ = '{';
    for (size_t i = 0; i < members.count; i++) {
        if (span_is(members.at[i].key, "$creator_event_uuid"))
            continue;
        if (at[-1] != '{')
            *at++ = ',';
        memcpy(at, members.at[i].key_raw.at, members.at[i].key_raw.bytes);
        at += members.at[i].key_raw.bytes;
        *at++ = ':';
        memcpy(at, members.at[i].value.raw.at, members.at[i].value.raw.bytes);
        at += members.at[i].value.raw.bytes;
    }
    *at++ = '}';
    return span_of(to, (size_t)(at - to));
}

static inline void check_text(struct world *world, struct span got, const char *want)
{
    struct span rest = without_creator(world, got);

    if (!span_is(rest, want))
        fail_msg("%s\n  line: %s\n  properties are %.*s", world->story, world->line, SPAN_ARG(rest));
}

static inline void check_person(struct world *world, char **words, size_t count)
{
    struct person_link link = { 0 };
    struct person person = { 0 };
    struct uuid uuid;

    world_flush(world);
    if (strcmp(words[1], "nobody") == 0) {
        CHECK(world, !stored_person(world, words[2], &person, &link));
        return;
    }
    CHECK(world, stored_person(world, words[1], &person, &link));
    if (words[2][0] == '@') {
        uuid = people_person_uuid(PROJECT, span_text(words[2] + 1));
        CHECK(world, uuid_equal(&uuid, &person.uuid));
    } else if (words[2][0] == '#') {
        CHECK(world, link.version == strtoull(words[2] + 1, NULL, 10));
    } else if (strcmp(words[2], "at") == 0) {
        CHECK(world, person.created_us == T_US + strtoll(words[3], NULL, 10) * 1000000);
    } else if (strcmp(words[2], "seen") == 0 && strcmp(words[3], "never") == 0) {
        CHECK(world, person.last_seen_us == CLOCK_NONE);
    } else if (strcmp(words[2], "seen") == 0) {
        CHECK(world, person.last_seen_us == T_US + strtoll(words[3], NULL, 10) * 1000000);
    } else {
        CHECK(world, count >= 5);
        CHECK(world, person.version == strtoull(words[2] + 1, NULL, 10));
        CHECK(world, person.identified == (strcmp(words[3], "ident") == 0));
        check_text(world, person.properties, words[4]);
    }
}

static inline void check_result(struct world *world, char **words)
{
    static const char *const modes[] = {
        [PEOPLE_FULL] = "full", [PEOPLE_PROPERTYLESS] = "propertyless", [PEOPLE_FORCE_UPGRADE] = "force_upgrade"
    };
    struct uuid uuid;

    if (words[1][0] == '{') {
        check_text(world, world->result.properties, words[1]);
    } else if (words[1][0] == '@') {
        uuid = people_person_uuid(PROJECT, span_text(words[1] + 1));
        CHECK(world, uuid_equal(&uuid, &world->result.person_id));
    } else if (strcmp(words[1], "at") == 0) {
        CHECK(world, world->result.person_created_us == strtoll(words[2], NULL, 10) * 1000000);
    } else {
        CHECK(world, strcmp(modes[world->result.mode], words[1]) == 0);
    }
}

static inline void check_warning(struct world *world, char **words)
{
    static const char *const kinds[] = { [PEOPLE_WARN_NONE] = "none",
                                         [PEOPLE_WARN_ALREADY_IDENTIFIED] = "identified",
                                         [PEOPLE_WARN_ILLEGAL_ID] = "illegal",
                                         [PEOPLE_WARN_TOO_MANY_JOINS] = "joins",
                                         [PEOPLE_WARN_PROPERTIES_SIZE] = "size" };
    const struct people_warning *warning = &world->result.warnings[0];

    CHECK(world, world->result.merge_too_large == (strcmp(words[1], "toolarge") == 0));
    if (world->result.merge_too_large)
        return;
    CHECK(world, strcmp(words[1], kinds[world->result.warning_count == 0 ? PEOPLE_WARN_NONE : warning->kind]) == 0);
    if (words[2][0] != '\0') {
        CHECK(world, span_is(warning->source_id, words[2]));
        CHECK(world, span_is(warning->target_id, words[3]));
    }
}

static inline void check_told(struct world *world, char **words)
{
    struct uuid uuid = people_person_uuid(PROJECT, span_text(words[1]));
    size_t found = 0;

    for (size_t i = 0; i < world->told_count; i++) {
        const struct told *told = &world->told[i];

        if (told->table != ROW_PERSON || !uuid_equal(&told->id, &uuid))
            continue;
        found++;
        CHECK(world, strcmp(words[2], "not") != 0);
        CHECK(world, told->version == strtoll(words[2] + 1, NULL, 10));
        CHECK(world, told->deleted == (strcmp(words[3], "deleted") == 0));
    }
    CHECK(world, found == (strcmp(words[2], "not") != 0));
}

static inline void check_override(struct world *world, char **words)
{
    struct uuid uuid = people_person_uuid(PROJECT, span_text(words[2]));
    size_t found = 0;

    for (size_t i = 0; i < world->told_count; i++) {
        const struct told *told = &world->told[i];

        if (told->table == ROW_DISTINCT && strcmp(told->distinct_id, words[1]) == 0) {
            found++;
            CHECK(world, uuid_equal(&told->id, &uuid));
            CHECK(world, told->version == strtoll(words[3], NULL, 10));
            CHECK(world, told->deleted == (strcmp(words[4], "deleted") == 0));
        }
    }
    CHECK(world, found == 1);
}

static inline void check_untold(struct world *world, const char *id)
{
    for (size_t i = 0; i < world->told_count; i++)
        CHECK(world, world->told[i].table != ROW_DISTINCT || strcmp(world->told[i].distinct_id, id) != 0);
}

static inline void check_group(struct world *world, char **words)
{
    struct group group;
    struct err err = { 0 };
    int index = -1;

    world_flush(world);
    CHECK(world, people_group_type(world->txn, PROJECT, span_text(words[0]), false, &index, &err) == 1);
    CHECK(world, index == atoi(words[1]));
    CHECK(world, people_group_get(world->txn, PROJECT, index, span_text(words[2]), &group, &err) == 1);
    CHECK(world, group.version == strtoull(words[3] + 1, NULL, 10));
    CHECK(world, span_is(unpacked(world, group.properties), words[4]));
}

/* --- stories ----------------------------------------------------------------------------------- */

/* Words at single spaces; a word in ' ' may hold spaces; a word that begins with { goes to the end. */
static inline size_t split_words(char *line, char **words, size_t words_max)
{
    static char nothing[] = "";
    size_t count = 0;

    for (size_t i = 0; i < words_max; i++)
        words[i] = nothing;
    while (*line != '\0' && count < words_max) {
        char end = *line == '\'' ? '\'' : ' ';

        line += end == '\'';
        words[count++] = line;
        if (*line == '{' && end == ' ')
            break;
        while (*line != '\0' && *line != end)
            line++;
        if (*line != '\0')
            *line++ = '\0';
        if (end == '\'' && *line == ' ')
            line++;
    }
    return count;
}

static inline void story_line(struct world *world, char *line)
{
    char *words[8];
    size_t count = split_words(line, words, 8);

    if (words[0][0] == '#')
        return;
    if (strcmp(words[0], "+") == 0 || strcmp(words[0], "+!") == 0)
        step_given(world, words[0][1] == '!', words[1], words[2]);
    else if (strcmp(words[0], "also") == 0)
        step_also(world, words[1], words[2]);
    else if (strcmp(words[0], "/") == 0)
        world_flush(world);
    else if (strcmp(words[0], "later") == 0)
        world->now_us = T_US + strtoll(words[1], NULL, 10) * 1000000;
    else if (strcmp(words[0], "version") == 0)
        step_version(world, words[1], strtoull(words[2], NULL, 10));
    else if (strcmp(words[0], "delete") == 0)
        step_operate(world, false, false, words);
    else if (strcmp(words[0], "erase") == 0)
        step_operate(world, false, true, words);
    else if (strcmp(words[0], "split") == 0)
        step_operate(world, true, false, words);
    else if (strcmp(words[0], "limit") == 0)
        step_limit(world, words[1], strtoull(words[2], NULL, 10));
    else if (strcmp(words[0], "group") == 0)
        step_group(world, words[1], words[2], words[3]);
    else if (strcmp(words[0], "?") == 0)
        check_person(world, words, count);
    else if (strcmp(words[0], "=") == 0)
        check_result(world, words);
    else if (strcmp(words[0], "!") == 0)
        check_warning(world, words);
    else if (strcmp(words[0], "told") == 0)
        check_told(world, words);
    else if (strcmp(words[0], "untold") == 0)
        check_untold(world, words[1]);
    else if (strcmp(words[0], "ov") == 0)
        check_override(world, words);
    else if (strcmp(words[0], "org") == 0 || strcmp(words[0], "team") == 0)
        check_group(world, words);
    else if (strcmp(words[0], "identify") == 0 || strcmp(words[0], "alias") == 0 || strcmp(words[0], "merge") == 0)
        step_event(world, words[0], words[1], words[2], words[3]);
    else
        step_event(world, words[0], words[1], NULL, words[2]);
}

static inline void world_open(struct world *world)
{
    struct people_options options = { .folder = world->folder, .map_bytes_max = (uint64_t)1 << 28 };
    struct err err = { 0 };

    (void)snprintf(world->folder, sizeof world->folder, "/tmp/penstock_batch_XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->arena = arena_new(1 << 20, (size_t)1 << 28);
    world->now_us = T_US;
    MUST(world, people_open(&options, &world->people, &err));
    world_begin(world);
}

static inline void world_close(struct world *world)
{
    char path[96];

    people_abort(world->txn);
    people_close(world->people);
    arena_free(world->arena);
    (void)snprintf(path, sizeof path, "%s/data.mdb", world->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", world->folder);
    (void)unlink(path);
    (void)rmdir(world->folder);
}

static inline void run_story(const char *story)
{
    struct world world = { .story = story };
    const char *at = story, *end;
    char line[LINE_MAX_BYTES];

    world_open(&world);
    for (; *at != '\0'; at = *end == '\0' ? end : end + 1) {
        end = strchr(at, '\n');
        if (end == NULL)
            end = at + strlen(at);
        (void)snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
        memcpy(world.line, line, sizeof line);
        if (line[0] != '\0')
            story_line(&world, line);
    }
    world_close(&world);
}

#define RUN_STORIES(stories)                                                \
    do {                                                                    \
        for (size_t i_ = 0; i_ < sizeof(stories) / sizeof *(stories); i_++) \
            run_story(stories[i_]);                                         \
    } while (0)

#endif
