/* log/kafka_commit.c - the committer's thread on Kafka.
 *
 * It walks the way (kafka_way.h): takes what was submitted, sends, takes answers, and never does what may take seconds: looking
 * for brokers that nobody reached is the scout's (kafka_scout.h).
 * To rest is to settle everything, then to let go of the spool: the next process finds it free, and whatever is in it. What
 * comes after goes there by forward.h, as in the embedded log, so that all of it goes one way, in order. */
#include "log/kafka_commit.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/say.h"
#include "log/forward.h"
#include "log/kafka_client.h"
#include "log/kafka_scout.h"
#include "log/kafka_way.h"
#include "log/log_batch.h"

enum {
    INLET_MAGIC = 0x696e6c74,
    KAFKA_COMMIT_MAGIC = 0x6b636f6d,
    COMMIT_PENDING_BYTES = 64 << 20,
    COMMIT_SPOOL_AFTER_US = 1000000,
    COMMIT_START_US = 500000,    /* how long a start waits for the brokers: whoever begins it has a few topics, and not long */
    COMMIT_SETTLE_US = 1000000,  /* and an end */
    COMMIT_WATCH_US = 500000
};

/* What log_writer_open gives. */
struct inlet {
    const struct log_ops    *ops;
    uint32_t                 magic;
    struct kafka_log        *log;
    struct log_topic_options options;
    char                     topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    char                     name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    struct spool            *spool;
};

struct kafka_commit {
    const struct log_ops      *ops;
    uint32_t                   magic;
    struct inlet              *inlet;
    struct log_commit_options  options;
    size_t                     pending_bytes_max;
    struct kafka_line         *line; /* fixed after start */
    struct kafka_scout        *scout;
    pthread_t                  thread;
    pthread_mutex_t            lock;
    pthread_cond_t             wake, rested;
    /* @thread committer */
    struct kafka_way          *way;   /* NULL: it rests, or forwards */
    int64_t                    watched_us;
    enum log_way               watched_way;
    int                        forward_fd;
    /* @lock lock */
    struct log_batch          *first, **last;
    size_t                     pending_bytes;
    bool                       stopping, stopped, listening;
    struct err                 stop_err;
    enum { PLACE_RUNS, PLACE_REST_ASKED, PLACE_RESTS, PLACE_RESUME_ASKED, PLACE_FORWARDS } place;
    bool                       scout_back; /* since the last turn */
};

static struct kafka_commit *commit_of(struct log_commit *any)
{
    struct kafka_commit *commit = (struct kafka_commit *)(void *)any;

    assert(commit->magic == KAFKA_COMMIT_MAGIC);
    return commit;
}

static const struct log_kafka_options *options_of(const struct kafka_commit *commit)
{
    return commit->inlet->log->options;
}

/* --- the inlet --------------------------------------------------------------------------------- */

static int inlet_spool_open(struct inlet *inlet, struct err *err)
{
    const struct log_kafka_options *kafka = inlet->log->options;
    struct spool_options            options = { .folder = kafka->spool_folder, .topic = inlet->topic, .bytes_max = kafka->spool_bytes_max,
                                                .reserve_bytes = inlet->options.disk_reserve_bytes };

    if (kafka->spool_folder == NULL || spool_open(&options, &inlet->spool, err) == 0)
        return 0;
    if (err->kind != ERR_FULL)
        return -1;
    /* The brokers may have room. What an earlier spool holds is sent after the next start that finds some. */
    say(SAY_ERROR, "there is no spool until the next start, and without the brokers nothing is accepted: %s", err->text);
    return 0;
}

static void inlet_close(struct log_writer *any)
{
    struct inlet *inlet = (struct inlet *)(void *)any;

    if (inlet == NULL)
        return;
    assert(inlet->magic == INLET_MAGIC);
    spool_close(inlet->spool);
    inlet->magic = 0;
    free(inlet);
}

