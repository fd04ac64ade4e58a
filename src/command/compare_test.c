/* command/compare_test.c - what counts as the same record, and as the same value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "command/compare_join.h"

/* Two values, and the paths in which they differ. */
static const struct { const char *name, *left, *right, *paths; } values[] = {
    { "equal", "{\"a\":1,\"b\":\"x\"}", "{\"a\":1,\"b\":\"x\"}", "" },
    { "the order of members does not count", "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "" },
    { "nor white space, nor escapes", "{\"a\": \"\\u00e9\", \"b\":[1, 2]}", "{\"a\":\"\xc3\xa9\",\"b\":[1,2]}", "" },
    { "numbers by value", "{\"a\":1.0,\"b\":1e2}", "{\"a\":1,\"b\":100}", "" },
    { "a long id whose last digit is another", "{\"a\":9007199254740993}", "{\"a\":9007199254740992}", "a:9007199254740993|9007199254740992 " },
    { "a long id that was rounded", "{\"properties\":\"{\\\"a\\\":-12345678901234567890}\"}", "{\"properties\":\"{\\\"a\\\":-12345678901234567000}\"}",
      "properties.a:-12345678901234567890|-12345678901234567000 " },
    { "a long number in another form", "{\"a\":12345678901234567000}", "{\"a\":1.2345678901234567e19}", "" },
    { "a number is no text", "{\"a\":1}", "{\"a\":\"1\"}", "a:1|\"1\" " },
    { "true is not false", "{\"a\":true}", "{\"a\":false}", "a:true|false " },
    { "missing on the right", "{\"a\":1,\"b\":null}", "{\"a\":1}", "b:null|- " },
    { "missing on the left", "{}", "{\"b\":2}", "b:-|2 " },
    { "inside of an object", "{\"o\":{\"p\":{\"q\":1,\"r\":2}}}", "{\"o\":{\"p\":{\"q\":3,\"r\":2}}}", "o.p.q:1|3 " },
    { "a list as a whole", "{\"l\":[1,{\"a\":1}]}", "{\"l\":[1,{\"a\":2}]}", "l:[1,{\"a\":1}]|[1,{\"a\":2}] " },
    { "a list by its values", "{\"l\":[1.0,{\"a\":1,\"b\":2}]}", "{\"l\":[1,{\"b\":2,\"a\":1}]}", "" },
    { "a longer list", "{\"l\":[1]}", "{\"l\":[1,2]}", "l:[1]|[1,2] " },
    { "JSON in a string", "{\"properties\":\"{\\\"a\\\":1,\\\"b\\\":2}\"}", "{\"properties\":\"{\\\"b\\\":3,\\\"a\\\":1.0}\"}", "properties.b:2|3 " },
    { "JSON in a string in JSON in a string: data", "{\"data\":\"{\\\"properties\\\":{\\\"x\\\":\\\"y\\\"}}\"}", "{\"data\":\"{\\\"properties\\\":{\\\"x\\\":\\\"z\\\"}}\"}",
      "data.properties.x:\"y\"|\"z\" " },
    { "a string that only looks so", "{\"properties\":\"{\"}", "{\"properties\":\"}\"}", "properties:\"{\"|\"}\" " },
    { "left out", "{\"now\":1,\"secret\":{\"a\":1},\"properties\":\"{\\\"$geoip_city\\\":1}\"}", "{\"now\":2,\"properties\":\"{}\"}", "" },
    { "times that are close", "{\"timestamp\":\"2024-03-01 10:00:00.000\"}", "{\"timestamp\":\"2024-03-01T10:00:02Z\"}", "" },
    { "and those that are not", "{\"timestamp\":\"2024-03-01 10:00:00.000\"}", "{\"timestamp\":\"2024-03-01 10:00:02.001\"}",
      "timestamp:\"2024-03-01 10:00:00.000\"|\"2024-03-01 10:00:02.001\" " },
    { "a property that looks like a time is none", "{\"properties\":\"{\\\"timestamp\\\":\\\"2024-03-01 10:00:00\\\"}\"}",
      "{\"properties\":\"{\\\"timestamp\\\":\\\"2024-03-01 10:00:01\\\"}\"}", "properties.timestamp:\"2024-03-01 10:00:00\"|\"2024-03-01 10:00:01\" " },
};

static const struct compare_rules rules = { .ignored = { "now", "secret", "properties.$geoip_*" }, .time_tolerance_us = 2000000 };

static void note(void *ctx, const char *path, struct span left, struct span right)
{
    buf_add_format(ctx, "%s:%.*s|%.*s ", path, left.at == NULL ? 1 : (int)left.bytes, left.at == NULL ? "-" : (const char *)left.at,
                   right.at == NULL ? 1 : (int)right.bytes, right.at == NULL ? "-" : (const char *)right.at);
}

static void values_are_compared(void **state)
{
    struct arena *arena = arena_new(1 << 12, 1 << 20);
    struct buf    told;
    struct err    err = { 0 };
    bool          same;

    (void)state;
    buf_init(&told, 1 << 16);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        buf_reset(&told);
        if (compare_values(&rules, span_text(values[i].left), span_text(values[i].right), arena, note, &told, &same, &err) < 0)
            fail_msg("%s: %s", values[i].name, err.text);
        if (!span_is(buf_span(&told), values[i].paths) || same != (values[i].paths[0] == '\0'))
            fail_msg("%s: %.*s", values[i].name, SPAN_ARG(buf_span(&told)));
    }
    buf_fini(&told);
    arena_free(arena);
}

