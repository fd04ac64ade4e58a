/* capture/segment_write.c - a message's event as JSON. The client's own properties are copied in one piece, and what
 * is worked out follows behind them, each only if the client has not given it himself: so nothing is written twice,
 * and no value of his is replaced. */
#include "capture/segment_message.h"
#include "wire/user_agent.h"

struct segment_writer {
    const struct segment_message *message;
    struct arena                 *arena;
    struct buf                   *out;
    bool                          first; /* no property was written yet */
    bool                          full;  /* the arena is */
};

/* --- one property ------------------------------------------------------------------------------ */

/* Comma and key, when the client has no property of this name. */
static bool writer_begin(struct segment_writer *writer, struct span key)
{
    if (json_members_find(&writer->message->own, key) != NULL)
        return false;
    if (!writer->first)
        buf_add_byte(writer->out, ',');
    writer->first = false;
    json_write_string(writer->out, key);
    buf_add_byte(writer->out, ':');
    return true;
}

/* raw: a JSON value; at NULL: nothing to say. */
static void writer_raw(struct segment_writer *writer, const char *key, struct span raw)
{
    if (raw.at != NULL && writer_begin(writer, span_text(key)))
        buf_add(writer->out, raw);
}

static void writer_text(struct segment_writer *writer, const char *key, struct span text)
{
    if (text.bytes > 0 && writer_begin(writer, span_text(key)))
        json_write_string(writer->out, text);
}

/* prefix and name joined; the name comes from the client. */
static struct span writer_name(struct segment_writer *writer, const char *prefix, struct span name)
{
    size_t   bytes = strlen(prefix);
    uint8_t *at = arena_alloc(writer->arena, bytes + name.bytes);

    if (at == NULL) {
        writer->full = true;
        return SPAN("");
    }
    memcpy(at, prefix, bytes);
    if (name.bytes > 0)
        memcpy(at + bytes, name.at, name.bytes);
    return span_of(at, bytes + name.bytes);
}

static void writer_named(struct segment_writer *writer, const char *prefix, struct span name, struct span raw)
{
    struct span key = writer_name(writer, prefix, name);

    if (key.bytes > 0 && writer_begin(writer, key))
        buf_add(writer->out, raw);
}

static struct span writer_decoded(struct segment_writer *writer, const struct json_value *value)
{
    struct span text = { 0 };

    if (value == NULL || value->raw.at == NULL || value->kind != JSON_STRING)
        return SPAN("");
    text = json_text(value, writer->arena);
    if (text.at == NULL) {
        writer->full = true;
        return SPAN("");
    }
    return text;
}

/* --- pages ------------------------------------------------------------------------------------- */

enum { URL_HOST_BYTES_MAX = 300 /* a name has 253, a port 6 with its colon */ };

/* `host[:port]` of an absolute address; empty: it is none. */
static struct span url_host(struct span url)
{
    const uint8_t *mark = url.bytes == 0 ? NULL : memmem(url.at, url.bytes, "://", 3);
    struct span    host;
    size_t         bytes = 0;

    if (mark == NULL || mark - url.at > 16)
        return SPAN("");
    host = span_from(url, (size_t)(mark - url.at) + 3);
    while (bytes < host.bytes && host.at[bytes] != '/' && host.at[bytes] != '?' && host.at[bytes] != '#')
        bytes++;
    host.bytes = bytes;
    mark = bytes == 0 ? NULL : memrchr(host.at, '@', bytes);
    if (mark != NULL)
        host = span_from(host, (size_t)(mark - host.at) + 1);
    return host.bytes > URL_HOST_BYTES_MAX ? SPAN("") : host;
}

/* What a page message says of its page, it says in its properties first. */
static struct json_value page_part(const struct segment_writer *writer, const char *own, enum segment_part part)
{
    const struct json_value *value = writer->message->type == SEGMENT_PAGE ? segment_member(&writer->message->own, own)
                                                                           : NULL;

    return value != NULL && value->kind == JSON_STRING ? *value : writer->message->context.parts[part];
}

