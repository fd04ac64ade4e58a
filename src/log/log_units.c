/* log/log_units.c - see log_units.h. A thread a partition, and not one for all: a batch waits for brokers and stores, and who waits
 * should keep nobody else waiting. */
#include "log/log_units.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"

enum { LOOK_MS = 1000 };

struct unit {
    struct units *units;
    uint32_t      partition;
    int           stop_fd; /* -1: it does not run */
    int64_t       asked_us; /* of the monotonic clock: to end; 0: not yet */
    pthread_t     thread;
};

struct units {
    const struct log_units_work *work;
    struct unit                 *at; /* by partition; @thread the group's */
    uint32_t                     count;
    int                          failed_fd;
    pthread_mutex_t              lock;
    struct err                   failed; /* @lock lock; of the first one that did */
};

bool log_units_stopped(int stop_fd, int wait_ms)
{
    struct pollfd at = { .fd = stop_fd, .events = POLLIN };

    return poll(&at, 1, wait_ms) > 0;
}

static void signal_fd(int fd)
{
    const uint64_t one = 1;

    if (write(fd, &one, sizeof one) < 0) {
        /* it is signalled already */
    }
}

static void units_fail(struct units *units, const struct err *err)
{
    pthread_mutex_lock(&units->lock);
    if (units->failed.kind == ERR_NONE)
        units->failed = *err;
    pthread_mutex_unlock(&units->lock);
    signal_fd(units->failed_fd);
}

static void *unit_main(void *arg)
{
    struct unit *unit = arg;
    struct err   err = { 0 };

    if (unit->units->work->run(unit->units->work->ctx, unit->partition, unit->stop_fd, &err) < 0)
        units_fail(unit->units, &err);
    return NULL;
}

static void unit_start(void *ctx, uint32_t partition)
{
    struct units *units = ctx;
    struct unit  *unit;
    struct err    err;
    int           rc;

    if (partition >= units->count || units->at[partition].stop_fd >= 0)
        return;
    unit = &units->at[partition];
    *unit = (struct unit){ .units = units, .partition = partition, .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    rc = unit->stop_fd < 0 ? errno : pthread_create(&unit->thread, NULL, unit_main, unit);
    if (rc == 0) {
        say(SAY_INFO, "unit %u is ours", partition);
        return;
    }
    (void)err_errno(&err, rc, "start unit %u", partition);
    if (unit->stop_fd >= 0)
        close(unit->stop_fd);
    unit->stop_fd = -1;
    units_fail(units, &err);
}

static void unit_leave(void *ctx, uint32_t partition)
{
    struct units *units = ctx;

    if (partition >= units->count || units->at[partition].stop_fd < 0)
        return;
    if (units->at[partition].asked_us == 0)
        units->at[partition].asked_us = clock_mono_us();
    signal_fd(units->at[partition].stop_fd);
}

static void unit_stop(void *ctx, uint32_t partition)
{
    struct units *units = ctx;
    struct unit  *unit;
    int64_t       took_us;

    if (partition >= units->count || units->at[partition].stop_fd < 0)
        return;
    unit = &units->at[partition];
    unit_leave(units, partition);
    pthread_join(unit->thread, NULL);
    close(unit->stop_fd);
    unit->stop_fd = -1;
    took_us = clock_mono_us() - unit->asked_us;
    say(SAY_INFO, "unit %u is another's, %.2f s after it was asked for", partition, (double)took_us / 1e6);
    if (units->work->gave != NULL)
        units->work->gave(units->work->ctx, took_us);
}

/* Brokers that are away, or slow, are waited for: to end would be to start again, and to wait then. 1: joined; 0: the stop came. */
static int units_join(struct log *log, const char *role, const char *topic, const struct log_group_calls *calls, int stop_fd,
                      struct log_group **out, struct err *err)
{
    enum { AGAIN_MS_MIN = 200, AGAIN_MS_MAX = 5000 };
    int wait_ms = AGAIN_MS_MIN;

    while (log_group_join(log, role, topic, calls, out, err) < 0) {
        if (err->kind != ERR_RETRY)
            return -1;
        say(SAY_WARN, "%s; trying again in %.1f s", err->text, (double)wait_ms / 1000);
        if (log_units_stopped(stop_fd, wait_ms))
            return 0;
        wait_ms = wait_ms * 2 < AGAIN_MS_MAX ? wait_ms * 2 : AGAIN_MS_MAX;
    }
    return 1;
}

/* The group's first answer may take seconds, and more partitions may come later: joined is ready. */
static int units_serve(struct log *log, const char *role, const char *topic, struct units *units, int stop_fd, struct err *err)
{
    const struct log_group_calls calls = { .start = unit_start, .leave = unit_leave, .stop = unit_stop, .ctx = units };
    struct log_group            *group;
    struct pollfd                ends[2] = { { .fd = stop_fd, .events = POLLIN }, { .fd = units->failed_fd, .events = POLLIN } };

    int                          joined = units_join(log, role, topic, &calls, stop_fd, &group, err);

    if (joined < 1)
        return joined;
    if (units->work->ready != NULL)
        units->work->ready(units->work->ctx);
    while (poll(ends, 2, units->work->look != NULL ? LOOK_MS : -1) <= 0)
        if (units->work->look != NULL)
            units->work->look(units->work->ctx);
    log_group_leave(group);
    if (units->failed.kind == ERR_NONE)
        return 0;
    *err = units->failed;
    return -1;
}

int log_units_run(struct log *log, const char *role, const char *topic, const struct log_units_work *work, int stop_fd, struct err *err)
{
    struct units units = { .work = work, .count = log_partitions(log) };
    int          rc;

    units.at = calloc(units.count, sizeof *units.at);
    units.failed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (units.at == NULL || units.failed_fd < 0) {
        if (units.failed_fd >= 0)
            close(units.failed_fd);
        free(units.at);
        return err_set(err, ERR_FULL, "no memory for %u units", units.count);
    }
    for (uint32_t i = 0; i < units.count; i++)
        units.at[i].stop_fd = -1;
    pthread_mutex_init(&units.lock, NULL);
    rc = units_serve(log, role, topic, &units, stop_fd, err);
    pthread_mutex_destroy(&units.lock);
    close(units.failed_fd);
    free(units.at);
    return rc;
}
