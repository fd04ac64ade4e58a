/* parts: clickhouse */
/* warehouse/clickhouse_query_cluster_test.c - people's SQL at the real ClickHouse engine, and the tables it is asked of. */
#include "warehouse/clickhouse_schema.h"
#include "warehouse/clickhouse_test_kit.h"

/* --- asking ------------------------------------------------------------------------------------------ */

static void queries_read_only(void **state)
{
    static const struct { const char *sql, *says; } rows[] = {
        { "SELECT 1 AS a", "a\r\n1\r\n" },
        { "  -- a comment\n(SELECT 1 AS a);", "a\r\n1\r\n" },
        { "WITH 1 AS x SELECT x AS a, ';' AS b, '--' AS c", "a,b,c\r\n1,;,--\r\n" },
        { "SELECT 'a\\tb\\\\c\\'d' AS a, '' AS b, NULL AS c", "a,b,c\r\na\tb\\c'd,\"\",\r\n" },
        { "SELECT number AS a FROM numbers(0)", "a\r\n" },
        { "", "input: this is no statement" },
        { "INSERT INTO events VALUES (1)", "input: only statements that read" },
        { "DROP TABLE events", "input: only statements that read" },
        { "SELECT 1; SELECT 2", "input: one statement at a time" },
        { "SELECT 1 SETTINGS readonly = 0", "Cannot modify" },
        { "SELECT 1 SETTINGS max_threads = 1", "readonly mode" },
        { "SELECT * FROM file('/etc/passwd', 'LineAsString')", "file() reaches out" },
        { "SELECT * FROM url('http://127.0.0.1', 'LineAsString')", "url() reaches out" },
        { "SELECT * FROM (SELECT * FROM `remote`('127.0.0.1', system.one))", "reaches out" },
        { "SELECT * FROM events, s3('x')", "reaches out" },
        { "DESCRIBE TABLE file('/etc/passwd')", "reaches out" },
        { "SELECT 1 FORMAT CSV", "FORMAT are not for here" },
        { "SELECT 1 INTO OUTFILE 'x'", "not for here" },
        { "SELECT nothing FROM events", "input: ClickHouse: Code: 47" },
        { "SELECT * FROM nowhere", "input: ClickHouse: Code: 60" },
        { "SELECT 'open", "has no end" },
        { "SELECT format('{}', 1) AS format", "format\r\n1\r\n" },
        { "SELECT throwIf(number = 5) FROM numbers(10)", "Code: 395" },
    };
    struct warehouse *warehouse = open_or_fail();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *says = ask(warehouse, rows[i].sql);

        if (strstr(says, rows[i].says) == NULL)
            fail_msg("%s\n  says %s\n  not  %s", rows[i].sql, says, rows[i].says);
    }
    assert_string_equal(ask_as(warehouse, WAREHOUSE_TABLE, "SELECT number AS n, toString(number * 50) AS text FROM numbers(3)"),
                        "n  text\n-  ----\n0  0\n1  50\n2  100\n(3 rows)\n");
    assert_int_equal(strlen(ask(warehouse, "SELECT repeat('x', 900000) AS x FROM numbers(4)")), 3 + 4 * 900002);
    warehouse_close(warehouse);
}

static void a_query_can_be_cancelled(void **state)
{
    struct warehouse *warehouse = open_or_fail();
    atomic_bool       cancel = true;
    struct buf        out;
    struct err        err = { .text = "" };

    (void)state;
    buf_init(&out, 1 << 20);
    assert_int_equal(warehouse_query(warehouse, "SELECT sleepEachRow(0.1) FROM numbers(100) ", WAREHOUSE_CSV, collect, &out, &cancel, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, "cancelled"));
    buf_fini(&out);
    warehouse_close(warehouse);
}

/* --- tables ------------------------------------------------------------------------------------------- */

/* This engine has no threads for Kafka tables: it makes one and cannot start it. */
static int run_here(void *ctx, const char *sql, struct err *err)
{
    struct warehouse *warehouse = ctx;
    int               rc = clickhouse_run(&warehouse->link, sql, NULL, SPAN(""), NULL, err);

    return rc < 0 && warehouse->link.code == 49 && strstr(sql, "ENGINE = Kafka") != NULL && strstr(err->text, "Shutdown was called") != NULL ? 0 : rc;
}

/* In the place of each Kafka table one that takes rows as it would, and gives them to its view. */
static int run_with_null(void *ctx, const char *sql, struct err *err)
{
    struct warehouse *warehouse = ctx;
    const char       *engine = strstr(sql, ") ENGINE = Kafka");
    struct buf        other;
    int               rc;

    buf_init(&other, 128 << 10);
    buf_add(&other, span_of(sql, engine != NULL ? (size_t)(engine - sql) : strlen(sql)));
    if (engine != NULL)
        buf_add_text(&other, ", _timestamp DateTime, _offset UInt64, _partition UInt64) ENGINE = Null");
    buf_add_byte(&other, '\0');
    rc = clickhouse_run(&warehouse->link, (const char *)other.at, NULL, SPAN(""), NULL, err);
    buf_fini(&other);
    return rc;
}

