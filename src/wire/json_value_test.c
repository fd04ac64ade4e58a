/* wire/json_value_test.c - what values mean, and that what is written reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/json.h"

static struct json_value value_of(struct span text)
{
    struct json_reader reader;
    struct json_value  value;

    json_reader_init(&reader, text, 0);
    assert_int_equal(json_skip(&reader, &value), 0);
    assert_int_equal(json_finish(&reader), 0);
    return value;
}

#define TEXT(literal) literal, sizeof(literal) - 1

static void texts(void **state)
{
    static const struct {
        const char *json, *text;
        size_t      bytes;
    } rows[] = {
        { "\"\"", TEXT("") },
        { "\"plain \xc3\xa9\"", TEXT("plain \xc3\xa9") },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", TEXT("\"\\/\b\f\n\r\t") },
        { "\"\\u0041\\u00e9\\u20AC\\uFFFF\"", TEXT("A\xc3\xa9\xe2\x82\xac\xef\xbf\xbf") },
        { "\"\\ud83d\\ude39\"", TEXT("\xf0\x9f\x98\xb9") },
        { "\"\\ud800\\udc00\\udbff\\udfff\"", TEXT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf") },
        { "\"a\\u0000b\"", TEXT("a\0b") },
        { "\"x\\\\u0041\"", TEXT("x\\u0041") },
        { "\"one \\n two \\u0074\\u0068ree\"", TEXT("one \n two three") },
    };
    struct arena *arena = arena_new(256, 4096), *small = arena_new(256, 16);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_value value = value_of(span_text(rows[i].json));
        struct span       text = json_text(&value, arena);

        assert_true(span_equal(text, span_of(rows[i].text, rows[i].bytes)));
        if (strlen(rows[i].text) == rows[i].bytes) {
            char longer[64];

            assert_true(json_text_is(&value, rows[i].text));
            snprintf(longer, sizeof longer, "%sx", rows[i].text);
            assert_false(json_text_is(&value, longer));
            if (rows[i].bytes > 0) {
                longer[rows[i].bytes - 1] = '\0'; /* one byte shorter */
                assert_false(json_text_is(&value, longer));
            }
        } else
            assert_false(json_text_is(&value, rows[i].text));
    }
    struct json_value escaped = value_of(SPAN("\"an escape \\n and more than sixteen bytes\""));

    assert_null(json_text(&escaped, small).at);
    arena_free(arena);
    arena_free(small);
}

static void integers(void **state)
{
    static const struct {
        const char *json;
        bool        fits;
        int64_t     value;
    } rows[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "42", true, 42 },
        { "-1", true, -1 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "18446744073709551616", false, 0 },
        { "100000000000000000000000000000", false, 0 },
        { "1.0", false, 0 },
        { "1e3", false, 0 },
        { "\"1\"", false, 0 },
        { "null", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_value value = value_of(span_text(rows[i].json));
        int64_t           out = 7;

        assert_int_equal(json_int64(&value, &out), rows[i].fits);
        assert_true(out == (rows[i].fits ? rows[i].value : 7));
    }
}

static double double_of(const char *json)
{
    struct json_value value = value_of(span_text(json));

    return json_double(&value);
}

/* strtod on the same text is the other implementation. */
static void doubles(void **state)
{
    static const char *const rows[] = {
        "0", "-0", "0.0", "-0.0e5", "1", "-1.5", "0.1", "123456789012345", "1e22", "1e23", "123456789012345e22",
        "5e-324", "2e-324",
        "2.4703282292062327e-324", "2.4703282292062328e-324", "2.2250738585072011e-308", "2.2250738585072014e-308",
        "1.7976931348623157e308", "1.7976931348623159e308", "1e400", "-1e400", "1e-400", "9007199254740993",
        "9007199254740992.5",
        "0.00000000000000000000000000000000000000000000000001e50",
        "100000000000000000000000000000000000000000000000000e-50",
        "1e99999999999999999999", "-1e-99999999999999999999", "0e99999999999999999999", "1770279267.738", "284.9",
        "6.02214076E+23", "8.5e-05",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double want = strtod(rows[i], NULL), got = double_of(rows[i]);

        if (want != got || signbit(want) != signbit(got))
            fail_msg("%s: %.17g, not %.17g", rows[i], got, want);
    }
    assert_true(double_of("1e400") == HUGE_VAL);
}

/* 1 + 2^-53 lies half-way between 1 and the next double and rounds to 1; any digit more, however far
 * out, rounds up. The same with zeros in front, and with digits before the point. */
static void doubles_with_many_digits(void **state)
{
    static const char half[] = "1.00000000000000011102230246251565404236316680908203125";
    char              text[5000];

    (void)state;
    for (size_t zeros = 0; zeros < 4000; zeros += 97) {
        snprintf(text, sizeof text, "%s%0*d", half, (int)zeros + 1, 0);
        assert_true(double_of(text) == 1.0);
        snprintf(text, sizeof text, "%s%0*d", half, (int)zeros + 1, 1);
        assert_true(double_of(text) == 1.0 + DBL_EPSILON);
        snprintf(text, sizeof text, "1%0*d%se-%zu",
            (int)zeros + 1, 0, "00000000000000011102230246251565404236316680908203125", zeros + 54);
        assert_true(double_of(text) == strtod(text, NULL));
        snprintf(text, sizeof text, "0.%0*de%zu", (int)zeros + 1, 7, zeros + 1);
        assert_true(double_of(text) == 7.0);
        snprintf(text, sizeof text, "7%0*de-%zu", (int)zeros + 1, 0, zeros + 1);
        assert_true(double_of(text) == 7.0);
    }
}

