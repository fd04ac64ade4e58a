/* log/log_units_test.c - a role whose brokers are away waits for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/say.h"
#include "log/log_units.h"

struct role {
    struct log *log;
    int         stop_fd, rc;
    struct err  err;
    atomic_bool ended;
};

static int never_run(void *ctx, uint32_t partition, int stop_fd, struct err *err)
{
    (void)ctx;
    (void)partition;
    (void)stop_fd;
    return err_set(err, ERR_STOP, "nobody gave it a partition");
}

static void *role_main(void *arg)
{
    const struct log_units_work work = { .run = never_run };
    struct role                *role = arg;

    role->rc = log_units_run(role->log, "ingest", "raw", &work, role->stop_fd, &role->err);
    atomic_store(&role->ended, true);
    say(SAY_WARN, "ended");
    return NULL;
}

static void brokers_that_are_away_are_waited_for(void **state)
{
    const struct log_kafka_options kafka = { .brokers = "127.0.0.1:1", .partitions = 1 };
    struct role                    role = { .rc = -2 };
    uint64_t                       one = 1;
    pthread_t                      thread;
    struct err                     err = { 0 };
    char                           line[1000];
    int                            ends[2], kept = dup(STDERR_FILENO), found = 0;
    FILE                          *said;

    (void)state;
    assert_int_equal(0, log_open(&(struct log_options){ .folder = "", .kafka = &kafka }, &role.log, &err));
    role.stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(0, pipe(ends));
    assert_int_equal(STDERR_FILENO, dup2(ends[1], STDERR_FILENO));
    close(ends[1]);
    said = fdopen(ends[0], "r");
    assert_int_equal(0, pthread_create(&thread, NULL, role_main, &role));
    while (!found && fgets(line, sizeof line, said) != NULL && strstr(line, " ended") == NULL)
        found = strstr(line, "trying again in") != NULL;
    assert_int_equal(sizeof one, write(role.stop_fd, &one, sizeof one));
    assert_int_equal(STDERR_FILENO, dup2(kept, STDERR_FILENO));
    close(kept);
    pthread_join(thread, NULL);
    fclose(said);
    log_close(role.log);
    close(role.stop_fd);
    assert_true(found);
    assert_int_equal(0, role.rc); /* a stop is no failure */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(brokers_that_are_away_are_waited_for) };

    return cmocka_run_group_tests_name("log_units", tests, NULL, NULL);
}
