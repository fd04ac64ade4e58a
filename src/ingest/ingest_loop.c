/* ingest/ingest_loop.c - batch after batch: waits when there is nothing, waits out trouble, and does between batches what is due
 * now and then. The role itself. */
#include <poll.h>
#include <sys/random.h>

#include "base/say.h"
#include "ingest/ingest_inner.h"
#include "ingest/units.h"

enum {
    RETRY_WAIT_US_MIN = 100000,
    RETRY_WAIT_US_MAX = 5000000,
    TROUBLES_MAX = 20 /* ERR_STOP in a row without a batch between: let the supervisor start us anew */
};
#define CHORES_EVERY_US ((int64_t)5 * 1000000)
#define HELD_EVERY_US ((int64_t)10 * 1000000)
/* Batches of a few events begin so far apart: each costs four syncs or more, whatever is in it, and who syncs beside us, as capture does
 * before it answers, waits for them. An event that comes after a pause is taken at once. */
#define SMALL_TURN_US ((int64_t)25000)
enum { SMALL_RECORDS = 500 };

/* true: the stop signal came. */
static bool stop_asked(const struct role_env *env, int64_t wait_us)
{
    struct pollfd pollfd = { .fd = env->stop_fd, .events = POLLIN };

    return poll(&pollfd, 1, (int)(wait_us / 1000)) > 0;
}

/* Until the next batch may begin. Not where the log's syncs are other machines', nor while something waits for batches themselves. */
static int64_t turn_left_us(const struct ingest *ingest, int64_t began_us)
{
    int64_t left_us = began_us + SMALL_TURN_US - clock_mono_us();

    if (left_us <= 0 || log_is_kafka(ingest->log) || ingest->moves_left || attempt_wary(ingest->attempt) ||
        inputs_lag(&ingest->inputs, INPUT_RAW) >= SMALL_RECORDS)
        return 0;
    return left_us;
}

static void held_add(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors, size_t cursor_count)
{
    uint64_t *bytes = ctx;

    (void)cursors;
    (void)cursor_count;
    *bytes += info->held_bytes;
}

/* For people, who can say that the clock is right. */
static void held_count(struct ingest *ingest)
{
    int64_t    now_us = clock_mono_us();
    uint64_t   bytes = 0;
    struct err ignored = { .kind = ERR_NONE };

    if (now_us < ingest->held_us)
        return;
    ingest->held_us = now_us + HELD_EVERY_US;
    if (log_clock_info(ingest->log, held_add, &bytes, &ignored) == 0)
        ingest_metrics_held(ingest->metrics, bytes);
}

/* The cursor is for retention and for people to see; old files go. Trouble here harms no event. */
static int do_chores(struct ingest *ingest, struct err *failed)
{
    static struct say_gate   gate;
    struct people_seen_stats seen;
    struct err               err = { 0 };
    int64_t                  now_us = clock_mono_us();

    if (now_us < ingest->chores_us)
        return 0;
    ingest->chores_us = now_us + CHORES_EVERY_US;
    people_seen_stats(ingest->people, &seen);
    ingest_metrics_seen(ingest->metrics, &seen);
    if (outputs_retain(ingest->outputs, clock_wall_us(), &err) < 0)
        say_seldom(&gate, SAY_WARN, "deleting old rows: %s", err.text);
    held_count(ingest);
    if (cookieless_days_over(ingest->people, clock_wall_us()))
        ingest->moves_left = true; /* an empty batch forgets them */
    if (ingest->log_done_below == 0 && ingest->log_eraser != NULL)
        log_eraser_chore(ingest->log_eraser, ingest->people, ingest->snapshot, &ingest->log_done_below, &ingest->log_done_records);
    return store_rewriter_step(&ingest->rewriter, ingest->env, ingest->options, ingest->behind, &ingest->people, failed);
}

/* Between half of it and one and a half: those who met at one row, or lost one server, do not all come back at once. */
static int64_t jittered(int64_t wait_us)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return wait_us;
    return wait_us / 2 + (int64_t)((uint64_t)wait_us * random >> 32);
}

