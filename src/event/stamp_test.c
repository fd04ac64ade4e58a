/* event/stamp_test.c - worked examples of an event's time, all at 2026-02-03T04:05:06Z. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "event/stamp.h"
#include "wire/time.h"

#define NOW "2026-02-03T04:05:06Z"
#define NO_OFFSET INT64_MIN

static const struct {
    const char *name, *client, *sent_at;
    int64_t     offset_ms;
    bool        ignore;
    const char *expected;
    enum record_timestamp_source source;
    const char *now; /* NULL: NOW */
} rows[] = {
    { "a", NULL, NULL, NO_OFFSET, false, NOW, RECORD_TIME_NOW_FALLBACK },
    { "b", "2026-02-03T03:00:00Z", NULL, NO_OFFSET, false, "2026-02-03T03:00:00Z", RECORD_TIME_RAW },
    { "c", "2026-02-03T03:00:00Z", "2026-02-03T04:05:16Z", NO_OFFSET, false, "2026-02-03T02:59:50Z", RECORD_TIME_SENT_AT_SKEW },
    { "d", "2026-02-03T03:00:00Z", "2026-02-03T04:04:56Z", NO_OFFSET, false, "2026-02-03T03:00:10Z", RECORD_TIME_SENT_AT_SKEW },
    { "e", "2026-02-03T03:00:00Z", "2026-02-03T04:05:16Z", NO_OFFSET, true, "2026-02-03T03:00:00Z", RECORD_TIME_RAW },
    { "f", "2026-02-03T03:00:00Z", "2026-02-03T04:05:16Z", 5000, false, "2026-02-03T04:05:01Z", RECORD_TIME_OFFSET },
    { "g", NULL, "2026-02-03T04:05:16Z", NO_OFFSET, false, NOW, RECORD_TIME_NOW_FALLBACK },
    { "h", "2026-02-04T03:05:06Z", NULL, NO_OFFSET, false, "2026-02-04T03:05:06Z", RECORD_TIME_RAW },
    { "i", "2026-02-04T03:05:06.001Z", NULL, NO_OFFSET, false, NOW, RECORD_TIME_RAW },
    { "j", "2031-01-01T00:00:00Z", "2031-01-01T00:00:05Z", NO_OFFSET, false, "2026-02-03T04:05:01Z", RECORD_TIME_SENT_AT_SKEW },
    { "k", "soon", "2026-02-03T04:05:16Z", NO_OFFSET, false, NOW, RECORD_TIME_NOW_FALLBACK },
    { "l", "2026-02-03T05:00:00+01", NULL, NO_OFFSET, false, "2026-02-03T04:00:00Z", RECORD_TIME_RAW },
    { "m", "2026-02-03T05:00:00.250+02:00", NULL, NO_OFFSET, false, "2026-02-03T03:00:00.250Z", RECORD_TIME_RAW },
    { "n", "2026-02-03T03:00:00", NULL, NO_OFFSET, false, "2026-02-03T03:00:00Z", RECORD_TIME_RAW },
    { "o", "1770087600000", NULL, NO_OFFSET, false, "2026-02-03T03:00:00Z", RECORD_TIME_RAW },
    { "p", "0001-01-01T00:00:00Z", NULL, NO_OFFSET, false, "0001-01-01T00:00:00Z", RECORD_TIME_RAW },
    { "q", NULL, NULL, -3600000, false, "2026-02-03T05:05:06Z", RECORD_TIME_OFFSET },
    { "r", NULL, NULL, -90000000, false, NOW, RECORD_TIME_OFFSET },
    { "s", "1999-12-31T23:59:59.999999Z", NULL, NO_OFFSET, false, "1999-12-31T23:59:59.999999Z", RECORD_TIME_RAW },
#define NOON "2024-03-01T12:00:00Z"
    { "vector C01", "2024-03-01T11:00:00Z", "2024-03-01T12:00:10Z", NO_OFFSET, false, "2024-03-01T10:59:50Z", RECORD_TIME_SENT_AT_SKEW, NOON },
    { "vector C03", "2024-03-01T11:00:00Z", NULL, NO_OFFSET, false, "2024-03-01T11:00:00Z", RECORD_TIME_RAW, NOON },
    { "vector C05", NULL, "2024-03-01T12:00:05Z", NO_OFFSET, false, NOON, RECORD_TIME_NOW_FALLBACK, NOON },
    { "vector C06", "nonsense", "2024-03-01T12:00:10Z", NO_OFFSET, false, NOON, RECORD_TIME_NOW_FALLBACK, NOON },
    { "vector C07", "2024-03-01T11:00:00Z", "2024-03-01T12:00:10Z", 5000, false, "2024-03-01T11:59:55Z", RECORD_TIME_OFFSET, NOON },
    { "vector C09", "2024-03-02T14:00:00Z", "2024-03-02T14:10:00Z", NO_OFFSET, false, "2024-03-01T11:50:00Z", RECORD_TIME_SENT_AT_SKEW, NOON },
    { "vector C10", "2024-03-02T11:00:00.000Z", NULL, NO_OFFSET, false, "2024-03-02T11:00:00Z", RECORD_TIME_RAW, NOON },
    { "vector C10", "2024-03-02T11:00:00.001Z", NULL, NO_OFFSET, false, NOON, RECORD_TIME_RAW, NOON },
    { "vector C11", "2024-03-01T11:00:00+02", NULL, NO_OFFSET, false, "2024-03-01T09:00:00Z", RECORD_TIME_RAW, NOON },
    { "vector C12", "2024-03-01", NULL, NO_OFFSET, false, "2024-03-01T00:00:00Z", RECORD_TIME_RAW, NOON },
    { "vector C13", "garbage", NULL, NO_OFFSET, false, NOON, RECORD_TIME_NOW_FALLBACK, NOON },
    { "vector C14", "+012345-01-01T00:00:00Z", NULL, NO_OFFSET, false, NOON, RECORD_TIME_NOW_FALLBACK, NOON },
    { "vector C15: a day that is none is no time", "2023-02-30T00:00:00Z", NULL, NO_OFFSET, false, NOON, RECORD_TIME_NOW_FALLBACK, NOON },
    { "least offset", NULL, NULL, INT64_MIN + 1, false, NOW, RECORD_TIME_OFFSET },
    { "largest offset", NULL, NULL, INT64_MAX, false, "1970-01-01T00:00:00Z", RECORD_TIME_OFFSET },
};

static void examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct stamp_input input = { .sent_at_us = CLOCK_NONE, .client_us = CLOCK_NONE, .ignore_sent_at = rows[i].ignore };
        struct stamp       stamp;
        int64_t            expected;

        assert_true(time_parse_rfc3339(span_text(rows[i].now != NULL ? rows[i].now : NOW), &input.now_us, NULL));
        assert_true(time_parse_rfc3339(span_text(rows[i].expected), &expected, NULL));
        if (rows[i].sent_at != NULL)
            assert_true(time_parse_rfc3339(span_text(rows[i].sent_at), &input.sent_at_us, NULL));
        if (rows[i].client != NULL && !time_parse_lenient(span_text(rows[i].client), &input.client_us))
            input.client_us = CLOCK_NONE;
        input.has_offset = rows[i].offset_ms != NO_OFFSET;
        input.offset_ms = rows[i].offset_ms;
        stamp = stamp_compute(&input);
        if (stamp.us != expected || stamp.source != rows[i].source)
            fail_msg("%s: %lld, expected %lld", rows[i].name, (long long)stamp.us, (long long)expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(examples) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
