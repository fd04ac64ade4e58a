/* capture/shape.c - one walk. The obvious way, trying one shape after the other, reads the text up to four
 * times; here the object at the top is read as an event and as an envelope at once, and which of them it
 * was is decided at its end. A key that stands twice counts with its last value, as everywhere. */
#include "capture/shape.h"

#include <stdio.h>

#include "wire/utf8.h"

enum { SHAPE_DRAFTS_FIRST = 8 };

struct shape_walk {
    struct json_reader reader;
    struct arena      *arena;
    struct between     between;
    size_t             events_max;
    size_t             count, room;
    struct draft      *drafts;
    bool               too_many, no_memory;
};

struct shape_envelope {
    bool              has_batch;
    struct json_value token, api_key, historical, sent_at;
};

static void draft_blame(struct draft *draft, enum record_rejection rejection, const char *field, enum json_kind kind,
                        const char *expected)
{
    if (draft->fault.rejection == RECORD_REJECTED_NONE)
        draft->fault = (struct draft_fault){ rejection, field, kind, expected };
}

void draft_fault_format(const struct draft_fault *fault, char *out, size_t out_bytes)
{
    static const char *const kinds[] = { "null", "a boolean", "a boolean", "a number", "a string", "an array",
                                         "an object" };

    (void)snprintf(out, out_bytes, "%s is %s, expected %s", fault->field == NULL ? "the event" : fault->field,
                   kinds[fault->kind], fault->expected);
}

/* --- one event --------------------------------------------------------------------------------- */

static bool shape_key_is(const struct json_value *key, const char *text, size_t bytes)
{
    if (key->escaped)
        return json_text_is(key, text);
    return key->raw.bytes == bytes + 2 && memcmp(key->raw.at + 1, text, bytes) == 0;
}
#define KEY_IS(key, literal) shape_key_is((key), literal, sizeof(literal) - 1)

static void draft_take_property(struct draft *draft, const struct json_value *key, const struct json_value *value)
{
    if (KEY_IS(key, "token"))
        draft->prop_token = value->kind == JSON_STRING ? *value : (struct json_value){ 0 };
    else if (KEY_IS(key, "distinct_id"))
        draft->prop_distinct_id = value->kind == JSON_NULL ? (struct json_value){ 0 } : *value;
    else if (KEY_IS(key, "$cookieless_mode"))
        draft->cookieless = value->kind == JSON_TRUE    ? COOKIELESS_TRUE
                            : value->kind == JSON_FALSE ? COOKIELESS_FALSE
                                                        : COOKIELESS_WRONG;
    else if (KEY_IS(key, "$ignore_sent_at"))
        draft->ignore_sent_at = value->kind == JSON_TRUE;
    else if (KEY_IS(key, "capture_internal"))
        draft->capture_internal = true;
    else if (KEY_IS(key, "$product_tour_id"))
        draft->product_tour = value->kind != JSON_NULL;
}

#define LENGTH_OF(literal) (UINT64_C(1) << (sizeof(literal) - 1))
static const uint64_t draft_properties_wanted = LENGTH_OF("token") | LENGTH_OF("distinct_id") |
                                                LENGTH_OF("$cookieless_mode") | LENGTH_OF("$ignore_sent_at") |
                                                LENGTH_OF("capture_internal") | LENGTH_OF("$product_tour_id");

static int draft_read_properties(struct json_reader *reader, struct draft *draft)
{
    struct json_value key;
    struct json_value value;
    int               more;

    draft->prop_token = draft->prop_distinct_id = (struct json_value){ 0 };
    draft->cookieless = COOKIELESS_ABSENT;
    draft->ignore_sent_at = draft->capture_internal = draft->product_tour = false;
    if (json_object_enter(reader) < 0)
        return -1;
    while ((more = json_object_next_of(reader, draft_properties_wanted, &key)) == 1) {
        if (json_skip(reader, &value) < 0)
            return -1;
        draft_take_property(draft, &key, &value);
    }
    return more;
}

/* A value that may be null, and must otherwise be a string. */
static void draft_take_text(struct draft *draft, struct json_value *slot, const struct json_value *value,
                            const char *field)
{
    *slot = value->kind == JSON_STRING ? *value : (struct json_value){ 0 };
    if (value->kind != JSON_STRING && value->kind != JSON_NULL)
        draft_blame(draft, RECORD_REJECTED_BAD_FIELD, field, value->kind, "a string or null");
}

