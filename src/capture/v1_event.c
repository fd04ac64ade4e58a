/* capture/v1_event.c - the checks stand in the order of the protocol, and the first that fails is the
 * verdict. A stored event is pieced together from spans of the request: no value is written anew, except
 * a switch that came as text or as a number, which ingest wants as true or false. */
#include "capture/v1_event.h"

#include <strings.h>

#include "capture/event_check.h"
#include "wire/time.h"

#define V1_VERDICT_RESULT(name, result, details) result,
#define V1_VERDICT_DETAILS(name, result, details) details,

const char *v1_verdict_result(enum v1_verdict verdict)
{
    static const char *const results[] = { V1_VERDICTS(V1_VERDICT_RESULT) };

    return results[verdict];
}

const char *v1_verdict_details(enum v1_verdict verdict)
{
    static const char *const details[] = { V1_VERDICTS(V1_VERDICT_DETAILS) };

    return details[verdict];
}

/* --- distinct ids ------------------------------------------------------------------------------ */

/* Ids that programs send when they do not know who it was. */
static bool v1_id_is_nobody(struct span id)
{
    static const char *const nobodies[] = {
        "0",     "00000000-0000-0000-0000-000000000000",
        "[object object]", "anonymous", "anonymous-user", "backend", "distinct_id", "distinctid", "email", "false",
        "guest", "id", "nan", "none", "not_authenticated", "null", "system", "true", "undefined", "user",
    };

    for (size_t i = 0; i < sizeof nobodies / sizeof *nobodies; i++)
        if (id.bytes == strlen(nobodies[i]) && strncasecmp((const char *)id.at, nobodies[i], id.bytes) == 0)
            return true;
    return false;
}

/* --- options ----------------------------------------------------------------------------------- */

/* true, "true", "1", or a number; false: no switch. null is absent. */
static bool v1_read_switch(const struct json_value *value, enum v1_switch *out)
{
    switch (value->kind) {
    case JSON_NULL: *out = V1_ABSENT; return true;
    case JSON_TRUE: *out = V1_TRUE; return true;
    case JSON_FALSE: *out = V1_FALSE; return true;
    case JSON_NUMBER: *out = json_double(value) != 0 ? V1_TRUE : V1_FALSE; return true;
    case JSON_STRING:
        if (json_text_is(value, "true") || json_text_is(value, "1"))
            *out = V1_TRUE;
        else if (json_text_is(value, "false") || json_text_is(value, "0"))
            *out = V1_FALSE;
        else
            return false;
        return true;
    default: return false;
    }
}

static bool v1_read_tour(const struct json_value *value, struct json_value *out)
{
    *out = value->kind == JSON_NULL ? (struct json_value){ 0 } : *value;
    if (value->kind == JSON_NUMBER)
        return memchr(value->raw.at, '.', value->raw.bytes) == NULL &&
               memchr(value->raw.at, 'e', value->raw.bytes) == NULL && memchr(value->raw.at, 'E', value->raw.bytes) == NULL;
    return value->kind == JSON_STRING || value->kind == JSON_NULL;
}

/* False: the options are not to be used. */
static bool v1_read_options(const struct json_value *options, struct v1_fields *fields)
{
    struct json_reader reader;
    struct json_value  key, value;
    bool               good = true;

    if (options->raw.at == NULL || options->kind == JSON_NULL)
        return true;
    if (options->kind != JSON_OBJECT)
        return false;
    json_reader_init(&reader, options->raw, 0);
    if (json_object_enter(&reader) < 0)
        return false;
    while (good && json_object_next(&reader, &key) == 1) {
        if (json_skip(&reader, &value) < 0)
            return false;
        if (json_text_is(&key, "cookieless_mode"))
            good = v1_read_switch(&value, &fields->cookieless);
        else if (json_text_is(&key, "disable_skew_correction"))
            good = v1_read_switch(&value, &fields->raw_time);
        else if (json_text_is(&key, "process_person_profile"))
            good = v1_read_switch(&value, &fields->person_profile);
        else if (json_text_is(&key, "product_tour_id"))
            good = v1_read_tour(&value, &fields->product_tour);
    }
    return good;
}

/* --- the verdict ------------------------------------------------------------------------------- */

