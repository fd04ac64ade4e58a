/* warehouse/query.c - other people's SQL, read only.
 *
 * Four locks on one door, because a query comes from a page or a terminal and the file holds everything:
 *   1. the engine was opened without files, network and extensions, and its settings are locked
 *   2. exactly one statement, and only of the kinds SELECT (with SHOW, DESCRIBE, VALUES) and EXPLAIN, that
 *      calls none of the few functions that act
 *   3. the transaction is READ ONLY, which also stops EXPLAIN ANALYZE DELETE
 *   4. the engine's memory is bounded, the result is streamed, and `cancel` ends a query between two
 *      batches of its work, by way of a thread that watches it
 *
 * Cells as text: the statement is wrapped into SELECT COLUMNS(*)::VARCHAR FROM (...), so that every type,
 * also one that a later engine invents, is written by the engine itself. Its ORDER BY is kept: the
 * projection around it keeps the order of rows. */
#include <assert.h>
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "warehouse/engine.h"
#include "base/clock.h"
#include "base/wait.h"
#include "warehouse/query_render.h"

enum { WATCH_EVERY_MS = 50, SQL_BYTES_MAX = 1 << 20 };

/* --- cancelling -------------------------------------------------------------------------------- */

struct watch {
    const struct duckdb *duckdb;
    duckdb_connection    connection;
    const atomic_bool *cancel;
    pthread_t            thread;
    pthread_mutex_t      lock;
    pthread_cond_t       ended;
    bool                 over; /* @lock lock */
};

