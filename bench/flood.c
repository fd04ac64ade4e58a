/* bench/flood.c - clients that do not wait: requests at a rate, answered or not; and those who hold connections.
 *
 * usage: flood open [-z] [-w SECONDS] PORT PATH FILE.bodies CONNS SECONDS RATE [NEWCOMERS]
 *        flood hold head|body|read|idle PORT COUNT SECONDS [RATE]
 *        flood churn PORT RATE SECONDS
 *   open   an open loop: RATE requests a second (bodies as bench/bodies.py writes them) are due, whatever became of the
 *          earlier ones, on as many of CONNS connections as it takes; -z: the bodies are gzip; -w: what falls into the
 *          first seconds is not counted; NEWCOMERS: every so many-th request comes on a new connection (0: none)
 *   hold   COUNT connections that drip: a byte of a head, a byte of a body, or of what they read, a second; or that say
 *          nothing after one request. Who is closed comes again; RATE connections a second are made (1000), no more
 *   churn  RATE connections a second: one request, then closed
 * Prints one JSON object. Times of answers are from when a request was due. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 20000, EVENTS_MAX = 512, BODIES_MAX = 4096, TIMES_MAX = 1 << 22 };

struct request { char *at; size_t bytes; };
struct conn {
    int     fd;
    bool    busy, fresh, counted;
    size_t  request, sent, answer_bytes;
    int64_t due_us, opened_us, drip_us;
    char    answer[1024];
};
struct times { uint32_t *at; size_t count; };

static struct request     requests[BODIES_MAX];
static size_t             request_count, request_turn;
static struct conn       *conns;
static struct sockaddr_in address = { .sin_family = AF_INET };
static int                ep;
static struct times       taken, shed, late; /* late: requests begun behind their time, which is the load's own doing */
static int                receive_bytes; /* 0: as the kernel likes */
static uint64_t           broken, unsent, opened, closed, refused;

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void times_add(struct times *times, int64_t us)
{
    if (times->at == NULL && (times->at = malloc(TIMES_MAX * sizeof *times->at)) == NULL)
        die("malloc");
    if (times->count < TIMES_MAX)
        times->at[times->count++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int times_compare(const void *a, const void *b)
{
    return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

static unsigned times_at(struct times *times, unsigned percent)
{
    if (times->count == 0)
        return 0;
    qsort(times->at, times->count, sizeof *times->at, times_compare);
    return times->at[(times->count - 1) * percent / 100];
}

static void requests_read(const char *name, const char *path, bool packed)
{
    FILE    *file = fopen(name, "rb");
    uint32_t bytes;

    if (file == NULL)
        die(name);
    while (fread(&bytes, sizeof bytes, 1, file) == 1 && request_count < BODIES_MAX) {
        struct request *request = &requests[request_count++];
        int             head;

        request->at = malloc(bytes + 512u);
        if (request->at == NULL)
            die("malloc");
        head = snprintf(request->at, 512, "POST %s HTTP/1.1\r\nHost: flood\r\nContent-Type: application/json\r\n%sContent-Length: %u\r\n\r\n",
                        path, packed ? "Content-Encoding: gzip\r\n" : "", bytes);
        if (fread(request->at + head, 1, bytes, file) != bytes)
            die("short bodies file");
        request->bytes = (size_t)head + bytes;
    }
    fclose(file);
}

static bool conn_open(struct conn *conn)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = conn };
    int                one = 1;

    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return false;
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (receive_bytes > 0)
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (connect(conn->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        (void)close(conn->fd);
        conn->fd = -1;
        return false;
    }
    opened++;
    conn->opened_us = now_us();
    conn->fresh = true;
    return epoll_ctl(ep, EPOLL_CTL_ADD, conn->fd, &event) == 0;
}

static void conn_drop(struct conn *conn)
{
    if (conn->fd >= 0)
        (void)close(conn->fd);
    conn->fd = -1;
    conn->busy = false;
}

/* --- an open loop ------------------------------------------------------------------------------ */

static void conn_write(struct conn *conn)
{
    const struct request *request = &requests[conn->request];
    ssize_t               put;

    while (conn->busy && conn->sent < request->bytes) {
        put = send(conn->fd, request->at + conn->sent, request->bytes - conn->sent, MSG_NOSIGNAL);
        if (put < 0)
            return; /* full, not connected yet, or broken: reading tells */
        conn->sent += (size_t)put;
    }
}

static void conn_answered(struct conn *conn)
{
    int64_t took = now_us() - conn->due_us;
    bool    close = strcasestr(conn->answer, "\r\nconnection: close") != NULL;

    if (conn->counted) {
        if (strncmp(conn->answer, "HTTP/1.1 200", 12) == 0)
            times_add(&taken, took);
        else if (strncmp(conn->answer, "HTTP/1.1 503", 12) == 0 || strncmp(conn->answer, "HTTP/1.1 429", 12) == 0)
            times_add(&shed, took);
        else
            broken++;
    }
    conn->busy = false;
    if (close || conn->sent < requests[conn->request].bytes)
        conn_drop(conn);
}

static void conn_read(struct conn *conn)
{
    for (;;) {
        ssize_t got = recv(conn->fd, conn->answer + conn->answer_bytes, sizeof conn->answer - 1 - conn->answer_bytes, 0);
        char   *end, *length;

        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            broken += conn->busy && conn->counted;
            conn_drop(conn);
            return;
        }
        conn->answer_bytes += (size_t)got;
        conn->answer[conn->answer_bytes] = 0;
        end = strstr(conn->answer, "\r\n\r\n");
        length = strcasestr(conn->answer, "content-length:");
        if (conn->busy && end != NULL &&
            conn->answer_bytes >= (size_t)(end + 4 - conn->answer) + (length ? strtoul(length + 15, NULL, 10) : 0)) {
            conn_answered(conn);
            return;
        }
    }
}

static void open_begin(struct conn *conn, int64_t due_us, bool counted)
{
    conn->busy = true;
    conn->counted = counted;
    conn->request = request_turn++ % request_count;
    conn->sent = conn->answer_bytes = 0;
    conn->due_us = due_us;
    if (conn->fd < 0 && !conn_open(conn)) {
        broken += counted;
        conn_drop(conn);
        return;
    }
    conn_write(conn);
}

/* Until something happens or the next request is due: a wait of whole milliseconds began each half of one late. */
static int open_wait(struct epoll_event *events, int64_t due_us)
{
    int64_t         us = due_us - now_us();
    struct timespec limit = { .tv_nsec = us <= 0 ? 0 : us < 1000 ? us * 1000 : 1000000 };

    return epoll_pwait2(ep, events, EVENTS_MAX, &limit, NULL);
}

static int open_run(unsigned count, double seconds, double rate, double skip, unsigned newcomers)
{
    struct epoll_event events[EVENTS_MAX];
    unsigned          *idle = malloc(count * sizeof *idle);
    unsigned           idle_count = count;
    int64_t            start = now_us(), end = start + (int64_t)(seconds * 1e6), counted_from = start + (int64_t)(skip * 1e6);
    uint64_t           begun = 0, counted = 0;
    struct rusage      used;

    for (unsigned i = 0; i < count; i++)
        idle[i] = count - 1 - i;
    for (;;) {
        int64_t now = now_us();
        int     ready;

        while (now < end) {
            int64_t due = start + (int64_t)((double)begun * 1e6 / rate);
            bool    counts = due >= counted_from;

            if (due > now)
                break;
            begun++;
            counted += counts;
            if (idle_count == 0) {
                unsent += counts;
                continue;
            }
            if (counts)
                times_add(&late, now - due);
            struct conn *conn = &conns[idle[--idle_count]];

            if (newcomers != 0 && begun % newcomers == 0)
                conn_drop(conn);
            open_begin(conn, due, counts);
            if (!conn->busy)
                idle[idle_count++] = (unsigned)(conn - conns);
        }
        if (now >= end + 3000000 || (now >= end && idle_count == count))
            break;
        ready = open_wait(events, start + (int64_t)((double)begun * 1e6 / rate));
        for (int i = 0; i < ready; i++) {
            struct conn *conn = events[i].data.ptr;
            bool         busy = conn->busy;

            if (conn->fd >= 0 && (events[i].events & EPOLLOUT))
                conn_write(conn);
            if (conn->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
                conn_read(conn);
            if (busy && !conn->busy)
                idle[idle_count++] = (unsigned)(conn - conns);
        }
    }
    for (unsigned i = 0; i < count; i++)
        unsent += conns[i].busy && conns[i].counted;
    getrusage(RUSAGE_SELF, &used);
    seconds -= skip;
    printf("{\"due\":%" PRIu64 ",\"taken\":%zu,\"taken_per_s\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"shed\":%zu,\"shed_p50_us\":%u,"
           "\"shed_p99_us\":%u,\"late_p50_us\":%u,\"late_p99_us\":%u,\"broken\":%" PRIu64 ",\"unsent\":%" PRIu64 ",\"opened\":%" PRIu64 ",\"cpu_s\":%.2f}\n",
           counted, taken.count, (double)taken.count / seconds, times_at(&taken, 50), times_at(&taken, 99), shed.count,
           times_at(&shed, 50), times_at(&shed, 99), times_at(&late, 50), times_at(&late, 99), broken, unsent, opened,
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}

/* --- who holds connections --------------------------------------------------------------------- */

enum hold { HOLD_HEAD, HOLD_BODY, HOLD_READ, HOLD_IDLE };

static void hold_begin(struct conn *conn, enum hold kind)
{
    static const char *const texts[] = { "POST /e HTTP/1.1\r\nHost: x\r\nX-Slow: ", "POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n[",
                                         "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "GET /_liveness HTTP/1.1\r\nHost: x\r\n\r\n" };
    int times = kind == HOLD_READ ? 8 : 1; /* pages of 40 KB: more than two sockets hold */

    for (int i = 0; i < times; i++)
        if (send(conn->fd, texts[kind], strlen(texts[kind]), MSG_NOSIGNAL) < 0)
            return;
}

static void hold_event(struct conn *conn, enum hold kind, uint32_t events, int64_t *oldest_us)
{
    char bytes[4096];

    if (conn->fresh && (events & EPOLLOUT)) {
        conn->fresh = false;
        conn->drip_us = now_us() + 1000000;
        hold_begin(conn, kind);
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        int64_t age = now_us() - conn->opened_us;

        if (recv(conn->fd, bytes, 12, MSG_DONTWAIT) == 12 && memcmp(bytes, "HTTP/1.1 5", 10) == 0)
            refused++;
        else if (age > *oldest_us)
            *oldest_us = age;
        closed++;
        conn_drop(conn);
    } else if (kind != HOLD_READ && (events & EPOLLIN)) {
        (void)!recv(conn->fd, bytes, sizeof bytes, MSG_DONTWAIT | (kind == HOLD_IDLE ? 0 : MSG_PEEK));
    }
}

static void hold_drip(struct conn *conn, enum hold kind, int64_t now)
{
    char byte = 'x';

    if (conn->fd < 0 || conn->fresh || now < conn->drip_us || kind == HOLD_IDLE)
        return;
    conn->drip_us = now + 1000000;
    if (kind == HOLD_READ)
        (void)!recv(conn->fd, &byte, 1, MSG_DONTWAIT);
    else
        (void)!send(conn->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int hold_run(enum hold kind, unsigned count, double seconds, double rate)
{
    struct epoll_event events[512];
    int64_t            start = now_us(), end = start + (int64_t)(seconds * 1e6), oldest_us = 0;
    unsigned           turn = 0, alive = 0;

    if (kind == HOLD_READ)
        receive_bytes = 2048;
    for (int64_t now = start; now < end; now = now_us()) {
        int ready;

        for (unsigned i = 0; i < count / 50 + 1; i++, turn++) { /* all of them some fifty times a second, if it can */
            struct conn *conn = &conns[turn % count];

            if (conn->fd < 0 && (double)opened < (double)(now - start) * rate / 1e6 + 1)
                (void)conn_open(conn);
            else
                hold_drip(conn, kind, now);
        }
        ready = epoll_wait(ep, events, 512, 10);
        for (int i = 0; i < ready; i++)
            if (((struct conn *)events[i].data.ptr)->fd >= 0)
                hold_event(events[i].data.ptr, kind, events[i].events, &oldest_us);
    }
    for (unsigned i = 0; i < count; i++) {
        alive += conns[i].fd >= 0;
        if (conns[i].fd >= 0 && now_us() - conns[i].opened_us > oldest_us)
            oldest_us = now_us() - conns[i].opened_us;
    }
    printf("{\"opened\":%" PRIu64 ",\"closed\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"alive\":%u,\"oldest_s\":%.1f}\n", opened, closed, refused,
           alive, (double)oldest_us / 1e6);
    return 0;
}

/* One request each on a connection of its own: an open loop whose every request is a newcomer's. */
static int churn_run(double rate, double seconds)
{
    static char text[] = "GET /_liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    requests[0] = (struct request){ text, sizeof text - 1 };
    request_count = 1;
    return open_run(4096, seconds, rate, 0, 1);
}

int main(int argc, char **argv)
{
    static const char *const holds[] = { "head", "body", "read", "idle" };
    struct rlimit            files;
    bool                     packed = false;
    double                   skip = 0;
    const char              *what = argc > 1 ? argv[1] : "";
    int                      option;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(CONNS_MAX, sizeof *conns);
    if (ep < 0 || conns == NULL)
        die("epoll, malloc");
    for (int i = 0; i < CONNS_MAX; i++)
        conns[i].fd = -1;
    argc--;
    argv++;
    while ((option = getopt(argc, argv, "zw:")) != -1)
        if (option == 'z')
            packed = true;
        else if (option == 'w')
            skip = atof(optarg);
    argc -= optind;
    argv += optind;
    if (strcmp(what, "open") == 0 && argc >= 6) {
        address.sin_port = htons((uint16_t)atoi(argv[0]));
        requests_read(argv[2], argv[1], packed);
        if (atoi(argv[3]) < 1 || atoi(argv[3]) > CONNS_MAX)
            return fprintf(stderr, "flood: 1 to %d connections\n", CONNS_MAX), 2;
        return open_run((unsigned)atoi(argv[3]), atof(argv[4]), atof(argv[5]), skip, argc > 6 ? (unsigned)atoi(argv[6]) : 0);
    }
    if (strcmp(what, "hold") == 0 && (argc == 4 || argc == 5)) {
        address.sin_port = htons((uint16_t)atoi(argv[1]));
        for (unsigned kind = 0; kind < 4; kind++)
            if (strcmp(argv[0], holds[kind]) == 0 && atoi(argv[2]) >= 1 && atoi(argv[2]) <= CONNS_MAX)
                return hold_run((enum hold)kind, (unsigned)atoi(argv[2]), atof(argv[3]), argc == 5 ? atof(argv[4]) : 1000);
    }
    if (strcmp(what, "churn") == 0 && argc == 3) {
        address.sin_port = htons((uint16_t)atoi(argv[0]));
        return churn_run(atof(argv[1]), atof(argv[2]));
    }
    fprintf(stderr, "usage: flood open [-z] [-w SECONDS] PORT PATH FILE.bodies CONNS SECONDS RATE [NEWCOMERS]\n"
                    "       flood hold head|body|read|idle PORT COUNT SECONDS [RATE]\n       flood churn PORT RATE SECONDS\n");
    return 2;
}
