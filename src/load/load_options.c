/* load/load_options.c - the role's settings, each once: name, default, bounds, what it is for; and what the warehouse gets of them. */
#include <sched.h>
#include <stddef.h>
#include <stdio.h>

#include "load/load_units.h"
#include "load/query_socket.h"
#include "warehouse/duckdb.h"

enum { CATCH_UP_USUAL_MAX = 4 };

#define AT(field) offsetof(struct load_options, field)
const struct option load_option_table[] = {
    { "library", OPTION_TEXT, "", 0, 0, "The DuckDB library, libduckdb.so; empty: beside the binary, then the system's", AT(library) },
    { "memory", OPTION_BYTES, "256MiB", 64 << 20, (int64_t)1 << 40, "What the warehouse's engine may use, queries included; a single text or list that a query makes comes on top (docs/sql.md)", AT(memory_bytes) },
    { "threads", OPTION_COUNT, "1", 1, 256, "Threads of the engine: more make one query quicker and loading dearer; each query has its own beside these", AT(threads) },
    { "catch_up_threads", OPTION_COUNT, "0", 0, 8, "Threads of the engine while much waits to be loaded at the start, or all of it because the warehouse is built anew; 0: one for each core, at most 4; 1: not more than ever", AT(catch_up_threads) },
    { "catch_up_rows", OPTION_COUNT, "100000", 1, 1000000000, "So many rows that wait at the start are much", AT(catch_up_rows) },
    { "batch_rows", OPTION_COUNT, "100000", 1, 1000000, "Rows in a transaction at most; four times as many while what waited at the start is loaded", AT(batch_rows) },
    { "batch_wait", OPTION_DURATION, "250ms", 0, 60000000, "How long a row waits for others before its transaction is committed; up to four times as long where that fills a row group", AT(batch_wait_us) },
    { "people_wait", OPTION_DURATION, "0s", 0, 60000000, "The shortest pause between changes to persons, distinct ids and groups; 0s: they are taken with the events they belong to, or, where thousands come a second, up to 2 s after them, so that they fill row groups", AT(people_wait_us) },
    { "idle", OPTION_DURATION, "30s", 1000000, (int64_t)86400 * 1000000, "After this long without rows and queries the warehouse is closed, which gives back its memory", AT(idle_us) },
    { "query_time", OPTION_DURATION, "5m", 1000, (int64_t)86400 * 1000000, "How long one query may take", AT(query_time_us) },
    { "queries", OPTION_COUNT, "4", 1, QUERIES_MAX, "Queries at the same time", AT(queries) },
    { NULL, OPTION_TEXT, NULL, 0, 0, NULL, 0 },
};

static unsigned catch_up_threads(int64_t asked)
{
    cpu_set_t cores;
    int       count = 1;

    if (asked > 0)
        return (unsigned)asked;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0)
        count = CPU_COUNT(&cores);
    return count < CATCH_UP_USUAL_MAX ? (unsigned)count : CATCH_UP_USUAL_MAX;
}

void load_warehouse_options(const struct role_env *env, char path[4096], struct warehouse_options *out)
{
    const struct load_options *opt = env->options;

    (void)snprintf(path, 4096, "%s/warehouse.duckdb", env->data_folder);
    *out = (struct warehouse_options){ .settings = stores_warehouse(env->stores), .path = path, .library = opt->library, .unit = env->unit,
                                       .memory_bytes = (uint64_t)opt->memory_bytes, .threads = (unsigned)opt->threads,
                                       .hurry_threads = catch_up_threads(opt->catch_up_threads) };
}

int load_library_check(const struct role_env *env, struct err *err)
{
    const struct load_options *opt = env->options;
    struct duckdb              engine;

    return warehouse_on_clickhouse(stores_warehouse(env->stores)) ? 0 : duckdb_load(opt->library, &engine, err);
}
