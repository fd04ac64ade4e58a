/* warehouse/zstd_level.c - see the header. */
#include "warehouse/zstd_level.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* zstd's numbers of parameters (its public header; they do not change), and what we ask for. */
enum { PARAMETER_LEVEL = 100, PARAMETER_WINDOW_LOG = 101, PARAMETER_HASH_LOG = 102 };
enum { ZSTD_LEVEL = 1, WINDOW_LOG = 22, HASH_LOG = 13 };

/* Written by zstd_level_use, before the engine is opened; read by all threads of the engine. */
typedef size_t set_parameter(void *context, int parameter, int value);
static _Atomic(set_parameter *) engine_set_parameter;

int zstd_level(void)
{
    return ZSTD_LEVEL;
}

void zstd_level_use(void *library)
{
    void          *symbol = dlsym(library, ZSTD_PARAMETER_SYMBOL);
    set_parameter *found;

    /* A library that is linked in another way may give our own function back. */
    if (symbol == NULL || symbol == dlsym(RTLD_DEFAULT, ZSTD_PARAMETER_SYMBOL))
        return;
    memcpy(&found, &symbol, sizeof found);
    atomic_store(&engine_set_parameter, found);
}

/* What is set comes back; errors are small negative numbers. */
static bool is_error(size_t code)
{
    return code > SIZE_MAX - 256;
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
    }
    return code;
}
