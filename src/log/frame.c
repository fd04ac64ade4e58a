/* log/frame.c - see frame.h. Every checksum starts from what the bytes must belong to, which costs 24
 * more bytes of crc a frame and makes copies, swaps and forgeries fail like any other damage. */
#include "log/frame.h"

#include <assert.h>
#include <lz4.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"

enum { FRAME_MAGIC = 0x4650, FRAME_VERSION = 1 };

static uint32_t frame_crc(const uint8_t *at, const struct frame_place *place, uint64_t file_at)
{
    uint8_t seed[24];

    bytes_put_u64(seed, place->id);
    bytes_put_u64(seed + 8, place->seg_base);
    bytes_put_u64(seed + 16, file_at);
    return crc32c(crc32c(0, span_of(seed, sizeof seed)), span_of(at, FRAME_HEADER_BYTES - 4));
}

void frame_put(uint8_t *at, const struct frame *frame, const struct frame_place *place, uint64_t file_at)
{
    assert(frame->unsynced / FRAME_ALIGN <= UINT32_MAX);
    at[0] = FRAME_MAGIC & 0xff;
    at[1] = FRAME_MAGIC >> 8;
    at[2] = FRAME_VERSION;
    at[3] = frame->codec;
    bytes_put_u32(at + 4, frame->tag);
    bytes_put_u64(at + 8, frame->base);
    bytes_put_u32(at + 16, frame->count);
    bytes_put_u32(at + 20, frame->epoch);
    bytes_put_u64(at + 24, (uint64_t)frame->appended_us);
    bytes_put_u32(at + 32, frame->body_bytes);
    bytes_put_u32(at + 36, frame->raw_bytes);
    bytes_put_u32(at + 40, frame->body_crc);
    bytes_put_u32(at + 44, (uint32_t)(frame->unsynced / FRAME_ALIGN));
    bytes_put_u32(at + 48, frame->prev_bytes);
    bytes_put_u32(at + 52, frame->prev_tag);
    bytes_put_u32(at + 56, frame->prev_count);
    bytes_put_u32(at + 60, frame_crc(at, place, file_at));
}

bool frame_get(const uint8_t *at, const struct frame_place *place, uint64_t file_at, struct frame *out)
{
    if (at[0] != (FRAME_MAGIC & 0xff) || at[1] != FRAME_MAGIC >> 8 || at[2] != FRAME_VERSION)
        return false;
    if (bytes_get_u32(at + 60) != frame_crc(at, place, file_at))
        return false;

    struct frame frame = {
        .codec = at[3],
        .tag = bytes_get_u32(at + 4),
        .base = bytes_get_u64(at + 8),
        .count = bytes_get_u32(at + 16),
        .epoch = bytes_get_u32(at + 20),
        .appended_us = (int64_t)bytes_get_u64(at + 24),
        .body_bytes = bytes_get_u32(at + 32),
        .raw_bytes = bytes_get_u32(at + 36),
        .body_crc = bytes_get_u32(at + 40),
        .unsynced = (uint64_t)bytes_get_u32(at + 44) * FRAME_ALIGN,
        .prev_bytes = bytes_get_u32(at + 48),
        .prev_tag = bytes_get_u32(at + 52),
        .prev_count = bytes_get_u32(at + 56),
    };
    /* The sum is right, so these hold unless the file was made by somebody who knew the id. */
    if (frame.codec > LOG_CODEC_LZ4 || frame.body_bytes > FRAME_BODY_BYTES_MAX || frame.raw_bytes > FRAME_BODY_BYTES_MAX ||
        (uint64_t)frame.count * RECORD_HEADER_BYTES > frame.raw_bytes || frame.base > FRAME_BASE_MAX ||
        frame.unsynced > file_at || frame.prev_bytes > file_at ||
        (frame.codec == LOG_CODEC_NONE && frame.body_bytes != frame.raw_bytes))
        return false;
    *out = frame;
    return true;
}

