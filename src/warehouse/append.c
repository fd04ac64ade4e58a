/* warehouse/append.c - the open batch: rows into column vectors, vectors into tables, commit.
 *
 * Rows are written straight into the vectors of a data chunk, because that costs a fourth of appending
 * value by value through the appender (docs/decisions/warehouse-duckdb.md). Strings longer than twelve
 * bytes stay in an arena of ours and the vector points to them: the engine copies them once, when it takes
 * the chunk. So a chunk is given away when it is full or its arena is, whichever comes first. Packed properties
 * become text there, before anything of their row is in a vector: a row that turns out to be damaged leaves nothing.
 *
 * Tables with a key (Q2) are appended to as well; which row of a key counts is settle.c's business. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "event/packed.h"
#include "warehouse/engine.h"
#include "warehouse/row_check.h"
#include "warehouse/text_checked.h"
#include "wire/utf8.h"

/* The chunks' strings. A row has at most LOG_RECORD_BYTES_MAX (32 MiB) of them, so one always fits. The arena keeps
 * its first piece: events of 3 KB fill it with 8192 of them, and pages that were never needed are none. */
enum { TEXTS_PIECE_BYTES = 32 << 20, TEXTS_FULL_BYTES = 30 << 20, TEXTS_BYTES_MAX = 64 << 20 };

size_t engine_chunk_columns(enum row_table table)
{
    return row_tables[table].column_count + (table == ROW_EVENT || engine_table_keys(table) != NULL ? 1 : 0);
}

const char *engine_chunk_column(enum row_table table, size_t column)
{
    if (column < row_tables[table].column_count)
        return row_tables[table].columns[column].name;
    return table == ROW_EVENT ? "inserted_at" : "number";
}

static duckdb_type engine_type(enum row_type type)
{
    switch (type) {
    case ROW_I64:
        return DUCKDB_TYPE_BIGINT;
    case ROW_BOOL:
        return DUCKDB_TYPE_BOOLEAN;
    case ROW_TIME:
        return DUCKDB_TYPE_TIMESTAMP;
    case ROW_UUID:
        return DUCKDB_TYPE_UUID;
    case ROW_TEXT: case ROW_JSON:
        return DUCKDB_TYPE_VARCHAR;
    }
    return DUCKDB_TYPE_VARCHAR;
}

static duckdb_type chunk_type(enum row_table table, size_t column)
{
    if (column < row_tables[table].column_count)
        return engine_type(row_tables[table].columns[column].type);
    return table == ROW_EVENT ? DUCKDB_TYPE_TIMESTAMP : DUCKDB_TYPE_BIGINT;
}

/* --- one table of the batch -------------------------------------------------------------------- */

static void table_fini(const struct duckdb *duckdb, struct engine_table *table)
{
    if (table->insert != NULL)
        duckdb->destroy_prepare(&table->insert);
    for (size_t i = 0; i < ENGINE_SETS; i++) {
        for (size_t j = 0; j < ENGINE_CHUNKS; j++)
            if (table->sets[i].chunks[j] != NULL)
                duckdb->destroy_data_chunk(&table->sets[i].chunks[j]);
        arena_free(table->sets[i].texts);
    }
    for (size_t i = 0; i < ENGINE_COLUMNS_MAX; i++)
        if (table->types[i] != NULL)
            duckdb->destroy_logical_type(&table->types[i]);
    *table = (struct engine_table){ .insert = NULL };
}

void engine_tables_fini(struct warehouse *warehouse)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        table_fini(&warehouse->duckdb, &warehouse->tables[i]);
}

/* Begins to fill this chunk, which was made or emptied: the engine may have moved its vectors. */
static void table_fill(const struct duckdb *duckdb, struct engine_table *table, unsigned chunk, size_t columns)
{
    table->set->filling = chunk;
    for (size_t i = 0; i < columns; i++) {
        table->data[i] = duckdb->vector_get_data(duckdb->data_chunk_get_vector(table->set->chunks[chunk], i));
        table->valid[i] = NULL;
    }
    table->chunk_rows = 0;
}

static int chunk_ready(struct warehouse *warehouse, enum row_table id, unsigned chunk, struct err *err)
{
    struct engine_table *table = &warehouse->tables[id];

    if (table->set->chunks[chunk] == NULL &&
        (table->set->chunks[chunk] = warehouse->duckdb.create_data_chunk(table->types, engine_chunk_columns(id))) == NULL)
        return err_set(err, ERR_FULL, "%s: no memory for a chunk of rows", row_tables[id].name);
    return 0;
}

