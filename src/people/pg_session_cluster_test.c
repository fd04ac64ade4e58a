/* parts: postgres
 * people/pg_session_cluster_test.c - what a session insists on, whatever its server, database or role says: a commit that was confirmed stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "people/pg_conn.h"
#include "people/pg_test_kit.h"

static void set_in_database(const char *url, const char *name, const char *value)
{
    char text[200];

    (void)snprintf(text, sizeof text, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s = %s', current_database()); END $$", name, value);
    (void)pg_kit_sql(url, text);
}

/* The setting of a session of ours is this one. */
static bool session_has(const char *url, const char *name, const char *value)
{
    const struct people_settings settings = { .backend = "postgres", .url = url, .password_file = "" };
    struct pg_conn               conn = { .settings = &settings, .name = "a session" };
    struct err                   err = { 0 };
    int64_t                      is = 0;
    char                         text[200];

    (void)snprintf(text, sizeof text, "SELECT (current_setting('%s') = '%s')::int", name, value);
    if (pg_connect(&conn, &err) < 0 || pg_script(&conn, text, &is, &err) < 0)
        fail_msg("%s", err.text);
    pg_disconnect(&conn);
    return is == 1;
}

static void commits_are_waited_for(void **state)
{
    static const struct { const char *says, *has; } rows[] = {
        { "off", "on" }, { "local", "on" }, { "on", "on" }, { "remote_write", "remote_write" }, { "remote_apply", "remote_apply" },
    };
    char url[500];

    (void)state;
    pg_kit_database("session", url);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set_in_database(url, "synchronous_commit", rows[i].says);
        if (!session_has(url, "synchronous_commit", rows[i].has))
            fail_msg("where the database says %s a session has not %s", rows[i].says, rows[i].has);
    }
}

#define YEAR_US ((int64_t)365 * 86400 * 1000000)

/* This machine's clock, which a test sets, counts as long as it is not ahead of the server's. */
static void a_clock_ahead_is_the_servers(void **state)
{
    static char           folder[] = "/tmp/penstock_pg_session_XXXXXX";
    struct people_options options = { .folder = mkdtemp(folder) };
    struct people        *people;
    struct people_txn    *txn;
    struct err            err = { 0 };
    char                  url[500];
    int64_t               now_us, told_us;

    (void)state;
    assert_non_null(options.folder);
    pg_kit_database(options.folder, url);
    if (people_open(&options, &people, &err) < 0 || people_begin(people, true, &txn, &err) < 0 || people_commit(txn, &err) < 0)
        fail_msg("%s", err.text);
    now_us = clock_wall_us();
    assert_true(people_clock(people, now_us) == now_us);
    assert_true(people_clock(people, now_us - YEAR_US) == now_us - YEAR_US);
    assert_true(people_clock(people, now_us + 30000000) == now_us + 30000000); /* as clocks may differ */
    told_us = people_clock(people, now_us + YEAR_US);
    assert_true(told_us > now_us - 30000000 && told_us < now_us + 600000000);
    pg_of(people)->server_us -= YEAR_US; /* the server's was wrong, and was put right since: it is asked again */
    pg_of(people)->server_boot_us -= 3600 * (int64_t)1000000;
    assert_true(people_clock(people, now_us) == now_us);
    people_close(people);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(commits_are_waited_for), cmocka_unit_test(a_clock_ahead_is_the_servers) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
