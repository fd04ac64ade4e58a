/* event/upstream_row_test.c - finished rows as messages, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/packed.h"
#include "event/upstream_record.h"
#include "event/upstream_row.h"
#include "wire/json.h"

#define T_US INT64_C(1709287200123456) /* 2024-03-01T10:00:00.123456Z */
#define UUID_A "019c21ac-e950-7abc-8def-0123456789ab"
#define UUID_B "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"

static const struct upstream_source nowhere;

static struct uuid uuid_read(const char *text)
{
    struct uuid uuid;

    assert_true(uuid_parse_hyphenated(span_text(text), &uuid));
    return uuid;
}

static void check_text(const char *what, struct span have, const char *expected)
{
    if (!span_is(have, expected))
        fail_msg("%s\n is       %.*s\n expected %s", what, SPAN_ARG(have), expected);
}

static struct row event_row(void)
{
    struct row row;

    row_init(&row, ROW_EVENT);
    row_set_uuid(&row, ROW_EVENT_UUID, uuid_read(UUID_A));
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("view \"x\""));
    row_set_text(&row, ROW_EVENT_PROPERTIES, SPAN("{\"a\":\"b\\\"\\\\\",\"n\":1.10}"));
    row_set_i64(&row, ROW_EVENT_TIMESTAMP, T_US);
    row_set_i64(&row, ROW_EVENT_TEAM_ID, 7);
    row_set_text(&row, ROW_EVENT_DISTINCT_ID, SPAN("u-1"));
    row_set_text(&row, ROW_EVENT_ELEMENTS_CHAIN, SPAN("a:href=\"/\"nth-child=\"1\""));
    row_set_i64(&row, ROW_EVENT_CREATED_AT, T_US + 1000000);
    row_set_uuid(&row, ROW_EVENT_PERSON_ID, uuid_read(UUID_B));
    row_set_i64(&row, ROW_EVENT_PERSON_CREATED_AT, T_US - 1000000);
    row_set_text(&row, ROW_EVENT_PERSON_PROPERTIES, SPAN("{}"));
    row_set_text(&row, ROW_EVENT_PERSON_MODE, SPAN("full"));
    row_set_text(&row, ROW_EVENT_GROUP0_PROPERTIES, SPAN("{\"g\":1}"));
    row_set_text(&row, ROW_EVENT_GROUP_0, SPAN("acme"));
    row_set_i64(&row, ROW_EVENT_CAPTURED_AT, T_US - 6);
    row_set_i64(&row, ROW_EVENT_PROJECT_ID, 8);
    row_set_i64(&row, ROW_EVENT_HISTORICAL_MIGRATION, 0);
    row_set_i64(&row, ROW_EVENT_RAW_OFFSET, 99);
    return row;
}

#define EVENT                                                                                                          \
    "{\"uuid\":\"" UUID_A "\",\"event\":\"view \\\"x\\\"\",\"properties\":\"{\\\"a\\\":\\\"b\\\\\\\"\\\\\\\\\\\",\\\"n\\\":1.10}\","   \
    "\"timestamp\":\"2024-03-01 10:00:00.123\",\"team_id\":7,\"project_id\":8,\"distinct_id\":\"u-1\","                 \
    "\"elements_chain\":\"a:href=\\\"/\\\"nth-child=\\\"1\\\"\",\"created_at\":\"2024-03-01 10:00:01.123\",\"captured_at\":"
#define EVENT_END(properties, mode)                                                                                     \
    ",\"person_id\":\"" UUID_B "\",\"person_properties\":" properties ",\"person_created_at\":\"2024-03-01 09:59:59\",\"person_mode\":\"" mode "\""

