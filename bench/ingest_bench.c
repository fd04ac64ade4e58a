/* bench/ingest_bench.c - what an event costs in ingest, by part, in one process and on one core or several.
 *
 * usage: ingest_bench [EVENTS] [PERSONS] [GEOIP_FOLDER] [BATCH] [THREADS] [known]
 *                     default 200000 20000 off (no look-ups), 1 thread
 * PENSTOCK_BENCH_PEOPLE_MIB: ingest.people_memory.
 *   known  each person has had an event before what is measured begins: the store as it is after weeks
 *
 * Fills a raw topic with events like those of a web SDK (about 1 KB, 30 properties; one in 20 identifies
 * its person, one in 50 sets a group's properties, one in 100 is a repeat), then runs the role's steps
 * over it. CPU time is what counts: syncs wait for a disk. Prints one line a part.
 * With PENSTOCK_TEST_POSTGRES (tests/parts/with.py postgres -- ...) persons are there, and the server's CPU is told beside ours. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "draw.h"
#include "event/record.h"
#include "catalog/catalog.h"
#include "ingest/fate.h"
#include "ingest/ingest.h"
#include "log/log.h"

static struct err err;

static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "ingest_bench: %s\n", err.text);
        exit(1);
    }
}

/* Whatever is left to do. */
static void run(struct ingest *ingest)
{
    int rc;

    while ((rc = ingest_step(ingest, &err)) > 0)
        ;
    must(rc);
}

