/* people/trim_test.c - persons and groups that are too large: refused whole, or cut to size when they were stored so. */
#include "people/story_test_kit.h"

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
        { "vector D25: others in the order of names", { "c", "a", "b", "d", "e", "f", "g" }, 100000, "{\"$set\":{\"n\":1}}",
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
        assert_string_equal(keys_of(&world, unpacked(&world, person.properties)), rows[i].left);
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
    assert_string_equal(keys_of(&world, unpacked(&world, got.properties)), "c email d e f g n");
    /* And from there on what is too much is refused. */
    group.properties = wide_object(&world, (const char *const[]){ "z", NULL }, 200000);
    MUST(&world, json_members_read(group.properties, world.arena, &set, &err));
    MUST(&world, people_batch_group_set(world.batch, PROJECT, SPAN("org"), SPAN("o1"), &set, T_US, T_US, &got, &err));
    assert_true(got.refused && got.trimmed == 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_large_is_refused),
        cmocka_unit_test(oversized_is_trimmed),
        cmocka_unit_test(oversized_group_is_trimmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
