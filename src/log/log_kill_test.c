/* log/log_kill_test.c - SIGKILL, and a reader in another process.
 *
 * A child writes through the committer and tells each acknowledgement on a pipe; it is killed at a random
 * moment, or exactly before or after its n-th file call of a kind that changes something. What it told must
 * be there, dense and right, when the next child opens the log and goes on; a second child reads all the
 * while, across rolls, retention and the writer's deaths, and may not see a wrong byte or a hole.
 * usage: log_kill_test [KILLS [SEED]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/child_test_kit.h"
#include "base/clock.h"
#include "base/io.h"
#include "log/log_test_kit.h"

static unsigned long kills = 40, seed_base = 1;
static const struct log_topic_options topic = { .segment_bytes = 64 << 10, .retention_bytes = 2 << 20 };

/* --- the child that writes ---------------------------------------------------------------------- */

struct fuse {
    long     left; /* calls until the end; negative: never */
    bool     after;
};

static bool changes(const struct io_call *call)
{
    return call->op != IO_PREAD && call->op != IO_SPACE && call->op != IO_MMAP;
}

static int fuse_before(void *ctx, struct io_call *call)
{
    struct fuse *fuse = ctx;

    if (changes(call) && !fuse->after && __atomic_sub_fetch(&fuse->left, 1, __ATOMIC_RELAXED) == 0)
        (void)kill(getpid(), SIGKILL);
    return 0;
}

static void fuse_after(void *ctx, const struct io_call *call, int64_t result)
{
    struct fuse *fuse = ctx;

    (void)result;
    if (changes(call) && fuse->after && __atomic_sub_fetch(&fuse->left, 1, __ATOMIC_RELAXED) == 0)
        (void)kill(getpid(), SIGKILL);
}

struct told {
    uint64_t base, count;
};

static void tell(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct told told = { result->base, log_batch_count(batch_take) };

    if (result->ok && write(*(int *)ctx, &told, sizeof told) != (ssize_t)sizeof told)
        _exit(3);
    log_batch_free(batch_take);
}

/* Writes until it is killed. A record's number is not its offset here (many are in flight), but its place
 * in this child's own order. */
static void write_for_ever(const char *path, int pipe_fd, uint64_t random, struct fuse *fuse)
{
    struct io_hook     hook = { fuse_before, fuse_after, fuse };
    struct log_options options = { path };
    struct log        *log;
    struct log_writer *writer = NULL;
    struct log_commit *commit = NULL;
    struct err         err;
    uint64_t           next;

    io_hook_set(&hook);
    if (log_open(&options, &log, &err) < 0 || log_writer_open(log, "raw", 0, &topic, &writer, &err) < 0) {
        (void)fprintf(stderr, "child: %s\n", err.text);
        _exit(2);
    }
    if (log_writer_retain(writer, clock_wall_us(), &err) < 0)
        _exit(2);
    next = log_writer_end(writer); /* one thread submits, so its order is the log's */
    if (log_commit_start(writer, NULL, &commit, &err) < 0)
        _exit(2);
    for (;;) {
        struct log_batch *batch = log_batch_new();

        for (uint64_t n = kit_random(&random) % 20 + 1; n > 0; n--)
            kit_add(batch, (size_t)(16 + kit_random(&random) % 1500), next++);
        while (log_commit_submit(commit, batch, tell, &pipe_fd, &err) < 0)
            (void)usleep(100);
        if (kit_random(&random) % 4 == 0)
            (void)usleep((useconds_t)(kit_random(&random) % 300));
    }
}

/* --- the child that reads ----------------------------------------------------------------------- */

static void read_for_ever(const char *path)
{
    struct log_options options = { path };
    struct log        *log;
    struct log_reader *reader = NULL;
    struct log_chunk   chunk;
    struct err         err;
    uint64_t           next = 0, offset;
    struct span        body;
    int                rc;

    if (log_open(&options, &log, &err) < 0 || log_reader_open(log, "raw", 0, 0, &reader, &err) < 0)
        _exit(2);
    for (;;) {
        rc = log_reader_next(reader, &chunk, &err);
        if (rc < 0) {
            (void)fprintf(stderr, "reader: %s\n", err.text);
            _exit(4);
        }
        if (rc == 0) {
            (void)log_reader_wait(reader, 100000);
            continue;
        }
        if (chunk.base != next || (chunk.kind == LOG_GAP && strcmp(chunk.why, "expired") != 0)) {
            (void)fprintf(stderr, "reader: %s of %u at %llu after %llu\n", chunk.kind == LOG_GAP ? chunk.why : "records", chunk.count,
                          (unsigned long long)chunk.base, (unsigned long long)next);
            _exit(5);
        }
        next = chunk.base + chunk.count;
        while (log_chunk_next(&chunk, &offset, &body))
            if (!kit_is_right(body, offset)) {
                (void)fprintf(stderr, "reader: wrong bytes at %llu\n", (unsigned long long)offset);
                _exit(6);
            }
    }
}

