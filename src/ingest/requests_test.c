/* ingest/requests_test.c - what operators ask: when it is done, what it leaves, what it does not touch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "event/control.h"
#include "ingest/requests.h"
#include "ingest/testing.h"
#include "wire/time.h"

#define UNDO_US ((int64_t)24 * 3600 * 1000000)

static uint64_t next_number;
static int64_t  wait_us; /* the clock jumped; 0: it did not */

static struct span request_body(struct fixture *fixture, enum control_kind kind, unsigned flags, uint64_t request,
                                const char *const *ids)
{
    struct control control = { .kind = kind, .flags = flags, .project = 7, .asked_us = fixture->now_us,
                               .request = request, .by = SPAN("tester") };
    struct span    spans[8];
    uint8_t       *body;

    for (; ids != NULL && ids[control.id_count] != NULL; control.id_count++)
        spans[control.id_count] = span_text(ids[control.id_count]);
    body = arena_alloc(fixture->arena, control_bytes(&control, spans));
    control_write(&control, spans, body);
    return span_of(body, control_bytes(&control, spans));
}

/* One transaction: the request when there is one, then what is due. Gives the time of the next. */
static int64_t run(struct fixture *fixture, struct span body)
{
    struct requests   requests = { .arena = fixture->arena, .now_us = fixture->now_us, .undo_us = UNDO_US, .wait_us = wait_us,
                                   .sink = fixture_sink, .sink_ctx = fixture };
    struct raw_record record = { .mark = place_make(INPUT_CONTROL, next_number), .body = body };
    struct people_txn *txn;
    struct err         err = { 0 };
    int64_t            next_us, next_too_us;

    fixture_must(people_begin(fixture->people, true, &txn, &err), &err);
    if (body.bytes > 0) {
        next_number++;
        fixture_must(requests_take(&requests, txn, &record, 1, &err), &err);
    }
    fixture_must(requests_do(&requests, txn, &next_us, &err), &err);
    fixture_must(requests_next(txn, &next_too_us, &err), &err);
    assert_true(wait_us > 0 || next_us == next_too_us);
    fixture_must(people_commit(txn, &err), &err);
    return next_us;
}

static void event(struct fixture *fixture, const char *id)
{
    struct span body = fixture_record(fixture, (struct record){ .distinct_id = span_text(id), .event = SPAN("view"),
                                                                .data = SPAN("{}") }, fixture->arena);

    fixture_run(fixture, &body, 1);
}

static bool is_known(struct fixture *fixture, const char *id)
{
    struct people_txn *txn;
    struct person_link link;
    struct err         err = { 0 };
    int                got;

    fixture_must(people_begin(fixture->people, false, &txn, &err), &err);
    got = people_link_get(txn, 7, span_text(id), &link, &err);
    people_abort(txn);
    return got == 1 && link.person != 0;
}

static void last_receipt(struct fixture *fixture, uint64_t number, const char *kind, const char *state, int64_t version)
{
    size_t     count = fixture_count(fixture, ROW_RECEIPT);
    struct row row;

    for (size_t n = count; n-- > 0;) {
        assert_true(fixture_row(fixture, ROW_RECEIPT, n, &row));
        if ((uint64_t)row.cells[ROW_RECEIPT_ID].i64 != number)
            continue;
        assert_true(span_is(row.cells[ROW_RECEIPT_KIND].text, kind));
        assert_true(span_is(row.cells[ROW_RECEIPT_STATE].text, state));
        assert_true(span_is(row.cells[ROW_RECEIPT_ASKED_BY].text, "tester"));
        assert_true(row.cells[ROW_RECEIPT_VERSION].i64 == version);
        return;
    }
    fail_msg("no receipt of %d", (int)number);
}

