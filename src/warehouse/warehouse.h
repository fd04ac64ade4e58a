/* warehouse/warehouse.h - where rows are kept to be queried.
 *
 * Tables and columns are those of event/row.h. Rows are appended in batches; a batch and the loader's
 * cursors into the log are one transaction (design D4).
 * Two backends (warehouse/warehouse_backend.h), of which options say one:
 *   DuckDB in DIR/warehouse.duckdb, its library loaded at run time (warehouse/duckdb.h). One process opens the file;
 *     others ask it (load/query_socket)
 *   ClickHouse by its HTTP interface (warehouse/clickhouse.h). Each unit of the log is loaded by one process, with a
 *     warehouse of its own; there is no transaction over tables, so Q1 is kept in another way: a batch is noted, sent
 *     and noted as done, and one that was noted alone is to be made again, the same one (warehouse_place.again)
 *  Q1  after warehouse_commit returned 0 the rows and the cursors are durable, both or neither
 *  Q2  persons, person_distinct_ids, groups, event_definitions and property_definitions hold one row a key: the
 *      one of the highest version
 *  Q3  text columns hold the bytes that were given
 * @thread one loader; queries run beside it, each in its own struct warehouse_query */
#ifndef PENSTOCK_WAREHOUSE_WAREHOUSE_H
#define PENSTOCK_WAREHOUSE_WAREHOUSE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/stores.h"
#include "event/row.h"

struct warehouse;

struct warehouse_options {
    const struct warehouse_settings *settings; /* which backend; borrowed while it is open; NULL: DuckDB */
    bool        read_only;      /* for queries while nothing serves; of ClickHouse: only queries */
    uint32_t    unit;           /* ClickHouse: the partition whose rows are loaded */
    /* DuckDB */
    const char *path;           /* DIR/warehouse.duckdb */
    const char *library;        /* libduckdb.so; NULL: beside the binary, in ../lib/penstock, then as the system finds it */
    uint64_t    memory_bytes;   /* what the engine may use; 0: 256 MiB */
    unsigned    threads;        /* 0: 1 */
    unsigned    hurry_threads;  /* warehouse_hurry's; below 2: it does nothing */
};

/* Creates the tables when missing. ERR_RETRY: another process has the file open, or the server is away. ERR_CORRUPT: its
 * write-ahead log cannot be replayed. */
int  warehouse_open(const struct warehouse_options *options, struct warehouse **out, struct err *err) must_check;
void warehouse_close(struct warehouse *warehouse);

/* --- loading ----------------------------------------------------------------------------------- */

/* Of the cursors, that of the topic which brings orders to erase: its place is the order's name. */
enum { WAREHOUSE_CURSORS_MAX = 8, WAREHOUSE_ORDERS = 7 };
/* The cursors as last committed, by the loader's own numbering of topics; zeros at first. Also the number
 * of rows ever loaded, by table. */
struct warehouse_place {
    uint64_t next[WAREHOUSE_CURSORS_MAX];
    uint64_t loaded[ROW_TABLE_COUNT];
    /* A batch from `next` up to here may be there in part. It must be made again: of each topic exactly the records before
     * `until`, in one batch, before anything else. What is there of it is left out. */
    bool     again;
    uint64_t until[WAREHOUSE_CURSORS_MAX];
};
int warehouse_place(struct warehouse *warehouse, struct warehouse_place *out, struct err *err) must_check;
/* Up to where rows of another unit are there, all of them; zeros: nobody loaded it yet. A DuckDB has one unit. */
int warehouse_place_of(struct warehouse *warehouse, uint32_t unit, uint64_t next_out[WAREHOUSE_CURSORS_MAX], struct err *err) must_check;

/* Rows that are stored as one piece. A batch with at least so many rows of a table is written to the file
 * as it will stay there; a smaller one goes through the write-ahead log and is written again by a
 * checkpoint. So batches of events are cheapest in multiples of this. */
enum { WAREHOUSE_GROUP_ROWS = 8192 };

/* From here on many rows wait: they are taken by several threads, which costs more CPU a row, more memory (some 30 MiB a
 * thread) and less time; or they do not any more. No batch may be open. What the engine refuses is told by the commit. */
void warehouse_hurry(struct warehouse *warehouse, bool on);

