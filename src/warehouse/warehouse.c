/* warehouse/warehouse.c - the DuckDB file: opened, its tables made, the loader's place kept.
 *
 * Types: TIMESTAMP for times, always UTC, because TIMESTAMP WITH TIME ZONE needs an extension for most of
 * what people do with it and then answers in the zone of whoever asks. VARCHAR for JSON: the bytes stay
 * what they were, and the -> and ->> operators work on it just so.
 *
 * The place is one row in a table of its own, updated in the transaction of each batch. It is the truth
 * about what was loaded; the log's copy of the cursor only tells retention.
 *
 * What was measured, and which settings follow from it: docs/decisions/warehouse-duckdb.md. */
#include "warehouse/warehouse.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "warehouse/engine.h"

enum { SQL_BYTES_MAX = 64 << 10 };

/* Pieces of three row groups that a checkpoint puts together because a fourth of their rows are gone. Without a bound one
 * checkpoint may write a whole table anew, and nothing is loaded meanwhile: 1.3 s of CPU at 400,000 persons. Eight take in
 * what 65,000 settled rows leave, which is what 64 MiB of write-ahead log bring. */
#define VACUUM_TASKS "8"

static const char *const person_keys[] = { "team_id", "id", NULL };
static const char *const distinct_keys[] = { "team_id", "distinct_id", NULL };
static const char *const group_keys[] = { "team_id", "group_type_index", "group_key", NULL };
static const char *const event_definition_keys[] = { "team_id", "name", NULL };
static const char *const receipt_keys[] = { "team_id", "id", "kind", NULL };
static const char *const property_definition_keys[] = { "team_id", "name", "type", "group_type_index", NULL };

const char *const *engine_table_keys(enum row_table table)
{
    switch (table) {
    case ROW_PERSON:
        return person_keys;
    case ROW_DISTINCT:
        return distinct_keys;
    case ROW_GROUP:
        return group_keys;
    case ROW_EVENT_DEFINITION:
        return event_definition_keys;
    case ROW_PROPERTY_DEFINITION:
        return property_definition_keys;
    case ROW_RECEIPT:
        return receipt_keys;
    default:
        return NULL;
    }
}

static bool says(const char *said, const char *words)
{
    return strcasestr(said, words) != NULL;
}

static bool says_any(const char *said, const char *const *words)
{
    for (; *words != NULL; words++)
        if (says(said, *words))
            return true;
    return false;
}

/* By the engine's words, because an appender's error has lost its class. What is not known is worth another
 * try: only what is surely the row's own fault may become a dead letter. */
int engine_err(struct err *err, const char *doing, const char *said)
{
    static const char *const full[] = { "No space left on device", "disk quota exceeded", "Out of Memory",
                                        "failed to allocate", "could not allocate", "failed to pin block",
                                        "failed to offload", NULL };
    static const char *const corrupt[] = { "Corrupt database file", "checksum", NULL };
    static const char *const stop[] = { "FATAL Error", "INTERNAL Error", "database has been invalidated", NULL };
    static const char *const input[] = { "constraint failed", "Constraint Error", "Conversion Error",
                                         "Invalid Input Error", "Invalid unicode", "Could not cast",
                                         "Could not convert", "Out of Range Error", NULL };
    enum err_kind            kind = ERR_RETRY;

    if (said == NULL)
        said = "the engine gave no reason";
    if (says_any(said, full))
        kind = ERR_FULL;
    else if (says_any(said, corrupt))
        kind = ERR_CORRUPT;
    else if (says_any(said, stop))
        kind = ERR_STOP;
    else if (says_any(said, input))
        kind = ERR_INPUT;
    return err_set(err, kind, "%s: %s", doing, said);
}

int engine_run(const struct warehouse *warehouse, duckdb_connection connection, const char *sql, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    duckdb_result        result;
    int                  rc = 0;

    if (duckdb->query(connection, sql, &result) != DUCKDB_SUCCESS) {
        char doing[40];

        snprintf(doing, sizeof doing, "%.*s", (int)strcspn(sql, "(\n"), sql);
        rc = engine_err(err, doing, duckdb->result_error(&result));
    }
    duckdb->destroy_result(&result);
    return rc;
}

/* --- opening ----------------------------------------------------------------------------------- */

/* An exclusive lock of another process, a write-ahead log that cannot be replayed, or a file that is no
 * database: three different next steps for the caller. */
