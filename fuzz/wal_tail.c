/* fuzz/wal_tail.c - any bytes as the engine's write-ahead log: what is cut off is only what stands behind a mark, and a mark
 * that is written there is found. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "warehouse/engine.h"

static void check(bool fine)
{
    if (!fine)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t bytes)
{
    static const uint8_t mark[21] = { 5, [16] = 0x64, 0, 0x64, 0xff, 0xff };
    static int           fd = -1;
    uint64_t             marked;

    if (fd < 0)
        fd = memfd_create("wal", MFD_CLOEXEC);
    check(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, at, bytes, 0) == (ssize_t)bytes);
    marked = wal_marked_bytes(fd, bytes);
    check(marked <= bytes);
    if (marked == 0)
        return 0;
    check(wal_marked_bytes(fd, marked) == marked);
    check(pwrite(fd, mark, sizeof mark, (off_t)marked) == (ssize_t)sizeof mark);
    check(wal_marked_bytes(fd, marked + sizeof mark) == marked + sizeof mark);
    return 0;
}