/* Of the spool: nobody reads a topic with many writers by dense offsets. */
static uint64_t inlet_end(const struct log_writer *any)
{
    (void)any;
    return 0;
}

/* --- the scout --------------------------------------------------------------------------------- */

static void scout_is_back(void *ctx)
{
    struct kafka_commit *commit = ctx;

    pthread_mutex_lock(&commit->lock);
    commit->scout_back = true;
    commit->line->ops->wake(commit->line);
    pthread_mutex_unlock(&commit->lock);
}

static int commit_scout_start(struct kafka_commit *commit, struct err *err)
{
    const struct inlet             *inlet = commit->inlet;
    const struct log_kafka_options *options = options_of(commit);
    const struct kafka_topic_wish   wish = { .name = inlet->name,
                                             .partitions = options->partitions == 0 ? 1 : options->partitions,
                                             .replication = options->replication,
                                             .insync_min = options->insync_min,
                                             .retention_ms = inlet->options.retention_us > 0 ? inlet->options.retention_us / 1000 : -1,
                                             .retention_bytes = inlet->options.retention_bytes > 0 ? (int64_t)inlet->options.retention_bytes : -1,
                                             .message_bytes_max = options->form == LOG_FORM_FRAMES ? KAFKA_MESSAGE_BYTES_MAX : 0 };
    const struct log_form_hooks    *hooks = options->form == LOG_FORM_UPSTREAM ? options->hooks : NULL;
    const char *const              *others = hooks == NULL || hooks->others == NULL ? NULL : hooks->others(hooks->ctx, inlet->topic);

    if (scout_start(options, &wish, others, scout_is_back, commit, &commit->scout, err) < 0)
        return -1;
    scout_send(commit->scout);
    return 0;
}

/* --- the way ----------------------------------------------------------------------------------- */

static void commit_answered(void *ctx, struct log_batch *batch, const struct log_commit_result *result)
{
    struct kafka_commit *commit = ctx;
    size_t               bytes = batch->bytes;

    if (!result->ok && result->err.kind == ERR_STOP) { /* the disk failed */
        pthread_mutex_lock(&commit->lock);
        commit->stopped = true;
        commit->stop_err = result->err;
        pthread_mutex_unlock(&commit->lock);
    }
    batch->done(batch->done_ctx, batch, result);
    pthread_mutex_lock(&commit->lock);
    commit->pending_bytes -= bytes;
    pthread_mutex_unlock(&commit->lock);
}

static int commit_way_open(struct kafka_commit *commit, struct err *err)
{
    const struct log_kafka_options *options = options_of(commit);
    struct way_options              way = {
        .sorter = { .topic = commit->inlet->topic, .form = options->form, .hooks = options->hooks,
                    .codec = options->codec != LOG_CODEC_NONE ? options->codec : commit->inlet->options.codec,
                    .frame_bytes_max = commit->inlet->log->frame_bytes_max, .message_bytes_max = KAFKA_MESSAGE_BYTES_MAX - 4096 },
        .spool_after_us = options->spool_after_us > 0 ? options->spool_after_us : COMMIT_SPOOL_AFTER_US,
        .linger_us = options->linger_us,
        .label = commit->inlet->topic,
        .answered = commit_answered,
        .ctx = commit,
    };

    return way_new(&way, commit->line, commit->inlet->spool, clock_mono_us(), &commit->way, err);
}

static void commit_watch(struct kafka_commit *commit, int64_t now_us)
{
    struct log_commit_look look;

    if (commit->options.watch == NULL || commit->way == NULL)
        return;
    way_look(commit->way, &look);
    if (look.way == commit->watched_way && now_us - commit->watched_us < COMMIT_WATCH_US)
        return;
    commit->watched_us = now_us;
    commit->watched_way = look.way;
    commit->options.watch(commit->options.watch_ctx, &look);
}

/* Under the lock. */
static struct log_batch *commit_pick(struct kafka_commit *commit)
{
    struct log_batch *list = commit->first;

