/* warehouse/warehouse_test.c - what goes in comes out: every type, every awkward text, Q1 to Q3, and the
 * door that queries come through. Needs libduckdb.so (build/deps/duckdb, see warehouse/duckdb.h). */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "warehouse/duckdb.h"
#include "warehouse/engine.h"
#include "warehouse/warehouse.h"
#include "warehouse/zstd_level.h"

static char folder[] = "/tmp/penstock-warehouse-XXXXXX";
static char path[100];

static struct warehouse *open_or_fail(bool read_only)
{
    struct warehouse_options options = { .path = path, .read_only = read_only };
    struct warehouse        *warehouse = NULL;
    struct err               err = { .text = "" };

    if (warehouse_open(&options, &warehouse, &err) < 0)
        fail_msg("%s", err.text);
    return warehouse;
}

static int set_up(void **state)
{
    char wal[120];

    (void)state;
    snprintf(path, sizeof path, "%s/w.duckdb", folder);
    snprintf(wal, sizeof wal, "%s.wal", path);
    unlink(path);
    unlink(wal);
    return 0;
}

static int collect(void *ctx, struct span piece, struct err *err)
{
    (void)err;
    buf_add(ctx, piece);
    return 0;
}

/* The answer, or "error kind: text". */
static const char *ask(struct warehouse *warehouse, enum warehouse_format format, const char *sql)
{
    static struct buf out;
    struct err        err = { .text = "" };

    buf_fini(&out);
    buf_init(&out, 64 << 20);
    if (warehouse_query(warehouse, sql, format, collect, &out, NULL, &err) < 0) {
        buf_reset(&out);
        buf_add_format(&out, "%s: %s", err_kind_name(err.kind), err.text);
    }
    buf_add_byte(&out, '\0');
    return (const char *)out.at;
}

static void add(struct warehouse *warehouse, const struct row *row)
{
    struct err err = { .text = "" };

    if (warehouse_add(warehouse, row, &err) < 0)
        fail_msg("%s", err.text);
}

static struct warehouse_place commit(struct warehouse *warehouse, uint64_t next)
{
    struct warehouse_place place = { .next = { next } };
    struct err             err = { .text = "" };

    if (warehouse_commit(warehouse, &place, &err) < 0)
        fail_msg("%s", err.text);
    return place;
}

static struct row event_of(const char *properties)
{
    struct row row;

    row_init(&row, ROW_EVENT);
    row_set_text(&row, ROW_EVENT_PROPERTIES, span_text(properties));
    return row;
}

static void every_type_and_null(void **state)
{
    static const struct uuid uuid = { { 0x01, 0x8f, 0, 1, 2, 3, 0x70, 4, 0x80, 5, 6, 7, 8, 9, 10, 0xff } };
    static const struct uuid high = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                        0xff, 0xff, 0xfe } };
    struct warehouse        *warehouse = open_or_fail(false);
    struct row               row;

    (void)state;
    row_init(&row, ROW_EVENT);
    row_set_uuid(&row, ROW_EVENT_UUID, uuid);
    row_set_uuid(&row, ROW_EVENT_PERSON_ID, high);
    row_set_i64(&row, ROW_EVENT_TEAM_ID, INT64_MAX);
    row_set_i64(&row, ROW_EVENT_PROJECT_ID, INT64_MIN);
    row_set_i64(&row, ROW_EVENT_TIMESTAMP, 1770091506123456); /* 2026-02-03T04:05:06.123456Z by date(1) */
    row_set_i64(&row, ROW_EVENT_CREATED_AT, -1);
    row_set_i64(&row, ROW_EVENT_HISTORICAL_MIGRATION, 1);
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("exactly12byt"));
    row_set_text(&row, ROW_EVENT_DISTINCT_ID, SPAN("exactly13byte"));
    row_set_text(&row, ROW_EVENT_ELEMENTS_CHAIN, SPAN(""));
    add(warehouse, &row);
    row_init(&row, ROW_EVENT);
    add(warehouse, &row);
    assert_int_equal(commit(warehouse, 2).loaded[ROW_EVENT], 2);
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV,
                            "SELECT uuid, person_id, team_id, project_id, timestamp, created_at, historical_migration h,"
                            " event, distinct_id, elements_chain e, properties, \"$session_id\" FROM events"),
                        "uuid,person_id,team_id,project_id,timestamp,created_at,h,event,distinct_id,e,properties,$session_id\r\n"
                        "018f0001-0203-7004-8005-060708090aff,ffffffff-ffff-ffff-ffff-fffffffffffe,9223372036854775807,"
                        "-9223372036854775808,2026-02-03 04:05:06.123456,1969-12-31 23:59:59.999999,true,exactly12byt,"
                        "exactly13byte,\"\",,\r\n"
                        ",,,,,,,,,,,\r\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_JSON, "SELECT team_id, 1.50::DECIMAL(9,2) d, 'nan'::DOUBLE n, 0.1 f, true b,"
                                                       " uuid, [1,2] l, sum(team_id) OVER () s, NULL z FROM events LIMIT 1"),
                        "[\n{\"team_id\":9223372036854775807,\"d\":1.50,\"n\":\"nan\",\"f\":0.1,\"b\":true,\"uuid\":"
                        "\"018f0001-0203-7004-8005-060708090aff\",\"l\":\"[1, 2]\",\"s\":9223372036854775807,\"z\":null}\n]\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) n FROM events WHERE inserted_at > now() AT TIME ZONE 'UTC' - INTERVAL 1 MINUTE"
                                                      " AND inserted_at <= now() AT TIME ZONE 'UTC'"), "n\r\n2\r\n");
    warehouse_close(warehouse);
}

