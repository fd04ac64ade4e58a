/* warehouse/warehouse_test.c - what goes in comes out: every type, every awkward text, the file and its place. After a crash:
 * recount_test.c; rows of a key: settle_test.c; queries: query_test.c. */
#include <dlfcn.h>
#include <inttypes.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "warehouse/warehouse_test_kit.h"
#include "warehouse/zstd_level.h"

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
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV,
                            "SELECT uuid, person_id, team_id, project_id, timestamp, created_at, historical_migration h,"
                            " event, distinct_id, elements_chain e, properties, \"$session_id\" FROM events"),
                        "uuid,person_id,team_id,project_id,timestamp,created_at,h,event,distinct_id,e,properties,$session_id\r\n"
                        "018f0001-0203-7004-8005-060708090aff,ffffffff-ffff-ffff-ffff-fffffffffffe,9223372036854775807,"
                        "-9223372036854775808,2026-02-03 04:05:06.123456,1969-12-31 23:59:59.999999,true,exactly12byt,"
                        "exactly13byte,\"\",,\r\n"
                        ",,,,,,,,,,,\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_JSON, "SELECT team_id, 1.50::DECIMAL(9,2) d, 'nan'::DOUBLE n, 0.1 f, true b,"
                                                       " uuid, [1,2] l, sum(team_id) OVER () s, NULL z FROM events LIMIT 1"),
                        "[\n{\"team_id\":9223372036854775807,\"d\":1.50,\"n\":\"nan\",\"f\":0.1,\"b\":true,\"uuid\":"
                        "\"018f0001-0203-7004-8005-060708090aff\",\"l\":\"[1, 2]\",\"s\":9223372036854775807,\"z\":null}\n]\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) n FROM events WHERE inserted_at > now() AT TIME ZONE 'UTC' - INTERVAL 1 MINUTE"
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
            assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, sql), (const char *)want.at);
            buf_fini(&want);
        }
        snprintf(sql, sizeof sql, "SELECT properties FROM events WHERE team_id = %d", TEXTS);
        const char *got = ask_as(warehouse, WAREHOUSE_CSV, sql);
        assert_int_equal(strlen(got), 12 + LARGE + 2);
        assert_memory_equal(got + 12, large, LARGE);
        snprintf(sql, sizeof sql, "SELECT length(properties) n, ord(properties[4]) z FROM events WHERE team_id = %d", TEXTS + 1);
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, sql), "n,z\r\n19,0\r\n");
        warehouse_close(warehouse);
        warehouse = open_or_fail(round == 0);
    }
    warehouse_close(warehouse);
    free(large);
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
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n1\r\n");
    warehouse_close(warehouse);
}

/* What is packed in a row is text in the table; when it is damaged, nothing of its row is there. */
static void packed_properties_become_text(void **state)
{
    static const char good[] = "\1\x2d\0\0\0\x0a\x45\"Lynx\"\x09";           /* $browser is what $initial_browser is */
    static const char bad[] = "\1\x2d\0\0\0\x0a\x45\"Lynx\"\x0b";            /* $device_type, and nobody said what it was */
    static const char no_text[] = "\1\x2d\0\0\0\x0a\x45\"L\xffnx\"\x09";
    static const char small[] = "\1\x08\0\0\0\xde\"a\"\x41" "42";            /* short enough to stand in the vector */
    const struct { const char *at; size_t bytes; int rc; } rows[] = {
        { good, sizeof good, 0 }, { bad, sizeof bad, -1 }, { no_text, sizeof no_text, -1 }, { small, sizeof small - 1, 0 },
    };
    struct warehouse *warehouse = open_or_fail(false);
    struct err        err = { .text = "" };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct row row = event_of("{\"is\":\"plain text, and long enough\"}");

        row_set_i64(&row, ROW_EVENT_TEAM_ID, (int64_t)i);
        row_set_text(&row, ROW_EVENT_PERSON_PROPERTIES, span_of(rows[i].at, rows[i].bytes));
        row_set_text(&row, ROW_EVENT_DISTINCT_ID, SPAN("somebody"));
        if (rows[i].rc < 0) /* what a refused row leaves null is not null in the next one */
            row.cells[ROW_EVENT_DISTINCT_ID].null = true;
        assert_int_equal(warehouse_add(warehouse, &row, &err), rows[i].rc);
        assert_true(rows[i].rc == 0 || err.kind == ERR_INPUT);
    }
    assert_int_equal(commit(warehouse, 1).loaded[ROW_EVENT], 2);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV,
                            "SELECT team_id AS t, replace(person_properties, chr(34), '.') AS p, distinct_id IS NULL AS no "
                            "FROM events ORDER BY team_id"),
                        "t,p,no\r\n0,\"{.$initial_browser.:.Lynx.,.$browser.:.Lynx.}\",false\r\n3,{.a.:42},false\r\n");
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
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n5001\r\n");
    warehouse_close(warehouse);
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
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT name, property_type FROM property_definitions"),
                        "name,property_type\r\nplan,String\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT next_0, events, property_definitions FROM penstock_place"),
                        "next_0,events,property_definitions\r\n7,1,2\r\n");
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

