/* ingest/crew_test.c - whatever the number of threads, each step is done once, in its order, with nobody beside it who may not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ingest/crew.h"

enum { SLICES = 3000 };

enum { PARSE, ORDER, AHEAD, PUT, STEPS };

struct run {
    unsigned       slices, cut;       /* how many there are, and were cut */
    unsigned       of_slot[CREW_SLOTS_MAX];
    unsigned       hands;
    int            fail_step;         /* STEPS: none */
    unsigned       fail_slice;
    unsigned       done[STEPS][SLICES]; /* plain: whoever does a step must see the one before it */
    unsigned       ordered, put;
    atomic_uint    in_put, in_order;
    uint64_t       sum;               /* of what was put, folded in order */
    uint64_t       value[SLICES];
    atomic_ulong   hands_seen;
};

static void linger(unsigned slice, unsigned salt)
{
    volatile unsigned spin = (slice * 2654435761u + salt * 40503u) % 400;

    while (spin > 0)
        spin = spin - 1;
    if ((slice + salt) % 97 == 0)
        usleep(50);
}

static int step_done(struct run *run, int step, unsigned slice, struct err *err)
{
    run->done[step][slice]++;
    if (run->fail_step != step || run->fail_slice != slice)
        return 0;
    return err_set(err, ERR_RETRY, "step %d of slice %u", step, slice);
}

static bool cut(void *ctx, unsigned slot)
{
    struct run *run = ctx;

    if (run->cut == run->slices)
        return false;
    run->of_slot[slot] = run->cut++;
    return true;
}

static int parse(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct run *run = ctx;
    unsigned    slice = run->of_slot[slot];

    assert_true(hand < run->hands);
    atomic_fetch_or(&run->hands_seen, 1ul << hand);
    linger(slice, 1);
    run->value[slice] = slice * UINT64_C(0x9e3779b97f4a7c15);
    return step_done(run, PARSE, slice, err);
}

static int order(void *ctx, unsigned slot, struct err *err)
{
    struct run *run = ctx;
    unsigned    slice = run->of_slot[slot];

    assert_int_equal(atomic_fetch_add(&run->in_order, 1), 0);
    assert_int_equal(slice, run->ordered);
    assert_int_equal(run->done[PARSE][slice], 1);
    run->ordered++;
    linger(slice, 2);
    run->value[slice] ^= run->ordered;
    atomic_fetch_sub(&run->in_order, 1);
    return step_done(run, ORDER, slice, err);
}

static int ahead(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct run *run = ctx;
    unsigned    slice = run->of_slot[slot];

    assert_true(hand < run->hands);
    assert_int_equal(run->done[ORDER][slice], 1);
    linger(slice, 3);
    return step_done(run, AHEAD, slice, err);
}

static int put(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct run *run = ctx;
    unsigned    slice = run->of_slot[slot];

    assert_true(hand < run->hands);
    assert_int_equal(atomic_fetch_add(&run->in_put, 1), 0);
    assert_int_equal(slice, run->put);
    assert_int_equal(run->done[ORDER][slice], 1);
    run->put++;
    linger(slice, slice % 12 == 0 ? 300 : 4);
    run->sum = (run->sum ^ run->value[slice]) * UINT64_C(0x100000001b3);
    atomic_fetch_sub(&run->in_put, 1);
    return step_done(run, PUT, slice, err);
}

static int run_with(struct crew *crew, struct run *run, unsigned slices, int fail_step, unsigned fail_slice, struct err *err)
{
    const struct crew_work work = { .ctx = run, .cut = cut, .parse = parse, .order = order, .ahead = ahead, .put = put };

    memset(run, 0, sizeof *run);
    run->slices = slices;
    run->hands = crew_hands(crew);
    run->fail_step = fail_step;
    run->fail_slice = fail_slice;
    return crew_run(crew, &work, err);
}

/* When another hand gets a core is not ours to say: on a full machine it takes some runs. */
static void others_work_too(struct crew *crew, struct run *run)
{
    int64_t    until_us = clock_mono_us() + 20000000;
    struct err err = { 0 };

    while (run->hands > 1 && (unsigned long)run->hands_seen <= 1 && clock_mono_us() < until_us)
        assert_int_equal(run_with(crew, run, SLICES, STEPS, 0, &err), 0);
    assert_true(run->hands == 1 || (unsigned long)run->hands_seen > 1);
}

