/* warehouse/query_render.c - three ways of writing the same cells. */
#include "warehouse/query_render.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/terminal.h"
#include "wire/json.h"

/* A piece goes out when it is this large; one row may be as large as the largest record, escaped. */
enum { PIECE_BYTES = 64 << 10, PIECE_BYTES_MAX = 256 << 20 };
/* Wider cells push their row out of line instead of making every other row as wide. */
enum { TABLE_WIDTH_MAX = 60 };

void render_init(struct render *render, enum warehouse_format format, struct render_column *columns, size_t count,
                 warehouse_write *write, void *ctx)
{
    *render = (struct render){ .format = format, .write = write, .ctx = ctx, .count = count, .columns = columns };
    buf_init(&render->out, PIECE_BYTES_MAX);
}

void render_fini(struct render *render)
{
    buf_fini(&render->out);
}

static int pass_piece(struct render *render, struct err *err)
{
    if (render->out.failed)
        return err_set(err, ERR_FULL, "a row is larger than %d MiB", PIECE_BYTES_MAX >> 20);
    if (render->out.bytes > 0 && render->write(render->ctx, buf_span(&render->out), err) < 0)
        return -1;
    buf_reset(&render->out);
    return 0;
}

static struct render_cell cell_at(const duckdb_string_t *texts, const uint64_t *valid, idx_t row)
{
    const duckdb_string_t *text = &texts[row];

    if (valid != NULL && (valid[row / 64] >> row % 64 & 1) == 0)
        return (struct render_cell){ .null = true };
    if (text->inlined.length <= DUCKDB_STRING_INLINED_MAX)
        return (struct render_cell){ .text = span_of(text->inlined.bytes, text->inlined.length) };
    return (struct render_cell){ .text = span_of(text->pointer.ptr, text->pointer.length) };
}

/* --- CSV --------------------------------------------------------------------------------------- */

static void add_csv(struct buf *out, struct span text)
{
    bool quoted = text.bytes == 0;

    for (size_t i = 0; i < text.bytes && !quoted; i++)
        quoted = text.at[i] == '"' || text.at[i] == ',' || text.at[i] == '\n' || text.at[i] == '\r';
    if (!quoted) {
        buf_add(out, text);
        return;
    }
    buf_add_byte(out, '"');
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] == '"')
            buf_add_byte(out, '"');
        buf_add_byte(out, text.at[i]);
    }
    buf_add_byte(out, '"');
}

/* --- JSON -------------------------------------------------------------------------------------- */

static bool is_json_number(struct span text)
{
    /* The engine writes nan, inf and -inf for what JSON has no word for. */
    return text.bytes > 0 && text.at[text.bytes - 1] >= '0' && text.at[text.bytes - 1] <= '9';
}

static void add_json(struct buf *out, const struct render_column *column, const struct render_cell *cell)
{
    if (cell->null)
        buf_add_text(out, "null");
    else if (column->boolean || (column->number && is_json_number(cell->text)))
        buf_add(out, cell->text);
    else
        json_write_string(out, cell->text);
}

/* --- table ------------------------------------------------------------------------------------- */

/* One step through a text as a terminal may see it: what to write instead of a character that it would obey (into
 * `escaped`, else empty), and how many bytes of the text that stands for. */
static size_t escape_control(struct span text, char escaped[8])
{
    uint32_t point;
    size_t   bytes;

    escaped[0] = '\0';
    if (!terminal_obeys(text, &point, &bytes))
        return 1;
    if (point == '\n' || point == '\t' || point == '\r')
        (void)snprintf(escaped, 8, "\\%c", point == '\n' ? 'n' : point == '\t' ? 't' : 'r');
    else
        (void)snprintf(escaped, 8, point > 0xff ? "\\u%04x" : "\\x%02x", (unsigned)point & 0xffff);
    return bytes;
}

static void add_shown(struct buf *out, struct span text)
{
    char escaped[8];

    while (text.bytes > 0) {
        size_t bytes = escape_control(text, escaped);

        if (escaped[0] != '\0')
            buf_add_text(out, escaped);
        else
            buf_add_byte(out, text.at[0]);
        text = span_from(text, bytes);
    }
}

/* Code points, which is what most terminals make of it. */
static size_t shown_width(struct span text)
{
    size_t width = 0;
    char   escaped[8];

    while (text.bytes > 0) {
        size_t bytes = escape_control(text, escaped);

        width += escaped[0] != '\0' ? strlen(escaped) : (text.at[0] & 0xc0) != 0x80;
        text = span_from(text, bytes);
    }
    return width;
}

static struct span shown(const struct render_cell *cell)
{
    return cell->null ? SPAN("NULL") : cell->text;
}

static void widen(struct render_column *column, size_t width)
{
    if (width > TABLE_WIDTH_MAX)
        width = TABLE_WIDTH_MAX;
    if (width > column->width)
        column->width = width;
}

static void measure_names(struct render *render)
{
    for (size_t i = 0; i < render->count; i++) {
        render->columns[i].width = 0;
        widen(&render->columns[i], shown_width(span_text(render->columns[i].name)));
    }
}

static void measure_chunk(struct render *render, const duckdb_string_t **texts, uint64_t **valid, idx_t rows)
{
    for (size_t i = 0; i < render->count; i++)
        for (idx_t row = 0; row < rows; row++) {
            struct render_cell cell = cell_at(texts[i], valid[i], row);

            widen(&render->columns[i], shown_width(shown(&cell)));
        }
}

