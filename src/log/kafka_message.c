/* log/kafka_message.c - see kafka_message.h. */
#include "log/kafka_message.h"

#include <string.h>

enum { HEADER_MORE = 5 /* around a header's name or value */ };
enum { HEADERS_MAX = sizeof ((struct log_message *)0)->headers / sizeof ((struct log_message *)0)->headers[0] };

void kafka_message_fill(const rd_kafka_message_t *from, struct log_message *out)
{
    rd_kafka_headers_t *headers;
    const char         *name;
    const void         *value;
    size_t              bytes;

    *out = (struct log_message){ .key = { from->key, from->key == NULL ? 0 : from->key_len },
                                 .value = span_of(from->payload == NULL ? "" : from->payload, from->payload == NULL ? 0 : from->len),
                                 .timestamp_us = rd_kafka_message_timestamp(from, NULL) * 1000 };
    if (rd_kafka_message_headers(from, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    while (out->header_count < HEADERS_MAX &&
           rd_kafka_header_get_all(headers, out->header_count, &name, &value, &bytes) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        out->headers[out->header_count].name = span_of(name, strlen(name));
        out->headers[out->header_count++].value = (struct span){ value, value == NULL ? 0 : bytes };
    }
}

size_t kafka_message_bytes(const struct log_message *message)
{
    size_t bytes = message->key.bytes + message->value.bytes + KAFKA_MESSAGE_MORE;

    for (size_t i = 0; i < message->header_count; i++)
        bytes += message->headers[i].name.bytes + message->headers[i].value.bytes + (size_t)(2 * HEADER_MORE);
    return bytes;
}

rd_kafka_headers_t *kafka_message_headers(const struct log_message *message)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(message->header_count);

    for (size_t i = 0; headers != NULL && i < message->header_count; i++) {
        struct span name = message->headers[i].name, value = message->headers[i].value;

        (void)rd_kafka_header_add(headers, (const char *)name.at, (ssize_t)name.bytes, value.at, value.at == NULL ? -1 : (ssize_t)value.bytes);
    }
    return headers;
}
