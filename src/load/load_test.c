/* load/load_test.c - the role as a process: topics in, rows out, killed and damaged on the way. Needs libduckdb.so. */
#include <errno.h>
#include <pthread.h>

#include "load/load_test_kit.h"
#include "base/metric.h"
#include "load/poison.h"
#include "warehouse/warehouse.h"

/* --- the facts --------------------------------------------------------------------------------- */

static void every_topic_arrives(void **state)
{
    struct log_writer *events = open_topic("events"), *people = open_topic("people"), *warnings = open_topic("warnings"),
                      *letters = open_topic("dead_letters");
    struct log_batch  *batch = log_batch_new();
    struct process     process = start();
    struct row         row;
    uint64_t           cursor = 0;
    struct err         err;

    (void)state;
    add_events(events, batch, 0, 3000);
    for (int version = 0; version < 3; version++) {
        row_init(&row, ROW_PERSON);
        row_set_uuid(&row, ROW_PERSON_ID, (struct uuid){ { 7 } });
        row_set_i64(&row, ROW_PERSON_TEAM_ID, 1);
        row_set_i64(&row, ROW_PERSON_VERSION, version);
        add_row(batch, &row);
        publish(people, batch);
    }
    row_init(&row, ROW_WARNING);
    row_set_text(&row, ROW_WARNING_TYPE, SPAN("merge_race_condition"));
    add_row(batch, &row);
    publish(warnings, batch);
    row_init(&row, ROW_DEAD_LETTER);
    row_set_text(&row, ROW_DEAD_LETTER_REASON, SPAN("invalid_uuid"));
    add_row(batch, &row);
    publish(letters, batch);
    expect("SELECT count(*) n, count(DISTINCT raw_offset) d, min(properties[-32:]) x FROM events",
           "n,d,x\r\n3000,3000,0.10000000000000000000000000001}\r\n");
    expect("SELECT version FROM persons", "version\r\n2\r\n");
    expect("SELECT type FROM ingestion_warnings", "type\r\nmerge_race_condition\r\n");
    expect("SELECT reason FROM dead_letters", "reason\r\ninvalid_uuid\r\n");
    assert_int_equal(finish(process), 0);
    assert_int_equal(log_cursor_load(test_log, "events", 0, "load", &cursor, &err), 1);
    assert_int_equal(cursor, 3000);
    /* Nothing twice after a restart. */
    process = start();
    add_events(events, batch, 3000, 10);
    expect("SELECT count(*) n, count(DISTINCT raw_offset) d FROM events", "n,d\r\n3010,3010\r\n");
    assert_int_equal(finish(process), 0);
    log_batch_free(batch);
    log_writer_close(events);
    log_writer_close(people);
    log_writer_close(warnings);
    log_writer_close(letters);
}

static void what_is_no_row_becomes_a_dead_letter(void **state)
{
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct process     process = start();
    struct row         row;
    struct err         err;

    (void)state;
    add_event(batch, 0);
    assert_int_equal(log_batch_add(batch, SPAN("no row at all"), &err), 0);
    add_event(batch, 1);
    row_init(&row, ROW_EVENT);
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("not text"));
    row_set_text(&row, ROW_EVENT_PROPERTIES, SPAN("{\"a\":\"\xff\"}"));
    row_set_i64(&row, ROW_EVENT_RAW_OFFSET, 77);
    add_row(batch, &row);
    add_event(batch, 2);
    publish(events, batch);
    expect("SELECT raw_offset o FROM events ORDER BY o", "o\r\n0\r\n1\r\n2\r\n");
    expect("SELECT step, reason, event, raw_offset o FROM dead_letters ORDER BY ALL",
           "step,reason,event,o\r\nload,refused_row,not text,77\r\nload,unreadable_row,,\r\n");
    /* base64 of "no row at all", by base64(1) */
    expect("SELECT data FROM dead_letters WHERE reason = 'unreadable_row'", "data\r\nbm8gcm93IGF0IGFsbA==\r\n");
    assert_int_equal(finish(process), 0);
    log_batch_free(batch);
    log_writer_close(events);
}

