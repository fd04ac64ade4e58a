/* log/retain.c - giving up what is old, and never what a cursor needs (L7).
 *
 * Whole segments, oldest first, never the one being written. A segment's age is that of the next one's
 * making, which is not before its own last append. Deleting is a rename, a sync of the folder and an unlink:
 * once the rename is durable, recovery finishes what a crash interrupted. A reader that has the file open
 * reads on to its end. */
#include "log/log_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "log/log_cursor.h"

/* The lowest offset that anybody still needs. */
static int needed_from(struct log_writer *writer, uint64_t *needed_out, struct err *err)
{
    uint64_t       needed = writer->published, offset;
    int            folder = log_cursor_folder(&writer->part, false, err), copy, rc = 0;
    DIR           *dir = NULL;
    struct dirent *entry;

    if (folder == -1)
        return -1;
    for (const char *const *name = writer->options.cursors_needed; name != NULL && *name != NULL; name++) {
        int found = folder == -2 ? 0 : log_cursor_read(folder, *name, &offset);

        if (found < 1)
            needed = 0; /* it has not begun, or cannot be read: all may be needed */
        else if (offset < needed)
            needed = offset;
    }
    if (folder == -2)
        goto done;
    copy = io_open(folder, ".", O_RDONLY | O_DIRECTORY, 0);
    dir = copy < 0 ? NULL : fdopendir(copy);
    if (dir == NULL) {
        rc = err_errno(err, errno, "%s: list cursors", writer->part.label);
        io_close(copy);
        goto done;
    }
    while ((entry = readdir(dir)) != NULL) {
        int found;

        if (!part_name_valid(entry->d_name, LOG_CURSOR_NAME_BYTES_MAX))
            continue;
        found = log_cursor_read(folder, entry->d_name, &offset);
        if (found < 1)
            needed = 0; /* a damaged cursor keeps everything until its consumer writes it anew */
        else if (offset < needed)
            needed = offset;
    }
    (void)closedir(dir);
done:
    if (folder >= 0)
        io_close(folder);
    *needed_out = needed;
    return rc;
}

static uint64_t segment_disk_bytes(const struct part *part, uint64_t base)
{
    char        name[PART_NAME_BYTES];
    struct stat st;

    part_segment_name(name, base, ".seg");
    return fstatat(part->dir_fd, name, &st, 0) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

/* When the segment at `next` was made; INT64_MAX when its header does not tell, which keeps the one before it. Who may
 * write segments and not read them goes by the last change of the one before: it was sealed right then. */
static int64_t segment_followed_us(const struct part *part, uint64_t base, uint64_t next)
{
    struct part_header header;
    struct err         ignored = { .kind = ERR_NONE };
    char               name[PART_NAME_BYTES];
    struct stat        st;
    int                fd;

    part_segment_name(name, next, ".seg");
    fd = io_open(part->dir_fd, name, O_RDONLY, 0);
    if (fd < 0 && errno == EACCES) {
        part_segment_name(name, base, ".seg");
        return fstatat(part->dir_fd, name, &st, 0) < 0 ? INT64_MAX
                                                        : (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    }
    io_close(fd);
    return part_segment_header_read(part, next, &header, &ignored) > 0 ? header.created_us : INT64_MAX;
}

static int segment_delete(struct log_writer *writer, uint64_t base, struct err *err)
{
    char name[PART_NAME_BYTES], name_deleted[PART_NAME_BYTES];

    part_segment_name(name, base, ".seg");
    part_segment_name(name_deleted, base, ".deleted");
    if (io_rename(writer->part.dir_fd, name, name_deleted) < 0)
        return err_errno(err, errno, "%s: delete %s", writer->part.label, name);
    if (part_sync_dir(&writer->part, err) < 0)
        return -1;
    if (io_unlink(writer->part.dir_fd, name_deleted) < 0)
        return err_errno(err, errno, "%s: delete %s", writer->part.label, name_deleted);
    return 0;
}

static int retain_segments(struct log_writer *writer, const struct part_segments *segments, int64_t now_us, struct err *err)
{
    const struct log_topic_options *options = &writer->options;
    uint64_t                        needed, bytes = 0;

    if (needed_from(writer, &needed, err) < 0)
        return -1;
    for (size_t i = 0; options->retention_bytes > 0 && i < segments->count; i++)
        bytes += segment_disk_bytes(&writer->part, segments->bases[i]);
    for (size_t i = 0; i + 1 < segments->count && segments->bases[i + 1] <= needed; i++) {
        uint64_t base = segments->bases[i], own = segment_disk_bytes(&writer->part, base);
        int64_t  next_us = segment_followed_us(&writer->part, base, segments->bases[i + 1]);
        bool     too_many = options->retention_bytes > 0 && bytes > options->retention_bytes;
        bool     too_old = options->retention_us > 0 && next_us < now_us && now_us - next_us > options->retention_us;

        if (base >= writer->seg.base || (!too_many && !too_old))
            break;
        if (segment_delete(writer, base, err) < 0)
            return -1;
        bytes -= own;
    }
    return 0;
}

/* Somebody asked for the end of the segment that is being written (log_roll_ask). */
static int roll_when_asked(struct log_writer *writer, int64_t now_us, struct err *err)
{
    if (faccessat(writer->part.dir_fd, "roll", F_OK, 0) < 0)
        return 0;
    if (writer->next > writer->seg.base && log_writer_roll(writer, now_us, err) < 0)
        return log_writer_failed(writer, err);
    return io_unlink(writer->part.dir_fd, "roll") < 0 ? err_errno(err, errno, "%s: roll", writer->part.label) : 0;
}

int embedded_writer_retain(struct log_writer *writer, int64_t now_us, struct err *err)
{
    struct part_segments segments = { 0 };
    int                  rc = 0;

    if (writer->stopped) {
        *err = writer->stop_err;
        return -1;
    }
    if (roll_when_asked(writer, now_us, err) < 0)
        return -1;
    if (writer->options.retention_bytes == 0 && writer->options.retention_us == 0)
        return 0;
    rc = part_list(&writer->part, &segments, err);
    if (rc == 0 && segments.count > 1)
        rc = retain_segments(writer, &segments, now_us, err);
    part_segments_fini(&segments);
    return rc < 0 ? err_wrap(err, "retention") : 0;
}
