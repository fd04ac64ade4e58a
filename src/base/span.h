/* base/span.h - bytes that belong to somebody else.
 *
 * A span is borrowed: it is never freed through this, and it dies with whatever it points into
 * (the comment of the function that gives one says what that is). An empty span may have any `at`. */
#ifndef PENSTOCK_BASE_SPAN_H
#define PENSTOCK_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *at;
    size_t         bytes;
};

/* A span over a string literal, without its NUL. */
#define SPAN(literal) ((struct span){ (const uint8_t *)("" literal), sizeof(literal) - 1 })

static inline struct span span_of(const void *at, size_t bytes)
{
    return (struct span){ (const uint8_t *)at, bytes };
}

static inline struct span span_text(const char *text)
{
    return (struct span){ (const uint8_t *)text, strlen(text) };
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_text(text));
}

static inline bool span_starts(struct span a, struct span prefix)
{
    return a.bytes >= prefix.bytes && (prefix.bytes == 0 || memcmp(a.at, prefix.at, prefix.bytes) == 0);
}

/* Bytewise order, shorter first among equals: <0, 0, >0 as memcmp. */
static inline int span_compare(struct span a, struct span b)
{
    size_t shorter = a.bytes < b.bytes ? a.bytes : b.bytes;
    int    order = shorter == 0 ? 0 : memcmp(a.at, b.at, shorter);

    if (order != 0)
        return order;
    return a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

/* The part from `from` to the end; both are clamped to the span. */
static inline struct span span_from(struct span a, size_t from)
{
    if (from > a.bytes)
        from = a.bytes;
    if (from == 0)
        return a; /* also when `at` is NULL: no arithmetic on that */
    return (struct span){ a.at + from, a.bytes - from };
}

/* For printf("%.*s", SPAN_ARG(s)). */
#define SPAN_ARG(s) (int)((s).bytes > 4096 ? 4096 : (s).bytes), (const char *)(s).at

#endif
