/* event/upstream_record.c - writing. `data` is JSON within a JSON string, so every quote of the client's event is escaped once
 * more: that is most of what a message costs. Values are found as spans and escaped straight into the message; nothing is
 * copied twice. Reading: upstream_record_read.c. */
#include "event/upstream_record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/json.h"
#include "wire/time.h"
#include "wire/utf8.h"

enum {
    SIDE_BYTES_MAX = 8 << 20,    /* keys and headers' texts: two keys of 64 KiB and small things, and an event's name */
    SIDE_SMALL_BYTES = 512,      /* what they need beside the keys */
    REJECTED_DATA_PART = 16      /* of bytes_max: what is kept of a rejected event when all of it is too much */
};

struct upstream_writer {
    struct upstream_form form;
    struct buf           value[UPSTREAM_MESSAGES_MAX];
    struct buf           side;
};

struct upstream_writer *upstream_writer_new(const struct upstream_form *form)
{
    struct upstream_writer *writer = calloc(1, sizeof *writer);

    if (writer == NULL)
        return NULL;
    writer->form = *form;
    for (size_t i = 0; i < UPSTREAM_MESSAGES_MAX; i++)
        buf_init(&writer->value[i], SIZE_MAX);
    buf_init(&writer->side, SIDE_BYTES_MAX);
    return writer;
}

void upstream_writer_free(struct upstream_writer *writer)
{
    if (writer == NULL)
        return;
    for (size_t i = 0; i < UPSTREAM_MESSAGES_MAX; i++)
        buf_fini(&writer->value[i]);
    buf_fini(&writer->side);
    free(writer);
}

/* --- the client's event ------------------------------------------------------------------------ */

/* Its members under their usual names; raw.at NULL: not there, or null. */
struct parts {
    struct json_value token, distinct_id, event, properties, timestamp, offset, set, set_once;
    int               token_rank, distinct_id_rank;
};

#define KEY_IS(key, literal) json_text_is((key), literal)

/* Of two aliases the one of better rank counts. */
static void take_alias(struct json_value *slot, int *slot_rank, const struct json_value *value, int rank)
{
    if (value->kind == JSON_NULL || (*slot_rank != 0 && *slot_rank < rank))
        return;
    *slot = *value;
    *slot_rank = rank;
}

static void take_member(struct parts *parts, const struct json_value *key, const struct json_value *value)
{
    static const struct json_value none = { 0 };
    const struct json_value       *given = value->kind == JSON_NULL ? &none : value;

    if (KEY_IS(key, "properties"))
        parts->properties = *given;
    else if (KEY_IS(key, "event"))
        parts->event = *given;
    else if (KEY_IS(key, "timestamp"))
        parts->timestamp = *given;
    else if (KEY_IS(key, "offset"))
        parts->offset = *given;
    else if (KEY_IS(key, "$set"))
        parts->set = *given;
    else if (KEY_IS(key, "$set_once"))
        parts->set_once = *given;
    else if (KEY_IS(key, "distinct_id"))
        take_alias(&parts->distinct_id, &parts->distinct_id_rank, value, 1);
    else if (KEY_IS(key, "$distinct_id"))
        take_alias(&parts->distinct_id, &parts->distinct_id_rank, value, 2);
    else if (KEY_IS(key, "token"))
        take_alias(&parts->token, &parts->token_rank, value, 1);
    else if (KEY_IS(key, "api_key"))
        take_alias(&parts->token, &parts->token_rank, value, 2);
    else if (KEY_IS(key, "$token"))
        take_alias(&parts->token, &parts->token_rank, value, 3);
}

static int parts_read(struct span data, struct parts *out, struct err *err)
{
    struct json_reader reader;
    struct json_value  key, value;
    int                more;

    *out = (struct parts){ 0 };
    json_reader_init(&reader, data, 0);
    if (json_object_enter(&reader) < 0)
        return json_explain(&reader, err);
    while ((more = json_object_next(&reader, &key)) > 0) {
        if (json_skip(&reader, &value) < 0)
            return json_explain(&reader, err);
        take_member(out, &key, &value);
    }
    return more < 0 || json_finish(&reader) < 0 ? json_explain(&reader, err) : 0;
}

/* --- properties that go another way ------------------------------------------------------------ */

static const char *const heatmap_keys[] = {
    "$heatmap_data", "$viewport_height", "$viewport_width", "$session_id", "$prev_pageview_pathname", "$prev_pageview_max_scroll",
    "$current_url", "$raw_user_agent", "$ip", "$host", "$timezone", "$cookieless_extra", "$cookieless_mode"
};
enum { HEATMAP_KEYS = sizeof heatmap_keys / sizeof *heatmap_keys, HEATMAP_DATA = 0, HEATMAP_PATHNAME = 4, HEATMAP_URL = 6 };

