/* warehouse/clickhouse_erase.c - rows that must go, at ClickHouse.
 *
 * ALTER TABLE ... DELETE writes every part anew that has such a row, without it, and is waited for: a receipt says "done" of
 * what is done, on every replica. A lightweight DELETE would only hide rows. The parts of before are deleted by the server
 * after old_parts_lifetime (eight minutes, as it comes). What it costs hardly grows with the persons, so orders that wait are
 * carried out together.
 *
 * There is no transaction, so the order of work makes it one that can be begun again: which orders go together and how many rows will go
 * is kept first, under the orders' own places (clickhouse_erase.h); then rows go, those last by which the others are found.
 *
 * A mutation looks at every part of its table, and is a file in each: so a table that had no such row when they were counted gets none.
 * In a cluster it does all the same: who counted may have been a replica that is behind. */
#include "warehouse/clickhouse_erase.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SQL_BYTES_MAX = 1 << 20 };

#define DETAIL(name) "JSONExtractString(details, '" name "')"

/* Where a warning may name a distinct id, and a person. */
static const char *const warning_ids[] = { "distinct_id", DETAIL("distinctId"), DETAIL("sourcePersonDistinctId"), DETAIL("targetPersonDistinctId"),
                                           DETAIL("illegalDistinctId"), DETAIL("otherDistinctId"), NULL };
static const char *const warning_persons[] = { DETAIL("personId"), DETAIL("otherPersonId"), NULL };
static const char *const own_id[] = { "distinct_id", NULL }, *const letter_id[] = { "ifNull(distinct_id, '')", NULL },
                  *const event_person[] = { "toString(person_id)", NULL };

int erasure_run(struct warehouse *warehouse, struct buf *sql, const struct clickhouse_setting *settings, struct err *err)
{
    int rc;

    buf_add_byte(sql, '\0');
    rc = sql->failed ? err_set(err, ERR_FULL, "no memory for a statement")
                     : clickhouse_run(&warehouse->link, (const char *)sql->at, settings, SPAN(""), NULL, err);
    buf_reset(sql);
    return rc;
}

/* --- statements ------------------------------------------------------------------------------------ */

void erasure_add_ids_of(struct buf *sql, const struct erasure *erasure)
{
    buf_add_format(sql, " FROM `%s`.person_distinct_id2 WHERE team_id = %" PRIu32 " AND person_id IN (", erasure->warehouse->database,
                   erasure->project);
    buf_add(sql, buf_span(&erasure->persons));
    buf_add_text(sql, ") AND is_deleted = 1");
}

static void add_team(struct buf *where, const struct erasure *erasure)
{
    buf_add_format(where, "team_id = %" PRIu32 " AND ", erasure->project);
}

/* "COLUMN IN (their ids)" */
static void add_in_ids(struct buf *where, const struct erasure *erasure, const char *column)
{
    buf_add_format(where, "%s IN (SELECT distinct_id", column);
    erasure_add_ids_of(where, erasure);
    buf_add_byte(where, ')');
}

static void add_in_persons(struct buf *where, const struct erasure *erasure, const char *column)
{
    buf_add_format(where, "%s IN (", column);
    buf_add(where, buf_span(&erasure->persons));
    buf_add_byte(where, ')');
}

/* Where its rows are: in a cluster those that are spread are another table's, on each shard. */
static int delete_rows(struct warehouse *warehouse, const char *table, bool spread, struct span where, struct err *err)
{
    static const struct clickhouse_setting settings[] = { { "mutations_sync", "2" }, { "allow_nondeterministic_mutations", "1" },
                                                          { "validate_mutation_query", "0" }, { NULL, NULL } };
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "ALTER TABLE `%s`.`%s%s`", warehouse->database, warehouse->cluster != NULL && spread ? "sharded_" : "", table);
    if (warehouse->cluster != NULL && spread) /* of the others each replica has all rows */
        buf_add_format(&sql, " ON CLUSTER `%s`", warehouse->cluster);
    buf_add_text(&sql, " DELETE WHERE ");
    buf_add(&sql, where);
    rc = erasure_run(warehouse, &sql, settings, err);
    buf_fini(&sql);
    return rc < 0 ? err_wrap(err, table) : 0;
}

/* The same, when anything was counted there. */
static int delete_counted(struct warehouse *warehouse, const char *table, bool spread, uint64_t counted, struct span where, struct err *err)
{
    return counted == 0 && warehouse->cluster == NULL ? 0 : delete_rows(warehouse, table, spread, where, err);
}

