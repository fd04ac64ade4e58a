/* capture/calm_test.c - the server under those who mean it ill, or are simply too many: bounds of addresses, no
 * descriptors left, memory that runs short, endless pipelines, readers that do not read. */
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

static int start_small_memory(void **state)
{
    (void)state;
    return KIT_BEGIN("memory_max", "32MiB", "event_bytes_max", "4MiB");
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

/* Sends the head of a body of ten bytes more than these, and these, and waits until the server holds them or has refused
 * them. Whether it has is asked of the server, not of the clock: what the kernel took was not read yet. */
static bool begin_body(int fd, int probe, const char *filler, int64_t bytes)
{
    int64_t before = kit_memory(probe), until_us = kit_deadline_us();
    char    head[128];

    (void)snprintf(head, sizeof head, POST "Content-Length: %lld\r\n\r\n", (long long)bytes + 10);
    kit_send_text(fd, head);
    kit_send(fd, filler, (size_t)bytes);
    while (clock_mono_us() < until_us) {
        if (kit_readable(fd, 5)) {
            kit_expect(fd, 503, "a body too many");
            return false;
        }
        if (kit_memory(probe) >= before + bytes)
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
    size_t  before = kit_records(&kit);

    (void)state;
    memset(filler, ' ', HALF);
    kit_send_text(known, E1_REQUEST);
    kit_expect(known, 200, "known");
    for (int i = 0; i < SLOW; i++) {
        slow[i] = kit_connect(&kit);
        refused += !begin_body(slow[i], probe, filler, HALF);
    }
    assert_in_range(refused, 1, SLOW - 5);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "Origin: https://a.b\r\n", span_text(E1), &answer), 503);
    assert_non_null(strstr(answer.head, "\r\nretry-after: "));
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
    kit_send_text(probe, LIVENESS);
    kit_expect(probe, 200, "probes are no events");
    kit_send_text(known, "POST /s HTTP/1.1\r\nHost: t\r\nContent-Length: " E1_BYTES "\r\n\r\n" E1);
    expect_body(known, 503, "service unavailable: more events come than can be taken", "recordings go first");
    assert_non_null(strstr(answer.head, "\r\ndate: Tue, 03 Feb 2026 "));
    assert_non_null(strstr(answer.head, "\r\nretry-after: "));
    assert_non_null(strstr(answer.head, "\r\naccess-control-allow-credentials: true\r\n"));
    kit_send_text(slow[0], "          ");
    kit_expect(slow[0], 400, "white space is no batch, but it was read to its end");
    for (int i = 0; i < SLOW; i++)
        (void)close(slow[i]);
    until_us = kit_deadline_us();
    while (kit_memory(probe) > HALF)
        assert_true(clock_mono_us() < until_us);
    assert_int_equal(kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer), 200);
    kit_send_text(known, E1_REQUEST);
    kit_expect(known, 200, "still known");
    (void)close(known);
    (void)close(probe);
    free(filler);
    assert_int_equal(kit_records(&kit), before + 3);
}

/* Bodies that never end, until who is new is sent away, and who is known is not. Gives how many they are. */
static int fill_until_newcomers(int *slow, int most, int probe)
{
    enum { BYTES = 1 << 20 };
    char *filler = malloc(BYTES);
    int   count = 0;

    assert_non_null(filler);
    memset(filler, ' ', BYTES);
    for (; kit_metric("capture_overload_level") < 2; count++) {
        assert_true(count < most);
        slow[count] = kit_connect(&kit);
        assert_true(begin_body(slow[count], probe, filler, BYTES));
    }
    free(filler);
    assert_true(kit_metric("capture_overload_level") == 2);
    return count;
}

/* The first `first` bytes, what was answered then (wait: before the rest is sent), and the rest. */
static void send_in_two(int fd, const char *text, size_t bytes, size_t first, bool wait)
{
    kit_send(fd, text, first);
    if (wait)
        kit_expect(fd, 503, "before its end");
    kit_send(fd, text + first, bytes - first);
}

/* While newcomers are sent away at their heads: their bodies are thrown away to the last byte and not one further, in whatever
 * pieces they come; a known one's are read whole. */
static void bodies_of_those_sent_away(void **state)
{
    static const struct { const char *what; size_t body, first; bool wait; } rows[] = {
        { "little more than its head", 100, 60, false }, { "one piece", 3000, 3000, false },
        { "more than is read to judge", 5000, 5000, false },  { "ends where the first look ends", 4096 - 62, 4096, false },
        { "two pieces", 100000, 50000, false },          { "answered before its end", 100000, 20000, true },
        { "as large as is thrown away", 256 << 10, 4096, true },
    };
    static char text[300 << 10];
    int         probe = kit_connect(&kit), known = kit_connect(&kit), fresh = kit_connect(&kit), slow[64], slows;
    size_t      taken = 1;

    (void)state;
    kit_forget(&kit);
    kit_send_text(known, E1_REQUEST);
    kit_expect(known, 200, "known");
    slows = fill_until_newcomers(slow, 64, probe);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t head = (size_t)sprintf(text, POST "Content-Length: %06zu\r\n\r\n" E1, rows[i].body) - (sizeof E1 - 1);
        size_t bytes = head + rows[i].body;

        assert_true(sizeof E1 - 1 <= rows[i].body && bytes + sizeof LIVENESS <= sizeof text);
        memset(text + head + sizeof E1 - 1, ' ', rows[i].body - (sizeof E1 - 1));
        memcpy(text + bytes, LIVENESS, sizeof LIVENESS - 1);
        send_in_two(fresh, text, bytes + sizeof LIVENESS - 1, rows[i].first, rows[i].wait);
        if (!rows[i].wait)
            expect_body(fresh, 503, "service unavailable: more events come than can be taken", rows[i].what);
        kit_expect(fresh, 200, rows[i].what); /* the request right behind it */
        send_in_two(known, text, bytes + sizeof LIVENESS - 1, rows[i].first, false);
        kit_expect(known, 200, rows[i].what);
        assert_int_equal(strncmp(answer.body, "{\"status\":\"Ok\"}", 15), 0);
        kit_expect(known, 200, rows[i].what);
        taken++;
    }
    assert_true(kit_metric("capture_overload_level") == 2);
    for (int i = 0; i < slows; i++)
        (void)close(slow[i]);
    (void)close(fresh);
    (void)close(known);
    (void)close(probe);
    kit_wait_connections(0);
    assert_int_equal(kit_records(&kit), taken);
}

