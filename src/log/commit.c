/* log/commit.c - group commit.
 *
 * The thread takes all that is pending, appends it, syncs once, and answers; whatever came meanwhile is
 * the next group. Nothing ever waits for company: alone, a batch is synced at once, and under load the
 * sync itself is the time in which a group gathers. A group is bounded by what may be pending.
 * The writer is one thread's at a time: the committer's, or that of one who claimed it because he would only wait. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/say.h"
#include "base/wait.h"
#include "log/forward.h"
#include "log/log_batch.h"
#include "log/log_writer.h"

enum { COMMIT_MAGIC = 0x636f6d6d, COMMIT_PENDING_BYTES = 64 << 20, COMMIT_RETAIN_EVERY_US = 5000000 };

struct log_commit { /* embedded */
    const struct log_ops *ops;
    uint32_t           magic;
    size_t             pending_bytes_max; /* fixed after start */
    struct log_writer *writer;            /* whose `taken` is */
    int64_t            retained_us;       /* @thread committer; of the monotonic clock */
    pthread_t          thread;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    /* @lock lock */
    struct log_batch *first, **last;
    size_t            pending_bytes;
    bool              taken; /* a thread has the writer */
    bool              stopping, stopped;
    struct err        stop_err;
    enum { COMMIT_RUNS, COMMIT_REST_ASKED, COMMIT_RESTS, COMMIT_FORWARDS } place;
    pthread_cond_t    rested;
    int               forward_fd; /* @thread committer, from COMMIT_FORWARDS on */
};

/* Appends one run of batches; each gets its result, but ok only becomes true after the sync. */
static void group_append(struct log_commit *commit, struct log_batch *group)
{
    struct log_batch *batch = group;

    while (batch != NULL) {
        const struct log_batch *run[WRITER_GROUP_MAX];
        struct log_batch       *at = batch;
        uint64_t                bases[WRITER_GROUP_MAX];
        size_t                  count = 0, done = 0;
        struct err              err;
        int                     rc;

        while (at != NULL && count < WRITER_GROUP_MAX) {
            run[count++] = at;
            at = at->next;
        }
        rc = log_writer_append_group(commit->writer, run, count, clock_wall_us(), bases, &done, &err);
        for (size_t i = 0; i < done; i++, batch = batch->next)
            batch->result = (struct log_commit_result){ .ok = true, .base = bases[i] };
        if (rc < 0) { /* the next ones may be smaller: each is tried */
            batch->result = (struct log_commit_result){ .ok = false, .err = err };
            batch = batch->next;
        }
    }
}

static void group_answer(struct log_commit *commit, struct log_batch *group)
{
    while (group != NULL) {
        struct log_batch        *next = group->next;
        struct log_commit_result result = group->result;
        size_t                   bytes = group->bytes;

        group->next = NULL;
        group->done(group->done_ctx, group, &result);
        pthread_mutex_lock(&commit->lock);
        commit->pending_bytes -= bytes;
        pthread_mutex_unlock(&commit->lock);
        group = next;
    }
}

/* Each goes to the process that writes now, and comes back with its result. */
static void forward_group(struct log_commit *commit, struct log_batch *group)
{
    for (struct log_batch *batch = group; batch != NULL; batch = batch->next)
        log_forward_send(commit->forward_fd, batch, &batch->result);
    group_answer(commit, group);
}

static void commit_group(struct log_commit *commit, struct log_batch *group)
{
    struct err err;

    if (commit->forward_fd >= 0) {
        forward_group(commit, group);
        return;
    }
    group_append(commit, group);
    if (embedded_writer_sync(commit->writer, &err) == 0) {
        embedded_writer_publish(commit->writer, embedded_writer_end(commit->writer));
    } else {
        pthread_mutex_lock(&commit->lock);
        commit->stopped = true;
        commit->stop_err = err;
        pthread_mutex_unlock(&commit->lock);
        for (struct log_batch *batch = group; batch != NULL; batch = batch->next)
            batch->result = (struct log_commit_result){ .ok = false, .err = err };
    }
    group_answer(commit, group);
}

