/* log/window.c - see window.h. The buffer starts at 256 KiB, which makes a pread cheap beside the copy,
 * and grows to the largest frame that was met; a large buffer is given back when small frames follow. */
#include "log/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/io.h"

enum {
    WINDOW_BYTES = 256 << 10,
    WINDOW_KEPT_BYTES_MAX = 8 << 20,
    WINDOW_PAGE = 4096,
    WINDOW_TRIES = 3,
    WINDOW_LET_GO_BYTES = 8 << 20, /* at a time */
    WINDOW_FOLIO_BYTES = 2 << 20,
    WINDOW_AHEAD_BYTES = 512 << 10 /* the kernel cuts a wish that is larger than its largest read */
};

void window_init(struct window *window, int fd)
{
    *window = (struct window){ .fd = fd };
}

/* A hint: that it was refused changes nothing. The kernel keeps a folio (2 MiB at most) of which a part is to stay, so the
 * one on the border is asked for again the next time. */
static void window_let_go(struct window *window, uint64_t end)
{
    uint64_t from = window->let_go > WINDOW_FOLIO_BYTES ? window->let_go - WINDOW_FOLIO_BYTES : 0;

    (void)posix_fadvise(window->fd, (off_t)from, (off_t)(end - from), POSIX_FADV_DONTNEED);
    window->let_go = end;
}

void window_read_once(struct window *window)
{
    window->once = true;
}

void window_ahead(struct window *window, uint64_t bytes)
{
    uint64_t from = window->at + window->bytes;

    for (uint64_t at = from; at < from + bytes; at += WINDOW_AHEAD_BYTES)
        (void)posix_fadvise(window->fd, (off_t)at, WINDOW_AHEAD_BYTES, POSIX_FADV_WILLNEED);
}

void window_fini(struct window *window)
{
    if (window->once && window->at > window->let_go)
        window_let_go(window, window->at);
    free(window->buf);
    *window = (struct window){ .fd = -1 };
}

void window_drop(struct window *window)
{
    window->bytes = 0;
}

static bool is_bad_media(int errno_value)
{
    return errno_value == EIO || errno_value == EBADMSG || errno_value == EUCLEAN;
}

/* Reads up to window->size at window->at; a page that stays unreadable becomes zeros (W1). Less is read
 * only at the end of the file. */
static int window_read(struct window *window, struct err *err)
{
    int tries = 0;

    window->bytes = 0;
    while (window->bytes < window->size) {
        uint64_t at = window->at + window->bytes;
        size_t   left = window->size - window->bytes, page = WINDOW_PAGE - (size_t)(at % WINDOW_PAGE);
        ssize_t  got;

        if (page > left)
            page = left;
        got = io_pread(window->fd, window->buf + window->bytes, tries == 0 ? left : page, at);
        if (got == 0)
            break;
        if (got > 0) {
            window->bytes += (size_t)got;
            tries = 0;
        } else if (!is_bad_media(errno)) {
            window->bytes = 0;
            (void)err_errno(err, errno, "read at %llu", (unsigned long long)at);
            err->kind = ERR_RETRY;
            return -1;
        } else if (++tries > WINDOW_TRIES) {
            memset(window->buf + window->bytes, 0, page);
            window->bytes += page;
            window->pages_unreadable++;
            tries = 0;
        }
    }
    return 0;
}

static int window_size(struct window *window, size_t need, struct err *err)
{
    size_t   size = window->size;
    uint8_t *buf;

    if (size < need)
        size = need < WINDOW_BYTES ? WINDOW_BYTES : need;
    else if (size > WINDOW_KEPT_BYTES_MAX && need <= WINDOW_BYTES)
        size = WINDOW_BYTES;
    if (size == window->size)
        return 0;
    buf = malloc(size);
    if (buf == NULL)
        return err_set(err, ERR_FULL, "no memory to read %zu bytes", size);
    free(window->buf);
    window->buf = buf;
    window->size = size;
    window->bytes = 0;
    return 0;
}

int window_get(struct window *window, uint64_t at, size_t bytes, const uint8_t **out, struct err *err)
{
    if (window->bytes == 0 || at < window->at || at + bytes > window->at + window->bytes) {
        if (window_size(window, bytes, err) < 0)
            return -1;
        window->at = at;
        if (at < window->let_go) /* again from here */
            window->let_go = at / WINDOW_PAGE * WINDOW_PAGE;
        if (window->once && at > window->let_go + WINDOW_BEHIND_BYTES + WINDOW_LET_GO_BYTES)
            window_let_go(window, (at - WINDOW_BEHIND_BYTES) / WINDOW_PAGE * WINDOW_PAGE);
        if (window_read(window, err) < 0)
            return -1;
    }
    if (window->bytes < bytes)
        return 0;
    *out = window->buf + (at - window->at);
    return 1;
}

int window_frame(struct window *window, uint64_t at, const struct frame_place *place, struct frame *out, struct err *err)
{
    const uint8_t *header;
    int            rc = window_get(window, at, FRAME_HEADER_BYTES, &header, err);

    return rc < 1 ? rc : frame_get(header, place, at, out);
}

int window_find_frame(struct window *window, uint64_t from, uint64_t limit, const struct frame_place *place,
                      uint64_t *at_out, struct frame *out, struct err *err)
{
    for (uint64_t at = frame_padded(from); at + FRAME_HEADER_BYTES <= limit;) {
        const uint8_t *bytes;
        size_t         have, found;
        int            rc = window_get(window, at, FRAME_HEADER_BYTES, &bytes, err);

        if (rc < 1)
            return rc;
        have = window->bytes - (size_t)(at - window->at);
        if (have > limit - at)
            have = (size_t)(limit - at);
        found = frame_find(span_of(bytes, have), 0, at, place, out);
        if (found < have) {
            *at_out = at + found;
            return 1;
        }
        /* The last header that would begin here may reach past what was read. */
        at += (have - FRAME_HEADER_BYTES) / FRAME_ALIGN * FRAME_ALIGN + FRAME_ALIGN;
    }
    return 0;
}
