/* parts: kafka
 *
 * log/kafka_log_cluster_test.c - topics with one writer, and with many, at a real broker: what was not recorded is never seen,
 * late writers are nobody, readers begin anywhere, and damage has a size. Names are new ones in each test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/kafka_client.h"
#include "log/kafka_frame.h"
#include "log/kafka_producer.h"
#include "log/kafka_reader.h"
#include "log/kafka_writer.h"
#include "log/log_batch.h"

#define MUST(call) do { if ((call) < 0) fail_msg("%s: %s", #call, err.text); } while (0)
enum { PATIENCE_US = 120000000 };

static struct log_kafka_options kafka;
static char                     prefix[80];
static struct err               err;

static struct log *log_make(void)
{
    static unsigned turn;
    struct log     *log;

    kafka = (struct log_kafka_options){ .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = prefix, .partitions = 1, .replication = 1 };
    if (kafka.brokers == NULL)
        fail_msg("PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...");
    (void)snprintf(prefix, sizeof prefix, "t%d_%lld_%u.", (int)getpid(), (long long)clock_wall_us(), turn++);
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
    return log;
}

/* Records whose text is their number in the one true history. */
static void batch_fill(struct log_batch *batch, const char *who, uint64_t from, uint32_t count)
{
    log_batch_reset(batch);
    for (uint32_t i = 0; i < count; i++) {
        char text[64];
        int  bytes = snprintf(text, sizeof text, "%s %llu", who, (unsigned long long)(from + i));

        MUST(log_batch_add(batch, span_of(text, (size_t)bytes), &err));
    }
}

static struct log_writer *writer_at(struct log *log, uint64_t epoch, uint64_t committed, uint64_t end)
{
    const struct log_topic_options options = { .codec = LOG_CODEC_LZ4, .epoch = epoch, .epoch_committed = committed };
    struct log_writer             *writer;

    MUST(log_writer_open(log, "events", 0, &options, &writer, &err));
    MUST(log_writer_cut(writer, end, &err));
    log_writer_publish(writer, end);
    return writer;
}

/* Appends and syncs; whether it counts is the caller's. */
static void write_some(struct log_writer *writer, const char *who, uint32_t count)
{
    struct log_batch *batch = log_batch_new();
    uint64_t          base;

    batch_fill(batch, who, log_writer_end(writer), count);
    MUST(log_writer_append(writer, batch, clock_wall_us(), &base, &err));
    assert_int_equal(base + count, log_writer_end(writer));
    MUST(log_writer_sync(writer, &err));
    log_batch_free(batch);
}

/* Reads [from, to): every record must be `who` and its number; gaps (of `why`, when it is not NULL) are counted. */
static uint64_t must_read(struct log *log, const char *topic, uint64_t from, uint64_t to, const char *who, const char *why)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    uint64_t           at = from, offset, gaps = 0;
    int64_t            until_us = clock_mono_us() + PATIENCE_US;
    struct span        body;

    MUST(log_reader_open(log, topic, 0, from, &reader, &err));
    while (at < to) {
        int rc = log_reader_next(reader, &chunk, &err);

        if (rc < 0)
            fail_msg("reading at %llu: %s", (unsigned long long)at, err.text);
        if (clock_mono_us() > until_us)
            fail_msg("nothing more came after %llu of %llu", (unsigned long long)at, (unsigned long long)to);
        if (rc == 0) {
            (void)log_reader_wait(reader, 100000);
            continue;
        }
        assert_int_equal(chunk.base, at);
        if (chunk.kind == LOG_GAP) {
            if (why == NULL)
                fail_msg("a gap (%s) of %u at %llu", chunk.why, chunk.count, (unsigned long long)chunk.base);
            assert_string_equal(chunk.why, why);
            gaps += chunk.count;
            at += chunk.count;
            continue;
        }
        while (log_chunk_next(&chunk, &offset, &body)) {
            char text[64];
            int  bytes = snprintf(text, sizeof text, "%s %llu", who, (unsigned long long)offset);

            assert_int_equal(offset, at);
            if (body.bytes != (size_t)bytes || memcmp(body.at, text, body.bytes) != 0)
                fail_msg("record %llu is \"%.*s\"", (unsigned long long)offset, (int)body.bytes, (const char *)body.at);
            at++;
        }
    }
    assert_int_equal(at, to);
    /* and nothing behind it */
    assert_false(log_reader_wait(reader, 300000));
    log_reader_close(reader);
    return gaps;
}

