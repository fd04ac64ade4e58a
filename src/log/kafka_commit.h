/* log/kafka_commit.h - committers of topics with many writers on Kafka; for the log's own files only.
 *
 * log.h's promises hold with other words: a batch is done when all replicas in sync have all of its records, or this
 * machine's spool has (kafka_way.h). Records are sorted by their key's partition, so a batch has no single place at the
 * brokers, and result.base is always 0. ERR_RETRY is one more answer: the brokers are away and there is no spool. */
#ifndef PENSTOCK_LOG_KAFKA_COMMIT_H
#define PENSTOCK_LOG_KAFKA_COMMIT_H

#include "log/kafka_log.h"

/* log_writer_open with for_commit: *out is good for log_commit_start and log_writer_close. ERR_RETRY: another process has
 * the spool. Starts no thread. */
int kafka_inlet_open(struct kafka_log *log, const char *topic, const struct log_topic_options *options, struct log_writer **out,
                     struct err *err) must_check;

#endif
