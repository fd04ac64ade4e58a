/* fuzz/time.c - what is read as a time, written, is read as the same time; every number can be written. */
#include <stdlib.h>

#include "fuzz.h"
#include "wire/time.h"

static void must_come_back(int64_t us, int zone_min)
{
    struct buf buf;
    char       http[30];
    int64_t    again;
    int        year = time_year(us), zone = 0;

    buf_init(&buf, 100);
    time_write_rfc3339(&buf, us);
    MUST(!buf.failed && (time_parse_rfc3339(buf_span(&buf), &again, NULL) == (year >= 0 && year <= 9999)));
    MUST(year < 0 || year > 9999 || again == us);
    buf_reset(&buf);
    time_write_rfc3339_zone(&buf, us, zone_min);
    if (time_parse_rfc3339(buf_span(&buf), &again, &zone))
        MUST(again == us && (zone == zone_min || zone == 0));
    for (int digits = 0; digits <= 6; digits += 3) {
        buf_reset(&buf);
        time_write_sql(&buf, us, digits);
        if (time_parse_lenient(buf_span(&buf), &again))
            MUST(again <= us && (uint64_t)us - (uint64_t)again < TIME_US_S && (digits < 6 || again == us));
        else
            MUST(year < 0 || year > 9999);
    }
    time_write_http(http, us);
    MUST(strlen(http) == 29);
    if (year >= 0 && year <= 9999) {
        MUST(time_parse_lenient(span_text(http), &again));
        MUST(again <= us && us - again < TIME_US_S);
    }
    buf_fini(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span text = span_of(data, bytes);
    int64_t     us, lenient;
    int         zone = 0;

    if (time_parse_lenient(text, &us)) {
        MUST(us >= -400000 * TIME_US_DAY * 10 && us <= 4000000 * TIME_US_DAY * 10);
        must_come_back(us, 0);
    }
    if (time_parse_rfc3339(text, &us, &zone)) {
        MUST(zone > -1440 && zone < 1440);
        MUST(time_parse_lenient(text, &lenient) && lenient == us);
        must_come_back(us, zone);
    }
    if (bytes >= 10) {
        int16_t some;

        memcpy(&us, data, 8);
        memcpy(&some, data + 8, 2);
        must_come_back(us, some % 1440);
    }
    return 0;
}
