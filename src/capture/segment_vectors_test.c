/* capture/segment_vectors_test.c - requests of Segment's API and what must come of them, through the whole server:
 * paths, keys, answers, times and ids. Expected values are docs/segment.md's. The clock stands at
 * 2026-02-03T04:05:06Z. What an event's properties become is segment_message_test.c's. */
#include "capture/capture_test_kit.h"
#include "wire/base64.h"
#include "wire/time.h"


#define AUTH "Authorization: Basic cGhjX2FscGhhOg==\r\n"        /* phc_alpha: */
#define AUTH_BARE "Authorization: basic cGhjX2FscGhh\r\n"       /* phc_alpha */
#define AUTH_NOBODY "Authorization: Basic cGhjX25vYm9keTp4\r\n" /* phc_nobody:x */
#define AUTH_EMPTY "Authorization: Basic Og==\r\n"              /* : */
#define KEY ",\"writeKey\":\"phc_alpha\""
#define UUID "022bb90c-bbac-11e4-8dfc-aa07a5b093db"
#define SENT ",\"sentAt\":\"2026-02-03T04:05:06.000Z\""
#define TRACK "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"x\",\"messageId\":\"" UUID "\"}"
#define BATCH(messages) "{\"batch\":[" messages "]" SENT "}"
#define OK "{\"success\":true}"
#define NOT(code) "{\"success\":false,\"code\":\"" code "\",\"message\":\"*"
/* BATCH(TRACK), as Python's gzip made it. */
#define GZIP                                                                                                          \
    "b64:H4sIAAAAAAACAx2Muw7CMBAE/+XqHNo4D4g7SnoqEMWdfYCEQCh2ECjKv2PoZne0O5NKDlfyx5ny52nkKY8SblTRlGzcxVJM"  \
    "JdjLHrnwu/DdUpKL/R2cUx0QWFUC17W1vInnwCJYS6cYmqi0nCpKZb/9PTi4nuEYzR6tR+fRrwAcaPkClSGajIwAAAA="

/* text: ended by `*`: its beginning. records: "event/distinct_id" each, with `@` of the historical topic, and
 * "!reason" of a rejected one. */
