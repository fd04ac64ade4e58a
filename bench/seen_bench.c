/* bench/seen_bench.c - what it costs to know whether an event id was seen, while the number of known ids grows.
 *
 *   seen_bench [ids 10000000] [v4|v7|mixed] [ids a batch 10000] [repeats in a thousand 20] [folder /tmp]
 * Ids in batches, each batch one transaction; asked for 32 at a time, as ingest does. A row each time the number of ids
 * has grown by half a decade; its times are of the ids since the row before. add, commit: CPU of the writer's thread;
 * all: CPU of the process, with the thread that writes and merges files; slowest: one call of people_seen_add, by
 * the clock and by CPU. Memory is anonymous memory; mapped is what is in memory of files. Disk: all of the store's folder, with
 * files that were merged away in the last minute, which stay for readers of older snapshots. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "people/people.h"

enum { SLICE = 32, DAY = 20000 };

static _Noreturn void stop(const char *text)
{
    (void)fprintf(stderr, "seen_bench: %s\n", text);
    exit(1);
}

static int64_t cpu_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint64_t mix(uint64_t n)
{
    n += UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
    return n ^ n >> 31;
}

/* The n-th id; of v7 a thousand a second. */
static struct uuid id_of(uint64_t n, int kind)
{
    uint64_t    random[2] = { mix(2 * n), mix(2 * n + 1) };
    struct uuid uuid;

    if (kind == 7 || (kind == 0 && random[0] % 2 == 0))
        return uuid_v7((int64_t)(UINT64_C(1700000000000) + n), (const uint8_t *)random);
    memcpy(uuid.bytes, random, 16);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 15) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 63) | 0x80);
    return uuid;
}

static double status_mb(const char *what)
{
    char   line[200];
    long   kb = 0;
    FILE  *file = fopen("/proc/self/status", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, what, strlen(what)) == 0)
            kb = strtol(line + strlen(what) + 1, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return (double)kb / 1024;
}

/* Bytes on the disk of a folder and what is in it; drop: deletes it too. */
static uint64_t folder_bytes(const char *folder, bool drop)
{
    uint64_t       bytes = 0;
    DIR           *dir = opendir(folder);
    struct dirent *file;
    struct stat    stat_of;
    char           path[500];

    while (dir != NULL && (file = readdir(dir)) != NULL) {
        if (file->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        if (stat(path, &stat_of) == 0 && S_ISDIR(stat_of.st_mode))
            bytes += folder_bytes(path, drop);
        else
            bytes += (uint64_t)stat_of.st_blocks * 512;
        if (drop)
            (void)unlink(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
    if (drop)
        (void)rmdir(folder);
    return bytes;
}

struct times {
    int64_t add, commit, all, slowest, slowest_cpu;
};

static void run_batch(struct people *people, uint64_t from, size_t count, int kind, unsigned repeats, struct times *times)
{
    static struct people_seen ids[1 << 20];
    struct people_txn        *txn;
    struct err                err;
    int64_t                   at, before, before_cpu;

    for (size_t i = 0; i < count; i++) {
        uint64_t random = mix(from + i + 77), n = from + i;

        if (n > 0 && random % 1000 < repeats)
            n = (random >> 10) % n; /* any id of before; itself perhaps a repeat: then it is as good as new */
        ids[i] = (struct people_seen){ .project = 1, .uuid = id_of(n, kind), .place = n };
    }
    at = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    if (people_begin(people, true, &txn, &err) < 0)
        stop(err.text);
    for (size_t i = 0; i < count; i += SLICE) {
        before = clock_mono_us();
        before_cpu = clock_thread_us();
        if (people_seen_add(txn, ids + i, count - i < SLICE ? count - i : SLICE, DAY, &err) < 0)
            stop(err.text);
        before = clock_mono_us() - before;
        if (before > times->slowest)
            times->slowest = before;
        before_cpu = clock_thread_us() - before_cpu;
        if (before_cpu > times->slowest_cpu)
            times->slowest_cpu = before_cpu;
    }
    times->add += cpu_ns(CLOCK_THREAD_CPUTIME_ID) - at;
    at = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    if (people_commit(txn, &err) < 0)
        stop(err.text);
    times->commit += cpu_ns(CLOCK_THREAD_CPUTIME_ID) - at;
}

int main(int argc, char **argv)
{
    uint64_t       ids = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000, done = 0, row = 100000, row_from = 0;
    const char    *kind_text = argc > 2 ? argv[2] : "v4";
    int            kind = strcmp(kind_text, "v7") == 0 ? 7 : strcmp(kind_text, "v4") == 0 ? 4 : 0;
    size_t         batch = argc > 3 ? strtoul(argv[3], NULL, 10) : 10000;
    unsigned       repeats = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 20;
    char           folder[200];
    struct people *people;
    struct err     err;
    struct times   times = { 0 };
    int64_t        all, at;

    (void)snprintf(folder, sizeof folder, "%s/penstock_seen_bench_XXXXXX", argc > 5 ? argv[5] : "/tmp");
    if (batch == 0 || batch > 1 << 20 || mkdtemp(folder) == NULL ||
        people_open(&(struct people_options){ .folder = folder }, &people, &err) < 0)
        stop("folder, or batch of 1 to 1048576");
    printf("%s, batches of %zu, %.1f %% repeats\n      ids  add ns  commit ns  all ns  slowest ms, of CPU  runs  anonymous MB  mapped MB  "
           "bytes an id in runs, on disk\n", kind_text, batch, repeats / 10.0);
    all = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (done < ids) {
        size_t count = ids - done < batch ? (size_t)(ids - done) : batch;

        at = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
        run_batch(people, done, count, kind, repeats, &times);
        times.all += /* of the thread; what is not add or commit is the making of the ids, and not counted */
             cpu_ns(CLOCK_THREAD_CPUTIME_ID) - at;
        done += count;
        if (done >= row || done == ids) {
            struct people_seen_stats stats;
            double                   n = (double)(done - row_from);
            int64_t                  process = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);

            people_seen_stats(people, &stats);
            printf("%9llu  %6.0f  %9.0f  %6.0f  %10.1f  %6.1f  %4llu  %12.1f  %9.1f  %.1f  %.1f\n", (unsigned long long)done,
                   (double)times.add / n, (double)times.commit / n,
                   (double)(process - all - times.all + times.add + times.commit) / n, (double)times.slowest / 1000,
                   (double)times.slowest_cpu / 1000,
                   (unsigned long long)stats.runs, status_mb("RssAnon:"), status_mb("RssFile:"),
                   stats.run_ids == 0 ? 0 : (double)stats.run_bytes / (double)stats.run_ids, (double)folder_bytes(folder, false) / (double)done);
            (void)fflush(stdout);
            times = (struct times){ 0 };
            all = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
            row_from = done;
            row = row % 3 == 0 ? row / 3 * 10 : row * 3;
        }
    }
    people_close(people);
    (void)folder_bytes(folder, true);
    return 0;
}
