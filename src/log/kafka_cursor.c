/* log/kafka_cursor.c - cursors as the committed offsets of consumer groups, so that everybody's tools see how far we are.
 *
 * The group is named PREFIXpenstock.CONSUMER and has no members (members would have to commit as such: log_group.c has other
 * groups). What is committed is Kafka's offset; ours stands beside it as the commit's metadata. In topics with one writer
 * Kafka's offset is where our reader was when the cursor was stored: near, and for people only.
 * Told at most five times a second, and asked as often: a cursor is a copy, and an old one is harmless. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "log/kafka_client.h"
#include "log/kafka_frame.h"
#include "log/kafka_log.h"

enum { TELL_EVERY_US = 200000, ASK_MS = 3000, CLOSE_MS = 2000 };

struct cursor {
    char     topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    uint32_t partition;
    uint64_t offset;
    bool     known, stored, told; /* offset is; by us; and was sent */
    int64_t  at_us;       /* of the monotonic clock: last told, or asked */
};

struct kafka_cursors {
    struct kafka_cursors *next;
    char                  consumer[LOG_CURSOR_NAME_BYTES_MAX + 1];
    rd_kafka_t           *client;
    struct cursor        *at;
    size_t                count;
};

static int consumer_new(struct kafka_log *log, const char *consumer, struct kafka_cursors **out, struct err *err)
{
    struct kafka_cursors *cursors = calloc(1, sizeof *cursors);
    rd_kafka_conf_t      *conf;
    char                  group[KAFKA_TOPIC_NAME_BYTES_MAX + 1];

    if (cursors == NULL)
        return err_set(err, ERR_FULL, "no memory for a cursor");
    (void)snprintf(group, sizeof group, "%spenstock.%s", log->options->topic_prefix != NULL ? log->options->topic_prefix : "", consumer);
    (void)snprintf(cursors->consumer, sizeof cursors->consumer, "%s", consumer);
    if (kafka_client_conf(log->options->brokers, log->options->client_properties, KAFKA_CLIENT_CONSUMER, &conf, err) < 0) {
        free(cursors);
        return -1;
    }
    if (kafka_client_set(conf, "group.id", group, err) < 0) {
        rd_kafka_conf_destroy(conf);
        free(cursors);
        return -1;
    }
    if (kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &cursors->client, err) < 0) {
        free(cursors);
        return -1;
    }
    cursors->next = log->cursors;
    log->cursors = cursors;
    *out = cursors;
    return 0;
}

/* With the lock held. */
static int cursor_find(struct kafka_log *log, const char *topic, uint32_t partition, const char *consumer,
                     struct kafka_cursors **cursors_out, struct cursor **out, struct err *err)
{
    struct kafka_cursors *cursors = log->cursors;
    struct cursor        *grown;

    if (strlen(consumer) > LOG_CURSOR_NAME_BYTES_MAX || strlen(topic) > LOG_TOPIC_NAME_BYTES_MAX)
        return err_set(err, ERR_INPUT, "cursor name \"%.80s\" is longer than %d bytes", consumer, LOG_CURSOR_NAME_BYTES_MAX);
    while (cursors != NULL && strcmp(cursors->consumer, consumer) != 0)
        cursors = cursors->next;
    if (cursors == NULL && consumer_new(log, consumer, &cursors, err) < 0)
        return -1;
    *cursors_out = cursors;
    for (size_t i = 0; i < cursors->count; i++)
        if (cursors->at[i].partition == partition && strcmp(cursors->at[i].topic, topic) == 0) {
            *out = &cursors->at[i];
            return 0;
        }
    grown = realloc(cursors->at, (cursors->count + 1) * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_FULL, "no memory for a cursor");
    cursors->at = grown;
    *out = &grown[cursors->count++];
    **out = (struct cursor){ .partition = partition };
    (void)snprintf((*out)->topic, sizeof (*out)->topic, "%s", topic);
    return 0;
}

/* Takes the lock, also when it fails, and finds the cursor; name: of the topic on Kafka. */
static int cursor_take(struct kafka_log *log, const char *topic, uint32_t partition, const char *consumer,
                       struct kafka_cursors **cursors_out, struct cursor **out, char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1], struct err *err)
{
    pthread_mutex_lock(&log->cursors_lock);
    if (kafka_topic_name(log, topic, name, err) < 0)
        return -1;
    return cursor_find(log, topic, partition, consumer, cursors_out, out, err);
}

