/* capture/group_delay_test.c - who waits for company and who does not, against clients and a disk whose times are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture/group_delay.h"

enum { BATCH_BYTES = 60000, COMMIT_US = 900, CLIENTS_MAX = 64 };

/* Clients send a request of `bytes`: open ones one in gap_us on average, independent of each other and of answers; closed ones think_us
 * after their answer. */
struct world {
    struct group_delay delay;
    int64_t            now_us, gap_us, think_us;
    size_t             bytes, clients;
    bool               open;
    uint64_t           commits, requests;
    uint64_t           random;
    int64_t            waited_us_max; /* from a group's first request, the disk being idle, to its commit */
};

/* Does somebody come in the next 10 us? */
static bool world_comes(struct world *world)
{
    world->random = world->random * 6364136223846793005u + 1442695040888963407u;
    return (world->random >> 33) % (uint64_t)world->gap_us < 10;
}

/* A disk with one group on its way while another fills. */
static void world_run(struct world *world, int64_t us)
{
    int64_t until_us = world->now_us + us, comes_us[CLIENTS_MAX], landed_us = 0, since_us = 0, idle_us = 0;
    size_t  waiting = 0, flying = 0;

    for (size_t i = 0; i < CLIENTS_MAX; i++)
        comes_us[i] = world->now_us + (int64_t)i * 37;
    for (; world->now_us < until_us; world->now_us += 10) {
        size_t came = 0;

        if (flying > 0 && world->now_us >= landed_us) {
            for (size_t i = 0; i < world->clients && !world->open; i++)
                if (comes_us[i] == INT64_MAX && flying > 0) { /* any of them will do */
                    comes_us[i] = world->now_us + world->think_us + (int64_t)i * 11;
                    flying--;
                }
            flying = 0;
            idle_us = world->now_us;
        }
        if (world->open)
            came = world_comes(world);
        else
            for (size_t i = 0; i < world->clients; i++)
                if (comes_us[i] <= world->now_us) {
                    comes_us[i] = INT64_MAX;
                    came++;
                }
        if (waiting == 0 && came > 0)
            since_us = world->now_us;
        waiting += came;
        if (waiting == 0 || flying > 0 || group_delay_until_us(&world->delay, since_us, waiting, waiting * world->bytes) > world->now_us)
            continue;
        if (world->now_us - (since_us > idle_us ? since_us : idle_us) > world->waited_us_max)
            world->waited_us_max = world->now_us - (since_us > idle_us ? since_us : idle_us);
        group_delay_gone(&world->delay, world->now_us, waiting);
        world->commits++;
        world->requests += waiting;
        flying = waiting;
        landed_us = world->now_us + COMMIT_US;
        waiting = 0;
    }
}

static struct world world_of(bool open, int64_t gap_us, size_t clients, size_t bytes)
{
    return (struct world){ .now_us = 1000000000, .gap_us = gap_us, .think_us = 300, .bytes = bytes, .clients = clients, .open = open };
}

/* 600 batches a second from as many clients, a commit of 0.9 ms: alone each would be a commit of its own. */
static void batches_share_commits(void **state)
{
    struct world world = world_of(true, 1666, 0, BATCH_BYTES);

    (void)state;
    world_run(&world, 200000);
    world.commits = world.requests = 0;
    world_run(&world, 1000000);
    assert_in_range(world.requests, 500, 700);
    assert_true(world.commits * 2 <= world.requests);
    assert_true(world.waited_us_max <= GROUP_DELAY_US + 10);
}

/* D2 */
static void small_requests_do_not_wait(void **state)
{
    struct world world = world_of(true, 300, 0, 1000);

    (void)state;
    world_run(&world, 1000000);
    assert_true(world.requests >= 2500);
    assert_int_equal(world.waited_us_max, 0);
}

/* D1: nobody else can come. */
static void one_client_alone_does_not_wait(void **state)
{
    struct world world = world_of(false, 0, 1, BATCH_BYTES);

    (void)state;
    world_run(&world, 1000000);
    assert_true(world.commits > 500);
    assert_int_equal(world.waited_us_max, 0);
}

/* Four who wait for their answers: when all of them wait, they go; when three have left, the last one waits no more, after a while. */
static void those_who_wait_are_not_waited_for(void **state)
{
    struct world world = world_of(false, 0, 4, BATCH_BYTES);

    (void)state;
    world_run(&world, 1000000);
    assert_true(world.requests >= 2000); /* a turn of all is 1.3 ms; held to the end of each delay it would be 5 */
    world.clients = 1;
    world_run(&world, 2 * 2 * GROUP_DELAY_GROUPS * (int64_t)(GROUP_DELAY_US + 2000));
    world.waited_us_max = 0;
    world_run(&world, 100000);
    assert_int_equal(world.waited_us_max, 0);
}

static void nobody_waits_after_a_quiet_time(void **state)
{
    struct group_delay delay = { 0 };
    int64_t            now_us = 1000000000;

    (void)state;
    group_delay_gone(&delay, now_us, 5);
    assert_int_equal(group_delay_until_us(&delay, now_us + 1000, 1, BATCH_BYTES), now_us + 1000 + GROUP_DELAY_US);
    assert_int_equal(group_delay_until_us(&delay, now_us + GROUP_DELAY_QUIET_US + 1, 1, BATCH_BYTES), 0);
}

static void large_groups_do_not_wait(void **state)
{
    struct group_delay delay = { 0 };
    int64_t            now_us = 1000000000;

    (void)state;
    group_delay_gone(&delay, now_us, 64);
    assert_true(group_delay_until_us(&delay, now_us, 2, GROUP_DELAY_ENOUGH_BYTES - 1) > now_us);
    assert_int_equal(group_delay_until_us(&delay, now_us, 2, GROUP_DELAY_ENOUGH_BYTES), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_share_commits),
        cmocka_unit_test(small_requests_do_not_wait),
        cmocka_unit_test(one_client_alone_does_not_wait),
        cmocka_unit_test(those_who_wait_are_not_waited_for),
        cmocka_unit_test(nobody_waits_after_a_quiet_time),
        cmocka_unit_test(large_groups_do_not_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
