/* ingest/units.h - ingest where the log has partitions: a unit for each one that is this process's.
 *
 * A unit is one partition of all inputs and outputs, and everything that belongs to it: a struct ingest with a handle of its own on
 * the store of persons, in a thread of its own, with a folder DIR/run/ingest-N for what it notes. Units share the log's clients,
 * the metrics page, and nothing else. Which units are here is the group's decision (log/log_units.h), and changes while we run.
 * Whoever takes a unit fences the one before (people_epoch): two never finish the same batch. */
#ifndef PENSTOCK_INGEST_UNITS_H
#define PENSTOCK_INGEST_UNITS_H

#include "ingest/ingest.h"

/* Until env->stop_fd, or a unit fails. */
int units_run(const struct role_env *env, struct err *err) must_check;

#endif