static void written_doubles(void **state)
{
    static const struct {
        double      value;
        const char *text;
    } rows[] = {
        { 0, "0" },
        { -0.0, "-0" },
        { 1, "1" },
        { -17, "-17" },
        { 0.1, "0.1" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { 284.9, "284.9" },
        { 1770279267.738, "1770279267.738" },
        { 1e21, "1e+21" },
        { 1e-7, "1e-07" },
        { 123456789012345678.0, "1.2345678901234568e+17" },
        { 5e-324, "5e-324" },
        { 1.5e-323, "1.5e-323" },
        { 2.2250738585072014e-308, "2.2250738585072014e-308" },
        { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 9007199254740993.0, "9007199254740992" },
        /* powers of two whose 16 digits are not the nearest 16 */
        { 0x1p-44, "5.684341886080802e-14" },
        { 0x1p-24, "5.960464477539063e-08" },
        { -0x1p89, "-6.189700196426902e+26" },
        { 0x1p-791, "7.678447687145631e-239" },
        { 0x1p976, "6.386688990511104e+293" },
        { (double)INFINITY, "null" },
        { -(double)INFINITY, "null" },
        { (double)NAN, "null" },
    };
    struct buf buf;
    uint64_t   bits = 1;

    (void)state;
    buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_reset(&buf);
        json_write_double(&buf, rows[i].value);
        if (!span_is(buf_span(&buf), rows[i].text))
            fail_msg("%s: %.*s", rows[i].text, SPAN_ARG(buf_span(&buf)));
    }
    for (int i = 0; i < 100000; i++) { /* any bits at all */
        double value;

        bits = bits * 6364136223846793005u + 1442695040888963407u;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        buf_reset(&buf);
        json_write_double(&buf, value);
        struct json_value read = value_of(buf_span(&buf));

        assert_true(json_double(&read) == value);
    }
    buf_fini(&buf);
}

/* As a string in JSON, with its quotes. */
static size_t escaped_bytes(const uint8_t *text, size_t bytes)
{
    size_t sum = 2;

    for (size_t i = 0; i < bytes; i++)
        sum += text[i] == '"' || text[i] == '\\' || text[i] == '\n' ? 2 : text[i] < 0x20 ? 6 : 1;
    return sum;
}

static void written_strings(void **state)
{
    static uint8_t mixed[40000];
    static const struct {
        const char *text;
        size_t      bytes;
        const char *json;
    } rows[] = {
        { TEXT(""), "\"\"" },
        { TEXT("plain, and long enough for the words"), "\"plain, and long enough for the words\"" },
        { TEXT("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"" },
        { TEXT("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"" },
        { TEXT("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\"" },
        { TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\xb9"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\xb9\"" },
    };
    struct buf    buf;
    struct arena *arena = arena_new(4096, 1 << 20);
    uint8_t       text[60];

    (void)state;
    buf_init(&buf, 1000000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_reset(&buf);
        json_write_string(&buf, span_of(rows[i].text, rows[i].bytes));
        assert_true(span_is(buf_span(&buf), rows[i].json));
    }
    for (size_t bytes = 1; bytes < sizeof text; bytes++) /* each ASCII byte at each place */
        for (unsigned byte = 0; byte < 0x80; byte++) {
            memset(text, 'x', bytes);
            text[(byte * 7) % bytes] = (uint8_t)byte;
            buf_reset(&buf);
            json_write_string(&buf, span_of(text, bytes));
            struct json_value value = value_of(buf_span(&buf));

            assert_true(span_equal(json_text(&value, arena), span_of(text, bytes)));
            arena_reset(arena);
        }
    for (unsigned seed = 1; seed <= 3000; seed++) { /* with many escapes, of two and of six bytes; some longer than what is written at once */
        size_t   bytes = seed % 500 == 0 ? sizeof mixed : seed % 97;
        unsigned of = seed % 4 * 20, number = seed;

        for (size_t i = 0; i < bytes; i++) {
            number = number * 1664525u + 1013904223u;
            mixed[i] = number >> 24 < of ? (uint8_t)"\"\\\x01\n\"\\"[(number >> 16) % 6] : (uint8_t)('a' + (number >> 16) % 26);
        }
        buf_reset(&buf);
        json_write_string(&buf, span_of(mixed, bytes));
        assert_int_equal(escaped_bytes(mixed, bytes), buf_span(&buf).bytes);
        struct json_value value = value_of(buf_span(&buf));

        assert_true(span_equal(json_text(&value, arena), span_of(mixed, bytes)));
        arena_reset(arena);
    }
    buf_fini(&buf);
    arena_free(arena);
}

static void compacted(void **state)
{
    static const struct {
        const char *raw, *want;
    } rows[] = {
        { "{}", "{}" },
        { " 1 ", "1" },
        { "{ \"a\" : [ 1 , 2.50 , true ] ,\r\n\t\"b c\" : \" d  e \" }", "{\"a\":[1,2.50,true],\"b c\":\" d  e \"}" },
        { "[ \"\\\" , \" , \"\\\\\" , \" \\\\\\\" x\" ]", "[\"\\\" , \",\"\\\\\",\" \\\\\\\" x\"]" },
        { "[\n  \"a string that is longer than sixteen bytes, with  blanks\",\n  12345678901234567890\n]",
          "[\"a string that is longer than sixteen bytes, with  blanks\",12345678901234567890]" },
    };
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_reset(&buf);
        json_write_compact(&buf, span_text(rows[i].raw));
        if (!span_is(buf_span(&buf), rows[i].want))
            fail_msg("%s: %.*s", rows[i].raw, SPAN_ARG(buf_span(&buf)));
    }
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),           cmocka_unit_test(integers),
        cmocka_unit_test(doubles),         cmocka_unit_test(doubles_with_many_digits),
        cmocka_unit_test(written_doubles), cmocka_unit_test(written_strings),
        cmocka_unit_test(compacted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
