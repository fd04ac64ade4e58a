/* capture/v1_vectors_test.c - v1 requests and what must come of them, through the whole server. Expected
 * values are the protocol's, not ours. The clock stands at 2026-02-03T04:05:06Z. */
#include "capture/capture_test_kit.h"
#include "wire/base64.h"
#include "wire/time.h"


#define PATH "/i/v1/analytics/events"
#define ID "7d0e8f3a-1111-4222-8333-944455556666"
#define AUTH "Authorization: Bearer phc_alpha\r\n"
#define TYPE "Content-Type: application/json\r\n"
#define AGENT "User-Agent: t/1\r\n"
#define SDK "PostHog-Sdk-Info: @acme/node/1.2\r\n"
#define ATTEMPT "PostHog-Attempt: 1\r\n"
#define RID "PostHog-Request-Id: " ID "\r\n"
#define SENT "PostHog-Request-Timestamp: 2026-02-03T04:05:06Z\r\n"
#define ALL AUTH TYPE AGENT SDK ATTEMPT RID SENT
#define EXCEPT_AUTH TYPE AGENT SDK ATTEMPT RID SENT
#define EXCEPT_TYPE AUTH AGENT SDK ATTEMPT RID SENT

#define CREATED "\"created_at\":\"2026-02-03T04:05:06Z\""
#define U1 "0190f3a1-7c0e-7cc1-9d0e-5b6a2f3c4d5f"
#define U2 "0190f3a1-7c0e-7cc1-9d0e-000000000002"
#define U3 "0190f3a1-7c0e-7cc1-9d0e-000000000003"
#define U4 "0190f3a1-7c0e-7cc1-9d0e-000000000004"
#define U5 "0190f3a1-7c0e-7cc1-9d0e-000000000005"
#define U6 "0190f3a1-7c0e-7cc1-9d0e-000000000006"
#define TIME "\"2026-02-03T03:00:00Z\""
#define BATCH(events) "{" CREATED ",\"batch\":[" events "]}"
/* name, uuid and distinct_id as JSON; more begins with a comma */
#define EVENT(name, uuid, id, more)                                                                                   \
    "{\"event\":" name ",\"uuid\":\"" uuid "\",\"distinct_id\":" id ",\"timestamp\":" TIME more "}"
#define GOOD EVENT("\"signup\"", U1, "\"u-1\"", ",\"options\":{},\"properties\":{\"a\":1}")
#define RESULT(uuid, result) "\"" uuid "\":{\"result\":\"" result "\"}"
#define DETAIL(uuid, result, details) "\"" uuid "\":{\"result\":\"" result "\",\"details\":\"" details "\"}"
#define RESULTS(results) "{\"results\":{" results "}}"
#define OK1 RESULTS(RESULT(U1, "ok"))
#define ERROR(tag) "{\"error\":\"" tag "\",\"error_description\":\"*"
#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X200 X100 X100

/* BATCH(GOOD), as gzip, zlib and raw deflate (Python), br (node) and zstd (its own tool) made it. */
#define B1_GZIP                                                                                                       \
    "b64:H4sIAAAAAAACA12NsQ7DIAxE/8VzkAwkqcJ3dGpVRQSclqEEBdMl4t9LOlayLL/zne4At5Nl8rNlMKBQjQKVQH3F3uBgcLxBB4tl9wJzP4A+"  \
    "FE9jDs9YUnuVEnxjlBOu2kpxcUhtOSkm365hGa1atev9sDa3D5lDdDz/QkXIpnF4U2b7Tn/92iC2Ofu3xGGLGcxRO0j7lmjnQCeDBSNrfdQvVSCl1skA" \
    "AAA="
#define B1_ZLIB                                                                                                       \
    "b64:eNpdjbEOwyAMRP/Fc5AMJKnCd3RqVUUEnJahBAXTJeLfSzpWsiy/853uALeTZfKzZTCgUI0ClUB9xd7gYHC8QQeLZfcCcz+APhRPYw7PWFJ7lRJ8" \
    "Y5QTrtpKcXFIbTkpJt+uYRmtWrXr/bA2tw+ZQ3Q8/0JFyKZxeFNm+05//dogtjn7t8RhixnMUTtI+5Zo50AngwUja33UL9XQOy8="
