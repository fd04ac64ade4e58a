/* warehouse/clickhouse.c - the other backend: opening, and how large a batch may be.
 *
 * Opening asks the server for little: whether the tables are those of this Penstock (else they are made and mended), and which
 * columns each takes. So tables that PostHog made can stay: what they work out themselves is not sent to them. */
#include "warehouse/clickhouse.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/say.h"
#include "warehouse/clickhouse_schema.h"

enum { ANSWER_BYTES_MAX = 4 << 20, INSERT_BYTES_MAX = 16 << 10 };
/* What a batch may need of memory, and of the server's: it unpacks an INSERT before it writes it. */
enum { FULL_BYTES = 96 << 20, PACKED_FULL_BYTES = 24 << 20 };
static const int64_t first_pace_us = 1000000; /* a second between INSERTs is what ClickHouse asks for */

/* --- opening ----------------------------------------------------------------------------------- */

static bool name_valid(const char *name)
{
    size_t bytes = 0;

    for (; name[bytes] != '\0'; bytes++)
        if (!isalnum((unsigned char)name[bytes]) && name[bytes] != '_' && name[bytes] != '-')
            return false;
    return bytes > 0 && bytes < CLICKHOUSE_NAME_BYTES - 40;
}

static int copy_options(struct warehouse *warehouse, const struct warehouse_options *options, struct err *err)
{
    const struct warehouse_settings *settings = options->settings;

    if (strncmp(settings->url, "http://", 7) != 0 && strncmp(settings->url, "https://", 8) != 0)
        return err_set(err, ERR_INPUT, "warehouse.url is to be ClickHouse's HTTP address, http://host:8123");
    warehouse->options = *options;
    warehouse->database = settings->database;
    warehouse->cluster = settings->cluster != NULL && settings->cluster[0] != '\0' ? settings->cluster : NULL;
    if (!name_valid(warehouse->database) || (warehouse->cluster != NULL && !name_valid(warehouse->cluster)))
        return err_set(err, ERR_INPUT, "warehouse.database and warehouse.cluster are names of letters, digits and _");
    (void)snprintf(warehouse->views, sizeof warehouse->views, "%s_sql", warehouse->database);
    return secret_read(settings->password_file, "WAREHOUSE_PASSWORD", warehouse->password, err);
}

static int run_statement(void *ctx, const char *sql, struct err *err)
{
    static const struct clickhouse_setting settings[] = { { "distributed_ddl_task_timeout", "120" }, { "alter_sync", "2" }, { NULL, NULL } };
    struct warehouse                      *warehouse = ctx;

    if (clickhouse_run(&warehouse->link, sql, settings, SPAN(""), NULL, err) == 0)
        return 0;
    if (warehouse->link.code == 497 && strncmp(sql, "CREATE FUNCTION", 15) == 0) { /* only a convenience */
        say(SAY_WARN, "ClickHouse's user may not make functions: `penstock trace` and `dlq` need epoch_us and make_timestamp there");
        return 0;
    }
    return err_wrap(err, "making tables");
}

/* The version of the tables that are there; 0: none. */
static int schema_version(struct warehouse *warehouse, uint64_t *out, struct err *err)
{
    char sql[300 + CLICKHOUSE_NAME_BYTES];

    (void)snprintf(sql, sizeof sql, "SELECT count() FROM system.tables WHERE database = '%s' AND name = 'penstock_schema'",
                   warehouse->database);
    if (clickhouse_number(&warehouse->link, sql, out, err) < 0)
        return -1;
    if (*out == 0)
        return 0;
    (void)snprintf(sql, sizeof sql, "SELECT max(version) FROM `%s`.penstock_schema", warehouse->database);
    return clickhouse_number(&warehouse->link, sql, out, err);
}

/* Which columns the server's tables take from us. False in *whole: something is missing. */
static int read_columns(struct warehouse *warehouse, bool *whole, struct err *err)
{
    char       sql[300 + CLICKHOUSE_NAME_BYTES], *rest, *line;
    struct buf answer;
    int        rc;

    (void)snprintf(sql, sizeof sql, "SELECT concat(table, '.', name) FROM system.columns WHERE database = '%s' AND default_kind "
                                    "NOT IN ('MATERIALIZED', 'ALIAS') FORMAT TSVRaw", warehouse->database);
    buf_init(&answer, ANSWER_BYTES_MAX);
    rc = clickhouse_run(&warehouse->link, sql, NULL, SPAN(""), &answer, err);
    buf_add_byte(&answer, '\0');
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        warehouse->tables[id].columns = 0;
    for (line = rc == 0 ? strtok_r((char *)answer.at, "\n", &rest) : NULL; line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *name = strchr(line, '.');

        if (name == NULL)
            continue;
        *name++ = '\0';
        for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
            for (size_t i = 0; strcmp(clickhouse_columns[id].table, line) == 0 && i < clickhouse_columns[id].count; i++)
                if (strcmp(clickhouse_columns[id].columns[i].name, name) == 0)
                    warehouse->tables[id].columns |= (uint64_t)1 << i;
    }
    buf_fini(&answer);
    *whole = true;
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        for (size_t i = 0; i < clickhouse_columns[id].count; i++) /* what PostHog may work out by itself is not missed */
            *whole = *whole && ((warehouse->tables[id].columns >> i & 1) != 0 || clickhouse_columns[id].columns[i].name[0] == '$');
    return rc;
}

