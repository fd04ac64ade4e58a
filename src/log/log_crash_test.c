/* log/log_crash_test.c - the power goes, at every kind of moment, and once more during recovery.
 *
 * A random workload runs once while every file call is written down. Then disk images are built from that
 * list (power_cut_test_kit.h), each as of a random moment, and recovered: what was acknowledged is there,
 * nothing else than what was written is served. The recovery itself is written down too, and cut off by a
 * second power cut in the same way.
 * usage: log_crash_test [IMAGES [SEED]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include "log/log_test_kit.h"
#include "log/power_cut_test_kit.h"

enum { NUMBERS_MAX = 20000 };

/* --- what was promised -------------------------------------------------------------------------- */

struct promise {
    uint64_t end_max;              /* offsets below were used at some time */
    int64_t  number[NUMBERS_MAX];  /* by offset: acknowledged as this; -1: nothing promised */
    uint64_t start_max;            /* retention may have gone up to here */
};

static void promise_at(struct promise *promise, size_t cut)
{
    *promise = (struct promise){ 0 };
    for (size_t i = 0; i < NUMBERS_MAX; i++)
        promise->number[i] = -1;
    for (size_t i = 0; i < cut; i++) {
        const struct op *op = &sim.ops[i];

        if (op->kind == OP_ACK)
            for (uint64_t k = 0; k < op->bytes; k++)
                promise->number[op->at + k] = (int64_t)(op->number + k);
        else if (op->kind == OP_CUT)
            for (uint64_t k = op->at; k < NUMBERS_MAX; k++)
                promise->number[k] = -1;
        else if (op->kind == OP_RETAINED)
            promise->start_max = op->at;
    }
}

/* Of small groups, and of some that are large (segment.h): blocks reserved behind the end of the file, and past the page cache. */
static const struct log_topic_options topics[] = { { .segment_bytes = 16 << 10, .retention_bytes = 50000 },
                                                   { .segment_bytes = 5 << 20, .retention_bytes = 6 << 20 } };
enum { TOPIC_LARGE = 1, LARGE_EACH = 4 /* of so many rounds one has large groups */ };
static const struct log_topic_options *topic = &topics[0];