#define B1_RAW                                                                                                        \
    "b64:XY2xDsMgDET/xXOQDCSpwnd0alVFBJyWoQQF0yXi30s6VrIsv/Od7gC3k2Xys2UwoFCNApVAfcXe4GBwvEEHi2X3AnM/gD4UT2MOz1hSe5USfGOU" \
    "E67aSnFxSG05KSbfrmEZrVq16/2wNrcPmUN0PP9CRcimcXhTZvtOf/3aILY5+7fEYYsZzFE7SPuWaOdAJ4MFI2t91C8="
#define B1_ZSTD                                                                                                       \
    "b64:KLUv/QRorQQAooogGXBvDna0iJrltoW13vyqzn45rdG0AvV/CAGZkmVvD8+zKZ4kanrLsH0VSbMnSXVVN5gg2BVDs9/+nLV0jGZXU769GaQQgwaA" \
    "BDM4Vmm4F1lj4R4MGjWefi+nZb19siJnVt93xBcfS/ZPbMi8HSF0B11Bj0AdoI4AFPi+4SK5IVPxWAUAZkaDwBiYrsCqJRWAEgUhS2C7"
#define B1_BR                                                                                                         \
    "b64:G8gAIIzUYk2Z7gRBm6r86yRlbCUzhy+Ko1h0np62LFBoa4uT1ryFSR7SSb+rXW+4kuOjyDIfK+RkcSeH01qhWqE1+CJsEq4H+/Y/Xg6F1kH2eQty" \
    "/k4iZBS33mTrD3FBjoDi+dvublO3Psxpb/CtoEvdyK0EWt1GAA0CBRM6sNQGosnCZiVrnSo="