/* Q3: the bytes that were given, through commit, close and open. */
static void texts_keep_their_bytes(void **state)
{
    static const char *const texts[] = {
        "{\"n\":123456789012345678901234567890.123456789012345678901234567890}",
        "{ \"b\" : 1,\"a\":1.0e+05 , \"a2\":-0 }",
        "{\"emoji\":\"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80\",\"esc\":\"\\ud83d\\ude00\"}",
        "line\nline\r\n\"quoted\", and, commas;\ttab",
        "=HYPERLINK(\"http://x\")", "'; DROP TABLE events; --", "\x1b[2J\x07", "\\N", "NULL", "",
    };
    enum { TEXTS = sizeof texts / sizeof *texts, LARGE = 1 << 20 };
    struct warehouse *warehouse = open_or_fail(false);
    char             *large = malloc(LARGE + 1), sql[200];
    struct row        row;

    (void)state;
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)('a' + i * 7 % 26);
    large[LARGE] = '\0';
    for (int i = 0; i <= TEXTS + 1; i++) {
        row = event_of(i < TEXTS ? texts[i] : large);
        if (i > TEXTS)
            row_set_text(&row, ROW_EVENT_PROPERTIES, span_of("nul\0inside the text", 19));
        row_set_i64(&row, ROW_EVENT_TEAM_ID, i);
        add(warehouse, &row);
    }
    commit(warehouse, 1);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < TEXTS; i++) {
            struct buf want;

            snprintf(sql, sizeof sql, "SELECT properties FROM events WHERE team_id = %d", i);
            buf_init(&want, 4096);
            buf_add_text(&want, "properties\r\n");
            bool quote = strpbrk(texts[i], "\",\r\n") != NULL || texts[i][0] == '\0';
            for (const char *at = texts[i]; quote && at == texts[i]; at++)
                buf_add_byte(&want, '"');
            for (const char *at = texts[i]; *at != '\0'; at++) {
                if (*at == '"')
                    buf_add_byte(&want, '"');
                buf_add_byte(&want, (uint8_t)*at);
            }
            buf_add_text(&want, quote ? "\"\r\n" : "\r\n");
            buf_add_byte(&want, '\0');
            assert_string_equal(ask(warehouse, WAREHOUSE_CSV, sql), (const char *)want.at);
            buf_fini(&want);
        }
        snprintf(sql, sizeof sql, "SELECT properties FROM events WHERE team_id = %d", TEXTS);
        const char *got = ask(warehouse, WAREHOUSE_CSV, sql);
        assert_int_equal(strlen(got), 12 + LARGE + 2);
        assert_memory_equal(got + 12, large, LARGE);
        snprintf(sql, sizeof sql, "SELECT length(properties) n, ord(properties[4]) z FROM events WHERE team_id = %d", TEXTS + 1);
        assert_string_equal(ask(warehouse, WAREHOUSE_CSV, sql), "n,z\r\n19,0\r\n");
        warehouse_close(warehouse);
        warehouse = open_or_fail(round == 0);
    }
    warehouse_close(warehouse);
    free(large);
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);

    (void)state;
    assert_string_equal(ask(warehouse, WAREHOUSE_TABLE, "SELECT 5 AS n, chr(27) || '[2J' AS e, NULL AS z UNION ALL SELECT 12345, 'a' || chr(10), 'x' ORDER BY n"),
                        "    n  e        z\n"
                        "-----  -------  ----\n"
                        "    5  \\x1b[2J  NULL\n"
                        "12345  a\\n      x\n"
                        "(2 rows)\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_TABLE, "SELECT 1 AS n WHERE false"), "n\n-\n(0 rows)\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_JSON, "SELECT 1 AS n WHERE false"), "[]\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT 1 AS n WHERE false"), "n\r\n");
    warehouse_close(warehouse);
}

