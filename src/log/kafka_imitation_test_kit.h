/* log/kafka_imitation_test_kit.h - librdkafka's own imitation of a broker, one for each test: where a real one cannot be made to show a
 * fault. It agrees with librdkafka about everything, so what real brokers do is shown elsewhere. Included by tests only. */
#ifndef PENSTOCK_LOG_KAFKA_IMITATION_TEST_KIT_H
#define PENSTOCK_LOG_KAFKA_IMITATION_TEST_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

struct imitation {
    rd_kafka_t              *client;
    rd_kafka_mock_cluster_t *cluster;
};

/* With the topics raw and events, of two partitions. */
static inline int imitation_begin(void **state)
{
    static struct imitation made;
    char                    text[200];

    made.client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    assert_non_null(made.client);
    made.cluster = rd_kafka_mock_cluster_new(made.client, 1);
    assert_non_null(made.cluster);
    assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_topic_create(made.cluster, "raw", 2, 1));
    assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_topic_create(made.cluster, "events", 2, 1));
    *state = &made;
    return 0;
}

static inline int imitation_end(void **state)
{
    struct imitation *made = *state;

    rd_kafka_mock_cluster_destroy(made->cluster);
    rd_kafka_destroy(made->client);
    return 0;
}

#endif