/* A large batch that ends with this event, and right behind it, in the same bytes, another request. Gives how many bytes. */
static size_t write_large(char *text, size_t size, const char *last)
{
    enum { FILTERED = 7000 };
    static const char dull[] = "{\"event\":\"$performance_event\"},";
    size_t            bytes = FILTERED * (sizeof dull - 1) + strlen(last) + 2;
    size_t            at = (size_t)sprintf(text, POST "Origin: https://a.b\r\nContent-Length: %zu\r\n\r\n[", bytes);

    assert_true(at + bytes + sizeof LIVENESS <= size);
    for (int i = 0; i < FILTERED; i++, at += sizeof dull - 1)
        memcpy(text + at, dull, sizeof dull - 1);
    return at + (size_t)sprintf(text + at, "%s]%s", last, LIVENESS);
}

/* Closed by a reset. */
static void break_off(int fd)
{
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    (void)close(fd);
}

/* Those who are sent away are so in the middle of a large request, too. Nobody loses anything by it: the request in work keeps its bytes,
 * what came for it meanwhile, and its answer; who only asks is answered; who leaves is gone, be it
 * the one in work. */
static void in_the_middle_of_a_large_one(void **state)
{
    enum { FRESH = 8, LOOKED = 40, ROUNDS = 24 };
    static char text[250 << 10], wrong[250 << 10];
    size_t      bytes = write_large(text, sizeof text, E1), rounds = 0;
    size_t      wrong_bytes = write_large(wrong, sizeof wrong, "{\"token\":\"phc_alpha\",\"event\":\"of nobody\"}");
    int         probe = kit_connect(&kit), known = kit_connect(&kit), fresh[FRESH], breaks[ROUNDS], slow[64], slows;
    int64_t     until_us = kit_deadline_us();
    double      before = kit_metric("capture_overload_looked_total");

    (void)state;
    kit_forget(&kit);
    kit_send_text(known, E1_REQUEST);
    kit_expect(known, 200, "known");
    for (int i = 0; i < ROUNDS; i++) {
        breaks[i] = kit_connect(&kit);
        kit_send_text(breaks[i], E1_REQUEST);
        kit_expect(breaks[i], 200, "known, too");
    }
    slows = fill_until_newcomers(slow, 64, probe);
    for (int i = 0; i < FRESH; i++)
        fresh[i] = kit_connect(&kit);
    while (kit_metric("capture_overload_looked_total") < before + LOOKED && rounds < ROUNDS) {
        int leaves = kit_connect(&kit);

        assert_true(clock_mono_us() < until_us);
        kit_send(breaks[rounds], wrong, wrong_bytes);
        kit_send(known, text, bytes);
        for (int i = 0; i < FRESH; i++) {
            if ((size_t)i == rounds % FRESH)
                kit_send_text(known, LIVENESS);
            kit_send_text(fresh[i], i % 2 == 0 ? E1_REQUEST : E1_REQUEST LIVENESS);
        }
        kit_send_text(leaves, POST "Content-Le");
        (void)close(leaves);
        break_off(breaks[rounds]);
        for (int i = 0; i < FRESH; i++) {
            expect_body(fresh[i], 503, "service unavailable: more events come than can be taken", "a newcomer");
            if (i % 2 != 0)
                kit_expect(fresh[i], 200, "who only asks");
        }
        kit_expect(known, 200, "the large one");
        assert_int_equal(strncmp(answer.body, "{\"status\":\"Ok\"}", 15), 0);
        assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
        expect_body(known, 200, "alive", "right behind it");
        expect_body(known, 200, "alive", "what came meanwhile");
        rounds++;
    }
    assert_true(kit_metric("capture_overload_looked_total") > before);
    for (int i = 0; i < slows; i++)
        (void)close(slow[i]);
    for (int i = 0; i < FRESH; i++)
        (void)close(fresh[i]);
    for (size_t i = rounds; i < ROUNDS; i++)
        (void)close(breaks[i]);
    (void)close(known);
    (void)close(probe);
    kit_wait_connections(0);
    assert_int_equal(kit_records(&kit), 1 + ROUNDS + rounds);
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
    const struct CMUnitTest memory[] = { cmocka_unit_test(bodies_of_those_sent_away), cmocka_unit_test(in_the_middle_of_a_large_one),
                                         cmocka_unit_test(memory_runs_short) };
    const struct CMUnitTest readers[] = { cmocka_unit_test(slow_reader) };
    int                     failed = cmocka_run_group_tests(addresses, start_addresses, kit_teardown);

    failed += cmocka_run_group_tests(connects, start_connects, kit_teardown);
    failed += cmocka_run_group_tests(files, kit_setup, kit_teardown);
    failed += cmocka_run_group_tests(memory, start_small_memory, kit_teardown);
    failed += cmocka_run_group_tests(readers, start_short_times, kit_teardown);
    return failed;
}
