/* command/account_spool_test.c - what waits in DIR/spool, found without a broker and without capture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "command/account_spool.h"
#include "command/config_stores.h"
#include "ingest/testing.h"
#include "log/log_spool.h"

static struct fixture fixture;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&fixture);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

static void settings_write(const char *text)
{
    static char path[128];
    FILE       *file;

    snprintf(path, sizeof path, "%s/penstock.yaml", fixture.folder);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(0, fclose(file));
    command_stores_file(path);
}

/* Records into DIR/spool, as capture leaves them there. */
static struct log *spool_make(uint32_t live, uint32_t old)
{
    const uint32_t    counts[2] = { live, old };
    char              folder[128];
    struct log       *log;
    struct log_batch *batch = log_batch_new();
    struct err        err = { 0 };

    snprintf(folder, sizeof folder, "%s/spool", fixture.folder);
    fixture_must(log_open(&(struct log_options){ .folder = folder }, &log, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct log_writer *writer;
        uint64_t           base;

        fixture_must(log_writer_open(log, input_topic((enum input)i), 0, NULL, &writer, &err), &err);
        log_batch_reset(batch);
        for (uint32_t k = 0; k < counts[i]; k++)
            fixture_must(log_batch_add(batch, SPAN("record"), &err), &err);
        fixture_must(log_writer_append(writer, batch, 1, &base, &err), &err);
        fixture_must(log_writer_sync(writer, &err), &err);
        log_writer_publish(writer, log_writer_end(writer));
        log_writer_close(writer);
    }
    log_batch_free(batch);
    return log;
}

static void what_no_broker_has_waits(void **state)
{
    struct account_spool spool;
    struct log          *log = spool_make(5, 2);
    struct err           err = { 0 };

    (void)state;
    settings_write("log: {backend: kafka, brokers: [\"127.0.0.1:1\"], partitions: 1}\n");
    fixture_must(log_cursor_store(log, "raw", 0, LOG_SPOOL_CURSOR, 3, &err), &err); /* of the other topic nothing was sent */
    fixture_must(account_spool_open(fixture.folder, &spool, &err), &err);
    assert_int_equal(4, account_spool_waiting(&spool));
    assert_int_equal(3, spool.next[INPUT_RAW]);
    assert_int_equal(5, spool.end[INPUT_RAW]);
    assert_int_equal(0, spool.next[INPUT_HISTORICAL]);
    assert_int_equal(2, spool.end[INPUT_HISTORICAL]);
    assert_int_equal(0, account_spool_moved(&spool, &err));
    fixture_must(log_cursor_store(log, "raw", 0, LOG_SPOOL_CURSOR, 4, &err), &err);
    assert_int_equal(1, account_spool_moved(&spool, &err));
    account_spool_close(&spool);
    log_close(log);
}

static void no_folder_no_spool(void **state)
{
    struct account_spool spool;
    struct err           err = { 0 };

    (void)state;
    fixture_must(account_spool_open(fixture.folder, &spool, &err), &err);
    assert_null(spool.log);
    assert_int_equal(0, account_spool_waiting(&spool));
    assert_int_equal(0, account_spool_moved(&spool, &err));
    account_spool_close(&spool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_no_broker_has_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_folder_no_spool, set_up, tear_down), /* the settings of before: a command has them once */
    };

    return cmocka_run_group_tests_name("account_spool", tests, NULL, NULL);
}
