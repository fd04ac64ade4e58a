/* people/seen_work.c - why a thread: sorting a million ids and syncing their file takes a good part of a second, a
 * merge of the largest runs a minute, and the writer's transactions go on meanwhile. The steps between which a merge
 * looks around are some milliseconds long. */
#include "people/seen_work.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/say.h"
#include "base/thread.h"
#include "people/seen_writer.h"

enum { STEP_ENTRIES = 16384, DOOMED_MAX = 64 };

enum job_state { JOB_IDLE, JOB_ASKED, JOB_DONE };

struct seen_work {
    /* fixed after start */
    int             dir_fd;
    uint64_t        seed;
    pthread_t       thread;
    /* @lock lock */
    pthread_mutex_t lock;
    pthread_cond_t  wake, done;
    enum job_state  states[SEEN_JOB_KINDS];
    bool            stopping;
    uint64_t        doomed[DOOMED_MAX]; /* files to delete */
    size_t          doomed_count;
    struct seen_job jobs[SEEN_JOB_KINDS]; /* the thread's while ASKED, else the writer's */
};

/* --- a flush ----------------------------------------------------------------------------------- */

struct sort_item {
    uint64_t hash;
    uint32_t index;
};

static unsigned sort_bits(size_t count)
{
    unsigned bits = 1;

    while (bits < 20 && (size_t)8 << bits < count)
        bits++;
    return bits;
}

/* Each into its bucket by the hash's first bits, which are even; a few are left to sort in each. */
static int sort_recent(const struct seen_recent *recent, struct sort_item **out, struct err *err)
{
    unsigned          bits = sort_bits(recent->count);
    size_t            buckets = (size_t)1 << bits;
    struct sort_item *items = malloc((recent->count + 1) * sizeof *items);
    uint32_t         *starts = calloc(buckets + 1, sizeof *starts);

    if (items == NULL || starts == NULL) {
        free(items);
        free(starts);
        return err_set(err, ERR_FULL, "people: no memory to sort %zu ids", recent->count);
    }
    for (size_t i = 0; i < recent->count; i++)
        starts[(seen_entry_hash(&recent->entries[i], recent->seed) >> (64 - bits)) + 1]++;
    for (size_t i = 0; i < buckets; i++)
        starts[i + 1] += starts[i];
    for (size_t i = 0; i < recent->count; i++) {
        uint64_t hash = seen_entry_hash(&recent->entries[i], recent->seed);

        items[starts[hash >> (64 - bits)]++] = (struct sort_item){ hash, (uint32_t)i };
    }
    for (size_t i = 1; i < recent->count; i++) { /* nobody has far to go */
        struct sort_item item = items[i];
        size_t           to = i;

        for (; to > 0 && items[to - 1].hash > item.hash; to--)
            items[to] = items[to - 1];
        items[to] = item;
    }
    free(starts);
    *out = items;
    return 0;
}

/* Takes entries in the order of their hash and lets the latest day of each id through that is not over. */
struct sieve {
    struct seen_writer      writer;
    uint16_t                today;
    bool                    held;
    struct seen_entry       entry; /* the last one; its next may be the same id of another day */
    uint64_t                hash;
};

static int sieve_let_go(struct sieve *sieve, struct err *err)
{
    if (!sieve->held || seen_day_over(seen_entry_day(&sieve->entry), sieve->today))
        return 0;
    return seen_writer_add(&sieve->writer, &sieve->entry, sieve->hash, err);
}

static int sieve_put(struct sieve *sieve, const struct seen_entry *entry, uint64_t hash, struct err *err)
{
    if (sieve->held && sieve->hash == hash && seen_entry_same(&sieve->entry, entry)) {
        if (seen_entry_day(entry) > seen_entry_day(&sieve->entry))
            sieve->entry = *entry;
        return 0;
    }
    if (sieve_let_go(sieve, err) < 0)
        return -1;
    sieve->held = true;
    sieve->entry = *entry;
    sieve->hash = hash;
    return 0;
}

/* Ends the file and opens it as a run; job->run stays NULL when nothing came through. */
static int sieve_finish(struct seen_work *work, struct seen_job *job, struct sieve *sieve, struct err *err)
{
    struct seen_run *run;

    if (sieve_let_go(sieve, err) < 0)
        goto failed;
    if (sieve->writer.shape.entries == 0) {
        seen_writer_drop(&sieve->writer);
        return 0;
    }
    run = calloc(1, sizeof *run);
    if (run == NULL) {
        (void)err_set(err, ERR_FULL, "people: no memory for a run");
        goto failed;
    }
    run->fd = -1;
    run->number = job->number;
    run->last = job->last;
    run->level = job->level;
    run->seed = work->seed;
    if (seen_writer_finish(&sieve->writer, &run->shape, err) < 0 || seen_run_open(work->dir_fd, run, false, err) < 0) {
        seen_run_free(run);
        return -1;
    }
    job->run = run;
    return 0;
failed:
    seen_writer_drop(&sieve->writer);
    return -1;
}