/* Of two aliases the one of better rank counts, whichever comes first; a null leaves the other in force. */
static void draft_take_token(struct draft *draft, const struct json_value *value, uint8_t rank, const char *field)
{
    struct json_value text = { 0 };

    draft_take_text(draft, &text, value, field);
    if (!draft_has(&text) || (draft->token_rank != 0 && draft->token_rank < rank))
        return;
    draft->token = text;
    draft->token_rank = rank;
}

static void draft_take_distinct_id(struct draft *draft, const struct json_value *value, uint8_t rank)
{
    if (value->kind == JSON_NULL || (draft->distinct_id_rank != 0 && draft->distinct_id_rank < rank))
        return;
    draft->distinct_id = *value;
    draft->distinct_id_rank = rank;
}

static void draft_take_map(struct draft *draft, const struct json_value *value, const char *field)
{
    if (value->kind != JSON_OBJECT && value->kind != JSON_NULL)
        draft_blame(draft, RECORD_REJECTED_BAD_FIELD, field, value->kind, "an object or null");
}

static void draft_take_offset(struct draft *draft, const struct json_value *value)
{
    int64_t number;

    draft->offset = (struct json_value){ 0 };
    if (value->kind == JSON_NULL)
        return;
    if (value->kind != JSON_NUMBER || !json_int64(value, &number))
        draft_blame(draft, RECORD_REJECTED_BAD_FIELD, "offset", value->kind, "a whole number of 64 bits or null");
    else
        draft->offset = *value;
}

static void draft_take_field(struct draft *draft, const struct json_value *key, const struct json_value *value)
{
    if (KEY_IS(key, "event")) {
        draft_take_text(draft, &draft->event, value, "event");
    } else if (KEY_IS(key, "distinct_id")) {
        draft_take_distinct_id(draft, value, 1);
    } else if (KEY_IS(key, "uuid")) {
        draft_take_text(draft, &draft->uuid, value, "uuid");
    } else if (KEY_IS(key, "timestamp")) {
        draft_take_text(draft, &draft->timestamp, value, "timestamp");
    } else if (KEY_IS(key, "token")) {
        draft_take_token(draft, value, 1, "token");
    } else if (KEY_IS(key, "api_key")) {
        draft_take_token(draft, value, 2, "api_key");
    } else if (KEY_IS(key, "offset")) {
        draft_take_offset(draft, value);
    } else if (key->escaped || key->raw.at[1] == '$') {
        if (KEY_IS(key, "$set"))
            draft_take_map(draft, value, "$set");
        else if (KEY_IS(key, "$set_once"))
            draft_take_map(draft, value, "$set_once");
        else if (KEY_IS(key, "$token"))
            draft_take_token(draft, value, 3, "$token");
        else if (KEY_IS(key, "$distinct_id"))
            draft_take_distinct_id(draft, value, 2);
    }
}

bool draft_take_member(struct draft *draft, const struct json_value *key, const struct json_value *value)
{
    draft_take_field(draft, key, value);
    return draft->fault.rejection == RECORD_REJECTED_NONE;
}

/* --- the walk ---------------------------------------------------------------------------------- */

static struct draft *shape_draft_new(struct shape_walk *walk)
{
    struct draft *draft;

    if (walk->count == walk->events_max) {
        walk->too_many = true;
        return NULL;
    }
    if (walk->count > 0)
        between_items(&walk->between, walk->count);
    if (walk->count == walk->room) {
        size_t        room = walk->room == 0 ? SHAPE_DRAFTS_FIRST : walk->room * 2;
        struct draft *more;

        if (room > walk->events_max)
            room = walk->events_max;
        more = walk->room == 0 ? arena_alloc_array(walk->arena, room, sizeof *more)
                               : arena_grow(walk->arena, walk->drafts, walk->room * sizeof *more, room * sizeof *more);
        if (more == NULL) {
            walk->no_memory = true;
            return NULL;
        }
        walk->drafts = more;
        walk->room = room;
    }
    draft = &walk->drafts[walk->count++];
    memset(draft, 0, sizeof *draft);
    return draft;
}

static int shape_read_batch(struct shape_walk *walk);

