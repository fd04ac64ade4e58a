/* warehouse/warehouse_backend.h - the seam: what each backend of the warehouse gives. Nobody outside the folder includes it.
 *
 * The object that callers hold begins with a pointer to its backend's functions; what else is in it only its own files
 * know (warehouse/engine.h for DuckDB, warehouse/clickhouse.h). So the embedded path pays one indirect call a row. */
#ifndef PENSTOCK_WAREHOUSE_WAREHOUSE_BACKEND_H
#define PENSTOCK_WAREHOUSE_WAREHOUSE_BACKEND_H

#include "warehouse/warehouse.h"

struct warehouse_backend {
    void (*close)(struct warehouse *);
    int (*place)(struct warehouse *, struct warehouse_place *, struct err *);
    int (*place_of)(struct warehouse *, uint32_t, uint64_t *, struct err *); /* NULL: there are no other units */
    void (*hurry)(struct warehouse *, bool); /* NULL: it knows no other way */
    int (*add)(struct warehouse *, const struct row *, struct err *);
    size_t (*pending)(const struct warehouse *);
    size_t (*pending_of)(const struct warehouse *, enum row_table);
    bool (*full)(const struct warehouse *);
    int64_t (*pace_us)(const struct warehouse *);
    int (*commit)(struct warehouse *, struct warehouse_place *, struct err *);
    void (*rollback)(struct warehouse *);
    bool (*in_doubt)(const struct warehouse *); /* NULL: never */
    int (*erase_fix)(struct warehouse *, uint64_t, uint64_t *, struct err *); /* NULL: an order at a time */
    int (*erase)(struct warehouse *, uint32_t, const struct warehouse_order *, size_t, struct warehouse_erased *, struct err *);
    int (*expire)(struct warehouse *, uint32_t, int64_t, struct warehouse_erased *, struct err *);
    int (*wants_rewrite)(struct warehouse *, bool *, struct err *);
    int (*query)(struct warehouse *, const char *, enum warehouse_format, warehouse_write *, void *, const atomic_bool *,
                 struct err *);
};

/* warehouse.c and clickhouse.c: as warehouse_open. */
int engine_open(const struct warehouse_options *options, struct warehouse **out, struct err *err) must_check;
int clickhouse_open(const struct warehouse_options *options, struct warehouse **out, struct err *err) must_check;
/* erase.c: as warehouse_rewrite, DuckDB alone. */
int engine_rewrite(const struct warehouse_options *options, struct err *err) must_check;

#endif
