/* warehouse/clickhouse_query.c - other people's SQL, read only, at ClickHouse.
 *
 * Three locks on one door: the server is asked with readonly=1, which stops whatever writes and every change of settings;
 * one statement, of the kinds that read, that calls none of the functions that reach files, networks or other databases; and
 * the rights of warehouse.user, who should have none that are not needed (docs/clickhouse.md).
 * The database is that of the views, so that names are those of docs/sql.md; tables are reached as DATABASE.NAME.
 *
 * The answer comes as tab-separated text with names and types and is written by the renderer of the other backend: CSV, JSON
 * and tables look the same. The server gives it when it is whole (wait_end_of_query), so that a failure half-way is one. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "warehouse/clickhouse.h"
#include "warehouse/query_render.h"

enum { LINE_BYTES_MAX = 256 << 20, ROWS_AT_ONCE = 256, NAMES_BYTES_MAX = 1 << 20 };

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
static int check_statement(const char *sql, size_t *bytes_out, struct err *err)
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

/* --- the answer ----------------------------------------------------------------------------------- */

struct reading {
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

static uint8_t unescape(uint8_t byte)
{
    switch (byte) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'b': return '\b';
    case 'f': return '\f';
    case '0': return '\0';
    case 'a': return '\a';
    case 'v': return '\v';
    default: return byte;
    }
}

/* One field of a line, unescaped where it stands. Gives the byte behind it. */
static uint8_t *read_field(uint8_t *at, const uint8_t *end, struct render_cell *out)
{
    uint8_t *to = at, *from = at;

    out->null = end - at >= 2 && at[0] == '\\' && at[1] == 'N' && (at + 2 == end || at[2] == '\t');
    while (from < end && *from != '\t') {
        if (*from == '\\' && from + 1 < end) {
            *to++ = unescape(from[1]);
            from += 2;
        } else {
            *to++ = *from++;
        }
    }
    out->text = span_of(at, (size_t)(to - at));
    return from < end ? from + 1 : from;
}

static bool is_number(struct span type)
{
    static const char *const numbers[] = { "Int", "UInt", "Float", "Decimal", "BFloat" };

    for (;;) { /* Nullable(LowCardinality(...)) */
        if (span_starts(type, SPAN("Nullable(")))
            type = span_from(type, 9);
        else if (span_starts(type, SPAN("LowCardinality(")))
            type = span_from(type, 15);
        else
            break;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (span_starts(type, span_text(numbers[i])) && !span_starts(type, SPAN("Interval")))
            return true;
    return false;
}

static bool is_bool(struct span type)
{
    return span_is(type, "Bool") || span_is(type, "Nullable(Bool)");
}

static int read_names(struct reading *reading, uint8_t *at, uint8_t *end, struct err *err)
{
    struct render_cell cell;
    size_t             count = 1;

    for (const uint8_t *tab = at; (tab = memchr(tab, '\t', (size_t)(end - tab))) != NULL; tab++)
        count++;
    if (count > RENDER_COLUMNS_MAX)
        return err_set(err, ERR_INPUT, "%zu columns are more than %d", count, RENDER_COLUMNS_MAX);
    reading->columns = calloc(count, sizeof *reading->columns);
    reading->count = count;
    if (reading->columns == NULL || buf_reserve(&reading->names, (size_t)(end - at) + count) == NULL)
        return err_set(err, ERR_FULL, "no memory for the columns");
    for (size_t i = 0; i < count; i++) {
        at = read_field(at, end, &cell);
        reading->columns[i].name = (const char *)reading->names.at + reading->names.bytes; /* reserved: it stays */
        buf_add(&reading->names, cell.text);
        buf_add_byte(&reading->names, '\0');
    }
    return 0;
}

static int read_types(struct reading *reading, uint8_t *at, uint8_t *end)
{
    struct render_cell cell;

    for (size_t i = 0; i < reading->count; i++) {
        at = read_field(at, end, &cell);
        reading->columns[i].number = is_number(cell.text);
        reading->columns[i].boolean = is_bool(cell.text);
    }
    render_init(&reading->render, reading->format, reading->columns, reading->count, reading->write, reading->ctx);
    reading->begun = true;
    return 0;
}

/* Renders whole lines, some rows at a time, so that a table's columns are as wide as they need. */
static int read_rows(struct reading *reading, uint8_t *at, uint8_t *end, struct err *err)
{
    struct render_cell *cells = malloc(ROWS_AT_ONCE * reading->count * sizeof *cells);
    size_t              rows = 0;
    int                 rc = 0;

    if (cells == NULL)
        return err_set(err, ERR_FULL, "no memory for rows");
    while (rc == 0 && at < end) {
        uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));

        for (size_t i = 0; i < reading->count; i++)
            at = read_field(at, line_end, &cells[rows * reading->count + i]);
        at = line_end + 1;
        if (++rows == ROWS_AT_ONCE || at >= end) {
            rc = render_rows(&reading->render, cells, rows, err);
            rows = 0;
        }
    }
    free(cells);
    return rc;
}

