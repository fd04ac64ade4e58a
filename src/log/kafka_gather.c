/* log/kafka_gather.c - see kafka_gather.h. What is expected falls by an eighth each time, so that it follows a load that ends. */
#include "log/kafka_gather.h"

enum { GATHER_EARLY_MAX = 16 };

bool gather_goes(struct gather *gather, int64_t now_us)
{
    bool waited = now_us - gather->gone_us >= gather->linger_us;
    bool enough = gather->waiting >= gather->expected - gather->expected / 8; /* one or two are always late */

    if (gather->waiting == 0 || (!waited && (!enough || gather->early == GATHER_EARLY_MAX)))
        return false;
    gather->early = waited ? 0 : gather->early + 1;
    gather->expected -= (gather->expected + 7) / 8;
    if (gather->waiting > gather->expected)
        gather->expected = gather->waiting;
    gather->waiting = 0;
    gather->gone_us = now_us;
    return true;
}

int64_t gather_due_us(const struct gather *gather)
{
    return gather->waiting == 0 ? INT64_MAX : gather->gone_us + gather->linger_us;
}
