/* capture/segment_intake.c - a key that comes with the request's head is looked up before the body is unpacked: work
 * is done for projects, not for strangers. A message's id decides what becomes of a request sent again, so it follows
 * from messageId alone wherever there is one (docs/uuid.md). */
#include "capture/segment_intake.h"

#include <stdlib.h>

#include "capture/intake_parts.h"
#include "capture/segment_batch.h"
#include "event/stamp.h"
#include "catalog/catalog.h"
#include "wire/base64.h"
#include "wire/form.h"

enum {
    SEGMENT_ARENA_CHUNK_BYTES = 32 << 10,
    SEGMENT_KEEP_BYTES = 2 << 20,           /* of the buffer, between requests */
    SEGMENT_GROWTH_MAX = 6,                 /* an event to its message */
    SEGMENT_MORE_BYTES = 64 << 10,          /* and what is written into it in any case */
    SEGMENT_REJECTED_DATA_BYTES = 64 << 10, /* of a message that is too large, this much is kept */
};

struct segment_intake {
    struct intake_parts    parts;
    struct arena          *message; /* of one message */
    struct payload_scratch scratch;
    struct buf             data;
};

struct segment_run {
    struct segment_intake        *intake;
    const struct segment_request *request;
    struct intake_sink            sink;
    struct intake_result         *result;
    struct refusal               *refusal;
    struct segment_batch          found;
    struct record                 common;
    const struct catalog_token   *sender;
    struct refusal                first_bad;
    bool                          has_first_bad;
};

struct segment_intake *segment_intake_new(const struct capture_settings *settings)
{
    struct segment_intake *intake = calloc(1, sizeof *intake);

    if (intake == NULL)
        return NULL;
    intake->message = arena_new(SEGMENT_ARENA_CHUNK_BYTES, (size_t)settings->request_memory_max);
    /* A value stands in the event three times at most (the type of a group), and escapes may make a name longer. */
    buf_init(&intake->data, SEGMENT_GROWTH_MAX * (size_t)settings->event_bytes_max + SEGMENT_MORE_BYTES);
    if (intake_parts_init(&intake->parts, settings, SEGMENT_ARENA_CHUNK_BYTES) < 0 ||
        payload_scratch_init(&intake->scratch, (size_t)settings->inflated_bytes_max) < 0 || intake->message == NULL) {
        segment_intake_free(intake);
        return NULL;
    }
    return intake;
}

void segment_intake_free(struct segment_intake *intake)
{
    if (intake == NULL)
        return;
    payload_scratch_fini(&intake->scratch);
    intake_parts_fini(&intake->parts);
    arena_free(intake->message);
    buf_fini(&intake->data);
    free(intake);
}

size_t segment_intake_bytes(const struct segment_intake *intake)
{
    return intake == NULL ? 0 : payload_scratch_bytes(&intake->scratch) + intake->data.size;
}

/* --- whose ------------------------------------------------------------------------------------- */

static bool key_basic(struct span header, struct buf *out)
{
    const uint8_t *colon;
    struct span    text;

    if (header.bytes < 6 || !http_token_equal(span_of(header.at, 5), "basic") || header.at[5] != ' ')
        return false;
    text = event_text_trim(span_from(header, 6));
    if (!base64_decode(text, BASE64_LENIENT, out))
        return false;
    colon = out->bytes == 0 ? NULL : memchr(out->at, ':', out->bytes);
    if (colon != NULL)
        out->bytes = (size_t)(colon - out->at);
    return out->bytes > 0;
}

struct span segment_key_find(struct span authorization, struct span query, char out[SEGMENT_KEY_BYTES_MAX])
{
    struct span raw;
    struct buf  key;

    buf_init_over(&key, out, SEGMENT_KEY_BYTES_MAX);
    if (key_basic(authorization, &key))
        return buf_span(&key);
    buf_init_over(&key, out, SEGMENT_KEY_BYTES_MAX);
    if (form_find(query, "writeKey", &raw) && form_decode(raw, &key))
        return buf_span(&key);
    return span_of(out, 0);
}

