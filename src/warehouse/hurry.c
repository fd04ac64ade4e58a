/* warehouse/hurry.c - many rows wait: the engine takes rows on several threads while the loader fills the next ones.
 *
 * In daily life the loader's thread does everything, because whatever is split between threads costs more CPU than it saves
 * time for, beside other roles on the same cores. When the warehouse is far behind, time is what counts. Then the loader fills
 * sets of chunks and gives them away; a thread here, the inserter, runs the inserts, and helpers run the parts into which the
 * engine splits them: each takes a set of its own, and compresses and writes its own row groups.
 *
 *   loader:  fill set -> give --queue--> inserter and helpers: take (feed.c) -> rows in the transaction -> set is free
 *
 * One insert takes sets of one table for as long as there are some, since its end, where each part's last row group is written
 * by one thread at a time, is what it cannot split. It waits a moment for the next set, and no longer than that: when a
 * part of an insert has failed, the others must end.
 * What fails is told by the next drain, which is the batch's commit.
 *
 * The engine is told at its opening that so many threads may come (external_threads): it plans for them, and starts none. It
 * splits an insert only for a connection that does not want rows in their order, and such an insert of few rows copies them
 * once more: so the hurry has a connection of its own. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "warehouse/engine.h"

enum {
    QUEUE_MAX = ROW_TABLE_COUNT * ENGINE_SETS, HELPERS_MAX = 7,
    TAKE_WAIT_US = 100000,
    OTHERS_MAX = 2        /* sets of other tables that wait behind an insert which could only wait itself */
};

struct engine_hurry {
    struct warehouse *warehouse; /* borrowed */
    pthread_mutex_t   lock;
    pthread_cond_t    changed;
    pthread_t         inserter, helpers[HELPERS_MAX];
    unsigned          helper_count;
    duckdb_task_state tasks;
    /* @lock lock, all that follows */
    struct engine_set *queue[QUEUE_MAX]; /* given and not taken, in the order of that */
    size_t             queued;
    bool               running;  /* an insert is */
    bool               closing;  /* it takes no more: all parts of it end together, or some would have nothing to do for the rest */
    bool               flush;    /* nothing more comes before it is done */
    bool               starving; /* the loader waits for a free set */
    bool               failed;   /* what is given is thrown away, until the drain that tells why */
    bool               over;
    struct err         failure;
};

/* --- sets -------------------------------------------------------------------------------------- */

static struct engine_set *queue_take(struct engine_hurry *hurry, size_t at)
{
    struct engine_set *set = hurry->queue[at];

    hurry->queued--;
    memmove(&hurry->queue[at], &hurry->queue[at + 1], (hurry->queued - at) * sizeof *hurry->queue);
    return set;
}

static struct engine_set *queue_take_of(struct engine_hurry *hurry, enum row_table id)
{
    for (size_t i = 0; i < hurry->queued; i++)
        if (hurry->queue[i]->table == id)
            return queue_take(hurry, i);
    return NULL;
}

/* The running insert should end rather than wait for another set of its table. */
static bool insert_ends(const struct engine_hurry *hurry)
{
    return hurry->closing || hurry->failed || hurry->flush || hurry->starving || hurry->queued >= OTHERS_MAX;
}

static void deadline_in(struct timespec *at, int64_t us)
{
    clock_gettime(CLOCK_MONOTONIC, at);
    at->tv_nsec += us * 1000;
    at->tv_sec += at->tv_nsec / 1000000000;
    at->tv_nsec %= 1000000000;
}

struct engine_set *engine_set_take(struct warehouse *warehouse, enum row_table id)
{
    struct engine_hurry *hurry = warehouse->hurry;
    struct engine_set   *set;
    struct timespec      deadline;

    if (hurry == NULL) {
        set = warehouse->tables[id].passed;
        warehouse->tables[id].passed = NULL;
        return set;
    }
    deadline_in(&deadline, TAKE_WAIT_US);
    pthread_mutex_lock(&hurry->lock);
    set = hurry->closing ? NULL : queue_take_of(hurry, id);
    while (set == NULL && !insert_ends(hurry) && pthread_cond_timedwait(&hurry->changed, &hurry->lock, &deadline) == 0)
        set = queue_take_of(hurry, id);
    hurry->closing = hurry->closing || set == NULL;
    pthread_mutex_unlock(&hurry->lock);
    return set;
}

void engine_set_done(struct warehouse *warehouse, struct engine_set *set)
{
    struct engine_hurry *hurry = warehouse->hurry;

    if (hurry == NULL)
        return;
    pthread_mutex_lock(&hurry->lock);
    set->away = false;
    pthread_cond_broadcast(&hurry->changed);
    pthread_mutex_unlock(&hurry->lock);
}

static struct engine_set *set_free(struct engine_table *table, unsigned threads)
{
    for (size_t i = 0; i < ENGINE_SETS && i < threads + 2; i++)
        if (!table->sets[i].away)
            return &table->sets[i];
    return NULL;
}

void engine_hurry_give(struct warehouse *warehouse, enum row_table id)
{
    struct engine_hurry *hurry = warehouse->hurry;
    struct engine_table *table = &warehouse->tables[id];

    pthread_mutex_lock(&hurry->lock);
    if (!hurry->failed) {
        table->set->away = true;
        hurry->queue[hurry->queued++] = table->set;
        pthread_cond_broadcast(&hurry->changed);
    }
    while ((table->set = set_free(table, warehouse->hurry_threads)) == NULL) {
        hurry->starving = true;
        pthread_cond_broadcast(&hurry->changed);
        pthread_cond_wait(&hurry->changed, &hurry->lock);
    }
    hurry->starving = false;
    pthread_mutex_unlock(&hurry->lock);
}

