/* capture/intake.c - the order of the checks is the contract: unreadable JSON, wrong types, no events,
 * tokens, and only then what each event says. A request that fails leaves the batch as it found it, so
 * that records are written in one pass without asking first whether all will be well. */
#include "capture/intake.h"

#include <stdio.h>
#include <stdlib.h>

#include "capture/event_check.h"
#include "capture/intake_parts.h"
#include "event/stamp.h"
#include "wire/time.h"

enum {
    INTAKE_ARENA_CHUNK_BYTES = 64 << 10,   /* the drafts of 200 events */
    INTAKE_REJECTED_DATA_BYTES = 64 << 10  /* of an event that is too large, this much is kept */
};

struct intake {
    struct intake_parts    parts;
    struct payload_scratch scratch;
};

/* One request on its way through. */
struct intake_work {
    struct intake               *intake;
    const struct intake_request *request;
    struct intake_sink           sink;
    struct intake_result        *result;
    struct refusal              *refusal;
    struct shape                 shape;
    struct record                common; /* what all its records share */
    const struct catalog_token  *sender; /* NULL: there was no event to ask for it */
    struct refusal               first_bad;
    bool                         has_first_bad;
};

struct intake *intake_new(const struct capture_settings *settings)
{
    struct intake *intake = calloc(1, sizeof *intake);

    if (intake == NULL)
        return NULL;
    if (intake_parts_init(&intake->parts, settings, INTAKE_ARENA_CHUNK_BYTES) < 0 ||
        payload_scratch_init(&intake->scratch, (size_t)settings->inflated_bytes_max) < 0) {
        intake_free(intake);
        return NULL;
    }
    return intake;
}

void intake_free(struct intake *intake)
{
    if (intake == NULL)
        return;
    payload_scratch_fini(&intake->scratch);
    intake_parts_fini(&intake->parts);
    free(intake);
}

size_t intake_bytes(const struct intake *intake)
{
    return payload_scratch_bytes(&intake->scratch);
}

struct uuid intake_uuid(struct intake *intake, int64_t now_us)
{
    return uuid_make(intake->parts.uuids, now_us);
}

static int intake_refuse_memory(struct intake_work *work)
{
    return refusal_set(work->refusal, 413, REFUSAL_OVERSIZE,
                       "maximum event size exceeded: the request needs more working memory than allowed");
}

/* --- refusing one event ------------------------------------------------------------------------ */

static enum refusal_cause intake_cause(enum record_rejection rejection)
{
    switch (rejection) {
    case RECORD_REJECTED_NO_EVENT_NAME: return REFUSAL_NO_EVENT_NAME;
    case RECORD_REJECTED_MISSING_EVENT_NAME: return REFUSAL_HYDRATION;
    case RECORD_REJECTED_NO_DISTINCT_ID: return REFUSAL_NO_DISTINCT_ID;
    case RECORD_REJECTED_INVALID_COOKIELESS: return REFUSAL_COOKIELESS;
    case RECORD_REJECTED_TOO_LARGE: return REFUSAL_OVERSIZE;
    default: return REFUSAL_PARSING;
    }
}

/* How large an event of this request may be. */
static size_t intake_event_bytes_max(const struct intake_work *work)
{
    const struct capture_settings *settings = work->intake->parts.settings;

    return (size_t)(work->request->llm_only ? settings->llm_event_bytes_max : settings->event_bytes_max);
}

static int intake_refuse_misrouted(struct intake_work *work, uint32_t index)
{
    return refusal_set(work->refusal, 400, REFUSAL_MISROUTED,
                       "event %u is none of a language model: /i/v0/ai/batch takes names that begin with $ai_, send others to /batch", index);
}

/* What a client would be told about this draft. index: -1 when it is the only event. */
static void intake_explain(struct refusal *refusal, enum record_rejection rejection, const char *detail, int64_t index)
{
    enum refusal_cause cause = intake_cause(rejection);
    char               place[40] = "";

    if (index >= 0)
        (void)snprintf(place, sizeof place, "event %lld: ", (long long)index);
    if (cause == REFUSAL_PARSING)
        refusal_set(refusal, 400, cause, "failed to parse request: %s%s", place, detail);
    else if (cause == REFUSAL_OVERSIZE)
        refusal_set(refusal, 413, cause, "maximum event size exceeded: %s%s", place, detail);
    else
        refusal_set(refusal, 400, cause, "%s", record_rejection_text(rejection));
}

static int intake_append(struct intake_work *work, const struct record *record)
{
    return intake_sink_put(&work->sink, record, "maximum event size exceeded: the request's events do not fit one commit", work->result,
                           work->refusal);
}