static void what_is_no_text_is_refused_alone(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of("\xff\xfe");
    struct err        err = { .text = "" };

    (void)state;
    assert_int_equal(warehouse_add(warehouse, &row, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    row = event_of("{}");
    row_set_i64(&row, ROW_EVENT_TIMESTAMP, INT64_MAX);
    assert_int_equal(warehouse_add(warehouse, &row, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    row = event_of("{}");
    add(warehouse, &row);
    assert_int_equal(commit(warehouse, 1).loaded[ROW_EVENT], 1);
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n1\r\n");
    warehouse_close(warehouse);
}

/* Q1: rollback and close undo both rows and cursor; commit keeps both. */
static void rows_and_place_are_one(void **state)
{
    struct warehouse      *warehouse = open_or_fail(false);
    struct warehouse_place place;
    struct row             row = event_of("{}");
    struct err             err = { .text = "" };

    (void)state;
    for (int i = 0; i < 5000; i++)
        add(warehouse, &row);
    assert_int_equal(commit(warehouse, 5000).next[0], 5000);
    for (int i = 0; i < 5000; i++)
        add(warehouse, &row);
    assert_int_equal(warehouse_pending(warehouse), 5000);
    warehouse_rollback(warehouse);
    assert_int_equal(warehouse_pending(warehouse), 0);
    assert_int_equal(warehouse_place(warehouse, &place, &err), 0);
    assert_int_equal(place.next[0], 5000);
    assert_int_equal(place.loaded[ROW_EVENT], 5000);
    for (int i = 0; i < 3000; i++)
        add(warehouse, &row);
    warehouse_close(warehouse);
    warehouse = open_or_fail(false);
    add(warehouse, &row);
    place = commit(warehouse, 5001);
    assert_int_equal(place.loaded[ROW_EVENT], 5001);
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n5001\r\n");
    warehouse_close(warehouse);
}

static void add_distinct(struct warehouse *warehouse, const char *distinct_id, uint8_t person, int64_t version)
{
    struct row row;

    row_init(&row, ROW_DISTINCT);
    row_set_i64(&row, ROW_DISTINCT_TEAM_ID, 1);
    row_set_text(&row, ROW_DISTINCT_DISTINCT_ID, span_text(distinct_id));
    row_set_uuid(&row, ROW_DISTINCT_PERSON_ID, (struct uuid){ { person } });
    row_set_i64(&row, ROW_DISTINCT_IS_DELETED, 0);
    row_set_i64(&row, ROW_DISTINCT_VERSION, version);
    add(warehouse, &row);
}

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
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV,
                            "SELECT distinct_id, left(person_id::VARCHAR, 2) p, version v FROM person_distinct_ids ORDER BY ALL"),
                        "distinct_id,p,v\r\nequal,03,3\r\nin order,03,2\r\nlater batch,02,2\r\nof old,05,1\r\n"
                        "older last,01,9\r\nolder later,02,9\r\nout of order,02,7\r\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM person_distinct_ids_recent"),
                        settle & 4 ? "n\r\n0\r\n" : settle & 2 ? "n\r\n2\r\n" : settle & 1 ? "n\r\n5\r\n" : "n\r\n15\r\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT group_type_index i, version v FROM groups ORDER BY ALL"),
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
            assert_string_equal(ask(warehouse, WAREHOUSE_CSV, sql), want);
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
        assert_string_equal(ask(warehouse, WAREHOUSE_CSV,
                                "SELECT count(*) n, count(DISTINCT raw_offset) d, count(inserted_at) i,"
                                " count(*) FILTER (event = 'old') o FROM events"), "n,d,i,o\r\n28202,28202,8202,20000\r\n");
        assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT version v, count(*) n, count(properties) p FROM persons"
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
        const char *got = ask(warehouse, WAREHOUSE_CSV, refused[i]);

        if (strncmp(got, err_kind_name(ERR_INPUT), strlen(err_kind_name(ERR_INPUT))) != 0)
            fail_msg("%s: %s", refused[i], got);
    }
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n1\r\n");
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
        assert_string_equal(ask(warehouse, WAREHOUSE_CSV, rows[i].sql), rows[i].want);
    assert_non_null(strstr(ask(warehouse, WAREHOUSE_CSV, "DESCRIBE events"), "$session_id,VARCHAR"));
    assert_non_null(strstr(ask(warehouse, WAREHOUSE_CSV, "SHOW TABLES"), "person_distinct_ids"));
    for (int i = 0; i < ROW_TABLE_COUNT; i++)
        assert_non_null(strstr(ask(warehouse, WAREHOUSE_CSV, "SHOW TABLES"), row_tables[i].name));
    assert_non_null(strstr(ask(warehouse, WAREHOUSE_CSV, "SUMMARIZE events"), "distinct_id"));
    assert_non_null(strstr(ask(warehouse, WAREHOUSE_CSV, "EXPLAIN SELECT count(*) FROM events"), "events"));
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

