/* capture/rules.c - why 503 to browsers: posthog-js sends again after any 5xx, for hours, and gives up for good on 429;
 * the SDKs of servers send again after both and honour Retry-After. A limit is there to slow a sender down, not to lose
 * what it has to say. */
#include "capture/rules.h"

enum refusal_cause rules_quota_cause(enum catalog_resource resource)
{
    static const enum refusal_cause causes[CATALOG_RESOURCE_COUNT] = {
        [CATALOG_EXCEPTIONS] = REFUSAL_QUOTA_EXCEPTIONS, [CATALOG_SURVEYS] = REFUSAL_QUOTA_SURVEYS,
        [CATALOG_LLM_EVENTS] = REFUSAL_QUOTA_LLM,        [CATALOG_EVENTS] = REFUSAL_QUOTA_EVENTS,
        [CATALOG_RECORDINGS] = REFUSAL_QUOTA_RECORDINGS,
    };

    return causes[resource];
}

int rules_take(const struct rules_request *request, const struct catalog_token *sender, uint64_t events, bool again_on_5xx,
               struct refusal *refusal)
{
    const struct catalog_limit *limit = sender->limits[CATALOG_LIMIT_TOKEN];
    int64_t                     wait_us, wait_s;

    if (limit == NULL || request->rates == NULL)
        return 0;
    wait_us = rates_take(request->rates, limit, events, request->mono_us);
    if (wait_us == 0)
        return 0;
    wait_s = (wait_us + 999999) / 1000000;
    (void)refusal_set(refusal, request->browser || again_on_5xx ? 503 : 429, REFUSAL_RATE_LIMITED,
                      "rate limited: %u events a second are taken from this %s, send again in %lld s", limit->events,
                      limit->token.bytes > 0 ? "token" : "project", (long long)wait_s);
    refusal->retry_after_s = wait_s > INT32_MAX ? INT32_MAX : (int)wait_s;
    return -1;
}

bool rules_mark_id(const struct rules_request *request, const struct catalog_token *sender, struct record *record)
{
    const struct catalog_limit *limit = sender->limits[CATALOG_LIMIT_DISTINCT_ID];

    if (limit == NULL || request->rates == NULL || (record->flags & RECORD_PERSON_OFF) != 0 ||
        !rates_id_over(request->rates, limit, record->distinct_id, request->mono_us))
        return false;
    record->flags |= RECORD_PERSON_OFF;
    if ((record->flags & RECORD_HISTORICAL) == 0)
        record->flags |= RECORD_OVERFLOW;
    return true;
}
