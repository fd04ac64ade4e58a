/* load/query_socket_test.c - the socket without an engine behind it: many clients, those who leave, those
 * who stay too long. Runs under the thread sanitizer, which the engine's own library does not. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "load/query_socket.h"

static char folder[] = "/tmp/penstock-query-XXXXXX";

/* "say TEXT", "bytes N", "fail", "for ever" */
static int run(void *ctx, const char *sql, enum warehouse_format format, warehouse_write *write_to, void *write_ctx,
               const atomic_bool *cancel, struct err *err)
{
    static const uint8_t block[65536];
    long long            bytes = 0;

    (void)ctx;
    if (strncmp(sql, "say ", 4) == 0)
        return write_to(write_ctx, span_text(sql + 4), err);
    if (sscanf(sql, "bytes %lld", &bytes) == 1) {
        for (; bytes > 0; bytes -= (long long)sizeof block)
            if (write_to(write_ctx, span_of(block, bytes < (long long)sizeof block ? (size_t)bytes : sizeof block), err) < 0)
                return -1;
        return 0;
    }
    if (strcmp(sql, "for ever") == 0) {
        while (!atomic_load(cancel))
            usleep(1000);
        return err_set(err, ERR_RETRY, "cancelled");
    }
    return err_set(err, ERR_INPUT, "format %d, no such thing: %s", (int)format, sql);
}

static struct query_socket *open_server(unsigned queries_max, int64_t time_us_max)
{
    struct query_socket_options options = { .run_folder = folder, .run = run, .queries_max = queries_max,
                                            .time_us_max = time_us_max };
    struct query_socket        *server;
    struct err                  err = { .text = "" };

    if (query_socket_open(&options, &server, &err) < 0)
        fail_msg("%s", err.text);
    return server;
}

static int count(void *ctx, struct span piece, struct err *err)
{
    (void)err;
    *(uint64_t *)ctx += piece.bytes;
    return 0;
}

static int leave(void *ctx, struct span piece, struct err *err)
{
    (void)ctx;
    (void)piece;
    return err_set(err, ERR_STOP, "left");
}

static void *ask_often(void *at)
{
    uintptr_t wrong = 0;

    (void)at;
    for (int i = 0; i < 50; i++) {
        uint64_t   bytes = 0;
        struct err err = { .text = "" };

        wrong += query_ask(folder, "bytes 200000", WAREHOUSE_CSV, count, &bytes, &err) < 0 || bytes != 200000;
        wrong += query_ask(folder, "bytes 100000000", WAREHOUSE_CSV, leave, NULL, &err) == 0 || strcmp(err.text, "left") != 0;
        wrong += query_ask(folder, "nonsense", WAREHOUSE_TABLE, count, &bytes, &err) == 0 ||
                 strcmp(err.text, "format 2, no such thing: nonsense") != 0 || err.kind != ERR_INPUT;
    }
    return (void *)wrong;
}

static void many_at_once(void **state)
{
    struct query_socket *server = open_server(QUERIES_MAX, 60000000);
    pthread_t            threads[8];
    uint64_t             answered, failed;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
    for (size_t i = 0; i < 8; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    query_socket_close(server);
    server = open_server(1, 10000000);
    query_socket_counts(server, &answered, &failed);
    assert_int_equal(answered + failed, 0);
    query_socket_close(server);
    assert_false(query_served(folder));
}

/* One place: each next question finds it free again the moment the last was answered. */
static void one_place_is_enough_for_one(void **state)
{
    struct query_socket *server = open_server(1, 60000000);
    uint64_t             bytes = 0, answered, failed;
    struct err           err = { .text = "" };

    (void)state;
    for (int i = 0; i < 300; i++)
        if (query_ask(folder, "say hello", WAREHOUSE_CSV, count, &bytes, &err) < 0)
            fail_msg("%d: %s", i, err.text);
    assert_int_equal(bytes, 300 * 5);
    query_socket_counts(server, &answered, &failed);
    assert_int_equal(answered, 300);
    query_socket_close(server);
}

/* A process that stands still has connections made and bytes taken for it by the kernel. A query that takes its time is heard at once. */
/* As with `ulimit -n 64`: fewer than there are places for clients. */
static void few_files_are_enough(void **state)
{
    struct query_socket *server;
    struct rlimit        was, few;
    struct err           err = { .text = "" };
    uint64_t             bytes = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    few = (struct rlimit){ 64, was.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    server = open_server(2, 60000000);
    if (query_ask(folder, "say hello", WAREHOUSE_CSV, count, &bytes, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(bytes, 5);
    query_socket_close(server);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

static void who_stands_still_is_given_up(void **state)
{
    struct sockaddr_un   address = { .sun_family = AF_UNIX };
    int                  still = socket(AF_UNIX, SOCK_STREAM, 0);
    uint64_t             bytes = 0;
    struct err           err = { .text = "" };
    struct query_socket *server;

    (void)state;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/" QUERY_SOCKET_NAME, folder);
    assert_int_equal(bind(still, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(still, 1), 0);
    for (int i = 0; i < 4; i++) { /* the third finds the queue full */
        assert_int_equal(query_ask_within(folder, 50, "say hello", WAREHOUSE_CSV, count, &bytes, &err), -1);
        assert_int_equal(err.kind, ERR_RETRY);
        assert_non_null(strstr(err.text, "stands still"));
    }
    close(still);
    assert_int_equal(unlink(address.sun_path), 0);
    server = open_server(1, 1000000);
    assert_int_equal(query_ask_within(folder, 500, "for ever", WAREHOUSE_CSV, count, &bytes, &err), -1);
    assert_non_null(strstr(err.text, "load.query_time"));
    query_socket_close(server);
}

/* NULL when it was refused in the end. */
static void *ask_for_ever(void *at)
{
    uint64_t bytes = 0;

    return query_ask(folder, "for ever", WAREHOUSE_CSV, count, &bytes, at) < 0 ? NULL : at;
}

static void time_and_stop_end_a_query(void **state)
{
    struct query_socket *server = open_server(1, 300000);
    struct err           err = { .text = "" };
    pthread_t            thread;

    (void)state;
    assert_null(ask_for_ever(&err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_string_equal(err.text, "the query took longer than load.query_time allows");
    query_socket_close(server);
    server = open_server(1, 60000000);
    assert_int_equal(pthread_create(&thread, NULL, ask_for_ever, &err), 0);
    usleep(200000);
    int64_t start_us = clock_mono_us();
    query_socket_close(server);
    assert_true(clock_mono_us() - start_us < 30000000); /* half of the query's own time */
    pthread_join(thread, NULL);
    assert_int_equal(err.kind, ERR_RETRY);
}

/* Who connects in the moment of the stop is let go with all others: nothing of it runs on behind the close. */
static void the_last_moment(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char               byte;

    (void)state;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/" QUERY_SOCKET_NAME, folder);
    for (int i = 0; i < 300; i++) {
        struct query_socket *server = open_server(1, 60000000);
        int                  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (const struct sockaddr *)(const void *)&address, sizeof address), 0);
        query_socket_close(server);
        assert_true(recv(fd, &byte, 1, 0) <= 0 || byte == 'e'); /* let go, or told that nobody answers any more */
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_moment),
        cmocka_unit_test(one_place_is_enough_for_one),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(few_files_are_enough),
        cmocka_unit_test(who_stands_still_is_given_up),
        cmocka_unit_test(time_and_stop_end_a_query),
    };
    int failed;

    if (mkdtemp(folder) == NULL)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
