/* warehouse/clickhouse_erase_count.c - which orders are carried out together, and how many rows will go for each. See
 * clickhouse_erase.h.
 *
 * One statement a table counts for all orders: whose a row is, is looked up in two lists, of uuids and of ids, that the server makes
 * once. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "warehouse/clickhouse_erase.h"

enum { SQL_BYTES_MAX = 1 << 20, ANSWER_BYTES_MAX = 1 << 20 };

static void add_name(struct buf *to, const struct warehouse *warehouse, uint64_t offset)
{
    buf_add_format(to, "%" PRIu32 "-%" PRIu64, warehouse->options.unit, offset);
}

static int look_counted(struct erasure *erasure, struct err *err)
{
    struct buf sql;
    uint64_t   counted;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_text(&sql, "SELECT uniqExact(erasure) FROM penstock_erased WHERE name = '' AND erasure IN (");
    buf_add(&sql, buf_span(&erasure->names));
    buf_add(&sql, SPAN(")\0"));
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                    : clickhouse_number(&erasure->warehouse->link, (const char *)sql.at, &counted, err);
    buf_fini(&sql);
    erasure->counted = rc == 0 && counted == erasure->count;
    return rc;
}

int erasure_init(struct erasure *erasure, struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders,
                 size_t count, bool persons, struct err *err)
{
    assert(warehouse->magic == CLICKHOUSE_MAGIC && !warehouse->options.read_only);
    assert(warehouse->placed && warehouse->batch_rows == 0);
    assert(count > 0 && count <= WAREHOUSE_ERASE_MAX && orders[0].offset == warehouse->place.next[WAREHOUSE_ORDERS]);
    *erasure = (struct erasure){ .warehouse = warehouse, .project = project, .orders = orders, .count = count };
    buf_init(&erasure->persons, SQL_BYTES_MAX);
    buf_init(&erasure->names, SQL_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        char uuid[UUID_TEXT_BYTES + 1] = "";

        uuid_format(&orders[i].person, uuid);
        if (persons)
            buf_add_format(&erasure->persons, "%s'%s'", i > 0 ? "," : "", uuid);
        buf_add_text(&erasure->names, i > 0 ? ",'" : "'");
        add_name(&erasure->names, warehouse, orders[i].offset);
        buf_add_byte(&erasure->names, '\'');
    }
    return erasure->persons.failed || erasure->names.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                                                            : look_counted(erasure, err);
}

void erasure_fini(struct erasure *erasure)
{
    buf_fini(&erasure->persons);
    buf_fini(&erasure->names);
}

/* --- which go together (E1) ---------------------------------------------------------------------- */

static int read_until(struct warehouse *warehouse, uint64_t first, uint64_t *out, struct err *err)
{
    char sql[200];

    (void)snprintf(sql, sizeof sql, "SELECT max(rows) FROM penstock_erased WHERE erasure = '%" PRIu32 "-%" PRIu64 "+' AND name = ''",
                   warehouse->options.unit, first);
    return clickhouse_number(&warehouse->link, sql, out, err);
}

/* Of two processes that both fix them the server drops the second note: so what counts is what is there. */
int clickhouse_erase_fix(struct warehouse *warehouse, uint64_t first, uint64_t *until_in_out, struct err *err)
{
    uint64_t                  until, wanted = *until_in_out;
    char                      token[120];
    struct clickhouse_setting settings[] = { { "insert_deduplication_token", token }, { "async_insert", "0" }, { NULL, NULL } };
    struct buf                sql;
    int                       rc;

    assert(warehouse->magic == CLICKHOUSE_MAGIC && !warehouse->options.read_only);
    if (read_until(warehouse, first, &until, err) < 0)
        return -1;
    if (until == 0 && wanted > 0) {
        buf_init(&sql, SQL_BYTES_MAX);
        (void)snprintf(token, sizeof token, "penstock-erased-%" PRIu32 "-%" PRIu64 "+", warehouse->options.unit, first);
        buf_add_text(&sql, "INSERT INTO penstock_erased (erasure, name, rows, team_id, captured_at, events) VALUES ('");
        add_name(&sql, warehouse, first);
        buf_add_format(&sql, "+', '', %" PRIu64 ", 0, NULL, 0)", wanted);
        rc = erasure_run(warehouse, &sql, settings, err);
        buf_fini(&sql);
        if (rc < 0 || read_until(warehouse, first, &until, err) < 0)
            return -1;
        if (until == 0)
            return err_set(err, ERR_RETRY, "ClickHouse does not show a note that it has just taken");
    }
    *until_in_out = until;
    return 0;
}

