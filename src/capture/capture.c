/* capture/capture.c - starts what the loops share, then the loops; stops in the reverse order. The
 * committer is stopped before the loops' memory goes, because its last answers write to their eventfds.
 * The order at the start is the cage's: what has to be read is read first (tokens, the log's end), then the process locks
 * itself in (capture/capture_cage.h), and after that it starts threads and takes connections. */
#include "capture/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/say.h"
#include "capture/capture_cage.h"
#include "capture/heir.h"
#include "capture/loop.h"
#include "capture/urgency.h"
#include "log/log_access.h"

enum { CAPTURE_FILES_OWN = 128 }; /* of the log, the catalog, loops, listening sockets; and some for later */

static void *capture_thread(void *arg)
{
    loop_run(arg);
    return NULL;
}

struct capture_opening {
    const struct role_env *env;
    struct capture_shared *shared;
    struct heir            heir;
    struct capture_user    user;
    struct log_access      access;
    struct log            *log; /* NULL: not open yet. @thread the one that opens, then the role's */
    pthread_t              thread;
    bool                   waiting; /* there is a thread that tries again */
    atomic_bool            stop;
};

static int capture_open_topic(struct log *log, const struct capture_settings *settings, int lane, struct log_writer **out,
                              struct err *err)
{
    static const char *const cursors[] = { "ingest", NULL };
    bool                     replay = lane == LANE_REPLAY;
    int64_t                  bytes = replay ? settings->replay_retention_bytes : settings->retention_bytes;
    struct log_topic_options topic = { .codec = settings->compress ? LOG_CODEC_LZ4 : LOG_CODEC_NONE,
                                       .segment_bytes = (uint64_t)settings->segment_bytes,
                                       .retention_bytes = (uint64_t)bytes,
                                       .retention_us = replay ? settings->replay_retention_us : settings->retention_us,
                                       .disk_reserve_bytes = (uint64_t)settings->disk_reserve_bytes,
                                       .cursors_needed = replay ? NULL : cursors,
                                       .clock_guard = true,
                                       .keeps_places = true,
                                       .for_commit = true };

    return log_writer_open(log, lane_topic(lane), 0, &topic, out, err);
}

/* Opens the topics for writing: the last time that anything is read from them. No threads. The log outlives its writers. */
static int capture_open_log(const struct role_env *env, const struct capture_settings *settings, struct log_access *access,
                            struct log **log_out, struct log_writer *writers_out[CAPTURE_LANES], struct err *err)
{
    struct log_writer *writers[CAPTURE_LANES] = { NULL };

    if (log_access_init(access, env->data_folder, stores_log(env->stores), NULL, true, err) < 0 ||
        log_open(&access->options, log_out, err) < 0)
        return -1;
    for (int i = 0; i < CAPTURE_LANES; i++)
        if (capture_open_topic(*log_out, settings, i, &writers[i], err) < 0) {
            while (i-- > 0)
                log_writer_close(writers[i]);
            log_close(*log_out);
            *log_out = NULL;
            return -1;
        }
    memcpy(writers_out, writers, sizeof writers);
    return 0;
}

/* @thread a committer */
static void capture_watch(void *ctx, const struct log_commit_look *look)
{
    const struct capture_watched *watched = ctx;

    spool_watch_note(watched->watch, watched->lane, look);
}

/* Gives each writer its committer, and the loops the committers. */
static int capture_start_commits(struct capture_shared *shared, struct log *log,
                                 struct log_writer *const writers_take[CAPTURE_LANES], struct err *err)
{
    struct log_commit_options options = { .pending_bytes_max = (size_t)shared->settings->memory_max, .watch = shared->log_remote ? capture_watch : NULL };
    struct log_commit        *commits[CAPTURE_LANES] = { NULL };