static int open_error(struct err *err, const char *path, const char *said)
{
    if (says(said, "Could not set lock") || says(said, "Conflicting lock"))
        return err_set(err, ERR_RETRY, "%s is open in another process: %s", path, said);
    if (says(said, "No space left on device") || says(said, "Out of Memory Error"))
        return err_set(err, ERR_FULL, "%s: %s", path, said);
    if (says(said, "Permission denied") || says(said, "Cannot open") || says(said, "does not exist") ||
        says(said, "Input/output error"))
        return err_set(err, ERR_RETRY, "%s: %s", path, said);
    if (says(said, "version number"))
        return err_set(err, ERR_INPUT, "%s was written by a newer DuckDB than the library that is here: %s", path, said);
    return err_set(err, ERR_CORRUPT, "%s: %s", path, said);
}

static int set_config(const struct duckdb *duckdb, duckdb_config config, const char *name, const char *value,
                      struct err *err)
{
    if (duckdb->set_config(config, name, value) == DUCKDB_SUCCESS)
        return 0;
    return err_set(err, ERR_INPUT, "%s does not take %s=%s", duckdb->path, name, value);
}

static int set_configs(const struct warehouse_options *options, const struct duckdb *duckdb, duckdb_config config,
                       struct err *err)
{
    unsigned own = options->threads != 0 ? options->threads : 1, all = options->hurry_threads > own ? options->hurry_threads : own;
    char     memory[32], threads[16], guests[16], temporary[4096];

