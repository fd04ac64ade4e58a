/* catalog/catalog_test.c - the catalog: what is kept, what is refused, who sees a change and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "catalog/catalog.h"

struct place {
    char folder[64], path[96];
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    (void)snprintf(place->folder, sizeof place->folder, "/tmp/penstock_catalog_XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    (void)snprintf(place->path, sizeof place->path, "%s/catalog.db", place->folder);
    *state = place;
    return 0;
}

static int place_drop(void **state)
{
    static const char *const tails[] = { "", "-wal", "-shm" };
    struct place            *place = *state;
    char                     path[128];

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        (void)snprintf(path, sizeof path, "%s%s", place->path, tails[i]);
        (void)unlink(path);
    }
    (void)rmdir(place->folder);
    free(place);
    return 0;
}

static struct catalog *must_open(const char *path)
{
    struct catalog *catalog = NULL;
    struct err      err = { 0 };

    if (catalog_open(path, &catalog, &err) < 0)
        fail_msg("%s", err.text);
    return catalog;
}

static struct catalog_snapshot *must_load(struct catalog *catalog)
{
    struct catalog_snapshot *snapshot = NULL;
    struct err               err = { 0 };

    if (catalog_snapshot_load(catalog, &snapshot, &err) < 0)
        fail_msg("%s", err.text);
    return snapshot;
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

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
    assert_int_equal(stat(place->path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
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

/* --- restrictions ------------------------------------------------------------------------------ */

static const struct uuid some_uuid = { { 1, 2, 3 } }, other_uuid = { { 3, 2, 1 } };

static uint32_t must_restrict(struct catalog *catalog, struct catalog_restriction restriction)
{
    struct err err = { 0 };
    uint32_t   id = 0;

    if (catalog_restriction_add(catalog, &restriction, &id, &err) < 0)
        fail_msg("%s", err.text);
    return id;
}

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

/* --- who sees a change ------------------------------------------------------------------------- */

static void change_is_seen(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path), *other = must_open(place->path);
    struct catalog_snapshot *snapshot = must_load(catalog);
    struct err               err = { 0 };
    uint32_t                 project;

    assert_int_equal(catalog_changed(catalog, snapshot, &err), 0);
    assert_int_equal(catalog_project_create(other, "by another connection", &project, &err), 0);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 1);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 1); /* until a newer one is loaded */
    catalog_snapshot_free(snapshot);
    snapshot = must_load(catalog);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 0);
    assert_int_equal(catalog_project_create(catalog, "by ourselves", &project, &err), 0);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 1);
    catalog_snapshot_free(snapshot);
    snapshot = must_load(catalog);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 0);
    run_sql(place->path, "UPDATE projects SET name = 'by hand' WHERE id = 1");
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 1);
    catalog_snapshot_free(snapshot);
    snapshot = must_load(catalog);
    assert_string_equal(catalog_snapshot_project(snapshot, 1)->name, "by hand");

    /* A refused change is none. */
    assert_int_equal(catalog_token_revoke(other, "nobody's", &err), -1);
    assert_int_equal(catalog_changed(catalog, snapshot, &err), 0);
    catalog_snapshot_free(snapshot);
    catalog_close(other);
    catalog_close(catalog);
}

