/* ingest/lanes.c - see lanes.h. One rate for both low lanes: they hurt the same live traffic. */
#include "ingest/lanes.h"

#include <string.h>

enum {
    LANES_STEP_US = 100000,
    LANES_QUIET_US = 1000000,     /* without a live record for so long, nobody is in a hurry */
    LANES_AGE_US = 200000,        /* an older live record waits too long: a batch under load takes some 100 ms */
    LANES_TOOK_US = 250000,       /* so does who comes behind such a batch */
    LANES_LOAD_LAG_US = 700000,   /* load waits a quarter of a second, commits, and then writes down its place */
    LANES_LOAD_LAG_US_MAX = 2000000,
    LANES_ALONE_US = 2000000,     /* after low records: load has taken them */
    LANES_LOAD_LAG_QUIET_US = 4000000,
    LANES_LOAD_CUT_US = 1000000,
    LANES_LOAD_LATE_US = 30000000,
    LANES_SAMPLE_US = 250000,
    LANES_BATCH_US = 10000,       /* of low records in a batch, beside live traffic */
    LANES_BATCH_QUIET_US = 100000,
    LANES_TURN_US = 20000,        /* low records alone: a batch's syncs are shared by what comes in so long */
    LANES_LIVE_SHARE = 32
};
#define LANES_LOAD_SPEED_MIN 5000.0 /* events a second: any load manages that; it says so only every second */
#define LANES_RATE_MIN 100.0
#define LANES_RATE_FIRST 1000.0
#define LANES_RATE_STEP 100.0 /* every LANES_STEP_US: 0 to 20,000 a second takes twenty seconds */
#define LANES_RATE_MAX 1e6

void lanes_init(struct lanes *lanes, int64_t now_us, uint64_t events_end)
{
    *lanes = (struct lanes){ .rate = LANES_RATE_FIRST, .cost_us = 20, .filled_us = now_us, .stepped_us = now_us,
                             .live_us = now_us - LANES_QUIET_US, .low_us = now_us - LANES_TURN_US, .events_end = events_end,
                             .load_late_us = now_us - LANES_LOAD_LATE_US - 1 };
    lanes->samples[0].at_us = now_us;
    lanes->samples[0].end = events_end;
    lanes->sample_count = lanes->sample_next = 1;
}

static bool quiet(const struct lanes *lanes, const struct lanes_view *view)
{
    return view->lag[INPUT_RAW] == 0 && view->now_us - lanes->live_us >= LANES_QUIET_US;
}

/* --- how old is what load has not taken -------------------------------------------------------- */

static void sample(struct lanes *lanes, int64_t now_us, uint64_t events_end)
{
    unsigned last = (lanes->sample_next + LANES_SAMPLES - 1) % LANES_SAMPLES;

    if (events_end == lanes->samples[last].end || now_us - lanes->samples[last].at_us < LANES_SAMPLE_US)
        return;
    lanes->samples[lanes->sample_next].at_us = now_us;
    lanes->samples[lanes->sample_next].end = events_end;
    lanes->sample_next = (lanes->sample_next + 1) % LANES_SAMPLES;
    if (lanes->sample_count < LANES_SAMPLES)
        lanes->sample_count++;
}

/* From the newest sample back to the first that load has all of: what came next is what it lacks longest. */
static int64_t untaken_age_us(const struct lanes *lanes, uint64_t events_taken, int64_t now_us)
{
    int64_t age_us = 0;

    for (unsigned i = 1; i <= lanes->sample_count; i++) {
        unsigned at = (lanes->sample_next + LANES_SAMPLES - i) % LANES_SAMPLES;

        if (lanes->samples[at].end <= events_taken)
            break;
        age_us = now_us - lanes->samples[at].at_us;
    }
    return age_us;
}

