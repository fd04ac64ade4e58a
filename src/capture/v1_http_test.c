/* capture/v1_http_test.c - v1 beside the requests themselves: limits, slow and pipelined clients, answers
 * larger than a socket takes, many at once, a disk without room. */
#include <libdeflate.h>

#include "capture/capture_test_kit.h"


#define PATH "/i/v1/analytics/events"
#define ID "7d0e8f3a-1111-4222-8333-944455556666"
#define HEADERS                                                                                                       \
    "Authorization: Bearer phc_alpha\r\nContent-Type: application/json\r\nUser-Agent: t\r\nPostHog-Sdk-Info: l/2\r\n" \
    "PostHog-Attempt: 1\r\nPostHog-Request-Id: " ID "\r\nPostHog-Request-Timestamp: 2026-02-03T04:05:06Z\r\n"
#define ORIGIN "Origin: https://a.b\r\n"
#define CREATED "{\"created_at\":\"2026-02-03T04:05:06Z\",\"batch\":["
#define POST "POST " PATH " HTTP/1.1\r\nHost: t\r\n" HEADERS
#define ERROR(tag) "{\"error\":\"" tag "\",\"error_description\":\""

/* One event with so many more bytes in it. The text is the caller's to free. */
static char *make_event(uint32_t number, size_t filler, size_t *bytes_out)
{
    char  *text = malloc(filler + 300);
    size_t bytes = (size_t)snprintf(text, 300,
                                    "{\"event\":\"e\",\"uuid\":\"0190f3a1-7c0e-7cc1-9d0e-%012x\",\"distinct_id\":\"u-1\","
                                    "\"timestamp\":\"2026-02-03T03:00:00Z\",\"properties\":{\"f\":\"",
                                    number);

    memset(text + bytes, 'x', filler);
    memcpy(text + bytes + filler, "\"}}", 4);
    *bytes_out = bytes + filler + 3;
    return text;
}

/* A request's body with so many events of that size. */
static struct span make_body(uint32_t events, size_t filler)
{
    char  *body = malloc(events * (filler + 300) + 100);
    size_t at = strlen(CREATED);

    memcpy(body, CREATED, at);
    for (uint32_t i = 0; i < events; i++) {
        size_t bytes;
        char  *event = make_event(i, filler, &bytes);

        if (i > 0)
            body[at++] = ',';
        memcpy(body + at, event, bytes);
        at += bytes;
        free(event);
    }
    memcpy(body + at, "]}", 2);
    return span_of(body, at + 2);
}

static void free_body(struct span body)
{
    free((void *)(uintptr_t)body.at);
}

static bool head_has(const char *line)
{
    return strstr(answer.head, line) != NULL;
}

static void expect_error(int status, const char *begins)
{
    if (answer.status != status || strncmp(answer.body, begins, strlen(begins)) != 0)
        fail_msg("%s, expected %d %s", answer.text, status, begins);
    assert_true(head_has("\r\ncontent-type: application/json\r\n"));
    assert_true(head_has("\r\nposthog-request-id: " ID "\r\n"));
    assert_true(head_has("\r\naccess-control-allow-origin: https://a.b\r\n"));
    assert_int_equal(head_has("\r\nretry-after: "), status == 408 || status >= 500);
}

/* --- limits ------------------------------------------------------------------------------------ */

static int start_small(void **state)
{
    (void)state;
    return KIT_BEGIN("v1_body_bytes_max", "20000", "v1_inflated_bytes_max", "30000", "event_bytes_max", "5000", "batch_events_max",
                     "50");
}

static void ask(const char *headers, struct span body, int status, const char *begins)
{
    (void)kit_ask(&kit, "POST", PATH, headers, body, &answer);
    if (status != 200)
        expect_error(status, begins);
    else if (answer.status != 200)
        fail_msg("%s", answer.text);
    free_body(body);
}

static void ask_chunked(struct span body, const char *path)
{
    char head[2048];
    int  fd = kit_connect(&kit);

    (void)snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: t\r\n" HEADERS ORIGIN "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                   path, body.bytes);
    kit_send_text(fd, head);
    kit_send(fd, body.at, body.bytes);
    kit_send_text(fd, "\r\n0\r\n\r\n");
    (void)kit_receive(fd, &answer);
    (void)close(fd);
}

