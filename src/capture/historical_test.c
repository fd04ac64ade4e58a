/* capture/historical_test.c - imports by age: which events go to the topic of imports, event by event, by each of the ways
 * in; and that one answer waits for both commits. Numbers are those of docs/compat.md. The clock stands at
 * 2026-02-03T04:05:06Z, and what is a day old is old. */
#include "capture/capture_test_kit.h"

#define JSON "Content-Type: application/json\r\n"
#define OLD "\"2026-02-01T00:00:00Z\""
#define NEW "\"2026-02-03T03:00:00Z\""
#define OF(event, time) "{\"event\":\"" event "\",\"distinct_id\":\"u\",\"timestamp\":" time "}"
#define IN(events) "{\"api_key\":\"phc_alpha\",\"batch\":[" events "]}"
#define IMPORT(events) "{\"api_key\":\"phc_alpha\",\"historical_migration\":true,\"batch\":[" events "]}"
#define V1_PATH "/i/v1/analytics/events"
#define V1                                                                                                            \
    "Authorization: Bearer phc_alpha\r\nContent-Type: application/json\r\nUser-Agent: t\r\nPostHog-Sdk-Info: l/2\r\n" \
    "PostHog-Attempt: 1\r\nPostHog-Request-Id: 7d0e8f3a-1111-4222-8333-944455556666\r\n"                              \
    "PostHog-Request-Timestamp: 2026-02-03T04:05:06Z\r\n"
#define V1_OF(event, n, time)                                                                                         \
    "{\"event\":\"" event "\",\"uuid\":\"0195d3a0-0000-7000-8000-00000000000" n "\",\"distinct_id\":\"u\",\"timestamp\":" time "}"
#define V1_IN(events) "{\"created_at\":\"2026-02-03T04:05:06Z\",\"batch\":[" events "]}"
#define SEGMENT "Authorization: Basic cGhjX2FscGhhOg==\r\n" /* phc_alpha: */
#define TRACK(event, time) "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"" event "\",\"timestamp\":" time "}"

/* records: as kit_check_records has them, `@` for the topic of imports. marked: which of them say historical_migration, the
 * first by the lowest bit. */
static const struct row { const char *name, *target, *headers, *body, *records; unsigned marked; } rows[] = {
    { "115", "/batch", JSON, IMPORT(OF("a", OLD) "," OF("$exception", OLD) "," OF("$$heatmap", OLD) "," OF("$ai_trace", OLD)),
      "@a/u @$exception/u @$$heatmap/u @$ai_trace/u", 1 },
    { "115 new ones too", "/batch", JSON, IMPORT(OF("a", NEW)), "@a/u", 1 },
    { "121", "/batch", JSON, IN(OF("a", OLD)), "@a/u", 1 },
    { "121 exactly", "/batch", JSON, IN(OF("a", "\"2026-02-02T04:05:06Z\"")), "@a/u", 1 },
    { "121 nearly", "/batch", JSON, IN(OF("a", "\"2026-02-02T04:05:06.001Z\"")), "a/u", 0 },
    { "121 without a time", "/batch", JSON, IN(OF("a", "null")), "a/u", 0 },
    { "121 all", "/batch", JSON, IN(OF("a", OLD) "," OF("b", OLD)), "@a/u @b/u", 3 },
    { "121 each by itself", "/batch", JSON, IN(OF("a", OLD) "," OF("b", NEW) "," OF("c", OLD)), "b/u @a/u @c/u", 6 },
    { "121 a bad one stays", "/batch", JSON, IN(OF("a", OLD) "," OF("", OLD)), "!no_event_name/u @a/u", 2 },
    { "122", "/batch", JSON, IN(OF("$exception", OLD)), "$exception/u", 0 },
    { "122 beside", "/batch", JSON, IN(OF("$exception", OLD) "," OF("a", OLD)), "$exception/u @a/u", 2 },
    { "v1", V1_PATH, V1, V1_IN(V1_OF("a", "1", OLD) "," V1_OF("b", "2", NEW) "," V1_OF("$exception", "3", OLD)),
      "b/u $exception/u @a/u", 4 },
    { "Segment", "/v1/batch", SEGMENT, "{\"batch\":[" TRACK("a", OLD) "," TRACK("b", NEW) "]}", "b/u @a/u", 2 },
};

static void each_by_itself(void **state)
{
    double rerouted = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        unsigned          marked = 0;

        if (kit_ask(&kit, "POST", row->target, row->headers, span_text(row->body), &answer) != 200)
            fail_msg("%s: %s", row->name, answer.text);
        kit_check_records(row->name, row->records);
        for (size_t k = 0; k < kit.count; k++)
            marked |= (kit.records[k].flags & RECORD_HISTORICAL ? 1u : 0u) << k;
        if (marked != row->marked)
            fail_msg("%s: marked %x", row->name, marked);
    }
    assert_true(metric_read(kit.run_folder, "capture", "capture_events_rerouted_historical", "reason=\"timestamp\"", &rerouted));
    assert_true(rerouted == 10); /* of those whose request did not say so */
}

