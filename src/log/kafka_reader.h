/* log/kafka_reader.h - the reading end of a partition on Kafka; for the log's own files only (log.h has the functions).
 *
 *   kafka_reader.c   both kinds of topics: messages in, chunks out
 *   kafka_held.c     topics with one writer: frames wait for the mark that means them (kafka_writer.h)
 *   kafka_place.c    topics with one writer: where in Kafka's offsets ours begins
 *
 * A topic with many writers: a frame's records are a chunk, whose offsets are Kafka's offset of the message and the place in it
 * (kafka_frame.h). A message of the other form becomes one record (log_form_hooks).
 * A topic with one writer: offsets are dense, and stand in the frames.
 *  C1  a chunk's records stay where they are until the next call: its message is kept
 *  C2  a frame that is damaged, and a hole between frames that a mark covers, are LOG_GAP "damaged"; what the brokers deleted
 *      before it was read is LOG_GAP "expired". In a topic with many writers nobody knows how many records a lost message had:
 *      it counts as one */
#ifndef PENSTOCK_LOG_KAFKA_READER_H
#define PENSTOCK_LOG_KAFKA_READER_H

#include "log/kafka_frame.h"
#include "log/kafka_source.h"

enum { KAFKA_READER_MAGIC = 0x6b726472 };

/* A frame of a topic with one writer, or (ready) what a mark let go. */
struct kafka_held {
    rd_kafka_message_t *message; /* NULL: a gap */
    struct kafka_frame  frame;
    uint64_t            base, end; /* our offsets */
    int64_t             at;        /* Kafka's */
    const char         *why;       /* of a gap */
};

struct kafka_held_list {
    struct kafka_held *at;
    size_t             first, count, size; /* at[first .. first + count) */
};

struct kafka_reader {
    const struct log_ops  *ops;
    uint32_t               magic;
    struct kafka_log      *log;
    char                   topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    uint32_t               partition;
    bool                   shared;
    struct kafka_source    source;
    bool                   placed;    /* the source stands where `next` is */
    bool                   looked;    /* many writers: the first message since was looked at */
    uint64_t               next;      /* our offset of the next record to give */
    rd_kafka_message_t    *serving;   /* C1 */
    uint8_t               *unpacked;
    size_t                 unpacked_size;
    struct log_batch      *converted; /* of a message of the other form */
    double                 per_message; /* records, smoothed: for estimates */
    rd_kafka_message_t    *pending;   /* log_reader_wait found it */
    /* topics with one writer */
    struct kafka_held_list held, ready;
    uint64_t               let_go;    /* our offset up to which marks let go */
    bool                   anchored;  /* what was let go first was what was looked for */
    int64_t                began_at;  /* Kafka's offset from which we read */
    int64_t                back;      /* messages to go back when that was too far */
    bool                   hinted;    /* began where a hint led, and no message has told yet that it was not too far */
    bool                   unhinted;  /* a hint led too far */
};

static inline struct kafka_reader *kafka_reader_of(struct log_reader *reader)
{
    return (struct kafka_reader *)(void *)reader;
}

/* kafka_held.c */
void kafka_held_drop(struct kafka_held_list *list); /* empty, with its messages */
/* A message of a topic with one writer; taken. 0; 1: the place was too far on: begin again further back; -1: no memory. */
int  kafka_held_take(struct kafka_reader *reader, rd_kafka_message_t *message_take, struct err *err) must_check;

/* kafka_place.c: how far before a frame a place may be, in messages */
enum { KAFKA_PLACE_NEAR = 32 };
/* A place in Kafka's offsets that is very likely before `offset`'s frame, and not far. 1; 0: there is no topic; -1. */
int kafka_place_find(struct kafka_source *source, uint64_t offset, int64_t *out, struct err *err) must_check;
/* Our offset of the first frame that is stored. As above. */
int kafka_place_start(struct kafka_source *source, uint64_t *out, struct err *err) must_check;
/* The end that marks tell, as far as the last messages know. As above. */
int kafka_place_end(struct kafka_source *source, uint64_t *out, struct err *err) must_check;
/* Whether its messages are of another form than frames, of which Kafka's own offsets are the only ones: the first message tells. As above. */
int kafka_place_foreign(struct kafka_source *source, bool *out, struct err *err) must_check;

#endif
