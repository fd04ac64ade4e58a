/* command/account_by.c - see account_by.h. Everything is counted into one tally, whose numbers beyond the fates are
 * used for what only a reader knows: what waits where, what the loader set aside, what the warehouse holds. */
#include "command/account_by.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command/account.h"
#include "command/account_spool.h"
#include "command/catalog_access.h"
#include "command/command.h"
#include "command/config_stores.h"
#include "command/people_access.h"
#include "command/question.h"
#include "event/row.h"
#include "ingest/outputs.h"
#include "ingest/tally.h"
#include "log/log.h"
#include "wire/time.h"

enum {
    WAITS_INGEST = TALLY_READ - 1, WAITS_LOAD = TALLY_READ - 2, LOAD_LETTERS = TALLY_READ - 3, ROWS = TALLY_READ - 4,
    WAITS_HEATMAP = TALLY_READ - 5, /* events whose points wait for the loader */
    SQL_BYTES_MAX = 1 << 12, ANSWER_BYTES_MAX = 1 << 28
};
_Static_assert((int)FATE_COUNT <= (int)WAITS_HEATMAP, "a fate has the number of something else");

struct reading {
    const char              *data;
    unsigned                 by;
    struct tally             tally;
    struct catalog_snapshot *catalog; /* NULL: there is none */
    uint32_t                 units;
    struct people_place     *places;  /* of each unit */
    struct taken            *taken;   /* of each unit */
    uint64_t                 events_next;   /* of the topic events: what the warehouse took */
    uint64_t                 events_loaded; /* rows of them */
    uint64_t                 letters;       /* of the loader, whose project is known */
    uint64_t                 left;          /* records that may still be looked at */
    uint64_t                 not_looked_at;
};

static int count(struct reading *reading, uint32_t project, uint32_t hour, int what, uint64_t events, struct err *err)
{
    size_t row;

    if (tally_find_hour(&reading->tally, reading->by & ACCOUNT_BY_PROJECT ? project : 0,
                        reading->by & ACCOUNT_BY_HOUR ? hour : 0, &row, err) < 0)
        return -1;
    tally_count(&reading->tally, row, what, events);
    return 0;
}

static uint32_t hour_of(int64_t us)
{
    return us < TIME_US_HOUR ? 1 : (uint32_t)(us / TIME_US_HOUR);
}

/* --- the warehouse ----------------------------------------------------------------------------- */

/* One statement, so that rows and place are of one moment. Lines of: what, project, hour, count, place. Of what was
 * erased it is kept how many rows stood for an event. */
#define HOUR_OF(column) "coalesce(epoch_us(" column ") // 3600000000, 0)"
#define ROWS_OF(table)  " UNION ALL SELECT 2, team_id, " HOUR_OF("captured_at") ", count(*), 0 FROM " table
#define ERASED_OF(what) " UNION ALL SELECT " what ", coalesce(team_id, 0), " HOUR_OF("captured_at") ", sum(events)::BIGINT, 0 FROM penstock_erased"
static const char place_sql[] =
    "SELECT 0 AS what, 0 AS project, 0 AS hour, events AS n, next_0 AS place FROM penstock_place"
    " UNION ALL SELECT 3, 0, 0, 0, next_4 FROM penstock_place"
    " UNION ALL SELECT 1, coalesce(team_id, 0), " HOUR_OF("received_at") ", count(*), 0 FROM dead_letters"
    " WHERE step = 'load' AND received_at IS NOT NULL GROUP BY ALL";
static const struct part {
    const char *table; /* a file that no loader has opened since it was made may not have it */
    bool        check; /* asked only when rows are counted */
    const char *sql;
} parts[] = {
    { "penstock_erased", false, ERASED_OF("1") " WHERE events > 0 AND name = 'dead_letters' GROUP BY ALL" },
    { "penstock_erased", true, ERASED_OF("2") " WHERE events > 0 AND name <> 'dead_letters' GROUP BY ALL" },
    { "events", true, ROWS_OF("events") " GROUP BY ALL" },
    { "heatmaps", true, ROWS_OF("heatmaps") " WHERE event_uuid IS NOT NULL GROUP BY ALL" },
};

