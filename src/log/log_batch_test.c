/* log/log_batch_test.c - every record that is handed over has its checksum, whatever was taken back before; and where a batch's memory is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "log/frame.h"
#include "log/log_batch.h"

static void add(struct log_batch *batch, char kind)
{
    uint8_t    body[1500];
    struct err err;

    memset(body, kind, sizeof body);
    if (log_batch_add(batch, span_of(body, kind == 'e' ? 0 : kind == 's' ? 7 : sizeof body), &err) < 0)
        fail_msg("%s", err.text);
}

/* s, l, e: a small, large, empty record; b: one is begun and forgotten; m: a mark; r: back to it; h: handed over, as one that was
 * refused for want of room; n: a new batch. */
static void sums_are_whole(void **state)
{
    static const struct { const char *steps; uint32_t count; } rows[] = {
        { "s", 1 },      { "l", 1 },      { "e", 1 },       { "sl", 2 },      { "lselse", 6 },  { "mlr", 0 },       { "lmr", 1 },
        { "lmsr", 1 },   { "lmslr", 1 },  { "lmslrs", 2 },  { "lmrms", 2 },   { "lmsrls", 3 },  { "lhl", 2 },       { "lhs", 2 },
        { "lhmsrh", 1 }, { "lb", 1 },     { "lmbr", 1 },    { "lnl", 1 },     { "lns", 1 },     { "llmlhrh", 2 },   { "lbslb", 3 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct log_batch     *batch = log_batch_new();
        struct log_batch_mark mark = { 0 };

        assert_non_null(batch);
        for (const char *step = rows[i].steps; *step != '\0'; step++)
            switch (*step) {
            case 'b': assert_non_null(log_batch_begin(batch, 100)); break;
            case 'm': mark = log_batch_mark(batch); break;
            case 'r': log_batch_rewind(batch, mark); break;
            case 'h': log_batch_sum(batch); break;
            case 'n': log_batch_reset(batch); break;
            default: add(batch, *step);
            }
        log_batch_sum(batch);
        if (batch->count != rows[i].count || !frame_body_whole(span_of(batch->at, batch->bytes), batch->tag, batch->count))
            fail_msg("%s: %u records", rows[i].steps, batch->count);
        log_batch_free(batch);
    }
}

static void fill(struct log_batch *batch, size_t bytes)
{
    while (log_batch_bytes(batch) < bytes)
        add(batch, 'l');
}

/* Memory that a large batch has taken is neither left nor taken anew while such batches still come, nor while one grows; and is given back when
 * none has come for a while. */
static void large_ones_stay_where_they_are(void **state)
{
    struct log_batch *batch = log_batch_new();
    const uint8_t    *at;

    (void)state;
    assert_non_null(batch);
    fill(batch, 1200 << 10);
    at = batch->at;
    fill(batch, 14 << 20);
    assert_ptr_equal(batch->at, at);
    for (int round = 0; round < 3; round++) {
        log_batch_reset(batch);
        for (int i = 0; i < 20; i++) {
            add(batch, 's');
            log_batch_reset(batch);
            assert_ptr_equal(batch->at, at);
        }
        fill(batch, 5 << 20);
        assert_ptr_equal(batch->at, at);
        log_batch_sum(batch);
        assert_true(frame_body_whole(span_of(batch->at, batch->bytes), batch->tag, batch->count));
    }
    for (int i = 0; i < 100; i++) {
        log_batch_reset(batch);
        add(batch, 's');
    }
    assert_in_range(batch->size, 1, 1 << 20);
    assert_int_equal(batch->mapped, 0);
    log_batch_free(batch);
}

/* What is larger than is ever kept goes at once. */
static void the_largest_goes(void **state)
{
    struct log_batch *batch = log_batch_new();

    (void)state;
    assert_non_null(batch);
    fill(batch, 20 << 20);
    log_batch_sum(batch);
    assert_true(frame_body_whole(span_of(batch->at, batch->bytes), batch->tag, batch->count));
    log_batch_reset(batch);
    assert_int_equal(batch->mapped, 0);
    log_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_whole),
        cmocka_unit_test(large_ones_stay_where_they_are),
        cmocka_unit_test(the_largest_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