struct heatmap_parts {
    bool              split;
    struct json_value found[HEATMAP_KEYS]; /* raw.at NULL: not there */
};

static int heatmap_read(struct span properties, struct heatmap_parts *out, struct err *err)
{
    struct json_reader reader;
    struct json_value  key, value;
    int                more;

    *out = (struct heatmap_parts){ 0 };
    json_reader_init(&reader, properties, 0);
    if (json_object_enter(&reader) < 0)
        return json_explain(&reader, err);
    while ((more = json_object_next(&reader, &key)) > 0) {
        if (json_skip(&reader, &value) < 0)
            return json_explain(&reader, err);
        if (!key.escaped && key.raw.bytes > 2 && key.raw.at[1] != '$')
            continue;
        for (size_t i = 0; i < HEATMAP_KEYS; i++)
            if (json_text_is(&key, heatmap_keys[i]))
                out->found[i] = value;
    }
    if (more < 0)
        return json_explain(&reader, err);
    out->split = out->found[HEATMAP_DATA].raw.at != NULL ||
                 (out->found[HEATMAP_PATHNAME].raw.at != NULL && out->found[HEATMAP_URL].raw.at != NULL);
    return 0;
}

/* The properties without heatmap data, escaped. The text was read before. */
static void write_without_heatmap(struct span properties, struct buf *out)
{
    struct json_reader reader;
    struct json_value  key, value;
    bool               first = true;

    json_reader_init(&reader, properties, 0);
    buf_add_byte(out, '{');
    if (json_object_enter(&reader) == 0)
        while (json_object_next(&reader, &key) > 0 && json_skip(&reader, &value) == 0) {
            if (json_text_is(&key, heatmap_keys[HEATMAP_DATA]))
                continue;
            if (!first)
                buf_add_byte(out, ',');
            json_write_escaped(out, key.raw);
            buf_add_byte(out, ':');
            json_write_escaped(out, value.raw);
            first = false;
        }
    buf_add_byte(out, '}');
}

static void write_heatmap_properties(const struct heatmap_parts *heatmap, struct buf *out)
{
    bool first = true;

    buf_add_byte(out, '{');
    for (size_t i = 0; i < HEATMAP_KEYS; i++)
        if (heatmap->found[i].raw.at != NULL) {
            buf_add_format(out, "%s\\\"%s\\\":", first ? "" : ",", heatmap_keys[i]);
            json_write_escaped(out, heatmap->found[i].raw);
            first = false;
        }
    buf_add_byte(out, '}');
}

/* --- data -------------------------------------------------------------------------------------- */

#define ADD(buf, literal) buf_add((buf), SPAN(literal))

static void write_part(struct buf *out, const char *name, const struct json_value *value)
{
    if (value->raw.at == NULL)
        return;
    buf_add_text(out, name);
    json_write_escaped(out, value->raw);
}

static void write_uuid(struct buf *out, const struct uuid *uuid)
{
    char text[UUID_TEXT_BYTES];

    uuid_format(uuid, text);
    buf_add(out, span_of(text, sizeof text));
}

/* What differs between an event and the heatmap message that is split off it. */
struct draft {
    const struct record        *record;
    const struct parts         *parts;
    const struct heatmap_parts *heatmap; /* NULL: nothing is split */
    bool                        is_heatmap; /* it is the one that was split off */
    struct uuid                 uuid;
    struct span                 event;
};

