/* load/load_test_kit.h - what the tests of the role as a process share: it is this program again, with other words, so that no
 * lock of this one's threads is held there for ever. Tests write the topics and ask over the query socket, as other processes do.
 * main calls role_main when its first word is `role`. Needs libduckdb.so. Tests only. */
#ifndef PENSTOCK_LOAD_LOAD_TEST_KIT_H
#define PENSTOCK_LOAD_LOAD_TEST_KIT_H

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child_test_kit.h"
#include "base/clock.h"
#include "base/say.h"
#include "load/load.h"
#include "load/poison.h"
#include "load/query_socket.h"
#include "log/log.h"
#include "warehouse/duckdb.h"

static char folder[60], run_folder[80];
static struct log *test_log;

struct process {
    pid_t pid;
    int   stop_fd;
};

static rlim_t file_bytes_max; /* of the next role started; 0: none */

static inline struct load_options options_of(void)
{
    struct load_options options;

    option_defaults(load_role.options, &options);
    options.batch_wait_us = 20000;
    options.people_wait_us = 20000;
    return options;
}

/* This program as the role: `PROGRAM role FOLDER STOP_FD FILE_BYTES_MAX OPTION...`, options in the order of the struct. */
static inline int role_main(int argc, char **argv)
{
    struct load_options options = options_of();
    int64_t *const      numbers[] = { &options.memory_bytes, &options.threads, &options.batch_rows, &options.batch_wait_us,
                                      &options.people_wait_us, &options.idle_us, &options.query_time_us, &options.queries,
                                      &options.catch_up_threads, &options.catch_up_rows };
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

static inline struct process start_with(const struct load_options *options)
{
    const int64_t  numbers[] = { options->memory_bytes, options->threads, options->batch_rows, options->batch_wait_us,
                                 options->people_wait_us, options->idle_us, options->query_time_us, options->queries, options->catch_up_threads,
                                 options->catch_up_rows };
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
    process.pid = child_fork();
    if (process.pid == 0) {
        (void)fcntl(stop[0], F_SETFD, 0);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(stop[0]);
    process.stop_fd = stop[1];
    return process;
}

static inline struct process start(void)
{
    struct load_options options = options_of();

    return start_with(&options);
}

static inline int finish(struct process process)
{
    int status = 0;

    close(process.stop_fd);
    waitpid(process.pid, &status, 0);
    return status;
}

static inline int collect(void *ctx, struct span piece, struct err *err)
{
    (void)err;
    buf_add(ctx, piece);
    return 0;
}

/* The answer, or "kind: text". Waits for the role to listen. */
static inline const char *ask(const char *sql)
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
static inline void expect(const char *sql, const char *want)
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

/* Who is killed while he works on the same row three times sets it aside (load/poison.h), and on a slow machine that is soon: the
 * process lives until it suspects no row. Whatever was killed before, then, all rows are loaded. */
static inline void until_nobody_is_suspected(void)
{
    struct poison_state state = { .suspect = POISON_NONE };
    char                path[120];

    (void)snprintf(path, sizeof path, "%s/load.attempt", run_folder);
    for (int tries = 0; tries < 2400; tries++, usleep(25000)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            return;
        if (read(fd, &state, sizeof state) != (ssize_t)sizeof state)
            state.suspect = POISON_NONE;
        (void)close(fd);
        if (state.suspect == POISON_NONE)
            return;
    }
    fail_msg("a row is suspected for ever");
}

/* --- topics ------------------------------------------------------------------------------------ */

static inline struct log_writer *open_topic(const char *topic)
{
    struct log_topic_options options = { .codec = LOG_CODEC_LZ4 };
    struct log_writer       *writer;
    struct err               err;

    if (log_writer_open(test_log, topic, 0, &options, &writer, &err) < 0)
        fail_msg("%s", err.text);
    return writer;
}

static inline void publish(struct log_writer *writer, struct log_batch *batch)
{
    struct err err;
    uint64_t   base;

    if (log_writer_append(writer, batch, clock_wall_us(), &base, &err) < 0 || log_writer_sync(writer, &err) < 0)
        fail_msg("%s", err.text);
    log_writer_publish(writer, log_writer_end(writer));
    log_batch_reset(batch);
}

static inline void add_row(struct log_batch *batch, const struct row *row)
{
    uint8_t *to = log_batch_begin(batch, row_bytes(row));

    assert_non_null(to);
    row_write(row, to);
    log_batch_end(batch, row_bytes(row));
}

/* An event whose raw_offset is its number, so that a missing or a double one can be named. */
static inline void add_event(struct log_batch *batch, uint64_t number)
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

static inline void add_events(struct log_writer *writer, struct log_batch *batch, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++)
        add_event(batch, i);
    publish(writer, batch);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    char command[300];

    (void)state;
    log_close(test_log);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* A second net: rows that only the engine's own check refuses, when a batch is handed over. The check is made by creating the table
 * beforehand with a constraint. offsets: "1234, 4000". */
static inline void engine_refuses(const char *offsets)
{
    struct duckdb     duckdb;
    duckdb_database   database;
    duckdb_connection connection;
    duckdb_result     result;
    struct err        err = { .text = "" };
    char              path[300], statement[200];
    int               status;
    pid_t             child;

    snprintf(path, sizeof path, "%s/warehouse.duckdb", folder);
    snprintf(statement, sizeof statement, "CREATE TABLE events(uuid UUID, raw_offset BIGINT CHECK (raw_offset NOT IN (%s)), inserted_at TIMESTAMP)", offsets);
    fflush(NULL);
    child = fork(); /* the engine's threads must not be in this process when it forks the role */
    if (child == 0) {
        if (duckdb_load(NULL, &duckdb, &err) < 0 || duckdb.open_ext(path, &database, NULL, NULL) != DUCKDB_SUCCESS ||
            duckdb.connect(database, &connection) != DUCKDB_SUCCESS ||
            duckdb.query(connection, statement, &result) != DUCKDB_SUCCESS)
            _exit(1);
        duckdb.destroy_result(&result);
        duckdb.disconnect(&connection);
        duckdb.close(&database);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

#endif
