/* log/kafka_line.c - a line by librdkafka: one idempotent producer at a time.
 *
 * Why abandoning throws the producer away: a message that was handed to it can only be taken back by purging, and what a
 * purge of messages in flight leaves behind (gaps in the sequence that brokers check) is the delicate part of an idempotent
 * producer. A new one has a new identity and begins at zero. N1 then holds: within one producer brokers refuse what is not
 * in sequence, so each of them leaves an ordered beginning of what it was given, and of copies the first counts.
 * Why the first message of a partition goes alone: a broker that knows nothing of a producer takes whatever sequence comes
 * first. Were two under way, and the former refused (too few replicas, a leader that moved), the latter would stand before it.
 * Once the first is taken, all replicas in sync know the producer. They forget it after a day without a message.
 * Why answers are events and not callbacks: those of a producer that is being thrown away come to nobody.
 * A producer is destroyed on a thread of its own, as that waits for its connections. */
#include "log/kafka_line.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/kafka_client.h"
#include "log/kafka_log.h"

enum { LINE_MAGIC = 0x6c696e65, LINE_REACH_MS = 500, LINE_CLOSE_MS = 2000 };
#define LINE_KNOWN_US   ((int64_t)3600 * 1000000) /* without a message; then its next one goes alone again */
#define LINE_FIRST_GOES INT64_MAX

/* A message that waits for the first one of its partition. */
struct held {
    struct held        *next;
    struct line_message message;
    struct log_message  plain; /* message.message, or nothing */
    uint8_t            *bytes; /* of it */
};

struct line {
    struct kafka_line               head;
    uint32_t                        magic;
    const struct log_kafka_options *options; /* borrowed */
    char                           *name;
    pthread_mutex_t                 lock;    /* of client and queue as wake sees them */
    rd_kafka_t                     *client;
    rd_kafka_queue_t               *queue;
    rd_kafka_topic_t               *topic;
    rd_kafka_event_t               *event;   /* whose messages are being given as answers */
    uint32_t                        any;     /* the next partition for a message without a key */
    int64_t                        *known_us; /* of each partition: when the brokers last took a message of this producer; 0: none was
                                               * sent; LINE_FIRST_GOES: it is under way */
    struct held                    *held, **held_last;
};

static struct line *line_of(struct kafka_line *any)
{
    return (struct line *)(void *)any;
}

static void held_free(struct held *held)
{
    free(held->message.frame_take);
    free(held->bytes);
    free(held);
}

static void held_drop(struct line *line)
{
    while (line->held != NULL) {
        struct held *next = line->held->next;

        held_free(line->held);
        line->held = next;
    }
    line->held_last = &line->held;
}

struct line_old { rd_kafka_t *client; rd_kafka_topic_t *topic; rd_kafka_queue_t *queue; };

