/* log/kafka_reader.c - see kafka_reader.h.
 *
 * Places are not kept at the brokers: whoever reads has his own, in the transaction of what he made of it, so a reader begins
 * at any offset, and the brokers' committed offsets are only told to people (kafka_log.c). */
#include "log/kafka_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "log/kafka_client.h"
#include "log/kafka_message.h"
#include "log/log_batch.h"

enum { PER_MESSAGE_FIRST = 1 };

/* --- placing ----------------------------------------------------------------------------------- */

static void forget(struct kafka_reader *reader)
{
    kafka_held_drop(&reader->held);
    kafka_held_drop(&reader->ready);
    if (reader->pending != NULL)
        rd_kafka_message_destroy(reader->pending);
    reader->pending = NULL;
    reader->let_go = reader->next;
    reader->anchored = reader->hinted = false;
}

/* Where the brokers' messages hold reader->next, of a topic with one writer. As kafka_place_find. */
static int place_owned(struct kafka_reader *reader, bool *hinted_out, int64_t *out, struct err *err)
{
    struct kafka_source *source = &reader->source;
    int                  rc;

    *hinted_out = reader->next > 0 && reader->back == 0 && !reader->unhinted &&
                  kafka_places_before(reader->log, source->name, source->partition, reader->next, out) == 1;
    if (*hinted_out) {
        rc = kafka_source_bounds(source, err);
        *out = *out > source->high ? source->high - KAFKA_PLACE_NEAR : *out - KAFKA_PLACE_NEAR;
        if (*out <= source->low) {
            *out = source->low;
            *hinted_out = false;
        }
        return rc;
    }
    rc = kafka_place_find(source, reader->next, out, err);
    if (rc == 1 && reader->back > 0)
        *out = *out - reader->back > source->low ? *out - reader->back : source->low;
    return rc;
}

/* 1: placed; 0: there is no topic yet. */
static int place(struct kafka_reader *reader, struct err *err)
{
    struct kafka_source *source = &reader->source;
    int64_t              at = RD_KAFKA_OFFSET_BEGINNING, now_us = clock_mono_us();
    bool                 hinted = false;
    int                  rc;

    if (reader->placed)
        return 1;
    if (source->looked_us != 0 && now_us - source->looked_us < 1000000)
        return 0;
    source->looked_us = now_us;
    if (reader->shared) {
        rc = kafka_source_bounds(source, err);
        at = reader->next == 0 ? source->low : kafka_offset_message(reader->next);
    } else {
        rc = place_owned(reader, &hinted, &at, err);
    }
    if (rc == 1)
        rc = kafka_source_seek(source, at, err);
    if (rc < 0)
        source->looked_us = 0; /* trouble is told each time: 0 is an answer, that there is nothing */
    if (rc < 1)
        return rc;
    forget(reader);
    reader->hinted = hinted;
    reader->began_at = at;
    reader->placed = true;
    reader->looked = false;
    source->looked_us = 0;
    return 1;
}

/* --- chunks ------------------------------------------------------------------------------------ */

static void serve(struct kafka_reader *reader, rd_kafka_message_t *message_take)
{
    if (reader->serving != NULL)
        rd_kafka_message_destroy(reader->serving);
    reader->serving = message_take;
}

static void gap_set(struct kafka_reader *reader, uint64_t to, const char *why, struct log_chunk *out)
{
    uint64_t count = to - reader->next;

    if (count > UINT32_MAX)
        count = UINT32_MAX;
    *out = (struct log_chunk){ .kind = LOG_GAP, .base = reader->next, .count = (uint32_t)count, .why = why, .sparse = reader->shared };
    reader->next += count;
}

/* The records of a frame from reader->next on. 1: a chunk; 0: the body is damaged; -1. */
static int frame_serve(struct kafka_reader *reader, struct span bytes, const struct kafka_frame *frame, uint64_t base,
                       struct log_chunk *out, struct err *err)
{
    struct span raw, body;
    uint64_t    offset;
    int         rc = kafka_frame_body(bytes, frame, &reader->unpacked, &reader->unpacked_size, &raw, err);

