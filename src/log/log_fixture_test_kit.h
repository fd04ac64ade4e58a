/* log/log_fixture_test_kit.h - a log in a folder of its own with one writer of topic raw, for tests of the embedded backend: batches
 * whose records can be checked, appended, and read back. Included by tests only, after cmocka.h. */
#ifndef PENSTOCK_LOG_LOG_FIXTURE_TEST_KIT_H
#define PENSTOCK_LOG_LOG_FIXTURE_TEST_KIT_H

#include "log/log_test_kit.h"

struct fixture {
    char               path[64];
    struct log        *log;
    struct log_batch  *batch;
    struct log_writer *writer;
};

static inline int setup(void **state)
{
    struct fixture    *fix = calloc(1, sizeof *fix);
    struct log_options options = { fix->path };
    struct err         err;

    kit_folder(fix->path);
    assert_int_equal(log_open(&options, &fix->log, &err), 0);
    fix->batch = log_batch_new();
    *state = fix;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *fix = *state;

    log_writer_close(fix->writer);
    log_batch_free(fix->batch);
    log_close(fix->log);
    kit_remove(fix->path);
    free(fix);
    return 0;
}

static inline void must(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s: %s", err_kind_name(err->kind), err->text);
}

static inline void open_writer(struct fixture *fix, const struct log_topic_options *options)
{
    struct err err;

    must(log_writer_open(fix->log, "raw", 0, options, &fix->writer, &err), &err);
}

static inline void reopen_writer(struct fixture *fix, const struct log_topic_options *options)
{
    log_writer_close(fix->writer);
    fix->writer = NULL;
    open_writer(fix, options);
}

/* One batch of `count` records of body_bytes each, whose numbers are their offsets; synced and published. */
static inline void append(struct fixture *fix, uint32_t count, size_t body_bytes)
{
    uint64_t   base = log_writer_end(fix->writer), got;
    struct err err;

    log_batch_reset(fix->batch);
    for (uint32_t i = 0; i < count; i++)
        kit_add(fix->batch, body_bytes, base + i);
    must(log_writer_append(fix->writer, fix->batch, 1000, &got, &err), &err);
    assert_int_equal(got, base);
    must(log_writer_sync(fix->writer, &err), &err);
    log_writer_publish(fix->writer, log_writer_end(fix->writer));
}

/* Reads [from, to) and finds each record right; a gap is a failure. */
static inline void expect_records(struct fixture *fix, uint64_t from, uint64_t to)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err;
    uint64_t           next = from, offset;
    struct span        body;
    int                rc;

    must(log_reader_open(fix->log, "raw", 0, from, &reader, &err), &err);
    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        assert_int_equal(chunk.kind, LOG_RECORDS);
        assert_int_equal(chunk.base, next);
        while (log_chunk_next(&chunk, &offset, &body)) {
            assert_int_equal(offset, next);
            assert_true(kit_is_right(body, offset));
            next++;
        }
    }
    must(rc, &err);
    assert_int_equal(next, to);
    log_reader_close(reader);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