static void *line_destroy_main(void *arg)
{
    struct line_old *old = arg;

    rd_kafka_queue_destroy(old->queue);
    rd_kafka_topic_destroy(old->topic);
    rd_kafka_destroy_flags(old->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(old);
    return NULL;
}

/* Whatever happens to the thread: a client that stays costs memory, an end that hangs costs more. */
static void line_drop(struct line *line, bool wait)
{
    struct line_old *old = malloc(sizeof *old);
    pthread_t        thread;

    if (line->event != NULL)
        rd_kafka_event_destroy(line->event);
    line->event = NULL;
    held_drop(line);
    if (line->client == NULL) {
        free(old);
        return;
    }
    (void)rd_kafka_purge(line->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    pthread_mutex_lock(&line->lock);
    if (old != NULL)
        *old = (struct line_old){ .client = line->client, .topic = line->topic, .queue = line->queue };
    line->client = NULL;
    line->queue = NULL;
    line->topic = NULL;
    pthread_mutex_unlock(&line->lock);
    if (old == NULL)
        return;
    if (wait)
        line_destroy_main(old);
    else if (pthread_create(&thread, NULL, line_destroy_main, old) == 0)
        pthread_detach(thread);
}

static uint32_t line_partitions(const struct kafka_line *any)
{
    const struct line *line = (const struct line *)(const void *)any;

    return line->options->partitions == 0 ? 1 : line->options->partitions;
}

static int line_begin(struct line *line, struct err *err)
{
    rd_kafka_conf_t  *conf = NULL;
    rd_kafka_t       *client = NULL;
    rd_kafka_topic_t *topic;

    if (kafka_client_conf(line->options->brokers, line->options->client_properties, KAFKA_CLIENT_PRODUCER, &conf, err) < 0)
        return -1;
    /* Records have waited for each other already (kafka_sorter.h), and frames are packed. */
    if (kafka_client_set(conf, "linger.ms", "0", err) < 0 || kafka_client_set(conf, "partitioner", "murmur2_random", err) < 0 ||
        (line->options->form == LOG_FORM_FRAMES && kafka_client_set(conf, "compression.codec", "none", err) < 0)) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    if (kafka_client_new(KAFKA_CLIENT_PRODUCER, conf, &client, err) < 0)
        return -1;
    topic = rd_kafka_topic_new(client, line->name, NULL);
    if (topic == NULL) {
        rd_kafka_destroy(client);
        return err_set(err, ERR_INPUT, "kafka: topic %s cannot be written to", line->name);
    }
    memset(line->known_us, 0, line_partitions(&line->head) * sizeof *line->known_us);
    pthread_mutex_lock(&line->lock);
    line->client = client;
    line->topic = topic;
    line->queue = rd_kafka_queue_get_main(client);
    pthread_mutex_unlock(&line->lock);
    return 0;
}

static void line_close(struct kafka_line *any)
{
    struct line *line = line_of(any);

    line_drop(line, true);
    pthread_mutex_destroy(&line->lock);
    free(line->known_us);
    free(line->name);
    line->magic = 0;
    free(line);
}

static rd_kafka_headers_t *line_headers(const struct log_message *message)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(message->header_count);

    for (size_t i = 0; i < message->header_count; i++) {
        struct span name = message->headers[i].name, value = message->headers[i].value;

        (void)rd_kafka_header_add(headers, (const char *)name.at, (ssize_t)name.bytes, value.at, value.at == NULL ? -1 : (ssize_t)value.bytes);
    }
    return headers;
}

static void span_move(struct span *span, uint8_t **to)
{
    if (span->at == NULL)
        return;
    if (span->bytes > 0)
        memcpy(*to, span->at, span->bytes);
    *span = span_of(*to, span->bytes);
    *to += span->bytes;
}

static int line_produce(struct line *line, const struct line_message *message, struct err *err)
{
    const struct log_message *plain = message->frame_take == NULL ? message->message : NULL;
    uint32_t                  partition = message->partition;
    rd_kafka_vu_t             parts[8];
    char                      other[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    rd_kafka_headers_t       *headers = NULL;
    rd_kafka_error_t         *failed;
    rd_kafka_resp_err_t       code;
    size_t                    n = 0;

    if (plain != NULL && plain->topic != NULL) {
        (void)snprintf(other, sizeof other, "%s%s", line->options->topic_prefix != NULL ? line->options->topic_prefix : "", plain->topic);
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = other };
        partition = (uint32_t)RD_KAFKA_PARTITION_UA; /* of its own number of partitions, by the message's key */
    } else
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = line->topic };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = (int32_t)partition };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = message->token };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = plain == NULL ? RD_KAFKA_MSG_F_FREE : RD_KAFKA_MSG_F_COPY };
    if (plain == NULL) {
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { .ptr = message->frame_take, .size = message->frame_bytes } };
    } else {
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { .ptr = (void *)(uintptr_t)plain->value.at, .size = plain->value.bytes } };
        if (plain->key.bytes > 0)
            parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { .ptr = (void *)(uintptr_t)plain->key.at, .size = plain->key.bytes } };
        headers = line_headers(plain);
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers };
    }
    failed = rd_kafka_produceva(line->client, parts, n);
    if (failed == NULL)
        return 0;
    code = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    if (headers != NULL)
        rd_kafka_headers_destroy(headers);
    return kafka_client_err(err, line->name, code);
}

