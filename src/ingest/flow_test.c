/* ingest/flow_test.c - several events after each other: persons, merges, groups, repeats, warnings over time.
 *
 * A flow is a list of steps; each expectation names a row by table and number. The flows run twice: all
 * events in one batch, and one batch each; only versions may differ, so those are asked of the second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ingest/testing.h"

enum { STEPS_MAX = 8, WANTS_MAX = 10 };

struct step {
    const char *distinct_id, *event, *data;
    int64_t     after_s; /* its time, after the usual one */
    uint8_t     uuid;    /* 0: a new one */
};
struct want {
    enum row_table table;
    int            n;  /* of its table; -1: the last one */
    const char    *path, *value;
};
struct flow {
    const char *name;
    struct step steps[STEPS_MAX];
    struct want wants[WANTS_MAX];
    int         warnings; /* rows, exactly */
    int         events;
};

#define PROPS(text) "{\"properties\":" text "}"
#define SET(text) PROPS("{\"$set\":" text "}")
#define P "properties/"
#define PP "person_properties/"
#define ANON(id) PROPS("{\"$anon_distinct_id\":\"" id "\"}")
#define ALIAS(id) PROPS("{\"alias\":\"" id "\"}")
#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X400 X50 X50 X50 X50 X50 X50 X50 X50
#define PERSONLESS PROPS("{\"$process_person_profile\":false}")
#define CREATE(id) { id, "view", "{}" }
/* An id whose person is identified: it took another id in. */
#define IDENTIFIED(id) { id, "$identify", ANON(id "-before") }

