/* load/poison.c - see poison.h. */
#include "load/poison.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { POISON_VERSION = 2, POISON_VERSION_NOBODY = 1, MARK_OFFSET_BITS = 60 };

struct poison {
    struct poison_state *state;
    bool                 mapped;
    struct poison_state  own; /* without a file */
};

static uint64_t mark_of(int topic, uint64_t offset)
{
    return (uint64_t)topic << MARK_OFFSET_BITS | offset;
}

static int topic_of(uint64_t mark)
{
    return (int)(mark >> MARK_OFFSET_BITS);
}

static uint64_t offset_of(uint64_t mark)
{
    return mark & (((uint64_t)1 << MARK_OFFSET_BITS) - 1);
}
_Static_assert(POISON_TOPICS < 16, "a topic and an offset fit into a mark, and POISON_NONE is none");

static void conclude(struct poison_state *state, bool own_death, bool dear)
{
    const uint64_t shrink = dear ? POISON_SHRINK_DEAR : POISON_SHRINK, few = dear ? POISON_SHRINK_DEAR : POISON_FEW;

    if (state->busy == 0)
        return;
    state->busy = 0;
    if (!own_death)
        state->current = POISON_NONE;
    if (state->current != POISON_NONE) {
        /* A row that is looked for was part of the batch that died before. */
        state->crashes = state->current == state->suspect ? state->crashes + 1 : state->limit > 0 ? state->deaths + 1 : 1;
        state->suspect = state->current;
        state->current = POISON_NONE;
        state->limit = 0; /* nobody else has to be looked for */
        return;
    }
    state->deaths = own_death;
    state->limit = state->rows > few ? state->rows / shrink : 1;
    memcpy(state->until, state->next, sizeof state->until);
}

static bool mark_sane(uint64_t mark)
{
    return mark == POISON_NONE || topic_of(mark) < POISON_TOPICS;
}

/* A file of an unknown version, or one that was never written whole, tells nothing. */
static bool state_sane(const struct poison_state *state)
{
    return (state->version == POISON_VERSION || state->version == POISON_VERSION_NOBODY) && mark_sane(state->current) && mark_sane(state->suspect);
}

int poison_open(const char *run_folder, bool dear, struct poison **out, struct err *err)
{
    struct poison *poison = calloc(1, sizeof *poison);

    if (poison == NULL)
        return err_set(err, ERR_FULL, "no memory");
    poison->state = run_folder == NULL ? &poison->own : note_map(run_folder, "load.attempt", sizeof *poison->state, err);
    if (poison->state == NULL) {
        free(poison);
        return -1;
    }
    poison->mapped = run_folder != NULL;
    if (!state_sane(poison->state))
        *poison->state = (struct poison_state){ .version = POISON_VERSION, .current = POISON_NONE, .suspect = POISON_NONE };
    poison->state->version = POISON_VERSION;
    conclude(poison->state, note_starter_outlived(&poison->state->supervisor), dear);
    *out = poison;
    return 0;
}

void poison_close(struct poison *poison)
{
    if (poison == NULL)
        return;
    if (poison->mapped)
        munmap(poison->state, sizeof *poison->state);
    free(poison);
}

size_t poison_limit(const struct poison *poison, int topic, uint64_t next, size_t pending, size_t rows_max)
{
    const struct poison_state *state = poison->state;
    uint64_t                   offset = offset_of(state->suspect);

    if (state->suspect != POISON_NONE) {
        if (topic != topic_of(state->suspect))
            return pending; /* X2 */
        if (offset == next)
            return pending == 0 && rows_max > 0 ? 1 : pending;
        if (offset > next && pending + (offset - next) < rows_max)
            rows_max = pending + (size_t)(offset - next);
    }
    if (state->limit == 0 || pending >= rows_max)
        return rows_max;
    if (next >= state->until[topic])
        return pending; /* X3 */
    if (state->until[topic] - next < rows_max - pending)
        rows_max = pending + (size_t)(state->until[topic] - next);
    return state->limit < rows_max ? (size_t)state->limit : rows_max;
}

bool poison_hurries(const struct poison *poison)
{
    return poison->state->suspect != POISON_NONE || poison->state->limit > 0;
}

uint64_t poison_condemned(const struct poison *poison, int topic, bool *blind_out)
{
    const struct poison_state *state = poison->state;

    if (state->suspect == POISON_NONE || topic_of(state->suspect) != topic || state->crashes < POISON_CRASHES_MAX)
        return POISON_NONE;
    *blind_out = state->crashes > POISON_CRASHES_MAX; /* it was set aside, and that ended the process, too */
    return offset_of(state->suspect);
}

void poison_mark(struct poison *poison, int topic, uint64_t offset)
{
    if (poison == NULL)
        return;
    poison->state->current = mark_of(topic, offset);
    poison->state->busy = 1;
}

void poison_added(struct poison *poison, int topic, uint64_t offset)
{
    struct poison_state *state;

    if (poison == NULL)
        return;
    state = poison->state;
    state->rows++;
    state->next[topic] = offset + 1;
    if (state->rows > 1)
        state->current = POISON_NONE; /* the only one of its batch stays noted */
}

void poison_end(struct poison *poison, const uint64_t next[POISON_TOPICS])
{
    struct poison_state *state;
    bool                 careful = false;

    if (poison == NULL)
        return;
    state = poison->state;
    state->busy = 0;
    state->rows = 0;
    memset(state->next, 0, sizeof state->next); /* of the next batch: another's rows are no suspects when that one dies */
    state->current = POISON_NONE;
    if (next == NULL)
        return;
    if (state->suspect != POISON_NONE && offset_of(state->suspect) < next[topic_of(state->suspect)]) {
        state->suspect = POISON_NONE;
        state->crashes = 0;
    }
    for (int i = 0; i < POISON_TOPICS; i++)
        careful = careful || state->until[i] > next[i];
    if (!careful)
        state->limit = 0;
}