/* The client's own time; CLOCK_NONE: there is none that can be read. */
static int64_t intake_client_us(struct intake_work *work, const struct draft *draft)
{
    struct span text;
    int64_t     us;

    if (!draft_has(&draft->timestamp))
        return CLOCK_NONE;
    text = json_text(&draft->timestamp, work->intake->parts.arena);
    return text.at != NULL && time_parse_lenient(text, &us) ? us : CLOCK_NONE;
}

/* The uuid of a record whose client gave none. Its token and distinct id are known; otherwise_us: of a random one. */
static void intake_derive(struct intake_work *work, struct span object, struct record *record, int64_t client_us, int64_t otherwise_us)
{
    struct uuid_source *uuids = work->intake->parts.uuids;

    if (client_us != CLOCK_NONE) {
        record->uuid = uuid_derive(uuids, record->token, record->distinct_id, object, event_sent_at(object), client_us);
        record->flags |= RECORD_UUID_DERIVED;
    } else {
        record->uuid = uuid_make(uuids, otherwise_us);
        record->flags |= RECORD_UUID_MADE;
    }
}

/* Keeps a bad event as RECORD_REJECTED; its good neighbours go on. Sent again it has the same uuid, as a good one: of two
 * letters that are repaired and replayed one event is stored. */
static int intake_reject(struct intake_work *work, const struct draft *draft, uint32_t index,
                         enum record_rejection rejection, const char *detail)
{
    struct record record = work->common;
    struct span   text;
    bool          cut;

    work->result->by_rejection[rejection]++;
    if (!work->has_first_bad) {
        work->has_first_bad = true;
        intake_explain(&work->first_bad, rejection, detail, work->shape.count > 1 ? (int64_t)index : -1);
    }
    record.kind = RECORD_REJECTED;
    record.rejection = rejection;
    record.index = index;
    record.timestamp_us = work->common.received_us;
    record.detail = span_text(detail);
    record.data = draft->object;
    if (record.data.bytes > intake_event_bytes_max(work) && record.data.bytes > INTAKE_REJECTED_DATA_BYTES)
        record.data.bytes = INTAKE_REJECTED_DATA_BYTES;
    if (event_distinct_id(draft, work->intake->parts.arena, &record.distinct_id, &cut) < 0)
        return intake_refuse_memory(work);
    text = draft_has(&draft->uuid) ? span_of(draft->uuid.raw.at + 1, draft->uuid.raw.bytes - 2) : (struct span){ 0 };
    if (text.bytes == 0 || !uuid_parse(text, &record.uuid))
        intake_derive(work, record.data, &record, intake_client_us(work, draft), record.received_us);
    if (draft_has(&draft->event)) {
        record.event = json_text(&draft->event, work->intake->parts.arena);
        if (record.event.at == NULL)
            return intake_refuse_memory(work);
    }
    work->result->rejected++;
    return intake_append(work, &record);
}

/* --- one good event ---------------------------------------------------------------------------- */

static void intake_stamp(struct intake_work *work, const struct draft *draft, struct record *record,
                         int64_t *client_us_out)
{
    struct stamp_input input = { .now_us = record->received_us,
                                 .sent_at_us = record->sent_at_us,
                                 .client_us = intake_client_us(work, draft),
                                 .ignore_sent_at = draft->ignore_sent_at };
    struct stamp       stamp;

    if (draft_has(&draft->offset))
        input.has_offset = json_int64(&draft->offset, &input.offset_ms);
    stamp = stamp_compute(&input);
    record->timestamp_us = stamp.us;
    record->timestamp_source = stamp.source;
    *client_us_out = input.client_us;
    work->result->by_time[stamp.source]++;
}

/* work->common.token and record->distinct_id are known. */
static void intake_identify(struct intake_work *work, const struct draft *draft, struct record *record,
                            int64_t client_us)
{
    if (draft_has(&draft->uuid))
        record->uuid = draft->uuid_value;
    else
        intake_derive(work, draft->object, record, client_us, record->timestamp_us);
}

