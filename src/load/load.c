/* load/load.c - the loop of the role: fill a batch, commit it, wait.
 *
 * When to commit: after batch_wait since the batch's first row, or at batch_rows. A commit costs about two
 * milliseconds and a sync whatever is in it, so a quarter of a second between them leaves loading more
 * than a hundred times cheaper than a commit a row, and is well below what a person waits for.
 * Full row groups of events are half as dear as the same rows through the write-ahead log (warehouse.h), so a batch may wait for one
 * to be full, and then ends just there (batch_due.h). Where people come fast they wait for groups of their own (people_wait.h).
 *
 * A warehouse may ask for fewer and larger batches (warehouse_pace_us), or for an end now (warehouse_full). One without
 * transactions may say that a batch was begun: then that one is made again, from the same places to the same places.
 *
 * All trouble goes one way: roll back, wait if waiting can help, ask the warehouse where it really is, go
 * on from there. There is no state to repair, because the rows and the place are one transaction. */
#include "load/load.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metric.h"
#include "base/say.h"
#include "load/batch_due.h"
#include "load/follow.h"
#include "load/keeper.h"
#include "load/load_metrics.h"
#include "load/load_units.h"
#include "load/query_socket.h"
#include "load/rebuild.h"
#include "log/log_access.h"

enum {
    CATCH_UP_REST = 4,            /* of catch_up_rows: so little is no backlog any more */
    CATCH_UP_BATCHES = 4,         /* of batch_rows, in one transaction meanwhile: nothing is filled while it commits */
    WAIT_US = 50000,              /* between looks at the topics and at the stop signal */
    STORE_EVERY_US = 200000,      /* the log's copy of the cursors: for retention, and for ingest, which slows imports by it */
    REWRITE_WAIT_US = 2000000, REWRITE_RETRY_US = 60000000, REBUILD_LOOK_US = 500000,
    BACKOFF_US_MIN = 1000000, BACKOFF_US_MAX = 30000000
};

/* --- the loader -------------------------------------------------------------------------------- */

struct load {
    const struct role_env     *env;
    const struct load_options *options;
    const struct load_common  *common;    /* NULL: none; then what follows is ours */
    struct metric_page        *page;
    struct log                *log;
    struct log_access          log_access;
    struct keeper             *keeper;
    struct query_socket       *queries;
    struct warehouse          *warehouse; /* NULL: we are no user of it now */
    struct poison             *poison;
    struct watch              *watch;     /* of common's; NULL: none */
    struct follow              follow;
    bool                       placed;    /* follow stands where the warehouse is */
    struct warehouse_place     place;     /* as last committed */
    size_t                     rows_max;  /* below batch_rows while a row is looked for that spoils its batch */
    int64_t                    begun_us;  /* the open batch's first row; 0: it is empty */
    int64_t                    committed_us; /* the last batch; 0: none yet */
    size_t                     tried;     /* rows in the batch that the last step worked on */
    int64_t                    work_us;   /* last time there was anything to do */
    int64_t                    people_us; /* people are not looked at before */
    int64_t                    store_us;
    int64_t                    rebuild_us; /* whether a new warehouse is asked for is not looked at before */
    int64_t                    backoff_us;
    bool                       troubled;
    bool                       backlog;     /* what waited at the start is not loaded yet */
    bool                       catching_up; /* and several threads load it */
    uint64_t                   lag_told[FOLLOW_TOPICS]; /* as the metrics have it of this loader */
};

static bool stop_wanted(const struct load *load, int64_t wait_us)
{
    struct pollfd stop = { load->env->stop_fd, POLLIN, 0 };

    return poll(&stop, 1, (int)(wait_us / 1000)) > 0;
}

/* --- trouble ----------------------------------------------------------------------------------- */

static void load_leave(struct load *load)
{
    if (load->warehouse != NULL)
        keeper_done(load->keeper);
    load->warehouse = NULL;
    load->placed = false;
}

static void load_rollback(struct load *load)
{
    if (load->warehouse != NULL)
        warehouse_rollback(load->warehouse);
    poison_end(load->poison, NULL);
    load->begun_us = 0;
    load->follow.live = 0;
}

