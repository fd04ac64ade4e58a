/* log/kafka_cursor_test.c - a cursor that the brokers did not take comes to them all the same, though nothing new is stored; and an older
 * one never comes behind a newer. The broker is librdkafka's own imitation, which refuses commits or takes its time with them. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/kafka_imitation_test_kit.h"
#include "log/log.h"

enum { OFFSET_COMMIT = 8 /* Kafka's number of the request */, BROKER = 1, PATIENCE_US = 60000000, TURN_US = 10000, SLOW_MS = 1000, OURS_US = 5000000 };

static struct log_kafka_options kafka;
static struct err               err;

static struct log *log_make(const struct imitation *made)
{
    struct log *log;

    kafka = (struct log_kafka_options){ .brokers = rd_kafka_mock_cluster_bootstraps(made->cluster), .partitions = 2 };
    assert_int_equal(0, log_open(&(struct log_options){ .folder = "", .kafka = &kafka }, &log, &err));
    return log;
}

static uint64_t found(struct log *looking)
{
    uint64_t offset = 0;

    return log_cursor_load(looking, "raw", 0, "ingest", &offset, &err) == 1 ? offset : 0;
}

/* As a unit that has nothing to do: it stores the same place again and again, until the brokers tell it to somebody else. */
static void must_come(struct log *storing, struct log *looking, uint64_t offset)
{
    int64_t until_us = clock_mono_us() + PATIENCE_US;

    while (found(looking) != offset) {
        assert_int_equal(0, log_cursor_store(storing, "raw", 0, "ingest", offset, &err));
        if (clock_mono_us() > until_us)
            fail_msg("place %llu is not told for a minute, but %llu", (unsigned long long)offset, (unsigned long long)found(looking));
        (void)usleep(TURN_US);
    }
}

static void refuse(const struct imitation *made, rd_kafka_resp_err_t error, size_t times)
{
    for (size_t i = 0; i < times; i++)
        rd_kafka_mock_push_request_errors(made->cluster, OFFSET_COMMIT, 1, error);
}

/* So that nothing of ours is under way any more. */
static void must_rest(struct log *storing, struct log *looking, uint64_t offset)
{
    must_come(storing, looking, offset);
    for (int64_t until_us = clock_mono_us() + 1000000; clock_mono_us() < until_us; (void)usleep(TURN_US))
        assert_int_equal(0, log_cursor_store(storing, "raw", 0, "ingest", offset, &err));
}

static void what_was_refused_is_told_again(void **state)
{
    static const struct { rd_kafka_resp_err_t error; size_t times; } refusals[] = { /* librdkafka sends some again by itself, twice */
        { RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 3 }, { RD_KAFKA_RESP_ERR_NOT_COORDINATOR_FOR_GROUP, 6 },
        { RD_KAFKA_RESP_ERR_GROUP_COORDINATOR_NOT_AVAILABLE, 6 }, { RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 6 },
        { RD_KAFKA_RESP_ERR_GROUP_LOAD_IN_PROGRESS, 6 }, { RD_KAFKA_RESP_ERR__TRANSPORT, 6 },
    };
    const struct imitation *made = *state;
    struct log             *storing = log_make(made), *looking = log_make(made);

    must_rest(storing, looking, 3);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        refuse(made, refusals[i].error, refusals[i].times);
        must_come(storing, looking, 4 + i);
    }
    log_close(storing);
    log_close(looking);
}

/* Its coordinator is away, and comes back while newer places are stored. */
static void the_newest_comes_when_the_coordinator_does(void **state)
{
    const struct imitation *made = *state;
    struct log             *storing = log_make(made), *looking = log_make(made);

    must_rest(storing, looking, 3);
    assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_broker_set_down(made->cluster, BROKER));
    for (uint64_t offset = 4; offset < 30; offset++, (void)usleep(5 * TURN_US))
        assert_int_equal(0, log_cursor_store(storing, "raw", 0, "ingest", offset, &err));
    assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_broker_set_up(made->cluster, BROKER));
    must_rest(storing, looking, 30);
    assert_int_equal(30, found(looking));
    log_close(storing);
    log_close(looking);
}