    snprintf(memory, sizeof memory, "%" PRIu64 "MiB",
             (options->memory_bytes != 0 ? options->memory_bytes : (uint64_t)256 << 20) >> 20);
    snprintf(threads, sizeof threads, "%u", all);
    snprintf(guests, sizeof guests, "%u", all - own + 1); /* threads that are ours: the one that asks, and those of hurry.c */
    snprintf(temporary, sizeof temporary, "%s.tmp", options->path);
    const char *const settings[][2] = {
        { "memory_limit", memory },
        { "threads", threads },
        { "external_threads", guests },
        { "checkpoint_threshold", "64MiB" },
        { "max_vacuum_tasks", VACUUM_TASKS },
        { "temp_directory", temporary },
        { "autoinstall_known_extensions", "false" },
        { "autoload_known_extensions", "false" },
        { "allow_community_extensions", "false" },
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (set_config(duckdb, config, settings[i][0], settings[i][1], err) < 0)
            return -1;
    return 0;
}

/* The file is attached to an engine that has none of its own, because only ATTACH takes a row group's size. */
static int attach_file(struct warehouse *warehouse, const struct warehouse_options *options, bool alone, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    duckdb_result        result;
    struct buf           sql;
    int                  rc = 0;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_text(&sql, "ATTACH '");
    for (const char *at = options->path; *at != '\0'; at++)
        buf_add_text(&sql, *at == '\'' ? "''" : (char[]){ *at, '\0' });
    buf_add_format(&sql, "' AS " ENGINE_DATABASE " (%s, ROW_GROUP_SIZE %d, STORAGE_VERSION 'v1.5.0');",
                   options->read_only ? "READ_ONLY" : "READ_WRITE", WAREHOUSE_GROUP_ROWS);
    buf_add_byte(&sql, '\0');
    if (sql.failed) {
        rc = err_set(err, ERR_FULL, "%s: no memory", options->path);
    } else if (duckdb->query(warehouse->loader, (const char *)sql.at, &result) != DUCKDB_SUCCESS) {
        const char *said = duckdb->result_error(&result);

        rc = open_error(err, options->path, said != NULL ? said : "");
        duckdb->destroy_result(&result);
    } else {
        duckdb->destroy_result(&result);
        /* Queries come from people and pages: no files, no network, no way to turn that back on. */
        rc = engine_run(warehouse, warehouse->loader,
                        alone ? "USE " ENGINE_DATABASE "; SET enable_external_access = false; SET lock_configuration = true;"
                              : "USE " ENGINE_DATABASE ";", err);
    }
    buf_fini(&sql);
    return rc;
}

/* Set before the engine's configuration is locked, for this connection alone. */
static int open_hurrier(struct warehouse *warehouse, const struct warehouse_options *options, struct err *err)
{
    if (warehouse->duckdb.connect(warehouse->database, &warehouse->hurrier) != DUCKDB_SUCCESS)
        return err_set(err, ERR_FULL, "%s: no connection", options->path);
    warehouse->hurry_threads = options->hurry_threads;
    return engine_run(warehouse, warehouse->hurrier, "SET SESSION preserve_insertion_order = false;", err);
}

/* alone: it is the one file that this engine may ever open. */
static int open_database(struct warehouse *warehouse, const struct warehouse_options *options, bool alone, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    duckdb_config        config = NULL;
    char                *said = NULL;
    int                  rc = -1;

    if (duckdb->create_config(&config) != DUCKDB_SUCCESS) {
        err_set(err, ERR_FULL, "no memory for the engine's settings");
        goto out;
    }
    if (set_configs(options, duckdb, config, err) < 0)
        goto out;
    if (duckdb->open_ext(NULL, &warehouse->database, config, &said) != DUCKDB_SUCCESS) {
        err_set(err, ERR_RETRY, "the engine does not start: %s", said != NULL ? said : "it gave no reason");
        goto out;
    }
    if (duckdb->connect(warehouse->database, &warehouse->loader) != DUCKDB_SUCCESS) {
        err_set(err, ERR_FULL, "%s: no connection", options->path);
        goto out;
    }
    if (alone && !options->read_only && options->hurry_threads > 1 && open_hurrier(warehouse, options, err) < 0)
        goto out;
    rc = attach_file(warehouse, options, alone, err);
    if (rc == 0 && warehouse->hurrier != NULL)
        rc = engine_run(warehouse, warehouse->hurrier, "USE " ENGINE_DATABASE ";", err);
out:
    if (said != NULL)
        duckdb->free(said);
    duckdb->destroy_config(&config);
    return rc;
}

/* --- tables ------------------------------------------------------------------------------------ */

static const char *sql_type(enum row_type type)
{
    switch (type) {
    case ROW_I64:
        return "BIGINT";
    case ROW_BOOL:
        return "BOOLEAN";
    case ROW_TIME:
        return "TIMESTAMP";
    case ROW_UUID:
        return "UUID";
    case ROW_TEXT:
        return "VARCHAR";
    case ROW_JSON:
        return "VARCHAR USING COMPRESSION zstd";
    }
    return "VARCHAR";
}

/* A chain of elements is as long as an object, and as like those of the rows before: what the engine would choose tries symbol tables over all
 * of it (docs/decisions/warehouse-duckdb.md). A file that has the column already keeps it as it is. */
static const char *column_sql_type(const struct row_table_info *info, size_t column)
{
    return sql_type(info == &row_tables[ROW_EVENT] && column == ROW_EVENT_ELEMENTS_CHAIN ? ROW_JSON : info->columns[column].type);
}

/* suffix: of the name. last: columns of ours. */
static void add_table_sql(struct buf *sql, const struct row_table_info *info, const char *suffix, const char *last)
{
    buf_add_format(sql, "CREATE TABLE IF NOT EXISTS %s%s(", info->name, suffix);
    for (size_t i = 0; i < info->column_count; i++)
        buf_add_format(sql, "%s\"%s\" %s", i == 0 ? "" : ", ", info->columns[i].name, column_sql_type(info, i));
    buf_add_format(sql, "%s);\n", last);
    /* Columns that row.h gained since the file was made. */
    for (size_t i = 0; i < info->column_count; i++)
        buf_add_format(sql, "ALTER TABLE %s%s ADD COLUMN IF NOT EXISTS \"%s\" %s;\n", info->name, suffix,
                       info->columns[i].name, column_sql_type(info, i));
}

/* The pieces of the elements chain that people ask for, worked out when asked: nothing to load. */
static const char views_sql[] =
    "CREATE OR REPLACE VIEW event_elements AS SELECT *,"
    " regexp_extract(elements_chain, '(?::|\")href=\"(.*?)\"', 1) AS elements_chain_href,"
    " list_distinct(regexp_extract_all(elements_chain, '(?::|\")text=\"(.*?)\"', 1)) AS elements_chain_texts,"
    " list_distinct(regexp_extract_all(elements_chain, '(?::|\")attr_id=\"(.*?)\"', 1)) AS elements_chain_ids,"
    " list_distinct(regexp_extract_all(elements_chain,"
    " '(?:^|;)(a|button|form|input|select|textarea|label)(?:\\.|$|:)', 1)) AS elements_chain_elements"
    " FROM events;\n";

static void add_place_sql(struct buf *sql)
{
    buf_add_text(sql, "CREATE TABLE IF NOT EXISTS penstock_erased(name VARCHAR, rows UBIGINT, team_id BIGINT, "
                      "captured_at TIMESTAMP, events UBIGINT);\n");
    buf_add_text(sql, "CREATE TABLE IF NOT EXISTS penstock_place(");
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++)
        buf_add_format(sql, "next_%d UBIGINT, ", i);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        buf_add_format(sql, "%s UBIGINT DEFAULT 0%s", row_tables[i].name, i + 1 < ROW_TABLE_COUNT ? ", " : ");\n");
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        buf_add_format(sql, "ALTER TABLE penstock_place ADD COLUMN IF NOT EXISTS %s UBIGINT DEFAULT 0;\n",
                       row_tables[i].name);
    buf_add_text(sql, "INSERT INTO penstock_place(");
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++)
        buf_add_format(sql, "%snext_%d", i == 0 ? "" : ", ", i);
    buf_add_text(sql, ") SELECT 0, 0, 0, 0, 0, 0, 0, 0 WHERE NOT EXISTS (FROM penstock_place);\n");
}
_Static_assert(WAREHOUSE_CURSORS_MAX == 8, "add_place_sql writes eight zeros");

