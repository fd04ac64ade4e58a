/* tests/shim/journal.c - writes down every call with which a role changes files, so that the disk can be shown as a
 * power cut would leave it.
 *
 * Loaded with LD_PRELOAD into `penstock serve` and whatever it starts. Each record is one append to the file named by
 * JOURNAL (appends of one call are whole, and their order is the order of the file):
 *    at  bytes  field
 *     0      4  0x4a524e4c
 *     4      4  operation, enum below
 *     8      8  inode
 *    16      8  at            WRITE: offset; SIZE: the new size
 *    24      8  bytes         WRITE: length
 *    32      4  flags         WRITE: 1 durable at once (O_DSYNC), 2 nothing but zeros (no data follows)
 *    36      4  path bytes
 *    40      4  data bytes
 *    44      4  process
 *    48      *  path (RENAME: from, U+0000, to), data
 * A write is noted when it has been done, a sync when it begins and when it has ended: so what was noted before the
 * begin is covered, and counts from the end on. Files written through a map are not seen: the small head of a log's
 * topic, which lies beside its segments, is read and noted whenever one of them is synced. Only files below JOURNAL_ROOT. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum operation { WRITE = 1, SIZE, SYNC_BEGIN, SYNC_END, CREATE, RENAME, UNLINK, MKDIR, RMDIR, DIRSYNC_BEGIN, DIRSYNC_END, HEAD };
enum { DURABLE = 1, ZEROS = 2, IOV = 64 };

struct note {
    uint32_t magic, operation;
    uint64_t inode, at, bytes;
    uint32_t flags, path_bytes, data_bytes, process;
};

static int         journal = -1;
static const char *root;

__attribute__((constructor)) static void journal_open(void)
{
    const char *path = getenv("JOURNAL");

    root = getenv("JOURNAL_ROOT");
    if (path != NULL && root != NULL)
        journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static void note(struct note head, const char *path, const struct iovec *data, int count)
{
    struct iovec all[IOV + 2];
    size_t       bytes = 0;
    int          kept = errno;

    head.magic = 0x4a524e4c;
    head.process = (uint32_t)getpid();
    if (head.path_bytes == 0 && path != NULL)
        head.path_bytes = (uint32_t)strlen(path);
    all[0] = (struct iovec){ &head, sizeof head };
    all[1] = (struct iovec){ (char *)path, head.path_bytes };
    for (int i = 0; i < count; i++) {
        all[2 + i] = data[i];
        bytes += data[i].iov_len;
    }
    head.data_bytes = (uint32_t)bytes;
    if (syscall(SYS_writev, journal, all, count + 2) != (long)(sizeof head + head.path_bytes + bytes))
        abort(); /* a journal with a hole proves nothing */
    errno = kept;
}

/* 1: a file of ours, 2: a folder of ours; 0: neither. */
static int ours(int fd, char path[PATH_MAX], struct stat *stat_out)
{
    char    link[64];
    ssize_t bytes;

    if (journal < 0 || fd < 0)
        return 0;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    bytes = readlink(link, path, PATH_MAX - 1);
    if (bytes <= 0)
        return 0;
    path[bytes] = '\0';
    if (strncmp(path, root, strlen(root)) != 0 || strstr(path, "/run/") != NULL || fstat(fd, stat_out) < 0)
        return 0;
    return S_ISREG(stat_out->st_mode) ? 1 : S_ISDIR(stat_out->st_mode) ? 2 : 0;
}

static int ours_named(const char *path, char whole[PATH_MAX])
{
    if (journal < 0)
        return 0;
    if (path[0] == '/') {
        (void)snprintf(whole, PATH_MAX, "%s", path);
    } else {
        if (getcwd(whole, PATH_MAX) == NULL || strlen(whole) + strlen(path) + 2 > PATH_MAX)
            return 0;
        strcat(strcat(whole, "/"), path);
    }
    return strncmp(whole, root, strlen(root)) == 0 && strstr(whole, "/run/") == NULL;
}

static int all_zero(const struct iovec *v, int count, size_t bytes)
{
    for (int i = 0; i < count && bytes > 0; i++) {
        const uint8_t *at = v[i].iov_base;
        size_t         here = v[i].iov_len < bytes ? v[i].iov_len : bytes;

        if (here > 0 && (at[0] != 0 || memcmp(at, at + 1, here - 1) != 0))
            return 0;
        bytes -= here;
    }
    return 1;
}

