/* base/io.h - the one door to files: every call that can lose data goes through here.
 *
 * In production each function is its system call, with EINTR and short transfers dealt with. Tests hang a
 * hook into the door: it sees every call before it happens (and may fail it, shorten it, or end the
 * process) and after it. So "the n-th write fails", "killed just before the rename" and "the pages since
 * the last sync are lost" are arguments of a test and not luck.
 *  I1  a failed call returns -1 with errno set, as the system call does
 *  I2  the hook is set before threads start and cleared after they ended: it is not locked
 * Threads: any. */
#ifndef PENSTOCK_BASE_IO_H
#define PENSTOCK_BASE_IO_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/span.h"

enum io_op {
    IO_OPEN, IO_PREAD, IO_PWRITE, IO_FDATASYNC, IO_FSYNC, IO_RENAME, IO_UNLINK, IO_FTRUNCATE, IO_FALLOCATE, IO_MMAP,
    IO_MKDIR, IO_SPACE, IO_RESERVE, IO_OP_COUNT
};

struct io_call {
    enum io_op          op;
    int                 fd;      /* of the file; of the directory for calls with a name */
    const char         *name;    /* IO_OPEN, IO_RENAME, IO_UNLINK, IO_MKDIR */
    const char         *name_to; /* IO_RENAME */
    uint64_t            at;
    uint64_t            bytes;
    const struct iovec *iov; /* IO_PWRITE */
    int                 iov_count;
};

struct io_hook {
    /* 0: go on; else the errno to fail with. IO_PWRITE, IO_PREAD: may lower call->bytes (to >= 1), and the
     * call is then short. IO_SPACE comes with bytes UINT64_MAX: another number is what is free, and the disk is not asked. */
    int (*before)(void *ctx, struct io_call *call);
    void (*after)(void *ctx, const struct io_call *call, int64_t result); /* may be NULL */
    void *ctx;
};

/* NULL: none. @thread the test's, while nobody else is in here */
void io_hook_set(const struct io_hook *hook);
const char *io_op_name(enum io_op op);

int  io_open(int dir_fd, const char *name, int flags, mode_t mode) must_check; /* O_CLOEXEC is added */
void io_close(int fd);
/* One call: may give less than was asked; 0 is the end of the file. */
ssize_t io_pread(int fd, void *to, size_t bytes, uint64_t at) must_check;
/* In one call or more; of a large write the disk begins with the first bytes at once. All of it, or -1; *written_out (may be
 * NULL) then tells how many bytes went out before the failure. iov is used up. */
int io_pwritev(int fd, struct iovec *iov, int iov_count, uint64_t at, uint64_t *written_out) must_check;
/* In one call, if the kernel takes it whole. */
int io_pwrite(int fd, const void *from, size_t bytes, uint64_t at) must_check;
/* After a failure never call these again on the same fd: the kernel reports an error once and then
 * forgets the pages. */
int io_fdatasync(int fd) must_check;
int io_fsync(int fd) must_check;
int io_ftruncate(int fd, uint64_t bytes) must_check;
/* Reserves blocks and grows the file; they read as zeros. */
int io_fallocate(int fd, uint64_t at, uint64_t bytes) must_check;
/* The same, and the file ends where it did: who writes there makes it longer. */
int io_reserve(int fd, uint64_t at, uint64_t bytes) must_check;
int io_rename(int dir_fd, const char *from, const char *to) must_check;
/* The same, and never over a name that is there: EEXIST. Where the file system cannot see to that, by a look first: then two
 * callers at once are not kept from one another. */
int io_rename_new(int dir_fd, const char *from, const char *to) must_check;
int io_unlink(int dir_fd, const char *name) must_check;
int io_mkdir(int dir_fd, const char *name, mode_t mode) must_check;
void *io_mmap(int fd, size_t bytes, int prot) must_check; /* MAP_SHARED from 0; NULL on failure */
/* Bytes that this process may still write on fd's file system. */
int io_space(int fd, uint64_t *bytes_out) must_check;

#endif
