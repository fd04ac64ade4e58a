/* ingest/ingest_thread_test.c - the role's own threads in one process, for ThreadSanitizer.
 *
 * ingest_test runs the role in forked processes, which the sanitizer cannot follow. Here the loop is a thread of the test,
 * which feeds it meanwhile; files of seen ids are made and merged beside it, segments are filled ahead, and it is stopped
 * and started in the middle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>

#include "ingest/outputs.h"
#include "ingest/testing_site.h"

enum { ROUNDS = 4, FEEDS = 20, EVENTS_EACH = 40 };

static void *role_main(void *arg)
{
    struct err err = { .text = "" };

    if (ingest_role.run(arg, &err) < 0)
        return strdup(err.text);
    return NULL;
}

static size_t run_files(struct site *site)
{
    char           path[128];
    DIR           *dir;
    struct dirent *file;
    size_t         count = 0;

    (void)snprintf(path, sizeof path, "%s/people/seen", site->folder);
    dir = opendir(path);
    while (dir != NULL && (file = readdir(dir)) != NULL)
        count += strstr(file->d_name, ".run") != NULL;
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

/* Fed while it runs, stopped anywhere, it finishes as one does that nobody hurried. */
static void test_threads(void **state)
{
    struct site         site, quiet;
    struct people_place place, quiet_place;

    (void)state;
    setenv("PENSTOCK_SEEN_RECENT_MAX", "100", 1);
    site_init(&site, 50);
    site_init(&quiet, 50);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t thread;
        void     *failure;
        char      byte = 0;

        assert_int_equal(pthread_create(&thread, NULL, role_main, &site.env), 0);
        for (int i = 0; i < FEEDS; i++) {
            site_feed(&site, EVENTS_EACH);
            site_feed(&quiet, EVENTS_EACH);
            usleep(5000);
        }
        assert_int_equal(write(site.stop[1], &byte, 1), 1);
        assert_int_equal(pthread_join(thread, &failure), 0);
        if (failure != NULL)
            fail_msg("ingest: %s", (char *)failure);
        assert_int_equal(read(site.stop[0], &byte, 1), 1);
    }
    site_finish(&site, &place);
    assert_true(run_files(&site) > 0); /* the limit is heard of */
    unsetenv("PENSTOCK_SEEN_RECENT_MAX");
    site_finish(&quiet, &quiet_place);
    assert_int_equal(run_files(&quiet), 0);
    assert_true(place.counters[FATE_DEDUPLICATED] > 100);
    for (int i = 0; i < FATE_COUNT; i++)
        assert_true(place.counters[i] == quiet_place.counters[i]);
    assert_same_topic(&site, &quiet, "events");
    assert_same_topic(&site, &quiet, "dead_letters");
    site_fini(&site);
    site_fini(&quiet);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads) };

    setenv("PENSTOCK_CLOCK_US", "1709287200000000", 1); /* rows carry the clock: they are compared bytewise */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
