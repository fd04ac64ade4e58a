/* fuzz/lz4_pack.c - any bytes into a block of LZ4's format: LZ4 reads them back, from no more room than was promised. */
#include <lz4.h>
#include <stdlib.h>

#include "fuzz.h"
#include "wire/lz4_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    size_t   room = lz4_pack_room(bytes), got;
    uint8_t *packed = malloc(room), *back = malloc(bytes + 1);

    if (packed == NULL || back == NULL)
        abort();
    got = lz4_pack(span_of(data, bytes), packed);
    if (got > room || LZ4_decompress_safe((const char *)packed, (char *)back, (int)got, (int)bytes) != (int)bytes ||
        (bytes > 0 && memcmp(back, data, bytes) != 0))
        abort();
    free(packed);
    free(back);
    return 0;
}
