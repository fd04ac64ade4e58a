/* capture/replay_http_test.c - recordings through the whole server: what /s answers, and the one record that comes of a
 * request. Numbers are those of docs/compat.md. */
#include "capture/capture_test_kit.h"
#include "wire/time.h"

static struct log_reader *replays;
static struct record      record; /* the last one */
static struct span        body;   /* its bytes, malloc'ed */

#define JSON "Content-Type: application/json\r\n"
#define OK "{\"status\":\"Ok\"}"
#define SNAPSHOT(properties) "{\"token\":\"phc_alpha\",\"event\":\"$snapshot\",\"distinct_id\":\"u-1\",\"properties\":{" properties "}}"
#define S1 "\"$session_id\":\"s-1\""
#define ONE ",\"$snapshot_data\":[{\"type\":1},{\"type\":2}]"
#define GOOD SNAPSHOT(S1 ONE)
#define X10 "aaaaaaaaaa"
#define X70 X10 X10 X10 X10 X10 X10 X10
#define DATA(session, window, source, items, more)                                                                    \
    "{\"event\":\"$snapshot_items\",\"properties\":{\"distinct_id\":\"u-1\",\"$session_id\":" session ",\"$window_id\":" window \
    ",\"$snapshot_source\":" source ",\"$snapshot_items\":[" items "]," more "}}"
#define WEB "\"$lib\":\"web\""
#define PLAIN(items) DATA("\"s-1\"", "\"s-1\"", "\"web\"", items, WEB)
#define ITEMS "{\"type\":1},{\"type\":2}"
#define NO_SESSION "replay event submitted without session id"
#define BAD_SESSION "replay event has invalid session id"
#define NO_SNAPSHOT "replay event submitted without snapshot data"

