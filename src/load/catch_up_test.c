/* load/catch_up_test.c - the role as a process while much waits: several threads take rows, and it is killed, or meets rows that nobody
 * takes, on the way. Needs libduckdb.so. */
#include "load/load_test_kit.h"

enum { ROWS = 60000 };

static struct load_options catching_up(void)
{
    struct load_options options = options_of();

    options.catch_up_threads = 3;
    options.catch_up_rows = 400; /* until 100 are left: all the time */
    options.batch_rows = 5000;
    return options;
}

static void fill(struct log_writer *events, struct log_batch *batch)
{
    for (uint64_t from = 0; from < ROWS; from += 3000)
        add_events(events, batch, from, 3000);
}

/* Each row is there once, whenever the loader was killed. Who kills it often enough may make it set a row aside, which is then a letter. */
static void killed_at_any_moment(void **state)
{
    struct load_options options = catching_up();
    struct log_writer  *events = open_topic("events");
    struct log_batch   *batch = log_batch_new();
    struct process      process;
    char                want[200], sql[400];
    int                 kills = getenv("PENSTOCK_TEST_KILLS") != NULL ? atoi(getenv("PENSTOCK_TEST_KILLS")) : 25;

    (void)state;
    srand(11);
    for (int i = 0; i < kills; i++) {
        if (i % 3 == 0) /* much waits again */
            for (uint64_t k = 0; k < 20; k++)
                add_events(events, batch, (uint64_t)i / 3 * ROWS + k * 3000, 3000);
        process = start_with(&options);
        usleep((useconds_t)(20000 + rand() % 300000));
        kill(process.pid, SIGKILL);
        (void)finish(process);
    }
    process = start_with(&options);
    snprintf(want, sizeof want, "n,d,next,rows,few\r\n%d,%d,%d,%d,true\r\n", (kills + 2) / 3 * ROWS, (kills + 2) / 3 * ROWS, (kills + 2) / 3 * ROWS,
             (kills + 2) / 3 * ROWS);
    snprintf(sql, sizeof sql,
             "WITH letters AS (SELECT count(*) AS c FROM dead_letters) SELECT count(*) + any_value(c) AS n, count(DISTINCT raw_offset) +"
             " any_value(c) AS d, any_value(next_0) AS next, any_value(p.events) + any_value(c) AS rows, any_value(c) <= %d AS few"
             " FROM events, penstock_place p, letters", kills / POISON_CRASHES_MAX);
    expect(sql, want);
    assert_int_equal(finish(process), 0);
    log_batch_free(batch);
    log_writer_close(events);
}

/* A row that only the engine refuses, in the middle of what several threads take, is found and set aside alone. */
static void one_row_that_spoils_its_batch_is_found(void **state)
{
    struct load_options options = catching_up();
    struct log_writer  *events = open_topic("events");
    struct log_batch   *batch = log_batch_new();
    struct process      process;
    char                want[100];

    (void)state;
    engine_refuses("20000, 41234");
    fill(events, batch);
    process = start_with(&options);
    snprintf(want, sizeof want, "n,d\r\n%d,%d\r\n", ROWS - 2, ROWS - 2);
    expect("SELECT count(*) n, count(DISTINCT raw_offset) d FROM events", want);
    expect("SELECT step, reason, raw_offset o, event FROM dead_letters ORDER BY o",
           "step,reason,o,event\r\nload,refused_row,20000,bought\r\nload,refused_row,41234,bought\r\n");
    assert_int_equal(finish(process), 0);
    log_batch_free(batch);
    log_writer_close(events);
}

/* Orders to erase stand between rows that wait: what came before them goes, what came after stays. */
static void orders_are_carried_out_in_their_place(void **state)
{
    struct load_options options = catching_up();
    struct log_writer  *events = open_topic("events"), *receipts = open_topic("receipts");
    struct log_batch   *batch = log_batch_new();
    struct process      process;
    struct row          row;

    (void)state;
    for (uint64_t number = 0; number < 30000; number++) {
        row_init(&row, ROW_EVENT);
        row_set_i64(&row, ROW_EVENT_TEAM_ID, 1);
        row_set_i64(&row, ROW_EVENT_RAW_OFFSET, (int64_t)number);
        row_set_uuid(&row, ROW_EVENT_PERSON_ID, (struct uuid){ { number % 30 == 0 } });
        row_set_text(&row, ROW_EVENT_DISTINCT_ID, SPAN("d"));
        add_row(batch, &row);
        if (number % 3000 == 2999)
            publish(events, batch);
    }
    row_init(&row, ROW_RECEIPT);
    row_set_i64(&row, ROW_RECEIPT_ID, 0);
    row_set_i64(&row, ROW_RECEIPT_TEAM_ID, 1);
    row_set_text(&row, ROW_RECEIPT_KIND, SPAN("erase"));
    row_set_text(&row, ROW_RECEIPT_STATE, SPAN("people done"));
    row_set_uuid(&row, ROW_RECEIPT_PERSON_ID, (struct uuid){ { 1 } });
    row_set_i64(&row, ROW_RECEIPT_VERSION, 2);
    add_row(batch, &row);
    publish(receipts, batch);
    process = start_with(&options);
    expect("SELECT state, events FROM receipts", "state,events\r\nwarehouse done,1000\r\n");
    expect("SELECT count(*) AS n FROM events", "n\r\n29000\r\n");
    add_events(events, batch, 30000, 3000);
    expect("SELECT count(*) AS n FROM events", "n\r\n32000\r\n");
    assert_int_equal(finish(process), 0);
    log_batch_free(batch);
    log_writer_close(events);
    log_writer_close(receipts);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_at_any_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_row_that_spoils_its_batch_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orders_are_carried_out_in_their_place, set_up, tear_down),
    };

    if (argc >= 5 && strcmp(argv[1], "role") == 0)
        return role_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
