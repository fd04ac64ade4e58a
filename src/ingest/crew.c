/* ingest/crew.c - see crew.h. One lock for the states of some dozens of slices: it is held for the choice of a step, and a
 * step takes tens of microseconds, so nobody meets there. Why no queue between the stages, each with a thread of its own:
 * which stage is the slow one changes with the events, and a thread that is fixed to the other one would wait for it.
 *
 * Waking somebody costs a system call, and 32 events are soon done: a sleeping thread is called when there is more than one
 * step to do, or when the caller itself has nothing left. */
#include "ingest/crew.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "base/thread.h"

/*  FREE -> PARSING -> PARSED -> ORDERING -> ORDERED -> AHEAD -> READY -> PUTTING -> FREE
 *                                              `----------------------------^ */
#define CREW_STATES(X) X(FREE) X(PARSING) X(PARSED) X(ORDERING) X(ORDERED) X(AHEAD) X(READY) X(PUTTING)
#define X_ENUM(name) CREW_##name,
enum crew_state { CREW_STATES(X_ENUM) CREW_STATE_COUNT };

#define TO(name) (1u << CREW_##name)
static const unsigned crew_allowed[CREW_STATE_COUNT] = {
    [CREW_FREE] = TO(PARSING),     [CREW_PARSING] = TO(PARSED),  [CREW_PARSED] = TO(ORDERING),
    [CREW_ORDERING] = TO(ORDERED), [CREW_ORDERED] = TO(AHEAD) | TO(PUTTING),
    [CREW_AHEAD] = TO(READY),      [CREW_READY] = TO(PUTTING),   [CREW_PUTTING] = TO(FREE),
};

enum { WAKE_AT = 2, PARSED_WANTED = 2 };

struct hand_arg {
    struct crew *crew;
    unsigned     hand;
};

struct crew {
    /* fixed after start */
    unsigned        hands, slots;
    pthread_t       threads[CREW_HANDS_MAX];
    struct hand_arg args[CREW_HANDS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t  steps, news; /* for the threads, for the caller */
    /* @lock lock */
    unsigned                started; /* threads */
    const struct crew_work *work;    /* NULL: no run */
    enum crew_state         states[CREW_SLOTS_MAX]; /* by slot */
    unsigned                slot_of[CREW_SLOTS_MAX]; /* of a slice: by its number % slots */
    unsigned                free_slots[CREW_SLOTS_MAX], free_count; /* the last one was freed last */
    uint64_t                parse, order, put; /* number of the slice that is next for each step */
    unsigned                ordered; /* slices that may be done ahead */
    unsigned                parsed;  /* or are being: slices that order finds soon */
    unsigned                busy;    /* steps in work */
    unsigned                asleep;
    bool                    more, putting, caller_waits, failed, stop;
    struct err              err; /* of the step that failed */
};

enum step_kind { STEP_NONE, STEP_PARSE, STEP_ORDER, STEP_AHEAD, STEP_PUT };

struct step {
    enum step_kind kind;
    unsigned       slot;
};

static unsigned slot_of(const struct crew *crew, uint64_t slice)
{
    return crew->slot_of[slice % crew->slots];
}

static void set_state(struct crew *crew, unsigned slot, enum crew_state next)
{
    assert((crew_allowed[crew->states[slot]] & (1u << next)) != 0);
    crew->states[slot] = next;
}

/* --- choosing ---------------------------------------------------------------------------------- */

static bool can_put(const struct crew *crew)
{
    enum crew_state state;

    if (crew->putting || crew->put == crew->order)
        return false;
    state = crew->states[slot_of(crew, crew->put)];
    return state == CREW_ORDERED || state == CREW_READY;
}

/* Half of the slots are for what is parsed: the other half lets it go on while somebody packs what comes out. */
static bool can_parse(const struct crew *crew)
{
    return crew->more && crew->free_count > 0 && crew->parsed < crew->slots / 2;
}

/* Cuts a slice; STEP_NONE: there is none. */
static struct step take_parse(struct crew *crew)
{
    struct step step = { STEP_PARSE, crew->free_slots[crew->free_count - 1] };

    if (!crew->work->cut(crew->work->ctx, step.slot)) {
        crew->more = false;
        return (struct step){ STEP_NONE, 0 };
    }
    crew->free_count--;
    crew->slot_of[crew->parse++ % crew->slots] = step.slot;
    crew->parsed++;
    set_state(crew, step.slot, CREW_PARSING);
    return step;
}

static struct step take_put(struct crew *crew)
{
    struct step step = { STEP_PUT, slot_of(crew, crew->put) };

