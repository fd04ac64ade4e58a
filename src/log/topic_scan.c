/* log/topic_scan.c - see topic_scan.h. A plain consumer and no group: nobody's place moves because somebody looked. */
#include "log/topic_scan.h"

#include <stdio.h>

#include "log/kafka_client.h"
#include "log/kafka_message.h"

enum { ASK_MS = 10000, SILENCE_MS_MAX = 30000 };

struct scan {
    rd_kafka_t       *client;
    rd_kafka_topic_t *topic;
    const char       *name;
    int64_t           since_us;
    topic_scan_seen  *seen;
    void             *ctx;
};

static int messages_see(struct scan *scan, int32_t partition, int64_t end, struct err *err)
{
    struct log_message  message;
    rd_kafka_message_t *at;
    int64_t             offset = -1;
    int                 rc = 0;

    while (rc == 0 && offset < end - 1) {
        at = rd_kafka_consume(scan->topic, partition, SILENCE_MS_MAX);
        if (at == NULL)
            return err_set(err, ERR_RETRY, "%s/%d: no message came for %d s", scan->name, (int)partition, SILENCE_MS_MAX / 1000);
        offset = at->offset;
        if (at->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            rd_kafka_message_destroy(at);
            return 0;
        }
        if (at->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rc = kafka_client_err(err, scan->name, at->err);
        } else if (offset < end) {
            kafka_message_fill(at, &message);
            if (message.timestamp_us >= scan->since_us)
                rc = scan->seen(scan->ctx, &message, err);
        }
        rd_kafka_message_destroy(at);
    }
    return rc;
}

static int partition_scan(struct scan *scan, int32_t partition, struct err *err)
{
    int64_t             low, high;
    rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(scan->client, scan->name, partition, &low, &high, ASK_MS);
    int                 rc;

    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_client_err(err, scan->name, error);
    if (low >= high)
        return 0;
    if (rd_kafka_consume_start(scan->topic, partition, low) < 0)
        return kafka_client_err(err, scan->name, rd_kafka_last_error());
    rc = messages_see(scan, partition, high, err);
    (void)rd_kafka_consume_stop(scan->topic, partition);
    return rc;
}

static int partitions_scan(struct scan *scan, struct err *err)
{
    const struct rd_kafka_metadata *all;
    rd_kafka_resp_err_t             error = rd_kafka_metadata(scan->client, 0, scan->topic, &all, ASK_MS);
    int                             rc = 0;

    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_client_err(err, scan->name, error);
    if (all->topic_cnt != 1 || all->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR || all->topics[0].partition_cnt == 0)
        rc = err_set(err, ERR_INPUT, "%s: there is no such topic", scan->name);
    for (int i = 0; rc == 0 && i < all->topics[0].partition_cnt; i++)
        rc = partition_scan(scan, all->topics[0].partitions[i].id, err);
    rd_kafka_metadata_destroy(all);
    return rc;
}

int topic_scan(const char *brokers, const char *const *client_properties, const char *name, int64_t since_us, topic_scan_seen *seen,
               void *ctx, struct err *err)
{
    struct scan      scan = { .name = name, .since_us = since_us, .seen = seen, .ctx = ctx };
    rd_kafka_conf_t *conf;
    int              rc;

    if (kafka_client_conf(brokers, client_properties, KAFKA_CLIENT_CONSUMER, &conf, err) < 0)
        return -1;
    if (kafka_client_set(conf, "enable.partition.eof", "true", err) < 0 ||
        kafka_client_set(conf, "allow.auto.create.topics", "false", err) < 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    if (kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &scan.client, err) < 0)
        return -1;
    rc = kafka_client_reach(scan.client, brokers, (int64_t)ASK_MS * 1000, err);
    if (rc == 0) {
        scan.topic = rd_kafka_topic_new(scan.client, name, NULL);
        rc = scan.topic == NULL ? kafka_client_err(err, name, rd_kafka_last_error()) : partitions_scan(&scan, err);
        if (scan.topic != NULL)
            rd_kafka_topic_destroy(scan.topic);
    }
    rd_kafka_destroy(scan.client);
    return rc;
}
