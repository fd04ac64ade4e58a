/* base/map_fault.c - the signal comes of a load or store of our own, so at a known place and not in the middle of a call: what is called here need not be
 * of the few that POSIX allows in handlers. */
#include "base/map_fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/say.h"

enum { MAPS_BYTES = 256 << 10 };

static char maps[MAPS_BYTES + 1];

/* The file that is mapped at an address, and which byte of it that is. A line of maps: FROM-TO FLAGS OFFSET DEVICE INODE PATH. */
static const char *file_at(uintptr_t address, unsigned long long *byte_out)
{
    int     fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t  bytes = 0;
    ssize_t got;

    while (fd >= 0 && bytes < MAPS_BYTES && (got = read(fd, maps + bytes, MAPS_BYTES - bytes)) > 0)
        bytes += (size_t)got;
    if (fd >= 0)
        (void)close(fd);
    maps[bytes] = '\0';
    for (char *line = maps, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        unsigned long long from, to, offset;

        *end = '\0';
        if (sscanf(line, "%llx-%llx %*s %llx", &from, &to, &offset) != 3 || address < from || address >= to)
            continue;
        *byte_out = offset + (address - from);
        return strchr(line, '/');
    }
    return NULL;
}

static void fault(int signal_number, siginfo_t *info, void *context)
{
    unsigned long long byte = 0;
    const char        *path = file_at((uintptr_t)info->si_addr, &byte);
    struct stat        file;

    (void)signal_number, (void)context;
    if (path == NULL)
        say(SAY_ERROR, "a page of memory cannot be read: the machine's memory, or a disk, fails");
    else if (stat(path, &file) == 0 && (unsigned long long)file.st_size <= byte)
        say(SAY_ERROR, "%.400s is cut short: it has %lld bytes, and byte %llu is needed. Put a whole copy back: docs/operations.md, \"When a store is spoilt\"",
            path, (long long)file.st_size, byte);
    else
        say(SAY_ERROR, "%.400s cannot be read at byte %llu: the disk that it lies on fails", path, byte);
}

void map_fault_tell(void)
{
    /* Once: the same read, made again, then ends the process. */
    struct sigaction action = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO | (int)SA_RESETHAND };

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, NULL);
}
