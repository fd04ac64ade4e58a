/* log/log_carry.h - messages of further topics, which somebody else writes, are brought over to one of ours: PostHog's capture puts
 * some kinds of events beside its main topic.
 *
 * Why they are carried over instead of read in their place: what is known of an id (which of its events were there before, whether
 * others of it wait) is known to one unit, that of its key's partition. Over there many messages have no key and stand anywhere, and topics
 * may have any number of partitions. Carried over, each is where its id's events are, and is read as those are, with
 * their place and their repeats.
 *
 *  V1  the group's committed offset is behind a message only when all replicas in sync of our topic have it: each is there at least
 *      once. After a death some come again, the same to the byte and with the same time, and so with the same uuid: ingest drops them
 *  V2  of two messages of one partition that go to the same partition, the first copy of the former stands before that of the latter;
 *      also when the partition had two readers for a moment
 *  V3  a round is at most CARRY_ROUND_BYTES and one message; the next is taken when all of it is there
 * What cannot go on (brokers away, a topic that is missing, a message larger than ours takes) is told and tried again, from the
 * committed offset; it stops nobody else. Where a group begins that nobody knows: at the topics' beginnings. */
#ifndef PENSTOCK_LOG_LOG_CARRY_H
#define PENSTOCK_LOG_LOG_CARRY_H

#include "log/log.h"

struct log_carry_options {
    const char *from; /* names of topics without the log's prefix, parted by commas and blanks. Copied */
    const char *to;   /* a topic of ours with many writers; borrowed */
    void      (*carried)(void *ctx, uint64_t messages); /* so many more are there; NULL: nobody wants to know. @thread the carrier's */
    void      (*waiting)(void *ctx, uint64_t messages); /* so many wait in the partitions that this member has, now; about once a second, and 0
                                                           at the stop; NULL: nobody wants to know. @thread the carrier's */
    void       *ctx;
};

struct log_carry;

/* A thread of its own, and a member of the group PREFIXpenstock.carry, whose members share the topics' partitions. log: on Kafka, and
 * borrowed until the stop. */
int  log_carry_start(struct log *log, const struct log_carry_options *options, struct log_carry **out, struct err *err) must_check;
void log_carry_stop(struct log_carry *carry); /* ends the round that is under way, or leaves it undone; NULL: nothing */

#endif