static void limits(void **state)
{
    struct span large = make_body(10, 2000);

    (void)state;
    ask(HEADERS ORIGIN, make_body(8, 2000), 200, "");
    ask(HEADERS ORIGIN, make_body(10, 2000), 413, ERROR("payload_too_large"));
    ask_chunked(large, PATH);
    expect_error(413, ERROR("payload_too_large"));
    (void)kit_ask(&kit, "POST", "/batch", "", large, &answer); /* the limit is v1's alone */
    assert_int_equal(answer.status, 400);
    ask_chunked(large, "/batch");
    assert_int_equal(answer.status, 400);
    free_body(large);
    ask(HEADERS ORIGIN, make_body(51, 0), 413, ERROR("payload_too_large"));
    ask(HEADERS ORIGIN, make_body(2, 5000), 200, "");
    assert_string_equal(answer.body, "{\"results\":{\"0190f3a1-7c0e-7cc1-9d0e-000000000000\":{\"result\":\"drop\",\"details\":"
                                     "\"event_too_big\"},\"0190f3a1-7c0e-7cc1-9d0e-000000000001\":{\"result\":\"drop\","
                                     "\"details\":\"event_too_big\"}}}");
    assert_int_equal(kit_records(&kit), 8);
}

/* So many `{`, by Python's zlib: the smaller one is unpacked and is no JSON. */
static const struct { const char *hex; int status; const char *begins; } packed[] = {
    { "78daedc13101000000c2a0e02b6f094fa000000000000000000000000000000000000000000000000000000000002e06a01450de", 400,
      ERROR("request_parsing_error") }, /* 29999 */
    { "78daedc13101000000c2a0e02b6f094fa000000000000000000000000000000000000000000000000000000000003e06f16d5159", 413,
      ERROR("payload_too_large") }, /* 30000 */
};

static void inflated_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++) {
        uint8_t body[64];
        size_t  bytes = strlen(packed[i].hex) / 2;

        for (size_t at = 0; at < bytes; at++) {
            char digits[3] = { packed[i].hex[2 * at], packed[i].hex[2 * at + 1], 0 };

            body[at] = (uint8_t)strtoul(digits, NULL, 16);
        }
        (void)kit_ask(&kit, "POST", PATH, HEADERS ORIGIN "Content-Encoding: deflate\r\n", span_of(body, bytes), &answer);
        expect_error(packed[i].status, packed[i].begins);
    }
}

static int start_short_times(void **state)
{
    (void)state;
    return KIT_BEGIN("body_stall", "300ms");
}

static void stalled(void **state)
{
    int fd = kit_connect(&kit);

    (void)state;
    kit_send_text(fd, POST ORIGIN "Content-Length: 1000\r\n\r\n0123456789");
    (void)kit_receive(fd, &answer);
    expect_error(408, ERROR("body_read_timeout"));
    assert_true(head_has("\r\nretry-after: 1\r\n"));
    (void)close(fd);
}

/* Text with escapes is decoded into the request's memory: without room for it nothing is stored, and no event
 * is told to be bad. */
static int start_little_memory(void **state)
{
    (void)state;
    return KIT_BEGIN("request_memory_max", "1MiB");
}

static void little_memory(void **state)
{
    struct span body = make_body(1500, 0);
    char       *wide = malloc(1500 * 1400);
    size_t      at = 0, events = 0;

    (void)state;
    for (size_t i = 0; i < body.bytes; i++) {
        wide[at++] = (char)body.at[i];
        if (i >= 8 && memcmp(body.at + i - 8, "\"event\":\"", 9) == 0 && ++events > 0)
            for (int n = 0; n < 150; n++) {
                memcpy(wide + at, "\\u0061", 6);
                at += 6;
            }
    }
    assert_int_equal(events, 1500);
    (void)kit_ask(&kit, "POST", PATH, HEADERS ORIGIN, span_of(wide, at), &answer);
    expect_error(413, ERROR("payload_too_large"));
    assert_non_null(strstr(answer.body, "working memory"));
    free(wide);
    ask(HEADERS ORIGIN, make_body(20000, 0), 413, ERROR("payload_too_large"));
    ask(HEADERS ORIGIN, make_body(3, 0), 200, "");
    assert_int_equal(kit_records(&kit), 3);
    free_body(body);
}

