/* event/upstream_record_test.c - messages as they have to be, byte by byte; what is read of others'; and both in a row.
 * The times are those of the worked examples: it is 2026-02-03T04:05:06Z. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/upstream_record.h"
#include "wire/json.h"
#include "wire/time.h"

#define NOW_US INT64_C(1770091506000000)
#define UUID_TEXT "019c21ac-e950-7abc-8def-0123456789ab"

static struct uuid uuid_read(const char *text)
{
    struct uuid uuid;

    assert_true(uuid_parse_hyphenated(span_text(text), &uuid));
    return uuid;
}

static struct record record_of(const char *data)
{
    struct record record = { .kind = RECORD_EVENT,
                             .flags = RECORD_UUID_MADE,
                             .project = 7,
                             .uuid = uuid_read(UUID_TEXT),
                             .received_us = NOW_US,
                             .timestamp_us = NOW_US,
                             .sent_at_us = CLOCK_NONE,
                             .token = SPAN("phc_alpha"),
                             .ip = SPAN("203.0.113.7"),
                             .distinct_id = SPAN("u-1"),
                             .event = SPAN("signup") };

    record.data = span_text(data);
    return record;
}

static int written(const struct upstream_form *form, struct buf *room, const struct record *record, struct upstream_message *out,
                   size_t *count, struct err *err)
{
    buf_fini(room); /* a new one each time: what is written moves while it grows */
    buf_init(room, 1 << 20);
    return upstream_record_write(form, record, room, out, count, err);
}

/* "token=phc_alpha|distinct_id=u-1|session_id|...": a header without = is null. */
static void headers_text(const struct upstream_message *message, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < message->header_count; i++) {
        if (i > 0)
            buf_add_byte(out, '|');
        buf_add(out, message->headers[i].name);
        if (message->headers[i].null)
            continue;
        buf_add_byte(out, '=');
        buf_add(out, message->headers[i].value);
    }
    assert_false(out->failed);
}

static void check_text(const char *name, const char *what, struct span have, const char *expected)
{
    if (!span_is(have, expected))
        fail_msg("%s: %s\n is       %.*s\n expected %s", name, what, SPAN_ARG(have), expected);
}

/* --- writing ----------------------------------------------------------------------------------- */

#define HEAD "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u-1\",\"ip\":\"203.0.113.7\",\"data\":\""
#define TAIL "\",\"now\":\"2026-02-03T04:05:06Z\",\"token\":\"phc_alpha\",\"event\":\"signup\",\"timestamp\":\"2026-02-03T04:05:06Z\"}"
#define HEADERS "token=phc_alpha|distinct_id=u-1|session_id|timestamp=1770091506000|event=signup|uuid=" UUID_TEXT "|now=2026-02-03T04:05:06Z|"
#define PLAIN HEADERS "force_disable_person_processing|historical_migration"

/* One data of the client, and the `data` of the message. */
static const struct { const char *name, *client, *data; unsigned flags; } datas[] = {
    { "vector 1: token and distinct_id beside the properties",
      "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}",
      "{\\\"token\\\":\\\"phc_alpha\\\",\\\"distinct_id\\\":\\\"u-1\\\",\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{}}",
      RECORD_UUID_MADE },
    { "in the properties they stay there",
      "{\"event\":\"signup\",\"properties\":{\"token\":\"phc_alpha\",\"distinct_id\":\"u-1\",\"k\":[1,{\"a\":\"b\"}]}}",
      "{\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{\\\"token\\\":\\\"phc_alpha\\\",\\\"distinct_id\\\":\\\"u-1\\\",\\\"k\\\":[1,{\\\"a\\\":\\\"b\\\"}]}}",
      RECORD_UUID_MADE },
    { "aliases get their usual names, the best one counts",
      "{\"$token\":\"c\",\"api_key\":\"phc_alpha\",\"event\":\"signup\",\"$distinct_id\":\"x\",\"distinct_id\":23}",
      "{\\\"token\\\":\\\"phc_alpha\\\",\\\"distinct_id\\\":23,\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{}}",
      RECORD_UUID_MADE },
    { "a uuid of the client",
      "{\"event\":\"signup\",\"uuid\":\"019C21ACE9507ABC8DEF0123456789AB\"}",
      "{\\\"uuid\\\":\\\"" UUID_TEXT "\\\",\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{}}", 0 },
    { "a uuid made of the event is not the client's",
      "{\"event\":\"signup\",\"uuid\":\"\"}", "{\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{}}", RECORD_UUID_DERIVED },
    { "everything, in the contract's order; what has no meaning goes",
      "{ \"$set_once\":{\"b\":2} , \"type\":\"x\",\"$set\":{\"a\":1},\"offset\":-5,\"sent_at\":\"x\",\"timestamp\":\"2026-02-03T03:00:00Z\",\"properties\":{ },\"event\":\"signup\" }",
      "{\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{ },\\\"timestamp\\\":\\\"2026-02-03T03:00:00Z\\\",\\\"offset\\\":-5,\\\"$set\\\":{\\\"a\\\":1},\\\"$set_once\\\":{\\\"b\\\":2}}",
      RECORD_UUID_MADE },
    { "null is not given",
      "{\"event\":\"signup\",\"properties\":null,\"timestamp\":null,\"offset\":null,\"$set\":null,\"distinct_id\":null,\"token\":null}",
      "{\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{}}", RECORD_UUID_MADE },
    { "nameless, of /engage", "{\"distinct_id\":\"u-1\",\"$set\":{}}",
      "{\\\"distinct_id\\\":\\\"u-1\\\",\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{},\\\"$set\\\":{}}",
      RECORD_UUID_MADE | RECORD_ENGAGE },
    { "escapes within escapes; numbers keep their digits",
      "{\"event\":\"signup\",\"properties\":{\"q\":\"a\\\"b\\\\c\\n\\u00e9\",\"n\":123456789012345678901234567890.10,\"t\":\"\xc3\xa9\"}}",
      "{\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{\\\"q\\\":\\\"a\\\\\\\"b\\\\\\\\c\\\\n\\\\u00e9\\\",\\\"n\\\":123456789012345678901234567890.10,\\\"t\\\":\\\"\xc3\xa9\\\"}}",
      RECORD_UUID_MADE },
    { "white space between tokens", "{\"event\":\"signup\",\"properties\":{\n\t\"a\": 1}}",
      "{\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{\\n\\t\\\"a\\\": 1}}", RECORD_UUID_MADE },
    { "a key that stands twice: the last", "{\"event\":\"no\",\"event\":\"signup\",\"properties\":{\"a\":1},\"properties\":{\"b\":2}}",
      "{\\\"uuid\\\":null,\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{\\\"b\\\":2}}", RECORD_UUID_MADE },
};

