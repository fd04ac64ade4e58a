/* load/load_units.h - load where the log has partitions: a loader for each one that is this process's.
 *
 * A loader fills the warehouse from one partition of all topics, in a thread of its own, with a folder DIR/run/load-N for what it
 * notes; its place in the warehouse is its unit's (warehouse_options.unit). Loaders share the log's clients and the metrics page.
 * One DuckDB has one place, and is filled from one partition. The socket for queries is the process's. */
#ifndef PENSTOCK_LOAD_LOAD_UNITS_H
#define PENSTOCK_LOAD_LOAD_UNITS_H

#include <pthread.h>

#include "base/metric.h"
#include "base/watch.h"
#include "load/keeper.h"
#include "load/load.h"
#include "log/log.h"

struct load_common {
    struct log         *log;
    struct metric_page *page;
    struct keeper      *keeper; /* NULL: each its own */
    pthread_rwlock_t   *turn;   /* shared while rows are worked on; alone for suspects (poison.h) */
    struct watch       *watches; /* one a unit */
};

/* Until env->stop_fd, or a loader fails. */
int load_units_run(const struct role_env *env, struct err *err) must_check;

/* load.c: one loader, of partition env->unit. common NULL: alone in its process. */
int  load_run_unit(const struct role_env *env, const struct load_common *common, struct err *err) must_check;
/* load_options.c. out borrows path, and env's options. */
void load_warehouse_options(const struct role_env *env, char path[4096], struct warehouse_options *out);
/* Loads the engine's library, where the warehouse is a file: a role without it is not ready, and a reload or an upgrade that
 * would go on without it goes back. ERR_INPUT: as duckdb_load. */
int load_library_check(const struct role_env *env, struct err *err) must_check;

#endif
