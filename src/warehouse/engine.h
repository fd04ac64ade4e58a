/* warehouse/engine.h - what the files of the DuckDB backend share. Nobody else includes it.
 *
 *   warehouse.c  the file, its tables, the loader's place
 *   append.c     the open batch: rows into column vectors, commit
 *   feed.c       column vectors into tables
 *   hurry.c      the same on several threads, when many rows wait
 *   settle.c     tables of one row a key: what is recent, what is settled
 *   names.c      the files' names, durable
 *   wal_tail.c   before opening: what was not committed is cut off the write-ahead log
 *   recount.c    after a crash: every row once
 *   erase.c      rows that must go, and their bytes
 *   query.c      other people's SQL, read only
 *
 * The loader has one connection and one open transaction; each query has its own connection. */
#ifndef PENSTOCK_WAREHOUSE_ENGINE_H
#define PENSTOCK_WAREHOUSE_ENGINE_H

#include "base/arena.h"
#include "warehouse/warehouse_backend.h"
#include "warehouse/duckdb.h"

/* What the attached file is called in SQL: the database that every connection uses. */
#define ENGINE_DATABASE "warehouse"

enum { ENGINE_PATH_BYTES = 4096 };

/* Chunks that go to the engine together: a row group of events, because an insert costs 0.6 ms whatever it brings. */
enum { ENGINE_CHUNKS = 4 };

/* Columns of ours behind those of row.h: events have inserted_at, rows of a key the number of their arrival. */
enum { ENGINE_COLUMNS_MAX = ROW_CELLS_MAX + 1, ENGINE_NAME_BYTES = 80 };

/* Sets of chunks of a table that are on their way at once, in a hurry; else there is one. Two more than there are threads, as far as
 * that goes: the one that is being filled, and the next. */
enum { ENGINE_SETS = 8 };

/* Rows that go to the engine together. Of whoever has it: the loader, or while it is away (hurry.c) a thread of the engine. */
struct engine_set {
    enum row_table    table;
    duckdb_data_chunk chunks[ENGINE_CHUNKS]; /* NULL: not needed yet */
    uint32_t          rows[ENGINE_CHUNKS];
    unsigned          filling; /* the last of them that has rows, or is being filled */
    struct arena     *texts;   /* what the chunks' strings point to */
    bool              away;    /* @lock hurry */
};

/* The part of the open batch that goes to one table. @thread loader */
struct engine_table {
    duckdb_prepared_statement insert; /* takes sets into the table; NULL: made by the first that it takes */
    duckdb_logical_type types[ENGINE_COLUMNS_MAX];
    struct engine_set   sets[ENGINE_SETS];
    struct engine_set  *set;      /* that is being filled; NULL: none yet */
    struct engine_set  *passed;   /* to the insert that runs; not in a hurry */
    void               *data[ENGINE_COLUMNS_MAX];  /* of the chunk that is being filled, as is valid */
    uint64_t           *valid[ENGINE_COLUMNS_MAX]; /* NULL: no null in this column of this chunk */
    uint32_t            chunk_rows;                /* in the chunk that is being filled */
    uint64_t            batch_rows;
};

/* What a table's function (feed.c) is about. */
struct engine_feed { struct warehouse *warehouse; enum row_table id; };

struct engine_hurry; /* hurry.c */

struct warehouse {
    const struct warehouse_backend *backend; /* first: warehouse/warehouse_backend.h */
    uint32_t            magic;
    /* fixed after open */
    struct duckdb       duckdb;
    duckdb_database     database;
    bool                read_only;
    uint32_t            chunk_rows_max;
    unsigned            hurry_threads;
    char                path[ENGINE_PATH_BYTES];
    /* @thread loader */
    duckdb_connection   loader;
    duckdb_connection   hurrier;   /* what loader is in a hurry, and the other way round; NULL: there is never one */
    idx_t               loader_id; /* the loader's connection */
    struct engine_table tables[ROW_TABLE_COUNT];
    struct engine_feed  feeds[ROW_TABLE_COUNT]; /* fixed after open */
    struct engine_hurry *hurry; /* NULL: there is none */
    bool                in_batch, in_doubt;
    size_t              batch_rows;
    bool                refused;  /* an earlier row of the batch was, by the engine: the commit says so */
    struct err          refusal;
    uint64_t            loaded[ROW_TABLE_COUNT]; /* as last committed */
    uint64_t            settled[ROW_TABLE_COUNT], recent[ROW_TABLE_COUNT]; /* rows, of tables with a key (settle.c) */
    bool                names_synced;
    uint64_t            wal_inode; /* whose name is durable; 0: there was none */
};
enum { WAREHOUSE_MAGIC = 0x77a4e401 };

/* Which rows are the same row, for tables that hold one row a key (Q2). NULL for the others. */
const char *const *engine_table_keys(enum row_table table);

/* Runs statements and throws their results away. */
int engine_run(const struct warehouse *warehouse, duckdb_connection connection, const char *sql, struct err *err)
    must_check;
