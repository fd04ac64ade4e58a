/* people/properties.c - an object as an array of members with an index, and back to its packed form.
 *
 * This is the hot place of the people step: each person of a batch is read once and asked for some 25 keys
 * an event. What is packed needs no search to be taken apart. Text (what an earlier Penstock stored) is our own and its
 * checksum was right, so it is taken apart by looking for quotes and commas; whatever looks unusual goes the way of
 * json_members_read. Packing copies runs: members that already stand side by side are copied in one piece, so an
 * object of which little changed is a few memcpy. */
#include "people/properties.h"

#include <assert.h>
#include <math.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/json_keys.h"

enum { PROPERTIES_FIRST = 32, PROPERTY_BYTES = 28 /* of text, about: room for all of it at once */, PACKED_BYTES = 6 /* the same of the packed form */ };

uint64_t properties_hash(struct span key)
{
    return XXH3_64bits_withSeed(key.at, key.bytes, json_keys_seed());
}

/* --- the index --------------------------------------------------------------------------------- */

static void slot_put(struct properties *properties, size_t index)
{
    size_t slot = properties->at[index].hash & properties->slot_mask;

    while (properties->slots[slot] != 0)
        slot = (slot + 1) & properties->slot_mask;
    properties->slots[slot] = (uint32_t)(index + 1);
}

static void index_fill(struct properties *properties)
{
    memset(properties->slots, 0, (properties->slot_mask + 1) * sizeof *properties->slots);
    for (size_t i = 0; i < properties->count; i++) {
        if (!properties->indexed)
            properties->at[i].hash = properties_hash(properties->at[i].key);
        slot_put(properties, i);
    }
    properties->indexed = true;
}

/* Room for `room` members and an index at most half full. */
static int properties_grow(struct properties *properties, size_t room, struct arena *arena, struct err *err)
{
    size_t slots = 2 * PROPERTIES_FIRST;
    struct property *at = arena_grow(arena, properties->at, properties->room * sizeof *at, room * sizeof *at);

    if (at == NULL)
        return err_set(err, ERR_FULL, "people: %zu properties do not fit the batch's arena", room);
    properties->at = at;
    properties->room = room;
    while (slots < 2 * room)
        slots *= 2;
    if (properties->slots == NULL || slots > properties->slot_mask + 1) {
        properties->slots = arena_alloc_array(arena, slots, sizeof *properties->slots);
        if (properties->slots == NULL)
            return err_set(err, ERR_FULL, "people: %zu properties do not fit the batch's arena", room);
        properties->slot_mask = slots - 1;
        if (properties->indexed)
            index_fill(properties);
    }
    return 0;
}

struct property *properties_find(struct properties *properties, struct span key, uint64_t hash)
{
    if (properties->count == 0)
        return NULL;
    if (!properties->indexed)
        index_fill(properties);
    for (size_t slot = hash & properties->slot_mask; properties->slots[slot] != 0;
         slot = (slot + 1) & properties->slot_mask) {
        struct property *property = &properties->at[properties->slots[slot] - 1];

        if (property->hash == hash && span_equal(property->key, key))
            return property;
    }
    return NULL;
}

struct property *properties_find_near(struct properties *properties, struct span key)
{
    struct property *property;

    if (properties->count == 0)
        return NULL;
    if (properties->near < properties->count && span_equal(properties->at[properties->near].key, key))
        return &properties->at[properties->near++];
    property = properties_find(properties, key, properties_hash(key));
    if (property != NULL)
        properties->near = (size_t)(property - properties->at) + 1;
    return property;
}

int properties_add(struct properties *properties, const struct json_member *member, uint64_t hash, struct arena *arena,
                   struct err *err)
{
    if (properties->count == properties->room && properties_grow(properties, 2 * properties->room, arena, err) < 0)
        return -1;
    properties->at[properties->count] =
        (struct property){ .key = member->key, .key_raw = member->key_raw, .value = member->value, .hash = hash };
    if (properties->indexed)
        slot_put(properties, properties->count);
    properties->count++;
    properties->bytes += properties_member_bytes(member->key_raw, member->value.raw) - (properties->count == 1);
    properties->packed.at = NULL;
    return 0;
}

