/* warehouse/clickhouse_erase.h - orders that are carried out together at ClickHouse, and what is counted of them. Only the files
 * of the backend include it.
 *
 *   clickhouse_erase.c        what goes, from which tables
 *   clickhouse_erase_count.c  how many rows will go, kept before they do; which orders go together
 *
 * Rows of penstock_erased, `erasure` first:
 *   UNIT-OFFSET, table    rows of this table that go for the order at OFFSET, by hour of acceptance
 *   UNIT-OFFSET, ''       all tables are counted: from here on rows may go
 *   UNIT-OFFSET+, ''      the order at OFFSET is the first of those before `rows` that are carried out together
 *  E1  which orders go together is fixed before anything is counted, and counted before anything goes; begun again, all of it is
 *      as it was the first time
 *  E2  a row that several orders would take is counted for the first of them alone */
#ifndef PENSTOCK_WAREHOUSE_CLICKHOUSE_ERASE_H
#define PENSTOCK_WAREHOUSE_CLICKHOUSE_ERASE_H

#include "warehouse/clickhouse.h"

struct erasure {
    struct warehouse             *warehouse;
    uint32_t                      project;
    const struct warehouse_order *orders;
    size_t                        count;
    bool                          counted; /* all of them: an attempt before this one got so far */
    struct buf                    persons; /* 'UUID','UUID': theirs; empty: the order is not about persons */
    struct buf                    names;   /* 'UNIT-OFFSET','UNIT-OFFSET' */
};

int  erasure_init(struct erasure *erasure, struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders,
                  size_t count, bool persons, struct err *err) must_check;
void erasure_fini(struct erasure *erasure);

/* Of each row of a table: where a distinct id, a person's uuid as text may stand. NULL-ended; both NULL: all rows are the first order's. */
struct erasure_table {
    const char        *name;
    const char        *accepted; /* when the event was accepted */
    const char        *events;   /* how many accepted events the rows stood for */
    const char *const *ids, *const *uuids;
};

/* Counts what of a table will go, unless that was done before (E1). */
int erasure_count(const struct erasure *erasure, const struct erasure_table *table, struct span where, struct err *err) must_check;
/* All tables are counted. */
int erasure_counted(const struct erasure *erasure, struct err *err) must_check;
/* What was counted of each order; adds it up in *all_out, too. */
int erasure_read(const struct erasure *erasure, struct warehouse_erased *each_out, struct warehouse_erased *all_out, struct err *err)
    must_check;

/* clickhouse_erase.c: runs what is in `sql`, and empties it. */
int erasure_run(struct warehouse *warehouse, struct buf *sql, const struct clickhouse_setting *settings, struct err *err) must_check;
/* " FROM ... WHERE ..." of the rows that say which ids the persons had when they were deleted. */
void erasure_add_ids_of(struct buf *sql, const struct erasure *erasure);

#endif