static void data_is_written(void **state)
{
    struct upstream_form    form = { .lanes = true, .heatmap_split = true, .bytes_max = 1000000 };
    struct buf              room = { .bytes_max = 1 << 20 };
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct err              err = { 0 };
    struct buf              expected, headers;
    size_t                  count;

    (void)state;
    buf_init(&expected, 1 << 20);
    buf_init(&headers, 1 << 20);
    for (size_t i = 0; i < sizeof datas / sizeof *datas; i++) {
        struct record record = record_of(datas[i].client);

        record.flags = datas[i].flags;
        if (written(&form, &room, &record, messages, &count, &err) < 0)
            fail_msg("%s: %s", datas[i].name, err.text);
        assert_int_equal(count, 1);
        buf_reset(&expected);
        buf_add_format(&expected, "%s%s%s", HEAD, datas[i].data, TAIL);
        buf_add_byte(&expected, 0);
        check_text(datas[i].name, "value", messages[0].value, (const char *)expected.at);
        headers_text(&messages[0], &headers);
        check_text(datas[i].name, "headers", buf_span(&headers), PLAIN);
        check_text(datas[i].name, "key", messages[0].key, "phc_alpha:u-1");
        assert_int_equal(messages[0].topic, UPSTREAM_ANALYTICS);
    }
    buf_fini(&expected);
    buf_fini(&headers);
    buf_fini(&room);
}

/* What the record says beside its data. */
static const struct lane_row {
    const char         *name, *event;
    unsigned            flags;
    const char         *id;
    enum upstream_topic topic;
    const char         *key; /* NULL: none */
    const char         *rest; /* headers behind `now` */
    const char         *tail; /* behind `timestamp` */
} lanes[] = {
    { "ordinary", "signup", 0, "u-1", UPSTREAM_ANALYTICS, "phc_alpha:u-1", "force_disable_person_processing|historical_migration", "" },
    { "vector 78: spaces of an id", "signup", 0, " u-1 ", UPSTREAM_ANALYTICS, "phc_alpha: u-1 ", "force_disable_person_processing|historical_migration", "" },
    { "vector 110: cookieless", "signup", RECORD_COOKIELESS, "u-1", UPSTREAM_ANALYTICS, "phc_alpha:203.0.113.7",
      "force_disable_person_processing|historical_migration", ",\"is_cookieless_mode\":true" },
    { "vector 114: an import", "signup", RECORD_HISTORICAL, "u-1", UPSTREAM_HISTORICAL, "phc_alpha:u-1",
      "force_disable_person_processing|historical_migration=true", ",\"historical_migration\":true" },
    { "an import keeps its key without a person", "signup", RECORD_HISTORICAL | RECORD_PERSON_OFF, "u-1", UPSTREAM_HISTORICAL, "phc_alpha:u-1",
      "force_disable_person_processing=true|historical_migration=true", ",\"historical_migration\":true" },
    { "vector 132: without a person", "signup", RECORD_PERSON_OFF, "u-1", UPSTREAM_ANALYTICS, NULL,
      "force_disable_person_processing=true|historical_migration", "" },
    { "vector 136: over a limit", "signup", RECORD_PERSON_OFF | RECORD_OVERFLOW, "u-1", UPSTREAM_OVERFLOW, NULL,
      "force_disable_person_processing=true|historical_migration", "" },
    { "overflow by a rule keeps its key", "signup", RECORD_OVERFLOW, "u-1", UPSTREAM_OVERFLOW, "phc_alpha:u-1",
      "force_disable_person_processing|historical_migration", "" },
    { "vector 115: an exception", "$exception", 0, "u-1", UPSTREAM_EXCEPTIONS, "phc_alpha:u-1", "force_disable_person_processing|historical_migration", "" },
    { "an exception never overflows", "$exception", RECORD_OVERFLOW | RECORD_PERSON_OFF, "u-1", UPSTREAM_EXCEPTIONS, "phc_alpha:u-1",
      "force_disable_person_processing=true|historical_migration", "" },
    { "a heatmap", "$$heatmap", 0, "u-1", UPSTREAM_HEATMAPS, "phc_alpha:u-1", "force_disable_person_processing|historical_migration", "" },
    { "a client's warning", "$$client_ingestion_warning", 0, "u-1", UPSTREAM_CLIENT_WARNINGS, "phc_alpha:u-1",
      "force_disable_person_processing|historical_migration", "" },
    { "vector 162: LLM", "$ai_generation", RECORD_PERSON_OFF, "u-1", UPSTREAM_LLM, "phc_alpha:u-1",
      "force_disable_person_processing=true|historical_migration", "" },
    { "its heatmap data went another way before", "signup", RECORD_HEATMAP_SKIP, "u-1", UPSTREAM_ANALYTICS, "phc_alpha:u-1",
      "force_disable_person_processing|historical_migration|skip_heatmap_processing=true", "" },
};

