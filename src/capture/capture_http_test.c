/* capture/capture_http_test.c - what happens around requests: connections, bodies in parts, deadlines,
 * limits, stopping. */
#include <fcntl.h>

#include "capture/capture_test_kit.h"


#define E1 "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define E1_BYTES "58"
#define POST "POST /e HTTP/1.1\r\nHost: t\r\n"
_Static_assert(sizeof(E1) - 1 == 58, "the length in the requests below");

static void keeps_alive(void **state)
{
    int fd = kit_connect(&kit);

    (void)state;
    for (int i = 0; i < 20; i++) {
        kit_send_text(fd, POST "Content-Length: " E1_BYTES "\r\n\r\n" E1);
        kit_expect(fd, 200, "keep-alive");
    }
    kit_send_text(fd, POST "Connection: close\r\nContent-Length: " E1_BYTES "\r\n\r\n" E1);
    kit_expect(fd, 200, "last");
    assert_non_null(strstr(answer.head, "connection: close"));
    kit_expect_end(fd);
    assert_int_equal(kit_records(&kit), 21);
    fd = kit_connect(&kit);
    kit_send_text(fd, "POST /e HTTP/1.0\r\nContent-Length: " E1_BYTES "\r\n\r\n" E1);
    kit_expect(fd, 200, "HTTP/1.0");
    kit_expect_end(fd);
    assert_int_equal(kit_records(&kit), 1);
}

static void pipelines(void **state)
{
    int  fd = kit_connect(&kit);
    char text[32768];
    int  at = 0;

    (void)state;
    for (int i = 0; i < 50; i++)
        at += sprintf(text + at, POST "Content-Length: %d\r\n\r\n{\"token\":\"phc_alpha\",\"event\":\"e%02d\",\"distinct_id\":\"u\"}",
                      (int)strlen("{\"token\":\"phc_alpha\",\"event\":\"e00\",\"distinct_id\":\"u\"}"), i);
    kit_send(fd, text, (size_t)at);
    for (int i = 0; i < 50; i++)
        kit_expect(fd, 200, "pipelined");
    (void)close(fd);
    assert_int_equal(kit_records(&kit), 50);
    for (int i = 0; i < 50; i++) {
        char name[8];

        (void)snprintf(name, sizeof name, "e%02d", i);
        assert_true(span_is(kit.records[i].event, name));
    }
}

/* Metrics are rendered beside the loops: many who ask at once, one after the other on a connection, and who leaves before. */
static void metrics_for_many(void **state)
{
    int fds[8];

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        fds[i] = kit_connect(&kit);
        for (int k = 0; k < 3; k++)
            kit_send_text(fds[i], "GET /metrics HTTP/1.1\r\nHost: t\r\n" "Origin: https://a.b\r\n\r\n");
        kit_send_text(fds[i], POST "Content-Length: " E1_BYTES "\r\n\r\n" E1);
        if (i % 4 == 3)
            (void)close(fds[i]);
    }
    for (size_t i = 0; i < 8; i++) {
        if (i % 4 == 3)
            continue;
        for (int k = 0; k < 3; k++) {
            kit_expect(fds[i], 200, "metrics");
            assert_non_null(strstr(answer.body, "\ncapture_events_received_total{role=\"capture\"} "));
            assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b"));
        }
        kit_expect(fds[i], 200, "an event behind them");
        (void)close(fds[i]);
    }
    kit_wait_connections(0);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200); /* behind what was written for those who left */
    (void)kit_records(&kit);
}

/* Every way to cut a request in two, and some requests byte by byte. */
static void splits(void **state)
{
    static const char plain[] = POST "Content-Length: " E1_BYTES "\r\n\r\n" E1;
    static const char chunked[] = POST "Transfer-Encoding: chunked\r\n\r\n20\r\n{\"token\":\"phc_alpha\",\"event\":\"si\r\n"
                                       "1a;x=y\r\ngnup\",\"distinct_id\":\"u-1\"}\r\n0\r\nTrailer: x\r\n\r\n";
    const struct { const char *text; size_t bytes; } texts[] = { { plain, sizeof plain - 1 }, { chunked, sizeof chunked - 1 } };

    (void)state;
    for (size_t t = 0; t < 2; t++) {
        int fd = kit_connect(&kit);
        int one = 1;

        setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
        for (size_t cut = 1; cut < texts[t].bytes; cut += 3) {
            kit_send(fd, texts[t].text, cut);
            (void)poll(NULL, 0, 1);
            kit_send(fd, texts[t].text + cut, texts[t].bytes - cut);
            kit_expect(fd, 200, texts[t].text);
            assert_int_equal(kit_records(&kit), 1);
            assert_true(span_is(kit.records[0].data, E1));
        }
        for (size_t i = 0; i < texts[t].bytes; i++) {
            kit_send(fd, texts[t].text + i, 1);
            if (i % 16 == 0)
                (void)poll(NULL, 0, 1);
        }
        kit_expect(fd, 200, "byte by byte");
        assert_int_equal(kit_records(&kit), 1);
        (void)close(fd);
    }
}

