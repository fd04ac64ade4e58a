/* ingest/overflow_test.c - hot keys are moved aside and keep their order, wherever the process ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/mman.h>

#include "base/io.h"
#include "ingest/outputs.h"
#include "ingest/testing_site.h"

enum { KEYS = 6, BURST = 10, BATCH = 8 };

static void site_init_hot(struct site *site, int64_t burst)
{
    site_init(site, BATCH);
    site->options.overflow_burst = burst;
    site->options.overflow_per_second = 0;
}

/* Two of three are of the hot id; the others of its neighbours, one of them without a person. */
static struct span hot_record(struct site *site, struct arena *arena)
{
    uint64_t      dice = random_next(&site->random) >> 8;
    unsigned      who = dice % 3 > 0 ? 0 : 1 + (unsigned)(dice >> 8) % (KEYS - 1);
    char          id[16];
    struct record record = { .event = SPAN("view"), .data = SPAN("{\"properties\":{}}") };

    (void)snprintf(id, sizeof id, "p%u", who);
    record.distinct_id = arena_copy(arena, span_text(id));
    if (who == 1)
        record.data = SPAN("{\"properties\":{\"$process_person_profile\":false}}");
    return fixture_record(&site->maker, record, arena);
}

static void feed_hot(struct site *site, size_t count)
{
    struct arena *arena = arena_new(1 << 16, 1 << 28);
    struct span  *bodies = calloc(count, sizeof *bodies);

    for (size_t i = 0; i < count; i++)
        bodies[i] = hot_record(site, arena);
    site->appended_us = clock_wall_us();
    site_append(site, bodies, count);
    free(bodies);
    arena_free(arena);
}

/* Each accepted record became one event row, and of each distinct id the rows stand in the order of acceptance. */
static void assert_order(struct site *site, uint64_t accepted)
{
    struct buf  events = topic_bytes(site, "events");
    struct span rest = buf_span(&events);
    struct row  row;
    int64_t     last[KEYS];
    uint64_t    rows = 0;
    uint8_t    *seen = calloc(accepted, 1);

    memset(last, -1, sizeof last);
    while (row_next(&rest, &row)) {
        int64_t  place = row.cells[ROW_EVENT_RAW_OFFSET].i64;
        unsigned who = row.cells[ROW_EVENT_DISTINCT_ID].text.at[1] - (unsigned)'0';

        assert_true(who < KEYS && place >= 0 && (uint64_t)place < accepted);
        assert_int_equal(seen[place]++, 0);
        if (place <= last[who])
            fail_msg("p%u: record %lld comes after %lld", who, (long long)place, (long long)last[who]);
        last[who] = place;
        rows++;
    }
    assert_true(rows == accepted);
    free(seen);
    buf_fini(&events);
}

static void assert_sums(const struct people_place *place, uint64_t accepted)
{
    assert_true(place->input_next[INPUT_RAW] == accepted);
    assert_true(place->input_next[INPUT_OVERFLOW] == place->output_end[OUTPUT_RAW_OVERFLOW]);
    assert_true(fate_consumed(place) == accepted && fate_sum(place, FATE_CLASS_STORED) == accepted);
}

/* Nobody is moved while ingest keeps up, and nobody when it is off. */
static void test_only_when_behind(void **state)
{
    struct site         site;
    struct people_place place;

    (void)state;
    site_init_hot(&site, BURST);
    for (int i = 0; i < 20; i++) {
        feed_hot(&site, 2 * BATCH);
        site_finish(&site, &place);
    }
    assert_true(place.output_end[OUTPUT_RAW_OVERFLOW] == 0);
    feed_hot(&site, 400);
    site_finish(&site, &place);
    assert_in_range(place.output_end[OUTPUT_RAW_OVERFLOW], 200, 400);
    assert_sums(&place, 40 * BATCH + 400);
    assert_order(&site, 40 * BATCH + 400);
    site_fini(&site);

    site_init_hot(&site, 0);
    feed_hot(&site, 400);
    site_finish(&site, &place);
    assert_true(place.output_end[OUTPUT_RAW_OVERFLOW] == 0);
    site_fini(&site);
}

static void test_flags_end(void **state)
{
    struct site         site;
    struct people_place place, later;

    (void)state;
    site_init_hot(&site, BURST);
    feed_hot(&site, 300);
    site_finish(&site, &place);
    assert_true(place.output_end[OUTPUT_RAW_OVERFLOW] > 0);
    feed_hot(&site, BATCH); /* all that waited is done, so the id is live again */
    site_finish(&site, &later);
    assert_true(later.output_end[OUTPUT_RAW_OVERFLOW] == place.output_end[OUTPUT_RAW_OVERFLOW]);
    assert_order(&site, 300 + BATCH);
    site_fini(&site);
}

/* A restriction moves its id aside at once, and nobody else. */
static void test_restriction(void **state)
{
    const struct catalog_restriction restriction = { .project = 7, .action = CATALOG_OVERFLOW, .distinct_id = SPAN("p0") };
    struct site         site;
    struct people_place place;
    struct catalog     *catalog;
    struct err          err = { 0 };
    char                path[128];
    uint32_t            id;

    (void)state;
    site_init_hot(&site, 0);
    (void)snprintf(path, sizeof path, "%s/catalog.db", site.folder);
    fixture_must(catalog_open(path, &catalog, &err), &err);
    fixture_must(catalog_restriction_add(catalog, &restriction, &id, &err), &err);
    catalog_close(catalog);
    for (int i = 0; i < 10; i++) {
        feed_hot(&site, 6);
        if (i % 3 == 0)
            site_finish(&site, &place);
    }
    site_finish(&site, &place);
    assert_in_range(place.output_end[OUTPUT_RAW_OVERFLOW], 30, 50); /* two of three */
    assert_sums(&place, 60);
    assert_order(&site, 60);
    site_fini(&site);
}

