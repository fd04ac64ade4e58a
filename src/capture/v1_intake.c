/* capture/v1_intake.c - the token is looked up before the body is unpacked: work is done for projects, not
 * for strangers. The verdicts are written before the records are on disk, and sent after: only a commit
 * that fails makes them untrue, and then they are thrown away with it. */
#include "capture/v1_intake.h"

#include <stdlib.h>

#include "capture/intake_parts.h"
#include "capture/v1_answer.h"
#include "event/stamp.h"
#include "wire/time.h"

enum {
    V1_ARENA_CHUNK_BYTES = 64 << 10,
    V1_KEEP_BYTES = 2 << 20,       /* of each buffer, between requests: holds any ordinary batch */
    V1_ANSWER_BYTES_EACH = 128,    /* more than the longest verdict with its uuid */
    V1_ANSWER_BYTES_MAX = 15 << 20, /* with its head it must fit a loop's `out` */
    V1_DATA_BYTES_MORE = 64 << 10, /* what may be added to an event: see v1_event_write */
};

struct v1_intake {
    struct intake_parts parts;
    struct inflate     *inflate;
    struct buf          text, data, answer, library;
};

struct v1_work {
    struct v1_intake               *intake;
    const struct v1_intake_request *request;
    struct intake_sink              sink;
    struct v1_intake_result        *result;
    struct refusal                 *refusal;
    struct v1_headers               headers;
    struct v1_batch                 events;
    struct record                   common;
    const struct catalog_token     *sender;
};

struct v1_intake *v1_intake_new(const struct capture_settings *settings)
{
    struct v1_intake *intake = calloc(1, sizeof *intake);

    if (intake == NULL)
        return NULL;
    intake->inflate = inflate_new();
    buf_init(&intake->text, (size_t)settings->v1_inflated_bytes_max - 1); /* the limit itself is too much */
    buf_init(&intake->data, (size_t)settings->event_bytes_max + V1_DATA_BYTES_MORE);
    buf_init(&intake->answer, V1_ANSWER_BYTES_MAX);
    buf_init(&intake->library, 8 * V1_SDK_INFO_BYTES_MAX);
    if (intake_parts_init(&intake->parts, settings, V1_ARENA_CHUNK_BYTES) < 0 || intake->inflate == NULL) {
        v1_intake_free(intake);
        return NULL;
    }
    return intake;
}

void v1_intake_free(struct v1_intake *intake)
{
    if (intake == NULL)
        return;
    intake_parts_fini(&intake->parts);
    inflate_free(intake->inflate);
    buf_fini(&intake->text);
    buf_fini(&intake->data);
    buf_fini(&intake->answer);
    buf_fini(&intake->library);
    free(intake);
}

size_t v1_intake_bytes(const struct v1_intake *intake)
{
    return intake->text.size + intake->data.size + intake->answer.size;
}

static void v1_trim(struct buf *buf)
{
    if (buf->size > V1_KEEP_BYTES)
        buf_fini(buf);
    else
        buf_reset(buf);
}

/* --- before the events ------------------------------------------------------------------------- */

static int v1_authorize(struct v1_work *work)
{
    if (v1_headers_read(work->request->http, &work->headers, work->refusal) < 0)
        return -1;
    work->sender = work->request->rules.find(work->request->rules.find_ctx, work->headers.token);
    if (work->sender == NULL)
        return refusal_set(work->refusal, 401, REFUSAL_UNKNOWN_TOKEN, "API key is not known: no project has it");
    if (rules_quota_is_over(work->sender, CATALOG_EVENTS, work->common.received_us)) {
        work->result->common.by_quota[CATALOG_EVENTS]++;
        return refusal_set(work->refusal, 429, REFUSAL_BILLING, "the quota of events of this project is used up");
    }
    work->common.project = work->sender->project;
    return 0;
}

static int v1_unpack(struct v1_work *work)
{
    struct v1_intake *intake = work->intake;
    struct err        err = { 0 };

    if (work->request->body.bytes == 0)
        return refusal_set(work->refusal, 400, REFUSAL_EMPTY_PAYLOAD, "the request has no body");
    if (unpack_body(intake->inflate, work->headers.coding, work->request->body, &intake->text, &err) < 0) {
        if (err.kind != ERR_FULL)
            return refusal_set(work->refusal, 400, REFUSAL_DECODING, "failed to decode request: %s", err.text);
        (void)refusal_set(work->refusal, 413, REFUSAL_OVERSIZE, "%s", err.text);
        work->refusal->size = work->headers.coding == UNPACK_GZIP       ? REFUSAL_SIZE_GZIP
                              : work->headers.coding == UNPACK_NONE ? REFUSAL_SIZE_PLAIN
                                                                      : REFUSAL_SIZE_FINE;
        return -1;
    }
    if (intake->text.bytes == 0)
        return refusal_set(work->refusal, 400, REFUSAL_EMPTY_PAYLOAD, "the request's body unpacks to nothing");
    work->result->common.text_bytes = intake->text.bytes;
    return 0;
}