/* --- two commits, one answer -------------------------------------------------------------------- */

enum { SENDERS = 6, REQUESTS = 20 };

static const struct { const char *body; uint64_t live, imports; } kinds[] = {
    { IN(OF("a", NEW)), 1, 0 },
    { IN(OF("a", OLD) "," OF("b", NEW)), 1, 1 },
    { IN(OF("a", OLD)), 0, 1 },
    { IN(OF("b", NEW) "," OF("a", OLD) "," OF("$exception", OLD)), 2, 1 },
};

struct sender {
    size_t   number;
    uint64_t live, imports; /* of what was answered 200 */
};

static void *sender_main(void *arg)
{
    static _Thread_local struct kit_answer mine;
    struct sender                         *sender = arg;
    int                                    fd = kit_connect(&kit);

    for (size_t i = 0; i < REQUESTS; i++) {
        size_t kind = (i + sender->number) % (sizeof kinds / sizeof *kinds);
        char   text[1024];

        (void)snprintf(text, sizeof text, "POST /batch HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n%s", strlen(kinds[kind].body),
                       kinds[kind].body);
        kit_send(fd, text, strlen(text));
        if (kit_receive(fd, &mine) != 200)
            break;
        sender->live += kinds[kind].live;
        sender->imports += kinds[kind].imports;
    }
    (void)close(fd);
    return NULL;
}

static uint64_t count_all(struct log_reader *reader)
{
    struct log_chunk chunk;
    struct err       err = { 0 };
    uint64_t         count = 0;

    while (log_reader_next(reader, &chunk, &err) == 1)
        count += chunk.count;
    return count;
}

/* Whoever is answered 200 has all of its events on the disk, in both topics, and nobody waits for ever. */
static void many_of_both(void **state)
{
    pthread_t     threads[SENDERS];
    struct sender senders[SENDERS] = { 0 };
    uint64_t      live = 0, imports = 0, found;

    (void)state;
    for (size_t i = 0; i < SENDERS; i++) {
        senders[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, sender_main, &senders[i]), 0);
    }
    for (size_t i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        live += senders[i].live;
        imports += senders[i].imports;
    }
    assert_true(live == SENDERS * REQUESTS && imports == SENDERS * REQUESTS / 4 * 3);
    found = count_all(kit.historical); /* now, not in a while */
    assert_int_equal(found, imports);
    found = count_all(kit.reader);
    assert_int_equal(found, live);
    kit.next += found;
}

/* One after the other: each answer is asked for what it promises. */
static void one_after_the_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON, span_text(kinds[1].body), &answer), 200);
        kit_check_records("both are on the disk", "b/u @a/u");
    }
}

/* Who leaves while it waits for one commit or the other is forgotten by both; what it sent stays. */
static void leaves_between(void **state)
{
    static const char body[] = IN(OF("a", OLD) "," OF("b", NEW));
    char              text[512];

    (void)state;
    (void)snprintf(text, sizeof text, "POST /batch HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    for (int i = 0; i < 30; i++) {
        int fd = kit_connect(&kit);

        kit_send_text(fd, text);
        (void)poll(NULL, 0, i % 6);
        (void)close(fd);
    }
    kit_wait_connections(0);
    assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON, span_text(body), &answer), 200);
    (void)count_all(kit.historical);
    kit.next += count_all(kit.reader);
}

/* At a stop, too, both commits are waited for. */
static void stops_with_both(void **state)
{
    static const char body[] = IN(OF("a", OLD) "," OF("b", NEW));
    double            before = kit_metric("capture_events_received_total");
    int               fd = kit_connect(&kit);
    char              text[512];

    (void)state;
    (void)snprintf(text, sizeof text, "POST /batch HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    kit_send_text(fd, text);
    kit_wait("capture_events_received_total", before + 2, before + 2);
    kit_ask_to_stop(&kit);
    kit_expect(fd, 200, "in flight at the stop");
    (void)close(fd);
    pthread_join(kit.thread, NULL);
    assert_int_equal(kit.rc, 0);
    kit_check_records("at the stop", "b/u @a/u");
}

static int start(void **state)
{
    (void)state;
    return KIT_BEGIN("historical_after", "1d");
}

static int joined(void **state)
{
    (void)state;
    kit_clean(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_by_itself), cmocka_unit_test(one_after_the_other), cmocka_unit_test(many_of_both),
                                        cmocka_unit_test(leaves_between),
                                        cmocka_unit_test(stops_with_both) };

    return cmocka_run_group_tests(tests, start, joined);
}
