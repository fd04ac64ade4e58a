/* warehouse/clickhouse_commit.c - a batch over tables that know no transaction, each row once.
 *
 *   note ──▶ rows of each table, with tokens ──▶ note that it is done
 *
 * Killed or cut off anywhere between the notes, the batch is made again from the same ranges of the log. Two nets then keep
 * its rows from being there twice:
 *   where rows come from   asked before anything is sent: what is there is left out. It holds for ever, and for an INSERT of
 *                          which some partitions were written and others not
 *   the token              of unit, step, table and which rows: an INSERT whose answer was lost, or that is still at work, and
 *                          the same one sent again are one to the server, while it remembers (deduplication windows)
 * Between them nothing is left but an INSERT that is still at work when the question is asked, and goes with another set of
 * rows than the second one: so a batch is not begun again while the server works on it.
 *
 * A server that has no memory for an INSERT gets it in halves; a row that is refused when it comes alone becomes a dead
 * letter. Tables of one row a key need none of this but the token: what comes twice is one row. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"
#include "warehouse/clickhouse.h"
#include "wire/base64.h"

enum { THERE_BYTES_MAX = 256 << 20, HALVES_BYTES_MAX = 1 << 30, LETTER_BYTES_MAX = 64 << 20 };
/* Pieces that the server has not put together, of one month of one table: from here on batches come more seldom. */
enum { PARTS_MANY = 60, PARTS_FEW = 20, PARTS_EVERY = 16 };
enum { PACE_US_MIN = 1000000, PACE_US_MAX = 60000000 };

/* --- what is there ------------------------------------------------------------------------------- */

static int compare_sources(const void *a, const void *b)
{
    const struct clickhouse_source *one = a, *other = b;

    if (one->topic != other->topic)
        return one->topic < other->topic ? -1 : 1;
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

static void forget_there(struct warehouse *warehouse)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++) {
        free(warehouse->tables[i].there);
        warehouse->tables[i].there = NULL;
        warehouse->tables[i].there_count = 0;
    }
}

static void log_comment(const struct warehouse *warehouse, char out[80])
{
    (void)snprintf(out, 80, "penstock %s unit %" PRIu32, warehouse->database, warehouse->options.unit);
}

/* Nothing of the unit may still be at work: a request that nobody waits for any more. */
static int wait_for_quiet(struct warehouse *warehouse, struct err *err)
{
    char     sql[400], comment[80];
    uint64_t working;

    log_comment(warehouse, comment);
    if (warehouse->cluster != NULL)
        (void)snprintf(sql, sizeof sql, "SELECT count() FROM clusterAllReplicas('%s', system.processes) WHERE Settings['log_comment'] = '%s'",
                       warehouse->cluster, comment);
    else
        (void)snprintf(sql, sizeof sql, "SELECT count() FROM system.processes WHERE Settings['log_comment'] = '%s'", comment);
    if (clickhouse_number(&warehouse->link, sql, &working, err) < 0)
        return -1;
    return working == 0 ? 0 : err_set(err, ERR_RETRY, "ClickHouse is still at work on %" PRIu64 " requests of before", working);
}

static int find_in_table(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    struct clickhouse_table *table = &warehouse->tables[id];
    const struct warehouse_place *place = &warehouse->place;
    struct buf               sql, answer;
    size_t                   count;
    int                      rc;

    buf_init(&sql, 16 << 10);
    buf_init(&answer, THERE_BYTES_MAX);
    /* _timestamp has an index, and says when a row was sent; a day is for clocks that are apart. */
    buf_add_format(&sql, "SELECT _offset, _topic FROM `%s` WHERE _partition = %" PRIu32 " AND _timestamp >= (SELECT toDateTime(min(noted_at))"
                         " - 86400 FROM penstock_blocks WHERE unit = %" PRIu32 " AND step = %" PRIu64 ") AND (0",
                   clickhouse_columns[id].table, warehouse->options.unit, warehouse->options.unit, warehouse->step);
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++)
        if (place->until[i] > place->next[i])
            buf_add_format(&sql, " OR (_topic = %d AND _offset >= %" PRIu64 " AND _offset < %" PRIu64 ")", i, place->next[i],
                           place->until[i]);
    buf_add_text(&sql, ") FORMAT RowBinary");
    buf_add_byte(&sql, '\0');
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a statement")
                    : clickhouse_run(&warehouse->link, (const char *)sql.at, NULL, SPAN(""), &answer, err);
    count = answer.bytes / 9;
    if (rc == 0 && count > 0) {
        table->there = malloc(count * sizeof *table->there);
        if (table->there == NULL)
            rc = err_set(err, ERR_FULL, "no memory for what is there of a batch");
        for (size_t i = 0; rc == 0 && i < count; i++) {
            memcpy(&table->there[i].offset, answer.at + 9 * i, 8);
            table->there[i].topic = answer.at[9 * i + 8];
        }
        if (rc == 0) {
            table->there_count = count;
            qsort(table->there, count, sizeof *table->there, compare_sources);
        }
    }
    buf_fini(&answer);
    buf_fini(&sql);
    return rc;
}

