/* capture/rules_http_test.c - quotas, limits and restrictions of a running server: what the client is told, what is
 * stored and what is counted. Numbers are those of docs/compat.md. Each row changes the catalog while the server runs. */
#include "capture/capture_test_kit.h"

static struct catalog   *catalog;

#define JSON "Content-Type: application/json\r\n"
#define OK "{\"status\":\"Ok\"}"
#define E1 "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define NOBODY "{\"token\":\"phc_alpha\",\"event\":\"signup\"}"
#define EVENT(name) "{\"event\":\"" name "\",\"distinct_id\":\"u-1\"}"
#define BATCH(events) "{\"api_key\":\"phc_alpha\",\"batch\":[" events "]}"
#define U(n) "0195d3a0-0000-7000-8000-00000000000" n
#define V1_PATH "/i/v1/analytics/events"
#define V1_HEADERS(token)                                                                                             \
    "Authorization: Bearer " token "\r\nContent-Type: application/json\r\nUser-Agent: posthog-node/5\r\n"             \
    "PostHog-Sdk-Info: posthog-node/5.7\r\nPostHog-Attempt: 1\r\n"                                                    \
    "PostHog-Request-Id: 7d0e8f3a-1111-4222-8333-944455556666\r\nPostHog-Request-Timestamp: 2026-02-03T04:05:06Z\r\n"
#define V1_EVENT(name, n) V1_EVENT_OF(name, n, "{}")
#define V1_EVENT_OF(name, n, options)                                                                                 \
    "{\"event\":\"" name "\",\"uuid\":\"" U(n) "\",\"distinct_id\":\"u-1\",\"timestamp\":\"2026-02-03T03:00:00Z\",\"options\":" options "}"
#define V1_BATCH(events) "{\"created_at\":\"2026-02-03T04:05:06Z\",\"batch\":[" events "]}"
#define V1_SAYS(n, result) "\"" U(n) "\":{\"result\":" result "}"
#define V1_OK "\"ok\""
#define V1_DROP(details) "\"drop\",\"details\":\"" details "\""

#define NO_RESOURCE CATALOG_RESOURCE_COUNT
#define NO_RULE     (-1)

struct rules {
    enum catalog_resource resource; /* NO_RESOURCE: no quota */
    const char           *quota_token;
    int64_t               until_us;
    int                   action; /* NO_RULE: no restriction */
    const char           *token, *distinct_id, *event;
};

static void set_rules(const struct rules *rules, bool set)
{
    struct catalog_quota       quota = { .project = 1, .token = span_text(rules->quota_token), .resource = rules->resource,
                                         .until_us = rules->until_us };
    struct catalog_restriction restriction = { .project = 1, .action = (enum catalog_action)rules->action,
                                               .token = span_text(rules->token), .distinct_id = span_text(rules->distinct_id),
                                               .event = span_text(rules->event) };
    static uint32_t            id;
    struct err                 err = { 0 };

    if (rules->resource != NO_RESOURCE && (set ? catalog_quota_set : catalog_quota_remove)(catalog, &quota, &err) < 0)
        fail_msg("%s", err.text);
    if (rules->action != NO_RULE &&
        (set ? catalog_restriction_add(catalog, &restriction, &id, &err) : catalog_restriction_remove(catalog, id, &err)) < 0)
        fail_msg("%s", err.text);
    kit_in_force(catalog);
}

#define SOON (KIT_NOW_US + 1000000)
#define QUOTA(what, until) { what, "", until, NO_RULE, "", "", "" }
#define DROP(of_token, of_id, of_event) { NO_RESOURCE, "", 0, CATALOG_DROP, of_token, of_id, of_event }

