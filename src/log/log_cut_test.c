/* log/log_cut_test.c - what is taken away of a log: its end by a cut, its beginning by retention; what is left is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "log/log_fixture_test_kit.h"

static void expect_whole(struct fixture *fix, uint64_t records)
{
    struct log_verify_result result;
    struct err               err;

    must(log_verify(fix->log, "raw", 0, NULL, NULL, &result, &err), &err);
    assert_int_equal(result.records_damaged, 0);
    assert_int_equal(result.records, records);
}

/* Three segments and more, frames of 7: every kind of place to cut at. */
static void cut_takes_back(void **state)
{
    static const uint64_t    ends[] = { 0, 1, 7, 8, 13, 14, 139, 140, 141, 300, 301, 349, 350 };
    struct fixture          *fix = *state;
    struct log_topic_options options = { .segment_bytes = 64 << 10 };
    struct err               err;

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (int codec = 0; codec < 2; codec++) {
            options.codec = (enum log_codec)codec;
            open_writer(fix, &options);
            assert_int_equal(log_writer_cut(fix->writer, 1, &err), -1);
            assert_int_equal(err.kind, ERR_CORRUPT);
            for (int k = 0; k < 50; k++)
                append(fix, 7, 900);
            reopen_writer(fix, &options);
            must(log_writer_cut(fix->writer, ends[i], &err), &err);
            assert_int_equal(log_writer_end(fix->writer), ends[i]);
            expect_records(fix, 0, ends[i]);
            append(fix, 7, 100);
            expect_records(fix, 0, ends[i] + 7);
            reopen_writer(fix, &options);
            assert_int_equal(log_writer_end(fix->writer), ends[i] + 7);
            expect_records(fix, 0, ends[i] + 7);
            expect_whole(fix, ends[i] + 7);
            log_writer_close(fix->writer);
            fix->writer = NULL;
            kit_remove(fix->path);
            log_close(fix->log);
            struct log_options again = { fix->path };
            must(log_open(&again, &fix->log, &err), &err);
        }
}

static void retention_keeps_what_is_needed(void **state)
{
    static const char *const needed[] = { "ingest", NULL };
    struct fixture          *fix = *state;
    struct log_topic_options options = { .segment_bytes = 64 << 10, .retention_bytes = 150000, .cursors_needed = needed };
    struct log_reader       *reader, *slow;
    struct log_chunk         chunk;
    struct err               err;
    uint64_t                 start;

    open_writer(fix, &options);
    for (int i = 0; i < 100; i++)
        append(fix, 10, 900);
    must(log_reader_open(fix->log, "raw", 0, 0, &reader, &err), &err);
    must(log_reader_open(fix->log, "raw", 0, 0, &slow, &err), &err);
    assert_int_equal(log_reader_next(slow, &chunk, &err), 1); /* has the first segment open */
    must(log_writer_retain(fix->writer, 5000, &err), &err);
    assert_int_equal(log_reader_start(reader), 0); /* ingest has no cursor yet: all is needed */
    must(log_cursor_store(fix->log, "raw", 0, "ingest", 500, &err), &err);
    must(log_writer_retain(fix->writer, 5000, &err), &err);
    start = log_reader_start(reader);
    assert_in_range(start, 400, 500);
    expect_records(fix, 500, 1000);
    must(log_cursor_store(fix->log, "raw", 0, "ingest", 1000, &err), &err);
    must(log_cursor_store(fix->log, "raw", 0, "other", 700, &err), &err);
    must(log_writer_retain(fix->writer, 5000, &err), &err);
    start = log_reader_start(reader);
    assert_in_range(start, 600, 700);
    must(log_cursor_store(fix->log, "raw", 0, "other", 1000, &err), &err);
    must(log_writer_retain(fix->writer, 5000, &err), &err);
    start = log_reader_start(reader);
    assert_in_range(start, 830, 999);
    /* A reader from the beginning is told what it missed; then everything is there. */
    assert_int_equal(log_reader_next(reader, &chunk, &err), 1);
    assert_int_equal(chunk.kind, LOG_GAP);
    assert_string_equal(chunk.why, "expired");
    assert_int_equal(chunk.base, 0);
    assert_int_equal(chunk.count, start);
    expect_records(fix, start, 1000);
    /* One that holds a deleted segment open reads it to its end first. */
    uint64_t seen = chunk.count, records = 10;
    while (log_reader_next(slow, &chunk, &err) == 1) {
        if (chunk.kind == LOG_GAP) {
            assert_string_equal(chunk.why, "expired");
            assert_int_equal(chunk.base, records);
        }
        records = chunk.base + chunk.count;
    }
    assert_int_equal(records, 1000);
    assert_true(seen > 0);
    log_reader_close(slow);
    log_reader_close(reader);
    reopen_writer(fix, &options);
    append(fix, 5, 900);
    expect_records(fix, start, 1005);
}

static void retention_by_age(void **state)
{
    struct fixture          *fix = *state;
    struct log_topic_options options = { .segment_bytes = 64 << 10, .retention_us = 1000000 };
    struct log_reader       *reader;
    struct err               err;

    open_writer(fix, &options); /* the appends below are stamped 1000 us after 1970 */
    for (int i = 0; i < 40; i++)
        append(fix, 10, 900);
    must(log_reader_open(fix->log, "raw", 0, 0, &reader, &err), &err);
    must(log_writer_retain(fix->writer, 1000 + 1000000, &err), &err);
    assert_int_equal(log_reader_start(reader), 0);
    must(log_writer_retain(fix->writer, 1000 + 1000001, &err), &err);
    assert_in_range(log_reader_start(reader), 330, 399);
    expect_records(fix, log_reader_start(reader), 400);
    log_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(cut_takes_back),
        ROW(retention_keeps_what_is_needed),
        ROW(retention_by_age),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
