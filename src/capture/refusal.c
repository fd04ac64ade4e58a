/* capture/refusal.c - 503 always names a time to come back: an answer without one invites a storm. */
#include "capture/refusal.h"

#include <stdarg.h>
#include <stdio.h>

int refusal_set(struct refusal *refusal, int status, enum refusal_cause cause, const char *fmt, ...)
{
    va_list args;

    refusal->status = status;
    refusal->cause = cause;
    refusal->size = REFUSAL_SIZE_FINE;
    refusal->retry_after_s = status == 503 ? (cause == REFUSAL_STORAGE_FULL ? 5 : 1) : 0;
    va_start(args, fmt);
    (void)vsnprintf(refusal->text, sizeof refusal->text, fmt, args);
    va_end(args);
    return -1;
}

int refusal_no_memory(struct refusal *refusal)
{
    return refusal_set(refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: no memory for this request now, send again");
}

#define REFUSAL_TAG(name, tag) tag,

const char *refusal_tag(enum refusal_cause cause)
{
    static const char *const tags[] = { REFUSAL_CAUSES(REFUSAL_TAG) };

    return cause < REFUSAL_CAUSE_COUNT ? tags[cause] : "unknown";
}
