/* catalog/catalog_test.c - the catalog: tokens and projects, what is kept and what is refused. */
#include "catalog/catalog_test_kit.h"

#include <sys/stat.h>

/* --- tokens ------------------------------------------------------------------------------------ */

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void token_check_facts(void **state)
{
    static const struct { struct span token; const char *why; } rows[] = {
        { SPAN(""), "empty" },
        { SPAN("phc_abc"), NULL },
        { SPAN("no prefix is needed"), NULL },
        { SPAN(A64), NULL },
        { SPAN(A64 "a"), "too_long" },
        { SPAN("t\xc3\xb6ken"), "not_ascii" },
        { SPAN("phx_mine"), "personal_api_key" },
        { SPAN("phx"), NULL },
        { SPAN("a\0b"), "null_byte" },
        { SPAN("\0"), "null_byte" },
        { SPAN("phx_\0"), "personal_api_key" },          /* in this order */
        { SPAN(A64 "\xc3\xb6"), "too_long" },
        { SPAN("phx_\xc3\xb6"), "not_ascii" },
        { SPAN(" phc_abc "), NULL },                     /* trimming is the caller's */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = { 0 };
        int        rc = catalog_token_check(rows[i].token, &err);

        assert_int_equal(rc, rows[i].why == NULL ? 0 : -1);
        assert_string_equal(err.text, rows[i].why == NULL ? "" : rows[i].why);
    }
}