/* Stopped after a few batches, over and over: each start finds records that wait aside, and newer ones that must not pass. */
static void test_stops(void **state)
{
    struct site         site;
    struct people_place place;
    uint64_t            accepted = 0, dice = 7;
    int                 between = 0;

    (void)state;
    site_init_hot(&site, BURST);
    for (int i = 0; i < 150; i++) {
        size_t         count = 1 + random_next(&dice) % 60;
        uint64_t       steps = random_next(&dice) % 12;
        struct ingest *ingest;
        struct err     err = { 0 };

        feed_hot(&site, count);
        accepted += count;
        fixture_must(ingest_open(&site.env, &ingest, &err), &err);
        for (uint64_t step = 0; step < steps; step++)
            fixture_must(ingest_step(ingest, &err), &err);
        place = *ingest_place(ingest);
        between += place.input_next[INPUT_OVERFLOW] > 0 && place.input_next[INPUT_OVERFLOW] < place.output_end[OUTPUT_RAW_OVERFLOW];
        ingest_close(ingest);
    }
    assert_true(between > 50); /* this did happen */
    site_finish(&site, &place);
    assert_sums(&place, accepted);
    assert_order(&site, accepted);
    site_fini(&site);
}

/* Killed at random while records arrive: into flags, out of flags, in between. */
static void test_kills(void **state)
{
    struct site         site;
    struct people_place place = { .input_next = { 0 } };
    uint64_t            accepted = 0, dice = 99;

    (void)state;
    site_init_hot(&site, BURST);
    for (int i = 0; i < 40; i++) {
        size_t count = 1 + random_next(&dice) % 80;
        pid_t  pid;

        feed_hot(&site, count);
        accepted += count;
        pid = site_start(&site);
        usleep((useconds_t)(random_next(&dice) % 60000));
        site_wait_unsuspected(&site);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(waitpid(pid, NULL, 0) == pid);
        if (i % 15 == 14)
            site_finish(&site, &place); /* nothing waits any more: everybody is live again */
    }
    site_finish(&site, &place);
    assert_true(place.output_end[OUTPUT_RAW_OVERFLOW] > 100);
    assert_sums(&place, accepted);
    assert_order(&site, accepted);
    site_fini(&site);
}

/* Killed before each single call that reaches a file of the log. */
static void test_every_file_call(void **state)
{
    const struct io_hook hook = { .before = end_at_call };
    struct site          site;
    struct people_place  place;
    uint64_t             accepted = 0;
    bool                 ended = false;

    (void)state;
    io_left = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    site_init_hot(&site, BURST);
    for (int64_t calls = 0; !ended && calls < 400; calls += 3) {
        pid_t pid;
        int   status;

        feed_hot(&site, 30);
        accepted += 30;
        io_left->left = calls;
        pid = child_fork();
        if (pid == 0) {
            io_hook_set(&hook);
            site_finish(&site, &place);
            _exit(0);
        }
        assert_true(waitpid(pid, &status, 0) == pid);
        ended = WIFEXITED(status);
    }
    site_finish(&site, &place);
    assert_true(place.output_end[OUTPUT_RAW_OVERFLOW] > 0);
    assert_sums(&place, accepted);
    assert_order(&site, accepted);
    site_fini(&site);
}

/* Exceptions of very many ids beside events of others: what is above the project's burst goes aside, and nobody's other
 * events do, those of the same ids neither. */
static void test_floods_of_a_kind(void **state)
{
    enum { RECORDS = 600 };
    struct site         site;
    struct people_place place;
    struct arena       *arena = arena_new(1 << 16, 1 << 28);
    struct span         bodies[RECORDS];
    struct buf          events;
    struct span         rest;
    struct row          row;
    int64_t             last = -1;
    size_t              views = 0;

    (void)state;
    site_init_hot(&site, BURST);
    for (int i = 0; i < RECORDS; i++) {
        struct record record = { .event = i % 3 < 2 ? SPAN("$exception") : SPAN("view"), .data = SPAN("{\"properties\":{}}") };
        char          id[16];

        (void)snprintf(id, sizeof id, "p%d", i / 3); /* three of each id: none is hot */
        record.distinct_id = arena_copy(arena, span_text(id));
        bodies[i] = fixture_record(&site.maker, record, arena);
    }
    site.appended_us = clock_wall_us();
    site_append(&site, bodies, RECORDS);
    site_finish(&site, &place);
    assert_in_range(place.output_end[OUTPUT_RAW_OVERFLOW], 2 * RECORDS / 3 - BURST - 4 * BATCH, 2 * RECORDS / 3 - BURST);
    assert_sums(&place, RECORDS);
    events = topic_bytes(&site, "events");
    rest = buf_span(&events);
    while (row_next(&rest, &row)) {
        int64_t at = row.cells[ROW_EVENT_RAW_OFFSET].i64;

        if (at % 3 < 2)
            continue;
        assert_true(at > last); /* as they came */
        last = at;
        views++;
    }
    assert_int_equal(views, RECORDS / 3);
    buf_fini(&events);
    arena_free(arena);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods_of_a_kind), cmocka_unit_test(test_only_when_behind), cmocka_unit_test(test_flags_end), cmocka_unit_test(test_restriction),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_kills),
        cmocka_unit_test(test_every_file_call),
    };

    setenv("PENSTOCK_CLOCK_US", "1709287200000000", 1); /* who is kept from reading for a second is behind, whatever he meant to do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