/* A body of several reads, in random pieces, followed by another request in the last piece. */
static void large_bodies(void **state)
{
    size_t   filler = 3 << 20;
    char    *text = malloc(filler + 4096);
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < 6; round++) {
        int    fd = kit_connect(&kit);
        int    head = sprintf(text, POST "Content-Length: %zu\r\n\r\n%s", filler + 60, "");
        size_t at = (size_t)head;

        text[at++] = '[';
        memset(text + at, ' ', filler);
        at += filler;
        at += (size_t)sprintf(text + at, E1 "]" POST "Content-Length: " E1_BYTES "\r\n\r\n" E1);
        for (size_t sent = 0; sent < at;) {
            size_t piece;

            seed = seed * 1103515245u + 12345u;
            piece = (seed >> 8) % (round < 3 ? 400000 : 9000000) + 1;
            if (piece > at - sent)
                piece = at - sent;
            kit_send(fd, text + sent, piece);
            sent += piece;
        }
        kit_expect(fd, 200, "large");
        kit_expect(fd, 200, "behind large");
        assert_int_equal(kit_records(&kit), 2);
        (void)close(fd);
    }
    free(text);
}

static void too_large(void **state)
{
    int   fd = kit_connect(&kit);
    char  head[200];
    char *filler = calloc(1, 21 << 20);

    (void)state;
    (void)snprintf(head, sizeof head, POST "Origin: https://a.b\r\nContent-Length: %d\r\n\r\n", 21 << 20);
    kit_send_text(fd, head);
    kit_expect(fd, 413, "announced");
    assert_int_equal(strncmp(answer.body, "maximum event size exceeded: ", 29), 0);
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
    kit_send(fd, filler, 21 << 20);
    kit_send_text(fd, POST "Content-Length: " E1_BYTES "\r\n\r\n" E1);
    kit_expect(fd, 200, "the connection is usable");
    (void)close(fd);
    fd = kit_connect(&kit);
    kit_send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
    kit_expect(fd, 413, "expect");
    kit_expect_end(fd);
    fd = kit_connect(&kit);
    kit_send_text(fd, POST "Expect: 100-continue\r\nContent-Length: " E1_BYTES "\r\n\r\n");
    kit_expect(fd, 100, "continue");
    kit_send_text(fd, E1);
    kit_expect(fd, 200, "after 100");
    (void)close(fd);
    assert_int_equal(kit_records(&kit), 2);
    free(filler);
}