static enum v1_verdict v1_judge_texts(const struct v1_event *event, struct span timestamp, size_t bytes_max,
                                      struct v1_fields *fields)
{
    if (fields->event.bytes == 0)
        return V1_VERDICT_NO_NAME;
    if (fields->event.bytes > V1_NAME_BYTES_MAX)
        return V1_VERDICT_LONG_NAME;
    if (span_is(fields->event, "$performance_event"))
        return V1_VERDICT_PERFORMANCE;
    if (fields->distinct_id.bytes == 0)
        return V1_VERDICT_NO_DISTINCT_ID;
    if (fields->distinct_id.bytes > V1_DISTINCT_ID_BYTES_MAX)
        return V1_VERDICT_LONG_DISTINCT_ID;
    if (!time_parse_rfc3339(timestamp, &fields->timestamp_us, NULL))
        return V1_VERDICT_BAD_TIMESTAMP;
    if (event->properties.raw.at != NULL && event->properties.kind != JSON_OBJECT)
        return V1_VERDICT_BAD_PROPERTIES;
    if (!v1_read_options(&event->options, fields))
        return V1_VERDICT_BAD_OPTIONS;
    if (event->object.bytes > bytes_max)
        return V1_VERDICT_TOO_LARGE;
    return v1_id_is_nobody(fields->distinct_id) ? V1_VERDICT_PERSON_OFF : V1_VERDICT_OK;
}

int v1_event_judge(const struct v1_event *event, size_t bytes_max, struct arena *arena, struct v1_fields *fields_out,
                   enum v1_verdict *verdict_out)
{
    struct v1_fields fields = { .event = json_text(&event->event, arena),
                                .distinct_id = json_text(&event->distinct_id, arena) };
    struct span      timestamp = json_text(&event->timestamp, arena);

    if (fields.event.at == NULL || fields.distinct_id.at == NULL || timestamp.at == NULL)
        return -1;
    fields.distinct_id = event_text_trim(fields.distinct_id);
    *verdict_out = v1_judge_texts(event, timestamp, bytes_max, &fields);
    if (v1_verdict_keeps(*verdict_out))
        *fields_out = fields;
    return 0;
}

/* --- what is stored ---------------------------------------------------------------------------- */

static void v1_write_member(struct buf *out, const char *key, struct span raw, bool *first)
{
    if (raw.bytes == 0)
        return;
    buf_add_text(out, *first ? "\"" : ",\"");
    buf_add_text(out, key);
    buf_add_text(out, "\":");
    buf_add(out, raw);
    *first = false;
}

static struct span v1_switch_text(enum v1_switch value)
{
    return value == V1_TRUE ? SPAN("true") : value == V1_FALSE ? SPAN("false") : SPAN("");
}

/* Whether there is nothing but white space between the braces. */
static bool v1_object_empty(struct span object)
{
    for (size_t i = 1; i + 1 < object.bytes; i++)
        if (object.at[i] != ' ' && object.at[i] != '\t' && object.at[i] != '\n' && object.at[i] != '\r')
            return false;
    return true;
}

static void v1_write_properties(const struct v1_event *event, const struct v1_fields *fields, struct span library,
                                struct buf *out)
{
    struct span given = event->properties.raw.at == NULL ? SPAN("{}") : event->properties.raw;
    bool        first = v1_object_empty(given);

    buf_add(out, span_of(given.at, given.bytes - 1));
    v1_write_member(out, "$session_id", event->session_id.raw, &first);
    v1_write_member(out, "$window_id", event->window_id.raw, &first);
    v1_write_member(out, "$cookieless_mode", v1_switch_text(fields->cookieless), &first);
    v1_write_member(out, "$ignore_sent_at", v1_switch_text(fields->raw_time), &first);
    v1_write_member(out, "$product_tour_id", fields->product_tour.raw, &first);
    v1_write_member(out, "$process_person_profile", v1_switch_text(fields->person_profile), &first);
    if (library.bytes > 0) {
        if (!first)
            buf_add_byte(out, ',');
        buf_add(out, library);
    }
    buf_add_byte(out, '}');
}

void v1_event_write(const struct v1_event *event, const struct v1_fields *fields, struct span library,
                    struct buf *out)
{
    buf_add_text(out, "{\"event\":");
    buf_add(out, event->event.raw);
    buf_add_text(out, ",\"distinct_id\":");
    buf_add(out, event->distinct_id.raw);
    buf_add_text(out, ",\"uuid\":");
    buf_add(out, event->uuid.raw);
    buf_add_text(out, ",\"properties\":");
    v1_write_properties(event, fields, library, out);
    buf_add_text(out, ",\"timestamp\":");
    buf_add(out, event->timestamp.raw);
    buf_add_byte(out, '}');
}
