/* log/kafka_source.h - the messages of one partition, from a place on; for the log's own files only.
 *
 * A reader has one. Clients (librdkafka's handles, each with connections and threads of its own) are shared by the sources of a
 * log, but a client reads a partition only once: who opens a second source on it gets another client.
 *
 *   closed --seek--> started: messages are fetched ahead, within the client's bounds
 *   started --seek--> started elsewhere
 *
 * A topic that is not there yet has no messages; it is looked for every second.
 * @thread one a source; the log's list of clients has a lock */
#ifndef PENSTOCK_LOG_KAFKA_SOURCE_H
#define PENSTOCK_LOG_KAFKA_SOURCE_H

#include "log/kafka_log.h"

enum { KAFKA_SOURCE_BATCH = 64, KAFKA_BEHIND_WAIT_US = 1000000 };

struct kafka_source {
    struct kafka_log    *log; /* borrowed */
    struct kafka_client *client;
    rd_kafka_topic_t    *topic;
    char                 name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    char                 label[LOG_TOPIC_NAME_BYTES_MAX + 16]; /* "topic/0" for messages */
    int32_t              partition;
    bool                 started;
    int64_t              next; /* the message expected next */
    int64_t              low, high; /* as the brokers said last; high: of the message that will come next */
    int64_t              stuck;     /* nothing came although messages up to here (high) are said to be there; 0: no */
    int64_t              looked_us; /* of the monotonic clock: when the topic was not there */
    int64_t              bounds_us; /* of the monotonic clock: when low and high were asked for; 0: never */
    rd_kafka_message_t  *batch[KAFKA_SOURCE_BATCH];
    size_t               batch_count, batch_at;
};

int  kafka_source_open(struct kafka_source *source, struct kafka_log *log, const char *topic, uint32_t partition,
                       struct err *err) must_check;
void kafka_source_close(struct kafka_source *source);

/* Asks the brokers for low and high. 1; 0: there is no such topic or partition (yet); -1: ERR_RETRY, nobody answers. */
int kafka_source_bounds(struct kafka_source *source, struct err *err) must_check;
/* The next message will be that of this offset, or the first behind it. 1, 0, -1 as kafka_source_bounds. */
int kafka_source_seek(struct kafka_source *source, int64_t offset, struct err *err) must_check;
/* 1: *out is the caller's, to be given back by rd_kafka_message_destroy; 0: none within wait_us; 2: messages from `next` up to
 * `low` were deleted, and the source goes on at low; -1: ERR_RETRY, or ERR_CORRUPT: the topic ends before `next`. */
int kafka_source_next(struct kafka_source *source, int64_t wait_us, rd_kafka_message_t **out, struct err *err) must_check;
/* Messages that wait, as far as is known without asking: at least 1 when there are any. */
uint64_t kafka_source_lag(struct kafka_source *source);
/* There are messages, so waiting for one is not waiting for somebody to write it. */
bool kafka_source_behind(struct kafka_source *source);

/* With the log: */
void kafka_clients_close(struct kafka_log *log);
/* There is a client, and it is connected. ERR_RETRY: not yet. */
int  kafka_clients_warm(struct kafka_log *log, struct err *err) must_check;

#endif
