/* wire/json_write.c - the few things that are written anew: strings, doubles, and values without the
 * white space between their tokens. */
#include "wire/json_scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "wire/utf8.h"

/* What an escape of two bytes says of a byte; 0: the byte has none. */
static const uint8_t escapes[256] = {
    ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
};

/* Behind what was copied: all that needs no escape, eight bytes at a time, of which those behind the first that does
 * are written over again. `to` has room for as many bytes as there are, and eight more. */
static size_t copy_clean(struct span text, uint8_t *to)
{
    size_t i = 0;

    while (text.bytes - i >= 8) {
        uint64_t stops = json_stops_in_8(text.at + i);

        memcpy(to + i, text.at + i, 8);
        if (stops != 0) {
            i += (size_t)__builtin_ctzll(stops) >> 3;
            break;
        }
        i += 8;
    }
    for (; i < text.bytes && text.at[i] >= 0x20 && text.at[i] != '"' && text.at[i] != '\\'; i++)
        to[i] = text.at[i];
    return i;
}

#if defined(__x86_64__)
/* The same, and puts a backslash before each quote and backslash: in JSON within a string nearly every escape is of those, and there
 * is one in ten bytes. Eight bytes at a time become eight to sixteen; ends before another byte that needs an escape, or with fewer than
 * eight left. Writes up to `end`. Gives how many bytes were read. */
__attribute__((target("ssse3,popcnt"))) static size_t copy_quotes(struct span text, uint8_t **to_inout, const uint8_t *end)
{
    enum { NONE = 0x80 }; /* a place for a backslash */
    /* Where each byte of the result comes from, by which of four bytes get one. */
    static const uint8_t from[16][8] = {
        { 0, 1, 2, 3 },       { NONE, 0, 1, 2, 3 },       { 0, NONE, 1, 2, 3 },       { NONE, 0, NONE, 1, 2, 3 },
        { 0, 1, NONE, 2, 3 }, { NONE, 0, 1, NONE, 2, 3 }, { 0, NONE, 1, NONE, 2, 3 }, { NONE, 0, NONE, 1, NONE, 2, 3 },
        { 0, 1, 2, NONE, 3 }, { NONE, 0, 1, 2, NONE, 3 }, { 0, NONE, 1, 2, NONE, 3 }, { NONE, 0, NONE, 1, 2, NONE, 3 },
        { 0, 1, NONE, 2, NONE, 3 }, { NONE, 0, 1, NONE, 2, NONE, 3 }, { 0, NONE, 1, NONE, 2, NONE, 3 }, { NONE, 0, NONE, 1, NONE, 2, NONE, 3 },
    };
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f), four = _mm_set1_epi8(4);
    uint8_t      *to = *to_inout;
    size_t        i = 0;

    for (; text.bytes - i >= 8 && end - to >= 16; i += 8) {
        __m128i  bytes = _mm_loadl_epi64((const __m128i *)(const void *)(text.at + i));
        unsigned stops = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash))) & 255;
        __m128i  low, high;

        if (((unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes)) & 255) != 0)
            break;
        if (stops == 0) {
            _mm_storel_epi64((__m128i *)(void *)to, bytes);
            to += 8;
            continue;
        }
        low = _mm_loadl_epi64((const __m128i *)(const void *)from[stops & 15]);
        high = _mm_add_epi8(_mm_loadl_epi64((const __m128i *)(const void *)from[stops >> 4]), four);
        _mm_storel_epi64((__m128i *)(void *)to,
                         _mm_or_si128(_mm_shuffle_epi8(bytes, low), _mm_and_si128(_mm_cmplt_epi8(low, _mm_setzero_si128()), backslash)));
        to += 4 + __builtin_popcount(stops & 15);
        _mm_storel_epi64((__m128i *)(void *)to,
                         _mm_or_si128(_mm_shuffle_epi8(bytes, high), _mm_and_si128(_mm_cmplt_epi8(high, _mm_setzero_si128()), backslash)));
        to += 4 + __builtin_popcount(stops >> 4);
    }
    *to_inout = to;
    return i;
}

static bool has_copy_quotes(void)
{
    return __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("popcnt");
}
#else
static size_t copy_quotes(struct span text, uint8_t **to_inout, const uint8_t *end)
{
    (void)text, (void)to_inout, (void)end;
    return 0;
}

static bool has_copy_quotes(void)
{
    return false;
}
#endif

static const char hex_digits[] = "0123456789abcdef";

static size_t put_escape(uint8_t *to, uint8_t byte)
{
    to[0] = '\\';
    to[1] = escapes[byte];
    if (to[1] != 0)
        return 2;
    memcpy(to + 1, "u00", 3);
    to[4] = (uint8_t)hex_digits[byte >> 4];
    to[5] = (uint8_t)hex_digits[byte & 15];
    return 6;
}

/* Where there may be no room for more than what is written. */
static void write_exactly(struct buf *buf, struct span text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        bool    plain = text.at[i] >= 0x20 && text.at[i] != '"' && text.at[i] != '\\';
        uint8_t escape[6];

        buf_add(buf, plain ? span_of(text.at + i, 1) : span_of(escape, put_escape(escape, text.at[i])));
    }
}

void json_write_escaped(struct buf *buf, struct span text)
{
    enum { PIECE_BYTES = 16 << 10, SPARE_BYTES = 16 };
    bool quotes = has_copy_quotes();

    while (text.bytes > 0 && !buf->failed) {
        struct span piece = span_of(text.at, text.bytes < PIECE_BYTES ? text.bytes : PIECE_BYTES);
        size_t      room = 2 * piece.bytes, done = 0;
        uint8_t    *start, *to;

        if (buf->bytes_max - buf->bytes < room + SPARE_BYTES) {
            write_exactly(buf, piece);
            text = span_from(text, piece.bytes);
            continue;
        }
        start = to = buf_reserve(buf, room + SPARE_BYTES);
        if (start == NULL)
            return;
        while (done < piece.bytes && (size_t)(to - start) + piece.bytes - done <= room) { /* an escape of six may take another's share */
            size_t clean;

            if (quotes) {
                done += copy_quotes(span_from(piece, done), &to, start + room + SPARE_BYTES);
                if ((size_t)(to - start) + piece.bytes - done > room)
                    break;
            }
            clean = copy_clean(span_from(piece, done), to);
            done += clean;
            to += clean;
            if (done < piece.bytes)
                to += put_escape(to, piece.at[done++]);
        }
        buf->bytes += (size_t)(to - start);
        text = span_from(text, done);
    }
}

void json_write_string(struct buf *buf, struct span text)
{
    buf_add_byte(buf, '"');
    json_write_escaped(buf, text);
    buf_add_byte(buf, '"');
}

void json_write_escaped_lossy(struct buf *buf, struct span text)
{
    for (;;) {
        size_t good = utf8_valid_until(text);

        json_write_escaped(buf, span_of(text.at, good));
        if (good == text.bytes || buf->failed)
            return;
        buf_add_text(buf, "\xef\xbf\xbd");
        text = span_from(text, good + 1);
    }
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
