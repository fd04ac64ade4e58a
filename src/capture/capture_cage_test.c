/* capture/capture_cage_test.c - the drills of cage_drill.h, as root's child and as another user; and that what is missing
 * is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cage.h"
#include "capture/cage_drill.h"

struct tally { unsigned done, bad; };

static void tally_add(void *ctx, const struct cage_drill_result *result)
{
    struct tally *tally = ctx;

    tally->done++;
    if (!result->good) {
        tally->bad++;
        print_error("%s: %s\n", result->what, result->how);
    }
}

static void drill_as(const char *user)
{
    struct tally tally = { 0 };
    struct err   err = { 0 };
    const char  *why;

    if (!cage_possible(&why) || cage_landlock_version() < 3) /* truncation is not limited before */
        skip();
    if (cage_drill_run(user, tally_add, &tally, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(tally.bad, 0);
    assert_int_equal(tally.done, 20);
}

static void nobody_gets_out(void **state)
{
    (void)state;
    drill_as("");
}

static void nor_as_another_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    drill_as("nobody");
}

static void a_cage_that_is_not_there_says_why(void **state)
{
    const char *why = NULL;

    (void)state;
    assert_true(cage_possible(&why) ? why[0] == '\0' : why[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_gets_out),
        cmocka_unit_test(nor_as_another_user),
        cmocka_unit_test(a_cage_that_is_not_there_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