static void what_was_not_recorded_is_never_seen(void **state)
{
    struct log        *log = log_make();
    struct log_writer *one, *two, *three;

    (void)state;
    one = writer_at(log, 7, 0, 0);
    write_some(one, "true", 100);
    log_writer_publish(one, 100);
    must_read(log, "events", 0, 100, "true", NULL);
    write_some(one, "lost", 50); /* its transaction fails */
    log_writer_close(one);
    must_read(log, "events", 0, 100, "true", NULL);
    two = writer_at(log, 8, 7, 100);
    must_read(log, "events", 0, 100, "true", NULL);
    write_some(two, "true", 30);
    must_read(log, "events", 0, 100, "true", NULL);
    log_writer_close(two); /* recorded, and dead before it said so */
    three = writer_at(log, 9, 8, 130);
    must_read(log, "events", 0, 130, "true", NULL);
    must_read(log, "events", 99, 130, "true", NULL);
    must_read(log, "events", 130, 130, "true", NULL);
    log_writer_close(three);
    log_close(log);
}

/* A writer that was stopped for a while goes on as if nothing had been: its frames stand at the same offsets as the true ones,
 * before and behind them. */
static void late_writers_are_nobody(void **state)
{
    struct log        *log = log_make();
    struct log_writer *one = writer_at(log, 7, 0, 0), *two;

    (void)state;
    write_some(one, "true", 10);
    log_writer_publish(one, 10);
    two = writer_at(log, 8, 7, 10);
    write_some(one, "late", 20);
    write_some(two, "true", 5);
    write_some(one, "late", 20);
    log_writer_publish(two, 15);
    write_some(one, "late", 20);
    write_some(two, "true", 5);
    log_writer_publish(two, 20);
    for (uint64_t from = 0; from <= 20; from += 6)
        must_read(log, "events", from, 20, "true", NULL);
    log_writer_close(one);
    log_writer_close(two);
    log_close(log);
}

static void a_writer_again_in_the_same_process(void **state)
{
    struct log        *log = log_make();
    struct log_writer *writer;
    uint64_t           end = 0, committed = 0;

    (void)state;
    for (uint64_t epoch = 1; epoch <= 20; epoch++) {
        writer = writer_at(log, epoch, committed, end);
        write_some(writer, epoch % 3 == 0 ? "lost" : "true", 7);
        if (epoch % 3 != 0) {
            end += 7;
            committed = epoch;
            if (epoch % 2 == 0)
                log_writer_publish(writer, end);
        }
        log_writer_close(writer);
    }
    writer = writer_at(log, 21, committed, end);
    must_read(log, "events", 0, end, "true", NULL);
    log_writer_close(writer);
    log_close(log);
}

/* About 1,100 messages of `events`, so that readers look for their place, among those of writers that came too late. The end. */
static uint64_t write_many(struct log *log)
{
    struct log_writer *one = writer_at(log, 7, 0, 0), *late = writer_at(log, 6, 0, 0);
    struct log_batch  *batch = log_batch_new();
    uint64_t           end = 0, base;

    for (int i = 0; i < 1000; i++) {
        batch_fill(batch, "true", end, (uint32_t)(1 + i % 5));
        MUST(log_writer_append(one, batch, clock_wall_us(), &base, &err));
        if (i % 50 == 49) {
            batch_fill(batch, "late", log_writer_end(late), 3);
            MUST(log_writer_append(late, batch, clock_wall_us(), &base, &err));
            MUST(log_writer_sync(late, &err));
        }
        end = log_writer_end(one);
        if (i % 10 == 9) {
            MUST(log_writer_sync(one, &err));
            log_writer_publish(one, end);
        }
    }
    MUST(log_writer_sync(one, &err));
    log_writer_close(one);
    log_writer_close(late);
    log_batch_free(batch);
    return end;
}

