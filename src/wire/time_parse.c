/* wire/time_parse.c - text into instants; see time.h.
 *
 * A reader of each piece (date, time of day, zone) moves a cursor or says no; a form is a row of
 * pieces. RFC 3339 is strict because most stamps are of it and everything later is a guess. Where the
 * guess would need a clock or a place (a date without a year, a bare time, two-digit years, a local
 * zone) the answer is "not a time": the caller then uses the time of arrival, which is honest. */
#include "wire/time.h"

#include "wire/time_civil.h"

struct cursor {
    const uint8_t *at, *end;
};

static bool take(struct cursor *in, char c)
{
    if (in->at == in->end || *in->at != (uint8_t)c)
        return false;
    in->at++;
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* least to most digits (at most 9). */
static bool take_digits(struct cursor *in, int least, int most, int *out)
{
    int number = 0, count = 0;

    while (count < most && in->at < in->end && is_digit(*in->at)) {
        number = number * 10 + (*in->at++ - '0');
        count++;
    }
    *out = number;
    return count >= least;
}

static bool take_spaces(struct cursor *in)
{
    const uint8_t *start = in->at;

    while (take(in, ' '))
        ;
    return in->at > start;
}

/* A word of letters, as its first three in lower case plus its length. */
static size_t take_word(struct cursor *in, char first[4])
{
    const uint8_t *start = in->at;
    size_t         length;

    memset(first, 0, 4);
    while (in->at < in->end && (*in->at | 0x20) >= 'a' && (*in->at | 0x20) <= 'z')
        in->at++;
    length = (size_t)(in->at - start);
    for (size_t i = 0; i < 3 && i < length; i++)
        first[i] = (char)(start[i] | 0x20);
    return length;
}

/* "feb", "february", any case; `names` has three letters each, `lengths` of the long forms. */
static int name_index(struct cursor *in, const char *names, const uint8_t *lengths, int count)
{
    struct cursor word = *in;
    char          first[4];
    size_t        length = take_word(&word, first);

    for (int i = 0; i < count; i++)
        if (memcmp(first, names + i * 3, 3) == 0 && (length == 3 || length == lengths[i])) {
            *in = word;
            return i;
        }
    return -1;
}

static int take_month(struct cursor *in)
{
    static const uint8_t lengths[] = { 7, 8, 5, 5, 3, 4, 4, 6, 9, 7, 8, 8 };

    return name_index(in, "janfebmaraprmayjunjulaugsepoctnovdec", lengths, 12) + 1;
}

static bool take_weekday(struct cursor *in)
{
    static const uint8_t lengths[] = { 6, 6, 7, 9, 8, 6, 8 };

    if (name_index(in, "sunmontuewedthufrisat", lengths, 7) < 0)
        return false;
    take(in, ',');
    take_spaces(in);
    return true;
}

/* --- pieces -------------------------------------------------------------------------------------- */

struct parts {
    int year, month, day, hour, minute, second, micro, zone_min;
};

static bool date_exists(const struct parts *parts)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = parts->year % 4 == 0 && (parts->year % 100 != 0 || parts->year % 400 == 0);

    return parts->month >= 1 && parts->month <= 12 && parts->day >= 1 &&
           parts->day <= days[parts->month - 1] + (parts->month == 2 && leap);
}

/* second 60 is in every minute: which ones had a leap second is not ours to know. */
static bool time_exists(const struct parts *parts)
{
    return parts->hour <= 23 && parts->minute <= 59 && parts->second <= 60;
}

static bool take_fraction(struct cursor *in, int *micro_out)
{
    int digits = 0, micro = 0;

    for (; in->at < in->end && is_digit(*in->at); in->at++, digits++)
        if (digits < 6)
            micro = micro * 10 + (*in->at - '0');
    for (int i = digits; i < 6; i++)
        micro *= 10;
    *micro_out = micro;
    return digits > 0;
}

static bool take_ymd(struct cursor *in, struct parts *out)
{
    return take_digits(in, 4, 4, &out->year) && take(in, '-') && take_digits(in, 2, 2, &out->month) && take(in, '-') &&
           take_digits(in, 2, 2, &out->day);
}

/* HH:MM:SS[.f] */
static bool take_hms(struct cursor *in, struct parts *out)
{
    return take_digits(in, 2, 2, &out->hour) && take(in, ':') && take_digits(in, 2, 2, &out->minute) && take(in, ':') &&
           take_digits(in, 2, 2, &out->second) && (!take(in, '.') || take_fraction(in, &out->micro));
}

