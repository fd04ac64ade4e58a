/* people/earlier_test.c - a store of before properties were packed: read as it is, and packed when a person is written. */
#include "people/story_test_kit.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "people/lmdb.h"

#define TEXT "{\"$initial_browser\":\"Lynx\",\"my \\u00e9\":[1, 2],\"$browser\":\"Lynx\"}"

/* As store.c drew a person of version 1: the form of its bytes is never to be taken from today's code. */
static void put_plain_person(struct world *world, uint64_t id, const char *distinct_id, uint8_t version)
{
    struct uuid uuid = people_person_uuid(PROJECT, span_text(distinct_id));
    uint8_t value[52 + sizeof TEXT - 1] = { version, 1 };
    struct err err = { 0 };

    bytes_put_u64(value + 8, (uint64_t)T_US);
    bytes_put_u64(value + 16, (uint64_t)CLOCK_NONE);
    bytes_put_u64(value + 24, 41);
    memcpy(value + 32, uuid.bytes, 16);
    bytes_put_u32(value + 48, PROJECT);
    memcpy(value + 52, TEXT, sizeof TEXT - 1);
    bytes_put_u32(value + 4, crc32c(crc32c(0, span_of(&id, 8)), span_of(value + 8, sizeof value - 8)));
    MUST(world, people_table_put(world->txn, TABLE_PERSONS, span_of(&id, 8), span_of(value, sizeof value), &err));
    MUST(world, people_link_put(world->txn, PROJECT, span_text(distinct_id), &(struct person_link){ id, 0 }, &err));
}

static void put_plain_group(struct world *world)
{
    uint8_t key[9] = { 0, 0, 0, PROJECT, 0, 0, 'a', 'c', 'e' }, value[28 + sizeof TEXT - 1] = { 1 };
    struct err err = { 0 };
    int index;

    MUST(world, people_group_type(world->txn, PROJECT, SPAN("org"), true, &index, &err));
    bytes_put_u64(value + 8, (uint64_t)T_US);
    bytes_put_u64(value + 16, 3);
    memcpy(value + 28, TEXT, sizeof TEXT - 1);
    bytes_put_u32(value + 4, crc32c(crc32c(0, SPAN("ace")), span_of(value + 8, sizeof value - 8)));
    MUST(world, people_table_put(world->txn, TABLE_GROUPS, span_of(key, sizeof key), span_of(value, sizeof value), &err));
}

static void say(struct world *world, const char *line)
{
    char copy[LINE_MAX_BYTES];

    (void)snprintf(copy, sizeof copy, "%s", line);
    (void)snprintf(world->line, sizeof world->line, "%s", line);
    story_line(world, copy);
}

static uint8_t stored_version(struct world *world, enum people_table table, struct span key)
{
    struct span value = { NULL, 0 };
    struct err err = { 0 };

    CHECK(world, people_table_get(world->txn, table, key, &value, &err) == 1);
    return value.at[0];
}

