/* log/kafka_held.c - frames that wait for their mark: the half of exactly once that readers do (kafka_writer.h B1, B2).
 *
 * What may come in: frames of a writer that then died, again at the same offsets by the next one; frames of a writer that was
 * stopped for an hour and then sends what it had; marks of the same. A mark is true whenever it comes, and says whose frames
 * it means, so no order between writers has to be believed. Frames go when a mark of a higher epoch is past them: their
 * writer can record nothing any more. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "log/kafka_reader.h"

enum { BACK_FIRST = 256 };

static void held_free(struct kafka_held *held)
{
    if (held->message != NULL)
        rd_kafka_message_destroy(held->message);
}

void kafka_held_drop(struct kafka_held_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        held_free(&list->at[list->first + i]);
    list->first = list->count = 0;
}

/* On failure the message is gone. */
static int held_add(struct kafka_held_list *list, const struct kafka_held *held_take, struct err *err)
{
    struct kafka_held taken = *held_take;

    if (list->first > 0 && list->first + list->count == list->size) {
        memmove(list->at, list->at + list->first, list->count * sizeof *list->at);
        list->first = 0;
    }
    if (list->first + list->count == list->size) {
        size_t             size = list->size == 0 ? 64 : list->size * 2;
        struct kafka_held *grown = realloc(list->at, size * sizeof *grown);

        if (grown == NULL) {
            held_free(&taken);
            return err_set(err, ERR_FULL, "no memory for %zu frames that wait", list->count);
        }
        list->at = grown;
        list->size = size;
    }
    list->at[list->first + list->count++] = taken;
    return 0;
}

static int gap_add(struct kafka_reader *reader, uint64_t to, const char *why, struct err *err)
{
    struct kafka_held gap = { .base = reader->let_go, .end = to, .why = why };

    reader->let_go = to;
    return held_add(&reader->ready, &gap, err);
}

/* Nothing of `base` was seen, and the mark says that it was written before: either we began behind it, or it is gone.
 * 1: begin again further back; 0: a gap was noted; -1. */
static int hole(struct kafka_reader *reader, uint64_t base, struct err *err)
{
    if (reader->anchored)
        return gap_add(reader, base, "damaged", err);
    if (reader->began_at > reader->source.low) {
        reader->back = reader->back == 0 ? BACK_FIRST : reader->back * 4;
        return 1;
    }
    reader->anchored = true;
    return gap_add(reader, base, "expired", err);
}

/* The mark lets go what its epoch wrote below its end. As kafka_held_take. */
static int mark_take(struct kafka_reader *reader, const struct kafka_frame *mark, struct err *err)
{
    struct kafka_held_list *held = &reader->held;
    size_t                  kept = held->first, end = held->first + held->count;
    int                     rc = 0;

    if (mark->base <= reader->let_go)
        return 0; /* what it means went already */
    for (size_t i = held->first; i < end; i++) {
        struct kafka_held *at = &held->at[i];
        bool               meant = at->frame.epoch == mark->published && at->base < mark->base && at->end > reader->let_go;

        if (rc == 0 && meant && at->base > reader->let_go)
            rc = hole(reader, at->base, err);
        if (rc == 0 && meant && at->end <= mark->base) {
            struct kafka_held taken = *at;

            at->message = NULL;
            reader->let_go = taken.end;
            reader->anchored = true;
            rc = held_add(&reader->ready, &taken, err);
        } else if (at->base >= mark->base && at->frame.epoch >= mark->epoch) {
            held->at[kept++] = *at; /* it may be meant by a later one */
            continue;
        }
        held_free(at);
    }
    held->count = kept - held->first;
    if (rc == 0 && reader->let_go < mark->base)
        rc = hole(reader, mark->base, err);
    return rc;
}

/* The first message of ours tells whether a hint led too far: then what is looked for was before it. */
static bool too_far(struct kafka_reader *reader, struct span bytes)
{
    struct kafka_frame frame;

    if (!reader->hinted || !kafka_frame_get(bytes, &frame) || frame.kind == KAFKA_FRAME_SHARED)
        return false;
    reader->hinted = false;
    reader->unhinted = frame.base > reader->next;
    return reader->unhinted;
}

int kafka_held_take(struct kafka_reader *reader, rd_kafka_message_t *message_take, struct err *err)
{
    static struct say_gate gate;
    struct kafka_held      held = { .message = message_take, .at = message_take->offset };
    struct span            bytes = span_of(message_take->payload, message_take->len);

    if (too_far(reader, bytes)) {
        rd_kafka_message_destroy(message_take);
        return 1;
    }
    if (kafka_frame_get(bytes, &held.frame) && held.frame.kind == KAFKA_FRAME_OWNED) {
        held.base = held.frame.base;
        held.end = held.frame.base + held.frame.count;
        if (held.end > reader->let_go)
            return held_add(&reader->held, &held, err);
    } else if (kafka_frame_get(bytes, &held.frame) && held.frame.kind == KAFKA_FRAME_MARK) {
        int rc = mark_take(reader, &held.frame, err);

        rd_kafka_message_destroy(message_take);
        return rc;
    } else if (kafka_frame_is(bytes)) {
        say_seldom(&gate, SAY_WARN, "%s: Kafka's message %" PRId64 " is damaged", reader->source.label, message_take->offset);
    } else { /* somebody else's: only ours count here */
        say_seldom(&gate, SAY_WARN, "%s: Kafka's message %" PRId64 " is none of Penstock's, and is passed over", reader->source.label,
                   message_take->offset);
    }
    rd_kafka_message_destroy(message_take);
    return 0;
}