/* Sets err from what the engine said; -1. The kind follows from the class the text begins with. */
int engine_err(struct err *err, const char *doing, const char *said);

/* names.c: makes the names of the file and its write-ahead log durable, when one of them is new. */
int engine_names_sync(struct warehouse *warehouse, struct err *err) must_check;
/* wal_tail.c: before the file is attached for writing. Does nothing while another process has it. */
int engine_wal_cut(const struct warehouse *warehouse, struct err *err) must_check;
/* The bytes of a write-ahead log up to the end of its last mark, or of its head; 0: it does not look as expected. */
uint64_t wal_marked_bytes(int fd, uint64_t bytes);

/* The functions of warehouse.h, as this backend does them. */
void    engine_close(struct warehouse *warehouse);
int     engine_place(struct warehouse *warehouse, struct warehouse_place *out, struct err *err) must_check;
int     engine_add(struct warehouse *warehouse, const struct row *row, struct err *err) must_check;
size_t  engine_pending(const struct warehouse *warehouse);
size_t  engine_pending_of(const struct warehouse *warehouse, enum row_table table);
int     engine_commit(struct warehouse *warehouse, struct warehouse_place *place, struct err *err) must_check;
void    engine_rollback(struct warehouse *warehouse);
bool    engine_in_doubt(const struct warehouse *warehouse);
int     engine_erase(struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders, size_t count, struct warehouse_erased *out,
                     struct err *err) must_check;
int     engine_expire(struct warehouse *warehouse, uint32_t project, int64_t before_us, struct warehouse_erased *out,
                      struct err *err) must_check;
int     engine_wants_rewrite(struct warehouse *warehouse, bool *out, struct err *err) must_check;
int     engine_query(struct warehouse *warehouse, const char *sql, enum warehouse_format format, warehouse_write *write, void *ctx,
                     const atomic_bool *cancel, struct err *err) must_check;

/* warehouse.c: the file, in an engine that may open another one beside it; for warehouse_rewrite. */
int engine_open_plain(const struct warehouse_options *options, struct warehouse **out, struct err *err) must_check;
/* recount.c: holds the tables against the place after a crash, and takes out what stands twice. */
int engine_recount(struct warehouse *warehouse, const struct warehouse_place *place, struct err *err) must_check;

/* append.c: frees statements, chunks and arenas; the transaction is not its business. */
void engine_tables_fini(struct warehouse *warehouse);

/* Columns in a table's chunk, which are those of row.h and ours behind them, and what they are called. */
size_t      engine_chunk_columns(enum row_table table);
const char *engine_chunk_column(enum row_table table, size_t column);
/* Where its rows are appended: the table itself, or NAME_recent. */
void        engine_feed_table(enum row_table table, char name[ENGINE_NAME_BYTES]);

/* The number that a statement answers. */
int engine_count(const struct warehouse *warehouse, const char *sql, uint64_t *out, struct err *err) must_check;

/* settle.c. adopt: before the tables are made; count: after, and whenever a table was settled.
 * due: this batch should settle the table, by the statements of settle_sql at its end. */
int  engine_settle_adopt(struct warehouse *warehouse, struct err *err) must_check;
int  engine_settle_count(struct warehouse *warehouse, enum row_table id, struct err *err) must_check;
bool engine_settle_due(const struct warehouse *warehouse, enum row_table id);
void engine_settle_sql(struct buf *sql, enum row_table id);
void engine_settle_view_sql(struct buf *sql, enum row_table id);

/* feed.c: makes the function that the inserts read from, once after opening. */
int engine_feed_init(struct warehouse *warehouse, struct err *err) must_check;
/* Sets of this table, as engine_set_take gives them, are in the table when this returns; nothing of them is needed any more.
 * table->types must be there. @thread loader, or in a hurry the inserter */
int engine_feed(struct warehouse *warehouse, enum row_table id, struct err *err) must_check;
idx_t engine_feed_connection(const struct warehouse *warehouse, duckdb_connection connection);
/* inserted_at of the set's events. */
void engine_feed_stamp(const struct duckdb *duckdb, const struct engine_set *set);

/* hurry.c. As warehouse_hurry. */
void engine_hurry(struct warehouse *warehouse, bool on);
/* Gives the table's set away, in a hurry, and makes another one table->set, when one is free. */
void engine_hurry_give(struct warehouse *warehouse, enum row_table id);
/* In a hurry: waits until all that was given away is in the tables, or tells why not; then nobody else uses the connection. */
int  engine_hurry_drain(struct warehouse *warehouse, struct err *err) must_check;
void engine_hurry_abandon(struct warehouse *warehouse); /* the same, for a batch that is given up */
/* What the running insert takes next; NULL: it ends. done: its rows were taken. @thread the engine's */
struct engine_set *engine_set_take(struct warehouse *warehouse, enum row_table id);
void               engine_set_done(struct warehouse *warehouse, struct engine_set *set);

#endif
