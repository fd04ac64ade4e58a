/* capture/replay_intake.c - the order of the checks is the contract: unreadable JSON, no events, the token, the quota, and then
 * the first event, which speaks for all: whose session it is, and when. Each event brings what was recorded. */
#include "capture/replay_intake.h"

#include <stdlib.h>

#include "capture/event_check.h"
#include "capture/intake_parts.h"
#include "capture/replay_shape.h"
#include "event/stamp.h"
#include "wire/time.h"
#include "wire/utf8.h"

enum { REPLAY_ARENA_CHUNK_BYTES = 64 << 10, REPLAY_DATA_KEEP_BYTES = 1 << 20, REPLAY_DATA_BYTES_MORE = 64 << 10 };

struct replay_intake {
    struct intake_parts    parts;
    struct payload_scratch scratch;
    struct buf             data;
};

struct replay_work {
    struct replay_intake        *intake;
    const struct replay_request *request;
    struct log_batch            *batch;
    struct intake_result        *result;
    struct refusal              *refusal;
    struct replay_shape          shape;
    const struct catalog_token  *sender;
    struct record                record;
    size_t                       copied; /* since it was stopped for others */
};

struct replay_intake *replay_intake_new(const struct capture_settings *settings)
{
    struct replay_intake *intake = calloc(1, sizeof *intake);

    if (intake == NULL)
        return NULL;
    buf_init(&intake->data, (size_t)settings->replay_inflated_bytes_max + REPLAY_DATA_BYTES_MORE);
    if (intake_parts_init(&intake->parts, settings, REPLAY_ARENA_CHUNK_BYTES) < 0 ||
        payload_scratch_init(&intake->scratch, (size_t)settings->replay_inflated_bytes_max) < 0) {
        replay_intake_free(intake);
        return NULL;
    }
    return intake;
}

void replay_intake_free(struct replay_intake *intake)
{
    if (intake == NULL)
        return;
    payload_scratch_fini(&intake->scratch);
    intake_parts_fini(&intake->parts);
    buf_fini(&intake->data);
    free(intake);
}

size_t replay_intake_bytes(const struct replay_intake *intake)
{
    return payload_scratch_bytes(&intake->scratch) + intake->data.size;
}

static int refuse_memory(struct replay_work *work)
{
    return refusal_set(work->refusal, 413, REFUSAL_OVERSIZE,
                       "maximum event size exceeded: the request needs more working memory than allowed");
}

/* --- who sends it ------------------------------------------------------------------------------ */

static int find_sender(struct replay_work *work)
{
    struct shape first = { .kind = SHAPE_SINGLE, .count = 1, .drafts = &work->shape.events[0].draft };

    if (event_token(&first, work->intake->parts.arena, &work->record.token, work->refusal) < 0)
        return -1;
    work->sender = work->request->rules.find(work->request->rules.find_ctx, work->record.token);
    if (work->sender == NULL)
        return refusal_set(work->refusal, 401, REFUSAL_UNKNOWN_TOKEN, "API key is not known: no project has it");
    work->record.project = work->sender->project;
    return 0;
}

/* --- the first event, which speaks for all ----------------------------------------------------- */

static bool session_id_usable(struct span id)
{
    if (id.bytes == 0 || id.bytes > REPLAY_SESSION_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < id.bytes; i++) {
        uint8_t byte = id.at[i], letter = byte | 0x20;

        if (!(letter >= 'a' && letter <= 'z') && !(byte >= '0' && byte <= '9') && byte != '-')
            return false;
    }
    return true;
}

static int read_session(struct replay_work *work)
{
    const struct json_value *id = &work->shape.events[0].session_id;

    if (!draft_has(id))
        return refusal_set(work->refusal, 400, REFUSAL_NO_SESSION_ID, "replay event submitted without session id");
    work->record.detail = id->kind == JSON_STRING ? json_text(id, work->intake->parts.arena) : SPAN("");
    if (work->record.detail.at == NULL)
        return refuse_memory(work);
    if (!session_id_usable(work->record.detail))
        return refusal_set(work->refusal, 400, REFUSAL_INVALID_SESSION, "replay event has invalid session id");
    return 0;
}

