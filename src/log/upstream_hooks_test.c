/* log/upstream_hooks_test.c - records and rows to messages and back, as the log does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/row.h"
#include "event/upstream_row.h"
#include "log/frame.h"
#include "log/log_batch.h"
#include "log/upstream_hooks.h"

#define NOW_US INT64_C(1770091506000000)

static struct upstream_hooks hooks_of(struct upstream_hooks_options options)
{
    struct upstream_hooks hooks;

    upstream_hooks_init(&hooks, &options);
    return hooks;
}

static const struct log_form_hooks *ready(struct upstream_hooks *hooks)
{
    hooks->hooks.ctx = hooks; /* it was returned by value */
    return &hooks->hooks;
}

static struct record event(const char *name, unsigned flags, const char *data)
{
    struct record record = { .kind = RECORD_EVENT, .flags = flags, .project = 7, .uuid = { { 1, 2, 3, 4, 5, 6, 0x70 } },
                             .received_us = NOW_US, .timestamp_us = NOW_US, .sent_at_us = CLOCK_NONE, .token = SPAN("phc_alpha"),
                             .ip = SPAN("203.0.113.7"), .distinct_id = SPAN("u-1") };

    record.event = span_text(name);
    record.pipeline = pipeline_of(record.event);
    record.data = span_text(data);
    return record;
}

static struct span stored(const struct record *record, struct buf *buf)
{
    buf_reset(buf);
    record_write(record, buf_reserve(buf, record_bytes(record)));
    buf->bytes += record_bytes(record);
    return buf_span(buf);
}

static const struct { const char *topic, *neither, *records, *both; } names[] = {
    { "raw", NULL, "events_plugin_ingestion", "events_plugin_ingestion" },
    { "raw_historical", NULL, "events_plugin_ingestion_historical", "events_plugin_ingestion_historical" },
    { "replay", NULL, "session_recording_snapshot_item_events", "session_recording_snapshot_item_events" },
    { "raw_overflow", NULL, NULL, NULL },
    { "control", NULL, NULL, NULL },
    { "events", NULL, NULL, "clickhouse_events_json" },
    { "people", NULL, NULL, "clickhouse_person" },
    { "warnings", NULL, NULL, "clickhouse_ingestion_warnings" },
    { "heatmaps", NULL, NULL, "clickhouse_heatmap_events" },
    { "dead_letters", NULL, NULL, "events_plugin_ingestion_dlq" },
    { "definitions", NULL, NULL, NULL },
    { "receipts", NULL, NULL, NULL },
};

static void check_name(const struct log_form_hooks *hooks, const char *topic, const char *expected)
{
    const char *have = hooks->topic_name(hooks->ctx, topic);

    assert_int_equal(have == NULL, expected == NULL);
    if (expected != NULL)
        assert_string_equal(have, expected);
}

static void topics_have_their_names(void **state)
{
    struct upstream_hooks neither = hooks_of((struct upstream_hooks_options){ 0 });
    struct upstream_hooks records = hooks_of((struct upstream_hooks_options){ .records = true });
    struct upstream_hooks both = hooks_of((struct upstream_hooks_options){ .records = true, .rows = true });
    struct upstream_hooks named = hooks_of((struct upstream_hooks_options){ .records = true, .names = { [UPSTREAM_ANALYTICS] = "mine" } });

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_name(ready(&neither), names[i].topic, names[i].neither);
        check_name(ready(&records), names[i].topic, names[i].records);
        check_name(ready(&both), names[i].topic, names[i].both);
    }
    check_name(ready(&named), "raw", "mine");
}

/* Which topic besides its own a record's message belongs on; the partition's key; the message's key. */
static const struct { const char *name, *event; unsigned flags; bool apart; const char *topic, *partition_key, *key; } records[] = {
    { "ordinary", "signup", 0, false, NULL, "phc_alpha:u-1", "phc_alpha:u-1" },
    { "without a person: no key, the same partition", "signup", RECORD_PERSON_OFF, false, NULL, "phc_alpha:u-1", NULL },
    { "cookieless", "signup", RECORD_COOKIELESS, false, NULL, "phc_alpha:203.0.113.7", "phc_alpha:203.0.113.7" },
    { "overflow, with ours", "signup", RECORD_OVERFLOW, false, NULL, "phc_alpha:u-1", "phc_alpha:u-1" },
    { "overflow", "signup", RECORD_OVERFLOW, true, "events_plugin_ingestion_overflow", "phc_alpha:u-1", "phc_alpha:u-1" },
    { "an exception, among the others", "$exception", 0, false, NULL, "phc_alpha:u-1", "phc_alpha:u-1" },
    { "an exception, apart", "$exception", 0, true, "error_tracking_events", "phc_alpha:u-1", "phc_alpha:u-1" },
};

