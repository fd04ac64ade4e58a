/* bench/loader_bench.c - what an event costs the loader, out of a log that is there.
 *
 *   loader_bench DATA FILE [EVENTS BATCH PEOPLE]
 *
 * DATA: the data folder of a server that is stopped (bench/rebuild.py --folder leaves one), of which nothing changes but load's cursors. Its rows go into the new
 * warehouse FILE by the loader's own code: EVENTS at most (0: all), in batches of BATCH (24,576), and what came of other topics with them,
 * in their own share, once there are PEOPLE rows of persons (32,768: as load/people_wait.h). Then the file is closed.
 * PENSTOCK_BENCH_LIBRARY in the environment. Prints microseconds of CPU an event (user and system, all threads), until the last commit and with the
 * closing; bytes written to files an event, and how large the warehouse is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "load/follow.h"
#include "log/log_access.h"

static _Noreturn void die(const struct err *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

struct use { double user_s, system_s; long faults; uint64_t written; };

static struct use use_now(void)
{
    struct rusage use;
    struct use    now;
    char          line[100];
    FILE         *file = fopen("/proc/self/io", "r");

    getrusage(RUSAGE_SELF, &use);
    now = (struct use){ .user_s = (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec / 1e6,
                        .system_s = (double)use.ru_stime.tv_sec + (double)use.ru_stime.tv_usec / 1e6, .faults = use.ru_minflt };
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        (void)sscanf(line, "wchar: %" SCNu64, &now.written);
    if (file != NULL)
        fclose(file);
    return now;
}

static void tell(const char *what, const struct use *from, uint64_t events, uint64_t rows, int64_t took_us)
{
    struct use now = use_now();
    double     n = (double)events;

    printf("%-10s %.2f us an event (user %.2f, system %.2f), %.2f faults, %.0f bytes written, %" PRIu64 " events, %" PRIu64 " rows beside, %.1f s\n", what,
           (now.user_s + now.system_s - from->user_s - from->system_s) * 1e6 / n, (now.user_s - from->user_s) * 1e6 / n,
           (now.system_s - from->system_s) * 1e6 / n, (double)(now.faults - from->faults) / n, (double)(now.written - from->written) / n, events, rows,
           (double)took_us / 1e6);
}

/* Until the topic stands at `until`. */
static void fill(struct follow *follow, int topic, struct warehouse *warehouse, uint64_t until)
{
    struct err err;

    follow->topics[topic].until = until;
    while (follow->topics[topic].next < until) {
        int rc = follow_fill(follow, topic, warehouse, SIZE_MAX, clock_wall_us(), &err);

        if (rc < 0)
            die(&err);
        if (rc == 0)
            return;
    }
}

int main(int argc, char **argv)
{
    uint64_t                 most = argc > 3 ? strtoull(argv[3], NULL, 10) : 0, batch = argc > 4 ? strtoull(argv[4], NULL, 10) : 24576;
    uint64_t                 people = argc > 5 ? strtoull(argv[5], NULL, 10) : 32768, ends[FOLLOW_TOPICS] = { 0 }, rows = 0;
    struct warehouse_options options = { .path = argc > 2 ? argv[2] : "", .library = getenv("PENSTOCK_BENCH_LIBRARY") };
    static struct log_access access;
    static struct follow     follow;
    struct warehouse_place   place = { .next = { 0 } };
    struct warehouse        *warehouse;
    struct log              *log;
    struct stat              st = { .st_size = 0 };
    struct use               begun;
    int64_t                  begun_us;
    struct err               err;

    if (argc < 3) {
        fprintf(stderr, "usage: loader_bench DATA FILE [EVENTS BATCH PEOPLE]\n");
        return 2;
    }
    if (log_access_init(&access, argv[1], NULL, NULL, false, &err) < 0 || log_open(&access.options, &log, &err) < 0 ||
        warehouse_open(&options, &warehouse, &err) < 0)
        die(&err);
    follow_init(&follow, log, 0);
    if (follow_seek(&follow, &place, &err) < 0)
        die(&err);
    for (int i = 0; i < FOLLOW_TOPICS; i++)
        ends[i] = follow_lag(&follow, i);
    if (most == 0 || most > ends[FOLLOW_EVENTS])
        most = ends[FOLLOW_EVENTS];
    begun = use_now();
    begun_us = clock_mono_us();
    for (uint64_t done = 0; done < most;) {
        done = done + batch < most ? done + batch : most;
        fill(&follow, FOLLOW_EVENTS, warehouse, done);
        for (int i = 0; i < FOLLOW_TOPICS; i++) {
            uint64_t until = (uint64_t)((double)ends[i] * (double)done / (double)ends[FOLLOW_EVENTS]);

            if (i != FOLLOW_EVENTS && (i != FOLLOW_PEOPLE || until - follow.topics[i].next >= people || done == most))
                fill(&follow, i, warehouse, until);
        }
        rows += warehouse_pending(warehouse);
        for (int i = 0; i < FOLLOW_TOPICS; i++)
            place.next[i] = follow.topics[i].next;
        if (warehouse_commit(warehouse, &place, &err) < 0)
            die(&err);
    }
    tell("committed", &begun, most, rows - most, clock_mono_us() - begun_us);
    warehouse_close(warehouse);
    tell("and closed", &begun, most, rows - most, clock_mono_us() - begun_us);
    (void)stat(options.path, &st);
    printf("the file: %.0f bytes an event\n", (double)st.st_size / (double)most);
    follow_fini(&follow);
    log_close(log);
    return 0;
}