static const struct row { const char *name, *method, *path, *headers, *body; int status; const char *text, *records; } rows[] = {
    { "track", "POST", "/v1/track", AUTH, TRACK, 200, OK, "x/u" },
    { "a slash at the end", "POST", "/v1/track/", AUTH, TRACK, 200, OK, "x/u" },
    { "the browser's track, as text", "POST", "/v1/t", "Content-Type: text/plain\r\n" AUTH, TRACK, 200, OK, "x/u" },
    { "identify", "POST", "/v1/identify", AUTH, "{\"userId\":\"u\"}", 200, OK, "$identify/u" },
    { "the browser's identify", "POST", "/v1/i", AUTH, "{\"userId\":\"u\"}", 200, OK, "$identify/u" },
    { "page", "POST", "/v1/page", AUTH, "{\"userId\":\"u\"}", 200, OK, "$pageview/u" },
    { "the browser's page", "POST", "/v1/p", AUTH, "{\"userId\":\"u\"}", 200, OK, "$pageview/u" },
    { "screen", "POST", "/v1/screen", AUTH, "{\"userId\":\"u\"}", 200, OK, "$screen/u" },
    { "the browser's screen", "POST", "/v1/s", AUTH, "{\"userId\":\"u\"}", 200, OK, "$screen/u" },
    { "group", "POST", "/v1/group", AUTH, "{\"userId\":\"u\",\"groupId\":\"g\"}", 200, OK, "$groupidentify/u" },
    { "the browser's group", "POST", "/v1/g", AUTH, "{\"userId\":\"u\",\"groupId\":\"g\"}", 200, OK, "$groupidentify/u" },
    { "alias", "POST", "/v1/alias", AUTH, "{\"userId\":\"u\",\"previousId\":\"p\"}", 200, OK, "$create_alias/u" },
    { "the browser's alias", "POST", "/v1/a", AUTH, "{\"userId\":\"u\",\"previousId\":\"p\"}", 200, OK, "$create_alias/u" },
    { "batch", "POST", "/v1/batch", AUTH, BATCH(TRACK ",{\"type\":\"page\",\"userId\":\"v\"}"), 200, OK, "x/u $pageview/v" },
    { "the browser's batch", "POST", "/v1/b", AUTH, BATCH(TRACK), 200, OK, "x/u" },
    { "a leaving page of RudderStack's", "POST", "/beacon/v1/batch?writeKey=phc_alpha", "Content-Type: text/plain\r\n", BATCH(TRACK), 200,
      OK, "x/u" },
    { "import goes to the lane of imports", "POST", "/v1/import", AUTH, BATCH(TRACK), 200, OK, "@x/u" },
    { "gzip", "POST", "/v1/batch", "Content-Encoding: gzip\r\n" AUTH, GZIP, 200, OK, "x/u" },
    { "gzip, unsaid", "POST", "/v1/batch", AUTH, GZIP, 200, OK, "x/u" },
    { "the key in the body", "POST", "/v1/track", "", "{\"userId\":\"u\",\"event\":\"x\"" KEY "}", 200, OK, "x/u" },
    { "the key behind the batch", "POST", "/v1/batch", "", "{\"batch\":[" TRACK "]" KEY "}", 200, OK, "x/u" },
    { "the key without a colon", "POST", "/v1/t", AUTH_BARE, TRACK, 200, OK, "x/u" },
    { "the key in the body beside another kind of authorization", "POST", "/v1/t", "Authorization: Bearer abc\r\n",
      "{\"userId\":\"u\",\"event\":\"x\"" KEY "}", 200, OK, "x/u" },
    { "the key in the body beside an empty user", "POST", "/v1/t", AUTH_EMPTY, "{\"userId\":\"u\",\"event\":\"x\"" KEY "}", 200, OK,
      "x/u" },
    { "no key", "POST", "/v1/t", "", TRACK, 401, NOT("invalid_write_key"), "" },
    { "a key that nobody has", "POST", "/v1/t", AUTH_NOBODY, TRACK, 401, NOT("invalid_write_key"), "" },
    { "a key that nobody has, in the body", "POST", "/v1/t", "", "{\"userId\":\"u\",\"event\":\"x\",\"writeKey\":\"phc_nobody\"}", 401,
      NOT("invalid_write_key"), "" },
    { "no body", "POST", "/v1/t", AUTH, "", 400, NOT("invalid_request"), "" },
    { "no JSON", "POST", "/v1/t", AUTH, "{\"userId\":", 400, NOT("invalid_request"), "" },
    { "more than JSON", "POST", "/v1/t", AUTH, TRACK TRACK, 400, NOT("invalid_request"), "" },
    { "an array for a message", "POST", "/v1/t", AUTH, "[" TRACK "]", 400, NOT("invalid_request"), "" },
    { "no batch", "POST", "/v1/batch", AUTH, TRACK, 400, NOT("invalid_request"), "" },
    { "a batch that is none", "POST", "/v1/batch", AUTH, "{\"batch\":{}}", 400, NOT("invalid_request"), "" },
    { "an empty batch", "POST", "/v1/batch", AUTH, BATCH(""), 400, NOT("invalid_request"), "" },
    { "nobody", "POST", "/v1/track", AUTH, "{\"event\":\"x\"}", 400, NOT("no_user_anon_id"), "" },
    { "no name", "POST", "/v1/track", AUTH, "{\"userId\":\"u\"}", 400, NOT("no_event_name"), "" },
    { "a bad message harms only itself", "POST", "/v1/batch", AUTH,
      BATCH("{\"type\":\"track\",\"userId\":\"u\"},7," TRACK ",{\"type\":\"track\",\"event\":\"y\"},{\"type\":\"?\",\"userId\":\"u\"}"), 200,
      OK, "!req_hydration/u !req_parsing/ x/u !no_distinct_id/ !req_parsing/u" },
    { "all are bad", "POST", "/v1/batch", AUTH, BATCH("{\"type\":\"track\",\"userId\":\"u\"},7"), 400,
      "{\"success\":false,\"code\":\"no_event_name\",\"message\":\"message 0: event: a track message needs one\"}", "" },
    { "damaged gzip", "POST", "/v1/batch", AUTH, "b64:H4sIAAAAAAAC/w==", 400, NOT("invalid_request"), "" },
    { "another method", "GET", "/v1/t", AUTH, "", 405, NOT("method_not_allowed"), "" },
    { "another method, of the settings", "POST", "/v1/projects/phc_alpha/settings", AUTH, "{}", 405, NOT("method_not_allowed"), "" },
    { "two slashes at the end", "POST", "/v1/track//", AUTH, TRACK, 404, "", "" },
    { "another path", "POST", "/v1/tt", AUTH, TRACK, 404, "*", "" },
    { "half of a pair of surrogates", "POST", "/v1/t", AUTH, "{\"userId\":\"u\\ud800\",\"event\":\"x\"}", 200, OK, "x/u\xef\xbf\xbd" },
    { "what the browser SDK counts of itself", "POST", "/v1/m", "", "{\"series\":[]}", 200, OK, "" },
    { "settings", "GET", "/v1/projects/phc_alpha/settings", "", "", 200,
      "{\"integrations\":{\"Segment.io\":{\"apiKey\":\"phc_alpha\",\"apiHost\":\"t/v1\",\"protocol\":\"http\",*", "" },
    { "settings behind TLS", "GET", "/v1/projects/phc_alpha/settings/", "X-Forwarded-Proto: https\r\n", "", 200,
      "{\"integrations\":{\"Segment.io\":{\"apiKey\":\"phc_alpha\",\"apiHost\":\"t/v1\",\"protocol\":\"https\",*", "" },
    { "settings for a page of TLS", "GET", "/v1/projects/phc_alpha/settings", "Origin: https://a.b\r\n", "", 200,
      "{\"integrations\":{\"Segment.io\":{\"apiKey\":\"phc_alpha\",\"apiHost\":\"t/v1\",\"protocol\":\"https\",*", "" },
    { "settings of nobody", "GET", "/v1/projects/phc_nobody/settings", "", "", 404, NOT("invalid_write_key"), "" },
    { "settings of nothing", "GET", "/v1/projects//settings", "", "", 404, "", "" },
    { "RudderStack's source", "GET", "/sourceConfig/?p=npm&writeKey=phc_alpha", "", "", 200, "{\"source\":{\"id\":\"phc_alpha\",*", "" },
    { "RudderStack's source, by header", "GET", "/sourceConfig", AUTH, "", 200, "{\"source\":{\"id\":\"phc_alpha\",*", "" },
    { "RudderStack's source of nobody", "GET", "/sourceConfig/?writeKey=phc_nobody", "", "", 404, NOT("invalid_write_key"), "" },
    { "whether somebody blocks it", "HEAD", "/sourceConfig/?view=ad", "", "", 200, "*", "" },
};

