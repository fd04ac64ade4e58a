/* log/log.c - sends each call to the backend of its object (log_ops.h). Every object begins with the pointer to it. */
#include "log/log_batch.h"
#include "log/log_ops.h"

#include "log/kafka_log.h"

const char *const log_kafka_topics_shared[] = { "raw", "raw_historical", "replay", "control", NULL };

#define OPS(object) (*(const struct log_ops *const *)(const void *)(object))

int log_open(const struct log_options *options, struct log **out, struct err *err)
{
    return options->kafka != NULL ? kafka_log_open(options, out, err) : embedded_open(options, out, err);
}

bool log_is_kafka(const struct log *log)
{
    return OPS(log) == &log_kafka_ops;
}

bool log_sparse(const struct log *log, const char *topic)
{
    return log_is_kafka(log) && kafka_topic_shared((const struct kafka_log *)(const void *)log, topic);
}

void log_close(struct log *log)
{
    if (log != NULL)
        OPS(log)->close(log);
}

uint32_t log_partitions(const struct log *log)
{
    return OPS(log)->partitions(log);
}

int log_prepare(struct log *log, const char *const *topics, size_t count, const struct log_topic_options *options, struct err *err)
{
    return OPS(log)->prepare == NULL ? 0 : OPS(log)->prepare(log, topics, count, options, err);
}

int log_marked(struct log *log, const char *topic, uint32_t partition, const struct log_marked *recorded, struct log_marked *out, struct err *err)
{
    *out = (struct log_marked){ 0 };
    return OPS(log)->marked == NULL ? 0 : OPS(log)->marked(log, topic, partition, recorded, out, err);
}

int log_writer_open(struct log *log, const char *topic, uint32_t partition, const struct log_topic_options *options,
                    struct log_writer **out, struct err *err)
{
    return OPS(log)->writer_open(log, topic, partition, options, out, err);
}

void log_writer_close(struct log_writer *writer)
{
    if (writer != NULL)
        OPS(writer)->writer_close(writer);
}

uint64_t log_writer_end(const struct log_writer *writer)
{
    return OPS(writer)->writer_end(writer);
}

int log_writer_cut(struct log_writer *writer, uint64_t end, struct err *err)
{
    return OPS(writer)->writer_cut(writer, end, err);
}

int log_writer_append(struct log_writer *writer, const struct log_batch *batch, int64_t now_us, uint64_t *base_out,
                      struct err *err)
{
    return OPS(writer)->writer_append(writer, batch, now_us, base_out, err);
}

int log_writer_sync(struct log_writer *writer, struct err *err)
{
    return OPS(writer)->writer_sync(writer, err);
}

void log_writer_publish(struct log_writer *writer, uint64_t end)
{
    OPS(writer)->writer_publish(writer, end);
}

int log_writer_retain(struct log_writer *writer, int64_t now_us, struct err *err)
{
    return OPS(writer)->writer_retain(writer, now_us, err);
}

void log_writer_clock(struct log_writer *writer, int64_t now_us, struct log_clock *out)
{
    if (OPS(writer)->writer_clock != NULL)
        OPS(writer)->writer_clock(writer, now_us, out);
    else
        *out = (struct log_clock){ now_us, INT64_MAX };
}

int log_commit_start(struct log_writer *writer_take, const struct log_commit_options *options, struct log_commit **out,
                     struct err *err)
{
    return OPS(writer_take)->commit_start(writer_take, options, out, err);
}

void log_commit_stop(struct log_commit *commit)
{
    if (commit != NULL)
        OPS(commit)->commit_stop(commit);
}

int log_commit_submit(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx,
                      struct err *err)
{
    log_batch_sum(batch_take); /* here, where it is warm: others' threads only write it */
    return OPS(commit)->commit_submit(commit, batch_take, done, ctx, err);
}

bool log_commit_claim(struct log_commit *commit, const struct log_batch *batch)
{
    return OPS(commit)->commit_claim != NULL && OPS(commit)->commit_claim(commit, batch);
}

