/* log/kafka_place.c - from our dense offsets to Kafka's, by halving: each message tells where it stands.
 *
 * What halving finds may be wrong: a writer that was late leaves low offsets behind high ones. Too early costs reading; too
 * late is noticed by the reader (a mark means frames that it has not seen), which goes back. */
#include "log/kafka_reader.h"

#include "log/kafka_client.h"

enum { PROBE_US = 5000000, PROBES_MAX = 64, END_LOOKS = 64 };

/* The next message before `limit`. 1: *out is the caller's to destroy; 0: there is none; -1. */
static int message_next(struct kafka_source *source, int64_t limit, rd_kafka_message_t **out, struct err *err)
{
    int rc = 2;

    while (rc == 2 && source->next < limit)
        rc = kafka_source_next(source, PROBE_US, out, err);
    if (rc == 0)
        return err_set(err, ERR_RETRY, "%s: Kafka does not give a message that it says to have", source->label);
    return rc == 2 ? 0 : rc;
}

/* Our offset up to which the message at `at`, or the next one that is ours, tells that there is something. 1: *out, and *found_at;
 * 0: none before `limit`; -1. */
static int probe(struct kafka_source *source, int64_t at, int64_t limit, uint64_t *out, int64_t *found_at, struct err *err)
{
    rd_kafka_message_t *message;
    int                 rc = kafka_source_seek(source, at, err);

    while (rc == 1 && (rc = message_next(source, limit, &message, err)) == 1) {
        struct kafka_frame frame;
        bool               ours;

        *found_at = message->offset;
        ours = kafka_frame_get(span_of(message->payload, message->len), &frame) && frame.kind != KAFKA_FRAME_SHARED;
        rd_kafka_message_destroy(message);
        if (!ours)
            continue;
        *out = frame.base;
        return *found_at < limit;
    }
    return rc < 0 ? -1 : 0;
}

int kafka_place_find(struct kafka_source *source, uint64_t offset, int64_t *out, struct err *err)
{
    int64_t low, high;
    int     rc = kafka_source_bounds(source, err);

    if (rc < 1)
        return rc;
    low = source->low;
    high = source->high;
    for (unsigned probes = 0; offset > 0 && high - low > KAFKA_PLACE_NEAR && probes < PROBES_MAX; probes++) {
        int64_t  middle = low + (high - low) / 2, found_at = middle;
        uint64_t base = 0;

        rc = probe(source, middle, high, &base, &found_at, err);
        if (rc < 0)
            return -1;
        if (rc == 0 || base > offset) /* nothing of ours from the middle on tells anything else */
            high = middle;
        else
            low = found_at;
    }
    *out = low;
    return 1;
}

int kafka_place_start(struct kafka_source *source, uint64_t *out, struct err *err)
{
    int64_t at;
    int     rc = kafka_source_bounds(source, err);

    *out = 0;
    if (rc == 1 && source->low < source->high)
        rc = probe(source, source->low, source->high, out, &at, err) < 0 ? -1 : 1;
    return rc;
}

int kafka_place_end(struct kafka_source *source, uint64_t *out, struct err *err)
{
    int64_t at, end;
    int     rc = kafka_source_bounds(source, err);

    *out = 0;
    if (rc < 1)
        return rc;
    end = source->high;
    for (at = end; *out == 0 && at > source->low;) {
        rd_kafka_message_t *message;
        struct kafka_frame  frame;
        int64_t             until = at;

        at = at - END_LOOKS > source->low ? at - END_LOOKS : source->low;
        rc = kafka_source_seek(source, at, err);
        while (rc == 1 && source->next < until && (rc = kafka_source_next(source, PROBE_US, &message, err)) > 0) {
            if (rc == 2) {
                rc = 1;
                continue;
            }
            if (kafka_frame_get(span_of(message->payload, message->len), &frame) && frame.kind == KAFKA_FRAME_MARK && frame.base > *out)
                *out = frame.base;
            rd_kafka_message_destroy(message);
        }
        if (rc < 0)
            return -1;
    }
    return 1;
}

int kafka_place_foreign(struct kafka_source *source, bool *out, struct err *err)
{
    rd_kafka_message_t *message;
    int                 rc = kafka_source_bounds(source, err);

    *out = false;
    if (rc < 1 || source->low >= source->high)
        return rc;
    rc = kafka_source_seek(source, source->low, err);
    if (rc < 1)
        return rc;
    rc = message_next(source, source->high, &message, err);
    if (rc == 1) {
        *out = !kafka_frame_is(span_of(message->payload, message->len));
        rd_kafka_message_destroy(message);
    }
    return rc < 0 ? -1 : 1;
}
