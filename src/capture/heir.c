/* capture/heir.c - see heir.h. What is said on the line of an attempt is words of four letters; its first message has a form
 * of its own, heir_take.h. */
#include "capture/heir.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/say.h"
#include "capture/heir_take.h"

static int word_send(int fd, const char *word)
{
    return send(fd, word, TAKE_WORD_BYTES, MSG_NOSIGNAL) == TAKE_WORD_BYTES ? 0 : -1;
}

/* 1: a word; 0: the other end is gone; -1: nothing came in time. */
static int word_receive(int fd, int wait_ms, char word_out[TAKE_WORD_BYTES])
{
    struct pollfd waiting = { .fd = fd, .events = POLLIN };
    int           ready;

    do
        ready = poll(&waiting, 1, wait_ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return -1;
    return recv(fd, word_out, TAKE_WORD_BYTES, 0) == TAKE_WORD_BYTES;
}

/* --- the heir ---------------------------------------------------------------------------------- */

int heir_take(struct heir *heir, int old_fd, struct err *err)
{
    struct take take = { .word = { 'T', 'A', 'K', 'E' } };
    int         theirs[CAPTURE_LANES + 1], sent = -1, got = 0;
    char        word[TAKE_WORD_BYTES];

    *heir = (struct heir){ .talk_fd = -1 };
    for (int i = 0; i < CAPTURE_LANES; i++)
        heir->lines[i].fd = -1;
    if (old_fd < 0)
        return 0;
    for (int i = 0; i <= CAPTURE_LANES; i++)
        theirs[i] = -1;
    for (int i = 0; i <= CAPTURE_LANES; i++) {
        int ends[2];

        if (socketpair(AF_UNIX, (i == 0 ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends) < 0) {
            (void)err_errno(err, errno, "a socket for the other capture");
            goto done;
        }
        *(i == 0 ? &heir->talk_fd : &heir->lines[i - 1].fd) = ends[0];
        theirs[i] = ends[1];
        if (i > 0)
            (void)snprintf(take.names[i - 1], TAKE_NAME_BYTES, "%s", lane_topic(i - 1));
    }
    sent = take_send(old_fd, &take, theirs, CAPTURE_LANES + 1);
    for (int i = 0; i <= CAPTURE_LANES; i++) { /* its copies are on their way; with ours open its end would not be seen */
        (void)close(theirs[i]);
        theirs[i] = -1;
    }
    got = sent < 0 ? 0 : word_receive(heir->talk_fd, HEIR_WAIT_MS, word);
    if (got < 0)
        sent = err_set(err, ERR_RETRY, "the capture that serves does not hand its log over within %d ms", HEIR_WAIT_MS);
    else
        sent = 0; /* it is ready; or it never opened its log; or it died meanwhile: in each case nobody writes */
done:
    for (int i = 0; i <= CAPTURE_LANES; i++)
        if (theirs[i] >= 0)
            (void)close(theirs[i]);
    if (sent < 0)
        heir_end(heir);
    return sent;
}

static void *line_serve(void *arg)
{
    struct heir_line *line = arg;

    log_commit_serve(line->commit, line->fd);
    return NULL;
}

int heir_open(struct heir *heir, const struct capture_shared *shared, struct err *err)
{
    if (heir->talk_fd < 0)
        return 0;
    for (int i = 0; i < CAPTURE_LANES; i++) {
        struct heir_line *line = &heir->lines[i];

        line->commit = atomic_load(&shared->commits[i]);
        if (pthread_create(&line->thread, NULL, line_serve, line) != 0)
            return err_set(err, ERR_FULL, "no thread for what the other capture still writes");
        line->runs = true;
    }
    if (word_send(heir->talk_fd, "OPEN") < 0)
        say(SAY_WARN, "the capture that served until now is gone");
    return 0;
}

void heir_end(struct heir *heir)
{
    for (int i = 0; i < CAPTURE_LANES; i++) {
        struct heir_line *line = &heir->lines[i];

        if (line->runs)
            pthread_join(line->thread, NULL);
        if (line->fd >= 0)
            (void)close(line->fd);
        *line = (struct heir_line){ .fd = -1 };
    }
    if (heir->talk_fd >= 0)
        (void)close(heir->talk_fd);
    heir->talk_fd = -1;
}

/* --- the one that serves ----------------------------------------------------------------------- */

static void watch_fail(struct capture_shared *shared, const struct err *err)
{
    if (!atomic_flag_test_and_set(&shared->failure_taken)) {
        shared->failure = *err;
        atomic_store(&shared->failed, true);
    }
}

static void loops_wake(const struct capture_shared *shared)
{
    for (int64_t i = 0; i < shared->settings->threads; i++)
        loop_wake(&shared->loops[i]);
}

/* The log is the heir's: what still has to be written goes there, and no more connections are taken. */
static void watch_give(struct capture_shared *shared, const struct take *take, int *fds, int count)
{
    for (int i = 0; i < CAPTURE_LANES; i++) {
        int at = take_find(take, fds, count, lane_topic(i));

        log_commit_forward(atomic_load(&shared->commits[i]), at < 0 ? -1 : fds[at]);
        if (at >= 0)
            fds[at] = -1;
    }
    say(SAY_INFO, "another capture serves now; this one answers what is under way");
    atomic_store(&shared->handed, true);
    loops_wake(shared);
}

/* One TAKE. True: the heir serves. */
static bool watch_take(struct capture_shared *shared, const struct take *take, int *fds, int count)
{
    struct err err = { .kind = ERR_NONE };
    char       word[TAKE_WORD_BYTES];
    int        fd = fds[0], rested = 0, rc = 0;

    if (!take_is_whole(take, count))
        return false;
    if (atomic_load(&shared->commits[CAPTURE_LANES - 1]) == NULL || atomic_load(&shared->commits[0]) == NULL) {
        if (word_send(fd, "NONE") < 0 || word_receive(fd, HEIR_OPEN_MS, word) != 1 || memcmp(word, "OPEN", TAKE_WORD_BYTES) != 0)
            return false;
        atomic_store(&shared->handed, true);
        loops_wake(shared);
        return true;
    }
    for (; rc == 0 && rested < CAPTURE_LANES; rested++)
        rc = log_commit_rest(atomic_load(&shared->commits[rested]), &err);
    if (rc == 0 && word_send(fd, "REST") == 0 && word_receive(fd, HEIR_OPEN_MS, word) == 1 &&
        memcmp(word, "OPEN", TAKE_WORD_BYTES) == 0) {
        watch_give(shared, take, fds, count);
        return true;
    }
    say(SAY_WARN, "the capture that was to take over is gone; this one goes on");
    for (int i = 0; i < rested; i++)
        if (log_commit_resume(atomic_load(&shared->commits[i]), &err) < 0)
            watch_fail(shared, &err);
    loops_wake(shared);
    return false;
}

static void *watch_main(void *arg)
{
    struct heir_watch *watch = arg;
    struct take        take;
    int                fds[TAKE_FDS_MAX] = { -1 }, count;
    bool               given = false;

    while (!given && (count = take_receive(watch->fd, &take, fds)) >= 0) {
        given = watch_take(watch->shared, &take, fds, count);
        for (int i = 0; i < count; i++)
            if (fds[i] >= 0)
                (void)close(fds[i]);
    }
    return NULL;
}

int heir_watch_start(struct heir_watch *watch, struct capture_shared *shared, int fd, struct err *err)
{
    *watch = (struct heir_watch){ .shared = shared, .fd = fd };
    if (fd >= 0 && pthread_create(&watch->thread, NULL, watch_main, watch) != 0) {
        watch->fd = -1;
        return err_set(err, ERR_FULL, "no thread to wait for an heir");
    }
    return 0;
}

void heir_watch_end(struct heir_watch *watch)
{
    if (watch->fd < 0)
        return;
    (void)shutdown(watch->fd, SHUT_RDWR);
    pthread_join(watch->thread, NULL);
}
