/* bench/clickhouse_bench.c - what a row costs on its way to ClickHouse that no server has a part in: from Kafka's message to the packed body.
 *
 *   kcat -C -b BROKER -t PREFIX_events -p 0 -e -q -f '%R%s' > FILE
 *   clickhouse_bench FILE [TURNS BATCH]
 *
 * FILE: messages of a topic of rows, each with its length before it. They are gone through TURNS times (5) by the loader's own code, in
 * batches of BATCH rows (20,000), which are put together and packed and thrown away. Prints for each turn the microseconds of one thread's CPU a
 * row: frames (checksum, LZ4, walk), rows (read, checked, written as RowBinary, packed); and the bytes a row. The digest is of all bodies, but
 * for the time in them: two builds must have the same one, or say why not. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crc32c.h"
#include "event/row.h"
#include "log/kafka_frame.h"
#include "warehouse/clickhouse.h"

static _Noreturn void die(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static double cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static struct span file_read(const char *path)
{
    FILE    *file = fopen(path, "rb");
    uint8_t *at;
    long     bytes;

    if (file == NULL || fseek(file, 0, SEEK_END) < 0 || (bytes = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) < 0)
        die("the file cannot be read");
    at = malloc((size_t)bytes + 1);
    if (at == NULL || fread(at, 1, (size_t)bytes, file) != (size_t)bytes)
        die("the file cannot be read");
    fclose(file);
    return span_of(at, (size_t)bytes);
}

static struct warehouse warehouse;
static uint64_t         rows, raw_bytes, packed_bytes;
static uint32_t         digest;

static void batch_end(void)
{
    struct err err;

    for (int i = 0; i < ROW_TABLE_COUNT; i++) {
        struct clickhouse_table *table = &warehouse.tables[i];

        if (table->rows == 0)
            continue;
        if (clickhouse_pack_end(table, &err) < 0)
            die(err.text);
        raw_bytes += table->packed_raw;
        packed_bytes += table->packed.bytes;
        digest = crc32c(digest, buf_span(&table->packed));
    }
    clickhouse_tables_reset(&warehouse, false);
}

static double turn(struct span messages, size_t batch, double *frames_us_out)
{
    static uint8_t *unpacked;
    static size_t   unpacked_size;
    double          rows_us = 0, frames_us = 0;
    struct row      row;
    struct err      err;

    while (messages.bytes >= 4) {
        size_t             bytes = (size_t)messages.at[0] << 24 | (size_t)messages.at[1] << 16 | (size_t)messages.at[2] << 8 | messages.at[3];
        struct span        message = span_of(messages.at + 4, bytes), raw, body;
        struct kafka_frame frame;
        struct log_chunk   chunk = { .kind = LOG_RECORDS };
        double             began = cpu_us(), got;
        uint64_t           offset;

        if (bytes > messages.bytes - 4)
            die("the file ends inside a message");
        messages = span_from(messages, 4 + bytes);
        if (!kafka_frame_get(message, &frame) || frame.kind != KAFKA_FRAME_OWNED)
            continue;
        if (kafka_frame_body(message, &frame, &unpacked, &unpacked_size, &raw, &err) != 1)
            die("a frame is damaged");
        got = cpu_us();
        frames_us += got - began;
        chunk.base = frame.base;
        chunk.count = frame.count;
        chunk.at = raw.at;
        chunk.end = raw.at + raw.bytes;
        while (log_chunk_next(&chunk, &offset, &body)) {
            if (row_read(body, &row, &err) < 0)
                die(err.text);
            row.offset = offset;
            if (clickhouse_add(&warehouse, &row, &err) < 0)
                die(err.text);
            rows++;
            if (warehouse.batch_rows >= batch)
                batch_end();
        }
        rows_us += cpu_us() - got;
    }
    batch_end();
    *frames_us_out = frames_us;
    return rows_us;
}

int main(int argc, char **argv)
{
    struct span messages;
    int         turns = argc > 2 ? atoi(argv[2]) : 5;
    size_t      batch = argc > 3 ? strtoul(argv[3], NULL, 10) : 20000;

    if (argc < 2) {
        fprintf(stderr, "usage: clickhouse_bench FILE [TURNS BATCH]\n");
        return 2;
    }
    messages = file_read(argv[1]);
    warehouse.magic = CLICKHOUSE_MAGIC;
    clickhouse_tables_reset(&warehouse, false);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        for (size_t c = 0; c < clickhouse_columns[i].count; c++)
            if (clickhouse_columns[i].columns[c].cell != CLICKHOUSE_NOW)
                warehouse.tables[i].columns |= (uint64_t)1 << c;
    for (int i = 0; i < turns; i++) {
        double frames_us, rows_us;

        rows = raw_bytes = packed_bytes = digest = 0;
        rows_us = turn(messages, batch, &frames_us);
        if (rows == 0)
            die("the file has no rows");
        printf("%.3f us a row: frames %.3f, rows %.3f; %" PRIu64 " rows of %.0f bytes, packed %.0f; digest %08" PRIx32 "\n",
               (frames_us + rows_us) / (double)rows, frames_us / (double)rows, rows_us / (double)rows, rows,
               (double)raw_bytes / (double)rows, (double)packed_bytes / (double)rows, digest);
    }
    return 0;
}