/* The same in ClickHouse's words. It has no transaction: rows of a batch are there before the place says so. Only those before
 * the place count, which is read once, and first. */
#define CH_HOUR         "coalesce(intDiv(epoch_us(accepted_at), 3600000000), 0)"
#define CH_ROWS_OF(what, kind) " UNION ALL SELECT " what ", team_id, " CH_HOUR ", count(), 0 FROM penstock_sources WHERE kind = '" kind \
                        "' AND arrayExists(p -> p.1 = unit AND p.3[topic + 1] > offset, places) GROUP BY ALL"
#define CH_ERASED_OF(what) " UNION ALL SELECT " what ", coalesce(team_id, 0), coalesce(intDiv(epoch_us(captured_at), 3600000000), 0), " \
                        "sum(events), 0 FROM penstock_erased"
static const char clickhouse_sql[] =
    "WITH (SELECT groupArray((unit, events, [next_0, next_1, next_2, next_3, next_4, next_5, next_6, next_7])) FROM penstock_place) AS places "
    "SELECT 0 AS what, 0 AS project, 0 AS hour, arraySum(p -> p.2, places) AS n, arraySum(p -> p.3[1], places) AS place"
    " UNION ALL SELECT 3, 0, 0, 0, arraySum(p -> p.3[5], places)"
    " UNION ALL SELECT 4, p.1, 0, p.3[1], p.3[5] FROM (SELECT arrayJoin(places) AS p)"
    CH_ROWS_OF("1", "dead_letters")
    CH_ERASED_OF("1") " WHERE events > 0 AND name = 'dead_letters' GROUP BY ALL";
static const char clickhouse_check_sql[] =
    CH_ERASED_OF("2") " WHERE events > 0 AND name <> 'dead_letters' GROUP BY ALL"
    CH_ROWS_OF("2", "events") CH_ROWS_OF("2", "heatmaps");

static int answer_read(struct reading *reading, char *at, struct err *err)
{
    at = strchr(at, '\n'); /* the names of the columns */
    for (at = at == NULL ? NULL : at + 1; at != NULL && *at != '\0'; at = strchr(at, '\n'), at = at == NULL ? NULL : at + 1) {
        uint64_t n[5];

        for (size_t i = 0; i < 5; i++) {
            char *end;

            n[i] = strtoull(at, &end, 10);
            if (end == at)
                return err_set(err, ERR_CORRUPT, "the warehouse does not say how many rows there are: %.60s", at);
            at = *end == ',' ? end + 1 : end;
        }
        if (n[0] == 0) {
            reading->events_loaded = n[3];
            reading->events_next = n[4];
            if (reading->units == 1)
                reading->taken[0].next[OUTPUT_EVENTS] = n[4];
        } else if (n[0] == 3) {
            if (reading->units == 1)
                reading->taken[0].next[OUTPUT_HEATMAPS] = n[4];
        } else if (n[0] == 4) { /* a unit's place */
            if (n[1] >= reading->units)
                return err_set(err, ERR_CORRUPT, "the warehouse has rows of unit %" PRIu64 ", and there are %u (log.partitions)", n[1],
                               reading->units);
            reading->taken[n[1]].next[OUTPUT_EVENTS] = n[3];
            reading->taken[n[1]].next[OUTPUT_HEATMAPS] = n[4];
        } else if (count(reading, (uint32_t)n[1], (uint32_t)n[2], n[0] == 1 ? LOAD_LETTERS : ROWS, n[3], err) < 0) {
            return -1;
        }
        reading->letters += n[0] == 1 ? n[3] : 0;
    }
    return 0;
}

