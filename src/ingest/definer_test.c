/* ingest/definer_test.c - which names an event tells, once each: one fact a row, then limits and forgetting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/testing.h"
#include "people/definition.h"

#define PROPS(text) "{\"properties\":" text "}"
#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X200 X50 X50 X50 X50

/* told: "e name" events, "p name parent group type" properties, "+ event property" pairs; sorted, one a line. */
static const struct { const char *name, *event, *data, *told; } facts[] = {
    { "an event without properties", "view", "{}", "e view" },
    { "vector I08: properties of event and person", "view", PROPS("{\"$set\":{\"a\":1},\"b\":2}"),
      "+ view b\ne view\np a 2 -1 Numeric\np b 1 -1 Numeric" },
    { "$set_once, and $set above the properties", "view",
      "{\"$set\":{\"a\":null},\"properties\":{\"$set_once\":{\"b\":[1],\"a\":5},\"$unset\":[\"c\"]}}",
      "e view\np a 2 -1 -\np a 2 -1 Numeric\np b 2 -1 -" },
    { "what is copied to the person", "view", PROPS("{\"utm_source\":2024}"),
      "+ view utm_source\ne view\np $initial_utm_source 2 -1 String\np utm_source 1 -1 String\np utm_source 2 -1 String" },
    { "no person: nothing of $set", "view", PROPS("{\"$process_person_profile\":false,\"$set\":{\"a\":1}}"),
      "+ view $process_person_profile\ne view\np $process_person_profile 1 -1 Boolean" },
    { "vector I09: the properties of a group", "$groupidentify",
      PROPS("{\"$group_type\":\"company\",\"$group_key\":\"acme\",\"$group_set\":{\"foo\":1},\"x\":1}"),
      "e $groupidentify\np foo 3 0 Numeric" },
    { "another group type", "$groupidentify",
      PROPS("{\"$group_type\":\"team\",\"$group_key\":\"red\",\"$group_set\":{\"foo\":\"bar\"}}"),
      "e $groupidentify\np foo 3 1 String" },
    { "$groupidentify without a type", "$groupidentify", PROPS("{\"$group_set\":{\"foo\":1}}"), "e $groupidentify" },
    { "groups of an event", "view",
      PROPS("{\"$groups\":{\"company\":\"acme\"},\"$group_1\":\"x\",\"$group_5\":1}"),
      "+ view $group_5\ne view\np $group_5 1 -1 Numeric" },
    { "vector I10: flags: no pair", "view", PROPS("{\"$feature/x\":false,\"$feature_enrollment/y\":true,\"$feature\":1}"),
      "+ view $feature\ne view\np $feature 1 -1 Numeric\np $feature/x 1 -1 String\np $feature_enrollment/y 1 -1 Boolean" },
    { "an event name of 200 bytes", X200, "{}", "e " X200 },
    { "one of 201 is cut before", X200 "x", PROPS("{\"a\":1}"), "+ " X200 " a\ne " X200 "\np a 1 -1 Numeric" },
    { "200 bytes are counted, not characters", X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3\xa4", "{}", "" },
    { "a property of 200 bytes", "view", PROPS("{\"" X200 "\":1,\"" X200 "x\":1}"),
      "+ view " X200 "\ne view\np " X200 " 1 -1 Numeric" },
    { "the name of a property is text, not JSON", "view", PROPS("{\"\\u0061\\\"\":1}"),
      "+ view a\"\ne view\np a\" 1 -1 Numeric" },
    { "an empty name is none", "view", PROPS("{\"\":1}"), "e view" },
    { "metrics of apps", "$$plugin_metrics", PROPS("{\"a\":1}"), "" },
};

static int line_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The definitions among the rows, as in `told`. */
static const char *told(struct fixture *fixture, char *out, size_t out_bytes)
{
    static char text[64][640];
    char       *lines[64];
    size_t      count = 0, used = 0;
    struct row  row;
    char        a[300], b[300], c[8], d[8], e[16];

    for (size_t i = 0; fixture_row(fixture, ROW_EVENT_DEFINITION, i, &row); i++) {
        fixture_value(&row, "name", a, sizeof a);
        snprintf(text[count++], sizeof *text, "e %s", a);
    }
    for (size_t i = 0; fixture_row(fixture, ROW_PROPERTY_DEFINITION, i, &row); i++) {
        fixture_value(&row, "name", a, sizeof a);
        fixture_value(&row, "type", c, sizeof c);
        fixture_value(&row, "group_type_index", d, sizeof d);
        fixture_value(&row, "property_type", e, sizeof e);
        snprintf(text[count++], sizeof *text, "p %s %s %s %s", a, c, d, e);
    }
    for (size_t i = 0; fixture_row(fixture, ROW_EVENT_PROPERTY, i, &row); i++) {
        fixture_value(&row, "event", a, sizeof a);
        fixture_value(&row, "property", b, sizeof b);
        snprintf(text[count++], sizeof *text, "+ %s %.210s", a, b);
    }
    for (size_t i = 0; i < count; i++)
        lines[i] = text[i];
    qsort(lines, count, sizeof *lines, line_order);
    out[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", i > 0 ? "\n" : "", lines[i]);
    return out;
}

static void send_one(struct fixture *fixture, uint32_t project, const char *event, const char *data)
{
    struct record record = { .project = project, .event = span_text(event), .data = span_text(data), .distinct_id = SPAN("who") };
    struct span   body = fixture_record(fixture, record, fixture->arena);

    fixture_run(fixture, &body, 1);
}

static void test_facts(void **state)
{
    char out[4096];

    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        static struct fixture fixture;

        fixture_init(&fixture);
        fixture.definer = definer_new();
        send_one(&fixture, 7, "$$plugin_metrics", PROPS("{\"$groups\":{\"company\":\"acme\"}}")); /* type 0, no names */
        send_one(&fixture, 7, facts[i].event, facts[i].data);
        if (strcmp(told(&fixture, out, sizeof out), facts[i].told) != 0)
            fail_msg("%s: told\n%s\nnot\n%s", facts[i].name, out, facts[i].told);
        fixture_forget_rows(&fixture);
        send_one(&fixture, 7, facts[i].event, facts[i].data); /* the second time: nothing */
        assert_string_equal(told(&fixture, out, sizeof out), "");
        definer_abort(fixture.definer); /* nor when all is forgotten but the store */
        send_one(&fixture, 7, facts[i].event, facts[i].data);
        assert_string_equal(told(&fixture, out, sizeof out), "");
        fixture_fini(&fixture);
    }
}

/* The first type stays; none is filled; projects are apart; times and versions. */
/* A question for a flag makes nobody: when there is no person, its $set is nobody's and defines nothing. */
static void test_flag_of_nobody(void **state)
{
    struct fixture fixture;
    char           out[4096];

    (void)state;
    fixture_init(&fixture);
    fixture.definer = definer_new();
    send_one(&fixture, 7, "$feature_flag_called", PROPS("{\"$feature_flag_response\":true,\"$set\":{\"a\":1},\"$set_once\":{\"b\":1}}"));
    assert_string_equal(told(&fixture, out, sizeof out), "+ $feature_flag_called $feature_flag_response\n"
                                                         "e $feature_flag_called\np $feature_flag_response 1 -1 String");
    fixture_fini(&fixture);
}

static void test_changes(void **state)
{
    static const struct { uint32_t project; const char *data, *told; } steps[] = {
        { 7, PROPS("{\"a\":null,\"b\":\"x\"}"), "+ view a\n+ view b\ne view\np a 1 -1 -\np b 1 -1 String" },
        { 7, PROPS("{\"a\":[],\"b\":5}"), "" },
        { 7, PROPS("{\"a\":\"2024-03-01\",\"b\":true}"), "p a 1 -1 DateTime" },
        { 7, PROPS("{\"a\":5}"), "" },
        { 7, PROPS("{\"b\":5,\"c\":5}"), "+ view c\np c 1 -1 Numeric" },
        { 8, PROPS("{\"b\":5}"), "+ view b\ne view\np b 1 -1 Numeric" },
    };
    struct fixture fixture;
    struct row     row;
    char           out[4096], value[40];

    (void)state;
    fixture_init(&fixture);
    fixture.definer = definer_new();
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        send_one(&fixture, steps[i].project, "view", steps[i].data);
        if (strcmp(told(&fixture, out, sizeof out), steps[i].told) != 0)
            fail_msg("step %zu told\n%s\nnot\n%s", i, out, steps[i].told);
        if (i == 2) {
            assert_true(fixture_row(&fixture, ROW_PROPERTY_DEFINITION, 0, &row));
            fixture_value(&row, "version", value, sizeof value);
            assert_string_equal(value, "1");
            fixture_value(&row, "created_at", value, sizeof value);
            assert_string_equal(value, "1709287200000000");
            fixture_value(&row, "is_numerical", value, sizeof value);
            assert_string_equal(value, "0");
        }
        fixture_forget_rows(&fixture);
        fixture.now_us += TIME_US_S;
    }
    fixture_fini(&fixture);
}

