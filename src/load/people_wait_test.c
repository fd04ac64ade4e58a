/* load/people_wait_test.c - when persons and ids wait for others, as rows of facts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load/people_wait.h"

static const struct { const char *name; uint64_t rows; int64_t since_us; bool waits; } facts[] = {
    { "nobody for a second: the next is taken at once",             1,     1000000, false },
    { "one, long after the last",                                   1, 60000000000, false },
    { "one, right behind the last",                                 1,       10000, false },
    { "a thousand in half a second fill no group in two",        1000,      500000, false },
    { "4,000 in half a second do",                               4000,      500000, true },
    { "and after a second they do not any more: nobody came",    4000,     1000000, false },
    { "8,192 in just under two seconds are still gathered",      8192,     1999999, true },
    { "two seconds are enough for anybody",                      8192,     2000000, false },
    { "so are four groups, however soon",                       32768,        1000, false },
    { "one short of four groups",                               32767,        1000, true },
    { "more than four groups",                                1000000,        1000, false },
};

static void each_fact_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (people_wait(facts[i].rows, facts[i].since_us) != facts[i].waits)
            fail_msg("%s", facts[i].name);
}

static void nobody_waits_longer(void **state)
{
    (void)state;
    for (uint64_t rows = 0; rows < 20000; rows += 7)
        assert_false(people_wait(rows, PEOPLE_WAIT_US));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_fact_holds), cmocka_unit_test(nobody_waits_longer) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