static int warehouse_read(struct reading *reading, bool check, struct err *err)
{
    struct buf tables, sql, answer;
    bool       clickhouse;
    int        rc;

    if (!question_possible(reading->data))
        return 0;
    buf_init(&tables, ANSWER_BYTES_MAX);
    buf_init(&sql, SQL_BYTES_MAX);
    buf_init(&answer, ANSWER_BYTES_MAX);
    clickhouse = question_to_clickhouse(reading->data);
    rc = clickhouse ? 0 : question_csv(reading->data, "SELECT '\"' || table_name || '\"' FROM duckdb_tables()", &tables, err);
    buf_add_byte(&tables, '\0');
    buf_add_text(&sql, clickhouse ? clickhouse_sql : place_sql);
    if (clickhouse && check)
        buf_add_text(&sql, clickhouse_check_sql);
    for (size_t i = 0; rc == 0 && !clickhouse && i < sizeof parts / sizeof *parts; i++) {
        char name[40];

        (void)snprintf(name, sizeof name, "\"%s\"", parts[i].table);
        if ((check || !parts[i].check) && strstr((const char *)tables.at, name) != NULL)
            buf_add_text(&sql, parts[i].sql);
    }
    buf_add_byte(&sql, '\0');
    if (rc == 0)
        rc = question_csv(reading->data, (const char *)sql.at, &answer, err);
    buf_add_byte(&answer, '\0');
    if (rc == 0)
        rc = answer_read(reading, (char *)answer.at, err);
    buf_fini(&answer);
    buf_fini(&sql);
    buf_fini(&tables);
    return rc;
}

/* --- ingest's counts --------------------------------------------------------------------------- */

static int fates_take(void *ctx, const struct people_fates *from, struct err *err)
{
    struct reading *reading = ctx;

    for (int what = 0; what < PEOPLE_COUNTERS_MAX; what++)
        if (from->counts[what] > 0 && count(reading, from->project, from->hour, what, from->counts[what], err) < 0)
            return -1;
    return 0;
}

static int fates_read(struct reading *reading, struct err *err)
{
    int rc = 0;

    for (uint32_t u = 0; u < reading->units && rc >= 0; u++) {
        struct people_access access;

        rc = command_people_begin_unit(reading->data, u, &access, err);
        if (rc > 0)
            rc = people_place_get(access.txn, &reading->places[u], err);
        if (rc == 0 && access.txn != NULL)
            rc = people_fates_each(access.txn, fates_take, reading, err);
        command_people_end(&access);
    }
    return rc;
}

/* --- what waits -------------------------------------------------------------------------------- */

/* Counts one record. A finished row that cannot be read stands in a line as stored, and nobody knows in which. */
static int waiting_count(struct reading *reading, const char *topic, struct span body, struct err *err)
{
    struct err    ignored = { .kind = ERR_NONE };
    struct record record;
    struct row    row;
    struct record_moved moved;

    if (strcmp(topic, "events") == 0) {
        if (row_read(body, &row, &ignored) < 0 || row.table != ROW_EVENT) {
            reading->not_looked_at++;
            return 0;
        }
        return count(reading, (uint32_t)row.cells[ROW_EVENT_TEAM_ID].i64, hour_of(row.cells[ROW_EVENT_CAPTURED_AT].i64),
                     WAITS_LOAD, 1, err);
    }
    if (strcmp(topic, "heatmaps") == 0) { /* only the last row of a $$heatmap event stands for it */
        if (row_read(body, &row, &ignored) < 0 || row.table != ROW_HEATMAP || row.cells[ROW_HEATMAP_EVENT_UUID].null)
            return 0;
        return count(reading, (uint32_t)row.cells[ROW_HEATMAP_TEAM_ID].i64, hour_of(row.cells[ROW_HEATMAP_CAPTURED_AT].i64),
                     WAITS_HEATMAP, 1, err);
    }
    if (strcmp(topic, input_topic(INPUT_OVERFLOW)) == 0)
        body = record_moved_read(body, &moved, &ignored) < 0 ? SPAN("") : moved.body;
    if (record_read(body, &record, &ignored) < 0)
        return count(reading, 0, 0, WAITS_INGEST, 1, err);
    return count(reading, tally_project(&record, reading->catalog), hour_of(record.received_us), WAITS_INGEST, 1, err);
}

