/* capture/calm_test.c - the server under those who mean it ill, or are simply too many: bounds of addresses, no
 * descriptors left, endless pipelines, readers that do not read. Memory that runs short: shed_http_test.c. */
#include <sys/resource.h>

#include "capture/capture_test_kit.h"


#define E1 "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define E1_BYTES "58"
#define POST "POST /e HTTP/1.1\r\nHost: t\r\n"
#define E1_REQUEST POST "Content-Length: " E1_BYTES "\r\n\r\n" E1
#define LIVENESS "GET /_liveness HTTP/1.1\r\nHost: t\r\n\r\n"

static void expect_body(int fd, int status, const char *begin, const char *what)
{
    kit_expect(fd, status, what);
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

/* --- addresses --------------------------------------------------------------------------------- */

static int start_addresses(void **state)
{
    (void)state;
    return KIT_BEGIN("address_exempt", "10.0.0.0/8", "address_connections_max", "3", "address_requests_per_second", "2",
                     "address_bytes_per_second", "10000");
}

static void connections_of_an_address(void **state)
{
    int fds[3], fd;

    (void)state;
    for (int i = 0; i < 3; i++) {
        fds[i] = kit_connect(&kit);
        kit_send_text(fds[i], LIVENESS);
        kit_expect(fds[i], 200, "three are fine");
    }
    for (int i = 0; i < 5; i++) {
        fd = kit_connect(&kit);
        kit_send_text(fd, E1_REQUEST); /* the answer is not lost over a request that nobody reads */
        sleep_ms(i);
        expect_body(fd, 503, "service unavailable: too many connections from your address", "the fourth");
        (void)close(fd);
    }
    (void)close(fds[1]);
    kit_wait_connections(2);
    fd = kit_connect(&kit);
    kit_send_text(fd, LIVENESS);
    kit_expect(fd, 200, "one has left");
    (void)close(fd);
    (void)close(fds[0]);
    (void)close(fds[2]);
    kit_wait_connections(0);
}

/* How many a bucket gave that holds `burst` and gains `each_s` a second, when it was asked from then until now. */
static void check_taken(size_t taken, size_t burst, double each_s, int64_t from_us)
{
    double most = (double)burst + 1 + each_s * ((double)(clock_mono_us() - from_us) / 1e6);

    if (taken < burst || (double)taken > most)
        fail_msg("%zu were taken, expected %zu to %g", taken, burst, most);
}

static void requests_of_an_address(void **state)
{
    int     fd = kit_connect(&kit), status = 200;
    size_t  fine = 0;
    int64_t from_us = clock_mono_us();

    (void)state;
    while (status == 200) { /* two a second, five seconds' worth at once */
        kit_send_text(fd, E1_REQUEST);
        status = kit_receive(fd, &answer);
        fine += status == 200;
        assert_true(fine < 1000);
    }
    assert_int_equal(status, 503);
    assert_int_equal(strncmp(answer.body, "service unavailable: more than 2 requests a second", 50), 0);
    assert_non_null(strstr(answer.head, "\r\nretry-after: 1\r\n"));
    check_taken(fine, 10, 2, from_us);
    kit_send_text(fd, LIVENESS);
    kit_expect(fd, 200, "what has no events is not counted");
    sleep_ms(600);
    kit_send_text(fd, E1_REQUEST);
    kit_expect(fd, 200, "half a second later, on the same connection");
    (void)close(fd);
    for (size_t stored = 0; stored < fine + 1;)
        stored += kit_records(&kit);
    kit_wait_connections(0);
}

/* What came in one piece is thrown away with its refusal, and the next request is understood. */
static void bytes_of_an_address(void **state)
{
    static char large[120000];
    int         fd = kit_connect(&kit), head, status = 200;
    size_t      fine = 0;
    int64_t     from_us = clock_mono_us();

    (void)state;
    sleep_ms(1200); /* two requests may come again */
    head = sprintf(large, POST "Content-Length: %d\r\n\r\n[" E1, 100000);
    memset(large + head, ' ', 100000);
    large[head + 100000 - 60] = ']'; /* "[" E1 are 59 of them */
    while (status == 200) {
        kit_send(fd, large, (size_t)head + 100000 - 59);
        status = kit_receive(fd, &answer);
        fine += status == 200;
        assert_true(fine < 100);
    }
    assert_int_equal(status, 503);
    assert_int_equal(strncmp(answer.body, "service unavailable: more than 10000 bytes a second from your address", 69), 0);
    check_taken(fine, 1, 0.1, from_us); /* a hundred thousand, once */
    kit_send_text(fd, LIVENESS);
    kit_expect(fd, 200, "behind it");
    (void)close(fd);
    assert_int_equal(kit_records(&kit), fine);
    kit_wait_connections(0);
}

static int start_connects(void **state)
{
    (void)state;
    return KIT_BEGIN("address_exempt", "", "address_connects_per_second", "4");
}

static void connects_of_an_address(void **state)
{
    int64_t from_us = clock_mono_us();
    size_t  fine = 0;
    bool    taken = true;

    (void)state;
    while (taken) {
        int fd = kit_connect(&kit);

        kit_send_text(fd, LIVENESS);
        taken = kit_receive(fd, &answer) == 200;
        fine += taken;
        (void)close(fd);
        assert_true(fine < 1000);
    }
    check_taken(fine, 20, 4, from_us);
    sleep_ms(400);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
}

/* --- what runs out ----------------------------------------------------------------------------- */

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
    kit_send_text(served, E1_REQUEST);
    kit_expect(served, 200, "before");
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
    kit_send_text(waiting, E1_REQUEST);
    sleep_ms(50);
    before = cpu_seconds();
    for (int i = 0; i < 10; i++) {
        kit_send_text(served, E1_REQUEST);
        kit_expect(served, 200, "who is served already");
        sleep_ms(50);
    }
    if (cpu_seconds() - before > 0.25)
        fail_msg("%.3f s of CPU in half a second without descriptors", cpu_seconds() - before);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    kit_expect(waiting, 200, "who has waited");
    (void)close(waiting);
    (void)close(served);
    assert_int_equal(kit_records(&kit), 12);
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
        kit_expect(fd, 200, "pipelined");
        if (i % 1000 == 0) {
            kit_send_text(other, E1_REQUEST);
            kit_expect(other, 200, "beside it");
        }
    }
    pthread_join(thread, NULL);
    kit_send_text(fd, E1_REQUEST);
    kit_expect(fd, 200, "and on");
    (void)close(fd);
    (void)close(other);
    assert_int_equal(kit_records(&kit), 11);
}

