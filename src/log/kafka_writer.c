/* log/kafka_writer.c - see kafka_writer.h.
 *
 * Why not a broker's transactions: they would make what is written atomic with offsets at the brokers, but the persons that the
 * same batch changed are in another store, whose transaction has to be the one that decides (docs/decisions/kafka-exactly-once.md).
 * Why marks and not one record of all ends: a reader of one partition reads one partition. */
#include "log/kafka_writer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/wait.h"
#include "log/kafka_client.h"
#include "log/kafka_message.h"
#include "log/log_batch.h"

enum {
    LAND_MS_MAX = KAFKA_SEND_MS_MAX + 5000, /* what was sent has landed, or failed, by then */
    LAND_MS_AT_CLOSE = 3000,
    PACKED_TO_RAW = 2, /* packed records take less than half of their room: so many bytes are tried as one frame */
    ROOM_BYTES_MAX = 64 << 20
};

/* --- what lands -------------------------------------------------------------------------------- */

static void writer_free(struct kafka_writer *writer)
{
    if (writer->handle != NULL)
        rd_kafka_topic_destroy(writer->handle);
    for (unsigned i = 0; i < writer->other_count; i++)
        rd_kafka_topic_destroy(writer->others[i].handle);
    buf_fini(&writer->room);
    pthread_mutex_destroy(&writer->lock);
    pthread_cond_destroy(&writer->landed);
    writer->magic = 0;
    free(writer);
}

/* @thread the producer's */
static void landed(struct kafka_writer *writer, rd_kafka_resp_err_t error, bool mark)
{
    bool last;

    pthread_mutex_lock(&writer->lock);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        writer->error = error;
        writer->frames_failed += !mark;
        writer->mark_lost = writer->mark_lost || mark;
    } else
        writer->known = true;
    last = --writer->under_way == 0 && writer->closed;
    pthread_cond_broadcast(&writer->landed);
    pthread_mutex_unlock(&writer->lock);
    if (last)
        writer_free(writer);
}

static void frame_landed(struct kafka_delivery *delivery, rd_kafka_resp_err_t error)
{
    landed((struct kafka_writer *)(void *)((uint8_t *)delivery - offsetof(struct kafka_writer, of_frame)), error, false);
}

static void mark_landed(struct kafka_delivery *delivery, rd_kafka_resp_err_t error)
{
    landed((struct kafka_writer *)(void *)((uint8_t *)delivery - offsetof(struct kafka_writer, of_mark)), error, true);
}

/* Waits until nothing is under way. */
static void writer_wait(struct kafka_writer *writer, int64_t until_us)
{
    pthread_mutex_lock(&writer->lock);
    while (writer->under_way > 0 && wait_until(&writer->landed, &writer->lock, until_us))
        ;
    pthread_mutex_unlock(&writer->lock);
}

static int writer_failed(struct kafka_writer *writer, struct err *err)
{
    if (!writer->stopped)
        writer->stop_err = *err;
    writer->stopped = true;
    writer->stop_err.kind = ERR_STOP;
    *err = writer->stop_err;
    return -1;
}

static int writer_check(struct kafka_writer *writer, struct err *err)
{
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

    assert(writer->magic == KAFKA_WRITER_MAGIC);
    if (writer->stopped) {
        *err = writer->stop_err;
        return -1;
    }
    pthread_mutex_lock(&writer->lock);
    if (writer->frames_failed > 0)
        error = writer->error;
    pthread_mutex_unlock(&writer->lock);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    (void)kafka_client_err(err, writer->label, error);
    return writer_failed(writer, err);
}

/* --- sending ----------------------------------------------------------------------------------- */

/* The first message goes alone, as that of a line does (kafka_line.c), and for the same reason: else it may be missing where the
 * next one was taken, and be called taken itself. */
static int first_alone(struct kafka_writer *writer, struct err *err)
{
    bool wait;

    pthread_mutex_lock(&writer->lock);
    if (clock_mono_us() - writer->sent_us > (int64_t)KAFKA_KNOWN_MS * 1000)
        writer->known = false;
    wait = !writer->known && writer->under_way > 0;
    pthread_mutex_unlock(&writer->lock);
    if (!wait)
        return 0;
    writer_wait(writer, clock_mono_us() + (int64_t)LAND_MS_MAX * 1000);
    return writer_check(writer, err);
}

/* Waits until the client sends another frame at once. */
static void writer_wait_room(struct kafka_writer *writer)
{
    int64_t until_us = clock_mono_us() + (int64_t)LAND_MS_MAX * 1000;

    pthread_mutex_lock(&writer->lock);
    while (writer->under_way >= KAFKA_FRAMES_UNDER_WAY && wait_until(&writer->landed, &writer->lock, until_us))
        ;
    pthread_mutex_unlock(&writer->lock);
}

