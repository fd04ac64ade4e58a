/* base/watch.c - see watch.h. Each value for itself, without a lock: a line that mixes two moments harms nobody. */
#include "base/watch.h"

#include <stddef.h>
#include <stdio.h>

#include "base/say.h"

/* The step that ends adds to its time; the last place is for all that have none. */
static void step_took(struct watch *watch, int64_t now_us)
{
    const char *step = watch->step;
    unsigned    i = 0;

    while (i < watch->took_count && watch->took[i].step != step)
        i++;
    if (i == WATCH_STEPS_MAX)
        i = WATCH_STEPS_MAX - 1;
    else if (i == watch->took_count)
        watch->took_count++;
    watch->took[i].step = step;
    watch->took[i].us += now_us - watch->step_us;
}

void watch_step(struct watch *watch, const char *step, int64_t now_us)
{
    if (watch == NULL || watch->step == step)
        return;
    if (watch->begun_us != 0)
        step_took(watch, now_us);
    watch->step_us = now_us;
    watch->step = step;
}

void watch_begin(struct watch *watch, const char *step, int64_t now_us)
{
    if (watch == NULL)
        return;
    watch->begun_us = 0;
    watch_step(watch, step, now_us);
    watch->step_us = now_us;
    watch->begun_us = now_us;
    watch->took_count = 0;
    for (unsigned i = 0; i < WATCH_STEPS_MAX; i++)
        watch->took[i].us = 0;
    watch_moved(watch, now_us);
}

int64_t watch_works(struct watch *watch, uint32_t unit, int64_t now_us)
{
    enum { WORTH_US = 5000 };
    char    text[400] = "";
    size_t  used = 0;
    int64_t took_us;

    if (watch == NULL || watch->begun_us == 0)
        return -1;
    step_took(watch, now_us);
    took_us = now_us - watch->begun_us;
    watch->begun_us = 0;
    for (unsigned i = 0; i < watch->took_count && used < sizeof text; i++)
        if (watch->took[i].us >= WORTH_US)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s %s %.2f", used > 0 ? "," : ":", watch->took[i].step,
                                     (double)watch->took[i].us / 1e6);
    say(SAY_INFO, "unit %u works after %.2f s%s", unit, (double)took_us / 1e6, text);
    return took_us;
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

/* Of what it last got on. */
static bool still_since(int64_t moved_us, int64_t now_us)
{
    return moved_us != 0 && now_us - moved_us >= WATCH_STILL_US;
}

bool watch_still(const struct watch *watch, int64_t now_us)
{
    return still_since(watch->moved_us, now_us);
}

bool watch_look(struct watch *watch, int64_t now_us, struct watch_seen *out)
{
    int64_t     moved_us = watch->moved_us;
    const char *step = watch->step;

    if (!still_since(moved_us, now_us) || (moved_us == watch->told_us && now_us - watch->told_at_us < WATCH_AGAIN_US))
        return false;
    watch->told_us = moved_us;
    watch->told_at_us = now_us;
    *out = (struct watch_seen){ .step = step == NULL ? "begins" : step, .step_us = now_us - watch->step_us, .still_us = now_us - moved_us };
    return true;
}

uint32_t watch_tell(struct watch *watches, uint32_t count, int64_t now_us)
{
    struct watch_seen seen;
    uint32_t          still = 0;

    for (uint32_t i = 0; i < count; i++) {
        still += watch_still(&watches[i], now_us);
        if (watch_look(&watches[i], now_us, &seen))
            say(SAY_WARN, "unit %u: has finished nothing for %.0f s, though records may wait; it %s, for %.0f s now", i,
                (double)seen.still_us / 1e6, seen.step, (double)seen.step_us / 1e6);
    }
    return still;
}
