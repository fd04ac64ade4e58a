/* bench/warehouse_bench.c - what a row costs on its way into the warehouse.
 *
 *   warehouse_bench FOLDER ROWS BATCH [people PERSONS]
 *
 * events: ROWS rows of about 1 KB, shaped as page views with 20 properties and 12 person properties, in
 * batches of BATCH; `people`: PERSONS persons first, then ROWS updates of random ones in batches.
 * PENSTOCK_BENCH_LIBRARY, _THREADS, _HURRY (threads while many rows wait), _CRASH (end without closing) in the environment. With PENSTOCK_TEST_CLICKHOUSE (of
 * tests/parts/with.py clickhouse) rows go there, and the engine's own CPU is told beside ours.
 * Prints CPU microseconds a row (user and system, all threads), rows a second, bytes on disk, RSS. */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "draw.h"
#include "warehouse/warehouse.h"

static struct uuid draw_uuid(int64_t us)
{
    struct uuid uuid;

    for (int i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)((uint64_t)(us / 1000) >> (40 - 8 * i));
    for (int i = 6; i < 16; i++)
        uuid.bytes[i] = (uint8_t)draw();
    uuid.bytes[6] = (uint8_t)(0x70 | (uuid.bytes[6] & 15));
    return uuid;
}

static double cpu_s(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static long rss_kib(void)
{
    char  line[200];
    long  kib = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib;
}

static int64_t file_bytes(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

static void die(const struct err *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static const char *const pages[] = { "/", "/pricing", "/docs/start", "/docs/api/events", "/blog/how-we-work", "/login",
                                     "/settings/members", "/cart", "/checkout/payment", "/product/8812-blue" };
static const char *const agents[] = { "Chrome", "Firefox", "Mobile Safari", "Microsoft Edge" };

static void make_event(struct row *row, char *text, int64_t us, uint64_t number)
{
    const char *page = pages[draw() % 10];
    const char *agent = agents[draw() % 4];
    uint64_t    person = draw() % 50000;
    char       *at = text;
    int         bytes;

    row_init(row, ROW_EVENT);
    row_set_uuid(row, ROW_EVENT_UUID, draw_uuid(us));
    row_set_text(row, ROW_EVENT_EVENT, draw() % 3 == 0 ? SPAN("$autocapture") : SPAN("$pageview"));
    bytes = sprintf(at, "{\"$os\":\"Mac OS X\",\"$os_version\":\"10.15.7\",\"$browser\":\"%s\",\"$browser_version\":%" PRIu64
            ",\"$device_type\":\"Desktop\",\"$current_url\":\"https://shop.example.com%s?utm_source=news&ref=%" PRIu64
            "\",\"$host\":\"shop.example.com\",\"$pathname\":\"%s\",\"$screen_height\":1080,\"$screen_width\":1920,"
            "\"$viewport_height\":%" PRIu64 ",\"$viewport_width\":%" PRIu64 ",\"$lib\":\"web\",\"$lib_version\":\"1.194.3\","
            "\"$insert_id\":\"%016" PRIx64 "\",\"$time\":%" PRIu64 ".%03" PRIu64 ",\"distinct_id\":\"user-%" PRIu64
            "\",\"$session_id\":\"%016" PRIx64 "\",\"$referrer\":\"$direct\",\"amount\":%" PRIu64 ".%02" PRIu64 "}",
            agent, 100 + draw() % 30, page, draw() % 100000, page, 600 + draw() % 400, 900 + draw() % 1000, draw(),
            (uint64_t)us / 1000000, (uint64_t)us / 1000 % 1000, person, draw() & 0xffffff, draw() % 500, draw() % 100);
    row_set_text(row, ROW_EVENT_PROPERTIES, span_of(at, (size_t)bytes));
    at += bytes;
    row_set_i64(row, ROW_EVENT_TIMESTAMP, us);
    row_set_i64(row, ROW_EVENT_TEAM_ID, 1);
    bytes = sprintf(at, "user-%" PRIu64, person);
    row_set_text(row, ROW_EVENT_DISTINCT_ID, span_of(at, (size_t)bytes));
    at += bytes;
    row_set_text(row, ROW_EVENT_ELEMENTS_CHAIN, SPAN(""));
    row_set_i64(row, ROW_EVENT_CREATED_AT, us + 20000);
    row_set_uuid(row, ROW_EVENT_PERSON_ID, (struct uuid){ { (uint8_t)(person >> 8), (uint8_t)person, 7, 7, 7, 7, 0x50 } });
    row_set_i64(row, ROW_EVENT_PERSON_CREATED_AT, us - (int64_t)person * 1000000);
    bytes = sprintf(at, "{\"email\":\"user%" PRIu64 "@example.com\",\"plan\":\"%s\",\"$initial_os\":\"Mac OS X\",\"$initial_browser\":"
            "\"%s\",\"$initial_current_url\":\"https://shop.example.com%s\",\"company\":\"Company %" PRIu64
            "\",\"seats\":%" PRIu64 ",\"$creator_event_uuid\":\"018f%012" PRIx64 "\"}",
            person, person % 3 == 0 ? "free" : "team", agents[person % 4], pages[person % 10], person / 20, person % 40,
            person * 2654435761u);
    row_set_text(row, ROW_EVENT_PERSON_PROPERTIES, span_of(at, (size_t)bytes));
    for (int i = 0; i < 5; i++)
        row_set_text(row, ROW_EVENT_GROUP0_PROPERTIES + i, SPAN(""));
    row_set_text(row, ROW_EVENT_PERSON_MODE, SPAN("full"));
    row_set_i64(row, ROW_EVENT_CAPTURED_AT, us + 10000);
    row_set_i64(row, ROW_EVENT_PROJECT_ID, 1);
    row_set_i64(row, ROW_EVENT_RAW_OFFSET, (int64_t)number);
}

static void make_person(struct row *row, char *text, int64_t us, uint64_t person, int64_t version)
{
    int         bytes = sprintf(text, "{\"email\":\"user%" PRIu64 "@example.com\",\"plan\":\"team\",\"seen\":%" PRId64 "}", person, version);
    uint64_t    mixed = person * 0x9e3779b97f4a7c15u;

    row_init(row, ROW_PERSON);
    struct uuid id = { { 0 } };
    memcpy(id.bytes, &mixed, 8);
    memcpy(id.bytes + 8, &person, 8);
    row_set_uuid(row, ROW_PERSON_ID, id);
    row_set_i64(row, ROW_PERSON_CREATED_AT, us);
    row_set_i64(row, ROW_PERSON_TEAM_ID, 1);
    row_set_text(row, ROW_PERSON_PROPERTIES, span_of(text, (size_t)bytes));
    row_set_i64(row, ROW_PERSON_IS_IDENTIFIED, 1);
    row_set_i64(row, ROW_PERSON_IS_DELETED, 0);
    row_set_i64(row, ROW_PERSON_VERSION, version);
}

static size_t keep_text(char *at, size_t one, size_t bytes, void *to)
{
    (void)one;
    snprintf(to, 60, "%.*s", (int)bytes, at);
    return bytes;
}

/* Seconds of the process that has the ClickHouse engine; 0: there is none. */
static double engine_cpu_s(void)
{
    const char *url = getenv("PENSTOCK_TEST_CLICKHOUSE");
    char        address[300], text[60] = "0";
    CURL       *curl = url != NULL ? curl_easy_init() : NULL;

    if (curl == NULL)
        return 0;
    snprintf(address, sizeof address, "%s/_cpu", url);
    curl_easy_setopt(curl, CURLOPT_URL, address);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_text);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, text);
    (void)curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return strtod(text, NULL);
}

static void report(const char *what, double cpu, double wall, uint64_t rows, uint64_t batches, const char *path)
{
    char wal[4200];

    snprintf(wal, sizeof wal, "%s.wal", path);
    printf("%-8s %8" PRIu64 " rows %6" PRIu64 " batches  %6.2f us CPU/row  %8.0f us CPU/batch  %8.0f rows/s  %6.1f MB + wal %6.1f MB  RSS %ld MiB\n",
           what, rows, batches, cpu * 1e6 / (double)rows, cpu * 1e6 / (double)batches, (double)rows / wall,
           (double)file_bytes(path) / 1e6, (double)file_bytes(wal) / 1e6, rss_kib() >> 10);
}

static void add_rows(struct warehouse *warehouse, uint64_t rows, uint64_t batch, uint64_t persons, bool update,
                     const char *what, const char *path)
{
    static struct row      row;
    static char            text[8192];
    struct err             err;
    struct warehouse_place place;
    int64_t                us = 1700000000000000;
    uint64_t               bytes = 0, batches = 0;
    double                 making, cpu, engine = engine_cpu_s();
    int64_t                wall;

    if (warehouse_place(warehouse, &place, &err) < 0)
        die(&err);
    /* The cost of making rows is measured and taken off. */
    making = cpu_s();
    for (uint64_t i = 0; i < rows; i++) {
        if (persons == 0)
            make_event(&row, text, us + (int64_t)i * 1000, i);
        else
            make_person(&row, text, us, update ? draw() % persons : i, (int64_t)i + update);
        bytes += row_bytes(&row);
    }
    making = cpu_s() - making;
    cpu = cpu_s();
    wall = clock_mono_us();
    for (uint64_t i = 0; i < rows; i++) {
        if (persons == 0)
            make_event(&row, text, us + (int64_t)i * 1000, i);
        else
            make_person(&row, text, us, update ? draw() % persons : i, (int64_t)i + update);
        row.offset = i;
        if (warehouse_add(warehouse, &row, &err) < 0)
            die(&err);
        if (warehouse_pending(warehouse) >= batch || i + 1 == rows) {
            place.next[0] += warehouse_pending(warehouse);
            if (warehouse_commit(warehouse, &place, &err) < 0)
                die(&err);
            batches++;
        }
    }
    report(what, cpu_s() - cpu - making, (double)(clock_mono_us() - wall) / 1e6, rows, batches, path);
    printf("         %" PRIu64 " bytes a row\n", bytes / rows);
    if (engine > 0)
        printf("         the engine's own: %.2f us CPU/row (with merges so far)\n", (engine_cpu_s() - engine) * 1e6 / (double)rows);
}

int main(int argc, char **argv)
{
    struct warehouse_settings clickhouse = { .backend = "clickhouse", .url = getenv("PENSTOCK_TEST_CLICKHOUSE"), .user = "default",
                                             .password_file = "", .database = "bench", .cluster = "", .tls_ca = "" };
    struct warehouse_options options = { .library = getenv("PENSTOCK_BENCH_LIBRARY"),
                                         .settings = clickhouse.url != NULL ? &clickhouse : NULL };
    struct warehouse        *warehouse;
    struct err               err;
    char                     path[4096];
    double                   cpu;
    int64_t                  opened_us;

    if (argc < 4) {
        fprintf(stderr, "usage: warehouse_bench FOLDER ROWS BATCH [people PERSONS]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/bench.duckdb", argv[1]);
    options.path = path;
    if (getenv("PENSTOCK_BENCH_THREADS") != NULL)
        options.threads = (unsigned)atoi(getenv("PENSTOCK_BENCH_THREADS"));
    if (getenv("PENSTOCK_BENCH_HURRY") != NULL)
        options.hurry_threads = (unsigned)atoi(getenv("PENSTOCK_BENCH_HURRY"));
    printf("before   RSS %ld MiB\n", rss_kib() >> 10);
    opened_us = clock_mono_us();
    if (warehouse_open(&options, &warehouse, &err) < 0)
        die(&err);
    warehouse_hurry(warehouse, options.hurry_threads > 1 && getenv("PENSTOCK_BENCH_CALM") == NULL);
    printf("opened   in %.2f s, RSS %ld MiB\n", (double)(clock_mono_us() - opened_us) / 1e6, rss_kib() >> 10);
    uint64_t rows = strtoull(argv[2], NULL, 10), batch = strtoull(argv[3], NULL, 10);
    if (argc > 5) {
        uint64_t persons = strtoull(argv[5], NULL, 10);
        add_rows(warehouse, persons, 100000, persons, false, "persons", path);
        warehouse_close(warehouse); /* folded into the file, as it is in daily life */
        if (warehouse_open(&options, &warehouse, &err) < 0)
            die(&err);
        add_rows(warehouse, rows, batch, persons, true, "updates", path);
    } else {
        add_rows(warehouse, rows, batch, 0, false, "events", path);
    }
    if (getenv("PENSTOCK_BENCH_CRASH") != NULL) /* leaves the write-ahead log for the next run to replay */
        _exit(0);
    cpu = cpu_s();
    warehouse_close(warehouse);
    printf("closed   %.2f us CPU/row more, %.1f MB, RSS %ld MiB\n", (cpu_s() - cpu) * 1e6 / (double)rows,
           (double)file_bytes(path) / 1e6, rss_kib() >> 10);
    return 0;
}
