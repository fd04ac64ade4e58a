/* log/kafka_producer.c - see kafka_producer.h. One client for all partitions that a process writes: brokers then get fewer and
 * larger requests, and a process with a hundred writers has the threads of one. */
#include "log/kafka_producer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/say.h"
#include "log/kafka_client.h"

struct kafka_producer {
    struct kafka_producer *before; /* whose place this one took; its writers may live yet */
    rd_kafka_t            *client;
    pthread_t              thread;
    atomic_bool            stopping;
};

static void message_done(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_delivery *delivery = message->_private;

    (void)client, (void)opaque;
    delivery->done(delivery, message->err);
}

static void *producer_main(void *arg)
{
    struct kafka_producer *producer = arg;

    while (!atomic_load(&producer->stopping))
        (void)rd_kafka_poll(producer->client, 100);
    return NULL;
}

static int producer_new(const struct log_kafka_options *options, struct kafka_producer **out, struct err *err)
{
    struct kafka_producer *producer = calloc(1, sizeof *producer);
    rd_kafka_conf_t       *conf;
    int                    rc;

    if (producer == NULL)
        return err_set(err, ERR_FULL, "no memory for a producer");
    if (kafka_client_conf(options->brokers, options->client_properties, KAFKA_CLIENT_PRODUCER, &conf, err) < 0) {
        free(producer);
        return -1;
    }
    /* A batch's frames are all there when they are sent, and packed: waiting for more, and packing again, would cost and gain
     * nothing. Messages of the other form come one by one, and the first would be a request of its own. */
    if (kafka_client_set(conf, "linger.ms", options->form == LOG_FORM_FRAMES ? "0" : "1", err) < 0 ||
        (options->form == LOG_FORM_FRAMES && kafka_client_set(conf, "compression.codec", "none", err) < 0)) {
        rd_kafka_conf_destroy(conf);
        free(producer);
        return -1;
    }
    rd_kafka_conf_set_dr_msg_cb(conf, message_done);
    if (kafka_client_new(KAFKA_CLIENT_PRODUCER, conf, &producer->client, err) < 0) {
        free(producer);
        return -1;
    }
    rc = pthread_create(&producer->thread, NULL, producer_main, producer);
    if (rc != 0) {
        rd_kafka_destroy(producer->client);
        free(producer);
        return err_errno(err, rc, "start the producer's thread");
    }
    *out = producer;
    return 0;
}

/* With the lock. A client that once said "fatal" says so of every message from then on. */
static int producer_replace(struct kafka_log *log, struct err *err)
{
    struct kafka_producer *fresh;
    unsigned               spent = 0;
    char                   text[200];

    if (rd_kafka_fatal_error(log->producer->client, text, sizeof text) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    for (const struct kafka_producer *one = log->producer; one != NULL; one = one->before)
        spent++;
    if (spent > KAFKA_PRODUCERS_SPENT_MAX)
        return err_set(err, ERR_STOP, "%u clients of this process that send could not go on, the last one because of: %s", spent, text);
    if (producer_new(log->options, &fresh, err) < 0)
        return -1;
    say(SAY_WARN, "kafka: the client that sends cannot go on (%s): another one takes its place", text);
    fresh->before = log->producer;
    log->producer = fresh;
    return 0;
}

int kafka_producer_of(struct kafka_log *log, struct kafka_producer **out, struct err *err)
{
    int rc;

    pthread_mutex_lock(&log->lock);
    rc = log->producer == NULL ? producer_new(log->options, &log->producer, err) : producer_replace(log, err);
    *out = log->producer;
    pthread_mutex_unlock(&log->lock);
    return rc;
}

rd_kafka_t *kafka_producer_client(struct kafka_producer *producer)
{
    return producer->client;
}

static void producer_end(struct kafka_producer *producer)
{
    atomic_store(&producer->stopping, true);
    pthread_join(producer->thread, NULL);
    /* What nobody waits for any more is told as failed, here, so that its owner's memory goes. */
    (void)rd_kafka_purge(producer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    (void)rd_kafka_flush(producer->client, 1000);
    rd_kafka_destroy(producer->client);
    free(producer);
}

void kafka_producer_close(struct kafka_producer *producer)
{
    while (producer != NULL) {
        struct kafka_producer *before = producer->before;

        producer_end(producer);
        producer = before;
    }
}

int kafka_producer_topic(struct kafka_producer *producer, const char *name, rd_kafka_topic_t **out, struct err *err)
{
    rd_kafka_topic_conf_t *conf = rd_kafka_topic_conf_new();
    char                   number[16], text[200];

    (void)snprintf(number, sizeof number, "%d", (int)KAFKA_SEND_MS_MAX);
    if (rd_kafka_topic_conf_set(conf, "message.timeout.ms", number, text, sizeof text) != RD_KAFKA_CONF_OK ||
        rd_kafka_topic_conf_set(conf, "acks", "all", text, sizeof text) != RD_KAFKA_CONF_OK ||
        rd_kafka_topic_conf_set(conf, "request.timeout.ms", "5000", text, sizeof text) != RD_KAFKA_CONF_OK) {
        rd_kafka_topic_conf_destroy(conf);
        return err_set(err, ERR_INPUT, "%s: %s", name, text);
    }
    *out = rd_kafka_topic_new(producer->client, name, conf);
    if (*out != NULL)
        return 0;
    rd_kafka_topic_conf_destroy(conf);
    return kafka_client_err(err, name, rd_kafka_last_error());
}

int kafka_producer_send(struct kafka_producer *producer, rd_kafka_topic_t *topic, int32_t partition, struct span key,
                        uint8_t *message_take, size_t bytes, rd_kafka_headers_t *headers_take, struct kafka_delivery *delivery,
                        struct err *err)
{
    rd_kafka_resp_err_t error;

    if (headers_take != NULL)
        error = rd_kafka_producev(producer->client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key.at, key.bytes),
                                  RD_KAFKA_V_VALUE(message_take, bytes), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_FREE),
                                  RD_KAFKA_V_HEADERS(headers_take), RD_KAFKA_V_OPAQUE(delivery), RD_KAFKA_V_END);
    else
        error = rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_FREE, message_take, bytes, key.bytes > 0 ? key.at : NULL,
                                 key.bytes, delivery) == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error();
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : kafka_client_err(err, rd_kafka_topic_name(topic), error);
}