/* Takes the message; its spans, which are the caller's, are copied. */
static int line_hold(struct line *line, const struct line_message *message, struct err *err)
{
    struct held *held = calloc(1, sizeof *held);

    if (held == NULL)
        return err_set(err, ERR_FULL, "no memory for a message to the brokers");
    held->message = *message;
    if (message->frame_take == NULL) {
        struct log_message *plain = &held->plain;
        size_t              bytes = message->message->key.bytes + message->message->value.bytes;
        uint8_t            *at;

        *plain = *message->message;
        for (size_t i = 0; i < plain->header_count; i++)
            bytes += plain->headers[i].name.bytes + plain->headers[i].value.bytes;
        held->bytes = at = malloc(bytes + 1);
        if (at == NULL) {
            free(held);
            return err_set(err, ERR_FULL, "no memory for a message to the brokers");
        }
        span_move(&plain->key, &at);
        span_move(&plain->value, &at);
        for (size_t i = 0; i < plain->header_count; i++) {
            span_move(&plain->headers[i].name, &at);
            span_move(&plain->headers[i].value, &at);
        }
        held->message.message = plain;
    }
    *line->held_last = held;
    line->held_last = &held->next;
    return 0;
}

/* What no longer has to wait, as far as the client takes it. */
static void line_send_held(struct line *line)
{
    struct held **at = &line->held;

    while (*at != NULL) {
        struct held *held = *at;
        struct err   err = { 0 };

        if (line->known_us[held->message.partition] == LINE_FIRST_GOES) {
            at = &held->next;
            continue;
        }
        if (line_produce(line, &held->message, &err) < 0)
            return; /* too much is under way: when the next answers are asked for */
        held->message.frame_take = NULL;
        *at = held->next;
        if (*at == NULL)
            line->held_last = at;
        held_free(held);
    }
}

static bool line_holds(const struct line *line, uint32_t partition)
{
    for (const struct held *held = line->held; held != NULL; held = held->next)
        if (held->message.partition == partition)
            return true;
    return false;
}

static int line_send(struct kafka_line *any, const struct line_message *message, struct err *err)
{
    struct line        *line = line_of(any);
    struct line_message own = *message;
    int64_t            *known_us, now_us = clock_mono_us();

    if (line->client == NULL && line_begin(line, err) < 0)
        return -1;
    if (own.partition == LINE_PARTITION_ANY)
        own.partition = line->any++ % line_partitions(any);
    if ((own.frame_take == NULL && own.message->topic != NULL) || own.partition >= line_partitions(any))
        return line_produce(line, &own, err); /* elsewhere; which partition, the client chooses */
    known_us = &line->known_us[own.partition];
    if (*known_us == LINE_FIRST_GOES || (line->held != NULL && line_holds(line, own.partition)))
        return line_hold(line, &own, err);
    if (line_produce(line, &own, err) < 0)
        return -1;
    if (*known_us == 0 || now_us - *known_us > LINE_KNOWN_US)
        *known_us = LINE_FIRST_GOES;
    return 0;
}

/* The brokers took a message of this partition: now they know the producer. */
static void line_known(struct line *line, const rd_kafka_message_t *message)
{
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR || message->partition < 0 ||
        (uint32_t)message->partition >= line_partitions(&line->head) || strcmp(rd_kafka_topic_name(message->rkt), line->name) != 0)
        return;
    line->known_us[message->partition] = clock_mono_us();
}

