/* log/kafka_sorter.c - see kafka_sorter.h.
 *
 * A record is copied once, into the frame of its partition. That could be saved by sending pieces, but a frame that is
 * compressed as a whole is a third of the size, and the copy is a fiftieth of what the compression costs. */
#include "log/kafka_sorter.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "log/frame.h"
#include "log/kafka_frame.h"
#include "log/kafka_partition.h"
#include "log/log_batch.h"

enum {
    SORTER_BIN_BYTES = 16 << 10,
    SORTER_BIN_KEPT_BYTES = 256 << 10, /* by each partition, and more */
    SORTER_KEPT_BYTES = 16 << 20,      /* while all of them have no more than this */
    SORTER_FRAME_BYTES_MIN = 16 << 10,
    SORTER_MESSAGE_ROOM = 2048
};

/* A message under way. */
struct sent {
    struct sent    *next, **here; /* in the list of all */
    uint32_t        count;        /* records */
    size_t          bytes;
    size_t          parcel_count, parcel_room;
    struct parcel **parcels;
    struct parcel  *first;        /* `parcels` of one */
};

struct bin {
    uint8_t     *at;
    size_t       bytes, size;
    uint32_t     count;
    struct sent *sent; /* of the message that is being filled; NULL: it is empty */
};

struct sorter {
    struct sorter_options options;
    struct kafka_line    *line;
    uint32_t              partitions;
    bool                  messages;  /* a record is a message, in the other form */
    struct bin           *bins;
    size_t                bins_bytes; /* the sizes of all */
    struct sent          *under_way;
    uint32_t              any;       /* where the next record without a key goes */
    struct buf            room;
    struct log_batch     *spare;     /* what replaces a record */
    struct sorter_counts  counts;
};

int sorter_new(const struct sorter_options *options, struct kafka_line *line, struct sorter **out, struct err *err)
{
    struct sorter *sorter = calloc(1, sizeof *sorter);

    if (sorter != NULL) {
        sorter->partitions = line->ops->partitions(line);
        sorter->bins = calloc(sorter->partitions, sizeof *sorter->bins);
        sorter->spare = log_batch_new();
    }
    if (sorter == NULL || sorter->bins == NULL || sorter->spare == NULL) {
        if (sorter != NULL) {
            free(sorter->bins);
            log_batch_free(sorter->spare);
        }
        free(sorter);
        return err_set(err, ERR_FULL, "no memory to sort records by partition");
    }
    sorter->options = *options;
    sorter->line = line;
    sorter->messages = options->form == LOG_FORM_UPSTREAM && options->hooks != NULL && options->hooks->write != NULL &&
                       options->hooks->topic_name != NULL && options->hooks->topic_name(options->hooks->ctx, options->topic) != NULL;
    buf_init(&sorter->room, LOG_BATCH_BYTES_MAX);
    *out = sorter;
    return 0;
}

void sorter_free(struct sorter *sorter)
{
    if (sorter == NULL)
        return;
    sorter_reset(sorter);
    for (uint32_t p = 0; p < sorter->partitions; p++)
        free(sorter->bins[p].at);
    buf_fini(&sorter->room);
    log_batch_free(sorter->spare);
    free(sorter->bins);
    free(sorter);
}

/* --- messages under way ------------------------------------------------------------------------ */

static struct sent *sent_new(struct sorter *sorter)
{
    struct sent *sent = calloc(1, sizeof *sent);

    if (sent == NULL)
        return NULL;
    sent->parcels = &sent->first;
    sent->parcel_room = 1;
    sent->next = sorter->under_way;
    sent->here = &sorter->under_way;
    if (sent->next != NULL)
        sent->next->here = &sent->next;
    sorter->under_way = sent;
    return sent;
}

static void sent_free(struct sent *sent)
{
    *sent->here = sent->next;
    if (sent->next != NULL)
        sent->next->here = sent->here;
    if (sent->parcels != &sent->first)
        free(sent->parcels);
    free(sent);
}

/* Parcels come one after the other, so the last one tells whether this one is in already. */
static int sent_add(struct sent *sent, struct parcel *parcel)
{
    if (sent->parcel_count > 0 && sent->parcels[sent->parcel_count - 1] == parcel)
        return 0;
    if (sent->parcel_count == sent->parcel_room) {
        size_t          room = sent->parcel_room * 4;
        struct parcel **grown = malloc(room * sizeof(struct parcel *));

        if (grown == NULL)
            return -1;
        memcpy(grown, sent->parcels, sent->parcel_count * sizeof(struct parcel *));
        if (sent->parcels != &sent->first)
            free(sent->parcels);
        sent->parcels = grown;
        sent->parcel_room = room;
    }
    sent->parcels[sent->parcel_count++] = parcel;
    parcel->under_way++;
    return 0;
}

