/* parts: kafka alone
 *
 * log/kafka_model_cluster_test.c - a stage that writes, records, dies and is fenced by chance, over a broker that is killed and
 * stopped meanwhile: what was recorded is read, once and in order, and nothing else. Steps, a seed, and how often may be given:
 * N [SEED [TIMES]]. And one whose brokers went away lets go of its topics soon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/kafka_control_test_kit.h"
#include "log/log.h"

#define MUST(call) do { if ((call) < 0) fail_msg("%s: %s", #call, err.text); } while (0)
enum { PATIENCE_US = 120000000 };

static struct log_kafka_options kafka;
static char                     prefix[80];
static unsigned                 steps = 60, turns = 3;
static uint64_t                 random_state = 4711;

static uint64_t dice(uint64_t below)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state % below;
}

/* --- the broker -------------------------------------------------------------------------------- */

static _Atomic bool quiet;

/* Kills and stops it, with pauses in which something can be done. */
static void *trouble(void *arg)
{
    (void)arg;
    for (unsigned turn = 0; !quiet && turn < turns; turn++) {
        usleep(1500000);
        kafka_control(turn % 3 == 0 ? "kill 1" : "pause 1");
        usleep(turn % 3 == 0 ? 200000 : 1000000 * (1 + turn % 3));
        kafka_control(turn % 3 == 0 ? "start 1" : "resume 1");
        usleep(6000000);
    }
    return NULL;
}

/* --- the stage --------------------------------------------------------------------------------- */

/* What its transaction holds. */
struct model {
    uint64_t epoch;     /* given out */
    uint64_t end, committed;
};

/* Waits the trouble out. */
static struct log_writer *writer_open(struct log *log, struct model *model)
{
    int64_t until_us = clock_mono_us() + PATIENCE_US;

    for (;;) {
        const struct log_topic_options options = { .codec = LOG_CODEC_LZ4, .epoch = ++model->epoch, .epoch_committed = model->committed };
        struct log_writer             *writer = NULL;
        struct err                     err;

        if (log_writer_open(log, "events", 0, &options, &writer, &err) == 0) {
            MUST(log_writer_cut(writer, model->end, &err));
            log_writer_publish(writer, model->end);
            if (log_writer_sync(writer, &err) == 0) /* nothing is recorded before this arrived */
                return writer;
            log_writer_close(writer);
        }
        if (clock_mono_us() > until_us)
            fail_msg("the writer does not open: %s", err.text);
        usleep(100000);
    }
}

static int append_some(struct log_writer *writer, const char *who, struct err *err)
{
    struct log_batch *batch = log_batch_new();
    uint64_t          from = log_writer_end(writer), base;
    uint32_t          count = 1 + (uint32_t)dice(400);
    int               rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        char text[64];
        int  bytes = snprintf(text, sizeof text, "%s %llu", who, (unsigned long long)(from + i));

        rc = log_batch_add(batch, span_of(text, (size_t)bytes), err);
    }
    if (rc == 0)
        rc = log_writer_append(writer, batch, clock_wall_us(), &base, err);
    log_batch_free(batch);
    return rc;
}

/* A batch: appended in parts, synced, recorded or not, marked or not. False: the writer is finished. */
static bool batch_run(struct log_writer *writer, struct model *model)
{
    bool       recorded = dice(4) != 0;
    struct err err;

    for (uint64_t parts = 1 + dice(3); parts > 0; parts--)
        if (append_some(writer, recorded ? "true" : "lost", &err) < 0)
            return false;
    if (log_writer_sync(writer, &err) < 0 || !recorded)
        return false; /* it died before its commit */
    model->end = log_writer_end(writer);
    model->committed = model->epoch;
    if (dice(6) == 0)
        return false; /* it died before it said so */
    log_writer_publish(writer, model->end);
    return true;
}

/* Follows from `next` on, as far as there is something now. */
static void follow(struct log_reader *reader, uint64_t *next, uint64_t end)
{
    struct log_chunk chunk;
    struct span      body;
    struct err       err;
    uint64_t         offset;

    while (log_reader_next(reader, &chunk, &err) == 1) {
        if (chunk.kind == LOG_GAP)
            fail_msg("a gap (%s) of %u at %llu", chunk.why, chunk.count, (unsigned long long)chunk.base);
        while (log_chunk_next(&chunk, &offset, &body)) {
            char text[64];
            int  bytes = snprintf(text, sizeof text, "true %llu", (unsigned long long)*next);

            assert_int_equal(offset, *next);
            if (body.bytes != (size_t)bytes || memcmp(body.at, text, body.bytes) != 0)
                fail_msg("record %llu is \"%.*s\"", (unsigned long long)offset, (int)body.bytes, (const char *)body.at);
            ++*next;
        }
        if (*next > end)
            fail_msg("record %llu was read, and only %llu are recorded", (unsigned long long)*next, (unsigned long long)end);
    }
}

