/* command/account_by.h - the equation of fates line by line: by project, by hour of acceptance, or both.
 *
 * What ingest has finished comes from its own counts (people_fates_each), which it keeps by project and hour in the
 * transaction of each batch. What waits is looked at record by record in the topics, up to ACCOUNT_SCAN_MAX of
 * them. Read in the order of account.h, so the lines are exact while all roles run. */
#ifndef PENSTOCK_COMMAND_ACCOUNT_BY_H
#define PENSTOCK_COMMAND_ACCOUNT_BY_H

#include "base/arena.h"
#include "ingest/fate.h"

enum { ACCOUNT_BY_PROJECT = 1, ACCOUNT_BY_HOUR = 2 };
enum { ACCOUNT_SCAN_MAX = 5000000 }; /* records that wait; a second or two */

struct account_line {
    uint32_t project; /* by project: 0 not known, PEOPLE_FATES_BEFORE counted before there were lines */
    uint32_t hour;    /* by hour: since 1970; 0: older than the lines go back */
    uint64_t accepted, stored, deduplicated, dead_lettered, dropped, pending;
    int64_t  difference;     /* of the equation: 0, or something is wrong */
    uint64_t rows;           /* in the warehouse, when asked to check */
    uint64_t fates[FATE_COUNT];
};

struct account_lines {
    struct account_line *at; /* in order of project, then hour; in the arena */
    size_t               count;
    uint64_t             not_looked_at; /* what waits beyond ACCOUNT_SCAN_MAX, or cannot be read: in no line as pending */
    uint64_t             unplaced;      /* finished, not in the warehouse, and nobody knows whose: stored in a line */
};

/* UNKNOWN: no line is wrong that would not be right with what could not be looked at (such records can only be rows that are not there yet). */
enum account_verdict { ACCOUNT_RIGHT, ACCOUNT_WRONG, ACCOUNT_UNKNOWN };

/* check: as in account_lines_read. Without it only the equation itself is judged, which needs nothing of what waits. */
enum account_verdict account_lines_judge(const struct account_lines *lines, bool check);

/* by: flags as above. check: the warehouse's rows are counted, too, which reads two columns of all of them. */
int account_lines_read(const char *data, unsigned by, bool check, struct arena *arena, struct account_lines *out,
                       struct err *err) must_check;

#endif
