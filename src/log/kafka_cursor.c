/* log/kafka_cursor.c - cursors as the committed offsets of consumer groups, so that everybody's tools see how far we are.
 *
 * The group is named PREFIXpenstock.CONSUMER and has no members (members would have to commit as such: log_group.c has other
 * groups). What is committed is Kafka's offset; ours stands beside it as the commit's metadata. In topics with one writer
 * Kafka's offset is where our reader was when the cursor was stored: near, and for people only.
 * Told at most five times a second, and asked as often: a cursor is a copy, and an old one is harmless. But nobody would mend one that
 * the brokers did not take when nothing new comes: so their answer is heard, in a queue that is looked into when a cursor is stored, and
 * the newest place is sent until it is taken. One commit of a cursor at a time: librdkafka keeps back what it cannot send yet, and sends
 * again what failed, and either would come behind a newer one and win. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/kafka_client.h"
#include "log/kafka_frame.h"
#include "log/kafka_log.h"

enum { TELL_EVERY_US = 200000, TELL_AGAIN_US_MAX = 3200000, ASK_MS = 3000, CLOSE_US = 2000000,
       ANSWER_US = 90000000, /* longer than librdkafka keeps one: 45 s while it looks for the group's coordinator, and three sendings */
       OURS_US = 5000000     /* who stores does so every second: after this, others may be the partition's owners, and further on */ };

struct cursor {
    char     topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    uint32_t partition;
    uint64_t offset;      /* the newest */
    bool     known, stored, taken; /* offset is; by us; and the brokers said that they have it */
    uint64_t sent;        /* offset of the commit that is under way, and that commit's number; 0: none is */
    uint64_t commit;
    int64_t  stored_us, sent_us, asked_us; /* of the monotonic clock; 0: never */
    int64_t  pause_us;    /* from sent_us to the next */
};

struct kafka_cursors {
    struct kafka_cursors *next;
    char                  consumer[LOG_CURSOR_NAME_BYTES_MAX + 1];
    rd_kafka_t           *client;
    rd_kafka_queue_t     *answers; /* to commits, with these numbers for opaque */
    uint64_t              commits; /* so many there were */
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
    cursors->answers = rd_kafka_queue_new(cursors->client);
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
    **out = (struct cursor){ .partition = partition, .pause_us = TELL_EVERY_US };
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

static void place_add(rd_kafka_topic_partition_list_t *list, const char *name, const struct cursor *cursor, int64_t message)
{
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, name, (int32_t)cursor->partition);
    char                        text[40];
    int                         bytes = snprintf(text, sizeof text, "penstock %llu", (unsigned long long)cursor->offset);

    at->offset = message;
    at->metadata = strdup(text); /* the list's from now on */
    at->metadata_size = at->metadata != NULL ? (size_t)bytes : 0;
}

static rd_kafka_topic_partition_list_t *place_asked(const char *name, const struct cursor *cursor)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, name, (int32_t)cursor->partition)->offset = RD_KAFKA_OFFSET_INVALID;
    return list;
}

static int64_t cursor_message(struct kafka_log *log, const struct cursor *cursor, const char *name)
{
    return kafka_topic_shared(log, cursor->topic) ? kafka_offset_message(cursor->offset)
                                                  : kafka_places_get(log, name, (int32_t)cursor->partition);
}

/* --- telling ----------------------------------------------------------------------------------- */

/* Our place, which the brokers do not have yet as far as we know. */
static bool cursor_pending(const struct cursor *cursor, int64_t now_us)
{
    return cursor->stored && !cursor->taken && now_us - cursor->stored_us < OURS_US;
}

static void cursor_refused(const struct kafka_cursors *cursors, struct cursor *cursor, rd_kafka_resp_err_t error)
{
    static struct say_gate gate;

    if (cursor->pause_us >= TELL_AGAIN_US_MAX) /* no short trouble */
        say_seldom(&gate, SAY_WARN, "kafka: how far %s has come in %s/%u is not taken: %s [%s]; trying again, and until then others see an older place",
                   cursors->consumer, cursor->topic, (unsigned)cursor->partition, kafka_client_text(error), rd_kafka_err2name(error));
    cursor->pause_us = cursor->pause_us * 2 < TELL_AGAIN_US_MAX ? cursor->pause_us * 2 : TELL_AGAIN_US_MAX;
}

/* Of one that was given up nobody knows whether it came in front of the one sent after it: all are sent again. */
static void answer_take(struct kafka_cursors *cursors, rd_kafka_event_t *answer)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(answer);
    uint64_t                         commit = (uint64_t)(uintptr_t)rd_kafka_event_opaque(answer);
    rd_kafka_resp_err_t              error = rd_kafka_event_error(answer);
    bool                             given_up = true;

    for (int i = 0; list != NULL && error == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++)
        error = list->elems[i].err;
    for (size_t i = 0; i < cursors->count; i++) {
        struct cursor *cursor = &cursors->at[i];

        if (cursor->commit != commit)
            continue;
        given_up = false;
        cursor->commit = 0;
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            cursor->taken = cursor->sent == cursor->offset;
            cursor->pause_us = TELL_EVERY_US;
        } else {
            cursor_refused(cursors, cursor, error);
        }
    }
    for (size_t i = 0; given_up && i < cursors->count; i++)
        cursors->at[i].taken = false;
}

