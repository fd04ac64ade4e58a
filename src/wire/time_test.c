/* wire/time_test.c - what is a time, which instant it is, and how instants are written. Instants are given
 * as the RFC 3339 text of the same moment; those texts are tied to numbers by the first table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/time.h"

/* Seconds by `date -u -d TEXT +%s` and Python's datetime. */
static const struct { int64_t s; const char *text; int year; } numbers[] = {
    { 0, "1970-01-01T00:00:00Z", 1970 },
    { -1, "1969-12-31T23:59:59Z", 1969 },
    { 1770091506, "2026-02-03T04:05:06Z", 2026 },
    { 951782400, "2000-02-29T00:00:00Z", 2000 },
    { 951868800, "2000-03-01T00:00:00Z", 2000 },
    { -2203891200, "1900-03-01T00:00:00Z", 1900 },
    { 4107542400, "2100-03-01T00:00:00Z", 2100 },
    { -62135596800, "0001-01-01T00:00:00Z", 1 },
    { -62167219200, "0000-01-01T00:00:00Z", 0 },
    { -62162121600, "0000-02-29T00:00:00Z", 0 },
    { 253402300799, "9999-12-31T23:59:59Z", 9999 },
    { 253402300800, "+10000-01-01T00:00:00Z", 10000 },
    { -62167219201, "-0001-12-31T23:59:59Z", -1 },
};

static struct span written(struct buf *buf, int64_t us)
{
    buf_reset(buf);
    time_write_rfc3339(buf, us);
    return buf_span(buf);
}

static void numbers_are_instants(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int64_t us;

        if (!span_is(written(&buf, numbers[i].s * TIME_US_S), numbers[i].text))
            fail_msg("%s: %.*s", numbers[i].text, SPAN_ARG(buf_span(&buf)));
        assert_int_equal(time_year(numbers[i].s * TIME_US_S), numbers[i].year);
        assert_int_equal(time_has_four_digits(numbers[i].s * TIME_US_S), numbers[i].year >= 0 && numbers[i].year <= 9999);
        if (numbers[i].year < 0 || numbers[i].year > 9999)
            continue;
        assert_true(time_parse_rfc3339(span_text(numbers[i].text), &us, NULL));
        assert_int_equal(us, numbers[i].s * TIME_US_S);
    }
    /* Day by day through 800 years, against counting. */
    int64_t us, day = -(int64_t)400 * 366;
    for (int year = 0, month = 0, of_month = 0; day < 400 * 366; day++) {
        int y, m, d;

        assert_true(written(&buf, day * TIME_US_DAY).bytes == 20);
        assert_int_equal(sscanf((const char *)buf.at, "%4d-%2d-%2d", &y, &m, &d), 3);
        if (year != 0) {
            bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            int  before = m == 1 ? 31 : m == 3 ? 28 + leap : m == 5 || m == 7 || m == 10 || m == 12 ? 30 : 31;

            if (d == 1)
                assert_true(of_month == before && (m == month + 1 ? y == year : m == 1 && month == 12 && y == year + 1));
            else
                assert_true(d == of_month + 1 && m == month && y == year);
        }
        year = y, month = m, of_month = d;
        assert_true(time_parse_rfc3339(buf_span(&buf), &us, NULL));
        assert_int_equal(us, day * TIME_US_DAY);
    }
    buf_fini(&buf);
}

