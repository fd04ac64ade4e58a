/* parts: postgres
 * people/pg_answers_cluster_test.c - answers of the server that are lost on the way, and requests that come late.
 *
 * A batch counts once, and the unit stays its owner's, whichever answer is lost and however often: of the commit, and of taking
 * the unit over again, by which the owner finds out about the commit. */
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "people/pg_relay_test_kit.h"
#include "people/pg_test_kit.h"
#undef people_open

enum { BATCHES = 3, WAIT_SECONDS = 60 };

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *walk)
{
    (void)found, (void)kind, (void)walk;
    return remove(path);
}

static void folder_remove(const char *folder)
{
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    pg_kit_forget(folder);
}

static struct people *open_owner(const char *folder, const char *url)
{
    const struct people_settings settings = { .backend = "postgres", .url = url, .password_file = "" };
    struct people               *people;
    struct err                   err = { 0 };

    if (people_open(&(struct people_options){ .folder = folder, .settings = &settings, .owner = true }, &people, &err) < 0)
        fail_msg("%s", err.text);
    return people;
}

static int batch(struct people *people, uint64_t number, struct err *err)
{
    struct people_place place = { .input_next = { number + 1 } };
    struct people_txn  *txn;

    if (people_begin(people, true, &txn, err) < 0)
        return -1;
    if (people_place_put(txn, &place, err) < 0) {
        people_abort(txn);
        return -1;
    }
    return people_commit(txn, err);
}

/* As ingest does: after a failure that passes it reads its place, and goes on from there. */
static void batches(struct people *people, uint64_t upto)
{
    int64_t  until_us = clock_mono_us() + (int64_t)WAIT_SECONDS * 1000000;
    uint64_t next = 0;
    bool     known = false;

    while (!known || next < upto) {
        struct err err = { 0 };
        int        rc = known ? batch(people, next, &err) : pg_kit_next(people, &next, &err);

        if (rc == 0) {
            next += known;
            known = true;
            continue;
        }
        if (err.kind != ERR_RETRY || clock_mono_us() > until_us)
            fail_msg("at batch %d: %s (%s)", (int)next, err.text, err_kind_name(err.kind));
        known = false;
        (void)usleep(20000);
    }
}

static const struct {
    const char    *why;
    enum relay_how commit, taking;
    int            takings; /* so many in a row */
} losses[] = {
    { "the commit never came", RELAY_REQUEST_LOST, RELAY_ANSWER_LOST, 0 },
    { "it happened, its answer is lost", RELAY_ANSWER_LOST, RELAY_ANSWER_LOST, 0 },
    { "it never came, and the answer to taking over is lost", RELAY_REQUEST_LOST, RELAY_ANSWER_LOST, 1 },
    { "both answers are lost", RELAY_ANSWER_LOST, RELAY_ANSWER_LOST, 1 },
    { "and lost three times", RELAY_ANSWER_LOST, RELAY_ANSWER_LOST, 3 },
    { "and more often than the commit waits for it", RELAY_ANSWER_LOST, RELAY_ANSWER_LOST, 8 },
    { "taking over does not come", RELAY_ANSWER_LOST, RELAY_REQUEST_LOST, 2 },
    { "the commit comes late", RELAY_REQUEST_LATE, RELAY_ANSWER_LOST, 0 },
    { "taking over comes late, behind a later one", RELAY_ANSWER_LOST, RELAY_REQUEST_LATE, 1 },
    { "all comes late", RELAY_REQUEST_LATE, RELAY_REQUEST_LATE, 2 },
};

static void lost_and_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        char           folder[] = "/tmp/penstock_answers_XXXXXX", url[500], relayed[500];
        struct relay  *relay;
        struct people *people;

        print_message("    %s\n", losses[i].why);
        assert_non_null(mkdtemp(folder));
        pg_kit_database(folder, url);
        (void)snprintf(relayed, sizeof relayed, "%s", url);
        relay = relay_start(relayed);
        people = open_owner(folder, relayed);
        batches(people, 1);
        relay_plan(relay, 0, "COMMIT", losses[i].commit, 1);
        relay_plan(relay, 1, "TAKE_AGAIN", losses[i].taking, losses[i].takings);
        batches(people, 2);
        assert_int_equal(relay_deliver(relay), (losses[i].commit == RELAY_REQUEST_LATE) +
                                               (losses[i].taking == RELAY_REQUEST_LATE ? losses[i].takings : 0));
        batches(people, BATCHES);
        assert_int_equal(relay_left(relay), 0); /* all of it was met */
        assert_int_equal(pg_kit_sql(url, "SELECT commits FROM penstock.places WHERE unit = 0"), BATCHES);
        people_close(people);
        relay_stop(relay);
        folder_remove(folder);
    }
}

