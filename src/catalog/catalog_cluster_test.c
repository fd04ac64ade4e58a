/* parts: postgres
 * catalog/catalog_cluster_test.c - the catalog in a real PostgreSQL: the tests of the catalog once more, and what a network adds:
 * connections that end, servers that say nothing, several machines. */
#include "catalog/catalog_test_kit.h"

#include <signal.h>
#include <sys/wait.h>

#include "catalog/catalog_db.h"
#include "catalog/catalog_image.h"

enum { PATIENCE_US = 60000000, SEEN_US_MAX = 20000000 };

/* --- the same suite ---------------------------------------------------------------------------- */

static void the_catalogs_own_tests(void **state)
{
    static const char *const programs[] = { "catalog_test", "catalog_limits_test", "catalog_letters_test", "catalog_restrictions_test" };
    char                     here[4096], path[4200];
    ssize_t                  bytes = readlink("/proc/self/exe", here, sizeof here - 1);

    (void)state;
    assert_true(bytes > 0);
    here[bytes] = '\0';
    *strrchr(here, '/') = '\0';
    assert_int_equal(setenv("PENSTOCK_CATALOG_TEST_ON", getenv("PENSTOCK_TEST_POSTGRES"), 1), 0);
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        int   status;
        pid_t child;

        (void)snprintf(path, sizeof path, "%s/%s", here, programs[i]);
        (void)fflush(NULL);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)dup2(2, 1); /* its lines are not ours */
            (void)execl(path, programs[i], (char *)NULL);
            _exit(127);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("%s: status %d", programs[i], status);
    }
}

/* --- changes ----------------------------------------------------------------------------------- */

/* Until catalog_changed says so; gives how long that took. Errors on the way are counted. No call may take long. */
static int64_t change_awaited(struct catalog *catalog, const struct catalog_snapshot *snapshot, unsigned *errors)
{
    int64_t began_us = clock_mono_us(), slowest_us = 0;

    for (;;) {
        int64_t    at_us = clock_mono_us();
        struct err err = { 0 };
        int        rc = catalog_changed(catalog, snapshot, &err);

        if (clock_mono_us() - at_us > slowest_us)
            slowest_us = clock_mono_us() - at_us;
        if (rc > 0)
            break;
        *errors += rc < 0;
        if (rc < 0)
            assert_int_equal(err.kind, ERR_RETRY);
        if (clock_mono_us() - began_us > PATIENCE_US)
            fail_msg("no change was seen; %u errors, the last: %s", *errors, err.text);
        (void)usleep(5000);
    }
    assert_in_range(slowest_us, 0, 4500000); /* it waits for no answer: that takes 5 s */
    return clock_mono_us() - began_us;
}

static void change_is_seen_soon(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path), *other = must_open(place->path);
    struct catalog_snapshot *snapshot = must_load(catalog);
    struct err               err = { 0 };
    uint32_t                 project;
    unsigned                 errors = 0;

    assert_int_equal(catalog_changed(catalog, snapshot, &err), 0);
    assert_int_equal(catalog_project_create(other, "by another machine", &project, &err), 0);
    assert_in_range(change_awaited(catalog, snapshot, &errors), 0, SEEN_US_MAX);
    catalog_snapshot_free(snapshot);
    snapshot = must_load(catalog);
    assert_string_equal(catalog_snapshot_project(snapshot, project)->name, "by another machine");
    run_sql(place->path, "UPDATE projects SET name = 'by hand'");
    assert_in_range(change_awaited(catalog, snapshot, &errors), 0, SEEN_US_MAX);
    catalog_snapshot_free(snapshot);
    snapshot = must_load(catalog);
    assert_string_equal(catalog_snapshot_project(snapshot, project)->name, "by hand");
    assert_int_equal(errors, 0);

    /* A refused change is none. */
    assert_int_equal(catalog_token_revoke(other, "nobody's", &err), -1);
    for (int64_t until_us = clock_mono_us() + 2500000; clock_mono_us() < until_us; (void)usleep(20000))
        assert_int_equal(catalog_changed(catalog, snapshot, &err), 0);
    catalog_snapshot_free(snapshot);
    catalog_close(other);
    catalog_close(catalog);
}

