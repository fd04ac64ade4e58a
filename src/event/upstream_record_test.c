/* event/upstream_record_test.c - messages as they have to be, byte by byte. */
#include "event/upstream_record_test_kit.h"
#include "wire/json.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_is_written),    cmocka_unit_test(lanes_are_chosen),    cmocka_unit_test(times_are_written),
        cmocka_unit_test(heatmaps_are_split), cmocka_unit_test(the_rest_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
