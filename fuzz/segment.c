/* fuzz/segment.c - arbitrary bytes as the last segment of a log.
 *
 * The input is a row of commands that build a file: frames that are true at their place (whatever their
 * numbers say), records that are whole, and anything else; so the fuzzer gets past the checksums and into the
 * logic behind them. Then the log is opened for writing, read, verified, and opened again.
 *  - nothing crashes, whatever the numbers say
 *  - a record is served only if its bytes stand in the file with a true sum
 *  - offsets only rise, and stay below the end
 *  - recovery of the recovered log changes nothing: the same end, the same records */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "fuzz.h"
#include "log/frame.h"
#include "log/log_test_kit.h"
#include "log/part.h"

enum { FILE_BYTES_MAX = 96 << 10 };
static const uint64_t id = 0x1122334455667788;

/* Small numbers mostly, any number sometimes. */
static uint64_t number(struct fuzz_input *input)
{
    uint64_t kind = take(input, 1);

    if (kind < 200)
        return kind;
    return kind < 240 ? take(input, 2) : take(input, 8);
}

static size_t put_frame(uint8_t *file, size_t at, struct fuzz_input *input, uint64_t *base, bool *packed)
{
    struct frame_place place = { id, 0 };
    struct frame       frame = { .tag = (uint32_t)take(input, 1), .epoch = (uint32_t)take(input, 1), .appended_us = 1 };
    uint64_t           odd = take(input, 1), records = take(input, 1) % 8;
    size_t             body = at + FRAME_HEADER_BYTES;

    for (uint64_t i = 0; i < records; i++) {
        size_t   record_bytes = (size_t)(number(input) % 600);
        uint32_t index = (odd & 1) != 0 ? (uint32_t)number(input) : (uint32_t)i, tag = (odd & 2) != 0 ? (uint32_t)take(input, 1) : frame.tag;

        if (body + RECORD_HEADER_BYTES + record_bytes + 8 > FILE_BYTES_MAX)
            break;
        for (size_t k = 0; k < record_bytes; k++)
            file[body + RECORD_HEADER_BYTES + k] = (uint8_t)(take(input, 1) + k);
        record_put(file + body, (uint32_t)record_bytes, index, tag);
        body += RECORD_HEADER_BYTES + frame_padded(record_bytes);
        frame.count++;
    }
    frame.base = *base;
    frame.body_bytes = frame.raw_bytes = (uint32_t)(body - at - FRAME_HEADER_BYTES);
    if ((odd & 4) != 0)
        frame.base = number(input);
    if ((odd & 8) != 0)
        frame.count = (uint32_t)number(input);
    if ((odd & 16) != 0)
        frame.body_bytes = (uint32_t)number(input);
    if ((odd & 32) != 0)
        frame.raw_bytes = (uint32_t)number(input);
    if ((odd & 64) != 0)
        frame.unsynced = number(input) * 8 % (UINT64_C(1) << 34);
    if ((odd & 128) != 0) {
        frame.codec = (uint8_t)(take(input, 1) % 2);
        *packed |= frame.codec != 0;
        frame.prev_bytes = (uint32_t)number(input) * 8;
        frame.prev_count = (uint32_t)number(input);
        frame.prev_tag = (uint32_t)take(input, 1);
        frame.body_crc = crc32c(0, span_of(file + at + FRAME_HEADER_BYTES, frame.body_bytes < body - at - FRAME_HEADER_BYTES ? frame.body_bytes : 0));
    }
    *base = frame.base + frame.count;
    frame_put(file + at, &frame, &place, at);
    return body;
}

