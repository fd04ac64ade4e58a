/* ingest/normalize_aside_test.c - what of an event is left out, and events that are set aside: dead letters. The facts that fit
 * into a row of a table are normalize_test.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/testing.h"

/* What stays on a question for a flag, whatever else there is. */
static void test_flag_names(void **state)
{
    static const char *const kept[] = {
        "$feature_flag", "$feature_flag_id", "$feature_flag_version", "$feature_flag_reason", "$feature_flag_request_id",
        "$feature_flag_evaluated_at", "$feature_flag_error", "$feature_flag_payload", "$feature_flag_definitions_loaded_at",
        "$feature_flag_bootstrapped_response", "$feature_flag_bootstrapped_payload", "$feature_flag_original_response",
        "$feature_flag_original_payload", "locally_evaluated", "$used_bootstrap_value", "$lib", "$lib_version", "$active_feature_flags",
        "$insert_id", "$sent_at", "$device_id", "$session_id", "$window_id", "$is_identified", "$host", "$screen_name", "$ip", "$user_id",
        "$anon_distinct_id", "$device", "$device_name", "$device_model", "$device_manufacturer", "$channel_type", "$event_type",
        "$session_duration", "$start_timestamp", "$entry_current_url", "$pageview_id", "$app_build", "$app_version", "$browser",
        "$raw_user_agent", "$os_version", "utm_source", "_kx", "sccid", "$geoip_city_name", "$geoip_accuracy_radius", "$geoip_time_zone",
    };
    static const char *const gone[] = { "$insert_i", "$insert_id_", "$pathnam", "$geoip_city_confidence", "$geoip_x", "$is_server", "token", "a" };
    struct fixture fixture;
    struct buf     data;
    struct span    body;
    struct row     row;
    char           path[256], value[256];

    (void)state;
    fixture_init(&fixture);
    buf_init(&data, 1 << 16);
    buf_add_text(&data, "{\"properties\":{\"$process_person_profile\":false");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        buf_add_format(&data, ",\"%s\":null", kept[i]);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        buf_add_format(&data, ",\"%s\":null", gone[i]);
    buf_add_text(&data, "}}");
    body = fixture_record(&fixture, (struct record){ .event = SPAN("$feature_flag_called"), .distinct_id = SPAN("n"), .data = buf_span(&data) },
                          fixture.arena);
    fixture_run(&fixture, &body, 1);
    assert_true(fixture_row(&fixture, ROW_EVENT, 0, &row));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        (void)snprintf(path, sizeof path, "properties/%s", kept[i]);
        fixture_value(&row, path, value, sizeof value);
        if (strcmp(value, "null") != 0)
            fail_msg("%s is gone", kept[i]);
    }
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        (void)snprintf(path, sizeof path, "properties/%s", gone[i]);
        fixture_value(&row, path, value, sizeof value);
        if (strcmp(value, "-") != 0)
            fail_msg("%s is still there", gone[i]);
    }
    buf_fini(&data);
    fixture_fini(&fixture);
}

/* A dead letter carries the client's bytes, where it stood and why. */
static void test_dead_letter(void **state)
{
    static const uint8_t garbage[] = { 1, 2, 0xff, 0xfe };
    struct fixture       fixture;
    struct span          bodies[3];
    struct row           row;
    char                 value[256];

    (void)state;
    fixture_init(&fixture);
    bodies[0] = fixture_record(&fixture,
                               (struct record){ .kind = RECORD_REJECTED, .rejection = RECORD_REJECTED_NO_DISTINCT_ID,
                                                .event = SPAN("view"), .data = SPAN("{ \"event\" : \"view\" }"),
                                                .request = 77, .index = 3 },
                               fixture.arena);
    bodies[2] = fixture_record(&fixture,
                               (struct record){ .kind = RECORD_REJECTED, .rejection = RECORD_REJECTED_TOO_LARGE,
                                                .data = SPAN("cut off \xc3") }, fixture.arena);
    bodies[1] = span_of(garbage, sizeof garbage);
    fixture_run(&fixture, bodies, 3);
    assert_int_equal(fixture.fates[FATE_DEAD_LETTERED], 3);
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 2, &row)); /* no text, and its reason stays its own */
    fixture_value(&row, "reason", value, sizeof value);
    assert_string_equal(value, "oversize_event");
    fixture_value(&row, "data", value, sizeof value);
    assert_string_equal(value, "Y3V0IG9mZiDD"); /* printf 'cut off \xc3' | base64 */
    fixture_value(&row, "encoding", value, sizeof value);
    assert_string_equal(value, "base64");
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 0, &row));
    const char *const first[][2] = {
        { "data", "{ \"event\" : \"view\" }" }, { "step", "capture" }, { "reason", "no_distinct_id" },
        { "detail", "event submitted without a distinct_id" }, { "request", "77" }, { "index", "3" }, { "team_id", "7" },
        { "raw_offset", "0" },
    };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        fixture_value(&row, first[i][0], value, sizeof value);
        assert_string_equal(value, first[i][1]);
    }
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 1, &row));
    fixture_value(&row, "data", value, sizeof value);
    assert_string_equal(value, "AQL//g=="); /* printf '\x01\x02\xff\xfe' | base64 */
    fixture_value(&row, "step", value, sizeof value);
    assert_string_equal(value, "read");
    fixture_value(&row, "reason", value, sizeof value);
    assert_string_equal(value, "unreadable_record");
    fixture_value(&row, "encoding", value, sizeof value);
    assert_string_equal(value, "base64");
    fixture_fini(&fixture);
}

