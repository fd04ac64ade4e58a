/* bench/pauses_bench.c - how long a loader's commits hold the rows behind them, as the warehouse grows.
 *
 *   pauses_bench FOLDER SECONDS RATE PERSONS
 *
 * As if RATE events a second came for SECONDS, with 12 % of them changing one of PERSONS persons and 2 % bringing a new one: a
 * commit each 16,384 events, as fast as it goes. The folder is kept, and another run goes on with it. First all persons are
 * loaded, when the file is new. Told are commits by what they did besides: took the write-ahead log into the file (a checkpoint), put
 * persons or ids into order (settled), neither; milliseconds by the clock and of CPU, at each tenth of the run; at the end CPU an event. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "draw.h"
#include "warehouse/warehouse.h"

enum { COMMIT_ROWS = 2 * WAREHOUSE_GROUP_ROWS };

struct kind { uint64_t count; double wall_ms, cpu_ms, wall_most, cpu_most; };

struct run {
    struct warehouse      *warehouse;
    struct warehouse_place place;
    char                   wal[4200];
    struct row             row;
    uint64_t               persons, version;
    int64_t                us;
    struct kind            plain, checkpoint, slow;
};

static void die(const struct err *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static double cpu_ms(void)
{
    struct timespec at;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static int64_t bytes_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

static struct uuid uuid_of(uint64_t number)
{
    struct uuid uuid;
    uint64_t    mixed = number * 0x9e3779b97f4a7c15u;

    memcpy(uuid.bytes, &mixed, 8);
    memcpy(uuid.bytes + 8, &number, 8);
    return uuid;
}

static void add(struct run *run)
{
    struct err err;

    if (warehouse_add(run->warehouse, &run->row, &err) < 0)
        die(&err);
}

static void add_event(struct run *run)
{
    static char properties[200];
    uint64_t    person = draw() % run->persons;
    int         bytes = snprintf(properties, sizeof properties, "{\"$os\":\"Mac OS X\",\"$current_url\":\"https://shop.example.com/%" PRIu64
                                 "\",\"$host\":\"shop.example.com\",\"$insert_id\":\"%016" PRIx64 "\"}", draw() % 100000, draw());

    row_init(&run->row, ROW_EVENT);
    row_set_uuid(&run->row, ROW_EVENT_UUID, uuid_of(draw()));
    row_set_text(&run->row, ROW_EVENT_EVENT, SPAN("$pageview"));
    row_set_text(&run->row, ROW_EVENT_PROPERTIES, span_of(properties, (size_t)bytes));
    row_set_i64(&run->row, ROW_EVENT_TIMESTAMP, run->us += 20);
    row_set_i64(&run->row, ROW_EVENT_TEAM_ID, 1);
    row_set_text(&run->row, ROW_EVENT_DISTINCT_ID, span_of(properties + 60, 16));
    row_set_i64(&run->row, ROW_EVENT_CREATED_AT, run->us);
    row_set_uuid(&run->row, ROW_EVENT_PERSON_ID, uuid_of(person));
    row_set_text(&run->row, ROW_EVENT_PERSON_PROPERTIES, span_of(properties, (size_t)bytes));
    row_set_text(&run->row, ROW_EVENT_PERSON_MODE, SPAN("full"));
    row_set_i64(&run->row, ROW_EVENT_CAPTURED_AT, run->us);
    row_set_i64(&run->row, ROW_EVENT_PROJECT_ID, 1);
    row_set_i64(&run->row, ROW_EVENT_RAW_OFFSET, run->us);
    add(run);
}

/* About 1 KB, as a person of living traffic. */
static void add_person(struct run *run, uint64_t person)
{
    static char text[2000];
    int         bytes = snprintf(text, sizeof text, "{\"email\":\"user%" PRIu64 "@example.com\",\"seen\":%" PRIu64, person, run->version);

    for (int i = 0; i < 30; i++)
        bytes += snprintf(text + bytes, sizeof text - (size_t)bytes, ",\"$initial_property_%d\":\"%" PRIx64 "\"", i, person * (uint64_t)(i + 7) % 4000);
    bytes += snprintf(text + bytes, sizeof text - (size_t)bytes, "}");
    row_init(&run->row, ROW_PERSON);
    row_set_uuid(&run->row, ROW_PERSON_ID, uuid_of(person));
    row_set_i64(&run->row, ROW_PERSON_CREATED_AT, 1700000000000000);
    row_set_i64(&run->row, ROW_PERSON_TEAM_ID, 1);
    row_set_text(&run->row, ROW_PERSON_PROPERTIES, span_of(text, (size_t)bytes));
    row_set_i64(&run->row, ROW_PERSON_IS_IDENTIFIED, 1);
    row_set_i64(&run->row, ROW_PERSON_IS_DELETED, 0);
    row_set_i64(&run->row, ROW_PERSON_VERSION, (int64_t)run->version++);
    add(run);
}

