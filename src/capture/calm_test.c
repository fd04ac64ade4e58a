/* capture/calm_test.c - the server under those who mean it ill, or are simply too many: bounds of addresses, no
 * descriptors left, memory that runs short, endless pipelines, readers that do not read. */
#include <sys/resource.h>
#include <time.h>

#include "capture/capture_test_kit.h"

static struct kit        kit;
static struct kit_answer answer;

#define E1 "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define E1_BYTES "58"
#define POST "POST /e HTTP/1.1\r\nHost: t\r\n"
#define E1_REQUEST POST "Content-Length: " E1_BYTES "\r\n\r\n" E1
#define LIVENESS "GET /_liveness HTTP/1.1\r\nHost: t\r\n\r\n"

static void send_text(int fd, const char *text)
{
    kit_send(fd, text, strlen(text));
}

static void expect(int fd, int status, const char *what)
{
    int got = kit_receive(fd, &answer);

    if (got != status)
        fail_msg("%s: got %d, expected %d: %s", what, got, status, answer.text);
}

static void expect_body(int fd, int status, const char *begin, const char *what)
{
    expect(fd, status, what);
    if (strncmp(answer.body, begin, strlen(begin)) != 0)
        fail_msg("%s: %s", what, answer.body);
    if (status == 503 && strstr(answer.head, "\r\nretry-after: ") == NULL)
        fail_msg("%s: no time to come back: %s", what, answer.head);
}

static void sleep_ms(int ms)
{
    struct timespec span = { ms / 1000, ms % 1000 * 1000000L };

    nanosleep(&span, NULL);
}

static int stop(void **state)
{
    (void)state;
    kit_stop(&kit);
    return 0;
}

/* --- addresses --------------------------------------------------------------------------------- */

static int start_addresses(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_set(&kit, "address_exempt", "10.0.0.0/8");
    kit_set(&kit, "address_connections_max", "3");
    kit_set(&kit, "address_requests_per_second", "2");
    kit_set(&kit, "address_bytes_per_second", "10000");
    kit_start(&kit);
    return 0;
}

static void connections_of_an_address(void **state)
{
    int fds[3], fd;

    (void)state;
    for (int i = 0; i < 3; i++) {
        fds[i] = kit_connect(&kit);
        send_text(fds[i], LIVENESS);
        expect(fds[i], 200, "three are fine");
    }
    for (int i = 0; i < 5; i++) {
        fd = kit_connect(&kit);
        send_text(fd, E1_REQUEST); /* the answer is not lost over a request that nobody reads */
        sleep_ms(i);
        expect_body(fd, 503, "service unavailable: too many connections from your address", "the fourth");
        (void)close(fd);
    }
    (void)close(fds[1]);
    sleep_ms(50);
    fd = kit_connect(&kit);
    send_text(fd, LIVENESS);
    expect(fd, 200, "one has left");
    (void)close(fd);
    (void)close(fds[0]);
    (void)close(fds[2]);
    sleep_ms(50);
}

static void requests_of_an_address(void **state)
{
    int    fd = kit_connect(&kit);
    size_t fine = 0;

    (void)state;
    for (int i = 0; i < 30; i++) { /* two a second, five seconds' worth at once */
        send_text(fd, E1_REQUEST);
        switch (kit_receive(fd, &answer)) {
        case 200: fine++; break;
        case 503: assert_int_equal(strncmp(answer.body, "service unavailable: more than 2 requests a second", 50), 0); break;
        default: fail_msg("%s", answer.text);
        }
    }
    assert_in_range(fine, 10, 12);
    assert_non_null(strstr(answer.head, "\r\nretry-after: 1\r\n"));
    send_text(fd, LIVENESS);
    expect(fd, 200, "what has no events is not counted");
    sleep_ms(600);
    send_text(fd, E1_REQUEST);
    expect(fd, 200, "half a second later, on the same connection");
    (void)close(fd);
    assert_int_equal(kit_records(&kit), fine + 1);
    sleep_ms(50);
}

