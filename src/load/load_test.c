/* load/load_test.c - the role as a process: topics in, rows out, killed and damaged on the way.
 *
 * The role runs in a process of its own: this program again, with other words, so that no lock of this one's threads is
 * held there for ever. The test writes the topics and asks over the query socket, as other processes do. Needs
 * libduckdb.so. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/metric.h"
#include "base/say.h"
#include "load/load.h"
#include "load/query_socket.h"
#include "log/log.h"
#include "warehouse/duckdb.h"
#include "warehouse/warehouse.h"

static char folder[60], run_folder[80];
static struct log *test_log;

struct process {
    pid_t pid;
    int   stop_fd;
};

static rlim_t file_bytes_max; /* of the next role started; 0: none */

static struct load_options options_of(void)
{
    struct load_options options;

    option_defaults(load_role.options, &options);
    options.batch_wait_us = 20000;
    options.people_wait_us = 20000;
    return options;
}

/* This program as the role: `load_test role FOLDER STOP_FD FILE_BYTES_MAX OPTION...`, options in the order of the struct. */
static int role_main(int argc, char **argv)
{
    struct load_options options = options_of();
    int64_t *const      numbers[] = { &options.memory_bytes, &options.threads, &options.batch_rows, &options.batch_wait_us,
                                      &options.people_wait_us, &options.idle_us, &options.query_time_us, &options.queries };
    struct role_env     env = { .data_folder = argv[2], .run_folder = run_folder, .stop_fd = atoi(argv[3]),
                                .options = &options };
    struct rlimit       limit = { strtoull(argv[4], NULL, 10), RLIM_INFINITY };
    struct err          err = { .text = "" };

    for (int i = 0; i < (int)(sizeof numbers / sizeof *numbers) && 5 + i < argc; i++)
        *numbers[i] = strtoll(argv[5 + i], NULL, 10);
    snprintf(run_folder, sizeof run_folder, "%s/run", argv[2]);
    if (limit.rlim_cur != 0) { /* a disk that is full, as far as this process can see */
        signal(SIGXFSZ, SIG_IGN);
        (void)!setrlimit(RLIMIT_FSIZE, &limit);
    }
    say_init("load", getenv("PENSTOCK_TEST_SAY") != NULL ? SAY_INFO : SAY_ERROR);
    if (load_role.run(&env, &err) == 0)
        return 0;
    fprintf(stderr, "load: %s\n", err.text);
    return 1;
}

static struct process start_with(const struct load_options *options)
{
    const int64_t  numbers[] = { options->memory_bytes, options->threads, options->batch_rows, options->batch_wait_us,
                                 options->people_wait_us, options->idle_us, options->query_time_us, options->queries };
    char           words[2 + sizeof numbers / sizeof *numbers][24];
    char          *argv[16] = { "load_test", "role", folder };
    int            stop[2], argc = 3;
    struct process process;

    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    snprintf(words[0], sizeof words[0], "%d", stop[0]);
    snprintf(words[1], sizeof words[1], "%llu", (unsigned long long)file_bytes_max);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        snprintf(words[2 + i], sizeof words[0], "%" PRId64, numbers[i]);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        argv[argc++] = words[i];
    process.pid = fork();
    if (process.pid == 0) {
        (void)fcntl(stop[0], F_SETFD, 0);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(stop[0]);
    process.stop_fd = stop[1];
    return process;
}

static struct process start(void)
{
    struct load_options options = options_of();

    return start_with(&options);
}

static int finish(struct process process)
{
    int status = 0;

    close(process.stop_fd);
    waitpid(process.pid, &status, 0);
    return status;
}

static int collect(void *ctx, struct span piece, struct err *err)
{
    (void)err;
    buf_add(ctx, piece);
    return 0;
}

/* The answer, or "kind: text". Waits for the role to listen. */
static const char *ask(const char *sql)
{
    static struct buf out;
    struct err        err = { .text = "" };

    buf_fini(&out);
    buf_init(&out, 64 << 20);
    for (int tries = 0; tries < 2400; tries++) {
        if (query_ask(run_folder, sql, WAREHOUSE_CSV, collect, &out, &err) == 0) {
            buf_add_byte(&out, '\0');
            return (const char *)out.at;
        }
        if (strstr(err.text, "nobody answers") == NULL)
            break;
        usleep(25000);
    }
    buf_reset(&out);
    buf_add_format(&out, "%s: %s", err_kind_name(err.kind), err.text);
    buf_add_byte(&out, '\0');
    return (const char *)out.at;
}

/* Until the answer is this one, a minute at most. */
static void expect(const char *sql, const char *want)
{
    const char *got = "";

    for (int tries = 0; tries < 1200; tries++) {
        got = ask(sql);
        if (strcmp(got, want) == 0)
            return;
        usleep(50000);
    }
    assert_string_equal(got, want);
}

/* --- topics ------------------------------------------------------------------------------------ */

static struct log_writer *open_topic(const char *topic)
{
    struct log_topic_options options = { .codec = LOG_CODEC_LZ4 };
    struct log_writer       *writer;
    struct err               err;