    if (rc < 1)
        return rc;
    *out = (struct log_chunk){ .kind = LOG_RECORDS, .base = base, .count = frame->count, .appended_us = frame->appended_us,
                               .at = raw.at, .end = raw.at + raw.bytes, .sparse = reader->shared };
    while (out->base + out->next_index < reader->next && log_chunk_next(out, &offset, &body))
        ;
    out->base += out->next_index;
    out->count -= out->next_index;
    out->next_index = 0;
    reader->next = base + frame->count;
    reader->per_message += ((double)frame->count - reader->per_message) / 16;
    return 1;
}

static void damage_told(const struct kafka_reader *reader, int64_t at, uint64_t base, uint64_t count)
{
    static struct say_gate gate;

    say_seldom(&gate, SAY_WARN, "%s: Kafka's message %" PRId64 " is damaged: records %" PRIu64 " to %" PRIu64 " are lost",
               reader->source.label, at, base, base + count - 1);
}

/* --- topics with many writers ------------------------------------------------------------------ */

/* A message of the other form: one record. As frame_serve; 2: nobody knows the form. */
static int foreign_serve(struct kafka_reader *reader, const rd_kafka_message_t *from, uint64_t base, struct log_chunk *out, struct err *err)
{
    const struct log_form_hooks *hooks = reader->log->options->hooks;
    struct log_message           message;
    struct span                  records;

    if (hooks == NULL || hooks->read == NULL)
        return 0;
    if (reader->converted == NULL)
        reader->converted = log_batch_new();
    if (reader->converted == NULL)
        return err_set(err, ERR_FULL, "%s: no memory", reader->source.label);
    log_batch_reset(reader->converted);
    kafka_message_fill(from, &message);
    if (hooks->read(hooks->ctx, reader->topic, &message, reader->converted, err) < 0 && err->kind != ERR_INPUT)
        return -1;
    if (reader->converted->count != 1)
        return 0;
    records = log_batch_records(reader->converted);
    *out = (struct log_chunk){ .kind = LOG_RECORDS, .base = base, .count = 1, .appended_us = message.timestamp_us, .sparse = true,
                               .at = records.at, .end = (const uint8_t *)records.at + records.bytes };
    reader->next = base + 1;
    reader->per_message += (1 - reader->per_message) / 16;
    return 1;
}

/* Takes the message. 1: a chunk; 0: go on; -1. */
static int shared_serve(struct kafka_reader *reader, rd_kafka_message_t *message_take, struct log_chunk *out, struct err *err)
{
    struct span        bytes = span_of(message_take->payload == NULL ? "" : message_take->payload, message_take->len);
    uint64_t           base = kafka_offset_make(message_take->offset, 0), lost = 1;
    struct kafka_frame frame;
    int                rc;

    serve(reader, message_take);
    reader->looked = true;
    if (!kafka_frame_is(bytes)) {
        if (base < reader->next)
            return 0;
        rc = foreign_serve(reader, message_take, base, out, err);
    } else {
        rc = kafka_frame_get(bytes, &frame) ? 1 : 0;
        if (rc == 1) {
            if (frame.kind != KAFKA_FRAME_SHARED || base + frame.count <= reader->next)
                return 0;
            lost = frame.count;
            rc = frame_serve(reader, bytes, &frame, base, out, err);
        }
    }
    if (rc != 0)
        return rc;
    if (base + lost <= reader->next)
        return 0;
    if (reader->next < base)
        reader->next = base;
    damage_told(reader, message_take->offset, reader->next, base + lost - reader->next);
    gap_set(reader, base + lost, "damaged", out);
    return 1;
}

/* --- topics with one writer -------------------------------------------------------------------- */

/* 1: a chunk; 0: nothing is ready; -1. */
static int ready_serve(struct kafka_reader *reader, struct log_chunk *out, struct err *err)
{
    struct kafka_held_list *ready = &reader->ready;

    while (ready->count > 0) {
        struct kafka_held at = ready->at[ready->first];
        int               rc;

        if (at.message == NULL) {
            gap_set(reader, at.end, at.why, out);
            if (reader->next < at.end)
                return 1; /* more of it next time */
            ready->first++;
            ready->count--;
            return 1;
        }
        ready->first++;
        ready->count--;
        serve(reader, at.message);
        kafka_places_set(reader->log, reader->source.name, reader->source.partition, at.end, at.at + 1);
        rc = frame_serve(reader, span_of(at.message->payload, at.message->len), &at.frame, at.base, out, err);
        if (rc != 0)
            return rc;
        damage_told(reader, at.at, reader->next, at.end - reader->next);
        gap_set(reader, at.end, "damaged", out);
        return 1;
    }
    ready->first = 0;
    return 0;
}

