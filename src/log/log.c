/* log/log.c - the folder of topics. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "log/part.h"

/* The name of the folder itself is durable. */
int log_parent_sync(int dir_fd)
{
    int fd = io_open(dir_fd, "..", O_RDONLY | O_DIRECTORY, 0), rc;

    if (fd < 0)
        return -1;
    rc = io_fsync(fd);
    io_close(fd);
    return rc;
}

int log_open(const struct log_options *options, struct log **out, struct err *err)
{
    struct log *log = calloc(1, sizeof *log);
    bool        made;

    if (log == NULL)
        return err_set(err, ERR_FULL, "no memory for the log");
    made = io_mkdir(AT_FDCWD, options->folder, 0750) == 0;
    if (!made && errno != EEXIST) {
        (void)err_errno(err, errno, "make %s", options->folder);
        free(log);
        return -1;
    }
    log->dir_fd = io_open(AT_FDCWD, options->folder, O_RDONLY | O_DIRECTORY, 0);
    if (log->dir_fd < 0) {
        (void)err_errno(err, errno, "open %s", options->folder);
        free(log);
        return -1;
    }
    if (made && log_parent_sync(log->dir_fd) < 0) {
        (void)err_errno(err, errno, "sync of the folder above %s", options->folder);
        log_close(log);
        return -1;
    }
    *out = log;
    return 0;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    io_close(log->dir_fd);
    free(log);
}
