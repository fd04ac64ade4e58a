/* wire/json_write.c - the few things that are written anew: strings, doubles, and values without the
 * white space between their tokens. */
#include "wire/json_scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Length of the part in front that needs no escape. */
static size_t clean_prefix(struct span text)
{
    size_t i = 0;

    while (text.bytes - i >= 8 && json_stops_in_8(text.at + i) == 0)
        i += 8;
    while (i < text.bytes && text.at[i] >= 0x20 && text.at[i] != '"' && text.at[i] != '\\')
        i++;
    return i;
}

static void write_escape(struct buf *buf, uint8_t byte)
{
    switch (byte) {
    case '"': buf_add_text(buf, "\\\""); break;
    case '\\': buf_add_text(buf, "\\\\"); break;
    case '\b': buf_add_text(buf, "\\b"); break;
    case '\f': buf_add_text(buf, "\\f"); break;
    case '\n': buf_add_text(buf, "\\n"); break;
    case '\r': buf_add_text(buf, "\\r"); break;
    case '\t': buf_add_text(buf, "\\t"); break;
    default: buf_add_format(buf, "\\u%04x", byte); break;
    }
}

void json_write_string(struct buf *buf, struct span text)
{
    buf_add_byte(buf, '"');
    while (text.bytes > 0) {
        size_t clean = clean_prefix(text);

        buf_add(buf, span_of(text.at, clean));
        text = span_from(text, clean);
        if (text.bytes > 0) {
            write_escape(buf, text.at[0]);
            text = span_from(text, 1);
        }
    }
    buf_add_byte(buf, '"');
}

/* From an opening quote to behind the closing one. */
static const uint8_t *string_end(const uint8_t *at, const uint8_t *end)
{
    at++;
    while (at < end) {
        if (end - at >= 8) {
            uint64_t stops = json_stops_in_8(at);

            at += stops == 0 ? 8 : __builtin_ctzll(stops) >> 3;
            if (stops == 0)
                continue;
        }
        if (*at == '"')
            return at + 1;
        at += *at == '\\' ? 2 : 1;
    }
    return end;
}

void json_write_compact(struct buf *buf, struct span raw)
{
    const uint8_t *at = raw.at, *end = raw.at + raw.bytes, *run = at;

    while (at < end) {
        if (*at == '"') {
            at = string_end(at, end);
        } else if (json_is_space(*at)) {
            buf_add(buf, span_of(run, (size_t)(at - run)));
            run = at = json_pass_space(at, end);
        } else {
            at++;
        }
    }
    buf_add(buf, span_of(run, (size_t)(end - run)));
}

static bool reads_back(const char *text, double value)
{
    return strtod(text, NULL) == value;
}

/* At a power of two the doubles below are twice as dense as those above, so the nearest 16 digits may
 * miss where the next ones, further from zero, hit (2^-44 is one of 46 such). */
static bool next_16_digits(double value, char text[32])
{
    int   exponent;
    char *last;

    if (fabs(frexp(value, &exponent)) != 0.5)
        return false;
    snprintf(text, 32, "%#.16g", value);
    last = strchr(text, 'e');
    last = last == NULL ? text + strlen(text) - 1 : last - 1;
    if (*last < '0' || *last > '8') /* a carry: none of the 46 has one */
        return false;
    ++*last;
    return reads_back(text, value);
}

void json_write_double(struct buf *buf, double value)
{
    char text[32];

    if (!isfinite(value)) {
        buf_add_text(buf, "null");
        return;
    }
    /* 15 digits hold every decimal of up to 15 (C11 5.2.4.2.2, DBL_DIG); subnormals have fewer. */
    for (int digits = fpclassify(value) == FP_SUBNORMAL ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (reads_back(text, value) || (digits == 16 && next_16_digits(value, text)))
            break;
    }
    buf_add_text(buf, text);
}