static void events_are_written(void **state)
{
    struct row              row = event_row();
    struct upstream_message message;
    struct span             header;
    struct buf              room;
    struct err              err = { 0 };

    (void)state;
    buf_init(&room, 1 << 20);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("event", message.value, EVENT "\"2024-03-01 10:00:00.123\"" EVENT_END("\"{}\"", "full") "}");
    check_text("key", message.key, UUID_A);
    assert_int_equal(message.topic, UPSTREAM_ROW_EVENTS);
    assert_string_equal(upstream_topic_name(message.topic), "clickhouse_events_json");
    assert_true(message.has_key && message.header_count == 1);
    assert_true(upstream_header_find(&message, "productTrack", &header) && span_is(header, "general"));

    /* an import of an older capture, personless, before 1970 */
    row.cells[ROW_EVENT_CAPTURED_AT].null = true;
    row_set_i64(&row, ROW_EVENT_HISTORICAL_MIGRATION, 1);
    row_set_text(&row, ROW_EVENT_PERSON_MODE, SPAN("propertyless"));
    row.cells[ROW_EVENT_PERSON_PROPERTIES].null = true;
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("$ai_trace"));
    buf_reset(&room);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    assert_non_null(memmem(message.value.at, message.value.bytes, ",\"captured_at\":null,", 20));
    header = span_from(message.value, message.value.bytes - strlen(EVENT_END("\"{}\"", "propertyless") ",\"historical_migration\":true}"));
    check_text("end", header, EVENT_END("\"{}\"", "propertyless") ",\"historical_migration\":true}");
    assert_true(upstream_header_find(&message, "productTrack", &header) && span_is(header, "llma"));
    buf_fini(&room);
}

/* Packed as they come out of the store of persons. */
static struct span pack(const char *text, struct buf *buf)
{
    struct packed_writer writer;
    struct arena        *arena = arena_new(1 << 12, 1 << 16);
    struct json_members  members;
    struct err           err = { 0 };
    uint8_t             *to = buf_reserve(buf, 1024);

    assert_int_equal(json_members_read(span_text(text), arena, &members, &err), 0);
    packed_begin(&writer, to);
    for (size_t i = 0; i < members.count; i++)
        packed_add(&writer, packed_key_find(members.at[i].key_raw), members.at[i].key_raw, members.at[i].value.raw);
    buf->bytes += packed_end(&writer);
    arena_free(arena);
    return buf_span(buf);
}

static void persons_and_groups_are_written(void **state)
{
    struct row              row;
    struct upstream_message message;
    struct buf              room, packed;
    struct err              err = { 0 };

    (void)state;
    buf_init(&room, 1 << 20);
    buf_init(&packed, 1 << 20);
    row_init(&row, ROW_PERSON);
    row_set_uuid(&row, ROW_PERSON_ID, uuid_read(UUID_B));
    row_set_i64(&row, ROW_PERSON_CREATED_AT, T_US);
    row_set_i64(&row, ROW_PERSON_TEAM_ID, 7);
    row_set_text(&row, ROW_PERSON_PROPERTIES, pack("{\"$browser\":\"Chrome\",\"x\":\"\\u00e9\"}", &packed));
    row_set_i64(&row, ROW_PERSON_IS_IDENTIFIED, 1);
    row_set_i64(&row, ROW_PERSON_IS_DELETED, 0);
    row_set_i64(&row, ROW_PERSON_VERSION, 101);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("person", message.value,
               "{\"id\":\"" UUID_B "\",\"created_at\":\"2024-03-01 10:00:00\",\"properties\":\"{\\\"$browser\\\":\\\"Chrome\\\",\\\"x\\\":\\\"\\\\u00e9\\\"}\","
               "\"team_id\":7,\"is_identified\":1,\"is_deleted\":0,\"version\":101,\"last_seen_at\":null}");
    assert_false(message.has_key);
    assert_int_equal(message.header_count, 0);
    assert_string_equal(upstream_topic_name(message.topic), "clickhouse_person");
    row_set_i64(&row, ROW_PERSON_LAST_SEEN_AT, T_US);
    row_set_i64(&row, ROW_PERSON_IS_DELETED, 1);
    buf_reset(&room);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    assert_non_null(memmem(message.value.at, message.value.bytes, "\"is_deleted\":1,\"version\":101,\"last_seen_at\":\"2024-03-01 10:00:00\"}", 66));

    row_init(&row, ROW_DISTINCT);
    row_set_i64(&row, ROW_DISTINCT_TEAM_ID, 7);
    row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, SPAN("a\\b\n"));
    row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, uuid_read(UUID_B));
    row_set_i64(&row, ROW_DISTINCT_IS_DELETED, 0);
    row_set_i64(&row, ROW_DISTINCT_VERSION, 1);
    buf_reset(&room);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("distinct id", message.value, "{\"distinct_id\":\"a\\\\b\\n\",\"person_id\":\"" UUID_B "\",\"team_id\":7,\"version\":1,\"is_deleted\":0}");
    assert_string_equal(upstream_topic_name(message.topic), "clickhouse_person_distinct_id");

    row_init(&row, ROW_GROUP);
    row_set_i64(&row, ROW_GROUP_TYPE_INDEX, 4);
    row_set_text(&row, ROW_GROUP_KEY, SPAN("acme"));
    row_set_i64(&row, ROW_GROUP_CREATED_AT, T_US);
    row_set_i64(&row, ROW_GROUP_TEAM_ID, 7);
    row_set_text(&row, ROW_GROUP_PROPERTIES, SPAN("{\"n\":\"A\"}"));
    row_set_i64(&row, ROW_GROUP_VERSION, 2);
    row_set_text(&row, ROW_GROUP_TYPE, SPAN("company"));
    buf_reset(&room);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("group", message.value,
               "{\"group_type_index\":4,\"group_key\":\"acme\",\"team_id\":7,\"group_properties\":\"{\\\"n\\\":\\\"A\\\"}\",\"created_at\":\"2024-03-01 10:00:00\",\"version\":2}");
    assert_string_equal(upstream_topic_name(message.topic), "clickhouse_groups");
    buf_fini(&room);
    buf_fini(&packed);
}

