/* capture/capture_metrics_test.c - what requests leave in /metrics, by the names of dashboards that exist: what a row asks, and
 * by how much each of its samples grows (of a histogram: how many were observed). */
#include <libdeflate.h>

#include "capture/capture_test_kit.h"

#define JSON "Content-Type: application/json\r\n"
#define E1 "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
/* E1 in LZ-string, and E1 with 1500 blanks in it. */
#define E1_LZ "N4IgLg9g1gpgdiAXCADgCwMYH0CGAbdHEAGhBgDd4wkQBnASwHM4BXFEkAE3trHrgxgs9TjRYBaAIwgAvkA="
#define BOMB_LZ                                                                                                       \
    "N4IgLg9g1gpgdiAXCADgCwMYH0CGAbdHEAGhBgDd4wkQBnASwHM4BXFEkAE3trHrgxgs9TjRYBaAIwgABHPkLFS5StVr1GzVu07de/QcNHjJ02fM"       \
    "XLV6zdt37Dx0+cvXb9x89fvP33/8BgUHaAL5AA=="
#define V1 "/i/v1/analytics/events"
#define V1_HEADERS                                                                                                    \
    JSON "Authorization: Bearer phc_alpha\r\nUser-Agent: t\r\nPostHog-Sdk-Info: l/2\r\nPostHog-Attempt: 1\r\n"        \
         "PostHog-Request-Id: 7d0e8f3a-1111-4222-8333-944455556666\r\nPostHog-Request-Timestamp: 2026-02-03T04:05:06Z\r\n"
#define V1_EVENT(id, n, time)                                                                                         \
    "{\"event\":\"e\",\"uuid\":\"0195d3a0-0000-7000-8000-00000000000" n "\",\"distinct_id\":\"" id "\",\"timestamp\":\"" time "\"}"
#define V1_BATCH(events) "{\"created_at\":\"2026-02-03T04:05:06Z\",\"batch\":[" events "]}"
#define NOW "2026-02-03T04:05:00Z"
#define OLD "2026-01-01T00:00:00Z"

struct grown { const char *name, *labels; double by; };

static const struct row {
    const char  *what, *path, *headers, *body;
    int          status;
    struct grown grown[8];
} rows[] = {
    { "lz64", "/e?compression=lz64", JSON, E1_LZ, 200,
      { { "capture_lz64_decompression_ratio", "", 1 }, { "capture_gzip_decompression_ratio", "", 0 }, { "capture_raw_payload_size", "", 1 } } },
    { "lz64 by its header", "/batch", "Content-Encoding: lz64\r\n" JSON, E1_LZ, 200, { { "capture_lz64_decompression_ratio", "", 1 } } },
    { "no wrapping", "/e", JSON, E1, 200, { { "capture_lz64_decompression_ratio", "", 0 }, { "capture_full_payload_size", "", 1 } } },
    { "too much in lz64", "/e?compression=lz64", JSON, BOMB_LZ, 413,
      { { "capture_payload_size_exceeded", "kind=\"lz64\"", 1 }, { "capture_payload_size_exceeded", "kind=\"gzip\"", 0 },
        { "capture_payload_size_exceeded", "kind=\"none\"", 0 }, { "capture_error_by_stage_and_type", "error=\"oversize_event\",stage=\"processing\"", 1 } } },
    { "too much in gzip", "/e", JSON, "gzip", 413,
      { { "capture_payload_size_exceeded", "kind=\"gzip\"", 1 }, { "capture_payload_size_exceeded", "kind=\"lz64\"", 0 },
        { "capture_payload_size_exceeded", "kind=\"none\"", 0 } } },
    { "too much as it comes", "/e", JSON, "large", 413,
      { { "capture_payload_size_exceeded", "kind=\"none\"", 1 }, { "capture_payload_size_exceeded", "kind=\"gzip\"", 0 } } },
    { "v1", V1, V1_HEADERS, V1_BATCH(V1_EVENT("a", "1", NOW) "," V1_EVENT("b", "2", NOW)), 200,
      { { "capture_v1_event_batch_size", "", 1 }, { "capture_v1_payload_size_bytes", "stage=\"raw\"", 1 },
        { "capture_v1_payload_size_bytes", "stage=\"decompressed\"", 1 }, { "capture_v1_clock_skew_seconds", "", 1 },
        { "capture_v1_processing_duration_seconds", "", 1 }, { "capture_v1_analytics_error", "", 0 }, { "capture_v1_parsed_events", "", 2 },
        { "capture_v1_events_rerouted_historical", "reason=\"timestamp\"", 0 } } },
    { "v1, one of three has no distinct id", V1, V1_HEADERS,
      V1_BATCH(V1_EVENT("", "1", NOW) "," V1_EVENT("b", "2", NOW) "," V1_EVENT("c", "3", NOW)), 200,
      { { "capture_v1_events_dropped", "", 1 }, { "capture_v1_parsed_events", "", 3 }, { "capture_v1_events_quota_limited", "", 0 },
        { "capture_v1_events_restricted", "", 0 },
        { "capture_v1_event_results_total", "result=\"drop\",details=\"missing_distinct_id\"", 1 } } },
    { "v1, an old one of two", V1, V1_HEADERS, V1_BATCH(V1_EVENT("a", "1", OLD) "," V1_EVENT("b", "2", NOW)), 200,
      { { "capture_v1_events_rerouted_historical", "reason=\"timestamp\"", 1 }, { "capture_events_rerouted_historical", "reason=\"timestamp\"", 1 } } },
    { "an old one, not of v1", "/batch", JSON,
      "{\"api_key\":\"phc_alpha\",\"batch\":[{\"event\":\"e\",\"distinct_id\":\"u\",\"timestamp\":\"" OLD "\"}]}", 200,
      { { "capture_v1_events_rerouted_historical", "reason=\"timestamp\"", 0 }, { "capture_events_rerouted_historical", "reason=\"timestamp\"", 1 } } },
    { "v1, which is no gzip", V1, V1_HEADERS "Content-Encoding: gzip\r\n", "{}", 400,
      { { "capture_v1_decompression_errors_total", "", 1 }, { "capture_v1_analytics_error", "", 1 }, { "capture_v1_event_batch_size", "", 0 } } },
    { "v1, no batch", V1, V1_HEADERS, "{}", 400,
      { { "capture_v1_decompression_errors_total", "", 0 }, { "capture_v1_analytics_error", "", 1 }, { "capture_v1_payload_size_bytes", "stage=\"raw\"", 1 } } },
};

