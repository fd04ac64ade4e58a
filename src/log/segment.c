/* log/segment.c - see segment.h. Filling runs AHEAD of the position by a few steps, not to the end of the
 * segment: the first append must not wait for 64 MiB of zeros, and a topic that is hardly used must not
 * hold 64 MiB of disk. When the position catches up with the helper, blocks are reserved with fallocate,
 * which is slower to sync (the extents are converted) but never waits for zeros to be written.
 *
 * The zeros go past the page cache (O_DIRECT): through it they would be copied there and made dirty like
 * events, which doubled what an event costs here. Pages that are overwritten are then not in the cache, so
 * a write always ends on a page: the kernel would have to read the rest of its last page otherwise.
 * A large write (SEGMENT_LARGE_BYTES) needs no zeros: its blocks are reserved with fallocate, one sync converts all of them, and
 * the disk writes half as much. A small one would pay more for that than for zeros (docs/decisions/capture-cost.md).
 * It goes past the page cache, too. The kernel then throws away what the cache holds of that place, and when it cannot,
 * because somebody is just reading there, says that the file is in doubt, which ends the writer. Who follows the log reads ahead, up
 * to the end of the file; so these blocks are reserved behind the end, and the write itself makes the file longer.
 * While the zeros are written nobody else may write the file (the kernel's lock of the inode), and a sync has to wait behind them: by
 * 2 MiB at a time two groups of 64 KiB took a millisecond longer each. So a piece is written after each sync, when the disk has nothing to
 * do until the next group; without a pause only what the writer will need soon.
 * Zeros come from one large page of them where the machine has such pages: the disk is then handed one piece instead of
 * 512, which is a third of the cost. */
#include "log/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

enum {
    FILL_FIRST_BYTES = 1 << 20, /* 1 MiB and its sync: about 4 ms */
    FILL_STEP_BYTES = 2 << 20,  /* synced at once, and the size of a large page */
    FILL_PIECE_BYTES = 256 << 10, /* written at once: takes as long as the disk has nothing to do between two small groups */
    FILL_AHEAD_BYTES = 8 << 20,
    RESERVE_STEP_BYTES = 64 << 10,
    LARGE_RESERVE_BYTES = 4 << 20, /* the blocks of one or two of them */
    ZEROS_STEP_BYTES = 64 << 10
};

/* Never written to; not const, so that it has no bytes in the program and one page of memory. */
static _Alignas(SEGMENT_PAGE_BYTES) uint8_t zeros[FILL_STEP_BYTES];

/* The same, as one large page: the kernel's own, shared by all, as long as it is only read. */
static const uint8_t *zeros_large = zeros;
static pthread_once_t zeros_large_once = PTHREAD_ONCE_INIT;

static void zeros_large_make(void)
{
    size_t   bytes = 2 * (size_t)FILL_STEP_BYTES; /* with an aligned half somewhere */
    uint8_t *at = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return;
    at += (FILL_STEP_BYTES - (uintptr_t)at % FILL_STEP_BYTES) % FILL_STEP_BYTES;
    (void)madvise(at, FILL_STEP_BYTES, MADV_HUGEPAGE); /* refused: zeros of small pages, as before */
    zeros_large = at;
}

/* EFBIG: as large as this process may make a file (RLIMIT_FSIZE), or the file system can. */
static bool is_full(int errno_value)
{
    return errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG;
}

static int write_zeros(int fd, uint64_t at, uint64_t bytes)
{
    while (bytes > 0) {
        size_t step = bytes < ZEROS_STEP_BYTES ? (size_t)bytes : ZEROS_STEP_BYTES;

        if (io_pwrite(fd, zeros, step, at) < 0)
            return -1;
        at += step;
        bytes -= step;
    }
    return 0;
}

