/* tests/differential/frames.h - how the scripts hand cases to our side: on standard input, one after another,
 * each a little-endian u32 of length and that many bytes; the answer is one line each on standard output. */
#ifndef PENSTOCK_TESTS_FRAMES_H
#define PENSTOCK_TESTS_FRAMES_H

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/span.h"

/* The next case, in memory of its own so that a sanitizer sees its ends; the caller frees. */
static inline bool frame_next(struct span *out)
{
    uint8_t  head[4];
    uint32_t bytes;
    uint8_t *at;

    if (fread(head, 1, sizeof head, stdin) != sizeof head)
        return false;
    bytes = bytes_get_u32(head);
    at = malloc(bytes + (bytes == 0));
    if (at == NULL || fread(at, 1, bytes, stdin) != bytes) {
        (void)fprintf(stderr, "a case of %u bytes is cut off\n", bytes);
        exit(2);
    }
    *out = span_of(at, bytes);
    return true;
}

static inline void frame_free(struct span frame)
{
    free((void *)(uintptr_t)frame.at);
}

static inline void print_hex(struct span bytes)
{
    for (size_t i = 0; i < bytes.bytes; i++)
        (void)printf("%02x", bytes.at[i]);
}

#endif