static int run_check_key(struct segment_run *run, struct span key)
{
    struct err err = { 0 };

    key = event_text_trim(key);
    if (catalog_token_check(key, &err) < 0)
        return refusal_set(run->refusal, 401, REFUSAL_BAD_TOKEN, "the write key is not valid: %s", err.text);
    run->sender = run->request->rules.find(run->request->rules.find_ctx, key);
    if (run->sender == NULL)
        return refusal_set(run->refusal, 401, REFUSAL_UNKNOWN_TOKEN, "the write key is not known: no project has it");
    run->common.project = run->sender->project;
    run->common.token = key;
    return 0;
}

static int run_body_key(struct segment_run *run)
{
    struct span key;

    if (run->sender != NULL)
        return 0;
    if (run->found.write_key.raw.at == NULL)
        return refusal_set(run->refusal, 401, REFUSAL_NO_TOKEN,
                           "no write key: expected as user of basic authentication, or writeKey in the body");
    key = json_text(&run->found.write_key, run->intake->parts.arena);
    if (key.at == NULL)
        return refusal_set(run->refusal, 413, REFUSAL_OVERSIZE, "the request needs more working memory than allowed");
    return run_check_key(run, key);
}

/* --- one message ------------------------------------------------------------------------------- */

static int run_refuse_memory(struct segment_run *run)
{
    return refusal_set(run->refusal, 413, REFUSAL_OVERSIZE, "the request needs more working memory than allowed");
}

static int run_append(struct segment_run *run, const struct record *record)
{
    return intake_sink_put(&run->sink, record, "the request's messages do not fit one commit", run->result, run->refusal);
}

static void run_explain(struct segment_run *run, const struct segment_fault *fault, uint32_t index)
{
    enum refusal_cause cause = fault->rejection == RECORD_REJECTED_NO_EVENT_NAME        ? REFUSAL_NO_EVENT_NAME
                               : fault->rejection == RECORD_REJECTED_MISSING_EVENT_NAME ? REFUSAL_HYDRATION
                               : fault->rejection == RECORD_REJECTED_NO_DISTINCT_ID     ? REFUSAL_NO_DISTINCT_ID
                               : fault->rejection == RECORD_REJECTED_INVALID_COOKIELESS ? REFUSAL_COOKIELESS
                               : fault->rejection == RECORD_REJECTED_TOO_LARGE          ? REFUSAL_OVERSIZE
                                                                                        : REFUSAL_PARSING;
    int                status = cause == REFUSAL_OVERSIZE ? 413 : 400;

    if (run->has_first_bad)
        return;
    run->has_first_bad = true;
    if (run->found.count > 1)
        refusal_set(&run->first_bad, status, cause, "message %u: %s", index, fault->detail);
    else
        refusal_set(&run->first_bad, status, cause, "%s", fault->detail);
}

/* Nothing that changes when the client sends again may go in: neither sentAt nor the request. */
static void run_identify(struct segment_run *run, struct segment_message *message, struct record *record)
{
    struct uuid_source *uuids = run->intake->parts.uuids;

    if (!message->has_uuid) {
        const struct json_value *sent = segment_member(&message->members, "sentAt");
        bool                     timed = message->client_us != CLOCK_NONE;

        if (message->message_id.raw.at != NULL)
            message->uuid = uuid_derive(uuids, record->token, SPAN("messageId"), message->message_id.raw, SPAN(""),
                                        timed ? message->client_us : 0);
        else if (timed)
            message->uuid = uuid_derive(uuids, record->token, record->distinct_id, message->object,
                                        sent == NULL ? SPAN("") : sent->raw, message->client_us);
        else
            message->uuid = uuid_make(uuids, record->timestamp_us);
        record->flags |= timed || message->message_id.raw.at != NULL ? RECORD_UUID_DERIVED : RECORD_UUID_MADE;
    }
    record->uuid = message->uuid;
}

/* Keeps a bad message as RECORD_REJECTED; its good neighbours go on. Sent again it has the same uuid, as a good one: of two
 * letters that are repaired and replayed one event is stored. */
