/* log/log_group.c - see log_group.h. A client of its own: what a group's client is asked to read it must read soon, or the
 * group takes it for dead; so it is asked for nothing but its share.
 *
 * What a change takes, of two rounds: in the first each member tells what it has, and who has too much gives it back; in the second it
 * goes to its new owner. librdkafka (2.0) adds two waits to that, which are made harmless here:
 *   its thread looks at the group when something wakes it, else once a second: so members would hear up to a second late, in
 *   each round, that the group changes, whatever the heartbeat's interval is. It is woken at each look (client_wake)
 *   a client asks to join no sooner than a second after it did so last: so whoever stopped a partition in the first round could
 *   not give it away before that second is over. It is worked on until then (round_wait)
 * Measured, six partitions, a third member joins: nobody's for 530 to 1,590 ms before, on a busy machine; one of three leaves: 150 to
 * 990 ms. */
#include "log/log_group.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/kafka_client.h"
#include "log/kafka_log.h"
#include "log/kafka_member.h"

enum {
    POLL_MS = 50,
    HEARTBEAT_MS = 100,
    ROUND_MS = 800 /* of the second between a client's joins, what is left at least when the group has answered */
};
#define ANSWER_US INT64_C(30000000) /* a member that died is waited for KAFKA_GROUP_SECONDS; two in a row, by a slow broker, twice that */
#define ANSWER_AGAIN_US INT64_C(300000000)

struct log_group {
    struct log_group_calls calls;
    rd_kafka_t            *client; /* NULL: embedded */
    char                   name[KAFKA_TOPIC_NAME_BYTES_MAX + 1]; /* at the brokers */
    pthread_t              thread;
    atomic_bool            leaving;
    int64_t                asked_us; /* of the monotonic clock; fixed before the thread starts */
    int64_t                tell_us;  /* @thread the group's, as answered: when it is said next that no answer came */
    bool                   answered;
};

/* --- Kafka ------------------------------------------------------------------------------------- */