static const struct row {
    const char  *name;
    struct rules rules;
    const char  *target, *headers, *body;
    int          status;
    const char  *text;    /* ended by `*`: its beginning */
    const char  *records; /* "event " each; a dead letter is "!" and its event */
    const char  *metric;  /* "cause": how many more of it were dropped */
    double       dropped;
} rows[] = {
    { "123", QUOTA(CATALOG_EVENTS, SOON), "/e", JSON, NOBODY, 200, OK, "", "events_over_quota", 1 },
    { "123 beacon", QUOTA(CATALOG_EVENTS, SOON), "/e?beacon=1", JSON, E1, 200, OK, "", "events_over_quota", 1 },
    { "123 another token", QUOTA(CATALOG_EVENTS, SOON), "/e", JSON, "{\"token\":\"phc_beta\",\"event\":\"a\",\"distinct_id\":\"u\"}", 200, OK,
      "", "events_over_quota", 1 }, /* the quota is the project's */
    { "123 of one token", { CATALOG_EVENTS, "phc_beta", SOON, NO_RULE, "", "", "" }, "/e", JSON, E1, 200, OK, "signup ",
      "events_over_quota", 0 },
    { "123 of this token", { CATALOG_EVENTS, "phc_alpha", SOON, NO_RULE, "", "", "" }, "/e", JSON, E1, 200, OK, "",
      "events_over_quota", 1 },
    { "123 unreadable stays an error", QUOTA(CATALOG_EVENTS, SOON), "/e", JSON, "{\"token\":\"phc_alpha\",\"event\":1}", 400,
      "failed to parse*", "", "events_over_quota", 0 },
    { "124", QUOTA(CATALOG_EVENTS, SOON), "/batch", JSON, BATCH(EVENT("a") "," EVENT("$exception") "," EVENT("b")), 200, OK,
      "$exception ", "events_over_quota", 2 },
    { "124 and a bad one", QUOTA(CATALOG_EVENTS, SOON), "/batch", JSON,
      BATCH(EVENT("$exception") ",{\"event\":\"b\",\"distinct_id\":\"u\",\"timestamp\":3}"), 200, OK, "$exception ", "events_over_quota", 1 },
    { "125 scoped", QUOTA(CATALOG_EXCEPTIONS, SOON), "/batch", JSON, BATCH(EVENT("a") "," EVENT("$exception") "," EVENT("b")), 200, OK,
      "a b ", "exceptions_over_quota", 1 },
    { "125 alone", QUOTA(CATALOG_EXCEPTIONS, SOON), "/batch?beacon=1", JSON, BATCH(EVENT("$exception")), 200, OK, "",
      "exceptions_over_quota", 1 },
    { "126 surveys", QUOTA(CATALOG_SURVEYS, SOON), "/batch", JSON,
      BATCH(EVENT("survey sent") "," EVENT("survey shown") "," EVENT("survey dismissed") "," EVENT("survey x") ","
            "{\"event\":\"survey sent\",\"distinct_id\":\"u\",\"properties\":{\"$product_tour_id\":\"t\"}},"
            "{\"event\":\"survey sent\",\"distinct_id\":\"u\",\"properties\":{\"$product_tour_id\":null}}"),
      200, OK, "survey x survey sent ", "surveys_over_quota", 4 },
    { "126 llm", QUOTA(CATALOG_LLM_EVENTS, SOON), "/batch", JSON, BATCH(EVENT("$ai_generation") "," EVENT("\\u0024ai_x") "," EVENT("$aix")),
      200, OK, "$aix ", "llm_events_over_quota", 2 },
    { "126 recordings", QUOTA(CATALOG_RECORDINGS, SOON), "/e", JSON, E1, 200, OK, "signup ", "recordings_over_quota", 0 },
    { "127", QUOTA(CATALOG_EVENTS, KIT_NOW_US), "/e", JSON, E1, 200, OK, "signup ", "events_over_quota", 0 },
    { "128a", DROP("phc_alpha", "", ""), "/e", JSON, E1, 200, OK, "", "event_restriction_drop", 1 },
    { "128b", DROP("phc_alpha", "u-1", ""), "/e", JSON, E1, 200, OK, "", "event_restriction_drop", 1 },
    { "128c", DROP("phc_alpha", "u-2", ""), "/e", JSON, E1, 200, OK, "signup ", "event_restriction_drop", 0 },
    { "128 beacon", DROP("phc_alpha", "", ""), "/e?beacon=1", JSON, E1, 204, "", "", "event_restriction_drop", 1 },
    { "129", DROP("", "", "signup"), "/batch", JSON, BATCH(EVENT("signup") "," EVENT("other")), 200, OK, "other ",
      "event_restriction_drop", 1 },
    { "129 and a bad one", DROP("", "", "signup"), "/batch", JSON, BATCH(EVENT("signup") ",{\"event\":\"\",\"distinct_id\":\"u\"}"), 200, OK,
      "! ", "event_restriction_drop", 1 },
    { "order: validation before restrictions", DROP("phc_alpha", "", ""), "/e", JSON, NOBODY, 400, "event submitted without a distinct_id",
      "", "event_restriction_drop", 0 },
    { "others act later", { NO_RESOURCE, "", 0, CATALOG_DEAD_LETTER, "", "", "" }, "/e", JSON, E1, 200, OK, "signup ",
      "event_restriction_drop", 0 },
    { "158a", QUOTA(CATALOG_EVENTS, SOON), V1_PATH, V1_HEADERS("phc_alpha"), V1_BATCH(V1_EVENT("$exception", "1")), 429,
      "{\"error\":\"billing_limit_exceeded\"*", "", "billing_limit_exceeded", 1 },
    { "158b", QUOTA(CATALOG_EXCEPTIONS, SOON), V1_PATH, V1_HEADERS("phc_alpha"), V1_BATCH(V1_EVENT("$exception", "1") "," V1_EVENT("a", "2")),
      200, "{\"results\":{" V1_SAYS("1", V1_DROP("exceptions_over_quota")) "," V1_SAYS("2", V1_OK) "}}", "a ", "exceptions_over_quota", 1 },
    { "158 all", QUOTA(CATALOG_EXCEPTIONS, SOON), V1_PATH, V1_HEADERS("phc_alpha"), V1_BATCH(V1_EVENT("$exception", "1")), 429,
      "{\"error\":\"billing_limit_exceeded\"*", "", "billing_limit_exceeded", 1 },
    { "158 surveys", QUOTA(CATALOG_SURVEYS, SOON), V1_PATH, V1_HEADERS("phc_alpha"),
      V1_BATCH(V1_EVENT("survey sent", "1") "," V1_EVENT_OF("survey sent", "2", "{\"product_tour_id\":5}") "," V1_EVENT("", "3")), 200,
      "{\"results\":{" V1_SAYS("1", V1_DROP("survey_responses_over_quota")) "," V1_SAYS("2", V1_OK) ","
      V1_SAYS("3", V1_DROP("missing_event_name")) "}}", "survey sent ", "surveys_over_quota", 1 },
    { "158 llm", QUOTA(CATALOG_LLM_EVENTS, SOON), V1_PATH, V1_HEADERS("phc_alpha"), V1_BATCH(V1_EVENT("$ai_span", "1") "," V1_EVENT("a", "2")),
      200, "{\"results\":{" V1_SAYS("1", V1_DROP("llm_events_over_quota")) "," V1_SAYS("2", V1_OK) "}}", "a ", "llm_events_over_quota", 1 },
    { "v1 restriction", DROP("", "", "signup"), V1_PATH, V1_HEADERS("phc_alpha"), V1_BATCH(V1_EVENT("signup", "1") "," V1_EVENT("a", "2")),
      200, "{\"results\":{" V1_SAYS("1", V1_DROP("event_restriction_drop")) "," V1_SAYS("2", V1_OK) "}}", "a ", "event_restriction_drop", 1 },
    { "v1 restriction, all", DROP("", "", "signup"), V1_PATH, V1_HEADERS("phc_alpha"), V1_BATCH(V1_EVENT("signup", "1")), 200,
      "{\"results\":{" V1_SAYS("1", V1_DROP("event_restriction_drop")) "}}", "", "event_restriction_drop", 1 },
};