/* What no commit can hold is no reason to send it again. */
static int start_large(void **state)
{
    (void)state;
    return KIT_BEGIN("v1_inflated_bytes_max", "100MiB");
}

static void larger_than_a_commit(void **state)
{
    struct libdeflate_compressor *packer = libdeflate_alloc_compressor(1);
    struct span                   body = make_body(75, 900000);
    uint8_t                      *packed_body = malloc(body.bytes);
    size_t                        bytes = libdeflate_gzip_compress(packer, body.at, body.bytes, packed_body, body.bytes);

    (void)state;
    assert_true(bytes > 0 && body.bytes > 64 << 20);
    (void)kit_ask(&kit, "POST", PATH, HEADERS ORIGIN "Content-Encoding: gzip\r\n", span_of(packed_body, bytes), &answer);
    expect_error(413, ERROR("payload_too_large"));
    assert_int_equal(kit_records(&kit), 0);
    libdeflate_free_compressor(packer);
    free(packed_body);
    free_body(body);
}

/* --- clients ----------------------------------------------------------------------------------- */

static int start_two_loops(void **state)
{
    (void)state;
    return KIT_BEGIN("threads", "2");
}

/* A v1 request, one of the old kind and one without an id, on one connection and in one write: nothing of
 * one request is in the answer to another. */
static void pipelined(void **state)
{
    static const char old[] = "{\"token\":\"phc_alpha\",\"event\":\"a\",\"distinct_id\":\"u\"}";
    struct span       body = make_body(1, 10);
    char              text[4096];
    int               fd = kit_connect(&kit);

    (void)state;
    (void)snprintf(text, sizeof text,
                   POST ORIGIN "Content-Length: %zu\r\n\r\n%.*s"
                               "POST /batch HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n%s"
                               "POST " PATH " HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}",
                   body.bytes, SPAN_ARG(body), strlen(old), old);
    free_body(body);
    kit_send_text(fd, text);
    assert_int_equal(kit_receive(fd, &answer), 200);
    assert_true(head_has("\r\nposthog-request-id: " ID "\r\n") && head_has("access-control-allow-origin: https://a.b"));
    assert_int_equal(strncmp(answer.body, "{\"results\":{", 12), 0);
    assert_int_equal(kit_receive(fd, &answer), 200);
    assert_string_equal(answer.body, "{\"status\":\"Ok\"}");
    assert_false(head_has("posthog-request-id") || head_has("access-control-allow-origin:"));
    assert_int_equal(kit_receive(fd, &answer), 401);
    assert_false(head_has("posthog-request-id"));
    (void)close(fd);
    assert_int_equal(kit_records(&kit), 2);
}

/* More verdicts than a socket's buffer takes, and a client that reads late. */
static void long_answer(void **state)
{
    enum { EVENTS = 13000 };
    struct span body = make_body(EVENTS, 0);
    char        head[2048];
    size_t      count = 0;
    int         fd = kit_connect(&kit);

    (void)state;
    (void)snprintf(head, sizeof head, POST "Content-Length: %zu\r\n\r\n", body.bytes);
    kit_send_text(fd, head);
    kit_send(fd, body.at, body.bytes);
    free_body(body);
    (void)poll(NULL, 0, 300);
    assert_int_equal(kit_receive(fd, &answer), 200);
    for (const char *at = answer.body; (at = strstr(at, "\"result\":\"ok\"")) != NULL; at++)
        count++;
    assert_int_equal(count, EVENTS);
    assert_string_equal(answer.body + answer.body_bytes - 3, "}}}");
    (void)close(fd);
    kit.next += EVENTS; /* which kit_records does not hold */
    for (size_t seen = 0; seen < EVENTS;) {
        struct log_chunk chunk;
        struct err       err = { 0 };

        assert_int_equal(log_reader_next(kit.reader, &chunk, &err), 1);
        seen += chunk.count;
    }
}

enum { SENDERS = 4, SENDER_REQUESTS = 40 };

