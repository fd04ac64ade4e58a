/* event/upstream_record.c - writing. `data` is JSON within a JSON string, so every quote of the client's event is escaped once
 * more: that is most of what a message costs. Values are found as spans and escaped straight into the message; nothing is
 * copied twice. Reading: upstream_record_read.c. */
#include "event/upstream_record.h"

#include <inttypes.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/json.h"
#include "wire/time.h"
#include "wire/utf8.h"

enum { REJECTED_DATA_PART = 16 }; /* of bytes_max: what is kept of a rejected event when all of it is too much */

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
static void write_data(const struct draft *draft, struct buf *out)
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
        struct buf name;

        buf_init(&name, out->bytes_max);
        json_write_string(&name, draft->event);
        ADD(out, ",\\\"event\\\":");
        json_write_escaped(out, buf_span(&name));
        out->failed |= name.failed;
        buf_fini(&name);
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

/* Where the parts of a message stand in the room: it may move while it grows. */
struct part { size_t at, bytes; };

struct parts_written {
    struct part value, key, timestamp, uuid, now, dlq_timestamp;
};

static struct part part_end(const struct buf *room, size_t from)
{
    return (struct part){ from, room->bytes - from };
}

static struct span part_span(const struct part *part, const struct buf *room)
{
    return span_of(room->at + part->at, part->bytes);
}

void upstream_record_key(const struct record *record, struct buf *room)
{
    buf_add(room, record->token);
    buf_add_byte(room, ':');
    buf_add(room, (record->flags & RECORD_COOKIELESS) != 0 ? record->ip : record->distinct_id);
}

static int64_t milliseconds(int64_t us)
{
    return us / TIME_US_MS - (us % TIME_US_MS < 0);
}

/* What headers point to, behind the value. */
static void write_header_texts(const struct record *record, const struct uuid *uuid, struct buf *room, struct parts_written *parts)
{
    size_t from = room->bytes;

    buf_add_format(room, "%" PRId64, milliseconds(record->timestamp_us));
    parts->timestamp = part_end(room, from);
    from = room->bytes;
    write_uuid(room, uuid);
    parts->uuid = part_end(room, from);
    from = room->bytes;
    time_write_rfc3339(room, record->received_us);
    parts->now = part_end(room, from);
    from = room->bytes;
    time_write_sql(room, record->received_us, 3);
    if (!room->failed)
        room->at[from + sizeof "2026-02-03" - 1] = 'T';
    buf_add_byte(room, 'Z');
    parts->dlq_timestamp = part_end(room, from);
}

static void header_or_null(struct upstream_message *message, struct span name, bool there, struct span value)
{
    if (there)
        upstream_header_add(message, name, value);
    else
        upstream_header_add_null(message, name);
}

static void add_headers(struct upstream_message *message, const struct record *record, const struct parts_written *parts,
                        struct span event, struct span session, const struct buf *room)
{
    message->header_count = 0;
    upstream_header_add(message, SPAN("token"), record->token);
    upstream_header_add(message, SPAN("distinct_id"), record->distinct_id);
    header_or_null(message, SPAN("session_id"), session.bytes > 0, session);
    upstream_header_add(message, SPAN("timestamp"), part_span(&parts->timestamp, room));
    upstream_header_add(message, SPAN("event"), event);
    upstream_header_add(message, SPAN("uuid"), part_span(&parts->uuid, room));
    upstream_header_add(message, SPAN("now"), part_span(&parts->now, room));
    header_or_null(message, SPAN("force_disable_person_processing"), (record->flags & RECORD_PERSON_OFF) != 0, SPAN("true"));
    header_or_null(message, SPAN("historical_migration"), (record->flags & RECORD_HISTORICAL) != 0, SPAN("true"));
}

static void add_rejection(struct upstream_message *message, const struct record *record, const struct parts_written *parts,
                          const struct buf *room)
{
    upstream_header_add(message, SPAN("dlq_reason"), span_text(record_rejection_tag(record->rejection)));
    upstream_header_add(message, SPAN("dlq_step"), span_text(record_rejection_step(record->rejection)));
    upstream_header_add(message, SPAN("dlq_timestamp"), part_span(&parts->dlq_timestamp, room));
}

static enum upstream_topic topic_of(const struct upstream_form *form, const struct record *record, enum pipeline pipeline)
{
    if (form->lanes && record->kind == RECORD_REJECTED)
        return UPSTREAM_DEAD_LETTERS;
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
    return form->lanes && (record->flags & RECORD_OVERFLOW) != 0 ? UPSTREAM_OVERFLOW : UPSTREAM_ANALYTICS;
}

/* Only the ordinary lane and its overflow may be spread: what changes no person needs no order there. */
static bool topic_has_key(enum upstream_topic topic, const struct record *record)
{
    return (record->flags & RECORD_PERSON_OFF) == 0 || (topic != UPSTREAM_ANALYTICS && topic != UPSTREAM_OVERFLOW);
}

bool upstream_record_has_key(const struct upstream_form *form, const struct record *record)
{
    return record->kind == RECORD_REJECTED || topic_has_key(topic_of(form, record, record_pipeline(record)), record);
}

/* --- messages ---------------------------------------------------------------------------------- */

static int check(const struct upstream_form *form, const struct parts_written *parts, const struct buf *room, struct err *err)
{
    size_t bytes = parts->value.bytes + parts->key.bytes;

    if (room->failed)
        return err_set(err, ERR_FULL, "no memory for a message");
    if (bytes > form->bytes_max)
        return err_set(err, ERR_INPUT, "the event is %zu bytes as a message, the topic takes %zu", bytes, form->bytes_max);
    return 0;
}

