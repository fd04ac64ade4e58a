/* bench/load.c - sends events that are all different, as fast as they are taken or at a given rate.
 *
 * wrk repeats the same bodies, which is right for capture alone; the whole way needs unique uuids, new
 * persons, present times. This program takes the bodies of bench/bodies.py and overwrites, in place, before
 * each send, every `"uuid":"..."`, `"distinct_id":"..."`, the event's `"timestamp":"..."`, what follows
 * `"choice-` (a property of the person) and `"$anon_distinct_id":"..."` (somebody who came lately and was not
 * identified yet). A share of events goes to persons never seen before: 20 % in the first minute, 2 % after it.
 *
 * usage: load [-r [-e ENCODING]] [-z] [-p PERSONS] [-f PERCENT] [-n EVENTS] PORT PATH FILE.bodies PER CONNS SECONDS RATE [LEDGER]
 *   PER events a body; RATE events a second, 0 for as many as are taken. LEDGER: a file that gets
 *   a line `microseconds acked_events` every 10 ms.
 *   -r  bodies go as they are in the file, again and again: nothing is made unique, and little is spent
 *   -e ENCODING  what they are said to be in, with -r
 *   -z  bodies are packed with gzip, level 1, after they were made unique
 *   -p  so many persons are known at the start (1000)
 *   -f  percent of events with a new person, always, instead of 20 and 2
 *   -n  ends when so many were sent, before SECONDS are over
 * Prints one JSON object: events acked, seconds, refused, sent_bytes of requests, p50_us and p99_us of the answers, persons, own cpu_us
 * for each event. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 1024, BODIES_MAX = 4096, PATCHES_MAX = 1 << 16, LATENCIES_MAX = 1 << 20 };

enum patch_kind { PATCH_UUID, PATCH_DISTINCT_ID, PATCH_TIMESTAMP, PATCH_CHOICE, PATCH_ANONYMOUS };
struct patch { uint32_t at; uint8_t kind; };
struct body { char *request; size_t head, bytes; size_t patch_first, patch_count; };
struct conn { int fd; const struct body *body; char *copy, *packed, *out; size_t out_bytes, sent, answer_bytes; char answer[512]; int64_t began_us; int waits_to_write; };

static struct body  bodies[BODIES_MAX];
static size_t       body_count, patch_total, request_bytes_max;
static struct patch patches[PATCHES_MAX];
static struct conn  conns[CONNS_MAX];
static uint32_t     latencies[LATENCIES_MAX];
static size_t       latency_count;
static uint64_t     random_state = 0x9e3779b97f4a7c15u, persons = 1000, identified, acked, refused, sent_bytes;
static int64_t      start_us;
static int          fresh_percent_fixed = -1;
static const char  *path, *encoding;
static int          raw;
static struct libdeflate_compressor *packer; /* NULL: bodies go as they are */

static int64_t now_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void hex(char *to, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        to[i] = "0123456789abcdef"[value & 15];
}

static void body_find_patches(struct body *body, size_t body_at)
{
    static const struct { const char *key; uint8_t kind; } keys[] = {
        { "{\"uuid\":\"", PATCH_UUID }, { "\"distinct_id\":\"", PATCH_DISTINCT_ID }, { "\"timestamp\":\"", PATCH_TIMESTAMP },
        { "\"choice-", PATCH_CHOICE }, { "\"$anon_distinct_id\":\"", PATCH_ANONYMOUS } };

    body->patch_first = patch_total;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        char *at = body->request + body_at, *end = body->request + body->bytes;

        while ((at = memmem(at, (size_t)(end - at), keys[k].key, strlen(keys[k].key))) != NULL) {
            at += strlen(keys[k].key);
            if (patch_total == PATCHES_MAX)
                die("too many events in the bodies file");
            patches[patch_total++] = (struct patch){ (uint32_t)(at - body->request), keys[k].kind };
        }
    }
    body->patch_count = patch_total - body->patch_first;
}

static void bodies_read(const char *name, const char *target)
{
    FILE    *file = fopen(name, "rb");
    uint32_t bytes;

    if (file == NULL)
        die(name);
    while (fread(&bytes, sizeof bytes, 1, file) == 1 && body_count < BODIES_MAX) {
        struct body *body = &bodies[body_count++];
        size_t       head;

        body->request = malloc(bytes + 512u);
        if (body->request == NULL)
            die("malloc");
        head = (size_t)snprintf(body->request, 512,
                                "POST %s HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\n%s%s%sContent-Length: %u\r\n\r\n",
                                target, encoding ? "Content-Encoding: " : "", encoding ? encoding : "", encoding ? "\r\n" : "", bytes);
        if (fread(body->request + head, 1, bytes, file) != bytes)
            die("short bodies file");
        body->head = head;
        body->bytes = head + bytes;
        if (body->bytes > request_bytes_max)
            request_bytes_max = body->bytes;
        if (!raw)
            body_find_patches(body, head);
    }
    fclose(file);
}

