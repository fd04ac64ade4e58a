/* capture/capture_test_kit.h - the whole role in this process, on a free port of loopback, over a folder
 * of its own: what tests of the server share. The wall clock stands at KIT_NOW_US.
 *
 * A test waits for what the server says of itself (kit_wait, kit_memory, kit_in_force), never for a time: on a machine that
 * is slow or busy a time is over before anything was done. */
#ifndef PENSTOCK_CAPTURE_CAPTURE_TEST_KIT_H
#define PENSTOCK_CAPTURE_CAPTURE_TEST_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/metric.h"
#include "base/say.h"
#include "capture/capture.h"
#include "capture/settings.h"
#include "catalog/catalog.h"
#include "catalog/catalog_image.h"
#include "event/record.h"
#include "log/log.h"
#include "wire/base64.h"

#define KIT_NOW_US   INT64_C(1770091506000000) /* 2026-02-03T04:05:06Z */
#define KIT_NOW_TEXT "1770091506000000"

enum {
    KIT_RECORDS_MAX = 2048,
    KIT_ANSWER_BYTES_MAX = 1 << 20,
    KIT_WAIT_MS = 60000 /* for anything that must come in the end: not a bound of the server's */
};

struct kit {
    char                    folder[64], run_folder[80];
    struct capture_settings settings;
    struct role_listener    listener;
    int                     stop_fd, tls_fd, port;
    pthread_t               thread, catalog_thread;
    struct role_env         env;
    int                     rc;
    struct err              err;
    struct log             *log;
    uint64_t                next; /* offset of the next record of `raw` that kit_records gives */
    struct log_reader      *reader, *historical; /* of `raw`, of `raw_historical` */
    size_t                  count;
    struct record           records[KIT_RECORDS_MAX];
    struct span             bodies[KIT_RECORDS_MAX]; /* malloc'ed copies */
    enum input              inputs[KIT_RECORDS_MAX]; /* the topic that each was in */
    bool                    disk; /* kit_disk was asked for */
};

struct kit_answer {
    int    status;
    size_t bytes; /* head and body */
    char  *head;  /* NUL-terminated, in text */
    char  *body;
    size_t body_bytes;
    char   text[KIT_ANSWER_BYTES_MAX + 1];
};

static struct kit        kit;    /* the server of most tests; a second one is the test's own */
static struct kit_answer answer; /* the last one */

static inline void *kit_main(void *arg)
{
    struct kit *of = arg;

    of->rc = capture_role.run(&of->env, &of->err);
    return NULL;
}

/* Beside capture, as the supervisor starts it. */
static inline void *kit_catalog(void *arg)
{
    struct kit *of = arg;
    struct err  err = { 0 };

    return catalog_reader.run(&of->env, &err) < 0 ? of : NULL;
}

static inline void kit_set(struct kit *of, const char *name, const char *text)
{
    struct err err = { 0 };

    for (const struct option *option = capture_options; option->name != NULL; option++)
        if (strcmp(option->name, name) == 0) {
            if (option_set(option, &of->settings, text, &err) < 0)
                fail_msg("%s", err.text);
            return;
        }
    fail_msg("no option %s", name);
}