static void warnings_and_heatmaps_are_written(void **state)
{
    struct row              row;
    struct upstream_message message;
    struct buf              room;
    struct err              err = { 0 };

    (void)state;
    buf_init(&room, 1 << 20);
    row_init(&row, ROW_WARNING);
    row_set_i64(&row, ROW_WARNING_TEAM_ID, 7);
    row_set_text(&row, ROW_WARNING_SOURCE, SPAN("ingest"));
    row_set_text(&row, ROW_WARNING_TYPE, SPAN("group_key_too_long"));
    row_set_text(&row, ROW_WARNING_DETAILS, SPAN("{\"maxLength\":400,\"category\":\"size\",\"severity\":\"error\"}"));
    row_set_i64(&row, ROW_WARNING_TIMESTAMP, T_US);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("warning", message.value,
               "{\"team_id\":7,\"type\":\"group_key_too_long\",\"source\":\"ingest\",\"details\":\"{\\\"maxLength\\\":400,\\\"category\\\":\\\"size\\\",\\\"severity\\\":\\\"error\\\"}\",\"timestamp\":\"2024-03-01 10:00:00.123\"}");
    assert_false(message.has_key);
    assert_string_equal(upstream_topic_name(message.topic), "clickhouse_ingestion_warnings");

    row_init(&row, ROW_HEATMAP);
    row_set_text(&row, ROW_HEATMAP_TYPE, SPAN("click"));
    row_set_i64(&row, ROW_HEATMAP_AT_X, -3);
    row_set_i64(&row, ROW_HEATMAP_AT_Y, 40);
    row_set_i64(&row, ROW_HEATMAP_TARGET_FIXED, 1);
    row_set_i64(&row, ROW_HEATMAP_VIEWPORT_HEIGHT, 50);
    row_set_i64(&row, ROW_HEATMAP_VIEWPORT_WIDTH, 60);
    row_set_text(&row, ROW_HEATMAP_CURRENT_URL, SPAN("http://a/"));
    row_set_text(&row, ROW_HEATMAP_SESSION_ID, SPAN("s-1"));
    row_set_i64(&row, ROW_HEATMAP_SCALE_FACTOR, 16);
    row_set_i64(&row, ROW_HEATMAP_TIMESTAMP, T_US);
    row_set_i64(&row, ROW_HEATMAP_TEAM_ID, 7);
    row_set_text(&row, ROW_HEATMAP_DISTINCT_ID, SPAN("u-1"));
    buf_reset(&room);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("heatmap", message.value,
               "{\"type\":\"click\",\"x\":-3,\"y\":40,\"pointer_target_fixed\":true,\"viewport_height\":50,\"viewport_width\":60,\"current_url\":\"http://a/\","
               "\"session_id\":\"s-1\",\"scale_factor\":16,\"timestamp\":\"2024-03-01 10:00:00.123\",\"team_id\":7,\"distinct_id\":\"u-1\"}");
    assert_false(message.has_key);
    row_set_uuid(&row, ROW_HEATMAP_EVENT_UUID, uuid_read(UUID_A));
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("heatmap key", message.key, UUID_A);
    assert_string_equal(upstream_topic_name(message.topic), "clickhouse_heatmap_events");
    /* farther than 16 bits: ClickHouse reads 62500 into such a column as -3036 */
    row_set_i64(&row, ROW_HEATMAP_AT_X, 62500);
    row_set_i64(&row, ROW_HEATMAP_AT_Y, -62500);
    row_set_i64(&row, ROW_HEATMAP_VIEWPORT_WIDTH, 32768);
    buf_reset(&room);
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("far", message.value,
               "{\"type\":\"click\",\"x\":32767,\"y\":-32768,\"pointer_target_fixed\":true,\"viewport_height\":50,\"viewport_width\":32767,\"current_url\":\"http://a/\","
               "\"session_id\":\"s-1\",\"scale_factor\":16,\"timestamp\":\"2024-03-01 10:00:00.123\",\"team_id\":7,\"distinct_id\":\"u-1\"}");
    buf_fini(&room);
}

