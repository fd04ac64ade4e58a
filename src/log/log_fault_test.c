/* log/log_fault_test.c - everything fails once.
 *
 * One workload (open, append with rolls, reopen, cut, retention, group commit) is run again and again; in
 * run n the n-th file call fails, in one of four ways. Whatever happened: what was acknowledged is there,
 * what was refused for want of space is not, no descriptor is synced again after a failed sync, and the log
 * opens and goes on. On tmpfs, where syncs cost nothing.
 * usage: log_fault_test [STEP]: only every STEP-th call fails */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/io.h"
#include "log/log_test_kit.h"

enum { OFFSETS_MAX = 4096, FDS_MAX = 1024 };

/* ThreadSanitizer makes a run 20 times slower, and looks for races, which few of them show as well as all. */
#ifdef __SANITIZE_THREAD__
static unsigned step = 8;
#else
static unsigned step = 1;
#endif

enum fate { UNKNOWN, ACKED, REFUSED };

/* What the workload knows about each record it tried to write; records are told apart by their number. */
struct ledger {
    uint64_t  numbers;              /* given so far */
    enum fate fate[OFFSETS_MAX];    /* by number */
    uint64_t  offset[OFFSETS_MAX];  /* by number, once appended */
    uint64_t  cut_end;
    bool      cursor; /* stored; without one, the committer's retention may delete what it likes */
};

/* --- the fault ---------------------------------------------------------------------------------- */

struct fault {
    pthread_mutex_t lock;
    unsigned        calls, fail_at;
    bool            for_ever; /* all calls of that kind fail from then on */
    int             error;    /* 0: a short transfer */
    enum io_op      op;       /* of the call that failed */
    bool            hit;
    bool            failed_sync[FDS_MAX];
    unsigned        synced_after_failure;
};

static int fault_before(void *ctx, struct io_call *call)
{
    struct fault *fault = ctx;
    bool          sync = call->op == IO_FDATASYNC || call->op == IO_FSYNC;
    int           error = 0;

    pthread_mutex_lock(&fault->lock);
    if (sync && fault->failed_sync[call->fd])
        fault->synced_after_failure++;
    if (++fault->calls == fault->fail_at || (fault->for_ever && fault->hit && call->op == fault->op)) {
        fault->hit = true;
        fault->op = call->op;
        error = fault->error == 0 && fault->calls > fault->fail_at ? ENOSPC : fault->error; /* short, then no more space */
        if (error == 0 && (call->op == IO_PWRITE || call->op == IO_PREAD) && call->bytes > 1)
            call->bytes /= 2;
        if (error != 0 && sync)
            fault->failed_sync[call->fd] = true;
    }
    pthread_mutex_unlock(&fault->lock);
    return error;
}

static void fault_after(void *ctx, const struct io_call *call, int64_t result)
{
    struct fault *fault = ctx;

    if (call->op != IO_OPEN || result < 0)
        return;
    pthread_mutex_lock(&fault->lock);
    assert_in_range(result, 0, FDS_MAX - 1);
    fault->failed_sync[result] = false; /* a new file behind that number */
    pthread_mutex_unlock(&fault->lock);
}

/* --- the workload ------------------------------------------------------------------------------- */

static uint64_t batch_fill(struct ledger *ledger, struct log_batch *batch, unsigned count, size_t body_bytes)
{
    uint64_t first = ledger->numbers;

    log_batch_reset(batch);
    for (unsigned i = 0; i < count; i++)
        kit_add(batch, body_bytes, ledger->numbers++);
    assert_true(ledger->numbers < OFFSETS_MAX);
    return first;
}

static void batch_fate(struct ledger *ledger, uint64_t first, unsigned count, enum fate fate, uint64_t base)
{
    for (uint64_t i = 0; i < count; i++) {
        ledger->fate[first + i] = fate;
        ledger->offset[first + i] = base + i;
    }
}

