/* command/retention_command.h - what retention keeps because the clock jumped (log/steady.h). */
#ifndef PENSTOCK_COMMAND_RETENTION_COMMAND_H
#define PENSTOCK_COMMAND_RETENTION_COMMAND_H

#include "log/log.h"

struct retention_held {
    uint64_t segments, bytes;
    int64_t  us; /* the most that the clock jumped */
};
/* Zeros when nothing is held, the log is on Kafka, or it cannot be read. */
void retention_held_read(struct log *log, struct retention_held *out);

#endif
