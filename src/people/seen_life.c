/* people/seen_life.c - the life of the seen ids over transactions, restarts and jobs.
 *
 * One state in LMDB says everything: which chunks count (from the floor on) and which runs do (those listed). Files
 * are made first and listed later, so a crash leaves at worst files that nobody lists; they are deleted at the first
 * write after opening. Nothing here waits for a job, but when the recent ids have grown to twice what they should be. */
#include "people/seen.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/put_aside.h"
#include "base/say.h"

enum {
    RECENT_MAX = 1 << 20,    /* 46 MiB, and as much again while it is written */
    RECENT_DAYS = 7,         /* few ids become a run by age, so that forgetting is always deleting a file */
    RUN_DAYS = 7,            /* a merged run spans at most so many: it is deleted a week after its first id is over */
    RUNS_CROWDED = 32,       /* more than that: merge also what spans more days */
    CHUNKS_DELETED_LEAST = 32
};
#define GRACE_US ((int64_t)60 * 1000000)
#define JOB_RETRY_US ((int64_t)2 * 1000000)

/* --- files that nobody lists any more ------------------------------------------------------------ */

/* Past its grace, or all of them. */
static void leftovers_delete(struct seen *seen, bool all)
{
    int64_t now_us = clock_mono_us();
    size_t  kept = 0;

    for (size_t i = 0; i < seen->leftover_count; i++)
        if (all || seen->leftovers[i].due_us <= now_us)
            seen_work_unlink(seen->work, seen->dir_fd, seen->leftovers[i].number);
        else
            seen->leftovers[kept++] = seen->leftovers[i];
    seen->leftover_count = kept;
}

/* A file that held damage is kept under another name, for who wants to look. */
static void leftover_add(struct seen *seen, const struct seen_run *run)
{
    struct seen_leftover *more;
    char                  from[SEEN_RUN_NAME_BYTES], to[SEEN_RUN_NAME_BYTES], kept[SEEN_RUN_NAME_BYTES];

    if (run->lost > 0 || !run->usable) {
        seen_run_name(run->number, "run", from);
        seen_run_name(run->number, "damaged", to);
        if (seen->dir_fd >= 0 && put_aside(seen->dir_fd, from, to, kept, sizeof kept) == 0)
            say(SAY_WARN, "people: the damaged file of seen ids is kept as seen/%s; delete it when nobody needs it", kept);
        return;
    }
    more = realloc(seen->leftovers, (seen->leftover_count + 1) * sizeof *more);
    if (more == NULL)
        return; /* the next opening deletes it */
    seen->leftovers = more;
    more[seen->leftover_count++] = (struct seen_leftover){ run->number, clock_mono_us() + GRACE_US };
}

/* --- entering ---------------------------------------------------------------------------------- */

static int state_fresh(struct seen_state *out, struct err *err)
{
    *out = (struct seen_state){ .next = 1, .floor = 1, .run_next = 1 };
    if (getrandom(&out->seed, sizeof out->seed, 0) != (ssize_t)sizeof out->seed)
        return err_errno(err, errno, "people: no random numbers");
    return 0;
}

int seen_enter(struct people_txn *txn, struct seen **out, struct err *err)
{
    struct people    *people = txn->people;
    struct seen      *seen = lmdb_of(people)->seen;
    struct seen_state state;
    int               got;

    if (seen != NULL && seen->txn == txn) {
        *out = seen;
        return 0;
    }
    if (seen == NULL) {
        seen = lmdb_of(people)->seen = calloc(1, sizeof *seen);
        if (seen == NULL)
            return err_set(err, ERR_FULL, "people: no memory");
        seen->people = people;
        seen->dir_fd = -1;
        seen->recent_max = lmdb_of(people)->seen_recent_max != 0 ? lmdb_of(people)->seen_recent_max : RECENT_MAX;
    }
    assert(seen->txn == NULL);
    got = seen_state_get(txn, &state, err);
    if (got == 0 && seen->loaded && seen->state.next == 1 && seen->state.generation == 0)
        state = seen->state; /* made before, and not stored yet */
    else if (got < 0 || (got == 0 && state_fresh(&state, err) < 0))
        return -1;
    if ((!seen->loaded || state.next != seen->state.next || state.generation != seen->state.generation ||
         state.seed != seen->state.seed) && seen_load(seen, txn, &state, err) < 0)
        return -1;
    seen->txn = txn;
    seen->next = seen->state;
    seen->active_before = seen->active.count;
    seen->changed = seen->fresh = got == 0;
    seen->old_left = seen_old_left(txn);
    seen->did_chores = false;
    memset(seen->listed, 0, sizeof seen->listed);
    *out = seen;
    return 0;
}

