/* people/lmdb.c - the person store inside LMDB: opening, transactions, tables, the meaning of its errors.
 *
 * Why LMDB: a batch is one transaction, a reader never waits for the writer nor makes it wait, a crash
 * needs no recovery run, and a look-up is a walk through mapped pages without a copy.
 * Why without MDB_WRITEMAP: with it a full disk is a SIGBUS; so it is an error from a write, and the
 * transaction is dropped whole. Nothing relaxes the sync: a commit is one data sync and one meta page write.
 * Why MDB_NOTLS: a read-only transaction belongs to its object, not to the thread that began it.
 * Why MDB_NORDAHEAD: keys of ids are random; reading ahead would throw other pages out of memory. Not of a store that is read into
 * memory whole when it is opened (warm.h): Linux takes no notice of who uses pages of such a map, and where files are written all the
 * while, as the log's, it lets go of the store's first and reads them anew, one by one. */
#include "people/lmdb.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/map_fault.h"
#include "people/seen.h"
#include "people/warm.h"

enum {
    FORMAT = 3,          /* 2: seen ids stand in files too, which a Penstock of format 1 would not look into;
                          * 3: properties are packed */
    FORMAT_OLDEST = 1,   /* read as it is; raised when the first seen id is noted, or person written */
    READERS_MAX = 126,
    DEAD_READER_BEGINS = 1024,
    DISK_FULL_BYTES = 16 << 20 /* more than a batch writes */
};

#define MAP_BYTES_DEFAULT ((uint64_t)1 << 40)
#define HOT_BYTES_DEFAULT ((size_t)4 << 20)

/* --- errors ------------------------------------------------------------------------------------ */

static enum err_kind kind_of(int rc)
{
    switch (rc) {
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_CURSOR_FULL: return ERR_FULL;
    case MDB_READERS_FULL:
    case MDB_MAP_RESIZED: return ERR_RETRY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PAGE_FULL:
    case MDB_INVALID:
    case MDB_NOTFOUND: return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE: return ERR_INPUT;
    default: return ERR_STOP;
    }
}

int people_fail(int rc, const char *what, struct err *err)
{
    if (rc == MDB_MAP_FULL)
        return err_set(err, ERR_FULL, "people: %s: the store has reached its largest size (map_bytes_max)", what);
    if (rc == EFBIG) /* the largest file that is allowed: to the caller as good as a full disk */
        return err_set(err, ERR_FULL, "people: %s: the file has reached its largest size", what);
    if (rc > 0) /* errno; LMDB's own are negative */
        return err_errno(err, rc, "people: %s", what);
    return err_set(err, kind_of(rc), "people: %s: %s", what, mdb_strerror(rc));
}

/* --- opening ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned flags;
} tables[TABLE_COUNT] = {
#define PEOPLE_TABLE_ROW(suffix, name, numbers) { name, (numbers) != 0 ? MDB_INTEGERKEY : 0 },
    PEOPLE_TABLES(PEOPLE_TABLE_ROW)
};

static int people_format_check(MDB_txn *txn, MDB_dbi meta, bool create, uint32_t *out, struct err *err)
{
    uint32_t format = FORMAT_OLDEST;
    MDB_val key = { 6, "format" }, value = { sizeof format, &format };
    int rc = mdb_get(txn, meta, &key, &value);

    if (rc == MDB_NOTFOUND && create) {
        value = (MDB_val){ sizeof format, &format };
        rc = mdb_put(txn, meta, &key, &value, 0);
    }
    if (rc != 0)
        return people_fail(rc, "format", err);
    if (value.mv_size != sizeof format)
        return err_set(err, ERR_CORRUPT, "people: the format mark has %zu bytes", value.mv_size);
    format = bytes_get_u32(value.mv_data);
    if (format < FORMAT_OLDEST || format > FORMAT)
        return err_set(err, ERR_INPUT,
                       "people: the store has format %u, made by a later Penstock; this one knows format %d", format,
                       FORMAT);
    *out = format;
    return 0;
}

int people_format_raise(struct people_txn *txn, struct err *err)
{
    uint32_t format = FORMAT;

    return lmdb_put(txn, TABLE_META, SPAN("format"), span_of(&format, sizeof format), err);
}

/* Takes the tables' handles; 0, -1, or 1 when a table is missing and create is false. */
static int people_open_tables(struct lmdb *people, bool create, struct err *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(people->env, NULL, create ? 0 : MDB_RDONLY, &txn);

    if (rc != 0)
        return people_fail(rc, "begin", err);
    for (int i = 0; i < TABLE_COUNT; i++) {
        rc = mdb_dbi_open(txn, tables[i].name, tables[i].flags | (create ? MDB_CREATE : 0u), &people->tables[i]);
        if (rc == 0)
            continue;
        mdb_txn_abort(txn);
        return rc == MDB_NOTFOUND && !create ? 1 : people_fail(rc, tables[i].name, err);
    }
    if (people_format_check(txn, people->tables[TABLE_META], create, &people->format, err) < 0) {
        mdb_txn_abort(txn);
        return -1;
    }
    rc = mdb_txn_commit(txn); /* also of a reading one: only so do the handles stay */
    return rc == 0 ? 0 : people_fail(rc, "open", err);
}

