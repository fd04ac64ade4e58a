/* capture/segment_rules_test.c - quotas, limits and restrictions hold for Segment's API as for the others: the answers,
 * and what is stored. Each test changes the catalog while the server runs. */
#include "capture/capture_test_kit.h"

static struct catalog   *catalog;

#define AUTH "Authorization: Basic cGhjX2FscGhhOg==\r\n" /* phc_alpha: */
#define PAGE "Origin: https://shop.example\r\n"
#define TRACK(name) "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"" name "\"}"
#define BATCH(messages) "{\"batch\":[" messages "]}"
#define FIVE TRACK("a") "," TRACK("b") "," TRACK("c") "," TRACK("d") "," TRACK("e")
#define TEN FIVE "," FIVE
#define OK "{\"success\":true}"
#define SOON (KIT_NOW_US + 1000000)

static int ask(const char *headers, const char *body)
{
    char all[512];

    (void)snprintf(all, sizeof all, AUTH "%s", headers);
    return kit_ask(&kit, "POST", "/v1/batch", all, span_text(body), &answer);
}

static void quotas(void **state)
{
    struct catalog_quota quota = { .project = 1, .token = SPAN(""), .resource = CATALOG_EXCEPTIONS, .until_us = SOON };
    struct err           err = { 0 };

    (void)state;
    assert_int_equal(catalog_quota_set(catalog, &quota, &err), 0);
    kit_in_force(catalog);
    assert_int_equal(ask("", BATCH(TRACK("$exception") "," TRACK("x"))), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_true(span_is(kit.records[0].event, "x"));
    assert_int_equal(ask("", BATCH(TRACK("$exception"))), 200); /* nothing is left, and that is no fault */
    assert_string_equal(answer.body, OK);
    assert_int_equal(kit_records(&kit), 0);
    assert_int_equal(catalog_quota_remove(catalog, &quota, &err), 0);
    kit_in_force(catalog);
    assert_int_equal(ask("", BATCH(TRACK("$exception"))), 200);
    assert_int_equal(kit_records(&kit), 1);
}

/* A survey of a product tour is none that a quota counts, as on the other endpoints. */
static void quotas_of_surveys(void **state)
{
    struct catalog_quota quota = { .project = 1, .token = SPAN(""), .resource = CATALOG_SURVEYS, .until_us = SOON };
    struct err           err = { 0 };

    (void)state;
    assert_int_equal(catalog_quota_set(catalog, &quota, &err), 0);
    kit_in_force(catalog);
    assert_int_equal(ask("", BATCH(TRACK("survey sent") ",{\"type\":\"track\",\"userId\":\"u\",\"event\":\"survey sent\","
                                   "\"properties\":{\"$product_tour_id\":\"t\"}}")), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_int_equal(kit.records[0].index, 1);
    assert_int_equal(catalog_quota_remove(catalog, &quota, &err), 0);
    kit_in_force(catalog);
}

/* 429 to pages too: all SDKs of this API send again after it. */
static void limits(void **state)
{
    struct catalog_limit limit = { .project = 1, .token = SPAN(""), .kind = CATALOG_LIMIT_TOKEN, .events = 1, .burst = 2 };
    struct err           err = { 0 };

    (void)state;
    assert_int_equal(catalog_limit_set(catalog, &limit, &err), 0);
    kit_in_force(catalog);
    assert_int_equal(ask("", BATCH(TEN "," TEN "," TEN "," TEN)), 200); /* 40 s of them, on credit */
    assert_int_equal(kit_records(&kit), 40);
    assert_int_equal(ask("", BATCH(TRACK("a"))), 429);
    assert_non_null(strstr(answer.head, "\r\nretry-after: "));
    assert_non_null(strstr(answer.body, "{\"success\":false,\"code\":\"rate_limited\",\"message\":\"rate limited: 1 events a second "));
    assert_int_equal(ask(PAGE, BATCH(TRACK("a"))), 429);
    assert_non_null(strstr(answer.head, "\r\naccess-control-allow-origin: https://shop.example\r\n"));
    assert_int_equal(kit_records(&kit), 0);
    assert_int_equal(catalog_limit_remove(catalog, &limit, &err), 0);
    kit_in_force(catalog);
}

static void limits_of_ids(void **state)
{
    struct catalog_limit limit = { .project = 1, .token = SPAN(""), .kind = CATALOG_LIMIT_DISTINCT_ID, .events = 2 };
    struct err           err = { 0 };

    (void)state;
    assert_int_equal(catalog_limit_set(catalog, &limit, &err), 0);
    kit_in_force(catalog);
    assert_int_equal(ask("", BATCH(TRACK("a") "," TRACK("b") "," TRACK("c"))), 200);
    assert_int_equal(kit_records(&kit), 3);
    assert_int_equal(kit.records[1].flags & RECORD_PERSON_OFF, 0);
    assert_int_equal(kit.records[2].flags & (RECORD_PERSON_OFF | RECORD_OVERFLOW), RECORD_PERSON_OFF | RECORD_OVERFLOW);
    assert_int_equal(catalog_limit_remove(catalog, &limit, &err), 0);
    kit_in_force(catalog);
}

static void restrictions(void **state)
{
    struct catalog_restriction restriction = { .project = 1, .action = CATALOG_DROP, .token = SPAN(""),
                                               .distinct_id = SPAN("u"), .event = SPAN("") };
    uint32_t                   id;
    struct err                 err = { 0 };

    (void)state;
    assert_int_equal(catalog_restriction_add(catalog, &restriction, &id, &err), 0);
    kit_in_force(catalog);
    assert_int_equal(ask("", BATCH(TRACK("a") ",{\"type\":\"page\",\"userId\":\"v\"}")), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_true(span_is(kit.records[0].distinct_id, "v"));
    assert_int_equal(ask("", BATCH(TRACK("a"))), 200);
    assert_string_equal(answer.body, OK);
    assert_int_equal(kit_records(&kit), 0);
    assert_int_equal(catalog_restriction_remove(catalog, id, &err), 0);
    kit_in_force(catalog);
}

/* One request a second of an address, five at once: the sixth is sent away at its head, in the form of this API. */
static void addresses(void **state)
{
    static struct kit slow;
    int               status = 200, taken = 0;

    (void)state;
    kit_init(&slow);
    kit_set(&slow, "address_requests_per_second", "1");
    kit_set(&slow, "address_exempt", "10.0.0.0/8");
    kit_start(&slow);
    for (; status == 200 && taken < 60; taken += status == 200)
        status = kit_ask(&slow, "POST", "/v1/t", AUTH PAGE, SPAN(TRACK("a")), &answer);
    assert_int_equal(status, 503);
    assert_true(taken >= 5);
    assert_non_null(strstr(answer.head, "\r\nretry-after: "));
    assert_non_null(strstr(answer.head, "\r\naccess-control-allow-origin: https://shop.example\r\n"));
    assert_int_equal(strncmp(answer.body, "{\"success\":false,\"code\":\"", 25), 0);
    assert_int_equal(kit_records(&slow), taken);
    kit_stop(&slow);
}

static int setup(void **state)
{
    (void)kit_setup(state);
    catalog = kit_catalog_open(&kit);
    return 0;
}

static int teardown(void **state)
{
    catalog_close(catalog);
    return kit_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(quotas),
        cmocka_unit_test(quotas_of_surveys), cmocka_unit_test(limits), cmocka_unit_test(limits_of_ids),
                                        cmocka_unit_test(restrictions), cmocka_unit_test(addresses) };

    return cmocka_run_group_tests(tests, setup, teardown);
}
