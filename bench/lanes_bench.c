/* bench/lanes_bench.c - one hot distinct id beside others, in ingest alone: how long the others wait.
 *
 * usage: lanes_bench [SECONDS] [TURNS] [OTHERS_PERCENT] [HOT_PERCENT]   default 10 3 60 50
 *
 * Measures first how many events a second this ingest takes. Then, by turns and each on new folders, a thread feeds
 * the topic raw at OTHERS_PERCENT of that by 20,000 ids (squared uniform: the first one sends 0.7 %); the same and
 * HOT_PERCENT by one id with nobody moved aside (overflow_burst 0); the same with the settings as they come. From the
 * append of a frame (20 ms of events) to the commit of its last event, in the second half of the time. A machine that
 * others use, too, changes from second to second: compare within a run, and mind the capacity. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "event/record.h"
#include "ingest/ingest.h"
#include "ingest/outputs.h"
#include "log/log.h"

enum { FRAME_US = 20000, FRAMES_MAX = 1 << 16, POOL = 20000, CAPACITY_EVENTS = 60000, WAYS = 3, TURNS_MAX = 99 };

struct frame { uint64_t end; int64_t at_us; };

struct feed {
    struct log_writer *raw;
    double             others, hot; /* events a second */
    int64_t            until_us;
    struct frame       frames[FRAMES_MAX];
    atomic_size_t      count;
    atomic_bool        over;
};

static struct err  err;
static struct span pool[POOL], hot_body;
static uint64_t    dice_state = 88172645463325252u, uuids;
static struct feed feed;

static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "lanes_bench: %s\n", err.text);
        exit(1);
    }
}

static uint64_t dice(void)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state;
}

/* --- events ------------------------------------------------------------------------------------ */

static struct span make_body(const char *id)
{
    char          data[2048];
    struct record record = { .kind = RECORD_EVENT, .project = 1, .sent_at_us = CLOCK_NONE, .event = SPAN("$pageview"),
                             .token = SPAN("phc_bench"), .ip = SPAN("1.2.3.4"), .timestamp_source = RECORD_TIME_RAW };
    uint8_t      *body;

    (void)snprintf(data, sizeof data,
        "{\"event\":\"$pageview\",\"properties\":{\"$os\":\"Mac OS X\",\"$os_version\":\"10.15.7\",\"$browser\":\"Chrome\","
        "\"$device_type\":\"Desktop\",\"$current_url\":\"https://shop.example.com/products/%u\",\"$host\":\"shop.example.com\","
        "\"$browser_version\":124,\"$browser_language\":\"en-GB\",\"$screen_height\":1080,\"$screen_width\":1920,"
        "\"$viewport_height\":969,\"$viewport_width\":1903,\"$lib\":\"web\",\"$lib_version\":\"1.257.0\",\"$insert_id\":\"%016" PRIx64
        "\",\"distinct_id\":\"%s\",\"$referrer\":\"$direct\",\"$referring_domain\":\"$direct\",\"price\":%u.99,\"$set\":{\"choice\":%u}}}",
        (unsigned)(dice() & 1023), dice(), id, (unsigned)(dice() & 255), (unsigned)(dice() & 7));
    record.distinct_id = span_text(id);
    record.data = span_text(data);
    record.received_us = record.timestamp_us = clock_wall_us();
    body = malloc(record_bytes(&record));
    if (body == NULL)
        exit(1);
    record_write(&record, body);
    return span_of(body, record_bytes(&record));
}

static void make_pool(void)
{
    char id[32];

    for (size_t i = 0; i < POOL; i++) {
        double share = (double)(dice() >> 11) / (double)(1ull << 53);

        (void)snprintf(id, sizeof id, "user-%u", (unsigned)(20000 * share * share));
        pool[i] = make_body(id);
    }
    hot_body = make_body("hot");
}