static int make_inserts(struct warehouse *warehouse, struct err *err)
{
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++) {
        struct buf sql;
        bool       first = true;

        buf_init(&sql, INSERT_BYTES_MAX);
        buf_add_format(&sql, "INSERT INTO `%s`.`%s` (", warehouse->database, clickhouse_columns[id].table);
        for (size_t i = 0; i < clickhouse_columns[id].count; i++)
            if (warehouse->tables[id].columns >> i & 1) {
                buf_add_format(&sql, "%s`%s`", first ? "" : ", ", clickhouse_columns[id].columns[i].name);
                first = false;
            }
        buf_add_text(&sql, ") FORMAT RowBinary");
        buf_add_byte(&sql, '\0');
        if (!sql.failed)
            warehouse->tables[id].insert = strdup((const char *)sql.at);
        buf_fini(&sql);
        if (warehouse->tables[id].insert == NULL)
            return err_set(err, ERR_FULL, "no memory for the warehouse");
    }
    return 0;
}

/* Tables as this Penstock needs them. */
static int prepare(struct warehouse *warehouse, struct err *err)
{
    struct clickhouse_schema schema = { .form = warehouse->cluster != NULL ? CLICKHOUSE_CLUSTER : CLICKHOUSE_SINGLE,
                                        .database = warehouse->database, .cluster = warehouse->cluster };
    uint64_t version;
    bool     whole = false;

    if (schema_version(warehouse, &version, err) < 0)
        return -1;
    if (version > CLICKHOUSE_SCHEMA)
        return err_set(err, ERR_INPUT, "ClickHouse's tables are those of a newer Penstock (version %d, this one knows %d)",
                       (int)version, CLICKHOUSE_SCHEMA);
    if (version == CLICKHOUSE_SCHEMA && read_columns(warehouse, &whole, err) < 0)
        return -1;
    if (!whole && (clickhouse_schema(&schema, run_statement, warehouse, err) < 0 || read_columns(warehouse, &whole, err) < 0))
        return -1;
    if (!whole)
        return err_set(err, ERR_STOP, "tables of ClickHouse's database %s miss columns, and could not be mended", warehouse->database);
    return make_inserts(warehouse, err);
}

static const struct warehouse_backend backend;

int clickhouse_open(const struct warehouse_options *options, struct warehouse **out, struct err *err)
{
    struct warehouse *warehouse = calloc(1, sizeof *warehouse);
    uint8_t           random[10];

    if (warehouse == NULL)
        return err_set(err, ERR_FULL, "no memory for the warehouse");
    warehouse->backend = &backend;
    warehouse->magic = CLICKHOUSE_MAGIC;
    warehouse->pace_us = first_pace_us;
    clickhouse_tables_reset(warehouse, false);
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        err_errno(err, errno, "no random numbers");
        warehouse_close(warehouse);
        return -1;
    }
    warehouse->writer = uuid_v7(clock_wall_us() / 1000, random);
    if (copy_options(warehouse, options, err) < 0 || clickhouse_link_init(&warehouse->link, options->settings, warehouse->password, NULL, err) < 0 ||
        (!options->read_only && prepare(warehouse, err) < 0)) {
        warehouse_close(warehouse);
        return -1;
    }
    warehouse->link.database = warehouse->database; /* not before: there may have been none */
    *out = warehouse;
    return 0;
}

static void close_it(struct warehouse *warehouse)
{
    assert(warehouse->magic == CLICKHOUSE_MAGIC);
    clickhouse_link_fini(&warehouse->link);
    clickhouse_tables_reset(warehouse, true);
    for (int i = 0; i < ROW_TABLE_COUNT; i++) {
        free(warehouse->tables[i].insert);
        free(warehouse->tables[i].there);
    }
    explicit_bzero(warehouse->password, sizeof warehouse->password);
    warehouse->magic = 0;
    free(warehouse);
}

/* --- the open batch's size ------------------------------------------------------------------------ */

static size_t pending(const struct warehouse *warehouse)
{
    return warehouse->batch_rows;
}

static size_t pending_of(const struct warehouse *warehouse, enum row_table table)
{
    return warehouse->tables[table].batch_rows;
}

static bool full(const struct warehouse *warehouse)
{
    uint64_t packed = 0;

    if (warehouse->place.again) /* it ends where it ended */
        return false;
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        packed += warehouse->tables[i].packed.bytes;
    return warehouse->batch_bytes >= FULL_BYTES || packed >= PACKED_FULL_BYTES;
}

static int64_t pace_us(const struct warehouse *warehouse)
{
    return warehouse->pace_us;
}

/* Mutations write parts anew: nothing is left to do (clickhouse_erase.c). */
static int wants_rewrite(struct warehouse *warehouse, bool *out, struct err *err)
{
    (void)warehouse;
    (void)err;
    *out = false;
    return 0;
}

static const struct warehouse_backend backend = {
    .close = close_it, .place = clickhouse_place, .place_of = clickhouse_place_of, .add = clickhouse_add, .pending = pending, .pending_of = pending_of,
    .full = full, .pace_us = pace_us, .commit = clickhouse_commit, .rollback = clickhouse_rollback, .erase_fix = clickhouse_erase_fix,
    .erase = clickhouse_erase, .expire = clickhouse_expire, .wants_rewrite = wants_rewrite, .query = clickhouse_query,
};
