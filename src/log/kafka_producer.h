/* log/kafka_producer.h - the client that a log's writers share, and the thread that hears what became of their messages; for the
 * log's own files only.
 *
 * Messages of one partition arrive in the order in which they were sent, or not at all: who is told that one failed opens a
 * new writer, whose frames tell that they are another's (kafka_writer.h). */
#ifndef PENSTOCK_LOG_KAFKA_PRODUCER_H
#define PENSTOCK_LOG_KAFKA_PRODUCER_H

#include "log/kafka_log.h"

enum {
    KAFKA_SEND_MS_MAX = 20000, /* from sending to the last attempt */
    KAFKA_PRODUCERS_SPENT_MAX = 4 /* whose place another one took, kept until the log is closed: threads and connections */
};

/* Told once for each message that was sent; NO_ERROR: all replicas in sync have it. @thread the producer's */
struct kafka_delivery {
    void (*done)(struct kafka_delivery *delivery, rd_kafka_resp_err_t error);
};

struct kafka_producer;

/* The log's; made when there is none yet, and anew when librdkafka says of it that it cannot go on ("fatal": it has lost count of what
 * the brokers have): whoever opens his writers anew then sends again. ERR_STOP: that was so too often. */
int  kafka_producer_of(struct kafka_log *log, struct kafka_producer **out, struct err *err) must_check;
void kafka_producer_close(struct kafka_producer *producer); /* and those before it; waits for nobody: with the log, after its writers */
rd_kafka_t *kafka_producer_client(struct kafka_producer *producer);

int kafka_producer_topic(struct kafka_producer *producer, const char *name, rd_kafka_topic_t **out, struct err *err) must_check;
/* message_take: from malloc, gone on success only. ERR_FULL: too much is under way. */
int kafka_producer_send(struct kafka_producer *producer, rd_kafka_topic_t *topic, int32_t partition, struct span key,
                        uint8_t *message_take, size_t bytes, rd_kafka_headers_t *headers_take, struct kafka_delivery *delivery,
                        struct err *err) must_check;

#endif