static void *watch_run(void *at)
{
    struct watch *watch = at;

    pthread_mutex_lock(&watch->lock);
    while (!watch->over) {
        (void)wait_until(&watch->ended, &watch->lock, clock_mono_us() + WATCH_EVERY_MS * 1000);
        /* Again and again: an interrupt that comes between two steps of a query is forgotten. */
        if (!watch->over && *watch->cancel)
            watch->duckdb->interrupt(watch->connection);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

static int watch_start(struct watch *watch, struct err *err)
{
    int failed;

    if (watch->cancel == NULL)
        return 0;
    pthread_mutex_init(&watch->lock, NULL);
    wait_cond_init(&watch->ended);
    failed = pthread_create(&watch->thread, NULL, watch_run, watch);
    if (failed == 0)
        return 0;
    watch->cancel = NULL;
    return err_errno(err, failed, "no thread to watch the query");
}

static void watch_stop(struct watch *watch)
{
    if (watch->cancel == NULL)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->over = true;
    pthread_cond_signal(&watch->ended);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->ended);
    pthread_mutex_destroy(&watch->lock);
}

/* --- one statement ----------------------------------------------------------------------------- */

struct query {
    const struct duckdb      *duckdb;
    duckdb_connection         connection;
    const atomic_bool         *cancel;
    duckdb_prepared_statement statement; /* the person's, then the wrapped one */
    struct render_column     *columns;
    size_t                    column_count;
};

static int query_err(struct query *query, struct err *err, const char *said)
{
    if (query->cancel != NULL && *query->cancel)
        return err_set(err, ERR_RETRY, "the query was cancelled");
    if (said != NULL && strstr(said, "Out of Memory Error") != NULL)
        return err_set(err, ERR_FULL, "the query needs more memory than load.memory allows: %s", said);
    return err_set(err, ERR_INPUT, "%s", said != NULL ? said : "the engine gave no reason");
}

/* Prepares sql, which must be one statement that only reads. */
static int query_prepare(struct query *query, const char *sql, struct err *err)
{
    const struct duckdb        *duckdb = query->duckdb;
    duckdb_extracted_statements statements = NULL;
    idx_t                       count = duckdb->extract_statements(query->connection, sql, &statements);
    duckdb_statement_type       type;
    const char                 *said;
    int                         rc = -1;

    said = statements != NULL && count == 0 ? duckdb->extract_statements_error(statements) : NULL;
    if (said != NULL) {
        query_err(query, err, said);
        goto out;
    }
    if (count != 1) {
        err_set(err, ERR_INPUT, "one statement at a time; this text has %d", (int)count);
        goto out;
    }
    if (query->statement != NULL)
        duckdb->destroy_prepare(&query->statement);
    if (duckdb->prepare_extracted_statement(query->connection, statements, 0, &query->statement) != DUCKDB_SUCCESS) {
        query_err(query, err, duckdb->prepare_error(query->statement));
        goto out;
    }
    type = duckdb->prepared_statement_type(query->statement);
    if (type != DUCKDB_STATEMENT_TYPE_SELECT && type != DUCKDB_STATEMENT_TYPE_EXPLAIN) {
        err_set(err, ERR_INPUT, "only statements that read are allowed: SELECT, FROM, WITH, VALUES, SHOW, DESCRIBE, "
                                "SUMMARIZE, EXPLAIN");
        goto out;
    }
    if (duckdb->nparams(query->statement) != 0) {
        err_set(err, ERR_INPUT, "parameters ($1, ?) cannot be given here: write the values into the statement");
        goto out;
    }
    rc = 0;
out:
    duckdb->destroy_extracted(&statements);
    return rc;
}

/* Types are those of the person's own columns, not of the texts around them. */
static int query_columns(struct query *query, struct err *err)
{
    const struct duckdb *duckdb = query->duckdb;
    idx_t                count = duckdb->prepared_statement_column_count(query->statement);

    if (count > RENDER_COLUMNS_MAX)
        return err_set(err, ERR_INPUT, "%d columns are more than %d", (int)count, RENDER_COLUMNS_MAX);
    query->columns = calloc(count + 1, sizeof *query->columns);
    if (query->columns == NULL)
        return err_set(err, ERR_FULL, "no memory for the columns");
    query->column_count = count;
    for (idx_t i = 0; i < count; i++) {
        duckdb_type type = duckdb->prepared_statement_column_type(query->statement, i);

        query->columns[i].boolean = type == DUCKDB_TYPE_BOOLEAN;
        query->columns[i].number = (type >= DUCKDB_TYPE_TINYINT && type <= DUCKDB_TYPE_DOUBLE) ||
                                   type == DUCKDB_TYPE_HUGEINT || type == DUCKDB_TYPE_UHUGEINT ||
                                   type == DUCKDB_TYPE_DECIMAL;
    }
    return 0;
}

/* Passes one token: a quoted text, a comment, a name, or one other byte. NULL: it has no end. Knows as
 * much of the grammar as hides semicolons and brackets. */
static const char *token_end(const char *at)
{
    const char *end;

    if (*at == '\'' || *at == '"') {
        end = strchr(at + 1, *at);
        return end != NULL ? end + 1 : NULL;
    }
    if (at[0] == '-' && at[1] == '-')
        return strchr(at, '\n');
    if (at[0] == '/' && at[1] == '*') {
        end = strstr(at + 2, "*/");
        return end != NULL ? end + 2 : NULL;
    }
    if (at[0] == '$' && at[1] == '$') {
        end = strstr(at + 2, "$$");
        return end != NULL ? end + 2 : NULL;
    }
    for (end = at; isalnum((unsigned char)*end) || *end == '_'; end++)
        ;
    return end > at ? end : at + 1;
}

/* Before its semicolon, if it has one. A mistake here is only a refused query, because the wrapped text is
 * checked as the first one was. */
static size_t statement_bytes(const char *sql)
{
    for (const char *at = sql; *at != '\0'; at = token_end(at))
        if (*at == ';' || token_end(at) == NULL)
            return *at == ';' ? (size_t)(at - sql) : strlen(sql);
    return strlen(sql);
}

/* Functions that read nothing and do something: a SELECT may call them, also in a READ ONLY transaction. */
static const char *const acting_functions[] = { "checkpoint", "force_checkpoint", "enable_logging", "disable_logging",
                                                "truncate_duckdb_logs", "write_log", "enable_profiling",
                                                "disable_profiling", "set_config" };

static bool is_space_or_comment(const char *at)
{
    return isspace((unsigned char)*at) || (at[0] == '-' && at[1] == '-') || (at[0] == '/' && at[1] == '*');
}

/* The acting function that the text calls, or NULL. */
static const char *acting_call(const char *sql)
{
    for (const char *at = sql, *end; *at != '\0'; at = end) {
        const char *next;
        bool        quoted = *at == '"';
        size_t      bytes;

        end = token_end(at);
        if (end == NULL)
            return NULL;
        for (next = end; next != NULL && *next != '\0' && is_space_or_comment(next); next = token_end(next))
            ;
        if (next == NULL || *next != '(')
            continue;
        bytes = (size_t)(end - at) - (quoted ? 2 : 0);
        for (size_t i = 0; i < sizeof acting_functions / sizeof *acting_functions; i++)
            if (strlen(acting_functions[i]) == bytes && strncasecmp(acting_functions[i], at + quoted, bytes) == 0)
                return acting_functions[i];
    }
    return NULL;
}

static int query_wrap(struct query *query, const char *sql, struct err *err)
{
    struct buf wrapped;
    int        rc;

    buf_init(&wrapped, SQL_BYTES_MAX + 100);
    buf_add_text(&wrapped, "SELECT COLUMNS(*)::VARCHAR FROM (");
    buf_add(&wrapped, span_of(sql, statement_bytes(sql)));
    buf_add_text(&wrapped, "\n)"); /* the line end closes a last -- comment */
    buf_add_byte(&wrapped, '\0');
    rc = wrapped.failed ? err_set(err, ERR_INPUT, "a statement may have %d bytes", SQL_BYTES_MAX)
                        : query_prepare(query, (const char *)wrapped.at, err);
    buf_fini(&wrapped);
    return rc;
}

static int query_stream(struct query *query, duckdb_result *result, struct render *render, struct err *err)
{
    const struct duckdb *duckdb = query->duckdb;

    for (;;) {
        duckdb_data_chunk chunk = duckdb->fetch_chunk(*result);
        int               rc;

        if (query->cancel != NULL && *query->cancel) {
            if (chunk != NULL)
                duckdb->destroy_data_chunk(&chunk);
            return err_set(err, ERR_RETRY, "the query was cancelled");
        }
        if (chunk == NULL) {
            const char *said = duckdb->result_error(result);

            return said != NULL && said[0] != '\0' ? query_err(query, err, said) : render_end(render, err);
        }
        rc = duckdb->data_chunk_get_size(chunk) > 0 ? render_chunk(render, duckdb, chunk, err) : 0;
        duckdb->destroy_data_chunk(&chunk);
        if (rc < 0)
            return -1;
    }
}

static int query_run(struct query *query, enum warehouse_format format, warehouse_write *write, void *ctx,
                     struct err *err)
{
    const struct duckdb  *duckdb = query->duckdb;
    duckdb_pending_result pending = NULL;
    duckdb_result         result;
    struct render         render;
    int                   rc = -1;

    memset(&result, 0, sizeof result);
    if (duckdb->pending_prepared_streaming(query->statement, &pending) != DUCKDB_SUCCESS) {
        query_err(query, err, duckdb->pending_error(pending));
        goto out;
    }
    if (duckdb->execute_pending(pending, &result) != DUCKDB_SUCCESS) {
        query_err(query, err, duckdb->result_error(&result));
        goto out;
    }
    if (duckdb->column_count(&result) != query->column_count) {
        err_set(err, ERR_INPUT, "the statement's columns cannot be told apart: give each a name");
        goto out;
    }
    for (idx_t i = 0; i < query->column_count; i++)
        query->columns[i].name = duckdb->column_name(&result, i);
    render_init(&render, format, query->columns, query->column_count, write, ctx);
    rc = query_stream(query, &result, &render, err);
    render_fini(&render);
out:
    duckdb->destroy_result(&result);
    duckdb->destroy_pending(&pending);
    return rc;
}

int engine_query(struct warehouse *warehouse, const char *sql, enum warehouse_format format, warehouse_write *write,
                    void *ctx, const atomic_bool *cancel, struct err *err)
{
    struct query query = { .duckdb = &warehouse->duckdb, .cancel = cancel };
    struct watch watch = { .duckdb = &warehouse->duckdb, .cancel = cancel };
    int          rc = -1;

    assert(warehouse->magic == WAREHOUSE_MAGIC);
    if (strlen(sql) > SQL_BYTES_MAX)
        return err_set(err, ERR_INPUT, "a statement may have %d bytes", SQL_BYTES_MAX);
    if (acting_call(sql) != NULL)
        return err_set(err, ERR_INPUT, "%s() does something instead of reading: it is not allowed here", acting_call(sql));
    if (query.duckdb->connect(warehouse->database, &query.connection) != DUCKDB_SUCCESS)
        return err_set(err, ERR_FULL, "no connection to the engine");
    watch.connection = query.connection;
    if (watch_start(&watch, err) < 0)
        goto out;
    if (engine_run(warehouse, query.connection, "USE " ENGINE_DATABASE "; BEGIN TRANSACTION READ ONLY", err) == 0 &&
        query_prepare(&query, sql, err) == 0 && query_columns(&query, err) == 0 &&
        (query.duckdb->prepared_statement_type(query.statement) == DUCKDB_STATEMENT_TYPE_EXPLAIN ||
         query_wrap(&query, sql, err) == 0))
        rc = query_run(&query, format, write, ctx, err);
    watch_stop(&watch);
out:
    if (query.statement != NULL)
        query.duckdb->destroy_prepare(&query.statement);
    query.duckdb->disconnect(&query.connection);
    free(query.columns);
    return rc;
}
