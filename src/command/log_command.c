/* command/log_command.c - penstock log info | verify | dump: looks at the log on disk, beside its writers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/account.h"
#include "command/command.h"
#include "command/json_fields.h"
#include "event/record.h"
#include "event/row.h"
#include "log/log.h"
#include "wire/json.h"
#include "wire/time.h"

/* --- info -------------------------------------------------------------------------------------- */

struct info_print { bool json; bool first; };

static void info_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors,
                      size_t cursor_count)
{
    struct info_print *print = ctx;

    if (print->json) {
        printf("%s{\"topic\":\"%s\",\"partition\":%u,\"start\":%" PRIu64 ",\"end\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"segments\":%u,\"epoch\":%u,\"cursors\":{", print->first ? "" : ",\n ", info->topic, info->partition,
               info->start, info->end, info->bytes, info->segments, info->epoch);
        for (size_t i = 0; i < cursor_count; i++)
            printf("%s\"%s\":%" PRIu64, i > 0 ? "," : "", cursors[i].consumer, cursors[i].offset);
        printf("}}");
    } else {
        if (print->first)
            printf("%-16s %4s %12s %12s %12s %9s %6s  %s\n", "topic", "part", "start", "end", "bytes", "segments",
                   "epoch", "readers");
        printf("%-16s %4u %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %9u %6u ", info->topic, info->partition,
               info->start, info->end, info->bytes, info->segments, info->epoch);
        for (size_t i = 0; i < cursor_count; i++)
            printf(" %s at %" PRIu64, cursors[i].consumer, cursors[i].offset);
        printf("\n");
    }
    print->first = false;
}

int log_info_run(const struct command_args *args)
{
    struct info_print print = { .json = args_has(args, "--json"), .first = true };
    struct log       *log;
    struct err        err = { .kind = ERR_NONE };
    int               rc;

    if (account_log_open(args_data(args), &log, &err) < 0)
        return command_failed(&err);
    printf("%s", print.json ? "[" : "");
    rc = log_info(log, info_seen, &print, &err);
    printf("%s", print.json ? "]\n" : "");
    log_close(log);
    return rc < 0 ? command_failed(&err) : EXIT_DONE;
}

/* --- verify ------------------------------------------------------------------------------------ */

/* On Kafka a dozen topics have as many partitions as somebody chose. */
struct partition_list {
    struct partition_name { char topic[LOG_TOPIC_NAME_BYTES_MAX + 1]; uint32_t partition; } *at;
    size_t count, room;
    bool   failed; /* no memory: some are missing */
};

static void partition_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors,
                           size_t cursor_count)
{
    struct partition_list *list = ctx;

    (void)cursors;
    (void)cursor_count;
    if (list->count == list->room) {
        size_t                 room = list->room == 0 ? 64 : 2 * list->room;
        struct partition_name *grown = realloc(list->at, room * sizeof *grown);

        if (grown == NULL) {
            list->failed = true;
            return;
        }
        list->at = grown;
        list->room = room;
    }
    (void)snprintf(list->at[list->count].topic, sizeof list->at[0].topic, "%s", info->topic);
    list->at[list->count++].partition = info->partition;
}

static int partitions_read(struct log *log, struct partition_list *list, struct err *err)
{
    if (log_info(log, partition_seen, list, err) < 0)
        return -1;
    return list->failed ? err_set(err, ERR_FULL, "no memory for the list of %zu partitions", list->count) : 0;
}

static void damage_seen(void *ctx, const char *file, uint64_t file_at, uint64_t base, uint64_t count, const char *what)
{
    (void)ctx;
    fprintf(stderr, "damaged: %s at byte %" PRIu64 ": %" PRIu64 " records from offset %" PRIu64 " on: %s\n", file,
            file_at, count, base, what);
}