/* Whether all of the file that there is will be read at the opening. */
static bool is_read_whole(const struct people_options *options, const char *name)
{
    char        path[4096];
    struct stat file;

    (void)snprintf(path, sizeof path, "%s/%s", options->folder, name == NULL ? "data.mdb" : name);
    return options->warm_bytes > 0 && (stat(path, &file) < 0 || (uint64_t)file.st_size <= options->warm_bytes);
}

/* name NULL: data.mdb, with lock.mdb. */
static int people_open_env(struct lmdb *people, const struct people_options *options, const char *name, struct err *err)
{
    uint64_t map = options->map_bytes_max != 0 ? options->map_bytes_max : MAP_BYTES_DEFAULT;
    char path[4096];
    unsigned flags = MDB_NOTLS | (name == NULL ? 0u : MDB_NOSUBDIR) | (is_read_whole(options, name) ? 0u : MDB_NORDAHEAD);
    int dead, rc;

    if (mkdir(options->folder, 0700) < 0 && errno != EEXIST)
        return err_errno(err, errno, "people: %s cannot be made", options->folder);
    (void)snprintf(path, sizeof path, "%s%s%s", options->folder, name == NULL ? "" : "/", name == NULL ? "" : name);
    rc = mdb_env_create(&people->env);
    if (rc == 0)
        rc = mdb_env_set_mapsize(people->env, map);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(people->env, TABLE_COUNT);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(people->env, READERS_MAX);
    if (rc == 0)
        rc = mdb_env_open(people->env, path, flags, 0600);
    if (rc == 0)
        rc = mdb_reader_check(people->env, &dead);
    return rc == 0 ? 0 : people_fail(rc, options->folder, err);
}