/* From behind the value, which begins at `from`. */
static int write_parts(const struct upstream_form *form, const struct record *record, const struct uuid *uuid, size_t from,
                       bool has_key, struct buf *room, struct parts_written *parts, struct err *err)
{
    parts->value = part_end(room, from);
    from = room->bytes;
    if (has_key)
        upstream_record_key(record, room);
    parts->key = part_end(room, from);
    write_header_texts(record, uuid, room, parts);
    return check(form, parts, room, err);
}

static int write_event(const struct upstream_form *form, const struct draft *draft, enum upstream_topic topic, struct buf *room,
                       struct parts_written *parts, struct err *err)
{
    size_t from = room->bytes;

    write_head(draft->record, &draft->uuid, room);
    write_data(draft, room);
    write_tail(draft->record, draft->event, room);
    return write_parts(form, draft->record, &draft->uuid, from, topic_has_key(topic, draft->record), room, parts, err);
}

static struct upstream_message message_of(enum upstream_topic topic, const struct parts_written *parts, const struct buf *room)
{
    struct upstream_message message = { .topic = topic, .has_key = parts->key.bytes > 0 };

    message.value = part_span(&parts->value, room);
    message.key = part_span(&parts->key, room);
    return message;
}

/* Bytes as they came: no client gave a session, and no consumer reads them. */
static int write_rejected(const struct upstream_form *form, const struct record *record, struct buf *room,
                          struct upstream_message *out, struct err *err)
{
    size_t               from = room->bytes;
    struct span          data = record->data, event = utf8_cut(record->event, utf8_valid(record->event) ? 1000 : 0);
    struct parts_written parts;

    for (;;) {
        room->bytes = from;
        write_head(record, &record->uuid, room);
        json_write_escaped_lossy(room, data);
        write_tail(record, event, room);
        if (write_parts(form, record, &record->uuid, from, true, room, &parts, err) == 0)
            break;
        if (err->kind != ERR_INPUT || data.bytes <= form->bytes_max / REJECTED_DATA_PART)
            return -1;
        data.bytes = form->bytes_max / REJECTED_DATA_PART;
    }
    *out = message_of(topic_of(form, record, record_pipeline(record)), &parts, room);
    add_headers(out, record, &parts, event, SPAN(""), room);
    add_rejection(out, record, &parts, room);
    return 0;
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

/* Whether heatmap data goes a way of its own, and with what. */
static int split_read(const struct upstream_form *form, const struct record *record, const struct parts *parts,
                      struct heatmap_parts *out, struct err *err)
{
    *out = (struct heatmap_parts){ 0 };
    if (!form->heatmap_split || (record->flags & (RECORD_V1 | RECORD_HEATMAP_SKIP)) != 0 ||
        record_pipeline(record) == PIPELINE_HEATMAPS || parts->properties.raw.at == NULL)
        return 0;
    return heatmap_read(parts->properties.raw, out, err);
}

int upstream_record_write(const struct upstream_form *form, const struct record *record, struct buf *room,
                          struct upstream_message *out, size_t *count_out, struct err *err)
{
    struct parts         parts;
    struct heatmap_parts heatmap;
    struct parts_written written[UPSTREAM_MESSAGES_MAX];
    struct record        plain = *record;
    struct draft         draft = { .record = record, .parts = &parts, .uuid = record->uuid, .event = record->event };
    enum upstream_topic  topics[UPSTREAM_MESSAGES_MAX];

    *count_out = 1;
    if (record->kind == RECORD_REJECTED)
        return write_rejected(form, record, room, out, err);
    if (parts_read(record->data, &parts, err) < 0 || split_read(form, record, &parts, &heatmap, err) < 0)
        return err_wrap(err, "an accepted event");
    draft.heatmap = heatmap.split ? &heatmap : NULL;
    topics[0] = topic_of(form, record, record_pipeline(record));
    if (write_event(form, &draft, topics[0], room, &written[0], err) < 0)
        return -1;
    if (heatmap.split) {
        plain.flags &= ~(unsigned)RECORD_HISTORICAL; /* that kind is never an import */
        draft = (struct draft){ .record = &plain, .parts = &parts, .heatmap = &heatmap, .is_heatmap = true,
                                .uuid = heatmap_uuid(&record->uuid), .event = SPAN("$$heatmap") };
        topics[1] = topic_of(form, &plain, PIPELINE_HEATMAPS);
        if (write_event(form, &draft, topics[1], room, &written[1], err) < 0)
            return -1;
        *count_out = 2;
        out[1] = message_of(topics[1], &written[1], room);
        add_headers(&out[1], &plain, &written[1], draft.event, SPAN(""), room);
    }
    out[0] = message_of(topics[0], &written[0], room);
    add_headers(&out[0], record, &written[0], record->event, session_of(record, &parts), room);
    if (heatmap.split || (record->flags & RECORD_HEATMAP_SKIP) != 0)
        upstream_header_add(&out[0], SPAN("skip_heatmap_processing"), SPAN("true"));
    return 0;
}

int upstream_replay_write(const struct upstream_form *form, const struct record *record, struct buf *room,
                          struct upstream_message *out, struct err *err)
{
    struct parts_written parts;
    size_t               from = room->bytes;

    write_head(record, &record->uuid, room);
    json_write_escaped(room, record->data);
    write_tail(record, record->event, room);
    if (write_parts(form, record, &record->uuid, from, false, room, &parts, err) < 0)
        return -1;
    *out = message_of(UPSTREAM_REPLAY, &parts, room);
    out->has_key = true;
    out->key = record->detail;
    add_headers(out, record, &parts, record->event, record->detail, room);
    return 0;
}
