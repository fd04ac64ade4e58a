/* people/pg_json.c - properties as jsonb takes them.
 *
 * jsonb refuses what JSON allows: U+0000, halves of surrogate pairs, numbers beyond numeric's range; and upstream's table refuses
 * more than 655,360 bytes of jsonb, which a text of 524,288 may become (a `0,` of two bytes is a number of twelve there). A row
 * that is refused would stop its batch for ever. So what does not fit is written otherwise here, for upstream's programs: U+FFFD,
 * the number's digits as a text, the first members that have room. What we read ourselves is the exact form beside it
 * (pg_schema.c). Nearly all properties pass through untouched, after one look. */
#include <ctype.h>

#include "people/pg.h"

enum {
    JSONB_BYTES_MAX = 600000,     /* below upstream's 655,360, by what a row's head and our guess may be wrong */
    TEXT_SAFE = 64 << 10,  /* no text of so few bytes can become JSONB_BYTES_MAX */
    NUMBER_BYTES_MAX = 1000, EXPONENT_MAX = 300
};

struct scan {
    const uint8_t *at, *end;
};

static int hex4(const uint8_t *at, const uint8_t *end)
{
    int value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = at[i];

        if (!isxdigit(c))
            return -1;
        value = value << 4 | (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

/* Behind a string's closing quote; *bad_out: it holds what jsonb refuses. */
static const uint8_t *string_end(const uint8_t *at, const uint8_t *end, bool *bad_out)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at != '\\' || at + 1 >= end)
            continue;
        at++;
        if (*at == 'u') {
            int unit = hex4(at + 1, end);

            *bad_out |= unit == 0 || (unit >= 0xd800 && unit <= 0xdfff); /* pairs are looked at when it is copied */
        }
    }
    return at < end ? at + 1 : end;
}

static const uint8_t *number_end(const uint8_t *at, const uint8_t *end, bool *bad_out)
{
    const uint8_t *from = at;
    int            exponent = 0;

    while (at < end && (isdigit(*at) || *at == '-' || *at == '+' || *at == '.'))
        at++;
    if (at < end && (*at | 32) == 'e')
        for (at++; at < end && (isdigit(*at) || *at == '-' || *at == '+'); at++)
            if (isdigit(*at) && exponent < 100000)
                exponent = exponent * 10 + (*at - '0');
    *bad_out |= at - from > NUMBER_BYTES_MAX || exponent > EXPONENT_MAX;
    return at;
}

static bool is_plain(struct span text)
{
    const uint8_t *at = text.at, *end = at + text.bytes;
    bool           bad = text.bytes > TEXT_SAFE;

    while (at < end && !bad) {
        if (*at == '"')
            at = string_end(at, end, &bad);
        else if (*at == '-' || isdigit(*at))
            at = number_end(at, end, &bad);
        else
            at++;
    }
    return !bad;
}

/* --- what is not plain ------------------------------------------------------------------------- */

struct copy {
    uint8_t *at;
    size_t   guess; /* bytes of jsonb so far */
};

static void copy_bytes(struct copy *copy, const uint8_t *from, const uint8_t *to)
{
    if (to > from)
        memcpy(copy->at, from, (size_t)(to - from));
    copy->at += to - from;
}

/* No byte more than there was: an escape is replaced by one of its length. */
static void copy_string(struct copy *copy, const uint8_t *from, const uint8_t *to)
{
    copy->guess += (size_t)(to - from) + 8;
    while (from < to) {
        const uint8_t *at = from;
        int            unit, low;

        while (at < to && *at != '\\')
            at++;
        copy_bytes(copy, from, at);
        from = at;
        if (at + 1 >= to) {
            copy_bytes(copy, at, to);
            return;
        }
        unit = at[1] == 'u' ? hex4(at + 2, to) : -1;
        low = unit >= 0xd800 && unit <= 0xdbff && at + 12 <= to && at[6] == '\\' && at[7] == 'u' ? hex4(at + 8, to) : -1;
        if (low >= 0xdc00 && low <= 0xdfff) {
            copy_bytes(copy, at, at + 12);
            from = at + 12;
        } else if (unit == 0 || (unit >= 0xd800 && unit <= 0xdfff)) {
            copy_bytes(copy, (const uint8_t *)"\\ufffd", (const uint8_t *)"\\ufffd" + 6);
            from = at + 6;
        } else {
            copy_bytes(copy, at, at + 2);
            from = at + 2;
        }
    }
}

static void copy_number(struct copy *copy, const uint8_t *from, const uint8_t *to, bool bad)
{
    copy->guess += 20 + (size_t)(to - from) / 2;
    if (bad)
        *copy->at++ = '"';
    copy_bytes(copy, from, to);
    if (bad)
        *copy->at++ = '"';
}

int pg_json(struct span properties, struct arena *arena, struct span *out, struct err *err)
{
    struct span    text;
    struct copy    copy = { .at = NULL };
    const uint8_t *at, *end;
    uint8_t       *start, *whole = NULL; /* where the last member that fits ends */
    int            depth = 0;

    if (packed_text_in_arena(properties, arena, &text, err) < 0)
        return -1;
    *out = text;
    if (is_plain(text))
        return 0;
    start = copy.at = arena_alloc(arena, 2 * text.bytes + 16); /* a number may get two quotes */
    if (start == NULL)
        return pg_full(err);
    for (at = text.at, end = at + text.bytes; at < end && copy.guess <= JSONB_BYTES_MAX;) {
        const uint8_t *from = at;
        bool           bad = false;

        if (*at == '"') {
            at = string_end(at, end, &bad);
            copy_string(&copy, from, at);
            continue;
        }
        if (*at == '-' || isdigit(*at)) {
            at = number_end(at, end, &bad);
            copy_number(&copy, from, at, bad);
            continue;
        }
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        copy.guess += *at == ',' || *at == '{' || *at == '[' ? 12 : 0;
        if (depth == 1 && *at == ',')
            whole = copy.at;
        *copy.at++ = *at++;
    }
    if (copy.guess > JSONB_BYTES_MAX) {
        copy.at = whole != NULL ? whole : start + 1;
        *start = '{';
        *copy.at++ = '}';
    }
    *out = span_of(start, (size_t)(copy.at - start));
    return 0;
}