int clickhouse_find_there(struct warehouse *warehouse, struct err *err)
{
    forget_there(warehouse);
    if (!warehouse->place.again)
        return 0;
    if (wait_for_quiet(warehouse, err) < 0)
        return -1;
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        if (!clickhouse_columns[id].keyed && find_in_table(warehouse, id, err) < 0)
            return err_wrap(err, clickhouse_columns[id].table);
    return 0;
}

/* --- sending -------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static const struct clickhouse_source *source_at(const struct clickhouse_table *table, size_t row)
{
    return (const struct clickhouse_source *)(const void *)table->sources.at + row;
}

static uint64_t end_at(const struct clickhouse_table *table, size_t row)
{
    uint64_t end;

    memcpy(&end, table->ends.at + 8 * row, 8);
    return end;
}

/* Which rows: another set has another token. */
static uint64_t digest(const struct clickhouse_table *table, size_t first, size_t count)
{
    uint64_t hash = count;

    for (size_t i = first; i < first + count; i++)
        hash = mix(mix(hash, source_at(table, i)->topic), source_at(table, i)->offset);
    return hash;
}

static int insert(struct warehouse *warehouse, enum row_table id, size_t first, size_t count, struct span packed, struct err *err)
{
    const struct clickhouse_table *table = &warehouse->tables[id];
    char                           token[160], comment[80];
    const struct clickhouse_setting settings[] = {
        { "insert_deduplication_token", token },
        { "log_comment", comment },
        { "async_insert", "0" },
        { "insert_deduplicate", "1" },
        { "optimize_on_insert", "0" },
        { "input_format_parallel_parsing", "0" },
        { "max_partitions_per_insert_block", "0" }, /* an import may hold years */
        { "max_insert_block_size", "1048576" },     /* one piece a month and table, not many */
        { "min_insert_block_size_rows", "1048576" },
        { "min_insert_block_size_bytes", "1073741824" },
        { "insert_distributed_sync", "1" },
        { warehouse->cluster != NULL ? "insert_quorum" : NULL, "auto" },
        { NULL, NULL },
    };

    (void)snprintf(token, sizeof token, "penstock-%" PRIu32 "-%" PRIu64 "-%s-%016" PRIx64, warehouse->options.unit,
                   warehouse->step, clickhouse_columns[id].table, digest(table, first, count));
    log_comment(warehouse, comment);
    return clickhouse_run(&warehouse->link, table->insert, settings, packed, NULL, err);
}

/* The server does not take this row, alone. */
static int refuse_row(struct warehouse *warehouse, enum row_table id, size_t number, struct span bytes, const char *why, struct err *err)
{
    const struct clickhouse_source *source = source_at(&warehouse->tables[id], number);
    struct buf                      data;
    struct row                      letter;
    int                             rc;

    if (id == ROW_DEAD_LETTER)
        return err_set(err, ERR_STOP, "ClickHouse does not take a dead letter: %.200s", why);
    say(SAY_WARN, "a row of %s is set aside as a dead letter: %s", clickhouse_columns[id].table, why);
    buf_init(&data, LETTER_BYTES_MAX);
    base64_encode(bytes, &data);
    row_init(&letter, ROW_DEAD_LETTER);
    letter.topic = source->topic;
    letter.offset = source->offset;
    row_set_i64(&letter, ROW_DEAD_LETTER_FAILED_AT, clock_wall_us());
    row_set_text(&letter, ROW_DEAD_LETTER_STEP, SPAN("load"));
    row_set_text(&letter, ROW_DEAD_LETTER_REASON, SPAN("refused_row"));
    row_set_text(&letter, ROW_DEAD_LETTER_DETAIL, span_text(why));
    row_set_text(&letter, ROW_DEAD_LETTER_DATA, buf_span(&data));
    row_set_text(&letter, ROW_DEAD_LETTER_ENCODING, SPAN("base64"));
    rc = data.failed ? err_set(err, ERR_FULL, "no memory for a dead letter") : clickhouse_add(warehouse, &letter, err);
    buf_fini(&data);
    warehouse->tables[id].batch_rows--;
    warehouse->batch_rows--;
    return rc;
}

/* Refused, and over: not an answer that was lost. */
static bool may_halve(const struct warehouse *warehouse, const struct err *err)
{
    return warehouse->link.answered && (err->kind == ERR_INPUT || warehouse->link.code == 241);
}

static int send_rows(struct warehouse *warehouse, enum row_table id, struct span raw, size_t first, size_t count, struct err *err)
{
    const struct clickhouse_table *table = &warehouse->tables[id];
    uint64_t                       from = first > 0 ? end_at(table, first - 1) : 0, to = end_at(table, first + count - 1);
    struct buf                     packed;
    int                            rc;

    assert(to <= raw.bytes);
    buf_init(&packed, HALVES_BYTES_MAX);
    rc = clickhouse_pack(span_of(raw.at + from, to - from), &packed, err);
    if (rc == 0)
        rc = insert(warehouse, id, first, count, buf_span(&packed), err);
    buf_fini(&packed);
    if (rc == 0 || !may_halve(warehouse, err))
        return rc;
    if (count > 1)
        return send_rows(warehouse, id, raw, first, count / 2, err) < 0 ||
                       send_rows(warehouse, id, raw, first + count / 2, count - count / 2, err) < 0
                   ? -1
                   : 0;
    if (err->kind != ERR_INPUT)
        return -1;
    return refuse_row(warehouse, id, first, span_of(raw.at + from, to - from), err->text, err);
}

