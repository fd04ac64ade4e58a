/* wire/zone.c - RFC 8536: a table of past changes, found by halving, and behind its end a rule in the form of
 * POSIX's TZ ("CET-1CEST,M3.5.0,M10.5.0/3").
 *
 *    at  bytes  field (big-endian)
 *     0      4  "TZif"
 *     4      1  version: '2', '3' or '4'; without one there is only a block of 32-bit times, which ends in 2038
 *     5     15  zero
 *    20     24  six counts: utc marks, standard marks, leap seconds, changes, kinds, bytes of names
 *    44      *  block of 32-bit times, passed over; then a second head and the block of 64-bit times:
 *               8 a change · 1 kind a change · 6 a kind (4 offset, 1 summer, 1 name) · names · leap seconds (12) ·
 *               standard marks · utc marks; then \n rule \n */
#include "wire/zone.h"

#include "wire/time_civil.h"

enum {
    HEAD_BYTES = 44,
    DAY_S = 86400,
    OFFSET_S_MAX = 7 * DAY_S, /* more than any rule may say */
    HOURS_MAX = 167           /* RFC 8536 section 3.3.1 */
};

#define YEARS_S_MAX INT64_C(1000000000000) /* behind 31,000 years nobody changes the clock */

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t get_i64(const uint8_t *at)
{
    return (int64_t)((uint64_t)get_u32(at) << 32 | get_u32(at + 4));
}

/* --- the rule ---------------------------------------------------------------------------------- */

static bool take(struct span *text, char c)
{
    if (text->bytes == 0 || text->at[0] != (uint8_t)c)
        return false;
    *text = span_from(*text, 1);
    return true;
}

static bool take_number(struct span *text, int max, int *out)
{
    int number = 0, digits = 0;

    while (text->bytes > 0 && text->at[0] >= '0' && text->at[0] <= '9' && digits < 4) {
        number = number * 10 + (text->at[0] - '0');
        *text = span_from(*text, 1);
        digits++;
    }
    *out = number;
    return digits > 0 && number <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct span *text, int *seconds_out)
{
    bool negative = take(text, '-');
    int  hours, minutes = 0, seconds = 0;

    if (!negative)
        (void)take(text, '+');
    if (!take_number(text, HOURS_MAX, &hours) || (take(text, ':') && !take_number(text, 59, &minutes)))
        return false;
    if (take(text, ':') && !take_number(text, 59, &seconds))
        return false;
    *seconds_out = (hours * 3600 + minutes * 60 + seconds) * (negative ? -1 : 1);
    return true;
}

/* CET, or <+03> */
static bool take_name(struct span *text)
{
    size_t letters = 0;

    if (take(text, '<')) {
        while (text->bytes > 0 && text->at[0] != '>')
            *text = span_from(*text, 1);
        return take(text, '>');
    }
    while (text->bytes > 0 && ((text->at[0] | 0x20) >= 'a' && (text->at[0] | 0x20) <= 'z')) {
        *text = span_from(*text, 1);
        letters++;
    }
    return letters >= 3;
}

static bool take_turn(struct span *text, struct zone_turn *out)
{
    out->at_s = 7200;
    if (take(text, 'M')) {
        out->how = ZONE_TURN_WEEKDAY;
        if (!take_number(text, 12, &out->month) || out->month < 1 || !take(text, '.') || !take_number(text, 5, &out->week) ||
            out->week < 1 || !take(text, '.') || !take_number(text, 6, &out->day))
            return false;
    } else if (take(text, 'J')) {
        out->how = ZONE_TURN_JULIAN;
        if (!take_number(text, 365, &out->day) || out->day < 1)
            return false;
    } else {
        out->how = ZONE_TURN_DAY;
        if (!take_number(text, 365, &out->day))
            return false;
    }
    return !take(text, '/') || take_time(text, &out->at_s);
}

