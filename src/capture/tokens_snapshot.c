/* capture/tokens_snapshot.c - hazard pointers, one a reader: pinning costs one ordered store, and the
 * helper, which has all the time in the world, waits. A lock would make loops wait for each other; a
 * reference count would make them share a cache line. */
#include "capture/tokens_snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/say.h"

enum { TOKENS_POLL_MS = 100, TOKENS_PINNED_POLL_MS = 1 };

struct tokens_reader {
    _Alignas(64) _Atomic(const struct catalog_snapshot *) pinned;
};

struct tokens {
    struct catalog         *catalog; /* @thread helper, after open */
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
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&tokens->lock);
    if (!atomic_load(&tokens->stop))
        (void)pthread_cond_timedwait(&tokens->wake, &tokens->lock, &until);
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
    capture_gauge(tokens->metrics, CAPTURE_METRIC_CATALOG_VERSION, (int64_t)catalog_snapshot_version(snapshot));
}

static void tokens_refresh(struct tokens *tokens)
{
    static struct say_gate   gate;
    struct catalog_snapshot *old = atomic_load(&tokens->current);
    struct catalog_snapshot *new;
    struct err               err = { 0 };
    int                      changed = catalog_changed(tokens->catalog, old, &err);

    if (changed == 0)
        return;
    if (changed < 0 || catalog_snapshot_load(tokens->catalog, &new, &err) < 0) {
        say_seldom(&gate, SAY_WARN, "the catalog cannot be read, its last state stays in force: %s", err.text);
        return;
    }
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

int tokens_open(const char *catalog_path, size_t readers, struct capture_metrics *metrics, struct tokens **out,
                struct err *err)
{
    struct tokens           *tokens = calloc(1, sizeof *tokens);
    struct catalog_snapshot *first;
    pthread_condattr_t       attr;

    if (tokens == NULL)
        return err_set(err, ERR_FULL, "no memory for tokens");
    tokens->reader_count = readers;
    tokens->metrics = metrics;
    tokens->readers = aligned_alloc(64, readers * sizeof *tokens->readers);
    if (tokens->readers == NULL) {
        err_set(err, ERR_FULL, "no memory for tokens");
        goto failed;
    }
    for (size_t i = 0; i < readers; i++)
        atomic_init(&tokens->readers[i].pinned, NULL);
    if (catalog_open(catalog_path, &tokens->catalog, err) < 0 ||
        catalog_snapshot_load(tokens->catalog, &first, err) < 0)
        goto failed;
    atomic_init(&tokens->current, first);
    tokens_tell(tokens, first);
    atomic_init(&tokens->stop, false);
    pthread_mutex_init(&tokens->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&tokens->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&tokens->helper, NULL, tokens_help, tokens) != 0) {
        err_set(err, ERR_FULL, "no thread for tokens");
        catalog_snapshot_free(first);
        goto failed;
    }
    *out = tokens;
    return 0;

failed:
    if (tokens->catalog != NULL)
        catalog_close(tokens->catalog);
    free(tokens->readers);
    free(tokens);
    return -1;
}

void tokens_close(struct tokens *tokens)
{
    if (tokens == NULL)
        return;
    pthread_mutex_lock(&tokens->lock);
    atomic_store(&tokens->stop, true);
    pthread_cond_signal(&tokens->wake);
    pthread_mutex_unlock(&tokens->lock);
    pthread_join(tokens->helper, NULL);
    catalog_snapshot_free(atomic_load(&tokens->current));
    catalog_close(tokens->catalog);
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