/* The log has a row in a form to come: this binary is one that was gone back to. Whoever wrote the row can read it, so it waits. */
static void a_row_of_a_newer_penstock_waits_for_it(void **state)
{
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct row         row;
    uint8_t           *to;
    struct err         err;

    (void)state;
    add_event(batch, 0);
    row_init(&row, ROW_EVENT);
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("later"));
    to = log_batch_begin(batch, row_bytes(&row));
    assert_non_null(to);
    row_write(&row, to);
    to[0]++;
    log_batch_end(batch, row_bytes(&row));
    publish(events, batch);
    for (int i = 0; i < 4; i++) { /* nor is it set aside as one that ends its reader */
        struct process process = start();
        double         troubled = 0;
        int64_t        until_us = clock_mono_us() + 120000000;
        uint64_t       cursor = 0;

        while (troubled < 1 && clock_mono_us() < until_us) {
            usleep(10000);
            (void)metric_read(run_folder, "load", "load_troubled", "", &troubled);
        }
        assert_true(troubled > 0);
        expect("SELECT count(*) n FROM dead_letters", "n\r\n0\r\n");
        assert_int_equal(finish(process), 0);
        assert_int_equal(log_cursor_load(test_log, "events", 0, "load", &cursor, &err), 0);
    }
    log_batch_free(batch);
    log_writer_close(events);
}

static void one_row_that_spoils_its_batch_is_found(void **state)
{
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct process     process;

    (void)state;
    engine_refuses("1234, 4000");
    add_events(events, batch, 0, 5000);
    process = start();
    expect("SELECT count(*) n, count(DISTINCT raw_offset) d FROM events", "n,d\r\n4998,4998\r\n");
    expect("SELECT step, reason, raw_offset o, event FROM dead_letters ORDER BY o",
           "step,reason,o,event\r\nload,refused_row,1234,bought\r\nload,refused_row,4000,bought\r\n");
    assert_int_equal(finish(process), 0);
    log_batch_free(batch);
    log_writer_close(events);
}

/* Nothing can be written for a while: rows wait in the log, queries go on, and then each row is there
 * once, without anybody's help. */
static void a_full_disk_is_waited_out(void **state)
{
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct process     process;
    struct rlimit      limit = { RLIM_INFINITY, RLIM_INFINITY };
    double             troubled = 0;

    (void)state;
    file_bytes_max = 1 << 20;
    process = start();
    file_bytes_max = 0;
    for (uint64_t i = 0; i < 100; i++)
        add_events(events, batch, i * 300, 300);
    for (int tries = 0; tries < 2400 && troubled == 0; tries++, usleep(25000))
        (void)metric_read(run_folder, "load", "load_troubled", "", &troubled);
    assert_true(troubled == 1);
    assert_int_equal(prlimit(process.pid, RLIMIT_FSIZE, &limit, NULL), 0);
    expect("SELECT count(*) n, count(DISTINCT raw_offset) d FROM events", "n,d\r\n30000,30000\r\n");
    for (int tries = 0; tries < 2400 && troubled == 1; tries++, usleep(25000))
        (void)metric_read(run_folder, "load", "load_troubled", "", &troubled);
    assert_true(troubled == 0);
    assert_int_equal(finish(process), 0);
    log_batch_free(batch);
    log_writer_close(events);
}

/* Whoever is suspected may be erased from the log before he is tried: then nobody waits for him. */
static void an_erased_suspect_keeps_nobody_waiting(void **state)
{
    static const struct { const char *name; struct poison_state left; } rows[] = {
        { "a row that was in work", { .version = 2, .current = POISON_NONE, .suspect = (uint64_t)1 << 60, .crashes = 1 } },
        { "a batch", { .version = 2, .current = POISON_NONE, .suspect = POISON_NONE, .limit = 1, .until = { 0, 1 } } },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct log_writer *events, *people;
        struct log_batch  *batch = log_batch_new();
        struct process     process;
        struct err         err;
        char               path[120];
        FILE              *file;

        if (i > 0 && (tear_down(state) != 0 || set_up(state) < 0))
            fail_msg("%s: no folder", rows[i].name);
        events = open_topic("events");
        people = open_topic("people");
        assert_int_equal(log_batch_add(batch, SPAN(""), &err), 0); /* as the log has what was erased */
        publish(people, batch);
        add_events(events, batch, 0, 100);
        (void)snprintf(path, sizeof path, "%s/load.attempt", run_folder);
        file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(&rows[i].left, sizeof rows[i].left, 1, file), 1);
        assert_int_equal(fclose(file), 0);
        process = start();
        expect("SELECT count(*) n FROM events", "n\r\n100\r\n");
        assert_int_equal(finish(process), 0);
        log_batch_free(batch);
        log_writer_close(events);
        log_writer_close(people);
    }
}

