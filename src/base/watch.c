/* base/watch.c - see watch.h. Each value for itself, without a lock: a line that mixes two moments harms nobody. */
#include "base/watch.h"

#include <stddef.h>

#include "base/say.h"

void watch_step(struct watch *watch, const char *step, int64_t now_us)
{
    if (watch == NULL || watch->step == step)
        return;
    watch->step_us = now_us;
    watch->step = step;
}

void watch_moved(struct watch *watch, int64_t now_us)
{
    if (watch != NULL)
        watch->moved_us = now_us;
}

void watch_end(struct watch *watch)
{
    if (watch != NULL)
        watch->moved_us = 0;
}

bool watch_look(struct watch *watch, int64_t now_us, struct watch_seen *out)
{
    int64_t     moved_us = watch->moved_us;
    const char *step = watch->step;

    if (moved_us == 0 || now_us - moved_us < WATCH_STILL_US || moved_us == watch->told_us)
        return false;
    watch->told_us = moved_us;
    *out = (struct watch_seen){ .step = step == NULL ? "begins" : step, .step_us = now_us - watch->step_us, .still_us = now_us - moved_us };
    return true;
}

void watch_tell(struct watch *watches, uint32_t count, int64_t now_us)
{
    struct watch_seen seen;

    for (uint32_t i = 0; i < count; i++)
        if (watch_look(&watches[i], now_us, &seen))
            say(SAY_WARN, "unit %u: has finished nothing for %.0f s, though records may wait; it %s, for %.0f s now", i,
                (double)seen.still_us / 1e6, seen.step, (double)seen.step_us / 1e6);
}
