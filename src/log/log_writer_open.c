/* log/log_writer_open.c - opening a partition for writing, whatever state it was left in.
 *
 * The order matters: lock, find out who this partition is, find its end, make the folder agree with that
 * end durably, and only then tell the head. A crash at any step leaves something that the same steps
 * bring to the same end. */
#include "log/log_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/put_aside.h"
#include "log/log_cursor.h"
#include "log/recover.h"

/* L5. The lock is on the folder itself: unlike a lock file it cannot be deleted from under its owner. */
static int writer_lock(struct log_writer *writer, struct err *err)
{
    struct head head;
    uint64_t    id;
    uint32_t    epoch, owner = 0;

    if (flock(writer->part.dir_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return err_errno(err, errno, "%s: lock", writer->part.label);
    if (head_open_reader(&head, &writer->part, err) == 1) {
        if (!head_identity(&head, &id, &epoch, &owner))
            owner = 0;
        head_close(&head);
    }
    return err_set(err, ERR_RETRY, "%s: process %" PRIu32 " is writing it already", writer->part.label, owner);
}

/* What a crash left half made or half deleted. */
static void remove_leftovers(const struct part *part)
{
    int            fd = io_open(part->dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR           *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t       base;

    if (dir == NULL) {
        io_close(fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        if ((part_segment_base(entry->d_name, ".new", &base) || part_segment_base(entry->d_name, ".deleted", &base)) &&
            io_unlink(part->dir_fd, entry->d_name) < 0)
            break; /* the next opening tries again */
    (void)closedir(dir);
}

/* The id that most segments tell; ties go to the oldest segment's. 1, 0: none tells one. */
static int id_by_vote(const struct part *part, const struct part_segments *segments, uint64_t *id_out, struct err *err)
{
    size_t votes = 0;

    for (size_t i = 0; i < segments->count; i++) {
        uint64_t id, other;
        size_t   count = 0;
        int      rc = part_segment_id(part, segments->bases[i], &id, err);

        if (rc < 0)
            return -1;
        for (size_t k = i; rc == 1 && k < segments->count; k++) {
            int rc_other = part_segment_id(part, segments->bases[k], &other, err);

            if (rc_other < 0)
                return -1;
            if (rc_other == 1 && other == id)
                count++;
        }
        if (count > votes) {
            votes = count;
            *id_out = id;
        }
        if (votes > segments->count - i - 1)
            break;
    }
    return votes > 0;
}

/* Who this partition is: the epoch file, or the head, unless no segment agrees. */
static int find_identity(struct log_writer *writer, const struct part_segments *segments, struct err *err)
{
    uint64_t id = 0, head_id, seg_id;
    uint32_t head_epoch, owner;
    int      found = part_epoch_load(&writer->part, &id, &writer->epoch, err);

    if (found < 0)
        return -1;
    if (head_identity(&writer->head, &head_id, &head_epoch, &owner)) {
        if (!found) {
            id = head_id;
            found = 1;
        }
        if (head_id == id && head_epoch > writer->epoch)
            writer->epoch = head_epoch;
    }
    if (segments->count > 0) {
        int rc = part_segment_id(&writer->part, segments->bases[segments->count - 1], &seg_id, err);

        if (rc < 0)
            return -1;
        if (rc == 0 || !found || seg_id != id) {
            rc = id_by_vote(&writer->part, segments, &seg_id, err);
            if (rc < 0)
                return -1;
            if (rc == 1) {
                bool known = false;

                for (size_t i = 0; found && i < segments->count && !known; i++) {
                    uint64_t other;
                    int      has = part_segment_id(&writer->part, segments->bases[i], &other, err);

                    if (has < 0)
                        return -1;
                    known = has == 1 && other == id;
                }
                if (!known) {
                    id = seg_id;
                    found = 1;
                }
            }
        }
    }
    if (!found && getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
        return err_errno(err, errno, "%s: randomness", writer->part.label);
    writer->id = id;
    return 0;
}

/* Sets aside last segments that are not ours; 0 with segments->count lowered. */
static int drop_foreign(struct log_writer *writer, struct part_segments *segments, struct err *err)
{
    while (segments->count > 0) {
        uint64_t base = segments->bases[segments->count - 1];
        char     name[PART_NAME_BYTES], foreign[PART_NAME_BYTES], aside[PART_NAME_BYTES];

        if (!part_segment_foreign(&writer->part, base, writer->id))
            return 0;
        part_segment_name(name, base, ".seg");
        part_segment_name(foreign, base, ".foreign");
        if (put_aside(writer->part.dir_fd, name, foreign, aside, sizeof aside) < 0)
            return err_errno(err, errno, "%s: set %s aside", writer->part.label, name);
        if (part_sync_dir(&writer->part, err) < 0)
            return -1;
        segments->count--;
    }
    return 0;
}

/* Makes the file end at found->pos, durably: zeros after it, and everything before it on the disk. */
static int settle_segment(struct log_writer *writer, int fd, uint64_t base, uint64_t file_bytes,
                          const struct recovered *found, struct err *err)
{
    uint8_t  header[SEGMENT_DATA_AT] = { 0 };
    uint64_t id;
    bool     sync = false;
    int      rc = part_segment_id(&writer->part, base, &id, err);

    if (rc < 0)
        return -1;
    if (rc == 0) {
        part_segment_header_put(header, writer->id, base, writer->epoch, clock_wall_us());
        if (io_pwrite(fd, header, sizeof header, 0) < 0)
            return err_errno(err, errno, "%s: write a segment's header", writer->part.label);
        sync = true;
    }
    /* Frames that no sync is proven for are written again: if their sync failed, the kernel may hold them
     * as clean pages that never reached the disk. */
    for (uint64_t at = found->proven; at < found->pos;) {
        uint8_t bytes[64 << 10];
        ssize_t got = io_pread(fd, bytes, found->pos - at < sizeof bytes ? (size_t)(found->pos - at) : sizeof bytes, at);

        if (got <= 0 || io_pwrite(fd, bytes, (size_t)got, at) < 0)
            return err_errno(err, got == 0 ? EIO : errno, "%s: write the tail again", writer->part.label);
        at += (uint64_t)got;
        sync = true;
    }
    if (found->tail_dirty && found->pos < file_bytes) {
        if (io_ftruncate(fd, found->pos) < 0)
            return err_errno(err, errno, "%s: cut the tail", writer->part.label);
        sync = true;
    }
    if (sync && io_fsync(fd) < 0)
        return err_set(err, ERR_STOP, "%s: sync of the recovered segment: %s", writer->part.label, strerror(errno));
    return 0;
}

/* Where to begin: the frame that the head names, if it is there, else the start. */
static void recovery_start(int fd, const struct frame_place *place, const struct head_place *head, uint64_t *from_out,
                           uint64_t *base_out)
{
    uint8_t      header[FRAME_HEADER_BYTES];
    struct frame frame;

    *from_out = SEGMENT_DATA_AT;
    *base_out = place->seg_base;
    if (head->seg_base != place->seg_base || head->frame_at < SEGMENT_DATA_AT || head->frame_at % FRAME_ALIGN != 0)
        return;
    if (io_pread(fd, header, sizeof header, head->frame_at) != (ssize_t)sizeof header ||
        !frame_get(header, place, head->frame_at, &frame) || frame.base + frame.count != head->end)
        return;
    *from_out = head->frame_at;
    *base_out = frame.base;
}

/* The device does not give some of the last segment. It may do so again tomorrow, so the file is left as it
 * is, and a new segment begins where the head says that everything published ends. Without that nobody
 * knows which offsets were given. */
static int leave_unreadable(struct log_writer *writer, uint64_t base, const struct head_place *head,
                            const struct recovered *found, struct err *err)
{
    writer->next = head->end > found->end ? head->end : found->end;
    if (head->end < found->end || writer->next <= base)
        return err_set(err, ERR_STOP, "%s: %020" PRIu64 ".seg cannot be read and nothing else tells where the log ends: check the disk",
                       writer->part.label, base);
    if (segment_create(&writer->seg, &writer->part, &writer->limits, writer->id, writer->next, writer->epoch + 1,
                       clock_wall_us(), span_of("", 0), err) < 0)
        return -1;
    writer->seg_open = true;
    writer->last_at = 0;
    return 0;
}

static int recover_last(struct log_writer *writer, uint64_t base, const struct head_place *head, struct err *err)
{
    struct frame_place place = { writer->id, base };
    struct recovered   found;
    struct stat        st;
    char               name[PART_NAME_BYTES];
    uint64_t           from, from_base;
    int                fd, rc = -1;

    part_segment_name(name, base, ".seg");
    fd = io_open(writer->part.dir_fd, name, O_RDWR, 0);
    if (fd < 0)
        return err_errno(err, errno, "%s: open %s", writer->part.label, name);
    if (fstat(fd, &st) < 0) {
        (void)err_errno(err, errno, "%s: stat %s", writer->part.label, name);
        goto done;
    }
    recovery_start(fd, &place, head, &from, &from_base);
    if (recover_segment(fd, (uint64_t)st.st_size, &place, from, from_base, head->end, &found, err) < 0)
        goto done;
    if (found.epoch > writer->epoch)
        writer->epoch = found.epoch;
    if (found.unreadable) {
        rc = leave_unreadable(writer, base, head, &found, err);
        goto done;
    }
    if (settle_segment(writer, fd, base, (uint64_t)st.st_size, &found, err) < 0)
        goto done;
    writer->next = found.end;
    if (head->end > found.end) { /* promised, and gone: the offsets are not given again */
        part_quarantine(&writer->part, found.end, head->end - found.end, base, found.pos, "lost at the end");
        writer->next = head->end;
        found.last_at = 0;
    }
    writer->last = found.last;
    writer->last_at = found.last_at;
    rc = segment_open(&writer->seg, &writer->part, &writer->limits, base, found.pos, err);
    writer->seg_open = rc == 0;
done:
    io_close(fd);
    return rc;
}

/* kept: see keeps_places. What was promised up to there and is not here is lost, as what the head promised is. */
static int writer_recover(struct log_writer *writer, uint64_t kept, struct err *err)
{
    struct part_segments segments = { 0 };
    struct head_place    head = { 0 };
    uint64_t             head_id;
    uint32_t             head_epoch, owner, seq;
    int                  rc = -1;

    remove_leftovers(&writer->part);
    if (head_open_writer(&writer->head, &writer->part, err) < 0 || part_list(&writer->part, &segments, err) < 0 ||
        find_identity(writer, &segments, err) < 0 || drop_foreign(writer, &segments, err) < 0)
        goto done;
    if (!head_load(&writer->head, &head, &seq) ||
        (head_identity(&writer->head, &head_id, &head_epoch, &owner) && head_id != writer->id))
        head = (struct head_place){ 0 };
    if (segments.count == 0 && kept > head.end)
        part_quarantine(&writer->part, head.end, kept - head.end, kept, 0, "lost with its files");
    if (kept > head.end)
        head.end = kept;
    if (segments.count > 0) {
        if (recover_last(writer, segments.bases[segments.count - 1], &head, err) < 0)
            goto done;
        writer->epoch++;
        if (part_epoch_store(&writer->part, writer->id, writer->epoch, err) < 0)
            goto done;
    } else {
        writer->epoch++;
        writer->next = head.end;
        if (part_epoch_store(&writer->part, writer->id, writer->epoch, err) < 0 ||
            segment_create(&writer->seg, &writer->part, &writer->limits, writer->id, writer->next, writer->epoch,
                           clock_wall_us(), span_of("", 0), err) < 0)
            goto done;
        writer->seg_open = true;
    }
    writer->synced_end = writer->next;
    writer->synced_last_at = writer->last_at;
    writer->published = head.end;
    head_set_identity(&writer->head, writer->id, writer->epoch, (uint32_t)getpid());
    head_set(&writer->head, &head);
    if (writer->options.clock_guard)
        log_writer_clock_load(writer, segments.count > 0 ? segments.bases[segments.count - 1] : writer->seg.base);
    rc = 0;
done:
    part_segments_fini(&segments);
    return rc;
}

/* So that who opens the log can say then what it will have to read later. */
static int cursors_make(const struct log_writer *writer, struct err *err)
{
    int folder = writer->options.cursors_needed == NULL ? -2 : log_cursor_folder(&writer->part, true, err);

    io_close(folder);
    return folder == -1 ? -1 : 0;
}

int embedded_writer_open(struct log *log, const char *topic, uint32_t partition, const struct log_topic_options *options,
                    struct log_writer **out, struct err *err)
{
    struct log_writer *writer = calloc(1, sizeof *writer);

    if (writer == NULL)
        return err_set(err, ERR_FULL, "%s: no memory for a writer", topic);
    writer->ops = &log_embedded_ops;
    writer->magic = LOG_WRITER_MAGIC;
    writer->part.dir_fd = writer->head.fd = -1;
    if (options != NULL)
        writer->options = *options;
    writer->limits = (struct segment_limits){ writer->options.segment_bytes, writer->options.disk_reserve_bytes };
    if (writer->limits.segment_bytes == 0)
        writer->limits.segment_bytes = WRITER_SEGMENT_BYTES;
    if (writer->limits.segment_bytes < WRITER_SEGMENT_BYTES_MIN)
        writer->limits.segment_bytes = WRITER_SEGMENT_BYTES_MIN;
    if (writer->limits.segment_bytes > WRITER_SEGMENT_BYTES_MAX)
        writer->limits.segment_bytes = WRITER_SEGMENT_BYTES_MAX;
    if (part_open(&writer->part, log, topic, partition, true, err) < 0 || writer_lock(writer, err) < 0 ||
        cursors_make(writer, err) < 0 ||
        writer_recover(writer, writer->options.keeps_places ? log_cursor_kept(log, topic, partition) : 0, err) < 0) {
        writer->stopped = true; /* closing adds nothing to what could not be opened */
        embedded_writer_close(writer);
        return -1;
    }
    *out = writer;
    return 0;
}