void lanes_load_at(struct lanes *lanes, uint64_t events_taken, int64_t now_us)
{
    uint64_t waiting = lanes->events_end > events_taken ? lanes->events_end - events_taken : 0;
    int64_t  age_us = untaken_age_us(lanes, events_taken, now_us), needed_us;
    double   speed;

    if (lanes->loaded_us != 0 && events_taken > lanes->loaded && now_us > lanes->loaded_us) {
        speed = (double)(events_taken - lanes->loaded) * 1e6 / (double)(now_us - lanes->loaded_us);
        lanes->load_speed += (speed - lanes->load_speed) / 2;
    }
    if (lanes->loaded_us == 0 || events_taken != lanes->loaded || waiting == 0) {
        lanes->loaded = events_taken;
        lanes->loaded_us = now_us;
    }
    speed = lanes->load_speed > LANES_LOAD_SPEED_MIN ? lanes->load_speed : LANES_LOAD_SPEED_MIN;
    needed_us = (int64_t)((double)waiting * 1e6 / speed);
    lanes->load_lag_us = age_us > needed_us ? age_us : needed_us;
    if (now_us - lanes->live_us < LANES_QUIET_US && now_us - lanes->low_us > LANES_ALONE_US)
        lanes->load_alone_us += ((double)lanes->load_lag_us - lanes->load_alone_us) / 16;
}

/* From which lag of load on low records are too many. */
static int64_t load_lag_most_us(const struct lanes *lanes, bool calm)
{
    int64_t most_us = (int64_t)(lanes->load_alone_us * 3 / 2);

    if (calm)
        return LANES_LOAD_LAG_QUIET_US;
    return most_us < LANES_LOAD_LAG_US ? LANES_LOAD_LAG_US : most_us > LANES_LOAD_LAG_US_MAX ? LANES_LOAD_LAG_US_MAX : most_us;
}

/* --- the rate ---------------------------------------------------------------------------------- */

static void rate_cut(struct lanes *lanes, int64_t now_us, int64_t pause_us)
{
    if (now_us - lanes->cut_us < pause_us)
        return; /* what the last cut did does not show yet */
    lanes->rate /= 2;
    lanes->cut_us = now_us;
}

static void rate_step(struct lanes *lanes, const struct lanes_view *view)
{
    int64_t passed_us = view->now_us - lanes->stepped_us;
    bool    late = lanes->load_lag_us > load_lag_most_us(lanes, quiet(lanes, view));
    double  drained;

    lanes->congested |= view->live_age_us > LANES_AGE_US;
    if (late)
        lanes->load_late_us = view->now_us;
    if (passed_us < LANES_STEP_US)
        return;
    drained = (double)lanes->drained * 1e6 / (double)passed_us;
    if (lanes->congested)
        rate_cut(lanes, view->now_us, LANES_STEP_US);
    else if (late)
        rate_cut(lanes, view->now_us, LANES_LOAD_CUT_US);
    else if (lanes->exhausted)
        lanes->rate += LANES_RATE_STEP;
    else if (quiet(lanes, view) && drained > lanes->rate)
        lanes->rate = drained; /* nobody limited it: what it came to is known to do no harm */
    lanes->rate = lanes->rate < LANES_RATE_MIN ? LANES_RATE_MIN : lanes->rate > LANES_RATE_MAX ? LANES_RATE_MAX : lanes->rate;
    lanes->congested = lanes->exhausted = false;
    lanes->drained = 0;
    lanes->stepped_us = view->now_us;
}

static void tokens_fill(struct lanes *lanes, int64_t now_us)
{
    double most = lanes->rate * LANES_STEP_US / 1e6;

    lanes->tokens += lanes->rate * (double)(now_us - lanes->filled_us) / 1e6;
    if (lanes->tokens > most)
        lanes->tokens = most > 1 ? most : 1;
    lanes->filled_us = now_us;
}

/* --- the plan ---------------------------------------------------------------------------------- */

/* Low records that the next batch may take. */
static double low_budget(struct lanes *lanes, const struct lanes_view *view, uint64_t waiting, size_t live)
{
    bool   calm = quiet(lanes, view), free = calm && view->now_us - lanes->load_late_us > LANES_LOAD_LATE_US;
    double most = (calm ? LANES_BATCH_QUIET_US : LANES_BATCH_US) / lanes->cost_us, share = (double)live / LANES_LIVE_SHARE;
    double budget = free ? most : lanes->tokens < most ? lanes->tokens : most;

    if (!free && lanes->tokens < most && lanes->tokens < (double)waiting)
        lanes->exhausted = true;
    if (live == 0 && !free && view->now_us - lanes->low_us < LANES_TURN_US)
        return 0; /* alone it would pay for syncs record by record */
    if (live > 0 && share < 1)
        share = view->now_us - lanes->low_us >= LANES_TURN_US ? 1 : 0;
    return budget > share ? budget : share;
}

