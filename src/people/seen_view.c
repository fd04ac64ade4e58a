/* people/seen_view.c - looking up an id in a snapshot, in any process: for `trace` and its like, which ask for few.
 *
 * The recent ids are read through from end to end (some ten milliseconds at most), the runs that the snapshot lists
 * are opened, and kept open for as long as the list stays the same. A run may be merged away between the snapshot and
 * the opening; the writer keeps files for a while, and past that the answer is: ask again. */
#include "people/seen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/say.h"

struct seen_view {
    uint64_t          seed, generation;
    struct seen_run **runs;
    size_t            run_count;
};

int seen_folder_open(struct people *people, int *fd_out, struct err *err)
{
    char path[4096];

    if (snprintf(path, sizeof path, "%s/seen", lmdb_of(people)->folder) >= (int)sizeof path)
        return err_set(err, ERR_INPUT, "people: the folder's name is too long");
    *fd_out = io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    return *fd_out >= 0 || errno == ENOENT ? 0 : err_errno(err, errno, "people: %s", path);
}

static void runs_free(struct seen_run **runs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        seen_run_free(runs[i]);
    free(runs);
}

void seen_view_free(struct seen_view *view)
{
    if (view == NULL)
        return;
    runs_free(view->runs, view->run_count);
    free(view);
}

/* A run that is not there: it was merged away since the snapshot, or the store has lost it, as the writer says. */
static int view_open_run(int dir_fd, struct seen_run *run, struct err *err)
{
    struct err why;

    if (dir_fd >= 0 && seen_run_open(dir_fd, run, false, &why) == 0)
        return 0;
    if (dir_fd >= 0 && why.kind == ERR_CORRUPT) {
        say(SAY_WARN, "%s; its ids are not looked through", why.text);
        return 0;
    }
    if (dir_fd >= 0 && why.kind != ERR_INPUT) {
        *err = why;
        return -1;
    }
    return err_set(err, ERR_RETRY, "people: the file seen/%016llx.run is not there, or was merged with others just now; ask again",
                   (unsigned long long)run->number);
}

static int view_open(struct people_txn *txn, const struct seen_state *state, struct seen_view **out, struct err *err)
{
    struct seen_view *view = calloc(1, sizeof *view);
    int               dir_fd = -1, rc = 0;

    if (view == NULL)
        return err_set(err, ERR_FULL, "people: no memory");
    view->seed = state->seed;
    view->generation = state->generation;
    if (seen_folder_open(txn->people, &dir_fd, err) < 0 || seen_runs_read(txn, state, &view->runs, &view->run_count, err) < 0)
        rc = -1;
    for (size_t i = 0; i < view->run_count && rc == 0; i++)
        rc = view_open_run(dir_fd, view->runs[i], err);
    io_close(dir_fd);
    if (rc < 0) {
        seen_view_free(view);
        return -1;
    }
    *out = view;
    return 0;
}

struct chunk_search {
    const struct seen_entry *key;
    struct seen_entry       *out;
    bool                     found;
};

static int chunk_search(void *ctx, const struct seen_entry *entries, size_t count, struct err *err)
{
    struct chunk_search *search = ctx;

    (void)err;
    for (size_t i = 0; i < count; i++)
        if (seen_entry_same(&entries[i], search->key) &&
            (!search->found || seen_entry_day(&entries[i]) > seen_entry_day(search->out))) {
            *search->out = entries[i];
            search->found = true;
        }
    return 0;
}

int seen_view_find(struct people_txn *txn, struct seen_entry *key, struct seen_entry *out, struct err *err)
{
    struct people      *people = txn->people;
    struct seen_view   *view = lmdb_of(people)->seen_view;
    struct chunk_search search = { .key = key, .out = out };
    struct seen_state   state;
    struct seen_entry   found;
    uint64_t            hash;
    int                 got = seen_state_get(txn, &state, err);

    if (got <= 0)
        return got;
    if (view == NULL || view->generation != state.generation || view->seed != state.seed) {
        seen_view_free(view);
        lmdb_of(people)->seen_view = NULL;
        if (view_open(txn, &state, &lmdb_of(people)->seen_view, err) < 0)
            return -1;
        view = lmdb_of(people)->seen_view;
    }
    if (seen_chunks_each(txn, state.floor, chunk_search, &search, err) < 0)
        return -1;
    hash = seen_entry_hash(key, state.seed);
    for (size_t i = 0; i < view->run_count; i++) {
        if (!view->runs[i]->usable || !seen_run_maybe(view->runs[i], hash))
            continue;
        got = seen_run_find(view->runs[i], key, hash, &found, err);
        if (got < 0)
            return -1;
        if (got == 1)
            (void)chunk_search(&search, &found, 1, err);
    }
    return search.found;
}