/* A file of a Penstock that did not know some tables gets them, and keeps what it has. */
static void older_files_get_the_newer_tables(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct err        err = { .text = "" };
    struct row        row = event_of("{}");

    (void)state;
    add(warehouse, &row);
    (void)commit(warehouse, 5);
    for (int i = ROW_DEAD_LETTER + 1; i < ROW_TABLE_COUNT; i++) {
        char sql[300];

        if (engine_table_keys((enum row_table)i) != NULL)
            snprintf(sql, sizeof sql, "DROP VIEW %s; DROP TABLE %s_settled; DROP TABLE %s_recent;"
                                      " ALTER TABLE penstock_place DROP COLUMN %s;",
                     row_tables[i].name, row_tables[i].name, row_tables[i].name, row_tables[i].name);
        else
            snprintf(sql, sizeof sql, "DROP TABLE %s; ALTER TABLE penstock_place DROP COLUMN %s;", row_tables[i].name,
                     row_tables[i].name);
        if (engine_run(warehouse, warehouse->loader, sql, &err) < 0)
            fail_msg("%s", err.text);
    }
    warehouse_close(warehouse);
    warehouse = open_or_fail(false);
    row_init(&row, ROW_PROPERTY_DEFINITION);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_TEAM_ID, 1);
    row_set_text(&row, ROW_PROPERTY_DEFINITION_NAME, SPAN("plan"));
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_PARENT, 1);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_GROUP_TYPE_INDEX, -1);
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_VERSION, 0);
    add(warehouse, &row);
    (void)commit(warehouse, 6);
    row_set_text(&row, ROW_PROPERTY_DEFINITION_TYPE, SPAN("String")); /* a type that was not known is filled */
    row_set_i64(&row, ROW_PROPERTY_DEFINITION_VERSION, 1);
    add(warehouse, &row);
    (void)commit(warehouse, 7);
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT name, property_type FROM property_definitions"),
                        "name,property_type\r\nplan,String\r\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT next_0, events, property_definitions FROM penstock_place"),
                        "next_0,events,property_definitions\r\n7,1,2\r\n");
    warehouse_close(warehouse);
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
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT 1 AS a"), "a\r\n1\r\n");
    warehouse_close(warehouse);
}

/* The lock is between processes: a child holds the file. */
static void one_process_has_the_file(void **state)
{
    struct warehouse_options options = { .path = path };
    struct warehouse        *warehouse;
    struct err               err = { .text = "" };
    int                      ready[2], go[2], status;
    char                     byte = 0;
    pid_t                    child;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (warehouse_open(&options, &warehouse, &err) < 0)
            _exit(1);
        byte = write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1 ? 0 : 1;
        warehouse_close(warehouse);
        _exit(byte);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    options.read_only = true;
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_int_equal(write(go[1], &byte, 1), 1);
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    warehouse_close(open_or_fail(false));
}