/* --- what readers do --------------------------------------------------------------------------- */

/* The next message, also one that a wait found. wait_us < 0: as long as there are known to be some. As kafka_source_next. */
static int message_next(struct kafka_reader *reader, int64_t wait_us, rd_kafka_message_t **out, struct err *err)
{
    if (reader->pending != NULL) {
        *out = reader->pending;
        reader->pending = NULL;
        return 1;
    }
    if (wait_us < 0)
        wait_us = kafka_source_behind(&reader->source) ? KAFKA_BEHIND_WAIT_US : 0;
    return kafka_source_next(&reader->source, wait_us, out, err);
}

/* The brokers deleted what we have not read. 1: a chunk; 0: go on. */
static int expired(struct kafka_reader *reader, struct log_chunk *out)
{
    uint64_t next = kafka_offset_make(reader->source.next, 0);

    if (!reader->shared) { /* the next mark tells how much */
        reader->placed = false;
        reader->source.looked_us = 0;
        return 0;
    }
    if (next <= reader->next)
        return 0;
    /* A message counts as a record; the gap ends where the next message begins. */
    *out = (struct log_chunk){ .kind = LOG_GAP, .why = "expired", .sparse = true,
                               .count = (uint32_t)(reader->source.next - kafka_offset_message(reader->next)) };
    out->base = next - out->count;
    reader->next = next;
    return 1;
}

/* Takes in messages until there is something to give. wait_us as message_next. */
static int pump(struct kafka_reader *reader, int64_t wait_us, struct err *err)
{
    while (reader->ready.count == 0) {
        rd_kafka_message_t *message;
        int                 rc = place(reader, err);

        if (rc == 1)
            rc = message_next(reader, wait_us, &message, err);
        if (rc == 2) {
            (void)expired(reader, NULL);
            continue;
        }
        if (rc < 1)
            return rc;
        rc = kafka_held_take(reader, message, err);
        if (rc < 0)
            return -1;
        if (rc == 1) { /* begun too far on */
            reader->placed = false;
            reader->source.looked_us = 0;
            forget(reader);
        }
    }
    return 1;
}

int kafka_reader_next(struct log_reader *of, struct log_chunk *out, struct err *err)
{
    struct kafka_reader *reader = kafka_reader_of(of);
    int                  rc;

    assert(reader->magic == KAFKA_READER_MAGIC);
    if (!reader->shared) {
        rc = pump(reader, -1, err);
        return rc == 1 ? ready_serve(reader, out, err) : rc;
    }
    for (;;) {
        rd_kafka_message_t *message;

        rc = place(reader, err);
        if (rc == 1)
            rc = message_next(reader, -1, &message, err);
        if (rc < 1)
            return rc;
        rc = rc == 2 ? expired(reader, out) : shared_serve(reader, message, out, err);
        if (rc != 0)
            return rc;
    }
}

bool kafka_reader_wait(struct log_reader *of, int64_t timeout_us)
{
    struct kafka_reader *reader = kafka_reader_of(of);
    int64_t              until_us = clock_mono_us() + timeout_us;

    assert(reader->magic == KAFKA_READER_MAGIC);
    for (;;) {
        struct err err;
        int64_t    left_us = until_us - clock_mono_us();
        int        rc;

        if (left_us < 0)
            left_us = 0;
        if (reader->pending != NULL)
            return true;
        if (!reader->shared) {
            rc = pump(reader, left_us, &err);
        } else {
            rc = place(reader, &err);
            if (rc == 1)
                rc = message_next(reader, left_us, &reader->pending, &err);
        }
        if (rc == 1)
            return true;
        left_us = until_us - clock_mono_us();
        if (left_us <= 0)
            return rc == 2;
        if (rc <= 0 && (!reader->placed || rc < 0)) /* no topic, no brokers */
            (void)usleep((useconds_t)(left_us < 50000 ? left_us : 50000));
    }
}

/* A place behind a message's last record is stored as such, and not as the next message, of which nobody knew: so the first message
 * after placing may hold nothing new. */
