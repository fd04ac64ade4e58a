/* log/log_carry.c - see log_carry.h.
 *
 * V2 with two readers: who lost the partition sends a beginning of what the new one sends too, in the same order, so whichever copy of
 * each comes first, the order of first copies is that order. The line (kafka_line.h N1) keeps it over its own repeats. */
#include "log/log_carry.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/kafka_client.h"
#include "log/kafka_line.h"
#include "log/kafka_log.h"
#include "log/kafka_member.h"
#include "log/kafka_message.h"
#include "log/kafka_partition.h"
#include "log/log_batch.h"

enum {
    CARRY_ROUND_BYTES = 4 << 20,
    CARRY_ROUND_MESSAGES = 10000,
    ANSWERS_AT_ONCE = 64,
    KEY_BYTES_MAX = 1 << 20,
    POLL_MS = 100,
    HEARTBEAT_MS = 1000,
    ANSWER_US = 30000000, /* brokers that take a round no sooner are away */
    COMMIT_MS = 5000,
    TELL_US = 1000000, POSITION_MS = 1000,
    KNOWN_US = 10000000, /* a member that has no partition for so long has none, and ends that are not told by then are not waited for */
    AGAIN_MS_MIN = 200, AGAIN_MS_MAX = 5000
};

struct log_carry {
    struct kafka_log                *log;
    struct log_carry_options         options;
    char                            *from;
    char                             name[KAFKA_TOPIC_NAME_BYTES_MAX + 1]; /* of the topic that it goes to */
    rd_kafka_t                      *client; /* NULL: not open */
    struct kafka_line               *line;
    rd_kafka_topic_partition_list_t *done;   /* of each partition: behind the last that was sent; until it is committed */
    struct log_batch                *batch;  /* one message as a record: for its key */
    struct buf                       room;
    size_t                           under_way;
    size_t                           undone; /* messages of rounds whose end is not committed */
    int64_t                          opened_us; /* the client */
    int64_t                          told_us; /* when it was said last how many wait */
    pthread_t                        thread;
    atomic_bool                      stopping;
};

/* --- what is done ------------------------------------------------------------------------------- */

static void done_clear(struct log_carry *carry)
{
    while (carry->done->cnt > 0)
        (void)rd_kafka_topic_partition_list_del_by_idx(carry->done, carry->done->cnt - 1);
}

static void done_note(struct log_carry *carry, const char *topic, int32_t partition, int64_t next)
{
    rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_find(carry->done, topic, partition);

    if (at == NULL)
        at = rd_kafka_topic_partition_list_add(carry->done, topic, partition);
    at->offset = next;
}

/* Partitions that others have now are theirs to tell of. */
static void done_keep_ours(struct log_carry *carry)
{
    rd_kafka_topic_partition_list_t *ours;

    if (rd_kafka_assignment(carry->client, &ours) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (int i = carry->done->cnt - 1; i >= 0; i--)
        if (rd_kafka_topic_partition_list_find(ours, carry->done->elems[i].topic, carry->done->elems[i].partition) == NULL)
            (void)rd_kafka_topic_partition_list_del_by_idx(carry->done, i);
    rd_kafka_topic_partition_list_destroy(ours);
}

/* A commit that fails, such as while the group's members change, is made with the next round; or somebody carries over again. */
static void done_commit(struct log_carry *carry)
{
    static struct say_gate gate;
    rd_kafka_queue_t      *answers;
    rd_kafka_resp_err_t    error;
    rd_kafka_event_t      *answer = NULL;

    done_keep_ours(carry);
    if (carry->done->cnt == 0) {
        carry->undone = 0;
        return;
    }
    answers = rd_kafka_queue_new(carry->client);
    error = rd_kafka_commit_queue(carry->client, carry->done, answers, NULL, NULL);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        answer = rd_kafka_queue_poll(answers, COMMIT_MS);
        error = answer == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(answer);
    }
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        done_clear(carry);
        carry->undone = 0;
    } else {
        say_seldom(&gate, error == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ? SAY_DEBUG : SAY_WARN, "further topics: offsets: %s",
                   kafka_client_text(error));
    }
    if (answer != NULL)
        rd_kafka_event_destroy(answer);
    rd_kafka_queue_destroy(answers);
}

