/* ingest/repeats.h - what came before: events by their ids, letters by their bytes.
 *
 * A record can stand in the log twice: brokers took it late, and the spool had sent it again by then (docs/dead-letters.md). An event is
 * known by its project and uuid, which its client's own retry shares. A letter is not: its event may be repaired and sent
 * again with its uuid, must be stored then, and may fail again and be a letter again. So a letter is known by its record, byte
 * by byte: request, time of arrival and uuid are in it, so only the log's own repeat has the same. What that makes is an id
 * like an event's, of project 0, which no event has.
 *  P1  one record makes one letter, however often it stands in the log (within PEOPLE_SEEN_DAYS); its repeats are deduplicated
 *  P2  no letter's id is ever an event's: what is a letter now can be stored later
 * @thread one calls */
#ifndef PENSTOCK_INGEST_REPEATS_H
#define PENSTOCK_INGEST_REPEATS_H

#include "ingest/slice.h"
#include "people/people.h"

/* Decides what came before, of pending items and of those that are letters already: FATE_DEDUPLICATED. First wins. */
int repeats_drop(struct people_txn *txn, const struct slice *slice, int64_t steady_us, struct err *err) must_check;
/* The item was pending after repeats_drop, and is a letter now: its uuid was noted, and is to be taken once more. */
int repeats_letter(struct people_txn *txn, struct item *item, int64_t steady_us, struct err *err) must_check;

#endif