    commit->first = NULL;
    commit->last = &commit->first;
    return list;
}

/* What the scout and the way have to tell each other. */
static void commit_meet_scout(struct kafka_commit *commit, int64_t now_us)
{
    if (!way_wants_reach(commit->way))
        return;
    if (scout_take(commit->scout))
        way_reached(commit->way, now_us);
    else
        scout_send(commit->scout);
}

static void commit_turn(struct kafka_commit *commit)
{
    struct log_batch *list;
    int64_t           now_us, next_us;
    bool              more;

    pthread_mutex_lock(&commit->lock);
    now_us = clock_mono_us();
    list = commit_pick(commit);
    commit->scout_back = false;
    pthread_mutex_unlock(&commit->lock);
    commit_meet_scout(commit, now_us);
    if (list != NULL)
        way_take(commit->way, list, now_us);
    next_us = way_step(commit->way, now_us);
    commit_watch(commit, now_us);
    if (commit->options.watch != NULL && next_us > now_us + COMMIT_WATCH_US)
        next_us = now_us + COMMIT_WATCH_US;
    pthread_mutex_lock(&commit->lock);
    more = commit->first != NULL || commit->scout_back || commit->stopping || commit->place != PLACE_RUNS;
    commit->listening = !more;
    pthread_mutex_unlock(&commit->lock);
    way_listen(commit->way, more ? 0 : next_us - now_us);
    pthread_mutex_lock(&commit->lock);
    commit->listening = false;
    pthread_mutex_unlock(&commit->lock);
}

/* --- resting, forwarding ----------------------------------------------------------------------- */

/* Everything is answered, and the spool let go. Under the lock but for the settling. */
static void commit_rest(struct kafka_commit *commit)
{
    struct log_batch *list = commit_pick(commit);

    pthread_mutex_unlock(&commit->lock);
    if (list != NULL)
        way_take(commit->way, list, clock_mono_us());
    way_settle(commit->way, COMMIT_SETTLE_US);
    commit_watch(commit, clock_mono_us());
    way_free(commit->way);
    commit->way = NULL;
    if (commit->inlet->spool != NULL)
        spool_rest(commit->inlet->spool);
    pthread_mutex_lock(&commit->lock);
    commit->place = PLACE_RESTS;
    pthread_cond_broadcast(&commit->rested);
}

/* Under the lock. */
static void commit_resume(struct kafka_commit *commit)
{
    struct err err = { 0 };

    if ((commit->inlet->spool != NULL && spool_wake(commit->inlet->spool, &err) < 0) || commit_way_open(commit, &err) < 0) {
        commit->stopped = true;
        commit->stop_err = err;
        commit->place = PLACE_RESTS;
    } else {
        commit->place = PLACE_RUNS;
    }
    pthread_cond_broadcast(&commit->rested);
}

static void commit_forward_list(struct kafka_commit *commit, struct log_batch *list)
{
    while (list != NULL) {
        struct log_batch        *batch = list;
        struct log_commit_result result = { .ok = false };

        list = list->next;
        batch->next = NULL;
        log_forward_send(commit->forward_fd, batch, &result);
        commit_answered(commit, batch, &result);
    }
}

static void *commit_main(void *arg)
{
    struct kafka_commit *commit = arg;

    pthread_mutex_lock(&commit->lock);
    for (;;) {
        if (commit->way != NULL && commit->place == PLACE_REST_ASKED) {
            commit_rest(commit);
        } else if (commit->place == PLACE_RESUME_ASKED) {
            commit_resume(commit);
        } else if (commit->way != NULL) {
            if (commit->stopping && commit->first == NULL)
                break;
            pthread_mutex_unlock(&commit->lock);
            commit_turn(commit);
            pthread_mutex_lock(&commit->lock);
        } else if (commit->place == PLACE_FORWARDS && commit->first != NULL) {
            struct log_batch *list = commit_pick(commit);

            pthread_mutex_unlock(&commit->lock);
            commit_forward_list(commit, list);
            pthread_mutex_lock(&commit->lock);
        } else if (commit->stopping) {
            break;
        } else {
            pthread_cond_wait(&commit->wake, &commit->lock);
        }
    }
    pthread_mutex_unlock(&commit->lock);
    if (commit->way != NULL) {
        way_settle(commit->way, COMMIT_SETTLE_US);
        commit->watched_us = 0; /* what it left behind */
        commit_watch(commit, clock_mono_us());
    }
    return NULL;
}