/* What every event gets at its end. */
static void v1_write_library(struct v1_work *work)
{
    struct buf *out = &work->intake->library;

    buf_reset(out);
    if (work->headers.library.bytes == 0)
        return;
    buf_add_text(out, "\"$lib\":");
    json_write_string(out, work->headers.library);
    buf_add_text(out, ",\"$lib_version\":");
    json_write_string(out, work->headers.lib_version);
}

static void v1_fill_common(struct v1_work *work)
{
    struct record *common = &work->common;

    common->kind = RECORD_EVENT;
    common->flags |= RECORD_V1;
    common->token = work->headers.token;
    common->sent_at_us = work->headers.sent_at_us;
    common->sent_at_zone_min = work->headers.sent_at_zone_min;
    common->ip = work->events.internal ? SPAN("127.0.0.1") : work->request->ip;
    work->sink.import = work->events.historical;
    if (work->events.historical)
        common->flags |= RECORD_HISTORICAL;
    work->result->common.skew_known = true;
    work->result->common.skew_s = ((double)common->sent_at_us - (double)common->received_us) / 1e6;
}

/* --- what its sender may send ------------------------------------------------------------------ */

static enum v1_verdict v1_quota_verdict(enum catalog_resource resource)
{
    return resource == CATALOG_EXCEPTIONS ? V1_VERDICT_QUOTA_EXCEPTIONS
           : resource == CATALOG_SURVEYS  ? V1_VERDICT_QUOTA_SURVEYS
                                          : V1_VERDICT_QUOTA_LLM;
}

/* Quotas of some kinds of events take those out, one by one; work->judged says which are good otherwise. */
static void v1_ask_quotas(struct v1_work *work, const struct v1_fields *fields)
{
    for (size_t i = 0; i < work->events.count; i++) {
        struct v1_event      *event = &work->events.events[i];
        enum catalog_resource resource;

        if (!v1_verdict_keeps(event->verdict))
            continue;
        resource = catalog_resource_of(fields[i].event, fields[i].product_tour.raw.at != NULL);
        if (resource == CATALOG_EVENTS || !rules_quota_is_over(work->sender, resource, work->common.received_us))
            continue;
        event->verdict = v1_quota_verdict(resource);
        work->result->common.by_quota[resource]++;
        work->result->common.over_quota++;
    }
}

/* After all were judged: whom the quotas leave, and whether that comes too fast. */
static int v1_ask_rules(struct v1_work *work, const struct v1_fields *fields)
{
    size_t left = 0;

    if ((work->sender->rules & CATALOG_RULE_QUOTA) != 0)
        v1_ask_quotas(work, fields);
    for (size_t i = 0; i < work->events.count; i++)
        left += v1_verdict_keeps(work->events.events[i].verdict);
    if (left == 0 && work->result->common.over_quota > 0)
        return refusal_set(work->refusal, 429, REFUSAL_BILLING, "every event is over a quota of its project");
    return (work->sender->rules & CATALOG_RULE_LIMIT) != 0 && left > 0
               ? rules_take(&work->request->rules, work->sender, left, true, work->refusal) : 0;
}

/* A record that is complete: false when a restriction drops it. */
static bool v1_admit(struct v1_work *work, struct v1_event *event, struct record *record)
{
    if (rules_drop(work->sender, record)) {
        event->verdict = V1_VERDICT_RESTRICTED;
        work->result->common.restricted++;
        return false;
    }
    if (rules_mark_id(&work->request->rules, work->sender, record)) {
        event->verdict = V1_VERDICT_ID_LIMITED;
        work->result->common.ids_limited++;
        work->result->common.overflowing += (record->flags & RECORD_OVERFLOW) != 0;
    }
    return true;
}

/* --- one event --------------------------------------------------------------------------------- */

static void v1_stamp(struct v1_work *work, const struct v1_fields *fields, struct record *record)
{
    struct stamp_input input = { .now_us = record->received_us,
                                 .sent_at_us = record->sent_at_us,
                                 .client_us = fields->timestamp_us,
                                 .ignore_sent_at = fields->raw_time == V1_TRUE };
    struct stamp       stamp = stamp_compute(&input);

    if (input.ignore_sent_at) { /* who asks for the raw time gets it, from the future too */
        int year = time_year(fields->timestamp_us);

        stamp.us = year < 0 || year > 9999 ? 0 : fields->timestamp_us;
    }
    record->timestamp_us = stamp.us;
    record->timestamp_source = stamp.source;
    work->result->common.by_time[stamp.source]++;
}