static void tokens_made_at_random(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    char            made[200][CATALOG_TOKEN_BYTES_MAX + 1];
    bool            letter_seen[128] = { false };
    uint32_t        project = 0;
    struct err      err = { 0 };

    assert_int_equal(catalog_project_create(catalog, "shop", &project, &err), 0);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(catalog_token_create(catalog, project, NULL, false, made[i], &err), 0);
        assert_int_equal(strlen(made[i]), 47);
        assert_memory_equal(made[i], "phc_", 4);
        assert_int_equal(strspn(made[i] + 4, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"), 43);
        for (const char *at = made[i] + 4; *at != '\0'; at++)
            letter_seen[(int)*at] = true;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(made[i], made[k]);
    }
    for (const char *at = "AZaz09"; *at != '\0'; at++)
        assert_true(letter_seen[(int)*at]);

    struct catalog_snapshot *snapshot = must_load(catalog);
    for (size_t i = 0; i < 200; i++) {
        const struct catalog_project *found = catalog_snapshot_find(snapshot, span_text(made[i]));

        assert_non_null(found);
        assert_int_equal(found->id, project);
        made[i][46] ^= 1; /* one letter beside it is nobody's */
        assert_null(catalog_snapshot_find(snapshot, span_text(made[i])));
        assert_null(catalog_snapshot_find(snapshot, span_of(made[i], 46)));
    }
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static void tokens_given(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    char            token[CATALOG_TOKEN_BYTES_MAX + 1] = "untouched";
    uint32_t        shop = 0, blog = 0;
    struct err      err = { 0 };

    assert_int_equal(catalog_project_create(catalog, "shop", &shop, &err), 0);
    assert_int_equal(catalog_project_create(catalog, "blog", &blog, &err), 0);
    assert_int_equal(shop, 1);
    assert_int_equal(blog, 2);

    assert_int_equal(catalog_token_create(catalog, 3, "tok", false, token, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_int_equal(catalog_token_create(catalog, shop, "phx_tok", false, token, &err), -1);
    assert_string_equal(err.text, "personal_api_key");
    assert_string_equal(token, "untouched");
    assert_int_equal(catalog_token_create(catalog, shop, "tok", false, token, &err), 0);
    assert_string_equal(token, "tok");
    assert_int_equal(catalog_token_create(catalog, shop, "tok", false, token, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_int_equal(catalog_token_create(catalog, shop, A64, false, token, &err), 0);

    struct catalog_snapshot *before = must_load(catalog);
    assert_string_equal(catalog_snapshot_find(before, SPAN("tok"))->name, "shop");
    assert_string_equal(catalog_snapshot_find(before, SPAN(A64))->name, "shop");
    assert_null(catalog_snapshot_find(before, SPAN("")));
    assert_null(catalog_snapshot_find(before, SPAN("tok\0")));
    assert_null(catalog_snapshot_find(before, SPAN(A64 "a")));

    assert_int_equal(catalog_token_revoke(catalog, "tok", &err), 0);
    assert_int_equal(catalog_token_revoke(catalog, "tok", &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_int_equal(catalog_token_create(catalog, blog, "tok", false, token, &err), -1); /* never somebody else's */
    assert_int_equal(err.kind, ERR_INPUT);

    struct catalog_snapshot *after = must_load(catalog);
    assert_null(catalog_snapshot_find(after, SPAN("tok")));
    assert_non_null(catalog_snapshot_find(before, SPAN("tok"))); /* C1 */
    assert_int_equal(catalog_token_create(catalog, shop, "tok", false, token, &err), 0); /* taken back by its own */
    struct catalog_snapshot *again = must_load(catalog);
    assert_non_null(catalog_snapshot_find(again, SPAN("tok")));
    assert_true(catalog_snapshot_version(before) < catalog_snapshot_version(after));
    assert_true(catalog_snapshot_version(after) < catalog_snapshot_version(again));

    const struct catalog_token *tokens;
    assert_int_equal(catalog_snapshot_tokens(again, &tokens), 2);
    assert_int_equal(tokens[0].project, shop);
    catalog_snapshot_free(before);
    catalog_snapshot_free(after);
    catalog_snapshot_free(again);
    catalog_close(catalog);
}

/* --- projects ---------------------------------------------------------------------------------- */

static void project_settings_are_kept(void **state)
{
    struct place          *place = *state;
    struct catalog        *catalog = must_open(place->path);
    char                   name[CATALOG_NAME_BYTES_MAX + 2];
    struct catalog_project project = { .name = "Caf\xc3\xa9", .anonymize_ips = true, .person_processing_off = true,
                                       .geoip_off = true, .drop_older_than_s = 86400, .heatmaps_off = true,
                                       .person_last_seen = true, .retention_days = 36500, .time_zone = "America/Port-au-Prince",
                                       .cookieless = CATALOG_COOKIELESS_STATEFUL };
    struct err             err = { 0 };

    memset(name, 'n', sizeof name - 1);
    name[CATALOG_NAME_BYTES_MAX + 1] = '\0';
    assert_int_equal(catalog_project_create(catalog, name, &project.id, &err), -1);
    assert_int_equal(catalog_project_create(catalog, "", &project.id, &err), -1);
    assert_int_equal(catalog_project_create(catalog, "\xff", &project.id, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    name[CATALOG_NAME_BYTES_MAX] = '\0';
    assert_int_equal(catalog_project_create(catalog, name, &project.id, &err), 0);
    assert_int_equal(project.id, 1);
    assert_int_equal(catalog_project_update(catalog, &project, &err), 0);
    project.drop_older_than_s = -1;
    assert_int_equal(catalog_project_update(catalog, &project, &err), -1);
    project.drop_older_than_s = 0;
    project.retention_days++;
    assert_int_equal(catalog_project_update(catalog, &project, &err), -1);
    project.retention_days--;
    for (const char *const *zone = (const char *const[]){ "/etc/passwd", "../../x", "Europe//Berlin", "a b", NULL }; *zone != NULL; zone++) {
        (void)snprintf(project.time_zone, sizeof project.time_zone, "%s", *zone);
        assert_int_equal(catalog_project_update(catalog, &project, &err), -1);
        assert_non_null(strstr(err.text, *zone));
    }
    project.time_zone[0] = '\0';
    project.id = 9;
    assert_int_equal(catalog_project_update(catalog, &project, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    catalog_close(catalog);

    catalog = must_open(place->path);
    struct catalog_snapshot      *snapshot = must_load(catalog);
    const struct catalog_project *all, *kept = catalog_snapshot_project(snapshot, 1);
    assert_int_equal(catalog_snapshot_projects(snapshot, &all), 1);
    assert_ptr_equal(all, kept);
    assert_null(catalog_snapshot_project(snapshot, 2));
    assert_string_equal(kept->name, "Caf\xc3\xa9");
    assert_true(kept->anonymize_ips && kept->person_processing_off && kept->geoip_off);
    assert_int_equal(kept->drop_older_than_s, 86400);
    assert_true(kept->heatmaps_off && kept->person_last_seen);
    assert_int_equal(kept->retention_days, 36500);
    assert_int_equal(kept->cookieless, CATALOG_COOKIELESS_STATEFUL);
    assert_string_equal(kept->time_zone, "America/Port-au-Prince");
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static void nothing_there_yet(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path);
    struct catalog_snapshot *snapshot = must_load(catalog);
    const struct catalog_project *projects;
    const struct catalog_token   *tokens;
    struct stat                   file;

    assert_int_equal(catalog_snapshot_projects(snapshot, &projects), 0);
    assert_int_equal(catalog_snapshot_tokens(snapshot, &tokens), 0);
    assert_null(catalog_snapshot_find(snapshot, SPAN("tok")));
    if (!place->postgres) {
        assert_int_equal(stat(place->path, &file), 0);
        assert_int_equal(file.st_mode & 0777, 0600);
    }
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static void project_defaults(void **state)
{
    struct place                 *place = *state;
    struct catalog               *catalog = must_open(place->path);
    struct catalog_snapshot      *snapshot;
    const struct catalog_project *project;
    struct err                    err = { 0 };
    uint32_t                      id;

    assert_int_equal(catalog_project_create(catalog, "shop", &id, &err), 0);
    snapshot = must_load(catalog);
    project = catalog_snapshot_project(snapshot, id);
    assert_string_equal(project->time_zone, "UTC");
    assert_int_equal(project->cookieless, CATALOG_COOKIELESS_STATEFUL);
    assert_int_equal(project->retention_days + project->drop_older_than_s, 0);
    assert_false(project->anonymize_ips || project->person_processing_off || project->geoip_off || project->heatmaps_off ||
                 project->person_last_seen);
    assert_int_equal(project->restriction_count, 0);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static void secret_tokens_are_told_apart(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path);
    struct catalog_snapshot *snapshot;
    char                     secret[CATALOG_TOKEN_BYTES_MAX + 1], token[CATALOG_TOKEN_BYTES_MAX + 1];
    struct err               err = { 0 };
    uint32_t                 id;

    assert_int_equal(catalog_project_create(catalog, "shop", &id, &err), 0);
    assert_int_equal(catalog_token_create(catalog, id, NULL, true, secret, &err), 0);
    assert_int_equal(catalog_token_create(catalog, id, "tok", false, token, &err), 0);
    assert_memory_equal(secret, "phs_", 4);
    snapshot = must_load(catalog);
    assert_true(catalog_snapshot_find_token(snapshot, span_text(secret))->secret);
    assert_false(catalog_snapshot_find_token(snapshot, SPAN("tok"))->secret);
    assert_null(catalog_snapshot_find_token(snapshot, SPAN("nobody's")));
    assert_int_equal(catalog_snapshot_project(snapshot, id)->secret_count, 1);
    assert_int_equal(catalog_snapshot_find(snapshot, span_text(secret))->id, id); /* it is a token like another */
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_check_facts),
        PLACED(nothing_there_yet),
        PLACED(tokens_made_at_random),
        PLACED(tokens_given),
        PLACED(project_settings_are_kept),
        PLACED(project_defaults),
        PLACED(secret_tokens_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