static void readers_begin_anywhere(void **state)
{
    struct log        *log = log_make();
    struct log_reader *reader;
    uint64_t           end = write_many(log), told;

    (void)state;
    for (uint64_t from = 0; from < end; from += 1 + 7 * from)
        must_read(log, "events", from, end, "true", NULL);
    must_read(log, "events", end - 1, end, "true", NULL);
    MUST(log_reader_open(log, "events", 0, 0, &reader, &err));
    MUST(log_reader_end(reader, &told, &err));
    assert_int_equal(told, end);
    assert_int_equal(log_reader_start(reader), 0);
    log_reader_close(reader);
    log_close(log);
}

/* What a cursor says of where a place is spares the looking, and may be wrong. */
static void hints_are_used_and_not_believed(void **state)
{
    static const int64_t hints[] = { 1, 31, 33, 300, 600, 1000, 1050, 100000 };
    struct log          *log = log_make();
    struct kafka_log    *kafka_log = kafka_log_of(log);
    uint64_t             end = write_many(log), froms[] = { 1, 100, end / 2, end - 40, end - 1 };
    struct log_reader   *reader;
    char                 name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    uint64_t             offset;
    int64_t              message;

    (void)state;
    MUST(kafka_topic_name(kafka_log, "events", name, &err));
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        for (size_t k = 0; k < sizeof froms / sizeof *froms; k++) {
            kafka_places_set(kafka_log, name, 0, 0, hints[i]);
            must_read(log, "events", froms[k], end, "true", NULL);
        }
    /* One process has read up to the middle and says so; the next begins there without looking. */
    MUST(log_reader_open(log, "events", 0, end / 2, &reader, &err));
    while (log_reader_next(reader, &(struct log_chunk){ 0 }, &err) != 1)
        (void)log_reader_wait(reader, 100000);
    message = kafka_places_get(kafka_log, name, 0);
    assert_true(message > 100);
    offset = kafka_reader_of(reader)->next;
    while (log_cursor_store(log, "events", 0, "load", offset, &err) < 0)
        usleep(100000);
    log_reader_close(reader);
    log_close(log);
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
    while (log_cursor_load(log, "events", 0, "load", &offset, &err) != 1)
        usleep(100000);
    MUST(log_reader_open(log, "events", 0, offset, &reader, &err));
    while (log_reader_next(reader, &(struct log_chunk){ 0 }, &err) != 1)
        (void)log_reader_wait(reader, 100000);
    assert_int_equal(kafka_reader_of(reader)->began_at, message - KAFKA_PLACE_NEAR);
    log_reader_close(reader);
    log_close(log);
}

static void large_batches_become_frames(void **state)
{
    static const size_t sizes[] = { 3000000, 900000, 10, 0, 2500000, 700000, 700000, 4 };
    struct log         *log = log_make();
    struct log_writer  *writer = writer_at(log, 7, 0, 0);
    struct log_batch   *batch = log_batch_new();
    struct log_reader  *reader;
    struct log_chunk    chunk;
    struct span         body;
    uint64_t            base, offset, got = 0, random = 88172645463325252u;
    int64_t             until_us = clock_mono_us() + PATIENCE_US;
    uint8_t            *noise = malloc(3000000);

    (void)state;
    for (size_t i = 0; i < 3000000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        noise[i] = (uint8_t)random; /* nothing makes it smaller */
    }
    for (size_t i = 0; i < 8; i++)
        MUST(log_batch_add(batch, span_of(noise + i, sizes[i] - (sizes[i] > i ? i : 0)), &err));
    MUST(log_writer_append(writer, batch, clock_wall_us(), &base, &err));
    MUST(log_writer_sync(writer, &err));
    log_writer_publish(writer, 8);
    MUST(log_reader_open(log, "events", 0, 0, &reader, &err));
    while (got < 8) {
        int rc = log_reader_next(reader, &chunk, &err);

        MUST(rc);
        assert_true(clock_mono_us() < until_us);
        if (rc == 0)
            (void)log_reader_wait(reader, 100000);
        while (rc == 1 && log_chunk_next(&chunk, &offset, &body)) {
            assert_int_equal(offset, got);
            assert_int_equal(body.bytes, sizes[got] - (sizes[got] > got ? got : 0));
            assert_memory_equal(body.at, noise + got, body.bytes);
            got++;
        }
    }
    log_reader_close(reader);
    log_batch_free(batch);
    log_writer_close(writer);
    free(noise);
    log_close(log);
}

