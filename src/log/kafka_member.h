/* log/kafka_member.h - a client that shares partitions with the others of its group; for the log's own files only. */
#ifndef PENSTOCK_LOG_KAFKA_MEMBER_H
#define PENSTOCK_LOG_KAFKA_MEMBER_H

#include <librdkafka/rdkafka.h>

#include "log/log.h"

/* Settings of a member of PREFIXpenstock.GROUP, as kafka_client_conf() has them; the caller adds what is its own. A member that says
 * nothing for KAFKA_GROUP_SECONDS has left; heartbeat_ms: how often it says something, and hears that partitions move. */
int kafka_member_conf(const struct log_kafka_options *options, const char *group, int heartbeat_ms, rd_kafka_conf_t **out,
                      struct err *err) must_check;

#endif
