/* ingest/render.h - decided items as rows.
 *
 * Every item gives exactly one thing: an event row (FATE_STORED), a dead letter, or nothing; its points of pages; and the
 * warnings that the gate let through. Needs nothing but the item, so it can go parallel. */
#ifndef PENSTOCK_INGEST_RENDER_H
#define PENSTOCK_INGEST_RENDER_H

#include "base/buf.h"
#include "event/row.h"
#include "ingest/item.h"
#include "ingest/warning.h"

/* Takes a finished row; its spans live until return. */
typedef int row_sink(void *ctx, const struct row *row, struct err *err);

enum { RENDER_ROW_BYTES_MAX = 60 << 20 }; /* below LOG_BATCH_BYTES_MAX */

struct render_env {
    struct buf          *buf; /* scratch */
    const struct property_key_table *keys;
    int64_t              now_us;
    size_t               message_bytes_max; /* rows become messages for others' tables (event/upstream_row.h), of so many bytes; 0: they do not */
    row_sink            *sink;
    void                *sink_ctx;
    uint64_t             warnings;      /* out: rows written */
    bool                 row_too_large; /* out: why render_event failed */
};

/* ERR_FULL when scratch does not suffice, and what the sink says. */
int render_event(struct render_env *env, struct item *item, struct err *err) must_check;
/* A row for each point of item->heatmap. */
int render_heatmap(struct render_env *env, const struct item *item, struct err *err) must_check;
int render_dead_letter(struct render_env *env, const struct item *item, struct err *err) must_check;
int render_warnings(struct render_env *env, const struct item *item, struct err *err) must_check;
/* Records of the raw topic that could not be read. */
int render_gap(struct render_env *env, uint64_t mark, uint64_t count, const char *why, struct err *err) must_check;

#endif