/* {"token":..,"distinct_id":..,"uuid":..,"event":..,"properties":{},"timestamp":..,"offset":..,"$set":..,"$set_once":..} */
static void write_data(const struct draft *draft, struct buf *side, struct buf *out)
{
    const struct parts *parts = draft->parts;
    bool                uuid_given = (draft->record->flags & (RECORD_UUID_MADE | RECORD_UUID_DERIVED)) == 0;

    buf_add_byte(out, '{');
    if (parts->token.raw.at != NULL) {
        write_part(out, "\\\"token\\\":", &parts->token);
        buf_add_byte(out, ',');
    }
    if (parts->distinct_id.raw.at != NULL) {
        write_part(out, "\\\"distinct_id\\\":", &parts->distinct_id);
        buf_add_byte(out, ',');
    }
    ADD(out, "\\\"uuid\\\":");
    if (draft->is_heatmap || uuid_given) {
        ADD(out, "\\\"");
        write_uuid(out, &draft->uuid);
        ADD(out, "\\\"");
    } else {
        ADD(out, "null");
    }
    if (!draft->is_heatmap && parts->event.raw.at != NULL) {
        write_part(out, ",\\\"event\\\":", &parts->event);
    } else {
        size_t at = side->bytes;

        json_write_string(side, draft->event);
        ADD(out, ",\\\"event\\\":");
        json_write_escaped(out, span_from(buf_span(side), at));
        side->bytes = at;
    }
    ADD(out, ",\\\"properties\\\":");
    if (draft->is_heatmap)
        write_heatmap_properties(draft->heatmap, out);
    else if (parts->properties.raw.at == NULL)
        ADD(out, "{}");
    else if (draft->heatmap != NULL)
        write_without_heatmap(parts->properties.raw, out);
    else
        json_write_escaped(out, parts->properties.raw);
    write_part(out, ",\\\"timestamp\\\":", &parts->timestamp);
    write_part(out, ",\\\"offset\\\":", &parts->offset);
    if (!draft->is_heatmap) {
        write_part(out, ",\\\"$set\\\":", &parts->set);
        write_part(out, ",\\\"$set_once\\\":", &parts->set_once);
    }
    buf_add_byte(out, '}');
}

/* --- the envelope ------------------------------------------------------------------------------ */

static void write_text_member(struct buf *out, const char *name, struct span text)
{
    buf_add_text(out, name);
    json_write_escaped(out, text);
    buf_add_byte(out, '"');
}

/* Up to the text of `data`. */
static void write_head(const struct record *record, const struct uuid *uuid, struct buf *out)
{
    ADD(out, "{\"uuid\":\"");
    write_uuid(out, uuid);
    write_text_member(out, "\",\"distinct_id\":\"", record->distinct_id);
    write_text_member(out, ",\"ip\":\"", record->ip);
    ADD(out, ",\"data\":\"");
}

/* From behind the text of `data`. */
static void write_tail(const struct record *record, struct span event, struct buf *out)
{
    ADD(out, "\",\"now\":\"");
    time_write_rfc3339(out, record->received_us);
    if (record->sent_at_us != CLOCK_NONE) {
        ADD(out, "\",\"sent_at\":\"");
        time_write_rfc3339_zone(out, record->sent_at_us, record->sent_at_zone_min);
    }
    write_text_member(out, "\",\"token\":\"", record->token);
    write_text_member(out, ",\"event\":\"", event);
    ADD(out, ",\"timestamp\":\"");
    time_write_rfc3339(out, record->timestamp_us);
    buf_add_byte(out, '"');
    if ((record->flags & RECORD_COOKIELESS) != 0)
        ADD(out, ",\"is_cookieless_mode\":true");
    if ((record->flags & RECORD_HISTORICAL) != 0)
        ADD(out, ",\"historical_migration\":true");
    buf_add_byte(out, '}');
}

/* --- key, headers, topic ----------------------------------------------------------------------- */

/* Room was reserved before, so that what was written there stays where it is. */
static struct span side_end(struct buf *side, size_t from)
{
    return span_from(buf_span(side), from);
}

static struct span event_key(const struct record *record, struct buf *side)
{
    size_t from = side->bytes;

    buf_add(side, record->token);
    buf_add_byte(side, ':');
    buf_add(side, (record->flags & RECORD_COOKIELESS) != 0 ? record->ip : record->distinct_id);
    return side_end(side, from);
}

static int64_t milliseconds(int64_t us)
{
    return us / TIME_US_MS - (us % TIME_US_MS < 0);
}

static void add_headers(struct upstream_message *message, const struct record *record, const struct uuid *uuid,
                        struct span event, struct span session, struct buf *side)
{
    size_t from = side->bytes;

    message->header_count = 0;
    upstream_header_add(message, SPAN("token"), record->token);
    upstream_header_add(message, SPAN("distinct_id"), record->distinct_id);
    if (session.bytes > 0)
        upstream_header_add(message, SPAN("session_id"), session);
    else
        upstream_header_add_null(message, SPAN("session_id"));
    buf_add_format(side, "%" PRId64, milliseconds(record->timestamp_us));
    upstream_header_add(message, SPAN("timestamp"), side_end(side, from));
    upstream_header_add(message, SPAN("event"), event);
    from = side->bytes;
    write_uuid(side, uuid);
    upstream_header_add(message, SPAN("uuid"), side_end(side, from));
    from = side->bytes;
    time_write_rfc3339(side, record->received_us);
    upstream_header_add(message, SPAN("now"), side_end(side, from));
    if ((record->flags & RECORD_PERSON_OFF) != 0)
        upstream_header_add(message, SPAN("force_disable_person_processing"), SPAN("true"));
    else
        upstream_header_add_null(message, SPAN("force_disable_person_processing"));
    if ((record->flags & RECORD_HISTORICAL) != 0)
        upstream_header_add(message, SPAN("historical_migration"), SPAN("true"));
    else
        upstream_header_add_null(message, SPAN("historical_migration"));
}

