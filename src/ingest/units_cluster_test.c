/* parts: kafka
 *
 * ingest/units_cluster_test.c - ingest with its topics at a real broker: killed anywhere, its rows are there once, and in order, as
 * if it had not been; a second one takes over, and the first one is nobody; an event that kills it ends alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "ingest/outputs.h"
#include "ingest/testing_kafka.h"

/* Until the role, which has to wait for its dead predecessor's place in the group, has finished some batch. */
static void wait_for_work(struct site *site, uint64_t *at)
{
    int64_t    until_us = clock_mono_us() + 120000000;
    uint64_t   before = *at;
    struct err err = { 0 };

    while (log_cursor_load(site->log, "raw", 0, "ingest", at, &err) < 1 || *at == before) {
        assert_true(clock_mono_us() < until_us);
        usleep(10000);
    }
}

static void killed_anywhere(void **state)
{
    static struct kafka_site quiet, killed;
    struct people_place      quiet_place, killed_place;
    uint64_t                 dice = 4711, fed = 0, at = 0;

    (void)state;
    kafka_site_init(&quiet, 200);
    kafka_site_init(&killed, 200);
    quiet.site.options.overflow_burst = killed.site.options.overflow_burst = 0;
    for (int i = 0; i < 6; i++) {
        size_t count = 100 + random_next(&dice) % 900;
        pid_t  pid;

        site_feed(&quiet.site, count);
        site_feed(&killed.site, count);
        fed += count;
        pid = kafka_owner_start(&killed, "run");
        wait_for_work(&killed.site, &at);
        usleep((useconds_t)(random_next(&dice) % 100000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(waitpid(pid, NULL, 0) == pid);
    }
    site_finish(&quiet.site, &quiet_place);
    site_finish(&killed.site, &killed_place);
    assert_int_equal(fates_sum(&quiet_place), fed);
    assert_int_equal(fates_sum(&killed_place), fed);
    assert_int_equal(fate_consumed(&killed_place), fed);
    for (int i = 0; i < FATE_COUNT; i++)
        assert_true(quiet_place.counters[i] == killed_place.counters[i]);
    assert_same_topic(&quiet.site, &killed.site, "events");
    assert_same_topic(&quiet.site, &killed.site, "dead_letters");
    assert_same_topic(&quiet.site, &killed.site, "heatmaps");
    site_fini(&quiet.site);
    site_fini(&killed.site);
}

static void feed_named(struct site *site, const char *event, size_t count)
{
    struct arena *arena = arena_new(1 << 16, 1 << 24);
    struct span   bodies[8];

    assert_true(count <= 8);
    for (size_t i = 0; i < count; i++)
        bodies[i] = fixture_record(&site->maker, (struct record){ .event = span_text(event), .distinct_id = SPAN("d"),
                                                                  .data = SPAN("{\"properties\":{}}") }, arena);
    site_append(site, bodies, count);
    arena_free(arena);
}

/* A suspect that is the first record of a message, while the place stands behind the last one of the message before: no record
 * lies between them, but a million offsets do. */
static void suspect_behind_a_hole(void **state)
{
    static struct kafka_site at;
    struct people_place      place;
    int                      deaths = 0;

    (void)state;
    kafka_site_init(&at, 100);
    feed_named(&at.site, "view", 4);
    site_finish(&at.site, &place);
    assert_true(place.input_next[INPUT_RAW] % (1 << 20) == 4);
    feed_named(&at.site, "poison", 1);
    feed_named(&at.site, "view", 3);
    setenv("PENSTOCK_CRASH_ON", "poison", 1);
    for (;;) {
        int   status = 0;
        pid_t pid = kafka_owner_start(&at, "finish");

        assert_true(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status))
            break;
        if (WTERMSIG(status) == SIGALRM)
            fail_msg("after %d deaths it stands still", deaths);
        assert_true(++deaths <= ATTEMPT_CRASHES_MAX);
    }
    unsetenv("PENSTOCK_CRASH_ON");
    assert_int_equal(deaths, ATTEMPT_CRASHES_MAX);
    site_finish(&at.site, &place);
    assert_true(fate_sum(&place, FATE_CLASS_DEAD_LETTERED) == 1 && fate_sum(&place, FATE_CLASS_STORED) == 7);
    assert_int_equal(fate_consumed(&place), 8);
    site_fini(&at.site);
}

/* What a process cannot open, whatever it tries, is left to a new one: it says why, and ends. */
static void what_cannot_be_opened_ends_the_process(void **state)
{
    static struct kafka_site at;
    int64_t                  until_us = clock_mono_us() + 600000000;
    char                     path[128];
    int                      status, fd;
    pid_t                    pid;

    (void)state;
    kafka_site_init(&at, 100);
    (void)snprintf(path, sizeof path, "%s/people", at.site.folder);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* no folder */
    assert_true(fd >= 0);
    (void)close(fd);
    pid = kafka_owner_start(&at, "run");
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_mono_us() > until_us)
            fail_msg("it tries for ten minutes");
        usleep(100000);
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    site_fini(&at.site);
}

/* --- the tests' own way --------------------------------------------------------------------------- */

static void *connects_anew(void *stop)
{
    const struct addrinfo hints = { .ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM };

    while (!atomic_load((atomic_bool *)stop)) {
        struct addrinfo *found;

        if (getaddrinfo("127.0.0.1", "9092", &hints, &found) == 0) /* as librdkafka before each connection */
            freeaddrinfo(found);
    }
    return NULL;
}

/* An owner that is started while other threads of the test look for brokers works all the same. */
static void beside_busy_threads(void **state)
{
    static struct kafka_site at;
    static atomic_bool       stop;
    struct people_place      place;
    pthread_t                thread;
    uint64_t                 seen = 0;
    pid_t                    pid;

    (void)state;
    kafka_site_init(&at, 100);
    feed_named(&at.site, "view", 4);
    assert_int_equal(pthread_create(&thread, NULL, connects_anew, &stop), 0);
    usleep(10000); /* it has begun: or the test shows less */
    pid = kafka_owner_start(&at, "run");
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    wait_for_work(&at.site, &seen);
    site_stop(&at.site, pid);
    site_finish(&at.site, &place);
    assert_int_equal(fate_sum(&place, FATE_CLASS_STORED), 4);
    site_fini(&at.site);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_anywhere), cmocka_unit_test(suspect_behind_a_hole),
        cmocka_unit_test(what_cannot_be_opened_ends_the_process), cmocka_unit_test(beside_busy_threads),
    };
    int rc;

    setenv("PENSTOCK_CLOCK_US", "1709287200000000", 1); /* rows carry the clock: they are compared bytewise */
    if (kafka_owner(argc, argv, &rc))
        return rc;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
