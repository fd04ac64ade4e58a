/* log/kafka_log.c - the log on Kafka as a whole: names of topics, opening and closing. */
#include "log/kafka_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/part.h"

bool kafka_topic_shared(const struct kafka_log *log, const char *topic)
{
    const char *const *shared = log->options->topics_shared != NULL ? log->options->topics_shared : log_kafka_topics_shared;

    for (; *shared != NULL; shared++)
        if (strcmp(*shared, topic) == 0)
            return true;
    return false;
}

int kafka_topic_name(const struct kafka_log *log, const char *topic, char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1], struct err *err)
{
    const struct log_form_hooks *hooks = log->options->hooks;
    const char *prefix = log->options->topic_prefix != NULL ? log->options->topic_prefix : "";
    const char *other = hooks != NULL && hooks->topic_name != NULL ? hooks->topic_name(hooks->ctx, topic) : NULL;
    int         bytes;

    if (!part_name_valid(topic, LOG_TOPIC_NAME_BYTES_MAX))
        return err_set(err, ERR_INPUT, "topic name \"%.80s\" is not 1 to %d of a-z, 0-9 and _", topic, LOG_TOPIC_NAME_BYTES_MAX);
    bytes = snprintf(name, KAFKA_TOPIC_NAME_BYTES_MAX + 1, "%s%s", prefix, other != NULL ? other : topic);
    if (bytes > KAFKA_TOPIC_NAME_BYTES_MAX)
        return err_set(err, ERR_INPUT, "topic %s has a name of %d bytes with its prefix; Kafka allows %d", topic, bytes,
                       KAFKA_TOPIC_NAME_BYTES_MAX);
    return 0;
}

static void kafka_log_close(struct log *log_of_any)
{
    struct kafka_log *log = kafka_log_of(log_of_any);

    if (log->producer != NULL)
        rd_kafka_destroy(log->producer);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

static uint32_t kafka_log_partitions(const struct log *log)
{
    const struct kafka_log *kafka = (const struct kafka_log *)(const void *)log;

    return kafka->options->partitions == 0 ? 1 : kafka->options->partitions;
}

const struct log_ops log_kafka_ops = {
    .close = kafka_log_close,
    .partitions = kafka_log_partitions,
};

int kafka_log_open(const struct log_options *options, struct log **out, struct err *err)
{
    struct kafka_log *log;

    if (options->kafka->brokers == NULL || options->kafka->brokers[0] == 0)
        return err_set(err, ERR_INPUT, "the log is on Kafka, and no broker is named");
    log = calloc(1, sizeof *log);
    if (log == NULL)
        return err_set(err, ERR_FULL, "no memory for the log");
    log->ops = &log_kafka_ops;
    log->options = options->kafka;
    log->frame_bytes_max = options->kafka->frame_bytes_max == 0 ? (size_t)LOG_KAFKA_FRAME_BYTES : options->kafka->frame_bytes_max;
    pthread_mutex_init(&log->lock, NULL);
    *out = (struct log *)(void *)log;
    return 0;
}
