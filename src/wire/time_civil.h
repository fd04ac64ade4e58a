/* wire/time_civil.h - calendar arithmetic between time.c and time_parse.c; others use time.h. */
#ifndef PENSTOCK_WIRE_TIME_CIVIL_H
#define PENSTOCK_WIRE_TIME_CIVIL_H

#include <stdint.h>

struct time_civil {
    int year; /* astronomical: 0 is 1 BC */
    int month, day, hour, minute, second, micro;
    int weekday; /* 0 is Sunday */
};

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar; the date is not checked. */
int64_t time_civil_days(int64_t year, int month, int day);
struct time_civil time_civil_of(int64_t us);

#endif
