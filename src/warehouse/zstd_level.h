/* warehouse/zstd_level.h - how hard the engine's zstd works.
 *
 * DuckDB compresses at zstd's default level and has no setting for it. Its zstd asks one exported function
 * which level that is, and a function of that name in the program comes first for the dynamic linker.
 * So this module is one: nothing calls it but the engine. Where the engine should one day bind it
 * otherwise, its own default is in force again, and nothing else changes.
 *
 * Level 1 instead of 3: measured in docs/decisions/warehouse-duckdb.md. What was written at any level can be
 * read at all times. */
#ifndef PENSTOCK_WAREHOUSE_ZSTD_LEVEL_H
#define PENSTOCK_WAREHOUSE_ZSTD_LEVEL_H

/* duckdb_zstd::ZSTD_defaultCLevel() in C++'s spelling; CMakeLists.txt exports it. */
#define ZSTD_LEVEL_SYMBOL "_ZN11duckdb_zstd18ZSTD_defaultCLevelEv"

int zstd_level(void) __asm__(ZSTD_LEVEL_SYMBOL);

#endif