int log_verify_run(const struct command_args *args)
{
    struct partition_list        list = { .count = 0 };
    const char                  *only = args_at(args, 0);
    struct log                  *log;
    struct err                   err = { .kind = ERR_NONE };
    bool                         json = args_has(args, "--json"), first = true;
    uint64_t                     damaged = 0;
    int                          rc;

    if (account_log_open(args_data(args), &log, &err) < 0)
        return command_failed(&err);
    rc = partitions_read(log, &list, &err);
    printf("%s", json ? "[" : "");
    for (size_t i = 0; i < list.count && rc == 0; i++) {
        struct log_verify_result result;

        if (only != NULL && strcmp(only, list.at[i].topic) != 0)
            continue;
        rc = log_verify(log, list.at[i].topic, list.at[i].partition, damage_seen, NULL, &result, &err);
        if (rc < 0)
            break;
        damaged += result.records_damaged;
        printf(json ? "%s{\"topic\":\"%s\",\"partition\":%u,\"frames\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
                      ",\"records_damaged\":%" PRIu64 "}"
                    : "%s%s/%u: %" PRIu64 " frames, %" PRIu64 " records, %" PRIu64 " bytes, %" PRIu64
                      " records damaged\n",
               json && !first ? ",\n " : "", list.at[i].topic, list.at[i].partition, result.frames, result.records,
               result.bytes, result.records_damaged);
        first = false;
    }
    printf("%s", json ? "]\n" : "");
    log_close(log);
    free(list.at);
    if (rc < 0)
        return command_failed(&err);
    if (only != NULL && first)
        return args_wrong(args, "there is no topic \"%s\"; `penstock log info` lists them", only);
    if (damaged == 0)
        return EXIT_DONE;
    fprintf(stderr, "penstock: %" PRIu64 " records are damaged; all others are whole and are served\n", damaged);
    return EXIT_FAILED;
}

/* --- dump -------------------------------------------------------------------------------------- */

static void text_member(struct buf *out, const char *key, struct span text)
{
    buf_add_format(out, ",\"%s\":", key);
    json_write_string(out, text);
}

/* An accepted record, everything that capture wrote and the client's own JSON. */
static void record_json(const struct record *record, struct buf *out)
{
    char uuid[UUID_TEXT_BYTES];

    uuid_format(&record->uuid, uuid);
    buf_add_format(out, "\"kind\":\"%s\",\"uuid\":\"%.*s\",\"project_id\":%u,\"flags\":%u",
                   record->kind == RECORD_EVENT ? "event" : "rejected", UUID_TEXT_BYTES, uuid, record->project,
                   record->flags);
    text_member(out, "event", record->event);
    text_member(out, "distinct_id", record->distinct_id);
    text_member(out, "token", record->token);
    text_member(out, "ip", record->ip);
    field_write_time(out, "received_at", record->received_us);
    field_write_time(out, "timestamp", record->timestamp_us);
    field_write_time(out, "sent_at", record->sent_at_us);
    buf_add_format(out, ",\"request\":\"%016" PRIx64 "\",\"index\":%u", record->request, record->index);
    if (record->kind == RECORD_REJECTED) {
        text_member(out, "reason", span_text(record_rejection_tag(record->rejection)));
        text_member(out, "detail", record->detail);
        text_member(out, "data", record->data);
    } else {
        if (record->detail.bytes > 0)
            text_member(out, "session_id", record->detail); /* of a recording */
        buf_add_text(out, ",\"data\":");
        json_write_compact(out, record->data);
    }
}

static void hex_json(struct span body, struct buf *out)
{
    buf_add_format(out, "\"bytes\":%zu,\"hex\":\"", body.bytes);
    for (size_t i = 0; i < body.bytes; i++)
        buf_add_format(out, "%02x", body.at[i]);
    buf_add_byte(out, '"');
}

/* A topic of accepted records: 1, and `body` is the record itself; 0: another topic; -1: it cannot be read. */
static int record_body(const char *topic, struct span *body, struct buf *out, struct err *err)
{
    struct record_moved moved;

    if (strcmp(topic, "replay") == 0 || strcmp(topic, input_topic(INPUT_RAW)) == 0 || strcmp(topic, input_topic(INPUT_HISTORICAL)) == 0)
        return 1;
    if (strcmp(topic, input_topic(INPUT_OVERFLOW)) != 0)
        return 0;
    if (record_moved_read(*body, &moved, err) < 0)
        return -1;
    *body = moved.body;
    buf_add_format(out, "\"accepted_in\":\"%s\",\"accepted_offset\":%" PRIu64 ",", input_topic(place_input(moved.place)),
                   place_offset(moved.place));
    return 1;
}