static void many_open_a_new_one_together(void **state)
{
    const struct place *place = *state;

    must_create_together(place->path, 6, 5);
}

/* A token that was made has to stay, whatever the database says of commits. */
static void a_commit_is_waited_for(void **state)
{
    static const char *const says[] = { "off", "local", "on", "remote_apply" };
    const struct place      *place = *state;
    struct err               err = { 0 };
    char                     text[300];
    uint32_t                 project;

    catalog_close(must_open(place->path)); /* its tables */
    run_sql(place->path, "CREATE FUNCTION lax() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF current_setting('synchronous_commit') IN ('off', 'local')"
                         " THEN RAISE 'it is not waited for'; END IF; RETURN NEW; END $$; CREATE TRIGGER lax BEFORE INSERT ON projects FOR EACH ROW"
                         " EXECUTE FUNCTION lax()");
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
        struct catalog *catalog;

        (void)snprintf(text, sizeof text, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET synchronous_commit = %s', current_database()); END $$",
                       says[i]);
        run_sql(place->path, text);
        catalog = must_open(place->path);
        if (catalog_project_create(catalog, "shop", &project, &err) < 0)
            fail_msg("where the database says %s: %s", says[i], err.text);
        catalog_close(catalog);
    }
}

/* --- connections ------------------------------------------------------------------------------- */

#define OUR_BACKENDS "FROM pg_stat_activity WHERE application_name = 'penstock catalog' AND datname = current_database()"

static void a_connection_that_ends_is_made_again(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path);
    struct catalog_snapshot *snapshot = must_load(catalog), *newer = NULL;
    struct err               err = { 0 };
    uint32_t                 project;
    unsigned                 errors = 0;

    run_sql(place->path, "SELECT pg_terminate_backend(pid) " OUR_BACKENDS);
    run_sql(place->path, "INSERT INTO projects (name, created_us) VALUES ('meanwhile', 1)");
    (void)change_awaited(catalog, snapshot, &errors);
    assert_in_range(errors, 1, 3); /* it is told, and not at each look */
    catalog_snapshot_free(snapshot);
    snapshot = must_load(catalog);
    assert_string_equal(catalog_snapshot_project(snapshot, 1)->name, "meanwhile");

    /* Who wants something is told once, and then has a connection again. */
    run_sql(place->path, "SELECT pg_terminate_backend(pid) " OUR_BACKENDS);
    for (int tries = 0; catalog_project_create(catalog, "after", &project, &err) < 0; tries++) {
        assert_int_equal(err.kind, ERR_RETRY);
        assert_in_range(tries, 0, 2);
    }
    assert_int_equal(catalog_snapshot_load(catalog, &newer, &err), 0);
    assert_string_equal(catalog_snapshot_project(newer, project)->name, "after");
    catalog_snapshot_free(newer);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

/* Half of a change is none, and what follows does not run outside of its transaction. */
static void a_change_that_loses_its_connection_is_none(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path);
    struct catalog_snapshot *snapshot;
    struct err               err = { 0 };
    uint32_t                 project;
    int64_t                  id;
    int                      rc;

    assert_int_equal(catalog_project_create(catalog, "one", &project, &err), 0);
    assert_int_equal(catalog_write_begin(catalog, &err), 0);
    catalog_db_bind_text(catalog, CATALOG_PROJECT_CREATE, 1, SPAN("lost"));
    catalog_db_bind_int(catalog, CATALOG_PROJECT_CREATE, 2, 1);
    assert_int_equal(catalog_db_number(catalog, CATALOG_PROJECT_CREATE, &id, &err), 0);
    run_sql(place->path, "SELECT pg_terminate_backend(pid) " OUR_BACKENDS);
    for (int i = 0; i < 3; i++) {
        catalog_db_bind_text(catalog, CATALOG_PROJECT_CREATE, 1, SPAN("outside"));
        catalog_db_bind_int(catalog, CATALOG_PROJECT_CREATE, 2, 1);
        rc = catalog_db_number(catalog, CATALOG_PROJECT_CREATE, &id, &err);
        assert_int_equal(rc, -1);
        assert_int_equal(err.kind, ERR_RETRY);
    }
    assert_int_equal(catalog_write_end(catalog, rc, &err), -1);
    snapshot = must_load(catalog);
    assert_non_null(catalog_snapshot_project(snapshot, project));
    assert_null(catalog_snapshot_project(snapshot, project + 1));
    assert_null(catalog_snapshot_project(snapshot, project + 2));
    catalog_snapshot_free(snapshot);
    assert_int_equal(catalog_project_create(catalog, "two", &project, &err), 0);
    catalog_close(catalog);
}