static bool work_stopping(struct seen_work *work)
{
    bool stopping;

    (void)pthread_mutex_lock(&work->lock);
    stopping = work->stopping;
    (void)pthread_mutex_unlock(&work->lock);
    return stopping;
}

static int flush(struct seen_work *work, struct seen_job *job, struct err *err)
{
    const struct seen_recent *recent = job->recent;
    struct sort_item         *items = NULL;
    struct sieve              sieve = { .today = job->today };
    int                       rc = -1;

    if (sort_recent(recent, &items, err) < 0 ||
        seen_writer_open(&sieve.writer, work->dir_fd, job->number, work->seed, recent->count, err) < 0)
        goto end;
    for (size_t i = 0; i < recent->count; i++) {
        if (i % STEP_ENTRIES == 0 && work_stopping(work)) {
            (void)err_set(err, ERR_RETRY, "stopped");
            goto drop;
        }
        if (sieve_put(&sieve, &recent->entries[items[i].index], items[i].hash, err) < 0)
            goto drop;
    }
    rc = sieve_finish(work, job, &sieve, err);
    goto end;
drop:
    seen_writer_drop(&sieve.writer);
end:
    free(items);
    return rc;
}

/* --- a merge ----------------------------------------------------------------------------------- */

static void job_run(struct seen_work *work, enum seen_job_kind kind);

/* Between two steps of a merge. -1: stop. */
static int look_around(struct seen_work *work, struct err *err)
{
    bool stopping, flushing;

    (void)pthread_mutex_lock(&work->lock);
    stopping = work->stopping;
    flushing = work->states[SEEN_FLUSH] == JOB_ASKED;
    (void)pthread_mutex_unlock(&work->lock);
    if (stopping)
        return err_set(err, ERR_RETRY, "stopped");
    if (flushing)
        job_run(work, SEEN_FLUSH);
    return 0;
}

static int merge_entries(struct seen_work *work, struct seen_job *job, struct seen_cursor *cursors, struct sieve *sieve,
                         struct err *err)
{
    const struct seen_entry *heads[SEEN_MERGE_RUNS];
    uint64_t                 given = 0;

    for (size_t i = 0; i < job->input_count; i++)
        heads[i] = seen_cursor_next(&cursors[i]);
    for (;; given++) {
        size_t least = job->input_count;

        if (given % STEP_ENTRIES == 0 && look_around(work, err) < 0)
            return -1;
        for (size_t i = 0; i < job->input_count; i++)
            if (heads[i] != NULL && (least == job->input_count || cursors[i].hash < cursors[least].hash))
                least = i;
        if (least == job->input_count)
            return 0;
        if (sieve_put(sieve, heads[least], cursors[least].hash, err) < 0)
            return -1;
        heads[least] = seen_cursor_next(&cursors[least]);
    }
}

static int merge(struct seen_work *work, struct seen_job *job, struct err *err)
{
    struct seen_cursor cursors[SEEN_MERGE_RUNS] = { 0 };
    struct sieve       sieve = { .today = job->today };
    uint64_t           entries_max = 0;
    int                rc = -1;

    for (size_t i = 0; i < job->input_count; i++) {
        entries_max += job->inputs[i]->shape.entries;
        if (seen_cursor_init(&cursors[i], job->inputs[i], err) < 0)
            goto end;
    }
    if (seen_writer_open(&sieve.writer, work->dir_fd, job->number, work->seed, entries_max, err) < 0)
        goto end;
    if (merge_entries(work, job, cursors, &sieve, err) < 0)
        seen_writer_drop(&sieve.writer);
    else
        rc = sieve_finish(work, job, &sieve, err);
    for (size_t i = 0; i < job->input_count; i++) {
        job->blocks_lost += cursors[i].blocks_lost;
        job->entries_lost += cursors[i].entries_lost;
    }
end:
    for (size_t i = 0; i < job->input_count; i++)
        seen_cursor_fini(&cursors[i]);
    return rc;
}

/* --- the thread -------------------------------------------------------------------------------- */

static void job_run(struct seen_work *work, enum seen_job_kind kind)
{
    struct seen_job *job = &work->jobs[kind];

    job->rc = kind == SEEN_FLUSH ? flush(work, job, &job->err) : merge(work, job, &job->err);
    (void)pthread_mutex_lock(&work->lock);
    work->states[kind] = JOB_DONE;
    (void)pthread_cond_broadcast(&work->done);
    (void)pthread_mutex_unlock(&work->lock);
}