static int run_reject(struct segment_run *run, struct segment_message *message, const struct segment_fault *fault,
                      struct record *record)
{
    run->result->by_rejection[fault->rejection]++;
    run_explain(run, fault, record->index);
    record->kind = RECORD_REJECTED;
    record->rejection = fault->rejection;
    record->timestamp_us = record->received_us;
    record->detail = span_text(fault->detail);
    record->data = message->object;
    if (fault->rejection == RECORD_REJECTED_TOO_LARGE && record->data.bytes > SEGMENT_REJECTED_DATA_BYTES)
        record->data.bytes = SEGMENT_REJECTED_DATA_BYTES;
    record->event = message->event.at == NULL ? SPAN("") : message->event;
    record->distinct_id = message->distinct_id;
    run_identify(run, message, record);
    run->result->rejected++;
    return run_append(run, record);
}

static void run_stamp(struct segment_run *run, const struct segment_message *message, struct record *record)
{
    struct stamp_input input = { .now_us = record->received_us,
                                 .sent_at_us = message->sent_at_us,
                                 .client_us = message->client_us,
                                 .ignore_sent_at = message->ignore_sent_at };
    struct stamp       stamp = stamp_compute(&input);

    record->timestamp_us = stamp.us;
    record->timestamp_source = stamp.source;
    record->sent_at_us = message->sent_at_us;
    record->sent_at_zone_min = message->sent_at_zone_min;
    run->result->by_time[stamp.source]++;
    if (message->sent_at_us != CLOCK_NONE) {
        run->result->skew_known = true;
        run->result->skew_s = ((double)message->sent_at_us - (double)record->received_us) / 1e6;
    }
}

static int run_read(struct segment_run *run, const struct segment_item *item, struct segment_message *message,
                    struct segment_fault *fault)
{
    struct segment_intake *intake = run->intake;

    arena_reset(intake->message);
    if (segment_message_read(item->raw, run->request->route.type, &run->found.envelope,
                             (size_t)intake->parts.settings->event_bytes_max, intake->message, message, fault) < 0)
        return run_refuse_memory(run);
    return 0;
}

