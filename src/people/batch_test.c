/* people/batch_test.c - the rules of persons, merges, personless events and groups, as small stories.
 *
 * A story is a text, a line a step; every store is new, the project is 7, the clock stands at T.
 *   + n {..}              a person of distinct id n is there, as if stored long ago (version 0, not identified)
 *   +! n {..}             the same, identified
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
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
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

static void world_begin(struct world *world)
{
    struct err err = { 0 };

    arena_reset(world->arena);
    MUST(world, people_begin(world->people, true, &world->txn, &err));
    MUST(world, people_batch_begin(world->txn, world->arena, &world->batch, &err));
    people_batch_limit(world->batch, &world->limits);
}

static int world_told(void *ctx, const struct row *row, struct err *err)
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

static void world_flush(struct world *world)
{
    struct err err = { 0 };

    world->told_count = 0;
    MUST(world, people_batch_finish(world->batch, world_told, world, &err));
    MUST(world, people_commit(world->txn, &err));
    world_begin(world);
}

static struct span copied(struct world *world, const char *text)
{
    return arena_copy(world->arena, span_text(text));
}

/* --- steps ------------------------------------------------------------------------------------- */

static const struct json_members *members_of(struct world *world, const struct json_members *properties,
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

static void unset_of(struct world *world, const struct json_members *properties, struct people_event *event)
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

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static void step_event(struct world *world, const char *name, const char *id, const char *other, const char *json)
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

static void step_given(struct world *world, bool identified, const char *id, const char *json)
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

static bool stored_person(struct world *world, const char *id, struct person *out, struct person_link *link)
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

static void step_version(struct world *world, const char *id, uint64_t version)
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

/* What operators do: in a transaction of its own here; the rows are there to be looked at until the next flush. */
static void step_operate(struct world *world, bool split, bool erase, char **words)
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

static void step_group(struct world *world, const char *type, const char *key, const char *json)
{
    struct json_members set;
    struct people_group group;
    struct err err = { 0 };

    MUST(world, json_members_read(copied(world, json), world->arena, &set, &err));
    MUST(world, people_batch_group_set(world->batch, PROJECT, copied(world, type), copied(world, key), &set,
                                       world->now_us, T_US, &group, &err));
}

static void step_limit(struct world *world, const char *name, uint64_t limit)
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

/* Without the mark of the event that made the person. */
static struct span without_creator(struct world *world, struct span properties)
{
    struct json_members members;
    struct err err = { 0 };
    uint8_t *to = arena_alloc(world->arena, properties.bytes + 2), *at = to;

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

static void check_text(struct world *world, struct span got, const char *want)
{
    struct span rest = without_creator(world, got);

    if (!span_is(rest, want))
        fail_msg("%s\n  line: %s\n  properties are %.*s", world->story, world->line, SPAN_ARG(rest));
}

static void check_person(struct world *world, char **words, size_t count)
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

static void check_result(struct world *world, char **words)
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

static void check_warning(struct world *world, char **words)
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

static void check_told(struct world *world, char **words)
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

static void check_override(struct world *world, char **words)
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

static void check_untold(struct world *world, const char *id)
{
    for (size_t i = 0; i < world->told_count; i++)
        CHECK(world, world->told[i].table != ROW_DISTINCT || strcmp(world->told[i].distinct_id, id) != 0);
}

static void check_group(struct world *world, char **words)
{
    struct group group;
    struct err err = { 0 };
    int index = -1;

    world_flush(world);
    CHECK(world, people_group_type(world->txn, PROJECT, span_text(words[0]), false, &index, &err) == 1);
    CHECK(world, index == atoi(words[1]));
    CHECK(world, people_group_get(world->txn, PROJECT, index, span_text(words[2]), &group, &err) == 1);
    CHECK(world, group.version == strtoull(words[3] + 1, NULL, 10));
    CHECK(world, span_is(group.properties, words[4]));
}

/* --- stories ----------------------------------------------------------------------------------- */

/* Words at single spaces; a word in ' ' may hold spaces; a word that begins with { goes to the end. */
static size_t split_words(char *line, char **words, size_t words_max)
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

static void story_line(struct world *world, char *line)
{
    char *words[8];
    size_t count = split_words(line, words, 8);

    if (strcmp(words[0], "+") == 0 || strcmp(words[0], "+!") == 0)
        step_given(world, words[0][1] == '!', words[1], words[2]);
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

static void world_open(struct world *world)
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

static void world_close(struct world *world)
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

static void run_story(const char *story)
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

static void updates(void **state)
{
    static const char *const stories[] = {
        "view n {\"$set_once\":{\"a\":1,\"b\":2},\"$set\":{\"b\":3,\"c\":4}}\n"
        "? n v0 anon {\"a\":1,\"b\":3,\"c\":4}\ntold n v0\nov n n 0\n= @n",

        "+ n {}\nview n {\"$set\":{\"a\":1}}\n= {\"a\":1}\nview n {\"$set\":{\"a\":2}}\n= {\"a\":2}\n"
        "? n v1 anon {\"a\":2}\ntold n v1",

        "+ n {\"b\":3,\"c\":4}\nview n {\"$set_once\":{\"c\":3,\"e\":4},\"$set\":{\"b\":4}}\n? n v1 anon "
        "{\"b\":4,\"c\":4,\"e\":4}",

        "+ n {\"b\":3}\nview n {\"$set_once\":{\"b\":9},\"$set\":{\"b\":3}}\n? n v0 anon {\"b\":3}\ntold n not",

        "+ n {\"x\":null}\nview n {\"$set_once\":{\"x\":5}}\n? n v1 anon {\"x\":5}",
        "+ n {\"x\":null}\nview n {\"$set_once\":{\"x\":null}}\n? n v0 anon {\"x\":null}",
        "+ n {\"x\":null}\nview n {\"$set_once\":{\"x\":5},\"$set\":{\"x\":6}}\n? n v1 anon {\"x\":6}",

        /* Only what is filtered changed: on the row, not on the person. */
        "+ n {\"$current_url\":\"u1\"}\nview n {\"$set\":{\"$current_url\":\"u2\"}}\n= {\"$current_url\":\"u2\"}\n"
        "? n v0 anon {\"$current_url\":\"u1\"}\ntold n not",
        "+ n {\"$current_url\":\"u1\"}\n$set n {\"$set\":{\"$current_url\":\"u2\"}}\n? n v1 anon "
        "{\"$current_url\":\"u2\"}",
        "+ n {}\nview n {\"$set\":{\"$current_url\":\"u2\"}}\n? n v1 anon {\"$current_url\":\"u2\"}",
        "+ n {\"$current_url\":\"u1\",\"plan\":\"a\"}\nview n {\"$set\":{\"$current_url\":\"u2\",\"plan\":\"b\"}}\n"
        "? n v1 anon {\"$current_url\":\"u2\",\"plan\":\"b\"}",
        "+ n {\"$geoip_country_name\":\"A\",\"$geoip_latitude\":1}\n"
        "view n {\"$set\":{\"$geoip_country_name\":\"B\",\"$geoip_latitude\":2}}\n"
        "? n v1 anon {\"$geoip_country_name\":\"B\",\"$geoip_latitude\":2}",
        "+ n {\"$geoip_latitude\":1}\nview n {\"$set\":{\"$geoip_latitude\":2}}\n? n v0 anon {\"$geoip_latitude\":1}",
        "+ n {\"$initial_current_url\":\"a\"}\nview n {\"$set\":{\"$initial_current_url\":\"b\"}}\n"
        "? n v1 anon {\"$initial_current_url\":\"b\"}",
        "+ n {\"$os\":1,\"k\":1}\nview n {\"$set\":{\"$os\":2},\"$unset\":[\"k\"]}\n? n v1 anon {\"$os\":2}",
        /* Every event for itself: what was only shown does not come back with a later write. */
        "+ n {\"$os\":1}\nview n {\"$set\":{\"$os\":2}}\nview n {\"$set\":{\"k\":1}}\n= {\"$os\":1,\"k\":1}\n? n v1 "
        "anon "
        "{\"$os\":1,\"k\":1}",

        "+ n {\"a\":1,\"b\":2}\nview n {\"$unset\":[\"a\",\"zz\"]}\n= {\"b\":2}\n? n v1 anon {\"b\":2}",
        "+ n {\"a\":1}\nview n {\"$unset\":{\"a\":\"\"}}\n? n v1 anon {}",
        "+ n {\"a\":1}\nview n {\"$set\":{\"a\":2},\"$unset\":[\"a\"]}\n= {\"a\":2}\n? n v1 anon {}",
        "+ n {}\nview n {\"$set\":{\"a\":2},\"$unset\":[\"a\"]}\n? n v1 anon {\"a\":2}",
        "+ n {\"a\":1,\"b\":2,\"c\":3}\nview n {\"$unset\":[\"a\",\"a\",\"c\",\"b\"]}\nview n {\"$set\":{\"b\":7}}\n? "
        "n v1 anon "
        "{\"b\":7}",
        "+ n {\"a\":1}\nview n {\"$unset\":[\"zz\"]}\n? n v0 anon {\"a\":1}",

        "+ n {\"o\":{\"x\":1}}\nview n {\"$set\":{\"o\":{\"x\":1}}}\n? n v1 anon {\"o\":{\"x\":1}}",
        "+ n {\"l\":[]}\nview n {\"$set\":{\"l\":[]}}\n? n v1 anon {\"l\":[]}",
        "+ n {\"b\":3}\n$$heatmap n {\"$set\":{\"b\":4}}\n= {\"b\":4}\n? n v0 anon {\"b\":3}",
        "bare_identify n {\"$set\":{\"a\":1}}\n? n v0 anon {\"a\":1}",
        "+ n {}\nview n {\"$set\":{\"toString\":1,\"__proto__\":2,\"\":3}}\n? n v1 anon "
        "{\"toString\":1,\"__proto__\":2,\"\":3}",

        /* The text of a value stays what it was sent as. */
        "+ n {\"i\":1}\nview n {\"$set\":{\"i\":1.0}}\n? n v0 anon {\"i\":1}",
        "+ n {\"i\":9007199254740993}\nview n {\"$set\":{\"i\":9007199254740992}}\n? n v1 anon "
        "{\"i\":9007199254740992}",
        "+ n {\"i\":1e400}\nview n {\"$set\":{\"i\":1e401}}\n? n v1 anon {\"i\":1e401}",
        "+ n {\"i\":0}\nview n {\"$set\":{\"i\":-0.0}}\n? n v0 anon {\"i\":0}",
        "+ n {\"i\":0}\nview n {\"$set\":{\"i\":1e-400}}\n? n v1 anon {\"i\":1e-400}",
        "+ n {\"s\":\"a\"}\nview n {\"$set\":{\"s\":\"\\u0061\"}}\n? n v0 anon {\"s\":\"a\"}",
        "+ n {\"s\":\"1\"}\nview n {\"$set\":{\"s\":1}}\n? n v1 anon {\"s\":1}",
        "+ n {\"\\u0061\":1}\nview n {\"$set\":{\"a\":2}}\n? n v1 anon {\"\\u0061\":2}",
        "+ n {\"q\\\"\":\"\\\\\",\"r\":\"}{,:\\\"\",\"o\":{\"]\":[\"\\\"}\"]}}\nview n {\"$set\":{\"z\":1}}\n"
        "? n v1 anon {\"q\\\"\":\"\\\\\",\"r\":\"}{,:\\\"\",\"o\":{\"]\":[\"\\\"}\"]},\"z\":1}",
        "+ n { \"a\" : 1 , \"b\" : [ 1 ] }\nview n {\"$set\":{\"a\":2}}\n? n v1 anon {\"a\":2,\"b\":[ 1 ]}",
        "+ n {\"a\":true,\"b\":null,\"c\":false}\nview n {\"$set\":{\"a\":true,\"b\":null,\"c\":false}}\n? n v0 anon "
        "{\"a\":true,\"b\":null,\"c\":false}",

        /* An unset person property that comes again; versions rise once a batch. */
        "view n {\"$set\":{\"a\":1}}\n/\nview n {\"$unset\":[\"a\"]}\n/\nview n {\"$set_once\":{\"a\":2}}\n? n v2 anon "
        "{\"a\":2}",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void merges(void **state)
{
    static const char *const stories[] = {
        "identify n o {\"$set\":{\"a\":1}}\n? n v0 ident {\"a\":1}\n? n @n\n? o @n\n? n #0\n? o #1",
        "identify n o\n= @n\n! none\n/\nov o n 1\nov n n 0\ntold n v0",
        "+ o {}\nidentify n o\n? n @o\n? n v1 ident {}\n? n #1\n? o #0",
        "+ n {}\nidentify n o\n? o @n\n? n v1 ident {}\n? o #1",
        "+ o {}\nidentify n o\n/\nidentify n o\n? n v1 ident {}\n? n #1\ntold o not", /* the second: nothing left to do
                                                                                       */

        "+ o {}\nlater 60\n+ n {}\nlater 120\nidentify n o\n= @n\n/\ntold n v1\ntold o v100 deleted\nov o n 1\n"
        "? n v1 ident {}\n? n at 0\n? n #0\n? o #1\n? o @n",

        "+! o {}\n+ n {}\nidentify n o {\"$set\":{\"k\":1}}\n= @n\n! identified o n\n/\ntold n v1\ntold o not\n"
        "? n v1 ident {\"k\":1}\n? o @o",
        "+! o {}\n+! n {}\nidentify n o\n! identified o n\nidentify n o\n! identified o n\n? n v0 ident {}\n? o @o",
        "+! o {}\n+! n {}\nmerge n o\n! none\n? o @n\n? n v1 ident {}",
        "+! o {}\n+! n {}\nalias n o\n! identified o n\n? o @o",

        "+ o {\"a\":1,\"b\":2}\n+ n {\"b\":3,\"c\":4,\"d\":5}\n"
        "identify n o {\"$set\":{\"d\":6,\"e\":7},\"$set_once\":{\"a\":8,\"f\":9}}\n"
        "= {\"b\":3,\"c\":4,\"d\":6,\"a\":1,\"f\":9,\"e\":7}\n? n v1 ident "
        "{\"b\":3,\"c\":4,\"d\":6,\"a\":1,\"f\":9,\"e\":7}",
        "+ o {}\n+ n {}\nversion o 7\nversion n 2\nidentify n o\n/\ntold n v8\ntold o v107 deleted\nov o n 1\n? n v8 "
        "ident {}",

        "+ n {}\nidentify n n\n! none\n? n v0 anon {}\ntold n not",
        "identify null o\n! illegal o null\n? null v0 anon {}\n? nobody o",
        "identify n undefined\n! illegal\n? n v0 anon {}\n? nobody undefined",
        "identify n null\n! illegal",
        "identify n ''\n! illegal\nidentify n '   '\n! illegal\n? n v0 anon {}",

        "+ a {}\nalias n a\n+ b {}\nalias n b\n? n @a\n? b @a\n? a v2 ident {}",
        "alias n o\n? o @n",
        "+ a1 {}\n+ a2 {}\n+ a3 {}\nidentify n a1\nidentify n a2\nidentify n a3\n? n @a1\n? a2 @a1\n? a3 @a1",
        "+ n {}\n+ a1 {}\n+ a2 {}\nidentify n a1\n/\nidentify n a2\n? n v2 ident {}\n? a1 @n\n? a2 @n",
        "identify u1 a\n+ u2 {}\nidentify u2 a\n! identified a u2\n? u2 @u2",
        "identify u1 a\nidentify u2 a\n! none\n? u2 @u1",
        "alias a b\nalias b c\nalias c d\n? b @a\n? c @a\n? d @a\n? d #1",
        "alias c d\nalias b c\nalias a b\n? a @c\n? b @c\n? d @c",
        "alias c d\nview b\nalias b c\n! identified c b\n? b @b",
        "alias a b\nalias b c\nalias c a\n! none\n? a @a\n? c @a\n? a v0 ident {}", /* a ring */
        "+! o {}\nidentify n o\n! none\n? n @o",

        /* All in one batch, and the merged person's id never stored. */
        "view o {\"$set\":{\"a\":1}}\nview n {\"$set\":{\"b\":2}}\nidentify n o\n/\ntold n v1\ntold o v100 deleted\nov "
        "o n 1\n"
        "? n v1 ident {\"b\":2,\"a\":1}",
        /* An id that moves twice in a batch. */
        "+ a {}\n+ b {}\n+ c {}\nidentify b a\nmerge c b\n/\nov a c 2\nov b c 1\ntold a v100 deleted\ntold b v101 "
        "deleted\n? c v2 "
        "ident {}\n? a @c",
        "+ a {}\nalias a a2\n/\nview b\nmerge b a2\n? a2 @b\n? a @b\n? a #1\n? a2 #2",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* A person with more ids than a merge may move is left alone, and so is the event. */
static void merges_of_too_many_ids(void **state)
{
    static const char *const stories[] = {
        "limit ids 2\n+ o {}\nalias o b\nalias o c\n+ n {}\nmerge n o {\"$set\":{\"a\":1}}\n! toolarge\n/\ntold n not\ntold o "
        "not\n? n v0 anon {}\n? b @o\n? c #1",
        "limit ids 3\n+ o {}\nalias o b\nalias o c\n+ n {}\nmerge n o\n! none\n? b @n\n? c #2\n? o @n", /* exactly */
        /* The target may have any number, and ids that join are no merge. */
        "limit ids 1\n+ n {}\nalias n b\nalias n c\n+ o {}\nalias n o\n! none\n? o @n\nalias n d\n! none\n? d @n",
        /* What it got in this batch counts, and what it lost does not. */
        "limit ids 2\nview o\nalias o b\nalias o c\nview n\nmerge n o\n! toolarge\n? o @o\n? n @n",
        "limit ids 2\n+ o {}\nalias o b\n/\nview n\nalias o c\nmerge n o\n! toolarge\n? c @o",
        "limit ids 2\n+ a {}\nalias a b\n/\n+ m {}\nmerge m a\n! none\nview n\nmerge n m\n! toolarge\n? a @m\n? m @m",
        /* Ids that a note owes count as well, in the batch of the merge and later. */
        "+ a {}\nalias a b\nalias a c\n/\nlimit once 1\nlimit moves 1\nlimit ids 3\n+ m {}\nmerge m a\n! none\nview n\n"
        "merge n m\n! toolarge\n? b @m\n? n @n",
        "+ a {}\nalias a b\nalias a c\nalias a d\n/\nlimit once 1\nlimit moves 1\n+ m {}\nmerge m a\n/\nlimit ids 4\n"
        "view n\nmerge n m\n! toolarge\n? d @m\n? d #2",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* T is the beginning of an hour. */
static void joins_in_an_hour(void **state)
{
    static const char *const stories[] = {
        "limit joins 2\n+ a {}\n+ b {}\n+ c {}\n+ n {}\nidentify n a\n! none\nidentify n b\n! none\nidentify n c\n! joins\n"
        "? c @c\n? c v0 anon {}\n? a @n\n? b @n",
        /* Over batches, and ids that nobody had yet count too, from either side. */
        "limit joins 2\n+ n {}\nidentify n a\n/\nidentify n b\n/\nidentify n c\n! joins\n/\nidentify d n\n! joins\n"
        "? nobody c\n? d @d\n? d v0 anon {}\n? b @n",
        /* The next hour is another one; an old hour's event counts for the newest. */
        "limit joins 1\n+ n {}\nidentify n a\nlater 3599\nidentify n b\n! joins\nlater 3600\nidentify n b\n! none\n/\n"
        "identify n c\n! joins\n? b @n\n? nobody c",
        "limit joins 1\n+ n {}\nidentify n a\n/\nlater 3600\nidentify n b\n/\nidentify n c\n! joins\n? b @n",
        /* What merges nothing counts nothing: again the same, refused, illegal. */
        "limit joins 1\n+ n {}\nidentify n a\nidentify n a\n! none\n+! o {}\nidentify n o\n! identified\nidentify n null\n! "
        "illegal\n? a @n",
        "limit joins 1\nidentify n o\nidentify n p\nidentify n q\n! joins\n? p @n\n? nobody q", /* a new person */
        /* An aborted batch counts nothing; a person that was merged itself neither. */
        "limit joins 1\n+ a {}\nidentify a b\n+ n {}\nmerge n a\n! none\nmerge n c\n! joins\n? b @n",
        "+ n {}\nidentify n a\nidentify n b\nidentify n c\n! none\n? c @n", /* no limit */
    };

    (void)state;
    RUN_STORIES(stories);
}

/* Many ids: the merge is done at once, though its ids move later. */
static void merges_of_many_ids(void **state)
{
    static const char *const stories[] = {
        "+ a {}\nalias a b\nalias a c\nalias a d\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n a\n? a @n\n? b @n\n? c @n\n? d "
        "@n\n? a #1\n? d #2\n? n v2 ident {}",
        /* Each row once; an id that is used meanwhile is not told again. */
        "+ a {}\nalias a b\nalias a c\nalias a d\nalias a e\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n a\n/\nov a n 1\nov b n "
        "2\nov c n 2\nuntold d\nview e\n= @n\n/\nov d n 2\nuntold c\nuntold e\n/\nov e n 2\nuntold d\n/\nuntold e",
        /* Found by an id that stands under the merged person still, in the same batch. */
        "+ a {}\nalias a b\nalias a c\nalias a d\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n a\nview d {\"$set\":{\"k\":1}}\n= "
        "@n\n? n v2 ident {\"k\":1}",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void deleted_and_used_again(void **state)
{
    static const char *const stories[] = {
        "+ n {}\nversion n 3\ndelete n\ntold n v103 deleted\nov n n 100 deleted\n? nobody n",
        /* All of its ids, and nobody else's. */
        "+ n {\"a\":1}\nalias n b\nalias n c\n+ m {}\ndelete b\ntold n v101 deleted\nov n n 100 deleted\nov b n 101 deleted\nov c n "
        "101 deleted\ntold m not\n? nobody c\n? m @m\nview c\n? c @c\n? c v0 anon {}\n? c #102",
        "delete n\ntold n not\nview n\n? n v0 anon {}", /* nobody was there */
        "+ n {}\ndelete n\ndelete n\ntold n not",
        /* With ids that a merge left to be moved. */
        "+ a {}\nalias a b\nalias a c\nalias a d\nalias a e\nalias a f\nalias a g\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n "
        "a\n/\ndelete n\ntold n v102 deleted\nov g n 102 deleted\nov a n 101 deleted\nov b n 102 deleted\nov c n 102 deleted\nov d n 102 deleted\n? nobody d\n/\n/\n? nobody c\n"
        "view d\n? d @d\n? d #103",
        "+ n {}\nversion n 3\ndelete n\n? nobody n\nview n\n/\ntold n v104\nov n n 101\n? n v104 anon {}",
        "+ n {}\ndelete n\npersonless n\n= at 5\n? nobody n",
        "+ n {}\ndelete n\n+ o {}\nidentify n o\n? n @o\n? n #101",
        "+ n {}\ndelete n\n+ o {}\nidentify o n\n? n @o\n? n #101",
        /* A merged person's uuid comes back: its id was freed, after the survivor was deleted. */
        "+ o {}\nversion o 7\n+ n {}\nidentify n o\ndelete o\nview o\n/\ntold o v108\nov o o 102",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* 512 KiB of properties: what would pass it is refused whole, the event goes on, smaller changes too. */
static void too_large_is_refused(void **state)
{
    static char json[700000];
    struct world world = { .story = "too large" };
    struct people_event event = { .project = PROJECT, .distinct_id = SPAN("n"), .timestamp_us = T_US };
    struct json_members set, small;
    struct person_link link;
    struct person person;
    struct err err = { 0 };

    (void)state;
    world_open(&world);
    MUST(&world, json_members_read(SPAN("{\"small\":1}"), world.arena, &small, &err));
    for (size_t bytes = 200000; bytes <= 600000; bytes += 200000) {
        char *key = json + sprintf(json, "{\"k%zu\":\"", bytes);

        memset(key, 'x', bytes);
        memcpy(key + bytes, "\"}", 3);
        MUST(&world, json_members_read(span_text(json), world.arena, &set, &err));
        event.set = &set;
        MUST(&world, people_batch_apply(world.batch, &event, &world.result, &err));
        assert_int_equal(world.result.warning_count, bytes > 200000);
        assert_true(world.result.properties.bytes > bytes); /* the event shows what it set all the same */
        event.set = &small;
        MUST(&world, people_batch_apply(world.batch, &event, &world.result, &err));
        assert_int_equal(world.result.warning_count, 0);
        world_flush(&world);
        MUST(&world, json_members_read(SPAN("{\"small\":1}"), world.arena, &small, &err));
    }
    CHECK(&world, stored_person(&world, "n", &person, &link));
    assert_true(person.properties.bytes > 200000 && person.properties.bytes < 201000);

    /* The first event of a person: the person is made, without them. */
    event.distinct_id = SPAN("m");
    MUST(&world, json_members_read(span_text(json), world.arena, &set, &err));
    event.set = &set;
    MUST(&world, people_batch_apply(world.batch, &event, &world.result, &err));
    assert_int_equal(world.result.warning_count, 1);
    assert_int_equal(world.result.warnings[0].kind, PEOPLE_WARN_PROPERTIES_SIZE);
    world_flush(&world);
    CHECK(&world, stored_person(&world, "m", &person, &link));
    assert_true(person.properties.bytes < 100);
    world_close(&world);
}

/* An object of these keys, each with a value of `bytes` letters. */
static struct span wide_object(struct world *world, const char *const *keys, size_t bytes)
{
    char *to = arena_alloc(world->arena, 800000), *at = to;

    *at++ = '{';
    for (; *keys != NULL; keys++) {
        at += sprintf(at, "%s\"%s\":\"", at[-1] == '{' ? "" : ",", *keys);
        memset(at, 'x', bytes);
        at += bytes;
        *at++ = '"';
    }
    *at++ = '}';
    return span_of(to, (size_t)(at - to));
}

/* The keys that are left, joined. */
static const char *keys_of(struct world *world, struct span object)
{
    struct json_members members;
    struct err err = { 0 };
    char *to = arena_alloc(world->arena, 4000), *at = to;

    MUST(world, json_members_read(object, world->arena, &members, &err));
    *at = '\0';
    for (size_t i = 0; i < members.count; i++)
        at += sprintf(at, "%s%.*s", i == 0 ? "" : " ", SPAN_ARG(members.at[i].key));
    return to;
}

/* Who was stored larger than may be is cut to size by the next change, which stays; and it is said. */
static void oversized_is_trimmed(void **state)
{
    static const struct {
        const char *name, *stored[12];
        size_t each;
        const char *event, *left;
        size_t warnings, trimmed;
    } rows[] = {
        { "others in the order of names", { "c", "a", "b", "d", "e", "f", "g" }, 100000, "{\"$set\":{\"n\":1}}",
          "c d e f g n", 1, 2 },
        { "protected ones stay", { "a", "email", "name", "$browser", "utm_source", "b", "$initial_utm_term" }, 80000,
          "{\"$set\":{\"n\":1}}", "email name $browser utm_source b $initial_utm_term n", 1, 1 },
        { "what the event brought stays", { "a", "b", "c", "d", "e", "f", "g" }, 80000, "{\"$set\":{\"A\":2}}", "b c d e f g A", 1, 1 },
        { "also $set_once", { "b", "c", "d", "e", "f", "g" }, 90000, "{\"$set_once\":{\"a\":1}}", "c d e f g a", 1, 1 },
        { "what nothing changes is left alone", { "a", "b", "c", "d", "e", "f" }, 90000, "{}", "a b c d e f", 0, 0 },
        { "what fits again is not trimmed", { "a", "b", "c", "d", "e", "f" }, 90000, "{\"$unset\":[\"f\"]}", "a b c d e",
          0, 0 },
        { "protected alone too large", { "email", "name", "$os", "$host", "utm_source", "_kx" }, 90000,
          "{\"$set\":{\"n\":1}}", "email name $os $host utm_source _kx", 1, 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world world = { .story = rows[i].name };
        struct person person = { .project = PROJECT, .uuid = people_person_uuid(PROJECT, SPAN("n")) };
        struct person_link link;
        struct err err = { 0 };
        static char line[300];

        world_open(&world);
        person.properties = wide_object(&world, rows[i].stored, rows[i].each);
        MUST(&world, people_person_put(world.txn, &person, &err));
        MUST(&world, people_link_put(world.txn, PROJECT, SPAN("n"), &(struct person_link){ person.id, 0 }, &err));
        world_flush(&world);
        (void)snprintf(line, sizeof line, "view n %s", rows[i].event);
        story_line(&world, line);
        assert_int_equal(world.result.warning_count, rows[i].warnings);
        if (rows[i].warnings > 0) {
            assert_int_equal(world.result.warnings[0].kind, PEOPLE_WARN_PROPERTIES_SIZE);
            assert_int_equal(world.result.warnings[0].trimmed, rows[i].trimmed);
        }
        world_flush(&world);
        CHECK(&world, stored_person(&world, "n", &person, &link));
        assert_string_equal(keys_of(&world, person.properties), rows[i].left);
        world_close(&world);
    }
}

static void oversized_group_is_trimmed(void **state)
{
    static const char *const stored[] = { "c", "b", "email", "d", "e", "f", "g", NULL };
    struct world world = { .story = "groups" };
    struct group group = { .project = PROJECT, .key = SPAN("o1"), .version = 1 };
    struct people_group got;
    struct json_members set;
    struct err err = { 0 };
    int index;

    (void)state;
    world_open(&world);
    group.properties = wide_object(&world, stored, 80000);
    MUST(&world, people_group_type(world.txn, PROJECT, SPAN("org"), true, &index, &err));
    MUST(&world, people_group_put(world.txn, &group, &err));
    world_flush(&world);
    MUST(&world, json_members_read(SPAN("{\"b\":1,\"n\":2}"), world.arena, &set, &err));
    MUST(&world, people_batch_group_set(world.batch, PROJECT, SPAN("org"), SPAN("o1"), &set, T_US, T_US, &got, &err));
    assert_true(got.known && !got.refused);
    assert_int_equal(got.trimmed, 0); /* b shrank: it fits */
    world_flush(&world);
    group.properties = wide_object(&world, stored, 80000);
    MUST(&world, people_group_put(world.txn, &group, &err));
    world_flush(&world);
    MUST(&world, json_members_read(SPAN("{\"n\":2}"), world.arena, &set, &err));
    MUST(&world, people_batch_group_set(world.batch, PROJECT, SPAN("org"), SPAN("o1"), &set, T_US, T_US, &got, &err));
    assert_true(got.known && !got.refused);
    assert_int_equal(got.trimmed, 1);
    assert_string_equal(keys_of(&world, got.properties), "c email d e f g n");
    /* And from there on what is too much is refused. */
    group.properties = wide_object(&world, (const char *const[]){ "z", NULL }, 200000);
    MUST(&world, json_members_read(group.properties, world.arena, &set, &err));
    MUST(&world, people_batch_group_set(world.batch, PROJECT, SPAN("org"), SPAN("o1"), &set, T_US, T_US, &got, &err));
    assert_true(got.refused && got.trimmed == 0);
    world_close(&world);
}

/* Of what is erased the versions are kept, and nothing else. */
static void erased_and_used_again(void **state)
{
    static const char *const stories[] = {
        "+ n {}\nversion n 3\nerase n\ntold n v103 deleted\nov n n 100 deleted\n? nobody n\nview n\n/\ntold n v104\nov n n 104\n"
        "? n v104 anon {}",
        "+ n {}\nalias n b\nerase n\n? nobody b\nview b\n/\ntold b v102\nov b b 102\nalias b n\n/\nov n b 102",
        "+ n {}\nalias n b\nerase n\n+ m {}\nalias m b\n/\nov b m 102\nidentify q n\n/\nov q q 0\nov n q 102",
        "+ n {}\nerase n\nerase n\ntold n not\nview n\n? n v101 anon {}\nerase n\ntold n v201 deleted\nov n n 201 deleted\nview n\n? n "
        "v202 anon {}",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void split_apart(void **state)
{
    static const char *const stories[] = {
        ("+ n {\"a\":1}\nversion n 4\nalias n b\nalias n c\nsplit n b\ntold b v106\nov b b 102\ntold n not\nuntold n\nuntold c\n? b @b\n"
        "? b v106 anon {}\n? b #102\n? c @n\n? n v5 ident {\"a\":1}"),
        "+ n {}\nalias n b\nalias n c\nsplit b c b\n? c @c\n? b @n\nsplit b n\n? n @n\n? b @n", /* n is its uuid's id */
        "+ n {}\n+ m {}\nsplit n m x\ntold m not\n? m @m\n? nobody x\nsplit x n\n? n @n",
        /* Merged and split again: above the row that said that it was gone. */
        "+ o {}\n+ n {}\nidentify n o\nsplit n o\ntold o v102\nov o o 102\n? o @o\n? n @n\nview o\n? o v102 anon {}",
        "+ o {}\nversion o 9\n+ n {}\nidentify n o\nsplit n o\ntold o v111\n? o @o", /* 109 was told, n has 10 */
    };

    (void)state;
    RUN_STORIES(stories);
}

static void personless(void **state)
{
    static const char *const stories[] = {
        "personless n {\"$set\":{\"a\":1}}\n= @n\n= at 5\n= {}\n= propertyless\n? nobody n\ntold n not",
        "personless n\nidentify n o\n? n @n\n? n #0\n? o #1",
        "personless o\nview n\nidentify n o\n/\nov o n 1\n? o @n",
        "+ n {}\nlater 300\npersonless n\n= force_upgrade\n= @n\n= at 1709287200\n= {}",
        "+ n {}\nlater 30\npersonless n\n= propertyless\n= @n\n= at 1709287200",
        "+ n {}\nlater 60\npersonless n\n= propertyless",
        "+ n {}\nlater 300\noptout n\n= propertyless\n= at 1709287200",
        "+ n {\"c\":1}\npersonless n {\"$set\":{\"c\":2}}\n= {}\n? n v0 anon {\"c\":1}",
        "+ o {}\nidentify n o\nlater 300\npersonless n\n= @o\nforced n\n= @n\n= at 5\n= propertyless",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* A flag that a server asks for must not make a person of each id that it was asked about. */
static void known_only(void **state)
{
    static const char *const stories[] = {
        "known n {\"$set\":{\"a\":1}}\n= propertyless\n= @n\n= at 5\n= {}\n? nobody n\ntold n not",
        "+ n {\"c\":1}\nknown n\n= full\n= {\"c\":1}\n= at 1709287200\n? n v0 anon {\"c\":1}",
        "+ n {\"c\":1}\nknown n {\"$set\":{\"c\":2}}\n= {\"c\":2}\n? n v1 anon {\"c\":2}",
        "view n\nknown n\n= full", /* made by an event before it in the batch */
        "+ n {}\ndelete n\nknown n\n= propertyless\n? nobody n",
        "known n\nview n {\"$set\":{\"a\":1}}\n? n v0 anon {\"a\":1}",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* T is 10:00:00. */
static void last_seen(void **state)
{
    static const char *const stories[] = {
        "later 2220\nseen n\n? n seen 0\ntold n v0\n? n v0 anon {}\n" /* 10:37 */
        "later 3540\nseen n\n? n seen 0\ntold n not\n"                /* 10:59 */
        "later 3720\nseen n\n? n seen 3600\ntold n v1\n"              /* 11:02 */
        "later -3600\nseen n\n? n seen 3600\ntold n not",             /* 09:00, late */
        "+ n {}\nview n\n? n seen never\ntold n not",
        "+ n {}\nseen n\n? n seen 0\ntold n v1",
        "+ n {}\nseen n\nlater 3600\nseen n\nlater 7200\nview n\n? n seen 3600\ntold n v1", /* a batch is a step */
        "+ n {}\n$exception n\n? n seen never",
        "later -1709287201\nseen n\n? n seen -1709290800", /* a second before 1970 */
        "seen o\nlater 7200\nseen n\nidentify n o\n? n seen 7200",
        "seen n\nlater 7200\nseen o\nidentify n o\n? n seen 7200",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void groups(void **state)
{
    static const char *const stories[] = {
        "group org o1 {\"foo\":\"bar\"}\norg 0 o1 v1 {\"foo\":\"bar\"}",
        "group org o1 {\"foo\":\"bar\"}\n/\ngroup org o1 {\"foo\":\"bar\"}\norg 0 o1 v1 {\"foo\":\"bar\"}",
        "group org o1 {\"foo\":\"bar\"}\n/\ngroup org o1 {\"foo2\":1}\norg 0 o1 v2 {\"foo\":\"bar\",\"foo2\":1}",
        "group org o1 {\"foo\":\"bar\"}\ngroup org o1 {\"foo2\":1}\norg 0 o1 v2 {\"foo\":\"bar\",\"foo2\":1}",
        "group org o1 {}\norg 0 o1 v1 {}",
        "group org o1 {\"n\":1}\n/\ngroup org o1 {\"n\":\"1\"}\norg 0 o1 v1 {\"n\":1}",
        "group org o1 {\"n\":1,\"t\":true,\"z\":0,\"s\":\" 2 \",\"x\":null}\n/\n"
        "group org o1 {\"n\":true,\"t\":\"1\",\"z\":\"\",\"s\":2.0}\norg 0 o1 v1 "
        "{\"n\":1,\"t\":true,\"z\":0,\"s\":\" 2 \",\"x\":null}",
        "group org o1 {\"x\":null}\n/\ngroup org o1 {\"x\":0}\norg 0 o1 v2 {\"x\":0}",
        "group org o1 {\"s\":\"a\"}\n/\ngroup org o1 {\"s\":\"b\"}\norg 0 o1 v2 {\"s\":\"b\"}",
        "group org o1 {\"s\":\"1a\"}\n/\ngroup org o1 {\"s\":1}\norg 0 o1 v2 {\"s\":1}",
        "group org o1 {\"l\":[1]}\n/\ngroup org o1 {\"l\":[1]}\norg 0 o1 v2 {\"l\":[1]}",
        "group org k {\"a\":1}\ngroup team k {\"b\":2}\norg 0 k v1 {\"a\":1}\nteam 1 k v1 {\"b\":2}",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void group_of_events(void **state)
{
    static const char *const types[] = { "org", "team", "c", "d", "e", "sixth" };
    struct world world = { .story = "groups of ordinary events" };
    struct json_members set;
    struct people_group group = { 0 };
    struct err err = { 0 };
    int64_t early_us = T_US - (int64_t)4 * 365 * 86400 * 1000000;

    (void)state;
    world_open(&world);
    for (int i = 0; i < 6; i++) {
        MUST(&world, people_batch_group(world.batch, PROJECT, span_text(types[i]), SPAN("k"), &group, &err));
        assert_int_equal(group.found, i < 5);
        assert_true(i == 5 || group.index == i);
        assert_false(group.known);
        assert_true(span_is(group.properties, "{}"));
    }
    MUST(&world, json_members_read(SPAN("{\"a\":1}"), world.arena, &set, &err));
    MUST(&world,
         people_batch_group_set(world.batch, PROJECT, SPAN("sixth"), SPAN("k"), &set, T_US, T_US, &group, &err));
    assert_false(group.found);
    MUST(&world,
         people_batch_group_set(world.batch, PROJECT, SPAN("team"), SPAN("k"), &set, early_us, T_US, &group, &err));
    assert_true(group.found && group.known && group.index == 1 && group.created_us == early_us);
    MUST(&world,
         people_batch_group_set(world.batch, PROJECT, SPAN("org"), SPAN("k"), NULL, T_US + 5, T_US, &group, &err));
    assert_true(group.known && group.index == 0 && group.created_us == T_US);
    world_flush(&world);
    MUST(&world, people_batch_group(world.batch, PROJECT, SPAN("team"), SPAN("k"), &group, &err));
    assert_true(group.known && group.created_us == early_us && span_is(group.properties, "{\"a\":1}"));
    world_close(&world);
}

/* --- names ------------------------------------------------------------------------------------- */

static void person_uuids(void **state)
{
    static const struct {
        uint32_t project;
        const char *id, *uuid;
    } rows[] = {
        { 1, "alice", "a6e21b41-7154-5e34-ae20-47017c663318" },
        { 1, "bob", "7d15b82a-df57-5ed7-b9e0-6dd1cadab965" },
        { 2, "alice", "20c26c94-d3ad-5703-96d6-27c0878c783e" },
        { 7, "anon-1", "93748eb4-66d1-568d-bdd9-a43f676ba2fa" },
        { 7, "user-1", "b8607302-7c03-520a-b899-8d6577b7ac74" },
        { 42, "x", "51c123c4-0502-526f-9a75-b405231203cd" },
        { 1, "\xe5\x90\x8d\xe5\x89\x8d", "341a78f8-8a67-5043-867c-08d5009d2036" },
    };
    char text[UUID_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct uuid uuid = people_person_uuid(rows[i].project, span_text(rows[i].id));

        uuid_format(&uuid, text);
        assert_memory_equal(text, rows[i].uuid, UUID_TEXT_BYTES);
    }
}

static void illegal_ids(void **state)
{
    static const struct {
        struct span id;
        bool illegal;
    } rows[] = {
        /* vector B30 among them */
        { SPAN("anonymous"), true },
        { SPAN("Anonymous"), true },
        { SPAN("GUEST"), true },
        { SPAN("distinctid"), true },
        { SPAN("distinct_id"), true },
        { SPAN("id"), true },
        { SPAN("not_authenticated"), true },
        { SPAN("email"), true },
        { SPAN("undefined"), true },
        { SPAN("UNDEFINED"), true },
        { SPAN("true"), true },
        { SPAN("FALSE"), true },
        { SPAN("[object Object]"), true },
        { SPAN("[OBJECT OBJECT]"), false },
        { SPAN("NaN"), true },
        { SPAN("Nan"), false },
        { SPAN("nan"), false },
        { SPAN("None"), true },
        { SPAN("none"), true },
        { SPAN("NONE"), false },
        { SPAN("null"), true },
        { SPAN("NULL"), false },
        { SPAN("0"), true },
        { SPAN("00"), false },
        { SPAN("'0'"), true },
        { SPAN("\"undefined\""), true },
        { SPAN("ID"), true },
        { SPAN("TRUE"), true },
        { SPAN("Guest"), true },
        { SPAN("\"null\""), true },
        { SPAN("'null\""), false },
        { SPAN("\"Guest\""), true },
        { SPAN("''null''"), false },
        { SPAN(" null "), false },
        { SPAN(""), true },
        { SPAN(" \t\n\v\f\r"), true },
        { SPAN("\xc2\xa0\xe3\x80\x80\xef\xbb\xbf\xe2\x80\x83"), true },
        { SPAN("\xc2\xa0"
               "a"),
          false },
        { SPAN("a\0b"), true },
        { SPAN("\0"), true },
        { SPAN("a@b.example"), false },
        { SPAN("'"), false },
        { SPAN("\xc2"), false },
    };
    char long_id[802];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (people_id_is_illegal(rows[i].id) != rows[i].illegal)
            fail_msg("%.*s", SPAN_ARG(rows[i].id));
    for (size_t i = 0; i < sizeof long_id; i += 2)
        memcpy(long_id + i, "\xc3\xa9", 2);
    assert_false(people_id_is_illegal(span_of(long_id, 800))); /* 400 code points */
    assert_true(people_id_is_illegal(span_of(long_id, 802)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(person_uuids),
        cmocka_unit_test(illegal_ids),
        cmocka_unit_test(updates),
        cmocka_unit_test(merges),
        cmocka_unit_test(merges_of_too_many_ids),
        cmocka_unit_test(joins_in_an_hour),
        cmocka_unit_test(merges_of_many_ids),
        cmocka_unit_test(deleted_and_used_again),
        cmocka_unit_test(erased_and_used_again),
        cmocka_unit_test(split_apart),
        cmocka_unit_test(too_large_is_refused),
        cmocka_unit_test(oversized_is_trimmed),
        cmocka_unit_test(oversized_group_is_trimmed),
        cmocka_unit_test(personless),
        cmocka_unit_test(known_only),
        cmocka_unit_test(last_seen),
        cmocka_unit_test(groups),
        cmocka_unit_test(group_of_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
