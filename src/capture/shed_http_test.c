/* capture/shed_http_test.c - who is sent away when memory runs short, and that nobody else loses anything by it: bodies that are thrown away,
 * large requests in whose middle others are looked at. */
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

static int start_small_memory(void **state)
{
    (void)state;
    return KIT_BEGIN("memory_max", "32MiB", "event_bytes_max", "4MiB");
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

/* Kinds of large requests: their events but for the last are dropped by capture, or (Segment's, where none are) stored. # is a number. */
struct large {
    const char *what, *path, *headers, *begin, *event, *last, *wrong, *end, *answer;
    int         events, stored;
};

static const struct large larges[] = {
    { "a batch", "/e", "", "[", "{\"event\":\"$performance_event\"},", E1, "{\"token\":\"phc_alpha\",\"event\":\"of nobody\"}", "]",
      "{\"status\":\"Ok\"}", 7000, 1 },
    { "v1", "/i/v1/analytics/events",
      "Authorization: Bearer phc_alpha\r\nContent-Type: application/json\r\nUser-Agent: t\r\nPostHog-Sdk-Info: l/2\r\nPostHog-Attempt: 1\r\n"
      "PostHog-Request-Id: 7d0e8f3a-1111-4222-8333-944455556666\r\nPostHog-Request-Timestamp: 2026-02-03T04:05:06Z\r\n",
      "{\"created_at\":\"2026-02-03T04:05:06Z\",\"batch\":[",
      "{\"event\":\"$performance_event\",\"uuid\":\"0190f3a1-7c0e-7cc1-9d0e-#\",\"distinct_id\":\"u\",\"timestamp\":\"2026-02-03T03:00:00Z\"},",
      "{\"event\":\"e\",\"uuid\":\"0190f3a1-7c0e-7cc1-9d0f-000000000000\",\"distinct_id\":\"u\",\"timestamp\":\"2026-02-03T03:00:00Z\"}",
      "{\"event\":\"\",\"uuid\":\"0190f3a1-7c0e-7cc1-9d0f-000000000000\",\"distinct_id\":\"u\",\"timestamp\":\"2026-02-03T03:00:00Z\"}", "]}",
      "{\"results\":{", 1700, 1 },
    { "Segment's", "/v1/batch", "Authorization: Basic cGhjX2FscGhhOg==\r\n", "{\"batch\":[",
      "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u-#\"},", "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\"}",
      "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\"},{", "]}", "{\"success\":true}", 1500, 1501 },
};

/* Such a request, whose last event is this, and right behind it, in the same bytes, another one. Gives how many bytes. */
static size_t write_large(const struct large *large, char *text, size_t size, const char *last)
{
    static char body[250 << 10];
    size_t      bytes = (size_t)sprintf(body, "%s", large->begin), at;

    for (int i = 0; i < large->events; i++) {
        const char *number = strchr(large->event, '#');

        assert_true(bytes + 400 < sizeof body);
        if (number == NULL)
            bytes += (size_t)sprintf(body + bytes, "%s", large->event);
        else
            bytes += (size_t)sprintf(body + bytes, "%.*s%012d%s", (int)(number - large->event), large->event, i, number + 1);
    }
    bytes += (size_t)sprintf(body + bytes, "%s%s", last, large->end);
    at = (size_t)snprintf(text, size, "POST %s HTTP/1.1\r\nHost: t\r\nOrigin: https://a.b\r\n%sContent-Length: %zu\r\n\r\n%s" LIVENESS,
                          large->path, large->headers, bytes, body);
    assert_true(at < size);
    return at;
}

/* Closed by a reset. */
static void break_off(int fd)
{
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    (void)close(fd);
}

static void close_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        (void)close(fds[i]);
}

/* Somebody who is let in, and what he is known for: his project. */
static int connect_known(void)
{
    int fd = kit_connect(&kit);

    kit_send_text(fd, E1_REQUEST);
    kit_expect(fd, 200, "known");
    return fd;
}

static double looked(void)
{
    return kit_metric("capture_overload_looked_total");
}

/* Those who are sent away are so in the middle of a large request, too. Nobody loses anything by it: the request in work keeps its bytes,
 * what came for it meanwhile, its answer and its project; who only asks is answered; who leaves is gone, be it
 * the one in work. */