/* A batch was refused for what is in it: half of it next time, until the one row is known. False when not
 * even that row's dead letter is taken: then it is not the row. */
static bool load_narrow(struct load *load, const struct err *err)
{
    if (load->tried > 1) {
        load->rows_max = load->tried / 2;
        return true;
    }
    if (!follow_skip(&load->follow))
        return false;
    say(SAY_WARN, "a row is set aside as a dead letter: %s", err->text);
    return true;
}

static void load_trouble(struct load *load, const struct err *err)
{
    metric_add(load->page, (size_t)METRIC_ERRORS + err->kind - ERR_INPUT, 1);
    load_rollback(load);
    load->placed = false;
    if (err->kind == ERR_INPUT && load->tried > 0 && load_narrow(load, err)) {
        load->backoff_us = 0;
        return;
    }
    if (!load->troubled)
        say(SAY_ERROR, "the warehouse cannot be filled; rows wait in the log and nothing is lost; trying again every 1 to "
                       "30 s: %s", err->text);
    load->troubled = true;
    metric_set(load->page, METRIC_TROUBLED, 1);
    if (err->kind == ERR_STOP || err->kind == ERR_CORRUPT) {
        load_leave(load);
        keeper_shut(load->keeper, err->kind == ERR_CORRUPT);
    }
    load->backoff_us = load->backoff_us == 0 ? BACKOFF_US_MIN : load->backoff_us * 2;
    if (load->backoff_us > BACKOFF_US_MAX)
        load->backoff_us = BACKOFF_US_MAX;
}

static void load_recovered(struct load *load)
{
    if (load->troubled)
        say(SAY_INFO, "the warehouse is being filled again");
    load->troubled = false;
    load->backoff_us = 0;
    metric_set(load->page, METRIC_TROUBLED, 0);
}

/* --- batches ----------------------------------------------------------------------------------- */

/* The file still holds bytes of rows that went: now or from before (X2 of eraser.h). A copy takes its time, so it waits a
 * little for further orders. */
static void note_rewrite(struct load *load, bool wanted, int64_t now_us)
{
    if (wanted)
        load->follow.eraser.rewrite_us = now_us + REWRITE_WAIT_US;
}

/* What waited at the start, or is loaded anew, is worth more threads until little is left. What piles up later is not: the other roles
 * are at work. Between batches. */
static void load_catch_up(struct load *load, bool begin)
{
    uint64_t lag = 0, much = (uint64_t)load->options->catch_up_rows;
    bool     was = load->catching_up;

    for (int i = 0; i < FOLLOW_TOPICS; i++)
        lag += follow_lag(&load->follow, i);
    load->backlog = begin ? lag >= much : lag >= much / CATCH_UP_REST;
    load->catching_up = load->backlog && !load->place.again && !poison_hurries(load->poison);
    if (begin || load->catching_up != was)
        warehouse_hurry(load->warehouse, load->catching_up);
}

/* Becomes a user of the warehouse and stands where it is. */
static int load_place(struct load *load, struct err *err)
{
    bool rewrite;

    watch_step(load->watch, "asks the warehouse where it is", clock_mono_us());
    if (load->warehouse == NULL && keeper_use(load->keeper, &load->warehouse, err) < 0) {
        load->warehouse = NULL;
        return -1;
    }
    if (warehouse_wants_rewrite(load->warehouse, &rewrite, err) < 0)
        return -1;
    note_rewrite(load, rewrite && load->follow.eraser.rewrite_us == 0, clock_mono_us());
    if (warehouse_place(load->warehouse, &load->place, err) < 0)
        return -1;
    watch_step(load->watch, "finds its place in its log", clock_mono_us());
    if (follow_seek(&load->follow, &load->place, err) < 0)
        return -1;
    poison_end(load->poison, load->place.next);
    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        bool     blind = false;
        uint64_t condemned = poison_condemned(load->poison, i, &blind);

        if (condemned != POISON_NONE)
            follow_condemn(&load->follow, i, condemned, blind);
    }
    load->placed = true;
    load_catch_up(load, true);
    return 0;
}