/* Waits out a failed batch and gets back to the committed state. 0: go on; 1: stop was asked; -1. */
static int wait_out(struct ingest *ingest, struct err *failed, int64_t *wait_us, unsigned *stops, struct err *err)
{
    static struct say_gate gate;
    struct err             why = *failed;

    ingest_metrics_retry(ingest->metrics);
    watch_step(ingest->watch, "waits and opens anew after a failed batch", clock_mono_us());
    *stops = why.kind == ERR_STOP || why.kind == ERR_CORRUPT ? *stops + 1 : 0;
    for (;;) {
        if (ingest_went_back(ingest)) {
            *err = why;
            return -1;
        }
        if (!ingest->retry_at_once && !(ingest->people != NULL && people_conflict(ingest->people))) {
            say_seldom(&gate, SAY_WARN, "%s; nothing is lost, trying again in %.1f s", why.text, (double)*wait_us / 1e6);
            if (stop_asked(ingest->env, jittered(*wait_us)))
                return 1;
            *wait_us = *wait_us * 2 < RETRY_WAIT_US_MAX ? *wait_us * 2 : RETRY_WAIT_US_MAX;
        }
        ingest->retry_at_once = false;
        if (ingest_recover(ingest, &why) == 0)
            return 0;
        if (why.kind == ERR_INPUT || why.kind == ERR_CORRUPT || ++*stops > TROUBLES_MAX) {
            *err = why;
            return -1;
        }
    }
}

int ingest_work(struct ingest *ingest, struct err *err)
{
    int64_t  wait_us = RETRY_WAIT_US_MIN;
    unsigned stops = 0;
    uint64_t epoch;

    inputs_store_cursors(&ingest->inputs, ingest->log, &ingest->place);
    while (!stop_asked(ingest->env, 0)) {
        struct err failed = { 0 };
        int64_t    began_us = clock_mono_us();
        int        rc = ingest_step(ingest, &failed);
        int64_t    took_us = rc < 0 ? -1 : watch_works(ingest->watch, ingest->env->unit, clock_mono_us());

        if (took_us >= 0)
            ingest_metrics_unit(ingest->metrics, true, took_us);
        if (rc > 0 || (rc == 0 && ingest->lag_told[INPUT_RAW] == 0 && ingest->lag_told[INPUT_CONTROL] == 0))
            watch_moved(ingest->watch, clock_mono_us());
        if (rc > 0) {
            inputs_store_cursors(&ingest->inputs, ingest->log, &ingest->place);
            wait_us = RETRY_WAIT_US_MIN;
            stops = 0;
            if (stop_asked(ingest->env, turn_left_us(ingest, began_us)))
                break;
        } else if (rc < 0) {
            rc = wait_out(ingest, &failed, &wait_us, &stops, err);
            if (rc != 0)
                return rc < 0 ? -1 : 0;
        } else {
            if (log_is_kafka(ingest->log)) /* which is told five times a second: the last one may be due yet */
                inputs_store_cursors(&ingest->inputs, ingest->log, &ingest->place);
            inputs_wait(&ingest->inputs, ingest->wait_us);
        }
        if (do_chores(ingest, &failed) < 0 || (ingest_went_back(ingest) && people_epoch(ingest->people, &epoch, &failed) < 0)) {
            rc = wait_out(ingest, &failed, &wait_us, &stops, err);
            if (rc != 0)
                return rc < 0 ? -1 : 0;
        }
    }
    return 0;
}

static int ingest_run(const struct role_env *env, struct err *err)
{
    struct ingest *ingest;
    int            rc;

    ingest_keep_memory();
    if (log_on_kafka(stores_log(env->stores)))
        return units_run(env, err);
    if (ingest_open(env, &ingest, err) < 0)
        return -1;
    inputs_store_cursors(&ingest->inputs, ingest->log, &ingest->place);
    role_tell(env, ROLE_READY);
    rc = ingest_work(ingest, err);
    ingest_close(ingest);
    return rc;
}

const struct role ingest_role = {
    .name = "ingest",
    .help = "turns accepted events into rows: persons, groups, places, warnings",
    .options = ingest_option_table,
    .options_bytes = sizeof(struct ingest_options),
    .run = ingest_run,
};
