/* log/commit.c - group commit.
 *
 * The thread takes all that is pending, appends it, syncs once, and answers; whatever came meanwhile is
 * the next group. Nothing ever waits for company: alone, a batch is synced at once, and under load the
 * sync itself is the time in which a group gathers. A group is bounded by what may be pending. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/log_batch.h"
#include "log/log_writer.h"

enum { COMMIT_MAGIC = 0x636f6d6d, COMMIT_PENDING_BYTES = 64 << 20, COMMIT_RETAIN_EVERY_US = 5000000 };

struct log_commit {
    uint32_t           magic;
    size_t             pending_bytes_max; /* fixed after start */
    struct log_writer *writer;            /* @thread committer */
    int64_t            retained_us;       /* @thread committer; of the monotonic clock */
    pthread_t          thread;
    pthread_mutex_t    lock;
    pthread_cond_t     wake;
    /* @lock lock */
    struct log_batch *first, **last;
    size_t            pending_bytes;
    bool              stopping, stopped;
    struct err        stop_err;
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

static void commit_group(struct log_commit *commit, struct log_batch *group)
{
    struct err err;

    group_append(commit, group);
    if (log_writer_sync(commit->writer, &err) == 0) {
        log_writer_publish(commit->writer, log_writer_end(commit->writer));
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

    if (now_us - commit->retained_us < COMMIT_RETAIN_EVERY_US)
        return;
    commit->retained_us = now_us;
    if (log_writer_retain(commit->writer, clock_wall_us(), &err) < 0)
        say_seldom(&gate, SAY_WARN, "old segments stay: %s", err.text);
}

/* Waits for batches; now and then looks after old segments, and whether a new one is asked for. Under the lock. */
static void commit_idle(struct log_commit *commit)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += COMMIT_RETAIN_EVERY_US / 1000000 + 1;
    if (pthread_cond_timedwait(&commit->wake, &commit->lock, &until) != ETIMEDOUT)
        return;
    pthread_mutex_unlock(&commit->lock);
    commit_retain(commit);
    pthread_mutex_lock(&commit->lock);
}

static void *commit_main(void *arg)
{
    struct log_commit *commit = arg;

    pthread_mutex_lock(&commit->lock);
    for (;;) {
        struct log_batch *group = commit->first;

        if (group == NULL) {
            if (commit->stopping)
                break;
            commit_idle(commit);
            continue;
        }
        commit->first = NULL;
        commit->last = &commit->first;
        pthread_mutex_unlock(&commit->lock);
        commit_group(commit, group);
        commit_retain(commit);
        pthread_mutex_lock(&commit->lock);
    }
    pthread_mutex_unlock(&commit->lock);
    return NULL;
}

int log_commit_start(struct log_writer *writer_take, const struct log_commit_options *options, struct log_commit **out,
                     struct err *err)
{
    struct log_commit *commit = calloc(1, sizeof *commit);
    int                rc;

    if (commit == NULL)
        return err_set(err, ERR_FULL, "no memory for a committer");
    commit->magic = COMMIT_MAGIC;
    commit->pending_bytes_max = options == NULL || options->pending_bytes_max == 0 ? COMMIT_PENDING_BYTES : options->pending_bytes_max;
    commit->writer = writer_take;
    commit->last = &commit->first;
    /* What recovery found whole is durable, so readers may have it. */
    log_writer_publish(writer_take, log_writer_end(writer_take));
    pthread_mutex_init(&commit->lock, NULL);
    pthread_cond_init(&commit->wake, NULL);
    rc = pthread_create(&commit->thread, NULL, commit_main, commit);
    if (rc != 0) {
        pthread_mutex_destroy(&commit->lock);
        pthread_cond_destroy(&commit->wake);
        free(commit);
        return err_errno(err, rc, "start the committer's thread");
    }
    *out = commit;
    return 0;
}

void log_commit_stop(struct log_commit *commit)
{
    if (commit == NULL)
        return;
    assert(commit->magic == COMMIT_MAGIC);
    pthread_mutex_lock(&commit->lock);
    commit->stopping = true;
    pthread_cond_signal(&commit->wake);
    pthread_mutex_unlock(&commit->lock);
    pthread_join(commit->thread, NULL);
    log_writer_close(commit->writer);
    pthread_mutex_destroy(&commit->lock);
    pthread_cond_destroy(&commit->wake);
    commit->magic = 0;
    free(commit);
}

int log_commit_submit(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx,
                      struct err *err)
{
    int rc = 0;

    assert(commit->magic == COMMIT_MAGIC);
    assert(batch_take->count > 0);
    pthread_mutex_lock(&commit->lock);
    if (commit->stopped) {
        *err = commit->stop_err;
        rc = -1;
    } else if (commit->pending_bytes > 0 && commit->pending_bytes + batch_take->bytes > commit->pending_bytes_max) {
        rc = err_set(err, ERR_FULL, "%s: %zu bytes wait to be written already", commit->writer->part.label, commit->pending_bytes);
    } else {
        batch_take->done = done;
        batch_take->done_ctx = ctx;
        batch_take->next = NULL;
        commit->pending_bytes += batch_take->bytes;
        if (commit->first == NULL)
            pthread_cond_signal(&commit->wake);
        *commit->last = batch_take;
        commit->last = &batch_take->next;
    }
    pthread_mutex_unlock(&commit->lock);
    return rc;
}
