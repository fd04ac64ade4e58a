/* warehouse/clickhouse_erase.c - rows that must go, at ClickHouse.
 *
 * ALTER TABLE ... DELETE writes every part anew that has such a row, without it, and is waited for: a receipt says "done" of
 * what is done, on every replica. A lightweight DELETE would only hide rows. The parts of before are deleted by the server
 * after old_parts_lifetime (eight minutes, as it comes).
 *
 * There is no transaction, so the order of work makes it one that can be begun again: how many rows will go is counted
 * and kept first, under the order's own place; then rows go, those last by which the others are found. Begun again, the
 * counts are those of the first time.
 *
 * A mutation looks at every part of its table, and is a file in each: so a table that had no such row when they were counted gets none.
 * In a cluster it does all the same: who counted may have been a replica that is behind. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "warehouse/clickhouse.h"

enum { SQL_BYTES_MAX = 1 << 20, WHERE_BYTES_MAX = 4096 };

#define DETAIL(name) "JSONExtractString(details, '" name "')"

struct erasure {
    struct warehouse *warehouse;
    char              name[60];  /* of this order: its place */
    bool              counted;   /* it was begun before */
};

static int run(struct warehouse *warehouse, struct buf *sql, const struct clickhouse_setting *settings, struct err *err)
{
    int rc;

    buf_add_byte(sql, '\0');
    rc = sql->failed ? err_set(err, ERR_FULL, "no memory for a statement")
                     : clickhouse_run(&warehouse->link, (const char *)sql->at, settings, SPAN(""), NULL, err);
    buf_reset(sql);
    return rc;
}

static int begin(struct warehouse *warehouse, struct erasure *erasure, struct err *err)
{
    char     sql[200];
    uint64_t counts;

    assert(warehouse->magic == CLICKHOUSE_MAGIC && !warehouse->options.read_only);
    assert(warehouse->placed && warehouse->batch_rows == 0);
    *erasure = (struct erasure){ .warehouse = warehouse };
    (void)snprintf(erasure->name, sizeof erasure->name, "%" PRIu32 "-%" PRIu64, warehouse->options.unit,
                   warehouse->place.next[WAREHOUSE_ORDERS]);
    (void)snprintf(sql, sizeof sql, "SELECT count() FROM penstock_erased WHERE erasure = '%s' AND name = ''", erasure->name);
    if (clickhouse_number(&warehouse->link, sql, &counts, err) < 0)
        return -1;
    erasure->counted = counts > 0;
    return 0;
}

/* Counts what will go, by project and hour of acceptance, and how many of the rows stood for an accepted event. */
static int count_rows(struct erasure *erasure, const char *table, const char *accepted, const char *events, const char *where,
                      struct err *err)
{
    char                      token[120];
    struct clickhouse_setting settings[] = { { "insert_deduplication_token", token }, { "async_insert", "0" }, { NULL, NULL } };
    struct buf                sql;
    int                       rc;

    if (erasure->counted)
        return 0;
    (void)snprintf(token, sizeof token, "penstock-erased-%s-%s", erasure->name, table);
    buf_init(&sql, SQL_BYTES_MAX);
    /* What a first attempt of this order had counted, before it was cut off, does not count. */
    buf_add_format(&sql, "INSERT INTO penstock_erased (erasure, name, rows, team_id, captured_at, events) SELECT '%s', '%s', count(), "
                         "assumeNotNull(team_id) AS team, %s AS hour, %s FROM `%s` WHERE (%s) AND (SELECT count() FROM penstock_erased "
                         "WHERE erasure = '%s' AND name = '%s') = 0 GROUP BY team, hour",
                   erasure->name, table, accepted, events, table, where, erasure->name, table);
    rc = run(erasure->warehouse, &sql, settings, err);
    buf_fini(&sql);
    return rc;
}

/* All tables are counted: from here on rows may go. */
static int end_counting(struct erasure *erasure, struct err *err)
{
    struct buf sql;
    int        rc;

    if (erasure->counted)
        return 0;
    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "INSERT INTO penstock_erased (erasure, name, rows, team_id, captured_at, events) VALUES ('%s', '', 0, 0, NULL, 0)",
                   erasure->name);
    rc = run(erasure->warehouse, &sql, NULL, err);
    buf_fini(&sql);
    return rc;
}

