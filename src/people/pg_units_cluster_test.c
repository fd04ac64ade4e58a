/* parts: postgres alone
 * people/pg_units_cluster_test.c - several units at the same persons, each with a connection of its own, and a server that is
 * disturbed meanwhile.
 *
 * Each event sets a property of its own on its person, so that a lost, repeated or half done batch shows: at the end every
 * property stands on exactly one person. In the first test commits come one after the other (what they were based on is read
 * side by side), and the embedded store, given the same batches in that order, must hold the same persons to the byte. In the
 * others commits meet too, and backends are ended, the server restarts, rows are locked, deadlocks are made, and nothing may
 * be written for a while. A unit does as ingest does: after a failure it reads its place, and goes on from there. */
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "people/batch.h"
#include "people/pg.h"
#include "people/pg_test_kit.h"
#undef people_open

enum { UNITS = 3, BATCHES = 60, EACH = 12, IDS = 24, PROJECT = 7, TRIES_MAX = 4000, GROUPS = 3 };

struct shared {
    char            folder[64], url[500], database[40];
    pthread_mutex_t commits;      /* held over a commit in the first test */
    bool            one_by_one;
    struct { unsigned unit, batch; } order[UNITS * BATCHES];
    size_t          ordered;      /* @lock commits */
    unsigned        seed;
    bool            done;         /* atomic */
};

struct unit {
    struct shared *shared;
    unsigned       number;
    unsigned       tries, kept;
    char           failed[400];
};

static unsigned draw(unsigned *random)
{
    *random = *random * 1664525 + 1013904223;
    return *random >> 8;
}

static struct span printed(struct arena *arena, const char *format, unsigned a, unsigned b, unsigned c)
{
    char text[100];
    int  bytes = snprintf(text, sizeof text, format, a, b, c);

    return arena_copy(arena, span_of(text, (size_t)bytes));
}

/* The n-th event of a unit's batch: the same whenever it is made. */
static void event_make(struct arena *arena, unsigned seed, unsigned unit, unsigned batch, unsigned n, struct people_event *out)
{
    unsigned             random = seed + unit * 1000003u + batch * 7919u + n * 104729u, kind;
    struct json_members *members = arena_alloc(arena, sizeof *members);
    struct span          text = printed(arena, "{\"e%u_%u_%u\":1}", unit, batch, n);
    struct err           err = { 0 };

    (void)draw(&random);
    if (json_members_read(text, arena, members, &err) < 0)
        abort();
    *out = (struct people_event){ .project = PROJECT, .distinct_id = printed(arena, "id%u", draw(&random) % IDS, 0, 0),
                                  .timestamp_us = (int64_t)1700000000000000 + batch * 1000 + n, .set = members };
    memcpy(out->uuid.bytes, &random, sizeof random);
    kind = draw(&random) % 10;
    if (kind < 4) {
        out->merge = kind == 0 ? PEOPLE_MERGE_DANGEROUSLY : kind == 1 ? PEOPLE_MERGE_ALIAS : PEOPLE_MERGE_IDENTIFY;
        out->merge_other = printed(arena, "id%u", draw(&random) % IDS, 0, 0);
        out->person_event = true;
    }
}

static int row_ignored(void *ctx, const struct row *row, struct err *err)
{
    (void)ctx, (void)row, (void)err;
    return 0;
}

static int batch_apply(struct people_txn *txn, struct arena *arena, unsigned seed, unsigned unit, unsigned number, struct err *err)
{
    struct people_batch   *batch;
    struct people_event    event;
    struct people_result   result;
    struct people_expected ids[2 * EACH];
    size_t                 expected = 0;
    struct people_group    group;

    for (unsigned n = 0; n < EACH; n++) {
        event_make(arena, seed, unit, number, n, &event);
        ids[expected++] = (struct people_expected){ PROJECT, event.distinct_id, false };
        if (event.merge_other.bytes > 0)
            ids[expected++] = (struct people_expected){ PROJECT, event.merge_other, true };
    }
    if (people_expect_batch(txn, ids, expected, err) < 0 || people_batch_begin(txn, arena, &batch, err) < 0)
        return -1;
    for (unsigned n = 0; n < EACH; n++) {
        event_make(arena, seed, unit, number, n, &event);
        if (people_batch_apply(batch, &event, &result, err) < 0)
            return -1;
        if (n == 0 && people_batch_group_set(batch, PROJECT, SPAN("team"), printed(arena, "g%u", number % GROUPS, 0, 0), event.set,
                                             event.timestamp_us, event.timestamp_us, &group, err) < 0)
            return -1;
    }
    return people_batch_finish(batch, row_ignored, NULL, err);
}