static const struct flow flows[] = {
    { "vector D03: properties: $set over $set_once", { { "n", "view", PROPS("{\"$set_once\":{\"a\":1,\"b\":2},\"$set\":{\"b\":3,\"c\":4}}") } },
      { { ROW_EVENT, 0, PP "a", "1" }, { ROW_EVENT, 0, PP "b", "3" }, { ROW_EVENT, 0, PP "c", "4" },
        { ROW_PERSON, -1, "properties/c", "4" }, { ROW_PERSON, -1, "is_identified", "0" }, { ROW_PERSON, -1, "version", "0" } },
      0, 1 },
    { "vector D04: each row carries the person as it was then", { { "n", "view", SET("{\"a\":1}") }, { "n", "view", SET("{\"a\":2}") } },
      { { ROW_EVENT, 0, PP "a", "1" }, { ROW_EVENT, 1, PP "a", "2" }, { ROW_PERSON, -1, "properties/a", "2" } }, 0, 2 },
    { "a second $set_once changes nothing", { { "n", "view", SET("{\"c\":4}") },
                                              { "n", "view", PROPS("{\"$set_once\":{\"c\":3,\"e\":4}}") } },
      { { ROW_EVENT, 1, PP "c", "4" }, { ROW_EVENT, 1, PP "e", "4" } }, 0, 2 },
    { "a passing page is not worth a person's row", { { "n", "view", PROPS("{\"$current_url\":\"u1\"}") },
                                                      { "n", "view", PROPS("{\"$current_url\":\"u2\"}") },
                                                      { "n", "view", "{}" } },
      { { ROW_EVENT, 1, PP "$current_url", "\"u2\"" }, { ROW_EVENT, 1, PP "$initial_current_url", "\"u1\"" } }, 0, 3 },
    { "vector D15, D16: $unset by list and by object", { { "n", "view", SET("{\"a\":1,\"b\":2,\"c\":3}") },
                                        { "n", "view", PROPS("{\"$unset\":[\"a\",\"zz\"]}") },
                                        { "n", "view", PROPS("{\"$unset\":{\"b\":\"\"}}") } },
      { { ROW_EVENT, 1, PP "a", "-" }, { ROW_EVENT, 1, PP "b", "2" }, { ROW_EVENT, 2, PP "b", "-" }, { ROW_EVENT, 2, PP "c", "3" },
        { ROW_EVENT, 1, P "$unset", "[\"a\",\"zz\"]" } }, 0, 3 },
    { "vector B03: a top-level $unset means nothing", { { "n", "view", SET("{\"a\":1}") }, { "n", "view", "{\"$unset\":[\"a\"]}" } },
      { { ROW_EVENT, 1, PP "a", "1" }, { ROW_EVENT, 1, P "$unset", "-" } }, 0, 2 },
    { "vector D20: a heatmap changes nobody", { { "n", "view", SET("{\"b\":3}") },
        { "n", "$$heatmap", PROPS("{\"$set\":{\"b\":4},\"$viewport_height\":9,\"$viewport_width\":9,\"$heatmap_data\":{\"u\":[{\"x\":1,\"y\":1,\"type\":\"c\"}]}}") },
        { "n", "view", "{}" } },
      { { ROW_EVENT, 1, PP "b", "3" }, { ROW_HEATMAP, 0, "distinct_id", "n" } }, 0, 2 },
    { "an exception changes nobody", { { "n", "view", SET("{\"b\":3}") }, { "n", "$exception", SET("{\"b\":4}") },
                                       { "n", "view", "{}" } },
      { { ROW_EVENT, 2, PP "b", "3" } }, 0, 3 },

    { "vector E11: identify takes the anonymous person in", { { "o", "view", SET("{\"a\":1,\"b\":2}") }, { "n", "view", SET("{\"b\":3}"), 10 },
                                                  { "n", "$identify", PROPS("{\"$anon_distinct_id\":\"o\",\"$set\":{\"d\":6}}"), 20 } },
      { { ROW_EVENT, 2, "person_id", "U:n" }, { ROW_EVENT, 2, PP "a", "1" }, { ROW_EVENT, 2, PP "b", "3" },
        { ROW_EVENT, 2, PP "d", "6" }, { ROW_EVENT, 2, "person_created_at", "1709287200000000" } }, 0, 3 },
    { "vector E03: identify of an unknown person keeps the anonymous one", { CREATE("o"), { "n", "$identify", ANON("o") } },
      { { ROW_EVENT, 1, "person_id", "U:o" }, { ROW_PERSON, -1, "is_identified", "1" } }, 0, 2 },
    { "vector D21: identify without an anonymous id identifies nobody", { { "n", "$identify", SET("{\"a\":1}") } },
      { { ROW_PERSON, -1, "is_identified", "0" }, { ROW_PERSON, -1, "properties/a", "1" } }, 0, 1 },
    { "vector E07: two identified persons stay two", { IDENTIFIED("o"), CREATE("n"), { "n", "$identify", ANON("o") } },
      { { ROW_WARNING, 0, "type", "cannot_merge_already_identified" },
        { ROW_WARNING, 0, "details/sourcePersonDistinctId", "\"o\"" }, { ROW_WARNING, 0, "details/targetPersonDistinctId", "\"n\"" },
        { ROW_EVENT, 2, "person_id", "U:n" } }, 1, 3 },
    { "vector E08, E10: this warning comes every time", { IDENTIFIED("o"), IDENTIFIED("n"), { "n", "$create_alias", ALIAS("o") },
                                         { "n", "$identify", ANON("o") } },
      { { ROW_EVENT, 3, "person_id", "U:n" } }, 2, 4 },
    { "vector E09: unless it is meant", { IDENTIFIED("o"), IDENTIFIED("n"), { "n", "$merge_dangerously", ALIAS("o") }, { "o", "view", "{}" } },
      { { ROW_EVENT, 3, "person_id", "U:n" } }, 0, 4 },
    { "vector E22: alias of two unknown ids", { { "n", "$create_alias", ALIAS("o") }, { "o", "view", "{}" } },
      { { ROW_EVENT, 1, "person_id", "U:n" } }, 0, 2 },
    { "vector E13: to itself", { CREATE("n"), { "n", "$identify", ANON("n") } }, { { ROW_EVENT, 1, "person_id", "U:n" } }, 0, 2 },
    { "vector E15: to an id that everybody uses", { CREATE("n"), { "n", "$identify", ANON("undefined") } },
      { { ROW_WARNING, 0, "type", "cannot_merge_with_illegal_distinct_id" },
        { ROW_WARNING, 0, "details/illegalDistinctId", "\"undefined\"" }, { ROW_WARNING, 0, "details/otherDistinctId", "\"n\"" } },
      1, 2 },
    { "vector E14: from an id that everybody uses", { { "null", "$identify", ANON("o") } },
      { { ROW_WARNING, 0, "details/illegalDistinctId", "\"null\"" }, { ROW_WARNING, 0, "details/otherDistinctId", "\"o\"" },
        { ROW_EVENT, 0, "person_id", "U:null" } }, 1, 1 },
    { "vector E17: blank ids", { { "n", "$identify", ANON("") }, { "n", "$identify", ANON("   ") } }, { { ROW_EVENT, 1, "person_id", "U:n" } }, 2, 2 },
    { "vector E36: a chain in order is one person", { { "a", "$create_alias", ALIAS("b") }, { "b", "$create_alias", ALIAS("c") },
                                          { "c", "$create_alias", ALIAS("d") }, { "d", "view", "{}" } },
      { { ROW_EVENT, 3, "person_id", "U:a" } }, 0, 4 },

    { "vector F01: personless, nobody known", { { "n", "view", PERSONLESS } },
      { { ROW_EVENT, 0, "person_id", "U:n" }, { ROW_EVENT, 0, "person_created_at", "5000000" },
        { ROW_EVENT, 0, "person_mode", "propertyless" } }, 0, 1 },
    { "vector F05, F08: personless, somebody known for five minutes", { CREATE("n"), { "n", "view", PERSONLESS, 300 } },
      { { ROW_EVENT, 1, "person_mode", "force_upgrade" }, { ROW_EVENT, 1, "person_properties", "{}" },
        { ROW_EVENT, 1, "person_created_at", "1709287200000000" } }, 0, 2 },
    { "vector F06: personless, somebody known for half a minute", { CREATE("n"), { "n", "view", PERSONLESS, 30 } },
      { { ROW_EVENT, 1, "person_mode", "propertyless" }, { ROW_EVENT, 1, "person_id", "U:n" } }, 0, 2 },
    { "vector F03: personless before the merge: the override repairs it", { { "o", "view", PERSONLESS }, CREATE("n"),
                                                               { "n", "$identify", ANON("o") } },
      { { ROW_DISTINCT, -1, "distinct_id", "o" }, { ROW_DISTINCT, -1, "version", "1" }, { ROW_DISTINCT, -1, "person_id", "U:n" } },
      0, 3 },

    { "a question for a flag, of somebody known", { CREATE("n"),
        { "n", "$feature_flag_called", PROPS("{\"$feature_flag_response\":true,\"$set\":{\"a\":1}}") } },
      { { ROW_EVENT, 1, "person_mode", "full" }, { ROW_EVENT, 1, PP "a", "1" }, { ROW_EVENT, 1, P "$set/a", "1" } }, 0, 2 },
    { "of nobody: and nobody is made", { { "n", "$feature_flag_called", PROPS("{\"$feature_flag_response\":true}") } },
      { { ROW_PERSON, -1, NULL, NULL }, { ROW_EVENT, 0, "person_id", "U:n" } }, 0, 1 },

    { "vector G01, G02: a group and an event of it", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o1\",\"$group_set\":{\"foo\":\"bar\"}}") },
                                      { "n", "view", PROPS("{\"$groups\":{\"org\":\"o1\"}}") } },
      { { ROW_GROUP, -1, "group_key", "o1" }, { ROW_GROUP, -1, "group_type_index", "0" }, { ROW_GROUP, -1, "group_type", "org" },
        { ROW_GROUP, -1, "version", "1" }, { ROW_GROUP, -1, "group_properties/foo", "\"bar\"" }, { ROW_EVENT, 1, P "$group_0", "\"o1\"" },
        { ROW_EVENT, 1, "$group_0", "o1" }, { ROW_EVENT, 1, "group0_properties/foo", "\"bar\"" },
        { ROW_EVENT, 1, "group0_created_at", "1709287200000000" } }, 0, 2 },
    { "types of $groups come before the one that is identified", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o1\",\"$group_set\":{\"foo\":\"bar\"},\"$groups\":{\"team\":\"t\",\"org\":\"o1\"}}") } },
      { { ROW_EVENT, 0, P "$group_0", "\"t\"" }, { ROW_EVENT, 0, P "$group_1", "\"o1\"" }, { ROW_GROUP, -1, "group_type_index", "1" },
        { ROW_EVENT, 0, "group1_properties/foo", "\"bar\"" } }, 0, 1 },
    { "vector G03: a type first seen on an event", { { "n", "view", PROPS("{\"$groups\":{\"org\":\"o\"}}") },
                                         { "n", "view", PROPS("{\"$groups\":{\"team\":\"t\"}}") } },
      { { ROW_EVENT, 1, P "$group_1", "\"t\"" }, { ROW_EVENT, 1, P "$group_0", "-" }, { ROW_EVENT, 1, "group1_properties", "{}" },
        { ROW_EVENT, 1, "group1_created_at", "-" } }, 0, 2 },
    { "vector G04: five types, not six", { { "n", "view", PROPS("{\"$groups\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\",\"d\":\"4\",\"e\":\"5\",\"f\":\"6\"}}") } },
      { { ROW_EVENT, 0, P "$group_4", "\"5\"" }, { ROW_EVENT, 0, P "$groups/f", "\"6\"" }, { ROW_EVENT, 0, "$group_4", "5" },
        { ROW_WARNING, 0, "type", "group_type_limit_reached" }, { ROW_WARNING, 0, "details/groupType", "\"f\"" } }, 1, 1 },
    { "vector G05: a numeric key stays a number", { { "n", "view", PROPS("{\"$groups\":{\"org\":42}}") } },
      { { ROW_EVENT, 0, P "$group_0", "42" }, { ROW_EVENT, 0, "$group_0", "42" } }, 0, 1 },
    { "vector A17: a numeric key of $groupidentify is text", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":42}") } },
      { { ROW_GROUP, -1, "group_key", "42" } }, 0, 1 },
    { "$groups wins over the client's own key, in its place", { { "n", "view", PROPS("{\"$group_0\":\"x\",\"$groups\":{\"org\":\"o\"},\"z\":1}") } },
      { { ROW_EVENT, 0, "properties", "{\"$group_0\":\"o\",\"$groups\":{\"org\":\"o\"},\"z\":1}" } }, 0, 1 },
    { "a client's own key without $groups", { { "n", "view", PROPS("{\"$group_2\":\"x\"}") } },
      { { ROW_EVENT, 0, P "$group_2", "\"x\"" }, { ROW_EVENT, 0, "$group_2", "x" } }, 0, 1 },
    { "vector G06: groups that are a text", { { "n", "view", PROPS("{\"$groups\":\"x\"}") } },
      { { ROW_EVENT, 0, P "$group_0", "-" }, { ROW_WARNING, 0, "type", "invalid_groups" } }, 1, 1 },
    { "a group whose key is an object: its type is known, and the row has what was sent", { { "n", "view", PROPS("{\"$groups\":{\"org\":{\"a\":1},\"team\":\"t\"}}") } },
      { { ROW_EVENT, 0, P "$group_0", "{\"a\":1}" }, { ROW_EVENT, 0, "$group_0", "{\"a\":1}" }, { ROW_EVENT, 0, "group0_properties", "{}" },
        { ROW_EVENT, 0, P "$group_1", "\"t\"" }, { ROW_WARNING, 0, "details/receivedType", "\"object\"" } }, 1, 1 },
    { "a group whose key is a list", { { "n", "view", PROPS("{\"$groups\":{\"org\":[\"a\"],\"team\":\"t\"}}") } },
      { { ROW_EVENT, 0, P "$group_0", "[\"a\"]" }, { ROW_EVENT, 0, P "$group_1", "\"t\"" }, { ROW_WARNING, 0, "details/receivedType", "\"array\"" } }, 1, 1 },
    { "a group whose key is null", { { "n", "view", PROPS("{\"$groups\":{\"org\":null,\"team\":\"t\"}}") } },
      { { ROW_EVENT, 0, P "$group_0", "null" }, { ROW_EVENT, 0, "$group_0", "-" }, { ROW_EVENT, 0, "group0_properties", "{}" },
        { ROW_EVENT, 0, P "$group_1", "\"t\"" } }, 0, 1 },
    { "a group whose key is too long", { { "n", "view", PROPS("{\"$groups\":{\"org\":\"" X400 "x\",\"team\":\"t\"}}") } },
      { { ROW_EVENT, 0, P "$group_0", "\"" X400 "x\"" }, { ROW_EVENT, 0, P "$group_1", "\"t\"" }, { ROW_WARNING, 0, "type", "group_key_too_long" } }, 1, 1 },
    { "a group without a name is none", { { "n", "view", PROPS("{\"$groups\":{\"\":\"o\",\"team\":\"t\"}}") } },
      { { ROW_EVENT, 0, P "$group_0", "\"t\"" }, { ROW_WARNING, 0, "type", "invalid_groups" } }, 1, 1 },
    { "vector G08: group properties merge", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":{\"foo\":\"bar\"}}") },
                                  { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":{\"foo2\":1}}") },
                                  { "n", "view", PROPS("{\"$groups\":{\"org\":\"o\"}}") } },
      { { ROW_EVENT, 2, "group0_properties/foo", "\"bar\"" }, { ROW_EVENT, 2, "group0_properties/foo2", "1" } }, 0, 3 },
    { "vector G07: the same again is no change", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":{\"foo\":\"bar\"}}") },
                                  { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":{\"foo\":\"bar\"}}") } },
      { { ROW_GROUP, -1, "version", "1" } }, 0, 2 },
    { "vector G09: nor is the same as text", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":{\"n\":1}}") },
                                  { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":{\"n\":\"1\"}}") } },
      { { ROW_GROUP, -1, "version", "1" }, { ROW_GROUP, -1, "group_properties/n", "1" } }, 0, 2 },
    { "vector G11: a group without a key is none", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\"}") },
                                         { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"\"}") } },
      { { ROW_GROUP, -1, NULL, NULL } }, 0, 2 },
    { "group properties that are text", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":\"x\"}") } },
      { { ROW_GROUP, -1, NULL, NULL }, { ROW_WARNING, 0, "type", "invalid_group_set" }, { ROW_WARNING, 0, "details/groupKey", "\"o\"" } }, 1, 1 },
    { "vector G06: or a list", { { "n", "view", PROPS("{\"$groups\":[\"x\"]}") } },
      { { ROW_EVENT, 0, P "$group_0", "-" }, { ROW_WARNING, 0, "details/receivedType", "\"array\"" } }, 1, 1 },
    { "vector G13: a group from 2020", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"o\"}"), -126230400 } },
      { { ROW_GROUP, -1, "created_at", "1583056800000000" } }, 0, 1 },
    { "vector G14: one key in two types", { { "n", "$groupidentify", PROPS("{\"$group_type\":\"org\",\"$group_key\":\"k\",\"$group_set\":{\"a\":1}}") },
                                { "n", "$groupidentify", PROPS("{\"$group_type\":\"team\",\"$group_key\":\"k\",\"$group_set\":{\"a\":2}}") },
                                { "n", "view", PROPS("{\"$groups\":{\"org\":\"k\",\"team\":\"k\"}}") } },
      { { ROW_EVENT, 2, "group0_properties/a", "1" }, { ROW_EVENT, 2, "group1_properties/a", "2" } }, 0, 3 },
    { "a personless $groupidentify only names its type",
      { { "n", "$groupidentify", PROPS("{\"$process_person_profile\":false,\"$group_type\":\"org\",\"$group_key\":\"o\",\"$group_set\":{}}") },
        { "n", "view", PROPS("{\"$groups\":{\"team\":\"t\"}}") } },
      { { ROW_GROUP, -1, NULL, NULL }, { ROW_EVENT, 1, P "$group_1", "\"t\"" } }, 0, 2 },

    { "vector E34: an id of more than 400 characters takes nobody in", { CREATE("n"), { "n", "$identify", ANON(X400 "x") } },
      { { ROW_WARNING, 0, "type", "cannot_merge_with_illegal_distinct_id" }, { ROW_WARNING, 0, "details/otherDistinctId", "\"n\"" },
        { ROW_PERSON, -1, "is_identified", "0" }, { ROW_EVENT, 1, "person_id", "U:n" } }, 1, 2 },
    { "vector E34: one of 400 does", { CREATE("n"), { "n", "$identify", ANON(X400) } },
      { { ROW_PERSON, -1, "is_identified", "1" }, { ROW_DISTINCT, -1, "distinct_id", X400 } }, 0, 2 },

    { "vector E25: an identify that comes twice", { CREATE("o"), CREATE("n"), { "n", "$identify", ANON("o"), 0, 5 }, { "n", "$identify", ANON("o"), 0, 5 } },
      { { ROW_EVENT, 2, "person_id", "U:n" }, { ROW_DISTINCT, -1, "distinct_id", "o" }, { ROW_DISTINCT, -1, "version", "1" } }, 0, 3 },
    { "vector J08, J10: the same event again, or with the time of another day", { { "n", "view", SET("{\"a\":1}"), 0, 5 },
        { "n", "view", SET("{\"a\":2}"), 0, 5 }, { "n", "view", SET("{\"a\":3}"), 86400, 5 } },
      { { ROW_EVENT, 0, PP "a", "1" }, { ROW_PERSON, -1, "version", "0" } }, 0, 1 },
    { "a repeat has no effect", { { "n", "view", SET("{\"a\":1}"), 0, 5 }, { "n", "view", SET("{\"a\":2}"), 0, 5 }, { "n", "view", "{}" } },
      { { ROW_EVENT, 1, PP "a", "1" } }, 0, 2 },
    { "a dropped event is not a first one", { { "n", "$identify", PERSONLESS, 0, 6 }, { "n", "view", "{}", 0, 6 } },
      { { ROW_EVENT, 0, "event", "view" } }, 1, 1 },
    { "a warning comes once an hour", { { "n", "view", PROPS("{\"$process_person_profile\":1}") },
                                        { "n", "view", PROPS("{\"$process_person_profile\":1}") } },
      { { ROW_WARNING, 0, "type", "invalid_process_person_profile" } }, 1, 2 },
};