void log_commit_write(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx)
{
    OPS(commit)->commit_write(commit, batch_take, done, ctx);
}

int log_commit_rest(struct log_commit *commit, struct err *err)
{
    return OPS(commit)->commit_rest(commit, err);
}

int log_commit_resume(struct log_commit *commit, struct err *err)
{
    return OPS(commit)->commit_resume(commit, err);
}

void log_commit_forward(struct log_commit *commit, int fd_take)
{
    OPS(commit)->commit_forward(commit, fd_take);
}

void log_commit_serve(struct log_commit *commit, int fd)
{
    OPS(commit)->commit_serve(commit, fd);
}

int log_reader_open(struct log *log, const char *topic, uint32_t partition, uint64_t from, struct log_reader **out,
                    struct err *err)
{
    return OPS(log)->reader_open(log, topic, partition, from, out, err);
}

void log_reader_close(struct log_reader *reader)
{
    if (reader != NULL)
        OPS(reader)->reader_close(reader);
}

void log_reader_once(struct log_reader *reader)
{
    OPS(reader)->reader_once(reader);
}

void log_reader_ahead(struct log_reader *reader, uint64_t bytes)
{
    if (OPS(reader)->reader_ahead != NULL)
        OPS(reader)->reader_ahead(reader, bytes);
}

int log_reader_next(struct log_reader *reader, struct log_chunk *out, struct err *err)
{
    return OPS(reader)->reader_next(reader, out, err);
}

bool log_reader_wait(struct log_reader *reader, int64_t timeout_us)
{
    return OPS(reader)->reader_wait(reader, timeout_us);
}

uint64_t log_reader_lag(struct log_reader *reader, uint64_t from)
{
    return OPS(reader)->reader_lag(reader, from);
}

int log_reader_end(struct log_reader *reader, uint64_t *out, struct err *err)
{
    return OPS(reader)->reader_end(reader, out, err);
}

uint64_t log_reader_start(struct log_reader *reader)
{
    return OPS(reader)->reader_start(reader);
}

int log_cursor_store(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t offset,
                     struct err *err)
{
    return OPS(log)->cursor_store(log, topic, partition, consumer, offset, err);
}

int log_cursor_load(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t *offset_out,
                    struct err *err)
{
    return OPS(log)->cursor_load(log, topic, partition, consumer, offset_out, err);
}

int log_begin(struct log *log, const char *topic, uint32_t partition, uint64_t *out, struct err *err)
{
    *out = 0;
    return OPS(log)->begin == NULL ? 0 : OPS(log)->begin(log, topic, partition, out, err);
}

void log_cursors_expect(struct log *log, const char *const *topics, size_t count, uint32_t partition, const char *consumer)
{
    if (OPS(log)->cursors_expect != NULL)
        OPS(log)->cursors_expect(log, topics, count, partition, consumer);
}

int log_erase(struct log *log, const char *topic, uint32_t partition, uint64_t from, uint64_t below,
              size_t segments_max, log_erase_wanted *wanted, void *ctx, struct log_erased *out, struct err *err)
{
    return OPS(log)->erase(log, topic, partition, from, below, segments_max, wanted, ctx, out, err);
}

int log_roll_ask(struct log *log, const char *topic, uint32_t partition, struct err *err)
{
    return OPS(log)->roll_ask(log, topic, partition, err);
}

int log_clock_confirm(struct log *log, const char *topic, uint32_t partition, struct err *err)
{
    return OPS(log)->clock_confirm == NULL ? 0 : OPS(log)->clock_confirm(log, topic, partition, err);
}

int log_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err)
{
    return OPS(log)->info(log, seen, ctx, err);
}

int log_clock_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err)
{
    return OPS(log)->clock_info == NULL ? 0 : OPS(log)->clock_info(log, seen, ctx, err);
}

int log_verify(struct log *log, const char *topic, uint32_t partition, log_damage_seen *seen, void *ctx,
               struct log_verify_result *out, struct err *err)
{
    return OPS(log)->verify(log, topic, partition, seen, ctx, out, err);
}
