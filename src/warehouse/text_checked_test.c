/* warehouse/text_checked_test.c - the engine takes our word for long texts of the loader's, and for no others. Needs libduckdb.so, as
 * warehouse_test_kit.h says. */
#include <dlfcn.h>
#include <string.h>

#include "warehouse/text_checked.h"
#include "warehouse/warehouse_test_kit.h"

enum { LONG_BYTES = 300 };

/* duckdb::UnicodeType */
enum { INVALID, ASCII, UTF8 };

static void what_is_looked_at(void **state)
{
    static const struct { const char *name, *piece; size_t bytes; bool checked; int want; } rows[] = {
        { "short, ASCII", "a", 20, false, ASCII },
        { "short, ASCII, checked", "a", 20, true, ASCII },
        { "short, more than ASCII, checked", "\xc3\xa9", 20, true, UTF8 },
        { "short, no text, checked", "\xff", 20, true, INVALID },
        { "nothing", "a", 0, true, ASCII },
        { "one below the bound, checked", "a", TEXT_CHECKED_BYTES_MIN - 1, true, ASCII },
        { "at the bound, checked", "a", TEXT_CHECKED_BYTES_MIN, true, UTF8 },
        { "long, ASCII", "a", LONG_BYTES, false, ASCII },
        { "long, more than ASCII", "\xc3\xa9", LONG_BYTES, false, UTF8 },
        { "long, no text", "\xff", LONG_BYTES, false, INVALID },
        { "long, more than ASCII, checked", "\xc3\xa9", LONG_BYTES, true, UTF8 },
    };
    char text[LONG_BYTES];

    (void)state;
    warehouse_close(open_or_fail(false)); /* the engine's own function is known from here on */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int found;

        for (size_t at = 0; at < sizeof text; at++)
            text[at] = rows[i].piece[at % strlen(rows[i].piece)];
        if (rows[i].checked)
            text_checked_begin();
        found = text_analyze(text, rows[i].bytes, NULL, NULL);
        if (rows[i].checked)
            text_checked_end();
        if (found != rows[i].want)
            fail_msg("%s: %d", rows[i].name, found);
    }
}

/* The engine has such a function of its own, and the linker finds ours before it. */
static void the_engine_asks_us(void **state)
{
    struct duckdb duckdb;
    struct err    err = { .text = "" };
    void         *library, *ours = dlsym(RTLD_DEFAULT, TEXT_ANALYZE_SYMBOL);

    (void)state;
    if (duckdb_load(NULL, &duckdb, &err) < 0)
        fail_msg("%s", err.text);
    library = dlopen(duckdb.path, RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(library);
    assert_non_null(ours);
    assert_non_null(dlsym(library, TEXT_ANALYZE_SYMBOL));
    assert_ptr_not_equal(dlsym(library, TEXT_ANALYZE_SYMBOL), ours);
    dlclose(library);
}

/* A batch of so many rows; ones of a whole row group are compressed by the insert or the commit, fewer by the closing. */
static void load_rows(int rows, const char *properties)
{
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of(properties);

    row_set_text(&row, ROW_EVENT_EVENT, SPAN("a name of more than twelve bytes"));
    for (int i = 0; i < rows; i++)
        add(warehouse, &row);
    commit(warehouse, (uint64_t)rows);
    warehouse_close(warehouse);
}

/* What the statistics then say is true, and what is asked comes out right. */
static void statistics_say_no_more_than_is_known(void **state)
{
    static const struct { int rows; const char *piece, *answer; bool looked_at; } cases[] = { /* by the closing, which compresses few rows */
        { 10, "abc", "n,shouted,there\r\n309,XABC,10\r\n", true },
        { 2 * WAREHOUSE_GROUP_ROWS, "abc", "n,shouted,there\r\n309,XABC,16384\r\n", false },
        { 10, "\xc3\xa9""bc", "n,shouted,there\r\n309,X\xc3\x89""BC,10\r\n", false },
        { 2 * WAREHOUSE_GROUP_ROWS, "\xc3\xa9""bc", "n,shouted,there\r\n309,X\xc3\x89""BC,16384\r\n", false },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct warehouse *warehouse;
        char              properties[600];
        size_t            at;

        (void)set_up(state);
        at = (size_t)sprintf(properties, "{\"a\":\"x");
        for (int piece = 0; piece < 100; piece++)
            at += (size_t)sprintf(properties + at, "%s", cases[i].piece);
        (void)sprintf(properties + at, "\"}");
        load_rows(cases[i].rows, properties);
        warehouse = open_or_fail(false);
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT length(properties) AS n, upper(properties)[7:10] AS shouted, count(*) AS there FROM events GROUP BY ALL"),
                            cases[i].answer);
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT DISTINCT contains(stats(properties), 'Has Unicode: true') AS p, contains(stats(event), 'Has Unicode: false') AS e FROM events"),
                            cases[i].looked_at ? "p,e\r\nfalse,true\r\n" : "p,e\r\ntrue,true\r\n");
        warehouse_close(warehouse);
    }
}

/* Who asks has no such word: bytes that are no text are refused beside a loader, before and after it loaded. */
static void others_are_looked_at(void **state)
{
    static const char sql[] = "SELECT length(decode(from_hex(repeat('ff', 300)))) AS n";
    struct warehouse *warehouse = open_or_fail(false);
    struct row        row = event_of("{}");

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_non_null(strstr(ask_as(warehouse, WAREHOUSE_CSV, sql), "input: "));
        add(warehouse, &row);
        commit(warehouse, (uint64_t)i + 1);
    }
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_looked_at, set_up),
        cmocka_unit_test_setup(the_engine_asks_us, set_up),
        cmocka_unit_test_setup(statistics_say_no_more_than_is_known, set_up),
        cmocka_unit_test_setup(others_are_looked_at, set_up),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
