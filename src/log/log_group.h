/* log/log_group.h - which partitions are this process's: several processes of a role share a topic's partitions.
 *
 * On Kafka a cooperative consumer group says so: when one joins or leaves, only the partitions that move are stopped, and the
 * others work on. The group is named PREFIXpenstock.ROLE.members; it holds no places (those are in the stores' transactions), and
 * reads nothing. Embedded: partition 0, from joining to leaving.
 *  G1  a partition is stopped here before it is started elsewhere, as long as this process talks to the brokers. One that does
 *      not (stopped, cut off) loses its partitions after KAFKA_GROUP_SECONDS without being asked: so whoever starts a partition
 *      must fence the one before (people_epoch), and may not rely on the group for that */
#ifndef PENSTOCK_LOG_LOG_GROUP_H
#define PENSTOCK_LOG_LOG_GROUP_H

#include "log/log.h"

enum { KAFKA_GROUP_SECONDS = 6 /* the least that brokers allow unless told otherwise */ };

struct log_group;

struct log_group_calls {
    void (*start)(void *ctx, uint32_t partition); /* soon over: work is another thread's */
    void (*leave)(void *ctx, uint32_t partition); /* soon over: it will be stopped; told of all of them before the first stop. NULL: untold */
    void (*stop)(void *ctx, uint32_t partition);  /* returns when nothing works on it any more; within minutes */
    void  *ctx;
};

/* role: as a cursor's name; topic: whose partitions are shared, made when it is missing. The calls come on one thread of the
 * group's (embedded: the caller's), each partition's start and stop by turns. */
int  log_group_join(struct log *log, const char *role, const char *topic, const struct log_group_calls *calls, struct log_group **out,
                    struct err *err) must_check;
/* Stops what is started. NULL: nothing. */
void log_group_leave(struct log_group *group);

#endif