static int intake_accept(struct intake_work *work, const struct draft *draft, uint32_t index)
{
    const struct capture_settings *settings = work->intake->parts.settings;
    struct record                  record = work->common;
    char                           detail[EVENT_DETAIL_BYTES_MAX];
    int64_t                        client_us;
    bool                           cut;

    record.kind = RECORD_EVENT;
    record.index = index;
    if (draft->object.bytes > intake_event_bytes_max(work)) {
        (void)snprintf(detail, sizeof detail, "the event has %zu bytes, the limit is %zu", draft->object.bytes,
                       intake_event_bytes_max(work));
        return intake_reject(work, draft, index, RECORD_REJECTED_TOO_LARGE, detail);
    }
    if (draft_has(&draft->event)) {
        record.event = json_text(&draft->event, work->intake->parts.arena);
        if (record.event.at == NULL)
            return intake_refuse_memory(work);
        if (record.event.bytes == 0)
            return intake_reject(work, draft, index, RECORD_REJECTED_NO_EVENT_NAME, "event is the empty string");
    } else {
        record.event = SPAN("$identify");
        record.flags |= RECORD_ENGAGE;
    }
    if (event_distinct_id(draft, work->intake->parts.arena, &record.distinct_id, &cut) < 0)
        return intake_refuse_memory(work);
    if (record.distinct_id.bytes == 0)
        return intake_reject(work, draft, index, RECORD_REJECTED_NO_DISTINCT_ID,
                             "neither distinct_id nor properties.distinct_id says who it was");
    if (draft->cookieless == COOKIELESS_WRONG)
        return intake_reject(work, draft, index, RECORD_REJECTED_INVALID_COOKIELESS,
                             "properties.$cookieless_mode is not a boolean");
    if (draft->cookieless == COOKIELESS_TRUE)
        record.flags |= RECORD_COOKIELESS;
    if (cut)
        record.flags |= RECORD_DISTINCT_CUT;
    if (draft->repaired)
        record.flags |= RECORD_REPAIRED;
    if (draft->capture_internal)
        record.ip = SPAN("127.0.0.1");
    work->result->blank_ids += record.distinct_id.at[0] <= ' ' || record.distinct_id.at[record.distinct_id.bytes - 1] <= ' ';
    record.data = draft->object;
    record.pipeline = pipeline_of(record.event);
    if (work->request->llm_only && record.pipeline != PIPELINE_LLM)
        return intake_refuse_misrouted(work, index);
    if (record.pipeline != PIPELINE_ANALYTICS)
        record.flags &= ~(unsigned)RECORD_HISTORICAL;
    intake_stamp(work, draft, &record, &client_us);
    intake_identify(work, draft, &record, client_us);
    intake_mark_old(settings, &record, work->result);
    if (work->sender->rules != 0) {
        if (rules_drop(work->sender, &record)) {
            work->result->restricted++;
            return 0;
        }
        work->result->ids_limited += rules_mark_id(&work->request->rules, work->sender, &record);
        work->result->overflowing += (record.flags & RECORD_OVERFLOW) != 0;
    }
    work->result->accepted++;
    return intake_append(work, &record);
}

/* --- the request ------------------------------------------------------------------------------- */

static bool intake_filtered(const struct draft *draft)
{
    return draft->fault.rejection == RECORD_REJECTED_NONE && draft_has(&draft->event) &&
           json_text_is(&draft->event, "$performance_event");
}

/* Tokens are asked for only when at least one event could be stored under one. */
static int intake_token(struct intake_work *work, size_t well_typed)
{
    if (well_typed == 0)
        return 0;
    if (event_token(&work->shape, work->intake->parts.arena, &work->common.token, work->refusal) < 0)
        return -1;
    work->sender = work->request->rules.find(work->request->rules.find_ctx, work->common.token);
    if (work->sender == NULL)
        return refusal_set(work->refusal, 401, REFUSAL_UNKNOWN_TOKEN, "API key is not known: no project has it");
    work->common.project = work->sender->project;
    return 0;
}

/* --- what its sender may send ------------------------------------------------------------------ */

/* How many events a quota leaves. */
static size_t intake_ask_quotas(struct intake_work *work)
{
    size_t left = 0;

    for (size_t i = 0; i < work->shape.count; i++) {
        struct draft         *draft = &work->shape.drafts[i];
        struct span           name = { 0 };
        enum catalog_resource resource;

        if (draft->filtered)
            continue;
        if (draft_has(&draft->event))
            name = json_text(&draft->event, work->intake->parts.arena);
        resource = catalog_resource_of(name.at == NULL ? SPAN("") : name, draft->product_tour);
        draft->over_quota = rules_quota_is_over(work->sender, resource, work->common.received_us);
        work->result->by_quota[resource] += draft->over_quota;
        work->result->over_quota += draft->over_quota;
        left += !draft->over_quota;
    }
    return left;
}

static int intake_ask_rules(struct intake_work *work)
{
    size_t left = work->shape.count - work->result->filtered;

    if ((work->sender->rules & CATALOG_RULE_QUOTA) != 0)
        left = intake_ask_quotas(work);
    return (work->sender->rules & CATALOG_RULE_LIMIT) != 0 && left > 0
               ? rules_take(&work->request->rules, work->sender, left, false, work->refusal) : 0;
}