/* --- how many rows of which order ------------------------------------------------------------------ */

/* 1, 2, 3, ... */
static void add_numbers(struct buf *sql, size_t count)
{
    for (size_t i = 1; i <= count; i++)
        buf_add_format(sql, "%s%zu", i > 1 ? "," : "", i);
}

/* The number of the order, from 1, whose person has this uuid; one more than there are: nobody's. */
static void add_owner_of_uuid(struct buf *sql, const struct erasure *erasure, const char *uuid)
{
    buf_add_format(sql, "transform(%s, [", uuid);
    buf_add(sql, buf_span(&erasure->persons));
    buf_add_text(sql, "], [");
    add_numbers(sql, erasure->count);
    buf_add_format(sql, "], toUInt8(%zu))", erasure->count + 1);
}

static void add_owner(struct buf *sql, const struct erasure *erasure, const struct erasure_table *table)
{
    if (table->ids == NULL) {
        buf_add_text(sql, "1");
        return;
    }
    buf_add_format(sql, "least(toUInt8(%zu)", erasure->count + 1);
    for (size_t i = 0; table->ids[i] != NULL; i++)
        buf_add_format(sql, ", transform(%s, erased_ids.1, erased_ids.2, toUInt8(%zu))", table->ids[i], erasure->count + 1);
    for (size_t i = 0; table->uuids != NULL && table->uuids[i] != NULL; i++) {
        buf_add_text(sql, ", ");
        add_owner_of_uuid(sql, erasure, table->uuids[i]);
    }
    buf_add_byte(sql, ')');
}

/* Which ids lead to which order. The last one, which nobody has, is for those who have none. */
static void add_ids(struct buf *sql, const struct erasure *erasure)
{
    buf_add_format(sql, "WITH (SELECT (arrayPushBack(groupArray(distinct_id), ''), arrayPushBack(groupArray(owner), toUInt8(%zu))) FROM "
                        "(SELECT distinct_id, min(", erasure->count + 1);
    add_owner_of_uuid(sql, erasure, "toString(person_id)");
    buf_add_text(sql, ") AS owner");
    erasure_add_ids_of(sql, erasure);
    buf_add_text(sql, " GROUP BY distinct_id)) AS erased_ids ");
}

int erasure_count(const struct erasure *erasure, const struct erasure_table *table, struct span where, struct err *err)
{
    const struct warehouse   *warehouse = erasure->warehouse;
    char                      token[120];
    struct clickhouse_setting settings[] = { { "insert_deduplication_token", token }, { "async_insert", "0" },
                                             { "min_insert_block_size_rows", "100000000" }, /* all of it or nothing */
                                             { "min_insert_block_size_bytes", "1073741824" }, { NULL, NULL } };
    struct buf                sql;
    int                       rc;

    if (erasure->counted)
        return 0;
    /* Not the token of the first order alone, with which a Penstock that carries out one after the other counts it: the server would drop
     * what is counted of the others. */
    (void)snprintf(token, sizeof token, "penstock-erased-%" PRIu32 "-%" PRIu64 "%s-%s", warehouse->options.unit, erasure->orders[0].offset,
                   erasure->count > 1 ? "+" : "", table->name);
    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "INSERT INTO penstock_erased (erasure, name, rows, team_id, captured_at, events) SELECT erased_name, '%s', "
                         "erased_rows, %" PRIu32 ", erased_hour, erased_events FROM (", table->name, erasure->project);
    if (table->ids != NULL)
        add_ids(&sql, erasure);
    buf_add_text(&sql, "SELECT arrayElement([");
    buf_add(&sql, buf_span(&erasure->names));
    buf_add_text(&sql, "], ");
    add_owner(&sql, erasure, table);
    buf_add_format(&sql, ") AS erased_name, count() AS erased_rows, toStartOfHour(%s) AS erased_hour, %s AS erased_events FROM `%s` WHERE (",
                   table->accepted, table->events, table->name);
    buf_add(&sql, where);
    /* What a first attempt of an order had counted, before it was cut off, does not count. */
    buf_add_format(&sql, ") GROUP BY erased_name, erased_hour) WHERE erased_name != '' AND erased_name NOT IN (SELECT erasure FROM "
                         "penstock_erased WHERE name IN ('', '%s'))", table->name);
    rc = erasure_run(erasure->warehouse, &sql, settings, err);
    buf_fini(&sql);
    return rc < 0 ? err_wrap(err, table->name) : 0;
}

