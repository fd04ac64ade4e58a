/* warehouse/settle.c - tables that hold one row a key (Q2), at a price that does not grow with their size.
 *
 * Each is two tables and a view of the plain name. Rows are appended to NAME_recent as they come, also those that
 * replace another. The view shows the newest of each key: of NAME_settled what nothing recent replaces, and
 * of NAME_recent the newest of each key that nothing settled is newer than.
 *
 * When enough is recent, a commit settles it: one join finds which keys are settled already, those rows go, the
 * newest come, NAME_recent is empty again. The join and the taking out read all settled keys, 0.1 us each; "enough" is
 * a share of them, so that a changed row costs the same at any size. Until now each commit did the join. An index over
 * the keys would have to be in memory and on disk for every person there ever was. */
#include <inttypes.h>
#include <stdio.h>

#include "warehouse/engine.h"

/* How much may be recent: what is read back with each query of the table, and put into order at once when it settles.
 * A share of what is settled, within bounds: below, settling costs more than it saves; above, it is felt as a pause
 * in loading (262,144 rows: about a second), and costs 0.6 us a row for each ten million that are settled. */
enum { RECENT_SHARE = 32, RECENT_ROWS_MIN = 16384, RECENT_ROWS_MAX = 262144 };

static void add_names(struct buf *sql, const char *const *names, const char *before)
{
    for (size_t i = 0; names[i] != NULL; i++)
        buf_add_format(sql, "%s%s\"%s\"", i == 0 ? "" : ", ", before, names[i]);
}

static void add_columns(struct buf *sql, enum row_table id, const char *before)
{
    for (size_t i = 0; i < row_tables[id].column_count; i++)
        buf_add_format(sql, "%s%s\"%s\"", i == 0 ? "" : ", ", before, row_tables[id].columns[i].name);
}

/* "t.key = s.key" for each key. */
static void add_match(struct buf *sql, enum row_table id)
{
    const char *const *keys = engine_table_keys(id);

    for (size_t i = 0; keys[i] != NULL; i++)
        buf_add_format(sql, "%st.\"%s\" = s.\"%s\"", i == 0 ? "" : " AND ", keys[i], keys[i]);
}

static void add_newest(struct buf *sql, enum row_table id)
{
    buf_add_text(sql, " QUALIFY row_number() OVER (PARTITION BY ");
    add_names(sql, engine_table_keys(id), "");
    buf_add_text(sql, " ORDER BY version DESC, number DESC) = 1");
}

void engine_settle_view_sql(struct buf *sql, enum row_table id)
{
    const char *name = row_tables[id].name;

    /* ANTI JOIN and not NOT EXISTS: with the comparison of versions in it, that is planned as a join over
     * copies of both sides, five times as dear. */
    buf_add_format(sql, "CREATE OR REPLACE VIEW %s AS SELECT ", name);
    add_columns(sql, id, "t.");
    buf_add_format(sql, " FROM %s_settled t ANTI JOIN %s_recent s ON ", name, name);
    add_match(sql, id);
    buf_add_text(sql, " AND s.version >= t.version UNION ALL SELECT ");
    add_columns(sql, id, "s.");
    buf_add_format(sql, " FROM (FROM %s_recent", name);
    add_newest(sql, id);
    buf_add_format(sql, ") s ANTI JOIN %s_settled t ON ", name);
    add_match(sql, id);
    buf_add_text(sql, " AND t.version > s.version;\n");
}

void engine_settle_sql(struct buf *sql, enum row_table id)
{
    const char *name = row_tables[id].name;

    /* Version and number as one number, of which a key has a greatest: half as dear as putting its rows into order. */
    buf_add_text(sql, "CREATE OR REPLACE TEMP TABLE settling AS SELECT (newest & 18446744073709551615)::BIGINT AS number,"
                      " (newest >> 64)::BIGINT AS version, ");
    add_names(sql, engine_table_keys(id), "");
    buf_add_text(sql, " FROM (SELECT max(coalesce(version, -1) * 18446744073709551616::HUGEINT + number) AS newest, ");
    add_names(sql, engine_table_keys(id), "");
    buf_add_format(sql, " FROM %s_recent GROUP BY ", name);
    add_names(sql, engine_table_keys(id), "");
    buf_add_text(sql, ");\nCREATE OR REPLACE TEMP TABLE replaced AS SELECT t.rowid AS row, t.version, s.number FROM ");
    buf_add_format(sql, "%s_settled t, settling s WHERE ", name);
    add_match(sql, id);
    buf_add_text(sql, ";\nDELETE FROM settling s USING replaced r WHERE r.number = s.number AND r.version > s.version;\n");
    buf_add_format(sql, "DELETE FROM %s_settled WHERE rowid IN (SELECT r.row FROM replaced r, settling s"
                        " WHERE r.number = s.number);\n", name);
    buf_add_format(sql, "INSERT INTO %s_settled(", name);
    add_columns(sql, id, "");
    buf_add_text(sql, ") SELECT ");
    add_columns(sql, id, "");
    buf_add_format(sql, " FROM %s_recent WHERE number IN (SELECT number FROM settling);\n", name);
    buf_add_format(sql, "DELETE FROM %s_recent;\nDROP TABLE settling;\nDROP TABLE replaced;\n", name);
}

bool engine_settle_due(const struct warehouse *warehouse, enum row_table id)
{
    uint64_t most = warehouse->settled[id] / RECENT_SHARE;

    if (most < RECENT_ROWS_MIN)
        most = RECENT_ROWS_MIN;
    if (most > RECENT_ROWS_MAX || warehouse->hurry != NULL) /* nobody waits for these rows alone */
        most = RECENT_ROWS_MAX;
    return warehouse->recent[id] + warehouse->tables[id].batch_rows >= most;
}

/* A file of before there were two tables: its table of the plain name is what is settled. */
static int adopt_table(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    char     sql[300];
    uint64_t found;

    snprintf(sql, sizeof sql, "SELECT count(*) FROM duckdb_tables() WHERE database_name = '" ENGINE_DATABASE "'"
                              " AND schema_name = 'main' AND table_name = '%s'", row_tables[id].name);
    if (engine_count(warehouse, sql, &found, err) < 0)
        return -1;
    if (found == 0)
        return 0;
    snprintf(sql, sizeof sql, "ALTER TABLE %s RENAME TO %s_settled", row_tables[id].name, row_tables[id].name);
    return engine_run(warehouse, warehouse->loader, sql, err);
}

int engine_settle_adopt(struct warehouse *warehouse, struct err *err)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        if (engine_table_keys((enum row_table)i) != NULL && adopt_table(warehouse, (enum row_table)i, err) < 0)
            return -1;
    return 0;
}

int engine_settle_count(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    char     sql[120];
    uint64_t settled, recent;

    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s_settled", row_tables[id].name);
    if (engine_count(warehouse, sql, &settled, err) < 0)
        return -1;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s_recent", row_tables[id].name);
    if (engine_count(warehouse, sql, &recent, err) < 0)
        return -1;
    warehouse->settled[id] = settled;
    warehouse->recent[id] = recent;
    return 0;
}
