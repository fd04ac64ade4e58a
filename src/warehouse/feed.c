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
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "warehouse/engine.h"
#include "warehouse/text_checked.h"

enum { INSERT_BYTES_MAX = 16 << 10 };

/* A callback gets nothing but the engine's own object, and which function of the library takes our pointer out
 * of it is known at run time only. Written at each opening, always with the same values. */
typedef void *extra_of_bind(duckdb_bind_info);
typedef void *extra_of_init(duckdb_init_info);
typedef void *extra_of_run(duckdb_function_info);
static _Atomic(extra_of_bind *) bind_extra;
static _Atomic(extra_of_init *) init_extra;
static _Atomic(extra_of_run *) run_extra;

/* Where one thread of an insert is. */
struct feed_part {
    struct engine_set *set; /* NULL: none yet */
    unsigned           fed; /* so many of its chunks were given */
};

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

/* One thread is what the engine assumes when nothing is said. */
static void feed_init(duckdb_init_info info)
{
    const struct engine_feed *feed = atomic_load(&init_extra)(info);

    if (feed->warehouse->hurry != NULL)
        feed->warehouse->duckdb.init_set_max_threads(info, feed->warehouse->hurry_threads);
}

/* For each thread that takes part. */
static void feed_part_init(duckdb_init_info info)
{
    const struct engine_feed *feed = atomic_load(&init_extra)(info);
    struct feed_part         *part = calloc(1, sizeof *part);

    if (part == NULL)
        feed->warehouse->duckdb.init_set_error(info, "failed to allocate");
    else
        feed->warehouse->duckdb.init_set_init_data(info, part, free);
}

/* A chunk each time, then an empty one, which ends this thread's part of the insert. When the next one is asked for, the
 * rows of the one before are in the table's own memory.
 * @thread the loader, or the engine's while the loader waits for it, or in a hurry */
static void feed_run(duckdb_function_info info, duckdb_data_chunk out)
{
    const struct engine_feed *feed = atomic_load(&run_extra)(info);
    const struct duckdb      *duckdb = &feed->warehouse->duckdb;
    struct feed_part         *part = duckdb->function_get_local_init_data(info);

    if (part->set != NULL && part->fed > part->set->filling) {
        engine_set_done(feed->warehouse, part->set);
        part->set = NULL;
    }
    if (part->set == NULL) {
        part->set = engine_set_take(feed->warehouse, feed->id);
        part->fed = 0;
    }
    if (part->set == NULL) {
        duckdb->data_chunk_set_size(out, 0);
        return;
    }
    for (size_t i = 0; i < engine_chunk_columns(feed->id); i++)
        duckdb->vector_reference_vector(duckdb->data_chunk_get_vector(out, i),
                                        duckdb->data_chunk_get_vector(part->set->chunks[part->fed], i));
    duckdb->data_chunk_set_size(out, part->set->rows[part->fed]);
    part->fed++;
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
    duckdb->table_function_set_local_init(function, feed_part_init);
    duckdb->table_function_set_function(function, feed_run);
    state = duckdb->register_table_function(warehouse->loader, function);
    duckdb->destroy_table_function(&function);
    if (state != DUCKDB_SUCCESS)
        return err_set(err, ERR_RETRY, "%s: the engine does not take the function", name);
    return 0;
}

idx_t engine_feed_connection(const struct warehouse *warehouse, duckdb_connection connection)
{
    const struct duckdb  *duckdb = &warehouse->duckdb;
    duckdb_client_context context = NULL;
    idx_t                 id;

    duckdb->connection_get_client_context(connection, &context);
    id = duckdb->client_context_get_connection_id(context);
    duckdb->destroy_client_context(&context);
    return id;
}

int engine_feed_init(struct warehouse *warehouse, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;

    atomic_store(&bind_extra, duckdb->bind_get_extra_info);
    atomic_store(&init_extra, duckdb->init_get_extra_info);
    atomic_store(&run_extra, duckdb->function_get_extra_info);
    warehouse->loader_id = engine_feed_connection(warehouse, warehouse->loader);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        if (register_feed(warehouse, (enum row_table)i, err) < 0)
            return -1;
    return 0;
}

/* Columns are named, so that a file whose columns stand in another order (it is older than a column of
 * row.h, or newer) is filled right. */
static int feed_prepare(struct warehouse *warehouse, enum row_table id, struct err *err)
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
    if (sql.failed)
        rc = err_set(err, ERR_FULL, "no memory for a statement");
    else if (duckdb->prepare(warehouse->loader, (const char *)sql.at, &table->insert) != DUCKDB_SUCCESS) {
        rc = engine_err(err, name, duckdb->prepare_error(table->insert));
        duckdb->destroy_prepare(&table->insert);
        table->insert = NULL;
    }
    buf_fini(&sql);
    return rc;
}

/* One reading of the clock for all rows of a set, after the last of them was taken from the log. */
void engine_feed_stamp(const struct duckdb *duckdb, const struct engine_set *set)
{
    int64_t now_us = clock_wall_us();

    for (unsigned i = 0; i <= set->filling; i++) {
        int64_t *at = duckdb->vector_get_data(duckdb->data_chunk_get_vector(set->chunks[i], row_tables[ROW_EVENT].column_count));

        for (uint32_t row = 0; row < set->rows[i]; row++)
            at[row] = now_us;
    }
}

int engine_feed(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    struct engine_table *table = &warehouse->tables[id];
    duckdb_result        result;
    duckdb_state         state;
    int                  rc = 0;

    if (table->insert == NULL && feed_prepare(warehouse, id, err) < 0)
        return -1;
    text_checked_begin(); /* by engine_add */
    state = duckdb->execute_prepared(table->insert, &result);
    text_checked_end();
    if (state != DUCKDB_SUCCESS)
        rc = engine_err(err, row_tables[id].name, duckdb->result_error(&result));
    duckdb->destroy_result(&result);
    return rc;
}
