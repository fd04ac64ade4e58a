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

#include "people/story_steps_test_kit.h"

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
