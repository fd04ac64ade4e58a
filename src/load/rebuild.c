/* load/rebuild.c - see rebuild.h. */
#include "load/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/say.h"

static const char request_name[] = "warehouse.rebuild", request_new[] = "warehouse.rebuild.new";
static const char warehouse_name[] = "warehouse.duckdb";

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
    time_t    now = (time_t)(now_us / 1000000);
    struct tm utc;
    int       folder = folder_open(data_folder, err), rc;

    if (folder < 0)
        return -1;
    rc = request_read(folder, mark_out, err);
    if (rc == 0) {
        gmtime_r(&now, &utc);
        strftime(mark_out, REBUILD_MARK_BYTES, ".before-%Y%m%dT%H%M%SZ", &utc);
        rc = request_write(folder, mark_out, err);
    }
    io_close(folder);
    return rc < 0 ? -1 : 0;
}

/* Gives it its new name, unless that was done before: then what has the old one is new. */
static int move(int folder, const char *suffix, const char *mark, struct err *err)
{
    char        from[64], to[64 + REBUILD_MARK_BYTES];
    struct stat stat;

    (void)snprintf(from, sizeof from, "%s%s", warehouse_name, suffix);
    (void)snprintf(to, sizeof to, "%s%s%s", warehouse_name, mark, suffix);
    if (fstatat(folder, to, &stat, 0) == 0)
        return 0;
    if (io_rename(folder, from, to) < 0 && errno != ENOENT)
        return err_errno(err, errno, "%s cannot be called %s", from, to);
    return 0;
}

int rebuild_do(const char *data_folder, const char *mark, struct err *err)
{
    int folder = folder_open(data_folder, err), rc;

    if (folder < 0)
        return -1;
    rc = move(folder, ".wal", mark, err) < 0 || move(folder, "", mark, err) < 0 ? -1 : 0;
    if (rc == 0 && (io_fsync(folder) < 0 || io_unlink(folder, request_name) < 0 || io_fsync(folder) < 0))
        rc = err_errno(err, errno, "%s", request_name);
    io_close(folder);
    return rc;
}
