/* ingest/ingest.h - the role that turns accepted events into finished rows.
 *
 * Reads `raw` and the other topics of inputs.h; writes the topics of outputs.h; owns DIR/people. A batch
 * is everything that is there, up to a bound: one event when it is quiet, thousands under load.
 *
 *   take a batch -> passes (passes.h) -> append rows, sync -> commit {people, ids, place} -> publish -> cursor
 *
 *  I1  exactly once: the commit is the only moment at which anything happened. Killed before it, the rows
 *      are cut and the batch begins anew; killed after it, the rows are published at the next start
 *  I2  records consumed = the sum of all fates and of those moved to `raw_overflow`, in every committed state
 *      (fate.h)
 *  I3  trouble with disk or store is waited out: nothing is skipped, nothing is lost
 *  I4  an event that ends the process is taken alone and, the third time, becomes a dead letter */
#ifndef PENSTOCK_INGEST_INGEST_H
#define PENSTOCK_INGEST_INGEST_H

#include <pthread.h>

#include "base/metric.h"
#include "base/role.h"
#include "log/log.h"
#include "people/people.h"

struct watch;

extern const struct role ingest_role;

struct ingest_options {
    int64_t     batch_records;
    int64_t     batch_bytes;
    int64_t     people_memory;
    int64_t     output_retention_us;
    const char *geoip_folder;
    int64_t     overflow_burst, overflow_per_second;
    int64_t     merge_ids_max;
    int64_t     joins_per_hour_max;
    int64_t     undo_window_us;
    int64_t     threads;
};

extern const struct option ingest_option_table[];

/* The role without its loop, for tests and measurements. */
struct ingest;

/* Once in a process: batches get their memory back instead of giving it to the kernel. */
void ingest_keep_memory(void);
int  ingest_open(const struct role_env *env, struct ingest **out, struct err *err) must_check;
/* What the units of a process (units.h) have in common; borrowed. NULL of the whole, as of a part: each its own. */
struct ingest_common {
    struct log         *log;
    struct metric_page *metrics;
    const char         *metrics_folder; /* of pages that a unit has alone */
    pthread_rwlock_t   *turn;           /* shared while a batch is in work; alone for suspects (attempt.h A1) */
    unsigned            units;          /* that share the machine's threads */
    struct watch       *watches;        /* one a unit */
};
int  ingest_open_unit(const struct role_env *env, const struct ingest_common *common, struct ingest **out, struct err *err) must_check;
/* Batch after batch until env->stop_fd. 0: it was asked to stop. */
int  ingest_work(struct ingest *ingest, struct err *err) must_check;
void ingest_close(struct ingest *ingest);
/* Why ingest_work failed, with ERR_RETRY: the store has lost commits (people_went_back), and what is open knows things that are not so. Close,
 * and open anew. */
bool ingest_went_back(const struct ingest *ingest);
/* Takes and finishes one batch: 1 done, 0 there was nothing, or it may wait (lanes.h), -1 it failed and nothing
 * has happened.
 * After -1 call ingest_recover before the next step. */
int ingest_step(struct ingest *ingest, struct err *err) must_check;
/* Back to the last committed state. ERR_CORRUPT, ERR_INPUT: it cannot be reached. */
int ingest_recover(struct ingest *ingest, struct err *err) must_check;
/* Records that wait in all inputs. */
uint64_t ingest_lag(const struct ingest *ingest);
const struct people_place *ingest_place(const struct ingest *ingest);
/* CPU microseconds of all threads by part since the start: normalise, seen, people, render, finish, sync, commit. */
enum { INGEST_PARTS = 7 };
const int64_t *ingest_spent_us(const struct ingest *ingest);

#endif
