/* ingest/inputs_test.c - the role reads several topics: each in its order, every record once, however it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/outputs.h"
#include "ingest/testing_site.h"

static void feed_plain(struct site *site, enum input input, size_t count)
{
    struct arena *arena = arena_new(1 << 16, 1 << 28);
    struct span  *bodies = calloc(count, sizeof *bodies);

    for (size_t i = 0; i < count; i++)
        bodies[i] = fixture_record(&site->maker, (struct record){ .event = SPAN("view"), .distinct_id = SPAN("d"),
                                                                  .data = SPAN("{\"properties\":{}}") }, arena);
    site_append_to(site, input, bodies, count);
    free(bodies);
    arena_free(arena);
}

/* Places of the finished events: each lane's must be 0, 1, 2, ... in this order. */
static void assert_each_once_in_order(struct site *site, const uint64_t want[INPUT_COUNT])
{
    struct buf  events = topic_bytes(site, "events");
    struct span rest = buf_span(&events);
    struct row  row;
    uint64_t    next[INPUT_COUNT] = { 0 };

    while (row_next(&rest, &row)) {
        uint64_t place = (uint64_t)row.cells[ROW_EVENT_RAW_OFFSET].i64;

        assert_true(place_offset(place) == next[place_input(place)]++);
    }
    for (int i = 0; i < INPUT_COUNT; i++)
        assert_true(next[i] == want[i]);
    buf_fini(&events);
}

static void test_topics(void **state)
{
    struct site         site;
    struct people_place place;

    (void)state;
    site_init(&site, 16);
    feed_plain(&site, INPUT_RAW, 50);
    site_finish(&site, &place); /* the other topics do not exist yet */
    assert_true(place.input_next[INPUT_RAW] == 50 && place.input_next[INPUT_HISTORICAL] == 0);
    feed_plain(&site, INPUT_HISTORICAL, 40);
    feed_plain(&site, INPUT_RAW, 5);
    feed_plain(&site, INPUT_HISTORICAL, 30);
    site_finish(&site, &place);
    assert_true(place.input_next[INPUT_RAW] == 55 && place.input_next[INPUT_HISTORICAL] == 70);
    assert_true(place.input_next[INPUT_OVERFLOW] == 0 && place.input_next[INPUT_CONTROL] == 0);
    assert_true(fate_consumed(&place) == 125 && fate_sum(&place, FATE_CLASS_STORED) == 125);
    assert_each_once_in_order(&site, (uint64_t[INPUT_COUNT]){ 55, 70 });
    site_fini(&site);
}

/* What waits in one topic while the role is killed over and over waits in no other one's way. */
static void test_kills(void **state)
{
    struct site         site;
    struct people_place place;
    uint64_t            dice = 4711, want[INPUT_COUNT] = { 0 };

    (void)state;
    site_init(&site, 7);
    for (int i = 0; i < 40; i++) {
        size_t live = 1 + random_next(&dice) % 20, old = 1 + random_next(&dice) % 20;
        pid_t  pid;

        feed_plain(&site, INPUT_RAW, live);
        feed_plain(&site, INPUT_HISTORICAL, old);
        want[INPUT_RAW] += live;
        want[INPUT_HISTORICAL] += old;
        pid = site_start(&site);
        usleep((useconds_t)(random_next(&dice) % 20000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(waitpid(pid, NULL, 0) == pid);
    }
    site_finish(&site, &place);
    /* a record that was being looked at at three kills in a row is rightly condemned */
    if (fate_sum(&place, FATE_CLASS_DEAD_LETTERED) == 0)
        assert_each_once_in_order(&site, want);
    assert_true(fate_consumed(&place) == want[INPUT_RAW] + want[INPUT_HISTORICAL]);
    assert_true(fate_sum(&place, FATE_CLASS_STORED) + fate_sum(&place, FATE_CLASS_DEAD_LETTERED) == fate_consumed(&place));
    site_fini(&site);
}

/* Live records that fill every batch by their bytes leave something to imports. */
static void test_large_live_records(void **state)
{
    struct site    site;
    struct ingest *ingest;
    struct err     err = { 0 };

    (void)state;
    site_init(&site, 1000);
    site.options.batch_bytes = 3200; /* some twenty records */
    feed_plain(&site, INPUT_RAW, 1000);
    feed_plain(&site, INPUT_HISTORICAL, 100);
    fixture_must(ingest_open(&site.env, &ingest, &err), &err);
    while (ingest_place(ingest)->input_next[INPUT_RAW] < 900)
        fixture_must(ingest_step(ingest, &err), &err);
    assert_true(ingest_place(ingest)->input_next[INPUT_RAW] < 1000 && ingest_place(ingest)->input_next[INPUT_HISTORICAL] > 10);
    ingest_close(ingest);
    site_fini(&site);
}

/* A poisonous import ends the process three times and no more, and live traffic goes on. */
static void test_poison(void **state)
{
    struct site         site;
    struct people_place place;
    struct arena       *arena = arena_new(1 << 16, 1 << 24);
    struct span         poison;
    int                 crashes = 0;

    (void)state;
    site_init(&site, 100);
    feed_plain(&site, INPUT_HISTORICAL, 5);
    poison = fixture_record(&site.maker, (struct record){ .event = SPAN("poison"), .distinct_id = SPAN("d"),
                                                          .data = SPAN("{\"properties\":{}}") }, arena);
    site_append_to(&site, INPUT_HISTORICAL, &poison, 1);
    feed_plain(&site, INPUT_HISTORICAL, 5);
    setenv("PENSTOCK_CRASH_ON", "poison", 1);
    for (;;) {
        pid_t pid;
        int   status = 0;

        feed_plain(&site, INPUT_RAW, 3);
        pid = child_fork();
        if (pid == 0) {
            say_init("ingest", SAY_ERROR);
            site_finish(&site, &place);
            _exit(0);
        }
        assert_true(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status))
            break;
        assert_true(++crashes <= ATTEMPT_CRASHES_MAX);
    }
    unsetenv("PENSTOCK_CRASH_ON");
    assert_int_equal(crashes, ATTEMPT_CRASHES_MAX);
    site_finish(&site, &place);
    assert_true(place.input_next[INPUT_HISTORICAL] == 11 && place.input_next[INPUT_RAW] == 12);
    assert_true(fate_sum(&place, FATE_CLASS_DEAD_LETTERED) == 1 && fate_sum(&place, FATE_CLASS_STORED) == 22);
    arena_free(arena);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_topics), cmocka_unit_test(test_large_live_records),
                                        cmocka_unit_test(test_kills), cmocka_unit_test(test_poison) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