/* --- damage ------------------------------------------------------------------------------------- */

static void on_landed(struct kafka_delivery *delivery, rd_kafka_resp_err_t error)
{
    (void)delivery;
    assert_int_equal(error, 0);
}

/* A message made by hand. */
static void send_raw(struct log *of, const char *topic, const void *bytes, size_t size)
{
    static struct kafka_delivery delivery = { on_landed };
    struct kafka_log            *log = kafka_log_of(of);
    struct kafka_producer       *producer;
    rd_kafka_topic_t            *handle;
    char                         name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    uint8_t                     *copy = malloc(size);
    const struct log_topic_options options = { .epoch = 0 };

    memcpy(copy, bytes, size);
    MUST(kafka_producer_of(log, &producer, &err));
    MUST(kafka_topic_name(log, topic, name, &err));
    MUST(kafka_topic_ready(log, name, &options, &err));
    MUST(kafka_producer_topic(producer, name, &handle, &err));
    MUST(kafka_producer_send(producer, handle, 0, SPAN(""), copy, size, NULL, &delivery, &err));
    assert_int_equal(rd_kafka_flush(kafka_producer_client(producer), 20000), 0);
    rd_kafka_topic_destroy(handle);
}

static void frame_raw(struct log *log, const char *topic, enum kafka_frame_kind kind, const char *who, uint64_t base, uint32_t count, size_t flip)
{
    struct log_batch  *batch = log_batch_new();
    struct kafka_frame frame = { .kind = kind, .count = count, .epoch = kind == KAFKA_FRAME_SHARED ? 0 : 7,
                                 .base = kind == KAFKA_FRAME_SHARED ? 0 : base };
    size_t             bytes;
    uint8_t           *at;

    batch_fill(batch, who, base, count);
    at = kafka_frame_make(&frame, span_of(batch->at, batch->bytes), &bytes);
    if (flip < bytes)
        at[flip] ^= 1;
    send_raw(log, topic, at, bytes);
    free(at);
    log_batch_free(batch);
}

static void damage_costs_the_damaged_records(void **state)
{
    struct log        *log = log_make();
    struct log_writer *writer = writer_at(log, 7, 0, 0);

    (void)state;
    write_some(writer, "true", 10);
    frame_raw(log, "events", KAFKA_FRAME_OWNED, "true", 10, 5, 100); /* its body is damaged */
    frame_raw(log, "events", KAFKA_FRAME_OWNED, "true", 15, 5, SIZE_MAX);
    frame_raw(log, "events", KAFKA_FRAME_OWNED, "true", 20, 5, 30); /* its header */
    send_raw(log, "events", "{\"somebody\":\"else\"}", 19);
    frame_raw(log, "events", KAFKA_FRAME_OWNED, "true", 25, 5, SIZE_MAX);
    MUST(log_writer_cut(writer, 30, &err));
    write_some(writer, "true", 10);
    log_writer_publish(writer, 40);
    assert_int_equal(must_read(log, "events", 0, 40, "true", "damaged"), 10);
    assert_int_equal(must_read(log, "events", 12, 40, "true", "damaged"), 8);
    log_writer_close(writer);
    log_close(log);
}

