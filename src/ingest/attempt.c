/* ingest/attempt.c - see attempt.h. Why not a signal handler that notes the crash: the out-of-memory killer
 * and a watchdog send SIGKILL, and those are the usual ends of a poisoned process. */
#include "ingest/attempt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Version 4 had the supervisor's pid alone, with zeros behind it: a note_starter whose birth is not known. */
enum { ATTEMPT_VERSION = 5, ATTEMPT_VERSION_PID_ALONE = 4, ATTEMPT_SHRINK = 8 };

/* The file of a Penstock that had one thread: version 3. */
struct attempt_state_3 {
    uint64_t version, busy;
    uint64_t first[INPUT_COUNT], end[INPUT_COUNT];
    uint64_t current, suspect, suspect_crashes;
    uint64_t careful_until[INPUT_COUNT], careful_limit, careful_done;
};

struct attempt {
    struct attempt_state *state;
    bool                  mapped;
    struct attempt_state  own; /* without a file */
};

static uint64_t batch_records(const struct attempt_state *state)
{
    uint64_t records = state->records;

    if (records > 0)
        return records;
    for (int i = 0; i < INPUT_COUNT; i++)
        records += state->end[i] - state->first[i];
    return records;
}

static struct attempt_suspect *suspect_find(struct attempt_state *state, uint64_t mark)
{
    for (uint64_t i = 0; i < state->suspect_count; i++)
        if (state->suspects[i].mark == mark)
            return &state->suspects[i];
    return NULL;
}

/* It was being looked at when the process ended; A1: once more counts only when nothing stood beside it. */
static void suspect_note(struct attempt_state *state, uint64_t mark, uint64_t crashes, bool alone)
{
    struct attempt_suspect *known = suspect_find(state, mark);
    uint64_t                at = state->suspect_count;

    if (known != NULL) {
        known->crashes += alone ? crashes : 0;
        return;
    }
    while (at > 0 && state->suspects[at - 1].mark > mark)
        at--;
    if (at == ATTEMPT_SUSPECTS_MAX)
        return; /* it comes back when its turn comes, if it is one */
    if (state->suspect_count == ATTEMPT_SUSPECTS_MAX)
        state->suspect_count--;
    memmove(&state->suspects[at + 1], &state->suspects[at], (state->suspect_count - at) * sizeof *state->suspects);
    state->suspects[at] = (struct attempt_suspect){ mark, crashes };
    state->suspect_count++;
}

static void forget_marks(struct attempt_state *state)
{
    for (int i = 0; i < ATTEMPT_HANDS_MAX; i++)
        state->hands[i].mark = ATTEMPT_NONE;
}

static void conclude(struct attempt_state *state)
{
    uint64_t count = batch_records(state);
    bool     any = false;

    if (state->busy == 0)
        return;
    state->busy = 0;
    for (int i = 0; i < ATTEMPT_HANDS_MAX; i++)
        if (state->hands[i].mark != ATTEMPT_NONE) {
            suspect_note(state, state->hands[i].mark, 1, count == 1);
            any = true;
        }
    forget_marks(state);
    if (any)
        return;
    memcpy(state->careful_until, state->end, sizeof state->end);
    state->careful_limit = count / ATTEMPT_SHRINK > 0 ? count / ATTEMPT_SHRINK : 1;
    state->careful_done = 0;
}

static bool batch_sane(const uint64_t first[INPUT_COUNT], const uint64_t end[INPUT_COUNT])
{
    for (int i = 0; i < INPUT_COUNT; i++)
        if (end[i] < first[i])
            return false;
    return true;
}

static bool state_sane(const struct attempt_state *state)
{
    return (state->version == ATTEMPT_VERSION || state->version == ATTEMPT_VERSION_PID_ALONE) && batch_sane(state->first, state->end) &&
           state->suspect_count <= ATTEMPT_SUSPECTS_MAX;
}