/* --- what was made ----------------------------------------------------------------------------- */

/* A finished job that failed is over; true: there is nothing to list. */
static bool job_failed(struct seen *seen, enum seen_job_kind kind, const struct seen_job *job)
{
    static struct say_gate gate;

    if (job->rc == 0)
        return false;
    say_seldom(&gate, SAY_WARN, "%s; the ids stay where they are, trying again", job->err.text);
    seen->retry_us = clock_mono_us() + JOB_RETRY_US;
    for (size_t i = 0; i < job->input_count; i++)
        job->inputs[i]->in_work = false;
    seen_work_take(seen->work, kind);
    return true;
}

/* Somebody may have deleted it between: listing it would lose its ids. */
static bool run_is_there(const struct seen_run *run)
{
    struct stat file;

    return run == NULL || (fstat(run->fd, &file) == 0 && file.st_nlink > 0);
}

static int list_job(struct seen *seen, enum seen_job_kind kind, struct err *err)
{
    struct seen_job *job = seen->work == NULL ? NULL : seen_work_done(seen->work, kind);

    if (job == NULL || job_failed(seen, kind, job))
        return 0;
    if (!run_is_there(job->run))
        return err_set(err, ERR_STOP, "people: a file of seen ids was deleted by somebody else while it was made");
    if (job->run != NULL && seen_runs_put(seen->txn, job->run, err) < 0)
        return -1;
    for (size_t i = 0; i < job->input_count; i++) {
        if (seen_runs_delete(seen->txn, job->inputs[i]->number, err) < 0)
            return -1;
        job->inputs[i]->leaving = true;
    }
    if (kind == SEEN_FLUSH) {
        seen->next.floor = seen->frozen_last + 1;
        seen->chunks_below = true;
    }
    seen->next.generation++;
    seen->changed = true;
    seen->listed[kind] = job;
    return 0;
}

/* Runs of which nothing can be asked for any more, and files that are not there. */
static int forget_runs(struct seen *seen, uint16_t today, struct err *err)
{
    for (size_t i = 0; i < seen->run_count; i++) {
        struct seen_run *run = seen->runs[i];

        if (run->in_work || run->leaving || (run->fd >= 0 && !seen_day_over(run->shape.day_last, today)))
            continue;
        if (seen_runs_delete(seen->txn, run->number, err) < 0)
            return -1;
        run->leaving = true;
        seen->next.generation++;
        seen->changed = true;
    }
    return 0;
}

/* --- what is due ------------------------------------------------------------------------------- */

static int work_ready(struct seen *seen, struct err *err)
{
    const char *folder = lmdb_of(seen->people)->folder;
    char        path[4096];
    int         parent, rc;

    if (seen->dir_fd < 0) {
        (void)snprintf(path, sizeof path, "%s/.", folder);
        parent = io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
        rc = parent < 0 || (io_mkdir(parent, "seen", 0700) < 0 && errno != EEXIST) || io_fsync(parent) < 0 ? errno : 0;
        io_close(parent);
        if (rc != 0)
            return err_errno(err, rc, "people: the folder %s/seen cannot be made", folder);
        if (seen_folder_open(seen->people, &seen->dir_fd, err) < 0)
            return -1;
        if (seen->dir_fd < 0)
            return err_set(err, ERR_RETRY, "people: the folder %s/seen went away", folder);
    }
    return seen->work != NULL ? 0 : seen_work_start(seen->dir_fd, seen->state.seed, &seen->work, err);
}

