/* people/visit.h - what cookieless visitors need to be told apart: a day's salt, their visits, who identified.
 *
 * Everything belongs to a calendar day and goes with it: once the salt is forgotten nobody, not even we, can say
 * whose hash a hash was. Days are days since 1970-01-01, hashes those of ingest/cookieless.h.
 *  H1  a day has one salt, from its first use until it is forgotten
 * @thread one (ingest's) */
#ifndef PENSTOCK_PEOPLE_VISIT_H
#define PENSTOCK_PEOPLE_VISIT_H

#include "people/people.h"

enum { VISIT_SALT_BYTES = 16, VISIT_HASH_BYTES = 16 };

/* The day's salt; `fresh` becomes it when there is none. */
int people_salt(struct people_txn *txn, uint32_t day, const uint8_t fresh[VISIT_SALT_BYTES], uint8_t out[VISIT_SALT_BYTES],
                struct err *err) must_check;

struct visit {
    struct uuid session;
    int64_t     last_ms; /* time of its last event */
};
/* 1 found, 0 not, -1. */
int people_visit_get(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                     struct visit *out, struct err *err) must_check;
int people_visit_put(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                     const struct visit *visit, struct err *err) must_check;

/* How many events identified this visitor. */
int people_identifies(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                      uint32_t *out, struct err *err) must_check;
/* One more, unless it was counted: *others_out is how many others there are. */
int people_identifies_add(struct people_txn *txn, uint32_t day, uint32_t project, const uint8_t hash[VISIT_HASH_BYTES],
                          const struct uuid *event, uint32_t *others_out, struct err *err) must_check;

/* Forgets days before first_day, the salts first, at most `max` entries. 1: there are more, 0: none, -1. */
int people_visits_forget(struct people_txn *txn, uint32_t first_day, size_t max, struct err *err) must_check;
/* Whether there is anything to forget. 1, 0, -1. @thread any, with a transaction of its own */
int people_visits_old(struct people_txn *txn, uint32_t first_day, struct err *err) must_check;

#endif