static void unlink_run(int dir_fd, uint64_t number)
{
    char name[SEEN_RUN_NAME_BYTES];

    seen_run_name(number, "run", name);
    if (io_unlink(dir_fd, name) < 0 && errno != ENOENT)
        say(SAY_WARN, "people: seen/%s cannot be deleted: %s", name, strerror(errno));
}

void seen_work_unlink(struct seen_work *work, int dir_fd, uint64_t number)
{
    bool queued = false;

    if (work != NULL) {
        (void)pthread_mutex_lock(&work->lock);
        queued = work->doomed_count < DOOMED_MAX;
        if (queued)
            work->doomed[work->doomed_count++] = number;
        (void)pthread_cond_broadcast(&work->wake);
        (void)pthread_mutex_unlock(&work->lock);
    }
    if (!queued)
        unlink_run(dir_fd, number);
}

static void *work_main(void *ctx)
{
    struct seen_work *work = ctx;

    (void)pthread_mutex_lock(&work->lock);
    while (!work->stopping) {
        enum seen_job_kind kind = work->states[SEEN_FLUSH] == JOB_ASKED ? SEEN_FLUSH : SEEN_MERGE;

        if (work->doomed_count > 0) {
            uint64_t number = work->doomed[--work->doomed_count];

            (void)pthread_mutex_unlock(&work->lock);
            unlink_run(work->dir_fd, number);
            (void)pthread_mutex_lock(&work->lock);
            continue;
        }
        if (work->states[kind] != JOB_ASKED) {
            (void)pthread_cond_wait(&work->wake, &work->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&work->lock);
        job_run(work, kind);
        (void)pthread_mutex_lock(&work->lock);
    }
    (void)pthread_mutex_unlock(&work->lock);
    return NULL;
}

int seen_work_start(int dir_fd, uint64_t seed, struct seen_work **out, struct err *err)
{
    struct seen_work *work = calloc(1, sizeof *work);
    int               rc;

    if (work == NULL)
        return err_set(err, ERR_FULL, "people: no memory");
    work->dir_fd = dir_fd;
    work->seed = seed;
    (void)pthread_mutex_init(&work->lock, NULL);
    (void)pthread_cond_init(&work->wake, NULL);
    (void)pthread_cond_init(&work->done, NULL);
    rc = thread_start(&work->thread, work_main, work);
    if (rc != 0) {
        free(work);
        return err_errno(err, rc, "people: no thread for the seen ids");
    }
    *out = work;
    return 0;
}

void seen_work_stop(struct seen_work *work)
{
    if (work == NULL)
        return;
    (void)pthread_mutex_lock(&work->lock);
    work->stopping = true;
    (void)pthread_cond_broadcast(&work->wake);
    (void)pthread_mutex_unlock(&work->lock);
    (void)pthread_join(work->thread, NULL);
    for (unsigned kind = 0; kind < SEEN_JOB_KINDS; kind++)
        if (work->jobs[kind].run != NULL)
            seen_run_free(work->jobs[kind].run);
    (void)pthread_cond_destroy(&work->done);
    (void)pthread_cond_destroy(&work->wake);
    (void)pthread_mutex_destroy(&work->lock);
    free(work);
}

static enum job_state state_of(struct seen_work *work, enum seen_job_kind kind)
{
    enum job_state state;

    (void)pthread_mutex_lock(&work->lock);
    state = work->states[kind];
    (void)pthread_mutex_unlock(&work->lock);
    return state;
}

static void state_set(struct seen_work *work, enum seen_job_kind kind, enum job_state state)
{
    (void)pthread_mutex_lock(&work->lock);
    work->states[kind] = state;
    (void)pthread_cond_broadcast(&work->wake);
    (void)pthread_mutex_unlock(&work->lock);
}

bool seen_work_idle(struct seen_work *work, enum seen_job_kind kind)
{
    return state_of(work, kind) == JOB_IDLE;
}

void seen_work_ask(struct seen_work *work, enum seen_job_kind kind, const struct seen_job *job)
{
    work->jobs[kind] = *job;
    state_set(work, kind, JOB_ASKED);
}

struct seen_job *seen_work_done(struct seen_work *work, enum seen_job_kind kind)
{
    return state_of(work, kind) == JOB_DONE ? &work->jobs[kind] : NULL;
}

void seen_work_wait(struct seen_work *work, enum seen_job_kind kind)
{
    (void)pthread_mutex_lock(&work->lock);
    while (work->states[kind] == JOB_ASKED)
        (void)pthread_cond_wait(&work->done, &work->lock);
    (void)pthread_mutex_unlock(&work->lock);
}

void seen_work_take(struct seen_work *work, enum seen_job_kind kind)
{
    work->jobs[kind].run = NULL;
    state_set(work, kind, JOB_IDLE);
}
