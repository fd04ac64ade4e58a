/* log/log_test.c - the promises of log.h on the embedded backend, simple to complex. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/stat.h>

#include "log/log_fixture_test_kit.h"

static void records_come_back(void **state)
{
    struct fixture *fix = *state;

    open_writer(fix, NULL);
    append(fix, 1, 16);
    append(fix, 100, 100);
    append(fix, 3, 17);
    expect_records(fix, 0, 104);
    expect_records(fix, 50, 104);
    expect_records(fix, 103, 104);
    expect_records(fix, 104, 104);
}

static void what_is_not_published_is_not_seen(void **state)
{
    struct fixture *fix = *state;
    uint64_t        base;
    struct err      err;

    open_writer(fix, NULL);
    append(fix, 10, 64);
    log_batch_reset(fix->batch);
    for (uint64_t i = 10; i < 20; i++)
        kit_add(fix->batch, 64, i);
    must(log_writer_append(fix->writer, fix->batch, 1, &base, &err), &err);
    expect_records(fix, 0, 10);
    must(log_writer_sync(fix->writer, &err), &err);
    expect_records(fix, 0, 10);
    log_writer_publish(fix->writer, 15); /* inside the frame */
    expect_records(fix, 0, 15);
    expect_records(fix, 12, 15);
    log_writer_publish(fix->writer, 20);
    expect_records(fix, 0, 20);
}

static void a_log_continues_after_reopening(void **state)
{
    struct fixture *fix = *state;

    open_writer(fix, NULL);
    for (int i = 0; i < 5; i++) {
        append(fix, 7, 200);
        reopen_writer(fix, NULL);
        assert_int_equal(log_writer_end(fix->writer), (uint64_t)7 * (uint64_t)(i + 1));
        expect_records(fix, 0, log_writer_end(fix->writer));
    }
}

static void segments_roll(void **state)
{
    struct fixture          *fix = *state;
    struct log_topic_options options = { .segment_bytes = 64 << 10 };

    open_writer(fix, &options);
    for (int i = 0; i < 100; i++)
        append(fix, 5, 1000);
    expect_records(fix, 0, 500);
    expect_records(fix, 333, 500);
    reopen_writer(fix, &options);
    append(fix, 5, 1000);
    expect_records(fix, 0, 505);
}

static void small_and_huge_records(void **state)
{
    struct fixture          *fix = *state;
    struct log_topic_options options = { .segment_bytes = 1 << 20 };

    open_writer(fix, &options);
    append(fix, 20000, 16);
    append(fix, 1, LOG_RECORD_BYTES_MAX);
    append(fix, 2, 3 << 20);
    append(fix, 20000, 33);
    expect_records(fix, 0, 40003);
    reopen_writer(fix, &options);
    expect_records(fix, 20000, 40003);
}

/* Where records end is odd; if the zeros ahead ended so too, all that follow would go through the page cache. */
static void zeros_ahead_end_on_pages(void **state)
{
    struct fixture *fix = *state;
    char            file[128];
    struct stat     st = { 0 };

    open_writer(fix, NULL);
    append(fix, 3, 1001);
    (void)snprintf(file, sizeof file, "%s/raw/0/%020d.seg", fix->path, 0);
    for (int i = 0; i < 3000 && st.st_size <= 8 << 20; i++) { /* a piece of them after each sync: what they need soon is less */
        append(fix, 1, 1001);
        usleep(10000);
        assert_int_equal(stat(file, &st), 0);
    }
    assert_true(st.st_size > 8 << 20);
    assert_int_equal(st.st_size % 4096, 0);
}

static void lz4_topics(void **state)
{
    struct fixture          *fix = *state;
    struct log_topic_options options = { .codec = LOG_CODEC_LZ4, .segment_bytes = 256 << 10 };

    open_writer(fix, &options);
    append(fix, 100, 1000);
    append(fix, 1, 16); /* gets no smaller: stored as it is */
    for (int i = 0; i < 200; i++)
        append(fix, 50, 600);
    reopen_writer(fix, &options);
    append(fix, 10, 500);
    expect_records(fix, 0, 10111);
    expect_records(fix, 57, 10111);
    reopen_writer(fix, NULL); /* the codec is the frame's: a topic may change it */
    append(fix, 10, 500);
    expect_records(fix, 5000, 10121);
}

