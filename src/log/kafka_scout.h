/* log/kafka_scout.h - looks for the brokers, and at a topic, on a thread of its own: both may take seconds; for the log's own files
 * only.
 *
 * Sent out, it searches until somebody answers and the topic is fit for use (made, when it was missing), and those are there
 * where messages of its records may belong beside it: one for a topic that is missing would never be taken. Then it waits to be
 * sent again. What it cannot mend (a topic that may not be made, or has other partitions than it should) it tells, with what to do, and
 * goes on looking until somebody has. Settings of topics are looked at by the first search, and after a topic was missing that it could not
 * make: who made it may have made it otherwise. @thread any */
#ifndef PENSTOCK_LOG_KAFKA_SCOUT_H
#define PENSTOCK_LOG_KAFKA_SCOUT_H

#include "log/kafka_topics.h"
#include "log/log.h"

struct kafka_scout;

/* options and the wish's name: borrowed for the scout's life. others: names without prefix, ended by NULL; NULL: none. back: called
 * when a search ended, on the scout's thread. */
int  scout_start(const struct log_kafka_options *options, const struct kafka_topic_wish *wish, const char *const *others,
                 void (*back)(void *ctx), void *ctx, struct kafka_scout **out, struct err *err) must_check;
void scout_stop(struct kafka_scout *scout);

/* Begins a search, unless one is under way or has an answer that was not taken. */
void scout_send(struct kafka_scout *scout);
/* True, once a search: the brokers were found. */
bool scout_take(struct kafka_scout *scout);
/* Waits for the end of a search, at most wait_us. -1: a topic cannot be used as it is, or not be made (ERR_INPUT); the search goes on. */
int  scout_wait(struct kafka_scout *scout, int64_t wait_us, struct err *err) must_check;

#endif