static int writer_send_to(struct kafka_writer *writer, rd_kafka_topic_t *handle, struct span key, uint8_t *message_take, size_t bytes,
                          rd_kafka_headers_t *headers_take, struct kafka_delivery *delivery, struct err *err)
{
    int rc;

    if (first_alone(writer, err) < 0) {
        free(message_take);
        return -1;
    }
    if (delivery == &writer->of_frame && headers_take == NULL)
        writer_wait_room(writer);
    writer->sent_us = clock_mono_us();
    pthread_mutex_lock(&writer->lock);
    writer->under_way++;
    pthread_mutex_unlock(&writer->lock);
    rc = kafka_producer_send(writer->producer, handle, (int32_t)writer->partition, key, message_take, bytes, headers_take, delivery, err);
    if (rc < 0) {
        pthread_mutex_lock(&writer->lock);
        writer->under_way--;
        pthread_mutex_unlock(&writer->lock);
        free(message_take);
    }
    return rc;
}

static int writer_send(struct kafka_writer *writer, struct span key, uint8_t *message_take, size_t bytes, rd_kafka_headers_t *headers_take,
                       struct kafka_delivery *delivery, struct err *err)
{
    return writer_send_to(writer, writer->handle, key, message_take, bytes, headers_take, delivery, err);
}

static int mark_send(struct kafka_writer *writer, struct err *err)
{
    struct kafka_frame frame = { .kind = KAFKA_FRAME_MARK, .appended_us = clock_wall_us(), .epoch = writer->epoch,
                                 .base = writer->published, .published = writer->epoch_published };
    size_t             bytes;
    uint8_t           *at = kafka_frame_make(&frame, span_of("", 0), &bytes);

    if (at == NULL)
        return err_set(err, ERR_FULL, "%s: no memory for a mark", writer->label);
    pthread_mutex_lock(&writer->lock);
    writer->mark_lost = false;
    pthread_mutex_unlock(&writer->lock);
    if (writer_send(writer, span_of("", 0), at, bytes, NULL, &writer->of_mark, err) == 0)
        return 0;
    pthread_mutex_lock(&writer->lock);
    writer->mark_lost = true;
    pthread_mutex_unlock(&writer->lock);
    return -1;
}

/* One frame of the records at the front of *records. */
static int frame_send(struct kafka_writer *writer, struct span *records, uint32_t *count, int64_t now_us, struct err *err)
{
    size_t   limit = writer->log->frame_bytes_max, raw_max = writer->options.codec == LOG_CODEC_LZ4 ? limit * PACKED_TO_RAW : limit;
    size_t   raw, bytes;
    uint8_t *at;

    for (;;) {
        struct kafka_frame frame = {
            .kind = writer->shared ? KAFKA_FRAME_SHARED : KAFKA_FRAME_OWNED, .codec = writer->options.codec, .appended_us = now_us,
            .epoch = writer->shared ? 0 : writer->epoch, .base = writer->shared ? 0 : writer->next,
            .published = writer->shared ? 0 : writer->published
        };

        frame.count = kafka_frame_fit(*records, *count, raw_max, &raw);
        at = kafka_frame_make(&frame, span_of(records->at, raw), &bytes);
        if (at == NULL)
            return err_set(err, ERR_FULL, "%s: no memory for a frame of %zu bytes", writer->label, raw);
        if (bytes > limit && frame.count > 1) { /* it did not get small enough: less of it */
            free(at);
            raw_max = raw_max > limit ? limit : raw_max / 2;
            continue;
        }
        if (writer_send(writer, span_of("", 0), at, bytes, NULL, &writer->of_frame, err) < 0)
            return -1;
        writer->next += frame.count;
        *count -= frame.count;
        *records = span_from(*records, raw);
        return 0;
    }
}

/* --- the other form ---------------------------------------------------------------------------- */

/* The topic of a message that does not belong on this one. name lives as long as the hooks. */
static rd_kafka_topic_t *foreign_topic(struct kafka_writer *writer, const char *name, struct err *err)
{
    struct kafka_other *other = &writer->others[writer->other_count];
    char                full[KAFKA_TOPIC_NAME_BYTES_MAX + 1];

    for (unsigned i = 0; i < writer->other_count; i++)
        if (strcmp(writer->others[i].name, name) == 0)
            return writer->others[i].handle;
    if (writer->other_count == KAFKA_OTHERS_MAX ||
        kafka_topic_prefixed(writer->log->options->topic_prefix, name, full) > KAFKA_TOPIC_NAME_BYTES_MAX) {
        (void)err_set(err, ERR_INPUT, "%s: messages for the topic %.100s, too", writer->label, name);
        return NULL;
    }
    if (kafka_topic_ready(writer->log, full, &writer->options, err) < 0 ||
        kafka_producer_topic(writer->producer, full, &other->handle, err) < 0)
        return NULL;
    other->name = name;
    writer->other_count++;
    return other->handle;
}

