/* warehouse/zstd_level.c - see the header. */
#include "warehouse/zstd_level.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "warehouse/zstd_search.h"

/* zstd's numbers of parameters (its public header; they do not change), and what we ask for. */
enum {
    PARAMETER_LEVEL = 100, PARAMETER_WINDOW_LOG = 101, PARAMETER_HASH_LOG = 102,
    PARAMETER_OWN_SEARCH_FALLBACK = 1014
};
enum { ZSTD_LEVEL = 1, WINDOW_LOG = 22, HASH_LOG = 13 };

/* Written by zstd_level_use, before the engine is opened; read by all threads of the engine. */
typedef size_t set_parameter(void *context, int parameter, int value);
static _Atomic(set_parameter *) engine_set_parameter;
typedef size_t sequence_search(void *stream, struct zstd_sequence *out, size_t room, const void *block, size_t bytes,
                               const void *dictionary, size_t dictionary_bytes, int level, size_t window);
typedef void set_search(void *context, void *stream, sequence_search *search);
static _Atomic(set_search *) engine_set_search; /* NULL: this zstd has no such thing */
static atomic_uintptr_t      streams;           /* how many there were: each has its number */

int zstd_level(void)
{
    return ZSTD_LEVEL;
}

void zstd_level_use(void *library)
{
    void          *symbol = dlsym(library, ZSTD_PARAMETER_SYMBOL);
    set_parameter *found;
    set_search    *found_search;

    /* A library that is linked in another way may give our own function back. */
    if (symbol == NULL || symbol == dlsym(RTLD_DEFAULT, ZSTD_PARAMETER_SYMBOL))
        return;
    memcpy(&found, &symbol, sizeof found);
    atomic_store(&engine_set_parameter, found);
    symbol = dlsym(library, ZSTD_SEARCH_SYMBOL);
    memcpy(&found_search, &symbol, sizeof found_search);
    atomic_store(&engine_set_search, found_search);
}

/* What is set comes back; errors are small negative numbers. */
static bool is_error(size_t code)
{
    return code > SIZE_MAX - 256;
}

/* The level is given anew at the beginning of each stream. Where the search fails zstd's own is asked. zstd's check of sequences is
 * off, as ever: it knows the block alone, and would refuse what refers to the blocks before it. */
static void search_use(void *context, set_parameter *set)
{
    set_search *use = atomic_load(&engine_set_search);

    if (use == NULL || is_error(set(context, PARAMETER_OWN_SEARCH_FALLBACK, 1)))
        return;
    use(context, (void *)(atomic_fetch_add(&streams, 1) + 1), zstd_search);
}

size_t zstd_parameter(void *context, int parameter, int value)
{
    set_parameter *set = atomic_load(&engine_set_parameter);
    size_t         code;

    if (set == NULL)
        return 0; /* nobody's context: the engine is not there yet */
    code = set(context, parameter, value);
    if (parameter == PARAMETER_LEVEL && value == ZSTD_LEVEL && !is_error(code)) {
        size_t window = set(context, PARAMETER_WINDOW_LOG, WINDOW_LOG), hash = set(context, PARAMETER_HASH_LOG, HASH_LOG);

        if (is_error(window) || is_error(hash))
            return is_error(window) ? window : hash;
        search_use(context, set);
    }
    return code;
}