static void lanes_are_chosen(void **state)
{
    struct buf              headers, expected;
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct err              err = { 0 };
    size_t                  count;

    (void)state;
    buf_init(&headers, 1 << 16);
    buf_init(&expected, 1 << 16);
    for (int apart = 0; apart < 2; apart++)
        for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
            const struct lane_row  *row = &lanes[i];
            struct upstream_form    form = { .lanes = apart, .bytes_max = 1000000 };
            struct buf              room = { .bytes_max = 1 << 20 };
            struct record           record = record_of("{}");
            bool                    special = row->topic == UPSTREAM_EXCEPTIONS || row->topic == UPSTREAM_HEATMAPS ||
                           row->topic == UPSTREAM_CLIENT_WARNINGS || row->topic == UPSTREAM_LLM;

            record.flags = row->flags;
            record.event = span_text(row->event);
            record.distinct_id = span_text(row->id);
            if (written(&form, &room, &record, messages, &count, &err) < 0)
                fail_msg("%s: %s", row->name, err.text);
            if (apart || (!special && row->topic != UPSTREAM_OVERFLOW)) {
                if (messages[0].topic != row->topic)
                    fail_msg("%s: topic %s", row->name, upstream_topic_name(messages[0].topic));
                assert_int_equal(messages[0].has_key, row->key != NULL);
                check_text(row->name, "key", messages[0].key, row->key == NULL ? "" : row->key);
            } else { /* with the others: Penstock's ingest reads those topics alone */
                assert_int_equal(messages[0].topic, UPSTREAM_ANALYTICS);
            }
            headers_text(&messages[0], &headers);
            buf_reset(&expected);
            buf_add_format(&expected, "token=phc_alpha|distinct_id=%s|session_id|timestamp=1770091506000|event=%s|uuid=" UUID_TEXT "|now=2026-02-03T04:05:06Z|%s",
                           row->id, row->event, row->rest);
            buf_add_byte(&expected, 0);
            check_text(row->name, "headers", buf_span(&headers), (const char *)expected.at);
            buf_reset(&expected);
            buf_add_format(&expected, "\"timestamp\":\"2026-02-03T04:05:06Z\"%s}", row->tail);
            buf_add_byte(&expected, 0);
            check_text(row->name, "tail", span_from(messages[0].value, messages[0].value.bytes - (expected.bytes - 1)), (const char *)expected.at);
            buf_fini(&room);
        }
    buf_fini(&headers);
    buf_fini(&expected);
}

/* Times: as text in the value, in milliseconds in the header. */
static const struct { int64_t us, sent_us; int zone; const char *timestamp, *header, *sent_at; } times[] = {
    { NOW_US, CLOCK_NONE, 0, "2026-02-03T04:05:06Z", "1770091506000", NULL },
    { NOW_US + 250000, NOW_US, 0, "2026-02-03T04:05:06.250Z", "1770091506250", "2026-02-03T04:05:06Z" },
    { NOW_US + 250001, NOW_US + 500000, 0, "2026-02-03T04:05:06.250001Z", "1770091506250", "2026-02-03T04:05:06.5Z" },
    { NOW_US, NOW_US + 120000, 330, "2026-02-03T04:05:06Z", "1770091506000", "2026-02-03T09:35:06.12+05:30" },
    { NOW_US, NOW_US, -60, "2026-02-03T04:05:06Z", "1770091506000", "2026-02-03T03:05:06-01:00" },
    { -1, CLOCK_NONE, 0, "1969-12-31T23:59:59.999999Z", "-1", NULL },
    { INT64_C(946684799999999), CLOCK_NONE, 0, "1999-12-31T23:59:59.999999Z", "946684799999", NULL },
    { INT64_C(-62135596800000000), CLOCK_NONE, 0, "0001-01-01T00:00:00Z", "-62135596800000", NULL },
};

static void times_are_written(void **state)
{
    struct upstream_form    form = { .bytes_max = 1000000 };
    struct buf              room = { .bytes_max = 1 << 20 };
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct err              err = { 0 };
    size_t                  count;

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct record record = record_of("{}");
        struct span   header;
        char          expected[300], sent[80] = "";

        record.timestamp_us = times[i].us;
        record.sent_at_us = times[i].sent_us;
        record.sent_at_zone_min = times[i].zone;
        assert_int_equal(written(&form, &room, &record, messages, &count, &err), 0);
        if (times[i].sent_at != NULL)
            (void)snprintf(sent, sizeof sent, "\"sent_at\":\"%s\",", times[i].sent_at);
        (void)snprintf(expected, sizeof expected, "\"now\":\"2026-02-03T04:05:06Z\",%s\"token\":\"phc_alpha\",\"event\":\"signup\",\"timestamp\":\"%s\"}",
                       sent, times[i].timestamp);
        check_text(times[i].timestamp, "value", span_from(messages[0].value, messages[0].value.bytes - strlen(expected)), expected);
        assert_true(upstream_header_find(&messages[0], "timestamp", &header));
        check_text(times[i].timestamp, "header", header, times[i].header);
    }
    buf_fini(&room);
}

/* Vector 116, and what its neighbours say. */
static const struct { const char *name, *client; unsigned flags; const char *first, *second; } splits[] = {
    { "vector 116", "{\"event\":\"$pageview\",\"distinct_id\":\"u-1\",\"timestamp\":\"x\",\"$set\":{\"a\":1},\"properties\":{\"k\":1,\"$heatmap_data\":{\"u\":[1]},\"$current_url\":\"http://a/\"}}", 0,
      "{\"distinct_id\":\"u-1\",\"uuid\":null,\"event\":\"$pageview\",\"properties\":{\"k\":1,\"$current_url\":\"http://a/\"},\"timestamp\":\"x\",\"$set\":{\"a\":1}}",
      "{\"distinct_id\":\"u-1\",\"uuid\":\"*\",\"event\":\"$$heatmap\",\"properties\":{\"$heatmap_data\":{\"u\":[1]},\"$current_url\":\"http://a/\"},\"timestamp\":\"x\"}" },
    { "a page that was left", "{\"event\":\"$pageleave\",\"properties\":{\"$current_url\":\"http://a/\",\"$prev_pageview_pathname\":\"/b\",\"$prev_pageview_max_scroll\":3,\"$session_id\":\"s\",\"x\":\"$heatmap_data\"}}", 0,
      "{\"uuid\":null,\"event\":\"$pageleave\",\"properties\":{\"$current_url\":\"http://a/\",\"$prev_pageview_pathname\":\"/b\",\"$prev_pageview_max_scroll\":3,\"$session_id\":\"s\",\"x\":\"$heatmap_data\"}}",
      "{\"uuid\":\"*\",\"event\":\"$$heatmap\",\"properties\":{\"$session_id\":\"s\",\"$prev_pageview_pathname\":\"/b\",\"$prev_pageview_max_scroll\":3,\"$current_url\":\"http://a/\"}}" },
    { "without an address", "{\"event\":\"e\",\"properties\":{\"$prev_pageview_pathname\":\"/b\"}}", 0,
      "{\"uuid\":null,\"event\":\"e\",\"properties\":{\"$prev_pageview_pathname\":\"/b\"}}", NULL },
    { "a heatmap is not split", "{\"event\":\"$$heatmap\",\"properties\":{\"$heatmap_data\":{}}}", 0,
      "{\"uuid\":null,\"event\":\"$$heatmap\",\"properties\":{\"$heatmap_data\":{}}}", NULL },
    { "nor is an event of the newer protocol", "{\"event\":\"e\",\"properties\":{\"$heatmap_data\":{}}}", RECORD_V1,
      "{\"uuid\":null,\"event\":\"e\",\"properties\":{\"$heatmap_data\":{}}}", NULL },
};