/* table->set is nobody else's: what was in it goes, and it is filled from its beginning. */
static int set_begin(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    struct engine_table *table = &warehouse->tables[id];
    struct engine_set   *set = table->set;

    table->chunk_rows = 0;
    set->table = id;
    if (set->texts == NULL && (set->texts = arena_new(TEXTS_PIECE_BYTES, TEXTS_BYTES_MAX)) == NULL)
        return err_set(err, ERR_FULL, "%s: no memory for texts", row_tables[id].name);
    if (chunk_ready(warehouse, id, 0, err) < 0)
        return -1;
    for (unsigned i = 0; i <= set->filling && set->chunks[i] != NULL; i++)
        duckdb->data_chunk_reset(set->chunks[i]);
    arena_reset(set->texts);
    table_fill(duckdb, table, 0, engine_chunk_columns(id));
    return 0;
}

static int table_init(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    struct engine_table *table = &warehouse->tables[id];

    for (size_t i = 0; i < engine_chunk_columns(id); i++)
        if (table->types[i] == NULL)
            table->types[i] = warehouse->duckdb.create_logical_type(chunk_type(id, i));
    table->set = &table->sets[0];
    if (set_begin(warehouse, id, err) == 0)
        return 0;
    table->set = NULL;
    return -1;
}

/* Gives the chunks to the engine, which writes each full row group to the file, and begins the next ones. */
static int table_pass(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    struct engine_table *table = &warehouse->tables[id];
    struct engine_set   *set = table->set;

    if (set == NULL)
        return 0;
    if (table->chunk_rows > 0)
        set->rows[set->filling] = table->chunk_rows;
    else if (set->filling > 0) /* the row that a chunk was begun for was refused: those before it go without */
        set->filling--;
    else /* nothing but what refused rows left */
        return arena_bytes(set->texts) > 0 ? set_begin(warehouse, id, err) : 0;
    for (unsigned i = 0; i <= set->filling; i++)
        duckdb->data_chunk_set_size(set->chunks[i], set->rows[i]);
    if (id == ROW_EVENT)
        engine_feed_stamp(duckdb, set);
    if (warehouse->hurry != NULL) {
        engine_hurry_give(warehouse, id);
    } else {
        table->passed = set;
        if (engine_feed(warehouse, id, err) < 0)
            return -1;
    }
    return set_begin(warehouse, id, err);
}

/* The chunk is full: the next one, or all of them to the engine. */
static int table_next_chunk(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    struct engine_table *table = &warehouse->tables[id];
    unsigned             next = table->set->filling + 1;

    if (next == ENGINE_CHUNKS || arena_bytes(table->set->texts) > TEXTS_FULL_BYTES)
        return table_pass(warehouse, id, err);
    if (chunk_ready(warehouse, id, next, err) < 0)
        return -1;
    table->set->rows[table->set->filling] = table->chunk_rows;
    table_fill(&warehouse->duckdb, table, next, engine_chunk_columns(id));
    return 0;
}

/* --- one row ----------------------------------------------------------------------------------- */

static void set_null(const struct duckdb *duckdb, struct engine_table *table, size_t column)
{
    if (table->valid[column] == NULL) {
        duckdb_vector vector = duckdb->data_chunk_get_vector(table->set->chunks[table->set->filling], column);

        duckdb->vector_ensure_validity_writable(vector);
        table->valid[column] = duckdb->vector_get_validity(vector);
    }
    table->valid[column][table->chunk_rows / 64] &= ~((uint64_t)1 << table->chunk_rows % 64);
}

static duckdb_hugeint uuid_number(const struct uuid *uuid)
{
    uint64_t upper, lower;

    memcpy(&upper, uuid->bytes, 8);
    memcpy(&lower, uuid->bytes + 8, 8);
    return (duckdb_hugeint){ .lower = __builtin_bswap64(lower),
                             .upper = (int64_t)(__builtin_bswap64(upper) ^ ((uint64_t)1 << 63)) };
}

/* kept: the text is in the table's arena. */
static int set_text(struct engine_table *table, size_t column, struct span text, bool kept, struct err *err)
{
    duckdb_string_t *to = (duckdb_string_t *)table->data[column] + table->chunk_rows;

    memset(to, 0, sizeof *to);
    to->pointer.length = (uint32_t)text.bytes;
    if (text.bytes <= DUCKDB_STRING_INLINED_MAX) {
        if (text.bytes > 0)
            memcpy(to->inlined.bytes, text.at, text.bytes);
        return 0;
    }
    if (!kept)
        text = arena_copy(table->set->texts, text);
    if (text.at == NULL)
        return err_set(err, ERR_FULL, "no memory for a row's texts, or they are larger than %d bytes", TEXTS_BYTES_MAX);
    memcpy(to->pointer.prefix, text.at, sizeof to->pointer.prefix);
    to->pointer.ptr = (const char *)text.at;
    return 0;
}

