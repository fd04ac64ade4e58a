/* log/frame.h - the stored form: frames of records, and how to know a true one.
 *
 * One batch is one frame. All numbers little-endian; frames and records begin at multiples of 8.
 *
 *   frame header          at  bytes  field
 *                          0      2  magic 0x4650
 *                          2      1  version, 1
 *                          3      1  codec of the body (enum log_codec)
 *                          4      4  tag         random, one a batch; also in each of its records
 *                          8      8  base        offset of the first record
 *                         16      4  count       records; 0: a mark (written at close and when sealed), or, with a
 *                                                body of zeros, a pad, so that the next frame begins on a page
 *                         20      4  epoch       of the writer's opening
 *                         24      8  appended_us
 *                         32      4  body_bytes  as stored, without the padding to 8
 *                         36      4  raw_bytes   of the records when unpacked
 *                         40      4  body_crc    LZ4: crc32c of the stored body; else 0, the records have theirs
 *                         44      4  unsynced    bytes / 8 between the last sync and this header
 *                         48      4  prev_bytes  from the previous frame's header to this one; 0: not told
 *                         52      4  prev_tag
 *                         56      4  prev_count
 *                         60      4  crc         crc32c of {partition id, segment base, place in the file}
 *                                                and of the bytes before
 *   record                 0      4  crc         crc32c of all that follows, without padding
 *                          4      4  bytes       of the body
 *                          8      4  index       in the frame: its offset is base + index
 *                         12      4  tag
 *                         16      *  body, then zeros to a multiple of 8
 *
 *  F1  a frame header is true at one place of one segment of one partition only: a block that was copied,
 *      swapped or comes from another log is no frame, and a client who sends bytes that look like a
 *      frame cannot know the partition's id
 *  F2  a record is true only with its frame's tag, so the same holds for records
 *  F3  `unsynced` lets recovery tell damage from a torn tail: what lies before a mark was promised
 *  F4  a frame whose header is damaged is described by the next one (prev_*): its records are still found */
#ifndef PENSTOCK_LOG_FRAME_H
#define PENSTOCK_LOG_FRAME_H

#include "base/err.h"
#include "base/span.h"
#include "log/log.h"

enum {
    FRAME_HEADER_BYTES = 64,
    RECORD_HEADER_BYTES = 16,
    FRAME_ALIGN = 8,
    FRAME_BODY_BYTES_MAX = LOG_BATCH_BYTES_MAX
};
#define FRAME_BASE_MAX (UINT64_C(1) << 62)

static inline uint64_t frame_padded(uint64_t bytes)
{
    return (bytes + FRAME_ALIGN - 1) & ~(uint64_t)(FRAME_ALIGN - 1);
}

/* Which partition and segment a frame must belong to. */
struct frame_place {
    uint64_t id, seg_base;
};

struct frame {
    uint8_t  codec;
    uint32_t tag, count, epoch, body_bytes, raw_bytes, body_crc;
    uint64_t base;
    int64_t  appended_us;
    uint64_t unsynced; /* bytes */
    uint32_t prev_bytes, prev_tag, prev_count;
};

static inline uint64_t frame_bytes(const struct frame *frame)
{
    return FRAME_HEADER_BYTES + frame_padded(frame->body_bytes);
}

void frame_put(uint8_t *at, const struct frame *frame, const struct frame_place *place, uint64_t file_at);
/* at: FRAME_HEADER_BYTES. True when these are a header written for this place (F1); its numbers are then
 * within bounds. */
bool frame_get(const uint8_t *at, const struct frame_place *place, uint64_t file_at, struct frame *out);
/* The first position in bytes[from..] (from a multiple of 8, as file_at) where a header is true; bytes.bytes
 * when there is none. */
size_t frame_find(struct span bytes, size_t from, uint64_t file_at, const struct frame_place *place, struct frame *out);

/* Fills the header in front of a body of body_bytes at `at` + RECORD_HEADER_BYTES and pads it. */
void record_put(uint8_t *at, uint32_t body_bytes, uint32_t index, uint32_t tag);
/* The same in two steps: all but the checksum, and that. */
void record_put_unsummed(uint8_t *at, uint32_t body_bytes, uint32_t index, uint32_t tag);
void record_sum(uint8_t *at);
/* True when a whole record with this tag stands at the head of `bytes`. */
bool record_get(struct span bytes, uint32_t tag, uint32_t *index_out, uint32_t *body_bytes_out);

/* Are these exactly records 0..count-1, each whole? */
bool frame_body_whole(struct span raw, uint32_t tag, uint32_t count);
/* at_table[count]: where each record that is still whole stands in raw, UINT32_MAX for the others. */
void frame_body_salvage(struct span raw, uint32_t tag, uint32_t count, uint32_t *at_table);

/* The records of a frame from its stored body (frame->body_bytes at `stored`). Unpacks LZ4 into *buf
 * (grown with realloc). 1: *raw_out is set (in stored or in *buf); 0: the body is damaged as a whole. */
int frame_unpack(const struct frame *frame, const uint8_t *stored, uint8_t **buf, size_t *buf_size,
                 struct span *raw_out, struct err *err) must_check;

#endif