static void first_look(struct kafka_reader *reader)
{
    rd_kafka_message_t *message;
    struct kafka_frame  frame;
    struct err          err;

    if (reader->looked || reader->pending != NULL || (reader->next & (KAFKA_FRAME_RECORDS_MAX - 1)) == 0 ||
        kafka_source_lag(&reader->source) == 0 || message_next(reader, KAFKA_BEHIND_WAIT_US, &message, &err) != 1)
        return;
    reader->looked = true;
    if (kafka_offset_make(message->offset, 0) < reader->next &&
        (!kafka_frame_get(span_of(message->payload, message->len), &frame) ||
         kafka_offset_make(message->offset, 0) + frame.count <= reader->next))
        rd_kafka_message_destroy(message);
    else
        reader->pending = message;
}

uint64_t kafka_reader_lag(struct log_reader *of, uint64_t from)
{
    struct kafka_reader *reader = kafka_reader_of(of);
    uint64_t             lag = reader->next > from ? reader->next - from : 0, messages = 0;
    struct err           err;

    if (place(reader, &err) == 1 && reader->shared)
        first_look(reader);
    if (reader->placed)
        messages = kafka_source_lag(&reader->source) + (reader->pending != NULL);
    if (reader->shared && kafka_offset_message(reader->next) != kafka_offset_message(from))
        lag = 1; /* the chunk that it is in */
    if (!reader->shared)
        lag = reader->let_go > from ? reader->let_go - from : 0;
    return lag + messages * (uint64_t)(reader->per_message < 1 ? 1 : reader->per_message);
}

/* --- ends -------------------------------------------------------------------------------------- */

/* With a source of its own, so that the reader's goes on where it stands. */
static int bound(struct kafka_reader *reader, bool end, uint64_t *out, struct err *err)
{
    struct kafka_source source;
    int                 rc;

    *out = 0;
    if (kafka_source_open(&source, reader->log, reader->topic, reader->partition, err) < 0)
        return -1;
    if (reader->shared) {
        rc = kafka_source_bounds(&source, err);
        *out = rc == 1 ? kafka_offset_make(end ? source.high : source.low, 0) : 0;
    } else if (end) {
        rc = kafka_place_end(&source, out, err);
    } else {
        rc = kafka_place_start(&source, out, err);
    }
    kafka_source_close(&source);
    return rc < 0 ? -1 : 0;
}

int kafka_reader_end(struct log_reader *of, uint64_t *out, struct err *err)
{
    return bound(kafka_reader_of(of), true, out, err);
}

uint64_t kafka_reader_start(struct log_reader *of)
{
    struct err err;
    uint64_t   start;

    return bound(kafka_reader_of(of), false, &start, &err) < 0 ? 0 : start;
}

int kafka_reader_open(struct log *of, const char *topic, uint32_t partition, uint64_t from, struct log_reader **out, struct err *err)
{
    struct kafka_reader *reader = calloc(1, sizeof *reader);

    if (reader == NULL)
        return err_set(err, ERR_FULL, "%s: no memory for a reader", topic);
    reader->ops = &log_kafka_ops;
    reader->magic = KAFKA_READER_MAGIC;
    reader->log = kafka_log_of(of);
    reader->partition = partition;
    reader->next = from;
    reader->per_message = PER_MESSAGE_FIRST;
    if (kafka_source_open(&reader->source, reader->log, topic, partition, err) < 0) {
        free(reader);
        return -1;
    }
    (void)snprintf(reader->topic, sizeof reader->topic, "%s", topic);
    reader->shared = kafka_topic_shared(reader->log, topic);
    *out = (struct log_reader *)(void *)reader;
    return 0;
}

/* The brokers' page cache is theirs. */
void kafka_reader_once(struct log_reader *of)
{
    (void)of;
}

void kafka_reader_close(struct log_reader *of)
{
    struct kafka_reader *reader = kafka_reader_of(of);

    assert(reader->magic == KAFKA_READER_MAGIC);
    forget(reader);
    serve(reader, NULL);
    kafka_source_close(&reader->source);
    free(reader->held.at);
    free(reader->ready.at);
    free(reader->unpacked);
    if (reader->converted != NULL)
        log_batch_free(reader->converted);
    reader->magic = 0;
    free(reader);
}
