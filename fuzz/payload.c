/* fuzz/payload.c - a request of the event endpoints, from bytes to records: whatever comes, the batch
 * holds either everything that the answer promises or nothing, and every record is fit to be read by the
 * next stage (event/record.h R1).
 * Input: a byte for the path, one for the headers, the query up to a line end, the body. */
#include <stdlib.h>

#include "capture/intake.h"
#include "fuzz.h"
#include "intake_check.h"
#include "log/frame.h"
#include "log/log_batch.h"
#include "wire/json.h"

static const struct capture_settings settings = { .inflated_bytes_max = 1 << 20,
                                                  .event_bytes_max = 4096,
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

    fuzz_check_text(record->token);
    fuzz_check_text(record->distinct_id);
    fuzz_check_text(record->event);
    fuzz_check_text(record->detail);
    MUST(record->token.bytes > 0 && record->token.bytes <= 64 && record->project == 1);
    MUST(utf8_count(record->distinct_id) <= 200);
    if (record->kind == RECORD_REJECTED) {
        MUST(record->rejection != RECORD_REJECTED_NONE);
        return;
    }
    MUST(record->event.bytes > 0 && record->distinct_id.bytes > 0 && record->rejection == RECORD_REJECTED_NONE);
    MUST(record->data.bytes <= 4096 && record->data.at[0] == '{');
    json_reader_init(&reader, record->data, 0); /* without repair: what is stored needs none */
    MUST(json_skip(&reader, &value) == 0 && json_finish(&reader) == 0);
    MUST(value.raw.bytes == record->data.bytes);
}

static void fuzz_check_batch(const struct log_batch *batch, const struct intake_result *result)
{
    uint32_t events = 0, rejected = 0;
    size_t   at = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        size_t        body_bytes;
        struct record record;
        struct err    err;

        MUST(at + RECORD_HEADER_BYTES <= batch->bytes);
        memcpy(&body_bytes, batch->at + at + 4, 4);
        body_bytes &= UINT32_MAX;
        MUST(record_read(span_of(batch->at + at + RECORD_HEADER_BYTES, body_bytes), &record, &err) == 0);
        fuzz_check_record(&record);
        events += record.kind == RECORD_EVENT;
        rejected += record.kind == RECORD_REJECTED;
        at += RECORD_HEADER_BYTES + (size_t)frame_padded(body_bytes);
    }
    MUST(at == batch->bytes);
    MUST(events == result->accepted && rejected == result->rejected);
    MUST(result->events == events + rejected + result->filtered);
    MUST(events > 0 || rejected == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const types[] = { "", "application/json", "application/x-www-form-urlencoded; charset=utf-8",
                                         "text/plain" };
    static const char *const encodings[] = { "", "gzip", "lz64", "base64" };
    static struct intake    *intake;
    static struct log_batch *batch;
    const uint8_t           *line;
    uint8_t                 *body;
    struct intake_request    request = { .rules = { .find = fuzz_find_sender }, .now_us = 1770091506000000 };
    struct intake_result     result;
    struct refusal           refusal = { 0 };
    size_t                   at;

    if (intake == NULL) {
        intake = intake_new(&settings);
        batch = log_batch_new();
        MUST(intake != NULL && batch != NULL);
    }
    if (bytes < 3)
        return 0;
    request.payload.legacy = data[0] & 1;
    request.engage = (data[0] & 2) != 0;
    request.payload.content_type = span_text(types[data[1] & 3]);
    request.payload.content_encoding = span_text(encodings[data[1] >> 2 & 3]);
    line = memchr(data + 2, '\n', bytes - 2);
    at = line == NULL ? 2 : (size_t)(line - data);
    request.payload.query = span_of(data + 2, at - 2);
    at = line == NULL ? 2 : at + 1;
    body = malloc(bytes - at); /* of its own, so that reading past its end is seen */
    MUST(body != NULL || bytes == at);
    if (bytes > at)
        memcpy(body, data + at, bytes - at);
    request.payload.body = body;
    request.payload.body_bytes = bytes - at;
    log_batch_reset(batch);
    if (intake_run(intake, &request, batch, &result, &refusal) == 0) {
        fuzz_check_batch(batch, &result);
    } else {
        MUST(log_batch_count(batch) == 0 && refusal.status >= 400 && refusal.text[0] != 0);
        MUST(refusal.status != 503);
    }
    free(body);
    return 0;
}
