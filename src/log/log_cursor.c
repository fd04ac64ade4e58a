/* log/log_cursor.c - small files that say how far a consumer has come.
 *
 *   cursors/NAME   at  bytes  field
 *                   0      8  magic "PNSTCRSR"
 *                   8      8  offset
 *                  16      4  crc32c of the bytes before
 *
 * Another such file, LOG/.places/TOPIC.PARTITION, has the place that was stored last and is not lost with the topic's folder.
 *
 * Written under another name and renamed, not synced: after a power cut the old one or none is there,
 * and both only make retention keep more. A damaged one is the same as none. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "log/log_cursor.h"

enum { CURSOR_BYTES = 20 };
#define CURSOR_MAGIC UINT64_C(0x5253524354534e50)

int log_cursor_folder(const struct part *part, bool create, struct err *err)
{
    int fd = io_open(part->dir_fd, "cursors", O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0 && errno == ENOENT && create) {
        if (io_mkdir(part->dir_fd, "cursors", 0750) < 0 && errno != EEXIST)
            return err_errno(err, errno, "%s: make cursors", part->label);
        fd = io_open(part->dir_fd, "cursors", O_RDONLY | O_DIRECTORY, 0);
    }
    if (fd < 0 && errno != ENOENT)
        (void)err_errno(err, errno, "%s: open cursors", part->label);
    return fd >= 0 ? fd : errno == ENOENT ? -2 : -1;
}

int log_cursor_read(int folder_fd, const char *consumer, uint64_t *offset_out)
{
    uint8_t bytes[CURSOR_BYTES];
    ssize_t got;
    int     fd = io_open(folder_fd, consumer, O_RDONLY, 0);

    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    got = io_pread(fd, bytes, sizeof bytes, 0);
    io_close(fd);
    if (got != CURSOR_BYTES || bytes_get_u64(bytes) != CURSOR_MAGIC ||
        bytes_get_u32(bytes + 16) != crc32c(0, span_of(bytes, 16)))
        return 0;
    *offset_out = bytes_get_u64(bytes + 8);
    return 1;
}

/* Replaces folder's file `name` whole. -1 and errno. */
static int cursor_write(int folder, const char *name, uint64_t offset)
{
    char    name_new[LOG_TOPIC_NAME_BYTES_MAX + 64];
    uint8_t bytes[CURSOR_BYTES];
    int     fd, why;

    bytes_put_u64(bytes, CURSOR_MAGIC);
    bytes_put_u64(bytes + 8, offset);
    bytes_put_u32(bytes + 16, crc32c(0, span_of(bytes, 16)));
    (void)snprintf(name_new, sizeof name_new, "%s.%ld.new", name, (long)syscall(SYS_gettid));
    fd = io_open(folder, name_new, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd >= 0 && io_pwrite(fd, bytes, sizeof bytes, 0) == 0 && io_rename(folder, name_new, name) == 0) {
        io_close(fd);
        return 0;
    }
    why = errno;
    if (io_unlink(folder, name_new) < 0) {
        /* a left-over .new is ignored by everybody */
    }
    io_close(fd);
    errno = why;
    return -1;
}

/* --- the same outside of the topic ------------------------------------------------------------- */

#define PLACES_FOLDER ".places" /* no topic can have this name */

static void place_name(char *to, size_t room, const char *topic, uint32_t partition)
{
    (void)snprintf(to, room, "%s.%" PRIu32, topic, partition);
}

/* Without it nothing is wrong as long as the topic is there: trouble is the cursor's to tell. */
static void place_keep(const struct log *log, const char *topic, uint32_t partition, uint64_t offset)
{
    char name[LOG_TOPIC_NAME_BYTES_MAX + 16];
    int  folder = io_open(log->dir_fd, PLACES_FOLDER, O_RDONLY | O_DIRECTORY, 0);

    if (folder < 0 && errno == ENOENT && (io_mkdir(log->dir_fd, PLACES_FOLDER, 0750) == 0 || errno == EEXIST))
        folder = io_open(log->dir_fd, PLACES_FOLDER, O_RDONLY | O_DIRECTORY, 0);
    if (folder < 0)
        return;
    place_name(name, sizeof name, topic, partition);
    (void)!cursor_write(folder, name, offset);
    io_close(folder);
}

uint64_t log_cursor_kept(const struct log *log, const char *topic, uint32_t partition)
{
    char     name[LOG_TOPIC_NAME_BYTES_MAX + 16];
    int      folder = io_open(log->dir_fd, PLACES_FOLDER, O_RDONLY | O_DIRECTORY, 0);
    uint64_t kept = 0;

    if (folder < 0)
        return 0;
    place_name(name, sizeof name, topic, partition);
    if (log_cursor_read(folder, name, &kept) != 1)
        kept = 0;
    io_close(folder);
    return kept;
}

static int cursor_part(struct log *log, const char *topic, uint32_t partition, const char *consumer, bool create,
                       struct part *part, int *folder_out, struct err *err)
{
    int rc;

    if (!part_name_valid(consumer, LOG_CURSOR_NAME_BYTES_MAX))
        return err_set(err, ERR_INPUT, "cursor name \"%.80s\" is not 1 to %d of a-z, 0-9 and _", consumer, LOG_CURSOR_NAME_BYTES_MAX);
    rc = part_open(part, log, topic, partition, create, err);
    if (rc < 1)
        return rc;
    *folder_out = log_cursor_folder(part, create, err);
    if (*folder_out >= 0)
        return 1;
    part_close(part);
    return *folder_out == -2 ? 0 : -1;
}

int embedded_cursor_store(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t offset,
                     struct err *err)
{
    struct part part;
    int         folder = -1, rc = cursor_part(log, topic, partition, consumer, true, &part, &folder, err);

    if (rc < 1)
        return rc < 0 ? -1 : err_set(err, ERR_RETRY, "%s: cursor %s: the folder went away", topic, consumer);
    rc = cursor_write(folder, consumer, offset);
    if (rc < 0)
        (void)err_errno(err, errno, "%s: store cursor %s", part.label, consumer);
    else
        place_keep(log, topic, partition, offset);
    io_close(folder);
    part_close(&part);
    return rc;
}

int embedded_cursor_load(struct log *log, const char *topic, uint32_t partition, const char *consumer, uint64_t *offset_out,
                    struct err *err)
{
    struct part part;
    int         folder = -1, rc = cursor_part(log, topic, partition, consumer, false, &part, &folder, err);

    if (rc < 1)
        return rc;
    rc = log_cursor_read(folder, consumer, offset_out);
    if (rc < 0)
        (void)err_errno(err, errno, "%s: load cursor %s", part.label, consumer);
    io_close(folder);
    part_close(&part);
    return rc;
}
