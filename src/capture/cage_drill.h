/* capture/cage_drill.h - does the cage hold? Each thing that capture must not be able to do is tried, for real, by a process
 * that locked itself in the way capture does, over a small log of its own in a temporary folder. */
#ifndef PENSTOCK_CAPTURE_CAGE_DRILL_H
#define PENSTOCK_CAPTURE_CAGE_DRILL_H

#include <stdbool.h>

#include "base/err.h"

struct cage_drill_result {
    const char *what; /* "connect to another program" */
    bool        good; /* it was stopped; or, of what capture does all day: it works */
    char        how[160]; /* "Permission denied" */
};

/* Tries each in turn. user: as capture.user. -1: a drill could not even be set up. */
int cage_drill_run(const char *user, void (*seen)(void *ctx, const struct cage_drill_result *result), void *ctx, struct err *err)
    must_check;

#endif
