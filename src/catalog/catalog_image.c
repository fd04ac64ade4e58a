/* catalog/catalog_image.c - see catalog_image.h.
 *
 * Why SQLite's form and not one of ours, whatever database the catalog is in: every column that a later Penstock adds travels by
 * itself, and there is one place that turns rows into a snapshot. */
#include "catalog/catalog_image.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/say.h"
#include "catalog/catalog_db.h"

enum { IMAGE_HEAD_BYTES = 24, READER_POLL_MS = 50 };
static const char image_magic[8] = "PNSTIMG1";

int catalog_image_make(struct catalog *catalog, struct buf *out, struct err *err)
{
    uint8_t        head[IMAGE_HEAD_BYTES] = { 0 };
    sqlite3       *db = NULL;
    unsigned char *image = NULL;
    sqlite3_int64  bytes = 0;
    int            rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

    if (rc != SQLITE_OK)
        rc = err_set(err, ERR_FULL, "catalog: no memory for its image");
    else if ((rc = catalog->backend->copy(catalog, db, err)) == 0 && (image = sqlite3_serialize(db, "main", &bytes, 0)) == NULL)
        rc = err_set(err, ERR_FULL, "catalog: no memory for its image");
    if (rc == 0) {
        memcpy(head, image_magic, sizeof image_magic);
        bytes_put_u64(head + 8, (uint64_t)bytes);
        bytes_put_u32(head + 16, crc32c(0, span_of(image, (size_t)bytes)));
        buf_add(out, span_of(head, sizeof head));
        buf_add(out, span_of(image, (size_t)bytes));
        if (out->failed)
            rc = err_set(err, ERR_FULL, "catalog: its image passes %zu bytes", out->bytes_max);
    }
    sqlite3_free(image);
    (void)sqlite3_close(db);
    return rc;
}

int catalog_image_open(struct span bytes, struct span *out, struct err *err)
{
    struct span image;

    if (bytes.bytes < IMAGE_HEAD_BYTES || memcmp(bytes.at, image_magic, sizeof image_magic) != 0)
        return err_set(err, ERR_INPUT, "catalog: this is no image that this Penstock knows");
    image = span_from(bytes, IMAGE_HEAD_BYTES);
    if (bytes_get_u64(bytes.at + 8) != image.bytes || bytes_get_u32(bytes.at + 16) != crc32c(0, image))
        return err_set(err, ERR_CORRUPT, "catalog: its image is not whole");
    *out = image;
    return 0;
}

int catalog_image_snapshot(struct span bytes, struct catalog_snapshot **out, struct err *err)
{
    struct catalog *catalog;
    struct span     image;
    int             rc;

    if (catalog_image_open(bytes, &image, err) < 0 || catalog_open_image(image, &catalog, err) < 0)
        return -1;
    rc = catalog_snapshot_load(catalog, out, err);
    catalog_close(catalog);
    return rc;
}

/* --- the file ---------------------------------------------------------------------------------- */

/* Replaced whole; the one before lives on for who has it open. Synced before it has its name, for what spoils the catalog may be a power cut, and
 * then this is what it is made anew from (catalog_restore.h); a disk that cannot is no reason to keep capture from what is new. Who may
 * come into DIR/run may read it. */
static int file_replace(const char *path, struct span bytes, struct err *err)
{
    char fresh[4200];
    int  fd, rc = 0;

    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, errno, "catalog: %.200s", fresh);
    for (size_t done = 0; rc == 0 && done < bytes.bytes;) {
        ssize_t put = write(fd, bytes.at + done, bytes.bytes - done);

        if (put > 0)
            done += (size_t)put;
        else if (put == 0 || errno != EINTR)
            rc = err_errno(err, put == 0 ? EIO : errno, "catalog: %.200s", fresh);
    }
    if (rc == 0)
        (void)fsync(fd);
    (void)close(fd);
    if (rc == 0 && rename(fresh, path) < 0)
        rc = err_errno(err, errno, "catalog: %.200s", path);
    return rc;
}

int catalog_image_write(struct catalog *catalog, const char *run_folder, struct err *err)
{
    char       path[4190];
    struct buf image;
    int        rc;

    (void)snprintf(path, sizeof path, "%.4100s/%s", run_folder, CATALOG_IMAGE_FILE);
    buf_init(&image, CATALOG_IMAGE_BYTES_MAX);
    rc = catalog_image_make(catalog, &image, err);
    if (rc == 0)
        rc = file_replace(path, buf_span(&image), err);
    buf_fini(&image);
    return rc;
}

/* --- the process ------------------------------------------------------------------------------- */

/* Other machines look once a second. What capture lets in by a change they must know by then, or they would take a new token for
 * nobody's: so capture hears of it later than everybody else. */
#define SHARED_US ((int64_t)2000000)

/* An image is written when the version is another one than that of the last image, which is read after the version: so
 * a change that comes in between is written twice and not missed. */
static int reader_turn(const struct role_env *env, struct catalog *catalog, struct catalog_snapshot **last, int64_t *seen_us,
                       struct err *err)
{
    struct catalog_snapshot *now;
    int                      changed = *last == NULL ? 1 : catalog_changed(catalog, *last, err);

    if (changed <= 0)
        return changed;
    if (*last != NULL && catalog_on_postgres(stores_catalog(env->stores))) {
        if (*seen_us == 0)
            *seen_us = clock_mono_us();
        if (clock_mono_us() - *seen_us < SHARED_US)
            return 0;
    }
    *seen_us = 0;
    if (catalog_snapshot_load(catalog, &now, err) < 0)
        return -1;
    if (catalog_image_write(catalog, env->run_folder, err) < 0) {
        catalog_snapshot_free(now);
        return -1;
    }
    catalog_snapshot_free(*last);
    *last = now;
    return 0;
}

static int reader_run(const struct role_env *env, struct err *err)
{
    static struct say_gate   gate;
    struct pollfd            stop = { .fd = env->stop_fd, .events = POLLIN };
    struct catalog_snapshot *last = NULL;
    struct catalog          *catalog;
    bool                     told = false;
    int64_t                  seen_us = 0; /* when a change was seen that capture does not know yet */

    if (catalog_open_at(env->data_folder, stores_catalog(env->stores), &catalog, err) < 0)
        return -1;
    do {
        struct err trouble = { .kind = ERR_NONE };

        if (last != NULL && !told) {
            role_tell(env, ROLE_READY);
            told = true;
        }
        if (reader_turn(env, catalog, &last, &seen_us, &trouble) < 0)
            say_seldom(&gate, SAY_WARN, "the catalog cannot be told to capture, its last state stays in force: %s", trouble.text);
    } while (poll(&stop, 1, READER_POLL_MS) == 0 || errno == EINTR);
    catalog_snapshot_free(last);
    catalog_close(catalog);
    return 0;
}

static const struct option reader_options[] = { { 0 } };

const struct role catalog_reader = {
    .name = "catalog",
    .help = "tells capture who is known, so that capture needs no database",
    .options = reader_options,
    .options_bytes = 0,
    .run = reader_run,
};
