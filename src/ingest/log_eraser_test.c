/* ingest/log_eraser_test.c - the walk over the log for persons that were erased, where a topic holds what this Penstock cannot read.
 * (What is emptied of which topic: tests/flow, with whole servers.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ingest/inputs.h"
#include "ingest/log_eraser.h"
#include "ingest/testing.h"

enum { PROJECT = 7, REQUEST = 3, STEPS_MAX = 50 };

struct place {
    struct fixture     fixture;
    struct log        *log;
    struct log_writer *events;
    struct log_eraser *eraser;
};

static void place_open(struct place *place)
{
    char       path[128];
    struct err err = { 0 };

    fixture_init(&place->fixture);
    (void)snprintf(path, sizeof path, "%s/log", place->fixture.folder);
    fixture_must(log_open(&(struct log_options){ .folder = path }, &place->log, &err), &err);
    fixture_must(log_writer_open(place->log, "events", 0, &(struct log_topic_options){ .segment_bytes = 1 << 20 }, &place->events, &err), &err);
    fixture_must(log_eraser_new(place->log, &place->eraser, &err), &err);
}

static void place_close(struct place *place)
{
    log_eraser_free(place->eraser);
    log_writer_close(place->events);
    log_close(place->log);
    fixture_fini(&place->fixture);
}

/* Somebody was there, and is erased: what the log held of him is asked for from now on. */
static void erase(struct place *place, const char *distinct_id)
{
    struct record          record = { .event = SPAN("view"), .distinct_id = span_text(distinct_id), .data = SPAN("{\"properties\":{\"$set\":{\"a\":1}}}") };
    struct people_txn     *txn;
    struct people_operated done;
    struct err             err = { 0 };
    struct span            body = fixture_record(&place->fixture, record, place->fixture.texts);

    fixture_run(&place->fixture, &body, 1);
    fixture_must(people_begin(place->fixture.people, true, &txn, &err), &err);
    assert_int_equal(people_delete(txn, PROJECT, span_text(distinct_id), REQUEST, fixture_sink, &place->fixture, &done, &err), 1);
    fixture_must(people_commit(txn, &err), &err);
}

/* version 0: as this Penstock writes it. */
static void append_event(struct place *place, const char *distinct_id, uint8_t version)
{
    struct log_batch *batch = log_batch_new();
    struct row        row;
    uint8_t           body[1024];
    uint64_t          base;
    struct err        err = { 0 };

    row_init(&row, ROW_EVENT);
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("view"));
    row_set_i64(&row, ROW_EVENT_TEAM_ID, PROJECT);
    row_set_text(&row, ROW_EVENT_DISTINCT_ID, span_text(distinct_id));
    assert_true(row_bytes(&row) <= sizeof body);
    row_write(&row, body);
    if (version != 0)
        body[0] = version;
    fixture_must(log_batch_add(batch, span_of(body, row_bytes(&row)), &err), &err);
    fixture_must(log_writer_append(place->events, batch, FIXTURE_NOW_US, &base, &err), &err);
    fixture_must(log_writer_sync(place->events, &err), &err);
    log_writer_publish(place->events, log_writer_end(place->events));
    fixture_must(log_cursor_store(place->log, "events", 0, "load", log_writer_end(place->events), &err), &err);
    log_batch_free(batch);
}

/* The bodies that stand in the topic: the first byte of each, '-' of an empty one. */
static void read_bodies(struct place *place, char *to, size_t room)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    size_t             count = 0;
    uint64_t           offset;
    struct span        body;

    fixture_must(log_reader_open(place->log, "events", 0, 0, &reader, &err), &err);
    while (log_reader_next(reader, &chunk, &err) == 1) {
        assert_int_equal(chunk.kind, LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body) && count + 1 < room)
            to[count++] = body.bytes == 0 ? '-' : (char)('0' + body.at[0]);
    }
    to[count] = '\0';
    log_reader_close(reader);
}

static int step(struct place *place, uint64_t *below, uint64_t *records, struct err *err)
{
    int rc = log_eraser_step(place->eraser, place->fixture.people, place->fixture.snapshot, below, records, err);

    assert_int_equal(log_writer_retain(place->events, 0, &(struct err){ 0 }), 0); /* so that the segment ends that the walk waits for */
    return rc;
}

/* newer: of the row in the middle, 0: it is one of ours. after: what the topic holds then. */
static const struct { const char *name; const char *middle; uint8_t newer; bool ends; uint64_t records; const char *after; } rows[] = {
    { "ours, of somebody else",             "other", 0,  true,  2, "-3-" },
    { "ours, of who was erased",            "gone",  0,  true,  3, "---" },
    { "of the next Penstock",               "other", 4,  false, 0, "-4-" },
    { "of the next one, and of the erased", "gone",  4,  false, 0, "-4-" },
    { "of a much newer one",                "other", 19, false, 0, "-C-" },
    { "of no version there will be",        "other", 20, true,  2, "-D-" },
};

/* Whose a newer row is cannot be said: the walk goes on, and never says that it is done. */
static void newer_rows_keep_the_walk_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct place place;
        uint64_t     below = 0, records = 0;
        unsigned     refused = 0;
        char         after[8];
        int          rc = 0;

        place_open(&place);
        append_event(&place, "gone", 0);
        append_event(&place, rows[i].middle, rows[i].newer);
        append_event(&place, "gone", 0);
        erase(&place, "gone");
        for (int n = 0; n < STEPS_MAX && rc != 1; n++) {
            struct err err = { 0 };

            rc = step(&place, &below, &records, &err);
            if (rc == 0)
                continue;
            if (rc < 0 && (err.kind != ERR_RETRY || strstr(err.text, "events") == NULL || strstr(err.text, "newer Penstock") == NULL))
                fail_msg("%s: %s", rows[i].name, err.text);
            refused += rc < 0;
        }
        read_bodies(&place, after, sizeof after);
        if (rc != (rows[i].ends ? 1 : -1) || (refused > 0) == rows[i].ends || records != rows[i].records ||
            below != (rows[i].ends ? REQUEST + 1 : 0) || strcmp(after, rows[i].after) != 0)
            fail_msg("%s: step %d, refused %u times, %d records, below %d, left %s", rows[i].name, rc, refused, (int)records, (int)below, after);
        place_close(&place);
    }
}

static bool any(void *ctx, uint64_t offset, struct span body)
{
    (void)ctx, (void)offset, (void)body;
    return true;
}

/* Who can read the row comes, and does what is to be done; a walk that begins anew passes what was emptied. */
static void the_newer_one_ends_it(void **state)
{
    struct place      place;
    struct log_erased erased;
    uint64_t          below = 0, records = 0;
    int               rc = 0;
    struct err        err = { 0 };

    (void)state;
    place_open(&place);
    append_event(&place, "gone", 0);
    append_event(&place, "gone", 4);
    erase(&place, "gone");
    for (int n = 0; n < STEPS_MAX && rc >= 0; n++)
        rc = step(&place, &below, &records, &err);
    assert_int_equal(rc, -1);
    fixture_must(log_erase(place.log, "events", 0, 0, 2, 0, any, NULL, &erased, &err), &err); /* the newer one */
    assert_int_equal(erased.records, 1);
    for (int n = 0; n < STEPS_MAX && rc != 1; n++)
        rc = step(&place, &below, &records, &err);
    assert_int_equal(rc, 1);
    assert_int_equal(below, REQUEST + 1);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_rows_keep_the_walk_open),
        cmocka_unit_test(the_newer_one_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
