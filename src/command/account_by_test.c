/* command/account_by_test.c - lines of a warehouse file as older programs left it, and of what was erased. Needs libduckdb.so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "command/account_by.h"
#include "ingest/testing.h"
#include "warehouse/engine.h"

#define HOUR_US INT64_C(1709287200000000) /* 2024-03-01T10:00:00Z */

static struct fixture fixture;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&fixture);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

static struct warehouse *warehouse_make(void)
{
    static char       path[128];
    struct warehouse *warehouse;
    struct err        err = { 0 };

    snprintf(path, sizeof path, "%s/warehouse.duckdb", fixture.folder);
    fixture_must(warehouse_open(&(struct warehouse_options){ .path = path }, &warehouse, &err), &err);
    return warehouse;
}

static void warehouse_run(struct warehouse *warehouse, const char *sql)
{
    struct err err = { 0 };

    fixture_must(engine_run(warehouse, warehouse->loader, sql, &err), &err);
}

static struct account_lines lines_read(bool check)
{
    struct account_lines lines;
    struct err           err = { 0 };

    if (account_lines_read(fixture.folder, ACCOUNT_BY_PROJECT | ACCOUNT_BY_HOUR, check, fixture.arena, &lines, &err) < 0)
        fail_msg("%s", err.text);
    return lines;
}

static void a_file_without_the_newer_tables(void **state)
{
    struct warehouse *warehouse = warehouse_make();

    (void)state;
    warehouse_run(warehouse, "DROP TABLE heatmaps; DROP TABLE penstock_erased; UPDATE penstock_place SET next_0 = 1, events = 1; "
                             "INSERT INTO events(team_id, captured_at) VALUES (7, '2024-03-01 10:20:30')");
    warehouse_close(warehouse);
    assert_int_equal(lines_read(false).count, 0);
    struct account_lines lines = lines_read(true);

    assert_int_equal(lines.count, 1);
    assert_int_equal(lines.at[0].project, 7);
    assert_int_equal(lines.at[0].hour, HOUR_US / TIME_US_HOUR);
    assert_int_equal(lines.at[0].rows, 1);
    assert_int_equal(lines.unplaced, 0);
}

/* Two events became rows, two were set aside by the loader; a person is erased, who had one of each. */
static void erased_letters_of_the_loader_stay_counted(void **state)
{
    static const struct uuid person = { { 9 } };
    struct warehouse        *warehouse = warehouse_make();
    struct warehouse_erased  erased;
    struct warehouse_place   place;
    struct err               err = { 0 };

    (void)state;
    warehouse_run(warehouse,
                  "UPDATE penstock_place SET next_0 = 4, events = 2; "
                  "INSERT INTO events(team_id, captured_at, distinct_id) VALUES (7, '2024-03-01 10:20:30', 'ada'), (7, '2024-03-01 10:20:30', 'bob'); "
                  "INSERT INTO dead_letters(team_id, received_at, distinct_id, step) VALUES (7, '2024-03-01 10:20:30', 'ada', 'load'), "
                  "(7, '2024-03-01 10:20:30', 'ada', 'ingest'), (7, NULL, 'ada', 'load'), (7, '2024-03-01 10:20:30', 'bob', 'load'); "
                  "INSERT INTO person_distinct_ids_recent(team_id, distinct_id, person_id, is_deleted, version, number) "
                  "VALUES (7, 'ada', '09000000-0000-0000-0000-000000000000', true, 1, 0)");
    for (int round = 0; round < 2; round++) {
        struct account_lines lines;

        warehouse_close(warehouse);
        lines = lines_read(true);
        assert_int_equal(lines.count, 1);
        assert_int_equal(lines.at[0].dead_lettered, 2);
        assert_int_equal(lines.at[0].rows, 2);
        assert_int_equal(lines.unplaced, 0);
        if (round == 0) {
            warehouse = warehouse_make();
            fixture_must(warehouse_place(warehouse, &place, &err), &err);
            fixture_must(warehouse_erase(warehouse, 7, &(struct warehouse_order){ .person = person }, 1, &erased, &err), &err);
            fixture_must(warehouse_commit(warehouse, &place, &err), &err);
            assert_int_equal(erased.events, 1);
            assert_int_equal(erased.dead_letters, 3);
        }
    }
}

/* Records that could not be looked at are rows that are not there yet, at most: they explain so many that are missing, and none too many. */
static void what_could_not_be_looked_at_is_not_wrong(void **state)
{
    static const struct {
        struct account_line  lines[2];
        uint64_t             not_looked_at;
        enum account_verdict checked, unchecked;
    } rows[] = {
        { { { .stored = 5, .rows = 5 }, { .stored = 2, .rows = 2 } }, 0, ACCOUNT_RIGHT, ACCOUNT_RIGHT },
        { { { .stored = 5, .rows = 4 }, { .stored = 2, .rows = 2 } }, 0, ACCOUNT_WRONG, ACCOUNT_RIGHT },
        { { { .stored = 5, .rows = 4 }, { .stored = 2, .rows = 1 } }, 2, ACCOUNT_UNKNOWN, ACCOUNT_RIGHT },
        { { { .stored = 5, .rows = 4 }, { .stored = 2, .rows = 1 } }, 1, ACCOUNT_WRONG, ACCOUNT_RIGHT },
        { { { .stored = 5, .rows = 6 }, { .stored = 2, .rows = 1 } }, 9, ACCOUNT_WRONG, ACCOUNT_RIGHT },
        { { { .stored = 5, .rows = 5 }, { .stored = 2, .rows = 2 } }, 9, ACCOUNT_UNKNOWN, ACCOUNT_RIGHT },
        { { { .stored = 5, .rows = 4, .difference = -1 }, { .stored = 2, .rows = 2 } }, 9, ACCOUNT_WRONG, ACCOUNT_WRONG },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct account_line  at[2] = { rows[i].lines[0], rows[i].lines[1] };
        struct account_lines lines = { .at = at, .count = 2, .not_looked_at = rows[i].not_looked_at };

        assert_int_equal(account_lines_judge(&lines, true), rows[i].checked);
        assert_int_equal(account_lines_judge(&lines, false), rows[i].unchecked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_without_the_newer_tables, set_up, tear_down),
        cmocka_unit_test(what_could_not_be_looked_at_is_not_wrong),
        cmocka_unit_test_setup_teardown(erased_letters_of_the_loader_stay_counted, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
