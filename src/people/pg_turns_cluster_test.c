/* parts: postgres alone
 * people/pg_turns_cluster_test.c - whose batches go beside whose when units meet at a person (pg.h G5), and what they keep at hand. */
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "people/batch.h"
#include "people/pg.h"
#include "people/pg_test_kit.h"
#undef people_open

enum { PROJECT = 7, UNITS_MAX = 3 };

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat, (void)type, (void)walk;
    return remove(path);
}

static int row_ignored(void *ctx, const struct row *row, struct err *err)
{
    (void)ctx, (void)row, (void)err;
    return 0;
}

/* Units of one database, each with a folder of its own. */
struct units {
    char           folders[UNITS_MAX][40], url[500];
    struct people *people[UNITS_MAX];
    unsigned       count;
};

static void units_open(struct units *units, unsigned count)
{
    struct people_settings settings = { .backend = "postgres", .url = units->url, .password_file = "" };
    struct err             err = { 0 };

    units->count = count;
    for (unsigned i = 0; i < count; i++) {
        char folder[] = "/tmp/penstock_turns_XXXXXX";

        assert_non_null(mkdtemp(folder));
        memcpy(units->folders[i], folder, sizeof folder);
        if (i == 0)
            pg_kit_database(folder, units->url);
        assert_int_equal(people_open(&(struct people_options){ .folder = units->folders[i], .settings = &settings, .unit = i, .owner = true },
                                     &units->people[i], &err), 0);
        pg_of(units->people[i])->turn_wait_ms = 60000; /* however slow the machine is */
    }
}

