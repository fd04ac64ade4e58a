/* parts: kafka:3 alone
 *
 * A committer on real brokers whose process is killed (PENSTOCK_SPOOL_KILLS times) while these stand still and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "log/spool_cluster_test_kit.h"

static void writer_is_killed(void **state)
{
    unsigned seed = (unsigned)getpid();
    int      rounds = getenv("PENSTOCK_SPOOL_KILLS") == NULL ? 6 : atoi(getenv("PENSTOCK_SPOOL_KILLS"));

    (void)state;
    for (int round = 0; round < rounds; round++) {
        pid_t pid = writer_start(100);

        if (round % 3 == 1)
            kafka_control("pause"); /* its spool fills, or is full from the start */
        sleep_us(500000 + rand_r(&seed) % 2500000);
        if (round % 3 == 2)
            kafka_control("resume");
        sleep_us(rand_r(&seed) % 1500000);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        atomic_store(&shared->way, LOG_WAY_COUNT);
    }
    kafka_control("resume");
    {
        pid_t pid = writer_start(50);

        wait_way(LOG_WAY_DIRECT);
        wait_drained();
        writer_stop(pid);
    }
    assert_int_equal(0, atomic_load(&shared->no));
    check_all();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writer_is_killed, begin, end),
    };
    int code;

    return writer_asked_for(argc, argv, &code) ? code : cmocka_run_group_tests(tests, NULL, NULL);
}
