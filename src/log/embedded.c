/* log/embedded.c - the embedded backend: its table of functions, and the folder of topics. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "log/embedded.h"
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

int embedded_open(const struct log_options *options, struct log **out, struct err *err)
{
    struct log *log = calloc(1, sizeof *log);
    bool        made;

    if (log == NULL)
        return err_set(err, ERR_FULL, "no memory for the log");
    (void)clock_boot_id(); /* while files can be read: capture locks itself in soon, and retention asks later */
    log->ops = &log_embedded_ops;
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
        embedded_close(log);
        return -1;
    }
    *out = log;
    return 0;
}

void embedded_close(struct log *log)
{
    if (log == NULL)
        return;
    io_close(log->dir_fd);
    free(log);
}

/* One machine, one line: to have more of them would need a choice by key, and buy nothing. */
uint32_t embedded_partitions(const struct log *log)
{
    (void)log;
    return 1;
}

static int reader_end(struct log_reader *reader, uint64_t *out, struct err *err)
{
    (void)err;
    *out = embedded_reader_end(reader);
    return 0;
}

const struct log_ops log_embedded_ops = {
    .close = embedded_close,
    .partitions = embedded_partitions,
    .writer_open = embedded_writer_open,
    .writer_close = embedded_writer_close,
    .writer_end = embedded_writer_end,
    .writer_cut = embedded_writer_cut,
    .writer_append = embedded_writer_append,
    .writer_sync = embedded_writer_sync,
    .writer_publish = embedded_writer_publish,
    .writer_retain = embedded_writer_retain,
    .writer_clock = embedded_writer_clock,
    .commit_start = embedded_commit_start,
    .commit_stop = embedded_commit_stop,
    .commit_submit = embedded_commit_submit,
    .commit_claim = embedded_commit_claim,
    .commit_write = embedded_commit_write,
    .commit_rest = embedded_commit_rest,
    .commit_resume = embedded_commit_resume,
    .commit_forward = embedded_commit_forward,
    .commit_serve = embedded_commit_serve,
    .reader_open = embedded_reader_open,
    .reader_close = embedded_reader_close,
    .reader_once = embedded_reader_once,
    .reader_ahead = embedded_reader_ahead,
    .reader_next = embedded_reader_next,
    .reader_wait = embedded_reader_wait,
    .reader_lag = embedded_reader_lag,
    .reader_end = reader_end,
    .reader_start = embedded_reader_start,
    .cursor_store = embedded_cursor_store,
    .cursor_load = embedded_cursor_load,
    .erase = embedded_erase,
    .roll_ask = embedded_roll_ask,
    .clock_confirm = embedded_clock_confirm,
    .info = embedded_info,
    .clock_info = embedded_clock_info,
    .verify = embedded_verify,
};