static int read_count(const struct erasure *erasure, const char *table, uint64_t *out, struct err *err)
{
    char sql[300];

    (void)snprintf(sql, sizeof sql, "SELECT sum(rows) FROM penstock_erased WHERE erasure = '%s' AND name = '%s'", erasure->name, table);
    return clickhouse_number(&erasure->warehouse->link, sql, out, err);
}

/* Where its rows are: in a cluster those that are spread are another table's, on each shard. */
static int delete_rows(struct warehouse *warehouse, const char *table, bool spread, const char *where, struct err *err)
{
    static const struct clickhouse_setting settings[] = { { "mutations_sync", "2" }, { "allow_nondeterministic_mutations", "1" },
                                                          { "validate_mutation_query", "0" }, { NULL, NULL } };
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "ALTER TABLE `%s`.`%s%s`", warehouse->database, warehouse->cluster != NULL && spread ? "sharded_" : "", table);
    if (warehouse->cluster != NULL && spread) /* of the others each replica has all rows */
        buf_add_format(&sql, " ON CLUSTER `%s`", warehouse->cluster);
    buf_add_format(&sql, " DELETE WHERE %s", where);
    rc = run(warehouse, &sql, settings, err);
    buf_fini(&sql);
    return rc < 0 ? err_wrap(err, table) : 0;
}

/* The same, when anything was counted there. */
static int delete_counted(struct warehouse *warehouse, const char *table, bool spread, uint64_t counted, const char *where, struct err *err)
{
    return counted == 0 && warehouse->cluster == NULL ? 0 : delete_rows(warehouse, table, spread, where, err);
}

#define OVER(table) "SELECT distinct_id, max(version) AS erased FROM `%s`." table " WHERE team_id = %" PRIu32 " AND person_id = '%s' " \
                    "AND is_deleted = 1 GROUP BY distinct_id"

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
    return rows == 0 ? 0 : delete_rows(warehouse, "person", false, text, err);
}

static int count_now(struct warehouse *warehouse, const char *table, const char *where, uint64_t *out, struct err *err)
{
    char sql[1300];

    if ((size_t)snprintf(sql, sizeof sql, "SELECT count() FROM `%s`.%s WHERE %s", warehouse->database, table, where) >= sizeof sql)
        return err_set(err, ERR_FULL, "no room for a statement");
    return clickhouse_number(&warehouse->link, sql, out, err) < 0 ? err_wrap(err, table) : 0;
}

int clickhouse_erase(struct warehouse *warehouse, uint32_t project, const struct uuid *person, struct warehouse_erased *out,
                     struct err *err)
{
    struct warehouse_erased erased = { 0 };
    struct erasure          erasure;
    char   uuid[UUID_TEXT_BYTES + 1] = "", ids[600], events[1000], by_id[1000], warnings[WHERE_BYTES_MAX], rest[1000];
    const char *const ids_tables[] = { "person_distinct_id_overrides", "person_distinct_id2" };
    uint64_t          rows;