void properties_replace(struct properties *properties, struct property *property, const struct json_value *value)
{
    properties->bytes += value->raw.bytes - property->value.raw.bytes;
    property->value = *value;
    property->coded = NULL;
    properties->packed.at = NULL;
}

void properties_sweep(struct properties *properties)
{
    size_t kept = 0;

    for (size_t i = 0; i < properties->count; i++) {
        const struct property *property = &properties->at[i];

        if (property->gone)
            properties->bytes -= properties_member_bytes(property->key_raw, property->value.raw);
        else
            properties->at[kept++] = *property;
    }
    if (kept == properties->count)
        return;
    properties->bytes += kept == 0; /* the comma that the last one did not have */
    properties->count = kept;
    properties->packed.at = NULL;
    if (properties->indexed)
        index_fill(properties);
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Behind the closing quote of the string that begins at `at`; NULL when there is none. */
static const uint8_t *string_end(const uint8_t *at, const uint8_t *end, bool any_escape)
{
    const uint8_t *quote = at;

    for (;;) {
        size_t slashes = 0;

        quote = memchr(quote + 1, '"', (size_t)(end - quote - 1));
        if (quote == NULL || !any_escape)
            break;
        while (quote[-1 - (ptrdiff_t)slashes] == '\\') /* stops at the opening quote */
            slashes++;
        if (slashes % 2 == 0)
            break;
    }
    return quote == NULL ? NULL : quote + 1;
}

/* Behind the object or array that begins at `at`. */
static const uint8_t *nested_end(const uint8_t *at, const uint8_t *end, bool any_escape)
{
    size_t depth = 0;

    while (at != NULL && at < end) {
        switch (*at) {
        case '"': at = string_end(at, end, any_escape); continue;
        case '{':
        case '[': depth++; break;
        case '}':
        case ']':
            if (--depth == 0)
                return at + 1;
            break;
        default: break;
        }
        at++;
    }
    return NULL;
}

/* A table and not a switch: what comes next is not to be foreseen. */
static enum json_kind kind_of(uint8_t first)
{
    static const uint8_t kinds[256] = { /* 0, which all others are, is a number */
        ['"'] = JSON_STRING ^ JSON_NUMBER, ['{'] = JSON_OBJECT ^ JSON_NUMBER, ['['] = JSON_ARRAY ^ JSON_NUMBER,
        ['t'] = JSON_TRUE ^ JSON_NUMBER,   ['f'] = JSON_FALSE ^ JSON_NUMBER,  ['n'] = JSON_NULL ^ JSON_NUMBER
    };

    return (enum json_kind)(kinds[first] ^ JSON_NUMBER);
}

static const uint8_t *value_end(const uint8_t *at, const uint8_t *end, bool any_escape)
{
    switch (kind_of(*at)) {
    case JSON_STRING: return string_end(at, end, any_escape);
    case JSON_OBJECT:
    case JSON_ARRAY: return nested_end(at, end, any_escape);
    default:
        while (at < end && *at != ',' && *at != '}')
            at++;
        return at;
    }
}

static bool has_escape(struct span raw, bool any_escape)
{
    return any_escape && memchr(raw.at, '\\', raw.bytes) != NULL;
}

/* Takes one member at *at apart; false: not of the form that we write. */
static bool member_split(const uint8_t **at, const uint8_t *end, bool any_escape, struct json_member *out,
                         struct arena *arena)
{
    struct json_value key = { .kind = JSON_STRING };
    const uint8_t *from = *at, *to;

    if (from >= end || *from != '"' || (to = string_end(from, end, any_escape)) == NULL || to >= end || *to != ':')
        return false;
    key.raw = span_of(from, (size_t)(to - from));
    key.escaped = has_escape(key.raw, any_escape);
    from = to + 1;
    if (from >= end || *from <= ' ' || (to = value_end(from, end, any_escape)) == NULL || to >= end)
        return false;
    out->key_raw = key.raw;
    out->key = json_text(&key, arena);
    out->value.kind = kind_of(*from);
    out->value.raw = span_of(from, (size_t)(to - from));
    out->value.escaped = out->value.kind == JSON_STRING && has_escape(out->value.raw, any_escape);
    *at = to;
    return out->key.at != NULL;
}

/* 0, -1 on errors, 1 when the text is not of the form that we write. */
static int properties_split(struct properties *properties, struct span text, struct arena *arena, struct err *err)
{
    const uint8_t *at = text.at + 1, *end = text.at + text.bytes;
    bool any_escape;
    struct json_member member;

    if (text.bytes < 2 || text.at[0] != '{' || end[-1] != '}')
        return 1;
    if (text.bytes == 2)
        return 0;
    any_escape = memchr(text.at, '\\', text.bytes) != NULL;
    for (;;) {
        if (!member_split(&at, end, any_escape, &member, arena))
            return 1;
        if (properties_add(properties, &member, 0, arena, err) < 0)
            return -1;
        if (*at == '}')
            return at + 1 == end ? 0 : 1;
        if (*at++ != ',')
            return 1;
    }
}

static int properties_parse(struct properties *properties, struct span text, struct arena *arena, struct err *err)
{
    struct json_members members;

    if (json_members_read(text, arena, &members, err) < 0) {
        if (err->kind == ERR_INPUT)
            err->kind = ERR_CORRUPT; /* nobody sent it: it is our own store's */
        return err_wrap(err, "people: stored properties");
    }
    for (size_t i = 0; i < members.count; i++)
        if (properties_add(properties, &members.at[i], 0, arena, err) < 0)
            return -1;
    return 0;
}

/* Backslashes in the packed bytes; some may be lengths or words. */
static size_t slashes_in(struct span packed)
{
    const uint8_t *at = packed.at, *end = at + packed.bytes;
    size_t         count = 0;

    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        count++;
        at++;
    }
    return count;
}