/* text: ended by `*`: its beginning. records: "event/distinct_id" each. */
static const struct row { const char *name, *headers, *body; int status; const char *text, *records; } rows[] = {
    { "149", ALL, BATCH(GOOD), 200, OK1, "signup/u-1" },
    { "150 no Authorization", EXCEPT_AUTH, BATCH(GOOD), 401, ERROR("missing_authorization"), "" },
    { "150 alone", "", BATCH(GOOD), 401, ERROR("missing_authorization"), "" },
    { "150 Basic", EXCEPT_AUTH "Authorization: Basic x\r\n", BATCH(GOOD), 400, ERROR("invalid_header_value"), "" },
    { "150 Bearerphc_alpha", EXCEPT_AUTH "Authorization: Bearerphc_alpha\r\n", BATCH(GOOD), 400,
      ERROR("invalid_header_value"), "" },
    { "150 personal key", EXCEPT_AUTH "Authorization: Bearer phx_a\r\n", BATCH(GOOD), 401, ERROR("invalid_api_token"), "" },
    { "150 empty token", EXCEPT_AUTH "Authorization: Bearer \r\n", BATCH(GOOD), 401, ERROR("invalid_api_token"), "" },
    { "150 nobody's token", EXCEPT_AUTH "Authorization: Bearer phc_nobody\r\n", BATCH(GOOD), 401,
      ERROR("invalid_api_token"), "" },
    { "150 before all others", "Authorization: Bearer phx_a\r\n", "", 401, ERROR("invalid_api_token"), "" },
    { "150 scheme in any case", EXCEPT_AUTH "Authorization: bEARER  phc_beta \r\n", BATCH(GOOD), 200, OK1, "signup/u-1" },
    { "151", AUTH TYPE SDK RID SENT, BATCH(GOOD), 400,
      "{\"error\":\"missing_required_headers\",\"error_description\":\"missing required headers: User-Agent, "
      "PostHog-Attempt\",\"error_uri\":\"https://posthog.com/docs/api\"}",
      "" },
    { "151 all", AUTH TYPE, BATCH(GOOD), 400,
      "{\"error\":\"missing_required_headers\",\"error_description\":\"missing required headers: User-Agent, PostHog-Sdk-Info, "
      "PostHog-Attempt, PostHog-Request-Id, PostHog-Request-Timestamp\",\"error_uri\":\"https://posthog.com/docs/api\"}",
      "" },
    { "attempt 0", AUTH TYPE AGENT SDK "PostHog-Attempt: 0\r\n" RID SENT, BATCH(GOOD), 400, ERROR("invalid_header_value"), "" },
    { "attempt -1", AUTH TYPE AGENT SDK "PostHog-Attempt: -1\r\n" RID SENT, BATCH(GOOD), 400, ERROR("invalid_header_value"),
      "" },
    { "attempt 2", AUTH TYPE AGENT SDK "PostHog-Attempt: 2\r\n" RID SENT, BATCH(GOOD), 200, OK1, "signup/u-1" },
    { "request id", AUTH TYPE AGENT SDK ATTEMPT "PostHog-Request-Id: 7\r\n" SENT, BATCH(GOOD), 400,
      ERROR("invalid_header_value"), "" },
    { "request timestamp", AUTH TYPE AGENT SDK ATTEMPT RID "PostHog-Request-Timestamp: 1770091506\r\n", BATCH(GOOD), 400,
      ERROR("invalid_header_value"), "" },
    { "152 text/plain", EXCEPT_TYPE "Content-Type: text/plain\r\n", BATCH(GOOD), 415, ERROR("unsupported_content_type"), "" },
    { "no type", EXCEPT_TYPE, BATCH(GOOD), 415, ERROR("unsupported_content_type"), "" },
    { "type with parameters", EXCEPT_TYPE "Content-Type: Application/JSON ; charset=utf-8\r\n", BATCH(GOOD), 200, OK1,
      "signup/u-1" },
    { "152 lz4", ALL "Content-Encoding: lz4\r\n", BATCH(GOOD), 415, ERROR("unsupported_encoding"), "" },
    { "152 empty body", ALL, "", 400, ERROR("empty_body"), "" },
    { "152 empty batch", ALL, BATCH(""), 400, ERROR("empty_batch"), "" },
    { "152 created_at", ALL, "{\"created_at\":\"today\",\"batch\":[" GOOD "]}", 400, ERROR("invalid_batch"), "" },
    { "no created_at", ALL, "{\"batch\":[" GOOD "]}", 400, ERROR("request_parsing_error"), "" },
    { "no batch", ALL, "{" CREATED "}", 400, ERROR("request_parsing_error"), "" },
    { "batch is an object", ALL, "{" CREATED ",\"batch\":{}}", 400, ERROR("request_parsing_error"), "" },
    { "an array", ALL, "[" GOOD "]", 400, ERROR("request_parsing_error"), "" },
    { "cut off", ALL, "{" CREATED ",\"batch\":[", 400, ERROR("request_parsing_error"), "" },
    { "more behind", ALL, BATCH(GOOD) "{}", 400, ERROR("request_parsing_error"), "" },
    { "unknown members", ALL, "{\"x\":[1]," CREATED ",\"batch\":[" GOOD "],\"y\":{}}", 200, OK1, "signup/u-1" },
    { "historical_migration 1", ALL, "{" CREATED ",\"historical_migration\":1,\"batch\":[" GOOD "]}", 400,
      ERROR("request_parsing_error"), "" },
    { "no timestamp", ALL, BATCH("{\"event\":\"a\",\"uuid\":\"" U1 "\",\"distinct_id\":\"u\"}"), 400,
      ERROR("request_parsing_error"), "" },
    { "distinct id is a number", ALL, BATCH(EVENT("\"a\"", U1, "7", "")), 400, ERROR("request_parsing_error"), "" },
    { "name is null", ALL, BATCH(EVENT("null", U1, "\"u\"", "")), 400, ERROR("request_parsing_error"), "" },
    { "session_id is a number", ALL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"session_id\":1")), 400,
      ERROR("request_parsing_error"), "" },
    { "an event is a number", ALL, BATCH(GOOD ",7"), 400, ERROR("request_parsing_error"), "" },
    { "uuid empty", ALL, BATCH(EVENT("\"a\"", " ", "\"u\"", "")), 400, ERROR("missing_event_uuid"), "" },
    { "uuid is none", ALL, BATCH(EVENT("\"a\"", "1234", "\"u\"", "")), 400, ERROR("invalid_event_uuid"), "" },
    { "uuid twice", ALL, BATCH(GOOD "," EVENT("\"b\"", U2, "\"u\"", "") "," EVENT("\"c\"", U1, "\"u\"", "")), 400,
      ERROR("duplicate_event_uuid"), "" },
    { "uuid twice, spelled otherwise", ALL, BATCH(GOOD "," EVENT("\"b\"", "0190F3A17C0E7CC19D0E5B6A2F3C4D5F", "\"u\"", "")),
      400, ERROR("duplicate_event_uuid"), "" },
    { "uuid is told canonically", ALL, BATCH(EVENT("\"a\"", " {0190F3A1-7C0E-7CC1-9D0E-5B6A2F3C4D5F} ", "\"u\"", "")), 200, OK1,
      "a/u" },
    { "154", ALL,
      BATCH(GOOD "," EVENT("\"\"", U2, "\"u\"", "") "," EVENT("\"c\"", U3, "\"" X200 "x\"", "")
            ",{\"event\":\"d\",\"uuid\":\"" U4 "\",\"distinct_id\":\"u\",\"timestamp\":\"today\"},"
            EVENT("\"e\"", U5, "\"u\"", ",\"properties\":[1]") "," EVENT("\"f\"", U6, "\"u\"", ",\"options\":7")),
      200,
      RESULTS(RESULT(U1, "ok") "," DETAIL(U2, "drop", "missing_event_name") "," DETAIL(U3, "drop", "distinct_id_too_large") ","
              DETAIL(U4, "drop", "invalid_event_timestamp") "," DETAIL(U5, "drop", "malformed_event_properties") ","
              DETAIL(U6, "drop", "invalid_options")),
      "signup/u-1" },
    { "all dropped", ALL, BATCH(EVENT("\"\"", U1, "\"u\"", "")), 200, RESULTS(DETAIL(U1, "drop", "missing_event_name")), "" },
    { "longest name", ALL, BATCH(EVENT("\"" X200 "\"", U1, "\"" X200 "\"", "")), 200, OK1, X200 "/" X200 },
    { "name too long", ALL, BATCH(EVENT("\"" X200 "x\"", U1, "\"u\"", "")), 200,
      RESULTS(DETAIL(U1, "drop", "event_name_too_long")), "" },
    { "blank distinct id", ALL, BATCH(EVENT("\"a\"", U1, "\" \\t\xc2\xa0\"", "")), 200,
      RESULTS(DETAIL(U1, "drop", "missing_distinct_id")), "" },
    { "distinct id is trimmed", ALL, BATCH(EVENT("\"a\"", U1, "\"\xc2\xa0 u 1\\n\xe3\x80\x80\"", "")), 200, OK1, "a/u 1" },
    { "bytes, not characters", ALL, BATCH(EVENT("\"a\"", U1, "\"" X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxxxxxxxx\xc5\x82\"", "")),
      200, RESULTS(DETAIL(U1, "drop", "distinct_id_too_large")), "" },
    { "Unix time", ALL, BATCH("{\"event\":\"d\",\"uuid\":\"" U1 "\",\"distinct_id\":\"u\",\"timestamp\":\"1770091506\"}"), 200,
      RESULTS(DETAIL(U1, "drop", "invalid_event_timestamp")), "" },
    { "$performance_event", ALL, BATCH(EVENT("\"$performance_event\"", U1, "\"u\"", "")), 200,
      RESULTS(DETAIL(U1, "drop", "performance_event")), "" },
    { "properties null", ALL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"properties\":null")), 200,
      RESULTS(DETAIL(U1, "drop", "malformed_event_properties")), "" },
    { "switch of another word", ALL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"options\":{\"cookieless_mode\":\"yes\"}")), 200,
      RESULTS(DETAIL(U1, "drop", "invalid_options")), "" },
    { "switch is a list", ALL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"options\":{\"process_person_profile\":[]}")), 200,
      RESULTS(DETAIL(U1, "drop", "invalid_options")), "" },
    { "tour 1.5", ALL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"options\":{\"product_tour_id\":1.5}")), 200,
      RESULTS(DETAIL(U1, "drop", "invalid_options")), "" },
    { "155", ALL, BATCH(EVENT("\"a\"", U1, "\"Anonymous\"", "")), 200,
      RESULTS(DETAIL(U1, "ok", "person_processing_disabled")), "a/Anonymous" },
    { "155 object", ALL, BATCH(EVENT("\"a\"", U1, "\"[object Object]\"", "")), 200,
      RESULTS(DETAIL(U1, "ok", "person_processing_disabled")), "a/[object Object]" },
    { "155 zero", ALL, BATCH(EVENT("\"a\"", U1, "\"00000000-0000-0000-0000-000000000000\"", "")), 200,
      RESULTS(DETAIL(U1, "ok", "person_processing_disabled")), "a/00000000-0000-0000-0000-000000000000" },
    { "159 gzip", ALL "Content-Encoding: gzip\r\n", B1_GZIP, 200, OK1, "signup/u-1" },
    { "159 zlib", ALL "Content-Encoding: deflate\r\n", B1_ZLIB, 200, OK1, "signup/u-1" },
    { "159 raw deflate", ALL "Content-Encoding: Deflate\r\n", B1_RAW, 200, OK1, "signup/u-1" },
    { "159 br", ALL "Content-Encoding: br\r\n", B1_BR, 200, OK1, "signup/u-1" },
    { "159 zstd", ALL "Content-Encoding: zstd\r\n", B1_ZSTD, 200, OK1, "signup/u-1" },
    { "not gzip", ALL "Content-Encoding: gzip\r\n", BATCH(GOOD), 400, ERROR("request_decoding_error"), "" },
    { "gzip, not said", ALL, B1_GZIP, 400, ERROR("request_parsing_error"), "" },
    { "packed nothing", ALL "Content-Encoding: br\r\n", "b64:Ow==", 400, ERROR("empty_body"), "" },
};