/* Messages of both sides; what the join says: same, differing, then left/right of only, twice, older, unreadable. */
static const struct { const char *name, *left[6], *right[6], *expected; } joins[] = {
    { "nothing", { NULL }, { NULL }, "0 0 only 0 0 twice 0 0 older 0 0 unreadable 0 0 yes" },
    { "the same in another order", { "{\"uuid\":\"a\",\"team_id\":7}", "{\"uuid\":\"b\",\"team_id\":7}" }, { "{\"uuid\":\"b\",\"team_id\":7}", "{\"uuid\":\"a\",\"team_id\":7}" },
      "2 0 only 0 0 twice 0 0 older 0 0 unreadable 0 0 yes" },
    { "one is missing on each side", { "{\"uuid\":\"a\",\"team_id\":7}" }, { "{\"uuid\":\"b\",\"team_id\":7}" },
      "0 0 only 1 1 twice 0 0 older 0 0 unreadable 0 0 no" },
    { "one uuid in two teams are two records", { "{\"uuid\":\"a\",\"team_id\":7}" }, { "{\"uuid\":\"a\",\"team_id\":8}" },
      "0 0 only 1 1 twice 0 0 older 0 0 unreadable 0 0 no" },
    { "a token's", { "{\"uuid\":\"a\",\"token\":\"t\",\"x\":1}" }, { "{\"uuid\":\"a\",\"token\":\"t\",\"x\":2}" },
      "0 1 only 0 0 twice 0 0 older 0 0 unreadable 0 0 no" },
    { "twice", { "{\"uuid\":\"a\",\"team_id\":7}" }, { "{\"uuid\":\"a\",\"team_id\":7}", "{\"uuid\":\"a\",\"team_id\":7}", "{\"uuid\":\"a\",\"team_id\":7}" },
      "1 0 only 0 0 twice 0 2 older 0 0 unreadable 0 0 no" },
    { "of persons the highest version", { "{\"id\":\"p\",\"team_id\":7,\"version\":0,\"properties\":\"{}\"}", "{\"id\":\"p\",\"team_id\":7,\"version\":2,\"properties\":\"{\\\"a\\\":1}\"}" },
      { "{\"id\":\"p\",\"team_id\":7,\"version\":2,\"properties\":\"{\\\"a\\\":1}\"}", "{\"id\":\"p\",\"team_id\":7,\"version\":1,\"properties\":\"{}\"}" },
      "1 0 only 0 0 twice 0 0 older 1 1 unreadable 0 0 yes" },
    { "whose an id is may differ", { "{\"team_id\":7,\"distinct_id\":\"d\",\"person_id\":\"p\",\"version\":1}" }, { "{\"team_id\":7,\"distinct_id\":\"d\",\"person_id\":\"q\",\"version\":1}" },
      "0 1 only 0 0 twice 0 0 older 0 0 unreadable 0 0 no" },
    { "groups of two types", { "{\"group_type_index\":0,\"group_key\":\"k\",\"team_id\":7}" }, { "{\"group_type_index\":1,\"group_key\":\"k\",\"team_id\":7}" },
      "0 0 only 1 1 twice 0 0 older 0 0 unreadable 0 0 no" },
    { "without a name: as often", { "{\"type\":\"w\"}", "{\"type\":\"w\"}" }, { "{\"type\":\"w\"}" }, "1 0 only 1 0 twice 0 0 older 0 0 unreadable 0 0 no" },
    { "no JSON", { "rubbish" }, { NULL }, "0 0 only 0 0 twice 0 0 older 0 0 unreadable 1 0 no" },
};