/* May `bytes` more be taken from the file system? */
static int check_space(const struct segment *seg, int fd, uint64_t bytes)
{
    uint64_t space;

    if (seg->disk_reserve_bytes == 0)
        return 0;
    if (io_space(fd, &space) < 0)
        return -1;
    if (space < seg->disk_reserve_bytes + bytes) {
        errno = ENOSPC;
        return -1;
    }
    return 0;
}

/* From here on through the page cache: an odd place or end, or a file system that wants it so. */
static int fill_direct_end(struct segment *seg)
{
    int flags = fcntl(seg->fill_fd, F_GETFL);

    seg->fill_direct = false;
    return flags < 0 ? -1 : fcntl(seg->fill_fd, F_SETFL, flags & ~O_DIRECT);
}

static int fill_write(struct segment *seg, uint64_t at, uint64_t bytes)
{
    if (seg->fill_direct && (at | bytes) % SEGMENT_PAGE_BYTES == 0) {
        if (io_pwrite(seg->fill_fd, zeros_large, (size_t)bytes, at) == 0)
            return 0;
        if (errno != EINVAL)
            return -1;
    }
    if (seg->fill_direct && fill_direct_end(seg) < 0)
        return -1;
    return write_zeros(seg->fill_fd, at, bytes);
}

static int fill_step(struct segment *seg, uint64_t at, uint64_t bytes)
{
    if (check_space(seg, seg->fill_fd, bytes) < 0 || fill_write(seg, at, bytes) < 0)
        return is_full(errno) ? ENOSPC : errno;
    /* What the writer syncs meanwhile is whole without this: it is the file's length and blocks that are not left to it for ever. */
    if ((at + bytes) % FILL_STEP_BYTES == 0 && io_fdatasync(seg->fill_fd) < 0)
        return is_full(errno) ? EIO : errno; /* a failed sync is never "only full" */
    return 0;
}

static void *fill_main(void *arg)
{
    struct segment *seg = arg;

    pthread_once(&zeros_large_once, zeros_large_make);
    pthread_mutex_lock(&seg->lock);
    while (!seg->stopping) {
        uint64_t at = seg->fill_end, bytes;
        int      failed;

        if (seg->fill_goal <= seg->fill_end || seg->fill_errno != 0 || (!seg->fill_turn && seg->fill_end >= seg->fill_soon)) {
            pthread_cond_wait(&seg->wake, &seg->lock);
            continue;
        }
        bytes = FILL_PIECE_BYTES - at % FILL_PIECE_BYTES;
        seg->fill_turn = false;
        if (seg->fill_goal - at < bytes)
            bytes = seg->fill_goal - at;
        seg->filling = true;
        pthread_mutex_unlock(&seg->lock);
        failed = fill_step(seg, at, bytes);
        pthread_mutex_lock(&seg->lock);
        seg->filling = false;
        if (failed == 0)
            seg->fill_end += bytes;
        else if (failed == ENOSPC)
            seg->fill_goal = seg->fill_end; /* the writer asks again when it needs it */
        else
            seg->fill_errno = failed;
        pthread_cond_broadcast(&seg->idle);
    }
    pthread_mutex_unlock(&seg->lock);
    return NULL;
}

/* Common end of create and open: seg->fd is open. */
static int segment_start(struct segment *seg, const char *name, struct err *err)
{
    struct stat st;

    seg->fill_fd = io_open(seg->part->dir_fd, name, O_WRONLY | O_DIRECT, 0);
    seg->fill_direct = seg->fill_fd >= 0;
    if (seg->fill_fd < 0 && errno == EINVAL) /* not every file system has it */
        seg->fill_fd = io_open(seg->part->dir_fd, name, O_WRONLY, 0);
    if (seg->fill_fd < 0 || fstat(seg->fd, &st) < 0) {
        (void)err_errno(err, errno, "%s: open %s", seg->part->label, name);
        io_close(seg->fill_fd);
        return -1;
    }
    seg->direct_fd = -1;
    seg->fill_end = seg->fill_goal = (uint64_t)st.st_size;
    pthread_mutex_init(&seg->lock, NULL);
    pthread_cond_init(&seg->wake, NULL);
    pthread_cond_init(&seg->idle, NULL);
    return 0;
}