static void load_rewrite(struct load *load, int64_t now_us)
{
    static struct say_gate gate;
    struct eraser         *eraser = &load->follow.eraser;
    struct err             err = { .kind = ERR_NONE };

    if (eraser->rewrite_us == 0 || now_us < eraser->rewrite_us || load->begun_us != 0 || eraser->waiting)
        return;
    load_leave(load);
    if (keeper_rewrite(load->keeper, &err) == 0) {
        eraser->rewrite_us = 0;
        say(SAY_INFO, "the warehouse was written anew: what was erased is in no byte of it any more");
        return;
    }
    eraser->rewrite_us = now_us + REWRITE_RETRY_US;
    say_seldom(&gate, SAY_WARN, "the warehouse could not be written anew, and still holds bytes of what was erased; trying "
                                "again: %s", err.text);
}

static int rebuild(void *ctx, struct err *err)
{
    struct load *load = ctx;
    char         mark[REBUILD_MARK_BYTES];
    int          rc = rebuild_asked(load->env->data_folder, mark, err);

    if (rc <= 0)
        return rc;
    if (follow_begin_anew(&load->follow, err) < 0 || (rc = rebuild_do(load->env->data_folder, mark, err)) < 0)
        return -1;
    say(SAY_INFO, "the warehouse is built anew from the log; %s%s", rc > 0 ? "what it was is warehouse.duckdb" : "there was none", rc > 0 ? mark : "");
    return 0;
}

/* Somebody asked for a new warehouse: what is in the open batch comes again with everything else. */
static void load_rebuild(struct load *load, int64_t now_us)
{
    static struct say_gate gate;
    char                   mark[REBUILD_MARK_BYTES];
    struct err             err = { .kind = ERR_NONE };
    int                    asked = 0;

    if (now_us < load->rebuild_us)
        return;
    load->rebuild_us = now_us + REBUILD_LOOK_US;
    asked = rebuild_asked(load->env->data_folder, mark, &err);
    if (asked > 0) {
        load_rollback(load);
        load_leave(load);
        asked = keeper_alone(load->keeper, rebuild, load, &err);
        load->work_us = now_us;
    }
    if (asked < 0) {
        load->rebuild_us = now_us + REWRITE_RETRY_US;
        say_seldom(&gate, SAY_ERROR, "the warehouse was to be built anew, which is tried again in a minute: %s", err.text);
    }
}

static int load_commit(struct load *load, struct err *err)
{
    struct warehouse_place before = load->place;
    int64_t                start_us = clock_mono_us(), took_us;
    size_t                 rows_usual = (size_t)load->options->batch_rows * (load->catching_up ? CATCH_UP_BATCHES : 1);

    watch_step(load->watch, "commits a batch to the warehouse", start_us);
    load->tried = warehouse_pending(load->warehouse); /* a commit that fails forgets them */
    for (int i = 0; i < FOLLOW_TOPICS; i++)
        load->place.next[i] = load->place.again ? load->place.until[i] : load->follow.topics[i].next;
    if (load->follow.crash_commit)
        abort(); /* asked for by a test */
    if (warehouse_commit(load->warehouse, &load->place, err) < 0) {
        if (warehouse_in_doubt(load->warehouse))
            keeper_abandon(load->poison, err);
        return -1;
    }
    poison_end(load->poison, load->place.next);
    load->placed = !before.again; /* from here on topics have no end: sought anew */
    took_us = clock_mono_us() - start_us;
    watch_moved(load->watch, start_us + took_us);
    load_metrics_batch(load->page, &before, &load->place, &load->follow.counts, took_us);
    load->follow.counts = (struct follow_counts){ .unreadable = 0 };
    if (load->place.next[FOLLOW_PEOPLE] != before.next[FOLLOW_PEOPLE])
        load->people_us = start_us + took_us + load->options->people_wait_us;
    load->committed_us = start_us + took_us;
    load->begun_us = 0;
    load->follow.live = 0;
    load->rows_max = load->rows_max * 2 < rows_usual ? load->rows_max * 2 : rows_usual;
    load_recovered(load);
    if (load->backlog && load->placed)
        load_catch_up(load, false);
    return 0;
}

