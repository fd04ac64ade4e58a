/* fuzz/fates.c - any bytes as the stored counts of fates: no crash, and nothing is read that is not there. */
#include <stdlib.h>

#include "fuzz.h"
#include "people/lmdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    struct people_fates row = { .hour = 7, .project = 9 };
    struct err          err = { .kind = ERR_NONE };
    size_t              counted = 0;

    if (people_fates_read(span_of(at, bytes), &row, &err) < 0) {
        if (err.kind != ERR_CORRUPT && err.kind != ERR_INPUT)
            abort();
        return 0;
    }
    for (int i = 0; i < PEOPLE_COUNTERS_MAX; i++)
        counted += row.counts[i] > 0;
    if (row.hour != 7 || row.project != 9 || counted > bytes / 9)
        abort();
    return 0;
}
