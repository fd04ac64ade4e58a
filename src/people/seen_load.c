/* people/seen_load.c - from the store's folder into memory, and out of it again.
 *
 * Loading costs some 0.2 us a recent id and a reading of all filters (1.5 bytes an id), once a start (people_seen_load). A file that
 * cannot be used is told and passed over; what that means for its ids is in docs/decisions/seen-ids.md. */
#include "people/seen.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/say.h"

void seen_unload(struct seen *seen)
{
    seen_work_stop(seen->work);
    seen->work = NULL;
    seen_recent_fini(&seen->active);
    seen_recent_fini(&seen->frozen);
    seen_recent_fini(&seen->spare);
    seen->flushing = false;
    for (size_t i = 0; i < seen->run_count; i++)
        seen_run_free(seen->runs[i]);
    free(seen->runs);
    seen->runs = NULL;
    seen->run_count = 0;
    seen->loaded = false;
}

/* What a crash left behind. Only with the first load: later a file may be one that is being made. */
static void clean_folder(struct seen *seen)
{
    int            fd = seen->dir_fd < 0 ? -1 : dup(seen->dir_fd);
    DIR           *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *file;

    if (dir == NULL) {
        io_close(fd);
        return;
    }
    rewinddir(dir);
    while ((file = readdir(dir)) != NULL) {
        char              *end;
        unsigned long long number = strtoull(file->d_name, &end, 16);
        bool               listed = false;

        if (end - file->d_name != 16 || (strcmp(end, ".run") != 0 && strcmp(end, ".tmp") != 0))
            continue;
        for (size_t i = 0; i < seen->run_count; i++)
            listed = listed || (seen->runs[i]->number == number && strcmp(end, ".run") == 0);
        if (!listed && io_unlink(seen->dir_fd, file->d_name) < 0)
            say(SAY_WARN, "people: seen/%s cannot be deleted: %s", file->d_name, strerror(errno));
    }
    (void)closedir(dir);
}

static int load_chunk(void *ctx, const struct seen_entry *entries, size_t count, struct err *err)
{
    struct seen *seen = ctx;

    for (size_t i = 0; i < count; i++)
        if (seen_recent_add(&seen->active, &entries[i], seen_entry_hash(&entries[i], seen->state.seed), err) < 0)
            return -1;
    return 0;
}

static int load_run(struct seen *seen, struct seen_run *run, struct err *err)
{
    struct err why;

    if (seen->dir_fd >= 0 && seen_run_open(seen->dir_fd, run, true, &why) == 0)
        return 0;
    if (seen->dir_fd < 0)
        (void)err_set(&why, ERR_INPUT, "people: the folder seen is not there");
    seen->stats.lost += run->fd < 0;
    if (why.kind == ERR_CORRUPT) {
        say(SAY_ERROR, "%s; its %llu ids are not known until it has been written anew, which begins now", why.text,
            (unsigned long long)run->shape.entries);
        return 0;
    }
    if (why.kind == ERR_INPUT) {
        say(SAY_ERROR, "%s; its %llu ids are forgotten, and a repeated event among them would be stored twice", why.text,
            (unsigned long long)run->shape.entries);
        return 0;
    }
    *err = why;
    return -1;
}

int seen_load(struct seen *seen, struct people_txn *txn, const struct seen_state *state, struct err *err)
{
    int rc = 0;

    seen_unload(seen);
    seen->state = *state;
    seen_recent_init(&seen->active, state->seed);
    seen_recent_init(&seen->frozen, state->seed);
    seen_recent_init(&seen->spare, state->seed);
    if (seen->dir_fd < 0 && seen_folder_open(seen->people, &seen->dir_fd, err) < 0)
        return -1;
    if (seen_runs_read(txn, state, &seen->runs, &seen->run_count, err) < 0)
        return -1;
    for (size_t i = 0; i < seen->run_count && rc == 0; i++)
        rc = load_run(seen, seen->runs[i], err);
    if (rc < 0 || seen_chunks_each(txn, state->floor, load_chunk, seen, err) < 0) {
        seen_unload(seen);
        return -1;
    }
    if (!seen->cleaned)
        clean_folder(seen);
    seen->cleaned = true;
    seen->chunks_below = true;
    seen->loaded = true;
    return 0;
}
