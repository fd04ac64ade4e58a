/* parts: kafka
 *
 * log/upstream_cluster_test.c - PostHog's forms at a real broker: a message made by hand is read as an event, and another client (kcat)
 * reads what is written. Names are new ones in each run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "event/row.h"
#include "log/kcat_test_kit.h"
#include "log/topic_scan.h"
#include "log/upstream_hooks.h"

#define MUST(call) do { if ((call) < 0) fail_msg("%s: %s", #call, err.text); } while (0)
#define UUID "019c21ac-e950-7abc-8def-0123456789ab"
enum { PATIENCE_US = 120000000 };

static struct log_kafka_options kafka;
static struct upstream_hooks    hooks;
static char                     prefix[80];
static struct err               err;

static struct log *log_make(void)
{
    static unsigned turn;
    struct log     *log;

    upstream_hooks_init(&hooks, &(struct upstream_hooks_options){ .records = true, .rows = true, .kinds_apart = true });
    kafka = (struct log_kafka_options){ .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = prefix, .partitions = 1, .replication = 1,
                                        .form = LOG_FORM_UPSTREAM, .hooks = &hooks.hooks };
    if (kafka.brokers == NULL)
        fail_msg("PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...");
    (void)snprintf(prefix, sizeof prefix, "t%d_%lld_%u.", (int)getpid(), (long long)clock_wall_us(), turn++);
    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &log, &err));
    return log;
}

/* The topic's messages as kcat shows them: key|headers|value, a line each. */
static void kcat_read(const char *topic, char *to, size_t bytes)
{
    char   command[400];
    FILE  *pipe;
    size_t got;

    (void)snprintf(command, sizeof command, "kcat -C -b %s -t %s%s -o beginning -e -q -f '%%k|%%h|%%s\\n'", kafka.brokers, prefix, topic);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    got = fread(to, 1, bytes - 1, pipe);
    to[got] = 0;
    assert_int_equal(pclose(pipe), 0);
}

static void append_rows(struct log *log, const char *topic, const struct row *rows, size_t count)
{
    struct log_batch  *batch = log_batch_new();
    struct log_writer *writer;
    uint64_t           base;

    for (size_t i = 0; i < count; i++) {
        uint8_t *to = log_batch_begin(batch, row_bytes(&rows[i]));

        assert_non_null(to);
        row_write(&rows[i], to);
        log_batch_end(batch, row_bytes(&rows[i]));
    }
    MUST(log_writer_open(log, topic, 0, NULL, &writer, &err));
    MUST(log_writer_cut(writer, 0, &err));
    log_writer_publish(writer, 0);
    MUST(log_writer_append(writer, batch, clock_wall_us(), &base, &err));
    MUST(log_writer_sync(writer, &err));
    log_writer_publish(writer, log_writer_end(writer));
    log_writer_close(writer);
    log_batch_free(batch);
}

static void another_client_reads_rows(void **state)
{
    struct log *log = log_make();
    struct row  rows[3], event;
    char        text[4000];

    (void)state;
    row_init(&rows[0], ROW_PERSON);
    row_set_text(&rows[0], ROW_PERSON_PROPERTIES, SPAN("{\"a\":\"b\"}"));
    row_set_i64(&rows[0], ROW_PERSON_TEAM_ID, 7);
    row_init(&rows[1], ROW_DISTINCT);
    row_set_text(&rows[1], ROW_DISTINCT_DISTINCT_ID, SPAN("u-1"));
    row_init(&rows[2], ROW_GROUP);
    row_set_text(&rows[2], ROW_GROUP_KEY, SPAN("acme"));
    append_rows(log, "people", rows, 3);
    row_init(&event, ROW_EVENT);
    assert_true(uuid_parse(SPAN(UUID), &event.cells[ROW_EVENT_UUID].uuid));
    event.cells[ROW_EVENT_UUID].null = false;
    row_set_text(&event, ROW_EVENT_EVENT, SPAN("signup"));
    append_rows(log, "events", &event, 1);

    kcat_read("clickhouse_person", text, sizeof text); /* one message: no marks among them, which nobody there would know */
    assert_string_equal(text, "||{\"id\":\"00000000-0000-0000-0000-000000000000\",\"created_at\":null,\"properties\":\"{\\\"a\\\":\\\"b\\\"}\",\"team_id\":7,"
                              "\"is_identified\":0,\"is_deleted\":0,\"version\":0,\"last_seen_at\":null}\n");
    kcat_read("clickhouse_person_distinct_id", text, sizeof text);
    assert_string_equal(text, "||{\"distinct_id\":\"u-1\",\"person_id\":\"00000000-0000-0000-0000-000000000000\",\"team_id\":0,\"version\":0,\"is_deleted\":0}\n");
    kcat_read("clickhouse_groups", text, sizeof text);
    assert_non_null(strstr(text, "\"group_key\":\"acme\""));
    kcat_read("clickhouse_events_json", text, sizeof text);
    assert_int_equal(strncmp(text, UUID "|productTrack=general|{\"uuid\":\"" UUID "\",\"event\":\"signup\",", 36 + 22 + 46 + 18), 0);
    log_close(log);
}

