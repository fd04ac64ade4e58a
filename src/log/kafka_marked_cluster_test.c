/* parts: kafka
 *
 * log/kafka_marked_cluster_test.c - how far readers were shown a partition, as its messages at a real broker tell: whatever lies behind the
 * last mark, and however often somebody opened it since and came to nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"

#define MUST(call) do { if ((call) < 0) fail_msg("%s: %s", #call, err.text); } while (0)

static struct err err;

static struct log_writer *open_at(struct log *log, uint64_t epoch, uint64_t committed, uint64_t end)
{
    const struct log_topic_options options = { .codec = LOG_CODEC_LZ4, .epoch = epoch, .epoch_committed = committed };
    struct log_writer             *writer;

    MUST(log_writer_open(log, "events", 0, &options, &writer, &err));
    MUST(log_writer_cut(writer, end, &err));
    log_writer_publish(writer, end);
    MUST(log_writer_sync(writer, &err));
    return writer;
}

/* A frame of three records; shown: it was recorded, and readers see it. */
static void write_frame(struct log_writer *writer, bool shown)
{
    struct log_batch *batch = log_batch_new();
    uint64_t          base;

    for (int i = 0; i < 3; i++)
        MUST(log_batch_add(batch, SPAN("some record"), &err));
    MUST(log_writer_append(writer, batch, clock_wall_us(), &base, &err));
    MUST(log_writer_sync(writer, &err));
    log_batch_free(batch);
    if (shown)
        log_writer_publish(writer, log_writer_end(writer));
}

static struct log_marked look(struct log *log, uint64_t end, uint64_t epoch)
{
    const struct log_marked recorded = { .end = end, .epoch = epoch };
    struct log_marked       marked;

    MUST(log_marked(log, "events", 0, &recorded, &marked, &err));
    return marked;
}

/* after: frames that were never recorded; openings: at the recorded end, that came to nothing. */
static void one(unsigned recorded_frames, unsigned lost_frames, bool lost_by_another, unsigned after, unsigned openings)
{
    static unsigned          turn;
    char                     prefix[80];
    struct log_kafka_options kafka = { .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = prefix, .partitions = 1, .replication = 1 };
    struct log              *log;
    struct log_writer       *writer;
    struct log_marked        marked;
    uint64_t                 recorded, shown, highest = 8;

    (void)snprintf(prefix, sizeof prefix, "m%d_%lld_%u.", (int)getpid(), (long long)clock_wall_us(), turn++);
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
    MUST(log_marked(log, "warnings", 0, &(struct log_marked){ 0 }, &marked, &err));
    assert_int_equal(marked.end, 0); /* there is no such topic */
    writer = open_at(log, 7, 0, 0);
    log_writer_close(writer);
    writer = open_at(log, 8, 7, 0);
    for (unsigned i = 0; i < recorded_frames; i++)
        write_frame(writer, true);
    recorded = log_writer_end(writer);
    MUST(log_writer_sync(writer, &err));
    assert_int_equal(look(log, recorded, recorded > 0 ? 8 : 0).end, recorded);
    if (lost_by_another) {
        log_writer_close(writer);
        writer = open_at(log, ++highest, recorded > 0 ? 8 : 0, recorded);
    }
    for (unsigned i = 0; i < lost_frames; i++)
        write_frame(writer, true);
    shown = log_writer_end(writer);
    for (unsigned i = 0; i < after; i++)
        write_frame(writer, false);
    log_writer_close(writer);
    for (unsigned i = 0; i < openings; i++)
        log_writer_close(open_at(log, ++highest, recorded > 0 ? 8 : 0, recorded));
    marked = look(log, recorded, recorded > 0 ? 8 : 0);
    assert_int_equal(marked.end, shown);
    if (openings > 0)
        assert_int_equal(marked.epoch, highest);
    log_close(log);
}

static void found_behind_all_else(void **state)
{
    (void)state;
    if (getenv("PENSTOCK_TEST_KAFKA") == NULL)
        fail_msg("PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...");
    one(0, 0, false, 0, 0);
    one(3, 0, false, 0, 3);
    one(3, 0, false, 40, 3);
    one(3, 1, false, 0, 0);
    one(3, 1, true, 0, 1);
    one(3, 5, true, 60, 0); /* the batch that was in work when the store went */
    one(3, 1, true, 0, 70);
    one(3, 2, false, 90, 40);
    one(0, 4, true, 3, 2); /* of a store that has lost everything */
    one(50, 60, true, 10, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_behind_all_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
