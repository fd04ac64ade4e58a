/* warehouse/clickhouse_query.c - other people's SQL, read only, at ClickHouse.
 *
 * Three locks on one door: the server is asked with readonly=1, which stops whatever writes and every change of settings;
 * one statement, of the kinds that read, that calls none of the functions that reach files, networks or other databases; and
 * the rights of warehouse.user, who should have none that are not needed (docs/clickhouse.md).
 * The database is that of the views, so that names are those of docs/sql.md; tables are reached as DATABASE.NAME.
 *
 * The server gives the answer when it is whole (wait_end_of_query), so that a failure half-way is one. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "warehouse/clickhouse.h"
#include "warehouse/clickhouse_answer.h"

/* --- the statement ------------------------------------------------------------------------------- */

/* Passes one token: a quoted text, a comment, a name, or one other byte. NULL: it has no end. */
static const char *token_end(const char *at)
{
    const char *end;

    if (*at == '\'' || *at == '"' || *at == '`') {
        for (end = at + 1; *end != '\0' && *end != *at; end++)
            if (*end == '\\' && end[1] != '\0')
                end++;
        return *end != '\0' ? end + 1 : NULL;
    }
    if (at[0] == '-' && at[1] == '-')
        return (end = strchr(at, '\n')) != NULL ? end : at + strlen(at);
    if (at[0] == '/' && at[1] == '*')
        return (end = strstr(at + 2, "*/")) != NULL ? end + 2 : NULL;
    for (end = at; isalnum((unsigned char)*end) || *end == '_'; end++)
        ;
    return end > at ? end : at + 1;
}

static bool is_blank(const char *at)
{
    return isspace((unsigned char)*at) || (at[0] == '-' && at[1] == '-') || (at[0] == '/' && at[1] == '*');
}

static const char *skip_blank(const char *at)
{
    while (at != NULL && *at != '\0' && is_blank(at))
        at = token_end(at);
    return at;
}

static bool token_is(const char *at, const char *end, const char *word)
{
    return (size_t)(end - at) == strlen(word) && strncasecmp(at, word, strlen(word)) == 0;
}

static const char *const reading_words[] = { "SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "FROM", "VALUES" };
/* They reach what is not this database. Beginnings of names: s3Cluster, urlCluster, mergeTreeIndex are none of anybody's business. */
static const char *const reaching_functions[] = { "file", "url", "s3", "gcs", "hdfs", "remote", "mysql", "postgresql", "mongodb",
    "sqlite", "odbc", "jdbc", "azure", "iceberg", "deltalake", "hudi", "paimon", "redis", "executable", "python", "input", "ytsaurus",
    "arrowflight", "prometheus", "catboost", "mergetree" };

static bool reaches(const char *at, size_t bytes)
{
    if (bytes > 0 && (*at == '`' || *at == '"')) {
        at++;
        bytes -= 2;
    }
    for (size_t i = 0; i < sizeof reaching_functions / sizeof *reaching_functions; i++)
        if (bytes >= strlen(reaching_functions[i]) && strncasecmp(at, reaching_functions[i], strlen(reaching_functions[i])) == 0)
            return true;
    return false;
}

/* How many bytes of sql are the statement. */
int clickhouse_statement(const char *sql, size_t *bytes_out, struct err *err)
{
    const char *at = skip_blank(sql), *end;
    bool        known = false, table_comes = false;

    for (; at != NULL && *at == '('; at = skip_blank(at + 1))
        ;
    if (at == NULL || *at == '\0')
        return err_set(err, ERR_INPUT, "this is no statement");
    end = token_end(at);
    for (size_t i = 0; end != NULL && i < sizeof reading_words / sizeof *reading_words; i++)
        known = known || token_is(at, end, reading_words[i]);
    if (!known)
        return err_set(err, ERR_INPUT, "only statements that read are allowed: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN, EXISTS");
    for (at = sql; *at != '\0'; at = end) {
        const char *next;

        end = token_end(at);
        if (end == NULL)
            return err_set(err, ERR_INPUT, "a quoted text or a comment has no end");
        if (is_blank(at))
            continue;
        next = skip_blank(end);
        if (*at == ';') {
            if (next == NULL || *next != '\0')
                return err_set(err, ERR_INPUT, "one statement at a time");
            *bytes_out = (size_t)(at - sql);
            return 0;
        }
        if (next != NULL && *next == '(' && table_comes && reaches(at, (size_t)(end - at)))
            return err_set(err, ERR_INPUT, "%.*s() reaches out of this database: it is not allowed here", (int)(end - at), at);
        if (token_is(at, end, "INTO") || (token_is(at, end, "FORMAT") && next != NULL && isalpha((unsigned char)*next)))
            return err_set(err, ERR_INPUT, "INTO and FORMAT are not for here: the answer's form is --format");
        /* A function in a table's place stands behind one of these. */
        table_comes = token_is(at, end, "FROM") || token_is(at, end, "JOIN") || *at == ',' || *at == '(' || token_is(at, end, "TABLE") ||
                      token_is(at, end, "DESCRIBE") || token_is(at, end, "DESC") || token_is(at, end, "IN");
    }
    *bytes_out = strlen(sql);
    return 0;
}

/* --- asking --------------------------------------------------------------------------------------- */

int clickhouse_query(struct warehouse *warehouse, const char *sql, enum warehouse_format format, warehouse_write *write,
                     void *ctx, const atomic_bool *cancel, struct err *err)
{
    static const struct clickhouse_setting settings[] = {
        { "default_format", "TabSeparatedWithNamesAndTypes" }, { "wait_end_of_query", "1" },
        { "cancel_http_readonly_queries_on_client_close", "1" }, { "output_format_decimal_trailing_zeros", "1" },
        { "cast_keep_nullable", "1" },
        { "readonly", "1" }, { NULL, NULL },
    };
    struct clickhouse_answer answer;
    struct clickhouse_link   link; /* of its own: queries run beside the loader */
    struct buf               statement;
    size_t                   bytes = 0;
    int                      rc;

    if (strlen(sql) > CLICKHOUSE_SQL_BYTES_MAX)
        return err_set(err, ERR_INPUT, "a statement may have %d bytes", CLICKHOUSE_SQL_BYTES_MAX);
    if (clickhouse_statement(sql, &bytes, err) < 0)
        return -1;
    if (clickhouse_link_init(&link, warehouse->options.settings, warehouse->password, warehouse->views, err) < 0)
        return -1;
    clickhouse_answer_init(&answer, format, write, ctx);
    buf_init(&statement, CLICKHOUSE_SQL_BYTES_MAX + 2);
    buf_add(&statement, span_of(sql, bytes));
    buf_add_byte(&statement, '\0');
    rc = statement.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                          : clickhouse_stream(&link, (const char *)statement.at, settings, clickhouse_answer_piece, &answer, cancel, err);
    if (rc < 0 && link.code != 0 && link.answered && err->kind == ERR_STOP)
        err->kind = ERR_INPUT; /* no such table, column, function */
    if (rc == 0)
        rc = clickhouse_answer_end(&answer, err);
    clickhouse_answer_fini(&answer);
    buf_fini(&statement);
    clickhouse_link_fini(&link);
    return rc;
}