/* Statements of a cluster are parsed: this server is none, and has no Keeper. */
static int parse_here(void *ctx, const char *sql, struct err *err)
{
    struct warehouse *warehouse = ctx;
    struct buf        explain;
    int               rc;

    buf_init(&explain, 128 << 10);
    buf_add_format(&explain, "EXPLAIN AST ");
    buf_add_text(&explain, sql);
    buf_add_byte(&explain, '\0');
    rc = strncmp(sql, "INSERT", 6) == 0 ? 0 : clickhouse_run(&warehouse->link, (const char *)explain.at, NULL, SPAN(""), NULL, err);
    buf_fini(&explain);
    return rc;
}

static void every_form_is_made(void **state)
{
    struct warehouse        *warehouse = open_or_fail();
    struct clickhouse_schema schema = { .form = CLICKHOUSE_KAFKA, .database = database, .brokers = "127.0.0.1:9", .topic_prefix = "" };
    struct err               err = { .text = "" };
    char                     sql[200];
    uint64_t                 tables;

    (void)state;
    for (int i = 0; i < 2; i++) /* each may be run again */
        if (clickhouse_schema(&schema, run_here, warehouse, &err) < 0)
            fail_msg("%s", err.text);
    (void)snprintf(sql, sizeof sql, "SELECT count() FROM system.tables WHERE database = '%s' AND name LIKE 'kafka%%'", database);
    assert_int_equal(clickhouse_number(&warehouse->link, sql, &tables, &err), 0);
    assert_int_equal(tables, 6);
    schema = (struct clickhouse_schema){ .form = CLICKHOUSE_CLUSTER, .database = database, .cluster = "posthog" };
    if (clickhouse_schema(&schema, parse_here, warehouse, &err) < 0)
        fail_msg("%s", err.text);
    warehouse_close(warehouse);
}

