/* command/retention_command.c - penstock retention confirm, and what status and doctor say of the same. */
#include "command/retention_command.h"

#include <inttypes.h>
#include <stdio.h>

#include "command/account.h"
#include "command/command.h"

enum { CONFIRM_TOPICS_MAX = 64 };

struct held_topics {
    struct retention_held held;
    char                  topics[CONFIRM_TOPICS_MAX][LOG_TOPIC_NAME_BYTES_MAX + 1]; /* partition 0 of each: on one machine there is no other */
    size_t                count;
};

static void held_seen(void *ctx, const struct log_partition_info *info, const struct log_cursor_info *cursors, size_t cursor_count)
{
    struct held_topics *topics = ctx;

    (void)cursors;
    (void)cursor_count;
    topics->held.segments += info->held_segments;
    topics->held.bytes += info->held_bytes;
    if (info->held_us > topics->held.us)
        topics->held.us = info->held_us;
    if (info->clock_jumped && topics->count < CONFIRM_TOPICS_MAX)
        (void)snprintf(topics->topics[topics->count++], sizeof topics->topics[0], "%s", info->topic);
}

void retention_held_read(struct log *log, struct retention_held *out)
{
    struct held_topics topics = { .count = 0 };
    struct err         ignored = { .kind = ERR_NONE };

    *out = log_clock_info(log, held_seen, &topics, &ignored) < 0 ? (struct retention_held){ 0 } : topics.held;
}

int retention_confirm_run(const struct command_args *args)
{
    struct held_topics topics = { .count = 0 };
    struct log        *log;
    struct err         err = { .kind = ERR_NONE };
    bool               kafka;
    int                rc;

    if (account_log_open(args_data(args), &log, &err) < 0)
        return command_failed(&err);
    kafka = log_is_kafka(log);
    rc = log_clock_info(log, held_seen, &topics, &err);
    for (size_t i = 0; rc == 0 && i < topics.count; i++)
        rc = log_clock_confirm(log, topics.topics[i], 0, &err); /* whose file it is does not matter: that it is there is what is read */
    log_close(log);
    if (rc < 0)
        return command_failed(&err);
    if (args_has(args, "--json"))
        printf("{\"topics\":%zu,\"held_segments\":%" PRIu64 ",\"held_bytes\":%" PRIu64 "}\n", topics.count, topics.held.segments, topics.held.bytes);
    else if (kafka)
        printf("the log is on Kafka, whose brokers delete by their own clocks: there is nothing to confirm\n");
    else if (topics.count == 0)
        printf("the clock did not jump: there is nothing to confirm\n");
    else
        printf("confirmed for %zu topics; %" PRIu64 " segments (%" PRIu64 " MiB) that were held go when the server next looks, within seconds while it runs\n",
               topics.count, topics.held.segments, topics.held.bytes >> 20);
    return EXIT_DONE;
}