static void *sender_main(void *arg)
{
    static _Thread_local struct kit_answer mine;
    int                                    fd = kit_connect(&kit);
    uint32_t                               me = *(uint32_t *)arg * 1000;

    *(uint32_t *)arg = 0;
    for (uint32_t i = 0; i < SENDER_REQUESTS; i++) {
        char   text[2048], uuid[128];
        size_t bytes;
        char  *event = make_event(me + i, 0, &bytes);

        (void)snprintf(text, sizeof text, POST "Content-Length: %zu\r\n\r\n" CREATED "%s]}", strlen(CREATED) + bytes + 2, event);
        (void)snprintf(uuid, sizeof uuid, "{\"results\":{\"0190f3a1-7c0e-7cc1-9d0e-%012x\":{\"result\":\"ok\"}}}", me + i);
        kit_send(fd, text, strlen(text));
        free(event);
        if (kit_receive(fd, &mine) != 200 || strcmp(mine.body, uuid) != 0)
            break;
        ++*(uint32_t *)arg;
    }
    (void)close(fd);
    return NULL;
}

static void many(void **state)
{
    pthread_t threads[SENDERS];
    uint32_t  done[SENDERS] = { 1, 2, 3, 4 };
    uint64_t  seen = 0;

    (void)state;
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sender_main, &done[i]), 0);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(done[i], SENDER_REQUESTS);
    }
    while (seen < SENDERS * SENDER_REQUESTS) {
        struct log_chunk chunk;
        struct err       err = { 0 };

        assert_int_equal(log_reader_next(kit.reader, &chunk, &err), 1);
        seen += chunk.count;
    }
    kit.next += seen;
}

/* --- no room ----------------------------------------------------------------------------------- */

static int start_without_room(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_disk(&kit, 0);
    kit_start(&kit);
    return 0;
}

static void no_room(void **state)
{
    (void)state;
    ask(HEADERS ORIGIN, make_body(1, 10), 503, ERROR("service_unavailable"));
    assert_int_equal(kit_records(&kit), 0);
}

/* Some requests go into what the log has of the disk, then one is refused by the commit, when the request itself is long gone. */
static int start_full(void **state)
{
    (void)state;
    kit_init(&kit);
    kit_set(&kit, "compress", "false");
    kit_disk(&kit, KIT_DISK_ROOM_BYTES);
    kit_start(&kit);
    return 0;
}

static void full(void **state)
{
    int status = 200;

    (void)state;
    kit_disk_free = KIT_DISK_RESERVE_BYTES;
    for (int i = 0; i < 100 && status == 200; i++) {
        struct span body = make_body(1, 900000);

        status = kit_ask(&kit, "POST", PATH, HEADERS ORIGIN, body, &answer);
        free_body(body);
    }
    expect_error(503, ERROR("service_unavailable"));
    assert_true(head_has("\r\nretry-after: 5\r\n"));
}

int main(void)
{
    const struct CMUnitTest small[] = { cmocka_unit_test(limits), cmocka_unit_test(inflated_limit) };
    const struct CMUnitTest times[] = { cmocka_unit_test(stalled) };
    const struct CMUnitTest clients[] = { cmocka_unit_test(pipelined), cmocka_unit_test(long_answer), cmocka_unit_test(many) };
    const struct CMUnitTest little[] = { cmocka_unit_test(little_memory) };
    const struct CMUnitTest large[] = { cmocka_unit_test(larger_than_a_commit) };
    const struct CMUnitTest nothing[] = { cmocka_unit_test(no_room) };
    const struct CMUnitTest filling[] = { cmocka_unit_test(full) };
    int                     failed = cmocka_run_group_tests(small, start_small, kit_teardown);

    failed += cmocka_run_group_tests(times, start_short_times, kit_teardown);
    failed += cmocka_run_group_tests(little, start_little_memory, kit_teardown);
    failed += cmocka_run_group_tests(large, start_large, kit_teardown);
    failed += cmocka_run_group_tests(clients, start_two_loops, kit_teardown);
    failed += cmocka_run_group_tests(nothing, start_without_room, kit_teardown);
    failed += cmocka_run_group_tests(filling, start_full, kit_teardown);
    return failed;
}