/* LMDB syncs its file; that the file and its folder are there is said by the folders above them. */
static int people_sync_names(const char *folder, struct err *err)
{
    static const char *const names[] = { ".", ".." };
    int                      at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = at < 0 ? -1 : 0;

    for (size_t i = 0; i < 2 && rc == 0; i++) {
        int fd = openat(at, names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        rc = fd < 0 ? -1 : fsync(fd);
        if (fd >= 0)
            close(fd);
    }
    if (rc < 0)
        (void)err_errno(err, errno, "people: sync of the folder %s", folder);
    if (at >= 0)
        close(at);
    return rc;
}

int people_lmdb_open(const struct people_options *options, struct people **out, struct err *err)
{
    char name[PEOPLE_FILE_NAME_BYTES];
    uint64_t number, newest;

    map_fault_tell();
    for (;;) {
        if (people_file_newest(options->folder, &number, err) < 0)
            return -1;
        people_file_name(number, name);
        if (people_open_file(options, number == 0 ? NULL : name, out, err) < 0) {
            struct err why = *err;

            return err->kind != ERR_CORRUPT ? -1
                   : err_set(err, ERR_CORRUPT, "%.120s (%.60s/%s is damaged: docs/operations.md, \"When a store is spoilt\")", why.text, options->folder, name);
        }
        if (people_file_newest(options->folder, &newest, err) == 0 && newest == number)
            return 0;
        people_close(*out); /* written anew meanwhile (rewrite.h): what was opened may be an empty file of the old name */
        *out = NULL;
    }
}

int people_open_file(const struct people_options *options, const char *name, struct people **out, struct err *err)
{
    struct lmdb *people = calloc(1, sizeof *people);
    size_t memory = options->memory_bytes == 0 ? HOT_BYTES_DEFAULT : options->memory_bytes;
    int fd, rc;

    if (people == NULL)
        return err_set(err, ERR_FULL, "people: no memory");
    people->people.ops = &people_lmdb_ops;
    people->seen_recent_max = options->seen_recent_max;
    people->folder = strdup(options->folder);
    rc = people->folder == NULL ? err_set(err, ERR_FULL, "people: no memory") : people_open_env(people, options, name, err);
    if (rc == 0 && mdb_env_get_fd(people->env, &fd) == 0)
        people->warm = warm_start(fd, options->warm_bytes);
    if (rc == 0 && memory >= HOT_BYTES_MIN && (people->hot = hot_new(memory)) == NULL)
        rc = err_set(err, ERR_FULL, "people: no memory");
    if (rc == 0)
        rc = people_open_tables(people, false, err); /* a reader need not wait for the writer's lock */
    if (rc == 1)
        rc = people_open_tables(people, true, err) < 0 ? -1 : people_sync_names(options->folder, err);
    if (rc < 0) {
        people_close(&people->people);
        return -1;
    }
    *out = &people->people;
    return 0;
}

static void lmdb_close(struct people *base)
{
    struct lmdb *people = lmdb_of(base);

    warm_stop(people->warm);
    seen_view_free(people->seen_view);
    seen_free(people->seen);
    if (people->env != NULL)
        mdb_env_close(people->env);
    hot_free(people->hot);
    free(people->folder);
    free(people);
}

/* --- transactions ------------------------------------------------------------------------------ */

static int lmdb_begin(struct people *base, bool write, struct people_txn **out, struct err *err)
{
    struct lmdb *people = lmdb_of(base);
    struct lmdb_txn *txn = calloc(1, sizeof *txn);
    int dead, rc;

    if (txn == NULL)
        return err_set(err, ERR_FULL, "people: no memory");
    txn->txn.people = base;
    txn->txn.write = write;
    /* A reader that was killed would keep old pages from being used again, and the file would grow. */
    if (write && people->begins++ % DEAD_READER_BEGINS == 0)
        (void)mdb_reader_check(people->env, &dead);
    rc = mdb_txn_begin(people->env, NULL, write ? 0 : MDB_RDONLY, &txn->mdb);
    if (rc == MDB_MAP_RESIZED) { /* the writer uses a larger map than we were told */
        rc = mdb_env_set_mapsize(people->env, 0);
        if (rc == 0)
            rc = mdb_txn_begin(people->env, NULL, write ? 0 : MDB_RDONLY, &txn->mdb);
    }
    if (rc != 0) {
        free(txn);
        return people_fail(rc, "begin", err);
    }
    if (write && people->hot != NULL)
        hot_begin(people->hot);
    *out = &txn->txn;
    return 0;
}

static void people_cursors_close(struct lmdb_txn *txn)
{
    for (int i = 0; i < TABLE_COUNT; i++)
        if (txn->cursors[i] != NULL)
            mdb_cursor_close(txn->cursors[i]);
}

/* LMDB says EIO of a write that was cut short, as the last one on a full disk is. */
static bool people_disk_is_full(const struct lmdb *people)
{
    struct statvfs disk;
    int fd;

    return mdb_env_get_fd(people->env, &fd) == 0 && fstatvfs(fd, &disk) == 0 &&
           (uint64_t)disk.f_bavail * disk.f_frsize < DISK_FULL_BYTES;
}

static void lmdb_abort(struct people_txn *base)
{
    struct lmdb_txn *txn = lmdb_txn_of(base);
    struct lmdb *people = lmdb_of(base->people);

    people_cursors_close(txn);
    mdb_txn_abort(txn->mdb);
    if (base->write && people->hot != NULL)
        hot_clear(people->hot); /* it may have kept what never came to be */
    seen_left(base, false);
    free(txn);
}

static int lmdb_commit(struct people_txn *base, struct err *err)
{
    struct lmdb_txn *txn = lmdb_txn_of(base);
    struct lmdb *people = lmdb_of(base->people);
    uint8_t next[8];
    int rc = 0;

    if (txn->person_next != 0) {
        bytes_put_u64(next, txn->person_next);
        if (lmdb_put(base, TABLE_META, SPAN("person_next"), span_of(next, sizeof next), err) < 0) {
            lmdb_abort(base);
            return -1;
        }
    }
    if (txn->packed && people->format < FORMAT && people_format_raise(base, err) < 0) {
        lmdb_abort(base);
        return -1;
    }
    if (seen_leave(base, err) < 0) {
        lmdb_abort(base);
        return -1;
    }
    people_cursors_close(txn);
    rc = mdb_txn_commit(txn->mdb); /* ends it whatever it answers */
    if (rc == EIO && people_disk_is_full(people))
        rc = ENOSPC;
    if (rc != 0 && base->write && people->hot != NULL)
        hot_clear(people->hot);
    if (rc == 0 && txn->packed)
        people->format = FORMAT;
    seen_left(base, rc == 0);
    free(txn);
    return rc == 0 ? 0 : people_fail(rc, "commit", err);
}

static int lmdb_epoch(struct people *people, uint64_t *out, struct err *err)
{
    (void)people, (void)err;
    *out = 0;
    return 0;
}

/* --- what is kept in memory -------------------------------------------------------------------- */

static bool is_hot(const struct people_txn *txn, enum people_table table)
{
    return lmdb_of(txn->people)->hot != NULL && txn->write && (table == TABLE_LINKS || table == TABLE_PERSONS);
}

enum hot_answer people_hot_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out)
{
    return is_hot(txn, table) ? hot_get(lmdb_of(txn->people)->hot, table, key, value_out) : HOT_UNKNOWN;
}

