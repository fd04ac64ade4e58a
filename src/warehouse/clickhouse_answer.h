/* warehouse/clickhouse_answer.h - ClickHouse's tab-separated answer, with names and types, to the renderer that DuckDB's go through: CSV,
 * JSON and tables look the same. Pieces may end anywhere. @thread one */
#ifndef PENSTOCK_WAREHOUSE_CLICKHOUSE_ANSWER_H
#define PENSTOCK_WAREHOUSE_CLICKHOUSE_ANSWER_H

#include "warehouse/query_render.h"

struct clickhouse_answer {
    struct render         render;
    enum warehouse_format format;
    warehouse_write      *write;
    void                 *ctx;
    struct buf            line;  /* what is not a whole line yet, and cells of lines that are not rendered yet */
    struct buf            names;
    struct render_column *columns;
    size_t                count;
    unsigned              head;  /* lines of it that came: names, types */
    bool                  begun;
};

void clickhouse_answer_init(struct clickhouse_answer *answer, enum warehouse_format format, warehouse_write *write, void *ctx);
void clickhouse_answer_fini(struct clickhouse_answer *answer);
/* A warehouse_write: ctx is the answer. */
int  clickhouse_answer_piece(void *ctx, struct span piece, struct err *err) must_check;
/* ERR_INPUT: there were no columns. */
int  clickhouse_answer_end(struct clickhouse_answer *answer, struct err *err) must_check;

/* clickhouse_query.c: how many bytes of sql are the statement. ERR_INPUT: it is not one that may be asked. */
int clickhouse_statement(const char *sql, size_t *bytes_out, struct err *err) must_check;

#endif