static void stamp_record(struct replay_work *work, int64_t query_us)
{
    const struct replay_event *first = &work->shape.events[0];
    struct record             *record = &work->record;
    struct stamp_input         input = { .now_us = record->received_us, .client_us = CLOCK_NONE, .ignore_sent_at = first->ignore_sent_at };
    struct stamp               stamp;
    int64_t                    us;
    int                        zone_min;

    record->sent_at_us = query_us;
    if (query_us == CLOCK_NONE && draft_has(&first->sent_at)) {
        struct span text = json_text(&first->sent_at, work->intake->parts.arena);

        if (text.at != NULL && time_parse_iso8601(text, &us, &zone_min)) {
            record->sent_at_us = us;
            record->sent_at_zone_min = zone_min;
        }
    }
    input.sent_at_us = record->sent_at_us;
    if (draft_has(&first->draft.timestamp)) {
        struct span text = json_text(&first->draft.timestamp, work->intake->parts.arena);

        if (text.at != NULL && time_parse_lenient(text, &us))
            input.client_us = us;
    }
    if (draft_has(&first->draft.offset))
        input.has_offset = json_int64(&first->draft.offset, &input.offset_ms);
    stamp = stamp_compute(&input);
    record->timestamp_us = stamp.us;
    record->timestamp_source = stamp.source;
}

static int fill_record(struct replay_work *work, int64_t query_us)
{
    const struct replay_event *first = &work->shape.events[0];
    struct record             *record = &work->record;
    bool                       cut;

    if (read_session(work) < 0)
        return -1;
    if (event_distinct_text(&first->draft, work->intake->parts.arena, &record->distinct_id, &cut) < 0)
        return refuse_memory(work);
    if (record->distinct_id.bytes == 0)
        return refusal_set(work->refusal, 400, REFUSAL_NO_DISTINCT_ID, "event submitted without a distinct_id");
    record->flags |= (cut ? RECORD_DISTINCT_CUT : 0u) | (first->cookieless ? RECORD_COOKIELESS : 0u);
    if (first->draft.capture_internal)
        record->ip = SPAN("127.0.0.1");
    stamp_record(work, query_us);
    if (draft_has(&first->draft.uuid)) {
        record->uuid = first->draft.uuid_value;
    } else {
        record->uuid = uuid_make(work->intake->parts.uuids, record->timestamp_us);
        record->flags |= RECORD_UUID_MADE;
    }
    return 0;
}

/* --- what is stored ---------------------------------------------------------------------------- */

/* The library by the client's name: "posthog-android" of "posthog-android/3.1". */
static struct span lib_of(struct span user_agent)
{
    const void *slash = user_agent.bytes > 0 ? memchr(user_agent.at, '/', user_agent.bytes) : NULL;
    struct span name = slash == NULL ? user_agent : span_of(user_agent.at, (size_t)((const uint8_t *)slash - user_agent.at));

    return name.bytes > 0 && name.bytes <= 200 && memmem(name.at, name.bytes, "posthog", 7) != NULL && utf8_valid(name) ? name
                                                                                                                        : SPAN("web");
}

static void write_member(struct buf *out, const char *key, const struct json_value *value, struct span otherwise)
{
    buf_add_format(out, ",\"%s\":", key);
    if (draft_has(value))
        buf_add(out, value->raw);
    else
        json_write_string(out, otherwise);
}

/* The next bytes to be copied, of all that are left: what was copied before stops others for some 100 us. */
static struct span part_take(struct replay_work *work, struct span *rest)
{
    struct span part = span_of(rest->at, rest->bytes < BETWEEN_BYTES ? rest->bytes : BETWEEN_BYTES);

    if (work->copied + part.bytes > BETWEEN_BYTES) {
        work->copied = 0;
        between_parts(&work->request->between);
    }
    work->copied += part.bytes;
    *rest = span_from(*rest, part.bytes);
    return part;
}

/* What each event recorded, one after the other. -1: one of them recorded nothing. */
static int write_items(struct replay_work *work, struct buf *out)
{
    bool first = true;

    buf_add_text(out, ",\"$snapshot_items\":[");
    for (size_t i = 0; i < work->shape.count; i++) {
        const struct json_value *data = &work->shape.events[i].data;
        struct span              items = data->raw;

        if (!draft_has(data) || (data->kind != JSON_ARRAY && data->kind != JSON_OBJECT))
            return refusal_set(work->refusal, 400, REFUSAL_NO_SNAPSHOT, "replay event submitted without snapshot data");
        if (data->kind == JSON_ARRAY) {
            items = event_text_trim(span_of(items.at + 1, items.bytes - 2));
            if (items.bytes == 0)
                continue;
        }
        buf_add_text(out, first ? "" : ",");
        while (items.bytes > 0)
            buf_add(out, part_take(work, &items));
        first = false;
    }
    buf_add_byte(out, ']');
    return 0;
}

static int write_data(struct replay_work *work)
{
    const struct replay_event *first = &work->shape.events[0];
    struct buf                *out = &work->intake->data;

    buf_reset(out);
    buf_add_text(out, "{\"event\":\"$snapshot_items\",\"properties\":{\"distinct_id\":");
    json_write_string(out, work->record.distinct_id);
    write_member(out, "$session_id", &first->session_id, SPAN(""));
    write_member(out, "$window_id", &first->window_id, work->record.detail);
    write_member(out, "$snapshot_source", &first->source, SPAN("web"));
    if (write_items(work, out) < 0)
        return -1;
    write_member(out, "$lib", &first->lib, lib_of(work->request->user_agent));
    if (draft_has(&first->host) && first->host.kind == JSON_STRING)
        write_member(out, "$snapshot_host", &first->host, SPAN(""));
    buf_add_text(out, "}}");
    if (out->failed)
        return refuse_memory(work);
    work->record.data = buf_span(out);
    return 0;
}

