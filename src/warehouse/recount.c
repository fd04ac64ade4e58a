/* warehouse/recount.c - after a crash: does every row stand there once?
 *
 * The place and the rows are one transaction, so the count that the place holds is how many rows there must
 * be. The engine replays its write-ahead log at the first opening after a kill, and 1.5.6 brings back row groups
 * of a commit that was not finished (wal_tail.c keeps it from that). Loaded again, they stand twice. Exactness
 * must not depend on how the engine does its work: the rows are counted against the place, what stands twice is
 * taken out, and so is what is more than the place says. Only after a crash (the write-ahead log was there). */
#include <inttypes.h>
#include <stdio.h>

#include "base/say.h"
#include "warehouse/engine.h"

/* Duplicates are of the last batches; how far back is looked for them. By rows and not by places: old places come
 * late, from imports and from hot keys (event/record.h). */
enum { RECOUNT_ROWS_BACK = 4000000 };

int engine_count(const struct warehouse *warehouse, const char *sql, uint64_t *out, struct err *err)
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

/* Deletes rows that stand again behind a first one: of one `by`, all but the first in this order. */
static int take_out(struct warehouse *warehouse, const char *table, const char *by, const char *order, uint64_t *before,
                    uint64_t *after, struct err *err)
{
    struct buf sql;
    char       count_sql[120];
    int        rc;

    (void)snprintf(count_sql, sizeof count_sql, "SELECT count(*) FROM %s", table);
    if (engine_count(warehouse, count_sql, before, err) < 0)
        return -1;
    buf_init(&sql, 4096);
    buf_add_format(&sql, "DELETE FROM %s WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number() OVER (PARTITION BY %s"
                         " ORDER BY %s) AS n FROM %s AS one_row WHERE rowid >= (SELECT max(rowid) FROM %s) - %d) WHERE n > 1)",
                   table, by, order, table, table, RECOUNT_ROWS_BACK);
    buf_add_byte(&sql, '\0');
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                    : engine_run(warehouse, warehouse->loader, (const char *)sql.at, err);
    buf_fini(&sql);
    if (rc < 0 || engine_count(warehouse, count_sql, after, err) < 0)
        return -1;
    if (*after != *before)
        say(SAY_WARN, "%s: %" PRIu64 " rows stood twice after the crash and were taken out", table, *before - *after);
    return 0;
}

/* How many rows there must be is known of what was appended alone; of rows of a key, that there is one. */
static int recount_keyed(struct warehouse *warehouse, enum row_table id, uint64_t loaded, struct err *err)
{
    const char *const *keys = engine_table_keys(id);
    char               table[ENGINE_NAME_BYTES], by[300] = "", sql[200];
    uint64_t           before, after;

    for (size_t i = 0, at = 0; keys[i] != NULL; i++)
        at += (size_t)snprintf(by + at, sizeof by - at, "%s\"%s\"", i > 0 ? ", " : "", keys[i]);
    (void)snprintf(table, sizeof table, "%s_settled", row_tables[id].name);
    if (take_out(warehouse, table, by, "version DESC, rowid", &before, &after, err) < 0)
        return -1;
    (void)snprintf(table, sizeof table, "%s_recent", row_tables[id].name);
    (void)snprintf(sql, sizeof sql, "DELETE FROM %s WHERE number >= %" PRIu64, table, loaded); /* as below: loaded again */
    if (engine_run(warehouse, warehouse->loader, sql, err) < 0)
        return -1;
    return take_out(warehouse, table, "number", "rowid", &before, &after, err);
}

static int recount_appended(struct warehouse *warehouse, enum row_table id, uint64_t loaded, struct err *err)
{
    const char *name = row_tables[id].name;
    char        count_sql[160], sql[300];
    uint64_t    before, after, erased;

    (void)snprintf(count_sql, sizeof count_sql, "SELECT coalesce(sum(rows), 0)::BIGINT FROM penstock_erased WHERE name = '%s'",
                   name);
    if (engine_count(warehouse, count_sql, &erased, err) < 0)
        return -1;
    loaded -= erased;
    (void)snprintf(count_sql, sizeof count_sql, "SELECT count(*) FROM %s", name);
    if (engine_count(warehouse, count_sql, &before, err) < 0)
        return -1;
    if (before == loaded)
        return 0;
    if (take_out(warehouse, name, id == ROW_EVENT ? "raw_offset" : "one_row", "rowid", &before, &after, err) < 0)
        return -1;
    if (after > loaded) {
        (void)snprintf(sql, sizeof sql, "DELETE FROM %s WHERE rowid IN (SELECT rowid FROM %s ORDER BY rowid DESC LIMIT %" PRIu64 ")",
                       name, name, after - loaded);
        if (engine_run(warehouse, warehouse->loader, sql, err) < 0)
            return -1;
        say(SAY_WARN, "%s: %" PRIu64 " rows of a batch that was not committed were taken out; they are loaded again", name,
            after - loaded);
    }
    if (after < loaded)
        say(SAY_ERROR, "%s has %" PRIu64 " rows, its place says %" PRIu64 ": to build it anew from the log, stop, move the "
                       "warehouse away and start", name, after, loaded);
    return 0;
}

int engine_recount(struct warehouse *warehouse, const struct warehouse_place *place, struct err *err)
{
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        if ((engine_table_keys(id) != NULL ? recount_keyed(warehouse, id, place->loaded[id], err)
                                           : recount_appended(warehouse, id, place->loaded[id], err)) < 0)
            return err_wrap(err, "recount after a crash");
    return 0;
}
