/* wire/zone_test.c - what the wall clock says: against libc's reading of the same files, and rows that were looked up
 * by hand; damaged files are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "wire/zone.h"

#define FOLDER "/usr/share/zoneinfo/"

static uint8_t     bytes[64 << 10];
static struct zone zone;

static struct span file_read(const char *name)
{
    char   path[200];
    FILE  *file;
    size_t count;

    (void)snprintf(path, sizeof path, FOLDER "%s", name);
    file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing: apt-get install tzdata", path);
    count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return span_of(bytes, count);
}

/* Changes of half an hour, in the south, at midnight, over the date line, in Ramadan, of another century. */
static const char *const names[] = {
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Kathmandu",
    "Pacific/Apia", "Pacific/Kiritimati", "America/St_Johns", "Africa/Cairo", "Asia/Beirut", "America/Havana", "Atlantic/Azores",
    "Europe/Dublin", "Asia/Tehran", "Antarctica/Troll", "America/Asuncion", "Etc/GMT+12", "Asia/Gaza", "America/Nuuk", "Africa/Monrovia",
};

static void same_as_libc(const char *name, int64_t at_s)
{
    time_t    at = (time_t)at_s;
    struct tm tm;

    localtime_r(&at, &tm);
    if (zone_offset(&zone, at_s) != tm.tm_gmtoff)
        fail_msg("%s at %lld: %d, libc says %ld", name, (long long)at_s, zone_offset(&zone, at_s), tm.tm_gmtoff);
}

static void as_libc(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[100];

        assert_true(zone_read(file_read(names[i]), &zone));
        (void)snprintf(path, sizeof path, ":" FOLDER "%s", names[i]);
        setenv("TZ", path, 1);
        tzset();
        /* each half hour and a second before, of 2023 to 2026, and every nine days from 1902 to 2199 */
        for (int64_t t = 1672531200; t < 1798761600; t += 1800) {
            same_as_libc(names[i], t - 1);
            same_as_libc(names[i], t);
        }
        for (int64_t t = INT64_C(-2145916800); t < INT64_C(7226582400); t += 9 * 86400 + 1)
            same_as_libc(names[i], t);
    }
}

static const struct { const char *zone; int64_t at_s; int64_t day, start_s; } days[] = {
    { "UTC", 1709251200, 19783, 1709251200 },                /* 2024-03-01T00:00:00Z */
    { "UTC", 1709251199, 19782, 1709164800 },
    { "Europe/Berlin", 1709247600, 19783, 1709247600 },      /* midnight there is 23:00Z */
    { "Europe/Berlin", 1709247599, 19782, 1709161200 },
    { "Europe/Berlin", 1711846800, 19813, 1711839600 },      /* 2024-03-31, summer time begins at 01:00Z: 23 hours */
    { "Europe/Berlin", 1711922399, 19813, 1711839600 },
    { "Europe/Berlin", 1711922400, 19814, 1711922400 },
    { "America/New_York", 1730606400, 20030, 1730606400 },   /* 2024-11-03: 25 hours */
    { "America/New_York", 1730696399, 20030, 1730606400 },
    { "America/New_York", 1730696400, 20031, 1730696400 },
    { "Pacific/Kiritimati", 1709287200, 19784, 1709287200 }, /* 14 hours before everybody */
    { "Etc/GMT+12", 1709294400, 19783, 1709294400 },         /* 12 hours behind */
    { "Etc/GMT+12", 1709294399, 19782, 1709208000 },
    { "Africa/Cairo", 1714082400, 19839, 1714082400 },       /* 2024-04-26 begins at 01:00: there is no midnight */
    { "Africa/Cairo", 1714082399, 19838, 1713996000 },
    { "America/Havana", 1730606400, 20030, 1730606400 },     /* 2024-11-03 has two midnights: the first */
    { "America/Havana", 1730610000, 20030, 1730606400 },
    { "Asia/Kathmandu", 1709230500, 19783, 1709230500 },     /* +05:45 */
    { "UTC", -1, -1, -86400 },
};

