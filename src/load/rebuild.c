/* load/rebuild.c - see rebuild.h. */
#include "load/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/put_aside.h"
#include "base/say.h"

static const char request_name[] = "warehouse.rebuild", request_new[] = "warehouse.rebuild.new";
static const char warehouse_name[] = "warehouse.duckdb";
static const char *const warehouse_ends[] = { "", ".wal", NULL };

static int folder_open(const char *data_folder, struct err *err)
{
    int fd = open(data_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? err_errno(err, errno, "%s", data_folder) : fd;
}

static bool mark_valid(const char *mark)
{
    size_t bytes = strspn(mark, "0123456789TZ.-abcdefghijklmnopqrstuvwxyz");

    return mark[0] == '.' && bytes > 1 && mark[bytes] == '\0';
}

/* 1, 0: there is none, or it is not one; -1. */
static int request_read(int folder, char mark_out[REBUILD_MARK_BYTES], struct err *err)
{
    ssize_t got;
    int     fd = io_open(folder, request_name, O_RDONLY, 0);

    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "%s", request_name);
    got = io_pread(fd, mark_out, REBUILD_MARK_BYTES - 1, 0);
    io_close(fd);
    if (got < 0)
        return err_errno(err, errno, "%s", request_name);
    mark_out[got] = '\0';
    if (mark_valid(mark_out))
        return 1;
    say(SAY_WARN, "%s is no request to build the warehouse anew; it is ignored and deleted", request_name);
    return io_unlink(folder, request_name) < 0 ? err_errno(err, errno, "%s", request_name) : 0;
}

int rebuild_asked(const char *data_folder, char mark_out[REBUILD_MARK_BYTES], struct err *err)
{
    int folder = folder_open(data_folder, err), rc;

    if (folder < 0)
        return -1;
    rc = request_read(folder, mark_out, err);
    io_close(folder);
    return rc;
}

static int request_write(int folder, const char *mark, struct err *err)
{
    int fd = io_open(folder, request_new, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    int rc = fd < 0 || io_pwrite(fd, mark, strlen(mark), 0) < 0 || io_fsync(fd) < 0 ||
                     io_rename(folder, request_new, request_name) < 0 || io_fsync(folder) < 0
                 ? err_errno(err, errno, "%s", request_name)
                 : 0;

    if (fd >= 0)
        io_close(fd);
    return rc;
}

int rebuild_ask(const char *data_folder, int64_t now_us, char mark_out[REBUILD_MARK_BYTES], struct err *err)
{
    int folder = folder_open(data_folder, err), rc;

    if (folder < 0)
        return -1;
    rc = request_read(folder, mark_out, err);
    if (rc == 0) {
        rc = put_aside_mark(folder, warehouse_name, warehouse_ends, "before", now_us, mark_out) < 0
                 ? err_errno(err, errno, "%s: no name for the old one", warehouse_name)
                 : request_write(folder, mark_out, err);
    }
    io_close(folder);
    return rc < 0 ? -1 : 0;
}

/* 1, 0: there is none, -1. */
static int move(int folder, const char *end, const char *mark, struct err *err)
{
    int rc = put_aside_end(folder, warehouse_name, mark, end);

    return rc < 0 ? err_errno(err, errno, "%s%s cannot be called %s%s%s", warehouse_name, end, warehouse_name, mark, end) : rc;
}

/* The database last: where it has its new name already all is done, and what has the old one is new. */
static int move_both(int folder, const char *mark, struct err *err)
{
    static const char log[] = "warehouse.duckdb.wal";
    char              database_kept[32 + REBUILD_MARK_BYTES], log_kept[32 + REBUILD_MARK_BYTES];
    struct stat       stat;
    int               log_moved, moved;

    (void)snprintf(database_kept, sizeof database_kept, "%s%s", warehouse_name, mark);
    (void)snprintf(log_kept, sizeof log_kept, "%s%s.wal", warehouse_name, mark);
    if (fstatat(folder, database_kept, &stat, 0) == 0)
        return 1;
    if (errno != ENOENT)
        return err_errno(err, errno, "%s", database_kept);
    log_moved = move(folder, ".wal", mark, err);
    moved = log_moved < 0 ? -1 : move(folder, "", mark, err);
    if (moved < 0 && log_moved > 0 && io_rename_new(folder, log_kept, log) < 0) /* the loader goes on with it meanwhile: N3 */
        say(SAY_ERROR, "%s cannot be called %s again: %s", log_kept, log, strerror(errno));
    return moved;
}

int rebuild_do(const char *data_folder, const char *mark, struct err *err)
{
    int folder = folder_open(data_folder, err), moved;

    if (folder < 0)
        return -1;
    moved = move_both(folder, mark, err);
    if (moved >= 0 && (io_fsync(folder) < 0 || io_unlink(folder, request_name) < 0 || io_fsync(folder) < 0))
        moved = err_errno(err, errno, "%s", request_name);
    io_close(folder);
    return moved;
}