/* Records [from, end) of a unit's partition of a topic; end UINT64_MAX: all there are. Where there are many writers no number says how many
 * wait before brokers have answered, so it is tried once in any case, and what they say to be there and did not give is not looked at. */
static int topic_read(struct reading *reading, struct log *log, const char *topic, uint32_t unit, uint64_t from, uint64_t end,
                      struct err *err)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct span        body;
    uint64_t           offset = from, looked = 0, waits;
    bool               sparse = log_sparse(log, topic);
    int                rc = 0, more = 1;

    if (from == end)
        return 0;
    if (log_reader_open(log, topic, unit, from, &reader, err) < 0)
        return -1;
    if (end == UINT64_MAX && !sparse && log_reader_end(reader, &end, err) < 0) {
        log_reader_close(reader);
        return -1;
    }
    waits = sparse ? log_reader_lag(reader, from) : from < end ? end - from : 0;
    while (rc == 0 && more > 0 && (looked < waits || (sparse && looked == 0)) && reading->left > 0) {
        more = account_reader_next(reader, looked == 0 ? from : offset + 1, end == UINT64_MAX ? 0 : end, &chunk, err);
        if (more <= 0 || chunk.kind == LOG_GAP)
            continue;
        while (rc == 0 && reading->left > 0 && log_chunk_next(&chunk, &offset, &body) && offset < end) {
            rc = waiting_count(reading, topic, body, err);
            looked++;
            reading->left--;
        }
        if (offset >= end)
            break;
    }
    if (sparse)
        waits = looked + (more == 0 || reading->left == 0 ? log_reader_lag(reader, looked == 0 ? from : offset + 1) : 0);
    log_reader_close(reader);
    if (looked < waits) /* gaps too: what is lost is counted when ingest passes it */
        reading->not_looked_at += waits - looked;
    return rc < 0 || more < 0 ? -1 : 0;
}

static int unit_waiting_read(struct reading *reading, struct log *log, uint32_t u, struct err *err)
{
    const struct people_place *place = &reading->places[u];
    const struct taken        *taken = &reading->taken[u];
    int rc = topic_read(reading, log, "events", u, taken->next[OUTPUT_EVENTS], place->output_end[OUTPUT_EVENTS], err);

    if (rc == 0)
        rc = topic_read(reading, log, "heatmaps", u, taken->next[OUTPUT_HEATMAPS], place->output_end[OUTPUT_HEATMAPS], err);
    for (enum input input = INPUT_RAW; rc == 0 && input < INPUT_CONTROL; input++)
        rc = topic_read(reading, log, input_topic(input), u, place->input_next[input],
                        input == INPUT_OVERFLOW ? place->output_end[OUTPUT_RAW_OVERFLOW] : UINT64_MAX, err);
    return rc;
}

/* The spool first: account_spool.h. */
static int spool_read(struct reading *reading, struct err *err)
{
    struct account_spool spool;
    int                  rc = account_spool_open(reading->data, &spool, err);

    for (enum input input = INPUT_RAW; rc == 0 && spool.log != NULL && input < INPUT_OVERFLOW; input++)
        rc = topic_read(reading, spool.log, input_topic(input), 0, spool.next[input], spool.end[input], err);
    account_spool_close(&spool);
    return rc;
}

static int waiting_read(struct reading *reading, struct err *err)
{
    struct log *log;
    int         rc = 0;

    if (spool_read(reading, err) < 0)
        return -1;
    if (account_log_open(reading->data, &log, err) < 0)
        return err->kind == ERR_RETRY ? 0 : -1;
    for (uint32_t u = 0; u < reading->units && rc == 0; u++)
        rc = unit_waiting_read(reading, log, u, err);
    log_close(log);
    return rc;
}

/* --- lines ------------------------------------------------------------------------------------- */

