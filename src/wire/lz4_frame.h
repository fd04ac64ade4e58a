/* wire/lz4_frame.h - an LZ4 frame (lz4_Frame_format, version 1.6) out of JSON, piece by piece: what an HTTP body with
 * `Content-Encoding: lz4` holds.
 *
 * Blocks stand alone (no block refers to one before it), hold at most LZ4_FRAME_BLOCK_BYTES of what went in, and are packed by
 * lz4_pack_coarse; one that would not become smaller stands as it is.
 *    at  bytes  field
 *     0      4  magic
 *     4      1  version 1, blocks stand alone, each has a checksum; the size of the content is told
 *     5      1  how large a block can be: 1 MiB
 *     6      8  size of the content, once the frame is ended; 0 until then
 *    14      1  checksum of those three
 *    15      *  blocks:  4  bytes, the highest bit says that they are not packed;  *  these;  4  their XXH32
 *     *      4  zero: the end
 * Why checksums of blocks and none of the content: they are over a fourth of the bytes. They do not cover a block's first four bytes:
 * with another length the checksum is elsewhere and wrong, but with the highest bit changed packed bytes would pass as rows. Then the
 * content is not as long as the head says, which LZ4's reader refuses. (The log's own frames, of segments and on Kafka, are no such frames:
 * their head tells codec and lengths and has a checksum of its own, as has the body.)
 * The same pieces always give the same frame. Functions append to a buf, which fails when it has no room. */
#ifndef PENSTOCK_WIRE_LZ4_FRAME_H
#define PENSTOCK_WIRE_LZ4_FRAME_H

#include "base/buf.h"

enum { LZ4_FRAME_BLOCK_BYTES = 1 << 20 };

void lz4_frame_begin(struct buf *out);
void lz4_frame_add(struct buf *out, struct span piece);
/* at: where it was begun; bytes: of all pieces together. */
void lz4_frame_end(struct buf *out, size_t at, uint64_t bytes);

#endif
