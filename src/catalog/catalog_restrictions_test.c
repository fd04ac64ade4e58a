/* catalog/catalog_restrictions_test.c - who is restricted: what is kept, what is asked, what cannot be. */
#include "catalog/catalog_test_kit.h"

static const struct uuid some_uuid = { { 1, 2, 3 } }, other_uuid = { { 3, 2, 1 } };

static void restrictions_hold(void **state)
{
    static const struct { const char *name; struct catalog_restriction of; struct span token, distinct_id, event; unsigned asked; } rows[] = {
        { "the whole project", { .action = CATALOG_DROP }, SPAN("t"), SPAN("d"), SPAN("e"), 1 << CATALOG_DROP },
        { "a token", { .action = CATALOG_DEAD_LETTER, .token = SPAN("t") }, SPAN("t"), SPAN("d"), SPAN("e"), 1 << CATALOG_DEAD_LETTER },
        { "another token", { .action = CATALOG_DEAD_LETTER, .token = SPAN("t") }, SPAN("t2"), SPAN("d"), SPAN("e"), 0 },
        { "a distinct id", { .action = CATALOG_OVERFLOW, .distinct_id = SPAN("d") }, SPAN("t"), SPAN("d"), SPAN("e"), 1 << CATALOG_OVERFLOW },
        { "in the same case", { .action = CATALOG_OVERFLOW, .distinct_id = SPAN("d") }, SPAN("t"), SPAN("D"), SPAN("e"), 0 },
        { "an event", { .action = CATALOG_SKIP_PERSONS, .event = SPAN("e") }, SPAN("t"), SPAN("d"), SPAN("e"), 1 << CATALOG_SKIP_PERSONS },
        { "the whole of its name", { .action = CATALOG_SKIP_PERSONS, .event = SPAN("e") }, SPAN("t"), SPAN("d"), SPAN("ee"), 0 },
        { "an id of an event", { .action = CATALOG_DROP, .has_uuid = true, .uuid = { { 1, 2, 3 } } }, SPAN("t"), SPAN("d"), SPAN("e"), 1 << CATALOG_DROP },
        { "another id", { .action = CATALOG_DROP, .has_uuid = true, .uuid = { { 1, 2, 4 } } }, SPAN("t"), SPAN("d"), SPAN("e"), 0 },
        { "all conditions", { .action = CATALOG_DROP, .token = SPAN("t"), .distinct_id = SPAN("d"), .event = SPAN("e") }, SPAN("t"), SPAN("d"), SPAN("e"), 1 << CATALOG_DROP },
        { "one of them not", { .action = CATALOG_DROP, .token = SPAN("t"), .distinct_id = SPAN("d"), .event = SPAN("e") }, SPAN("t"), SPAN("d2"), SPAN("e"), 0 },
        { "a filter by name", { .action = CATALOG_FILTER, .event = SPAN("e") }, SPAN("t"), SPAN("d"), SPAN("e"), 1 << CATALOG_FILTER },
        { "a filter by property is not asked here", { .action = CATALOG_FILTER, .event = SPAN("e"), .property = SPAN("p"), .value = SPAN("1") }, SPAN("t"), SPAN("d"), SPAN("e"), 0 },
    };
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path);
    struct catalog_snapshot *snapshot;
    struct err               err = { 0 };
    uint32_t                 ids[3];

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(catalog_project_create(catalog, "shop", &ids[i], &err), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct catalog_restriction one = rows[i].of;
        uint32_t                   id;
        unsigned                   asked;

        one.project = ids[1];
        id = must_restrict(catalog, one);
        catalog_close(catalog);
        catalog = must_open(place->path);
        snapshot = must_load(catalog);
        asked = catalog_restrictions_ask(catalog_snapshot_project(snapshot, ids[1]), rows[i].token, rows[i].distinct_id,
                                         rows[i].event, &some_uuid);
        if (asked != rows[i].asked)
            fail_msg("%s: %x", rows[i].name, asked);
        /* others' events are not touched */
        assert_int_equal(catalog_restrictions_ask(catalog_snapshot_project(snapshot, ids[0]), rows[i].token, rows[i].distinct_id, rows[i].event, &some_uuid), 0);
        assert_int_equal(catalog_restrictions_ask(catalog_snapshot_project(snapshot, ids[2]), rows[i].token, rows[i].distinct_id, rows[i].event, &some_uuid), 0);
        catalog_snapshot_free(snapshot);
        assert_int_equal(catalog_restriction_remove(catalog, id, &err), 0);
        assert_int_equal(catalog_restriction_remove(catalog, id, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    catalog_close(catalog);
}

static void restrictions_of_projects_stand_apart(void **state)
{
    struct place                     *place = *state;
    struct catalog                   *catalog = must_open(place->path);
    struct catalog_snapshot          *snapshot, *after;
    const struct catalog_restriction *all;
    struct err                        err = { 0 };
    uint32_t                          ids[4];

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(catalog_project_create(catalog, "shop", &ids[i], &err), 0);
    must_restrict(catalog, (struct catalog_restriction){ .project = ids[3], .action = CATALOG_DROP });
    must_restrict(catalog, (struct catalog_restriction){ .project = ids[0], .action = CATALOG_OVERFLOW });
    must_restrict(catalog, (struct catalog_restriction){ .project = ids[0], .action = CATALOG_SKIP_PERSONS });
    snapshot = must_load(catalog);
    assert_int_equal(catalog_snapshot_restrictions(snapshot, &all), 3);
    static const size_t counts[] = { 2, 0, 0, 1 };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(catalog_snapshot_project(snapshot, ids[i])->restriction_count, counts[i]);
    assert_int_equal(catalog_restrictions_ask(catalog_snapshot_project(snapshot, ids[0]), SPAN(""), SPAN("d"), SPAN("e"), &other_uuid),
                     1 << CATALOG_OVERFLOW | 1 << CATALOG_SKIP_PERSONS);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 0);
    must_restrict(catalog, (struct catalog_restriction){ .project = ids[1], .action = CATALOG_DROP });
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 1);
    after = must_load(catalog);
    assert_int_equal(catalog_snapshot_project(snapshot, ids[1])->restriction_count, 0); /* C1 */
    assert_int_equal(catalog_snapshot_project(after, ids[1])->restriction_count, 1);
    catalog_snapshot_free(after);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
    /* what another hand wrote and nobody can read is left out */
    run_sql(place->path, "UPDATE restrictions SET action = 'explode' WHERE project = 1; UPDATE restrictions SET uuid = 'x' WHERE project = 4");
    catalog = must_open(place->path);
    snapshot = must_load(catalog);
    assert_int_equal(catalog_snapshot_restrictions(snapshot, &all), 1);
    assert_int_equal(all[0].project, ids[1]);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static void restrictions_that_cannot_be(void **state)
{
    static char long_text[CATALOG_RESTRICTION_BYTES_MAX + 1];
    const struct { struct catalog_restriction of; const char *why; } rows[] = {
        { { .project = 9 }, "no project 9" },
        { { .project = 1, .action = CATALOG_DROP, .property = SPAN("p"), .value = SPAN("v") }, "filter only" },
        { { .project = 1, .action = CATALOG_FILTER }, "names an event" },
        { { .project = 1, .distinct_id = { (const uint8_t *)long_text, sizeof long_text } }, "1601 bytes" },
        { { .project = 1, .event = SPAN("\xff") }, "UTF-8" },
    };
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    struct err      err = { 0 };
    uint32_t        id = 77;

    memset(long_text, 'x', sizeof long_text);
    assert_int_equal(catalog_project_create(catalog, "shop", &id, &err), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(catalog_restriction_add(catalog, &rows[i].of, &id, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        if (strstr(err.text, rows[i].why) == NULL)
            fail_msg("%s", err.text);
    }
    catalog_close(catalog);
    run_sql(place->path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
                         " INSERT INTO restrictions (project, action, created_us) SELECT 1, 'drop', 0 FROM n");
    catalog = must_open(place->path);
    assert_int_equal(catalog_restriction_add(catalog, &(struct catalog_restriction){ .project = 1 }, &id, &err), -1);
    assert_non_null(strstr(err.text, "1000 restrictions"));
    catalog_close(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(restrictions_hold),
        PLACED(restrictions_of_projects_stand_apart),
        PLACED(restrictions_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