/* ClickHouse 26.9 reads 0000-06-01 as the first of June of this year. */
static void years_that_no_column_holds_are_moved(void **state)
{
    static const struct { int64_t us; const char *milliseconds, *seconds; } rows[] = {
        { INT64_C(-62154086400000000), "\"1900-01-01 00:00:00.000\"", "\"1900-01-01 00:00:00\"" }, /* 0000-06-01 */
        { INT64_C(-2208988800000001), "\"1900-01-01 00:00:00.000\"", "\"1900-01-01 00:00:00\"" },
        { INT64_C(-2208988799999000), "\"1900-01-01 00:00:00.001\"", "\"1900-01-01 00:00:00\"" },
        { INT64_C(253402300799000000), "\"2299-12-31 23:59:59.999\"", "\"2299-12-31 23:59:59\"" }, /* 9999-12-31 */
    };
    struct upstream_message message;
    struct row              row = event_row(), person;
    struct buf              room;
    struct err              err = { 0 };
    char                    want[80];

    (void)state;
    buf_init(&room, 1 << 20);
    row_init(&person, ROW_PERSON);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        row_set_i64(&row, ROW_EVENT_TIMESTAMP, rows[i].us);
        row_set_i64(&row, ROW_EVENT_PERSON_CREATED_AT, rows[i].us);
        row_set_i64(&person, ROW_PERSON_CREATED_AT, rows[i].us);
        buf_reset(&room);
        assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
        (void)snprintf(want, sizeof want, "\"timestamp\":%s,", rows[i].milliseconds);
        assert_non_null(memmem(message.value.at, message.value.bytes, want, strlen(want)));
        (void)snprintf(want, sizeof want, "\"person_created_at\":%s,", rows[i].seconds);
        assert_non_null(memmem(message.value.at, message.value.bytes, want, strlen(want)));
        buf_reset(&room);
        assert_int_equal(upstream_row_write(&person, &nowhere, &room, &message, &err), 1);
        (void)snprintf(want, sizeof want, "\"created_at\":%s,", rows[i].seconds);
        assert_non_null(memmem(message.value.at, message.value.bytes, want, strlen(want)));
    }
    buf_fini(&room);
}

static void headers_text(const struct upstream_message *message, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < message->header_count; i++) {
        buf_add(out, message->headers[i].name);
        if (!message->headers[i].null) {
            buf_add_byte(out, '=');
            buf_add(out, message->headers[i].value);
        }
        buf_add_byte(out, '|');
    }
}

static struct row letter_row(void)
{
    struct row row;

