/* log/kafka_line.h - messages of one topic on their way to the brokers, and what becomes of them; for the log's own files only.
 *
 * A line sends, in order for each partition, and gives answers. It never gives a message up by itself, however long the
 * brokers are away: who waits abandons the line, which forgets all that is under way (nobody then knows whether the
 * brokers took it) and begins anew. Messages sent after that never stand in front of those sent before but for repeats:
 *  N1  of two messages to a partition sent one after the other, the first copy of the former stands before the first copy of
 *      the latter, also when both are sent again, in the same order, after an abandon
 * A table of functions, because tests have a line of their own, to brokers that do what the test says.
 * @thread one, but wake */
#ifndef PENSTOCK_LOG_KAFKA_LINE_H
#define PENSTOCK_LOG_KAFKA_LINE_H

#include "log/log.h"

struct kafka_line;

enum line_fate {
    LINE_TAKEN,     /* by all replicas in sync */
    LINE_TOO_LARGE, /* the topic takes no message of this size */
    LINE_LOST       /* nobody knows; why says what happened */
};

struct line_answer {
    void          *token;
    enum line_fate fate;
    int64_t        offset; /* LINE_TAKEN: in its partition; -1: not told */
    char           why[160];
};

enum { LINE_PARTITION_ANY = UINT32_MAX };

struct line_message {
    uint32_t                  partition;
    uint8_t                  *frame_take; /* from malloc; NULL: `message` is sent, and copied */
    size_t                    frame_bytes;
    const struct log_message *message;
    bool                      dated; /* a plain message keeps its time, instead of getting that of its sending */
    void                     *token;
};

struct line_ops {
    void     (*close)(struct kafka_line *line);
    uint32_t (*partitions)(const struct kafka_line *line);
    /* ERR_FULL: too much is under way; ERR_INPUT: larger than any broker takes. On failure the frame stays the caller's. */
    int      (*send)(struct kafka_line *line, const struct line_message *message, struct err *err);
    /* Up to max answers; waits at most wait_us for the first one, or until it is woken. */
    size_t   (*answers)(struct kafka_line *line, struct line_answer *to, size_t max, int64_t wait_us);
    void     (*wake)(struct kafka_line *line); /* @thread any */
    int      (*abandon)(struct kafka_line *line, struct err *err);
    /* Does anybody answer? May block for half a second. */
    bool     (*reach)(struct kafka_line *line, struct err *err);
};

struct kafka_line {
    const struct line_ops *ops;
};

/* topic: its name at the brokers. */
int kafka_line_open(const struct log_kafka_options *options, const char *topic, struct kafka_line **out, struct err *err) must_check;

#endif
