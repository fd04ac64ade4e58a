/* wire/json_read.c - the reader's doors, and the rare parts of its walk.
 *
 * What an event is mostly made of (strings, usual numbers, punctuation) is in json_scan_body.h; what is
 * here may be slow: escapes, odd numbers, errors. All of it keeps J4 by checking what is left before
 * it looks. */
#include "wire/json_scan.h"

#include <assert.h>

int json_scan_fail(struct json_reader *reader, const uint8_t *at, enum json_problem problem)
{
    reader->at = at;
    reader->problem = problem;
    return -1;
}

static int unexpected(struct json_reader *reader)
{
    return json_scan_fail(reader, reader->at, reader->at == reader->end ? JSON_END_EARLY : JSON_SYNTAX);
}

void json_reader_init(struct json_reader *reader, struct span text, unsigned flags)
{
    static const uint8_t bom[] = { 0xef, 0xbb, 0xbf };

    reader->start = reader->at = text.at;
    reader->end = text.bytes == 0 ? text.at : text.at + text.bytes;
    reader->flags = flags & (JSON_REPAIR | JSON_PORTABLE | JSON_KEEP_NULS);
    reader->depth = 0;
    reader->surrogates_repaired = 0;
    reader->nuls_repaired = 0;
    reader->problem = JSON_FINE;
    reader->window = (struct json_window){ 0, 0 };
#if defined(__x86_64__)
    if ((flags & JSON_PORTABLE) == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) {
        reader->flags |= JSON_VECTOR;
        if ((flags & JSON_NARROW) == 0 && __builtin_cpu_supports("avx512bw"))
            reader->flags |= JSON_WIDE;
    }
#endif
    if (text.bytes >= sizeof bom && memcmp(text.at, bom, sizeof bom) == 0)
        reader->at += sizeof bom;
}

int json_peek(struct json_reader *reader)
{
    if (reader->problem != JSON_FINE)
        return -1;
    reader->at = json_pass_space(reader->at, reader->end);
    if (reader->at == reader->end)
        return unexpected(reader);
    switch (*reader->at) {
    case '"': return JSON_STRING;
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case 'n': return JSON_NULL;
    case '-': return JSON_NUMBER;
    default: return json_is_digit(*reader->at) ? JSON_NUMBER : unexpected(reader);
    }
}

static int enter(struct json_reader *reader, uint8_t bracket, uint8_t level)
{
    if (reader->problem != JSON_FINE)
        return -1;
    reader->at = json_pass_space(reader->at, reader->end);
    if (reader->at == reader->end || *reader->at != bracket)
        return unexpected(reader);
    if (reader->depth == JSON_DEPTH_MAX)
        return json_scan_fail(reader, reader->at, JSON_TOO_DEEP);
    reader->at++;
    reader->levels[++reader->depth] = level | LEVEL_FRESH;
    return 0;
}

int json_object_enter(struct json_reader *reader)
{
    return enter(reader, '{', LEVEL_OBJECT);
}

int json_array_enter(struct json_reader *reader)
{
    return enter(reader, '[', 0);
}

int json_object_next(struct json_reader *reader, struct json_value *key_out)
{
    if (reader->problem != JSON_FINE)
        return -1;
    assert(reader->depth > 0 && (reader->levels[reader->depth] & LEVEL_OBJECT));
#if defined(__x86_64__)
    if (reader->flags & JSON_WIDE)
        return json_scan_object_next_avx512(reader, key_out);
    if (reader->flags & JSON_VECTOR)
        return json_scan_object_next_avx2(reader, key_out);
#endif
    return json_scan_object_next_plain(reader, key_out);
}

int json_object_next_of(struct json_reader *reader, uint64_t lengths, struct json_value *key_out)
{
    if (reader->problem != JSON_FINE)
        return -1;
    assert(reader->depth > 0 && (reader->levels[reader->depth] & LEVEL_OBJECT));
#if defined(__x86_64__)
    if (reader->flags & JSON_WIDE)
        return json_scan_object_next_of_avx512(reader, lengths, key_out);
    if (reader->flags & JSON_VECTOR)
        return json_scan_object_next_of_avx2_far(reader, lengths, key_out);
#endif
    return json_scan_object_next_of_plain(reader, lengths, key_out);
}

int json_array_next(struct json_reader *reader)
{
    uint8_t *level;

    if (reader->problem != JSON_FINE)
        return -1;
    level = &reader->levels[reader->depth];
    assert(reader->depth > 0 && (*level & LEVEL_OBJECT) == 0);
    reader->at = json_pass_space(reader->at, reader->end);
    if (reader->at == reader->end)
        return unexpected(reader);
    if (*reader->at == ']') {
        reader->at++;
        reader->depth--;
        return 0;
    }
    if (*level & LEVEL_FRESH) {
        *level = 0;
    } else {
        if (*reader->at != ',')
            return unexpected(reader);
        reader->at = json_pass_space(reader->at + 1, reader->end);
    }
    /* A value must come: `[1,]` is wrong here, not in the next call. */
    return json_peek(reader) < 0 ? -1 : 1;
}