static void deletions_wait(void **state)
{
    struct fixture fixture;

    (void)state;
    next_number = 0;
    fixture_init(&fixture);
    event(&fixture, "a");
    event(&fixture, "b");
    assert_true(run(&fixture, request_body(&fixture, CONTROL_DELETE, 0, 0, (const char *[]){ "a", NULL })) ==
                FIXTURE_NOW_US + UNDO_US);
    last_receipt(&fixture, 0, "delete", "asked", 1);
    fixture.now_us += UNDO_US - 1;
    (void)run(&fixture, SPAN(""));
    assert_true(is_known(&fixture, "a"));
    fixture.now_us++;
    assert_true(run(&fixture, SPAN("")) == REQUESTS_NEVER);
    assert_false(is_known(&fixture, "a"));
    assert_true(is_known(&fixture, "b"));
    last_receipt(&fixture, 0, "delete", "done", 3);
    (void)run(&fixture, request_body(&fixture, CONTROL_DELETE, CONTROL_NOW, 0, (const char *[]){ "a", NULL }));
    last_receipt(&fixture, 1, "delete", "nobody", 3);
    (void)run(&fixture, request_body(&fixture, CONTROL_DELETE, CONTROL_NOW | CONTROL_WITH_EVENTS, 0,
                                     (const char *[]){ "b", NULL }));
    last_receipt(&fixture, 2, "erase", "people done", 2);
    assert_false(is_known(&fixture, "b"));
    fixture_fini(&fixture);
}

/* The clock says that the undo window is over, but it jumped just now: until somebody could look nothing goes, but what was to go at once. */
static void a_clock_that_jumped_ends_no_undo_window(void **state)
{
    struct fixture fixture;

    (void)state;
    next_number = 0;
    fixture_init(&fixture);
    event(&fixture, "a");
    event(&fixture, "b");
    (void)run(&fixture, request_body(&fixture, CONTROL_DELETE, 0, 0, (const char *[]){ "a", NULL }));
    fixture.now_us += 30 * UNDO_US;
    wait_us = 1234567;
    assert_true(run(&fixture, SPAN("")) == fixture.now_us + wait_us);
    assert_true(is_known(&fixture, "a"));
    (void)run(&fixture, request_body(&fixture, CONTROL_DELETE, CONTROL_NOW, 0, (const char *[]){ "b", NULL }));
    assert_false(is_known(&fixture, "b"));
    assert_true(is_known(&fixture, "a"));
    wait_us = 0;
    (void)run(&fixture, SPAN(""));
    assert_false(is_known(&fixture, "a"));
    fixture_fini(&fixture);
}

static void deletions_are_taken_back(void **state)
{
    struct fixture fixture;

    (void)state;
    next_number = 0;
    fixture_init(&fixture);
    event(&fixture, "a");
    event(&fixture, "b");
    (void)run(&fixture, request_body(&fixture, CONTROL_DELETE, 0, 0, (const char *[]){ "a", NULL }));
    (void)run(&fixture, request_body(&fixture, CONTROL_DELETE, CONTROL_WITH_EVENTS, 0, (const char *[]){ "b", NULL }));
    (void)run(&fixture, request_body(&fixture, CONTROL_UNDELETE, 0, 0, NULL)); /* request 0 */
    last_receipt(&fixture, 0, "delete", "undone", 3);
    last_receipt(&fixture, 2, "undelete", "done", 3);
    (void)run(&fixture, request_body(&fixture, CONTROL_UNDELETE, 0, 0, NULL)); /* again; 1 is not meant by it */
    last_receipt(&fixture, 3, "undelete", "nobody", 3);
    fixture.now_us += UNDO_US;
    (void)run(&fixture, SPAN(""));
    assert_true(is_known(&fixture, "a"));
    assert_false(is_known(&fixture, "b"));
    (void)run(&fixture, request_body(&fixture, CONTROL_UNDELETE, 0, 1, NULL)); /* too late */
    last_receipt(&fixture, 4, "undelete", "nobody", 3);
    fixture_fini(&fixture);
}

