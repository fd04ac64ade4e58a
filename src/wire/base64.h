/* wire/base64.h - RFC 4648, and the guess whether bytes are base64 at all (spec: body decoding). */
#ifndef PENSTOCK_WIRE_BASE64_H
#define PENSTOCK_WIRE_BASE64_H

#include "base/buf.h"
#include "base/span.h"

/* The guess looks at the first 128 bytes and at the length: A-Z a-z 0-9 + / = and a length divisible
 * by 4 (strict); the same with spaces (loose: a form decoder turned + into space). Empty is never
 * base64. */
bool base64_looks_strict(struct span text);
bool base64_looks_loose(struct span text);

enum { BASE64_STRICT = 0, BASE64_LENIENT = 1 };
/* Appends the decoded bytes to out; false (out unchanged) when it is not base64 or does not fit.
 * STRICT: standard alphabet, padding where needed, no unused bits set. LENIENT: also - and _, spaces
 * read as +, missing padding. Unused bits are refused in both: no two strict texts mean the same. */
bool base64_decode(struct span text, unsigned flags, struct buf *out);
void base64_encode(struct span bytes, struct buf *out);

#endif