static int64_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * (int64_t)1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* CPU of PostgreSQL's process and of its children, those that have ended too. */
static int64_t server_us(void)
{
    const char    *told = getenv("PENSTOCK_TEST_POSTGRES_PID");
    DIR           *proc = told == NULL ? NULL : opendir("/proc");
    struct dirent *entry;
    uint64_t       ticks = 0, parent = told == NULL ? 0 : strtoull(told, NULL, 10);

    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        unsigned long long of, at[4] = { 0 }, pid = strtoull(entry->d_name, NULL, 10);
        char               path[300], text[600] = "", *rest;
        FILE              *file;

        (void)snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        if (pid == 0 || (file = fopen(path, "r")) == NULL)
            continue;
        rest = fgets(text, sizeof text, file) == NULL ? NULL : strrchr(text, ')');
        fclose(file);
        if (rest == NULL || sscanf(rest + 2, "%*c %llu %*u %*u %*u %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &of, &at[0], &at[1],
                                   &at[2], &at[3]) != 5)
            continue;
        if (pid == parent)
            ticks += at[0] + at[1] + at[2] + at[3];
        else if (of == parent)
            ticks += at[0] + at[1];
    }
    if (proc != NULL)
        closedir(proc);
    return (int64_t)(ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

static const char *kind(uint64_t roll)
{
    if (roll % 20 == 0)
        return "$identify";
    return roll % 50 == 1 ? "$groupidentify" : roll % 2 == 0 ? "$pageview" : "$autocapture";
}

/* first: of this person, and nothing but a page view. */
static void make_event(struct log_batch *batch, uint64_t number, uint64_t persons, bool first)
{
    static const char *const browsers[] = { "Chrome", "Firefox", "Safari", "Edge" };
    uint64_t      roll = first ? draw() / 100 * 100 + 2 : draw(), person = first ? number : draw() % persons;
    char          data[4096], id[32], ip[16];
    struct record record = { .kind = RECORD_EVENT, .project = 1, .sent_at_us = 1709287200000000 + (int64_t)number };

    (void)snprintf(id, sizeof id, "%s%" PRIu64, roll % 20 == 0 ? "user-" : "anon-", person);
    (void)snprintf(ip, sizeof ip, "%u.%u.%u.%u", 1 + (unsigned)(person % 9), (unsigned)(person >> 3 & 255),
                   (unsigned)(person >> 5 & 255), (unsigned)(person & 255));
    record.event = span_text(kind(roll));
    record.distinct_id = span_text(id);
    record.ip = span_text(ip);
    record.token = SPAN("phc_bench");
    record.received_us = 1709287200000000 + (int64_t)number;
    record.timestamp_us = record.received_us;
    record.timestamp_source = RECORD_TIME_RAW;
    record.uuid = uuid_v7(record.received_us / 1000, (const uint8_t *)&(uint64_t[2]){ roll % 100 == 7 ? 1 : draw(), 1 });
    (void)snprintf(data, sizeof data,
        "{\"uuid\":\"0190b7a4-0000-7000-8000-%012" PRIx64 "\",\"event\":\"%s\",\"properties\":{\"$os\":\"Mac OS X\","
        "\"$os_version\":\"10.15.7\",\"$browser\":\"%s\",\"$device_type\":\"Desktop\",\"$current_url\":"
        "\"https://shop.example.com/products/%u?ref=home&x=%u\",\"$host\":\"shop.example.com\",\"$pathname\":\"/products/%u\","
        "\"$browser_version\":%u,\"$browser_language\":\"en-GB\",\"$screen_height\":1080,\"$screen_width\":1920,"
        "\"$viewport_height\":969,\"$viewport_width\":1903,\"$lib\":\"web\",\"$lib_version\":\"1.257.0\","
        "\"$insert_id\":\"%016" PRIx64 "\",\"$time\":17092872%05u.123,\"distinct_id\":\"%s\",\"$device_id\":\"dev-%" PRIu64 "\","
        "\"$referrer\":\"$direct\",\"$referring_domain\":\"$direct\",\"title\":\"Product %u - Shop\",\"price\":%u.99,"
        "\"quantity\":%u,\"in_stock\":true,\"tags\":[\"a\",\"b\",\"c\"],\"$session_id\":\"0190b7a4-0000-7000-8000-%012" PRIx64 "\","
        "\"$window_id\":\"0190b7a4-1111-7000-8000-%012" PRIx64 "\",\"$groups\":{\"company\":\"c%u\"},\"$group_type\":\"company\","
        "\"$group_key\":\"c%u\",\"$group_set\":{\"seats\":%u},\"%s\":\"anon-%" PRIu64 "\"},\"timestamp\":\"2024-03-01T10:00:00.000Z\"}",
        number, kind(roll), browsers[person % 4], (unsigned)(roll >> 8 & 1023), (unsigned)(roll >> 20 & 255),
        (unsigned)(roll >> 8 & 1023), (unsigned)(100 + person % 30), roll, (unsigned)(number % 100000), id, person,
        (unsigned)(roll >> 8 & 1023), (unsigned)(roll >> 30 & 255), (unsigned)(roll >> 38 & 7), person, person,
        (unsigned)(person % 100), (unsigned)(person % 100), (unsigned)(roll >> 41 & 63),
        roll % 20 == 0 ? "$anon_distinct_id" : "visitor", person);
    record.data = span_text(data);
    record_write(&record, log_batch_begin(batch, record_bytes(&record)));
    log_batch_end(batch, record_bytes(&record));
}

int main(int argc, char **argv)
{
    static const char *const parts[INGEST_PARTS] = { "normalise", "seen", "people", "render", "finish", "append+sync", "commit" };
    uint64_t              events = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    uint64_t              persons = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000, bytes = 0;
    uint64_t              known = argc > 6 && strcmp(argv[6], "known") == 0 ? persons : 0;
    int64_t               parts_us[INGEST_PARTS];
    char                  folder[64] = "/tmp/penstock-bench-XXXXXX", path[256];
    struct ingest_options options;
    const char           *postgres = getenv("PENSTOCK_TEST_POSTGRES");
    const struct stores   stores = {
        .log = { .backend = "embedded" }, .people = { .backend = "postgres", .url = postgres, .password_file = "" },
        .warehouse = { .backend = "duckdb" }, .catalog = { .backend = "sqlite" }
    };
    struct role_env       env = { .data_folder = folder, .options = &options, .stop_fd = -1,
                                  .stores = postgres == NULL ? NULL : &stores };
    struct log           *log;
    struct log_writer    *raw;
    struct log_batch     *batch = log_batch_new();
    struct catalog       *catalog;
    struct ingest        *ingest;
    uint32_t              project;
    uint64_t              base;
    int64_t               wall_us, spent_us, thread_us, theirs_us;

    if (mkdtemp(folder) == NULL)
        return 1;
    (void)snprintf(path, sizeof path, "%s/catalog.db", folder);
    must(catalog_open(path, &catalog, &err));
    must(catalog_project_create(catalog, "bench", &project, &err));
    catalog_close(catalog);
    (void)snprintf(path, sizeof path, "%s/log", folder);
    must(log_open(&(struct log_options){ .folder = path }, &log, &err));
    must(log_writer_open(log, "raw", 0, &(struct log_topic_options){ .codec = LOG_CODEC_LZ4 }, &raw, &err));
    for (uint64_t i = 0; i < known + events; i++) {
        make_event(batch, i, persons, i < known);
        if (log_batch_count(batch) == 500 || i + 1 == known || i + 1 == known + events) {
            bytes += i < known ? 0 : log_batch_bytes(batch);
            must(log_writer_append(raw, batch, 0, &base, &err));
            log_batch_reset(batch);
        }
    }
    must(log_writer_sync(raw, &err));
    log_writer_publish(raw, known > 0 ? known : log_writer_end(raw));
    option_defaults(ingest_role.options, &options);
    options.geoip_folder = argc > 3 ? argv[3] : "off";
    if (argc > 4)
        options.batch_records = atoll(argv[4]);
    options.threads = argc > 5 ? atoll(argv[5]) : 1;
    if (getenv("PENSTOCK_BENCH_PEOPLE_MIB") != NULL)
        options.people_memory = atoll(getenv("PENSTOCK_BENCH_PEOPLE_MIB")) << 20;
    ingest_keep_memory();
    must(ingest_open(&env, &ingest, &err));
    if (known > 0)
        run(ingest);
    memcpy(parts_us, ingest_spent_us(ingest), sizeof parts_us);
    log_writer_publish(raw, log_writer_end(raw));
    wall_us = clock_mono_us();
    spent_us = cpu_us();
    thread_us = clock_thread_us();
    theirs_us = server_us();
    run(ingest);
    wall_us = clock_mono_us() - wall_us;
    spent_us = cpu_us() - spent_us;
    thread_us = clock_thread_us() - thread_us;
    printf("%" PRIu64 " events of %.0f bytes: %.2f us of CPU each, %.0f a second by the clock\n", events,
           (double)bytes / (double)events, (double)spent_us / (double)events, (double)events * 1e6 / (double)wall_us);
    printf("  %-12s %6.2f us, of the thread that keeps the order: with cores enough, nothing is faster\n", "one thread",
           (double)thread_us / (double)events);
    if (postgres != NULL)
        printf("  %-12s %6.2f us of CPU\n", "PostgreSQL", (double)(server_us() - theirs_us) / (double)events);
    for (int i = 0; i < INGEST_PARTS; i++)
        printf("  %-12s %6.2f us\n", parts[i], (double)(ingest_spent_us(ingest)[i] - parts_us[i]) / (double)events);
    for (int i = 0; i < FATE_COUNT; i++)
        if (ingest_place(ingest)->counters[i] > 0)
            printf("  %-12s %" PRIu64 "\n", fate_info(i)->name, ingest_place(ingest)->counters[i]);
    (void)snprintf(path, sizeof path, "cd %s && du -B1 people log/events log/people | awk '{ printf \"  %%-12s %%.0f MB\\n\", $2, $1 / 1e6 }'", folder);
    (void)fflush(stdout);
    if (system(path) != 0)
        return 1;
    ingest_close(ingest);
    log_writer_close(raw);
    log_batch_free(batch);
    log_close(log);
    (void)snprintf(path, sizeof path, "rm -rf %s", folder);
    return system(path) != 0;
}