static int shape_take_envelope(struct shape_envelope *envelope, const struct json_value *key,
                               const struct json_value *value)
{
    if (KEY_IS(key, "token"))
        envelope->token = *value;
    else if (KEY_IS(key, "api_key"))
        envelope->api_key = *value;
    else if (KEY_IS(key, "historical_migration"))
        envelope->historical = *value;
    else if (KEY_IS(key, "sent_at"))
        envelope->sent_at = *value;
    else if (KEY_IS(key, "batch"))
        envelope->has_batch = false; /* not an array */
    return 0;
}

/* The object that comes next, as an event; as an envelope too when there is one to fill. */
static int shape_read_object(struct shape_walk *walk, struct draft *draft, struct shape_envelope *envelope)
{
    struct json_reader *reader = &walk->reader;
    uint32_t            repaired = reader->surrogates_repaired + reader->nuls_repaired;
    struct json_value   key;
    struct json_value   value;
    const uint8_t      *start;
    int                 more;

    if (json_peek(reader) < 0)
        return -1;
    start = reader->at;
    if (json_object_enter(reader) < 0)
        return -1;
    while ((more = json_object_next(reader, &key)) == 1) {
        int kind = json_peek(reader);

        if (kind < 0)
            return -1;
        if (kind == JSON_OBJECT && KEY_IS(&key, "properties")) {
            if (draft_read_properties(reader, draft) < 0)
                return -1;
            continue;
        }
        if (envelope != NULL && kind == JSON_ARRAY && KEY_IS(&key, "batch")) {
            walk->count = 0; /* of two batches the last counts */
            if (shape_read_batch(walk) < 0)
                return -1;
            envelope->has_batch = true;
            continue;
        }
        if (json_skip(reader, &value) < 0)
            return -1;
        if (KEY_IS(&key, "properties"))
            draft_blame(draft, RECORD_REJECTED_BAD_FIELD, "properties", value.kind, "an object");
        draft_take_field(draft, &key, &value);
        if (envelope != NULL && shape_take_envelope(envelope, &key, &value) < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    draft->object = span_of(start, (size_t)(reader->at - start));
    draft->repaired = reader->surrogates_repaired + reader->nuls_repaired != repaired;
    return 0;
}

/* The array that comes next: each element a draft, whatever it is. */
static int shape_read_batch(struct shape_walk *walk)
{
    int more;

    if (json_array_enter(&walk->reader) < 0)
        return -1;
    while ((more = json_array_next(&walk->reader)) == 1) {
        struct draft *draft = shape_draft_new(walk);
        int           kind = json_peek(&walk->reader);

        if (draft == NULL || kind < 0)
            return -1;
        if (kind == JSON_OBJECT) {
            if (shape_read_object(walk, draft, NULL) < 0)
                return -1;
            if (!draft_has(&draft->event))
                draft_blame(draft, RECORD_REJECTED_MISSING_EVENT_NAME, "event", JSON_NULL, "a string");
        } else {
            struct json_value value;

            if (json_skip(&walk->reader, &value) < 0)
                return -1;
            draft->object = value.raw;
            draft_blame(draft, RECORD_REJECTED_BAD_FIELD, NULL, value.kind, "an object");
        }
    }
    return more;
}

/* --- the request ------------------------------------------------------------------------------- */

int shape_refuse_text(const struct json_reader *reader, const struct shape_request *request, struct refusal *refusal)
{
    struct err err = { 0 };

    if (!utf8_valid(request->text))
        return refusal_set(refusal, 400, REFUSAL_DECODING, "failed to decode request: %s",
                           request->gzipped ? "invalid gzip data" : "invalid UTF8 in request payload");
    json_explain(reader, &err);
    return refusal_set(refusal, 400, REFUSAL_PARSING, "failed to parse request: %s", err.text);
}

static int shape_refuse(const struct shape_walk *walk, const struct shape_request *request, struct refusal *refusal)
{
    if (walk->too_many)
        return refusal_set(refusal, 413, REFUSAL_OVERSIZE,
                           "maximum event size exceeded: more than %zu events in one request", walk->events_max);
    if (walk->no_memory)
        return refusal_set(refusal, 413, REFUSAL_OVERSIZE,
                           "maximum event size exceeded: the request needs more working memory than allowed");
    return shape_refuse_text(&walk->reader, request, refusal);
}

static bool shape_is_batch(const struct shape_envelope *envelope, struct json_value *token_out)
{
    enum json_kind flag = envelope->historical.kind;

    if (!envelope->has_batch)
        return false;
    if (draft_has(&envelope->token) && envelope->token.kind == JSON_STRING)
        *token_out = envelope->token;
    else if (draft_has(&envelope->api_key) && envelope->api_key.kind == JSON_STRING)
        *token_out = envelope->api_key;
    else
        return false;
    if (draft_has(&envelope->historical) && flag != JSON_TRUE && flag != JSON_FALSE && flag != JSON_NULL)
        return false;
    return !draft_has(&envelope->sent_at) || envelope->sent_at.kind == JSON_STRING ||
           envelope->sent_at.kind == JSON_NULL;
}

/* One object at the top: decides which of three shapes it was. */
static int shape_read_top(struct shape_walk *walk, const struct shape_request *request, struct shape *out,
                          struct refusal *refusal)
{
    struct shape_envelope envelope = { 0 };
    struct draft          top = { 0 };
    struct json_value     token = { 0 };

    if (shape_read_object(walk, &top, &envelope) < 0 || json_finish(&walk->reader) < 0)
        return shape_refuse(walk, request, refusal);
    if (shape_is_batch(&envelope, &token)) {
        *out = (struct shape){ .kind = SHAPE_BATCH,
                               .count = walk->count,
                               .drafts = walk->drafts,
                               .token = token,
                               .historical = draft_has(&envelope.historical) && envelope.historical.kind == JSON_TRUE };
        if (draft_has(&envelope.sent_at) && envelope.sent_at.kind == JSON_STRING)
            out->sent_at = envelope.sent_at;
        return 0;
    }
    walk->count = 0;
    if (shape_draft_new(walk) == NULL)
        return shape_refuse(walk, request, refusal);
    walk->drafts[0] = top;
    if (!draft_has(&top.event) && !request->engage)
        draft_blame(&walk->drafts[0], RECORD_REJECTED_MISSING_EVENT_NAME, "event", JSON_NULL, "a string");
    *out = (struct shape){ .kind = draft_has(&top.event) ? SHAPE_SINGLE : SHAPE_ENGAGE,
                           .count = 1,
                           .drafts = walk->drafts };
    return 0;
}

static int shape_walk_text(struct shape_walk *walk, const struct shape_request *request, struct shape *out,
                           struct refusal *refusal)
{
    struct json_value value;
    int               kind;

    json_reader_init(&walk->reader, request->text, JSON_REPAIR);
    kind = json_peek(&walk->reader);
    if (kind == JSON_OBJECT)
        return shape_read_top(walk, request, out, refusal);
    if (kind == JSON_ARRAY) {
        if (shape_read_batch(walk) < 0 || json_finish(&walk->reader) < 0)
            return shape_refuse(walk, request, refusal);
        *out = (struct shape){ .kind = SHAPE_ARRAY, .count = walk->count, .drafts = walk->drafts };
        return 0;
    }
    if (kind < 0 || json_skip(&walk->reader, &value) < 0 || json_finish(&walk->reader) < 0)
        return shape_refuse(walk, request, refusal);
    return refusal_set(refusal, 400, REFUSAL_PARSING,
                       "failed to parse request: expected an event, an array of events or a batch");
}

bool shape_repair_surrogates(struct span text)
{
    uint8_t *at = (uint8_t *)(uintptr_t)text.at; /* writable: payload.h P1 */
    size_t   wrong;

    while ((wrong = utf8_valid_until(text)) < text.bytes) {
        size_t done = (size_t)(text.at - at) + wrong;

        if (text.bytes - wrong < 3 || at[done] != 0xed || at[done + 1] < 0xa0 || (at[done + 2] & 0xc0) != 0x80)
            return false;
        memcpy(at + done, "\xef\xbf\xbd", 3);
        text = span_from(text, wrong + 3);
    }
    return true;
}

int shape_read(struct arena *arena, const struct shape_request *request, struct shape *out, struct refusal *refusal)
{
    struct shape_walk walk = { .arena = arena, .events_max = request->events_max, .between = request->between };
    int               rc = shape_walk_text(&walk, request, out, refusal);

    if (rc == 0 || walk.reader.problem != JSON_BAD_UTF8 || !shape_repair_surrogates(request->text))
        return rc;
    walk = (struct shape_walk){ .arena = arena, .events_max = request->events_max, .between = request->between };
    rc = shape_walk_text(&walk, request, out, refusal);
    for (size_t i = 0; rc == 0 && i < out->count; i++)
        out->drafts[i].repaired = true;
    return rc;
}