static int mark_escapes(struct properties *properties, struct arena *arena, struct err *err)
{
    for (size_t i = 0; i < properties->count; i++) {
        struct property *property = &properties->at[i];

        property->value.escaped = property->value.kind == JSON_STRING && has_escape(property->value.raw, true);
        if (property->word != 0 || !has_escape(property->key_raw, true))
            continue;
        property->key = json_text(&(struct json_value){ .kind = JSON_STRING, .escaped = true, .raw = property->key_raw }, arena);
        if (property->key.at == NULL)
            return err_set(err, ERR_FULL, "people: a property's key does not fit the batch's arena");
    }
    return 0;
}

/* No member is looked for by its quotes: each says how long it is. */
static int properties_unpack(struct properties *properties, struct span packed, struct arena *arena, struct err *err)
{
    struct packed_reader reader;
    struct packed_member member;
    size_t               bytes, sum = 1, codes = 0; /* codes: of heads that are a backslash's number */
    int                  rc;

    if (packed_text_bytes(packed, &bytes, err) < 0 || packed_reader_init(&reader, packed, err) < 0)
        return -1;
    while ((rc = packed_next(&reader, &member, err)) > 0) {
        struct property *property;

        if (properties->count == properties->room && properties_grow(properties, 2 * properties->room, arena, err) < 0)
            return -1;
        property = &properties->at[properties->count++];
        *property = (struct property){
            .key = span_of(member.key.at + 1, member.key.bytes - 2), .key_raw = member.key,
            .value = { .kind = kind_of(*member.value.at), .raw = member.value }, .coded = member.coded.at,
            .coded_bytes = (uint32_t)member.coded.bytes, .word = member.word, .sought = true, .paired = member.paired
        };
        sum += properties_member_bytes(member.key, member.value);
        codes += member.word != 0 ? (size_t)(member.coded.at[0] == '\\') + (member.coded.at[1] == '\\') : 0;
    }
    if (rc < 0 || sum != bytes)
        return packed_damaged(err);
    if (slashes_in(span_from(packed, PACKED_HEAD_BYTES)) > codes && mark_escapes(properties, arena, err) < 0)
        return -1;
    properties->bytes = bytes;
    properties->packed = packed;
    return 0;
}

