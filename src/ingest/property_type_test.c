/* ingest/property_type_test.c - the type that a property's name and value speak for; one fact a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ingest/property_type.h"

#define NOW_US INT64_C(1709287200000000) /* 2024-03-01T10:00:00Z */

static const struct { const char *name, *value, *type; } rows[] = {
    /* vector I01 */
    { "plan", "\"pro\"", "String" },
    { "n", "5", "Numeric" },
    { "n", "-0.5e3", "Numeric" },
    { "ok", "true", "Boolean" },
    { "ok", "false", "Boolean" },
    { "ok", "\"TRUE\"", "Boolean" },
    { "ok", "\" false\\n\"", "Boolean" },
    { "ok", "\"\\u00a0true\\u3000\"", "Boolean" },
    { "ok", "\"True\"", "String" },
    { "ok", "\"\"", "String" },
    /* vector I02 */
    { "d", "\"2024-03-01\"", "DateTime" },
    { "d", "\"2024/03/01 10:00:00\"", "DateTime" },
    { "d", "\"2024-13-39\"", "DateTime" }, /* the pattern alone */
    { "d", "\"2024-13-99\"", "String" },
    { "d", "\"01-03-2024\"", "DateTime" },
    { "d", "\"39/39/2024\"", "String" },
    { "d", "\"29/39/2024T29:69:69.5 or so\"", "DateTime" },
    { "d", "\"2024-03-01 10:00\"", "String" },
    { "d", "\"2024-03-01x\"", "String" },
    { "d", "\"2024-03-01T10:00:00\\nand\"", "String" },
    { "d", "\" 2024-03-01 \"", "DateTime" },
    { "d", "\"2024-03-01T10:00:00.123Z\"", "DateTime" },
    { "d", "\"2024-03-01t10:00:00+05:30\"", "DateTime" },
    { "d", "\"Tue, 3 Feb 2026 04:05:06 +0000\"", "DateTime" },
    { "d", "\"3 Feb 2026 04:05 GMT\"", "DateTime" },
    { "d", "\"3 Feb 2026\"", "String" },
    { "d", "\"31 Feb 2026 04:05 GMT\"", "String" },
    { "d", "\"May you live\"", "String" },
    { "d", "\"12345678901234567890\"", "String" },
    /* vector I03 */
    { "utm_source", "2024", "String" },
    { "UTM_x", "true", "String" },
    { "$initial_utm_source", "7", "String" },
    { "$feature/x", "false", "String" },
    { "$feature_flag_response", "true", "String" },
    { "$feature_flag_responses", "true", "Boolean" },
    { "$survey_response", "5", "String" },
    { "$survey_response_2", "5", "String" },
    { "utm_source", "null", "String" },
    { "created_at", "1709287200", "DateTime" },
    { "createdAt", "1709287200", "DateTime" },
    { "UpdatedAt", "1709287200000", "DateTime" },
    { "signup-at", "1709287200", "DateTime" },
    { "timestamp", "1693519200", "DateTime" },  /* half a year before now, to the second */
    { "timestamp", "1693519199", "Numeric" },
    { "timestamp", "1709287200.5", "Numeric" },
    { "timestamp", "-1709287200", "Numeric" },
    { "timestamp", "18446744073709551615", "DateTime" },
    { "timestamp", "18446744073709551616", "Numeric" },
    { "update_count", "1709287200", "DateTime" }, /* it says "date" */
    { "amount", "1709287200", "Numeric" },
    { "timestamp", "\"soon\"", "String" },
    /* vector I05 */
    { "l", "[1]", "" },
    { "o", "{}", "" },
    { "z", "null", "" },
};

static void test_rows(void **state)
{
    struct arena *arena = arena_new(1 << 16, 1 << 20);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_reader reader;
        struct json_value  value;
        struct span        name = span_text(rows[i].name), got;

        json_reader_init(&reader, span_text(rows[i].value), 0);
        assert_int_equal(json_skip(&reader, &value), 0);
        got = property_type_name(property_type_detect(name, &value, NOW_US, arena));
        if (!span_is(got, rows[i].type))
            fail_msg("%s: %s is %.*s, not %s", rows[i].name, rows[i].value, (int)got.bytes, (const char *)got.at, rows[i].type);
        assert_int_equal(property_type_told(name, &value), got.bytes > 0);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
