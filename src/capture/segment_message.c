/* capture/segment_message.c - reads first and writes later (segment_write.c): a message that is refused must not
 * have cost more than looking at it, and what is wrong is told in the client's own words for its fields.
 *
 * Who it was is asked before the context is opened: a context may be inherited by every message of a batch. */
#include "capture/segment_message.h"

#include <stdarg.h>
#include <stdio.h>

#include "wire/time.h"

struct segment_work {
    struct arena           *arena;
    struct segment_message *message;
    struct segment_fault   *fault;
};

static const char *const segment_types[] = { "track", "identify", "page", "screen", "group", "alias" };

static int segment_reject(struct segment_work *work, enum record_rejection rejection, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* 0, always: a fault is an answer. */
static int segment_reject(struct segment_work *work, enum record_rejection rejection, const char *fmt, ...)
{
    va_list args;

    if (work->fault->rejection != RECORD_REJECTED_NONE)
        return 0; /* the first counts */
    work->fault->rejection = rejection;
    va_start(args, fmt);
    (void)vsnprintf(work->fault->detail, sizeof work->fault->detail, fmt, args);
    va_end(args);
    return 0;
}

static bool segment_good(const struct segment_work *work)
{
    return work->fault->rejection == RECORD_REJECTED_NONE;
}

const struct json_value *segment_member(const struct json_members *members, const char *name)
{
    const struct json_member *member = json_members_find(members, span_text(name));

    return member == NULL || member->value.kind == JSON_NULL ? NULL : &member->value;
}

static const struct json_value *segment_text_member(const struct json_members *members, const char *name)
{
    const struct json_value *value = segment_member(members, name);

    return value != NULL && value->kind == JSON_STRING ? value : NULL;
}

/* --- fields ------------------------------------------------------------------------------------ */

static int segment_read_type(struct segment_work *work)
{
    const struct json_value *value = segment_member(&work->message->members, "type");

    if (work->message->type != SEGMENT_BY_MESSAGE)
        return 0;
    for (int i = 0; value != NULL && value->kind == JSON_STRING && i < SEGMENT_BY_MESSAGE; i++)
        if (json_text_is(value, segment_types[i])) {
            work->message->type = (enum segment_type)i;
            return 0;
        }
    return segment_reject(work, RECORD_REJECTED_BAD_FIELD,
                          "type: expected one of track, identify, page, screen, group, alias");
}

/* An object, or absent. */
static int segment_read_object(struct segment_work *work, const char *name, struct json_value *out)
{
    const struct json_value *value = segment_member(&work->message->members, name);

    *out = (struct json_value){ 0 };
    if (value == NULL)
        return 0;
    if (value->kind != JSON_OBJECT)
        return segment_reject(work, RECORD_REJECTED_BAD_FIELD, "%s: expected an object", name);
    *out = *value;
    return 0;
}

static int segment_read_id(struct segment_work *work, const char *name, struct segment_id *out)
{
    const struct json_value *value = segment_member(&work->message->members, name);
    struct span              text;

    *out = (struct segment_id){ 0 };
    if (value == NULL || (value->kind != JSON_STRING && value->kind != JSON_NUMBER))
        return 0;
    text = value->kind == JSON_NUMBER ? value->raw : json_text(value, work->arena);
    if (text.at == NULL)
        return -1;
    if (!event_text_blank(text))
        *out = (struct segment_id){ *value, text };
    return 0;
}

static int segment_read_who(struct segment_work *work)
{
    struct segment_message *message = work->message;
    struct draft            draft = { 0 };

    if (segment_read_id(work, "userId", &message->user) < 0 ||
        segment_read_id(work, "anonymousId", &message->anonymous) < 0 ||
        segment_read_id(work, "previousId", &message->previous) < 0 ||
        segment_read_id(work, "groupId", &message->group) < 0)
        return -1;
    draft.distinct_id = message->user.value.raw.at != NULL ? message->user.value : message->anonymous.value;
    if (event_distinct_id(&draft, work->arena, &message->distinct_id, &message->distinct_cut) < 0)
        return -1;
    if (message->distinct_id.bytes == 0)
        return segment_reject(work, RECORD_REJECTED_NO_DISTINCT_ID,
                              "neither userId nor anonymousId says who it was");
    return 0;
}

/* The name of the event, and what its type needs beside. */
static int segment_read_event(struct segment_work *work)
{
    static const char *const names[] = { [SEGMENT_IDENTIFY] = "$identify", [SEGMENT_PAGE] = "$pageview",
                                         [SEGMENT_SCREEN] = "$screen", [SEGMENT_GROUP] = "$groupidentify",
                                         [SEGMENT_ALIAS] = "$create_alias" };
    struct segment_message  *message = work->message;
    const struct json_value *event = segment_member(&message->members, "event");

    if (message->type == SEGMENT_BY_MESSAGE)
        return 0; /* refused already */
    if (message->type != SEGMENT_TRACK) {
        message->event = span_text(names[message->type]);
        if (message->type == SEGMENT_IDENTIFY && message->user.value.raw.at == NULL)
            message->event = SPAN("$set"); /* traits of somebody who is not known: nobody to identify */
        if (message->type == SEGMENT_GROUP && message->group.value.raw.at == NULL)
            return segment_reject(work, RECORD_REJECTED_BAD_FIELD, "groupId: a group message needs one");
        if (message->type == SEGMENT_ALIAS && message->previous.value.raw.at == NULL)
            return segment_reject(work, RECORD_REJECTED_BAD_FIELD, "previousId: an alias message needs one");
        return 0;
    }
    if (event == NULL)
        return segment_reject(work, RECORD_REJECTED_MISSING_EVENT_NAME, "event: a track message needs one");
    if (event->kind != JSON_STRING)
        return segment_reject(work, RECORD_REJECTED_BAD_FIELD, "event: expected a string");
    message->event = json_text(event, work->arena);
    if (message->event.at == NULL)
        return -1;
    if (message->event.bytes == 0)
        return segment_reject(work, RECORD_REJECTED_NO_EVENT_NAME, "event is the empty string");
    return 0;
}

static int segment_read_message_id(struct segment_work *work)
{
    struct segment_message  *message = work->message;
    const struct json_value *value = segment_member(&message->members, "messageId");
    struct span              text;

    if (value == NULL || (value->kind != JSON_STRING && value->kind != JSON_NUMBER))
        return 0;
    text = value->kind == JSON_NUMBER ? value->raw : json_text(value, work->arena);
    if (text.at == NULL)
        return -1;
    if (text.bytes == 0)
        return 0;
    message->message_id = *value;
    message->has_uuid = uuid_parse_hyphenated(text, &message->uuid);
    return 0;
}

/* --- times ------------------------------------------------------------------------------------- */

static int segment_read_times(struct segment_work *work)
{
    static const char *const names[] = { "timestamp", "originalTimestamp" };
    struct segment_message  *message = work->message;
    const struct json_value *sent = segment_text_member(&message->members, "sentAt");
    struct span              text;

    for (size_t i = 0; i < sizeof names / sizeof *names && message->client_us == CLOCK_NONE; i++) {
        const struct json_value *value = segment_member(&message->members, names[i]);
        int64_t                  us;

        if (value == NULL || (value->kind != JSON_STRING && value->kind != JSON_NUMBER))
            continue;
        text = value->kind == JSON_STRING ? json_text(value, work->arena) : value->raw;
        if (text.at == NULL)
            return -1;
        if (!time_parse_lenient(text, &us))
            continue;
        message->client_us = us;
        if (value->kind == JSON_STRING)
            message->timestamp = *value;
    }
    if (sent == NULL && message->envelope->sent_at.raw.at != NULL)
        sent = &message->envelope->sent_at;
    if (sent == NULL)
        return 0;
    text = json_text(sent, work->arena);
    if (text.at == NULL)
        return -1;
    if (!time_parse_iso8601(text, &message->sent_at_us, &message->sent_at_zone_min))
        message->sent_at_us = CLOCK_NONE;
    return 0;
}

/* --- properties -------------------------------------------------------------------------------- */

/* The words among the properties that capture itself obeys, as on its other endpoints. */
static int segment_read_own(struct segment_work *work)
{
    struct segment_message  *message = work->message;
    const struct json_value *value;
    struct err               err;

    if (segment_read_object(work, "properties", &message->properties) < 0)
        return -1;
    if (message->properties.raw.at == NULL)
        return 0;
    if (json_members_read(message->properties.raw, work->arena, &message->own, &err) < 0)
        return -1;
    value = segment_member(&message->own, "$cookieless_mode");
    if (value != NULL && value->kind != JSON_TRUE && value->kind != JSON_FALSE)
        return segment_reject(work, RECORD_REJECTED_INVALID_COOKIELESS,
                              "properties.$cookieless_mode is not a boolean");
    message->cookieless = value != NULL && value->kind == JSON_TRUE;
    value = segment_member(&message->own, "$ignore_sent_at");
    message->ignore_sent_at = value != NULL && value->kind == JSON_TRUE;
    return 0;
}

static bool segment_object_empty(struct span object)
{
    return event_text_trim(span_of(object.at + 1, object.bytes - 2)).bytes == 0;
}

/* Python SDKs write `traits` though they were given none. Those of the context are the person's then. */
static void segment_prefer_told_traits(struct segment_message *message)
{
    const struct json_value *value = segment_context_find(&message->context, SPAN("traits"));

    if (message->type == SEGMENT_IDENTIFY && message->traits.raw.at != NULL && segment_object_empty(message->traits.raw) &&
        value != NULL && value->kind == JSON_OBJECT && !segment_object_empty(value->raw))
        message->traits = (struct json_value){ 0 };
}

static int segment_read_group_type(struct segment_work *work)
{
    struct segment_message  *message = work->message;
    struct json_members      traits;
    const struct json_value *value;
    struct err               err;

    if (message->type == SEGMENT_GROUP && message->traits.raw.at != NULL) {
        if (json_members_read(message->traits.raw, work->arena, &traits, &err) < 0)
            return -1;
        value = segment_text_member(&traits, "groupType");
        if (value != NULL && value->raw.bytes > 2) {
            message->group_type = *value;
            return 0;
        }
    }
    value = segment_context_find(&message->context, SPAN("groupType"));
    if (value != NULL && value->kind == JSON_STRING && value->raw.bytes > 2)
        message->group_type = *value;
    return 0;
}

static int segment_read_rest(struct segment_work *work)
{
    struct segment_message *message = work->message;
    struct json_value       context;

    if (segment_read_own(work) < 0 || segment_read_object(work, "traits", &message->traits) < 0 ||
        segment_read_object(work, "context", &context) < 0)
        return -1;
    if (!segment_good(work))
        return 0;
    if (segment_context_read(&context, &message->envelope->context, work->arena, &message->context) < 0)
        return -1;
    segment_prefer_told_traits(work->message);
    return segment_read_group_type(work);
}

int segment_message_read(struct span object, enum segment_type type, const struct segment_envelope *envelope,
                         size_t bytes_max, struct arena *arena, struct segment_message *out,
                         struct segment_fault *fault)
{
    struct segment_work work = { arena, out, fault };
    struct err          err = { 0 };
    size_t              bytes = object.bytes + envelope->inherited_bytes;

    *out = (struct segment_message){ .object = object, .type = type, .envelope = envelope, .client_us = CLOCK_NONE, .sent_at_us = CLOCK_NONE };
    *fault = (struct segment_fault){ .rejection = RECORD_REJECTED_NONE };
    if (object.bytes == 0 || object.at[0] != '{')
        return segment_reject(&work, RECORD_REJECTED_BAD_FIELD, "a message must be an object");
    if (bytes > bytes_max)
        return segment_reject(&work, RECORD_REJECTED_TOO_LARGE, "the message has %zu bytes, the limit is %zu", bytes,
                              bytes_max);
    if (json_members_read(object, arena, &out->members, &err) < 0)
        return -1;
    if (segment_read_type(&work) < 0 || segment_read_message_id(&work) < 0 || segment_read_times(&work) < 0 ||
        segment_read_who(&work) < 0 || segment_read_event(&work) < 0)
        return -1;
    return segment_good(&work) ? segment_read_rest(&work) : 0;
}

bool segment_message_from_server(const struct segment_message *message)
{
    static const char *const libraries[] = {
        "@segment/analytics-node", "analytics-node",   "analytics-python", "segment-analytics-python",
        "rudder-analytics-python", "analytics-ruby",   "analytics-go",     "analytics-java",
        "analytics-php",           "Analytics.NET",    "analytics-rust",   "rudder-sdk-ruby-sync",
        "analytics-rudder-php",    "RudderAnalytics.NET",
    };
    const struct json_value *direct = segment_context_find(&message->context, SPAN("direct"));
    const struct json_value *channel = segment_text_member(&message->members, "channel");
    const struct json_value *library = &message->context.parts[SEGMENT_PART_LIBRARY];

    if (direct != NULL && direct->kind == JSON_TRUE)
        return false;
    if (channel != NULL)
        return json_text_is(channel, "server");
    for (size_t i = 0; library->raw.at != NULL && library->kind == JSON_STRING && i < sizeof libraries / sizeof *libraries;
         i++)
        if (json_text_is(library, libraries[i]))
            return true;
    return false;
}