/* In topics with many writers a message's own number is the place. */
static void many_writers(void **state)
{
    struct log               *log = log_make();
    struct log_reader        *reader;
    struct log_chunk          chunk;
    struct log_verify_result  found;
    struct span               body;
    uint64_t                  offset, got[16], count = 0, lost = 0;
    int64_t                   until_us = clock_mono_us() + PATIENCE_US;

    (void)state;
    MUST(log_reader_open(log, "raw", 0, 0, &reader, &err));
    assert_int_equal(log_reader_next(reader, &chunk, &err), 0); /* it is not there yet */
    assert_int_equal(log_reader_lag(reader, 0), 0);
    frame_raw(log, "raw", KAFKA_FRAME_SHARED, "a", 0, 3, SIZE_MAX);
    frame_raw(log, "raw", KAFKA_FRAME_SHARED, "b", 0, 2, 70);  /* body */
    frame_raw(log, "raw", KAFKA_FRAME_SHARED, "c", 0, 4, 10);  /* header: nobody knows how many there were */
    frame_raw(log, "raw", KAFKA_FRAME_OWNED, "d", 0, 4, SIZE_MAX); /* not here */
    frame_raw(log, "raw", KAFKA_FRAME_SHARED, "e", 0, 2, SIZE_MAX);
    while (count < 5) {
        int rc = log_reader_next(reader, &chunk, &err);

        MUST(rc);
        assert_true(clock_mono_us() < until_us);
        if (rc == 0) {
            (void)log_reader_wait(reader, 100000);
            continue;
        }
        assert_true(chunk.sparse);
        if (chunk.kind == LOG_GAP) {
            assert_string_equal(chunk.why, "damaged");
            lost += chunk.count;
        }
        while (log_chunk_next(&chunk, &offset, &body))
            got[count++] = offset;
    }
    assert_int_equal(lost, 3);
    assert_int_equal(got[0], 0);
    assert_int_equal(got[2], 2);
    assert_int_equal(got[3], 4 << 20);
    assert_int_equal(got[4], (4 << 20) + 1);
    assert_int_equal(log_reader_lag(reader, got[4] + 1), 0);
    assert_true(log_reader_lag(reader, got[4]) > 0);
    log_reader_close(reader);
    MUST(log_reader_open(log, "raw", 0, got[4] + 1, &reader, &err)); /* behind everything, as a stage that starts again */
    assert_int_equal(log_reader_lag(reader, got[4] + 1), 0);
    assert_int_equal(log_reader_next(reader, &chunk, &err), 0);
    frame_raw(log, "raw", KAFKA_FRAME_SHARED, "f", 0, 2, SIZE_MAX);
    while (log_reader_lag(reader, got[4] + 1) == 0)
        assert_true(clock_mono_us() < until_us);
    log_reader_close(reader);
    MUST(log_reader_open(log, "raw", 0, (4 << 20) + 1, &reader, &err));
    while (log_reader_next(reader, &chunk, &err) == 0)
        (void)log_reader_wait(reader, 100000);
    assert_int_equal(chunk.base, (4 << 20) + 1);
    assert_int_equal(chunk.count, 1);
    assert_true(log_chunk_next(&chunk, &offset, &body));
    assert_memory_equal(body.at, "e 1", 3);
    log_reader_close(reader);
    MUST(log_verify(log, "raw", 0, NULL, NULL, &found, &err));
    assert_int_equal(found.records, 7);
    assert_int_equal(found.records_damaged, 3);
    log_close(log);
}

/* One message is served when it has come, however few there are: a reader that waited for a full batch of them was late by the
 * whole of its wait, a second, each time. A third of them may be late: the machine has other things to do. */
static void one_message_is_not_held_back(void **state)
{
    enum { TURNS = 15, FAIR_US = 900000 };
    struct log        *log = log_make();
    struct log_writer *writer = writer_at(log, 7, 0, 0);
    struct log_reader *shared, *owned;
    struct log_chunk   chunk;
    int64_t            until_us = clock_mono_us() + PATIENCE_US;
    int                fair = 0;

    (void)state;
    frame_raw(log, "raw", KAFKA_FRAME_SHARED, "a", 0, 1, SIZE_MAX);
    write_some(writer, "true", 1);
    log_writer_publish(writer, 1);
    MUST(log_reader_open(log, "raw", 0, 0, &shared, &err));
    MUST(log_reader_open(log, "events", 0, 0, &owned, &err));
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t from_us;

        if (turn > 0) {
            frame_raw(log, "raw", KAFKA_FRAME_SHARED, "a", 0, 1, SIZE_MAX);
            write_some(writer, "true", 1);
            log_writer_publish(writer, log_writer_end(writer));
        }
        from_us = clock_mono_us(); /* both are at the broker */
        for (int k = 0; k < 2; k++) {
            struct log_reader *reader = k == 0 ? shared : owned;
            int                rc;

            while ((rc = log_reader_next(reader, &chunk, &err)) == 0) {
                (void)log_reader_wait(reader, 1000000);
                assert_true(clock_mono_us() < until_us);
            }
            MUST(rc);
            assert_int_equal(chunk.kind, LOG_RECORDS);
        }
        fair += clock_mono_us() - from_us < FAIR_US;
    }
    if (fair < TURNS * 2 / 3)
        fail_msg("only %d of %d pairs of messages were read within %d ms", fair, TURNS, FAIR_US / 1000);
    log_reader_close(shared);
    log_reader_close(owned);
    log_writer_close(writer);
    log_close(log);
}

