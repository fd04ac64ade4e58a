/* load/load_units.c - see load_units.h. */
#include "load/load_units.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/role_unit.h"
#include "base/say.h"
#include "load/load_metrics.h"
#include "load/query_socket.h"
#include "log/log_access.h"
#include "log/log_units.h"

struct units {
    const struct role_env   *env;
    struct load_common       common;
    struct log_access        access;
    pthread_rwlock_t         turn;
    struct warehouse_options warehouse; /* of the keeper for queries */
    char                     path[4096];
    struct keeper           *keeper;
    struct query_socket     *queries;
};

static int unit_run(void *ctx, uint32_t partition, int stop_fd, struct err *err)
{
    struct units   *units = ctx;
    struct role_env env;
    char            folder[ROLE_UNIT_FOLDER_BYTES];
    int             rc;

    if (role_unit_env(units->env, "load", partition, stop_fd, folder, &env, err) < 0)
        return -1;
    watch_begin(&units->common.watches[partition], "opens its log", clock_mono_us());
    rc = load_run_unit(&env, &units->common, err);
    watch_end(&units->common.watches[partition]);
    return rc;
}

static void units_gave(void *ctx, int64_t took_us)
{
    struct units *units = ctx;

    metric_observe(units->common.page, METRIC_HANDED_OVER, (double)took_us / 1e6);
}

static void units_ready(void *ctx)
{
    struct units *units = ctx;

    role_tell(units->env, ROLE_READY);
}

static void units_look(void *ctx)
{
    struct units *units = ctx;

    metric_set(units->common.page, METRIC_STILL, watch_tell(units->common.watches, log_partitions(units->common.log), clock_mono_us()));
}

static int units_open(struct units *units, struct err *err)
{
    const struct role_env            *env = units->env;
    const struct load_options        *options = env->options;
    struct query_socket_options       queries = { .run_folder = env->run_folder, .run = keeper_query,
                                                  .queries_max = (unsigned)options->queries, .time_us_max = options->query_time_us };

    if (load_metrics_open(env->run_folder, &units->common.page, err) < 0 ||
        log_access_init(&units->access, env->data_folder, stores_log(env->stores), NULL, false, err) < 0 ||
        log_open(&units->access.options, &units->common.log, err) < 0)
        return -1;
    if (log_prepare(units->common.log, NULL, 0, NULL, err) < 0)
        say(SAY_DEBUG, "brokers are asked when a unit comes: %s", err->text);
    load_warehouse_options(env, units->path, &units->warehouse);
    units->keeper = keeper_new(&units->warehouse);
    units->common.watches = calloc(log_partitions(units->common.log), sizeof *units->common.watches);
    if (units->keeper == NULL || units->common.watches == NULL)
        return err_set(err, ERR_FULL, "no memory for the warehouse's keeper and %u units", log_partitions(units->common.log));
    queries.ctx = units->keeper;
    if (!warehouse_on_clickhouse(stores_warehouse(env->stores))) {
        if (log_partitions(units->common.log) > 1)
            return err_set(err, ERR_INPUT, "log.partitions is %u, but a DuckDB is filled from one: set warehouse.backend: clickhouse, or log.partitions: 1",
                           log_partitions(units->common.log));
        units->common.keeper = units->keeper; /* one process opens the file once */
    }
    return query_socket_open(&queries, &units->queries, err);
}

int load_units_run(const struct role_env *env, struct err *err)
{
    struct units                units = { .env = env };
    const struct log_units_work work = { .run = unit_run, .ready = units_ready, .look = units_look, .gave = units_gave, .ctx = &units };
    int                         rc;

    role_unit_turn_init(&units.turn);
    units.common.turn = &units.turn;
    rc = units_open(&units, err);
    if (rc == 0)
        rc = log_units_run(units.common.log, "load", follow_topics[FOLLOW_EVENTS], &work, env->stop_fd, err);
    query_socket_close(units.queries);
    keeper_free(units.keeper);
    if (units.common.log != NULL)
        log_close(units.common.log);
    if (units.common.page != NULL)
        metric_page_close(units.common.page);
    pthread_rwlock_destroy(&units.turn);
    free(units.common.watches);
    return rc;
}
