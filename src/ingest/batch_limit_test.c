/* ingest/batch_limit_test.c - how long the next batch may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/batch_limit.h"

static const struct { const char *name; size_t limit, events, next; } met[] = {
    { "a full batch: a quarter",            20000, 20000, 5000 },
    { "a small one says how small",         20000, 4000,  1000 },
    { "not below what a commit is worth",   20000, 100,   512 },
    { "again: a quarter of that",           5000,  5000,  1250 },
    { "never more than it was",             300,   20000, 300 },
    { "of one event",                       1,     1,     1 },
};

static const struct { const char *name; size_t limit, most, next; } grown[] = {
    { "doubled",                  5000,  20000, 10000 },
    { "not more than the most",   15000, 20000, 20000 },
    { "the most stays",           20000, 20000, 20000 },
    { "from one",                 1,     20000, 2 },
    { "to one",                   1,     1,     1 },
    { "an odd most is reached",   6,     7,     7 },
    { "no number is too large",   SIZE_MAX / 2 + 1, SIZE_MAX, SIZE_MAX },
};

static void test_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof met / sizeof *met; i++)
        if (batch_limit_met(met[i].limit, met[i].events) != met[i].next)
            fail_msg("%s: %zu", met[i].name, batch_limit_met(met[i].limit, met[i].events));
    for (size_t i = 0; i < sizeof grown / sizeof *grown; i++)
        if (batch_limit_grown(grown[i].limit, grown[i].most) != grown[i].next)
            fail_msg("%s: %zu", grown[i].name, batch_limit_grown(grown[i].limit, grown[i].most));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_limits) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