struct span people_hot_keep(struct people_txn *txn, enum people_table table, struct span key, struct span value)
{
    return is_hot(txn, table) ? hot_put(lmdb_of(txn->people)->hot, table, key, value) : span_of(NULL, 0);
}

void people_hot_replace(struct people_txn *txn, enum people_table table, struct span key, struct span value)
{
    if (is_hot(txn, table))
        (void)hot_replace(lmdb_of(txn->people)->hot, table, key, value);
}

void people_hot_keep_absent(struct people_txn *txn, enum people_table table, struct span key)
{
    if (is_hot(txn, table))
        hot_put_absent(lmdb_of(txn->people)->hot, table, key);
}

static void people_hot_forget(struct people_txn *txn, enum people_table table, struct span key)
{
    if (is_hot(txn, table))
        hot_forget(lmdb_of(txn->people)->hot, table, key);
}

/* --- tables ------------------------------------------------------------------------------------ */

MDB_cursor *people_cursor(struct people_txn *base, enum people_table table, struct err *err)
{
    struct lmdb_txn *txn = lmdb_txn_of(base);
    int rc;

    if (txn->cursors[table] != NULL)
        return txn->cursors[table];
    rc = mdb_cursor_open(txn->mdb, lmdb_of(base->people)->tables[table], &txn->cursors[table]);
    if (rc != 0) {
        txn->cursors[table] = NULL;
        (void)people_fail(rc, tables[table].name, err);
    }
    return txn->cursors[table];
}

static MDB_val val_of(struct span bytes)
{
    return (MDB_val){ bytes.bytes, (void *)(uintptr_t)bytes.at };
}

int lmdb_get(struct people_txn *txn, enum people_table table, struct span key, struct span *value_out, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, table, err);
    MDB_val k = val_of(key), v;
    int rc;

    if (cursor == NULL)
        return -1;
    rc = mdb_cursor_get(cursor, &k, &v, MDB_SET);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc != 0)
        return people_fail(rc, tables[table].name, err);
    *value_out = span_of(v.mv_data, v.mv_size);
    return 1;
}

int lmdb_put(struct people_txn *txn, enum people_table table, struct span key, struct span value, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, table, err);
    MDB_val k = val_of(key), v = val_of(value);
    int rc;

    assert(txn->write);
    if (cursor == NULL)
        return -1;
    people_hot_forget(txn, table, key);
    rc = mdb_cursor_put(cursor, &k, &v, 0);
    return rc == 0 ? 0 : people_fail(rc, tables[table].name, err);
}

static uint8_t *reserve_in(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, bool append, struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, table, err);
    MDB_val k = val_of(key), v = { bytes, NULL };
    int rc;

    assert(txn->write);
    if (cursor == NULL)
        return NULL;
    rc = mdb_cursor_put(cursor, &k, &v, append ? MDB_APPEND | MDB_RESERVE : MDB_RESERVE);
    if (rc != 0) {
        (void)people_fail(rc, tables[table].name, err);
        return NULL;
    }
    return v.mv_data;
}

