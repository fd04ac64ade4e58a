/* parts: clickhouse
 * load/eraser_cluster_test.c - an erasure waits for rows that other units have not loaded. */
#include "load/eraser.h"
#include "warehouse/clickhouse_test_kit.h"

static const struct row *order_of(const char *detail)
{
    static struct row row;

    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, TEAM);
    row_set_text(&row, ROW_RECEIPT_KIND, SPAN("erase"));
    row_set_text(&row, ROW_RECEIPT_STATE, SPAN("people done"));
    row_set_uuid(&row, ROW_RECEIPT_PERSON_ID, (struct uuid){ { 7 } });
    if (detail != NULL)
        row_set_text(&row, ROW_RECEIPT_DETAIL, span_text(detail));
    assert_true(eraser_is_order(&row));
    return &row;
}

static void meet(struct eraser *eraser, struct warehouse *warehouse, const char *detail, bool again)
{
    struct err err = { .text = "" };

    assert_int_equal(eraser_meet(eraser, warehouse, order_of(detail), SPAN("the order"), 0, again ? 1 : UINT64_MAX, &err), 0);
}

static int loaded(struct eraser *eraser, struct warehouse *warehouse, int64_t now_us)
{
    struct err err = { .text = "" };

    return eraser_others_loaded(eraser, warehouse, now_us, &err);
}

static void other_units_are_waited_for(void **state)
{
    struct warehouse_options options = at_server();
    struct warehouse        *here = open_or_fail(), *there;
    struct warehouse_place   place;
    struct eraser            eraser;
    struct row               row;

    (void)state;
    options.unit = 1;
    there = open_as(&options);
    place = place_of(there);
    eraser_init(&eraser);

    meet(&eraser, here, NULL, false); /* one machine: nobody else */
    assert_int_equal(loaded(&eraser, here, 1), 1);
    meet(&eraser, here, "1:0,0,0,0,0,0,0,0", false); /* it had nothing */
    assert_int_equal(loaded(&eraser, here, 1), 1);

    meet(&eraser, here, "1:50,0,0,0,0,0,9,900;2:0", false); /* raw_overflow and receipts are not loaded for an erasure */
    assert_int_equal(loaded(&eraser, here, 1000000), 0);
    make_event(&row, 1);
    add(there, &row);
    place = commit(there, &place, 49);
    assert_int_equal(loaded(&eraser, here, 2000000), 0);
    make_event(&row, 2);
    row.offset = 49;
    add(there, &row);
    place = commit(there, &place, 50);
    assert_int_equal(loaded(&eraser, here, 2000001), 0); /* it is not asked all the time */
    assert_int_equal(loaded(&eraser, here, 3000000), 1);
    assert_int_equal(loaded(&eraser, here, 3000001), 1);

    meet(&eraser, here, "1:51,0,0,0,0,0,0,0", false);
    assert_int_equal(loaded(&eraser, here, 4000000), 0);
    meet(&eraser, here, "1:51,0,0,0,0,0,0,0", true); /* begun before, it had waited */
    assert_int_equal(loaded(&eraser, here, 5000000), 1);
    meet(&eraser, here, "not the form", false);
    assert_int_equal(loaded(&eraser, here, 6000000), -1);

    eraser_fini(&eraser);
    warehouse_close(here);
    warehouse_close(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(other_units_are_waited_for, set_up),
    };

    return server_known() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
