/* ingest/units.c - see units.h. */
#include "ingest/units.h"

#include <stdlib.h>

#include "base/role_unit.h"
#include "base/say.h"
#include "base/watch.h"
#include "ingest/ingest_metrics.h"
#include "ingest/outputs.h"
#include "log/log_access.h"
#include "log/log_carry.h"
#include "log/log_units.h"

enum {
    AGAIN_MS_MIN = 100,
    AGAIN_MS_MAX = 5000,
    STOPS_MAX = 20 /* openings in a row that ended with ERR_STOP, as batches do (ingest_loop.c): let the supervisor start us anew */
};

struct units {
    const struct role_env *env;
    struct ingest_common   common;
    struct log_access      access;
    pthread_rwlock_t       turn;
    struct watch          *watches; /* common.units of them */
    struct log_carry      *carry;   /* NULL: no further topics */
};

/* Opens and works; a store or brokers that are away are waited for, since other units work on meanwhile. What this process cannot do is
 * not tried for ever: a new one may. */
static int unit_run(void *ctx, uint32_t partition, int stop_fd, struct err *err)
{
    struct units   *units = ctx;
    struct role_env env;
    struct ingest  *ingest;
    char            folder[ROLE_UNIT_FOLDER_BYTES];
    int             wait_ms = AGAIN_MS_MIN;
    unsigned        stops = 0;

    if (role_unit_env(units->env, "ingest", partition, stop_fd, folder, &env, err) < 0)
        return -1;
    watch_begin(&units->watches[partition], "begins", clock_mono_us());
    while (!log_units_stopped(stop_fd, 0)) {
        if (ingest_open_unit(&env, &units->common, &ingest, err) == 0) {
            int  rc = ingest_work(ingest, err);
            bool anew = rc < 0 && ingest_went_back(ingest);

            if (!anew)
                watch_end(&units->watches[partition]);
            ingest_close(ingest);
            if (!anew)
                return rc;
            say(SAY_WARN, "unit %u: %s", partition, err->text);
            if (log_rows_upstream(stores_log(env.stores)))
                say(SAY_ERROR, "unit %u: rows of the lost commits stand in PostHog's topics: what changes of their persons, ids and groups is hidden there "
                    "until its versions are above theirs: docs/replace-posthog.md", partition);
            wait_ms = AGAIN_MS_MIN;
            stops = 0;
            continue;
        }
        stops = err->kind == ERR_STOP ? stops + 1 : 0;
        if (err->kind == ERR_INPUT || err->kind == ERR_CORRUPT || stops > STOPS_MAX)
            return -1;
        say(SAY_WARN, "unit %u: %s; trying again in %.1f s", partition, err->text, (double)wait_ms / 1000);
        watch_step(&units->watches[partition], "waits to open anew", clock_mono_us());
        (void)log_units_stopped(stop_fd, wait_ms);
        wait_ms = wait_ms * 2 < AGAIN_MS_MAX ? wait_ms * 2 : AGAIN_MS_MAX;
    }
    watch_end(&units->watches[partition]);
    return 0;
}

static void units_look(void *ctx)
{
    struct units *units = ctx;

    ingest_metrics_still(units->common.metrics, watch_tell(units->watches, units->common.units, clock_mono_us()));
}

static void units_gave(void *ctx, int64_t took_us)
{
    struct units *units = ctx;

    ingest_metrics_unit(units->common.metrics, false, took_us);
}

static void units_ready(void *ctx)
{
    struct units *units = ctx;

    role_tell(units->env, ROLE_READY);
}

static void units_carried(void *ctx, uint64_t messages)
{
    struct units *units = ctx;

    ingest_metrics_carried(units->common.metrics, messages);
}

static void units_further(void *ctx, uint64_t waiting)
{
    struct units *units = ctx;

    ingest_metrics_further(units->common.metrics, waiting);
}

static int units_carry(struct units *units, struct err *err)
{
    const char                    *from = stores_log(units->env->stores)->carry;
    const struct log_carry_options options = { .from = from, .to = input_topic(INPUT_RAW), .carried = units_carried,
                                              .waiting = units_further, .ctx = units };

    return from == NULL || from[0] == '\0' ? 0 : log_carry_start(units->common.log, &options, &units->carry, err);
}

static int units_open(struct units *units, struct err *err)
{
    const struct stores *stores = units->env->stores;
    uint32_t             count;

    if (ingest_metrics_open(units->env->run_folder, &units->common.metrics, err) < 0 ||
        log_access_init(&units->access, units->env->data_folder, stores_log(stores), NULL, false, err) < 0 ||
        log_open(&units->access.options, &units->common.log, err) < 0)
        return -1;
    count = log_partitions(units->common.log);
    if (count > 1 && !people_on_postgres(stores_people(stores)))
        return err_set(err, ERR_INPUT, "log.partitions is %u, but one LMDB holds the persons of one: set people.backend: postgres, or log.partitions: 1",
                       count);
    if (outputs_prepare(units->common.log, ((const struct ingest_options *)units->env->options)->output_retention_us, err) < 0)
        say(SAY_DEBUG, "topics are looked at when a unit comes: %s", err->text);
    units->common.units = count;
    units->common.watches = units->watches = calloc(count, sizeof *units->watches);
    return units->watches == NULL ? err_set(err, ERR_FULL, "no memory for %u units", count) : units_carry(units, err);
}

int units_run(const struct role_env *env, struct err *err)
{
    struct units                units = { .env = env };
    const struct log_units_work work = { .run = unit_run, .ready = units_ready, .look = units_look, .gave = units_gave, .ctx = &units };
    int                         rc;

    role_unit_turn_init(&units.turn);
    units.common = (struct ingest_common){ .metrics_folder = env->run_folder, .turn = &units.turn };
    rc = units_open(&units, err);
    if (rc == 0)
        rc = log_units_run(units.common.log, "ingest", input_topic(INPUT_RAW), &work, env->stop_fd, err);
    log_carry_stop(units.carry);
    if (units.common.log != NULL)
        log_close(units.common.log);
    if (units.common.metrics != NULL)
        metric_page_close(units.common.metrics);
    pthread_rwlock_destroy(&units.turn);
    free(units.watches);
    return rc;
}
