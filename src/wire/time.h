/* wire/time.h - instants as text, and back. Pure: the clock is an argument.
 *
 * Times are microseconds since 1970-01-01T00:00:00Z in the proleptic Gregorian calendar; finer
 * fractions are cut (docs/compat.md). */
#ifndef PENSTOCK_WIRE_TIME_H
#define PENSTOCK_WIRE_TIME_H

#include "base/buf.h"
#include "base/span.h"

enum { TIME_US_MS = 1000, TIME_US_S = 1000000 };
#define TIME_US_HOUR ((int64_t)3600 * 1000000)
#define TIME_US_DAY ((int64_t)86400 * 1000000)

/* RFC 3339 with a mandatory zone: `T`, `t` or one space, fraction of 1 to 9 or more digits, `Z`, `z`,
 * `+HH:MM`; second 60 is read as second 59 plus one. zone_min_out (may be NULL) is the offset. */
bool time_parse_rfc3339(struct span text, int64_t *us_out, int *zone_min_out);

/* The same, its zone also as `+HH` or `+HHMM`, as ISO 8601 has it. */
bool time_parse_iso8601(struct span text, int64_t *us_out, int *zone_min_out);

/* What capture takes as a client's `timestamp`, tried in this order: as time_parse_iso8601; Unix seconds
 * (10 digits), milliseconds (13), nanoseconds (19); RFC 2822; `YYYY-MM-DD HH:MM[:SS[.f]]` with optional
 * zone; `YYYY-MM-DD` and the slash forms `MM/DD/YYYY`, `YYYY/MM/DD` with optional time; month-name forms;
 * `YYYY-MM-DDTHH:MM:SS` without zone. Zone-less is UTC; a bare date is midnight UTC. Years outside
 * -9999..99999 are refused. False: not a time. */
bool time_parse_lenient(struct span text, int64_t *us_out);

/* `2026-02-03T04:05:06Z`, fraction of 0, 3 or 6 digits, the shortest that is exact. */
void time_write_rfc3339(struct buf *buf, int64_t us);
/* The same instant in its own zone (`+05:30`; `Z` for 0), fraction without trailing zeros. */
void time_write_rfc3339_zone(struct buf *buf, int64_t us, int zone_min);
/* `2026-02-03 04:05:06.000` (fraction_digits 0, 3 or 6), UTC: the warehouse's form. */
void time_write_sql(struct buf *buf, int64_t us, int fraction_digits);
/* `Tue, 03 Feb 2026 04:05:06 GMT`: HTTP's Date. out holds 29 bytes and a NUL. */
void time_write_http(char out[30], int64_t us);

/* Calendar year (astronomical: 0 is 1 BC) of an instant. */
int time_year(int64_t us);

/* Where some years begin: to ask whether an instant is in 0..9999 needs no calendar. */
#define TIME_YEAR_0      ((int64_t)-62167219200 * 1000000)
#define TIME_YEAR_10000  ((int64_t)253402300800 * 1000000)
#define TIME_YEAR_M9999  ((int64_t)-377705116800 * 1000000)
#define TIME_YEAR_100000 ((int64_t)3093527980800 * 1000000)
static inline bool time_has_four_digits(int64_t us)
{
    return us >= TIME_YEAR_0 && us < TIME_YEAR_10000;
}

#endif
