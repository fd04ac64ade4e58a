/* ingest/store_rewriter_test.c - how much memory persons get where nobody says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/store_rewriter.h"

static void a_thirty_second_within_bounds(void **state)
{
    static const struct { uint64_t machine_mib, want_mib; } rows[] = {
        { 512, 256 }, { 2048, 256 }, { 4096, 256 }, { 8192, 256 }, { 8224, 257 }, { 16384, 512 }, { 24576, 768 }, { 65536, 2048 }, { 65568, 2048 },
        { (uint64_t)1 << 30, 2048 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(store_memory_usual(rows[i].machine_mib << 20), rows[i].want_mib << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_thirty_second_within_bounds) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
