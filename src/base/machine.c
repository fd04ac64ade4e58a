/* base/machine.c - see machine.h. A container sees the limit of its own group at the root of the folder; whoever is in a group
 * without being in a container is not limited by that file, and then the machine's memory is what is told. */
#include "base/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static uint64_t limit_read(const char *groups, const char *name)
{
    char     path[4200];
    uint64_t bytes = UINT64_MAX;
    FILE    *file;

    (void)snprintf(path, sizeof path, "%s/%s", groups, name);
    file = fopen(path, "re");
    if (file == NULL)
        return UINT64_MAX;
    if (fscanf(file, "%" SCNu64, &bytes) != 1) /* "max" */
        bytes = UINT64_MAX;
    (void)fclose(file);
    return bytes;
}

uint64_t machine_memory_under(const char *groups, uint64_t machine_bytes)
{
    static const char *const names[] = { "memory.max", "memory/memory.limit_in_bytes" }; /* of the second form, and of the first */

    for (int i = 0; i < 2; i++) {
        uint64_t limit = limit_read(groups, names[i]);

        if (limit < machine_bytes)
            machine_bytes = limit;
    }
    return machine_bytes;
}

uint64_t machine_memory_bytes(void)
{
    return machine_memory_under("/sys/fs/cgroup", (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}
