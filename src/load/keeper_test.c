/* load/keeper_test.c - of damaged warehouses none is lost, however fast one follows the other. Needs no engine. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "load/keeper.h"

#define DAMAGED "/w.damaged-20260101T000000Z"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[160];

    (void)snprintf(path, sizeof path, "%s%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
}

static void must_hold(const char *name, const char *text)
{
    char   got[32];
    FILE  *file = fopen(path_of(name), "r");
    size_t bytes;

    if (file == NULL)
        fail_msg("%s is not there", name);
    bytes = fread(got, 1, sizeof got - 1, file);
    got[bytes] = '\0';
    (void)fclose(file);
    assert_string_equal(got, text);
}

/* The clock stands still: names have its second. */
static void all_that_is_damaged_is_kept(void **state)
{
    char                     path[160];
    struct warehouse_options options = { .path = path };
    struct keeper           *keeper;

    (void)state;
    (void)snprintf(path, sizeof path, "%s", path_of("/w"));
    keeper = keeper_new(&options);
    assert_non_null(keeper);
    put("/w", "first");
    put("/w.wal", "its log");
    keeper_shut(keeper, true);
    put("/w", "second");
    keeper_shut(keeper, true);
    put("/w", "third");
    put("/w.wal", "the third's log");
    keeper_shut(keeper, true);
    assert_int_equal(keeper_rebuilds(keeper), 3);
    keeper_free(keeper);
    must_hold(DAMAGED, "first");
    must_hold(DAMAGED ".wal", "its log");
    must_hold(DAMAGED "-2", "second");
    assert_int_equal(access(path_of(DAMAGED "-2.wal"), F_OK), -1);
    must_hold(DAMAGED "-3", "third");
    must_hold(DAMAGED "-3.wal", "the third's log");
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    static const char *const names[] = { DAMAGED, DAMAGED ".wal", DAMAGED "-2", DAMAGED "-3", DAMAGED "-3.wal", "/w", "/w.wal" };
    const struct CMUnitTest  tests[] = { cmocka_unit_test(all_that_is_damaged_is_kept) };
    int                      failed;

    (void)setenv("PENSTOCK_CLOCK_US", "1767225600000000", 1);
    (void)snprintf(folder, sizeof folder, "/tmp/penstock_keeper_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlink(path_of(names[i]));
    (void)rmdir(folder);
    return failed;
}