static void check_want(struct fixture *fixture, const struct flow *flow, const struct want *want)
{
    size_t      count = fixture_count(fixture, want->table);
    size_t      n = want->n < 0 ? count - 1 : (size_t)want->n;
    struct row  row;
    char        value[4096], expected[64];
    struct uuid person;

    if (want->path == NULL) {
        if (count != 0)
            fail_msg("%s: %zu rows of %s", flow->name, count, row_tables[want->table].name);
        return;
    }
    if (n >= count || !fixture_row(fixture, want->table, n, &row)) {
        fail_msg("%s: no row %d of %s", flow->name, want->n, row_tables[want->table].name);
        return;
    }
    fixture_value(&row, want->path, value, sizeof value);
    (void)snprintf(expected, sizeof expected, "%s", want->value);
    if (strncmp(want->value, "U:", 2) == 0) { /* the person of that id: a UUID made of project and id */
        person = people_person_uuid(7, span_text(want->value + 2));
        uuid_format(&person, expected);
        expected[UUID_TEXT_BYTES] = '\0';
    }
    if (strcmp(value, strncmp(want->value, "U:", 2) == 0 ? expected : want->value) != 0)
        fail_msg("%s: %s %d: %s is %s, not %s", flow->name, row_tables[want->table].name, want->n, want->path, value, want->value);
}

