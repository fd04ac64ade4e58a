/* people/pg_test_kit.h - any test of people.h on PostgreSQL: a cluster test is this header and then the test's own source.
 *
 * What the test opens as a folder is a database, empty when the folder is first opened, and another folder's when several later
 * ones were. PENSTOCK_TEST_POSTGRES says where the server is (tests/parts/postgres.py). */
#ifndef PENSTOCK_PEOPLE_PG_TEST_KIT_H
#define PENSTOCK_PEOPLE_PG_TEST_KIT_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "people/people.h"
#include "people/pg.h"

enum { PG_KIT_DATABASES = 6 };

/* Runs one text as the server's administrator; its first answer as a number. */
static inline long pg_kit_sql(const char *url, const char *text)
{
    PGconn   *pq = PQconnectdb(url);
    PGresult *result = PQexec(pq, text);
    long      answer = 0;

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        (void)fprintf(stderr, "%s: %s", text, PQerrorMessage(pq));
        abort();
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0 && PQgetisnull(result, 0, 0) == 0)
        answer = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(pq);
    return answer;
}

static inline const char *pg_kit_server(void)
{
    const char *url = getenv("PENSTOCK_TEST_POSTGRES");

    if (url == NULL) {
        (void)fprintf(stderr, "PENSTOCK_TEST_POSTGRES is not set: run this by tests/parts/with.py postgres -- PROGRAM\n");
        exit(2);
    }
    return url;
}

/* The URL of a database of this name, in place of the server's own. */
static inline void pg_kit_url(const char *name, char to[500])
{
    const char *server = pg_kit_server(), *slash = strrchr(server, '/');

    (void)snprintf(to, 500, "%.*s/%s", (int)(slash - server), server, name);
}

struct pg_kit_slot { char folder[200]; unsigned used; bool made; };

static inline struct pg_kit_slot *pg_kit_slots(void)
{
    static struct pg_kit_slot slots[PG_KIT_DATABASES];

    return slots;
}

/* The folder is empty again. */
static inline void pg_kit_forget(const char *folder)
{
    for (int i = 0; i < PG_KIT_DATABASES; i++)
        if (strcmp(pg_kit_slots()[i].folder, folder) == 0)
            pg_kit_slots()[i].folder[0] = '\0';
}

/* The database that stands for a folder: of a few, that which was not used for the longest time, emptied. */
static inline void pg_kit_database(const char *folder, char url[500])
{
    struct pg_kit_slot *slots = pg_kit_slots();
    static unsigned used;
    char name[40], text[200];
    int  slot = -1;

    for (int i = 0; i < PG_KIT_DATABASES; i++)
        if (strcmp(slots[i].folder, folder) == 0)
            slot = i;
    if (slot >= 0) {
        slots[slot].used = ++used;
        (void)snprintf(name, sizeof name, "kit_%d_%d", (int)getpid(), slot);
        pg_kit_url(name, url);
        return;
    }
    slot = 0;
    for (int i = 1; i < PG_KIT_DATABASES; i++)
        if (slots[i].used < slots[slot].used)
            slot = i;
    (void)snprintf(slots[slot].folder, sizeof slots[slot].folder, "%s", folder);
    slots[slot].used = ++used;
    (void)snprintf(name, sizeof name, "kit_%d_%d", (int)getpid(), slot);
    pg_kit_url(name, url);
    if (!slots[slot].made) {
        (void)snprintf(text, sizeof text, "CREATE DATABASE %s", name);
        (void)pg_kit_sql(pg_kit_server(), text);
        slots[slot].made = true;
        return;
    }
    (void)pg_kit_sql(url, "DELETE FROM posthog_cohortpeople; DELETE FROM posthog_featureflaghashkeyoverride; "
                          "DELETE FROM posthog_persondistinctid; DELETE FROM posthog_person; DELETE FROM posthog_group; "
                          "DELETE FROM posthog_grouptypemapping; DELETE FROM penstock.places; DELETE FROM penstock.state; "
                          "DELETE FROM penstock.changes; DELETE FROM penstock.deleted_ids; "
                          "DELETE FROM penstock.deleted_persons; DELETE FROM penstock.seen; "
                          "SELECT setval('posthog_person_id_seq', 1, false)");
}

static inline int pg_kit_open(const struct people_options *options, struct people **out, struct err *err)
{
    char                         url[500];
    const struct people_settings settings = { .backend = "postgres", .url = url, .password_file = "" };
    struct people_options        here = *options;

    pg_kit_database(options->folder, url);
    here.settings = &settings;
    return people_open(&here, out, err);
}

/* Where the first of the inputs goes on. */
static inline int pg_kit_next(struct people *people, uint64_t *out, struct err *err)
{
    struct people_place place;
    struct people_txn  *txn;
    int                 rc;

    if (people_begin(people, false, &txn, err) < 0)
        return -1;
    rc = people_place_get(txn, &place, err);
    people_abort(txn);
    if (rc == 0) /* a server that went away meanwhile has said nothing */
        *out = place.input_next[0];
    return rc;
}

#define people_open pg_kit_open
#define PEOPLE_TEST_POSTGRES 1
#define people_test_settle pg_seen_settle
#define PEOPLE_TEST_SEEN_FOLDER "/postgres-0"
enum { PEOPLE_TEST_TEXT_MAX = 400, PEOPLE_TEST_IDS_TAKEN_AGAIN = 0 };

#endif
