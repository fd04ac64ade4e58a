/* wire/inflate.h - gzip and deflate bodies, with a cap that a bomb cannot pass.
 *
 * libdeflate does the work; this adds what strangers' bytes need: a ceiling that counts all members
 * together, so that a bomb costs at most the cap, and one context reused per loop. */
#ifndef PENSTOCK_WIRE_INFLATE_H
#define PENSTOCK_WIRE_INFLATE_H

#include "base/buf.h"
#include "base/err.h"

struct inflate; /* one a thread; keeps its context between calls */

struct inflate *inflate_new(void);
void inflate_free(struct inflate *inflate);

static inline bool inflate_looks_gzip(struct span body)
{
    return body.bytes >= 3 && body.at[0] == 0x1f && body.at[1] == 0x8b && body.at[2] == 8;
}

/* Appends the inflated bytes of every member (RFC 1952 §2.2) to out. The ceiling is out->bytes_max:
 * above it ERR_FULL and out is reset. ERR_INPUT: not gzip, cut off, bad CRC or length, reserved flags,
 * trailing rubbish, a header field over 64 KiB. out's content on failure is not defined. */
int inflate_gzip(struct inflate *inflate, struct span body, struct buf *out, struct err *err) must_check;

/* HTTP's `deflate`, which ought to be zlib (RFC 1950) and is often bare (RFC 1951): a first byte 0x78
 * says zlib. Ceiling and errors as above. */
int inflate_deflate(struct inflate *inflate, struct span body, struct buf *out, struct err *err) must_check;

#endif
