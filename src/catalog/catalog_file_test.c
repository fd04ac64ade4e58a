/* catalog/catalog_file_test.c - the file of the catalog: many who use it, changes that others see, files that are not ours, older ones. */
#include "catalog/catalog_test_kit.h"

#include <sys/wait.h>

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
        for (until = clock_mono_us() + 60000000; clock_mono_us() < until; (void)usleep(2000)) {
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
    assert_int_equal(catalog_token_create(catalog, project, "tok", false, token, &err), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)close(ready[0]);
    (void)close(ready[1]);
    catalog_close(catalog);
}

static void many_open_a_new_file_together(void **state)
{
    const struct place *place = *state;

    must_create_together(place->path, 8, 5);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(change_is_seen),
        PLACED(change_is_seen_by_another_process),
        PLACED(many_open_a_new_file_together),
        PLACED(later_version_is_refused),
        PLACED(other_files_are_refused),
        PLACED(locked_is_told),
        PLACED(first_version_is_migrated),
        PLACED(version_before_quotas_is_migrated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
