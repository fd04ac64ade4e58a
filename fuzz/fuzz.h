/* fuzz/fuzz.h - what the fuzz targets share: facts that end the run when they do not hold, and inputs that are read as commands. */
#ifndef PENSTOCK_FUZZ_FUZZ_H
#define PENSTOCK_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(fact)                                                                                                     \
    do {                                                                                                               \
        if (!(fact)) {                                                                                                 \
            (void)fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #fact);                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct fuzz_input { const uint8_t *at, *end; };

/* The next bytes as a number, big-endian; zeros behind the end. */
static inline uint64_t take(struct fuzz_input *input, size_t bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | (input->at < input->end ? *input->at++ : 0);
    return value;
}

#endif