/* The uuid stands at 8, the time of acceptance at 24 and 32 (event/record.h). */
static void add_event(struct log_batch *batch, struct span body)
{
    uint64_t random[2] = { dice(), ++uuids };
    int64_t  now_us = clock_wall_us();
    struct uuid uuid = uuid_v7(now_us / 1000, (const uint8_t *)random);
    uint8_t *to = log_batch_begin(batch, body.bytes);

    memcpy(to, body.at, body.bytes);
    memcpy(to + 8, uuid.bytes, sizeof uuid.bytes);
    memcpy(to + 24, &now_us, sizeof now_us);
    memcpy(to + 32, &now_us, sizeof now_us);
    log_batch_end(batch, body.bytes);
}

static void append(struct log_writer *raw, struct log_batch *batch)
{
    uint64_t base;

    must(log_writer_append(raw, batch, clock_wall_us(), &base, &err));
    must(log_writer_sync(raw, &err));
    log_batch_reset(batch);
}

static void *feeder(void *arg)
{
    struct log_batch *batch = log_batch_new();
    double            others = 0, hot = 0;
    int64_t           last_us = clock_mono_us();

    (void)arg;
    while (clock_mono_us() < feed.until_us) {
        size_t  at = atomic_load(&feed.count);
        int64_t now_us;

        (void)usleep(FRAME_US);
        now_us = clock_mono_us();
        others += feed.others * (double)(now_us - last_us) / 1e6;
        hot += feed.hot * (double)(now_us - last_us) / 1e6;
        last_us = now_us;
        while (others >= 1 || hot >= 1) { /* one beside the other, as they would come */
            if (others >= 1 && (hot < 1 || others / feed.others > hot / feed.hot)) {
                add_event(batch, pool[dice() % POOL]);
                others -= 1;
            } else {
                add_event(batch, hot_body);
                hot -= 1;
            }
        }
        if (log_batch_count(batch) == 0 || at == FRAMES_MAX)
            continue;
        append(feed.raw, batch);
        feed.frames[at] = (struct frame){ log_writer_end(feed.raw), now_us };
        atomic_store(&feed.count, at + 1);
        log_writer_publish(feed.raw, log_writer_end(feed.raw));
    }
    log_batch_free(batch);
    atomic_store(&feed.over, true);
    return NULL;
}

/* --- one run ----------------------------------------------------------------------------------- */

struct site {
    char                  folder[256];
    struct log           *log;
    struct ingest_options options;
    struct role_env       env;
    struct ingest        *ingest;
};

