/* log/kafka_frame.h - the form `frames`: one message of Kafka is one frame, and holds many records of one partition.
 *
 * Little-endian:
 *   at  bytes  field
 *    0      4  magic "PNKF"
 *    4      1  version, 1
 *    5      1  kind         enum kafka_frame_kind
 *    6      1  codec        of the body (enum log_codec)
 *    7      1  0
 *    8      4  count        records; a mark: 0
 *   12      4  raw_bytes    of the records when unpacked
 *   16      4  body_bytes   as stored, to the message's end
 *   20      4  body_crc     crc32c of the stored body
 *   24      8  appended_us
 *   32      8  epoch        of the writer's opening          } frames of topics with many writers: 0
 *   40      8  base         offset of the first record;      }
 *                           a mark: its end                  }
 *   48      8  published    the writer's published end;      }
 *                           a mark: whose frames it is about,}
 *                           the epoch                        }
 *   56      4  0
 *   60      4  crc          crc32c of the bytes before
 *   64      *  records as a batch holds them (frame.h: record). Their own sums, tags and places are not looked at: body_crc
 *              covers them, and so records can be cut out of batches and put together as they are
 *
 *  A1  a header that is true tells count, base and epoch, whatever happened to the body: damage has a size
 *  A2  a body whose sum is right is walked once (kafka_frame_body), and only then served: so many records as the header says
 *      stand in line and fill it
 * How marks and frames make a log of one writer: kafka_writer.h. Parsers: they trust nothing, and allocate nothing. */
#ifndef PENSTOCK_LOG_KAFKA_FRAME_H
#define PENSTOCK_LOG_KAFKA_FRAME_H

#include "base/err.h"
#include "base/span.h"
#include "log/log.h"

enum {
    KAFKA_FRAME_HEADER_BYTES = 64,
    KAFKA_FRAME_RECORDS_MAX = 1 << 20, /* so that an offset has room for it: KAFKA_INDEX_BITS */
    KAFKA_INDEX_BITS = 20
};

enum kafka_frame_kind {
    KAFKA_FRAME_SHARED = 1, /* records of a topic with many writers: Kafka's offset is their order */
    KAFKA_FRAME_OWNED = 2,  /* records of a topic with one writer: `base` is */
    KAFKA_FRAME_MARK = 3    /* no records: what was written up to here counts */
};

struct kafka_frame {
    enum kafka_frame_kind kind;
    enum log_codec        codec;
    uint32_t              count, raw_bytes, body_bytes, body_crc;
    int64_t               appended_us;
    uint64_t              epoch, base, published;
};

/* In a topic with many writers: the offset of a frame's record, and back. */
static inline uint64_t kafka_offset_make(int64_t message_offset, uint32_t index)
{
    return (uint64_t)message_offset << KAFKA_INDEX_BITS | index;
}
static inline int64_t kafka_offset_message(uint64_t offset)
{
    return (int64_t)(offset >> KAFKA_INDEX_BITS);
}

/* Writes the header; all fields are the caller's. */
void kafka_frame_put(uint8_t at[KAFKA_FRAME_HEADER_BYTES], const struct kafka_frame *frame);

/* Does a message look like one of ours? Anything else is of the other form. */
bool kafka_frame_is(struct span message);
/* False: the header is damaged. True: *out is within bounds; that the body is there and whole is not said. */
bool kafka_frame_get(struct span message, struct kafka_frame *out);

/* The records of a true header's message: checks the body's sum, unpacks LZ4 into *buf (grown with realloc), and walks the
 * records (A2). 1: *raw_out is set (in message or in *buf); 0: the body is damaged; -1: no memory. */
int kafka_frame_body(struct span message, const struct kafka_frame *frame, uint8_t **buf, size_t *buf_size,
                     struct span *raw_out, struct err *err) must_check;

/* A frame as one piece of memory, from malloc: header, then records (a batch's, in stored form: `records` bytes of `frame->count`
 * of them), packed when codec is LZ4 and that makes them smaller. frame: kind, codec, count, appended_us, epoch, base,
 * published are the caller's, the rest is filled in. NULL: no memory. */
uint8_t *kafka_frame_make(struct kafka_frame *frame, struct span records, size_t *bytes_out);

/* How many of the records at `records` (in stored form, `count` of them) fit into a frame of bytes_max, unpacked; at least one.
 * *bytes_out: their bytes. */
uint32_t kafka_frame_fit(struct span records, uint32_t count, size_t bytes_max, size_t *bytes_out);
#endif
