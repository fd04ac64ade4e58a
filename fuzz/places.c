/* fuzz/places.c - any bytes as the stored places and hot keys of ingest: no crash, nothing read past the end. */
#include <stdlib.h>

#include "fuzz.h"
#include "people/lmdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    static struct people_flag flags[PEOPLE_FLAGS_MAX];
    struct people_place       place;
    struct err                err;
    uint8_t                  *own = malloc(bytes > 0 ? bytes : 1); /* ends where the input does */
    size_t                    count = 0;

    memcpy(own, at, bytes);
    (void)people_place_read(span_of(own, bytes), &place, &err);
    if (people_flags_read(span_of(own, bytes), flags, &count, &err) == 0 && count > PEOPLE_FLAGS_MAX)
        abort();
    free(own);
    return 0;
}