/* Hours: reckoned by hand from FNV-1a over the project's four bytes and the name. */
static void test_hours(void **state)
{
    static const struct { uint32_t project; const char *name; int64_t hour_s; } rows[] = {
        { 7, "$pageview", 1709285884 }, { 7, "a", 1709285719 }, { 8, "$pageview", 1709284927 }, { 300, "k\xc3\xa4se", 1709286204 },
    };
    struct fixture fixture;
    struct row     row;
    char           value[40];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(definer_hour(rows[i].project, span_text(rows[i].name), FIXTURE_NOW_US), rows[i].hour_s * TIME_US_S);
    fixture_init(&fixture);
    fixture.definer = definer_new();
    for (int minute = 0; minute < 120; minute++, fixture.now_us += 60 * (int64_t)TIME_US_S)
        send_one(&fixture, 7, "$pageview", "{}");
    assert_int_equal(fixture_count(&fixture, ROW_EVENT_DEFINITION), 3); /* 1709285884, and two hours later */
    assert_true(fixture_row(&fixture, ROW_EVENT_DEFINITION, 2, &row));
    fixture_value(&row, "last_seen_at", value, sizeof value);
    assert_string_equal(value, "1709293084000000");
    fixture_value(&row, "created_at", value, sizeof value);
    assert_string_equal(value, "1709287200000000");
    fixture_value(&row, "version", value, sizeof value);
    assert_string_equal(value, "2");
    fixture_forget_rows(&fixture);
    fixture.now_us = FIXTURE_NOW_US; /* a clock that was set back */
    send_one(&fixture, 7, "$pageview", "{}");
    assert_int_equal(fixture_count(&fixture, ROW_EVENT_DEFINITION), 0);
    fixture_fini(&fixture);
}

