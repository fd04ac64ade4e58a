/* warehouse/query_render.h - a query's rows as CSV, as JSON, or as a table for people.
 *
 * Cells arrive as the engine's own text of each value, so that nothing is rounded on the way; what JSON
 * writes without quotes follows from the column's type. Rows leave in pieces of about PIECE_BYTES.
 *
 *   CSV    RFC 4180 with a header line, lines end in CR LF; NULL is an empty field, an empty text is ""
 *   JSON   an array of objects, one a line; numbers of every width as they are, digit for digit; infinities,
 *          NaN, times, UUIDs, lists and structs are text strings
 *   TABLE  columns as wide as in the first piece; what a terminal would obey is escaped (base/terminal.h), so that no
 *          stored text can steer that of whoever looks at it
 * One thread. */
#ifndef PENSTOCK_WAREHOUSE_QUERY_RENDER_H
#define PENSTOCK_WAREHOUSE_QUERY_RENDER_H

#include "warehouse/duckdb.h"
#include "warehouse/warehouse.h"

enum { RENDER_COLUMNS_MAX = 4096 };

struct render_column {
    const char *name; /* borrowed for the render's life */
    bool        number, boolean; /* JSON: without quotes */
    size_t      width;
};

struct render_cell {
    bool        null;
    struct span text;
};

struct render {
    enum warehouse_format format;
    warehouse_write      *write;
    void                 *ctx;
    size_t                count;
    struct render_column *columns; /* borrowed */
    struct buf            out;
    bool                  begun;
    uint64_t              rows;
};

void render_init(struct render *render, enum warehouse_format format, struct render_column *columns, size_t count,
                 warehouse_write *write, void *ctx);
void render_fini(struct render *render);
/* One chunk whose columns are all VARCHAR. ERR_FULL: a row is larger than RENDER_PIECE_MAX. Else what
 * `write` said. */
int render_chunk(struct render *render, const struct duckdb *duckdb, duckdb_data_chunk chunk, struct err *err)
    must_check;
/* The same of cells that stand one row after another. */
int render_rows(struct render *render, const struct render_cell *cells, size_t rows, struct err *err) must_check;
/* What belongs after the last row (and before the first, when there was none). */
int render_end(struct render *render, struct err *err) must_check;

#endif
