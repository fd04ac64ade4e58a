/* ingest/attempt.c - see attempt.h. Why not a signal handler that notes the crash: the out-of-memory killer
 * and a watchdog send SIGKILL, and those are the usual ends of a poisoned process. */
#include "ingest/attempt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/note.h"

enum { ATTEMPT_VERSION = 3, ATTEMPT_SHRINK = 8 };

struct attempt {
    struct attempt_state *state;
    bool                  mapped;
    struct attempt_state  own; /* without a file */
};

static uint64_t batch_records(const struct attempt_state *state)
{
    uint64_t records = 0;

    for (int i = 0; i < INPUT_COUNT; i++)
        records += state->end[i] - state->first[i];
    return records;
}

static void conclude(struct attempt_state *state)
{
    uint64_t count = batch_records(state);

    if (state->busy == 0)
        return;
    state->busy = 0;
    if (state->current != ATTEMPT_NONE) {
        state->suspect_crashes = state->current == state->suspect ? state->suspect_crashes + 1 : 1;
        state->suspect = state->current;
        state->current = ATTEMPT_NONE;
        return;
    }
    memcpy(state->careful_until, state->end, sizeof state->end);
    state->careful_limit = count / ATTEMPT_SHRINK > 0 ? count / ATTEMPT_SHRINK : 1;
    state->careful_done = 0;
}

/* An older file, or one that was never written whole, tells nothing. */
static bool state_sane(const struct attempt_state *state)
{
    for (int i = 0; i < INPUT_COUNT; i++)
        if (state->end[i] < state->first[i])
            return false;
    return state->version == ATTEMPT_VERSION;
}

int attempt_open(const char *run_folder, struct attempt **out, struct err *err)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);

    if (attempt == NULL)
        return err_set(err, ERR_FULL, "no memory");
    attempt->state = run_folder == NULL ? &attempt->own : note_map(run_folder, "ingest.attempt", sizeof *attempt->state, err);
    if (attempt->state == NULL) {
        free(attempt);
        return -1;
    }
    attempt->mapped = run_folder != NULL;
    if (!state_sane(attempt->state))
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

static bool careful(const struct attempt_state *state, const uint64_t next[INPUT_COUNT])
{
    for (int i = 0; i < INPUT_COUNT; i++)
        if (state->careful_until[i] > next[i])
            return true;
    return false;
}

size_t attempt_limit(const struct attempt *attempt, const uint64_t next[INPUT_COUNT], const uint64_t lag[INPUT_COUNT],
                     size_t limit, size_t caps[INPUT_COUNT])
{
    const struct attempt_state *state = attempt->state;
    enum input                  lane = place_input(state->suspect);
    uint64_t                    offset = place_offset(state->suspect);

    if (careful(state, next) && state->careful_limit < limit)
        limit = (size_t)state->careful_limit;
    if (limit == 0)
        limit = 1;
    for (int i = 0; i < INPUT_COUNT; i++)
        caps[i] = limit;
    if (state->suspect == ATTEMPT_NONE || offset < next[lane] || offset - next[lane] >= lag[lane])
        return limit;
    if (offset == next[lane])
        limit = 1;
    else if (offset - next[lane] < limit)
        limit = (size_t)(offset - next[lane]);
    memset(caps, 0, INPUT_COUNT * sizeof *caps);
    caps[lane] = limit;
    return limit;
}

uint64_t attempt_crashes(const struct attempt *attempt, uint64_t mark)
{
    return attempt->state->suspect == mark ? attempt->state->suspect_crashes : 0;
}

void attempt_begin(struct attempt *attempt, const uint64_t first[INPUT_COUNT], const uint64_t end[INPUT_COUNT])
{
    attempt->state->current = ATTEMPT_NONE;
    memcpy(attempt->state->first, first, sizeof attempt->state->first);
    memcpy(attempt->state->end, end, sizeof attempt->state->end);
    attempt->state->busy = 1;
}

void attempt_mark(struct attempt *attempt, uint64_t mark)
{
    if (attempt != NULL)
        attempt->state->current = mark;
}

void attempt_unmark(struct attempt *attempt)
{
    if (attempt != NULL && batch_records(attempt->state) > 1)
        attempt->state->current = ATTEMPT_NONE;
}

void attempt_end(struct attempt *attempt, const uint64_t next[INPUT_COUNT])
{
    struct attempt_state *state = attempt->state;
    bool                  done = memcmp(next, state->first, sizeof state->first) != 0;

    state->busy = 0;
    state->current = ATTEMPT_NONE;
    if (state->suspect != ATTEMPT_NONE && place_offset(state->suspect) < next[place_input(state->suspect)]) {
        state->suspect = ATTEMPT_NONE;
        state->suspect_crashes = 0;
    }
    if (!careful(state, next)) {
        memset(state->careful_until, 0, sizeof state->careful_until);
        state->careful_limit = state->careful_done = 0;
    } else if (done && ++state->careful_done % ATTEMPT_SHRINK == 0) {
        state->careful_limit *= 2;
    }
}
