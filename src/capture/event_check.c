/* capture/event_check.c - rules about single fields. Ids are never turned into numbers: 20 digits in,
 * 20 digits out. */
#include "capture/event_check.h"

#include "base/buf.h"
#include "catalog/catalog.h"
#include "wire/utf8.h"
#include "wire/uuid.h"

void event_check_types(struct draft *draft, struct arena *arena)
{
    struct span text;

    if (!draft_has(&draft->uuid) || draft->fault.rejection != RECORD_REJECTED_NONE)
        return;
    text = json_text(&draft->uuid, arena); /* at NULL, without room in the arena: no UUID */
    if (text.at != NULL && text.bytes == 0)
        draft->uuid = (struct json_value){ 0 };
    else if (!uuid_parse(text, &draft->uuid_value))
        draft->fault = (struct draft_fault){ RECORD_REJECTED_BAD_UUID, "uuid", JSON_STRING, "a UUID" };
}

struct span event_sent_at(struct span object)
{
    struct json_reader reader;
    struct json_value  key, value;
    struct span        found = SPAN("");

    if (memmem(object.at, object.bytes, "sent_at", 7) == NULL) /* nobody writes such a name with escapes */
        return found;
    json_reader_init(&reader, object, 0);
    if (json_object_enter(&reader) < 0)
        return found;
    while (json_object_next(&reader, &key) == 1 && json_skip(&reader, &value) == 0)
        if (json_text_is(&key, "sent_at"))
            found = value.raw;
    return found;
}

/* The code point at the start of valid UTF-8, and its length. */
static uint32_t event_code_point(struct span text, size_t *bytes_out)
{
    uint8_t first = text.at[0];

    if (first < 0x80) {
        *bytes_out = 1;
        return first;
    }
    if (first < 0xE0 && text.bytes >= 2) {
        *bytes_out = 2;
        return (uint32_t)(first & 0x1F) << 6 | (text.at[1] & 0x3F);
    }
    if (first < 0xF0 && text.bytes >= 3) {
        *bytes_out = 3;
        return (uint32_t)(first & 0x0F) << 12 | (uint32_t)(text.at[1] & 0x3F) << 6 | (text.at[2] & 0x3F);
    }
    *bytes_out = text.bytes < 4 ? text.bytes : 4;
    return 0x10000; /* nothing above the first plane is white space */
}

static bool event_space(uint32_t point)
{
    return (point >= 0x09 && point <= 0x0D) || point == 0x20 || point == 0x85 || point == 0xA0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 || point == 0x202F ||
           point == 0x205F || point == 0x3000;
}

bool event_text_blank(struct span text)
{
    while (text.bytes > 0) {
        size_t bytes;

        if (!event_space(event_code_point(text, &bytes)))
            return false;
        text = span_from(text, bytes);
    }
    return true;
}

struct span event_text_trim(struct span text)
{
    size_t bytes;

    while (text.bytes > 0 && event_space(event_code_point(text, &bytes)))
        text = span_from(text, bytes);
    while (text.bytes > 0) {
        size_t start = text.bytes - 1;

        while (start > 0 && (text.at[start] & 0xc0) == 0x80)
            start--;
        if (!event_space(event_code_point(span_from(text, start), &bytes)))
            break;
        text.bytes = start;
    }
    return text;
}

/* A number, boolean, array or object as its compact JSON text. */
static int event_compact(const struct json_value *value, struct arena *arena, struct span *out)
{
    struct buf buf;

    if (value->kind == JSON_NUMBER || value->kind == JSON_TRUE || value->kind == JSON_FALSE) {
        *out = value->raw;
        return 0;
    }
    buf_init(&buf, value->raw.bytes + 16);
    json_write_compact(&buf, value->raw);
    *out = buf.failed ? (struct span){ 0 } : arena_copy(arena, buf_span(&buf));
    buf_fini(&buf);
    return out->at == NULL ? -1 : 0;
}

/* Before anything is cut. at NULL: there is none. */
static int event_distinct_whole(const struct draft *draft, struct arena *arena, struct span *out)
{
    const struct json_value *value = draft_has(&draft->distinct_id) ? &draft->distinct_id : &draft->prop_distinct_id;

    *out = (struct span){ 0 };
    if (!draft_has(value))
        return 0;
    if (value->kind != JSON_STRING)
        return event_compact(value, arena, out);
    *out = json_text(value, arena);
    return out->at == NULL ? -1 : 0;
}

static bool event_distinct_cut(struct span *text)
{
    struct span whole = *text;

    if (whole.bytes > EVENT_DISTINCT_ID_CHARS_MAX)
        *text = utf8_cut(whole, EVENT_DISTINCT_ID_CHARS_MAX);
    return text->bytes < whole.bytes;
}

int event_distinct_text(const struct draft *draft, struct arena *arena, struct span *out, bool *cut_out)
{
    *cut_out = false;
    if (event_distinct_whole(draft, arena, out) < 0)
        return -1;
    *cut_out = event_distinct_cut(out);
    return 0;
}

int event_distinct_id(const struct draft *draft, struct arena *arena, struct span *out, bool *cut_out)
{
    *cut_out = false;
    if (event_distinct_whole(draft, arena, out) < 0)
        return -1;
    if (event_text_blank(*out))
        *out = (struct span){ 0 };
    *cut_out = event_distinct_cut(out);
    return 0;
}

/* --- tokens ------------------------------------------------------------------------------------ */

static const struct json_value *event_token_of(const struct draft *draft)
{
    if (draft_has(&draft->token))
        return &draft->token;
    return draft_has(&draft->prop_token) ? &draft->prop_token : NULL;
}

/* The one token that the events name; those that name none go with the others. */
static int event_token_common(const struct shape *shape, struct arena *arena, struct span *out,
                              struct refusal *refusal)
{
    struct span found = { 0 };

    for (size_t i = 0; i < shape->count; i++) {
        const struct json_value *value = event_token_of(&shape->drafts[i]);
        struct span              text;

        if (value == NULL || shape->drafts[i].filtered || shape->drafts[i].fault.rejection != RECORD_REJECTED_NONE)
            continue;
        text = json_text(value, arena);
        if (text.at == NULL)
            return refusal_set(refusal, 413, REFUSAL_OVERSIZE, "maximum event size exceeded: token");
        if (found.at != NULL && !span_equal(found, text))
            return refusal_set(refusal, 401, REFUSAL_MULTIPLE_TOKENS,
                               "batch submitted with inconsistent api_key values");
        found = text;
    }
    *out = found;
    return 0;
}

int event_token(const struct shape *shape, struct arena *arena, struct span *out, struct refusal *refusal)
{
    struct span text = { 0 };
    struct err  err = { 0 };

    if (shape->kind == SHAPE_BATCH)
        text = json_text(&shape->token, arena);
    else if (event_token_common(shape, arena, &text, refusal) < 0)
        return -1;
    if (text.at == NULL)
        return refusal_set(refusal, 401, REFUSAL_NO_TOKEN, "event submitted without an api_key");
    text = event_text_trim(text);
    if (catalog_token_check(text, &err) < 0)
        return refusal_set(refusal, 401, REFUSAL_BAD_TOKEN, "API key is not valid: %s", err.text);
    *out = text;
    return 0;
}
