/* event/upstream_record_read.c - reading messages that others wrote. Whatever stands there, a record comes out: what a consumer
 * cannot make sense of must not stop it, and must not vanish.
 *
 * The value is copied once, because the repairs of wire/json.h J5 are made in place, and then read twice, as it was written:
 * the envelope, and `data` inside it. Members of `data` count where the envelope has none of that name. */
#include "event/upstream_record.h"

#include <stdarg.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "event/stamp.h"
#include "wire/ip.h"
#include "wire/json.h"
#include "wire/time.h"
#include "wire/utf8.h"

enum {
    TOKEN_BYTES_MAX = UINT8_MAX,        /* what a record holds; a project's token has at most 64 */
    DISTINCT_ID_BYTES_MAX = UINT16_MAX, /* likewise; ingest refuses more than 400 characters */
    DETAIL_BYTES_MAX = 320
};

/* Members that a message has twice: in the envelope, and in `data`. A JSON null of the envelope hides the other. */
enum field { UUID, DISTINCT_ID, EVENT, TIMESTAMP, NOW, SENT_AT, IP, FIELD_COUNT };

struct reading {
    const struct upstream_message *message;
    const struct upstream_origin  *origin;
    struct arena                  *arena;
    struct record                 *record;
    struct json_value              fields[FIELD_COUNT]; /* raw.at NULL: in neither */
    struct json_value              data, token, cookieless, historical; /* of the envelope */
    struct json_value              offset, properties;                  /* of `data` */
    bool                           repaired;
    bool                           no_memory;
    enum record_rejection          rejection;
    char                           detail[DETAIL_BYTES_MAX];
};

static const struct { const char *name; bool text; /* no null, and numbers and booleans count as text */ } field_infos[FIELD_COUNT] = {
    [UUID] = { "uuid", true }, [DISTINCT_ID] = { "distinct_id", true }, [EVENT] = { "event", true },
    [TIMESTAMP] = { "timestamp", false }, [NOW] = { "now", false }, [SENT_AT] = { "sent_at", false }, [IP] = { "ip", false }
};

