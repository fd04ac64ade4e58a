/* log/kafka_sorter.h - records of many batches, sorted by partition into messages; for the log's own files only.
 *
 * What is added stands in parcels: a parcel is done when every message that holds a record of it is taken. Messages hold
 * records of several parcels, and go out when they are full, or when they are flushed.
 *  S1  records of one partition go out in the order in which they were added
 *  S2  a message has more than one record only within frame_bytes_max, and none is larger than message_bytes_max: a record
 *      that is too large for that is replaced by what the form's hook makes of it (a dead letter), or, without one, fails
 *      its parcel
 * Memory: twice what is under way (here, and in the line's messages). One thread. */
#ifndef PENSTOCK_LOG_KAFKA_SORTER_H
#define PENSTOCK_LOG_KAFKA_SORTER_H

#include "log/kafka_line.h"

struct parcel {
    uint32_t under_way; /* messages with records of it that are not taken yet, those still being filled included */
    bool     failed;    /* a record of it can never be sent: err says why */
    struct err err;
};

struct sorter_options {
    const char                  *topic;     /* as the log knows it */
    enum log_form                form;
    enum log_codec               codec;
    const struct log_form_hooks *hooks;     /* NULL: frames, to any partition */
    size_t                       frame_bytes_max, message_bytes_max;
};

struct sorter;

/* line: borrowed for the sorter's life. */
int  sorter_new(const struct sorter_options *options, struct kafka_line *line, struct sorter **out, struct err *err) must_check;
void sorter_free(struct sorter *sorter);

/* Adds `count` records in stored form (as a batch or a chunk holds them). On failure the line is to be abandoned and the sorter
 * reset. ERR_FULL: no memory, or the line has no room. */
int sorter_add(struct sorter *sorter, struct parcel *parcel, struct span records, uint32_t count, struct err *err) must_check;
/* Sends what waits for others of its partition. */
int sorter_flush(struct sorter *sorter, struct err *err) must_check;

/* An answer of the line: counts it for its parcels. False, for LINE_TOO_LARGE: from now on messages are smaller; what is
 * under way is to be abandoned and sent again. */
bool sorter_answer(struct sorter *sorter, const struct line_answer *answer);
/* The line was abandoned: forgets all messages. Parcels are the caller's. */
void sorter_reset(struct sorter *sorter);

struct sorter_counts { uint64_t messages, bytes, records, replaced; }; /* sent so far */
void sorter_counts(const struct sorter *sorter, struct sorter_counts *out);

#endif
