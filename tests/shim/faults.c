/* tests/shim/faults.c - makes the n-th file call of a running role fail, wait, or be its last.
 *
 * Loaded with LD_PRELOAD into `penstock serve`; steered while it runs through a small shared file named by
 * FAULTS_CONTROL, so that one running system meets many faults (tests/flow/faults.py writes the file):
 *    at  bytes  field
 *     0      4  armed          1: look at the rest
 *     4      4  mode           1 kill before the call, 2 kill after it, 3 fail with errno, 4 wait first
 *     8      4  countdown      calls that match and pass before the fault
 *    12      4  repeat         how many calls then fail or wait; -1: until disarmed
 *    16      4  errno value
 *    20      4  wait in milliseconds
 *    24      4  hits           written here: calls that met the fault
 *    32     16  role           the process's name starts with it; empty: any
 *    48     16  call           "fdatasync", "write" (all writing calls), "rename", ... ; empty: any
 *    64     64  path           part of the file's path; empty: any
 * Roles are told apart by their thread's process name (/proc/self/comm of the main thread). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int armed, mode, countdown, repeat, errno_value, wait_ms, hits;
    int         unused;
    char        role[16], call[16], path[64];
};

enum { KILL_BEFORE = 1, KILL_AFTER = 2, FAIL = 3, WAIT = 4 };

static struct control *control;

__attribute__((constructor)) static void faults_map(void)
{
    const char *path = getenv("FAULTS_CONTROL");
    int         fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    close(fd);
    control = at == MAP_FAILED ? NULL : at;
}

static int role_matches(void)
{
    char name[64] = "";
    int  fd;

    if (control->role[0] == '\0')
        return 1;
    fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (syscall(SYS_read, fd, name, sizeof name - 1) < 0)
        name[0] = '\0';
    syscall(SYS_close, fd);
    return strstr(name, control->role) != NULL;
}

static int path_matches(int fd, const char *path)
{
    char link[64], target[512] = "";

    if (control->path[0] == '\0')
        return 1;
    if (path != NULL)
        return strstr(path, control->path) != NULL;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, target, sizeof target - 1) < 0)
        return 0;
    return strstr(target, control->path) != NULL;
}

/* 0: go on; -1: fail with errno set; 1: go on, then die. */
static int fault(const char *call, int fd, const char *path)
{
    int repeat;

    if (control == NULL || !atomic_load(&control->armed))
        return 0;
    if (control->call[0] != '\0' && strncmp(call, control->call, strlen(control->call)) != 0)
        return 0;
    if (!path_matches(fd, path) || !role_matches())
        return 0;
    if (atomic_fetch_sub(&control->countdown, 1) > 0)
        return 0;
    repeat = atomic_load(&control->repeat);
    if (repeat == 0)
        return 0;
    if (repeat > 0)
        atomic_fetch_sub(&control->repeat, 1);
    atomic_fetch_add(&control->hits, 1);
    switch (atomic_load(&control->mode)) {
    case KILL_BEFORE:
        atomic_store(&control->armed, 0);
        kill(getpid(), SIGKILL);
        return 0;
    case KILL_AFTER:
        atomic_store(&control->armed, 0);
        return 1;
    case FAIL:
        errno = atomic_load(&control->errno_value);
        return -1;
    case WAIT: {
        int             ms = atomic_load(&control->wait_ms);
        struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

        nanosleep(&ts, NULL);
        return 0;
    }
    default:
        return 0;
    }
}

#define REAL(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)
#define WRAP(type, name, label, fd, path, params, ...)      \
    type name params;                                       \
    type name params                                        \
    {                                                       \
        int  met = fault(label, fd, path);                  \
        type result;                                        \
                                                            \
        if (met < 0)                                        \
            return -1;                                      \
        result = REAL(name, __VA_ARGS__);                   \
        if (met > 0)                                        \
            kill(getpid(), SIGKILL);                        \
        return result;                                      \
    }

WRAP(ssize_t, write, "write", fd, NULL, (int fd, const void *at, size_t n), fd, at, n)
WRAP(ssize_t, pwrite, "write", fd, NULL, (int fd, const void *at, size_t n, off_t o), fd, at, n, o)
WRAP(ssize_t, pwrite64, "write", fd, NULL, (int fd, const void *at, size_t n, off64_t o), fd, at, n, o)
WRAP(ssize_t, writev, "write", fd, NULL, (int fd, const struct iovec *v, int n), fd, v, n)
WRAP(ssize_t, pwritev, "write", fd, NULL, (int fd, const struct iovec *v, int n, off_t o), fd, v, n, o)
WRAP(ssize_t, pwritev64, "write", fd, NULL, (int fd, const struct iovec *v, int n, off64_t o), fd, v, n, o)
WRAP(int, fsync, "fsync", fd, NULL, (int fd), fd)
WRAP(int, fdatasync, "fdatasync", fd, NULL, (int fd), fd)
WRAP(int, ftruncate, "ftruncate", fd, NULL, (int fd, off_t n), fd, n)
WRAP(int, ftruncate64, "ftruncate", fd, NULL, (int fd, off64_t n), fd, n)
WRAP(int, rename, "rename", -1, to, (const char *from, const char *to), from, to)
WRAP(int, unlink, "unlink", -1, path, (const char *path), path)
WRAP(int, fallocate, "fallocate", fd, NULL, (int fd, int mode, off_t o, off_t n), fd, mode, o, n)