/* data "": no record. */
static const struct row {
    const char *name, *target, *headers, *body;
    int         status;
    const char *text; /* the answer's body; ended by `*`: its beginning */
    const char *data;
} rows[] = {
    { "141", "/s", JSON, GOOD, 200, OK, PLAIN(ITEMS) },
    { "141 slash", "/s/", JSON, GOOD, 200, OK, PLAIN(ITEMS) },
    { "141 beacon", "/s/?beacon=1", JSON, GOOD, 204, "", PLAIN(ITEMS) },
    { "141 base64 form", "/s/?compression=base64", "Content-Type: application/x-www-form-urlencoded\r\n",
      "data=eyJ0b2tlbiI6InBoY19hbHBoYSIsImV2ZW50IjoiJHNuYXBzaG90IiwiZGlzdGluY3RfaWQiOiJ1LTEiLCJwcm9wZXJ0aWVzIjp7IiRzZXNzaW9uX2lk"
      "IjoicyIsIiRzbmFwc2hvdF9kYXRhIjpbXX19",
      200, OK, DATA("\"s\"", "\"s\"", "\"web\"", "", WEB) },
    { "142", "/s", JSON, "[" SNAPSHOT(S1 ",\"$snapshot_data\":{\"type\":3}") "," SNAPSHOT("\"$session_id\":\"other\",\"$snapshot_data\":[ 4, 5 ]") "]", 200,
      OK, PLAIN("{\"type\":3},4, 5") },
    { "142 empty ones between", "/s", JSON,
      "[" SNAPSHOT(S1 ",\"$snapshot_data\":[]") "," SNAPSHOT("\"$snapshot_data\":{}") "," SNAPSHOT("\"$snapshot_data\":[ ]") "," SNAPSHOT("\"$snapshot_data\":[7]") "]",
      200, OK, PLAIN("{},7") },
    { "143a", "/s", JSON, SNAPSHOT("\"$snapshot_data\":[]"), 400, NO_SESSION, "" },
    { "143a null", "/s", JSON, SNAPSHOT("\"$session_id\":null" ONE), 400, NO_SESSION, "" },
    { "143a no properties", "/s", JSON, "{\"token\":\"phc_alpha\",\"event\":\"$snapshot\",\"distinct_id\":\"u-1\"}", 400, NO_SESSION, "" },
    { "143b", "/s", JSON, SNAPSHOT("\"$session_id\":\"s 1\"" ONE), 400, BAD_SESSION, "" },
    { "143b empty", "/s", JSON, SNAPSHOT("\"$session_id\":\"\"" ONE), 400, BAD_SESSION, "" },
    { "143b number", "/s", JSON, SNAPSHOT("\"$session_id\":5" ONE), 400, BAD_SESSION, "" },
    { "143b underline", "/s", JSON, SNAPSHOT("\"$session_id\":\"a_b\"" ONE), 400, BAD_SESSION, "" },
    { "143b not ASCII", "/s", JSON, SNAPSHOT("\"$session_id\":\"\xc3\xa9\"" ONE), 400, BAD_SESSION, "" },
    { "143b 70", "/s", JSON, SNAPSHOT("\"$session_id\":\"" X70 "\"" ONE), 200, OK, DATA("\"" X70 "\"", "\"" X70 "\"", "\"web\"", ITEMS, WEB) },
    { "143c 71", "/s", JSON, SNAPSHOT("\"$session_id\":\"" X70 "a\"" ONE), 400, BAD_SESSION, "" },
    { "144a", "/s", JSON, SNAPSHOT(S1 ",\"$snapshot_data\":\"x\""), 400, NO_SNAPSHOT, "" },
    { "144a null", "/s", JSON, SNAPSHOT(S1 ",\"$snapshot_data\":null"), 400, NO_SNAPSHOT, "" },
    { "144b", "/s", JSON, "[" GOOD "," SNAPSHOT(S1) "]", 400, NO_SNAPSHOT, "" },
    { "145a", "/s", JSON "User-Agent: posthog-android/3.1\r\n", GOOD, 200, OK,
      DATA("\"s-1\"", "\"s-1\"", "\"web\"", ITEMS, "\"$lib\":\"posthog-android\"") },
    { "145b", "/s", JSON "User-Agent: curl/8\r\n", GOOD, 200, OK, PLAIN(ITEMS) },
    { "145c behind the slash", "/s", JSON "User-Agent: Mozilla/5 posthog\r\n", GOOD, 200, OK, PLAIN(ITEMS) },
    { "145d without a version", "/s", JSON "User-Agent: posthog-ios\r\n", GOOD, 200, OK,
      DATA("\"s-1\"", "\"s-1\"", "\"web\"", ITEMS, "\"$lib\":\"posthog-ios\"") },
    { "145e its own", "/s", JSON "User-Agent: posthog-ios/1\r\n", SNAPSHOT(S1 ",\"$lib\":\"x\\u0041\"" ONE), 200, OK,
      DATA("\"s-1\"", "\"s-1\"", "\"web\"", ITEMS, "\"$lib\":\"x\\u0041\"") },
    { "what else is kept", "/s", JSON,
      SNAPSHOT("\"a\":1,\"$window_id\":\"w 1\",\"$snapshot_source\":\"mobile\",\"$snapshot_host\":\"a.b\"," S1 ONE), 200, OK,
      DATA("\"s-1\"", "\"w 1\"", "\"mobile\"", ITEMS, WEB ",\"$snapshot_host\":\"a.b\"") },
    { "any window, a host that is text", "/s", JSON, SNAPSHOT("\"$window_id\":{\"a\":[1]},\"$snapshot_source\":5,\"$snapshot_host\":6," S1 ONE), 200, OK,
      DATA("\"s-1\"", "{\"a\":[1]}", "5", ITEMS, WEB) },
    { "bytes as sent", "/s", JSON, SNAPSHOT(S1 ",\"$snapshot_data\":[{\"n\": 314159265358979323846264338327,\"e\":1E+2,\"s\":\"\\u00e9\\/\"}]"), 200, OK,
      PLAIN("{\"n\": 314159265358979323846264338327,\"e\":1E+2,\"s\":\"\\u00e9\\/\"}") },
    { "any event's name", "/s", JSON, "{\"token\":\"phc_alpha\",\"event\":\"\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ONE "}}", 200, OK, PLAIN(ITEMS) },
    { "no event's name", "/s", JSON, "{\"token\":\"phc_alpha\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ONE "}}", 400, "failed to parse request: *", "" },
    { "no batch", "/s", JSON, "{\"api_key\":\"phc_alpha\",\"batch\":[" GOOD "]}", 400, "failed to parse request: *", "" },
    { "empty array", "/s", JSON, "[]", 400, "request holds no event", "" },
    { "no body", "/s", JSON, "", 400, "request missing data payload", "" },
    { "no JSON", "/s", JSON, "{", 400, "failed to parse request: *", "" },
    { "more behind", "/s", JSON, GOOD " x", 400, "failed to parse request: *", "" },
    { "no UTF-8", "/s", JSON, SNAPSHOT(S1 ",\"$snapshot_data\":[\"\xff\"]"), 400, "failed to decode request: invalid UTF8 in request payload", "" },
    { "U+0000 in what was packed", "/s", JSON, SNAPSHOT(S1 ",\"$snapshot_data\":[\"\\u001f\\u008b\\u0000\"]"), 200, OK,
      PLAIN("\"\\u001f\\u008b\\u0000\"") },
    { "U+0000 in a session", "/s", JSON, SNAPSHOT("\"$session_id\":\"a\\u0000\"" ONE), 400, BAD_SESSION, "" },
    { "half an emoji", "/s", JSON, SNAPSHOT(S1 ",\"$snapshot_data\":[\"\\ud83d\"]"), 200, OK, PLAIN("\"\\ufffd\"") },
    { "half an emoji, raw", "/s", JSON, SNAPSHOT(S1 ",\"$snapshot_data\":[\"\xed\xa0\xbd\"]"), 200, OK, PLAIN("\"\xef\xbf\xbd\"") },
    { "uuid empty", "/s", JSON, "{\"uuid\":\"\",\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ONE "}}", 400,
      "failed to parse request: *", "" },
    { "uuid bad on the second", "/s", JSON, "[" GOOD ",{\"uuid\":\"x\",\"event\":\"e\",\"properties\":{\"$snapshot_data\":[]}}]", 400,
      "failed to parse request: *", "" },
    { "uuid null", "/s", JSON, "{\"uuid\":null,\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ONE "}}", 200, OK, PLAIN(ITEMS) },
    { "$lib of a wrong type", "/s", JSON, SNAPSHOT("\"$lib\":5," S1 ONE), 400, "failed to parse request: *", "" },
    { "$cookieless_mode of a wrong type", "/s", JSON, SNAPSHOT("\"$cookieless_mode\":\"yes\"," S1 ONE), 400, "failed to parse request: *", "" },
    { "$ignore_sent_at of a wrong type", "/s", JSON, SNAPSHOT("\"$ignore_sent_at\":1," S1 ONE), 400, "failed to parse request: *", "" },
    { "timestamp of a wrong type", "/s", JSON, "{\"timestamp\":5,\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ONE "}}", 400,
      "failed to parse request: *", "" },
    { "the first event's token", "/s", JSON, "[{\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ONE "}}," GOOD "]", 401,
      "event submitted without an api_key", "" },
    { "another token on the second", "/s", JSON, "[" GOOD ",{\"token\":\"phc_nobody\",\"event\":\"e\",\"properties\":{\"$snapshot_data\":[]}}]", 200, OK, PLAIN(ITEMS) },
    { "a token among the properties", "/s", JSON, "{\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{\"token\":\"phc_alpha\"," S1 ONE "}}", 200, OK,
      PLAIN(ITEMS) },
    { "unknown token", "/s", JSON, "{\"token\":\"phc_x\",\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ONE "}}", 401, "API key is not known*", "" },
    { "no distinct id", "/s", JSON, "{\"token\":\"phc_alpha\",\"event\":\"e\",\"properties\":{" S1 ONE "}}", 400, "event submitted without a distinct_id", "" },
    { "distinct id among the properties", "/s", JSON, "{\"token\":\"phc_alpha\",\"event\":\"e\",\"properties\":{\"distinct_id\":\"u-1\"," S1 ONE "}}", 200, OK,
      PLAIN(ITEMS) },
    { "order: session before distinct id", "/s", JSON, "{\"token\":\"phc_alpha\",\"event\":\"e\",\"properties\":{}}", 400, NO_SESSION, "" },
};

