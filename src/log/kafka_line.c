/* log/kafka_line.c - a line by librdkafka: one idempotent producer at a time.
 *
 * Why abandoning throws the producer away: a message that was handed to it can only be taken back by purging, and what a
 * purge of messages in flight leaves behind (gaps in the sequence that brokers check) is the delicate part of an idempotent
 * producer. A new one has a new identity and begins at zero. N1 then holds: within one producer brokers refuse what is not
 * in sequence, so each of them leaves an ordered beginning of what it was given, and of copies the first counts.
 * Why the first message of a partition goes alone: a broker that knows nothing of a producer takes whatever sequence comes
 * first. Were two under way, and the former refused (too few replicas, a leader that moved), the latter would stand before it.
 * Once the first is taken, all replicas in sync know the producer. They forget it after a day without a message.
 * Why the client never has more of a partition than it sends before the next answer: its thread asks again and again, without a pause,
 * whether it may send what waits in it (librdkafka 2.0: a whole core while brokers take their time). Frames are a request each, and
 * five may be under way. Of plain messages it counts five as well, however many a request holds, so one request is under way:
 * they go in volleys of what fits into one.
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
#include "log/kafka_message.h"

enum { LINE_MAGIC = 0x6c696e65, LINE_REACH_MS = 500, LINE_CLOSE_MS = 2000 };

/* A message that waits for others of its partition. */
struct held {
    struct held        *next;
    void               *token;
    uint8_t            *block; /* from malloc: the value, then the key */
    size_t              value_bytes, key_bytes, bytes; /* bytes: as the client counts them, or more */
    rd_kafka_headers_t *headers;
    int64_t             time_ms; /* of a plain message that keeps its own; 0 */
    bool                plain, has_value;
};

/* A partition. */
struct lane {
    int64_t      known_us;  /* when the brokers last took a message of this producer; 0: they took none */
    uint32_t     under_way; /* messages that the client has */
    bool         first_goes;
    uint32_t     turn;      /* the volley's: plain messages that went since the last answers were asked for */
    size_t       volley_bytes;
    uint32_t     volley_count;
    struct held *held, **held_last;
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
    struct { char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1]; rd_kafka_topic_t *topic; } others[KAFKA_OTHERS_MAX]; /* of messages beside */
    size_t                          other_count;
    uint32_t                        any;     /* the next partition for a message without a key */
    struct lane                    *lanes;   /* of each partition */
    size_t                          held;    /* messages, of all of them */
    uint32_t                        turn;
    struct line_answer              refused; /* a held message that the client will never take; token NULL: none */
};

static void held_free(struct held *held)
{
    free(held->block);
    if (held->headers != NULL)
        rd_kafka_headers_destroy(held->headers);
    free(held);
}

static uint32_t line_partitions(const struct kafka_line *any)
{
    const struct line *line = (const struct line *)(const void *)any;

    return line->options->partitions == 0 ? 1 : line->options->partitions;
}

static struct line *line_of(struct kafka_line *any)
{
    return (struct line *)(void *)any;
}

/* Nothing is under way any more, nor waits. */
static void lanes_reset(struct line *line)
{
    for (uint32_t p = 0; p < line_partitions(&line->head); p++) {
        struct lane *lane = &line->lanes[p];

        while (lane->held != NULL) {
            struct held *next = lane->held->next;

            held_free(lane->held);
            lane->held = next;
        }
        *lane = (struct lane){ .held_last = &lane->held };
    }
    line->held = 0;
    line->refused.token = NULL;
}

struct line_old { rd_kafka_t *client; rd_kafka_topic_t *topic, *others[KAFKA_OTHERS_MAX]; rd_kafka_queue_t *queue; };

