/* base/machine_test.c - how much memory there is, by the files that say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/machine.h"

static void put(const char *folder, const char *name, const char *text)
{
    char  path[200];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)unlink(path);
    if (text == NULL)
        return;
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
}

static void the_smaller_of_machine_and_limit(void **state)
{
    static const struct { const char *second, *first; uint64_t machine, want; } rows[] = {
        { NULL, NULL, 1000, 1000 },
        { "max\n", NULL, 1000, 1000 },
        { "400\n", NULL, 1000, 400 },
        { "4000\n", NULL, 1000, 1000 },
        { NULL, "9223372036854771712\n", 1000, 1000 },
        { NULL, "300\n", 1000, 300 },
        { "max\n", "300\n", 1000, 300 },
        { "200\n", "300\n", 1000, 200 },
        { "", "nothing\n", 1000, 1000 },
    };
    char folder[] = "/tmp/penstock-machine-XXXXXX", memory[60];

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(memory, sizeof memory, "%s/memory", folder);
    assert_int_equal(mkdir(memory, 0700), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put(folder, "memory.max", rows[i].second);
        put(memory, "memory.limit_in_bytes", rows[i].first);
        assert_int_equal(machine_memory_under(folder, rows[i].machine), rows[i].want);
    }
    put(folder, "memory.max", NULL);
    put(memory, "memory.limit_in_bytes", NULL);
    assert_int_equal(rmdir(memory) | rmdir(folder), 0);
}

static void there_is_some(void **state)
{
    (void)state;
    assert_true(machine_memory_bytes() > (64 << 20) && machine_memory_bytes() < (uint64_t)1 << 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smaller_of_machine_and_limit),
        cmocka_unit_test(there_is_some),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