struct writing {
    struct log_writer *writer;
    atomic_bool        stop;
    uint64_t           written;
};

static void *write_on(void *at)
{
    struct writing   *writing = at;
    struct log_batch *batch = log_batch_new();

    while (!atomic_load(&writing->stop)) {
        add_events(writing->writer, batch, writing->written, 300);
        writing->written += 300;
        usleep(3000);
    }
    log_batch_free(batch);
    return NULL;
}

/* Q1 by force: the loader is killed at random moments while events arrive; at the end each is there once. Three kills in a row may
 * meet the same row, and it is set aside as one that ends the process: then its letter is there, once. On a slow machine they do so
 * again and again. */
static void killed_at_any_moment(void **state)
{
    struct writing writing = { .writer = open_topic("events") };
    struct process process;
    pthread_t      thread;
    char           want[200], sql[500];
    int            kills = getenv("PENSTOCK_TEST_KILLS") != NULL ? atoi(getenv("PENSTOCK_TEST_KILLS")) : 50;

    (void)state;
    srand(7);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &writing), 0);
    for (int i = 0; i < kills; i++) {
        process = start();
        usleep((useconds_t)(20000 + rand() % 180000));
        kill(process.pid, SIGKILL);
        close(process.stop_fd);
        waitpid(process.pid, NULL, 0);
    }
    atomic_store(&writing.stop, true);
    pthread_join(thread, NULL);
    process = start();
    snprintf(want, sizeof want, "n,d,top,next,rows,few\r\n%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",true\r\n", writing.written,
             writing.written, writing.written - 1, writing.written, writing.written);
    snprintf(sql, sizeof sql,
             "WITH letters AS (SELECT count(*) AS c, max(raw_offset) AS top FROM dead_letters) SELECT count(*) + any_value(c) AS n,"
             " count(DISTINCT events.raw_offset) + any_value(c) AS d, greatest(max(events.raw_offset), coalesce(any_value(letters.top), 0)) AS top,"
             " any_value(next_0) AS next, any_value(p.events) + any_value(c) AS rows, any_value(c) <= %d AS few"
             " FROM events, penstock_place p, letters", kills / POISON_CRASHES_MAX);
    expect(sql, want);
    assert_int_equal(finish(process), 0);
    log_writer_close(writing.writer);
}

/* Turns some of the file's bytes over; false when there are none. */
static bool damage(const char *path, double from, size_t bytes, bool cut)
{
    struct stat st;
    int         fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t     byte;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < 100) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    off_t at = (off_t)((double)st.st_size * from);
    if (cut)
        assert_int_equal(ftruncate(fd, at), 0);
    for (size_t i = 0; !cut && i < bytes && at + (off_t)i < st.st_size; i++) {
        assert_int_equal(pread(fd, &byte, 1, at + (off_t)i), 1);
        byte ^= 0x5a;
        assert_int_equal(pwrite(fd, &byte, 1, at + (off_t)i), 1);
    }
    close(fd);
    return true;
}

/* D3: damage to the write-ahead log or the file's head never needs a person, and costs no row that the
 * log still has. */
static void damage_is_healed_from_the_log(void **state)
{
    static const struct { const char *file; double from; size_t bytes; bool cut; } rows[] = {
        { ".wal", 0.0, 16, false }, { ".wal", 0.3, 1, false }, { ".wal", 0.5, 4096, false }, { ".wal", 0.99, 8, false },
        { ".wal", 0.4, 0, true },   { "", 0.0, 64, false },    { "", 0.1, 0, true },
    };
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct process     process;
    uint64_t           count = 0;
    char               path[300], want[100];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        process = start();
        for (int k = 0; k < 4; k++, count += 500) {
            add_events(events, batch, count, 500);
            snprintf(want, sizeof want, "n\r\n%" PRIu64 "\r\n", count + 500);
            expect("SELECT count(*) n FROM events", want);
        }
        kill(process.pid, SIGKILL); /* the write-ahead log stays */
        finish(process);
        snprintf(path, sizeof path, "%s/warehouse.duckdb%s", folder, rows[i].file);
        assert_true(damage(path, rows[i].from, rows[i].bytes, rows[i].cut));
        process = start();
        snprintf(want, sizeof want, "n,d\r\n%" PRIu64 ",%" PRIu64 "\r\n", count, count);
        expect("SELECT count(*) n, count(DISTINCT raw_offset) d FROM events", want);
        assert_int_equal(finish(process), 0);
    }
    log_batch_free(batch);
    log_writer_close(events);
}

