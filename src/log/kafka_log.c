/* log/kafka_log.c - the log on Kafka as a whole: names of topics, opening and closing. */
#include "log/kafka_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/kafka_client.h"
#include "log/kafka_commit.h"
#include "log/kafka_producer.h"
#include "log/kafka_source.h"
#include "log/kafka_topics.h"
#include "log/part.h"

enum { TOPIC_WAIT_US = 10000000, MISSING_US = 900000 /* readers look every second */ };

bool kafka_topic_shared(const struct kafka_log *log, const char *topic)
{
    const char *const *shared = log->options->topics_shared != NULL ? log->options->topics_shared : log_kafka_topics_shared;

    for (; *shared != NULL; shared++)
        if (strcmp(*shared, topic) == 0)
            return true;
    return false;
}

bool kafka_topic_foreign(const struct kafka_log *log, const char *topic)
{
    const struct log_form_hooks *hooks = log->options->hooks;

    return log->options->form == LOG_FORM_UPSTREAM && hooks != NULL && hooks->write != NULL && hooks->topic_name != NULL &&
           hooks->topic_name(hooks->ctx, topic) != NULL;
}

int kafka_topic_name(const struct kafka_log *log, const char *topic, char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1], struct err *err)
{
    const struct log_form_hooks *hooks = log->options->hooks;
    const char *other = hooks != NULL && hooks->topic_name != NULL ? hooks->topic_name(hooks->ctx, topic) : NULL;
    int         bytes;

    if (!part_name_valid(topic, LOG_TOPIC_NAME_BYTES_MAX))
        return err_set(err, ERR_INPUT, "topic name \"%.80s\" is not 1 to %d of a-z, 0-9 and _", topic, LOG_TOPIC_NAME_BYTES_MAX);
    bytes = kafka_topic_prefixed(log->options->topic_prefix, other != NULL ? other : topic, name);
    if (bytes > KAFKA_TOPIC_NAME_BYTES_MAX)
        return err_set(err, ERR_INPUT, "topic %s has a name of %d bytes with its prefix; Kafka allows %d", topic, bytes,
                       KAFKA_TOPIC_NAME_BYTES_MAX);
    return 0;
}

static void topic_told(void *ctx, const char *text)
{
    (void)ctx;
    say(SAY_WARN, "%s", text);
}

static bool topic_looked(const struct kafka_log *log, const char *name)
{
    for (size_t i = 0; i < log->ready_count; i++)
        if (strcmp(log->ready[i], name) == 0)
            return true;
    return false;
}

/* Under the lock: a topic is made once, and others wait until it is. */
static int topics_look(struct kafka_log *log, const char *const *names, size_t count, const struct log_topic_options *options, struct err *err)
{
    struct kafka_topic_wish  wishes[KAFKA_TOPICS_MAX];
    struct kafka_topic_found found[KAFKA_TOPICS_MAX];
    size_t                   wanted = 0;
    char                   **grown;

    for (size_t i = 0; i < count && wanted < KAFKA_TOPICS_MAX; i++)
        if (!topic_looked(log, names[i]))
            wishes[wanted++] = (struct kafka_topic_wish){
                .name = names[i], .partitions = log->options->partitions == 0 ? 1 : log->options->partitions,
                .replication = log->options->replication, .retention_ms = options->retention_us / 1000,
                .retention_bytes = (int64_t)options->retention_bytes, .message_bytes_max = KAFKA_MESSAGE_BYTES_MAX
            };
    if (wanted == 0)
        return 0;
    grown = realloc(log->ready, (log->ready_count + wanted) * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_FULL, "no memory");
    log->ready = grown;
    if (kafka_topics_ensure(kafka_producer_client(log->producer), log->options->brokers, wishes, wanted, TOPIC_WAIT_US, topic_told, NULL,
                            found, err) < 0)
        return -1;
    for (size_t i = 0; i < wanted; i++) {
        log->ready[log->ready_count] = strdup(wishes[i].name);
        log->ready_count += log->ready[log->ready_count] != NULL;
    }
    return 0;
}

static int topics_ready(struct kafka_log *log, const char *const *names, size_t count, const struct log_topic_options *options, struct err *err)
{
    struct kafka_producer *producer;
    int                    rc;

    if (kafka_producer_of(log, &producer, err) < 0)
        return -1;
    pthread_mutex_lock(&log->lock);
    rc = topics_look(log, names, count, options, err);
    pthread_mutex_unlock(&log->lock);
    return rc;
}

int kafka_topic_ready(struct kafka_log *log, const char *name, const struct log_topic_options *options, struct err *err)
{
    return topics_ready(log, &name, 1, options, err);
}