/* Between groups, so that nobody waits for a deletion before his answer. Nothing grows without groups. */
static void commit_retain(struct log_commit *commit)
{
    static struct say_gate gate;
    int64_t                now_us = clock_mono_us();
    struct err             err = { 0 };

    if (commit->writer == NULL || now_us - commit->retained_us < COMMIT_RETAIN_EVERY_US)
        return;
    commit->retained_us = now_us;
    if (embedded_writer_retain(commit->writer, clock_wall_us(), &err) < 0)
        say_seldom(&gate, SAY_WARN, "old segments stay: %s", err.text);
}

/* Waits for batches; now and then looks after old segments, and whether a new one is asked for. Under the lock. */
static void commit_idle(struct log_commit *commit)
{
    if (wait_until(&commit->wake, &commit->lock, clock_mono_us() + COMMIT_RETAIN_EVERY_US + 1000000) || commit->taken)
        return;
    commit->taken = true;
    pthread_mutex_unlock(&commit->lock);
    commit_retain(commit);
    pthread_mutex_lock(&commit->lock);
    commit->taken = false;
}

/* With the lock held, and nothing left to write. */
static void commit_rest(struct log_commit *commit)
{
    log_writer_rest(commit->writer);
    commit->place = COMMIT_RESTS;
    pthread_cond_broadcast(&commit->rested);
    while (commit->place == COMMIT_RESTS && !commit->stopping)
        pthread_cond_wait(&commit->wake, &commit->lock);
}

static void *commit_main(void *arg)
{
    struct log_commit *commit = arg;

    pthread_mutex_lock(&commit->lock);
    for (;;) {
        struct log_batch *group = commit->first;

        if (commit->taken && (group != NULL || commit->place == COMMIT_REST_ASKED || commit->stopping)) {
            pthread_cond_wait(&commit->wake, &commit->lock); /* who has the writer tells when he has done */
            continue;
        }
        if (group == NULL) {
            if (commit->place == COMMIT_REST_ASKED) {
                commit_rest(commit); /* and there may be something by now */
                continue;
            }
            if (commit->stopping)
                break;
            commit_idle(commit);
            continue;
        }
        commit->first = NULL;
        commit->last = &commit->first;
        commit->taken = true;
        pthread_mutex_unlock(&commit->lock);
        commit_group(commit, group);
        commit_retain(commit);
        pthread_mutex_lock(&commit->lock);
        commit->taken = false;
    }
    pthread_mutex_unlock(&commit->lock);
    return NULL;
}

int embedded_commit_start(struct log_writer *writer_take, const struct log_commit_options *options, struct log_commit **out,
                     struct err *err)
{
    struct log_commit *commit = calloc(1, sizeof *commit);
    int                rc;

    if (commit == NULL)
        return err_set(err, ERR_FULL, "no memory for a committer");
    commit->ops = &log_embedded_ops;
    commit->magic = COMMIT_MAGIC;
    commit->pending_bytes_max = options == NULL || options->pending_bytes_max == 0 ? COMMIT_PENDING_BYTES : options->pending_bytes_max;
    commit->writer = writer_take;
    commit->last = &commit->first;
    commit->forward_fd = -1;
    /* What recovery found whole is durable, so readers may have it. */
    embedded_writer_publish(writer_take, embedded_writer_end(writer_take));
    pthread_mutex_init(&commit->lock, NULL);
    wait_cond_init(&commit->wake);
    pthread_cond_init(&commit->rested, NULL);
    rc = pthread_create(&commit->thread, NULL, commit_main, commit);
    if (rc != 0) {
        pthread_mutex_destroy(&commit->lock);
        pthread_cond_destroy(&commit->wake);
        pthread_cond_destroy(&commit->rested);
        free(commit);
        return err_errno(err, rc, "start the committer's thread");
    }
    *out = commit;
    return 0;
}

void embedded_commit_stop(struct log_commit *commit)
{
    if (commit == NULL)
        return;
    assert(commit->magic == COMMIT_MAGIC);
    pthread_mutex_lock(&commit->lock);
    commit->stopping = true;
    pthread_cond_signal(&commit->wake);
    pthread_mutex_unlock(&commit->lock);
    pthread_join(commit->thread, NULL);
    if (commit->place == COMMIT_RESTS)
        commit->writer->stopped = true; /* it is another's, who may be opening it */
    embedded_writer_close(commit->writer);
    io_close(commit->forward_fd);
    pthread_mutex_destroy(&commit->lock);
    pthread_cond_destroy(&commit->wake);
    pthread_cond_destroy(&commit->rested);
    commit->magic = 0;
    free(commit);
}

