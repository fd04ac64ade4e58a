/* catalog/catalog_limits_test.c - quotas and limits: which tokens they reach, and what cannot be. */
#include "catalog/catalog_test_kit.h"

static void resources_of_events(void **state)
{
    static const struct { struct span event; bool tour; enum catalog_resource resource; } rows[] = {
        { SPAN("$exception"), false, CATALOG_EXCEPTIONS },   { SPAN("$exceptions"), false, CATALOG_EVENTS },
        { SPAN("survey sent"), false, CATALOG_SURVEYS },     { SPAN("survey shown"), false, CATALOG_SURVEYS },
        { SPAN("survey dismissed"), false, CATALOG_SURVEYS },{ SPAN("survey sent"), true, CATALOG_EVENTS },
        { SPAN("survey opened"), false, CATALOG_EVENTS },    { SPAN("$ai_trace"), false, CATALOG_LLM_EVENTS },
        { SPAN("$ai_anything"), true, CATALOG_LLM_EVENTS },  { SPAN("$ai"), false, CATALOG_EVENTS },
        { SPAN("$pageview"), false, CATALOG_EVENTS },        { SPAN(""), false, CATALOG_EVENTS },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(catalog_resource_of(rows[i].event, rows[i].tour), rows[i].resource);
}

static void quotas_reach_their_tokens(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path);
    struct catalog_snapshot *snapshot, *after;
    struct err               err = { 0 };
    char                     token[CATALOG_TOKEN_BYTES_MAX + 1];
    uint32_t                 a, b;

    assert_int_equal(catalog_project_create(catalog, "a", &a, &err) + catalog_project_create(catalog, "b", &b, &err), 0);
    assert_int_equal(catalog_token_create(catalog, a, "a1", false, token, &err), 0);
    assert_int_equal(catalog_token_create(catalog, a, "a2", false, token, &err), 0);
    assert_int_equal(catalog_token_create(catalog, b, "b1", false, token, &err), 0);
    const struct catalog_quota quotas[] = {
        { .project = a, .token = SPAN(""), .resource = CATALOG_EVENTS, .until_us = 50 },
        { .project = a, .token = SPAN("a1"), .resource = CATALOG_EVENTS, .until_us = 90 },
        { .project = a, .token = SPAN("a2"), .resource = CATALOG_EVENTS, .until_us = 20 },
        { .project = a, .token = SPAN("a2"), .resource = CATALOG_RECORDINGS, .until_us = 10 },
        { .project = a, .token = SPAN("a2"), .resource = CATALOG_RECORDINGS, .until_us = 30 }, /* instead */
    };
    const struct catalog_limit limits[] = {
        { .project = a, .token = SPAN(""), .kind = CATALOG_LIMIT_TOKEN, .events = 5, .burst = 9 },
        { .project = a, .token = SPAN("a2"), .kind = CATALOG_LIMIT_TOKEN, .events = 7, .burst = 8 },
        { .project = b, .token = SPAN(""), .kind = CATALOG_LIMIT_DISTINCT_ID, .events = 6 },
    };

    for (size_t i = 0; i < sizeof quotas / sizeof *quotas; i++)
        assert_int_equal(catalog_quota_set(catalog, &quotas[i], &err), 0);
    snapshot = must_load(catalog);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        assert_int_equal(catalog_limit_set(catalog, &limits[i], &err), 0);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 1); /* C2: a role looks again */
    after = must_load(catalog);
    assert_int_equal(must_find(snapshot, "a1")->rules, CATALOG_RULE_QUOTA); /* C1 */
    assert_int_equal(must_find(snapshot, "b1")->rules, 0);
    assert_int_equal(must_find(after, "a1")->quota_until_us[CATALOG_EVENTS], 90);
    assert_int_equal(must_find(after, "a2")->quota_until_us[CATALOG_EVENTS], 50); /* both hold, the longer counts */
    assert_int_equal(must_find(after, "a1")->quota_until_us[CATALOG_RECORDINGS], 0);
    assert_int_equal(must_find(after, "a2")->quota_until_us[CATALOG_RECORDINGS], 30);
    assert_int_equal(must_find(after, "b1")->quota_until_us[CATALOG_EVENTS], 0);
    assert_int_equal(must_find(after, "a1")->limits[CATALOG_LIMIT_TOKEN]->events, 5);
    assert_int_equal(must_find(after, "a2")->limits[CATALOG_LIMIT_TOKEN]->events, 7); /* its own, instead */
    assert_int_equal(must_find(after, "a2")->limits[CATALOG_LIMIT_TOKEN]->burst, 8);
    assert_null(must_find(after, "b1")->limits[CATALOG_LIMIT_TOKEN]);
    assert_int_equal(must_find(after, "b1")->limits[CATALOG_LIMIT_DISTINCT_ID]->events, 6);
    assert_int_equal(must_find(after, "a1")->rules, CATALOG_RULE_QUOTA | CATALOG_RULE_LIMIT);
    assert_int_equal(must_find(after, "b1")->rules, CATALOG_RULE_LIMIT);
    assert_ptr_equal(must_find(after, "b1")->owner, catalog_snapshot_project(after, b));
    catalog_snapshot_free(snapshot);
    catalog_snapshot_free(after);

    /* The id of a limit stays when its numbers change; what is removed is gone, what another hand wrote badly is left out. */
    assert_int_equal(catalog_limit_set(catalog, &(struct catalog_limit){ .project = a, .token = SPAN("a2"), .kind = CATALOG_LIMIT_TOKEN,
                                                                         .events = 70, .burst = 80 }, &err), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(catalog_quota_remove(catalog, &quotas[i], &err), 0);
    assert_int_equal(catalog_quota_remove(catalog, &quotas[0], &err), -1);
    assert_int_equal(catalog_limit_remove(catalog, &limits[0], &err), 0);
    assert_int_equal(catalog_limit_remove(catalog, &limits[0], &err), -1);
    must_restrict(catalog, (struct catalog_restriction){ .project = b, .action = CATALOG_DROP });
    run_sql(place->path, "INSERT INTO quotas VALUES (2, '', 'dreams', 5, 0), (1, 'a1', 'events', -5, 0), (1, 'b1', 'events', 5, 0);"
                         "INSERT INTO limits (project, token, kind, events, burst, created_us) VALUES (1, 'a1', 'token', 0, 1, 0)");
    snapshot = must_load(catalog);
    assert_int_equal(must_find(snapshot, "a1")->rules, 0);
    assert_int_equal(must_find(snapshot, "a2")->limits[CATALOG_LIMIT_TOKEN]->events, 70);
    assert_int_equal(must_find(snapshot, "a2")->limits[CATALOG_LIMIT_TOKEN]->id, 2);
    assert_int_equal(must_find(snapshot, "b1")->rules, CATALOG_RULE_LIMIT | CATALOG_RULE_DROP); /* b1 is not project a's */
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static void quotas_that_cannot_be(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    struct err      err = { 0 };
    char            token[CATALOG_TOKEN_BYTES_MAX + 1];
    uint32_t        a, b;

    assert_int_equal(catalog_project_create(catalog, "a", &a, &err) + catalog_project_create(catalog, "b", &b, &err), 0);
    assert_int_equal(catalog_token_create(catalog, b, "b1", false, token, &err), 0);
    assert_int_equal(catalog_token_create(catalog, a, "gone", false, token, &err), 0);
    assert_int_equal(catalog_token_revoke(catalog, "gone", &err), 0);
    const struct { struct catalog_limit of; const char *why; } rows[] = {
        { { .project = 9, .token = SPAN(""), .events = 1, .burst = 1 }, "no project 9" },
        { { .project = a, .token = SPAN("b1"), .events = 1, .burst = 1 }, "has no token b1" },
        { { .project = a, .token = SPAN("gone"), .events = 1, .burst = 1 }, "has no token gone" },
        { { .project = a, .token = SPAN(""), .events = 0, .burst = 1 }, "1 to 1000000000" },
        { { .project = a, .token = SPAN(""), .events = 1, .burst = 0 }, "a burst is 1" },
        { { .project = a, .token = SPAN(""), .events = CATALOG_LIMIT_MAX + 1u, .burst = 1 }, "1 to 1000000000" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct catalog_quota quota = { .project = rows[i].of.project, .token = rows[i].of.token, .until_us = i < 3 ? 5 : 0 };

        assert_int_equal(catalog_limit_set(catalog, &rows[i].of, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        if (strstr(err.text, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].why, err.text);
        assert_int_equal(catalog_quota_set(catalog, &quota, &err), -1);
        if (strstr(err.text, i < 3 ? rows[i].why : "after 1970") == NULL)
            fail_msg("%s: %s", rows[i].why, err.text);
    }
    catalog_close(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources_of_events),
        PLACED(quotas_reach_their_tokens),
        PLACED(quotas_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
