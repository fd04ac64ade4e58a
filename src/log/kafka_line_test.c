/* log/kafka_line_test.c - the first message of a partition goes alone: where brokers refuse it for a while, nothing stands before it. And
 * waiting for slow brokers costs nothing.
 * The broker is librdkafka's own imitation, which takes any sequence, as a real one does of a producer that it does not know. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/kafka_imitation_test_kit.h"
#include "log/kafka_line.h"

enum { PRODUCE = 0, RTT_MS = 200, MESSAGES = 12, MANY = 1200, VALUE_BYTES = 1000, FRAME_BYTES = 600000 /* one a request */, SLOW_MS = 1500, WAIT_US = 60000000 };

/* Payloads of partition 0 in their order. */
static void read_back(const struct imitation *made, char *out, size_t count)
{
    rd_kafka_conf_t  *conf = rd_kafka_conf_new();
    rd_kafka_t       *consumer;
    rd_kafka_topic_t *topic;
    char              text[200];
    int64_t           until_us = clock_mono_us() + WAIT_US;
    size_t            n = 0;

    assert_int_equal(RD_KAFKA_CONF_OK, rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(made->cluster), text, sizeof text));
    consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(consumer);
    topic = rd_kafka_topic_new(consumer, "raw", NULL);
    assert_int_equal(0, rd_kafka_consume_start(topic, 0, RD_KAFKA_OFFSET_BEGINNING));
    while (n < count && clock_mono_us() < until_us) {
        rd_kafka_message_t *message = rd_kafka_consume(topic, 0, 500);

        if (message == NULL)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            out[n++] = ((const char *)message->payload)[0];
        rd_kafka_message_destroy(message);
    }
    out[n] = '\0';
    (void)rd_kafka_consume_stop(topic, 0);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(consumer);
}

static void send_one(struct kafka_line *line, char letter, bool plain)
{
    struct err          err = { 0 };
    struct log_message  message = { .value = span_of(&letter, 1), .key = SPAN("k"), .headers = { { SPAN("h"), SPAN("v") } }, .header_count = 1 };
    struct line_message own = { .token = (void *)(uintptr_t)letter, .message = &message };

    if (!plain) {
        own.frame_take = malloc(1);
        own.frame_take[0] = (uint8_t)letter;
        own.frame_bytes = 1;
    }
    if (line->ops->send(line, &own, &err) < 0)
        fail_msg("%s", err.text);
}

