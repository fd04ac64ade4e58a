/* warehouse/clickhouse_place.c - the notes: how far a unit is loaded, and what was under way.
 *
 * One row a unit counts in penstock_blocks, that of the highest step: an even one says "from next to until, so many rows, is
 * being sent", an odd one "everything before next is there". A note's token is its unit and step, so the second of two
 * notes of one step is dropped by the server; who reads another's name in it knows that the unit is not its own any more. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "warehouse/clickhouse.h"

enum { ANSWER_BYTES_MAX = 64 << 10 };

/* "[1,2,3]" into at most max numbers; what is missing is zero, what is more is skipped. */
static const char *read_numbers(const char *at, uint64_t *to, size_t max)
{
    memset(to, 0, max * sizeof *to);
    if (*at != '[')
        return NULL;
    at++;
    for (size_t i = 0; *at != ']'; i++) {
        char    *end;
        uint64_t value = strtoull(at, &end, 10);

        if (end == at)
            return NULL;
        if (i < max)
            to[i] = value;
        at = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != ']')
            return NULL;
    }
    return at[1] == '\t' || at[1] == '\n' ? at + 2 : NULL;
}

static void add_numbers(struct buf *sql, const uint64_t *numbers, size_t count)
{
    buf_add_byte(sql, '[');
    for (size_t i = 0; i < count; i++)
        buf_add_format(sql, "%s%" PRIu64, i > 0 ? "," : "", numbers[i]);
    buf_add_byte(sql, ']');
}

struct note { uint64_t step; char writer[UUID_TEXT_BYTES + 1]; uint64_t next[WAREHOUSE_CURSORS_MAX], until[WAREHOUSE_CURSORS_MAX],
              loaded[ROW_TABLE_COUNT], rows[ROW_TABLE_COUNT]; };

static int note_read(struct warehouse *warehouse, uint32_t unit, struct note *out, struct err *err)
{
    static const struct clickhouse_setting settings[] = { { "select_sequential_consistency", "1" }, { NULL, NULL } };
    char        sql[300];
    struct buf  answer;
    const char *at;
    int         rc;

    *out = (struct note){ .step = 1 };
    (void)snprintf(sql, sizeof sql, "SELECT step, writer, next, until, loaded, rows FROM penstock_blocks WHERE unit = %" PRIu32
                                    " ORDER BY step DESC LIMIT 1 FORMAT TabSeparated", unit);
    buf_init(&answer, ANSWER_BYTES_MAX);
    rc = clickhouse_run(&warehouse->link, sql, settings, SPAN(""), &answer, err);
    buf_add_byte(&answer, '\0');
    at = (const char *)answer.at;
    if (rc == 0 && answer.bytes > 1) {
        char *end;

        out->step = strtoull(at, &end, 10);
        if (*end == '\t' && strlen(end + 1) > UUID_TEXT_BYTES) {
            memcpy(out->writer, end + 1, UUID_TEXT_BYTES);
            at = end + 2 + UUID_TEXT_BYTES;
            if ((at = read_numbers(at, out->next, WAREHOUSE_CURSORS_MAX)) == NULL ||
                (at = read_numbers(at, out->until, WAREHOUSE_CURSORS_MAX)) == NULL ||
                (at = read_numbers(at, out->loaded, ROW_TABLE_COUNT)) == NULL ||
                read_numbers(at, out->rows, ROW_TABLE_COUNT) == NULL)
                rc = err_set(err, ERR_STOP, "penstock_blocks holds a note that cannot be read");
        } else {
            rc = err_set(err, ERR_STOP, "penstock_blocks holds a note that cannot be read");
        }
    }
    buf_fini(&answer);
    return rc;
}

int clickhouse_place_of(struct warehouse *warehouse, uint32_t unit, uint64_t *next_out, struct err *err)
{
    struct note note;

    if (note_read(warehouse, unit, &note, err) < 0)
        return -1;
    memcpy(next_out, note.next, sizeof note.next);
    return 0;
}