static void intake_sent_at(struct intake_work *work, int64_t query_us)
{
    struct record *common = &work->common;
    int64_t        us;
    int            zone_min;

    common->sent_at_us = query_us;
    if (draft_has(&work->shape.sent_at)) {
        struct span text = json_text(&work->shape.sent_at, work->intake->parts.arena);

        if (text.at != NULL && time_parse_iso8601(text, &us, &zone_min)) {
            common->sent_at_us = us;
            common->sent_at_zone_min = zone_min;
        }
    }
    if (common->sent_at_us != CLOCK_NONE) {
        work->result->skew_known = true;
        work->result->skew_s = ((double)common->sent_at_us - (double)common->received_us) / 1e6;
    }
}

static int intake_write(struct intake_work *work)
{
    char detail[EVENT_DETAIL_BYTES_MAX];

    for (size_t i = 0; i < work->shape.count; i++) {
        const struct draft *draft = &work->shape.drafts[i];
        int                 rc;

        between_items(&work->request->between, i);
        if (draft->over_quota || draft->filtered)
            continue;
        if (draft->fault.rejection != RECORD_REJECTED_NONE) {
            draft_fault_format(&draft->fault, detail, sizeof detail);
            rc = intake_reject(work, draft, (uint32_t)i, draft->fault.rejection, detail);
        } else {
            rc = intake_accept(work, draft, (uint32_t)i);
        }
        if (rc < 0)
            return -1;
    }
    if (work->result->accepted + work->result->restricted > 0 || !work->has_first_bad)
        return 0;
    *work->refusal = work->first_bad;
    return -1;
}

static int intake_events(struct intake_work *work, const struct payload *payload)
{
    struct shape_request request = { .text = payload->text,
                                     .engage = work->request->engage,
                                     .events_max = (size_t)work->intake->parts.settings->batch_events_max,
                                     .gzipped = payload->gzipped,
                                     .between = work->request->between };
    size_t               well_typed = 0;

    if (shape_read(work->intake->parts.arena, &request, &work->shape, work->refusal) < 0)
        return -1;
    work->result->events = (uint32_t)work->shape.count;
    if (work->shape.count == 0)
        return refusal_set(work->refusal, 400, REFUSAL_EMPTY_BATCH, "request holds no event");
    for (size_t i = 0; i < work->shape.count; i++) {
        struct draft *draft = &work->shape.drafts[i];

        between_items(&work->request->between, i);
        event_check_types(draft, work->intake->parts.arena);
        draft->filtered = intake_filtered(draft);
        work->result->filtered += draft->filtered;
        well_typed += !draft->filtered && draft->fault.rejection == RECORD_REJECTED_NONE;
    }
    if (intake_token(work, well_typed) < 0 ||
        (work->sender != NULL && work->sender->rules != 0 && intake_ask_rules(work) < 0))
        return -1;
    work->sink.import = work->shape.historical;
    if (work->shape.historical)
        work->common.flags |= RECORD_HISTORICAL;
    intake_sent_at(work, payload->sent_at_us);
    return intake_write(work);
}

/* Without memory a text seems to be no text, a wrapping none: whatever came out of the request is not to be trusted, be it
 * taken or refused. */
static bool intake_take_denied(struct intake *intake)
{
    bool arena = arena_take_denied(intake->parts.arena), scratch = payload_scratch_take_denied(&intake->scratch);

    return arena || scratch;
}

int intake_run(struct intake *intake, const struct intake_request *request, struct log_batch *batch,
               struct intake_result *result, struct refusal *refusal)
{
    struct intake_work    work = { .intake = intake,
                                   .request = request,
                                   .result = result,
                                   .refusal = refusal,
                                   .common = { .received_us = request->now_us,
                                               .request = intake->parts.requests++,
                                               .ip = request->ip,
                                               .sent_at_us = CLOCK_NONE } };
    struct payload        payload;
    int                   rc;

    *result = (struct intake_result){ 0 };
    arena_reset(intake->parts.arena);
    intake_sink_begin(&work.sink, batch, request->historical);
    rc = payload_decode(&intake->scratch, &request->payload, &payload, refusal);
    if (rc == 0) {
        result->beacon = payload.beacon;
        result->text_bytes = payload.text.bytes;
        result->gzipped = payload.gzipped;
        result->lz64 = payload.lz64;
        between_parts(&request->between);
        rc = intake_events(&work, &payload);
    }
    if (intake_take_denied(intake))
        rc = refusal_no_memory(refusal);
    if (rc < 0)
        intake_sink_rewind(&work.sink, result);
    payload_scratch_trim(&intake->scratch);
    return rc;
}
