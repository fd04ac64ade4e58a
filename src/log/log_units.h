/* log/log_units.h - a thread for each partition that is this process's (log_group.h): what a role does where the log has them.
 *
 *  U1  a partition's thread has ended before the partition is given away; but whoever takes one must fence the one before all the
 *      same (log_group.h G1)
 *  U2  a thread that fails ends all of them, and its error is the whole's: the supervisor starts the process again, and
 *      the group gives its partitions to others meanwhile */
#ifndef PENSTOCK_LOG_LOG_UNITS_H
#define PENSTOCK_LOG_LOG_UNITS_H

#include "log/log_group.h"

struct log_units_work {
    /* Until stop_fd is readable: 0. -1: U2. @thread the partition's own */
    int  (*run)(void *ctx, uint32_t partition, int stop_fd, struct err *err);
    void (*ready)(void *ctx); /* the group was joined; NULL: nobody wants to know */
    void (*look)(void *ctx);  /* about every second while threads work; NULL: never. @thread log_units_run's */
    void (*gave)(void *ctx, int64_t took_us); /* so long after it was asked for its thread had ended; NULL: nobody wants to know. @thread the group's */
    void  *ctx;
};

/* Until stop_fd is readable, or a thread fails. role, topic: as log_group_join. */
int log_units_run(struct log *log, const char *role, const char *topic, const struct log_units_work *work, int stop_fd, struct err *err)
    must_check;
/* Waits, at most so long; true: the stop was asked for. */
bool log_units_stopped(int stop_fd, int wait_ms);

#endif
