/* warehouse/erase.c - rows that must go: of a person that was erased, of events that are too old.
 *
 * A DELETE hides rows, and their bytes stay in the file: blocks are given back when a whole row group is gone, and even
 * then they hold what they held until something else is written there. So after a deletion the file is written anew
 * (warehouse_rewrite), which is the one way to be sure that what was erased is in no block of it. A note in the file
 * says that this is still to be done, from the deletion's own transaction on.
 *
 * How many rows were taken out is kept by table: after a crash the rows are counted against what was loaded less
 * these (recount.c). */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "warehouse/engine.h"

enum { SQL_BYTES_MAX = 64 << 10 };

/* A member of a warning's details; what is no JSON has none. */
#define DETAIL(name) "CASE WHEN json_valid(details) THEN json_extract_string(details, '$." name "') END"

static int run(struct warehouse *warehouse, struct buf *sql, struct err *err)
{
    buf_add_byte(sql, '\0');
    return sql->failed ? err_set(err, ERR_FULL, "no memory for a statement")
                       : engine_run(warehouse, warehouse->loader, (const char *)sql->at, err);
}

/* Deletes from an append-only table, and counts: by project and hour of acceptance, and how many of the rows stood for an
 * accepted event, so that what is asked about the fate of all events still adds up. */
static int delete_rows(struct warehouse *warehouse, const char *table, const char *accepted, const char *events,
                       const char *where, uint64_t *out, struct err *err)
{
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "SELECT count(*) FROM %s WHERE %s", table, where);
    buf_add_byte(&sql, '\0');
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                    : engine_count(warehouse, (const char *)sql.at, out, err);
    if (rc == 0 && *out > 0) {
        buf_reset(&sql);
        buf_add_format(&sql, "INSERT INTO penstock_erased SELECT '%s', count(*), team_id, date_trunc('hour', %s), %s FROM %s "
                             "WHERE %s GROUP BY ALL;\nDELETE FROM %s WHERE %s;\n",
                       table, accepted, events, table, where, table, where);
        rc = run(warehouse, &sql, err);
    }
    buf_fini(&sql);
    return rc;
}

static int begin(struct warehouse *warehouse, struct err *err)
{
    assert(warehouse->magic == WAREHOUSE_MAGIC && !warehouse->read_only);
    assert(!warehouse->in_batch && warehouse->batch_rows == 0);
    if (engine_run(warehouse, warehouse->loader, "BEGIN", err) < 0)
        return -1;
    warehouse->in_batch = true;
    return 0;
}

static int mark_rewrite(struct warehouse *warehouse, struct err *err)
{
    return engine_run(warehouse, warehouse->loader, "INSERT INTO penstock_erased(name, rows) VALUES ('', 1)", err);
}

/* The ids that the person had when it was deleted: those that lead to it, deleted ones too. */
static int find_ids(struct warehouse *warehouse, uint32_t project, const char *person, struct err *err)
{
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "CREATE OR REPLACE TEMP TABLE erased_ids AS SELECT distinct_id, max(version) FILTER (is_deleted) AS "
                         "version FROM (SELECT team_id, distinct_id, person_id, is_deleted, version FROM "
                         "person_distinct_ids_settled UNION ALL SELECT team_id, distinct_id, person_id, is_deleted, version "
                         "FROM person_distinct_ids_recent) WHERE team_id = %" PRIu32 " AND person_id = '%s' GROUP BY 1 "
                         "HAVING max(version) FILTER (is_deleted) IS NOT NULL;\n",
                   project, person);
    rc = run(warehouse, &sql, err);
    buf_fini(&sql);
    return rc;
}

/* The rows that say who it was. What was made of the same ids after the deletion has higher versions, and stays. */
static int erase_people(struct warehouse *warehouse, uint32_t project, const char *person, struct err *err)
{
    static const char *const halves[] = { "settled", "recent" };
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_format(&sql, "CREATE OR REPLACE TEMP TABLE erased_person AS SELECT max(version) AS version FROM (SELECT version FROM "
                         "persons_settled WHERE team_id = %" PRIu32 " AND id = '%s' AND is_deleted UNION ALL SELECT version FROM "
                         "persons_recent WHERE team_id = %" PRIu32 " AND id = '%s' AND is_deleted);\n",
                   project, person, project, person);
    for (int i = 0; i < 2; i++) {
        buf_add_format(&sql, "DELETE FROM persons_%s WHERE team_id = %" PRIu32 " AND id = '%s' AND version <= (SELECT version "
                             "FROM erased_person);\n", halves[i], project, person);
        buf_add_format(&sql, "DELETE FROM person_distinct_ids_%s AS t USING erased_ids AS e WHERE t.team_id = %" PRIu32
                             " AND t.distinct_id = e.distinct_id AND t.version <= e.version;\n", halves[i], project);
    }
    buf_add_text(&sql, "DROP TABLE erased_person;\nDROP TABLE erased_ids;\n");
    rc = run(warehouse, &sql, err);
    buf_fini(&sql);
    return rc;
}

int engine_erase(struct warehouse *warehouse, uint32_t project, const struct warehouse_order *orders, size_t count, struct warehouse_erased *out,
                 struct err *err)
{
    static const char ids[] = "(SELECT distinct_id FROM erased_ids)";
    struct warehouse_erased erased = { 0 };
    char   uuid[UUID_TEXT_BYTES + 1] = "", where[2000];

