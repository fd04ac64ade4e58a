/* load/load_queries_test.c - questions to the role beside its loading: places, time, clients that leave, rubbish. The role is a
 * process of its own (load_test_kit.h). Needs libduckdb.so. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "load/load_test_kit.h"

static int hang_up(void *ctx, struct span piece, struct err *err)
{
    (void)ctx;
    (void)piece;
    return err_set(err, ERR_STOP, "had enough");
}

static int raw_connection(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/" QUERY_SOCKET_NAME, run_folder);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* A server with no place left answers and goes without having read: then the answer tells, not this. */
static void send_unless_gone(int fd, const void *bytes, size_t count)
{
    ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);

    assert_true(sent == (ssize_t)count || (sent < 0 && errno == EPIPE));
}

/* A query that works for ever, on a connection of its own. */
static int begin_endless(void)
{
    static const char endless[] = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range = b.range * 2 + a.range % 7";
    uint8_t           head[9];
    int               fd = raw_connection();

    bytes_put_u32(head, QUERY_MAGIC);
    head[4] = WAREHOUSE_CSV;
    bytes_put_u32(head + 5, sizeof endless - 1);
    send_unless_gone(fd, head, sizeof head);
    send_unless_gone(fd, endless, sizeof endless - 1);
    return fd;
}

static bool is_answered(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };

    return poll(&wait, 1, 0) == 1;
}

/* Both places taken by queries that work for ever: until a third one is told so. One of them may have been refused, when
 * the client before it was not let go yet, or be over, on a machine so slow that its time went by: it comes again. */
static void take_both_places(int fds[2])
{
    for (int i = 0; i < 2; i++)
        fds[i] = begin_endless();
    for (int tries = 0; tries < 600; tries++) {
        if (strstr(ask("SELECT 1"), "2 queries are running") != NULL && !is_answered(fds[0]) && !is_answered(fds[1]))
            return;
        usleep(20000);
        for (int i = 0; i < 2; i++)
            if (is_answered(fds[i])) {
                close(fds[i]);
                fds[i] = begin_endless();
            }
    }
    fail_msg("the places are never taken");
}

static void queries_beside_the_loader(void **state)
{
    struct load_options options = options_of();
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct process     process;
    struct err         err = { .text = "" };
    uint8_t            head;
    int                fds[2];
    struct stat        st;
    char               path[300];

    (void)state;
    options.queries = 2;
    options.query_time_us = 3000000;
    options.idle_us = 1000000;
    assert_int_equal(query_ask(run_folder, "SELECT 1", WAREHOUSE_CSV, collect, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_false(query_served(run_folder));
    process = start_with(&options);
    expect("SELECT 1 AS a", "a\r\n1\r\n");
    snprintf(path, sizeof path, "%s/" QUERY_SOCKET_NAME, run_folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_non_null(strstr(ask("DELETE FROM events"), "only statements that read"));
    assert_non_null(strstr(ask("SELECT * FROM read_csv('/etc/passwd')"), "disabled by configuration"));
    assert_non_null(strstr(ask("SELEC"), "syntax error"));
    assert_int_equal(strlen(ask("SELECT repeat('x', 3000000) AS x")), 3 + 3000000 + 2);

    /* A client that leaves in the middle, ten times: there are only two places. */
    for (int i = 0; i < 10; i++) {
        int rc = -1;

        for (int tries = 0; tries < 3000 && (rc = query_ask(run_folder, "FROM range(100000000)", WAREHOUSE_JSON, hang_up, NULL, &err)) < 0 &&
                            err.kind == ERR_RETRY; tries++)
            usleep(20000);
        assert_int_equal(rc, -1);
        assert_string_equal(err.text, "had enough");
    }
    /* All places taken by queries that work for ever; the loader goes on, and time ends them. */
    take_both_places(fds);
    add_events(events, batch, 0, 100);
    for (int i = 0; i < 2; i++) {
        char answer[400] = "";

        assert_true(recv(fds[i], answer, sizeof answer - 1, MSG_WAITALL) > 11);
        assert_memory_equal(answer, "d\0\0\0", 5); /* heard */
        assert_int_equal(answer[5], 'e');
        assert_non_null(strstr(answer + 11, "longer than load.query_time"));
        close(fds[i]);
    }
    expect("SELECT count(*) AS n FROM events", "n\r\n100\r\n");
    /* Rubbish is answered, not believed. */
    fds[0] = raw_connection();
    send_unless_gone(fds[0], "GET / HTTP/1.1\r\n\r\n", 18);
    assert_int_equal(read(fds[0], &head, 1), 1);
    assert_int_equal(head, 'e');
    close(fds[0]);
    /* D4: closed after a while (the write-ahead log is then folded in), opened by whoever needs it. */
    snprintf(path, sizeof path, "%s/warehouse.duckdb.wal", folder);
    for (int tries = 0; tries < 1200 && stat(path, &st) == 0; tries++)
        usleep(50000);
    assert_int_equal(stat(path, &st), -1);
    expect("SELECT count(*) AS n FROM events", "n\r\n100\r\n");
    add_events(events, batch, 100, 100);
    expect("SELECT count(*) AS n, count(DISTINCT raw_offset) AS d FROM events", "n,d\r\n200,200\r\n");
    assert_int_equal(finish(process), 0);
    assert_false(query_served(run_folder));
    log_batch_free(batch);
    log_writer_close(events);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(queries_beside_the_loader, set_up, tear_down),
    };

    if (argc >= 5 && strcmp(argv[1], "role") == 0)
        return role_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
