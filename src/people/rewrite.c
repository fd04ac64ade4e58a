/* people/rewrite.c - see rewrite.h.
 *
 * Why not mdb_env_copy2 with MDB_CP_COMPACT: it copies pages, and with them keys of deleted entries that branches still
 * hold, and the rest of a value's last page. Why not overwriting free pages in place: gaps and branches stay, and LMDB takes
 * memory of pages that were written before for new ones, with what was in it.
 * Here memory of a fresh environment is zero, and sees nothing but what is in the store. */
#include "people/rewrite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "people/lmdb.h"

enum { STEP_BYTES = 32 << 20 /* of a transaction: what is dirty is in memory */ };

static const char new_suffix[] = ".new", wanted_key[] = "rewrite";

void people_file_name(uint64_t number, char to[PEOPLE_FILE_NAME_BYTES])
{
    if (number == 0)
        (void)snprintf(to, PEOPLE_FILE_NAME_BYTES, "data.mdb");
    else
        (void)snprintf(to, PEOPLE_FILE_NAME_BYTES, "data.%llu.mdb", (unsigned long long)number);
}

/* The number of a store's file, or of one that belongs to it, when rest_out is not "". 0: data.mdb; -1: another file. */
static int64_t file_number(const char *name, const char **rest_out)
{
    char              *end;
    unsigned long long number;

    if (strncmp(name, "data.mdb", 8) == 0) {
        *rest_out = name + 8;
        return 0;
    }
    if (strncmp(name, "data.", 5) != 0 || name[5] < '1' || name[5] > '9')
        return -1;
    number = strtoull(name + 5, &end, 10);
    if (number > INT64_MAX || strncmp(end, ".mdb", 4) != 0)
        return -1;
    *rest_out = end + 4;
    return (int64_t)number;
}

int people_file_newest(const char *folder, uint64_t *number_out, struct err *err)
{
    DIR           *dir = opendir(folder);
    struct dirent *entry;
    const char    *rest;
    int64_t        number;

    *number_out = 0;
    if (dir == NULL)
        return errno == ENOENT ? 0 : err_errno(err, errno, "people: %s", folder);
    while ((entry = readdir(dir)) != NULL) {
        number = file_number(entry->d_name, &rest);
        if (number > 0 && rest[0] == '\0' && (uint64_t)number > *number_out)
            *number_out = (uint64_t)number;
    }
    closedir(dir);
    return 0;
}

static int unlink_if_there(int folder, const char *name, struct err *err)
{
    return io_unlink(folder, name) < 0 && errno != ENOENT ? err_errno(err, errno, "people: delete %s", name) : 0;
}

int people_rewrite_clean(const char *folder, struct err *err)
{
    int            at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR           *dir = at < 0 ? NULL : opendir(folder);
    struct dirent *entry;
    const char    *rest;
    uint64_t       newest = 0;

    if (dir == NULL) {
        rc = errno == ENOENT ? 0 : err_errno(err, errno, "people: %s", folder);
        if (at >= 0)
            close(at);
        return rc;
    }
    rc = people_file_newest(folder, &newest, err);
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        int64_t number = file_number(entry->d_name, &rest);
        bool    old = number >= 0 && (uint64_t)number < newest, unfinished = number > 0 && strncmp(rest, new_suffix, 4) == 0;

        if (old || unfinished || (newest > 0 && strcmp(entry->d_name, "lock.mdb") == 0))
            rc = unlink_if_there(at, entry->d_name, err);
    }
    closedir(dir);
    close(at);
    return rc;
}

/* --- whether ------------------------------------------------------------------------------------- */

int people_rewrite_want(struct people_txn *txn, struct err *err)
{
    return txn->people->ops->rewritable ? people_table_put(txn, TABLE_META, span_text(wanted_key), SPAN("1"), err) : 0;
}

int people_rewrite_wanted(struct people *people, bool *out, struct err *err)
{
    struct people_txn *txn;
    struct span        value;
    int                got;

    *out = false;
    if (!people->ops->rewritable)
        return 0;
    if (people_begin(people, false, &txn, err) < 0)
        return -1;
    got = people_table_get(txn, TABLE_META, span_text(wanted_key), &value, err);
    people_abort(txn);
    *out = got == 1;
    return got < 0 ? -1 : 0;
}