static const struct { const char *text, *instant; int zone_min; } rfc3339[] = {
    { "2026-02-03T04:05:06.123456Z", "2026-02-03T04:05:06.123456Z", 0 },
    { "2026-02-03T05:05:06+01:00", "2026-02-03T04:05:06Z", 60 },
    { "2026-02-02T22:35:06.5-05:30", "2026-02-03T04:05:06.500Z", -330 },
    { "2026-02-03t04:05:06z", "2026-02-03T04:05:06Z", 0 },
    { "2026-02-03 04:05:06Z", "2026-02-03T04:05:06Z", 0 },
    { "2026-02-03T04:05:06-00:00", "2026-02-03T04:05:06Z", 0 },
    { "2026-02-03T04:05:06.1Z", "2026-02-03T04:05:06.100Z", 0 },
    { "2026-02-03T04:05:06.123456789Z", "2026-02-03T04:05:06.123456Z", 0 },
    { "2026-02-03T04:05:06.9999999999999Z", "2026-02-03T04:05:06.999999Z", 0 },
    { "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z", 0 },
    { "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", 0 },
    { "2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500Z", 0 },
    { "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", 0 },
    { "0000-01-01T00:00:00+23:59", "-0001-12-31T00:01:00Z", 1439 },
    { "9999-12-31T23:59:59.999999-23:59", "+10000-01-01T23:58:59.999999Z", -1439 },
    { "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", 0 },
    { "1999-12-31T23:59:59.999999Z", "1999-12-31T23:59:59.999999Z", 0 },
    { "2026-02-03T04:05:06", NULL, 0 },
    { "2026-02-03T04:05:06+01", NULL, 0 },
    { "2026-02-03T04:05:06+0100", NULL, 0 },
    { "2026-02-03T04:05:06+24:00", NULL, 0 },
    { "2026-02-03T04:05:06+01:60", NULL, 0 },
    { "2026-02-03T04:05:06.Z", NULL, 0 },
    { "2026-02-03T04:05:06,5Z", NULL, 0 },
    { "2026-02-03T04:05Z", NULL, 0 },
    { "2026-02-03T24:00:00Z", NULL, 0 },
    { "2026-02-03T04:60:00Z", NULL, 0 },
    { "2026-02-03T04:05:61Z", NULL, 0 },
    { "2026-02-29T00:00:00Z", NULL, 0 },
    { "1900-02-29T00:00:00Z", NULL, 0 },
    { "2026-04-31T00:00:00Z", NULL, 0 },
    { "2026-00-01T00:00:00Z", NULL, 0 },
    { "2026-13-01T00:00:00Z", NULL, 0 },
    { "2026-01-00T00:00:00Z", NULL, 0 },
    { "2026-2-3T04:05:06Z", NULL, 0 },
    { "26-02-03T04:05:06Z", NULL, 0 },
    { "+2026-02-03T04:05:06Z", NULL, 0 },
    { "12026-02-03T04:05:06Z", NULL, 0 },
    { "2026-02-03  04:05:06Z", NULL, 0 },
    { "2026-02-03T04:05:06 Z", NULL, 0 },
    { "2026-02-03T04:05:06Z ", NULL, 0 },
    { " 2026-02-03T04:05:06Z", NULL, 0 },
    { "2026-02-03T04:05:06Zx", NULL, 0 },
    { "2026-02-03", NULL, 0 },
    { "", NULL, 0 },
};

static void rfc3339_is_read(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof rfc3339 / sizeof *rfc3339; i++) {
        int64_t us, lenient;
        int     zone = 7;
        bool    right = time_parse_rfc3339(span_text(rfc3339[i].text), &us, &zone);

        if (right != (rfc3339[i].instant != NULL) || (right && !span_is(written(&buf, us), rfc3339[i].instant)))
            fail_msg("%s", rfc3339[i].text);
        assert_int_equal(zone, right ? rfc3339[i].zone_min : 7);
        assert_true(!right || (time_parse_iso8601(span_text(rfc3339[i].text), &lenient, NULL) && lenient == us));
        assert_true(!right || (time_parse_lenient(span_text(rfc3339[i].text), &lenient) && lenient == us));
    }
    buf_fini(&buf);
}

static const struct { const char *text, *instant; int zone_min; } iso8601[] = {
    { "2026-02-03T05:05:06+01", "2026-02-03T04:05:06Z", 60 },
    { "2026-02-02T22:35:06.5-0530", "2026-02-03T04:05:06.500Z", -330 },
    { "2026-02-03T04:05:06", NULL, 0 },
    { "2026-02-03T04:05:06+1", NULL, 0 },
    { "2026-02-03T04:05:06+010", NULL, 0 },
    { "2026-02-03T04:05:06+24", NULL, 0 },
    { "1770091506", NULL, 0 },
};

static void iso8601_is_read(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof iso8601 / sizeof *iso8601; i++) {
        int64_t us;
        int     zone = 7;
        bool    right = time_parse_iso8601(span_text(iso8601[i].text), &us, &zone);

        if (right != (iso8601[i].instant != NULL) || (right && !span_is(written(&buf, us), iso8601[i].instant)))
            fail_msg("%s", iso8601[i].text);
        assert_int_equal(zone, right ? iso8601[i].zone_min : 7);
    }
    buf_fini(&buf);
}

/* The usual form has a reader of its own; behind a space the others read it. */
static void usual_form_is_no_other(void **state)
{
    static const char *const texts[] = { "2026-02-03T04:05:06.789Z", "2024-02-29T23:59:60.000Z", "0000-12-31T00:00:00.999Z" };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t at = 0; at < 24; at++)
            for (int byte = 0; byte < 256; byte++) {
                char    text[25] = " ";
                int64_t us = 0, others_us = 0;
                bool    right, others_right;

                memcpy(text + 1, texts[i], 24);
                text[1 + at] = (char)byte;
                right = time_parse_lenient(span_of((const uint8_t *)text + 1, 24), &us);
                others_right = time_parse_lenient(span_of((const uint8_t *)text, 25), &others_us);
                if (right != others_right || us != others_us)
                    fail_msg("%.24s: byte %zu is %d", texts[i], at, byte);
            }
    assert_int_equal(time_year(TIME_YEAR_M9999), -9999);
    assert_int_equal(time_year(TIME_YEAR_M9999 - 1), -10000);
    assert_int_equal(time_year(TIME_YEAR_100000), 100000);
    assert_int_equal(time_year(TIME_YEAR_100000 - 1), 99999);
}

