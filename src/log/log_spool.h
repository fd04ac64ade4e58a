/* log/log_spool.h - what can be seen of a committer whose log is on Kafka, and of its spool. */
#ifndef PENSTOCK_LOG_LOG_SPOOL_H
#define PENSTOCK_LOG_LOG_SPOOL_H

#include "log/log.h"

#define LOG_WAYS(X)                                                                 \
    X(DIRECT, "direct")     /* the brokers answer */                                 \
    X(SPOOLING, "spooling") /* they do not: the disk does */                          \
    X(DRAINING, "draining") /* they take what the disk holds; what comes goes behind */ \
    X(AWAY, "away")         /* they do not, and there is no spool */
#define LOG_WAY_ENUM(name, text) LOG_WAY_##name,
enum log_way { LOG_WAYS(LOG_WAY_ENUM) LOG_WAY_COUNT };

struct log_commit_look {
    enum log_way way;
    uint64_t spool_records, spool_bytes;     /* that wait on the disk now; bytes: about */
    uint64_t spooled_records, drained_records; /* since the start */
    uint64_t messages, message_bytes, records; /* sent to the brokers since the start, repeats included */
    uint64_t replaced;                       /* records that no message could hold */
    uint64_t refused;                        /* batches that were answered with no */
    uint64_t outages;                        /* how often DIRECT ended */
    uint64_t lost;                           /* records of the spool that damage took */
};

const char *log_way_text(enum log_way way);

/* The spool is an embedded log of the folder log_kafka_options names; below this cursor the brokers have everything. */
#define LOG_SPOOL_CURSOR "spool"

#endif
