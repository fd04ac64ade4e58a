/* log/window.h - a moving buffer over a segment file.
 *
 * Why reads and no map: a mapped page whose sector is bad, or whose file was just truncated by its writer,
 * ends the process with SIGBUS; a read says EIO and costs 0.1 us a KB more (docs/decisions/log-format.md).
 *  W1  a page that the device cannot give after 3 tries (EIO) reads as zeros, and is counted: it is damage
 *      like any other. Every other failure is the caller's: it says nothing about the bytes */
#ifndef PENSTOCK_LOG_WINDOW_H
#define PENSTOCK_LOG_WINDOW_H

#include "base/err.h"
#include "base/span.h"
#include "log/frame.h"

enum { WINDOW_BEHIND_BYTES = 32 << 20 };

struct window {
    int      fd; /* borrowed */
    uint8_t *buf;
    size_t   size;  /* allocated */
    uint64_t at;    /* of buf[0] in the file */
    size_t   bytes; /* read */
    unsigned pages_unreadable;
    bool     once;    /* window_read_once */
    uint64_t let_go;  /* up to here */
};

void window_init(struct window *window, int fd);
void window_fini(struct window *window);
/* What was read leaves the page cache, but for the last WINDOW_BEHIND_BYTES: nobody is expected to read it again, and others
 * need the memory (docs/decisions/log-format.md). At window_fini all of it does. */
void window_read_once(struct window *window);
/* Asks the disk for what comes next in the file, so many bytes of it, and does not wait. */
void window_ahead(struct window *window, uint64_t bytes);
/* Forgets what was read: the file may have changed. */
void window_drop(struct window *window);

/* 1: *out has `bytes` bytes from `at` on, until the next call; 0: the file ends before; -1: no memory, or
 * a failure that may pass (ERR_RETRY). */
int window_get(struct window *window, uint64_t at, size_t bytes, const uint8_t **out, struct err *err) must_check;
/* The next true frame header in [from, limit). 1: found at *at_out; 0: none; -1: error. */
int window_find_frame(struct window *window, uint64_t from, uint64_t limit, const struct frame_place *place,
                      uint64_t *at_out, struct frame *out, struct err *err) must_check;
/* A true header at exactly `at`? 1, 0, -1. */
int window_frame(struct window *window, uint64_t at, const struct frame_place *place, struct frame *out,
                 struct err *err) must_check;

#endif