static void test_rows(void **state)
{
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 4096);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        char              headers[512];
        int               status;

        (void)snprintf(headers, sizeof headers, "%s%s", strstr(row->headers, "Origin") == NULL ? "Origin: http://shop.example\r\n" : "",
                       row->headers);
        status = kit_ask(&kit, row->method, row->path, headers, kit_body(row->body, &scratch), &answer);
        if (status != row->status || !kit_text_fits(row->text, answer.body))
            fail_msg("%s: %d %s", row->name, status, answer.text);
        /* A browser sees no answer without it, and sends again. */
        if (strstr(answer.head, "\r\naccess-control-allow-origin: http") == NULL)
            fail_msg("%s: %s", row->name, answer.head);
        if (row->text[0] == '{' && strstr(answer.head, "\r\ncontent-type: application/json\r\n") == NULL)
            fail_msg("%s: %s", row->name, answer.head);
        kit_check_records(row->name, row->records);
    }
    buf_fini(&scratch);
}

static void test_preflight(void **state)
{
    static const char *const paths[] = { "/v1/t", "/v1/batch", "/beacon/v1/batch", "/sourceConfig/" };

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(kit_ask(&kit, "OPTIONS", paths[i],
                                 "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n"
                                 "Access-Control-Request-Headers: anonymousid,authorization,content-type\r\n",
                                 span_text(""), &answer), 200);
        assert_non_null(strstr(answer.head, "\r\naccess-control-allow-headers: anonymousid,authorization,content-type\r\n"));
        assert_non_null(strstr(answer.head, "\r\naccess-control-allow-origin: https://shop.example\r\n"));
        assert_non_null(strstr(answer.head, i == 3 ? "\r\naccess-control-allow-methods: GET,POST,OPTIONS\r\n"
                                                   : "\r\naccess-control-allow-methods: POST,OPTIONS\r\n"));
    }
}

/* --- times -------------------------------------------------------------------------------------- */