static void check_flow(const struct flow *flow, bool one_batch)
{
    struct fixture fixture;
    struct arena  *arena = arena_new(1 << 16, 1 << 24);
    struct span    bodies[STEPS_MAX];
    size_t         count = 0;

    fixture_init(&fixture);
    for (; count < STEPS_MAX && flow->steps[count].event != NULL; count++) {
        const struct step *step = &flow->steps[count];
        struct record      record = { .distinct_id = span_text(step->distinct_id), .event = span_text(step->event),
                                      .data = span_text(step->data), .timestamp_us = FIXTURE_NOW_US + step->after_s * 1000000 };

        record.uuid.bytes[15] = step->uuid;
        record.uuid.bytes[6] = step->uuid == 0 ? 0 : 0x70;
        bodies[count] = fixture_record(&fixture, record, arena);
        if (!one_batch)
            fixture_run(&fixture, &bodies[count], 1);
    }
    if (one_batch)
        fixture_run(&fixture, bodies, count);
    if (fixture_count(&fixture, ROW_EVENT) != (size_t)flow->events)
        fail_msg("%s: %zu event rows", flow->name, fixture_count(&fixture, ROW_EVENT));
    if (fixture_count(&fixture, ROW_WARNING) != (size_t)flow->warnings)
        fail_msg("%s: %zu warnings", flow->name, fixture_count(&fixture, ROW_WARNING));
    for (size_t i = 0; i < WANTS_MAX && (flow->wants[i].path != NULL || flow->wants[i].n != 0); i++)
        if (!one_batch || (flow->wants[i].table != ROW_DISTINCT && /* their order within a batch is nobody's promise */
                           (flow->wants[i].path == NULL || strcmp(flow->wants[i].path, "version") != 0)))
            check_want(&fixture, flow, &flow->wants[i]);
    fixture_fini(&fixture);
    arena_free(arena);
}