    for (int i = 0; i < CAPTURE_LANES; i++) {
        shared->watched[i] = (struct capture_watched){ .watch = shared->spool_watch, .lane = (size_t)i };
        options.watch_ctx = &shared->watched[i];
        if (log_commit_start(writers_take[i], &options, &commits[i], err) < 0) {
            for (int k = i; k < CAPTURE_LANES; k++)
                log_writer_close(writers_take[k]);
            while (i-- > 0)
                log_commit_stop(commits[i]);
            return -1;
        }
    }
    if (!shared->log_remote) /* there nobody on a loop asks it anything */
        atomic_store_explicit(&shared->log, log, memory_order_release);
    for (int i = CAPTURE_LANES; i-- > 0;)
        atomic_store_explicit(&shared->commits[i], commits[i], memory_order_release);
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

/* A full disk at the start is answered like one that fills later: 503, until there is room. */
static void *capture_open_later(void *arg)
{
    struct capture_opening *opening = arg;
    struct timespec         pause = { .tv_nsec = 200000000 };
    struct log_writer      *writers[CAPTURE_LANES];

    while (!atomic_load(&opening->stop)) {
        struct err err = { 0 };

        nanosleep(&pause, NULL);
        if (capture_open_log(opening->env, opening->shared->settings, &opening->access, &opening->log, writers, &err) == 0) {
            if (capture_start_commits(opening->shared, opening->log, writers, &err) < 0)
                say(SAY_ERROR, "%s", err.text);
            else
                say(SAY_INFO, "there is room on the disk: events are accepted");
            break;
        }
    }
    return NULL;
}

/* What was read is read; from here on this process is locked in, and only then has threads. */
static int capture_open(struct capture_opening *opening, struct err *err)
{
    struct capture_shared *shared = opening->shared;
    struct log_writer     *writers[CAPTURE_LANES] = { NULL };
    int                    rc;
    bool                   full;

    atomic_init(&opening->stop, false);
    if (opening->env->own_process && opening->env->old_fd >= 0)
        role_tell(opening->env, ROLE_TAKES);
    if (heir_take(&opening->heir, opening->env->own_process ? opening->env->old_fd : -1, err) < 0)
        return -1;
    rc = capture_open_log(opening->env, shared->settings, &opening->access, &opening->log, writers, err);
    full = rc < 0 && err->kind == ERR_FULL && opening->heir.talk_fd < 0;
    if (rc < 0 && !full)
        return rc;
    if (capture_metrics_show(shared->metrics, err) < 0 || spool_watch_show(shared->spool_watch, err) < 0)
        return -1;
    if (full)
        say(SAY_ERROR, "no events are accepted until there is room: %s", err->text);
    if (opening->env->own_process && capture_cage_enter(opening->env, shared->run_fd, shared->settings, &opening->user, full, shared->metrics, err) < 0)
        return -1;
    if (!full)
        return capture_start_commits(shared, opening->log, writers, err) < 0 || heir_open(&opening->heir, shared, err) < 0 ? -1 : 0;
    if (pthread_create(&opening->thread, NULL, capture_open_later, opening) != 0)
        return -1;
    opening->waiting = true;
    return 0;
}

static void capture_open_end(struct capture_opening *opening)
{
    atomic_store(&opening->stop, true);
    if (opening->waiting)
        pthread_join(opening->thread, NULL);
    heir_end(&opening->heir);
    for (int i = 0; i < CAPTURE_LANES; i++)
        log_commit_stop(atomic_load(&opening->shared->commits[i]));
}

static int capture_serve(struct capture_opening *opening, struct err *err)
{
    struct capture_shared *shared = opening->shared;
    size_t       count = (size_t)shared->settings->threads;
    size_t       made = 0;
    struct loop *loops = calloc(count, sizeof *loops);
    struct heir_watch watch;
    int          rc = -1;

    if (loops == NULL) {
        capture_open_end(opening);
        return err_set(err, ERR_FULL, "capture: no memory for loops");
    }
    shared->loops = loops;
    for (; made < count; made++)
        if (loop_init(&loops[made], shared, made, err) < 0)
            break;
    if (made == count && scrape_start(shared, &shared->scrape, err) == 0 &&
        heir_watch_start(&watch, shared, opening->env->own_process ? opening->env->heir_fd : -1, err) == 0) {
        role_tell(opening->env, ROLE_READY);
        rc = capture_run_loops(loops, count, err);
        heir_watch_end(&watch);
        if (rc == 0 && atomic_load(&shared->failed)) {
            *err = shared->failure;
            rc = err_wrap(err, "capture");
        }
    }
    scrape_stop(shared->scrape);
    capture_open_end(opening);
    for (size_t i = 0; i < made; i++)
        loop_fini(&loops[i]);
    free(loops);
    return rc;
}

/* How many connections there may be, of all and of an address. Files that the log opens later must find a
 * descriptor, or its writer ends; so connections leave some. */
static int capture_limit(struct capture_shared *shared, struct err *err)
{
    const struct capture_settings *settings = shared->settings;
    struct addresses_limits        limits = { .connections_max = settings->address_connections_max,
                                              .connects_per_s = settings->address_connects_per_second,
                                              .requests_per_s = settings->address_requests_per_second,
                                              .bytes_per_s = settings->address_bytes_per_second,
                                              .exempt = settings->address_exempt };
    int64_t                        most = settings->connections_max;
    struct capture_settings        defaults;
    struct rlimit                  files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        if (files.rlim_cur < files.rlim_max) {
            files.rlim_cur = files.rlim_max;
            (void)setrlimit(RLIMIT_NOFILE, &files);
            (void)getrlimit(RLIMIT_NOFILE, &files);
        }
        if (files.rlim_cur != RLIM_INFINITY && (int64_t)files.rlim_cur - CAPTURE_FILES_OWN < most) {
            most = (int64_t)files.rlim_cur - CAPTURE_FILES_OWN;
            option_defaults(capture_options, &defaults);
            say(settings->connections_max == defaults.connections_max ? SAY_INFO : SAY_WARN, /* nobody asked for so many */
                "%lld open files are allowed (ulimit -n): at most %lld connections, not %lld", (long long)files.rlim_cur,
                (long long)(most < 1 ? 1 : most), (long long)settings->connections_max);
        }
    }
    most /= settings->threads;
    shared->connections_max = (size_t)(most < 1 ? 1 : most);
    if (addresses_open(&limits, &shared->addresses, err) < 0)
        return err_wrap(err, "capture");
    return 0;
}