uint64_t people_rewrite_bytes(const struct people *people)
{
    MDB_envinfo info;
    MDB_stat    stat;

    if (mdb_env_info(lmdb_of(people)->env, &info) != 0 || mdb_env_stat(lmdb_of(people)->env, &stat) != 0)
        return 0;
    return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

/* --- the copy ------------------------------------------------------------------------------------ */

struct copy {
    struct people *from, *to;
    MDB_txn       *read, *write;
    size_t         bytes; /* of the open transaction */
};

static int copy_step(struct copy *copy, MDB_dbi table, MDB_cursor **cursor)
{
    int rc;

    if (*cursor != NULL)
        mdb_cursor_close(*cursor);
    *cursor = NULL;
    rc = mdb_txn_commit(copy->write);
    copy->write = NULL;
    copy->bytes = 0;
    if (rc == 0)
        rc = mdb_txn_begin(lmdb_of(copy->to)->env, NULL, 0, &copy->write);
    return rc == 0 ? mdb_cursor_open(copy->write, table, cursor) : rc;
}

static bool copied(enum people_table table, const MDB_val *key)
{
    return table != TABLE_META || key->mv_size != sizeof wanted_key - 1 || memcmp(key->mv_data, wanted_key, key->mv_size) != 0;
}

static int copy_table(struct copy *copy, enum people_table table)
{
    MDB_dbi     to = lmdb_of(copy->to)->tables[table];
    MDB_cursor *from_cursor = NULL, *to_cursor = NULL;
    MDB_val     key, value;
    int         rc = mdb_cursor_open(copy->read, lmdb_of(copy->from)->tables[table], &from_cursor);

    if (rc == 0)
        rc = mdb_cursor_open(copy->write, to, &to_cursor);
    if (rc == 0 && table == TABLE_META)
        rc = mdb_drop(copy->write, to, 0); /* what opening put there */
    while (rc == 0 && (rc = mdb_cursor_get(from_cursor, &key, &value, MDB_NEXT)) == 0) {
        if (copied(table, &key))
            rc = mdb_cursor_put(to_cursor, &key, &value, MDB_APPEND);
        copy->bytes += key.mv_size + value.mv_size + 16;
        if (rc == 0 && copy->bytes >= STEP_BYTES)
            rc = copy_step(copy, to, &to_cursor);
    }
    if (to_cursor != NULL)
        mdb_cursor_close(to_cursor);
    if (from_cursor != NULL)
        mdb_cursor_close(from_cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int copy_all(struct people *from, struct people *to, struct err *err)
{
    struct copy copy = { .from = from, .to = to };
    int         rc = mdb_env_set_flags(lmdb_of(to)->env, MDB_NOSYNC, 1);

    if (rc == 0)
        rc = mdb_txn_begin(lmdb_of(from)->env, NULL, MDB_RDONLY, &copy.read);
    if (rc == 0)
        rc = mdb_txn_begin(lmdb_of(to)->env, NULL, 0, &copy.write);
    for (int i = 0; rc == 0 && i < TABLE_COUNT; i++)
        rc = copy_table(&copy, (enum people_table)i);
    if (copy.write != NULL && rc == 0)
        rc = mdb_txn_commit(copy.write);
    else if (copy.write != NULL)
        mdb_txn_abort(copy.write);
    if (copy.read != NULL)
        mdb_txn_abort(copy.read);
    if (rc == 0)
        rc = mdb_env_sync(lmdb_of(to)->env, 1);
    return rc == 0 ? 0 : people_fail(rc, "writing the store anew", err);
}

/* --- and its name -------------------------------------------------------------------------------- */

static int publish(const char *folder, const char *made, const char *name, struct err *err)
{
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = at < 0 || io_rename(at, made, name) < 0 || io_fsync(at) < 0 ? err_errno(err, errno, "people: %s", name) : 0;

    if (at >= 0)
        close(at);
    return rc;
}

int people_rewrite(const struct people_options *options, struct err *err)
{
    struct people *from = NULL, *to = NULL;
    char           name[PEOPLE_FILE_NAME_BYTES], made[PEOPLE_FILE_NAME_BYTES + 8];
    uint64_t       number;
    int            rc = -1;

    if (people_rewrite_clean(options->folder, err) < 0 || people_file_newest(options->folder, &number, err) < 0)
        return -1;
    people_file_name(number + 1, name);
    (void)snprintf(made, sizeof made, "%s%s", name, new_suffix);
    if (people_lmdb_open(options, &from, err) == 0 && people_open_file(options, made, &to, err) == 0)
        rc = copy_all(from, to, err);
    people_close(to);
    people_close(from);
    if (rc == 0)
        rc = publish(options->folder, made, name, err);
    /* On failure too: nothing of an unfinished copy stays. */
    return people_rewrite_clean(options->folder, rc == 0 ? err : &(struct err){ .kind = ERR_NONE }) < 0 ? -1 : rc;
}
