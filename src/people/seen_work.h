/* people/seen_work.h - the thread that makes runs: of the recent ids when they are enough, and of several runs one.
 *
 * One job of each kind at a time. A flush goes before a merge: the merge pauses for it. What a job made is a file and
 * nothing more until the writer lists it; a job that failed, or was stopped, leaves nothing that counts.
 *  W1  what a job reads does not change until it is done: the frozen ids, and runs (immutable; the writer keeps them
 *      open as long as they are in work)
 * @thread ask, done, wait, free: the writer's */
#ifndef PENSTOCK_PEOPLE_SEEN_WORK_H
#define PENSTOCK_PEOPLE_SEEN_WORK_H

#include "people/seen_recent.h"
#include "people/seen_run.h"

enum { SEEN_MERGE_RUNS = 4 }; /* runs of one level that become one of the next */

enum seen_job_kind { SEEN_FLUSH, SEEN_MERGE, SEEN_JOB_KINDS };

struct seen_job {
    /* asked */
    const struct seen_recent *recent;                  /* SEEN_FLUSH */
    struct seen_run          *inputs[SEEN_MERGE_RUNS]; /* SEEN_MERGE */
    size_t                    input_count;
    uint64_t                  number, last; /* of the run that will be made */
    uint8_t                   level;
    uint16_t                  today; /* what is over by then is left out */
    /* answered */
    int                       rc;
    struct err                err;
    struct seen_run          *run; /* open, the asker's; NULL: nothing was left to write */
    uint64_t                  blocks_lost, entries_lost;
};

struct seen_work;

int  seen_work_start(int dir_fd, uint64_t seed, struct seen_work **out, struct err *err) must_check; /* dir_fd is borrowed */
/* Stops what is in work. Runs that were made and not taken are closed; their files are garbage. */
void seen_work_stop(struct seen_work *work);

bool seen_work_idle(struct seen_work *work, enum seen_job_kind kind);
void seen_work_ask(struct seen_work *work, enum seen_job_kind kind, const struct seen_job *job);
/* The finished job, or NULL. It stays finished until taken. */
struct seen_job *seen_work_done(struct seen_work *work, enum seen_job_kind kind);
void seen_work_wait(struct seen_work *work, enum seen_job_kind kind); /* until it is finished; may block long */
/* The job is over: idle again. Its run is the caller's. */
void seen_work_take(struct seen_work *work, enum seen_job_kind kind);

/* Deletes a run's file, in the thread when there is one: a large file has many pages to give back. work may be NULL. */
void seen_work_unlink(struct seen_work *work, int dir_fd, uint64_t number);

#endif
