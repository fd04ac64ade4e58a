/* capture/listener.c - accepts, a bounded number a turn so that those who are served already are not
 * starved by a flood of newcomers. Out of descriptors: stops listening for a moment instead of being told
 * about the same waiting connection in every turn. */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/say.h"
#include "capture/loop.h"

enum { LISTENER_ACCEPTS_MAX = 64, LISTENER_ACCEPTS_OVERLOAD = 4, LISTENER_ACCEPTS_LOOK = 4, LISTENER_PAUSE_US = 100000, LISTENER_LAST_TURNS = 64,
       LISTENER_REPLY_BYTES = 64 << 10 };

_Static_assert(LOOP_PORTS_MAX <= 64, "ports are few: they are gone through at every start and stop");

/* What a connection takes over from its listening socket: the kernel holds no more than this of replies that nobody
 * reads. Left to itself it would go up to megabytes each, in memory that no setting of ours bounds. */
static void listener_bound_replies(int fd)
{
    int bytes = LISTENER_REPLY_BYTES;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void listener_init(struct loop *loop)
{
    assert(loop->shared->listeners_count <= LOOP_PORTS_MAX);
    for (size_t i = 0; i < loop->shared->listeners_count; i++) {
        listener_bound_replies(loop->shared->listeners[i].fd);
        loop->ports[i] = (struct port){ .from = &loop->shared->listeners[i] };
    }
    listener_start(loop);
}

void listener_start(struct loop *loop)
{
    loop->listen_again_us = 0;
    for (size_t i = 0; i < loop->shared->listeners_count && !loop->draining; i++) {
        struct port       *port = &loop->ports[i];
        struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = port };

        if (port->listening)
            continue;
        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, port->from->fd, &event) == 0)
            port->listening = true;
        else
            say(SAY_ERROR, "cannot listen on %s: %s", port->from->name, strerror(errno));
    }
}

void listener_stop(struct loop *loop)
{
    loop->listen_again_us = 0;
    for (size_t i = 0; i < loop->shared->listeners_count; i++) {
        if (loop->ports[i].listening)
            (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, loop->ports[i].from->fd, NULL);
        loop->ports[i].listening = false;
    }
}

bool listener_owns(const struct loop *loop, const void *ptr)
{
    return (uintptr_t)ptr >= (uintptr_t)loop->ports && (uintptr_t)ptr < (uintptr_t)(loop->ports + LOOP_PORTS_MAX);
}

/* In words, where words can be said at once; a handshake would cost more than what is refused here. */
static void listener_shed(struct loop *loop, const struct role_listener *from, int fd, struct span text)
{
    struct reply reply = { .status = 503,
                           .type = "text/plain; charset=utf-8",
                           .body = text,
                           .retry_after_s = 1,
                           .close = true };

    if (from->tls) {
        (void)close(fd);
        return;
    }
    buf_reset(&loop->out);
    reply_write(&loop->out, &reply, &loop->clock);
    (void)!send(fd, loop->out.at, loop->out.bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* A request that is here already is thrown away: closed over it, the connection would be reset, answer and all. */
    (void)recv(fd, NULL, LOOP_READ_BYTES, MSG_TRUNC | MSG_DONTWAIT);
    (void)close(fd);
}

static void listener_take(struct loop *loop, const struct role_listener *from, int fd, const struct sockaddr_storage *peer)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
    struct conn       *conn;
    int                one = 1;
    struct address    *address = NULL;
    struct ip          ip;
    bool               known = ip_of_peer(peer, &ip);

    if (loop->conn_count >= loop->shared->connections_max) {
        listener_shed(loop, from, fd, SPAN("service unavailable: too many connections"));
        capture_count(loop->shared->metrics, CAPTURE_METRIC_CONNECTIONS_SHED, 1);
        return;
    }
    if (from->proxy && !client_ip_may_proxy(&loop->shared->client_ip, known ? &ip : NULL)) {
        (void)close(fd);
        capture_count(loop->shared->metrics, CAPTURE_METRIC_PROXY_REFUSED, 1);
        return;
    }
    /* A proxy's connections are counted when it has said whose they are: conn_hello.c. */
    if (!from->proxy && addresses_enter(loop->shared->addresses, peer, loop->mono_us, &address) != ADDRESS_FINE) {
        listener_shed(loop, from, fd, SPAN("service unavailable: too many connections from your address"));
        capture_count(loop->shared->metrics, CAPTURE_METRIC_ADDRESS_REFUSED, 1);
        return;
    }
    if (!from->local)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn = conn_new(loop, from, fd);
    if (conn == NULL) {
        addresses_leave(loop->shared->addresses, address);
        return;
    }
    conn->address = address;
    conn_set_peer(conn, known ? &ip : NULL);
    event.data.ptr = conn;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        conn_close(conn);
    capture_count(loop->shared->metrics, CAPTURE_METRIC_CONNECTIONS_TOTAL, 1);
}

void listener_end(struct loop *loop, bool refuse)
{
    for (size_t i = 0; i < loop->shared->listeners_count; i++) {
        struct port *port = &loop->ports[i];

        for (int turns = 0; port->listening && turns < LISTENER_LAST_TURNS; turns++) {
            port->accepts_left = LISTENER_ACCEPTS_MAX;
            listener_on_ready(loop, port);
        }
        if (refuse)
            (void)shutdown(port->from->fd, SHUT_RDWR);
    }
    listener_stop(loop);
}

void listener_turn(struct loop *loop)
{
    for (size_t i = 0; i < loop->shared->listeners_count; i++)
        loop->ports[i].accepts_left = loop->level >= PRESSURE_NEWCOMERS ? LISTENER_ACCEPTS_OVERLOAD : LISTENER_ACCEPTS_MAX;
}

void listener_on_ready(struct loop *loop, void *ptr)
{
    static struct say_gate gate;
    struct port           *port = ptr;
    int                    accepts = loop->look.in_work != NULL ? LISTENER_ACCEPTS_LOOK : LISTENER_ACCEPTS_MAX;

    for (; accepts > 0 && port->accepts_left > 0; accepts--, port->accepts_left--) {
        struct sockaddr_storage peer = { 0 };
        socklen_t               bytes = sizeof peer;
        int fd = accept4(port->from->fd, (struct sockaddr *)(void *)&peer, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            listener_take(loop, port->from, fd, &peer);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN) { /* EMFILE, ENFILE, ENOBUFS, ENOMEM */
            say_seldom(&gate, SAY_WARN, "cannot accept connections for a moment: %s", strerror(errno));
            listener_stop(loop);
            loop->listen_again_us = loop->mono_us + LISTENER_PAUSE_US;
        }
        return;
    }
}