static void test_order(void **state)
{
    static const unsigned slices[] = { 0, 1, 2, 7, SLICES };
    struct run           *run = malloc(sizeof *run);
    struct err            err = { 0 };
    uint64_t              sums[sizeof slices / sizeof *slices];

    (void)state;
    for (unsigned hands = 1; hands <= 6; hands++) {
        struct crew *crew;

        assert_int_equal(crew_new(hands, &crew, &err), 0);
        for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
            assert_int_equal(run_with(crew, run, slices[i], STEPS, 0, &err), 0);
            assert_int_equal(run->put, slices[i]);
            for (unsigned slice = 0; slice < slices[i]; slice++) {
                assert_int_equal(run->done[PARSE][slice], 1);
                assert_int_equal(run->done[ORDER][slice], 1);
                assert_true(run->done[AHEAD][slice] <= 1);
                assert_int_equal(run->done[PUT][slice], 1);
            }
            if (hands == 1)
                sums[i] = run->sum;
            assert_true(run->sum == sums[i]);
        }
        others_work_too(crew, run);
        crew_free(crew);
    }
    free(run);
}

/* C2, and a run that failed leaves nothing behind for the next one. */
static void test_failures(void **state)
{
    struct run  *run = malloc(sizeof *run);
    struct crew *crew;
    struct err   err = { 0 };

    (void)state;
    for (unsigned hands = 1; hands <= 4; hands++) {
        assert_int_equal(crew_new(hands, &crew, &err), 0);
        for (int step = 0; step < STEPS; step++)
            for (unsigned slice = 0; slice < 200; slice += 13) {
                int      rc = run_with(crew, run, 400, step, slice, &err);
                unsigned puts = run->put, orders = run->ordered, parses = run->cut;

                if (step == AHEAD && run->done[AHEAD][slice] == 0) { /* its turn had come: the step was left out */
                    assert_int_equal(rc, 0);
                    continue;
                }
                assert_int_equal(rc, -1);
                assert_int_equal(err.kind, ERR_RETRY);
                usleep(200);
                assert_true(puts == run->put && orders == run->ordered && parses == run->cut);
                assert_true(puts < 400);
                if (step == ORDER)
                    assert_int_equal(orders, slice + 1);
                if (step == PUT)
                    assert_int_equal(puts, slice + 1);
                assert_int_equal(run_with(crew, run, 20, STEPS, 0, &err), 0);
                assert_int_equal(run->put, 20);
            }
        crew_free(crew);
    }
    free(run);
}

/* A step of another hand uses this much; the caller leaves the cores to them. */
enum { HARD_US = 5000, HARD_STEPS = 4 };

static int parse_hard(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    struct run *run = ctx;
    int64_t     from_us = clock_thread_us();

    (void)slot;
    (void)err;
    if (hand == 0) {
        usleep(1000);
        return 0;
    }
    while (clock_thread_us() - from_us < HARD_US)
        ;
    atomic_fetch_add(&run->in_put, 1);
    return 0;
}

static int nothing(void *ctx, unsigned slot, unsigned hand, struct err *err)
{
    (void)ctx;
    (void)slot;
    (void)hand;
    (void)err;
    return 0;
}

static int order_nothing(void *ctx, unsigned slot, struct err *err)
{
    return nothing(ctx, slot, 0, err);
}

/* What the others used, whether they are at work or asleep again; nothing of the caller's. */
static void test_cpu(void **state)
{
    int64_t until_us = clock_mono_us() + 20000000;

    (void)state;
    for (unsigned hands = 1; hands <= 3; hands++) {
        struct run            *run = calloc(1, sizeof *run);
        const struct crew_work work = { .ctx = run, .cut = cut, .parse = parse_hard, .order = order_nothing, .ahead = nothing, .put = nothing };
        struct err             err = { 0 };
        struct crew           *crew;
        int64_t                before_us;

        assert_int_equal(crew_new(hands, &crew, &err), 0);
        before_us = crew_cpu_us(crew);
        do {
            run->cut = 0;
            run->slices = 20;
            assert_int_equal(crew_run(crew, &work, &err), 0);
        } while (hands > 1 && atomic_load(&run->in_put) < HARD_STEPS && clock_mono_us() < until_us);
        if (hands == 1)
            assert_int_equal(crew_cpu_us(crew), 0);
        else
            assert_true(atomic_load(&run->in_put) >= HARD_STEPS);
        assert_true(crew_cpu_us(crew) - before_us >= (int64_t)atomic_load(&run->in_put) * (HARD_US - 1) - hands);
        crew_free(crew);
        free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_failures), cmocka_unit_test(test_cpu) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
