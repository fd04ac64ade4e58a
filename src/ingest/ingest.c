/* ingest/ingest.c - takes batches and commits them.
 *
 * Exactly-once without a broker's transactions: the rows are made durable first, then one LMDB transaction
 * says that they count, together with the persons they changed and the places in the inputs. Whatever lies past
 * the recorded ends belongs to a batch that never happened. The cost is one sync for each topic that got
 * rows and one for the store; batches grow with the load, so an event's share of them shrinks. */
#include "ingest/ingest_inner.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/say.h"
#include "event/upstream_message.h"
#include "ingest/batch_limit.h"
#include "ingest/requests.h"
#include "wire/time.h"

enum {
    ARENA_CHUNK_BYTES = 8 << 20,
    WAIT_US = 100000, /* between looks at the stop signal */
    BEHIND_BATCHES = 2,
    EPOCH_TURN_BITS = 22
};
#define ARENA_BYTES_MAX ((size_t)1 << 30) /* docs/limits.md: memory of one batch */
#define BEHIND_US ((int64_t)1000000) /* live records that wait so long, or so many batches of them, are too many */
#define LOOK_EVERY_US ((int64_t)100000)

/* --- opening ----------------------------------------------------------------------------------- */

static int open_stores(struct ingest *ingest, struct err *err)
{
    watch_step(ingest->watch, "opens its persons", clock_mono_us());
    if (store_open(ingest->env, ingest->options, &ingest->people, err) < 0)
        return -1;
    watch_step(ingest->watch, "opens its catalog", clock_mono_us());
    if (ingest->common != NULL && ingest->common->log != NULL)
        ingest->log = ingest->common->log;
    else if (log_access_init(&ingest->log_access, ingest->env->data_folder, stores_log(ingest->env->stores), NULL, false, err) < 0 ||
        log_open(&ingest->log_access.options, &ingest->log, err) < 0)
        return err_wrap(err, "log");
    if (catalog_open_at(ingest->env->data_folder, stores_catalog(ingest->env->stores), &ingest->catalog, err) < 0 ||
        catalog_snapshot_load(ingest->catalog, &ingest->snapshot, err) < 0)
        return err_wrap(err, "catalog");
    return 0;
}

