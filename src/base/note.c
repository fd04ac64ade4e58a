/* base/note.c - see note.h. Its blocks are reserved: a store into a hole of a full disk would be a SIGBUS. */
#include "base/note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void *note_map(const char *folder, const char *name, size_t bytes, struct err *err)
{
    char        path[4096];
    struct stat found;
    void       *at = MAP_FAILED;
    int         fd;

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
        (void)err_set(err, ERR_INPUT, "the run folder's name is too long");
        return NULL;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && fstat(fd, &found) == 0 && (found.st_size == (off_t)bytes || ftruncate(fd, (off_t)bytes) == 0) &&
        (errno = posix_fallocate(fd, 0, (off_t)bytes)) == 0)
        at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        (void)err_errno(err, errno, "%s", path);
    if (fd >= 0)
        (void)close(fd);
    return at == MAP_FAILED ? NULL : at;
}
