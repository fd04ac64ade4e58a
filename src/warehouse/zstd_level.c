/* warehouse/zstd_level.c - see the header. */
#include "warehouse/zstd_level.h"

enum { ZSTD_LEVEL = 1 };

int zstd_level(void)
{
    return ZSTD_LEVEL;
}