static const struct { const char *text, *instant; } lenient[] = {
    { "2026-02-03T05:00:00+01", "2026-02-03T04:00:00Z" },
    { "2026-02-03T05:05:06.5+01", "2026-02-03T04:05:06.500Z" },
    { "2026-02-03T05:00:00.250+02:00", "2026-02-03T03:00:00.250Z" },
    { "2026-02-03T05:00:00-0130", "2026-02-03T06:30:00Z" },
    { "2026-02-03T03:00:00", "2026-02-03T03:00:00Z" },
    { "2026-02-03T03:00:00.123", "2026-02-03T03:00:00.123Z" },
    { "1770091506", "2026-02-03T04:05:06Z" },
    { "1770087600000", "2026-02-03T03:00:00Z" },
    { "1770091506123456789", "2026-02-03T04:05:06.123456Z" },
    { "9999999999", "2286-11-20T17:46:39Z" },
    { "9999999999999999999", "2286-11-20T17:46:39.999999Z" },
    { "0000000000", "1970-01-01T00:00:00Z" },
    { "Tue, 03 Feb 2026 04:05:06 GMT", "2026-02-03T04:05:06Z" },
    { "3 Feb 2026 04:05:06 +0000", "2026-02-03T04:05:06Z" },
    { "Tue, 3 Feb 2026 04:05 -0800", "2026-02-03T12:05:00Z" },
    { "Tue, 03 Feb 2026 04:05:06 EST", "2026-02-03T09:05:06Z" },
    { "Tue, 03 Feb 2026 04:05:06 PDT", "2026-02-03T11:05:06Z" },
    { "2026-02-03 04:05:06", "2026-02-03T04:05:06Z" },
    { "2026-02-03 04:05", "2026-02-03T04:05:00Z" },
    { "2026-02-03 04:05:06.789012345", "2026-02-03T04:05:06.789012Z" },
    { "2026-02-03 04:05:06 UTC", "2026-02-03T04:05:06Z" },
    { "2026-02-03 04:05:06+00", "2026-02-03T04:05:06Z" },
    { "2026-02-03 04:05:06 -08", "2026-02-03T12:05:06Z" },
    { "2026-02-03 04:05:06 +0530", "2026-02-02T22:35:06Z" },
    { "2026-02-03 04:05:06 +05:30", "2026-02-02T22:35:06Z" },
    { "2026-02-03 04:05:06 PM", "2026-02-03T16:05:06Z" },
    { "2026-02-03", "2026-02-03T00:00:00Z" },
    { "02/03/2026", "2026-02-03T00:00:00Z" },
    { "2/3/2026 4:05", "2026-02-03T04:05:00Z" },
    { "02/03/2026 12:00:01 AM", "2026-02-03T00:00:01Z" },
    { "02/03/2026 12:00pm", "2026-02-03T12:00:00Z" },
    { "2026/02/03", "2026-02-03T00:00:00Z" },
    { "2026/2/3 04:05:06", "2026-02-03T04:05:06Z" },
    { "Feb 3, 2026", "2026-02-03T00:00:00Z" },
    { "February 3 2026 04:05:06 UTC", "2026-02-03T04:05:06Z" },
    { "3 February 2026", "2026-02-03T00:00:00Z" },
    { "3-Feb-2026", "2026-02-03T00:00:00Z" },
    { "feb. 3, 2026, 04:05:06", "2026-02-03T04:05:06Z" },
    { "12 Feb 2006, 19:17", "2006-02-12T19:17:00Z" },
    { "sept 3 2026", NULL },
    { " 2026-02-03T04:05:06Z ", "2026-02-03T04:05:06Z" },
    { "soon", NULL },
    { "", NULL },
    { " ", NULL },
    { "0", NULL },
    { "177009150", NULL },
    { "17700915061", NULL },
    { "-1770091506", NULL },
    { "1770091506.5", NULL },
    { "17700915O6", NULL },
    { "6:15pm", NULL },
    { "2026", NULL },
    { "2026-02", NULL },
    { "2026-02-30", NULL },
    { "02/30/2026", NULL },
    { "13/01/2026", NULL },
    { "02/03/26", NULL },
    { "2026-02-03T", NULL },
    { "2026-02-03 ", "2026-02-03T00:00:00Z" },
    { "2026-02-03 x", NULL },
    { "2026-02-03 4", NULL },
    { "2026-02-03 04:05:06 XYZ", NULL },
    { "2026-02-03 04:05:06 utcx", NULL },
    { "2026-02-03 04:05:06 UTC UTC", NULL },
    { "2026-02-03 04:05:06+99:00", NULL },
    { "2026-02-03 13:00 pm", NULL },
    { "2026-02-03 0:00 am", NULL },
    { "2026-02-03 25:00", NULL },
    { "Febr 3, 2026", NULL },
    { "Feb 3", NULL },
    { "Feb 30, 2026", NULL },
    { "Tuesday", NULL },
    { "null", NULL },
    { "2026-02-03\0", "2026-02-03T00:00:00Z" },
};