static void test_flows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flows / sizeof *flows; i++) {
        check_flow(&flows[i], true);
        check_flow(&flows[i], false);
    }
}

/* Vector J11: an hourly warning at 0, 10 and 61 minutes: said, held back, said. */
static void test_warning_hours(void **state)
{
    static const int minutes[] = { 0, 10, 61 };
    static const size_t rows[] = { 1, 1, 2 };
    struct fixture   fixture;

    (void)state;
    fixture_init(&fixture);
    for (int i = 0; i < 3; i++) {
        struct span body;

        fixture.now_us = FIXTURE_NOW_US + minutes[i] * INT64_C(60000000);
        body = fixture_record(&fixture, (struct record){ .distinct_id = SPAN("n"), .event = SPAN("view"),
                                                         .data = SPAN(PROPS("{\"$session_id\":1}")) }, fixture.arena);
        fixture_run(&fixture, &body, 1);
        assert_int_equal(fixture_count(&fixture, ROW_WARNING), rows[i]);
    }
    fixture_fini(&fixture);
}

/* Each change that a person or group has no room for is told, however often that happens. */
static void test_size_warnings(void **state)
{
    static const struct { const char *event, *data; } kinds[] = {
        { "view", "{\"properties\":{\"$set\":{\"k%d\":\"%s\"}}}" },
        { "$groupidentify",
          "{\"properties\":{\"$group_type\":\"org\",\"$group_key\":\"o1\",\"$group_set\":{\"k%d\":\"%s\"}}}" },
    };
    static char    filler[300001], data[300200];
    struct fixture fixture;

    (void)state;
    memset(filler, 'x', sizeof filler - 1);
    for (size_t kind = 0; kind < 2; kind++) {
        fixture_init(&fixture);
        for (int i = 0; i < 4; i++) {
            struct span body;

            (void)snprintf(data, sizeof data, kinds[kind].data, i, filler);
            body = fixture_record(&fixture, (struct record){ .distinct_id = SPAN("n"), .event = span_text(kinds[kind].event),
                                                             .data = span_text(data) }, fixture.arena);
            fixture_run(&fixture, &body, 1);
            assert_int_equal(fixture_count(&fixture, ROW_WARNING), i);
            assert_int_equal(fixture_count(&fixture, ROW_EVENT), i + 1);
        }
        fixture_fini(&fixture);
    }
}