/* +HH:MM; loose: also +HHMM and +HH. */
static bool take_offset(struct cursor *in, bool loose, int *zone_min_out)
{
    bool minus = in->at < in->end && *in->at == '-', colon;
    int  hours, minutes = 0;

    if (!(take(in, '+') || take(in, '-')) || !take_digits(in, 2, 2, &hours))
        return false;
    colon = take(in, ':');
    if (!colon && !loose)
        return false;
    if ((colon || (in->at < in->end && is_digit(*in->at))) && !take_digits(in, 2, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *zone_min_out = (minus ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

/* The zone names of RFC 2822 §4.3 that mean one offset each; the military letters mean nothing but Z. */
static bool take_zone_name(struct cursor *in, int *zone_min_out)
{
    static const struct { char name[4]; int hours; } zones[] = {
        { "utc", 0 },  { "gmt", 0 },  { "est", -5 }, { "edt", -4 }, { "cst", -6 },
        { "cdt", -5 }, { "mst", -7 }, { "mdt", -6 }, { "pst", -8 }, { "pdt", -7 },
    };
    char   name[4];
    size_t length = take_word(in, name);

    *zone_min_out = 0;
    if ((length == 1 && name[0] == 'z') || (length == 2 && name[0] == 'u' && name[1] == 't'))
        return true;
    for (size_t i = 0; length == 3 && i < sizeof zones / sizeof *zones; i++)
        if (memcmp(name, zones[i].name, 3) == 0) {
            *zone_min_out = zones[i].hours * 60;
            return true;
        }
    return false;
}

static bool to_instant(const struct parts *parts, int64_t *us_out)
{
    int64_t seconds;

    if (!date_exists(parts) || !time_exists(parts))
        return false;
    seconds = time_civil_days(parts->year, parts->month, parts->day) * 86400 + parts->hour * 3600 +
              parts->minute * 60 + parts->second - parts->zone_min * 60;
    *us_out = seconds * TIME_US_S + parts->micro;
    return true;
}

/* --- RFC 3339 ------------------------------------------------------------------------------------ */

/* short_zone: also `+HH` and `+HHMM`, which some client libraries write. */
static bool parse_rfc3339(struct span text, bool short_zone, int64_t *us_out, int *zone_min_out)
{
    struct cursor in = { text.at, text.at + text.bytes };
    struct parts  parts = { 0 };

    if (!take_ymd(&in, &parts) || !(take(&in, 'T') || take(&in, 't') || take(&in, ' ')) || !take_hms(&in, &parts))
        return false;
    if (!take(&in, 'Z') && !take(&in, 'z') && !take_offset(&in, short_zone, &parts.zone_min))
        return false;
    if (in.at != in.end || !to_instant(&parts, us_out))
        return false;
    if (zone_min_out != NULL)
        *zone_min_out = parts.zone_min;
    return true;
}

/* Two digits; what is none leaves its mark in *bad. */
static int two_digits(const uint8_t *at, unsigned *bad)
{
    unsigned tens = at[0] - (unsigned)'0', ones = at[1] - (unsigned)'0';

    *bad |= (unsigned)(tens > 9) | (unsigned)(ones > 9);
    return (int)(tens * 10 + ones);
}

/* `2026-02-03T04:05:06.789Z`, as every JavaScript engine writes it: each piece has its place. False: the others look. */
static bool parse_usual(struct span text, int64_t *us_out)
{
    const uint8_t *at = text.at;
    unsigned       bad = 0;
    struct parts   parts = { 0 };

    if (text.bytes != 24 || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':' || at[19] != '.' ||
        at[23] != 'Z')
        return false;
    parts.year = two_digits(at, &bad) * 100 + two_digits(at + 2, &bad);
    parts.month = two_digits(at + 5, &bad);
    parts.day = two_digits(at + 8, &bad);
    parts.hour = two_digits(at + 11, &bad);
    parts.minute = two_digits(at + 14, &bad);
    parts.second = two_digits(at + 17, &bad);
    parts.micro = two_digits(at + 20, &bad) * 10000;
    bad |= (unsigned)!is_digit(at[22]);
    parts.micro += (at[22] - '0') * 1000;
    return bad == 0 && to_instant(&parts, us_out);
}

bool time_parse_rfc3339(struct span text, int64_t *us_out, int *zone_min_out)
{
    return parse_rfc3339(text, false, us_out, zone_min_out);
}

bool time_parse_iso8601(struct span text, int64_t *us_out, int *zone_min_out)
{
    return parse_rfc3339(text, true, us_out, zone_min_out);
}

/* --- everything else ----------------------------------------------------------------------------- */

/* Seconds, milliseconds or nanoseconds since 1970, told apart by how many digits they have: today's
 * have 10, 13 and 19, and will until the year 2286. */
static bool parse_unix(struct span text, int64_t *us_out)
{
    uint64_t number = 0;

    if (text.bytes != 10 && text.bytes != 13 && text.bytes != 19)
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        if (!is_digit(text.at[i]))
            return false;
        number = number * 10 + (text.at[i] - '0'); /* 10^19 - 1 fits 64 bits */
    }
    *us_out = text.bytes == 10 ? (int64_t)number * TIME_US_S
            : text.bytes == 13 ? (int64_t)number * TIME_US_MS
                               : (int64_t)(number / 1000);
    return true;
}

/* Feb 3[,] 2026 or 3[ -]Feb[ -]2026, either behind a weekday, which is not checked against the date:
 * the date is what was meant. */
static bool take_named_date(struct cursor *in, struct parts *out)
{
    take_weekday(in);
    out->month = take_month(in);
    if (out->month > 0) {
        take(in, '.');
        if (!take_spaces(in) || !take_digits(in, 1, 2, &out->day))
            return false;
        take(in, ',');
        return take_spaces(in) && take_digits(in, 4, 4, &out->year);
    }
    if (!take_digits(in, 1, 2, &out->day) || !(take_spaces(in) || take(in, '-')))
        return false;
    out->month = take_month(in);
    take(in, ',');
    return out->month > 0 && (take_spaces(in) || take(in, '-')) && take_digits(in, 4, 4, &out->year);
}

/* 02/03/2026 (month first, as the law of that separator is where it is used most) or 2026/02/03. */
static bool take_slash_date(struct cursor *in, struct parts *out)
{
    struct cursor start = *in;

    if (take_digits(in, 4, 4, &out->year))
        return take(in, '/') && take_digits(in, 1, 2, &out->month) && take(in, '/') && take_digits(in, 1, 2, &out->day);
    *in = start;
    return take_digits(in, 1, 2, &out->month) && take(in, '/') && take_digits(in, 1, 2, &out->day) && take(in, '/') &&
           take_digits(in, 4, 4, &out->year);
}

/* H:MM[:SS[.f]][ AM|PM][ zone] */
static bool take_clock(struct cursor *in, struct parts *out)
{
    struct cursor half;
    char          word[4];

    if (!take_digits(in, 1, 2, &out->hour) || !take(in, ':') || !take_digits(in, 2, 2, &out->minute))
        return false;
    if (take(in, ':')) {
        if (!take_digits(in, 2, 2, &out->second) || (take(in, '.') && !take_fraction(in, &out->micro)))
            return false;
    }

    half = *in;
    take_spaces(&half);
    if (take_word(&half, word) == 2 && word[1] == 'm' && (word[0] == 'a' || word[0] == 'p')) {
        if (out->hour < 1 || out->hour > 12)
            return false;
        out->hour = out->hour % 12 + (word[0] == 'p' ? 12 : 0);
        *in = half;
    }
    if (in->at == in->end)
        return true;
    take_spaces(in);
    if (in->at < in->end && (*in->at == '+' || *in->at == '-'))
        return take_offset(in, true, &out->zone_min);
    return take_zone_name(in, &out->zone_min);
}

static bool parse_loose(struct span text, int64_t *us_out)
{
    static bool (*const dates[])(struct cursor *, struct parts *) = { take_ymd, take_slash_date, take_named_date };

    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        struct cursor in = { text.at, text.at + text.bytes };
        struct parts  parts = { 0 };

        if (!dates[i](&in, &parts))
            continue;
        if (in.at < in.end) {
            bool iso = dates[i] == take_ymd && (take(&in, 'T') || take(&in, 't'));

            if (!iso) {
                take(&in, ',');
                if (!take_spaces(&in))
                    continue;
            }
            if (!take_clock(&in, &parts))
                continue;
        }
        return in.at == in.end && to_instant(&parts, us_out);
    }
    return false;
}

bool time_parse_lenient(struct span text, int64_t *us_out)
{
    int64_t us;

    if (parse_usual(text, us_out))
        return true;
    while (text.bytes > 0 && text.at[0] == ' ')
        text = span_from(text, 1);
    while (text.bytes > 0 && text.at[text.bytes - 1] == ' ')
        text.bytes--;
    if (!parse_rfc3339(text, true, &us, NULL) && !parse_unix(text, &us) && !parse_loose(text, &us))
        return false;
    if (us < TIME_YEAR_M9999 || us >= TIME_YEAR_100000)
        return false;
    *us_out = us;
    return true;
}
