/* log/kafka_marked.c - how far the marks of a partition with one writer go, when they may go farther than its writer knows (log_marked).
 *
 * Looked for backwards from the end: a few messages, then more at once. Where to stop: a mark of the writer that is said to have recorded
 * last, or of one before it, was sent before anything that this store has lost; so was a mark of anybody that lies below the recorded
 * end. Marks of later writers at the recorded end itself, of openings that came to nothing, say nothing, and are passed over; so
 * are frames. (A writer sends nothing more before its marks have arrived, kafka_writer.h B3; only the last mark of one that was paused
 * may come late, and would have to come later than all that is lost here, by more than a window.) */
#include <inttypes.h>

#include "log/kafka_reader.h"

enum { WINDOW_FIRST = 24, WINDOW_MAX = 2048, LOOKED_MAX = 1 << 16, WAIT_US = 5000000 };

/* One message. True: what lies before it need not be looked at. */
static bool mark_look(const rd_kafka_message_t *message, const struct log_marked *recorded, struct log_marked *out)
{
    struct kafka_frame frame;

    if (!kafka_frame_get(span_of(message->payload == NULL ? "" : message->payload, message->len), &frame) || frame.kind == KAFKA_FRAME_SHARED)
        return false;
    if (frame.epoch > out->epoch)
        out->epoch = frame.epoch; /* also of frames that no mark means: no later writer may have it */
    if (frame.kind != KAFKA_FRAME_MARK)
        return false;
    if (frame.base > out->end)
        out->end = frame.base;
    return frame.base < recorded->end || (frame.base == recorded->end && frame.epoch <= recorded->epoch);
}

static int look_back(struct kafka_source *source, const struct log_marked *recorded, struct log_marked *out, struct err *err)
{
    int64_t at = source->high, window = WINDOW_FIRST, looked = 0;
    bool    told = false;

    while (at > source->low && !told && looked < LOOKED_MAX) {
        rd_kafka_message_t *message;
        int64_t             until = at;
        int                 rc;

        at = at - window > source->low ? at - window : source->low;
        rc = kafka_source_seek(source, at, err);
        while (rc == 1 && source->next < until) {
            rc = kafka_source_next(source, WAIT_US, &message, err);
            if (rc == 0)
                return err_set(err, ERR_RETRY, "%s: Kafka does not give a message that it says to have", source->label);
            if (rc == 2) { /* deleted meanwhile */
                rc = 1;
                continue;
            }
            if (rc < 0)
                return -1;
            told = mark_look(message, recorded, out) || told;
            rd_kafka_message_destroy(message);
        }
        if (rc < 1)
            return rc < 0 ? -1 : 0;
        looked += until - at;
        window = window * 4 < WINDOW_MAX ? window * 4 : WINDOW_MAX;
    }
    return 0;
}

int kafka_marked(struct log *of, const char *topic, uint32_t partition, const struct log_marked *recorded, struct log_marked *out, struct err *err)
{
    struct kafka_log   *log = kafka_log_of(of);
    struct kafka_source source;
    int                 rc;

    *out = (struct log_marked){ 0 };
    if (kafka_topic_foreign(log, topic))
        return 0;
    if (kafka_source_open(&source, log, topic, partition, err) < 0)
        return -1;
    rc = kafka_source_bounds(&source, err);
    if (rc == 1)
        rc = look_back(&source, recorded, out, err);
    kafka_source_close(&source);
    return rc < 0 ? -1 : 0;
}
