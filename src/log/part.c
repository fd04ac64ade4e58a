/* log/part.c - names and small files of a partition's folder.
 *
 * The epoch file is overwritten in place: it fits one sector, and when that sector is lost the id is told
 * by the head and by every segment, the epoch by every frame. So it needs no rename. */
#include "log/part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "log/frame.h"

enum { EPOCH_BYTES = 24, QUARANTINE_BYTES_MAX = 4 << 20 };
#define EPOCH_MAGIC   UINT64_C(0x4843504554534e50) /* "PNSTEPCH" */
#define SEGMENT_MAGIC UINT64_C(0x0047455354534e50) /* "PNSTSEG" */

bool part_name_valid(const char *name, size_t bytes_max)
{
    size_t bytes = strlen(name);

    if (bytes == 0 || bytes > bytes_max)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == bytes;
}

/* A folder in a folder, made (and the making synced, and that of the folder around it: another process may have made
 * that one, and not have synced it yet) when `create`. 1, 0: not there, -1. */
static int folder_open(int dir_fd, const char *name, bool create, int *fd_out)
{
    int fd = io_open(dir_fd, name, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0 && errno == ENOENT && create) {
        if (io_mkdir(dir_fd, name, 0750) < 0 && errno != EEXIST)
            return -1;
        if (io_fsync(dir_fd) < 0 || log_parent_sync(dir_fd) < 0)
            return -1;
        fd = io_open(dir_fd, name, O_RDONLY | O_DIRECTORY, 0);
    }
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    *fd_out = fd;
    return 1;
}

int part_open(struct part *part, const struct log *log, const char *topic, uint32_t partition, bool create,
              struct err *err)
{
    char number[16];
    int  topic_fd = -1, rc;

    if (!part_name_valid(topic, LOG_TOPIC_NAME_BYTES_MAX))
        return err_set(err, ERR_INPUT, "topic name \"%.80s\" is not 1 to %d of a-z, 0-9 and _", topic,
                       LOG_TOPIC_NAME_BYTES_MAX);
    (void)snprintf(part->label, sizeof part->label, "%s/%" PRIu32, topic, partition);
    (void)snprintf(number, sizeof number, "%" PRIu32, partition);
    rc = folder_open(log->dir_fd, topic, create, &topic_fd);
    if (rc == 1)
        rc = folder_open(topic_fd, number, create, &part->dir_fd);
    if (rc < 0)
        (void)err_errno(err, errno, "%s: open", part->label);
    io_close(topic_fd);
    return rc;
}

void part_close(struct part *part)
{
    io_close(part->dir_fd);
    part->dir_fd = -1;
}

int part_sync_dir(const struct part *part, struct err *err)
{
    if (io_fsync(part->dir_fd) < 0)
        return err_set(err, ERR_STOP, "%s: sync of the folder: %s", part->label, strerror(errno));
    return 0;
}

void part_segment_name(char name[PART_NAME_BYTES], uint64_t base, const char *suffix)
{
    (void)snprintf(name, PART_NAME_BYTES, "%020" PRIu64 "%s", base, suffix);
}

bool part_segment_base(const char *name, const char *suffix, uint64_t *base_out)
{
    uint64_t base = 0;

    if (strlen(name) != 20 + strlen(suffix) || strcmp(name + 20, suffix) != 0)
        return false;
    for (size_t i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || base > (UINT64_C(1) << 62) / 10)
            return false;
        base = base * 10 + (uint64_t)(name[i] - '0');
    }
    *base_out = base;
    return true;
}

static int base_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