static inline void kit_listen(struct kit *of)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          bytes = sizeof address;

    of->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(of->listener.fd >= 0);
    assert_int_equal(bind(of->listener.fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
    assert_int_equal(listen(of->listener.fd, 1024), 0);
    assert_int_equal(getsockname(of->listener.fd, (struct sockaddr *)(void *)&address, &bytes), 0);
    of->port = ntohs(address.sin_port);
}

/* --- a disk of its own: what is free on the machine's changes while others work, and is never what a test needs ----- */

enum { KIT_DISK_RESERVE_BYTES = 1 << 30, KIT_DISK_ROOM_BYTES = 64 << 20 };

static _Atomic uint64_t kit_disk_free; /* changed at any time */
static _Atomic bool     kit_disk_broken; /* the same: no write succeeds */

static inline int kit_disk_asked(void *ctx, struct io_call *call)
{
    (void)ctx;
    if (call->op == IO_SPACE)
        call->bytes = kit_disk_free;
    return kit_disk_broken && call->op == IO_PWRITE ? EIO : 0;
}

/* Between kit_init and kit_start: a disk with `room` above the reserve, on which nothing that is written takes any of it. */
static inline void kit_disk(struct kit *of, uint64_t room)
{
    static const struct io_hook hook = { .before = kit_disk_asked };

    of->settings.disk_reserve_bytes = KIT_DISK_RESERVE_BYTES;
    kit_disk_free = KIT_DISK_RESERVE_BYTES + room;
    kit_disk_broken = false;
    io_hook_set(&hook);
    of->disk = true;
}

/* A folder with one project and the tokens phc_alpha, phc_beta. Then kit_set, then kit_start. */
static inline void kit_init(struct kit *of)
{
    static const char *const tokens[] = { "phc_alpha", "phc_beta" };
    struct catalog          *catalog;
    char                     path[128], token[CATALOG_TOKEN_BYTES_MAX + 1];
    uint32_t                 id;
    struct err               err = { 0 };

    *of = (struct kit){ 0 };
    (void)setenv("PENSTOCK_CLOCK_US", KIT_NOW_TEXT, 1);
    say_init("capture", SAY_ERROR);
    (void)snprintf(of->folder, sizeof of->folder, "/tmp/penstock-capture-XXXXXX");
    assert_non_null(mkdtemp(of->folder));
    (void)snprintf(of->run_folder, sizeof of->run_folder, "%s/run", of->folder);
    assert_int_equal(mkdir(of->run_folder, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/catalog.db", of->folder);
    if (catalog_open(path, &catalog, &err) < 0 || catalog_project_create(catalog, "test", &id, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (catalog_token_create(catalog, id, tokens[i], false, token, &err) < 0)
            fail_msg("%s", err.text);
    catalog_close(catalog);
    option_defaults(capture_options, &of->settings);
    of->settings.disk_reserve_bytes = 0;
    of->settings.segment_bytes = 4 << 20;
}

static inline int kit_connect(const struct kit *of)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)of->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
    return fd;
}

static inline int64_t kit_deadline_us(void)
{
    return clock_mono_us() + KIT_WAIT_MS * INT64_C(1000);
}

/* Capture ends, to be started again by the supervisor, when nobody has told the catalog in five seconds; here nobody starts it again. */
static inline void kit_start_catalog(struct kit *of)
{
    int64_t until_us = kit_deadline_us();
    char    path[120];

    assert_int_equal(pthread_create(&of->catalog_thread, NULL, kit_catalog, of), 0);
    (void)snprintf(path, sizeof path, "%s/" CATALOG_IMAGE_FILE, of->run_folder);
    while (access(path, R_OK) != 0) {
        assert_true(clock_mono_us() < until_us);
        (void)poll(NULL, 0, 1);
    }
}

static inline void kit_start(struct kit *of)
{
    struct log_options options = { .folder = NULL };
    char               folder[80];
    struct err         err = { 0 };

    kit_listen(of);
    of->stop_fd = eventfd(0, EFD_CLOEXEC);
    of->env = (struct role_env){ .data_folder = of->folder,
                                  .run_folder = of->run_folder,
                                  .listeners = &of->listener,
                                  .listeners_count = 1,
                                  .stop_fd = of->stop_fd,
                                  .tls_fd = of->tls_fd,
                                  .options = &of->settings };
    kit_start_catalog(of);
    assert_int_equal(pthread_create(&of->thread, NULL, kit_main, of), 0);
    (void)snprintf(folder, sizeof folder, "%s/log", of->folder);
    options.folder = folder;
    if (log_open(&options, &of->log, &err) < 0 || log_reader_open(of->log, "raw", 0, 0, &of->reader, &err) < 0 ||
        log_reader_open(of->log, "raw_historical", 0, 0, &of->historical, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void kit_forget(struct kit *of)
{
    for (size_t i = 0; i < of->count; i++)
        free((void *)(uintptr_t)of->bodies[i].at);
    of->count = 0;
}

static inline void kit_ask_to_stop(struct kit *of)
{
    uint64_t one = 1;

    assert_int_equal(write(of->stop_fd, &one, sizeof one), sizeof one);
}

/* The role's thread is joined: the rest. */
static inline void kit_clean(struct kit *of)
{
    char command[128];

    kit_ask_to_stop(of); /* also when capture ended by itself */
    pthread_join(of->catalog_thread, NULL);
    kit_forget(of);
    log_reader_close(of->reader);
    log_reader_close(of->historical);
    log_close(of->log);
    (void)close(of->listener.fd);
    (void)close(of->stop_fd);
    (void)snprintf(command, sizeof command, "rm -rf %s", of->folder);
    assert_int_equal(system(command), 0);
    if (of->disk) /* else another kit may be at work */
        io_hook_set(NULL);
    of->disk = false;
}

static inline void kit_join(struct kit *of)
{
    pthread_join(of->thread, NULL);
    kit_clean(of);
}

static inline void kit_stop(struct kit *of)
{
    kit_ask_to_stop(of);
    kit_join(of);
    if (of->rc != 0)
        fail_msg("the role ended with: %s", of->err.text);
}

static inline void kit_take_topic(struct kit *of, enum input input)
{
    struct log_reader *reader = input == INPUT_RAW ? of->reader : of->historical;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    int                rc;

    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        struct span body;
        uint64_t    offset;

        assert_int_equal(chunk.kind, LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body)) {
            uint8_t *copy = malloc(body.bytes);

            assert_true(of->count < KIT_RECORDS_MAX);
            if (input == INPUT_RAW)
                assert_int_equal(offset, of->next++);
            memcpy(copy, body.at, body.bytes);
            of->bodies[of->count] = span_of(copy, body.bytes);
            if (record_read(of->bodies[of->count], &of->records[of->count], &err) < 0)
                fail_msg("%s", err.text);
            of->inputs[of->count++] = input;
        }
    }
    if (rc < 0)
        fail_msg("%s", err.text);
}

/* The records since the last call, of raw first; how many. */
static inline size_t kit_records(struct kit *of)
{
    kit_forget(of);
    kit_take_topic(of, INPUT_RAW);
    kit_take_topic(of, INPUT_HISTORICAL);
    return of->count;
}

static inline void kit_send(int fd, const void *at, size_t bytes)
{
    const uint8_t *from = at;

    while (bytes > 0) {
        ssize_t sent = send(fd, from, bytes, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return; /* the server has closed: its answer is what counts */
        from += sent;
        bytes -= (size_t)sent;
    }
}

/* Reads up to the end of a head, and not a byte more: answers may follow each other. NULL: the connection ended first, or
 * (*rc_out -1) nothing came. */
static inline char *kit_receive_head(int fd, struct kit_answer *into, int wait_ms, int *rc_out)
{
    for (;;) {
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        ssize_t       got, used;
        char         *end;

        *rc_out = -1;
        if (poll(&wait, 1, wait_ms) != 1)
            return NULL;
        *rc_out = 0;
        got = recv(fd, into->text + into->bytes, KIT_ANSWER_BYTES_MAX - into->bytes, MSG_PEEK);
        if (got <= 0)
            return NULL;
        into->text[into->bytes + (size_t)got] = 0;
        end = strstr(into->text, "\r\n\r\n");
        used = end == NULL ? got : end + 4 - into->text - (ssize_t)into->bytes;
        got = recv(fd, into->text + into->bytes, (size_t)used, MSG_WAITALL);
        assert_int_equal(got, used);
        into->bytes += (size_t)used;
        into->text[into->bytes] = 0;
        if (end != NULL)
            return end + 4;
    }
}

/* Reads exactly one answer. 0: the connection ended first; -1: nothing came. */
static inline int kit_receive_wait(int fd, struct kit_answer *into, bool head_only, int wait_ms)
{
    char  *mark;
    size_t head;
    int    rc;

    *into->text = 0;
    into->bytes = 0;
    into->status = 0;
    into->body = kit_receive_head(fd, into, wait_ms, &rc);
    if (into->body == NULL)
        return rc;
    into->head = into->text;
    head = into->bytes;
    mark = strstr(into->text, "\r\ncontent-length: ");
    into->body_bytes = mark == NULL || head_only ? 0 : strtoul(mark + 18, NULL, 10);
    assert_true(head + into->body_bytes <= KIT_ANSWER_BYTES_MAX);
    while (into->bytes < head + into->body_bytes) {
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        ssize_t       got;

        if (poll(&wait, 1, wait_ms) != 1)
            return -1;
        got = recv(fd, into->text + into->bytes, head + into->body_bytes - into->bytes, 0);
        if (got <= 0)
            return 0;
        into->bytes += (size_t)got;
        into->text[into->bytes] = 0;
    }
    into->status = atoi(into->text + 9);
    return into->status;
}

static inline int kit_receive(int fd, struct kit_answer *into)
{
    return kit_receive_wait(fd, into, false, KIT_WAIT_MS);
}

/* Something has come to read: an answer, or the end. */
static inline bool kit_readable(int fd, int wait_ms)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };

    return poll(&wait, 1, wait_ms) == 1;
}

/* One request on a connection of its own. headers: whole lines with CRLF. */
static inline int kit_ask(const struct kit *of, const char *method, const char *target, const char *headers,
                          struct span body, struct kit_answer *into)
{
    int    fd = kit_connect(of);
    char   head[16384];
    size_t bytes = (size_t)snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: t\r\n%sContent-Length: %zu\r\n\r\n", method,
                                    target, headers, body.bytes);
    int    status;

    assert_true(bytes < sizeof head);
    kit_send(fd, head, bytes);
    kit_send(fd, body.at, body.bytes);
    status = kit_receive_wait(fd, into, strcmp(method, "HEAD") == 0, KIT_WAIT_MS);
    (void)close(fd);
    return status;
}

/* --- requests, in words -------------------------------------------------------------------------- */

static inline void kit_send_text(int fd, const char *text)
{
    kit_send(fd, text, strlen(text));
}

static inline void kit_expect(int fd, int status, const char *what)
{
    int got = kit_receive(fd, &answer);

    if (got != status)
        fail_msg("%s: got %d, expected %d: %s; the role %s", what, got, status, answer.text, kit.err.text);
}

/* The server ends it, without another word. */
static inline void kit_expect_end(int fd)
{
    assert_int_equal(kit_receive(fd, &answer), 0);
    (void)close(fd);
}

/* A body that begins with `b64:` stands for the bytes that it encodes, which are in scratch. */
static inline struct span kit_body(const char *text, struct buf *scratch)
{
    if (strncmp(text, "b64:", 4) != 0)
        return span_text(text);
    buf_reset(scratch);
    assert_true(base64_decode(span_text(text + 4), BASE64_STRICT, scratch));
    return buf_span(scratch);
}

/* What ends by `*` says how the other begins. */
static inline bool kit_text_fits(const char *wanted, const char *is)
{
    size_t bytes = strlen(wanted);

    return bytes > 0 && wanted[bytes - 1] == '*' ? strncmp(wanted, is, bytes - 1) == 0 : strcmp(wanted, is) == 0;
}

/* The records since the last call: "event/distinct_id" each, with `@` in front of those of the historical topic and
 * "!reason" for the event of a rejected one. */
static inline void kit_check_records(const char *name, const char *wanted)
{
    char   have[4096] = "";
    size_t at = 0;

    (void)kit_records(&kit);
    for (size_t i = 0; i < kit.count; i++) {
        const struct record *record = &kit.records[i];

        at += (size_t)snprintf(have + at, sizeof have - at, "%s%s", i == 0 ? "" : " ", kit.inputs[i] == INPUT_RAW ? "" : "@");
        if (record->kind == RECORD_REJECTED)
            at += (size_t)snprintf(have + at, sizeof have - at, "!%s", record_rejection_tag(record->rejection));
        else
            at += (size_t)snprintf(have + at, sizeof have - at, "%.*s", SPAN_ARG(record->event));
        at += (size_t)snprintf(have + at, sizeof have - at, "/%.*s", SPAN_ARG(record->distinct_id));
    }
    if (strcmp(have, wanted) != 0)
        fail_msg("%s: stored \"%s\", expected \"%s\"", name, have, wanted);
}

/* --- what the server says of itself ------------------------------------------------------------- */

static inline double kit_metric(const char *name)
{
    double value = 0;

    (void)metric_read(kit.run_folder, "capture", name, "", &value);
    return value;
}

/* Until a metric is in [from, to]. */
static inline void kit_wait(const char *name, double from, double to)
{
    int64_t until_us = kit_deadline_us();
    double  is;

    while ((is = kit_metric(name)) < from || is > to) {
        if (clock_mono_us() > until_us)
            fail_msg("%s is %g, expected %g to %g; the role %s", name, is, from, to, kit.err.text);
        (void)poll(NULL, 0, 1);
    }
}

/* So many connections are open. */
static inline void kit_wait_connections(unsigned count)
{
    kit_wait("capture_active_connections", count, count);
}

/* The bytes that the server holds, after a turn of its loop: asked for on this connection. */
static inline int64_t kit_memory(int probe)
{
    for (int i = 0; i < 2; i++) { /* the gauge is set at the end of a turn, behind the answer */
        kit_send_text(probe, "GET /_liveness HTTP/1.1\r\nHost: t\r\n\r\n");
        kit_expect(probe, 200, "a probe is no event");
    }
    return (int64_t)kit_metric("capture_memory_bytes");
}

static inline struct catalog *kit_catalog_open(const struct kit *of)
{
    struct catalog *catalog;
    char            path[128];
    struct err      err = { 0 };

    (void)snprintf(path, sizeof path, "%s/catalog.db", of->folder);
    if (catalog_open(path, &catalog, &err) < 0)
        fail_msg("%s", err.text);
    return catalog;
}

/* What the catalog says is in force. */
static inline void kit_in_force(struct catalog *catalog)
{
    struct catalog_snapshot *snapshot;
    struct err               err = { 0 };

    assert_int_equal(catalog_snapshot_load(catalog, &snapshot, &err), 0);
    kit_wait("capture_catalog_version", (double)catalog_snapshot_version(snapshot), 1e18);
    catalog_snapshot_free(snapshot);
}

/* --- a group's server ---------------------------------------------------------------------------- */

/* kit_init, settings as name and text, NULL at the end, kit_start. Gives 0, as a set-up does. */
static inline int kit_begin(const char *const *settings)
{
    kit_init(&kit);
    for (; *settings != NULL; settings += 2)
        kit_set(&kit, settings[0], settings[1]);
    kit_start(&kit);
    return 0;
}
#define KIT_BEGIN(...) kit_begin((const char *const[]){ __VA_ARGS__, NULL })

/* Set-up and tear-down of a group whose server has no settings of its own. */
static inline int kit_setup(void **state)
{
    (void)state;
    return kit_begin((const char *const[]){ NULL });
}

static inline int kit_teardown(void **state)
{
    (void)state;
    kit_stop(&kit);
    return 0;
}

#endif
