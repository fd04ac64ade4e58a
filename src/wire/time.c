/* wire/time.c - see time.h: calendar arithmetic and writing. Reading is in time_parse.c.
 *
 * Days and dates are turned into each other by counting from 1 March, so that the leap day is the last
 * of its year and the months before it have a fixed rhythm (153 days every five months). Years may be
 * whatever an int64 of microseconds can hold (about 292,000 either way); nothing here overflows. */
#include "wire/time.h"

#include "wire/time_civil.h"

int64_t time_civil_days(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct time_civil time_civil_of(int64_t us)
{
    int64_t days = us / TIME_US_DAY, rest = us % TIME_US_DAY;
    int64_t era, of_era, year_of_era, of_year, month;
    struct time_civil civil;

    if (rest < 0) {
        rest += TIME_US_DAY;
        days--;
    }
    civil.weekday = (int)(((days + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
    civil.micro = (int)(rest % TIME_US_S);
    rest /= TIME_US_S;
    civil.second = (int)(rest % 60);
    civil.minute = (int)(rest / 60 % 60);
    civil.hour = (int)(rest / 3600);

    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    of_era = days - era * 146097;
    year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    month = (5 * of_year + 2) / 153;
    civil.day = (int)(of_year - (153 * month + 2) / 5 + 1);
    civil.month = (int)(month < 10 ? month + 3 : month - 9);
    civil.year = (int)(year_of_era + era * 400 + (civil.month <= 2));
    return civil;
}

int time_year(int64_t us)
{
    return time_civil_of(us).year;
}

/* --- writing ------------------------------------------------------------------------------------- */

enum { TEXT_BYTES_MAX = 40 }; /* -292277-01-09T04:00:54.775808+23:59 is 35 */

static char *put_digits(char *to, int number, int digits)
{
    for (int i = digits - 1; i >= 0; i--, number /= 10)
        to[i] = (char)('0' + number % 10);
    return to + digits;
}

/* Years outside 0..9999 have a sign and as many digits as they need (ISO 8601 §4.1.2.4). */
static char *put_year(char *to, int year)
{
    int digits = 4;

    if (year < 0 || year > 9999)
        *to++ = year < 0 ? '-' : '+';
    year = year < 0 ? -year : year;
    for (int limit = 10000; year >= limit && digits < 6; limit *= 10)
        digits++;
    return put_digits(to, year, digits);
}

static char *put_date_time(char *to, const struct time_civil *civil, char separator)
{
    to = put_year(to, civil->year);
    *to++ = '-';
    to = put_digits(to, civil->month, 2);
    *to++ = '-';
    to = put_digits(to, civil->day, 2);
    *to++ = separator;
    to = put_digits(to, civil->hour, 2);
    *to++ = ':';
    to = put_digits(to, civil->minute, 2);
    *to++ = ':';
    return put_digits(to, civil->second, 2);
}

static char *put_fraction(char *to, int micro, int digits)
{
    if (digits == 0)
        return to;
    *to++ = '.';
    for (int i = digits; i < 6; i++)
        micro /= 10;
    return put_digits(to, micro, digits);
}

void time_write_rfc3339(struct buf *buf, int64_t us)
{
    struct time_civil civil = time_civil_of(us);
    char              text[TEXT_BYTES_MAX], *to = put_date_time(text, &civil, 'T');

    to = put_fraction(to, civil.micro, civil.micro == 0 ? 0 : civil.micro % 1000 == 0 ? 3 : 6);
    *to++ = 'Z';
    buf_add(buf, span_of(text, (size_t)(to - text)));
}

void time_write_rfc3339_zone(struct buf *buf, int64_t us, int zone_min)
{
    int64_t           shift = (int64_t)zone_min * 60 * TIME_US_S, local;
    struct time_civil civil;
    char              text[TEXT_BYTES_MAX], *to;
    int               digits = 6, micro, away = zone_min < 0 ? -zone_min : zone_min;

    if (zone_min == 0 || away >= 24 * 60 || __builtin_add_overflow(us, shift, &local)) {
        local = us; /* no such zone, or no such local time: the same instant in UTC */
        away = 0;
    }
    civil = time_civil_of(local);
    to = put_date_time(text, &civil, 'T');
    for (micro = civil.micro; digits > 0 && micro % 10 == 0; micro /= 10)
        digits--;
    to = put_fraction(to, civil.micro, digits);
    if (away == 0)
        *to++ = 'Z';
    else {
        *to++ = zone_min < 0 ? '-' : '+';
        to = put_digits(to, away / 60, 2);
        *to++ = ':';
        to = put_digits(to, away % 60, 2);
    }
    buf_add(buf, span_of(text, (size_t)(to - text)));
}

void time_write_sql(struct buf *buf, int64_t us, int fraction_digits)
{
    struct time_civil civil = time_civil_of(us);
    char              text[TEXT_BYTES_MAX], *to = put_date_time(text, &civil, ' ');

    to = put_fraction(to, civil.micro, fraction_digits);
    buf_add(buf, span_of(text, (size_t)(to - text)));
}

void time_write_http(char out[30], int64_t us)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const int64_t     least = time_civil_days(0, 1, 1) * TIME_US_DAY;
    const int64_t     most = time_civil_days(10000, 1, 1) * TIME_US_DAY - 1;
    struct time_civil civil = time_civil_of(us < least ? least : us > most ? most : us);
    char             *to = out;

    memcpy(to, days + civil.weekday * 3, 3);
    to += 3;
    *to++ = ',';
    *to++ = ' ';
    to = put_digits(to, civil.day, 2);
    *to++ = ' ';
    memcpy(to, months + (civil.month - 1) * 3, 3);
    to += 3;
    *to++ = ' ';
    to = put_digits(to, civil.year, 4);
    *to++ = ' ';
    to = put_digits(to, civil.hour, 2);
    *to++ = ':';
    to = put_digits(to, civil.minute, 2);
    *to++ = ':';
    to = put_digits(to, civil.second, 2);
    memcpy(to, " GMT", 5);
}