    row_init(&row, ROW_DEAD_LETTER);
    row_set_uuid(&row, ROW_DEAD_LETTER_UUID, uuid_read(UUID_A));
    row_set_i64(&row, ROW_DEAD_LETTER_TEAM_ID, 7);
    row_set_text(&row, ROW_DEAD_LETTER_EVENT, SPAN("e"));
    row_set_text(&row, ROW_DEAD_LETTER_DISTINCT_ID, SPAN("u-1"));
    row_set_i64(&row, ROW_DEAD_LETTER_RECEIVED_AT, INT64_C(1770091506000000));
    row_set_i64(&row, ROW_DEAD_LETTER_FAILED_AT, INT64_C(1770091507000000));
    row_set_text(&row, ROW_DEAD_LETTER_STEP, SPAN("parse"));
    row_set_text(&row, ROW_DEAD_LETTER_REASON, SPAN("failed_parse_message"));
    row_set_text(&row, ROW_DEAD_LETTER_IP, SPAN("203.0.113.7"));
    row_set_text(&row, ROW_DEAD_LETTER_TOKEN, SPAN("phc_alpha"));
    row_set_i64(&row, ROW_DEAD_LETTER_RAW_OFFSET, (int64_t)place_make(INPUT_HISTORICAL, UINT64_C(5) << 20 | 3));
    row_set_text(&row, ROW_DEAD_LETTER_DATA, SPAN("{\"properties\":[1]}"));
    return row;
}

static void dead_letters_are_written(void **state)
{
    struct upstream_source  source = { .topics = { [INPUT_HISTORICAL] = "events_plugin_ingestion_historical" }, .partition = 12, .offset_shift = 20 };
    struct row              row = letter_row();
    struct upstream_message message;
    struct buf              room, headers;
    struct err              err = { 0 };

    (void)state;
    buf_init(&room, 1 << 20);
    buf_init(&headers, 1 << 16);
    assert_int_equal(upstream_row_write(&row, &source, &room, &message, &err), 1);
    check_text("letter", message.value,
               "{\"uuid\":\"" UUID_A "\",\"distinct_id\":\"u-1\",\"ip\":\"203.0.113.7\",\"data\":\"{\\\"properties\\\":[1]}\","
               "\"now\":\"2026-02-03T04:05:06Z\",\"token\":\"phc_alpha\",\"event\":\"e\"}");
    check_text("key", message.key, "phc_alpha:u-1");
    headers_text(&message, &headers);
    check_text("headers", buf_span(&headers),
               "token=phc_alpha|distinct_id=u-1|event=e|uuid=" UUID_A "|now=2026-02-03T04:05:06Z|dlq_reason=failed_parse_message|dlq_step=parse|"
               "dlq_timestamp=2026-02-03T04:05:07.000Z|dlq_topic=events_plugin_ingestion_historical|dlq_partition=12|dlq_offset=5|");
    assert_int_equal(message.topic, UPSTREAM_DEAD_LETTERS);

    /* A01: what was no message comes out as it was, byte by byte */
    row_set_text(&row, ROW_DEAD_LETTER_STEP, SPAN("parse_message"));
    row_set_text(&row, ROW_DEAD_LETTER_DATA, SPAN("/wAB"));
    row_set_text(&row, ROW_DEAD_LETTER_ENCODING, SPAN("base64"));
    row.cells[ROW_DEAD_LETTER_TOKEN].null = row.cells[ROW_DEAD_LETTER_DISTINCT_ID].null = row.cells[ROW_DEAD_LETTER_EVENT].null = true;
    row_set_i64(&row, ROW_DEAD_LETTER_RAW_OFFSET, 5);
    buf_reset(&room);
    assert_int_equal(upstream_row_write(&row, &source, &room, &message, &err), 1);
    assert_true(message.value.bytes == 3 && memcmp(message.value.at, "\xff\x00\x01", 3) == 0);
    assert_false(message.has_key);
    headers_text(&message, &headers);
    check_text("headers", buf_span(&headers),
               "token|distinct_id|event|uuid=" UUID_A "|now=2026-02-03T04:05:06Z|dlq_reason=failed_parse_message|dlq_step=parse_message|dlq_timestamp=2026-02-03T04:05:07.000Z|");
    buf_fini(&room);
    buf_fini(&headers);
}

