/* fuzz/zone.c - any bytes as a file of a time zone: no crash, and each day begins in itself. */
#include <stdlib.h>

#include "fuzz.h"
#include "wire/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    static const int64_t instants[] = { 0, -1, 1709251200, INT64_C(4102444800), INT64_C(-62135596800), INT64_C(100000000000) };
    struct zone          zone;

    if (!zone_read(span_of(at, bytes), &zone))
        return 0;
    for (size_t i = 0; i < sizeof instants / sizeof *instants; i++) {
        int64_t day = zone_day(&zone, instants[i]), start_s = zone_day_start(&zone, day);

        if (start_s > (day + 9) * 86400 || start_s < (day - 9) * 86400)
            abort();
    }
    return 0;
}