static uint8_t *reserve(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, bool append, struct err *err)
{
    people_hot_forget(txn, table, key);
    return reserve_in(txn, table, key, bytes, append, err);
}

uint8_t *lmdb_reserve_hot(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err)
{
    uint8_t *at = reserve_in(txn, table, key, bytes, false, err);

    if (at == NULL)
        people_hot_forget(txn, table, key);
    return at;
}

uint8_t *lmdb_reserve(struct people_txn *txn, enum people_table table, struct span key, size_t bytes, struct err *err)
{
    return reserve(txn, table, key, bytes, false, err);
}

int lmdb_delete(struct people_txn *txn, enum people_table table, struct span key, struct err *err)
{
    struct span ignored;
    int rc = lmdb_get(txn, table, key, &ignored, err);

    assert(txn->write);
    if (rc <= 0)
        return rc;
    people_hot_forget(txn, table, key);
    rc = mdb_cursor_del(lmdb_txn_of(txn)->cursors[table], 0);
    return rc == 0 ? 1 : people_fail(rc, tables[table].name, err);
}

/* --- in order ---------------------------------------------------------------------------------- */

static int entry_at(struct people_txn *txn, enum people_table table, MDB_cursor_op op, struct span from, struct people_entry *out,
                    struct err *err)
{
    MDB_cursor *cursor = people_cursor(txn, table, err);
    MDB_val k = val_of(from), v;
    int rc;

    if (cursor == NULL)
        return -1;
    rc = mdb_cursor_get(cursor, &k, &v, op);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc != 0)
        return people_fail(rc, tables[table].name, err);
    *out = (struct people_entry){ span_of(k.mv_data, k.mv_size), span_of(v.mv_data, v.mv_size) };
    return 1;
}

int lmdb_seek(struct people_txn *txn, enum people_table table, struct span from, struct people_entry *out, struct err *err)
{
    return entry_at(txn, table, from.bytes == 0 ? MDB_FIRST : MDB_SET_RANGE, from, out, err);
}

int lmdb_next(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err)
{
    return entry_at(txn, table, MDB_NEXT, SPAN(""), out, err);
}

static int lmdb_last(struct people_txn *txn, enum people_table table, struct people_entry *out, struct err *err)
{
    return entry_at(txn, table, MDB_LAST, SPAN(""), out, err);
}

static int lmdb_drop(struct people_txn *txn, enum people_table table, struct err *err)
{
    int rc = mdb_cursor_del(lmdb_txn_of(txn)->cursors[table], 0);

    return rc == 0 ? 0 : people_fail(rc, tables[table].name, err);
}

/* --- the backend ------------------------------------------------------------------------------- */

static int lmdb_holder_end(struct people_txn *txn, uint64_t holder, struct err *err)
{
    (void)txn, (void)holder, (void)err;
    return 0;
}

static int lmdb_holder_ours(struct people_txn *txn, uint64_t holder, struct err *err)
{
    (void)txn, (void)holder, (void)err;
    return 1;
}

const struct people_ops people_lmdb_ops = {
    .rewritable = true, .close = lmdb_close, .begin = lmdb_begin, .commit = lmdb_commit, .abort = lmdb_abort, .epoch = lmdb_epoch,
    .link_get = lmdb_link_get, .link_put = lmdb_link_put, .link_erase = lmdb_link_erase, .links_under = lmdb_links_under,
    .first_under = lmdb_first_under, .holder_end = lmdb_holder_end, .holder_ours = lmdb_holder_ours,
    .person_get = lmdb_person_get, .person_find = lmdb_person_find, .person_put = lmdb_person_put,
    .person_id_new = lmdb_person_id_new, .person_delete = lmdb_person_delete, .person_version = lmdb_person_version,
    .expect = lmdb_expect, .group_type = lmdb_group_type, .group_get = lmdb_group_get, .group_put = lmdb_group_put,
    .seen_add = lmdb_seen_add, .seen_find = lmdb_seen_find, .seen_load = lmdb_seen_load, .seen_stats = lmdb_seen_stats,
    .table_get = lmdb_get, .table_reserve = reserve, .table_delete = lmdb_delete, .table_seek = lmdb_seek, .table_next = lmdb_next,
    .table_last = lmdb_last, .table_drop = lmdb_drop
};