static bool head_has(const char *line)
{
    return strstr(answer.head, line) != NULL;
}

static void test_rows(void **state)
{
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 4096);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        int               status = kit_ask(&kit, "POST", i % 2 == 0 ? PATH : PATH "/", row->headers,
                                           kit_body(row->body, &scratch), &answer);

        if (status != row->status || !kit_text_fits(row->text, answer.body))
            fail_msg("%s: %d %s", row->name, status, answer.body);
        if (!head_has("\r\ncontent-type: application/json\r\n") || !head_has("\r\ndate: Tue, 03 Feb 2026 04:05:06 GMT\r\n"))
            fail_msg("%s: %s", row->name, answer.head);
        if (strstr(row->headers, RID) != NULL && !head_has("\r\nposthog-request-id: " ID "\r\n"))
            fail_msg("%s: the id is not echoed: %s", row->name, answer.head);
        kit_check_records(row->name, row->records);
    }
    buf_fini(&scratch);
}

/* --- what is stored ---------------------------------------------------------------------------- */

#define DATA(event, id, properties)                                                                                   \
    "{\"event\":" event ",\"distinct_id\":" id ",\"uuid\":\"" U1 "\",\"properties\":{" properties "},\"timestamp\":" TIME "}"
#define LIB "\"$lib\":\"@acme/node\",\"$lib_version\":\"1.2\""