    if (log_writer_open(test_log, topic, 0, &options, &writer, &err) < 0)
        fail_msg("%s", err.text);
    return writer;
}

static void publish(struct log_writer *writer, struct log_batch *batch)
{
    struct err err;
    uint64_t   base;

    if (log_writer_append(writer, batch, clock_wall_us(), &base, &err) < 0 || log_writer_sync(writer, &err) < 0)
        fail_msg("%s", err.text);
    log_writer_publish(writer, log_writer_end(writer));
    log_batch_reset(batch);
}

static void add_row(struct log_batch *batch, const struct row *row)
{
    uint8_t *to = log_batch_begin(batch, row_bytes(row));

    assert_non_null(to);
    row_write(row, to);
    log_batch_end(batch, row_bytes(row));
}

/* An event whose raw_offset is its number, so that a missing or a double one can be named. */
static void add_event(struct log_batch *batch, uint64_t number)
{
    struct row row;
    char       text[100];

    row_init(&row, ROW_EVENT);
    row_set_uuid(&row, ROW_EVENT_UUID, (struct uuid){ { (uint8_t)(number >> 8), (uint8_t)number, 1 } });
    row_set_text(&row, ROW_EVENT_EVENT, SPAN("bought"));
    snprintf(text, sizeof text, "{\"number\":%" PRIu64 ",\"exact\":0.10000000000000000000000000001}", number);
    row_set_text(&row, ROW_EVENT_PROPERTIES, span_text(text));
    row_set_i64(&row, ROW_EVENT_TEAM_ID, 1);
    row_set_i64(&row, ROW_EVENT_RAW_OFFSET, (int64_t)number);
    add_row(batch, &row);
}

static void add_events(struct log_writer *writer, struct log_batch *batch, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++)
        add_event(batch, i);
    publish(writer, batch);
}