static char *many_properties(size_t count, const char *prefix)
{
    char  *data = malloc(64 + count * 40);
    size_t used = (size_t)sprintf(data, "{\"properties\":{");

    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(data + used, "%s\"%s%zu\":1", i > 0 ? "," : "", prefix, i);
    sprintf(data + used, "}}");
    return data;
}

/* One update for the event and two for each property: 10,000 at most, else none. */
static void test_many(void **state)
{
    struct fixture fixture;
    char          *data;

    (void)state;
    fixture_init(&fixture);
    fixture.definer = definer_new();
    data = many_properties(5000, "p");
    send_one(&fixture, 7, "view", data);
    free(data);
    assert_int_equal(fixture_count(&fixture, ROW_EVENT_DEFINITION), 0);
    data = many_properties(9999, "$feature/"); /* no pairs */
    send_one(&fixture, 7, "view", data);
    free(data);
    assert_int_equal(fixture_count(&fixture, ROW_EVENT_DEFINITION), 1);
    assert_int_equal(fixture_count(&fixture, ROW_PROPERTY_DEFINITION), 9999);
    fixture_fini(&fixture);
}

/* A client that makes names up: the events are stored, the names no more, and it is told. */
static void test_full(void **state)
{
    static struct fixture fixture;
    struct row            row;
    char                  name[32], value[300];
    uint32_t              stored = 0;

    (void)state;
    fixture_init(&fixture);
    fixture.definer = definer_new();
    for (int batch = 0; batch < DEFINITION_EVENTS_MAX / 1000 + 1; batch++) {
        struct span bodies[1000];

        for (int i = 0; i < 1000; i++) {
            sprintf(name, "made up %d", batch * 1000 + i);
            bodies[i] = fixture_record(&fixture, (struct record){ .event = span_text(name), .data = SPAN("{}"),
                                                                  .distinct_id = SPAN("who") }, fixture.arena);
        }
        fixture_run(&fixture, bodies, 1000);
        stored += (uint32_t)fixture_count(&fixture, ROW_EVENT_DEFINITION);
        if (batch < DEFINITION_EVENTS_MAX / 1000)
            assert_int_equal(fixture_count(&fixture, ROW_WARNING), 0);
        if (batch < DEFINITION_EVENTS_MAX / 1000)
            fixture_forget_rows(&fixture);
    }
    assert_int_equal(stored, DEFINITION_EVENTS_MAX);
    assert_int_equal(fixture.fates[FATE_STORED], DEFINITION_EVENTS_MAX + 1000);
    assert_int_equal(fixture_count(&fixture, ROW_WARNING), 1);
    assert_true(fixture_row(&fixture, ROW_WARNING, 0, &row));
    fixture_value(&row, "type", value, sizeof value);
    assert_string_equal(value, "definition_limit_reached");
    fixture_value(&row, "details/kind", value, sizeof value);
    assert_string_equal(value, "\"events\"");
    fixture_value(&row, "details/limit", value, sizeof value);
    assert_string_equal(value, "10000");
    fixture_fini(&fixture);
}

/* What a batch taught that was given up, the next one tells again. */
static void test_given_up(void **state)
{
    struct fixture     fixture;
    struct people_txn *txn;
    struct err         err = { 0 };
    struct item        item = { .fate = FATE_STORED, .name = SPAN("view") };

    (void)state;
    fixture_init(&fixture);
    fixture.definer = definer_new();
    item.project = catalog_snapshot_project(fixture.snapshot, 7);
    for (int i = 0; i < 3; i++) {
        struct definer_env env = { .arena = fixture.slice.arena, .now_us = fixture.now_us, .sink = fixture_sink, .sink_ctx = &fixture };

        fixture_must(people_begin(fixture.people, true, &txn, &err), &err);
        env.txn = txn;
        fixture_must(definer_item(fixture.definer, &env, &item, &err), &err);
        assert_int_equal(fixture_count(&fixture, ROW_EVENT_DEFINITION), i < 2 ? 1 : 0);
        fixture_forget_rows(&fixture);
        if (i == 0) {
            people_abort(txn);
            definer_abort(fixture.definer);
        } else {
            fixture_must(people_commit(txn, &err), &err);
        }
    }
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts), cmocka_unit_test(test_flag_of_nobody), cmocka_unit_test(test_changes),  cmocka_unit_test(test_hours),
        cmocka_unit_test(test_many),  cmocka_unit_test(test_full),     cmocka_unit_test(test_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