/* The next record of the topic. */
static void read_record(struct log_reader *reader, struct record *out, struct log_chunk *chunk)
{
    int64_t     until_us = clock_mono_us() + PATIENCE_US;
    struct span body;
    uint64_t    offset;

    for (;;) {
        int rc;

        if (log_chunk_next(chunk, &offset, &body)) {
            MUST(record_read(body, out, &err));
            return;
        }
        rc = log_reader_next(reader, chunk, &err);
        if (rc < 0)
            fail_msg("%s", err.text);
        if (clock_mono_us() > until_us)
            fail_msg("no record came");
        if (rc == 0)
            (void)log_reader_wait(reader, 100000);
    }
}

static void a_message_made_by_hand_is_an_event(void **state)
{
    struct log        *log = log_make();
    struct log_writer *writer;
    struct log_reader *reader;
    struct log_chunk   chunk = { 0 };
    struct record      record;

    (void)state;
    MUST(log_writer_open(log, "raw", 0, NULL, &writer, &err)); /* makes the topic */
    log_writer_close(writer);
    MUST(log_reader_open(log, "raw", 0, 0, &reader, &err));
    kcat_write(kafka.brokers, prefix, "events_plugin_ingestion", "-k phc_alpha:u-1 -H token=phc_alpha -H distinct_id=u-1 -H now=2026-02-03T04:05:06Z -H content-encoding -H force_disable_person_processing=true",
               "{\"uuid\":\"" UUID "\",\"distinct_id\":\"u-1\",\"ip\":\"203.0.113.7\",\"data\":\"{\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{\\\"a\\\":1}}\","
               "\"now\":\"2026-02-03T04:05:06Z\",\"token\":\"phc_alpha\",\"event\":\"signup\",\"timestamp\":\"2026-02-03T03:00:00Z\"}");
    read_record(reader, &record, &chunk);
    assert_int_equal(record.kind, RECORD_EVENT); /* a header without a value (content-encoding) is none */
    assert_int_equal(record.flags, RECORD_PERSON_OFF);
    assert_true(span_is(record.token, "phc_alpha") && span_is(record.distinct_id, "u-1") && span_is(record.event, "signup"));
    assert_true(span_is(record.data, "{\"event\":\"signup\",\"properties\":{\"a\":1}}"));
    assert_true(record.received_us == INT64_C(1770091506000000) && record.timestamp_us == INT64_C(1770087600000000));
    /* what is none is a dead letter, and the one behind it is read */
    kcat_write(kafka.brokers, prefix, "events_plugin_ingestion", "-H token=phc_alpha", "rubbish");
    kcat_write(kafka.brokers, prefix, "events_plugin_ingestion", "", "{\"uuid\":\"" UUID "\",\"distinct_id\":1,\"data\":\"{}\",\"event\":\"last\"}");
    read_record(reader, &record, &chunk);
    assert_int_equal(record.kind, RECORD_REJECTED);
    assert_true(span_starts(record.data, SPAN("rubbish")) && span_is(record.token, "phc_alpha"));
    read_record(reader, &record, &chunk);
    assert_true(span_is(record.event, "last") && span_is(record.distinct_id, "1"));
    log_reader_close(reader);
    log_close(log);
}

struct scanned { unsigned count, keys; bool first_is_person; };

static int see(void *ctx, const struct log_message *message, struct err *ignored)
{
    struct scanned *scanned = ctx;

    (void)ignored;
    if (scanned->count++ == 0)
        scanned->first_is_person = span_starts(message->value, SPAN("{\"id\":"));
    scanned->keys += message->key.at != NULL;
    return 0;
}

static void everything_in_a_topic_is_seen(void **state)
{
    struct log    *log = log_make();
    struct row     rows[100];
    struct scanned scanned = { 0 };
    char           name[200];

    (void)state;
    for (int i = 0; i < 100; i++) {
        row_init(&rows[i], ROW_PERSON);
        row_set_i64(&rows[i], ROW_PERSON_VERSION, i);
    }
    append_rows(log, "people", rows, 100);
    (void)snprintf(name, sizeof name, "%sclickhouse_person", prefix);
    MUST(topic_scan(kafka.brokers, NULL, name, 0, see, &scanned, &err));
    assert_int_equal(scanned.count, 100);
    assert_int_equal(scanned.keys, 0);
    assert_true(scanned.first_is_person);
    MUST(topic_scan(kafka.brokers, NULL, name, clock_wall_us() + 3600 * INT64_C(1000000), see, &scanned, &err));
    assert_int_equal(scanned.count, 100); /* all of them are older */
    (void)snprintf(name, sizeof name, "%snobody_made_this", prefix);
    assert_int_equal(topic_scan(kafka.brokers, NULL, name, 0, see, &scanned, &err), -1);
    assert_non_null(strstr(err.text, "nobody_made_this"));
    log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_client_reads_rows),
        cmocka_unit_test(a_message_made_by_hand_is_an_event),
        cmocka_unit_test(everything_in_a_topic_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
