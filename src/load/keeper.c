/* load/keeper.c - open on demand, shut when idle, set aside when damaged.
 *
 * Why shut at all: an open engine holds its buffers; after a burst that is the whole of its memory limit,
 * and a small machine has better uses for half a gigabyte while nothing happens. Closing also folds the
 * write-ahead log into the file, so that the next start is quick.
 *
 * Nothing is deleted here: what is set aside stays for a person to look at. */
#include "load/keeper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/put_aside.h"
#include "base/say.h"
#include "load/poison.h"

struct keeper {
    const struct warehouse_options *options; /* fixed after start */
    pthread_mutex_t                 lock;
    pthread_cond_t                  changed;
    struct warehouse               *warehouse;  /* @lock lock, with all that follows */
    unsigned                        users;
    unsigned                        leaving;    /* threads in keeper_shut */
    int64_t                         last_use_us;
    unsigned                        rebuilds;
};

struct keeper *keeper_new(const struct warehouse_options *options)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);

    if (keeper == NULL)
        return NULL;
    keeper->options = options;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    return keeper;
}

void keeper_free(struct keeper *keeper)
{
    if (keeper == NULL)
        return;
    assert(keeper->users == 0);
    warehouse_close(keeper->warehouse);
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

/* --- damage ------------------------------------------------------------------------------------ */

static int set_aside_file(const char *path, const char *end, const char *mark)
{
    int rc = put_aside_end(AT_FDCWD, path, mark, end);

    if (rc < 0)
        say(SAY_ERROR, "%s%s is damaged, and cannot be called %s%s%s: %s", path, end, path, mark, end, strerror(errno));
    return rc;
}

/* The database and its log belong together, and keep their names' ends, so that they can be looked at. */
static void set_aside(struct keeper *keeper, const char *why)
{
    static const char *const ends[] = { "", ".wal", NULL };
    const char              *path = keeper->options->path;
    char                     mark[PUT_ASIDE_MARK_BYTES];

    if (put_aside_mark(AT_FDCWD, path, ends, "damaged", clock_wall_us(), mark) < 0) {
        say(SAY_ERROR, "%s is damaged, and cannot be set aside: %s", path, strerror(errno));
        return;
    }
    /* The log first: killed between the two, the file alone is whole. */
    if (set_aside_file(path, ".wal", mark) < 0 || set_aside_file(path, "", mark) < 0)
        return;
    keeper->rebuilds++;
    say(SAY_ERROR, "the warehouse is damaged and was set aside as %s%s; it is now built anew from the log, as far back "
                   "as the log goes (%s)", path, mark, why);
}

/* --- use --------------------------------------------------------------------------------------- */

static int open_or_rebuild(struct keeper *keeper, struct err *err)
{
    if (warehouse_open(keeper->options, &keeper->warehouse, err) == 0)
        return 0;
    if (err->kind != ERR_CORRUPT)
        return -1;
    set_aside(keeper, err->text);
    if (warehouse_open(keeper->options, &keeper->warehouse, err) == 0)
        return 0;
    if (err->kind == ERR_CORRUPT) /* a new file: the disk or the library is to blame, not the file */
        err->kind = ERR_STOP;
    return -1;
}

int keeper_use(struct keeper *keeper, struct warehouse **out, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&keeper->lock);
    while (keeper->leaving > 0)
        pthread_cond_wait(&keeper->changed, &keeper->lock);
    if (keeper->warehouse == NULL)
        rc = open_or_rebuild(keeper, err);
    if (rc == 0) {
        keeper->users++;
        *out = keeper->warehouse;
    }
    pthread_mutex_unlock(&keeper->lock);
    return rc;
}

void keeper_done(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    assert(keeper->users > 0);
    keeper->users--;
    keeper->last_use_us = clock_mono_us();
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
}

int keeper_query(void *ctx, const char *sql, enum warehouse_format format, warehouse_write *write, void *write_ctx,
                 const atomic_bool *cancel, struct err *err)
{
    struct keeper    *keeper = ctx;
    struct warehouse *warehouse;
    int               rc;

    if (keeper_use(keeper, &warehouse, err) < 0)
        return -1;
    rc = warehouse_query(warehouse, sql, format, write, write_ctx, cancel, err);
    keeper_done(keeper);
    return rc;
}

bool keeper_is_leaving(struct keeper *keeper)
{
    bool leaving;

    pthread_mutex_lock(&keeper->lock);
    leaving = keeper->leaving > 0;
    pthread_mutex_unlock(&keeper->lock);
    return leaving;
}

static void close_it(struct keeper *keeper)
{
    warehouse_close(keeper->warehouse);
    keeper->warehouse = NULL;
}

void keeper_shut(struct keeper *keeper, bool damaged)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->leaving++;
    while (keeper->users > 0)
        pthread_cond_wait(&keeper->changed, &keeper->lock);
    close_it(keeper);
    if (damaged)
        set_aside(keeper, "a read gave other bytes than were written");
    keeper->leaving--;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
}

static int rewrite(void *ctx, struct err *err)
{
    const struct keeper *keeper = ctx;

    return warehouse_rewrite(keeper->options, err);
}

int keeper_rewrite(struct keeper *keeper, struct err *err)
{
    return keeper_alone(keeper, rewrite, keeper, err);
}

int keeper_alone(struct keeper *keeper, keeper_work *work, void *ctx, struct err *err)
{
    int rc;

    pthread_mutex_lock(&keeper->lock);
    keeper->leaving++;
    while (keeper->users > 0)
        pthread_cond_wait(&keeper->changed, &keeper->lock);
    close_it(keeper);
    rc = work(ctx, err);
    keeper->leaving--;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    return rc;
}

void keeper_rest(struct keeper *keeper, int64_t now_us, int64_t idle_us)
{
    pthread_mutex_lock(&keeper->lock);
    if (keeper->users == 0 && keeper->warehouse != NULL && now_us - keeper->last_use_us >= idle_us)
        close_it(keeper);
    pthread_mutex_unlock(&keeper->lock);
}

unsigned keeper_rebuilds(struct keeper *keeper)
{
    unsigned rebuilds;

    pthread_mutex_lock(&keeper->lock);
    rebuilds = keeper->rebuilds;
    pthread_mutex_unlock(&keeper->lock);
    return rebuilds;
}

void keeper_abandon(struct poison *poison, const struct err *err)
{
    say(SAY_ERROR, "the warehouse's engine had no memory to commit, and what it holds is not known any more; its process ends, "
                   "the file is whole and nothing is lost: %s", err->text);
    poison_end(poison, NULL);
    _exit(EXIT_FAILURE);
}