/* Everything before the order is committed, then the order, in a batch of its own. */
static int load_erase(struct load *load, struct err *err)
{
    if (warehouse_pending(load->warehouse) > 0 && load_commit(load, err) < 0)
        return -1;
    if (follow_erase(&load->follow, load->warehouse, clock_wall_us(), err) < 0 || load_commit(load, err) < 0)
        return -1;
    note_rewrite(load, !warehouse_on_clickhouse(stores_warehouse(load->env->stores)), clock_mono_us());
    load->work_us = clock_mono_us();
    return 0;
}

/* Pending rows at which a topic's turn ends: events stop where a row group is full. */
static size_t load_fill_max(const struct load *load, int topic)
{
    size_t pending = warehouse_pending(load->warehouse), most = load->rows_max, group_max;

    if (load->place.again)
        return SIZE_MAX;
    group_max = pending + WAREHOUSE_GROUP_ROWS - warehouse_pending_of(load->warehouse, ROW_EVENT) % WAREHOUSE_GROUP_ROWS;
    if (topic == FOLLOW_EVENTS && group_max < most)
        most = group_max;
    return poison_limit(load->poison, topic, load->follow.topics[topic].next, pending, most);
}

/* Persons and ids stay in the log for now. */
static bool load_people_wait(struct load *load, int64_t now_us)
{
    bool gather = !load->catching_up && !warehouse_on_clickhouse(stores_warehouse(load->env->stores));

    return !poison_hurries(load->poison) && !load->place.again &&
           (now_us < load->people_us ||
            (gather && follow_people_wait(&load->follow, &load->place, now_us - load->people_us + load->options->people_wait_us)));
}

/* One look at every topic. 1: there may be more; 0: all was taken. */
static int load_fill(struct load *load, int64_t now_us, struct err *err)
{
    int more = 0, rc;

    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        if (i == FOLLOW_PEOPLE && load_people_wait(load, now_us))
            continue;
        rc = follow_fill(&load->follow, i, load->warehouse, load_fill_max(load, i), clock_wall_us(), err);
        if (rc < 0)
            return -1;
        more |= rc;
    }
    return more;
}

static bool load_behind(struct load *load, int64_t now_us)
{
    bool behind = false;

    for (int i = 0; i < FOLLOW_TOPICS; i++) {
        uint64_t lag = follow_lag(&load->follow, i);

        if (load_lag_metric[i] != 0)
            metric_add(load->page, load_lag_metric[i], lag - load->lag_told[i]); /* modulo 2^64; those of several loaders add up */
        load->lag_told[i] = lag;
        behind = behind || (lag > 0 && (i != FOLLOW_PEOPLE || now_us >= load->people_us));
    }
    return behind;
}

static bool load_due(const struct load *load, int64_t now_us)
{
    const struct batch_due batch = { .events = warehouse_pending_of(load->warehouse, ROW_EVENT), .live = load->follow.live,
                                     .age_us = now_us - load->begun_us, .rest_us = load->committed_us == 0 ? -1 : now_us - load->committed_us,
                                     .wait_us = load->options->batch_wait_us, .pace_us = warehouse_pace_us(load->warehouse) };

    if (load->place.again)
        return follow_ended(&load->follow);
    return warehouse_pending(load->warehouse) >= load->rows_max || warehouse_full(load->warehouse) || poison_hurries(load->poison) ||
           batch_is_due(&batch);
}

/* Of what the log erased there is no row, and so no commit: who is suspected waits for none. */
static void load_pass_erased(struct load *load)
{
    uint64_t next[POISON_TOPICS] = { 0 };

    if (!poison_hurries(load->poison) || warehouse_pending(load->warehouse) > 0)
        return;
    for (int i = 0; i < FOLLOW_TOPICS; i++)
        next[i] = load->follow.topics[i].next;
    poison_end(load->poison, next);
}

static int load_work_alone(struct load *load, int64_t now_us, struct err *err)
{
    int more, due;

    load->tried = 0;
    if (!load->placed && load_place(load, err) < 0)
        return -1;
    watch_step(load->watch, "reads from its log", clock_mono_us());
    more = load_fill(load, now_us, err);
    if (more < 0) {
        load->tried = warehouse_pending(load->warehouse);
        return -1;
    }
    load_pass_erased(load);
    if ((due = follow_erase_due(&load->follow, load->warehouse, now_us, err)) != 0)
        return due < 0 || load_erase(load, err) < 0 ? -1 : 1;
    if (warehouse_pending(load->warehouse) == 0 && !(load->place.again && follow_ended(&load->follow)))
        return 0;
    load->work_us = now_us;
    if (load->begun_us == 0)
        load->begun_us = now_us;
    if (!load_due(load, clock_mono_us()) && (more || !load->catching_up)) /* who catches up waits for nobody at the end */
        return more;
    return load_commit(load, err) < 0 ? -1 : 1;
}