static void wrote(int fd, const struct iovec *v, int count, off_t offset, ssize_t done)
{
    char         path[PATH_MAX];
    struct stat  st;
    struct note  head = { .operation = WRITE };
    struct iovec cut[IOV];
    size_t       left = (size_t)done;
    int          used = 0, flags;

    if (done <= 0 || ours(fd, path, &st) != 1)
        return;
    flags = fcntl(fd, F_GETFL);
    head.inode = st.st_ino;
    if (offset < 0) /* at the file's position, or its end: where it stands now, less what was written */
        offset = (flags & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR)) - done;
    head.at = (uint64_t)offset;
    head.bytes = (uint64_t)done;
    head.flags = (flags & O_DSYNC) != 0 ? DURABLE : 0;
    if (all_zero(v, count, left)) {
        head.flags |= ZEROS;
        note(head, path, NULL, 0);
        return;
    }
    for (int i = 0; i < count && left > 0; i++) {
        if (used == IOV)
            abort();
        cut[used] = v[i];
        if (cut[used].iov_len > left)
            cut[used].iov_len = left;
        left -= cut[used++].iov_len;
    }
    note(head, path, cut, used);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITING(name, params, vec, count, offset, ...)              \
    ssize_t name params;                                            \
    ssize_t name params                                             \
    {                                                               \
        ssize_t done = REAL(name)(__VA_ARGS__);                     \
                                                                    \
        wrote(fd, vec, count, offset, done);                        \
        return done;                                                \
    }
#define ONE(at, n) (&(struct iovec){ (void *)at, n })

WRITING(write, (int fd, const void *at, size_t n), ONE(at, n), 1, -1, fd, at, n)
WRITING(pwrite, (int fd, const void *at, size_t n, off_t o), ONE(at, n), 1, o, fd, at, n, o)
WRITING(pwrite64, (int fd, const void *at, size_t n, off64_t o), ONE(at, n), 1, o, fd, at, n, o)
WRITING(writev, (int fd, const struct iovec *v, int n), v, n, -1, fd, v, n)
WRITING(pwritev, (int fd, const struct iovec *v, int n, off_t o), v, n, o, fd, v, n, o)
WRITING(pwritev64, (int fd, const struct iovec *v, int n, off64_t o), v, n, o, fd, v, n, o)

/* A topic's head is written through a map; what it holds now may reach the disk now. */
static void note_head(const char *segment)
{
    char         path[PATH_MAX];
    char         bytes[4096];
    struct iovec v;
    char        *slash;
    ssize_t      got;
    int          fd;

    (void)snprintf(path, sizeof path, "%s", segment);
    slash = strrchr(path, '/');
    if (slash == NULL || strstr(path, "/log/") == NULL || (size_t)(slash - path) + 6 > sizeof path)
        return;
    strcpy(slash, "/head");
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    got = syscall(SYS_read, fd, bytes, sizeof bytes);
    syscall(SYS_close, fd);
    v = (struct iovec){ bytes, got > 0 ? (size_t)got : 0 };
    note((struct note){ .operation = HEAD }, path, &v, 1);
}

#define SYNCING(name)                                                                                                  \
    int name(int fd)                                                                                                   \
    {                                                                                                                  \
        char        path[PATH_MAX];                                                                                    \
        struct stat st;                                                                                                \
        int         kind = ours(fd, path, &st), rc;                                                                    \
                                                                                                                       \
        if (kind == 0)                                                                                                 \
            return REAL(name)(fd);                                                                                     \
        note((struct note){ .operation = kind == 2 ? DIRSYNC_BEGIN : SYNC_BEGIN, .inode = st.st_ino }, path, NULL, 0); \
        rc = REAL(name)(fd);                                                                                           \
        if (rc == 0)                                                                                                   \
            note((struct note){ .operation = kind == 2 ? DIRSYNC_END : SYNC_END, .inode = st.st_ino }, path, NULL, 0); \
        if (kind == 1)                                                                                                 \
            note_head(path);                                                                                           \
        return rc;                                                                                                     \
    }

SYNCING(fsync)
SYNCING(fdatasync)

static void sized(int fd, off_t size, int at_least)
{
    char        path[PATH_MAX];
    struct stat st;

    if (ours(fd, path, &st) == 1 && (!at_least || st.st_size == size)) /* an allocation inside the file changes nothing */
        note((struct note){ .operation = SIZE, .inode = st.st_ino, .at = (uint64_t)size }, path, NULL, 0);
}

#define SIZING(name, params, size, at_least, ...)   \
    int name params;                                \
    int name params                                 \
    {                                               \
        int rc = REAL(name)(__VA_ARGS__);           \
                                                    \
        if (rc == 0)                                \
            sized(fd, size, at_least);              \
        return rc;                                  \
    }
