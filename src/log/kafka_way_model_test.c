/* log/kafka_way_model_test.c - the way of batches through long random histories of its brokers, its process and its clients.
 * PENSTOCK_WAY_SEEDS=N: so many of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "log/kafka_way_test_kit.h"

/* Once a random history; `ends`: the process dies now and then. */
static void history(uint64_t seed, bool with_spool, bool ends)
{
    static const int64_t passes[] = { 1000, 5000, 20000, 300000, 1200000 };

    draw_state = seed;
    now_us = 1000000;
    world_begin(with_spool, draw(2) == 0 ? 0 : 200000, 2000);
    for (int i = 0; i < 1500; i++) {
        if (draw(60) == 0)
            brokers.mode = (enum mode)draw(4);
        else if (brokers.mode != BROKERS_UP && draw(40) == 0)
            brokers.mode = BROKERS_UP;
        if (draw(3) != 0)
            submit(1 + draw(6), 9 + draw(120));
        turn(passes[draw(draw(4) == 0 ? 5 : 3)]);
        if (ends && draw(200) == 0)
            process_again(with_spool, 2000);
    }
    settle();
    world_end();
}

static void histories(void **state)
{
    const char *more = getenv("PENSTOCK_WAY_SEEDS");
    uint64_t    seeds = more == NULL ? 12 : strtoull(more, NULL, 10);

    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        history(seed, seed % 4 != 0, seed % 2 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(histories) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
