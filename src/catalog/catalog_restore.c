/* catalog/catalog_restore.c - see catalog_restore.h.
 *
 * Why rows and not the bytes of the image: those lack the triggers, and the table of dead letters is empty in them. The new file is made
 * by the migrations up to the image's version, filled beside the old one, synced, and only then put into its place; from there on it is opened, and
 * migrated further, as any other.
 * Why dead_letters is not looked at: it may be large, and nobody's events depend on it. */
#include "catalog/catalog_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/put_aside.h"
#include "catalog/catalog_db.h"
#include "catalog/catalog_image.h"

enum { PATH_BYTES = 4300, TIME_BYTES = 32, WHY_BYTES = 120 };

struct restore {
    char        path[PATH_BYTES];  /* DIR/catalog.db */
    char        fresh[PATH_BYTES]; /* what will be put there */
    char        why[WHY_BYTES];    /* what is wrong with the file; "": nothing */
    bool        spoilt;            /* there is something in it that cannot be read */
    const char *image_name;
    uint8_t    *image;             /* owned by SQLite's allocator */
    size_t      image_bytes;
    struct stat image_file;
};

/* --- is it whole? ------------------------------------------------------------------------------ */

static bool is_spoilt(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

/* The first text of the first row. */
static int text_read(sqlite3 *db, const char *sql, char *to, size_t room)
{
    sqlite3_stmt *statement;
    int           rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    to[0] = '\0';
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW && sqlite3_column_text(statement, 0) != NULL)
        (void)snprintf(to, room, "%s", (const char *)sqlite3_column_text(statement, 0));
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int tables_check(sqlite3 *db, struct restore *restore)
{
    static const char *const tables[] = { "migrations", "changes", "projects", "tokens", "restrictions", "quotas", "limits" };
    char                     sql[80], said[WHY_BYTES];
    int                      rc = text_read(db, "SELECT name FROM sqlite_schema WHERE name = 'migrations'", said, sizeof said);

    if (rc != SQLITE_OK)
        return rc;
    if (said[0] == '\0')
        (void)snprintf(restore->why, sizeof restore->why, "it is empty");
    for (size_t i = 0; i < sizeof tables / sizeof *tables && restore->why[0] == '\0' && rc == SQLITE_OK; i++) {
        (void)snprintf(sql, sizeof sql, "PRAGMA quick_check(%s)", tables[i]);
        rc = text_read(db, sql, said, sizeof said);
        if (rc == SQLITE_ERROR) /* an older catalog has no such table yet */
            rc = SQLITE_OK;
        else if (rc == SQLITE_OK && strcmp(said, "ok") != 0) {
            restore->spoilt = true;
            (void)snprintf(restore->why, sizeof restore->why, "%s: %.90s", tables[i], said);
        }
    }
    return rc;
}

/* What else is wrong with the file is for who opens it to tell: it may be in the way, locked, or of a later Penstock. */
static void file_check(struct restore *restore)
{
    struct stat file;
    sqlite3    *db = NULL;
    int         rc;

    if (stat(restore->path, &file) < 0) {
        if (errno == ENOENT)
            (void)snprintf(restore->why, sizeof restore->why, "it is gone");
        return;
    }
    if (file.st_size == 0) {
        (void)snprintf(restore->why, sizeof restore->why, "it is empty");
        return;
    }
    rc = sqlite3_open_v2(restore->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_busy_timeout(db, 5000);
        rc = tables_check(db, restore);
    }
    if (is_spoilt(rc)) {
        restore->spoilt = true;
        (void)snprintf(restore->why, sizeof restore->why, "%.100s", sqlite3_errmsg(db));
    }
    (void)sqlite3_close(db);
}

/* --- the image --------------------------------------------------------------------------------- */

static bool image_read(struct restore *restore, const char *run_folder, const char *name)
{
    char path[PATH_BYTES];
    int  fd;
    bool whole = false;

    (void)snprintf(path, sizeof path, "%.4100s/%s", run_folder, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &restore->image_file) == 0 && restore->image_file.st_size > 0 && restore->image_file.st_size <= CATALOG_IMAGE_BYTES_MAX) {
        size_t        bytes = (size_t)restore->image_file.st_size;
        uint8_t      *all = malloc(bytes);
        struct span   image;
        struct err    wrong;

        if (all != NULL && pread(fd, all, bytes, 0) == (ssize_t)bytes && catalog_image_open(span_of(all, bytes), &image, &wrong) == 0 &&
            (restore->image = sqlite3_malloc64(image.bytes)) != NULL) {
            memcpy(restore->image, image.at, image.bytes);
            restore->image_bytes = image.bytes;
            restore->image_name = name;
            whole = true;
        }
        free(all);
    }
    (void)close(fd);
    return whole;
}