static double value_of(const struct grown *grown)
{
    double value;

    if (!metric_read(kit.run_folder, "capture", grown->name, grown->labels, &value))
        fail_msg("there is no %s{%s}", grown->name, grown->labels);
    return value;
}

/* The body of a row: its own, 1500 blanks in gzip, or 5000 of them. */
static struct span body_of(const struct row *row, char room[5000])
{
    memset(room, ' ', 5000);
    if (strcmp(row->body, "gzip") == 0) {
        static uint8_t                packed[200];
        struct libdeflate_compressor *packer = libdeflate_alloc_compressor(6);
        size_t                        bytes = libdeflate_gzip_compress(packer, room, 1500, packed, sizeof packed);

        assert_true(bytes > 0);
        libdeflate_free_compressor(packer);
        return span_of(packed, bytes);
    }
    return strcmp(row->body, "large") == 0 ? span_of(room, 5000) : span_text(row->body);
}

/* The row's samples grow by what it says, and not by more. */
static void check_row(const struct row *row)
{
    double before[8];
    char   room[5000];
    size_t count = 0;

    for (; count < 8 && row->grown[count].name != NULL; count++)
        before[count] = value_of(&row->grown[count]);
    (void)kit_ask(&kit, "POST", row->path, row->headers, body_of(row, room), &answer);
    if (answer.status != row->status)
        fail_msg("%s: %d, expected %d: %s", row->what, answer.status, row->status, answer.body);
    for (size_t i = 0; i < count; i++) { /* some are counted behind the answer */
        double  want = before[i] + row->grown[i].by, is = value_of(&row->grown[i]);
        int64_t until_us = kit_deadline_us();

        for (; is < want && clock_mono_us() < until_us; is = value_of(&row->grown[i]))
            (void)poll(NULL, 0, 1);
        if (is < want || is > want)
            fail_msg("%s: %s{%s} grew by %g, expected %g", row->what, row->grown[i].name, row->grown[i].labels, is - before[i], row->grown[i].by);
    }
}

static void what_requests_leave(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i]);
}

/* A distinct id above its limit: of three, two. */
static void ids_of_v1_that_send_too_fast(void **state)
{
    static const struct row row = { "too fast", V1, V1_HEADERS, V1_BATCH(V1_EVENT("x", "1", NOW) "," V1_EVENT("x", "2", NOW) "," V1_EVENT("x", "3", NOW)), 200,
                                    { { "capture_v1_events_rerouted_overflow", "reason=\"rate_limited\"", 2 }, { "capture_v1_rate_limiter", "", 2 },
                                      { "capture_v1_analytics_warning", "", 2 }, { "capture_events_rerouted_overflow", "reason=\"rate_limited\"", 2 } } };
    struct catalog *catalog = kit_catalog_open(&kit);
    struct err      err = { 0 };

    (void)state;
    assert_int_equal(catalog_limit_set(catalog, &(struct catalog_limit){ .project = 1, .token = SPAN(""), .kind = CATALOG_LIMIT_DISTINCT_ID,
                                                                        .events = 1, .burst = 1 }, &err), 0);
    kit_in_force(catalog);
    check_row(&row);
    catalog_close(catalog);
}

/* A body of v1 that stalls. */
static void stalled_body(void **state)
{
    static const struct grown one = { "capture_v1_body_read_timeout_total", "", 1 }, all = { "capture_body_read_timeout_total", "", 1 };
    double                    before = value_of(&one), before_all = value_of(&all);
    int                       fd = kit_connect(&kit);

    (void)state;
    kit_send_text(fd, "POST " V1 " HTTP/1.1\r\nHost: t\r\n" V1_HEADERS "Content-Length: 100\r\n\r\n{");
    kit_expect(fd, 408, "a stalled body");
    (void)close(fd);
    fd = kit_connect(&kit);
    kit_send_text(fd, "POST /e HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{");
    kit_expect(fd, 408, "another one, not of v1");
    (void)close(fd);
    assert_true(value_of(&one) == before + 1 && value_of(&all) == before_all + 2);
}

static int start(void **state)
{
    (void)state;
    (void)KIT_BEGIN("body_bytes_max", "4KiB", "inflated_bytes_max", "1KiB", "historical_after", "1d", "body_stall", "1s");
    return kit_ask(&kit, "GET", "/_liveness", "", (struct span){ 0 }, &answer) == 200 ? 0 : -1; /* its metrics can be seen now */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_requests_leave), cmocka_unit_test(ids_of_v1_that_send_too_fast),
                                        cmocka_unit_test(stalled_body) };

    return cmocka_run_group_tests(tests, start, kit_teardown);
}