/* Waits until a message of so many bytes goes into the request that is being filled, or into the next. */
static void foreign_wait_room(struct kafka_writer *writer, size_t bytes)
{
    int64_t until_us = clock_mono_us() + (int64_t)LAND_MS_MAX * 1000;

    pthread_mutex_lock(&writer->lock);
    if (writer->volley_bytes + bytes > KAFKA_VOLLEY_BYTES || writer->volley_count == KAFKA_VOLLEY_MESSAGES)
        while (writer->under_way > 0 && wait_until(&writer->landed, &writer->lock, until_us))
            ;
    if (writer->under_way == 0)
        writer->volley_bytes = writer->volley_count = 0;
    pthread_mutex_unlock(&writer->lock);
    writer->volley_bytes += bytes;
    writer->volley_count++;
}

static int foreign_send_one(struct kafka_writer *writer, const struct log_message *message, struct err *err)
{
    rd_kafka_topic_t   *topic = message->topic == NULL ? writer->handle : foreign_topic(writer, message->topic, err);
    rd_kafka_headers_t *headers;
    uint8_t            *copy;

    if (topic == NULL)
        return -1;
    copy = malloc(message->value.bytes + 1);
    headers = kafka_message_headers(message);
    if (copy == NULL || headers == NULL) {
        free(copy);
        if (headers != NULL)
            rd_kafka_headers_destroy(headers);
        return err_set(err, ERR_FULL, "%s: no memory for a message of %zu bytes", writer->label, message->value.bytes);
    }
    memcpy(copy, message->value.at, message->value.bytes);
    foreign_wait_room(writer, kafka_message_bytes(message));
    if (writer_send_to(writer, topic, message->key, copy, message->value.bytes, headers, &writer->of_frame, err) < 0) {
        rd_kafka_headers_destroy(headers);
        return -1;
    }
    return 0;
}

/* Each record as a message of the other form, or as several. */
static int foreign_send(struct kafka_writer *writer, const struct log_batch *batch, struct err *err)
{
    const struct log_form_hooks *hooks = writer->log->options->hooks;
    struct log_chunk chunk = { .kind = LOG_RECORDS, .count = batch->count, .at = batch->at, .end = batch->at + batch->bytes };
    struct span      body;
    uint64_t         index;

    while (log_chunk_next(&chunk, &index, &body)) {
        struct log_message message = { .more = true };

        for (unsigned part = 0; message.more; part++) {
            message = (struct log_message){ .partition = writer->partition, .part = part };
            buf_reset(&writer->room);
            if (hooks->write(hooks->ctx, writer->topic, body, &writer->room, &message, err) < 0)
                return err_wrap(err, writer->label);
            if (foreign_send_one(writer, &message, err) < 0)
                return -1;
        }
        writer->next++;
    }
    return 0;
}

int kafka_writer_append(struct log_writer *of, const struct log_batch *batch, int64_t now_us, uint64_t *base_out, struct err *err)
{
    struct kafka_writer *writer = kafka_writer_of(of);
    struct span          records = log_batch_records(batch);
    uint32_t             count = batch->count;
    int                  rc = writer_check(writer, err);

    *base_out = writer->next;
    if (rc < 0 || count == 0)
        return rc;
    if (writer->foreign)
        rc = foreign_send(writer, batch, err);
    while (rc == 0 && !writer->foreign && count > 0)
        rc = frame_send(writer, &records, &count, now_us, err);
    /* A part of it may be on its way, at offsets that the next attempt would use. */
    return rc < 0 ? writer_failed(writer, err) : 0;
}

int kafka_writer_sync(struct log_writer *of, struct err *err)
{
    struct kafka_writer *writer = kafka_writer_of(of);
    rd_kafka_resp_err_t  error;
    bool                 mark_lost;
    unsigned             under_way;

    for (int attempt = 0;; attempt++) {
        if (writer_check(writer, err) < 0)
            return -1;
        writer_wait(writer, clock_mono_us() + (int64_t)LAND_MS_MAX * 1000);
        if (writer_check(writer, err) < 0)
            return -1;
        pthread_mutex_lock(&writer->lock);
        under_way = writer->under_way;
        mark_lost = writer->mark_lost;
        error = writer->error;
        pthread_mutex_unlock(&writer->lock);
        if (under_way > 0)
            (void)err_set(err, ERR_RETRY, "%s: Kafka did not answer within %d s", writer->label, LAND_MS_MAX / 1000);
        else if (mark_lost && attempt > 0)
            (void)kafka_client_err(err, writer->label, error);
        else if (!mark_lost)
            break;
        else if (mark_send(writer, err) == 0)
            continue; /* B3: nothing is recorded before what was recorded before is marked */
        return writer_failed(writer, err);
    }
    writer->synced_end = writer->next;
    return 0;
}