/* --- the new file ------------------------------------------------------------------------------ */

static int sql_run(sqlite3 *db, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : err_set(err, rc == SQLITE_FULL ? ERR_FULL : ERR_STOP, "catalog: made anew: %.80s: %s", sql, sqlite3_errmsg(db));
}

static void fresh_remove(const struct restore *restore)
{
    static const char *const ends[] = { "", "-journal", "-wal", "-shm" };
    char                     path[PATH_BYTES + 10];

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(path, sizeof path, "%s%s", restore->fresh, ends[i]);
        (void)unlink(path);
    }
}

/* The tables as they were at the image's version. */
static int fresh_tables(const struct restore *restore, int version, struct err *err)
{
    sqlite3 *db = NULL;
    int      fd = open(restore->fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;

    if (fd < 0)
        return err_errno(err, errno, "catalog: %.150s", restore->fresh);
    (void)close(fd);
    if (sqlite3_open_v2(restore->fresh, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        rc = err_set(err, ERR_STOP, "catalog: %.150s: %s", restore->fresh, sqlite3_errmsg(db));
    else
        rc = sql_run(db, "BEGIN", err) < 0 || catalog_sqlite_tables(db, version, err) < 0 || sql_run(db, "COMMIT", err) < 0 ? -1 : 0;
    (void)sqlite3_close(db);
    return rc;
}

/* In the connection that has the image as main and the new file as fresh. */
static int fresh_fill(sqlite3 *db, struct err *err)
{
    static const char *const tables[] = { "projects", "tokens", "restrictions", "quotas", "limits" };
    char                     sql[120], there[20];

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        (void)snprintf(sql, sizeof sql, "SELECT name FROM main.sqlite_schema WHERE name = '%s'", tables[i]);
        if (text_read(db, sql, there, sizeof there) != SQLITE_OK || there[0] == '\0')
            continue;
        (void)snprintf(sql, sizeof sql, "INSERT INTO fresh.%s SELECT * FROM main.%s", tables[i], tables[i]);
        if (sql_run(db, sql, err) < 0)
            return -1;
    }
    /* After the triggers have counted; another version than before, for who follows it. */
    return sql_run(db, "UPDATE fresh.changes SET version = (SELECT version FROM main.changes) + 1", err);
}

static int fresh_make(struct restore *restore, struct err *err)
{
    sqlite3      *db = NULL;
    sqlite3_stmt *attach = NULL;
    char          version[20];
    int           rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

    fresh_remove(restore);
    if (rc == SQLITE_OK) {
        rc = sqlite3_deserialize(db, "main", restore->image, (sqlite3_int64)restore->image_bytes, (sqlite3_int64)restore->image_bytes,
                                 SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY);
        restore->image = NULL; /* SQLite's now, also when it failed */
    }
    if (rc == SQLITE_OK)
        rc = text_read(db, "SELECT coalesce(max(version), 0) FROM migrations", version, sizeof version);
    if (rc != SQLITE_OK) {
        rc = err_set(err, ERR_CORRUPT, "catalog: its image cannot be read: %s", sqlite3_errmsg(db));
        goto done;
    }
    rc = fresh_tables(restore, (int)strtol(version, NULL, 10), err);
    if (rc == 0 && sqlite3_prepare_v2(db, "ATTACH ?1 AS fresh", -1, &attach, NULL) == SQLITE_OK) {
        (void)sqlite3_bind_text(attach, 1, restore->fresh, -1, SQLITE_STATIC);
        if (sqlite3_step(attach) != SQLITE_DONE)
            rc = err_set(err, ERR_STOP, "catalog: %.150s: %s", restore->fresh, sqlite3_errmsg(db));
    }
    (void)sqlite3_finalize(attach);
    if (rc == 0 && (sql_run(db, "PRAGMA fresh.synchronous = FULL", err) < 0 || sql_run(db, "BEGIN", err) < 0 || fresh_fill(db, err) < 0 ||
                    sql_run(db, "COMMIT", err) < 0))
        rc = -1;
done:
    (void)sqlite3_close(db);
    return rc;
}

/* --- putting it into place --------------------------------------------------------------------- */

static void time_write(time_t at, const char *form, char to[TIME_BYTES])
{
    struct tm parts;

    if (gmtime_r(&at, &parts) == NULL || strftime(to, TIME_BYTES, form, &parts) == 0)
        to[0] = '\0';
}

/* An old write-ahead log beside a new file would be taken for its own. */
static int old_put_aside(const struct restore *restore, char kept[PATH_BYTES], struct err *err)
{
    static const char *const ends[] = { "-wal", "-shm", "-journal", "", NULL };
    char                     mark[PUT_ASIDE_MARK_BYTES];

    if (put_aside_mark(AT_FDCWD, restore->path, ends, "damaged", clock_wall_us(), mark) < 0)
        return err_errno(err, errno, "catalog: %.150s cannot be put aside", restore->path);
    (void)snprintf(kept, PATH_BYTES, "%.4200s%s", restore->path, mark);
    for (size_t i = 0; ends[i] != NULL; i++)
        if (put_aside_end(AT_FDCWD, restore->path, mark, ends[i]) < 0)
            return err_errno(err, errno, "catalog: %.150s%s cannot be put aside", restore->path, ends[i]);
    return 0;
}

static int folder_sync(const char *folder, struct err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0 || fsync(fd) < 0)
        rc = err_errno(err, errno, "catalog: sync of the folder %.150s", folder);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

int catalog_restore(const char *data_folder, const char *run_folder, char told[CATALOG_RESTORE_TOLD_BYTES], struct err *err)
{
    struct restore restore = { .spoilt = false };
    char           kept[PATH_BYTES], when[TIME_BYTES];
    struct stat    old;
    int            rc;

    told[0] = '\0';
    (void)snprintf(restore.path, sizeof restore.path, "%.4200s/catalog.db", data_folder);
    (void)snprintf(restore.fresh, sizeof restore.fresh, "%.4200s/catalog.db.new", data_folder);
    file_check(&restore);
    if (restore.why[0] == '\0')
        return 0;
    if (!image_read(&restore, run_folder, CATALOG_IMAGE_FILE) && !image_read(&restore, run_folder, CATALOG_IMAGE_BEFORE))
        return !restore.spoilt ? 0
               : err_set(err, ERR_CORRUPT, "catalog.db is spoilt (%.60s), and there is no image of it in run/: put a copy of it back, without its -wal "
                         "and -shm; or, with none, move these three away and make the tokens of your apps anew before they send: penstock "
                         "token create --token TOKEN", restore.why);
    rc = fresh_make(&restore, err);
    if (rc == 0)
        rc = old_put_aside(&restore, kept, err);
    if (rc == 0 && rename(restore.fresh, restore.path) < 0)
        rc = err_errno(err, errno, "catalog: %.150s", restore.path);
    if (rc == 0)
        rc = folder_sync(data_folder, err);
    sqlite3_free(restore.image);
    if (rc < 0) {
        fresh_remove(&restore);
        return -1;
    }
    time_write(restore.image_file.st_mtime, "%Y-%m-%dT%H:%M:%SZ", when);
    (void)snprintf(told, CATALOG_RESTORE_TOLD_BYTES,
                   "catalog.db could not be used (%s): it was made anew from run/%s, with the projects, tokens, quotas, limits and restrictions of %s. "
                   "What was changed later than that is lost, and what was decided about dead letters: all of them are open again. %s%.300s",
                   restore.why, restore.image_name, when, stat(kept, &old) == 0 ? "The old file is kept as " : "", stat(kept, &old) == 0 ? kept : "");
    return 0;
}
