/* ingest/lanes_test.c - shares of the lanes, against a made-up ingest whose costs are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ingest/lanes.h"

/* An ingest: a batch costs sync_us and record_us for each record. Load takes load_rate rows a second, and says so
 * every second. */
struct world {
    struct lanes lanes;
    int64_t      now_us, sync_us, record_us;
    double       live_rate, live_due, load_rate, load_due; /* records a second; load_rate 0: no load */
    uint64_t     lag[INPUT_COUNT], taken[INPUT_COUNT], done, loaded;
    int64_t      load_told_us, age_us_max;
};

static void world_init(struct world *world, double live_rate, uint64_t overflow, uint64_t historical)
{
    *world = (struct world){ .now_us = 1000000000, .sync_us = 5000, .record_us = 20, .live_rate = live_rate,
                             .lag = { [INPUT_OVERFLOW] = overflow, [INPUT_HISTORICAL] = historical } };
    lanes_init(&world->lanes, world->now_us, 0);
}

static void world_pass(struct world *world, int64_t us)
{
    world->now_us += us;
    world->live_due += world->live_rate * (double)us / 1e6;
    world->lag[INPUT_RAW] += (uint64_t)world->live_due;
    world->live_due -= (double)(uint64_t)world->live_due;
    world->load_due += world->load_rate * (double)us / 1e6;
    if (world->load_due > (double)(world->done - world->loaded))
        world->load_due = (double)(world->done - world->loaded);
    world->loaded += (uint64_t)world->load_due;
    world->load_due -= (double)(uint64_t)world->load_due;
    if (world->load_rate > 0 && world->now_us - world->load_told_us >= 1000000) {
        world->load_told_us = world->now_us;
        lanes_load_at(&world->lanes, world->loaded, world->now_us);
    }
}

static void world_run(struct world *world, int64_t us)
{
    int64_t until_us = world->now_us + us;

    memset(world->taken, 0, sizeof world->taken);
    world->age_us_max = 0;
    while (world->now_us < until_us) {
        struct lanes_view  view = { .now_us = world->now_us };
        struct lanes_batch batch = { .events_end = 0 };
        size_t             quota[INPUT_COUNT];
        uint64_t           all = 0;

        memcpy(view.lag, world->lag, sizeof view.lag);
        view.live_age_us = world->live_rate > 0 ? (int64_t)((double)world->lag[INPUT_RAW] * 1e6 / world->live_rate) : 0;
        if (view.live_age_us > world->age_us_max)
            world->age_us_max = view.live_age_us;
        lanes_plan(&world->lanes, &view, 10000, quota);
        assert_true(quota[INPUT_RAW] + quota[INPUT_OVERFLOW] + quota[INPUT_HISTORICAL] <= 10001);
        for (int i = 0; i < INPUT_COUNT; i++) {
            batch.taken[i] = quota[i] < world->lag[i] ? quota[i] : world->lag[i];
            world->lag[i] -= batch.taken[i];
            world->taken[i] += batch.taken[i];
            all += batch.taken[i];
        }
        if (all == 0) {
            world_pass(world, lanes_wait_us(&world->lanes, &view, 5000));
            continue;
        }
        batch.cpu_us = (int64_t)all * world->record_us;
        batch.took_us = world->sync_us + batch.cpu_us;
        world_pass(world, batch.took_us);
        world->done += all;
        batch.now_us = world->now_us;
        batch.events_end = world->done;
        lanes_done(&world->lanes, &batch);
    }
}

/* 50,000 a second is what this ingest can do at most. */
static void test_alone_at_full_speed(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 0, 0, 10000000);
    world_run(&world, 10000000);
    assert_true(world.taken[INPUT_HISTORICAL] > 450000);
}

static void test_beside_live(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 2000, 0, 10000000);
    world_run(&world, 30000000); /* to find its rate */
    world_run(&world, 10000000);
    assert_in_range(world.taken[INPUT_RAW], 19900, 20100);
    assert_true(world.taken[INPUT_HISTORICAL] > 200000);
    assert_true(world.age_us_max < 30000); /* a batch of 10 ms of low records, its syncs, and what came meanwhile */
}

/* Live traffic that alone needs all: the low lanes get their minimum, together about a thirty-second part. */
static void test_saturated(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 60000, 1000000, 1000000);
    world_run(&world, 20000000);
    world_run(&world, 20000000);
    assert_true(world.taken[INPUT_RAW] > 850000);
    assert_in_range(world.taken[INPUT_HISTORICAL] + world.taken[INPUT_OVERFLOW], 20000, 60000);
    assert_true(world.taken[INPUT_OVERFLOW] > 9000 && world.taken[INPUT_HISTORICAL] > 9000);
}

/* A load that can take less than ingest gives: what waits for it stays seconds, with and without live traffic. */
static void test_load_is_slower(void **state)
{
    struct world world;

    (void)state;
    for (int live = 0; live <= 1; live++) {
        world_init(&world, live ? 1000 : 0, 0, 100000000);
        world.load_rate = 12000;
        world_run(&world, 60000000);
        world_run(&world, 60000000);
        assert_true(world.taken[INPUT_HISTORICAL] > 6 * 60 * 1000); /* half of what load can take, at least */
        assert_true((double)(world.done - world.loaded) / world.load_rate < 10);
    }
}

/* A load that takes nothing: slow, and not nothing. One that was never there: no limit. */
static void test_load_stands(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 0, 0, 100000000);
    world.load_rate = 1e-9;
    world_run(&world, 60000000);
    world_run(&world, 10000000);
    assert_in_range(world.taken[INPUT_HISTORICAL], 900, 1100);
}

static void test_two_share(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 0, 2000000, 2000000);
    world_run(&world, 5000000);
    assert_true(world.taken[INPUT_OVERFLOW] > 100000);
    assert_in_range(world.taken[INPUT_HISTORICAL] * 100 / world.taken[INPUT_OVERFLOW], 95, 105);
    world_init(&world, 0, 100, 2000000); /* what one does not need, the other one gets */
    world_run(&world, 5000000);
    assert_int_equal(world.taken[INPUT_OVERFLOW], 100);
    assert_true(world.taken[INPUT_HISTORICAL] > 200000);
}

/* Live traffic comes back after quiet hours, and the lane slows down within a second. */
static void test_live_comes_back(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 0, 0, 100000000);
    world_run(&world, 20000000);
    world.live_rate = 30000;
    world_run(&world, 1000000);
    assert_true(world.age_us_max < 250000);
    world_run(&world, 10000000);
    assert_true(world.age_us_max < 250000 && world.taken[INPUT_RAW] > 295000);
    assert_true(world.taken[INPUT_HISTORICAL] > 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone_at_full_speed), cmocka_unit_test(test_beside_live),  cmocka_unit_test(test_saturated),
        cmocka_unit_test(test_load_is_slower),      cmocka_unit_test(test_load_stands), cmocka_unit_test(test_two_share),
        cmocka_unit_test(test_live_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