int part_list(const struct part *part, struct part_segments *out, struct err *err)
{
    int            fd = io_open(part->dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR           *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    out->count = 0;
    if (dir == NULL) {
        int saved = errno;

        io_close(fd);
        return err_errno(err, saved, "%s: list", part->label);
    }
    while ((entry = readdir(dir)) != NULL) {
        uint64_t base;

        if (!part_segment_base(entry->d_name, ".seg", &base))
            continue;
        if (out->count == out->size) {
            size_t    size = out->size == 0 ? 16 : out->size * 2;
            uint64_t *grown = realloc(out->bases, size * sizeof *grown);

            if (grown == NULL) {
                (void)closedir(dir);
                return err_set(err, ERR_FULL, "%s: list: no memory", part->label);
            }
            out->bases = grown;
            out->size = size;
        }
        out->bases[out->count++] = base;
    }
    (void)closedir(dir);
    if (out->count > 1)
        qsort(out->bases, out->count, sizeof *out->bases, base_compare);
    return 0;
}

void part_segments_fini(struct part_segments *segments)
{
    free(segments->bases);
    *segments = (struct part_segments){ 0 };
}

void part_segment_header_put(uint8_t at[SEGMENT_HEADER_BYTES], uint64_t id, uint64_t base, uint32_t epoch,
                             int64_t created_us)
{
    memset(at, 0, SEGMENT_HEADER_BYTES);
    bytes_put_u64(at, SEGMENT_MAGIC);
    bytes_put_u64(at + 8, id);
    bytes_put_u64(at + 16, base);
    bytes_put_u32(at + 24, epoch);
    bytes_put_u64(at + 32, (uint64_t)created_us);
    bytes_put_u32(at + 60, crc32c(0, span_of(at, 60)));
}

bool part_segment_header_get(const uint8_t at[SEGMENT_HEADER_BYTES], struct part_header *out)
{
    if (bytes_get_u64(at) != SEGMENT_MAGIC || bytes_get_u32(at + 60) != crc32c(0, span_of(at, 60)))
        return false;
    *out = (struct part_header){ .id = bytes_get_u64(at + 8), .base = bytes_get_u64(at + 16), .epoch = bytes_get_u32(at + 24),
                                 .created_us = (int64_t)bytes_get_u64(at + 32) };
    return true;
}

int part_segment_header_read(const struct part *part, uint64_t base, struct part_header *out, struct err *err)
{
    uint8_t header[SEGMENT_HEADER_BYTES] = { 0 };
    char    name[PART_NAME_BYTES];
    ssize_t got;
    int     fd;

    part_segment_name(name, base, ".seg");
    fd = io_open(part->dir_fd, name, O_RDONLY, 0);
    if (fd < 0)
        return err_errno(err, errno, "%s: open %s", part->label, name);
    got = io_pread(fd, header, sizeof header, 0);
    if (got < 0 && errno != EIO) {
        (void)err_errno(err, errno, "%s: read %s", part->label, name);
        io_close(fd);
        return -1;
    }
    io_close(fd);
    return got == (ssize_t)sizeof header && part_segment_header_get(header, out);
}

int part_segment_id(const struct part *part, uint64_t base, uint64_t *id_out, struct err *err)
{
    struct part_header header;
    int                rc = part_segment_header_read(part, base, &header, err);

    if (rc <= 0 || header.base != base)
        return rc < 0 ? -1 : 0;
    *id_out = header.id;
    return 1;
}

bool part_segment_foreign(const struct part *part, uint64_t base, uint64_t id)
{
    struct frame_place place = { id, base };
    struct part_header header;
    struct frame       frame;
    struct err         ignored = { .kind = ERR_NONE };
    uint8_t            first[FRAME_HEADER_BYTES];
    char               name[PART_NAME_BYTES];
    bool               foreign;
    int                fd;

    if (part_segment_header_read(part, base, &header, &ignored) <= 0 || (header.id == id && header.base == base))
        return false;
    part_segment_name(name, base, ".seg");
    fd = io_open(part->dir_fd, name, O_RDONLY, 0);
    if (fd < 0)
        return false;
    foreign = !(io_pread(fd, first, sizeof first, SEGMENT_DATA_AT) == (ssize_t)sizeof first &&
                frame_get(first, &place, SEGMENT_DATA_AT, &frame));
    io_close(fd);
    return foreign;
}

int part_epoch_load(const struct part *part, uint64_t *id_out, uint32_t *epoch_out, struct err *err)
{
    uint8_t bytes[EPOCH_BYTES];
    ssize_t got;
    int     fd = io_open(part->dir_fd, "epoch", O_RDONLY, 0);

    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "%s: open epoch", part->label);
    got = io_pread(fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno != EIO) {
        (void)err_errno(err, errno, "%s: read epoch", part->label);
        io_close(fd);
        return -1;
    }
    io_close(fd);
    if (got != EPOCH_BYTES || bytes_get_u64(bytes) != EPOCH_MAGIC ||
        bytes_get_u32(bytes + 20) != crc32c(0, span_of(bytes, 20)))
        return 0;
    *id_out = bytes_get_u64(bytes + 8);
    *epoch_out = bytes_get_u32(bytes + 16);
    return 1;
}

int part_epoch_store(const struct part *part, uint64_t id, uint32_t epoch, struct err *err)
{
    uint8_t bytes[EPOCH_BYTES];
    int     fd = io_open(part->dir_fd, "epoch", O_RDWR | O_CREAT, 0640);
    int     rc = 0;

    if (fd < 0)
        return err_errno(err, errno, "%s: open epoch", part->label);
    bytes_put_u64(bytes, EPOCH_MAGIC);
    bytes_put_u64(bytes + 8, id);
    bytes_put_u32(bytes + 16, epoch);
    bytes_put_u32(bytes + 20, crc32c(0, span_of(bytes, 20)));
    if (io_pwrite(fd, bytes, sizeof bytes, 0) < 0 || io_fdatasync(fd) < 0)
        rc = err_errno(err, errno, "%s: write epoch", part->label);
    io_close(fd);
    return rc;
}

int part_ask(const struct log *log, const char *topic, uint32_t partition, const char *name, struct err *err)
{
    struct part part;
    int         rc = part_open(&part, log, topic, partition, false, err), fd;

    if (rc <= 0)
        return rc;
    fd = io_open(part.dir_fd, name, O_WRONLY | O_CREAT, 0600);
    rc = fd < 0 ? err_errno(err, errno, "%s: make %s", part.label, name) : 0;
    if (fd >= 0)
        io_close(fd);
    part_close(&part);
    return rc;
}

void part_quarantine(const struct part *part, uint64_t base, uint64_t count, uint64_t seg_base, uint64_t file_at,
                     const char *what)
{
    char    line[200];
    char   *old = NULL;
    off_t   bytes;
    int     fd = io_open(part->dir_fd, "quarantine", O_RDWR | O_CREAT | O_APPEND, 0640);
    ssize_t put;

    if (fd < 0)
        return;
    (void)snprintf(line, sizeof line, "offsets %" PRIu64 "..%" PRIu64 " (%" PRIu64 " records): %s at byte %" PRIu64 " of %020" PRIu64 ".seg\n",
                   base, base + count - 1, count, what, file_at, seg_base);
    bytes = lseek(fd, 0, SEEK_END);
    if (bytes < 0 || bytes > QUARANTINE_BYTES_MAX)
        goto done;
    old = calloc(1, (size_t)bytes + 1);
    if (old == NULL || io_pread(fd, old, (size_t)bytes, 0) != bytes || strstr(old, line) != NULL)
        goto done;
    put = write(fd, line, strlen(line)); /* O_APPEND: several readers may add at once */
    (void)put;
done:
    free(old);
    io_close(fd);
}