static int on_piece(void *ctx, struct span piece, struct err *err)
{
    struct reading *reading = ctx;
    uint8_t        *at, *end, *last;
    size_t          before = reading->line.bytes, done;
    int             rc = 0;

    buf_add(&reading->line, piece);
    if (reading->line.failed)
        return err_set(err, ERR_FULL, "a row is larger than %d MiB", LINE_BYTES_MAX >> 20);
    last = memrchr(reading->line.at + before, '\n', reading->line.bytes - before);
    if (last == NULL)
        return 0;
    at = reading->line.at;
    end = last + 1;
    for (; rc == 0 && reading->head < 2 && at < end; reading->head++) {
        uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));

        rc = reading->head == 0 ? read_names(reading, at, line_end, err) : read_types(reading, at, line_end);
        at = line_end + 1;
    }
    if (rc == 0 && at < end)
        rc = read_rows(reading, at, end, err);
    done = (size_t)(end - reading->line.at);
    memmove(reading->line.at, end, reading->line.bytes - done);
    reading->line.bytes -= done;
    return rc;
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
    struct reading           reading = { .format = format, .write = write, .ctx = ctx };
    struct clickhouse_link   link; /* of its own: queries run beside the loader */
    struct buf               statement;
    size_t                   bytes = 0;
    int                      rc;

    if (strlen(sql) > CLICKHOUSE_SQL_BYTES_MAX)
        return err_set(err, ERR_INPUT, "a statement may have %d bytes", CLICKHOUSE_SQL_BYTES_MAX);
    if (check_statement(sql, &bytes, err) < 0)
        return -1;
    if (clickhouse_link_init(&link, warehouse->options.settings, warehouse->password, warehouse->views, err) < 0)
        return -1;
    buf_init(&reading.line, LINE_BYTES_MAX);
    buf_init(&reading.names, NAMES_BYTES_MAX);
    buf_init(&statement, CLICKHOUSE_SQL_BYTES_MAX + 2);
    buf_add(&statement, span_of(sql, bytes));
    buf_add_byte(&statement, '\0');
    rc = statement.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                          : clickhouse_stream(&link, (const char *)statement.at, settings, on_piece, &reading, cancel, err);
    if (rc < 0 && link.code != 0 && link.answered && err->kind == ERR_STOP)
        err->kind = ERR_INPUT; /* no such table, column, function */
    if (rc == 0 && !reading.begun)
        rc = err_set(err, ERR_INPUT, "the statement has no answer");
    if (rc == 0)
        rc = render_end(&reading.render, err);
    if (reading.begun)
        render_fini(&reading.render);
    free(reading.columns);
    buf_fini(&reading.line);
    buf_fini(&reading.names);
    buf_fini(&statement);
    clickhouse_link_fini(&link);
    return rc;
}