static void low_split(struct lanes *lanes, const uint64_t lag[INPUT_COUNT], size_t budget, size_t quota[INPUT_COUNT])
{
    const enum input low[2] = { INPUT_OVERFLOW, INPUT_HISTORICAL };
    size_t           first = lanes->turn++ % 2, half = (budget + 1) / 2;
    enum input       one = low[first], other = low[1 - first];

    quota[one] = lag[one] < half ? (size_t)lag[one] : half;
    quota[other] = lag[other] < budget - quota[one] ? (size_t)lag[other] : budget - quota[one];
    if (quota[one] + quota[other] < budget)
        quota[one] = lag[one] < budget - quota[other] ? (size_t)lag[one] : budget - quota[other];
}

void lanes_plan(struct lanes *lanes, const struct lanes_view *view, size_t limit, size_t quota[INPUT_COUNT])
{
    uint64_t waiting = view->lag[INPUT_OVERFLOW] + view->lag[INPUT_HISTORICAL];
    size_t   live = view->lag[INPUT_RAW] < limit ? (size_t)view->lag[INPUT_RAW] : limit, low = 0;
    double   budget;

    memset(quota, 0, INPUT_COUNT * sizeof *quota);
    quota[INPUT_CONTROL] = limit;
    rate_step(lanes, view);
    tokens_fill(lanes, view->now_us);
    if (view->lag[INPUT_RAW] > 0)
        lanes->live_us = view->now_us;
    if (waiting > 0) {
        budget = low_budget(lanes, view, waiting, live);
        low = budget < (double)waiting ? (size_t)budget : (size_t)waiting;
        low = low < limit ? low : limit;
        low_split(lanes, view->lag, low, quota);
        low = quota[INPUT_OVERFLOW] + quota[INPUT_HISTORICAL];
    }
    /* A full batch of live records leaves the low lanes their share and no more. */
    if (live + low > limit && low > limit / LANES_LIVE_SHARE + 1) {
        size_t room = limit - live > limit / LANES_LIVE_SHARE + 1 ? limit - live : limit / LANES_LIVE_SHARE + 1;

        low_split(lanes, view->lag, room < low ? room : low, quota);
        low = quota[INPUT_OVERFLOW] + quota[INPUT_HISTORICAL];
    }
    quota[INPUT_RAW] = limit - low;
    if (quota[INPUT_RAW] == 0)
        quota[INPUT_RAW] = 1; /* who comes while this is planned */
}

void lanes_done(struct lanes *lanes, const struct lanes_batch *batch)
{
    uint64_t low = batch->taken[INPUT_OVERFLOW] + batch->taken[INPUT_HISTORICAL], all = low + batch->taken[INPUT_RAW];

    if (all > batch->moved && batch->cpu_us > 0)
        lanes->cost_us += ((double)batch->cpu_us / (double)(all - batch->moved) - lanes->cost_us) / 8;
    if (lanes->cost_us < 1)
        lanes->cost_us = 1;
    if (batch->taken[INPUT_RAW] > 0)
        lanes->live_us = batch->now_us;
    if (low > 0) {
        lanes->low_us = batch->now_us;
        lanes->drained += low;
        lanes->tokens -= (double)low;
        if (lanes->tokens < 0)
            lanes->tokens = 0;
        lanes->congested |= batch->took_us > LANES_TOOK_US && batch->now_us - lanes->live_us < LANES_QUIET_US;
    }
    lanes->events_end = batch->events_end;
    sample(lanes, batch->now_us, batch->events_end);
}

int64_t lanes_wait_us(const struct lanes *lanes, const struct lanes_view *view, int64_t most_us)
{
    int64_t wait_us = LANES_TURN_US - (view->now_us - lanes->low_us);

    if (view->lag[INPUT_OVERFLOW] + view->lag[INPUT_HISTORICAL] == 0)
        return most_us;
    return wait_us < 1000 ? 1000 : wait_us < most_us ? wait_us : most_us;
}
