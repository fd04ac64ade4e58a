/* warehouse/query_test.c - the door that queries come through: what may be asked, how it is answered, when it ends. */
#include "warehouse/warehouse_test_kit.h"

static void control_characters_do_not_reach_a_terminal(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);

    (void)state;
    assert_string_equal(ask_as(warehouse, WAREHOUSE_TABLE, "SELECT 5 AS n, chr(27) || '[2J' AS e, NULL AS z UNION ALL SELECT 12345, 'a' || chr(10), 'x' ORDER BY n"),
                        "    n  e        z\n"
                        "-----  -------  ----\n"
                        "    5  \\x1b[2J  NULL\n"
                        "12345  a\\n      x\n"
                        "(2 rows)\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_TABLE, "SELECT 1 AS n WHERE false"), "n\n-\n(0 rows)\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_JSON, "SELECT 1 AS n WHERE false"), "[]\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT 1 AS n WHERE false"), "n\r\n");
    warehouse_close(warehouse);
}

static void queries_only_read_and_only_here(void **state)
{
    static const char *const refused[] = {
        "INSERT INTO events(event) VALUES ('x')", "DELETE FROM events", "UPDATE events SET event = 'x'",
        "DROP TABLE events", "CREATE TABLE x(i INT)", "CREATE TEMP TABLE x(i INT)", "ALTER TABLE events ADD COLUMN x INT",
        "TRUNCATE events", "BEGIN", "COMMIT", "CHECKPOINT", "FORCE CHECKPOINT", "VACUUM", "SET memory_limit='1GB'",
        "SET enable_external_access=true", "RESET lock_configuration", "PRAGMA memory_limit='1GB'", "LOAD json",
        "INSTALL httpfs", "ATTACH '/tmp/x.db'", "ATTACH ':memory:'", "DETACH w", "USE memory", "EXPORT DATABASE '/tmp/x'",
        "IMPORT DATABASE '/tmp/x'", "COPY events TO '/tmp/x.csv'", "COPY events FROM '/etc/passwd'",
        "PREPARE p AS SELECT 1", "EXECUTE p", "CALL pragma_version()", "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE events",
        "EXPLAIN ANALYZE DELETE FROM events", "EXPLAIN ANALYZE INSERT INTO events(event) VALUES ('x')",
        "SELECT 1) ; DROP TABLE events; --", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_blob('/etc/passwd')", "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_parquet('https://example.com/x')", "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')", "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT getenv('PATH')", "SELECT $1", "SELECT ?", "", ";", "SELEC 1", "SELECT * FROM nothing",
        "SELECT 1 -- unended (\n) FROM (",
        "SELECT * FROM checkpoint()", "FROM Force_Checkpoint /* x */ ('w')", "SELECT * FROM \"checkpoint\"()",
        "EXPLAIN ANALYZE SELECT * FROM main.checkpoint -- x\n()", "SELECT write_log('x')",
        "FROM penstock_feed_events()", "SELECT count(*) FROM penstock_feed_dead_letters()", /* the loader's (feed.c) */
    };
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of("{}");

    (void)state;
    add(warehouse, &row);
    commit(warehouse, 1);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *got = ask_as(warehouse, WAREHOUSE_CSV, refused[i]);

        if (strncmp(got, err_kind_name(ERR_INPUT), strlen(err_kind_name(ERR_INPUT))) != 0)
            fail_msg("%s: %s", refused[i], got);
    }
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n1\r\n");
    warehouse_close(warehouse);
}

static void what_reads_is_allowed(void **state)
{
    static const struct { const char *sql, *want; } rows[] = {
        { "SELECT 1 AS a;", "a\r\n1\r\n" },
        { "SELECT 1 AS a; -- the end", "a\r\n1\r\n" },
        { "SELECT ';' AS a -- ; here too", "a\r\n;\r\n" },
        { "SELECT 'checkpoint' AS a WHERE 'checkpoint' IN ('checkpoint')", "a\r\ncheckpoint\r\n" },
        { "SELECT $$a;b$$ AS a /* ; */", "a\r\na;b\r\n" },
        { "FROM (VALUES (2), (1), (3)) t(a) ORDER BY a DESC", "a\r\n3\r\n2\r\n1\r\n" },
        { "WITH x AS (SELECT 1 AS a) SELECT * FROM x", "a\r\n1\r\n" },
        { "VALUES (1)", "col0\r\n1\r\n" },
        { "SELECT 1 AS a, 2 AS a", "a,a_1\r\n1,2\r\n" },
        { "SELECT [1, NULL] AS l, {'a': 'x'} AS s, DATE '2026-01-02' AS d, '\\xAA'::BLOB AS b", "l,s,d,b\r\n\"[1, NULL]\",{'a': x},2026-01-02,\\xAA\r\n" },
        { "SELECT '{\"a\":{\"b\":12345678901234567890}}'->>'$.a.b' AS a", "a\r\n12345678901234567890\r\n" },
    };
    struct warehouse *warehouse = open_or_fail(false);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, rows[i].sql), rows[i].want);
    assert_non_null(strstr(ask_as(warehouse, WAREHOUSE_CSV, "DESCRIBE events"), "$session_id,VARCHAR"));
    assert_non_null(strstr(ask_as(warehouse, WAREHOUSE_CSV, "SHOW TABLES"), "person_distinct_ids"));
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        assert_non_null(strstr(ask_as(warehouse, WAREHOUSE_CSV, "SHOW TABLES"), row_tables[i].name));
    assert_non_null(strstr(ask_as(warehouse, WAREHOUSE_CSV, "SUMMARIZE events"), "distinct_id"));
    assert_non_null(strstr(ask_as(warehouse, WAREHOUSE_CSV, "EXPLAIN SELECT count(*) FROM events"), "events"));
    warehouse_close(warehouse);
}

static int count_bytes(void *ctx, struct span piece, struct err *err)
{
    *(uint64_t *)ctx += piece.bytes;
    return *(uint64_t *)ctx > (uint64_t)8 << 20 ? err_set(err, ERR_STOP, "enough") : 0;
}

static int cancel_at_once(void *ctx, struct span piece, struct err *err)
{
    (void)piece;
    (void)err;
    *(atomic_bool *)ctx = true;
    return 0;
}

static void endless_queries_end(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct err        err = { .text = "" };
    uint64_t          bytes = 0;
    atomic_bool       cancel = false, cancelled = true;

    (void)state;
    assert_int_equal(warehouse_query(warehouse, "FROM range(1000000000)", WAREHOUSE_CSV, count_bytes, &bytes, NULL, &err), -1);
    assert_string_equal(err.text, "enough");
    assert_int_equal(warehouse_query(warehouse, "FROM range(1000000000)", WAREHOUSE_CSV, cancel_at_once, &cancel,
                                     &cancel, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    /* Works for minutes before its first row. */
    assert_int_equal(warehouse_query(warehouse, "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range = b.range * 2 + a.range % 7",
                                     WAREHOUSE_CSV, collect, NULL, &cancelled, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT 1 AS a"), "a\r\n1\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(control_characters_do_not_reach_a_terminal, set_up),
        cmocka_unit_test_setup(queries_only_read_and_only_here, set_up),
        cmocka_unit_test_setup(what_reads_is_allowed, set_up),
        cmocka_unit_test_setup(endless_queries_end, set_up),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
