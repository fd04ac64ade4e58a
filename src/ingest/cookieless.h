/* ingest/cookieless.h - visitors without cookies: who sends from one address with one browser on one day is one.
 *
 * Browsers in cookieless mode keep nothing, and send `$posthog_cookieless` for an id. What comes instead is a
 * hash of address, browser, domain and a salt that lives for some days: it tells the visitors of a day apart,
 * and once the salt is forgotten nobody can say whose it was. Address and browser go no further.
 *   stateless   one session a day; nobody can identify
 *   stateful    a session ends after half an hour without events; `$identify` joins the hashed id to a person,
 *               and who logs out is somebody new, because the identifies of the day count in the hash
 * Two steps: cookieless_keys.c looks at one event (part of normalisation) and leaves room; cookieless_item, in
 * order, fills in what the salt and earlier events decide. The rules: docs/ingest.md.
 *  K1  with the same salt and the same earlier events an event gets the same ids
 * @thread one */
#ifndef PENSTOCK_INGEST_COOKIELESS_H
#define PENSTOCK_INGEST_COOKIELESS_H

#include "ingest/item.h"
#include "ingest/zones.h"
#include "people/visit.h"

#define COOKIELESS_SENTINEL "$posthog_cookieless"
enum {
    COOKIELESS_EXTRA_UNITS_MAX = 100,
    COOKIELESS_IDLE_MS = 30 * 60 * 1000,      /* then a visit is over */
    COOKIELESS_DAY_BEFORE_S = 12 * 3600,      /* a day is there from so long before its start by UTC, */
    COOKIELESS_DAY_AFTER_S = (14 + 72) * 3600 /* to so long after: it is that day somewhere, or was three days ago */
};

struct visitor {
    struct span ip, domain, agent, extra;
    uint32_t    day;          /* days since 1970-01-01, by the visitor's calendar */
    int64_t     day_start_ms;
    bool        stateful;
};

/* Days before this one are over at now_us. */
uint32_t cookieless_first_day(int64_t now_us);
bool     cookieless_day_valid(int64_t day, int64_t now_us);

struct cookieless;

int  cookieless_new(struct cookieless **out, struct err *err) must_check;
void cookieless_free(struct cookieless *cookieless);
/* Before the first event of a transaction. Forgets some of what is over. */
int cookieless_begin(struct cookieless *cookieless, struct people_txn *txn, int64_t now_us, struct err *err) must_check;
/* Whether there is something to forget when no batch comes; trouble with the store counts as no. */
bool cookieless_days_over(struct people *people, int64_t now_us);
/* An event with a visitor, not a repeated one. ERR_FULL: arena. */
int cookieless_item(struct cookieless *cookieless, struct people_txn *txn, struct item *item, struct arena *arena,
                    struct err *err) must_check;

/* The hash of `<project>-<ip>-<domain>-<agent>-<n>-<extra>`: SipHash-2-4 of 128 bits, its four words in the order
 * in which the other implementations of this mode write them. */
int cookieless_hash(struct cookieless *cookieless, const uint8_t salt[VISIT_SALT_BYTES], uint32_t project,
                    const struct visitor *visitor, int64_t n, uint8_t out[VISIT_HASH_BYTES], struct err *err) must_check;

#endif