/* Fills and commits what is there. 1: go on at once; 0: wait. A process has one death for all its loaders: which row ends it
 * is tried while the others rest. */
static int load_work(struct load *load, int64_t now_us, struct err *err)
{
    pthread_rwlock_t *turn = load->common != NULL ? load->common->turn : NULL;
    int               rc;

    watch_step(load->watch, "waits until its process's other units let it work", clock_mono_us());
    if (turn != NULL && poison_hurries(load->poison))
        pthread_rwlock_wrlock(turn);
    else if (turn != NULL)
        pthread_rwlock_rdlock(turn);
    rc = load_work_alone(load, now_us, err);
    if (turn != NULL)
        pthread_rwlock_unlock(turn);
    return rc;
}

/* --- idle -------------------------------------------------------------------------------------- */

static void load_store(struct load *load, int64_t now_us)
{
    static struct say_gate gate;
    struct err             err;

    if (load->begun_us != 0 || !load->placed || now_us < load->store_us)
        return;
    load->store_us = now_us + STORE_EVERY_US;
    if (follow_store(&load->follow, &err) < 0)
        say_seldom(&gate, SAY_WARN, "the log keeps more than it must: %s", err.text);
}

static void load_idle(struct load *load, int64_t now_us)
{
    uint64_t answered, failed;

    if (load->queries != NULL) {
        query_socket_counts(load->queries, &answered, &failed);
        metric_add(load->page, METRIC_ANSWERED, answered - metric_get(load->page, METRIC_ANSWERED));
        metric_add(load->page, METRIC_FAILED, failed - metric_get(load->page, METRIC_FAILED));
    }
    metric_add(load->page, METRIC_REBUILDS, keeper_rebuilds(load->keeper) - metric_get(load->page, METRIC_REBUILDS));
    if (load->warehouse != NULL && now_us - load->work_us >= load->options->idle_us) {
        keeper_done(load->keeper); /* follow stays where it is: the place in memory is the place in the file */
        load->warehouse = NULL;
    }
    keeper_rest(load->keeper, now_us, load->options->idle_us);
}

/* A wait ends early when events arrive; the other topics are looked at when it ends. */
static void load_wait(struct load *load)
{
    struct log_reader *events = load->follow.topics[FOLLOW_EVENTS].reader;

    if (events == NULL || !load->placed || poison_hurries(load->poison)) /* events may have to wait for other topics then */
        (void)stop_wanted(load, WAIT_US);
    else
        (void)log_reader_wait(events, WAIT_US);
}

static int load_loop(struct load *load, struct err *err)
{
    /* Opened at once: a missing library or a damaged file is told at the start and not with the first row. */
    if (load_place(load, err) < 0 && err->kind == ERR_INPUT)
        return -1;
    if (!load->placed)
        load_trouble(load, err);
    while (!stop_wanted(load, 0)) {
        int64_t now_us = clock_mono_us();
        int     rc = 0;

        load_rebuild(load, now_us);
        if (!load->placed || load->begun_us != 0 || load_behind(load, now_us)) {
            if (load->warehouse == NULL)
                load->placed = false; /* closed meanwhile: ask it again where it is */
            rc = load_work(load, now_us, err);
        } else {
            watch_moved(load->watch, now_us);
        }
        if (rc < 0) {
            watch_step(load->watch, "waits after a failed batch", clock_mono_us());
            load_trouble(load, err);
            if (load->backoff_us > 0 && stop_wanted(load, load->backoff_us))
                break;
            continue;
        }
        load_metrics_works(load->page, watch_works(load->watch, load->env->unit, clock_mono_us()));
        load_store(load, now_us);
        load_rewrite(load, now_us);
        load_idle(load, now_us);
        if (rc == 0 || load->begun_us != 0)
            load_wait(load);
    }
    if (load->common != NULL && load->common->keeper == NULL) { /* the unit goes on elsewhere: sooner than after one more commit */
        load->placed = load->placed && load->begun_us == 0;
        load_rollback(load);
    } else if (load->placed && load->begun_us != 0 && (!load->place.again || follow_ended(&load->follow)) && load_commit(load, err) < 0)
        say(SAY_WARN, "the last batch is loaded at the next start: %s", err->text);
    load->store_us = 0;
    load_store(load, clock_mono_us());
    return 0;
}

