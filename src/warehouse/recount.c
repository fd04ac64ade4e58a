/* warehouse/recount.c - after a crash: does every row stand there once?
 *
 * The place and the rows are one transaction, so the count that the place holds is how many rows there must
 * be. The engine replays its write-ahead log at the first opening after a kill; once in some thousand kills
 * it has replayed a batch whose row groups were in the file already, and 16384 rows stood twice. That must
 * not depend on how the engine does its work: the rows are counted against the place, and what stands
 * twice is taken out again. Only after a crash (the write-ahead log was there): counting keys reads them. */
#include <inttypes.h>
#include <stdio.h>

#include "base/say.h"
#include "warehouse/engine.h"

/* Duplicates are of the last batches; how far back is looked for them. By rows and not by places: old places come
 * late, from imports and from hot keys (event/record.h). */
enum { RECOUNT_ROWS_BACK = 4000000 };

static int count_rows(const struct warehouse *warehouse, const char *sql, uint64_t *out, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    duckdb_result        result;
    duckdb_data_chunk    chunk = NULL;
    int                  rc = -1;

    if (duckdb->query(warehouse->loader, sql, &result) != DUCKDB_SUCCESS) {
        engine_err(err, "counting rows", duckdb->result_error(&result));
        goto out;
    }
    chunk = duckdb->fetch_chunk(result);
    if (chunk == NULL || duckdb->data_chunk_get_size(chunk) != 1) {
        err_set(err, ERR_CORRUPT, "a count is not one row");
        goto out;
    }
    *out = (uint64_t)*(int64_t *)duckdb->vector_get_data(duckdb->data_chunk_get_vector(chunk, 0));
    rc = 0;
out:
    if (chunk != NULL)
        duckdb->destroy_data_chunk(&chunk);
    duckdb->destroy_result(&result);
    return rc;
}

/* Rows of an append-only table that stand again behind a first one. */
static void delete_sql(enum row_table table, struct buf *sql)
{
    const char        *name = row_tables[table].name;
    const char *const *keys = engine_table_keys(table);

    buf_add_format(sql, "DELETE FROM %s WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number() OVER (PARTITION BY ",
                   name);
    if (keys != NULL) {
        for (size_t i = 0; keys[i] != NULL; i++)
            buf_add_format(sql, "%s%s", i > 0 ? ", " : "", keys[i]);
        buf_add_format(sql, " ORDER BY version DESC, rowid) AS n FROM %s", name);
    } else if (table == ROW_EVENT) {
        buf_add_format(sql, "raw_offset ORDER BY rowid) AS n FROM events WHERE rowid >= (SELECT max(rowid) FROM events) - %d",
                       RECOUNT_ROWS_BACK);
    } else {
        buf_add_format(sql, "one_row ORDER BY rowid) AS n FROM %s AS one_row", name);
    }
    buf_add_text(sql, ") WHERE n > 1)");
    buf_add_byte(sql, '\0');
}

static int recount_table(struct warehouse *warehouse, enum row_table table, uint64_t loaded, struct err *err)
{
    const char *name = row_tables[table].name;
    bool        keyed = engine_table_keys(table) != NULL;
    char        count_sql[100];
    struct buf  sql;
    uint64_t    before, after;
    int         rc;

    (void)snprintf(count_sql, sizeof count_sql, "SELECT count(*) FROM %s", name);
    if (count_rows(warehouse, count_sql, &before, err) < 0)
        return -1;
    if (!keyed && before == loaded)
        return 0;
    buf_init(&sql, 4096);
    delete_sql(table, &sql);
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                    : engine_run(warehouse, warehouse->loader, (const char *)sql.at, err);
    buf_fini(&sql);
    if (rc < 0 || count_rows(warehouse, count_sql, &after, err) < 0)
        return -1;
    if (after != before)
        say(SAY_WARN, "%s: %" PRIu64 " rows stood twice after the crash and were taken out", name, before - after);
    if (!keyed && after != loaded)
        say(SAY_ERROR, "%s has %" PRIu64 " rows, its place says %" PRIu64 ": to build it anew from the log, stop, move the "
                       "warehouse away and start", name, after, loaded);
    return 0;
}

int engine_recount(struct warehouse *warehouse, const struct warehouse_place *place, struct err *err)
{
    for (enum row_table table = 0; table < ROW_TABLE_COUNT; table++)
        if (recount_table(warehouse, table, place->loaded[table], err) < 0)
            return err_wrap(err, "recount after a crash");
    return 0;
}
