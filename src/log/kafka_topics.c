/* log/kafka_topics.c - see kafka_topics.h. Settings of a broker or a topic are texts; what cannot be asked (no permission to
 * describe) is not held against a topic: it is said, and Penstock starts. */
#include "log/kafka_topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "log/kafka_client.h"

enum { TOPICS_MAX = 32, TOPIC_LOOK_MS = 100 };

struct topics_work {
    rd_kafka_t                    *client;
    const char                    *brokers;
    const struct kafka_topic_wish *wishes;
    size_t                         count;
    int64_t                        until_us;
    kafka_topics_told             *told;
    void                          *ctx;
    struct kafka_topic_found      *found;
};

static int work_left_ms(const struct topics_work *work)
{
    int64_t left_us = work->until_us - clock_mono_us();

    return left_us < TOPIC_LOOK_MS * 1000 ? TOPIC_LOOK_MS : (int)(left_us / 1000);
}

static uint32_t wish_insync(const struct kafka_topic_wish *wish)
{
    if (wish->insync_min > 0)
        return wish->insync_min;
    return wish->replication > 1 ? wish->replication - 1 : 1;
}

static void topic_tell(const struct topics_work *work, size_t i, const char *text)
{
    work->found[i].wrong++;
    if (work->told != NULL)
        work->told(work->ctx, text);
}

/* "kafka: topic T: what; mend it with: command" */
#define TOPIC_TELL(work, i, ...)                                                                                       \
    do {                                                                                                               \
        char told_text[700];                                                                                           \
        (void)snprintf(told_text, sizeof told_text, __VA_ARGS__);                                                      \
        topic_tell(work, i, told_text);                                                                                \
    } while (0)

/* --- admin requests ---------------------------------------------------------------------------- */

static rd_kafka_AdminOptions_t *admin_options(struct topics_work *work, rd_kafka_admin_op_t op)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(work->client, op);
    char                     text[100];

    (void)rd_kafka_AdminOptions_set_request_timeout(options, work_left_ms(work), text, sizeof text);
    return options;
}

/* The answer, or NULL after the time. To be destroyed by the caller. */
static rd_kafka_event_t *admin_answer(struct topics_work *work, rd_kafka_queue_t *queue)
{
    return rd_kafka_queue_poll(queue, work_left_ms(work) + 1000);
}

struct setting { const char *name; char value[24]; };
enum { SETTINGS_MAX = 5 };

/* What is set of a topic that is made. */
static size_t wish_settings(const struct kafka_topic_wish *wish, struct setting settings[SETTINGS_MAX])
{
    const struct { const char *name; bool set; int64_t value; } numbers[] = {
        { "min.insync.replicas", wish->replication > 0, wish_insync(wish) },
        { "retention.ms", wish->retention_ms != 0, wish->retention_ms },
        { "retention.bytes", wish->retention_bytes != 0, wish->retention_bytes },
        { "max.message.bytes", wish->message_bytes_max > 0, wish->message_bytes_max },
    };
    size_t count = 0;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].set) {
            settings[count].name = numbers[i].name;
            (void)snprintf(settings[count++].value, sizeof settings[0].value, "%" PRId64, numbers[i].value);
        }
    settings[count++] = (struct setting){ "cleanup.policy", "delete" };
    return count;
}

static rd_kafka_NewTopic_t *topic_new(const struct kafka_topic_wish *wish, struct err *err)
{
    char                 text[200] = "";
    struct setting       settings[SETTINGS_MAX];
    size_t               count = wish_settings(wish, settings);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(wish->name, (int)wish->partitions,
                                                       wish->replication == 0 ? -1 : (int)wish->replication, text, sizeof text);

    if (topic == NULL) {
        err_set(err, ERR_INPUT, "kafka: topic %s: %s", wish->name, text);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_NewTopic_set_config(topic, settings[i].name, settings[i].value) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_NewTopic_destroy(topic);
            err_set(err, ERR_INPUT, "kafka: %s cannot be set", settings[i].name);
            return NULL;
        }
    return topic;
}