/* Vector E27: the event that would merge too many ids is set aside with its bytes, and nothing changed. */
static void test_merge_limits(void **state)
{
    static const struct { const char *id, *event, *data; } steps[] = {
        { "a", "view", "{}" }, { "a", "$create_alias", ALIAS("b") }, { "a", "$create_alias", ALIAS("c") },
        { "n", "view", "{}" }, { "n", "$merge_dangerously", ALIAS("a") }, { "n", "$create_alias", ALIAS("d") },
        { "n", "$create_alias", ALIAS("e") },
    };
    struct fixture fixture;
    struct row     row;

    (void)state;
    fixture_init(&fixture);
    fixture.limits = (struct people_limits){ .merge_ids_max = 2, .joins_per_hour_max = 2 };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct span body = fixture_record(&fixture, (struct record){ .distinct_id = span_text(steps[i].id),
                                                                     .event = span_text(steps[i].event),
                                                                     .data = span_text(steps[i].data) }, fixture.arena);

        fixture_run(&fixture, &body, 1);
    }
    assert_int_equal(fixture_count(&fixture, ROW_EVENT), 6);
    assert_int_equal(fixture_count(&fixture, ROW_DEAD_LETTER), 1);
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 0, &row));
    assert_true(span_is(row.cells[ROW_DEAD_LETTER_REASON].text, "Merge limit exceeded"));
    assert_true(span_is(row.cells[ROW_DEAD_LETTER_DATA].text, ALIAS("a")));
    assert_int_equal(fixture_count(&fixture, ROW_WARNING), 0);
    assert_int_equal(fixture_count(&fixture, ROW_DISTINCT), 6); /* a b c, n d e */
    fixture_fini(&fixture);
}

