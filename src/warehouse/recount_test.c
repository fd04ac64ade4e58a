/* warehouse/recount_test.c - after a crash every row stands there once: what a killed commit leaves, and what the engine brings back. */
#include <sys/wait.h>

#include "warehouse/warehouse_test_kit.h"

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
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n140\r\n");
    assert_int_equal(engine_recount(warehouse, &place, &err), 0);
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, count(DISTINCT raw_offset) AS d FROM events"),
                        "n,d\r\n100,100\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(version) AS v FROM persons"), "n,v\r\n1,3\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM ingestion_warnings"), "n\r\n1\r\n");
    assert_int_equal(engine_recount(warehouse, &place, &err), 0); /* nothing to do, nothing done */
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n FROM events"), "n\r\n100\r\n");
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
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, count(DISTINCT raw_offset) AS d FROM events"), want);
        assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(version) AS v FROM person_distinct_ids"),
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
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(raw_offset) AS m FROM events"), "n,m\r\n100,99\r\n");
    assert_string_equal(ask_as(warehouse, WAREHOUSE_CSV, "SELECT count(*) AS n, max(version) AS v FROM person_distinct_ids"),
                        "n,v\r\n1,1\r\n");
    warehouse_close(warehouse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_of_an_unfinished_commit_are_not_there, set_up), /* first: forks before the engine has threads */
        cmocka_unit_test_setup(rows_that_stand_twice_after_a_crash_are_taken_out, set_up),
        cmocka_unit_test_setup(rows_beyond_the_place_are_taken_out, set_up),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