static void units_close(struct units *units)
{
    for (unsigned i = 0; i < units->count; i++) {
        people_close(units->people[i]);
        (void)nftw(units->folders[i], remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
}

static void must_begin_batch_of(struct people *people, struct span distinct_id, struct people_txn **txn)
{
    struct people_place    place = { .input_next = { 1 } };
    struct people_expected id = { PROJECT, distinct_id };
    struct people_batch   *batch;
    struct people_event    event = { .project = PROJECT, .distinct_id = distinct_id, .timestamp_us = 1700000000000000 };
    struct people_result   result;
    struct json_members    members;
    struct arena          *arena = arena_new(1 << 16, (size_t)1 << 30);
    static _Atomic unsigned numbers;
    unsigned               number = ++numbers;
    char                   text[40];
    struct err             err = { 0 };

    (void)snprintf(text, sizeof text, "{\"n\":%u}", number);
    assert_int_equal(json_members_read(span_text(text), arena, &members, &err), 0);
    event.set = &members;
    memcpy(event.uuid.bytes, &number, sizeof number);
    assert_int_equal(people_begin(people, true, txn, &err), 0);
    assert_int_equal(people_expect_batch(*txn, &id, 1, &err), 0);
    assert_int_equal(people_batch_begin(*txn, arena, &batch, &err), 0);
    assert_int_equal(people_batch_apply(batch, &event, &result, &err), 0);
    assert_int_equal(people_batch_finish(batch, row_ignored, NULL, &err), 0);
    assert_int_equal(people_place_put(*txn, &place, &err), 0);
    arena_free(arena);
}

static void must_begin_batch(struct people *people, struct people_txn **txn)
{
    must_begin_batch_of(people, SPAN("met"), txn);
}

struct turn {
    struct people *people;
    _Atomic bool   begun;
    int            committed;
};

static void *turn_main(void *arg)
{
    struct turn       *turn = arg;
    struct people_txn *txn;
    struct err         err = { 0 };

    must_begin_batch(turn->people, &txn);
    turn->begun = true;
    turn->committed = people_commit(txn, &err);
    return NULL;
}

/* Begins a batch and commits it, in a thread. Returns when it stands in the queue. */
static void turn_start(struct turn *turn, const struct units *units, unsigned unit, pthread_t *thread)
{
    *turn = (struct turn){ .people = units->people[unit] };
    assert_int_equal(pthread_create(thread, NULL, turn_main, turn), 0);
    while (pg_kit_sql(units->url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND "
                                  "database = (SELECT oid FROM pg_database WHERE datname = current_database())") == 0)
        assert_false(turn->begun);
}

static void turn_finish(const struct turn *turn, pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(turn->committed, 0);
}

/* Units go beside one another until they meet. Who met another begins again at once, and beside nobody: neither another one that
 * met somebody, nor the one who won. */
static void who_met_takes_turns(void **state)
{
    enum { LATE, WON, THIRD, MEETING };
    struct units       units;
    struct people    **people = units.people;
    struct people_txn *txns[MEETING];
    struct turn        turn;
    pthread_t          thread;
    struct err         err = { 0 };

    (void)state;
    units_open(&units, MEETING);
    must_begin_batch(people[LATE], &txns[LATE]); /* a person that all can meet at */
    assert_int_equal(people_commit(txns[LATE], &err), 0);
    assert_false(people_conflict(people[LATE]));

    for (unsigned i = 0; i < MEETING; i++) {
        must_begin_batch(people[i], &txns[i]);
        assert_true(pg_of(people[i])->conn.in_turn);
    }
    assert_int_equal(people_commit(txns[WON], &err), 0);
    for (unsigned i = 0; i < MEETING; i++)
        if (i != WON) {
            assert_int_equal(people_commit(txns[i], &err), -1);
            assert_int_equal(err.kind, ERR_RETRY);
            assert_true(people_conflict(people[i]));
        }

    must_begin_batch(people[LATE], &txns[LATE]);
    assert_false(people_conflict(people[LATE]));
    turn_start(&turn, &units, THIRD, &thread);
    assert_int_equal(people_commit(txns[LATE], &err), 0);
    turn_finish(&turn, thread);

    must_begin_batch(people[LATE], &txns[LATE]);
    turn_start(&turn, &units, WON, &thread);
    assert_int_equal(people_commit(txns[LATE], &err), 0);
    turn_finish(&turn, thread);

    must_begin_batch(people[WON], &txns[WON]); /* who is at work is waited for, too */
    turn_start(&turn, &units, LATE, &thread);
    assert_int_equal(people_commit(txns[WON], &err), 0);
    turn_finish(&turn, thread);

    must_begin_batch(people[LATE], &txns[LATE]); /* who stands still with his turn is waited for, not for ever, and not each time */
    pg_of(people[WON])->turn_wait_ms = 50;
    must_begin_batch(people[WON], &txns[WON]);
    assert_false(pg_of(people[WON])->conn.in_turn);
    assert_int_equal(people_commit(txns[WON], &err), 0);
    people_abort(txns[LATE]);
    assert_true(pg_of(people[WON])->turn_pause_us > 0);
    for (int paused = 1; paused >= 0; paused--) {
        pg_of(people[WON])->turn_pause_us = paused ? INT64_MAX : 0;
        must_begin_batch(people[WON], &txns[WON]);
        assert_true(pg_of(people[WON])->conn.in_turn == !paused);
        assert_int_equal(people_commit(txns[WON], &err), 0);
    }
    units_close(&units);
}

/* Each conflict that comes soon after the last one brings more batches beside nobody; one that comes after long brings few. */
static void meeting_again_brings_more_turns(void **state)
{
    enum { LATE, WON, MEETING };
    struct units       units;
    struct people    **people = units.people;
    struct people_txn *txns[MEETING];
    struct err         err = { 0 };
    unsigned           before = 0;

    (void)state;
    units_open(&units, MEETING);
    must_begin_batch(people[LATE], &txns[LATE]);
    assert_int_equal(people_commit(txns[LATE], &err), 0);
    for (unsigned round = 0; round < 4; round++) {
        unsigned alone = 0;

        for (unsigned i = 0; round == 3 && i < 100; i++) { /* long without a conflict */
            must_begin_batch(people[LATE], &txns[LATE]);
            assert_false(pg_of(people[LATE])->conn.alone);
            assert_int_equal(people_commit(txns[LATE], &err), 0);
        }
        must_begin_batch(people[LATE], &txns[LATE]);
        must_begin_batch(people[WON], &txns[WON]);
        assert_int_equal(people_commit(txns[WON], &err), 0);
        assert_int_equal(people_commit(txns[LATE], &err), -1);
        for (bool done = false; !done; alone += !done) {
            must_begin_batch(people[LATE], &txns[LATE]);
            done = !pg_of(people[LATE])->conn.alone;
            assert_int_equal(people_commit(txns[LATE], &err), 0);
        }
        if (round < 3)
            assert_true(alone > before);
        else
            assert_true(alone > 0 && alone < before);
        before = alone;
    }
    units_close(&units);
}

/* Whom two units meet at is read anew; all others stay at hand. Who changes persons without saying so is believed the third time. */
static void what_is_at_hand_stays(void **state)
{
    struct units       units;
    struct people    **people = units.people;
    struct people_txn *txn, *other_txn;
    struct pg_link     apart = { .project = PROJECT, .distinct_id = SPAN("apart") };
    struct person      found;
    bool               trusted = false;
    struct err         err = { 0 };

    (void)state;
    units_open(&units, 2);
    must_begin_batch_of(people[0], SPAN("apart"), &txn);
    assert_int_equal(people_commit(txn, &err), 0);
    must_begin_batch(people[0], &txn);
    assert_int_equal(people_commit(txn, &err), 0);
    must_begin_batch(people[0], &txn);
    must_begin_batch(people[1], &other_txn);
    assert_int_equal(people_commit(other_txn, &err), 0);
    assert_int_equal(people_commit(txn, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    must_begin_batch(people[0], &txn);
    assert_true(pg_hot_link(pg_of(people[0]), &apart));
    assert_true(pg_hot_person(pg_of(people[0]), apart.person, &found, &trusted));
    assert_true(trusted);
    assert_int_equal(people_commit(txn, &err), 0);

    (void)pg_kit_sql(units.url, "UPDATE posthog_person SET version = version + 1"); /* not Penstock */
    for (int i = 0; i < 2; i++) {
        must_begin_batch(people[0], &txn);
        assert_int_equal(people_commit(txn, &err), -1);
        assert_int_equal(err.kind, ERR_RETRY);
    }
    must_begin_batch(people[0], &txn);
    assert_int_equal(people_commit(txn, &err), 0);
    units_close(&units);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_met_takes_turns), cmocka_unit_test(meeting_again_brings_more_turns), cmocka_unit_test(what_is_at_hand_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