int properties_read(struct properties *properties, struct span packed, struct arena *arena, struct err *err)
{
    size_t member_bytes = packed_is(packed) ? PACKED_BYTES : PROPERTY_BYTES;
    int    rc;

    *properties = (struct properties){ .bytes = 2 };
    if (properties_grow(properties, PROPERTIES_FIRST + packed.bytes / member_bytes, arena, err) < 0)
        return -1;
    if (packed_is(packed))
        return properties_unpack(properties, packed, arena, err) < 0 ? err_wrap(err, "people: stored properties") : 0;
    rc = properties_split(properties, packed, arena, err);
    if (rc == 0)
        properties->packed = packed;
    if (rc <= 0)
        return rc;
    properties->count = 0;
    properties->bytes = 2;
    return properties_parse(properties, packed, arena, err);
}

/* --- packing ----------------------------------------------------------------------------------- */

static void member_pack(struct packed_writer *writer, struct property *property)
{
    if (property->coded != NULL) {
        packed_add_coded(writer, &(struct packed_member){
                                     .key = property->key_raw, .value = property->value.raw,
                                     .coded = span_of(property->coded, property->coded_bytes), .word = property->word,
                                     .paired = property->paired });
        return;
    }
    if (!property->sought)
        property->word = packed_key_find(property->key_raw);
    property->sought = true;
    packed_add(writer, property->word, property->key_raw, property->value.raw);
}

/* With the new members of `over` behind its own. bytes_max: of text, certainly enough. */
static int properties_build(struct properties *properties, const struct property_over *over, size_t over_count,
                            size_t bytes_max, struct arena *arena, struct span *out, struct err *err)
{
    uint8_t             *start = arena_alloc(arena, packed_room(bytes_max));
    struct packed_writer writer;

    if (start == NULL)
        return err_set(err, ERR_FULL, "people: %zu bytes of properties do not fit the batch's arena", bytes_max);
    packed_begin(&writer, start);
    for (size_t i = 0; i < properties->count; i++)
        member_pack(&writer, &properties->at[i]);
    for (size_t i = 0; i < over_count; i++)
        if (over[i].at == PROPERTY_NEW)
            packed_add(&writer, packed_key_find(over[i].member->key_raw), over[i].member->key_raw, over[i].member->value.raw);
    *out = span_of(start, packed_end(&writer));
    arena_shrink(arena, start, packed_room(bytes_max), out->bytes);
    assert(writer.text_bytes <= bytes_max && (over_count > 0 || properties->count == 0 || writer.text_bytes == bytes_max)); /* K2 */
    return 0;
}

int properties_pack(struct properties *properties, struct arena *arena, struct span *out, struct err *err)
{
    if (properties->packed.at == NULL &&
        properties_build(properties, NULL, 0, properties->bytes, arena, &properties->packed, err) < 0)
        return -1;
    *out = properties->packed;
    return 0;
}

/* Values that are there are exchanged for the time of building, so that one loop builds both. */
int properties_pack_with(struct properties *properties, const struct property_over *over, size_t count,
                         struct arena *arena, struct span *out, struct err *err)
{
    struct { struct json_value value; const uint8_t *coded; } *was;
    size_t bytes = properties->bytes;
    int rc;

    assert(count > 0);
    was = arena_alloc_array(arena, count, sizeof *was);
    if (was == NULL)
        return err_set(err, ERR_FULL, "people: %zu changes do not fit the batch's arena", count);
    for (size_t i = 0; i < count; i++) {
        struct property *property = over[i].at == PROPERTY_NEW ? NULL : &properties->at[over[i].at];

        bytes += properties_member_bytes(over[i].member->key_raw, over[i].member->value.raw);
        if (property == NULL)
            continue;
        was[i].value = property->value;
        was[i].coded = property->coded;
        property->value = over[i].member->value;
        property->coded = NULL;
    }
    rc = properties_build(properties, over, count, bytes, arena, out, err);
    while (count-- > 0)
        if (over[count].at != PROPERTY_NEW) {
            properties->at[over[count].at].value = was[count].value;
            properties->at[over[count].at].coded = was[count].coded;
        }
    return rc;
}

