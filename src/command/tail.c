/* command/tail.c - penstock tail: follows a topic of finished rows. Reads the log beside the running
 * writer and leaves nothing behind: no cursor, no lock. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/account.h"
#include "command/command.h"
#include "event/row.h"
#include "log/log.h"

enum { TAIL_WAIT_US = 500000, TAIL_LOOK_US = 20000, TAIL_LINE_BYTES_MAX = 128 << 20 };

/* Prints the chunk; false when enough was printed or nobody reads on. */
static int tail_chunk(struct log_chunk *chunk, struct buf *line, unsigned long long *left, struct err *err)
{
    struct span body;
    uint64_t    offset;
    struct row  row;

    if (chunk->kind == LOG_GAP) {
        fprintf(stderr, "penstock: %u records from offset %" PRIu64 " on are not there any more: %s\n", chunk->count,
                chunk->base, chunk->why);
        return 0;
    }
    while (*left > 0 && log_chunk_next(chunk, &offset, &body)) {
        if (body.bytes == 0) /* erased */
            continue;
        buf_reset(line);
        if (row_read(body, &row, err) < 0)
            return -1;
        row_write_json(&row, line);
        buf_add_byte(line, '\n');
        if (line->failed)
            return err_set(err, ERR_FULL, "the row at offset %" PRIu64 " is too large to print", offset);
        if (command_write_json(buf_span(line), err) < 0)
            return -1;
        --*left;
    }
    return fflush(stdout) == 0 ? 0 : command_stdout_failed(err);
}

static int tail_open(struct log *log, const char *topic, uint32_t partition, bool from_start, struct log_reader **out, struct err *err)
{
    uint64_t from = 0;
    int      rc = 0;

    if (log_reader_open(log, topic, partition, 0, out, err) < 0)
        return -1;
    if (from_start)
        from = log_reader_start(*out);
    else
        rc = log_reader_end(*out, &from, err);
    log_reader_close(*out);
    *out = NULL;
    return rc < 0 ? -1 : log_reader_open(log, topic, partition, from, out, err);
}

/* Of several partitions (Kafka) whichever has something: order is kept within a person, not among all. */
static int tail_topic(struct log *log, const char *topic, bool from_start, unsigned long long count, struct err *err)
{
    uint32_t            partitions = log_partitions(log);
    struct log_reader **readers = calloc(partitions, sizeof(struct log_reader *));
    struct log_chunk    chunk;
    struct buf          line;
    int                 rc = 0;
    bool                any;

    if (readers == NULL)
        return err_set(err, ERR_FULL, "no memory for the readers of %u partitions", partitions);
    buf_init(&line, TAIL_LINE_BYTES_MAX);
    for (uint32_t p = 0; rc == 0 && p < partitions; p++)
        rc = tail_open(log, topic, p, from_start, &readers[p], err);
    while (rc >= 0 && count > 0) {
        any = false;
        for (uint32_t p = 0; rc >= 0 && count > 0 && p < partitions; p++) {
            rc = log_reader_next(readers[p], &chunk, err);
            any |= rc > 0;
            if (rc > 0)
                rc = tail_chunk(&chunk, &line, &count, err);
        }
        if (rc >= 0 && !any && count > 0)
            (void)log_reader_wait(readers[0], partitions == 1 ? TAIL_WAIT_US : TAIL_LOOK_US);
    }
    buf_fini(&line);
    for (uint32_t p = 0; p < partitions; p++)
        if (readers[p] != NULL)
            log_reader_close(readers[p]);
    free(readers);
    return rc < 0 ? -1 : 0;
}

int tail_run(const struct command_args *args)
{
    const char        *topic = args_text(args, "--topic") != NULL ? args_text(args, "--topic") : "events";
    const char        *from = args_text(args, "--from") != NULL ? args_text(args, "--from") : "end";
    bool               known = false;
    unsigned long long count;
    struct log        *log;
    struct err         err = { .kind = ERR_NONE };
    int                code = EXIT_DONE;

    for (size_t i = 0; i < ROW_TABLE_COUNT; i++)
        known |= strcmp(row_tables[i].topic, topic) == 0;
    if (!known)
        return args_wrong(args, "--topic takes events, people, warnings, dead_letters, heatmaps, definitions or receipts, not \"%s\"", topic);
    if (strcmp(from, "start") != 0 && strcmp(from, "end") != 0)
        return args_wrong(args, "--from takes start or end, not \"%s\"", from);
    if (args_number(args, "--count", UINT64_MAX, UINT64_MAX, &count) < 0)
        return EXIT_USAGE;
    if (account_log_open(args_data(args), &log, &err) < 0)
        return command_failed(&err);
    if (tail_topic(log, topic, strcmp(from, "start") == 0, count, &err) < 0)
        code = command_failed(&err);
    log_close(log);
    return code;
}