/* Messages of PostHog's topics become rows of its tables. */
static void kafka_messages_become_rows(void **state)
{
    static const struct { const char *table, *message, *sql, *answer; } rows[] = {
        { "kafka_events", "{\"uuid\":\"018f0001-0203-7004-8005-060708090aff\",\"event\":\"view\",\"properties\":\"{\\\"$session_id\\\":\\\"s1\\\",\\\"a\\\":1}\","
          "\"timestamp\":\"2024-03-01 10:00:00.123\",\"team_id\":7,\"project_id\":7,\"distinct_id\":\"me\",\"elements_chain\":\"\",\"created_at\":\"2024-03-01 10:00:01.000\","
          "\"captured_at\":null,\"person_id\":\"018f0001-0203-7004-8005-060708090a00\",\"person_properties\":\"{}\",\"person_created_at\":\"2024-03-01 09:00:00\","
          "\"person_mode\":\"full\",\"historical_migration\":true,\"not_known\":1}",
          "SELECT event, timestamp, \"$session_id\" AS s, person_created_at AS c, person_mode AS m, historical_migration AS h FROM events",
          "event,timestamp,s,c,m,h\r\nview,2024-03-01 10:00:00.123000,s1,2024-03-01 09:00:00.000,full,true\r\n" },
        { "kafka_person", "{\"id\":\"018f0001-0203-7004-8005-060708090a00\",\"created_at\":\"2024-03-01 09:00:00\",\"properties\":\"{}\",\"team_id\":7,"
          "\"is_identified\":1,\"is_deleted\":0,\"version\":3,\"last_seen_at\":null}",
          "SELECT version, is_identified AS i, last_seen_at AS l FROM persons", "version,i,l\r\n3,true,\r\n" },
        { "kafka_person_distinct_id2", "{\"distinct_id\":\"me\",\"person_id\":\"018f0001-0203-7004-8005-060708090a00\",\"team_id\":7,\"version\":1,\"is_deleted\":0}",
          "SELECT distinct_id, version FROM person_distinct_ids", "distinct_id,version\r\nme,1\r\n" },
        { "kafka_groups", "{\"group_type_index\":0,\"group_key\":\"o1\",\"team_id\":7,\"group_properties\":\"{}\",\"created_at\":\"2024-03-01 09:00:00\",\"version\":2}",
          "SELECT group_key, version FROM groups", "group_key,version\r\no1,2\r\n" },
        { "kafka_ingestion_warnings", "{\"team_id\":7,\"type\":\"group_key_too_long\",\"source\":\"plugin-server\",\"details\":\"{\\\"category\\\":\\\"size\\\",\\\"severity\\\":\\\"error\\\"}\","
          "\"timestamp\":\"2024-03-01 10:00:00.123\"}",
          "SELECT type, category, severity FROM ingestion_warnings", "type,category,severity\r\ngroup_key_too_long,size,error\r\n" },
        { "kafka_heatmaps", "{\"type\":\"click\",\"x\":3,\"y\":4,\"pointer_target_fixed\":true,\"viewport_height\":10,\"viewport_width\":20,\"current_url\":\"u\","
          "\"session_id\":\"s\",\"scale_factor\":16,\"timestamp\":\"2024-03-01 10:00:00.123\",\"team_id\":7,\"distinct_id\":\"me\"}",
          "SELECT x, y, scale_factor AS s FROM heatmaps", "x,y,s\r\n3,4,16\r\n" },
    };
    static const struct clickhouse_setting settings[] = { { "date_time_input_format", "best_effort" }, { "input_format_skip_unknown_fields", "1" }, { NULL, NULL } };
    struct warehouse        *warehouse = open_or_fail();
    struct clickhouse_schema schema = { .form = CLICKHOUSE_KAFKA, .database = database, .brokers = "127.0.0.1:9" };
    struct err               err = { .text = "" };

    (void)state;
    if (clickhouse_schema(&schema, run_with_null, warehouse, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf sql;

        buf_init(&sql, 16 << 10);
        buf_add_format(&sql, "INSERT INTO %s.%s FORMAT JSONEachRow %s", database, rows[i].table, rows[i].message);
        buf_add_byte(&sql, '\0');
        if (clickhouse_run(&warehouse->link, (const char *)sql.at, settings, SPAN(""), NULL, &err) < 0)
            fail_msg("%s: %s", rows[i].table, err.text);
        buf_fini(&sql);
        assert_string_equal(ask(warehouse, rows[i].sql), rows[i].answer);
    }
    warehouse_close(warehouse);
}

/* Tables as PostHog makes them: no columns of ours, and some that it works out itself. */
static void tables_of_somebody_else_are_taken(void **state)
{
    struct warehouse *warehouse = open_or_fail();
    char              sql[2000];

    (void)state;
    (void)snprintf(sql, sizeof sql, "CREATE OR REPLACE TABLE %s.events (uuid UUID, event String, properties String CODEC(ZSTD(3)), timestamp "
                   "DateTime64(6, 'UTC'), team_id Int64, distinct_id String, elements_chain String, created_at DateTime64(6, 'UTC'), "
                   "person_id UUID, person_created_at DateTime64(3), person_properties String, "
                   "`$session_id` String MATERIALIZED replaceRegexpAll(JSONExtractRaw(properties, '$session_id'), '^\"|\"$', ''), "
                   "elements_chain_href String MATERIALIZED '', elements_chain_texts Array(String) MATERIALIZED [], "
                   "elements_chain_ids Array(String) MATERIALIZED [], elements_chain_elements Array(String) MATERIALIZED [], "
                   "inserted_at Nullable(DateTime64(6, 'UTC')) DEFAULT now64(6), _timestamp DateTime, _offset UInt64) ENGINE = ReplacingMergeTree(_timestamp) "
                   "PARTITION BY toYYYYMM(timestamp) ORDER BY (team_id, toDate(timestamp), event, cityHash64(distinct_id), cityHash64(uuid))", database);
    run_or_fail(warehouse, sql);
    warehouse_close(warehouse);
    warehouse = open_or_fail();
    assert_int_equal(load_until(&warehouse, 100, false), 1);
    expect_events(warehouse, 100);
    assert_string_equal(ask(warehouse, "SELECT DISTINCT \"$session_id\" AS s FROM events ORDER BY s LIMIT 2"), "s\r\ns-0\r\ns-1\r\n");
    warehouse_close(warehouse);
}

static void who_may_not_is_told(void **state)
{
    struct warehouse_settings other = server;
    struct warehouse_options  options = { .settings = &other };
    struct warehouse         *warehouse;
    struct err                err = { .text = "" };

    (void)state;
    setenv("PENSTOCK_WAREHOUSE_PASSWORD", "wrong", 1);
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_STOP);
    assert_non_null(strstr(err.text, "warehouse.password_file"));
    unsetenv("PENSTOCK_WAREHOUSE_PASSWORD");
    other.url = "http://127.0.0.1:9";
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    other.url = "127.0.0.1:9";
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    other = server;
    other.database = "a b";
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(queries_read_only, set_up),
        cmocka_unit_test_setup(a_query_can_be_cancelled, set_up),
        cmocka_unit_test_setup(every_form_is_made, set_up),
        cmocka_unit_test_setup(kafka_messages_become_rows, set_up),
        cmocka_unit_test_setup(tables_of_somebody_else_are_taken, set_up),
        cmocka_unit_test_setup(who_may_not_is_told, set_up),
    };

    return server_known() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
