/* load/query_client.c - the asking side of load/query_socket.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "load/query_socket.h"

enum { PIECE_BYTES_MAX = 1 << 30 };

/* How long one call waits for the other side; 0: as long as it takes. A connection is made by connect(), which waits as sending does. */
static void patience_set(int fd, int ms)
{
    struct timeval patience = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static int not_heard(int heard_ms, struct err *err)
{
    return err_set(err, ERR_RETRY, "the role load has not heard a question for %d s: its process stands still, or the machine has no time for it",
                   (heard_ms + 999) / 1000);
}

/* 108 bytes are what the kernel takes for a path; a longer run folder is told. */
static int connect_to(const char *run_folder, int heard_ms, struct err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int                fd;

    if (snprintf(address.sun_path, sizeof address.sun_path, "%s/" QUERY_SOCKET_NAME, run_folder) >=
        (int)sizeof address.sun_path)
        return err_set(err, ERR_INPUT, "%s/" QUERY_SOCKET_NAME " is longer than a socket's path can be (%zu bytes)",
                       run_folder, sizeof address.sun_path - 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "no socket");
    patience_set(fd, heard_ms);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        if (errno == EAGAIN)
            (void)not_heard(heard_ms, err);
        else
            err_set(err, ERR_RETRY, "nobody answers queries at %s: %s", address.sun_path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static int send_all(int fd, const void *bytes, size_t count, struct err *err)
{
    const uint8_t *at = bytes;

    while (count > 0) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return err_set(err, ERR_RETRY, "the query could not be sent: %s", strerror(errno));
        at += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static int receive_all(int fd, void *to, size_t count, struct err *err)
{
    uint8_t *at = to;

    while (count > 0) {
        ssize_t got = recv(fd, at, count, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set(err, ERR_RETRY, "the answer was cut off: what came so far is not all of it");
        at += got;
        count -= (size_t)got;
    }
    return 0;
}

/* Whether something comes within the patience that is set; then the rest may take its time. */
static bool heard(int fd)
{
    uint8_t first;
    ssize_t got;

    do {
        got = recv(fd, &first, 1, MSG_PEEK);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return false;
    patience_set(fd, 0);
    return true;
}

/* Passes the pieces on until the answer ends. */
static int receive_answer(int fd, struct buf *piece, warehouse_write *write, void *ctx, struct err *err)
{
    for (;;) {
        uint8_t head[5];
        size_t  bytes;

        if (receive_all(fd, head, sizeof head, err) < 0)
            return -1;
        bytes = bytes_get_u32(head + 1);
        buf_reset(piece);
        if (bytes > 0 && buf_reserve(piece, bytes) == NULL)
            return err_set(err, ERR_FULL, "no memory for a piece of %zu bytes", bytes);
        if (bytes > 0 && receive_all(fd, piece->at, bytes, err) < 0)
            return -1;
        if (head[0] == 'z')
            return 0;
        if (head[0] == 'e')
            return err_set(err, bytes > 0 ? (enum err_kind)piece->at[0] : ERR_STOP, "%.*s",
                           bytes > 0 ? (int)bytes - 1 : 0, (const char *)piece->at + 1);
        if (bytes > 0 && write(ctx, span_of(piece->at, bytes), err) < 0)
            return -1;
    }
}

int query_ask_within(const char *run_folder, int heard_ms, const char *sql, enum warehouse_format format, warehouse_write *write, void *ctx,
                     struct err *err)
{
    uint8_t    head[9];
    size_t     bytes = strlen(sql);
    struct buf piece;
    struct err unsent;
    int        fd, rc;

    if (bytes > QUERY_SQL_BYTES_MAX)
        return err_set(err, ERR_INPUT, "a statement may have %d bytes", QUERY_SQL_BYTES_MAX);
    fd = connect_to(run_folder, heard_ms, err);
    if (fd < 0)
        return -1;
    buf_init(&piece, PIECE_BYTES_MAX);
    bytes_put_u32(head, QUERY_MAGIC);
    head[4] = (uint8_t)format;
    bytes_put_u32(head + 5, (uint32_t)bytes);
    /* A server with no place left answers before it has read: its answer counts, not our failed send. */
    if (send_all(fd, head, sizeof head, &unsent) < 0 || send_all(fd, sql, bytes, &unsent) < 0)
        shutdown(fd, SHUT_WR);
    rc = heard(fd) ? receive_answer(fd, &piece, write, ctx, err) : not_heard(heard_ms, err);
    buf_fini(&piece);
    close(fd);
    return rc;
}

int query_ask(const char *run_folder, const char *sql, enum warehouse_format format, warehouse_write *write, void *ctx,
              struct err *err)
{
    return query_ask_within(run_folder, QUERY_HEARD_MS, sql, format, write, ctx, err);
}

bool query_served(const char *run_folder)
{
    struct err ignored;
    int        fd = connect_to(run_folder, QUERY_HEARD_MS, &ignored);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}