/* What does not fit into memory is set aside and told. */
static void test_too_large(void **state)
{
    struct fixture fixture;
    struct span    body;
    struct row     row;
    char           value[512];

    (void)state;
    fixture_init(&fixture);
    body = fixture_record(&fixture, (struct record){ .event = SPAN("view"), .data = SPAN("{}"),
                                                    .uuid = { { 0xc0, [6] = 0x70, [8] = 0x80 } }, .distinct_id = SPAN("dd") }, fixture.arena);
    fixture.too_large = 1;
    fixture_run(&fixture, &body, 1);
    assert_int_equal(fixture.fates[FATE_DEAD_LETTERED], 1);
    assert_true(fixture_row(&fixture, ROW_DEAD_LETTER, 0, &row));
    fixture_value(&row, "reason", value, sizeof value);
    assert_string_equal(value, "too_large");
    assert_true(fixture_row(&fixture, ROW_WARNING, 0, &row));
    fixture_value(&row, "type", value, sizeof value);
    assert_string_equal(value, "message_size_too_large");
    fixture_value(&row, "details", value, sizeof value);
    assert_string_equal(value, "{\"step\":\"ingest\",\"eventUuid\":\"c0000000-0000-7000-8000-000000000000\",\"distinctId\":\"dd\","
                               "\"category\":\"size\",\"severity\":\"error\"}");
    fixture_fini(&fixture);
}

/* Rows that become messages for other services' tables: what those cannot hold is told, once, and of no other event. */
static void test_more_than_a_message_holds(void **state)
{
    struct fixture fixture;
    struct span    bodies[3];
    struct row     row;
    char           value[512], *large = malloc(4000);

    (void)state;
    (void)snprintf(large, 4000, "{\"properties\":{\"a\":\"%03000d\"}}", 0);
    for (int i = 0; i < 2; i++) {
        fixture_init(&fixture);
        bodies[0] = fixture_record(&fixture, (struct record){ .event = SPAN("large"), .data = span_text(large), .distinct_id = SPAN("dd"),
                                                             .uuid = { { 0xc0, [6] = 0x70, [8] = 0x80 } } }, fixture.arena);
        bodies[1] = fixture_record(&fixture, (struct record){ .event = SPAN("small"), .data = SPAN("{}"), .distinct_id = SPAN("dd") }, fixture.arena);
        bodies[2] = fixture_record(&fixture, (struct record){ .event = SPAN("year 0"), .data = SPAN("{}"), .distinct_id = SPAN("dd"),
                                                             .timestamp_us = INT64_C(-62154086400000000) }, fixture.arena);
        fixture.message_bytes_max = i == 0 ? 0 : 3000;
        fixture_run(&fixture, bodies, 3);
        assert_int_equal(fixture.fates[FATE_STORED], 3);
        assert_int_equal(fixture_count(&fixture, ROW_WARNING), i == 0 ? 0 : 2);
        if (i == 1) {
            assert_true(fixture_row(&fixture, ROW_WARNING, 0, &row));
            fixture_value(&row, "type", value, sizeof value);
            assert_string_equal(value, "message_size_too_large");
            fixture_value(&row, "details/eventUuid", value, sizeof value);
            assert_string_equal(value, "\"c0000000-0000-7000-8000-000000000000\"");
            fixture_value(&row, "details/step", value, sizeof value);
            assert_string_equal(value, "\"emit\"");
            assert_true(fixture_row(&fixture, ROW_WARNING, 1, &row));
            fixture_value(&row, "type", value, sizeof value);
            assert_string_equal(value, "ignored_invalid_timestamp");
            fixture_value(&row, "details/microseconds", value, sizeof value);
            assert_string_equal(value, "-62154086400000000");
        }
        fixture_fini(&fixture);
    }
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_flag_names), cmocka_unit_test(test_dead_letter),
                                        cmocka_unit_test(test_too_large), cmocka_unit_test(test_more_than_a_message_holds) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
