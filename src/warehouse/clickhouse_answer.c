/* warehouse/clickhouse_answer.c - lines of cells, unescaped where they stand. A line's end is a byte that no cell has: the server
 * writes it as two. Rows are rendered some at a time, so that a table's columns are as wide as they need. */
#include "warehouse/clickhouse_answer.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 256 << 20, ROWS_AT_ONCE = 256, NAMES_BYTES_MAX = 1 << 20 };

void clickhouse_answer_init(struct clickhouse_answer *answer, enum warehouse_format format, warehouse_write *write, void *ctx)
{
    *answer = (struct clickhouse_answer){ .format = format, .write = write, .ctx = ctx };
    buf_init(&answer->line, LINE_BYTES_MAX);
    buf_init(&answer->names, NAMES_BYTES_MAX);
}

void clickhouse_answer_fini(struct clickhouse_answer *answer)
{
    if (answer->begun)
        render_fini(&answer->render);
    free(answer->columns);
    buf_fini(&answer->line);
    buf_fini(&answer->names);
}

int clickhouse_answer_end(struct clickhouse_answer *answer, struct err *err)
{
    return answer->begun ? render_end(&answer->render, err) : err_set(err, ERR_INPUT, "the statement has no answer");
}

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

static int read_names(struct clickhouse_answer *answer, uint8_t *at, uint8_t *end, struct err *err)
{
    struct render_cell cell;
    size_t             count = 1;

    for (const uint8_t *tab = at; (tab = memchr(tab, '\t', (size_t)(end - tab))) != NULL; tab++)
        count++;
    if (count > RENDER_COLUMNS_MAX)
        return err_set(err, ERR_INPUT, "%zu columns are more than %d", count, RENDER_COLUMNS_MAX);
    answer->columns = calloc(count, sizeof *answer->columns);
    answer->count = count;
    if (answer->columns == NULL || buf_reserve(&answer->names, (size_t)(end - at) + count) == NULL)
        return err_set(err, ERR_FULL, "no memory for the columns");
    for (size_t i = 0; i < count; i++) {
        at = read_field(at, end, &cell);
        answer->columns[i].name = (const char *)answer->names.at + answer->names.bytes; /* reserved: it stays */
        buf_add(&answer->names, cell.text);
        buf_add_byte(&answer->names, '\0');
    }
    return 0;
}

static int read_types(struct clickhouse_answer *answer, uint8_t *at, uint8_t *end)
{
    struct render_cell cell;

    for (size_t i = 0; i < answer->count; i++) {
        at = read_field(at, end, &cell);
        answer->columns[i].number = is_number(cell.text);
        answer->columns[i].boolean = is_bool(cell.text);
    }
    render_init(&answer->render, answer->format, answer->columns, answer->count, answer->write, answer->ctx);
    answer->begun = true;
    return 0;
}

/* Renders whole lines, some rows at a time, so that a table's columns are as wide as they need. */
static int read_rows(struct clickhouse_answer *answer, uint8_t *at, uint8_t *end, struct err *err)
{
    struct render_cell *cells = malloc(ROWS_AT_ONCE * answer->count * sizeof *cells);
    size_t              rows = 0;
    int                 rc = 0;

    if (cells == NULL)
        return err_set(err, ERR_FULL, "no memory for rows");
    while (rc == 0 && at < end) {
        uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));

        for (size_t i = 0; i < answer->count; i++)
            at = read_field(at, line_end, &cells[rows * answer->count + i]);
        at = line_end + 1;
        if (++rows == ROWS_AT_ONCE || at >= end) {
            rc = render_rows(&answer->render, cells, rows, err);
            rows = 0;
        }
    }
    free(cells);
    return rc;
}

int clickhouse_answer_piece(void *ctx, struct span piece, struct err *err)
{
    struct clickhouse_answer *answer = ctx;
    uint8_t        *at, *end, *last;
    size_t          before = answer->line.bytes, done;
    int             rc = 0;

    buf_add(&answer->line, piece);
    if (answer->line.failed)
        return err_set(err, ERR_FULL, "a row is larger than %d MiB", LINE_BYTES_MAX >> 20);
    last = memrchr(answer->line.at + before, '\n', answer->line.bytes - before);
    if (last == NULL)
        return 0;
    at = answer->line.at;
    end = last + 1;
    for (; rc == 0 && answer->head < 2 && at < end; answer->head++) {
        uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));

        rc = answer->head == 0 ? read_names(answer, at, line_end, err) : read_types(answer, at, line_end);
        at = line_end + 1;
    }
    if (rc == 0 && at < end)
        rc = read_rows(answer, at, end, err);
    done = (size_t)(end - answer->line.at);
    memmove(answer->line.at, end, answer->line.bytes - done);
    answer->line.bytes -= done;
    return rc;
}