static void plain_values_are_read_and_become_packed(void **state)
{
    struct world world = { .story = "earlier" };
    struct person_link link;
    struct person person;
    struct people_group group;
    struct json_members set;
    struct err err = { 0 };
    uint64_t id = 1, next = 3;
    uint8_t group_key[9] = { 0, 0, 0, PROJECT, 0, 0, 'a', 'c', 'e' };

    (void)state;
    world_open(&world);
    put_plain_person(&world, 1, "ann", 1);
    put_plain_person(&world, 2, "bob", 1);
    put_plain_group(&world);
    MUST(&world, people_table_put(world.txn, TABLE_META, SPAN("person_next"), span_of(&next, 8), &err));
    world_flush(&world);
    CHECK(&world, stored_person(&world, "ann", &person, &link) && span_is(person.properties, TEXT));

    say(&world, "view ann"); /* shown, and not changed: the value stays */
    CHECK(&world, span_is(world.result.properties, TEXT));
    say(&world, "view ann {\"$set\":{\"$browser\":\"w3m\"}}"); /* filtered: on the row alone */
    CHECK(&world, span_is(unpacked(&world, world.result.properties),
                          "{\"$initial_browser\":\"Lynx\",\"my \\u00e9\":[1, 2],\"$browser\":\"w3m\"}"));
    world_flush(&world);
    assert_int_equal(stored_version(&world, TABLE_PERSONS, span_of(&id, 8)), 1);

    say(&world, "view ann {\"$set\":{\"plan\":\"x\"},\"$unset\":[\"$initial_browser\"]}");
    say(&world, "? ann v42 ident {\"my \\u00e9\":[1, 2],\"$browser\":\"Lynx\",\"plan\":\"x\"}");
    assert_int_equal(stored_version(&world, TABLE_PERSONS, span_of(&id, 8)), 2);
    CHECK(&world, stored_person(&world, "ann", &person, &link) && packed_is(person.properties));
    say(&world, "merge ann bob"); /* a plain one into a packed one */
    say(&world, "? ann v43 ident {\"my \\u00e9\":[1, 2],\"$browser\":\"Lynx\",\"plan\":\"x\",\"$initial_browser\":\"Lynx\"}");

    MUST(&world, people_batch_group(world.batch, PROJECT, SPAN("org"), SPAN("ace"), &group, &err));
    CHECK(&world, group.known && span_is(group.properties, TEXT));
    MUST(&world, json_members_read(SPAN("{\"n\":5}"), world.arena, &set, &err));
    MUST(&world, people_batch_group_set(world.batch, PROJECT, SPAN("org"), SPAN("ace"), &set, T_US, T_US, &group, &err));
    world_flush(&world);
    assert_int_equal(stored_version(&world, TABLE_GROUPS, span_of(group_key, sizeof group_key)), 2);
    MUST(&world, people_batch_group(world.batch, PROJECT, SPAN("org"), SPAN("ace"), &group, &err));
    CHECK(&world, packed_is(group.properties));
    CHECK(&world, span_is(unpacked(&world, group.properties),
                          "{\"$initial_browser\":\"Lynx\",\"my \\u00e9\":[1, 2],\"$browser\":\"Lynx\",\"n\":5}"));
    world_close(&world);
}

static void later_values_are_refused(void **state)
{
    struct world world = { .story = "later" };
    struct person_link link = { 0 };
    struct person person;
    struct err err = { 0 };

    (void)state;
    world_open(&world);
    put_plain_person(&world, 1, "ann", 3);
    MUST(&world, people_link_get(world.txn, PROJECT, SPAN("ann"), &link, &err));
    assert_int_equal(people_person_get(world.txn, link.person, &person, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_string_equal(err.text, "people: a person of form 3; this Penstock reads form 2");
    world_close(&world);
}

/* An earlier Penstock is told by the format that it cannot read what is there; not before there is something. */
static void format_rises_with_the_first_person(void **state)
{
    struct world world = { .story = "format" };
    struct err err = { 0 };
    struct span value;
    uint32_t format = 2;

    (void)state;
    world_open(&world);
    MUST(&world, people_table_put(world.txn, TABLE_META, SPAN("format"), span_of(&format, 4), &err));
    world_flush(&world);
    people_abort(world.txn);
    people_close(world.people);
    MUST(&world, people_open(&(struct people_options){ .folder = world.folder, .map_bytes_max = (uint64_t)1 << 28 }, &world.people,
                             &err));
    world_begin(&world);
    for (uint32_t want = 2; want <= 3; want++) {
        if (want == 3)
            say(&world, "view ann");
        if (want == 3) { /* what came to nothing raised nothing, and the next one does */
            people_abort(world.txn);
            world_begin(&world);
            say(&world, "view ann");
        }
        world_flush(&world);
        MUST(&world, people_table_get(world.txn, TABLE_META, SPAN("format"), &value, &err));
        assert_int_equal(bytes_get_u32(value.at), want);
    }
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values_are_read_and_become_packed),
        cmocka_unit_test(later_values_are_refused),
        cmocka_unit_test(format_rises_with_the_first_person),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