void kafka_topic_command(const struct kafka_topic_wish *wish, const char *brokers, char command[KAFKA_TOPIC_COMMAND_BYTES])
{
    struct setting settings[SETTINGS_MAX];
    size_t         count = wish_settings(wish, settings);
    struct buf     text;

    buf_init(&text, KAFKA_TOPIC_COMMAND_BYTES);
    buf_add_format(&text, "kafka-topics.sh --bootstrap-server %.300s --create --topic %s --partitions %u", brokers, wish->name, wish->partitions);
    if (wish->replication > 0)
        buf_add_format(&text, " --replication-factor %u", wish->replication);
    for (size_t i = 0; i < count; i++)
        buf_add_format(&text, " --config %s=%s", settings[i].name, settings[i].value);
    (void)snprintf(command, KAFKA_TOPIC_COMMAND_BYTES, "%.*s", SPAN_ARG(buf_span(&text)));
    buf_fini(&text);
}

static int topics_made(struct topics_work *work, rd_kafka_event_t *answer, struct err *err)
{
    const rd_kafka_CreateTopics_result_t *result = answer == NULL ? NULL : rd_kafka_event_CreateTopics_result(answer);
    const rd_kafka_topic_result_t       **topics;
    size_t                                count;
    int                                   rc = 0;

    if (result == NULL)
        return err_set(err, ERR_RETRY, "kafka: topics cannot be made: %s do not answer", work->brokers);
    if (rd_kafka_event_error(answer) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_client_err(err, "making topics", rd_kafka_event_error(answer));
    topics = rd_kafka_CreateTopics_result_topics(result, &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(topics[i]);
        const char         *name = rd_kafka_topic_result_name(topics[i]);
        bool                there = code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS; /* another node was quicker */
        char                where[300];

        for (size_t k = 0; k < work->count; k++)
            if (strcmp(work->wishes[k].name, name) == 0)
                *(there ? &work->found[k].made : &work->found[k].missing) = true;
        if (there)
            continue;
        (void)snprintf(where, sizeof where, "topic %.249s cannot be made", name);
        rc = kafka_client_err(err, where, code);
    }
    return rc;
}

static int topics_make(struct topics_work *work, const bool *missing, struct err *err)
{
    rd_kafka_NewTopic_t     *topics[TOPICS_MAX];
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t        *queue;
    rd_kafka_event_t        *answer;
    size_t                   count = 0;
    int                      rc = 0;

    for (size_t i = 0; i < work->count && rc == 0; i++) {
        if (!missing[i])
            continue;
        topics[count] = topic_new(&work->wishes[i], err);
        if (topics[count] == NULL)
            rc = -1;
        else
            count++;
    }
    if (rc == 0) {
        options = admin_options(work, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        queue = rd_kafka_queue_new(work->client);
        rd_kafka_CreateTopics(work->client, topics, count, options, queue);
        answer = admin_answer(work, queue);
        rc = topics_made(work, answer, err);
        if (answer != NULL)
            rd_kafka_event_destroy(answer);
        rd_kafka_queue_destroy(queue);
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_NewTopic_destroy_array(topics, count);
    return rc;
}

/* --- what is there ----------------------------------------------------------------------------- */

static int topic_judge_shape(struct topics_work *work, size_t i, const struct rd_kafka_metadata_topic *topic, struct err *err)
{
    const struct kafka_topic_wish *wish = &work->wishes[i];
    uint32_t                       copies = UINT32_MAX;

    work->found[i].partitions = (uint32_t)topic->partition_cnt;
    if (!wish->partitions_any && work->found[i].partitions < wish->partitions)
        return err_set(err, ERR_INPUT, "kafka: topic %s has %u partitions, not log.partitions: %u. Before events are in it: "
                       "kafka-topics.sh --bootstrap-server %.60s --alter --topic %s --partitions %u", wish->name, work->found[i].partitions,
                       wish->partitions, work->brokers, wish->name, wish->partitions);
    if (!wish->partitions_any && work->found[i].partitions > wish->partitions)
        return err_set(err, ERR_INPUT, "kafka: topic %s has %u partitions, more than log.partitions: %u; they cannot become fewer: "
                       "set log.partitions: %u", wish->name, work->found[i].partitions, wish->partitions, work->found[i].partitions);
    for (int p = 0; p < topic->partition_cnt; p++)
        if ((uint32_t)topic->partitions[p].replica_cnt < copies)
            copies = (uint32_t)topic->partitions[p].replica_cnt;
    if (wish->replication > 0 && copies < wish->replication)
        TOPIC_TELL(work, i, "kafka: topic %s has %u copies of a partition, not log.replication: %u; mend it with kafka-reassign-partitions.sh "
                   "--bootstrap-server %s (a plan with %u replicas for each of its partitions)", wish->name, copies, wish->replication,
                   work->brokers, wish->replication);
    return 0;
}

static void topic_judge_number(struct topics_work *work, size_t i, const char *name, int64_t is, int64_t wished, const char *why)
{
    const struct kafka_topic_wish *wish = &work->wishes[i];

    TOPIC_TELL(work, i, "kafka: topic %s has %s=%" PRId64 ", should have %" PRId64 ": %s; mend it with: kafka-configs.sh --bootstrap-server %s "
               "--alter --entity-type topics --entity-name %s --add-config %s=%" PRId64, wish->name, name, is, wished, why, work->brokers,
               wish->name, name, wished);
}

static void topic_judge_setting(struct topics_work *work, size_t i, const char *name, const char *value)
{
    const struct kafka_topic_wish *wish = &work->wishes[i];
    int64_t                        is = strtoll(value, NULL, 10);

    if (strcmp(name, "min.insync.replicas") == 0 && wish->replication > 0) {
        if (is < wish_insync(wish))
            topic_judge_number(work, i, name, is, wish_insync(wish), "a broker that dies could take with it what was answered with 200");
        else if (is >= wish->replication && wish->replication > 1)
            topic_judge_number(work, i, name, is, wish_insync(wish), "with one broker away nothing can be written");
    } else if (strcmp(name, "retention.ms") == 0 && wish->retention_ms != 0 && is >= 0 && (wish->retention_ms < 0 || is < wish->retention_ms)) {
        topic_judge_number(work, i, name, is, wish->retention_ms, "what nobody read yet would be deleted");
    } else if (strcmp(name, "retention.bytes") == 0 && wish->retention_bytes != 0 && is >= 0 &&
               (wish->retention_bytes < 0 || is < wish->retention_bytes)) {
        topic_judge_number(work, i, name, is, wish->retention_bytes, "what nobody read yet would be deleted");
    } else if (strcmp(name, "max.message.bytes") == 0) {
        work->found[i].message_bytes_max = is;
        if (wish->message_bytes_max > 0 && is < wish->message_bytes_max)
            topic_judge_number(work, i, name, is, wish->message_bytes_max, "larger events become dead letters without their bytes");
    } else if (strcmp(name, "cleanup.policy") == 0 && strcmp(value, "delete") != 0) {
        TOPIC_TELL(work, i, "kafka: topic %s has cleanup.policy=%s, should have delete: records would vanish; mend it with: kafka-configs.sh "
                   "--bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config cleanup.policy=delete", wish->name, value,
                   work->brokers, wish->name);
    }
}

static int topics_described(struct topics_work *work, rd_kafka_event_t *answer, struct err *err)
{
    const rd_kafka_DescribeConfigs_result_t *result = answer == NULL ? NULL : rd_kafka_event_DescribeConfigs_result(answer);
    const rd_kafka_ConfigResource_t        **resources;
    size_t                                   count, entries;

    if (result == NULL || rd_kafka_event_error(answer) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err_set(err, ERR_RETRY, "kafka: settings of topics cannot be asked: %s do not answer", work->brokers);
    resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
    for (size_t r = 0; r < count; r++) {
        const rd_kafka_ConfigEntry_t **settings = rd_kafka_ConfigResource_configs(resources[r], &entries);
        const char                    *name = rd_kafka_ConfigResource_name(resources[r]);

        for (size_t i = 0; i < work->count; i++) {
            if (strcmp(work->wishes[i].name, name) != 0)
                continue;
            if (rd_kafka_ConfigResource_error(resources[r]) != RD_KAFKA_RESP_ERR_NO_ERROR && work->told != NULL)
                TOPIC_TELL(work, i, "kafka: topic %s: its settings cannot be looked at (%s), so nobody knows whether they are right; it needs "
                           "DescribeConfigs", name, kafka_client_text(rd_kafka_ConfigResource_error(resources[r])));
            for (size_t k = 0; k < entries; k++)
                if (rd_kafka_ConfigEntry_value(settings[k]) != NULL)
                    topic_judge_setting(work, i, rd_kafka_ConfigEntry_name(settings[k]), rd_kafka_ConfigEntry_value(settings[k]));
        }
    }
    return 0;
}

static int topics_describe(struct topics_work *work, struct err *err)
{
    rd_kafka_ConfigResource_t *resources[TOPICS_MAX];
    rd_kafka_AdminOptions_t   *options = admin_options(work, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_queue_t          *queue = rd_kafka_queue_new(work->client);
    rd_kafka_event_t          *answer;
    int                        rc;

    for (size_t i = 0; i < work->count; i++)
        resources[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, work->wishes[i].name);
    rd_kafka_DescribeConfigs(work->client, resources, work->count, options, queue);
    answer = admin_answer(work, queue);
    rc = topics_described(work, answer, err);
    if (answer != NULL)
        rd_kafka_event_destroy(answer);
    rd_kafka_ConfigResource_destroy_array(resources, work->count);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return rc;
}

static const struct rd_kafka_metadata_topic *topic_find(const struct rd_kafka_metadata *metadata, const char *name)
{
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, name) == 0 && metadata->topics[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            return &metadata->topics[i];
    return NULL;
}

/* 1: all are there; 0: some are missing (marked). A topic that was just made may not be in the first answer. */
static int topics_look(struct topics_work *work, bool *missing, struct err *err)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t             code;
    int                             rc = 1;

    do {
        code = rd_kafka_metadata(work->client, 1, NULL, &metadata, work_left_ms(work));
    } while (code == RD_KAFKA_RESP_ERR__TRANSPORT && clock_mono_us() < work->until_us && rd_kafka_poll(work->client, 50) >= 0);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_client_err(err, work->brokers, code);
    for (size_t i = 0; i < work->count && rc >= 0; i++) {
        const struct rd_kafka_metadata_topic *topic = topic_find(metadata, work->wishes[i].name);

        missing[i] = topic == NULL;
        if (topic == NULL)
            rc = 0;
    }
    for (size_t i = 0; i < work->count && rc == 1; i++)
        if (topic_judge_shape(work, i, topic_find(metadata, work->wishes[i].name), err) < 0)
            rc = -1;
    rd_kafka_metadata_destroy(metadata);
    return rc;
}

int kafka_topics_ensure(rd_kafka_t *client, const char *brokers, const struct kafka_topic_wish *wishes, size_t count, int64_t wait_us,
                        kafka_topics_told *told, void *ctx, struct kafka_topic_found *found, struct err *err)
{
    struct topics_work work = { .client = client, .brokers = brokers, .wishes = wishes, .count = count,
                                .until_us = clock_mono_us() + wait_us, .told = told, .ctx = ctx, .found = found };
    bool               missing[TOPICS_MAX] = { false }, made = false;
    int                rc;

    if (count > TOPICS_MAX)
        return err_set(err, ERR_INPUT, "kafka: %zu topics at once", count);
    memset(found, 0, count * sizeof *found);
    while ((rc = topics_look(&work, missing, err)) == 0) {
        if (!made && topics_make(&work, missing, err) < 0)
            return -1;
        made = true;
        if (clock_mono_us() >= work.until_us)
            return err_set(err, ERR_RETRY, "kafka: topics were made, but the brokers do not show them");
        (void)rd_kafka_poll(client, TOPIC_LOOK_MS);
    }
    return rc < 0 ? -1 : told == NULL ? 0 : topics_describe(&work, err);
}
