/* fuzz/v1.c - a v1 request, from headers and body to verdicts: the answer is JSON with one verdict for each
 * event, the batch holds a record for each that says ok and nothing else, and every record is fit to be
 * read by the next stage (event/record.h R1).
 * Input: a byte. Odd: header lines up to an empty line, then the body. Even: good headers, their coding by
 * two bits, and the body. */
#include <stdlib.h>

#include "capture/v1_answer.h"
#include "capture/v1_intake.h"
#include "fuzz.h"
#include "intake_check.h"
#include "log/frame.h"
#include "log/log_batch.h"

#define LINE "POST /i/v1/analytics/events HTTP/1.1\r\nHost: t\r\n"
#define GOOD                                                                                                           \
    "Authorization: Bearer phc_a\r\nContent-Type: application/json\r\nUser-Agent: t\r\nPostHog-Sdk-Info: l\"/2\r\n"    \
    "PostHog-Attempt: 1\r\nPostHog-Request-Id: 7d0e8f3a-1111-4222-8333-944455556666\r\n"                               \
    "PostHog-Request-Timestamp: 2026-02-03T04:05:06Z\r\n"

static const struct capture_settings settings = { .v1_inflated_bytes_max = 1 << 20,
                                                  .event_bytes_max = 4096,
                                                  .batch_events_max = 200,
                                                  .request_memory_max = 1 << 20 };

static const struct catalog_token *fuzz_find_sender(void *ctx, struct span token)
{
    static const struct catalog_token sender = { .project = 1 };

    (void)ctx;
    return span_is(token, "phc_unknown") ? NULL : &sender;
}

static struct json_members fuzz_members(struct span object, struct arena *arena)
{
    struct json_members members;
    struct err          err = { 0 };

    MUST(json_members_read(object, arena, &members, &err) == 0);
    return members;
}

/* Exactly the five members, and the library last of the properties. */
static void fuzz_check_data(struct span data, bool good_headers, struct arena *arena)
{
    struct json_members       members = fuzz_members(data, arena), properties;
    const struct json_member *library;

    MUST(members.count == 5);
    MUST(span_is(members.at[0].key, "event") && span_is(members.at[1].key, "distinct_id") &&
         span_is(members.at[2].key, "uuid") && span_is(members.at[3].key, "properties") &&
         span_is(members.at[4].key, "timestamp"));
    MUST(members.at[3].value.kind == JSON_OBJECT);
    properties = fuzz_members(members.at[3].value.raw, arena);
    library = json_members_find(&properties, SPAN("$lib"));
    if (good_headers)
        MUST(library != NULL && json_text_is(&library->value, "l\""));
}

static void fuzz_check_batch(const struct log_batch *batch, bool good_headers, struct arena *arena)
{
    size_t at = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        size_t        body_bytes = 0;
        struct record record;
        struct err    err;

        memcpy(&body_bytes, batch->at + at + 4, 4);
        MUST(record_read(span_of(batch->at + at + RECORD_HEADER_BYTES, body_bytes), &record, &err) == 0);
        at += RECORD_HEADER_BYTES + (size_t)frame_padded(body_bytes);
        fuzz_check_text(record.token);
        fuzz_check_text(record.distinct_id);
        fuzz_check_text(record.event);
        MUST(record.kind == RECORD_EVENT && record.project == 1 && record.sent_at_us != CLOCK_NONE);
        MUST(record.event.bytes > 0 && record.event.bytes <= V1_NAME_BYTES_MAX);
        MUST(record.distinct_id.bytes > 0 && record.distinct_id.bytes <= V1_DISTINCT_ID_BYTES_MAX);
        fuzz_check_object(record.data);
        fuzz_check_data(record.data, good_headers, arena);
    }
    MUST(at == batch->bytes);
}

/* How many verdicts say ok. */
static uint32_t fuzz_check_answer(const struct v1_intake_result *result, struct arena *arena)
{
    struct json_members top = fuzz_members(result->answer, arena), results;
    uint32_t            kept = 0;

    fuzz_check_object(result->answer);
    MUST(top.count == 1 && span_is(top.at[0].key, "results"));
    results = fuzz_members(top.at[0].value.raw, arena);
    MUST(results.count == result->common.events && results.count > 0); /* a repeated key would count once */
    for (size_t i = 0; i < results.count; i++) {
        struct json_members       verdict = fuzz_members(results.at[i].value.raw, arena);
        const struct json_member *word = json_members_find(&verdict, SPAN("result"));
        struct uuid               uuid;

        MUST(uuid_parse_hyphenated(results.at[i].key, &uuid) && word != NULL);
        MUST(json_text_is(&word->value, "ok") || json_text_is(&word->value, "drop"));
        kept += json_text_is(&word->value, "ok");
    }
    return kept;
}

static void fuzz_refused(const struct refusal *refusal, const struct log_batch *batch)
{
    struct buf body;

    MUST(batch->count == 0 && batch->bytes == 0);
    MUST(refusal->status >= 400 && refusal->status < 600 && refusal->cause != REFUSAL_NONE);
    buf_init(&body, 1 << 16);
    v1_answer_error(&body, refusal);
    MUST(!body.failed);
    fuzz_check_object(buf_span(&body));
    buf_fini(&body);
}

/* The request's head, and where its body begins. */
static bool fuzz_head(const uint8_t *data, size_t bytes, struct buf *head, struct http_request *http, size_t *body_at)
{
    static const char *const codings[] = { "", "Content-Encoding: deflate\r\n", "Content-Encoding: br\r\n",
                                           "Content-Encoding: zstd\r\n" };
    struct http_problem      problem;

    buf_add(head, SPAN(LINE));
    *body_at = 1;
    if ((data[0] & 1) != 0) {
        const uint8_t *end = memmem(data, bytes, "\r\n\r\n", 4);

        *body_at = end == NULL ? bytes : (size_t)(end - data) + 4;
        buf_add(head, span_of(data + 1, *body_at - 1));
    } else {
        buf_add(head, SPAN(GOOD));
        buf_add_text(head, codings[data[0] >> 1 & 3]);
        buf_add_text(head, "\r\n");
    }
    return !head->failed && http1_parse(buf_span(head), 0, http, &problem) == HTTP1_DONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct v1_intake   *intake;
    static struct log_batch   *batch;
    static struct arena       *arena;
    static struct http_request http;
    struct v1_intake_request   request = { .http = &http,
                                           .ip = SPAN("203.0.113.7"),
                                           .now_us = INT64_C(1770091506000000),
                                           .rules = { .find = fuzz_find_sender } };
    struct v1_intake_result    result;
    struct refusal             refusal = { 0 };
    struct buf                 head;
    size_t                     body_at;

    if (bytes < 2)
        return 0;
    if (intake == NULL) {
        intake = v1_intake_new(&settings);
        batch = log_batch_new();
        arena = arena_new(1 << 16, 1 << 26);
    }
    buf_init(&head, 1 << 16);
    arena_reset(arena);
    log_batch_reset(batch);
    if (fuzz_head(data, bytes, &head, &http, &body_at)) {
        request.body = span_of(data + body_at, bytes - body_at);
        if (v1_intake_run(intake, &request, batch, &result, &refusal) == 0) {
            fuzz_check_batch(batch, (data[0] & 1) == 0, arena);
            MUST(fuzz_check_answer(&result, arena) == batch->count && result.common.accepted == batch->count);
        } else {
            fuzz_refused(&refusal, batch);
        }
    }
    buf_fini(&head);
    return 0;
}