/* Who is believed to say whom a request came from. */
static int capture_trust(struct capture_shared *shared, struct err *err)
{
    const struct capture_settings *settings = shared->settings;

    if (client_ip_rules_read(settings->trusted_proxies, settings->forwarded_header, settings->trust_forwarded,
                             &shared->client_ip, err) < 0)
        return err_wrap(err, "capture");
    return 0;
}

static int capture_tls(const struct role_env *env, struct capture_shared *shared, struct err *err)
{
    for (size_t i = 0; i < env->listeners_count; i++)
        if (env->listeners[i].tls)
            return tls_open(env->tls_fd, shared->metrics, &shared->tls, err);
    return 0;
}

static int capture_watch_open(const struct role_env *env, struct capture_shared *shared, struct err *err)
{
    const char *topics[CAPTURE_LANES];

    for (int i = 0; i < CAPTURE_LANES; i++)
        topics[i] = lane_topic(i);
    return spool_watch_open(env->run_folder, topics, CAPTURE_LANES, &shared->spool_watch, err) < 0 ? err_wrap(err, "capture") : 0;
}

static int capture_run(const struct role_env *env, struct err *err)
{
    const struct capture_settings *settings = env->options;
    struct capture_shared          shared = { .settings = settings,
                                              .listeners = env->listeners,
                                              .listeners_count = env->listeners_count,
                                              .stop_fd = env->stop_fd,
                                              .log_remote = log_on_kafka(stores_log(env->stores)),
                                              .failure_taken = ATOMIC_FLAG_INIT };
    struct capture_opening         opening = { .env = env, .shared = &shared };
    int                            rc = -1;

    (void)signal(SIGPIPE, SIG_IGN);
    if (env->own_process)
        urgency_ask(); /* before there are threads, and before the cage */
    atomic_init(&shared.failed, false);
    atomic_init(&shared.handed, false);
    atomic_init(&shared.log, NULL);
    for (int i = 0; i < CAPTURE_LANES; i++)
        atomic_init(&shared.commits[i], NULL);
    shared.run_fd = open(env->run_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (shared.run_fd < 0)
        return err_errno(err, errno, "capture: %.200s", env->run_folder);
    if (capture_metrics_open(env->run_folder, &shared.metrics, err) < 0) {
        err_wrap(err, "capture");
        goto no_metrics;
    }
    if (shared.log_remote && capture_watch_open(env, &shared, err) < 0)
        goto no_addresses;
    if ((env->own_process && capture_cage_find_user(settings, &opening.user, err) < 0) || capture_limit(&shared, err) < 0 ||
        capture_trust(&shared, err) < 0)
        goto no_addresses;
    if (tokens_open(shared.run_fd, (size_t)settings->threads, &shared.tokens, err) < 0) {
        err_wrap(err, "capture");
        goto no_tokens;
    }
    shared.rates = rates_new();
    if (shared.rates == NULL) {
        err_set(err, ERR_FULL, "capture: no memory for rates");
        goto no_rates;
    }
    if (capture_tls(env, &shared, err) < 0) {
        err_wrap(err, "capture");
        goto no_tls;
    }
    if (capture_open(&opening, err) < 0) {
        err_wrap(err, "capture");
        goto no_log;
    }
    if (tokens_start(shared.tokens, shared.metrics, err) < 0 || tls_start(shared.tls, err) < 0) {
        capture_open_end(&opening);
        err_wrap(err, "capture");
        goto no_log;
    }
    rc = capture_serve(&opening, err);
no_log:
    if (opening.log != NULL)
        log_close(opening.log);
    tls_close(shared.tls);
no_tls:
    rates_free(shared.rates);
no_rates:
    tokens_close(shared.tokens);
no_tokens:
    addresses_close(shared.addresses);
no_addresses:
    spool_watch_close(shared.spool_watch);
    capture_metrics_close(shared.metrics);
no_metrics:
    (void)close(shared.run_fd);
    return rc;
}

const struct role capture_role = {
    .name = "capture",
    .help = "accepts events over HTTP; a 200 means that they are on disk",
    .options = capture_options,
    .options_bytes = sizeof(struct capture_settings),
    .run = capture_run,
};