/* Remembers the first thing that is wrong. -1, always. */
static int reject(struct reading *reading, enum record_rejection rejection, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int reject(struct reading *reading, enum record_rejection rejection, const char *fmt, ...)
{
    va_list args;

    if (reading->rejection != RECORD_REJECTED_NONE)
        return -1;
    reading->rejection = rejection;
    va_start(args, fmt);
    (void)vsnprintf(reading->detail, sizeof reading->detail, fmt, args);
    va_end(args);
    return -1;
}

static int no_memory(struct reading *reading)
{
    reading->no_memory = true;
    return -1;
}

static const char *kind_name(const struct json_value *value)
{
    static const char *const names[] = { "null", "a boolean", "a boolean", "a number", "a string", "a list", "an object" };

    return names[value->kind];
}

/* Scalars as text. at NULL: no memory. */
static struct span scalar_text(const struct json_value *value, struct arena *arena)
{
    return value->kind == JSON_STRING ? json_text(value, arena) : value->raw;
}

/* --- JSON -------------------------------------------------------------------------------------- */

static bool take_field(struct reading *reading, const struct json_value *key, const struct json_value *value, bool inner,
                       const struct json_value *outer)
{
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (json_text_is(key, field_infos[i].name)) {
            if (!inner || outer[i].raw.at == NULL)
                reading->fields[i] = *value;
            return true;
        }
    return false;
}

/* *object_out: without what may stand around it. */
static int read_object(struct reading *reading, struct span text, const char *where, bool inner, struct span *object_out)
{
    struct json_value  outer[FIELD_COUNT], key, value;
    struct json_reader reader;
    struct err         why = { 0 };
    const uint8_t     *start, *end;
    int                more = -1;

    memcpy(outer, reading->fields, sizeof outer);
    json_reader_init(&reader, text, JSON_REPAIR);
    if (json_peek(&reader) >= 0 && json_peek(&reader) != JSON_OBJECT)
        return reject(reading, RECORD_REJECTED_UNREADABLE, "%s: an object is needed", where);
    start = reader.at;
    if (json_object_enter(&reader) == 0)
        while ((more = json_object_next(&reader, &key)) > 0) {
            if (json_skip(&reader, &value) < 0) {
                more = -1;
                break;
            }
            if (take_field(reading, &key, &value, inner, outer))
                continue;
            if (inner && json_text_is(&key, "offset"))
                reading->offset = value;
            else if (inner && json_text_is(&key, "properties"))
                reading->properties = value;
            else if (!inner && json_text_is(&key, "data"))
                reading->data = value;
            else if (!inner && json_text_is(&key, "token"))
                reading->token = value;
            else if (!inner && json_text_is(&key, "is_cookieless_mode"))
                reading->cookieless = value;
            else if (!inner && json_text_is(&key, "historical_migration"))
                reading->historical = value;
        }
    end = reader.at;
    if (more == 0 && json_finish(&reader) == 0) {
        *object_out = span_of(start, (size_t)(end - start));
        reading->repaired |= reader.surrogates_repaired + reader.nuls_repaired > 0;
        return 0;
    }
    (void)json_explain(&reader, &why);
    return reject(reading, RECORD_REJECTED_UNREADABLE, "%s: %s", where, why.text);
}

static int read_value(struct reading *reading)
{
    struct span copy;

    if (upstream_header_find(reading->message, "content-encoding", &copy))
        return reject(reading, RECORD_REJECTED_UNREADABLE, "content-encoding %.*s: this topic's messages are plain JSON", SPAN_ARG(copy));
    if (reading->message->value.bytes == 0)
        return reject(reading, RECORD_REJECTED_UNREADABLE, "the message is empty");
    copy = arena_copy(reading->arena, reading->message->value);
    if (copy.at == NULL)
        return no_memory(reading);
    return read_object(reading, copy, "message", false, &copy);
}

static int read_data(struct reading *reading)
{
    struct span text;

    if (reading->data.raw.at == NULL || reading->data.kind == JSON_NULL)
        return reject(reading, RECORD_REJECTED_UNREADABLE, "data is missing");
    if (reading->data.kind != JSON_STRING)
        return reject(reading, RECORD_REJECTED_UNREADABLE, "data is %s, not a string with JSON in it", kind_name(&reading->data));
    text = json_text(&reading->data, reading->arena); /* in the arena: decoded there, or in our copy of the value */
    if (text.at == NULL)
        return no_memory(reading);
    return read_object(reading, text, "data", true, &reading->record->data);
}

/* --- fields ------------------------------------------------------------------------------------ */

static int check_kinds(struct reading *reading)
{
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const struct json_value *value = &reading->fields[i];

        if (value->raw.at == NULL)
            continue;
        if (value->kind == JSON_ARRAY || value->kind == JSON_OBJECT || (!field_infos[i].text && value->kind != JSON_STRING && value->kind != JSON_NULL) ||
            (value->kind == JSON_NULL && field_infos[i].text && i != UUID))
            return reject(reading, RECORD_REJECTED_UNREADABLE, "%s is %s", field_infos[i].name, kind_name(value));
    }
    if (reading->token.raw.at != NULL && reading->token.kind != JSON_STRING && reading->token.kind != JSON_NULL)
        return reject(reading, RECORD_REJECTED_UNREADABLE, "token is %s", kind_name(&reading->token));
    for (size_t i = DISTINCT_ID; i <= EVENT; i++)
        if (reading->fields[i].raw.at == NULL)
            return reject(reading, RECORD_REJECTED_UNREADABLE, "%s is missing", field_infos[i].name);
    return 0;
}

/* "" when it is absent or null. */
static int field_text(struct reading *reading, enum field field, struct span *out)
{
    const struct json_value *value = &reading->fields[field];

    *out = SPAN("");
    if (value->raw.at == NULL || value->kind == JSON_NULL)
        return 0;
    *out = scalar_text(value, reading->arena);
    return out->at == NULL ? no_memory(reading) : 0;
}