/* POSIX counts west of Greenwich. */
static bool rule_read(struct span text, struct zone *zone)
{
    int west_s;

    if (!take_name(&text) || !take_time(&text, &west_s))
        return false;
    zone->standard_s = -west_s;
    zone->has_rule = true;
    if (text.bytes == 0)
        return true;
    if (!take_name(&text))
        return false;
    zone->summer_s = zone->standard_s + 3600;
    if (text.bytes > 0 && text.at[0] != ',') {
        if (!take_time(&text, &west_s))
            return false;
        zone->summer_s = -west_s;
    }
    zone->has_summer = true;
    return take(&text, ',') && take_turn(&text, &zone->begins) && take(&text, ',') && take_turn(&text, &zone->ends) &&
           text.bytes == 0;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Local seconds since 1970 at which the turn of that year comes. */
static int64_t turn_local_s(const struct zone_turn *turn, int64_t year)
{
    static const int days_of[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t          first, day;
    int              weekday, length;

    switch (turn->how) {
    case ZONE_TURN_JULIAN:
        day = time_civil_days(year, 1, 1) + turn->day - 1 + (is_leap(year) && turn->day >= 60);
        break;
    case ZONE_TURN_DAY:
        day = time_civil_days(year, 1, 1) + turn->day;
        break;
    default:
        first = time_civil_days(year, turn->month, 1);
        weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
        length = days_of[turn->month - 1] + (turn->month == 2 && is_leap(year));
        day = (turn->day - weekday + 7) % 7 + 7 * (turn->week - 1);
        day = first + (day < length ? day : day - 7); /* the fifth is the last */
        break;
    }
    return day * DAY_S + turn->at_s;
}

static int rule_offset(const struct zone *zone, int64_t unix_s)
{
    int64_t begins_s, ends_s, year;

    if (!zone->has_summer || unix_s > YEARS_S_MAX || unix_s < -YEARS_S_MAX)
        return zone->standard_s;
    year = time_civil_of((unix_s + zone->standard_s) * 1000000).year;
    begins_s = turn_local_s(&zone->begins, year) - zone->standard_s;
    ends_s = turn_local_s(&zone->ends, year) - zone->summer_s;
    if (begins_s < ends_s)
        return unix_s >= begins_s && unix_s < ends_s ? zone->summer_s : zone->standard_s;
    return unix_s >= ends_s && unix_s < begins_s ? zone->standard_s : zone->summer_s; /* the south */
}

/* --- the file ---------------------------------------------------------------------------------- */

struct counts { uint32_t utc, standard, leap, times, types, names; };

static bool head_read(struct span file, struct counts *out)
{
    if (file.bytes < HEAD_BYTES || memcmp(file.at, "TZif", 4) != 0 || file.at[4] < '2')
        return false;
    *out = (struct counts){ get_u32(file.at + 20), get_u32(file.at + 24), get_u32(file.at + 28), get_u32(file.at + 32),
                            get_u32(file.at + 36), get_u32(file.at + 40) };
    return true;
}

static uint64_t block_bytes(const struct counts *counts, unsigned time_bytes)
{
    return (uint64_t)counts->times * (time_bytes + 1) + (uint64_t)counts->types * 6 + counts->names +
           (uint64_t)counts->leap * (time_bytes + 4) + counts->standard + counts->utc;
}

/* The kinds that are used are there, and no offset is a nonsense. */
static bool block_sound(const struct zone *zone)
{
    for (size_t i = 0; i < zone->time_count; i++)
        if (zone->kinds[i] >= zone->type_count || (i > 0 && get_i64(zone->times + 8 * i) <= get_i64(zone->times + 8 * i - 8)))
            return false;
    for (size_t i = 0; i < zone->type_count; i++) {
        int32_t offset = (int32_t)get_u32(zone->types + 6 * i);

        if (offset < -OFFSET_S_MAX || offset > OFFSET_S_MAX)
            return false;
    }
    return true;
}

void zone_init_utc(struct zone *zone)
{
    *zone = (struct zone){ .has_rule = true };
}

bool zone_read(struct span file, struct zone *out)
{
    struct zone   zone = { .times = NULL };
    struct counts counts;
    uint64_t      bytes;

    if (!head_read(file, &counts))
        return false;
    bytes = HEAD_BYTES + block_bytes(&counts, 4);
    if (bytes > file.bytes)
        return false;
    file = span_from(file, (size_t)bytes);
    if (!head_read(file, &counts) || counts.types == 0)
        return false;
    bytes = HEAD_BYTES + block_bytes(&counts, 8);
    if (bytes > file.bytes)
        return false;
    zone.times = file.at + HEAD_BYTES;
    zone.time_count = counts.times;
    zone.kinds = zone.times + 8 * (size_t)counts.times;
    zone.types = zone.kinds + counts.times;
    zone.type_count = counts.types;
    if (!block_sound(&zone))
        return false;
    zone.first_s = (int32_t)get_u32(zone.types);
    file = span_from(file, (size_t)bytes);
    if (file.bytes < 2 || file.at[0] != '\n' || file.at[file.bytes - 1] != '\n')
        return false;
    file = span_of(file.at + 1, file.bytes - 2);
    if (file.bytes > 0 && !rule_read(file, &zone))
        return false;
    *out = zone;
    return true;
}

/* --- asking ------------------------------------------------------------------------------------ */

int zone_offset(const struct zone *zone, int64_t unix_s)
{
    size_t low = 0, high = zone->time_count; /* changes before low have come, those from high on have not */

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (get_i64(zone->times + 8 * middle) <= unix_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->time_count && zone->has_rule)
        return rule_offset(zone, unix_s);
    return low == 0 ? zone->first_s : (int32_t)get_u32(zone->types + 6 * (size_t)zone->kinds[low - 1]);
}

static int64_t floor_days(int64_t seconds)
{
    return (seconds >= 0 ? seconds : seconds - (DAY_S - 1)) / DAY_S;
}

int64_t zone_day(const struct zone *zone, int64_t unix_s)
{
    return floor_days(unix_s + zone_offset(zone, unix_s));
}

int64_t zone_day_start(const struct zone *zone, int64_t day)
{
    int64_t midnight = day * DAY_S;
    int     before = zone_offset(zone, midnight - DAY_S), after = zone_offset(zone, midnight + DAY_S);

    /* Either side of a change near midnight; of two midnights the first. */
    if (zone_offset(zone, midnight - before) == before)
        return midnight - before;
    if (zone_offset(zone, midnight - after) == after)
        return midnight - after;
    return midnight - before; /* no such hour: the change itself */
}
