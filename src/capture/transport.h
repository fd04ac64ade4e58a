/* capture/transport.h - how a connection's bytes go to and from its socket: as they are, or through TLS.
 *
 * A branch and not a table of functions: nearly every connection of a loop is of one kind, so the branch is foretold,
 * and the plain way stays the two calls into the kernel that it always was. */
#ifndef PENSTOCK_CAPTURE_TRANSPORT_H
#define PENSTOCK_CAPTURE_TRANSPORT_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "capture/conn.h"

enum { TRANSPORT_AGAIN = -1, TRANSPORT_BROKEN = -2 };

/* tls_conn.c: the same two for a connection whose handshake is done. */
ssize_t tls_receive(struct conn *conn, uint8_t *at, size_t room);
ssize_t tls_send(struct conn *conn, struct span bytes);
/* Says goodbye, as far as the socket takes it: what follows would be cut off. */
void tls_finish(struct conn *conn);

/* How many bytes came; 0: the peer has ended; AGAIN: none are there now; BROKEN. When bytes came, conn->readable says
 * whether there may be more. */
static inline ssize_t transport_receive(struct conn *conn, uint8_t *at, size_t room)
{
    ssize_t got;

    if (conn->tls != NULL)
        return tls_receive(conn, at, room);
    do
        got = recv(conn->fd, at, room, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? TRANSPORT_AGAIN : TRANSPORT_BROKEN;
    conn->readable = (size_t)got == room;
    return got;
}

/* The same for bytes that nobody reads, `bytes` of them at most: a plain socket throws them away where they are, which
 * costs a tenth of copying them. at, room: for those that must be unpacked first. */
static inline ssize_t transport_skip(struct conn *conn, size_t bytes, uint8_t *at, size_t room)
{
    ssize_t got;

    if (conn->tls != NULL || conn->listener->local)
        return transport_receive(conn, at, bytes < room ? bytes : room);
    do
        got = recv(conn->fd, NULL, bytes, MSG_DONTWAIT | MSG_TRUNC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? TRANSPORT_AGAIN : TRANSPORT_BROKEN;
    conn->readable = (size_t)got == bytes;
    return got;
}

/* How many bytes were taken: fewer than all of them only when the socket is full. BROKEN. */
static inline ssize_t transport_send(struct conn *conn, struct span bytes)
{
    ssize_t sent;

    if (conn->tls != NULL)
        return tls_send(conn, bytes);
    do
        sent = send(conn->fd, bytes.at, bytes.bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM ? 0 : TRANSPORT_BROKEN;
}

/* Nothing more will be sent. */
static inline void transport_finish(struct conn *conn)
{
    if (conn->tls != NULL)
        tls_finish(conn);
    (void)shutdown(conn->fd, SHUT_WR);
}

#endif
