/* fuzz/segment_message.c - a request of Segment's API, from body to records: every message is an event or is kept with
 * the reason, and every event is fit to be read by the next stage (event/record.h R1, capture/segment_message.h M1).
 * Input: a byte that says which path (its low bits) and how the key comes (the highest), then the body. */
#include <stdlib.h>

#include "capture/segment_answer.h"
#include "capture/segment_intake.h"
#include "fuzz.h"
#include "intake_check.h"
#include "log/frame.h"
#include "log/log_batch.h"

static const struct capture_settings settings = { .inflated_bytes_max = 1 << 20,
                                                  .event_bytes_max = 4096,
                                                  .batch_events_max = 200,
                                                  .request_memory_max = 1 << 20 };

static const struct catalog_token *fuzz_find_sender(void *ctx, struct span token)
{
    static struct catalog_token sender = { .project = 1 };

    (void)ctx;
    return span_is(token, "phc_unknown") ? NULL : &sender;
}

static const struct json_member *fuzz_member(struct span object, const char *name, struct arena *arena)
{
    struct json_members members;
    struct err          err = { 0 };

    MUST(json_members_read(object, arena, &members, &err) == 0);
    return json_members_find(&members, span_text(name));
}

static void fuzz_check_event(const struct record *record, struct arena *arena)
{
    const struct json_member *event = fuzz_member(record->data, "event", arena);
    const struct json_member *id = fuzz_member(record->data, "distinct_id", arena);
    const struct json_member *uuid = fuzz_member(record->data, "uuid", arena);
    const struct json_member *properties = fuzz_member(record->data, "properties", arena);
    char                      text[UUID_TEXT_BYTES + 1] = "";

    fuzz_check_object(record->data);
    uuid_format(&record->uuid, text);
    MUST(event != NULL && span_equal(json_text(&event->value, arena), record->event) && record->event.bytes > 0);
    MUST(id != NULL && id->value.kind == JSON_STRING);
    MUST(span_starts(json_text(&id->value, arena), record->distinct_id) && record->distinct_id.bytes > 0);
    MUST(uuid != NULL && json_text_is(&uuid->value, text));
    MUST(properties != NULL && properties->value.kind == JSON_OBJECT);
}

static void fuzz_check_batch(const struct log_batch *batch, const struct intake_result *result, struct arena *arena)
{
    size_t   at = 0;
    uint32_t accepted = 0;

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
        fuzz_check_text(record.detail);
        MUST(record.index == i && record.project == 1);
        if (record.kind == RECORD_EVENT) {
            accepted++;
            fuzz_check_event(&record, arena);
        } else {
            MUST(record.kind == RECORD_REJECTED && record.detail.bytes > 0 && record.data.bytes > 0);
        }
    }
    MUST(at == batch->bytes && accepted == result->accepted && batch->count == result->events);
    MUST(result->accepted > 0 && result->accepted + result->rejected == result->events);
}

static void fuzz_refused(const struct refusal *refusal, const struct log_batch *batch)
{
    struct buf body;

    MUST(batch->count == 0 && batch->bytes == 0);
    MUST(refusal->status >= 400 && refusal->status < 500 && refusal->cause != REFUSAL_NONE); /* never: send again */
    buf_init(&body, 1 << 16);
    segment_answer_error(&body, refusal);
    MUST(!body.failed);
    fuzz_check_object(buf_span(&body));
    buf_fini(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct segment_intake *intake;
    static struct log_batch      *batch;
    static struct arena          *arena;
    struct segment_request        request = { .ip = SPAN("203.0.113.7"),
                                              .query = SPAN("p=1&writeKey=phc%5fa"),
                                              .now_us = INT64_C(1770091506000000),
                                              .rules = { .find = fuzz_find_sender } };
    struct intake_result          result;
    struct refusal                refusal = { 0 };
    uint8_t                      *body;

    if (bytes < 2)
        return 0;
    if (intake == NULL) {
        intake = segment_intake_new(&settings);
        batch = log_batch_new();
        arena = arena_new(1 << 16, 1 << 26);
    }
    arena_reset(arena);
    log_batch_reset(batch);
    request.route.type = (enum segment_type)((data[0] & 0x7f) % (SEGMENT_BY_MESSAGE + 1));
    if ((data[0] & 0x80) != 0)
        request.query = SPAN("");
    body = malloc(bytes - 1);
    MUST(body != NULL);
    memcpy(body, data + 1, bytes - 1);
    request.body = body;
    request.body_bytes = bytes - 1;
    if (segment_intake_run(intake, &request, batch, &result, &refusal) == 0)
        fuzz_check_batch(batch, &result, arena);
    else
        fuzz_refused(&refusal, batch);
    free(body);
    return 0;
}