static const char *folder(void)
{
    return getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
}

static void sides_are_joined(void **state)
{
    struct join_result *result = malloc(sizeof *result);
    struct err          err = { 0 };
    char                have[200];

    (void)state;
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        struct join *join;

        assert_int_equal(join_open(folder(), 1 << 20, &join, &err), 0);
        for (int side = 0; side < 2; side++)
            for (size_t k = 0; k < 6 && (side == 0 ? joins[i].left[k] : joins[i].right[k]) != NULL; k++) {
                const struct upstream_message message = { .value = span_text(side == 0 ? joins[i].left[k] : joins[i].right[k]) };

                assert_int_equal(join_add(join, side == 0 ? JOIN_LEFT : JOIN_RIGHT, &message, false, &err), 0);
            }
        assert_int_equal(join_run(join, &(struct compare_rules){ .ignored = { "version" } }, result, &err), 0);
        join_close(join);
        (void)snprintf(have, sizeof have, "%d %d only %d %d twice %d %d older %d %d unreadable %d %d %s", (int)result->same, (int)result->differing,
                       (int)result->only[0], (int)result->only[1], (int)result->twice[0], (int)result->twice[1], (int)result->older[0],
                       (int)result->older[1], (int)result->unreadable[0], (int)result->unreadable[1], join_is_same(result) ? "yes" : "no");
        if (strcmp(have, joins[i].expected) != 0)
            fail_msg("%s:\n %s\n expected %s", joins[i].name, have, joins[i].expected);
    }
    free(result);
}

/* Key and headers of both sides, as lines of a file have them; the paths that differ. */
static const struct { const char *name, *left, *right, *paths; } besides[] = {
    { "the same", "\"key\":\"t:d\",\"headers\":{\"token\":\"t\",\"uuid\":\"u\"}", "\"headers\":{\"uuid\":\"u\",\"token\":\"t\"},\"key\":\"t:d\"", "" },
    { "another key", "\"key\":\"t:d\",\"headers\":{}", "\"key\":\"t:e\",\"headers\":{}", "kafka.key " },
    { "none", "\"key\":\"t:d\",\"headers\":{}", "\"key\":null,\"headers\":{}", "kafka.key " },
    { "another token", "\"key\":null,\"headers\":{\"token\":\"t\"}", "\"key\":null,\"headers\":{\"token\":\"s\"}", "kafka.headers.token " },
    { "a header that is not there", "\"key\":null,\"headers\":{\"event\":\"e\"}", "\"key\":null,\"headers\":{}", "kafka.headers.event " },
    { "without a value it is none", "\"key\":null,\"headers\":{\"session_id\":null}", "\"key\":null,\"headers\":{}", "" },
    { "times that are close", "\"key\":null,\"headers\":{\"timestamp\":\"1709287200000\"}", "\"key\":null,\"headers\":{\"timestamp\":\"1709287202000\"}", "" },
    { "and those that are not", "\"key\":null,\"headers\":{\"timestamp\":\"1709287200000\"}", "\"key\":null,\"headers\":{\"timestamp\":\"1709287202001\"}",
      "kafka.headers.timestamp " },
    { "left out", "\"key\":\"a\",\"headers\":{\"secret\":\"1\"}", "\"key\":\"a\",\"headers\":{\"secret\":\"2\"}", "" },
    { "only values are known on one side", "\"key\":\"a\",\"headers\":{}", NULL, "" },
};