static int count_now(struct warehouse *warehouse, const char *table, struct span where, uint64_t *out, struct err *err)
{
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "SELECT count() FROM `%s`.%s WHERE ", warehouse->database, table);
    buf_add(&sql, where);
    buf_add_byte(&sql, '\0');
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement") : clickhouse_number(&warehouse->link, (const char *)sql.at, out, err);
    buf_fini(&sql);
    return rc < 0 ? err_wrap(err, table) : 0;
}

/* --- rows of events and of what came with them ------------------------------------------------------- */

enum { OF_EVENTS, OF_LETTERS, OF_HEATMAPS, OF_WARNINGS, PARTS };

static const struct erasure_table parts[PARTS] = {
    [OF_EVENTS] = { "events", "captured_at", "count()", own_id, event_person },
    [OF_LETTERS] = { "dead_letters", "received_at", "countIf(received_at IS NOT NULL AND step = 'load')", letter_id, NULL },
    [OF_HEATMAPS] = { "heatmaps", "captured_at", "count(event_uuid)", own_id, NULL },
    [OF_WARNINGS] = { "ingestion_warnings", "timestamp", "0", warning_ids, warning_persons },
};

static void add_where(struct buf *where, const struct erasure *erasure, int part)
{
    add_team(where, erasure);
    buf_add_byte(where, '(');
    add_in_ids(where, erasure, "distinct_id");
    if (part == OF_EVENTS) {
        buf_add_text(where, " OR ");
        add_in_persons(where, erasure, "person_id");
    }
    if (part == OF_WARNINGS) {
        buf_add_text(where, " OR hasAny([");
        for (size_t i = 1; warning_ids[i] != NULL; i++)
            buf_add_format(where, "%s%s", i > 1 ? ", " : "", warning_ids[i]);
        buf_add_text(where, "], (SELECT groupArray(distinct_id)");
        erasure_add_ids_of(where, erasure);
        buf_add_text(where, "))");
        for (size_t i = 0; warning_persons[i] != NULL; i++) {
            buf_add_text(where, " OR ");
            add_in_persons(where, erasure, warning_persons[i]);
        }
    }
    buf_add_byte(where, ')');
}

static int erase_rows(const struct erasure *erasure, struct warehouse_erased *out, struct err *err)
{
    struct warehouse_erased all;
    struct buf              where[PARTS];
    int                     rc = 0;

    for (int i = 0; i < PARTS; i++) {
        buf_init(&where[i], SQL_BYTES_MAX);
        add_where(&where[i], erasure, i);
        if (where[i].failed)
            rc = err_set(err, ERR_FULL, "no memory for a statement");
    }
    for (int i = 0; i < PARTS && rc == 0; i++)
        rc = erasure_count(erasure, &parts[i], buf_span(&where[i]), err);
    if (rc == 0 && erasure_counted(erasure, err) == 0 && erasure_read(erasure, out, &all, err) == 0) {
        const uint64_t counted[PARTS] = { all.events, all.dead_letters, all.heatmaps, all.warnings };

        for (int i = 0; i < PARTS && rc == 0; i++)
            rc = delete_counted(erasure->warehouse, parts[i].name, i != OF_LETTERS, counted[i], buf_span(&where[i]), err);
    } else {
        rc = -1;
    }
    for (int i = 0; i < PARTS; i++)
        buf_fini(&where[i]);
    return rc;
}

/* --- rows of persons and ids -------------------------------------------------------------------------- */

/* What was made of the same ids after the deletion has higher versions, and stays. */
static int erase_persons(const struct erasure *erasure, struct err *err)
{
    const char *database = erasure->warehouse->database;
    struct buf  where;
    int         rc;

    buf_init(&where, SQL_BYTES_MAX);
    add_team(&where, erasure);
    add_in_persons(&where, erasure, "id");
    buf_add_format(&where, " AND (id, version) IN (SELECT a.id, a.version FROM `%s`.person AS a JOIN (SELECT id, max(version) AS erased FROM "
                           "`%s`.person WHERE ", database, database);
    add_team(&where, erasure);
    add_in_persons(&where, erasure, "id");
    buf_add_text(&where, " AND is_deleted = 1 GROUP BY id) AS b ON a.id = b.id WHERE a.");
    add_team(&where, erasure);
    add_in_persons(&where, erasure, "a.id");
    buf_add_text(&where, " AND a.version <= b.erased)");
    rc = where.failed ? err_set(err, ERR_FULL, "no memory for a statement") : delete_rows(erasure->warehouse, "person", false, buf_span(&where), err);
    buf_fini(&where);
    return rc;
}