/* False: the writer is finished. */
static bool append(struct ledger *ledger, struct log_writer *writer, struct log_batch *batch, unsigned frames, unsigned count,
                   size_t body_bytes)
{
    uint64_t   first[8], base[8];
    bool       in[8] = { false };
    struct err err;

    for (unsigned i = 0; i < frames; i++) {
        first[i] = batch_fill(ledger, batch, count, body_bytes);
        in[i] = log_writer_append(writer, batch, 1000, &base[i], &err) == 0;
        if (!in[i] && err.kind == ERR_FULL)
            batch_fate(ledger, first[i], count, REFUSED, 0);
        else if (!in[i])
            return false;
    }
    if (log_writer_sync(writer, &err) < 0) {
        assert_int_equal(err.kind, ERR_STOP);
        assert_int_equal(log_writer_sync(writer, &err), -1); /* for good (L2) */
        assert_int_equal(log_writer_append(writer, batch, 1, &base[0], &err), -1);
        assert_int_equal(err.kind, ERR_STOP);
        return false;
    }
    log_writer_publish(writer, log_writer_end(writer));
    for (unsigned i = 0; i < frames; i++)
        if (in[i])
            batch_fate(ledger, first[i], count, ACKED, base[i]);
    return true;
}

struct answer {
    struct ledger  *ledger;
    uint64_t        first;
    unsigned        count;
};

static void answered(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct answer *answer = ctx;

    if (result->ok)
        batch_fate(answer->ledger, answer->first, answer->count, ACKED, result->base);
    else if (result->err.kind == ERR_FULL)
        batch_fate(answer->ledger, answer->first, answer->count, REFUSED, 0);
    log_batch_free(batch_take);
}

static void commit_some(struct ledger *ledger, struct log *log, const struct log_topic_options *options)
{
    struct log_writer *writer = NULL;
    struct log_commit *commit;
    struct answer      answers[12];
    struct err         err;

    if (log_writer_open(log, "raw", 0, options, &writer, &err) < 0)
        return;
    if (log_commit_start(writer, NULL, &commit, &err) < 0) {
        log_writer_close(writer);
        return;
    }
    for (unsigned i = 0; i < 12; i++) {
        struct log_batch *batch = log_batch_new();

        answers[i] = (struct answer){ ledger, 0, i % 3 + 1 };
        answers[i].first = batch_fill(ledger, batch, answers[i].count, 700);
        if (log_commit_submit(commit, batch, answered, &answers[i], &err) < 0)
            log_batch_free(batch);
    }
    log_commit_stop(commit);
}

static void workload(struct ledger *ledger, const char *path, const struct log_topic_options *options)
{
    struct log_options log_options = { path };
    struct log        *log;
    struct log_writer *writer = NULL;
    struct log_batch  *batch = log_batch_new();
    struct err         err;
    uint64_t           end;

    if (log_open(&log_options, &log, &err) < 0) {
        log_batch_free(batch);
        return;
    }
    if (log_writer_open(log, "raw", 0, options, &writer, &err) == 0) {
        bool going = append(ledger, writer, batch, 3, 2, 100) && append(ledger, writer, batch, 2, 5, 1500) &&
                     append(ledger, writer, batch, 1, 1, 30000); /* larger than a segment */

        for (int i = 0; going && i < 4; i++)
            going = append(ledger, writer, batch, 2, 3, 900);
        ledger->cursor = log_cursor_store(log, "raw", 0, "ingest", 5, &err) == 0;
        if (ledger->cursor && log_writer_retain(writer, 2000, &err) < 0)
            assert_true(err.kind != ERR_NONE);
        log_writer_close(writer);
    }
    if (log_writer_open(log, "raw", 0, options, &writer, &err) == 0) {
        end = log_writer_end(writer);
        if (end > 4 && ledger->cut_end == UINT64_MAX) {
            ledger->cut_end = end - 4; /* from here on the old offsets may or may not be there */
            if (log_writer_cut(writer, end - 4, &err) == 0) {
                log_writer_publish(writer, end - 4);
                for (uint64_t i = 0; i < ledger->numbers; i++)
                    if (ledger->fate[i] == ACKED && ledger->offset[i] >= end - 4)
                        ledger->fate[i] = REFUSED;
                (void)append(ledger, writer, batch, 2, 2, 50);
            } else {
                for (uint64_t i = 0; i < ledger->numbers; i++)
                    if (ledger->fate[i] == ACKED && ledger->offset[i] >= end - 4)
                        ledger->fate[i] = UNKNOWN;
            }
        }
        log_writer_close(writer);
    }
    commit_some(ledger, log, options);
    log_batch_free(batch);
    log_close(log);
}

/* --- the check ---------------------------------------------------------------------------------- */