static int v1_keep(struct v1_work *work, struct v1_event *event, const struct v1_fields *fields, uint32_t index)
{
    struct buf   *data = &work->intake->data;
    struct record record = work->common;

    record.index = index;
    record.uuid = event->uuid_value;
    record.event = fields->event;
    record.distinct_id = fields->distinct_id;
    record.pipeline = pipeline_of(fields->event);
    if (record.pipeline != PIPELINE_ANALYTICS)
        record.flags &= ~(unsigned)RECORD_HISTORICAL;
    if (fields->cookieless == V1_TRUE)
        record.flags |= RECORD_COOKIELESS;
    if (event->verdict == V1_VERDICT_PERSON_OFF)
        record.flags |= RECORD_PERSON_OFF;
    if (event->repaired)
        record.flags |= RECORD_REPAIRED;
    v1_stamp(work, fields, &record);
    intake_mark_old(work->intake->parts.settings, &record, &work->result->common);
    if (work->sender->rules != 0 && !v1_admit(work, event, &record))
        return 0;
    buf_reset(data);
    v1_event_write(event, fields, buf_span(&work->intake->library), data);
    if (data->failed)
        return refusal_set(work->refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: no memory");
    record.data = buf_span(data);
    work->result->common.accepted++;
    return intake_sink_put(&work->sink, &record, "the events are more than one commit can hold", &work->result->common, work->refusal);
}

static int v1_judge(struct v1_work *work, struct v1_event *event, struct v1_fields *fields)
{
    if (v1_event_judge(event, (size_t)work->intake->parts.settings->event_bytes_max, work->intake->parts.arena, fields, &event->verdict) < 0)
        return refusal_set(work->refusal, 413, REFUSAL_OVERSIZE, "the request needs more working memory than allowed");
    return 0;
}

/* Of a sender with rules: all are judged before the first is kept. */
static int v1_take_ruled(struct v1_work *work)
{
    struct v1_fields *fields = arena_alloc_array(work->intake->parts.arena, work->events.count, sizeof *fields);

    if (fields == NULL)
        return refusal_set(work->refusal, 413, REFUSAL_OVERSIZE, "the request needs more working memory than allowed");
    for (size_t i = 0; i < work->events.count; i++) {
        between_items(&work->request->between, i);
        if (v1_judge(work, &work->events.events[i], &fields[i]) < 0)
            return -1;
    }
    if (v1_ask_rules(work, fields) < 0)
        return -1;
    for (size_t i = 0; i < work->events.count; i++) {
        struct v1_event *event = &work->events.events[i];

        between_items(&work->request->between, i);
        if (v1_verdict_keeps(event->verdict) && v1_keep(work, event, &fields[i], (uint32_t)i) < 0)
            return -1;
        work->result->by_verdict[event->verdict]++;
    }
    return 0;
}

static int v1_take_events(struct v1_work *work)
{
    if (work->sender->rules != 0)
        return v1_take_ruled(work);
    for (size_t i = 0; i < work->events.count; i++) {
        struct v1_event *event = &work->events.events[i];
        struct v1_fields fields;

        between_items(&work->request->between, i);
        if (v1_judge(work, event, &fields) < 0)
            return -1;
        work->result->by_verdict[event->verdict]++;
        if (v1_verdict_keeps(event->verdict) && v1_keep(work, event, &fields, (uint32_t)i) < 0)
            return -1;
    }
    return 0;
}

static int v1_run(struct v1_work *work)
{
    struct v1_intake *intake = work->intake;

    if (v1_authorize(work) < 0 || v1_unpack(work) < 0)
        return -1;
    between_parts(&work->request->between);
    if (v1_batch_read(intake->parts.arena, buf_span(&intake->text), (size_t)intake->parts.settings->batch_events_max, &work->events,
                      work->refusal) < 0)
        return -1;
    work->result->common.events = (uint32_t)work->events.count;
    if (work->events.count > V1_ANSWER_BYTES_MAX / V1_ANSWER_BYTES_EACH - 1)
        return refusal_set(work->refusal, 413, REFUSAL_OVERSIZE, "more events than one answer can speak of");
    v1_write_library(work);
    v1_fill_common(work);
    if (v1_take_events(work) < 0)
        return -1;
    v1_answer_verdicts(&intake->answer, &work->events);
    if (intake->answer.failed)
        return refusal_set(work->refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: no memory for an answer");
    work->result->answer = buf_span(&intake->answer);
    return 0;
}

/* Without memory a text seems to be no text, a wrapping none: whatever came out of the request is not to be trusted, be it
 * taken or refused. */
static bool v1_take_denied(struct v1_intake *intake)
{
    bool denied = arena_take_denied(intake->parts.arena);

    denied |= buf_take_denied(&intake->text);
    denied |= buf_take_denied(&intake->data);
    denied |= buf_take_denied(&intake->answer);
    return denied | buf_take_denied(&intake->library);
}

int v1_intake_run(struct v1_intake *intake, const struct v1_intake_request *request, struct log_batch *batch,
                  struct v1_intake_result *result, struct refusal *refusal)
{
    struct v1_work work = { .intake = intake,
                            .request = request,
                            .result = result,
                            .refusal = refusal,
                            .common = { .received_us = request->now_us, .request = intake->parts.requests++ } };
    int            rc;

    *result = (struct v1_intake_result){ 0 };
    arena_reset(intake->parts.arena);
    intake_sink_begin(&work.sink, batch, request->historical);
    v1_trim(&intake->answer);
    rc = v1_run(&work);
    if (v1_take_denied(intake))
        rc = refusal_no_memory(refusal);
    if (rc < 0) {
        intake_sink_rewind(&work.sink, &result->common);
        memset(result->by_verdict, 0, sizeof result->by_verdict);
    }
    v1_trim(&intake->text);
    v1_trim(&intake->data);
    return rc;
}
