/* capture/urgency.c - see urgency.h. The two calls have no functions in glibc before 2.41. */
#include "capture/urgency.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As of linux/sched/types.h, in its first version, which every kernel takes. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t  nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static int attributes_get(struct attributes *out)
{
    return syscall(SYS_sched_getattr, 0, out, sizeof *out, 0) == 0 ? 0 : -1;
}

void urgency_ask(void)
{
    struct attributes attributes = { .size = sizeof attributes };
    int               before = errno;

    if (attributes_get(&attributes) == 0 && (attributes.policy == SCHED_OTHER || attributes.policy == SCHED_BATCH)) {
        attributes.size = sizeof attributes;
        attributes.runtime = URGENCY_TURN_NS;
        (void)syscall(SYS_sched_setattr, 0, &attributes, 0); /* refused: it was a wish */
    }
    errno = before;
}

uint64_t urgency_turn_ns(void)
{
    struct attributes attributes = { .size = sizeof attributes };
    int               before = errno, rc = attributes_get(&attributes);

    errno = before;
    return rc == 0 && attributes.policy == SCHED_OTHER ? attributes.runtime : 0;
}