static void nothing_stands_before_the_first(void **state)
{
    const struct imitation  *made = *state;
    struct log_kafka_options kafka = { .brokers = rd_kafka_mock_cluster_bootstraps(made->cluster), .partitions = 2, .form = LOG_FORM_FRAMES };
    struct kafka_line       *line;
    struct line_answer       answers[MESSAGES];
    struct err               err = { 0 };
    int64_t                  until_us = clock_mono_us() + WAIT_US;
    char                     got[MESSAGES + 1] = "";
    size_t                   taken = 0;

    assert_int_equal(0, kafka_line_open(&kafka, "raw", &line, &err));
    while (!line->ops->reach(line, &err)) /* connected, so that what follows is one request a message */
        assert_true(clock_mono_us() < until_us);
    rd_kafka_mock_broker_set_rtt(made->cluster, -1, RTT_MS);
    rd_kafka_mock_push_request_errors(made->cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    for (int i = 0; i < MESSAGES; i++) {
        send_one(line, (char)('A' + i), i % 3 == 1);
        usleep(20000);
    }
    while (taken < MESSAGES && clock_mono_us() < until_us) {
        size_t count = line->ops->answers(line, answers, MESSAGES, 100000);

        for (size_t i = 0; i < count; i++) {
            if (answers[i].fate != LINE_TAKEN)
                fail_msg("%c: %s", (int)(uintptr_t)answers[i].token, answers[i].why);
            assert_int_equal('A' + (int)taken, (int)(uintptr_t)answers[i].token);
            taken++;
        }
    }
    assert_int_equal(MESSAGES, taken);
    rd_kafka_mock_broker_set_rtt(made->cluster, -1, 0);
    read_back(made, got, MESSAGES);
    assert_string_equal("ABCDEFGHIJKL", got);
    line->ops->close(line);
}

/* What is held is forgotten with all that is under way. */
static void what_is_held_goes_with_the_line(void **state)
{
    const struct imitation  *made = *state;
    struct log_kafka_options kafka = { .brokers = rd_kafka_mock_cluster_bootstraps(made->cluster), .partitions = 2, .form = LOG_FORM_FRAMES };
    struct kafka_line       *line;
    struct line_answer       answer;
    struct err               err = { 0 };
    int64_t                  until_us = clock_mono_us() + WAIT_US;

    assert_int_equal(0, kafka_line_open(&kafka, "raw", &line, &err));
    while (!line->ops->reach(line, &err))
        assert_true(clock_mono_us() < until_us);
    rd_kafka_mock_broker_set_down(made->cluster, 1);
    for (int i = 0; i < 5; i++)
        send_one(line, (char)('a' + i), i % 2 == 1);
    assert_int_equal(0, line->ops->abandon(line, &err));
    rd_kafka_mock_broker_set_up(made->cluster, 1);
    send_one(line, 'z', false);
    while (line->ops->answers(line, &answer, 1, 100000) == 0)
        assert_true(clock_mono_us() < until_us);
    assert_int_equal(LINE_TAKEN, answer.fate);
    assert_int_equal('z', (int)(uintptr_t)answer.token);
    for (int i = 0; i < 5; i++)
        send_one(line, 'y', true);
    line->ops->close(line); /* with some that are held */
}

/* Somebody made the topic anew, with fewer partitions: no message is to blame, so none may be replaced by one that says that it is too large. */
static void a_partition_that_is_not_there_is_nobodys_fault(void **state)
{
    const struct imitation  *made = *state;
    struct log_kafka_options kafka = { .brokers = rd_kafka_mock_cluster_bootstraps(made->cluster), .partitions = 3, .form = LOG_FORM_FRAMES };
    struct kafka_line       *line;
    struct line_message      frame = { .partition = 2, .token = &kafka, .frame_bytes = 1 };
    struct err               err = { 0 };
    int64_t                  until_us = clock_mono_us() + WAIT_US;

    assert_int_equal(0, kafka_line_open(&kafka, "raw", &line, &err));
    while (!line->ops->reach(line, &err))
        assert_true(clock_mono_us() < until_us);
    frame.frame_take = malloc(1);
    assert_int_equal(-1, line->ops->send(line, &frame, &err));
    assert_int_equal(ERR_RETRY, err.kind);
    free(frame.frame_take);
    line->ops->close(line);
}

static int64_t cpu_us(void)
{
    struct timespec now;

    assert_int_equal(0, clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now));
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Takes `count` answers, of tokens that rise from `from`. */
static void answers_in_order(struct kafka_line *line, uintptr_t from, size_t count)
{
    int64_t            until_us = clock_mono_us() + WAIT_US;
    struct line_answer answers[64];

    for (size_t taken = 0; taken < count;) {
        size_t got = line->ops->answers(line, answers, 64, 100000);

        assert_true(clock_mono_us() < until_us);
        for (size_t i = 0; i < got; i++) {
            assert_int_equal(LINE_TAKEN, answers[i].fate);
            assert_int_equal(from + taken, (uintptr_t)answers[i].token);
            taken++;
        }
    }
}

static void send_numbered(struct kafka_line *line, uintptr_t number, bool plain)
{
    static char         value[VALUE_BYTES];
    struct err          err = { 0 };
    struct log_message  message = { .value = span_of(value, sizeof value), .key = SPAN("k"), .headers = { { SPAN("name"), SPAN("value") } }, .header_count = 1 };
    struct line_message own = { .token = (void *)number, .message = &message };

    if (!plain) {
        own.frame_take = calloc(1, FRAME_BYTES);
        own.frame_bytes = FRAME_BYTES;
    }
    if (line->ops->send(line, &own, &err) < 0)
        fail_msg("%s", err.text);
}

struct cost { int64_t cpu_us, clock_us; };

/* Sends `count` at brokers that take so long, and takes their answers. */
static struct cost cost_of(const struct imitation *made, struct kafka_line *line, uintptr_t from, size_t count, bool plain, int rtt_ms)
{
    struct cost cost = { -cpu_us(), -clock_mono_us() };

    rd_kafka_mock_broker_set_rtt(made->cluster, -1, rtt_ms);
    for (size_t i = 0; i < count; i++)
        send_numbered(line, from + i, plain);
    answers_in_order(line, from, count);
    rd_kafka_mock_broker_set_rtt(made->cluster, -1, 0);
    cost.cpu_us += cpu_us();
    cost.clock_us += clock_mono_us();
    return cost;
}

/* More than may be under way at a time, at brokers that take long: who waits for them does nothing. The same without waiting says what the
 * work costs here and now; who is in the way of the one or the other is not there each time. */
static void waiting_costs_nothing(void **state)
{
    static const struct { enum log_form form; size_t count; } rows[] = { { LOG_FORM_FRAMES, 11 }, { LOG_FORM_UPSTREAM, MANY } };
    enum { TURNS = 4 };
    const struct imitation *made = *state;

    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct log_kafka_options kafka = { .brokers = rd_kafka_mock_cluster_bootstraps(made->cluster), .partitions = 2, .form = rows[r].form };
        bool                     plain = rows[r].form == LOG_FORM_UPSTREAM, quiet = false;
        uintptr_t                next = 1;
        struct kafka_line       *line;
        struct cost              at_once = { 0, 0 }, slow = { 0, 0 };
        struct err               err = { 0 };
        int64_t                  until_us = clock_mono_us() + WAIT_US;

        assert_int_equal(0, kafka_line_open(&kafka, "raw", &line, &err));
        while (!line->ops->reach(line, &err))
            assert_true(clock_mono_us() < until_us);
        (void)cost_of(made, line, next++, 1, plain, 0);
        for (int turn = 0; turn < TURNS && !quiet; turn++) {
            at_once = cost_of(made, line, next, rows[r].count, plain, 0);
            slow = cost_of(made, line, next + rows[r].count, rows[r].count, plain, SLOW_MS);
            next += 2 * rows[r].count;
            assert_true(slow.clock_us > (int64_t)SLOW_MS * 1000); /* there was something to wait for */
            quiet = slow.cpu_us - at_once.cpu_us <= slow.clock_us / 12;
        }
        line->ops->close(line);
        if (!quiet)
            fail_msg("form %d: %ld us of CPU in %ld us of waiting, %ld without", (int)rows[r].form, (long)slow.cpu_us, (long)slow.clock_us,
                     (long)at_once.cpu_us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_stands_before_the_first, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(what_is_held_goes_with_the_line, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(a_partition_that_is_not_there_is_nobodys_fault, imitation_begin, imitation_end),
        cmocka_unit_test_setup_teardown(waiting_costs_nothing, imitation_begin, imitation_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
