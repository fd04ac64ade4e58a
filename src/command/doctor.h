/* command/doctor.h - what the files of `penstock doctor` share: the lines that it prints. */
#ifndef PENSTOCK_COMMAND_DOCTOR_H
#define PENSTOCK_COMMAND_DOCTOR_H

#include <stdbool.h>

#include "base/stores.h"

enum verdict { FINE, WARN, FAIL };

struct doctor {
    bool        json;
    bool        first;
    unsigned    counts[3];
    const char *data;
};

void verdict(struct doctor *doctor, enum verdict what, const char *part, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Of each store that is not in the data folder: whether it is reached, which version it is, and whether it is set up to keep
 * what it is given. Waits some seconds for each at most. */
void doctor_stores(struct doctor *doctor, const struct stores *stores);

#endif