/* What came in one piece is thrown away with its refusal, and the next request is understood. */
static void bytes_of_an_address(void **state)
{
    static char large[120000];
    int         fd = kit_connect(&kit);
    int         head;

    (void)state;
    sleep_ms(1200); /* two requests may come again */
    head = sprintf(large, POST "Content-Length: %d\r\n\r\n[" E1, 100000);
    memset(large + head, ' ', 100000);
    large[head + 100000 - 60] = ']'; /* "[" E1 are 59 of them */
    kit_send(fd, large, (size_t)head + 100000 - 59);
    expect(fd, 200, "a hundred thousand, once");
    kit_send(fd, large, (size_t)head + 100000 - 59);
    send_text(fd, LIVENESS);
    expect_body(fd, 503, "service unavailable: more than 10000 bytes a second from your address", "again");
    expect(fd, 200, "behind it");
    (void)close(fd);
    assert_int_equal(kit_records(&kit), 1);
    sleep_ms(50);
}

static int start_connects(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_set(&kit, "address_exempt", "");
    kit_set(&kit, "address_connects_per_second", "4");
    kit_start(&kit);
    return 0;
}

static void connects_of_an_address(void **state)
{
    int fine = 0;

    (void)state;
    for (int i = 0; i < 40; i++) {
        int fd = kit_connect(&kit);

        send_text(fd, LIVENESS);
        fine += kit_receive(fd, &answer) == 200;
        (void)close(fd);
    }
    assert_in_range(fine, 20, 24);
    sleep_ms(400);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
}

/* --- what runs out ----------------------------------------------------------------------------- */

static int start_default(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_start(&kit);
    return 0;
}

static double cpu_seconds(void)
{
    struct timespec used;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Clients wait in the kernel's queue for a free descriptor; meanwhile the server serves those it has, and sleeps. */
static void no_descriptors(void **state)
{
    struct rlimit old, small;
    int           served = kit_connect(&kit), waiting, spare;
    double        before;

    (void)state;
    send_text(served, E1_REQUEST);
    expect(served, 200, "before");
    waiting = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    spare = dup(served);
    (void)close(spare); /* the lowest free one: nothing can be opened from here on */
    small = old;
    small.rlim_cur = (rlim_t)spare;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)kit.port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

        assert_int_equal(connect(waiting, (struct sockaddr *)(void *)&address, sizeof address), 0);
    }
    send_text(waiting, E1_REQUEST);
    sleep_ms(50);
    before = cpu_seconds();
    for (int i = 0; i < 10; i++) {
        send_text(served, E1_REQUEST);
        expect(served, 200, "who is served already");
        sleep_ms(50);
    }
    if (cpu_seconds() - before > 0.25)
        fail_msg("%.3f s of CPU in half a second without descriptors", cpu_seconds() - before);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    expect(waiting, 200, "who has waited");
    (void)close(waiting);
    (void)close(served);
    assert_int_equal(kit_records(&kit), 12);
}

static int start_small_memory(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_set(&kit, "memory_max", "32MiB");
    kit_set(&kit, "event_bytes_max", "4MiB");
    kit_start(&kit);
    return 0;
}

/* Sends the head of a body of ten bytes more than HALF, and HALF bytes of it, and waits until the server holds them or has
 * refused them. Whether it has is asked of the server, not of the clock: what the kernel took was not read yet. */
static bool begin_body(int fd, int probe, const char *filler, int64_t bytes)
{
    int64_t before = kit_metric(probe, "capture_memory_bytes", &answer);
    int64_t until_us = clock_mono_us() + 60000000;

    send_text(fd, POST "Content-Length: 3145738\r\n\r\n");
    kit_send(fd, filler, (size_t)bytes);
    while (clock_mono_us() < until_us) {
        if (kit_readable(fd, 5)) {
            expect(fd, 503, "a body too many");
            return false;
        }
        if (kit_metric(probe, "capture_memory_bytes", &answer) >= before + bytes)
            return true;
    }
    fail_msg("a body was neither read nor refused");
    return false;
}

/* Bodies that never end fill the memory: who comes then is told so at once, who is known goes on, probes are
 * answered; when the bodies are gone, all is as before. */
