/* What ClickHouse answers, in pieces of any size, and what people ask it: nothing is read outside of either, and pieces change nothing
 * about what comes out. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "warehouse/clickhouse_answer.h"

static int keep(void *ctx, struct span piece, struct err *err)
{
    (void)err;
    buf_add(ctx, piece);
    return 0;
}

static int render(struct span text, size_t piece, enum warehouse_format format, struct buf *out)
{
    struct clickhouse_answer answer;
    struct err               err;
    int                      rc = 0;

    clickhouse_answer_init(&answer, format, keep, out);
    for (size_t at = 0; rc == 0 && at < text.bytes; at += piece) {
        size_t   bytes = text.bytes - at < piece ? text.bytes - at : piece;
        uint8_t *alone = malloc(bytes); /* so that a byte too many is seen */

        memcpy(alone, text.at + at, bytes);
        rc = clickhouse_answer_piece(&answer, span_of(alone, bytes), &err);
        free(alone);
    }
    if (rc == 0)
        rc = clickhouse_answer_end(&answer, &err);
    clickhouse_answer_fini(&answer);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, pieces;
    struct err err;
    char      *sql;
    size_t     bytes;
    int        rc;

    if (size < 2 || size > 20000)
        return 0;
    buf_init(&whole, 64 << 20);
    buf_init(&pieces, 64 << 20);
    rc = render(span_of(data + 2, size - 2), size, data[0] % 2 == 0 ? WAREHOUSE_CSV : WAREHOUSE_JSON, &whole);
    if (render(span_of(data + 2, size - 2), 1 + data[1], data[0] % 2 == 0 ? WAREHOUSE_CSV : WAREHOUSE_JSON, &pieces) != rc ||
        (rc == 0 && !span_equal(buf_span(&whole), buf_span(&pieces))))
        abort();
    buf_fini(&whole);
    buf_fini(&pieces);
    sql = malloc(size - 1);
    memcpy(sql, data + 2, size - 2);
    sql[size - 2] = '\0';
    if (clickhouse_statement(sql, &bytes, &err) == 0 && bytes > strlen(sql))
        abort();
    free(sql);
    return 0;
}