/* --- the judge ---------------------------------------------------------------------------------- */

/* All that was told is below the end, and everything stored is right. */
static void judge(const char *path, uint64_t told_end, const char *what)
{
    struct log_options options = { path };
    struct log        *log;
    struct log_writer *writer = NULL;
    struct log_reader *reader = NULL;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    uint64_t           next, offset;
    clock_t            began = clock();
    struct span        body;
    int                rc;

    if (log_open(&options, &log, &err) < 0 || log_writer_open(log, "raw", 0, &topic, &writer, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    if (clock() - began > CLOCKS_PER_SEC) /* of the processor: others may have the machine, or the disk */
        fail_msg("%s: opening took %lld ms", what, (long long)((clock() - began) * 1000 / CLOCKS_PER_SEC));
    if (log_writer_end(writer) < told_end)
        fail_msg("%s: ends at %llu, %llu was acknowledged", what, (unsigned long long)log_writer_end(writer), (unsigned long long)told_end);
    log_writer_publish(writer, log_writer_end(writer));
    if (log_reader_open(log, "raw", 0, 0, &reader, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    next = log_reader_start(reader);
    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        if (chunk.kind == LOG_GAP && strcmp(chunk.why, "expired") == 0)
            continue;
        if (chunk.kind == LOG_GAP || chunk.base != next)
            fail_msg("%s: a hole at %llu", what, (unsigned long long)next);
        while (log_chunk_next(&chunk, &offset, &body)) {
            if (!kit_is_right(body, offset))
                fail_msg("%s: wrong bytes at %llu", what, (unsigned long long)offset);
            next = offset + 1;
        }
    }
    if (rc < 0 || next != log_writer_end(writer))
        fail_msg("%s: served up to %llu of %llu", what, (unsigned long long)next, (unsigned long long)log_writer_end(writer));
    log_reader_close(reader);
    log_writer_close(writer);
    log_close(log);
}

static void killed_writers_lose_nothing(void **state)
{
    char     path[64], what[100];
    uint64_t random = seed_base * 7919 + 1, told_end = 0;
    pid_t    reader;
    int      status;

    (void)state;
    kit_folder(path);
    reader = child_fork();
    assert_true(reader >= 0);
    if (reader == 0)
        read_for_ever(path);
    for (unsigned long n = 0; n < kills; n++) {
        struct fuse fuse = { .left = kit_random(&random) % 10 < 7 ? -1 : (long)(kit_random(&random) % 80 + 1), .after = kit_random(&random) % 2 != 0 };
        useconds_t  wait_us = (useconds_t)(kit_random(&random) % 60000);
        struct told told;
        int         ends[2];
        pid_t       writer;

        assert_int_equal(pipe(ends), 0);
        writer = child_fork();
        assert_true(writer >= 0);
        if (writer == 0) {
            close(ends[0]);
            write_for_ever(path, ends[1], random, &fuse);
        }
        close(ends[1]);
        if (fuse.left < 0) {
            (void)usleep(wait_us);
            (void)kill(writer, SIGKILL);
        }
        /* The pipe ends with the child; a child with a fuse ends by itself. */
        while (read(ends[0], &told, sizeof told) == (ssize_t)sizeof told)
            told_end = told.base + told.count;
        close(ends[0]);
        assert_int_equal(waitpid(writer, &status, 0), writer);
        (void)snprintf(what, sizeof what, "seed %lu, kill %lu (fuse %ld %s)", seed_base, n, fuse.left, fuse.after ? "after" : "before");
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: the writer ended by itself: %x", what, status);
        judge(path, told_end, what);
        if (waitpid(reader, &status, WNOHANG) != 0)
            fail_msg("%s: the reader ended: %x", what, status);
    }
    assert_true(told_end > 0);
    (void)kill(reader, SIGKILL);
    (void)waitpid(reader, &status, 0);
    kit_remove(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(killed_writers_lose_nothing) };

    if (argc > 1)
        kills = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed_base = strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