/* A reader in another process, polling as the roles do. */
static void change_is_seen_by_another_process(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog;
    struct err      err = { 0 };
    int             ready[2], status = 0;
    uint32_t        project;
    char            byte, token[CATALOG_TOKEN_BYTES_MAX + 1];

    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct catalog          *mine = must_open(place->path);
        struct catalog_snapshot *snapshot = must_load(mine);
        int64_t                  until;

        if (write(ready[1], "x", 1) != 1)
            _exit(2);
        for (until = clock_mono_us() + 5000000; clock_mono_us() < until; (void)usleep(2000)) {
            if (catalog_changed(mine, snapshot, &err) != 1)
                continue;
            catalog_snapshot_free(snapshot);
            snapshot = must_load(mine);
            if (catalog_snapshot_find(snapshot, SPAN("tok")) != NULL)
                break;
        }
        _exit(clock_mono_us() < until ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    catalog = must_open(place->path);
    assert_int_equal(catalog_project_create(catalog, "shop", &project, &err), 0);
    int64_t start = clock_mono_us();
    assert_int_equal(catalog_token_create(catalog, project, "tok", false, token, &err), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(clock_mono_us() - start < 1000000);
    (void)close(ready[0]);
    (void)close(ready[1]);
    catalog_close(catalog);
}

/* All roles start at once on a new folder, and all of them write. */
static void many_open_a_new_file_together(void **state)
{
    enum { CHILDREN = 8, EACH = 5 };
    struct place *place = *state;
    pid_t         children[CHILDREN];
    int           status;

    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct catalog *catalog = NULL;
            struct err      err = { 0 };
            uint32_t        project;
            int             bad = catalog_open(place->path, &catalog, &err) < 0;

            for (int n = 0; n < EACH && !bad; n++)
                bad = catalog_project_create(catalog, "shop", &project, &err) < 0;
            catalog_close(catalog);
            _exit(bad);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    struct catalog               *catalog = must_open(place->path);
    struct catalog_snapshot      *snapshot = must_load(catalog);
    const struct catalog_project *projects;
    assert_int_equal(catalog_snapshot_projects(snapshot, &projects), CHILDREN * EACH);
    for (uint32_t i = 0; i < CHILDREN * EACH; i++)
        assert_int_equal(projects[i].id, i + 1);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

/* --- files that are not ours ------------------------------------------------------------------- */

static void later_version_is_refused(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    struct err      err = { 0 };

    catalog_close(catalog);
    run_sql(place->path, "INSERT INTO migrations VALUES (77, 0)");
    assert_int_equal(catalog_open(place->path, &catalog, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "version 77"));
    assert_non_null(strstr(err.text, "version 5"));
}

static void other_files_are_refused(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = NULL;
    struct err      err = { 0 };
    FILE           *file = fopen(place->path, "w");

    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is no database ", file);
    (void)fclose(file);
    assert_int_equal(catalog_open(place->path, &catalog, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_int_equal(catalog_open("/tmp/penstock-no-such-folder/catalog.db", &catalog, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "penstock-no-such-folder"));
    assert_null(catalog);
}

/* Somebody holds the write lock: others wait for it, then say so. */
static void locked_is_told(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    struct err      err = { 0 };
    sqlite3        *db;
    uint32_t        project;

    assert_int_equal(sqlite3_open(place->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(catalog_project_create(catalog, "shop", &project, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    sqlite3_close(db);
    assert_int_equal(catalog_project_create(catalog, "shop", &project, &err), 0);
    catalog_close(catalog);
}

/* A letter's way: each row does one thing to the same letter and says what is known of it afterwards. */
static void letters_are_kept(void **state)
{
    enum act { NOTHING, REPAIR, REPLAY, DISCARD };
    static const struct {
        const char *name; enum act act; const char *text; int gives;
        enum catalog_letter_state now; uint32_t replays; const char *repaired, *uuid; uint64_t replayed, discarded;
    } rows[] = {
        { "unknown is open", NOTHING, "", 0, CATALOG_LETTER_OPEN, 0, "", "", 0, 0 },
        { "repaired is still open", REPAIR, "{\"a\":1}", 0, CATALOG_LETTER_OPEN, 0, "{\"a\":1}", "", 0, 0 },
        { "a second repair replaces the first", REPAIR, "{\"a\":2}", 0, CATALOG_LETTER_OPEN, 0, "{\"a\":2}", "", 0, 0 },
        { "discarded", DISCARD, "", 1, CATALOG_LETTER_DISCARDED, 0, "{\"a\":2}", "", 0, 1 },
        { "discarded once", DISCARD, "", 0, CATALOG_LETTER_DISCARDED, 0, "{\"a\":2}", "", 0, 1 },
        { "who changes his mind may replay", REPLAY, "u-1", 0, CATALOG_LETTER_REPLAYED, 1, "{\"a\":2}", "u-1", 1, 0 },
        { "again is counted", REPLAY, "u-2", 0, CATALOG_LETTER_REPLAYED, 2, "{\"a\":2}", "u-2", 1, 0 },
        { "replayed is not discarded", DISCARD, "", 0, CATALOG_LETTER_REPLAYED, 2, "{\"a\":2}", "u-2", 1, 0 },
    };
    struct place *place = *state;
    struct err    err = { 0 };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct catalog       *catalog = must_open(place->path); /* each anew: it is in the file */
        struct catalog_letter letter = { .replays = 77 };
        struct buf            repaired;
        uint64_t              replayed, discarded;
        int                   rc = 0;

        buf_init(&repaired, 1000);
        if (rows[i].act == REPAIR)
            rc = catalog_letter_repair(catalog, "capture:5", span_text(rows[i].text), 11, &err);
        else if (rows[i].act == REPLAY)
            rc = catalog_letter_replayed(catalog, "capture:5", rows[i].text, 22, &err);
        else if (rows[i].act == DISCARD)
            rc = catalog_letter_discard(catalog, "capture:5", 33, &err);
        if (rc != rows[i].gives || catalog_letter_find(catalog, "capture:5", &letter, &repaired, &err) < 0 ||
            catalog_letter_counts(catalog, &replayed, &discarded, &err) < 0)
            fail_msg("%s: %d %s", rows[i].name, rc, err.text);
        if (letter.state != rows[i].now || letter.replays != rows[i].replays || replayed != rows[i].replayed ||
            discarded != rows[i].discarded || !span_is(buf_span(&repaired), rows[i].repaired) ||
            strcmp(letter.replay_uuid, rows[i].uuid) != 0)
            fail_msg("%s: state %d, %u replays", rows[i].name, (int)letter.state, letter.replays);
        assert_int_equal(letter.replayed_us, letter.state == CATALOG_LETTER_REPLAYED ? 22 : 0);
        assert_int_equal(letter.discarded_us, letter.state == CATALOG_LETTER_DISCARDED ? 33 : 0);
        assert_int_equal(catalog_letter_find(catalog, "capture:6", &letter, NULL, &err), 0);
        assert_int_equal(letter.state, CATALOG_LETTER_OPEN); /* the neighbour is left alone */
        buf_fini(&repaired);
        catalog_close(catalog);
    }
}

/* A catalog of the first version gets the new table and keeps its tokens. */
static void first_version_is_migrated(void **state)
{
    struct place         *place = *state;
    struct catalog       *catalog = must_open(place->path);
    struct catalog_letter letter;
    struct err            err = { 0 };
    uint32_t              project;

    assert_int_equal(catalog_project_create(catalog, "shop", &project, &err), 0);
    catalog_close(catalog);
    run_sql(place->path, "DROP TABLE dead_letters; DROP TABLE restrictions; DROP TABLE quotas; DROP TABLE limits; ALTER TABLE tokens DROP COLUMN secret;"
                         "ALTER TABLE projects DROP COLUMN cookieless; ALTER TABLE projects DROP COLUMN time_zone;"
                         "ALTER TABLE projects DROP COLUMN person_last_seen; ALTER TABLE projects DROP COLUMN retention_days;"
                         "ALTER TABLE projects DROP COLUMN heatmaps_off; DELETE FROM migrations WHERE version > 1");
    catalog = must_open(place->path);
    assert_int_equal(catalog_letter_replayed(catalog, "capture:1", "u", 1, &err), 0);
    assert_int_equal(catalog_letter_find(catalog, "capture:1", &letter, NULL, &err), 0);
    assert_int_equal(letter.state, CATALOG_LETTER_REPLAYED);
    struct catalog_snapshot *snapshot = must_load(catalog);
    assert_non_null(catalog_snapshot_project(snapshot, project));
    assert_int_equal(catalog_snapshot_project(snapshot, project)->cookieless, CATALOG_COOKIELESS_STATEFUL); /* nothing is dropped */
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

/* A catalog of the day before quotas opens, keeps its tokens, and takes quotas. */
static void version_before_quotas_is_migrated(void **state)
{
    struct place               *place = *state;
    struct catalog             *catalog = must_open(place->path);
    struct catalog_snapshot    *snapshot;
    const struct catalog_quota *quotas;
    struct err                  err = { 0 };
    char                        token[CATALOG_TOKEN_BYTES_MAX + 1];
    uint32_t                    project;

    assert_int_equal(catalog_project_create(catalog, "shop", &project, &err), 0);
    assert_int_equal(catalog_token_create(catalog, project, "phc_old", false, token, &err), 0);
    catalog_close(catalog);
    run_sql(place->path, "DROP TABLE quotas; DROP TABLE limits; DELETE FROM migrations WHERE version > 4");
    catalog = must_open(place->path);
    assert_int_equal(catalog_quota_set(catalog, &(struct catalog_quota){ .project = project, .token = SPAN("phc_old"),
                                                                         .resource = CATALOG_EVENTS, .until_us = 7 }, &err), 0);
    snapshot = must_load(catalog);
    assert_int_equal(catalog_snapshot_quotas(snapshot, &quotas), 1);
    assert_int_equal(catalog_snapshot_find_token(snapshot, SPAN("phc_old"))->quota_until_us[CATALOG_EVENTS], 7);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

/* --- quotas and limits ------------------------------------------------------------------------- */

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

static const struct catalog_token *must_find(const struct catalog_snapshot *snapshot, const char *token)
{
    const struct catalog_token *found = catalog_snapshot_find_token(snapshot, span_text(token));

    assert_non_null(found);
    return found;
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
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_make, place_drop)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_check_facts),
        PLACED(nothing_there_yet),
        PLACED(tokens_made_at_random),
        PLACED(tokens_given),
        PLACED(project_settings_are_kept),
        PLACED(project_defaults),
        PLACED(secret_tokens_are_told_apart),
        PLACED(restrictions_hold),
        PLACED(restrictions_of_projects_stand_apart),
        PLACED(restrictions_that_cannot_be),
        PLACED(change_is_seen),
        PLACED(change_is_seen_by_another_process),
        PLACED(many_open_a_new_file_together),
        PLACED(later_version_is_refused),
        PLACED(other_files_are_refused),
        PLACED(locked_is_told),
        PLACED(letters_are_kept),
        PLACED(first_version_is_migrated),
        PLACED(version_before_quotas_is_migrated),
        cmocka_unit_test(resources_of_events),
        PLACED(quotas_reach_their_tokens),
        PLACED(quotas_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
