/* wire/lz4_pack.h - makes blocks of LZ4's format out of JSON, and faster than LZ4 itself does.
 *
 * What comes out is a block as LZ4's own (lz4_Block_format): LZ4_decompress_safe reads it, and knows nothing of
 * this file. Other bytes than JSON are packed right as well, only less well.
 * The same bytes always give the same block. */
#ifndef PENSTOCK_WIRE_LZ4_PACK_H
#define PENSTOCK_WIRE_LZ4_PACK_H

#include "base/span.h"

enum { LZ4_PACK_BYTES_MAX = 1 << 30 };

/* The room that lz4_pack needs for so many bytes: more than it ever fills. */
static inline size_t lz4_pack_room(size_t bytes)
{
    return bytes + bytes / 255 + 64;
}

/* from: at most LZ4_PACK_BYTES_MAX; to: lz4_pack_room(from.bytes). Gives the bytes of the block. */
size_t lz4_pack(struct span from, uint8_t *to);
/* The same for bytes that go over a network once and are kept by nobody: a sixth less time, a twelfth more bytes. */
size_t lz4_pack_coarse(struct span from, uint8_t *to);

#endif
