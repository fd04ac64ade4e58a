/* log/forward.c - see forward.h. Why batches and not connections are handed over: a connection is a half-read request, a
 * half-written answer, a TLS session; a batch is bytes that both processes know from the disk. */
#include "log/forward.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/bytes.h"
#include "log/frame.h"
#include "log/log_batch.h"

enum { HEAD_BYTES = 24, ANSWER_BYTES = 176, ANSWER_TEXT_AT = 16, ANSWER_TEXT_BYTES = 160, RETRY_US = 2000 };
#define HEAD_MAGIC   UINT32_C(0x31445746)
#define ANSWER_MAGIC UINT32_C(0x314b4341)

/* All of it. False: the other end is gone. */
static bool bytes_send(int fd, const uint8_t *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t put = send(fd, at, bytes, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        at += put;
        bytes -= (size_t)put;
    }
    return true;
}

static bool bytes_receive(int fd, uint8_t *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = recv(fd, at, bytes, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

void log_forward_send(int fd, const struct log_batch *batch, struct log_commit_result *out)
{
    uint8_t  head[HEAD_BYTES] = { 0 }, answer[ANSWER_BYTES + 1] = { 0 };
    const struct span records = log_batch_records(batch);
    uint32_t kind;

    bytes_put_u32(head, HEAD_MAGIC);
    bytes_put_u32(head + 4, batch->count);
    bytes_put_u32(head + 8, batch->tag);
    bytes_put_u64(head + 16, batch->bytes);
    *out = (struct log_commit_result){ .ok = false };
    if (!bytes_send(fd, head, sizeof head) || !bytes_send(fd, records.at, records.bytes) ||
        !bytes_receive(fd, answer, ANSWER_BYTES) || bytes_get_u32(answer) != ANSWER_MAGIC) {
        (void)err_set(&out->err, ERR_STOP, "the process that took the log over is gone");
        return;
    }
    kind = bytes_get_u32(answer + 4);
    out->ok = kind == 0;
    out->base = bytes_get_u64(answer + 8);
    if (!out->ok)
        (void)err_set(&out->err, kind == ERR_FULL ? ERR_FULL : ERR_STOP, "%s", (const char *)answer + ANSWER_TEXT_AT);
}

/* --- the side that writes ----------------------------------------------------------------------- */

struct served {
    pthread_mutex_t          lock;
    pthread_cond_t           wake;
    bool                     done; /* @lock */
    struct log_commit_result result;
};

static void served_done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct served *served = ctx;

    (void)batch_take;
    pthread_mutex_lock(&served->lock);
    served->result = *result;
    served->done = true;
    pthread_cond_signal(&served->wake);
    pthread_mutex_unlock(&served->lock);
}

/* False: the other end is gone, or sends what is no batch. */
static bool batch_receive(int fd, struct log_batch *batch)
{
    uint8_t  head[HEAD_BYTES];
    uint64_t bytes;

    if (!bytes_receive(fd, head, sizeof head) || bytes_get_u32(head) != HEAD_MAGIC)
        return false;
    bytes = bytes_get_u64(head + 16);
    if (bytes == 0 || bytes > LOG_BATCH_BYTES_MAX || bytes_get_u32(head + 4) == 0)
        return false;
    log_batch_reset(batch);
    if (!log_batch_room(batch, bytes))
        return false;
    batch->bytes = bytes;
    batch->count = bytes_get_u32(head + 4);
    batch->tag = bytes_get_u32(head + 8);
    return bytes_receive(fd, batch->at, bytes) && frame_body_whole(span_of(batch->at, bytes), batch->tag, batch->count);
}

static void batch_commit(struct log_commit *commit, struct log_batch *batch, struct served *served)
{
    static const struct timespec pause = { .tv_nsec = RETRY_US * 1000L };
    struct err                   err = { .kind = ERR_NONE };

    served->done = false;
    while (log_commit_submit(commit, batch, served_done, served, &err) < 0) { /* of either backend */
        if (err.kind != ERR_FULL) {
            served->result = (struct log_commit_result){ .err = err };
            return;
        }
        nanosleep(&pause, NULL); /* a full queue, or the log is on its way to the next process already */
    }
    pthread_mutex_lock(&served->lock);
    while (!served->done)
        pthread_cond_wait(&served->wake, &served->lock);
    pthread_mutex_unlock(&served->lock);
}

static bool answer_send(int fd, const struct log_commit_result *result)
{
    uint8_t answer[ANSWER_BYTES] = { 0 };
    size_t  text = strlen(result->err.text);

    bytes_put_u32(answer, ANSWER_MAGIC);
    if (!result->ok) {
        bytes_put_u32(answer + 4, result->err.kind == ERR_NONE ? ERR_STOP : (uint32_t)result->err.kind);
        memcpy(answer + ANSWER_TEXT_AT, result->err.text, text < ANSWER_TEXT_BYTES ? text : ANSWER_TEXT_BYTES - 1);
    }
    bytes_put_u64(answer + 8, result->base);
    return bytes_send(fd, answer, sizeof answer);
}

void embedded_commit_serve(struct log_commit *commit, int fd)
{
    struct served     served = { .done = false };
    struct log_batch *batch = log_batch_new();

    pthread_mutex_init(&served.lock, NULL);
    pthread_cond_init(&served.wake, NULL);
    while (batch != NULL && batch_receive(fd, batch)) {
        batch_commit(commit, batch, &served);
        if (!answer_send(fd, &served.result))
            break;
    }
    (void)shutdown(fd, SHUT_RDWR); /* whoever waits there must not wait for ever */
    pthread_mutex_destroy(&served.lock);
    pthread_cond_destroy(&served.wake);
    log_batch_free(batch);
}