static void days_begin(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        assert_true(zone_read(file_read(days[i].zone), &zone));
        if (zone_day(&zone, days[i].at_s) != days[i].day)
            fail_msg("%s at %lld: day %lld", days[i].zone, (long long)days[i].at_s, (long long)zone_day(&zone, days[i].at_s));
        if (zone_day_start(&zone, days[i].day) != days[i].start_s)
            fail_msg("%s, day %lld begins at %lld", days[i].zone, (long long)days[i].day, (long long)zone_day_start(&zone, days[i].day));
    }
    zone_init_utc(&zone);
    assert_int_equal(zone_day(&zone, 1709251199), 19782);
    assert_int_equal(zone_day_start(&zone, 19782), 1709164800);
}

/* A slim file: nothing but the rule, in each of its forms. */
static void rules(void **state)
{
    static const struct { const char *rule; int64_t at_s; int offset_s; } rows[] = {
        { "<+03>-3", 1709251200, 10800 },
        { "CET-1CEST,M3.5.0,M10.5.0/3", 1711846799, 3600 },
        { "CET-1CEST,M3.5.0,M10.5.0/3", 1711846800, 7200 },
        { "CET-1CEST,M3.5.0,M10.5.0/3", 1729990799, 7200 },
        { "CET-1CEST,M3.5.0,M10.5.0/3", 1729990800, 3600 },
        { "IST-1GMT0,M10.5.0,M3.5.0/1", 1709251200, 0 },       /* Dublin: "summer" is the winter */
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1711846800, -3600 },
        { "EST5EDT,J60,J300", 1709276400, -14400 },            /* 2024-03-01 02:00: the 60th day that is no leap day */
        { "EST5EDT,J60,J300", 1709276399, -18000 },
        { "EST5EDT,59,299", 1709190000, -14400 },              /* 2024-02-29 02:00 */
        { "EST5EDT,59,299", 1709189999, -18000 },
        { "EST5EDT4:30:15,M3.2.0,M11.1.0", 1720000000, -16215 },
    };
    static const char *const wrong[] = {
        "C-1", "CET", "CET-", "CET-1CEST", "CET-1CEST,", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
        "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J5", "CET-1CEST,366,5", "CET-168", "<+03-3", "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1:60",
    };
    uint8_t head[2][44] = { { 'T', 'Z', 'i', 'f', '2' }, { 'T', 'Z', 'i', 'f', '2' } };

    (void)state;
    head[0][39] = head[1][39] = 1; /* one kind, no name */
    for (size_t i = 0; i < sizeof rows / sizeof *rows + sizeof wrong / sizeof *wrong; i++) {
        bool        good = i < sizeof rows / sizeof *rows;
        const char *rule = good ? rows[i].rule : wrong[i - sizeof rows / sizeof *rows];
        size_t      count = 0;

        memcpy(bytes, head[0], 44), count += 44;
        memset(bytes + count, 0, 6), count += 6;
        memcpy(bytes + count, head[1], 44), count += 44;
        memset(bytes + count, 0, 6), count += 6;
        count += (size_t)sprintf((char *)bytes + count, "\n%s\n", rule);
        if (zone_read(span_of(bytes, count), &zone) != good)
            fail_msg("%s is%s read", rule, good ? " not" : "");
        if (good && zone_offset(&zone, rows[i].at_s) != rows[i].offset_s)
            fail_msg("%s at %lld: %d", rule, (long long)rows[i].at_s, zone_offset(&zone, rows[i].at_s));
    }
}

/* Cut anywhere, or with counts that promise more than is there. */
static void damaged(void **state)
{
    struct span file = file_read("Europe/Berlin");

    (void)state;
    for (size_t i = 0; i < file.bytes; i++) {
        uint8_t *cut = malloc(i + 1); /* the sanitizer sees the end */

        memcpy(cut, file.at, i);
        assert_false(zone_read(span_of(cut, i), &zone));
        free(cut);
    }
    for (size_t i = 0; i < 44; i++) {
        bytes[i] ^= 0x80;
        if (zone_read(file, &zone))
            (void)zone_offset(&zone, 1709251200);
        bytes[i] ^= 0x80;
    }
    assert_true(zone_read(file, &zone));
    bytes[0] = 't';
    assert_false(zone_read(file, &zone));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_libc), cmocka_unit_test(days_begin), cmocka_unit_test(rules), cmocka_unit_test(damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
