/* log/kafka_member.c - see kafka_member.h. */
#include "log/kafka_member.h"

#include <stdio.h>

#include "log/kafka_client.h"
#include "log/kafka_log.h"
#include "log/log_group.h"

int kafka_member_conf(const struct log_kafka_options *options, const char *group, int heartbeat_ms, rd_kafka_conf_t **out, struct err *err)
{
    char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1], session[16], heartbeat[16];

    (void)snprintf(name, sizeof name, "%.150spenstock.%.80s", options->topic_prefix != NULL ? options->topic_prefix : "", group);
    (void)snprintf(session, sizeof session, "%d000", (int)KAFKA_GROUP_SECONDS);
    (void)snprintf(heartbeat, sizeof heartbeat, "%d", heartbeat_ms);
    if (kafka_client_conf(options->brokers, options->client_properties, KAFKA_CLIENT_CONSUMER, out, err) < 0)
        return -1;
    if (kafka_client_set(*out, "group.id", name, err) == 0 && kafka_client_set(*out, "session.timeout.ms", session, err) == 0 &&
        kafka_client_set(*out, "heartbeat.interval.ms", heartbeat, err) == 0 &&
        kafka_client_set(*out, "partition.assignment.strategy", "cooperative-sticky", err) == 0 &&
        kafka_client_set(*out, "topic.metadata.refresh.interval.ms", "5000", err) == 0) /* a topic may be made later */
        return 0;
    rd_kafka_conf_destroy(*out);
    return -1;
}