/* --- a unit ------------------------------------------------------------------------------------ */

static int unit_batch(struct unit *unit, struct people *people, struct arena *arena, unsigned number, struct err *err)
{
    struct shared      *shared = unit->shared;
    struct people_place place = { .input_next = { number + 1 } };
    struct people_txn  *txn;
    int                 rc;

    if (people_begin(people, true, &txn, err) < 0)
        return -1;
    if (batch_apply(txn, arena, shared->seed, unit->number, number, err) < 0 || people_place_put(txn, &place, err) < 0) {
        people_abort(txn);
        return -1;
    }
    if (shared->one_by_one)
        pthread_mutex_lock(&shared->commits);
    rc = people_commit(txn, err);
    if (rc == 0 && shared->one_by_one) {
        shared->order[shared->ordered].unit = unit->number;
        shared->order[shared->ordered++].batch = number;
    }
    if (shared->one_by_one)
        pthread_mutex_unlock(&shared->commits);
    return rc;
}

static void *unit_main(void *arg)
{
    struct unit                  *unit = arg;
    const struct people_settings  settings = { .backend = "postgres", .url = unit->shared->url, .password_file = "" };
    const struct people_options   options = { .folder = unit->shared->folder, .settings = &settings, .unit = unit->number, .owner = true };
    struct arena                 *arena = arena_new(1 << 16, (size_t)1 << 30);
    struct people                *people = NULL;
    struct err                    err = { 0 };
    uint64_t                      next = 0;
    bool                          known = false;

    while (next < BATCHES && unit->tries < TRIES_MAX) {
        int rc = 0;

        arena_reset(arena);
        if (people == NULL)
            rc = people_open(&options, &people, &err);
        if (rc == 0 && !known)
            rc = pg_kit_next(people, &next, &err);
        if (rc < 0) {
            if (err.kind != ERR_RETRY)
                break;
            (void)usleep(20000); /* the server is away: not an attempt */
            continue;
        }
        known = true;
        if (next == BATCHES)
            break;
        unit->tries++;
        if (unit_batch(unit, people, arena, (unsigned)next, &err) == 0) {
            next++;
            unit->kept++;
            continue;
        }
        known = false;
        if (err.kind != ERR_RETRY)
            break;
    }
    if (next < BATCHES)
        (void)snprintf(unit->failed, sizeof unit->failed, "unit %u at batch %d after %u tries: %s (%s)", unit->number, (int)next, unit->tries,
                       err.text, err_kind_name(err.kind));
    people_close(people);
    arena_free(arena);
    return NULL;
}

/* --- the end ----------------------------------------------------------------------------------- */

#define EVENTS "FROM posthog_person p, jsonb_object_keys(p.properties) k WHERE k LIKE 'e%'"

static void expect_sql(const char *url, const char *sql, long expected)
{
    long got = pg_kit_sql(url, sql);

    if (got != expected)
        fail_msg("%s: %ld, expected %ld", sql, got, expected);
}

static void check_everything(const char *url)
{
    expect_sql(url, "SELECT count(*) " EVENTS, UNITS * BATCHES * EACH);
    expect_sql(url, "SELECT count(DISTINCT k) " EVENTS, UNITS * BATCHES * EACH);
    expect_sql(url, "SELECT count(*) FROM posthog_group g, jsonb_object_keys(g.group_properties) k WHERE k LIKE 'e%'", UNITS * BATCHES);
    expect_sql(url, "SELECT count(*) FROM posthog_persondistinctid d LEFT JOIN posthog_person p ON p.id = d.person_id "
               "WHERE p.id IS NULL OR p.is_deleted", 0);
    expect_sql(url, "SELECT count(*) FROM posthog_person p WHERE NOT EXISTS "
               "(SELECT 1 FROM posthog_persondistinctid d WHERE d.person_id = p.id)", 0); /* P2 */
    expect_sql(url, "SELECT sum(commits) FROM penstock.places", UNITS * BATCHES); /* each exactly once */
    expect_sql(url, "SELECT count(*) FROM posthog_person WHERE penstock_version IS DISTINCT FROM version", 0);
}

