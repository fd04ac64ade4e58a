/* warehouse/ask_test_kit.h - a question put to a warehouse, whichever backend it has, and its answer as a string. Included by tests only. */
#ifndef PENSTOCK_WAREHOUSE_ASK_TEST_KIT_H
#define PENSTOCK_WAREHOUSE_ASK_TEST_KIT_H

#include "base/buf.h"
#include "warehouse/warehouse.h"

static inline int collect(void *ctx, struct span piece, struct err *err)
{
    (void)err;
    buf_add(ctx, piece);
    return 0;
}

/* The answer, or "error kind: text"; until the next question. */
static inline const char *ask_as(struct warehouse *warehouse, enum warehouse_format format, const char *sql)
{
    static struct buf out;
    struct err        err = { .text = "" };

    buf_fini(&out);
    buf_init(&out, 64 << 20);
    if (warehouse_query(warehouse, sql, format, collect, &out, NULL, &err) < 0) {
        buf_reset(&out);
        buf_add_format(&out, "%s: %s", err_kind_name(err.kind), err.text);
    }
    buf_add_byte(&out, '\0');
    return (const char *)out.at;
}

#endif
