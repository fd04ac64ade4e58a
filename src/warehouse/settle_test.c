/* warehouse/settle_test.c - tables of one row a key: the highest version, while rows are recent, settle, or are of an older file. */
#include "warehouse/warehouse_test_kit.h"

/* Q2, within a batch and across batches; the later of two equal versions counts. */
/* As if so many rows were recent that this commit has to settle them. */
static void settle_next(struct warehouse *warehouse)
{
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        warehouse->recent[i] = 1 << 20;
}

/* settle: of the three commits, which ones. */
static void highest_version_wins(unsigned settle)
{
    struct warehouse *warehouse;
    struct row        row;

    set_up(NULL);
    warehouse = open_or_fail(false);
    if (settle & 1)
        settle_next(warehouse);
    add_distinct(warehouse, "in order", 1, 0);
    add_distinct(warehouse, "in order", 2, 1);
    add_distinct(warehouse, "out of order", 2, 7);
    add_distinct(warehouse, "out of order", 1, 3);
    add_distinct(warehouse, "equal", 1, 3);
    add_distinct(warehouse, "equal", 2, 3);
    add_distinct(warehouse, "later batch", 1, 1);
    add_distinct(warehouse, "older later", 2, 9);
    add_distinct(warehouse, "older last", 1, 9);
    add_distinct(warehouse, "of old", 5, 1);
    commit(warehouse, 1);
    if (settle & 2)
        settle_next(warehouse);
    add_distinct(warehouse, "later batch", 2, 2);
    add_distinct(warehouse, "older later", 1, 8);
    add_distinct(warehouse, "equal", 3, 3);
    for (int i = 0; i < 3; i++) {
        row_init(&row, ROW_GROUP);
        row_set_i64(&row, ROW_GROUP_TEAM_ID, 1);
        row_set_i64(&row, ROW_GROUP_TYPE_INDEX, i % 2);
        row_set_text(&row, ROW_GROUP_KEY, SPAN("acme"));
        row_set_i64(&row, ROW_GROUP_VERSION, i);
        add(warehouse, &row);
    }
    assert_int_equal(commit(warehouse, 2).loaded[ROW_DISTINCT], 13);
    if (settle & 4)
        settle_next(warehouse);
    add_distinct(warehouse, "older last", 2, 7);
    add_distinct(warehouse, "in order", 3, 2);
    assert_int_equal(commit(warehouse, 3).loaded[ROW_DISTINCT], 15);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV,
                            "SELECT distinct_id, left(person_id::VARCHAR, 2) p, version v FROM person_distinct_ids ORDER BY ALL"),
                        "distinct_id,p,v\r\nequal,03,3\r\nin order,03,2\r\nlater batch,02,2\r\nof old,05,1\r\n"
                        "older last,01,9\r\nolder later,02,9\r\nout of order,02,7\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM person_distinct_ids_recent"),
                        settle & 4 ? "n\r\n0\r\n" : settle & 2 ? "n\r\n2\r\n" : settle & 1 ? "n\r\n5\r\n" : "n\r\n15\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT group_type_index i, version v FROM groups ORDER BY ALL"),
                        "i,v\r\n0,2\r\n1,1\r\n");
    warehouse_close(warehouse);
}

static void highest_version_of_a_key_wins(void **state)
{
    (void)state;
    for (unsigned settle = 0; settle < 8; settle++)
        highest_version_wins(settle);
}

/* Rows of one key by the hundred, over batches that settle and others that do not, and a rolled back one. */
static void rows_of_a_key_settle(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);
    int64_t           version[50] = { 0 };
    char              name[20];

    (void)state;
    for (unsigned batch = 0; batch < 60; batch++) {
        for (unsigned i = 0; i < 40; i++) {
            unsigned key = (batch * 7 + i * i) % 50;

            snprintf(name, sizeof name, "key %u", key);
            add_distinct(warehouse, name, (uint8_t)(version[key] + 1), version[key] + 1);
            if (batch % 5 != 4)
                version[key]++;
        }
        if (batch % 5 == 4) {
            warehouse_rollback(warehouse);
            continue;
        }
        if (batch % 3 == 0)
            settle_next(warehouse);
        commit(warehouse, batch);
        if (batch == 30) {
            warehouse_close(warehouse);
            warehouse = open_or_fail(false);
        }
    }
    for (unsigned key = 0; key < 50; key++) {
        char sql[200], want[60];

        snprintf(sql, sizeof sql, "SELECT version v, left(person_id::VARCHAR, 2) p, count(*) OVER () n FROM person_distinct_ids"
                                  " WHERE distinct_id = 'key %u'", key);
        snprintf(want, sizeof want, "v,p,n\r\n%d,%02x,1\r\n", (int)version[key], (unsigned)version[key] & 255);
        if (version[key] > 0)
            assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, sql), want);
    }
    warehouse_close(warehouse);
}