/* "%08x-user-%06d" */
static void person_write(char *at, uint64_t person)
{
    char digits[12];

    (void)snprintf(digits, sizeof digits, "%06" PRIu64, person % 1000000);
    hex(at, person / 1000000, 8);
    memcpy(at + 14, digits, 6);
}

static void conn_patch(struct conn *conn)
{
    int64_t   wall_us = now_us(CLOCK_REALTIME);
    time_t    seconds = (time_t)(wall_us / 1000000);
    unsigned  fresh_percent = fresh_percent_fixed >= 0 ? (unsigned)fresh_percent_fixed
                              : now_us(CLOCK_MONOTONIC) - start_us < 60000000 ? 20 : 2;
    char      time_text[40];
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%S.", &utc);
    (void)snprintf(time_text + 20, sizeof time_text - 20, "%03dZ", (int)(wall_us / 1000 % 1000));
    for (size_t i = 0; i < conn->body->patch_count; i++) {
        const struct patch *patch = &patches[conn->body->patch_first + i];
        char               *at = conn->copy + patch->at;

        if (patch->kind == PATCH_UUID) {
            hex(at, (uint64_t)wall_us / 1000 >> 16, 8);
            hex(at + 9, (uint64_t)wall_us / 1000, 4);
            hex(at + 15, random_next(), 3);
            hex(at + 20, random_next(), 3);
            hex(at + 24, random_next(), 12);
        } else if (patch->kind == PATCH_TIMESTAMP) {
            memcpy(at, time_text, 24);
        } else if (patch->kind == PATCH_CHOICE) {
            hex(at, random_next(), 8);
        } else if (patch->kind == PATCH_ANONYMOUS) { /* each once, some time after its first event */
            if (identified + 100 < persons)
                identified++;
            person_write(at, identified);
        } else {
            person_write(at, random_next() % 100 < fresh_percent ? persons++ : random_next() % persons);
        }
    }
}

/* The head says how long the body became. */
static void conn_pack(struct conn *conn)
{
    const struct body *body = conn->body;
    size_t             room = request_bytes_max, packed;
    int                head;

    packed = libdeflate_gzip_compress(packer, conn->copy + body->head, body->bytes - body->head, conn->packed + 512, room);
    if (packed == 0)
        die("a body that does not get smaller");
    head = snprintf(conn->packed, 512,
                    "POST %s HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
                    "Content-Length: %zu\r\n\r\n", path, packed);
    conn->out = conn->packed + 512 - head;
    memmove(conn->out, conn->packed, (size_t)head);
    conn->out_bytes = (size_t)head + packed;
}

static void conn_write(int ep, struct conn *conn)
{
    ssize_t put = send(conn->fd, conn->out + conn->sent, conn->out_bytes - conn->sent, MSG_NOSIGNAL);

    if (put < 0 && errno != EAGAIN)
        die("send");
    conn->sent += put > 0 ? (size_t)put : 0;
    if ((conn->sent < conn->out_bytes) == conn->waits_to_write)
        return;
    conn->waits_to_write = !conn->waits_to_write;
    struct epoll_event event = { .events = conn->sent < conn->out_bytes ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = conn };

    epoll_ctl(ep, EPOLL_CTL_MOD, conn->fd, &event);
}

static void conn_begin(int ep, struct conn *conn)
{
    static size_t turn;

    conn->body = &bodies[turn++ % body_count];
    conn->out = raw ? conn->body->request : conn->copy;
    if (!raw) {
        memcpy(conn->copy, conn->body->request, conn->body->bytes);
        conn_patch(conn);
    }
    conn->out_bytes = conn->body->bytes;
    if (packer != NULL)
        conn_pack(conn);
    sent_bytes += conn->out_bytes;
    conn->sent = conn->answer_bytes = 0;
    conn->began_us = now_us(CLOCK_MONOTONIC);
    conn_write(ep, conn);
}

/* True when a whole answer came. */
static int conn_read(struct conn *conn, unsigned per)
{
    ssize_t got = recv(conn->fd, conn->answer + conn->answer_bytes, sizeof conn->answer - 1 - conn->answer_bytes, 0);
    char   *end, *length;

    if (got == 0 || (got < 0 && errno != EAGAIN))
        die("the server closed the connection");
    conn->answer_bytes += got > 0 ? (size_t)got : 0;
    conn->answer[conn->answer_bytes] = '\0';
    end = strstr(conn->answer, "\r\n\r\n");
    length = strcasestr(conn->answer, "content-length:");
    if (end == NULL || conn->answer_bytes < (size_t)(end + 4 - conn->answer) + (length ? strtoul(length + 15, NULL, 10) : 0))
        return 0;
    if (strncmp(conn->answer, "HTTP/1.1 200", 12) == 0)
        acked += per;
    else
        refused += per;
    if (latency_count < LATENCIES_MAX)
        latencies[latency_count++] = (uint32_t)(now_us(CLOCK_MONOTONIC) - conn->began_us);
    return 1;
}

