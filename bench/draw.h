/* bench/draw.h - chance for measurements: the same numbers on every machine and in every run (xorshift64). */
#ifndef PENSTOCK_BENCH_DRAW_H
#define PENSTOCK_BENCH_DRAW_H

#include <stdint.h>

static inline uint64_t draw(void)
{
    static uint64_t seed = 88172645463325252u;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

#endif