/* --- what waits --------------------------------------------------------------------------------- */

/* Where reading stands, of partitions of which nothing was read yet: what the group has committed. */
static void begins_find(struct log_carry *carry, rd_kafka_topic_partition_list_t *ours)
{
    rd_kafka_topic_partition_list_t *unread = rd_kafka_topic_partition_list_new(ours->cnt);

    for (int i = 0; i < ours->cnt; i++)
        if (ours->elems[i].offset < 0)
            (void)rd_kafka_topic_partition_list_add(unread, ours->elems[i].topic, ours->elems[i].partition);
    if (unread->cnt > 0 && rd_kafka_committed(carry->client, unread, POSITION_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (int i = 0; i < unread->cnt; i++)
            rd_kafka_topic_partition_list_find(ours, unread->elems[i].topic, unread->elems[i].partition)->offset = unread->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(unread);
}

/* The ends are those that the brokers told with what was fetched last. What was said last holds until they are known. */
static void waiting_tell(struct log_carry *carry, bool now)
{
    rd_kafka_topic_partition_list_t *ours;
    uint64_t                         waiting = carry->undone;
    bool                             known;

    if (carry->options.waiting == NULL || carry->client == NULL || (!now && clock_mono_us() - carry->told_us < TELL_US) ||
        rd_kafka_assignment(carry->client, &ours) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    known = ours->cnt > 0;
    if (rd_kafka_position(carry->client, ours) == RD_KAFKA_RESP_ERR_NO_ERROR)
        begins_find(carry, ours);
    for (int i = 0; i < ours->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &ours->elems[i];
        int64_t                           begin = 0, end = 0;

        if (rd_kafka_get_watermark_offsets(carry->client, at->topic, at->partition, &begin, &end) != RD_KAFKA_RESP_ERR_NO_ERROR || begin < 0) {
            known = false; /* nothing was fetched of it yet */
            continue;
        }
        if (at->offset > begin)
            begin = at->offset;
        waiting += end > begin ? (uint64_t)(end - begin) : 0;
    }
    rd_kafka_topic_partition_list_destroy(ours);
    if (!known && clock_mono_us() - carry->opened_us < KNOWN_US)
        return;
    carry->told_us = clock_mono_us();
    carry->options.waiting(carry->options.ctx, waiting);
}

/* --- opening ----------------------------------------------------------------------------------- */

static void carry_close(struct log_carry *carry)
{
    if (carry->client != NULL) {
        (void)rd_kafka_consumer_close(carry->client);
        rd_kafka_destroy(carry->client);
    }
    if (carry->line != NULL)
        carry->line->ops->close(carry->line);
    carry->client = NULL;
    carry->line = NULL;
    carry->under_way = carry->undone = 0;
    done_clear(carry);
}

static int client_make(struct log_carry *carry, struct err *err)
{
    rd_kafka_conf_t *conf;

    if (kafka_member_conf(carry->log->options, "carry", HEARTBEAT_MS, &conf, err) < 0)
        return -1;
    if (kafka_client_set(conf, "auto.offset.reset", "earliest", err) < 0 ||
        kafka_client_set(conf, "queued.max.messages.kbytes", "8192", err) < 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    if (kafka_client_new(KAFKA_CLIENT_CONSUMER, conf, &carry->client, err) < 0)
        return -1;
    (void)rd_kafka_poll_set_consumer(carry->client);
    carry->opened_us = clock_mono_us();
    return 0;
}

static int subscribe(struct log_carry *carry, struct err *err)
{
    const char                      *prefix = carry->log->options->topic_prefix != NULL ? carry->log->options->topic_prefix : "";
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(8);
    rd_kafka_resp_err_t              error;
    char                             name[KAFKA_TOPIC_NAME_BYTES_MAX + 1];

    for (const char *at = carry->from + strspn(carry->from, ", "); *at != '\0'; at += strspn(at, ", ")) {
        size_t bytes = strcspn(at, ", ");

        (void)snprintf(name, sizeof name, "%.120s%.*s", prefix, (int)(bytes < 120 ? bytes : 120), at);
        (void)rd_kafka_topic_partition_list_add(topics, name, RD_KAFKA_PARTITION_UA);
        at += bytes;
    }
    error = rd_kafka_subscribe(carry->client, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : kafka_client_err(err, "further topics", error);
}

static int carry_open(struct log_carry *carry, struct err *err)
{
    if (carry->client != NULL)
        return 0;
    if (kafka_line_open(carry->log->options, carry->name, &carry->line, err) < 0 || client_make(carry, err) < 0)
        return -1;
    return subscribe(carry, err);
}

/* --- a message --------------------------------------------------------------------------------- */

/* That of its id: the message's own key says it, or the record that will be made of the message. What is no event stays in a partition
 * of the same number, where each of its copies goes. -1: no memory. */
static int partition_of(struct log_carry *carry, const struct log_message *message, int32_t from, uint32_t *out, struct err *err)
{
    const struct log_form_hooks *hooks = carry->log->options->hooks;
    uint32_t                     count = carry->line->ops->partitions(carry->line);
    struct span                  key = message->key, body;
    struct log_chunk             chunk;
    uint64_t                     offset;

    *out = (uint32_t)from % count;
    if (key.bytes == 0 && hooks != NULL && hooks->read != NULL && hooks->key != NULL) {
        log_batch_reset(carry->batch);
        if (hooks->read(hooks->ctx, carry->options.to, message, carry->batch, err) < 0 && err->kind != ERR_INPUT)
            return -1;
        body = log_batch_records(carry->batch);
        chunk = (struct log_chunk){ .kind = LOG_RECORDS, .count = 1, .at = body.at, .end = (const uint8_t *)body.at + body.bytes };
        if (log_batch_count(carry->batch) != 1 || !log_chunk_next(&chunk, &offset, &body))
            return 0;
        if (hooks->key(hooks->ctx, carry->options.to, body, &carry->room, &key, err) < 0) {
            if (err->kind != ERR_INPUT)
                return -1;
            return 0;
        }
    }
    if (key.bytes > 0)
        *out = kafka_partition(key, count);
    return 0;
}

/* Takes answers; waits for the first one at most so long. -1: a message was not taken. */
static int answers_take(struct log_carry *carry, int64_t wait_us, struct err *err)
{
    struct line_answer answers[ANSWERS_AT_ONCE];
    size_t             count = carry->line->ops->answers(carry->line, answers, ANSWERS_AT_ONCE, wait_us);

    carry->under_way -= count < carry->under_way ? count : carry->under_way;
    for (size_t i = 0; i < count; i++)
        if (answers[i].fate == LINE_TOO_LARGE)
            return err_set(err, ERR_RETRY, "%s takes no message of that size, which a further topic has: raise its max.message.bytes", carry->name);
        else if (answers[i].fate != LINE_TAKEN)
            return err_set(err, ERR_RETRY, "%s: %s", carry->name, answers[i].why);
    return 0;
}

static int message_send(struct log_carry *carry, const rd_kafka_message_t *from, size_t *bytes, struct err *err)
{
    struct log_message  plain;
    struct line_message message = { .message = &plain, .dated = true, .token = carry };

    kafka_message_fill(from, &plain);
    *bytes += kafka_message_bytes(&plain);
    if (partition_of(carry, &plain, from->partition, &message.partition, err) < 0)
        return -1;
    while (carry->line->ops->send(carry->line, &message, err) < 0) {
        if (err->kind != ERR_FULL || carry->under_way == 0)
            return -1;
        if (answers_take(carry, POLL_MS * 1000, err) < 0)
            return -1;
    }
    carry->under_way++;
    return 0;
}

/* --- a round ----------------------------------------------------------------------------------- */

/* How many messages were sent, or -1. */
static int round_send(struct log_carry *carry, struct err *err)
{
    static struct say_gate gate;
    size_t                 bytes = 0;
    int                    count = 0;

    while (count < CARRY_ROUND_MESSAGES && bytes < CARRY_ROUND_BYTES && !atomic_load(&carry->stopping)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(carry->client, count == 0 ? POLL_MS : 0);
        int                 rc = 0;

        if (message == NULL)
            break;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            say_seldom(&gate, SAY_WARN, "further topics: %s: %s", message->rkt != NULL ? rd_kafka_topic_name(message->rkt) : "kafka",
                       kafka_client_text(message->err));
        } else {
            carry->undone++;
            rc = message_send(carry, message, &bytes, err);
            if (rc == 0)
                done_note(carry, rd_kafka_topic_name(message->rkt), message->partition, message->offset + 1);
            count++;
        }
        rd_kafka_message_destroy(message);
        if (rc < 0)
            return -1;
    }
    return count;
}

/* V1. */
static int round_end(struct log_carry *carry, struct err *err)
{
    int64_t until_us = clock_mono_us() + ANSWER_US;

    while (carry->under_way > 0) {
        if (answers_take(carry, POLL_MS * 1000, err) < 0)
            return -1;
        if (carry->under_way > 0 && (clock_mono_us() > until_us || atomic_load(&carry->stopping)))
            return err_set(err, ERR_RETRY, "%s: %zu messages are not taken", carry->name, carry->under_way);
    }
    done_commit(carry);
    return 0;
}

static int carry_round(struct log_carry *carry, struct err *err)
{
    int count;

    if (carry_open(carry, err) < 0)
        return -1;
    count = round_send(carry, err);
    if (count < 0 || (carry->done->cnt > 0 && round_end(carry, err) < 0)) {
        waiting_tell(carry, true); /* until it goes on that is what is known */
        return -1;
    }
    waiting_tell(carry, false);
    if (count > 0 && carry->options.carried != NULL)
        carry->options.carried(carry->options.ctx, (uint64_t)count);
    return 0;
}

static void *carry_main(void *arg)
{
    struct log_carry *carry = arg;
    int               wait_ms = AGAIN_MS_MIN;

    while (!atomic_load(&carry->stopping)) {
        struct err err = { 0 };

        if (carry_round(carry, &err) == 0) {
            wait_ms = AGAIN_MS_MIN;
            continue;
        }
        if (!atomic_load(&carry->stopping))
            say(SAY_WARN, "further topics: %s; trying again in %.1f s", err.text, (double)wait_ms / 1000);
        carry_close(carry);
        for (int ms = 0; ms < wait_ms && !atomic_load(&carry->stopping); ms += POLL_MS)
            (void)usleep(POLL_MS * 1000);
        wait_ms = wait_ms * 2 < AGAIN_MS_MAX ? wait_ms * 2 : AGAIN_MS_MAX;
    }
    carry_close(carry);
    if (carry->options.waiting != NULL)
        carry->options.waiting(carry->options.ctx, 0); /* others have the partitions now */
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------------ */

static void carry_free(struct log_carry *carry)
{
    if (carry->done != NULL)
        rd_kafka_topic_partition_list_destroy(carry->done);
    log_batch_free(carry->batch);
    buf_fini(&carry->room);
    free(carry->from);
    free(carry);
}

int log_carry_start(struct log *log, const struct log_carry_options *options, struct log_carry **out, struct err *err)
{
    struct log_carry *carry = calloc(1, sizeof *carry);
    int               rc;

    if (carry == NULL)
        return err_set(err, ERR_FULL, "no memory to carry topics over");
    carry->log = kafka_log_of(log);
    carry->options = *options;
    carry->from = strdup(options->from);
    carry->batch = log_batch_new();
    carry->done = rd_kafka_topic_partition_list_new(16);
    buf_init(&carry->room, KEY_BYTES_MAX);
    rc = carry->from == NULL || carry->batch == NULL ? err_set(err, ERR_FULL, "no memory to carry topics over")
                                                     : kafka_topic_name(carry->log, options->to, carry->name, err);
    if (rc == 0 && pthread_create(&carry->thread, NULL, carry_main, carry) != 0)
        rc = err_set(err, ERR_RETRY, "no thread to carry topics over");
    if (rc < 0) {
        carry_free(carry);
        return -1;
    }
    *out = carry;
    return 0;
}

void log_carry_stop(struct log_carry *carry)
{
    if (carry == NULL)
        return;
    atomic_store(&carry->stopping, true);
    (void)pthread_join(carry->thread, NULL);
    carry_free(carry);
}