static void partitions_take(struct log_group *group, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_error_t *error;

    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    error = rd_kafka_incremental_assign(group->client, list);
    if (error != NULL) {
        say(SAY_ERROR, "the group's partitions could not be taken: %s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        return;
    }
    (void)rd_kafka_pause_partitions(group->client, list);
    for (int i = 0; i < list->cnt; i++)
        group->calls.start(group->calls.ctx, (uint32_t)list->elems[i].partition);
}

/* Any question that the client's own thread answers. */
static void client_wake(rd_kafka_t *client)
{
    char *member = rd_kafka_memberid(client);

    if (member != NULL)
        rd_kafka_mem_free(client, member);
}

/* Whoever leaves gives at once, and so does who lost its share already. */
static void round_wait(struct log_group *group)
{
    int64_t until_us = clock_mono_us() + (int64_t)ROUND_MS * 1000;

    while (clock_mono_us() < until_us && !atomic_load(&group->leaving) && !rd_kafka_assignment_lost(group->client)) {
        (void)usleep(POLL_MS * 1000);
        client_wake(group->client);
    }
}

static void partitions_give(struct log_group *group, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_error_t *error;

    round_wait(group);
    for (int i = 0; i < list->cnt && group->calls.leave != NULL; i++) /* each ends its batch, side by side */
        group->calls.leave(group->calls.ctx, (uint32_t)list->elems[i].partition);
    for (int i = 0; i < list->cnt; i++)
        group->calls.stop(group->calls.ctx, (uint32_t)list->elems[i].partition);
    error = rd_kafka_incremental_unassign(group->client, list);
    if (error != NULL) {
        say(SAY_ERROR, "the group's partitions could not be given back: %s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
}

static void rebalance(rd_kafka_t *client, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct log_group *group = opaque;

    (void)client;
    group->answered = true;
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        partitions_take(group, list);
    else
        partitions_give(group, list);
}

/* Who waits here has no unit yet that could be seen to stand still. */
static void answer_look(struct log_group *group)
{
    int64_t now_us = clock_mono_us();

    if (group->answered || now_us < group->tell_us)
        return;
    group->tell_us = now_us + ANSWER_AGAIN_US;
    say(SAY_WARN, "group %s: nobody has said for %.0f s which partitions are ours: a member that does not answer is waited for, or its brokers "
        "(kafka-consumer-groups.sh --describe --members --group %s)", group->name, (double)(now_us - group->asked_us) / 1e6, group->name);
}

static void *group_main(void *arg)
{
    static struct say_gate gate;
    struct log_group      *group = arg;

    while (!atomic_load(&group->leaving)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(group->client, POLL_MS);

        client_wake(group->client);
        answer_look(group);
        if (message == NULL)
            continue;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            say_seldom(&gate, SAY_WARN, "group: %s", kafka_client_text(message->err));
        rd_kafka_message_destroy(message);
    }
    (void)rd_kafka_consumer_close(group->client); /* stops what is started */
    return NULL;
}

static int client_make(const struct kafka_log *log, const char *role, struct log_group *group, struct err *err)
{
    rd_kafka_conf_t *conf;
    char             name[80];

    (void)snprintf(name, sizeof name, "%.64s.members", role);
    if (kafka_member_conf(log->options, name, HEARTBEAT_MS, &conf, err) < 0)
        return -1;
    if (kafka_client_set(conf, "queued.min.messages", "1", err) < 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    rd_kafka_conf_set_opaque(conf, group);
    rd_kafka_conf_set_rebalance_cb(conf, rebalance);
    if (kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &group->client, err) < 0)
        return -1;
    (void)rd_kafka_conf_get(rd_kafka_conf(group->client), "group.id", group->name, &(size_t){ sizeof group->name });
    (void)rd_kafka_poll_set_consumer(group->client);
    return 0;
}

static int group_join(struct log *of, const char *role, const char *topic, struct log_group *group, struct err *err)
{
    const struct log_topic_options   defaults = { .codec = LOG_CODEC_NONE };
    struct kafka_log                *log = kafka_log_of(of);
    rd_kafka_topic_partition_list_t *topics;
    rd_kafka_resp_err_t              error;
    char                             name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    int                              rc;

    if (kafka_topic_name(log, topic, name, err) < 0 || kafka_topic_ready(log, name, &defaults, err) < 0 ||
        client_make(log, role, group, err) < 0)
        return -1;
    topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, name, RD_KAFKA_PARTITION_UA);
    error = rd_kafka_subscribe(group->client, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_destroy(group->client);
        return kafka_client_err(err, role, error);
    }
    group->asked_us = clock_mono_us();
    group->tell_us = group->asked_us + ANSWER_US;
    rc = pthread_create(&group->thread, NULL, group_main, group);
    if (rc == 0)
        return 0;
    rd_kafka_destroy(group->client);
    return err_errno(err, rc, "start the group's thread");
}

/* --- both -------------------------------------------------------------------------------------- */

int log_group_join(struct log *log, const char *role, const char *topic, const struct log_group_calls *calls, struct log_group **out,
                   struct err *err)
{
    struct log_group *group = calloc(1, sizeof *group);

    if (group == NULL)
        return err_set(err, ERR_FULL, "no memory for a group");
    group->calls = *calls;
    if (log_is_kafka(log) && group_join(log, role, topic, group, err) < 0) {
        free(group);
        return -1;
    }
    if (group->client == NULL)
        calls->start(calls->ctx, 0);
    *out = group;
    return 0;
}

void log_group_leave(struct log_group *group)
{
    if (group == NULL)
        return;
    if (group->client == NULL) {
        group->calls.stop(group->calls.ctx, 0);
    } else {
        atomic_store(&group->leaving, true);
        pthread_join(group->thread, NULL);
        rd_kafka_destroy(group->client);
    }
    free(group);
}
