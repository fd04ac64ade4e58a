/* catalog/catalog_test_kit.h - a catalog of its own for each test: a file in a folder, or, with PENSTOCK_CATALOG_TEST_ON set to the
 * URL of a PostgreSQL (catalog_cluster_test does so), a database there. Tests only. */
#ifndef PENSTOCK_CATALOG_CATALOG_TEST_KIT_H
#define PENSTOCK_CATALOG_CATALOG_TEST_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "catalog/catalog.h"

struct place {
    char folder[64], path[200]; /* what catalog_open takes */
    bool postgres;
};

/* One statement in the database of this URL. */
static inline void postgres_sql(const char *url, const char *sql)
{
    PGconn   *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

/* A database of its own, by the name of the process and a number. */
static inline int place_make_postgres(struct place *place, const char *server)
{
    static unsigned count;
    const char     *end = strrchr(server, '/');
    char            sql[100];

    assert_non_null(end);
    (void)snprintf(place->folder, sizeof place->folder, "catalog_%d_%u", (int)getpid(), count++);
    (void)snprintf(place->path, sizeof place->path, "%.*s/%s", (int)(end - server), server, place->folder);
    (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s", place->folder);
    postgres_sql(server, sql);
    place->postgres = true;
    return 0;
}

static inline int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    const char   *server = getenv("PENSTOCK_CATALOG_TEST_ON");

    *state = place;
    if (server != NULL)
        return place_make_postgres(place, server);
    (void)snprintf(place->folder, sizeof place->folder, "/tmp/penstock_catalog_XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    (void)snprintf(place->path, sizeof place->path, "%s/catalog.db", place->folder);
    return 0;
}

static inline int place_drop(void **state)
{
    static const char *const tails[] = { "", "-wal", "-shm" };
    struct place            *place = *state;
    char                     path[220];

    if (place->postgres) {
        (void)snprintf(path, sizeof path, "DROP DATABASE %s WITH (FORCE)", place->folder);
        postgres_sql(getenv("PENSTOCK_CATALOG_TEST_ON"), path);
        free(place);
        return 0;
    }

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        (void)snprintf(path, sizeof path, "%s%s", place->path, tails[i]);
        (void)unlink(path);
    }
    (void)rmdir(place->folder);
    free(place);
    return 0;
}

static inline struct catalog *must_open(const char *path)
{
    struct catalog *catalog = NULL;
    struct err      err = { 0 };

    if (catalog_open(path, &catalog, &err) < 0)
        fail_msg("%s", err.text);
    return catalog;
}

static inline struct catalog_snapshot *must_load(struct catalog *catalog)
{
    struct catalog_snapshot *snapshot = NULL;
    struct err               err = { 0 };

    if (catalog_snapshot_load(catalog, &snapshot, &err) < 0)
        fail_msg("%s", err.text);
    return snapshot;
}

/* Roles or machines that start at once on a new catalog, and all of them write: each project has its number, without a gap. */
static inline void must_create_together(const char *path, int children, uint32_t each)
{
    struct catalog               *catalog;
    struct catalog_snapshot      *snapshot;
    const struct catalog_project *projects;
    int                           status;

    for (int i = 0; i < children; i++) {
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            struct err err = { 0 };
            int64_t    until_us = clock_mono_us() + 120000000;
            uint32_t   project;
            bool       bad;

            /* On a slow disk others are not done in the time for which one waits for them, and says so: nothing was done then. */
            while ((bad = catalog_open(path, &catalog, &err) < 0) && err.kind == ERR_RETRY && clock_mono_us() < until_us)
                continue;
            for (uint32_t n = 0; n < each && !bad; n++)
                while ((bad = catalog_project_create(catalog, "shop", &project, &err) < 0) && err.kind == ERR_RETRY && clock_mono_us() < until_us)
                    continue;
            if (bad)
                (void)fprintf(stderr, "%s\n", err.text);
            _exit(bad);
        }
    }
    for (int i = 0; i < children; i++) {
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    catalog = must_open(path);
    snapshot = must_load(catalog);
    assert_int_equal(catalog_snapshot_projects(snapshot, &projects), (uint32_t)children * each);
    for (uint32_t i = 0; i < (uint32_t)children * each; i++)
        assert_int_equal(projects[i].id, i + 1);
    catalog_snapshot_free(snapshot);
    catalog_close(catalog);
}

static inline void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    char     text[2000];

    if (strncmp(path, "postgresql://", 13) == 0) {
        assert_in_range(snprintf(text, sizeof text, "SET search_path TO penstock_catalog; %s", sql), 1, sizeof text - 1);
        postgres_sql(path, text);
        return;
    }

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static inline uint32_t must_restrict(struct catalog *catalog, struct catalog_restriction restriction)
{
    struct err err = { 0 };
    uint32_t   id = 0;

    if (catalog_restriction_add(catalog, &restriction, &id, &err) < 0)
        fail_msg("%s", err.text);
    return id;
}

static inline const struct catalog_token *must_find(const struct catalog_snapshot *snapshot, const char *token)
{
    const struct catalog_token *found = catalog_snapshot_find_token(snapshot, span_text(token));

    assert_non_null(found);
    return found;
}

/* A test with a folder of its own, and no catalog in it yet. */
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_make, place_drop)

#endif
