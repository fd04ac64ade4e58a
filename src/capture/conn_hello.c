/* capture/conn_hello.c - what comes before a connection's first request: a PROXY header, a TLS handshake.
 *
 * A handshake costs the server a signature, which is as much as a hundred requests. So a turn of the loop does a few of
 * them and leaves the others in a line for the next turn: connections that are served already never wait for more than
 * those few, however many strangers knock. */
#include <netinet/in.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "base/say.h"
#include "capture/loop.h"
#include "capture/transport.h"
#include "wire/proxy.h"

static void hello_line_add(struct conn *conn)
{
    struct loop *loop = conn->loop;

    if (conn->hello_waits)
        return;
    conn->hello_waits = true;
    conn->wait_next = NULL; /* free to use: a connection waits for a commit only later in its life */
    conn->wait_prev = loop->hello_last;
    if (loop->hello_last != NULL)
        loop->hello_last->wait_next = conn;
    else
        loop->hello_first = conn;
    loop->hello_last = conn;
}

void conn_hello_leave(struct conn *conn)
{
    struct loop *loop = conn->loop;

    if (!conn->hello_waits)
        return;
    conn->hello_waits = false;
    if (conn->wait_prev != NULL)
        conn->wait_prev->wait_next = conn->wait_next;
    else
        loop->hello_first = conn->wait_next;
    if (conn->wait_next != NULL)
        conn->wait_next->wait_prev = conn->wait_prev;
    else
        loop->hello_last = conn->wait_prev;
}

/* --- TLS ---------------------------------------------------------------------------------------- */

/* Who speaks HTTP on a port of TLS made a mistake that a sentence can mend. */
static void hello_is_plain(struct conn *conn)
{
    struct reply reply = { .status = 400,
                           .type = "text/plain; charset=utf-8",
                           .body = SPAN("this port speaks TLS: send https:// requests to it") };

    capture_count(conn->loop->shared->metrics, CAPTURE_METRIC_TLS_PLAIN, 1);
    conn->close_after = conn->unread = true;
    conn->path = ENDPOINT_PATH_OTHER;
    conn->request_us = conn->loop->mono_us;
    conn_reply(conn, &reply);
}

