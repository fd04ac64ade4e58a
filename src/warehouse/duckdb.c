/* warehouse/duckdb.c - finds libduckdb.so and its functions.
 *
 * The places are relative to the binary because that is what an unpacked archive, a build tree and an
 * installed package have in common; no environment variable decides which code is loaded into a process
 * that owns data. RTLD_DEEPBIND is not used: the library brings its own allocator under its own names. */
#include "warehouse/duckdb.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "warehouse/text_checked.h"
#include "warehouse/zstd_level.h"

#define DUCKDB_HINT "get it with `./dev deps`, or name it as load.library in the config file"

static void *try_beside_binary(const char *folder, char *path, size_t path_size)
{
    static const char *const places[] = { "", "../lib/penstock/", "../deps/duckdb/" };

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (snprintf(path, path_size, "%s/%slibduckdb.so", folder, places[i]) >= (int)path_size ||
            access(path, R_OK) != 0)
            continue;
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    snprintf(path, path_size, "libduckdb.so");
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void *open_library(const char *library, char *path, size_t path_size)
{
    char    folder[PATH_MAX];
    ssize_t bytes;
    char   *slash;

    if (library != NULL && library[0] != '\0') {
        snprintf(path, path_size, "%s", library);
        return dlopen(library, RTLD_NOW | RTLD_LOCAL);
    }
    bytes = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[bytes > 0 ? bytes : 0] = '\0';
    slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    return try_beside_binary(folder, path, path_size);
}

static int check_version(const struct duckdb *duckdb, struct err *err)
{
    const char *version = duckdb->library_version();
    unsigned    major = 0, minor = 0;

    if (sscanf(version, "v%u.%u", &major, &minor) != 2 && sscanf(version, "%u.%u", &major, &minor) != 2)
        return err_set(err, ERR_INPUT, "%s calls itself DuckDB \"%s\", which is not a version", duckdb->path, version);
    if (major != DUCKDB_VERSION_MAJOR_MIN || minor < DUCKDB_VERSION_MINOR_MIN)
        return err_set(err, ERR_INPUT, "%s is DuckDB %s; Penstock needs %d.%d or a later %d.x: " DUCKDB_HINT,
                       duckdb->path, version, DUCKDB_VERSION_MAJOR_MIN, DUCKDB_VERSION_MINOR_MIN,
                       DUCKDB_VERSION_MAJOR_MIN);
    return 0;
}

int duckdb_load(const char *library, struct duckdb *out, struct err *err)
{
    struct duckdb found = { .path = "" };
    void         *handle = open_library(library, found.path, sizeof found.path);
    void         *symbol;

    if (handle == NULL)
        return err_set(err, ERR_INPUT, "the DuckDB library cannot be loaded: %s: " DUCKDB_HINT, dlerror());
    /* The version first: an old library may lack functions, and "too old" is the better answer. */
    symbol = dlsym(handle, "duckdb_library_version");
    if (symbol == NULL)
        return err_set(err, ERR_INPUT, "%s is not the DuckDB library: " DUCKDB_HINT, found.path);
    memcpy(&found.library_version, &symbol, sizeof symbol);
    if (check_version(&found, err) < 0)
        return -1;
#define DUCKDB_FIND(result, name, arguments)                                                                    \
    symbol = dlsym(handle, "duckdb_" #name);                                                                    \
    if (symbol == NULL)                                                                                         \
        return err_set(err, ERR_INPUT, "%s has no function duckdb_" #name ": " DUCKDB_HINT, found.path);        \
    memcpy(&found.name, &symbol, sizeof symbol);
    DUCKDB_FUNCTIONS(DUCKDB_FIND)
    zstd_level_use(handle);
    text_checked_use(handle);
    *out = found;
    return 0;
}
