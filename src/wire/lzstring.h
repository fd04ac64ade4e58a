/* wire/lzstring.h - the text compression of older posthog-js (`compression=lz64`): LZ-string packed in
 * base64. Its symbols are UTF-16 units; what comes out here is UTF-8. */
#ifndef PENSTOCK_WIRE_LZSTRING_H
#define PENSTOCK_WIRE_LZSTRING_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the text to out. The ceiling is out->bytes_max, checked on every emit: ERR_FULL above it.
 * ERR_INPUT with the text "failed decompress to UTF16": not base64, or a broken stream. An unpaired surrogate
 * becomes U+FFFD: browsers cut emoji in halves. Dictionary memory is bounded by the cap too. */
int lzstring_decode_base64(struct span text, struct buf *out, struct err *err) must_check;

#endif