static int set_cell(const struct duckdb *duckdb, struct engine_table *table, size_t column, enum row_type type,
                    const struct row_cell *cell, struct err *err)
{
    if (cell->null) {
        set_null(duckdb, table, column);
        return 0;
    }
    switch (type) {
    case ROW_I64: case ROW_TIME:
        ((int64_t *)table->data[column])[table->chunk_rows] = cell->i64;
        return 0;
    case ROW_BOOL:
        ((bool *)table->data[column])[table->chunk_rows] = cell->i64 != 0;
        return 0;
    case ROW_UUID:
        ((duckdb_hugeint *)table->data[column])[table->chunk_rows] = uuid_number(&cell->uuid);
        return 0;
    case ROW_TEXT: case ROW_JSON:
        return set_text(table, column, cell->text, false, err);
    }
    return 0;
}

/* The texts of the row's packed cells, in the order of columns, in the table's arena. */
static int unpack_row(struct engine_table *table, const struct row *row, struct span texts[ROW_CELLS_MAX], struct err *err)
{
    const struct row_table_info *info = &row_tables[row->table];
    size_t                       count = 0;

    for (size_t i = 0; i < info->column_count; i++) {
        if (!row_cell_packed(row, i))
            continue;
        if (packed_text_in_arena(row->cells[i].text, table->set->texts, &texts[count], err) < 0) {
            if (err->kind == ERR_CORRUPT) /* this row's fault, and nobody else's */
                return err_set(err, ERR_INPUT, "%s.%s: packed properties are damaged", info->name, info->columns[i].name);
            return err_set(err, ERR_FULL, "no memory for a row's texts, or they are larger than %d bytes", TEXTS_BYTES_MAX);
        }
        if (!utf8_valid(texts[count]))
            return row_not_utf8(info, i, texts[count], err);
        count++;
    }
    return 0;
}

/* What the engine refuses in a full chunk is not the row that is being added, and ERR_INPUT would say so:
 * the batch is lost, which its commit tells. */
static int leave_full_chunk(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    if (table_next_chunk(warehouse, id, err) == 0)
        return 0;
    if (err->kind != ERR_INPUT)
        return -1;
    warehouse->refused = true;
    warehouse->refusal = *err;
    return 0;
}

int engine_add(struct warehouse *warehouse, const struct row *row, struct err *err)
{
    struct engine_table         *table;
    const struct row_table_info *info;
    struct span                  texts[ROW_CELLS_MAX], *text = texts;

    assert(warehouse->magic == WAREHOUSE_MAGIC && !warehouse->read_only);
    assert(row->table < ROW_TABLE_COUNT);
    table = &warehouse->tables[row->table];
    info = &row_tables[row->table];
    if (row_check(row, err) < 0)
        return -1;
    if (warehouse->refused) { /* only counted: the commit will fail */
        warehouse->batch_rows++;
        return 0;
    }
    if (!warehouse->in_batch) {
        if (engine_run(warehouse, warehouse->loader, "BEGIN", err) < 0)
            return -1;
        warehouse->in_batch = true;
    }
    if (table->set == NULL && table_init(warehouse, row->table, err) < 0)
        return -1;
    if ((table->chunk_rows == warehouse->chunk_rows_max || arena_bytes(table->set->texts) > TEXTS_FULL_BYTES) &&
        leave_full_chunk(warehouse, row->table, err) < 0)
        return -1;
    if (warehouse->refused) {
        warehouse->batch_rows++;
        return 0;
    }
    if (unpack_row(table, row, texts, err) < 0)
        return -1;
    for (size_t i = 0; i < info->column_count; i++)
        if ((row_cell_packed(row, i) ? set_text(table, i, *text++, true, err)
                                       : set_cell(&warehouse->duckdb, table, i, info->columns[i].type, &row->cells[i], err)) < 0)
            return -1;
    if (engine_chunk_columns(row->table) > info->column_count && row->table != ROW_EVENT) /* of events: feed.c */
        ((int64_t *)table->data[info->column_count])[table->chunk_rows] = (int64_t)(warehouse->loaded[row->table] + table->batch_rows);
    table->chunk_rows++;
    table->batch_rows++;
    warehouse->batch_rows++;
    return 0;
}

