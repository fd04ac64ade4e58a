/* log/retain.c - giving up what is old, and never what a cursor needs (L7).
 *
 * Whole segments, oldest first, never the one being written. A segment's age is that of the next one's
 * making, which is not before its own last append. Deleting is a rename, a sync of the folder and an unlink:
 * once the rename is durable, recovery finishes what a crash interrupted. A reader that has the file open
 * reads on to its end.
 *
 * With clock_guard the age is that by the wall clock less what that jumped since (steady.h). By size nothing is held: it does not go by
 * a clock, and is what bounds the disk whatever the clock does. */
#include "log/log_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/say.h"
#include "log/log_cursor.h"

#define HELD_TOLD_US       ((int64_t)3600 * 1000000) /* what is held is told when a jump makes so much of its age, */
enum { HELD_TOLD_PART = 20 };                         /* or a twentieth of retention: less is a restart of the machine, and over soon */
#define ODD_LOOK_EVERY_US  ((int64_t)60 * 1000000) /* all segments are looked at, while the clock's jumps count */
#define CLOCK_PUT_EVERY_US ((int64_t)60 * 1000000)

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

/* What one walk over the segments found. */
struct aged {
    size_t   gone; /* so many, from the oldest on, may go */
    uint64_t held_bytes;
    int64_t  held_us;
    uint32_t held_segments;
    bool     whole; /* it came to the end, or to a young one whose stamp is right */
};

/* Is this one kept only because the clock jumped, and by enough to be told? */
static bool is_held(const struct log_writer *writer, int64_t by_clock_us, int64_t moved_us)
{
    int64_t retention_us = writer->options.retention_us;

    return retention_us > 0 && by_clock_us > retention_us && (moved_us >= HELD_TOLD_US || moved_us > retention_us / HELD_TOLD_PART);
}

/* A segment is at least as old as those after it, whatever its stamp says: so one that was sealed between a jump and the look that
 * saw it, or by a clock of years ahead, goes with them. Where stamps are right the first young one ends the walk. */
static void segments_age(struct log_writer *writer, const struct part_segments *segments, uint64_t needed, uint64_t bytes, int64_t now_us,
                         bool look_on, struct aged *out)
{
    const struct log_topic_options *options = &writer->options;

    *out = (struct aged){ .whole = true };
    for (size_t i = 0; i + 1 < segments->count && segments->bases[i + 1] <= needed && segments->bases[i] < writer->seg.base; i++) {
        uint64_t own = segment_disk_bytes(&writer->part, segments->bases[i]);
        int64_t  next_us = segment_followed_us(&writer->part, segments->bases[i], segments->bases[i + 1]);
        int64_t  moved_us = options->clock_guard ? steady_moved_us(&writer->steady, segments->bases[i + 1]) : 0;
        int64_t  by_clock_us = next_us < now_us ? now_us - next_us : 0;
        bool     known = next_us < INT64_MAX;

        if ((options->retention_bytes > 0 && bytes > options->retention_bytes) ||
            (options->retention_us > 0 && known && now_us - next_us - moved_us > options->retention_us)) {
            *out = (struct aged){ .gone = i + 1, .whole = true };
        } else if (options->clock_guard && (moved_us != 0 || next_us > now_us)) {
            if (!look_on) {
                out->whole = false;
                return;
            }
            if (known && is_held(writer, by_clock_us, moved_us)) {
                out->held_segments++;
                out->held_bytes += own;
                out->held_us = moved_us > out->held_us ? moved_us : out->held_us;
            }
        } else {
            return;
        }
        bytes -= own < bytes ? own : bytes;
    }
}

static void held_tell(struct log_writer *writer, const struct aged *aged)
{
    struct steady *steady = &writer->steady;

    if (aged->held_segments > 0 && steady->held_segments == 0)
        say(SAY_WARN, "%s: %" PRIu32 " segments (%" PRIu64 " MiB) are older than retention by the clock, but that jumped %.1f hours forward, or "
            "the machine was off: they are kept until it ran for as long as retention says. If the clock is right now: penstock retention confirm",
            writer->part.label, aged->held_segments, aged->held_bytes >> 20, (double)aged->held_us / 3.6e9);
    steady->held_segments = aged->held_segments;
    steady->held_bytes = aged->held_bytes;
    steady->held_us = aged->held_us;
}

static int retain_segments(struct log_writer *writer, const struct part_segments *segments, const struct steady_now *now, struct err *err)
{
    bool        look_on = writer->options.clock_guard && now->boot_us >= writer->odd_look_us;
    struct aged aged;
    uint64_t    needed, bytes = 0;

    if (needed_from(writer, &needed, err) < 0)
        return -1;
    for (size_t i = 0; writer->options.retention_bytes > 0 && i < segments->count; i++)
        bytes += segment_disk_bytes(&writer->part, segments->bases[i]);
    segments_age(writer, segments, needed, bytes, now->wall_us, look_on, &aged);
    for (size_t i = 0; i < aged.gone; i++)
        if (segment_delete(writer, segments->bases[i], err) < 0)
            return -1;
    if (!writer->options.clock_guard)
        return 0;
    steady_forget(&writer->steady, segments->bases[aged.gone]);
    if (aged.whole)
        held_tell(writer, &aged);
    if (look_on)
        writer->odd_look_us = now->boot_us + ODD_LOOK_EVERY_US;
    return 0;
}