/* How many there are since the last call; the last one is kept. */
static size_t take_replays(void)
{
    struct log_chunk chunk;
    struct err       err = { 0 };
    size_t           count = 0;
    uint64_t         offset;
    struct span      at;

    while (log_reader_next(replays, &chunk, &err) == 1)
        while (log_chunk_next(&chunk, &offset, &at)) {
            free((void *)(uintptr_t)body.at);
            body = span_of(memcpy(malloc(at.bytes), at.at, at.bytes), at.bytes);
            if (record_read(body, &record, &err) < 0)
                fail_msg("%s", err.text);
            count++;
        }
    return count;
}

static void vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];

        kit_ask(&kit, "POST", row->target, row->headers, span_text(row->body), &answer);
        if (answer.status != row->status || !kit_text_fits(row->text, answer.body))
            fail_msg("%s: %d %s", row->name, answer.status, answer.body);
        if (take_replays() != (*row->data != 0))
            fail_msg("%s: a record too many or too few", row->name);
        if (*row->data == 0)
            continue;
        if (!span_is(record.data, row->data))
            fail_msg("%s: %.*s", row->name, SPAN_ARG(record.data));
        assert_true(span_is(record.event, "$snapshot_items") && span_is(record.token, "phc_alpha") && record.project == 1);
    }
    assert_int_equal(kit_records(&kit), 0); /* none of it went to where events go */
}

