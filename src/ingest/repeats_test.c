/* ingest/repeats_test.c - a record that stands in the log twice is one letter, like one event; what somebody sends again is
 * another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/outputs.h"
#include "ingest/testing_site.h"

#define UUID { .bytes = { 1, [6] = 0x70, [8] = 0x80 } }

/* Ways to become a letter. */
enum way { REJECTED, UNREADABLE, PARSE, RESTRICTED, TOO_LARGE, MERGE, WAYS };

static const struct { const char *label, *step; } ways[WAYS] = {
    [REJECTED] = { "refused by capture", "capture" }, [UNREADABLE] = { "an unreadable record", "read" },
    [PARSE] = { "an unreadable event", "parse" },     [RESTRICTED] = { "a restriction", "restrictions" },
    [TOO_LARGE] = { "too large", "ingest" },          [MERGE] = { "too many ids", "people" },
};

/* The record of a request, in the way; a good one of the same uuid when it is good. */
static struct span record_of(struct fixture *fixture, enum way way, uint64_t request, bool good)
{
    static const uint8_t garbage[] = { 1, 2, 0xff, 0xfe };
    struct record        record = {
        .event = SPAN("view"), .distinct_id = SPAN("d"), .data = SPAN("{}"), .request = request, .index = 3, .uuid = UUID
    };

    if (!good && way == UNREADABLE)
        return span_of(garbage, sizeof garbage);
    if (!good && way == REJECTED) {
        record.kind = RECORD_REJECTED;
        record.rejection = RECORD_REJECTED_NO_DISTINCT_ID;
    }
    if (!good && way == PARSE)
        record.data = SPAN("[]");
    if (way == MERGE) {
        record.event = SPAN("$merge_dangerously");
        record.data = SPAN("{\"properties\":{\"alias\":\"a\"}}");
    }
    return fixture_record(fixture, record, fixture->arena);
}

static void begin(struct fixture *fixture, enum way way)
{
    static const struct { const char *id, *event, *data; } merged[] = {
        { "a", "view", "{}" }, { "a", "$create_alias", "{\"properties\":{\"alias\":\"b\"}}" }, { "d", "view", "{}" }
    };

    fixture_init(fixture);
    if (way == RESTRICTED)
        (void)fixture_restrict(fixture, &(struct catalog_restriction){ .action = CATALOG_DEAD_LETTER });
    for (size_t i = 0; way == MERGE && i < sizeof merged / sizeof *merged; i++) {
        struct span body = fixture_record(fixture, (struct record){ .distinct_id = span_text(merged[i].id), .event = span_text(merged[i].event),
                                                                    .data = span_text(merged[i].data) }, fixture->arena);

        fixture_run(fixture, &body, 1);
    }
    if (way == MERGE)
        fixture->limits = (struct people_limits){ .merge_ids_max = 1, .joins_per_hour_max = 100 };
}

static void run(struct fixture *fixture, enum way way, uint64_t request, bool good, size_t times)
{
    struct span bodies[3];

    for (size_t i = 0; i < times; i++)
        bodies[i] = record_of(fixture, way, request, good);
    if (way == TOO_LARGE && !good)
        fixture->too_large = fixture->place.input_next[INPUT_RAW] + 1;
    fixture_run(fixture, bodies, times);
    fixture->too_large = 0;
}

static void assert_after(struct fixture *fixture, enum way way, const char *when, uint64_t letters, uint64_t repeats)
{
    if (fixture->fates[FATE_DEAD_LETTERED] != letters || fixture->fates[FATE_DEDUPLICATED] != repeats ||
        fixture_count(fixture, ROW_DEAD_LETTER) != letters)
        fail_msg("%s, %s: %d letters (%zu rows), %d repeats", ways[way].label, when, (int)fixture->fates[FATE_DEAD_LETTERED],
                 fixture_count(fixture, ROW_DEAD_LETTER), (int)fixture->fates[FATE_DEDUPLICATED]);
}

/* In one batch and in later ones; then another request with the same event. */
static void test_each_way(void **state)
{
    (void)state;
    for (enum way way = 0; way < WAYS; way++) {
        struct fixture fixture;
        struct row     row;

        begin(&fixture, way);
        if (way == TOO_LARGE) /* alone in its batch, always */
            run(&fixture, way, 1, false, 1), run(&fixture, way, 1, false, 1);
        else
            run(&fixture, way, 1, false, 2);
        assert_after(&fixture, way, "twice", 1, 1);
        assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 0, &row));
        assert_true(span_equal(row.cells[ROW_DEAD_LETTER_STEP].text, span_text(ways[way].step)));
        for (uint64_t i = 2; i <= 3; i++) {
            run(&fixture, way, 1, false, 1);
            assert_after(&fixture, way, "in a later batch", 1, i);
        }
        if (way != UNREADABLE) { /* it has no request */
            run(&fixture, way, 2, false, 1);
            assert_after(&fixture, way, "by another request", 2, 3);
            run(&fixture, way, 1, false, 1);
            run(&fixture, way, 2, false, 1);
            assert_after(&fixture, way, "each once more", 2, 5);
        }
        fixture_fini(&fixture);
    }
}