/* With the lock held: fills up to `goal`. The helper is started by the first who wants it, not by the opening: a process
 * that locks itself in after it opened the log must not have threads before that. Without one blocks are reserved. */
static void fill_ask(struct segment *seg, uint64_t goal)
{
    seg->stopping = false;
    if (!seg->helper_runs)
        seg->helper_runs = pthread_create(&seg->helper, NULL, fill_main, seg) == 0;
    if (!seg->helper_runs)
        return;
    seg->fill_goal = goal;
    pthread_cond_signal(&seg->wake);
}

int segment_create(struct segment *seg, const struct part *part, const struct segment_limits *limits, uint64_t id,
                   uint64_t base, uint32_t epoch, int64_t now_us, struct span first_frame, struct err *err)
{
    uint8_t  header[SEGMENT_DATA_AT] = { 0 };
    char     name[PART_NAME_BYTES], name_new[PART_NAME_BYTES];
    uint64_t first = limits->segment_bytes < FILL_FIRST_BYTES ? limits->segment_bytes : FILL_FIRST_BYTES;
    uint64_t used = SEGMENT_DATA_AT + first_frame.bytes;

    if (first < used + SEGMENT_DATA_AT)
        first = used + SEGMENT_DATA_AT;
    *seg = (struct segment){ .base = base, .pos = used, .synced = used, .part = part,
                             .segment_bytes = limits->segment_bytes, .disk_reserve_bytes = limits->disk_reserve_bytes };
    part_segment_name(name, base, ".seg");
    part_segment_name(name_new, base, ".new");
    part_segment_header_put(header, id, base, epoch, now_us);
    seg->fd = io_open(part->dir_fd, name_new, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (seg->fd < 0)
        return err_errno(err, errno, "%s: make %s", part->label, name_new);
    if (check_space(seg, seg->fd, first) < 0 || io_pwrite(seg->fd, header, sizeof header, 0) < 0 ||
        io_pwrite(seg->fd, first_frame.at, first_frame.bytes, sizeof header) < 0 ||
        write_zeros(seg->fd, used, first - used) < 0) {
        (void)err_errno(err, errno, "%s: fill %s", part->label, name_new);
        goto failed;
    }
    if (io_fsync(seg->fd) < 0) {
        (void)err_set(err, ERR_STOP, "%s: sync of %s: %s", part->label, name_new, strerror(errno));
        goto failed;
    }
    if (io_rename(part->dir_fd, name_new, name) < 0) {
        (void)err_errno(err, errno, "%s: rename %s", part->label, name_new);
        goto failed;
    }
    if (part_sync_dir(part, err) < 0 || segment_start(seg, name, err) < 0) {
        err->kind = ERR_STOP; /* it is there, so appending to the one before would be wrong */
        io_close(seg->fd);
        return -1;
    }
    return 0;
failed:
    io_close(seg->fd);
    if (io_unlink(part->dir_fd, name_new) < 0) {
        /* recovery removes it */
    }
    return -1;
}

int segment_open(struct segment *seg, const struct part *part, const struct segment_limits *limits, uint64_t base,
                 uint64_t pos, struct err *err)
{
    char name[PART_NAME_BYTES];

    *seg = (struct segment){ .base = base, .pos = pos, .synced = pos, .part = part,
                             .segment_bytes = limits->segment_bytes, .disk_reserve_bytes = limits->disk_reserve_bytes };
    part_segment_name(name, base, ".seg");
    seg->fd = io_open(part->dir_fd, name, O_WRONLY, 0);
    if (seg->fd < 0)
        return err_errno(err, errno, "%s: open %s", part->label, name);
    if (segment_start(seg, name, err) < 0) {
        io_close(seg->fd);
        return -1;
    }
    return 0;
}

/* With the lock held and the helper idle: blocks up to `upto`, which ends a step, or errno. */
static int reserve_upto(struct segment *seg, uint64_t upto, uint64_t step)
{
    uint64_t end = (upto + step - 1) / step * step;
    uint64_t bytes = end - seg->fill_end;

    if (check_space(seg, seg->fd, bytes) < 0)
        return errno;
    if (io_fallocate(seg->fd, seg->fill_end, bytes) < 0) {
        seg->reserve_refused = errno == EOPNOTSUPP;
        if (!seg->reserve_refused || write_zeros(seg->fd, seg->fill_end, bytes) < 0)
            return errno;
    }
    seg->fill_end = end;
    return 0;
}

/* The same behind the file, which does not grow by it. */
static int reserve_behind(struct segment *seg, uint64_t upto, uint64_t step)
{
    uint64_t from = seg->fill_end > seg->reserved_end ? seg->fill_end : seg->reserved_end, end = (upto + step - 1) / step * step;

    if (upto <= from)
        return 0;
    if (check_space(seg, seg->fd, end - from) < 0)
        return errno;
    if (io_reserve(seg->fd, from, end - from) < 0) {
        seg->reserve_refused = errno == EOPNOTSUPP;
        return errno;
    }
    seg->reserved_end = end;
    return 0;
}

/* With the lock held: what a reservation came to. */
static int reserved(struct segment *seg, uint64_t upto, int failed, struct err *err)
{
    if (seg->fill_errno != 0) {
        seg->stopped = true;
        return err_set(err, ERR_STOP, "%s: filling failed: %s", seg->part->label, strerror(seg->fill_errno));
    }
    if (failed != 0) {
        (void)err_errno(err, failed, "%s: no room for %" PRIu64 " more bytes", seg->part->label, upto - seg->pos);
        seg->stopped = err->kind == ERR_STOP;
        return -1;
    }
    return 0;
}

/* *end_out: up to where there is room now, `upto` or more. */
static int segment_reserve(struct segment *seg, uint64_t upto, uint64_t *end_out, struct err *err)
{
    uint64_t bound = upto > seg->segment_bytes ? upto : seg->segment_bytes;
    uint64_t ahead = (upto + FILL_AHEAD_BYTES + FILL_STEP_BYTES - 1) / FILL_STEP_BYTES * FILL_STEP_BYTES;
    uint64_t goal = ahead < bound ? ahead : bound; /* whole steps: an odd end would have to go through the page cache */
    int      failed = 0, rc;

    pthread_mutex_lock(&seg->lock);
    seg->fill_soon = upto + FILL_STEP_BYTES;
    if (goal >= seg->fill_goal + FILL_STEP_BYTES || (goal > seg->fill_goal && (goal == bound || upto > seg->fill_end)))
        fill_ask(seg, goal);
    while (failed == 0 && seg->fill_errno == 0 && seg->fill_end < upto) {
        if (seg->filling)
            pthread_cond_wait(&seg->idle, &seg->lock);
        else
            failed = reserve_upto(seg, upto, RESERVE_STEP_BYTES);
    }
    *end_out = seg->fill_end;
    rc = reserved(seg, upto, failed, err);
    pthread_mutex_unlock(&seg->lock);
    return rc;
}

/* Blocks for a large write. *size_out: where the file ends now; nobody fills it until the write has been done. */
static int segment_reserve_large(struct segment *seg, uint64_t upto, uint64_t *size_out, struct err *err)
{
    int failed, rc = 0;

    pthread_mutex_lock(&seg->lock);
    seg->fill_goal = seg->fill_end;
    while (seg->filling)
        pthread_cond_wait(&seg->idle, &seg->lock);
    failed = seg->fill_errno != 0 ? 0 : reserve_behind(seg, upto, LARGE_RESERVE_BYTES);
    if (failed != 0 && !seg->reserve_refused)
        failed = reserve_behind(seg, upto, RESERVE_STEP_BYTES);
    if (!seg->reserve_refused)
        rc = reserved(seg, upto, failed, err);
    *size_out = seg->fill_end;
    pthread_mutex_unlock(&seg->lock);
    return rc;
}

/* A large write made the file this long, or it was before. */
static void segment_grown(struct segment *seg, uint64_t file_bytes)
{
    pthread_mutex_lock(&seg->lock);
    if (seg->fill_end < file_bytes)
        seg->fill_end = seg->fill_goal = file_bytes;
    pthread_mutex_unlock(&seg->lock);
}

int segment_write(struct segment *seg, struct iovec *iov, int iov_count, uint64_t bytes, struct err *err)
{
    uint64_t end = seg->pos + bytes, page_end = (end + SEGMENT_PAGE_BYTES - 1) / SEGMENT_PAGE_BYTES * SEGMENT_PAGE_BYTES;
    uint64_t written, room = page_end, file_bytes;
    bool     large = bytes >= SEGMENT_LARGE_BYTES && !seg->reserve_refused;
    int      failed;

    assert(!seg->stopped);
    assert(bytes % 8 == 0);
    if (large && segment_reserve_large(seg, page_end, &file_bytes, err) < 0)
        return -1;
    large = large && !seg->reserve_refused;
    if (!large && segment_reserve(seg, end, &room, err) < 0)
        return -1;
    if (page_end > end && page_end <= room)
        iov[iov_count++] = (struct iovec){ (void *)(uintptr_t)zeros, (size_t)(page_end - end) };
    if (io_pwritev(seg->fd, iov, iov_count, seg->pos, &written) == 0) {
        if (large)
            segment_grown(seg, page_end);
        seg->pos += bytes;
        return 0;
    }
    failed = errno;
    if (large)
        segment_grown(seg, seg->pos + written);
    (void)err_errno(err, failed, "%s: write", seg->part->label);
    /* Frames that were refused must not be found by anybody later (S1). */
    if (!is_full(failed) || write_zeros(seg->fd, seg->pos, written) < 0) {
        seg->stopped = true;
        err->kind = ERR_STOP;
    }
    return -1;
}

/* Whether `bytes` at `at`, which is to be at `pos` of the file, may go past the page cache. */
static bool direct_ready(struct segment *seg, const uint8_t *at, uint64_t bytes, uint64_t pos)
{
    char name[PART_NAME_BYTES];

    if (seg->direct_refused || ((uintptr_t)at | bytes | pos) % SEGMENT_PAGE_BYTES != 0)
        return false;
    if (seg->direct_fd < 0) {
        part_segment_name(name, seg->base, ".seg");
        seg->direct_fd = io_open(seg->part->dir_fd, name, O_WRONLY | O_DIRECT, 0);
        seg->direct_refused = seg->direct_fd < 0;
    }
    return seg->direct_fd >= 0;
}

/* What lies within the file goes through the cache (S4). */
static int large_put(struct segment *seg, uint8_t *at, uint64_t bytes, uint64_t file_bytes)
{
    uint64_t     pos = seg->pos, within = file_bytes <= pos ? 0 : file_bytes - pos < bytes ? file_bytes - pos : bytes;
    struct iovec iov = { at, (size_t)within };

    if (within > 0 && io_pwritev(seg->fd, &iov, 1, pos, NULL) < 0)
        return -1;
    at += within;
    pos += within;
    bytes -= within;
    if (bytes == 0)
        return 0;
    if (direct_ready(seg, at, bytes, pos)) {
        if (io_pwrite(seg->direct_fd, at, (size_t)bytes, pos) == 0)
            return 0;
        if (errno != EINVAL)
            return -1;
        seg->direct_refused = true; /* this file system wants other borders, or has it not at all */
    }
    iov = (struct iovec){ at, (size_t)bytes };
    return io_pwritev(seg->fd, &iov, 1, pos, NULL);
}

int segment_write_large(struct segment *seg, uint8_t *at, uint64_t bytes, struct err *err)
{
    uint64_t     end = seg->pos + bytes, page_end = (end + SEGMENT_PAGE_BYTES - 1) / SEGMENT_PAGE_BYTES * SEGMENT_PAGE_BYTES;
    uint64_t     file_bytes;
    struct iovec iov[2] = { { at, (size_t)bytes } };
    int          failed;

    assert(!seg->stopped);
    assert(bytes % 8 == 0 && bytes >= SEGMENT_LARGE_BYTES);
    if (!seg->reserve_refused && segment_reserve_large(seg, page_end, &file_bytes, err) < 0)
        return -1;
    if (seg->reserve_refused)
        return segment_write(seg, iov, 1, bytes, err);
    memset(at + bytes, 0, (size_t)(page_end - end));
    if (large_put(seg, at, page_end - seg->pos, file_bytes) == 0) {
        segment_grown(seg, page_end);
        seg->pos = end;
        return 0;
    }
    failed = errno;
    (void)err_errno(err, failed, "%s: write", seg->part->label);
    /* Of what went past the cache it is not told how much was written: all of it becomes zeros (S1). */
    if (!is_full(failed) || write_zeros(seg->fd, seg->pos, page_end - seg->pos) < 0) {
        seg->stopped = true;
        err->kind = ERR_STOP;
    }
    segment_grown(seg, page_end);
    return -1;
}

/* The disk has nothing to do until the next write. */
static void fill_let(struct segment *seg)
{
    bool wake;

    pthread_mutex_lock(&seg->lock);
    wake = seg->fill_goal > seg->fill_end && !seg->filling;
    seg->fill_turn = wake;
    pthread_mutex_unlock(&seg->lock);
    if (wake)
        pthread_cond_signal(&seg->wake);
}

int segment_sync(struct segment *seg, struct err *err)
{
    assert(!seg->stopped);
    if (seg->synced == seg->pos)
        return 0;
    if (io_fdatasync(seg->fd) < 0) {
        seg->stopped = true;
        return err_set(err, ERR_STOP, "%s: sync: %s", seg->part->label, strerror(errno));
    }
    seg->synced = seg->pos;
    fill_let(seg);
    return 0;
}

static void fill_stop(struct segment *seg)
{
    pthread_mutex_lock(&seg->lock);
    if (!seg->helper_runs) {
        pthread_mutex_unlock(&seg->lock);
        return;
    }
    seg->stopping = true;
    pthread_cond_signal(&seg->wake);
    pthread_mutex_unlock(&seg->lock);
    pthread_join(seg->helper, NULL);
    seg->helper_runs = false;
}

void segment_rest(struct segment *seg)
{
    fill_stop(seg);
    seg->fill_goal = seg->fill_end;
}

int segment_wake(struct segment *seg)
{
    struct stat st;

    if (fstat(seg->fd, &st) < 0)
        return -1;
    seg->reserved_end = 0;
    seg->fill_end = seg->fill_goal = (uint64_t)st.st_size; /* a recovery may have cut zeros off */
    return 0;
}

int segment_seal(struct segment *seg, struct err *err)
{
    assert(!seg->stopped);
    fill_stop(seg);
    if (seg->fill_errno != 0 || io_ftruncate(seg->fd, seg->pos) < 0 || io_fsync(seg->fd) < 0) {
        seg->stopped = true;
        return err_set(err, ERR_STOP, "%s: seal: %s", seg->part->label, strerror(seg->fill_errno != 0 ? seg->fill_errno : errno));
    }
    seg->synced = seg->pos;
    return 0;
}

void segment_close(struct segment *seg)
{
    if (seg->fd < 0)
        return;
    fill_stop(seg);
    pthread_mutex_destroy(&seg->lock);
    pthread_cond_destroy(&seg->wake);
    pthread_cond_destroy(&seg->idle);
    io_close(seg->direct_fd);
    io_close(seg->fill_fd);
    io_close(seg->fd);
    seg->fd = -1;
}