static int run_message(struct segment_run *run, uint32_t index)
{
    struct segment_intake     *intake = run->intake;
    const struct segment_item *item = &run->found.items[index];
    struct record              record = run->common;
    struct segment_message     message;
    struct segment_fault       fault;

    record.index = index;
    if (item->repaired)
        record.flags |= RECORD_REPAIRED;
    if (run_read(run, item, &message, &fault) < 0)
        return -1;
    if (fault.rejection != RECORD_REJECTED_NONE)
        return run_reject(run, &message, &fault, &record);
    record.kind = RECORD_EVENT;
    record.event = message.event;
    record.distinct_id = message.distinct_id;
    record.pipeline = pipeline_of(record.event);
    if (record.pipeline != PIPELINE_ANALYTICS)
        record.flags &= ~(unsigned)RECORD_HISTORICAL;
    if (message.distinct_cut)
        record.flags |= RECORD_DISTINCT_CUT;
    if (message.cookieless)
        record.flags |= RECORD_COOKIELESS;
    if (segment_message_from_server(&message))
        record.ip = SPAN("");
    run_stamp(run, &message, &record);
    run_identify(run, &message, &record);
    intake_mark_old(intake->parts.settings, &record, run->result);
    if (run->sender->rules != 0) {
        if (rules_drop(run->sender, &record)) {
            run->result->restricted++;
            return 0;
        }
        run->result->ids_limited += rules_mark_id(&run->request->rules, run->sender, &record);
        run->result->overflowing += (record.flags & RECORD_OVERFLOW) != 0;
    }
    buf_reset(&intake->data);
    if (segment_message_write(&message, intake->message, &intake->data) < 0)
        return run_refuse_memory(run);
    if (intake->data.failed)
        return refusal_set(run->refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: no memory");
    record.data = buf_span(&intake->data);
    run->result->accepted++;
    return run_append(run, &record);
}

/* --- what its sender may send ------------------------------------------------------------------ */

/* How many messages a quota leaves. */
static int run_ask_quotas(struct segment_run *run, size_t *left)
{
    for (size_t i = 0; i < run->found.count; i++) {
        struct segment_item   *item = &run->found.items[i];
        struct segment_message message;
        struct segment_fault   fault;
        enum catalog_resource  resource;

        between_items(&run->request->between, i);
        if (run_read(run, item, &message, &fault) < 0)
            return -1;
        resource = catalog_resource_of(message.event.at == NULL ? SPAN("") : message.event,
                                       segment_member(&message.own, "$product_tour_id") != NULL);
        item->over_quota = rules_quota_is_over(run->sender, resource, run->common.received_us);
        run->result->by_quota[resource] += item->over_quota;
        run->result->over_quota += item->over_quota;
        *left -= item->over_quota;
    }
    return 0;
}

static int run_ask_rules(struct segment_run *run)
{
    size_t left = run->found.count;

    if ((run->sender->rules & CATALOG_RULE_QUOTA) != 0 && run_ask_quotas(run, &left) < 0)
        return -1;
    return (run->sender->rules & CATALOG_RULE_LIMIT) != 0 && left > 0
               ? rules_take(&run->request->rules, run->sender, left, false, run->refusal) : 0;
}

/* --- the request ------------------------------------------------------------------------------- */

static int run_messages(struct segment_run *run, const struct payload *payload)
{
    if (segment_batch_read(run->intake->parts.arena, payload->text, run->request->route.type,
                           (size_t)run->intake->parts.settings->batch_events_max, &run->found, run->refusal) < 0 ||
        run_body_key(run) < 0)
        return -1;
    run->result->events = (uint32_t)run->found.count;
    if (run->found.count == 0)
        return refusal_set(run->refusal, 400, REFUSAL_EMPTY_BATCH, "the batch holds no message");
    if (run->sender->rules != 0 && run_ask_rules(run) < 0)
        return -1;
    run->sink.import = run->request->route.historical;
    if (run->request->route.historical)
        run->common.flags |= RECORD_HISTORICAL;
    for (size_t i = 0; i < run->found.count; i++) {
        between_items(&run->request->between, i);
        if (!run->found.items[i].over_quota && run_message(run, (uint32_t)i) < 0)
            return -1;
    }
    if (run->result->accepted + run->result->restricted > 0 || !run->has_first_bad)
        return 0;
    *run->refusal = run->first_bad;
    return -1;
}

static int run_request(struct segment_run *run)
{
    struct payload_request request = { .content_encoding = run->request->content_encoding,
                                       .body = run->request->body,
                                       .body_bytes = run->request->body_bytes };
    struct payload         payload;
    char                   storage[SEGMENT_KEY_BYTES_MAX];
    struct span            key = segment_key_find(run->request->authorization, run->request->query, storage);

    if (key.bytes > 0) {
        key = arena_copy(run->intake->parts.arena, key);
        if (key.at == NULL)
            return run_refuse_memory(run);
        if (run_check_key(run, key) < 0)
            return -1;
    }
    if (payload_decode(&run->intake->scratch, &request, &payload, run->refusal) < 0)
        return -1;
    run->result->text_bytes = payload.text.bytes;
    between_parts(&run->request->between);
    return run_messages(run, &payload);
}

/* Without memory a text seems to be no text, a wrapping none: whatever came out of the request is not to be trusted, be it
 * taken or refused. */
static bool segment_take_denied(struct segment_intake *intake)
{
    bool denied = arena_take_denied(intake->parts.arena);

    denied |= arena_take_denied(intake->message);
    denied |= payload_scratch_take_denied(&intake->scratch);
    return denied | buf_take_denied(&intake->data);
}

int segment_intake_run(struct segment_intake *intake, const struct segment_request *request, struct log_batch *batch,
                       struct intake_result *result, struct refusal *refusal)
{
    struct segment_run run = { .intake = intake,
                               .request = request,
                               .result = result,
                               .refusal = refusal,
                               .common = { .received_us = request->now_us,
                                           .request = intake->parts.requests++,
                                           .ip = request->ip,
                                           .sent_at_us = CLOCK_NONE } };
    int                rc;

    *result = (struct intake_result){ 0 };
    arena_reset(intake->parts.arena);
    intake_sink_begin(&run.sink, batch, request->historical);
    rc = run_request(&run);
    if (segment_take_denied(intake))
        rc = refusal_no_memory(refusal);
    if (rc < 0)
        intake_sink_rewind(&run.sink, result);
    payload_scratch_trim(&intake->scratch);
    if (intake->data.size > SEGMENT_KEEP_BYTES)
        buf_fini(&intake->data);
    return rc;
}
