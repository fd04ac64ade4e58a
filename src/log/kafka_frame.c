/* log/kafka_frame.c - see kafka_frame.h.
 *
 * Two sums, of the header and of the body: one over all would leave nothing to say about a damaged frame but that it was there,
 * and how many records were in it is what a reader has to account for. Kafka's own sum of a batch of messages is checked by
 * nobody but brokers and (when asked) clients, and ends where a broker unpacks and packs again. */
#include "log/kafka_frame.h"

#include <stdlib.h>
#include <string.h>

#include <lz4.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "log/frame.h"
#include "wire/lz4_pack.h"

#define KAFKA_FRAME_MAGIC UINT32_C(0x464b4e50) /* "PNKF" */
enum { KAFKA_FRAME_VERSION = 1, CRC_AT = 60 };

void kafka_frame_put(uint8_t at[KAFKA_FRAME_HEADER_BYTES], const struct kafka_frame *frame)
{
    bytes_put_u32(at, KAFKA_FRAME_MAGIC);
    at[4] = KAFKA_FRAME_VERSION;
    at[5] = (uint8_t)frame->kind;
    at[6] = (uint8_t)frame->codec;
    at[7] = 0;
    bytes_put_u32(at + 8, frame->count);
    bytes_put_u32(at + 12, frame->raw_bytes);
    bytes_put_u32(at + 16, frame->body_bytes);
    bytes_put_u32(at + 20, frame->body_crc);
    bytes_put_u64(at + 24, (uint64_t)frame->appended_us);
    bytes_put_u64(at + 32, frame->epoch);
    bytes_put_u64(at + 40, frame->base);
    bytes_put_u64(at + 48, frame->published);
    bytes_put_u32(at + 56, 0);
    bytes_put_u32(at + CRC_AT, crc32c(0, span_of(at, CRC_AT)));
}

bool kafka_frame_is(struct span message)
{
    return message.bytes >= KAFKA_FRAME_HEADER_BYTES && bytes_get_u32(message.at) == KAFKA_FRAME_MAGIC;
}

/* Numbers that no frame has, whoever wrote them. */
static bool frame_possible(const struct kafka_frame *frame)
{
    if (frame->codec != LOG_CODEC_NONE && frame->codec != LOG_CODEC_LZ4)
        return false;
    if (frame->base > FRAME_BASE_MAX)
        return false;
    if (frame->kind == KAFKA_FRAME_MARK)
        return frame->count == 0 && frame->body_bytes == 0;
    if (frame->kind != KAFKA_FRAME_SHARED && frame->kind != KAFKA_FRAME_OWNED)
        return false;
    return frame->count > 0 && frame->count <= KAFKA_FRAME_RECORDS_MAX && frame->raw_bytes <= LOG_BATCH_BYTES_MAX &&
           frame->count <= frame->raw_bytes / RECORD_HEADER_BYTES;
}

bool kafka_frame_get(struct span message, struct kafka_frame *out)
{
    const uint8_t *at = message.at;

    if (!kafka_frame_is(message) || bytes_get_u32(at + CRC_AT) != crc32c(0, span_of(at, CRC_AT)) || at[4] != KAFKA_FRAME_VERSION)
        return false;
    *out = (struct kafka_frame){
        .kind = (enum kafka_frame_kind)at[5], .codec = (enum log_codec)at[6], .count = bytes_get_u32(at + 8),
        .raw_bytes = bytes_get_u32(at + 12), .body_bytes = bytes_get_u32(at + 16), .body_crc = bytes_get_u32(at + 20),
        .appended_us = (int64_t)bytes_get_u64(at + 24), .epoch = bytes_get_u64(at + 32), .base = bytes_get_u64(at + 40),
        .published = bytes_get_u64(at + 48)
    };
    return frame_possible(out);
}

/* Bytes of the record at the head of what is left; 0: it does not fit there. */
static size_t record_bytes(struct span left)
{
    size_t bytes;

    if (left.bytes < RECORD_HEADER_BYTES)
        return 0;
    bytes = RECORD_HEADER_BYTES + (size_t)frame_padded(bytes_get_u32(left.at + 4));
    return bytes <= left.bytes ? bytes : 0;
}

static bool records_stand(struct span raw, uint32_t count)
{
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = record_bytes(span_of(raw.at + at, raw.bytes - at));

        if (bytes == 0)
            return false;
        at += bytes;
    }
    return at == raw.bytes;
}

int kafka_frame_body(struct span message, const struct kafka_frame *frame, uint8_t **buf, size_t *buf_size,
                     struct span *raw_out, struct err *err)
{
    struct span body = span_from(message, KAFKA_FRAME_HEADER_BYTES), raw = body;

    if (body.bytes != frame->body_bytes || crc32c(0, body) != frame->body_crc)
        return 0;
    if (frame->codec == LOG_CODEC_LZ4) {
        if (frame->body_bytes > INT32_MAX || frame->raw_bytes > LOG_BATCH_BYTES_MAX)
            return 0;
        if (*buf_size < frame->raw_bytes) {
            uint8_t *grown = realloc(*buf, frame->raw_bytes);

            if (grown == NULL)
                return err_set(err, ERR_FULL, "no memory to unpack a frame of %u bytes", frame->raw_bytes);
            *buf = grown;
            *buf_size = frame->raw_bytes;
        }
        if (LZ4_decompress_safe((const char *)body.at, (char *)*buf, (int)body.bytes, (int)frame->raw_bytes) != (int)frame->raw_bytes)
            return 0;
        raw = span_of(*buf, frame->raw_bytes);
    }
    if (raw.bytes != frame->raw_bytes || !records_stand(raw, frame->count))
        return 0;
    *raw_out = raw;
    return 1;
}

uint8_t *kafka_frame_make(struct kafka_frame *frame, struct span records, size_t *bytes_out)
{
    size_t   room = KAFKA_FRAME_HEADER_BYTES + (frame->codec == LOG_CODEC_LZ4 ? lz4_pack_room(records.bytes) : records.bytes);
    uint8_t *at = malloc(room);
    size_t   bytes = records.bytes;

    if (at == NULL)
        return NULL;
    if (frame->codec == LOG_CODEC_LZ4) {
        bytes = lz4_pack(records, at + KAFKA_FRAME_HEADER_BYTES);
        if (bytes >= records.bytes) {
            bytes = records.bytes;
            frame->codec = LOG_CODEC_NONE;
        }
    }
    if (frame->codec == LOG_CODEC_NONE && records.bytes > 0)
        memcpy(at + KAFKA_FRAME_HEADER_BYTES, records.at, records.bytes);
    frame->raw_bytes = (uint32_t)records.bytes;
    frame->body_bytes = (uint32_t)bytes;
    frame->body_crc = crc32c(0, span_of(at + KAFKA_FRAME_HEADER_BYTES, bytes));
    kafka_frame_put(at, frame);
    *bytes_out = KAFKA_FRAME_HEADER_BYTES + bytes;
    return at;
}

uint32_t kafka_frame_fit(struct span records, uint32_t count, size_t bytes_max, size_t *bytes_out)
{
    uint32_t fit = 0;
    size_t   at = 0;

    while (fit < count && fit < KAFKA_FRAME_RECORDS_MAX) {
        size_t bytes = record_bytes(span_of(records.at + at, records.bytes - at));

        if (bytes == 0 || (fit > 0 && KAFKA_FRAME_HEADER_BYTES + at + bytes > bytes_max))
            break;
        at += bytes;
        fit++;
    }
    *bytes_out = at;
    return fit;
}