/* The embedded store, given the batches in the order of their commits. */
static void check_order(const struct shared *shared)
{
    const struct people_settings settings = { .backend = "postgres", .url = shared->url, .password_file = "" };
    char               folder[] = "/tmp/penstock_units_XXXXXX", path[100];
    struct people     *real, *reference;
    struct people_txn *real_txn, *reference_txn;
    struct arena      *arena = arena_new(1 << 16, (size_t)1 << 30);
    struct err         err = { 0 };

    assert_non_null(mkdtemp(folder));
    assert_int_equal(people_open(&(struct people_options){ .folder = folder, .map_bytes_max = 1u << 30 }, &reference, &err), 0);
    for (size_t i = 0; i < shared->ordered; i++) {
        arena_reset(arena);
        assert_int_equal(people_begin(reference, true, &reference_txn, &err), 0);
        assert_int_equal(batch_apply(reference_txn, arena, shared->seed, shared->order[i].unit, shared->order[i].batch, &err), 0);
        assert_int_equal(people_commit(reference_txn, &err), 0);
    }
    assert_int_equal(people_open(&(struct people_options){ .folder = shared->folder, .settings = &settings, .unit = 99 }, &real, &err), 0);
    assert_int_equal(people_begin(reference, false, &reference_txn, &err), 0);
    assert_int_equal(people_begin(real, false, &real_txn, &err), 0);
    for (unsigned i = 0; i < IDS; i++) {
        struct span        id = printed(arena, "id%u", i, 0, 0);
        struct person_link a = { 0 }, b = { 0 };
        struct person      x, y;
        int                there = people_link_get(reference_txn, PROJECT, id, &a, &err);

        assert_int_equal(people_link_get(real_txn, PROJECT, id, &b, &err), there);
        if (there == 0)
            continue;
        assert_int_equal(b.version, a.version);
        assert_int_equal(people_person_get(reference_txn, a.person, &x, &err), 1);
        assert_int_equal(people_person_get(real_txn, b.person, &y, &err), 1);
        assert_true(uuid_equal(&x.uuid, &y.uuid));
        assert_true(x.version == y.version && x.identified == y.identified && x.created_us == y.created_us);
        assert_true(span_equal(x.properties, y.properties));
    }
    people_abort(real_txn);
    people_abort(reference_txn);
    people_close(real);
    people_close(reference);
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", folder);
    (void)unlink(path);
    (void)rmdir(folder);
    arena_free(arena);
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *walk)
{
    (void)found, (void)kind, (void)walk;
    return remove(path);
}

static void quiet(void *ctx, const char *text)
{
    (void)ctx, (void)text;
}

typedef void disturbance(struct shared *shared, PGconn *pq, unsigned round);

/* Runs a text, whatever comes of it. */
static void try_sql(PGconn *pq, const char *text)
{
    PQclear(PQexec(pq, text));
}

static void run_units(unsigned seed, bool one_by_one, disturbance *disturb)
{
    static unsigned runs;
    struct shared   shared = { .seed = seed, .one_by_one = one_by_one };
    struct unit     units[UNITS];
    pthread_t       threads[UNITS];
    unsigned        extra = 0;
    char            text[100];

    (void)snprintf(shared.folder, sizeof shared.folder, "/tmp/penstock_units_XXXXXX");
    assert_non_null(mkdtemp(shared.folder));
    (void)snprintf(shared.database, sizeof shared.database, "units_%d_%u", (int)getpid(), runs++);
    pg_kit_url(shared.database, shared.url);
    (void)snprintf(text, sizeof text, "CREATE DATABASE %s", shared.database);
    (void)pg_kit_sql(pg_kit_server(), text);
    (void)pthread_mutex_init(&shared.commits, NULL);
    for (unsigned i = 0; i < UNITS; i++) {
        units[i] = (struct unit){ .shared = &shared, .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL, unit_main, &units[i]), 0);
    }
    if (disturb != NULL)
        for (unsigned round = 0; round < 12; round++) {
            PGconn *pq = PQconnectdb(pg_kit_server());

            (void)PQsetNoticeProcessor(pq, quiet, NULL);
            if (PQstatus(pq) == CONNECTION_OK)
                disturb(&shared, pq, round);
            PQfinish(pq);
            (void)usleep(60000);
        }
    for (unsigned i = 0; i < UNITS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (units[i].failed[0] != '\0')
            fail_msg("%s", units[i].failed);
        extra += units[i].tries - units[i].kept;
    }
    print_message("    seed %u: %d batches, %u begun anew\n", seed, UNITS * BATCHES, extra);
    assert_true(units[0].kept > 0 && units[1].kept > 0 && units[2].kept > 0);
    check_everything(shared.url);
    if (one_by_one)
        check_order(&shared);
    (void)nftw(shared.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    (void)snprintf(text, sizeof text, "DROP DATABASE %s WITH (FORCE)", shared.database);
    (void)pg_kit_sql(pg_kit_server(), text);
}