static void records_go_and_come(void **state)
{
    struct log_batch *batch = log_batch_new();
    struct buf        body = { .bytes_max = 1 << 20 }, room = { .bytes_max = 1 << 20 };
    struct err        err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct upstream_hooks        of = hooks_of((struct upstream_hooks_options){ .records = true, .kinds_apart = records[i].apart });
        const struct log_form_hooks *hooks = ready(&of);
        struct record                in = event(records[i].event, records[i].flags, "{\"uuid\":\"01020304-0506-7000-0000-000000000000\",\"event\":\"x\",\"properties\":{\"a\":1}}"), out;
        struct log_message           message = { 0 };
        struct span                  key;
        uint32_t                     bytes;

        assert_int_equal(hooks->key(hooks->ctx, "raw", stored(&in, &body), &room, &key, &err), 0);
        assert_true(span_is(key, records[i].partition_key));
        assert_int_equal(hooks->write(hooks->ctx, "raw", buf_span(&body), &room, &message, &err), 0);
        assert_false(message.more);
        if (records[i].topic == NULL)
            assert_null(message.topic);
        else
            assert_string_equal(message.topic, records[i].topic);
        assert_int_equal(message.key.at == NULL, records[i].key == NULL);
        assert_true(records[i].key == NULL || span_is(message.key, records[i].key));
        assert_int_equal(message.timestamp_us, NOW_US);
        assert_int_equal(message.header_count, 9);
        assert_null(message.headers[2].value.at); /* session_id: none */
        log_batch_reset(batch);
        assert_int_equal(hooks->read(hooks->ctx, "raw", &message, batch, &err), 0);
        assert_int_equal(log_batch_count(batch), 1);
        memcpy(&bytes, batch->at + 4, 4);
        assert_int_equal(record_read(span_of(batch->at + RECORD_HEADER_BYTES, bytes), &out, &err), 0);
        assert_int_equal(out.flags, records[i].flags & ~(unsigned)RECORD_OVERFLOW);
        assert_true(span_equal(out.data, in.data) && span_equal(out.event, in.event) && out.project == 0);
    }
    buf_fini(&body);
    buf_fini(&room);
    log_batch_free(batch);
}

static void a_record_may_have_two_messages(void **state)
{
    struct upstream_hooks        of = hooks_of((struct upstream_hooks_options){ .records = true, .kinds_apart = true });
    const struct log_form_hooks *hooks = ready(&of);
    struct record                in = event("$pageview", 0, "{\"event\":\"$pageview\",\"properties\":{\"$heatmap_data\":{}}}");
    struct log_message           message = { 0 };
    struct buf                   body = { .bytes_max = 1 << 20 }, room = { .bytes_max = 1 << 20 };
    struct err                   err = { 0 };

    (void)state;
    assert_int_equal(hooks->write(hooks->ctx, "raw", stored(&in, &body), &room, &message, &err), 0);
    assert_true(message.more && message.topic == NULL);
    message.part = 1;
    assert_int_equal(hooks->write(hooks->ctx, "raw", buf_span(&body), &room, &message, &err), 0);
    assert_false(message.more);
    assert_string_equal(message.topic, "heatmaps_ingestion");
    buf_fini(&body);
    buf_fini(&room);
}