static int make_tables(struct warehouse *warehouse, struct err *err)
{
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_text(&sql, "BEGIN;\n");
    for (int i = 0; i < ROW_TABLE_COUNT; i++) {
        if (engine_table_keys((enum row_table)i) != NULL) {
            add_table_sql(&sql, &row_tables[i], "_settled", "");
            add_table_sql(&sql, &row_tables[i], "_recent", ", number BIGINT");
            engine_settle_view_sql(&sql, (enum row_table)i);
        } else {
            add_table_sql(&sql, &row_tables[i], "",
                          i == ROW_EVENT ? ", inserted_at TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')" : "");
        }
    }
    buf_add_text(&sql, "ALTER TABLE events ADD COLUMN IF NOT EXISTS inserted_at TIMESTAMP;\n");
    add_place_sql(&sql);
    buf_add_text(&sql, views_sql);
    buf_add_text(&sql, "COMMIT;\n");
    buf_add_byte(&sql, '\0');
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                    : engine_run(warehouse, warehouse->loader, (const char *)sql.at, err);
    buf_fini(&sql);
    return rc;
}

static int count_settled(struct warehouse *warehouse, struct err *err)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        if (engine_table_keys((enum row_table)i) != NULL && engine_settle_count(warehouse, (enum row_table)i, err) < 0)
            return -1;
    return 0;
}

/* A batch may be as large as the caller likes, and as small. */
static bool engine_full(const struct warehouse *warehouse)
{
    (void)warehouse;
    return false;
}

static int64_t engine_pace_us(const struct warehouse *warehouse)
{
    (void)warehouse;
    return 0;
}

static const struct warehouse_backend backend = {
    .close = engine_close, .place = engine_place, .hurry = engine_hurry, .add = engine_add, .pending = engine_pending,
    .pending_of = engine_pending_of, .full = engine_full, .pace_us = engine_pace_us, .commit = engine_commit,
    .rollback = engine_rollback, .in_doubt = engine_in_doubt, .erase = engine_erase, .expire = engine_expire, .wants_rewrite = engine_wants_rewrite,
    .query = engine_query,
};

/* A loader that ended between making the file and making its tables leaves one without: nothing was loaded there. */
static int tables_there(struct warehouse *warehouse, struct err *err)
{
    const struct duckdb *duckdb = &warehouse->duckdb;
    duckdb_data_chunk    chunk = NULL;
    duckdb_result        result;
    int                  rc = 0;

    if (duckdb->query(warehouse->loader, "SELECT 1 FROM duckdb_tables() WHERE table_name = 'penstock_place'", &result) != DUCKDB_SUCCESS)
        rc = engine_err(err, "looking for tables", duckdb->result_error(&result));
    else if ((chunk = duckdb->fetch_chunk(result)) == NULL || duckdb->data_chunk_get_size(chunk) == 0)
        rc = err_set(err, ERR_RETRY, "%.200s has no tables yet: nothing was loaded there", warehouse->path);
    if (chunk != NULL)
        duckdb->destroy_data_chunk(&chunk);
    duckdb->destroy_result(&result);
    return rc;
}