/* The first byte, left where it is; -1: none is there yet, -2: none will come. */
static int hello_first_byte(const struct conn *conn)
{
    uint8_t first;
    ssize_t got = recv(conn->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

    if (got == 1)
        return first;
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? -1 : -2;
}

/* Before the first byte nothing is made for TLS, so that who only connects costs what he costs without. */
static bool hello_begin(struct conn *conn)
{
    enum { TLS_RECORD_HANDSHAKE = 0x16 };
    int first = hello_first_byte(conn);

    if (first == -1)
        return false;
    if (first >= 'A' && first <= 'Z') {
        hello_is_plain(conn);
        return false;
    }
    if (first == TLS_RECORD_HANDSHAKE && tls_begin(conn) == 0)
        return true;
    if (first != -2)
        capture_count(conn->loop->shared->metrics, CAPTURE_METRIC_TLS_FAILED, 1);
    conn_close(conn);
    return false;
}

static void hello_tls(struct conn *conn)
{
    struct capture_metrics *metrics = conn->loop->shared->metrics;

    if (conn->tls == NULL && !hello_begin(conn))
        return;
    if (conn->loop->hello_left == 0) {
        hello_line_add(conn);
        return;
    }
    conn->loop->hello_left--;
    switch (tls_handshake(conn)) {
    case TLS_MORE:
        return;
    case TLS_FAILED:
        capture_count(metrics, CAPTURE_METRIC_TLS_FAILED, 1);
        conn_close(conn);
        return;
    case TLS_DONE:
        capture_count(metrics, CAPTURE_METRIC_TLS_HANDSHAKES, 1);
        if (SSL_session_reused(conn->tls))
            capture_count(metrics, CAPTURE_METRIC_TLS_RESUMED, 1);
        conn->readable = true; /* the request may have come with the handshake's last bytes */
        conn_set_state(conn, CONN_HEAD);
    }
}

/* --- PROXY -------------------------------------------------------------------------------------- */

void conn_set_peer(struct conn *conn, const struct ip *peer)
{
    conn->ip_bytes = peer == NULL ? 0 : (uint8_t)ip_write(peer, conn->ip);
    conn->trust = (uint8_t)client_ip_trust(&conn->loop->shared->client_ip, peer, conn->proxied);
}

static void proxy_refuse(struct conn *conn, const char *problem)
{
    static struct say_gate gate;

    capture_count(conn->loop->shared->metrics, CAPTURE_METRIC_PROXY_REFUSED, 1);
    say_seldom(&gate, SAY_WARN, "closed a connection of %.*s to %s, which takes PROXY headers: %s", conn->ip_bytes, conn->ip,
               conn->listener->name, problem);
    conn_close(conn);
}

/* The header names another peer: his address counts from here on, and is counted. */
static void proxy_take(struct conn *conn, const struct proxy_header *header)
{
    struct loop            *loop = conn->loop;
    struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
    struct ip               ip;

    if (header->kind == PROXY_INET) {
        struct sockaddr_in6 six = { .sin6_family = AF_INET6 };

        memcpy(&six.sin6_addr, header->source.at, sizeof six.sin6_addr);
        memcpy(&peer, &six, sizeof six);
        conn->proxied = true;
        conn_set_peer(conn, &header->source);
    } else if (header->kind == PROXY_UNIX) {
        conn->proxied = true;
        conn_set_peer(conn, NULL);
    } else { /* the proxy's own: it looks whether we live */
        socklen_t bytes = sizeof peer;

        (void)getpeername(conn->fd, (struct sockaddr *)(void *)&peer, &bytes);
        conn->proxied = true;
        conn_set_peer(conn, ip_of_peer(&peer, &ip) ? &ip : NULL);
    }
    if (addresses_enter(loop->shared->addresses, &peer, loop->mono_us, &conn->address) != ADDRESS_FINE) {
        capture_count(loop->shared->metrics, CAPTURE_METRIC_ADDRESS_REFUSED, 1);
        conn_close(conn);
    }
}

/* Looked at where it lies, so that not a byte of what follows is taken with it. */
static void hello_proxy(struct conn *conn)
{
    struct proxy_header header;
    const char         *problem = "";
    uint8_t            *at = conn->loop->read_buf;
    ssize_t             got = recv(conn->fd, at, PROXY_BYTES_MAX, MSG_PEEK | MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) { /* somebody looked whether the port is open */
        conn_close(conn);
        return;
    }
    switch (proxy_parse(span_of(at, (size_t)got), &header, &problem)) {
    case PROXY_MORE:
        if (conn->ended)
            proxy_refuse(conn, "it ended within the header");
        return;
    case PROXY_WRONG:
        proxy_refuse(conn, problem);
        return;
    case PROXY_DONE:
        if (recv(conn->fd, at, header.bytes, MSG_DONTWAIT) != (ssize_t)header.bytes)
            proxy_refuse(conn, "the header could not be read");
        else
            proxy_take(conn, &header);
    }
}

/* --- the hello ---------------------------------------------------------------------------------- */

bool conn_hello_needed(const struct conn *conn)
{
    return conn->listener->tls || conn->listener->proxy;
}

bool conn_hello(struct conn *conn)
{
    if (conn->listener->proxy && !conn->proxied)
        hello_proxy(conn);
    if (conn->state != CONN_HELLO || (conn->listener->proxy && !conn->proxied))
        return false;
    if (conn->listener->tls) {
        if (!conn->hello_waits)
            hello_tls(conn);
    } else {
        conn->readable = true; /* the request may have come with the header */
        conn_set_state(conn, CONN_HEAD);
    }
    return conn->state == CONN_HEAD;
}

void conn_hello_turn(struct loop *loop)
{
    loop->hello_left = LOOP_HELLOS_MAX;
    while (loop->hello_first != NULL && loop->hello_left > 0) {
        struct conn *conn = loop->hello_first;

        conn_hello_leave(conn);
        conn_on_event(conn, 0);
    }
}

void conn_hello_late(struct conn *conn)
{
    bool proxy = conn->listener->proxy && !conn->proxied;

    capture_count(conn->loop->shared->metrics, proxy ? CAPTURE_METRIC_PROXY_REFUSED : CAPTURE_METRIC_TLS_FAILED, 1);
    conn_close(conn);
}