static void in_the_middle_of(const struct large *large)
{
    enum { FRESH = 8, LOOKED = 40, ROUNDS = 24 };
    static char text[256 << 10], wrong[256 << 10];
    size_t      bytes = write_large(large, text, sizeof text, large->last), wrong_bytes = write_large(large, wrong, sizeof wrong, large->wrong);
    int         rounds = 0, probe = kit_connect(&kit), known, fresh[FRESH], breaks[ROUNDS], slow[64], slows;
    size_t      stored = 0;
    int64_t     until_us = kit_deadline_us();
    double      before = looked();

    kit_forget(&kit);
    known = connect_known();
    for (int i = 0; i < ROUNDS; i++)
        breaks[i] = connect_known();
    slows = fill_until_newcomers(slow, 64, probe);
    for (int i = 0; i < FRESH; i++)
        fresh[i] = kit_connect(&kit);
    for (; looked() < before + LOOKED && rounds < ROUNDS; rounds++) {
        int leaves = kit_connect(&kit);

        assert_true(clock_mono_us() < until_us);
        kit_send(breaks[rounds], wrong, wrong_bytes);
        kit_send(known, text, bytes);
        for (int i = 0; i < FRESH; i++) {
            if (i == rounds % FRESH)
                kit_send_text(known, LIVENESS);
            kit_send_text(fresh[i], i % 2 == 0 ? E1_REQUEST : E1_REQUEST "GET /v1/projects/of_nobody/settings HTTP/1.1\r\nHost: t\r\n\r\n");
        }
        kit_send_text(leaves, POST "Content-Le");
        (void)close(leaves);
        break_off(breaks[rounds]);
        for (int i = 0; i < FRESH; i++) {
            expect_body(fresh[i], 503, "service unavailable: more events come than can be taken", "a newcomer");
            if (i % 2 != 0)
                kit_expect(fresh[i], 404, "who only asks");
        }
        expect_body(known, 200, large->answer, large->what);
        assert_non_null(strstr(answer.head, "access-control-allow-origin: https://a.b\r\n"));
        expect_body(known, 200, "alive", "right behind it");
        expect_body(known, 200, "alive", "what came meanwhile");
        stored += kit_records(&kit);
    }
    if (looked() <= before)
        fail_msg("%s: nobody was looked at in the middle of it", large->what);
    close_all(slow, slows);
    close_all(fresh, FRESH);
    close_all(breaks + rounds, ROUNDS - rounds);
    (void)close(known);
    (void)close(probe);
    kit_wait_connections(0);
    assert_int_equal(stored + kit_records(&kit), 1 + ROUNDS + rounds * large->stored);
}

static void in_the_middle_of_a_large_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof larges / sizeof *larges; i++)
        in_the_middle_of(&larges[i]);
}

/* Who connects while a large request is in work is accepted and sent away then. */
static void newcomers_in_the_middle(void **state)
{
    enum { ROUNDS = 1000 };
    static char text[256 << 10];
    size_t      bytes = write_large(&larges[0], text, sizeof text, E1);
    int         rounds = 0, probe = kit_connect(&kit), known, slow[64], slows;
    int64_t     until_us = kit_deadline_us();
    double      before = kit_metric("capture_overload_accepted_total");

    (void)state;
    kit_forget(&kit);
    known = connect_known();
    slows = fill_until_newcomers(slow, 64, probe);
    for (; kit_metric("capture_overload_accepted_total") <= before && rounds < ROUNDS; rounds++) {
        int fresh;

        assert_true(clock_mono_us() < until_us);
        kit_send(known, text, bytes);
        fresh = kit_connect(&kit);
        kit_send_text(fresh, E1_REQUEST);
        expect_body(fresh, 503, "service unavailable: more events come than can be taken", "a newcomer");
        expect_body(known, 200, larges[0].answer, larges[0].what);
        expect_body(known, 200, "alive", "right behind it");
        (void)close(fresh);
    }
    assert_true(kit_metric("capture_overload_accepted_total") > before);
    close_all(slow, slows);
    (void)close(known);
    (void)close(probe);
    kit_wait_connections(0);
    assert_int_equal(kit_records(&kit), 1 + rounds);
}

int main(void)
{
    const struct CMUnitTest memory[] = { cmocka_unit_test(bodies_of_those_sent_away), cmocka_unit_test(in_the_middle_of_a_large_one),
                                         cmocka_unit_test(newcomers_in_the_middle), cmocka_unit_test(memory_runs_short) };

    return cmocka_run_group_tests(memory, start_small_memory, kit_teardown);
}
