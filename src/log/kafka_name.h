/* log/kafka_name.h - what a topic is called at the brokers. Without librdkafka, for those who only say the name. */
#ifndef PENSTOCK_LOG_KAFKA_NAME_H
#define PENSTOCK_LOG_KAFKA_NAME_H

#include <stdio.h>

enum { KAFKA_TOPIC_NAME_BYTES_MAX = 249 /* Kafka's own */ };

/* A name with the prefix (NULL: none) of all topics. Gives its length: above KAFKA_TOPIC_NAME_BYTES_MAX it was cut. */
static inline int kafka_topic_prefixed(const char *prefix, const char *topic, char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1])
{
    return snprintf(name, KAFKA_TOPIC_NAME_BYTES_MAX + 1, "%s%s", prefix != NULL ? prefix : "", topic);
}

#endif
