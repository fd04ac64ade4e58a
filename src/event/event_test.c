/* event/event_test.c - stored forms come back as they went in, and refuse what they are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "event/record.h"
#include "event/row.h"

static struct record sample_record(void)
{
    return (struct record){
        .kind = RECORD_EVENT,
        .flags = RECORD_HISTORICAL | RECORD_UUID_DERIVED,
        .project = 7,
        .uuid = { { 1, 2, 3, 4, 5, 6, 0x70, 8, 0x90, 10, 11, 12, 13, 14, 15, 16 } },
        .received_us = 1770091506000000,
        .timestamp_us = -62135596800000000, /* year 1 */
        .sent_at_us = CLOCK_NONE,
        .sent_at_zone_min = -330,
        .timestamp_source = RECORD_TIME_OFFSET,
        .request = UINT64_MAX,
        .index = 99,
        .token = SPAN("phc_alpha"),
        .ip = SPAN("203.0.113.7"),
        .distinct_id = SPAN("u-1"),
        .event = SPAN(""),
        .data = SPAN("{\"event\":\"\"}"),
    };
}

static void records_come_back(void **state)
{
    struct record in = sample_record(), out;
    uint8_t       bytes[512];
    struct err    err;

    (void)state;
    assert_true(record_bytes(&in) < sizeof bytes);
    record_write(&in, bytes);
    assert_int_equal(record_read(span_of(bytes, record_bytes(&in)), &out, &err), 0);
    assert_int_equal(out.kind, RECORD_EVENT);
    assert_int_equal(out.flags, in.flags);
    assert_int_equal(out.project, 7);
    assert_true(uuid_equal(&out.uuid, &in.uuid));
    assert_true(out.timestamp_us == in.timestamp_us && out.received_us == in.received_us);
    assert_true(out.sent_at_us == CLOCK_NONE);
    assert_int_equal(out.sent_at_zone_min, -330);
    assert_int_equal(out.timestamp_source, RECORD_TIME_OFFSET);
    assert_true(out.request == UINT64_MAX);
    assert_int_equal(out.index, 99);
    assert_true(span_equal(out.token, in.token) && span_equal(out.ip, in.ip));
    assert_true(span_equal(out.distinct_id, in.distinct_id) && span_equal(out.event, in.event));
    assert_int_equal(out.detail.bytes, 0);
    assert_true(span_equal(out.data, in.data));
}

static void records_refuse_other_bytes(void **state)
{
    struct record in = sample_record(), out;
    uint8_t       bytes[512];
    size_t        size = record_bytes(&in);
    struct err    err;

    (void)state;
    record_write(&in, bytes);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(record_read(span_of(bytes, cut), &out, &err), -1);
        assert_int_equal(err.kind, ERR_CORRUPT);
    }
    for (size_t at = 0; at < RECORD_HEAD_BYTES; at++) {
        bytes[at] ^= 0xff;
        (void)!record_read(span_of(bytes, size), &out, &err); /* any answer, no crash */
        bytes[at] ^= 0xff;
    }
    bytes[0] = 2;
    assert_int_equal(record_read(span_of(bytes, size), &out, &err), -1);
    assert_string_equal(err.text, "raw record of version 2; this Penstock reads version 1");
    bytes[0] = 1;
    bytes[1] = 9;
    assert_int_equal(record_read(span_of(bytes, size), &out, &err), -1);
    assert_string_equal(err.text, "raw record of unknown kind 9");
}

static void rows_come_back(void **state)
{
    struct row row, back;
    struct buf text;
    struct err err;
    uint8_t    bytes[512];
    size_t     size;

    (void)state;
    row_init(&row, ROW_PERSON);
    row_set_uuid(&row, ROW_PERSON_ID, (struct uuid){ { 0xa6, 0xe2, 0x1b, 0x41 } });
    row_set_i64(&row, ROW_PERSON_CREATED_AT, 1709287200123000);
    row_set_i64(&row, ROW_PERSON_TEAM_ID, 7);
    row_set_text(&row, ROW_PERSON_PROPERTIES, SPAN("{\"n\":12345678901234567890123}"));
    row_set_i64(&row, ROW_PERSON_IS_IDENTIFIED, 1);
    row_set_i64(&row, ROW_PERSON_VERSION, -1);
    size = row_bytes(&row);
    assert_true(size < sizeof bytes);
    row_write(&row, bytes);
    assert_int_equal(row_read(span_of(bytes, size), &back, &err), 0);
    assert_int_equal(back.table, ROW_PERSON);
    assert_true(back.cells[ROW_PERSON_IS_DELETED].null);
    assert_true(back.cells[ROW_PERSON_VERSION].i64 == -1);
    buf_init(&text, 4096);
    row_write_json(&back, &text);
    buf_add_byte(&text, 0);
    assert_string_equal((char *)text.at, "{\"id\":\"a6e21b41-0000-0000-0000-000000000000\",\"created_at\":\"2024-03-01T10:00:00.123Z\","
                                         "\"team_id\":7,\"properties\":{\"n\":12345678901234567890123},\"is_identified\":true,"
                                         "\"version\":-1}");
    buf_fini(&text);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(row_read(span_of(bytes, cut), &back, &err), -1);
}

