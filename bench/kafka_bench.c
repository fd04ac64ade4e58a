/* bench/kafka_bench.c - what an event costs this process on its way to Kafka and back, in frames and as one message each, and what
 * turning it into such a message and back costs alone. bench/kafka.py runs it beside a broker and adds the broker's CPU.
 *
 * Events are of some 1.1 KB, as browsers send them, 200 different ones. usage: kafka_bench BROKERS frames|upstream|forms EVENTS [BATCH] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/record.h"
#include "log/log_batch.h"
#include "log/upstream_hooks.h"

enum { KINDS = 200 };

static double cpu_us(void)
{
    struct rusage use;

    (void)getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void die(const struct err *err)
{
    (void)fprintf(stderr, "kafka_bench: %s\n", err->text);
    exit(1);
}

static struct span bodies[KINDS];
static size_t      body_bytes;

static void bodies_make(void)
{
    static char text[4096], names[KINDS][64];

    for (unsigned i = 0; i < KINDS; i++) {
        struct record record = { .kind = RECORD_EVENT, .project = 1, .received_us = clock_wall_us(), .timestamp_us = clock_wall_us(),
                                 .sent_at_us = CLOCK_NONE, .token = SPAN("phc_load000000000000000000000000000000000000"), .ip = SPAN("203.0.113.7"),
                                 .event = SPAN("$pageview"), .pipeline = PIPELINE_ANALYTICS };
        uint8_t      *to;

        (void)snprintf(names[i], sizeof names[i], "019c21ac-e950-7abc-8def-%012u", i * 7919u);
        if (!uuid_parse(span_text(names[i]), &record.uuid))
            abort();
        record.distinct_id = span_text(names[i]);
        record.data = span_of(text, (size_t)snprintf(text, sizeof text,
            "{\"uuid\":\"%s\",\"event\":\"$pageview\",\"properties\":{\"$os\":\"Mac OS X\",\"$os_version\":\"10.15.7\",\"$browser\":\"Chrome\",\"$device_type\":\"Desktop\","
            "\"$current_url\":\"https://shop.example/products/%u?utm_source=mail&utm_campaign=c%u\",\"$host\":\"shop.example\",\"$pathname\":\"/products/%u\","
            "\"$raw_user_agent\":\"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36\","
            "\"$browser_version\":150,\"$browser_language\":\"en-US\",\"$screen_height\":1117,\"$screen_width\":1728,\"$viewport_height\":%u,\"$viewport_width\":1728,"
            "\"$lib\":\"web\",\"$lib_version\":\"1.298.%u\",\"$insert_id\":\"k%ux9z%u\",\"$time\":17700915%02u.123,\"distinct_id\":\"%s\",\"$device_id\":\"%s\","
            "\"$referrer\":\"https://www.google.com/\",\"$referring_domain\":\"www.google.com\",\"$session_id\":\"%s\",\"$window_id\":\"%s\",\"token\":\"phc_load\","
            "\"$configured_session_timeout_ms\":1800000,\"plan\":\"team %u\"},\"timestamp\":\"2026-02-03T04:05:%02u.123Z\"}",
            names[i], i, i % 17, i, 700 + i, i % 9, i, i * 31u, i % 60, names[i], names[i], names[i], names[i], i % 5, i % 60));
        to = malloc(record_bytes(&record));
        if (to == NULL)
            abort();
        record_write(&record, to);
        bodies[i] = span_of(to, record_bytes(&record));
        body_bytes += record.data.bytes;
    }
    body_bytes /= KINDS;
}

static void told(const char *what, uint64_t events, double cpu, int64_t us)
{
    printf("{\"what\":\"%s\",\"events\":%" PRIu64 ",\"event_bytes\":%zu,\"cpu_us_per_event\":%.3f,\"events_per_s\":%.0f}\n", what, events, body_bytes,
           cpu / (double)events, (double)events * 1e6 / (double)us);
    (void)fflush(stdout);
}

/* Without any broker. */
static void forms(struct upstream_hooks *hooks, uint64_t events)
{
    struct log_message message;
    struct log_batch  *batch = log_batch_new();
    struct buf         room;
    struct err         err = { 0 };
    double             cpu = cpu_us();
    int64_t            us = clock_mono_us();

    buf_init(&room, 1 << 20);
    for (uint64_t i = 0; i < events; i++) {
        message = (struct log_message){ .part = 0 };
        if (hooks->hooks.write(hooks, "raw", bodies[i % KINDS], &room, &message, &err) < 0)
            die(&err);
    }
    told("record to message", events, cpu_us() - cpu, clock_mono_us() - us);
    cpu = cpu_us();
    us = clock_mono_us();
    for (uint64_t i = 0; i < events; i++) {
        if (i % 1000 == 0)
            log_batch_reset(batch);
        if (hooks->hooks.read(hooks, "raw", &message, batch, &err) < 0)
            die(&err);
    }
    told("message to record", events, cpu_us() - cpu, clock_mono_us() - us);
    buf_fini(&room);
    log_batch_free(batch);
}

