/* log/log_large_test.c - large groups among small ones: their blocks are reserved and not filled with zeros, and they go past the page
 * cache. All of it is read again, also where the file system gives no large pieces, or none at all, or nothing goes past its
 * cache, or the disk is full in the middle; and who reads at the end meanwhile, as ingest and backups do, disturbs nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/io.h"
#include "log/log_test_kit.h"

enum { RECORD_BYTES = 64 << 10, FDS_MAX = 1024 };

/* ThreadSanitizer makes each byte of a record twenty times dearer, and looks for races. */
#ifdef __SANITIZE_THREAD__
enum { WAYS_MAX = 1, BESIDE_GROUPS = 8 };
#else
enum { WAYS_MAX = 100, BESIDE_GROUPS = 40 };
#endif

struct way {
    const char *name;
    int         reserve_failed; /* what a reservation fails with, */
    uint64_t    reserve_from;   /* of so many bytes or more; 0: none fails */
    int         open_failed;    /* opening for what goes past the cache */
    int         direct_failed;  /* and writing so */
    int         direct_each;    /* of those writes each so-manieth fails */
};

static const struct way *way;
static atomic_ullong     reserved, written, direct;
static atomic_int        direct_writes, within_the_file;
static atomic_bool       is_direct[FDS_MAX];

/* Not the zeros that are filled ahead. */
static bool holds_a_frame(const struct io_call *call)
{
    return call->iov_count > 0 && call->iov[0].iov_len > 2 && memcmp(call->iov[0].iov_base, "PF", 2) == 0;
}

static int before(void *ctx, struct io_call *call)
{
    struct stat st;

    (void)ctx;
    if (call->op == IO_RESERVE && way->reserve_from != 0 && call->bytes >= way->reserve_from)
        return way->reserve_failed;
    if (call->op == IO_OPEN && (call->bytes & O_DIRECT) != 0 && way->open_failed != 0)
        return way->open_failed;
    if (call->op == IO_RESERVE)
        atomic_fetch_add(&reserved, call->bytes);
    if (call->op != IO_PWRITE)
        return 0;
    if (atomic_load(&is_direct[call->fd]) && holds_a_frame(call)) {
        if (way->direct_each != 0 && atomic_fetch_add(&direct_writes, 1) % way->direct_each == way->direct_each - 1)
            return way->direct_failed;
        atomic_fetch_add(&direct, call->bytes);
        if (fstat(call->fd, &st) < 0 || (uint64_t)st.st_size > call->at) /* segment.h S4 */
            atomic_fetch_add(&within_the_file, 1);
    }
    atomic_fetch_add(&written, call->bytes);
    return 0;
}

static void after(void *ctx, const struct io_call *call, int64_t result)
{
    (void)ctx;
    if (call->op == IO_OPEN && result >= 0 && result < FDS_MAX)
        atomic_store(&is_direct[result], (call->bytes & O_DIRECT) != 0);
}

/* The number of the record that follows; refused: the same. */
static uint64_t append(struct log_writer *writer, size_t bytes, uint64_t number)
{
    struct log_batch *batch = log_batch_new();
    uint64_t          base, next = number;
    struct err        err;

    while (log_batch_bytes(batch) < bytes)
        kit_add(batch, bytes < RECORD_BYTES ? bytes : RECORD_BYTES, next++);
    if (log_writer_append(writer, batch, 1, &base, &err) < 0) {
        if (err.kind != ERR_FULL || way->direct_failed != ENOSPC)
            fail_msg("%s: %s", way->name, err.text);
        next = number;
    }
    if (log_writer_sync(writer, &err) < 0)
        fail_msg("%s: %s", way->name, err.text);
    log_writer_publish(writer, log_writer_end(writer));
    log_batch_free(batch);
    return next;
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
    static const struct io_hook hook = { .before = before, .after = after };
    struct log_topic_options topic = { .segment_bytes = 16 << 20 };
    char                     path[64];
    struct log_options       options = { path };
    struct log              *log = NULL;
    struct log_writer       *writer = NULL;
    struct err               err;
    uint64_t                 count = 0, bytes = 0;

    atomic_store(&reserved, 0);
    atomic_store(&written, 0);
    atomic_store(&direct, 0);
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
    assert_int_equal(atomic_load(&within_the_file), 0);
    return bytes;
}