/* headers NULL: ALL. time: in UTC, as stored. */
static const struct { const char *name, *headers, *body, *data; unsigned flags; const char *time; } stored[] = {
    { "plain", NULL, BATCH(GOOD), DATA("\"signup\"", "\"u-1\"", "\"a\":1," LIB), 0, "2026-02-03T03:00:00Z" },
    { "no properties", NULL, BATCH(EVENT("\"a\"", U1, "\"u\"", "")), DATA("\"a\"", "\"u\"", LIB), 0, "2026-02-03T03:00:00Z" },
    { "empty properties", NULL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"properties\":{ \n}")), DATA("\"a\"", "\"u\"", " \n" LIB), 0,
      "2026-02-03T03:00:00Z" },
    { "bytes as sent", NULL,
      BATCH(EVENT("\"\\u0061\"", U1, "\" u\"",
                  ",\"properties\":{\"n\": 314159265358979323846264338327,\"e\":1E+2,\"s\":\"\\u00e9\\/\",\"n\":-0 }")),
      DATA("\"\\u0061\"", "\" u\"", "\"n\": 314159265358979323846264338327,\"e\":1E+2,\"s\":\"\\u00e9\\/\",\"n\":-0 ," LIB), 0,
      "2026-02-03T03:00:00Z" },
    { "everything injected", NULL,
      BATCH(EVENT("\"a\"", U1, "\"u\"",
                  ",\"session_id\":\"s-\\u0031\",\"window_id\":\"w\",\"options\":{\"cookieless_mode\":true,"
                  "\"disable_skew_correction\":false,\"process_person_profile\":true,\"product_tour_id\":12345678901234567890,"
                  "\"other\":{}},\"properties\":{\"$lib\":\"x\"}")),
      DATA("\"a\"", "\"u\"",
           "\"$lib\":\"x\",\"$session_id\":\"s-\\u0031\",\"$window_id\":\"w\",\"$cookieless_mode\":true,\"$ignore_sent_at\":false,"
           "\"$product_tour_id\":12345678901234567890,\"$process_person_profile\":true," LIB),
      RECORD_COOKIELESS, "2026-02-03T03:00:00Z" },
    { "switches as text and numbers", NULL,
      BATCH(EVENT("\"a\"", U1, "\"u\"",
                  ",\"options\":{\"cookieless_mode\":\"0\",\"disable_skew_correction\":1,\"process_person_profile\":\"false\","
                  "\"product_tour_id\":\"t\"}")),
      DATA("\"a\"", "\"u\"",
           "\"$cookieless_mode\":false,\"$ignore_sent_at\":true,\"$product_tour_id\":\"t\",\"$process_person_profile\":false," LIB),
      0, "2026-02-03T03:00:00Z" },
    { "nulls", NULL,
      BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"session_id\":null,\"window_id\":null,\"options\":{\"cookieless_mode\":null}")),
      DATA("\"a\"", "\"u\"", LIB), 0, "2026-02-03T03:00:00Z" },
    { "options null", NULL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"options\":null")), DATA("\"a\"", "\"u\"", LIB), 0,
      "2026-02-03T03:00:00Z" },
    { "keys with escapes", NULL,
      BATCH("{\"\\u0065vent\":\"a\",\"uuid\":\"" U1 "\",\"distinct\\u005fid\":\"u\",\"timestamp\":" TIME
            ",\"propertie\\u0073\":{\"b\":2}}"),
      DATA("\"a\"", "\"u\"", "\"b\":2," LIB), 0, "2026-02-03T03:00:00Z" },
    { "of two members of one name the last counts", NULL,
      BATCH("{\"event\":\"x\",\"event\":\"a\",\"uuid\":\"" U2 "\",\"uuid\":\"" U1 "\",\"distinct_id\":\"u\",\"timestamp\":" TIME
            ",\"properties\":{\"a\":1},\"properties\":{\"b\":2}}"),
      DATA("\"a\"", "\"u\"", "\"b\":2," LIB), 0, "2026-02-03T03:00:00Z" },
    { "unknown members are left out", NULL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"$set\":{\"a\":1},\"token\":\"x\"")),
      DATA("\"a\"", "\"u\"", LIB), 0, "2026-02-03T03:00:00Z" },
    { "library without version", AUTH TYPE AGENT "PostHog-Sdk-Info: node\r\n" ATTEMPT RID SENT, BATCH(GOOD),
      DATA("\"signup\"", "\"u-1\"", "\"a\":1"), 0, "2026-02-03T03:00:00Z" },
    { "library too long", AUTH TYPE AGENT "PostHog-Sdk-Info: " X200 "/1\r\n" ATTEMPT RID SENT, BATCH(GOOD),
      DATA("\"signup\"", "\"u-1\"", "\"a\":1"), 0, "2026-02-03T03:00:00Z" },
    { "library with quotes", AUTH TYPE AGENT "PostHog-Sdk-Info: a\"b\\/1\r\n" ATTEMPT RID SENT, BATCH(GOOD),
      DATA("\"signup\"", "\"u-1\"", "\"a\":1,\"$lib\":\"a\\\"b\\\\\",\"$lib_version\":\"1\""), 0, "2026-02-03T03:00:00Z" },
    { "library in bytes that are no UTF-8", AUTH TYPE AGENT "PostHog-Sdk-Info: a\xff/1\r\n" ATTEMPT RID SENT, BATCH(GOOD),
      DATA("\"signup\"", "\"u-1\"", "\"a\":1"), 0, "2026-02-03T03:00:00Z" },
    { "historical", NULL, "{" CREATED ",\"historical_migration\":true,\"batch\":[" GOOD "]}",
      DATA("\"signup\"", "\"u-1\"", "\"a\":1," LIB), RECORD_HISTORICAL, "2026-02-03T03:00:00Z" },
    { "155 nobody", NULL, BATCH(EVENT("\"a\"", U1, "\"NaN\"", "")), DATA("\"a\"", "\"NaN\"", LIB), RECORD_PERSON_OFF,
      "2026-02-03T03:00:00Z" },
    { "half a pair", NULL, BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"properties\":{\"s\":\"\\ud83d\"}")),
      DATA("\"a\"", "\"u\"", "\"s\":\"\\ufffd\"," LIB), RECORD_REPAIRED, "2026-02-03T03:00:00Z" },
    { "156 skew", AUTH TYPE AGENT SDK ATTEMPT RID "PostHog-Request-Timestamp: 2026-02-03T04:05:16Z\r\n", BATCH(GOOD),
      DATA("\"signup\"", "\"u-1\"", "\"a\":1," LIB), 0, "2026-02-03T02:59:50Z" },
    { "156 raw", AUTH TYPE AGENT SDK ATTEMPT RID "PostHog-Request-Timestamp: 2026-02-03T04:05:16Z\r\n",
      BATCH(EVENT("\"a\"", U1, "\"u\"", ",\"options\":{\"disable_skew_correction\":\"true\"}")),
      DATA("\"a\"", "\"u\"", "\"$ignore_sent_at\":true," LIB), 0, "2026-02-03T03:00:00Z" },
};