static void *line_destroy_main(void *arg)
{
    struct line_old *old = arg;

    rd_kafka_queue_destroy(old->queue);
    rd_kafka_topic_destroy(old->topic);
    for (size_t i = 0; i < KAFKA_OTHERS_MAX && old->others[i] != NULL; i++)
        rd_kafka_topic_destroy(old->others[i]);
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
    lanes_reset(line);
    if (line->client == NULL) {
        free(old);
        return;
    }
    (void)rd_kafka_purge(line->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    pthread_mutex_lock(&line->lock);
    if (old != NULL) {
        *old = (struct line_old){ .client = line->client, .topic = line->topic, .queue = line->queue };
        for (size_t i = 0; i < line->other_count; i++)
            old->others[i] = line->others[i].topic;
    }
    line->other_count = 0;
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

static int line_begin(struct line *line, struct err *err)
{
    rd_kafka_conf_t  *conf = NULL;
    rd_kafka_t       *client = NULL;
    rd_kafka_topic_t *topic;
    bool              frames = line->options->form == LOG_FORM_FRAMES;

    if (kafka_client_conf(line->options->brokers, line->options->client_properties, KAFKA_CLIENT_PRODUCER, &conf, err) < 0)
        return -1;
    /* Records have waited for each other already (kafka_sorter.h), and frames are packed. Plain messages come in volleys, and the client
     * would make a request of the first one alone. */
    if (kafka_client_set(conf, "linger.ms", frames ? "0" : "1", err) < 0 ||
        kafka_client_set(conf, "partitioner", "murmur2_random", err) < 0 ||
        (frames && kafka_client_set(conf, "compression.codec", "none", err) < 0)) {
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
    free(line->lanes);
    free(line->name);
    line->magic = 0;
    free(line);
}

/* A message is to blame for its size alone: whatever else is wrong is mended, and the message sent then. */
static int line_refuses(const struct line *line, rd_kafka_resp_err_t code, struct err *err)
{
    (void)kafka_client_err(err, line->name, code);
    if (err->kind == ERR_INPUT && code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        err->kind = ERR_RETRY;
    return -1;
}

/* headers: those of parts that are destroyed on failure. */
static int line_produceva(struct line *line, rd_kafka_vu_t *parts, size_t count, rd_kafka_headers_t *headers, struct err *err)
{
    rd_kafka_error_t   *failed = rd_kafka_produceva(line->client, parts, count);
    rd_kafka_resp_err_t code;

    if (failed == NULL)
        return 0;
    code = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    if (headers != NULL)
        rd_kafka_headers_destroy(headers);
    return line_refuses(line, code, err);
}

/* Kept for the client's life: of a topic that it was told of it asks the brokers at once, of one that it finds as a name in a message up to
 * a second later, when the message has waited for so long. */
static rd_kafka_topic_t *line_other(struct line *line, const char *name, struct err *err)
{
    rd_kafka_topic_t *topic;

    for (size_t i = 0; i < line->other_count; i++)
        if (strcmp(line->others[i].name, name) == 0)
            return line->others[i].topic;
    topic = line->other_count < KAFKA_OTHERS_MAX ? rd_kafka_topic_new(line->client, name, NULL) : NULL;
    if (topic == NULL) {
        (void)err_set(err, ERR_RETRY, "kafka: topic %s cannot be written to", name);
        return NULL;
    }
    (void)snprintf(line->others[line->other_count].name, sizeof line->others[0].name, "%s", name);
    line->others[line->other_count++].topic = topic;
    return topic;
}

/* To a topic that is not the line's: which partition, the client chooses. */
static int line_produce_elsewhere(struct line *line, const struct line_message *message, struct err *err)
{
    const struct log_message *plain = message->message;
    char                      name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    rd_kafka_headers_t       *headers;
    rd_kafka_topic_t         *topic;
    rd_kafka_vu_t             parts[8];
    size_t                    n = 0;

    (void)kafka_topic_prefixed(line->options->topic_prefix, plain->topic, name);
    topic = line_other(line, name, err);
    if (topic == NULL)
        return -1;
    headers = kafka_message_headers(plain);
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = RD_KAFKA_PARTITION_UA };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = message->token };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { .ptr = (void *)(uintptr_t)plain->value.at, .size = plain->value.bytes } };
    if (plain->key.bytes > 0)
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { .ptr = (void *)(uintptr_t)plain->key.at, .size = plain->key.bytes } };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers };
    return line_produceva(line, parts, n, headers, err);
}

