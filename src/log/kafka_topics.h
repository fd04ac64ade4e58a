/* log/kafka_topics.h - topics at the brokers: made with the settings that Penstock needs, and looked at when they are there; for
 * the log's own files only.
 *
 * A topic that is missing is made. One that is there is never changed: what is wrong with it is told, each time with what
 * it is, what it should be, and the command that mends it. Wrong is what would lose events or wedge writers:
 *    partitions            another number: keys would go elsewhere than everybody expects. Penstock does not start (ERR_INPUT)
 *    replication           fewer copies than asked for
 *    min.insync.replicas   lower: one broker's death could lose what was answered; not below replication: one broker's
 *                          absence stops all writing
 *    retention.ms, .bytes  shorter: what was not read yet would be deleted
 *    max.message.bytes     smaller than the largest record
 *    cleanup.policy        not `delete`: records would vanish */
#ifndef PENSTOCK_LOG_KAFKA_TOPICS_H
#define PENSTOCK_LOG_KAFKA_TOPICS_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "base/err.h"

struct kafka_topic_wish {
    const char *name;         /* at the brokers */
    uint32_t    partitions;
    bool        partitions_any; /* of one that is there: whatever it has; `partitions` is for one that is made */
    uint32_t    replication;  /* 0: as the brokers' default says */
    uint32_t    insync_min;   /* 0: one less than replication, at least 1 */
    int64_t     retention_ms; /* -1: for ever; 0: whatever it is (made: the brokers' default) */
    int64_t     retention_bytes; /* of a partition; -1: any size; 0: whatever it is */
    int64_t     message_bytes_max; /* 0: whatever it is */
};

struct kafka_topic_found {
    bool     made, missing; /* missing: it is not there, and could not be made */
    uint32_t partitions;
    int64_t  message_bytes_max; /* what it takes; 0: not known */
    unsigned wrong;             /* things that were told */
};

/* For each thing that is wrong: one sentence for people. */
typedef void kafka_topics_told(void *ctx, const char *text);

/* `found` has as many as wishes. told NULL: settings are not looked at. ERR_RETRY: the brokers do not answer within wait_us, or we may not make
 * a topic. ERR_INPUT: a topic cannot be used as it is, or cannot be made. client: any kind. brokers: for the commands that are named. */
int kafka_topics_ensure(rd_kafka_t *client, const char *brokers, const struct kafka_topic_wish *wishes, size_t count, int64_t wait_us,
                        kafka_topics_told *told, void *ctx, struct kafka_topic_found *found, struct err *err) must_check;

enum { KAFKA_TOPIC_COMMAND_BYTES = 1000 };
/* The command by which a person makes such a topic, with the settings that it would have from us. */
void kafka_topic_command(const struct kafka_topic_wish *wish, const char *brokers, char command[KAFKA_TOPIC_COMMAND_BYTES]);

#endif