/* Faulting a batch's pages in anew costs more than all its rules: measured 12 of 24 us an event. */
void ingest_keep_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most that glibc takes */
    (void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

static int open_metrics(struct ingest *ingest, struct err *err)
{
    if (ingest->common == NULL || ingest->common->metrics == NULL)
        return ingest_metrics_open(ingest->env->run_folder, &ingest->metrics, err);
    ingest->metrics = ingest->common->metrics;
    return 0;
}

static int open_fate_metrics(struct ingest *ingest, struct err *err)
{
    const struct ingest_common *common = ingest->common;

    return fate_metrics_open(common != NULL ? common->metrics_folder : ingest->env->run_folder, common != NULL ? (int)ingest->env->unit : -1,
                             ingest->people, &ingest->fate_metrics, err);
}

/* Hands of its own for each unit; together as many as one would have. */
static unsigned hands_of(const struct ingest *ingest)
{
    unsigned hands = hands_count(ingest->options->threads), units = ingest->common != NULL ? ingest->common->units : 1;

    return units > 1 && hands > 1 ? (hands + units - 1) / units : hands;
}

int ingest_open(const struct role_env *env, struct ingest **out, struct err *err)
{
    return ingest_open_unit(env, NULL, out, err);
}

int ingest_open_unit(const struct role_env *env, const struct ingest_common *common, struct ingest **out, struct err *err)
{
    struct ingest *ingest = calloc(1, sizeof *ingest);
    const char    *crash_on = getenv("PENSTOCK_CRASH_ON"); /* for tests only: docs/ingest.md */

    if (ingest == NULL)
        return err_set(err, ERR_FULL, "no memory");
    ingest->env = env;
    ingest->common = common;
    ingest->watch = common != NULL && common->watches != NULL ? &common->watches[env->unit] : NULL;
    ingest->options = env->options;
    ingest->crash_on = crash_on == NULL ? SPAN("") : span_text(crash_on);
    ingest->batch_limit = (size_t)ingest->options->batch_records;
    ingest->too_large = ATTEMPT_NONE;
    ingest->arena = arena_new(ARENA_CHUNK_BYTES, ARENA_BYTES_MAX);
    ingest->gate = warning_gate_new(env->run_folder);
    ingest->definer = definer_new();
    property_key_table_init(&ingest->keys);
    ingest->overflow = overflow_new(ingest->options->overflow_burst, ingest->options->overflow_per_second);
    if (ingest->arena == NULL || ingest->gate == NULL || ingest->definer == NULL || ingest->overflow == NULL ||
        inputs_init(&ingest->inputs, ingest->batch_limit) < 0) {
        (void)err_set(err, ERR_FULL, "no memory");
        goto failed;
    }
    if (cookieless_new(&ingest->cookieless, err) < 0 || open_metrics(ingest, err) < 0 || open_stores(ingest, err) < 0 ||
        (!log_is_kafka(ingest->log) && log_eraser_new(ingest->log, &ingest->log_eraser, err) < 0) || open_fate_metrics(ingest, err) < 0 ||
        attempt_open(env->run_folder, &ingest->attempt, err) < 0)
        goto failed;
    watch_step(ingest->watch, "opens its tools", clock_mono_us());
    ingest->geoip = geoip_open_usual(ingest->options->geoip_folder);
    if (hands_new(hands_of(ingest), ingest->geoip, &ingest->hands, err) < 0 || ingest_recover(ingest, err) < 0)
        goto failed;
    lanes_init(&ingest->lanes, clock_mono_us(), ingest->place.output_end[OUTPUT_EVENTS]);
    *out = ingest;
    return 0;
failed:
    ingest_close(ingest);
    return -1;
}

static void close_ends(struct ingest *ingest)
{
    inputs_close(&ingest->inputs);
    outputs_close(ingest->outputs);
    ingest->outputs = NULL;
}

void ingest_close(struct ingest *ingest)
{
    if (ingest == NULL)
        return;
    close_ends(ingest);
    shown_free(ingest->shown);
    inputs_fini(&ingest->inputs);
    overflow_free(ingest->overflow);
    attempt_close(ingest->attempt);
    hands_free(ingest->hands);
    geoip_close(ingest->geoip);
    catalog_snapshot_free(ingest->snapshot);
    if (ingest->catalog != NULL)
        catalog_close(ingest->catalog);
    log_eraser_free(ingest->log_eraser);
    if (ingest->people != NULL)
        people_close(ingest->people);
    if (ingest->log != NULL && (ingest->common == NULL || ingest->common->log == NULL))
        log_close(ingest->log);
    if (ingest->common != NULL && ingest->common->metrics != NULL)
        ingest_metrics_lag(ingest->metrics, ingest->lag_told, (const uint64_t[INPUT_COUNT]){ 0 });
    else if (ingest->metrics != NULL)
        metric_page_close(ingest->metrics);
    fate_metrics_close(ingest->fate_metrics);
    warning_gate_free(ingest->gate);
    definer_free(ingest->definer);
    cookieless_free(ingest->cookieless);
    arena_free(ingest->arena);
    free(ingest);
}

/* Of the writers that are about to be opened (log_topic_options). The store knows how often the unit was taken over, we how
 * often it was opened since; a store that has one owner by its nature leaves it to the clock, and to chance. */
static int epoch_next(struct ingest *ingest, uint64_t *out, struct err *err)
{
    static _Atomic uint32_t turn;
    uint64_t                owner;
    uint32_t                number;

    *out = 0;
    if (!log_is_kafka(ingest->log))
        return 0;
    if (people_epoch(ingest->people, &owner, err) < 0)
        return -1;
    number = ++turn;
    if (owner == 0) {
        owner = (uint64_t)clock_wall_us() / 1000;
        if (getrandom(&number, sizeof number, 0) != sizeof number)
            return err_errno(err, errno, "random bytes");
    }
    *out = owner << EPOCH_TURN_BITS | (number & ((1u << EPOCH_TURN_BITS) - 1));
    if (*out <= ingest->place.counters[PLACE_EPOCH])
        *out = ingest->place.counters[PLACE_EPOCH] + 1; /* the clock went back */
    return 0;
}

bool ingest_went_back(const struct ingest *ingest)
{
    return ingest->people != NULL && people_went_back(ingest->people);
}

static int outputs_open_at(struct ingest *ingest, struct err *err)
{
    struct outputs_options options = { .retention_us = ingest->options->output_retention_us, .partition = ingest->env->unit };

    return epoch_next(ingest, &options.epoch, err) < 0 ? -1 : outputs_open(ingest->log, &ingest->place, &options, &ingest->outputs, err);
}

/* Where readers were shown more than the store knows of, goes on behind that (shown.h). */
static int open_outputs(struct ingest *ingest, struct err *err)
{
    struct people_place ahead, before = ingest->place;
    int                 rc = outputs_open_at(ingest, err);

    shown_free(ingest->shown);
    ingest->shown = NULL;
    if (rc < 0 || !log_is_kafka(ingest->log))
        return rc;
    watch_step(ingest->watch, "asks how much of its outputs was shown", clock_mono_us());
    rc = shown_look(ingest->log, ingest->env->unit, &ingest->place, &ahead, err);
    if (rc > 0) {
        say(SAY_ERROR, "unit %u: the store of persons has lost commits: readers were shown %" PRIu64 " rows of events of which it does not know. Their "
            "events are processed once more, and make no second rows: docs/operations.md", ingest->env->unit,
            ahead.output_end[OUTPUT_EVENTS] - before.output_end[OUTPUT_EVENTS]);
        outputs_close(ingest->outputs);
        ingest->outputs = NULL;
        ingest->place = ahead; /* for the new outputs; on failure it is read anew */
        watch_step(ingest->watch, "makes up for commits that its store has lost", clock_mono_us());
        if (outputs_open_at(ingest, err) < 0 ||
            shown_mend(ingest->log, ingest->env->unit, ingest->people, ingest->outputs, &before, &ahead, clock_wall_us(), err) < 0)
            return -1;
        ingest->place = ahead;
        ingest_metrics_went_back(ingest->metrics);
    }
    return rc < 0 ? -1 : shown_open(ingest->log, ingest->env->unit, &ingest->place, &ingest->shown, err);
}

int ingest_recover(struct ingest *ingest, struct err *err)
{
    struct people_txn *txn;
    int                rc, moves;

    warning_gate_abort(ingest->gate);
    definer_abort(ingest->definer);
    close_ends(ingest);
    watch_step(ingest->watch, "asks where it stands", clock_mono_us());
    if (ingest->people == NULL || people_begin(ingest->people, false, &txn, err) < 0) {
        /* LMDB is done for good when it could not write its last page; the file is as it was before that */
        if (ingest->people != NULL)
            people_close(ingest->people);
        ingest->people = NULL;
        if (store_open(ingest->env, ingest->options, &ingest->people, err) < 0 || people_begin(ingest->people, false, &txn, err) < 0)
            return -1;
    }
    rc = people_place_get(txn, &ingest->place, err);
    if (rc == 0)
        rc = overflow_load(ingest->overflow, txn, err);
    moves = people_moves_pending(txn, err);
    if (rc == 0)
        rc = requests_next(txn, &ingest->request_us, err);
    people_abort(txn);
    ingest->moves_left = moves > 0;
    if (requests_expiry_wanted(ingest->snapshot))
        ingest->request_us = 0; /* a day may have begun while nothing ran */
    if (rc == 0 && moves >= 0)
        rc = inputs_begin(ingest->log, ingest->env->unit, &ingest->place, err);
    watch_step(ingest->watch, "opens its outputs", clock_mono_us());
    if (rc < 0 || moves < 0 || open_outputs(ingest, err) < 0 ||
        (!log_is_kafka(ingest->log) && inputs_settle_control(ingest->log, err) < 0))
        return -1;
    watch_step(ingest->watch, "opens its inputs", clock_mono_us());
    return inputs_open(&ingest->inputs, ingest->log, ingest->env->unit, &ingest->place, true, err);
}

uint64_t ingest_lag(const struct ingest *ingest)
{
    uint64_t lag = 0;

    for (int i = 0; i < INPUT_COUNT; i++)
        lag += inputs_lag(&ingest->inputs, (enum input)i);
    return lag;
}

const struct people_place *ingest_place(const struct ingest *ingest)
{
    return &ingest->place;
}

const int64_t *ingest_spent_us(const struct ingest *ingest)
{
    return ingest->spent_us;
}

/* --- one batch --------------------------------------------------------------------------------- */

static int sink_row(void *ctx, const struct row *row, struct err *err)
{
    struct ingest *ingest = ctx;

    return shown_has(ingest->shown, row) ? 0 : outputs_add(ingest->outputs, row, ingest->inputs.now_us, err);
}

static int put_row(void *ctx, struct span row, struct err *err)
{
    struct ingest *ingest = ctx;
    struct row     read;

    if (ingest->shown != NULL && row_read(row, &read, err) < 0)
        return -1;
    if (ingest->shown != NULL && shown_has(ingest->shown, &read))
        return 0;
    return outputs_put(ingest->outputs, row, ingest->inputs.now_us, err);
}

/* The newest settings; an unreadable catalog leaves the last ones in force. */
static void refresh_catalog(struct ingest *ingest)
{
    static struct say_gate   gate;
    struct catalog_snapshot *newer;
    struct err               err = { 0 };
    int                      changed = catalog_changed(ingest->catalog, ingest->snapshot, &err);

    if (changed > 0 && catalog_snapshot_load(ingest->catalog, &newer, &err) == 0) {
        catalog_snapshot_free(ingest->snapshot);
        ingest->snapshot = newer;
    } else if (changed != 0) {
        say_seldom(&gate, SAY_WARN, "catalog: %s; the settings of before stay in force", err.text);
    }
}

/* What became of the batch's events, by project and hour, and which left no row. */
static int store_tally(struct ingest *ingest, struct people_txn *txn, const struct passes *passes, struct err *err)
{
    const struct tally *tally = &passes->tally;
    uint64_t            before[PEOPLE_COUNTERS_MAX] = { 0 };

    if (!ingest->fates_begun) {
        memcpy(before, ingest->place.counters, FATE_COUNT * sizeof *before);
        for (int i = 0; i < FATE_COUNT; i++)
            before[TALLY_READ] += before[i];
        if (people_fates_begin(txn, before, err) < 0)
            return -1;
    }
    if (people_fates_add(txn, tally->rows, tally->count, err) < 0 ||
        people_ended_add(txn, tally->ended, tally->ended_count, err) < 0)
        return -1;
    return people_fates_forget(txn, (uint32_t)(passes->steady_us / TIME_US_HOUR) - 24 * PEOPLE_FATES_DAYS, err);
}

/* I2: what was taken has a fate, or was moved aside. */
static bool fates_add_up(const struct ingest *ingest, const struct people_place *place, const struct passes *passes)
{
    uint64_t moved = place->output_end[OUTPUT_RAW_OVERFLOW] - ingest->place.output_end[OUTPUT_RAW_OVERFLOW], sum = moved;

    for (int i = 0; i < FATE_COUNT; i++)
        sum += passes->fates[i];
    return sum == inputs_events(&ingest->inputs);
}

/* Everything up to the commit. On failure txn is gone and nothing has happened, but for rows that
 * ingest_recover will cut. */
static int process(struct ingest *ingest, struct people_place *place, struct passes *passes, int64_t requests_wait_us, struct err *err)
{
    struct inputs         *inputs = &ingest->inputs;
    const struct gathered *batch = &inputs->batch;
    struct people_txn     *txn;
    const struct requests  requests = { .arena = ingest->arena, .now_us = inputs->now_us,
                                       .undo_us = ingest->options->undo_window_us, .wait_us = requests_wait_us, .unit = ingest->env->unit,
                                       .log_stays = log_is_kafka(ingest->log), .sink = sink_row, .sink_ctx = ingest };
    int64_t                from_us, synced_us, request_us;
    int                    moves;
    bool                   made_up;

    shown_begin(ingest->shown);
    watch_step(ingest->watch, "waits for its store to begin a batch", clock_mono_us());
    if (people_begin(ingest->people, true, &txn, err) < 0)
        return -1;
    watch_step(ingest->watch, "works on a batch", clock_mono_us());
    if (requests_take(&requests, txn, batch->records, inputs->control_count, err) < 0 ||
        requests_do(&requests, txn, &request_us, err) < 0 ||
        requests_expire(&requests, txn, ingest->snapshot, &request_us, err) < 0 ||
        (ingest->log_done_below > 0 &&
         requests_log_done(&requests, txn, ingest->log_done_below, ingest->log_done_records, err) < 0))
        goto failed;
    if (overflow_sort(ingest->overflow, inputs, &(struct overflow_view){ ingest->snapshot, ingest->behind }, ingest->outputs,
                      &ingest->moved, err) < 0 ||
        passes_run(passes, txn, batch->records + inputs->control_count, batch->count - inputs->control_count, batch->gaps,
                   batch->gap_count, err) < 0)
        goto failed;
    moves = people_moves_pending(txn, err);
    if (moves < 0)
        goto failed;
    for (int i = 0; i < FATE_COUNT; i++)
        place->counters[i] += passes->fates[i];
    memcpy(place->input_next, inputs->next, sizeof place->input_next);
    for (int i = 0; i < INPUT_COUNT; i++)
        if (i != INPUT_CONTROL && inputs->gathers[i].sparse)
            place->counters[PLACE_SPARSE] += inputs->taken[i];
    attempt_mark(ingest->attempt, 0, ATTEMPT_NONE); /* what ends us from here on is not the event's doing */
    from_us = clock_thread_us();
    watch_step(ingest->watch, "writes rows to its log", clock_mono_us());
    inputs_ahead(inputs);
    if (outputs_sync(ingest->outputs, ingest->hands->crew, inputs->now_us, place, err) < 0 || store_tally(ingest, txn, passes, err) < 0 ||
        overflow_store(ingest->overflow, txn, place->input_next[INPUT_OVERFLOW], err) < 0)
        goto failed;
    made_up = shown_settle(ingest->shown, inputs, place);
    if (people_place_put(txn, place, err) < 0)
        goto failed;
    assert(fates_add_up(ingest, place, passes));
    synced_us = clock_thread_us();
    ingest->spent_us[5] += synced_us - from_us;
    watch_step(ingest->watch, "commits a batch to its store", clock_mono_us());
    if (people_commit(txn, err) < 0)
        return -1;
    if (made_up) {
        say(SAY_INFO, "unit %u: what the store of persons had lost is made up for", ingest->env->unit);
        shown_free(ingest->shown);
        ingest->shown = NULL;
    }
    ingest->fates_begun = true;
    ingest->moves_left = moves > 0;
    ingest->request_us = request_us;
    ingest->log_done_below = 0;
    ingest->spent_us[6] += clock_thread_us() - synced_us;
    return 0;
failed:
    people_abort(txn);
    return -1;
}

static void note_batch(struct ingest *ingest, const struct passes *passes, const struct people_place *place, int64_t began_us)
{
    struct lanes_batch batch = { .now_us = clock_mono_us(), .events_end = place->output_end[OUTPUT_EVENTS] };

    for (size_t i = 0; i < sizeof passes->spent_us / sizeof *passes->spent_us; i++) {
        ingest->spent_us[i] += passes->spent_us[i];
        batch.cpu_us += passes->spent_us[i];
    }
    batch.took_us = batch.now_us - began_us;
    for (int i = 0; i < INPUT_COUNT; i++)
        batch.taken[i] = ingest->inputs.taken[i];
    batch.moved = ingest->moved;
    lanes_done(&ingest->lanes, &batch);
    ingest_metrics_batch(ingest->metrics, passes->fates, passes->warnings, batch.taken, batch.took_us);
}

/* Whether it was memory that a batch did not have. */
static bool arenas_filled(const struct ingest *ingest)
{
    return arena_bytes(ingest->arena) > ARENA_BYTES_MAX / 4 || hands_filled(ingest->hands);
}

/* What a failed batch teaches the next attempt; true: try again at once. */
static bool learn(struct ingest *ingest, const struct passes *passes, const struct err *err)
{
    size_t count = ingest->inputs.batch.count;

    if (passes->crowded != ATTEMPT_NONE) {
        ingest->too_large = passes->crowded;
        return true;
    }
    if (people_conflict(ingest->people)) {
        ingest->batch_limit = batch_limit_met(ingest->batch_limit, count);
        return false;
    }
    if (err->kind != ERR_FULL || count == 0)
        return false;
    if (count > 1) { /* memory, or the disk: a smaller batch needs less of both */
        ingest->batch_limit = count / 2;
        return arenas_filled(ingest);
    }
    if (!arenas_filled(ingest))
        return false;
    ingest->too_large = ingest->inputs.batch.records[0].mark; /* alone, and still too much */
    return true;
}

/* What now and then is enough: where load stands, and how old what waits is. */
static int look_around(struct ingest *ingest, const struct lanes_view *view, struct err *err)
{
    struct ingest_lane seen[INPUT_COUNT];
    int64_t            age_us;
    uint64_t           loaded;

    if (view->now_us < ingest->look_us)
        return 0;
    ingest->look_us = view->now_us + LOOK_EVERY_US;
    if (log_cursor_load(ingest->log, output_infos[OUTPUT_EVENTS].topic, ingest->env->unit, "load", &loaded, err) > 0)
        lanes_load_at(&ingest->lanes, loaded, view->now_us);
    for (int i = 0; i < INPUT_COUNT; i++) {
        if (inputs_age_us(&ingest->inputs, (enum input)i, &age_us, err) < 0)
            return -1;
        seen[i] = (struct ingest_lane){ .lag_records = view->lag[i], .lag_us = age_us };
    }
    ingest_metrics_lag(ingest->metrics, ingest->lag_told, view->lag);
    memcpy(ingest->lag_told, view->lag, sizeof ingest->lag_told);
    ingest_metrics_lanes(ingest->metrics, seen, ingest->lanes.rate, ingest->lanes.load_lag_us,
                         overflow_flagged(ingest->overflow));
    return 0;
}

static int look(struct ingest *ingest, struct lanes_view *out, struct err *err)
{
    *out = (struct lanes_view){ .now_us = clock_mono_us() };
    for (int i = 0; i < INPUT_COUNT; i++)
        out->lag[i] = inputs_lag(&ingest->inputs, (enum input)i);
    if (inputs_age_us(&ingest->inputs, INPUT_RAW, &out->live_age_us, err) < 0)
        return -1;
    return look_around(ingest, out, err);
}

/* A batch's worth of records. As inputs_take. */
static int take(struct ingest *ingest, struct err *err)
{
    size_t            quota[INPUT_COUNT], caps[INPUT_COUNT];
    uint64_t          reach[INPUT_COUNT]; /* offsets that wait, at most */
    struct lanes_view view;

    if (look(ingest, &view, err) < 0)
        return -1;
    for (int i = 0; i < INPUT_COUNT; i++)
        reach[i] = ingest->inputs.gathers[i].sparse && view.lag[i] > 0 ? UINT64_MAX : view.lag[i];
    ingest->inputs.batch.room = attempt_limit(ingest->attempt, ingest->place.input_next, reach, ingest->batch_limit, caps);
    for (int i = 0; i < INPUT_COUNT; i++)
        ingest->inputs.until[i] = attempt_until(ingest->attempt, ingest->place.input_next, reach, (enum input)i);
    ingest->behind = view.lag[INPUT_RAW] > BEHIND_BATCHES * ingest->batch_limit || view.live_age_us > BEHIND_US;
    lanes_plan(&ingest->lanes, &view, ingest->inputs.batch.room, quota);
    for (int i = 0; i < INPUT_COUNT; i++)
        if (quota[i] > caps[i])
            quota[i] = caps[i];
    ingest->wait_us = lanes_wait_us(&ingest->lanes, &view, WAIT_US);
    return inputs_take(&ingest->inputs, ingest->arena, quota, (size_t)ingest->options->batch_bytes, err);
}

/* A process has one death for all its units: who is suspected is tried while nobody else is at work. */
static void turn_take(struct ingest *ingest)
{
    pthread_rwlock_t *turn = ingest->common != NULL ? ingest->common->turn : NULL;

    if (turn != NULL && attempt_wary(ingest->attempt))
        pthread_rwlock_wrlock(turn);
    else if (turn != NULL)
        pthread_rwlock_rdlock(turn);
}

static void turn_give(struct ingest *ingest)
{
    if (ingest->common != NULL && ingest->common->turn != NULL)
        pthread_rwlock_unlock(ingest->common->turn);
}

int ingest_step(struct ingest *ingest, struct err *err)
{
    struct people_place place = ingest->place;
    struct passes       passes;
    struct log_clock    clock;
    int64_t             began_us = clock_mono_us();
    int                 rc;

    arena_reset(ingest->arena);
    ingest->retry_at_once = false;
    watch_step(ingest->watch, "reads from its log", began_us);
    rc = take(ingest, err);
    if (rc < 0 || (rc == 0 && !ingest->moves_left && ingest->log_done_below == 0 && ingest->inputs.now_us < ingest->request_us))
        return rc; /* without events there may still be ids to be moved, or something to be done for an operator */
    refresh_catalog(ingest);
    outputs_clock(ingest->outputs, ingest->people, clock_wall_us(), &clock);
    passes = (struct passes){
        .arena = ingest->arena, .alone = &ingest->hands->alone, .hands = ingest->hands->at, .crew = ingest->hands->crew,
        .slices = ingest->hands->slices, .keys = &ingest->keys, .catalog = ingest->snapshot, .gate = ingest->gate,
        .definer = ingest->definer, .cookieless = ingest->cookieless, .attempt = ingest->attempt, .crash_on = ingest->crash_on,
        .too_large = ingest->too_large, .crowded = ATTEMPT_NONE, .now_us = ingest->inputs.now_us, .steady_us = clock.steady_us, .sink = sink_row,
        .put = put_row, .sink_ctx = ingest, .message_bytes_max = log_rows_upstream(stores_log(ingest->env->stores)) ? UPSTREAM_MESSAGE_BYTES_MAX : 0,
        .limits = { .merge_ids_max = (uint64_t)ingest->options->merge_ids_max,
                    .joins_per_hour_max = (uint64_t)ingest->options->joins_per_hour_max }
    };
    watch_step(ingest->watch, "waits until its process's other units let it work", clock_mono_us());
    turn_take(ingest);
    attempt_begin_of(ingest->attempt, ingest->inputs.first, ingest->inputs.next, inputs_events(&ingest->inputs) + ingest->inputs.taken[INPUT_CONTROL]);
    rc = process(ingest, &place, &passes, clock.calm_us < LOG_CLOCK_CALM_US ? LOG_CLOCK_CALM_US - clock.calm_us : 0, err);
    attempt_end(ingest->attempt, rc < 0 ? ingest->inputs.first : ingest->inputs.next);
    turn_give(ingest);
    if (rc < 0) {
        ingest->retry_at_once = learn(ingest, &passes, err);
        return -1;
    }
    outputs_publish(ingest->outputs);
    warning_gate_commit(ingest->gate);
    note_batch(ingest, &passes, &place, began_us);
    fate_metrics_batch(ingest->fate_metrics, &passes.tally);
    ingest->place = place;
    ingest->batch_limit = batch_limit_grown(ingest->batch_limit, (size_t)ingest->options->batch_records);
    return 1;
}
