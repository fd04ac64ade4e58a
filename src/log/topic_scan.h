/* log/topic_scan.h - every message that is in a topic of Kafka now, of whoever wrote it: for commands that look at topics. */
#ifndef PENSTOCK_LOG_TOPIC_SCAN_H
#define PENSTOCK_LOG_TOPIC_SCAN_H

#include "log/log.h"

/* 0: go on; -1: stop, with *err set. Spans live until return. */
typedef int topic_scan_seen(void *ctx, const struct log_message *message, struct err *err);

/* name: the topic's own, with whatever prefix it has. client_properties as in log_kafka_options, or NULL. since_us: messages older
 * than that by the broker's time are passed over; 0: none. Partition by partition, each up to its end when it was begun.
 * ERR_INPUT: there is no such topic. ERR_RETRY: nobody answers. May block. */
int topic_scan(const char *brokers, const char *const *client_properties, const char *name, int64_t since_us, topic_scan_seen *seen,
               void *ctx, struct err *err) must_check;

#endif