static int set_up(void **state)
{
    char       name[300];
    struct err err;

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/penstock-load-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(run_folder, sizeof run_folder, "%s/run", folder);
    snprintf(name, sizeof name, "%s/log", folder);
    return mkdir(run_folder, 0700) < 0 || log_open(&(struct log_options){ .folder = name }, &test_log, &err) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    char command[300];

    (void)state;
    log_close(test_log);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

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

/* The second net of D2: a row that only the engine's own check refuses, when the batch is handed over. The
 * check is made by creating the table beforehand with a constraint. */
static void one_row_that_spoils_its_batch_is_found(void **state)
{
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct duckdb      duckdb;
    duckdb_database    database;
    duckdb_connection  connection;
    duckdb_result      result;
    struct process     process;
    struct err         err = { .text = "" };
    char               path[300];
    int                status;
    pid_t              child;

    (void)state;
    snprintf(path, sizeof path, "%s/warehouse.duckdb", folder);
    fflush(NULL);
    child = fork(); /* the engine's threads must not be in this process when it forks the role */
    if (child == 0) {
        if (duckdb_load(NULL, &duckdb, &err) < 0 || duckdb.open_ext(path, &database, NULL, NULL) != DUCKDB_SUCCESS ||
            duckdb.connect(database, &connection) != DUCKDB_SUCCESS ||
            duckdb.query(connection, "CREATE TABLE events(uuid UUID, raw_offset BIGINT CHECK (raw_offset NOT IN (1234, 4000)),"
                                     " inserted_at TIMESTAMP)", &result) != DUCKDB_SUCCESS)
            _exit(1);
        duckdb.destroy_result(&result);
        duckdb.disconnect(&connection);
        duckdb.close(&database);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
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

/* Q1 by force: the loader is killed at random moments while events arrive; at the end each is there once. */
static void killed_at_any_moment(void **state)
{
    struct writing writing = { .writer = open_topic("events") };
    struct process process;
    pthread_t      thread;
    char           want[200];
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
    snprintf(want, sizeof want, "n,d,top,next,rows\r\n%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\r\n", writing.written,
             writing.written, writing.written - 1, writing.written, writing.written);
    expect("SELECT count(*) n, count(DISTINCT raw_offset) d, max(raw_offset) top, any_value(next_0) AS next, any_value(p.events) AS rows"
           " FROM events, penstock_place p", want);
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

static int hang_up(void *ctx, struct span piece, struct err *err)
{
    (void)ctx;
    (void)piece;
    return err_set(err, ERR_STOP, "had enough");
}

static int raw_connection(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/" QUERY_SOCKET_NAME, run_folder);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* A query that works for ever, on a connection of its own. */
static int begin_endless(void)
{
    static const char endless[] = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range = b.range * 2 + a.range % 7";
    uint8_t           head[9];
    int               fd = raw_connection();

    bytes_put_u32(head, QUERY_MAGIC);
    head[4] = WAREHOUSE_CSV;
    bytes_put_u32(head + 5, sizeof endless - 1);
    assert_int_equal(write(fd, head, sizeof head), sizeof head);
    assert_int_equal(write(fd, endless, sizeof endless - 1), sizeof endless - 1);
    return fd;
}

static bool is_answered(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };

    return poll(&wait, 1, 0) == 1;
}

/* Both places taken by queries that work for ever: until a third one is told so. One of them may have been refused, when
 * the client before it was not let go yet, or be over, on a machine so slow that its time went by: it comes again. */
static void take_both_places(int fds[2])
{
    for (int i = 0; i < 2; i++)
        fds[i] = begin_endless();
    for (int tries = 0; tries < 600; tries++) {
        if (strstr(ask("SELECT 1"), "2 queries are running") != NULL && !is_answered(fds[0]) && !is_answered(fds[1]))
            return;
        usleep(20000);
        for (int i = 0; i < 2; i++)
            if (is_answered(fds[i])) {
                close(fds[i]);
                fds[i] = begin_endless();
            }
    }
    fail_msg("the places are never taken");
}

static void queries_beside_the_loader(void **state)
{
    struct load_options options = options_of();
    struct log_writer *events = open_topic("events");
    struct log_batch  *batch = log_batch_new();
    struct process     process;
    struct err         err = { .text = "" };
    uint8_t            head;
    int                fds[2];
    struct stat        st;
    char               path[300];

    (void)state;
    options.queries = 2;
    options.query_time_us = 3000000;
    options.idle_us = 1000000;
    assert_int_equal(query_ask(run_folder, "SELECT 1", WAREHOUSE_CSV, collect, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_false(query_served(run_folder));
    process = start_with(&options);
    expect("SELECT 1 AS a", "a\r\n1\r\n");
    snprintf(path, sizeof path, "%s/" QUERY_SOCKET_NAME, run_folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_non_null(strstr(ask("DELETE FROM events"), "only statements that read"));
    assert_non_null(strstr(ask("SELECT * FROM read_csv('/etc/passwd')"), "disabled by configuration"));
    assert_non_null(strstr(ask("SELEC"), "syntax error"));
    assert_int_equal(strlen(ask("SELECT repeat('x', 3000000) AS x")), 3 + 3000000 + 2);

    /* A client that leaves in the middle, ten times: there are only two places. */
    for (int i = 0; i < 10; i++) {
        int rc = -1;

        for (int tries = 0; tries < 3000 && (rc = query_ask(run_folder, "FROM range(100000000)", WAREHOUSE_JSON, hang_up, NULL, &err)) < 0 &&
                            err.kind == ERR_RETRY; tries++)
            usleep(20000);
        assert_int_equal(rc, -1);
        assert_string_equal(err.text, "had enough");
    }
    /* All places taken by queries that work for ever; the loader goes on, and time ends them. */
    take_both_places(fds);
    add_events(events, batch, 0, 100);
    for (int i = 0; i < 2; i++) {
        char answer[400] = "";

        assert_true(recv(fds[i], answer, sizeof answer - 1, MSG_WAITALL) > 6);
        assert_int_equal(answer[0], 'e');
        assert_non_null(strstr(answer + 6, "longer than load.query_time"));
        close(fds[i]);
    }
    expect("SELECT count(*) AS n FROM events", "n\r\n100\r\n");
    /* Rubbish is answered, not believed. */
    fds[0] = raw_connection();
    assert_int_equal(write(fds[0], "GET / HTTP/1.1\r\n\r\n", 18), 18);
    assert_int_equal(read(fds[0], &head, 1), 1);
    assert_int_equal(head, 'e');
    close(fds[0]);
    /* D4: closed after a while (the write-ahead log is then folded in), opened by whoever needs it. */
    snprintf(path, sizeof path, "%s/warehouse.duckdb.wal", folder);
    for (int tries = 0; tries < 1200 && stat(path, &st) == 0; tries++)
        usleep(50000);
    assert_int_equal(stat(path, &st), -1);
    expect("SELECT count(*) AS n FROM events", "n\r\n100\r\n");
    add_events(events, batch, 100, 100);
    expect("SELECT count(*) AS n, count(DISTINCT raw_offset) AS d FROM events", "n,d\r\n200,200\r\n");
    assert_int_equal(finish(process), 0);
    assert_false(query_served(run_folder));
    log_batch_free(batch);
    log_writer_close(events);
}

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
        cmocka_unit_test_setup_teardown(one_row_that_spoils_its_batch_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(queries_beside_the_loader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_healed_from_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_at_any_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orders_are_carried_out_once, set_up, tear_down),
    };

    if (argc >= 5 && strcmp(argv[1], "role") == 0)
        return role_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