static void write_page(struct segment_writer *writer)
{
    struct json_value url = page_part(writer, "url", SEGMENT_PART_URL);
    struct json_value referrer = page_part(writer, "referrer", SEGMENT_PART_REFERRER);
    struct json_value domain = page_part(writer, "referring_domain", SEGMENT_PART_REFERRING);
    struct span       text = writer_decoded(writer, &referrer);

    writer_raw(writer, "$current_url", url.raw);
    writer_text(writer, "$host", url_host(writer_decoded(writer, &url)));
    writer_raw(writer, "$pathname", page_part(writer, "path", SEGMENT_PART_PATH).raw);
    writer_raw(writer, "title", page_part(writer, "title", SEGMENT_PART_TITLE).raw);
    if (referrer.raw.at == NULL || referrer.kind != JSON_STRING)
        return;
    if (text.bytes == 0 || span_is(text, "$direct")) { /* who typed the address has no referrer */
        writer_text(writer, "$referrer", SPAN("$direct"));
        writer_text(writer, "$referring_domain", SPAN("$direct"));
        return;
    }
    writer_raw(writer, "$referrer", referrer.raw);
    if (domain.raw.bytes > 2)
        writer_raw(writer, "$referring_domain", domain.raw);
    else
        writer_text(writer, "$referring_domain", url_host(text));
}

/* --- browser, system, device ------------------------------------------------------------------- */

static bool is_page_part(enum segment_part part)
{
    return part == SEGMENT_PART_URL || part == SEGMENT_PART_PATH || part == SEGMENT_PART_TITLE ||
           part == SEGMENT_PART_REFERRER || part == SEGMENT_PART_REFERRING;
}

static void write_parts(struct segment_writer *writer)
{
    const struct segment_context *context = &writer->message->context;

    for (int i = 0; i < SEGMENT_PART_COUNT; i++)
        if (!is_page_part((enum segment_part)i))
            writer_raw(writer, segment_part_property((enum segment_part)i), context->parts[i].raw);
}

static void write_user_agent(struct segment_writer *writer)
{
    const struct segment_context *context = &writer->message->context;
    struct span                   text = writer_decoded(writer, &context->parts[SEGMENT_PART_USER_AGENT]);
    struct user_agent             agent;

    if (text.bytes == 0)
        return;
    user_agent_read(text, &agent);
    writer_text(writer, "$browser", agent.browser);
    if (agent.browser_version.bytes > 0)
        writer_raw(writer, "$browser_version", agent.browser_version);
    if (context->parts[SEGMENT_PART_OS].raw.at == NULL) {
        writer_text(writer, "$os", agent.os);
        if (context->parts[SEGMENT_PART_OS_VERSION].raw.at == NULL && agent.os_version.bytes > 0 &&
            writer_begin(writer, SPAN("$os_version"))) {
            buf_add_byte(writer->out, '"');
            for (size_t i = 0; i < agent.os_version.bytes; i++)
                buf_add_byte(writer->out, agent.os_version.at[i] == '_' ? '.' : agent.os_version.at[i]);
            buf_add_byte(writer->out, '"');
        }
    }
    if (context->parts[SEGMENT_PART_DEVICE_TYPE].raw.at == NULL)
        writer_text(writer, "$device_type", agent.device_type);
}

/* --- what is left of context and message ------------------------------------------------------- */

/* Member by member under the names of campaign parameters; a name is what they call the campaign itself. */
static void write_campaign(struct segment_writer *writer, const struct json_value *campaign)
{
    struct json_members members;
    struct err          err;
    bool                named = false;

    if (json_members_read(campaign->raw, writer->arena, &members, &err) < 0) {
        writer->full = true;
        return;
    }
    named = json_members_find(&members, SPAN("campaign")) != NULL;
    for (size_t i = 0; i < members.count; i++)
        if (span_is(members.at[i].key, "name") && !named)
            writer_raw(writer, "utm_campaign", members.at[i].value.raw);
        else
            writer_named(writer, "utm_", members.at[i].key, members.at[i].value.raw);
}

static bool context_told(const struct segment_writer *writer, const struct json_member *member)
{
    const struct segment_message *message = writer->message;
    enum segment_part             part = segment_context_part(&message->context, member->key);

    if (part == SEGMENT_PART_IP) /* nowhere else: a project may not want to keep it */
        return true;
    if (part != SEGMENT_PART_COUNT)
        return json_members_find(&message->own, span_text(segment_part_property(part))) == NULL;
    if (span_is(member->key, "library"))
        return message->context.library_whole;
    if (span_is(member->key, "groupId") || span_is(member->key, "groupType"))
        return message->type != SEGMENT_GROUP && member->value.kind != JSON_OBJECT &&
               json_members_find(&message->own, SPAN("$groups")) == NULL;
    return span_is(member->key, "traits") && span_equal(member->value.raw, message->traits.raw);
}

static bool person_told(const struct segment_message *message)
{
    return message->type == SEGMENT_TRACK || message->type == SEGMENT_PAGE || message->type == SEGMENT_SCREEN ||
           (message->type == SEGMENT_IDENTIFY && message->traits.raw.at == NULL);
}

