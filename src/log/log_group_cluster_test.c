/* parts: kafka
 *
 * log/log_group_cluster_test.c - partitions are shared: when one joins they are shared anew, when one leaves the others take his, and
 * each partition is one member's at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/kafka_client.h"
#include "log/log_group.h"

#define MUST(call) do { if ((call) < 0) fail_msg("%s: %s", #call, err.text); } while (0)
enum { PARTITIONS = 5, MEMBERS = 3, PATIENCE_US = 60000000 };

static struct err               err;
static char                     prefix[80];
static struct log_kafka_options kafka;
static _Atomic int              owners[PARTITIONS]; /* how many have it */
static _Atomic bool             twice;

struct member {
    struct log       *log;
    struct log_group *group;
    _Atomic int       count;
    int               leaving, leaving_most; /* were told that they will be stopped. @thread the group's */
};

static void on_start(void *ctx, uint32_t partition)
{
    struct member *member = ctx;

    if (atomic_fetch_add(&owners[partition], 1) != 0)
        atomic_store(&twice, true);
    atomic_fetch_add(&member->count, 1);
}

static void on_leave(void *ctx, uint32_t partition)
{
    struct member *member = ctx;

    (void)partition;
    member->leaving++;
    if (member->leaving > member->leaving_most)
        member->leaving_most = member->leaving;
}

static void on_stop(void *ctx, uint32_t partition)
{
    struct member *member = ctx;

    member->leaving--;
    atomic_fetch_sub(&owners[partition], 1);
    atomic_fetch_sub(&member->count, 1);
}

static void member_join(struct member *member)
{
    const struct log_group_calls calls = { .start = on_start, .leave = on_leave, .stop = on_stop, .ctx = member };

    MUST(log_open(&(struct log_options){ .kafka = &kafka }, &member->log, &err));
    MUST(log_group_join(member->log, "ingest", "raw", &calls, &member->group, &err));
}

/* All that it has are told before the first is waited for. */
static void member_leave(struct member *member)
{
    const int had = atomic_load(&member->count);

    member->leaving_most = 0;
    log_group_leave(member->group);
    log_close(member->log);
    assert_int_equal(atomic_load(&member->count), 0);
    assert_int_equal(member->leaving_most, had);
    assert_int_equal(member->leaving, 0);
}

/* Until all partitions have an owner, and each of these members at least so many. */
static void must_settle(struct member *const *members, size_t count, int least)
{
    int64_t until_us = clock_mono_us() + PATIENCE_US;

    for (;;) {
        int  sum = 0;
        bool even = true;

        for (size_t i = 0; i < count; i++) {
            sum += atomic_load(&members[i]->count);
            even = even && atomic_load(&members[i]->count) >= least;
        }
        if (sum == PARTITIONS && even)
            return;
        if (clock_mono_us() > until_us)
            fail_msg("%d of %d partitions have an owner", sum, PARTITIONS);
        usleep(20000);
    }
}

static void partitions_are_shared(void **state)
{
    static struct member members[MEMBERS];
    struct member *const all[] = { &members[0], &members[1], &members[2] };

    (void)state;
    member_join(&members[0]);
    must_settle(all, 1, PARTITIONS);
    member_join(&members[1]);
    must_settle(all, 2, 2);
    member_join(&members[2]);
    must_settle(all, 3, 1);
    member_leave(&members[0]);
    must_settle(all + 1, 2, 2);
    member_leave(&members[2]);
    must_settle(all + 1, 1, PARTITIONS);
    member_leave(&members[1]);
    for (int i = 0; i < PARTITIONS; i++)
        assert_int_equal(atomic_load(&owners[i]), 0);
    assert_false(atomic_load(&twice));
}

/* Has the group's partitions, and ends without a word: the group waits for it for two minutes. */
static void lazy_member_ends(void)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1), *assigned;
    int64_t                          until_us = clock_mono_us() + PATIENCE_US;
    rd_kafka_conf_t                 *conf;
    rd_kafka_t                      *client;
    char                             name[120];
    int                              count = 0;

    MUST(kafka_client_conf(kafka.brokers, NULL, KAFKA_CLIENT_CONSUMER, &conf, &err));
    (void)snprintf(name, sizeof name, "%spenstock.ingest.members", prefix);
    MUST(kafka_client_set(conf, "group.id", name, &err));
    MUST(kafka_client_set(conf, "session.timeout.ms", "120000", &err));
    MUST(kafka_client_set(conf, "partition.assignment.strategy", "cooperative-sticky", &err));
    MUST(kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &client, &err));
    (void)rd_kafka_poll_set_consumer(client);
    (void)snprintf(name, sizeof name, "%sraw", prefix);
    rd_kafka_topic_partition_list_add(topics, name, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(client, topics), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(topics);
    while (count < PARTITIONS) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);

        if (message != NULL)
            rd_kafka_message_destroy(message);
        assert_int_equal(rd_kafka_assignment(client, &assigned), RD_KAFKA_RESP_ERR_NO_ERROR);
        count = assigned->cnt;
        rd_kafka_topic_partition_list_destroy(assigned);
        assert_true(clock_mono_us() < until_us);
    }
    rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

/* Who has no answer from the group says so: nothing else of its process would. */
static void an_answer_that_does_not_come_is_said(void **state)
{
    static struct member member;
    int64_t              until_us;
    char                 said[4000] = "";
    size_t               bytes = 0;
    int                  ends[2], kept;

    (void)state;
    (void)snprintf(prefix, sizeof prefix, "g%d_%lld.", (int)getpid(), (long long)clock_wall_us());
    member_join(&member); /* so that there is the topic */
    must_settle((struct member *const[]){ &member }, 1, PARTITIONS);
    member_leave(&member);
    lazy_member_ends();
    assert_int_equal(0, pipe2(ends, O_NONBLOCK));
    kept = dup(STDERR_FILENO);
    assert_int_equal(STDERR_FILENO, dup2(ends[1], STDERR_FILENO));
    member_join(&member);
    for (until_us = clock_mono_us() + PATIENCE_US; strstr(said, "which partitions are ours") == NULL && clock_mono_us() < until_us; usleep(50000)) {
        ssize_t got = bytes < sizeof said - 1 ? read(ends[0], said + bytes, sizeof said - 1 - bytes) : 0;

        bytes += got > 0 ? (size_t)got : 0;
    }
    assert_int_equal(STDERR_FILENO, dup2(kept, STDERR_FILENO));
    for (int i = 0; i < 2; i++)
        (void)close(ends[i]);
    (void)close(kept);
    if (strstr(said, prefix) == NULL || strstr(said, "which partitions are ours") == NULL)
        fail_msg("for a minute nothing was said of the group, but: %s", said);
    member_leave(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partitions_are_shared), cmocka_unit_test(an_answer_that_does_not_come_is_said),
    };

    kafka = (struct log_kafka_options){ .brokers = getenv("PENSTOCK_TEST_KAFKA"), .topic_prefix = prefix, .partitions = PARTITIONS,
                                        .replication = 1 };
    if (kafka.brokers == NULL) {
        fprintf(stderr, "PENSTOCK_TEST_KAFKA is not set: run this by tests/parts/with.py kafka -- ...\n");
        return 1;
    }
    (void)snprintf(prefix, sizeof prefix, "g%d_%lld.", (int)getpid(), (long long)clock_wall_us());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
