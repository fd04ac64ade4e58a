/* warehouse/clickhouse.h - what the files of the ClickHouse backend share. Nobody else includes it.
 *
 *   clickhouse.c         opening, the open batch's size, the functions of warehouse.h
 *   clickhouse_http.c    one request: statement, settings, body; what the server said
 *   clickhouse_schema.c  tables, views, migrations (warehouse/clickhouse_schema.h)
 *   clickhouse_row.c     a row of event/row.h in the form RowBinary
 *   clickhouse_batch.c   rows of the open batch, packed by table
 *   clickhouse_commit.c  note, send, note as done; what is there already
 *   clickhouse_place.c   the notes
 *   clickhouse_erase.c   rows that must go (clickhouse_erase.h)
 *   clickhouse_query.c   other people's SQL, read only
 *
 * Exactly once without a transaction (docs/decisions/clickhouse-exactly-once.md):
 *  B1  before any row of a batch is sent, the batch's range of each topic is noted in penstock_blocks
 *  B2  rows carry where they come from: unit, topic, offset. A batch that was noted and not noted as done is made again
 *      from the same range; rows that are there are left out, and what is sent has the token it had
 *  B3  a note is itself inserted with a token, of unit and number: of two processes that believe that a unit is theirs one
 *      has its note dropped, sees that, and does nothing */
#ifndef PENSTOCK_WAREHOUSE_CLICKHOUSE_H
#define PENSTOCK_WAREHOUSE_CLICKHOUSE_H

#include <curl/curl.h>

#include "warehouse/warehouse_backend.h"

enum { CLICKHOUSE_NAME_BYTES = 128, CLICKHOUSE_COLUMNS_MAX = 64, CLICKHOUSE_SQL_BYTES_MAX = 1 << 20 };

/* --- clickhouse_http.c ---------------------------------------------------------------------------- */

struct clickhouse_setting { const char *name, *value; };

struct clickhouse_link {
    CURL              *curl;
    struct curl_slist *headers, *headers_packed; /* the second say that a body is LZ4 */
    const char        *url, *database, *tls_ca;  /* borrowed */
    int                code;                     /* the server's, of the last refusal; 0: it did not say one */
    bool               answered;                 /* the last request was refused by the server, and is over there */
};

/* Texts are borrowed for the link's life, but for user and password. database NULL: none; tls_ca "": the system's. */
int  clickhouse_link_init(struct clickhouse_link *link, const struct warehouse_settings *settings, const char *password,
                          const char *database, struct err *err) must_check;
void clickhouse_link_fini(struct clickhouse_link *link);
/* Runs one statement; its answer goes into out (may be NULL). body: data behind the statement, an LZ4 frame; empty: none.
 * settings end with a NULL name; NULL: none. ERR_RETRY: away or busy; ERR_FULL: no memory or disk there (code tells);
 * ERR_INPUT: what was sent is wrong; ERR_STOP: the tables are not as they were when this began. */
int  clickhouse_run(struct clickhouse_link *link, const char *sql, const struct clickhouse_setting *settings, struct span body,
                    struct buf *out, struct err *err) must_check;
/* The same, and the answer goes to `write` in pieces. cancel may be NULL. */
int  clickhouse_stream(struct clickhouse_link *link, const char *sql, const struct clickhouse_setting *settings,
                       warehouse_write *write, void *ctx, const atomic_bool *cancel, struct err *err) must_check;
/* The first column of the first row as a number. */
int  clickhouse_number(struct clickhouse_link *link, const char *sql, uint64_t *out, struct err *err) must_check;
/* 'text' with what needs it escaped. */
void clickhouse_quote(struct buf *sql, struct span text);

/* --- the open batch --------------------------------------------------------------------------------- */

/* Where a row comes from. */
struct clickhouse_source { uint64_t offset; uint8_t topic; };

struct clickhouse_table {
    uint64_t columns;         /* which of clickhouse_columns the server's table takes, by bits; fixed after open */
    char    *insert;          /* "INSERT INTO ... FORMAT RowBinary"; fixed after open */
    struct buf raw;           /* rows that are not packed yet */
    struct buf packed;        /* LZ4 frame, not ended */
    bool       begun;         /* the frame is */
    uint64_t   packed_raw;    /* bytes that went into it */
    uint64_t   rows;          /* in raw and packed */
    struct buf ends;          /* u64 a row: where it ends in the unpacked bytes */
    struct buf sources;       /* struct clickhouse_source a row */
    uint64_t   batch_rows;    /* with those that were there already */
    struct clickhouse_source *there; /* sorted: rows of a batch that is made again; NULL: none */
    size_t     there_count;
};

