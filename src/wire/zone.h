/* wire/zone.h - time zones: RFC 8536 files ("TZif", as in /usr/share/zoneinfo), and what a clock on the wall says.
 *
 * libc's own reading of them is for one zone a process, chosen in the environment; events come from all zones at
 * once, on any thread. A zone is read once and then only looked at: any thread, no lock, nothing allocated.
 *  Z1  every instant has an offset: before the first change that of the first kind, behind the last one the rule's
 *      of the file's end */
#ifndef PENSTOCK_WIRE_ZONE_H
#define PENSTOCK_WIRE_ZONE_H

#include "base/span.h"

/* A day of the year on which a rule begins or ends summer time. */
struct zone_turn {
    enum { ZONE_TURN_JULIAN, ZONE_TURN_DAY, ZONE_TURN_WEEKDAY } how;
    int month, week, day;  /* JULIAN: day 1..365, no leap day; DAY: 0..365; WEEKDAY: month 1..12, week 1..5, day 0..6 */
    int at_s;              /* local time */
};

struct zone {
    const uint8_t   *times, *kinds, *types; /* in the file's bytes, which are borrowed; NULL: no changes */
    size_t           time_count, type_count;
    int              first_s; /* before the first change */
    bool             has_rule, has_summer;
    int              standard_s, summer_s;
    struct zone_turn begins, ends;
};

/* UTC. */
void zone_init_utc(struct zone *zone);
/* False: not a TZif file of version 2 or later, or a damaged one. file is borrowed for the zone's life. */
bool zone_read(struct span file, struct zone *out);

/* Seconds east of Greenwich. unix_s: of the years that time.h knows, here and below. */
int zone_offset(const struct zone *zone, int64_t unix_s);
/* The local calendar day in which the instant lies, as days since 1970-01-01. */
int64_t zone_day(const struct zone *zone, int64_t unix_s);
/* The first instant of a local calendar day: midnight, or what comes for it where summer time begins at midnight. */
int64_t zone_day_start(const struct zone *zone, int64_t day);

#endif