/* What there is of answers; waits for one until then when there is none. */
static void answers_take(struct kafka_cursors *cursors, int64_t until_us)
{
    int64_t           left_us = until_us - clock_mono_us();
    rd_kafka_event_t *answer = rd_kafka_queue_poll(cursors->answers, left_us > 0 ? (int)(left_us / 1000) : 0);

    for (; answer != NULL; answer = rd_kafka_queue_poll(cursors->answers, 0)) {
        answer_take(cursors, answer);
        rd_kafka_event_destroy(answer);
    }
}

static void cursor_sent(struct cursor *cursor, uint64_t commit, int64_t now_us)
{
    cursor->commit = commit;
    cursor->sent = cursor->offset;
    cursor->sent_us = now_us;
}

static rd_kafka_resp_err_t commit_send(struct kafka_cursors *cursors, const rd_kafka_topic_partition_list_t *list)
{
    return rd_kafka_commit_queue(cursors->client, list, cursors->answers, NULL, (void *)(uintptr_t)++cursors->commits);
}

/* Sends it, unless that is too early. */
static int cursor_tell(struct kafka_log *log, struct kafka_cursors *cursors, struct cursor *cursor, const char *name, int64_t now_us, struct err *err)
{
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t              error;

    if (cursor->sent_us != 0 && now_us - cursor->sent_us < (cursor->commit != 0 ? ANSWER_US : cursor->pause_us))
        return 0;
    list = rd_kafka_topic_partition_list_new(1);
    place_add(list, name, cursor, cursor_message(log, cursor, name));
    error = commit_send(cursors, list);
    rd_kafka_topic_partition_list_destroy(list);
    cursor_sent(cursor, error == RD_KAFKA_RESP_ERR_NO_ERROR ? cursors->commits : 0, now_us);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : kafka_client_err(err, cursor->topic, error);
}

int kafka_cursor_store(struct log *of, const char *topic, uint32_t partition, const char *consumer, uint64_t offset, struct err *err)
{
    struct kafka_log     *log = kafka_log_of(of);
    struct kafka_cursors *cursors;
    struct cursor        *cursor;
    char                  name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    int64_t               now_us = clock_mono_us();
    int                   rc = cursor_take(log, topic, partition, consumer, &cursors, &cursor, name, err);

    if (rc == 0) {
        if (cursor->commit != 0)
            answers_take(cursors, 0);
        cursor->taken = cursor->taken && cursor->offset == offset;
        cursor->known = cursor->stored = true;
        cursor->offset = offset;
        cursor->stored_us = now_us;
        if (!cursor->taken)
            rc = cursor_tell(log, cursors, cursor, name, now_us, err);
    }
    pthread_mutex_unlock(&log->cursors_lock);
    return rc;
}

/* --- asking ------------------------------------------------------------------------------------ */

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
    cursor->taken = cursor->taken && cursor->offset == offset;
    cursor->offset = offset;
    if (told->offset > 0 && !kafka_topic_shared(log, cursor->topic))
        kafka_places_set(log, told->topic, (int32_t)cursor->partition, offset, told->offset);
    return true;
}

/* 1: found; 0; -1. */
static int cursor_ask(struct kafka_log *log, struct kafka_cursors *cursors, struct cursor *cursor, const char *name, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = place_asked(name, cursor);
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
            if (!cursor_pending(cursor, now_us))
                (void)cursor_learn(log, cursor, &list->elems[i]);
            cursor->asked_us = now_us;
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

    if (rc == 0 && cursor->commit != 0)
        answers_take(cursors, 0);
    if (rc == 0 && !cursor_pending(cursor, now_us) && (cursor->asked_us == 0 || now_us - cursor->asked_us >= TELL_EVERY_US)) {
        cursor->asked_us = now_us;
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

        list = place_asked(name, cursor);
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

/* --- closing ----------------------------------------------------------------------------------- */

static void answers_await(struct kafka_cursors *cursors, int64_t until_us)
{
    size_t i;

    do {
        for (i = 0; i < cursors->count && cursors->at[i].commit == 0; i++)
            ;
        if (i < cursors->count)
            answers_take(cursors, until_us);
    } while (i < cursors->count && clock_mono_us() < until_us);
}

/* What was held back for a moment is told; where one is under way that nobody answers, nothing: it would come behind. */
static void consumer_tell(struct kafka_log *log, struct kafka_cursors *cursors)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)cursors->count + 1);
    int64_t                          now_us = clock_mono_us(), until_us = now_us + CLOSE_US;
    char                             name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    struct err                       ignored;

    answers_await(cursors, until_us);
    for (size_t i = 0; i < cursors->count; i++) {
        struct cursor *cursor = &cursors->at[i];

        if (cursor->commit != 0 || !cursor_pending(cursor, now_us) || kafka_topic_name(log, cursor->topic, name, &ignored) < 0)
            continue;
        place_add(list, name, cursor, cursor_message(log, cursor, name));
        cursor_sent(cursor, cursors->commits + 1, now_us);
    }
    if (list->cnt > 0 && commit_send(cursors, list) == RD_KAFKA_RESP_ERR_NO_ERROR)
        answers_await(cursors, until_us);
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_cursors_close(struct kafka_log *log)
{
    while (log->cursors != NULL) {
        struct kafka_cursors *cursors = log->cursors;

        log->cursors = cursors->next;
        consumer_tell(log, cursors);
        rd_kafka_queue_destroy(cursors->answers);
        rd_kafka_destroy(cursors->client);
        free(cursors->at);
        free(cursors);
    }
}
