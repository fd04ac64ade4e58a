/* load/people_wait.h - how long rows of persons and ids wait for others of their kind.
 *
 * They come with the events they belong to, but there are fewer: some thousand in a batch of 24,000 events. So few go through the
 * write-ahead log and are compressed by a checkpoint; a row group goes to the file at once (warehouse.h). So where many come they stay in the
 * log until there are some row groups, or for PEOPLE_WAIT_US; where few come, or no more, they wait for
 * nothing. What it saves: docs/decisions/warehouse-duckdb.md. */
#ifndef PENSTOCK_LOAD_PEOPLE_WAIT_H
#define PENSTOCK_LOAD_PEOPLE_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "warehouse/warehouse.h"

enum { PEOPLE_WAIT_ROWS = 4 * WAREHOUSE_GROUP_ROWS, PEOPLE_WAIT_US = 2000000 };

/* So many came since the last were committed, that long ago. True: leave them, and look again soon. */
static inline bool people_wait(uint64_t rows, int64_t since_us)
{
    return rows < PEOPLE_WAIT_ROWS && since_us < PEOPLE_WAIT_US &&
           (double)rows * PEOPLE_WAIT_US >= (double)WAREHOUSE_GROUP_ROWS * (double)since_us; /* at this rate a group comes in time */
}

#endif