void kafka_writer_publish(struct log_writer *of, uint64_t end)
{
    struct kafka_writer *writer = kafka_writer_of(of);
    struct err           err;

    assert(writer->magic == KAFKA_WRITER_MAGIC);
    if (writer->shared || writer->foreign)
        return;
    assert(end <= writer->synced_end);
    if ((end == writer->published && writer->opened) || writer->stopped)
        return;
    writer->epoch_published = end > writer->published ? writer->epoch : writer->options.epoch_committed;
    writer->published = end;
    writer->opened = true;
    if (mark_send(writer, &err) < 0) {
        /* it is lost: the next sync, or retain, sends it again */
    }
}

/* Kafka deletes by its own settings; what is due here is a mark that did not arrive. */
int kafka_writer_retain(struct log_writer *of, int64_t now_us, struct err *err)
{
    struct kafka_writer *writer = kafka_writer_of(of);
    bool                 lost;

    (void)now_us;
    pthread_mutex_lock(&writer->lock);
    lost = writer->mark_lost && !writer->stopped;
    pthread_mutex_unlock(&writer->lock);
    return lost ? mark_send(writer, err) : 0;
}

/* --- opening and closing ----------------------------------------------------------------------- */

uint64_t kafka_writer_end(const struct log_writer *of)
{
    return ((const struct kafka_writer *)(const void *)of)->next;
}

int kafka_writer_cut(struct log_writer *of, uint64_t end, struct err *err)
{
    struct kafka_writer *writer = kafka_writer_of(of);

    if (writer_check(writer, err) < 0)
        return -1;
    if (writer->shared)
        return err_set(err, ERR_INPUT, "%s: a topic with many writers cannot be cut", writer->label);
    writer->next = writer->synced_end = writer->published = end;
    return 0;
}

int kafka_writer_open(struct log *of, const char *topic, uint32_t partition, const struct log_topic_options *options,
                      struct log_writer **out, struct err *err)
{
    struct kafka_log    *log = kafka_log_of(of);
    struct kafka_writer *writer = calloc(1, sizeof *writer);

    if (writer == NULL)
        return err_set(err, ERR_FULL, "%s: no memory for a writer", topic);
    writer->ops = &log_kafka_ops;
    writer->magic = KAFKA_WRITER_MAGIC;
    writer->log = log;
    if (options != NULL)
        writer->options = *options;
    writer->partition = partition;
    writer->shared = kafka_topic_shared(log, topic);
    writer->foreign = kafka_topic_foreign(log, topic);
    writer->epoch = writer->options.epoch != 0 ? writer->options.epoch : (uint64_t)clock_wall_us();
    writer->of_frame.done = frame_landed;
    writer->of_mark.done = mark_landed;
    (void)snprintf(writer->topic, sizeof writer->topic, "%s", topic);
    (void)snprintf(writer->label, sizeof writer->label, "%.64s/%u", topic, partition);
    buf_init(&writer->room, ROOM_BYTES_MAX);
    pthread_mutex_init(&writer->lock, NULL);
    wait_cond_init(&writer->landed);
    if (kafka_topic_name(log, topic, writer->name, err) < 0 || kafka_producer_of(log, &writer->producer, err) < 0 ||
        kafka_topic_ready(log, writer->name, &writer->options, err) < 0 ||
        kafka_producer_topic(writer->producer, writer->name, &writer->handle, err) < 0) {
        writer_free(writer);
        return -1;
    }
    *out = (struct log_writer *)(void *)writer;
    return 0;
}

void kafka_writer_close(struct log_writer *of)
{
    struct kafka_writer *writer = kafka_writer_of(of);
    bool                 idle;

    assert(writer->magic == KAFKA_WRITER_MAGIC);
    /* The last mark, so that readers need not wait for the next owner; of a unit's writers all at the same time, since it has a next owner. */
    if (!writer->stopped)
        writer_wait(writer, writer->sent_us + (int64_t)LAND_MS_AT_CLOSE * 1000);
    pthread_mutex_lock(&writer->lock);
    idle = writer->under_way == 0;
    writer->closed = true;
    pthread_mutex_unlock(&writer->lock);
    if (idle)
        writer_free(writer);
}
