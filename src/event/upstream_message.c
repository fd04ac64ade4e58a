/* event/upstream_message.c - see upstream_message.h. */
#include "event/upstream_message.h"

#include "wire/json.h"

const char *upstream_topic_name(enum upstream_topic topic)
{
#define TOPIC_NAME(suffix, name, key) [UPSTREAM_##suffix] = name,
    static const char *const names[UPSTREAM_TOPIC_COUNT] = { UPSTREAM_TOPICS(TOPIC_NAME) };

    return names[topic];
}

const char *upstream_topic_key(enum upstream_topic topic)
{
#define TOPIC_KEY(suffix, name, key) [UPSTREAM_##suffix] = key,
    static const char *const keys[UPSTREAM_TOPIC_COUNT] = { UPSTREAM_TOPICS(TOPIC_KEY) };

    return keys[topic];
}

bool upstream_header_find(const struct upstream_message *message, const char *name, struct span *value_out)
{
    for (size_t i = message->header_count; i-- > 0;)
        if (span_is(message->headers[i].name, name)) {
            if (message->headers[i].null)
                return false;
            *value_out = message->headers[i].value;
            return true;
        }
    return false;
}

void upstream_header_add(struct upstream_message *message, struct span name, struct span value)
{
    if (message->header_count < UPSTREAM_HEADERS_MAX)
        message->headers[message->header_count++] = (struct upstream_header){ name, value, false };
}

void upstream_header_add_null(struct upstream_message *message, struct span name)
{
    if (message->header_count < UPSTREAM_HEADERS_MAX)
        message->headers[message->header_count++] = (struct upstream_header){ name, SPAN(""), true };
}

static void write_text(struct buf *out, struct span text)
{
    buf_add_byte(out, '"');
    json_write_escaped_lossy(out, text);
    buf_add_byte(out, '"');
}

void upstream_message_write_line(const struct upstream_message *message, struct buf *out)
{
    buf_add_text(out, "{\"topic\":\"");
    buf_add_text(out, upstream_topic_name(message->topic));
    buf_add_text(out, "\",\"key\":");
    if (message->has_key)
        write_text(out, message->key);
    else
        buf_add_text(out, "null");
    buf_add_text(out, ",\"headers\":{");
    for (size_t i = 0; i < message->header_count; i++) {
        if (i > 0)
            buf_add_byte(out, ',');
        write_text(out, message->headers[i].name);
        buf_add_byte(out, ':');
        if (message->headers[i].null)
            buf_add_text(out, "null");
        else
            write_text(out, message->headers[i].value);
    }
    buf_add_text(out, "},\"value\":");
    write_text(out, message->value);
    buf_add_byte(out, '}');
}

static enum upstream_topic topic_of(struct span name)
{
    for (size_t i = 0; i < UPSTREAM_TOPIC_COUNT; i++)
        if (span_is(name, upstream_topic_name((enum upstream_topic)i)))
            return (enum upstream_topic)i;
    return UPSTREAM_ANALYTICS;
}

/* A string's text, or a null's. */
static int take_text(const struct json_value *value, const char *what, struct arena *arena, struct span *out, bool *null_out,
                     struct err *err)
{
    *null_out = value->kind == JSON_NULL;
    *out = SPAN("");
    if (*null_out)
        return 0;
    if (value->kind != JSON_STRING)
        return err_set(err, ERR_INPUT, "%s is neither a string nor null", what);
    *out = json_text(value, arena);
    return out->at == NULL ? err_set(err, ERR_FULL, "no room in the arena for a message") : 0;
}

static int take_headers(struct json_reader *reader, struct arena *arena, struct upstream_message *out, struct err *err)
{
    struct json_value key, value;
    int               more;

    if (json_object_enter(reader) < 0)
        return json_explain(reader, err);
    while ((more = json_object_next(reader, &key)) > 0) {
        struct span name = json_text(&key, arena), text;
        bool        null;

        if (json_skip(reader, &value) < 0)
            return json_explain(reader, err);
        if (name.at == NULL)
            return err_set(err, ERR_FULL, "no room in the arena for a message");
        if (take_text(&value, "a header", arena, &text, &null, err) < 0)
            return -1;
        if (null)
            upstream_header_add_null(out, name);
        else
            upstream_header_add(out, name, text);
    }
    return more < 0 ? json_explain(reader, err) : 0;
}

int upstream_message_read_line(struct span line, struct arena *arena, struct upstream_message *out, struct err *err)
{
    struct json_reader reader;
    struct json_value  key, value;
    struct span        topic;
    bool               null, has_value = false;
    int                more;

    *out = (struct upstream_message){ .topic = UPSTREAM_ANALYTICS };
    json_reader_init(&reader, line, 0);
    if (json_object_enter(&reader) < 0)
        return json_explain(&reader, err);
    while ((more = json_object_next(&reader, &key)) > 0) {
        if (json_text_is(&key, "headers") && json_peek(&reader) == JSON_OBJECT) {
            if (take_headers(&reader, arena, out, err) < 0)
                return -1;
            continue;
        }
        if (json_skip(&reader, &value) < 0)
            return json_explain(&reader, err);
        if (json_text_is(&key, "topic")) {
            if (take_text(&value, "topic", arena, &topic, &null, err) < 0)
                return -1;
            out->topic = topic_of(topic);
        } else if (json_text_is(&key, "key")) {
            if (take_text(&value, "key", arena, &out->key, &null, err) < 0)
                return -1;
            out->has_key = !null;
        } else if (json_text_is(&key, "value")) {
            if (take_text(&value, "value", arena, &out->value, &null, err) < 0)
                return -1;
            has_value = !null;
        }
    }
    if (more < 0 || json_finish(&reader) < 0)
        return json_explain(&reader, err);
    return has_value ? 0 : err_set(err, ERR_INPUT, "a message without a value");
}
