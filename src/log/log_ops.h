/* log/log_ops.h - what a backend of the log is; for the log's own files only (log.h has the functions).
 *
 * Each object (log, writer, committer, reader) of either backend begins with a pointer to its backend's functions, so log.c
 * can send a call there without knowing more: one indirect call. The embedded backend (embedded.c and the files beside
 * segment.c) names its types as log.h does, Kafka's (kafka_*.c) have names of their own and are cast. */
#ifndef PENSTOCK_LOG_LOG_OPS_H
#define PENSTOCK_LOG_LOG_OPS_H

#include "log/log.h"

/* In the order of log.h, and as described there. */
struct log_ops {
    void     (*close)(struct log *log);
    uint32_t (*partitions)(const struct log *log);
    int      (*prepare)(struct log *log, const char *const *topics, size_t count, const struct log_topic_options *options,
                        struct err *err); /* NULL: nothing is to be done */

    int      (*writer_open)(struct log *log, const char *topic, uint32_t partition, const struct log_topic_options *options,
                            struct log_writer **out, struct err *err);
    void     (*writer_close)(struct log_writer *writer);
    uint64_t (*writer_end)(const struct log_writer *writer);
    int      (*writer_cut)(struct log_writer *writer, uint64_t end, struct err *err);
    int      (*writer_append)(struct log_writer *writer, const struct log_batch *batch, int64_t now_us, uint64_t *base_out,
                              struct err *err);
    int      (*writer_sync)(struct log_writer *writer, struct err *err);
    void     (*writer_publish)(struct log_writer *writer, uint64_t end);
    int      (*writer_retain)(struct log_writer *writer, int64_t now_us, struct err *err);
    void     (*writer_clock)(struct log_writer *writer, int64_t now_us, struct log_clock *out); /* NULL: no guard */
    int      (*marked)(struct log *log, const char *topic, uint32_t partition, const struct log_marked *recorded, struct log_marked *out,
                       struct err *err); /* NULL: nothing is marked */

    int  (*commit_start)(struct log_writer *writer_take, const struct log_commit_options *options, struct log_commit **out,
                         struct err *err);
    void (*commit_stop)(struct log_commit *commit);
    int  (*commit_submit)(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx,
                          struct err *err);
    bool (*commit_claim)(struct log_commit *commit, const struct log_batch *batch); /* NULL: never */
    void (*commit_write)(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx);
    int  (*commit_rest)(struct log_commit *commit, struct err *err);
    int  (*commit_resume)(struct log_commit *commit, struct err *err);
    void (*commit_forward)(struct log_commit *commit, int fd_take);
    void (*commit_serve)(struct log_commit *commit, int fd);

    int      (*reader_open)(struct log *log, const char *topic, uint32_t partition, uint64_t from, struct log_reader **out,
                            struct err *err);
    void     (*reader_close)(struct log_reader *reader);
    void     (*reader_once)(struct log_reader *reader);
    void     (*reader_ahead)(struct log_reader *reader, uint64_t bytes); /* NULL: never */
    int      (*reader_next)(struct log_reader *reader, struct log_chunk *out, struct err *err);
    bool     (*reader_wait)(struct log_reader *reader, int64_t timeout_us);
    uint64_t (*reader_lag)(struct log_reader *reader, uint64_t from);
    int      (*reader_end)(struct log_reader *reader, uint64_t *out, struct err *err);
    uint64_t (*reader_start)(struct log_reader *reader);

    int (*cursor_store)(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t offset,
                        struct err *err);
    int (*cursor_load)(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t *offset_out,
                       struct err *err);
    int (*begin)(struct log *log, const char *topic, uint32_t partition, uint64_t *out, struct err *err); /* NULL: nobody says */
    void (*cursors_expect)(struct log *log, const char *const *topics, size_t count, uint32_t partition,
                           const char *consumer); /* NULL: nothing is asked */
    int (*erase)(struct log *log, const char *topic, uint32_t partition, uint64_t from, uint64_t below, size_t segments_max,
                 log_erase_wanted *wanted, void *ctx, struct log_erased *out, struct err *err);
    int (*roll_ask)(struct log *log, const char *topic, uint32_t partition, struct err *err);
    int (*clock_confirm)(struct log *log, const char *topic, uint32_t partition, struct err *err); /* NULL: nothing is held */
    int (*info)(struct log *log, log_info_seen *seen, void *ctx, struct err *err);
    int (*clock_info)(struct log *log, log_info_seen *seen, void *ctx, struct err *err); /* NULL: nothing is held */
    int (*verify)(struct log *log, const char *topic, uint32_t partition, log_damage_seen *seen, void *ctx,
                  struct log_verify_result *out, struct err *err);
};

extern const struct log_ops log_embedded_ops, log_kafka_ops;

int embedded_open(const struct log_options *options, struct log **out, struct err *err) must_check;
int kafka_log_open(const struct log_options *options, struct log **out, struct err *err) must_check;

#endif