static int start_short_times(void **state)
{
    (void)state;
    return KIT_BEGIN("reply_timeout", "3s");
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
    while (!ended && clock_mono_us() - began < KIT_WAIT_MS * INT64_C(1000)) {
        sleep_ms(100);
        ended = send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && (errno == EPIPE || errno == ECONNRESET);
        (void)!recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    }
    assert_true(ended);
    assert_true(clock_mono_us() - began > 2500000);
    (void)close(fd);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
}

int main(void)
{
    const struct CMUnitTest addresses[] = { cmocka_unit_test(connections_of_an_address), cmocka_unit_test(requests_of_an_address),
                                            cmocka_unit_test(bytes_of_an_address) };
    const struct CMUnitTest connects[] = { cmocka_unit_test(connects_of_an_address) };
    const struct CMUnitTest files[] = { cmocka_unit_test(no_descriptors), cmocka_unit_test(endless_pipeline) };
    const struct CMUnitTest readers[] = { cmocka_unit_test(slow_reader) };
    int                     failed = cmocka_run_group_tests(addresses, start_addresses, kit_teardown);

    failed += cmocka_run_group_tests(connects, start_connects, kit_teardown);
    failed += cmocka_run_group_tests(files, kit_setup, kit_teardown);
    failed += cmocka_run_group_tests(readers, start_short_times, kit_teardown);
    return failed;
}