size_t frame_find(struct span bytes, size_t from, uint64_t file_at, const struct frame_place *place, struct frame *out)
{
    for (size_t i = from; i + FRAME_HEADER_BYTES <= bytes.bytes; i += FRAME_ALIGN)
        if (bytes.at[i] == (FRAME_MAGIC & 0xff) && frame_get(bytes.at + i, place, file_at + i, out))
            return i;
    return bytes.bytes;
}

void record_put_unsummed(uint8_t *at, uint32_t body_bytes, uint32_t index, uint32_t tag)
{
    size_t used = RECORD_HEADER_BYTES + (size_t)body_bytes;

    bytes_put_u32(at + 4, body_bytes);
    bytes_put_u32(at + 8, index);
    bytes_put_u32(at + 12, tag);
    memset(at + used, 0, frame_padded(used) - used);
}

void record_sum(uint8_t *at)
{
    bytes_put_u32(at, crc32c(0, span_of(at + 4, RECORD_HEADER_BYTES - 4 + (size_t)bytes_get_u32(at + 4))));
}

void record_put(uint8_t *at, uint32_t body_bytes, uint32_t index, uint32_t tag)
{
    record_put_unsummed(at, body_bytes, index, tag);
    record_sum(at);
}

bool record_get(struct span bytes, uint32_t tag, uint32_t *index_out, uint32_t *body_bytes_out)
{
    uint32_t body_bytes;

    if (bytes.bytes < RECORD_HEADER_BYTES || bytes_get_u32(bytes.at + 12) != tag)
        return false;
    body_bytes = bytes_get_u32(bytes.at + 4);
    if (frame_padded(body_bytes) > bytes.bytes - RECORD_HEADER_BYTES)
        return false;
    if (bytes_get_u32(bytes.at) != crc32c(0, span_of(bytes.at + 4, RECORD_HEADER_BYTES - 4 + (size_t)body_bytes)))
        return false;
    *index_out = bytes_get_u32(bytes.at + 8);
    *body_bytes_out = body_bytes;
    return true;
}

bool frame_body_whole(struct span raw, uint32_t tag, uint32_t count)
{
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t index, body_bytes;

        if (!record_get(span_from(raw, at), tag, &index, &body_bytes) || index != i)
            return false;
        at += RECORD_HEADER_BYTES + frame_padded(body_bytes);
    }
    return at == raw.bytes;
}

void frame_body_salvage(struct span raw, uint32_t tag, uint32_t count, uint32_t *at_table)
{
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++)
        at_table[i] = UINT32_MAX;
    while (at + RECORD_HEADER_BYTES <= raw.bytes) {
        uint32_t index, body_bytes;

        if (record_get(span_from(raw, at), tag, &index, &body_bytes) && index < count) {
            at_table[index] = (uint32_t)at;
            at += RECORD_HEADER_BYTES + frame_padded(body_bytes);
        } else {
            at += FRAME_ALIGN;
        }
    }
}

int frame_unpack(const struct frame *frame, const uint8_t *stored, uint8_t **buf, size_t *buf_size,
                 struct span *raw_out, struct err *err)
{
    if (frame->codec == LOG_CODEC_NONE) {
        *raw_out = span_of(stored, frame->body_bytes);
        return 1;
    }
    if (crc32c(0, span_of(stored, frame->body_bytes)) != frame->body_crc)
        return 0;
    if (*buf_size < frame->raw_bytes || *buf == NULL) {
        uint8_t *grown = realloc(*buf, (size_t)frame->raw_bytes + 1);

        if (grown == NULL)
            return err_set(err, ERR_FULL, "no memory for a frame of %u bytes", frame->raw_bytes);
        *buf = grown;
        *buf_size = frame->raw_bytes;
    }
    if (LZ4_decompress_safe((const char *)stored, (char *)*buf, (int)frame->body_bytes, (int)frame->raw_bytes) !=
        (int)frame->raw_bytes)
        return 0;
    *raw_out = span_of(*buf, frame->raw_bytes);
    return 1;
}
