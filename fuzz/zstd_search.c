/* fuzz/zstd_search.c - any bytes as a stream in blocks: the sequences that are found stand for exactly those bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "warehouse/zstd_search.h"

static void check(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uintptr_t      stream;
    size_t                block, room = bytes + 2, made = 0;
    struct zstd_sequence *at = malloc(room * sizeof *at);
    uint8_t              *seen = malloc(bytes + 1), *out = malloc(bytes + 1);

    check(at != NULL && seen != NULL && out != NULL);
    block = bytes == 0 ? 1 : 1 + (size_t)data[0] * 8;
    stream++;
    for (size_t from = 0; from < bytes; from += block) {
        size_t n = bytes - from < block ? bytes - from : block, count;
        const uint8_t *literals = seen + from;

        memcpy(seen + from, data + from, n);
        count = zstd_search((void *)stream, at, room, seen + from, n, NULL, 0, 1, 1 << 12);
        check(count != ZSTD_SEARCH_FAILED && count > 0);
        for (size_t i = 0; i < count; i++) {
            check(made + at[i].literals + at[i].match <= from + n && (at[i].match == 0) == (i + 1 == count));
            memcpy(out + made, literals, at[i].literals);
            made += at[i].literals;
            literals += at[i].literals + at[i].match;
            check(at[i].match == 0 || (at[i].match >= 3 && at[i].offset > 0 && at[i].offset <= made && at[i].offset <= 1 << 12));
            for (size_t k = 0; k < at[i].match; k++, made++)
                out[made] = out[made - at[i].offset];
        }
        check(made == from + n);
    }
    check(bytes == 0 || memcmp(out, data, bytes) == 0);
    free(at);
    free(seen);
    free(out);
    return 0;
}