struct warehouse {
    const struct warehouse_backend *backend; /* first: warehouse/warehouse_backend.h */
    uint32_t                magic;
    /* fixed after open */
    struct warehouse_options options;
    const char             *database, *cluster; /* of the settings; cluster NULL: none */
    char                    views[CLICKHOUSE_NAME_BYTES];
    char                    password[SECRET_BYTES_MAX + 1]; /* as it was when this was opened */
    struct clickhouse_link  link;     /* @thread loader */
    struct uuid             writer;   /* who this is, in notes */
    /* @thread loader */
    struct clickhouse_table tables[ROW_TABLE_COUNT];
    size_t                  batch_rows;
    uint64_t                batch_bytes; /* unpacked */
    int64_t                 now_us;      /* of the wall clock, some rows ago at most */
    struct warehouse_place  place;       /* as noted last */
    uint64_t                step;        /* of penstock_blocks: twice the batch's number, one more when it is done */
    uint64_t                noted[ROW_TABLE_COUNT]; /* rows of a batch that is to be made again */
    bool                    placed;
    uint64_t                clamped;     /* instants of the open batch that no column holds as they are */
    int64_t                 pace_us;
    unsigned                commits;     /* since the parts were counted */
};
enum { CLICKHOUSE_MAGIC = 0xc11c4001 };

/* --- clickhouse_row.c ------------------------------------------------------------------------------- */

enum clickhouse_type { /* as RowBinary writes them */
    CLICKHOUSE_I8, CLICKHOUSE_I16, CLICKHOUSE_U8, CLICKHOUSE_I64, CLICKHOUSE_BOOL, CLICKHOUSE_MODE /* Enum8 */,
    CLICKHOUSE_TIME6, CLICKHOUSE_TIME3, CLICKHOUSE_UUID, CLICKHOUSE_TEXT,
    CLICKHOUSE_NULLABLE = 16 /* added to one of those */
};
/* Cells that no row has. */
enum { CLICKHOUSE_NOW = -1, CLICKHOUSE_OFFSET = -2, CLICKHOUSE_UNIT = -3, CLICKHOUSE_TOPIC = -4 };

struct clickhouse_column { const char *name; int cell; int type; const char *sql; /* type and default */ };
struct clickhouse_columns {
    const char *table;    /* its name at the server */
    const char *rest;     /* columns that the server works out, indices */
    const char *engine;   /* behind the name's prefix: "ReplacingMergeTree(version)" */
    const char *order;    /* PARTITION BY, ORDER BY, SAMPLE BY */
    const char *shard;    /* by what rows are spread */
    bool        keyed;    /* one row a key: what comes twice does no harm */
    size_t      count;
    const struct clickhouse_column *columns;
};
extern const struct clickhouse_columns clickhouse_columns[ROW_TABLE_COUNT];

/* Adds the row in the form RowBinary, those columns of it that are in `which`. It was checked, but for its packed properties.
 * Counts instants that had to be moved into what the column holds. ERR_INPUT: properties are damaged; nothing was added. */
int clickhouse_row_write(struct buf *out, const struct row *row, uint64_t which, uint32_t unit, int64_t now_us,
                         uint64_t *clamped, struct err *err) must_check;

/* --- clickhouse_batch.c ----------------------------------------------------------------------------- */

int  clickhouse_add(struct warehouse *warehouse, const struct row *row, struct err *err) must_check;
/* Ends the frame; what is to be sent is table->packed. */
int  clickhouse_pack_end(struct clickhouse_table *table, struct err *err) must_check;
void clickhouse_rollback(struct warehouse *warehouse);
/* Empty again, memory kept or (all) given back. */
void clickhouse_tables_reset(struct warehouse *warehouse, bool all);
/* Unpacks everything of an ended frame. */
int  clickhouse_unpack(const struct clickhouse_table *table, struct buf *out, struct err *err) must_check;
/* An LZ4 frame of these bytes behind what is in out. */
int  clickhouse_pack(struct span bytes, struct buf *out, struct err *err) must_check;

/* --- clickhouse_place.c ----------------------------------------------------------------------------- */

int  clickhouse_place(struct warehouse *warehouse, struct warehouse_place *out, struct err *err) must_check;
int clickhouse_place_of(struct warehouse *warehouse, uint32_t unit, uint64_t *next_out, struct err *err) must_check;
/* B1, B3. ERR_STOP: the unit is another process's by now. */
int  clickhouse_note(struct warehouse *warehouse, const struct warehouse_place *place, const uint64_t rows[ROW_TABLE_COUNT],
                     struct err *err) must_check;
int  clickhouse_note_done(struct warehouse *warehouse, const struct warehouse_place *place, struct err *err) must_check;

/* --- clickhouse_commit.c ---------------------------------------------------------------------------- */

int  clickhouse_commit(struct warehouse *warehouse, struct warehouse_place *place, struct err *err) must_check;
/* Finds out what is there of a batch that is to be made again. */
int  clickhouse_find_there(struct warehouse *warehouse, struct err *err) must_check;

/* --- the rest ------------------------------------------------------------------------------------------ */

int  clickhouse_erase_fix(struct warehouse *warehouse, uint64_t first, uint64_t *until_in_out, struct err *err) must_check;
int  clickhouse_erase(struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders, size_t count,
                      struct warehouse_erased *each_out, struct err *err) must_check;
int  clickhouse_expire(struct warehouse *warehouse, uint32_t project, int64_t before_us, struct warehouse_erased *out,
                       struct err *err) must_check;
int  clickhouse_query(struct warehouse *warehouse, const char *sql, enum warehouse_format format, warehouse_write *write,
                      void *ctx, const atomic_bool *cancel, struct err *err) must_check;

#endif