static void write_context(struct segment_writer *writer)
{
    const struct segment_message *message = writer->message;
    const struct json_member     *member;
    size_t                        at = 0;

    while ((member = segment_context_next(&message->context, &at)) != NULL) {
        bool object = member->value.kind == JSON_OBJECT;

        if (member->value.kind == JSON_NULL || context_told(writer, member))
            continue;
        if (object && span_is(member->key, "campaign"))
            write_campaign(writer, &member->value);
        else if (object && span_is(member->key, "traits") && person_told(message) &&
                 json_members_find(&message->own, SPAN("$set")) == NULL)
            writer_raw(writer, "$set", member->value.raw);
        else if (!object || member->value.raw.bytes > 2) /* `{}` tells nothing */
            writer_named(writer, "segment_", member->key, member->value.raw);
    }
}

/* Whether a member of the message itself is told elsewhere. */
static bool message_told(const struct segment_message *message, const struct json_member *member)
{
    static const char *const told[] = { "type", "event", "properties", "context", "userId", "anonymousId", "writeKey",
                                        "sentAt", "previousId", "groupId", "traits" };
    bool page = message->type == SEGMENT_PAGE || message->type == SEGMENT_SCREEN;

    if (member->value.kind == JSON_NULL || span_is(member->value.raw, "{}"))
        return true;
    if (span_is(member->key, "event") && message->type != SEGMENT_TRACK)
        return false;
    if (span_is(member->key, "previousId") && message->type != SEGMENT_ALIAS)
        return false;
    if (span_is(member->key, "groupId") && message->type != SEGMENT_GROUP)
        return false;
    if (span_is(member->key, "traits") && message->type != SEGMENT_GROUP && message->type != SEGMENT_IDENTIFY)
        return false;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (span_is(member->key, told[i]))
            return true;
    if (span_is(member->key, "messageId"))
        return message->has_uuid;
    if (span_is(member->key, "timestamp"))
        return message->timestamp.raw.at == member->value.raw.at;
    if (span_is(member->key, "originalTimestamp"))
        return span_equal(message->timestamp.raw, member->value.raw);
    return page && (span_is(member->key, "name") || span_is(member->key, "category"));
}

/* Those of the message, and behind them those of its batch that it does not name. */
static void write_integrations(struct segment_writer *writer, struct span own, struct span inherited)
{
    struct json_members mine, others;
    struct err          err;
    bool                first;

    if (json_members_read(own, writer->arena, &mine, &err) < 0 || json_members_read(inherited, writer->arena, &others, &err) < 0) {
        writer->full = true;
        return;
    }
    if (!writer_begin(writer, SPAN("segment_integrations")))
        return;
    first = mine.count == 0;
    buf_add(writer->out, span_of(own.at, own.bytes - 1));
    for (size_t i = 0; i < others.count; i++) {
        if (json_members_find(&mine, others.at[i].key) != NULL)
            continue;
        if (!first)
            buf_add_byte(writer->out, ',');
        first = false;
        json_write_string(writer->out, others.at[i].key);
        buf_add_byte(writer->out, ':');
        buf_add(writer->out, others.at[i].value.raw);
    }
    buf_add_byte(writer->out, '}');
}

static void write_rest(struct segment_writer *writer)
{
    const struct segment_message *message = writer->message;
    const struct json_value      *own = segment_member(&message->members, "integrations");
    const struct json_value      *inherited = &message->envelope->integrations;
    bool                          asked = inherited->raw.bytes > 2 && segment_context_find(&message->context, SPAN("integrations")) == NULL;
    bool                          both = asked && own != NULL && own->kind == JSON_OBJECT;

    for (size_t i = 0; i < message->members.count; i++) {
        const struct json_member *member = &message->members.at[i];

        if (!message_told(message, member) && segment_context_find(&message->context, member->key) == NULL &&
            !(both && &member->value == own))
            writer_named(writer, "segment_", member->key, member->value.raw);
    }
    if (both)
        write_integrations(writer, own->raw, inherited->raw);
    else if (asked && own == NULL)
        writer_raw(writer, "segment_integrations", inherited->raw);
}

/* --- by type ----------------------------------------------------------------------------------- */

static void write_id(struct buf *out, const struct segment_id *id)
{
    if (id->value.kind == JSON_STRING)
        buf_add(out, id->value.raw);
    else
        json_write_string(out, id->text);
}