static const struct { const char *name, *message, *envelope, *time; int64_t sent_s; } times[] = {
    { "no time is now", "", "", "2026-02-03T04:05:06Z", -1 },
    { "a time alone is taken as it is", ",\"timestamp\":\"2026-02-03T03:00:00Z\"", "", "2026-02-03T03:00:00Z", -1 },
    { "a clock ten seconds ahead", ",\"timestamp\":\"2026-02-03T03:00:00Z\"", ",\"sentAt\":\"2026-02-03T04:05:16Z\"",
      "2026-02-03T02:59:50Z", 1770091516 },
    { "the message's own sentAt counts", ",\"timestamp\":\"2026-02-03T03:00:00Z\",\"sentAt\":\"2026-02-03T04:05:16Z\"",
      ",\"sentAt\":\"2026-02-03T05:05:06Z\"", "2026-02-03T02:59:50Z", 1770091516 },
    { "originalTimestamp when there is no other", ",\"originalTimestamp\":\"2026-02-03T03:00:00Z\"", "", "2026-02-03T03:00:00Z", -1 },
    { "timestamp before originalTimestamp",
      ",\"originalTimestamp\":\"2026-02-03T03:00:00Z\",\"timestamp\":\"2026-02-01T03:00:00Z\"", "", "2026-02-01T03:00:00Z", -1 },
    { "a time that is none", ",\"originalTimestamp\":\"2026-02-03T03:00:00Z\",\"timestamp\":\"soon\"", "", "2026-02-03T03:00:00Z", -1 },
    { "milliseconds", ",\"timestamp\":1770087600000", "", "2026-02-03T03:00:00Z", -1 },
    { "a sentAt that is none", ",\"timestamp\":\"2026-02-03T03:00:00Z\",\"sentAt\":\"x\"", "", "2026-02-03T03:00:00Z", -1 },
    { "uncorrected when asked", ",\"timestamp\":\"2026-02-03T03:00:00Z\",\"properties\":{\"$ignore_sent_at\":true}",
      ",\"sentAt\":\"2026-02-03T04:05:16Z\"", "2026-02-03T03:00:00Z", 1770091516 },
};

static void test_times(void **state)
{
    char       body[1024];
    struct buf text;

    (void)state;
    buf_init(&text, 64);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        (void)snprintf(body, sizeof body, "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"%s}]%s}", times[i].message, times[i].envelope);
        assert_int_equal(kit_ask(&kit, "POST", "/v1/batch", AUTH, span_text(body), &answer), 200);
        assert_int_equal(kit_records(&kit), 1);
        buf_reset(&text);
        time_write_rfc3339(&text, kit.records[0].timestamp_us);
        if (!span_is(buf_span(&text), times[i].time))
            fail_msg("%s: %.*s", times[i].name, SPAN_ARG(buf_span(&text)));
        if (kit.records[0].sent_at_us != (times[i].sent_s < 0 ? CLOCK_NONE : times[i].sent_s * 1000000))
            fail_msg("%s: sent at %lld", times[i].name, (long long)kit.records[0].sent_at_us);
    }
    buf_fini(&text);
}

/* --- ids ---------------------------------------------------------------------------------------- */

static struct uuid uuid_after(const char *message, const char *envelope, unsigned flags)
{
    char body[1024];