/* An event that was set aside after its id was noted may come again, with its id; and what was stored may not. */
static void test_merge_too_large_comes_again(void **state)
{
    static const struct { const char *id, *event, *data; } steps[] = {
        { "a", "view", "{}" }, { "a", "$create_alias", ALIAS("b") }, { "a", "$create_alias", ALIAS("c") },
        { "n", "view", "{}" },
    };
    /* which limit, and how many events and letters there are after it */
    static const struct { uint64_t ids_max; size_t events, letters; } again[] = {
        { 2, 4, 1 }, { 2, 4, 2 }, { 100, 5, 2 }, { 100, 5, 2 }, { 2, 5, 2 },
    };
    struct fixture fixture;
    struct span    body;

    (void)state;
    fixture_init(&fixture);
    fixture.limits = (struct people_limits){ .merge_ids_max = 2, .joins_per_hour_max = 100 };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        body = fixture_record(&fixture, (struct record){ .distinct_id = span_text(steps[i].id), .event = span_text(steps[i].event),
                                                         .data = span_text(steps[i].data) }, fixture.arena);
        fixture_run(&fixture, &body, 1);
    }
    for (size_t i = 0; i < sizeof again / sizeof *again; i++) {
        body = fixture_record(&fixture, (struct record){ .distinct_id = SPAN("n"), .event = SPAN("$merge_dangerously"),
                                                         .data = SPAN(ALIAS("a")), .uuid = { .bytes = { 1, [6] = 0x70, [8] = 0x80 } },
                                                         .request = 1 + i }, /* sent again: by itself it is no other record */
                              fixture.arena);
        fixture.limits.merge_ids_max = again[i].ids_max;
        fixture_run(&fixture, &body, 1);
        assert_int_equal(fixture_count(&fixture, ROW_EVENT), again[i].events);
        assert_int_equal(fixture_count(&fixture, ROW_DEAD_LETTER), again[i].letters);
    }
    fixture_fini(&fixture);
}