SIZING(ftruncate, (int fd, off_t n), n, 0, fd, n)
SIZING(ftruncate64, (int fd, off64_t n), n, 0, fd, n)
SIZING(fallocate, (int fd, int mode, off_t o, off_t n), o + n, 1, fd, mode, o, n)
SIZING(fallocate64, (int fd, int mode, off64_t o, off64_t n), o + n, 1, fd, mode, o, n)
SIZING(posix_fallocate, (int fd, off_t o, off_t n), o + n, 1, fd, o, n)
SIZING(posix_fallocate64, (int fd, off64_t o, off64_t n), o + n, 1, fd, o, n)

static void opened(int fd, int flags, int was_there)
{
    char        path[PATH_MAX];
    struct stat st;

    if (fd < 0 || (flags & (O_CREAT | O_TRUNC)) == 0 || ours(fd, path, &st) != 1)
        return;
    if (!was_there)
        note((struct note){ .operation = CREATE, .inode = st.st_ino }, path, NULL, 0);
    else if (flags & O_TRUNC)
        note((struct note){ .operation = SIZE, .inode = st.st_ino, .at = 0 }, path, NULL, 0);
}

static int there(int folder, const char *path, int flags)
{
    return (flags & O_CREAT) == 0 || syscall(SYS_faccessat, folder, path, F_OK) == 0;
}

#define OPENING(name, params, folder, ...)                                    \
    int name params;                                                          \
    int name params                                                           \
    {                                                                         \
        mode_t  mode = 0;                                                     \
        int     was_there = there(folder, path, flags), fd;                   \
        va_list more;                                                         \
                                                                              \
        va_start(more, flags);                                                \
        if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))                   \
            mode = va_arg(more, mode_t);                                      \
        va_end(more);                                                         \
        fd = REAL(name)(__VA_ARGS__, mode);                                   \
        opened(fd, flags, was_there);                                   \
        return fd;                                                            \
    }
OPENING(open, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPENING(open64, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPENING(openat, (int folder, const char *path, int flags, ...), folder, folder, path, flags)
OPENING(openat64, (int folder, const char *path, int flags, ...), folder, folder, path, flags)

/* A name relative to an open folder, as one that is whole. */
static int whole_name(int folder, const char *path, char whole[PATH_MAX])
{
    char    in[64], base[PATH_MAX], joined[PATH_MAX];
    ssize_t bytes;

    if (journal < 0)
        return 0;
    if (folder == AT_FDCWD || path[0] == '/')
        return ours_named(path, whole);
    (void)snprintf(in, sizeof in, "/proc/self/fd/%d", folder);
    bytes = readlink(in, base, sizeof base - 1);
    if (bytes < 0 || (size_t)bytes + strlen(path) + 2 > sizeof joined)
        return 0;
    base[bytes] = '\0';
    strcat(strcat(strcpy(joined, base), "/"), path);
    return ours_named(joined, whole);
}

static void moved(int from_folder, const char *from, int to_folder, const char *to)
{
    char both[2 * PATH_MAX], second[PATH_MAX];

    if (whole_name(from_folder, from, both) && whole_name(to_folder, to, second)) {
        size_t bytes = strlen(both) + 1;

        strcpy(both + bytes, second);
        note((struct note){ .operation = RENAME, .path_bytes = (uint32_t)(bytes + strlen(second)) }, both, NULL, 0);
    }
}

int rename(const char *from, const char *to)
{
    int rc = REAL(rename)(from, to);

    if (rc == 0)
        moved(AT_FDCWD, from, AT_FDCWD, to);
    return rc;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    int rc = REAL(renameat)(from_folder, from, to_folder, to);

    if (rc == 0)
        moved(from_folder, from, to_folder, to);
    return rc;
}

#define NAMED(name, params, operation_, folder, ...)                            \
    int name params;                                                            \
    int name params                                                             \
    {                                                                           \
        char whole[PATH_MAX];                                                   \
        int  rc = REAL(name)(__VA_ARGS__);                                      \
                                                                                \
        if (rc == 0 && whole_name(folder, path, whole))                         \
            note((struct note){ .operation = operation_ }, whole, NULL, 0);     \
        return rc;                                                              \
    }
NAMED(unlink, (const char *path), UNLINK, AT_FDCWD, path)
NAMED(remove, (const char *path), UNLINK, AT_FDCWD, path)
NAMED(unlinkat, (int folder, const char *path, int flags), flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, folder, path, flags)
NAMED(rmdir, (const char *path), RMDIR, AT_FDCWD, path)
NAMED(mkdir, (const char *path, mode_t mode), MKDIR, AT_FDCWD, path, mode)
NAMED(mkdirat, (int folder, const char *path, mode_t mode), MKDIR, folder, folder, path, mode)