/* --- the clock --------------------------------------------------------------------------------- */

void log_writer_clock_load(struct log_writer *writer, uint64_t last_base)
{
    char        name[PART_NAME_BYTES];
    struct stat st;

    writer->steady_put_us = writer->odd_look_us = 0;
    if (steady_load(&writer->head, writer->id, &writer->steady))
        return;
    part_segment_name(name, last_base, ".seg");
    steady_begin(&writer->steady, fstatat(writer->part.dir_fd, name, &st, 0) < 0
                                      ? clock_wall_us() : (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000);
}

static bool clock_put_due(const struct log_writer *writer, const struct steady_now *now)
{
    return writer->steady_put_us == 0 || now->boot_us < writer->steady_put_us || now->boot_us - writer->steady_put_us >= CLOCK_PUT_EVERY_US;
}

/* A jump is on the disk before anything acts on it: else a power cut would make it time that passed while the machine was off, which
 * is the same to retention, or, if the page never got there, the jump of the next start; but a cleared one would be back. */
static void clock_look(struct log_writer *writer, const struct steady_now *now)
{
    int64_t    jump_us = steady_look(&writer->steady, now, writer->seg.base);
    struct err ignored = { .kind = ERR_NONE };

    if (jump_us == 0 && !clock_put_due(writer, now))
        return;
    steady_store(&writer->head, writer->id, &writer->steady);
    writer->steady_put_us = now->boot_us;
    if (jump_us != 0)
        writer->odd_look_us = 0;
    if (jump_us != 0 && head_sync(&writer->head, &writer->part, &ignored) < 0)
        say(SAY_WARN, "%s; that the clock jumped may be forgotten with a power cut", ignored.text);
}

static struct steady_now clock_now(int64_t wall_us)
{
    return (struct steady_now){ wall_us, clock_boot_us(), clock_boot_id() };
}

void embedded_writer_clock(struct log_writer *writer, int64_t now_us, struct log_clock *out)
{
    const struct steady_now now = clock_now(now_us);

    *out = (struct log_clock){ now_us, INT64_MAX };
    if (!writer->options.clock_guard || writer->stopped)
        return;
    clock_look(writer, &now);
    out->steady_us = steady_us(&writer->steady);
    if (writer->steady.jumped_us != INT64_MIN)
        out->calm_us = out->steady_us - writer->steady.jumped_us;
}

/* part_ask: was something asked for, and it is done. */
static bool is_asked(const struct log_writer *writer, const char *name)
{
    return faccessat(writer->part.dir_fd, name, F_OK, 0) == 0;
}

static int asked_done(const struct log_writer *writer, const char *name, struct err *err)
{
    return io_unlink(writer->part.dir_fd, name) < 0 ? err_errno(err, errno, "%s: %s", writer->part.label, name) : 0;
}

/* Somebody says that the time has passed (log_clock_confirm). */
static int confirm_when_asked(struct log_writer *writer, struct err *err)
{
    if (!is_asked(writer, "confirm"))
        return 0;
    steady_confirm(&writer->steady);
    writer->odd_look_us = 0;
    steady_store(&writer->head, writer->id, &writer->steady);
    if (head_sync(&writer->head, &writer->part, err) < 0)
        return -1;
    return asked_done(writer, "confirm", err);
}

int embedded_clock_confirm(struct log *log, const char *topic, uint32_t partition, struct err *err)
{
    return part_ask(log, topic, partition, "confirm", err);
}

/* --- asked for now and then -------------------------------------------------------------------- */

/* Somebody asked for the end of the segment that is being written (log_roll_ask). */
static int roll_when_asked(struct log_writer *writer, int64_t now_us, struct err *err)
{
    if (!is_asked(writer, "roll"))
        return 0;
    if (writer->next > writer->seg.base && log_writer_roll(writer, now_us, err) < 0)
        return log_writer_failed(writer, err);
    return asked_done(writer, "roll", err);
}

int log_writer_retain_at(struct log_writer *writer, const struct steady_now *now, struct err *err)
{
    struct part_segments segments = { 0 };
    uint32_t             held = writer->steady.held_segments;
    int                  rc = 0;

    if (writer->stopped) {
        *err = writer->stop_err;
        return -1;
    }
    if (roll_when_asked(writer, now->wall_us, err) < 0)
        return -1;
    if (writer->options.clock_guard) {
        clock_look(writer, now);
        if (confirm_when_asked(writer, err) < 0)
            return -1;
    }
    if (writer->options.retention_bytes == 0 && writer->options.retention_us == 0)
        return 0;
    rc = part_list(&writer->part, &segments, err);
    if (rc == 0 && segments.count > 1)
        rc = retain_segments(writer, &segments, now, err);
    part_segments_fini(&segments);
    if (writer->options.clock_guard && writer->steady.held_segments != held)
        steady_store(&writer->head, writer->id, &writer->steady);
    return rc < 0 ? err_wrap(err, "retention") : 0;
}

int embedded_writer_retain(struct log_writer *writer, int64_t now_us, struct err *err)
{
    const struct steady_now now = writer->options.clock_guard ? clock_now(now_us) : (struct steady_now){ .wall_us = now_us };

    return log_writer_retain_at(writer, &now, err);
}
