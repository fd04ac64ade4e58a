/* parts: kafka:3 alone
 *
 * A committer on real brokers, while these are killed, stopped, and stand still (PENSTOCK_SPOOL_OUTAGE_SECONDS of it), and records of
 * all sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "log/spool_cluster_test_kit.h"

static inline double seconds(void)
{
    const char *at = getenv("PENSTOCK_SPOOL_OUTAGE_SECONDS");

    return at == NULL ? 10 : strtod(at, NULL);
}

static void brokers_take(void **state)
{
    pid_t pid = writer_start(200);

    (void)state;
    wait_way(LOG_WAY_DIRECT);
    sleep_us(2000000);
    wait_drained();
    sleep_us(1000000);
    wait_drained();
    writer_stop(pid);
    assert_int_equal(0, atomic_load(&shared->no));
    check_all();
    assert_int_equal(seen.records - seen.copies, (uint64_t)BATCH_RECORDS * atomic_load(&shared->batches));
    if (atomic_load(&shared->outages) == 0) /* brokers that were just started may take their time */
        assert_int_equal(0, seen.copies);
}

/* what is done to brokers; with them back, everything goes on. */
static void outage(const char *away, const char *back, bool all)
{
    pid_t    pid = writer_start(100);
    uint64_t before, during;
    int64_t  from_us, drained_us;

    wait_way(LOG_WAY_DIRECT);
    sleep_us(1000000);
    before = atomic_load(&shared->yes);
    kafka_control(away);
    if (all) {
        wait_way(LOG_WAY_SPOOLING);
        sleep_us((int64_t)(seconds() * 1e6));
        during = atomic_load(&shared->yes) - before;
        assert_true(during > 10);
        assert_int_equal(0, atomic_load(&shared->no));
    } else {
        sleep_us(5000000);
    }
    from_us = clock_mono_us();
    kafka_control(back);
    if (all)
        wait_drained();
    drained_us = clock_mono_us() - from_us;
    sleep_us(1000000);
    wait_drained();
    writer_stop(pid);
    print_message("    all at the brokers %.1f s after they came back\n", (double)drained_us / 1e6);
    assert_int_equal(0, atomic_load(&shared->no));
    assert_true(atomic_load(&shared->slowest_us) < 20000000);
    check_all();
}

static void brokers_stand_still(void **state) { (void)state; outage("pause", "resume", true); }
static void brokers_are_killed(void **state) { (void)state; outage("kill", "start", true); }
static void one_broker_is_killed(void **state) { (void)state; outage("kill 1", "start 1", false); }
static void one_broker_is_stopped(void **state) { (void)state; outage("stop 2", "start 2", false); }
static void one_broker_stands_still(void **state) { (void)state; outage("pause 3", "resume 3", false); }

static void without_a_spool(void **state)
{
    static struct writing writing;
    struct err            err = { 0 };
    uint64_t              yes;

    (void)state;
    assert_int_equal(0, writing_begin(&writing, NULL, &err));
    wait_way(LOG_WAY_DIRECT);
    for (int i = 0; i < 6000 && atomic_load(&shared->yes) < 20; i++) { /* some may be refused: a new topic's leaders are not all known at once */
        (void)writing_ask(&writing, 5, RECORD_BYTES);
        sleep_us(10000);
    }
    for (int i = 0; i < 2000 && atomic_load(&shared->yes) + atomic_load(&shared->no) < atomic_load(&shared->batches); i++)
        sleep_us(10000);
    yes = atomic_load(&shared->yes);
    assert_true(yes >= 20);
    kafka_control("pause");
    atomic_store(&shared->slowest_us, 0);
    for (int i = 0; i < 60; i++) {
        (void)writing_ask(&writing, 5, RECORD_BYTES);
        sleep_us(50000);
    }
    assert_int_equal(yes, atomic_load(&shared->yes));
    assert_true(atomic_load(&shared->no) > 0);
    assert_true(atomic_load(&shared->slowest_us) < 2000000);
    kafka_control("resume");
    wait_way(LOG_WAY_DIRECT);
    yes = atomic_load(&shared->yes);
    for (int i = 0; i < 500 && atomic_load(&shared->yes) < yes + 20; i++) {
        (void)writing_ask(&writing, 5, RECORD_BYTES);
        sleep_us(50000);
    }
    assert_true(atomic_load(&shared->yes) >= yes + 20);
    writing_end(&writing);
    check_all();
}

/* A record that is larger than any topic takes, and many that are as large as one may be. */
static void sizes(void **state)
{
    static const size_t bytes[] = { 100, 900000, 999900, 1000000, 1100000, 5 << 20, (31 << 20) };
    static struct writing writing;
    struct err            err = { 0 };
    char                  spool_folder[200];

    (void)state;
    (void)snprintf(spool_folder, sizeof spool_folder, "%s/spool", folder);
    assert_int_equal(0, writing_begin(&writing, spool_folder, &err));
    wait_way(LOG_WAY_DIRECT);
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        for (int k = 0; k < 2000 && !writing_ask(&writing, 1, bytes[i]); k++)
            sleep_us(10000);
        assert_true(writing_ask(&writing, 3, 200));
    }
    for (int i = 0; i < 3000 && atomic_load(&shared->yes) + atomic_load(&shared->no) < atomic_load(&shared->batches); i++)
        sleep_us(10000);
    wait_drained();
    writing_end(&writing);
    assert_int_equal(0, atomic_load(&shared->no));
    check_all();
    assert_int_equal(0, seen.small);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(brokers_take, begin, end),
        cmocka_unit_test_setup_teardown(sizes, begin, end),
        cmocka_unit_test_setup_teardown(brokers_stand_still, begin, end),
        cmocka_unit_test_setup_teardown(one_broker_is_killed, begin, end),
        cmocka_unit_test_setup_teardown(one_broker_is_stopped, begin, end),
        cmocka_unit_test_setup_teardown(one_broker_stands_still, begin, end),
        cmocka_unit_test_setup_teardown(brokers_are_killed, begin, end),
        cmocka_unit_test_setup_teardown(without_a_spool, begin, end),
    };
    int code;

    return writer_asked_for(argc, argv, &code) ? code : cmocka_run_group_tests(tests, NULL, NULL);
}
