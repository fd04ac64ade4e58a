/* wire/lz4_frame.c - see lz4_frame.h.
 *
 * LZ4's library writes frames as well, with its own search, which takes three times as long over rows of JSON (wire/lz4_pack.c), and
 * has no way to be given blocks that are packed already. */
#include "wire/lz4_frame.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "wire/lz4_pack.h"

enum {
    BLOCK_HEAD_BYTES = 4, BLOCK_TAIL_BYTES = 4, HEAD_BYTES = 15,
    FLAGS = 0x78, /* 01: version; blocks alone; their checksums; size of the content */
    SIZES = 0x60
};
#define MAGIC       UINT32_C(0x184d2204)
#define NOT_PACKED  UINT32_C(0x80000000)

static void head_put(uint8_t *to, uint64_t bytes)
{
    bytes_put_u32(to, MAGIC);
    to[4] = FLAGS;
    to[5] = SIZES;
    bytes_put_u64(to + 6, bytes);
    to[14] = (uint8_t)(XXH32(to + 4, 10, 0) >> 8);
}

void lz4_frame_begin(struct buf *out)
{
    uint8_t *to = buf_reserve(out, HEAD_BYTES);

    if (to == NULL)
        return;
    head_put(to, 0); /* who reads a frame that is not ended takes it for not known */
    out->bytes += HEAD_BYTES;
}

static void block_add(struct buf *out, struct span piece)
{
    uint8_t *to = buf_reserve(out, BLOCK_HEAD_BYTES + lz4_pack_room(piece.bytes) + BLOCK_TAIL_BYTES);
    uint32_t head;
    size_t   bytes;

    if (to == NULL)
        return;
    bytes = lz4_pack_coarse(piece, to + BLOCK_HEAD_BYTES);
    head = (uint32_t)bytes;
    if (bytes >= piece.bytes) {
        memcpy(to + BLOCK_HEAD_BYTES, piece.at, piece.bytes);
        bytes = piece.bytes;
        head = (uint32_t)bytes | NOT_PACKED;
    }
    bytes_put_u32(to, head);
    bytes_put_u32(to + BLOCK_HEAD_BYTES + bytes, XXH32(to + BLOCK_HEAD_BYTES, bytes, 0));
    out->bytes += BLOCK_HEAD_BYTES + bytes + BLOCK_TAIL_BYTES;
}

void lz4_frame_add(struct buf *out, struct span piece)
{
    while (piece.bytes > 0) {
        size_t bytes = piece.bytes < LZ4_FRAME_BLOCK_BYTES ? piece.bytes : LZ4_FRAME_BLOCK_BYTES;

        block_add(out, span_of(piece.at, bytes));
        piece = span_from(piece, bytes);
    }
}

void lz4_frame_end(struct buf *out, size_t at, uint64_t bytes)
{
    buf_add_u32(out, 0);
    if (!out->failed)
        head_put(out->at + at, bytes);
}
