/* base/say.c - one write(2) a line, so that lines of several threads and processes do not mix.
 *
 * The pipe at stderr is not made non-blocking: it is the same open file for whoever else has it, a shell or a service manager. Asking
 * before writing is not enough, since somebody may fill the last page in between. So a pipe is opened anew through /proc, which gives
 * an open file of our own, with flags of its own; one that somebody else made, which we may not open, is told at each write not to
 * wait (RWF_NOWAIT, on pipes since Linux 6.4), as sockets are (MSG_DONTWAIT). What is left: a pipe that may not be opened on an older
 * kernel, and terminals, are asked, and two who write in the same moment may wait for its reader. */
#include "base/say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/terminal.h"

static const char    *say_role = "penstock";  /* written by say_init, before threads */
static enum say_level say_level = SAY_INFO;   /* the same */
static _Atomic uint64_t say_lost;             /* lines that nobody took, since the last one that somebody did */

static struct { int fd; dev_t dev; ino_t ino; } say_own = { .fd = -1 }; /* the same: stderr, opened anew if it was a pipe */

/* What stderr is; 0: it cannot be asked. */
static mode_t say_kind(struct stat *st)
{
    return fstat(STDERR_FILENO, st) < 0 ? 0 : st->st_mode & S_IFMT;
}

void say_init(const char *role, enum say_level level)
{
    struct stat st;

    say_role = role;
    say_level = level;
    if (say_own.fd >= 0)
        (void)close(say_own.fd);
    say_own.fd = say_kind(&st) != S_IFIFO ? -1 : open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    say_own.dev = st.st_dev;
    say_own.ino = st.st_ino;
}

/* A whole line, or nothing. */
static ssize_t say_write(const char *line, size_t bytes)
{
    struct iovec iov = { (void *)(uintptr_t)line, bytes };
    struct stat  st;
    mode_t       kind = say_kind(&st);
    ssize_t      put;

    if (kind == S_IFSOCK)
        return send(STDERR_FILENO, line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (kind == S_IFIFO && say_own.fd >= 0 && st.st_dev == say_own.dev && st.st_ino == say_own.ino) /* it may be another by now */
        return write(say_own.fd, line, bytes);
    if (kind == S_IFIFO && ((put = pwritev2(STDERR_FILENO, &iov, 1, -1, RWF_NOWAIT)) >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)))
        return put;
    return write(STDERR_FILENO, line, bytes);
}

static void say_line(enum say_level level, const char *tail, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

bool say_taken(void)
{
    struct pollfd to = { STDERR_FILENO, POLLOUT, 0 };

    return poll(&to, 1, 0) != 0; /* what cannot be asked is written to */
}

static void say_line(enum say_level level, const char *tail, const char *fmt, va_list args)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    char            line[1200];
    struct timespec now;
    struct tm       utc;
    size_t          used, bytes;
    uint64_t        lost;
    uint32_t        point;

    if (level > say_level)
        return;
    if (!say_taken()) {
        atomic_fetch_add_explicit(&say_lost, 1, memory_order_relaxed);
        return;
    }
    lost = atomic_exchange_explicit(&say_lost, 0, memory_order_relaxed);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %s %s: ", now.tv_nsec / 1000000, names[level],
                             say_role);
    (void)vsnprintf(line + used, sizeof line - used - 200, fmt, args);
    used = strlen(line);
    for (size_t at = 0; at < used; at += bytes) /* what strangers sent must not steer a terminal */
        if (terminal_obeys(span_of(line + at, used - at), &point, &bytes))
            memset(line + at, '?', bytes);
    used += (size_t)snprintf(line + used, sizeof line - used, "%s", tail);
    if (lost > 0)
        used += (size_t)snprintf(line + used, sizeof line - used, " (after %llu lines that nobody took)", (unsigned long long)lost);
    line[used++] = '\n';
    if (say_write(line, used) < 0)
        atomic_fetch_add_explicit(&say_lost, lost + 1, memory_order_relaxed);
}

void say(enum say_level level, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say_line(level, "", fmt, args);
    va_end(args);
}

void say_seldom(struct say_gate *gate, enum say_level level, const char *fmt, ...)
{
    int64_t  now_us = clock_mono_us();
    int64_t  next_us = atomic_load_explicit(&gate->next_us, memory_order_relaxed);
    uint64_t left_out;
    char     tail[64] = "";
    va_list  args;

    if (now_us < next_us || !atomic_compare_exchange_strong(&gate->next_us, &next_us, now_us + 1000000)) {
        atomic_fetch_add_explicit(&gate->left_out, 1, memory_order_relaxed);
        return;
    }
    left_out = atomic_exchange(&gate->left_out, 0);
    if (left_out > 0)
        (void)snprintf(tail, sizeof tail, " (and %llu more like it)", (unsigned long long)left_out);
    va_start(args, fmt);
    say_line(level, tail, fmt, args);
    va_end(args);
}