int embedded_commit_submit(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx,
                      struct err *err)
{
    bool wake = false;
    int  rc = 0;

    assert(commit->magic == COMMIT_MAGIC);
    assert(batch_take->count > 0);
    pthread_mutex_lock(&commit->lock);
    if (commit->stopped) {
        *err = commit->stop_err;
        rc = -1;
    } else if (commit->place == COMMIT_REST_ASKED || commit->place == COMMIT_RESTS) {
        rc = err_set(err, ERR_FULL, "the log is being handed to another process");
    } else if (commit->pending_bytes > 0 && commit->pending_bytes + batch_take->bytes > commit->pending_bytes_max) {
        rc = err_set(err, ERR_FULL, "%zu bytes wait to be written already", commit->pending_bytes);
    } else {
        batch_take->done = done;
        batch_take->done_ctx = ctx;
        batch_take->next = NULL;
        commit->pending_bytes += batch_take->bytes;
        wake = commit->first == NULL;
        *commit->last = batch_take;
        commit->last = &batch_take->next;
    }
    pthread_mutex_unlock(&commit->lock);
    if (wake) /* not before: the committer would wake up, and wait for the lock */
        pthread_cond_signal(&commit->wake);
    return rc;
}

bool embedded_commit_claim(struct log_commit *commit, const struct log_batch *batch)
{
    bool mine;

    assert(commit->magic == COMMIT_MAGIC);
    pthread_mutex_lock(&commit->lock);
    mine = !commit->taken && commit->first == NULL && commit->place == COMMIT_RUNS && !commit->stopped && !commit->stopping &&
           log_writer_has_room(commit->writer, batch->bytes);
    if (mine) {
        commit->taken = true;
        commit->pending_bytes += batch->bytes;
    }
    pthread_mutex_unlock(&commit->lock);
    return mine;
}

void embedded_commit_write(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx)
{
    bool wake;

    assert(batch_take->count > 0);
    batch_take->done = done;
    batch_take->done_ctx = ctx;
    batch_take->next = NULL;
    commit_group(commit, batch_take);
    pthread_mutex_lock(&commit->lock);
    commit->taken = false;
    wake = commit->first != NULL || commit->place != COMMIT_RUNS || commit->stopping;
    pthread_mutex_unlock(&commit->lock);
    if (wake)
        pthread_cond_signal(&commit->wake);
}

int embedded_commit_rest(struct log_commit *commit, struct err *err)
{
    int rc = 0;

    assert(commit->magic == COMMIT_MAGIC);
    pthread_mutex_lock(&commit->lock);
    if (commit->place == COMMIT_RUNS)
        commit->place = COMMIT_REST_ASKED;
    pthread_cond_signal(&commit->wake);
    while (commit->place == COMMIT_REST_ASKED)
        pthread_cond_wait(&commit->rested, &commit->lock);
    if (commit->stopped) {
        *err = commit->stop_err;
        rc = -1;
    }
    pthread_mutex_unlock(&commit->lock);
    return rc;
}

int embedded_commit_resume(struct log_commit *commit, struct err *err)
{
    int rc;

    pthread_mutex_lock(&commit->lock);
    assert(commit->place == COMMIT_RESTS);
    rc = log_writer_wake(commit->writer, err);
    if (rc < 0) {
        commit->writer->stopped = commit->stopped = true;
        commit->writer->stop_err = commit->stop_err = *err;
    }
    commit->place = COMMIT_RUNS;
    pthread_cond_signal(&commit->wake);
    pthread_mutex_unlock(&commit->lock);
    return rc;
}

void embedded_commit_forward(struct log_commit *commit, int fd_take)
{
    pthread_mutex_lock(&commit->lock);
    assert(commit->place == COMMIT_RESTS);
    commit->writer->stopped = true; /* closing adds nothing to what another process writes */
    embedded_writer_close(commit->writer);
    commit->writer = NULL;
    commit->forward_fd = fd_take;
    commit->place = COMMIT_FORWARDS;
    pthread_cond_signal(&commit->wake);
    pthread_mutex_unlock(&commit->lock);
}
