/* wire/uuid.h - RFC 9562: sixteen bytes in network order, and their text. */
#ifndef PENSTOCK_WIRE_UUID_H
#define PENSTOCK_WIRE_UUID_H

#include "base/span.h"

struct uuid {
    uint8_t bytes[16];
};

enum { UUID_TEXT_BYTES = 36 };

/* Any case, any version: 8-4-4-4-12, 32 hex digits, either in braces, or behind "urn:uuid:". */
bool uuid_parse(struct span text, struct uuid *out);
/* Only 8-4-4-4-12. */
bool uuid_parse_hyphenated(struct span text, struct uuid *out);
/* Lower case, hyphenated, no NUL. */
void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_BYTES]);
/* Version 7: 48 bits of milliseconds (clamped to 0 .. 2^48-1), then 74 bits of `random`. */
struct uuid uuid_v7(int64_t unix_ms, const uint8_t random[10]);
int uuid_version(const struct uuid *uuid);
bool uuid_equal(const struct uuid *a, const struct uuid *b);

#endif