static bool flush_is_due(const struct seen *seen, uint16_t today)
{
    const struct seen_recent *active = &seen->active;

    return !seen->flushing && active->count > 0 &&
           (active->count >= seen->recent_max || seen_entry_day(&active->entries[0]) + RECENT_DAYS < today);
}

static uint64_t run_number(struct seen *seen)
{
    seen->changed = true;
    seen->state.run_next = seen->next.run_next + 1; /* in memory also when this transaction fails: numbers are not used twice */
    return seen->next.run_next++;
}

/* Nothing of this transaction is in active yet: all of it is committed. */
static void freeze(struct seen *seen)
{
    assert(seen->active.count == seen->active_before);
    seen->frozen = seen->active;
    seen->active = seen->spare;
    seen_recent_init(&seen->spare, seen->state.seed);
    seen->active_before = 0;
    seen->flushing = true;
    seen->frozen_last = seen->state.next - 1;
}

static void ask_flush(struct seen *seen, uint16_t today)
{
    seen_work_ask(seen->work, SEEN_FLUSH,
                  &(struct seen_job){ .recent = &seen->frozen, .number = run_number(seen), .last = seen->frozen_last, .today = today });
}

static bool needs_writing_anew(const struct seen_run *run)
{
    return run->fd >= 0 && !run->leaving && (run->lost > 0 || !run->usable);
}

/* The runs that are next to become one: a damaged one alone, or the newest SEEN_MERGE_RUNS neighbours of one level
 * that together do not span too many days. How many they are; 0: none. */
static size_t merge_choice(const struct seen *seen, size_t *from_out)
{
    for (size_t i = 0; i < seen->run_count; i++)
        if (needs_writing_anew(seen->runs[i])) {
            *from_out = i;
            return 1;
        }
    for (size_t from = seen->run_count; from-- > 0;) {
        uint16_t first = UINT16_MAX, last = 0;
        bool     fits = from + SEEN_MERGE_RUNS <= seen->run_count;

        for (size_t i = from; fits && i < from + SEEN_MERGE_RUNS; i++) {
            const struct seen_run *run = seen->runs[i];

            fits = run->fd >= 0 && !run->leaving && run->level == seen->runs[from]->level && run->level < UINT8_MAX;
            first = run->shape.day_first < first ? run->shape.day_first : first;
            last = run->shape.day_last > last ? run->shape.day_last : last;
        }
        if (fits && (last - first <= RUN_DAYS || seen->run_count > RUNS_CROWDED)) {
            *from_out = from;
            return SEEN_MERGE_RUNS;
        }
    }
    return 0;
}

static void ask_merge(struct seen *seen, size_t from, size_t count, uint16_t today)
{
    struct seen_job job = { .input_count = count, .today = today, .level = (uint8_t)(seen->runs[from]->level + (count > 1)) };

    for (size_t i = 0; i < count; i++) {
        job.inputs[i] = seen->runs[from + i];
        job.inputs[i]->in_work = true;
        job.last = job.inputs[i]->last;
    }
    job.number = run_number(seen);
    seen_work_ask(seen->work, SEEN_MERGE, &job);
}

static int ask_what_is_due(struct seen *seen, uint16_t today, struct err *err)
{
    bool   due = flush_is_due(seen, today);
    bool   flush = due || (seen->flushing && seen->work != NULL && seen_work_idle(seen->work, SEEN_FLUSH)); /* it failed before */
    size_t from = 0;
    size_t merge = seen->work == NULL || seen_work_idle(seen->work, SEEN_MERGE) ? merge_choice(seen, &from) : 0;

    if ((!flush && merge == 0) || clock_mono_us() < seen->retry_us)
        return 0;
    if (work_ready(seen, err) < 0) {
        seen->retry_us = clock_mono_us() + JOB_RETRY_US;
        return -1;
    }
    if (due)
        freeze(seen);
    if (flush)
        ask_flush(seen, today);
    if (merge > 0)
        ask_merge(seen, from, merge, today);
    return 0;
}