static int append(struct replay_work *work)
{
    size_t   bytes = record_bytes(&work->record);
    uint8_t *to = bytes > LOG_RECORD_BYTES_MAX ? NULL : log_batch_begin(work->batch, bytes);

    if (bytes > LOG_RECORD_BYTES_MAX)
        return refusal_set(work->refusal, 413, REFUSAL_OVERSIZE, "maximum event size exceeded: a recording of %zu bytes", bytes);
    if (to == NULL)
        return refusal_set(work->refusal, 503, REFUSAL_UNAVAILABLE,
                           "service unavailable: more recordings than one commit holds, send again");
    to = record_write_head(&work->record, to);
    for (struct span rest = work->record.data; rest.bytes > 0;) {
        struct span part = part_take(work, &rest);

        memcpy(to, part.at, part.bytes);
        to += part.bytes;
    }
    log_batch_end(work->batch, bytes);
    work->result->accepted = 1;
    work->result->by_time[work->record.timestamp_source]++;
    return 0;
}

/* --- the request ------------------------------------------------------------------------------- */

static int take_request(struct replay_work *work, const struct payload *payload)
{
    struct shape_request request = { .text = payload->text,
                                     .events_max = (size_t)work->intake->parts.settings->batch_events_max,
                                     .gzipped = payload->gzipped,
                                     .between = work->request->between };

    if (replay_shape_read(work->intake->parts.arena, &request, &work->shape, work->refusal) < 0)
        return -1;
    work->result->events = (uint32_t)work->shape.count;
    if (work->shape.count == 0)
        return refusal_set(work->refusal, 400, REFUSAL_EMPTY_BATCH, "request holds no event");
    if (find_sender(work) < 0)
        return -1;
    if (rules_quota_is_over(work->sender, CATALOG_RECORDINGS, work->record.received_us)) {
        work->result->over_quota = work->result->by_quota[CATALOG_RECORDINGS] = work->result->events;
        return 0;
    }
    if ((work->sender->rules & CATALOG_RULE_LIMIT) != 0 &&
        rules_take(&work->request->rules, work->sender, work->shape.count, false, work->refusal) < 0)
        return -1;
    if (fill_record(work, payload->sent_at_us) < 0 || write_data(work) < 0)
        return -1;
    if (rules_drop(work->sender, &work->record)) {
        work->result->restricted = work->result->events;
        return 0;
    }
    return append(work);
}

/* Without memory a text seems to be no text, a wrapping none: whatever came out of the request is not to be trusted, be it
 * taken or refused. */
static bool replay_take_denied(struct replay_intake *intake)
{
    bool denied = arena_take_denied(intake->parts.arena);

    denied |= payload_scratch_take_denied(&intake->scratch);
    return denied | buf_take_denied(&intake->data);
}

int replay_intake_run(struct replay_intake *intake, const struct replay_request *request, struct log_batch *batch,
                      struct intake_result *result, struct refusal *refusal)
{
    struct replay_work    work = { .intake = intake,
                                   .request = request,
                                   .batch = batch,
                                   .result = result,
                                   .refusal = refusal,
                                   .record = { .kind = RECORD_EVENT,
                                               .event = SPAN("$snapshot_items"),
                                               .received_us = request->now_us,
                                               .request = intake->parts.requests++,
                                               .ip = request->ip,
                                               .sent_at_us = CLOCK_NONE } };
    struct log_batch_mark mark = log_batch_mark(batch);
    struct payload        payload;
    int                   rc;

    *result = (struct intake_result){ .recording = true };
    arena_reset(intake->parts.arena);
    rc = payload_decode(&intake->scratch, &request->payload, &payload, refusal);
    if (rc == 0) {
        result->beacon = payload.beacon;
        result->text_bytes = payload.text.bytes;
        result->gzipped = payload.gzipped;
        result->lz64 = payload.lz64;
        between_parts(&request->between);
        rc = take_request(&work, &payload);
    }
    if (replay_take_denied(intake))
        rc = refusal_no_memory(refusal);
    if (rc < 0) {
        log_batch_rewind(batch, mark);
        result->accepted = 0;
    }
    payload_scratch_trim(&intake->scratch);
    if (intake->data.size > REPLAY_DATA_KEEP_BYTES)
        buf_fini(&intake->data);
    return rc;
}