/* Numbers to the right, everything else to the left, nothing behind the last column. */
static void add_table_cell(struct render *render, size_t column, struct span text)
{
    const struct render_column *as = &render->columns[column];
    size_t                      width = shown_width(text);
    size_t                      pad = width < as->width ? as->width - width : 0;

    if (column > 0)
        buf_add_text(&render->out, "  ");
    for (; as->number && pad > 0; pad--)
        buf_add_byte(&render->out, ' ');
    add_shown(&render->out, text);
    for (; column + 1 < render->count && pad > 0; pad--)
        buf_add_byte(&render->out, ' ');
}

static void add_table_rule(struct render *render)
{
    for (size_t i = 0; i < render->count; i++) {
        if (i > 0)
            buf_add_text(&render->out, "  ");
        for (size_t k = 0; k < render->columns[i].width; k++)
            buf_add_byte(&render->out, '-');
    }
    buf_add_byte(&render->out, '\n');
}

/* --- rows -------------------------------------------------------------------------------------- */

static void add_head(struct render *render)
{
    if (render->format == WAREHOUSE_JSON) {
        buf_add_byte(&render->out, '[');
        return;
    }
    for (size_t i = 0; i < render->count; i++) {
        struct span name = span_text(render->columns[i].name);

        if (render->format == WAREHOUSE_TABLE) {
            add_table_cell(render, i, name);
            continue;
        }
        if (i > 0)
            buf_add_byte(&render->out, ',');
        add_csv(&render->out, name);
    }
    buf_add_text(&render->out, render->format == WAREHOUSE_CSV ? "\r\n" : "\n");
    if (render->format == WAREHOUSE_TABLE)
        add_table_rule(render);
}

static void add_row(struct render *render, const struct render_cell *cells)
{
    if (render->format == WAREHOUSE_JSON)
        buf_add_text(&render->out, render->rows == 0 ? "\n{" : ",\n{");
    for (size_t i = 0; i < render->count; i++) {
        const struct render_cell *cell = &cells[i];

        switch (render->format) {
        case WAREHOUSE_CSV:
            if (i > 0)
                buf_add_byte(&render->out, ',');
            if (!cell->null)
                add_csv(&render->out, cell->text);
            break;
        case WAREHOUSE_JSON:
            if (i > 0)
                buf_add_byte(&render->out, ',');
            json_write_string(&render->out, span_text(render->columns[i].name));
            buf_add_byte(&render->out, ':');
            add_json(&render->out, &render->columns[i], cell);
            break;
        case WAREHOUSE_TABLE:
            add_table_cell(render, i, shown(cell));
            break;
        }
    }
    buf_add_text(&render->out, render->format == WAREHOUSE_CSV ? "\r\n" : render->format == WAREHOUSE_JSON ? "}" : "\n");
    render->rows++;
}

int render_chunk(struct render *render, const struct duckdb *duckdb, duckdb_data_chunk chunk, struct err *err)
{
    const duckdb_string_t *texts[RENDER_COLUMNS_MAX];
    uint64_t              *valid[RENDER_COLUMNS_MAX];
    struct render_cell     cells[RENDER_COLUMNS_MAX];
    idx_t                  rows = duckdb->data_chunk_get_size(chunk);

    for (size_t i = 0; i < render->count; i++) {
        duckdb_vector vector = duckdb->data_chunk_get_vector(chunk, i);

        texts[i] = duckdb->vector_get_data(vector);
        valid[i] = duckdb->vector_get_validity(vector);
    }
    if (!render->begun) {
        measure_names(render);
        if (render->format == WAREHOUSE_TABLE)
            measure_chunk(render, texts, valid, rows);
        add_head(render);
        render->begun = true;
    }
    for (idx_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < render->count; i++)
            cells[i] = cell_at(texts[i], valid[i], row);
        add_row(render, cells);
        if ((render->out.bytes >= PIECE_BYTES || render->out.failed) && pass_piece(render, err) < 0)
            return -1;
    }
    return pass_piece(render, err);
}

int render_rows(struct render *render, const struct render_cell *cells, size_t rows, struct err *err)
{
    if (!render->begun) {
        measure_names(render);
        for (size_t i = 0; render->format == WAREHOUSE_TABLE && i < rows * render->count; i++)
            widen(&render->columns[i % render->count], shown_width(shown(&cells[i])));
        add_head(render);
        render->begun = true;
    }
    for (size_t row = 0; row < rows; row++) {
        add_row(render, cells + row * render->count);
        if ((render->out.bytes >= PIECE_BYTES || render->out.failed) && pass_piece(render, err) < 0)
            return -1;
    }
    return pass_piece(render, err);
}

int render_end(struct render *render, struct err *err)
{
    if (!render->begun) {
        measure_names(render);
        add_head(render);
    }
    if (render->format == WAREHOUSE_JSON)
        buf_add_text(&render->out, render->rows > 0 ? "\n]\n" : "]\n");
    if (render->format == WAREHOUSE_TABLE)
        buf_add_format(&render->out, "(%" PRIu64 " row%s)\n", render->rows, render->rows == 1 ? "" : "s");
    return pass_piece(render, err);
}
