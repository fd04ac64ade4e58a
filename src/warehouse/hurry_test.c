/* warehouse/hurry_test.c - rows that are taken by several threads: each once, whatever is refused, given up or closed meanwhile. */
#include <inttypes.h>

#include "warehouse/warehouse_test_kit.h"

enum { EVENTS = 60000, BATCHES = 3 };

static struct warehouse *open_hurrying(unsigned threads)
{
    struct warehouse_options options = { .path = path, .hurry_threads = threads };
    struct warehouse        *warehouse = NULL;
    struct err               err = { .text = "" };

    if (warehouse_open(&options, &warehouse, &err) < 0)
        fail_msg("%s", err.text);
    return warehouse;
}

/* Events of all sizes, every 4,000th larger than what a set's texts usually are together, and rows of a key among them: each of 500
 * ids comes again and again, with rising versions. */
static void add_number(struct warehouse *warehouse, uint64_t number)
{
    static char text[4 << 20];
    size_t      bytes = number % 4000 == 3999 ? sizeof text - 1 : (size_t)(number * 7919 % 600);
    struct row  row;
    char        id[24];

    memset(text, 'a' + (int)(number % 26), bytes);
    text[bytes] = '\0';
    row = event_of(text);
    row_set_i64(&row, ROW_EVENT_RAW_OFFSET, (int64_t)number);
    add(warehouse, &row);
    if (number % 3 == 0) {
        snprintf(id, sizeof id, "id %d", (int)(number % 500));
        add_distinct(warehouse, id, (uint8_t)(number % 200), (int64_t)number);
    }
}

static void add_numbers(struct warehouse *warehouse, uint64_t from, uint64_t to)
{
    for (uint64_t number = from; number < to; number++)
        add_number(warehouse, number);
}

/* What add_number has made of the first EVENTS, by arithmetic. */
static void check_all(struct warehouse *warehouse)
{
    uint64_t bytes = 0;
    char     want[200];

    for (uint64_t number = 0; number < EVENTS; number++)
        bytes += number % 4000 == 3999 ? (4 << 20) - 1 : number * 7919 % 600;
    snprintf(want, sizeof want, "n,d,last,bytes,wrong\r\n%d,%d,%d,%" PRIu64 ",0\r\n", EVENTS, EVENTS, EVENTS - 1, bytes);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV,
                            "SELECT count(*) AS n, count(DISTINCT raw_offset) AS d, max(raw_offset) AS last, sum(length(properties)) AS bytes,"
                            " count(*) FILTER (properties <> '' AND properties[1] <> chr((97 + raw_offset % 26)::INT)) AS wrong FROM events"), want);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, min(version) >= 58500 AS new, sum(version % 500 - split_part(distinct_id, ' ', 2)"
                                                      "::INT) AS off FROM person_distinct_ids"), "n,new,off\r\n500,true,0\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT next_0, events, person_distinct_ids AS ids FROM penstock_place"),
                        "next_0,events,ids\r\n60000,60000,20000\r\n");
}

/* threads; how many; of the batches, which ones are in a hurry. */
static void same_rows(unsigned threads, unsigned hurried)
{
    struct warehouse *warehouse;

    set_up(NULL);
    warehouse = open_hurrying(threads);
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        warehouse_hurry(warehouse, hurried >> batch & 1);
        add_numbers(warehouse, (uint64_t)batch * EVENTS / BATCHES, (uint64_t)(batch + 1) * EVENTS / BATCHES);
        assert_int_equal(warehouse_pending_of(warehouse, ROW_EVENT), EVENTS / BATCHES);
        commit(warehouse, (uint64_t)(batch + 1) * EVENTS / BATCHES);
    }
    check_all(warehouse);
    warehouse_close(warehouse); /* in a hurry or not */
    warehouse = open_or_fail(false);
    check_all(warehouse);
    warehouse_close(warehouse);
}

static void the_same_rows_with_any_number_of_threads(void **state)
{
    (void)state;
    same_rows(2, 7);
    same_rows(4, 7);
    same_rows(3, 2);
    same_rows(2, 5);
    same_rows(1, 7); /* no hurry is possible */
}

/* A batch that is given up while its rows are on their way leaves nothing, and the same rows come again. */
static void given_up_and_made_again(void **state)
{
    struct warehouse *warehouse = open_hurrying(3);

    (void)state;
    warehouse_hurry(warehouse, true);
    for (uint64_t rows = 1; rows < EVENTS; rows = rows * 7 + 3) {
        add_numbers(warehouse, 0, rows);
        warehouse_rollback(warehouse);
        assert_int_equal(warehouse_pending(warehouse), 0);
    }
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM person_distinct_ids) AS n"),
                        "n\r\n0\r\n");
    add_numbers(warehouse, 0, EVENTS);
    commit(warehouse, EVENTS);
    check_all(warehouse);
    add_numbers(warehouse, 0, 30000);
    warehouse_close(warehouse); /* in the middle */
    warehouse = open_or_fail(false);
    check_all(warehouse);
    warehouse_close(warehouse);
}

/* What only the engine refuses is told by the commit, as a row's fault; nothing of the batch stays, and it goes on. */
static void what_the_engine_refuses_is_told_by_the_commit(void **state)
{
    struct warehouse      *warehouse = open_hurrying(2);
    struct warehouse_place place = { .next = { 9 } };
    struct row             row;
    struct err             err = { .text = "" };

    (void)state;
    assert_int_equal(engine_run(warehouse, warehouse->loader, "ALTER TABLE events ALTER COLUMN raw_offset SET NOT NULL", &err), 0);
    warehouse_hurry(warehouse, true);
    for (uint64_t at = 0; at < EVENTS; at += EVENTS / 4) {
        add_numbers(warehouse, 0, at);
        row = event_of("{}");
        add(warehouse, &row);
        add_numbers(warehouse, at, EVENTS);
        assert_int_equal(warehouse_commit(warehouse, &place, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_non_null(strstr(err.text, "NOT NULL"));
        assert_int_equal(warehouse_pending(warehouse), 0);
    }
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n0\r\n");
    add_numbers(warehouse, 0, EVENTS);
    commit(warehouse, EVENTS);
    check_all(warehouse);
    warehouse_close(warehouse);
}

/* Nobody but the loader may take its rows, in a hurry or after one. */
static void nobody_else_gets_the_rows(void **state)
{
    struct warehouse *warehouse = open_hurrying(2);

    (void)state;
    for (int hurry = 2; hurry >= 0; hurry--) {
        warehouse_hurry(warehouse, hurry % 2 == 1);
        add_numbers(warehouse, 0, 10);
        assert_non_null(strstr(ask_as(warehouse, WAREHOUSE_CSV, "FROM penstock_feed_events()"), "nobody else may call it"));
        commit(warehouse, 10);
    }
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n30\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_rows_with_any_number_of_threads, set_up),
        cmocka_unit_test_setup(given_up_and_made_again, set_up),
        cmocka_unit_test_setup(what_the_engine_refuses_is_told_by_the_commit, set_up),
        cmocka_unit_test_setup(nobody_else_gets_the_rows, set_up),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
