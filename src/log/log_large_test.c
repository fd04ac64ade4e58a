/* log/log_large_test.c - large groups among small ones: their blocks are reserved, not filled with zeros, and all of it is read
 * again, also where the file system gives no large pieces, or none at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>

#include "base/io.h"
#include "log/log_test_kit.h"

enum { RECORD_BYTES = 64 << 10 };

struct way {
    const char *name;
    int         failed;         /* what a reservation fails with */
    uint64_t    failed_from;    /* bytes of it; 0: none fails */
};

static const struct way *way;
static atomic_ullong     reserved, written;

static int before(void *ctx, struct io_call *call)
{
    (void)ctx;
    if (call->op == IO_FALLOCATE && way->failed_from != 0 && call->bytes >= way->failed_from)
        return way->failed;
    if (call->op == IO_FALLOCATE)
        atomic_fetch_add(&reserved, call->bytes);
    if (call->op == IO_PWRITE)
        atomic_fetch_add(&written, call->bytes);
    return 0;
}

static uint64_t append(struct log_writer *writer, size_t bytes, uint64_t number)
{
    struct log_batch *batch = log_batch_new();
    uint64_t          base;
    struct err        err;

    while (log_batch_bytes(batch) < bytes) {
        kit_add(batch, bytes < RECORD_BYTES ? bytes : RECORD_BYTES, number);
        number++;
    }
    if (log_writer_append(writer, batch, 1, &base, &err) < 0 || log_writer_sync(writer, &err) < 0)
        fail_msg("%s: %s", way->name, err.text);
    log_writer_publish(writer, log_writer_end(writer));
    log_batch_free(batch);
    return number;
}

static void read_all(struct log *log, uint64_t count)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    struct err         err;
    uint64_t           offset, seen = 0;
    int                more;

    if (log_reader_open(log, "raw", 0, 0, &reader, &err) < 0)
        fail_msg("%s", err.text);
    while ((more = log_reader_next(reader, &chunk, &err)) > 0) {
        assert_int_equal(chunk.kind, LOG_RECORDS);
        for (; log_chunk_next(&chunk, &offset, &body); seen++)
            if (offset != seen || !kit_is_right(body, seen))
                fail_msg("%s: record %llu", way->name, (unsigned long long)seen);
    }
    assert_int_equal(more, 0);
    assert_int_equal(seen, count);
    log_reader_close(reader);
}

/* Group by group, opened anew after each fifth. The bytes of them. */
static uint64_t groups_come_back(const size_t *groups, size_t group_count)
{
    static const struct io_hook hook = { .before = before };
    struct log_topic_options topic = { .segment_bytes = 16 << 20 };
    char                     path[64];
    struct log_options       options = { path };
    struct log              *log = NULL;
    struct log_writer       *writer = NULL;
    struct err               err;
    uint64_t                 count = 0, bytes = 0;

    atomic_store(&reserved, 0);
    atomic_store(&written, 0);
    kit_folder(path);
    io_hook_set(&hook);
    for (size_t n = 0; n < group_count; n++) {
        if (n % 5 == 0 && (log_open(&options, &log, &err) < 0 || log_writer_open(log, "raw", 0, &topic, &writer, &err) < 0))
            fail_msg("%s", err.text);
        count = append(writer, groups[n], count);
        bytes += groups[n];
        if (n % 5 != 4 && n + 1 < group_count)
            continue;
        log_writer_close(writer);
        read_all(log, count);
        log_close(log);
    }
    io_hook_set(NULL);
    kit_remove(path);
    return bytes;
}

static void large_groups_are_reserved(void **state)
{
    static const size_t mixed[] = { 100, 3 << 20, 3 << 20, 100, 2 << 20, 300 << 10, 1200 << 10, 3 << 20, 50, 50, 3 << 20, 100 };
    static const size_t large[] = { 3 << 20, 2 << 20, 3 << 20, 3 << 20, 1200 << 10, 3 << 20, 3 << 20, 3 << 20, 3 << 20 };
    static const struct way ways[] = {
        { "as it should be", 0, 0 },
        { "no room for more than a group", ENOSPC, 7 << 19 },
        { "no such call", EOPNOTSUPP, 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        uint64_t bytes;

        way = &ways[i];
        (void)groups_come_back(mixed, sizeof mixed / sizeof *mixed);
        bytes = groups_come_back(large, sizeof large / sizeof *large);
        if (way->failed_from == 1)
            continue;
        if (atomic_load(&reserved) < bytes / 2 || atomic_load(&written) > bytes + bytes / 2)
            fail_msg("%s: of %llu bytes %llu reserved, %llu written", way->name, (unsigned long long)bytes, atomic_load(&reserved),
                     atomic_load(&written));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_groups_are_reserved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
