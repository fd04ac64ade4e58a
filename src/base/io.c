/* base/io.c - see io.h. The hook is a plain pointer: a test sets it before it starts anything, so that
 * production pays one load and one branch that is never taken. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Written by io_hook_set, read by every function here (I2). */
static const struct io_hook *io_hook;

void io_hook_set(const struct io_hook *hook)
{
    io_hook = hook;
}

const char *io_op_name(enum io_op op)
{
    static const char *const names[IO_OP_COUNT] = { "open",   "pread",     "pwrite",    "fdatasync", "fsync", "rename",
                                                    "unlink", "ftruncate", "fallocate", "mmap",      "mkdir", "space", "reserve" };

    return (unsigned)op < IO_OP_COUNT ? names[op] : "?";
}

/* 0: go on; -1: the hook said no, errno is set. */
static int io_before(struct io_call *call)
{
    int failed = io_hook == NULL ? 0 : io_hook->before(io_hook->ctx, call);

    if (failed == 0)
        return 0;
    errno = failed;
    return -1;
}

static void io_after(const struct io_call *call, int64_t result)
{
    if (io_hook != NULL && io_hook->after != NULL) {
        int saved = errno;

        io_hook->after(io_hook->ctx, call, result);
        errno = saved;
    }
}

int io_open(int dir_fd, const char *name, int flags, mode_t mode)
{
    struct io_call call = { .op = IO_OPEN, .fd = dir_fd, .name = name, .bytes = (uint64_t)flags };
    int            fd;

    if (io_before(&call) < 0)
        return -1;
    do
        fd = openat(dir_fd, name, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    io_after(&call, fd);
    return fd;
}

void io_close(int fd)
{
    if (fd >= 0)
        (void)close(fd); /* data that matters was synced before: close has nothing to add */
}

ssize_t io_pread(int fd, void *to, size_t bytes, uint64_t at)
{
    struct io_call call = { .op = IO_PREAD, .fd = fd, .at = at, .bytes = bytes };
    ssize_t        got;

    if (io_before(&call) < 0)
        return -1;
    do
        got = pread(fd, to, (size_t)call.bytes, (off_t)at);
    while (got < 0 && errno == EINTR);
    io_after(&call, got);
    return got;
}

static uint64_t iov_bytes(const struct iovec *iov, int count)
{
    uint64_t bytes = 0;

    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

/* One pwritev of at most call->bytes, which a hook may have lowered. */
static ssize_t io_pwritev_once(struct io_call *call, struct iovec *iov)
{
    int      count = 0;
    uint64_t bytes = 0;
    size_t   whole;
    ssize_t  put;

    while (count < call->iov_count && bytes + iov[count].iov_len < call->bytes)
        bytes += iov[count++].iov_len;
    whole = iov[count].iov_len;
    iov[count].iov_len = (size_t)(call->bytes - bytes);
    do
        put = pwritev(call->fd, iov, count + 1, (off_t)call->at);
    while (put < 0 && errno == EINTR);
    iov[count].iov_len = whole;
    return put;
}

/* Writes by pieces, each up to the next multiple of piece_bytes in the file; 0: all at once. early: the disk begins with each
 * piece while the next is copied, and a sync that follows has less to wait for. A wish: it promises nothing, and what goes
 * wrong with it the sync tells. */
static int write_all(int fd, struct iovec *iov, int iov_count, uint64_t at, uint64_t piece_bytes, bool early, uint64_t *written_out)
{
    uint64_t left = iov_bytes(iov, iov_count), written = 0;
    int      rc = 0;

    while (left > 0) {
        struct io_call call = { .op = IO_PWRITE, .fd = fd, .at = at + written, .bytes = left, .iov = iov, .iov_count = iov_count };
        uint64_t       piece = piece_bytes == 0 ? left : piece_bytes - call.at % piece_bytes;
        ssize_t        put;

        if (call.bytes > piece)
            call.bytes = piece;
        if (io_before(&call) < 0) {
            rc = -1;
            break;
        }
        put = io_pwritev_once(&call, iov);
        io_after(&call, put);
        if (put <= 0) {
            if (put == 0)
                errno = EIO; /* a write that takes nothing would loop for ever */
            rc = -1;
            break;
        }
        if (early)
            (void)sync_file_range(fd, (off_t)call.at, put, SYNC_FILE_RANGE_WRITE);
        written += (uint64_t)put;
        left -= (uint64_t)put;
        while (iov_count > 0 && (size_t)put >= iov->iov_len) {
            put -= (ssize_t)iov->iov_len;
            iov++;
            iov_count--;
        }
        if (put > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + put;
            iov->iov_len -= (size_t)put;
        }
    }
    if (written_out != NULL)
        *written_out = written;
    return rc;
}

/* What is written to pages that are not in the cache gets memory in pieces as large as the write, and large
 * pieces are found where nobody was for long: measured, 3 MiB at once cost 1.4 us a KiB, by 256 KiB 0.3. */
enum { IO_PIECE_BYTES = 256 << 10, IO_EARLY_BYTES = 1 << 20 };

int io_pwritev(int fd, struct iovec *iov, int iov_count, uint64_t at, uint64_t *written_out)
{
    return write_all(fd, iov, iov_count, at, IO_PIECE_BYTES, iov_bytes(iov, iov_count) >= IO_EARLY_BYTES, written_out);
}

int io_pwrite(int fd, const void *from, size_t bytes, uint64_t at)
{
    struct iovec iov = { (void *)(uintptr_t)from, bytes };

    return write_all(fd, &iov, 1, at, 0, false, NULL);
}

int io_fdatasync(int fd)
{
    struct io_call call = { .op = IO_FDATASYNC, .fd = fd };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    rc = fdatasync(fd);
    io_after(&call, rc);
    return rc;
}

int io_fsync(int fd)
{
    struct io_call call = { .op = IO_FSYNC, .fd = fd };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    rc = fsync(fd);
    io_after(&call, rc);
    return rc;
}

int io_ftruncate(int fd, uint64_t bytes)
{
    struct io_call call = { .op = IO_FTRUNCATE, .fd = fd, .bytes = bytes };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    do
        rc = ftruncate(fd, (off_t)bytes);
    while (rc < 0 && errno == EINTR);
    io_after(&call, rc);
    return rc;
}

static int allocate(enum io_op op, int mode, int fd, uint64_t at, uint64_t bytes)
{
    struct io_call call = { .op = op, .fd = fd, .at = at, .bytes = bytes };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    do
        rc = fallocate(fd, mode, (off_t)at, (off_t)bytes);
    while (rc < 0 && errno == EINTR);
    io_after(&call, rc);
    return rc;
}

int io_fallocate(int fd, uint64_t at, uint64_t bytes)
{
    return allocate(IO_FALLOCATE, 0, fd, at, bytes);
}

int io_reserve(int fd, uint64_t at, uint64_t bytes)
{
    return allocate(IO_RESERVE, FALLOC_FL_KEEP_SIZE, fd, at, bytes);
}

int io_rename(int dir_fd, const char *from, const char *to)
{
    struct io_call call = { .op = IO_RENAME, .fd = dir_fd, .name = from, .name_to = to };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    rc = renameat(dir_fd, from, dir_fd, to);
    io_after(&call, rc);
    return rc;
}

static int rename_new(int dir_fd, const char *from, const char *to)
{
    struct stat stat;
    int         rc = renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE);

    if (rc == 0 || (errno != EINVAL && errno != ENOSYS))
        return rc;
    if (fstatat(dir_fd, from, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (fstatat(dir_fd, to, &stat, AT_SYMLINK_NOFOLLOW) == 0)
        errno = EEXIST;
    return errno == ENOENT ? renameat(dir_fd, from, dir_fd, to) : -1;
}

int io_rename_new(int dir_fd, const char *from, const char *to)
{
    struct io_call call = { .op = IO_RENAME, .fd = dir_fd, .name = from, .name_to = to };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    rc = rename_new(dir_fd, from, to);
    io_after(&call, rc);
    return rc;
}

int io_unlink(int dir_fd, const char *name)
{
    struct io_call call = { .op = IO_UNLINK, .fd = dir_fd, .name = name };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    rc = unlinkat(dir_fd, name, 0);
    io_after(&call, rc);
    return rc;
}

int io_mkdir(int dir_fd, const char *name, mode_t mode)
{
    struct io_call call = { .op = IO_MKDIR, .fd = dir_fd, .name = name };
    int            rc;

    if (io_before(&call) < 0)
        return -1;
    rc = mkdirat(dir_fd, name, mode);
    io_after(&call, rc);
    return rc;
}

void *io_mmap(int fd, size_t bytes, int prot)
{
    struct io_call call = { .op = IO_MMAP, .fd = fd, .bytes = bytes };
    void          *at;

    if (io_before(&call) < 0)
        return NULL;
    at = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);
    io_after(&call, at == MAP_FAILED ? -1 : 0);
    return at == MAP_FAILED ? NULL : at;
}

int io_space(int fd, uint64_t *bytes_out)
{
    struct io_call call = { .op = IO_SPACE, .fd = fd, .bytes = UINT64_MAX };
    struct statvfs fs;
    int            rc = 0;

    if (io_before(&call) < 0)
        return -1;
    if (call.bytes == UINT64_MAX && (rc = fstatvfs(fd, &fs)) == 0)
        call.bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    io_after(&call, rc);
    if (rc == 0)
        *bytes_out = call.bytes;
    return rc;
}