static void site_open(struct site *site, int64_t burst)
{
    struct catalog *catalog;
    uint32_t        project;
    char            path[300];

    memset(site, 0, sizeof *site);
    (void)snprintf(site->folder, sizeof site->folder, "%s/penstock-lanes-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(site->folder) == NULL)
        exit(1);
    (void)snprintf(path, sizeof path, "%s/catalog.db", site->folder);
    must(catalog_open(path, &catalog, &err));
    must(catalog_project_create(catalog, "bench", &project, &err));
    catalog_close(catalog);
    (void)snprintf(path, sizeof path, "%s/log", site->folder);
    must(log_open(&(struct log_options){ .folder = path }, &site->log, &err));
    must(log_writer_open(site->log, "raw", 0, &(struct log_topic_options){ .codec = LOG_CODEC_LZ4 }, &feed.raw, &err));
    option_defaults(ingest_role.options, &site->options);
    site->options.geoip_folder = "off";
    if (burst >= 0)
        site->options.overflow_burst = burst;
    site->env = (struct role_env){ .data_folder = site->folder, .options = &site->options, .stop_fd = -1 };
}

static void site_close(struct site *site)
{
    char command[300];

    ingest_close(site->ingest);
    log_writer_close(feed.raw);
    log_close(site->log);
    (void)snprintf(command, sizeof command, "rm -rf %s", site->folder);
    if (system(command) != 0)
        exit(1);
}

static double measure_capacity(void)
{
    struct log_batch *batch = log_batch_new();
    struct site       site;
    int64_t           from_us;

    site_open(&site, -1);
    for (int i = 0; i < CAPACITY_EVENTS; i++) {
        add_event(batch, pool[dice() % POOL]);
        if (log_batch_count(batch) == 200)
            append(feed.raw, batch);
    }
    log_writer_publish(feed.raw, log_writer_end(feed.raw));
    must(ingest_open(&site.env, &site.ingest, &err));
    from_us = clock_mono_us();
    while (ingest_lag(site.ingest) > 0)
        must(ingest_step(site.ingest, &err));
    from_us = clock_mono_us() - from_us;
    site_close(&site);
    log_batch_free(batch);
    return CAPACITY_EVENTS * 1e6 / (double)from_us;
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return left < right ? -1 : left > right;
}

struct outcome { double p50_ms, p99_ms; uint64_t moved, moved_done; };

static struct outcome run(double others, double hot, int64_t burst, int seconds)
{
    static int64_t waits[FRAMES_MAX];
    struct site    site;
    struct outcome out;
    pthread_t      thread;
    size_t         done = 0, first = 0, kept = 0;
    int64_t        half_us;

    site_open(&site, burst);
    must(ingest_open(&site.env, &site.ingest, &err));
    feed.others = others;
    feed.hot = hot;
    half_us = clock_mono_us() + (int64_t)seconds * 500000;
    feed.until_us = half_us + (int64_t)seconds * 500000;
    atomic_store(&feed.count, 0);
    atomic_store(&feed.over, false);
    if (pthread_create(&thread, NULL, feeder, NULL) != 0)
        exit(1);
    while (!atomic_load(&feed.over) || done < atomic_load(&feed.count)) {
        int rc = ingest_step(site.ingest, &err);

        must(rc);
        if (rc == 0)
            (void)usleep(500);
        for (; done < atomic_load(&feed.count) && feed.frames[done].end <= ingest_place(site.ingest)->input_next[INPUT_RAW]; done++)
            waits[done] = clock_mono_us() - feed.frames[done].at_us;
    }
    (void)pthread_join(thread, NULL);
    while (first < done && feed.frames[first].at_us < half_us)
        first++;
    kept = done - first;
    qsort(waits + first, kept, sizeof *waits, by_value);
    out = (struct outcome){ .p50_ms = (double)waits[first + kept / 2] / 1e3, .p99_ms = (double)waits[first + kept * 99 / 100] / 1e3,
                            .moved = ingest_place(site.ingest)->output_end[OUTPUT_RAW_OVERFLOW],
                            .moved_done = ingest_place(site.ingest)->input_next[INPUT_OVERFLOW] };
    site_close(&site);
    return out;
}

static double median(double *values, int count)
{
    for (int i = 1; i < count; i++)
        for (int k = i; k > 0 && values[k] < values[k - 1]; k--) {
            double swap = values[k];

            values[k] = values[k - 1];
            values[k - 1] = swap;
        }
    return values[count / 2];
}

int main(int argc, char **argv)
{
    static const char *const names[WAYS] = { "others alone", "and a hot id, nobody moved", "and a hot id, moved aside" };
    int    seconds = argc > 1 ? atoi(argv[1]) : 10, turns = argc > 2 ? atoi(argv[2]) : 3;
    double others = argc > 3 ? atof(argv[3]) : 60, hot = argc > 4 ? atof(argv[4]) : 50, p50[WAYS][TURNS_MAX], p99[WAYS][TURNS_MAX];

    if (seconds < 1 || turns < 1 || turns > TURNS_MAX)
        return 2;
    ingest_keep_memory();
    make_pool();
    for (int turn = 0; turn < turns; turn++) {
        double capacity = measure_capacity();

        printf("turn %d: %.0f events a second is all\n", turn + 1, capacity);
        for (int way = 0; way < WAYS; way++) {
            struct outcome out = run(capacity * others / 100, way == 0 ? 0 : capacity * hot / 100, way == 1 ? 0 : -1, seconds);

            p50[way][turn] = out.p50_ms;
            p99[way][turn] = out.p99_ms;
            printf("  %-28s p50 %8.1f ms   p99 %8.1f ms   moved %" PRIu64 ", of these processed %" PRIu64 "\n", names[way], out.p50_ms,
                   out.p99_ms, out.moved, out.moved_done);
            (void)fflush(stdout);
        }
    }
    for (int way = 0; way < WAYS; way++)
        printf("median %-28s p50 %8.1f ms   p99 %8.1f ms\n", names[way], median(p50[way], turns), median(p99[way], turns));
    return 0;
}
