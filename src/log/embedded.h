/* log/embedded.h - the functions of the embedded backend; for the log's own files only (log.h says what each does). */
#ifndef PENSTOCK_LOG_EMBEDDED_H
#define PENSTOCK_LOG_EMBEDDED_H

#include "log/log_ops.h"

void embedded_close(struct log *log);
uint32_t embedded_partitions(const struct log *log);
int embedded_writer_open(struct log *log, const char *topic, uint32_t partition,
                         const struct log_topic_options *options, struct log_writer **out, struct err *err) must_check;
void embedded_writer_close(struct log_writer *writer);
uint64_t embedded_writer_end(const struct log_writer *writer);
int embedded_writer_cut(struct log_writer *writer, uint64_t end, struct err *err) must_check;
int embedded_writer_append(struct log_writer *writer, const struct log_batch *batch, int64_t now_us, uint64_t *base_out,
                           struct err *err) must_check;
int embedded_writer_sync(struct log_writer *writer, struct err *err) must_check;
void embedded_writer_publish(struct log_writer *writer, uint64_t end);
int embedded_writer_retain(struct log_writer *writer, int64_t now_us, struct err *err) must_check;
void embedded_writer_clock(struct log_writer *writer, int64_t now_us, struct log_clock *out);
int embedded_commit_start(struct log_writer *writer_take, const struct log_commit_options *options,
                          struct log_commit **out, struct err *err) must_check;
void embedded_commit_stop(struct log_commit *commit);
int embedded_commit_submit(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx,
                           struct err *err) must_check;
bool embedded_commit_claim(struct log_commit *commit, const struct log_batch *batch) must_check;
void embedded_commit_write(struct log_commit *commit, struct log_batch *batch_take, log_commit_done *done, void *ctx);
int embedded_commit_rest(struct log_commit *commit, struct err *err) must_check;
int embedded_commit_resume(struct log_commit *commit, struct err *err) must_check;
void embedded_commit_forward(struct log_commit *commit, int fd_take);
void embedded_commit_serve(struct log_commit *commit, int fd);
int embedded_reader_open(struct log *log, const char *topic, uint32_t partition, uint64_t from, struct log_reader **out,
                         struct err *err) must_check;
void embedded_reader_close(struct log_reader *reader);
void embedded_reader_once(struct log_reader *reader);
void embedded_reader_ahead(struct log_reader *reader, uint64_t bytes);
int embedded_reader_next(struct log_reader *reader, struct log_chunk *out, struct err *err) must_check;
bool embedded_reader_wait(struct log_reader *reader, int64_t timeout_us);
uint64_t embedded_reader_lag(struct log_reader *reader, uint64_t from);
uint64_t embedded_reader_end(struct log_reader *reader);
uint64_t embedded_reader_start(struct log_reader *reader);
int embedded_cursor_store(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t offset,
                          struct err *err) must_check;
int embedded_cursor_load(struct log *log, const char *topic, uint32_t partition, const char *consumer,
                         uint64_t *offset_out, struct err *err) must_check;
int embedded_erase(struct log *log, const char *topic, uint32_t partition, uint64_t from, uint64_t below,
                   size_t segments_max, log_erase_wanted *wanted, void *ctx, struct log_erased *out, struct err *err) must_check;
int embedded_roll_ask(struct log *log, const char *topic, uint32_t partition, struct err *err) must_check;
int embedded_clock_confirm(struct log *log, const char *topic, uint32_t partition, struct err *err) must_check;
int embedded_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err) must_check;
int embedded_clock_info(struct log *log, log_info_seen *seen, void *ctx, struct err *err) must_check;
int embedded_verify(struct log *log, const char *topic, uint32_t partition, log_damage_seen *seen, void *ctx,
                    struct log_verify_result *out, struct err *err) must_check;

#endif