bool sorter_answer(struct sorter *sorter, const struct line_answer *answer)
{
    struct sent *sent = answer->token;

    if (answer->fate == LINE_TOO_LARGE) {
        /* Each time smaller, so this ends: at the latest with records that are replaced by ones of a few hundred bytes. */
        if (sent->count > 1)
            sorter->options.frame_bytes_max = sent->bytes / 2 < SORTER_FRAME_BYTES_MIN ? 1 : sent->bytes / 2;
        else
            sorter->options.message_bytes_max = sent->bytes - 1;
        return false;
    }
    for (size_t i = 0; i < sent->parcel_count; i++)
        sent->parcels[i]->under_way--;
    sent_free(sent);
    return true;
}

void sorter_reset(struct sorter *sorter)
{
    while (sorter->under_way != NULL)
        sent_free(sorter->under_way);
    for (uint32_t p = 0; p < sorter->partitions; p++) {
        struct bin *bin = &sorter->bins[p];

        bin->sent = NULL;
        bin->bytes = 0;
        bin->count = 0;
    }
}

/* --- frames ------------------------------------------------------------------------------------ */

static int bin_send(struct sorter *sorter, uint32_t partition, struct err *err)
{
    struct bin         *bin = &sorter->bins[partition];
    struct kafka_frame  frame = { .kind = KAFKA_FRAME_SHARED, .codec = sorter->options.codec, .count = bin->count,
                                  .appended_us = clock_wall_us() /* not of the clock that waiting is measured by */ };
    struct line_message message = { .partition = partition, .token = bin->sent };

    message.frame_take = kafka_frame_make(&frame, span_of(bin->at, bin->bytes), &message.frame_bytes);
    if (message.frame_take == NULL)
        return err_set(err, ERR_FULL, "no memory for a frame of %zu bytes", bin->bytes);
    bin->sent->bytes = message.frame_bytes;
    bin->sent->count = bin->count;
    if (sorter->line->ops->send(sorter->line, &message, err) < 0) {
        free(message.frame_take);
        return -1;
    }
    sorter->counts.messages++;
    sorter->counts.records += bin->count;
    sorter->counts.bytes += message.frame_bytes;
    bin->sent = NULL;
    bin->bytes = 0;
    bin->count = 0;
    if (bin->size > SORTER_BIN_KEPT_BYTES && sorter->bins_bytes > SORTER_KEPT_BYTES) {
        free(bin->at);
        sorter->bins_bytes -= bin->size;
        bin->at = NULL;
        bin->size = 0;
    }
    return 0;
}

static int bin_grow(struct sorter *sorter, struct bin *bin, size_t need, struct err *err)
{
    size_t   size = bin->size == 0 ? (size_t)SORTER_BIN_BYTES : bin->size;
    uint8_t *grown;

    while (size < need)
        size *= 2;
    grown = realloc(bin->at, size);
    if (grown == NULL)
        return err_set(err, ERR_FULL, "no memory for %zu bytes of records", size);
    bin->at = grown;
    sorter->bins_bytes += size - bin->size;
    bin->size = size;
    return 0;
}

/* stored: a record with its header and padding. */
static int frame_add(struct sorter *sorter, struct parcel *parcel, uint32_t partition, struct span stored, struct err *err)
{
    struct bin *bin = &sorter->bins[partition];

    if (bin->count > 0 && (bin->bytes + stored.bytes + KAFKA_FRAME_HEADER_BYTES > sorter->options.frame_bytes_max ||
                           bin->count == KAFKA_FRAME_RECORDS_MAX) &&
        bin_send(sorter, partition, err) < 0)
        return -1;
    if (bin->bytes + stored.bytes > bin->size && bin_grow(sorter, bin, bin->bytes + stored.bytes, err) < 0)
        return -1;
    if (bin->sent == NULL)
        bin->sent = sent_new(sorter);
    if (bin->sent == NULL || sent_add(bin->sent, parcel) < 0)
        return err_set(err, ERR_FULL, "no memory for a message");
    memcpy(bin->at + bin->bytes, stored.at, stored.bytes);
    bin->bytes += stored.bytes;
    bin->count++;
    return 0;
}

int sorter_flush(struct sorter *sorter, struct err *err)
{
    for (uint32_t p = 0; p < sorter->partitions; p++)
        if (sorter->bins[p].count > 0 && bin_send(sorter, p, err) < 0)
            return -1;
    return 0;
}

/* --- the other form ---------------------------------------------------------------------------- */

static int message_send(struct sorter *sorter, struct parcel *parcel, uint32_t partition, const struct log_message *plain, struct err *err)
{
    struct line_message message = { .partition = partition, .message = plain };
    struct sent        *sent;
    size_t              max = sorter->options.message_bytes_max;

    if (max > 0 && plain->value.bytes + plain->key.bytes > max)
        return err_set(err, ERR_INPUT, "kafka: a message of %zu bytes is larger than the topic takes", plain->value.bytes);
    sent = sent_new(sorter);
    if (sent == NULL || sent_add(sent, parcel) < 0)
        return err_set(err, ERR_FULL, "no memory for a message");
    sent->count = 1;
    sent->bytes = plain->value.bytes + plain->key.bytes;
    message.token = sent;
    if (sorter->line->ops->send(sorter->line, &message, err) < 0)
        return -1;
    sorter->counts.messages++;
    sorter->counts.records++;
    sorter->counts.bytes += sent->bytes;
    return 0;
}

