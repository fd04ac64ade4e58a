/* capture/capture_test_kit.h - the whole role in this process, on a free port of loopback, over a folder
 * of its own: what tests of the server share. The wall clock stands at KIT_NOW_US. */
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
#include "base/say.h"
#include "capture/capture.h"
#include "capture/settings.h"
#include "catalog/catalog.h"
#include "catalog/catalog_image.h"
#include "event/record.h"
#include "log/log.h"

#define KIT_NOW_US   INT64_C(1770091506000000) /* 2026-02-03T04:05:06Z */
#define KIT_NOW_TEXT "1770091506000000"

enum { KIT_RECORDS_MAX = 64, KIT_ANSWER_BYTES_MAX = 1 << 20 };

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
};

struct kit_answer {
    int    status;
    size_t bytes; /* head and body */
    char  *head;  /* NUL-terminated, in text */
    char  *body;
    size_t body_bytes;
    char   text[KIT_ANSWER_BYTES_MAX + 1];
};

static inline void *kit_main(void *arg)
{
    struct kit *kit = arg;

    kit->rc = capture_role.run(&kit->env, &kit->err);
    return NULL;
}

/* Beside capture, as the supervisor starts it. */
static inline void *kit_catalog(void *arg)
{
    struct kit *kit = arg;
    struct err  err = { 0 };

    return catalog_reader.run(&kit->env, &err) < 0 ? kit : NULL;
}

static inline void kit_set(struct kit *kit, const char *name, const char *text)
{
    struct err err = { 0 };

    for (const struct option *option = capture_options; option->name != NULL; option++)
        if (strcmp(option->name, name) == 0) {
            if (option_set(option, &kit->settings, text, &err) < 0)
                fail_msg("%s", err.text);
            return;
        }
    fail_msg("no option %s", name);
}

