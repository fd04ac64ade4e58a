/* base/buf.h - bytes that grow, up to a ceiling.
 *
 * For building text and stored forms. A failed append marks the buffer (`failed`) and later appends
 * do nothing, so a writer of many parts checks once at the end.
 *  B1  bytes <= size <= bytes_max
 * Owner: the caller; buf_fini frees. One thread at a time. */
#ifndef PENSTOCK_BASE_BUF_H
#define PENSTOCK_BASE_BUF_H

#include "base/span.h"

struct buf {
    uint8_t *at;
    size_t   bytes; /* in use */
    size_t   size;  /* allocated */
    size_t   bytes_max;
    bool     failed; /* the ceiling or the system said no: the content is not whole */
    bool     denied; /* it was the system, once since the last buf_take_denied */
};

void buf_init(struct buf *buf, size_t bytes_max);
void buf_fini(struct buf *buf);
/* A buffer in the caller's own storage, for texts that are known to be short: never grows, needs no buf_fini. */
void buf_init_over(struct buf *buf, void *storage, size_t bytes);
/* Empty again, not failed, memory kept. */
void buf_reset(struct buf *buf);
/* Whether the system gave no memory since the last question; neither reset nor fini forget it. */
bool buf_take_denied(struct buf *buf);
/* Room for `more` bytes after the content, or NULL (and failed). The caller writes there, then adds
 * what it wrote to buf->bytes. */
uint8_t *buf_reserve(struct buf *buf, size_t more);

void buf_add(struct buf *buf, struct span bytes);
void buf_add_text(struct buf *buf, const char *text);
void buf_add_byte(struct buf *buf, uint8_t byte);
void buf_add_format(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Little-endian. */
void buf_add_u16(struct buf *buf, uint16_t value);
void buf_add_u32(struct buf *buf, uint32_t value);
void buf_add_u64(struct buf *buf, uint64_t value);

/* Borrowed until the next append. `at` is never NULL, so that readers may do arithmetic on it. */
static inline struct span buf_span(const struct buf *buf)
{
    return span_of(buf->at != NULL ? buf->at : (const uint8_t *)"", buf->bytes);
}

#endif