static rd_kafka_topic_partition_list_t *place_list(const char *name, const struct cursor *cursor, int64_t message, bool meta)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t      *at = rd_kafka_topic_partition_list_add(list, name, (int32_t)cursor->partition);

    at->offset = message;
    if (meta) {
        char text[40];
        int  bytes = snprintf(text, sizeof text, "penstock %llu", (unsigned long long)cursor->offset);

        at->metadata = strdup(text); /* the list's from now on */
        at->metadata_size = at->metadata != NULL ? (size_t)bytes : 0;
    }
    return list;
}

static int64_t cursor_message(struct kafka_log *log, const struct cursor *cursor, const char *name)
{
    return kafka_topic_shared(log, cursor->topic) ? kafka_offset_message(cursor->offset)
                                                  : kafka_places_get(log, name, (int32_t)cursor->partition);
}

int kafka_cursor_store(struct log *of, const char *topic, uint32_t partition, const char *consumer, uint64_t offset, struct err *err)
{
    struct kafka_log     *log = kafka_log_of(of);
    struct kafka_cursors *cursors;
    struct cursor        *cursor;
    char                  name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    int64_t               now_us = clock_mono_us();
    int                   rc = cursor_take(log, topic, partition, consumer, &cursors, &cursor, name, err);

    if (rc == 0 && !(cursor->told && cursor->offset == offset)) {
        cursor->known = cursor->stored = true;
        cursor->told = false;
        cursor->offset = offset;
        if (now_us - cursor->at_us >= TELL_EVERY_US || cursor->at_us == 0) {
            rd_kafka_topic_partition_list_t *list = place_list(name, cursor, cursor_message(log, cursor, name), true);
            rd_kafka_resp_err_t              error = rd_kafka_commit(cursors->client, list, 1);

            rd_kafka_topic_partition_list_destroy(list);
            cursor->at_us = now_us;
            cursor->told = error == RD_KAFKA_RESP_ERR_NO_ERROR;
            if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
                rc = kafka_client_err(err, topic, error);
        }
    }
    pthread_mutex_unlock(&log->cursors_lock);
    return rc;
}

/* What the brokers say of one. true: found. */
static bool cursor_learn(struct kafka_log *log, struct cursor *cursor, const rd_kafka_topic_partition_t *told)
{
    unsigned long long offset;
    char               text[40] = { 0 };
    size_t             bytes = told->metadata_size < sizeof text - 1 ? told->metadata_size : sizeof text - 1;

    if (told->offset < 0)
        return false;
    if (bytes > 0)
        memcpy(text, told->metadata, bytes);
    if (sscanf(text, "penstock %llu", &offset) != 1)
        return false;
    cursor->known = true;
    cursor->offset = offset;
    if (told->offset > 0 && !kafka_topic_shared(log, cursor->topic))
        kafka_places_set(log, told->topic, (int32_t)cursor->partition, offset, told->offset);
    return true;
}