struct dump {
    const char        *topic;
    bool               hex;
    unsigned long long from, count; /* of each partition; of all: what is left to print */
    uint32_t           partitions, partition;
};

static int dump_record(const struct dump *dump, uint64_t offset, struct span body, struct buf *out, struct err *err)
{
    struct record record;
    struct row    row;
    int           is_record;

    buf_reset(out);
    buf_add_byte(out, '{');
    if (dump->partitions > 1)
        buf_add_format(out, "\"partition\":%u,", dump->partition);
    buf_add_format(out, "\"offset\":%" PRIu64 ",", offset);
    if (body.bytes == 0) { /* its person was erased; the place stays (log/log.h, log_erase) */
        buf_add_text(out, "\"erased\":true");
    } else if (dump->hex) {
        hex_json(body, out);
    } else if ((is_record = record_body(dump->topic, &body, out, err)) != 0) {
        if (is_record < 0 || record_read(body, &record, err) < 0)
            return -1;
        record_json(&record, out);
    } else {
        if (row_read(body, &row, err) < 0)
            return -1;
        buf_add_format(out, "\"table\":\"%s\",\"row\":", row_tables[row.table].name);
        row_write_json(&row, out);
    }
    buf_add_text(out, "}\n");
    if (out->failed)
        return err_set(err, ERR_FULL, "too large to print; try --hex");
    return command_write_json(buf_span(out), err);
}

/* One partition, as far as it goes now. */
static int dump_partition(struct log *log, struct dump *dump, struct err *err)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct buf         out;
    struct span        body;
    uint64_t           offset;
    uint64_t           next = dump->from;
    int                rc = 0;

    if (log_reader_open(log, dump->topic, dump->partition, dump->from, &reader, err) < 0)
        return -1;
    buf_init(&out, 256 << 20);
    while (dump->count > 0 && (rc = account_reader_next(reader, next, 0, &chunk, err)) > 0) {
        next = chunk.base + chunk.count;
        if (chunk.kind == LOG_GAP) {
            printf("{\"offset\":%" PRIu64 ",\"gap\":%u,\"why\":\"%s\"}\n", chunk.base, chunk.count, chunk.why);
            continue;
        }
        while (dump->count > 0 && log_chunk_next(&chunk, &offset, &body)) {
            struct err reason = { .kind = ERR_NONE };

            dump->count--;
            if (dump_record(dump, offset, body, &out, &reason) == 0)
                continue;
            if (reason.kind == ERR_STOP) { /* nobody reads on */
                rc = err_set(err, reason.kind, "%s", reason.text);
                goto done;
            }
            fprintf(stderr, "penstock: offset %" PRIu64 ": %s\n", offset, reason.text);
        }
    }
done:
    buf_fini(&out);
    log_reader_close(reader);
    return rc < 0 ? -1 : 0;
}

int log_dump_run(const struct command_args *args)
{
    struct partition_list        list = { .count = 0 };
    struct dump                  dump = { .topic = args_at(args, 0), .hex = args_has(args, "--hex") };
    struct log                  *log;
    struct err                   err = { .kind = ERR_NONE };
    bool                         known = false;
    int                          code = EXIT_DONE;

    if (args_number(args, "--from", 0, UINT64_MAX, &dump.from) < 0 ||
        args_number(args, "--count", UINT64_MAX, UINT64_MAX, &dump.count) < 0)
        return EXIT_USAGE;
    if (account_log_open(args_data(args), &log, &err) < 0)
        return command_failed(&err);
    if (partitions_read(log, &list, &err) < 0) {
        free(list.at);
        log_close(log);
        return command_failed(&err);
    }
    for (size_t i = 0; i < list.count; i++)
        known |= strcmp(list.at[i].topic, dump.topic) == 0;
    free(list.at);
    if (!known)
        code = args_wrong(args, "there is no topic \"%s\"; `penstock log info` lists them", dump.topic);
    dump.partitions = log_partitions(log);
    for (; known && code == EXIT_DONE && dump.partition < dump.partitions; dump.partition++)
        if (dump_partition(log, &dump, &err) < 0)
            code = command_failed(&err);
    log_close(log);
    return code;
}
