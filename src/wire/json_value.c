/* wire/json_value.c - what a validated value means: text, integer, double.
 *
 * Values come from a reader, so their form is known to be right; only their size and meaning are
 * open. strtod does the rounding of what the short way cannot do exactly. It wants a NUL and reads the
 * locale's decimal point: digits are copied to the stack first, and no Penstock process leaves the "C"
 * locale. */
#include "wire/json_scan.h"
#include "wire/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What stands between the quotes. */
static struct span inside(const struct json_value *value)
{
    assert(value->kind == JSON_STRING && value->raw.bytes >= 2);
    return span_of(value->raw.at + 1, value->raw.bytes - 2);
}

/* Decodes the escape at the backslash `at`; moves *at past it, gives the length of what it means. */
static size_t escape_decode(const uint8_t **at, const uint8_t *end, uint8_t to[4])
{
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const uint8_t    *from = *at;

    if (from[1] != 'u') {
        const char *name = strchr(names, from[1]);

        assert(name != NULL && *name != '\0');
        to[0] = (uint8_t)bytes[name - names];
        *at = from + 2;
        return 1;
    }
    uint32_t unit = (uint32_t)json_hex4(from + 2);

    *at = from + 6;
    if ((unit & 0xfc00) == 0xd800 && end - from >= 12 && from[6] == '\\' && from[7] == 'u') {
        uint32_t low = (uint32_t)json_hex4(from + 8);

        if ((low & 0xfffffc00) == 0xdc00) {
            *at = from + 12;
            return utf8_put(0x10000 + ((unit & 0x3ff) << 10 | (low & 0x3ff)), to);
        }
    }
    return utf8_put((unit & 0xf800) == 0xd800 ? 0xfffd : unit, to);
}

struct span json_text(const struct json_value *value, struct arena *arena)
{
    struct span    text = inside(value);
    const uint8_t *at = text.at, *end = text.at + text.bytes;

    if (!value->escaped)
        return text;
    /* An escape is never shorter than what it means: 2 bytes for 1, 6 for 3, 12 for 4. */
    uint8_t *to = arena_alloc(arena, text.bytes), *start = to;

    if (to == NULL)
        return span_of(NULL, 0);
    while (at < end) {
        const uint8_t *slash = memchr(at, '\\', (size_t)(end - at));
        size_t         run = (size_t)((slash == NULL ? end : slash) - at);
        uint8_t        point[4];

        memcpy(to, at, run);
        to += run;
        at += run;
        if (slash != NULL) {
            size_t bytes = escape_decode(&at, end, point);

            memcpy(to, point, bytes);
            to += bytes;
        }
    }
    return span_of(start, (size_t)(to - start));
}

bool json_text_is(const struct json_value *value, const char *text)
{
    struct span    have = inside(value), want = span_text(text);
    const uint8_t *at = have.at, *end = have.at + have.bytes;

    if (!value->escaped)
        return span_equal(have, want);
    while (at < end) {
        uint8_t     point[4];
        struct span part = span_of(at, 1);

        if (*at == '\\')
            part = span_of(point, escape_decode(&at, end, point));
        else
            at++;
        if (!span_starts(want, part))
            return false;
        want = span_from(want, part.bytes);
    }
    return want.bytes == 0;
}

bool json_int64(const struct json_value *value, int64_t *out)
{
    bool    minus = value->raw.bytes > 0 && value->raw.at[0] == '-';
    int64_t sum = 0;

    if (value->kind != JSON_NUMBER)
        return false;
    for (size_t i = minus; i < value->raw.bytes; i++) {
        int digit = value->raw.at[i] - '0';

        if (digit < 0 || digit > 9)
            return false;
        /* Downwards, because the negative side has room for one more. */
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_sub_overflow(sum, digit, &sum))
            return false;
    }
    if (!minus && sum == INT64_MIN)
        return false;
    *out = minus ? sum : -sum;
    return true;
}

/* A decimal number: digits, without leading zeros, times 10^exponent. Digits past the buffer change the
 * nearest double only by being there at all (one '1' stands for them): the longest exact half-way
 * point between two doubles has 767 significant digits. */
enum { DIGITS_MAX = 800 };

struct decimal {
    bool    minus;
    size_t  count; /* of digits */
    int64_t exponent;
    char    digits[DIGITS_MAX + 32]; /* and room for the '1', "e-<exponent>" and a NUL */
};

static void decimal_read(struct decimal *decimal, struct span raw)
{
    bool   fraction = false, rest = false;
    size_t i;

    decimal->minus = raw.at[0] == '-';
    decimal->count = 0;
    decimal->exponent = 0;
    for (i = decimal->minus; i < raw.bytes && (raw.at[i] | 0x20) != 'e'; i++) {
        char byte = (char)raw.at[i];

        if (byte == '.') {
            fraction = true;
            continue;
        }
        if (decimal->count == DIGITS_MAX) {
            rest |= byte != '0';
            decimal->exponent++;
        } else if (byte != '0' || decimal->count > 0)
            decimal->digits[decimal->count++] = byte;
        decimal->exponent -= fraction;
    }
    if (rest) {
        decimal->digits[decimal->count++] = '1';
        decimal->exponent--;
    }
    if (i == raw.bytes)
        return;
    bool    minus = raw.at[i + 1] == '-';
    int64_t exponent = 0;

    for (i += raw.at[i + 1] == '-' || raw.at[i + 1] == '+' ? 2 : 1; i < raw.bytes; i++)
        if (exponent < INT64_MAX / 100) /* more than any text is long, so that it always wins */
            exponent = exponent * 10 + (raw.at[i] - '0');
    decimal->exponent += minus ? -exponent : exponent;
}

/* At most 15 digits and a power of ten that is itself a double: one operation, correctly rounded. */
static bool decimal_quick(const struct decimal *decimal, double *out)
{
    static const double tens[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    int64_t             sum = 0;

    if (decimal->count > 15 || decimal->exponent < -22 || decimal->exponent > 22)
        return false;
    for (size_t i = 0; i < decimal->count; i++)
        sum = sum * 10 + (decimal->digits[i] - '0');
    *out = decimal->exponent < 0 ? (double)sum / tens[-decimal->exponent] : (double)sum * tens[decimal->exponent];
    return true;
}

double json_double(const struct json_value *value)
{
    struct decimal decimal;
    double         number = 0;

    assert(value->kind == JSON_NUMBER && value->raw.bytes > 0);
    decimal_read(&decimal, value->raw);
    if (decimal.count > 0 && !decimal_quick(&decimal, &number)) {
        int64_t exponent = decimal.exponent;

        exponent = exponent > 99999 ? 99999 : exponent < -99999 ? -99999 : exponent; /* far past any double */
        snprintf(decimal.digits + decimal.count, sizeof decimal.digits - decimal.count, "e%d", (int)exponent);
        number = strtod(decimal.digits, NULL);
    }
    return decimal.minus ? -number : number;
}