    (void)snprintf(body, sizeof body, "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"%s}]%s}", message, envelope);
    assert_int_equal(kit_ask(&kit, "POST", "/v1/batch", AUTH, span_text(body), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_int_equal(kit.records[0].flags, flags);
    return kit.records[0].uuid;
}

#define AT ",\"timestamp\":\"2026-02-03T03:00:00Z\""

/* A request sent again has another sentAt, another number of the try, other neighbours; the id is the same. */
static void test_ids(void **state)
{
    struct uuid wanted, first, again;

    (void)state;
    assert_true(uuid_parse(SPAN(UUID), &wanted));
    first = uuid_after(",\"messageId\":\"" UUID "\"", "", 0);
    assert_true(uuid_equal(&first, &wanted));
    first = uuid_after(",\"messageId\":\"022BB90C-BBAC-11E4-8DFC-AA07A5B093DB\"", "", 0);
    assert_true(uuid_equal(&first, &wanted));

    first = uuid_after(",\"messageId\":\"ajs-next-1\"" AT, SENT, RECORD_UUID_DERIVED);
    again = uuid_after(",\"messageId\":\"ajs-next-1\"" AT ",\"_metadata\":{\"retryCount\":1}", ",\"sentAt\":\"2026-02-03T04:05:09Z\"",
                       RECORD_UUID_DERIVED);
    assert_true(uuid_equal(&first, &again));
    assert_int_equal(uuid_version(&first), 7);
    again = uuid_after(",\"messageId\":\"ajs-next-2\"" AT, SENT, RECORD_UUID_DERIVED);
    assert_false(uuid_equal(&first, &again));

    first = uuid_after(",\"messageId\":\"m\"", "", RECORD_UUID_DERIVED); /* without a time too */
    again = uuid_after(",\"messageId\":\"m\"", SENT, RECORD_UUID_DERIVED);
    assert_true(uuid_equal(&first, &again));

    first = uuid_after(",\"messageId\":12" AT, "", RECORD_UUID_DERIVED); /* a number is its digits */
    again = uuid_after(",\"messageId\":12" AT SENT, "", RECORD_UUID_DERIVED);
    assert_true(uuid_equal(&first, &again));
    again = uuid_after(",\"messageId\":13" AT, "", RECORD_UUID_DERIVED);
    assert_false(uuid_equal(&first, &again));

    first = uuid_after(AT, "", RECORD_UUID_DERIVED); /* of the content, as on the other endpoints */
    again = uuid_after(AT, SENT, RECORD_UUID_DERIVED);
    assert_true(uuid_equal(&first, &again));
    first = uuid_after(AT SENT, "", RECORD_UUID_DERIVED); /* but for the message's own sentAt */
    again = uuid_after(AT ",\"sentAt\":\"2026-02-03T04:05:09.5Z\"", "", RECORD_UUID_DERIVED);
    assert_true(uuid_equal(&first, &again));
    again = uuid_after(AT SENT ",\"x\":1", "", RECORD_UUID_DERIVED);
    assert_false(uuid_equal(&first, &again));
    first = uuid_after("", "", RECORD_UUID_MADE);
    again = uuid_after("", "", RECORD_UUID_MADE);
    assert_false(uuid_equal(&first, &again));
}

/* A bad message beside a good one, sent again: letters of one uuid, so that who repairs and replays both stores one event. */
static void test_ids_of_bad(void **state)
{
    static const struct { const char *bad; bool same; } bads[] = {
        { "{\"type\":\"track\",\"userId\":\"u\",\"messageId\":\"ajs-next-9\"" AT "}", true },
        { "{\"type\":\"track\",\"userId\":\"u\",\"messageId\":\"ajs-next-9\"}", true },
        { "{\"type\":\"track\",\"event\":\"x\",\"messageId\":\"" UUID "\"}", true },
        { "{\"type\":\"?\",\"userId\":\"u\"" AT "}", true },
        { "{\"type\":\"?\",\"userId\":\"u\"}", false },
        { "7", false },
    };
    char        body[1024];
    struct uuid first;

    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++)
        for (int again = 0; again < 2; again++) {
            (void)snprintf(body, sizeof body, "{\"batch\":[" TRACK ",%s],\"sentAt\":\"2026-02-03T04:05:0%dZ\"}", bads[i].bad, again);
            assert_int_equal(kit_ask(&kit, "POST", "/v1/batch", AUTH, span_text(body), &answer), 200);
            assert_int_equal(kit_records(&kit), 2);
            assert_int_equal(kit.records[1].kind, RECORD_REJECTED);
            if (again == 0)
                first = kit.records[1].uuid;
            else if (uuid_equal(&first, &kit.records[1].uuid) != bads[i].same)
                fail_msg("%s", bads[i].bad);
        }
}

