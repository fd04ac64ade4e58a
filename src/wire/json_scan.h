/* wire/json_scan.h - the inside of the JSON reader, shared by its files and by nobody else.
 *
 * The walking code (json_scan_body.h) is compiled once per path: with AVX-512, with AVX2 for steps and for long ways,
 * and in plain C. json_read.c picks one by the reader's JSON_WIDE and JSON_VECTOR flags, once per call. */
#ifndef PENSTOCK_WIRE_JSON_SCAN_H
#define PENSTOCK_WIRE_JSON_SCAN_H

#include "base/bytes.h"
#include "wire/json.h"

/* Keys up to so long have a bit of their own in `lengths`. */
enum { JSON_KEY_BYTES_TOLD = 63 };

/* levels[] of the reader */
enum { LEVEL_FRESH = 1, LEVEL_OBJECT = 2 };

#define JSON_SCAN_NEAR(path)                                                                                           \
    int json_scan_skip_##path(struct json_reader *reader, struct json_value *value_out) must_check;                   \
    int json_scan_object_next_##path(struct json_reader *reader, struct json_value *key_out) must_check;
#define JSON_SCAN_FAR(path)                                                                                            \
    int json_scan_skip_##path(struct json_reader *reader, struct json_value *value_out) must_check;                   \
    int json_scan_object_next_of_##path(struct json_reader *reader, uint64_t lengths, struct json_value *key_out)      \
        must_check;

JSON_SCAN_NEAR(plain)
JSON_SCAN_FAR(plain)
#if defined(__x86_64__)
JSON_SCAN_NEAR(avx2)
JSON_SCAN_FAR(avx2_far)
JSON_SCAN_NEAR(avx512)
JSON_SCAN_FAR(avx512)
#endif

/* Marks the reader; -1, always. */
int json_scan_fail(struct json_reader *reader, const uint8_t *at, enum json_problem problem) __attribute__((cold));
/* Passes the escape whose backslash is at `at`, repairing it where that was asked for; NULL: failed. */
const uint8_t *json_scan_escape(struct json_reader *reader, const uint8_t *at);
/* Passes a number at `at`, whatever its form; NULL: failed. */
const uint8_t *json_scan_number(struct json_reader *reader, const uint8_t *at);
/* Passes `true`, `false` or `null`; NULL: failed. */
const uint8_t *json_scan_word(struct json_reader *reader, const uint8_t *at);

static inline bool json_is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static inline bool json_is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* What can follow neither a number nor a word directly: `12a`, `1.2.3`, `nullx`. */
static inline bool json_is_glued(uint8_t byte)
{
    return json_is_digit(byte) || (uint8_t)((byte | 0x20) - 'a') < 26 || byte == '.' || byte == '+' || byte == '-' ||
           byte == '_';
}

/* Not zero when one of 8 bytes ends a run of plain characters: a quote, a backslash, below 0x20 or above
 * 0x7f. The lowest bit set is in the first such byte; a borrow can only spoil the bytes above it. */
static inline uint64_t json_stops_in_8(const uint8_t *at)
{
    const uint64_t each = 0x0101010101010101u;
    uint64_t       word = bytes_get_u64(at);
    uint64_t       quote = word ^ each * '"', slash = word ^ each * '\\';

    return ((word - each * 0x20) | (quote - each) | (slash - each) | word) & each * 0x80;
}

static inline const uint8_t *json_plain_end_slow(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at != '"' && *at != '\\' && *at >= 0x20 && *at < 0x80)
        at++;
    return at;
}

static inline const uint8_t *json_pass_space(const uint8_t *at, const uint8_t *end)
{
    if (at < end && *at <= ' ') /* nearly always false: SDKs send compact JSON */
        while (at < end && json_is_space(*at))
            at++;
    return at;
}

/* How many of 8 bytes, from the first on, are digits. Not zero in `others` is what is none; a carry can only spoil the bytes above
 * the first one. */
static inline unsigned json_digits_in_8(uint64_t word)
{
    const uint64_t each = 0x0101010101010101u;
    uint64_t       others = ((word & each * 0xf0) ^ each * 0x30) | (((word + each * 0x06) & each * 0xf0) ^ each * 0x30);

    return others == 0 ? 8 : (unsigned)__builtin_ctzll(others) >> 3;
}

/* `true`, `false` or `null` at `at`, which has 5 bytes. */
static inline bool json_is_word(const uint8_t *at)
{
    return memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0 || memcmp(at, "false", 5) == 0;
}

/* What usually follows a value. */
static inline bool json_ends_value(uint8_t byte)
{
    return byte == ',' || byte == '}' || byte == ']';
}

/* A number of few digits, with a fraction or without, at a digit that is not 0, in at least 8 bytes: behind it; NULL: it is another kind
 * of number, or no good one. */
static inline const uint8_t *json_number_usual(const uint8_t *at, const uint8_t *end)
{
    unsigned count = json_digits_in_8(bytes_get_u64(at));

    at += count;
    if (count < 8 && *at == '.' && end - at >= 9) {
        count = json_digits_in_8(bytes_get_u64(at + 1));
        if (count == 0)
            return NULL;
        at += 1 + count;
    }
    return count < 8 && json_ends_value(*at) ? at : NULL;
}

/* Four hex digits, or -1. */
static inline int json_hex4(const uint8_t *at)
{
    unsigned value = 0;

    for (unsigned i = 0; i < 4; i++) {
        unsigned digit = at[i], lower = digit | 0x20;

        if (digit - '0' < 10)
            digit -= '0';
        else if (lower - 'a' < 6)
            digit = lower - 'a' + 10;
        else
            return -1;
        value = value << 4 | digit;
    }
    return (int)value;
}

#endif