static uint64_t write_all(struct log *log, const char *topic, uint64_t events, uint64_t batch_events)
{
    struct log_batch  *batch = log_batch_new();
    struct log_writer *writer;
    struct err         err = { 0 };
    uint64_t           base;

    if (log_writer_open(log, topic, 0, &(struct log_topic_options){ .codec = LOG_CODEC_LZ4 }, &writer, &err) < 0)
        die(&err);
    for (uint64_t done = 0; done < events;) {
        log_batch_reset(batch);
        for (uint64_t i = 0; i < batch_events && done < events; i++, done++)
            if (log_batch_add(batch, bodies[done % KINDS], &err) < 0)
                die(&err);
        if (log_writer_append(writer, batch, clock_wall_us(), &base, &err) < 0 || log_writer_sync(writer, &err) < 0)
            die(&err);
    }
    log_writer_close(writer);
    log_batch_free(batch);
    return events;
}

static void read_all(struct log *log, const char *topic, uint64_t events)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    struct span        body;
    uint64_t           seen = 0, offset;

    if (log_reader_open(log, topic, 0, 0, &reader, &err) < 0)
        die(&err);
    while (seen < events) {
        int rc = log_reader_next(reader, &chunk, &err);

        if (rc < 0)
            die(&err);
        if (rc == 0)
            (void)log_reader_wait(reader, 100000);
        while (rc > 0 && log_chunk_next(&chunk, &offset, &body))
            seen++;
    }
    log_reader_close(reader);
}

int main(int argc, char **argv)
{
    uint64_t                       events = argc > 3 ? strtoull(argv[3], NULL, 10) : 200000, batch = argc > 4 ? strtoull(argv[4], NULL, 10) : 1000;
    bool                           upstream = argc > 2 && strcmp(argv[2], "upstream") == 0;
    struct upstream_hooks          hooks;
    char                           prefix[64];
    const char *const              properties[] = { "linger.ms", "5", NULL };
    const struct log_kafka_options kafka = { .brokers = argc > 1 ? argv[1] : "", .topic_prefix = prefix, .partitions = 1, .replication = 1,
                                             .form = upstream ? LOG_FORM_UPSTREAM : LOG_FORM_FRAMES, .hooks = &hooks.hooks, .client_properties = properties };
    struct log *log;
    struct err  err = { 0 };
    double      cpu;
    int64_t     us;

    if (argc < 3)
        return (void)fprintf(stderr, "usage: kafka_bench BROKERS frames|upstream|forms EVENTS [BATCH]\n"), 2;
    bodies_make();
    upstream_hooks_init(&hooks, &(struct upstream_hooks_options){ .records = upstream || strcmp(argv[2], "forms") == 0 });
    if (strcmp(argv[2], "forms") == 0)
        return forms(&hooks, events), 0;
    (void)snprintf(prefix, sizeof prefix, "b%d_%" PRId64 ".", (int)getpid(), clock_wall_us());
    if (log_open(&(struct log_options){ .kafka = &kafka }, &log, &err) < 0)
        die(&err);
    write_all(log, "raw", 2000, batch); /* topics are made, code is warm */
    cpu = cpu_us();
    us = clock_mono_us();
    write_all(log, "raw", events, batch);
    told("write", events, cpu_us() - cpu, clock_mono_us() - us);
    (void)getchar(); /* the broker's CPU is looked at */
    cpu = cpu_us();
    us = clock_mono_us();
    read_all(log, "raw", events + 2000);
    told("read", events, cpu_us() - cpu, clock_mono_us() - us);
    (void)getchar();
    log_close(log);
    return 0;
}