static void check_stored(const char *name, const char *data, unsigned flags, const char *time)
{
    const struct record *record = &kit.records[0];
    struct buf           text;

    if (kit_records(&kit) != 1)
        fail_msg("%s: %zu records: %s", name, kit.count, answer.text);
    if (!span_is(record->data, data))
        fail_msg("%s: stored %.*s", name, SPAN_ARG(record->data));
    assert_int_equal(record->kind, RECORD_EVENT);
    assert_int_equal(kit.inputs[0], flags & RECORD_HISTORICAL ? INPUT_HISTORICAL : INPUT_RAW);
    if (record->flags != (flags | RECORD_V1))
        fail_msg("%s: flags %x", name, record->flags);
    buf_init(&text, 64);
    time_write_rfc3339(&text, record->timestamp_us);
    if (!span_is(buf_span(&text), time))
        fail_msg("%s: at %.*s", name, SPAN_ARG(buf_span(&text)));
    buf_fini(&text);
}

static void test_stored(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        const char *headers = stored[i].headers == NULL ? ALL : stored[i].headers;

        if (kit_ask(&kit, "POST", PATH, headers, span_text(stored[i].body), &answer) != 200)
            fail_msg("%s: %s", stored[i].name, answer.text);
        check_stored(stored[i].name, stored[i].data, stored[i].flags, stored[i].time);
    }
}