/* --- the role ---------------------------------------------------------------------------------- */

/* What is common's, or ours alone. */
static int load_open_ends(struct load *load, struct err *err)
{
    if (load->common != NULL) {
        load->page = load->common->page;
        load->log = load->common->log;
        return 0;
    }
    if (load_metrics_open(load->env->run_folder, &load->page, err) < 0 ||
        log_access_init(&load->log_access, load->env->data_folder, stores_log(load->env->stores), NULL, false, err) < 0 ||
        log_open(&load->log_access.options, &load->log, err) < 0)
        return -1;
    return 0;
}

static int load_open(struct load *load, const struct warehouse_options *warehouse, struct err *err)
{
    struct query_socket_options queries = { .run_folder = load->env->run_folder, .run = keeper_query,
                                            .queries_max = (unsigned)load->options->queries, .time_us_max = load->options->query_time_us };
    const char                 *crash_on = getenv("PENSTOCK_CRASH_LOAD_ON"); /* for tests only: docs/dead-letters.md */

    if (load_open_ends(load, err) < 0)
        return -1;
    follow_init(&load->follow, load->log, load->env->unit);
    if (poison_open(load->env->run_folder, warehouse_on_clickhouse(stores_warehouse(load->env->stores)), &load->poison, err) < 0)
        return -1;
    load->follow.poison = load->poison;
    load->follow.crash_on = crash_on == NULL ? SPAN("") : span_text(crash_on);
    load->keeper = load->common != NULL && load->common->keeper != NULL ? load->common->keeper : keeper_new(warehouse);
    if (load->keeper == NULL)
        return err_set(err, ERR_FULL, "no memory for the warehouse's keeper");
    queries.ctx = load->keeper;
    load_rebuild(load, clock_mono_us()); /* N3 */
    return load->common != NULL ? 0 : query_socket_open(&queries, &load->queries, err);
}

static void load_close(struct load *load)
{
    query_socket_close(load->queries);
    load_leave(load);
    if (load->common == NULL || load->common->keeper == NULL)
        keeper_free(load->keeper);
    if (load->log != NULL)
        follow_fini(&load->follow);
    for (int i = 0; load->common != NULL && i < FOLLOW_TOPICS; i++)
        if (load_lag_metric[i] != 0)
            metric_add(load->page, load_lag_metric[i], 0 - load->lag_told[i]);
    poison_close(load->poison);
    if (load->common == NULL && load->log != NULL)
        log_close(load->log);
    if (load->common == NULL && load->page != NULL)
        metric_page_close(load->page);
}

int load_run_unit(const struct role_env *env, const struct load_common *common, struct err *err)
{
    const struct load_options *opt = env->options;
    struct load                load = { .env = env, .options = opt, .common = common, .rows_max = (size_t)opt->batch_rows,
                                        .watch = common != NULL ? &common->watches[env->unit] : NULL };
    struct warehouse_options   warehouse;
    char                       path[4096];
    int                        rc;

    load_warehouse_options(env, path, &warehouse);
    rc = load_open(&load, &warehouse, err);
    if (rc == 0 && common == NULL)
        role_tell(env, ROLE_READY);
    if (rc == 0)
        rc = load_loop(&load, err);
    load_close(&load);
    return rc;
}

static int load_run(const struct role_env *env, struct err *err)
{
    return load_library_check(env, err) < 0 ? -1 : log_on_kafka(stores_log(env->stores)) ? load_units_run(env, err) : load_run_unit(env, NULL, err);
}

const struct role load_role = {
    .name = "load",
    .help = "Fills the warehouse from the log, and answers SQL while it runs",
    .options = load_option_table,
    .options_bytes = sizeof(struct load_options),
    .run = load_run,
};
