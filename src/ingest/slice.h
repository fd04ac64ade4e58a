/* ingest/slice.h - some events of a batch, and what is done to them without a look at the others.
 *
 * passes.c cuts a batch into slices, orders what they ask of the stores, and lets several threads (crew.h) do the rest:
 *   slice_parse    records to items: rules, fates by their own faults, warnings
 *   slice_ahead    rows of decided items, before the slice's turn: kept in the slice, as far as it has room
 *   slice_put      at its turn: those rows, and the rest, to the sink
 * A slice belongs to one thread at a time; what it lives in (arena, rows) goes with it. */
#ifndef PENSTOCK_INGEST_SLICE_H
#define PENSTOCK_INGEST_SLICE_H

#include "base/arena.h"
#include "base/buf.h"
#include "ingest/geoip.h"
#include "ingest/item.h"
#include "ingest/zones.h"

/* SLICE_RECORDS measured: docs/performance.md. Bytes too, so that large events do not outgrow the cache either. */
enum { SLICE_RECORDS = 32, SLICE_BYTES = 64 << 10, SLICE_AHEAD_BYTES = 1 << 20 };

struct passes;

/* What each thread has of its own. */
struct hand {
    unsigned      number;
    struct geoip *geoip; /* NULL: off */
    struct zones *zones; /* NULL: UTC alone */
    struct buf   *buf;   /* scratch */
};

struct slice {
    struct arena            *arena;   /* reset for each slice */
    struct buf               rows;    /* rendered before its turn, each with its length in front */
    const struct raw_record *records;
    struct item             *items;
    size_t                   count, ahead; /* ahead: items whose rows are in `rows` */
    uint64_t                 crowded;   /* out: mark of the record whose row alone is too large, or ATTEMPT_NONE */
    uint64_t                 warnings;  /* out, since slice_forget: rows of them */
    int64_t                  parse_us, render_us; /* out: by the clock, on whichever thread */
};

/* How many of the records make the next slice; at least one. */
size_t slice_records(const struct raw_record *records, size_t count);
void   slice_begin(struct slice *slice, const struct raw_record *records, size_t count);

/* As normalize_item. */
int slice_parse(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err) must_check;
/* As render_event. Rows that find no room are slice_put's. */
int slice_ahead(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err) must_check;
/* And what the sink says. */
int slice_put(const struct passes *passes, struct slice *slice, const struct hand *hand, struct err *err) must_check;

#endif
