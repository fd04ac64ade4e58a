/* log/kafka_way.h - which way batches go: to the brokers, or to the disk until the brokers take them; for the log's own files only.
 *
 *                 +------------- caught up: the spool was read to its end ------------+
 *                 v                                                                   |
 *   start ---> DIRECT --- no answer for spool_after, or a failure ---> SPOOLING ---> DRAINING
 *                ^ |      (all that is under way goes to the disk,      ^   first answer  |
 *     reached    | |       in order, and is answered by it)             +-- no answer ----+
 *                | v                                                        for a while
 *               AWAY   without a spool: all that waits is answered "no", at once
 *
 *   DIRECT    batches go out; each is answered when the brokers took all of it
 *   SPOOLING  batches go to the disk, which answers. Somebody looks whether the brokers answer and the topics are there (again
 *             after each failure: one of them may have been deleted); then the oldest of the spool is offered to the brokers
 *   DRAINING  the same, and the spool goes out in order, as fast as the brokers take it
 *   AWAY      there is no spool; somebody tries to reach the brokers
 *
 *  W1  a batch that was answered with yes is at the brokers (all replicas in sync) or on this disk
 *  W2  for each key, of what was answered with yes the first copies at the brokers stand in the order in which batches were
 *      submitted. Copies come from failures alone, and have the same bytes
 *  W3  batches are answered in the order in which they were submitted
 *  W4  nothing stops the way for good but a disk that failed: what brokers refuse for its size is replaced (kafka_sorter.h), and
 *      a spool that is full says no until there is room
 * Time is an argument. One thread. */
#ifndef PENSTOCK_LOG_KAFKA_WAY_H
#define PENSTOCK_LOG_KAFKA_WAY_H

#include "log/kafka_sorter.h"
#include "log/log_spool.h"
#include "log/spool.h"

struct kafka_way;

struct way_options {
    struct sorter_options sorter;
    int64_t               spool_after_us; /* brokers that did not answer for so long are away */
    int64_t               linger_us;      /* how long a record may wait for others of its partition, where others can come */
    size_t                drain_bytes;    /* of the spool, under way at a time; 0: 8 MiB */
    const char           *label;          /* of the topic, for lines of the log */
    /* Each batch that was taken, in order. It is the caller's again. */
    void                (*answered)(void *ctx, struct log_batch *batch, const struct log_commit_result *result);
    void                 *ctx;
};

/* line and spool (NULL: none) stay the caller's. Only when `reached` is called are the brokers tried. */
int  way_new(const struct way_options *options, struct kafka_line *line, struct spool *spool, int64_t now_us, struct kafka_way **out,
             struct err *err) must_check;
/* After way_settle, or batches that are under way are never answered. */
void way_free(struct kafka_way *way);

/* Submitted batches, in order, linked by ->next. */
void way_take(struct kafka_way *way, struct log_batch *list, int64_t now_us);
/* Does what there is to do; returns when to come again at the latest, if no answers come before. */
int64_t way_step(struct kafka_way *way, int64_t now_us);
/* Takes answers, waiting at most wait_us for the first. */
void way_listen(struct kafka_way *way, int64_t wait_us);

/* Somebody found the brokers, and the topics fit for use. */
void way_reached(struct kafka_way *way, int64_t now_us);
/* True: nobody has, since the start or since the last failure: they are to be looked for. */
bool way_wants_reach(const struct kafka_way *way);

/* Everything under way is answered when this returns: by brokers within a moment (patience_us), by the disk, or with no. */
void way_settle(struct kafka_way *way, int64_t patience_us);
bool way_idle(const struct kafka_way *way); /* no batch is under way */

void way_look(const struct kafka_way *way, struct log_commit_look *out);

#endif