/* The letter's event, repaired and with its uuid, is stored once, and then no letter of before comes back. */
static void test_replayed(void **state)
{
    (void)state;
    for (enum way way = 0; way < WAYS; way++) {
        struct fixture fixture;
        uint64_t       stored;

        if (way == UNREADABLE || way == RESTRICTED)
            continue; /* without a uuid; with a restriction in force */
        begin(&fixture, way);
        run(&fixture, way, 1, false, 1);
        stored = fixture.fates[FATE_STORED];
        if (way == MERGE)
            fixture.limits.merge_ids_max = 100;
        run(&fixture, way, 2, true, 1);
        assert_int_equal(fixture.fates[FATE_STORED], stored + 1);
        run(&fixture, way, 3, true, 1);
        run(&fixture, way, 1, false, 1);
        assert_int_equal(fixture.fates[FATE_STORED], stored + 1);
        assert_after(&fixture, way, "replayed twice", 1, 2);
        fixture_fini(&fixture);
    }
}

/* A letter for one reason, that would be one for another when it comes again. */
static void test_other_reason(void **state)
{
    struct fixture fixture;
    uint32_t       restriction;

    (void)state;
    begin(&fixture, MERGE);
    restriction = fixture_restrict(&fixture, &(struct catalog_restriction){ .action = CATALOG_DEAD_LETTER });
    run(&fixture, MERGE, 1, false, 1);
    fixture_unrestrict(&fixture, restriction);
    run(&fixture, MERGE, 1, false, 1);
    assert_after(&fixture, MERGE, "restricted before", 1, 1);
    fixture_fini(&fixture);
}

/* The whole role, over a start, and however many threads it has. */
static void test_restart(void **state)
{
    (void)state;
    for (int64_t threads = 1; threads <= 4; threads += 3) {
        struct site         site;
        struct people_place place;
        struct buf          dead;
        struct span         rest, bodies[200];
        struct row          row;
        struct arena       *arena = arena_new(1 << 16, 1 << 24);
        size_t              letters = 0;

        site_init(&site, 1000);
        site.options.threads = threads;
        for (uint32_t i = 0; i < 200; i++)
            bodies[i] = fixture_record(&site.maker, (struct record){ .kind = i % 2 == 0 ? RECORD_REJECTED : RECORD_EVENT,
                                                                     .rejection = i % 2 == 0 ? RECORD_REJECTED_NO_DISTINCT_ID : RECORD_REJECTED_NONE,
                                                                     .event = SPAN("view"), .distinct_id = SPAN("d"),
                                                                     .data = SPAN("{}"), .request = 9, .index = i }, arena);
        for (int times = 0; times < 3; times++) { /* twice before a start, and once after it */
            site_append(&site, bodies, 200);
            if (times > 0)
                site_finish(&site, &place);
        }
        dead = topic_bytes(&site, "dead_letters");
        for (rest = buf_span(&dead); row_next(&rest, &row);)
            letters++;
        assert_int_equal(letters, 100);
        assert_int_equal(place.counters[FATE_DEAD_LETTERED], 100);
        assert_int_equal(place.counters[FATE_STORED], 100);
        assert_int_equal(place.counters[FATE_DEDUPLICATED], 400);
        buf_fini(&dead);
        arena_free(arena);
        site_fini(&site);
    }
}

/* What would be taken today is a letter all the same, until somebody sends it again. */
static void test_limit_raised(void **state)
{
    struct fixture fixture;
    uint64_t       stored;

    (void)state;
    begin(&fixture, MERGE);
    run(&fixture, MERGE, 1, false, 1);
    stored = fixture.fates[FATE_STORED];
    fixture.limits.merge_ids_max = 100;
    run(&fixture, MERGE, 1, false, 1);
    assert_int_equal(fixture.fates[FATE_STORED], stored);
    assert_after(&fixture, MERGE, "with a higher limit", 1, 1);
    run(&fixture, MERGE, 2, true, 1);
    assert_int_equal(fixture.fates[FATE_STORED], stored + 1);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_way), cmocka_unit_test(test_replayed),
                                        cmocka_unit_test(test_other_reason), cmocka_unit_test(test_limit_raised),
                                        cmocka_unit_test(test_restart) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
