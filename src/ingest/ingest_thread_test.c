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

enum { ROUNDS = 4, FEEDS = 20, EVENTS_EACH = 100 };

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

/* An event of such a size, alone in its slice when it is large. part "$set": all later rows of its person are large too, and a
 * slice's rows have not all room before their turn. */
static void feed_large(struct site *site, const char *part, unsigned who, size_t bytes)
{
    struct arena *arena = arena_new(1 << 16, 1 << 28);
    char         *data = malloc(bytes + 64);
    struct span   body;
    char          id[8];

    (void)snprintf(id, sizeof id, "p%u", who);
    (void)snprintf(data, 64, "{\"%s\":{\"large\":\"", part);
    memset(data + strlen(data), 'x', bytes);
    memcpy(data + bytes, "\"}}", 4);
    body = fixture_record(&site->maker, (struct record){ .event = SPAN("large"), .distinct_id = span_text(id), .data = span_text(data) },
                          arena);
    site_append(site, &body, 1);
    free(data);
    arena_free(arena);
}

/* Ordinary events and large ones, three times, each time to the end. */
static void site_run(struct site *site, int64_t threads, struct people_place *place)
{
    site_init(site, 700);
    site->options.threads = threads;
    for (int round = 0; round < 3; round++) {
        site_feed(site, 900);
        feed_large(site, "properties", 1, 200 << 10);
        site_feed(site, 20);
        feed_large(site, "properties", 1, 70 << 10);
        feed_large(site, "properties", 1, 3 << 20);
        for (unsigned who = 0; round == 1 && who < 16; who++)
            feed_large(site, "$set", who, 50 << 10);
        site_feed(site, 600);
        site_finish(site, place);
    }
}

/* The same bytes in, the same bytes out, in every topic, whatever the number of threads. */
static void test_same_bytes(void **state)
{
    static const char *const topics[] = { "events", "people", "warnings", "dead_letters", "heatmaps", "definitions" };
    static const int64_t     threads[] = { 2, 4, 7 };
    struct site              one, many;
    struct people_place      place_of_one, place;

    (void)state;
    site_run(&one, 1, &place_of_one);
    assert_true(place_of_one.counters[FATE_DEDUPLICATED] > 100);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        site_run(&many, threads[i], &place);
        for (size_t j = 0; j < sizeof topics / sizeof *topics; j++)
            assert_same_topic(&one, &many, topics[j]);
        assert_memory_equal(&place, &place_of_one, sizeof place);
        site_fini(&many);
    }
    site_fini(&one);
}

/* Fed while it runs, stopped anywhere, it finishes as one does that nobody hurried. */
static void test_threads(void **state)
{
    struct site         site, quiet;
    struct people_place place, quiet_place;

    (void)state;
    setenv("PENSTOCK_SEEN_RECENT_MAX", "100", 1);
    site_init(&site, 200);
    site_init(&quiet, 200);
    site.options.threads = 3;
    quiet.options.threads = 1;
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

/* Until ingest has said that it is through with all that was fed. */
static void wait_taken(struct site *site)
{
    struct err err = { 0 };
    uint64_t   taken = 0;

    for (int tries = 0; tries < 60000; tries++) {
        if (log_cursor_load(site->log, input_topic(INPUT_RAW), 0, "ingest", &taken, &err) > 0 && taken == log_writer_end(site->raw))
            return;
        (void)usleep(1000);
    }
    fail_msg("ingest stands at %llu of %llu", (unsigned long long)taken, (unsigned long long)log_writer_end(site->raw));
}

/* Events that come one by one, each as soon as the last was taken, make no more batches than one in 25 ms (docs/limits.md). */
static void test_small_batches_are_apart(void **state)
{
    enum { BATCHES = 20, APART_US = 25000 };
    struct site site;
    pthread_t   thread;
    void       *failure;
    int64_t     began_us;
    char        byte = 0;

    (void)state;
    site_init(&site, 200);
    assert_int_equal(pthread_create(&thread, NULL, role_main, &site.env), 0);
    site_feed(&site, 1);
    wait_taken(&site);
    began_us = clock_mono_us();
    for (int i = 0; i < BATCHES; i++) {
        site_feed(&site, 1);
        wait_taken(&site);
    }
    assert_true(clock_mono_us() - began_us >= (BATCHES - 1) * APART_US);
    assert_int_equal(write(site.stop[1], &byte, 1), 1);
    assert_int_equal(pthread_join(thread, &failure), 0);
    assert_null(failure);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_threads),
                                        cmocka_unit_test(test_small_batches_are_apart) };

    setenv("PENSTOCK_CLOCK_US", "1709287200000000", 1); /* rows carry the clock: they are compared bytewise */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