    uuid_format(person, uuid);
    if (begin(warehouse, &erasure, err) < 0)
        return -1;
    (void)snprintf(ids, sizeof ids, "(SELECT distinct_id FROM (" OVER("person_distinct_id2") "))", warehouse->database, project, uuid);
    (void)snprintf(events, sizeof events, "team_id = %" PRIu32 " AND (person_id = '%s' OR distinct_id IN %s)", project, uuid, ids);
    (void)snprintf(by_id, sizeof by_id, "team_id = %" PRIu32 " AND distinct_id IN %s", project, ids);
    if ((size_t)snprintf(warnings, sizeof warnings,
                         "team_id = %" PRIu32 " AND (distinct_id IN %s OR hasAny([" DETAIL("distinctId") ", " DETAIL("sourcePersonDistinctId")
                         ", " DETAIL("targetPersonDistinctId") ", " DETAIL("illegalDistinctId") ", " DETAIL("otherDistinctId")
                         "], (SELECT groupArray(distinct_id) FROM (" OVER("person_distinct_id2") "))) OR " DETAIL("personId") " = '%s' OR "
                         DETAIL("otherPersonId") " = '%s')",
                         project, ids, warehouse->database, project, uuid, uuid, uuid) >= sizeof warnings)
        return err_set(err, ERR_FULL, "no room for a statement");
    if (count_rows(&erasure, "events", "toStartOfHour(captured_at)", "count()", events, err) < 0 ||
        count_rows(&erasure, "dead_letters", "toStartOfHour(received_at)", "countIf(received_at IS NOT NULL AND step = 'load')", by_id, err) < 0 ||
        count_rows(&erasure, "heatmaps", "toStartOfHour(captured_at)", "count(event_uuid)", by_id, err) < 0 ||
        count_rows(&erasure, "ingestion_warnings", "toStartOfHour(timestamp)", "0", warnings, err) < 0 || end_counting(&erasure, err) < 0)
        return -1;
    if (read_count(&erasure, "events", &erased.events, err) < 0 || read_count(&erasure, "dead_letters", &erased.dead_letters, err) < 0 ||
        read_count(&erasure, "heatmaps", &erased.heatmaps, err) < 0 ||
        read_count(&erasure, "ingestion_warnings", &erased.warnings, err) < 0)
        return -1;
    if (delete_counted(warehouse, "events", true, erased.events, events, err) < 0 ||
        delete_counted(warehouse, "dead_letters", false, erased.dead_letters, by_id, err) < 0 ||
        delete_counted(warehouse, "heatmaps", true, erased.heatmaps, by_id, err) < 0 ||
        delete_counted(warehouse, "ingestion_warnings", true, erased.warnings, warnings, err) < 0)
        return -1;
    /* What was made of the same ids after the deletion has higher versions, and stays. */
    (void)snprintf(rest, sizeof rest, "team_id = %" PRIu32 " AND id = '%s' AND version <= (SELECT max(version) FROM `%s`.person WHERE "
                                      "team_id = %" PRIu32 " AND id = '%s' AND is_deleted = 1)", project, uuid, warehouse->database, project, uuid);
    if (delete_rows(warehouse, "person", false, rest, err) < 0 || delete_replaced(warehouse, project, err) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(rest, sizeof rest, "team_id = %" PRIu32 " AND (distinct_id, toUInt64(version)) IN (SELECT a.distinct_id, toUInt64(a.version) "
                                          "FROM `%s`.%s AS a JOIN (" OVER("person_distinct_id2") ") AS b ON a.distinct_id = b.distinct_id WHERE "
                                          "a.team_id = %" PRIu32 " AND a.version <= b.erased)", project, warehouse->database, ids_tables[i],
                       warehouse->database, project, uuid, project);
        if (count_now(warehouse, ids_tables[i], rest, &rows, err) < 0 || delete_counted(warehouse, ids_tables[i], false, rows, rest, err) < 0)
            return -1;
    }
    *out = erased;
    return 0;
}

int clickhouse_expire(struct warehouse *warehouse, uint32_t project, int64_t before_us, struct warehouse_erased *out,
                      struct err *err)
{
    struct warehouse_erased erased = { 0 };
    struct erasure          erasure;
    char                    where[200];

    if (begin(warehouse, &erasure, err) < 0)
        return -1;
    (void)snprintf(where, sizeof where, "team_id = %" PRIu32 " AND timestamp < fromUnixTimestamp64Micro(%" PRId64 ", 'UTC')", project, before_us);
    if (count_rows(&erasure, "events", "toStartOfHour(captured_at)", "count()", where, err) < 0 ||
        count_rows(&erasure, "heatmaps", "toStartOfHour(captured_at)", "count(event_uuid)", where, err) < 0 || end_counting(&erasure, err) < 0 ||
        read_count(&erasure, "events", &erased.events, err) < 0 || read_count(&erasure, "heatmaps", &erased.heatmaps, err) < 0)
        return -1;
    if ((erased.events > 0 && delete_rows(warehouse, "events", true, where, err) < 0) ||
        (erased.heatmaps > 0 && delete_rows(warehouse, "heatmaps", true, where, err) < 0))
        return -1;
    *out = erased;
    return 0;
}
