/* load/query_socket.c - the serving side: queries beside the loader, each in a thread of its own.
 *
 * A query is a matter of seconds and there are few of them, so a thread each is the plain choice: the
 * engine's calls block. What must not block is the end of it: the accepting thread watches every client,
 * and one that hangs up, or takes longer than its time, has its query cancelled; shutting down its socket
 * wakes a thread that is stuck in sending to it. */
#include "load/query_socket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/say.h"

/* More places than queries: one that was answered keeps its place until its thread is joined. */
enum { TURN_MS = 200, LISTEN_BACKLOG = 64, REQUEST_TIME_S = 5, CLIENTS_MAX = 2 * QUERIES_MAX };

struct client {
    struct query_socket *server;
    pthread_t            thread;
    int                  fd;          /* -1: this place is free. Opened and closed by the accepting thread */
    int64_t              deadline_us; /* @thread accepting */
    const char          *why;         /* @thread accepting, before `cancel` */
    atomic_bool          cancel;
    atomic_bool          over;        /* the thread has nothing left to do: join it */
};

struct query_socket {
    struct query_socket_options options; /* fixed after start */
    int                         listen_fd, wake[2];
    char                        path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    pthread_t                   thread;
    atomic_bool                 stop;
    atomic_ullong               answered, failed;
    atomic_uint                 running; /* accepted and not yet answered */
    struct client               clients[CLIENTS_MAX];
};

/* --- one query --------------------------------------------------------------------------------- */

static int send_piece(int fd, uint8_t kind, const uint8_t *prefix, size_t prefix_bytes, struct span body)
{
    uint8_t      head[6];
    struct iovec parts[2] = { { head, 5 + prefix_bytes }, { (void *)(uintptr_t)body.at, body.bytes } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

    assert(prefix_bytes <= 1);
    head[0] = kind;
    bytes_put_u32(head + 1, (uint32_t)(prefix_bytes + body.bytes));
    if (prefix_bytes > 0)
        head[5] = prefix[0];
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        size_t  first;

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        first = (size_t)sent < parts[0].iov_len ? (size_t)sent : parts[0].iov_len;
        parts[0].iov_base = (uint8_t *)parts[0].iov_base + first;
        parts[0].iov_len -= first;
        parts[1].iov_base = (uint8_t *)parts[1].iov_base + ((size_t)sent - first);
        parts[1].iov_len -= (size_t)sent - first;
    }
    return 0;
}

static void send_error(int fd, const struct err *err)
{
    uint8_t kind = (uint8_t)err->kind;

    (void)send_piece(fd, 'e', &kind, 1, span_text(err->text)); /* a client that is gone needs no answer */
}

static int write_piece(void *ctx, struct span piece, struct err *err)
{
    const struct client *client = ctx;

    if (send_piece(client->fd, 'd', NULL, 0, piece) < 0)
        return err_set(err, ERR_RETRY, "the client went away");
    return 0;
}