static size_t slow_left(const struct imitation *made)
{
    size_t left;

    assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_broker_error_stack_cnt(made->cluster, BROKER, OFFSET_COMMIT, &left));
    return left;
}

/* The second is sent when the first is answered, though there is always a newer place. */
static void one_commit_is_under_way_at_a_time(void **state)
{
    const struct imitation *made = *state;
    struct log             *storing = log_make(made), *looking = log_make(made);
    uint64_t                offset = 4;
    int64_t                 from_us;

    must_rest(storing, looking, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_broker_push_request_error_rtts(made->cluster, BROKER, OFFSET_COMMIT, 1,
                         RD_KAFKA_RESP_ERR_NO_ERROR, SLOW_MS));
    for (from_us = clock_mono_us(); slow_left(made) > 1; (void)usleep(TURN_US)) {
        assert_true(clock_mono_us() < from_us + PATIENCE_US);
        assert_int_equal(0, log_cursor_store(storing, "raw", 0, "ingest", offset++, &err));
    }
    assert_true(clock_mono_us() - from_us >= (int64_t)SLOW_MS * 1000);
    must_come(storing, looking, offset);
    log_close(storing);
    log_close(looking);
}

/* Whoever stores knows better than the brokers, until they have taken it. */
static void a_place_does_not_go_back_in_front_of_its_owner(void **state)
{
    const struct imitation *made = *state;
    struct log             *storing = log_make(made), *looking = log_make(made);
    int64_t                 from_us;

    must_rest(storing, looking, 3);
    refuse(made, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1000);
    for (from_us = clock_mono_us(); clock_mono_us() < from_us + 1000000; (void)usleep(TURN_US)) {
        assert_int_equal(0, log_cursor_store(storing, "raw", 0, "ingest", 5, &err));
        log_cursors_expect(storing, (const char *const[]){ "raw" }, 1, 0, "ingest");
        assert_int_equal(5, found(storing));
    }
    assert_int_equal(3, found(looking));
    rd_kafka_mock_clear_request_errors(made->cluster, OFFSET_COMMIT);
    must_come(storing, looking, 5);
    log_close(storing);
    log_close(looking);
}

static void what_was_held_back_is_told_at_the_end(void **state)
{
    const struct imitation *made = *state;
    struct log             *storing = log_make(made), *looking = log_make(made);

    must_rest(storing, looking, 3);
    assert_int_equal(RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_mock_broker_push_request_error_rtts(made->cluster, BROKER, OFFSET_COMMIT, 1,
                     RD_KAFKA_RESP_ERR_NO_ERROR, SLOW_MS / 2));
    for (uint64_t offset = 4; offset <= 6; offset++)
        assert_int_equal(0, log_cursor_store(storing, "raw", 0, "ingest", offset, &err));
    log_close(storing);
    assert_int_equal(6, found(looking));
    log_close(looking);
}

/* Its partition is others' meanwhile: what was not taken is theirs to tell. */
static void an_old_place_is_not_told_at_the_end(void **state)
{
    const struct imitation *made = *state;
    struct log             *storing = log_make(made), *looking = log_make(made), *heir = log_make(made);
    int64_t                 from_us;

    must_rest(storing, looking, 3);
    refuse(made, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1000);
    assert_int_equal(0, log_cursor_store(storing, "raw", 0, "ingest", 5, &err));
    for (from_us = clock_mono_us(); clock_mono_us() < from_us + OURS_US; (void)usleep(TURN_US))
        ;
    rd_kafka_mock_clear_request_errors(made->cluster, OFFSET_COMMIT);
    must_come(heir, looking, 9);
    log_close(storing);
    log_close(looking); /* which may know it from before */
    looking = log_make(made);
    assert_int_equal(9, found(looking));
    log_close(heir);
    log_close(looking);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_refused_is_told_again, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(the_newest_comes_when_the_coordinator_does, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(one_commit_is_under_way_at_a_time, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(a_place_does_not_go_back_in_front_of_its_owner, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(what_was_held_back_is_told_at_the_end, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(an_old_place_is_not_told_at_the_end, imitation_begin, imitation_end),
    };

    return cmocka_run_group_tests_name("kafka_cursor", tests, NULL, NULL);
}
