/* event/upstream_record_read_test.c - what is read of others' messages; and what comes back of our own. */
#include "event/upstream_record_test_kit.h"
#include "wire/json.h"

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
        cmocka_unit_test(others_messages_are_read), cmocka_unit_test(what_capture_rejected_stays_rejected),
        cmocka_unit_test(a_topic_of_imports_makes_imports), cmocka_unit_test(long_texts_are_bounded),
        cmocka_unit_test(records_come_back), cmocka_unit_test(lines_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