#define AT(time, more)                                                                                                \
    BATCH("{\"event\":\"a\",\"uuid\":\"" U1 "\",\"distinct_id\":\"u\",\"timestamp\":\"" time "\"" more "}")
#define RAW ",\"options\":{\"disable_skew_correction\":true}"

static const struct { const char *body, *time; } times[] = {
    { AT("2026-02-04T03:05:06Z", ""), "2026-02-04T03:05:06Z" }, /* 23 h ahead, and a moment more */
    { AT("2026-02-04T03:05:06.001Z", ""), "2026-02-03T04:05:06Z" },
    { AT("2031-01-01T00:00:00Z", ""), "2026-02-03T04:05:06Z" },
    { AT("2031-01-01T00:00:00Z", RAW), "2031-01-01T00:00:00Z" },
    { AT("2026-02-03T05:00:00.250+02:00", ""), "2026-02-03T03:00:00.250Z" },
    { AT("0001-01-01T00:00:00Z", ""), "0001-01-01T00:00:00Z" },
    { AT("9999-12-31T23:59:59-01:00", RAW), "1970-01-01T00:00:00Z" },
};

static void test_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct buf text;

        assert_int_equal(kit_ask(&kit, "POST", PATH, ALL, span_text(times[i].body), &answer), 200);
        assert_int_equal(kit_records(&kit), 1);
        buf_init(&text, 64);
        time_write_rfc3339(&text, kit.records[0].timestamp_us);
        if (!span_is(buf_span(&text), times[i].time))
            fail_msg("%s: at %.*s", times[i].body, SPAN_ARG(buf_span(&text)));
        buf_fini(&text);
    }
}