/* Persons that were merged away are rows of ids of their own: the last one says so, and the ones before, with what was known of them,
 * are replaced by it whenever the server merges their parts, which may be never. Nobody asks for such a row, and which of them
 * were merged into the person is told nowhere for good, so all of the project's go. In the order of the table, so that the
 * server needs no memory for persons that have none. */
static int delete_replaced(struct warehouse *warehouse, uint32_t project, struct err *err)
{
    char     replaced[600], text[700];
    uint64_t rows;

    (void)snprintf(replaced, sizeof replaced,
                   "(SELECT id, arrayJoin(arrayFilter(v -> v < gone, live)) FROM (SELECT id, maxIf(version, is_deleted = 1) AS gone, "
                   "groupArrayIf(version, is_deleted = 0) AS live FROM `%s`.person WHERE team_id = %" PRIu32 " GROUP BY team_id, id HAVING "
                   "gone > 0) SETTINGS optimize_aggregation_in_order = 1)", warehouse->database, project);
    (void)snprintf(text, sizeof text, "SELECT count() FROM %s", replaced);
    if (clickhouse_number(&warehouse->link, text, &rows, err) < 0)
        return err_wrap(err, "person");
    (void)snprintf(text, sizeof text, "team_id = %" PRIu32 " AND is_deleted = 0 AND (id, version) IN %s", project, replaced);
    return rows == 0 ? 0 : delete_rows(warehouse, "person", false, span_text(text), err);
}

static int erase_ids(const struct erasure *erasure, const char *table, struct err *err)
{
    struct buf where;
    uint64_t   rows;
    int        rc;

    buf_init(&where, SQL_BYTES_MAX);
    add_team(&where, erasure);
    buf_add_format(&where, "(distinct_id, toUInt64(version)) IN (SELECT a.distinct_id, toUInt64(a.version) FROM `%s`.%s AS a JOIN "
                           "(SELECT distinct_id, max(version) AS erased", erasure->warehouse->database, table);
    erasure_add_ids_of(&where, erasure);
    buf_add_text(&where, " GROUP BY distinct_id) AS b ON a.distinct_id = b.distinct_id WHERE a.");
    add_team(&where, erasure);
    buf_add_text(&where, "a.version <= b.erased)");
    rc = where.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                      : count_now(erasure->warehouse, table, buf_span(&where), &rows, err);
    if (rc == 0)
        rc = delete_counted(erasure->warehouse, table, false, rows, buf_span(&where), err);
    buf_fini(&where);
    return rc;
}

int clickhouse_erase(struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders, size_t count,
                     struct warehouse_erased *out, struct err *err)
{
    struct erasure erasure;
    int            rc = erasure_init(&erasure, warehouse, project, orders, count, true, err);

    if (rc == 0 && (erase_rows(&erasure, out, err) < 0 || erase_persons(&erasure, err) < 0 || delete_replaced(warehouse, project, err) < 0 ||
                    erase_ids(&erasure, "person_distinct_id_overrides", err) < 0 || erase_ids(&erasure, "person_distinct_id2", err) < 0))
        rc = -1;
    erasure_fini(&erasure);
    return rc;
}

/* --- what is too old ----------------------------------------------------------------------------------- */

int clickhouse_expire(struct warehouse *warehouse, uint32_t project, int64_t before_us, struct warehouse_erased *out,
                      struct err *err)
{
    static const struct erasure_table events = { "events", "captured_at", "count()", NULL, NULL },
                                      heatmaps = { "heatmaps", "captured_at", "count(event_uuid)", NULL, NULL };
    struct warehouse_order  order = { .offset = warehouse->place.next[WAREHOUSE_ORDERS] };
    struct warehouse_erased all;
    struct erasure          erasure;
    char                    text[200];
    struct span             where;
    int                     rc = erasure_init(&erasure, warehouse, project, &order, 1, false, err);

    (void)snprintf(text, sizeof text, "team_id = %" PRIu32 " AND timestamp < fromUnixTimestamp64Micro(%" PRId64 ", 'UTC')", project, before_us);
    where = span_text(text);
    if (rc == 0 && (erasure_count(&erasure, &events, where, err) < 0 || erasure_count(&erasure, &heatmaps, where, err) < 0 ||
                    erasure_counted(&erasure, err) < 0 || erasure_read(&erasure, out, &all, err) < 0 ||
                    (out->events > 0 && delete_rows(warehouse, "events", true, where, err) < 0) ||
                    (out->heatmaps > 0 && delete_rows(warehouse, "heatmaps", true, where, err) < 0)))
        rc = -1;
    erasure_fini(&erasure);
    return rc;
}
