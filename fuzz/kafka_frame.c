/* fuzz/kafka_frame.c - messages of Kafka that claim to be frames: anybody who may write to a topic wrote them.
 *
 * The first byte says whether the sums are made true, so that the fuzzer comes past them. What is served must lie within what
 * was given, and be as many records as the header says. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "fuzz.h"
#include "log/frame.h"
#include "log/kafka_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t    *buf;
    static size_t      buf_size;
    struct kafka_frame frame;
    struct span        raw;
    struct err         err;
    uint8_t           *at;

    if (size < 1)
        return 0;
    at = malloc(size); /* exactly: what is read past its end is seen */
    if (at == NULL)
        return 0;
    memcpy(at, data + 1, size - 1);
    size--;
    if ((data[0] & 1) != 0 && size >= KAFKA_FRAME_HEADER_BYTES) {
        memcpy(at, "PNKF\1", 5);
        bytes_put_u32(at + 16, (uint32_t)(size - KAFKA_FRAME_HEADER_BYTES));
        bytes_put_u32(at + 20, crc32c(0, span_of(at + KAFKA_FRAME_HEADER_BYTES, size - KAFKA_FRAME_HEADER_BYTES)));
        bytes_put_u32(at + 60, crc32c(0, span_of(at, 60)));
    }
    if (kafka_frame_get(span_of(at, size), &frame) && frame.raw_bytes <= 1 << 20 &&
        kafka_frame_body(span_of(at, size), &frame, &buf, &buf_size, &raw, &err) == 1 && frame.kind != KAFKA_FRAME_MARK) {
        struct log_chunk chunk = { .kind = LOG_RECORDS, .count = frame.count, .at = raw.at, .end = raw.at + raw.bytes };
        struct span      body;
        uint64_t         offset, sum = 0;
        uint32_t         count = 0;
        size_t           bytes;

        while (log_chunk_next(&chunk, &offset, &body)) {
            for (size_t i = 0; i < body.bytes; i++)
                sum += body.at[i];
            count++;
        }
        if (count != frame.count || chunk.at != chunk.end || sum == UINT64_MAX)
            abort();
        if (kafka_frame_fit(raw, frame.count, SIZE_MAX, &bytes) != frame.count || bytes != raw.bytes)
            abort();
    }
    free(at);
    return 0;
}
