/* people/pg_relay_test_kit.h - between a store and its server: loses an answer, or keeps a request and delivers it late.
 *
 * One connection at a time, each request (up to its Sync) as one. A request that holds the mark is lost as the plan says:
 * its answer is dropped, it never arrives, or it is kept until relay_deliver; the store's connection breaks each time. */
#ifndef PENSTOCK_PEOPLE_PG_RELAY_TEST_KIT_H
#define PENSTOCK_PEOPLE_PG_RELAY_TEST_KIT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum relay_how { RELAY_ANSWER_LOST, RELAY_REQUEST_LOST, RELAY_REQUEST_LATE };
enum { RELAY_ROOM = 1 << 20, RELAY_PLANS = 2, RELAY_KEPT = 4 };

struct relay_plan { const char *mark; enum relay_how how; int times; };

struct relay {
    int             listener, port, server_port;
    pthread_t       thread;
    pthread_mutex_t lock;
    struct relay_plan plans[RELAY_PLANS]; /* @lock lock */
    struct { int fd; size_t bytes; uint8_t *request; } kept[RELAY_KEPT]; /* @lock lock */
    int             kept_count;
    bool            ended; /* @lock lock */
    uint8_t         request[RELAY_ROOM], answer[RELAY_ROOM];
};

static inline bool relay_send(int fd, const uint8_t *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        at += sent, bytes -= (size_t)sent;
    }
    return true;
}

static inline int relay_connect(const struct relay *relay)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)relay->server_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    return fd;
}

/* Until the server is ready for the next one: then what was asked has happened. */
static inline void relay_until_ready(int server, uint8_t *answer)
{
    size_t bytes = 0;

    for (;;) {
        ssize_t got = recv(server, answer + bytes, RELAY_ROOM - bytes, 0);

        if (got <= 0)
            return;
        bytes += (size_t)got;
        if (bytes >= 6 && memcmp(answer + bytes - 6, "Z\0\0\0\5", 5) == 0)
            return;
        if (bytes > RELAY_ROOM / 2)
            bytes = 0;
    }
}

/* true: the request was lost in some way, and the connection is to break; *server is -1 where it is kept. */
static inline bool relay_lose(struct relay *relay, int *server, size_t bytes)
{
    struct relay_plan *plan = NULL;

    (void)pthread_mutex_lock(&relay->lock);
    for (int i = 0; i < RELAY_PLANS && plan == NULL; i++)
        if (relay->plans[i].times > 0 && memmem(relay->request, bytes, relay->plans[i].mark, strlen(relay->plans[i].mark)) != NULL)
            plan = &relay->plans[i];
    if (plan != NULL) {
        plan->times--;
        if (plan->how == RELAY_ANSWER_LOST && relay_send(*server, relay->request, bytes)) {
            relay_until_ready(*server, relay->answer);
        } else if (plan->how == RELAY_REQUEST_LATE && relay->kept_count < RELAY_KEPT) {
            uint8_t *copy = malloc(bytes);

            if (copy == NULL)
                abort();
            memcpy(copy, relay->request, bytes);
            relay->kept[relay->kept_count].fd = *server;
            relay->kept[relay->kept_count].bytes = bytes;
            relay->kept[relay->kept_count++].request = copy;
            *server = -1;
        }
    }
    (void)pthread_mutex_unlock(&relay->lock);
    return plan != NULL;
}

