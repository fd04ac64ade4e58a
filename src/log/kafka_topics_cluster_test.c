/* parts: kafka
 *
 * Topics at a real broker: made as asked, found again, and what is wrong with one is told with what it is, what it should
 * be and the command that mends it. Names are new ones in each run: brokers are shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/kafka_client.h"
#include "log/kafka_topics.h"

static struct {
    char   text[8][800];
    size_t count;
} told;

static void on_told(void *ctx, const char *text)
{
    (void)ctx;
    assert_true(told.count < 8);
    (void)snprintf(told.text[told.count++], sizeof told.text[0], "%s", text);
}

static const char *brokers(void)
{
    const char *at = getenv("PENSTOCK_TEST_KAFKA");

    if (at == NULL)
        fail_msg("PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...");
    return at;
}

static rd_kafka_t *client_make(const char *at)
{
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t      *client = NULL;
    struct err       err = { 0 };

    assert_int_equal(0, kafka_client_conf(at, NULL, KAFKA_CLIENT_PRODUCER, &conf, &err));
    assert_int_equal(0, kafka_client_new(KAFKA_CLIENT_PRODUCER, conf, &client, &err));
    return client;
}

static void name_make(char name[64], const char *what)
{
    (void)snprintf(name, 64, "t_%s_%d_%lld", what, (int)getpid(), (long long)clock_wall_us());
}

static int ensure(rd_kafka_t *client, const struct kafka_topic_wish *wish, struct kafka_topic_found *found, struct err *err)
{
    told.count = 0;
    return kafka_topics_ensure(client, brokers(), wish, 1, 30000000, on_told, NULL, found, err);
}

static void test_made_and_found(void **state)
{
    rd_kafka_t              *client = client_make(brokers());
    char                     name[64];
    struct kafka_topic_wish  wish = { .name = name, .partitions = 3, .replication = 1, .retention_ms = 86400000, .retention_bytes = -1,
                                      .message_bytes_max = KAFKA_MESSAGE_BYTES_MAX };
    struct kafka_topic_found found;
    struct err               err = { 0 };

    (void)state;
    name_make(name, "made");
    assert_int_equal(0, ensure(client, &wish, &found, &err));
    assert_true(found.made);
    assert_int_equal(3, found.partitions);
    assert_int_equal(0, found.wrong);
    assert_int_equal(KAFKA_MESSAGE_BYTES_MAX, found.message_bytes_max);
    assert_int_equal(0, ensure(client, &wish, &found, &err)); /* again: it is there, and right */
    assert_false(found.made);
    assert_int_equal(0, found.wrong);
    rd_kafka_destroy(client);
}

static void test_wrong_is_told(void **state)
{
    rd_kafka_t              *client = client_make(brokers());
    char                     name[64];
    struct kafka_topic_wish  wish = { .name = name, .partitions = 2, .replication = 1, .retention_ms = 1000, .retention_bytes = 4096,
                                      .message_bytes_max = 2000 };
    struct kafka_topic_found found;
    struct err               err = { 0 };
    static const char *const words[][3] = {
        { "retention.ms=1000", "should have -1", "--add-config retention.ms=-1" },
        { "retention.bytes=4096", "should have 1000000", "--add-config retention.bytes=1000000" },
        { "max.message.bytes=2000", "should have 33619968", "--add-config max.message.bytes=33619968" },
        { "has 1 copies", "not log.replication: 3", "kafka-reassign-partitions.sh" },
        { "min.insync.replicas=1", "should have 2", "--add-config min.insync.replicas=2" },
    };

    (void)state;
    name_make(name, "wrong");
    assert_int_equal(0, ensure(client, &wish, &found, &err));
    wish = (struct kafka_topic_wish){ .name = name, .partitions = 2, .replication = 3, .retention_ms = -1, .retention_bytes = 1000000,
                                      .message_bytes_max = KAFKA_MESSAGE_BYTES_MAX };
    assert_int_equal(0, ensure(client, &wish, &found, &err));
    assert_int_equal(5, found.wrong);
    assert_int_equal(2000, found.message_bytes_max);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t hit = 0;

        for (size_t k = 0; k < told.count; k++)
            hit += strstr(told.text[k], name) != NULL && strstr(told.text[k], words[i][0]) != NULL &&
                   strstr(told.text[k], words[i][1]) != NULL && strstr(told.text[k], words[i][2]) != NULL;
        if (hit != 1)
            fail_msg("\"%s\" was told %zu times; the first of all was \"%s\"", words[i][0], hit, told.text[0]);
    }
    rd_kafka_destroy(client);
}