/* --- queries ----------------------------------------------------------------------------------- */

/* Orders of the topic receipts: everything before them is loaded first, nothing behind them before they were carried
 * out, and each has its receipt once, whenever the loader is killed. */
static void orders_are_carried_out_once(void **state)
{
    struct log_writer *events = open_topic("events"), *receipts = open_topic("receipts");
    struct log_batch  *batch = log_batch_new();
    struct process     process;
    struct row         row;

    (void)state;
    for (uint64_t number = 0; number < 3000; number++) {
        row_init(&row, ROW_EVENT);
        row_set_i64(&row, ROW_EVENT_TEAM_ID, number % 2 == 0 ? 1 : 2);
        row_set_i64(&row, ROW_EVENT_RAW_OFFSET, (int64_t)number);
        row_set_uuid(&row, ROW_EVENT_PERSON_ID, (struct uuid){ { number % 30 == 0 } });
        row_set_i64(&row, ROW_EVENT_TIMESTAMP, (int64_t)number * 1000000);
        row_set_text(&row, ROW_EVENT_DISTINCT_ID, SPAN("d"));
        add_row(batch, &row);
    }
    publish(events, batch);
    for (int i = 0; i < 3; i++) { /* to erase a person, to expire what is old, and one that is only told */
        row_init(&row, ROW_RECEIPT);
        row_set_i64(&row, ROW_RECEIPT_ID, i);
        row_set_i64(&row, ROW_RECEIPT_TEAM_ID, 1);
        row_set_text(&row, ROW_RECEIPT_KIND, i == 0 ? SPAN("erase") : i == 1 ? SPAN("expire") : SPAN("delete"));
        row_set_text(&row, ROW_RECEIPT_STATE, i == 0 ? SPAN("people done") : i == 1 ? SPAN("asked") : SPAN("done"));
        row_set_uuid(&row, ROW_RECEIPT_PERSON_ID, (struct uuid){ { 1 } });
        row_set_i64(&row, ROW_RECEIPT_DUE_AT, (int64_t)1000 * 1000000);
        row_set_i64(&row, ROW_RECEIPT_VERSION, i == 0 ? 2 : 1);
        add_row(batch, &row);
    }
    publish(receipts, batch);
    for (int round = 0; round < 12; round++) {
        process = start();
        until_nobody_is_suspected();
        usleep(20000u * (unsigned)round);
        kill(process.pid, SIGKILL);
        (void)finish(process);
    }
    process = start();
    expect("SELECT id, state, events FROM receipts ORDER BY id", "id,state,events\r\n0,warehouse done,100\r\n1,done,466\r\n"
                                                                 "2,done,\r\n");
    expect("SELECT count(*) AS n, min(raw_offset) AS first FROM events WHERE team_id = 1", "n,first\r\n934,1000\r\n");
    expect("SELECT count(*) AS n FROM events WHERE team_id = 2", "n\r\n1500\r\n");
    expect("SELECT sum(rows) AS n FROM penstock_erased WHERE name <> ''", "n\r\n566\r\n");
    expect("SELECT count(*) AS n FROM penstock_erased WHERE name = ''", "n\r\n0\r\n"); /* written anew */
    expect("SELECT events FROM penstock_place", "events\r\n3000\r\n");
    assert_int_equal(finish(process), 0);
    log_writer_close(events);
    log_writer_close(receipts);
    log_batch_free(batch);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_topic_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_row_becomes_a_dead_letter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_row_of_a_newer_penstock_waits_for_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_row_that_spoils_its_batch_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_erased_suspect_keeps_nobody_waiting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_healed_from_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_at_any_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orders_are_carried_out_once, set_up, tear_down),
    };

    if (argc >= 5 && strcmp(argv[1], "role") == 0)
        return role_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
