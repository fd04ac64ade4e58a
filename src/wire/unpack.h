/* wire/unpack.h - bodies in one of HTTP's content codings, with a ceiling that a bomb cannot pass.
 *
 * For endpoints that believe Content-Encoding; where clients are not to be believed see
 * capture/payload.h. */
#ifndef PENSTOCK_WIRE_UNPACK_H
#define PENSTOCK_WIRE_UNPACK_H

#include "wire/inflate.h"

enum {
    UNPACK_ZSTD_WINDOW_LOG_MAX = 23 /* 8 MiB of memory: what RFC 9659 lets a sender of HTTP ask for */
};

enum unpack_coding { UNPACK_NONE, UNPACK_GZIP, UNPACK_DEFLATE, UNPACK_BROTLI, UNPACK_ZSTD };

/* From the value of Content-Encoding, in any case; bytes 0 is NONE. False: another coding, or a list. */
bool unpack_coding_find(struct span name, enum unpack_coding *out);

/* Appends to out, which must be empty, what the body unpacks to; UNPACK_NONE copies. ERR_FULL: more than
 * out->bytes_max (or no memory); ERR_INPUT: damaged, cut off, or more bytes behind the end. out's content
 * on failure is not defined. */
int unpack_body(struct inflate *inflate, enum unpack_coding coding, struct span body, struct buf *out,
                struct err *err) must_check;

#endif