    assert(count == 1); /* warehouse_erase_max */
    uuid_format(&orders[0].person, uuid);
    if (begin(warehouse, err) < 0 || find_ids(warehouse, project, uuid, err) < 0)
        return -1;
    (void)snprintf(where, sizeof where, "team_id = %" PRIu32 " AND (person_id = '%s' OR distinct_id IN %s)", project, uuid, ids);
    if (delete_rows(warehouse, "events", "captured_at", "count(*)", where, &erased.events, err) < 0)
        return -1;
    (void)snprintf(where, sizeof where, "team_id = %" PRIu32 " AND distinct_id IN %s", project, ids);
    if (delete_rows(warehouse, "dead_letters", "received_at", "count(received_at) FILTER (step = 'load')", where,
                    &erased.dead_letters, err) < 0 ||
        delete_rows(warehouse, "heatmaps", "captured_at", "count(event_uuid)", where, &erased.heatmaps, err) < 0)
        return -1;
    (void)snprintf(where, sizeof where,
                   "team_id = %" PRIu32 " AND (distinct_id IN %s OR " DETAIL("distinctId") " IN %s OR " DETAIL("sourcePersonDistinctId")
                   " IN %s OR " DETAIL("targetPersonDistinctId") " IN %s OR " DETAIL("illegalDistinctId") " IN %s OR "
                   DETAIL("otherDistinctId") " IN %s OR " DETAIL("personId") " = '%s' OR " DETAIL("otherPersonId") " = '%s')",
                   project, ids, ids, ids, ids, ids, ids, uuid, uuid);
    if (delete_rows(warehouse, "ingestion_warnings", "timestamp", "0", where, &erased.warnings, err) < 0 ||
        erase_people(warehouse, project, uuid, err) < 0 || mark_rewrite(warehouse, err) < 0)
        return -1;
    *out = erased;
    return 0;
}

int engine_expire(struct warehouse *warehouse, uint32_t project, int64_t before_us, struct warehouse_erased *out,
                     struct err *err)
{
    struct warehouse_erased erased = { 0 };
    char   where[200];

    if (begin(warehouse, err) < 0)
        return -1;
    (void)snprintf(where, sizeof where, "team_id = %" PRIu32 " AND timestamp < make_timestamp(%" PRId64 ")", project, before_us);
    if (delete_rows(warehouse, "events", "captured_at", "count(*)", where, &erased.events, err) < 0 ||
        delete_rows(warehouse, "heatmaps", "captured_at", "count(event_uuid)", where, &erased.heatmaps, err) < 0 ||
        (erased.events + erased.heatmaps > 0 && mark_rewrite(warehouse, err) < 0))
        return -1;
    *out = erased;
    return 0;
}

int engine_wants_rewrite(struct warehouse *warehouse, bool *out, struct err *err)
{
    uint64_t marks;

    if (engine_count(warehouse, "SELECT count(*) FROM penstock_erased WHERE name = ''", &marks, err) < 0)
        return -1;
    *out = marks > 0;
    return 0;
}

/* --- writing the file anew --------------------------------------------------------------------- */

static void add_path(struct buf *sql, const char *path)
{
    for (; *path != '\0'; path++)
        buf_add_text(sql, *path == '\'' ? "''" : (char[]){ *path, '\0' });
}

static int sync_path(const char *path, int flags, struct err *err)
{
    int fd = open(path, flags | O_CLOEXEC), rc = 0;

    if (fd < 0 || fsync(fd) < 0)
        rc = err_errno(err, errno, "%s", path);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

/* The copy is attached under another name; of the old file only the blocks that hold rows are read. */
static int copy_into(struct warehouse *warehouse, const char *to, struct err *err)
{
    struct buf sql;
    int        rc;

    buf_init(&sql, SQL_BYTES_MAX);
    buf_add_text(&sql, "ATTACH '");
    add_path(&sql, to);
    buf_add_format(&sql, "' AS rewritten (READ_WRITE, ROW_GROUP_SIZE %d, STORAGE_VERSION 'v1.5.0');\n", WAREHOUSE_GROUP_ROWS);
    buf_add_text(&sql, "COPY FROM DATABASE " ENGINE_DATABASE " TO rewritten;\n"
                       "DELETE FROM rewritten.penstock_erased WHERE name = '';\n"
                       "CHECKPOINT rewritten;\nDETACH rewritten;\n");
    rc = run(warehouse, &sql, err);
    buf_fini(&sql);
    return rc;
}

int engine_rewrite(const struct warehouse_options *options, struct err *err)
{
    struct warehouse *warehouse;
    char              to[ENGINE_PATH_BYTES + 16], wal[ENGINE_PATH_BYTES + 32], folder[ENGINE_PATH_BYTES + 16];
    int               rc;

    if ((size_t)snprintf(to, sizeof to, "%s.new", options->path) >= sizeof to)
        return err_set(err, ERR_INPUT, "the warehouse's path is too long");
    (void)snprintf(wal, sizeof wal, "%s.wal", to);
    if ((unlink(to) < 0 && errno != ENOENT) || (unlink(wal) < 0 && errno != ENOENT))
        return err_errno(err, errno, "%s", to);
    if (engine_open_plain(options, &warehouse, err) < 0)
        return -1;
    rc = copy_into(warehouse, to, err);
    engine_close(warehouse); /* folds its write-ahead log into the old file, which then has none */
    (void)snprintf(wal, sizeof wal, "%s.wal", options->path);
    if (rc == 0 && access(wal, F_OK) == 0)
        rc = err_set(err, ERR_RETRY, "%s was not folded into its file", wal);
    if (rc < 0 || sync_path(to, O_RDONLY, err) < 0) {
        (void)unlink(to);
        return -1;
    }
    (void)snprintf(folder, sizeof folder, "%s", options->path);
    if (rename(to, options->path) < 0)
        return err_errno(err, errno, "%s", to);
    return sync_path(dirname(folder), O_RDONLY | O_DIRECTORY, err);
}