static size_t build(uint8_t *file, struct fuzz_input *input, bool *packed)
{
    size_t   at = SEGMENT_DATA_AT, end = SEGMENT_DATA_AT;
    uint64_t base = 0;

    part_segment_header_put(file, id, 0, 1, 1);
    while (input->at < input->end && at + 256 < FILE_BYTES_MAX) {
        uint64_t command = take(input, 1);

        if (command < 128) {
            at = put_frame(file, at, input, &base, packed);
        } else if (command < 160) { /* a hole */
            at += (size_t)(number(input) % 64) * 8;
        } else if (command < 200) { /* bytes as they come */
            for (uint64_t n = number(input) % 64; n > 0 && at < FILE_BYTES_MAX; n--)
                file[at++] = (uint8_t)take(input, 1);
            at = (at + 7) / 8 * 8;
        } else if (end > SEGMENT_DATA_AT) { /* damage to what is there */
            file[SEGMENT_DATA_AT + take(input, 2) % (end - SEGMENT_DATA_AT)] ^= (uint8_t)take(input, 1);
        }
        if (at > end)
            end = at < FILE_BYTES_MAX ? at : FILE_BYTES_MAX;
    }
    return end + (take(input, 1) % 2 == 0 ? 0 : 64) > FILE_BYTES_MAX ? FILE_BYTES_MAX : end;
}

struct seen {
    uint64_t end, records, gaps;
    uint32_t sum;
};

static bool stands_in(const uint8_t *file, size_t size, struct span body)
{
    return body.bytes == 0 || memmem(file, size, body.at, body.bytes) != NULL;
}

static bool open_and_read(const char *folder, const uint8_t *file, size_t size, struct seen *seen, bool packed)
{
    struct log_options options = { .folder = folder };
    struct log_topic_options topic = { .segment_bytes = 64 << 10 };
    struct log_verify_result result;
    struct log        *log;
    struct log_writer *writer = NULL;
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err;
    uint64_t           next = 0, offset;
    struct span        body;
    int                rc;

    *seen = (struct seen){ 0 };
    MUST(log_open(&options, &log, &err) == 0);
    if (log_writer_open(log, "raw", 0, &topic, &writer, &err) < 0) {
        log_close(log);
        return false;
    }
    seen->end = log_writer_end(writer);
    log_writer_publish(writer, seen->end);
    MUST(log_reader_open(log, "raw", 0, 0, &reader, &err) == 0);
    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        MUST(chunk.base == next);
        next = chunk.base + chunk.count;
        MUST(next <= seen->end);
        seen->gaps += chunk.kind == LOG_GAP;
        if (seen->gaps > 40)
            break; /* a base of 2^60: gaps of 2^32 at a time */
        while (log_chunk_next(&chunk, &offset, &body)) {
            MUST(bytes_get_u32(body.at - RECORD_HEADER_BYTES) ==
                    crc32c(0, span_of(body.at - RECORD_HEADER_BYTES + 4, RECORD_HEADER_BYTES - 4 + body.bytes)));
            MUST(packed || stands_in(file, size, body));
            seen->sum = crc32c(seen->sum, body);
            seen->records++;
        }
    }
    MUST(rc >= 0);
    MUST(seen->gaps > 40 || next == seen->end);
    log_reader_close(reader);
    if (seen->gaps < 40)
        MUST(log_verify(log, "raw", 0, NULL, NULL, &result, &err) == 0);
    log_writer_close(writer);
    log_close(log);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t file[FILE_BYTES_MAX + 1024];
    static char    folder[64];
    char           path[128];
    struct fuzz_input   input = { data, data + bytes };
    struct seen    first, second;
    bool           packed = false;
    size_t         size;
    int            fd;

    if (folder[0] == 0)
        (void)snprintf(folder, sizeof folder, "/dev/shm/penstock-fuzz-%d", (int)getpid());
    memset(file, 0, sizeof file);
    size = build(file, &input, &packed);
    (void)mkdir(folder, 0700);
    (void)snprintf(path, sizeof path, "%s/raw", folder);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/raw/0", folder);
    kit_remove(path);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/raw/0/%020d.seg", folder, 0);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0);
    MUST(write(fd, file, size) == (ssize_t)size);
    close(fd);
    if (open_and_read(folder, file, size, &first, packed)) {
        MUST(open_and_read(folder, file, size, &second, packed));
        MUST(first.end == second.end);
        MUST(first.records == second.records);
        MUST(first.sum == second.sum);
    }
    return 0;
}