/* A file of an older Penstock: fewer columns and tables, one table for rows of a key, row groups of 122,880. */
static void a_file_of_before_is_carried_on(void **state)
{
    static const char *const old_sql =
        "CREATE TABLE events(event VARCHAR, uuid UUID, properties VARCHAR, raw_offset BIGINT);"
        "INSERT INTO events SELECT 'old', NULL, '{}', range FROM range(20000);"
        "CREATE TABLE persons(id UUID, team_id BIGINT, properties VARCHAR, version BIGINT);"
        "INSERT INTO persons SELECT ('000000' || lpad(to_hex(range), 2, '0') || '-0000-0000-0000-000000000000')::UUID, 1,"
        " '{\"n\":' || range || '}', 5 FROM range(200);"
        "CREATE TABLE penstock_place(next_0 UBIGINT, next_1 UBIGINT, next_2 UBIGINT, next_3 UBIGINT, next_4 UBIGINT,"
        " next_5 UBIGINT, next_6 UBIGINT, next_7 UBIGINT, events UBIGINT, persons UBIGINT);"
        "INSERT INTO penstock_place VALUES (20000, 200, 0, 0, 0, 0, 0, 0, 20000, 200);";
    struct duckdb          duckdb;
    duckdb_database        database = NULL;
    duckdb_connection      connection = NULL;
    duckdb_result          result;
    struct warehouse      *warehouse;
    struct warehouse_place place;
    struct row             row = event_of("{\"new\":true}");
    struct err             err = { .text = "" };

    (void)state;
    assert_int_equal(duckdb_load(NULL, &duckdb, &err), 0);
    assert_int_equal(duckdb.open_ext(path, &database, NULL, NULL), DUCKDB_SUCCESS);
    assert_int_equal(duckdb.connect(database, &connection), DUCKDB_SUCCESS);
    if (duckdb.query(connection, old_sql, &result) != DUCKDB_SUCCESS)
        fail_msg("%s", duckdb.result_error(&result));
    duckdb.destroy_result(&result);
    duckdb.disconnect(&connection);
    duckdb.close(&database);

    warehouse = open_or_fail(false);
    assert_int_equal(warehouse_place(warehouse, &place, &err), 0);
    assert_int_equal(place.next[0], 20000);
    assert_int_equal(place.loaded[ROW_PERSON], 200);
    for (int i = 0; i < WAREHOUSE_GROUP_ROWS + 10; i++) {
        row_set_i64(&row, ROW_EVENT_RAW_OFFSET, 20000 + i);
        add(warehouse, &row);
    }
    for (int i = 190; i < 210; i++) {
        struct row person;

        row_init(&person, ROW_PERSON);
        row_set_uuid(&person, ROW_PERSON_ID, (struct uuid){ { 0, 0, 0, (uint8_t)i } });
        row_set_i64(&person, ROW_PERSON_TEAM_ID, 1);
        row_set_i64(&person, ROW_PERSON_VERSION, i < 195 ? 4 : 6);
        add(warehouse, &person);
    }
    commit(warehouse, 30000);
    for (int round = 0; round < 2; round++) { /* the second time from the file alone, settled */
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV,
                                "SELECT count(*) n, count(DISTINCT raw_offset) d, count(inserted_at) i,"
                                " count(*) FILTER (event = 'old') o FROM events"), "n,d,i,o\r\n28202,28202,8202,20000\r\n");
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT version v, count(*) n, count(properties) p FROM persons"
                                                          " GROUP BY 1 ORDER BY 1"), "v,n,p\r\n5,195,195\r\n6,15,0\r\n");
        if (round == 0) {
            settle_next(warehouse);
            commit(warehouse, 30001);
            warehouse_close(warehouse);
            warehouse = open_or_fail(false);
        }
    }
    warehouse_close(warehouse);
}

/* Whatever versions are: none, the highest, both sides of what a number of arrival could be taken for. */
static void every_version_settles(void **state)
{
    static const struct { const char *key; int64_t version; uint8_t person; } rows[] = { /* -1: none */
        { "none", -1, 1 },
        { "none, twice", -1, 1 }, { "none, twice", -1, 2 },
        { "none, then the first", -1, 1 }, { "none, then the first", 0, 2 },
        { "the first, then none", 0, 2 }, { "the first, then none", -1, 1 },
        { "the highest", INT64_MAX, 2 }, { "the highest", INT64_MAX - 1, 1 },
        { "the highest, twice", INT64_MAX, 1 }, { "the highest, twice", INT64_MAX, 2 },
        { "high", (int64_t)1 << 40, 1 }, { "high", ((int64_t)1 << 40) + 1, 2 },
    };
    struct warehouse *warehouse = open_or_fail(false);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct row row;

        row_init(&row, ROW_DISTINCT);
        row_set_i64(&row, ROW_DISTINCT_TEAM_ID, 1);
        row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, span_text(rows[i].key));
        row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, (struct uuid){ { rows[i].person } });
        if (rows[i].version >= 0)
            row_set_i64(&row, ROW_DISTINCT_VERSION, rows[i].version);
        add(warehouse, &row);
    }
    settle_next(warehouse);
    commit(warehouse, 1);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT distinct_id, left(person_id::VARCHAR, 2) AS p, version AS v FROM person_distinct_ids_settled ORDER BY 1"),
                        "distinct_id,p,v\r\nhigh,02,1099511627777\r\nnone,01,\r\n\"none, then the first\",02,0\r\n\"none, twice\",02,\r\n"
                        "\"the first, then none\",02,0\r\nthe highest,02,9223372036854775807\r\n\"the highest, twice\",02,9223372036854775807\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) n FROM person_distinct_ids_recent"), "n\r\n0\r\n");
    warehouse_close(warehouse);
}

/* A checkpoint that puts a whole table together holds the loader for seconds: docs/decisions/warehouse-duckdb.md. */
static void a_checkpoint_has_a_bound(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);

    (void)state;
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT value v FROM duckdb_settings() WHERE name = 'max_vacuum_tasks'"), "v\r\n8\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_checkpoint_has_a_bound, set_up),
        cmocka_unit_test_setup(highest_version_of_a_key_wins, set_up),
        cmocka_unit_test_setup(rows_of_a_key_settle, set_up),
        cmocka_unit_test_setup(every_version_settles, set_up),
        cmocka_unit_test_setup(a_file_of_before_is_carried_on, set_up),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