/* --- disturbances ------------------------------------------------------------------------------ */

static void terminate(struct shared *shared, PGconn *pq, unsigned round)
{
    char text[200];

    (void)round;
    (void)snprintf(text, sizeof text, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s' AND random() < 0.6",
                   shared->database);
    try_sql(pq, text);
}

/* Rows of persons are locked by somebody, in an order that is not ours: waiting, and deadlocks. */
static void lock_rows(struct shared *shared, PGconn *pq, unsigned round)
{
    PGconn *own = PQconnectdb(shared->url);

    (void)pq;
    (void)PQsetNoticeProcessor(own, quiet, NULL);
    try_sql(own, "BEGIN");
    try_sql(own, "UPDATE posthog_person SET last_seen_at = last_seen_at WHERE id = (SELECT max(id) FROM posthog_person)");
    (void)usleep(round % 3 == 0 ? 300000 : 30000);
    try_sql(own, "SELECT 1 FROM posthog_person ORDER BY id DESC FOR UPDATE"); /* against units that hold lower ones: 40P01 */
    try_sql(own, round % 2 == 0 ? "ROLLBACK" : "COMMIT");
    PQfinish(own);
}

static void read_only(struct shared *shared, PGconn *pq, unsigned round)
{
    char text[200];

    (void)snprintf(text, sizeof text, "ALTER DATABASE %s SET default_transaction_read_only = %s", shared->database,
                   round % 2 == 0 ? "on" : "off");
    try_sql(pq, text);
    terminate(shared, pq, round);
}

/* A backend that is killed takes all others with it: the server recovers, as after a crash. */
static void crash(struct shared *shared, PGconn *pq, unsigned round)
{
    (void)shared;
    if (round % 4 == 1)
        (void)kill(PQbackendPID(pq), SIGKILL);
}

static void units_meet(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 3; seed++) {
        run_units(seed, true, NULL);
        run_units(seed + 100, false, NULL);
    }
}

static void backends_end(void **state) { (void)state; run_units(201, false, terminate); run_units(202, true, terminate); }
static void rows_are_locked(void **state) { (void)state; run_units(301, false, lock_rows); }
static void nothing_may_be_written(void **state) { (void)state; run_units(401, false, read_only); }
static void server_crashes(void **state) { (void)state; run_units(501, false, crash); }

/* Somebody else takes the unit over: its old owner cannot commit any more, and stays out. */
static void fenced(void **state)
{
    char                   folder[] = "/tmp/penstock_units_XXXXXX", other[] = "/tmp/penstock_units_XXXXXX", url[500];
    struct people_settings settings = { .backend = "postgres", .url = url, .password_file = "" };
    struct people_place    place = { .input_next = { 5 } };
    struct people         *old, *new;
    struct people_txn     *txn;
    struct err             err = { 0 };
    uint64_t               first, second;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_non_null(mkdtemp(other));
    pg_kit_database(folder, url);
    assert_int_equal(people_open(&(struct people_options){ .folder = folder, .settings = &settings, .owner = true }, &old, &err), 0);
    assert_int_equal(people_epoch(old, &first, &err), 0);
    assert_int_equal(people_begin(old, true, &txn, &err), 0);
    assert_int_equal(people_place_put(txn, &place, &err), 0);
    assert_int_equal(people_open(&(struct people_options){ .folder = other, .settings = &settings, .owner = true }, &new, &err), 0);
    assert_int_equal(people_epoch(new, &second, &err), 0);
    assert_true(second > first);
    assert_int_equal(people_commit(txn, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    assert_int_equal(people_begin(old, true, &txn, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    assert_int_equal(people_begin(new, true, &txn, &err), 0);
    place.input_next[0] = 77;
    assert_int_equal(people_place_get(txn, &place, &err), 0);
    assert_int_equal(place.input_next[0], 0);
    place.input_next[0] = 6;
    assert_int_equal(people_place_put(txn, &place, &err), 0);
    assert_int_equal(people_commit(txn, &err), 0);
    people_close(old);
    people_close(new);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    (void)nftw(other, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fenced),         cmocka_unit_test(units_meet),             cmocka_unit_test(backends_end),
        cmocka_unit_test(rows_are_locked), cmocka_unit_test(nothing_may_be_written), cmocka_unit_test(server_crashes),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