/* Takes what it holds, on success. */
static int line_produce(struct line *line, uint32_t partition, struct held *held, struct err *err)
{
    rd_kafka_vu_t parts[8];
    size_t        n = 0;

    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = line->topic };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = (int32_t)partition };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = held->token };
    parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_FREE };
    if (held->has_value)
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { .ptr = held->block, .size = held->value_bytes } };
    if (held->key_bytes > 0)
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { .ptr = held->block + held->value_bytes, .size = held->key_bytes } };
    if (held->time_ms > 0)
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = held->time_ms };
    if (held->headers != NULL)
        parts[n++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = held->headers };
    if (line_produceva(line, parts, n, NULL, err) < 0)
        return -1;
    held->headers = NULL;
    if (held->has_value)
        held->block = NULL;
    return 0;
}

/* Do brokers know the producer, on this partition? */
static bool lane_known(const struct lane *lane, int64_t now_us)
{
    return lane->known_us != 0 && now_us - lane->known_us <= (int64_t)KAFKA_KNOWN_MS * 1000;
}

/* May the client have this one now, behind those that it has? Never more than it sends before an answer comes: while messages wait in it
 * that it may not send, its thread asks without a pause whether it may. */
static bool lane_takes(const struct lane *lane, const struct held *held, uint32_t turn, int64_t now_us)
{
    if (lane->first_goes)
        return false;
    if (lane->under_way == 0 || !lane_known(lane, now_us))
        return lane->under_way == 0;
    if (!held->plain)
        return lane->under_way < KAFKA_FRAMES_UNDER_WAY;
    return lane->turn == turn && lane->volley_count < KAFKA_VOLLEY_MESSAGES &&
           lane->volley_bytes + held->bytes <= KAFKA_VOLLEY_BYTES;
}

static int lane_send(struct line *line, struct lane *lane, struct held *held, int64_t now_us, struct err *err)
{
    bool first = !lane_known(lane, now_us);

    if (line_produce(line, (uint32_t)(lane - line->lanes), held, err) < 0)
        return -1;
    if (lane->under_way == 0) {
        lane->turn = line->turn;
        lane->volley_bytes = lane->volley_count = 0;
    }
    lane->volley_bytes += held->bytes;
    lane->volley_count++;
    lane->under_way++;
    lane->first_goes = first;
    return 0;
}

static void lane_hold(struct line *line, struct lane *lane, struct held *held)
{
    *lane->held_last = held;
    lane->held_last = &held->next;
    line->held++;
}

/* What no longer has to wait, as far as the client takes it. */
static void lane_send_held(struct line *line, struct lane *lane, int64_t now_us)
{
    while (lane->held != NULL && lane_takes(lane, lane->held, line->turn, now_us)) {
        struct held *held = lane->held;
        struct err   err = { 0 };

        if (lane_send(line, lane, held, now_us, &err) < 0) {
            if (err.kind == ERR_FULL) /* too much is under way: when the next answers are asked for */
                return;
            line->refused = (struct line_answer){ .token = held->token, .fate = LINE_LOST, .offset = -1 };
            (void)snprintf(line->refused.why, sizeof line->refused.why, "%.150s", err.text);
            return;
        }
        lane->held = held->next;
        if (lane->held == NULL)
            lane->held_last = &lane->held;
        line->held--;
        held_free(held);
    }
}

static size_t message_bytes(const struct line_message *message)
{
    return message->frame_take == NULL ? kafka_message_bytes(message->message) : message->frame_bytes + KAFKA_MESSAGE_MORE;
}

/* The message's spans, which are the caller's, are copied; a frame is taken. */
static struct held *held_new(const struct line_message *message)
{
    const struct log_message *plain = message->frame_take == NULL ? message->message : NULL;
    struct held              *held = calloc(1, sizeof *held);

