/* command/letter_event.c - a dead letter as an event to send again.
 *
 * What capture worked out from the request (arrival, address) would be worked out anew from the request of the
 * replay, and the event would be of today and from this machine; so it is written into the event, where capture
 * lets it win. The uuid is written in for another reason: it is what makes two replays one event. */
#include "command/letter_event.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "wire/json.h"
#include "wire/time.h"

enum { EVENT_ARENA_BYTES_MAX = 1 << 30 };

static const struct json_member *member(const struct json_members *members, const char *name)
{
    const struct json_member *found = json_members_find(members, span_text(name));

    return found == NULL || found->value.kind == JSON_NULL || span_is(found->value.raw, "\"\"") ? NULL : found;
}

static void key(struct buf *out, bool *first, const char *name)
{
    buf_add_text(out, *first ? "" : ",");
    *first = false;
    json_write_string(out, span_text(name));
    buf_add_byte(out, ':');
}

/* The time that must be written into the event; false: none. Some clients give an `offset` in milliseconds before the
 * request's arrival, which counts more than a time and would be taken from the arrival of the replay. */
static bool time_missing(const struct letter *letter, const struct json_members *event, bool *offset_out, int64_t *us_out)
{
    const struct json_member *offset = member(event, "offset");
    int64_t                   ms;

    *us_out = letter->received_us;
    *offset_out = letter->received_us != CLOCK_NONE && offset != NULL && json_int64(&offset->value, &ms) &&
                  !__builtin_mul_overflow(ms, TIME_US_MS, &ms) && !__builtin_sub_overflow(letter->received_us, ms, us_out);
    return *offset_out || (member(event, "timestamp") == NULL && letter->received_us != CLOCK_NONE);
}

/* True when an "$ip" of the letter has to be put among the properties. */
static bool ip_missing(const struct letter *letter, const struct json_member *properties, struct arena *arena)
{
    struct json_members inside;
    struct err          ignored = { .kind = ERR_NONE };

    if (letter->ip.bytes == 0)
        return false;
    if (properties == NULL)
        return true;
    return properties->value.kind == JSON_OBJECT &&
           json_members_read(properties->value.raw, arena, &inside, &ignored) == 0 &&
           json_members_find(&inside, SPAN("$ip")) == NULL;
}

static void properties_add(const struct letter *letter, const struct json_member *properties, bool ip, struct buf *out)
{
    struct span inside = properties != NULL ? span_from(properties->value.raw, 1) : SPAN("}");
    size_t      at = 0;

    if (!ip) {
        buf_add(out, properties->value.raw);
        return;
    }
    while (at < inside.bytes && strchr(" \t\r\n", inside.at[at]) != NULL)
        at++;
    buf_add_text(out, "{\"$ip\":");
    json_write_string(out, letter->ip);
    buf_add_text(out, inside.at[at] == '}' ? "" : ",");
    buf_add(out, inside);
}

static void event_write(const struct letter *letter, const struct json_members *event, struct arena *arena,
                        struct buf *out)
{
    const struct json_member *properties = member(event, "properties");
    bool                      ip = ip_missing(letter, properties, arena);
    bool                      uuid = member(event, "uuid") == NULL, offset;
    int64_t                   time_us;
    bool                      time = time_missing(letter, event, &offset, &time_us);
    bool                      named = member(event, "event") != NULL || letter->event.bytes == 0;
    bool                      first = true;

    buf_add_byte(out, '{');
    for (size_t i = 0; i < event->count; i++) {
        const struct json_member *at = &event->at[i];

        if ((uuid && span_is(at->key, "uuid")) || (time && span_is(at->key, "timestamp")) || (offset && span_is(at->key, "offset")) ||
            (!named && span_is(at->key, "event")) || (ip && span_is(at->key, "properties")))
            continue;
        buf_add_text(out, first ? "" : ",");
        first = false;
        buf_add(out, at->key_raw);
        buf_add_byte(out, ':');
        buf_add(out, at->value.raw);
    }
    if (uuid) {
        key(out, &first, "uuid");
        json_write_string(out, letter->uuid);
    }
    if (!named) { /* a person update of /engage has no name of its own */
        key(out, &first, "event");
        json_write_string(out, letter->event);
    }
    if (ip) {
        key(out, &first, "properties");
        properties_add(letter, properties, ip, out);
    }
    if (time) {
        key(out, &first, "timestamp");
        buf_add_byte(out, '"');
        time_write_rfc3339(out, time_us);
        buf_add_byte(out, '"');
    }
    buf_add_byte(out, '}');
}

static int event_uuid(const struct letter *letter, const struct json_members *event, struct arena *arena, char *to,
                      struct err *err)
{
    const struct json_member *own = member(event, "uuid");
    struct span               text = own != NULL && own->value.kind == JSON_STRING ? json_text(&own->value, arena)
                                                                                   : letter->uuid;
    struct uuid               uuid;

    if (own == NULL && !letter->is_event)
        return err_set(err, ERR_INPUT, "%s: what failed was a stored record; give the repaired event a new uuid of its own, "
                       "because the old one counts as seen: penstock dlq edit %s", letter->key, letter->key);
    if (text.at == NULL || !uuid_parse(text, &uuid))
        return err_set(err, ERR_INPUT, "%s: its uuid is not a UUID; repair it: penstock dlq edit %s", letter->key,
                       letter->key);
    uuid_format(&uuid, to);
    to[UUID_TEXT_BYTES] = '\0';
    return 0;
}

int letter_event_write(const struct letter *letter, struct span token, struct buf *out,
                       char uuid_out[UUID_TEXT_BYTES + 1], struct err *err)
{
    struct span         text = letter->repaired.bytes > 0 ? letter->repaired : letter->data;
    struct arena       *arena;
    struct json_members event;
    int                 rc;

    if (letter->repaired.bytes == 0 && !letter->is_event)
        return err_set(err, ERR_INPUT, "%s: its data is no event, but a stored record; write the event, with a new uuid: "
                       "penstock dlq edit %s", letter->key, letter->key);
    if (letter->repaired.bytes == 0 && letter->base64)
        return err_set(err, ERR_INPUT, "%s: its data is no text (it is shown in base64); write the event: penstock dlq edit %s",
                       letter->key, letter->key);
    arena = arena_new(1 << 16, EVENT_ARENA_BYTES_MAX);
    if (arena == NULL)
        return err_set(err, ERR_FULL, "no memory");
    rc = json_members_read(text, arena, &event, err);
    if (rc < 0)
        (void)err_wrap(err, letter->key);
    if (rc == 0)
        rc = event_uuid(letter, &event, arena, uuid_out, err);
    if (rc == 0) {
        buf_add_text(out, "{\"api_key\":");
        json_write_string(out, token);
        buf_add_text(out, ",\"batch\":[");
        event_write(letter, &event, arena, out);
        buf_add_text(out, "]}");
        if (out->failed)
            rc = err_set(err, ERR_FULL, "%s: the event is too large to send", letter->key);
    }
    arena_free(arena);
    return rc;
}