static void add_id(struct run *run, uint64_t person)
{
    char id[40];
    int  bytes = snprintf(id, sizeof id, "0193-visitor-%020" PRIu64, person * 0x9e3779b97f4a7c15u);

    row_init(&run->row, ROW_DISTINCT);
    row_set_i64(&run->row, ROW_DISTINCT_TEAM_ID, 1);
    row_set_text(&run->row, ROW_DISTINCT_DISTINCT_ID, span_of(id, (size_t)bytes));
    row_set_uuid(&run->row, ROW_DISTINCT_PERSON_ID, uuid_of(person));
    row_set_i64(&run->row, ROW_DISTINCT_IS_DELETED, 0);
    row_set_i64(&run->row, ROW_DISTINCT_VERSION, (int64_t)run->version);
    add(run);
}

static void note(struct kind *kind, double wall, double cpu)
{
    kind->count++;
    kind->wall_ms += wall;
    kind->cpu_ms += cpu;
    kind->wall_most = wall > kind->wall_most ? wall : kind->wall_most;
    kind->cpu_most = cpu > kind->cpu_most ? cpu : kind->cpu_most;
}

static void commit(struct run *run)
{
    struct err err;
    int64_t    before = bytes_of(run->wal), from = clock_mono_us();
    double     cpu = cpu_ms(), wall;

    run->place.next[0] += warehouse_pending(run->warehouse);
    if (warehouse_commit(run->warehouse, &run->place, &err) < 0)
        die(&err);
    cpu = cpu_ms() - cpu;
    wall = (double)(clock_mono_us() - from) / 1e3;
    if (bytes_of(run->wal) < before)
        note(&run->checkpoint, wall, cpu);
    else
        note(run->plain.count > 3 && cpu > 2 * run->plain.cpu_ms / (double)run->plain.count ? &run->slow : &run->plain, wall, cpu);
}

static void tell(const char *what, struct kind *kind)
{
    double count = kind->count > 0 ? (double)kind->count : 1;

    printf(" | %s %3" PRIu64 ": %5.0f ms (most %5.0f), CPU %5.0f (%5.0f)", what, kind->count, kind->wall_ms / count, kind->wall_most,
           kind->cpu_ms / count, kind->cpu_most);
    *kind = (struct kind){ 0 };
}

int main(int argc, char **argv)
{
    struct warehouse_options options = { .library = getenv("PENSTOCK_BENCH_LIBRARY") };
    struct run               run = { .us = 1700000000000000 };
    struct err               err;
    char                     path[4096];
    uint64_t                 events;
    double                   cpu;

    if (argc != 5) {
        fprintf(stderr, "usage: pauses_bench FOLDER SECONDS RATE PERSONS\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/bench.duckdb", argv[1]);
    snprintf(run.wal, sizeof run.wal, "%s.wal", path);
    options.path = path;
    events = strtoull(argv[2], NULL, 10) * strtoull(argv[3], NULL, 10);
    run.persons = strtoull(argv[4], NULL, 10);
    if (warehouse_open(&options, &run.warehouse, &err) < 0 || warehouse_place(run.warehouse, &run.place, &err) < 0)
        die(&err);
    run.us += (int64_t)run.place.loaded[ROW_EVENT] * 20;
    run.version = 1 + run.place.loaded[ROW_PERSON];
    if (run.place.loaded[ROW_PERSON] == 0) {
        for (uint64_t i = 0; i < run.persons; i++) {
            add_person(&run, i);
            add_id(&run, i);
            if (warehouse_pending(run.warehouse) >= 100000)
                commit(&run);
        }
        commit(&run);
    }
    run.plain = run.slow = run.checkpoint = (struct kind){ 0 };
    cpu = cpu_ms();
    for (uint64_t i = 0, told = 0; i < events; i++) {
        add_event(&run);
        if (i % 100 < 10)
            add_person(&run, draw() % run.persons);
        else if (i % 100 < 12) {
            add_person(&run, run.persons);
            add_id(&run, run.persons++);
        }
        if (warehouse_pending_of(run.warehouse, ROW_EVENT) == COMMIT_ROWS)
            commit(&run);
        if ((i + 1) * 10 / events > told) {
            told++;
            printf("%9" PRIu64 " events", run.place.loaded[ROW_EVENT]);
            tell("plain", &run.plain);
            tell("settled", &run.slow);
            tell("checkpoint", &run.checkpoint);
            printf("\n");
            fflush(stdout);
        }
    }
    commit(&run);
    printf("CPU of all, an event: %.2f us\n", (cpu_ms() - cpu) * 1e3 / (double)events);
    warehouse_close(run.warehouse);
    return 0;
}
