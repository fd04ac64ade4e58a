/* fuzz/lz4_pack.c - any bytes into a block of LZ4's format: LZ4 reads them back, from no more room than was promised. */
#include <lz4.h>
#include <stdlib.h>

#include "fuzz.h"
#include "wire/lz4_pack.h"

static void check(size_t (*pack)(struct span from, uint8_t *to), struct span data)
{
    size_t   room = lz4_pack_room(data.bytes), got;
    uint8_t *packed = malloc(room), *back = malloc(data.bytes + 1);

    if (packed == NULL || back == NULL)
        abort();
    got = pack(data, packed);
    if (got > room || LZ4_decompress_safe((const char *)packed, (char *)back, (int)got, (int)data.bytes) != (int)data.bytes ||
        (data.bytes > 0 && memcmp(back, data.at, data.bytes) != 0))
        abort();
    free(packed);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check(lz4_pack, span_of(data, bytes));
    check(lz4_pack_coarse, span_of(data, bytes));
    return 0;
}
