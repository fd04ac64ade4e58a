/* base/users_test.c - who is there, who is not, and when nobody can say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/resource.h>

#include "base/users.h"

static void root_is_there_and_a_stranger_is_not(void **state)
{
    struct user user = { 7, 7 };
    struct err  err = { 0 };
    bool        there = false;

    (void)state;
    assert_int_equal(users_find("root", &user, &there, &err), 0);
    assert_true(there);
    assert_int_equal(user.uid, 0);
    assert_int_equal(users_find("no-such-user-here", &user, &there, &err), 0);
    assert_false(there);
}

/* The file of users cannot be opened: it is not said that a user of it is not there, also where a further source (systemd) knows
 * nobody of that name. */
static void without_open_files_nobody_can_say(void **state)
{
    struct rlimit was, none;
    struct user   user;
    struct err    err = { 0 };
    bool          there = true;
    int           rc;

    (void)state;
    users_load();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){ 0, was.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    rc = users_find("daemon", &user, &there, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(err.text, "cannot look for user daemon"));
    assert_false(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_is_there_and_a_stranger_is_not),
        cmocka_unit_test(without_open_files_nobody_can_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