int engine_open(const struct warehouse_options *options, struct warehouse **out, struct err *err)
{
    struct warehouse      *warehouse = calloc(1, sizeof *warehouse);
    struct warehouse_place place;
    char                   wal[ENGINE_PATH_BYTES + 8];
    bool                   crashed;

    if (warehouse == NULL)
        return err_set(err, ERR_FULL, "no memory for the warehouse");
    if ((size_t)snprintf(warehouse->path, sizeof warehouse->path, "%s", options->path) >= sizeof warehouse->path) {
        free(warehouse);
        return err_set(err, ERR_INPUT, "the warehouse's path is longer than %d bytes", ENGINE_PATH_BYTES - 1);
    }
    (void)snprintf(wal, sizeof wal, "%s.wal", warehouse->path);
    crashed = access(wal, F_OK) == 0; /* an orderly close leaves none */
    warehouse->backend = &backend;
    warehouse->magic = WAREHOUSE_MAGIC;
    warehouse->read_only = options->read_only;
    if (duckdb_load(options->library, &warehouse->duckdb, err) < 0) {
        free(warehouse);
        return -1;
    }
    warehouse->chunk_rows_max = (uint32_t)warehouse->duckdb.vector_size();
    if ((!options->read_only && engine_wal_cut(warehouse, err) < 0) || open_database(warehouse, options, true, err) < 0 ||
        (options->read_only && tables_there(warehouse, err) < 0) ||
        (!options->read_only &&
         (engine_settle_adopt(warehouse, err) < 0 || make_tables(warehouse, err) < 0 ||
          engine_feed_init(warehouse, err) < 0 || engine_place(warehouse, &place, err) < 0 ||
          (crashed && engine_recount(warehouse, &place, err) < 0) || count_settled(warehouse, err) < 0))) {
        engine_close(warehouse);
        return -1;
    }
    *out = warehouse;
    return 0;
}

int engine_open_plain(const struct warehouse_options *options, struct warehouse **out, struct err *err)
{
    struct warehouse *warehouse = calloc(1, sizeof *warehouse);

    if (warehouse == NULL)
        return err_set(err, ERR_FULL, "no memory for the warehouse");
    warehouse->backend = &backend;
    warehouse->magic = WAREHOUSE_MAGIC;
    if (duckdb_load(options->library, &warehouse->duckdb, err) < 0) {
        free(warehouse);
        return -1;
    }
    if (open_database(warehouse, options, false, err) < 0) {
        engine_close(warehouse);
        return -1;
    }
    *out = warehouse;
    return 0;
}

void engine_close(struct warehouse *warehouse)
{
    if (warehouse == NULL)
        return;
    assert(warehouse->magic == WAREHOUSE_MAGIC);
    engine_rollback(warehouse);
    if (warehouse->hurry != NULL)
        engine_hurry(warehouse, false);
    engine_tables_fini(warehouse);
    if (warehouse->hurrier != NULL)
        warehouse->duckdb.disconnect(&warehouse->hurrier);
    if (warehouse->loader != NULL)
        warehouse->duckdb.disconnect(&warehouse->loader);
    if (warehouse->database != NULL)
        warehouse->duckdb.close(&warehouse->database);
    warehouse->magic = 0;
    free(warehouse);
}

/* --- the place --------------------------------------------------------------------------------- */

int engine_place(struct warehouse *warehouse, struct warehouse_place *out, struct err *err)
{
    const struct duckdb   *duckdb = &warehouse->duckdb;
    struct warehouse_place place = { .next = { 0 } };
    duckdb_result          result;
    duckdb_data_chunk      chunk = NULL;
    int                    rc = -1;
    struct buf             sql;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_text(&sql, "SELECT ");
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++)
        buf_add_format(&sql, "%snext_%d", i == 0 ? "" : ", ", i);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        buf_add_format(&sql, ", %s", row_tables[i].name);
    buf_add_text(&sql, " FROM penstock_place");
    buf_add_byte(&sql, '\0');
    if (sql.failed) {
        buf_fini(&sql);
        return err_set(err, ERR_FULL, "no memory for a statement");
    }
    if (duckdb->query(warehouse->loader, (const char *)sql.at, &result) != DUCKDB_SUCCESS) {
        engine_err(err, "reading the place", duckdb->result_error(&result));
        goto out;
    }
    chunk = duckdb->fetch_chunk(result);
    if (chunk == NULL || duckdb->data_chunk_get_size(chunk) != 1) {
        err_set(err, ERR_CORRUPT, "penstock_place does not hold one row");
        goto out;
    }
    for (idx_t i = 0; i < WAREHOUSE_CURSORS_MAX + ROW_TABLE_COUNT; i++) {
        uint64_t value = *(uint64_t *)duckdb->vector_get_data(duckdb->data_chunk_get_vector(chunk, i));

        if (i < WAREHOUSE_CURSORS_MAX)
            place.next[i] = value;
        else
            place.loaded[i - WAREHOUSE_CURSORS_MAX] = value;
    }
    memcpy(warehouse->loaded, place.loaded, sizeof place.loaded);
    *out = place;
    rc = 0;
out:
    buf_fini(&sql);
    if (chunk != NULL)
        duckdb->destroy_data_chunk(&chunk);
    duckdb->destroy_result(&result);
    return rc;
}