static void write_groups(struct segment_writer *writer, const struct segment_id *key)
{
    if (!writer_begin(writer, SPAN("$groups")))
        return;
    buf_add_byte(writer->out, '{');
    if (writer->message->group_type.raw.at != NULL)
        buf_add(writer->out, writer->message->group_type.raw);
    else
        buf_add_text(writer->out, "\"" SEGMENT_GROUP_TYPE "\"");
    buf_add_byte(writer->out, ':');
    write_id(writer->out, key);
    buf_add_byte(writer->out, '}');
}

static void write_group(struct segment_writer *writer)
{
    const struct segment_message *message = writer->message;

    if (message->group_type.raw.at != NULL)
        writer_raw(writer, "$group_type", message->group_type.raw);
    else
        writer_text(writer, "$group_type", SPAN(SEGMENT_GROUP_TYPE));
    if (writer_begin(writer, SPAN("$group_key")))
        write_id(writer->out, &message->group);
    writer_raw(writer, "$group_set", message->traits.raw.at == NULL ? SPAN("{}") : message->traits.raw);
    write_groups(writer, &message->group);
}

/* The group that other messages say they belong to. */
static void write_context_group(struct segment_writer *writer)
{
    const struct json_value *value = segment_context_find(&writer->message->context, SPAN("groupId"));
    struct segment_id        key = { 0 };

    if (value == NULL || (value->kind != JSON_STRING && value->kind != JSON_NUMBER) || value->raw.bytes == 0)
        return;
    key = (struct segment_id){ *value, value->raw };
    if (value->kind == JSON_STRING && event_text_blank(writer_decoded(writer, value)))
        return;
    write_groups(writer, &key);
}

static void write_name(struct segment_writer *writer)
{
    const struct json_value *name = segment_member(&writer->message->members, "name");
    const struct json_value *category = segment_member(&writer->message->members, "category");

    if (name == NULL)
        name = segment_member(&writer->message->own, "name");
    if (name != NULL)
        writer_raw(writer, "name", name->raw);
    if (name != NULL && writer->message->type == SEGMENT_SCREEN)
        writer_raw(writer, "$screen_name", name->raw);
    if (category != NULL)
        writer_raw(writer, "category", category->raw);
}

static void write_by_type(struct segment_writer *writer)
{
    const struct segment_message *message = writer->message;

    switch (message->type) {
    case SEGMENT_IDENTIFY: writer_raw(writer, "$set", message->traits.raw); break;
    case SEGMENT_GROUP: write_group(writer); break;
    case SEGMENT_ALIAS:
        if (writer_begin(writer, SPAN("alias")))
            write_id(writer->out, &message->previous);
        break;
    case SEGMENT_PAGE:
    case SEGMENT_SCREEN: write_name(writer); break;
    default: break;
    }
    if (message->type != SEGMENT_GROUP)
        write_context_group(writer);
    if (message->user.value.raw.at != NULL && message->anonymous.value.raw.at != NULL &&
        !span_equal(message->user.text, message->anonymous.text) && writer_begin(writer, SPAN("$anon_distinct_id")))
        write_id(writer->out, &message->anonymous);
}

/* --- the event --------------------------------------------------------------------------------- */

static void write_properties(struct segment_writer *writer)
{
    struct span given = writer->message->properties.raw.at == NULL ? SPAN("{}") : writer->message->properties.raw;

    writer->first = writer->message->own.count == 0;
    buf_add(writer->out, span_of(given.at, given.bytes - 1));
    write_by_type(writer);
    write_page(writer);
    write_parts(writer);
    write_user_agent(writer);
    write_context(writer);
    write_rest(writer);
    buf_add_byte(writer->out, '}');
}

int segment_message_write(const struct segment_message *message, struct arena *arena, struct buf *out)
{
    struct segment_writer writer = { .message = message, .arena = arena, .out = out };
    char                  uuid[UUID_TEXT_BYTES];

    uuid_format(&message->uuid, uuid);
    buf_add_text(out, "{\"event\":");
    json_write_string(out, message->event);
    buf_add_text(out, ",\"distinct_id\":");
    write_id(out, message->user.value.raw.at != NULL ? &message->user : &message->anonymous);
    buf_add_text(out, ",\"uuid\":\"");
    buf_add(out, span_of(uuid, sizeof uuid));
    buf_add_text(out, "\",\"properties\":");
    write_properties(&writer);
    if (message->timestamp.raw.at != NULL) {
        buf_add_text(out, ",\"timestamp\":");
        buf_add(out, message->timestamp.raw);
    }
    buf_add_byte(out, '}');
    return writer.full ? -1 : 0;
}