/* --- comparing --------------------------------------------------------------------------------- */

/* No digit but 0 before the exponent. */
static bool number_is_zero(struct span raw)
{
    for (size_t i = 0; i < raw.bytes && (raw.at[i] | 0x20) != 'e'; i++)
        if (raw.at[i] >= '1' && raw.at[i] <= '9')
            return false;
    return true;
}

/* Digits alone: there is one way to write it (JSON knows no zeros in front). */
static bool number_is_plain(struct span raw)
{
    for (size_t i = 0; i < raw.bytes; i++)
        if (raw.at[i] < '0' || raw.at[i] > '9')
            return false;
    return true;
}

/* Their texts differ. 1 and 1.0 are one number. Up to 15 digits two numbers with one double are equal (DBL_DIG); beyond that, and
 * where doubles end, only the same text is: no digit is lost because two ids were near each other. */
static bool number_identical(const struct json_value *a, const struct json_value *b)
{
    double x;

    if (a->raw.bytes > 15 || b->raw.bytes > 15 || (number_is_plain(a->raw) && number_is_plain(b->raw)))
        return false;
    if (number_is_zero(a->raw) || number_is_zero(b->raw))
        return number_is_zero(a->raw) && number_is_zero(b->raw);
    x = json_double(a);
    return x == json_double(b) && isfinite(x) && fabs(x) > 1e-290;
}

static bool string_identical(const struct json_value *a, const struct json_value *b, struct arena *arena)
{
    struct span x, y;

    if (!a->escaped && !b->escaped)
        return false; /* the texts differ */
    x = json_text(a, arena);
    y = json_text(b, arena);
    return x.at != NULL && y.at != NULL && span_equal(x, y); /* no room to tell: counts as changed */
}

bool properties_identical(const struct json_value *a, const struct json_value *b, struct arena *arena)
{
    if (a->kind != b->kind || a->kind == JSON_OBJECT || a->kind == JSON_ARRAY)
        return false;
    if (span_equal(a->raw, b->raw))
        return true;
    switch (a->kind) {
    case JSON_STRING: return string_identical(a, b, arena);
    case JSON_NUMBER: return number_identical(a, b);
    default: return a->kind == JSON_NULL || a->kind == JSON_TRUE || a->kind == JSON_FALSE;
    }
}

/* What JavaScript's Number() makes of a scalar that is not null; false: not a number (or a form of writing
 * one that JSON does not have, which then counts as different). */
static bool number_of(const struct json_value *value, struct arena *arena, struct json_value *out)
{
    struct json_reader reader;
    struct span text;

    *out = (struct json_value){ .kind = JSON_NUMBER, .raw = SPAN("0") };
    if (value->kind == JSON_NUMBER)
        *out = *value;
    if (value->kind == JSON_TRUE)
        out->raw = SPAN("1");
    if (value->kind != JSON_STRING)
        return value->kind == JSON_NUMBER || value->kind == JSON_TRUE || value->kind == JSON_FALSE;
    text = json_text(value, arena);
    if (text.at == NULL)
        return false;
    while (text.bytes > 0 && text.at[0] <= ' ')
        text = span_from(text, 1);
    while (text.bytes > 0 && text.at[text.bytes - 1] <= ' ')
        text.bytes--;
    if (text.bytes == 0)
        return true; /* Number("") is 0 */
    json_reader_init(&reader, text, 0);
    return json_peek(&reader) == JSON_NUMBER && json_skip(&reader, out) == 0 && json_finish(&reader) == 0;
}

bool properties_loosely_equal(const struct json_value *a, const struct json_value *b, struct arena *arena)
{
    struct json_value x, y;

    if (a->kind == b->kind)
        return properties_identical(a, b, arena);
    if (a->kind == JSON_NULL || b->kind == JSON_NULL || !number_of(a, arena, &x) || !number_of(b, arena, &y))
        return false;
    return span_equal(x.raw, y.raw) || number_identical(&x, &y);
}