/* What is in the person's own row goes before what the event alone has; and what is left is a message. */
static void what_is_too_large_is_shortened(void **state)
{
    static char             note[UPSTREAM_NOTE_BYTES], more[UPSTREAM_NOTE_BYTES];
    struct upstream_message message;
    struct row              row = event_row();
    struct buf              room;
    struct err              err = { 0 };
    char                   *large = malloc(4000), *person = malloc(1000);

    (void)state;
    (void)snprintf(large, 4000, "{\"a\":\"%03980d\"}", 0);
    (void)snprintf(person, 1000, "{\"p\":\"%0900d\"}", 0);
    buf_init(&room, 1 << 20);
    row_set_text(&row, ROW_EVENT_PROPERTIES, span_text(large));
    row_set_text(&row, ROW_EVENT_PERSON_PROPERTIES, span_text(person));
    assert_true(upstream_row_shorten(&row, 500, note));
    check_text("the person first", row.cells[ROW_EVENT_PERSON_PROPERTIES].text, "{\"$left_out_bytes\":908}");
    check_text("the event's stay", row.cells[ROW_EVENT_PROPERTIES].text, large);
    assert_true(upstream_row_shorten(&row, 100, more));
    check_text("then the event's", row.cells[ROW_EVENT_PROPERTIES].text, "{\"$left_out_bytes\":3988}");
    assert_false(upstream_row_shorten(&row, 1, more));
    /* the person's do not suffice */
    row_set_text(&row, ROW_EVENT_PROPERTIES, span_text(large));
    row_set_text(&row, ROW_EVENT_PERSON_PROPERTIES, span_text(person));
    assert_true(upstream_row_shorten(&row, 3000, note));
    check_text("the person stays", row.cells[ROW_EVENT_PERSON_PROPERTIES].text, person);
    check_text("the event's go", row.cells[ROW_EVENT_PROPERTIES].text, "{\"$left_out_bytes\":3988}");
    /* bytes that are no text, of a letter */
    row = letter_row();
    row_set_text(&row, ROW_DEAD_LETTER_STEP, SPAN("parse_message"));
    row_set_text(&row, ROW_DEAD_LETTER_ENCODING, SPAN("base64"));
    (void)memset(large, 'A', 3996);
    row_set_text(&row, ROW_DEAD_LETTER_DATA, span_of(large, 3996));
    assert_true(upstream_row_shorten(&row, 100, note));
    assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 1);
    check_text("letter", message.value, "{\"$left_out_bytes\":3996}");
    buf_fini(&room);
    free(large);
    free(person);
}

static void the_rest_has_no_message(void **state)
{
    static const enum row_table tables[] = { ROW_EVENT_DEFINITION, ROW_PROPERTY_DEFINITION, ROW_EVENT_PROPERTY, ROW_RECEIPT };
    struct upstream_message     message;
    struct row                  row;
    struct buf                  room;
    struct err                  err = { 0 };

    (void)state;
    buf_init(&room, 1 << 20);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        row_init(&row, tables[i]);
        assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), 0);
    }
    buf_fini(&room);
    /* room that does not suffice is said, for all sizes */
    for (size_t size = 0; size < 700; size += 7) {
        buf_init(&room, size);
        row = event_row();
        assert_int_equal(upstream_row_write(&row, &nowhere, &room, &message, &err), -1);
        assert_int_equal(err.kind, ERR_FULL);
        row = letter_row();
        if (upstream_row_write(&row, &nowhere, &room, &message, &err) < 0)
            assert_int_equal(err.kind, ERR_FULL);
        buf_fini(&room);
        if (size > 400)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_written),                cmocka_unit_test(persons_and_groups_are_written),
        cmocka_unit_test(warnings_and_heatmaps_are_written), cmocka_unit_test(dead_letters_are_written),
        cmocka_unit_test(years_that_no_column_holds_are_moved), cmocka_unit_test(what_is_too_large_is_shortened),
        cmocka_unit_test(the_rest_has_no_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
