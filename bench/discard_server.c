/* bench/discard_server.c - the floor: one thread, epoll, reads by Content-Length, throws away, answers.
 *
 * Does nothing that a server must do for safety; it shows what the system calls alone cost here.
 * usage: discard_server PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS_MAX = 4096, BODY_MAX = 1 << 18, EVENTS_MAX = 256 };

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
                             "{\"status\":\"Ok\"}";

struct conn { char *at; size_t have, need; };
static struct conn conns[CONNS_MAX]; /* by file descriptor */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* True when the request in the buffer is whole; fills need once the head is there. */
static int conn_whole(struct conn *conn)
{
    if (conn->need == 0) {
        char *end = memmem(conn->at, conn->have, "\r\n\r\n", 4), *length;

        if (end == NULL)
            return 0;
        *end = '\0';
        length = strcasestr(conn->at, "content-length:");
        conn->need = (size_t)(end + 4 - conn->at) + (length == NULL ? 0 : strtoul(length + 15, NULL, 10));
        if (conn->need > BODY_MAX)
            die("body too large for the yardstick");
    }
    return conn->have >= conn->need;
}

static void conn_readable(int ep, int fd)
{
    struct conn *conn = &conns[fd];
    ssize_t      got = read(fd, conn->at + conn->have, BODY_MAX - conn->have);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
        close(fd);
        conn->have = conn->need = 0;
        return;
    }
    conn->have += (size_t)got;
    if (conn_whole(conn)) {
        if (write(fd, answer, sizeof answer - 1) < 0 && errno != EPIPE && errno != ECONNRESET)
            die("write");
        conn->have = conn->need = 0;
    }
}

int main(int argc, char **argv)
{
    int                one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event = { .events = EPOLLIN }, events[EVENTS_MAX];

    if (argc != 2)
        return 2;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0)
        die("listen");
    event.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(ep, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd != listener) {
                conn_readable(ep, fd);
                continue;
            }
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0 || fd >= CONNS_MAX) {
                if (fd >= 0)
                    close(fd);
                continue;
            }
            if (conns[fd].at == NULL && (conns[fd].at = malloc(BODY_MAX + 1)) == NULL)
                die("malloc");
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event = (struct epoll_event){ .events = EPOLLIN, .data.fd = fd };
            epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
