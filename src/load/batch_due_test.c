/* load/batch_due_test.c - when a batch ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load/batch_due.h"
#include "warehouse/warehouse.h"

_Static_assert(WAREHOUSE_GROUP_ROWS == 8192, "the rows below are of that size");

/* In milliseconds; rest -1: no batch before. */
static const struct { const char *name; size_t events, live; int64_t age, rest, wait, pace; bool due; } rows[] = {
    { "young", 100, 100, 249, 5000, 250, 0, false },
    { "few rows wait as long as is usual", 100, 100, 250, 5000, 250, 0, true },
    { "one that fills a piece in time waits for it", 4096, 4096, 250, 5000, 250, 0, false },
    { "a full one does not", 8192, 8192, 250, 5000, 250, 0, true },
    { "two", 16384, 16384, 250, 5000, 250, 0, true },
    { "nor one that would be late", 1600, 1600, 250, 5000, 250, 0, true },
    { "nobody waits longer than four times", 8000, 8000, 1000, 5000, 250, 0, true },
    { "live events do not wait for an import", 4096, 100, 250, 5000, 250, 0, true },
    { "an import waits", 4096, 0, 250, 5000, 250, 0, false },
    { "the pause lasts", 8192, 8192, 900, 999, 250, 1000, false },
    { "and is over", 10, 10, 250, 1000, 250, 1000, true },
    { "a row that comes long after the last batch waits as usual", 1, 1, 249, 60000, 250, 1000, false },
    { "and no longer", 1, 1, 250, 60000, 250, 1000, true },
    { "what a unit's new owner finds", 1, 1, 0, -1, 250, 1000, true },
    { "what a loader without a pause finds", 1, 1, 0, -1, 250, 0, false },
    { "a long pause", 1, 1, 9000, 59999, 250, 60000, false },
    { "no pause beyond the usual wait", 100, 100, 2000, 100, 2000, 1000, true },
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct batch_due batch = { .events = rows[i].events, .live = rows[i].live, .age_us = rows[i].age * 1000,
                                         .rest_us = rows[i].rest < 0 ? -1 : rows[i].rest * 1000, .wait_us = rows[i].wait * 1000,
                                         .pace_us = rows[i].pace * 1000 };

        if (batch_is_due(&batch) != rows[i].due)
            fail_msg("%s: it %s", rows[i].name, rows[i].due ? "waits" : "does not wait");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