/* A batch that is given up gives its warnings back. */
static void test_warning_gate(void **state)
{
    struct warning_gate *gate = warning_gate_new(NULL);

    (void)state;
    assert_true(warning_gate_pass(gate, 1, WARNING_TIMESTAMP, SPAN("a"), 5));
    assert_false(warning_gate_pass(gate, 1, WARNING_TIMESTAMP, SPAN("a"), 6));
    assert_true(warning_gate_pass(gate, 2, WARNING_TIMESTAMP, SPAN("a"), 6));
    assert_true(warning_gate_pass(gate, 1, WARNING_TIMESTAMP, SPAN("b"), 6));
    assert_true(warning_gate_pass(gate, 1, WARNING_GROUPS, SPAN("a"), 6));
    warning_gate_abort(gate);
    assert_true(warning_gate_pass(gate, 1, WARNING_TIMESTAMP, SPAN("a"), 7));
    warning_gate_commit(gate);
    assert_false(warning_gate_pass(gate, 1, WARNING_TIMESTAMP, SPAN("a"), 8));
    warning_gate_abort(gate);
    assert_false(warning_gate_pass(gate, 1, WARNING_TIMESTAMP, SPAN("a"), 9));
    for (int i = 0; i < 1000000; i++) /* far more keys than there is room */
        (void)warning_gate_pass(gate, 3, WARNING_TIMESTAMP, span_of(&i, sizeof i), 10);
    warning_gate_free(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flows), cmocka_unit_test(test_warning_hours), cmocka_unit_test(test_warning_gate),
        cmocka_unit_test(test_size_warnings),
        cmocka_unit_test(test_merge_limits), cmocka_unit_test(test_merge_too_large_comes_again)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