int kafka_prepare(struct log *of, const char *const *topics, size_t count, const struct log_topic_options *options, struct err *err)
{
    struct kafka_log *log = kafka_log_of(of);
    char              names[KAFKA_TOPICS_MAX][KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    const char       *at[KAFKA_TOPICS_MAX];

    for (size_t i = 0; i < count && i < KAFKA_TOPICS_MAX; i++) {
        if (kafka_topic_name(log, topics[i], names[i], err) < 0)
            return -1;
        at[i] = names[i];
    }
    if (count > 0 && topics_ready(log, at, count < KAFKA_TOPICS_MAX ? count : KAFKA_TOPICS_MAX, options, err) < 0)
        return -1;
    return kafka_clients_warm(log, err);
}

/* --- topics that are not there ------------------------------------------------------------------ */

bool kafka_missing_known(struct kafka_log *log, const char *name)
{
    int64_t now_us = clock_mono_us();
    bool    known = false;

    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < KAFKA_MISSING_MAX && !known; i++)
        known = now_us - log->missing[i].at_us < MISSING_US && strcmp(log->missing[i].name, name) == 0;
    pthread_mutex_unlock(&log->lock);
    return known;
}

void kafka_missing_note(struct kafka_log *log, const char *name)
{
    size_t at = 0;

    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < KAFKA_MISSING_MAX; i++) {
        if (log->missing[i].at_us < log->missing[at].at_us)
            at = i; /* the oldest goes */
        if (strcmp(log->missing[i].name, name) == 0) {
            at = i;
            break;
        }
    }
    (void)snprintf(log->missing[at].name, sizeof log->missing[at].name, "%s", name);
    log->missing[at].at_us = clock_mono_us();
    pthread_mutex_unlock(&log->lock);
}

static void kafka_log_close(struct log *log_of_any)
{
    struct kafka_log *log = kafka_log_of(log_of_any);

    kafka_producer_close(log->producer);
    kafka_clients_close(log);
    kafka_cursors_close(log);
    for (size_t i = 0; i < log->ready_count; i++)
        free(log->ready[i]);
    free(log->ready);
    kafka_places_close(log);
    pthread_mutex_destroy(&log->cursors_lock);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

static uint32_t kafka_log_partitions(const struct log *log)
{
    const struct kafka_log *kafka = (const struct kafka_log *)(const void *)log;

    return kafka->options->partitions == 0 ? 1 : kafka->options->partitions;
}

/* Capture's way in has an end of its own. */
static int kafka_log_writer_open(struct log *log, const char *topic, uint32_t partition, const struct log_topic_options *options,
                                 struct log_writer **out, struct err *err)
{
    if (options != NULL && options->for_commit) /* many partitions: a record's key decides */
        return kafka_inlet_open(kafka_log_of(log), topic, options, out, err);
    return kafka_writer_open(log, topic, partition, options, out, err);
}

const struct log_ops log_kafka_ops = {
    .close = kafka_log_close,
    .writer_open = kafka_log_writer_open,
    .partitions = kafka_log_partitions,
    .prepare = kafka_prepare,
    .writer_close = kafka_writer_close,
    .writer_end = kafka_writer_end,
    .writer_cut = kafka_writer_cut,
    .writer_append = kafka_writer_append,
    .writer_sync = kafka_writer_sync,
    .writer_publish = kafka_writer_publish,
    .writer_retain = kafka_writer_retain,
    .marked = kafka_marked,
    .reader_open = kafka_reader_open,
    .reader_close = kafka_reader_close,
    .reader_once = kafka_reader_once,
    .reader_next = kafka_reader_next,
    .reader_wait = kafka_reader_wait,
    .reader_lag = kafka_reader_lag,
    .reader_end = kafka_reader_end,
    .reader_start = kafka_reader_start,
    .cursor_store = kafka_cursor_store,
    .cursor_load = kafka_cursor_load,
    .begin = kafka_begin,
    .cursors_expect = kafka_cursors_expect,
    .erase = kafka_erase,
    .roll_ask = kafka_roll_ask,
    .info = kafka_info,
    .verify = kafka_verify,
};

int kafka_log_open(const struct log_options *options, struct log **out, struct err *err)
{
    struct kafka_log *log;

    if (options->kafka->brokers == NULL || options->kafka->brokers[0] == 0)
        return err_set(err, ERR_INPUT, "the log is on Kafka, and no broker is named");
    log = calloc(1, sizeof *log);
    if (log == NULL)
        return err_set(err, ERR_FULL, "no memory for the log");
    log->ops = &log_kafka_ops;
    log->options = options->kafka;
    log->frame_bytes_max = options->kafka->frame_bytes_max == 0 ? (size_t)LOG_KAFKA_FRAME_BYTES : options->kafka->frame_bytes_max;
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->cursors_lock, NULL);
    *out = (struct log *)(void *)log;
    return 0;
}
