/* base/note.c - see note.h. Its blocks are reserved: a store into a hole of a full disk would be a SIGBUS.
 *
 * When a process began is the 22nd word of /proc/PID/stat (proc(5)), in ticks since the machine's start: a supervisor that
 * goes on as another binary keeps it, one that is started anew does not. Where /proc shows nothing, pids are compared alone. */
#include "base/note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static size_t read_text(const char *path, char *text, size_t size)
{
    int     fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

    if (fd >= 0)
        (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

static uint64_t birth_of(pid_t pid)
{
    enum { WORD_STARTED = 22, WORD_BEHIND_NAME = 2 };
    char     path[64], text[1024], machine[64];
    char    *at;
    uint64_t birth;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    (void)read_text(path, text, sizeof text);
    at = strrchr(text, ')'); /* ends the process's name, which may hold anything */
    for (int word = WORD_BEHIND_NAME; at != NULL && word < WORD_STARTED; word++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return 0;
    birth = strtoull(at, NULL, 10) << 1 | 1; /* known, also when it is 0 */
    if (read_text("/proc/sys/kernel/random/boot_id", machine, sizeof machine) > 0)
        birth ^= (uint64_t)strtoul(machine, NULL, 16) << 32; /* its first 32 bits, as hexadecimal digits */
    return birth;
}

bool note_starter_outlived(struct note_starter *noted)
{
    struct note_starter now = { .pid = (uint64_t)getppid() };
    bool                same;

    now.birth = birth_of((pid_t)now.pid);
    same = noted->pid == 0 ||
           (noted->pid == now.pid && (noted->birth == 0 || now.birth == 0 || noted->birth == now.birth));
    *noted = now;
    return same;
}