/* An older writer knew fewer columns, a newer one knows more. */
static void rows_of_other_ages_are_read(void **state)
{
    struct row row, back;
    struct err err;
    uint8_t    bytes[256] = { 1, ROW_PERSON, 2, 0 }; /* two cells: id, created_at */

    (void)state;
    memset(bytes + 12, 0xab, 16);
    bytes[28] = 5;
    assert_int_equal(row_read(span_of(bytes, 36), &back, &err), 0);
    assert_int_equal(back.cells[ROW_PERSON_ID].uuid.bytes[15], 0xab);
    assert_true(back.cells[ROW_PERSON_CREATED_AT].i64 == 5);
    assert_true(back.cells[ROW_PERSON_VERSION].null);

    row_init(&row, ROW_DISTINCT);
    row_set_i64(&row, ROW_DISTINCT_VERSION, 3);
    row_write(&row, bytes);
    bytes[2] = ROW_DISTINCT_COUNT + 1; /* a later column follows */
    assert_int_equal(row_read(span_of(bytes, row_bytes(&row) + 8), &back, &err), 0);
    assert_true(back.cells[ROW_DISTINCT_VERSION].i64 == 3);
}

/* Properties that stand packed in a row: text again, for whoever reads it. */
static void packed_cells_become_text(void **state)
{
    static const char text[] = "{\"$initial_browser\":\"Lynx\",\"my \\u00e9\":[1, 2],\"$browser\":\"Lynx\"}";
    static const char packed[] = "\1\x40\0\0\0\x0a\x45\"Lynx\"\xe6\"my \\u00e9\"\x45[1, 2]\x09";
    struct arena *arena = arena_new(4096, 1 << 20);
    struct row    row, back;
    struct buf    json;
    struct err    err = { 0 };
    uint8_t       bytes[256];
    size_t        size;

    (void)state;
    row_init(&row, ROW_PERSON);
    row_set_i64(&row, ROW_PERSON_TEAM_ID, 7);
    row_set_text(&row, ROW_PERSON_PROPERTIES, span_of(packed, sizeof packed));
    size = row_bytes(&row);
    row_write(&row, bytes);
    assert_int_equal(bytes[0], 3);
    assert_int_equal(row_read(span_of(bytes, size), &back, &err), 0);
    buf_init(&json, 4096);
    row_write_json(&back, &json);
    buf_add_byte(&json, 0);
    assert_string_equal((char *)json.at, "{\"team_id\":7,\"properties\":{\"$initial_browser\":\"Lynx\",\"my \\u00e9\":[1, 2],"
                                         "\"$browser\":\"Lynx\"}}");
    assert_int_equal(row_unpack(&back, arena, &err), 0);
    assert_true(span_is(back.cells[ROW_PERSON_PROPERTIES].text, text));
    bytes[size - 1] ^= 1; /* the pair of another key */
    assert_int_equal(row_read(span_of(bytes, size), &back, &err), 0);
    assert_int_equal(row_unpack(&back, arena, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    buf_reset(&json);
    row_write_json(&back, &json);
    buf_add_byte(&json, 0);
    assert_string_equal((char *)json.at, "{\"team_id\":7,\"properties\":null}");
    bytes[0] = 4;
    assert_int_equal(row_read(span_of(bytes, size), &back, &err), -1);
    assert_string_equal(err.text, "row of version 4, of a newer Penstock; this one reads up to version 3: start the newer one");
    assert_int_equal(err.kind, ERR_RETRY);
    bytes[0] = 'x';
    assert_int_equal(row_read(span_of(bytes, size), &back, &err), -1);
    assert_string_equal(err.text, "row of version 120; this Penstock reads version 3");
    assert_int_equal(err.kind, ERR_CORRUPT);
    bytes[size - 1] ^= 1;
    for (bytes[0] = 1; bytes[0] < 3; bytes[0]++) /* what an earlier one wrote: text, then persons and groups packed */
        assert_int_equal(row_read(span_of(bytes, size), &back, &err), 0);
    buf_fini(&json);
    arena_free(arena);
}

/* An event as each version wrote it: text alone, a packed person, properties that name places in themselves. The same row to whoever reads it. */
static void events_of_every_version_are_one(void **state)
{
#define EVENT_HEAD(version) version "\0\x0b\0\xfb\x03\0\0\0\0\0\0" /* eleven cells, of which there are properties and the person's */
#define EVENT_TEXT "{\"$os\":\"BeOS\",\"$set\":{\"$os\":\"BeOS\"},\"$set_once\":{\"$initial_os\":\"BeOS\"}}"
#define EVENT_PERSON "{\"$os\":\"BeOS\",\"$initial_os\":\"BeOS\"}"
    static const struct span rows[] = {
        SPAN(EVENT_HEAD("\1") "\x47\0\0\0" EVENT_TEXT "\x23\0\0\0" EVENT_PERSON),
        SPAN(EVENT_HEAD("\2") "\x47\0\0\0" EVENT_TEXT "\x0f\0\0\0" "\1\x23\0\0\0\x13\x45\"BeOS\"\x14\0"),
        SPAN(EVENT_HEAD("\3") "\x41\0\0\0" "\2\x47\0\0\0\x27\0\0\0" "{\"$os\":\"BeOS\",\"$set\":{},\"$set_once\":{}}"
             "\1\x13\6\7\0" "\x16\1\0\0\1\0" "\x0f\1\0\0\1\1" "\x0f\0\0\0" "\1\x23\0\0\0\x13\x45\"BeOS\"\x14\0"),
    };
    struct arena *arena = arena_new(4096, 1 << 20);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct row row;
        struct buf json;
        struct err err = { 0 };

        assert_int_equal(row_read(rows[i], &row, &err), 0);
        buf_init(&json, 4096);
        row_write_json(&row, &json);
        assert_true(span_is(buf_span(&json), "{\"properties\":" EVENT_TEXT ",\"person_properties\":" EVENT_PERSON "}"));
        assert_int_equal(row_unpack(&row, arena, &err), 0);
        assert_true(span_is(row.cells[ROW_EVENT_PROPERTIES].text, EVENT_TEXT));
        assert_true(span_is(row.cells[ROW_EVENT_PERSON_PROPERTIES].text, EVENT_PERSON));
        buf_fini(&json);
    }
    arena_free(arena);
}

/* Where something was accepted is one number, and a moved record carries it. */
static void places_are_kept(void **state)
{
    static const uint8_t form[] = { 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0x10, 'a', 'b' };
    struct record_moved moved = { .place = place_make(INPUT_HISTORICAL, 5), .body = SPAN("ab") }, back;
    uint8_t             bytes[sizeof form];
    struct err          err;

    (void)state;
    assert_true(place_make(INPUT_RAW, 17) == 17); /* rows of before there were more topics */
    assert_true(place_input(17) == INPUT_RAW && place_offset(17) == 17);
    assert_true(moved.place == UINT64_C(0x1000000000000005) && place_input(moved.place) == INPUT_HISTORICAL);
    assert_true(place_offset(place_make(INPUT_CONTROL, (UINT64_C(1) << 60) - 1)) == (UINT64_C(1) << 60) - 1);
    assert_string_equal(input_topic(INPUT_OVERFLOW), "raw_overflow");
    record_moved_write(&moved, bytes);
    assert_memory_equal(bytes, form, sizeof form);
    assert_int_equal(record_moved_read(span_of(bytes, sizeof bytes), &back, &err), 0);
    assert_true(back.place == moved.place && span_equal(back.body, SPAN("ab")));
    assert_int_equal(record_moved_read(span_of(bytes, 15), &back, &err), -1);
    bytes[0] = 2;
    assert_int_equal(record_moved_read(span_of(bytes, sizeof bytes), &back, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(records_refuse_other_bytes),
        cmocka_unit_test(places_are_kept),
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(packed_cells_become_text), cmocka_unit_test(events_of_every_version_are_one), cmocka_unit_test(rows_of_other_ages_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