/* --- the inserter ------------------------------------------------------------------------------ */

/* No insert runs: whoever had taken a set has given it up. */
static void sets_free_all(struct engine_hurry *hurry)
{
    hurry->queued = 0;
    for (size_t i = 0; i < ROW_TABLE_COUNT; i++)
        for (size_t j = 0; j < ENGINE_SETS; j++)
            hurry->warehouse->tables[i].sets[j].away = false;
}

static void *inserter_main(void *at)
{
    struct engine_hurry *hurry = at;
    struct err           err;

    pthread_mutex_lock(&hurry->lock);
    for (;;) {
        enum row_table id;
        int            rc;

        while (hurry->queued == 0 && !hurry->over)
            pthread_cond_wait(&hurry->changed, &hurry->lock);
        if (hurry->queued == 0)
            break;
        id = hurry->queue[0]->table;
        hurry->running = true;
        hurry->closing = false;
        pthread_mutex_unlock(&hurry->lock);
        rc = engine_feed(hurry->warehouse, id, &err);
        pthread_mutex_lock(&hurry->lock);
        hurry->running = false;
        if (rc < 0 && !hurry->failed) {
            hurry->failed = true;
            hurry->failure = err;
        }
        if (hurry->failed)
            sets_free_all(hurry);
        pthread_cond_broadcast(&hurry->changed);
    }
    pthread_mutex_unlock(&hurry->lock);
    return NULL;
}

static void *helper_main(void *at)
{
    const struct engine_hurry *hurry = at;

    hurry->warehouse->duckdb.execute_tasks_state(hurry->tasks);
    return NULL;
}

/* --- the loader's side ------------------------------------------------------------------------- */

/* Until nothing is queued or running. */
static int settle_down(struct engine_hurry *hurry, bool throw_away, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&hurry->lock);
    hurry->flush = true;
    if (throw_away && !hurry->failed) {
        hurry->failed = true;
        hurry->failure = (struct err){ .kind = ERR_RETRY };
        if (!hurry->running)
            sets_free_all(hurry);
    }
    pthread_cond_broadcast(&hurry->changed);
    while (hurry->running || hurry->queued > 0)
        pthread_cond_wait(&hurry->changed, &hurry->lock);
    if (hurry->failed) {
        *err = hurry->failure;
        rc = -1;
    }
    hurry->flush = hurry->failed = false;
    pthread_mutex_unlock(&hurry->lock);
    return rc;
}

int engine_hurry_drain(struct warehouse *warehouse, struct err *err)
{
    return warehouse->hurry == NULL ? 0 : settle_down(warehouse->hurry, false, err);
}

void engine_hurry_abandon(struct warehouse *warehouse)
{
    struct err ignored;

    if (warehouse->hurry != NULL && settle_down(warehouse->hurry, true, &ignored) < 0) {
        /* That is what was wanted. */
    }
}

static void hurry_end(struct engine_hurry *hurry)
{
    const struct duckdb *duckdb = &hurry->warehouse->duckdb;

    pthread_mutex_lock(&hurry->lock);
    hurry->over = true;
    pthread_cond_broadcast(&hurry->changed);
    pthread_mutex_unlock(&hurry->lock);
    (void)pthread_join(hurry->inserter, NULL);
    if (hurry->tasks != NULL) {
        duckdb->finish_execution(hurry->tasks);
        for (unsigned i = 0; i < hurry->helper_count; i++)
            (void)pthread_join(hurry->helpers[i], NULL);
        duckdb->destroy_task_state(hurry->tasks);
    }
    pthread_cond_destroy(&hurry->changed);
    pthread_mutex_destroy(&hurry->lock);
    free(hurry);
}

/* NULL: no memory, or no thread; then it goes on without. */
static struct engine_hurry *hurry_begin(struct warehouse *warehouse)
{
    struct engine_hurry *hurry = calloc(1, sizeof *hurry);
    pthread_condattr_t   attributes;

    if (hurry == NULL)
        return NULL;
    hurry->warehouse = warehouse;
    pthread_mutex_init(&hurry->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&hurry->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&hurry->inserter, NULL, inserter_main, hurry) != 0) {
        pthread_cond_destroy(&hurry->changed);
        pthread_mutex_destroy(&hurry->lock);
        free(hurry);
        return NULL;
    }
    hurry->tasks = warehouse->duckdb.create_task_state(warehouse->database);
    while (hurry->tasks != NULL && hurry->helper_count + 1 < warehouse->hurry_threads && hurry->helper_count < HELPERS_MAX &&
           pthread_create(&hurry->helpers[hurry->helper_count], NULL, helper_main, hurry) == 0)
        hurry->helper_count++;
    return hurry;
}

void engine_hurry(struct warehouse *warehouse, bool on)
{
    duckdb_connection connection;

    assert(warehouse->magic == WAREHOUSE_MAGIC && !warehouse->read_only);
    assert(!warehouse->in_batch && warehouse->batch_rows == 0);
    if (on == (warehouse->hurry != NULL) || (on && warehouse->hurrier == NULL))
        return;
    engine_tables_fini(warehouse); /* statements are of a connection; and from here on one set of each table is enough */
    if (on) {
        warehouse->hurry = hurry_begin(warehouse);
        if (warehouse->hurry == NULL)
            return;
    } else {
        hurry_end(warehouse->hurry);
        warehouse->hurry = NULL;
    }
    connection = warehouse->loader;
    warehouse->loader = warehouse->hurrier;
    warehouse->hurrier = connection;
    warehouse->loader_id = engine_feed_connection(warehouse, warehouse->loader);
}
