/* fuzz/forward.c - any bytes on the socket over which a capture that was replaced sends batches to the one that writes now.
 *
 * The input is a row of commands that build the stream: heads that are true or not, records that are whole or not, and
 * anything else. A log takes what comes.
 *  - nothing crashes, whatever the numbers say
 *  - each answer that says "on disk" is for a batch that was whole, and its records are in the log, as sent and no others */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/crc32c.h"
#include "fuzz.h"
#include "log/frame.h"
#include "log/log_test_kit.h"

enum { STREAM_BYTES_MAX = 64 << 10, ANSWER_BYTES = 176, LOG_AGAIN = 2000 };

struct server { struct log_commit *commit; int fd; };

static struct log        *the_log;
static struct log_commit *the_commit;
static char               folder[64];
static uint64_t           records_all, runs;

static void log_fresh(void)
{
    struct log_options options = { .folder = folder };
    struct log_writer *writer;
    struct err         err = { .kind = ERR_NONE };

    if (the_commit != NULL) {
        log_commit_stop(the_commit);
        log_close(the_log);
        kit_remove(folder);
    }
    (void)snprintf(folder, sizeof folder, "/dev/shm/penstock-forward-XXXXXX");
    MUST(mkdtemp(folder) != NULL);
    MUST(log_open(&options, &the_log, &err) == 0 && log_writer_open(the_log, "t", 0, NULL, &writer, &err) == 0 &&
         log_commit_start(writer, NULL, &the_commit, &err) == 0);
    records_all = runs = 0;
}

static void log_gone(void)
{
    log_commit_stop(the_commit);
    log_close(the_log);
    kit_remove(folder);
}

/* One batch, or what looks like one. whole_out: as a right sender makes it. */
static size_t put_batch(uint8_t *stream, struct fuzz_input *input, uint32_t *count_out, bool *whole_out)
{
    uint64_t odd = take(input, 1), records = take(input, 1) % 6;
    uint32_t tag = (uint32_t)take(input, 1);
    size_t   at = 24;

    *whole_out = records > 0;
    for (uint64_t i = 0; i < records; i++) {
        size_t body = (size_t)(take(input, 1) % 60) * 8;

        memset(stream + at, 0, (size_t)16 + body);
        for (size_t k = 0; k < body && k < 8; k++)
            stream[at + 16 + k] = (uint8_t)take(input, 1);
        record_put(stream + at, (uint32_t)body, (uint32_t)i, tag);
        if ((odd & 1) != 0 && take(input, 1) < 40) {
            stream[at + (size_t)(take(input, 2) % (16 + body))] ^= (uint8_t)(1 + take(input, 1) % 255);
            *whole_out = false;
        }
        at += 16 + body;
    }
    bytes_put_u32(stream, UINT32_C(0x31445746));
    bytes_put_u32(stream + 4, (uint32_t)records);
    bytes_put_u32(stream + 8, tag);
    bytes_put_u32(stream + 12, 0);
    bytes_put_u64(stream + 16, at - 24);
    if ((odd & 2) != 0) {
        size_t place = (size_t)(take(input, 1) % 24);
        uint8_t change = (uint8_t)take(input, 1);

        stream[place] ^= change;
        if (change != 0 && (place < 12 || place >= 16))
            *whole_out = false;
    }
    *count_out = (uint32_t)records;
    return at;
}

static void *serve(void *arg)
{
    struct server *server = arg;

    log_commit_serve(server->commit, server->fd);
    return NULL;
}

/* The fuzzer's own alarm may come in between. */
static ssize_t receive(int fd, uint8_t answer[ANSWER_BYTES])
{
    size_t done = 0;

    while (done < ANSWER_BYTES) {
        ssize_t got = recv(fd, answer + done, ANSWER_BYTES - done, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return done > 0 ? (ssize_t)done : got;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static void all_there(void)
{
    struct log_reader *reader;
    struct log_chunk   chunk;
    struct err         err = { .kind = ERR_NONE };
    uint64_t           seen = 0, offset;
    struct span        body;

    MUST(log_reader_open(the_log, "t", 0, 0, &reader, &err) == 0);
    while (log_reader_next(reader, &chunk, &err) == 1) {
        MUST(chunk.kind == LOG_RECORDS);
        while (log_chunk_next(&chunk, &offset, &body))
            MUST(offset == seen++);
    }
    MUST(seen == records_all);
    log_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t stream[STREAM_BYTES_MAX + 4096];
    struct fuzz_input   input = { data, data + bytes };
    struct server  server;
    pthread_t      thread;
    int            ends[2];
    uint32_t       counts[32];
    size_t         batches = 0, at = 0;
    bool           whole = true;
    uint8_t        answer[ANSWER_BYTES];

    if (the_commit == NULL)
        (void)atexit(log_gone);
    if (the_commit == NULL || ++runs == LOG_AGAIN)
        log_fresh();
    while (input.at < input.end && whole && batches < 32 && at < STREAM_BYTES_MAX) {
        at += put_batch(stream + at, &input, &counts[batches], &whole);
        batches += whole;
    }
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    server = (struct server){ the_commit, ends[1] };
    MUST(pthread_create(&thread, NULL, serve, &server) == 0);
    for (size_t done = 0; done < at;) {
        ssize_t put = send(ends[0], stream + done, at - done, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            break; /* it saw what was wrong */
        done += (size_t)put;
    }
    (void)shutdown(ends[0], SHUT_WR);
    for (size_t i = 0; i < batches; i++) {
        MUST(receive(ends[0], answer) == (ssize_t)sizeof answer);
        MUST(bytes_get_u32(answer) == UINT32_C(0x314b4341) && bytes_get_u32(answer + 4) == 0 && bytes_get_u64(answer + 8) == records_all);
        records_all += counts[i];
    }
    MUST(receive(ends[0], answer) <= 0);
    MUST(pthread_join(thread, NULL) == 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
    if (runs % 256 == 0)
        all_there();
    return 0;
}