/* Adds a row to the open batch (begun by the first add). row's spans are borrowed until return.
 * ERR_INPUT: this row is refused, the batch stands without it. Other failures: roll back. */
int warehouse_add(struct warehouse *warehouse, const struct row *row, struct err *err) must_check;
/* Rows in the open batch. */
size_t warehouse_pending(const struct warehouse *warehouse);
/* Those of one table. */
size_t warehouse_pending_of(const struct warehouse *warehouse, enum row_table table);
/* The open batch should be committed before more is added: it is as large as memory, or the engine, likes. */
bool warehouse_full(const struct warehouse *warehouse);
/* For so long rows should be gathered before they are committed; 0: as the caller likes. Grows while the engine has more
 * small pieces than it can put together. */
int64_t warehouse_pace_us(const struct warehouse *warehouse);
/* Q1. place->loaded is filled in by this call. ERR_INPUT: some row of the batch is not taken by the engine.
 * On failure the batch is rolled back and forgotten: read the
 * place again and start from there. */
int warehouse_commit(struct warehouse *warehouse, struct warehouse_place *place, struct err *err) must_check;
void warehouse_rollback(struct warehouse *warehouse);
/* After a commit that failed: what the engine holds is not what the file holds. Closing would put it there, so the process
 * must end without; the next opening counts the rows. */
bool warehouse_in_doubt(const struct warehouse *warehouse);

/* --- taking out ---------------------------------------------------------------------------------- */

struct warehouse_erased {
    uint64_t events, dead_letters, warnings, heatmaps; /* rows */
};
/* An order to erase a person, by where it stands in its topic. */
struct warehouse_order { uint64_t offset; struct uuid person; };
/* So many orders of one project, each for another person, may be carried out together. 1: nothing is gained by it. */
enum { WAREHOUSE_ERASE_MAX = 100 };
size_t warehouse_erase_max(const struct warehouse *warehouse);
/* Which orders are carried out together, from the one at `first` on: it must be the same ones whenever that is begun again. *until_in_out:
 * behind the last one; becomes what a first attempt had fixed, if there was one. In with 0: only asks; out with 0: nothing is fixed. */
int warehouse_erase_fix(struct warehouse *warehouse, uint64_t first, uint64_t *until_in_out, struct err *err) must_check;
/* The place that was committed last stands at the first order in WAREHOUSE_ORDERS: begun again, it is the same order.
 * Begins a batch (none may be open) in which every row of these deleted persons goes, in all tables: events by person and by
 * each of its ids. each_out: what went for each; what two would take went for the first. The caller adds what it has to add, and
 * commits, or rolls back. */
int warehouse_erase(struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders, size_t count,
                    struct warehouse_erased *each_out, struct err *err) must_check;
/* The same with the project's events from before an instant. */
int warehouse_expire(struct warehouse *warehouse, uint32_t project, int64_t before_us, struct warehouse_erased *out,
                     struct err *err) must_check;
/* Rows were taken out whose bytes are still in the file. */
int warehouse_wants_rewrite(struct warehouse *warehouse, bool *out, struct err *err) must_check;
/* Writes the file anew, and with it only what it holds: as long as a copy takes, and with as much room on the disk. The
 * file must be closed. Killed at any instant, either the old file is there or the new one. */
int warehouse_rewrite(const struct warehouse_options *options, struct err *err) must_check;

/* --- asking ------------------------------------------------------------------------------------ */

enum warehouse_format { WAREHOUSE_CSV, WAREHOUSE_JSON, WAREHOUSE_TABLE };

/* Gets the output in pieces; -1 stops the query. */
typedef int warehouse_write(void *ctx, struct span piece, struct err *err);

/* Runs one read-only statement and writes its result: CSV with a header line (RFC 4180), a JSON array of
 * objects (64-bit integers as numbers, JSON columns as text strings, times as ISO text), or an aligned
 * table for people. ERR_INPUT: what the engine said, for a wrong or a writing statement.
 * @thread any; one query at a time each call; may take long: `cancel` (may be NULL) is looked at. */
int warehouse_query(struct warehouse *warehouse, const char *sql, enum warehouse_format format, warehouse_write *write,
                    void *ctx, const atomic_bool *cancel, struct err *err) must_check;

#endif