static void check(struct ledger *ledger, const char *path, const struct log_topic_options *options, const char *what)
{
    static bool              there[OFFSETS_MAX];
    struct log_options       log_options = { path };
    struct log              *log;
    struct log_writer       *writer = NULL;
    struct log_reader       *reader;
    struct log_chunk         chunk;
    struct err               err = { 0 };
    struct log_batch        *batch = log_batch_new();
    uint64_t                 start, next, offset;
    struct span              body;
    int                      rc;

    memset(there, 0, sizeof there);
    if (log_open(&log_options, &log, &err) < 0 || log_writer_open(log, "raw", 0, options, &writer, &err) < 0)
        fail_msg("%s: does not open: %s", what, err.text);
    if (!append(ledger, writer, batch, 1, 1, 64))
        fail_msg("%s: does not go on", what);
    if (log_reader_open(log, "raw", 0, 0, &reader, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    start = next = log_reader_start(reader);
    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        if (chunk.kind == LOG_GAP) {
            if (strcmp(chunk.why, "expired") != 0)
                fail_msg("%s: a gap of %u at %llu: %s", what, chunk.count, (unsigned long long)chunk.base, chunk.why);
            continue;
        }
        if (chunk.base != next)
            fail_msg("%s: offset %llu after %llu", what, (unsigned long long)chunk.base, (unsigned long long)next);
        while (log_chunk_next(&chunk, &offset, &body)) {
            uint64_t number = body.bytes >= 16 ? bytes_get_u64(body.at) : OFFSETS_MAX;

            if (number >= ledger->numbers || !kit_is_right(body, number) || there[number])
                fail_msg("%s: wrong bytes at %llu", what, (unsigned long long)offset);
            there[number] = true;
            if (ledger->fate[number] == REFUSED)
                fail_msg("%s: record %llu was refused and is there", what, (unsigned long long)number);
            if (ledger->fate[number] == ACKED && ledger->offset[number] != offset)
                fail_msg("%s: record %llu moved", what, (unsigned long long)number);
            next = offset + 1;
        }
    }
    if (rc < 0)
        fail_msg("%s: read: %s", what, err.text);
    for (uint64_t i = 0; i < ledger->numbers; i++)
        if (ledger->fate[i] == ACKED && !there[i] && ledger->offset[i] >= start)
            fail_msg("%s: record %llu was acknowledged and is lost", what, (unsigned long long)i);
    if (start > 5 && ledger->cursor) /* the cursor's place: retention may not pass it */
        fail_msg("%s: begins at %llu", what, (unsigned long long)start);
    log_reader_close(reader);
    log_writer_close(writer);
    log_batch_free(batch);
    log_close(log);
}

static unsigned run(unsigned fail_at, int error, bool for_ever, const struct log_topic_options *options)
{
    struct fault   fault = { .lock = PTHREAD_MUTEX_INITIALIZER, .fail_at = fail_at, .error = error, .for_ever = for_ever };
    struct io_hook hook = { fault_before, fault_after, &fault };
    static struct ledger ledger;
    char           path[64] = "/dev/shm/penstock-fault-XXXXXX", what[120];

    ledger = (struct ledger){ .cut_end = UINT64_MAX };
    assert_non_null(mkdtemp(path));
    io_hook_set(&hook);
    workload(&ledger, path, options);
    io_hook_set(NULL);
    (void)snprintf(what, sizeof what, "call %u (%s) %s%s", fail_at, io_op_name(fault.op), error == 0 ? "short" : strerror(error),
                   for_ever ? " for ever" : "");
    assert_int_equal(fault.synced_after_failure, 0);
    check(&ledger, path, options, what);
    kit_remove(path);
    return fault.calls;
}

static void every_call_fails_once(void **state)
{
    static const int errors[] = { 0, EIO, ENOSPC, EMFILE };
    const struct log_topic_options options[] = { { .segment_bytes = 16 << 10, .retention_us = 1 },
                                                 { .segment_bytes = 4 << 20 },
                                                 { .segment_bytes = 32 << 10, .codec = LOG_CODEC_LZ4 } };

    (void)state;
    for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
        unsigned calls = run(0, 0, false, &options[o]);

        assert_true(calls > 100);
        for (size_t e = 0; e < (o == 0 ? sizeof errors / sizeof *errors : 2); e++)
            for (unsigned n = 1 + (unsigned)e % step; n <= calls; n += step) {
                (void)run(n, errors[e], false, &options[o]);
                if (errors[e] != EMFILE)
                    (void)run(n, errors[e], true, &options[o]);
            }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_call_fails_once) };

    if (argc > 1 && strtoul(argv[1], NULL, 10) > 0)
        step = (unsigned)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
