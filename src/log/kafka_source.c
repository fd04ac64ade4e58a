/* log/kafka_source.c - see kafka_source.h.
 *
 * librdkafka's plain consumer (rd_kafka_consume_start) and no consumer group: what a process reads is decided elsewhere
 * (log_group.h), and where it stands is in a transaction of its own. A group's client would read all its partitions into
 * one line, and give up those that are not polled for a while. */
#include "log/kafka_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "log/kafka_client.h"

enum { ASK_MS = 5000, LOOK_EVERY_US = 1000000, BOUNDS_FRESH_US = 500000 };

struct kafka_used {
    char    name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    int32_t partition;
};

struct kafka_client {
    struct kafka_client *next;
    rd_kafka_t          *handle;
    struct kafka_used   *used; /* @lock log->lock */
    size_t               used_count;
};

/* --- clients ----------------------------------------------------------------------------------- */

static bool client_reads(const struct kafka_client *client, const char *name, int32_t partition)
{
    for (size_t i = 0; i < client->used_count; i++)
        if (client->used[i].partition == partition && strcmp(client->used[i].name, name) == 0)
            return true;
    return false;
}

/* Fetched ahead, of each partition: a few frames. The brokers hold an answer back for a moment when there is nothing new. */
static int client_connect(struct kafka_log *log, struct kafka_client *client, struct err *err)
{
    rd_kafka_conf_t *conf;

    if (kafka_client_conf(log->options->brokers, log->options->client_properties, KAFKA_CLIENT_CONSUMER, &conf, err) < 0)
        return -1;
    if (kafka_client_set(conf, "queued.max.messages.kbytes", "16384", err) < 0 ||
        kafka_client_set(conf, "queued.min.messages", "10000", err) < 0 ||
        kafka_client_set(conf, "fetch.message.max.bytes", "4194304", err) < 0 ||
        kafka_client_set(conf, "fetch.wait.max.ms", "100", err) < 0 ||
        kafka_client_set(conf, "auto.offset.reset", "error", err) < 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    return kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &client->handle, err);
}

static int client_new(struct kafka_log *log, struct kafka_client **out, struct err *err)
{
    struct kafka_client *client = calloc(1, sizeof *client);

    if (client == NULL)
        return err_set(err, ERR_FULL, "no memory for a client of Kafka");
    if (client_connect(log, client, err) < 0) {
        free(client);
        return -1;
    }
    client->next = log->clients;
    *out = log->clients = client;
    return 0;
}

int kafka_clients_warm(struct kafka_log *log, struct err *err)
{
    const struct rd_kafka_metadata *found;
    struct kafka_client            *client;
    rd_kafka_resp_err_t             error;
    int                             rc = 0;

    pthread_mutex_lock(&log->lock);
    client = log->clients;
    if (client == NULL)
        rc = client_new(log, &client, err);
    pthread_mutex_unlock(&log->lock);
    if (rc < 0)
        return -1;
    error = rd_kafka_metadata(client->handle, 1, NULL, &found, ASK_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_client_err(err, log->options->brokers, error);
    rd_kafka_metadata_destroy(found);
    return 0;
}

static int client_take(struct kafka_log *log, const char *name, int32_t partition, struct kafka_client **out, struct err *err)
{
    struct kafka_client *client = log->clients;
    struct kafka_used   *grown;

    while (client != NULL && client_reads(client, name, partition))
        client = client->next;
    if (client == NULL && client_new(log, &client, err) < 0)
        return -1;
    grown = realloc(client->used, (client->used_count + 1) * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_FULL, "no memory for a client of Kafka");
    client->used = grown;
    (void)snprintf(grown[client->used_count].name, sizeof grown->name, "%s", name);
    grown[client->used_count++].partition = partition;
    *out = client;
    return 0;
}

static void client_give(struct kafka_log *log, struct kafka_client *client, const char *name, int32_t partition)
{
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < client->used_count; i++)
        if (client->used[i].partition == partition && strcmp(client->used[i].name, name) == 0) {
            client->used[i] = client->used[--client->used_count];
            break;
        }
    pthread_mutex_unlock(&log->lock);
}