static void test_record_fields(void **state)
{
    const struct record *record = &kit.records[1];

    (void)state;
    assert_int_equal(kit_ask(&kit, "POST", PATH,
                             AUTH TYPE AGENT SDK ATTEMPT RID "PostHog-Request-Timestamp: 2026-02-03T09:35:07.5+05:30\r\n"
                             "X-Forwarded-For: 203.0.113.7\r\n",
                             span_text(BATCH(GOOD "," EVENT("\"\"", U2, "\"u\"", "") "," EVENT("\"b\"", U3, "\"u\"", ""))), &answer),
                     200);
    assert_int_equal(kit_records(&kit), 2);
    assert_true(span_is(record->token, "phc_alpha") && span_is(record->ip, "203.0.113.7") && span_is(record->event, "b"));
    assert_int_equal(record->index, 2); /* where it stood, the dropped one counted */
    assert_true(record->request == kit.records[0].request && record->project == kit.records[0].project);
    assert_int_equal(record->received_us, KIT_NOW_US);
    assert_int_equal(record->sent_at_us, KIT_NOW_US + 1500000);
    assert_int_equal(record->sent_at_zone_min, 330);
    assert_int_equal(record->timestamp_source, RECORD_TIME_SENT_AT_SKEW);
    assert_int_equal(record->uuid.bytes[15], 3);
    assert_int_equal(kit_ask(&kit, "POST", PATH, ALL "X-Forwarded-For: 203.0.113.7\r\n",
                             span_text("{" CREATED ",\"capture_internal\":true,\"batch\":[" GOOD "]}"), &answer),
                     200);
    assert_int_equal(kit_records(&kit), 1);
    assert_true(span_is(kit.records[0].ip, "127.0.0.1"));
}

/* --- methods and CORS -------------------------------------------------------------------------- */

#define ORIGIN "Origin: https://shop.example\r\n"

static void test_cors(void **state)
{
    (void)state;
    assert_int_equal(kit_ask(&kit, "OPTIONS", PATH, ORIGIN "Access-Control-Request-Headers: authorization, posthog-attempt\r\n",
                             SPAN(""), &answer),
                     200);
    assert_true(head_has("\r\naccess-control-allow-methods: POST,OPTIONS\r\n"));
    assert_true(head_has("\r\naccess-control-allow-origin: https://shop.example\r\n"));
    assert_true(head_has("\r\naccess-control-allow-headers: authorization, posthog-attempt\r\n"));
    assert_int_equal(kit_ask(&kit, "POST", PATH, ALL ORIGIN, SPAN(BATCH(GOOD)), &answer), 200);
    assert_true(head_has("\r\naccess-control-allow-origin: https://shop.example\r\n"));
    assert_true(head_has("\r\naccess-control-allow-credentials: true\r\n"));
    assert_true(head_has("\r\nposthog-request-id: " ID "\r\n"));
    assert_int_equal(kit_ask(&kit, "POST", PATH, ORIGIN, SPAN(BATCH(GOOD)), &answer), 401);
    assert_true(head_has("\r\naccess-control-allow-origin: https://shop.example\r\n"));
    assert_false(head_has("posthog-request-id"));
    assert_int_equal(kit_ask(&kit, "GET", PATH, ALL ORIGIN, SPAN(""), &answer), 405);
    assert_true(head_has("\r\nallow: POST,OPTIONS\r\n") && head_has("\r\naccess-control-allow-origin: https://shop.example\r\n"));
    assert_int_equal(strncmp(answer.body, "{\"error\":\"method_not_allowed\"", 29), 0);
    assert_true(head_has("\r\nposthog-request-id: " ID "\r\n"));
    assert_int_equal(kit_ask(&kit, "HEAD", PATH, ALL, SPAN(""), &answer), 405);
    assert_int_equal(kit_ask(&kit, "PUT", PATH, ALL, SPAN(BATCH(GOOD)), &answer), 405);
    (void)kit_records(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_stored), cmocka_unit_test(test_times),
        cmocka_unit_test(test_record_fields), cmocka_unit_test(test_cors),
    };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
