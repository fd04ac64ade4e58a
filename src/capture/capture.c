/* capture/capture.c - starts what the loops share, then the loops; stops in the reverse order. The
 * committer is stopped before the loops' memory goes, because its last answers write to their eventfds. */
#include "capture/capture.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/say.h"
#include "capture/loop.h"

static void *capture_thread(void *arg)
{
    loop_run(arg);
    return NULL;
}

/* Opens the raw topic for writing, gives its committer. The log outlives it. */
static int capture_open_log(const struct role_env *env, const struct capture_settings *settings, struct log **log_out,
                            struct log_commit **commit_out, struct err *err)
{
    static const char *const     cursors[] = { "ingest", NULL };
    char                         folder[4096];
    struct log_options           options = { .folder = folder };
    struct log_topic_options     topic = { .codec = settings->compress ? LOG_CODEC_LZ4 : LOG_CODEC_NONE,
                                           .segment_bytes = (uint64_t)settings->segment_bytes,
                                           .retention_bytes = (uint64_t)settings->retention_bytes,
                                           .retention_us = settings->retention_us,
                                           .disk_reserve_bytes = (uint64_t)settings->disk_reserve_bytes,
                                           .cursors_needed = cursors };
    struct log_commit_options    commit = { .pending_bytes_max = (size_t)settings->memory_max };
    struct log_writer           *writer;

    (void)snprintf(folder, sizeof folder, "%s/log", env->data_folder);
    if (log_open(&options, log_out, err) < 0)
        return -1;
    if (log_writer_open(*log_out, "raw", 0, &topic, &writer, err) < 0 ||
        log_commit_start(writer, &commit, commit_out, err) < 0) {
        log_close(*log_out);
        return -1;
    }
    return 0;
}

/* One thread a loop; the first loop has this one. */
static int capture_run_loops(struct loop *loops, size_t count, struct err *err)
{
    pthread_t threads[64];
    size_t    started = 1;
    int       rc = 0;

    for (; started < count; started++)
        if (pthread_create(&threads[started], NULL, capture_thread, &loops[started]) != 0) {
            rc = err_set(err, ERR_FULL, "capture: no thread for loop %zu", started);
            atomic_store(&loops[0].shared->failed, true);
            break;
        }
    if (rc < 0)
        for (size_t i = 1; i < started; i++)
            loop_wake(&loops[i]);
    loop_run(&loops[0]);
    for (size_t i = 1; i < started; i++)
        pthread_join(threads[i], NULL);
    return rc;
}

static int capture_serve(struct capture_shared *shared, struct err *err)
{
    size_t       count = (size_t)shared->settings->threads;
    size_t       made = 0;
    struct loop *loops = calloc(count, sizeof *loops);
    int          rc = -1;

    if (loops == NULL)
        return err_set(err, ERR_FULL, "capture: no memory for loops");
    shared->loops = loops;
    for (; made < count; made++)
        if (loop_init(&loops[made], shared, made, err) < 0)
            break;
    if (made == count) {
        rc = capture_run_loops(loops, count, err);
        if (rc == 0 && atomic_load(&shared->failed)) {
            *err = shared->failure;
            rc = err_wrap(err, "capture");
        }
    }
    log_commit_stop(shared->commit);
    for (size_t i = 0; i < made; i++)
        loop_fini(&loops[i]);
    free(loops);
    return rc;
}

static int capture_run(const struct role_env *env, struct err *err)
{
    const struct capture_settings *settings = env->options;
    struct capture_shared          shared = { .settings = settings,
                                              .run_folder = env->run_folder,
                                              .listen_fd = env->listen_fd,
                                              .stop_fd = env->stop_fd,
                                              .failure_taken = ATOMIC_FLAG_INIT };
    char                           path[4096];
    struct log                    *log;
    int                            rc = -1;

    (void)signal(SIGPIPE, SIG_IGN);
    atomic_init(&shared.failed, false);
    (void)snprintf(path, sizeof path, "%s/catalog.db", env->data_folder);
    if (capture_metrics_open(env->run_folder, &shared.metrics, err) < 0)
        return err_wrap(err, "capture");
    if (tokens_open(path, (size_t)settings->threads, shared.metrics, &shared.tokens, err) < 0) {
        err_wrap(err, "capture");
        goto no_tokens;
    }
    if (capture_open_log(env, settings, &log, &shared.commit, err) < 0)
        goto no_log;
    rc = capture_serve(&shared, err);
    log_close(log);
no_log:
    tokens_close(shared.tokens);
no_tokens:
    capture_metrics_close(shared.metrics);
    return rc;
}

const struct role capture_role = {
    .name = "capture",
    .help = "accepts events over HTTP; a 200 means that they are on disk",
    .options = capture_options,
    .options_bytes = sizeof(struct capture_settings),
    .run = capture_run,
};
