/* log/kafka_message.h - a message of the client library as the plain message of log.h, and back; for the log's own files only. */
#ifndef PENSTOCK_LOG_KAFKA_MESSAGE_H
#define PENSTOCK_LOG_KAFKA_MESSAGE_H

#include <librdkafka/rdkafka.h>

#include "log/log.h"

enum { KAFKA_MESSAGE_MORE = 100 /* bytes that a message without headers has around it, at most */ };

/* Spans live as long as `from`. A key or a header without a value (null) has NULL as its span's place; a message without a value
 * has an empty one. Headers that log_message has no room for are left out. */
void kafka_message_fill(const rd_kafka_message_t *from, struct log_message *out);

/* Its bytes in a request, or more. */
size_t kafka_message_bytes(const struct log_message *message);
/* Its headers, copied; the caller's. NULL: no memory. */
rd_kafka_headers_t *kafka_message_headers(const struct log_message *message);

#endif