void kafka_clients_close(struct kafka_log *log)
{
    while (log->clients != NULL) {
        struct kafka_client *client = log->clients;

        log->clients = client->next;
        rd_kafka_destroy(client->handle);
        free(client->used);
        free(client);
    }
}

/* --- a source ---------------------------------------------------------------------------------- */

int kafka_source_open(struct kafka_source *source, struct kafka_log *log, const char *topic, uint32_t partition, struct err *err)
{
    int rc;

    *source = (struct kafka_source){ .log = log, .partition = (int32_t)partition };
    if (kafka_topic_name(log, topic, source->name, err) < 0)
        return -1;
    (void)snprintf(source->label, sizeof source->label, "%.64s/%u", topic, partition);
    pthread_mutex_lock(&log->lock);
    rc = client_take(log, source->name, source->partition, &source->client, err);
    pthread_mutex_unlock(&log->lock);
    if (rc < 0)
        return -1;
    source->topic = rd_kafka_topic_new(source->client->handle, source->name, NULL);
    if (source->topic != NULL)
        return 0;
    client_give(log, source->client, source->name, source->partition);
    return kafka_client_err(err, source->label, rd_kafka_last_error());
}

static void source_stop(struct kafka_source *source)
{
    while (source->batch_at < source->batch_count)
        rd_kafka_message_destroy(source->batch[source->batch_at++]);
    if (source->started)
        (void)rd_kafka_consume_stop(source->topic, source->partition);
    source->started = false;
}

void kafka_source_close(struct kafka_source *source)
{
    if (source->topic == NULL)
        return;
    source_stop(source);
    rd_kafka_topic_destroy(source->topic);
    source->topic = NULL;
    client_give(source->log, source->client, source->name, source->partition);
}

static bool topic_missing(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
           error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

/* Why a partition is not known: librdkafka calls one whose leader is away so, too, and that one is not empty. */
static rd_kafka_resp_err_t why_unknown(struct kafka_source *source)
{
    const struct rd_kafka_metadata *found;
    rd_kafka_resp_err_t             error = rd_kafka_metadata(source->client->handle, 0, source->topic, &found, ASK_MS);

    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error;
    error = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    for (int i = 0; i < found->topic_cnt; i++) {
        if (found->topics[i].err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
            error = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        for (int p = 0; p < found->topics[i].partition_cnt; p++)
            if (found->topics[i].partitions[p].id == source->partition)
                error = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    }
    rd_kafka_metadata_destroy(found);
    return error;
}

int kafka_source_bounds(struct kafka_source *source, struct err *err)
{
    rd_kafka_resp_err_t error;

    source->bounds_us = 0;
    if (kafka_missing_known(source->log, source->name)) { /* of many sources on a topic one asks */
        source->low = source->high = 0;
        return 0;
    }
    error = rd_kafka_query_watermark_offsets(source->client->handle, source->name, source->partition, &source->low, &source->high,
                                             ASK_MS);
    if (error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        error = why_unknown(source);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        source->bounds_us = clock_mono_us();
        return 1;
    }
    source->low = source->high = 0;
    if (topic_missing(error)) {
        kafka_missing_note(source->log, source->name);
        return 0;
    }
    return kafka_client_err(err, source->label, error);
}

int kafka_source_seek(struct kafka_source *source, int64_t offset, struct err *err)
{
    int rc = 1;

    source_stop(source);
    if (source->bounds_us == 0 || clock_mono_us() - source->bounds_us > BOUNDS_FRESH_US)
        rc = kafka_source_bounds(source, err);
    source->next = offset;
    if (rc < 1)
        return rc;
    if (rd_kafka_consume_start(source->topic, source->partition, offset) < 0)
        return kafka_client_err(err, source->label, rd_kafka_last_error());
    source->started = true;
    return 1;
}

uint64_t kafka_source_lag(struct kafka_source *source)
{
    int64_t low, high;

    if (source->topic == NULL)
        return 0;
    if (rd_kafka_get_watermark_offsets(source->client->handle, source->name, source->partition, &low, &high) ==
            RD_KAFKA_RESP_ERR_NO_ERROR &&
        high > source->high)
        source->high = high;
    return source->high > source->next ? (uint64_t)(source->high - source->next) : 0;
}

/* Offsets of a transaction's own messages are counted, but never come: that is waited for once. */
bool kafka_source_behind(struct kafka_source *source)
{
    return kafka_source_lag(source) > 0 && source->high != source->stuck;
}

/* The place is outside of what the brokers have. */
static int source_outside(struct kafka_source *source, struct err *err)
{
    int64_t next = source->next;
    int     rc = kafka_source_bounds(source, err);

    if (rc < 1)
        return rc < 0 ? -1 : err_set(err, ERR_CORRUPT, "%s: the topic is gone from Kafka, though %" PRId64 " messages of it were read", source->label, next);
    if (next > source->high)
        return err_set(err, ERR_CORRUPT, "%s: Kafka's topic ends at message %" PRId64 ", but was read up to %" PRId64
                       " before: it was made anew, or lost its end", source->label, source->high, next);
    rc = kafka_source_seek(source, next < source->low ? source->low : next, err);
    if (rc < 1)
        return rc;
    return source->next > next ? 2 : 0;
}

/* A message that is an error. As kafka_source_next. */
static int source_error(struct kafka_source *source, rd_kafka_resp_err_t error, struct err *err)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        return 0;
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        return source_outside(source, err);
    default:
        return kafka_client_err(err, source->label, error);
    }
}

