/* log/spool.h - what brokers do not take, on this machine's disk until they do; for the log's own files only.
 *
 * A topic of an embedded log in a folder of its own, with one cursor, "spool". What is put is on the disk (one sync for all
 * of a call) before it returns. It is read from the cursor on, in order; the cursor follows what the brokers took, so a process
 * that dies sends again what they took since, and never less. What was sent is deleted a segment at a time.
 *  P1  put is durable, or it says no: ERR_FULL for a bound (the spool goes on), ERR_STOP for a disk that failed
 *  P2  nothing is given up: damage is told as a gap with a count, and everything around it is sent
 *  P3  one process has it at a time (log.h L5)
 * One thread. */
#ifndef PENSTOCK_LOG_SPOOL_H
#define PENSTOCK_LOG_SPOOL_H

#include "log/log.h"

struct spool;

struct spool_options {
    const char *folder;        /* of all spools; made when missing */
    const char *topic;
    uint64_t    bytes_max;     /* of what waits; 0: no bound but the disk */
    uint64_t    reserve_bytes; /* that are left free on the disk */
    uint64_t    segment_bytes; /* 0: 16 MiB */
};

/* ERR_RETRY: another process has it. */
int  spool_open(const struct spool_options *options, struct spool **out, struct err *err) must_check;
void spool_close(struct spool *spool); /* NULL: nothing */

/* Lets another process open it; what is open here stays so, as this one may not be able to open it again (capture's cage).
 * Closing it then leaves everything to the other one. */
void spool_rest(struct spool *spool);
/* Back again. ERR_STOP: another process wrote to it. */
int  spool_wake(struct spool *spool, struct err *err) must_check;

/* Puts batches, in order; *done_out of them are durable then, also on failure. */
int spool_put(struct spool *spool, const struct log_batch *const *batches, size_t count, int64_t now_us, size_t *done_out,
              struct err *err) must_check;

/* 1: the next records (LOG_RECORDS, or LOG_GAP: `count` are lost); 0: all was given; -1: error. The chunk lives until the next
 * call. */
int spool_next(struct spool *spool, struct log_chunk *out, struct err *err) must_check;
/* Everything below `offset` was taken, `bytes` more than before. */
void spool_taken(struct spool *spool, uint64_t offset, uint64_t bytes, int64_t now_us);
/* Gives again everything that was not taken. */
int spool_rewind(struct spool *spool, struct err *err) must_check;
/* Deletes segments whose records were all taken, and writes the cursor; cheap when there is nothing to do. Now and then. */
void spool_tidy(struct spool *spool, int64_t now_us);

uint64_t spool_waiting(const struct spool *spool); /* records that were not taken */
uint64_t spool_unread(const struct spool *spool);  /* of them, those that spool_next did not give yet */
uint64_t spool_bytes(const struct spool *spool);   /* about, after an opening */

#endif