int erasure_counted(const struct erasure *erasure, struct err *err)
{
    struct buf sql;
    int        rc;

    if (erasure->counted)
        return 0;
    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_text(&sql, "INSERT INTO penstock_erased (erasure, name, rows, team_id, captured_at, events) SELECT e, '', 0, 0, NULL, 0 FROM "
                       "(SELECT arrayJoin([");
    buf_add(&sql, buf_span(&erasure->names));
    buf_add_text(&sql, "]) AS e) WHERE e NOT IN (SELECT erasure FROM penstock_erased WHERE name = '')");
    rc = erasure_run(erasure->warehouse, &sql, NULL, err);
    buf_fini(&sql);
    return rc;
}

/* "UNIT-OFFSET \t table \t rows" */
static int take_count(const struct erasure *erasure, char *line, struct warehouse_erased *each, struct warehouse_erased *all)
{
    char    *name = strchr(line, '\t'), *rows = name == NULL ? NULL : strchr(name + 1, '\t'), *dash = strchr(line, '-');
    uint64_t offset, count;

    if (rows == NULL || dash == NULL)
        return -1;
    *name++ = *rows++ = '\0';
    offset = strtoull(dash + 1, NULL, 10);
    count = strtoull(rows, NULL, 10);
    for (size_t i = 0; i < erasure->count; i++)
        if (erasure->orders[i].offset == offset) {
            const struct { const char *table; uint64_t *one, *sum; } at[] = {
                { "events", &each[i].events, &all->events }, { "dead_letters", &each[i].dead_letters, &all->dead_letters },
                { "heatmaps", &each[i].heatmaps, &all->heatmaps }, { "ingestion_warnings", &each[i].warnings, &all->warnings } };

            for (size_t t = 0; t < sizeof at / sizeof *at; t++)
                if (strcmp(at[t].table, name) == 0) {
                    *at[t].one += count;
                    *at[t].sum += count;
                }
            return 0;
        }
    return -1;
}

int erasure_read(const struct erasure *erasure, struct warehouse_erased *each_out, struct warehouse_erased *all_out, struct err *err)
{
    struct buf sql, answer;
    int        rc;

    memset(each_out, 0, erasure->count * sizeof *each_out);
    *all_out = (struct warehouse_erased){ .events = 0 };
    buf_init(&sql, SQL_BYTES_MAX);
    buf_init(&answer, ANSWER_BYTES_MAX);
    buf_add_text(&sql, "SELECT erasure, name, sum(rows) FROM penstock_erased WHERE name != '' AND erasure IN (");
    buf_add(&sql, buf_span(&erasure->names));
    buf_add_text(&sql, ") GROUP BY erasure, name FORMAT TSVRaw");
    buf_add_byte(&sql, '\0');
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                    : clickhouse_run(&erasure->warehouse->link, (const char *)sql.at, NULL, SPAN(""), &answer, err);
    buf_add_byte(&answer, '\0');
    if (rc == 0 && answer.failed)
        rc = err_set(err, ERR_FULL, "no memory for an answer");
    for (char *rest = (char *)answer.at, *line; rc == 0 && (line = strsep(&rest, "\n")) != NULL;)
        if (*line != '\0' && take_count(erasure, line, each_out, all_out) < 0)
            rc = err_set(err, ERR_STOP, "penstock_erased holds a count that cannot be read");
    buf_fini(&answer);
    buf_fini(&sql);
    return rc;
}