static void http_errors(void **state)
{
    static const struct { const char *text; int status; const char *code; } wrong[] = {
        { POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "ambiguous_length" },
        { POST "Content-Length: 10, 10\r\n\r\n", 400, "bad_content_length" },
        { POST "Content-Length: +5\r\n\r\n", 400, "bad_content_length" },
        { POST "Transfer-Encoding: chunked, identity\r\n\r\n", 400, "bad_transfer_encoding" },
        { POST "Transfer-Encoding: chunked\r\n\r\nx\r\n", 400, "bad_chunk" },
        { "POST /e HTTP/1.1\r\nHost : t\r\n\r\n", 400, "bad_header" },
        { "GET /e HTTP/1.1\r\n\r\n", 400, "bad_host" },
        { "BREW /e HTTP/1.1\r\nHost: t\r\n\r\n", 501, "" },
        { "TRACE /e HTTP/1.1\r\nHost: t\r\n\r\n", 405, "" },
        { "GET /e HTTP/1.2\r\nHost: t\r\n\r\n", 505, "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int fd = kit_connect(&kit);

        kit_send_text(fd, wrong[i].text);
        kit_expect(fd, wrong[i].status, wrong[i].text);
        if (strstr(answer.body, wrong[i].code) == NULL || strncmp(answer.body, "{\"type\":", 8) != 0)
            fail_msg("%s: %s", wrong[i].text, answer.body);
        kit_expect_end(fd);
    }
    assert_int_equal(kit_records(&kit), 0);
}

/* Deadlines that a test can wait for. Each answer comes after one of them, each request is far from them: a client that is
 * not run for a second is as one that stalls. */
static int start_short_times(void **state)
{
    (void)state;
    return KIT_BEGIN("header_timeout", "1s", "body_stall", "1s", "idle_timeout", "1s");
}

/* A connection on which this was said (and no more, half), and its answer. The server's time runs from the connect: whoever was kept
 * from speaking for the half of it, and was closed without a word, comes again. */
static int say_at_once(const char *text, bool half, int expected)
{
    for (;;) {
        int64_t from_us = clock_mono_us();
        int     fd = kit_connect(&kit), status;
        bool    late;

        kit_send_text(fd, text);
        if (half)
            (void)shutdown(fd, SHUT_WR);
        late = clock_mono_us() - from_us > 500000;
        status = kit_receive(fd, &answer);
        if (status == expected)
            return fd;
        if (status != 0 || !late)
            fail_msg("%s: got %d, expected %d: %s", text, status, expected, answer.text);
        (void)close(fd);
    }
}

static void deadlines(void **state)
{
    int fd;

    (void)state;
    kit_expect_end(say_at_once("POST /e HT", false, 408)); /* slow head */
    fd = kit_connect(&kit);
    kit_expect_end(fd); /* nothing was said: closed without a word */
    fd = say_at_once(POST "Origin: https://a.b\r\nContent-Length: 1000\r\n\r\n0123456789", false, 408); /* stalled body */
    assert_string_equal(answer.body, "client stopped sending data");
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
    kit_expect_end(fd);
    kit_expect_end(say_at_once("GET / HTTP/1.1\r\nHost: t\r\n\r\n", false, 200)); /* idle: after idle_timeout */
    fd = kit_connect(&kit); /* half a request, and gone */
    kit_send_text(fd, POST "Content-Length: " E1_BYTES "\r\n\r\n{\"token\"");
    (void)close(fd);
    kit_expect_end(say_at_once(POST "Content-Length: " E1_BYTES "\r\n\r\n" E1, true, 200)); /* a client that closes its side still gets the answer */
    assert_int_equal(kit_records(&kit), 1);
}

/* A body under way at the stop is waited for, and a kept connection is told. */
static void stops(void **state)
{
    int     fd = kit_connect(&kit), body = kit_connect(&kit), status = 200;
    int64_t before, until_us = kit_deadline_us();

    (void)state;
    kit_wait_connections(2);
    before = kit_memory(fd);
    kit_send_text(body, POST "Content-Length: " E1_BYTES "\r\n\r\n{\"token\"");
    while (kit_memory(fd) <= before) /* until its first bytes are held */
        assert_true(clock_mono_us() < until_us);
    kit_ask_to_stop(&kit);
    while (status == 200 && clock_mono_us() < until_us) {
        kit_send_text(fd, "GET /_readiness HTTP/1.1\r\nHost: t\r\n\r\n");
        status = kit_receive(fd, &answer);
    }
    assert_int_equal(status, 503);
    kit_expect_end(fd);
    kit_send_text(body, &E1[8]);
    kit_expect(body, 200, "in flight at the stop");
    kit_expect_end(body);
    pthread_join(kit.thread, NULL);
    assert_int_equal(kit.rc, 0);
    assert_int_equal(kit_records(&kit), 1);
}

static int start_two_loops(void **state)
{
    (void)state;
    return KIT_BEGIN("threads", "2");
}

/* The role's thread was joined by the test. */
static int joined(void **state)
{
    (void)state;
    kit_clean(&kit);
    return 0;
}

/* --- many at once ------------------------------------------------------------------------------ */

enum { SENDERS = 4, SENDER_REQUESTS = 60 };

static void *sender_main(void *arg)
{
    static _Thread_local struct kit_answer mine;
    int                                    fd = kit_connect(&kit);

    for (int i = 0; i < SENDER_REQUESTS; i++) {
        kit_send(fd, POST "Origin: https://a.b\r\nContent-Length: " E1_BYTES "\r\n\r\n" E1,
                 sizeof(POST "Origin: https://a.b\r\nContent-Length: " E1_BYTES "\r\n\r\n" E1) - 1);
        if (kit_receive(fd, &mine) != 200)
            break;
        ++*(int *)arg;
    }
    (void)close(fd);
    return NULL;
}

static void many(void **state)
{
    pthread_t threads[SENDERS];
    int       done[SENDERS] = { 0 };
    size_t    count = 0;

    (void)state;
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sender_main, &done[i]), 0);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(done[i], SENDER_REQUESTS);
    }
    while (kit.next < SENDERS * SENDER_REQUESTS) {
        struct log_chunk chunk;
        struct err       err = { 0 };
        int              rc = log_reader_next(kit.reader, &chunk, &err);

        assert_int_equal(rc, 1);
        kit.next += chunk.count;
        count += chunk.count;
    }
    assert_int_equal(count, SENDERS * SENDER_REQUESTS);
}