/* The engine has such a function of its own, and the linker finds ours before it. */
static void the_level_of_zstd_is_ours(void **state)
{
    struct duckdb duckdb;
    struct err    err = { .text = "" };
    void         *library, *theirs, *ours = dlsym(RTLD_DEFAULT, ZSTD_LEVEL_SYMBOL);

    (void)state;
    if (duckdb_load(NULL, &duckdb, &err) < 0)
        fail_msg("%s", err.text);
    library = dlopen(duckdb.path, RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(library);
    theirs = dlsym(library, ZSTD_LEVEL_SYMBOL);
    assert_non_null(theirs);
    assert_non_null(ours);
    assert_ptr_not_equal(theirs, ours);
    assert_int_equal(zstd_level(), 1);
    assert_non_null(dlsym(library, ZSTD_PARAMETER_SYMBOL));
    assert_ptr_not_equal(dlsym(library, ZSTD_PARAMETER_SYMBOL), dlsym(RTLD_DEFAULT, ZSTD_PARAMETER_SYMBOL));
    dlclose(library);
}

static void a_library_that_is_none_is_told(void **state)
{
    struct warehouse_options options = { .path = path, .library = "/lib/x86_64-linux-gnu/libm.so.6" };
    struct warehouse        *warehouse;
    struct err               err = { .text = "" };

    (void)state;
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "not the DuckDB library"));
    options.library = "/nowhere/libduckdb.so";
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
}

/* What a replay after a kill was once seen to do: a batch stands twice, its place once. */
static void rows_that_stand_twice_after_a_crash_are_taken_out(void **state)
{
    struct warehouse      *warehouse = open_or_fail(false);
    struct warehouse_place place;
    struct err             err = { .text = "" };
    struct row             row, person, warning;

    (void)state;
    row_init(&person, ROW_PERSON);
    row_set_i64(&person, ROW_PERSON_TEAM_ID, 1);
    row_set_uuid(&person, ROW_PERSON_ID, (struct uuid){ { 7 } });
    row_set_i64(&person, ROW_PERSON_VERSION, 3);
    add(warehouse, &person);
    row_init(&warning, ROW_WARNING);
    row_set_text(&warning, ROW_WARNING_TYPE, SPAN("w"));
    add(warehouse, &warning);
    for (int i = 0; i < 100; i++) {
        row = event_of("{}");
        row_set_i64(&row, ROW_EVENT_RAW_OFFSET, i);
        add(warehouse, &row);
    }
    commit(warehouse, 100);
    assert_int_equal(warehouse_place(warehouse, &place, &err), 0);
    assert_int_equal(engine_run(warehouse, warehouse->loader, "INSERT INTO events FROM events WHERE raw_offset >= 60;"
                                "INSERT INTO persons_settled FROM persons; INSERT INTO persons_settled FROM persons;"
                                "INSERT INTO persons_recent FROM persons_recent;"
                                "UPDATE persons_settled SET version = 2 WHERE rowid = 0;"
                                "INSERT INTO ingestion_warnings FROM ingestion_warnings", &err), 0);
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n140\r\n");
    assert_int_equal(engine_recount(warehouse, &place, &err), 0);
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, count(DISTINCT raw_offset) AS d FROM events"),
                        "n,d\r\n100,100\r\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(version) AS v FROM persons"), "n,v\r\n1,3\r\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM ingestion_warnings"), "n\r\n1\r\n");
    assert_int_equal(engine_recount(warehouse, &place, &err), 0); /* nothing to do, nothing done */
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n100\r\n");
    warehouse_close(warehouse);
}

/* Two batches of full row groups, committed, and no orderly end. */
static void commit_twice_and_die(void)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of("{}");

    for (int batch = 0; batch < 2; batch++) {
        for (int i = 0; i < 2 * WAREHOUSE_GROUP_ROWS; i++) {
            row_set_i64(&row, ROW_EVENT_RAW_OFFSET, batch * 2 * WAREHOUSE_GROUP_ROWS + i);
            add(warehouse, &row);
        }
        add_distinct(warehouse, "one", (uint8_t)(batch + 1), batch);
        commit(warehouse, (uint64_t)(batch + 1) * 2 * WAREHOUSE_GROUP_ROWS);
    }
    _exit(0);
}

static void copy_file(const char *from, const char *to, long bytes)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");

    assert_true(in != NULL && out != NULL);
    for (int byte = getc(in); byte != EOF && (bytes < 0 || bytes-- > 0); byte = getc(in))
        putc(byte, out);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

