/* ingest/attempt.c - see attempt.h. Why not a signal handler that notes the crash: the out-of-memory killer
 * and a watchdog send SIGKILL, and those are the usual ends of a poisoned process. */
#include "ingest/attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTEMPT_VERSION = 1, ATTEMPT_SHRINK = 8 };

struct attempt {
    struct attempt_state *state;
    bool                  mapped;
    struct attempt_state  own; /* without a file */
};

static void conclude(struct attempt_state *state)
{
    uint64_t count = state->end - state->first;

    if (state->busy == 0)
        return;
    state->busy = 0;
    if (state->current != ATTEMPT_NONE) {
        state->suspect_crashes = state->current == state->suspect ? state->suspect_crashes + 1 : 1;
        state->suspect = state->current;
        state->current = ATTEMPT_NONE;
        return;
    }
    state->careful_until = state->end;
    state->careful_limit = count / ATTEMPT_SHRINK > 0 ? count / ATTEMPT_SHRINK : 1;
}

static struct attempt_state *state_map(const char *run_folder, struct err *err)
{
    char                  path[4096];
    struct attempt_state *state = MAP_FAILED;
    int                   fd = -1;

    if (snprintf(path, sizeof path, "%s/ingest.attempt", run_folder) >= (int)sizeof path) {
        (void)err_set(err, ERR_INPUT, "the run folder's name is too long");
        return NULL;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    /* blocks are reserved: a store into a hole of a full disk would be a SIGBUS */
    if (fd >= 0 && (errno = posix_fallocate(fd, 0, sizeof *state)) == 0)
        state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (state == MAP_FAILED)
        (void)err_errno(err, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return state == MAP_FAILED ? NULL : state;
}

int attempt_open(const char *run_folder, struct attempt **out, struct err *err)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);

    if (attempt == NULL)
        return err_set(err, ERR_FULL, "no memory");
    attempt->state = run_folder == NULL ? &attempt->own : state_map(run_folder, err);
    if (attempt->state == NULL) {
        free(attempt);
        return -1;
    }
    attempt->mapped = run_folder != NULL;
    if (attempt->state->version != ATTEMPT_VERSION || attempt->state->end < attempt->state->first)
        *attempt->state = (struct attempt_state){
            .version = ATTEMPT_VERSION, .current = ATTEMPT_NONE, .suspect = ATTEMPT_NONE
        };
    conclude(attempt->state);
    *out = attempt;
    return 0;
}

void attempt_close(struct attempt *attempt)
{
    if (attempt == NULL)
        return;
    if (attempt->mapped)
        munmap(attempt->state, sizeof *attempt->state);
    free(attempt);
}

size_t attempt_limit(const struct attempt *attempt, uint64_t next, size_t limit)
{
    const struct attempt_state *state = attempt->state;

    if (state->suspect != ATTEMPT_NONE && state->suspect == next)
        return 1;
    if (state->suspect != ATTEMPT_NONE && state->suspect > next && state->suspect - next < limit)
        limit = (size_t)(state->suspect - next);
    if (state->careful_until > next && state->careful_limit < limit)
        limit = (size_t)state->careful_limit;
    return limit > 0 ? limit : 1;
}

uint64_t attempt_crashes(const struct attempt *attempt, uint64_t offset)
{
    return attempt->state->suspect == offset ? attempt->state->suspect_crashes : 0;
}

void attempt_begin(struct attempt *attempt, uint64_t first, size_t count)
{
    attempt->state->current = ATTEMPT_NONE;
    attempt->state->first = first;
    attempt->state->end = first + count;
    attempt->state->busy = 1;
}

void attempt_mark(struct attempt *attempt, uint64_t offset)
{
    if (attempt != NULL)
        attempt->state->current = offset;
}

void attempt_unmark(struct attempt *attempt)
{
    if (attempt != NULL && attempt->state->end - attempt->state->first > 1)
        attempt->state->current = ATTEMPT_NONE;
}

void attempt_end(struct attempt *attempt, uint64_t next)
{
    struct attempt_state *state = attempt->state;

    state->busy = 0;
    state->current = ATTEMPT_NONE;
    if (state->suspect != ATTEMPT_NONE && state->suspect < next) {
        state->suspect = ATTEMPT_NONE;
        state->suspect_crashes = 0;
    }
    if (state->careful_until <= next)
        state->careful_until = state->careful_limit = 0;
}