/* A token that is made while we run becomes known. */
static void new_token(void **state)
{
    static const char body[] = "{\"token\":\"phc_new\",\"event\":\"a\",\"distinct_id\":\"u\"}";
    struct catalog   *catalog = kit_catalog_open(&kit);
    char              token[CATALOG_TOKEN_BYTES_MAX + 1];
    struct err        err = { 0 };

    (void)state;
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(body), &answer), 401);
    assert_int_equal(catalog_token_create(catalog, 1, "phc_new", false, token, &err), 0);
    kit_in_force(catalog);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(body), &answer), 200);
    assert_int_equal(catalog_token_revoke(catalog, "phc_new", &err), 0);
    kit_in_force(catalog);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(body), &answer), 401);
    catalog_close(catalog);
    assert_int_equal(kit_records(&kit), 1);
}

/* --- no more room ------------------------------------------------------------------------------ */

static int start_full(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_disk(&kit, KIT_DISK_ROOM_BYTES);
    kit_start(&kit);
    return 0;
}

/* 900 KB that LZ4 cannot make smaller. */
static size_t noise_event(char *to, bool historical)
{
    size_t   at = (size_t)sprintf(to, "{\"api_key\":\"phc_alpha\",\"historical_migration\":%s,\"batch\":[{\"event\":\"n\","
                                      "\"distinct_id\":\"u\",\"properties\":{\"n\":\"", historical ? "true" : "false");
    uint64_t seed = 88172645463325252u;

    for (int i = 0; i < 900000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        to[at++] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[seed % 64];
    }
    memcpy(to + at, "\"}}]}", 5);
    return at + 5;
}

static void check_disk_full(bool historical)
{
    char  *noise = malloc(1000000);
    size_t bytes = noise_event(noise, historical);
    int    status = 200;

    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
    kit_disk_free = KIT_DISK_RESERVE_BYTES;
    for (int i = 0; i < 100 && status == 200; i++) /* what the log has of the disk already is written first */
        status = kit_ask(&kit, "POST", "/batch", "Origin: https://a.b\r\n", span_of(noise, bytes), &answer);
    assert_int_equal(status, 503);
    assert_non_null(strstr(answer.body, "storage_full"));
    assert_non_null(strstr(answer.head, "retry-after: 5\r\n"));
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
    kit_disk_free = KIT_DISK_RESERVE_BYTES + KIT_DISK_ROOM_BYTES;
    for (int i = 0; i < 600 && status != 200; i++) {
        (void)poll(NULL, 0, 100);
        status = kit_ask(&kit, "POST", "/batch", "", span_of(noise, bytes), &answer);
    }
    assert_int_equal(status, 200); /* without a restart */
    free(noise);
}

static void disk_full(void **state)
{
    (void)state;
    check_disk_full(false);
}

static void disk_full_of_imports(void **state)
{
    (void)state;
    check_disk_full(true);
}

static int start_without_room(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_disk(&kit, 0);
    kit_start(&kit);
    return 0;
}

static void disk_full_at_start(void **state)
{
    (void)state;
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 503);
    assert_non_null(strstr(answer.body, "storage_full"));
    assert_int_equal(kit_ask(&kit, "GET", "/_liveness", "", span_text(""), &answer), 200);
    assert_int_equal(kit_records(&kit), 0);
}