    if (crew->states[step.slot] == CREW_ORDERED)
        crew->ordered--;
    crew->putting = true;
    set_state(crew, step.slot, CREW_PUTTING);
    return step;
}

/* The oldest one. */
static struct step take_ahead(struct crew *crew)
{
    for (uint64_t slice = crew->put; slice < crew->order; slice++) {
        struct step step = { STEP_AHEAD, slot_of(crew, slice) };

        if (crew->states[step.slot] != CREW_ORDERED)
            continue;
        crew->ordered--;
        set_state(crew, step.slot, CREW_AHEAD);
        return step;
    }
    return (struct step){ STEP_NONE, 0 };
}

/* What comes out first, as it makes room; but the caller must not run dry. */
static struct step choose(struct crew *crew)
{
    struct step step = { STEP_NONE, 0 };

    if (can_put(crew))
        return take_put(crew);
    if (crew->parsed < PARSED_WANTED && can_parse(crew))
        step = take_parse(crew);
    if (step.kind == STEP_NONE && crew->ordered > 0)
        step = take_ahead(crew);
    if (step.kind == STEP_NONE && can_parse(crew))
        step = take_parse(crew);
    return step;
}

/* The caller orders, as nobody else may; then it sees to it that it soon can again. */
static struct step choose_caller(struct crew *crew)
{
    struct step step = { STEP_NONE, 0 };

