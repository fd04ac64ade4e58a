/* log/kafka_message.h - a message of the client library as the plain message of log.h; for the log's own files only. */
#ifndef PENSTOCK_LOG_KAFKA_MESSAGE_H
#define PENSTOCK_LOG_KAFKA_MESSAGE_H

#include <librdkafka/rdkafka.h>

#include "log/log.h"

/* Spans live as long as `from`. A key or a header without a value (null) has NULL as its span's place; a message without a value
 * has an empty one. Headers that log_message has no room for are left out. */
void kafka_message_fill(const rd_kafka_message_t *from, struct log_message *out);

#endif