/* Opens the image, publishes everything, and holds it against the promise. */
static void check(const char *path, const struct promise *promise, const char *what)
{
    struct log_options options = { path };
    struct log        *log;
    struct log_writer *writer = NULL;
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    uint64_t           next, offset, number;
    struct span        body;
    int                rc;

    if (log_open(&options, &log, &err) < 0 || log_writer_open(log, "raw", 0, topic, &writer, &err) < 0)
        fail_msg("%s: does not open: %s", what, err.text);
    log_writer_publish(writer, log_writer_end(writer));
    if (log_reader_open(log, "raw", 0, 0, &reader, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    next = log_reader_start(reader);
    if (next > promise->start_max)
        for (uint64_t i = 0; i < next && i < NUMBERS_MAX; i++)
            if (promise->number[i] >= 0 && i >= promise->start_max)
                fail_msg("%s: begins at %llu, offset %llu is lost", what, (unsigned long long)next, (unsigned long long)i);
    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        if (chunk.kind == LOG_GAP && strcmp(chunk.why, "expired") == 0)
            continue;
        if (chunk.kind == LOG_GAP)
            fail_msg("%s: a gap of %u at %llu", what, chunk.count, (unsigned long long)chunk.base);
        if (chunk.base != next)
            fail_msg("%s: offset %llu after %llu", what, (unsigned long long)chunk.base, (unsigned long long)next);
        while (log_chunk_next(&chunk, &offset, &body)) {
            number = bytes_get_u64(body.at);
            if (!kit_is_right(body, number))
                fail_msg("%s: wrong bytes at %llu", what, (unsigned long long)offset);
            if (promise->number[offset] >= 0 && (uint64_t)promise->number[offset] != number)
                fail_msg("%s: another record at %llu", what, (unsigned long long)offset);
            next = offset + 1;
        }
    }
    if (rc < 0)
        fail_msg("%s: read: %s", what, err.text);
    for (uint64_t i = next; i < NUMBERS_MAX; i++)
        if (promise->number[i] >= 0)
            fail_msg("%s: ends at %llu, offset %llu was acknowledged", what, (unsigned long long)next, (unsigned long long)i);
    log_reader_close(reader);
    log_writer_close(writer);
    log_close(log);
}

/* --- the workload ------------------------------------------------------------------------------- */

static void workload(const char *path, uint64_t *random)
{
    struct log_options options = { path };
    struct log        *log;
    struct log_writer *writer = NULL;
    struct log_batch  *batch = log_batch_new();
    struct err         err;
    uint64_t           numbers = 0, start = 0;
    bool               large = topic == &topics[TOPIC_LARGE];

    assert_int_equal(log_open(&options, &log, &err), 0);
    for (int opening = 0; opening < (large ? 2 : 4); opening++) {
        assert_int_equal(log_writer_open(log, "raw", 0, topic, &writer, &err), 0);
        if (opening > 0 && kit_random(random) % 2 == 0) {
            uint64_t back = kit_random(random) % 40, end = log_writer_end(writer);

            end = end > back + start ? end - back : start;
            sim_mark(OP_CUT, end, 0, 0);
            if (log_writer_cut(writer, end, &err) < 0)
                fail_msg("cut: %s", err.text);
            log_writer_publish(writer, end);
            sim_mark(OP_CUT_DONE, end, 0, 0);
        }
        for (int group = 0; group < (large ? 8 : 12); group++) {
            unsigned frames = (unsigned)(kit_random(random) % 4 + 1);
            uint64_t base = log_writer_end(writer), first = numbers, got;

            for (unsigned f = 0; f < frames; f++) {
                unsigned count = (unsigned)(kit_random(random) % 6 + 1);

                log_batch_reset(batch);
                while (large && f == 0 && group % 3 != 0 && log_batch_bytes(batch) < ((size_t)16 + (size_t)group) << 16)
                    kit_add(batch, (size_t)(50000 + kit_random(random) % 20000), numbers++);
                for (unsigned i = 0; i < count; i++)
                    kit_add(batch, (size_t)(16 + kit_random(random) % (kit_random(random) % 8 == 0 ? 6000 : 300)), numbers++);
                assert_int_equal(log_writer_append(writer, batch, 1, &got, &err), 0);
            }
            assert_int_equal(log_writer_sync(writer, &err), 0);
            log_writer_publish(writer, log_writer_end(writer));
            sim_mark(OP_ACK, base, log_writer_end(writer) - base, first);
        }
        sim_mark(OP_RETAINED, log_writer_end(writer), 0, 0); /* from now on the old may be gone; */
        assert_int_equal(log_writer_retain(writer, 1, &err), 0);
        struct log_reader *reader;
        assert_int_equal(log_reader_open(log, "raw", 0, 0, &reader, &err), 0);
        start = log_reader_start(reader);
        sim_mark(OP_RETAINED, start, 0, 0); /* it is, up to here and no further */
        log_reader_close(reader);
        log_writer_close(writer);
    }
    log_batch_free(batch);
    log_close(log);
}

static unsigned long images = 400, seed_base = 1;

static void every_image_recovers(void **state)
{
    static struct promise promise;
    char                  path[64] = "/dev/shm/penstock-crash-XXXXXX", image[80], image2[80], what[160];

    (void)state;
    assert_non_null(mkdtemp(path));
    (void)snprintf(image, sizeof image, "%s-1", path);
    (void)snprintf(image2, sizeof image2, "%s-2", path);
    for (unsigned long done = 0, round = 0; done < images; round++) {
        uint64_t random = mix(seed_base, round) | 1;

        topic = &topics[round % LARGE_EACH == LARGE_EACH - 1 ? TOPIC_LARGE : 0];
        for (int i = 0; i < (topic == &topics[0] ? 20 : 3) && done < images; i++, done++) { /* large ones take as long */
            size_t   cut, cut2;
            uint64_t seed = mix(random, (uint64_t)i);

            /* The list is overwritten by the recovery's own, so the workload runs again; it is the same. */
            uint64_t same = random;
            kit_remove(path);
            sim_start(path);
            workload(path, &same);
            io_hook_set(NULL);
            cut = sim.begun + mix(seed, 1) % (sim.count - sim.begun + 1);
            promise_at(&promise, cut);
            kit_remove(image);
            image_build(image, cut, seed);
            (void)snprintf(what, sizeof what, "seed %lu round %lu image %d: power cut before op %zu of %zu", seed_base, round, i,
                           cut, sim.count);
            sim_start(image);
            check(image, &promise, what);
            io_hook_set(NULL);
            for (int k = 0; k < 3; k++) {
                cut2 = sim.begun + mix(seed, (uint64_t)k + 2) % (sim.count - sim.begun + 1);
                kit_remove(image2);
                image_build(image2, cut2, mix(seed, (uint64_t)k + 20));
                (void)snprintf(what + strlen(what), 40, ", again before %zu", cut2);
                check(image2, &promise, what);
                *strrchr(what, ',') = 0;
                done++;
            }
        }
    }
    kit_remove(path);
    kit_remove(image);
    kit_remove(image2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_image_recovers) };

    if (argc > 1)
        images = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed_base = strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