size_t engine_pending(const struct warehouse *warehouse)
{
    return warehouse->batch_rows;
}

size_t engine_pending_of(const struct warehouse *warehouse, enum row_table table)
{
    return warehouse->tables[table].batch_rows;
}

/* --- commit ------------------------------------------------------------------------------------ */

static void add_place_sql(struct buf *sql, const struct warehouse *warehouse, const struct warehouse_place *place)
{
    buf_add_text(sql, "UPDATE penstock_place SET ");
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++)
        buf_add_format(sql, "%snext_%d = %" PRIu64, i == 0 ? "" : ", ", i, place->next[i]);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        buf_add_format(sql, ", %s = %" PRIu64, row_tables[i].name,
                       warehouse->loaded[i] + warehouse->tables[i].batch_rows);
    buf_add_text(sql, ";\n");
}

static int flush_tables(struct warehouse *warehouse, struct err *err)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        if (table_pass(warehouse, (enum row_table)i, err) < 0)
            return -1;
    return engine_hurry_drain(warehouse, err);
}

static int finish_batch(struct warehouse *warehouse, const struct warehouse_place *place,
                        const bool settle[ROW_TABLE_COUNT], struct err *err)
{
    struct buf sql;
    int        rc;

    buf_init(&sql, 16 << 10);
    if (!warehouse->in_batch)
        buf_add_text(&sql, "BEGIN;\n");
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        if (settle[i])
            engine_settle_sql(&sql, (enum row_table)i);
    add_place_sql(&sql, warehouse, place);
    buf_add_text(&sql, "COMMIT;\n");
    buf_add_byte(&sql, '\0');
    if (sql.failed) {
        buf_fini(&sql);
        return err_set(err, ERR_FULL, "no memory for a statement");
    }
    warehouse->in_batch = true;
    text_checked_begin(); /* rows of ours alone, which are compressed now */
    rc = engine_run(warehouse, warehouse->loader, (const char *)sql.at, err);
    text_checked_end();
    buf_fini(&sql);
    /* In want of memory 1.5.6 does not take a commit back whole: it showed rows of the batch and hid as many of the next. */
    warehouse->in_doubt = rc < 0 && strstr(err->text, "Failed to commit") != NULL &&
                          (strstr(err->text, "llocation failure") != NULL || strstr(err->text, "bad_alloc") != NULL ||
                           strstr(err->text, "Out of Memory") != NULL);
    return rc;
}

bool engine_in_doubt(const struct warehouse *warehouse)
{
    return warehouse->in_doubt;
}

int engine_commit(struct warehouse *warehouse, struct warehouse_place *place, struct err *err)
{
    bool settle[ROW_TABLE_COUNT];

    assert(warehouse->magic == WAREHOUSE_MAGIC && !warehouse->read_only);
    if (warehouse->refused) {
        *err = warehouse->refusal;
        engine_rollback(warehouse);
        return -1;
    }
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        settle[i] = engine_table_keys((enum row_table)i) != NULL && engine_settle_due(warehouse, (enum row_table)i);
    if (flush_tables(warehouse, err) < 0 || finish_batch(warehouse, place, settle, err) < 0) {
        engine_rollback(warehouse);
        return -1;
    }
    for (int i = 0; i < ROW_TABLE_COUNT; i++) {
        warehouse->recent[i] += warehouse->tables[i].batch_rows;
        warehouse->loaded[i] += warehouse->tables[i].batch_rows;
        warehouse->tables[i].batch_rows = 0;
        place->loaded[i] = warehouse->loaded[i];
    }
    warehouse->batch_rows = 0;
    warehouse->in_batch = false;
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        if (settle[i] && engine_settle_count(warehouse, (enum row_table)i, err) < 0)
            return err_wrap(err, "counting after a commit");
    return engine_names_sync(warehouse, err);
}

void engine_rollback(struct warehouse *warehouse)
{
    struct err ignored;

    if (warehouse->in_batch || warehouse->batch_rows > 0) {
        engine_hurry_abandon(warehouse);
        engine_tables_fini(warehouse);
        if (warehouse->in_batch && engine_run(warehouse, warehouse->loader, "ROLLBACK", &ignored) < 0) {
            /* Nothing was open any more: the failed statement ended the transaction itself. */
        }
    }
    warehouse->in_batch = false;
    warehouse->refused = false;
    warehouse->batch_rows = 0;
}