/* There are twice as many recent ids as should be: the disk is slow, or restarts came faster than a flush. */
static bool crowded(const struct seen *seen)
{
    return seen->flushing && (seen->active.count >= 2 * seen->recent_max || seen->frozen.count >= 2 * seen->recent_max);
}

/* Nothing goes on before the flush has. */
static int wait_for_flush(struct seen *seen, uint16_t today, struct err *err)
{
    struct seen_job *job;

    if (work_ready(seen, err) < 0)
        return -1;
    if (seen_work_idle(seen->work, SEEN_FLUSH))
        ask_flush(seen, today);
    seen_work_wait(seen->work, SEEN_FLUSH);
    job = seen_work_done(seen->work, SEEN_FLUSH);
    *err = job->err;
    return job_failed(seen, SEEN_FLUSH, job) ? -1 : 0;
}

int seen_chores(struct seen *seen, uint16_t today, struct err *err)
{
    static struct say_gate gate;
    struct err             why;

    if (seen->did_chores)
        return 0;
    seen->did_chores = true;
    if (crowded(seen) && wait_for_flush(seen, today, err) < 0)
        return -1;
    if (list_job(seen, SEEN_FLUSH, err) < 0 || list_job(seen, SEEN_MERGE, err) < 0 || forget_runs(seen, today, err) < 0)
        return -1;
    leftovers_delete(seen, false);
    if (ask_what_is_due(seen, today, &why) == 0)
        return 0;
    if (seen->active.count < 2 * seen->recent_max) {
        say_seldom(&gate, SAY_WARN, "%s; the ids stay where they are, trying again", why.text);
        return 0;
    }
    *err = why;
    return -1;
}

/* --- the end of a transaction ------------------------------------------------------------------ */

int seen_leave(struct people_txn *txn, struct err *err)
{
    struct seen *seen = lmdb_of(txn->people)->seen;
    size_t       made = 0;
    int          more;

    if (seen == NULL || seen->txn != txn)
        return 0;
    for (size_t i = seen->active_before, piece; i < seen->active.count; i += piece, made++) {
        piece = seen->active.count - i < SEEN_CHUNK_ENTRIES ? seen->active.count - i : SEEN_CHUNK_ENTRIES;
        if (seen_chunk_put(txn, seen->next.next++, &seen->active.entries[i], piece, err) < 0)
            return -1;
    }
    if (seen->chunks_below && (made > 0 || seen->changed)) {
        more = seen_chunks_delete(txn, seen->next.floor, CHUNKS_DELETED_LEAST + 2 * made, err);
        if (more < 0)
            return -1;
        seen->chunks_below = more == 1;
    }
    if (made == 0 && !seen->changed)
        return 0;
    if (seen->fresh && people_format_raise(txn, err) < 0)
        return -1;
    return seen_state_put(txn, &seen->next, err);
}

/* Its memory is the next active's, unless a crowded day made it larger than usual. */
static void frozen_release(struct seen *seen)
{
    if (seen->frozen.count > seen->recent_max / 2 * 3) {
        seen_recent_fini(&seen->frozen);
    } else {
        seen_recent_fini(&seen->spare);
        seen_recent_clear(&seen->frozen);
        seen->spare = seen->frozen;
        seen_recent_init(&seen->frozen, seen->state.seed);
    }
    seen->flushing = false;
}

static void listed_done(struct seen *seen, enum seen_job_kind kind, struct seen_run **run_out)
{
    struct seen_job *job = seen->listed[kind];

    *run_out = NULL;
    if (job == NULL)
        return;
    *run_out = job->run;
    if (kind == SEEN_FLUSH) {
        frozen_release(seen);
        seen->stats.flushes++;
    } else {
        seen->stats.merges++;
    }
    if (job->blocks_lost + job->entries_lost > 0) {
        for (size_t i = 0; i < job->input_count; i++)
            job->inputs[i]->lost++; /* which one it was is not told: all are kept */
        seen->stats.lost++;
        say(SAY_ERROR, "people: of the damaged file seen/%016llx.run some %llu ids were lost; a repeated event among them would "
            "be stored twice", (unsigned long long)job->inputs[0]->number,
            (unsigned long long)(job->blocks_lost * SEEN_BLOCK_ENTRIES + job->entries_lost));
    }
    seen_work_take(seen->work, kind);
}

