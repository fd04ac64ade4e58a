/* log/kafka_log.h - the log on Kafka; for the log's own files only (log.h has the functions).
 *
 *   kafka_log.c        open, close, cursors, info, verify        kafka_client.c   settings of librdkafka's clients
 *   kafka_reader.c     the reading end                           kafka_topics.c   topics: made, and checked
 *   kafka_writer.c     the writing end of topics with one writer kafka_commit.c   capture's way in, many writers
 *   kafka_frame.c      the form of messages                      kafka_partition.c  keys to partitions
 *   log_group.c        which partitions are this process's       spool.c          what brokers do not take */
#ifndef PENSTOCK_LOG_KAFKA_LOG_H
#define PENSTOCK_LOG_KAFKA_LOG_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "log/log_ops.h"

enum { KAFKA_TOPIC_NAME_BYTES_MAX = 249 }; /* Kafka's own */

struct kafka_log {
    const struct log_ops           *ops;
    const struct log_kafka_options *options; /* borrowed */
    size_t                          frame_bytes_max;
    pthread_mutex_t                 lock;
    rd_kafka_t                     *producer; /* @lock lock; made when first wanted, shared by writers and committers */
};

static inline struct kafka_log *kafka_log_of(struct log *log)
{
    return (struct kafka_log *)(void *)log;
}

/* Many write it, and Kafka's offset is the order. */
bool kafka_topic_shared(const struct kafka_log *log, const char *topic);
/* Its name at the brokers: prefix and, where hooks say so, another one. */
int kafka_topic_name(const struct kafka_log *log, const char *topic, char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1], struct err *err)
    must_check;

#endif