/* --- log.h ------------------------------------------------------------------------------------- */

static void commit_free(struct kafka_commit *commit)
{
    scout_stop(commit->scout);
    way_free(commit->way);
    if (commit->line != NULL)
        commit->line->ops->close(commit->line);
    io_close(commit->forward_fd);
    pthread_mutex_destroy(&commit->lock);
    pthread_cond_destroy(&commit->wake);
    pthread_cond_destroy(&commit->rested);
    commit->magic = 0;
    free(commit);
}

static void commit_wake(struct kafka_commit *commit)
{
    pthread_cond_broadcast(&commit->wake);
    commit->line->ops->wake(commit->line);
}

static int kafka_commit_start(struct log_writer *writer_take, const struct log_commit_options *options, struct log_commit **out,
                              struct err *err)
{
    struct kafka_commit *commit = calloc(1, sizeof *commit);
    int                  rc;

    if (commit == NULL)
        return err_set(err, ERR_FULL, "no memory for a committer");
    commit->inlet = (struct inlet *)(void *)writer_take;
    assert(commit->inlet->magic == INLET_MAGIC);
    commit->ops = commit->inlet->ops;
    commit->magic = KAFKA_COMMIT_MAGIC;
    if (options != NULL)
        commit->options = *options;
    commit->pending_bytes_max = commit->options.pending_bytes_max == 0 ? COMMIT_PENDING_BYTES : commit->options.pending_bytes_max;
    commit->last = &commit->first;
    commit->forward_fd = -1;
    commit->watched_way = LOG_WAY_COUNT;
    pthread_mutex_init(&commit->lock, NULL);
    pthread_cond_init(&commit->wake, NULL);
    pthread_cond_init(&commit->rested, NULL);
    if (kafka_line_open(options_of(commit), commit->inlet->name, &commit->line, err) < 0 || commit_way_open(commit, err) < 0) {
        commit_free(commit);
        return -1;
    }
    if (commit_scout_start(commit, err) < 0 || scout_wait(commit->scout, COMMIT_START_US, err) < 0) {
        commit_free(commit);
        return -1;
    }
    rc = pthread_create(&commit->thread, NULL, commit_main, commit);
    if (rc != 0) {
        commit_free(commit);
        return err_errno(err, rc, "start the committer's thread");
    }
    *out = (struct log_commit *)(void *)commit;
    return 0;
}

static void kafka_commit_stop(struct log_commit *any)
{
    struct kafka_commit *commit = commit_of(any);
    struct inlet        *inlet = commit->inlet;

    pthread_mutex_lock(&commit->lock);
    commit->stopping = true;
    commit_wake(commit);
    pthread_mutex_unlock(&commit->lock);
    pthread_join(commit->thread, NULL);
    commit_free(commit);
    inlet_close((struct log_writer *)(void *)inlet);
}