/* The process that serves our n-th connection. */
static pid_t backend_of(const char *url, int n)
{
    PGconn   *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, "SELECT pid " OUR_BACKENDS " ORDER BY backend_start");
    pid_t     pid = 0;

    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    assert_in_range(n, 0, PQntuples(result) - 1);
    pid = (pid_t)strtol(PQgetvalue(result, n, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    return pid;
}

/* A server that stands still: nobody who looks waits for it, and who asks is told within seconds. */
static void a_server_that_says_nothing(void **state)
{
    struct place            *place = *state;
    struct catalog          *catalog = must_open(place->path), *asking = must_open(place->path);
    struct catalog_snapshot *snapshot = must_load(catalog), *none;
    pid_t                    looked_at = backend_of(place->path, 0), asked = backend_of(place->path, 1);
    int64_t                  began_us = clock_mono_us();
    struct err               err = { 0 };
    unsigned                 errors = 0;

    assert_int_equal(kill(looked_at, SIGSTOP), 0);
    assert_int_equal(kill(asked, SIGSTOP), 0);
    assert_int_equal(catalog_snapshot_load(asking, &none, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, "no answer within 5 s"));
    assert_in_range(clock_mono_us() - began_us, 4900000, 30000000);
    run_sql(place->path, "INSERT INTO projects (name, created_us) VALUES ('meanwhile', 1)");
    (void)change_awaited(catalog, snapshot, &errors); /* over another connection */
    assert_in_range(errors, 1, 3);
    assert_int_equal(kill(looked_at, SIGCONT), 0);
    assert_int_equal(kill(asked, SIGCONT), 0);
    catalog_snapshot_free(snapshot);
    catalog_close(asking);
    catalog_close(catalog);
}

static void nobody_there_is_told(void **state)
{
    struct catalog *catalog;
    struct err      err = { 0 };

    (void)state;
    assert_int_equal(catalog_open("postgresql://me:geheim@127.0.0.1:1/x", &catalog, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, "postgresql://me:***@127.0.0.1:1/x"));
    assert_null(strstr(err.text, "geheim"));
}

static void a_database_that_is_missing_is_told(void **state)
{
    struct catalog *catalog;
    struct err      err = { 0 };
    char            url[300];

    (void)state;
    (void)snprintf(url, sizeof url, "%sxxx", getenv("PENSTOCK_TEST_POSTGRES"));
    assert_int_equal(catalog_open(url, &catalog, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "does not exist"));
}

/* --- others ------------------------------------------------------------------------------------ */

static void later_version_is_refused(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    struct err      err = { 0 };

    catalog_close(catalog);
    run_sql(place->path, "INSERT INTO migrations VALUES (77, 0)");
    assert_int_equal(catalog_open(place->path, &catalog, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "77"));
}

static void another_writer_is_waited_for_and_told(void **state)
{
    struct place   *place = *state;
    struct catalog *catalog = must_open(place->path);
    struct err      err = { 0 };
    uint32_t        project;
    PGconn         *conn = PQconnectdb(place->path);
    PGresult       *result = PQexec(conn, "BEGIN; SELECT version FROM penstock_catalog.changes FOR UPDATE");

    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    assert_int_equal(catalog_project_create(catalog, "late", &project, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    PQfinish(conn);
    assert_int_equal(catalog_project_create(catalog, "in time", &project, &err), 0);
    catalog_close(catalog);
}

static void its_image_is_the_same(void **state)
{
    struct place                     *place = *state;
    struct catalog                   *catalog = must_open(place->path);
    struct catalog_restriction        drop = { .project = 2, .action = CATALOG_DROP, .distinct_id = SPAN("it's \"me\"") };
    struct catalog_quota              quota = { .project = 1, .resource = CATALOG_EVENTS, .until_us = 5 };
    struct catalog_limit              limit = { .project = 1, .kind = CATALOG_LIMIT_TOKEN, .events = 7, .burst = 9 };
    const struct catalog_token       *a, *b;
    const struct catalog_restriction *restrictions;
    struct catalog_snapshot          *snapshot, *ours = NULL;
    struct err                        err = { 0 };
    struct buf                        image;
    uint32_t                          id;
    char                              token[CATALOG_TOKEN_BYTES_MAX + 1];

    if (catalog_project_create(catalog, "one", &id, &err) < 0 || catalog_project_create(catalog, "zwei \xc3\xb6", &id, &err) < 0 ||
        catalog_token_create(catalog, 1, "phc_a", false, token, &err) < 0 || catalog_token_create(catalog, 2, "phs_b", true, token, &err) < 0 ||
        catalog_token_create(catalog, 2, "phc_gone", false, token, &err) < 0 || catalog_token_revoke(catalog, "phc_gone", &err) < 0 ||
        catalog_restriction_add(catalog, &drop, &id, &err) < 0 || catalog_quota_set(catalog, &quota, &err) < 0 ||
        catalog_limit_set(catalog, &limit, &err) < 0)
        fail_msg("%s", err.text);
    buf_init(&image, CATALOG_IMAGE_BYTES_MAX);
    if (catalog_image_make(catalog, &image, &err) < 0 || catalog_image_snapshot(buf_span(&image), &ours, &err) < 0)
        fail_msg("%s", err.text);
    snapshot = must_load(catalog);
    assert_int_equal(catalog_snapshot_version(ours), catalog_snapshot_version(snapshot));
    assert_int_equal(catalog_snapshot_tokens(ours, &a), 2);
    assert_int_equal(catalog_snapshot_tokens(snapshot, &b), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(a[i].token, b[i].token);
        assert_int_equal(a[i].created_us, b[i].created_us);
        assert_int_equal(a[i].secret, b[i].secret);
        assert_int_equal(a[i].quota_until_us[CATALOG_EVENTS], b[i].quota_until_us[CATALOG_EVENTS]);
    }
    assert_int_equal(a[0].limits[CATALOG_LIMIT_TOKEN]->burst, 9);
    assert_string_equal(catalog_snapshot_project(ours, 2)->name, "zwei \xc3\xb6");
    assert_int_equal(catalog_snapshot_restrictions(ours, &restrictions), 1);
    assert_true(span_is(restrictions[0].distinct_id, "it's \"me\""));
    buf_fini(&image);
    catalog_snapshot_free(ours);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_catalogs_own_tests),
        PLACED(change_is_seen_soon), PLACED(a_commit_is_waited_for), PLACED(many_open_a_new_one_together), PLACED(a_connection_that_ends_is_made_again),
        PLACED(a_change_that_loses_its_connection_is_none), PLACED(a_server_that_says_nothing),
        cmocka_unit_test(nobody_there_is_told), cmocka_unit_test(a_database_that_is_missing_is_told),
        PLACED(later_version_is_refused), PLACED(another_writer_is_waited_for_and_told), PLACED(its_image_is_the_same),
    };

    if (getenv("PENSTOCK_TEST_POSTGRES") == NULL) {
        fprintf(stderr, "no PostgreSQL: tests/parts/with.py postgres -- %s\n", "catalog_cluster_test");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
