/* log/kafka_writer.h - the writing end of a partition on Kafka; for the log's own files only (log.h has the functions).
 *
 * A topic with one writer at a time (what ingest writes) holds frames and marks. A frame tells its writer's epoch and its
 * records' offsets; a mark tells: what epoch E wrote counts, up to this offset. Frames are sent before the writer's stage commits
 * its transaction, marks after it.
 *
 *   writer, epoch 7       frame 7: 0..99   frame 7: 100..149   mark: 7 up to 150   frame 7: 150..199   (dies before its commit)
 *   writer, epoch 8                                                   mark: 7 up to 150   frame 8: 150..179   mark: 8 up to 180
 *   readers see           0..99, 100..149 of epoch 7, then 150..179 of epoch 8
 *
 *  B1  only a mark makes records visible, and a mark names the epoch whose frames it means: what others wrote at the same
 *      offsets, before or after, delayed in whatever queue, is never seen
 *  B2  a mark is only sent about what a transaction has recorded, so it is true for ever, whenever it arrives
 *  B3  the first thing that a writer sends is a mark with what the writer before it had recorded (log_topic_options
 *      epoch_committed, log_writer_cut), and its first commit waits until that mark has arrived. So what one epoch recorded is
 *      marked before the next one records anything
 *  B4  an epoch is given once: the frames of a writer that is opened anew in the same process are another writer's
 * Two writers at a time are harmless for the log: the transaction lets only one of them record (people.h). A topic with many
 * writers has frames without marks; every message counts as soon as it is there. */
#ifndef PENSTOCK_LOG_KAFKA_WRITER_H
#define PENSTOCK_LOG_KAFKA_WRITER_H

#include "log/kafka_frame.h"
#include "log/kafka_producer.h"

enum { KAFKA_WRITER_MAGIC = 0x6b777274 };

struct kafka_writer {
    const struct log_ops    *ops;
    uint32_t                 magic;
    struct kafka_log        *log;
    struct log_topic_options options;
    char                     topic[LOG_TOPIC_NAME_BYTES_MAX + 1];
    char                     name[KAFKA_TOPIC_NAME_BYTES_MAX + 1]; /* at the brokers */
    char                     label[LOG_TOPIC_NAME_BYTES_MAX + 16];
    uint32_t                 partition;
    bool                     shared;  /* many write this topic */
    bool                     foreign; /* each record is a message in the other system's form */
    struct kafka_producer   *producer;
    rd_kafka_topic_t        *handle;
    struct kafka_other { const char *name; rd_kafka_topic_t *handle; } others[KAFKA_OTHERS_MAX]; /* where foreign messages belong, too */
    unsigned                 other_count;
    bool                     opened;  /* the first mark was sent (B3) */
    bool                     stopped;
    struct err               stop_err;
    uint64_t                 next, synced_end, published;
    uint64_t                 epoch, epoch_published; /* whose frames the next mark means */
    struct buf               room; /* of a message in the other form */
    size_t                   volley_bytes, volley_count; /* messages of the other form since the last time that nothing was under way */
    int64_t                  sent_us; /* of the monotonic clock: the last message */
    pthread_mutex_t          lock;
    pthread_cond_t           landed;
    /* @lock lock */
    unsigned                 under_way, frames_failed;
    bool                     known; /* the brokers took a message of this writer's, and so know its producer (kafka_line.c) */
    bool                     mark_lost, closed; /* closed: the last message to land frees it */
    rd_kafka_resp_err_t      error;
    struct kafka_delivery    of_frame, of_mark;
};

static inline struct kafka_writer *kafka_writer_of(struct log_writer *writer)
{
    return (struct kafka_writer *)(void *)writer;
}

#endif
