/* capture/tls_conn.c - one connection's TLS: its handshake, its records.
 *
 * The loop's epoll is edge-triggered: it tells of a socket once. So receiving goes on until OpenSSL asks for more bytes
 * than there are, and sending until the socket is full: stopping half-way would wait for an event that was already given.
 * A connection on which OpenSSL has failed is only closed: saying goodbye on it is an error of its own. */
#include <openssl/err.h>

#include "capture/loop.h"
#include "capture/transport.h"

int tls_begin(struct conn *conn)
{
    struct loop *loop = conn->loop;
    SSL_CTX     *context = loop->shared->tls != NULL ? tls_current(loop->shared->tls, &loop->tls) : NULL;

    if (context == NULL)
        return -1;
    conn->tls = SSL_new(context);
    if (conn->tls == NULL || SSL_set_fd(conn->tls, conn->fd) != 1) {
        SSL_free(conn->tls);
        conn->tls = NULL;
        ERR_clear_error();
        return -1;
    }
    loop->memory += LOOP_TLS_BYTES;
    SSL_set_accept_state(conn->tls);
    return 0;
}

enum tls_answer tls_handshake(struct conn *conn)
{
    int rc, why;

    ERR_clear_error();
    rc = SSL_do_handshake(conn->tls);
    if (rc == 1)
        return TLS_DONE;
    why = SSL_get_error(conn->tls, rc);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return TLS_MORE;
    conn->tls_broken = true;
    ERR_clear_error();
    return TLS_FAILED;
}

ssize_t tls_receive(struct conn *conn, uint8_t *at, size_t room)
{
    size_t total = 0;

    while (total < room) {
        size_t got = 0;
        int    rc, why;

        ERR_clear_error();
        rc = SSL_read_ex(conn->tls, at + total, room - total, &got);
        if (rc == 1) {
            total += got;
            continue;
        }
        why = SSL_get_error(conn->tls, rc);
        conn->readable = why != SSL_ERROR_WANT_READ;
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
            return total > 0 ? (ssize_t)total : TRANSPORT_AGAIN;
        if (why == SSL_ERROR_ZERO_RETURN)
            return (ssize_t)total; /* after bytes: the next call says it again */
        conn->tls_broken = true;
        ERR_clear_error();
        return total > 0 ? (ssize_t)total : TRANSPORT_BROKEN;
    }
    conn->readable = true;
    return (ssize_t)total;
}

ssize_t tls_send(struct conn *conn, struct span bytes)
{
    size_t total = 0;

    while (total < bytes.bytes) {
        size_t sent = 0;
        int    rc, why;

        ERR_clear_error();
        rc = SSL_write_ex(conn->tls, bytes.at + total, bytes.bytes - total, &sent);
        if (rc == 1) {
            total += sent;
            continue;
        }
        why = SSL_get_error(conn->tls, rc);
        if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ)
            break;
        conn->tls_broken = true;
        ERR_clear_error();
        return TRANSPORT_BROKEN;
    }
    return (ssize_t)total;
}

void tls_finish(struct conn *conn)
{
    if (conn->tls_broken || !SSL_is_init_finished(conn->tls) ||
        (SSL_get_shutdown(conn->tls) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    if (SSL_shutdown(conn->tls) < 0)
        ERR_clear_error();
}

void tls_end(struct conn *conn)
{
    if (conn->tls == NULL)
        return;
    tls_finish(conn);
    SSL_free(conn->tls);
    conn->tls = NULL;
    conn->loop->memory -= LOOP_TLS_BYTES;
}