/* Waits for one message, and takes with it what else is there: rd_kafka_consume_batch by itself would wait until its whole batch is
 * full, though a message has come. How many, or -1. */
static ssize_t batch_fetch(struct kafka_source *source, int64_t wait_us)
{
    ssize_t got = rd_kafka_consume_batch(source->topic, source->partition, 0, source->batch, KAFKA_SOURCE_BATCH), more;

    if (got != 0 || wait_us < 1000)
        return got;
    source->batch[0] = rd_kafka_consume(source->topic, source->partition, (int)(wait_us / 1000));
    if (source->batch[0] == NULL)
        return rd_kafka_last_error() == RD_KAFKA_RESP_ERR__TIMED_OUT ? 0 : -1;
    more = rd_kafka_consume_batch(source->topic, source->partition, 0, source->batch + 1, KAFKA_SOURCE_BATCH - 1);
    return more > 0 ? 1 + more : 1;
}

int kafka_source_next(struct kafka_source *source, int64_t wait_us, rd_kafka_message_t **out, struct err *err)
{
    rd_kafka_message_t *message;
    ssize_t             got;
    int                 rc;

    if (!source->started) {
        int64_t now_us = clock_mono_us();

        if (source->looked_us != 0 && now_us - source->looked_us < LOOK_EVERY_US)
            return 0;
        source->looked_us = now_us;
        rc = kafka_source_seek(source, source->next, err);
        if (rc < 0)
            source->looked_us = 0;
        if (rc < 1)
            return rc;
    }
    if (source->batch_at == source->batch_count) {
        source->batch_at = source->batch_count = 0;
        got = batch_fetch(source, wait_us);
        if (got < 0)
            return kafka_client_err(err, source->label, rd_kafka_last_error());
        if (got == 0) {
            if (wait_us >= KAFKA_BEHIND_WAIT_US && kafka_source_lag(source) > 0)
                source->stuck = source->high;
            return 0;
        }
        source->batch_count = (size_t)got;
    }
    message = source->batch[source->batch_at++];
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_resp_err_t error = message->err;

        rd_kafka_message_destroy(message);
        return source_error(source, error, err);
    }
    if (message->offset < source->next) { /* a compressed batch begins before the place that was asked for */
        rd_kafka_message_destroy(message);
        return kafka_source_next(source, wait_us, out, err);
    }
    source->next = message->offset + 1;
    *out = message;
    return 1;
}