/* --- records ----------------------------------------------------------------------------------- */

/* The record is not to blame. */
static bool is_of_the_line(const struct err *err)
{
    return err->kind == ERR_FULL || err->kind == ERR_RETRY || err->kind == ERR_STOP;
}

static uint32_t record_partition(struct sorter *sorter, struct span body, int *rc, struct err *err)
{
    const struct log_form_hooks *hooks = sorter->options.hooks;
    struct span                  key = { 0 };

    *rc = 0;
    if (hooks != NULL && hooks->key != NULL)
        *rc = hooks->key(hooks->ctx, sorter->options.topic, body, &sorter->room, &key, err);
    if (*rc < 0 && !is_of_the_line(err)) { /* whatever it is: it goes somewhere, and ingest says what is wrong with it */
        *rc = 0;
        key.bytes = 0;
    }
    if (key.bytes == 0)
        return sorter->any++ % sorter->partitions;
    return kafka_partition(key, sorter->partitions);
}

static int record_send(struct sorter *sorter, struct parcel *parcel, struct span stored, struct span body, struct err *err)
{
    const struct log_form_hooks *hooks = sorter->options.hooks;
    struct log_message           message = { 0 };
    int                          rc;
    uint32_t                     partition;

    buf_reset(&sorter->room);
    partition = record_partition(sorter, body, &rc, err);
    if (rc < 0)
        return -1;
    if (!sorter->messages)
        return frame_add(sorter, parcel, partition, stored, err);
    do {
        unsigned part = message.more ? message.part + 1 : 0;

        message = (struct log_message){ .partition = partition, .part = part };
        if (hooks->write(hooks->ctx, sorter->options.topic, body, &sorter->room, &message, err) < 0 ||
            message_send(sorter, parcel, partition, &message, err) < 0)
            return -1;
    } while (message.more);
    return 0;
}

static int record_fails(struct parcel *parcel, struct span body, size_t bytes_max)
{
    if (!parcel->failed)
        (void)err_set(&parcel->err, ERR_INPUT, "kafka: a record of %zu bytes is larger than the topic takes: %zu", body.bytes, bytes_max);
    parcel->failed = true;
    return 0;
}

/* A record that the brokers would never take becomes one that says so. */
static int record_replace(struct sorter *sorter, struct parcel *parcel, struct span body, struct err *err)
{
    const struct log_form_hooks *hooks = sorter->options.hooks;
    size_t                       max = sorter->options.message_bytes_max, room = max > SORTER_MESSAGE_ROOM ? max - SORTER_MESSAGE_ROOM : 0;
    const uint8_t               *at;
    uint32_t                     bytes;

    if (hooks == NULL || hooks->too_large == NULL)
        return record_fails(parcel, body, max);
    log_batch_reset(sorter->spare);
    if (hooks->too_large(hooks->ctx, sorter->options.topic, body, room, sorter->spare, err) < 0 || log_batch_count(sorter->spare) != 1)
        return record_fails(parcel, body, max);
    sorter->counts.replaced++;
    at = log_batch_records(sorter->spare).at;
    bytes = bytes_get_u32(at + 4);
    if (record_send(sorter, parcel, span_of(at, RECORD_HEADER_BYTES + (size_t)frame_padded(bytes)), span_of(at + RECORD_HEADER_BYTES, bytes),
                    err) == 0)
        return 0;
    return is_of_the_line(err) ? -1 : record_fails(parcel, body, max);
}

/* What the message will be at least: before it is compressed, as what compresses well today may not tomorrow. */
static bool record_is_too_large(const struct sorter *sorter, struct span stored)
{
    return sorter->options.message_bytes_max > 0 && stored.bytes + KAFKA_FRAME_HEADER_BYTES > sorter->options.message_bytes_max;
}

int sorter_add(struct sorter *sorter, struct parcel *parcel, struct span records, uint32_t count, struct err *err)
{
    const uint8_t *at = records.at;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t    bytes = bytes_get_u32(at + 4);
        struct span stored = span_of(at, RECORD_HEADER_BYTES + (size_t)frame_padded(bytes)), body = span_of(at + RECORD_HEADER_BYTES, bytes);

        if (record_is_too_large(sorter, stored)) {
            if (record_replace(sorter, parcel, body, err) < 0)
                return -1;
        } else if (record_send(sorter, parcel, stored, body, err) < 0) {
            if (is_of_the_line(err))
                return -1;
            if (record_replace(sorter, parcel, body, err) < 0) /* the other form is larger than the record */
                return -1;
        }
        at += stored.bytes;
    }
    return 0;
}

void sorter_counts(const struct sorter *sorter, struct sorter_counts *out)
{
    *out = sorter->counts;
}
