/* ingest/units.c - see units.h. A thread a unit, and not one for all: a batch waits for the brokers and for the store, and who
 * waits should keep nobody else waiting. */
#include "ingest/units.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/say.h"
#include "ingest/ingest_metrics.h"
#include "log/log_access.h"
#include "log/log_group.h"

enum { AGAIN_MS_MIN = 100, AGAIN_MS_MAX = 5000 };

struct unit {
    struct units   *units;
    struct role_env env;
    char            folder[4096];
    int             stop_fd; /* an eventfd: -1 when it does not run */
    pthread_t       thread;
};

struct units {
    const struct role_env *env;
    struct ingest_common   common;
    struct log_access      access;
    pthread_rwlock_t       turn;
    struct unit           *at; /* by partition; @thread the group's */
    uint32_t               count;
    int                    failed_fd;
    pthread_mutex_t        lock;
    struct err             failed; /* @lock lock; of the first unit that did */
};

static void unit_failed(struct unit *unit, const struct err *err)
{
    const uint64_t one = 1;
    struct units  *units = unit->units;

    pthread_mutex_lock(&units->lock);
    if (units->failed.kind == ERR_NONE)
        units->failed = *err;
    pthread_mutex_unlock(&units->lock);
    if (write(units->failed_fd, &one, sizeof one) < 0) {
        /* it is signalled already */
    }
}

static bool stop_asked(int fd, int wait_ms)
{
    struct pollfd at = { .fd = fd, .events = POLLIN };

    return poll(&at, 1, wait_ms) > 0;
}

/* Opens and works; a store or brokers that are away are waited for, since others work on meanwhile. */
static void *unit_main(void *arg)
{
    struct unit   *unit = arg;
    struct ingest *ingest;
    struct err     err = { 0 };
    int            wait_ms = AGAIN_MS_MIN;

    while (!stop_asked(unit->stop_fd, 0)) {
        if (ingest_open_unit(&unit->env, &unit->units->common, &ingest, &err) == 0) {
            int rc = ingest_work(ingest, &err);

            ingest_close(ingest);
            if (rc < 0)
                unit_failed(unit, &err);
            return NULL;
        }
        if (err.kind == ERR_INPUT || err.kind == ERR_CORRUPT) {
            unit_failed(unit, &err);
            return NULL;
        }
        say(SAY_WARN, "unit %u: %s; trying again in %.1f s", unit->env.unit, err.text, (double)wait_ms / 1000);
        (void)stop_asked(unit->stop_fd, wait_ms);
        wait_ms = wait_ms * 2 < AGAIN_MS_MAX ? wait_ms * 2 : AGAIN_MS_MAX;
    }
    return NULL;
}

static int unit_begin(struct units *units, struct unit *unit, uint32_t partition, struct err *err)
{
    int rc;

    unit->units = units;
    unit->env = *units->env;
    unit->env.unit = partition;
    (void)snprintf(unit->folder, sizeof unit->folder, "%.4000s/ingest-%u", units->env->run_folder, partition);
    unit->env.run_folder = unit->folder;
    if (mkdir(unit->folder, 0750) < 0 && errno != EEXIST)
        return err_errno(err, errno, "make %.200s", unit->folder);
    unit->stop_fd = unit->env.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (unit->stop_fd < 0)
        return err_errno(err, errno, "eventfd");
    rc = pthread_create(&unit->thread, NULL, unit_main, unit);
    if (rc == 0)
        return 0;
    close(unit->stop_fd);
    unit->stop_fd = -1;
    return err_errno(err, rc, "start a unit's thread");
}

static void unit_start(void *ctx, uint32_t partition)
{
    struct units *units = ctx;
    struct err    err;

    if (partition >= units->count || units->at[partition].stop_fd >= 0)
        return;
    if (unit_begin(units, &units->at[partition], partition, &err) < 0) {
        units->at[partition].units = units;
        unit_failed(&units->at[partition], &err);
    } else {
        say(SAY_INFO, "unit %u is ours", partition);
    }
}

static void unit_stop(void *ctx, uint32_t partition)
{
    const uint64_t one = 1;
    struct units  *units = ctx;
    struct unit   *unit;

    if (partition >= units->count || units->at[partition].stop_fd < 0)
        return;
    unit = &units->at[partition];
    if (write(unit->stop_fd, &one, sizeof one) < 0) {
        /* it is signalled already */
    }
    pthread_join(unit->thread, NULL);
    close(unit->stop_fd);
    unit->stop_fd = -1;
    say(SAY_INFO, "unit %u is another's", partition);
}

static int units_open(struct units *units, struct err *err)
{
    const struct stores *stores = units->env->stores;

    if (ingest_metrics_open(units->env->run_folder, &units->common.metrics, err) < 0 ||
        log_access_init(&units->access, units->env->data_folder, stores_log(stores), NULL, false, err) < 0 ||
        log_open(&units->access.options, &units->common.log, err) < 0)
        return -1;
    units->count = log_partitions(units->common.log);
    if (units->count > 1 && !people_on_postgres(stores_people(stores)))
        return err_set(err, ERR_INPUT, "log.partitions is %u, but one LMDB holds the persons of one: set people.backend: postgres, or log.partitions: 1",
                       units->count);
    units->at = calloc(units->count, sizeof *units->at);
    if (units->at == NULL)
        return err_set(err, ERR_FULL, "no memory for %u units", units->count);
    for (uint32_t i = 0; i < units->count; i++)
        units->at[i].stop_fd = -1;
    units->failed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return units->failed_fd < 0 ? err_errno(err, errno, "eventfd") : 0;
}

static void units_close(struct units *units)
{
    if (units->common.log != NULL)
        log_close(units->common.log);
    if (units->common.metrics != NULL)
        metric_page_close(units->common.metrics);
    if (units->failed_fd >= 0)
        close(units->failed_fd);
    pthread_rwlock_destroy(&units->turn);
    pthread_mutex_destroy(&units->lock);
    free(units->at);
}

int units_run(const struct role_env *env, struct err *err)
{
    struct units                 units = { .env = env, .failed_fd = -1 };
    const struct log_group_calls calls = { .start = unit_start, .stop = unit_stop, .ctx = &units };
    struct log_group            *group = NULL;
    pthread_rwlockattr_t         writers_first;
    int                          rc;

    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&units.turn, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
    pthread_mutex_init(&units.lock, NULL);
    units.common = (struct ingest_common){ .metrics_folder = env->run_folder, .turn = &units.turn };
    rc = units_open(&units, err);
    units.common.units = units.count;
    if (rc == 0)
        rc = log_group_join(units.common.log, "ingest", input_topic(INPUT_RAW), &calls, &group, err);
    if (rc == 0) {
        struct pollfd ends[2] = { { .fd = env->stop_fd, .events = POLLIN }, { .fd = units.failed_fd, .events = POLLIN } };

        role_tell(env, ROLE_READY);
        while (poll(ends, 2, -1) <= 0)
            ;
        log_group_leave(group);
        if (units.failed.kind != ERR_NONE) {
            *err = units.failed;
            rc = -1;
        }
    }
    units_close(&units);
    return rc;
}