static void room_after_the_start(void **state)
{
    int64_t until_us = kit_deadline_us();

    (void)state;
    kit_disk_free = KIT_DISK_RESERVE_BYTES + KIT_DISK_ROOM_BYTES;
    while (kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer) != 200) {
        assert_true(clock_mono_us() < until_us);
        (void)poll(NULL, 0, 10);
    }
}

static int start_two_loops_that_can_break(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_set(&kit, "threads", "2");
    kit_disk(&kit, KIT_DISK_ROOM_BYTES);
    kit_start(&kit);
    return 0;
}

/* A write that fails is no full disk: the writer is finished, and the role says so and ends. */
static void check_writer_stops(bool historical)
{
    char  *noise = malloc(1000000);
    size_t bytes = noise_event(noise, historical);

    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
    kit_disk_broken = true;
    assert_int_equal(kit_ask(&kit, "POST", "/batch", "Origin: https://a.b\r\n", span_of(noise, bytes), &answer), 503);
    assert_non_null(strstr(answer.head, "retry-after: 1\r\n"));
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
    pthread_join(kit.thread, NULL);
    assert_int_equal(kit.rc, -1);
    assert_int_equal(strncmp(kit.err.text, "capture: ", 9), 0);
    free(noise);
}

static void writer_stops(void **state)
{
    (void)state;
    check_writer_stops(false);
}

static void writer_of_imports_stops(void **state)
{
    (void)state;
    check_writer_stops(true);
}

static int start_few(void **state)
{
    (void)state;
    return KIT_BEGIN("connections_max", "2");
}

static void connections_shed(void **state)
{
    int first = kit_connect(&kit), second = kit_connect(&kit), third;

    (void)state;
    kit_wait_connections(2);
    third = kit_connect(&kit);
    kit_expect(third, 503, "one too many");
    assert_non_null(strstr(answer.head, "retry-after: 1\r\n"));
    kit_expect_end(third);
    (void)close(first);
    kit_wait_connections(1);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
    (void)close(second);
}

int main(void)
{
    const struct CMUnitTest first[] = {
        cmocka_unit_test(keeps_alive),  cmocka_unit_test(pipelines), cmocka_unit_test(metrics_for_many),   cmocka_unit_test(splits),
        cmocka_unit_test(large_bodies), cmocka_unit_test(too_large),   cmocka_unit_test(http_errors),
    };
    const struct CMUnitTest times[] = { cmocka_unit_test(deadlines) };
    const struct CMUnitTest two[] = { cmocka_unit_test(many) };
    const struct CMUnitTest tokens[] = { cmocka_unit_test(new_token) };
    const struct CMUnitTest stopping[] = { cmocka_unit_test(stops) };
    const struct CMUnitTest full[] = { cmocka_unit_test(disk_full) };
    const struct CMUnitTest full_of_imports[] = { cmocka_unit_test(disk_full_of_imports) };
    const struct CMUnitTest no_room[] = { cmocka_unit_test(disk_full_at_start), cmocka_unit_test(room_after_the_start) };
    const struct CMUnitTest broken[] = { cmocka_unit_test(writer_stops) };
    const struct CMUnitTest imports_broken[] = { cmocka_unit_test(writer_of_imports_stops) };
    const struct CMUnitTest few[] = { cmocka_unit_test(connections_shed) };
    int                     failed = cmocka_run_group_tests(first, kit_setup, kit_teardown);

    failed += cmocka_run_group_tests(times, start_short_times, kit_teardown);
    failed += cmocka_run_group_tests(two, start_two_loops, kit_teardown);
    failed += cmocka_run_group_tests(tokens, start_two_loops, kit_teardown);
    failed += cmocka_run_group_tests(stopping, kit_setup, joined);
    failed += cmocka_run_group_tests(full, start_full, kit_teardown);
    failed += cmocka_run_group_tests(full_of_imports, start_full, kit_teardown);
    failed += cmocka_run_group_tests(no_room, start_without_room, kit_teardown);
    failed += cmocka_run_group_tests(broken, start_two_loops_that_can_break, joined);
    failed += cmocka_run_group_tests(imports_broken, start_two_loops_that_can_break, joined);
    failed += cmocka_run_group_tests(few, start_few, kit_teardown);
    return failed;
}