int clickhouse_place(struct warehouse *warehouse, struct warehouse_place *out, struct err *err)
{
    struct note note;

    if (note_read(warehouse, warehouse->options.unit, &note, err) < 0)
        return -1;
    warehouse->place = (struct warehouse_place){ .again = note.step % 2 == 0 };
    memcpy(warehouse->place.next, note.next, sizeof note.next);
    memcpy(warehouse->place.until, note.until, sizeof note.until);
    memcpy(warehouse->place.loaded, note.loaded, sizeof note.loaded);
    memcpy(warehouse->noted, note.rows, sizeof note.rows);
    warehouse->step = note.step;
    if (!warehouse->options.read_only && clickhouse_find_there(warehouse, err) < 0)
        return -1;
    warehouse->placed = true;
    *out = warehouse->place;
    return 0;
}

static int note_write(struct warehouse *warehouse, uint64_t step, const uint64_t *next, const uint64_t *until,
                      const uint64_t *loaded, const uint64_t *rows, struct err *err)
{
    char                      token[80], writer[UUID_TEXT_BYTES + 1] = "";
    struct clickhouse_setting settings[] = { { "insert_deduplication_token", token }, { "async_insert", "0" },
                                             { "insert_deduplicate", "1" }, { warehouse->cluster != NULL ? "insert_quorum" : NULL, "auto" },
                                             { NULL, NULL } };
    struct buf                sql;
    int                       rc;

    uuid_format(&warehouse->writer, writer);
    (void)snprintf(token, sizeof token, "penstock-note-%" PRIu32 "-%" PRIu64, warehouse->options.unit, step);
    buf_init(&sql, 16 << 10);
    buf_add_format(&sql, "INSERT INTO penstock_blocks (unit, step, writer, next, until, loaded, rows) VALUES (%" PRIu32 ", %" PRIu64
                         ", '%s', ", warehouse->options.unit, step, writer);
    add_numbers(&sql, next, WAREHOUSE_CURSORS_MAX);
    buf_add_text(&sql, ", ");
    add_numbers(&sql, until, WAREHOUSE_CURSORS_MAX);
    buf_add_text(&sql, ", ");
    add_numbers(&sql, loaded, ROW_TABLE_COUNT);
    buf_add_text(&sql, ", ");
    add_numbers(&sql, rows, ROW_TABLE_COUNT);
    buf_add_text(&sql, ")");
    buf_add_byte(&sql, '\0');
    rc = sql.failed ? err_set(err, ERR_FULL, "no memory for a note")
                    : clickhouse_run(&warehouse->link, (const char *)sql.at, settings, SPAN(""), NULL, err);
    buf_fini(&sql);
    return rc < 0 ? err_wrap(err, "penstock_blocks") : 0;
}

int clickhouse_note(struct warehouse *warehouse, const struct warehouse_place *place, const uint64_t rows[ROW_TABLE_COUNT],
                    struct err *err)
{
    uint64_t    step = (warehouse->step | 1) + 1;
    struct note note;
    char        writer[UUID_TEXT_BYTES + 1] = "";

    uuid_format(&warehouse->writer, writer);
    if (note_write(warehouse, step, warehouse->place.next, place->next, warehouse->place.loaded, rows, err) < 0 ||
        note_read(warehouse, warehouse->options.unit, &note, err) < 0)
        return -1;
    if (note.step != step || strcmp(note.writer, writer) != 0)
        return err_set(err, ERR_STOP, "unit %" PRIu32 " is loaded by another process (step %" PRIu64 " of %s, ours was %" PRIu64
                                      "): nothing was sent", warehouse->options.unit, note.step, note.writer, step);
    warehouse->step = step;
    return 0;
}

int clickhouse_note_done(struct warehouse *warehouse, const struct warehouse_place *place, struct err *err)
{
    static const uint64_t none[ROW_TABLE_COUNT];

    if (note_write(warehouse, warehouse->step + 1, place->next, place->next, place->loaded, none, err) < 0)
        return -1;
    warehouse->step++;
    return 0;
}