static void add_rejection(struct upstream_message *message, const struct record *record, struct buf *side)
{
    size_t from = side->bytes;

    upstream_header_add(message, SPAN("dlq_reason"), span_text(record_rejection_tag(record->rejection)));
    upstream_header_add(message, SPAN("dlq_step"), span_text(record_rejection_step(record->rejection)));
    time_write_sql(side, record->received_us, 3);
    side->at[from + sizeof "2026-02-03" - 1] = 'T';
    buf_add_byte(side, 'Z');
    upstream_header_add(message, SPAN("dlq_timestamp"), side_end(side, from));
}

static enum upstream_topic topic_of(const struct upstream_form *form, const struct record *record, enum pipeline pipeline)
{
    if (form->lanes)
        switch (pipeline) {
        case PIPELINE_EXCEPTIONS: return UPSTREAM_EXCEPTIONS;
        case PIPELINE_HEATMAPS: return UPSTREAM_HEATMAPS;
        case PIPELINE_WARNINGS: return UPSTREAM_CLIENT_WARNINGS;
        case PIPELINE_LLM: return UPSTREAM_LLM;
        default: break;
        }
    if ((record->flags & RECORD_HISTORICAL) != 0)
        return UPSTREAM_HISTORICAL;
    return (record->flags & RECORD_OVERFLOW) != 0 ? UPSTREAM_OVERFLOW : UPSTREAM_ANALYTICS;
}

/* Only the ordinary lane and its overflow may be spread: what changes no person needs no order there. */
static void set_key(struct upstream_message *message, const struct record *record, struct buf *side)
{
    message->has_key = (record->flags & RECORD_PERSON_OFF) == 0 ||
                       (message->topic != UPSTREAM_ANALYTICS && message->topic != UPSTREAM_OVERFLOW);
    message->key = message->has_key ? event_key(record, side) : SPAN("");
}

/* --- messages ---------------------------------------------------------------------------------- */

static int begin(struct upstream_writer *writer, const struct record *record, struct err *err)
{
    size_t key = record->token.bytes + 1 + record->ip.bytes + record->distinct_id.bytes + record->detail.bytes;

    buf_reset(&writer->side);
    for (size_t i = 0; i < UPSTREAM_MESSAGES_MAX; i++)
        buf_reset(&writer->value[i]);
    if (buf_reserve(&writer->side, UPSTREAM_MESSAGES_MAX * (key + SIDE_SMALL_BYTES)) == NULL) /* nothing moves while spans point into it */
        return err_set(err, ERR_FULL, "no memory for a key of %zu bytes", key);
    return 0;
}

static int check(const struct upstream_writer *writer, const struct buf *value, const struct upstream_message *message,
                 struct err *err)
{
    size_t bytes = value->bytes + message->key.bytes;

    if (value->failed || writer->side.failed)
        return err_set(err, ERR_FULL, "no memory for a message");
    if (bytes > writer->form.bytes_max)
        return err_set(err, ERR_INPUT, "the event is %zu bytes as a message, the topic takes %zu", bytes, writer->form.bytes_max);
    return 0;
}

static int write_event(struct upstream_writer *writer, const struct draft *draft, struct span session, struct buf *value,
                       struct upstream_message *out, struct err *err)
{
    const struct record *record = draft->record;

    write_head(record, &draft->uuid, value);
    write_data(draft, &writer->side, value);
    write_tail(record, draft->event, value);
    out->topic = topic_of(&writer->form, record, draft->is_heatmap ? PIPELINE_HEATMAPS : record_pipeline(record));
    set_key(out, record, &writer->side);
    add_headers(out, record, &draft->uuid, draft->event, session, &writer->side);
    out->value = buf_span(value);
    return check(writer, value, out, err);
}

/* Bytes as they came: no client gave a session, and no consumer reads them. */
static int write_rejected(struct upstream_writer *writer, const struct record *record, struct upstream_message *out,
                          struct err *err)
{
    struct buf *value = &writer->value[0];
    struct span data = record->data;