static inline void relay_pump(struct relay *relay, int client, int server)
{
    size_t bytes = 0;

    for (;;) {
        struct pollfd fds[2] = { { .fd = client, .events = POLLIN }, { .fd = server, .events = POLLIN } };
        ssize_t       got;
        bool          ended;

        (void)pthread_mutex_lock(&relay->lock);
        ended = relay->ended;
        (void)pthread_mutex_unlock(&relay->lock);
        if (ended || poll(fds, 2, 100) < 0)
            break;
        if (fds[1].revents != 0) {
            got = recv(server, relay->answer, RELAY_ROOM, 0);
            if (got <= 0 || !relay_send(client, relay->answer, (size_t)got))
                break;
        }
        if (fds[0].revents != 0) {
            got = recv(client, relay->request + bytes, RELAY_ROOM - bytes, 0);
            if (got <= 0)
                break;
            bytes += (size_t)got;
            if ((relay->request[0] == 'P' || relay->request[0] == 'B') &&
                (bytes < 5 || memcmp(relay->request + bytes - 5, "S\0\0\0\4", 5) != 0))
                continue; /* there is more of it */
            if (relay_lose(relay, &server, bytes) || !relay_send(server, relay->request, bytes))
                break;
            bytes = 0;
        }
    }
    (void)close(client);
    if (server >= 0)
        (void)close(server);
}

static inline void *relay_main(void *arg)
{
    struct relay *relay = arg;

    for (;;) {
        int client = accept(relay->listener, NULL, NULL), server;

        if (client < 0)
            return NULL; /* it was shut down */
        server = relay_connect(relay);
        if (server < 0)
            (void)close(client);
        else
            relay_pump(relay, client, server);
    }
}

/* url: of the server, changed to the relay's. */
static inline struct relay *relay_start(char url[500])
{
    struct relay      *relay = calloc(1, sizeof *relay);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          at_bytes = sizeof at;
    char              *colon = strrchr(url, ':'), rest[200];

    if (relay == NULL || colon == NULL || sscanf(colon, ":%d/%199s", &relay->server_port, rest) != 2)
        abort();
    relay->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (relay->listener < 0 || bind(relay->listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(relay->listener, 8) != 0 ||
        getsockname(relay->listener, (struct sockaddr *)&at, &at_bytes) != 0)
        abort();
    relay->port = ntohs(at.sin_port);
    (void)snprintf(colon, (size_t)(500 - (colon - url)), ":%d/%s", relay->port, rest);
    (void)pthread_mutex_init(&relay->lock, NULL);
    if (pthread_create(&relay->thread, NULL, relay_main, relay) != 0)
        abort();
    return relay;
}

static inline void relay_plan(struct relay *relay, int number, const char *mark, enum relay_how how, int times)
{
    (void)pthread_mutex_lock(&relay->lock);
    relay->plans[number] = (struct relay_plan){ mark, how, times };
    (void)pthread_mutex_unlock(&relay->lock);
}

/* How often the plans are still to be met. */
static inline int relay_left(struct relay *relay)
{
    int left;

    (void)pthread_mutex_lock(&relay->lock);
    left = relay->plans[0].times + relay->plans[1].times;
    (void)pthread_mutex_unlock(&relay->lock);
    return left;
}

/* What was kept arrives now, and has happened when this returns. How many requests that were. */
static inline int relay_deliver(struct relay *relay)
{
    uint8_t *answer = malloc(RELAY_ROOM);
    int      count;

    if (answer == NULL)
        abort();
    (void)pthread_mutex_lock(&relay->lock);
    count = relay->kept_count;
    for (int i = 0; i < count; i++) {
        if (relay_send(relay->kept[i].fd, relay->kept[i].request, relay->kept[i].bytes))
            relay_until_ready(relay->kept[i].fd, answer);
        (void)close(relay->kept[i].fd);
        free(relay->kept[i].request);
    }
    relay->kept_count = 0;
    (void)pthread_mutex_unlock(&relay->lock);
    free(answer);
    return count;
}

static inline void relay_stop(struct relay *relay)
{
    (void)relay_deliver(relay);
    (void)pthread_mutex_lock(&relay->lock);
    relay->ended = true;
    (void)pthread_mutex_unlock(&relay->lock);
    (void)shutdown(relay->listener, SHUT_RDWR);
    (void)pthread_join(relay->thread, NULL);
    (void)close(relay->listener);
    (void)pthread_mutex_destroy(&relay->lock);
    free(relay);
}

#endif
