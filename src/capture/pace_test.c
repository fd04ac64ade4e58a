/* capture/pace_test.c - the pace of imports, against a made-up capture, disk and ingest whose speeds are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture/pace.h"

/* A capture with some import clients that send as soon as they are answered: 100 events that take request_us. A commit takes
 * commit_us, and a live one longer by half of what imports had of the last second. Ingest takes so many records a second. */
struct world {
    struct pace        pace;
    int64_t            now_us, request_us, commit_us;
    double             live_rate, ingest_rate, ingest_due;
    unsigned           clients;
    struct pace_ingest ingest;
    uint64_t           imported;
    int64_t            waited_us_max;
};

static void world_init(struct world *world, double live_rate, double ingest_rate)
{
    *world = (struct world){ .now_us = 1000000000, .request_us = 1000, .commit_us = 3000, .live_rate = live_rate,
                             .ingest_rate = ingest_rate, .clients = 4 };
    pace_init(&world->pace, world->now_us);
}

static void world_ingest(struct world *world, int64_t us)
{
    struct pace_ingest *ingest = &world->ingest;
    uint64_t            taken, live = ingest->live_end - ingest->live_taken, import = ingest->import_end - ingest->import_taken;

    world->ingest_due += world->ingest_rate * (double)us / 1e6;
    taken = (uint64_t)world->ingest_due;
    taken = taken < live ? taken : live;
    ingest->live_taken += taken;
    world->ingest_due -= (double)taken;
    taken = (uint64_t)world->ingest_due < import ? (uint64_t)world->ingest_due : import;
    ingest->import_taken += taken;
    world->ingest_due = taken == import ? 0 : world->ingest_due - (double)taken;
}

/* A turn: live events of a commit's time, then what the import's clients sent, and its commit. */
static void world_run(struct world *world, int64_t us)
{
    int64_t until_us = world->now_us + us, since_us = world->now_us;
    bool    waiting = false;

    world->imported = 0;
    world->waited_us_max = 0;
    while (world->now_us < until_us) {
        int64_t from_us = world->now_us;

        world->now_us += world->commit_us;
        if (world->live_rate > 0) {
            world->ingest.live_end += (uint64_t)(world->live_rate * (double)world->commit_us / 1e6);
            pace_live(&world->pace, world->now_us);
            pace_commit(&world->pace, world->now_us, world->commit_us);
        }
        if (!waiting) {
            for (unsigned i = 0; i < world->clients; i++) {
                world->now_us += world->request_us;
                pace_import(&world->pace, world->now_us, world->request_us);
            }
            since_us = world->now_us;
            waiting = true;
        }
        if (pace_due_us(&world->pace, world->now_us, since_us) <= world->now_us) {
            pace_gone(&world->pace, world->now_us);
            if (world->now_us - since_us > world->waited_us_max)
                world->waited_us_max = world->now_us - since_us;
            world->imported += 100 * world->clients;
            world->ingest.import_end += 100 * world->clients;
            waiting = false;
        }
        world_ingest(world, world->now_us - from_us);
        if (pace_step_due(&world->pace, world->now_us))
            pace_step(&world->pace, world->now_us, &world->ingest);
    }
}

/* Nobody else is there: every client is answered at the next commit. */
static void test_alone_there_is_no_pace(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 0, 1000);
    world_run(&world, 10000000);
    assert_true(world.imported > 500000); /* 400 in 7 ms */
    assert_true(world.waited_us_max < 10000);
}

/* With an ingest that takes everything, an import grows to its share of half, and no further. */
static void test_share_beside_live(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 2000, 1e6);
    world_run(&world, 5000000);
    assert_true(world.imported < 5 * 20000);
    world_run(&world, 30000000);
    world_run(&world, 10000000);
    assert_in_range(world.imported / 10, 100 * world.clients * 1000 / 60, 100 * world.clients * 1000 / 20);
    assert_true(world.waited_us_max < PACE_WAIT_US / 4);
}

/* An ingest that takes 6,000 a second: the import comes to what live traffic leaves, and seconds of it wait, not more. */
static void test_ingest_sets_the_pace(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 2000, 6000);
    world_run(&world, 60000000);
    for (int i = 0; i < 6; i++) {
        world_run(&world, 20000000);
        assert_in_range(world.imported / 20, 2000, 5000);
        assert_true(world.ingest.import_end - world.ingest.import_taken < 6000 * 8);
        assert_true(world.waited_us_max <= PACE_WAIT_US + 10000);
    }
}

/* An ingest that stands: slow, and everybody is answered within a second. */
static void test_ingest_stands(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 2000, 0);
    world_run(&world, 60000000);
    world_run(&world, 10000000);
    assert_in_range(world.imported, 3000, 10 * 100 * world.clients);
    assert_true(world.waited_us_max <= PACE_WAIT_US + 10000);
}

/* Live commits become slow beside an import, and the import gives way; when they are quick again it comes back. */
static void test_slow_commits(void **state)
{
    struct world world;
    uint64_t     before;

    (void)state;
    world_init(&world, 2000, 1e6);
    world.clients = 0;
    world_run(&world, 3000000); /* how long a live commit takes alone */
    world.clients = 4;
    world_run(&world, 20000000);
    world_run(&world, 10000000);
    before = world.imported;
    world.commit_us = 20000;
    world_run(&world, 5000000);
    world_run(&world, 5000000);
    assert_true(world.imported < before / 2 / 4);
    world.commit_us = 3000;
    world_run(&world, 20000000);
    world_run(&world, 10000000);
    assert_true(world.imported > before * 3 / 4);
}

/* A request that took very long is no debt for minutes. */
static void test_no_debt_is_long(void **state)
{
    struct pace pace;

    (void)state;
    pace_init(&pace, 1000000000);
    pace_live(&pace, 1000000000);
    pace_import(&pace, 1000000000, 5000000);
    assert_true(pace_due_us(&pace, 1000000000, 1000000000) <= 1000000000 + PACE_WAIT_US);
    pace_live(&pace, 1001500000);
    assert_true(pace_due_us(&pace, 1001500000, 1001500000) <= 1001500000);
    assert_true(pace_due_us(&pace, 1003000000, 1003000000) <= 1003000000); /* live traffic is over */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone_there_is_no_pace), cmocka_unit_test(test_share_beside_live),
        cmocka_unit_test(test_ingest_sets_the_pace),   cmocka_unit_test(test_ingest_stands),
        cmocka_unit_test(test_slow_commits),           cmocka_unit_test(test_no_debt_is_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