    for (;;) {
        struct span event = utf8_cut(record->event, utf8_valid(record->event) ? 1000 : 0);

        buf_reset(value);
        writer->side.bytes = 0;
        write_head(record, &record->uuid, value);
        json_write_escaped_lossy(value, data);
        write_tail(record, event, value);
        *out = (struct upstream_message){ .topic = UPSTREAM_DEAD_LETTERS, .has_key = true };
        out->key = event_key(record, &writer->side);
        add_headers(out, record, &record->uuid, event, SPAN(""), &writer->side);
        add_rejection(out, record, &writer->side);
        out->value = buf_span(value);
        if (check(writer, value, out, err) == 0)
            return 0;
        if (err->kind != ERR_INPUT || data.bytes <= writer->form.bytes_max / REJECTED_DATA_PART)
            return -1;
        data.bytes = writer->form.bytes_max / REJECTED_DATA_PART;
    }
}

/* Never the event's own, and the same however often the event is sent. */
static struct uuid heatmap_uuid(const struct uuid *event)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(event->bytes, sizeof event->bytes, UINT64_C(0x686561746d6170));
    struct uuid   uuid = *event;

    memcpy(uuid.bytes + 8, &hash.low64, 8);
    memcpy(uuid.bytes + 6, &hash.high64, 2);
    uuid.bytes[6] = (uint8_t)((event->bytes[6] & 0xf0) | (uuid.bytes[6] & 0x0f));
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

static struct span session_of(const struct record *record, const struct parts *parts)
{
    struct json_reader reader;
    struct json_value  key, value, found = { 0 };

    if ((record->flags & RECORD_V1) == 0 || parts->properties.raw.at == NULL)
        return SPAN("");
    json_reader_init(&reader, parts->properties.raw, 0);
    if (json_object_enter(&reader) == 0)
        while (json_object_next(&reader, &key) > 0 && json_skip(&reader, &value) == 0)
            if (json_text_is(&key, "$session_id"))
                found = value;
    return found.raw.at == NULL || found.kind != JSON_STRING || found.escaped ? SPAN("")
                                                                            : span_of(found.raw.at + 1, found.raw.bytes - 2);
}

int upstream_record_write(struct upstream_writer *writer, const struct record *record, struct upstream_message *out,
                          size_t *count_out, struct err *err)
{
    struct parts         parts;
    struct heatmap_parts heatmap = { 0 };
    struct draft         draft = { .record = record, .parts = &parts, .uuid = record->uuid, .event = record->event };
    struct record        plain;

    if (begin(writer, record, err) < 0)
        return -1;
    if (record->kind == RECORD_REJECTED) {
        *count_out = 1;
        return write_rejected(writer, record, out, err);
    }
    if (parts_read(record->data, &parts, err) < 0)
        return err_wrap(err, "an accepted event");
    if (writer->form.heatmap_split && (record->flags & (RECORD_V1 | RECORD_HEATMAP_SKIP)) == 0 &&
        record_pipeline(record) != PIPELINE_HEATMAPS && parts.properties.raw.at != NULL &&
        heatmap_read(parts.properties.raw, &heatmap, err) < 0)
        return err_wrap(err, "an accepted event's properties");
    if (heatmap.split)
        draft.heatmap = &heatmap;
    if (write_event(writer, &draft, session_of(record, &parts), &writer->value[0], &out[0], err) < 0)
        return -1;
    if (heatmap.split || (record->flags & RECORD_HEATMAP_SKIP) != 0)
        upstream_header_add(&out[0], SPAN("skip_heatmap_processing"), SPAN("true"));
    *count_out = 1;
    if (!heatmap.split)
        return 0;
    plain = *record;
    plain.flags &= ~(unsigned)RECORD_HISTORICAL; /* that kind is never an import */
    draft = (struct draft){ .record = &plain, .parts = &parts, .heatmap = &heatmap, .is_heatmap = true,
                            .uuid = heatmap_uuid(&record->uuid), .event = SPAN("$$heatmap") };
    *count_out = 2;
    return write_event(writer, &draft, SPAN(""), &writer->value[1], &out[1], err);
}

int upstream_replay_write(struct upstream_writer *writer, const struct record *record, struct upstream_message *out,
                          struct err *err)
{
    struct buf *value = &writer->value[0];

    if (begin(writer, record, err) < 0)
        return -1;
    write_head(record, &record->uuid, value);
    json_write_escaped(value, record->data);
    write_tail(record, record->event, value);
    *out = (struct upstream_message){ .topic = UPSTREAM_REPLAY, .has_key = true, .key = record->detail };
    add_headers(out, record, &record->uuid, record->event, record->detail, &writer->side);
    out->value = buf_span(value);
    return check(writer, value, out, err);
}
