/* capture/rules.h - what a sender may not send now: quotas, rates, restrictions that drop. Pure but for the rates.
 *
 * Most senders have no rule (catalog_token.rules is 0), and for them nothing here is called.
 * What is kept out here was never accepted: it is counted in metrics, and has no fate. A restriction that drops acts a
 * second time in ingest, upon what was accepted before it was there. */
#ifndef PENSTOCK_CAPTURE_RULES_H
#define PENSTOCK_CAPTURE_RULES_H

#include "capture/rates.h"
#include "capture/refusal.h"
#include "event/record.h"

/* Whose events they are: NULL when nobody has the token. Valid for the call that asks. */
typedef const struct catalog_token *rules_find_sender(void *ctx, struct span token);

/* What a request brings along for the rules. */
struct rules_request {
    rules_find_sender *find;
    void              *find_ctx;
    struct rates      *rates;   /* NULL: no rate is limited */
    int64_t            mono_us;
    bool               browser; /* it names the page that it comes from */
};

static inline bool rules_quota_is_over(const struct catalog_token *sender, enum catalog_resource resource, int64_t now_us)
{
    return sender->quota_until_us[resource] > now_us;
}

/* The cause to count an event under that a quota keeps out. */
enum refusal_cause rules_quota_cause(enum catalog_resource resource);

/* -1: the sender's rate is reached, and *refusal says when to come back: 429; to browsers, and where `again_on_5xx` says
 * so, 503, because their SDKs take 429 as final and would lose the events. */
int rules_take(const struct rules_request *request, const struct catalog_token *sender, uint64_t events, bool again_on_5xx,
               struct refusal *refusal) must_check;

/* Whether a restriction drops this record. */
static inline bool rules_drop(const struct catalog_token *sender, const struct record *record)
{
    return (sender->rules & CATALOG_RULE_DROP) != 0 &&
           (catalog_restrictions_ask(sender->owner, record->token, record->distinct_id, record->event, &record->uuid) &
            1u << CATALOG_DROP) != 0;
}

/* Counts a record of an id that may be limited; true: it is above the limit, and is marked so: no person, the overflow
 * lane (not for imports, which have a lane that nobody waits for). */
bool rules_mark_id(const struct rules_request *request, const struct catalog_token *sender, struct record *record);

#endif