/* An older file, or one that was never written whole, tells nothing; but for that of the version before. */
static void state_begin(struct attempt_state *state)
{
    struct attempt_state_3 before;

    memcpy(&before, state, sizeof before);
    *state = (struct attempt_state){ .version = ATTEMPT_VERSION };
    forget_marks(state);
    if (before.version != 3 || !batch_sane(before.first, before.end))
        return;
    state->busy = before.busy;
    memcpy(state->first, before.first, sizeof state->first);
    memcpy(state->end, before.end, sizeof state->end);
    memcpy(state->careful_until, before.careful_until, sizeof state->careful_until);
    state->careful_limit = before.careful_limit;
    state->careful_done = before.careful_done;
    state->hands[0].mark = before.current;
    if (before.suspect != ATTEMPT_NONE)
        suspect_note(state, before.suspect, before.suspect_crashes, true);
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
        state_begin(attempt->state);
    attempt->state->version = ATTEMPT_VERSION;
    if (!note_starter_outlived(&attempt->state->supervisor))
        forget_marks(attempt->state);
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

/* The first suspect that waits, lane by lane; NULL: none does. */
static const struct attempt_suspect *suspect_next(const struct attempt_state *state, const uint64_t next[INPUT_COUNT],
                                                  const uint64_t lag[INPUT_COUNT])
{
    for (uint64_t i = 0; i < state->suspect_count; i++) {
        enum input lane = place_input(state->suspects[i].mark);
        uint64_t   offset = place_offset(state->suspects[i].mark);

        if (offset >= next[lane] && offset - next[lane] < lag[lane])
            return &state->suspects[i];
    }
    return NULL;
}

size_t attempt_limit(const struct attempt *attempt, const uint64_t next[INPUT_COUNT], const uint64_t lag[INPUT_COUNT],
                     size_t limit, size_t caps[INPUT_COUNT])
{
    const struct attempt_state   *state = attempt->state;
    const struct attempt_suspect *suspect = suspect_next(state, next, lag);
    enum input                    lane;
    uint64_t                      before;

    if (careful(state, next) && state->careful_limit < limit)
        limit = (size_t)state->careful_limit;
    if (limit == 0)
        limit = 1;
    for (int i = 0; i < INPUT_COUNT; i++)
        caps[i] = limit;
    if (suspect == NULL)
        return limit;
    lane = place_input(suspect->mark);
    before = place_offset(suspect->mark) - next[lane];
    if (before == 0)
        limit = 1;
    else if (before < limit)
        limit = (size_t)before;
    memset(caps, 0, INPUT_COUNT * sizeof *caps);
    caps[lane] = limit;
    return limit;
}

uint64_t attempt_until(const struct attempt *attempt, const uint64_t next[INPUT_COUNT], const uint64_t lag[INPUT_COUNT],
                       enum input input)
{
    const struct attempt_suspect *suspect = suspect_next(attempt->state, next, lag);
    uint64_t                      offset;

    if (suspect == NULL || place_input(suspect->mark) != input)
        return UINT64_MAX;
    offset = place_offset(suspect->mark);
    return offset > next[input] ? offset : offset + 1;
}

bool attempt_wary(const struct attempt *attempt)
{
    return attempt->state->suspect_count > 0;
}

uint64_t attempt_crashes(const struct attempt *attempt, uint64_t mark)
{
    const struct attempt_suspect *suspect = suspect_find(attempt->state, mark);

    return suspect == NULL ? 0 : suspect->crashes;
}

void attempt_begin(struct attempt *attempt, const uint64_t first[INPUT_COUNT], const uint64_t end[INPUT_COUNT])
{
    attempt_begin_of(attempt, first, end, 0);
}

void attempt_begin_of(struct attempt *attempt, const uint64_t first[INPUT_COUNT], const uint64_t end[INPUT_COUNT], uint64_t records)
{
    attempt->state->records = records;
    forget_marks(attempt->state);
    memcpy(attempt->state->first, first, sizeof attempt->state->first);
    memcpy(attempt->state->end, end, sizeof attempt->state->end);
    attempt->state->busy = 1;
}

void attempt_mark(struct attempt *attempt, unsigned hand, uint64_t mark)
{
    if (attempt != NULL)
        attempt->state->hands[hand].mark = mark;
}

void attempt_unmark(struct attempt *attempt, unsigned hand)
{
    if (attempt != NULL && batch_records(attempt->state) > 1)
        attempt->state->hands[hand].mark = ATTEMPT_NONE;
}

/* Records below next[i] are done with. */
static void forget_suspects(struct attempt_state *state, const uint64_t next[INPUT_COUNT])
{
    uint64_t kept = 0;

    for (uint64_t i = 0; i < state->suspect_count; i++)
        if (place_offset(state->suspects[i].mark) >= next[place_input(state->suspects[i].mark)])
            state->suspects[kept++] = state->suspects[i];
    state->suspect_count = kept;
}

void attempt_end(struct attempt *attempt, const uint64_t next[INPUT_COUNT])
{
    struct attempt_state *state = attempt->state;
    bool                  done = memcmp(next, state->first, sizeof state->first) != 0;

    state->busy = 0;
    forget_marks(state);
    forget_suspects(state, next);
    if (!careful(state, next)) {
        memset(state->careful_until, 0, sizeof state->careful_until);
        state->careful_limit = state->careful_done = 0;
    } else if (done && ++state->careful_done % ATTEMPT_SHRINK == 0) {
        state->careful_limit *= 2;
    }
}
