/* people/warm.c - see warm.h.
 *
 * Why pread and not posix_fadvise alone: that only asks, as fast as it is called, and the disk's queue would be full of it while others
 * wait for their syncs. Here one piece is waited for while the next is asked for, so the disk has two large reads of ours at a time.
 * Why not MADV_POPULATE_READ: LMDB does not say where its map is. */
#include "people/warm.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/thread.h"

enum { PIECE_BYTES = 1 << 20 };

struct warm {
    pthread_t   thread;
    int         fd;
    uint64_t    bytes;
    uint8_t    *piece;
    atomic_bool over, done;
};

static void *warm_main(void *ctx)
{
    struct warm *warm = ctx;

    for (uint64_t at = 0; at < warm->bytes && !atomic_load_explicit(&warm->over, memory_order_relaxed); at += PIECE_BYTES) {
        (void)posix_fadvise(warm->fd, (off_t)(at + PIECE_BYTES), PIECE_BYTES, POSIX_FADV_WILLNEED);
        if (io_pread(warm->fd, warm->piece, PIECE_BYTES, at) <= 0)
            break; /* whoever needs these bytes will say what is wrong with them */
    }
    atomic_store(&warm->done, true);
    return NULL;
}

struct warm *warm_start(int fd, uint64_t bytes_max)
{
    struct warm *warm;
    struct stat  file;

    if (bytes_max == 0 || fstat(fd, &file) < 0 || file.st_size <= 0)
        return NULL;
    warm = calloc(1, sizeof *warm);
    if (warm == NULL || (warm->piece = malloc(PIECE_BYTES)) == NULL) {
        free(warm);
        return NULL;
    }
    warm->fd = fd;
    warm->bytes = (uint64_t)file.st_size < bytes_max ? (uint64_t)file.st_size : bytes_max;
    if (thread_start(&warm->thread, warm_main, warm) != 0) {
        free(warm->piece);
        free(warm);
        return NULL;
    }
    return warm;
}

bool warm_done(const struct warm *warm)
{
    return atomic_load(&warm->done);
}

void warm_stop(struct warm *warm)
{
    if (warm == NULL)
        return;
    atomic_store(&warm->over, true);
    (void)pthread_join(warm->thread, NULL);
    free(warm->piece);
    free(warm);
}