/* The same messageId under another key is another event. */
static void test_ids_of_others(void **state)
{
    struct uuid first;

    (void)state;
    assert_int_equal(kit_ask(&kit, "POST", "/v1/p", "", span_text("{\"userId\":\"u\",\"messageId\":\"m\"" KEY "}"), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
    first = kit.records[0].uuid;
    assert_int_equal(kit_ask(&kit, "POST", "/v1/p", "", span_text("{\"userId\":\"u\",\"messageId\":\"m\",\"writeKey\":\"phc_beta\"}"), &answer),
                     200);
    assert_int_equal(kit_records(&kit), 1);
    assert_false(uuid_equal(&first, &kit.records[0].uuid));
}

/* --- addresses, sizes --------------------------------------------------------------------------- */

static void test_addresses(void **state)
{
    static const struct { const char *message, *ip; } senders[] = {
        { "{\"userId\":\"u\"}", "203.0.113.7" },
        { "{\"userId\":\"u\",\"context\":{\"library\":{\"name\":\"@segment/analytics-node\"}}}", "" },
        { "{\"userId\":\"u\",\"context\":{\"library\":{\"name\":\"@segment/analytics-node\"},\"direct\":true}}", "203.0.113.7" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
        assert_int_equal(kit_ask(&kit, "POST", "/v1/p", AUTH "X-Forwarded-For: 203.0.113.7\r\n", span_text(senders[i].message), &answer), 200);
        assert_int_equal(kit_records(&kit), 1);
        if (!span_is(kit.records[0].ip, senders[i].ip))
            fail_msg("%s: %.*s", senders[i].message, SPAN_ARG(kit.records[0].ip));
    }
}

static void test_sizes(void **state)
{
    static char large[2 << 20];
    size_t      bytes = (size_t)kit.settings.event_bytes_max;
    int         head = snprintf(large, sizeof large, "{\"userId\":\"u\",\"properties\":{\"x\":\"");

    (void)state;
    memset(large + head, 'x', bytes);
    memcpy(large + bytes - 3, "\"}}", 3);
    assert_int_equal(kit_ask(&kit, "POST", "/v1/p", AUTH, span_of(large, bytes), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_true(kit.records[0].data.bytes > bytes);
    memset(large + bytes - 3, 'x', 4);
    memcpy(large + bytes - 2, "\"}}", 3);
    assert_int_equal(kit_ask(&kit, "POST", "/v1/p", AUTH, span_of(large, bytes + 1), &answer), 413);
    assert_true(kit_text_fits(NOT("payload_too_large"), answer.body));
    assert_int_equal(kit_records(&kit), 0);
    /* One large message among others is kept aside, cut. */
    head = snprintf(large, sizeof large, "{\"batch\":[" TRACK ",{\"type\":\"page\",\"userId\":\"u\",\"x\":\"");
    memset(large + head, 'x', bytes);
    memcpy(large + (size_t)head + bytes, "\"}]}", 4);
    assert_int_equal(kit_ask(&kit, "POST", "/v1/batch", AUTH, span_of(large, (size_t)head + bytes + 4), &answer), 200);
    assert_int_equal(kit_records(&kit), 2);
    assert_int_equal(kit.records[1].kind, RECORD_REJECTED);
    assert_int_equal(kit.records[1].rejection, RECORD_REJECTED_TOO_LARGE);
    assert_int_equal(kit.records[1].data.bytes, 64 << 10);
}

/* A context that a batch gives all its messages counts for the size of each. */
static void test_inherited_size(void **state)
{
    static const char *const names[] = { "context", "integrations" };
    static char              large[2 << 20];
    size_t                   bytes = (size_t)kit.settings.event_bytes_max;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int head = snprintf(large, sizeof large, "{\"%s\":{\"x\":\"", names[i]);

        memset(large + head, 'x', bytes);
        (void)snprintf(large + (size_t)head + bytes, sizeof large - (size_t)head - bytes, "\"},\"batch\":[" TRACK "," TRACK "]}");
        assert_int_equal(kit_ask(&kit, "POST", "/v1/batch", AUTH, span_text(large), &answer), 413);
        assert_int_equal(kit_records(&kit), 0);
    }
}

/* The message that grows most: the type of its group stands in three places. And the name that grows most by escapes. */
static void test_growth(void **state)
{
    static char large[2 << 20];
    size_t      bytes = (size_t)kit.settings.event_bytes_max - 60;
    int         head = snprintf(large, sizeof large, "{\"userId\":\"u\",\"groupId\":1,\"traits\":{\"groupType\":\"");

    (void)state;
    memset(large + head, 'x', bytes - (size_t)head);
    (void)snprintf(large + bytes, sizeof large - bytes, "\"}}");
    assert_int_equal(kit_ask(&kit, "POST", "/v1/g", AUTH, span_text(large), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
    assert_true(kit.records[0].data.bytes > 2900000);
    head = snprintf(large, sizeof large, "{\"userId\":\"u\",\"event\":\"");
    for (size_t i = (size_t)head; i + 1 < bytes; i += 2)
        memcpy(large + i, "\\b", 2);
    (void)snprintf(large + (size_t)head + (bytes - (size_t)head) / 2 * 2, 100, "\"}");
    assert_int_equal(kit_ask(&kit, "POST", "/v1/t", AUTH, span_text(large), &answer), 200);
    assert_int_equal(kit_records(&kit), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows),      cmocka_unit_test(test_preflight),
                                        cmocka_unit_test(test_times),     cmocka_unit_test(test_ids),
                                        cmocka_unit_test(test_ids_of_bad), cmocka_unit_test(test_ids_of_others), cmocka_unit_test(test_addresses),
                                        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_inherited_size),
                                        cmocka_unit_test(test_growth) };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