/* The client that all writers share may come to its end while the process lives: who opens his writer anew has another one. */
static void a_client_that_cannot_go_on_is_replaced(void **state)
{
    struct log            *log = log_make();
    struct log_batch      *batch = log_batch_new();
    struct log_writer     *writer = writer_at(log, 7, 0, 0);
    struct kafka_producer *producer, *other;
    uint64_t               base;

    (void)state;
    write_some(writer, "true", 10);
    log_writer_publish(writer, 10);
    for (uint64_t turn = 1; turn <= KAFKA_PRODUCERS_SPENT_MAX; turn++) {
        MUST(log_writer_sync(writer, &err)); /* the mark is there, too */
        MUST(kafka_producer_of(kafka_log_of(log), &producer, &err));
        assert_int_equal(rd_kafka_test_fatal_error(kafka_producer_client(producer), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "by the test"), 0);
        batch_fill(batch, "lost", 10 * turn, 5);
        if (log_writer_append(writer, batch, clock_wall_us(), &base, &err) == 0)
            assert_true(log_writer_sync(writer, &err) < 0);
        assert_int_equal(err.kind, ERR_STOP);
        log_writer_close(writer);
        writer = writer_at(log, 7 + turn, 6 + turn, 10 * turn);
        MUST(kafka_producer_of(kafka_log_of(log), &other, &err));
        assert_true(other != producer);
        write_some(writer, "true", 10);
        log_writer_publish(writer, 10 * (turn + 1));
    }
    must_read(log, "events", 0, 10 * (KAFKA_PRODUCERS_SPENT_MAX + 1), "true", NULL);
    MUST(kafka_producer_of(kafka_log_of(log), &producer, &err));
    assert_int_equal(rd_kafka_test_fatal_error(kafka_producer_client(producer), RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "by the test"), 0);
    assert_true(kafka_producer_of(kafka_log_of(log), &other, &err) < 0); /* that is enough: let the process begin anew */
    assert_int_equal(err.kind, ERR_STOP);
    log_writer_close(writer);
    log_batch_free(batch);
    log_close(log);
}

static void cursors_are_committed_offsets(void **state)
{
    struct log *log = log_make();
    uint64_t    offset = 0;
    int64_t     until_us = clock_mono_us() + PATIENCE_US;

    (void)state;
    frame_raw(log, "raw", KAFKA_FRAME_SHARED, "a", 0, 3, SIZE_MAX);
    while (log_cursor_load(log, "raw", 0, "ingest", &offset, &err) != 0) /* a coordinator is found within seconds */
        assert_true(clock_mono_us() < until_us);
    MUST(log_cursor_store(log, "raw", 0, "ingest", (1 << 20) + 2, &err));
    MUST(log_cursor_store(log, "raw", 0, "ingest", (1 << 20) + 3, &err));
    assert_int_equal(log_cursor_load(log, "raw", 0, "ingest", &offset, &err), 1);
    log_close(log);
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
    while (log_cursor_load(log, "raw", 0, "ingest", &offset, &err) != 1 || offset != (1 << 20) + 3)
        assert_true(clock_mono_us() < until_us);
    log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_recorded_is_never_seen),
        cmocka_unit_test(late_writers_are_nobody),
        cmocka_unit_test(a_writer_again_in_the_same_process),
        cmocka_unit_test(readers_begin_anywhere),
        cmocka_unit_test(hints_are_used_and_not_believed),
        cmocka_unit_test(large_batches_become_frames),
        cmocka_unit_test(damage_costs_the_damaged_records),
        cmocka_unit_test(many_writers),
        cmocka_unit_test(one_message_is_not_held_back),
        cmocka_unit_test(a_client_that_cannot_go_on_is_replaced),
        cmocka_unit_test(cursors_are_committed_offsets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