static void test_partitions_must_be_right(void **state)
{
    static const struct { uint32_t wished; const char *words; } rows[] = {
        { 3, "has 2 partitions, not log.partitions: 3" },
        { 1, "set log.partitions: 2" },
    };
    rd_kafka_t              *client = client_make(brokers());
    char                     name[64];
    struct kafka_topic_wish  wish = { .name = name, .partitions = 2, .replication = 1 };
    struct kafka_topic_found found;

    (void)state;
    name_make(name, "shape");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = { 0 };

        wish.partitions = 2;
        assert_int_equal(0, ensure(client, &wish, &found, &err));
        wish.partitions = rows[i].wished;
        assert_int_equal(-1, ensure(client, &wish, &found, &err));
        assert_int_equal(ERR_INPUT, err.kind);
        assert_non_null(strstr(err.text, rows[i].words));
    }
    rd_kafka_destroy(client);
}

static void test_too_few_brokers(void **state)
{
    rd_kafka_t              *client = client_make(brokers());
    char                     name[64];
    struct kafka_topic_wish  wish = { .name = name, .partitions = 1, .replication = 9 };
    struct kafka_topic_found found;
    struct err               err = { 0 };

    (void)state;
    name_make(name, "copies");
    assert_int_equal(-1, ensure(client, &wish, &found, &err));
    assert_int_equal(ERR_INPUT, err.kind);
    assert_non_null(strstr(err.text, "fewer brokers than log.replication"));
    rd_kafka_destroy(client);
}

static void test_nobody_there(void **state)
{
    rd_kafka_t              *client = client_make("127.0.0.1:1");
    struct kafka_topic_wish  wish = { .name = "t", .partitions = 1 };
    struct kafka_topic_found found;
    struct err               err = { 0 };
    int64_t                  from_us = clock_mono_us();

    (void)state;
    assert_int_equal(-1, kafka_topics_ensure(client, "127.0.0.1:1", &wish, 1, 1000000, NULL, NULL, &found, &err));
    assert_int_equal(ERR_RETRY, err.kind);
    assert_non_null(strstr(err.text, "127.0.0.1:1"));
    assert_true(clock_mono_us() - from_us < 20000000);
    assert_int_equal(-1, kafka_client_reach(client, "127.0.0.1:1", 300000, &err));
    assert_int_equal(ERR_RETRY, err.kind);
    rd_kafka_destroy(client);
}

static void test_wrong_settings(void **state)
{
    static const char *const unknown[] = { "no.such.thing", "1", NULL }, *const secret[] = { "sasl.mechanism", "hunter2", NULL };
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t      *client = NULL;
    struct err       err = { 0 };

    (void)state;
    assert_int_equal(-1, kafka_client_conf("x:1", unknown, KAFKA_CLIENT_CONSUMER, &conf, &err));
    assert_int_equal(ERR_INPUT, err.kind);
    assert_non_null(strstr(err.text, "no.such.thing"));
    if (kafka_client_conf("x:1", secret, KAFKA_CLIENT_CONSUMER, &conf, &err) == 0)
        assert_int_equal(0, kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &client, &err));
    if (client != NULL)
        rd_kafka_destroy(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_and_found),   cmocka_unit_test(test_wrong_is_told), cmocka_unit_test(test_partitions_must_be_right),
        cmocka_unit_test(test_too_few_brokers), cmocka_unit_test(test_nobody_there),  cmocka_unit_test(test_wrong_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
