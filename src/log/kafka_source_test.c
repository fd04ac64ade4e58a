/* log/kafka_source_test.c - a partition whose leader is away is no empty one. The broker is librdkafka's own imitation. */
#include <string.h>

#include "log/kafka_imitation_test_kit.h"
#include "log/log.h"

/* What a reader that begins says, by a client of its own; and its end says the same. */
static int look(const struct imitation *made, const char *topic, uint32_t partition, struct err *err)
{
    const struct log_kafka_options kafka = { .brokers = rd_kafka_mock_cluster_bootstraps(made->cluster), .partitions = 2 };
    struct log                    *log;
    struct log_reader             *reader;
    struct log_chunk               chunk;
    struct err                     of_end = { .kind = ERR_NONE };
    uint64_t                       end = 1;
    int                            rc;

    *err = (struct err){ .kind = ERR_NONE };
    assert_int_equal(0, log_open(&(struct log_options){ .folder = "", .kafka = &kafka }, &log, err));
    assert_int_equal(0, log_reader_open(log, topic, partition, 0, &reader, err));
    rc = log_reader_next(reader, &chunk, err);
    assert_int_equal(rc, log_reader_end(reader, &end, &of_end));
    assert_int_equal(rc < 0 ? ERR_RETRY : ERR_NONE, of_end.kind);
    assert_int_equal(0, end);
    log_reader_close(reader);
    log_close(log);
    return rc;
}

static void without_a_leader_nobody_knows_what_is_there(void **state)
{
    static const char *const topics[] = { "raw", "events" }; /* many writers, one writer */
    const struct imitation  *made = *state;
    struct err               err;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(0, look(made, topics[i], 1, &err));
        assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_partition_set_leader(made->cluster, topics[i], 1, -1));
        assert_int_equal(-1, look(made, topics[i], 1, &err));
        assert_int_equal(ERR_RETRY, err.kind);
        assert_non_null(strstr(err.text, "no leader"));
        assert_int_equal(0, look(made, topics[i], 0, &err)); /* the other one goes on */
    }
}

static void a_partition_that_is_not_there_is_empty(void **state)
{
    const struct imitation *made = *state;
    struct err              err;

    assert_int_equal(0, look(made, "raw", 7, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_leader_nobody_knows_what_is_there, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(a_partition_that_is_not_there_is_empty, imitation_begin, imitation_end),
    };

    return cmocka_run_group_tests_name("kafka_source", tests, NULL, NULL);
}
