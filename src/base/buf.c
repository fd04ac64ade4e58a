/* base/buf.c - doubling growth; realloc, because most buffers live long and stop growing soon. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = (struct buf){ .bytes_max = bytes_max };
}

void buf_init_over(struct buf *buf, void *storage, size_t bytes)
{
    *buf = (struct buf){ .at = storage, .size = bytes, .bytes_max = bytes };
}

void buf_fini(struct buf *buf)
{
    free(buf->at);
    *buf = (struct buf){ .bytes_max = buf->bytes_max, .denied = buf->denied };
}

bool buf_take_denied(struct buf *buf)
{
    bool denied = buf->denied;

    buf->denied = false;
    return denied;
}

void buf_reset(struct buf *buf)
{
    buf->bytes = 0;
    buf->failed = false;
}

uint8_t *buf_reserve(struct buf *buf, size_t more)
{
    if (buf->failed || more > buf->bytes_max - buf->bytes) {
        buf->failed = true;
        return NULL;
    }
    if (more > buf->size - buf->bytes) {
        size_t   size = buf->size * 2 > buf->bytes + more ? buf->size * 2 : buf->bytes + more;
        uint8_t *at;

        size = size < 256 ? 256 : size;
        size = size > buf->bytes_max ? buf->bytes_max : size;
        at = realloc(buf->at, size);
        if (at == NULL) {
            buf->failed = buf->denied = true;
            return NULL;
        }
        buf->at = at;
        buf->size = size;
    }
    return buf->bytes == 0 ? buf->at : buf->at + buf->bytes; /* no arithmetic on NULL */
}

void buf_add(struct buf *buf, struct span bytes)
{
    uint8_t *to = buf_reserve(buf, bytes.bytes);

    if (to == NULL || bytes.bytes == 0)
        return;
    memcpy(to, bytes.at, bytes.bytes);
    buf->bytes += bytes.bytes;
}

void buf_add_text(struct buf *buf, const char *text)
{
    buf_add(buf, span_text(text));
}

void buf_add_byte(struct buf *buf, uint8_t byte)
{
    buf_add(buf, span_of(&byte, 1));
}

/* Into the room that is there, and once more only where that was too little: writing a text is what costs. */
void buf_add_format(struct buf *buf, const char *fmt, ...)
{
    size_t  room = buf->failed ? 0 : buf->size - buf->bytes;
    va_list args;
    int     need;

    va_start(args, fmt);
    need = vsnprintf(room > 0 ? (char *)buf->at + buf->bytes : NULL, room, fmt, args);
    va_end(args);
    if (need < 0 || buf_reserve(buf, (size_t)need + 1) == NULL) {
        buf->failed = true;
        return;
    }
    if ((size_t)need >= room) {
        va_start(args, fmt);
        (void)vsnprintf((char *)buf->at + buf->bytes, (size_t)need + 1, fmt, args);
        va_end(args);
    }
    buf->bytes += (size_t)need;
}

void buf_add_u16(struct buf *buf, uint16_t value)
{
    uint8_t bytes[2];

    bytes_put_u16(bytes, value);
    buf_add(buf, span_of(bytes, sizeof bytes));
}

void buf_add_u32(struct buf *buf, uint32_t value)
{
    uint8_t bytes[4];

    bytes_put_u32(bytes, value);
    buf_add(buf, span_of(bytes, sizeof bytes));
}

void buf_add_u64(struct buf *buf, uint64_t value)
{
    uint8_t bytes[8];

    bytes_put_u64(bytes, value);
    buf_add(buf, span_of(bytes, sizeof bytes));
}