static int latency_compare(const void *a, const void *b)
{
    return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event events[256];
    struct conn       *idle[CONNS_MAX];
    unsigned           per, conn_count, idle_first = 0, idle_count = 0, busy = 0;
    double             seconds, rate;
    int                ep = epoll_create1(0), one = 1, option;
    FILE              *ledger;
    uint64_t           begun = 0, most = UINT64_MAX;
    struct rusage      used;
    int64_t            ledger_us = 0, end_us;

    while ((option = getopt(argc, argv, "re:zp:f:n:")) != -1)
        if (option == 'r')
            raw = 1;
        else if (option == 'e')
            encoding = optarg;
        else if (option == 'z')
            packer = libdeflate_alloc_compressor(1);
        else if (option == 'p')
            persons = strtoull(optarg, NULL, 10);
        else if (option == 'f')
            fresh_percent_fixed = atoi(optarg);
        else if (option == 'n')
            most = strtoull(optarg, NULL, 10);
    identified = persons;
    argc -= optind - 1;
    argv += optind - 1;
    if (argc < 8) {
        fprintf(stderr, "usage: load [-r [-e ENCODING]] [-z] [-p PERSONS] [-f PERCENT] [-n EVENTS] PORT PATH FILE.bodies PER CONNS SECONDS RATE [LEDGER]\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    path = argv[2];
    bodies_read(argv[3], path);
    per = (unsigned)atoi(argv[4]);
    conn_count = (unsigned)atoi(argv[5]) > CONNS_MAX ? CONNS_MAX : (unsigned)atoi(argv[5]);
    seconds = atof(argv[6]);
    rate = atof(argv[7]);
    ledger = argc > 8 ? fopen(argv[8], "w") : NULL;
    random_state ^= (uint64_t)now_us(CLOCK_REALTIME) * 0x2545f4914f6cdd1du;
    start_us = now_us(CLOCK_MONOTONIC);
    end_us = start_us + (int64_t)(seconds * 1e6);
    for (unsigned i = 0; i < conn_count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &conns[i] };

        conns[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        conns[i].copy = malloc(request_bytes_max);
        conns[i].packed = malloc(request_bytes_max + 512);
        if (connect(conns[i].fd, (struct sockaddr *)&address, sizeof address) < 0 || conns[i].copy == NULL || conns[i].packed == NULL)
            die("connect");
        setsockopt(conns[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(conns[i].fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &event);
        idle[idle_count++] = &conns[i];
    }
    for (;;) {
        int64_t now = now_us(CLOCK_MONOTONIC);
        int     count;

        while (now < end_us && begun < most && idle_count > 0 && (rate == 0 || (double)begun < rate * (double)(now - start_us) / 1e6)) {
            /* The one that rested longest: below full speed, one left over would be closed as idle. */
            conn_begin(ep, idle[idle_first]);
            idle_first = (idle_first + 1) % CONNS_MAX;
            idle_count--;
            begun += per;
            busy++;
        }
        if ((now >= end_us || begun >= most) && busy == 0)
            break;
        count = epoll_wait(ep, events, 256, 1);
        for (int i = 0; i < count; i++) {
            struct conn *conn = events[i].data.ptr;

            if (events[i].events & EPOLLOUT)
                conn_write(ep, conn);
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && conn_read(conn, per)) {
                idle[(idle_first + idle_count++) % CONNS_MAX] = conn;
                busy--;
            }
        }
        now = now_us(CLOCK_MONOTONIC);
        if (ledger != NULL && now >= ledger_us) {
            fprintf(ledger, "%" PRId64 " %" PRIu64 "\n", now_us(CLOCK_REALTIME), acked);
            ledger_us = now + 10000;
        }
    }
    if (ledger != NULL)
        fclose(ledger);
    qsort(latencies, latency_count, sizeof *latencies, latency_compare);
    getrusage(RUSAGE_SELF, &used);
    printf("{\"events\":%" PRIu64 ",\"seconds\":%.3f,\"refused\":%" PRIu64 ",\"p50_us\":%u,\"p99_us\":%u,"
           "\"persons\":%" PRIu64 ",\"sent_bytes\":%" PRIu64 ",\"cpu_us\":%.2f}\n", acked,
           (double)(now_us(CLOCK_MONOTONIC) - start_us) / 1e6, refused,
           latency_count ? latencies[latency_count / 2] : 0, latency_count ? latencies[latency_count * 99 / 100] : 0, persons,
           sent_bytes,
           ((double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec)) /
               (double)(acked > 0 ? acked : 1));
    return 0;
}