/* 1: found; 0; -1. */
static int cursor_ask(struct kafka_log *log, struct kafka_cursors *cursors, struct cursor *cursor, const char *name, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = place_list(name, cursor, RD_KAFKA_OFFSET_INVALID, false);
    rd_kafka_resp_err_t              error = rd_kafka_committed(cursors->client, list, ASK_MS);
    int                              rc;

    rc = error != RD_KAFKA_RESP_ERR_NO_ERROR ? kafka_client_err(err, cursor->topic, error) : cursor_learn(log, cursor, &list->elems[0]);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

/* What fails here is asked again by whoever needs it. An element's opaque is its cursor's number: the array may move while it grows. */
void kafka_cursors_expect(struct log *of, const char *const *topics, size_t count, uint32_t partition, const char *consumer)
{
    struct kafka_log                *log = kafka_log_of(of);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    struct kafka_cursors            *cursors = NULL;
    struct cursor                   *cursor;
    char                             name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    int64_t                          now_us = clock_mono_us();
    struct err                       ignored;

    pthread_mutex_lock(&log->cursors_lock);
    for (size_t i = 0; i < count; i++)
        if (topics[i] != NULL && kafka_topic_name(log, topics[i], name, &ignored) == 0 &&
            cursor_find(log, topics[i], partition, consumer, &cursors, &cursor, &ignored) == 0)
            rd_kafka_topic_partition_list_add(list, name, (int32_t)partition)->opaque = (void *)(uintptr_t)(cursor - cursors->at);
    if (list->cnt > 0 && rd_kafka_committed(cursors->client, list, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (int i = 0; i < list->cnt; i++) {
            cursor = &cursors->at[(uintptr_t)list->elems[i].opaque];
            (void)cursor_learn(log, cursor, &list->elems[i]);
            cursor->at_us = now_us;
        }
    pthread_mutex_unlock(&log->cursors_lock);
    rd_kafka_topic_partition_list_destroy(list);
}

int kafka_cursor_load(struct log *of, const char *topic, uint32_t partition, const char *consumer, uint64_t *offset_out, struct err *err)
{
    struct kafka_log     *log = kafka_log_of(of);
    struct kafka_cursors *cursors;
    struct cursor        *cursor;
    char                  name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    int64_t               now_us = clock_mono_us();
    int                   rc = cursor_take(log, topic, partition, consumer, &cursors, &cursor, name, err);

    if (rc == 0 && (cursor->at_us == 0 || now_us - cursor->at_us >= TELL_EVERY_US)) {
        cursor->at_us = now_us;
        rc = cursor_ask(log, cursors, cursor, name, err);
    }
    if (rc >= 0) {
        rc = cursor->known;
        *offset_out = cursor->offset;
    }
    pthread_mutex_unlock(&log->cursors_lock);
    return rc;
}

/* 1: found, -1. */
static int begin_check(struct kafka_cursors *cursors, const rd_kafka_topic_partition_t *told, struct err *err)
{
    int64_t             low, high;
    rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(cursors->client, told->topic, told->partition, &low, &high, ASK_MS);

    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_client_err(err, told->topic, error);
    if (told->offset > high)
        return err_set(err, ERR_RETRY, "%s/%d is to be read from message %lld on, as the group that says where to begin has it, and ends at %lld",
                       told->topic, (int)told->partition, (long long)told->offset, (long long)high);
    return 1;
}

int kafka_begin(struct log *of, const char *topic, uint32_t partition, uint64_t *out, struct err *err)
{
    struct kafka_log                *log = kafka_log_of(of);
    const struct log_form_hooks     *hooks = log->options->hooks;
    struct kafka_cursors            *cursors;
    struct cursor                   *cursor;
    char                             name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    rd_kafka_topic_partition_list_t *list;
    int                              rc;

    *out = 0;
    if (!kafka_topic_shared(log, topic) || hooks == NULL || hooks->topic_name == NULL || hooks->topic_name(hooks->ctx, topic) == NULL)
        return 0; /* nobody else's */
    rc = cursor_take(log, topic, partition, "begin", &cursors, &cursor, name, err);
    if (rc == 0) {
        rd_kafka_resp_err_t error;

        list = place_list(name, cursor, RD_KAFKA_OFFSET_INVALID, false);
        error = rd_kafka_committed(cursors->client, list, ASK_MS);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
            error = list->elems[0].err;
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            rc = kafka_client_err(err, "where the group penstock.begin stands", error);
        else if (list->elems[0].offset > 0)
            rc = begin_check(cursors, &list->elems[0], err);
        if (rc == 1)
            *out = kafka_offset_make(list->elems[0].offset, 0);
        rd_kafka_topic_partition_list_destroy(list);
    }
    pthread_mutex_unlock(&log->cursors_lock);
    return rc;
}

/* What was held back for a moment is told. */
static void consumer_tell(struct kafka_log *log, struct kafka_cursors *cursors)
{
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new((int)cursors->count + 1);
    rd_kafka_queue_t                *answers = rd_kafka_queue_new(cursors->client);

    for (size_t i = 0; i < cursors->count; i++) {
        struct cursor                   *cursor = &cursors->at[i];
        rd_kafka_topic_partition_list_t *one;
        rd_kafka_topic_partition_t      *at;
        char                             name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
        struct err                       err;

        if (!cursor->stored || cursor->told || kafka_topic_name(log, cursor->topic, name, &err) < 0)
            continue;
        one = place_list(name, cursor, cursor_message(log, cursor, name), true);
        at = rd_kafka_topic_partition_list_add(all, name, (int32_t)cursor->partition);
        at->offset = one->elems[0].offset;
        at->metadata = one->elems[0].metadata;
        at->metadata_size = one->elems[0].metadata_size;
        one->elems[0].metadata = NULL;
        rd_kafka_topic_partition_list_destroy(one);
    }
    if (all->cnt > 0 && rd_kafka_commit_queue(cursors->client, all, answers, NULL, NULL) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *answer = rd_kafka_queue_poll(answers, CLOSE_MS);

        if (answer != NULL)
            rd_kafka_event_destroy(answer);
    }
    rd_kafka_queue_destroy(answers);
    rd_kafka_topic_partition_list_destroy(all);
}

void kafka_cursors_close(struct kafka_log *log)
{
    while (log->cursors != NULL) {
        struct kafka_cursors *cursors = log->cursors;

        log->cursors = cursors->next;
        consumer_tell(log, cursors);
        rd_kafka_destroy(cursors->client);
        free(cursors->at);
        free(cursors);
    }
}