#if defined(__x86_64__)
/* White space before it may hide a container: then it is walked the other way, which is as right. */
static bool opens_container(const struct json_reader *reader)
{
    return reader->at < reader->end && (*reader->at == '{' || *reader->at == '[');
}
#endif

int json_skip(struct json_reader *reader, struct json_value *value_out)
{
    if (reader->problem != JSON_FINE)
        return -1;
#if defined(__x86_64__)
    if (reader->flags & JSON_WIDE)
        return json_scan_skip_avx512(reader, value_out);
    if (reader->flags & JSON_VECTOR)
        return opens_container(reader) ? json_scan_skip_avx2_far(reader, value_out) : json_scan_skip_avx2(reader, value_out);
#endif
    return json_scan_skip_plain(reader, value_out);
}

int json_finish(struct json_reader *reader)
{
    if (reader->problem != JSON_FINE)
        return -1;
    assert(reader->depth == 0);
    reader->at = json_pass_space(reader->at, reader->end);
    return reader->at == reader->end ? 0 : json_scan_fail(reader, reader->at, JSON_TRAILING);
}

size_t json_problem_at(const struct json_reader *reader)
{
    return (size_t)(reader->at - reader->start);
}

/* --- the rare parts of the walk ----------------------------------------------------------------- */

static void repair(const uint8_t *hex)
{
    memcpy((uint8_t *)(uintptr_t)hex, "fffd", 4); /* JSON_REPAIR: the text is ours to write to */
}

static const uint8_t *escape_unicode(struct json_reader *reader, const uint8_t *at)
{
    const uint8_t *end = reader->end;
    int            unit = -1;

    for (const uint8_t *hex = at + 2; hex < at + 6; hex++) {
        if (hex == end) {
            json_scan_fail(reader, end, JSON_END_EARLY);
            return NULL;
        }
        if (!json_is_digit(*hex) && (uint8_t)((*hex | 0x20) - 'a') >= 6) {
            json_scan_fail(reader, at, JSON_BAD_STRING);
            return NULL;
        }
    }
    unit = json_hex4(at + 2);
    if (unit == 0 && (reader->flags & (JSON_REPAIR | JSON_KEEP_NULS)) == JSON_REPAIR) {
        repair(at + 2);
        reader->nuls_repaired++;
    }
    if ((unit & 0xf800) != 0xd800)
        return at + 6;
    if ((unit & 0x0400) == 0 && end - at >= 12 && at[6] == '\\' && at[7] == 'u' &&
        (json_hex4(at + 8) & ~0x3ff) == 0xdc00)
        return at + 12;
    if ((reader->flags & JSON_REPAIR) == 0) {
        json_scan_fail(reader, at, JSON_LONE_SURROGATE);
        return NULL;
    }
    repair(at + 2);
    reader->surrogates_repaired++;
    return at + 6;
}

const uint8_t *json_scan_escape(struct json_reader *reader, const uint8_t *at)
{
    if (reader->end - at < 2) {
        json_scan_fail(reader, reader->end, JSON_END_EARLY);
        return NULL;
    }
    switch (at[1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't': return at + 2;
    case 'u': return escape_unicode(reader, at);
    default: json_scan_fail(reader, at, JSON_BAD_STRING); return NULL;
    }
}

/* Eight at a time: floats have up to 17, and a loop over them ends where no CPU can guess. */
static const uint8_t *pass_digits(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 8; at += 8) {
        unsigned count = json_digits_in_8(bytes_get_u64(at));

        if (count < 8)
            return at + count;
    }
    while (at < end && json_is_digit(*at))
        at++;
    return at;
}

/* One digit or more; NULL: failed. */
static const uint8_t *digits(struct json_reader *reader, const uint8_t *at)
{
    if (at == reader->end || !json_is_digit(*at)) {
        json_scan_fail(reader, at, at == reader->end ? JSON_END_EARLY : JSON_BAD_NUMBER);
        return NULL;
    }
    return pass_digits(at + 1, reader->end);
}

const uint8_t *json_scan_number(struct json_reader *reader, const uint8_t *at)
{
    const uint8_t *end = reader->end;

    if (*at == '-')
        at++;
    if (at < end && *at == '0')
        at++; /* and then no further digit: see json_is_glued below */
    else if ((at = digits(reader, at)) == NULL)
        return NULL;
    if (at < end && *at == '.' && (at = digits(reader, at + 1)) == NULL)
        return NULL;
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        if ((at = digits(reader, at)) == NULL)
            return NULL;
    }
    if (at < end && json_is_glued(*at)) {
        json_scan_fail(reader, at, JSON_BAD_NUMBER);
        return NULL;
    }
    return at;
}

const uint8_t *json_scan_word(struct json_reader *reader, const uint8_t *at)
{
    const char *word = *at == 't' ? "true" : *at == 'f' ? "false" : "null";
    const uint8_t *first = at, *end = reader->end;

    while (*word != '\0' && at < end && *at == (uint8_t)*word) {
        at++;
        word++;
    }
    if (*word != '\0' && at == end) {
        json_scan_fail(reader, end, JSON_END_EARLY);
        return NULL;
    }
    if (*word != '\0' || (at < end && json_is_glued(*at))) {
        json_scan_fail(reader, first, JSON_SYNTAX);
        return NULL;
    }
    return at;
}