static void line_make(const struct people_fates *from, struct account_line *to)
{
    uint64_t sum = 0;

    *to = (struct account_line){ .project = from->project, .hour = from->hour };
    for (int fate = 0; fate < FATE_COUNT; fate++) {
        to->fates[fate] = from->counts[fate];
        sum += from->counts[fate];
        switch (fate_info(fate)->class) {
        case FATE_CLASS_STORED:        to->stored += from->counts[fate]; break;
        case FATE_CLASS_DEDUPLICATED:  to->deduplicated += from->counts[fate]; break;
        case FATE_CLASS_DEAD_LETTERED: to->dead_lettered += from->counts[fate]; break;
        case FATE_CLASS_DROPPED:       to->dropped += from->counts[fate]; break;
        }
    }
    to->difference = (int64_t)(from->counts[TALLY_READ] - sum);
    to->accepted = from->counts[TALLY_READ] + from->counts[WAITS_INGEST];
    to->fates[FATE_HEATMAP] -= from->counts[WAITS_HEATMAP];
    to->stored -= from->counts[WAITS_LOAD] + from->counts[WAITS_HEATMAP] + from->counts[LOAD_LETTERS];
    to->dead_lettered += from->counts[LOAD_LETTERS];
    to->pending = from->counts[WAITS_INGEST] + from->counts[WAITS_LOAD] + from->counts[WAITS_HEATMAP];
    to->rows = from->counts[ROWS];
}

static int line_order(const void *a, const void *b)
{
    const struct account_line *x = a, *y = b;

    if (x->project != y->project)
        return x->project < y->project ? -1 : 1;
    return x->hour < y->hour ? -1 : x->hour > y->hour;
}

int account_lines_read(const char *data, unsigned by, bool check, struct arena *arena, struct account_lines *out,
                       struct err *err)
{
    struct reading  reading = { .data = data, .by = by, .left = ACCOUNT_SCAN_MAX };
    struct catalog *catalog = NULL;
    const struct stores *stores;
    uint64_t        gone;
    int             rc = -1;

    if (data_check(data, err) < 0 || command_stores(data, &stores, err) < 0)
        return -1;
    reading.units = stores_units(stores);
    reading.places = arena_alloc_zero(arena, reading.units * sizeof *reading.places);
    reading.taken = arena_alloc_zero(arena, reading.units * sizeof *reading.taken);
    if (reading.places == NULL || reading.taken == NULL)
        return err_set(err, ERR_FULL, "no memory for %u units", reading.units);
    if (command_catalog_there(data) && (command_catalog_of(data, &catalog, err) < 0 ||
                                        catalog_snapshot_load(catalog, &reading.catalog, err) < 0))
        goto out;
    tally_init(&reading.tally, arena);
    if (warehouse_read(&reading, check, err) < 0 || fates_read(&reading, err) < 0 || waiting_read(&reading, err) < 0)
        goto out;
    *out = (struct account_lines){ .count = reading.tally.count, .not_looked_at = reading.not_looked_at };
    gone = reading.events_next - reading.events_loaded; /* the loader took them and made no row */
    out->unplaced = gone > reading.letters ? gone - reading.letters : 0;
    out->at = arena_alloc_array(arena, out->count + 1, sizeof *out->at);
    if (out->at == NULL) {
        (void)err_set(err, ERR_FULL, "no memory for %zu lines", out->count);
        goto out;
    }
    for (size_t i = 0; i < out->count; i++)
        line_make(&reading.tally.rows[i], &out->at[i]);
    qsort(out->at, out->count, sizeof *out->at, line_order);
    rc = 0;
out:
    catalog_snapshot_free(reading.catalog);
    catalog_close(catalog);
    return rc;
}

enum account_verdict account_lines_judge(const struct account_lines *lines, bool check)
{
    uint64_t lack = 0;

    for (size_t i = 0; i < lines->count; i++) {
        const struct account_line *line = &lines->at[i];

        if (line->difference != 0 || (check && line->rows > line->stored))
            return ACCOUNT_WRONG;
        lack += check ? line->stored - line->rows : 0;
    }
    if (lack > lines->not_looked_at)
        return ACCOUNT_WRONG;
    return check && lines->not_looked_at > 0 ? ACCOUNT_UNKNOWN : ACCOUNT_RIGHT;
}