static struct span data_of(const struct upstream_message *message, struct arena *arena)
{
    struct json_members members;
    struct err          err = { 0 };

    assert_int_equal(json_members_read(message->value, arena, &members, &err), 0);
    return json_text(&json_members_find(&members, SPAN("data"))->value, arena);
}

static void heatmaps_are_split(void **state)
{
    struct upstream_form    form = { .lanes = true, .heatmap_split = true, .bytes_max = 1000000 };
    struct buf              room = { .bytes_max = 1 << 20 };
    struct arena           *arena = arena_new(1 << 16, 1 << 24);
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct err              err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        for (int again = 0; again < 2; again++) {
            struct record record = record_of(splits[i].client);
            struct span   header, second;
            char          uuid[UUID_TEXT_BYTES + 1] = "", expected[600], *star;
            size_t        count = 0;

            record.flags |= splits[i].flags | (again ? RECORD_HISTORICAL : 0u);
            record.event = strstr(splits[i].client, "$$heatmap") != NULL && splits[i].second == NULL ? SPAN("$$heatmap") : SPAN("$pageview");
            assert_int_equal(written(&form, &room, &record, messages, &count, &err), 0);
            check_text(splits[i].name, "data", data_of(&messages[0], arena), splits[i].first);
            assert_int_equal(upstream_header_find(&messages[0], "skip_heatmap_processing", &header), splits[i].second != NULL);
            assert_int_equal(count, splits[i].second == NULL ? 1 : 2);
            if (splits[i].second == NULL)
                continue;
            assert_true(span_is(header, "true"));
            assert_int_equal(messages[0].topic, again ? UPSTREAM_HISTORICAL : UPSTREAM_ANALYTICS);
            assert_int_equal(messages[1].topic, UPSTREAM_HEATMAPS);
            assert_false(upstream_header_find(&messages[1], "historical_migration", &header)); /* vector 115: never an import */
            check_text(splits[i].name, "key", messages[1].key, "phc_alpha:u-1");
            check_text(splits[i].name, "first key", messages[0].key, "phc_alpha:u-1");
            assert_true(upstream_header_find(&messages[1], "uuid", &header));
            assert_int_equal(header.bytes, UUID_TEXT_BYTES);
            assert_false(span_is(header, UUID_TEXT));
            assert_int_equal(header.at[14], '7');
            memcpy(uuid, header.at, UUID_TEXT_BYTES);
            (void)snprintf(expected, sizeof expected, "%s", splits[i].second);
            star = strchr(expected, '*');
            memmove(star + UUID_TEXT_BYTES, star + 1, strlen(star + 1) + 1);
            memcpy(star, uuid, UUID_TEXT_BYTES);
            second = data_of(&messages[1], arena);
            check_text(splits[i].name, "second data", second, expected);
            assert_true(upstream_header_find(&messages[1], "event", &header) && span_is(header, "$$heatmap"));
            assert_false(upstream_header_find(&messages[1], "skip_heatmap_processing", &header));
        }
    arena_free(arena);
    buf_fini(&room);
}

static void the_rest_is_written(void **state)
{
    struct upstream_form    form = { .lanes = true, .bytes_max = 2000 };
    struct buf              room = { .bytes_max = 1 << 20 };
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct record           record = record_of("{\"event\":\"$snapshot_items\",\"properties\":{\"distinct_id\":\"u-1\",\"$session_id\":\"s-1\"}}");
    struct err              err = { 0 };
    struct buf              headers;
    char                    large[4000];
    size_t                  count;

    (void)state;
    buf_init(&headers, 1 << 16);
    /* vector 141 */
    record.event = SPAN("$snapshot_items");
    record.detail = SPAN("s-1");
    assert_int_equal((buf_reset(&room), upstream_replay_write(&form, &record, &room, messages, &err)), 0);
    assert_int_equal(messages[0].topic, UPSTREAM_REPLAY);
    check_text("replay", "key", messages[0].key, "s-1");
    check_text("replay", "value", messages[0].value,
               HEAD "{\\\"event\\\":\\\"$snapshot_items\\\",\\\"properties\\\":{\\\"distinct_id\\\":\\\"u-1\\\",\\\"$session_id\\\":\\\"s-1\\\"}}"
               "\",\"now\":\"2026-02-03T04:05:06Z\",\"token\":\"phc_alpha\",\"event\":\"$snapshot_items\",\"timestamp\":\"2026-02-03T04:05:06Z\"}");
    headers_text(&messages[0], &headers);
    check_text("replay", "headers", buf_span(&headers),
               "token=phc_alpha|distinct_id=u-1|session_id=s-1|timestamp=1770091506000|event=$snapshot_items|uuid=" UUID_TEXT
               "|now=2026-02-03T04:05:06Z|force_disable_person_processing|historical_migration");
    /* v1 says the session, too */
    record = record_of("{\"event\":\"signup\",\"properties\":{\"$session_id\":\"s-2\"}}");
    record.flags = RECORD_V1;
    assert_int_equal(written(&form, &room, &record, messages, &count, &err), 0);
    headers_text(&messages[0], &headers);
    assert_non_null(memmem(headers.at, headers.bytes, "|session_id=s-2|", 16));
    /* a bad event of a good batch: a dead letter, with its bytes, whatever they are */
    record = record_of("{\"event\":1,\"x\":\"\xff\"}");
    record.kind = RECORD_REJECTED;
    record.rejection = RECORD_REJECTED_BAD_FIELD;
    assert_int_equal(written(&form, &room, &record, messages, &count, &err), 0);
    assert_int_equal(messages[0].topic, UPSTREAM_DEAD_LETTERS);
    check_text("rejected", "value", messages[0].value, HEAD "{\\\"event\\\":1,\\\"x\\\":\\\"\xef\xbf\xbd\\\"}" TAIL);
    headers_text(&messages[0], &headers);
    check_text("rejected", "headers", buf_span(&headers), PLAIN "|dlq_reason=req_parsing|dlq_step=capture|dlq_timestamp=2026-02-03T04:05:06.000Z");
    /* too large: a bad one is cut, a good one is refused and the writer goes on */
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    record.data = span_text(large);
    assert_int_equal(written(&form, &room, &record, messages, &count, &err), 0);
    assert_true(messages[0].value.bytes < 2000);
    memcpy(large, "{\"properties\":\"", 15);
    memcpy(large + sizeof large - 3, "\"}", 2);
    record = record_of(large);
    assert_int_equal(written(&form, &room, &record, messages, &count, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "the topic takes 2000"));
    record = record_of("{}");
    assert_int_equal(written(&form, &room, &record, messages, &count, &err), 0);
    buf_fini(&headers);
    buf_fini(&room);
}