static bool goes_past_the_cache(void)
{
    int fd = open("/tmp", O_TMPFILE | O_WRONLY | O_DIRECT, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void large_groups_come_back(void **state)
{
    static const size_t mixed[] = { 100, 3 << 20, 3 << 20, 100, 2 << 20, 300 << 10, 1200 << 10, 3 << 20, 50, 50, 3 << 20, 100 };
    static const size_t large[] = { 3 << 20, 2 << 20, 3 << 20, 3 << 20, 1200 << 10, 3 << 20, 3 << 20, 3 << 20, 3 << 20, (1 << 20) + 8 };
    static const struct way ways[] = {
        { "as it should be", 0, 0, 0, 0, 0 },
        { "no room for more than a group", ENOSPC, 7 << 19, 0, 0, 0 },
        { "no such call", EOPNOTSUPP, 1, 0, 0, 0 },
        { "nothing past the cache", 0, 0, EINVAL, 0, 0 },
        { "other borders", 0, 0, 0, EINVAL, 3 },
        { "full now and then", 0, 0, 0, ENOSPC, 3 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && i < WAYS_MAX; i++) {
        uint64_t bytes;

        way = &ways[i];
        (void)groups_come_back(mixed, sizeof mixed / sizeof *mixed);
        bytes = groups_come_back(large, sizeof large / sizeof *large);
        if (way->reserve_from != 1 && (atomic_load(&reserved) < bytes / 2 || atomic_load(&written) > bytes + bytes / 2))
            fail_msg("%s: of %llu bytes %llu reserved, %llu written", way->name, (unsigned long long)bytes, atomic_load(&reserved),
                     atomic_load(&written));
        if (i == 0 && goes_past_the_cache() && atomic_load(&direct) < bytes / 2)
            fail_msg("%s: of %llu bytes %llu past the cache", way->name, (unsigned long long)bytes, atomic_load(&direct));
    }
}

/* --- damage ------------------------------------------------------------------------------------- */

/* The header of a pad, or of a large frame that a pad describes, costs no record (frame.h F4). */
static void a_damaged_header_costs_nothing(void **state)
{
    enum { GROUPS = 4, FILE_BYTES_MAX = 16 << 20 };
    static const struct way  plain = { .name = "damaged" };
    struct log_topic_options topic = { .segment_bytes = FILE_BYTES_MAX };
    char                     path[64], name[120];
    struct log_options       options = { path };
    struct log              *log;
    struct log_writer       *writer;
    struct err               err;
    uint64_t                 count = 0;
    uint8_t                 *bytes = malloc(FILE_BYTES_MAX);
    ssize_t                  file_bytes;
    unsigned                 headers = 0, pads = 0;
    int                      fd;

    (void)state;
    way = &plain;
    kit_folder(path);
    if (log_open(&options, &log, &err) < 0 || log_writer_open(log, "raw", 0, &topic, &writer, &err) < 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < GROUPS; i++)
        count = append(writer, (1 << 20) + (size_t)i * 1000, count);
    log_writer_close(writer);
    (void)snprintf(name, sizeof name, "%s/raw/0/%020d.seg", path, 0);
    fd = open(name, O_RDWR);
    file_bytes = pread(fd, bytes, FILE_BYTES_MAX, 0);
    for (ssize_t at = 4096; at + 64 <= file_bytes; at += 8) {
        uint8_t changed = bytes[at + 24] ^ 4; /* of the time */

        if (memcmp(bytes + at, "PF\1", 3) != 0)
            continue;
        assert_int_equal(pwrite(fd, &changed, 1, at + 24), 1);
        read_all(log, count);
        assert_int_equal(pwrite(fd, bytes + at + 24, 1, at + 24), 1);
        headers++;
        pads += bytes_get_u32(bytes + at + 16) == 0 && bytes_get_u32(bytes + at + 32) > 0;
    }
    assert_int_equal(pads, GROUPS);
    assert_int_equal(headers, 2 * GROUPS + 1); /* and the mark */
    close(fd);
    free(bytes);
    log_close(log);
    kit_remove(path);
}

/* --- beside readers ---------------------------------------------------------------------------- */

struct beside {
    const char   *path;
    struct log   *log;
    atomic_ullong appended;
    atomic_bool   over;
    char          wrong[120]; /* @thread its reader; looked at when it has ended */
};

static void *follow(void *arg)
{
    struct beside     *beside = arg;
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    struct err         err;
    uint64_t           offset, seen = 0;

    if (log_reader_open(beside->log, "raw", 0, 0, &reader, &err) < 0)
        return NULL;
    while (!atomic_load(&beside->over) || seen < atomic_load(&beside->appended)) {
        if (!log_reader_wait(reader, 1000))
            continue;
        while (log_reader_next(reader, &chunk, &err) > 0) {
            if (chunk.kind != LOG_RECORDS && beside->wrong[0] == 0)
                (void)snprintf(beside->wrong, sizeof beside->wrong, "a gap of %u at %llu: %.40s", chunk.count, (unsigned long long)chunk.base, chunk.why);
            if (chunk.kind != LOG_RECORDS)
                seen += chunk.count;
            for (; log_chunk_next(&chunk, &offset, &body); seen++)
                if ((offset != seen || !kit_is_right(body, seen)) && beside->wrong[0] == 0)
                    (void)snprintf(beside->wrong, sizeof beside->wrong, "record %llu is wrong", (unsigned long long)seen);
        }
    }
    log_reader_close(reader);
    return NULL;
}

/* As a backup does, which knows of no published end: the last files, to their ends, over and over. */
static void *copy_over_and_over(void *arg)
{
    enum { BYTES = 256 << 10 };
    uint8_t       *bytes = malloc(BYTES);
    struct beside *beside = arg;
    char           folder[100];

    (void)snprintf(folder, sizeof folder, "%s/raw/0", beside->path);
    while (!atomic_load(&beside->over)) {
        DIR           *dir = opendir(folder);
        struct dirent *entry;

        while (dir != NULL && (entry = readdir(dir)) != NULL) {
            int   fd = strstr(entry->d_name, ".seg") == NULL ? -1 : openat(dirfd(dir), entry->d_name, O_RDONLY);
            off_t at = fd < 0 ? 0 : lseek(fd, 0, SEEK_END) - (6 << 20);

            for (at = at < 0 ? 0 : at; fd >= 0 && pread(fd, bytes, BYTES, at) > 0; at += BYTES)
                ;
            if (fd >= 0)
                close(fd);
        }
        if (dir != NULL)
            closedir(dir);
    }
    free(bytes);
    return NULL;
}

static void who_reads_at_the_end_disturbs_nobody(void **state)
{
    static const struct way  plain = { .name = "beside readers" };
    struct log_topic_options topic = { .segment_bytes = 64 << 20 };
    char                     path[64];
    struct log_options       options = { path };
    struct log_writer       *writer;
    struct beside            beside = { .path = path };
    pthread_t                follower, copiers[2];
    struct err               err;
    uint64_t                 count = 0, random = 7;

    (void)state;
    way = &plain;
    kit_folder(path);
    if (log_open(&options, &beside.log, &err) < 0 || log_writer_open(beside.log, "raw", 0, &topic, &writer, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(pthread_create(&follower, NULL, follow, &beside), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&copiers[i], NULL, copy_over_and_over, &beside), 0);
    for (int i = 0; i < BESIDE_GROUPS; i++) {
        count = append(writer, kit_random(&random) % 8 == 0 ? 5000 : (1 << 20) + kit_random(&random) % (2 << 20), count);
        atomic_store(&beside.appended, count);
    }
    atomic_store(&beside.over, true);
    pthread_join(follower, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(copiers[i], NULL);
    if (beside.wrong[0] != 0)
        fail_msg("%s", beside.wrong);
    log_writer_close(writer);
    read_all(beside.log, count);
    log_close(beside.log);
    kit_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_groups_come_back),
        cmocka_unit_test(a_damaged_header_costs_nothing),
        cmocka_unit_test(who_reads_at_the_end_disturbs_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