static double metric_of(const char *name, const char *label, const char *value)
{
    char   labels[80];
    double found = -1;

    (void)snprintf(labels, sizeof labels, "%s=\"%s\"", label, value);
    assert_true(metric_read(kit.run_folder, "capture", name, labels, &found));
    return found;
}

static void check_records(const char *name, const char *wanted)
{
    char   names[512] = "";
    size_t at = 0;

    (void)kit_records(&kit);
    for (size_t i = 0; i < kit.count; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s ", kit.records[i].kind == RECORD_REJECTED ? "!" : "",
                               (int)kit.records[i].event.bytes, (const char *)kit.records[i].event.at);
    if (strcmp(names, wanted) != 0)
        fail_msg("%s: stored \"%s\", not \"%s\"", name, names, wanted);
}

static void vectors(void **state)
{
    double dropped;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        double            before, after;

        set_rules(&row->rules, true);
        before = metric_of("capture_events_dropped_total", "cause", row->metric);
        kit_ask(&kit, "POST", row->target, row->headers, span_text(row->body), &answer);
        after = metric_of("capture_events_dropped_total", "cause", row->metric);
        if (answer.status != row->status || !kit_text_fits(row->text, answer.body))
            fail_msg("%s: %d %s", row->name, answer.status, answer.body);
        check_records(row->name, row->records);
        if (after - before != row->dropped)
            fail_msg("%s: %f more dropped as %s", row->name, after - before, row->metric);
        set_rules(&row->rules, false);
        kit_ask(&kit, "POST", "/e", JSON, SPAN(E1), &answer);
        check_records(row->name, "signup "); /* and without the rule as always */
    }
    assert_true(metric_of("capture_quota_limit_exceeded", "resource", "surveys") == 5);
    assert_true(metric_read(kit.run_folder, "capture", "capture_event_restrictions_applied",
                            "restriction_type=\"drop_event_from_ingestion\",pipeline=\"analytics\"", &dropped) && dropped == 7);
    assert_true(metric_read(kit.run_folder, "capture", "capture_error_by_stage_and_type", "error=\"billing_limit_exceeded\",stage=\"processing\"",
                            &dropped) && dropped == 2);
    assert_true(metric_read(kit.run_folder, "capture", "capture_error_by_stage_and_type", "error=\"req_parsing\",stage=\"parsing\"", &dropped) &&
                dropped == 1);
    assert_true(metric_read(kit.run_folder, "capture", "capture_v1_events_quota_limited", "", &dropped) && dropped == 3);
    assert_true(metric_read(kit.run_folder, "capture", "capture_v1_events_restricted", "", &dropped) && dropped == 2);
    assert_true(metric_read(kit.run_folder, "capture", "capture_v1_parsed_events", "", &dropped) && dropped == 10);
}

