/* base/err.h - one failure, told once, with the context of everybody it passed through.
 *
 * Why a value and not errno: several modules may stand between the failure and the one who can act on
 * it. Why a fixed buffer: saying that memory ran out must not need memory.
 * Owner: the frame that first asked. Written on failure only, so a caller may pass one `struct err`
 * through a row of calls. Every function that can fail returns 0 or -1 and takes it last. */
#ifndef PENSTOCK_BASE_ERR_H
#define PENSTOCK_BASE_ERR_H

#define must_check __attribute__((warn_unused_result))

/* What the caller may do next; the only part that code branches on. */
enum err_kind {
    ERR_NONE,
    ERR_INPUT,   /* the bytes or the settings are wrong: fix them; trying again changes nothing */
    ERR_RETRY,   /* a dependency is away or busy: try again later */
    ERR_FULL,    /* a bound was reached (disk, queue, arena): make room, then try again */
    ERR_CORRUPT, /* stored bytes are not what was written */
    ERR_STOP     /* this object cannot go on (a failed sync, a lost lock): close it, say so, start anew */
};

struct err {
    enum err_kind kind;
    char          text[300]; /* what a person reads: "raw: append: no space left on device" */
};

/* Both return -1, always, so that `return err_set(...)` is the whole failure path. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "where: " in front of the text; the kind stays as its source set it. */
int err_wrap(struct err *err, const char *where);
/* As err_set with ": <strerror(errno_value)>" at the end; the kind follows from errno: ENOSPC, EDQUOT,
 * ENOMEM, EMFILE are ERR_FULL; EAGAIN, EINTR are ERR_RETRY; everything else is ERR_STOP. */
int err_errno(struct err *err, int errno_value, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

const char *err_kind_name(enum err_kind kind);

#endif
