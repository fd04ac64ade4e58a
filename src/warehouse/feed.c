/* warehouse/feed.c - column vectors into tables, by an INSERT that reads them where they are.
 *
 * For each table there is a table function, and a prepared INSERT ... SELECT from it. Running the statement
 * makes the engine ask the function for rows, and it answers with vectors that refer to those of our chunk: a
 * value is copied once, from our memory to where the table keeps it. The engine's appender, which is the
 * documented way, copies rows into a collection first and plans a statement anew whenever that is flushed
 * (what it costs: docs/decisions/warehouse-duckdb.md).
 *
 * Every connection sees the functions, and only the loader's may have the rows: bind looks at who asks. */
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "warehouse/engine.h"

enum { INSERT_BYTES_MAX = 16 << 10 };

/* A callback gets nothing but the engine's own object, and which function of the library takes our pointer out
 * of it is known at run time only. Written at each opening, always with the same values. */
typedef void *extra_of_bind(duckdb_bind_info);
typedef void *extra_of_run(duckdb_function_info);
static _Atomic(extra_of_bind *) bind_extra;
static _Atomic(extra_of_run *) run_extra;

static void feed_name(enum row_table id, char name[ENGINE_NAME_BYTES])
{
    snprintf(name, ENGINE_NAME_BYTES, "penstock_feed_%s", row_tables[id].name);
}

void engine_feed_table(enum row_table id, char name[ENGINE_NAME_BYTES])
{
    snprintf(name, ENGINE_NAME_BYTES, "%s%s", row_tables[id].name, engine_table_keys(id) != NULL ? "_recent" : "");
}

/* --- what the engine calls --------------------------------------------------------------------- */

/* @thread any: a query may name the function. */
static void feed_bind(duckdb_bind_info info)
{
    const struct engine_feed *feed = atomic_load(&bind_extra)(info);
    const struct duckdb      *duckdb = &feed->warehouse->duckdb;
    duckdb_client_context     context = NULL;
    bool                      ours;

    duckdb->table_function_get_client_context(info, &context);
    ours = duckdb->client_context_get_connection_id(context) == feed->warehouse->loader_id;
    duckdb->destroy_client_context(&context);
    if (!ours) {
        duckdb->bind_set_error(info, "this function feeds the loader's tables, and nobody else may call it");
        return;
    }
    for (size_t i = 0; i < engine_chunk_columns(feed->id); i++)
        duckdb->bind_add_result_column(info, engine_chunk_column(feed->id, i),
                                       feed->warehouse->tables[feed->id].types[i]);
}

static void feed_init(duckdb_init_info info)
{
    (void)info; /* nothing to keep: one thread is what the engine assumes when nothing is said */
}

/* A chunk each time, then an empty one, which ends the insert.
 * @thread the loader, or the engine's while the loader waits for it */
static void feed_run(duckdb_function_info info, duckdb_data_chunk out)
{
    const struct engine_feed *feed = atomic_load(&run_extra)(info);
    const struct duckdb      *duckdb = &feed->warehouse->duckdb;
    struct engine_table      *table = &feed->warehouse->tables[feed->id];

    if (table->fed > table->filling) {
        duckdb->data_chunk_set_size(out, 0);
        return;
    }
    for (size_t i = 0; i < engine_chunk_columns(feed->id); i++)
        duckdb->vector_reference_vector(duckdb->data_chunk_get_vector(out, i),
                                        duckdb->data_chunk_get_vector(table->chunks[table->fed], i));
    duckdb->data_chunk_set_size(out, table->rows[table->fed]);
    table->fed++;
}

/* --- what the loader calls --------------------------------------------------------------------- */

static int register_feed(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    const struct duckdb  *duckdb = &warehouse->duckdb;
    duckdb_table_function function = duckdb->create_table_function();
    char                  name[ENGINE_NAME_BYTES];
    duckdb_state          state;

    feed_name(id, name);
    warehouse->feeds[id] = (struct engine_feed){ warehouse, id };
    duckdb->table_function_set_name(function, name);
    duckdb->table_function_set_extra_info(function, &warehouse->feeds[id], NULL);
    duckdb->table_function_set_bind(function, feed_bind);
    duckdb->table_function_set_init(function, feed_init);
    duckdb->table_function_set_function(function, feed_run);
    state = duckdb->register_table_function(warehouse->loader, function);
    duckdb->destroy_table_function(&function);
    if (state != DUCKDB_SUCCESS)
        return err_set(err, ERR_RETRY, "%s: the engine does not take the function", name);
    return 0;
}

int engine_feed_init(struct warehouse *warehouse, struct err *err)
{
    const struct duckdb  *duckdb = &warehouse->duckdb;
    duckdb_client_context context = NULL;

    atomic_store(&bind_extra, duckdb->bind_get_extra_info);
    atomic_store(&run_extra, duckdb->function_get_extra_info);
    duckdb->connection_get_client_context(warehouse->loader, &context);
    warehouse->loader_id = duckdb->client_context_get_connection_id(context);
    duckdb->destroy_client_context(&context);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        if (register_feed(warehouse, (enum row_table)i, err) < 0)
            return -1;
    return 0;
}

/* Columns are named, so that a file whose columns stand in another order (it is older than a column of
 * row.h, or newer) is filled right. */
int engine_feed_prepare(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    struct engine_table *table = &warehouse->tables[id];
    struct buf           sql;
    char                 name[ENGINE_NAME_BYTES], to[ENGINE_NAME_BYTES];
    int                  rc = 0;

    feed_name(id, name);
    engine_feed_table(id, to);
    buf_init(&sql, INSERT_BYTES_MAX);
    buf_add_format(&sql, "INSERT INTO %s(", to);
    for (size_t i = 0; i < engine_chunk_columns(id); i++)
        buf_add_format(&sql, "%s\"%s\"", i > 0 ? ", " : "", engine_chunk_column(id, i));
    buf_add_format(&sql, ") FROM %s()", name);
    buf_add_byte(&sql, '\0');
    assert(!sql.failed);
    if (duckdb->prepare(warehouse->loader, (const char *)sql.at, &table->insert) != DUCKDB_SUCCESS) {
        rc = engine_err(err, name, duckdb->prepare_error(table->insert));
        duckdb->destroy_prepare(&table->insert);
        table->insert = NULL;
    }
    buf_fini(&sql);
    return rc;
}

/* inserted_at: one reading of the clock for all rows of an insert, after the last of them was taken from the log. */
static void stamp_rows(const struct duckdb *duckdb, const struct engine_table *table)
{
    int64_t now_us = clock_wall_us();

    for (unsigned i = 0; i <= table->filling; i++) {
        int64_t *at = duckdb->vector_get_data(duckdb->data_chunk_get_vector(table->chunks[i], row_tables[ROW_EVENT].column_count));

        for (uint32_t row = 0; row < table->rows[i]; row++)
            at[row] = now_us;
    }
}

int engine_feed(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    struct engine_table *table = &warehouse->tables[id];
    duckdb_result        result;
    int                  rc = 0;

    table->fed = 0;
    if (id == ROW_EVENT)
        stamp_rows(duckdb, table);
    if (duckdb->execute_prepared(table->insert, &result) != DUCKDB_SUCCESS)
        rc = engine_err(err, row_tables[id].name, duckdb->result_error(&result));
    duckdb->destroy_result(&result);
    return rc;
}