static int send_table(struct warehouse *warehouse, enum row_table id, struct err *err)
{
    struct clickhouse_table *table = &warehouse->tables[id];
    struct buf               raw;
    size_t                   half = table->rows / 2;
    int                      rc;

    if (table->rows == 0)
        return 0;
    if (clickhouse_pack_end(table, err) < 0)
        return -1;
    if (insert(warehouse, id, 0, table->rows, buf_span(&table->packed), err) == 0)
        return 0;
    if (!may_halve(warehouse, err))
        return err_wrap(err, clickhouse_columns[id].table);
    buf_init(&raw, HALVES_BYTES_MAX);
    rc = clickhouse_unpack(table, &raw, err);
    if (rc == 0 && half > 0)
        rc = send_rows(warehouse, id, buf_span(&raw), 0, half, err);
    if (rc == 0)
        rc = send_rows(warehouse, id, buf_span(&raw), half, table->rows - half, err);
    buf_fini(&raw);
    return rc < 0 ? err_wrap(err, clickhouse_columns[id].table) : 0;
}

/* --- how often ------------------------------------------------------------------------------------- */

static void pace(struct warehouse *warehouse, bool slower)
{
    warehouse->pace_us = slower ? warehouse->pace_us * 2 : warehouse->pace_us / 2;
    if (warehouse->pace_us < PACE_US_MIN)
        warehouse->pace_us = PACE_US_MIN;
    if (warehouse->pace_us > PACE_US_MAX)
        warehouse->pace_us = PACE_US_MAX;
}

/* Looks now and then at how the server keeps up. Not knowing is no trouble. */
static void look_at_parts(struct warehouse *warehouse)
{
    static struct say_gate gate;
    char                   sql[200 + CLICKHOUSE_NAME_BYTES];
    struct err             ignored;
    uint64_t               parts;

    if (++warehouse->commits < PARTS_EVERY)
        return;
    warehouse->commits = 0;
    (void)snprintf(sql, sizeof sql, "SELECT max(n) FROM (SELECT count() AS n FROM system.parts WHERE active AND database = '%s' GROUP BY "
                                    "table, partition_id)", warehouse->database);
    if (clickhouse_number(&warehouse->link, sql, &parts, &ignored) < 0)
        return;
    if (parts >= PARTS_MANY)
        say_seldom(&gate, SAY_WARN, "ClickHouse has %" PRIu64 " parts of one table to put together: batches come more seldom", parts);
    if (parts >= PARTS_MANY || parts <= PARTS_FEW)
        pace(warehouse, parts >= PARTS_MANY);
}

/* --- commit ----------------------------------------------------------------------------------------- */

static int check_range(const struct warehouse *warehouse, const struct warehouse_place *place, struct err *err)
{
    for (int i = 0; i < WAREHOUSE_CURSORS_MAX; i++)
        if (place->next[i] != warehouse->place.until[i])
            return err_set(err, ERR_STOP, "a batch that was begun ends at %" PRIu64 " of topic %d, and at %" PRIu64 " this time",
                           warehouse->place.until[i], i, place->next[i]);
    return 0;
}

static int send_all(struct warehouse *warehouse, struct err *err)
{
    for (enum row_table id = 0; id < ROW_TABLE_COUNT; id++)
        if (id != ROW_DEAD_LETTER && send_table(warehouse, id, err) < 0)
            return -1;
    return send_table(warehouse, ROW_DEAD_LETTER, err); /* last: rows of the others may have become some */
}

int clickhouse_commit(struct warehouse *warehouse, struct warehouse_place *place, struct err *err)
{
    uint64_t rows[ROW_TABLE_COUNT];

    assert(warehouse->magic == CLICKHOUSE_MAGIC && !warehouse->options.read_only);
    assert(warehouse->placed);
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        rows[i] = warehouse->tables[i].batch_rows;
    if ((warehouse->place.again ? check_range(warehouse, place, err) : clickhouse_note(warehouse, place, rows, err)) < 0 ||
        send_all(warehouse, err) < 0)
        goto failed;
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        place->loaded[i] = warehouse->place.loaded[i] + warehouse->tables[i].batch_rows;
    if (clickhouse_note_done(warehouse, place, err) < 0)
        goto failed;
    place->again = false;
    memcpy(place->until, place->next, sizeof place->until);
    warehouse->place = *place;
    forget_there(warehouse);
    clickhouse_tables_reset(warehouse, false);
    look_at_parts(warehouse);
    return 0;
failed:
    if (warehouse->link.code == 252)
        pace(warehouse, true);
    if (err->kind == ERR_INPUT) /* of a note: no row is to blame */
        err->kind = ERR_STOP;
    warehouse->placed = false; /* where it is has to be asked */
    clickhouse_rollback(warehouse);
    return -1;
}