static inline void kit_listen(struct kit *kit)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          bytes = sizeof address;

    kit->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(kit->listener.fd >= 0);
    assert_int_equal(bind(kit->listener.fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
    assert_int_equal(listen(kit->listener.fd, 1024), 0);
    assert_int_equal(getsockname(kit->listener.fd, (struct sockaddr *)(void *)&address, &bytes), 0);
    kit->port = ntohs(address.sin_port);
}

/* A folder with one project and the tokens phc_alpha, phc_beta. Then kit_set, then kit_start. */
static inline void kit_init(struct kit *kit)
{
    static const char *const tokens[] = { "phc_alpha", "phc_beta" };
    struct catalog          *catalog;
    char                     path[128], token[CATALOG_TOKEN_BYTES_MAX + 1];
    uint32_t                 id;
    struct err               err = { 0 };

    *kit = (struct kit){ 0 };
    (void)setenv("PENSTOCK_CLOCK_US", KIT_NOW_TEXT, 1);
    say_init("capture", SAY_ERROR);
    (void)snprintf(kit->folder, sizeof kit->folder, "/tmp/penstock-capture-XXXXXX");
    assert_non_null(mkdtemp(kit->folder));
    (void)snprintf(kit->run_folder, sizeof kit->run_folder, "%s/run", kit->folder);
    assert_int_equal(mkdir(kit->run_folder, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/catalog.db", kit->folder);
    if (catalog_open(path, &catalog, &err) < 0 || catalog_project_create(catalog, "test", &id, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (catalog_token_create(catalog, id, tokens[i], false, token, &err) < 0)
            fail_msg("%s", err.text);
    catalog_close(catalog);
    option_defaults(capture_options, &kit->settings);
    kit->settings.disk_reserve_bytes = 0;
    kit->settings.segment_bytes = 4 << 20;
}

static inline int kit_connect(const struct kit *kit)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)kit->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&address, sizeof address), 0);
    return fd;
}

static inline void kit_start(struct kit *kit)
{
    struct log_options options = { .folder = NULL };
    char               folder[80];
    struct err         err = { 0 };

    kit_listen(kit);
    kit->stop_fd = eventfd(0, EFD_CLOEXEC);
    kit->env = (struct role_env){ .data_folder = kit->folder,
                                  .run_folder = kit->run_folder,
                                  .listeners = &kit->listener,
                                  .listeners_count = 1,
                                  .stop_fd = kit->stop_fd,
                                  .tls_fd = kit->tls_fd,
                                  .options = &kit->settings };
    assert_int_equal(pthread_create(&kit->catalog_thread, NULL, kit_catalog, kit), 0);
    assert_int_equal(pthread_create(&kit->thread, NULL, kit_main, kit), 0);
    (void)snprintf(folder, sizeof folder, "%s/log", kit->folder);
    options.folder = folder;
    if (log_open(&options, &kit->log, &err) < 0 || log_reader_open(kit->log, "raw", 0, 0, &kit->reader, &err) < 0 ||
        log_reader_open(kit->log, "raw_historical", 0, 0, &kit->historical, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void kit_forget(struct kit *kit)
{
    for (size_t i = 0; i < kit->count; i++)
        free((void *)(uintptr_t)kit->bodies[i].at);
    kit->count = 0;
}

static inline void kit_ask_to_stop(struct kit *kit)
{
    uint64_t one = 1;

    assert_int_equal(write(kit->stop_fd, &one, sizeof one), sizeof one);
}

/* The role's thread is joined: the rest. */
static inline void kit_clean(struct kit *kit)
{
    char command[128];

    kit_ask_to_stop(kit); /* also when capture ended by itself */
    pthread_join(kit->catalog_thread, NULL);
    kit_forget(kit);
    log_reader_close(kit->reader);
    log_reader_close(kit->historical);
    log_close(kit->log);
    (void)close(kit->listener.fd);
    (void)close(kit->stop_fd);
    (void)snprintf(command, sizeof command, "rm -rf %s", kit->folder);
    assert_int_equal(system(command), 0);
}

static inline void kit_join(struct kit *kit)
{
    pthread_join(kit->thread, NULL);
    kit_clean(kit);
}

static inline void kit_stop(struct kit *kit)
{
    kit_ask_to_stop(kit);
    kit_join(kit);
    if (kit->rc != 0)
        fail_msg("the role ended with: %s", kit->err.text);
}

static inline void kit_take_topic(struct kit *kit, enum input input)
{
    struct log_reader *reader = input == INPUT_RAW ? kit->reader : kit->historical;
    struct log_chunk   chunk;
    struct err         err = { 0 };
    int                rc;

    while ((rc = log_reader_next(reader, &chunk, &err)) == 1) {
        struct span body;
        uint64_t    offset;

        assert_int_equal(chunk.kind, LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body)) {
            uint8_t *copy = malloc(body.bytes);

            assert_true(kit->count < KIT_RECORDS_MAX);
            if (input == INPUT_RAW)
                assert_int_equal(offset, kit->next++);
            memcpy(copy, body.at, body.bytes);
            kit->bodies[kit->count] = span_of(copy, body.bytes);
            if (record_read(kit->bodies[kit->count], &kit->records[kit->count], &err) < 0)
                fail_msg("%s", err.text);
            kit->inputs[kit->count++] = input;
        }
    }
    if (rc < 0)
        fail_msg("%s", err.text);
}

/* The records since the last call, of raw first; how many. */
static inline size_t kit_records(struct kit *kit)
{
    kit_forget(kit);
    kit_take_topic(kit, INPUT_RAW);
    kit_take_topic(kit, INPUT_HISTORICAL);
    return kit->count;
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

/* Reads exactly one answer (answers may follow each other). 0: the connection ended first. */
static inline int kit_receive_wait(int fd, struct kit_answer *answer, bool head_only, int wait_ms)
{
    size_t length = 0;
    char  *end = NULL;

    *answer->text = 0;
    answer->bytes = 0;
    answer->status = 0;
    while (end == NULL || answer->bytes < (size_t)(end - answer->text) + length) {
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        size_t        want = end == NULL ? 1 : (size_t)(end - answer->text) + length - answer->bytes;
        ssize_t       got;

        if (poll(&wait, 1, wait_ms) != 1)
            return -1;
        got = recv(fd, answer->text + answer->bytes, want, 0);
        if (got <= 0)
            return 0;
        answer->bytes += (size_t)got;
        answer->text[answer->bytes] = 0;
        if (end == NULL && answer->bytes >= 4 && memcmp(answer->text + answer->bytes - 4, "\r\n\r\n", 4) == 0) {
            char *mark = strstr(answer->text, "\r\ncontent-length: ");

            end = answer->text + answer->bytes;
            if (mark != NULL && !head_only)
                length = strtoul(mark + 18, NULL, 10);
        }
    }
    answer->head = answer->text;
    answer->body = end;
    answer->body_bytes = length;
    answer->status = atoi(answer->text + 9);
    return answer->status;
}

static inline int kit_receive(int fd, struct kit_answer *answer)
{
    return kit_receive_wait(fd, answer, false, 20000);
}

/* What /metrics says of a name without labels of its own, asked on this connection. */
static inline int64_t kit_metric(int fd, const char *name, struct kit_answer *answer)
{
    static const char ask[] = "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n";
    char              line[128];
    char             *at;

    kit_send(fd, ask, sizeof ask - 1);
    assert_int_equal(kit_receive(fd, answer), 200);
    (void)snprintf(line, sizeof line, "\n%s{role=\"capture\"} ", name);
    at = strstr(answer->body, line);
    if (at == NULL)
        fail_msg("no metric %s", name);
    return strtoll(at + strlen(line), NULL, 10);
}

/* Something has come to read: an answer, or the end. */
static inline bool kit_readable(int fd, int wait_ms)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };

    return poll(&wait, 1, wait_ms) == 1;
}

/* One request on a connection of its own. headers: whole lines with CRLF. */
static inline int kit_ask(const struct kit *kit, const char *method, const char *target, const char *headers,
                          struct span body, struct kit_answer *answer)
{
    int    fd = kit_connect(kit);
    char   head[16384];
    size_t bytes = (size_t)snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: t\r\n%sContent-Length: %zu\r\n\r\n", method,
                                    target, headers, body.bytes);
    int    status;

    assert_true(bytes < sizeof head);
    kit_send(fd, head, bytes);
    kit_send(fd, body.at, body.bytes);
    status = kit_receive_wait(fd, answer, strcmp(method, "HEAD") == 0, 20000);
    (void)close(fd);
    return status;
}

#endif
