/* load/batch_due.c - see batch_due.h. */
#include "load/batch_due.h"

#include "warehouse/warehouse.h"

enum { GROUP_WAIT_FACTOR = 4 /* of batch_wait: the longest wait for a full row group */ };

bool batch_is_due(const struct batch_due *batch)
{
    const int64_t longest_us = GROUP_WAIT_FACTOR * batch->wait_us;
    size_t        left;

    if (batch->pace_us > batch->wait_us) /* pieces of a size are nothing to that backend */
        return batch->rest_us < 0 || (batch->age_us >= batch->wait_us && batch->rest_us >= batch->pace_us);
    if (batch->age_us < batch->wait_us)
        return false;
    if (batch->live > 0 && batch->live < batch->events &&
        (double)WAREHOUSE_GROUP_ROWS * (double)batch->age_us > (double)batch->live * (double)longest_us)
        return true;
    left = (WAREHOUSE_GROUP_ROWS - batch->events % WAREHOUSE_GROUP_ROWS) % WAREHOUSE_GROUP_ROWS;
    return left == 0 || batch->age_us >= longest_us ||
           (double)left * (double)batch->age_us > (double)batch->events * (double)(longest_us - batch->age_us);
}
