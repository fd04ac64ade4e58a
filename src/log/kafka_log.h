/* log/kafka_log.h - the log on Kafka; for the log's own files only (log.h has the functions).
 *
 *   kafka_log.c        open, close, cursors, info, verify        kafka_client.c   settings of librdkafka's clients
 *   kafka_reader.c     the reading end                           kafka_topics.c   topics: made, and checked
 *   kafka_writer.c     the writing end of topics with one writer kafka_commit.c   capture's way in, many writers
 *   kafka_frame.c      the form of messages                      kafka_partition.c  keys to partitions
 *   log_group.c        which partitions are this process's       spool.c          what brokers do not take */
#ifndef PENSTOCK_LOG_KAFKA_LOG_H
#define PENSTOCK_LOG_KAFKA_LOG_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "log/kafka_name.h"
#include "log/log_ops.h"

enum { KAFKA_MISSING_MAX = 8, KAFKA_TOPICS_MAX = 32,
       KAFKA_OTHERS_MAX = 8 /* topics where messages of one may belong beside it */ };

struct kafka_log {
    const struct log_ops           *ops;
    const struct log_kafka_options *options; /* borrowed */
    size_t                          frame_bytes_max;
    pthread_mutex_t                 lock;
    struct kafka_client            *clients;  /* @lock lock; of readers (kafka_source.h) */
    char                          **ready;    /* @lock lock; names of topics that were looked at */
    size_t                          ready_count;
    struct { char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1]; int64_t at_us; } missing[KAFKA_MISSING_MAX]; /* @lock lock; topics, and when they were looked for */
    pthread_mutex_t                 cursors_lock;
    struct kafka_cursors           *cursors;  /* @lock cursors_lock; kafka_cursor.c */
    struct kafka_place             *places;   /* @lock lock; kafka_info.c */
    size_t                          place_count;
    struct kafka_producer          *producer; /* @lock lock; of writers (kafka_producer.h); made when first wanted */
};

static inline struct kafka_log *kafka_log_of(struct log *log)
{
    return (struct kafka_log *)(void *)log;
}

/* Many write it, and Kafka's offset is the order. */
bool kafka_topic_shared(const struct kafka_log *log, const char *topic);
/* What is written there has the other system's form: messages, and no frames and marks. */
bool kafka_topic_foreign(const struct kafka_log *log, const char *topic);
/* There, and made as options ask when it was not; once a topic and opening of the log. */
int kafka_topic_ready(struct kafka_log *log, const char *name, const struct log_topic_options *options, struct err *err) must_check;
int kafka_prepare(struct log *log, const char *const *topics, size_t count, const struct log_topic_options *options, struct err *err) must_check;
/* That there is no such topic was found out so short ago that nobody need ask again; and is now. */
bool kafka_missing_known(struct kafka_log *log, const char *name);
void kafka_missing_note(struct kafka_log *log, const char *name);
/* Its name at the brokers: prefix and, where hooks say so, another one. */
int kafka_topic_name(const struct kafka_log *log, const char *topic, char name[KAFKA_TOPIC_NAME_BYTES_MAX + 1], struct err *err)
    must_check;

/* Where readers of topics with one writer are in Kafka's offsets: this process's, or one of which a cursor tells. So whoever takes a
 * partition over need not look for the place (kafka_place.c), which is several questions to the brokers. A hint: it may be too far on. */
void    kafka_places_set(struct kafka_log *log, const char *name, int32_t partition, uint64_t offset, int64_t message);
/* 0: not known. */
int64_t kafka_places_get(struct kafka_log *log, const char *name, int32_t partition);
/* 1: *out is the message where somebody was at an offset that is not behind this one. */
int     kafka_places_before(struct kafka_log *log, const char *name, int32_t partition, uint64_t offset, int64_t *out);
void    kafka_places_close(struct kafka_log *log);

/* The functions of log.h, but for those of committers (kafka_commit.h). */
int      kafka_writer_open(struct log *log, const char *topic, uint32_t partition, const struct log_topic_options *options,
                           struct log_writer **out, struct err *err) must_check;
void     kafka_writer_close(struct log_writer *writer);
uint64_t kafka_writer_end(const struct log_writer *writer);
int      kafka_writer_cut(struct log_writer *writer, uint64_t end, struct err *err) must_check;
int      kafka_writer_append(struct log_writer *writer, const struct log_batch *batch, int64_t now_us, uint64_t *base_out,
                             struct err *err) must_check;
int      kafka_writer_sync(struct log_writer *writer, struct err *err) must_check;
void     kafka_writer_publish(struct log_writer *writer, uint64_t end);
int      kafka_writer_retain(struct log_writer *writer, int64_t now_us, struct err *err) must_check;
int      kafka_marked(struct log *log, const char *topic, uint32_t partition, const struct log_marked *recorded, struct log_marked *out,
                      struct err *err) must_check;
int      kafka_reader_open(struct log *log, const char *topic, uint32_t partition, uint64_t from, struct log_reader **out,
                           struct err *err) must_check;
void     kafka_reader_close(struct log_reader *reader);
void     kafka_reader_once(struct log_reader *reader);
int      kafka_reader_next(struct log_reader *reader, struct log_chunk *out, struct err *err) must_check;
bool     kafka_reader_wait(struct log_reader *reader, int64_t timeout_us);
uint64_t kafka_reader_lag(struct log_reader *reader, uint64_t from);
int      kafka_reader_end(struct log_reader *reader, uint64_t *out, struct err *err) must_check;
uint64_t kafka_reader_start(struct log_reader *reader);
int      kafka_cursor_store(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t offset,
                            struct err *err) must_check;
int      kafka_cursor_load(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t *offset_out,
                           struct err *err) must_check;
int      kafka_begin(struct log *log, const char *topic, uint32_t partition, uint64_t *out, struct err *err) must_check;
void     kafka_cursors_expect(struct log *log, const char *const *topics, size_t count, uint32_t partition, const char *consumer);
void     kafka_cursors_close(struct kafka_log *log);
int      kafka_erase(struct log *log, const char *topic, uint32_t partition, uint64_t from, uint64_t below, size_t segments_max,
                     log_erase_wanted *wanted, void *ctx, struct log_erased *out, struct err *err) must_check;
int      kafka_roll_ask(struct log *log, const char *topic, uint32_t partition, struct err *err) must_check;
int      kafka_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err) must_check;
int      kafka_verify(struct log *log, const char *topic, uint32_t partition, log_damage_seen *seen, void *ctx,
                      struct log_verify_result *out, struct err *err) must_check;

#endif