    if (crew->order < crew->parse && crew->states[slot_of(crew, crew->order)] == CREW_PARSED) {
        step = (struct step){ STEP_ORDER, slot_of(crew, crew->order) };
        crew->parsed--;
        set_state(crew, step.slot, CREW_ORDERING);
        return step;
    }
    if (can_parse(crew))
        step = take_parse(crew);
    return step.kind == STEP_NONE ? choose(crew) : step;
}

/* --- doing ------------------------------------------------------------------------------------- */

static void wake(struct crew *crew, unsigned steps_min)
{
    unsigned steps = crew->ordered + can_put(crew) + (can_parse(crew) ? WAKE_AT : 0);

    if (crew->asleep > 0 && steps >= steps_min)
        (void)pthread_cond_signal(&crew->steps);
}

/* A step is over. */
static void finish(struct crew *crew, const struct step *step)
{
    static const enum crew_state after[] = {
        [STEP_PARSE] = CREW_PARSED, [STEP_ORDER] = CREW_ORDERED, [STEP_AHEAD] = CREW_READY, [STEP_PUT] = CREW_FREE
    };

    set_state(crew, step->slot, after[step->kind]);
    if (step->kind == STEP_ORDER) {
        crew->order++;
        crew->ordered++;
    } else if (step->kind == STEP_PUT) {
        crew->putting = false;
        crew->put++;
        crew->free_slots[crew->free_count++] = step->slot;
    }
}

/* @lock held, and given up while the step is at work. */
static void carry_out(struct crew *crew, const struct step *step, unsigned hand)
{
    const struct crew_work *work = crew->work;
    struct err              err = { 0 };
    int                     rc = 0;

    crew->busy++;
    wake(crew, WAKE_AT); /* the next one calls the one after it */
    (void)pthread_mutex_unlock(&crew->lock);
    switch (step->kind) {
    case STEP_PARSE: rc = work->parse(work->ctx, step->slot, hand, &err); break;
    case STEP_ORDER: rc = work->order(work->ctx, step->slot, &err); break;
    case STEP_AHEAD: rc = work->ahead(work->ctx, step->slot, hand, &err); break;
    case STEP_PUT: rc = work->put(work->ctx, step->slot, hand, &err); break;
    case STEP_NONE: break;
    }
    (void)pthread_mutex_lock(&crew->lock);
    crew->busy--;
    if (rc < 0 && !crew->failed) {
        crew->failed = true;
        crew->err = err;
    }
    finish(crew, step);
    if (crew->caller_waits)
        (void)pthread_cond_signal(&crew->news);
    wake(crew, WAKE_AT);
}

static void *hand_main(void *arg)
{
    const struct hand_arg *self = arg;
    struct crew           *crew = self->crew;

    (void)pthread_mutex_lock(&crew->lock);
    while (!crew->stop) {
        struct step step = { STEP_NONE, 0 };

        if (crew->work != NULL && !crew->failed)
            step = choose(crew);
        if (step.kind != STEP_NONE) {
            carry_out(crew, &step, self->hand);
            continue;
        }
        crew->asleep++;
        (void)pthread_cond_wait(&crew->steps, &crew->lock);
        crew->asleep--;
    }
    (void)pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* A new run; a failed one left its slots as they were. */
static void begin(struct crew *crew, const struct crew_work *work)
{
    crew->work = work;
    crew->parse = crew->order = crew->put = 0;
    crew->ordered = crew->parsed = 0;
    crew->more = true;
    crew->putting = crew->failed = false;
    for (unsigned i = 0; i < crew->slots; i++) {
        crew->states[i] = CREW_FREE;
        crew->free_slots[i] = crew->slots - 1 - i;
    }
    crew->free_count = crew->slots;
}

int crew_run(struct crew *crew, const struct crew_work *work, struct err *err)
{
    bool failed;

    (void)pthread_mutex_lock(&crew->lock);
    assert(crew->work == NULL && crew->busy == 0);
    begin(crew, work);
    while (crew->busy > 0 || (!crew->failed && (crew->more || crew->put < crew->parse))) {
        struct step step = crew->failed ? (struct step){ STEP_NONE, 0 } : choose_caller(crew);

        if (step.kind != STEP_NONE) {
            carry_out(crew, &step, 0);
            continue;
        }
        if (crew->busy == 0)
            continue; /* cut has just said that there is no more */
        wake(crew, 1);
        crew->caller_waits = true;
        (void)pthread_cond_wait(&crew->news, &crew->lock);
        crew->caller_waits = false;
    }
    crew->work = NULL;
    failed = crew->failed;
    if (failed)
        *err = crew->err;
    (void)pthread_mutex_unlock(&crew->lock);
    return failed ? -1 : 0;
}

/* --- life -------------------------------------------------------------------------------------- */

unsigned crew_hands(const struct crew *crew)
{
    return crew->hands;
}

unsigned crew_slots(const struct crew *crew)
{
    return crew->slots;
}

int64_t crew_cpu_us(const struct crew *crew)
{
    int64_t sum_us = 0;

    for (unsigned hand = 1; hand < crew->hands; hand++) {
        struct timespec used;
        clockid_t       clock;

        if (pthread_getcpuclockid(crew->threads[hand], &clock) == 0 && clock_gettime(clock, &used) == 0)
            sum_us += (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
    }
    return sum_us;
}

static int hand_start(struct crew *crew, unsigned hand)
{
    crew->args[hand] = (struct hand_arg){ crew, hand };
    return thread_start(&crew->threads[hand], hand_main, &crew->args[hand]);
}

int crew_new(unsigned hands, struct crew **out, struct err *err)
{
    struct crew *crew = calloc(1, sizeof *crew);
    int          rc = 0;

    assert(hands >= 1 && hands <= CREW_HANDS_MAX);
    if (crew == NULL)
        return err_set(err, ERR_FULL, "no memory");
    crew->hands = hands;
    crew->slots = hands * CREW_SLOTS_EACH;
    (void)pthread_mutex_init(&crew->lock, NULL);
    (void)pthread_cond_init(&crew->steps, NULL);
    (void)pthread_cond_init(&crew->news, NULL);
    for (crew->started = 1; crew->started < hands; crew->started++) {
        rc = hand_start(crew, crew->started);
        if (rc != 0)
            break;
    }
    if (rc != 0) {
        crew_free(crew);
        return err_errno(err, rc, "the system gives no thread");
    }
    *out = crew;
    return 0;
}

void crew_free(struct crew *crew)
{
    if (crew == NULL)
        return;
    (void)pthread_mutex_lock(&crew->lock);
    assert(crew->work == NULL);
    crew->stop = true;
    (void)pthread_cond_broadcast(&crew->steps);
    (void)pthread_mutex_unlock(&crew->lock);
    for (unsigned hand = 1; hand < crew->started; hand++)
        (void)pthread_join(crew->threads[hand], NULL);
    (void)pthread_cond_destroy(&crew->news);
    (void)pthread_cond_destroy(&crew->steps);
    (void)pthread_mutex_destroy(&crew->lock);
    free(crew);
}
