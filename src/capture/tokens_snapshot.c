/* capture/tokens_snapshot.c - hazard pointers, one a reader: pinning costs one ordered store, and the
 * helper, which has all the time in the world, waits. A lock would make loops wait for each other; a
 * reference count would make them share a cache line. */
#include "capture/tokens_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "base/wait.h"
#include "catalog/catalog_image.h"

enum { TOKENS_POLL_MS = 50, TOKENS_PINNED_POLL_MS = 1, TOKENS_FIRST_POLL_MS = 2, TOKENS_FIRST_TRIES = 5000 / TOKENS_FIRST_POLL_MS };

struct tokens_reader {
    _Alignas(64) _Atomic(const struct catalog_snapshot *) pinned;
};

struct tokens {
    int                     run_fd;
    struct stat             seen; /* the image that `current` is made of. @thread helper, after open */
    bool                    started;
    struct capture_metrics *metrics;
    _Atomic(struct catalog_snapshot *) current;
    atomic_bool           stop;
    pthread_t             helper;
    pthread_mutex_t       lock; /* of wake, for stop */
    pthread_cond_t        wake;
    size_t                reader_count;
    struct tokens_reader *readers;
};

static void tokens_sleep(struct tokens *tokens, int ms)
{
    int64_t until_us = clock_mono_us() + (int64_t)ms * 1000;

    pthread_mutex_lock(&tokens->lock);
    if (!atomic_load(&tokens->stop))
        (void)wait_until(&tokens->wake, &tokens->lock, until_us);
    pthread_mutex_unlock(&tokens->lock);
}

static bool tokens_pinned(const struct tokens *tokens, const struct catalog_snapshot *snapshot)
{
    for (size_t i = 0; i < tokens->reader_count; i++)
        if (atomic_load(&tokens->readers[i].pinned) == snapshot)
            return true;
    return false;
}

static void tokens_tell(struct tokens *tokens, const struct catalog_snapshot *snapshot)
{
    static const int                  gauges[CATALOG_RESOURCE_COUNT] = {
        CAPTURE_METRIC_LOADED_EXCEPTIONS, CAPTURE_METRIC_LOADED_SURVEYS, CAPTURE_METRIC_LOADED_LLM, CAPTURE_METRIC_LOADED_EVENTS,
        CAPTURE_METRIC_LOADED_RECORDINGS,
    };
    const struct catalog_restriction *restrictions;
    const struct catalog_token       *list;
    size_t                            count = catalog_snapshot_tokens(snapshot, &list);
    int64_t                           now_us = clock_wall_us(), over[CATALOG_RESOURCE_COUNT] = { 0 };

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < CATALOG_RESOURCE_COUNT; k++)
            over[k] += list[i].quota_until_us[k] > now_us;
    for (size_t k = 0; k < CATALOG_RESOURCE_COUNT; k++)
        capture_gauge(tokens->metrics, gauges[k], over[k]);
    capture_gauge(tokens->metrics, CAPTURE_METRIC_RESTRICTIONS_LOADED,
                  (int64_t)catalog_snapshot_restrictions(snapshot, &restrictions));
    capture_gauge(tokens->metrics, CAPTURE_METRIC_RESTRICTIONS_REFRESHED, now_us / 1000000);
    capture_gauge(tokens->metrics, CAPTURE_METRIC_CATALOG_VERSION, (int64_t)catalog_snapshot_version(snapshot));
}

/* Another file, or changed in place? A replaced file may get its predecessor's inode, so the time counts too. */
static bool image_is_seen(const struct tokens *tokens, const struct stat *st)
{
    return st->st_ino == tokens->seen.st_ino && st->st_size == tokens->seen.st_size &&
           st->st_mtim.tv_sec == tokens->seen.st_mtim.tv_sec && st->st_mtim.tv_nsec == tokens->seen.st_mtim.tv_nsec;
}

static int image_read(int fd, size_t bytes, struct catalog_snapshot **out, struct err *err)
{
    uint8_t *image = malloc(bytes + 1);
    size_t   have = 0;
    int      rc;

    if (image == NULL)
        return err_set(err, ERR_FULL, "no memory for an image of the catalog");
    while (have < bytes) {
        ssize_t got = pread(fd, image + have, bytes - have, (off_t)have);

        if (got <= 0 && !(got < 0 && errno == EINTR))
            break;
        have += got > 0 ? (size_t)got : 0;
    }
    rc = catalog_image_snapshot(span_of(image, have), out, err);
    free(image);
    return rc;
}