static int read_uuid(struct reading *reading)
{
    struct span text;

    if (field_text(reading, UUID, &text) < 0)
        return -1;
    if (text.bytes == 0)
        return reject(reading, RECORD_REJECTED_EMPTY_UUID, "the message has no uuid");
    if (!uuid_parse_hyphenated(text, &reading->record->uuid))
        return reject(reading, RECORD_REJECTED_INVALID_UUID, "uuid %.*s", (int)utf8_cut(text, 64).bytes, (const char *)text.at);
    return 0;
}

static struct span cut_bytes(struct span text, size_t bytes_max)
{
    struct span head = span_of(text.at, text.bytes > bytes_max ? bytes_max : text.bytes);

    return head.bytes == text.bytes ? text : span_of(head.at, utf8_valid_until(head));
}

static int read_texts(struct reading *reading)
{
    struct record *record = reading->record;
    struct span    ip;

    if (field_text(reading, DISTINCT_ID, &record->distinct_id) < 0 || field_text(reading, EVENT, &record->event) < 0 ||
        field_text(reading, IP, &ip) < 0)
        return -1;
    record->distinct_id = cut_bytes(record->distinct_id, DISTINCT_ID_BYTES_MAX);
    record->ip = ip.bytes > IP_TEXT_BYTES_MAX ? SPAN("") : ip;
    record->pipeline = pipeline_of(record->event);
    return 0;
}

/* A header's text as a record may have it: UTF-8 without U+0000. "" when it is none. */
static struct span header_text(const struct reading *reading, const char *name)
{
    struct span text;

    if (!upstream_header_find(reading->message, name, &text) || text.bytes == 0 || !utf8_valid(text) ||
        memchr(text.at, 0, text.bytes) != NULL)
        return SPAN("");
    return text;
}

static bool header_is_true(const struct reading *reading, const char *name)
{
    return span_is(header_text(reading, name), "true");
}

static int read_token(struct reading *reading)
{
    struct span token = header_text(reading, "token");

    if (token.bytes == 0 && reading->token.raw.at != NULL && reading->token.kind == JSON_STRING) {
        token = json_text(&reading->token, reading->arena);
        if (token.at == NULL)
            return no_memory(reading);
    }
    reading->record->token = cut_bytes(token, TOKEN_BYTES_MAX);
    return 0;
}

static void read_flags(struct reading *reading)
{
    unsigned flags = 0;

    if (reading->cookieless.raw.at != NULL && reading->cookieless.kind == JSON_TRUE)
        flags |= RECORD_COOKIELESS;
    if (reading->origin->historical || header_is_true(reading, "historical_migration") ||
        (reading->historical.raw.at != NULL && reading->historical.kind == JSON_TRUE))
        flags |= RECORD_HISTORICAL;
    if (header_is_true(reading, "force_disable_person_processing"))
        flags |= RECORD_PERSON_OFF;
    if (header_is_true(reading, "skip_heatmap_processing"))
        flags |= RECORD_HEATMAP_SKIP;
    if (reading->repaired)
        flags |= RECORD_REPAIRED;
    reading->record->flags = flags;
}

/* --- times ------------------------------------------------------------------------------------- */