/* --- reading ----------------------------------------------------------------------------------- */

#define ENVELOPE(uuid, data, more) "{\"uuid\":\"" uuid "\",\"distinct_id\":\"u-1\",\"ip\":\"203.0.113.7\",\"data\":\"" data "\",\"token\":\"phc_alpha\",\"event\":\"signup\"" more "}"
#define TIMES ",\"now\":\"2026-02-03T04:05:06Z\",\"timestamp\":\"2026-02-03T03:00:00Z\""
#define DATA "{\\\"event\\\":\\\"signup\\\",\\\"properties\\\":{}}"

/* Headers: "name=value|name|...". Expected: the record, in words (see record_text); a rejected one as "!reason: detail". */
static const struct { const char *name, *headers, *value, *expected; } reads[] = {
    { "as capture writes it", "token=phc_alpha|distinct_id=u-1|session_id|timestamp=1770087600000|event=signup|uuid=" UUID_TEXT "|now=2026-02-03T04:05:06Z|force_disable_person_processing|historical_migration",
      ENVELOPE(UUID_TEXT, DATA, TIMES), "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {\"event\":\"signup\",\"properties\":{}}" },
    { "no headers at all: an older capture", "", ENVELOPE(UUID_TEXT, DATA, TIMES),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {\"event\":\"signup\",\"properties\":{}}" },
    { "A07: no token anywhere", "token|distinct_id=u-1", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u-1\",\"event\":\"e\",\"data\":\"{}\"" TIMES "}",
      "- e u-1 - 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "the header's token counts", "token=phc_beta", ENVELOPE(UUID_TEXT, "{}", TIMES), "phc_beta signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "flags by header", "force_disable_person_processing=true|skip_heatmap_processing=true|historical_migration=true", ENVELOPE(UUID_TEXT, "{}", TIMES),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z person_off heatmap_skip historical {}" },
    { "false is false", "force_disable_person_processing=false|historical_migration=false", ENVELOPE(UUID_TEXT, "{}", TIMES ",\"is_cookieless_mode\":false"),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "flags of the envelope", "", ENVELOPE(UUID_TEXT, "{}", TIMES ",\"is_cookieless_mode\":true,\"historical_migration\":true"),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z cookieless historical {}" },
    { "members that nobody knows, Django's site_url", "", ENVELOPE(UUID_TEXT, "{}", TIMES ",\"site_url\":null,\"team_id\":\"7\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "ip null", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u\",\"ip\":null,\"data\":\"{}\",\"event\":\"e\"" TIMES "}",
      "- e u - 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "A06: upper case, version 4", "", ENVELOPE("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{}", TIMES),
      "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "A09: an id that is a number", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":12345,\"data\":\"{}\",\"event\":true" TIMES "}",
      "- true 12345 - 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "A11: the envelope's event counts", "", ENVELOPE(UUID_TEXT, "{\\\"event\\\":\\\"inner\\\",\\\"distinct_id\\\":\\\"other\\\"}", TIMES),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {\"event\":\"inner\",\"distinct_id\":\"other\"}" },
    { "an envelope without event: the inner one", "", "{\"uuid\":\"" UUID_TEXT "\",\"data\":\"{\\\"event\\\":\\\"inner\\\",\\\"distinct_id\\\":7}\"" TIMES "}",
      "- inner 7 - 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {\"event\":\"inner\",\"distinct_id\":7}" },
    { "A12: the envelope's time counts", "timestamp=1", ENVELOPE(UUID_TEXT, "{\\\"timestamp\\\":\\\"2026-02-03T01:00:00Z\\\"}", TIMES),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {\"timestamp\":\"2026-02-03T01:00:00Z\"}" },
    { "without one: the header's", "timestamp=1770087600250", ENVELOPE(UUID_TEXT, "{\\\"timestamp\\\":\\\"2026-02-03T01:00:00Z\\\"}", ",\"now\":\"2026-02-03T04:05:06Z\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00.250Z now 2026-02-03T04:05:06Z {\"timestamp\":\"2026-02-03T01:00:00Z\"}" },
    { "an empty one is none", "timestamp=1770087600250", ENVELOPE(UUID_TEXT, "{}", ",\"now\":\"2026-02-03T04:05:06Z\",\"timestamp\":\"\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00.250Z now 2026-02-03T04:05:06Z {}" },
    { "without both: worked out, example c", "", ENVELOPE(UUID_TEXT, "{\\\"timestamp\\\":\\\"2026-02-03T03:00:00Z\\\"}", ",\"now\":\"2026-02-03T04:05:06Z\",\"sent_at\":\"2026-02-03T04:05:16Z\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T02:59:50Z now 2026-02-03T04:05:06Z sent 2026-02-03T04:05:16Z {\"timestamp\":\"2026-02-03T03:00:00Z\"}" },
    { "example e: sent_at is to be ignored", "", ENVELOPE(UUID_TEXT, "{\\\"timestamp\\\":\\\"2026-02-03T03:00:00Z\\\",\\\"properties\\\":{\\\"$ignore_sent_at\\\":true}}", ",\"now\":\"2026-02-03T04:05:06Z\",\"sent_at\":\"2026-02-03T04:05:16Z\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z sent 2026-02-03T04:05:16Z {\"timestamp\":\"2026-02-03T03:00:00Z\",\"properties\":{\"$ignore_sent_at\":true}}" },
    { "example f: an offset, as text", "", ENVELOPE(UUID_TEXT, "{\\\"timestamp\\\":\\\"2026-02-03T03:00:00Z\\\",\\\"offset\\\":\\\"5000\\\"}", ",\"now\":\"2026-02-03T04:05:06Z\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T04:05:01Z now 2026-02-03T04:05:06Z {\"timestamp\":\"2026-02-03T03:00:00Z\",\"offset\":\"5000\"}" },
    { "a time that is none: now", "", ENVELOPE(UUID_TEXT, "{}", ",\"now\":\"2026-02-03T04:05:06Z\",\"timestamp\":\"soon\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T04:05:06Z now 2026-02-03T04:05:06Z {}" },
    { "no now: the header's", "now=2026-02-03T04:05:07Z", ENVELOPE(UUID_TEXT, "{}", ",\"now\":null"), "phc_alpha signup u-1 203.0.113.7 2026-02-03T04:05:07Z now 2026-02-03T04:05:07Z {}" },
    { "no now anywhere: the broker's", "", ENVELOPE(UUID_TEXT, "{}", ""), "phc_alpha signup u-1 203.0.113.7 2026-02-03T04:05:09Z now 2026-02-03T04:05:09Z {}" },
    { "now in another zone; sent_at in its own", "", ENVELOPE(UUID_TEXT, "{}", ",\"now\":\"2026-02-03T05:05:06+01:00\",\"sent_at\":\"2026-02-03T09:35:06.5+05:30\""),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T04:05:06Z now 2026-02-03T04:05:06Z sent 2026-02-03T09:35:06.5+05:30 {}" },
    { "surrogates and U+0000 in data", "", ENVELOPE(UUID_TEXT, "{\\\"properties\\\":{\\\"a\\\":\\\"\\\\ud800x\\\\u0000\\\"}}", TIMES),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z repaired {\"properties\":{\"a\":\"\\ufffdx\\ufffd\"}}" },
    { "properties that are none are ingest's matter", "", ENVELOPE(UUID_TEXT, "{\\\"properties\\\":[1]}", TIMES),
      "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {\"properties\":[1]}" },
    { "white space around data", "", ENVELOPE(UUID_TEXT, " {} \\n", TIMES), "phc_alpha signup u-1 203.0.113.7 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "an ip that is none by its length", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u\",\"ip\":\"0123456789012345678901234567890123456789012345\",\"data\":\"{}\",\"event\":\"e\"" TIMES "}",
      "- e u - 2026-02-03T03:00:00Z now 2026-02-03T04:05:06Z {}" },
    { "A01: no JSON", "token=phc_alpha|distinct_id=u-1|event=signup|uuid=" UUID_TEXT "|now=2026-02-03T04:05:06Z", "hello",
      "!failed_parse_message phc_alpha signup u-1 hello" },
    { "empty", "", "", "!failed_parse_message - - - " },
    { "cut off", "", "{\"uuid\":\"" UUID_TEXT "\"", "!failed_parse_message - - - {\"uuid\":\"" UUID_TEXT "\"" },
    { "a list", "", "[]", "!failed_parse_message - - - []" },
    { "null", "", "null", "!failed_parse_message - - - null" },
    { "A03: data is a list", "", ENVELOPE(UUID_TEXT, "[1]", TIMES), "!failed_parse_message" },
    { "data is no JSON", "", ENVELOPE(UUID_TEXT, "{", TIMES), "!failed_parse_message" },
    { "data is null in a string", "", ENVELOPE(UUID_TEXT, "null", TIMES), "!failed_parse_message" },
    { "data is an object, not a string", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u\",\"event\":\"e\",\"data\":{}}", "!failed_parse_message" },
    { "data is a number", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u\",\"event\":\"e\",\"data\":7}", "!failed_parse_message" },
    { "no data", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u\",\"event\":\"e\"}", "!failed_parse_message" },
    { "A04: no uuid", "", "{\"distinct_id\":\"u\",\"event\":\"e\",\"data\":\"{}\"}", "!empty_uuid" },
    { "uuid null, in data as well", "", "{\"uuid\":null,\"distinct_id\":\"u\",\"event\":\"e\",\"data\":\"{\\\"uuid\\\":\\\"" UUID_TEXT "\\\"}\"}", "!empty_uuid" },
    { "A05: uuid is none", "", ENVELOPE("not-a-uuid", "{}", ""), "!invalid_uuid" },
    { "uuid is a number", "", "{\"uuid\":5,\"distinct_id\":\"u\",\"event\":\"e\",\"data\":\"{}\"}", "!invalid_uuid" },
    { "uuid without hyphens", "", ENVELOPE("019c21ace9507abc8def0123456789ab", "{}", ""), "!invalid_uuid" },
    { "uuid is an object", "", "{\"uuid\":{},\"distinct_id\":\"u\",\"event\":\"e\",\"data\":\"{}\"}", "!failed_parse_message" },
    { "distinct_id is a list", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":[],\"event\":\"e\",\"data\":\"{}\"}", "!failed_parse_message" },
    { "distinct_id is null", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":null,\"event\":\"e\",\"data\":\"{}\"}", "!failed_parse_message" },
    { "no distinct_id", "", "{\"uuid\":\"" UUID_TEXT "\",\"event\":\"e\",\"data\":\"{}\"}", "!failed_parse_message" },
    { "event is an object", "", "{\"uuid\":\"" UUID_TEXT "\",\"distinct_id\":\"u\",\"event\":{},\"data\":\"{}\"}", "!failed_parse_message" },
    { "now is a number", "", ENVELOPE(UUID_TEXT, "{}", ",\"now\":5"), "!failed_parse_message" },
    { "compressed, which only recordings are", "content-encoding=lz4", ENVELOPE(UUID_TEXT, "{}", ""), "!failed_parse_message" },
    { "bytes that are no text", "token=phc_alpha", "\xff\xfe{}", "!failed_parse_message phc_alpha - - \xff\xfe{}" },
};

static void add_text(struct buf *out, struct span text)
{
    buf_add(out, text.bytes == 0 ? SPAN("-") : text);
    buf_add_byte(out, ' ');
}

static void record_text(const struct record *record, struct buf *out)
{
    static const struct { unsigned flag; const char *word; } words[] = {
        { RECORD_PERSON_OFF, "person_off " }, { RECORD_HEATMAP_SKIP, "heatmap_skip " }, { RECORD_COOKIELESS, "cookieless " },
        { RECORD_HISTORICAL, "historical " }, { RECORD_REPAIRED, "repaired " }
    };
    char uuid[UUID_TEXT_BYTES];

    buf_reset(out);
    if (record->kind == RECORD_REJECTED) {
        buf_add_format(out, "!%s ", record_rejection_tag(record->rejection));
        add_text(out, record->token);
        add_text(out, record->event);
        add_text(out, record->distinct_id);
        buf_add(out, record->data);
        return;
    }
    uuid_format(&record->uuid, uuid);
    if (!span_is(span_of(uuid, sizeof uuid), UUID_TEXT))
        add_text(out, span_of(uuid, sizeof uuid));
    add_text(out, record->token);
    add_text(out, record->event);
    add_text(out, record->distinct_id);
    add_text(out, record->ip);
    time_write_rfc3339(out, record->timestamp_us);
    buf_add_text(out, " now ");
    time_write_rfc3339(out, record->received_us);
    buf_add_byte(out, ' ');
    if (record->sent_at_us != CLOCK_NONE) {
        buf_add_text(out, "sent ");
        time_write_rfc3339_zone(out, record->sent_at_us, record->sent_at_zone_min);
        buf_add_byte(out, ' ');
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if ((record->flags & words[i].flag) != 0)
            buf_add_text(out, words[i].word);
    buf_add(out, record->data);
}

static void headers_parse(const char *text, struct upstream_message *message)
{
    message->header_count = 0;
    while (*text != 0) {
        size_t      bytes = strcspn(text, "|");
        const char *equals = memchr(text, '=', bytes);

        if (equals == NULL)
            upstream_header_add_null(message, span_of(text, bytes));
        else
            upstream_header_add(message, span_of(text, (size_t)(equals - text)), span_of(equals + 1, bytes - (size_t)(equals + 1 - text)));
        text += bytes + (text[bytes] == '|');
    }
}

static const struct upstream_origin origin = { .appended_us = NOW_US + 3000000, .place = 12 };

static void others_messages_are_read(void **state)
{
    struct arena *arena = arena_new(1 << 16, 1 << 24);
    struct buf    text;
    struct err    err = { 0 };

    (void)state;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
        struct upstream_message message = { .value = span_text(reads[i].value) };
        struct record           record, again;
        uint8_t                *stored;

        arena_reset(arena);
        headers_parse(reads[i].headers, &message);
        if (upstream_record_read(&message, &origin, arena, &record, &err) < 0)
            fail_msg("%s: %s", reads[i].name, err.text);
        record_text(&record, &text);
        if (strchr(reads[i].expected, ' ') == NULL) /* a reason alone: the value is there in one piece */
            check_text(reads[i].name, "reason", span_of(text.at, strlen(reads[i].expected)), reads[i].expected);
        else
            check_text(reads[i].name, "record", buf_span(&text), reads[i].expected);
        if (record.kind == RECORD_REJECTED) {
            check_text(reads[i].name, "data", record.data, reads[i].value);
            assert_true(record.detail.bytes > 0);
            assert_string_equal(record_rejection_step(record.rejection), "parse_message");
        }
        /* it can be stored, and the uuid that a bad one gets does not change */
        stored = malloc(record_bytes(&record));
        record_write(&record, stored);
        assert_int_equal(record_read(span_of(stored, record_bytes(&record)), &again, &err), 0);
        free(stored);
        assert_int_equal(upstream_record_read(&message, &origin, arena, &again, &err), 0);
        assert_true(uuid_equal(&record.uuid, &again.uuid));
    }
    buf_fini(&text);
    arena_free(arena);
}

/* Without lanes a rejected event of capture goes where ingest reads it, and is a dead letter there. */
static void what_capture_rejected_stays_rejected(void **state)
{
    struct upstream_form    form = { .bytes_max = 1000000 };
    struct buf              room = { .bytes_max = 1 << 20 };
    struct arena           *arena = arena_new(1 << 16, 1 << 24);
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX];
    struct err              err = { 0 };
    size_t                  count;

    (void)state;
    for (int i = 1; i < (int)RECORD_REJECTED_CAPTURE_COUNT; i++)
        for (unsigned flags = 0; flags <= RECORD_HISTORICAL; flags += RECORD_HISTORICAL) {
            struct record record = record_of("[\"no event\" \\"), out;

            record.kind = RECORD_REJECTED;
            record.rejection = (enum record_rejection)i;
            record.event = SPAN("");
            record.flags = flags;
            assert_int_equal(written(&form, &room, &record, messages, &count, &err), 0);
            assert_int_equal(messages[0].topic, flags != 0 ? UPSTREAM_HISTORICAL : UPSTREAM_ANALYTICS);
            assert_int_equal(upstream_record_read(&messages[0], &origin, arena, &out, &err), 0);
            assert_int_equal(out.kind, RECORD_REJECTED);
            assert_string_equal(record_rejection_tag(out.rejection), record_rejection_tag(record.rejection));
            assert_true(span_equal(out.data, record.data) && span_equal(out.token, record.token) && uuid_equal(&out.uuid, &record.uuid));
            assert_true(out.received_us == record.received_us && out.flags == flags && out.detail.bytes > 0);
        }
    buf_fini(&room);
    arena_free(arena);
}

static void a_topic_of_imports_makes_imports(void **state)
{
    const struct upstream_origin imports = { .appended_us = NOW_US, .historical = true };
    struct arena                *arena = arena_new(1 << 16, 1 << 24);
    struct upstream_message      message = { .value = span_text(reads[0].value) };
    struct record                record;
    struct err                   err = { 0 };

    (void)state;
    assert_int_equal(upstream_record_read(&message, &imports, arena, &record, &err), 0);
    assert_int_equal(record.flags, RECORD_HISTORICAL);
    arena_free(arena);
}

static void long_texts_are_bounded(void **state)
{
    struct arena           *arena = arena_new(1 << 16, 1 << 24);
    struct upstream_message message = { 0 };
    struct record           record;
    struct err              err = { 0 };
    struct buf              value;

    (void)state;
    buf_init(&value, 1 << 20);
    buf_add_text(&value, "{\"uuid\":\"" UUID_TEXT "\",\"event\":\"e\",\"data\":\"{}\",\"token\":\"");
    for (int i = 0; i < 200; i++)
        buf_add_text(&value, "\xc3\xa9");
    buf_add_text(&value, "\",\"distinct_id\":\"x");
    for (int i = 0; i < 40000; i++)
        buf_add_text(&value, "\xc3\xa9");
    buf_add_text(&value, "\"}");
    message.value = buf_span(&value);
    assert_int_equal(upstream_record_read(&message, &origin, arena, &record, &err), 0);
    assert_int_equal(record.kind, RECORD_EVENT);
    assert_int_equal(record.token.bytes, 254); /* whole characters */
    assert_int_equal(record.distinct_id.bytes, 65535);
    buf_fini(&value);
    arena_free(arena);
    /* memory that runs out is said, and nothing else */
    message.value = span_text(reads[0].value);
    for (size_t room = 0; room < 4096; room += 64) {
        arena = arena_new(64, room);
        if (arena == NULL)
            continue;
        if (upstream_record_read(&message, &origin, arena, &record, &err) < 0)
            assert_int_equal(err.kind, ERR_FULL);
        arena_free(arena);
    }
}

/* --- both -------------------------------------------------------------------------------------- */

static void records_come_back(void **state)
{
    static const unsigned   kept = RECORD_COOKIELESS | RECORD_HISTORICAL | RECORD_PERSON_OFF | RECORD_HEATMAP_SKIP;
    struct upstream_form    form = { .lanes = true, .bytes_max = 1000000 };
    struct buf              room = { .bytes_max = 1 << 20 };
    struct arena           *arena = arena_new(1 << 16, 1 << 24);
    struct upstream_message messages[UPSTREAM_MESSAGES_MAX], line;
    struct err              err = { 0 };
    struct buf              text;
    size_t                  count;

    (void)state;
    buf_init(&text, 1 << 20);
    for (unsigned flags = 0; flags < 1u << 10; flags++) {
        struct record in = record_of("{\"uuid\":\"" UUID_TEXT "\",\"event\":\"signup\",\"properties\":{\"a\":\"\\u00e9\\\\\",\"n\":1.10},\"timestamp\":\"x\",\"offset\":1,\"$set\":{\"b\":2},\"$set_once\":{}}"), out;

        arena_reset(arena);
        in.flags = flags;
        in.timestamp_us += flags;
        in.received_us -= flags;
        in.sent_at_us = flags % 3 == 0 ? CLOCK_NONE : NOW_US + (int64_t)flags;
        in.sent_at_zone_min = flags % 3 == 0 ? 0 : (int)flags % 1000 - 500;
        in.distinct_id = flags % 2 == 0 ? SPAN("u \"1\" \xf0\x9f\x98\x80 \\ \x01") : SPAN("u-1");
        in.event = flags % 5 == 0 ? SPAN("$exception") : SPAN("signup \"x\"");
        in.pipeline = pipeline_of(in.event);
        assert_int_equal(written(&form, &room, &in, messages, &count, &err), 0);
        /* by way of a file, too */
        buf_reset(&text);
        upstream_message_write_line(&messages[0], &text);
        assert_int_equal(upstream_message_read_line(buf_span(&text), arena, &line, &err), 0);
        assert_int_equal(line.topic, messages[0].topic);
        assert_true(line.has_key == messages[0].has_key && span_equal(line.key, messages[0].key) && span_equal(line.value, messages[0].value));
        assert_int_equal(line.header_count, messages[0].header_count);
        assert_int_equal(upstream_record_read(&line, &origin, arena, &out, &err), 0);
        assert_int_equal(out.kind, RECORD_EVENT);
        assert_int_equal(out.flags, flags & kept);
        assert_int_equal(out.pipeline, in.pipeline);
        assert_true(uuid_equal(&in.uuid, &out.uuid));
        assert_true(in.received_us == out.received_us && in.timestamp_us == out.timestamp_us && in.sent_at_us == out.sent_at_us);
        assert_int_equal(out.sent_at_zone_min, in.sent_at_zone_min);
        assert_true(span_equal(in.token, out.token) && span_equal(in.ip, out.ip) && span_equal(in.distinct_id, out.distinct_id) && span_equal(in.event, out.event));
        if ((flags & (RECORD_UUID_MADE | RECORD_UUID_DERIVED)) == 0) {
            struct json_members a, b;

            assert_int_equal(json_members_read(in.data, arena, &a, &err), 0);
            assert_int_equal(json_members_read(out.data, arena, &b, &err), 0);
            assert_int_equal(a.count, b.count);
            for (size_t i = 0; i < a.count; i++)
                assert_true(span_equal(a.at[i].value.raw, json_members_find(&b, a.at[i].key)->value.raw));
        }
    }
    buf_fini(&text);
    arena_free(arena);
    buf_fini(&room);
}

static const struct { const char *line; int rc; } lines[] = {
    { "{\"value\":\"{}\"}", 0 },
    { "{\"topic\":\"x\",\"key\":null,\"headers\":{\"a\":null,\"b\":\"c\"},\"value\":\"{}\",\"offset\":5}", 0 },
    { "{\"key\":\"k\"}", -1 },
    { "{\"value\":null}", -1 },
    { "{\"value\":{}}", -1 },
    { "{\"headers\":{\"a\":1},\"value\":\"\"}", -1 },
    { "{\"value\":\"\"", -1 },
    { "value", -1 },
};

static void lines_are_read(void **state)
{
    struct arena           *arena = arena_new(1 << 12, 1 << 20);
    struct upstream_message message;
    struct err              err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (upstream_message_read_line(span_text(lines[i].line), arena, &message, &err) != lines[i].rc)
            fail_msg("%s", lines[i].line);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_is_written),      cmocka_unit_test(lanes_are_chosen),
        cmocka_unit_test(times_are_written),    cmocka_unit_test(heatmaps_are_split),
        cmocka_unit_test(the_rest_is_written),  cmocka_unit_test(others_messages_are_read),
        cmocka_unit_test(long_texts_are_bounded), cmocka_unit_test(records_come_back),
        cmocka_unit_test(lines_are_read),       cmocka_unit_test(a_topic_of_imports_makes_imports),
        cmocka_unit_test(what_capture_rejected_stays_rejected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