static int64_t us_of(const char *text)
{
    int64_t us = 0;

    assert_true(time_parse_rfc3339(span_text(text), &us, NULL));
    return us;
}

#define AT(more, properties) "{\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"u-1\"," more ",\"properties\":{" S1 ONE properties "}}"

static void fields(void **state)
{
    static const struct { const char *name, *target, *body, *time; } times[] = {
        { "now", "/s", GOOD, "2026-02-03T04:05:06Z" },
        { "its own", "/s", AT("\"timestamp\":\"2026-02-03T03:00:00Z\"", ""), "2026-02-03T03:00:00Z" },
        { "query", "/s?_=1770091516000", AT("\"timestamp\":\"2026-02-03T03:00:00Z\"", ""), "2026-02-03T02:59:50Z" },
        { "body", "/s", AT("\"timestamp\":\"2026-02-03T03:00:00Z\",\"sent_at\":\"2026-02-03T04:05:16Z\"", ""), "2026-02-03T02:59:50Z" },
        { "query before body", "/s?sent_at=1770091516000", AT("\"timestamp\":\"2026-02-03T03:00:00Z\",\"sent_at\":\"2026-02-03T09:05:16Z\"", ""),
          "2026-02-03T02:59:50Z" },
        { "no time to use", "/s", AT("\"timestamp\":\"2026-02-03T03:00:00Z\",\"sent_at\":7", ""), "2026-02-03T03:00:00Z" },
        { "no correction", "/s?_=1770091516000", AT("\"timestamp\":\"2026-02-03T03:00:00Z\"", ",\"$ignore_sent_at\":true"), "2026-02-03T03:00:00Z" },
        { "offset", "/s", AT("\"offset\":5000", ""), "2026-02-03T04:05:01Z" },
        { "the first one's", "/s", "[" GOOD "," AT("\"timestamp\":\"2026-02-03T03:00:00Z\"", "") "]", "2026-02-03T04:05:06Z" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_int_equal(kit_ask(&kit, "POST", times[i].target, JSON, span_text(times[i].body), &answer), 200);
        assert_int_equal(take_replays(), 1);
        if (record.timestamp_us != us_of(times[i].time))
            fail_msg("%s", times[i].name);
    }
    assert_int_equal(kit_ask(&kit, "POST", "/s", JSON "X-Forwarded-For: 203.0.113.7\r\n",
                             SPAN(AT("\"uuid\":\"0195D3A0-0000-7000-8000-0000000000AB\"", ",\"$cookieless_mode\":true")), &answer), 200);
    assert_int_equal(take_replays(), 1);
    assert_int_equal(record.uuid.bytes[15], 0xab);
    assert_int_equal(record.flags, RECORD_COOKIELESS);
    assert_true(span_is(record.detail, "s-1") && span_is(record.ip, "203.0.113.7") && span_is(record.distinct_id, "u-1"));
    assert_int_equal(record.received_us, KIT_NOW_US);
    assert_int_equal(kit_ask(&kit, "POST", "/s", JSON, SPAN(AT("\"x\":1", ",\"capture_internal\":0")), &answer), 200);
    assert_int_equal(take_replays(), 1);
    assert_true(span_is(record.ip, "127.0.0.1"));
    assert_int_equal(record.flags, RECORD_UUID_MADE);
    assert_int_equal(record.uuid.bytes[6] >> 4, 7);
    /* White space is an id here. */
    assert_int_equal(kit_ask(&kit, "POST", "/s", JSON,
                             SPAN("{\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"  \",\"properties\":{" S1 ONE "}}"), &answer), 200);
    assert_int_equal(take_replays(), 1);
    assert_true(span_is(record.distinct_id, "  "));
    assert_int_equal(kit_ask(&kit, "POST", "/s", JSON,
                             SPAN("{\"token\":\"phc_alpha\",\"event\":\"e\",\"properties\":{\"distinct_id\":[\"a\\u0000\"]," S1 ONE "}}"), &answer), 200);
    assert_int_equal(take_replays(), 1);
    assert_true(span_is(record.distinct_id, "[\"a\\ufffd\"]"));
    assert_int_equal(kit_ask(&kit, "POST", "/s", JSON,
                             SPAN("{\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"a\\u0000b\",\"properties\":{" S1 ONE "}}"), &answer), 200);
    assert_int_equal(take_replays(), 1);
    assert_true(span_is(record.distinct_id, "a\xef\xbf\xbd" "b"));
}

/* 147, and how deep pages may be. */
static void sizes(void **state)
{
    size_t bytes = (size_t)26 << 20, at;
    char  *text = malloc(bytes + 400);

    (void)state;
    at = (size_t)sprintf(text, "{\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ",\"$snapshot_data\":[\"");
    memset(text + at, 'x', bytes);
    memcpy(text + bytes, "\"]}}", 4);
    kit_ask(&kit, "POST", "/s", JSON, span_of(text, bytes + 4), &answer);
    assert_int_equal(answer.status, 413); /* more than 25 MiB on the wire */
    memcpy(text + ((size_t)22 << 20), "\"]}}", 4);
    kit_ask(&kit, "POST", "/s", JSON, span_of(text, ((size_t)22 << 20) + 4), &answer);
    assert_int_equal(answer.status, 413); /* more than 20 MiB of JSON */
    assert_int_equal(take_replays(), 0);
    memcpy(text + ((size_t)19 << 20), "\"]}}", 4);
    kit_ask(&kit, "POST", "/s", JSON, span_of(text, ((size_t)19 << 20) + 4), &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(take_replays(), 1);
    assert_true(record.data.bytes > (size_t)19 << 20);
    at = (size_t)sprintf(text, "{\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"u-1\",\"properties\":{" S1 ",\"$snapshot_data\":[");
    for (int i = 0; i < 500; i++)
        at += (size_t)sprintf(text + at, "{\"childNodes\":[");
    for (int i = 0; i < 500; i++)
        at += (size_t)sprintf(text + at, "]}");
    at += (size_t)sprintf(text + at, "]}}");
    kit_ask(&kit, "POST", "/s", JSON, span_of(text, at), &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(take_replays(), 1);
    free(text);
}

static void in_force(const struct catalog_quota *quota, const struct catalog_restriction *restriction, bool set)
{
    static uint32_t id;
    struct catalog *catalog = kit_catalog_open(&kit);
    struct err      err = { 0 };

    if (quota != NULL)
        assert_int_equal((set ? catalog_quota_set : catalog_quota_remove)(catalog, quota, &err), 0);
    if (restriction != NULL)
        assert_int_equal(set ? catalog_restriction_add(catalog, restriction, &id, &err) : catalog_restriction_remove(catalog, id, &err), 0);
    kit_in_force(catalog);
    catalog_close(catalog);
}

static void rules(void **state)
{
    const struct catalog_quota       quota = { .project = 1, .token = SPAN(""), .resource = CATALOG_RECORDINGS, .until_us = KIT_NOW_US + 1000000 };
    const struct catalog_quota       events = { .project = 1, .token = SPAN(""), .resource = CATALOG_EVENTS, .until_us = KIT_NOW_US + 1000000 };
    const struct catalog_restriction drop = { .project = 1, .action = CATALOG_DROP, .event = SPAN("$snapshot_items"), .distinct_id = SPAN("u-1") };

    (void)state;
    in_force(&quota, NULL, true);
    kit_ask(&kit, "POST", "/s?beacon=1", JSON, SPAN(SNAPSHOT("")), &answer); /* 146, before anything is looked at */
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "{\"status\":\"Ok\",\"quota_limited\":[\"recordings\"]}");
    assert_int_equal(take_replays(), 0);
    kit_ask(&kit, "POST", "/e", JSON, SPAN(GOOD), &answer);
    assert_int_equal(kit_records(&kit), 1); /* an event is none */
    in_force(&quota, NULL, false);
    in_force(&events, &drop, true);
    kit_ask(&kit, "POST", "/s", JSON, SPAN(GOOD), &answer); /* 128, 129 */
    assert_string_equal(answer.body, OK);
    assert_int_equal(take_replays(), 0);
    kit_ask(&kit, "POST", "/s", JSON, SPAN("{\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"u-2\",\"properties\":{" S1 ONE "}}"), &answer);
    assert_int_equal(take_replays(), 1);
    in_force(&events, &drop, false);
}

static int start(void **state)
{
    struct err err = { 0 };

    (void)state;
    kit_init(&kit);
    kit.settings.replay_reserve_bytes = 0;
    kit_start(&kit);
    return log_reader_open(kit.log, "replay", 0, 0, &replays, &err);
}

static int stop(void **state)
{
    (void)state;
    log_reader_close(replays);
    free((void *)(uintptr_t)body.at);
    kit_stop(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(fields),
        cmocka_unit_test(sizes),
        cmocka_unit_test(rules),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
