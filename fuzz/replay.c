/* fuzz/replay.c - a request of /s, from bytes to one record: whatever comes, the batch holds the record that the answer promises
 * or nothing, and its data is valid JSON that holds what was recorded.
 * Input: a byte for the headers, then the body. */
#include <stdlib.h>

#include "capture/replay_intake.h"
#include "fuzz.h"
#include "log/frame.h"
#include "log/log_batch.h"
#include "wire/json.h"
#include "wire/utf8.h"

static const struct capture_settings settings = { .replay_inflated_bytes_max = 1 << 20,
                                                  .batch_events_max = 200,
                                                  .request_memory_max = 1 << 20 };

static const struct catalog_token *fuzz_find_sender(void *ctx, struct span token)
{
    static const struct catalog_token sender = { .project = 1 };

    (void)ctx;
    return span_is(token, "phc_unknown") ? NULL : &sender;
}

static void fuzz_check_record(const struct record *record)
{
    struct json_reader reader;
    struct json_value  value;

    MUST(record->kind == RECORD_EVENT && record->project == 1 && span_is(record->event, "$snapshot_items"));
    MUST(record->detail.bytes > 0 && record->detail.bytes <= REPLAY_SESSION_ID_BYTES_MAX);
    MUST(record->distinct_id.bytes > 0 && utf8_count(record->distinct_id) <= 200 && utf8_valid(record->distinct_id));
    MUST(memchr(record->distinct_id.at, 0, record->distinct_id.bytes) == NULL);
    json_reader_init(&reader, record->data, 0); /* without repair: what is stored needs none */
    MUST(json_skip_deep(&reader, &value) == 0 && json_finish(&reader) == 0);
    MUST(value.kind == JSON_OBJECT && value.raw.bytes == record->data.bytes);
}

static void fuzz_stop(void *ctx)
{
    ++*(unsigned *)ctx;
}

/* Who stops for others in between walks the JSON another way: the same must come of it. body is the request's as it came, of which the
 * first way has repaired its own copy. */
static void fuzz_check_stops(struct replay_intake *intake, struct replay_request request, const uint8_t *body, const struct log_batch *first,
                             int rc, const struct refusal *refusal)
{
    static struct log_batch *batch;
    unsigned                 stops = 0;
    struct intake_result     result;
    struct refusal           again = { 0 };

    if (batch == NULL)
        batch = log_batch_new();
    MUST(batch != NULL);
    log_batch_reset(batch);
    request.payload.body = malloc(request.payload.body_bytes);
    MUST(request.payload.body != NULL);
    memcpy(request.payload.body, body, request.payload.body_bytes);
    request.between = (struct between){ fuzz_stop, &stops };
    MUST(replay_intake_run(intake, &request, batch, &result, &again) == rc);
    MUST(rc == 0 || (again.status == refusal->status && strcmp(again.text, refusal->text) == 0));
    MUST(log_batch_count(batch) == log_batch_count(first) && log_batch_bytes(batch) == log_batch_bytes(first));
    if (rc == 0) {
        const char    *from = "{\"event\":\"$snapshot_items\""; /* behind what differs: a made uuid, the request's number */
        const uint8_t *a = memmem(first->at, first->bytes, from, strlen(from)), *b = memmem(batch->at, batch->bytes, from, strlen(from));

        MUST(a != NULL && b != NULL && a - first->at == b - batch->at && memcmp(a, b, first->bytes - (size_t)(a - first->at)) == 0);
    }
    free(request.payload.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const     agents[] = { "", "posthog-ios/3", "\xff/posthog", "posthog\x01\xff" };
    static struct replay_intake *intake;
    static struct log_batch     *batch;
    uint8_t                     *body;
    struct replay_request        request = { .rules = { .find = fuzz_find_sender }, .now_us = 1770091506000000 };
    struct intake_result         result;
    struct refusal               refusal = { 0 };
    int                          rc;

    if (intake == NULL) {
        intake = replay_intake_new(&settings);
        batch = log_batch_new();
        MUST(intake != NULL && batch != NULL);
    }
    if (bytes < 2)
        return 0;
    request.user_agent = span_text(agents[data[0] & 3]);
    request.payload.query = span_text(data[0] & 4 ? "_=1770091516000" : "");
    body = malloc(bytes - 1); /* of its own, so that reading past its end is seen */
    MUST(body != NULL);
    memcpy(body, data + 1, bytes - 1);
    request.payload.body = body;
    request.payload.body_bytes = bytes - 1;
    log_batch_reset(batch);
    rc = replay_intake_run(intake, &request, batch, &result, &refusal);
    if (rc == 0) {
        size_t        body_bytes = 0;
        struct record record;
        struct err    err;

        MUST(batch->count == 1 && result.accepted == 1 && result.events > 0);
        memcpy(&body_bytes, batch->at + 4, 4);
        MUST(record_read(span_of(batch->at + RECORD_HEADER_BYTES, body_bytes), &record, &err) == 0);
        fuzz_check_record(&record);
    } else {
        MUST(log_batch_count(batch) == 0 && refusal.status >= 400 && refusal.status != 503 && refusal.text[0] != 0);
    }
    fuzz_check_stops(intake, request, data + 1, batch, rc, &refusal);
    free(body);
    return 0;
}