static void must_limit(enum catalog_limit_kind kind, uint32_t events, uint32_t burst)
{
    struct err err = { 0 };

    if (catalog_limit_set(catalog, &(struct catalog_limit){ .project = 1, .token = SPAN(""), .kind = kind, .events = events, .burst = burst },
                          &err) < 0)
        fail_msg("%s", err.text);
    kit_in_force(catalog);
}

static void must_unlimit(enum catalog_limit_kind kind)
{
    struct err err = { 0 };

    assert_int_equal(catalog_limit_remove(catalog, &(struct catalog_limit){ .project = 1, .token = SPAN(""), .kind = kind }, &err), 0);
    kit_in_force(catalog);
}

/* 100 events on credit at one a second: for 98 s nobody of the project may send, and whoever does is told so. */
static void a_token_that_sends_too_fast(void **state)
{
    char   body[8192];
    size_t at = (size_t)sprintf(body, "{\"api_key\":\"phc_alpha\",\"batch\":[");
    int    wait_s, late_s;

    (void)state;
    for (int i = 0; i < 40; i++)
        at += (size_t)sprintf(body + at, "%s" EVENT("a"), i == 0 ? "" : ",");
    strcpy(body + at, "]}");
    must_limit(CATALOG_LIMIT_TOKEN, 1, 2);
    late_s = (int)(clock_mono_us() / 1000000);
    assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON, span_text(body), &answer), 200);
    assert_int_equal(kit_records(&kit), 40);
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, SPAN(E1), &answer), 429);
    assert_int_equal(strncmp(answer.body, "rate limited: 1 events a second are taken from this project", 59), 0);
    wait_s = atoi(strstr(answer.head, "retry-after: ") + 13);
    late_s = (int)(clock_mono_us() / 1000000) - late_s + 1;
    assert_true(wait_s >= 38 - late_s && wait_s <= 39); /* 40 s of events, one of burst beside the next */
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, SPAN("{\"token\":\"phc_beta\",\"event\":\"a\",\"distinct_id\":\"u\"}"), &answer), 429);
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON "Origin: https://shop.example\r\n", SPAN(E1), &answer), 503);
    assert_non_null(strstr(answer.head, "retry-after: "));
    assert_int_equal(kit_ask(&kit, "POST", V1_PATH, V1_HEADERS("phc_alpha"), SPAN(V1_BATCH(V1_EVENT("a", "1"))), &answer), 503);
    assert_non_null(strstr(answer.head, "retry-after: "));
    assert_non_null(strstr(answer.body, "\"rate_limited\""));
    assert_int_equal(kit_records(&kit), 0);
    /* What is not taken anyway does not wait. */
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, SPAN("{\"token\":\"phc_alpha\",\"event\":\"$performance_event\"}"), &answer), 200);
    must_limit(CATALOG_LIMIT_TOKEN, 1000000, 1000000); /* other numbers, the same bucket: 40 s are owed still */
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, SPAN(E1), &answer), 429);
    must_unlimit(CATALOG_LIMIT_TOKEN);
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, SPAN(E1), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_true(metric_of("capture_events_dropped_total", "cause", "rate_limited") >= 5);
}