static int kafka_commit_submit(struct log_commit *any, struct log_batch *batch_take, log_commit_done *done, void *ctx, struct err *err)
{
    struct kafka_commit *commit = commit_of(any);
    int                  rc = 0;

    assert(batch_take->count > 0);
    pthread_mutex_lock(&commit->lock);
    if (commit->stopped) {
        *err = commit->stop_err;
        rc = -1;
    } else if (commit->place != PLACE_RUNS && commit->place != PLACE_FORWARDS) {
        rc = err_set(err, ERR_FULL, "the log is being handed to another process");
    } else if (commit->pending_bytes > 0 && commit->pending_bytes + batch_take->bytes > commit->pending_bytes_max) {
        rc = err_set(err, ERR_FULL, "%zu bytes wait for the brokers already", commit->pending_bytes);
    } else {
        batch_take->done = done;
        batch_take->done_ctx = ctx;
        batch_take->next = NULL;
        commit->pending_bytes += batch_take->bytes;
        if (commit->first == NULL && commit->listening)
            commit->line->ops->wake(commit->line);
        else if (commit->first == NULL && commit->place == PLACE_FORWARDS)
            pthread_cond_signal(&commit->wake);
        *commit->last = batch_take;
        commit->last = &batch_take->next;
    }
    pthread_mutex_unlock(&commit->lock);
    return rc;
}

static int kafka_commit_rest(struct log_commit *any, struct err *err)
{
    struct kafka_commit *commit = commit_of(any);
    int                  rc = 0;

    pthread_mutex_lock(&commit->lock);
    if (commit->place == PLACE_RUNS)
        commit->place = PLACE_REST_ASKED;
    commit_wake(commit);
    while (commit->place == PLACE_REST_ASKED)
        pthread_cond_wait(&commit->rested, &commit->lock);
    if (commit->stopped) {
        *err = commit->stop_err;
        rc = -1;
    }
    pthread_mutex_unlock(&commit->lock);
    return rc;
}

static int kafka_commit_resume(struct log_commit *any, struct err *err)
{
    struct kafka_commit *commit = commit_of(any);
    int                  rc = 0;

    pthread_mutex_lock(&commit->lock);
    assert(commit->place == PLACE_RESTS);
    commit->place = PLACE_RESUME_ASKED;
    commit_wake(commit);
    while (commit->place == PLACE_RESUME_ASKED)
        pthread_cond_wait(&commit->rested, &commit->lock);
    if (commit->stopped) {
        *err = commit->stop_err;
        err->kind = ERR_STOP;
        rc = -1;
    }
    pthread_mutex_unlock(&commit->lock);
    return rc;
}

static void kafka_commit_forward(struct log_commit *any, int fd_take)
{
    struct kafka_commit *commit = commit_of(any);

    pthread_mutex_lock(&commit->lock);
    assert(commit->place == PLACE_RESTS);
    commit->forward_fd = fd_take;
    commit->place = PLACE_FORWARDS;
    commit_wake(commit);
    pthread_mutex_unlock(&commit->lock);
}

static const struct log_ops inlet_ops = {
    .writer_close = inlet_close,           .writer_end = inlet_end,
    .commit_start = kafka_commit_start,    .commit_stop = kafka_commit_stop,
    .commit_submit = kafka_commit_submit,  .commit_rest = kafka_commit_rest,
    .commit_resume = kafka_commit_resume,  .commit_forward = kafka_commit_forward,
    .commit_serve = embedded_commit_serve, /* of forward.c, which submits to either backend */
};

int kafka_inlet_open(struct kafka_log *log, const char *topic, const struct log_topic_options *options, struct log_writer **out,
                     struct err *err)
{
    struct inlet *inlet = calloc(1, sizeof *inlet);

    if (inlet == NULL)
        return err_set(err, ERR_FULL, "no memory for a writer");
    inlet->ops = &inlet_ops;
    inlet->magic = INLET_MAGIC;
    inlet->log = log;
    if (options != NULL)
        inlet->options = *options;
    (void)snprintf(inlet->topic, sizeof inlet->topic, "%s", topic);
    if (kafka_topic_name(log, topic, inlet->name, err) < 0 || inlet_spool_open(inlet, err) < 0) {
        inlet_close((struct log_writer *)(void *)inlet);
        return -1;
    }
    *out = (struct log_writer *)(void *)inlet;
    return 0;
}