    if (held == NULL)
        return NULL;
    held->token = message->token;
    held->block = message->frame_take;
    held->value_bytes = message->frame_bytes;
    held->bytes = message_bytes(message);
    held->has_value = true;
    if (plain == NULL)
        return held;
    held->plain = true;
    held->time_ms = message->dated ? plain->timestamp_us / 1000 : 0;
    held->value_bytes = plain->value.bytes;
    held->key_bytes = plain->key.bytes;
    held->has_value = plain->value.at != NULL;
    held->headers = kafka_message_headers(plain);
    held->block = malloc(plain->value.bytes + plain->key.bytes + 1);
    if (held->block == NULL) {
        held_free(held);
        return NULL;
    }
    if (plain->value.bytes > 0)
        memcpy(held->block, plain->value.at, plain->value.bytes);
    if (plain->key.bytes > 0)
        memcpy(held->block + plain->value.bytes, plain->key.at, plain->key.bytes);
    return held;
}

static int line_send(struct kafka_line *any, const struct line_message *message, struct err *err)
{
    struct line *line = line_of(any);
    uint32_t     partition = message->partition;
    struct lane *lane;
    struct held *held;
    int64_t      now_us;

    if (line->client == NULL && line_begin(line, err) < 0)
        return -1;
    if (message->frame_take == NULL && message->message->topic != NULL)
        return line_produce_elsewhere(line, message, err);
    if (partition == LINE_PARTITION_ANY)
        partition = line->any++ % line_partitions(any);
    if (partition >= line_partitions(any))
        return line_refuses(line, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, err);
    if (message_bytes(message) > KAFKA_MESSAGE_BYTES_MAX) /* the client would refuse it when its turn comes */
        return line_refuses(line, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, err);
    held = held_new(message);
    if (held == NULL)
        return err_set(err, ERR_FULL, "no memory for a message to the brokers");
    lane = &line->lanes[partition];
    if (held->plain || lane->held != NULL || !lane_takes(lane, held, line->turn, now_us = clock_mono_us())) {
        lane_hold(line, lane, held);
        return 0;
    }
    if (lane_send(line, lane, held, now_us, err) < 0) {
        held->block = NULL; /* stays the caller's */
        held_free(held);
        return -1;
    }
    held_free(held);
    return 0;
}

/* A message of the line's own topic came back. */
static void line_counts(struct line *line, const rd_kafka_message_t *message, int64_t now_us)
{
    struct lane *lane;

    if (message->partition < 0 || (uint32_t)message->partition >= line_partitions(&line->head) ||
        strcmp(rd_kafka_topic_name(message->rkt), line->name) != 0)
        return;
    lane = &line->lanes[message->partition];
    if (lane->under_way > 0)
        lane->under_way--;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) { /* now the brokers know the producer */
        lane->known_us = now_us;
        lane->first_goes = false;
    }
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
    (void)snprintf(answer->why, sizeof answer->why, "%s (%s)", kafka_client_text(message->err), rd_kafka_topic_name(message->rkt));
}

static void line_send_held(struct line *line)
{
    int64_t now_us = clock_mono_us();

    line->turn++;
    for (uint32_t p = 0; line->held > 0 && p < line_partitions(&line->head); p++)
        if (line->lanes[p].held != NULL)
            lane_send_held(line, &line->lanes[p], now_us);
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
    line_send_held(line);
    for (;;) {
        const rd_kafka_message_t *message;
        int64_t                   now_us = line->event == NULL ? 0 : clock_mono_us();

        while (line->event != NULL && count < max) {
            message = rd_kafka_event_message_next(line->event);
            if (message != NULL) {
                line_counts(line, message, now_us);
                answer_fill(&to[count++], message);
                continue;
            }
            rd_kafka_event_destroy(line->event);
            line->event = NULL;
        }
        if (count > 0)
            line_send_held(line);
        if (count < max && line->refused.token != NULL) {
            to[count++] = line->refused;
            line->refused.token = NULL;
        }
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
        line->lanes = calloc(line_partitions(&line->head), sizeof *line->lanes);
    }
    if (line == NULL || line->lanes == NULL || (line->name = strdup(topic)) == NULL) {
        if (line != NULL)
            free(line->lanes);
        free(line);
        return err_set(err, ERR_FULL, "no memory for a line to the brokers");
    }
    line->head.ops = &line_kafka_ops;
    line->magic = LINE_MAGIC;
    lanes_reset(line);
    line->any = (uint32_t)clock_mono_us();
    pthread_mutex_init(&line->lock, NULL);
    *out = &line->head;
    return 0;
}