static void splits_and_nonsense(void **state)
{
    struct fixture fixture;
    struct row     row;

    (void)state;
    next_number = 0;
    fixture_init(&fixture);
    event(&fixture, "a");
    (void)run(&fixture, request_body(&fixture, CONTROL_SPLIT, 0, 0, (const char *[]){ "a", "x", NULL }));
    last_receipt(&fixture, 0, "split", "done", 3);
    (void)run(&fixture, request_body(&fixture, CONTROL_SPLIT, 0, 0, (const char *[]){ "nobody", "a", NULL }));
    last_receipt(&fixture, 1, "split", "nobody", 3);
    (void)run(&fixture, SPAN("what is this")); /* told, and the next one is done */
    assert_true(fixture_row(&fixture, ROW_RECEIPT, fixture_count(&fixture, ROW_RECEIPT) - 1, &row));
    assert_true(span_is(row.cells[ROW_RECEIPT_STATE].text, "unreadable") && row.cells[ROW_RECEIPT_ID].i64 == 2);
    (void)run(&fixture, request_body(&fixture, CONTROL_DELETE, CONTROL_NOW, 0, (const char *[]){ "a", NULL }));
    assert_false(is_known(&fixture, "a"));
    fixture_fini(&fixture);
}

/* A day's look, `days` after the first; gives how many orders there are by now. */
static size_t look(struct fixture *fixture, uint32_t unit, int days)
{
    struct requests    requests = { .arena = fixture->arena, .now_us = FIXTURE_NOW_US + days * TIME_US_DAY, .unit = unit, .wait_us = wait_us,
                                    .sink = fixture_sink, .sink_ctx = fixture };
    struct people_txn *txn;
    struct err         err = { 0 };
    int64_t            next_us = REQUESTS_NEVER;

    fixture_must(people_begin(fixture->people, true, &txn, &err), &err);
    fixture_must(requests_expire(&requests, txn, fixture->snapshot, &next_us, &err), &err);
    fixture_must(people_commit(txn, &err), &err);
    assert_true(unit != 0 ? next_us == REQUESTS_NEVER : next_us > requests.now_us && next_us <= requests.now_us + 2 * TIME_US_DAY);
    return fixture_count(fixture, ROW_RECEIPT);
}

static void old_events_are_asked_to_go(void **state)
{
    /* Orders after each look: none on the first days, one a day then, none when days are missing or come again. */
    static const struct { int day; size_t orders; int64_t wait_us; } rows[] = {
        { 0, 0 }, { 1, 0 }, { 2, 1 }, { 2, 1 }, { 3, 2 }, { 4, 3 },
        { 9, 3 }, { 10, 3 }, { 11, 4 },                /* nothing ran for days */
        { 3661, 4 }, { 3661, 4 }, { 3662, 4 },         /* the clock jumps ten years, and stays so */
        { 12, 4 }, { 13, 4 }, { 14, 5 },               /* and is mended */
        { 15, 5, 3600000000 }, { 15, 5, 60 }, { 15, 6 }, /* a day began by a jump: an hour later */
    };
    struct fixture fixture;
    struct row     row;

    (void)state;
    fixture_init(&fixture);
    fixture_settings(&fixture, &(struct catalog_project){ .retention_days = 30 });
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wait_us = rows[i].wait_us;
        if (look(&fixture, 0, rows[i].day) != rows[i].orders || look(&fixture, 3, rows[i].day) != rows[i].orders)
            fail_msg("look %zu", i);
    }
    assert_true(fixture_row(&fixture, ROW_RECEIPT, 0, &row));
    assert_true(row.cells[ROW_RECEIPT_TEAM_ID].i64 == 7 && span_is(row.cells[ROW_RECEIPT_KIND].text, "expire"));
    assert_true(row.cells[ROW_RECEIPT_DUE_AT].i64 == (FIXTURE_NOW_US / TIME_US_DAY + 2 - 30) * TIME_US_DAY);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deletions_wait),
        cmocka_unit_test(a_clock_that_jumped_ends_no_undo_window),
        cmocka_unit_test(deletions_are_taken_back),
        cmocka_unit_test(splits_and_nonsense),
        cmocka_unit_test(old_events_are_asked_to_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
