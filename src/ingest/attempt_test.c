/* ingest/attempt_test.c - who is suspected after which death, and how large the next batch is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ingest/attempt.h"

static struct attempt *start(const char *folder)
{
    struct attempt *attempt;
    struct err      err = { 0 };

    assert_int_equal(attempt_open(folder, &attempt, &err), 0);
    return attempt;
}

/* A start that dies inside the batch [first, first + count), while it looks at `at`. */
static void die(const char *folder, uint64_t first, size_t count, uint64_t at)
{
    struct attempt *attempt = start(folder);

    attempt_begin(attempt, first, count);
    attempt_mark(attempt, at);
    attempt_close(attempt); /* the file stays as a kill would leave it */
}

static void test_suspect(void **state)
{
    char            folder[] = "/tmp/penstock-attempt-XXXXXX", file[64];
    struct attempt *attempt;

    (void)state;
    assert_non_null(mkdtemp(folder));
    attempt = start(folder);
    assert_int_equal(attempt_limit(attempt, 100, 50), 50);
    attempt_close(attempt);

    die(folder, 100, 50, 110);
    attempt = start(folder);
    assert_int_equal(attempt_limit(attempt, 100, 50), 10); /* its predecessors first */
    attempt_begin(attempt, 100, 10);
    attempt_end(attempt, 110);
    assert_int_equal(attempt_limit(attempt, 110, 50), 1); /* then it, alone */
    assert_int_equal(attempt_crashes(attempt, 110), 1);
    assert_int_equal(attempt_crashes(attempt, 111), 0);
    attempt_begin(attempt, 110, 1);
    attempt_end(attempt, 111);
    assert_int_equal(attempt_limit(attempt, 111, 50), 50);
    assert_int_equal(attempt_crashes(attempt, 110), 0); /* it was not the one */
    attempt_close(attempt);

    for (int i = 0; i < 3; i++)
        die(folder, 200, 1, 200);
    attempt = start(folder);
    assert_int_equal(attempt_crashes(attempt, 200), ATTEMPT_CRASHES_MAX);
    attempt_close(attempt);
    die(folder, 200, 1, 201); /* another one starts at one again */
    attempt = start(folder);
    assert_int_equal(attempt_crashes(attempt, 200), 0);
    assert_int_equal(attempt_crashes(attempt, 201), 1);
    attempt_close(attempt);
    (void)snprintf(file, sizeof file, "%s/ingest.attempt", folder);
    assert_int_equal(unlink(file) + rmdir(folder), 0);
}

/* Deaths that nobody can be blamed for: the batches shrink, and grow again after its records. */
static void test_careful(void **state)
{
    char            folder[] = "/tmp/penstock-attempt-XXXXXX", file[64];
    struct attempt *attempt;

    (void)state;
    assert_non_null(mkdtemp(folder));
    die(folder, 0, 640, ATTEMPT_NONE);
    attempt = start(folder);
    assert_int_equal(attempt_limit(attempt, 0, 1000), 80);
    attempt_close(attempt);
    die(folder, 0, 80, ATTEMPT_NONE);
    die(folder, 0, 10, ATTEMPT_NONE);
    attempt = start(folder);
    assert_int_equal(attempt_limit(attempt, 0, 1000), 1);
    attempt_begin(attempt, 0, 1);
    attempt_end(attempt, 1);
    assert_int_equal(attempt_limit(attempt, 1, 1000), 1);
    attempt_begin(attempt, 1, 639);
    attempt_end(attempt, 640);
    assert_int_equal(attempt_limit(attempt, 640, 1000), 1000);
    attempt_close(attempt);
    (void)snprintf(file, sizeof file, "%s/ingest.attempt", folder);
    assert_int_equal(unlink(file) + rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_suspect), cmocka_unit_test(test_careful) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