/* Its loader ended before it had made the tables: who asks may wait for the next one. */
static void a_file_without_tables_is_none_yet(void **state)
{
    struct warehouse_options options = { .path = path };
    struct warehouse        *warehouse;
    struct err               err = { .text = "" };

    (void)state;
    if (engine_open_plain(&options, &warehouse, &err) < 0)
        fail_msg("%s", err.text);
    warehouse_close(warehouse);
    assert_int_equal(access(path, F_OK), 0);
    options.read_only = true;
    assert_int_equal(warehouse_open(&options, &warehouse, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    warehouse_close(open_or_fail(false));
    if (warehouse_open(&options, &warehouse, &err) < 0)
        fail_msg("%s", err.text);
    warehouse_close(warehouse);
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
    assert_non_null(dlsym(library, ZSTD_SEARCH_SYMBOL)); /* zstd_search.h is asked only where it is there */
    dlclose(library);
}

/* What the engine would choose for long texts that are much alike costs a tenth of loading (docs/decisions/warehouse-duckdb.md). */
static void long_texts_are_compressed_by_zstd(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of("{\"a\":1}");

    (void)state;
    for (int i = 0; i < WAREHOUSE_GROUP_ROWS; i++) {
        char chain[400];

        (void)sprintf(chain, "a.nav-%d:attr__class=\"nav item-%d\"href=\"/%d/%d\"nth-child=\"%d\";li.menu:nth-child=\"1\";body:nth-child=\"2\"", i % 7, i, i % 100, i,
                      i % 9);
        row_set_text(&row, ROW_EVENT_ELEMENTS_CHAIN, i % 3 == 0 ? span_text(chain) : SPAN(""));
        add(warehouse, &row);
    }
    commit(warehouse, WAREHOUSE_GROUP_ROWS);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT DISTINCT column_name c, compression z FROM pragma_storage_info('events')"
                                                      " WHERE segment_type = 'VARCHAR' AND column_name IN ('properties', 'elements_chain') ORDER BY 1"),
                        "c,z\r\nelements_chain,ZSTD\r\nproperties,ZSTD\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) n, count(DISTINCT elements_chain) d, count(*) FILTER (elements_chain LIKE 'a.nav-%\"2\"') l FROM events"),
                        "n,d,l\r\n8192,2732,2731\r\n");
    warehouse_close(warehouse);
}

/* A refused row that would have been the first of a chunk: the rows before it are in the commit that says so, and not in the next. */
static void a_refused_row_leaves_the_rows_before_it(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of("{\"a\":1}");
    uint64_t          rows = 0;

    (void)state;
    while (rows < WAREHOUSE_GROUP_ROWS) {
        struct err err = { .text = "" };
        char       want[40];

        row_set_text(&row, ROW_EVENT_PROPERTIES, SPAN("{\"a\":1}"));
        for (int i = 0; i < 2048; i++, rows++) /* as many as the engine's chunks have */
            add(warehouse, &row);
        row_set_text(&row, ROW_EVENT_PROPERTIES, SPAN("\1\0\0\0"));
        assert_int_equal(warehouse_add(warehouse, &row, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_int_equal(commit(warehouse, rows).loaded[ROW_EVENT], rows);
        snprintf(want, sizeof want, "n\r\n%" PRIu64 "\r\n", rows);
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), want);
    }
    warehouse_close(warehouse);
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

/* Also when its batch was begun before it came. */
static void an_event_is_stored_after_it_was_accepted(void **state)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of("{}");

    (void)state;
    for (int i = 0; i < 3; i++) {
        row_set_i64(&row, ROW_EVENT_CAPTURED_AT, clock_wall_us());
        add(warehouse, &row);
        usleep(2000);
    }
    commit(warehouse, 3);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events WHERE inserted_at >= captured_at"), "n\r\n3\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_process_has_the_file, set_up), /* first: forks before the engine has threads */
        cmocka_unit_test_setup(every_type_and_null, set_up),
        cmocka_unit_test_setup(a_file_without_tables_is_none_yet, set_up),
        cmocka_unit_test_setup(texts_keep_their_bytes, set_up),
        cmocka_unit_test_setup(what_is_no_text_is_refused_alone, set_up),
        cmocka_unit_test_setup(packed_properties_become_text, set_up),
        cmocka_unit_test_setup(rows_and_place_are_one, set_up),
        cmocka_unit_test_setup(older_files_get_the_newer_tables, set_up),
        cmocka_unit_test_setup(the_level_of_zstd_is_ours, set_up),
        cmocka_unit_test_setup(long_texts_are_compressed_by_zstd, set_up),
        cmocka_unit_test_setup(a_refused_row_leaves_the_rows_before_it, set_up),
        cmocka_unit_test_setup(a_library_that_is_none_is_told, set_up),
        cmocka_unit_test_setup(an_event_is_stored_after_it_was_accepted, set_up),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