static void lenient_forms_are_read(void **state)
{
    struct buf buf;
    int64_t    us;

    (void)state;
    buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof lenient / sizeof *lenient; i++) {
        /* of its own, so that the sanitizer sees its end */
        size_t bytes = strlen(lenient[i].text);
        char  *text = malloc(bytes + 1);
        bool   right;

        memcpy(text, lenient[i].text, bytes);
        text = realloc(text, bytes == 0 ? 1 : bytes);
        right = time_parse_lenient(span_of(text, bytes), &us);
        free(text);
        if (right != (lenient[i].instant != NULL) || (right && !span_is(written(&buf, us), lenient[i].instant)))
            fail_msg("\"%s\": %.*s", lenient[i].text, right ? (int)buf.bytes : 2, right ? (char *)buf.at : "no");
    }
    assert_false(time_parse_lenient(SPAN("2026-02-03\0"), &us));
    buf_fini(&buf);
}

static void instants_are_written(void **state)
{
    static const struct { int64_t us; int zone_min, digits; const char *zoned, *sql; } rows[] = {
        { 1770091506000000, 0, 0, "2026-02-03T04:05:06Z", "2026-02-03 04:05:06" },
        { 1770091506000000, 330, 3, "2026-02-03T09:35:06+05:30", "2026-02-03 04:05:06.000" },
        { 1770091506120000, -480, 3, "2026-02-02T20:05:06.12-08:00", "2026-02-03 04:05:06.120" },
        { 1770091506123456, -1, 6, "2026-02-03T04:04:06.123456-00:01", "2026-02-03 04:05:06.123456" },
        { 1770091506123456, 0, 3, "2026-02-03T04:05:06.123456Z", "2026-02-03 04:05:06.123" },
        { -1, 60, 6, "1970-01-01T00:59:59.999999+01:00", "1969-12-31 23:59:59.999999" },
        { 500000, 1440, 0, "1970-01-01T00:00:00.5Z", "1970-01-01 00:00:00" },
        /* the ends of what an int64 holds; days and times by Python's integers */
        { INT64_MAX, 60, 6, "+294247-01-10T04:00:54.775807Z", "+294247-01-10 04:00:54.775807" },
        { INT64_MIN, -60, 6, "-290308-12-21T19:59:05.224192Z", "-290308-12-21 19:59:05.224192" },
    };
    struct buf buf;
    char       http[30];

    (void)state;
    buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&buf);
        time_write_rfc3339_zone(&buf, rows[i].us, rows[i].zone_min);
        if (!span_is(buf_span(&buf), rows[i].zoned))
            fail_msg("%s: %.*s", rows[i].zoned, SPAN_ARG(buf_span(&buf)));
        buf_reset(&buf);
        time_write_sql(&buf, rows[i].us, rows[i].digits);
        if (!span_is(buf_span(&buf), rows[i].sql))
            fail_msg("%s: %.*s", rows[i].sql, SPAN_ARG(buf_span(&buf)));
    }
    assert_true(span_is(written(&buf, 1770091506001000), "2026-02-03T04:05:06.001Z"));
    assert_true(span_is(written(&buf, 1770091506000001), "2026-02-03T04:05:06.000001Z"));
    buf_fini(&buf);

    time_write_http(http, 784111777000000); /* RFC 9110 §5.6.7 */
    assert_string_equal(http, "Sun, 06 Nov 1994 08:49:37 GMT");
    time_write_http(http, 1770091506999999);
    assert_string_equal(http, "Tue, 03 Feb 2026 04:05:06 GMT");
    time_write_http(http, -1);
    assert_string_equal(http, "Wed, 31 Dec 1969 23:59:59 GMT");
    time_write_http(http, INT64_MAX);
    assert_string_equal(http, "Fri, 31 Dec 9999 23:59:59 GMT");
    time_write_http(http, INT64_MIN);
    assert_string_equal(http, "Sat, 01 Jan 0000 00:00:00 GMT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_instants),
        cmocka_unit_test(rfc3339_is_read),
        cmocka_unit_test(iso8601_is_read),
        cmocka_unit_test(usual_form_is_no_other),
        cmocka_unit_test(lenient_forms_are_read),
        cmocka_unit_test(instants_are_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
