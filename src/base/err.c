/* base/err.c - see err.h. Texts that do not fit are cut at the end: the innermost cause is the first
 * to go, which is why the buffer has room for about six layers of context. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int err_fill(struct err *err, enum err_kind kind, const char *fmt, va_list args)
{
    err->kind = kind;
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
    return -1;
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    err_fill(err, kind, fmt, args);
    va_end(args);
    return -1;
}

int err_wrap(struct err *err, const char *where)
{
    char old[sizeof err->text];

    memcpy(old, err->text, sizeof old);
    (void)snprintf(err->text, sizeof err->text, "%.100s: %.*s", where, (int)sizeof err->text - 104, old);
    return -1;
}

static enum err_kind err_kind_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC: case EDQUOT: case EFBIG: case ENOMEM: case EMFILE: case ENFILE:
        return ERR_FULL;
    case EAGAIN: case EINTR:
        return ERR_RETRY;
    default:
        return ERR_STOP;
    }
}

int err_errno(struct err *err, int errno_value, const char *fmt, ...)
{
    va_list args;
    size_t  used;

    va_start(args, fmt);
    err_fill(err, err_kind_of_errno(errno_value), fmt, args);
    va_end(args);
    used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(errno_value));
    return -1;
}

const char *err_kind_name(enum err_kind kind)
{
    static const char *const names[] = { "none", "input", "retry", "full", "corrupt", "stop" };

    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "?";
}