/* 1: a newer snapshot in *out; 0: there is none; -1. */
static int tokens_look(struct tokens *tokens, const char *file, struct catalog_snapshot **out, struct err *err)
{
    struct stat st;
    int         fd, rc;

    if (fstatat(tokens->run_fd, file, &st, 0) < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "%s", file);
    if (image_is_seen(tokens, &st))
        return 0;
    fd = openat(tokens->run_fd, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", file);
    if (fstat(fd, &st) < 0)
        rc = err_errno(err, errno, "%s", file);
    else if (st.st_size > CATALOG_IMAGE_BYTES_MAX)
        rc = err_set(err, ERR_FULL, "%s is larger than %d bytes", file, CATALOG_IMAGE_BYTES_MAX);
    else
        rc = image_read(fd, (size_t)st.st_size, out, err);
    (void)close(fd);
    tokens->seen = st; /* also a bad one: it is not read again and again, the next one will differ */
    return rc < 0 ? -1 : 1;
}

static void tokens_refresh(struct tokens *tokens)
{
    static struct say_gate   gate;
    struct catalog_snapshot *old = atomic_load(&tokens->current);
    struct catalog_snapshot *new;
    struct err               err = { 0 };
    int                      changed = tokens_look(tokens, CATALOG_IMAGE_FILE, &new, &err);

    if (changed < 0)
        say_seldom(&gate, SAY_WARN, "the catalog cannot be read, its last state stays in force: %s", err.text);
    if (changed <= 0)
        return;
    atomic_store(&tokens->current, new);
    tokens_tell(tokens, new);
    while (tokens_pinned(tokens, old))
        tokens_sleep(tokens, TOKENS_PINNED_POLL_MS);
    catalog_snapshot_free(old);
}

static void *tokens_help(void *arg)
{
    struct tokens *tokens = arg;

    while (!atomic_load(&tokens->stop)) {
        tokens_refresh(tokens);
        tokens_sleep(tokens, TOKENS_POLL_MS);
    }
    return NULL;
}

/* Its maker may have been started in this moment. Where it cannot leave one (the disk is full, or the catalog cannot be read) what was in force
 * before the start is better than nobody who answers. */
static int tokens_first(struct tokens *tokens, struct catalog_snapshot **out, struct err *err)
{
    struct timespec pause = { .tv_nsec = TOKENS_FIRST_POLL_MS * 1000000L };
    int             found = 0;

    for (int i = 0; i < TOKENS_FIRST_TRIES && found <= 0; i++) {
        found = tokens_look(tokens, CATALOG_IMAGE_FILE, out, err);
        if (found <= 0)
            nanosleep(&pause, NULL);
    }
    if (found <= 0 && tokens_look(tokens, CATALOG_IMAGE_BEFORE, out, err) == 1) {
        say(SAY_WARN, "the process that tells the catalog has left no image in 5 s: the tokens and rules of before this start are in force until it does");
        return 0;
    }
    if (found == 0)
        (void)err_set(err, ERR_RETRY, "the process that tells the catalog has left no image in 5 s");
    return found == 1 ? 0 : -1;
}

int tokens_open(int run_fd, size_t readers, struct tokens **out, struct err *err)
{
    struct tokens           *tokens = calloc(1, sizeof *tokens);
    struct catalog_snapshot *first;

    if (tokens == NULL)
        return err_set(err, ERR_FULL, "no memory for tokens");
    tokens->reader_count = readers;
    tokens->readers = aligned_alloc(64, readers * sizeof *tokens->readers);
    tokens->run_fd = run_fd;
    if (tokens->readers == NULL) {
        err_set(err, ERR_FULL, "no memory for tokens");
        goto failed;
    }
    for (size_t i = 0; i < readers; i++)
        atomic_init(&tokens->readers[i].pinned, NULL);
    if (tokens_first(tokens, &first, err) < 0)
        goto failed;
    atomic_init(&tokens->current, first);
    atomic_init(&tokens->stop, false);
    pthread_mutex_init(&tokens->lock, NULL);
    wait_cond_init(&tokens->wake);
    *out = tokens;
    return 0;

failed:
    free(tokens->readers);
    free(tokens);
    return -1;
}

int tokens_start(struct tokens *tokens, struct capture_metrics *metrics, struct err *err)
{
    tokens->metrics = metrics;
    tokens_tell(tokens, atomic_load(&tokens->current));
    if (pthread_create(&tokens->helper, NULL, tokens_help, tokens) != 0)
        return err_set(err, ERR_FULL, "no thread for tokens");
    tokens->started = true;
    return 0;
}

void tokens_close(struct tokens *tokens)
{
    if (tokens == NULL)
        return;
    pthread_mutex_lock(&tokens->lock);
    atomic_store(&tokens->stop, true);
    pthread_cond_signal(&tokens->wake);
    pthread_mutex_unlock(&tokens->lock);
    if (tokens->started)
        pthread_join(tokens->helper, NULL);
    catalog_snapshot_free(atomic_load(&tokens->current));
    pthread_cond_destroy(&tokens->wake);
    pthread_mutex_destroy(&tokens->lock);
    free(tokens->readers);
    free(tokens);
}

const struct catalog_snapshot *tokens_pin(struct tokens *tokens, size_t reader)
{
    const struct catalog_snapshot *snapshot = atomic_load_explicit(&tokens->current, memory_order_acquire);

    for (;;) {
        const struct catalog_snapshot *again;

        atomic_store(&tokens->readers[reader].pinned, snapshot);
        again = atomic_load(&tokens->current);
        if (again == snapshot)
            return snapshot;
        snapshot = again; /* swapped in between: the helper may not have seen our pin */
    }
}

void tokens_unpin(struct tokens *tokens, size_t reader)
{
    atomic_store_explicit(&tokens->readers[reader].pinned, NULL, memory_order_release);
}