static void batches_are_bounded_and_rewind(void **state)
{
    struct fixture       *fix = *state;
    struct log_batch_mark mark;
    struct err            err;

    assert_null(log_batch_begin(fix->batch, LOG_RECORD_BYTES_MAX + 1));
    kit_add(fix->batch, 100, 0);
    mark = log_batch_mark(fix->batch);
    kit_add(fix->batch, 300, 77);
    assert_non_null(log_batch_begin(fix->batch, 5000)); /* begun and never ended: forgotten */
    log_batch_rewind(fix->batch, mark);
    assert_int_equal(log_batch_count(fix->batch), 1);
    kit_add(fix->batch, 50, 1);
    open_writer(fix, NULL);
    uint64_t base;
    must(log_writer_append(fix->writer, fix->batch, 1, &base, &err), &err);
    must(log_writer_sync(fix->writer, &err), &err);
    log_writer_publish(fix->writer, 2);
    expect_records(fix, 0, 2);
    log_batch_reset(fix->batch);
    assert_non_null(log_batch_begin(fix->batch, LOG_RECORD_BYTES_MAX));
    log_batch_end(fix->batch, LOG_RECORD_BYTES_MAX);
    assert_null(log_batch_begin(fix->batch, LOG_RECORD_BYTES_MAX));
    struct span too_much = { (const uint8_t *)fix, LOG_RECORD_BYTES_MAX };
    assert_int_equal(log_batch_add(fix->batch, too_much, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
}

static void a_second_writer_is_refused(void **state)
{
    struct fixture    *fix = *state;
    struct log_writer *second;
    struct err         err;
    char               pid[16];

    open_writer(fix, NULL);
    assert_int_equal(log_writer_open(fix->log, "raw", 0, NULL, &second, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    (void)snprintf(pid, sizeof pid, " %d ", (int)getpid());
    assert_non_null(strstr(err.text, pid));
    must(log_writer_open(fix->log, "raw", 1, NULL, &second, &err), &err); /* another partition is free */
    log_writer_close(second);
}

static void names_are_checked(void **state)
{
    static const char *const names[] = { "", "Raw", "../x", "a/b", "a.b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
    struct fixture          *fix = *state;
    struct log_writer       *writer;
    struct log_reader       *reader;
    struct err               err;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(log_writer_open(fix->log, names[i], 0, NULL, &writer, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_int_equal(log_reader_open(fix->log, names[i], 0, 0, &reader, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_int_equal(log_cursor_store(fix->log, "raw", 0, names[i], 1, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
    }
}

static void cursors_are_kept(void **state)
{
    struct fixture *fix = *state;
    uint64_t        offset = 5;
    struct err      err;

    assert_int_equal(log_cursor_load(fix->log, "raw", 0, "ingest", &offset, &err), 0);
    must(log_cursor_store(fix->log, "raw", 0, "ingest", 17, &err), &err);
    must(log_cursor_store(fix->log, "raw", 0, "ingest", 23, &err), &err);
    must(log_cursor_store(fix->log, "raw", 0, "load", UINT64_MAX - 1, &err), &err);
    assert_int_equal(log_cursor_load(fix->log, "raw", 0, "ingest", &offset, &err), 1);
    assert_int_equal(offset, 23);
    assert_int_equal(log_cursor_load(fix->log, "raw", 0, "load", &offset, &err), 1);
    assert_int_equal(offset, UINT64_MAX - 1);
    assert_int_equal(log_cursor_load(fix->log, "raw", 1, "load", &offset, &err), 0);
}

static void a_topic_that_does_not_exist_is_empty(void **state)
{
    struct fixture    *fix = *state;
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err;

    must(log_reader_open(fix->log, "raw", 0, 0, &reader, &err), &err);
    assert_int_equal(log_reader_next(reader, &chunk, &err), 0);
    assert_false(log_reader_wait(reader, 1000));
    open_writer(fix, NULL);
    append(fix, 2, 40);
    assert_true(log_reader_wait(reader, 2000000));
    assert_int_equal(log_reader_next(reader, &chunk, &err), 1);
    assert_int_equal(chunk.count, 2);
    log_reader_close(reader);
}

struct infos {
    size_t                    count, cursor_count;
    struct log_partition_info info[4];
    struct log_cursor_info    cursor;
};

static void infos_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors, size_t cursor_count)
{
    struct infos *infos = ctx;

    assert_true(infos->count < 4);
    infos->info[infos->count++] = *info;
    infos->cursor_count += cursor_count;
    if (cursor_count > 0)
        infos->cursor = cursors[0];
}

static void info_tells_what_is_there(void **state)
{
    struct fixture    *fix = *state;
    struct infos       infos = { 0 };
    struct log_writer *other;
    struct err         err;

    must(log_info(fix->log, infos_seen, &infos, &err), &err);
    assert_int_equal(infos.count, 0);
    open_writer(fix, NULL);
    append(fix, 10, 50);
    must(log_writer_open(fix->log, "events", 3, NULL, &other, &err), &err);
    must(log_cursor_store(fix->log, "raw", 0, "ingest", 4, &err), &err);
    must(log_info(fix->log, infos_seen, &infos, &err), &err);
    log_writer_close(other);
    assert_int_equal(infos.count, 2);
    assert_string_equal(infos.info[0].topic, "events");
    assert_int_equal(infos.info[0].partition, 3);
    assert_string_equal(infos.info[1].topic, "raw");
    assert_int_equal(infos.info[1].end, 10);
    assert_int_equal(infos.info[1].segments, 1);
    assert_int_equal(infos.info[1].epoch, 1);
    assert_true(infos.info[1].bytes > 0);
    assert_int_equal(infos.cursor_count, 1);
    assert_string_equal(infos.cursor.consumer, "ingest");
    assert_int_equal(infos.cursor.offset, 4);
}

/* --- group commit ------------------------------------------------------------------------------- */

enum { COMMIT_THREADS = 2, COMMIT_BATCHES = 200, COMMIT_RECORDS = 5 };

struct committed {
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    struct log_commit *commit;
    unsigned           answered, submitted;
    uint64_t           next_base;
};

static void committed_done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct committed *all = ctx;

    assert_true(result->ok);
    pthread_mutex_lock(&all->lock);
    assert_int_equal(result->base, all->next_base); /* in order, no holes */
    all->next_base += log_batch_count(batch_take);
    all->answered++;
    pthread_cond_signal(&all->wake);
    pthread_mutex_unlock(&all->lock);
    log_batch_free(batch_take);
}

static void *submit_main(void *arg)
{
    struct committed *all = arg;

    for (int i = 0; i < COMMIT_BATCHES; i++) {
        struct log_batch *batch = log_batch_new();
        struct err        err;

        for (int k = 0; k < COMMIT_RECORDS; k++)
            kit_add(batch, 500, (uint64_t)k);
        if (i % 3 == 0 && log_commit_claim(all->commit, batch)) {
            log_commit_write(all->commit, batch, committed_done, all);
            continue;
        }
        while (log_commit_submit(all->commit, batch, committed_done, all, &err) < 0) {
            assert_int_equal(err.kind, ERR_FULL);
            (void)usleep(500);
        }
    }
    return NULL;
}

static void threads_share_a_sync(void **state)
{
    struct fixture           *fix = *state;
    struct log_commit_options options = { .pending_bytes_max = 64 << 10 };
    struct log_topic_options  topic = { .segment_bytes = 256 << 10 };
    struct committed          all = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
    pthread_t                 threads[COMMIT_THREADS];
    struct log_reader        *reader;
    struct log_chunk          chunk;
    struct err                err;
    uint64_t                  seen = 0, offset;
    struct span               body;

    open_writer(fix, &topic);
    must(log_commit_start(fix->writer, &options, &all.commit, &err), &err);
    fix->writer = NULL;
    for (int i = 0; i < COMMIT_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_main, &all), 0);
    must(log_reader_open(fix->log, "raw", 0, 0, &reader, &err), &err);
    while (seen < COMMIT_THREADS * COMMIT_BATCHES * COMMIT_RECORDS) {
        int rc = log_reader_next(reader, &chunk, &err);

        must(rc, &err);
        if (rc == 0) {
            assert_true(log_reader_wait(reader, 10000000));
            continue;
        }
        assert_int_equal(chunk.kind, LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body)) {
            assert_int_equal(offset, seen);
            assert_true(kit_is_right(body, offset % COMMIT_RECORDS));
            seen++;
        }
    }
    for (int i = 0; i < COMMIT_THREADS; i++)
        pthread_join(threads[i], NULL);
    log_commit_stop(all.commit);
    assert_int_equal(all.answered, COMMIT_THREADS * COMMIT_BATCHES);
    log_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(records_come_back),
        ROW(what_is_not_published_is_not_seen),
        ROW(a_log_continues_after_reopening),
        ROW(segments_roll),
        ROW(small_and_huge_records),
        ROW(zeros_ahead_end_on_pages),
        ROW(lz4_topics),
        ROW(batches_are_bounded_and_rewind),
        ROW(a_second_writer_is_refused),
        ROW(names_are_checked),
        ROW(cursors_are_kept),
        ROW(a_topic_that_does_not_exist_is_empty),
        ROW(info_tells_what_is_there),
        ROW(threads_share_a_sync),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
