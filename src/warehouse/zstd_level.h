/* warehouse/zstd_level.h - how hard the engine's zstd works.
 *
 * DuckDB compresses at zstd's default level and has no setting for it. Its zstd asks one exported function
 * which level that is, and gives it to a context by another; functions of those names in the program come
 * first for the dynamic linker. So this module has both: the first says level 1, the second passes on to the
 * engine's own, adds two parameters to that level, and gives zstd our search for repeats (zstd_search.h). Nothing calls them
 * but the engine. Where the engine should one day bind them otherwise, its own defaults are in force again, and nothing else
 * changes.
 *
 * Level 1 instead of 3, a window of 4 MiB instead of 512 KiB (2048 values then fit, and the search need not look in two
 * places), a table of 8192 places instead of 16,384 (which is L1's size): measured in
 * docs/decisions/warehouse-duckdb.md. What was written with any of them can be read at all times. */
#ifndef PENSTOCK_WAREHOUSE_ZSTD_LEVEL_H
#define PENSTOCK_WAREHOUSE_ZSTD_LEVEL_H

#include <stddef.h>

/* duckdb_zstd::ZSTD_defaultCLevel() and ZSTD_CCtx_setParameter() in C++'s spelling; CMakeLists.txt exports them. */
#define ZSTD_LEVEL_SYMBOL "_ZN11duckdb_zstd18ZSTD_defaultCLevelEv"
#define ZSTD_PARAMETER_SYMBOL \
    "_ZN11duckdb_zstd22ZSTD_CCtx_setParameterEPNS_11ZSTD_CCtx_sENS_15ZSTD_cParameterEi"

/* duckdb_zstd::ZSTD_registerSequenceProducer(), which we call. */
#define ZSTD_SEARCH_SYMBOL \
    "_ZN11duckdb_zstd29ZSTD_registerSequenceProducerEPNS_11ZSTD_CCtx_sEPvPFmS2_PNS_13ZSTD_SequenceEmPKvmS6_mimE"

int    zstd_level(void) __asm__(ZSTD_LEVEL_SYMBOL);
size_t zstd_parameter(void *context, int parameter, int value) __asm__(ZSTD_PARAMETER_SYMBOL);

/* Once, with the library that was opened and before it is used: where the engine's own function is. */
void zstd_level_use(void *library);

#endif
