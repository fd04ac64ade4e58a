/* log/segment.h - the writing end of one segment file.
 *
 *   at  bytes  field
 *    0      8  magic "PNSTSEG"
 *    8      8  id of the partition
 *   16      8  base, as in the file's name
 *   24      4  epoch of the opening that made it
 *   32      8  created_us
 *   60      4  crc32c of the bytes before
 * 4096      *  frames (frame.h), then zeros
 *
 * The file is filled with zeros ahead of the writing position and then overwritten: a sync of overwritten
 * blocks has no metadata to commit. Where large groups are written, blocks are only reserved, behind the end of the file, and
 * what lies behind it goes past the page cache. A helper
 * thread fills, in pieces, each after a sync, and on a descriptor of its own (the
 * kernel tells a failed write-back once per descriptor, so one must not take the other's error). Both are opened for
 * writing alone: whoever may write the log need not be able to read it.
 *  S1  what is past `pos` reads as zeros, or was written by a failed append and is zeroed before the next; or the file ends
 *  S2  nothing is written without the space having been reserved before: ERR_FULL leaves the file as it was
 *  S3  after a failed sync nothing is synced again; every call answers ERR_STOP
 *  S4  what goes past the page cache was never within the file before: nobody can hold an older form of it in the cache
 * Threads: the writer's; the helper is inside. */
#ifndef PENSTOCK_LOG_SEGMENT_H
#define PENSTOCK_LOG_SEGMENT_H

#include <pthread.h>
#include <sys/uio.h>

#include "log/part.h"

enum {
    SEGMENT_PAGE_BYTES = 4096,
    SEGMENT_LARGE_BYTES = 1 << 20 /* a write of that much needs no zeros */
};

struct segment {
    /* @thread writer */
    int         fd;
    uint64_t    base;
    uint64_t    pos;    /* where the next frame goes */
    uint64_t    synced; /* durable up to here */
    bool        stopped;
    bool        reserve_refused; /* the file system cannot: zeros are written instead */
    uint64_t    reserved_end;    /* blocks behind the file's end, up to here; less than fill_end: none */
    int         direct_fd;       /* past the page cache; -1: not opened yet */
    bool        direct_refused;
    const struct part *part; /* borrowed */
    uint64_t    segment_bytes, disk_reserve_bytes;
    /* @lock lock */
    pthread_mutex_t lock;
    pthread_cond_t  wake, idle;
    pthread_t       helper;
    int             fill_fd;     /* @thread helper, once it runs; and the next */
    bool            fill_direct; /* past the page cache */
    uint64_t        fill_end, fill_goal;
    uint64_t        fill_soon;   /* up to here at once, from there on a piece after each sync */
    bool            fill_turn;   /* there was one */
    bool            helper_runs, filling, stopping;
    int             fill_errno; /* of a failed sync or write: S3 */
};

struct segment_limits {
    uint64_t segment_bytes, disk_reserve_bytes;
};

/* Makes the file, durably and in one step (rename), in place of one of that name. first: bytes of its first
 * frame, or empty. ERR_FULL: no space, nothing was made. */
int segment_create(struct segment *seg, const struct part *part, const struct segment_limits *limits, uint64_t id,
                   uint64_t base, uint32_t epoch, int64_t now_us, struct span first, struct err *err) must_check;
/* An existing one; pos and file_bytes as recovery found them. */
int segment_open(struct segment *seg, const struct part *part, const struct segment_limits *limits, uint64_t base,
                 uint64_t pos, struct err *err) must_check;
/* Writes at pos and moves it on. iov is used up, and has room for one more: the zeros to the end of the
 * page. ERR_FULL: nothing was appended. */
int segment_write(struct segment *seg, struct iovec *iov, int iov_count, uint64_t bytes, struct err *err) must_check;
/* The same for SEGMENT_LARGE_BYTES or more that stand together at `at`, the beginning of a page: what can go past the page cache
 * does, which is a fifth of the cost, if pos is the beginning of one, too. There is room behind them to the end of their last
 * page, which is filled with zeros. */
int segment_write_large(struct segment *seg, uint8_t *at, uint64_t bytes, struct err *err) must_check;
int segment_sync(struct segment *seg, struct err *err) must_check;
/* No more frames: the file is cut to its size, and synced. */
int segment_seal(struct segment *seg, struct err *err) must_check;
void segment_close(struct segment *seg);
/* Nothing touches the file any more, until the next write. */
void segment_rest(struct segment *seg);
/* After another had it open, and wrote nothing. -1 and errno. */
int  segment_wake(struct segment *seg) must_check;

#endif