static void memory_runs_short(void **state)
{
    enum { HALF = 3 << 20, SLOW = 12 };
    char   *filler = malloc(HALF);
    int     known = kit_connect(&kit), probe = kit_connect(&kit), slow[SLOW], refused = 0;
    int64_t until_us;

    (void)state;
    memset(filler, ' ', HALF);
    send_text(known, E1_REQUEST);
    expect(known, 200, "known");
    for (int i = 0; i < SLOW; i++) {
        slow[i] = kit_connect(&kit);
        refused += !begin_body(slow[i], probe, filler, HALF);
    }
    assert_in_range(refused, 1, SLOW - 5);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "Origin: https://a.b\r\n", span_text(E1), &answer), 503);
    assert_non_null(strstr(answer.head, "\r\nretry-after: "));
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
    send_text(probe, LIVENESS);
    expect(probe, 200, "probes are no events");
    send_text(known, "POST /s HTTP/1.1\r\nHost: t\r\nContent-Length: " E1_BYTES "\r\n\r\n" E1);
    expect_body(known, 503, "service unavailable: more events come than can be taken", "recordings go first");
    send_text(slow[0], "          ");
    expect(slow[0], 400, "white space is no batch, but it was read to its end");
    for (int i = 0; i < SLOW; i++)
        (void)close(slow[i]);
    until_us = clock_mono_us() + 60000000;
    while (kit_metric(probe, "capture_memory_bytes", &answer) > HALF)
        assert_true(clock_mono_us() < until_us);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
    send_text(known, E1_REQUEST);
    expect(known, 200, "still known");
    (void)close(known);
    (void)close(probe);
    free(filler);
    assert_int_equal(kit_records(&kit), 3);
}

/* --- those who take their time ----------------------------------------------------------------- */

static void *pipeline_main(void *arg)
{
    size_t count = 10000, one = sizeof LIVENESS - 1;
    char  *text = malloc(count * one);

    for (size_t i = 0; i < count; i++)
        memcpy(text + i * one, LIVENESS, one);
    kit_send(*(int *)arg, text, count * one);
    free(text);
    return NULL;
}

/* Ten thousand requests in one go: each is answered, in turn with others. */
static void endless_pipeline(void **state)
{
    int       fd = kit_connect(&kit), other = kit_connect(&kit);
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, pipeline_main, &fd), 0);
    for (int i = 0; i < 10000; i++) {
        expect(fd, 200, "pipelined");
        if (i % 1000 == 0) {
            send_text(other, E1_REQUEST);
            expect(other, 200, "beside it");
        }
    }
    pthread_join(thread, NULL);
    send_text(fd, E1_REQUEST);
    expect(fd, 200, "and on");
    (void)close(fd);
    (void)close(other);
    assert_int_equal(kit_records(&kit), 11);
}

static int start_short_times(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_set(&kit, "reply_timeout", "3s");
    kit_start(&kit);
    return 0;
}

/* Replies that are taken at 600 bytes a second: some progress now and then is not enough. */
static void slow_reader(void **state)
{
    static const char ask[] = "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n";
    int               fd = kit_connect(&kit), small = 2048;
    int64_t           began;
    char              bytes[60];
    bool              ended = false;

    (void)state;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 600; i++)
        if (send(fd, ask, sizeof ask - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
    began = clock_mono_us();
    while (!ended && clock_mono_us() - began < 12000000) {
        sleep_ms(100);
        ended = send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && (errno == EPIPE || errno == ECONNRESET);
        (void)!recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    }
    assert_true(ended);
    assert_in_range(clock_mono_us() - began, 2500000, 9000000);
    (void)close(fd);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
}

int main(void)
{
    const struct CMUnitTest addresses[] = { cmocka_unit_test(connections_of_an_address), cmocka_unit_test(requests_of_an_address),
                                            cmocka_unit_test(bytes_of_an_address) };
    const struct CMUnitTest connects[] = { cmocka_unit_test(connects_of_an_address) };
    const struct CMUnitTest files[] = { cmocka_unit_test(no_descriptors), cmocka_unit_test(endless_pipeline) };
    const struct CMUnitTest memory[] = { cmocka_unit_test(memory_runs_short) };
    const struct CMUnitTest readers[] = { cmocka_unit_test(slow_reader) };
    int                     failed = cmocka_run_group_tests(addresses, start_addresses, stop);

    failed += cmocka_run_group_tests(connects, start_connects, stop);
    failed += cmocka_run_group_tests(files, start_default, stop);
    failed += cmocka_run_group_tests(memory, start_small_memory, stop);
    failed += cmocka_run_group_tests(readers, start_short_times, stop);
    return failed;
}