/* Somebody else took the unit over while the owner was without a connection: it stays out, for good. */
static void taken_over_meanwhile(void **state)
{
    char           folder[] = "/tmp/penstock_answers_XXXXXX", other[] = "/tmp/penstock_answers_XXXXXX", url[500], relayed[500];
    struct relay  *relay;
    struct people *old, *new;
    struct err     err = { 0 };

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_non_null(mkdtemp(other));
    pg_kit_database(folder, url);
    (void)snprintf(relayed, sizeof relayed, "%s", url);
    relay = relay_start(relayed);
    old = open_owner(folder, relayed);
    batches(old, 1);
    relay_plan(relay, 0, "COMMIT", RELAY_ANSWER_LOST, 1);
    relay_plan(relay, 1, "TAKE_AGAIN", RELAY_ANSWER_LOST, 8); /* it is taken again, and does not know */
    assert_int_equal(batch(old, 1, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    relay_plan(relay, 1, "TAKE_AGAIN", RELAY_ANSWER_LOST, 0);
    new = open_owner(other, url);
    assert_int_equal(batch(old, 1, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    batches(new, BATCHES);
    assert_int_equal(batch(old, 1, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    assert_int_equal(pg_kit_sql(url, "SELECT commits FROM penstock.places WHERE unit = 0"), BATCHES);
    people_close(old);
    people_close(new);
    relay_stop(relay);
    folder_remove(folder);
    folder_remove(other);
}

/* Places as they were before owners were named: they are kept, and whoever opens the unit is its owner. */
static void places_of_before(void **state)
{
    char           folder[] = "/tmp/penstock_answers_XXXXXX", url[500];
    struct people *people;
    struct err     err = { 0 };
    uint64_t       next, epoch;

    (void)state;
    assert_non_null(mkdtemp(folder));
    pg_kit_database(folder, url);
    people = open_owner(folder, url);
    batches(people, 2);
    people_close(people);
    (void)pg_kit_sql(url, "ALTER TABLE penstock.places DROP COLUMN owner, DROP COLUMN erased; UPDATE penstock.places SET epoch = 9; "
                          "UPDATE penstock.version SET version = 2");
    people = open_owner(folder, url);
    assert_int_equal(people_epoch(people, &epoch, &err), 0);
    assert_true(epoch > 9);
    assert_int_equal(pg_kit_next(people, &next, &err), 0);
    assert_int_equal(next, 2);
    batches(people, BATCHES);
    assert_int_equal(pg_kit_sql(url, "SELECT commits FROM penstock.places WHERE unit = 0"), BATCHES);
    assert_int_equal(pg_kit_sql(url, "SELECT version FROM penstock.version"), 5);
    people_close(people);
    folder_remove(folder);
}

/* Of this test's database alone: others use the server at the same time. */
static void units_cut_off(const char *url)
{
    (void)pg_kit_sql(url, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                          "WHERE datname = current_database() AND application_name LIKE 'penstock unit%'");
}

/* The server as it was some commits ago, as a standby without them is: its rows are put back, and connections end. */
static void server_keep(const char *url)
{
    (void)pg_kit_sql(url, "CREATE TABLE kept_places AS TABLE penstock.places; CREATE TABLE kept_state AS TABLE penstock.state");
}

static void server_back(const char *url, unsigned lost_takings)
{
    char text[200];

    (void)pg_kit_sql(url, "DELETE FROM penstock.places; DELETE FROM penstock.state; INSERT INTO penstock.places TABLE kept_places; "
                          "INSERT INTO penstock.state TABLE kept_state; DROP TABLE kept_places, kept_state");
    (void)snprintf(text, sizeof text, "UPDATE penstock.places SET epoch = epoch - %u, owner = gen_random_uuid()", lost_takings);
    if (lost_takings > 0)
        (void)pg_kit_sql(url, text);
    units_cut_off(url);
}

/* Commits that were confirmed are gone: nothing is written on top of them, neither at once nor later, until the store is opened anew; and that
 * has a higher epoch than any before, also where the server has forgotten who the owner is. */
static void server_goes_back(void **state)
{
    (void)state;
    for (unsigned lost_takings = 0; lost_takings < 2; lost_takings++) {
        char              folder[] = "/tmp/penstock_answers_XXXXXX", url[500];
        struct people    *people;
        struct people_txn *txn;
        struct err        err = { 0 };
        uint64_t          before, epoch, next;

        assert_non_null(mkdtemp(folder));
        pg_kit_database(folder, url);
        people = open_owner(folder, url);
        batches(people, 2);
        assert_int_equal(people_epoch(people, &before, &err), 0);
        server_keep(url);
        batches(people, 5);
        server_back(url, lost_takings);
        assert_false(people_went_back(people));
        for (int i = 0; i < 3; i++) {
            assert_int_equal(batch(people, 5, &err), -1);
            assert_int_equal(err.kind, ERR_RETRY);
            assert_true(people_went_back(people));
        }
        assert_int_equal(people_begin(people, false, &txn, &err), 0); /* neither does anybody read as if nothing had been */
        assert_int_equal(people_place_get(txn, &(struct people_place){ 0 }, &err), -1);
        people_abort(txn);
        assert_int_equal(pg_kit_sql(url, "SELECT commits FROM penstock.places WHERE unit = 0"), 2);
        people_close(people);
        people = open_owner(folder, url);
        assert_int_equal(people_epoch(people, &epoch, &err), 0);
        assert_true(epoch > before);
        assert_int_equal(pg_kit_next(people, &next, &err), 0);
        assert_int_equal(next, 2);
        batches(people, BATCHES);
        assert_false(people_went_back(people));
        people_close(people);
        folder_remove(folder);
    }
}

/* A connection that ends, at a server that has lost nothing, is no such thing. */
static void connections_end(void **state)
{
    char           folder[] = "/tmp/penstock_answers_XXXXXX", url[500];
    struct people *people;

    (void)state;
    assert_non_null(mkdtemp(folder));
    pg_kit_database(folder, url);
    people = open_owner(folder, url);
    for (uint64_t i = 1; i < 5; i++) {
        batches(people, i);
        units_cut_off(url);
    }
    batches(people, 5);
    assert_false(people_went_back(people));
    assert_int_equal(pg_kit_sql(url, "SELECT commits FROM penstock.places WHERE unit = 0"), 5);
    people_close(people);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_goes_back),
        cmocka_unit_test(connections_end),
        cmocka_unit_test(lost_and_late),
        cmocka_unit_test(taken_over_meanwhile),
        cmocka_unit_test(places_of_before),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
