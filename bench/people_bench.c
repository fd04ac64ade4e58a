/* bench/people_bench.c - what the people step costs: a batch of ordinary events of known persons.
 *
 *   people_bench [persons 100000] [batches 20] [events a batch 5000] [folder /tmp] [memory MiB 4] [visit 8]
 * Each event has some 25 $set and 25 $set_once keys, as a browser SDK sends them; three of them (address, path,
 * referrer) differ from event to event and are filtered, one in ten events changes something that is kept.
 * Events come in visits of so many by one person. Memory: of persons and ids at hand. Times are CPU time of
 * this thread for one event, and for the commit the wall clock too, as it waits for the disk. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "people/batch.h"

enum { TEXT_BYTES = 1600 };

static const char *const steady[] = {
    "$browser",
    "$browser_version",
    "$device_type",
    "$os",
    "$os_version",
    "$screen_height",
    "$screen_width",
    "$viewport_height",
    "$viewport_width",
    "$raw_user_agent",
    "$geoip_city_name",
    "$geoip_country_name",
    "$geoip_country_code",
    "$geoip_continent_name",
    "$geoip_continent_code",
    "$geoip_latitude",
    "$geoip_longitude",
    "$geoip_time_zone",
    "$geoip_subdivision_1_code",
    "$geoip_subdivision_1_name",
    "utm_source",
};

static _Noreturn void stop(const struct err *err)
{
    (void)fprintf(stderr, "people_bench: %s\n", err->text);
    exit(1);
}

static const struct json_members *members(struct arena *arena, const char *text, size_t bytes)
{
    struct json_members *out = arena_alloc(arena, sizeof *out);
    struct span copy = arena_copy(arena, span_of(text, bytes));
    struct err err;

    if (out == NULL || copy.at == NULL || json_members_read(copy, arena, out, &err) < 0)
        stop(&err);
    return out;
}

static void make_event(struct arena *arena, unsigned person, unsigned visit, unsigned n, struct people_event *out)
{
    char set[TEXT_BYTES], once[TEXT_BYTES + 400], id[64];
    int at = 0, to = 0;
    unsigned i;

    for (i = 0; i < sizeof steady / sizeof *steady; i++) {
        at += snprintf(set + at, sizeof set - (size_t)at, "%c\"%s\":\"value %u of %u\"", i == 0 ? '{' : ',', steady[i],
                       i, person % 50);
        to += snprintf(once + to, sizeof once - (size_t)to, "%c\"$initial_%s\":\"value %u of %u\"", i == 0 ? '{' : ',',
                       steady[i] + (steady[i][0] == '$'), i, visit % 90);
    }
    (void)snprintf(set + at, sizeof set - (size_t)at,
                   ",\"$current_url\":\"https://shop.example/items/%u?page=%u\",\"$pathname\":\"/items/%u\","
                   "\"$referrer\":\"https://shop.example/items/%u\",\"plan\":\"%u\"}",
                   n, n % 7, n, n - 1, n % 10 == 0 ? n : person);
    (void)snprintf(once + to, sizeof once - (size_t)to, ",\"$initial_current_url\":\"https://shop.example/%u\"}", n);
    *out = (struct people_event){ .project = 1, .timestamp_us = 1000000 + (int64_t)n };
    out->distinct_id = arena_copy(arena, span_of(id, (size_t)snprintf(id, sizeof id, "0190a%07u-8c5e-7d3a-b1f0-%012u",
                                                                      person * 7919 % 9999991, person)));
    memcpy(out->uuid.bytes, &n, sizeof n);
    out->set = members(arena, set, strlen(set));
    out->set_once = members(arena, once, strlen(once));
}

static int64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int row_count(void *ctx, const struct row *row, struct err *err)
{
    (void)row, (void)err;
    ++*(unsigned *)ctx;
    return 0;
}

struct times {
    int64_t begin, seen, apply, finish, commit, wait;
    size_t properties_bytes;
    unsigned rows;
};

static void run_batch(struct people *people, struct arena *arena, const struct people_event *events, size_t count,
                      struct times *times)
{
    struct people_txn *txn;
    struct people_batch *batch;
    struct people_result result;
    struct people_seen *ids = calloc(count, sizeof *ids);
    struct err err;
    int64_t at = cpu_ns(), now, wall;
#define LAP(field) (now = cpu_ns(), times->field += now - at, at = now)

    if (ids == NULL || people_begin(people, true, &txn, &err) < 0 || people_batch_begin(txn, arena, &batch, &err) < 0)
        stop(&err);
    LAP(begin);
    for (size_t i = 0; i < count; i++) {
        uint8_t random[10];

        memcpy(random, &i, 8);
        memcpy(random + 8, &now, 2);
        ids[i].project = 1;
        ids[i].uuid = uuid_v7(clock_mono_us() / 1000, random);
    }
    at = cpu_ns();
    if (people_seen_add(txn, ids, count, 20000, &err) < 0)
        stop(&err);
    LAP(seen);
    for (size_t i = 0; i < count; i++) {
        if (people_batch_apply(batch, &events[i], &result, &err) < 0)
            stop(&err);
        times->properties_bytes += result.properties.bytes;
    }
    LAP(apply);
    if (people_batch_finish(batch, row_count, &times->rows, &err) < 0)
        stop(&err);
    LAP(finish);
    wall = clock_mono_us();
    if (people_commit(txn, &err) < 0)
        stop(&err);
    LAP(commit);
    times->wait += clock_mono_us() - wall;
    free(ids);
}

static void report(const char *name, const struct times *times, size_t events)
{
    double n = (double)events * 1000;

    printf("%-6s %zu events, us each: seen %.3f  apply %.3f  finish %.3f  commit %.3f (wall %.3f)\n", name, events,
           (double)times->seen / n, (double)times->apply / n, (double)times->finish / n, (double)times->commit / n,
           (double)times->wait * 1000 / n);
    printf("       %.2f rows and %.0f bytes of properties an event\n", (double)times->rows / (double)events,
           (double)times->properties_bytes / (double)events);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    unsigned persons = argc > 1 ? (unsigned)atoi(argv[1]) : 100000, batches = argc > 2 ? (unsigned)atoi(argv[2]) : 20;
    size_t each = argc > 3 ? (size_t)atoi(argv[3]) : 5000, memory = argc > 5 ? (size_t)atoi(argv[5]) << 20 : 0;
    size_t visit = argc > 6 ? (size_t)atoi(argv[6]) : 8;
    char folder[200], path[220];
    struct arena *arena = arena_new(256 << 20, (size_t)4 << 30);
    struct people_event *events = calloc(each, sizeof *events);
    struct people *people;
    struct times made = { 0 }, known = { 0 };
    struct err err;
    unsigned n = 0, random = 1;

    (void)snprintf(folder, sizeof folder, "%s/penstock_people_bench_XXXXXX", argc > 4 ? argv[4] : "/tmp");
    if (arena == NULL || events == NULL || mkdtemp(folder) == NULL ||
        people_open(&(struct people_options){ .folder = folder, .memory_bytes = memory }, &people, &err) < 0)
        return 1;
    for (unsigned person = 0; person < persons;) {
        size_t count = 0;

        arena_reset(arena);
        for (; count < each && person < persons; count++, person++)
            make_event(arena, person, 0, n += 10, &events[count]);
        run_batch(people, arena, events, count, &made);
    }
    report("new", &made, persons);
    for (unsigned b = 0; b < batches; b++) {
        arena_reset(arena);
        for (size_t i = 0; i < each; i += visit) {
            random = random * 1664525 + 1013904223;
            for (size_t k = i; k < i + visit && k < each; k++)
                make_event(arena, (random >> 4) % persons, b, n++, &events[k]);
        }
        run_batch(people, arena, events, each, &known);
    }
    report("known", &known, batches * each);
    people_close(people);
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    struct stat file;
    if (stat(path, &file) == 0)
        printf("store    %.1f MB for %u persons\n", (double)file.st_size / 1e6, persons);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", folder);
    (void)unlink(path);
    (void)rmdir(folder);
    arena_free(arena);
    free(events);
    return 0;
}