static void keys_and_headers_are_compared(void **state)
{
    static const struct compare_rules beside_rules = { .ignored = { "kafka.headers.secret" }, .time_tolerance_us = 2000000 };
    struct join_result *result = malloc(sizeof *result);
    struct arena       *arena = arena_new(1 << 12, 1 << 20);
    struct err          err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof besides / sizeof *besides; i++) {
        struct join *join;
        char         have[200] = "";

        assert_int_equal(join_open(folder(), 1 << 20, &join, &err), 0);
        for (int side = 0; side < 2; side++) {
            const char             *beside = side == 0 ? besides[i].left : besides[i].right;
            struct upstream_message message = { .value = SPAN("{\"uuid\":\"a\",\"team_id\":7}") };
            char                    line[400];

            if (beside != NULL) {
                (void)snprintf(line, sizeof line, "{\"topic\":\"x\",%s,\"value\":\"{\\\"uuid\\\":\\\"a\\\",\\\"team_id\\\":7}\"}", beside);
                if (upstream_message_read_line(span_text(line), arena, &message, &err) < 0)
                    fail_msg("%s: %s", besides[i].name, err.text);
            }
            assert_int_equal(join_add(join, side == 0 ? JOIN_LEFT : JOIN_RIGHT, &message, beside != NULL, &err), 0);
        }
        assert_int_equal(join_run(join, &beside_rules, result, &err), 0);
        join_close(join);
        for (size_t k = 0; k < result->field_count; k++)
            (void)snprintf(have + strlen(have), sizeof have - strlen(have), "%s ", result->fields[k].path);
        if (strcmp(have, besides[i].paths) != 0 || join_is_same(result) != (besides[i].paths[0] == '\0'))
            fail_msg("%s: %s", besides[i].name, have);
    }
    arena_free(arena);
    free(result);
}

/* Many records, a few of which are wrong, in files that are larger than memory_max together. */
static void many_are_joined_in_little_memory(void **state)
{
    enum { RECORDS = 30000 };
    struct join_result *result = malloc(sizeof *result);
    struct join        *join;
    struct err          err = { 0 };
    char                text[400];

    (void)state;
    assert_int_equal(join_open(folder(), 200 << 10, &join, &err), 0);
    for (int side = 0; side < 2; side++)
        for (unsigned k = 0; k < RECORDS; k++) {
            unsigned                      i = side == 0 ? k : RECORDS - 1 - k;
            const struct upstream_message message = { .value = span_of(text, (size_t)snprintf(text, sizeof text,
                "{\"uuid\":\"%08x\",\"team_id\":7,\"properties\":\"{\\\"n\\\":%u,\\\"text\\\":\\\"%0100u\\\"}\"}", i * 2654435761u, side == 1 && i % 1000 == 5 ? 0 : i, i)) };

            if (side == 1 && i % 1000 == 7)
                continue;
            assert_int_equal(join_add(join, side == 0 ? JOIN_LEFT : JOIN_RIGHT, &message, false, &err), 0);
        }
    assert_int_equal(join_run(join, &rules, result, &err), 0);
    assert_int_equal(result->only[0], RECORDS / 1000);
    assert_int_equal(result->only[1], 0);
    assert_int_equal(result->differing, RECORDS / 1000);
    assert_int_equal(result->same, RECORDS - 2 * (RECORDS / 1000));
    assert_int_equal(result->field_count, 1);
    assert_string_equal(result->fields[0].path, "properties.n");
    assert_int_equal(result->fields[0].records, RECORDS / 1000);
    assert_int_equal(result->example_count[0], 10);
    join_close(join);
    /* too little is said */
    assert_int_equal(join_open(folder(), 100, &join, &err), 0);
    for (unsigned i = 0; i < 1000; i++) {
        const struct upstream_message message = { .value = SPAN("{\"uuid\":\"a\",\"team_id\":7}") };

        assert_int_equal(join_add(join, JOIN_LEFT, &message, false, &err), 0);
    }
    assert_int_equal(join_run(join, &rules, result, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    join_close(join);
    free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_compared),
        cmocka_unit_test(sides_are_joined),
        cmocka_unit_test(keys_and_headers_are_compared),
        cmocka_unit_test(many_are_joined_in_little_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