static bool receive_all(int fd, void *to, size_t count)
{
    uint8_t *at = to;

    while (count > 0) {
        ssize_t got = recv(fd, at, count, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        count -= (size_t)got;
    }
    return true;
}

/* The query's text (freed by the caller), or NULL. */
static char *receive_request(int fd, enum warehouse_format *format_out, struct err *err)
{
    uint8_t  head[9];
    uint32_t bytes;
    char    *sql;

    err_set(err, ERR_INPUT, "this is no query of Penstock's");
    if (!receive_all(fd, head, sizeof head) || bytes_get_u32(head) != QUERY_MAGIC || head[4] > WAREHOUSE_TABLE)
        return NULL;
    bytes = bytes_get_u32(head + 5);
    if (bytes > QUERY_SQL_BYTES_MAX)
        return NULL;
    sql = malloc((size_t)bytes + 1);
    if (sql == NULL || !receive_all(fd, sql, bytes)) {
        free(sql);
        return NULL;
    }
    sql[bytes] = '\0';
    *format_out = head[4];
    return sql;
}

static void *client_run(void *at)
{
    struct client        *client = at;
    struct query_socket  *server = client->server;
    enum warehouse_format format = WAREHOUSE_CSV;
    struct err            err = { .text = "" };
    char                 *sql = receive_request(client->fd, &format, &err);

    if (sql != NULL)
        (void)send_piece(client->fd, 'd', NULL, 0, SPAN("")); /* heard: from now on it waits as long as the query takes */
    bool answered = sql != NULL && server->options.run(server->options.ctx, sql, format, write_piece, client,
                                                       &client->cancel, &err) == 0;

    /* Before the last piece goes out: who has it may ask the next query. */
    atomic_fetch_sub(&server->running, 1);
    atomic_fetch_add(answered ? &server->answered : &server->failed, 1);
    if (answered) {
        (void)send_piece(client->fd, 'z', NULL, 0, SPAN(""));
    } else {
        if (atomic_load(&client->cancel))
            err_set(&err, ERR_RETRY, "%s", client->why);
        send_error(client->fd, &err);
    }
    free(sql);
    atomic_store(&client->over, true);
    (void)!write(server->wake[1], "", 1); /* full: it wakes anyway */
    return NULL;
}

/* --- the accepting thread ---------------------------------------------------------------------- */

static void client_cancel(struct client *client, const char *why)
{
    if (atomic_load(&client->cancel))
        return;
    client->why = why;
    atomic_store(&client->cancel, true);
}

static void client_end(struct client *client)
{
    pthread_join(client->thread, NULL);
    close(client->fd);
    client->fd = -1;
}

static void accept_one(struct query_socket *server)
{
    struct timeval  patience = { .tv_sec = REQUEST_TIME_S };
    struct client  *client = NULL;
    struct err      err;
    int             fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    for (unsigned i = 0; i < CLIENTS_MAX && client == NULL && atomic_load(&server->running) < server->options.queries_max; i++)
        if (server->clients[i].fd < 0)
            client = &server->clients[i];
    if (client == NULL) {
        err_set(&err, ERR_RETRY, "%u queries are running, which is as many as load.queries allows: try again soon",
                server->options.queries_max);
        send_error(fd, &err);
        close(fd);
        return;
    }
    /* Only for the request: sending may wait as long as the query's time lasts. */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    client->fd = fd;
    client->why = "";
    client->deadline_us = clock_mono_us() + server->options.time_us_max;
    atomic_store(&client->cancel, false);
    atomic_store(&client->over, false);
    atomic_fetch_add(&server->running, 1);
    if (pthread_create(&client->thread, NULL, client_run, client) != 0) {
        atomic_fetch_sub(&server->running, 1);
        close(fd);
        client->fd = -1;
    }
}

static void watch_client(struct query_socket *server, struct client *client, short seen, int64_t now_us)
{
    if (atomic_load(&client->over)) {
        client_end(client);
        return;
    }
    if ((seen & (POLLERR | POLLHUP)) != 0)
        client_cancel(client, "the client went away");
    if (atomic_load(&server->stop))
        client_cancel(client, "Penstock is stopping");
    if (now_us < client->deadline_us)
        return;
    client_cancel(client, "the query took longer than load.query_time allows");
    /* It had a while to end by itself and is stuck in sending. */
    if (now_us > client->deadline_us + 5000000)
        shutdown(client->fd, SHUT_RDWR);
}

/* True while any client is there, or may be. Only who is there is polled: poll(2) refuses more entries than a process may have files open, also
 * those that say -1. */
static bool socket_turn(struct query_socket *server)
{
    struct pollfd  watched[CLIENTS_MAX + 2];
    struct client *whose[CLIENTS_MAX];
    size_t         there = 0;
    bool           any = false;
    char           drained[64];

    watched[0] = (struct pollfd){ atomic_load(&server->stop) ? -1 : server->listen_fd, POLLIN, 0 };
    watched[1] = (struct pollfd){ server->wake[0], POLLIN, 0 };
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (server->clients[i].fd >= 0) {
            /* Not POLLRDHUP: a client that has nothing more to say still listens. A cancelled one is known. */
            watched[there + 2] = (struct pollfd){ atomic_load(&server->clients[i].cancel) ? -1 : server->clients[i].fd, 0, 0 };
            whose[there++] = &server->clients[i];
        }
    if (poll(watched, there + 2, TURN_MS) < 0)
        return true; /* a signal, or no memory: nothing is known of anybody */
    if ((watched[1].revents & POLLIN) != 0)
        (void)!read(server->wake[0], drained, sizeof drained);
    for (size_t i = 0; i < there; i++) {
        watch_client(server, whose[i], watched[i + 2].revents, clock_mono_us());
        any = any || whose[i]->fd >= 0;
    }
    if ((watched[0].revents & POLLIN) != 0) {
        accept_one(server);
        any = true; /* stopped meanwhile, the next turn ends it */
    }
    return any;
}

static void *socket_run(void *at)
{
    struct query_socket *server = at;
    bool                 any = true;

    while (!atomic_load(&server->stop) || any) {
        if (atomic_load(&server->stop)) /* those who are stuck in sending would stay for their whole time */
            for (unsigned i = 0; i < CLIENTS_MAX; i++)
                if (server->clients[i].fd >= 0)
                    shutdown(server->clients[i].fd, SHUT_RDWR);
        any = socket_turn(server);
    }
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------- */

/* Binds under a name of its own and renames it: whoever finds the socket finds it listening, and one that
 * a killed process left behind is replaced. */
static int listen_at(struct query_socket *server, struct err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int                fd;

    if (snprintf(server->path, sizeof server->path, "%s/" QUERY_SOCKET_NAME, server->options.run_folder) + 4 >=
        (int)sizeof server->path)
        return err_set(err, ERR_INPUT, "%s: the path is too long for a socket in it", server->options.run_folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%.*s.new", (int)sizeof address.sun_path - 5, server->path);
    unlink(address.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, errno, "no socket");
    server->listen_fd = fd;
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || chmod(address.sun_path, 0600) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0 || rename(address.sun_path, server->path) < 0)
        return err_errno(err, errno, "%s", server->path);
    return 0;
}

static void socket_free(struct query_socket *server)
{
    for (int i = 0; i < 2; i++)
        if (server->wake[i] >= 0)
            close(server->wake[i]);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    free(server);
}

int query_socket_open(const struct query_socket_options *options, struct query_socket **out, struct err *err)
{
    struct query_socket *server = calloc(1, sizeof *server);
    int                  failed;

    assert(options->queries_max >= 1 && options->queries_max <= QUERIES_MAX);
    if (server == NULL)
        return err_set(err, ERR_FULL, "no memory for the query socket");
    server->options = *options;
    server->listen_fd = server->wake[0] = server->wake[1] = -1;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        server->clients[i].server = server;
        server->clients[i].fd = -1;
    }
    if (pipe2(server->wake, O_CLOEXEC | O_NONBLOCK) < 0) {
        err_errno(err, errno, "no pipe");
        goto fail;
    }
    if (listen_at(server, err) < 0)
        goto fail;
    failed = pthread_create(&server->thread, NULL, socket_run, server);
    if (failed != 0) {
        err_errno(err, failed, "no thread for queries");
        goto fail;
    }
    *out = server;
    return 0;
fail:
    socket_free(server);
    return -1;
}

void query_socket_close(struct query_socket *server)
{
    if (server == NULL)
        return;
    unlink(server->path);
    atomic_store(&server->stop, true);
    (void)!write(server->wake[1], "", 1);
    pthread_join(server->thread, NULL);
    socket_free(server);
}

void query_socket_counts(struct query_socket *server, uint64_t *answered_out, uint64_t *failed_out)
{
    *answered_out = atomic_load(&server->answered);
    *failed_out = atomic_load(&server->failed);
}