static void ids_that_send_too_fast(void **state)
{
    const unsigned over = RECORD_PERSON_OFF | RECORD_OVERFLOW, taken = over | RECORD_HISTORICAL;
    size_t         off = 0;

    (void)state;
    must_limit(CATALOG_LIMIT_DISTINCT_ID, 2, 0);
    assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON,
                             SPAN(BATCH(EVENT("a") "," EVENT("b") "," EVENT("c") ",{\"event\":\"d\",\"distinct_id\":\"u-2\"}," EVENT("e"))), &answer),
                     200);
    assert_int_equal(kit_records(&kit), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true((kit.records[i].flags & taken) == 0 || (kit.records[i].flags & taken) == over);
        off += (kit.records[i].flags & over) != 0;
    }
    assert_true(off == 2 && (kit.records[2].flags & over) == over && (kit.records[4].flags & over) == over);
    assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON,
                             SPAN("{\"api_key\":\"phc_alpha\",\"historical_migration\":true,\"batch\":[" EVENT("a") "]}"), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_int_equal(kit.records[0].flags & taken, RECORD_PERSON_OFF | RECORD_HISTORICAL); /* imports wait for nobody */
    assert_int_equal(kit_ask(&kit, "POST", V1_PATH, V1_HEADERS("phc_alpha"), SPAN(V1_BATCH(V1_EVENT("a", "1"))), &answer), 200);
    assert_string_equal(answer.body, "{\"results\":{" V1_SAYS("1", "\"warning\",\"details\":\"person_processing_disabled\"") "}}");
    assert_int_equal(kit_records(&kit), 1);
    assert_int_equal(kit.records[0].flags & taken, over);
    assert_true(metric_of("capture_events_rerouted_overflow", "reason", "rate_limited") == 3);
    assert_true(metric_of("capture_billing_limits_loaded_tokens", "cache_key", "events") == 0);
    must_unlimit(CATALOG_LIMIT_DISTINCT_ID);
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, SPAN(E1), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_int_equal(kit.records[0].flags & taken, 0);
}

/* The catalog cannot be read any more: what was in force stays so, and events are taken. */
static void catalog_that_is_gone(void **state)
{
    char from[128], to[128];

    (void)state;
    (void)snprintf(from, sizeof from, "%s/catalog.db", kit.folder);
    (void)snprintf(to, sizeof to, "%s/catalog.away", kit.folder);
    set_rules(&(struct rules)QUOTA(CATALOG_EXCEPTIONS, SOON), true);
    assert_int_equal(rename(from, to), 0);
    usleep(300000); /* it is looked for every 100 ms */
    assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON, SPAN(BATCH(EVENT("$exception") "," EVENT("a"))), &answer), 200);
    check_records("gone", "a ");
    assert_int_equal(rename(to, from), 0);
    set_rules(&(struct rules)QUOTA(CATALOG_EXCEPTIONS, SOON), false);
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, SPAN(E1), &answer), 200);
    check_records("back", "signup ");
}

static int start(void **state)
{
    (void)kit_setup(state);
    catalog = kit_catalog_open(&kit);
    return 0;
}

static int stop(void **state)
{
    catalog_close(catalog);
    return kit_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(a_token_that_sends_too_fast),
        cmocka_unit_test(ids_that_send_too_fast),
        cmocka_unit_test(catalog_that_is_gone),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