static void answer_fill(struct line_answer *answer, const rd_kafka_message_t *message)
{
    *answer = (struct line_answer){ .token = message->_private, .offset = message->offset };
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        answer->fate = LINE_TAKEN;
        return;
    }
    answer->fate = message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || message->err == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
                       ? LINE_TOO_LARGE : LINE_LOST;
    (void)snprintf(answer->why, sizeof answer->why, "%s", kafka_client_text(message->err));
}

static size_t line_answers(struct kafka_line *any, struct line_answer *to, size_t max, int64_t wait_us)
{
    struct line *line = line_of(any);
    size_t       count = 0;

    if (line->client == NULL) {
        struct err err = { 0 };

        if (line_begin(line, &err) < 0) {
            static struct say_gate gate;

            say_seldom(&gate, SAY_ERROR, "%s", err.text);
            return 0;
        }
    }
    for (;;) {
        const rd_kafka_message_t *message;

        while (line->event != NULL && count < max) {
            message = rd_kafka_event_message_next(line->event);
            if (message != NULL) {
                line_known(line, message);
                answer_fill(&to[count++], message);
                continue;
            }
            rd_kafka_event_destroy(line->event);
            line->event = NULL;
        }
        if (line->held != NULL)
            line_send_held(line);
        if (count == max)
            return count;
        /* A millisecond too late rather than too early: who waits for 0.3 ms would come back three times. */
        line->event = rd_kafka_queue_poll(line->queue, count > 0 || wait_us <= 0 ? 0 : (int)((wait_us + 999) / 1000));
        if (line->event == NULL)
            return count;
        if (rd_kafka_event_type(line->event) != RD_KAFKA_EVENT_DR) {
            rd_kafka_event_destroy(line->event);
            line->event = NULL;
        }
    }
}

static void line_wake(struct kafka_line *any)
{
    struct line *line = line_of(any);

    pthread_mutex_lock(&line->lock);
    if (line->queue != NULL)
        rd_kafka_queue_yield(line->queue);
    pthread_mutex_unlock(&line->lock);
}

static int line_abandon(struct kafka_line *any, struct err *err)
{
    struct line *line = line_of(any);

    line_drop(line, false);
    return line_begin(line, err);
}

static bool line_reach(struct kafka_line *any, struct err *err)
{
    struct line                    *line = line_of(any);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t             code;

    if (line->client == NULL && line_begin(line, err) < 0)
        return false;
    code = rd_kafka_metadata(line->client, 0, line->topic, &metadata, LINE_REACH_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && metadata->topic_cnt == 1)
        code = metadata->topics[0].err;
    for (int p = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && metadata != NULL && p < metadata->topics[0].partition_cnt; p++)
        if (metadata->topics[0].partitions[p].leader < 0)
            code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    if (metadata != NULL)
        rd_kafka_metadata_destroy(metadata);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        (void)kafka_client_err(err, line->name, code);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static const struct line_ops line_kafka_ops = {
    .close = line_close, .partitions = line_partitions, .send = line_send, .answers = line_answers,
    .wake = line_wake,   .abandon = line_abandon,       .reach = line_reach,
};

int kafka_line_open(const struct log_kafka_options *options, const char *topic, struct kafka_line **out, struct err *err)
{
    struct line *line = calloc(1, sizeof *line);

    if (line != NULL) {
        line->options = options;
        line->held_last = &line->held;
        line->known_us = calloc(line_partitions(&line->head), sizeof *line->known_us);
    }
    if (line == NULL || line->known_us == NULL || (line->name = strdup(topic)) == NULL) {
        if (line != NULL)
            free(line->known_us);
        free(line);
        return err_set(err, ERR_FULL, "no memory for a line to the brokers");
    }
    line->head.ops = &line_kafka_ops;
    line->magic = LINE_MAGIC;
    line->any = (uint32_t)clock_mono_us();
    pthread_mutex_init(&line->lock, NULL);
    *out = &line->head;
    return 0;
}