/* Decimal milliseconds, as the header has them. */
static bool parse_ms(struct span text, int64_t *us_out)
{
    struct json_value number = { .kind = JSON_NUMBER, .raw = text };
    int64_t           ms;

    if (text.bytes == 0 || text.bytes > 18 || (text.at[0] != '-' && (text.at[0] < '0' || text.at[0] > '9')))
        return false;
    for (size_t i = 1; i < text.bytes; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    return json_int64(&number, &ms) && !__builtin_mul_overflow(ms, (int64_t)TIME_US_MS, us_out);
}

static bool in_range(int64_t us)
{
    int year = time_year(us);

    return year >= 0 && year <= 9999;
}

static void read_now(struct reading *reading, struct span text)
{
    struct record *record = reading->record;

    if (time_parse_lenient(text, &record->received_us) || time_parse_lenient(header_text(reading, "now"), &record->received_us))
        return;
    record->received_us = reading->origin->appended_us;
}

static bool offset_of(const struct json_value *value, struct arena *arena, int64_t *out)
{
    struct json_value number;

    if (value->raw.at == NULL)
        return false;
    number = (struct json_value){ .kind = JSON_NUMBER, .raw = value->raw };
    if (value->kind == JSON_STRING)
        number.raw = json_text(value, arena);
    return (value->kind == JSON_NUMBER || value->kind == JSON_STRING) && number.raw.at != NULL && json_int64(&number, out);
}

static bool ignores_sent_at(const struct json_value *properties)
{
    struct json_reader reader;
    struct json_value  key, value;
    bool               ignores = false;

    if (properties->raw.at == NULL || properties->kind != JSON_OBJECT)
        return false;
    json_reader_init(&reader, properties->raw, 0);
    if (json_object_enter(&reader) == 0)
        while (json_object_next(&reader, &key) > 0 && json_skip(&reader, &value) == 0)
            if (json_text_is(&key, "$ignore_sent_at"))
                ignores = value.kind == JSON_TRUE;
    return ignores;
}

/* No capture worked it out yet. */
static void stamp(struct reading *reading, struct span text)
{
    struct record     *record = reading->record;
    struct stamp_input input = { .now_us = record->received_us, .sent_at_us = record->sent_at_us, .client_us = CLOCK_NONE,
                                  .ignore_sent_at = ignores_sent_at(&reading->properties) };
    struct stamp       result;
    int64_t            us;

    if (time_parse_lenient(text, &us))
        input.client_us = us;
    input.has_offset = offset_of(&reading->offset, reading->arena, &input.offset_ms);
    result = stamp_compute(&input);
    record->timestamp_us = result.us;
    record->timestamp_source = result.source;
}

static int read_times(struct reading *reading, bool timestamp_is_outer)
{
    struct record *record = reading->record;
    struct span    now, sent_at, timestamp;
    int64_t        us;

    if (field_text(reading, NOW, &now) < 0 || field_text(reading, SENT_AT, &sent_at) < 0 || field_text(reading, TIMESTAMP, &timestamp) < 0)
        return -1;
    read_now(reading, now);
    record->sent_at_us = CLOCK_NONE;
    if (time_parse_rfc3339(sent_at, &us, &record->sent_at_zone_min) || time_parse_lenient(sent_at, &us))
        record->sent_at_us = us;
    if (!timestamp_is_outer || timestamp.bytes == 0) {
        if (parse_ms(header_text(reading, "timestamp"), &us) && in_range(us)) {
            record->timestamp_us = us;
            record->timestamp_source = RECORD_TIME_RAW;
        } else {
            stamp(reading, timestamp);
        }
        return 0;
    }
    record->timestamp_us = record->received_us;
    record->timestamp_source = RECORD_TIME_NOW_FALLBACK;
    if (time_parse_lenient(timestamp, &us) && in_range(us)) {
        record->timestamp_us = us;
        record->timestamp_source = RECORD_TIME_RAW;
    }
    return 0;
}

/* --- what Penstock's own capture rejected -------------------------------------------------------- */

static bool rejection_told(const struct reading *reading, enum record_rejection *out)
{
    struct span reason = header_text(reading, "dlq_reason");

    if (!span_is(header_text(reading, "dlq_step"), record_rejection_step(RECORD_REJECTED_NO_EVENT_NAME)))
        return false;
    for (int i = RECORD_REJECTED_NONE + 1; i < (int)RECORD_REJECTED_CAPTURE_COUNT; i++)
        if (span_is(reason, record_rejection_tag((enum record_rejection)i))) {
            *out = (enum record_rejection)i;
            return true;
        }
    return false;
}

/* The event as it came stands in `data`, whatever it is. */
static int read_told(struct reading *reading, enum record_rejection rejection)
{
    struct record *record = reading->record;

    if (reading->data.raw.at == NULL || reading->data.kind != JSON_STRING)
        return reject(reading, RECORD_REJECTED_UNREADABLE, "data is no string");
    if (check_kinds(reading) < 0 || read_uuid(reading) < 0 || read_texts(reading) < 0 || read_token(reading) < 0 || read_times(reading, true) < 0)
        return -1;
    read_flags(reading);
    record->data = json_text(&reading->data, reading->arena);
    if (record->data.at == NULL)
        return no_memory(reading);
    record->kind = RECORD_REJECTED;
    record->rejection = rejection;
    record->detail = span_text(record_rejection_text(rejection));
    return 0;
}

/* --- the whole --------------------------------------------------------------------------------- */

static int read_message(struct reading *reading)
{
    enum record_rejection rejection;
    bool                  timestamp_is_outer;

    if (read_value(reading) < 0)
        return -1;
    if (rejection_told(reading, &rejection))
        return read_told(reading, rejection);
    timestamp_is_outer = reading->fields[TIMESTAMP].raw.at != NULL && reading->fields[TIMESTAMP].kind != JSON_NULL;
    if (read_data(reading) < 0 || check_kinds(reading) < 0 || read_uuid(reading) < 0 || read_texts(reading) < 0 ||
        read_token(reading) < 0 || read_times(reading, timestamp_is_outer) < 0)
        return -1;
    read_flags(reading);
    reading->record->kind = RECORD_EVENT;
    return 0;
}

/* The same one however often the message is read. */
static struct uuid uuid_of_message(const struct reading *reading)
{
    const struct upstream_message *message = reading->message;
    XXH128_hash_t                  hash = XXH3_128bits_withSeed(message->value.at, message->value.bytes, reading->origin->place);
    uint8_t                        random[10];

    memcpy(random, &hash.low64, 8);
    memcpy(random + 8, &hash.high64, 2);
    return uuid_v7(reading->origin->appended_us / TIME_US_MS, random);
}

/* A dead letter, with what its headers say of it. */
static int bury(struct reading *reading)
{
    struct record *record = reading->record;
    struct span    detail = arena_copy(reading->arena, span_text(reading->detail)), text = header_text(reading, "uuid");
    int64_t        us;

    if (detail.at == NULL)
        return no_memory(reading);
    *record = (struct record){ .kind = RECORD_REJECTED, .rejection = reading->rejection, .sent_at_us = CLOCK_NONE };
    record->detail = span_of(detail.at, utf8_valid_until(detail));
    record->data = reading->message->value.bytes == 0 ? SPAN("") : reading->message->value; /* no message: at may be NULL */
    record->token = cut_bytes(header_text(reading, "token"), TOKEN_BYTES_MAX);
    record->distinct_id = cut_bytes(header_text(reading, "distinct_id"), DISTINCT_ID_BYTES_MAX);
    record->event = header_text(reading, "event");
    record->ip = SPAN("");
    record->pipeline = pipeline_of(record->event);
    if (!uuid_parse_hyphenated(text, &record->uuid)) {
        record->uuid = uuid_of_message(reading);
        record->flags = RECORD_UUID_MADE;
    }
    read_now(reading, SPAN(""));
    record->timestamp_us = parse_ms(header_text(reading, "timestamp"), &us) && in_range(us) ? us : record->received_us;
    return 0;
}

int upstream_record_read(const struct upstream_message *message, const struct upstream_origin *origin, struct arena *arena,
                         struct record *out, struct err *err)
{
    struct record  record = { .sent_at_us = CLOCK_NONE, .detail = SPAN("") };
    struct reading reading = { .message = message, .origin = origin, .arena = arena, .record = &record };

    if (read_message(&reading) < 0 && (reading.no_memory || bury(&reading) < 0))
        return err_set(err, ERR_FULL, "no room in the arena for a message of %zu bytes", message->value.bytes);
    *out = record;
    return 0;
}