/* A commit that was killed between its entries and its mark: the engine alone brings its row groups back. */
static void rows_of_an_unfinished_commit_are_not_there(void **state)
{
    static const long cut_off[] = { 0, 1, 20, 21, 22, 25, 100, 400, 4000 }; /* the mark has 21 bytes */
    char              wal[120], kept[120], kept_wal[120];
    struct stat       st;
    int               status;

    (void)state;
    snprintf(wal, sizeof wal, "%s.wal", path);
    snprintf(kept, sizeof kept, "%s.kept", path);
    snprintf(kept_wal, sizeof kept_wal, "%s.kept.wal", path);
    pid_t pid = fork();
    if (pid == 0)
        commit_twice_and_die();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(rename(path, kept), 0);
    assert_int_equal(rename(wal, kept_wal), 0);
    assert_int_equal(stat(kept_wal, &st), 0);
    for (size_t i = 0; i < sizeof cut_off / sizeof *cut_off; i++) {
        struct warehouse      *warehouse;
        struct warehouse_place place;
        struct err             err;
        char                   want[60];

        copy_file(kept, path, -1);
        copy_file(kept_wal, wal, (long)st.st_size - cut_off[i]);
        warehouse = open_or_fail(false);
        assert_int_equal(warehouse_place(warehouse, &place, &err), 0);
        assert_int_equal(place.next[0], (cut_off[i] == 0 ? 4 : 2) * WAREHOUSE_GROUP_ROWS);
        snprintf(want, sizeof want, "n,d\r\n%d,%d\r\n", (int)place.next[0], (int)place.next[0]);
        assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, count(DISTINCT raw_offset) AS d FROM events"), want);
        assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(version) AS v FROM person_distinct_ids"),
                            cut_off[i] == 0 ? "n,v\r\n1,1\r\n" : "n,v\r\n1,0\r\n");
        warehouse_close(warehouse);
        unlink(path);
    }
    unlink(kept);
    unlink(kept_wal);
}

/* The net below: rows that came back all the same are taken out, because they will be loaded again. */
static void rows_beyond_the_place_are_taken_out(void **state)
{
    struct warehouse      *warehouse = open_or_fail(false);
    struct warehouse_place place;
    struct err             err = { .text = "" };
    struct row             row = event_of("{}");

    (void)state;
    for (int i = 0; i < 100; i++) {
        row_set_i64(&row, ROW_EVENT_RAW_OFFSET, i);
        add(warehouse, &row);
    }
    add_distinct(warehouse, "one", 1, 1);
    commit(warehouse, 100);
    assert_int_equal(warehouse_place(warehouse, &place, &err), 0);
    assert_int_equal(engine_run(warehouse, warehouse->loader,
                                "INSERT INTO events BY NAME SELECT * REPLACE (raw_offset + 1000 AS raw_offset) FROM events LIMIT 7;"
                                "INSERT INTO person_distinct_ids_recent BY NAME SELECT * REPLACE (number + 1 AS number, 5 AS version)"
                                " FROM person_distinct_ids_recent", &err), 0);
    assert_int_equal(engine_recount(warehouse, &place, &err), 0);
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(raw_offset) AS m FROM events"), "n,m\r\n100,99\r\n");
    assert_string_equal(ask(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(version) AS v FROM person_distinct_ids"),
                        "n,v\r\n1,1\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_process_has_the_file, set_up), /* first: forks before the engine has threads */
        cmocka_unit_test_setup(rows_of_an_unfinished_commit_are_not_there, set_up), /* as the first */
        cmocka_unit_test_setup(rows_beyond_the_place_are_taken_out, set_up),
        cmocka_unit_test_setup(every_type_and_null, set_up),
        cmocka_unit_test_setup(texts_keep_their_bytes, set_up),
        cmocka_unit_test_setup(control_characters_do_not_reach_a_terminal, set_up),
        cmocka_unit_test_setup(what_is_no_text_is_refused_alone, set_up),
        cmocka_unit_test_setup(rows_and_place_are_one, set_up),
        cmocka_unit_test_setup(highest_version_of_a_key_wins, set_up),
        cmocka_unit_test_setup(rows_of_a_key_settle, set_up),
        cmocka_unit_test_setup(a_file_of_before_is_carried_on, set_up),
        cmocka_unit_test_setup(queries_only_read_and_only_here, set_up),
        cmocka_unit_test_setup(what_reads_is_allowed, set_up),
        cmocka_unit_test_setup(older_files_get_the_newer_tables, set_up),
        cmocka_unit_test_setup(endless_queries_end, set_up),
        cmocka_unit_test_setup(a_library_that_is_none_is_told, set_up),
        cmocka_unit_test_setup(the_level_of_zstd_is_ours, set_up),
        cmocka_unit_test_setup(rows_that_stand_twice_after_a_crash_are_taken_out, set_up),
    };
    int failed;

    if (mkdtemp(folder) == NULL)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    set_up(NULL);
    rmdir(folder);
    return failed;
}