static void messages_of_others_become_records(void **state)
{
    struct upstream_hooks        of = hooks_of((struct upstream_hooks_options){ 0 });
    const struct log_form_hooks *hooks = ready(&of);
    struct log_batch            *batch = log_batch_new();
    struct log_message           message = { .value = SPAN("rubbish"), .timestamp_us = NOW_US };
    struct record                out;
    struct err                   err = { 0 };
    size_t                       bytes = 0;

    (void)state;
    assert_int_equal(hooks->read(hooks->ctx, "raw_historical", &message, batch, &err), 0);
    memcpy(&bytes, batch->at + 4, 4);
    assert_int_equal(record_read(span_of(batch->at + RECORD_HEADER_BYTES, bytes), &out, &err), 0);
    assert_int_equal(out.kind, RECORD_REJECTED);
    assert_true(span_is(out.data, "rubbish"));
    /* nothing but events is expected there */
    log_batch_reset(batch);
    assert_int_equal(hooks->read(hooks->ctx, "control", &message, batch, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_int_equal(log_batch_count(batch), 0);
    log_batch_free(batch);
}

/* However many headers others have put in front of the ones that count. */
static void headers_of_others_do_not_hide_ours(void **state)
{
    struct upstream_hooks        of = hooks_of((struct upstream_hooks_options){ .records = true });
    const struct log_form_hooks *hooks = ready(&of);
    struct log_batch            *batch = log_batch_new();
    struct log_message           message = { .timestamp_us = NOW_US,
                                             .value = SPAN("{\"uuid\":\"019c21ac-e950-7abc-8def-0123456789ab\",\"distinct_id\":\"u\",\"ip\":\"\","
                                                           "\"data\":\"{\\\"event\\\":\\\"e\\\"}\",\"event\":\"e\"}") };
    struct record                record;
    struct err                   err = { 0 };
    size_t                       bytes = 0;

    (void)state;
    for (size_t i = 0; i < 40; i++)
        message.headers[message.header_count++].name = SPAN("traceparent");
    message.headers[message.header_count].name = SPAN("force_disable_person_processing");
    message.headers[message.header_count++].value = SPAN("true");
    assert_int_equal(hooks->read(hooks->ctx, "raw", &message, batch, &err), 0);
    memcpy(&bytes, batch->at + 4, 4);
    assert_int_equal(record_read(span_of(batch->at + RECORD_HEADER_BYTES, bytes), &record, &err), 0);
    assert_int_equal(record.kind, RECORD_EVENT);
    assert_int_equal(record.flags & RECORD_PERSON_OFF, RECORD_PERSON_OFF);
    log_batch_free(batch);
}

static void what_is_too_large_is_replaced(void **state)
{
    struct upstream_hooks        of = hooks_of((struct upstream_hooks_options){ .records = true, .message_bytes_max = 100000 });
    const struct log_form_hooks *hooks = ready(&of);
    struct log_batch            *batch = log_batch_new();
    char                        *data = malloc(200001);
    struct record                in, out;
    struct log_message           message = { 0 };
    struct buf                   body = { .bytes_max = 1 << 20 }, room = { .bytes_max = 1 << 22 };
    struct err                   err = { 0 };
    size_t                       bytes = 0;

    (void)state;
    memset(data, 'x', 200000);
    data[200000] = 0;
    memcpy(data, "{\"properties\":\"", 15);
    memcpy(data + 199998, "\"}", 2);
    in = event("signup", 0, data);
    assert_int_equal(hooks->write(hooks->ctx, "raw", stored(&in, &body), &room, &message, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_int_equal(hooks->too_large(hooks->ctx, "raw", buf_span(&body), 100000, batch, &err), 0);
    assert_int_equal(log_batch_count(batch), 1);
    memcpy(&bytes, batch->at + 4, 4);
    assert_int_equal(record_read(span_of(batch->at + RECORD_HEADER_BYTES, bytes), &out, &err), 0);
    assert_int_equal(out.kind, RECORD_REJECTED);
    assert_int_equal(out.rejection, RECORD_REJECTED_TOO_LARGE);
    assert_true(out.detail.bytes > 0 && out.data.bytes > 1000);
    message = (struct log_message){ .part = 0 };
    assert_int_equal(hooks->write(hooks->ctx, "raw", span_of(batch->at + RECORD_HEADER_BYTES, bytes), &room, &message, &err), 0);
    assert_null(message.topic); /* Penstock's ingest reads it */
    assert_true(message.value.bytes < 100000);
    /* a small topic: it is still made to fit */
    log_batch_reset(batch);
    assert_int_equal(hooks->too_large(hooks->ctx, "raw", buf_span(&body), 2000, batch, &err), 0);
    memcpy(&bytes, batch->at + 4, 4);
    assert_true(bytes < 2000);
    free(data);
    buf_fini(&body);
    buf_fini(&room);
    log_batch_free(batch);
}

static struct span row_stored(const struct row *row, struct buf *buf)
{
    buf_reset(buf);
    row_write(row, buf_reserve(buf, row_bytes(row)));
    buf->bytes += row_bytes(row);
    return buf_span(buf);
}

static void rows_go_to_their_topics(void **state)
{
    static const struct { enum row_table table; const char *ours, *topic; } rows[] = {
        { ROW_EVENT, "events", NULL },   { ROW_PERSON, "people", NULL },     { ROW_DISTINCT, "people", "clickhouse_person_distinct_id" },
        { ROW_GROUP, "people", "clickhouse_groups" }, { ROW_WARNING, "warnings", NULL }, { ROW_HEATMAP, "heatmaps", NULL },
        { ROW_DEAD_LETTER, "dead_letters", NULL },
    };
    struct upstream_hooks        of = hooks_of((struct upstream_hooks_options){ .records = true, .rows = true, .prefix = "p_" });
    const struct log_form_hooks *hooks = ready(&of);
    struct buf                   body = { .bytes_max = 1 << 20 }, room = { .bytes_max = 1 << 20 };
    struct err                   err = { 0 };
    struct row                   row;
    struct log_message           message;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        row_init(&row, rows[i].table);
        if (rows[i].table == ROW_EVENT)
            row_set_text(&row, ROW_EVENT_EVENT, SPAN("e"));
        if (rows[i].table == ROW_DEAD_LETTER)
            row_set_i64(&row, ROW_DEAD_LETTER_RAW_OFFSET, 7 << 20);
        message = (struct log_message){ .partition = 3 };
        assert_int_equal(hooks->write(hooks->ctx, rows[i].ours, row_stored(&row, &body), &room, &message, &err), 0);
        assert_int_equal(message.topic == NULL, rows[i].topic == NULL);
        if (rows[i].topic != NULL)
            assert_string_equal(message.topic, rows[i].topic);
        assert_false(message.more);
    }
    for (size_t i = 0; i < message.header_count; i++) { /* of the dead letter */
        if (span_is(message.headers[i].name, "dlq_partition"))
            assert_true(span_is(message.headers[i].value, "3"));
        if (span_is(message.headers[i].name, "dlq_topic")) /* as the brokers call it */
            assert_true(span_is(message.headers[i].value, "p_events_plugin_ingestion"));
        if (span_is(message.headers[i].name, "dlq_offset"))
            assert_true(span_is(message.headers[i].value, "7"));
    }
    assert_true(span_is(message.headers[message.header_count - 1].name, "dlq_offset"));
    row_init(&row, ROW_RECEIPT);
    assert_int_equal(hooks->write(hooks->ctx, "receipts", row_stored(&row, &body), &room, &message, &err), -1);
    buf_fini(&body);
    buf_fini(&room);
}

static void no_row_is_too_large(void **state)
{
    struct upstream_hooks        of = hooks_of((struct upstream_hooks_options){ .rows = true, .message_bytes_max = 10000 });
    const struct log_form_hooks *hooks = ready(&of);
    struct buf                   body = { .bytes_max = 1 << 20 }, room = { .bytes_max = 1 << 20 }, large = { .bytes_max = 1 << 20 };
    struct err                   err = { 0 };
    struct row                   row;
    struct log_message           message = { 0 };

    (void)state;
    buf_add_text(&large, "{\"a\":\"");
    for (int i = 0; i < 20000; i++)
        buf_add_byte(&large, 'x');
    buf_add_text(&large, "\"}");
    row_init(&row, ROW_EVENT);
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("e"));
    row_set_text(&row, ROW_EVENT_PROPERTIES, SPAN("{\"k\":1}"));
    row_set_text(&row, ROW_EVENT_PERSON_PROPERTIES, buf_span(&large));
    assert_int_equal(hooks->write(hooks->ctx, "events", row_stored(&row, &body), &room, &message, &err), 0);
    assert_true(message.value.bytes < 10000);
    assert_non_null(memmem(message.value.at, message.value.bytes, "\"person_properties\":\"{\\\"$left_out_bytes\\\":20008}\"", 49));
    assert_non_null(memmem(message.value.at, message.value.bytes, "\"properties\":\"{\\\"k\\\":1}\"", 24));
    row_set_text(&row, ROW_EVENT_PROPERTIES, buf_span(&large));
    assert_int_equal(hooks->write(hooks->ctx, "events", row_stored(&row, &body), &room, &message, &err), 0);
    assert_true(message.value.bytes < 10000);
    buf_fini(&body);
    buf_fini(&room);
    buf_fini(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_have_their_names),           cmocka_unit_test(records_go_and_come),
        cmocka_unit_test(a_record_may_have_two_messages),    cmocka_unit_test(messages_of_others_become_records),
        cmocka_unit_test(headers_of_others_do_not_hide_ours), cmocka_unit_test(what_is_too_large_is_replaced),     cmocka_unit_test(rows_go_to_their_topics),
        cmocka_unit_test(no_row_is_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
