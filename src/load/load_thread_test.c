/* load/load_thread_test.c - the role's own threads in one process, for ThreadSanitizer.
 *
 * load_test runs the role in forked processes, which the sanitizer cannot follow. Here the loop, the keeper and
 * the query socket run as threads of the test, while others ask, leave in the middle of an answer, and publish
 * rows; the warehouse is closed for idleness meanwhile, and opened again. Needs libduckdb.so, whose own inside
 * the sanitizer does not see (tests/tsan.supp). */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/say.h"
#include "event/row.h"
#include "load/load.h"
#include "load/query_socket.h"
#include "log/log.h"
#include "warehouse/warehouse.h"

enum { ROWS_EACH = 50, ROUNDS = 20, ASKERS = 3 };

static char        folder[60], run_folder[80];
static atomic_bool over;

static void *role_main(void *arg)
{
    struct err err = { .text = "" };

    if (load_role.run(arg, &err) < 0)
        return strdup(err.text);
    return NULL;
}

static int collect(void *ctx, struct span piece, struct err *err)
{
    struct buf *out = ctx;

    (void)err;
    buf_add(out, piece);
    return 0;
}

static int leave(void *ctx, struct span piece, struct err *err)
{
    (void)ctx;
    (void)piece;
    return err_set(err, ERR_INPUT, "enough");
}

/* The number that a query answers, or -1 while nobody does. */
static long ask(const char *sql)
{
    struct err err = { .text = "" };
    struct buf out;
    long       number = -1;

    buf_init(&out, 1 << 20);
    if (query_ask(run_folder, sql, WAREHOUSE_CSV, collect, &out, &err) == 0) {
        const char *line;

        buf_add_byte(&out, '\0');
        line = strchr((const char *)out.at, '\n');
        number = line != NULL ? strtol(line + 1, NULL, 10) : -1;
    }
    buf_fini(&out);
    return number;
}

static void *asker_main(void *arg)
{
    struct err err = { .text = "" };

    for (unsigned n = 0; !atomic_load(&over); n++) {
        if (n % 5 == 4)
            (void)!query_ask(run_folder, "SELECT range FROM range(200000)", WAREHOUSE_JSON, leave, NULL, &err);
        else
            (void)ask(n % 2 == 0 ? "SELECT count(*) FROM events" : "SELECT nothing FROM nowhere");
        usleep(5000);
    }
    return arg;
}

static void publish(struct log_writer *writer, struct log_batch *batch, unsigned round)
{
    struct err err;
    uint64_t   base;

    for (unsigned i = 0; i < ROWS_EACH; i++) {
        struct row row;
        uint8_t   *to;

        row_init(&row, ROW_EVENT);
        row_set_uuid(&row, ROW_EVENT_UUID, (struct uuid){ { (uint8_t)round, (uint8_t)i, 1 } });
        row_set_text(&row, ROW_EVENT_EVENT, SPAN("bought"));
        row_set_text(&row, ROW_EVENT_PROPERTIES, SPAN("{}"));
        row_set_i64(&row, ROW_EVENT_TEAM_ID, 1);
        row_set_i64(&row, ROW_EVENT_RAW_OFFSET, (int64_t)(round * ROWS_EACH + i));
        to = log_batch_begin(batch, row_bytes(&row));
        assert_non_null(to);
        row_write(&row, to);
        log_batch_end(batch, row_bytes(&row));
    }
    if (log_writer_append(writer, batch, clock_wall_us(), &base, &err) < 0 || log_writer_sync(writer, &err) < 0)
        fail_msg("%s", err.text);
    log_writer_publish(writer, log_writer_end(writer));
    log_batch_reset(batch);
}

static void threads_share_what_is_guarded(void **state)
{
    struct load_options      options;
    struct log_topic_options topic = { .codec = LOG_CODEC_LZ4 };
    struct role_env          env = { .data_folder = folder, .run_folder = run_folder, .options = &options };
    struct log_writer       *writer;
    struct log_batch        *batch = log_batch_new();
    struct log              *log;
    struct err               err = { .text = "" };
    pthread_t                role, askers[ASKERS];
    void                    *said;
    int                      stop[2];
    char                     name[300];
    long                     rows = -1;

    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/penstock-load-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(run_folder, sizeof run_folder, "%s/run", folder);
    assert_int_equal(mkdir(run_folder, 0700), 0);
    (void)snprintf(name, sizeof name, "%s/log", folder);
    if (log_open(&(struct log_options){ .folder = name }, &log, &err) < 0 ||
        log_writer_open(log, "events", 0, &topic, &writer, &err) < 0)
        fail_msg("%s", err.text);
    option_defaults(load_role.options, &options);
    options.batch_wait_us = 20000;
    options.idle_us = 100000;
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    env.stop_fd = stop[0];
    say_init("load", SAY_ERROR);

    assert_int_equal(pthread_create(&role, NULL, role_main, &env), 0);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&askers[i], NULL, asker_main, NULL), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        publish(writer, batch, round);
        usleep(30000);
    }
    atomic_store(&over, true);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_join(askers[i], NULL), 0);
    usleep(300000); /* idle: closed, and opened for the next question */
    for (int tries = 0; tries < 3000 && rows != ROUNDS * ROWS_EACH; tries++) {
        rows = ask("SELECT count(DISTINCT uuid) FROM events");
        usleep(20000);
    }
    assert_int_equal(rows, ROUNDS * ROWS_EACH);
    close(stop[1]);
    assert_int_equal(pthread_join(role, &said), 0);
    if (said != NULL)
        fail_msg("%s", (char *)said);
    log_batch_free(batch);
    log_writer_close(writer);
    log_close(log);
    close(stop[0]);
    (void)snprintf(name, sizeof name, "rm -rf %s", folder);
    assert_int_equal(system(name), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(threads_share_what_is_guarded) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