static void a_stage_by_chance(void **state)
{
    struct model       model = { .epoch = 0 };
    struct log        *log, *reading;
    struct log_writer *writer, *late = NULL;
    struct log_reader *reader;
    pthread_t          thread;
    uint64_t           next = 0;
    int64_t            until_us;
    struct err         err;

    (void)state;
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &reading, &err));
    writer = writer_open(log, &model);
    MUST(log_reader_open(reading, "events", 0, 0, &reader, &err));
    assert_int_equal(pthread_create(&thread, NULL, trouble, NULL), 0);
    for (unsigned i = 0; i < steps; i++) {
        if (late != NULL && dice(2) == 0 && append_some(late, "late", &err) == 0 && dice(2) == 0 && log_writer_sync(late, &err) < 0) {
            /* it has trouble of its own */
        }
        if (!batch_run(writer, &model)) {
            log_writer_close(late);
            late = dice(2) == 0 ? writer : NULL; /* one that does not know that it is over */
            if (late == NULL)
                log_writer_close(writer);
            writer = writer_open(log, &model);
        }
        if (dice(8) == 0) { /* a reader that starts again, here or further back */
            log_reader_close(reader);
            next = dice(3) == 0 ? dice(next + 1) : next;
            MUST(log_reader_open(reading, "events", 0, next, &reader, &err));
        }
        follow(reader, &next, model.end);
        usleep(20000);
    }
    quiet = true;
    pthread_join(thread, NULL);
    log_writer_close(late);
    log_writer_close(writer);
    log_writer_close(writer_open(log, &model));
    for (until_us = clock_mono_us() + PATIENCE_US; next < model.end; follow(reader, &next, model.end)) {
        assert_true(clock_mono_us() < until_us);
        (void)log_reader_wait(reader, 100000);
    }
    printf("%u batches, %llu records, %llu epochs\n", steps, (unsigned long long)model.end, (unsigned long long)model.epoch);
    log_reader_close(reader);
    log_close(reading);
    log_close(log);
}

/* Each writer of a unit waits for its last mark: all of them together, and not one after the other, or the unit would be nobody's for
 * half a minute. */
static void writers_are_closed_together(void **state)
{
    static const char *const       topics[] = { "events", "people", "warnings", "dead_letters", "heatmaps", "definitions" };
    enum { TOPICS = sizeof topics / sizeof *topics };
    const struct log_topic_options options = { .epoch = 1 };
    struct log_writer             *writers[TOPICS];
    struct log_batch              *batch = log_batch_new();
    struct log                    *log;
    struct err                     err;
    uint64_t                       base;
    int64_t                        began_us;

    (void)state;
    (void)snprintf(prefix + strlen(prefix), sizeof prefix - strlen(prefix), "c.");
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
    MUST(log_batch_add(batch, SPAN("a row"), &err));
    for (int i = 0; i < TOPICS; i++) {
        MUST(log_writer_open(log, topics[i], 0, &options, &writers[i], &err));
        MUST(log_writer_cut(writers[i], 0, &err));
        log_writer_publish(writers[i], 0);
        MUST(log_writer_append(writers[i], batch, clock_wall_us(), &base, &err));
        MUST(log_writer_sync(writers[i], &err));
    }
    kafka_control("pause");
    for (int i = 0; i < TOPICS; i++)
        log_writer_publish(writers[i], 1);
    began_us = clock_mono_us();
    for (int i = 0; i < TOPICS; i++)
        log_writer_close(writers[i]);
    kafka_control("resume");
    assert_in_range(clock_mono_us() - began_us, 1000000, 15000000); /* three seconds, and not eighteen */
    log_batch_free(batch);
    log_close(log);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stage_by_chance),
        cmocka_unit_test(writers_are_closed_together),
    };

    if (argc > 1)
        steps = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        random_state = strtoull(argv[2], NULL, 10) * 2 + 1;
    if (argc > 3)
        turns = (unsigned)strtoul(argv[3], NULL, 10);
    kafka = (struct log_kafka_options){ .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = prefix, .partitions = 1, .replication = 1 };
    if (kafka.brokers == NULL) {
        fprintf(stderr, "PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...\n");
        return 1;
    }
    (void)snprintf(prefix, sizeof prefix, "m%d_%lld.", (int)getpid(), (long long)clock_wall_us());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