/* The list as it is committed now: who left goes, who was listed comes, oldest first. */
static void runs_renew(struct seen *seen)
{
    struct seen_run  *made[SEEN_JOB_KINDS];
    struct seen_run **more;
    size_t            kept = 0;

    for (unsigned kind = 0; kind < SEEN_JOB_KINDS; kind++)
        listed_done(seen, kind, &made[kind]);
    for (size_t i = 0; i < seen->run_count; i++) {
        struct seen_run *run = seen->runs[i];

        if (!run->leaving) {
            seen->runs[kept++] = run;
            continue;
        }
        leftover_add(seen, run);
        seen_run_free(run);
    }
    seen->run_count = kept;
    more = realloc(seen->runs, (kept + SEEN_JOB_KINDS) * sizeof *more);
    if (more != NULL)
        seen->runs = more;
    for (unsigned kind = 0; kind < SEEN_JOB_KINDS; kind++) {
        size_t to = seen->run_count;

        if (made[kind] == NULL)
            continue;
        if (more == NULL) { /* what is listed is found by loading anew */
            seen_run_free(made[kind]);
            seen->loaded = false;
            continue;
        }
        for (; to > 0 && seen->runs[to - 1]->last > made[kind]->last; to--)
            seen->runs[to] = seen->runs[to - 1];
        seen->runs[to] = made[kind];
        seen->run_count++;
    }
    seen->chunks_below = true;
}

void seen_left(struct people_txn *txn, bool committed)
{
    struct seen *seen = lmdb_of(txn->people)->seen;

    if (seen == NULL || seen->txn != txn)
        return;
    seen->txn = NULL;
    if (committed) {
        if (seen->next.generation != seen->state.generation)
            runs_renew(seen);
        seen->state = seen->next;
        return;
    }
    seen_recent_cut(&seen->active, seen->active_before);
    for (size_t i = 0; i < seen->run_count; i++)
        seen->runs[i]->leaving = false;
    seen->chunks_below = true;
}

int lmdb_seen_load(struct people *people, struct err *err)
{
    struct people_txn *txn;
    struct seen       *seen;
    int                rc;

    if (people_begin(people, true, &txn, err) < 0)
        return -1;
    rc = seen_enter(txn, &seen, err);
    people_abort(txn);
    return rc;
}

void seen_free(struct seen *seen)
{
    if (seen == NULL)
        return;
    seen_unload(seen);
    if (seen->dir_fd >= 0)
        leftovers_delete(seen, true);
    io_close(seen->dir_fd);
    free(seen->leftovers);
    free(seen);
}

void seen_settle(struct people *people)
{
    if (lmdb_of(people)->seen == NULL || lmdb_of(people)->seen->work == NULL)
        return;
    seen_work_wait(lmdb_of(people)->seen->work, SEEN_FLUSH);
    seen_work_wait(lmdb_of(people)->seen->work, SEEN_MERGE);
}

void lmdb_seen_stats(const struct people *people, struct people_seen_stats *out)
{
    const struct seen *seen = lmdb_of(people)->seen;

    *out = (struct people_seen_stats){ 0 };
    if (seen == NULL)
        return;
    *out = seen->stats;
    out->recent = seen->active.count + seen->frozen.count;
    out->runs = seen->run_count;
    for (size_t i = 0; i < seen->run_count; i++) {
        out->run_ids += seen->runs[i]->shape.entries;
        out->run_bytes += seen_shape_blocks_at(&seen->runs[i]->shape) + seen->runs[i]->shape.blocks * SEEN_PAGE;
    }
}
